"""What the mirror holds of each kind of object, and what an event says about it.

`RESOURCES` is the one list: table, parents and typed columns per resource, in the order in which rows are written
(parents first). `EDGES` are relations between two objects. `observe` turns an event into observations for
rules/merge.py, `observe_read` and its neighbours an answer of the source's API. A field of the wrong type leaves its
column null and stays in the payload; nothing here raises on odd data, stores anything or decides who wins.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec

from hookline.rules.merge import (
    Clock,
    EdgeKind,
    Observation,
    absence_clock,
    event_clock,
    is_active,
    read_clock,
)
from hookline.rules.redaction import SECRETS
from hookline.wire.catalogue import CATALOGUE
from hookline.wire.event import MAX_NAME, Event
from hookline.wire.timestamps import format_ms, parse_us, ulid_time_us

Payload: TypeAlias = Mapping[str, Any]
Extract: TypeAlias = Callable[[Payload], Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of mirrored object.

    Attributes:
        name: `data.object`.
        table: the table; its view of what is alive is `<table>_live`.
        parents: (resource, column) of what it dies with.
        columns: (column, extractor), in the order of the table; `created_at` and `updated_at` follow for all.
        key: the fields of the payload that name it. One is the id itself; several are joined by slashes (`key_of`).
        key_defaults: what a field of the key is taken for where the payload has none.
        state_words: the source's words for `state` that are stored as other words, so that every feed leaves the
            same value; None where the resource has no such field.
        secret: fields that are never kept in the mirror: whoever has them has access.
        lists: (field, resource): a list of its children in its payload, complete as of that payload.
        is_optional: mirrored only where the receiver was asked to.
    """

    name: str
    table: str
    parents: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, Extract], ...]
    key: tuple[str, ...] = ("id",)
    key_defaults: Mapping[str, str] = field(default_factory=dict)
    state_words: Mapping[str, str] | None = None
    secret: frozenset[str] = frozenset()
    lists: tuple[str, str] | None = None
    is_optional: bool = False

    def key_of(self, payload: Payload) -> str | None:
        """The key as text, or None where the payload does not name the object.

        In keys of several parts a slash within a part is written `%2F` (and a percent sign `%25`), so that no two
        objects share a key.
        """
        parts = [_name(_or(payload.get(field), self.key_defaults.get(field))) for field in self.key]
        if len(parts) == 1:
            return parts[0]
        if None in parts:
            return None
        return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts if part is not None)

    def lacks(self, payload: Payload) -> str:
        """Why `key_of` is None: the place of the first field it misses."""
        field = next(f for f in self.key if _name(_or(payload.get(f), self.key_defaults.get(f))) is None)
        return f"data.{field}: expected 1 to {MAX_NAME} printable characters"

    def listed(self, payload: Payload | None) -> frozenset[str] | None:
        """The ids in its list of children; None where it says nothing of them."""
        if self.lists is None or payload is None:
            return None
        items = payload.get(self.lists[0])
        if not isinstance(items, list):
            return None
        return frozenset(id_ for item in items if isinstance(item, dict) and (id_ := _name(item.get("id"))) is not None)

    def values(self, payload: Payload | None) -> tuple[Any, ...]:
        """The columns' values of a payload; all of them null where there is none."""
        shown: Payload = {} if payload is None else payload
        return tuple([extract(shown) for _, extract in self.columns])

    def parent_ids(self, payload: Payload | None) -> tuple[str | None, ...]:
        """The ids of its parents as its payload names them, in the order of `parents`."""
        if payload is None:
            return (None,) * len(self.parents)
        return tuple([_name(payload.get(column)) for _, column in self.parents])


@dataclass(frozen=True, slots=True)
class Edge:
    """A relation between two objects.

    `ends` and `scope`, in which both live, are (resource, column); `copies` the fields of `data` with copies of the
    ends, in their order: None where the event holds their ids alone, under the names of the columns.
    """

    name: str
    table: str
    ends: tuple[tuple[str, str], tuple[str, str]]
    copies: tuple[str, str] | None = None
    scope: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EdgeObservation:
    """One add or remove of a pair. `keys` are the ids of the ends in the edge's order, `scope_id` of its scope."""

    kind: EdgeKind
    resource: str
    keys: tuple[str, str]
    scope_id: str | None
    clock: Clock
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """All that one event or answer says about the mirror. `ignored` says why it says nothing, where its type would."""

    objects: tuple[Observation, ...] = ()
    edge: EdgeObservation | None = None
    ignored: str | None = None


def _text(field: str) -> tuple[str, Extract]:
    def extract(payload: Payload) -> str | None:
        value = payload.get(field)
        return value if isinstance(value, str) else None

    return field, extract


def _id(field: str) -> tuple[str, Extract]:
    return field, lambda payload: _name(payload.get(field))


# How format_ms writes: a time that has been parsed and looks so need not be formatted again.
_MAX_TIME = 64
_AS_WRITTEN = re.compile(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z", re.ASCII)


def _time(field: str) -> tuple[str, Extract]:
    def extract(payload: Payload) -> str | None:
        text = payload.get(field)
        us = _time_us(text)
        if us is None or not isinstance(text, str):
            return None
        if _AS_WRITTEN.fullmatch(text):
            return text
        try:
            return format_ms(us)
        except ValueError:  # an offset has carried it out of the years 1 to 9999
            return None

    return field, extract


def _flag(field: str) -> tuple[str, Extract]:
    def extract(payload: Payload) -> int | None:
        value = payload.get(field)
        return int(value) if isinstance(value, bool) else None

    return field, extract


def _role_slug(payload: Payload) -> str | None:
    role = payload.get("role")
    slug = role.get("slug") if isinstance(role, dict) else None
    return slug if isinstance(slug, str) else None


def _is_active(resource: str) -> tuple[str, Extract]:
    return "is_active", lambda payload: int(is_active(payload, True, resource=resource))


def _or(value: Any, default: str | None) -> Any:
    return default if value is None else value


_TIMES = (_time("created_at"), _time("updated_at"))
_OF_ORGANIZATION = ("organization", "organization_id")
_OF_USER = ("user", "user_id")
# The kind of resource that a role is for; when there was only one, nobody said which.
_ROLE_DEFAULTS = MappingProxyType({"resource_type_slug": "organization"})


def _role_type(payload: Payload) -> str | None:
    value = _or(payload.get("resource_type_slug"), _ROLE_DEFAULTS["resource_type_slug"])
    return value if isinstance(value, str) else None


_IN_DIRECTORY = (("directory", "directory_id"), ("organization", "organization_id"))

RESOURCES: Final[Mapping[str, Resource]] = {
    resource.name: resource
    for resource in (
        Resource(
            "organization",
            "hookline_organizations",
            (),
            (_text("name"), _text("external_id"), *_TIMES),
            lists=("domains", "organization_domain"),
        ),
        Resource(
            "user",
            "hookline_users",
            (),
            (
                _text("email"),
                _flag("email_verified"),
                _text("first_name"),
                _text("last_name"),
                _text("external_id"),
                _text("locale"),
                _time("last_sign_in_at"),
                *_TIMES,
            ),
        ),
        Resource(
            "directory",
            "hookline_directories",
            (("organization", "organization_id"),),
            (
                _id("organization_id"),
                _text("name"),
                _text("type"),
                _text("state"),
                _text("external_key"),
                *_TIMES,
            ),
            # Events say active where the Directory API says linked (workos-protocol §0.1): stored as the API says.
            state_words={"active": "linked", "inactive": "unlinked"},
        ),
        Resource(
            "directory_user",
            "hookline_directory_users",
            _IN_DIRECTORY,
            (
                _id("directory_id"),
                _id("organization_id"),
                _text("idp_id"),
                _text("email"),
                _text("first_name"),
                _text("last_name"),
                _text("username"),
                _text("job_title"),
                _text("state"),
                _is_active("directory_user"),
                *_TIMES,
            ),
        ),
        Resource(
            "directory_group",
            "hookline_directory_groups",
            _IN_DIRECTORY,
            (_id("directory_id"), _id("organization_id"), _text("idp_id"), _text("name"), *_TIMES),
        ),
        Resource(
            "organization_domain",
            "hookline_organization_domains",
            (_OF_ORGANIZATION,),
            (_id("organization_id"), _text("domain"), _text("state"), _text("verification_strategy"), *_TIMES),
        ),
        Resource(
            "organization_membership",
            "hookline_organization_memberships",
            (_OF_USER, _OF_ORGANIZATION),
            (
                _id("user_id"),
                _id("organization_id"),
                _text("status"),
                _is_active("organization_membership"),
                ("role_slug", _role_slug),
                _flag("directory_managed"),
                *_TIMES,
            ),
        ),
        Resource(
            "group",
            "hookline_groups",
            (_OF_ORGANIZATION,),
            (_id("organization_id"), _text("name"), _text("description"), *_TIMES),
        ),
        Resource(
            "connection",
            "hookline_connections",
            (_OF_ORGANIZATION,),
            (
                _id("organization_id"),
                _text("connection_type"),
                _text("name"),
                _text("state"),
                _is_active("connection"),
                _text("external_key"),
                *_TIMES,
            ),
        ),
        Resource(
            "role",
            "hookline_roles",
            (),
            (_text("slug"), ("resource_type_slug", _role_type), *_TIMES),
            key=("slug", "resource_type_slug"),
            key_defaults=_ROLE_DEFAULTS,
        ),
        Resource(
            "organization_role",
            "hookline_organization_roles",
            (_OF_ORGANIZATION,),
            (
                _id("organization_id"),
                _text("slug"),
                ("resource_type_slug", _role_type),
                _text("name"),
                _text("description"),
                *_TIMES,
            ),
            key=("organization_id", "slug", "resource_type_slug"),
            key_defaults=_ROLE_DEFAULTS,
        ),
        Resource(
            "permission",
            "hookline_permissions",
            (),
            (
                _text("slug"),
                _text("name"),
                _text("description"),
                _flag("system"),
                _text("resource_type_slug"),
                *_TIMES,
            ),
        ),
        Resource(
            "invitation",
            "hookline_invitations",
            (_OF_ORGANIZATION,),
            (
                _id("organization_id"),
                _text("email"),
                _text("state"),
                _id("inviter_user_id"),
                _id("accepted_user_id"),
                _text("role_slug"),
                _time("accepted_at"),
                _time("revoked_at"),
                _time("expires_at"),
                *_TIMES,
            ),
            secret=frozenset(SECRETS["invitation.*"]),
            is_optional=True,
        ),
        Resource(
            "session",
            "hookline_sessions",
            (_OF_USER, _OF_ORGANIZATION),
            (
                _id("user_id"),
                _id("organization_id"),
                _text("status"),
                _text("auth_method"),
                _text("ip_address"),
                _text("user_agent"),
                _time("expires_at"),
                _time("ended_at"),
                *_TIMES,
            ),
            is_optional=True,
        ),
    )
}

DIRECTORY_MEMBERSHIP: Final = Edge(
    "directory_membership",
    "hookline_directory_memberships",
    (("directory_group", "group_id"), ("directory_user", "user_id")),
    ("group", "user"),
    ("directory", "directory_id"),
)
GROUP_MEMBER: Final = Edge(
    "group_member",
    "hookline_group_members",
    (("group", "group_id"), ("organization_membership", "organization_membership_id")),
)
EDGES: Final[Mapping[str, Edge]] = {edge.name: edge for edge in (DIRECTORY_MEMBERSHIP, GROUP_MEMBER)}

OPTIONAL: Final = frozenset(resource.name for resource in RESOURCES.values() if resource.is_optional)

# Which list says whether a child is there: child -> parent. rules/merge.py calls it the floor of the parent's scope.
LISTED_IN: Final[Mapping[str, str]] = {
    resource.lists[1]: resource.name for resource in RESOURCES.values() if resource.lists is not None
}

# What the source lists completely, and which column names the list an object or a pair is in; '' where it lists all
# that it has at once.
LISTINGS: Final[Mapping[str, str]] = {
    "organization": "",
    "directory": "",
    "directory_user": "directory_id",
    "directory_group": "directory_id",
    DIRECTORY_MEMBERSHIP.name: "group_id",
}

# A deletion's state is the one before it and says nothing (workos-protocol §6, dsync.deleted).
_NOT_SAID_BY_DELETION: Final[Mapping[str, frozenset[str]]] = {"directory": frozenset({"state"})}


def observe(event: Event, entry_id: str, received_ms: int, optional: Collection[str] = ()) -> Observed:
    """What an event says about the mirror.

    Args:
        event: of any type; one that is not mirrored says nothing.
        entry_id: what the inbox keeps it under: the event's id, or its hash where it has none.
        received_ms: when it first came, the last resort for a clock.
        optional: those of `OPTIONAL` that were asked for.
    """
    type_ = CATALOGUE.get(event.type)
    if type_ is None:
        return Observed()
    if type_.edge is not None and type_.edge.resource in EDGES:
        kind: EdgeKind = "add" if type_.edge.adds else "remove"
        return _observe_edge(event, entry_id, received_ms, EDGES[type_.edge.resource], kind)
    resource = RESOURCES.get(type_.object or "")
    if resource is None or type_.kind not in ("F", "D") or (resource.is_optional and resource.name not in optional):
        return Observed()
    key = resource.key_of(event.data)
    if key is None:
        return Observed(ignored=resource.lacks(event.data))
    data = _cleaned(event.data) if _NUL_IN_JSON in event.raw else event.data
    payload = _payload(resource, data, is_deletion=type_.kind == "D")
    updated_us = _time_us(payload.get("updated_at"))
    clock, uncertain = _clock(event, entry_id, received_ms, updated_us)
    seen = Observation(
        "upsert" if type_.kind == "F" else "delete", resource.name, key, payload, updated_us, clock, uncertain
    )
    if type_.kind == "D" or resource.lists is None:
        return Observed((seen,))
    return Observed((seen, *_listed(resource, seen)))


def observe_read(resource: str, item: dict[str, Any], requested_us: int) -> Observed:
    """What an answer of the source's API says that shows an object (merge rule A17).

    Args:
        resource: of `RESOURCES`.
        item: the object as it came.
        requested_us: when the request was sent, in the source's time (`SourceApi`).
    """
    kind = RESOURCES[resource]
    key = kind.key_of(item)
    if key is None:
        return Observed(ignored=kind.lacks(item))
    payload = _payload(kind, item if _is_storable(item) else _cleaned(item))
    seen = Observation("read", resource, key, payload, _time_us(payload.get("updated_at")), read_clock(requested_us))
    return Observed((seen,) if kind.lists is None else (seen, *_listed(kind, seen)))


def observe_absent(resource: str, id_: str, requested_us: int) -> Observed:
    """What the answer 404 to a request for one object says (A19)."""
    return Observed((Observation("absent", resource, id_, None, None, absence_clock(requested_us)),))


def observe_listed(edge: str, keys: tuple[str, str], scope_id: str | None, requested_us: int) -> Observed:
    """What a list of one end's others says of a pair that is in it (C7); `requested_us` is of the page it was on."""
    return Observed(edge=EdgeObservation("add", edge, keys, scope_id, read_clock(requested_us)))


def observe_unlisted(edge: str, keys: tuple[str, str], scope_id: str | None, started_us: int) -> Observed:
    """What a complete list says of a pair that is not in it (C7); `started_us` is when its first page was requested."""
    return Observed(edge=EdgeObservation("remove", edge, keys, scope_id, absence_clock(started_us)))


def _listed(resource: Resource, holder: Observation) -> Iterator[Observation]:
    """The copies in an object's list of children, each of which was there at the holder's time."""
    assert resource.lists is not None
    field, name = resource.lists
    child = RESOURCES[name]
    column = next(column for parent, column in child.parents if parent == resource.name)
    items = holder.payload.get(field) if holder.payload is not None else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and (key := child.key_of(item)) is not None:
            copy = item if _name(item.get(column)) is not None else {**item, column: holder.key}
            updated_us = _time_us(copy.get("updated_at"))
            yield Observation("embedded", name, key, copy, updated_us, holder.clock, holder.uncertain)


def _observe_edge(event: Event, entry_id: str, received_ms: int, edge: Edge, kind: EdgeKind) -> Observed:
    if edge.copies is None:
        copies: list[dict[str, Any]] = []
        places = [column for _, column in edge.ends]
        one_id, other_id = (_name(event.data.get(place)) for place in places)
    else:
        copies = [copy if isinstance(copy := event.data.get(field), dict) else {} for field in edge.copies]
        places = [f"{field}.id" for field in edge.copies]
        one_id, other_id = (_name(copy.get("id")) for copy in copies)
    if one_id is None or other_id is None:
        missing = places[0] if one_id is None else places[1]
        return Observed(ignored=f"data.{missing}: expected 1 to {MAX_NAME} printable characters")
    clock, uncertain = _clock(event, entry_id, received_ms, None)
    scope_id: str | None = None
    if edge.scope is not None:
        column = edge.scope[1]
        scope_id = _name(event.data.get(column)) or next(filter(None, (_name(c.get(column)) for c in copies)), None)
    objects: list[Observation] = []
    has_nul = _NUL_IN_JSON in event.raw
    if kind == "add" and copies:  # the copies in a remove are no observation (merge rule A23)
        for (name, _), key, copy in zip(edge.ends, (one_id, other_id), copies, strict=True):
            payload = _payload(RESOURCES[name], _cleaned(copy) if has_nul else copy)
            updated_us = _time_us(payload.get("updated_at"))
            objects.append(Observation("embedded", name, key, payload, updated_us, clock, uncertain))
    return Observed(tuple(objects), EdgeObservation(kind, edge.name, (one_id, other_id), scope_id, clock, uncertain))


def _clock(event: Event, entry_id: str, received_ms: int, updated_us: int | None) -> tuple[Clock, bool]:
    return event_clock(
        event.id or entry_id,
        event.created_us,
        id_time_us=None if event.created_us is not None or event.id is None else ulid_time_us(event.id),
        updated_us=updated_us,
        arrived_us=received_ms * 1000,
    )


def _payload(resource: Resource, payload: dict[str, Any], *, is_deletion: bool = False) -> dict[str, Any]:
    if is_deletion and (silent := _NOT_SAID_BY_DELETION.get(resource.name)):
        payload = {name: value for name, value in payload.items() if name not in silent}
    if not resource.secret.isdisjoint(payload):
        payload = {name: value for name, value in payload.items() if name not in resource.secret}
    if resource.state_words is not None:
        state = payload.get("state")
        if isinstance(state, str) and state in resource.state_words:
            payload = {**payload, "state": resource.state_words[state]}
    return payload


# -- text both databases can hold -------------------------------------------------------------------------------

# PostgreSQL has no NUL in text, UTF-8 no lone surrogate. The decoder refuses the latter, and lets a NUL in only as
# this escape; the bytes as they came stay in the inbox.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_NUL_IN_JSON = b"\\u0000"


def encode(payload: Payload | None) -> str | None:
    """JSON text of a payload that `observe` gave."""
    return None if payload is None else msgspec.json.encode(payload).decode()


def decode(text: str | None) -> dict[str, Any] | None:
    """The payload of a JSON text out of the mirror."""
    if text is None:
        return None
    payload: dict[str, Any] = msgspec.json.decode(text)
    return payload


def _is_storable(value: Any) -> bool:
    """Whether it has none of them, as far as a quick look tells. What JSON could not hold raises."""
    try:
        return _NUL_IN_JSON not in msgspec.json.encode(value)
    except UnicodeEncodeError:
        return False


def _cleaned(value: Any) -> Any:
    """The value, its unstorable characters replaced by U+FFFD, in names too."""
    if isinstance(value, str):
        return _UNSTORABLE.sub(_REPLACEMENT, value)
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value


def _name(value: Any) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable():
        return value
    return None


def _time_us(value: Any) -> int | None:
    return _parsed_us(value) if isinstance(value, str) and len(value) <= _MAX_TIME else None


# An object's times are looked at twice or more: for its clock, for its column, and in the copies of its neighbours.
@functools.lru_cache(maxsize=2_048)
def _parsed_us(text: str) -> int | None:
    try:
        return parse_us(text)
    except ValueError:
        return None


def mirrored_types(optional: Collection[str] = ()) -> frozenset[str]:
    """The types of events that say something about the mirror.

    Args:
        optional: those of `OPTIONAL` that were asked for.
    """
    resources = {name for name, resource in RESOURCES.items() if not resource.is_optional or name in optional}
    return frozenset(
        type_.name
        for type_ in CATALOGUE.values()
        if (type_.edge is not None and type_.edge.resource in EDGES)
        or (type_.edge is None and type_.kind in ("F", "D") and type_.object in resources)
    )
