"""Merge rules: tables for single rules, a Hypothesis model for order, repetition and agreement with the source."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.rules import merge
from hookline.rules.merge import (
    Clock,
    Joined,
    ObjectState,
    Observation,
    join,
)

S = 1_000_000
MODEL = settings(derandomize=True, max_examples=300, deadline=None)


def event_id(number: int) -> str:
    return f"event_{number:05d}"


def seen(
    kind: merge.Kind,
    at_s: float,
    number: int | None = None,
    *,
    updated_s: float | None = None,
    payload: dict[str, Any] | None = None,
    uncertain: bool = False,
    weak: bool = False,
) -> Observation:
    """One observation of directory_user u1; the payload is a name that tells which one it was."""
    number = round(at_s) if number is None else number
    api = kind in ("read", "absent")
    if payload is None and kind != "absent":
        payload = {"id": "u1", "name": f"n{number}", "state": "active"}
    updated_us = None if weak else round((at_s if updated_s is None else updated_s) * S)
    clock: Clock = (round(at_s * S), "" if api else event_id(number))
    return Observation(kind, "directory_user", "u1", payload, updated_us, clock, uncertain)


def fold(observations: list[Observation] | tuple[Observation, ...]) -> ObjectState | None:
    state: ObjectState | None = None
    for observation in observations:
        state = join(state, observation).state
    return state


def told(*observations: Observation) -> Joined:
    """What the last of them did."""
    return join(fold(observations[:-1]), observations[-1])


def name(state: ObjectState | None) -> Any:
    return None if state is None or state.current is None else state.current.get("name")


@MODEL
@given(st.permutations(range(5)), st.lists(st.integers(0, 4), max_size=4))
def test_any_order_and_repetition_of_one_history_ends_the_same(order: list[int], again: list[int]) -> None:
    """Created, updated, embedded, deleted, recreated: however they arrive, the end is the same state."""
    history = [
        seen("upsert", 10),
        seen("upsert", 20),
        seen("embedded", 25),
        seen("delete", 30),
        seen("upsert", 40),
    ]

    end = fold([history[index] for index in [*order, *again]])

    assert end == fold(history)
    assert end is not None
    assert merge.is_alive(end)
    assert name(end) == "n40"
