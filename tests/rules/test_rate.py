"""Token buckets: how many attempts now, and when there are more."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.rules.rate import BATCH_MS, MINUTE_US, MOST_PER_MIN, bounded, burst, interval_us, ready_us, taken, tokens

NOW_US = 1_764_000_000_000_000
RATES = st.integers(1, MOST_PER_MIN)


@given(RATES, st.randoms(use_true_random=False))
def test_no_span_of_time_sees_more_than_rate_and_burst(per_min: int, draw: random.Random) -> None:
    """Whoever takes whenever: in any span at most what comes in it, and one bucketful."""
    full_us, now_us = 0, NOW_US
    takes: list[tuple[int, int]] = []
    for _ in range(60):
        now_us += draw.randrange(0, 5 * burst(per_min) * interval_us(per_min) // 4)
        count = min(draw.randrange(0, burst(per_min) + 2), tokens(full_us, per_min, now_us=now_us))
        full_us = taken(full_us, per_min, count, now_us=now_us)
        takes.append((now_us, count))

    for first in range(len(takes)):
        total = 0
        for at_us, count in takes[first:]:
            total += count
            assert total <= burst(per_min) + (at_us - takes[first][0]) / interval_us(per_min)


@given(RATES, st.integers(0, 200))
def test_a_token_is_there_when_it_is_said(per_min: int, count: int) -> None:
    """At the time named at least one can be taken, and what was waited for was not there before."""
    full_us = taken(0, per_min, count, now_us=NOW_US)

    at_us = ready_us(full_us, per_min, now_us=NOW_US)

    assert tokens(full_us, per_min, now_us=at_us) >= 1
    if at_us > NOW_US:
        assert tokens(full_us, per_min, now_us=at_us - 1) < tokens(full_us, per_min, now_us=at_us)


@pytest.mark.parametrize(
    ("per_min", "held"), [(1, 1), (6, 1), (11, 1), (12, 2), (60, 10), (600, 100), (6_000, 100), (MOST_PER_MIN, 100)]
)
def test_a_bucket_holds_ten_seconds_worth(per_min: int, held: int) -> None:
    """At least one, at most a hundred; so much at once, then not one more in the same moment."""
    assert tokens(0, per_min, now_us=NOW_US) == burst(per_min) == held
    emptied_us = taken(0, per_min, held, now_us=NOW_US)
    assert tokens(emptied_us, per_min, now_us=NOW_US) == 0
    assert tokens(emptied_us, per_min, now_us=NOW_US + interval_us(per_min)) == 1


def test_the_rate_is_reached() -> None:
    """Who takes whatever there is, whenever it is worth looking, makes as many attempts as allowed."""
    full_us, now_us, made, looks = 0, NOW_US, 0, 0
    while now_us < NOW_US + 10 * MINUTE_US:
        count = tokens(full_us, 1_200, now_us=now_us)
        full_us = taken(full_us, 1_200, count, now_us=now_us)
        made, looks = made + count, looks + 1
        now_us = ready_us(full_us, 1_200, now_us=now_us)

    assert 12_000 <= made <= 12_000 + burst(1_200)
    assert looks <= 10 * 60_000 / BATCH_MS


@given(RATES, st.integers(0, 10**13))
def test_a_clock_set_back_costs_one_bucketful(per_min: int, back_us: int) -> None:
    """A bucket written ahead of the clock is empty, not closed until the clock has caught up."""
    ahead_us = taken(0, per_min, burst(per_min), now_us=NOW_US + back_us)

    kept_us = bounded(ahead_us, per_min, now_us=NOW_US)

    assert tokens(kept_us, per_min, now_us=NOW_US) >= 0
    assert tokens(kept_us, per_min, now_us=NOW_US + interval_us(per_min)) >= 1


def test_a_limit_may_change_under_a_bucket() -> None:
    """What was taken under the old limit is never more than an empty bucket of the new one."""
    emptied_us = taken(0, 1, 1, now_us=NOW_US)

    kept_us = bounded(emptied_us, 600, now_us=NOW_US)

    assert tokens(kept_us, 600, now_us=NOW_US) == 0
    assert tokens(kept_us, 600, now_us=NOW_US + 10_000_000) == 100


def test_taking_more_than_there_is_empties_it() -> None:
    """A probe was made before anybody asked the bucket."""
    assert taken(0, 60, 500, now_us=NOW_US) == taken(0, 60, burst(60), now_us=NOW_US)
