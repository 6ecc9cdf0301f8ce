"""What comes of a history: its events lost, repeated and out of order, and passes of reads over the source.

A pass reads every kind of object in turn, each page at its own moment and perhaps from a replica that lags by less than
ε. It comes out as values of rules/merge.py: a read for each object seen, an add for each membership seen, and the floor
that speaks for whatever was not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from hookline.rules.merge import (
    EPSILON_US,
    Clock,
    Observation,
    absence_clock,
    floor_clock,
    read_clock,
)

from .source import MS, START_US, Pair, S, Sent, Snapshot, Source

T = TypeVar("T")

KINDS: Final = ("organization", "directory", "directory_group", "directory_user", "directory_membership")


@dataclass(frozen=True, slots=True)
class Pass:
    """What a complete pass saw. `floor` counts once all of it has been taken; it is that of all its listings, `floors`
    are those of each. `confirmed` is what the source is like at `confirmed_us`, when it is asked one by one about what
    no listing has shown.
    """

    objects: tuple[Observation, ...]
    edges: tuple[tuple[Pair, Clock], ...]
    floor: Clock
    floors: Mapping[str, Clock]
    confirmed: Snapshot
    confirmed_us: int


def arrivals(rng: random.Random, sent: list[T], *, loss: float = 0.0, repeats: float = 0.3) -> list[T]:
    """The events as they arrive: any order, some twice or more, some never; sometimes in order."""
    came = [one for one in sent if rng.random() >= loss] if loss else list(sent)
    if rng.random() < 0.9:
        came += [one for one in came if rng.random() < repeats]
        rng.shuffle(came)
    return came


def arrivals_in_peace(rng: random.Random, sent: list[Sent]) -> list[Sent]:
    """The events as they arrive on an ordinary day: after a second or two, one in twenty by a retry seconds or minutes
    later, one in twenty once more.
    """
    came = []
    at_us = START_US
    for one in sent:
        at_us = at_us if one.created_us is None else one.created_us
        for _ in range(1 + (rng.random() < 0.05)):
            late_us = rng.choice((5, 60, 300)) * S if rng.random() < 0.05 else 0
            came.append((at_us + late_us + rng.expovariate(1 / S), one.number, one))
    return [one for _, _, one in sorted(came, key=lambda arrival: arrival[:2])]


def read_at(
    snapshot: Snapshot, kinds: tuple[str, ...], requested_us: int
) -> tuple[list[Observation], list[tuple[Pair, Clock]]]:
    """What pages of these kinds say of one state of the source."""
    clock = read_clock(requested_us)
    objects = [
        Observation("read", payload["object"], key, payload, snapshot.updated_us[key], clock)
        for key, payload in snapshot.alive.items()
        if payload["object"] in kinds
    ]
    edges = [(pair, clock) for pair in snapshot.members] if "directory_membership" in kinds else []
    return objects, edges


def pass_during(rng: random.Random, source: Source) -> Pass:
    """A pass that begins at one of the commits and goes on while others are made. Needs the source's snapshots."""
    snapshots = source.snapshots
    at = rng.randrange(len(snapshots))
    started_us = requested_us = snapshots[at].since_us
    objects: list[Observation] = []
    edges: list[tuple[Pair, Clock]] = []
    floors: dict[str, Clock] = {}

    def page() -> Snapshot:
        lag_us = rng.choice((0, 0, S, EPSILON_US - MS))
        # The replica shows some state that was true within the lag: never one that a commit before it had ended.
        seen = max(
            (n for n, one in enumerate(snapshots) if one.since_us <= requested_us - lag_us),
            default=None,
        )
        return Snapshot(0, {}, {}, frozenset()) if seen is None else snapshots[seen]

    for kind in KINDS:
        floors[kind] = floor_clock(requested_us)
        more, more_edges = read_at(page(), (kind,), requested_us)
        objects += more
        edges += more_edges
        requested_us += rng.choice((0, MS, S, 9 * S))
    return Pass(tuple(objects), tuple(edges), floor_clock(started_us), floors, page(), requested_us)


def pass_after(rng: random.Random, source: Source) -> Pass:
    """A complete pass once everything has settled: later than any event by more than skew and ε. What it did not
    see is perhaps asked for one by one, and found absent.
    """
    started_us = requested_us = source.now_us + EPSILON_US + source.odd.skew_us + S
    truth = source.truth()
    objects: list[Observation] = []
    edges: list[tuple[Pair, Clock]] = []
    floors: dict[str, Clock] = {}
    for kind in KINDS:
        floors[kind] = floor_clock(requested_us)
        more, more_edges = read_at(truth, (kind,), requested_us)
        objects += more
        edges += more_edges
        requested_us += rng.choice((0, MS, S))
    if rng.random() < 0.5:
        clock = absence_clock(requested_us)
        objects += [
            Observation("absent", source.world.resources[key], key, None, None, clock)
            for key in source.world.parents
            if key not in truth.alive
        ]
    rng.shuffle(objects)
    return Pass(tuple(objects), tuple(edges), floor_clock(started_us), floors, truth, requested_us)
