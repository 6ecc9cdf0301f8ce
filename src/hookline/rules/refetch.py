"""When is the source asked about what is in doubt?

A doubt is between clocks within ε of each other, and an answer counts as of ε before its request (rules/merge.py
`read_clock`). So it settles a doubt, and is not itself near enough to be doubted, where it counts as of later than ε
after the last of the clocks; before the request for such an answer is due nothing is asked.
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
    "unlisted",
    "weak",
]
"""Why: the wishes of rules/merge.py, and

- `gap`, `sequence`: an event seems to be missing, by its successor's `previous_attributes` or by its number;
- `recreated`: somebody came back whose memberships from before need fresh evidence (C6);
- `stub`: known from a membership alone for minutes;
- `unlisted`: alive by what was heard while a complete list was read that did not show it.
"""

STUB_MS: Final = 300_000
_PATIENCE_MS: Final[dict[str, int]] = {"gap": GRACE_MS, "sequence": GRACE_MS, "stub": STUB_MS}


def settles_after_us(latest_us: int) -> int:
    """What an answer has to count as of later than (the source's time, µs), where this is the latest clock in doubt."""
    return latest_us + EPSILON_US


def due_ms(reasons: frozenset[Reason], after_us: int, now_ms: int) -> int:
    """When to ask, Unix milliseconds.

    Args:
        after_us: `settles_after_us`. One from far in the future is not waited for.
        now_ms: when the doubt arose, or when it was last asked in vain.
    """
    patience_ms = min((_PATIENCE_MS.get(reason, 0) for reason in reasons), default=0)
    settles_ms = (after_us + EPSILON_US) // 1_000 + 1
    return max(now_ms + patience_ms, min(settles_ms, now_ms + 3 * EPSILON_US // 1_000))
