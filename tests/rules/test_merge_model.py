"""The merge rules against a source: a small company changes at random, and its events arrive in any order.

The source knows the truth; it deletes children silently with their parent, as the provider does, and tells an edge's
add with full copies of both ends. When every event has arrived, repeated and shuffled, the mirror must show exactly
the source: who is alive, with which content, and which memberships are effective.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.rules.merge import (
    EdgeKind,
    EdgeState,
    ObjectState,
    Observation,
    Parent,
    as_parent,
    is_alive,
    is_edge_alive,
    join,
    join_edge,
)

ORGANIZATION, DIRECTORIES, USERS, GROUPS = "o1", ("d1", "d2"), ("u1", "u2", "u3"), ("g1", "g2")
RESOURCE = {"o": "organization", "d": "directory", "u": "directory_user", "g": "directory_group"}
PARENT = {"d1": "o1", "d2": "o1", "u1": "d1", "u2": "d1", "u3": "d2", "g1": "d1", "g2": "d2"}
OBJECTS = (ORGANIZATION, *DIRECTORIES, *USERS, *GROUPS)
PAIRS = [(user, group) for user in USERS for group in GROUPS if PARENT[user] == PARENT[group]]
S = 1_000_000


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge event: the pair, and for an add the copies it carries."""

    pair: tuple[str, str]
    kind: EdgeKind
    clock: tuple[int, str]
    copies: tuple[Observation, ...] = ()


@dataclass
class Source:
    """The truth, and every event it has sent."""

    now_us: int = 0
    number: int = 0
    alive: dict[str, dict[str, Any]] = field(default_factory=dict)
    updated_us: dict[str, int] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)
    events: list[Observation | Edge] = field(default_factory=list)

    def clock(self) -> tuple[int, str]:
        """The clock of the next event: ids rise, also within one instant."""
        self.number += 1
        return (self.now_us, f"event_{self.number:06d}")

    def seen(self, key: str, kind: Any, clock: tuple[int, str]) -> Observation:
        return Observation(kind, RESOURCE[key[0]], key, dict(self.alive[key]), self.updated_us[key], clock)

    def put(self, key: str, name: int, moves_time: bool) -> None:
        """Create or update, where the parent is there; an update may leave `updated_at` as it was."""
        parent = PARENT.get(key)
        if parent is not None and parent not in self.alive:
            return
        if key not in self.alive or moves_time:
            self.updated_us[key] = self.now_us
        self.alive[key] = {"id": key, "name": f"n{name}", **({f"only{name}": 1} if name % 2 else {})}
        self.events.append(self.seen(key, "upsert", self.clock()))

    def delete(self, key: str, reduced: int) -> None:
        """One event for the object alone, with all, a part or nothing of it; everything below goes silently."""
        if key not in self.alive:
            return
        seen = self.seen(key, "delete", self.clock())
        payload = [seen.payload, {"id": key, "name": None}, {"id": key}][reduced]
        self.events.append(Observation("delete", seen.resource, key, payload, seen.updated_us, seen.clock))
        self._forget(key)

    def _forget(self, key: str) -> None:
        self.alive.pop(key, None)
        self.members = {pair for pair in self.members if key not in pair}
        for child, parent in PARENT.items():
            if parent == key:
                self._forget(child)

    def link(self, pair: tuple[str, str], kind: EdgeKind) -> None:
        """Add or remove a member; neither moves anybody's `updated_at`."""
        if not all(end in self.alive for end in pair) or (kind == "remove") != (pair in self.members):
            return
        clock = self.clock()
        copies = tuple(self.seen(end, "embedded", clock) for end in pair) if kind == "add" else ()
        self.events.append(Edge(pair, kind, clock, copies))
        self.members ^= {pair}


@dataclass
class Mirror:
    """What the rules know, in memory."""

    objects: dict[str, ObjectState] = field(default_factory=dict)
    edges: dict[tuple[str, str], EdgeState] = field(default_factory=dict)

    def take(self, event: Observation | Edge) -> None:
        if isinstance(event, Edge):
            self.edges[event.pair] = join_edge(self.edges.get(event.pair), event.kind, event.clock).state
            for copy in event.copies:
                self.take(copy)
        else:
            self.objects[event.key] = join(self.objects.get(event.key), event).state

    def parents(self, key: str) -> list[Parent]:
        parent = PARENT.get(key)
        if parent is None or parent not in self.objects:
            return []
        return [as_parent(self.objects[parent], self.parents(parent))]

    def shown(self) -> dict[str, Any]:
        return {key: state.current for key, state in self.objects.items() if is_alive(state, self.parents(key))}

    def members(self) -> set[tuple[str, str]]:
        def ends(pair: tuple[str, str]) -> list[Parent]:
            known = [as_parent(self.objects[end], self.parents(end)) for end in pair if end in self.objects]
            return known + self.parents(pair[0])

        return {pair for pair, edge in self.edges.items() if is_edge_alive(edge, ends(pair))}


STEP = st.tuples(
    st.sampled_from([0, 0, S, 40 * S]),  # how much later: often the same instant
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(OBJECTS), st.booleans()),
        st.tuples(st.just("put"), st.sampled_from(OBJECTS), st.booleans()),
        st.tuples(st.just("delete"), st.sampled_from(OBJECTS), st.integers(0, 2)),
        st.tuples(st.just("link"), st.sampled_from(PAIRS), st.sampled_from(["add", "add", "remove"])),
        st.tuples(st.just("link"), st.sampled_from(PAIRS), st.sampled_from(["add", "add", "remove"])),
    ),
)


def play(steps: list[Any]) -> Source:
    source = Source()
    for key in OBJECTS:
        source.put(key, 0, True)
    for number, (later_us, step) in enumerate(steps, start=1):
        source.now_us += later_us
        match step:
            case ("put", key, moves_time):
                source.put(key, number, moves_time)
            case ("delete", key, reduced):
                source.delete(key, reduced)
            case ("link", pair, kind):
                source.link(pair, kind)
    return source


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.lists(STEP, max_size=40), st.randoms(use_true_random=False))
def test_every_order_ends_equal_to_the_source(steps: list[Any], random: Any) -> None:
    """Shuffled, a third repeated: the living, their content and the memberships are the source's."""
    source = play(steps)
    arrivals = source.events + random.sample(source.events, len(source.events) // 3)
    random.shuffle(arrivals)

    mirror = Mirror()
    for event in arrivals:
        mirror.take(event)

    assert mirror.shown() == source.alive
    assert mirror.members() == source.members


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=30), st.randoms(use_true_random=False))
def test_every_order_ends_in_the_same_clocks(steps: list[Any], random: Any) -> None:
    """Not only what is shown: every clock and register, also of the dead, is that of the order of sending."""
    source = play(steps)
    shuffled = random.sample(source.events, len(source.events))
    in_order, mixed = Mirror(), Mirror()

    for event in source.events:
        in_order.take(event)
    for event in shuffled:
        mixed.take(event)

    assert mixed == in_order


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=30), st.randoms(use_true_random=False), st.floats(0, 1))
def test_nobody_dead_is_shown_on_the_way(steps: list[Any], random: Any, part: float) -> None:
    """After any part of the events: whoever's deletion has arrived, and no later life, is not shown, nor its edges."""
    source = play(steps)
    arrivals = random.sample(source.events, round(len(source.events) * part))
    mirror = Mirror()

    for event in arrivals:
        mirror.take(event)

    told = [event for event in arrivals if isinstance(event, Observation)]
    for key in OBJECTS:
        deaths = [event.clock for event in told if event.key == key and event.kind == "delete"]
        lives = [event.clock for event in told if event.key == key and event.kind == "upsert"]
        if deaths and max(deaths) > max(lives, default=(-1, "")):
            assert key not in mirror.shown()
            assert not any(key in pair for pair in mirror.members())


@pytest.mark.parametrize("user_first", [True, False])
def test_an_add_makes_both_ends_until_their_own_events_come(user_first: bool) -> None:
    """B7: the payload's copies stand in for an unknown user and group; their events then change nothing visible."""
    source = play([(S, ("link", ("u1", "g1"), "add"))])
    add = source.events[-1]
    mirror = Mirror()

    mirror.take(add)
    early = (mirror.shown(), mirror.members())
    for event in source.events if user_first else source.events[::-1]:
        mirror.take(event)

    assert early == ({key: source.alive[key] for key in ("u1", "g1")}, {("u1", "g1")})
    assert mirror.shown() == source.alive
