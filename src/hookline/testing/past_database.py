"""A database whose readers see it as it was some time ago: what a source shows that lags behind its own writes.

Nothing is copied. Before a write a snapshot is kept open, which shows the state that held until then; a reader who lags
by a second is given the snapshot that held a second ago. On SQLite that keeps the WAL from being emptied, on PostgreSQL
rows from being vacuumed: for tests.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.storage import Database, Dialect

T = TypeVar("T")

# How far back the reads of this context look, in milliseconds.
LAG_MS: Final[ContextVar[int]] = ContextVar("hookline_lag_ms", default=0)
# So many snapshots are open at once, about: who looks back may see a state that is older by an eighth of the lag.
_MOST: Final = 8


@dataclass(slots=True, eq=False)
class _Kept:
    """A snapshot of the state that held until a write at `until_ms`."""

    until_ms: int
    connection: Any
    held: contextlib.ExitStack
    guard: threading.Lock = field(default_factory=threading.Lock)


class PastDatabase:
    """A `Database` over another, which the caller keeps. `snapshot` looks back by `LAG_MS` of its context.

    Args:
        keep_ms: how far back anybody looks now; 0 keeps nothing.
    """

    def __init__(self, present: Database, *, clock: Clock, keep_ms: Callable[[], int]) -> None:
        self._present = present
        self._clock = clock
        self._keep_ms = keep_ms
        self._guard = threading.Lock()
        self._kept: deque[_Kept] = deque()

    @property
    def dialect(self) -> Dialect:
        """The present database's."""
        return self._present.dialect

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """A write transaction on the present database; what was before it is kept for whoever looks back."""
        self._keep()
        with self._present.transaction() as connection:
            yield connection

    def run(self, work: Callable[[Any], T]) -> T:
        """`work(connection)` in a write transaction, likewise."""
        self._keep()
        return self._present.run(work)

    def read(self) -> AbstractContextManager[Any]:
        """A connection that sees the present."""
        return self._present.read()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Any]:
        """A connection that sees one moment throughout: now, or as long ago as the context lags."""
        lag_ms = LAG_MS.get()
        kept = None if not lag_ms else self._held_at(self._clock.now_ms() - lag_ms)
        if kept is None:
            with self._present.snapshot() as connection:
                yield connection
            return
        try:
            yield kept.connection
        finally:
            kept.guard.release()

    def lent(self) -> AbstractContextManager[Any]:
        """As the present database lends."""
        self._keep()
        return self._present.lent()

    def notify(self, channel: str) -> None:
        """As the present database."""
        self._present.notify(channel)

    def subscribe(self, channel: str, callback: Callable[[], None]) -> Callable[[], None]:
        """As the present database."""
        return self._present.subscribe(channel, callback)

    def close(self) -> None:
        """Close what is kept of the past. The present database stays open."""
        with self._guard:
            while self._kept:
                self._kept.popleft().held.close()

    def _held_at(self, moment_ms: int) -> _Kept | None:
        """The snapshot that shows this moment or one before it, locked. None: nothing was written since."""
        moment_ms -= self._keep_ms() // _MOST
        with self._guard:
            found = next((one for one in self._kept if one.until_ms > moment_ms), None)
            if found is not None:
                # Under the guard: nobody forgets it between the two.
                found.guard.acquire()
            return found

    def _keep(self) -> None:
        keep_ms = self._keep_ms()
        if not keep_ms and not self._kept:
            return
        with self._guard:
            now_ms = self._clock.now_ms()
            while self._kept and self._kept[0].until_ms <= now_ms - keep_ms - keep_ms // _MOST:
                with self._kept[0].guard:
                    self._kept.popleft().held.close()
            # What is written so soon after another write shares its snapshot.
            if not keep_ms or (self._kept and now_ms < self._kept[-1].until_ms + max(1, keep_ms // _MOST)):
                return
            held = contextlib.ExitStack()
            connection = held.enter_context(self._present.snapshot())
            # A snapshot is taken by its first read.
            cursor = connection.cursor()
            cursor.execute("select 1 from hookline_sender_settings limit 1")
            cursor.fetchall()
            cursor.close()
            self._kept.append(_Kept(now_ms, connection, held))
