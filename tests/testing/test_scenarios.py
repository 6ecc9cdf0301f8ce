"""Scenarios hold in their own order and in drawn ones, and a consumer that makes one mistake fails those that show it.

Every scenario of a test takes place in one mirror, under keys of its own.
"""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from hookline import Receiver
from hookline.testing import SCENARIOS, Inbox, TurnedClock
from hookline.testing.pair import Pair
from hookline.testing.scenarios import MOST_BURST_USERS, Expected, Live, Outline, Scenario
from hookline.wire.catalogue import CATALOGUE
from hookline.wire.event import Event
from hookline.wire.timestamps import parse_us

from ..conftest import DATABASES

NOW_MS = 1_700_000_000_000
USERS = 6
DRAWN = 4
MODELLED = 60

OUTLINES = pytest.mark.parametrize("outline", SCENARIOS.values(), ids=lambda one: one.name)


def played(outline: Outline, key: str = "", now_ms: int = NOW_MS) -> Scenario:
    """The scenario; a burst small enough for a test."""
    return outline.at(now_ms, key=key, users=USERS if outline.takes_users else None)


def drawn(scenario: Scenario, rng: random.Random) -> list[Event]:
    """Its events in any order, each at least once."""
    events = [step.event for step in scenario.steps]
    events += rng.choices(events, k=len(events) // 2)
    rng.shuffle(events)
    return events


# -- the receiver --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=DATABASES)
def inbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inbox]:
    """A receiver's inbox, the same for all scenarios."""
    with contextlib.ExitStack() as ends:
        if request.param == "postgres":
            cluster = request.getfixturevalue("postgres")
            name = cluster.migrated()
            ends.callback(cluster.drop, name)
            url = cluster.url(name)
        else:
            url = f"sqlite:///{tmp_path_factory.mktemp('scenarios') / 'app.db'}"
        yield Inbox(ends.enter_context(Receiver(url, secrets=["whsec_1"], clock=TurnedClock(NOW_MS))))


def side_by_side(orders: Sequence[Sequence[Event]]) -> Iterator[list[Event]]:
    """Of several orders the first events, then the second ones, and so on."""
    for events in zip_longest(*orders):
        yield [event for event in events if event is not None]


def wrong(scenarios: Sequence[Scenario], live: Live) -> dict[str, list[str]]:
    """What does not hold, by scenario."""
    return {one.name: found for one in scenarios if (found := one.differences(live))}


def test_they_hold_in_their_own_orders(inbox: Inbox) -> None:
    """Each event applied before the next one of its scenario comes; all scenarios at once, which share no object."""
    scenarios = [played(outline, "own") for outline in SCENARIOS.values()]
    for events in side_by_side([[step.event for step in scenario.steps] for scenario in scenarios]):
        inbox.deliver(*events)
        inbox.drain()

    assert wrong(scenarios, inbox.live) == {}


@pytest.mark.parametrize("number", range(DRAWN))
def test_they_hold_in_any_order_with_duplicates(inbox: Inbox, number: int) -> None:
    """Drawn orders, some of them applied in one batch (promise 3)."""
    rng = random.Random(number)
    scenarios = [played(outline, f"drawn {number}") for outline in SCENARIOS.values()]
    for events in side_by_side([drawn(scenario, rng) for scenario in scenarios]):
        inbox.deliver(*events)
        if rng.random() < 0.4:
            inbox.drain()
    inbox.drain()

    assert wrong(scenarios, inbox.live) == {}


def test_they_hold_between_both_ends(tmp_path: Path) -> None:
    """Published in the scenario's order, each with the time it happened, over a line that doubles and delays."""
    with Pair(tmp_path) as pair:
        pair.line.shake(random.Random(1), doubled=0.3, late=0.3, lost=0.1)
        scenarios = [played(outline, now_ms=pair.clock.now_ms()) for outline in SCENARIOS.values()]
        for scenario in scenarios:
            for step in scenario.steps:
                assert step.event.created_us is not None
                pair.publish(step.event.type, step.event.data, created_ms=step.event.created_us // 1_000)
        pair.drain()
        pair.line.calm()
        pair.finish()
        pair.line.let_through(random.Random(2))
        pair.drain()
        shown = {resource: pair.live(resource) for resource in {one.resource for s in scenarios for one in s.expected}}

    assert sum(pair.line.fates[fate] for fate in ("doubled", "late", "lost")) > 10
    assert wrong(scenarios, lambda resource, id_: shown[resource].get(id_)) == {}


def test_they_fail_where_what_decides_never_comes(inbox: Inbox) -> None:
    """Some event cannot be left out without its being seen: the comparison with a real mirror can fail."""
    decisive = {
        "onboard": "dsync.group.user_added",
        "offboard": "dsync.group.user_removed",
        "rehire": "dsync.user.deleted",
        "group-before-user": "dsync.group.updated",
        "directory-deleted": "dsync.deleted",
        "recreate": "dsync.user.deleted",
        "stale": "dsync.group.updated",
        "duplicate": "dsync.user.deleted",
        "out-of-order": "dsync.user.deleted",
        "burst": "dsync.user.updated",
    }
    scenarios = [played(outline, "lost") for outline in SCENARIOS.values()]
    for scenario in scenarios:
        inbox.deliver(*(step.event for step in scenario.steps if step.event.type != decisive[scenario.name]))
    inbox.drain()

    assert set(wrong(scenarios, inbox.live)) == set(SCENARIOS)


# -- a consumer that makes mistakes ---------------------------------------------------------------------------------

MISTAKES: Mapping[str, frozenset[str]] = {
    "last_content": frozenset({"group-before-user", "stale", "duplicate", "out-of-order", "burst", "recreate"}),
    "no_tombstones": frozenset({"rehire", "recreate", "duplicate", "out-of-order", "directory-deleted"}),
    "last_membership": frozenset({"offboard", "stale", "duplicate", "out-of-order"}),
    "needs_both_ends": frozenset({"group-before-user", "out-of-order"}),
    "memberships_outlive": frozenset({"recreate"}),
    "orphans_live": frozenset({"directory-deleted"}),
    "keyed_by_email": frozenset({"rehire", "recreate"}),
    "never_back": frozenset({"recreate"}),
    "cut_off": frozenset({"onboard", "group-before-user", "out-of-order", "burst"}),
}
"""What a consumer may do wrong, and the scenarios that show it in their own order."""


class Consumer:
    """A mirror of a page: clocks as the merge rules have them, but for one mistake or none."""

    def __init__(self, mistake: str | None = None) -> None:
        self._mistake = mistake
        self._content: dict[tuple[str, str], tuple[tuple[int, int], Mapping[str, Any]]] = {}
        self._life: dict[tuple[str, str], int] = {}
        self._death: dict[tuple[str, str], int] = {}
        self._adds: dict[str, int] = {}
        self._removes: dict[str, int] = {}

    def takes(self, events: Sequence[Event]) -> None:
        """Each once, in this order."""
        known: set[str | None] = set()
        for event in events[:-2] if self._mistake == "cut_off" else events:
            # Whoever takes what came last for the newest keeps no ids either.
            if event.id not in known or self._mistake in {"last_content", "last_membership", "no_tombstones"}:
                known.add(event.id)
                self._take(event)

    def live(self, resource: str, id_: str) -> Mapping[str, Any] | None:
        """As `hookline.testing.scenarios.Live`."""
        if resource != "directory_membership":
            return self._shown(resource, id_)
        group, user = id_.split("/")
        if self._mistake == "keyed_by_email" and (one := self._content.get(("directory_user", user))) is not None:
            pairs = [
                f"{group}/{other}"
                for (kind, other), (_, data) in self._content.items()
                if kind == "directory_user" and data.get("email") == one[1].get("email")
            ]
        else:
            pairs = [id_]
        added = max((self._adds.get(pair, 0) for pair in pairs), default=0)
        ends = self._shown("directory_group", group), self._shown("directory_user", user)
        died = max(self._death.get(("directory_group", group), 0), self._death.get(("directory_user", user), 0))
        if None in ends or added <= self._removes.get(id_, 0):
            return None
        return {} if added > died or self._mistake in {"memberships_outlive", "keyed_by_email"} else None

    def _shown(self, resource: str, id_: str) -> Mapping[str, Any] | None:
        key = resource, id_
        if key not in self._content or self._life.get(key, 0) <= self._death.get(key, 0):
            return None
        data = self._content[key][1]
        if self._mistake != "orphans_live":
            for parent in ("directory", "organization"):
                of = parent, str(data.get(f"{parent}_id"))
                if self._death.get(of, 0) >= self._life.get(of, 1) and of in self._death:
                    return None
        return {**data, "is_active": int(data.get("state") == "active")}

    def _take(self, event: Event) -> None:
        kind, at = CATALOGUE[event.type], event.created_us or 0
        if kind.edge is not None:
            group, user = event.data["group"], event.data["user"]
            pair = f"{group['id']}/{user['id']}"
            ends = (("directory_group", group), ("directory_user", user))
            if self._mistake == "needs_both_ends" and any((name, end["id"]) not in self._content for name, end in ends):
                return
            clock, other = (self._adds, self._removes) if kind.edge.adds else (self._removes, self._adds)
            clock[pair] = max(clock.get(pair, 0), at)
            if self._mistake == "last_membership":
                other.pop(pair, None)
            return
        key = str(kind.object), str(event.data["id"])
        if kind.kind == "D":
            if self._mistake == "no_tombstones":
                self._content.pop(key, None)
                self._life.pop(key, None)
            else:
                self._death[key] = max(self._death.get(key, 0), at)
            return
        if self._mistake == "never_back" and key in self._death:
            return
        content = (parse_us(event.data["updated_at"]), at), event.data
        known = self._content.get(key)
        if known is None or self._mistake == "last_content" or content[0] > known[0]:
            self._content[key] = content
        self._life[key] = max(self._life.get(key, 0), at)


@OUTLINES
def test_what_holds_follows_from_the_rules_alone(outline: Outline) -> None:
    """A second implementation of the rules, a page long, ends as the scenario says, in many orders."""
    scenario = played(outline)
    orders = [[step.event for step in scenario.steps], scenario.history]
    orders += [drawn(scenario, random.Random(f"{outline.name} model {number}")) for number in range(MODELLED)]
    for order in orders:
        consumer = Consumer()
        consumer.takes(order)
        assert scenario.differences(consumer.live) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_shown(mistake: str) -> None:
    """By these scenarios and by no other, in their own order: each can fail, and says what it is about."""
    shown = set()
    for outline in SCENARIOS.values():
        scenario = played(outline)
        consumer = Consumer(mistake)
        consumer.takes([step.event for step in scenario.steps])
        if scenario.differences(consumer.live):
            shown.add(outline.name)

    assert shown == MISTAKES[mistake]


def test_every_scenario_shows_some_mistake() -> None:
    """None is there that a careless consumer passes."""
    assert set().union(*MISTAKES.values()) == set(SCENARIOS)


# -- what they are made of -------------------------------------------------------------------------------------------


@OUTLINES
def test_it_is_the_same_each_time_and_another_under_another_key(outline: Outline) -> None:
    """The same moment and key give the same bytes; another key shares no object with it."""
    one, same, other = (played(outline, key) for key in ("a", "a", "b"))

    assert [step.event.raw for step in one.steps] == [step.event.raw for step in same.steps]
    assert not {expected.id for expected in one.expected} & {expected.id for expected in other.expected}
    assert not {event.id for event in one.history} & {event.id for event in other.history}


@OUTLINES
def test_it_is_over_by_now(outline: Outline) -> None:
    """Every event happened at a time of its own, and none of it in the future; each is said to be something."""
    scenario = played(outline)
    times = [event.created_us or 0 for event in scenario.history]

    assert times == sorted(set(times))
    assert times[-1] <= NOW_MS * 1_000
    assert all(step.says for step in scenario.steps)
    assert all(re.fullmatch(r"A\d+|B|C\d", rule) for rule in outline.rules)
    assert all(one.because.partition(": ")[2] for one in scenario.expected)


def test_only_a_burst_is_of_any_size() -> None:
    """What takes no number of users says so, and so does a burst that is beyond what it takes."""
    assert len(SCENARIOS["burst"].at(NOW_MS, users=3).expected) == 3
    assert len(SCENARIOS["burst"].at(NOW_MS).expected) == 100
    for name, users in (("onboard", 3), ("burst", 0), ("burst", MOST_BURST_USERS + 1)):
        with pytest.raises(ValueError, match=f"{name} takes .*, got {users}"):
            SCENARIOS[name].at(NOW_MS, users=users)


@pytest.mark.parametrize(
    ("is_live", "columns", "shown", "said"),
    [
        (True, {"name": "Ada"}, {"name": "Ada", "state": "active"}, None),
        (True, {}, None, "expected to be shown, it is not"),
        (True, {"name": "Ada", "state": "x"}, {"name": "Eve"}, "name: expected 'Ada', got 'Eve'; state: expected 'x'"),
        (False, {}, None, None),
        (False, {}, {"name": "Ada"}, "expected not to be shown, it is"),
    ],
)
def test_a_difference_says_what_was_expected_and_what_came(
    is_live: bool, columns: dict[str, Any], shown: dict[str, Any] | None, said: str | None
) -> None:
    """Of what is missing, what should be gone, and each column that is otherwise."""
    found = Expected("directory_user", "directory_user_1", is_live, "A1", columns).difference(shown)

    assert found is None if said is None else found is not None and found.startswith(said)
