"""The log of an environment's events across all endpoints, newest first, with what became of each.

Found by an index where there is one (an object's events, everything), else by looking through what came last, so far
and no farther, and saying how far that was: who looks wants what is new, and no index is kept for every question.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hookline.rules.event_search import EventSearch
from hookline.storage.verbs import Row, Verbs

if TYPE_CHECKING:
    from hookline.sender.model import Environment
    from hookline.storage import Connection, Dialect

NEWEST: Final = 2**62
PAGE: Final = 50
LOOKED_AT_ONCE: Final = 1_000
LOOKED_MOST: Final = 5_000
# Publishers number and date events side by side, by clocks of their own.
DISORDER_MS: Final = 600_000
PILLS_MOST: Final = 400

_DELIVERIES: Final = "select 1 from hookline_sender_deliveries d where d.event_row = e.row_id"
# Keeps PostgreSQL at looking event by event, by index: made a join, it may read the deliveries of all events.
_EACH: Final = "limit 1 offset 0"


def _has(condition: str) -> str:
    return f"exists ({_DELIVERIES} and {condition} {_EACH})"


_STATUSES: Final = {
    "pending": _has("d.state in ('pending', 'running') and d.attempt < 2"),
    "retrying": _has(
        "d.state in ('pending', 'running') and d.attempt >= 1 and (d.state = 'pending' or d.attempt >= 2)"
    ),
    "delivered": f"exists ({_DELIVERIES} {_EACH}) and not " + _has("d.state <> 'succeeded'"),
    "failed": _has("d.state = 'failed'"),
    "held": _has("d.state = 'held'"),
    "canceled": _has("d.state = 'canceled'"),
    "nobody": f"not exists ({_DELIVERIES} {_EACH})",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One delivery of an event, in short."""

    id: str
    endpoint_id: str
    endpoint_url: str
    origin: str
    state: str
    attempt: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event and what became of it.

    Attributes:
        counts: deliveries by state.
        sent: the first of them.
        state: all of it in one word, as the search has it (`STATUSES`).
    """

    row_id: int
    id: str
    type: str
    origin: str
    organization_id: str | None
    object_id: str | None
    created_ms: int
    published_ms: int
    pruned_ms: int | None
    counts: dict[str, int] = field(default_factory=dict)
    sent: tuple[Sent, ...] = ()
    state: str = "nobody"


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of the log.

    Attributes:
        events: newest first.
        next_row: go on below this row; None: that was all.
        looked_ms: where no index led to them: when the last event looked at was published, if there are more.
    """

    events: tuple[LoggedEvent, ...]
    next_row: int | None
    looked_ms: int | None = None


class EventLog:
    """Reads the log."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.sender", dialect)

    def page(
        self,
        connection: Connection,
        environment: Environment,
        wanted: EventSearch,
        *,
        before_row: int = NEWEST,
        limit: int = PAGE,
    ) -> LogPage:
        """The newest events before a row that a search finds."""
        filters, named = _filters(wanted)
        named["environment"] = environment
        if wanted.until_ms is not None:
            before_row = min(before_row, self._row_after(connection, environment, wanted.until_ms + DISORDER_MS))
        has_index = wanted.object_id is not None or wanted.id is not None
        least_ms = None if wanted.since_ms is None else wanted.since_ms - DISORDER_MS
        found: list[LoggedEvent] = []
        looked = 0
        while True:
            end = None if has_index or not filters else self._end_of_part(connection, environment, before_row)
            from_row = 0 if end is None else end[0]
            more = {**named, "before_row": before_row, "from_row": from_row, "limit": limit + 1 - len(found)}
            found += [LoggedEvent(*row) for row in self._run(connection, filters, more)]
            if len(found) > limit:
                return LogPage(self._told(connection, found[:limit]), found[limit - 1].row_id)
            if end is None or (least_ms is not None and end[1] < least_ms):
                return LogPage(self._told(connection, found), None)
            looked += LOOKED_AT_ONCE
            before_row = from_row
            if looked >= LOOKED_MOST:
                return LogPage(self._told(connection, found), before_row, end[1])

    def event(self, connection: Connection, environment: Environment, event_id: str) -> LoggedEvent | None:
        """One event by its id."""
        page = self.page(connection, environment, EventSearch(id=event_id), limit=1)
        return page.events[0] if page.events else None

    def previous(self, connection: Connection, environment: Environment, event: LoggedEvent) -> LoggedEvent | None:
        """The event before, of the same object."""
        if event.object_id is None:
            return None
        search = EventSearch(object_id=event.object_id)
        page = self.page(connection, environment, search, before_row=event.row_id, limit=1)
        return page.events[0] if page.events else None

    def count_newer(self, connection: Connection, environment: Environment, row: int, *, most: int = 100) -> int:
        """How many events came after a row, up to `most`."""
        named = {"environment": environment, "row": row, "most": most}
        return int(self._verbs["events_newer_count"].run(connection, named)[0][0])

    # -- the inside --------------------------------------------------------------------------------------------

    def _run(self, connection: Connection, filters: Sequence[str], named: dict[str, Any]) -> list[Row]:
        words = {"filters": " and ".join(["e.environment = :environment", *filters])}
        return self._verbs.filled("each", "event_log", words).run(connection, named)

    def _end_of_part(self, connection: Connection, environment: Environment, before_row: int) -> tuple[int, int] | None:
        """Row and time of the last event of the next part; None where that is the last one."""
        named = {"environment": environment, "before_row": before_row, "offset": LOOKED_AT_ONCE - 1}
        rows = self._verbs["event_log_place"].run(connection, named)
        return (rows[0][0], rows[0][1]) if rows else None

    def _row_after(self, connection: Connection, environment: Environment, at_ms: int) -> int:
        """The row above those that were published before a time; the newest where none of those has its body still."""
        rows = self._verbs["event_log_before"].run(connection, {"environment": environment, "at_ms": at_ms})
        return rows[0][0] + 1 if rows else NEWEST

    def _told(self, connection: Connection, events: Collection[LoggedEvent]) -> tuple[LoggedEvent, ...]:
        """The events with what became of them."""
        if not events:
            return ()
        named = {"event_rows": json.dumps([one.row_id for one in events]), "limit": PILLS_MOST}
        counts: dict[int, dict[str, int]] = {}
        for row, state, times in self._verbs["event_log_counts"].run(connection, named):
            counts.setdefault(row, {})[state] = int(times)
        sent: dict[int, list[Sent]] = {}
        for row, *values in self._verbs["event_log_sent"].run(connection, named):
            sent.setdefault(row, []).append(Sent(*values))
        return tuple(
            LoggedEvent(
                one.row_id,
                one.id,
                one.type,
                one.origin,
                one.organization_id,
                one.object_id,
                one.created_ms,
                one.published_ms,
                one.pruned_ms,
                counts.get(one.row_id, {}),
                tuple(sent.get(one.row_id, ())),
                _state_of(counts.get(one.row_id, {})),
            )
            for one in events
        )


def _state_of(counts: dict[str, int]) -> str:
    """All deliveries in one word: the one that needs somebody most. `again` are pending ones that were tried."""
    if not counts:
        return "nobody"
    for state, word in (
        ("failed", "failed"),
        ("again", "retrying"),
        ("pending", "pending"),
        ("held", "held"),
        ("canceled", "canceled"),
    ):
        if counts.get(state):
            return word
    return "delivered"


def _filters(wanted: EventSearch) -> tuple[list[str], dict[str, Any]]:
    named: dict[str, Any] = {}
    filters = []

    def where(condition: str, **values: Any) -> None:
        filters.append(condition)
        named.update(values)

    if wanted.id is not None:
        where("e.id = :id", id=wanted.id)
    if wanted.object_id is not None:
        where("e.object_id = :object_id", object_id=wanted.object_id)
    if wanted.type is not None and wanted.type.endswith(".*"):
        where("substr(e.type, 1, length(:prefix)) = :prefix", prefix=wanted.type[:-1])
    elif wanted.type is not None and wanted.type != "*":
        where("e.type = :type", type=wanted.type)
    if wanted.origin is not None:
        where("e.origin = :origin", origin=wanted.origin)
    if wanted.since_ms is not None:
        where("e.published_ms >= :since_ms", since_ms=wanted.since_ms)
    if wanted.until_ms is not None:
        where("e.published_ms < :until_ms", until_ms=wanted.until_ms)
    if wanted.status is not None:
        where(_STATUSES[wanted.status])
    if wanted.endpoint_id is not None:
        # By the event's few deliveries, not by all of the endpoint's: the sum has no index.
        endpoint = "select p.row_id from hookline_sender_endpoints p where p.id = :endpoint_id"
        where(_has(f"d.endpoint_row + 0 = ({endpoint})"), endpoint_id=wanted.endpoint_id)
    if wanted.codes is not None:
        low, high = wanted.codes
        where(
            "exists (select 1 from hookline_sender_deliveries d join hookline_sender_attempts a"
            f" on a.delivery_row = d.row_id where d.event_row = e.row_id and a.status between :low and :high {_EACH})",
            low=low,
            high=high,
        )
    return filters, named
