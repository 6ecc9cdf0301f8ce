"""SQLite: one `Database` per real path in a process, one writer, readers that never wait for it.

WAL, `synchronous=FULL`, automatic checkpoints off on every connection of ours: each write and each checkpoint
holds the file lock (filelock.py says why). Every transaction that writes begins with `BEGIN IMMEDIATE`, since a
deferred one that reads first and writes later fails at once, whatever the busy timeout.
Knows no table of ours.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hookline.errors import OutcomeUnknown, StorageError, StorageUnavailable, TransactionMisuse
from hookline.storage.filelock import FileLock
from hookline.storage.verbs import Dialect

log = logging.getLogger("hookline.storage")

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
# Changed rows between checkpoints: about 4 to 16 MB of WAL. Rarer means longer stalls, not fewer (measured).
CHECKPOINT_CHANGES = 2_000
# How often another process's commit is looked for (PRAGMA data_version, no disk access).
POLL_S = 0.1

# What may stand before a statement's first word.
_LEADING = re.compile(r"(?:[\s;]++|--[^\n]*+|/\*(?s:.*?)(?:\*/|\Z))*+")

_AWAY = {
    sqlite3.SQLITE_BUSY: "it is locked by another connection",
    sqlite3.SQLITE_LOCKED: "it is locked by another connection",
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "its locking failed",
    sqlite3.SQLITE_NOMEM: "memory is exhausted",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file is not an SQLite database",
}


class SqliteDatabase:
    """A database file. Made by `hookline.storage.connect`; opens nothing before its first use.

    Args:
        path: the file; its folder must exist.
        busy_timeout_s: how long a write waits for other writers before `StorageUnavailable`.
        is_last: asked at each `close`: whether nobody else in this process holds it.
    """

    dialect: ClassVar[Dialect] = "sqlite"

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        is_last: Callable[[SqliteDatabase], bool] = lambda _: True,
    ) -> None:
        self.path = path
        self.busy_timeout_s = busy_timeout_s
        self._is_last = is_last
        self._start_process()

    def _start_process(self) -> None:
        """Everything that belongs to one process; made anew in a forked child, whose copies are not to be touched."""
        self._lock = FileLock(self.path)
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._lendable: list[LentConnection] = []
        self._changes_checkpointed = 0
        self._subscribers: dict[str, list[Callable[[], None]]] = {}
        self._guard = threading.Lock()
        self._poller: threading.Thread | None = None
        self._closed = threading.Event()
        # Last: what another thread of a child finds once the number is right is all new.
        self._pid = os.getpid()

    # -- transactions ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction on the one writer: commits when the block ends, rolls back when it raises.

        Raises:
            StorageUnavailable: locked, full or unwritable; nothing was written.
            OutcomeUnknown: the disk failed during the commit itself.
        """
        self._check_process()
        left_s = self._lock.acquire(self.busy_timeout_s)
        try:
            with _translated():
                connection = self._opened_writer()
                _begin(connection, left_s, self.busy_timeout_s)
            try:
                with _translated():
                    yield connection
            except BaseException:
                self._roll_back(connection)
                raise
            self._commit(connection)
            self._checkpoint_if_due(connection)
        finally:
            if self._writer is not None and self._writer.in_transaction:
                # Interrupted on the way to the commit (a signal in the main thread), or refused by it: what stayed
                # open would keep every later write away, here and in other processes.
                self._roll_back(self._writer)
            self._lock.release()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work(connection)` in a write transaction. A database that must rerun it (PostgreSQL) may call it twice."""
        with self.transaction() as connection:
            return work(connection)

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that cannot write; each statement sees the newest commit."""
        self._check_process()
        with self._guard:
            connection = self._readers.pop() if self._readers else None
        with _translated():
            connection = connection or self._connect(query_only=True)
        try:
            with _translated():
                yield connection
        except BaseException:
            connection.close()
            raise
        with self._guard:
            self._readers.append(connection)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that cannot write and sees one moment throughout."""
        with self.read() as connection:
            connection.execute("begin")
            yield connection
            connection.execute("commit")

    @contextlib.contextmanager
    def lent(self) -> Iterator[LentConnection]:
        """The transaction a handler is lent: reads in autocommit, takes the write lock with its first write.

        So a handler that sleeps before it writes holds nobody up; one that writes and then sleeps holds the
        writer. `commit`, `rollback` and `close` on it raise `TransactionMisuse`. What Hookline itself writes
        through it joins the same transaction, which commits when the block ends and rolls back when it raises.
        """
        self._check_process()
        with self._guard:
            connection = self._lendable.pop() if self._lendable else None
        with _translated():
            connection = connection or self._connect(factory=LentConnection, query_only=True)
        connection.bind_lock(self._lock, self.busy_timeout_s)
        try:
            try:
                with _translated():
                    yield connection
            except BaseException:
                connection.finish(keep=False)
                raise
            connection.finish(keep=True)
        except BaseException:
            connection.dispose()
            raise
        with self._guard:
            self._lendable.append(connection)

    # -- wake-ups ----------------------------------------------------------------------------------------------

    def notify(self, channel: str) -> None:
        """Tell this process's subscribers of `channel` that something was committed. Others see it by themselves."""
        with self._guard:
            callbacks = list(self._subscribers.get(channel, ()))
        for callback in callbacks:
            callback()

    def subscribe(self, channel: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called, on any thread, after a `notify(channel)` here or any commit in another process.

        Returns: a function that ends the subscription.
        """
        self._check_process()
        with self._guard:
            self._subscribers.setdefault(channel, []).append(callback)
            if self._poller is None:
                # Looked at before anybody relies on it: a commit from here on is seen.
                watch = self._watch()
                self._poller = threading.Thread(
                    target=self._poll, args=(watch,), name="hookline-data-version", daemon=True
                )
                self._poller.start()

        def unsubscribe() -> None:
            with self._guard, contextlib.suppress(ValueError):
                self._subscribers.get(channel, []).remove(callback)

        return unsubscribe

    def close(self) -> None:
        """Close every connection of this process; a transaction under way is finished first."""
        if not self._is_last(self):
            return
        if self._pid != os.getpid():
            return
        self._closed.set()
        if self._poller is not None and self._poller is not threading.current_thread():
            self._poller.join()
        if self._writer is not None:
            # Closing a WAL's last connection checkpoints it: that too is done under the lock.
            self._lock.acquire(self.busy_timeout_s)
            try:
                self._close_all()
            finally:
                self._lock.release()
        self._close_all()
        self._lock.close()

    # -- the inside --------------------------------------------------------------------------------------------

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            with _child_guard:
                if self._pid != os.getpid():
                    # SQLite connections must not cross a fork, not even to be closed: the child forgets them unclosed.
                    _abandoned.append((self._writer, self._readers, self._lendable))
                    self._start_process()

    def _close_all(self) -> None:
        with self._guard:
            connections: list[sqlite3.Connection] = [*self._readers, *self._lendable]
            self._readers, self._lendable = [], []
        for connection in connections:
            sqlite3.Connection.close(connection)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _connect(self, *, query_only: bool, factory: type[C] | None = None) -> Any:
        connection = sqlite3.connect(
            self.path,
            timeout=self.busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            factory=factory or sqlite3.Connection,
        )
        try:
            for pragma in ("synchronous=full", "temp_store=memory", "wal_autocheckpoint=0"):
                sqlite3.Connection.execute(connection, f"pragma {pragma}")
            if query_only:
                sqlite3.Connection.execute(connection, "pragma query_only=on")
        except BaseException:
            sqlite3.Connection.close(connection)
            raise
        return connection

    def _opened_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            writer: sqlite3.Connection = self._connect(query_only=False)
            try:
                writer.execute("pragma journal_mode=wal")
            except BaseException:
                writer.close()
                raise
            self._writer = writer
            self._changes_checkpointed = 0
        return self._writer

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("commit")
        except sqlite3.OperationalError as error:
            self._roll_back(connection)
            raise _away(error, at_commit=True) from error

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("rollback")
        except sqlite3.Error:
            log.exception("a rollback failed; the connection is opened anew")
            connection.close()
            self._writer = None

    def _checkpoint_if_due(self, connection: sqlite3.Connection) -> None:
        if connection.total_changes - self._changes_checkpointed < CHECKPOINT_CHANGES:
            return
        try:
            connection.execute("pragma wal_checkpoint(passive)").fetchall()
        except sqlite3.OperationalError as error:
            # The commit holds; a checkpoint that cannot run now runs after a later one.
            log.warning("checkpoint postponed: %s", error)
        self._changes_checkpointed = connection.total_changes

    def _watch(self) -> tuple[sqlite3.Connection, int] | None:
        """A connection to watch for others' commits, and the data version it sees now; None where there is none."""
        try:
            connection: sqlite3.Connection = self._connect(query_only=True)
        except sqlite3.Error:
            return None
        try:
            return connection, connection.execute("pragma data_version").fetchone()[0]
        except sqlite3.Error:
            connection.close()
            return None

    def _poll(self, watch: tuple[sqlite3.Connection, int] | None) -> None:
        while not self._closed.wait(POLL_S):
            if watch is None:
                # No news is no harm: every loop also wakes by its timer.
                watch = self._watch()
                if watch is None:
                    continue
            else:
                try:
                    seen = watch[0].execute("pragma data_version").fetchone()[0]
                except sqlite3.Error:
                    watch[0].close()
                    watch = None
                    continue
                if seen == watch[1]:
                    continue
                watch = (watch[0], seen)
            with self._guard:
                callbacks = [callback for channel in self._subscribers.values() for callback in channel]
            for callback in callbacks:
                try:
                    callback()
                except Exception:
                    log.exception("a subscriber failed at another process's commit")
        if watch is not None:
            watch[0].close()


_abandoned: list[Any] = []
_child_guard = threading.Lock()

C = TypeVar("C", bound=sqlite3.Connection)


class LentConnection(sqlite3.Connection):
    """What a handler on SQLite gets as `tx`: a DBAPI connection whose end belongs to Hookline."""

    _lock: FileLock
    _timeout_s: float
    _is_writing: bool = False
    _is_lent: bool = False

    def bind_lock(self, lock: FileLock, timeout_s: float) -> None:
        """Called once per loan by the database."""
        self._lock, self._timeout_s, self._is_lent = lock, timeout_s, True

    @property
    def dbapi(self) -> LentConnection:
        """For Hookline's own verbs: the same transaction."""
        return self

    @property
    def app(self) -> LentConnection:
        """For the handler: the same transaction."""
        return self

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or LentCursor)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        return self.cursor().executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> Any:  # noqa: ARG002
        raise TransactionMisuse("executescript() commits: run the statements one by one with execute()")

    def commit(self) -> None:
        raise TransactionMisuse("do not commit: Hookline commits your writes together with the mark that you ran")

    def rollback(self) -> None:
        raise TransactionMisuse("do not roll back: raise an exception, and Hookline undoes what you wrote")

    def close(self) -> None:
        raise TransactionMisuse("do not close: the connection is only lent to the handler")

    def __enter__(self) -> Any:
        raise TransactionMisuse("no `with tx:` is needed: the handler already runs in a transaction")

    def begin_writing(self) -> None:
        """Take the write lock and open the transaction, unless that has happened already."""
        if self._is_writing:
            return
        if not self._is_lent:
            # Nobody would end that transaction, and its lock would keep everybody else from writing.
            raise TransactionMisuse("the handler that was lent this connection has ended: write before it returns")
        left_s = self._lock.acquire(self._timeout_s)
        try:
            super().execute("pragma query_only=off")
            _begin(self, left_s, self._timeout_s)
        except BaseException:
            self._lock.release()
            raise
        self._is_writing = True

    def finish(self, *, keep: bool) -> None:
        """Commit or roll back, give the lock back, and make the connection as new for the next loan."""
        self._is_lent = False
        try:
            if self.in_transaction:
                _finish_statement(self, "commit" if keep else "rollback")
        finally:
            if self._is_writing:
                self._is_writing = False
                self._lock.release()
        self.row_factory = None
        self.text_factory = str
        super().execute("pragma query_only=on")

    def dispose(self) -> None:
        """Close for good."""
        super().close()


class LentCursor(sqlite3.Cursor):
    """Turns the first statement that writes into the beginning of the transaction."""

    connection: LentConnection

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        self._refuse_endings(sql)
        try:
            return super().execute(sql, parameters)
        except sqlite3.OperationalError as error:
            if not self._begins_writing(error):
                raise
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        self._refuse_endings(sql)
        # An iterator could not be given twice: nobody calls executemany to read.
        self.connection.begin_writing()
        return super().executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> Any:
        return self.connection.executescript(sql_script)

    def _begins_writing(self, error: sqlite3.OperationalError) -> bool:
        connection = self.connection
        if connection._is_writing or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
            return False
        connection.begin_writing()
        return True

    def _refuse_endings(self, sql: str) -> None:
        words = _LEADING.sub("", sql, count=1).lower().split(None, 2)
        first = words[0].rstrip(";") if words else ""
        if first in {"begin", "commit", "end"} or (first == "rollback" and "to" not in words[1:2]):
            raise TransactionMisuse(f"do not {first}: the transaction belongs to Hookline")
        if first == "savepoint":
            # Outside a transaction a savepoint would open a deferred one of its own.
            self.connection.begin_writing()


def _finish_statement(connection: LentConnection, statement: str) -> None:
    try:
        sqlite3.Connection.cursor(connection, sqlite3.Cursor).execute(statement)
    except sqlite3.OperationalError as error:
        if connection.in_transaction:
            sqlite3.Connection.cursor(connection, sqlite3.Cursor).execute("rollback")
        raise _away(error, at_commit=True) from error


def _begin(connection: sqlite3.Connection, left_s: float, timeout_s: float) -> None:
    """Open a write transaction; a connection that is not ours may hold us up for what is left of the timeout.

    Without that, whoever waited for our own lock would wait the whole time once more.
    """
    execute = sqlite3.Connection.cursor(connection, sqlite3.Cursor).execute
    if left_s > timeout_s * 0.9:
        execute("begin immediate")
        return
    execute(f"pragma busy_timeout={int(left_s * 1000)}")
    try:
        execute("begin immediate")
    finally:
        execute(f"pragma busy_timeout={int(timeout_s * 1000)}")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        away = meant_by_sqlite(error, at_commit=False)
        if away is None:
            raise
        raise away from error


def meant_by_sqlite(error: sqlite3.DatabaseError, *, at_commit: bool) -> StorageError | None:
    """What an error says of the database itself; None where it is about a statement or its values."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None or code & 0xFF not in _AWAY:
        return None
    return _away(error, at_commit=at_commit)


def _away(error: sqlite3.DatabaseError, *, at_commit: bool) -> StorageError:
    code = (error.sqlite_errorcode or 0) & 0xFF
    if at_commit and code == sqlite3.SQLITE_IOERR:
        return OutcomeUnknown("the disk failed during the commit; it may or may not have been kept")
    return StorageUnavailable(f"the database is not available: {_AWAY.get(code, error.sqlite_errorname)}")


__all__: Sequence[str] = ("LentConnection", "SqliteDatabase", "meant_by_sqlite")
