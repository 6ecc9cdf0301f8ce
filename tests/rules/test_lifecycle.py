"""What state work is in: deliveries after attempts, what people may ask, handler runs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.rules.lifecycle import (
    STATES,
    TRANSITIONS,
    AttemptKind,
    Next,
    State,
    Target,
    after_attempt,
    after_cancel,
    after_retry,
    after_run,
    before_attempt,
    is_allowed,
)
from hookline.rules.response import UNKNOWN, Outcome, judge, silence
from hookline.rules.schedule import PRODUCTION, RUNS, Backoff, Schedule

FIRST_MS = 1_000_000
FAILED = judge(500, now_ms=FIRST_MS)
GONE = judge(410, now_ms=FIRST_MS)
DONE = judge(200, now_ms=FIRST_MS)


def after(outcome: Outcome, **given_: Any) -> Next:
    """After the first attempt of a production delivery, unless told otherwise."""
    facts: dict[str, Any] = {
        "kind": "scheduled",
        "slots_used": 0,
        "unknown_attempts": 0,
        "first_ms": FIRST_MS,
        "started_ms": FIRST_MS,
        "now_ms": FIRST_MS + 100,
        "jitter": 0.0,
    }
    schedule = given_.pop("schedule", PRODUCTION)
    return after_attempt(outcome, schedule, **{**facts, **given_})


def test_the_table_is_closed() -> None:
    """Every state is a row, every cell a state, and a success is the one end nothing leaves."""
    assert set(TRANSITIONS) == set(STATES)
    assert {to for row in TRANSITIONS.values() for to in row} <= set(STATES)
    assert [state for state in STATES if not TRANSITIONS[state]] == ["succeeded"]
    assert all(why for row in TRANSITIONS.values() for why in row.values())
    assert is_allowed("running", "succeeded")
    assert not is_allowed("succeeded", "running")


def test_a_success_ends_it() -> None:
    """Whatever the kind of attempt and the state of the endpoint: it has arrived."""
    for kind, target in itertools.product(("scheduled", "manual", "probe"), ("open", "holding", "deleted")):
        result = after(DONE, kind=kind, target=target)

        assert (result.state, result.due_ms, result.reason) == ("succeeded", None, "status_200")
        assert result.slots_used == (1 if kind == "scheduled" else 0)


def test_a_failure_uses_a_slot_and_waits_for_the_next() -> None:
    """Pending with the schedule's time and the outcome's reason."""
    assert after(FAILED) == Next("pending", FIRST_MS + 190_000, "status_500", slots_used=1)


def test_the_seventh_failure_is_the_last() -> None:
    """Six retries after the first attempt, then failed, exhausted."""
    slots, states, started_ms = 0, [], FIRST_MS
    for _ in range(7):
        result = after(FAILED, slots_used=slots, started_ms=started_ms, now_ms=started_ms + 100)
        slots, started_ms = result.slots_used, result.due_ms or 0
        states.append((result.state, result.reason))

    assert states == [("pending", "status_500")] * 6 + [("failed", "exhausted")]


def test_gone_fails_and_disables_the_endpoint() -> None:
    """410, even as the answer to a person's retry."""
    for kind in ("scheduled", "manual", "probe"):
        result = after(GONE, kind=kind)

        assert (result.state, result.reason, result.disable_endpoint) == ("failed", "gone", True)
    assert not after(FAILED).disable_endpoint


def test_an_unknown_attempt_uses_no_slot_and_goes_again_at_once() -> None:
    """It may have arrived: at least once means trying again, and the slot is still owed."""
    assert after(UNKNOWN, now_ms=FIRST_MS + 30_000) == Next(
        "pending", FIRST_MS + 30_000, "unknown", slots_used=0, unknown_attempts=1
    )


def test_the_third_unknown_attempt_fails_it() -> None:
    """What kills its sender must not do so for ever."""
    assert after(UNKNOWN, unknown_attempts=1).state == "pending"
    assert after(UNKNOWN, unknown_attempts=2) == Next("failed", None, "unknown_limit", unknown_attempts=3)


def test_an_unknown_attempt_found_after_the_window_is_not_repeated() -> None:
    """A claim found three days later: too late."""
    result = after(UNKNOWN, now_ms=FIRST_MS + 260_000_000)

    assert (result.state, result.reason) == ("failed", "window_passed")


def test_a_failure_after_the_window_says_so() -> None:
    """A short window that ends during the attempt is not 'exhausted': slots were left."""
    result = after(FAILED, schedule=Schedule((1, 5), 5), now_ms=FIRST_MS + 6_000)

    assert (result.state, result.reason, result.slots_used) == ("failed", "window_passed", 1)


def test_a_manual_retry_of_a_failed_delivery_fails_back() -> None:
    """It uses no slot and plans nothing, failing or unknown."""
    for outcome in (FAILED, UNKNOWN, silence("tls")):
        result = after(outcome, kind="manual", slots_used=7)

        assert (result.state, result.due_ms, result.reason, result.slots_used) == ("failed", None, "retry_failed", 7)


def test_a_manual_retry_of_a_pending_delivery_keeps_its_planned_slot() -> None:
    """Failing or unknown, what was planned stays planned, without a new jitter."""
    for outcome in (FAILED, UNKNOWN):
        result = after(outcome, kind="manual", slots_used=2, planned_ms=FIRST_MS + 950_000, jitter=1.0)

        assert (result.state, result.due_ms, result.slots_used) == ("pending", FIRST_MS + 950_000, 2)
        assert (result.next_kind, result.planned_ms) == ("scheduled", None)


def test_a_probe_uses_no_slot() -> None:
    """The attempt it repeats has used one; the next slot is the one after that."""
    probe = after(FAILED, kind="probe", slots_used=1)

    assert probe == Next("pending", FIRST_MS + 190_000, "status_500", slots_used=1)


def test_an_unknown_probe_waits_for_the_next_slot() -> None:
    """The attempt before it was answered, so nothing is owed at once."""
    probe = after(UNKNOWN, kind="probe", slots_used=1)

    assert probe == Next("pending", FIRST_MS + 190_000, "unknown", slots_used=1, unknown_attempts=1)


@pytest.mark.parametrize(
    ("target", "state", "reason"),
    [
        ("open", "pending", "status_500"),
        ("holding", "held", "endpoint_paused"),
        ("deleted", "canceled", "endpoint_deleted"),
    ],
)
def test_the_endpoint_at_settling_decides_where_a_retry_goes(target: Target, state: State, reason: str) -> None:
    """Paused meanwhile: held; deleted meanwhile: canceled."""
    result = after(FAILED, target=target)

    assert (result.state, result.reason) == (state, reason)
    assert (result.due_ms is None) == (state != "pending")


def test_holding_does_not_keep_what_is_over() -> None:
    """An exhausted delivery of a paused endpoint is failed, not held."""
    assert after(FAILED, slots_used=6, target="holding").state == "failed"


def test_an_attempt_does_not_begin_after_its_window() -> None:
    """Overdue past 72 h is failed with its reason; a person's retry is never too late, nor a first attempt."""
    late_ms = FIRST_MS + 300_000_000

    def begin(kind: AttemptKind, first_ms: int | None, now_ms: int) -> Next | None:
        return before_attempt(PRODUCTION, kind=kind, slots_used=3, unknown_attempts=1, first_ms=first_ms, now_ms=now_ms)

    assert begin("scheduled", FIRST_MS, late_ms) == Next("failed", None, "window_passed", 3, 1)
    assert begin("manual", FIRST_MS, late_ms) is None
    assert begin("scheduled", None, late_ms) is None
    assert begin("scheduled", FIRST_MS, FIRST_MS + 259_200_500) is None


@pytest.mark.parametrize("state", STATES)
def test_who_may_retry(state: State) -> None:
    """Failed, canceled and pending; a success is sent again by a replay, a held one by resuming."""
    result = after_retry(
        state, slots_used=3, due_ms=FIRST_MS + 5, next_kind="scheduled", planned_ms=None, now_ms=FIRST_MS
    )

    if state not in ("failed", "canceled", "pending"):
        assert result is None
        return
    planned_ms = FIRST_MS + 5 if state == "pending" else None
    assert result == Next("pending", FIRST_MS, "retry_asked", 3, 0, "manual", planned_ms)
    assert is_allowed(state, "pending")


def test_asking_twice_asks_once() -> None:
    """The plan behind the first request is not replaced by that request's own time."""
    result = after_retry(
        "pending", slots_used=1, due_ms=FIRST_MS, next_kind="manual", planned_ms=FIRST_MS + 9, now_ms=FIRST_MS + 1
    )

    assert result is not None
    assert (result.due_ms, result.planned_ms) == (FIRST_MS + 1, FIRST_MS + 9)


@pytest.mark.parametrize("state", STATES)
def test_who_may_be_canceled(state: State) -> None:
    """What waits: pending and held."""
    result = after_cancel(state, slots_used=2, unknown_attempts=1, reason="endpoint_deleted")

    if state in ("pending", "held"):
        assert result == Next("canceled", None, "endpoint_deleted", 2, 1)
        assert is_allowed(state, "canceled")
    else:
        assert result is None


def test_a_run_is_retried_and_then_dead() -> None:
    """Twelve tries, then failed: the dead letter."""
    results = [after_run("failed", RUNS, tries_made=n, now_ms=0, jitter=0.0, reason="ValueError") for n in range(1, 13)]

    assert [result.state for result in results] == ["pending"] * 11 + ["failed"]
    assert results[0] == Next("pending", 2_000, "ValueError")
    assert results[-1] == Next("failed", None, "exhausted")


def test_a_run_whose_worker_died_counts_as_a_try() -> None:
    """Else a handler that kills its worker would do so for ever."""
    twice = Backoff(tries=2)

    assert after_run("unknown", twice, tries_made=1, now_ms=0, jitter=0.0, reason="unknown").state == "pending"
    assert after_run("unknown", twice, tries_made=2, now_ms=0, jitter=0.0, reason="unknown").state == "failed"


def test_a_run_that_returned_is_done() -> None:
    """On its last try, too."""
    assert after_run("succeeded", RUNS, tries_made=12, now_ms=0, jitter=0.0, reason="ok").state == "succeeded"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    outcome=st.sampled_from([DONE, FAILED, GONE, UNKNOWN, silence("timeout"), judge(503, retry_after="9", now_ms=0)]),
    kind=st.sampled_from(["scheduled", "manual", "probe"]),
    slots=st.integers(0, 7),
    unknown=st.integers(0, 4),
    late_s=st.integers(0, 300_000),
    planned=st.none() | st.integers(FIRST_MS, FIRST_MS + 259_200_000),
    target=st.sampled_from(["open", "holding", "deleted"]),
    jitter=st.floats(-1, 1),
)
def test_every_decision_is_in_the_table(
    outcome: Outcome,
    kind: AttemptKind,
    slots: int,
    unknown: int,
    late_s: int,
    planned: int | None,
    target: Target,
    jitter: float,
) -> None:
    """From running only to where the table allows; a due time where pending and nowhere else; slots never shrink."""
    now_ms = FIRST_MS + late_s * 1000

    result = after(
        outcome,
        kind=kind,
        slots_used=slots,
        unknown_attempts=unknown,
        started_ms=now_ms,
        now_ms=now_ms,
        planned_ms=planned,
        target=target,
        jitter=jitter,
    )

    assert is_allowed("running", result.state)
    assert (result.due_ms is not None) == (result.state == "pending")
    assert result.slots_used >= slots
    assert result.reason
