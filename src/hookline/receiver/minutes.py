"""What the doors kept, counted per source and minute: for the chart of how many came.

Nothing is written for one request. On a database of ours a timer stores what was counted, with the refusals; on an
app's own transactions, where a thread of ours beside the app's would be a surprise, it goes along with an entry that is
kept, now and then.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hookline.receiver.model import Entry, PutKind

MINUTE_MS: Final = 60_000
# So far apart are the writes that go along with entries.
ALONG_EVERY_MS: Final = 10_000


class MinuteRow(NamedTuple):
    """How many entries of one source came to be of one kind in one minute: a row of `hookline_inbox_minutes`."""

    minute_ms: int
    source: str
    kind: PutKind
    times: int


class Minutes:
    """Counts that are safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[MinuteRow] = []
        self._along_ms = 0

    def note(self, entries: Sequence[Entry], kinds: Sequence[PutKind]) -> None:
        """Count what a commit of the door held, and what became of each entry."""
        with self._lock:
            self._rows = added(self._rows, entries, kinds)

    def is_due(self, now_ms: int) -> bool:
        """Whether what was counted is to go along with an entry now, and then not again for a while."""
        with self._lock:
            if 0 <= now_ms - self._along_ms < ALONG_EVERY_MS:
                return False
            self._along_ms = now_ms
            return True

    def drain(self) -> list[MinuteRow]:
        """Take what was counted since the last time."""
        with self._lock:
            rows, self._rows = self._rows, []
        return rows

    def restore(self, rows: Sequence[MinuteRow]) -> None:
        """Give back what could not be stored, to be taken again later."""
        with self._lock:
            self._rows = _summed([*self._rows, *rows])

    def __bool__(self) -> bool:
        return bool(self._rows)


def added(rows: Sequence[MinuteRow], entries: Sequence[Entry], kinds: Sequence[PutKind]) -> list[MinuteRow]:
    """The counts with some more entries in them, one row per (minute, source, kind), in that order."""
    more = Counter(
        (entry.received_ms - entry.received_ms % MINUTE_MS, entry.source, kind)
        for entry, kind in zip(entries, kinds, strict=True)
    )
    return _summed([*rows, *(MinuteRow(*key, times) for key, times in more.items())])


def _summed(rows: Iterable[MinuteRow]) -> list[MinuteRow]:
    counts: Counter[tuple[int, str, PutKind]] = Counter()
    for row in rows:
        counts[row[:3]] += row.times
    return [MinuteRow(*key, times) for key, times in sorted(counts.items())]
