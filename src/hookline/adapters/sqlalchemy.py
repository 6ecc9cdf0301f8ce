"""`Receiver(transactions=…)` for apps that use SQLAlchemy, version 2, on `sqlite3` or `psycopg` (version 3)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction

from hookline.errors import ConfigError, TransactionMisuse
from hookline.storage.app_connection import ENDED, WENT_ON, driver_connection


class SessionTransactions:
    """Transactions of sessions, a new one for each.

        hooks = Receiver(transactions=SessionTransactions(sessionmaker(engine)), …)

    Handlers get the `Session` as `tx`; what they add is flushed with the commit that marks their run as done, at the
    latest, and where the flush fails the run fails. `commit()` on it raises; what may fail goes into
    `with tx.begin_nested():`.

    Args:
        make_session: a `sessionmaker`, or whatever else makes a `Session` that has one bind.

    Raises:
        ConfigError: a `scoped_session`, whose sessions are the app's requests'.
    """

    def __init__(self, make_session: Callable[[], Session]) -> None:
        if hasattr(make_session, "registry"):
            raise ConfigError(
                "transactions",
                "expected a sessionmaker, got a scoped_session: its sessions belong to requests; "
                "pass a sessionmaker of the same engine",
            )
        self._make_session = make_session
        self._pid = os.getpid()
        self._forked = threading.Lock()

    @contextlib.contextmanager
    def begin(self) -> Iterator[LentSession]:
        with self._make_session() as session:
            if self._pid != os.getpid():
                self._leave_to_parent(session)
            with session.begin() as transaction:
                lent = LentSession(session, transaction)
                yield lent
                lent.check()
                lent.may_commit = True

    def _leave_to_parent(self, session: Session) -> None:
        """After a fork (`gunicorn --preload`) the pool holds connections that the parent and its other children use."""
        with self._forked:
            bind = session.get_bind()
            if self._pid != os.getpid() and isinstance(bind, Engine):
                bind.dispose(close=False)
            self._pid = os.getpid()


class LentSession:
    """A session in the transaction that Hookline ends."""

    def __init__(self, session: Session, transaction: SessionTransaction) -> None:
        self.app = session
        self.may_commit = False
        self._transaction = transaction
        event.listen(session, "before_commit", self._before_commit)
        event.listen(session.connection(), "savepoint", _before_savepoint)

    @property
    def dbapi(self) -> Any:
        """The connection of its driver, for Hookline's verbs. TransactionMisuse where the transaction is over."""
        self.check()
        return driver_connection(self.app)

    def check(self) -> None:
        """TransactionMisuse where the handler has ended the transaction, or SQLAlchemy has given it up."""
        if self.app.get_transaction() is not self._transaction:
            raise TransactionMisuse(ENDED)
        if not self._transaction.is_active:
            raise TransactionMisuse(WENT_ON)

    def _before_commit(self, session: Session) -> None:
        # Also called when a savepoint ends.
        if not self.may_commit and session.get_nested_transaction() is None:
            raise TransactionMisuse(
                "do not commit: Hookline commits what the session holds together with the mark that you ran"
            )


def _before_savepoint(connection: Connection, _: str | None) -> None:
    driver: Any = connection.connection.dbapi_connection
    # In sqlite3's default mode it would begin the transaction, and its release commit it.
    if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
        driver.execute("begin immediate")
