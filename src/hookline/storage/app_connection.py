"""An app's own database connections: what is in them, what their errors mean, and who ended their transactions.

Connections of `sqlite3` and of `psycopg` (version 3), plain or inside SQLAlchemy's or Django's. None of the four is
imported for it: whoever has a connection of theirs has loaded them. Knows no table of ours.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlencode

from hookline.errors import ConfigError, OutcomeUnknown, StorageUnavailable, TransactionMisuse
from hookline.storage.sqlite import meant_by_sqlite
from hookline.storage.verbs import Dialect

# SQLite asks the authorizer about every BEGIN, COMMIT and ROLLBACK under this number (sqlite3.h); savepoints have
# another. Python 3.11 has no name for it.
_SQLITE_TRANSACTION: Final = 22
_RUN: Final = "hookline.run"

ENDED: Final = "the handler ended its transaction: what it wrote before may have been kept"
WENT_ON: Final = (
    "a statement failed and the handler went on: the whole transaction is undone then; "
    "put what may fail into a savepoint (`with tx.transaction():`, `begin_nested()`, `atomic()`), or let the error out"
)
_CLOSED: Final = "the handler closed the connection it was lent: what it wrote is undone"
_NO_COMMIT: Final = "do not commit: Hookline commits your writes together with the mark that you ran"
_NO_ROLLBACK: Final = "do not roll back: raise an exception, and Hookline undoes what you wrote"
_AUTOCOMMIT: Final = "the app's connections are in autocommit mode, and its transactions begin none"
_NO_SAVEPOINT: Final = (
    "a savepoint that begins SQLite's transaction also commits it: `tx.execute('begin immediate')` before it"
)


class PlainSqlite:
    """A connection of `sqlite3` whose cursors give plain tuples, whatever rows the app likes."""

    dialect: Final = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.driver = connection

    def cursor(self) -> Any:
        cursor = self.driver.cursor()
        cursor.row_factory = None
        return cursor


class PlainPostgres:
    """The same of psycopg."""

    dialect: Final = "postgres"

    def __init__(self, connection: Any) -> None:
        self.driver = connection

    def cursor(self) -> Any:
        from psycopg import Cursor
        from psycopg.rows import tuple_row

        # Not the class that the app's connection makes: one that binds on the client writes arrays in another way.
        return Cursor(self.driver, row_factory=tuple_row)

    @property
    def adapters(self) -> Any:
        return self.driver.adapters


def plain(connection: Any) -> PlainSqlite | PlainPostgres | None:
    """A driver's connection for verbs of ours; None where it is of another driver."""
    if isinstance(connection, sqlite3.Connection):
        return PlainSqlite(connection)
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(connection, psycopg.Connection):
        return PlainPostgres(connection)
    return None


def plain_or_refused(connection: Any) -> PlainSqlite | PlainPostgres:
    """The same; ConfigError where it is of another driver."""
    found = plain(connection)
    if found is None:
        raise ConfigError(
            "transactions", f"expected connections of sqlite3 or psycopg (version 3), got {name_of(connection)}"
        )
    return found


def name_of(connection: Any) -> str:
    """What kind of connection it is, for errors."""
    return f"{type(connection).__module__}.{type(connection).__qualname__}"


def dialect_of(connection: Any) -> Dialect:
    """Which SQL a DBAPI connection speaks, ours or an app's."""
    if isinstance(connection, PlainSqlite | PlainPostgres):
        return connection.dialect
    modules = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    return "postgres" if "psycopg" in modules else "sqlite"


def driver_connection(connection: Any) -> Any:
    """The driver's connection in an SQLAlchemy `Connection` or `Session`, or in Django's; itself where it is one.

    Begins a transaction where SQLAlchemy's first statement would.
    """
    if hasattr(connection, "in_atomic_block") and hasattr(connection, "ensure_connection"):  # Django's
        connection.ensure_connection()
        return connection.connection
    if hasattr(connection, "get_bind") and hasattr(connection, "connection"):  # SQLAlchemy's Session
        connection = connection.connection()
    if hasattr(connection, "exec_driver_sql"):  # SQLAlchemy's Connection
        if not connection.in_transaction():
            connection.begin()
        return connection.connection.dbapi_connection
    return connection


def commits_by_itself(connection: sqlite3.Connection) -> bool:
    """Whether each statement is a transaction of its own until one is begun."""
    # Python 3.12 has a mode of its own beside the old one, where None stands for autocommit.
    mode = getattr(connection, "autocommit", -1)
    return connection.isolation_level is None if mode == -1 else bool(mode)


def url_of(connection: PlainSqlite | PlainPostgres) -> str | None:
    """Where it leads, as `connect` takes it, for a connection of ours beside the app's; None where no other can."""
    if isinstance(connection, PlainSqlite):
        cursor = connection.cursor()
        cursor.execute("pragma database_list")
        files = [file for _, name, file in cursor.fetchall() if name == "main" and file]
        return f"sqlite:///{files[0]}" if files else None
    info = connection.driver.info
    # The database may be nowhere named, and the password is told apart.
    known = {**info.get_parameters(), "dbname": info.dbname, "password": info.password}
    return "postgresql://?" + urlencode({name: value for name, value in known.items() if value})


def announce(connection: PlainSqlite | PlainPostgres, channel: str) -> None:
    """Have a `Database`'s subscribers called with the commit of this transaction; SQLite's see each by themselves."""
    if isinstance(connection, PlainPostgres):
        from hookline.storage.postgres_wakeups import CHANNEL

        connection.cursor().execute("select pg_notify(%s, %s)", (CHANNEL, channel))


def begin_ours(connection: PlainSqlite | PlainPostgres, lock_timeout_ms: int) -> None:
    """Make the app's transaction, just begun, one that verbs of ours are safe in, as far as it is not one.

    On SQLite it takes the write lock now: one that reads first and writes later fails at once where somebody else wrote
    in between. On PostgreSQL each statement must see the newest commits, whatever the app's connections are set to.
    """
    if isinstance(connection, PlainSqlite):
        if not connection.driver.in_transaction:
            connection.cursor().execute("begin immediate")
    else:
        connection.cursor().execute(
            f"set transaction isolation level read committed; set local lock_timeout = {lock_timeout_ms}"
        )
        if _is_idle(connection.driver):
            raise ConfigError("transactions", _AUTOCOMMIT)


@contextlib.contextmanager
def watched(connection: PlainSqlite | PlainPostgres) -> Iterator[Callable[[], None]]:
    """A block in which a handler writes on its app's connection, and in which the transaction must not end.

    Yields: a check to make once the handler has returned, before anything of ours is written.

    Raises:
        TransactionMisuse: from the check and from the block: it ended, or was to end, or goes on though PostgreSQL has
            given it up.
    """
    watch = _watched_sqlite if isinstance(connection, PlainSqlite) else _watched_postgres
    with watch(connection.driver) as check:
        yield check


@contextlib.contextmanager
def _watched_sqlite(connection: sqlite3.Connection) -> Iterator[Callable[[], None]]:
    refused: list[str] = []
    was_undone = False
    is_begun_by_hand = commits_by_itself(connection)
    if is_begun_by_hand and not connection.in_transaction:
        raise ConfigError("transactions", _AUTOCOMMIT)

    def authorize(action: int, what: str | None, *_: object) -> int:
        nonlocal was_undone
        if action == _SQLITE_TRANSACTION and what == "COMMIT":
            refused.append(_NO_COMMIT)
            return sqlite3.SQLITE_DENY
        if action == _SQLITE_TRANSACTION and what == "ROLLBACK" and is_begun_by_hand:
            # What the handler wrote after it would be committed at once.
            refused.append(_NO_ROLLBACK)
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_SAVEPOINT and what == "BEGIN" and not connection.in_transaction:
            refused.append(_NO_SAVEPOINT)
            return sqlite3.SQLITE_DENY
        # Else it is not refused: where SQLAlchemy cannot roll back, it pools the connection as it is.
        was_undone = was_undone or (action == _SQLITE_TRANSACTION and what == "ROLLBACK")
        return sqlite3.SQLITE_OK

    def check() -> None:
        if _is_closed(connection):
            raise TransactionMisuse(_CLOSED)
        if was_undone:
            raise TransactionMisuse(ENDED)

    connection.set_authorizer(authorize)
    try:
        yield check
    except Exception as error:
        if _is_closed(connection):
            raise TransactionMisuse(_CLOSED) from error
        if refused and isinstance(_of_driver(error), sqlite3.DatabaseError):
            raise TransactionMisuse(refused[-1]) from error
        raise
    finally:
        if not _is_closed(connection):
            connection.set_authorizer(None)


def _is_closed(connection: sqlite3.Connection) -> bool:
    try:
        _ = connection.in_transaction
    except sqlite3.ProgrammingError:
        return True
    return False


@contextlib.contextmanager
def _watched_postgres(connection: Any) -> Iterator[Callable[[], None]]:
    import psycopg.errors

    def check() -> None:
        if misuse := _misuse(connection):
            raise TransactionMisuse(misuse)

    # A value that lives as long as this transaction: unlike a savepoint it costs no number of a transaction.
    connection.execute(f"select set_config('{_RUN}', '1', true)")
    if _is_idle(connection):
        raise ConfigError("transactions", _AUTOCOMMIT)
    try:
        yield check
    except Exception as error:
        if connection.closed and not connection.broken:
            raise TransactionMisuse(_CLOSED) from error
        if isinstance(_of_driver(error), psycopg.errors.InFailedSqlTransaction):
            raise TransactionMisuse(WENT_ON) from error
        raise


def _misuse(connection: Any) -> str | None:
    """What a handler that returned has made of its transaction on PostgreSQL; None where it still is that one."""
    from psycopg.pq import TransactionStatus

    status = connection.info.transaction_status
    if connection.broken:
        return None  # what is written next will say so
    if connection.closed:
        return _CLOSED
    if status == TransactionStatus.INERROR:
        return WENT_ON
    return None if status == TransactionStatus.INTRANS and _has_mark(connection) else ENDED


def _is_idle(connection: Any) -> bool:
    from psycopg.pq import TransactionStatus

    return bool(connection.info.transaction_status == TransactionStatus.IDLE)


def _has_mark(connection: Any) -> bool:
    cursor = PlainPostgres(connection).cursor()
    cursor.execute(f"select current_setting('{_RUN}', true)")
    return bool(cursor.fetchone() == ("1",))


def meant(error: Exception, connection: PlainSqlite | PlainPostgres, is_handlers: bool) -> Exception:
    """What an error in an app's open transaction means for Hookline; the error itself where it says nothing of the
    database.

    Args:
        is_handlers: a handler's code ran: the error may be another connection's.
    """
    cause = _of_driver(error)
    if isinstance(cause, sqlite3.DatabaseError):
        return meant_by_sqlite(cause, at_commit=False) or error
    if cause is None or isinstance(connection, PlainSqlite):
        return error
    from hookline.storage.postgres_pool import translated, without_values

    away = translated(cause, connection.driver, may_be_others=is_handlers)
    if isinstance(away, StorageUnavailable):
        return away
    # A handler's error is told without its message anyway; one of ours might be told with what PostgreSQL quotes in it.
    return error if is_handlers else without_values(cause)


def meant_at_begin(error: Exception) -> StorageUnavailable:
    """What it means that an app's transaction did not begin, whatever the reason."""
    cause = _of_driver(error)
    if isinstance(cause, sqlite3.DatabaseError) and isinstance(
        away := meant_by_sqlite(cause, at_commit=False), StorageUnavailable
    ):
        return away
    if cause is not None and not isinstance(cause, sqlite3.Error):
        from hookline.storage.postgres_pool import reason

        return StorageUnavailable(f"the database is not available: {reason(cause)}")
    return StorageUnavailable(
        f"the database is not available: the app's transaction did not begin ({type(error).__name__})"
    )


def meant_at_commit(error: Exception) -> Exception:
    """What it means that the commit of an app's transaction failed; the error itself where it says that it did."""
    cause = _of_driver(error)
    if isinstance(cause, sqlite3.DatabaseError):
        return meant_by_sqlite(cause, at_commit=True) or error
    if cause is None or isinstance(cause, sqlite3.Error):
        return error
    import psycopg

    from hookline.storage.postgres_pool import meant_by_state

    # By the error alone: the connection may be closed by now, with or without having been lost.
    is_lost = cause.sqlstate is None or cause.sqlstate.startswith(("08", "57P"))
    if is_lost and isinstance(cause, psycopg.OperationalError):
        return OutcomeUnknown("the connection was lost during the commit; it may or may not have been kept")
    return meant_by_state(cause) or error


def _of_driver(error: Exception) -> Any:
    """The driver's error in what SQLAlchemy (`orig`) or Django (its cause) made of it; None where there is none."""
    psycopg = sys.modules.get("psycopg")
    kinds = (sqlite3.Error,) if psycopg is None else (sqlite3.Error, psycopg.Error)
    for one in (error, getattr(error, "orig", None), error.__cause__):
        if isinstance(one, kinds):
            return one
    return None
