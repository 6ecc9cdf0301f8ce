"""Scenarios: the merge rules made runnable. Each is a short history, in what order its events come, and what must hold.

    scenario = SCENARIOS["rehire"].at(clock.now_ms())
    for step in scenario.steps:
        inbox.deliver(step.event)           # in the scenario's order; some come twice
    inbox.drain()
    assert scenario.differences(inbox.live) == []

What must hold does not depend on the order: whatever comes of the steps, each at least once, in any order, the end is
the same. The order of the steps is the one that goes wrong where events are taken as they come.

Pure: nothing is sent here, and the same moment and key give the same bytes. The rules are those of docs/merge.md, by
the numbers of docs/trigger.md: A content and life, B parents and keys, C memberships.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from hookline.testing.clock import TurnedClock
from hookline.testing.samples import made_id
from hookline.testing.story import Story
from hookline.wire.event import Event

Live: TypeAlias = Callable[[str, str], Mapping[str, Any] | None]
"""What a mirror shows as alive of a resource and an id (a relation's is `group_id/user_id`): its columns, or None."""

BURST_USERS: Final = 100
MOST_BURST_USERS: Final = 10_000
_BEGAN_MS: Final = 600_000
_STEP_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Step:
    """One event comes. `says` is what it is, and why it comes here."""

    event: Event
    says: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What must hold of one object or relation at the end.

    Attributes:
        id: of a relation the two ids with a slash between.
        is_live: whether the mirror shows it; what is not shown may be unknown as well as dead.
        columns: of what is shown, these values in these columns.
        because: the rules, a colon, and what they say here.
    """

    resource: str
    id: str
    is_live: bool
    because: str
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rules(self) -> list[str]:
        """The rules that decide it."""
        return self.because.partition(":")[0].split(", ")

    def difference(self, shown: Mapping[str, Any] | None) -> str | None:
        """In what the mirror differs; None where it does not."""
        if shown is None:
            return "expected to be shown, it is not" if self.is_live else None
        if not self.is_live:
            return "expected not to be shown, it is"
        differing = [
            f"{name}: expected {value!r}, got {shown.get(name)!r}"
            for name, value in self.columns.items()
            if shown.get(name) != value
        ]
        return "; ".join(differing) or None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario at one moment.

    Attributes:
        steps: what comes, in this order. An event that stands here twice comes twice, with the same id and bytes.
        expected: what must hold once all of it is worked off.
        at_once: so many requests may be under way at a time.
    """

    name: str
    steps: tuple[Step, ...]
    expected: tuple[Expected, ...]
    at_once: int = 1

    @property
    def history(self) -> list[Event]:
        """Every event once, in the order in which it happened."""
        events = {step.event.id: step.event for step in self.steps}
        return sorted(events.values(), key=lambda event: (event.created_us or 0, event.id or ""))

    def differences(self, live: Live) -> list[str]:
        """In what a mirror is not as it must be, a sentence each; empty where it is."""
        found = ((one, one.difference(live(one.resource, one.id))) for one in self.expected)
        return [f"{one.resource} {one.id}: {said} ({one.because})" for one, said in found if said is not None]


@dataclass(frozen=True, slots=True)
class Outline:
    """What a scenario is about, before it is given a moment.

    Attributes:
        proves: what a consumer gets right that passes.
        holds: what must hold at the end.
        takes_users: whether `at` takes how many users there are.
    """

    name: str
    proves: str
    holds: str
    _play: Callable[[_Tale, int], Scenario] = field(repr=False)
    takes_users: bool = False

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules of the merge that decide it, in order."""
        found = {rule for one in self.at(_BEGAN_MS).expected for rule in one.rules}
        return tuple(sorted(found, key=lambda rule: (rule[0], int(rule[1:] or 0))))

    def at(self, now_ms: int, *, key: str = "", users: int | None = None) -> Scenario:
        """The scenario as if its last event had happened by now. It takes ten minutes of the past.

        Args:
            now_ms: Unix milliseconds.
            key: another one, other objects: so that one mirror can take the same scenario again and again.
            users: how many, where `takes_users`; 1 to 10,000.

        Raises:
            ValueError: `users` is beyond that, or this scenario takes none.
        """
        if users is not None and not (self.takes_users and 1 <= users <= MOST_BURST_USERS):
            most = f"1 to {MOST_BURST_USERS:,} users" if self.takes_users else "no number of users"
            raise ValueError(f"{self.name} takes {most}, got {users}")
        return self._play(_Tale(self.name, now_ms, key), users or BURST_USERS)


class _Tale:
    """Tells events of one company, each `apart_ms` after the one before, and collects what comes."""

    def __init__(self, name: str, now_ms: int, key: str) -> None:
        self.name = name
        self.apart_ms = _STEP_MS
        self._key = key
        self._began_us = (now_ms - _BEGAN_MS) * 1_000
        self._clock = TurnedClock(now_ms - _BEGAN_MS)
        self._story = Story(self._clock)
        self.organization_id = self.id("org")
        self.directory_id = self.id("directory")
        self._steps: list[Step] = []
        self._expected: list[Expected] = []

    def id(self, prefix: str, name: str = "") -> str:
        """An id of this scenario's own."""
        return made_id(prefix, self._began_us, [self.name, self._key, name])

    def tell(self, event_type: str, **members: Any) -> Event:
        """What happens next; it has not come yet."""
        self._clock.advance(self.apart_ms)
        return self._story(event_type, **members)

    def directory(self) -> tuple[Event, Event]:
        """An organization and its directory."""
        organization = self.tell("organization.created", id=self.organization_id, domains=[])
        return organization, self.tell(
            "dsync.activated", id=self.directory_id, organization_id=self.organization_id, domains=[]
        )

    def user(self, word: str, label: str, /, **members: Any) -> Event:
        """A user of the directory is created, updated or deleted; `label` tells users apart."""
        return self.tell(
            f"dsync.user.{word}",
            **{"id": self.id("directory_user", label), **self._places(), **members},
        )

    def group(self, word: str, label: str, /, **members: Any) -> Event:
        """The same of a group."""
        return self.tell(
            f"dsync.group.{word}", **{"id": self.id("directory_group", label), **self._places(), **members}
        )

    def membership(self, word: str, group: Event, user: Event) -> Event:
        """A user is added to a group, or removed."""
        return self.tell(f"dsync.group.user_{word}", group=group, user=user)

    def comes(self, event: Event, says: str) -> None:
        """An event comes next."""
        self._steps.append(Step(event, says))

    def holds(self, event: Event, because: str, *, is_live: bool = True, **columns: Any) -> None:
        """What must hold of the object of an event."""
        resource = str(event.data["object"])
        self._expected.append(Expected(resource, event.data["id"], is_live, because, columns))

    def holds_of(self, group: Event, user: Event, because: str, *, is_live: bool = True) -> None:
        """What must hold of a membership."""
        pair = f"{group.data['id']}/{user.data['id']}"
        self._expected.append(Expected("directory_membership", pair, is_live, because))

    def ended(self, *, at_once: int = 1) -> Scenario:
        """The whole of it."""
        return Scenario(self.name, tuple(self._steps), tuple(self._expected), at_once)

    def _places(self) -> dict[str, str]:
        return {"directory_id": self.directory_id, "organization_id": self.organization_id}


def _onboard(tale: _Tale, _users: int) -> Scenario:
    organization, directory = tale.directory()
    team = tale.group("created", "team", name="Optics")
    ada = tale.user("created", "ada", first_name="Ada", last_name="Okafor")
    ben = tale.user("created", "ben", first_name="Ben", last_name="Lindqvist", email="ben@lanternworks.example")
    adds = [tale.membership("added", team, one) for one in (ada, ben)]
    newer = tale.user("updated", "ada", last_name="Okafor-Reyes")
    tale.comes(organization, "the organization")
    tale.comes(directory, "its directory is connected")
    tale.comes(team, "a group")
    tale.comes(ada, "a first user")
    tale.comes(ben, "a second user")
    for add, name in zip(adds, ("first", "second"), strict=True):
        tale.comes(add, f"the {name} user joins the group")
    tale.comes(newer, "the first user changes her name")
    tale.holds(organization, "A1: it was created", name=organization.data["name"])
    tale.holds(directory, "A1: it was activated", organization_id=tale.organization_id)
    tale.holds(team, "A1: it was created", name="Optics")
    tale.holds(ada, "A2: the newer state replaced the first", last_name="Okafor-Reyes", is_active=1)
    tale.holds(ben, "A1: created, and nothing newer", last_name="Lindqvist", is_active=1)
    for user in (ada, ben):
        tale.holds_of(team, user, "C1: added")
    return tale.ended()


def _offboard(tale: _Tale, _users: int) -> Scenario:
    team = tale.group("created", "team", name="Optics")
    ada = tale.user("created", "ada", first_name="Ada")
    ben = tale.user("created", "ben", first_name="Ben", email="ben@lanternworks.example")
    adds = [tale.membership("added", team, one) for one in (ada, ben)]
    suspended = tale.user("updated", "ben", state="inactive")
    removed = tale.membership("removed", team, ben)
    deleted = tale.user("deleted", "ada")
    tale.comes(team, "a group")
    tale.comes(ada, "the user who is deleted")
    tale.comes(ben, "the user who is suspended")
    tale.comes(suspended, "he is suspended")
    tale.comes(removed, "he is removed from the group, before it was heard that he had joined")
    tale.comes(deleted, "she is deleted")
    tale.comes(adds[1], "late: he had joined the group")
    tale.comes(adds[0], "late: so had she")
    tale.holds(ada, "A11: deleted", is_live=False)
    tale.holds(ben, "A24: suspended is alive and not active", state="inactive", is_active=0)
    tale.holds_of(team, ada, "C5: hidden with her", is_live=False)
    tale.holds_of(team, ben, "C3: the removal is newer than the add that came after it", is_live=False)
    tale.holds(team, "A1: created")
    return tale.ended()


def _rehire(tale: _Tale, _users: int) -> Scenario:
    person = {"idp_id": "00u5ada0k4f0r", "email": "ada@lanternworks.example"}
    admins = tale.group("created", "admins", name="Administrators")
    team = tale.group("created", "team", name="Optics")
    first = tale.user("created", "first", first_name="Ada", **person)
    was_admin = tale.membership("added", admins, first)
    newer = tale.user("updated", "first", last_name="Okafor-Reyes")
    left = tale.user("deleted", "first")
    again = tale.user("created", "again", first_name="Ada", **person)
    joins = tale.membership("added", team, again)
    tale.comes(admins, "a group of which she was a member")
    tale.comes(team, "a group of which she will be one")
    tale.comes(first, "she is hired")
    tale.comes(left, "she leaves")
    tale.comes(again, "she is hired again: another id, the same email and idp_id")
    tale.comes(joins, "she joins the second group")
    tale.comes(was_admin, "late: the first time she had joined the first group")
    tale.comes(newer, "late: the first time she had changed her name")
    tale.holds(first, "A14: what is older than the deletion never raises it", is_live=False)
    tale.holds(again, "B: a new id is a new object, whatever its email and idp_id", is_active=1, email=person["email"])
    tale.holds_of(admins, first, "C5: hidden with the user of then", is_live=False)
    tale.holds_of(admins, again, "B: email and idp_id are no keys, so that nothing is inherited", is_live=False)
    tale.holds_of(team, again, "C1: added")
    return tale.ended()


def _group_before_user(tale: _Tale, _users: int) -> Scenario:
    organization, directory = tale.directory()
    team = tale.group("created", "team", name="Optics")
    ada = tale.user("created", "ada", first_name="Ada", last_name="Okafor")
    added = tale.membership("added", team, ada)
    newer = tale.user("updated", "ada", last_name="Okafor-Reyes")
    renamed = tale.group("updated", "team", name="Optics and lasers")
    tale.comes(added, "a membership, before its user and its group")
    tale.comes(renamed, "the group's newest state")
    tale.comes(team, "the group's first state")
    tale.comes(newer, "the user's newest state")
    tale.comes(ada, "the user's first state")
    tale.comes(directory, "the directory of both")
    tale.comes(organization, "the organization")
    tale.holds_of(team, ada, "C1: kept, though neither end was known")
    tale.holds(team, "A21: the copy in the membership gave way to the group itself", name="Optics and lasers")
    tale.holds(ada, "A9: created and updated carry no order", last_name="Okafor-Reyes")
    tale.holds(directory, "A1: it was activated", organization_id=tale.organization_id)
    return tale.ended()


def _directory_deleted(tale: _Tale, _users: int) -> Scenario:
    organization, directory = tale.directory()
    team = tale.group("created", "team", name="Optics")
    ada = tale.user("created", "ada", first_name="Ada")
    ben = tale.user("created", "ben", first_name="Ben", email="ben@lanternworks.example")
    added = tale.membership("added", team, ada)
    newer = tale.user("updated", "ada", last_name="Okafor-Reyes")
    other = tale.id("directory", "other")
    activated = tale.tell("dsync.activated", id=other, organization_id=tale.organization_id, name="Other", domains=[])
    eve = tale.user("created", "eve", first_name="Eve", directory_id=other, email="eve@lanternworks.example")
    deleted = tale.tell("dsync.deleted", id=tale.directory_id, organization_id=tale.organization_id)
    tale.comes(organization, "the organization")
    tale.comes(directory, "its directory")
    tale.comes(activated, "and another one")
    tale.comes(team, "a group of the first")
    tale.comes(ada, "a user of the first")
    tale.comes(eve, "a user of the other")
    tale.comes(deleted, "the first directory is deleted; no event tells of its users and groups")
    tale.comes(newer, "late: its user had changed her name")
    tale.comes(added, "late: and had joined the group")
    tale.comes(ben, "late: and there was another user, of whom nothing had been heard")
    tale.holds(directory, "A11: deleted", is_live=False)
    for one in (team, ada, ben):
        tale.holds(one, "B: what is in a directory dies with it", is_live=False)
    tale.holds_of(team, ada, "C5: hidden with its ends", is_live=False)
    tale.holds(activated, "B: another directory", name="Other")
    tale.holds(eve, "B: of the other directory", is_active=1)
    tale.holds(organization, "A1: it was created")
    return tale.ended()


def _recreate(tale: _Tale, _users: int) -> Scenario:
    before, after = (tale.group("created", name, name=name.title()) for name in ("before", "after"))
    ada = tale.user("created", "ada", first_name="Ada", last_name="Okafor")
    joined = tale.membership("added", before, ada)
    newer = tale.user("updated", "ada", last_name="Okafor-Reyes")
    deleted = tale.user("deleted", "ada")
    again = tale.user("created", "ada", first_name="Ada", last_name="Adeyemi")
    rejoined = tale.membership("added", after, again)
    ben = tale.user("created", "ben", first_name="Ben", email="ben@lanternworks.example")
    ben_deleted = tale.user("deleted", "ben")
    ben_again = tale.user("created", "ben", first_name="Benedict", email="ben@lanternworks.example")
    gus = tale.user("created", "gus", first_name="Gus", email="gus@lanternworks.example")
    gus_renamed = tale.user("updated", "gus", first_name="Gustav")
    gus_deleted = tale.user("deleted", "gus")
    tale.comes(before, "a group of which the first user was a member")
    tale.comes(after, "a group that the first user joins afterwards")
    tale.comes(ada, "the first user")
    tale.comes(joined, "joins the first group")
    tale.comes(deleted, "is deleted")
    tale.comes(again, "and created again under the same id")
    tale.comes(newer, "late: what had changed before the deletion")
    tale.comes(rejoined, "the first user joins the second group")
    tale.comes(ben, "the second user")
    tale.comes(ben_again, "is created again, and that comes before the deletion does")
    tale.comes(ben_deleted, "late: the deletion in between")
    tale.comes(gus_deleted, "the third user is deleted, of whom nothing had been heard")
    tale.comes(gus_renamed, "late: this user had changed")
    tale.comes(gus, "late: and had been created")
    tale.holds(again, "A15: created after the deletion, alive again", last_name="Adeyemi", is_active=1)
    tale.holds_of(before, ada, "C6: a membership of before the deletion does not come back", is_live=False)
    tale.holds_of(after, again, "C1: added since")
    tale.holds(ben_again, "A12: created after the deletion that came last", first_name="Benedict", is_active=1)
    tale.holds(gus, "A10, A14: a deletion that came first holds", is_live=False)
    return tale.ended()


def _stale(tale: _Tale, _users: int) -> Scenario:
    ada = tale.user("created", "ada", first_name="Ada", last_name="Okafor")
    off = tale.user("updated", "ada", state="inactive")
    back = tale.user("updated", "ada", state="active", last_name="Okafor-Reyes")
    team = tale.group("created", "team", name="Optics")
    renamed = tale.group("updated", "team", name="Optics and lasers")
    added = tale.membership("added", team, ada)
    removed = tale.membership("removed", team, ada)
    tale.comes(back, "the user's newest state")
    tale.comes(off, "stale: she had been suspended for a while")
    tale.comes(ada, "stale: as she was created")
    tale.comes(renamed, "the group's newest state")
    tale.comes(team, "stale: as it was created")
    tale.comes(removed, "the user has left the group")
    tale.comes(added, "stale: that she had joined it")
    tale.holds(ada, "A3: older content changes nothing", last_name="Okafor-Reyes", state="active", is_active=1)
    tale.holds(team, "A3: older content changes nothing", name="Optics and lasers")
    tale.holds_of(team, ada, "C3: the removal is newer", is_live=False)
    return tale.ended()


def _duplicate(tale: _Tale, _users: int) -> Scenario:
    ada = tale.user("created", "ada", first_name="Ada", last_name="Okafor")
    newer = tale.user("updated", "ada", last_name="Okafor-Reyes")
    team, past = (tale.group("created", name, name=name.title()) for name in ("team", "past"))
    added = tale.membership("added", team, newer)
    was_added = tale.membership("added", past, newer)
    was_removed = tale.membership("removed", past, newer)
    ben = tale.user("created", "ben", first_name="Ben", email="ben@lanternworks.example")
    deleted = tale.user("deleted", "ben")
    tale.comes(ada, "a user")
    tale.comes(ada, "the same event at once again, as after an answer that was lost")
    tale.comes(newer, "the user changes")
    tale.comes(ada, "the first event once more, behind what is newer")
    for group in (team, past):
        tale.comes(group, "a group")
    tale.comes(added, "the user joins")
    tale.comes(added, "the same again")
    tale.comes(was_added, "the user joins another group")
    tale.comes(was_removed, "and leaves it")
    tale.comes(was_added, "that she had joined it, once more")
    tale.comes(ben, "another user")
    tale.comes(deleted, "is deleted")
    tale.comes(deleted, "his deletion once more")
    tale.comes(ben, "and his creation")
    tale.holds(ada, "A8: an event that came before changes nothing", last_name="Okafor-Reyes")
    tale.holds_of(team, ada, "C1: added, once")
    tale.holds_of(past, ada, "C3: a repeated add is as old as it was", is_live=False)
    tale.holds(ben, "A8, A14: nor does it raise what was deleted since", is_live=False)
    return tale.ended()


def _out_of_order(tale: _Tale, _users: int) -> Scenario:
    organization, directory = tale.directory()
    team, other = (tale.group("created", name, name=name.title()) for name in ("optics", "lasers"))
    ada = tale.user("created", "ada", first_name="Ada", last_name="Okafor")
    ben = tale.user("created", "ben", first_name="Ben", email="ben@lanternworks.example")
    told = [
        (organization, "the organization"),
        (directory, "its directory"),
        (team, "a group"),
        (other, "another one"),
        (ada, "a user"),
        (ben, "another one"),
        (tale.membership("added", team, ada), "the first user joins the first group"),
        (tale.membership("added", other, ada), "and the other"),
        (tale.membership("removed", team, ada), "and leaves the first"),
        (tale.user("updated", "ada", last_name="Okafor-Reyes"), "and changes her name"),
        (tale.user("deleted", "ben"), "the other user is deleted"),
    ]
    for event, says in reversed(told):
        tale.comes(event, says)
    tale.holds(organization, "A1: it was created")
    tale.holds(directory, "A1: it was activated", organization_id=tale.organization_id)
    tale.holds(ada, "A9: the newest content, whatever came last", last_name="Okafor-Reyes")
    tale.holds(ben, "A10: deleted before it was heard of", is_live=False)
    tale.holds_of(team, ada, "C2, C3: removed before the add was heard of", is_live=False)
    tale.holds_of(other, ada, "C1: added")
    return tale.ended()


def _burst(tale: _Tale, users: int) -> Scenario:
    tale.apart_ms = 1
    events: list[Event] = []
    for number in range(users):
        name = f"{number + 1:05}"
        created = tale.user(
            "created", name, idp_id=f"burst-{name}", email=f"burst-{name}@lanternworks.example",
            first_name="Burst", last_name="New",
        )  # fmt: skip
        newer = tale.user("updated", name, last_name=f"Number {number + 1}")
        events += [created, newer]
        tale.holds(created, "A2, A3: the newer state, whichever came last", last_name=f"Number {number + 1}")
    random.Random(tale.name).shuffle(events)  # noqa: S311 - makes disorder, guards nothing
    for event in events:
        tale.comes(event, "a user as created" if event.type.endswith("created") else "a user's newer state")
    return tale.ended(at_once=16)


def _outlines() -> Iterator[Outline]:
    yield Outline(
        "onboard",
        "The ordinary course of things, in order.",
        "the organization, its directory, a group, two users with their newest state, and both memberships",
        _onboard,
    )
    yield Outline(
        "offboard",
        "Whoever is suspended or deleted has no access left, though joining a group is heard of last.",
        "the deleted user is gone, the suspended one is there and not active, and neither is in the group",
        _offboard,
    )
    yield Outline(
        "rehire",
        "Somebody who comes back under another id inherits nothing, though email and idp_id are the same.",
        "the new user is in her new group alone; the one of before stays deleted, whatever comes late",
        _rehire,
    )
    yield Outline(
        "group-before-user",
        "A membership may come before its user and its group.",
        "user, group and membership are there, with the newest content and not the copies in the membership",
        _group_before_user,
    )
    yield Outline(
        "directory-deleted",
        "With a directory goes all that is in it, though no event tells of each, and late ones raise nothing.",
        "its users, its group and their membership are gone; another directory and its user are not",
        _directory_deleted,
    )
    yield Outline(
        "recreate",
        "An object may come back under its id, also where that is heard of before the deletion; old access does not.",
        "two users are alive with the newest content, the first in the group joined since and not in that of before; "
        "of the third, deleted last, nothing is left",
        _recreate,
    )
    yield Outline(
        "stale",
        "What is older than what is known changes nothing.",
        "the user is active under the newest name, the group has its newest name, and the user has left it",
        _stale,
    )
    yield Outline(
        "duplicate",
        "The same event again, at once or behind what is newer, changes nothing.",
        "as if each event had come once: the newer name, one membership, none in the group that was left, and the "
        "deleted user is gone",
        _duplicate,
    )
    yield Outline(
        "out-of-order",
        "A whole history comes backwards and ends as if it had come in order.",
        "the user has the newest name and is in one of two groups; the deleted user was never shown",
        _out_of_order,
    )
    yield Outline(
        "burst",
        f"{BURST_USERS} users, each created and changed, shuffled, 16 requests at a time.",
        "every user is there with the newer name",
        _burst,
        takes_users=True,
    )


SCENARIOS: Final[Mapping[str, Outline]] = MappingProxyType({one.name: one for one in _outlines()})
