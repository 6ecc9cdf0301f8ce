"""PostgreSQL: transactions and their conflicts, lent connections, wake-ups, forks, and a server that goes away."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from hookline.errors import ConfigError, HooklineError, OutcomeUnknown, StorageUnavailable, TransactionMisuse
from hookline.storage import connect
from hookline.storage.migrate import migrate
from hookline.storage.postgres import PostgresDatabase
from hookline.storage.verbs import Verb, Verbs

from ..postgres import Cluster


@pytest.fixture
def name(postgres: Cluster) -> Iterator[str]:
    """An empty database with one table."""
    name = postgres.create()
    with postgres.connect(name) as connection:
        connection.execute("create table t (a bigint primary key, b text not null)")
    yield name
    postgres.drop(name)


@pytest.fixture
def database(postgres: Cluster, name: str) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(postgres.url(name))
    yield database
    database.close()


def put(database: PostgresDatabase, a: int, b: str = "x") -> None:
    with database.transaction() as connection:
        connection.execute("insert into t values (%s, %s)", (a, b))


def rows(database: PostgresDatabase) -> list[int]:
    with database.read() as connection:
        return [a for (a,) in connection.execute("select a from t order by a")]


def end_sessions(postgres: Cluster, name: str) -> None:
    """Throw everybody out of a database, as an administrator or a restart does."""
    with postgres.connect() as connection:
        connection.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", (name,))


# -- the URL ------------------------------------------------------------------------------------------------------


def test_one_database_per_url(postgres: Cluster, name: str) -> None:
    """The same URL gives the same database, however it is written, until its last holder closes it."""
    url = postgres.url(name)
    database = connect(url)
    again = connect(url.replace("postgresql://", "postgres://"))

    assert again is database
    again.close()
    with database.read() as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]
    database.close()
    other = connect(url)
    assert other is not database
    other.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://h",
        "postgresql://h:port/db",
        "postgresql://u:hunter2@h/db?colour=red",
        "postgresql://u:hunter2@h/db?pool_size=0",
        "postgresql://u:hunter2@h/db?pool_size=many",
        "postgresql://u:hunter2@h/db?prepare_threshold=some",
        "postgresql://u:hunter2@h/db?notify=maybe",
    ],
)
def test_a_wrong_url_is_refused_by_the_settings_name(url: str) -> None:
    """A URL that cannot be used is an error that names the setting, and never tells the password."""
    with pytest.raises(ConfigError, match="HOOKLINE_DATABASE_URL") as caught:
        connect(url, setting="HOOKLINE_DATABASE_URL")

    assert "hunter2" not in str(caught.value)


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The light install says what is missing."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for module in [known for known in sys.modules if known.startswith("hookline.storage.postgres")]:
        monkeypatch.delitem(sys.modules, module)

    with pytest.raises(ConfigError, match=r"hookline\[postgres\]"):
        connect("postgresql://h/db")


def test_the_password_is_in_no_text() -> None:
    """Neither the representation nor the error of a server that is away holds it."""
    database = PostgresDatabase("postgresql://ada:hunter2@127.0.0.1:1/db")
    with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:1, database db") as caught, database.read():
        pass

    assert "hunter2" not in f"{database!r} {caught.value} {caught.value.__cause__}"


def test_connections_say_who_they_are(database: PostgresDatabase, name: str, postgres: Cluster) -> None:
    """An operator sees Hookline among the sessions, and a name of one's own where the URL gives one."""
    with database.read() as connection:
        assert connection.execute("show application_name").fetchall() == [("hookline",)]
        assert connection.execute("show client_encoding").fetchall() == [("UTF8",)]
    named = PostgresDatabase(postgres.url(name, application_name="hooks-eu"))
    with named.read() as connection:
        assert connection.execute("show application_name").fetchall() == [("hooks-eu",)]
    named.close()


@pytest.mark.parametrize("threshold", ["none", "0"])
def test_prepared_statements_are_an_option(postgres: Cluster, name: str, threshold: str) -> None:
    """Behind a pooler that cannot keep them nothing is prepared."""
    database = PostgresDatabase(postgres.url(name, prepare_threshold=threshold))
    with database.read() as connection:
        for _ in range(10):
            connection.execute("select %s::bigint", (1,))
        prepared = connection.execute("select count(*) from pg_prepared_statements").fetchall()
    database.close()

    assert (prepared == [(0,)]) is (threshold == "none")


# -- transactions -------------------------------------------------------------------------------------------------


def test_a_failing_transaction_leaves_nothing(database: PostgresDatabase) -> None:
    """What raises is undone, and the connection serves the next one."""
    put(database, 1)
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("insert into t values (2, 'y')")
        _ = 1 / 0
    put(database, 3)

    assert rows(database) == [1, 3]


def test_reading_sees_each_commit_and_a_snapshot_one_moment(database: PostgresDatabase) -> None:
    """`read` sees the newest commit with every statement, `snapshot` the same moment, and refuses to write."""
    with database.read() as one, database.snapshot() as other:
        before = [connection.execute("select count(*) from t").fetchall() for connection in (one, other)]
        put(database, 1)
        after = [connection.execute("select count(*) from t").fetchall() for connection in (one, other)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            other.execute("insert into t values (2, 'y')")

    assert (before, after) == ([[(0,)], [(0,)]], [[(1,)], [(0,)]])


def test_a_deadlock_is_run_again(database: PostgresDatabase) -> None:
    """Of two that wait for each other one is undone by the server and simply comes again."""
    put(database, 1)
    put(database, 2)
    both = threading.Barrier(2)
    met: list[int] = []

    def work(first: int, second: int) -> Callable[[Any], None]:
        def change(connection: Any) -> None:
            connection.execute("update t set b = b || 'x' where a = %s", (first,))
            if len(met) < 2:
                met.append(first)
                both.wait()
            connection.execute("update t set b = b || 'x' where a = %s", (second,))

        return change

    threads = [threading.Thread(target=database.run, args=(work(*pair),)) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as connection:
        assert connection.execute("select b from t").fetchall() == [("xxx",), ("xxx",)]


def test_a_conflict_without_end_is_given_up(database: PostgresDatabase) -> None:
    """Work that is in others' way each time ends as a database that is not available, with nothing written."""
    calls: list[int] = []

    def work(connection: Any) -> None:
        calls.append(1)
        connection.execute("insert into t values (1, 'x')")
        connection.execute("do $$ begin raise exception 'no' using errcode = '40001'; end $$")

    with pytest.raises(StorageUnavailable, match="in the way"):
        database.run(work)

    assert len(calls) > 5
    assert rows(database) == []


def test_a_row_somebody_else_has_just_inserted(database: PostgresDatabase) -> None:
    """Work that looked before another inserted meets a unique violation, and finds the row the next time."""
    seen: list[list[Any]] = []

    def work(connection: Any) -> None:
        seen.append(connection.execute("select a from t").fetchall())
        if not seen[-1]:
            put(database, 1)
            connection.execute("insert into t values (1, 'second')")

    database.run(work)

    assert seen == [[], [(1,)]]


def test_a_lasting_unique_violation_is_told(database: PostgresDatabase) -> None:
    """It is run again a few times, no more, and then told as what it is."""
    put(database, 1)
    calls: list[int] = []

    def work(connection: Any) -> None:
        calls.append(1)
        connection.execute("insert into t values (1, 'x')")

    with pytest.raises(psycopg.errors.UniqueViolation, match="t_pkey"):
        database.run(work)
    assert 1 < len(calls) < 6


def test_errors_hold_no_values(database: PostgresDatabase) -> None:
    """The server puts whole rows into its messages; ours name the column alone, and hide the server's."""
    with pytest.raises(psycopg.errors.NotNullViolation) as caught, database.transaction() as connection:
        connection.execute("insert into t values (741852963, null)")

    assert "column b" in str(caught.value)
    assert "741852963" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert any(entry.name == "test_errors_hold_no_values" for entry in caught.traceback)


def test_a_failure_passed_over_is_no_commit(database: PostgresDatabase) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error: that must not look like success."""
    with pytest.raises(HooklineError, match="passed over"), database.transaction() as connection:
        connection.execute("insert into t values (1, 'x')")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1 / 0")

    assert rows(database) == []


def test_waiting_for_a_lock_is_bounded(
    database: PostgresDatabase, postgres: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who holds a lock and does nothing costs a while, not for ever."""
    monkeypatch.setattr("hookline.storage.postgres._BEGIN", "begin; set local lock_timeout = 50")
    with postgres.connect(name) as other, other.transaction():
        other.execute("lock table t")
        with pytest.raises(StorageUnavailable, match="lock"):
            put(database, 1)


def test_more_callers_than_connections(postgres: Cluster, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for each other; who waits too long is told what to do."""
    database = PostgresDatabase(postgres.url(name, pool_size="2"))
    threads = [threading.Thread(target=put, args=(database, number)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(database) == list(range(30))

    monkeypatch.setattr("hookline.storage.postgres_pool.WAIT_S", 0.05)
    with database.read(), database.read(), pytest.raises(StorageUnavailable, match="pool_size"), database.read():
        pass
    with postgres.connect(name) as connection:
        count = connection.execute(
            "select count(*) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()", (name,)
        ).fetchall()
    database.close()
    assert count == [(2,)]


# -- lent connections ---------------------------------------------------------------------------------------------


def test_a_lent_transaction_commits_with_the_block(database: PostgresDatabase) -> None:
    """The handler's writes and ours are one transaction; savepoints are the handler's own."""
    with database.lent() as tx:
        tx.app.execute("insert into t values (1, 'x')")
        with pytest.raises(psycopg.errors.UniqueViolation), tx.transaction():
            tx.execute("insert into t values (1, 'again')")
        tx.dbapi.execute("insert into t values (2, 'y')")
    with pytest.raises(ZeroDivisionError), database.lent() as tx:
        tx.execute("insert into t values (3, 'z')")
        _ = 1 / 0

    assert rows(database) == [1, 2]


@pytest.mark.parametrize(
    "end",
    [
        lambda tx: tx.commit(),
        lambda tx: tx.rollback(),
        lambda tx: tx.close(),
        lambda tx: tx.__enter__(),
        lambda tx: tx.execute("commit"),
        lambda tx: tx.execute(b" -- well\n COMMIT"),
        lambda tx: tx.execute("insert into t values (9, ';'); end"),
        lambda tx: tx.cursor().execute("/* now */ rollback"),
        lambda tx: tx.cursor().execute("rollback and chain"),
        lambda tx: tx.cursor().executemany("abort", [()]),
        lambda tx: tx.execute(psycopg.sql.SQL("begin")),
        lambda tx: tx.execute("prepare transaction 'x'"),
        lambda tx: tx.pgconn.exec_(b"commit"),
    ],
)
def test_a_lent_transaction_is_not_the_handlers_to_end(
    database: PostgresDatabase, end: Callable[[Any], object]
) -> None:
    """Whatever would end it raises; by whatever way it was ended all the same, the run is not taken for done."""
    with pytest.raises(TransactionMisuse), database.lent() as tx:
        end(tx)

    put(database, 1)
    assert rows(database) == [1]


def test_text_that_only_mentions_an_ending(database: PostgresDatabase) -> None:
    """A string, a comment, a function body or a savepoint ends nothing."""
    with database.lent() as tx:
        tx.execute("insert into t values (1, '; commit')")
        tx.execute("select 1 -- ; commit")
        tx.execute("do $$ begin perform 1; end; $$")
        tx.execute("savepoint a")
        tx.execute("rollback to savepoint a")
        tx.execute("select 1; select 2")

    assert rows(database) == [1]


def test_a_handler_that_goes_on_after_a_failure(database: PostgresDatabase) -> None:
    """It is told what PostgreSQL does then and what to do, and nothing of it is kept."""
    with pytest.raises(TransactionMisuse, match=r"tx\.transaction"), database.lent() as tx:
        tx.execute("insert into t values (1, 'x')")
        with pytest.raises(psycopg.errors.DivisionByZero):
            tx.execute("select 1 / 0")
    with pytest.raises(TransactionMisuse, match=r"tx\.transaction"), database.lent() as tx:
        with pytest.raises(psycopg.errors.DivisionByZero):
            tx.execute("select 1 / 0")
        tx.execute("insert into t values (1, 'x')")

    assert rows(database) == []


def test_errors_of_the_handlers_own_pass(database: PostgresDatabase) -> None:
    """What its statements raise, and what another database it talks to raises, is the handler's to see."""
    with pytest.raises(psycopg.errors.UndefinedTable), database.lent() as tx:
        tx.execute("select * from nowhere")
    with pytest.raises(psycopg.OperationalError) as caught, database.lent() as tx:
        psycopg.connect("host=127.0.0.1 port=1 dbname=other")

    assert not isinstance(caught.value, HooklineError)


def test_a_deadlock_in_a_handler_is_not_its_failure(database: PostgresDatabase) -> None:
    """It is told as a database that is not available, which counts as no attempt."""
    with pytest.raises(StorageUnavailable), database.lent() as tx:
        tx.execute("do $$ begin raise exception 'no' using errcode = '40P01'; end $$")


def test_what_a_handler_sets_ends_with_it(postgres: Cluster, name: str) -> None:
    """A row factory of one handler is not the next one's."""
    database = PostgresDatabase(postgres.url(name, pool_size="1"))
    with database.lent() as tx:
        tx.row_factory = psycopg.rows.dict_row  # type: ignore[assignment]
    with database.lent() as tx:
        assert tx.execute("select 1").fetchall() == [(1,)]
    with database.transaction() as connection:
        connection.execute("commit")
    database.close()


# -- a server that goes away --------------------------------------------------------------------------------------


def test_sessions_that_were_ended_are_replaced(database: PostgresDatabase, postgres: Cluster, name: str) -> None:
    """Connections that lay idle over a restart are not even noticed by the next caller."""
    with database.read(), database.read(), database.read():
        pass
    end_sessions(postgres, name)

    put(database, 1)
    assert rows(database) == [1]


def test_a_session_lost_on_the_way(database: PostgresDatabase, postgres: Cluster, name: str) -> None:
    """Nothing was written, the caller is told so, and the next one has a new connection."""
    with pytest.raises(StorageUnavailable), database.transaction() as connection:
        connection.execute("insert into t values (1, 'x')")
        end_sessions(postgres, name)
        connection.execute("insert into t values (2, 'x')")
    with pytest.raises(StorageUnavailable), database.lent() as tx:
        end_sessions(postgres, name)
        tx.execute("select 1")

    assert rows(database) == []


class Cut:
    """A wire between a client and the server that ends right after it has carried a commit there."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_armed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            threading.Thread(target=self._carry, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, False), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, is_there: bool) -> None:
        with one, other, contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if is_there and self.is_armed and b"commit\x00" in data:
                    one.close()
                    other.sendall(data)
                    other.recv(1)  # it has answered, and nobody hears
                    return
                other.sendall(data)

    def close(self) -> None:
        self._listener.close()


def test_a_commit_without_an_answer_is_unknown(postgres: Cluster, name: str) -> None:
    """A connection lost during the commit leaves open whether it was kept: here it was."""
    wire = Cut(postgres.port)
    url = postgres.url(name, notify="off").replace(str(postgres.port), str(wire.port))
    database = PostgresDatabase(url)
    with database.transaction() as connection:
        connection.execute("insert into t values (1, 'x')")
    wire.is_armed = True

    with pytest.raises(OutcomeUnknown):
        put(database, 2)
    wire.is_armed = False
    for _ in range(100):
        if rows(database) == [1, 2]:
            break
        threading.Event().wait(0.02)
    assert rows(database) == [1, 2]
    database.close()
    wire.close()


def test_a_server_that_is_away_and_comes_back() -> None:
    """While it is down everybody is told at once; afterwards everything works, subscriptions too."""
    from ..postgres import make_cluster

    cluster = make_cluster()
    try:
        database = PostgresDatabase(cluster.url())
        heard = threading.Event()
        database.subscribe("inbox", heard.set)
        database.run(lambda connection: connection.execute("create table t (a bigint primary key, b text)"))
        cluster.shut_down()
        for _ in range(3):
            with pytest.raises(StorageUnavailable):
                put(database, 1)
        cluster.start()
        for _ in range(100):
            try:
                put(database, 2)
            except StorageUnavailable:
                threading.Event().wait(0.05)
            else:
                break
        assert rows(database) == [2]
        # What was said meanwhile may be lost: whoever waits is woken when listening works again.
        assert heard.wait(20)
        heard.clear()
        other = PostgresDatabase(cluster.url())
        other.notify("inbox")
        assert heard.wait(20)
        other.close()
        database.close()
    finally:
        cluster.stop()


# -- wake-ups -----------------------------------------------------------------------------------------------------


@pytest.fixture
def other(postgres: Cluster, name: str) -> Iterator[PostgresDatabase]:
    """The same database, as another process has it."""
    other = PostgresDatabase(postgres.url(name))
    yield other
    other.close()


def test_others_are_woken_by_channel(database: PostgresDatabase, other: PostgresDatabase) -> None:
    """A notification reaches the subscribers of its channel, here at once and there soon; nobody else."""
    here, there, elsewhere = threading.Event(), threading.Event(), threading.Event()
    database.subscribe("inbox", here.set)
    other.subscribe("inbox", there.set)
    other.subscribe("runs", elsewhere.set)

    database.notify("inbox")

    assert here.is_set()
    assert there.wait(10)
    database.notify("runs")
    assert elsewhere.wait(10)


def test_a_burst_is_said_once_or_twice(database: PostgresDatabase, other: PostgresDatabase) -> None:
    """However many batches are committed at once, few notifications go out, and the last is not forgotten."""
    calls: list[int] = []
    last = threading.Event()
    other.subscribe("inbox", lambda: calls.append(1))
    other.subscribe("last", last.set)

    for _ in range(1_000):
        database.notify("inbox")
    database.notify("last")

    assert last.wait(10)
    assert 1 <= len(calls) < 200


def test_an_ended_subscription_is_quiet(database: PostgresDatabase, other: PostgresDatabase) -> None:
    """After unsubscribing nothing is called any more."""
    calls: list[int] = []
    marked = threading.Event()
    end = other.subscribe("inbox", lambda: calls.append(1))
    other.subscribe("mark", marked.set)
    end()
    end()

    database.notify("inbox")
    database.notify("mark")

    assert marked.wait(10)
    assert calls == []


def test_listening_comes_back(
    database: PostgresDatabase, other: PostgresDatabase, postgres: Cluster, name: str
) -> None:
    """A listener that was thrown out listens again by itself, and wakes everybody, since it may have missed news."""
    heard = threading.Event()
    other.subscribe("inbox", heard.set)
    end_sessions(postgres, name)

    assert heard.wait(10)
    heard.clear()
    database.notify("inbox")
    assert heard.wait(10)


def test_without_notify_only_this_process_is_told(postgres: Cluster, name: str) -> None:
    """`notify=off` listens to nobody; there is no thread and no connection for it."""

    def sessions() -> set[int]:
        # Asked from another database: who asks is seen until its session has ended, and so is who made this one.
        with postgres.connect("postgres") as connection:
            return {
                pid
                for (pid,) in connection.execute(
                    "select pid from pg_stat_activity where datname = %s and backend_type = 'client backend'",
                    (name,),
                )
            }

    others = sessions()
    database = PostgresDatabase(postgres.url(name, notify="off"))
    heard = threading.Event()
    database.subscribe("inbox", heard.set)
    database.notify("inbox")

    assert heard.is_set()
    assert sessions() <= others
    database.close()


def test_the_last_word_is_said_before_closing(postgres: Cluster, name: str, other: PostgresDatabase) -> None:
    """A process that commits and ends at once still wakes the others."""
    heard = threading.Event()
    other.subscribe("inbox", heard.set)
    brief = PostgresDatabase(postgres.url(name))
    brief.notify("inbox")
    brief.close()

    assert heard.wait(10)


# -- processes ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(database: PostgresDatabase) -> None:
    """The child neither uses nor ends its parent's sessions."""
    put(database, 1)
    heard = threading.Event()
    database.subscribe("inbox", heard.set)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            put(database, 2)
            database.notify("inbox")
            database.close()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    put(database, 3)
    assert status == 0
    assert rows(database) == [1, 2, 3]
    assert heard.wait(10)


MIGRATOR = """
import sys
from hookline.storage import connect
from hookline.storage.migrate import migrate
database = connect(sys.argv[1])
print(migrate(database, "sender", "hookline.sender"), migrate(database, "receiver", "hookline.receiver"))
database.close()
"""


def test_two_processes_migrate_at_once(postgres: Cluster, name: str) -> None:
    """One of them makes the tables, in whatever order they come."""
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATOR, postgres.url(name)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate()[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    for column in zip(*said, strict=True):
        assert sorted(map(int, column))[:3] == [0, 0, 0]
        assert max(map(int, column)) > 0


def test_the_tables_go_where_the_search_path_says(postgres: Cluster, name: str) -> None:
    """A schema of one's own holds them all, and another schema's are not taken for them."""
    with postgres.connect(name) as connection:
        connection.execute("create schema hooks")
    database = PostgresDatabase(postgres.url(name, options="-csearch_path%3Dhooks"))
    migrate(database, "sender", "hookline.sender")
    database.close()
    plain = PostgresDatabase(postgres.url(name))
    applied = migrate(plain, "sender", "hookline.sender")
    plain.close()

    with postgres.connect(name) as connection:
        found = connection.execute(
            "select schemaname, count(*) from pg_tables where tablename like 'hookline_%%' group by 1 order by 1"
        ).fetchall()
    assert applied > 0
    assert [schema for schema, _ in found] == ["hooks", "public"]
    assert found[0][1] == found[1][1]


# -- every statement of ours ------------------------------------------------------------------------------------------


def prepared(verb: Verb) -> str:
    """A verb's statement with numbered parameters, as one that takes two rows where it takes rows."""
    text = verb._text(1 if verb._types else 2) if verb.columns else verb._head.text
    for number in range(1, text.count("%s") + 1):
        text = text.replace("%s", f"${number}", 1)
    return text.replace("%%", "%")


@pytest.mark.parametrize("package", ["hookline.sender", "hookline.receiver"])
def test_the_server_understands_every_verb(postgres: Cluster, postgres_url: str, package: str) -> None:
    """Every statement, common or PostgreSQL's own, is one for the tables as they are."""
    database = PostgresDatabase(postgres_url)
    refused: dict[str, str] = {}
    with database.read() as connection:
        for name, verb in Verbs(package, "postgres").items():
            try:
                connection.execute(psycopg.sql.SQL(f"prepare {name} as {prepared(verb)}"))
            except psycopg.Error as error:
                if not isinstance(error, psycopg.errors.SyntaxError) or not prepared(verb).startswith("lock "):
                    refused[name] = str(error).splitlines()[0]
    database.close()

    assert refused == {}


@pytest.mark.parametrize("package", ["hookline.sender", "hookline.receiver"])
def test_a_statement_of_postgresqls_own_takes_what_the_common_one_takes(package: str) -> None:
    """Callers know one verb: the same names, and rows in the same order."""
    common, own = Verbs(package, "sqlite"), Verbs(package, "postgres")

    def names(verb: Verb) -> set[str]:
        return {*verb._head.names, *verb._tail.names, *verb.columns}

    assert {name for name in common if common[name].columns != own[name].columns} == set()
    assert {name for name in common if names(common[name]) != names(own[name])} <= {"claim"}
