"""`Receiver(transactions=…)` for apps that use `sqlite3` or `psycopg` as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hookline.storage.app_connection import commits_by_itself

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class LentConnection:
    """A driver's connection in an open transaction, for Hookline's verbs and for the handler alike."""

    dbapi: Any

    @property
    def app(self) -> Any:
        """What the handler gets as `tx`."""
        return self.dbapi


class SqliteTransactions:
    """Transactions on connections of `sqlite3`, one for each, closed after it.

        hooks = Receiver(transactions=SqliteTransactions(lambda: sqlite3.connect("app.db", timeout=5)), …)

    Handlers get the connection as `tx`, with the app's own `row_factory` on it. In sqlite3's default mode they read
    without a lock and take the write lock with their first write; with `isolation_level=None`, or `autocommit=True`,
    the lock is taken before they are called.

    Args:
        connect: makes a connection.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect

    @contextlib.contextmanager
    def begin(self) -> Iterator[LentConnection]:
        with contextlib.closing(self._connect()) as connection:
            is_begun_here = commits_by_itself(connection)
            if is_begun_here:
                connection.execute("begin immediate")
            yield LentConnection(connection)
            if is_begun_here:
                connection.execute("commit")
            else:
                connection.commit()
            # What is not committed is undone where the connection is closed.


class PsycopgTransactions:
    """Transactions on connections of `psycopg`, version 3.

        pool = psycopg_pool.ConnectionPool(…)
        hooks = Receiver(transactions=PsycopgTransactions(pool.connection), …)

    Handlers get the connection as `tx`, as the app has made it; what may fail goes into `with tx.transaction():`.

    Args:
        connect: gives a context manager of a connection: a pool's `connection`, or `lambda: psycopg.connect(…)`, which
            is a new one for each transaction.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[Any]]) -> None:
        self._connect = connect

    @contextlib.contextmanager
    def begin(self) -> Iterator[LentConnection]:
        # Inside of `transaction()` psycopg refuses commit() and rollback().
        with self._connect() as connection, connection.transaction():
            yield LentConnection(connection)
