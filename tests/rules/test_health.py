"""When an endpoint is warned about, disabled and taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.rules.health import WARNINGS, Health, HealthPolicy, Result, after_attempts

NOW_MS = 1_764_000_000_000
DAY_MS = 86_400_000
POLICY = HealthPolicy()
FAILING = Health(NOW_MS, 20)
FAILURE = Result(False, NOW_MS)
SUCCESS = Result(True, NOW_MS)


def after(health: Health, *results: Result, days: float = 0, policy: HealthPolicy = POLICY) -> object:
    return after_attempts(health, results, policy, now_ms=NOW_MS + round(days * DAY_MS))


def test_five_days_of_failures() -> None:
    """One failure an hour: warned at 2.5 and 4 days, disabled at 5, and each said once."""
    health, said = Health(), []
    for hour in range(24 * 5 + 1):
        at_ms = NOW_MS + hour * 3_600_000
        verdict = after_attempts(health, [Result(False, at_ms)], POLICY, now_ms=at_ms)
        health = verdict.health
        if verdict.warning or verdict.disable:
            said.append((hour, verdict.warning, verdict.disable))

    assert said == [(60, 50, False), (96, 80, False), (120, None, True)]
    assert (health.failing_since_ms, health.failing_attempts) == (NOW_MS, 121)


def test_too_few_attempts_disable_nothing() -> None:
    """The last warning is given, and the tenth failed attempt disables."""
    few = Health(NOW_MS, 8, 80)

    ninth = after_attempts(few, [FAILURE], POLICY, now_ms=NOW_MS + 5 * DAY_MS)
    tenth = after_attempts(ninth.health, [FAILURE], POLICY, now_ms=NOW_MS + 6 * DAY_MS)

    assert (ninth.warning, ninth.disable) == (100, False)
    assert (tenth.warning, tenth.disable) == (None, True)


def test_a_success_forgets_everything() -> None:
    """Failing begins anew with the next failure."""
    verdict = after_attempts(Health(NOW_MS, 90, 80), [FAILURE, SUCCESS, FAILURE], POLICY, now_ms=NOW_MS + 9 * DAY_MS)

    assert verdict.recovered
    assert (verdict.failures, verdict.warning, verdict.disable) == (1, 100, False)
    assert verdict.health.failing_attempts == 1


def test_a_healthy_endpoint_that_succeeds_changes_nothing() -> None:
    """Nothing to store."""
    verdict = after_attempts(Health(), [SUCCESS] * 5, POLICY, now_ms=NOW_MS)

    assert (verdict.health, verdict.recovered, verdict.failures) == (Health(), False, 0)


@pytest.mark.parametrize("is_success", [True, False])
def test_what_does_not_count_changes_nothing(is_success: bool) -> None:
    """Tests, replays and manual retries are no evidence of health, nor against it."""
    verdict = after_attempts(FAILING, [Result(is_success, NOW_MS, counts=False)], POLICY, now_ms=NOW_MS + 9 * DAY_MS)

    assert (verdict.health, verdict.recovered, verdict.failures, verdict.disable) == (FAILING, False, 0, False)


@pytest.mark.parametrize("counts", [True, False])
def test_half_open_is_decided_by_the_first_answer(counts: bool) -> None:
    """Whatever was sent first: its success opens, its failure closes."""
    half_open = Health(is_half_open=True)

    opened = after_attempts(half_open, [replace(SUCCESS, counts=counts)], POLICY, now_ms=NOW_MS)
    closed = after_attempts(half_open, [replace(FAILURE, counts=counts), SUCCESS], POLICY, now_ms=NOW_MS)

    assert (opened.health, opened.recovered, opened.disable) == (Health(), True, False)
    assert (closed.disable, closed.recovered, closed.warning) == (True, False, None)


def test_a_clock_set_back_does_not_postpone_disabling() -> None:
    """A start a year ahead is taken for now."""
    ahead = Health(NOW_MS + 365 * DAY_MS, 50)

    verdict = after_attempts(ahead, [FAILURE], POLICY, now_ms=NOW_MS)

    assert verdict.health.failing_since_ms == NOW_MS


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=60))
def test_each_warning_is_given_once_and_in_order(attempts: list[tuple[bool, float]]) -> None:
    """Between two successes warnings rise, none twice, and nothing is disabled before its time."""
    health, at_ms, given_since_success = Health(), NOW_MS, [0]
    for is_success, days in attempts:
        at_ms += round(days * DAY_MS)
        verdict = after_attempts(health, [Result(is_success, at_ms)], POLICY, now_ms=at_ms)
        health = verdict.health
        if is_success:
            given_since_success = [0]
            assert health == Health()
        if verdict.warning is not None:
            assert verdict.warning in WARNINGS
            assert verdict.warning > given_since_success[-1]
            given_since_success.append(verdict.warning)
        if verdict.disable:
            assert health.failing_since_ms is not None
            assert at_ms - health.failing_since_ms >= 5 * DAY_MS
            assert health.failing_attempts >= POLICY.min_attempts
