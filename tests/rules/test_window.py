"""How many attempts an endpoint may have under way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hookline.rules.response import Outcome, silence
from hookline.rules.window import FAST_SLACK_MS, FIRST, LARGEST, Window, after_answer, allowed

OK = Outcome("succeeded", "status_200", 200)
BUSY = Outcome("failed", "status_429", 429)
ERROR = Outcome("failed", "status_500", 500)
OUTCOMES = (OK, BUSY, ERROR, Outcome("failed", "status_503", 503), silence("timeout"), silence("connect"))


def a_round(window: Window, outcome: Outcome = OK, *, latency_ms: float = 10, **options: Any) -> Window:
    """A whole windowful answered, the slots refilled meanwhile."""
    for _ in range(window.size):
        window = after_answer(window, outcome, latency_ms=latency_ms, in_flight=window.size, **options)
    return window


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.floats(0, 1e5), st.integers(1, LARGEST)), max_size=200))
def test_a_window_stays_within_its_bounds(answers: list[tuple[Outcome, float, int]]) -> None:
    """1 to 64 whatever comes; an endpoint that did not answer last is allowed no more than two."""
    window = Window()
    for outcome, latency_ms, in_flight in answers:
        before = window
        window = after_answer(before, outcome, latency_ms=latency_ms, in_flight=in_flight)
        assert 1 <= window.size <= LARGEST
        assert window.size - before.size <= 1
        assert window.size >= before.size // 2
        assert (window.standing == "failing") is (outcome.status is None or outcome.is_overload)
        assert allowed(window) <= (window.size if window.standing == "proven" else FIRST)


def test_it_doubles_with_each_round_of_fast_successes() -> None:
    """From 2 to 64 in five rounds."""
    sizes = [(window := Window()).size]
    for _ in range(6):
        window = a_round(window)
        sizes.append(window.size)

    assert sizes == [2, 4, 8, 16, 32, 64, 64]
    assert allowed(window) == 64


def test_after_an_overload_it_grows_by_one_a_round() -> None:
    """Half of what was too much is reached at once, the rest with care."""
    window = replace(Window(), size=32, standing="proven", best_ms=10.0)
    window = after_answer(window, BUSY, latency_ms=1, in_flight=32)
    window = a_round(replace(window, stale=0))

    assert (window.size, a_round(window).size) == (17, 18)


def test_a_windowful_of_refusals_halves_once() -> None:
    """What was under way when the first one came had been sent before we knew."""
    window = replace(Window(), size=32, standing="proven")

    for in_flight in range(32, 0, -1):
        window = after_answer(window, BUSY, latency_ms=1, in_flight=in_flight)

    assert window.size == 16
    assert after_answer(window, BUSY, latency_ms=1, in_flight=16).size == 8


@pytest.mark.parametrize("outcome", [silence("timeout"), silence("connect_timeout"), BUSY, OUTCOMES[3]])
def test_overload_and_silence_in_time_halve(outcome: Outcome) -> None:
    """429, 503 and timeouts ask for less; down to one."""
    window = Window()
    for _ in range(5):
        window = after_answer(window, outcome, latency_ms=15_000, in_flight=1)

    assert (window.size, window.standing) == (1, "failing")


@pytest.mark.parametrize("outcome", [ERROR, silence("connect"), silence("dns")])
def test_other_failures_leave_the_size(outcome: Outcome) -> None:
    """An error says nothing about load."""
    window = replace(Window(), size=10, standing="proven")

    assert after_answer(window, outcome, latency_ms=1, in_flight=10).size == 10


def test_slow_successes_do_not_grow_it() -> None:
    """Latency that doubles with the window is a queue on the other side."""
    window = a_round(Window(), latency_ms=50)

    assert a_round(window, latency_ms=120 + FAST_SLACK_MS).size == window.size
    assert a_round(window, latency_ms=60).size == 2 * window.size


def test_an_endpoint_that_has_become_slower_is_measured_anew() -> None:
    """What was fast once is forgotten by and by."""
    window = replace(Window(), size=8, standing="proven", best_ms=10.0, threshold=1)
    rounds = 0
    while window.size == 8:
        window = a_round(window, latency_ms=200)
        rounds += 1

    assert 5 < rounds < 60


def test_a_window_that_is_not_used_does_not_grow() -> None:
    """One delivery now and then does not show that 64 at once would do."""
    window = replace(Window(), size=8, standing="proven")
    for _ in range(100):
        window = after_answer(window, OK, latency_ms=1, in_flight=1)

    assert window.size == 8


def test_a_window_that_deliveries_wait_for_grows_whatever_is_under_way() -> None:
    """An endpoint that answers faster than the next claim comes shows few at once, and could take more."""
    window = replace(Window(), size=8, standing="proven")

    assert after_answer(window, OK, latency_ms=1, in_flight=1, has_more=True).size == 9


def test_a_full_window_of_successes_changes_no_object() -> None:
    """The common case at full speed makes nothing new."""
    window = replace(Window(), size=LARGEST, standing="proven")

    assert after_answer(window, OK, latency_ms=1, in_flight=64) is window


def test_largest_is_an_argument() -> None:
    """A process may allow less."""
    assert a_round(a_round(a_round(Window(), largest=5), largest=5), largest=5).size == 5
