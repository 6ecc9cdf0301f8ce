"""The receiver on the app's own database access, each kind with real handlers."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from django.db import connections, transaction
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from hookline.adapters.dbapi import PsycopgTransactions
from hookline.adapters.django.transactions import AliasTransactions
from hookline.adapters.sqlalchemy import SessionTransactions
from hookline.errors import ConfigError, OutcomeUnknown, StorageUnavailable
from hookline.receiver.app import Receiver
from hookline.receiver.app_database import AppDatabase
from hookline.receiver.handlers import LentTransaction, Transactions
from hookline.storage import connect
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import signed_request

from ..apps import KINDS, App, django_alias, file_of, plain_psycopg, plain_sqlite, rows_at, sqlalchemy_session
from ..postgres import Cluster
from ..receiver.company import START_MS, Company, wait_for

SECRET = "whsec_app_secret_0001"
TABLE = "create table told (id text not null, word text not null, primary key (id, word))"


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(START_MS)


@pytest.fixture
def company() -> Company:
    return Company()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app's SQLite file with Hookline's tables, to copy."""
    path = tmp_path_factory.mktemp("app") / "app.db"
    rows_at(f"sqlite:///{path}", "pragma journal_mode=wal")
    with plain_sqlite(f"sqlite:///{path}") as app:
        assert Receiver(transactions=app.transactions).migrate() > 0
    return path


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """The same as `postgres_url`."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path)}"


@pytest.fixture(params=KINDS)
def app(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[App]:
    """Each kind of app with its own table made, and Hookline's."""
    database, opened = KINDS[request.param]
    url = sqlite_url if database == "sqlite" else request.getfixturevalue("postgres_url")
    rows_at(url, TABLE)
    with opened(url) as app:
        yield app


@pytest.fixture
def receiver(app: App, clock: TurnedClock) -> Iterator[Receiver]:
    with Receiver(transactions=app.transactions, secrets=[SECRET], clock=clock, tolerance_s=None) as receiver:
        yield receiver


def post(receiver: Receiver, event: dict[str, Any]) -> int:
    request = signed_request(json.dumps(event).encode(), SECRET, timestamp_ms=START_MS)
    status, _, _ = receiver.receive("POST", "/webhooks", request.headers, request.body, None)
    return status


def told(app: App) -> list[tuple[Any, ...]]:
    return app.rows("select id, word from told order by 1, 2")


def runs(app: App) -> list[tuple[Any, ...]]:
    return app.rows("select handler, state, attempt from hookline_runs order by row_id")


def error_of(app: App) -> str:
    ((error,),) = app.rows("select error from hookline_runs")
    return str(error)


def tell(app: App, tx: Any, id_: str, word: str = "heard") -> None:
    app.say(tx, f"insert into told (id, word) values ('{id_}', '{word}')")


def test_what_a_handler_writes_and_its_mark_are_one_commit(app: App, receiver: Receiver, company: Company) -> None:
    """Door, mirror, facts and changes on the app's own access; a repeated delivery has no second effect."""

    @receiver.on("dsync.user.*", name="fact")
    def fact(event: Any, tx: Any) -> None:
        tell(app, tx, event.id)

    @receiver.on_change("directory_user", name="change")
    def change(change: Any, tx: Any) -> None:
        tell(app, tx, change.id, change.kind)

    receiver.drain()
    events = [company.directory("activated"), company.user("created"), company.user("updated"), company.member("added")]
    answers = [post(receiver, event) for event in [*events, events[1]]]
    receiver.drain()
    receiver.drain()

    assert answers == [200] * 5
    assert told(app) == [
        ("event_000002", "heard"),
        ("event_000003", "heard"),
        ("user_1", "created"),
        ("user_1", "updated"),
    ]
    assert {(state, attempt) for _, state, attempt in runs(app)} == {("succeeded", 1)}
    assert app.rows("select id from hookline_directory_users_live") == [("user_1",)]
    assert receiver.is_active("directory_membership", "group_1/user_1")
    assert app.rows("select kind, times from hookline_inbox_repeats") == [("duplicate", 1)]
    assert receiver.migrate() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_migrating_is_one_commit(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """`Receiver.migrate` makes the tables through any of them, all or none."""
    database, opened = KINDS[kind]
    if database == "sqlite":
        url = f"sqlite:///{tmp_path / 'app.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        url = cluster.url(cluster.create())
    with opened(url) as app:
        receiver = Receiver(transactions=app.transactions)
        count = receiver.migrate()
        assert (count > 0, receiver.migrate()) == (True, 0)
        assert app.rows("select count(*) from hookline_migrations where part = 'receiver'") == [(count,)]


def test_a_handler_that_raises_leaves_nothing_and_comes_again(
    app: App, receiver: Receiver, company: Company, clock: TurnedClock
) -> None:
    """What it wrote is undone, and the next attempt is as the first was."""
    attempts: list[str] = []
    personal = "ada@acme.example"

    @receiver.on("*", name="h")
    def fails_once(event: Any, tx: Any) -> None:
        tell(app, tx, event.id)
        attempts.append(event.id)
        if len(attempts) == 1:
            raise LookupError(personal)

    receiver.drain()
    post(receiver, company.user("created"))
    receiver.drain()
    first = told(app), runs(app), error_of(app)
    clock.advance(3_600_000)
    receiver.drain()

    assert first[:2] == ([], [("h", "pending", 1)])
    assert "LookupError" in first[2]
    assert "ada@" not in first[2]
    assert (told(app), runs(app)) == ([("event_000001", "heard")], [("h", "succeeded", 2)])


def test_a_statement_that_fails_and_is_passed_over(
    app: App, receiver: Receiver, company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL has given the transaction up, which the handler is told of; SQLite has not, and all is kept."""

    @receiver.on("*", name="h")
    def goes_on(event: Any, tx: Any) -> None:
        tell(app, tx, event.id)
        with contextlib.suppress(Exception):
            tell(app, tx, event.id)

    receiver.drain()
    post(receiver, company.user("created"))
    receiver.drain()

    if app.is_postgres:
        assert (told(app), runs(app)) == ([], [("h", "pending", 1)])
        assert "TransactionMisuse: a statement failed and the handler went on" in error_of(app)
    else:
        assert (told(app), runs(app)) == ([("event_000001", "heard")], [("h", "succeeded", 1)])
    assert "settled" not in caplog.text


@pytest.mark.parametrize("goes_on", [False, True], ids=["error let out", "goes on"])
@pytest.mark.parametrize("way", ["commit", "rollback", "close", "commit in SQL"])
def test_a_handler_that_ends_its_transaction(
    app: App, receiver: Receiver, company: Company, way: str, goes_on: bool
) -> None:
    """It is refused where the app's access can be told to, and noticed where not: the run has not succeeded, and what
    the handler writes afterwards is not kept without the mark.
    """
    was_refused: list[bool] = []

    @receiver.on("*", name="h")
    def ends(event: Any, tx: Any) -> None:
        tell(app, tx, event.id, "before")
        try:
            app.ends[way](tx)
        except Exception:
            was_refused.append(True)
            if not goes_on:
                raise
        with contextlib.suppress(Exception):
            tell(app, tx, event.id, "after")

    receiver.drain()
    post(receiver, company.user("created"))
    receiver.drain()
    ((_, state, _),) = runs(app)
    is_committed = way == "commit in SQL" and app.is_postgres

    if goes_on and state == "succeeded":
        # Refusing changed nothing: it is as if it had not asked.
        assert was_refused
        assert way in {"commit", "commit in SQL", "rollback"}
        assert len(told(app)) == 2
    else:
        assert state == "pending"
        assert told(app) == ([("event_000001", "before")] if is_committed else [])
    if not was_refused:
        assert "TransactionMisuse" in error_of(app)
    # The access is as good as before.
    assert post(receiver, company.user("updated")) == 200


@pytest.mark.parametrize("app", [kind for kind in KINDS if kind != "sqlite3 in autocommit"], indirect=True)
def test_kill_9_between_the_mark_and_the_commit(
    app: App, receiver: Receiver, company: Company, clock: TurnedClock, request: pytest.FixtureRequest
) -> None:
    """Everything is written and nothing committed: nothing is kept, and after its lease the run comes again, once."""
    kind: str = request.node.callspec.params["app"]
    receiver.on("*", name="h")(lambda event, tx: tell(app, tx, event.id, "second"))
    receiver.drain()
    post(receiver, company.user("created"))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.adapters.killed_app", kind, app.url, str(clock.now_ms())],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "marked\n"
        finally:
            process.kill()
    assert (told(app), runs(app)) == ([], [("h", "running", 1)])

    clock.advance(60_001)
    receiver.drain()
    clock.advance(60_000)
    receiver.drain()

    assert (told(app), runs(app)) == ([("event_000001", "second")], [("h", "succeeded", 2)])


def test_a_worker_hears_of_what_is_kept(app: App, receiver: Receiver, company: Company) -> None:
    """It would come by its timer as well; here that stands still."""
    heard: list[str] = []
    receiver.on("*", name="h")(lambda event, tx: heard.append(event.id))
    receiver.drain()
    stop = threading.Event()
    worker = threading.Thread(target=receiver.run_worker, args=(stop,))
    worker.start()
    try:
        for number in (1, 2):
            post(receiver, company.user("created"))
            wait_for(lambda number=number: len(heard) == number)  # type: ignore[misc]
    finally:
        stop.set()
        worker.join()

    assert heard == ["event_000001", "event_000002"]


def test_a_connection_beside_the_apps_leads_to_the_same_database(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the app names none: libpq takes the user's name then, or an environment variable's."""
    name = postgres.migrated()
    monkeypatch.setenv("PGDATABASE", name)
    app = AppDatabase(PsycopgTransactions(lambda: psycopg.connect(postgres.url(name).replace(f"/{name}?", "/?"))))
    url = app.url()
    monkeypatch.delenv("PGDATABASE")

    assert url is not None
    with contextlib.closing(connect(url)) as beside, beside.read() as connection:
        assert connection.execute("select current_database()").fetchone() == (name,)
    postgres.drop(name)


class Gate:
    """An app's transactions, counted, and begun only while it is open."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self.begun = 0
        self.is_open = threading.Event()

    @contextlib.contextmanager
    def begin(self) -> Iterator[LentTransaction]:
        self.begun += 1
        assert self.is_open.wait(30)
        with self._transactions.begin() as transaction:
            yield transaction


def test_webhooks_that_wait_share_a_commit(app: App, company: Company, clock: TurnedClock) -> None:
    """Sixteen threads of a server would else queue for the disk, and on SQLite for the write lock, one by one."""
    gate = Gate(app.transactions)
    gate.is_open.set()
    with Receiver(transactions=gate, secrets=[SECRET], clock=clock, tolerance_s=None) as receiver:
        post(receiver, company.user("created"))
        before, group = gate.begun, receiver.intake._group
        gate.is_open.clear()
        answers: list[int] = []

        def post_here(event: dict[str, Any]) -> None:
            answers.append(post(receiver, event))
            if isinstance(app.transactions, AliasTransactions):
                app.transactions.end_thread()  # as Django does after each request

        threads = [threading.Thread(target=post_here, args=(company.user("updated"),)) for _ in range(17)]
        threads[0].start()
        wait_for(lambda: gate.begun == before + 1)
        for thread in threads[1:]:
            thread.start()
        wait_for(lambda: len(group._slots) == 16)
        gate.is_open.set()
        for thread in threads:
            thread.join(30)

        assert answers == [200] * 17
        assert gate.begun == before + 2
    assert app.rows("select count(*) from hookline_inbox") == [(18,)]


# -- what is particular about one of them


@pytest.mark.parametrize("app", ["sqlite3", "SQLAlchemy on SQLite", "Django on SQLite"], indirect=True)
def test_a_handler_that_has_not_written_holds_up_nobody_on_sqlite(
    app: App, receiver: Receiver, company: Company
) -> None:
    """The door takes webhooks while a handler thinks, or waits for another service."""
    answers: list[int] = []

    @receiver.on("dsync.user.created", name="h")
    def slow(event: Any, tx: Any) -> None:
        app.say(tx, "select count(*) from told")
        caller = threading.Thread(target=lambda: answers.append(post(receiver, company.user("updated"))))
        caller.start()
        caller.join()

    receiver.drain()
    post(receiver, company.user("created"))
    receiver.drain()

    assert answers == [200]


class Base(DeclarativeBase):
    """What the app's own tables are declared on."""


class Told(Base):
    """One of them."""

    __tablename__ = "told"
    id: Mapped[str] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(primary_key=True)


@pytest.mark.parametrize("app", ["SQLAlchemy on SQLite", "SQLAlchemy on PostgreSQL"], indirect=True)
def test_what_a_session_holds_is_flushed_with_the_mark(
    app: App, receiver: Receiver, company: Company, clock: TurnedClock
) -> None:
    """A flush that fails at the commit is the handler's failure; one that succeeds is one commit with the mark."""
    app.write("insert into told values ('event_000001', 'heard')")

    @receiver.on("*", name="h")
    def adds(event: Any, tx: Any) -> None:
        with tx.begin_nested():
            tx.add(Told(id=event.id, word="nested"))
        tx.add(Told(id=event.id, word="heard"))

    receiver.drain()
    post(receiver, company.user("created"))
    receiver.drain()
    first = len(told(app)), runs(app), error_of(app)
    app.write("delete from told")
    clock.advance(3_600_000)
    receiver.drain()

    assert first[:2] == (1, [("h", "pending", 1)])
    assert "IntegrityError" in first[2]
    assert (len(told(app)), runs(app)) == (2, [("h", "succeeded", 2)])


@pytest.mark.parametrize("app", ["SQLAlchemy on SQLite", "SQLAlchemy on PostgreSQL"], indirect=True)
def test_a_value_that_no_driver_takes_is_the_handlers_failure(app: App, receiver: Receiver, company: Company) -> None:
    """It is found at the commit, and says nothing of the database."""
    unknown: Any = object()
    receiver.on("*", name="h")(lambda event, tx: tx.add(Told(id=event.id, word=unknown)))
    receiver.drain()
    post(receiver, company.user("created"))
    receiver.drain()

    assert (told(app), runs(app)) == ([], [("h", "pending", 1)])
    assert "Error" in error_of(app)
    assert "StorageUnavailable" not in error_of(app)


@pytest.mark.parametrize("app", ["Django on SQLite", "Django on PostgreSQL"], indirect=True)
def test_hooks_of_on_commit_run_once_the_run_is_done(
    app: App, receiver: Receiver, company: Company, clock: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not where the run fails; and what a hook raises changes nothing of what is committed."""
    seen: list[tuple[Any, ...]] = []
    attempts: list[str] = []

    @receiver.on("*", name="h")
    def hooks(event: Any, tx: Any) -> None:
        attempts.append(event.id)
        tell(app, tx, event.id)
        transaction.on_commit(lambda: seen.extend(runs(app)), using=tx)
        if len(attempts) == 1:
            raise LookupError
        transaction.on_commit(lambda: 1 // 0, using=tx)

    receiver.drain()
    post(receiver, company.user("created"))
    receiver.drain()
    clock.advance(3_600_000)
    receiver.drain()

    assert seen == [("h", "succeeded", 2)]
    assert (told(app), runs(app)) == ([("event_000001", "heard")], [("h", "succeeded", 2)])
    assert [record.message for record in caplog.records if record.name == "hookline.django"] == [
        "a hook of transaction.on_commit failed (ZeroDivisionError); its transaction is kept"
    ]


@pytest.mark.parametrize("app", ["Django on SQLite", "Django on PostgreSQL"], indirect=True)
def test_a_django_block_that_is_given_up_is_noticed(app: App, receiver: Receiver, company: Company) -> None:
    """The ORM marks a block as broken; at its end Django would roll it back without a word."""

    @receiver.on("*", name="h")
    def goes_on(event: Any, tx: Any) -> None:
        tell(app, tx, event.id)
        with contextlib.suppress(ValueError), transaction.atomic(tx, savepoint=False):
            raise ValueError

    receiver.drain()
    post(receiver, company.user("created"))
    receiver.drain()

    assert (told(app), runs(app)) == ([], [("h", "pending", 1)])
    assert "TransactionMisuse: a statement failed and the handler went on" in error_of(app)


@pytest.mark.parametrize("app", ["Django on SQLite", "Django on PostgreSQL"], indirect=True)
def test_nothing_is_answered_200_inside_of_a_block_of_the_apps_own(
    app: App, receiver: Receiver, company: Company
) -> None:
    """What the app may still roll back is not kept yet."""
    with transaction.atomic():
        inside = post(receiver, company.user("created"))

    assert inside == 503
    assert app.rows("select count(*) from hookline_inbox") == [(0,)]


def test_djangos_connections_end_with_the_workers_threads(postgres_url: str, company: Company) -> None:
    """Django keeps one for each thread: those of a worker that has ended would be in the way of dropping a database."""
    heard: list[str] = []
    stop = threading.Event()
    others = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with django_alias(postgres_url) as app:
        receiver = Receiver(transactions=app.transactions, secrets=[SECRET], tolerance_s=None)
        receiver.on("*", name="h")(lambda event, tx: heard.append(event.id))
        receiver.drain()
        assert post(receiver, company.user("created")) == 200
        worker = threading.Thread(target=receiver.run_worker, args=(stop,), kwargs={"concurrency": 2})
        worker.start()
        wait_for(lambda: bool(heard))
        stop.set()
        worker.join()
        receiver.close()
        mine = connections["default"].connection.info.backend_pid

        wait_for(lambda: app.rows(others) == [(mine,)])


def test_djangos_connection_is_kept_while_it_is_sound(postgres_url: str) -> None:
    """`CONN_MAX_AGE` is about requests: with its default, 0, a worker would open one for every transaction."""
    with django_alias(postgres_url) as app:
        connections["default"].settings_dict["CONN_MAX_AGE"] = 0
        database = AppDatabase(app.transactions)

        def backend(connection: Any) -> int:
            cursor = connection.cursor()
            cursor.execute("select pg_backend_pid()")
            return int(cursor.fetchone()[0])

        first, second = database.run(backend), database.run(backend)
        app.rows(f"select pg_terminate_backend({second})")
        with pytest.raises(StorageUnavailable):
            database.run(backend)

        assert first == second
        assert database.run(backend) != second


@pytest.mark.parametrize("app", ["sqlite3"], indirect=True)
def test_a_savepoint_does_not_commit_on_sqlite(app: App, receiver: Receiver, company: Company) -> None:
    """One outside of a transaction is a transaction of its own, which no mark would belong to."""

    @receiver.on("dsync.user.created", name="h")
    def saves(event: Any, tx: Any) -> None:
        app.say(tx, "savepoint mine")
        tell(app, tx, event.id)
        app.say(tx, "release mine")

    @receiver.on("dsync.user.updated", name="does")
    def begins(event: Any, tx: Any) -> None:
        app.say(tx, "begin immediate")
        saves(event, tx)

    receiver.drain()
    post(receiver, company.user("created"))
    post(receiver, company.user("updated"))
    receiver.drain()

    assert runs(app) == [("h", "pending", 1), ("does", "succeeded", 1)]
    assert told(app) == [("event_000002", "heard")]
    assert "TransactionMisuse: a savepoint that begins" in str(app.rows("select error from hookline_runs")[0])


# -- what it means that an app's database fails


@contextlib.contextmanager
def nowhere(kind: str, folder: Path) -> Iterator[App]:
    """An app whose database is away: a folder that is missing, a port where nobody listens."""
    database, opened = KINDS[kind]
    away = "postgresql://hookline@127.0.0.1:1/nobody"
    with opened(f"sqlite:///{folder}/missing/app.db" if database == "sqlite" else away) as app:
        yield app


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_that_is_away_is_answered_503(
    kind: str, tmp_path: Path, company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender comes again; the operator reads a line, and no traceback per request."""
    with nowhere(kind, tmp_path) as app, Receiver(transactions=app.transactions, secrets=[SECRET]) as receiver:
        clock = receiver.clock.now_ms()
        request = signed_request(json.dumps(company.user("created")).encode(), SECRET, timestamp_ms=clock)
        answers = [receiver.receive("POST", "/webhooks", request.headers, request.body, None)[0] for _ in range(3)]
        is_ready = receiver.is_ready()
        with pytest.raises(StorageUnavailable):
            receiver.drain()

    assert answers == [503] * 3
    assert not is_ready
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert ["cannot keep webhooks" in record.message for record in errors] == [True]
    assert [record.exc_info for record in errors] == [None]


def test_work_is_run_again_where_another_transaction_was_in_its_way(postgres_url: str) -> None:
    """As on a database of ours: deadlocks, and rows that somebody else has just inserted."""
    rows_at(postgres_url, TABLE)
    rows_at(postgres_url, "insert into told values ('a', 'b')")
    tries: list[str] = []

    def work(connection: Any) -> str:
        cursor = connection.cursor()
        tries.append("try")
        if len(tries) == 1:
            cursor.execute("do $$ begin raise exception using errcode = '40P01'; end $$")
        if len(tries) == 2:
            cursor.execute("insert into told values ('a', 'b')")
        cursor.execute("insert into told values ('a', 'c') returning word")
        return str(cursor.fetchone())

    for opened in (plain_psycopg, sqlalchemy_session, django_alias):
        tries.clear()
        rows_at(postgres_url, "delete from told where word = 'c'")
        with opened(postgres_url) as app:
            assert AppDatabase(app.transactions).run(work) == "('c',)"
        assert len(tries) == 3


def test_a_commit_without_an_answer_is_in_doubt(postgres_url: str) -> None:
    """Neither kept nor lost may be said of it."""

    def work(connection: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("select pg_backend_pid()")
        ((pid,),) = cursor.fetchall()
        rows_at(postgres_url, f"select pg_terminate_backend({pid})")

    for opened in (plain_psycopg, sqlalchemy_session, django_alias):
        with opened(postgres_url) as app, pytest.raises(OutcomeUnknown):
            AppDatabase(app.transactions).run(work)


def test_our_transactions_see_the_newest_commits(postgres_url: str) -> None:
    """Whatever isolation the app's connections are set to: the merge rules of several workers stand on it."""

    def isolation(connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.execute("select current_setting('transaction_isolation'), current_setting('lock_timeout')")
        return cursor.fetchone()

    with sqlalchemy_session(postgres_url, isolation_level="SERIALIZABLE") as app:
        assert AppDatabase(app.transactions).run(isolation) == ("read committed", "5s")
        with AppDatabase(app.transactions).lent() as transaction:
            assert app.say(transaction.app, "show transaction_isolation").scalar() == "serializable"


def test_what_postgresql_quotes_of_a_row_is_in_no_error_of_ours(postgres_url: str) -> None:
    """Its details hold whole rows: a person's data in a log."""
    rows_at(postgres_url, TABLE)

    def work(connection: Any) -> None:
        connection.cursor().execute("insert into told values ('ada@acme.example', null)")

    with plain_psycopg(postgres_url) as app, pytest.raises(psycopg.errors.NotNullViolation) as caught:
        AppDatabase(app.transactions).run(work)

    assert "ada@" not in str(caught.value)
    assert "column word" in str(caught.value)


def test_a_locked_sqlite_file_is_not_available(tmp_path: Path) -> None:
    """Each kind's own error means the same; a handler's that found it locked comes again uncounted."""
    url = f"sqlite:///{tmp_path / 'app.db'}"
    rows_at(url, "pragma journal_mode=wal")
    rows_at(url, TABLE)
    with contextlib.closing(sqlite3.connect(file_of(url), isolation_level=None)) as other:
        other.execute("begin immediate")
        for database, opened in KINDS.values():
            if database == "sqlite":
                with opened(url) as app:
                    with pytest.raises(StorageUnavailable, match="locked"):
                        AppDatabase(app.transactions).run(tell_on)
                    with pytest.raises(StorageUnavailable, match="locked"), AppDatabase(app.transactions).lent() as tx:
                        tell(app, tx.app, "event_1")


def tell_on(connection: Any) -> None:
    connection.cursor().execute("insert into told values ('event_1', 'heard')")


# -- what is refused


class OtherDriver:
    """A connection of a driver that verbs do not speak to."""


@contextlib.contextmanager
def other_driver() -> Iterator[Any]:
    class Lent:
        dbapi = OtherDriver()
        app = None

    yield Lent()


def test_another_driver_is_named() -> None:
    """psycopg2 or MySQL would fail at the first statement, with words that help nobody."""

    class Transactions:
        begin = staticmethod(other_driver)

    with pytest.raises(ConfigError, match=r"sqlite3 or psycopg \(version 3\), got .*OtherDriver"):
        AppDatabase(Transactions()).run(lambda connection: None)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_an_engine_in_autocommit_is_refused(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Nothing would be one commit with anything."""
    url = f"sqlite:///{tmp_path / 'app.db'}" if database == "sqlite" else request.getfixturevalue("postgres_url")
    with sqlalchemy_session(url, isolation_level="AUTOCOMMIT") as app:
        with pytest.raises(ConfigError, match="autocommit"), AppDatabase(app.transactions).lent():
            pass
        if database == "postgres":
            with pytest.raises(ConfigError, match="autocommit"):
                AppDatabase(app.transactions).run(lambda connection: None)


def test_the_sessions_of_requests_are_refused() -> None:
    """A scoped session may be in the middle of the app's own transaction."""
    with pytest.raises(ConfigError, match="expected a sessionmaker"):
        SessionTransactions(scoped_session(sessionmaker(sqlalchemy.create_engine("sqlite://"))))


def test_nothing_is_loaded_that_the_app_has_not() -> None:
    """Each kind stands on its own library alone."""
    program = (
        "import sys; before = set(sys.modules)\n"
        "import hookline.adapters.dbapi\n"
        "print(sorted({'sqlalchemy', 'django', 'psycopg', 'sqlite3'} & (set(sys.modules) - before)))\n"
        "import hookline.adapters.sqlalchemy\n"
        "print('django' in sys.modules, 'psycopg' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)

    assert done.stdout == "['sqlite3']\nFalse False\n"


def test_a_forked_process_leaves_the_pool_to_its_parent(postgres: Cluster) -> None:
    """Two processes that speak on one connection at the same time would read each other's answers."""
    name = postgres.create()
    done = subprocess.run(
        [sys.executable, "-m", "tests.adapters.forked_app", postgres.url(name)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    before, first, second, after = (line.split() for line in done.stdout.splitlines())

    assert before == after
    assert first[0] == first[1]
    assert len({*before, *first, *second}) == 3
