"""The two ends as the live page reads them: what is new since a place, and what became of what is in the window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from hookline.dashboard.live_model import MOST_BODY_BYTES

if TYPE_CHECKING:
    from hookline.dashboard.live_model import Cursor, Window
    from hookline.loop import Clock
    from hookline.receiver.app import Receiver
    from hookline.receiver.live import LiveEntry
    from hookline.sender.app import SenderApp
    from hookline.sender.live import LastTry

# What one statement reads at most: four times a second this is 2,000 events a second at each end.
BATCH: Final = 500
# Who is so far behind begins anew near the end: nobody could have read what came between.
MOST_BEHIND: Final = 4 * BATCH
# Of what is counted as passed over; more is "at least".
MOST_COUNTED: Final = 10_000
_MOST_TRIES: Final = 4_000
_SETTLED_AT_ONCE: Final = 100
# On PostgreSQL a number is taken before its entry is committed: it may come after a higher one, or never.
_GAP_MS: Final = 5_000
_MOST_GAPS: Final = 1_000


class SenderLane:
    """Reads the feed, and the deliveries of what is in the window. A place of the feed never fills up late."""

    def __init__(self, sender: SenderApp) -> None:
        self._sender = sender
        self.place = 0
        self._settled_from = 0
        self._tries_from = 0

    def fill(self, window: Window) -> list[tuple[int, Callable[[], None]]]:
        """The newest events, each as its time and what puts it into the window."""
        feed = self._sender.live_feed
        with self._sender.look() as connection:
            events = feed.newest(connection, limit=BATCH, most_bytes=MOST_BODY_BYTES)
        if events:
            self.place = events[-1].seq
        if len(events) == BATCH:
            window.raise_floor(feed=events[0].seq - 1)
        return [(event.published_ms, partial(window.add_event, event, None)) for event in events]

    def look(self, window: Window, seen_ms: int | None) -> int:
        """Put what is new into the window; how many events were passed over."""
        feed, passed = self._sender.live_feed, 0
        with self._sender.look() as connection:
            events = feed.after(connection, self.place, limit=BATCH, most_bytes=MOST_BODY_BYTES)
            if events:
                self.place = events[-1].seq
            if len(events) == BATCH and (last := feed.last(connection)) - self.place > MOST_BEHIND:
                passed = feed.between(connection, self.place, last - BATCH, most=MOST_COUNTED)
                self.place = last - BATCH
                window.raise_floor(feed=self.place)
            for event in events:
                window.add_event(event, seen_ms)
            rows = self._to_read(window)
            tries = feed.tries(connection, rows, limit=_MOST_TRIES) if rows else []
        self._take_tries(window, rows, tries, seen_ms)
        return passed

    def missed(self, window: Window, after: Cursor) -> int:
        """How many events after a place have left the window."""
        if after.feed >= window.floor.feed:
            return 0
        with self._sender.look() as connection:
            count = self._sender.live_feed.between(connection, after.feed, window.floor.feed, most=MOST_COUNTED)
        return count - sum(after.feed < (row.feed_seq or 0) <= window.floor.feed for row in window)

    def _to_read(self, window: Window) -> list[int]:
        """What is open, each time; what is settled in turn, since a person may retry it."""
        known = [(row.event_row, row.is_open or not row.counts) for row in window if row.event_row is not None]
        settled = [event_row for event_row, is_open in known if not is_open]
        if self._settled_from >= len(settled):
            self._settled_from = 0
        turn = settled[self._settled_from : self._settled_from + _SETTLED_AT_ONCE]
        self._settled_from += _SETTLED_AT_ONCE
        wanted = {event_row for event_row, is_open in known if is_open}.union(turn)
        return sorted(event_row for event_row in wanted if event_row >= self._tries_from)

    def _take_tries(self, window: Window, rows: list[int], tries: list[LastTry], seen_ms: int | None) -> None:
        by_row: dict[int, list[LastTry]] = {event_row: [] for event_row in rows}
        for one in tries:
            by_row[one.event_row].append(one)
        self._tries_from = 0
        if len(tries) == _MOST_TRIES:
            # The last event may be cut: next time from there on. One that fills all of it is counted "at least".
            last = tries[-1].event_row
            is_alone = tries[0].event_row == last
            self._tries_from = last + 1 if is_alone else last
            by_row = {row: found for row, found in by_row.items() if row < self._tries_from}
        for event_row, found in by_row.items():
            window.set_tries(event_row, found, seen_ms)


class ReceiverLane:
    """Reads the inbox, and what became of the entries in the window."""

    def __init__(self, receiver: Receiver, clock: Clock) -> None:
        self._receiver = receiver
        self._clock = clock
        self.place = 0
        self._gaps: dict[int, int] = {}

    def fill(self, window: Window) -> list[tuple[int, Callable[[], None]]]:
        """The newest entries, each as its time and what puts it into the window."""
        with self._receiver.look_live() as (inbox, connection):
            entries = inbox.newest(connection, limit=BATCH, most_bytes=MOST_BODY_BYTES)
        before = entries[0].seq - 1 if len(entries) == BATCH else 0
        window.raise_floor(inbox=before)
        if entries:
            self._note_gaps(before, entries)
            self.place = entries[-1].seq
        return [(entry.received_ms, partial(window.add_entry, entry, None)) for entry in entries]

    def look(self, window: Window, seen_ms: int | None) -> int:
        """Put what is new into the window; how many entries were passed over."""
        passed, now_ms = 0, self._clock.now_ms()
        self._gaps = {seq: until_ms for seq, until_ms in self._gaps.items() if until_ms > now_ms}
        with self._receiver.look_live() as (inbox, connection):
            late = inbox.some(connection, self._gaps, most_bytes=MOST_BODY_BYTES) if self._gaps else []
            entries = inbox.after(connection, self.place, limit=BATCH, most_bytes=MOST_BODY_BYTES)
            if entries:
                self._note_gaps(self.place, entries)
                self.place = entries[-1].seq
            if len(entries) == BATCH and (last := inbox.last(connection)) - self.place > MOST_BEHIND:
                passed = inbox.between(connection, self.place, last - BATCH, most=MOST_COUNTED)
                self.place = last - BATCH
                window.raise_floor(inbox=self.place)
            for entry in (*late, *entries):
                self._gaps.pop(entry.seq, None)
                window.add_entry(entry, seen_ms)
            seqs = window.inbox_seqs
            outcomes = inbox.outcomes(connection, seqs) if seqs else {}
        for seq, outcome in outcomes.items():
            window.set_outcome(seq, outcome, seen_ms)
        return passed

    def missed(self, window: Window, after: Cursor) -> int:
        """How many entries after a place have left the window."""
        if after.inbox >= window.floor.inbox:
            return 0
        with self._receiver.look_live() as (inbox, connection):
            count = inbox.between(connection, after.inbox, window.floor.inbox, most=MOST_COUNTED)
        return count - sum(after.inbox < seq <= window.floor.inbox for seq in window.inbox_seqs)

    def _note_gaps(self, after: int, entries: list[LiveEntry]) -> None:
        until_ms = self._clock.now_ms() + _GAP_MS
        there = {entry.seq for entry in entries}
        last = entries[-1].seq
        for seq in range(max(after + 1, last - _MOST_GAPS), last):
            if seq not in there and len(self._gaps) < _MOST_GAPS:
                self._gaps[seq] = until_ms
