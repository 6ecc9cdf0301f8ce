"""SQLite: transactions, lent connections, wake-ups, forks, and a database that is away."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from hookline.errors import ConfigError, StorageUnavailable, TransactionMisuse
from hookline.storage import Database, connect
from hookline.storage.filelock import FileLock

if TYPE_CHECKING:
    from pathlib import Path


def put(database: Database, a: int, b: str = "x") -> None:
    with database.transaction() as connection:
        connection.execute("insert into t values (?, ?)", (a, b))


def rows(database: Database) -> list[int]:
    with database.read() as connection:
        return [a for (a,) in connection.execute("select a from t order by a")]


def test_one_database_per_file(url: str, database: Database, tmp_path: Path) -> None:
    """The same file gives the same database, however its path is written, until its last holder closes it."""
    (tmp_path / "link.db").symlink_to(tmp_path / "test.db")
    again = connect(f"sqlite:///{tmp_path}/link.db")

    assert again is database
    again.close()
    assert rows(database) == []


@pytest.mark.parametrize(
    "url",
    [
        "mysql://x/y",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/x.db",
        "x.db",
        "sqlite:///x.db?mode=ro",
    ],
)
def test_other_urls_are_refused_by_the_settings_name(url: str) -> None:
    """A URL of another kind is an error that names the setting."""
    with pytest.raises(ConfigError, match="HOOKLINE_DATABASE_URL"):
        connect(url, setting="HOOKLINE_DATABASE_URL")


def test_connecting_touches_no_disk(tmp_path: Path) -> None:
    """Nothing is opened before the first use."""
    database = connect(f"sqlite:///{tmp_path}/never.db")
    database.close()

    assert list(tmp_path.iterdir()) == []


def test_durability_settings(database: Database) -> None:
    """Every connection of ours is WAL, FULL, and never checkpoints by itself."""
    for take in (database.transaction, database.read, database.lent):
        with take() as connection:
            values = [
                connection.execute(f"pragma {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "temp_store")
            ]
        assert values == ["wal", 2, 0, 2], take


def test_a_failing_transaction_leaves_nothing(database: Database) -> None:
    """An exception in the block rolls back, and the next transaction works."""
    with pytest.raises(ValueError, match="oops"), database.transaction() as connection:
        connection.execute("insert into t values (1, 'x')")
        raise ValueError("oops")

    database.run(lambda connection: connection.execute("insert into t values (2, 'y')"))
    assert rows(database) == [2]


def test_readers_cannot_write(database: Database) -> None:
    """A connection for reading refuses a write."""
    with pytest.raises(StorageUnavailable), database.read() as connection:
        connection.execute("insert into t values (1, 'x')")

    assert rows(database) == []


def test_a_snapshot_sees_one_moment(database: Database) -> None:
    """A commit during a snapshot is not seen in it."""
    with database.snapshot() as connection:
        before = connection.execute("select count(*) from t").fetchone()
        database.run(lambda writer: writer.execute("insert into t values (1, 'x')"))
        after = connection.execute("select count(*) from t").fetchone()

    assert (before, after) == ((0,), (0,))
    assert rows(database) == [1]


def test_the_writer_waits_its_turn_and_then_gives_up(url: str, database: Database) -> None:
    """A write waits for the file lock as long as it was told to, and says so when it was not enough."""
    other = subprocess.Popen(  # a second process, as a second `Database` of one file cannot exist in this one
        [sys.executable, "-c", HOLD_THE_WRITER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"

    with pytest.raises(StorageUnavailable, match=r"0\.3 s"), database.transaction():
        pass
    other.stdin.write("let go\n")
    other.communicate()
    database.run(lambda connection: connection.execute("insert into t values (2, 'y')"))

    assert rows(database) == [1, 2]


HOLD_THE_WRITER = """
import sys
from hookline.storage import connect
with connect(sys.argv[1]).transaction() as connection:
    connection.execute("insert into t values (1, 'x')")
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_an_apps_own_lock_is_reported(url: str, database: Database, tmp_path: Path) -> None:
    """A connection that is none of ours and holds the write lock: unavailable, then fine again."""
    foreign = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    foreign.execute("begin immediate")
    with pytest.raises(StorageUnavailable, match="locked"):
        database.run(lambda connection: connection.execute("insert into t values (1, 'x')"))
    foreign.execute("rollback")
    foreign.close()

    database.run(lambda connection: connection.execute("insert into t values (2, 'y')"))
    assert rows(database) == [2]


def test_many_writers_wait_no_longer_than_one(tmp_path: Path) -> None:
    """While another program holds the database, waiting for each other and for it share one timeout."""
    database = connect(f"sqlite:///{tmp_path}/held.db?busy_timeout_ms=2000")
    with database.transaction() as connection:
        connection.execute("create table t (a integer primary key, b text)")
    foreign = sqlite3.connect(tmp_path / "held.db", isolation_level=None)
    foreign.execute("begin immediate")
    waits_s: list[float] = []

    def write() -> None:
        started_s = time.monotonic()
        with pytest.raises(StorageUnavailable):
            put(database, 1)
        waits_s.append(time.monotonic() - started_s)

    threads = [threading.Timer(after_s, write) for after_s in (0, 0.1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    foreign.execute("rollback")
    foreign.close()
    with database.transaction() as connection:
        timeout_ms = connection.execute("pragma busy_timeout").fetchone()
    database.close()

    assert len(waits_s) == 2
    # The later one has waited 1.9 s for the first, and then 0.1 s alone; with a timeout for each it would be 3.9 s.
    assert max(waits_s) < 2.5
    assert timeout_ms == (2000,)


def test_a_full_disk_loses_the_transaction_only(database: Database) -> None:
    """With no page left the write is refused whole; with room again the same connection goes on."""
    with database.transaction() as connection:
        pages = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count={pages + 2}")
    with pytest.raises(StorageUnavailable, match="full"), database.transaction() as connection:
        for a in range(100):
            connection.execute("insert into t values (?, ?)", (a, "x" * 4000))
    with database.transaction() as connection:
        connection.execute("pragma max_page_count=1000000")
        connection.execute("insert into t values (1000, 'y')")

    assert rows(database) == [1000]


def test_a_missing_folder_is_unavailable(tmp_path: Path) -> None:
    """A path that cannot be opened is a storage error that names it, not a crash of another kind."""
    database = connect(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    with pytest.raises(StorageUnavailable, match=r"folder/x\.db.*No such file"), database.transaction():
        pass
    database.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """A file of another kind is refused and left alone."""
    (tmp_path / "x.db").write_bytes(b"not a database at all" * 100)
    database = connect(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(StorageUnavailable, match="not an SQLite database"), database.transaction():
        pass
    database.close()

    assert (tmp_path / "x.db").read_bytes().startswith(b"not a database")


class TestLent:
    """The transaction a handler is lent."""

    def test_reading_holds_nobody_up(self, database: Database) -> None:
        """Before its first write a handler holds no lock, and sees what others commit meanwhile."""
        with database.lent() as tx:
            assert tx.app.execute("select count(*) from t").fetchone() == (0,)
            database.run(lambda connection: connection.execute("insert into t values (1, 'x')"))
            assert tx.app.execute("select count(*) from t").fetchone() == (1,)

    def test_writing_takes_the_lock_until_the_end(self, database: Database) -> None:
        """From its first write on others wait; its writes are visible when it ends."""
        with database.lent() as tx:
            tx.app.execute("insert into t values (1, 'x')")
            with pytest.raises(StorageUnavailable), database.transaction():
                pass
            assert rows(database) == []

        assert rows(database) == [1]

    @pytest.mark.parametrize(
        "write",
        [
            lambda tx: tx.execute("insert into t values (1, 'x')"),
            lambda tx: tx.execute("insert into t values (?, ?) returning a", (1, "x")).fetchall(),
            lambda tx: tx.execute("with n as (select 1 as a) insert into t select a, 'x' from n"),
            lambda tx: tx.executemany("insert into t values (?, ?)", iter([(1, "x")])),
            lambda tx: tx.cursor().execute("insert into t values (1, 'x')"),
            lambda tx: tx.cursor().executemany("insert into t values (?, ?)", [(1, "x")]),
            lambda tx: (
                tx.execute("savepoint s"),
                tx.execute("insert into t values (1, 'x')"),
                tx.execute("release s"),
            ),
        ],
    )
    def test_every_way_to_write(self, database: Database, write: object) -> None:
        """However a handler writes, it lands in the one transaction and commits at its end."""
        assert callable(write)
        with database.lent() as tx:
            write(tx.app)
            assert tx.app.in_transaction
            assert rows(database) == []

        assert rows(database) == [1]

    def test_an_exception_undoes_everything(self, database: Database) -> None:
        """A handler that raises leaves nothing, and the next loan starts clean."""
        with pytest.raises(ValueError, match="oops"), database.lent() as tx:
            tx.app.row_factory = sqlite3.Row
            tx.app.execute("insert into t values (1, 'x')")
            raise ValueError("oops")
        with database.lent() as tx:
            assert tx.app.execute("select count(*) from t").fetchone() == (0,)
            tx.app.row_factory = sqlite3.Row
        with database.lent() as tx:
            assert tx.app.row_factory is None
        database.run(lambda connection: connection.execute("insert into t values (2, 'y')"))

        assert rows(database) == [2]

    @pytest.mark.parametrize(
        "misuse",
        [
            lambda tx: tx.commit(),
            lambda tx: tx.rollback(),
            lambda tx: tx.close(),
            lambda tx: tx.__enter__(),
            lambda tx: tx.executescript("select 1"),
            lambda tx: tx.cursor().executescript("select 1"),
            lambda tx: tx.execute("COMMIT"),
            lambda tx: tx.execute(" ;\n rollback;"),
            lambda tx: tx.execute("end transaction"),
            lambda tx: tx.execute("begin"),
            lambda tx: tx.cursor().execute("commit;"),
        ],
    )
    def test_the_end_is_not_the_handlers(self, database: Database, misuse: object) -> None:
        """Commit, rollback and close raise, in every spelling, and what was written is undone."""
        assert callable(misuse)
        with pytest.raises(TransactionMisuse), database.lent() as tx:
            tx.app.execute("insert into t values (1, 'x')")
            misuse(tx.app)

        assert rows(database) == []

    def test_a_handlers_own_mistake_is_its_own(self, database: Database) -> None:
        """A wrong statement or a broken constraint comes out as the driver raised it."""
        with pytest.raises(sqlite3.OperationalError, match="no such table"), database.lent() as tx:
            tx.app.execute("select * from no_such")
        with pytest.raises(sqlite3.IntegrityError), database.lent() as tx:
            tx.app.execute("insert into t values (1, 'x')")
            tx.app.execute("insert into t values (1, 'x')")

        assert rows(database) == []

    def test_a_savepoint_can_be_rolled_back_to(self, database: Database) -> None:
        """Handlers may undo a part of their own."""
        with database.lent() as tx:
            tx.app.execute("insert into t values (1, 'x')")
            tx.app.execute("savepoint s")
            tx.app.execute("insert into t values (2, 'x')")
            tx.app.execute("rollback to s")

        assert rows(database) == [1]


def test_two_threads_write_in_turn(database: Database) -> None:
    """Nobody's transaction fails because another thread writes too."""

    def write(first: int) -> None:
        for a in range(first, first + 50):
            put(database, a)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(rows(database)) == 150


def test_two_processes_write_in_turn(url: str, database: Database) -> None:
    """Two busy processes share the file fairly: neither waits longer than its timeout, nothing is lost."""
    others = [subprocess.Popen([sys.executable, "-c", WRITE_MANY, url, str(first)]) for first in (0, 1000)]

    assert [other.wait() for other in others] == [0, 0]
    assert len(rows(database)) == 400
    with database.read() as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


WRITE_MANY = """
import sys
from hookline.storage import connect, sqlite
sqlite.CHECKPOINT_CHANGES = 7
database = connect(sys.argv[1])
for a in range(int(sys.argv[2]), int(sys.argv[2]) + 200):
    with database.transaction() as connection:
        connection.execute("insert into t values (?, 'x')", (a,))
database.close()
"""


def test_the_wal_is_checkpointed(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL does not grow with the number of commits."""
    monkeypatch.setattr("hookline.storage.sqlite.CHECKPOINT_CHANGES", 10)
    for a in range(300):
        put(database, a, "x" * 2000)

    assert (tmp_path / "test.db-wal").stat().st_size < 300_000


class TestWakeUps:
    """Who hears of a commit."""

    def test_this_process_at_once(self, database: Database) -> None:
        """A notify calls the subscribers of its channel, and nobody after they left."""
        heard: list[str] = []
        leave = database.subscribe("a", lambda: heard.append("a"))
        database.subscribe("b", lambda: heard.append("b"))
        database.notify("a")
        leave()
        database.notify("a")

        assert heard == ["a"]

    def test_another_process_within_a_moment(self, url: str, database: Database) -> None:
        """A commit in another process wakes every subscriber."""
        woken = threading.Event()
        database.subscribe("a", woken.set)
        # Let the poller see the version it starts from before the other process writes.
        for _ in range(3):
            woken.wait(0.11)
        woken.clear()
        subprocess.run([sys.executable, "-c", WRITE_ONE, url], check=True)

        assert woken.wait(5)


WRITE_ONE = """
import sys
from hookline.storage import connect
with connect(sys.argv[1]).transaction() as connection:
    connection.execute("insert into t values (1, 'x')")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    """A database used before a fork (gunicorn --preload) works in both processes after it."""
    script = """
import os, sys
from hookline.storage import connect
database = connect(sys.argv[1])
with database.transaction() as connection:
    connection.execute("create table t (a integer primary key, b text)")
with database.read() as connection:
    connection.execute("select 1")
child = os.fork()
start = 100 if child else 200
for a in range(start, start + 50):
    with database.transaction() as connection:
        connection.execute("insert into t values (?, 'x')", (a,))
if not child:
    os._exit(0)
_, status = os.waitpid(child, 0)
with database.read() as connection:
    print(status, connection.execute("select count(*) from t").fetchone()[0])
"""
    done = subprocess.run([sys.executable, "-c", script, url], check=True, capture_output=True, text=True)

    assert done.stdout == "0 100\n"


def test_a_commit_right_after_subscribing_is_news(url: str, database: Database) -> None:
    """A commit made before the first poll is seen by it, and a subscriber that raises does not end the polling."""
    heard = threading.Event()

    def hear() -> None:
        heard.set()
        raise RuntimeError("a subscriber's own trouble")

    database.subscribe("anything", hear)
    other = sqlite3.connect(url.removeprefix("sqlite:///").partition("?")[0], isolation_level=None)
    was_heard = []
    for value in range(2):
        heard.clear()
        other.execute("insert into t (a) values (?)", (value,))
        was_heard.append(heard.wait(5))
    other.close()

    assert was_heard == [True, True]


def test_an_interrupted_commit_leaves_nothing_open(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal between the last statement and the commit costs that transaction, not every later one."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database, "_commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            put(database, 1)
    put(database, 2)

    assert rows(database) == [2]


@pytest.mark.parametrize(
    "statement",
    ["/* audit */ commit", "-- audit\ncommit", ";\n/* a */ -- b\n END", "/**/rollback", "-- x\n/* y */begin"],
)
def test_a_comment_hides_no_ending(database: Database, statement: str) -> None:
    """A handler's transaction is ended by Hookline, whatever stands before the word."""
    with pytest.raises(TransactionMisuse), database.lent() as tx:
        tx.execute("insert into t (a, b) values (1, 'x')")
        tx.execute(statement)

    assert rows(database) == []


def test_a_kept_connection_holds_nobody_up(database: Database) -> None:
    """What a handler writes after its end is refused: nobody would end that transaction."""
    with database.lent() as tx:
        kept = tx
    with pytest.raises(TransactionMisuse, match="has ended"):
        kept.execute("insert into t (a, b) values (1, 'x')")
    put(database, 2)

    assert rows(database) == [2]


def _two_meet_in_getpid(monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    """From here on this process is `pid`, and two threads ask for that at the same moment."""
    meeting = threading.Barrier(2)
    met = threading.local()

    def getpid() -> int:
        if threading.current_thread() is not threading.main_thread() and not hasattr(met, "has_met"):
            met.has_met = True
            meeting.wait(10)
        return pid

    monkeypatch.setattr(os, "getpid", getpid)


@pytest.mark.parametrize("is_child", [False, True])
def test_two_first_users_of_a_lock_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_child: bool
) -> None:
    """Whether the process made the lock or was forked afterwards: neither takes it away under the other."""
    lock = FileLock(tmp_path / "a.db")
    refreshed: list[object] = []
    close = lock.close

    def closed() -> None:
        refreshed.append(lock)
        close()

    monkeypatch.setattr(lock, "close", closed)
    _two_meet_in_getpid(monkeypatch, os.getpid() + is_child)
    failures: list[Exception] = []

    def use() -> None:
        try:
            lock.acquire(5)
            lock.release()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    close()

    assert failures == []
    assert len(refreshed) == is_child


def test_two_threads_of_a_child_begin_anew_together(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither goes on with the parent's connections, nor with ones the other has thrown away."""
    put(database, 1)
    given_up: list[object] = []
    monkeypatch.setattr("hookline.storage.sqlite._abandoned", given_up)
    writer = database._writer  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        _two_meet_in_getpid(patch, os.getpid() + 1)
        threads = [threading.Thread(target=put, args=(database, number)) for number in (2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        kept = sorted(rows(database))
        database.close()
    writer.close()

    assert kept == [1, 2, 3]
    assert len(given_up) == 1
