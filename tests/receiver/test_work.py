"""The worker: batches, poison, crashes, idling, stopping, several at once."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from hookline.errors import StorageUnavailable
from hookline.receiver import mirror, mirror_store, resources, walking, work
from hookline.receiver.handlers import Registry
from hookline.receiver.mirror_queries import MirrorQueries
from hookline.receiver.queries import InboxQueries
from hookline.receiver.resources import Observed
from hookline.receiver.work import Access, Worker
from hookline.rules.merge import ObjectState, proof_of
from hookline.storage import Connection, Verbs
from hookline.wire.event import Event

from ..conftest import DATABASES
from .company import Company, Desk, say, wait_for, working

RUNS_ON = DATABASES

T = TypeVar("T")


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs, and the transaction is gone."""


class Poison:
    """Makes applying one event fail, or end the process, and counts how often that was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, id_: str, error: type[BaseException]) -> None:
        self.tries = 0

        def observe(event: Event, *rest: Any) -> Observed:
            if event.id == id_:
                self.tries += 1
                raise error
            return whole(event, *rest)

        whole = resources.observe
        monkeypatch.setattr(mirror, "observe", observe)


def waiting(desk: Desk) -> int:
    count: int = desk.one("select count(*) from hookline_inbox_queue")
    return count


def test_entries_the_door_marked_are_set_aside(desk: Desk, company: Company) -> None:
    """A body that is no event is dead with the door's reason, and what came with it is applied."""
    desk.put(b"not json", reason="not_json")
    desk.put(b"[]", reason="not_event")
    desk.take(company.user("created"))

    rows = desk.rows("select outcome, reason from hookline_inbox_outcomes order by seq")
    assert rows == [("dead", "not_json"), ("dead", "not_event"), ("applied", None)]


def test_a_body_only_the_decoder_can_refuse_is_set_aside(desk: Desk, company: Company) -> None:
    """What the door's glance let through and the decoder refuses is dead with its reason."""
    number = b'{"id": "event_1", "event": "dsync.user.created", "data": {"n": ' + b"9" * 5_000 + b"}}"
    desk.take(number, company.user("created"))

    assert desk.rows("select outcome, reason from hookline_inbox_outcomes order by seq") == [
        ("dead", "not_json"),
        ("applied", None),
    ]


def test_a_batch_is_one_transaction_of_100(desk: Desk, company: Company) -> None:
    """A step takes a hundred entries at most; a drain takes them all."""
    desk.worker.register()
    desk.put(*[company.user("created", f"user_{number}") for number in range(250)])
    desk.worker.step()
    assert waiting(desk) == 150

    desk.worker.drain()
    assert (waiting(desk), len(desk.ids("directory_users"))) == (0, 250)


def test_a_poison_entry_is_isolated(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry whose applying raises is tried three times and set aside with a reason; the others go on at once."""
    users = [company.user("created", f"user_{number}") for number in range(10)]
    poison = Poison(monkeypatch, users[4]["id"], ZeroDivisionError)
    desk.take(*users)
    assert len(desk.ids("directory_users")) == 9
    assert waiting(desk) == 1

    for _ in range(3):
        desk.clock.advance(60_000)
        desk.worker.drain()

    ((seq, reason),) = desk.rows("select seq, reason from hookline_inbox_outcomes where outcome = 'dead'")
    assert seq == 5
    assert reason.startswith("ZeroDivisionError at observe")
    assert waiting(desk) == 0
    assert poison.tries <= 6
    assert desk.outcomes().count("applied") == 9
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (told.event_id, told.outcome) == (users[4]["id"], "dead")  # type: ignore[attr-defined]


def test_an_entry_that_kills_its_worker_is_found(desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that die on one entry come back, find it by the count outside its transaction, and go on without it."""
    users = [company.user("created", f"user_{number:03d}") for number in range(130)]
    poison = Poison(monkeypatch, users[120]["id"], Killed)
    desk.put(*users)
    deaths = 0
    for _ in range(10):
        try:
            desk.new_worker().drain()
        except Killed:
            deaths += 1
        desk.clock.advance(60_000)

    assert deaths == poison.tries == 4
    assert desk.rows("select seq, outcome from hookline_inbox_outcomes where outcome <> 'applied'") == [(121, "dead")]
    assert len(desk.ids("directory_users")) == 129


def test_an_entry_that_another_worker_tries_is_left_to_it(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that start together find each other's marks: no try of a worker that lives is taken for its end."""
    users = [company.user("created", f"user_{number}") for number in range(3)]
    desk.put(*users)
    with monkeypatch.context() as patch:
        Poison(patch, users[1]["id"], Killed)
        for _ in range(2):  # the first leaves marks; the second is at the entry on its own, and stays there
            with pytest.raises(Killed):
                desk.new_worker().drain()
    for _ in range(5):
        desk.new_worker().drain()
    assert (desk.ids("directory_users"), waiting(desk)) == (["user_0", "user_2"], 1)

    desk.clock.advance(60_000)
    desk.new_worker().drain()
    assert desk.outcomes() == ["applied"] * 3


def test_a_storage_that_is_away_is_no_try(desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that is tried on its own may be so as often as it takes the storage to come back."""
    [user] = [company.user("created")]
    desk.put(user)
    with monkeypatch.context() as patch:
        Poison(patch, user["id"], Killed)
        for _ in range(2):
            with pytest.raises(Killed):
                desk.new_worker().drain()
    desk.clock.advance(60_000)
    worker = desk.new_worker()
    with monkeypatch.context() as patch:
        away = Poison(patch, user["id"], StorageUnavailable)
        for _ in range(6):
            with pytest.raises(StorageUnavailable):
                worker.step()
    worker.drain()

    assert away.tries == 6
    assert desk.outcomes() == ["applied"]


def test_a_try_is_not_taken_back_from_another_worker(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a worker to which the storage was away for longer than its lease, the entry is another's meanwhile."""
    [user] = [company.user("created")]
    desk.put(user)
    worker = desk.new_worker()
    for error, advance_ms in ((Killed, 0), (StorageUnavailable, 60_000), (Killed, 0)):
        with monkeypatch.context() as patch:
            Poison(patch, user["id"], error)
            with pytest.raises(error):
                (worker if error is StorageUnavailable else desk.new_worker()).step()
        desk.clock.advance(advance_ms)
    tried = desk.rows("select attempt, due_ms from hookline_inbox_queue")

    worker.step()
    assert desk.rows("select attempt, due_ms from hookline_inbox_queue") == tried == [(3, desk.clock.now_ms() + 60_000)]


def test_a_crash_in_a_batch_leaves_nothing_half_done(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claim, rows, changes, runs and outcomes are one commit: all of them or none."""
    desk.hooks.on("*", name="h")(lambda event, tx: None)
    desk.worker.register()
    users = [company.user("created", f"user_{number}") for number in range(3)]
    desk.put(*users)

    def killed(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(mirror_store.MirrorStore, "note", killed)
    with pytest.raises(Killed):
        desk.worker.drain()
    tables = ("directory_users", "changes", "runs", "inbox_outcomes")
    assert [desk.one(f"select count(*) from hookline_{table}") for table in tables] == [0] * 4
    assert waiting(desk) == 3

    monkeypatch.undo()
    desk.new_worker().drain()
    assert [desk.one(f"select count(*) from hookline_{table}") for table in tables] == [3] * 4


def test_a_sleeping_handler_delays_neither_door_nor_mirror(desk: Desk, company: Company) -> None:
    """While a handler waits before its first write, events are stored and applied, and other handlers run."""
    with desk.database.transaction() as connection:
        connection.execute("create table told (id text)")
    asleep, go_on = threading.Event(), threading.Event()
    others: list[str] = []

    def sleeps(event: Event, tx: Any) -> None:
        asleep.set()
        go_on.wait(10)
        say(tx, "insert into told values (?)", event.id)

    desk.hooks.on("dsync.user.*", name="sleeps")(sleeps)
    desk.hooks.on("organization.*", name="other")(lambda event, tx: others.append(event.type))
    worker = desk.new_worker(concurrency=2)
    with working(worker):
        worker.register()
        desk.put(*[company.user("created", f"user_{number}") for number in range(5)])
        assert asleep.wait(5)
        desk.put(company.organization("created"))
        wait_for(lambda: desk.ids("organizations") == ["org_1"])
        wait_for(lambda: others == ["organization.created"])
        assert desk.one("select count(*) from told") == 0
        go_on.set()
        wait_for(lambda: desk.one("select count(*) from told") == 5)


def test_stopping_lets_a_run_finish(desk: Desk, company: Company) -> None:
    """A stop in the middle of a run waits for it: its writes and its mark are there."""
    asleep, go_on = threading.Event(), threading.Event()

    def sleeps(event: Event, tx: Any) -> None:
        asleep.set()
        go_on.wait(10)

    desk.hooks.on("*", name="sleeps")(sleeps)
    worker = desk.new_worker()
    worker.register()
    desk.put(company.user("created"))
    with working(worker):
        assert asleep.wait(5)
        threading.Timer(0.05, go_on.set).start()

    assert desk.rows("select state from hookline_runs") == [("succeeded",)]


class CountingAccess(Access):
    """Counts how often the database is gone to, and can be told that it is away."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.database)
        self.visits = 0
        self.is_away = False

    def _visit(self) -> None:
        self.visits += 1
        if self.is_away:
            raise StorageUnavailable("it is away")

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        self._visit()
        with super().read() as connection:
            yield connection

    def run(self, work: Callable[[Connection], T]) -> T:
        self._visit()
        return super().run(work)


def no_wake_ups(channel: str, callback: Callable[[], None]) -> Callable[[], None]:
    """In place of `Database.subscribe`: nobody is ever told."""
    return lambda: None


def test_each_event_has_a_line_of_its_own(desk: Desk, company: Company, caplog: pytest.LogCaptureFixture) -> None:
    """What became of it, as fields: ids, types and numbers. One that is no event is a warning."""
    first, changed = company.user("created"), company.user("updated", first_name="Grace")
    with caplog.at_level(logging.DEBUG, "hookline.worker"):
        desk.put(first, changed, company.event("x.y", {}))
        desk.clock.advance(1_500)
        desk.worker.drain()
        desk.take({**first, "id": "event_other"})
    told = [
        (record.levelname, record.event_id, record.type, record.outcome, record.lag_ms, record.source)  # type: ignore[attr-defined]
        for record in caplog.records
        if hasattr(record, "outcome")
    ]
    assert told == [
        ("DEBUG", "event_000001", "dsync.user.created", "applied", 1_500, "default"),
        ("DEBUG", "event_000002", "dsync.user.updated", "applied", 1_500, "default"),
        ("DEBUG", "event_000003", "x.y", "ignored", 1_500, "default"),
        ("DEBUG", "event_other", "dsync.user.created", "stale", 0, "default"),
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO, "hookline.worker"):
        desk.take(company.user("updated"))
        desk.take(b"no json", reason="not_json")
    (dead,) = [record for record in caplog.records if hasattr(record, "outcome")]
    assert (dead.levelname, dead.reason, dead.type) == ("WARNING", "not_json", None)  # type: ignore[attr-defined]
    assert len(dead.event_id) == 16  # type: ignore[attr-defined]  # the beginning of its digest, and no more


def test_an_idle_worker_asks_once_in_five_seconds(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At rest a worker with handlers goes to the database once per 5 s, for one statement."""
    desk.hooks.on("*", name="h")(lambda event, tx: None)
    desk.take(company.user("created"))
    monkeypatch.setattr(desk.database, "subscribe", no_wake_ups)
    access = CountingAccess(desk)
    worker = Worker(access, desk.hooks, clock=desk.clock)
    with working(worker):
        wait_for(lambda: desk.clock.next_due_ms() == desk.clock.now_ms() + 5_000)
        for _ in range(5):
            before = access.visits
            desk.clock.advance(5_000)
            wait_for(lambda: access.visits > before)  # noqa: B023
            wait_for(lambda: desk.clock.next_due_ms() == desk.clock.now_ms() + 5_000)
            assert access.visits == before + 1


def test_an_idle_worker_finds_work_without_being_woken(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every wake-up lost, new entries are found by the timer."""
    worker = desk.new_worker(Registry())
    monkeypatch.setattr(desk.database, "subscribe", no_wake_ups)
    with working(worker):
        wait_for(lambda: desk.clock.next_due_ms() is not None)
        desk.put(company.user("created"))
        desk.clock.advance(round(work.IDLE_S * 1000))
        wait_for(lambda: desk.ids("directory_users") == ["user_1"])


def test_a_worker_outlives_its_database_being_away(desk: Desk, company: Company) -> None:
    """While the database cannot be reached the worker tries on, and works the backlog off when it is back."""
    access = CountingAccess(desk)
    worker = Worker(access, clock=desk.clock)
    access.is_away = True
    with working(worker):
        for _ in range(3):
            # Turned earlier, it would be from the later time that the worker counts how long to wait.
            wait_for(lambda: desk.clock.next_due_ms() is not None)
            before = access.visits
            desk.clock.advance(10_000)
            wait_for(lambda: access.visits > before)  # noqa: B023
        wait_for(lambda: desk.clock.next_due_ms() is not None)
        desk.put(company.user("created"))
        access.is_away = False
        desk.clock.advance(10_000)
        wait_for(lambda: desk.ids("directory_users") == ["user_1"])


def test_workers_side_by_side_do_everything_once(desk: Desk, company: Company) -> None:
    """Three workers on one file: every entry is applied once and every run runs once."""
    heard: Counter[str] = Counter()
    guard = threading.Lock()

    def hear(event: Event, tx: Any) -> None:
        with guard:
            heard[event.id or ""] += 1

    desk.hooks.on("*", name="h")(hear)
    desk.worker.register()
    events = [company.user("created", f"user_{number}") for number in range(60)]
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(working(desk.new_worker(concurrency=2)))
        for start in range(0, 60, 7):
            desk.put(*events[start : start + 7])
        wait_for(lambda: desk.one("select count(*) from hookline_runs where state = 'succeeded'") == 60)

    assert heard == Counter({event["id"]: 1 for event in events})
    assert desk.outcomes() == ["applied"] * 60
    assert desk.one("select max(attempt) from hookline_runs") == 1


def test_the_apps_own_transactions_do(desk: Desk, company: Company) -> None:
    """With transactions= everything, apply, claim, handler and mark, goes through the app's own access."""
    begun: list[object] = []

    class Lent:
        def __init__(self, dbapi: Any) -> None:
            self.dbapi = dbapi
            self.app = "the app's session"

    class Own:
        @contextlib.contextmanager
        def begin(self) -> Iterator[Lent]:
            with desk.database.transaction() as connection:
                begun.append(connection)
                yield Lent(connection)

    given: list[Any] = []
    hooks = Registry()
    hooks.on("*", name="h")(lambda event, tx: given.append(tx))
    worker = Worker(Access(transactions=Own()), hooks, clock=desk.clock)
    worker.register()
    desk.put(company.user("created"))
    worker.drain()

    assert given == ["the app's session"]
    assert desk.rows("select state from hookline_runs") == [("succeeded",)]
    assert begun


def test_a_clock_that_goes_back_strands_no_entry(desk: Desk, company: Company) -> None:
    """What was kept while the clock stood a year ahead is applied now, not in a year; a retry keeps its wait."""
    desk.clock.advance(365 * 86_400_000)
    desk.put(company.user("created"))
    desk.clock.advance(-365 * 86_400_000)
    desk.worker.drain()
    assert desk.one("select count(*) from hookline_directory_users_live") == 1

    (seq,) = desk.put(company.user("updated"))
    with desk.database.transaction() as connection:
        say(connection, "update hookline_inbox_queue set due_ms = ?", desk.clock.now_ms() + 60_000)
    desk.worker.drain()

    assert desk.rows("select seq from hookline_inbox_queue") == [(seq,)]


@pytest.mark.parametrize("first", [True, False], ids=["the first walk", "a later one"])
def test_a_walk_that_fails_waits_alone(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch, first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Others' walks, entries and runs go on; it is counted and listed with its reason, tried less and less often, never
    given up; once it can be done, what it comes to is told.
    """
    told: list[tuple[str, str]] = []
    desk.hooks.on_change("directory_user", name="h")(lambda change, tx: told.append((change.kind, change.id)))
    real = mirror._next_children

    def failing(store: Any, connection: Any, cascade: mirror_store.Cascade, limit: int) -> Any:
        if cascade.object_id == "bad":
            raise ZeroDivisionError
        return real(store, connection, cascade, limit)

    monkeypatch.setattr(mirror, "_next_children", failing)
    directories = ("bad", "good") if first else ("good", "bad")
    desk.take(*(company.directory("activated", id_) for id_ in directories))
    desk.take(*(company.user("created", f"user_{id_}", directory_id=id_) for id_ in directories))
    told.clear()

    desk.take(*(company.directory("deleted", id_) for id_ in directories))
    desk.take(company.user("created", "user_new", directory_id="new"))

    assert told == [("hidden", "user_good"), ("created", "user_new")]
    assert desk.ids("directory_users") == ["user_new"]  # the view is right at once
    for tries, wait_ms in enumerate((1_000, 10_000, 100_000, 1_000_000, 3_600_000, 3_600_000), start=1):
        with desk.database.read() as connection:
            (walk,) = MirrorQueries(Verbs("hookline.receiver", desk.database.dialect)).walks(connection)
            assert (
                InboxQueries(Verbs("hookline.receiver", desk.database.dialect)).backlog(connection).failing_walks == 1
            )
        assert (walk.id, walk.child, walk.tries) == ("bad", None, tries)
        assert walk.due_ms - desk.clock.now_ms() == wait_ms
        assert walk.error is not None
        assert walk.error.startswith("ZeroDivisionError")
        desk.clock.advance(wait_ms)
        desk.worker.drain()
    assert [record.levelname for record in caplog.records if "hangs on" in record.message].count("ERROR") == 1

    monkeypatch.undo()
    desk.worker.drain()
    assert told[-1] == ("created", "user_new")  # an hour is not over
    if first:
        assert desk.worker.retry_walks() == 1
        desk.worker.drain()
    else:
        desk.new_worker().drain()
    assert told[-1] == ("hidden", "user_bad")
    assert desk.rows("select * from hookline_cascades") == []


@pytest.mark.parametrize("bad", [{3}, {0, 7, 299}, set(range(300))], ids=["one", "first and last", "all"])
def test_a_child_that_a_walk_fails_on_waits_alone(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch, bad: set[int]
) -> None:
    """The children behind it are told at once, itself when it can be. Where too many fail the walk waits, untold."""
    told: list[str] = []
    desk.hooks.on_change("directory_user", name="h")(lambda change, tx: told.append(change.id))
    users = [f"user_{number:03d}" for number in range(300)]
    desk.take(company.directory("activated"), *(company.user("created", id_) for id_ in users))
    told.clear()
    bad_ids = {users[number] for number in bad}

    def failing(state: ObjectState) -> tuple[int, str]:
        if state.key in bad_ids:
            raise ZeroDivisionError
        return proof_of(state)

    monkeypatch.setattr(mirror, "proof_of", failing)
    desk.take(company.directory("deleted"))

    assert sorted(told) == [id_ for id_ in users if id_ not in bad_ids]
    with desk.database.read() as connection:
        walks = MirrorQueries(Verbs("hookline.receiver", desk.database.dialect)).walks(connection)
    apart = sorted(json.loads(walk.child)[1] for walk in walks if walk.child is not None)
    assert apart == sorted(bad_ids)[: walking.MOST_SET_APART]
    assert len(walks) == len(apart) + (len(bad_ids) > len(apart))
    assert {walk.tries for walk in walks} == {1}

    monkeypatch.undo()
    desk.clock.advance(1_000)
    desk.worker.drain()
    assert sorted(told) == users
    assert desk.rows("select * from hookline_cascades") == []


def test_what_kills_and_what_fails_on_one_walk_are_both_found(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two children raise and two kill: careful walking goes on behind each of them."""
    told: list[str] = []
    desk.hooks.on_change("directory_user", name="h")(lambda change, tx: told.append(change.id))
    users = [f"user_{number:03d}" for number in range(300)]
    desk.take(company.directory("activated"), *(company.user("created", id_) for id_ in users))
    told.clear()
    deadly, failing = {users[40], users[200]}, {users[10], users[41]}
    limits: list[object] = []
    real = mirror.walk

    def bad(state: ObjectState) -> tuple[int, str]:
        if state.key in deadly:
            raise Killed
        if state.key in failing:
            raise ZeroDivisionError
        return proof_of(state)

    def watched(*arguments: Any, **options: Any) -> Any:
        limits.append(options.get("limit", mirror.WALKED_AT_ONCE))
        return real(*arguments, **options)

    monkeypatch.setattr(mirror, "proof_of", bad)
    monkeypatch.setattr(walking, "walk", watched)
    desk.put(company.directory("deleted"))
    deaths = 0
    for _ in range(30):
        try:
            desk.new_worker().drain()
            break
        except Killed:
            deaths += 1

    assert sorted(told) == [id_ for id_ in users if id_ not in deadly | failing]
    assert deaths <= 2 * (walking.DEATHS + 1)
    assert all(isinstance(limit, int) and 1 <= limit <= mirror.WALKED_AT_ONCE for limit in limits)
    with desk.database.read() as connection:
        walks = MirrorQueries(Verbs("hookline.receiver", desk.database.dialect)).walks(connection)
    assert {json.loads(walk.child or "[]")[1] for walk in walks} == deadly | failing

    monkeypatch.undo()
    desk.clock.advance(3_600_000)
    desk.new_worker().drain()
    assert sorted(told) == users


@pytest.mark.parametrize(("bad", "died"), [(0, 4), (250, 5), (299, 5)], ids=["first", "late", "last"])
def test_a_child_that_ends_its_worker_on_a_walk_is_found(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch, bad: int, died: int
) -> None:
    """Workers that die on it come back and walk in smaller parts, until it waits alone: that costs one at each try.
    What the first of them had not marked, since a part before it went well, costs one more.
    """
    told: list[str] = []
    desk.hooks.on_change("directory_user", name="h")(lambda change, tx: told.append(change.id))
    users = [f"user_{number:03d}" for number in range(300)]
    desk.take(company.directory("activated"), *(company.user("created", id_) for id_ in users))
    told.clear()

    def deadly(state: ObjectState) -> tuple[int, str]:
        if state.key == users[bad]:
            raise Killed
        return proof_of(state)

    def deaths() -> int:
        for count in range(30):
            try:
                desk.new_worker().drain()
            except Killed:
                continue
            return count
        raise AssertionError("no end of it")

    monkeypatch.setattr(mirror, "proof_of", deadly)
    desk.put(company.directory("deleted"))
    assert deaths() == died
    desk.clock.advance(1_000)
    assert deaths() == 1

    assert sorted(told) == [id_ for id_ in users if id_ != users[bad]]
    with desk.database.read() as connection:
        (walk,) = MirrorQueries(Verbs("hookline.receiver", desk.database.dialect)).walks(connection)
    assert (json.loads(walk.child or "[]")[1:], walk.error) == ([users[bad]], "walking on ended the worker")
    assert walk.due_ms == desk.clock.now_ms() + 10_000
    desk.take(company.directory("activated", "another"), company.user("created", "user_new", directory_id="another"))
    assert told[-1] == "user_new"
    desk.clock.advance(10_000)
    assert deaths() == 1

    monkeypatch.undo()
    desk.clock.advance(100_000)
    desk.new_worker().drain()
    assert told[-1] == users[bad]
    assert desk.rows("select * from hookline_cascades") == []


@pytest.mark.parametrize("ahead_ms", [365 * 86_400_000, 2 * 3_600_000], ids=["a year", "two hours"])
def test_a_clock_that_goes_back_strands_no_run(desk: Desk, company: Company, ahead_ms: int) -> None:
    """Runs, leases and pauses made while the clock stood ahead end now, not then: under the worker that was there, and
    under one that starts later. A retry keeps its wait.
    """
    is_down = True

    def handler(event: Event, tx: Any) -> None:
        if is_down:
            raise ConnectionError

    desk.hooks.on("*", name="h")(handler)
    desk.clock.advance(ahead_ms)
    desk.take(company.user("created"), company.user("created", "user_2"))
    desk.clock.advance(-ahead_ms)
    with desk.database.transaction() as connection:
        leased_ms = desk.clock.now_ms() + ahead_ms + 60_000
        say(
            connection, "update hookline_runs set state = 'running', leased_until_ms = ? where inbox_seq = 2", leased_ms
        )
        say(connection, "update hookline_handlers set paused_reason = 'x', probe_ms = ?", leased_ms)

    desk.worker.drain()
    assert desk.rows(
        "select attempt, case when due_ms > ? then 1 else 0 end from hookline_runs order by inbox_seq",
        desk.clock.now_ms(),
    ) == [
        (2, 1),  # tried again, and waits as ever
        (1, 1),
    ]
    desk.clock.advance(61_000)
    desk.worker.drain()
    assert [state for (state,) in desk.rows("select state from hookline_runs")] == ["pending"] * 2  # the lease is over

    is_down = False
    with desk.database.transaction() as connection:
        connection.execute("update hookline_handlers set paused_reason = null, probe_ms = null")
        say(connection, "update hookline_runs set due_ms = ?", leased_ms)
    desk.new_worker().drain()
    assert desk.rows("select distinct state from hookline_runs") == [("succeeded",)]
