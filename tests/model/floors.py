"""The pure rules with floors that work where something is written, as the store does it: each listing has its own, set
once what it did not show has been settled by asking for it alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hookline.rules.merge import (
    NEVER,
    Clock,
    EdgeKind,
    Observation,
    absence_clock,
    join,
    join_edge,
    proof_of,
    read_clock,
)

from .judged import PLANS, Mirror, assumptions_hold, differences
from .source import Pair, Source, history
from .wire import Pass, arrivals, pass_after, pass_during

Listing = tuple[str, str]
"""(kind, the directory or group it is of); '' where it is of all."""


@dataclass(slots=True)
class WritingMirror(Mirror):
    """A mirror whose floors are joined with what is seen. `has_floors` is false to see what they are for."""

    floors: dict[Listing, Clock] = field(default_factory=dict)
    has_floors: bool = True

    def see(self, seen: Observation) -> None:
        joined = join(self.objects.get(seen.key), seen, floor=self._floor(seen.key))
        self.objects[seen.key] = joined.state
        if joined.flags or joined.wishes:
            self.doubted.add(seen.key)

    def see_edge(self, pair: Pair, kind: EdgeKind, clock: Clock) -> bool:
        floor = self.floors.get(("directory_membership", pair[0]), NEVER)
        joined = join_edge(self.edges.get(pair), kind, clock, floor=floor)
        self.edges[pair] = joined.state
        return bool(joined.flags)

    def take_pass(self, seen: Pass) -> None:
        for one in seen.objects:
            self.see(one)
        for pair, clock in seen.edges:
            self.see_edge(pair, "add", clock)
        listed = {one.key for one in seen.objects if one.kind == "read"}
        listings = {
            self._listing(key): seen.floors[resource]
            for key, resource in self.world.resources.items()
            if self._listing(key)[1] in ("", *listed)
        }
        for key in [above for one in self.objects for above in self.world.parents[one]]:
            if key not in self.objects:  # of which nothing was heard, and what is in it may be from before its end
                self.see(self._confirm(key, seen))
        for key in list(self.objects):
            floor = listings.get(self._listing(key), NEVER)
            if NEVER != proof_of(self.objects[key]) < floor and not self._is_ended_above(key):
                self.see(self._confirm(key, seen))
        for group in listed & set(self.world.groups):
            floor = seen.floors["directory_membership"]
            listings["directory_membership", group] = floor
            for pair, edge in list(self.edges.items()):
                if pair[0] == group and edge.remove < edge.add < floor:
                    self.see_edge(pair, "remove", (floor[0] + 1, ""))
        if self.has_floors:
            for listing, floor in listings.items():
                self.floors[listing] = max(floor, self.floors.get(listing, NEVER))

    def _confirm(self, key: str, seen: Pass) -> Observation:
        """What the source answers about one that no listing has shown."""
        resource, truth = self.world.resources[key], seen.confirmed
        if key not in truth.alive:
            return Observation("absent", resource, key, None, None, absence_clock(seen.confirmed_us))
        clock = read_clock(seen.confirmed_us)
        return Observation("read", resource, key, truth.alive[key], truth.updated_us[key], clock)

    def _is_ended_above(self, key: str) -> bool:
        proof = proof_of(self.objects[key])
        return any(proof <= self.objects[above].death for above in self.world.parents[key] if above in self.objects)

    def _listing(self, key: str) -> Listing:
        resource, above = self.world.resources[key], self.world.parents[key]
        return resource, above[0] if resource in ("directory_user", "directory_group") else ""

    def _floor(self, key: str) -> Clock:
        """Of its listing, and of those that would show what is above it and was never heard of."""
        unknown = [(self.world.resources[above], "") for above in self.world.parents[key] if above not in self.objects]
        return max(self.floors.get(listing, NEVER) for listing in (self._listing(key), *unknown))


@dataclass(slots=True)
class Ends:
    """Histories with a pass in the middle and one at the end, and how many ended wrong: after the last pass, and after
    most events of the history had come late or once more.
    """

    histories: int = 0
    wrong_after_pass: int = 0
    wrong_after_all: int = 0
    examples: list[str] = field(default_factory=list)

    def judge(self, seed: str, mirror: Mirror, source: Source) -> bool:
        wrong = differences(mirror, source)
        if wrong:
            self.examples.append(f"{seed}: {wrong}")
        return bool(wrong)


def run(name: str, seed: int, count: int, *, has_floors: bool = True) -> Ends:
    """Put so many histories of a plan through, a part of their events lost until after the last pass."""
    ends = Ends()
    for number in range(count):
        own = f"{seed}/{name}/{number}"
        rng = random.Random(own)
        source = history(rng, PLANS[name].odd, keeps=True)
        if not assumptions_hold(source.sent):
            continue
        came = arrivals(rng, source.sent, loss=PLANS[name].loss)
        mirror = WritingMirror(source.world, has_floors=has_floors)
        reads_at = rng.randrange(len(came) + 1)
        for place, event in enumerate(came):
            if place == reads_at:
                mirror.take_pass(pass_during(rng, source))
            mirror.take(event, source.now_us + place)
        mirror.take_pass(pass_after(rng, source))
        ends.histories += 1
        ends.wrong_after_pass += ends.judge(own, mirror, source)
        for event in arrivals(rng, source.sent, loss=0.3):
            mirror.take(event, source.now_us)
        ends.wrong_after_all += ends.judge(f"{own}, after all", mirror, source)
    return ends
