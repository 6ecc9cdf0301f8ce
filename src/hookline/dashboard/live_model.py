"""What the live page shows: rows, which of them are wanted, and the window of the newest. No database here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from hookline.wire.catalogue import matches
from hookline.wire.object_ids import object_of

if TYPE_CHECKING:
    from hookline.receiver.live import LiveEntry
    from hookline.sender.live import FedEvent, LastTry

# A body larger than this is not looked into for the id of its object.
MOST_BODY_BYTES: Final = 65_536
# Of one event so many deliveries are shown singly; the rest is a number.
MOST_TRIES: Final = 4
# Most in need of somebody first.
_WORDS: Final = ("failed", "retrying", "held", "running", "pending", "canceled", "delivered")
_OPEN: Final = frozenset({"retrying", "held", "running", "pending"})
SENT_WORDS: Final = (*_WORDS, "no endpoint")
GOT_WORDS: Final = ("waiting", "applied", "stale", "noop", "fact", "ignored", "dead")
# An id longer than this is not shown in a row.
_CURSOR = re.compile(r"(\d{1,18})-(\d{1,18})-(\d{1,15})")


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place at both ends at once: in the feed, in the inbox, and when that was, for what changed since."""

    feed: int = 0
    inbox: int = 0
    at_ms: int = 0

    def __str__(self) -> str:
        return f"{self.feed}-{self.inbox}-{self.at_ms}"

    @classmethod
    def of(cls, text: str | None) -> Cursor | None:
        """As it was written; None for what is no cursor of ours."""
        found = _CURSOR.fullmatch(text or "")
        return cls(*(int(part) for part in found.groups())) if found else None


@dataclass(frozen=True, slots=True)
class Row:
    """An event as it stands at both ends; an end that has not seen it says nothing.

    Attributes:
        at_ms: when it was published, or else received.
        feed_seq, event_row: its place at the sender; None where only the receiver has it.
        counts: how many of its deliveries are in which state, by the words of `SENT_WORDS`, worst first.
        tries: the first few deliveries, worst first.
        entries: its entries in the inbox, one per source.
        changed_ms: when the reader saw its last change, or what the database says where that was before it began.
    """

    event_id: str
    type: str
    object_id: str | None
    environment: str | None
    at_ms: int
    changed_ms: int
    feed_seq: int | None = None
    event_row: int | None = None
    counts: tuple[tuple[str, int], ...] = ()
    tries: tuple[LastTry, ...] = ()
    entries: tuple[LiveEntry, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a delivery of it is still to be decided."""
        return any(word in _OPEN for word, _ in self.counts)

    @property
    def words(self) -> frozenset[str]:
        """Every state it is in, at either end."""
        sent = [word for word, _ in self.counts]
        if self.feed_seq is not None and not sent:
            sent = ["no endpoint"]
        return frozenset((*sent, *(entry.state for entry in self.entries)))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which rows are wanted; what is empty selects nothing away.

    Attributes:
        type: a type name or pattern.
        object_id: whole.
        status: a word of either end.
        text: found anywhere in the ids, the type or the endpoints' URLs, in any case.
        environment: the only one to be seen, of who may see no other.
    """

    type: str = ""
    object_id: str = ""
    status: str = ""
    text: str = ""
    environment: str | None = None

    def takes(self, row: Row) -> bool:
        """Whether a row is one of those."""
        if self.environment is not None and row.environment not in (None, self.environment):
            return False
        if self.type and not matches(self.type, row.type):
            return False
        if self.object_id and row.object_id != self.object_id:
            return False
        if self.status and self.status not in row.words:
            return False
        if not self.text:
            return True
        said = [row.event_id, row.type, row.object_id or ""]
        said += [part for one in row.tries for part in (one.id, one.endpoint_id, one.endpoint_url)]
        said += [entry.source for entry in row.entries]
        return self.text.casefold() in "\n".join(said).casefold()


def lines_of(row: Row) -> list[dict[str, Any]]:
    """A row as a log has it: a line for the event, each delivery that is shown singly, and each entry; by their times.

    `at_ms` is when it came to be as the line says; `lane` is `events`, `sender` or `receiver`.
    """
    named = {"event_id": row.event_id, "event": row.type, "object_id": row.object_id}
    lines: list[dict[str, Any]] = []
    if row.feed_seq is not None:
        lines.append({"at_ms": row.at_ms, "lane": "events", **named, "environment": row.environment})
    lines += [
        {
            "at_ms": one.updated_ms,
            "lane": "sender",
            **named,
            "environment": row.environment,
            "delivery_id": one.id,
            "endpoint_url": one.endpoint_url,
            "state": sent_word(one),
            "attempt": one.attempt,
            "status": one.status,
            "duration_ms": one.duration_ms,
            "reason": one.reason,
        }
        for one in row.tries
    ]
    lines += [
        {
            "at_ms": entry.finished_ms or entry.received_ms,
            "lane": "receiver",
            **named,
            "source": entry.source,
            "via": entry.via,
            "state": entry.state,
            "reason": entry.reason,
        }
        for entry in row.entries
    ]
    return sorted(lines, key=lambda line: line["at_ms"])


class Window:
    """The newest rows, in the order in which they appeared, and which of them have changed since last asked.

    `seen_ms` is when a change was seen; None for what was there before the reader began: then the database's own times
    count.

    Attributes:
        floor: what is at or before these places may have left the window.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: dict[str, Row] = {}
        self._by_event_row: dict[int, str] = {}
        self._by_seq: dict[int, str] = {}
        self._before: dict[str, Row | None] = {}
        self.floor = Cursor()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __reversed__(self) -> Iterator[Row]:
        return iter(list(self._rows.values())[::-1])

    @property
    def inbox_seqs(self) -> list[int]:
        """The places of all its entries."""
        return list(self._by_seq)

    def add_event(self, event: FedEvent, seen_ms: int | None) -> None:
        """An event of the feed: joins the entry that came first, if one did."""
        held = self._rows.get(event.id)
        changed_ms = seen_ms or event.published_ms
        row = replace(
            held or Row(event.id, event.type, None, None, event.published_ms, changed_ms),
            environment=event.environment,
            at_ms=event.published_ms,
            changed_ms=changed_ms,
            feed_seq=event.seq,
            event_row=event.row_id,
        )
        if row.object_id is None and event.body is not None:
            row = replace(row, object_id=object_of(event.type, event.body))
        self._by_event_row[event.row_id] = event.id
        self._put(row)

    def add_entry(self, entry: LiveEntry, seen_ms: int | None) -> None:
        """An entry of the inbox: joins its event, where the window has it."""
        kept = entry._replace(body=None)
        changed_ms = seen_ms or entry.finished_ms or entry.received_ms
        held = self._rows.get(entry.event_id)
        if held is None:
            row = Row(
                event_id=entry.event_id,
                type=entry.type or "",
                object_id=None if entry.body is None else object_of(entry.type, entry.body),
                environment=None,
                at_ms=entry.received_ms,
                changed_ms=changed_ms,
                entries=(kept,),
            )
        else:
            others = [one for one in held.entries if one.seq != entry.seq]
            row = replace(held, entries=(*others, kept), changed_ms=max(held.changed_ms, changed_ms))
        self._by_seq[entry.seq] = entry.event_id
        self._put(row)

    def set_tries(self, event_row: int, tries: Sequence[LastTry], seen_ms: int | None) -> None:
        """How the deliveries of an event stand."""
        if (held := self._rows.get(self._by_event_row.get(event_row, ""))) is None:
            return
        ranked = sorted(tries, key=lambda one: _WORDS.index(sent_word(one)))
        counted = Counter(sent_word(one) for one in ranked)
        counts, shown = tuple(counted.items()), tuple(ranked[:MOST_TRIES])
        if (counts, shown) != (held.counts, held.tries):
            changed_ms = seen_ms or max((one.updated_ms for one in tries), default=held.changed_ms)
            self._put(replace(held, counts=counts, tries=shown, changed_ms=max(held.changed_ms, changed_ms)))

    def set_outcome(self, seq: int, outcome: tuple[str, str | None, int], seen_ms: int | None) -> None:
        """What became of an entry."""
        if (held := self._rows.get(self._by_seq.get(seq, ""))) is None:
            return
        entry = next(one for one in held.entries if one.seq == seq)
        state, reason, finished_ms = outcome
        if (entry.state, entry.finished_ms) != (state, finished_ms):
            changed = entry._replace(state=state, reason=reason, finished_ms=finished_ms)
            entries = tuple(changed if one.seq == seq else one for one in held.entries)
            self._put(replace(held, entries=entries, changed_ms=max(held.changed_ms, seen_ms or finished_ms)))

    def changes(self) -> list[tuple[Row | None, Row]]:
        """Each row that changed since the last call and is still there: as it was then, and as it is."""
        before, self._before = self._before, {}
        return [(was, self._rows[event_id]) for event_id, was in before.items()]

    def raise_floor(self, *, feed: int = 0, inbox: int = 0) -> None:
        """What is at or before these places is not looked for."""
        self.floor = Cursor(max(feed, self.floor.feed), max(inbox, self.floor.inbox))

    def _put(self, row: Row) -> None:
        self._before.setdefault(row.event_id, self._rows.get(row.event_id))
        self._rows[row.event_id] = row
        while len(self._rows) > self._most:
            self._drop(next(iter(self._rows.values())))

    def _drop(self, row: Row) -> None:
        del self._rows[row.event_id]
        self._before.pop(row.event_id, None)
        if row.event_row is not None:
            self._by_event_row.pop(row.event_row, None)
        for entry in row.entries:
            self._by_seq.pop(entry.seq, None)
        self.raise_floor(feed=row.feed_seq or 0, inbox=max((entry.seq for entry in row.entries), default=0))


def sent_word(one: LastTry) -> str:
    """A delivery's state as the page says it."""
    if one.state == "succeeded":
        return "delivered"
    if one.state == "pending" and one.attempt:
        return "retrying"
    return one.state
