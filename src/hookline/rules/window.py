"""How many attempts may one endpoint have under way at once?

Every endpoint begins with two and is given more while it shows that it can take more: one more for each fast success up
to where it was overloaded last (so the window doubles with each round), then one more for each windowful. What asks for
less (429, 503, no answer in time) halves it, once for all that was under way at that moment. Nothing here knows the
time: latencies are arguments, and "once" is counted in answers.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from hookline.rules.response import Outcome

FIRST: Final = 2
LARGEST: Final = 64

FAST_FACTOR: Final = 2.0
FAST_SLACK_MS: Final = 25.0
"""A success is fast within twice the best latency shown and a little: slower ones say that work queues up there."""

_FORGETTING: Final = 1.01
"""By so much the best latency rises with each answer, so that an endpoint may become slower without being punished."""

Standing: TypeAlias = Literal["untried", "proven", "failing"]


class Window(msgspec.Struct, frozen=True, gc=False):
    """What one endpoint may have under way, as far as it has shown what it can take.

    Attributes:
        size: attempts at once.
        standing: `untried`; `proven` it answered last, be it with an error; `failing` it was silent or overloaded.
        threshold: up to this size a fast success adds one; beyond it a windowful of them does.
        credit: fast successes since it last grew beyond the threshold.
        stale: answers still to come of attempts that were under way when it was halved; they halve nothing again.
        best_ms: the best latency shown lately, None before the first success.
    """

    size: int = FIRST
    standing: Standing = "untried"
    threshold: int = LARGEST
    credit: int = 0
    stale: int = 0
    best_ms: float | None = None


def after_answer(
    window: Window,
    outcome: Outcome,
    *,
    latency_ms: float,
    in_flight: int,
    has_more: bool = False,
    largest: int = LARGEST,
) -> Window:
    """The window after one attempt ended; the same object where nothing changed.

    Args:
        outcome: what the attempt came to.
        latency_ms: from the request sent to the answer's first byte.
        in_flight: the endpoint's attempts under way, this one included.
        has_more: more of its deliveries are due than the window has let go.
        largest: no window is larger.
    """
    standing: Standing = "failing" if outcome.status is None or outcome.is_overload else "proven"
    stale = max(0, window.stale - 1)
    if outcome.is_overload:
        if window.stale or window.size == 1:
            return _with(window, standing, stale)
        size = window.size // 2
        return replace(window, size=size, standing=standing, threshold=max(size, 1), credit=0, stale=in_flight - 1)
    # A window that nothing waits for, and that is not used to the half, says nothing of what the endpoint can take.
    is_used = has_more or 2 * in_flight >= window.size
    if outcome.kind != "succeeded" or window.size >= largest or not is_used:
        return _with(window, standing, stale)
    best_ms = latency_ms if window.best_ms is None else min(latency_ms, window.best_ms * _FORGETTING)
    size, credit = window.size, window.credit
    if latency_ms <= best_ms * FAST_FACTOR + FAST_SLACK_MS:
        credit += 1
        if size < window.threshold or credit >= size:
            size, credit = size + 1, 0
    return replace(window, size=size, standing=standing, credit=credit, stale=stale, best_ms=best_ms)


def allowed(window: Window, *, first: int = FIRST) -> int:
    """How many attempts may be under way now: the whole window only of an endpoint that answered last."""
    return window.size if window.standing == "proven" else min(window.size, first)


def _with(window: Window, standing: Standing, stale: int) -> Window:
    if window.standing == standing and window.stale == stale:
        return window
    return replace(window, standing=standing, stale=stale)
