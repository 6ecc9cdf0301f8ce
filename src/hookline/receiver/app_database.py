"""The receiver's tables reached through the app's own transactions: what a `Database` of ours is, on somebody else's.

What the app's drivers and frameworks raise becomes a `StorageError` here where it is about the database, so that door
and worker treat an app's database as one of ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from hookline.errors import HooklineError, StorageUnavailable
from hookline.storage import connect
from hookline.storage.app_connection import (
    PlainPostgres,
    PlainSqlite,
    begin_ours,
    meant,
    meant_at_begin,
    meant_at_commit,
    plain_or_refused,
    url_of,
    watched,
)
from hookline.storage.reruns import with_reruns

if TYPE_CHECKING:
    from hookline.receiver.handlers import LentTransaction, Transactions
    from hookline.storage import Connection, Database, Dialect

T = TypeVar("T")

# How long a transaction of ours waits for a lock on PostgreSQL, as on a database of ours; SQLite's is the app's.
LOCK_TIMEOUT_MS: Final = 5_000


class _Lent:
    """An app's transaction with a connection for our verbs, asked for anew each time: it may be refused by then."""

    def __init__(self, transaction: LentTransaction) -> None:
        self._transaction = transaction
        self.check: Callable[[], None] | None = None

    @property
    def dbapi(self) -> PlainSqlite | PlainPostgres:
        connection = plain_or_refused(self._transaction.dbapi)
        if self.check is not None:
            self.check()
        return connection

    @property
    def app(self) -> Any:
        return self._transaction.app


class AppDatabase:
    """An app's transactions. Everything it opens, commits and closes is the app's doing; nothing is kept here."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._dialect: Dialect | None = None
        # Ours, each held by one subscription.
        self._beside: list[Database] = []

    @property
    def dialect(self) -> Dialect:
        """Which SQL the app's database speaks; the first use looks."""
        if self._dialect is None:
            with self._begun():
                pass
        assert self._dialect is not None
        return self._dialect

    def run(self, work: Callable[[Any], T]) -> T:
        """`work(connection)` in a write transaction; once more from the start where another one was in its way.

        Raises:
            StorageUnavailable: the database is away, or locked; nothing was written.
            OutcomeUnknown: the connection was lost during the commit.
        """

        def once() -> T:
            with self._begun() as transaction:
                connection = transaction.dbapi
                begin_ours(connection, LOCK_TIMEOUT_MS)
                return work(connection)

        return with_reruns(once)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to look with."""
        with self._begun() as transaction:
            yield transaction.dbapi

    @contextlib.contextmanager
    def lent(self) -> Iterator[LentTransaction]:
        """The transaction a handler is lent; it commits when the block ends and rolls back when it raises.

        On SQLite it takes the write lock with its first write, where the app's connections are of that kind.

        Raises:
            TransactionMisuse: from its `dbapi` and at the end: the handler ended it, or PostgreSQL has given it up and
                the handler went on.
        """
        with self._begun(is_handlers=True) as transaction, watched(transaction.dbapi) as check:
            transaction.check = check
            yield transaction

    def url(self) -> str | None:
        """Where the app's database is, for a connection of ours beside the app's; None where no other reaches it."""
        with self._begun() as transaction:
            return url_of(transaction.dbapi)

    def subscribe(self, channel: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called, on any thread, after commits of others; returns what ends that.

        By a connection of ours beside the app's: on SQLite it only looks (`PRAGMA data_version`), after any commit and
        within a tenth of a second; on PostgreSQL it listens. Never where the database is away by now, or no other
        connection reaches it.
        """
        url: str | None = None
        with contextlib.suppress(StorageUnavailable):
            url = self.url()
        if url is None:
            return lambda: None
        beside = connect(url, setting="transactions")
        end = beside.subscribe(channel, callback)
        self._beside.append(beside)

        def unsubscribe() -> None:
            end()
            self._beside.remove(beside)
            beside.close()

        return unsubscribe

    def notify(self, channel: str) -> None:
        """Tell subscribers, here and in other processes; where nobody of this process listens, nobody is told."""
        for beside in self._beside[:1]:
            beside.notify(channel)

    def end_thread(self) -> None:
        """A thread of ours that used this ends: what the app keeps for each thread may be closed."""
        end = getattr(self._transactions, "end_thread", None)
        if end is not None:
            end()

    @contextlib.contextmanager
    def _begun(self, *, is_handlers: bool = False) -> Iterator[_Lent]:
        is_done = False
        failure: Exception | None = None
        try:
            with self._transactions.begin() as transaction:
                lent = _Lent(transaction)
                connection = lent.dbapi
                self._dialect = connection.dialect
                try:
                    yield lent
                except Exception as error:
                    # Asked here, where the connection still is as the error left it.
                    failure = error if isinstance(error, HooklineError) else meant(error, connection, is_handlers)
                    _raise(failure, error)
                is_done = True
        except Exception as error:
            if failure is not None:
                # Whatever the app's rollback made of it.
                raise failure from (error.__cause__ if error is failure else error)
            if isinstance(error, HooklineError):
                raise
            _raise(meant_at_commit(error) if is_done else meant_at_begin(error), error)


def _raise(meaning: Exception, error: Exception) -> NoReturn:
    if meaning is error:
        raise error
    raise meaning from (error if isinstance(meaning, HooklineError) else None)
