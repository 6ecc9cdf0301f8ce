"""Given this outcome, what state is this work in now?

One lifecycle for deliveries, handler runs and inbox entries; `TRANSITIONS` is the whole of it. A retry is `pending`
with a later due time; a dead letter is a `failed` run. The lease is no state: it lives in the claim, and a claim
whose lease has passed ends in the outcome `unknown`. Nothing is stored here: a decision comes back as a `Next`, and
the verb that stores it names the state and attempt it leaves.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from hookline.rules.response import Outcome
from hookline.rules.schedule import Backoff, Schedule, is_past_window, next_due

State: TypeAlias = Literal["pending", "running", "succeeded", "failed", "canceled", "held"]
STATES: Final[tuple[State, ...]] = ("pending", "running", "succeeded", "failed", "canceled", "held")

TRANSITIONS: Final[Mapping[State, Mapping[State, str]]] = {
    "pending": {
        "pending": "a person retries now what was planned for later",
        "running": "claimed",
        "failed": "its window passed before it could begin",
        "canceled": "a person cancels or skips it, or its endpoint is deleted",
        "held": "its endpoint is paused or disabled by us",
    },
    "running": {
        "succeeded": "2xx, or the handler returned",
        "pending": "failed or unknown, and a try is left",
        "failed": "no try is left, or 410 Gone",
        "canceled": "its endpoint was deleted meanwhile",
        "held": "its endpoint was paused meanwhile, and a try is left",
    },
    "held": {
        "pending": "its endpoint is resumed",
        "canceled": "retention passed, a person cancels it, or resuming left it out",
    },
    "failed": {
        "pending": "a person retries it",
        "canceled": "a person skips it: a dead-lettered run no longer holds what comes after",
    },
    "canceled": {"pending": "a person retries it"},
    "succeeded": {},
}
"""From each state to each state it may become, and when. To send a success again is a replay: a new delivery."""

MAX_UNKNOWN: Final = 3
"""How many attempts of one delivery may end unknown; whatever kills its sender must not do so for ever."""

AttemptKind: TypeAlias = Literal["scheduled", "manual", "probe"]
Target: TypeAlias = Literal["open", "holding", "deleted"]
RunResult: TypeAlias = Literal["succeeded", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Next:
    """What a piece of work is now.

    Attributes:
        state: see `TRANSITIONS`.
        due_ms: when to try again, where `pending`; else None.
        reason: why: the outcome's reason while tries are left or on success; for an end `exhausted`, `window_passed`,
            `gone`, `unknown_limit`, `retry_failed`, `canceled`, `endpoint_deleted`; `endpoint_paused` where held.
        slots_used: scheduled slots spent, missed ones included; 0 and meaningless for runs.
        unknown_attempts: attempts that ended unknown.
        next_kind: what the next attempt will be.
        planned_ms: the schedule's own next time, kept while a manual retry goes first.
        disable_endpoint: the endpoint said 410: it wants nothing more, this or other.
    """

    state: State
    due_ms: int | None
    reason: str
    slots_used: int = 0
    unknown_attempts: int = 0
    next_kind: AttemptKind = "scheduled"
    planned_ms: int | None = None
    disable_endpoint: bool = False


def is_allowed(before: State, after: State) -> bool:
    """Whether work may pass from one state to the other."""
    return after in TRANSITIONS[before]


def before_attempt(
    schedule: Schedule,
    *,
    kind: AttemptKind,
    slots_used: int,
    unknown_attempts: int,
    first_ms: int | None,
    now_ms: int,
) -> Next | None:
    """None to go ahead, or `failed` where the claimed attempt comes too late (after a downtime past its window).

    What a person asks for is never too late.
    """
    if kind == "manual" or not is_past_window(schedule, first_ms=first_ms, now_ms=now_ms):
        return None
    return Next("failed", None, "window_passed", slots_used, unknown_attempts)


def after_attempt(
    outcome: Outcome,
    schedule: Schedule,
    *,
    kind: AttemptKind,
    slots_used: int,
    unknown_attempts: int,
    first_ms: int,
    started_ms: int,
    now_ms: int,
    jitter: float,
    planned_ms: int | None = None,
    target: Target = "open",
) -> Next:
    """What a delivery is after one attempt.

    Args:
        outcome: what the attempt came to.
        schedule: the endpoint's or its environment's.
        kind: `scheduled` uses a slot, unless its end is unknown · `manual` uses none: failing, it leaves a delivery
            that had failed failed, and one that was pending with the time it had planned · `probe` repeats the attempt
            before it with the other key and uses none: failing, it leaves what that attempt would have left. Pass
            a probe of a manual attempt as `manual`.
        slots_used: slots spent before this attempt.
        unknown_attempts: attempts that ended unknown before this one.
        first_ms: when the delivery's first attempt began (this one, if it is the first).
        started_ms: when this attempt began.
        now_ms: when it ended, or was found to have ended.
        jitter: -1 to 1.
        planned_ms: the time the schedule had planned when a person retried a pending delivery; None otherwise.
        target: the endpoint at the time of settling: `open`, `holding` (paused or disabled by us) or `deleted`.
    """
    if outcome.kind == "succeeded":
        return after_success(outcome.reason, kind, slots_used, unknown_attempts)
    if outcome.kind == "unknown":
        unknown_attempts += 1
    elif kind == "scheduled":
        slots_used += 1
    if outcome.kind == "gone":
        return Next("failed", None, "gone", slots_used, unknown_attempts, disable_endpoint=True)
    if target == "deleted":
        return Next("canceled", None, "endpoint_deleted", slots_used, unknown_attempts)
    if unknown_attempts >= MAX_UNKNOWN:
        return Next("failed", None, "unknown_limit", slots_used, unknown_attempts)
    if planned_ms is not None:
        due_ms = planned_ms
    elif kind == "manual":
        return Next("failed", None, "retry_failed", slots_used, unknown_attempts)
    elif outcome.kind == "unknown" and kind == "scheduled":
        if is_past_window(schedule, first_ms=first_ms, now_ms=now_ms):
            return Next("failed", None, "window_passed", slots_used, unknown_attempts)
        due_ms = now_ms
    else:
        slot = next_due(
            schedule,
            slots_used=slots_used,
            first_ms=first_ms,
            started_ms=started_ms,
            now_ms=now_ms,
            jitter=jitter,
            retry_after_s=outcome.retry_after_s,
        )
        if slot is None:
            spent = slots_used >= schedule.slots
            return Next("failed", None, "exhausted" if spent else "window_passed", slots_used, unknown_attempts)
        due_ms, slots_used = slot.due_ms, slot.slots_used
    if target == "holding":
        return Next("held", None, "endpoint_paused", slots_used, unknown_attempts)
    return Next("pending", due_ms, outcome.reason, slots_used, unknown_attempts)


@functools.lru_cache(maxsize=256)
def after_success(reason: str, kind: AttemptKind, slots_used: int, unknown_attempts: int) -> Next:
    """What a delivery is after an attempt that succeeded: no schedule, time or endpoint can change it.

    Args as of `after_attempt`, `reason` the outcome's; one value for the thousands that end alike.
    """
    return Next("succeeded", None, reason, slots_used + (kind == "scheduled"), unknown_attempts)


def after_retry(
    state: State,
    *,
    slots_used: int,
    due_ms: int | None,
    next_kind: AttemptKind,
    planned_ms: int | None,
    now_ms: int,
) -> Next | None:
    """A person asks for one more attempt now: allowed from `failed`, `canceled` and `pending`, else None.

    What was pending keeps the time it had planned; asking twice asks once. The person's word also forgives earlier
    unknown attempts, or a delivery that reached their limit could never be retried.
    """
    if state not in ("failed", "canceled", "pending"):
        return None
    if state != "pending":
        planned_ms = None
    elif next_kind != "manual":
        planned_ms = due_ms
    return Next("pending", now_ms, "retry_asked", slots_used, 0, "manual", planned_ms)


def after_cancel(state: State, *, slots_used: int, unknown_attempts: int, reason: str = "canceled") -> Next | None:
    """A person cancels, an endpoint is deleted (`endpoint_deleted`) or retention passes (`expired`).

    Allowed from `pending` and `held`, else None: what is running is judged when it ends, and an end stays.
    """
    if state not in ("pending", "held"):
        return None
    return Next("canceled", None, reason, slots_used, unknown_attempts)


def after_run(result: RunResult, backoff: Backoff, *, tries_made: int, now_ms: int, jitter: float, reason: str) -> Next:
    """What a handler run or an inbox entry is after one try.

    Args:
        result: `unknown` where the worker died. It counts as a try like a failure: what kills its worker must end
            as a dead letter, too.
        backoff: how long to wait and how often.
        tries_made: tries begun, this one included.
        now_ms: when it ended.
        jitter: -1 to 1.
        reason: the exception's class or the like; kept while a try is left. A dead letter's is `exhausted`.
    """
    if result == "succeeded":
        return Next("succeeded", None, reason)
    due_ms = backoff.due_ms(tries_made=tries_made, now_ms=now_ms, jitter=jitter)
    if due_ms is None:
        return Next("failed", None, "exhausted")
    return Next("pending", due_ms, reason)
