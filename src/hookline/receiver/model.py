"""The values that pass between the parts of the receiver's door: what came, what was decided, what is kept.

No behaviour and no storage here. The mirror's own values are in `handlers.py` and `mirror.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from hookline.errors import BodyReason, SignatureReason

# How an entry came: a webhook through the door, or the feed of the source's events, read by the tail.
Via: TypeAlias = Literal["webhook", "tail"]
# What became of what was to be kept: kept, known already with the same bytes, known already with other bytes; or known
# already as it came the other way, where bytes differ for no reason but that.
PutKind: TypeAlias = Literal["accepted", "duplicate", "conflict", "known"]
ReceiptKind: TypeAlias = Literal["accepted", "duplicate", "conflict", "known", "greeted", "refused"]
RefusalReason: TypeAlias = (
    SignatureReason
    | Literal[
        "path",
        "method",
        "size",
        "content_type",
        "address",
        "timeout",
        "consumed",
        "no_secret",
        "no_list",
        "unavailable",
    ]
)

# What is no longer in a body that is kept: one-time secrets, since the door; or people, too, since some time later.
Redacted: TypeAlias = Literal["secrets", "people"]

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

# Before the hash of the signed bytes, under which an event is kept that has no id of its own.
HASHED: Final = "sha256:"

# What is refused at a path where there is no door is counted under this, where there are several sources.
NO_SOURCE: Final = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, whatever server it came through.

    Attributes:
        method: upper case.
        path: decoded, relative to where the receiver is mounted.
        headers: lower-cased names and values as bytes, in their order, repeated where they were repeated.
        body: the bytes as they came.
        peer: the address at the other end of the connection; None where there is none (a Unix socket).
    """

    method: str
    path: str
    headers: Headers
    body: bytes
    peer: str | None


class Entry(NamedTuple):
    """A verified request, or an event of the feed, ready to be kept: a row of `hookline_inbox`, in its verb's order.

    A tuple, since it is bound to the statement as it is: at tens of thousands a second one more object each counts.

    `event_id` is the event's own id (by Standard Webhooks that of the header, whatever the body is), or `sha256:<hex>`
    of the signed bytes where it has none or is no event; `sha256` is of those, too. `body` are those bytes, unless
    `redacted` says what was cut out of them. `reason` says why it is no event, or is None. `signed_ms` (None of
    what nobody signed) and `received_ms` are Unix milliseconds. `traceparent` is what it is kept under, where the door
    traces. `object_sequence` is which of its object's events it says it is.
    """

    source: str
    event_id: str
    sha256: bytes
    type: str | None
    body: bytes
    signed_ms: int | None
    received_ms: int
    reason: BodyReason | None
    traceparent: str | None = None
    redacted: Redacted | None = None
    via: Via = "webhook"
    object_sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the door decided about a request, and what it is answered.

    Attributes:
        status: of the HTTP answer.
        kind: accepted, duplicate, conflict and known are in the inbox; greeted is a GET or HEAD; refused is not kept.
        event_id: what it is kept under.
        reason: why it is refused, or why what is kept is no event.
        message: for the operator: no secret, digest, token or content.
        headers: of the answer.
    """

    status: int
    kind: ReceiptKind
    event_id: str | None = None
    reason: RefusalReason | BodyReason | None = None
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class RejectionRow(NamedTuple):
    """Refusals of one reason in one minute; `sample` is the first one's story, without body, digest or token."""

    source: str
    reason: str
    minute_ms: int
    times: int
    sample: str


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """An entry as people read it. `state` is `waiting` or the outcome: applied, stale, noop, fact, ignored, dead.

    `has_body` and `redacted` say what is still kept of the bytes.
    """

    seq: int
    source: str
    event_id: str
    sha256: bytes
    type: str | None
    signed_ms: int | None
    received_ms: int
    state: str
    reason: str | None
    due_ms: int | None
    attempt: int
    finished_ms: int | None
    duplicates: int
    conflicts: int
    via: Via
    has_body: bool
    redacted: Redacted | None


@dataclass(frozen=True, slots=True)
class InboxStats:
    """The inbox in numbers. `oldest_waiting_ms` is when the oldest entry still to be applied was received."""

    entries: int
    waiting: int
    oldest_waiting_ms: int | None
    duplicates: int
    conflicts: int
    outcomes: dict[str, int] = field(default_factory=dict)
    rejections: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as people read it. `error` is a traceback without payloads; `event_id` is what it is about or caused it."""

    row_id: int
    handler: str
    state: str
    tries: int
    due_ms: int
    finished_ms: int | None
    error: str | None
    event_id: str | None
    resource: str | None
    object_id: str | None
    replay_id: int | None
    source: str


@dataclass(frozen=True, slots=True)
class HandlerRow:
    """A handler as people read it: `source` is the one it is for, None for all; `probe_ms` is when a paused one is
    tried next by itself, None for never.
    """

    name: str
    kind: str
    pattern: str
    source: str | None
    paused_reason: str | None
    probe_ms: int | None
    registered_ms: int
    pending: int
    running: int
    dead: int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker as others see it: `seen_ms` is renewed about once a minute, `stopped_ms` set by an orderly end."""

    name: str
    handlers: tuple[str, ...]
    started_ms: int
    seen_ms: int
    stopped_ms: int | None


@dataclass(frozen=True, slots=True)
class PassRow:
    """How a source is compared with the mirror: its newest pass, and what came of those before.

    `completed_ms` is when a whole pass that puts things right last came to its end; `drift` how many differences of the
    newest dry run are open, counted up to `queries.COUNTED`.
    """

    source: str
    row_id: int
    kind: str
    mode: str
    state: str
    reason: str | None
    created_ms: int
    updated_ms: int
    completed_ms: int | None
    drift: int


@dataclass(frozen=True, slots=True)
class AddressListRow:
    """A published list of addresses: the last good copy, and how reading it went last.

    `document` is None where it was never read. `error` says why it could not be read at `failed_ms`; both are None
    where the last attempt was a good one.
    """

    url: str
    document: bytes | None
    fetched_ms: int | None
    failed_ms: int | None
    error: str | None


class TailRow(NamedTuple):
    """How far a source's feed is read: a row of `hookline_tails`, in the order of its columns.

    Attributes:
        state: `reading`, or `snapshot` while a pass is to stand in for events that the source no longer kept.
        cursor: the id of the event read last; None before the first.
        cursor_us: its time; before the first event, where reading begins.
        lost_us: from where on events are missing, in the state `snapshot`.
        pass_id: the pass that stands in for them; None before it was begun.
        read, kept, late: events read, those of them that were new, and those found by reading once more.
        read_ms: when it was last noted that reading goes well: several times a minute.
        failed_ms, error: since when it fails, and why it did last; None where it does not.
    """

    source: str
    state: Literal["reading", "snapshot"]
    cursor: str | None
    cursor_us: int
    lost_us: int | None
    pass_id: int | None
    read: int
    kept: int
    late: int
    read_ms: int | None
    failed_ms: int | None
    error: str | None


def shown_id(event_id: str) -> str:
    """An entry's id for the log: one that has none of its own is kept under its whole digest, which stays out of it."""
    return f"{event_id[:15]}…" if event_id.startswith(HASHED) else event_id
