"""Handler runs: one transaction each, in order per object, tried again, set aside as dead letters."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hookline.errors import OutcomeUnknown, StorageUnavailable, TransactionMisuse
from hookline.receiver.handlers import Change, Registry
from hookline.receiver.queries import InboxQueries
from hookline.receiver.run_store import RunStore
from hookline.rules.schedule import Backoff
from hookline.storage import Verbs
from hookline.wire.event import Event

from ..conftest import DATABASES
from .company import Company, Desk, say, wait_for

RUNS_ON = DATABASES

SECRET = "ada.okafor@private.example"


def runs(desk: Desk) -> list[tuple[str, str, int]]:
    """(handler, state, tries) in the order of their making."""
    return [
        (handler, state, attempt)
        for handler, state, attempt in desk.rows(
            "select handler, state, attempt - uncounted from hookline_runs order by row_id"
        )
    ]


def make_table(desk: Desk) -> None:
    with desk.database.transaction() as connection:
        number = "integer" if desk.database.dialect == "sqlite" else "bigserial"
        connection.execute(f"create table told (seq {number} primary key, id text, word text)")


def told(desk: Desk) -> list[tuple[str, str]]:
    return [(id_, word) for id_, word in desk.rows("select id, word from told order by seq")]


class Failing:
    """A handler that writes, and then fails as often as it is told to."""

    def __init__(self, times: int = 0, error: BaseException | None = None, only: str | None = None) -> None:
        self.left = times
        self.error = error or ValueError(SECRET)
        self.only = only
        self.calls = 0

    def __call__(self, what: Event | Change, tx: Any) -> None:
        self.calls += 1
        id_ = what.id or ""
        word = what.kind if isinstance(what, Change) else what.type
        say(tx, "insert into told (id, word) values (?, ?)", id_, word)
        if self.left and self.only in (None, id_):
            self.left -= 1
            raise self.error


def test_a_fact_handler_hears_every_event_once(desk: Desk, company: Company) -> None:
    """Whatever became of it in the mirror, each event is told once; repeats are not."""
    make_table(desk)
    desk.hooks.on("dsync.*", name="facts")(Failing())
    created, updated = company.user("created"), company.user("updated")
    desk.take(updated, created, created, company.organization("created"))
    desk.take(updated)

    assert told(desk) == [(updated["id"], "dsync.user.updated"), (created["id"], "dsync.user.created")]
    assert runs(desk) == [("facts", "succeeded", 1)] * 2


def test_a_change_handler_sees_the_change(desk: Desk, company: Company) -> None:
    """A change has its place, kind, object, both states and its cause."""
    seen: list[Change] = []
    desk.hooks.on_change("directory_user", name="changes")(lambda change, tx: seen.append(change))
    created, deleted = company.user("created"), company.user("deleted")
    desk.take(created, deleted)

    assert [(change.kind, change.id, change.is_live, change.cause) for change in seen] == [
        ("created", "user_1", True, created["id"]),
        ("deleted", "user_1", False, deleted["id"]),
    ]
    assert seen[0].seq < seen[1].seq
    assert (seen[0].before, seen[1].after) == (None, None)
    assert seen[0].after == seen[1].before
    assert seen[0].after is not None
    assert seen[0].after["email"] == "user_1@acme.example"


def test_memberships_have_changes_too(desk: Desk, company: Company) -> None:
    """on_change('directory_membership') hears of added, hidden and removed memberships with the ids of both ends."""
    seen: list[tuple[str, Any]] = []
    desk.hooks.on_change("directory_membership", name="m")(lambda change, tx: seen.append((change.kind, change.after)))
    desk.take(company.member("added"), company.member("removed"))

    ids = {"group_id": "group_1", "user_id": "user_1", "directory_id": "dir_1"}
    assert seen == [("added", ids), ("removed", None)]


def test_a_new_handler_starts_at_now(desk: Desk, company: Company) -> None:
    """What was applied before a handler was registered is not told to it; what was still waiting is."""
    make_table(desk)
    early, waiting, late = (company.user("created", f"user_{number}") for number in range(3))
    desk.take(early)
    desk.put(waiting)
    hooks = Registry()
    hooks.on("*", name="new")(Failing())
    hooks.on_change("directory_user", name="new changes")(Failing())
    worker = desk.new_worker(hooks)
    worker.register()
    worker.drain()
    desk.put(late)
    worker.drain()

    assert [id_ for id_, _ in told(desk)] == [waiting["id"], "user_1", late["id"], "user_2"]


def test_a_new_handler_is_not_told_of_an_old_entry_applied_again(desk: Desk, company: Company) -> None:
    """Where an old entry is put into the queue once more, handlers hear of it that were there when it first came."""
    make_table(desk)
    (seq,) = desk.take(company.user("created", "user_1"))
    desk.take(company.user("created", "user_2"))
    desk.hooks.on("*", name="new")(Failing())
    worker = desk.new_worker()
    worker.register()
    with desk.database.transaction() as connection:
        say(connection, "insert into hookline_inbox_queue (seq, due_ms) values (?, 0)", seq)
    worker.drain()

    assert told(desk) == []
    assert desk.outcomes() == ["applied", "applied"]


def test_a_known_handler_goes_on_where_it_was(desk: Desk, company: Company) -> None:
    """What came while its process was away is told to a handler when it is back, even if others applied it."""
    make_table(desk)
    desk.hooks.on("*", name="known")(Failing())
    desk.worker.register()
    away = company.user("created")
    desk.put(away)
    desk.new_worker(Registry()).drain()
    assert runs(desk) == [("known", "pending", 0)]

    desk.new_worker().drain()

    assert told(desk) == [(away["id"], "dsync.user.created")]


def test_a_failed_run_leaves_nothing_and_comes_again(desk: Desk, company: Company) -> None:
    """The writes of a handler that raises are undone; after the backoff it runs again and they hold."""
    make_table(desk)
    desk.hooks.on("*", name="h")(Failing(times=1))
    event = company.user("created")
    desk.take(event)
    assert told(desk) == []
    assert runs(desk) == [("h", "pending", 1)]

    desk.clock.advance(1_999)
    desk.worker.drain()
    assert runs(desk) == [("h", "pending", 1)]
    desk.clock.advance(1)
    desk.worker.drain()

    assert told(desk) == [(event["id"], "dsync.user.created")]
    assert runs(desk) == [("h", "succeeded", 2)]


def test_a_failing_run_holds_only_its_own_object(desk: Desk, company: Company) -> None:
    """Later changes of the same object wait for it, in feed order; other objects and other handlers go on."""
    make_table(desk)
    other: list[str] = []
    desk.hooks.on_change("directory_user", name="held")(Failing(times=3, only="user_1"))
    desk.hooks.on_change("directory_user", name="free")(lambda change, tx: other.append(f"{change.id} {change.kind}"))
    desk.take(company.user("created", "user_1"), company.user("created", "user_2"))
    desk.take(company.user("updated", "user_1", first_name="Ida"), company.user("updated", "user_2", first_name="Ida"))
    desk.take(company.user("deleted", "user_1"))

    assert told(desk) == [("user_2", "created"), ("user_2", "updated")]
    ((due_ms, behind),) = desk.rows(
        "select min(due_ms), max(due_ms) from hookline_runs"
        " where handler = 'held' and state = 'pending' and row_id <= 5"
    )
    assert due_ms == behind == desk.clock.now_ms() + 2_000, "claims need not pass over what waits"
    assert other == ["user_1 created", "user_2 created", "user_1 updated", "user_2 updated", "user_1 deleted"]
    for _ in range(3):
        desk.clock.advance(60_000)
        desk.worker.drain()
    assert told(desk)[2:] == [("user_1", "created"), ("user_1", "updated"), ("user_1", "deleted")]


def test_facts_do_not_wait_for_each_other(desk: Desk, company: Company) -> None:
    """A failing fact holds nothing up, not even of the same object."""
    make_table(desk)
    desk.hooks.on("dsync.user.*", name="facts")(Failing(times=1))
    desk.take(company.user("created"), company.user("updated"))

    assert [word for _, word in told(desk)] == ["dsync.user.updated"]


def test_a_run_that_keeps_failing_becomes_a_dead_letter(desk: Desk, company: Company) -> None:
    """After its last try a run is failed, with a traceback that holds nothing personal; what waited goes on."""
    make_table(desk)
    handler = Failing(times=3, only="user_1")
    desk.hooks.on_change("directory_user", name="h")(handler)
    desk._worker = desk.new_worker(backoff=Backoff(first_s=1, factor=2, tries=3))
    desk._worker.register()
    desk.take(company.user("created", email=SECRET), company.user("updated", first_name="Ida"))
    for _ in range(4):
        desk.clock.advance(10_000)
        desk.worker.drain()

    assert runs(desk) == [("h", "failed", 3), ("h", "succeeded", 1)]
    error = desk.one("select error from hookline_runs where state = 'failed'")
    assert error.startswith("Traceback (most recent call last):")
    assert "in __call__" in error
    assert error.endswith("ValueError\n")
    assert SECRET not in error
    assert told(desk) == [("user_1", "updated")]


def test_a_dead_letter_can_be_retried_or_skipped(desk: Desk, company: Company) -> None:
    """A person's retry gives a run all its tries back; a skip cancels it; neither applies to what has succeeded."""
    make_table(desk)
    handler = Failing(times=2)
    desk.hooks.on("*", name="h")(handler)
    desk._worker = desk.new_worker(backoff=Backoff(tries=1))
    desk._worker.register()
    desk.take(company.user("created", "user_1"), company.user("created", "user_2"))
    assert runs(desk) == [("h", "failed", 1)] * 2
    first, second = (row_id for (row_id,) in desk.rows("select row_id from hookline_runs order by row_id"))

    assert desk.worker.retry_run(first)
    assert desk.worker.skip_run(second)
    desk.worker.drain()

    assert runs(desk) == [("h", "succeeded", 1), ("h", "canceled", 1)]
    assert not desk.worker.retry_run(first)
    assert not desk.worker.skip_run(first)
    assert not desk.worker.retry_run(999)


def test_attempts_are_never_named_twice(desk: Desk, company: Company) -> None:
    """A retry by hand counts its tries anew but not its attempts: a worker from before can mark nothing."""
    make_table(desk)
    desk.hooks.on("*", name="h")(Failing(times=2))
    desk._worker = desk.new_worker(backoff=Backoff(tries=1))
    desk._worker.register()
    desk.take(company.user("created"))
    assert desk.worker.retry_run(1)
    desk.worker.drain()
    assert runs(desk) == [("h", "failed", 1)]
    assert desk.worker.retry_run(1)
    desk.worker.drain()

    assert desk.rows("select state, attempt from hookline_runs") == [("succeeded", 3)]


def test_skipping_a_run_lets_the_next_of_its_object_go(desk: Desk, company: Company) -> None:
    """What waited behind a skipped run is due at once."""
    make_table(desk)
    desk.hooks.on_change("directory_user", name="h")(Failing(times=1))
    desk.take(company.user("created"), company.user("updated", first_name="Ida"))
    assert told(desk) == []

    assert desk.worker.skip_run(desk.one("select min(row_id) from hookline_runs"))
    desk.worker.drain()

    assert told(desk) == [("user_1", "updated")]


def test_an_async_handler_runs_to_its_end(desk: Desk, company: Company) -> None:
    """Async handlers get the same tx, and one event loop for as long as the thread works."""
    make_table(desk)
    loops: list[asyncio.AbstractEventLoop] = []

    async def handler(event: Event, tx: Any) -> None:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        say(tx, "insert into told (id, word) values (?, 'async')", event.id)

    desk.hooks.on("*", name="h")(handler)
    desk.take(company.user("created"), company.user("updated"))

    assert [word for _, word in told(desk)] == ["async", "async"]
    assert loops[0] is loops[1]


@pytest.mark.parametrize("call", ["commit", "rollback", "close"])
def test_a_handler_cannot_end_its_transaction(desk: Desk, company: Company, call: str) -> None:
    """commit, rollback and close raise, the run fails, and nothing of it is kept."""
    make_table(desk)

    def handler(event: Event, tx: Any) -> None:
        tx.execute("insert into told (id, word) values ('a', 'b')")
        getattr(tx, call)()

    desk.hooks.on("*", name="h")(handler)
    desk.take(company.user("created"))

    assert (told(desk), runs(desk)) == ([], [("h", "pending", 1)])
    assert TransactionMisuse.__name__ in desk.one("select error from hookline_runs")


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError(), GeneratorExit()], ids=repr)
def test_a_handler_cannot_end_its_worker(desk: Desk, company: Company, error: BaseException) -> None:
    """Whatever a handler raises is its own failure; the worker goes on."""
    make_table(desk)
    desk.hooks.on("*", name="h")(Failing(times=1, error=error))
    desk.take(company.user("created"), company.user("created", "user_2"))

    assert runs(desk) == [("h", "pending", 1), ("h", "succeeded", 1)]


def test_an_interrupt_of_the_main_thread_gets_through(desk: Desk, company: Company) -> None:
    """Ctrl-C during a drain ends the drain; the run is undone, counted, and comes again."""
    make_table(desk)
    desk.hooks.on("*", name="h")(Failing(times=1, error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        desk.take(company.user("created"))

    assert (told(desk), runs(desk)) == ([], [("h", "pending", 1)])
    desk.clock.advance(60_000)
    desk.worker.drain()
    assert runs(desk) == [("h", "succeeded", 2)]


def test_causes_of_an_error_are_told_without_messages(desk: Desk, company: Company) -> None:
    """A chain of exceptions is kept as classes and places; their messages may hold the payload and are not."""

    def handler(event: Event, tx: Any) -> None:
        try:
            {}[event.data["email"]]
        except KeyError as error:
            raise RuntimeError(f"no {event.data['email']}") from error

    desk.hooks.on("*", name="h")(handler)
    desk.take(company.user("created", email=SECRET))

    error = desk.one("select error from hookline_runs")
    assert error.index("KeyError\n") < error.index("RuntimeError\n")
    assert SECRET not in error


def test_runs_of_other_processes_handlers_are_left_alone(desk: Desk, company: Company) -> None:
    """Apply makes runs for every registered handler; a worker takes those of its own."""
    make_table(desk)
    elsewhere = Registry()
    elsewhere.on("*", name="theirs")(Failing())
    desk.new_worker(elsewhere).register()
    desk.hooks.on("*", name="ours")(Failing())
    desk.take(company.user("created"))

    assert sorted(runs(desk)) == [("ours", "succeeded", 1), ("theirs", "pending", 0)]


def test_a_locked_database_is_not_the_handlers_failure(desk: Desk, company: Company) -> None:
    """A run that finds the database locked comes again without counting, but not for ever."""
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode, locked.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
    make_table(desk)
    calls = 0

    @desk.hooks.on("*", name="h")
    def handler(event: Event, tx: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 6:
            return
        if desk.database.dialect == "postgres":
            tx.execute("do $$ begin raise exception using errcode = 'lock_not_available'; end $$")
        raise locked

    desk.take(company.user("created"))
    assert runs(desk) == [("h", "pending", 0)]

    for _ in range(5):
        desk.clock.advance(1_000)
        desk.worker.drain()
    assert (calls, runs(desk)) == (6, [("h", "pending", 1)])
    desk.clock.advance(60_000)
    desk.worker.drain()
    assert runs(desk) == [("h", "succeeded", 2)]


@pytest.mark.parametrize("was_kept", [True, False])
def test_a_commit_in_doubt_is_no_failure_and_no_second_effect(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch, was_kept: bool
) -> None:
    """Kept after all, the run is done; lost, it comes again. Either way the handler's writes are there once."""
    lent, doubts = desk.database.lent, iter([True])

    @contextmanager
    def in_doubt() -> Iterator[Any]:
        is_in_doubt = next(doubts, False)
        if is_in_doubt and not was_kept:
            with suppress(_Lost), lent() as transaction:
                yield transaction
                raise _Lost
        else:
            with lent() as transaction:
                yield transaction
        if is_in_doubt:
            raise OutcomeUnknown("the disk failed during the commit")

    make_table(desk)
    monkeypatch.setattr(desk.database, "lent", in_doubt)
    desk.hooks.on("*", name="h")(Failing())
    created = company.user("created")
    desk.take(created)
    assert runs(desk) == [("h", "succeeded", 1) if was_kept else ("h", "pending", 0)]

    desk.clock.advance(1_000)
    desk.worker.drain()

    assert runs(desk) == [("h", "succeeded", 1)]
    assert told(desk) == [(created["id"], "dsync.user.created")]


class _Lost(Exception):
    """Rolls a transaction back."""


def test_what_cannot_be_settled_waits_for_its_lease(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The database goes away while a handler runs: one line without a traceback, and the run comes again."""

    def away() -> Any:
        raise StorageUnavailable("the disk is full")

    def fails_once(_event: Event, _tx: Any) -> None:
        if desk.clock.now_ms() == started_ms:
            monkeypatch.setattr(desk.database, "transaction", away)
            raise ValueError(SECRET)

    started_ms = desk.clock.now_ms()
    desk.hooks.on("*", name="h")(fails_once)
    desk.take(company.user("created"))
    monkeypatch.undo()
    [unsettled] = [record for record in caplog.records if "could not be settled" in record.getMessage()]
    assert (unsettled.exc_info, "the disk is full" in unsettled.getMessage()) == (None, True)

    for _ in range(2):
        desk.clock.advance(61_000)
        desk.worker.drain()

    assert runs(desk) == [("h", "succeeded", 2)]


# -- leases -----------------------------------------------------------------------------------------------------


def claim(desk: Desk, handler: str) -> None:
    """A worker elsewhere takes a run and is never heard of again."""
    store = RunStore(Verbs("hookline.receiver", desk.database.dialect))
    now_ms = desk.clock.now_ms()
    with desk.database.transaction() as connection:
        taken = store.claim(connection, [handler], now_ms=now_ms, leased_until_ms=now_ms + 60_000, limit=1, each=1)
    assert len(taken) == 1


def pending_run(desk: Desk, company: Company, handler: Callable[[Any, Any], None]) -> None:
    """A run that apply has made and nobody has taken."""
    desk.hooks.on("*", name="h")(handler)
    desk.worker.register()
    desk.put(company.user("created"))
    desk.new_worker(Registry()).drain()


def test_a_run_whose_worker_died_is_taken_again(desk: Desk, company: Company) -> None:
    """A lapsed lease is an attempt of unknown end: it counts, is noted, and the run comes again."""
    make_table(desk)
    pending_run(desk, company, Failing())
    claim(desk, "h")
    desk.clock.advance(60_000)
    desk.worker.drain()
    assert runs(desk) == [("h", "running", 1)]

    desk.clock.advance(1)
    desk.worker.drain()
    assert runs(desk) == [("h", "pending", 1)]
    assert "unknown" in desk.one("select error from hookline_runs")
    desk.clock.advance(2_000)
    desk.worker.drain()

    assert runs(desk) == [("h", "succeeded", 2)]
    assert len(told(desk)) == 1


def test_a_handler_that_kills_its_workers_ends_as_a_dead_letter(desk: Desk, company: Company) -> None:
    """Unknown attempts are tries: after the last one the run is failed and not claimed again."""
    pending_run(desk, company, Failing())
    worker = desk.new_worker(Registry(), backoff=Backoff(first_s=1, factor=1, tries=2))
    for _ in range(2):
        claim(desk, "h")
        desk.clock.advance(62_000)
        worker.drain()
        desk.clock.advance(2_000)

    assert runs(desk) == [("h", "failed", 2)]


def test_a_worker_that_was_taken_for_dead_cannot_commit(desk: Desk, company: Company) -> None:
    """What an attempt wrote is undone when its run has been given to somebody else meanwhile."""
    make_table(desk)
    others = desk.new_worker(Registry())

    def slow(event: Event, tx: Any) -> None:
        desk.clock.advance(61_000)
        others.drain()
        tx.execute("insert into told (id, word) values ('late', 'late')")

    pending_run(desk, company, slow)
    desk.worker.step()

    assert (told(desk), runs(desk)) == ([], [("h", "pending", 1)])


def test_the_heartbeat_keeps_a_lease(desk: Desk, company: Company) -> None:
    """A run that takes minutes keeps its lease as long as its worker lives."""
    make_table(desk)
    started, go_on = threading.Event(), threading.Event()

    def slow(event: Event, tx: Any) -> None:
        started.set()
        go_on.wait(10)
        tx.execute("insert into told (id, word) values ('slow', 'slow')")

    pending_run(desk, company, slow)
    stop = threading.Event()
    worker = desk.new_worker()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        assert started.wait(5)
        for _ in range(12):
            lease_ms = desk.one("select leased_until_ms from hookline_runs")
            desk.clock.advance(20_000)
            wait_for(lambda: desk.one("select leased_until_ms from hookline_runs") > lease_ms)  # noqa: B023
        go_on.set()
        wait_for(lambda: runs(desk) == [("h", "succeeded", 1)])
    finally:
        go_on.set()
        stop.set()
        worker.wake.set()
        thread.join()

    assert told(desk) == [("slow", "slow")]


def test_what_apply_made_outlives_the_process(desk: Desk, company: Company) -> None:
    """A crash between apply and run loses nothing: the run is there when the file is opened again."""
    make_table(desk)
    pending_run(desk, company, Failing())
    desk.database.close()
    desk.database = type(desk)(desk.url).database

    worker = desk.new_worker()
    worker.drain()

    assert runs(desk) == [("h", "succeeded", 1)]
    assert json.loads(desk.one("select payload from hookline_directory_users"))["id"] == "user_1"


def test_a_killed_process_leaves_a_run_that_comes_again(desk: Desk, company: Company) -> None:
    """kill -9 in the middle of a handler that has written: nothing of it is kept, and after the lease it runs again."""
    make_table(desk)
    desk.hooks.on("*", name="h")(Failing())
    desk.worker.register()
    event = company.user("created")
    desk.put(event)
    program = Path(__file__).with_name("killed_worker.py")
    with subprocess.Popen(
        [sys.executable, str(program), desk.url, str(desk.clock.now_ms())], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begun\n"
        finally:
            process.kill()
    desk.worker.drain()
    assert (told(desk), runs(desk)) == ([], [("h", "running", 1)])

    desk.clock.advance(60_001)
    desk.worker.drain()
    desk.clock.advance(2_000)
    desk.worker.drain()

    assert told(desk) == [(event["id"], "dsync.user.created")]
    assert runs(desk) == [("h", "succeeded", 2)]
    assert desk.ids("directory_users") == ["user_1"]


def test_a_late_heartbeat_keeps_nobody_elses_lease(desk: Desk, company: Company) -> None:
    """A worker that was taken for dead keeps up its own attempt, not the one that took its place."""
    pending_run(desk, company, Failing())
    store = RunStore(Verbs("hookline.receiver", desk.database.dialect))
    with desk.database.transaction() as connection:
        (late,) = store.claim(
            connection, ["h"], now_ms=desk.clock.now_ms(), leased_until_ms=desk.clock.now_ms(), limit=1, each=1
        )
    desk.clock.advance(1)
    desk.new_worker(Registry()).drain()
    desk.clock.advance(5_000)
    claim(desk, "h")
    lease_ms = desk.one("select leased_until_ms from hookline_runs")

    with desk.database.transaction() as connection:
        store.extend(connection, [late], lease_ms + 60_000)

    assert desk.one("select leased_until_ms from hookline_runs") == lease_ms


def test_all_dead_letters_are_taken_up_at_once(desk: Desk, company: Company) -> None:
    """Runs of one handler or of all, and entries that are still kept whole; counted first."""
    fails = True

    def broken(*_: Any) -> None:
        if fails:
            raise RuntimeError

    desk.hooks.on("dsync.user.*", name="one")(broken)
    desk.hooks.on("dsync.user.*", name="other")(broken)
    worker = desk.new_worker(backoff=Backoff(first_s=1, factor=1, cap_s=1, tries=1), pause_after=None)
    worker.register()
    desk.put(company.user("created", "user_1"), company.user("created", "user_2"))
    desk.put(b"{", reason="not_json")
    worker.drain()
    queries = InboxQueries(Verbs("hookline.receiver", desk.database.dialect))
    with desk.database.read() as connection:
        assert queries.count_dead_runs(connection) == 4
        assert queries.count_dead_runs(connection, "one") == 2
        assert queries.count_dead_entries(connection) == 1
        assert {run.handler for run in queries.runs(connection, state="failed", handler="other")} == {"other"}
    fails = False
    assert worker.retry_dead_runs("one") == 2
    worker.drain()
    assert sorted(runs(desk)) == [
        ("one", "succeeded", 1),
        ("one", "succeeded", 1),
        ("other", "failed", 1),
        ("other", "failed", 1),
    ]
    assert worker.retry_dead_runs() == 2
    assert worker.retry_dead_entries() == 1
    assert worker.retry_dead_entries() == 0, "it waits already"
    worker.drain()
    assert [state for _, state, _ in runs(desk)] == ["succeeded"] * 4
    with desk.database.read() as connection:
        [dead] = queries.entries(connection, state="dead")
        assert queries.count_dead_entries(connection) == 1, "it still cannot be read"
    assert worker.drop_entry("default", dead.event_id, "a test of ours")
    assert not worker.drop_entry("default", dead.event_id, "again")
    with desk.database.read() as connection:
        [dropped] = queries.entries(connection, event_id=dead.event_id)
    assert (dropped.state, dropped.reason) == ("ignored", "dropped: a test of ours")
