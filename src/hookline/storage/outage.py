"""An outage of the database, told once and not once per request: a line when it begins, every minute, at its end.

Knows neither end: what fails meanwhile is said by whoever makes one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from hookline.errors import StorageError

EVERY_MS = 60_000


class Outage:
    """Counts failures between two successes. Safe enough from several threads: a race costs a line or a count.

    Args:
        log: where it is told.
        during: what does not work, and what callers are answered until it does.
        after: what works again.
        now_ms: Unix milliseconds, for the line a minute.
    """

    def __init__(self, log: logging.Logger, *, during: str, after: str, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._during = during
        self._after = after
        self._now_ms = now_ms
        self._failures = 0
        self._logged_ms = 0

    def failed(self, error: Exception, where: str = "") -> None:
        """Something could not be stored. `where` names the request, for the line that is written."""
        self._failures += 1
        now_ms = self._now_ms()
        if self._failures > 1 and now_ms - self._logged_ms < EVERY_MS:
            return
        self._logged_ms = now_ms
        self._log.error(
            "%s%s: %s",
            f"{where}: " if where else "",
            self._during,
            error,
            exc_info=None if isinstance(error, StorageError) else error,
        )

    def is_over(self) -> None:
        """Something was stored."""
        if self._failures:
            self._log.warning("%s, after %d failures", self._after, self._failures)
            self._failures = 0
