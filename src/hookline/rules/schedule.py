"""When is the next try?

A delivery has slots: the first attempt, then one per offset of its `Schedule`, all counted from the moment the
first attempt began, so that a slow attempt or a downtime moves nothing. Work on the receiving side (handler runs,
inbox entries) has a `Backoff`, counted from the try that failed. Nothing here draws the jitter or knows the time:
both are arguments, and so is what an endpoint asked for with `Retry-After`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from hookline.errors import ConfigError

JITTER: Final = 0.2
"""Part of each gap that jitter may add or take."""

MAX_WINDOW_S: Final = 259_200
"""72 hours: no schedule reaches further (the guide: retries for up to three days)."""

GRACE_S: Final = 60
"""How late past its window a last slot may still begin. It lies *at* the window's end, and a loop is never early."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The retries of a delivery.

    Attributes:
        offsets_s: when each retry is due, in seconds after the first attempt began; rising, at least 0 of them.
        horizon_s: the window: nothing is due later than this after the first attempt. At most 72 hours.

    Raises:
        ValueError: the offsets do not rise from above 0, or leave the window.
    """

    offsets_s: tuple[float, ...]
    horizon_s: float

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in pairwise((0.0, *self.offsets_s))):
            raise ValueError(f"expected offsets that rise from above 0 s, got {self.offsets_s}")
        if not 0 <= self.horizon_s <= MAX_WINDOW_S:
            raise ValueError(f"expected a window of 0 to {MAX_WINDOW_S} s, got {self.horizon_s}")
        if self.offsets_s and self.offsets_s[-1] > self.horizon_s:
            raise ValueError(f"the last retry, {self.offsets_s[-1]} s, lies past the window, {self.horizon_s} s")

    @property
    def slots(self) -> int:
        """Scheduled attempts in all, the first included."""
        return 1 + len(self.offsets_s)

    @classmethod
    def from_gaps(cls, gaps_s: tuple[float, ...]) -> Schedule:
        """A schedule from the waits between attempts; its window ends with the last."""
        offsets_s = tuple(accumulate(gaps_s))
        return cls(offsets_s, offsets_s[-1] if offsets_s else 0)


PRODUCTION: Final = Schedule((190, 950, 3_990, 16_150, 64_790, 259_200), MAX_WINDOW_S)
"""Six retries, gaps four times as long each time, the last after exactly 72 hours."""

STAGING: Final = Schedule.from_gaps((1, 3, 9, 27, 81, 179))
"""The same number of tries in five minutes, for someone who is watching."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A planned try: `due_ms`, and `slots_used`, the slots behind it once the missed ones are counted as spent."""

    due_ms: int
    slots_used: int


def next_due(
    schedule: Schedule,
    *,
    slots_used: int,
    first_ms: int,
    started_ms: int,
    now_ms: int,
    jitter: float,
    retry_after_s: float | None = None,
) -> Slot | None:
    """The slot after a failed attempt, or None when none is left or the window is over.

    An attempt stands for every slot that was already due when it began: so after a downtime at most one overdue slot
    is used. A slot that came due *while* the attempt ran is taken at once.

    Args:
        schedule: which slots there are.
        slots_used: slots spent so far, the failed attempt's included (1 after the first attempt).
        first_ms: when the first attempt of all began.
        started_ms: when the failed attempt began.
        now_ms: when it ended.
        jitter: -1 to 1, the share of `JITTER` to add to the gap before the slot. The last slot takes none.
        retry_after_s: what the answer asked for; honoured, but never past the window.
    """
    window_end_ms = first_ms + _ms(schedule.horizon_s)
    if now_ms >= window_end_ms:
        return None
    retry = max(slots_used, 1)  # offsets_s[retry - 1] is the next retry
    while retry <= len(schedule.offsets_s) and first_ms + _ms(schedule.offsets_s[retry - 1]) <= started_ms:
        retry += 1
    if retry > len(schedule.offsets_s):
        return None
    due_ms = first_ms + _ms(schedule.offsets_s[retry - 1])
    if retry < len(schedule.offsets_s):
        before_s = schedule.offsets_s[retry - 2] if retry > 1 else 0.0
        due_ms += _ms((schedule.offsets_s[retry - 1] - before_s) * JITTER * jitter)
    due_ms = max(due_ms, now_ms)
    if retry_after_s is not None:
        due_ms = max(due_ms, now_ms + _ms(retry_after_s))
    return Slot(min(due_ms, window_end_ms), retry)


def is_past_window(schedule: Schedule, *, first_ms: int | None, now_ms: int) -> bool:
    """Whether a scheduled attempt may no longer begin: its window, and `GRACE_S` for the loop's own delay, is over.

    A delivery never tried (`first_ms` None) has no window yet: it waited for us, not for its endpoint.
    """
    return first_ms is not None and now_ms > first_ms + _ms(schedule.horizon_s + GRACE_S)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between tries of a handler run: `first_s`, then `factor` times longer, up to `cap_s`; `tries` in all."""

    first_s: float = 2
    factor: float = 3
    cap_s: float = 21_600
    tries: int = 12

    def due_ms(self, *, tries_made: int, now_ms: int, jitter: float) -> int | None:
        """When to try again after `tries_made` (1 or more), jittered by ±20 %; None when no try is left."""
        if tries_made >= self.tries:
            return None
        # Not a power: a float overflows at about 646 tries of factor 3.
        wait_s = self.first_s
        for _ in range(tries_made - 1):
            wait_s *= self.factor
            if wait_s >= self.cap_s:
                break
        return now_ms + _ms(min(wait_s, self.cap_s) * (1 + JITTER * jitter))


RUNS: Final = Backoff()
"""Twelve tries over about seventeen hours: a night's outage of what a handler calls is survived."""

_UNITS_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)


def parse_schedule(text: str, *, setting: str = "schedule") -> Schedule:
    """A schedule from configuration: the waits between attempts, as in `1s, 5s, 1m`. Empty text means no retries.

    Units are ms, s, m, h, d; decimals are allowed. The window ends with the last retry.

    Raises:
        ConfigError: names `setting` and the part that is wrong.
    """
    if not text.strip():
        return Schedule((), 0)
    gaps_s: list[float] = []
    for number, part in enumerate(text.split(","), start=1):
        match = _DURATION.fullmatch(part.strip())
        if match is None:
            raise ConfigError(
                setting,
                f"expected waits as in '1s,5s,1m' (units ms, s, m, h, d), got {part.strip()[:20]!r} in place {number}",
            )
        gap_s = float(match[1]) * _UNITS_S[match[2]]
        if gap_s < 0.001:
            raise ConfigError(setting, f"expected waits of at least 1ms, got {part.strip()!r} in place {number}")
        gaps_s.append(gap_s)
    total_s = sum(gaps_s)
    if total_s > MAX_WINDOW_S:
        raise ConfigError(setting, f"expected at most 72h together, got {total_s / 3_600:.1f}h; shorten the last")
    return Schedule.from_gaps(tuple(gaps_s))


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
