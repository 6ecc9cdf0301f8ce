"""Finding entries in a large inbox, the newest first: by an index where there is one, else by looking through what came
last, so far and no farther, and saying how far that was.

No index is kept of types, objects or sources: every webhook would pay for it, and who looks wants what is new. Times
are found by halving the inbox, since entries are numbered in the order in which they came, or nearly so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from hookline.receiver.mirror_store import Claimed
from hookline.receiver.model import InboxEntry, Via
from hookline.receiver.replay import Selection
from hookline.storage import Connection, Row, Verbs

NEWEST: Final = 2**63 - 1
PAGE: Final = 50
# So many entries are looked through for a page, this many with one statement.
LOOKED_MOST: Final = 10_000
LOOKED_AT_ONCE: Final = 1_000
# Doors number and date entries side by side, by clocks of their own.
DISORDER_MS: Final = 600_000

_WITH_ALL: Final = (
    "hookline_inbox i left join hookline_inbox_queue q on q.seq = i.seq"
    " left join hookline_inbox_outcomes o on o.seq = i.seq"
)
_OF_OUTCOME: Final = (
    "hookline_inbox_outcomes o cross join hookline_inbox i left join hookline_inbox_queue q on q.seq = i.seq"
)
_OF_QUEUE: Final = (
    "hookline_inbox_queue q cross join hookline_inbox i left join hookline_inbox_outcomes o on o.seq = i.seq"
)
_CONTAINS: Final = {
    "sqlite": "instr(i.body, :needle) > 0",
    "postgres": "position(cast(:needle as bytea) in i.body) > 0",
}


class _Way(NamedTuple):
    """By which table the entries of a state are found: joined to the inbox, alone, and what holds of its rows.

    States in conditions are literals: a parameter cannot use an index of a part of the rows.
    """

    tables: str
    alone: str
    letter: str
    condition: str
    joined: str = "1 = 1"


_WAYS: Final = {
    "waiting": _Way(_OF_QUEUE, "hookline_inbox_queue q", "q", "1 = 1", "i.seq = q.seq and o.seq is null"),
    **{
        outcome: _Way(_OF_OUTCOME, "hookline_inbox_outcomes o", "o", f"o.outcome = '{outcome}'", "i.seq = o.seq")
        for outcome in ("dead", "stale", "ignored")
    },
}
_WHOLE_INBOX: Final = _Way(_WITH_ALL, "hookline_inbox i", "i", "1 = 1")


@dataclass(frozen=True, slots=True)
class InboxFilter:
    """Which entries; what is None selects nothing away.

    Attributes:
        state: `waiting` or the outcome, as of `InboxEntry`.
        type: a type, a prefix (`dsync.*`) or `*`.
        object_id: whatever speaks of the object of this id, as of `Selection`.
        via: how they came.
        since_ms, until_ms: when they arrived, the end excluded; Unix milliseconds.

    Raises: ConfigError: `type` is no pattern.
    """

    state: str | None = None
    type: str | None = None
    object_id: str | None = None
    via: Via | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def __post_init__(self) -> None:
        self.selection  # noqa: B018 - checks the pattern

    @property
    def selection(self) -> Selection:
        """The same as a replay takes it, which knows nothing of states and ways."""
        return Selection(type=self.type, object_id=self.object_id, since_ms=self.since_ms, until_ms=self.until_ms)


@dataclass(frozen=True, slots=True)
class InboxPage:
    """A page of entries.

    Attributes:
        entries: newest first.
        next_seq: go on below this number; None: that was all.
        looked: how many entries were looked through where no index led to them, to the last of this page at least.
    """

    entries: tuple[InboxEntry, ...]
    next_seq: int | None
    looked: int = 0


class InboxSearch:
    """Looks through the inbox of one source, or of all where `source` is None."""

    def __init__(self, verbs: Verbs, source: str | None) -> None:
        self._verbs = verbs
        self._source = source

    def of_id(self, connection: Connection, event_id: str, sources: Sequence[str], limit: int) -> list[InboxEntry]:
        """The entries of one event id, which each source may have; by index."""
        named = {"event_id": event_id, "sources": json.dumps(list(sources)), "limit": limit}
        which = "i.event_id = :event_id and i.source in (select value from json_each(:sources))"
        return [one.entry for one in self._run(connection, _WHOLE_INBOX, [which], named, has_body=False)]

    def page(
        self,
        connection: Connection,
        wanted: InboxFilter,
        *,
        before_seq: int = NEWEST,
        limit: int = PAGE,
        most: int | None = LOOKED_MOST,
    ) -> InboxPage:
        """The newest entries before `before_seq`.

        Args:
            most: look through so many at most; None for as many as it takes.
        """
        way = _WAYS.get(wanted.state or "", _WHOLE_INBOX)
        filters, named = self._filters(wanted, way)
        least_seq = 0
        if wanted.until_ms is not None:
            before_seq = min(before_seq, self._seq_at(connection, wanted.until_ms + DISORDER_MS))
        if wanted.since_ms is not None:
            least_seq = self._seq_at(connection, wanted.since_ms - DISORDER_MS)
        found: list[InboxEntry] = []
        looked = 0
        while True:
            end_seq = None
            if filters:
                end_seq = self._end_of_part(connection, way, before_seq)
            is_last = end_seq is None or end_seq <= least_seq
            from_seq = least_seq if end_seq is None else max(end_seq, least_seq)
            more = limit + 1 - len(found)
            found += self._part(connection, way, filters, named, wanted, from_seq, before_seq, more)
            if len(found) > limit:
                return InboxPage(tuple(found[:limit]), found[limit - 1].seq, looked)
            if is_last:
                return InboxPage(tuple(found), None, looked)
            looked += LOOKED_AT_ONCE
            before_seq = from_seq
            if most is not None and looked >= most:
                return InboxPage(tuple(found), before_seq, looked)

    def place_before(self, connection: Connection, newest: int) -> int:
        """The number that the so many newest entries lie above; 0 where there are no more than that."""
        words = {"place": "i.seq", "tables": "hookline_inbox i", "filters": "1 = 1"}
        named = {"before_seq": NEWEST, "offset": newest}
        rows = self._verbs.filled("each", "inbox_place", words).run(connection, named)
        return int(rows[0][0]) if rows else 0

    # -- the inside --------------------------------------------------------------------------------------------

    def _filters(self, wanted: InboxFilter, way: _Way) -> tuple[list[str], dict[str, Any]]:
        """What the way does not answer by itself."""
        chosen = wanted.selection.parameters(self._source or "")
        named = {name: chosen[name] for name in ("source", "type", "prefix", "since_ms", "until_ms")}
        filters = {
            "i.source = :source": self._source,
            "i.type = :type": chosen["type"],
            "substr(i.type, 1, length(:prefix)) = :prefix": chosen["prefix"],
            "i.received_ms >= :since_ms": wanted.since_ms,
            "i.received_ms < :until_ms": wanted.until_ms,
            "i.via = :via": wanted.via,
            "coalesce(o.outcome, 'waiting') = :state": wanted.state if way is _WHOLE_INBOX else None,
            _CONTAINS[self._verbs.dialect]: wanted.object_id,
        }
        named |= {"via": wanted.via, "state": wanted.state, "needle": needle_of(wanted.object_id or "")}
        return [condition for condition, value in filters.items() if value is not None], named

    def _part(
        self,
        connection: Connection,
        way: _Way,
        filters: list[str],
        named: dict[str, Any],
        wanted: InboxFilter,
        from_seq: int,
        before_seq: int,
        limit: int,
    ) -> Iterator[InboxEntry]:
        """Up to `limit` entries of a stretch, newest first."""
        stretch = [f"{way.letter}.seq < :before_seq", f"{way.letter}.seq >= :from_seq"]
        speaks = wanted.selection.speaks_of_it
        left = limit
        while left > 0:
            named = {**named, "before_seq": before_seq, "from_seq": from_seq, "limit": left}
            rows = self._run(
                connection,
                way,
                [way.condition, way.joined, *stretch, *filters],
                named,
                has_body=wanted.object_id is not None,
            )
            for row in rows:
                if wanted.object_id is None or speaks(row.claimed):
                    left -= 1
                    yield row.entry
            if wanted.object_id is None or not rows:
                return
            before_seq = rows[-1].entry.seq

    def _run(
        self, connection: Connection, way: _Way, filters: list[str], named: dict[str, Any], *, has_body: bool
    ) -> list[_Found]:
        words = {
            "tables": way.tables,
            "filters": " and ".join(filters),
            "place": f"{way.letter}.seq",
            "body": "i.body" if has_body else "null",
        }
        rows = self._verbs.filled("each", "inbox_page", words).run(connection, named)
        return [_Found.of(row) for row in rows]

    def _end_of_part(self, connection: Connection, way: _Way, before_seq: int) -> int | None:
        """The number of the last entry of the next part; None where that is the last one."""
        words = {"place": f"{way.letter}.seq", "tables": way.alone, "filters": way.condition}
        named = {"before_seq": before_seq, "offset": LOOKED_AT_ONCE - 1}
        rows = self._verbs.filled("each", "inbox_place", words).run(connection, named)
        return rows[0][0] if rows else None

    def _seq_at(self, connection: Connection, at_ms: int) -> int:
        """The number from which on entries arrived at a moment or later, were they numbered in order."""
        ((first, last),) = self._verbs["inbox_ends"].run(connection, {})
        if first is None:
            return 0
        low, high = first, last + 1
        while low < high:
            middle = (low + high) // 2
            rows = self._verbs["inbox_from"].run(connection, {"seq": middle})
            if not rows or rows[0][1] >= at_ms:
                high = middle
            else:
                low = rows[0][0] + 1
        return int(low)


class _Found(NamedTuple):
    entry: InboxEntry
    body: bytes | None

    @classmethod
    def of(cls, row: Row) -> _Found:
        kept: list[Any] = [*row[:-3], bool(row[-3]), row[-2]]
        return cls(InboxEntry(*kept), None if row[-1] is None else bytes(row[-1]))

    @property
    def claimed(self) -> Claimed:
        one = self.entry
        return Claimed(one.seq, one.source, one.event_id, one.type, self.body, one.reason, one.received_ms)


def needle_of(object_id: str) -> bytes:
    """What stands in the bytes of every event about an object, and in few others.

    JSON may escape what is not ASCII, and keys of several parts are not in the bytes as such.
    """
    needle = max(object_id.replace("%2F", "/").replace("%25", "%").split("/"), key=len)
    return needle.encode() if needle.isascii() else b'"'
