"""When is the source asked about what is in doubt?

An answer counts as of ε before its request (rules/merge.py `read_clock`), so it settles a doubt between clocks only
where it was asked for later than ε after the last of them. Before that moment it is not asked for.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from hookline.rules.gaps import GRACE_MS
from hookline.rules.merge import EPSILON_US

Reason: TypeAlias = Literal[
    "added_while_dead",
    "clock_regression",
    "content_tie",
    "gap",
    "recreated",
    "sequence",
    "stub",
    "uncertain",
    "weak",
]
"""Why: the wishes of rules/merge.py, and

- `gap`, `sequence`: an event seems to be missing, by its successor's `previous_attributes` or by its number;
- `recreated`: somebody came back whose memberships from before need fresh evidence (C6);
- `stub`: known from a membership alone for minutes.
"""

STUB_MS: Final = 300_000
_PATIENCE_MS: Final[dict[str, int]] = {"gap": GRACE_MS, "sequence": GRACE_MS, "stub": STUB_MS}


def due_ms(reasons: frozenset[Reason], after_us: int, now_ms: int) -> int:
    """When to ask, Unix milliseconds.

    Args:
        after_us: the latest of the clocks in doubt (the source's time, µs). One from far in the future is not waited
            for.
        now_ms: when the doubt arose, or when it was last asked in vain.
    """
    patience_ms = min((_PATIENCE_MS.get(reason, 0) for reason in reasons), default=0)
    settles_ms = (after_us + EPSILON_US) // 1_000 + 1
    return max(now_ms + patience_ms, min(settles_ms, now_ms + 2 * EPSILON_US // 1_000))
