"""What a reading of all that a source lists may conclude, and when it goes on (rules D3, D6 of the design's receiving
reference).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hookline.rules.schedule import Backoff

if TYPE_CHECKING:
    from hookline.errors import SourceReason

FEW: Final = 10
"""So many may be gone from any listing, however short it was."""
PART: Final = 20
"""And one in so many of those that were there."""

PACE_MS: Final = 250
"""Between two requests, once a source has said that they come too fast: WorkOS lists users four times a second."""

WAITS: Final = Backoff(first_s=1, factor=2, cap_s=300, tries=2**31)
"""While a source does not answer."""

PASSING: Final[frozenset[SourceReason]] = frozenset({"unavailable", "rate_limited"})
"""What a source does not answer for passes by itself; for all else somebody is needed."""


def may_die(live: int) -> int:
    """How many of a listing's living rows may be found gone without anybody's leave."""
    return max(FEW, live // PART)


def go_on_ms(now_ms: int, tries: int, *, jitter: float, retry_after_s: float | None = None) -> int:
    """When to ask again after `tries` failures in a row, this one counted; never sooner than the source said."""
    due_ms = WAITS.due_ms(tries_made=max(tries, 1), now_ms=now_ms, jitter=jitter)
    asked_ms = now_ms if retry_after_s is None else now_ms + round(retry_after_s * 1_000)
    return max(now_ms if due_ms is None else due_ms, asked_ms)
