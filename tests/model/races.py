"""Races: an end of access (of a user, its group, directory or organization) against the events of everything below it.

Each race has keys of its own, and many share one database, mingled and repeated. Four workers take turns in a drawn
order, each turn one step: a batch of entries, a part of a walk, claiming runs, one handler, or dying with a claimed run
in hand. The app's handlers keep `access` (who may log in) and `seats` (who is in which group) in the transaction
that marks them as done, and fail now and then after they have written.

Or four real workers in processes of their own, on PostgreSQL, all at once (`race_by_processes`).

In the end `access` is judged twice: beside the pure rules joined over the same set of events, and by a rule that knows
none of them: whoever was last heard of before the end of access has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hookline.receiver.handlers import Change, Registry
from hookline.receiver.mirror import apply, walk
from hookline.receiver.mirror_store import MirrorStore
from hookline.receiver.model import Entry
from hookline.receiver.resources import EDGES, RESOURCES, observe
from hookline.receiver.run_store import Run, RunStore
from hookline.receiver.store import InboxStore
from hookline.receiver.work import Access, Worker
from hookline.rules.lifecycle import after_run
from hookline.rules.merge import (
    NEVER,
    Clock,
    EdgeState,
    ObjectState,
    Parent,
    as_parent,
    is_active,
    is_alive,
    is_edge_alive,
    join,
    join_edge,
)
from hookline.rules.schedule import Backoff
from hookline.storage import Database, Verbs, connect
from hookline.storage.app_connection import dialect_of
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock
from hookline.wire.event import Event
from hookline.wire.timestamps import format_ms

START_MS: Final = 1_790_000_000_000
WAVE: Final = 100
"""So many races are mingled."""

ENDS: Final = ("dsync.deleted", "dsync.user.deleted", "dsync.group.deleted", "organization.deleted", "deactivation")
HANDLERS: Final = ("access", "seats")
_BACKOFF: Final = Backoff(first_s=1, factor=1, cap_s=1, tries=20)
_LEASE_MS: Final = 5_000
# Much longer than a wave takes, and longer than a lease.
_IDLE_WITHIN_S: Final = 180

_TABLES: Final = (
    "create table access (id text primary key, is_on integer not null)",
    "create table seats (id text primary key, is_on integer not null)",
    (
        "create table told (place {number} primary key, seq integer not null, id text not null, kind text not null,"
        " is_live integer not null)"
    ),
)


@dataclass(slots=True)
class Race:
    """One race: its events in the order in which the source made them."""

    number: int
    end: str
    users: tuple[str, ...]
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """How much raced, and whatever was not as it should be."""

    races: int = 0
    events: int = 0
    changes: int = 0
    retries: int = 0
    lapsed: int = 0
    on: int = 0
    wrong: list[str] = field(default_factory=list)


def draw(rng: random.Random, number: int) -> Race:
    """A race: one end of access at a drawn moment, everything else before it, after it or in its very instant."""
    org, directory, group = (f"{kind}_{number}" for kind in ("org", "dir", "group"))
    users = tuple(f"user_{number}_{place}" for place in range(rng.choice((1, 1, 2, 3))))
    race = Race(number, rng.choice(ENDS), users)
    end_at = rng.randrange(4, 12)
    drawn: list[tuple[int, int, str, dict[str, Any]]] = []

    def say(at: int, type_: str, data: Mapping[str, Any]) -> None:
        drawn.append((at, rng.randrange(1_000), type_, dict(data)))

    def moment() -> int:
        return end_at if rng.random() < 0.1 else rng.randrange(16)

    common = {"directory_id": directory, "organization_id": org}
    of_org = {"object": "organization", "id": org, "name": "Acme"}
    of_directory = {"object": "directory", "id": directory, "organization_id": org, "name": "Staff", "state": "active"}
    of_group = {"object": "directory_group", "id": group, "name": "Engineering", **common}

    def user(id_: str, at: int) -> dict[str, Any]:
        is_off = race.end == "deactivation" and at >= end_at and rng.random() < 0.7
        state = "inactive" if is_off or rng.random() < 0.05 else "active"
        return {"object": "directory_user", "id": id_, "first_name": f"Ada {at}", "state": state, **common}

    if rng.random() < 0.6:
        say(0, "organization.created", of_org)
    if rng.random() < 0.7:
        say(rng.randrange(3), "dsync.activated", of_directory)
    if rng.random() < 0.7:
        say(moment(), "dsync.group.created", of_group)
    for id_ in users:
        for _ in range(rng.randrange(4)):
            at = moment()
            say(at, rng.choice(("dsync.user.created", "dsync.user.updated")), user(id_, at))
        for _ in range(rng.randrange(3)):
            at = moment()
            word = "added" if rng.random() < 0.7 else "removed"
            say(at, f"dsync.group.user_{word}", {"user": user(id_, at), "group": of_group, "directory_id": directory})
    if race.end == "dsync.deleted":
        say(end_at, race.end, {**of_directory, "state": "deleting"})
    elif race.end == "organization.deleted":
        say(end_at, race.end, of_org)
    elif race.end == "dsync.group.deleted":
        say(end_at, race.end, of_group)
    elif race.end == "dsync.user.deleted":
        for id_ in users:
            say(end_at, race.end, user(id_, end_at))
    else:
        for id_ in users:
            say(end_at, "dsync.user.updated", {**user(id_, end_at), "state": "inactive"})
    if rng.random() < 0.15:  # and what had ended begins again
        if race.end == "organization.deleted":
            say(end_at + 3, "organization.created", of_org)
        say(end_at + 3, "dsync.activated", of_directory)
    for place, (at, _, type_, data) in enumerate(sorted(drawn, key=lambda one: one[:2])):
        text = format_ms((START_MS + number * 60_000 + at * 1_000) * 1_000)
        born = format_ms(START_MS * 1_000)
        parts = [data["user"], data["group"]] if "user" in data else [data]
        for part in parts:
            part.update(created_at=born, updated_at=born if part["id"].startswith("group") else text)
        race.events.append(
            {
                "object": "event",
                "id": f"event_{number:06d}_{place:03d}",
                "event": type_,
                "created_at": text,
                "data": data,
            }
        )
    return race


def entries_of(races: Sequence[Race], rng: random.Random, now_ms: int) -> list[Entry]:
    """What arrives: everything, mingled in any order, a quarter of it twice."""
    bodies = [(event["id"], event["event"], json.dumps(event).encode()) for race in races for event in race.events]
    came = bodies + [one for one in bodies if rng.random() < 0.25]
    rng.shuffle(came)
    return [
        Entry("default", id_, hashlib.sha256(body).digest(), type_, body, now_ms, now_ms, None)
        for id_, type_, body in came
    ]


def prepare(database: Database) -> None:
    """Hookline's tables and the app's."""
    migrate(database, "receiver", "hookline.receiver")
    with database.transaction() as connection:
        for sql in _TABLES:
            connection.execute(sql.format(number="integer" if database.dialect == "sqlite" else "bigserial"))


class App:
    """The app: two handlers that keep its own tables, and fail once for some changes, after they have written."""

    def __init__(self, *, fails_every: int = 0) -> None:
        self.registry = Registry()
        self.fails_every = fails_every
        self.failed: set[int] = set()
        self.registry.on_change("directory_user", name=HANDLERS[0])(self.access)
        self.registry.on_change("directory_membership", name=HANDLERS[1])(self.seats)

    def access(self, change: Change, tx: Any) -> None:
        self._keep("access", change, change.is_live and is_active(change.after, True), tx)

    def seats(self, change: Change, tx: Any) -> None:
        self._keep("seats", change, change.is_live, tx)

    def _keep(self, table: str, change: Change, is_on: bool, tx: Any) -> None:
        two, four = ("?, ?", "?, ?, ?, ?") if dialect_of(tx) == "sqlite" else ("%s, %s", "%s, %s, %s, %s")
        sql = f"insert into {table} values ({two}) on conflict (id) do update set is_on = excluded.is_on"
        tx.execute(sql, (change.id, int(is_on)))
        told = (change.seq, change.id, change.kind, int(change.is_live))
        tx.execute(f"insert into told (seq, id, kind, is_live) values ({four})", told)
        if self.fails_every and change.seq % self.fails_every == 0 and change.seq not in self.failed:
            self.failed.add(change.seq)
            raise ConnectionError


class Hand:
    """One of the four: its own stores, and the runs it has claimed and not yet executed."""

    def __init__(self, app: App, result: Result) -> None:
        verbs = Verbs("hookline.receiver", "sqlite")
        self.mirror, self.runs = MirrorStore(verbs), RunStore(verbs)
        self.app, self.result = app, result
        self.held: list[Run] = []

    def take_entries(self, database: Database, rng: random.Random, now_ms: int) -> bool:
        with database.transaction() as connection:
            entries = self.mirror.claim(connection, now_ms, rng.choice((1, 4, 20, 100)))
            rng.shuffle(entries)
            if entries:
                apply(self.mirror, connection, entries, now_ms)
        return bool(entries)

    def take_walk(self, database: Database, rng: random.Random, now_ms: int) -> bool:
        with database.transaction() as connection:
            return walk(self.mirror, connection, now_ms, limit=rng.choice((1, 3, 10, 50))) is not None

    def take_runs(self, database: Database, rng: random.Random, now_ms: int) -> bool:
        with database.transaction() as connection:
            for run in self.runs.lapsed(connection, now_ms):
                self.result.lapsed += 1
                self._fail(connection, run, now_ms)
            size = rng.choice((1, 4, 16, 16))
            taken = self.runs.claim(
                connection, HANDLERS, now_ms=now_ms, leased_until_ms=now_ms + _LEASE_MS, limit=size, each=size
            )
        self.held += taken
        return bool(taken)

    def execute(self, database: Database, run: Run, now_ms: int) -> None:
        """The handler and its mark in one transaction; a lease that has passed undoes both."""
        handler = self.app.registry.get(run.handler)
        assert handler is not None
        assert run.change_seq is not None
        try:
            with database.lent() as transaction:
                change = self.runs.change(transaction.dbapi, run.change_seq)
                handler.function(change, transaction.app)
                self._mark(transaction.dbapi, run, now_ms)
        except ConnectionError:
            self.result.retries += 1
            with database.transaction() as connection:
                self._fail(connection, run, now_ms)
        except LookupError:
            pass

    def _mark(self, connection: Any, run: Run, now_ms: int) -> None:
        if not self.runs.succeed(connection, run, now_ms):
            raise LookupError

    def _fail(self, connection: Any, run: Run, now_ms: int) -> None:
        following = after_run("failed", _BACKOFF, tries_made=run.tries, now_ms=now_ms, jitter=0.0, reason="raced")
        self.runs.fail(connection, run, following, "raced", now_ms)


def race_by_turns(path: Path, *, seed: str, count: int, first: int = 0) -> Result:
    """So many races through one database, four workers taking turns in a drawn order."""
    result = Result()
    database = connect(f"sqlite:///{path}")
    clock = TurnedClock(START_MS)
    with contextlib.closing(database):
        prepare(database)
        app = App(fails_every=29)
        Worker(Access(database), app.registry, clock=clock).register()
        for start in range(first, first + count, WAVE):
            rng = random.Random(f"{seed}/{start}")
            races = [draw(rng, number) for number in range(start, min(start + WAVE, first + count))]
            _wave(database, app, result, races, rng, clock)
            judge(database, races, result)
    return result


def _wave(
    database: Database, app: App, result: Result, races: Sequence[Race], rng: random.Random, clock: TurnedClock
) -> None:
    inbox, hands = InboxStore("sqlite"), [Hand(app, result) for _ in range(4)]
    came = entries_of(races, rng, clock.now_ms())
    while came or any(hand.held for hand in hands) or _waiting(database):
        clock.advance(rng.choice((1, 20, 300)))
        if came and rng.random() < 0.3:
            size = rng.choice((1, 10, 60, 200))
            with database.transaction() as connection:
                inbox.put(connection, came[:size])
            came = came[size:]
        idle = 0
        for _ in range(6):
            hand, now_ms, dice = rng.choice(hands), clock.now_ms(), rng.random()
            if dice < 0.3:
                idle += not hand.take_entries(database, rng, now_ms)
            elif dice < 0.5:
                idle += not hand.take_walk(database, rng, now_ms)
            elif dice < 0.7 or not hand.held:
                idle += not hand.take_runs(database, rng, now_ms)
            elif dice < 0.71:
                hand.held.clear()  # it died with them; their leases will pass
            else:
                rng.shuffle(hand.held)
                for _ in range(rng.choice((1, 3, 20))):
                    if hand.held:
                        hand.execute(database, hand.held.pop(), now_ms)
        if idle >= 5 and not came:
            clock.advance(1_000)


def race_by_processes(url: str, *, seed: str, count: int, first: int = 0, processes: int = 4) -> Result:
    """So many races through one PostgreSQL, while as many real workers as asked for apply and call handlers, each in a
    process of its own; the events come in meanwhile.
    """
    result = Result()
    with contextlib.closing(connect(url)) as database, contextlib.ExitStack() as stack:
        prepare(database)
        # Known before anything comes: what arrives earlier than a handler is not told to it.
        Worker(Access(database), App().registry).register()
        command = [sys.executable, "-m", "tests.model.race_worker", url]
        workers = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(processes)
        ]
        for worker in workers:
            stack.callback(worker.terminate)
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"working\n"
        inbox = InboxStore(database.dialect)
        for start in range(first, first + count, WAVE):
            rng = random.Random(f"{seed}/{start}")
            races = [draw(rng, number) for number in range(start, min(start + WAVE, first + count))]
            came = entries_of(races, rng, time.time_ns() // 1_000_000)
            for at in range(0, len(came), 40):
                with database.transaction() as connection:
                    inbox.put(connection, came[at : at + 40])
                database.notify("inbox")
            _wait_until_idle(database, workers)
            with database.read() as connection:
                sql = "select coalesce(sum(attempt - uncounted - 1), 0) from hookline_runs"
                ((retries,),) = connection.execute(sql).fetchall()
            result.retries += int(retries)
            judge(database, races, result)
        for worker in workers:
            worker.communicate(timeout=60)
        result.wrong += [f"a worker ended with {worker.returncode}" for worker in workers if worker.returncode]
    return result


def _wait_until_idle(database: Database, workers: Sequence[subprocess.Popen[bytes]]) -> None:
    pause, until_s = threading.Event(), time.monotonic() + _IDLE_WITHIN_S
    while _waiting(database):
        assert all(worker.poll() is None for worker in workers), "a worker has ended"
        assert time.monotonic() < until_s, f"not everything was done within {_IDLE_WITHIN_S} s"
        pause.wait(0.02)


def _waiting(database: Database) -> bool:
    with database.read() as connection:
        ((count,),) = connection.execute(
            "select (select count(*) from hookline_inbox_queue) + (select count(*) from hookline_cascades)"
            " + count(*) from hookline_runs where state in ('pending', 'running')"
        ).fetchall()
    return bool(count)


# -- judging ---------------------------------------------------------------------------------------------------


class Model:
    """The pure rules over a set of events, in any order: what the mirror must show."""

    def __init__(self, races: Sequence[Race]) -> None:
        self.objects: dict[tuple[str, str], ObjectState] = {}
        self.edges: dict[tuple[str, str], tuple[EdgeState, str | None]] = {}
        for race in races:
            for body in race.events:
                seen = observe(Event.from_bytes(json.dumps(body).encode()), body["id"], START_MS)
                for one in seen.objects:
                    key = one.resource, one.key
                    self.objects[key] = join(self.objects.get(key), one).state
                if (edge := seen.edge) is not None:
                    known = self.edges.get(edge.keys, (None, None))[0]
                    self.edges[edge.keys] = (join_edge(known, edge.kind, edge.clock).state, edge.scope_id)

    def parents(self, resource: str, state: ObjectState) -> list[Parent]:
        ids = RESOURCES[resource].parent_ids(state.current)
        return [
            self.parent((name, id_))
            for (name, _), id_ in zip(RESOURCES[resource].parents, ids, strict=True)
            if id_ is not None and (name, id_) in self.objects
        ]

    def parent(self, key: tuple[str, str]) -> Parent:
        return as_parent(self.objects[key], self.parents(key[0], self.objects[key]))

    def live(self, resource: str) -> dict[str, ObjectState]:
        return {
            id_: state
            for (name, id_), state in self.objects.items()
            if name == resource and is_alive(state, self.parents(name, state))
        }

    def members(self) -> set[str]:
        found = set()
        for (group, user), (state, scope) in self.edges.items():
            keys = [("directory_group", group), ("directory_user", user), ("directory", scope or "")]
            if is_edge_alive(state, [self.parent(key) for key in keys if key in self.objects]):
                found.add(f"{group}/{user}")
        return found


def judge(database: Database, races: Sequence[Race], result: Result) -> None:
    """Compare tables, views, announcements and the app's own tables with the model, then forget the wave."""
    with database.read() as connection:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return found

        model, wrong = Model(races), result.wrong
        for name, resource in RESOURCES.items():
            truth = set(model.live(name))
            shown = {id_ for (id_,) in rows(f"select id from {resource.table}_live")}
            wrong += [f"{id_}: in the view {id_ in shown}, by the rules {id_ in truth}" for id_ in truth ^ shown]
        edge = EDGES["directory_membership"]
        members = {f"{group}/{user}" for group, user in rows(f"select group_id, user_id from {edge.table}_live")}
        wrong += [f"{pair}: a membership for one of rules and view" for pair in members ^ model.members()]
        told: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
        for seq, id_, kind, is_live in rows("select seq, id, kind, is_live from told order by place"):
            told[id_].append((seq, kind, is_live))
        users = model.live("directory_user")
        access, seats = dict(rows("select id, is_on from access")), dict(rows("select id, is_on from seats"))
        for id_ in users.keys() | access.keys():
            state = users.get(id_)
            is_silent = id_ not in told and state is not None and state.life == NEVER
            expected = state is not None and not is_silent and is_active(state.current, True)
            if bool(access.get(id_)) != expected:
                wrong.append(f"{id_}: access {access.get(id_)}, expected {expected}, told {told.get(id_)}")
        wrong += [
            f"{pair}: seat {seats.get(pair)}, told {told.get(pair)}"
            for pair in members | seats.keys()
            if bool(seats.get(pair)) != (pair in members)
        ]
        missed = rows(
            "select seq from hookline_changes where resource in ('directory_user', 'directory_membership')"
            " except select seq from told"
        )
        wrong += [f"change {seq} was never told" for (seq,) in missed]
        wrong += _misordered(told)
        known = {id_ for (id_,) in rows("select id from hookline_directory_users")}
        wrong += _breaches(races, access, known)
        result.races += len(races)
        result.events += sum(len(race.events) for race in races)
        result.changes += sum(len(changes) for changes in told.values())
        result.on += sum(access.values())
    _forget(database)


def _misordered(told: Mapping[str, Sequence[tuple[int, str, int]]]) -> Iterator[str]:
    """Every flip once: of one object in feed order, no gain of what was held, no loss twice."""
    for id_, changes in told.items():
        seqs = [seq for seq, _, _ in changes]
        if seqs != sorted(set(seqs)):
            yield f"{id_}: told in the order {seqs}"
        held: int | None = None
        for _, kind, is_live in changes:
            if held is not None and is_live == held and kind not in ("created", "updated"):
                yield f"{id_}: {kind} when it was {held}: {changes}"
            held = is_live


def _breaches(races: Sequence[Race], access: Mapping[str, int], known: set[str]) -> Iterator[str]:
    """The rule that knows no rules: latest words by clock, an end beats its own instant."""
    for race in races:
        heard: dict[str, Clock] = defaultdict(lambda: NEVER)
        dead: Clock = NEVER
        died: dict[str, Clock] = defaultdict(lambda: NEVER)
        mentioned: set[str] = set()
        for event in race.events:
            clock = event["created_at"], event["id"]
            at = (int(event["id"][-3:]), clock[1])
            type_, data = event["event"], event["data"]
            if type_ in ("dsync.user.created", "dsync.user.updated"):
                heard[data["id"]] = max(heard[data["id"]], at)
            elif type_ == "dsync.user.deleted":
                died[data["id"]] = max(died[data["id"]], at)
            elif type_ in ("dsync.deleted", "organization.deleted"):
                dead = max(dead, at)
            elif type_ == "dsync.group.user_added":
                mentioned.add(data["user"]["id"])
                if died[data["user"]["id"]] == NEVER:
                    heard[data["user"]["id"]] = max(heard[data["user"]["id"]], at)
        for id_ in race.users:
            if access.get(id_) and heard[id_] <= max(died[id_], dead):
                yield f"{id_} of race {race.number} ({race.end}) has access after its end"
            if id_ in known and heard[id_] == NEVER and died[id_] == NEVER and id_ not in mentioned:
                yield f"{id_} of race {race.number}: a row nobody but a removal speaks of"


def _forget(database: Database) -> None:
    tables = [resource.table for resource in RESOURCES.values()] + [edge.table for edge in EDGES.values()]
    with database.transaction() as connection:
        for table in ("access", "seats", "told", "hookline_runs", "hookline_changes", *tables):
            connection.execute(f"delete from {table}")
        for table in ("hookline_inbox_outcomes", "hookline_inbox"):
            connection.execute(f"delete from {table}")
