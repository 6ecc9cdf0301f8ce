"""How many attempts does an endpoint's rate limit allow now, and when are there more?

A token bucket written as one number, the time at which it is full again (GCRA): nothing has to fill it. It holds ten
seconds' worth of tokens, at most a hundred: so a minute never sees more than 7/6 of the limit, and a limit below twelve
a minute spaces attempts evenly. All times are Unix microseconds: at a thousand a second a token is worth one
millisecond.
"""

from __future__ import annotations

from typing import Final

MINUTE_US: Final = 60_000_000
BURST_S: Final = 10
MOST_BURST: Final = 100

MOST_PER_MIN: Final = 600_000
"""The largest limit there is: 10,000 a second, more than one process sends."""

BATCH_MS: Final = 250
"""Who waits for tokens waits for as many as come in this time: at high rates one statement fetches several."""


def burst(per_min: int) -> int:
    """How many tokens a full bucket holds."""
    return max(1, min(per_min * BURST_S // 60, MOST_BURST))


def interval_us(per_min: int) -> int:
    """The time one token takes to come; rounded up, so that a limit is never exceeded by rounding."""
    return -(-MINUTE_US // per_min)


def bounded(full_us: int, per_min: int, *, now_us: int) -> int:
    """A bucket as it is to be kept: at the latest full after the time that an empty one takes.

    One that lies further ahead was written under another limit, or before the clock was set back. Whoever finds one
    stores this, or it would stay empty until its time has come.
    """
    return min(max(full_us, now_us), now_us + burst(per_min) * interval_us(per_min))


def tokens(full_us: int, per_min: int, *, now_us: int) -> int:
    """How many attempts may be made now.

    Args:
        full_us: when the bucket is full, as stored; 0 of one never used.
        per_min: the limit as it is now: a bucket outlives a change of it.
    """
    interval = interval_us(per_min)
    return burst(per_min) - -(-(bounded(full_us, per_min, now_us=now_us) - now_us) // interval)


def taken(full_us: int, per_min: int, count: int, *, now_us: int) -> int:
    """When the bucket is full again after `count` tokens were taken now. More than there are empties it."""
    spent_us = bounded(full_us, per_min, now_us=now_us) + count * interval_us(per_min)
    return bounded(spent_us, per_min, now_us=now_us)


def ready_us(full_us: int, per_min: int, *, now_us: int) -> int:
    """When it is worth looking again: the time at which the tokens of one batch are there; `now_us` if they are."""
    interval = interval_us(per_min)
    wanted = max(1, min(burst(per_min), per_min * BATCH_MS // 60_000))
    return max(now_us, bounded(full_us, per_min, now_us=now_us) - (burst(per_min) - wanted) * interval)
