"""Every event type of the protocol as data: what it means for the receiver, who may subscribe, and a sample.

The vocabulary grows monthly, so this list never decides whether an event is accepted: a type that is missing
here is stored and handed to whoever asked for it. It decides what a known type does to the mirror, which
names an endpoint may subscribe to by name, and what a test event looks like.

Source: the WorkOS OpenAPI description, version 0.61.0: 111 types, 93 of which webhooks may subscribe to.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from hookline.wire.timestamps import parse_us

Kind: TypeAlias = Literal["F", "D", "R", "L", "M"]
EventClock: TypeAlias = Literal["updated_at", "event"]


@dataclass(frozen=True, slots=True)
class Parent:
    """An object this one lives and dies with. `field` is the place in `data` that holds its id.

    The field may be missing or null where the parent is optional.
    """

    resource: str
    field: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A relation between two objects, keyed by both ids: `resource` names it, `adds` says which way."""

    resource: str
    adds: bool


@dataclass(frozen=True, slots=True)
class EventType:
    """What is known of one type. Places in `data` are dotted, as in `user.id`.

    kind: what the payload is.
        F: the full state of an object, safe to upsert.  D: a deletion with the last state, perhaps reduced.
        R: a relation added or removed.  L: a fact to log, no state.  M: a fact around an embedded object.
    object: what `data.object` says; None where `data` has no such member.
    key: the places that together name the object, or both ends of the relation; empty where nothing is named.
    clock: what orders two payloads of one object: `data.updated_at`, or the event's own `created_at`.
    edge: for kind R, which relation and which way.
    """

    name: str
    subscribable: bool
    kind: Kind
    object: str | None
    key: tuple[str, ...]
    parents: tuple[Parent, ...]
    clock: EventClock
    edge: Edge | None


_ID = ("id",)
_ORGANIZATION = Parent("organization", "organization_id")
_USER = Parent("user", "user_id")
_DIRECTORY = Parent("directory", "directory_id")


def _types(
    prefix: str,
    kinds: str,
    object: str | None = None,  # noqa: A002  (the wire's word)
    key: tuple[str, ...] = _ID,
    parents: tuple[Parent, ...] = (),
    *,
    clock: EventClock = "updated_at",
    edges: Mapping[str, Edge] = MappingProxyType({}),
    subscribable: bool = True,
) -> Iterator[EventType]:
    """One type per word of `kinds`, such as `created:F`; each is named `prefix` and that word."""
    for word in kinds.split():
        name, _, kind = word.partition(":")
        yield EventType(
            name=prefix + name,
            subscribable=subscribable,
            kind=kind,  # type: ignore[arg-type]  # the test of the table holds it to the five letters
            object=object,
            key=key,
            parents=parents,
            clock=clock,
            edge=edges.get(name),
        )


def _facts(prefix: str, names: str, *args: Any, **kwargs: Any) -> Iterator[EventType]:
    return _types(prefix, " ".join(f"{name}:L" for name in names.split()), *args, clock="event", **kwargs)


def _all() -> Iterator[EventType]:
    # Directory Sync
    yield from _types("dsync.", "activated:F deleted:D", "directory", parents=(_ORGANIZATION,))
    for resource in ("user", "group"):
        yield from _types(
            f"dsync.{resource}.",
            "created:F updated:F deleted:D",
            f"directory_{resource}",
            parents=(_DIRECTORY, _ORGANIZATION),
        )
    yield from _types(
        "dsync.group.",
        "user_added:R user_removed:R",
        key=("group.id", "user.id"),
        parents=(
            Parent("directory_group", "group.id"),
            Parent("directory_user", "user.id"),
            _DIRECTORY,
        ),
        clock="event",
        edges={
            "user_added": Edge("directory_membership", adds=True),
            "user_removed": Edge("directory_membership", adds=False),
        },
    )
    yield from _facts(
        "dsync.token.",
        "created revoked",
        "directory_token",
        parents=(_DIRECTORY, _ORGANIZATION),
        subscribable=False,
    )

    # Users and organizations
    yield from _types("user.", "created:F updated:F deleted:D", "user")
    yield from _types("organization.", "created:F updated:F deleted:D", "organization")
    yield from _types(
        "organization_domain.",
        "created:F updated:F verified:F deleted:D",
        "organization_domain",
        parents=(_ORGANIZATION,),
    )
    yield from _types(
        "organization_domain.",
        "verification_failed:M",
        key=("organization_domain.id",),
        parents=(Parent("organization", "organization_domain.organization_id"),),
        clock="event",
    )
    yield from _types(
        "organization_membership.",
        "created:F updated:F deleted:D",
        "organization_membership",
        parents=(_USER, _ORGANIZATION),
    )
    yield from _types("group.", "created:F updated:F deleted:D", "group", parents=(_ORGANIZATION,))
    yield from _types(
        "group.",
        "member_added:R member_removed:R",
        key=("group_id", "organization_membership_id"),
        parents=(
            Parent("group", "group_id"),
            Parent("organization_membership", "organization_membership_id"),
        ),
        clock="event",
        edges={
            "member_added": Edge("group_member", adds=True),
            "member_removed": Edge("group_member", adds=False),
        },
    )
    yield from _types("invitation.", "created:F accepted:F resent:F revoked:F", "invitation", parents=(_ORGANIZATION,))
    yield from _types(
        "waitlist_user.",
        "created:F approved:F denied:F",
        "waitlist_user",
        parents=(Parent("waitlist", "waitlist_id"),),
    )

    # Connections
    yield from _types("connection.", "activated:F deactivated:F deleted:D", "connection", parents=(_ORGANIZATION,))
    yield from _facts(
        "connection.",
        "saml_certificate_renewed saml_certificate_renewal_required",
        key=("connection.id",),
        parents=(Parent("connection", "connection.id"), Parent("organization", "connection.organization_id")),
    )

    # Sessions and what proves an identity
    yield from _types("session.", "created:F revoked:F", "session", parents=(_USER, _ORGANIZATION))
    yield from _types("email_verification.", "created:F", "email_verification", parents=(_USER,))
    yield from _types("magic_auth.", "created:F", "magic_auth", parents=(_USER,))
    # No `updated_at` in there: the event's own time orders them.
    yield from _types("password_reset.", "created:F succeeded:F", "password_reset", parents=(_USER,), clock="event")
    yield from _facts(
        "authentication.",
        "email_verification_succeeded magic_auth_succeeded magic_auth_failed mfa_succeeded oauth_succeeded"
        " oauth_failed passkey_succeeded passkey_failed password_succeeded password_failed"
        " reauthentication_succeeded radar_risk_detected",
        key=(),
        parents=(_USER,),
    )
    yield from _facts(
        "authentication.",
        "email_verification_failed mfa_failed",
        key=(),
        parents=(_USER,),
        subscribable=False,
    )
    yield from _facts(
        "authentication.",
        "sso_started sso_succeeded sso_failed sso_timed_out",
        key=("sso.session_id",),
        parents=(_USER, Parent("organization", "sso.organization_id"), Parent("connection", "sso.connection_id")),
    )
    yield from _facts("radar.", "challenge_created", key=(), parents=(_USER,))
    denied: dict[str, Any] = {"key": (), "subscribable": False}
    yield from _facts("action.", "authentication.denied", parents=(_USER, _ORGANIZATION), **denied)
    yield from _facts("action.", "user_registration.denied", parents=(_ORGANIZATION,), **denied)

    # Roles, permissions, keys, flags
    yield from _types("role.", "created:F updated:F deleted:D", "role", ("slug", "resource_type_slug"))
    yield from _types(
        "organization_role.",
        "created:F updated:F deleted:D",
        "organization_role",
        ("organization_id", "slug", "resource_type_slug"),
        (_ORGANIZATION,),
    )
    yield from _types("permission.", "created:F updated:F deleted:D", "permission")
    yield from _types(
        "api_key.",
        "created:F updated:F revoked:D",
        "api_key",
        parents=(Parent("organization", "owner.organization_id"),),
    )
    yield from _types(
        "flag.",
        "created:F updated:F deleted:D rule_updated:F",
        "feature_flag",
        parents=(Parent("environment", "environment_id"),),
    )

    # Pipes
    yield from _types(
        "pipes.connected_account.",
        "connected:F disconnected:D reauthorization_needed:F",
        "connected_account",
        parents=(_USER, _ORGANIZATION),
    )
    yield from _facts(
        "pipes.connected_account.",
        "connection_failed",
        "connection_failed",
        (),
        (_USER, _ORGANIZATION),
    )

    # Agents
    registration = (Parent("agent_registration", "agent_registration_id"),)
    yield from _types("agent.registration.", "created:F", "agent_registration", parents=(_ORGANIZATION,))
    yield from _types(
        "agent.registration.", "claim.attempt.created:F", "agent_registration_claim_attempt", parents=registration
    )
    yield from _types("agent.registration.", "claim.completed:F", "agent_registration_claim", parents=registration)
    yield from _types(
        "agent.registration.", "credential.issued:F", "agent_registration_credential", parents=registration
    )
    yield from _facts(
        "agent.registration.",
        "deleted expired refreshed revoked organization.switched",
        key=("agent_registration_id",),
        parents=registration,
    )

    # Vault: never by webhook
    yield from _facts(
        "vault.byok_key.", "deleted verification_completed", key=(), parents=(_ORGANIZATION,), subscribable=False
    )
    yield from _facts(
        "vault.",
        "data.created data.deleted data.read data.updated"
        " dek.decrypted dek.read kek.created kek.deleted metadata.read names.listed",
        key=(),
        subscribable=False,
    )


CATALOGUE: Mapping[str, EventType] = MappingProxyType(
    {one.name: one for one in sorted(_all(), key=lambda one: one.name)}
)
WEBHOOK_TYPES: frozenset[str] = frozenset(one.name for one in CATALOGUE.values() if one.subscribable)


def is_pattern(pattern: str) -> bool:
    """Whether `pattern` is `*`, a prefix such as `dsync.*`, or an exact name without a star."""
    stem = pattern.removesuffix(".*")
    return pattern == "*" or (bool(stem) and "*" not in stem and stem.isprintable())


# What `hookline doctor --send` posts to a door of its own: kept as any event, mirrored nowhere, and no handler's.
PROBE_TYPE: Final = "hookline.probe"


def matches(pattern: str, event_type: str) -> bool:
    """Whether a subscription or a handler's `pattern` takes `event_type`.

    `*` takes everything; `dsync.*` what begins with `dsync.`, at any depth, known or not; else the exact
    name.
    """
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type


def nearest(name: str, names: Iterable[str] = CATALOGUE) -> str | None:
    """The name most like `name`, for an error to suggest; None where nothing is near."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return found[0] if found else None


def sample(event_type: str) -> dict[str, Any]:
    """A payload (`data`) of this type, of our own making; each call gives a new one.

    All samples tell of one small company, so that ids and times agree between them.
    Raises: LookupError where there is no sample, naming the nearest type that has one.
    """
    try:
        name = CATALOGUE[event_type].name  # never a path of somebody's choosing
        return _read(f"samples/{name}.json")
    except (KeyError, FileNotFoundError):
        raise _no_sample(event_type) from None


def sample_created_us(event_type: str) -> int:
    """When the event of `sample` happened: its `created_at`, microseconds since the epoch.

    A fact or a relation has no time in its payload, and a deletion shows that of the update before it.
    Raises: LookupError, as `sample`.
    """
    return parse_us(_scene(event_type)["created_at"])


def sample_context(event_type: str) -> dict[str, Any] | None:
    """The `context` of the event of `sample`; None where the type can do without. Each call gives a new one.

    Events about feature flags say there who changed what; their payload does not.
    Raises: LookupError, as `sample`.
    """
    context: dict[str, Any] | None = _scene(event_type).get("context")
    return context


def sampled_types() -> tuple[str, ...]:
    """The types that have a sample, in order."""
    return tuple(
        sorted(
            entry.name.removesuffix(".json")
            for entry in _FILES.joinpath("samples").iterdir()
            if entry.name.endswith(".json")
        )
    )


_FILES = resources.files("hookline.wire")


def _scene(event_type: str) -> dict[str, Any]:
    """What the story of the samples, in order of time, says of an event besides its payload."""
    try:
        scene: dict[str, Any] = _read("story.json")[event_type]
    except KeyError:
        raise _no_sample(event_type) from None
    return scene


def _read(path: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(_FILES.joinpath(path).read_text("utf-8"))
    return value


def _no_sample(event_type: str) -> LookupError:
    near = nearest(event_type, sampled_types())
    hint = f"; the nearest is {near!r}" if near else ""
    return LookupError(f"expected an event type with a sample, got {event_type!r}{hint}")
