"""Passes against webhooks: a small source that is written to, tells of it with losses, and is read at the same time.

Each race is a source of its own, and many share one database. The source's state has a past: every request is answered
as of some time before it was sent (a replica's lag, less than ε), each page for itself. Webhooks are lost, repeated and
come up to a minute late, in any order. Passes, refetches, applying and walks take turns in a drawn order while the
clock goes on; at the end most of what was not lost has come, time passes, one more pass is made, and then the rest
comes.

Three things are judged. After that last pass the mirror is the source. What comes after it changes nothing. And at no
time was the end of something told that had not ended: every death and removal that handlers heard of had happened at
the source before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hookline.errors import SourceError
from hookline.receiver.leases import Leases
from hookline.receiver.mirror import apply, walk
from hookline.receiver.mirror_store import MirrorStore
from hookline.receiver.model import Entry
from hookline.receiver.passes import Passes
from hookline.receiver.refetch import Refetcher
from hookline.receiver.source import EventPage, Found, Gone, Page
from hookline.receiver.store import InboxStore
from hookline.receiver.work import Access
from hookline.storage import Database, Verbs, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock
from hookline.wire.timestamps import format_ms

START_MS: Final = 1_790_000_000_000
LAG_MS: Final = 12_000
"""So old may an answer be; ε is 15 s."""
LATE_MS: Final = 60_000
WAVE: Final = 20
_SETTLED_MS: Final = 120_000
_MOST_TURNS: Final = 4_000

Payload = dict[str, Any]


@dataclass(slots=True)
class Told:
    """A webhook on its way: when it comes, or None where it is lost."""

    at_ms: int
    body: bytes
    id: str
    type: str


@dataclass(slots=True)
class Life:
    """What one object was, from when: its payloads in order of time, None from when it was deleted."""

    resource: str
    id: str
    parent: str
    past: list[tuple[int, Payload | None]] = field(default_factory=list)

    def at(self, ms: int) -> Payload | None:
        shown: Payload | None = None
        for since_ms, payload in self.past:
            if since_ms > ms:
                break
            shown = payload
        return shown

    @property
    def now(self) -> Payload | None:
        return self.past[-1][1]


class RacedSource:
    """The truth of one race, what it tells, and its API."""

    def __init__(self, name: str, rng: random.Random, clock: TurnedClock, *, loss: float) -> None:
        self.name = name
        self._rng, self._clock, self._loss = rng, clock, loss
        self._number = 0
        self.lives: dict[str, Life] = {}
        self.members: dict[tuple[str, str], list[tuple[int, bool]]] = {}
        self.on_the_way: list[Told] = []
        self.retried_last: list[Told] = []
        """Of what was lost: what is sent again when all is over."""
        self.told = self.lost = self.requests = 0
        self.is_reachable = True
        self._last_ms = 0

    # -- what happens ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        rng = self._rng
        self._write("organization", "org", "", {"name": "Acme"}, "organization.created")
        for number in range(rng.choice((1, 1, 2))):
            directory = f"dir{number}"
            of = {"organization_id": self._id("org"), "name": "Staff", "state": "linked", "type": "okta scim v2.0"}
            self._write("directory", directory, "org", of, "dsync.activated")
            for user in range(rng.randrange(2, 7)):
                self._hire(directory, f"usr{number}{user}")
            for group in range(rng.randrange(1, 4)):
                self._found(directory, f"grp{number}{group}")
        for _ in range(rng.randrange(8)):
            self.act(also_ends=False)

    def act(self, *, also_ends: bool = True) -> None:
        """One thing happens."""
        rng = self._rng
        users, groups = self._alive("directory_user"), self._alive("directory_group")
        dice = rng.random()
        if dice < 0.30 and users and groups:
            group, user = rng.choice(groups), rng.choice(users)
            if group.parent == user.parent:
                self._turn_membership(group, user)
        elif dice < 0.55 and users:
            user = rng.choice(users)
            change = {"first_name": f"Ada {rng.randrange(1_000)}"} if rng.random() < 0.6 else {"state": "inactive"}
            self._update(user, change, "dsync.user.updated")
        elif dice < 0.65:
            directories = self._alive("directory")
            if directories:
                self._hire(rng.choice(directories).id.removeprefix(f"{self.name}-"), f"usr{self._next()}")
        elif dice < 0.72 and groups:
            self._update(rng.choice(groups), {"name": f"Team {rng.randrange(1_000)}"}, "dsync.group.updated")
        elif dice < 0.77:
            directories = self._alive("directory")
            if directories:
                self._found(rng.choice(directories).id.removeprefix(f"{self.name}-"), f"grp{self._next()}")
        elif also_ends and dice < 0.90 and users:
            self._delete(rng.choice(users), "dsync.user.deleted")
        elif also_ends and dice < 0.96 and groups:
            self._delete(rng.choice(groups), "dsync.group.deleted")
        elif also_ends and dice < 0.98:
            directories = self._alive("directory")
            if directories:
                self._delete(rng.choice(directories), "dsync.deleted")

    def _id(self, short: str) -> str:
        return f"{self.name}-{short}"

    def _next(self) -> int:
        self._number += 1
        return 100 + self._number

    def _now_ms(self) -> int:
        """Commits of one source rise."""
        self._last_ms = max(self._last_ms + 1, self._clock.now_ms())
        return self._last_ms

    def _alive(self, resource: str) -> list[Life]:
        return [one for one in self.lives.values() if one.resource == resource and self._is_there(one)]

    def _is_there(self, life: Life, ms: int | None = None) -> bool:
        at_ms = self._clock.now_ms() + 10_000 if ms is None else ms
        if life.at(at_ms) is None:
            return False
        return not life.parent or self._is_there(self.lives[life.parent], at_ms)

    def _hire(self, directory: str, short: str) -> None:
        of = {"directory_id": self._id(directory), "organization_id": self._id("org")}
        person: Payload = {"first_name": "Ada", "state": "active", "email": None, "idp_id": short}
        self._write("directory_user", short, directory, {**of, **person}, "dsync.user.created")

    def _found(self, directory: str, short: str) -> None:
        of = {"directory_id": self._id(directory), "organization_id": self._id("org")}
        self._write("directory_group", short, directory, {**of, "name": "Team", "idp_id": short}, "dsync.group.created")

    def _write(self, resource: str, short: str, parent: str, fields: Payload, type_: str) -> None:
        now_ms = self._now_ms()
        text = format_ms(now_ms * 1000)
        id_ = self._id(short)
        payload = {"object": resource, "id": id_, **fields, "created_at": text, "updated_at": text}
        self.lives[id_] = Life(resource, id_, self._id(parent) if parent else "", [(now_ms, payload)])
        self._tell(type_, payload, now_ms)

    def _update(self, life: Life, change: Payload, type_: str) -> None:
        assert life.now is not None
        now_ms = self._now_ms()
        before = {name: life.now.get(name) for name in change}
        payload = {**life.now, **change, "updated_at": format_ms(now_ms * 1000)}
        life.past.append((now_ms, payload))
        self._tell(type_, {**payload, "previous_attributes": before}, now_ms)

    def _delete(self, life: Life, type_: str) -> None:
        payload = life.now
        assert payload is not None
        now_ms = self._now_ms()
        life.past.append((now_ms, None))
        self._tell(type_, payload, now_ms)

    def _turn_membership(self, group: Life, user: Life) -> None:
        past = self.members.setdefault((group.id, user.id), [])
        is_member = not (past and past[-1][1])
        now_ms = self._now_ms()
        past.append((now_ms, is_member))
        data = {"directory_id": group.parent, "user": user.now, "group": group.now}
        self._tell(f"dsync.group.user_{'added' if is_member else 'removed'}", data, now_ms)

    def _tell(self, type_: str, data: Payload, now_ms: int) -> None:
        self.told += 1
        id_ = f"event_{self.name}_{self.told:05d}"
        if type_.startswith("dsync.") and data.get("object") == "directory":
            data = {**data, "state": "active"}
        event = {"id": id_, "event": type_, "created_at": format_ms(now_ms * 1000), "data": data}
        body = json.dumps(event).encode()
        if self._rng.random() < self._loss:
            self.lost += 1
            if self._rng.random() < 0.5:
                self.retried_last.append(Told(now_ms, body, id_, type_))
            return
        for _ in range(2 if self._rng.random() < 0.15 else 1):
            late_ms = 0 if self._rng.random() < 0.5 else self._rng.randrange(LATE_MS)
            self.on_the_way.append(Told(now_ms + late_ms, body, id_, type_))

    # -- its API -----------------------------------------------------------------------------------------------

    def _asked(self) -> tuple[int, int]:
        """When this is asked, and as of when it is answered."""
        self.requests += 1
        if not self.is_reachable and self._rng.random() < 0.5:
            raise SourceError("unavailable", "expected an answer, got none")
        now_ms = self._clock.now_ms()
        as_of_ms = now_ms - self._rng.randrange(LAG_MS)
        # It takes its time: what happens meanwhile is drawn elsewhere.
        self._clock.advance(self._rng.choice((5, 50, 400)))
        return now_ms, as_of_ms

    def page(self, resource: str, filters: Mapping[str, str], *, after: str | None = None) -> Page:
        now_ms, as_of_ms = self._asked()
        shown = [
            (life.id, payload)
            for life in self.lives.values()
            if life.resource == resource
            and (payload := life.at(as_of_ms)) is not None
            and self._is_there(life, as_of_ms)
            and self._is_in(life, filters, as_of_ms)
        ]
        place = list(self.lives)
        shown.sort(key=lambda one: place.index(one[0]))
        if after is not None:
            shown = [one for one in shown if place.index(one[0]) > place.index(after)]
        size = self._rng.choice((1, 2, 3))
        items = tuple(dict(payload) for _, payload in shown[:size])
        return Page(items, items[-1]["id"] if len(shown) > size else None, now_ms * 1000)

    def get(self, resource: str, id_: str) -> Found | Gone:
        now_ms, as_of_ms = self._asked()
        life = self.lives.get(id_)
        if life is None or life.resource != resource or not self._is_there(life, as_of_ms):
            return Gone(now_ms * 1000)
        payload = life.at(as_of_ms)
        assert payload is not None
        return Found(dict(payload), now_ms * 1000)

    def events(self, types: Sequence[str], *, after: str | None = None, since_us: int | None = None) -> EventPage:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""

    def _is_in(self, life: Life, filters: Mapping[str, str], ms: int) -> bool:
        for name, value in filters.items():
            if name == "directory" or name == "organization_id":
                held = life.parent == value
            elif name == "group":
                held = self.is_member(value, life.id, ms)
            elif name == "user":
                held = self.is_member(life.id, value, ms)
            else:
                raise AssertionError(f"no filter is {name}")
            if not held:
                return False
        return True

    def is_member(self, group: str, user: str, ms: int) -> bool:
        """Whether the pair was one at that time, both ends there."""
        is_in = False
        for since_ms, holds in self.members.get((group, user), ()):
            if since_ms > ms:
                break
            is_in = holds
        return is_in and self._is_there(self.lives[group], ms) and self._is_there(self.lives[user], ms)

    # -- judging -----------------------------------------------------------------------------------------------

    def truth(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """resource -> id -> what a mirror must show of it."""
        found: dict[str, dict[str, tuple[Any, ...]]] = {name: {} for name in _SHOWN}
        for life in self.lives.values():
            if self._is_there(life) and life.now is not None:
                found[life.resource][life.id] = tuple(life.now.get(column) for column in _SHOWN[life.resource])
        for group, user in self.members:
            if self.is_member(group, user, self._clock.now_ms() + 10_000):
                found["directory_membership"][f"{group}/{user}"] = (self.lives[group].parent,)
        return found

    def had_ended(self, resource: str, object_id: str, ms: int) -> bool:
        """Whether it had ended at some time up to then: by itself, or with what it was in."""
        if resource != "directory_membership":
            return not self._is_there(self.lives[object_id], ms)
        group, user = object_id.split("/")
        times = [since_ms for since_ms, _ in self.members.get((group, user), ()) if since_ms <= ms]
        return any(not self.is_member(group, user, at_ms) for at_ms in [*times, ms]) or not times


_SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "organization": ("name", "updated_at"),
    "directory": ("name", "state", "updated_at"),
    "directory_user": ("first_name", "state", "directory_id", "updated_at"),
    "directory_group": ("name", "directory_id", "updated_at"),
    "directory_membership": ("directory_id",),
}
_TABLES: Final = {
    "organization": "hookline_organizations_live",
    "directory": "hookline_directories_live",
    "directory_user": "hookline_directory_users_live",
    "directory_group": "hookline_directory_groups_live",
    "directory_membership": "hookline_directory_memberships_live",
}


@dataclass(slots=True)
class Result:
    """How much raced, and whatever was not as it should be."""

    races: int = 0
    events: int = 0
    lost: int = 0
    requests: int = 0
    passes: int = 0
    wrong: list[str] = field(default_factory=list)
    healed: int = 0
    """Races whose mirror was not the source before the last pass: those that had something to heal."""


class Race:
    """One source beside its share of the database."""

    def __init__(self, number: int, seed: str, database: Database, clock: TurnedClock, verbs: Verbs) -> None:
        self.rng = random.Random(f"{seed}/{number}")
        self.source = RacedSource(f"race{number}", self.rng, clock, loss=self.rng.choice((0, 0.2, 0.2, 0.5, 1)))
        self._database, self._clock = database, clock
        self._mirror = MirrorStore(verbs)
        access, leases = Access(database), Leases(verbs, f"hand {number}")
        name = self.source.name
        self.passes = Passes(access, self._mirror, name, self.source, clock=clock, leases=leases)
        self.refetcher = Refetcher(access, self._mirror, name, self.source, clock=clock, leases=leases)

    def start_pass(self) -> int:
        return self.passes.start("reconcile", "apply", asked_by="race")

    def arrive(self, inbox: InboxStore, *, all_of_it: bool = False) -> None:
        """What is due of the webhooks comes in."""
        now_ms = self._clock.now_ms()
        came = [one for one in self.source.on_the_way if all_of_it or one.at_ms <= now_ms]
        if not came:
            return
        self.source.on_the_way = [one for one in self.source.on_the_way if not (all_of_it or one.at_ms <= now_ms)]
        self.rng.shuffle(came)
        entries = [
            Entry(self.source.name, one.id, hashlib.sha256(one.body).digest(), one.type, one.body, now_ms, now_ms, None)
            for one in came
        ]
        with self._database.transaction() as connection:
            inbox.put(connection, entries)

    def shown(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """The mirror, as `RacedSource.truth`."""
        found: dict[str, dict[str, tuple[Any, ...]]] = {}
        mark = "?" if self._database.dialect == "sqlite" else "%s"
        with self._database.read() as connection:
            for resource, columns in _SHOWN.items():
                key = "group_id || '/' || user_id" if resource == "directory_membership" else "id"
                sql = f"select {key}, {', '.join(columns)} from {_TABLES[resource]} where source = {mark}"
                rows = connection.execute(sql, (self.source.name,)).fetchall()
                found[resource] = {row[0]: tuple(row[1:]) for row in rows}
        return found

    def differences(self) -> list[str]:
        truth, shown = self.source.truth(), self.shown()
        return [
            f"{self.source.name}: {resource} {id_}: expected {truth[resource].get(id_)}, got {shown[resource].get(id_)}"
            for resource in _SHOWN
            for id_ in sorted(truth[resource].keys() | shown[resource].keys())
            if truth[resource].get(id_) != shown[resource].get(id_)
        ]

    def untimely(self) -> list[str]:
        """Ends that were told of and had not happened."""
        mark = "?" if self._database.dialect == "sqlite" else "%s"
        sql = (
            "select resource, object_id, kind, changed_ms from hookline_changes"
            f" where source = {mark} and is_live = 0 order by seq"
        )
        with self._database.read() as connection:
            told = connection.execute(sql, (self.source.name,)).fetchall()
        return [
            f"{self.source.name}: {resource} {id_} was told {kind} though it had not ended"
            for resource, id_, kind, at_ms in told
            if not self.source.had_ended(resource, id_, at_ms)
        ]


def race(url: str, *, seed: str, count: int, first: int = 0, said: Callable[[int], None] = lambda _: None) -> Result:
    """So many races through one database, in waves, each step drawn."""
    result = Result()
    with contextlib.closing(connect(url)) as database:
        migrate(database, "receiver", "hookline.receiver")
        verbs = Verbs("hookline.receiver", database.dialect)
        for start in range(first, first + count, WAVE):
            _wave(database, verbs, result, seed, range(start, min(start + WAVE, first + count)))
            said(result.races)
    return result


def _wave(database: Database, verbs: Verbs, result: Result, seed: str, numbers: range) -> None:
    clock = TurnedClock(START_MS + numbers.start * 10_000_000)
    rng, inbox, mirror = random.Random(f"{seed}/wave/{numbers.start}"), InboxStore(database.dialect), MirrorStore(verbs)
    races = [Race(number, seed, database, clock, verbs) for number in numbers]
    asking = {one.source.name for one in races}

    def settle() -> None:
        """Apply and walk whatever is there."""
        while True:
            with database.transaction() as connection:
                entries = mirror.claim(connection, clock.now_ms(), 100)
                if entries:
                    apply(mirror, connection, entries, clock.now_ms(), asking=asking)
            with database.transaction() as connection:
                walked = walk(mirror, connection, clock.now_ms(), asking=asking)
            if not entries and walked is None:
                return

    for one in races:
        one.source.begin()
    open_passes = dict.fromkeys(races, 0)
    for turn in range(60):
        clock.advance(rng.choice((10, 200, 900, 3_000)))
        for one in races:
            dice = rng.random()
            if dice < 0.35 and turn < 50:
                one.source.act()
            if dice < 0.6:
                one.arrive(inbox)
            if dice > 0.97 and open_passes[one] < 2:
                one.start_pass()
                open_passes[one] += 1
            one.source.is_reachable = rng.random() < 0.9
            if rng.random() < 0.7:
                one.passes.step(clock.now_ms())
            if rng.random() < 0.3:
                one.refetcher.step(clock.now_ms())
        if rng.random() < 0.4:
            settle()
        elif rng.random() < 0.5:
            with database.transaction() as connection:
                entries = mirror.claim(connection, clock.now_ms(), rng.choice((1, 5, 40)))
                rng.shuffle(entries)
                if entries:
                    apply(mirror, connection, entries, clock.now_ms(), asking=asking)
    for one in races:
        one.source.is_reachable = True
        one.arrive(inbox, all_of_it=True)
    settle()
    # Whatever was begun comes to its end, and everything that was said is older than any answer may be.
    _finish(database, races, clock, settle)
    clock.advance(_SETTLED_MS)
    for one in races:
        result.healed += bool(one.differences())
        one.start_pass()
    _finish(database, races, clock, settle)
    for one in races:
        result.wrong += one.differences()[:5]
        one.source.on_the_way = one.source.retried_last
        one.arrive(inbox, all_of_it=True)
    settle()
    _finish(database, races, clock, settle)
    for one in races:
        result.wrong += [f"after late retries: {what}" for what in one.differences()[:5]]
        result.wrong += one.untimely()[:5]
        result.races += 1
        result.events += one.source.told
        result.lost += one.source.lost
        result.requests += one.source.requests
        result.passes += 1 + open_passes[one]


def _finish(database: Database, races: Sequence[Race], clock: TurnedClock, settle: Callable[[], None]) -> None:
    """Until no pass runs and nothing is in doubt any more."""
    mark = "?" if database.dialect == "sqlite" else "%s"
    sql = (
        f"select (select count(*) from hookline_passes where source = {mark} and state = 'running')"
        f" + (select count(*) from hookline_refetches where source = {mark})"
    )
    open_ = list(races)
    for _ in range(_MOST_TURNS):
        for one in open_:
            one.passes.step(clock.now_ms())
            one.refetcher.step(clock.now_ms())
        settle()
        with database.read() as connection:
            open_ = [
                one for one in open_ if connection.execute(sql, (one.source.name, one.source.name)).fetchall() != [(0,)]
            ]
        if not open_:
            return
        clock.advance(2_000)
    raise AssertionError(f"{len(open_)} races came to no end")
