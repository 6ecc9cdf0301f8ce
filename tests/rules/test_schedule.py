"""When the next try is: both schedules, jitter, downtime, Retry-After, backoff, configuration text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.errors import ConfigError
from hookline.rules.schedule import (
    GRACE_S,
    PRODUCTION,
    RUNS,
    STAGING,
    Backoff,
    Schedule,
    Slot,
    is_past_window,
    next_due,
    parse_schedule,
)

FIRST_MS = 1_000_000


def walk(schedule: Schedule, *, jitter: float = 0.0, attempt_ms: int = 0) -> list[int]:
    """Due times after the first attempt, in ms, of a delivery that always fails, every attempt taking attempt_ms."""
    dues: list[int] = []
    started_ms, used = FIRST_MS, 1
    while True:
        slot = next_due(
            schedule,
            slots_used=used,
            first_ms=FIRST_MS,
            started_ms=started_ms,
            now_ms=started_ms + attempt_ms,
            jitter=jitter,
        )
        if slot is None:
            return dues
        dues.append(slot.due_ms - FIRST_MS)
        started_ms, used = slot.due_ms, slot.slots_used + 1


def test_production_retries_six_times_and_ends_at_72_hours() -> None:
    """The offsets of the design, counted from the first attempt."""
    assert walk(PRODUCTION) == [190_000, 950_000, 3_990_000, 16_150_000, 64_790_000, 259_200_000]


def test_staging_retries_six_times_in_five_minutes() -> None:
    """Gaps of 1, 3, 9, 27, 81 and 179 s."""
    assert walk(STAGING) == [1_000, 4_000, 13_000, 40_000, 121_000, 300_000]


@pytest.mark.parametrize("jitter", [-1.0, -0.5, 0.5, 1.0])
def test_jitter_moves_each_slot_by_a_fifth_of_its_gap_but_never_the_last(jitter: float) -> None:
    """±20 % of the gap before it, counted from the first attempt, so that jitter does not add up."""
    offsets_s = (0, *PRODUCTION.offsets_s)

    dues = walk(PRODUCTION, jitter=jitter)

    gaps_s = [later - earlier for earlier, later in pairwise(offsets_s)]
    expected = [round((o + 0.2 * jitter * g) * 1000) for o, g in zip(PRODUCTION.offsets_s, gaps_s, strict=True)]
    assert dues == [*expected[:-1], 259_200_000]


def test_slow_attempts_do_not_move_the_slots() -> None:
    """Attempts of 15 s: every later slot stays where it was counted from the first attempt."""
    assert walk(PRODUCTION, attempt_ms=15_000) == walk(PRODUCTION)


def test_slots_that_came_due_during_an_attempt_make_one_attempt() -> None:
    """Staging and 15 s timeouts: the slots at 1, 4 and 13 s are one attempt at 15 s, the rest as planned."""
    assert walk(STAGING, attempt_ms=15_000) == [15_000, 40_000, 121_000, 300_000]


def test_after_a_downtime_one_overdue_slot_is_used_and_the_rest_are_spent() -> None:
    """Down from the first attempt until hour five: the next try is the slot at 64,790 s, not the three missed."""
    back_ms = FIRST_MS + 5 * 3_600_000

    slot = next_due(PRODUCTION, slots_used=2, first_ms=FIRST_MS, started_ms=back_ms, now_ms=back_ms + 20, jitter=0.0)

    assert slot == Slot(FIRST_MS + 64_790_000, 5)


def test_an_attempt_stands_for_a_slot_of_its_very_moment() -> None:
    """A person's retry that begins just when a slot is due is not followed by that slot."""
    at_ms = FIRST_MS + 190_000

    slot = next_due(PRODUCTION, slots_used=1, first_ms=FIRST_MS, started_ms=at_ms, now_ms=at_ms, jitter=0.0)

    assert slot == Slot(FIRST_MS + 950_000, 2)


def test_before_any_slot_is_spent_the_first_retry_is_next() -> None:
    """When the first attempt ended unknown and a probe followed, say: its slot is not owed twice."""
    slot = next_due(PRODUCTION, slots_used=0, first_ms=FIRST_MS, started_ms=FIRST_MS, now_ms=FIRST_MS, jitter=0.0)

    assert slot == Slot(FIRST_MS + 190_000, 1)


def test_nothing_is_due_once_the_slots_or_the_window_are_over() -> None:
    """The last attempt has no successor; neither has one that ended after the window."""
    end_ms = FIRST_MS + 259_200_000

    spent = next_due(PRODUCTION, slots_used=7, first_ms=FIRST_MS, started_ms=FIRST_MS, now_ms=FIRST_MS, jitter=0.0)
    over = next_due(PRODUCTION, slots_used=2, first_ms=FIRST_MS, started_ms=FIRST_MS, now_ms=end_ms, jitter=0.0)

    assert spent is None
    assert over is None


@pytest.mark.parametrize(
    ("retry_after_s", "due_s"),
    [(None, 190), (0, 190), (60, 190), (600, 600), (259_199, 259_199), (259_200, 259_200), (10**6, 259_200)],
)
def test_retry_after_delays_a_slot_within_the_window(retry_after_s: float | None, due_s: int) -> None:
    """It never brings a slot forward, and never past 72 hours."""
    slot = next_due(
        PRODUCTION,
        slots_used=1,
        first_ms=FIRST_MS,
        started_ms=FIRST_MS,
        now_ms=FIRST_MS,
        jitter=0.0,
        retry_after_s=retry_after_s,
    )

    assert slot == Slot(FIRST_MS + due_s * 1000, 1)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90_000), st.floats(-1, 1), st.none() | st.integers(0, 300_000)), max_size=12))
def test_a_delivery_never_leaves_its_window_nor_has_more_slots(
    steps: list[tuple[int, float, int | None]],
) -> None:
    """Whatever delays, jitter and Retry-After: dues rise, stay within 72 h, and there are at most six retries."""
    started_ms, used, dues = FIRST_MS, 1, []
    for late_s, jitter, retry_after_s in steps:
        slot = next_due(
            PRODUCTION,
            slots_used=used,
            first_ms=FIRST_MS,
            started_ms=started_ms,
            now_ms=started_ms + 1_000,
            jitter=jitter,
            retry_after_s=retry_after_s,
        )
        if slot is None:
            break
        dues.append(slot.due_ms)
        assert used <= slot.slots_used < PRODUCTION.slots
        started_ms, used = slot.due_ms + late_s * 1000, slot.slots_used + 1

    assert len(dues) <= 6
    assert dues == sorted(dues)
    assert all(due <= FIRST_MS + 259_200_000 for due in dues)


def test_the_window_closes_with_a_little_grace() -> None:
    """The last slot lies at the window's very end, so the loop's own delay must not cost it."""
    end_ms = FIRST_MS + 259_200_000

    assert not is_past_window(PRODUCTION, first_ms=FIRST_MS, now_ms=end_ms + GRACE_S * 1000)
    assert is_past_window(PRODUCTION, first_ms=FIRST_MS, now_ms=end_ms + GRACE_S * 1000 + 1)
    assert not is_past_window(PRODUCTION, first_ms=None, now_ms=end_ms * 9)


@pytest.mark.parametrize(
    ("offsets", "horizon"),
    [((0,), 10), ((5, 5), 10), ((5, 3), 10), ((5, 11), 10), ((-1,), 10), ((), -1), ((), 259_201)],
)
def test_a_schedule_that_makes_no_sense_cannot_be_made(offsets: tuple[float, ...], horizon: float) -> None:
    """Offsets rise from above 0 and stay within a window of at most 72 h."""
    with pytest.raises(ValueError, match=r"expected|past the window"):
        Schedule(offsets, horizon)


def test_runs_back_off_exponentially_up_to_a_cap_and_then_stop() -> None:
    """2 s, three times longer each time, six hours at most, twelve tries."""
    waits = [RUNS.due_ms(tries_made=n, now_ms=0, jitter=0.0) for n in range(1, 13)]

    seconds = [None if wait is None else wait / 1000 for wait in waits]
    assert seconds == [2, 6, 18, 54, 162, 486, 1_458, 4_374, 13_122, 21_600, 21_600, None]


def test_backoff_takes_jitter_and_survives_any_count() -> None:
    """±20 %, and a thousand tries are no overflow."""
    patient = Backoff(tries=100_000)

    assert patient.due_ms(tries_made=1, now_ms=500, jitter=1.0) == 500 + 2_400
    assert patient.due_ms(tries_made=1, now_ms=500, jitter=-1.0) == 500 + 1_600
    assert patient.due_ms(tries_made=99_999, now_ms=0, jitter=0.0) == 21_600_000


@pytest.mark.parametrize(
    ("text", "offsets_s"),
    [
        ("1s,5s,1m", (1, 6, 66)),
        (" 500ms , 1.5s ", (0.5, 2)),
        ("3m, 1h, 2d", (180, 3_780, 176_580)),
        ("72h", (259_200,)),
        ("", ()),
        ("  ", ()),
    ],
)
def test_a_schedule_is_read_from_waits(text: str, offsets_s: tuple[float, ...]) -> None:
    """The text gives the waits between attempts; the window ends with the last."""
    schedule = parse_schedule(text)

    assert schedule.offsets_s == pytest.approx(offsets_s)
    assert schedule.horizon_s == pytest.approx(offsets_s[-1] if offsets_s else 0)
    assert schedule.slots == 1 + len(offsets_s)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1s,,5s", "got '' in place 2"),
        ("5", "got '5' in place 1"),
        ("1 s", "got '1 s'"),
        ("-1s", "got '-1s'"),
        ("1s;5s", "got '1s;5s'"),
        ("٣s", "in place 1"),
        ("1w", "units ms, s, m, h, d"),
        ("0s", "at least 1ms"),
        ("1h,72h", "got 73.0h"),
        ("x" * 500, "got '" + "x" * 20 + "'"),
    ],
)
def test_a_wrong_schedule_names_the_setting_and_the_part(text: str, says: str) -> None:
    """Whoever wrote it finds the place."""
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text, setting="HOOKLINE_SCHEDULE")

    assert caught.value.setting == "HOOKLINE_SCHEDULE"
    assert says in str(caught.value)
