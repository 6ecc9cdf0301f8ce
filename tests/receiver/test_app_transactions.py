"""The app's own transactions on PostgreSQL, by psycopg and by SQLAlchemy: who is told of a conflict, and who is not.

Every conflict is one that PostgreSQL itself finds: deadlocks, serialization failures, rows that two insert at once.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from hookline.adapters.dbapi import LentConnection
from hookline.adapters.sqlalchemy import SessionTransactions
from hookline.receiver.app import Receiver
from hookline.receiver.app_database import AppDatabase
from hookline.receiver.handlers import Registry
from hookline.receiver.model import Entry
from hookline.receiver.store import InboxStore
from hookline.receiver.work import Access, Worker
from hookline.rules.schedule import Backoff
from hookline.storage import connect
from hookline.storage.postgres_pool import CONFLICTS
from tests.model.races import App, Result, draw, entries_of, judge, prepare

from .company import Company, Desk, wait_for

RUNS_ON = ("postgres",)
# What the app asks for; Hookline's own transactions on its connections are read committed all the same.
ISOLATIONS = (IsolationLevel.READ_COMMITTED, IsolationLevel.SERIALIZABLE)

# The side that is to lose looks for a deadlock at once, the other not before the test is over.
SOON, LATE = "-c deadlock_timeout=20ms", "-c deadlock_timeout=60s"


class Psycopg:
    """An app with psycopg connections of its own, kept open between transactions."""

    def __init__(self, url: str, isolation: IsolationLevel | None = None, options: str = SOON) -> None:
        self._url, self._isolation, self._options = url, isolation, options
        self._idle: queue.SimpleQueue[psycopg.Connection[Any]] = queue.SimpleQueue()
        self._made: list[psycopg.Connection[Any]] = []

    @contextlib.contextmanager
    def begin(self) -> Iterator[LentConnection]:
        connection = self._take()
        try:
            with connection.transaction():
                yield LentConnection(connection)
        finally:
            if not connection.broken:
                self._idle.put(connection)

    def close(self) -> None:
        for connection in self._made:
            connection.close()

    def _take(self) -> psycopg.Connection[Any]:
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        connection = psycopg.connect(self._url, autocommit=True, options=self._options)
        connection.isolation_level = self._isolation
        self._made.append(connection)
        return connection


@pytest.fixture(params=ISOLATIONS, ids=lambda level: level.name.lower())
def app(request: pytest.FixtureRequest, desk: Desk) -> Iterator[Psycopg]:
    with contextlib.closing(Psycopg(desk.url, request.param)) as app:
        yield app


@pytest.fixture(autouse=True)
def tables(desk: Desk) -> None:
    """The app's own tables."""
    with desk.database.transaction() as connection:
        connection.execute("create table counts (id text primary key, n integer not null)")
        connection.execute("insert into counts values ('a', 0), ('b', 0)")


def counts(desk: Desk) -> dict[str, int]:
    return dict(desk.rows("select id, n from counts"))


def ask(connection: Any, sql: str, *values: Any) -> Any:
    """A statement as a verb makes it; its cursor."""
    cursor = connection.cursor()
    return cursor.execute(sql, values)


def in_threads(*works: Callable[[], object]) -> None:
    """Run them side by side; whatever one raises is raised here."""
    raised: list[BaseException] = []

    def tell(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=tell, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


# -- Hookline's own statements ---------------------------------------------------------------------------------


def test_two_that_wait_for_each_other_are_both_done(desk: Desk, app: Psycopg) -> None:
    """PostgreSQL ends one of them; that one is run again, and both have had their effect once."""
    database, met, ran = AppDatabase(app), threading.Barrier(2), Counter[str]()

    def crossing(first: str, second: str) -> None:
        def work(connection: Any) -> None:
            ran[first] += 1
            ask(connection, "update counts set n = n + 1 where id = %s", first)
            if ran[first] == 1:
                met.wait(20)
            ask(connection, "update counts set n = n + 1 where id = %s", second)

        database.run(work)

    in_threads(lambda: crossing("a", "b"), lambda: crossing("b", "a"))

    assert counts(desk) == {"a": 2, "b": 2}
    assert ran.total() > 2, "nobody was in anybody's way: it proves nothing"


def test_a_row_that_another_has_just_inserted_is_found_the_second_time(desk: Desk, app: Psycopg) -> None:
    """Both look, both insert; the one who was late looks again."""
    database, met, ran = AppDatabase(app), threading.Barrier(2), Counter[int]()

    def find_or_add(who: int) -> None:
        def work(connection: Any) -> None:
            ran[who] += 1
            found = ask(connection, "select 1 from counts where id = 'c'").fetchall()
            if ran[who] == 1:
                met.wait(20)
            if found:
                ask(connection, "update counts set n = n + 1 where id = 'c'")
            else:
                ask(connection, "insert into counts values ('c', 1)")

        database.run(work)

    in_threads(lambda: find_or_add(1), lambda: find_or_add(2))

    assert counts(desk)["c"] == 2
    assert ran.total() > 2


def test_a_row_that_stays_in_the_way_is_told_as_what_it_is(app: Psycopg) -> None:
    """A few times, and then it is nobody's race."""
    ran: list[int] = []

    def work(connection: Any) -> None:
        ran.append(1)
        ask(connection, "insert into counts values ('a', 1)")

    with pytest.raises(psycopg.errors.UniqueViolation):
        AppDatabase(app).run(work)

    assert len(ran) == 4


def test_the_door_keeps_what_met_a_conflict(desk: Desk) -> None:
    """A serialization failure and a deadlock are the door's to try again, not the sender's."""
    fails = iter(sorted(CONFLICTS))

    class Once(Psycopg):
        @contextlib.contextmanager
        def begin(self) -> Iterator[LentConnection]:
            with super().begin() as lent:
                yield lent
                if (state := next(fails, None)) is not None:
                    lent.dbapi.execute(f"do $$ begin raise exception 'met' using errcode = '{state}'; end $$")

    with contextlib.closing(Once(desk.url)) as app:
        receiver = Receiver(transactions=app, secrets=["whsec_1"])
        now_ms = desk.clock.now_ms()
        kind = receiver.intake.put_inline(Entry("default", "e", b"0" * 32, "x.y", b"{}", now_ms, now_ms, None))
        receiver.close()

    assert kind == "accepted"
    assert next(fails, None) is None
    assert desk.one("select count(*) from hookline_inbox") == 1


# -- handlers' -------------------------------------------------------------------------------------------------


class Ran:
    """How one handler's run stands after a worker has done what was due, the clock turned as far as its retries ask."""

    def __init__(self, desk: Desk, transactions: Any, handler: Callable[[int, Any], None], *, steps: int = 1) -> None:
        self.times = 0

        def count(event: object, tx: Any) -> None:
            self.times += 1
            handler(self.times, tx)

        hooks = Registry()
        hooks.on("*", name="h")(count)
        worker = Worker(Access(transactions=transactions), hooks, clock=desk.clock, jitter=lambda: 0.0)
        worker.register()
        desk.put(Company().user("created"))
        for _ in range(steps):
            worker.drain()
            desk.clock.advance(50)
        ((self.state, attempts, uncounted, self.error),) = desk.rows(
            "select state, attempt, uncounted, error from hookline_runs"
        )
        self.tries = attempts - uncounted


def overtaken(desk: Desk) -> Callable[[int, Any], None]:
    """A handler that another transaction overtakes the first time: it cannot be serialized with it."""

    def handler(times: int, tx: Any) -> None:
        tx.execute("select n from counts")
        if times == 1:
            desk.write("update counts set n = n + 10 where id = 'a'")
        tx.execute("update counts set n = n + 1 where id = 'a'")

    return handler


def test_a_handler_that_could_not_be_serialized_is_run_again_uncounted(desk: Desk) -> None:
    """It comes again after a moment, its first run is undone, and no try is gone."""
    with contextlib.closing(Psycopg(desk.url, IsolationLevel.SERIALIZABLE)) as app:
        ran = Ran(desk, app, overtaken(desk), steps=2)

    assert (ran.state, ran.times, ran.tries) == ("succeeded", 2, 1)
    assert counts(desk)["a"] == 11
    assert desk.one("select count(*) from hookline_failing") == 0


def test_so_it_is_where_sqlalchemy_wraps_the_error(desk: Desk) -> None:
    """A `Session` raises an error of its own; what PostgreSQL said is in it."""
    handler = overtaken(desk)

    class Texts:
        def __init__(self, session: Session) -> None:
            self._session = session

        def execute(self, sql: str) -> None:
            self._session.execute(text(sql))

    url = desk.url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, isolation_level="SERIALIZABLE")
    sessions = SessionTransactions(sessionmaker(engine))
    ran = Ran(desk, sessions, lambda times, tx: handler(times, Texts(tx)), steps=2)
    engine.dispose()

    assert (ran.state, ran.times, ran.tries) == ("succeeded", 2, 1)
    assert counts(desk)["a"] == 11


def test_a_handler_that_lost_a_deadlock_is_run_again_uncounted(desk: Desk, app: Psycopg) -> None:
    """The other side has its way; the handler has it after that."""
    holds, waits = threading.Event(), threading.Event()

    def other() -> None:
        with psycopg.connect(desk.url, options=LATE) as connection:
            connection.execute("update counts set n = n + 10 where id = 'b'")
            holds.set()
            assert waits.wait(20)
            connection.execute("update counts set n = n + 10 where id = 'a'")

    def handler(times: int, tx: Any) -> None:
        if times == 1:
            assert holds.wait(20)
        tx.execute("update counts set n = n + 1 where id = 'a'")
        waits.set()
        tx.execute("update counts set n = n + 1 where id = 'b'")

    rival = threading.Thread(target=other)
    rival.start()
    ran = Ran(desk, app, handler, steps=5)
    rival.join()

    assert ran.times > 1
    assert (ran.state, ran.tries) == ("succeeded", 1)
    assert counts(desk) == {"a": 11, "b": 11}


CHECKED = """
create function no() returns trigger language plpgsql as $$ begin
    if nextval('met') = 1 then raise exception 'met' using errcode = '40001'; end if; return null; end $$;
create sequence met;
create constraint trigger checked after update on counts deferrable initially deferred
    for each row execute function no()
"""


def test_a_conflict_that_the_commit_finds_is_no_try_either(desk: Desk, app: Psycopg) -> None:
    """What a handler wrote is undone with its mark, and both are there after the second run."""
    desk.write(CHECKED)

    ran = Ran(desk, app, lambda times, tx: tx.execute("update counts set n = n + 1 where id = 'a'"), steps=2)

    assert (ran.state, ran.times, ran.tries) == ("succeeded", 2, 1)
    assert counts(desk)["a"] == 1


def test_a_handler_that_is_always_in_the_way_fails_in_the_end(desk: Desk, app: Psycopg) -> None:
    """Twenty times it comes again for nothing; then it counts, as the storage's trouble that it was."""

    def handler(times: int, tx: Any) -> None:
        tx.execute("do $$ begin raise exception 'met' using errcode = '40001'; end $$")

    ran = Ran(desk, app, handler, steps=21)

    assert (ran.state, ran.times, ran.tries) == ("pending", 21, 1)
    assert "StorageUnavailable" in ran.error


@pytest.mark.parametrize("is_deferred", [False, True], ids=["at the statement", "at the commit"])
def test_a_unique_violation_in_the_handlers_own_table_is_its_failure(
    desk: Desk, app: Psycopg, is_deferred: bool
) -> None:
    """It is not run again for it at once: one try is gone, and the reason is kept."""
    if is_deferred:
        desk.write("alter table counts drop constraint counts_pkey, add primary key (id) deferrable initially deferred")

    ran = Ran(desk, app, lambda times, tx: tx.execute("insert into counts values ('a', 1)"), steps=3)

    assert (ran.state, ran.times, ran.tries) == ("pending", 1, 1)
    assert "UniqueViolation" in ran.error
    assert desk.one("select count(*) from hookline_failing") == 1


def test_another_connections_conflict_is_the_handlers_failure(desk: Desk, app: Psycopg) -> None:
    """Nothing was in the way of the transaction that it was lent."""

    def handler(times: int, tx: Any) -> None:
        with psycopg.connect(desk.url) as other:
            other.execute("do $$ begin raise exception 'met' using errcode = '40001'; end $$")

    ran = Ran(desk, app, handler, steps=3)

    assert (ran.state, ran.times, ran.tries) == ("pending", 1, 1)
    assert "SerializationFailure" in ran.error


def test_a_conflict_undone_to_a_savepoint_is_the_handlers_to_tell(desk: Desk, app: Psycopg) -> None:
    """The transaction goes on, and so would the handler if it did not raise."""

    def handler(times: int, tx: Any) -> None:
        with tx.transaction():
            tx.execute("do $$ begin raise exception 'met' using errcode = '40001'; end $$")

    ran = Ran(desk, app, handler, steps=3)

    assert (ran.times, ran.tries) == (1, 1)


def test_a_server_that_ends_the_session_is_nobodys_failure(desk: Desk, app: Psycopg) -> None:
    """The run comes again when the database is there again, its try not gone."""

    def handler(times: int, tx: Any) -> None:
        if times == 1:
            desk.rows("select pg_terminate_backend(?)", tx.info.backend_pid)
        tx.execute("update counts set n = n + 1 where id = 'a'")

    ran = Ran(desk, app, handler, steps=21)

    assert (ran.state, ran.times, ran.tries) == ("succeeded", 2, 1)
    assert counts(desk)["a"] == 1


# -- together --------------------------------------------------------------------------------------------------


def test_four_workers_leave_no_access_on(desk: Desk, app: Psycopg) -> None:
    """Real races, and no entry, walk or run is any worse for what was in whose way: the tries say so."""
    rng, result = random.Random("the app's own"), Result()
    races = [draw(rng, number) for number in range(25)]
    came = entries_of(races, rng, int(time.time() * 1_000))
    handlers, stop = App(fails_every=29), threading.Event()
    backoff = Backoff(first_s=0.05, factor=1, cap_s=0.05, tries=50)
    with contextlib.closing(connect(desk.url)) as database:
        prepare(database)
        workers = [Worker(Access(transactions=app), handlers.registry, backoff=backoff) for _ in range(4)]
        workers[0].register()
        with database.transaction() as connection:
            InboxStore("postgres").put(connection, came)
        threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
        for thread in threads:
            thread.start()

        def is_done() -> bool:
            return not desk.one(
                "select (select count(*) from hookline_inbox_queue) + (select count(*) from hookline_cascades)"
                " + count(*) from hookline_runs where state in ('pending', 'running')"
            )

        try:
            wait_for(is_done, seconds=60)
        finally:
            stop.set()
            for worker in workers:
                worker.wake.set()
            for thread in threads:
                thread.join()
        more_tries = desk.one("select sum(attempt - uncounted) - count(*) from hookline_runs")
        dead = desk.one("select count(*) from hookline_inbox_outcomes where outcome = 'dead'")
        judge(database, races, result)

    assert result.wrong == []
    assert more_tries == len(handlers.failed) > 0
    assert dead == 0
