"""Refusals, counted per source, reason and minute, so that a flood of forged requests costs memory for a few numbers.

Nothing is written while a request is answered: `drain` hands over what a timer stores, at most once a second.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hookline.receiver.model import Receipt, RejectionRow

MAX_SAMPLE = 200  # characters


class Rejections:
    """Counts that are safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str, int], RejectionRow] = {}

    def note(self, refusal: Receipt, source: str, peer: str | None, now_ms: int) -> None:
        """Count one refusal; the first of its source and reason in a minute is the sample."""
        key = (source, str(refusal.reason), now_ms - now_ms % 60_000)
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                # The peer, not what a header claims: a forger writes headers.
                sample = f"{refusal.status} to {peer or 'unknown'}: {refusal.message}"[:MAX_SAMPLE]
                row = RejectionRow(*key, 0, sample)
            self._rows[key] = row._replace(times=row.times + 1)

    def drain(self) -> list[RejectionRow]:
        """Take what was counted since the last time."""
        with self._lock:
            rows, self._rows = self._rows, {}
        return list(rows.values())

    def restore(self, rows: Sequence[RejectionRow]) -> None:
        """Give back what could not be stored, to be taken again later."""
        with self._lock:
            for row in rows:
                newer = self._rows.get(row[:3])
                times = row.times + (newer.times if newer else 0)
                self._rows[row[:3]] = row._replace(times=times)

    def __bool__(self) -> bool:
        return bool(self._rows)
