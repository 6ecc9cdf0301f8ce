"""What is new at both ends, for whoever watches: one reader per process, while somebody does.

A row is an event with what became of it at the sender and at the receiver, joined by its id. The reader looks at most
four times a second, with a bounded number of statements along indexes, and hands what has changed to everybody who
listens. Who is slow is told how many rows they were not shown; nobody's backlog grows beyond the rows there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hookline.dashboard.live_lanes import ReceiverLane, SenderLane
from hookline.dashboard.live_model import Chosen, Cursor, Row, Window
from hookline.errors import RequestError
from hookline.loop import run_loop

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.receiver.app import Receiver
    from hookline.sender.app import SenderApp

# How many rows there are: a browser keeps as many.
WINDOW: Final = 500
LOOK_EVERY_MS: Final = 250
MOST_LISTENERS: Final = 100
# What changed so shortly before a cursor is shown once more: another process's reader may have seen it later.
_AGAIN_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class News:
    """What a listener is to be told next.

    Attributes:
        rows: as they are now.
        gone: ids of rows that no longer match what is asked for.
        passed: how many rows were not shown, and are not going to be.
        cursor: where to go on after this; None where more of the same look is to come.
    """

    rows: Sequence[Row]
    gone: Sequence[str]
    passed: int
    cursor: Cursor | None


class Listener:
    """Somebody who listens, on their event loop. What waits for them is one row per event, and at most `WINDOW`.

    Attributes:
        has_ended: nothing comes any more.
    """

    def __init__(self, chosen: Chosen, after: Cursor) -> None:
        self.chosen = chosen
        self.after = after
        self.is_begun = False
        self.has_ended = False
        self.wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: dict[str, Row | None] = {}
        self._passed = 0
        self._cursor = after

    def offer(self, changes: Sequence[tuple[Row | None, Row]], *, cursor: Cursor, passed: int = 0) -> None:
        """What has changed, as it was and as it is: from the reader's thread."""
        with self._lock:
            self._passed += passed
            self._cursor = cursor
            for was, row in changes:
                if self.chosen.takes(row):
                    self._waiting.pop(row.event_id, None)
                    self._waiting[row.event_id] = row
                elif was is not None and self.chosen.takes(was):
                    self._waiting[row.event_id] = None
            while len(self._waiting) > WINDOW:
                self._waiting.pop(next(iter(self._waiting)))
                self._passed += 1
            has_news = bool(self._waiting or self._passed)
        if has_news:
            self._call()

    def end(self) -> None:
        """Nothing comes any more: from any thread."""
        self.has_ended = True
        self._call()

    def take(self, most: int) -> News | None:
        """The next rows, oldest first; None where there is nothing to tell."""
        with self._lock:
            if not self._waiting and not self._passed:
                return None
            names = list(self._waiting)[:most]
            taken = {name: self._waiting.pop(name) for name in names}
            passed, self._passed = self._passed, 0
            cursor = None if self._waiting else self._cursor
        rows = [row for row in taken.values() if row is not None]
        return News(rows, [name for name, row in taken.items() if row is None], passed, cursor)

    def place(self) -> Cursor | None:
        """How far everything has been told; None before the first look, and while something waits."""
        with self._lock:
            return None if self._waiting or self._passed or not self.is_begun else self._cursor

    def _call(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody listens
            self._loop.call_soon_threadsafe(self.wake.set)


@dataclass(slots=True, eq=False)
class _Reading:
    """One run of the reader, from its first listener to its last."""

    lanes: tuple[SenderLane | ReceiverLane, ...]
    window: Window = field(default_factory=lambda: Window(WINDOW))
    listeners: list[Listener] = field(default_factory=list)
    wake: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    is_filled: bool = False
    next_ms: int = 0

    def cursor(self, now_ms: int) -> Cursor:
        places = {type(lane): lane.place for lane in self.lanes}
        return Cursor(places.get(SenderLane, 0), places.get(ReceiverLane, 0), now_ms)

    def fill(self) -> None:
        """Put the newest into the window, as if it had been watched."""
        found = [item for lane in self.lanes for item in lane.fill(self.window)]
        for _, put in sorted(found, key=lambda item: item[0]):
            put()
        self.look(None)
        self.is_filled = True

    def look(self, seen_ms: int | None) -> int:
        """Put what is new into the window; how many rows were passed over."""
        return max((lane.look(self.window, seen_ms) for lane in self.lanes), default=0)


class LiveSource:
    """The reader of one process, over the ends it has.

    Args:
        sender, receiver: those ends; the caller keeps them.
        clock: what time it is, and how the reader waits.
    """

    def __init__(self, *, sender: SenderApp | None, receiver: Receiver | None, clock: Clock) -> None:
        self._sender = sender
        self._receiver = receiver
        self._clock = clock
        self._lock = threading.Lock()
        self._reading: _Reading | None = None
        self._threads: list[threading.Thread] = []
        self.is_closed = False

    def recent(self, chosen: Chosen, limit: int) -> tuple[list[Row], Cursor]:
        """The newest rows of the last `WINDOW` that are asked for, newest first, and where to go on after them."""
        now_ms, reading = self._clock.now_ms(), self._made()
        reading.fill()
        rows = [row for row in reversed(reading.window) if chosen.takes(row)]
        return rows[:limit], reading.cursor(now_ms)

    @contextlib.contextmanager
    def listen(self, chosen: Chosen, after: Cursor) -> Iterator[Listener]:
        """Hear of everything that is asked for from a place on, until the block is left: on an event loop.

        Raises: RequestError(503) where the process is stopping, or as many listen as may.
        """
        listener = Listener(chosen, after)
        with self._lock:
            if self.is_closed:
                raise RequestError(503, "unavailable", "This process is stopping.")
            reading = self._reading
            if reading is not None and len(reading.listeners) >= MOST_LISTENERS:
                raise RequestError(503, "unavailable", f"{MOST_LISTENERS} watch already: close a page that is not read")
            if reading is None:
                reading = self._reading = self._made()
                thread = threading.Thread(target=self._run, args=(reading,), name="hookline-live", daemon=True)
                self._threads = [*(one for one in self._threads if one.is_alive()), thread]
                thread.start()
            reading.listeners.append(listener)
        reading.wake.set()
        try:
            yield listener
        finally:
            with self._lock:
                if listener in reading.listeners:
                    reading.listeners.remove(listener)
                if not reading.listeners and self._reading is reading:
                    self._end(reading)

    def end(self) -> None:
        """End every listener, and let nobody begin: before the server waits for open answers. Waits for nothing."""
        with self._lock:
            self.is_closed = True
            if (reading := self._reading) is not None:
                for listener in reading.listeners:
                    listener.end()
                self._end(reading)

    def close(self) -> None:
        """`end`, and wait until nothing reads any more: before the ends are closed."""
        self.end()
        for thread in self._threads:
            thread.join()

    def _end(self, reading: _Reading) -> None:
        self._reading = None
        reading.stop.set()
        reading.wake.set()

    def _made(self) -> _Reading:
        lanes: list[SenderLane | ReceiverLane] = []
        if self._sender is not None:
            lanes.append(SenderLane(self._sender))
        if self._receiver is not None:
            lanes.append(ReceiverLane(self._receiver, self._clock))
        return _Reading(tuple(lanes))

    def _run(self, reading: _Reading) -> None:
        run_loop(lambda: self._step(reading), clock=self._clock, wake=reading.wake, stop=reading.stop, name="live tail")

    def _step(self, reading: _Reading) -> int:
        """Look, unless that was just now, and tell; when to look again."""
        now_ms, passed = self._clock.now_ms(), 0
        if not reading.is_filled:
            reading.fill()
            reading.next_ms = now_ms + LOOK_EVERY_MS
        elif now_ms >= reading.next_ms:
            passed = reading.look(now_ms)
            reading.next_ms = now_ms + LOOK_EVERY_MS
        changes, cursor = reading.window.changes(), reading.cursor(now_ms)
        with self._lock:
            listeners = list(reading.listeners)
        for listener in listeners:
            if listener.is_begun:
                listener.offer(changes, cursor=cursor, passed=passed)
            else:
                self._begin(reading, listener, cursor)
        return reading.next_ms

    def _begin(self, reading: _Reading, listener: Listener, cursor: Cursor) -> None:
        """Tell what came since the place the listener names, as far as the window reaches back."""
        after, window = listener.after, reading.window
        missed = max((lane.missed(window, after) for lane in reading.lanes), default=0)
        changes = [
            (None, row)
            for row in window
            if (row.feed_seq or 0) > after.feed
            or any(entry.seq > after.inbox for entry in row.entries)
            or row.changed_ms > after.at_ms - _AGAIN_MS
        ]
        listener.is_begun = True
        listener.offer(changes, cursor=cursor, passed=missed)
