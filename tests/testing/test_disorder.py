"""Orders in which events may come: drawn alike from the same seed, and made simpler while they still fail."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from hookline.testing import Story, TurnedClock, sample_event
from hookline.testing.disorder import Arrival, Plan, closing, disorder, orderly, simplest

SEEDS = range(200)


def plan(seed: int, count: int = 12, **chances: float) -> Plan:
    return disorder(random.Random(seed), count, **({"doubled": 0.25, "late": 0.25, "lost": 0.1} | chances))


def order(plan: Plan) -> list[int]:
    return [arrival.index for arrival in plan.arrivals]


def test_the_same_seed_makes_the_same_plan() -> None:
    """And other seeds make others, of every kind: shuffled, backwards, and nearly in order."""
    assert [plan(seed) for seed in SEEDS] == [plan(seed) for seed in SEEDS]
    orders = [order(plan(seed, doubled=0, late=0, lost=0)) for seed in SEEDS]
    in_order = list(range(12))

    assert all(sorted(one) == in_order for one in orders)
    assert len({tuple(one) for one in orders}) > 80
    assert 20 < sum(one == in_order for one in orders) < 80
    assert 20 < sum(one == in_order[::-1] for one in orders) < 80


def test_chances_are_kept() -> None:
    """So much comes twice, so much never, and nothing else."""
    came = Counter(index for seed in SEEDS for index in order(plan(seed, lost=0.5, doubled=0.5)))
    assert 200 * 12 * 0.65 < came.total() < 200 * 12 * 0.85
    lost = [len(plan(seed, lost=0.5).lost) for seed in SEEDS]
    assert 200 * 12 * 0.4 < sum(lost) < 200 * 12 * 0.6
    assert not any(plan(seed, lost=0).lost for seed in SEEDS)
    assert all(len(order(plan(seed, doubled=0, lost=0))) == 12 for seed in SEEDS)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, 8, 9, 12, 20])
def test_the_first_ten_seeds_bring_the_last_event_before_others(count: int) -> None:
    """What a handler that believes whoever comes last is found by, with histories of any size."""

    def comes_last(seed: int) -> int:
        came = order(disorder(random.Random(f"hookline {seed}"), count, doubled=0.25, late=0.25, lost=0.1))
        first = list(dict.fromkeys([*came, count - 1]))
        return first[-1]

    assert sum(comes_last(seed) != count - 1 for seed in range(10)) >= 4


def test_a_plan_is_made_as_simple_as_it_can_be() -> None:
    """Of two events that must come in the wrong order nothing else is left, whatever was around them."""

    def fails(plan: Plan) -> bool:
        came = order(plan)
        return 5 in came and 2 in came and came.index(5) < came.index(2)

    found = [one for one in map(plan, SEEDS) if fails(one)]

    assert len(found) > 60
    for one in found:
        assert simplest(one, fails, tries=10_000) == Plan((2, 5), (Arrival(5), Arrival(2)))


def test_what_a_failure_needs_is_kept() -> None:
    """A loss, a repeat, a wait, or a batch: whatever is left out makes it pass."""
    odd = Plan((0, 1, 2), (Arrival(1, wait_s=60), Arrival(0, is_applied=False), Arrival(1), Arrival(0)))
    needs = {
        "a loss": (lambda plan: 2 in plan.lost, Plan((2,), ())),
        "a repeat": (lambda plan: order(plan).count(0) == 2, Plan((0,), (Arrival(0), Arrival(0)))),
        "a wait": (
            lambda plan: any(arrival.wait_s for arrival in plan.arrivals),
            Plan((1,), (Arrival(1, wait_s=60),)),
        ),
        "a batch": (
            lambda plan: any(not arrival.is_applied for arrival in plan.arrivals),
            Plan((0,), (Arrival(0, is_applied=False),)),
        ),
        "nothing": (lambda plan: True, Plan((), ())),
    }
    for name, (fails, expected) in needs.items():
        assert simplest(odd, fails, tries=1_000) == expected, name


def test_trying_ends() -> None:
    """After so many tries what is simplest by then is given."""
    tried: list[Plan] = []

    def fails(plan: Plan) -> bool:
        tried.append(plan)
        return True

    assert simplest(plan(1), fails, tries=0) == plan(1)
    assert tried == []
    simplest(plan(1), lambda one: fails(one) and False, tries=7)
    assert len(tried) == 7


def test_in_order_is_simplest() -> None:
    assert simplest(orderly(range(3)), lambda one: len(one.events) == 3, tries=1_000) == orderly(range(3))


def test_a_complete_pass_says_the_last_of_every_object() -> None:
    """The last event about each object and each relation; a fact about nothing that lasts says nothing."""
    story = Story(TurnedClock())
    story("dsync.user.created")
    story("dsync.user.created", id="directory_user_2")
    story("dsync.group.user_added")
    story("authentication.sso_succeeded")
    story("dsync.user.deleted")
    story("dsync.group.user_removed")
    story("dsync.group.user_added", user=story.told[1])
    unknown = sample_event("dsync.user.created").raw.replace(b"dsync.user.created", b"dsync.user.levitated")

    assert closing(story.told) == [1, 4, 5, 6]
    assert closing([type(story.told[0]).from_bytes(unknown)]) == []
    assert closing([]) == []
