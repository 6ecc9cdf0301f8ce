"""The offset between two clocks, from headers that know whole seconds: never too high, and soon narrow."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from hookline.rules.source_clock import KEPT, KEPT_MS, Bound, bound, offset_us, with_bound

NOW_MS = 1_790_000_000_000


def date_of(at_us: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_us // 1_000_000, UTC), usegmt=True)


@pytest.mark.parametrize("true_us", [0, 7_300_123, -7_300_123, 3_600_000_000, -3_600_000_000, -499])
def test_the_offset_is_never_above_the_true_one_and_at_most_a_second_and_the_way_below(true_us: int) -> None:
    chance = random.Random(7)
    bounds: tuple[Bound, ...] = ()
    at_us = NOW_MS * 1_000
    for _ in range(50):
        sent_us = at_us
        made_us = sent_us + chance.randrange(80_000)
        received_us = made_us + chance.randrange(80_000)
        new = bound(date_of(made_us + true_us), sent_ms=sent_us // 1_000, received_ms=received_us // 1_000)
        assert new is not None
        bounds = with_bound(bounds, new)
        assert true_us - 1_000_000 - 162_000 <= offset_us(bounds) <= true_us
        at_us = received_us + chance.randrange(10_000_000)
    # Among many answers some were made just after a second began.
    assert true_us - offset_us(bounds) < 400_000
    assert len(bounds) <= KEPT


def test_a_clock_that_was_set_makes_what_was_known_before_void() -> None:
    bounds: tuple[Bound, ...] = ()
    for step in range(5):
        at_ms = NOW_MS + step * 2_300
        new = bound(date_of(at_ms * 1_000), sent_ms=at_ms, received_ms=at_ms + 10)
        assert new is not None
        bounds = with_bound(bounds, new)
    set_back = bound(date_of((NOW_MS + 12_000) * 1_000), sent_ms=NOW_MS + 72_000, received_ms=NOW_MS + 72_010)
    assert set_back is not None
    assert with_bound(bounds, set_back) == (set_back,)
    assert offset_us((set_back,)) <= -60_000_000


def test_many_answers_do_not_make_the_offset_fall() -> None:
    """A hundred in a second: what said most is long among those that are not the newest."""
    bounds: tuple[Bound, ...] = ()
    offsets = []
    for step in range(400):
        at_ms = NOW_MS + 500 + step * 10
        new = bound(date_of(at_ms * 1_000), sent_ms=at_ms, received_ms=at_ms + 5)
        assert new is not None
        bounds = with_bound(bounds, new)
        offsets.append(offset_us(bounds))
    assert offsets == sorted(offsets)
    assert -20_000 < offsets[-1] <= 0
    assert len(bounds) <= KEPT


def test_what_is_old_counts_no_longer() -> None:
    old = Bound(-500_000, 500_000, NOW_MS)
    new = Bound(-900_000, 100_000, NOW_MS + KEPT_MS + 1)
    assert with_bound((old,), new) == (new,)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Nov 2026 00:00:00 GMT", "x" * 5_000])
def test_a_date_that_cannot_be_read_says_nothing(date: str | None) -> None:
    assert bound(date, sent_ms=NOW_MS, received_ms=NOW_MS) is None
    assert offset_us(()) == 0


def test_a_date_without_a_zone_is_utc() -> None:
    asctime = bound("Sun Nov  6 08:49:37 1994", sent_ms=0, received_ms=0)
    fixdate = bound("Sun, 06 Nov 1994 08:49:37 GMT", sent_ms=0, received_ms=0)
    assert asctime == fixdate is not None
