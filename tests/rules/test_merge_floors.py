"""Floors joined where something is written (rule D4): the end is the set's, and what a pass has seen is unharmed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.rules import merge
from hookline.rules.merge import NEVER, Clock, EdgeState, ObjectState, Observation, join, join_edge

S = 1_000_000
FLOOR: Clock = (100 * S, "")


def seen(kind: merge.Kind, at_us: int, number: int = 1) -> Observation:
    """One observation of directory_user u1; a read and an absence are dated as they are."""
    id_ = "" if kind in ("read", "absent") else f"event_{number:03d}"
    payload = None if kind == "absent" else {"id": "u1", "name": f"n{at_us}"}
    return Observation(kind, "directory_user", "u1", payload, at_us, (at_us, id_))


def fold(observations: Any, floor: Clock = FLOOR) -> ObjectState:
    state: ObjectState | None = None
    for observation in observations:
        state = join(state, observation, floor=floor).state
    assert state is not None
    return state


# Around the floor and its very microsecond, and further away than ε.
AT_US = st.sampled_from([40 * S, FLOOR[0] - 1, FLOOR[0], FLOOR[0] + 1, 130 * S])
OBSERVATIONS = st.lists(
    st.builds(seen, st.sampled_from(["upsert", "delete", "embedded", "read", "absent"]), AT_US, st.integers(1, 4)),
    min_size=1,
    max_size=5,
)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(OBSERVATIONS)
def test_the_end_depends_on_the_set_alone(observations: list[Observation]) -> None:
    """In every order: the same content, the same life, the same answer to whether it lives; and what is shown would be
    shown under a floor that is asked at reading, which spares a few stubs more.
    """
    ends = [fold(order) for order in itertools.islice(itertools.permutations(observations), 120)]

    assert len({(end.content, end.life, end.provisional, merge.is_alive(end)) for end in ends}) == 1
    assert len({str(end.full) for end in ends}) == 1
    at_reading = merge.is_alive(fold(observations, NEVER), floor=FLOOR)
    assert merge.is_alive(ends[0]) <= at_reading
    if at_reading and ends[0].life >= FLOOR:
        assert merge.is_alive(ends[0])


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove"]), AT_US, st.sampled_from(["", "event_1", "é"])),
        min_size=1,
        max_size=5,
    )
)
def test_a_membership_ends_the_same_in_every_order(steps: list[tuple[merge.EdgeKind, int, str]]) -> None:
    """And effective exactly where a floor asked at reading lets it be."""
    ends: set[tuple[Clock, Clock]] = set()
    for order in itertools.permutations(steps):
        edge: EdgeState | None = None
        for kind, at_us, id_ in order:
            edge = join_edge(edge, kind, (at_us, id_), floor=FLOOR).state
        assert edge is not None
        ends.add((edge.add, edge.remove))
    assert len(ends) == 1
    plain: EdgeState | None = None
    for kind, at_us, id_ in steps:
        plain = join_edge(plain, kind, (at_us, id_)).state
    assert plain is not None
    ((add, remove),) = ends
    assert merge.is_edge_alive(EdgeState(add, remove)) == merge.is_edge_alive(plain, floor=FLOOR)


@pytest.mark.parametrize("kind", ["upsert", "embedded", "read"])
def test_what_no_pass_has_shown_is_not_raised_by_older_evidence(kind: merge.Kind) -> None:
    """An id without a row, an event, a copy or a read from before the floor: a row is made, and it is dead."""
    joined = join(None, seen(kind, FLOOR[0] - 1), floor=FLOOR)

    assert joined.verdict == "stale"
    assert not merge.is_alive(joined.state)
    assert joined.state.deleted_us == FLOOR[0] - 1


def test_what_the_pass_has_shown_is_left_as_it_is() -> None:
    """A late event about an object that was seen: no death is noted, which its children would take for theirs."""
    read = fold([seen("read", FLOOR[0])])
    joined = join(read, seen("upsert", 40 * S), floor=FLOOR)

    assert joined.verdict == "stale"
    assert joined.state == read
    assert merge.as_parent(joined.state) == merge.Parent(True, NEVER)


def test_evidence_of_the_floors_own_moment_lives() -> None:
    """The pass's first page is dated so, and so is an event of that very microsecond."""
    for kind in ("upsert", "embedded", "read"):
        assert merge.is_alive(join(None, seen(kind, FLOOR[0]), floor=FLOOR).state)


def test_one_that_comes_back_after_the_floor_is_recreated() -> None:
    """Later evidence of its own raises what the floor had taken."""
    dead = fold([seen("upsert", 40 * S)])

    assert join(dead, seen("upsert", 130 * S), floor=FLOOR).verdict == "recreated"


def test_a_copy_after_the_floor_of_one_that_older_events_name_asks_the_source() -> None:
    """A21 and A22: a stub stands only while nothing speaks against it, in whichever order the two come."""
    stub_first = join(fold([seen("embedded", 130 * S)]), seen("upsert", 40 * S), floor=FLOOR)
    stub_last = join(fold([seen("upsert", 40 * S)]), seen("embedded", 130 * S), floor=FLOOR)

    assert stub_first.verdict == "deleted"
    assert not merge.is_alive(stub_last.state)
    assert "refetch:added_while_dead" in stub_first.wishes
    assert "refetch:added_while_dead" in stub_last.wishes


def test_a_read_near_a_floor_is_not_doubted() -> None:
    """Both are dated by our own clock."""
    dead = fold([seen("upsert", 40 * S)])

    assert join(dead, seen("read", FLOOR[0] + S), floor=FLOOR).flags == ()
