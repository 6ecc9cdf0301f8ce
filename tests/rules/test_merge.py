"""Merge rules: tables for single rules, a Hypothesis model for order, repetition and agreement with the source."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.rules import merge
from hookline.rules.merge import (
    NEVER,
    Clock,
    EdgeState,
    Joined,
    ObjectState,
    Observation,
    Parent,
    join,
    join_edge,
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


HISTORIES: dict[str, tuple[list[Observation], Any]] = {
    "updates": ([seen("upsert", 10), seen("upsert", 20), seen("upsert", 30)], "n30"),
    "deleted": ([seen("upsert", 10), seen("upsert", 20), seen("delete", 30)], None),
    "recreated": ([seen("upsert", 10), seen("delete", 20), seen("upsert", 30), seen("upsert", 40)], "n40"),
    "deleted twice": ([seen("upsert", 10), seen("delete", 20), seen("upsert", 30), seen("delete", 40)], None),
    "embedded": ([seen("upsert", 10), seen("embedded", 15, updated_s=10), seen("upsert", 20)], "n20"),
    "embedded after death": ([seen("upsert", 10), seen("delete", 20), seen("embedded", 30, updated_s=10)], None),
    "embedded, then dead": ([seen("embedded", 10), seen("embedded", 20), seen("delete", 15)], None),
    "delete keeps updated_at": ([seen("upsert", 10), seen("delete", 20, updated_s=10)], None),
    "equal updated_at": (
        [seen("upsert", 10), seen("upsert", 20, updated_s=10), seen("upsert", 30, updated_s=10)],
        "n30",
    ),
    "one instant": (
        [seen("upsert", 10, 1), seen("delete", 10, 2), seen("upsert", 10, 3), seen("upsert", 10, 4)],
        "n4",
    ),
    "one instant, dead last": ([seen("upsert", 10, 1), seen("upsert", 10, 2), seen("delete", 10, 3)], None),
    "reads": ([seen("upsert", 10), seen("read", 40, updated_s=20), seen("upsert", 20), seen("absent", 60)], None),
    "reduced deletions": (
        [
            seen("upsert", 10, payload={"id": "u1", "name": "n10", "domains": ["d"]}),
            seen("delete", 20, payload={"id": "u1", "name": "n20", "state": None}),
            seen("delete", 30, payload={"id": "u1", "email": "e"}),
            seen("upsert", 15, payload={"id": "u1", "name": "n15", "domains": ["e"]}),
        ],
        None,
    ),
}


@pytest.mark.parametrize("title", HISTORIES)
def test_every_order_and_repetition_of_a_history_ends_the_same(title: str) -> None:
    """All permutations, each with one observation repeated at the end, end in one state: the source's."""
    history, alive_name = HISTORIES[title]
    end = fold(history)

    for order in itertools.permutations(history):
        assert fold(order) == end
        assert fold((*order, order[0], order[-1])) == end
    assert end is not None
    assert merge.is_alive(end) == (alive_name is not None)
    if alive_name is not None:
        assert name(end) == alive_name


CLOCKS = st.tuples(st.integers(0, 4), st.sampled_from(["", "a", "b", "c"]))
PAYLOADS = st.none() | st.fixed_dictionaries(
    {"id": st.just("u1")},
    optional={
        "name": st.sampled_from(["x", "y", None]),
        "more": st.sampled_from([{"deep": [1, None]}, {"deep": []}]),
        "previous_attributes": st.just({"name": "z"}),
    },
)
OBSERVATIONS = st.builds(
    Observation,
    kind=st.sampled_from(["upsert", "delete", "embedded", "read", "absent"]),
    resource=st.just("directory_user"),
    key=st.just("u1"),
    payload=PAYLOADS,
    updated_us=st.none() | st.integers(-1, 30),
    clock=CLOCKS,
    uncertain=st.booleans(),
)


@MODEL
@given(st.lists(OBSERVATIONS, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_joining_is_commutative_associative_and_idempotent(observations: list[Observation], random: Any) -> None:
    """Whatever is observed, even one clock with two payloads: only the set counts."""
    shuffled = [*observations, *random.sample(observations, random.randint(0, len(observations)))]
    random.shuffle(shuffled)

    assert fold(shuffled) == fold(observations)


@MODEL
@given(st.lists(OBSERVATIONS, min_size=1, max_size=7), OBSERVATIONS)
def test_clocks_only_grow_and_nothing_new_is_the_same_object(
    observations: list[Observation], last: Observation
) -> None:
    """No join moves a clock back; repeating one returns the very state, so that nothing is written."""
    before = fold(observations)
    assert before is not None

    after = join(before, last, epsilon_us=5).state
    again = join(after, last, epsilon_us=5)

    for clock in ("life", "death", "provisional", "content", "undated"):
        assert getattr(after, clock) >= getattr(before, clock)
    assert again.state is after
    assert again.verdict in ("noop", "stale")


@MODEL
@given(st.lists(OBSERVATIONS, min_size=1, max_size=7), OBSERVATIONS)
def test_an_embedded_copy_never_raises_the_dead(observations: list[Observation], last: Observation) -> None:
    """Own death evidence stands against any number of embedded copies, whatever their clocks."""
    embedded = Observation("embedded", last.resource, last.key, last.payload, last.updated_us, (10**12, "z"))
    before = fold([*observations, Observation("absent", last.resource, last.key, None, None, (9, ""))])
    assert before is not None
    assert not merge.is_alive(before)

    after = join(before, embedded)

    assert not merge.is_alive(after.state)
    assert after.state.life == before.life
    assert after.verdict in ("stale", "noop")
    assert "refetch:added_while_dead" in after.wishes


VERDICTS: list[tuple[str, list[Observation], merge.Verdict]] = [
    ("A1 first", [seen("upsert", 10)], "created"),
    ("A2 newer", [seen("upsert", 10), seen("upsert", 20)], "updated"),
    ("A3 older", [seen("upsert", 20), seen("upsert", 10)], "stale"),
    (
        "A5 nothing new",
        [seen("upsert", 10, 1), seen("upsert", 20, payload={"id": "u1", "name": "n1", "state": "active"})],
        "noop",
    ),
    ("A6 equal updated_at", [seen("upsert", 10), seen("upsert", 20, updated_s=10)], "updated"),
    ("A7 larger id", [seen("upsert", 10, 1), seen("upsert", 10, 2)], "updated"),
    ("A7 smaller id", [seen("upsert", 10, 2), seen("upsert", 10, 1)], "stale"),
    ("A8 again", [seen("upsert", 10), seen("upsert", 10)], "noop"),
    ("A10 unknown", [seen("delete", 10)], "tombstone"),
    ("A10 again", [seen("delete", 10), seen("delete", 20)], "noop"),
    ("A11 dies", [seen("upsert", 10), seen("delete", 20)], "deleted"),
    ("A12 reactivated since", [seen("upsert", 20), seen("delete", 10)], "stale"),
    ("A12 again", [seen("upsert", 20), seen("delete", 10), seen("delete", 10)], "noop"),
    ("A14 late update", [seen("upsert", 10), seen("delete", 30), seen("upsert", 20)], "stale"),
    ("A14 late create", [seen("delete", 30), seen("upsert", 20)], "stale"),
    ("A14 again", [seen("delete", 30), seen("upsert", 20), seen("upsert", 20)], "noop"),
    ("A15 after tombstone", [seen("delete", 30), seen("upsert", 40)], "recreated"),
    ("A15 after life", [seen("upsert", 10), seen("delete", 30), seen("upsert", 40)], "recreated"),
    ("A17 read", [seen("read", 10)], "created"),
    ("A18 read wins", [seen("upsert", 10), seen("read", 20, updated_s=10)], "updated"),
    ("A19 404", [seen("upsert", 10), seen("absent", 40)], "deleted"),
    ("A21 stub", [seen("embedded", 10)], "stub"),
    ("A21 stub again", [seen("embedded", 10), seen("embedded", 10)], "noop"),
    ("A21 stub with news", [seen("embedded", 10), seen("embedded", 20)], "updated"),
    ("A21 stub is born", [seen("embedded", 10), seen("upsert", 5)], "created"),
    ("A21 stub dies", [seen("embedded", 10), seen("delete", 5)], "deleted"),
    ("A22 embedded in dead", [seen("delete", 10), seen("embedded", 20)], "stale"),
    ("A22 embedded in living", [seen("upsert", 10), seen("embedded", 20)], "updated"),
    ("A22 embedded, old", [seen("upsert", 20), seen("embedded", 10)], "stale"),
]


@pytest.mark.parametrize(
    ("observations", "verdict"), [case[1:] for case in VERDICTS], ids=[case[0] for case in VERDICTS]
)
def test_verdicts(observations: list[Observation], verdict: merge.Verdict) -> None:
    """What the last observation did, by rule."""
    assert told(*observations).verdict == verdict


def api_payload(number: int) -> dict[str, Any]:
    return {"id": "u1", "name": f"n{number}"}


WISHES: list[tuple[str, list[Observation], set[str], set[str]]] = [
    ("A2", [seen("upsert", 10), seen("upsert", 20)], set(), set()),
    ("A3 older by both", [seen("upsert", 40), seen("upsert", 10)], set(), set()),
    ("A3 within ε", [seen("upsert", 10), seen("upsert", 25, updated_s=5)], set(), set()),
    (
        "A4",
        [seen("upsert", 10), seen("upsert", 25.000001, updated_s=5)],
        {"refetch:clock_regression"},
        {"clock_regression"},
    ),
    ("A4 not for copies", [seen("upsert", 10), seen("embedded", 90, updated_s=5)], set(), set()),
    (
        "A5",
        [seen("read", 10, 1), seen("upsert", 20, updated_s=10, payload={"id": "u1", "name": "n1", "state": "active"})],
        set(),
        set(),
    ),
    ("A6 over an event", [seen("upsert", 10), seen("upsert", 26, updated_s=10)], set(), set()),
    (
        "A6 within ε",
        [seen("upsert", 10), seen("upsert", 20, updated_s=10)],
        {"refetch:content_tie"},
        {"uncertain"},
    ),
    (
        "A6 within ε, other way",
        [seen("upsert", 20, updated_s=10), seen("upsert", 10)],
        {"refetch:content_tie"},
        {"uncertain"},
    ),
    ("A6 over a read", [seen("read", 10), seen("upsert", 26, updated_s=10)], {"refetch:content_tie"}, set()),
    ("A6 before a read", [seen("upsert", 10), seen("read", 26, updated_s=10)], set(), set()),
    ("A7", [seen("upsert", 10, 1), seen("upsert", 10, 2)], {"refetch:content_tie"}, {"uncertain"}),
    ("A7 the other way", [seen("upsert", 10, 2), seen("upsert", 10, 1)], {"refetch:content_tie"}, {"uncertain"}),
    (
        "A7 the same said",
        [seen("upsert", 10, 1, payload=api_payload(1)), seen("upsert", 10, 2, payload=api_payload(1))],
        set(),
        set(),
    ),
    ("A8", [seen("upsert", 10), seen("upsert", 10)], set(), set()),
    ("A13 delete near a read", [seen("read", 10), seen("delete", 25)], {"refetch:uncertain"}, {"uncertain"}),
    ("A13 delete far from a read", [seen("read", 10), seen("delete", 26)], set(), set()),
    ("A13 read near a delete", [seen("delete", 25), seen("read", 10)], {"refetch:uncertain"}, {"uncertain"}),
    ("A13 404 near an event", [seen("upsert", 10), seen("absent", 11)], {"refetch:uncertain"}, {"uncertain"}),
    ("A13 event against event", [seen("upsert", 10), seen("delete", 26)], set(), set()),
    ("A13 event near event", [seen("upsert", 10), seen("delete", 25)], {"refetch:uncertain"}, {"uncertain"}),
    ("A13 event near event, other way", [seen("delete", 25), seen("upsert", 10)], {"refetch:uncertain"}, {"uncertain"}),
    ("A13 lived on since", [seen("upsert", 40), seen("delete", 20), seen("upsert", 19)], set(), set()),
    ("one instant", [seen("upsert", 10, 1), seen("delete", 10, 2)], {"refetch:uncertain"}, {"uncertain"}),
    ("one instant, other way", [seen("delete", 10, 2), seen("upsert", 10, 1)], {"refetch:uncertain"}, {"uncertain"}),
    ("A16", [seen("upsert", 10, weak=True)], {"refetch:weak"}, {"weak"}),
    ("A16 copy", [seen("embedded", 10, weak=True)], {"refetch:weak"}, {"weak"}),
    ("A16 read", [seen("read", 10, weak=True)], set(), {"weak"}),
    ("A16 delete", [seen("delete", 10, weak=True)], set(), {"weak"}),
    ("A18", [seen("read", 10), seen("read", 20, updated_s=10)], set(), set()),
    ("A22", [seen("delete", 10), seen("embedded", 20)], {"refetch:added_while_dead"}, set()),
    ("A22 older", [seen("delete", 20), seen("embedded", 10)], set(), set()),
    ("A22 first", [seen("embedded", 20), seen("delete", 10)], {"refetch:added_while_dead"}, set()),
    ("future", [seen("upsert", 10, updated_s=26)], set(), {"clamped"}),
    ("future within ε", [seen("upsert", 10, updated_s=25)], set(), set()),
    ("guessed clock", [seen("upsert", 10, uncertain=True)], {"refetch:uncertain"}, {"uncertain"}),
    ("guessed death", [seen("delete", 10, uncertain=True)], {"refetch:uncertain"}, {"uncertain"}),
]


@pytest.mark.parametrize(
    ("observations", "wishes", "flags"), [case[1:] for case in WISHES], ids=[case[0] for case in WISHES]
)
def test_doubts_come_back_as_wishes(observations: list[Observation], wishes: set[str], flags: set[str]) -> None:
    """Nothing is refetched here; what should be, and what was odd, is said."""
    joined = told(*observations)

    assert set(joined.wishes) == wishes
    assert set(joined.flags) == flags


def test_a_time_from_the_future_does_not_shut_out_what_follows() -> None:
    """It is clamped to the event's time plus ε, so an update after that wins."""
    assert name(fold([seen("upsert", 10, updated_s=10**6), seen("upsert", 30)])) == "n30"


def test_one_clock_with_two_payloads_ends_the_same() -> None:
    """An id sent twice with other bytes, two reads at once: a fixed order decides, not the arrival."""
    for kind in ("upsert", "read", "delete"):
        pair = [seen(kind, 10, 1, payload={"name": "a"}), seen(kind, 10, 1, payload={"name": "b"})]

        assert name(fold(pair)) == name(fold(pair[::-1])) == "b"


def test_a_deletion_and_a_full_copy_of_one_clock_end_the_same() -> None:
    """The full copy is content; the deletion's, no newer, is dropped in either order."""
    pair = [seen("upsert", 10, 1, payload={"name": "a"}), seen("delete", 10, 1, payload={"name": "b"})]

    assert fold(pair) == fold(pair[::-1])
    assert name(fold(pair)) == "a"


def test_a_time_before_1970_is_still_content() -> None:
    """It counts as 1970: less than that is the mark of no content."""
    assert told(seen("upsert", 10, updated_s=-5)).state.content == (0, 10 * S, "event_00010")


def test_a_deletion_never_nulls_what_was_known() -> None:
    """A reduced payload is laid over the full one, a bare id says nothing, and a full copy that comes late fits in."""
    full = seen("upsert", 10, payload={"id": "u1", "name": "old", "domains": ["d"], "key": "k"})
    reduced = seen("delete", 20, payload={"id": "u1", "name": "new", "key": None})
    bare = seen("delete", 30, payload={"id": "u1", "object": "directory_user"})

    for order in itertools.permutations([full, reduced, bare]):
        end = fold(order)
        assert end is not None
        assert end.current == {"id": "u1", "name": "new", "domains": ["d"], "key": "k"}
    only = fold([bare])
    assert only is not None
    assert only.current is None


def test_a_deletion_of_something_unknown_keeps_its_payload() -> None:
    """A tombstone can say who it was (A10); a full copy from later replaces that."""
    tombstone = fold([seen("delete", 20)])
    assert tombstone is not None
    assert name(tombstone) == "n20"
    assert name(join(tombstone, seen("upsert", 30)).state) == "n30"


def test_a_living_object_shows_no_deletion() -> None:
    """A stale deletion's copy waits behind, and shows only if the object turns out dead."""
    returned = fold([seen("upsert", 10), seen("upsert", 40, updated_s=10), seen("delete", 30, updated_s=20)])
    assert returned is not None
    assert name(returned) == "n40"
    assert name(join(returned, seen("delete", 50, payload={"id": "u1"})).state) == "n30"


def test_previous_attributes_are_no_content() -> None:
    """They say what changed, not what is: never stored, never compared; the caller's payload stays as it is."""
    payload = {"id": "u1", "name": "n", "previous_attributes": {"name": "m"}}
    joined = told(seen("upsert", 10, payload={"id": "u1", "name": "n"}), seen("upsert", 20, payload=payload))

    assert joined.verdict == "noop"
    assert joined.state.payload == {"id": "u1", "name": "n"}
    assert "previous_attributes" in payload


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": None}, {}, True),
        ({"a": {"b": None}}, {"a": {}}, True),
        ({"a": [{"b": None}]}, {"a": [{}]}, True),
        ({"a": [1]}, {"a": [1, None]}, False),
        ({"a": {}}, {}, False),
        ({"a": []}, {}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": []}, {"a": {}}, False),
        ({"groups": []}, {"groups": [{"id": "g"}]}, True),
        ({"previous_attributes": {"a": 1}}, {}, True),
        (None, None, True),
        (None, {}, False),
    ],
)
def test_what_counts_as_the_same_content(one: Any, other: Any, same: bool) -> None:
    """Null equals absent in objects, not in lists; a diff and a user's groups say nothing."""
    assert merge.same_content("directory_user", one, other) is same
    assert merge.same_content("directory_user", other, one) is same


def test_groups_are_content_of_everything_but_directory_users() -> None:
    """Only there the field is known to be empty whatever the truth."""
    assert not merge.same_content("organization", {"groups": []}, {"groups": [1]})


def test_deep_payloads_are_compared() -> None:
    """No recursion: a hostile depth is only work."""
    one: Any = {}
    other: Any = {}
    for _ in range(50_000):
        one, other = {"a": one}, {"a": other}
    try:
        assert merge.same_content("x", one, other)
    finally:
        while one:  # taken apart by hand: freeing it at once recurses
            one, other = one.pop("a"), other.pop("a")


@pytest.mark.parametrize(
    ("facts", "clock", "uncertain"),
    [
        ({"created_us": 5, "id_time_us": 6, "updated_us": 7}, 5, False),
        ({"created_us": None, "id_time_us": 6, "updated_us": 7}, 6, True),
        ({"created_us": None, "id_time_us": None, "updated_us": 7}, 7, True),
        ({"created_us": None, "id_time_us": None, "updated_us": None}, 8, True),
        ({"created_us": -5, "id_time_us": None, "updated_us": None}, 0, False),
    ],
)
def test_a_missing_time_is_guessed_and_says_so(facts: dict[str, Any], clock: int, uncertain: bool) -> None:
    """created_at, else the id's ULID time, else the object's updated_at, else the arrival; never before 1970."""
    assert merge.event_clock("e1", arrived_us=8, **facts) == ((clock, "e1"), uncertain)


def test_api_evidence_counts_from_before_the_request_and_loses_ties() -> None:
    """A 200 does not outlive a delete of its microsecond, a 404 outlives no event after it but every one before."""
    alive, gone = merge.read_clock(100 * S), merge.absence_clock(100 * S)

    assert alive == (85 * S, "")
    assert alive < (85 * S, "event_1") < gone < (85 * S + 1, "event_1")
    assert merge.floor_clock(100 * S) <= alive
    assert merge.read_clock(1) == (0, "")
    assert merge.read_clock(100, epsilon_us=30) == (70, "")


def test_ties_are_dead() -> None:
    """The same pair as life and as death, a read and a delete of one instant, a 404 and an event of one instant."""
    instant = seen("upsert", 10, 1)
    tie = Observation("delete", "directory_user", "u1", None, None, instant.clock)
    read, deleted = seen("read", 10), seen("delete", 10)
    absent = Observation("absent", "directory_user", "u1", None, None, merge.absence_clock(25 * S))

    for pair in ((instant, tie), (read, deleted), (instant, absent)):
        for order in (pair, pair[::-1]):
            end = fold(order)
            assert end is not None
            assert not merge.is_alive(end)
            assert end.deleted_us is not None


def test_deleted_is_ones_own_death_only() -> None:
    """A dead parent hides; it does not delete."""
    alive, dead = fold([seen("upsert", 10)]), fold([seen("upsert", 10), seen("delete", 20)])
    assert alive is not None
    assert dead is not None

    assert alive.deleted_us is None
    assert not merge.is_alive(alive, [Parent(False, (50 * S, "e"))])
    assert dead.deleted_us == 20 * S


LIVING = ObjectState("directory_user", "u1", life=(20, "m"))
STUB = ObjectState("directory_user", "u1", provisional=(20, "m"))
BOTH = ObjectState("directory_user", "u1", life=(5, "m"), provisional=(20, "m"))
DEAD = ObjectState("directory_user", "u1", life=(10, "a"), death=(15, "d"), provisional=(20, "m"))


def test_the_second_of_two_reads_that_agree_resets_the_content() -> None:
    """A4: and only the content, which later events replace as ever; it is wished to be looked at once more."""
    known = fold([seen("upsert", 10), seen("upsert", 200)])
    first = join(known, seen("read", 300, updated_s=100))
    assert (name(first.state), first.flags, first.wishes) == (
        "n200",
        ("clock_regression",),
        ("refetch:clock_regression",),
    )

    second = join(first.state, seen("read", 400, updated_s=100), resets=True)
    assert (name(second.state), second.flags, second.wishes) == ("n400", (), ("refetch:clock_regression",))
    assert second.verdict == "updated"
    assert second.state.life == (400 * S, "")
    third = join(second.state, seen("read", 500, updated_s=100, payload=dict(second.state.payload or {})))
    assert (third.verdict, third.flags, third.wishes) == ("noop", (), ())
    assert name(join(third.state, seen("upsert", 600)).state) == "n600"


@pytest.mark.parametrize(
    ("state", "parents", "floor", "alive"),
    [
        (LIVING, [], NEVER, True),
        (LIVING, [Parent(True)], NEVER, True),
        (LIVING, [Parent(True, (19, "z"))], NEVER, True),
        (LIVING, [Parent(True, (20, "l"))], NEVER, True),
        (LIVING, [Parent(True, (20, "m"))], NEVER, False),
        (LIVING, [Parent(True, (20, "n"))], NEVER, False),
        (LIVING, [Parent(False, (1, ""))], NEVER, False),
        (LIVING, [Parent(True), Parent(False)], NEVER, False),
        (LIVING, [], (20, ""), True),
        (LIVING, [], (20, "m"), True),
        (LIVING, [], (21, ""), False),
        (STUB, [], NEVER, True),
        (STUB, [Parent(True, (19, "z"))], NEVER, True),
        (STUB, [Parent(True, (20, "m"))], NEVER, False),
        (STUB, [Parent(False)], NEVER, False),
        (STUB, [], (20, ""), True),
        (STUB, [], (20, "m"), True),
        (STUB, [], (21, ""), False),
        (BOTH, [Parent(True, (10, "z"))], NEVER, True),
        (BOTH, [], (10, ""), True),
        (DEAD, [], NEVER, False),
        (ObjectState("directory_user", "u1"), [], NEVER, False),
    ],
)
def test_alive(state: ObjectState, parents: list[Parent], floor: Clock, alive: bool) -> None:
    """Later than own death and every known parent's, not before the floor, and no known parent dead; or a stub."""
    assert merge.is_alive(state, parents, floor=floor) is alive


def test_a_parents_death_reaches_further_down() -> None:
    """A directory whose organization died and came back: its users from before need fresh evidence."""
    organization = ObjectState("organization", "o", life=(40, "a"), death=(30, "a"))
    directory = ObjectState("directory", "d", life=(50, "a"))

    parent = merge.as_parent(directory, [merge.as_parent(organization)])

    assert parent == Parent(True, (30, "a"))
    assert not merge.is_alive(LIVING, [parent])
    assert merge.as_parent(directory, [], floor=(60, "")) == Parent(False, (60, ""))
    assert merge.as_parent(directory, [], floor=(50, "a")) == Parent(True, NEVER)


@pytest.mark.parametrize(
    ("proof", "deaths", "near"),
    [
        ((20 * S, "m"), [], False),
        ((20 * S, "m"), [NEVER], False),
        ((20 * S, "m"), [(20 * S, "a")], True),
        ((20 * S, "m"), [(20 * S, "z")], True),
        ((20 * S, "m"), [NEVER, (5 * S, "z")], True),
        ((20 * S, "m"), [(35 * S, "z")], True),
        ((20 * S, "m"), [(36 * S, "z"), (4 * S, "z")], False),
        ((20 * S, "m"), [(19 * S, "z"), (4 * S, "z")], True),
        ((20 * S, "m"), [(36 * S, "z"), (19 * S, "z")], False),
        ((20 * S, ""), [(20 * S, "z")], True),
        ((20 * S, ""), [(20 * S, "")], False),
        (NEVER, [(1, "z")], False),
    ],
)
def test_a_death_above_that_is_near_is_doubted(proof: Clock, deaths: list[Clock], near: bool) -> None:
    """Within ε either way, whichever the rule has let win; two answers of the API are not in doubt of one another.
    The latest death alone counts: a later one beyond doubt leaves nothing to ask.
    """
    assert merge.is_near_death_above(proof, [Parent(True, death) for death in deaths]) is near


@pytest.mark.parametrize(("state", "proof"), [(LIVING, (20, "m")), (STUB, (20, "m")), (BOTH, (20, "m")), (DEAD, NEVER)])
def test_what_an_object_lives_by(state: ObjectState, proof: Clock) -> None:
    """Its latest life, or a later copy while nothing speaks against it; nothing where it is dead."""
    assert merge.proof_of(state) == proof


UNDATED: dict[str, tuple[list[Observation], str]] = {
    "a later silent update": (
        [seen("upsert", 10), seen("upsert", 20, weak=True), seen("upsert", 30, updated_s=10)],
        "n30",
    ),
    "undated last": ([seen("upsert", 10), seen("upsert", 20, updated_s=10), seen("upsert", 30, weak=True)], "n30"),
    "undated alone": ([seen("upsert", 20, weak=True), seen("upsert", 10, weak=True)], "n20"),
    "a read": ([seen("upsert", 10), seen("upsert", 20, weak=True), seen("read", 40, updated_s=10)], "n40"),
    "an undated read": ([seen("upsert", 10), seen("upsert", 20, updated_s=19), seen("read", 40, weak=True)], "n40"),
    "an undated copy": (
        [seen("upsert", 10), seen("embedded", 20, weak=True), seen("embedded", 30, updated_s=10)],
        "n30",
    ),
}


@pytest.mark.parametrize("title", UNDATED)
def test_content_without_updated_at_goes_by_the_events_clock(title: str) -> None:
    """In every order: beside content that has one the event's time alone says which is newer, and one read heals."""
    history, last = UNDATED[title]

    for order in itertools.permutations(history):
        assert name(fold(order)) == last
        assert fold(order) == fold(history)


def test_dated_and_undated_content_that_contradict_end_the_same() -> None:
    """Where `updated_at` goes back by the clock, the pairs among three copies say each is older than another: the one
    kept among those with an `updated_at` is compared with the one without, whatever came first.
    """
    circle = [seen("upsert", 30, updated_s=10), seen("upsert", 15, updated_s=14), seen("upsert", 20, weak=True)]

    assert {name(fold(order)) for order in itertools.permutations(circle)} == {"n20"}


def test_a_deletion_lies_over_undated_content_by_the_clock() -> None:
    """A deletion older than the copy without `updated_at` says nothing any more; a newer one does."""
    undated = seen("upsert", 20, weak=True)
    for at_s, expected in ((15, "n20"), (30, "n30")):
        pair = [undated, seen("delete", at_s), Observation("delete", "directory_user", "u1", None, None, (99 * S, "z"))]
        for order in itertools.permutations(pair):
            assert name(fold(order)) == expected


def test_undated_content_that_does_not_count_leaves_the_deletion_alone() -> None:
    """Newer than the deletion, but older than the dated copy: what is shown does not move."""
    dated, deletion = seen("embedded", 30, updated_s=27), seen("delete", 20, updated_s=28)
    without, beside = fold([deletion, dated]), fold([deletion, dated, seen("embedded", 25, weak=True)])

    assert name(without) == name(beside) == "n20"


EDGE = EdgeState(add=(20, "m"), remove=(10, "z"))


@pytest.mark.parametrize(
    ("edge", "ends", "floor", "alive"),
    [
        (EDGE, [], NEVER, True),
        (EDGE, [Parent(True), Parent(True, (19, "z"))], NEVER, True),
        (EDGE, [Parent(True, (20, "m"))], NEVER, False),
        (EDGE, [Parent(True), Parent(False)], NEVER, False),
        (EDGE, [], (20, ""), True),
        (EDGE, [], (21, ""), False),
        (EdgeState((20, "m"), (20, "m")), [], NEVER, False),
        (EdgeState((20, "m"), (20, "n")), [], NEVER, False),
        (EdgeState(), [], NEVER, False),
    ],
)
def test_edges_are_effective(edge: EdgeState, ends: list[Parent], floor: Clock, alive: bool) -> None:
    """Added later than removed and than any end's death, and no end dead (C5, C6)."""
    assert merge.is_edge_alive(edge, ends, floor=floor) is alive


EDGE_STEPS: list[tuple[str, list[tuple[merge.EdgeKind, int]], merge.EdgeVerdict]] = [
    ("first", [("add", 10)], "added"),
    ("again", [("add", 10), ("add", 10)], "noop"),
    ("newer add", [("add", 10), ("add", 20)], "noop"),
    ("remove", [("add", 10), ("remove", 20)], "removed"),
    ("remove again", [("add", 10), ("remove", 20), ("remove", 20)], "noop"),
    ("C2 remove of unknown", [("remove", 20)], "tombstone"),
    ("C3 late add", [("remove", 20), ("add", 10)], "stale"),
    ("C3 again", [("remove", 20), ("add", 10), ("add", 10)], "noop"),
    ("late remove", [("add", 20), ("remove", 10)], "stale"),
    ("late remove again", [("add", 20), ("remove", 10), ("remove", 10)], "noop"),
    ("added again", [("add", 10), ("remove", 20), ("add", 30)], "added"),
    ("tie is removed", [("add", 10), ("remove", 10)], "removed"),
]


@pytest.mark.parametrize(("steps", "verdict"), [case[1:] for case in EDGE_STEPS], ids=[case[0] for case in EDGE_STEPS])
def test_edge_verdicts(steps: list[tuple[merge.EdgeKind, int]], verdict: merge.EdgeVerdict) -> None:
    """What the last step did; nothing new returns the very state."""
    state: EdgeState | None = None
    for kind, at_us in steps:
        before = state
        joined = join_edge(state, kind, (at_us, "e"))
        state = joined.state

    assert joined.verdict == verdict
    assert (joined.state is before) == (joined.verdict == "noop" and steps[-1] in steps[:-1])


@MODEL
@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove"]), CLOCKS), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_edges_forget_order(steps: list[tuple[Any, Clock]], random: Any) -> None:
    """A pair is two maxima: any order and repetition ends the same, effective by the later of the two."""
    shuffled = [*steps, random.choice(steps)]
    random.shuffle(shuffled)

    ends = []
    for order in (steps, shuffled):
        edge: EdgeState | None = None
        for kind, clock in order:
            edge = join_edge(edge, kind, clock).state
        ends.append(edge)

    assert ends[0] == ends[1]


def test_api_against_event_on_an_edge_is_uncertain() -> None:
    """C4: removed, and the source should be asked; far apart there is nothing to ask."""
    near = join_edge(EdgeState(add=(10 * S, "e")), "remove", merge.absence_clock(25 * S))
    far = join_edge(EdgeState(add=(10 * S, "e")), "remove", merge.absence_clock(60 * S))

    assert (near.verdict, near.wishes, near.flags) == ("removed", ("refetch:uncertain",), ("uncertain",))
    assert (far.verdict, far.wishes, far.flags) == ("removed", (), ())


def test_an_add_and_a_remove_within_the_allowance_are_uncertain() -> None:
    """In one instant ids decide, rightly only if the sender's rise; within ε clocks of two hosts do. A repeat of the
    add says nothing.
    """
    tie = join_edge(EdgeState(add=(10 * S, "e1")), "remove", (10 * S, "e2"))
    near = join_edge(EdgeState(add=(25 * S, "e1")), "remove", (10 * S, "e2"))
    apart = join_edge(EdgeState(add=(10 * S, "e1")), "remove", (26 * S, "e2"))
    repeat = join_edge(EdgeState(add=(10 * S, "e1")), "add", (10 * S, "e1"))

    assert (tie.verdict, tie.flags) == ("removed", ("uncertain",))
    assert (near.verdict, near.flags) == ("stale", ("uncertain",))
    assert (apart.verdict, apart.flags) == ("removed", ())
    assert (repeat.verdict, repeat.flags) == ("noop", ())


@pytest.mark.parametrize(
    ("resource", "payload", "alive", "active"),
    [
        ("directory_user", {"state": "active"}, True, True),
        ("directory_user", {"state": "active"}, False, False),
        ("directory_user", {"state": "inactive"}, True, False),
        ("directory_user", {"state": "suspended"}, True, False),
        ("directory_user", {"state": "ACTIVE"}, True, False),
        ("directory_user", {"state": None}, True, False),
        ("directory_user", {"state": ["active"]}, True, False),
        ("directory_user", {}, True, False),
        ("directory_user", None, True, False),
        ("directory", {"state": "linked"}, True, True),
        ("directory", {"state": "deleting"}, True, False),
        ("organization_membership", {"status": "active"}, True, True),
        ("organization_membership", {"status": "pending"}, True, False),
        ("organization_membership", {"state": "active"}, True, False),
        ("directory_group", None, True, True),
        ("organization", {}, False, False),
        ("something_new", {"state": "active"}, True, False),
    ],
)
def test_access_fails_closed(resource: str, payload: Any, alive: bool, active: bool) -> None:
    """Alive and in a state known as active; a missing or strange state is not."""
    assert merge.is_active(payload, alive, resource=resource) is active
