"""What the API and the pages read: lists with cursors, one delivery with its attempts.

Cursors are ids, exclusive. An id that is no row of the environment is refused, never taken for the beginning:
a list that silently starts over would be taken for new data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

from hookline.errors import RequestError
from hookline.sender.retention import KEYS_S
from hookline.sender.store import EVERY_ENDPOINT, LAST_ROW, AuditFilter, DeliveryFilter, EndpointFilter, FeedFilter
from hookline.wire.timestamps import ulid_time_us

if TYPE_CHECKING:
    from hookline.sender.job_store import JobStore
    from hookline.sender.model import (
        Attempt,
        AuditEntry,
        Delivery,
        Endpoint,
        EndpointVersion,
        Environment,
        PastEvent,
        Replay,
        StoredEvent,
    )
    from hookline.sender.store import Concerned, Direction, SenderStore
    from hookline.storage.verbs import Connection

HOUR_MS: Final = 3_600_000
# Where counting stops: an index is read that far in some 10 ms.
COUNTED: Final = 100_000

Order: TypeAlias = Literal["normal", "desc", "asc"]


class _Named(Protocol):
    @property
    def id(self) -> str: ...


class _Listed(_Named, Protocol):
    @property
    def row_id(self) -> int: ...


T = TypeVar("T")
P = TypeVar("P")
N = TypeVar("N", bound=_Named)
R = TypeVar("R", bound=_Listed)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page: `limit` items, after or before an id, in an order of creation.

    `desc` is newest first, `asc` oldest first. `normal` shows newest first and turns the cursors round: `before`
    leads to older items, `after` to newer ones (reference: the API's pagination).
    """

    limit: int = 10
    before: str | None = None
    after: str | None = None
    order: Order = "desc"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in the order asked for, and the cursors that lead on; None where nothing is left that way."""

    items: list[T]
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Which deliveries, by what people know: ids, a state, a type."""

    state: str | None = None
    event_type: str | None = None
    event_id: str | None = None
    endpoint_id: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in one environment. Each count stops at `COUNTED`: that many means that many or more.

    Attributes:
        due: pending and due. soon: due within an hour: retries. later: planned for later than that.
        held: kept for endpoints that are paused or disabled.
        oldest_ms: the earliest due time of open endpoints' pending deliveries, perhaps in the future; None: no such.
    """

    due: int
    soon: int
    later: int
    held: int
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class OpenWork:
    """What is under way in all processes; each count stops at `COUNTED`."""

    running: int
    replays: int


@dataclass(frozen=True, slots=True)
class UnwellEndpoint:
    """An endpoint whose attempts fail, or that was disabled for it: `disabled_reason` is `failing` or `gone` then.

    `failing_since_ms` is its first failed attempt since the last success.
    """

    id: str
    environment: Environment
    disabled_reason: str | None
    failing_since_ms: int | None
    failing_attempts: int


def unwell_endpoints(store: SenderStore, connection: Connection, *, limit: int = 50) -> list[UnwellEndpoint]:
    """Those of all environments, the one that has been failing longest first."""
    return [UnwellEndpoint(*row) for row in store.endpoints_unwell(connection, limit=limit)]


@dataclass(frozen=True, slots=True)
class EndingSecret:
    """An endpoint whose old secret soon ends, and when."""

    id: str
    environment: Environment
    until_ms: int


def ending_secrets(store: SenderStore, connection: Connection, *, before_ms: int) -> list[EndingSecret]:
    """Endpoints of all environments whose old secret ends before a time, at most 20 of them."""
    return [EndingSecret(*row) for row in store.overlapping(connection, before_ms=before_ms)]


def backlog(store: SenderStore, connection: Connection, environment: Environment, *, now_ms: int) -> Backlog:
    """What waits now, at a cost of a few index steps per endpoint and at most `COUNTED` per count."""
    return Backlog(*store.backlog(connection, environment, now_ms=now_ms, soon_ms=now_ms + HOUR_MS, most=COUNTED))


def open_work(store: SenderStore, connection: Connection) -> OpenWork:
    """What is under way."""
    return OpenWork(*store.open_work(connection, most=COUNTED))


def endpoint_page(
    store: SenderStore,
    connection: Connection,
    environment: Environment,
    wanted: PageRequest,
    chosen: EndpointFilter = EVERY_ENDPOINT,
) -> Page[Endpoint]:
    """A page of live endpoints. RequestError 422 `invalid_cursor` where the cursor is unknown."""

    def row_of(cursor: str) -> int | None:
        # A deleted endpoint is still a place in the list: a walk that deletes as it goes must not break.
        endpoint = store.endpoint(connection, environment, cursor, with_deleted=True)
        return endpoint.row_id if endpoint else None

    def read(direction: Direction, cursor_row: int, limit: int) -> list[Endpoint]:
        return store.endpoints(connection, environment, direction, cursor_row, limit, chosen)

    return _page(read, row_of, wanted)


def version_page(
    store: SenderStore, connection: Connection, endpoint_row: int, wanted: PageRequest
) -> Page[EndpointVersion]:
    """A page of an endpoint's versions. RequestError 422 `invalid_cursor` where the cursor is none of them."""

    def row_of(cursor: str) -> int | None:
        number = _whole(cursor)
        found = [] if number is None else store.endpoint_versions(connection, endpoint_row, "newer", number - 1, 1)
        return number if found and found[0].version == number else None

    def read(direction: Direction, cursor_row: int, limit: int) -> list[EndpointVersion]:
        return store.endpoint_versions(connection, endpoint_row, direction, cursor_row, limit)

    return _page(read, row_of, wanted)


def audit_page(
    store: SenderStore, connection: Connection, environment: Environment, chosen: AuditFilter, wanted: PageRequest
) -> Page[AuditEntry]:
    """A page of the audit trail. RequestError 422 `invalid_cursor` where the cursor is unknown."""

    def row_of(cursor: str) -> int | None:
        row_id = _whole(cursor.removeprefix("audit_"))
        return row_id if row_id is not None and store.has_audit_entry(connection, environment, row_id) else None

    def read(direction: Direction, cursor_row: int, limit: int) -> list[AuditEntry]:
        return store.audit_entries(connection, environment, chosen, direction, cursor_row, limit)

    return _page(read, row_of, wanted)


@dataclass(frozen=True, slots=True)
class _Numbered(Generic[T]):
    row_id: int
    id: str
    item: T


def page_of_all(items: Sequence[T], id_of: Callable[[T], str], wanted: PageRequest) -> Page[T]:
    """A page of a list that is short, given all of it, oldest first. RequestError 422 `invalid_cursor`."""
    numbered = [_Numbered(number, id_of(item), item) for number, item in enumerate(items, start=1)]

    def row_of(cursor: str) -> int | None:
        return next((one.row_id for one in numbered if one.id == cursor), None)

    def read(direction: Direction, cursor_row: int, limit: int) -> list[_Numbered[T]]:
        if direction == "newer":
            return [one for one in numbered if one.row_id > cursor_row][:limit]
        return [one for one in reversed(numbered) if one.row_id < cursor_row][:limit]

    page = _page(read, row_of, wanted)
    return Page([one.item for one in page.items], page.before, page.after)


def delivery_page(
    store: SenderStore,
    connection: Connection,
    environment: Environment,
    query: DeliveryQuery,
    wanted: PageRequest,
) -> Page[Delivery]:
    """A page of deliveries. RequestError 422 `invalid_cursor`; 404 where the event or endpoint is unknown."""
    event_row = endpoint_row = None
    if query.event_id is not None:
        event = store.event(connection, environment, query.event_id)
        if event is None:
            raise RequestError(404, "entity_not_found", f"Event not found: '{query.event_id[:80]}'.")
        event_row = event.row_id
    if query.endpoint_id is not None:
        endpoint = store.endpoint(connection, environment, query.endpoint_id, with_deleted=True)
        if endpoint is None:
            raise RequestError(404, "entity_not_found", f"Endpoint not found: '{query.endpoint_id[:80]}'.")
        endpoint_row = endpoint.row_id
    chosen = DeliveryFilter(query.state, query.event_type, event_row, endpoint_row)

    def row_of(cursor: str) -> int | None:
        delivery = store.delivery(connection, environment, cursor)
        return delivery.row_id if delivery else None

    def read(direction: Direction, cursor_row: int, limit: int) -> list[Delivery]:
        return store.deliveries(connection, environment, chosen, direction, cursor_row, limit)

    return _page(read, row_of, wanted)


def delivery_detail(
    store: SenderStore, connection: Connection, environment: Environment, delivery_id: str
) -> tuple[Delivery, list[Attempt]]:
    """One delivery and its attempts. RequestError 404 where it is unknown."""
    delivery = store.delivery(connection, environment, delivery_id)
    if delivery is None:
        raise RequestError(404, "entity_not_found", f"Delivery not found: '{delivery_id[:80]}'.")
    return delivery, store.attempts(connection, delivery.row_id)


def past_event(store: SenderStore, connection: Connection, environment: Environment, event_id: str) -> PastEvent:
    """One event without its body. RequestError 404 where it is unknown."""
    event = store.past_event(connection, environment, event_id)
    if event is None:
        raise RequestError(404, "entity_not_found", f"Event not found: '{event_id[:80]}'.")
    return event


def concerned_page(
    store: SenderStore,
    connection: Connection,
    environment: Environment,
    event: PastEvent,
    endpoint_id: str | None,
    wanted: PageRequest,
) -> Page[Concerned]:
    """A page of the endpoints that an event could concern, or the one named, whenever it was deleted.

    Raises:
        RequestError: 422 `invalid_cursor`; 404 where the endpoint named is unknown.
    """
    if endpoint_id is not None:
        one = store.concerned_one(connection, environment, endpoint_id)
        if one is None:
            raise RequestError(404, "entity_not_found", f"Endpoint not found: '{endpoint_id[:80]}'.")
        return Page([one], None, None)

    def row_of(cursor: str) -> int | None:
        found = store.concerned_one(connection, environment, cursor)
        return found.row_id if found else None

    def read(direction: Direction, cursor_row: int, limit: int) -> list[Concerned]:
        return store.concerned(connection, environment, direction, cursor_row, limit, at_ms=event.published_ms)

    return _page(read, row_of, wanted)


def replay_page(jobs: JobStore, connection: Connection, environment: Environment, wanted: PageRequest) -> Page[Replay]:
    """A page of replays. RequestError 422 `invalid_cursor` where the cursor is unknown."""

    def row_of(cursor: str) -> int | None:
        replay = jobs.replay(connection, environment, cursor)
        return replay.row_id if replay else None

    def read(direction: Direction, cursor_row: int, limit: int) -> list[Replay]:
        return jobs.replays(connection, environment, direction, cursor_row, limit)

    return _page(read, row_of, wanted)


def event_page(
    store: SenderStore,
    connection: Connection,
    environment: Environment,
    chosen: FeedFilter,
    *,
    after: str | None,
    before: str | None,
    limit: int,
    now_ms: int,
) -> Page[StoredEvent]:
    """A page of the feed, oldest first, by place in the feed and not by id.

    `after` starts behind an event, `before` gives the page that ends in front of one. Page.after is the last
    item's id where more follow, else None: a consumer that waits at the tip keeps the last id it processed.

    Raises:
        RequestError: 422 `invalid_cursor` where an id is unknown or not in the feed yet; `cursor_expired` where events
            behind it, that were asked for, are past their retention, and where by its time it may have been forgotten:
            to go on in silence would hide the gap.
    """
    if before is not None:
        before_seq = _seq(store, connection, environment, before, "before")
        found = store.feed_page(connection, environment, chosen, before_seq=before_seq, limit=limit)[::-1]
        return Page(found, None, found[-1].id if found else None)
    after_seq = None
    if after is not None:
        place = store.feed_place(connection, environment, after)
        if place is None:
            made_us = ulid_time_us(after) if after.startswith("event_") else None
            is_old = made_us is not None and made_us < now_ms * 1000 - KEYS_S * 1_000_000
            raise _expired_cursor() if is_old else _unknown_cursor("after")
        after_seq, is_pruned = place
        if is_pruned and store.has_feed_gap(connection, environment, chosen, after_seq):
            raise _expired_cursor()
    found = store.feed_page(connection, environment, chosen, after_seq=after_seq, limit=limit + 1)
    has_more = len(found) > limit
    found = found[:limit]
    return Page(found, None, found[-1].id if has_more else None)


def _seq(store: SenderStore, connection: Connection, environment: Environment, event_id: str, field: str) -> int:
    seq = store.feed_seq(connection, environment, event_id)
    if seq is None:
        raise _unknown_cursor(field)
    return seq


def page_of(
    read: Callable[[Direction, P, int], list[N]],
    place_of: Callable[[str], P | None],
    wanted: PageRequest,
    *,
    at: Callable[[N], P],
    ends: tuple[P, P],
) -> Page[N]:
    """A page of a list whose items have places that can be compared, the newest the largest.

    Args:
        read: at most so many items newer or older than a place, nearest first.
        place_of: the place that a cursor names, or None where it names none.
        at: an item's place.
        ends: places before and after every item.

    Raises:
        RequestError: 422 `invalid_cursor` where `place_of` knows no place.
    """
    shown: Direction = "newer" if wanted.order == "asc" else "older"
    onward: Direction = "newer" if wanted.order in ("asc", "normal") else "older"
    direction, cursor = shown, None
    if wanted.after is not None:
        direction, cursor = onward, _place(place_of, wanted.after, "after")
    elif wanted.before is not None:
        direction, cursor = _opposite(onward), _place(place_of, wanted.before, "before")
    start = cursor if cursor is not None else ends[0 if direction == "newer" else 1]
    found = read(direction, start, wanted.limit + 1)
    has_more = len(found) > wanted.limit
    found = found[: wanted.limit]
    if not found:
        return Page([], None, None)
    # What lies behind where we started: only a cursor can have left something there.
    has_behind = cursor is not None and bool(read(_opposite(direction), at(found[0]), 1))
    cursors = {direction: found[-1].id if has_more else None, _opposite(direction): found[0].id if has_behind else None}
    if direction != shown:
        found.reverse()
    return Page(found, before=cursors[_opposite(onward)], after=cursors[onward])


def _page(
    read: Callable[[Direction, int, int], list[R]], row_of: Callable[[str], int | None], wanted: PageRequest
) -> Page[R]:
    return page_of(read, row_of, wanted, at=lambda item: item.row_id, ends=(0, LAST_ROW))


def _whole(text: str) -> int | None:
    return int(text) if 0 < len(text) <= 18 and text.isascii() and text.isdecimal() else None


def _opposite(direction: Direction) -> Direction:
    return "older" if direction == "newer" else "newer"


def _place(place_of: Callable[[str], P | None], cursor: str, field: str) -> P:
    place = place_of(cursor)
    if place is None:
        raise _unknown_cursor(field)
    return place


def _expired_cursor() -> RequestError:
    message = (
        "events after this one are past their retention: read the state of what you keep, then start without `after`"
    )
    return RequestError(
        422, "cursor_expired", message, [{"code": "cursor_expired", "field": "after", "message": message}]
    )


def _unknown_cursor(field: str) -> RequestError:
    message = f"expected the id of an item of this list in `{field}`"
    return RequestError(
        422, "invalid_cursor", message, [{"code": "invalid_cursor", "field": field, "message": message}]
    )
