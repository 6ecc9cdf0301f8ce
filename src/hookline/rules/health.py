"""When is an endpoint that fails warned about, disabled, and taken back?

Failing begins with the first failed attempt after a success and ends with the next success. At 50, 80 and 100 % of
five days its owner is told; at the end it is disabled, if enough attempts were made to mean it, and what waits for it
is held. Resumed, it is half open: one delivery goes first and decides for all others. Attempts of tests and replays and
those a person asked for say nothing about health, except to a half-open endpoint, where any answer is the one waited
for; and what failed on our side is nobody's failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

WARNINGS: Final = (50, 80, 100)
"""Percent of the time to disabling at which warnings are given."""


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How long an endpoint may fail.

    Attributes:
        disable_after_s: failing for so long, it is disabled.
        min_attempts: but not before so many failed attempts: one event and its retries prove little.
    """

    disable_after_s: float = 432_000
    min_attempts: int = 10


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint does.

    Attributes:
        failing_since_ms: the first failed attempt since the last success; None while healthy.
        failing_attempts: failed attempts since then.
        warned: the highest warning given, 0 for none.
        is_half_open: it was disabled for failing and is tried with one delivery at a time.
    """

    failing_since_ms: int | None = None
    failing_attempts: int = 0
    warned: int = 0
    is_half_open: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """One attempt as it bears on health. `counts` is false of tests, replays and what a person asked for."""

    is_success: bool
    ended_ms: int
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What some attempts mean for an endpoint.

    Attributes:
        health: how it does now.
        recovered: a success ended a time of failing, or a half-open trial.
        failures: failed attempts since then, to be added to those stored.
        warning: a warning due now, in percent, or None. Where it is disabled, that is said instead.
        disable: turn it off and hold what waits for it.
    """

    health: Health
    recovered: bool = False
    failures: int = 0
    warning: int | None = None
    disable: bool = False


def after_attempts(health: Health, results: Iterable[Result], policy: HealthPolicy, *, now_ms: int) -> Verdict:
    """What an endpoint's attempts, in the order they ended, mean for its health.

    The first answer to a half-open endpoint decides: those that end together with it change nothing more.
    """
    recovered, failures = False, 0
    for result in results:
        if not (result.counts or health.is_half_open):
            continue
        if result.is_success:
            recovered = recovered or health != Health()
            health, failures = Health(), 0
        elif health.is_half_open:
            return Verdict(health, disable=True)
        else:
            # A start that lies ahead was written before the clock was set back.
            since_ms = min(result.ended_ms, health.failing_since_ms or result.ended_ms)
            health = replace(health, failing_since_ms=since_ms, failing_attempts=health.failing_attempts + 1)
            failures += 1
    if not failures or health.failing_since_ms is None:
        return Verdict(health, recovered, failures)
    failing_ms = now_ms - health.failing_since_ms
    reached = max((percent for percent in WARNINGS if failing_ms >= policy.disable_after_s * 10 * percent), default=0)
    if reached == 100 and health.failing_attempts >= policy.min_attempts:
        return Verdict(replace(health, warned=reached), recovered, failures, disable=True)
    if reached > health.warned:
        return Verdict(replace(health, warned=reached), recovered, failures, warning=reached)
    return Verdict(health, recovered, failures)
