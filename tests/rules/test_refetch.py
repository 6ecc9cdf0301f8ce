"""When the source is asked about what is in doubt."""

from __future__ import annotations

import pytest

from hookline.rules.merge import EPSILON_US, read_clock
from hookline.rules.refetch import STUB_MS, Reason, due_ms, settles_after_us

NOW_MS = 1_790_000_000_000
EPSILON_MS = EPSILON_US // 1_000


@pytest.mark.parametrize(
    ("reasons", "ago_ms", "waits_ms"),
    [
        ({"uncertain"}, 0, 2 * EPSILON_MS + 1),
        ({"uncertain"}, 3_600_000, 0),
        ({"uncertain"}, -EPSILON_MS, 3 * EPSILON_MS),
        ({"uncertain"}, -86_400_000, 3 * EPSILON_MS),
        ({"stub"}, 0, STUB_MS),
        ({"gap"}, 0, 120_000),
        ({"sequence"}, 3_600_000, 120_000),
        ({"sequence", "weak"}, 3_600_000, 0),
        (set[Reason](), 3_600_000, 0),
    ],
)
def test_a_question_is_due_when_an_answer_can_settle_it(reasons: set[Reason], ago_ms: int, waits_ms: int) -> None:
    """And where an event may still be under way, after a grace; no time from the future holds it up for long."""
    after_us = settles_after_us((NOW_MS - ago_ms) * 1_000)

    assert due_ms(frozenset(reasons), after_us, NOW_MS) == NOW_MS + waits_ms


def test_an_answer_asked_for_then_counts_as_of_late_enough() -> None:
    """Where our clock and the source's agree."""
    after_us = settles_after_us(NOW_MS * 1_000)

    assert read_clock(due_ms(frozenset(["uncertain"]), after_us, NOW_MS) * 1_000)[0] > after_us
