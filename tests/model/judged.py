"""The pure rules under a history: a mirror in memory, and whether its end is the source's."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hookline.rules.merge import (
    NEVER,
    Clock,
    EdgeKind,
    EdgeState,
    Kind,
    ObjectState,
    Observation,
    Parent,
    as_parent,
    event_clock,
    is_active,
    is_alive,
    is_edge_alive,
    is_near_death_above,
    join,
    join_edge,
    proof_of,
)

from .source import Oddities, Pair, Payload, Sent, Source, World, history
from .wire import Pass, arrivals, arrivals_in_peace, pass_after, pass_during


@dataclass(frozen=True, slots=True)
class Plan:
    """How a kind of history comes about, and what is lost of it on the way."""

    odd: Oddities
    loss: float = 0.0
    is_read_meanwhile: bool = False
    keeps_assumptions: bool = True


# Ids that hold the very time of the event stand in for a missing `created_at` without breaking anything.
PLANS: Final[dict[str, Plan]] = {
    "everything arrives": Plan(Oddities(no_created=0.1)),
    "no ties": Plan(Oddities(silent=0.0, same_instant=0.0)),
    "a pass during the flow": Plan(Oddities(no_created=0.1), is_read_meanwhile=True),
    "a quarter is lost": Plan(Oddities(no_created=0.1), loss=0.25),
    "a quarter is lost around a pass": Plan(Oddities(), loss=0.25, is_read_meanwhile=True),
    "payloads without updated_at": Plan(Oddities(no_updated=0.3)),
    "payloads without updated_at, a quarter is lost around a pass": Plan(
        Oddities(no_updated=0.3), loss=0.25, is_read_meanwhile=True
    ),
    "ids out of order within a millisecond": Plan(
        Oddities(same_instant=0.6, is_unordered=True), keeps_assumptions=False
    ),
    "hosts' clocks 2 s apart": Plan(Oddities(skew_us=2_000_000), keeps_assumptions=False),
    "hosts' clocks a minute apart": Plan(Oddities(skew_us=60_000_000), keeps_assumptions=False),
    "times guessed": Plan(Oddities(no_created=0.3, is_opaque=True), keeps_assumptions=False),
}


@dataclass(slots=True)
class Mirror:
    """What the rules know, in memory, and what they were in doubt about.

    `doubted` are the objects and pairs flagged or wished for when an observation was joined. Doubts of what hangs on
    what are a matter of the state, and asked of it (`asked`).
    """

    world: World
    objects: dict[str, ObjectState] = field(default_factory=dict)
    edges: dict[Pair, EdgeState] = field(default_factory=dict)
    floor: Clock = NEVER
    doubted: set[str | Pair] = field(default_factory=set)

    def take(self, event: Sent, arrived_us: int) -> None:
        """Join one event, as resources.observe would say it."""
        own = event.copies[0] if event.pair is None else None
        clock, is_guess = clock_of(event, arrived_us)
        if own is None:
            assert event.pair is not None
            is_doubted = self.see_edge(event.pair, "add" if event.kind == "add" else "remove", clock)
            if is_guess or is_doubted:
                self.doubted.add(event.pair)
            if event.kind == "add":
                for copy in event.copies:
                    seen = Observation(
                        "embedded", copy.resource, copy.key, copy.payload, copy.updated_us, clock, is_guess
                    )
                    self.see(seen)
        else:
            kind: Kind = "delete" if event.kind == "delete" else "upsert"
            self.see(Observation(kind, own.resource, own.key, own.payload, own.updated_us, clock, is_guess))

    def see(self, seen: Observation) -> None:
        joined = join(self.objects.get(seen.key), seen)
        self.objects[seen.key] = joined.state
        if joined.flags or joined.wishes:
            self.doubted.add(seen.key)

    def see_edge(self, pair: Pair, kind: EdgeKind, clock: Clock) -> bool:
        """Join an add or remove; whether it is in doubt."""
        joined = join_edge(self.edges.get(pair), kind, clock)
        self.edges[pair] = joined.state
        return bool(joined.flags)

    def take_pass(self, seen: Pass) -> None:
        """Join a whole pass; its floor last."""
        for one in seen.objects:
            self.see(one)
        for pair, clock in seen.edges:
            self.see_edge(pair, "add", clock)
        self.floor = max(self.floor, seen.floor)

    def parents(self, key: str) -> list[Parent]:
        return [
            as_parent(self.objects[parent], self.parents(parent), floor=self.floor)
            for parent in self.world.parents[key]
            if parent in self.objects
        ]

    def shown(self) -> dict[str, Payload]:
        """What is alive, with its content."""
        return {
            key: dict(state.current or {})
            for key, state in self.objects.items()
            if is_alive(state, self.parents(key), floor=self.floor)
        }

    def members(self) -> set[Pair]:
        """The memberships in effect."""
        return {pair for pair, edge in self.edges.items() if is_edge_alive(edge, self._ends(pair), floor=self.floor)}

    def _ends(self, pair: Pair) -> list[Parent]:
        ends = [
            as_parent(self.objects[end], self.parents(end), floor=self.floor) for end in pair if end in self.objects
        ]
        return ends + self.parents(pair[0])

    def asked(self) -> set[str | Pair]:
        """What the source should be asked: what was doubted when it came, and what lives near a death above it."""
        found = set(self.doubted)
        for key, state in self.objects.items():
            if is_near_death_above(proof_of(state), self.parents(key)):
                found.add(key)
        for pair, edge in self.edges.items():
            if edge.add > edge.remove and is_near_death_above(edge.add, self._ends(pair)):
                found.add(pair)
        return found

    def doubts(self) -> set[str | Pair]:
        """That, and all that hangs on it."""
        found = self.asked()
        found |= {key for key, above in self.world.parents.items() if not found.isdisjoint(above)}
        return found | {pair for pair in self.world.pairs if not found.isdisjoint(pair)}

    def access(self) -> set[str]:
        """The users who may be let in."""
        return {
            key
            for key, payload in self.shown().items()
            if self.world.resources[key] == "directory_user" and is_active(payload, True)
        }


def clock_of(event: Sent, arrived_us: int) -> tuple[Clock, bool]:
    """The event's clock, as the receiver would read it, and whether it is a guess."""
    return event_clock(
        event.id,
        event.created_us,
        id_time_us=event.id_time_us,
        updated_us=event.copies[0].updated_us if event.pair is None else None,
        arrived_us=arrived_us,
    )


def differences(mirror: Mirror, source: Source) -> dict[str | Pair, str]:
    """Where the mirror's end is not the source's, by object and pair; empty if it is."""
    shown = mirror.shown()
    found: dict[str | Pair, str] = dict.fromkeys(shown.keys() - source.alive.keys(), "is shown")
    for key, payload in source.alive.items():
        if key not in shown:
            found[key] = "is missing"
        elif shown[key] != payload:
            found[key] = f"holds {shown[key]}, not {payload}"
    found |= dict.fromkeys(mirror.members() ^ source.members, "is a membership for one of the two")
    return found


def assumptions_hold(sent: Iterable[Sent]) -> bool:
    """Whether every event's clock is later than the one before it, and no object's `updated_at` goes back (§2.4 i, ii).

    More than the proof asks for, which compares only what concerns one object: a history that fails here may
    still end right.
    """
    last: Clock = NEVER
    contents: dict[str, int] = {}
    for event in sent:
        clock, _ = clock_of(event, 0)
        if clock <= last:
            return False
        last = clock
        if event.kind in ("upsert", "add"):
            for copy in event.copies:
                if copy.updated_us is not None:
                    if copy.updated_us < contents.get(copy.key, -1):
                        return False
                    contents[copy.key] = copy.updated_us
    return True


@dataclass(slots=True)
class Tally:
    """How the histories of one plan ended.

    Attributes:
        broken: histories whose clocks broke an assumption.
        wrong_before_pass: ended wrong before the pass that supplies what was lost.
        wrong_within: ended wrong though nothing was lost and every assumption held. Never.
        wrong_outside: ended wrong where one was broken; wrong_in_silence: and something of what was wrong had neither
            been doubted itself nor hung on what was.
        wrong_healed: still wrong after one complete pass. Never.
        examples: seeds and differences of what should never be.
    """

    histories: int = 0
    events: int = 0
    broken: int = 0
    wrong_before_pass: int = 0
    wrong_within: int = 0
    wrong_outside: int = 0
    wrong_in_silence: int = 0
    wrong_healed: int = 0
    examples: list[str] = field(default_factory=list)


def run_one(seed: str, plan: Plan, tally: Tally) -> None:
    """Make one history, let it arrive, and judge the end; then, where it was not bound to be right, after one complete
    pass again.
    """
    rng = random.Random(seed)
    source = history(rng, plan.odd, keeps=plan.is_read_meanwhile)
    came = arrivals(rng, source.sent, loss=plan.loss)
    mirror = Mirror(source.world)
    reads_at = rng.randrange(len(came) + 1) if plan.is_read_meanwhile else -1
    for place, event in enumerate(came):
        if place == reads_at:
            mirror.take_pass(pass_during(rng, source))
        mirror.take(event, source.now_us + place)
    if reads_at == len(came):
        mirror.take_pass(pass_during(rng, source))
    holds = assumptions_hold(source.sent)
    tally.histories += 1
    tally.events += len(source.sent)
    tally.broken += not holds
    wrong = differences(mirror, source)
    tally.wrong_before_pass += bool(wrong)
    if not plan.loss:
        if wrong and holds:
            tally.wrong_within += 1
            tally.examples.append(f"{seed}: {wrong}")
        elif wrong:
            tally.wrong_outside += 1
            tally.wrong_in_silence += not wrong.keys() <= mirror.doubts()
    if plan.loss or not holds:
        mirror.take_pass(pass_after(rng, source))
        if wrong := differences(mirror, source):
            tally.wrong_healed += 1
            tally.examples.append(f"{seed}, after a pass: {wrong}")


MINUTE_US: Final = 60_000_000
PACES: Final[dict[str, Oddities]] = {
    "a change a minute": Oddities(same_instant=0.0, pace_us=MINUTE_US),
    "a change in ten minutes": Oddities(same_instant=0.0, pace_us=10 * MINUTE_US),
    "a change an hour": Oddities(same_instant=0.0, pace_us=60 * MINUTE_US),
    "a change an hour, and whoever goes is deactivated a second before": Oddities(
        same_instant=0.0, pace_us=60 * MINUTE_US, is_hurried=True
    ),
}
"""Sources whose clocks and ids are as they should be, of seven objects or so."""


def doubts_in_peace(name: str, seed: int, count: int) -> tuple[int, int, int]:
    """How much is doubted where nothing is wrong, on an ordinary wire.

    Returns: events, objects and memberships there are, and those of them that the source should be asked about.
    """
    events = rows = asked = 0
    for number in range(count):
        rng = random.Random(f"{seed}/{name}/{number}")
        source = history(rng, PACES[name])
        mirror = Mirror(source.world)
        for place, event in enumerate(arrivals_in_peace(rng, source.sent)):
            mirror.take(event, source.now_us + place)
        events += len(source.sent)
        rows += len(mirror.objects) + len(mirror.edges)
        asked += len(mirror.asked())
    return events, rows, asked


def run(name: str, seed: int, count: int) -> Tally:
    """Run so many histories of one plan."""
    tally = Tally()
    for number in range(count):
        run_one(f"{seed}/{name}/{number}", PLANS[name], tally)
    return tally
