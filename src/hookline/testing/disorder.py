"""In what order the events of a history may come: drawn by a seed, and made simpler for as long as it still fails.

Pure: nothing is delivered here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from hookline.wire.catalogue import CATALOGUE
from hookline.wire.event import Event


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event comes.

    Attributes:
        index: which of the history.
        wait_s: so long after what came before.
        is_applied: before the next one comes; else it shares a batch with that.
    """

    index: int
    wait_s: int = 0
    is_applied: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What comes of a history, and how.

    Attributes:
        events: which of the history happened at all, in order.
        arrivals: in which order they come; some twice, some never.
    """

    events: tuple[int, ...]
    arrivals: tuple[Arrival, ...]

    @property
    def lost(self) -> tuple[int, ...]:
        """Events that never come."""
        came = {arrival.index for arrival in self.arrivals}
        return tuple(index for index in self.events if index not in came)


def orderly(events: Sequence[int]) -> Plan:
    """Each comes once, in order, and is applied before the next."""
    return Plan(tuple(events), tuple(Arrival(index) for index in events))


def disorder(rng: random.Random, count: int, *, doubled: float, late: float, lost: float) -> Plan:
    """How `count` events come on a bad day; the figures are chances between 0 and 1.

    Half of the time they are shuffled, a quarter of it they come backwards; else they come in order, but for those that
    are late: behind any number of others, as by a retry.
    """
    manner = rng.choice(("shuffled", "shuffled", "backwards", "late"))
    came: list[tuple[float, int]] = []
    for index in range(count):
        if rng.random() < lost:
            continue
        for _ in range(1 + (rng.random() < doubled)):
            at = float(index)
            if manner == "shuffled":
                at = rng.uniform(0, count)
            elif manner == "backwards":
                at = float(count - index)
            if rng.random() < late:
                at += rng.uniform(0, count)
            came.append((at, index))
    arrivals = (Arrival(index, rng.choice((0, 0, 1, 60, 3_600)), rng.random() < 0.7) for _, index in sorted(came))
    return Plan(tuple(range(count)), tuple(arrivals))


def closing(events: Sequence[Event]) -> list[int]:
    """Which of the events are the last about their object, or about their relation of two: together they say what a
    complete pass over the source would. Facts about nothing that lasts, and types that nobody knows, say nothing.
    """
    last: dict[tuple[str, ...], int] = {}
    for index, event in enumerate(events):
        kind = CATALOGUE.get(event.type)
        if kind is None or kind.kind not in {"F", "D", "R"} or not kind.key:
            continue
        name = kind.object if kind.edge is None else kind.edge.resource
        last[str(name), *(str(_at(event.data, place)) for place in kind.key)] = index
    return sorted(last.values())


def simplest(plan: Plan, fails: Callable[[Plan], bool], *, tries: int) -> Plan:
    """The simplest plan found that still fails, by trying simpler ones, the boldest first, at most so often.

    Always the same for the same plan and a `fails` that always says the same.
    """
    while True:
        for simpler in _simpler(plan):
            tries -= 1
            if tries < 0:
                return plan
            if fails(simpler):
                plan = simpler
                break
        else:
            return plan


def _simpler(plan: Plan) -> Iterator[Plan]:
    """Nothing lost, fewer events, fewer arrivals, less disorder; every chain of these comes to an end."""
    events, arrivals = plan.events, plan.arrivals
    if plan.lost:
        came = list(arrivals)
        for index in plan.lost:
            came.insert(sum(arrival.index < index for arrival in came), Arrival(index))
        yield replace(plan, arrivals=tuple(came))
    size = (len(events) + 1) // 2
    while size:
        for start in range(0, len(events), size):
            gone = set(events[start : start + size])
            left = tuple(index for index in events if index not in gone)
            yield Plan(left, tuple(arrival for arrival in arrivals if arrival.index not in gone))
        size = (size + 1) // 2 if size > 1 else 0
    plain = tuple(Arrival(arrival.index) for arrival in arrivals)
    if plain != arrivals:
        yield replace(plan, arrivals=plain)
    for place, arrival in enumerate(arrivals):
        if arrival.index in {one.index for one in arrivals[:place] + arrivals[place + 1 :]}:
            yield replace(plan, arrivals=arrivals[:place] + arrivals[place + 1 :])
    for index in plan.lost:
        place = sum(arrival.index < index for arrival in arrivals)
        yield replace(plan, arrivals=(*arrivals[:place], Arrival(index), *arrivals[place:]))
    for place, (one, other) in enumerate(pairwise(arrivals)):
        if one.index > other.index:
            yield replace(plan, arrivals=(*arrivals[:place], other, one, *arrivals[place + 2 :]))
    for place, arrival in enumerate(arrivals):
        if arrival != (plainly := Arrival(arrival.index)):
            yield replace(plan, arrivals=(*arrivals[:place], plainly, *arrivals[place + 1 :]))


def _at(data: Any, place: str) -> Any:
    for name in place.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data
