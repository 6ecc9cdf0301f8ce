"""What the sender keeps, as values: endpoints, events, deliveries and attempts.

Frozen and slotted; a field is a column and the verbs select in field order, so that a row becomes its value
by `Delivery(*row)`. Nothing here reads a database, decides or renders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec

Environment: TypeAlias = Literal["production", "staging"]
ENVIRONMENTS: Final[tuple[Environment, ...]] = ("production", "staging")

EndpointStatus: TypeAlias = Literal["enabled", "disabled"]
DeliveryState: TypeAlias = Literal["pending", "running", "succeeded", "failed", "canceled", "held"]
EventOrigin: TypeAlias = Literal["published", "test", "operational"]
DeliveryOrigin: TypeAlias = Literal["published", "test", "replay"]
ReplayState: TypeAlias = Literal["pending", "succeeded", "canceled"]
AttemptKind: TypeAlias = Literal["scheduled", "manual", "probe"]
SchemaMode: TypeAlias = Literal["off", "warn", "reject"]
AttemptOutcome: TypeAlias = Literal["succeeded", "failed", "gone", "unknown"]

# What a listener may be called: it is part of a URL and of commands.
LISTENER_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}"
# Told by the sender itself, and to those alone who ask by name or by `endpoint.*` and `delivery.*`: `*` is for events.
OPERATIONAL_TYPES: Final = frozenset({"endpoint.failing", "endpoint.disabled", "delivery.failed"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that wants events.

    `status` is WorkOS's switch, turned by a person: a disabled endpoint gets no deliveries. `paused_ms` is
    ours: deliveries are made and held. `secret_enc` is the ciphertext of `whsec_…`; only `secrets.SecretBox`
    opens it. `version` counts changes of url, status, secret or subscriptions. `schedule` is a JSON override
    or None. `events` are exact type names or patterns (`dsync.*`, `*`), sorted.

    `timeout_ms` is of one whole attempt, None the default; `rate_limit_per_min` None is unlimited; `headers_enc` is
    sealed JSON, a list of [name, value, is_sensitive]. `old_secret_enc` is the secret before the newest, until
    `old_secret_until_ms`; `signs_with_old` says which of both goes first. `failing_since_ms` is the first failed
    attempt since the last success, None while healthy. `is_half_open`: we had disabled it, and one delivery goes first.
    """

    row_id: int
    id: str
    environment: Environment
    url: str
    status: EndpointStatus
    disabled_reason: str | None
    paused_ms: int | None
    description: str | None
    secret_enc: str
    version: int
    schedule: str | None
    created_ms: int
    updated_ms: int
    deleted_ms: int | None
    timeout_ms: int | None
    rate_limit_per_min: int | None
    headers_enc: str | None
    standard_webhooks: bool
    old_secret_enc: str | None
    old_secret_until_ms: int | None
    signs_with_old: bool
    probe_failures: int
    probe_after_ms: int | None
    failing_since_ms: int | None
    failing_attempts: int
    failing_warned: int
    is_half_open: bool
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointVersion:
    """An endpoint as it was from `from_ms` until its next version. `deleted_ms` is set in the last of a deleted one."""

    endpoint_row: int
    version: int
    from_ms: int
    url: str
    status: EndpointStatus
    disabled_reason: str | None
    paused_ms: int | None
    deleted_ms: int | None
    events: tuple[str, ...]

    @property
    def row_id(self) -> int:
        """Its place among the endpoint's versions."""
        return self.version

    @property
    def id(self) -> str:
        """The version as a cursor."""
        return str(self.version)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored API key: its hash, and what people tell it apart by. `hint` is its last four characters.

    `key_enc` is the sealed key, kept of staging keys alone. `last_used_ms` is no finer than a minute.
    """

    key_hash: str
    environment: Environment
    id: str
    name: str | None
    hint: str | None
    key_enc: str | None
    created_ms: int
    last_used_ms: int | None
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what: `actor` is a key's id or hint, or `command`; `detail` is JSON text without secrets and payloads."""

    row_id: int
    environment: Environment
    at_ms: int
    actor: str
    action: str
    object_id: str | None
    detail: str

    @property
    def id(self) -> str:
        """What the lists call it."""
        return f"audit_{self.row_id}"


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who hears the feed over a relay, under a name of their own.

    Attributes:
        secret_enc: signs what they get; only `secrets.SecretBox` opens it.
        events: names and patterns they asked for last; empty before that.
        place: in the feed, up to which everything was answered; None before they first began.
        session: of the connection they have; it may be one whose process was killed: see `seen_ms`.
        seen_ms: when a process last had a connection of theirs; None: never.
        answered, succeeded: how many answers they gave, and how many of those were 2xx.
    """

    row_id: int
    environment: Environment
    name: str
    secret_enc: str
    events: tuple[str, ...]
    place: int | None
    session: str | None
    seen_ms: int | None
    answered: int
    succeeded: int
    answered_ms: int | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A published event. `body` is the canonical bytes: sent on every attempt, answered by `GET /events`."""

    row_id: int
    id: str
    environment: Environment
    type: str
    organization_id: str | None
    body: bytes
    created_ms: int
    published_ms: int


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event without its body: as a replay or an explanation meets it."""

    row_id: int
    environment: str
    type: str
    origin: str
    published_ms: int
    pruned_ms: int | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, with what its three lists show of both.

    `attempt` counts tries begun, `slots_used` the schedule's slots spent; `next_kind` says what the next try
    is. `planned_ms` is the schedule's own next time while a manual retry goes first. `first_ms` is when the
    first try began: the schedule counts from there. `reason` says why `state` is what it is.
    """

    row_id: int
    id: str
    environment: Environment
    event_row: int
    endpoint_row: int
    origin: DeliveryOrigin
    state: DeliveryState
    due_ms: int | None
    leased_until_ms: int | None
    attempt: int
    slots_used: int
    unknown_attempts: int
    next_kind: AttemptKind
    planned_ms: int | None
    first_ms: int | None
    reason: str | None
    created_ms: int
    updated_ms: int
    event_id: str
    event_type: str
    endpoint_id: str
    endpoint_url: str


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One HTTP try of a delivery, numbered from 1.

    `outcome` is `unknown` where the process died before it could tell. `status` is the HTTP status, None
    where no answer came. `evidence` is JSON text: the request as sent with secrets masked, the address
    dialled, timings and the answer.
    """

    delivery_row: int
    number: int
    kind: AttemptKind
    outcome: AttemptOutcome
    reason: str | None
    status: int | None
    started_ms: int
    duration_ms: int | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Replay:
    """Events of the past sent once more, as far as it has come.

    `filter` is JSON text (`replays.Selection`). `state` is `pending` until it is over. `total` pairs of event and
    endpoint were counted when it was asked for; of those met so far `made` became deliveries, and `skipped`, JSON text,
    says how many did not, by reason. `position` is the last event row done.
    """

    row_id: int
    id: str
    environment: Environment
    filter: str
    state: ReplayState
    reason: str | None
    total: int
    made: int
    skipped: str
    position: int
    last_event_row: int
    rate_per_s: int | None
    created_ms: int
    updated_ms: int
    finished_ms: int | None


@dataclass(frozen=True, slots=True)
class OwnEventType:
    """An event type that its users described. `schema` and `sample` are JSON text, of an event's `data`.

    `mode` says what the schema does when an event is published: nothing, warn, or refuse it.
    """

    environment: Environment
    name: str
    description: str | None
    schema: str | None
    mode: SchemaMode
    sample: str | None
    created_ms: int
    updated_ms: int
