"""PostgreSQL: the `Database` of any number of processes on any number of hosts.

A small pool of connections per process. Every transaction that writes is `read committed`: each statement sees the
newest commits, what two must not do at once is kept apart by row locks, unique indexes and advisory locks in the verbs
themselves, and what gets in each other's way all the same is run again. Waiting for a lock is bounded. Knows no table
of ours.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hookline.errors import ConfigError, HooklineError, OutcomeUnknown, StorageUnavailable, TransactionMisuse
from hookline.storage.app_connection import ENDED, WENT_ON
from hookline.storage.postgres_pool import OurConnection, Pool, translated, without_values
from hookline.storage.postgres_wakeups import Wakeups
from hookline.storage.reruns import with_reruns
from hookline.storage.verbs import Dialect

log = logging.getLogger("hookline.storage")

T = TypeVar("T")

POOL_SIZE: Final = 10
# How long a transaction of ours waits for a lock before `StorageUnavailable`; as long as SQLite's busy timeout.
LOCK_TIMEOUT_MS: Final = 5_000

# What we ask of libpq unless the URL says otherwise: a server that is gone is noticed within a second or two.
# 2 is the least that libpq takes for connect_timeout.
_DEFAULTS: Final[Mapping[str, str]] = {
    "application_name": "hookline",
    "connect_timeout": "2",
    "tcp_user_timeout": "2000",
    "keepalives_idle": "10",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}

_BEGIN: Final = f"begin isolation level read committed; set local lock_timeout = {LOCK_TIMEOUT_MS}"
# A handler's own statements wait as long as the app's settings let them.
_BEGIN_LENT: Final = "begin isolation level read committed"
_BEGIN_SNAPSHOT: Final = "begin isolation level repeatable read read only"


class PostgresDatabase:
    """A database on a PostgreSQL server. Made by `hookline.storage.connect`; opens nothing before its first use.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's options (`?sslmode=verify-full`) and ours:
            `pool_size`, `prepare_threshold` (a number, or `none` behind a pooler that cannot keep prepared
            statements), `notify` (`off` where LISTEN does not work: others are then seen by timer alone).
        setting: what errors about the URL call it.
        is_last: asked at each `close`: whether nobody else in this process holds it.

    Raises:
        ConfigError: the URL cannot be used.
    """

    dialect: ClassVar[Dialect] = "postgres"

    def __init__(
        self,
        url: str,
        *,
        setting: str = "database_url",
        is_last: Callable[[PostgresDatabase], bool] = lambda _: True,
    ) -> None:
        self._is_last = is_last
        self._conninfo, options = _parsed(url, setting)
        self.place = _place(self._conninfo)
        self._pool_size = _number(options, "pool_size", POOL_SIZE, setting)
        threshold = options.get("prepare_threshold", "5")
        self._prepare_threshold = (
            None if threshold == "none" else _number(options, "prepare_threshold", 5, setting, least=0)
        )
        if options.get("notify", "on") not in {"on", "off"}:
            raise ConfigError(setting, "expected notify=on or notify=off")
        self._has_notify = options.get("notify", "on") == "on"
        self._start_process()

    def __repr__(self) -> str:
        return f"<PostgresDatabase {self.place}>"

    def _start_process(self) -> None:
        """Everything that belongs to one process; made anew in a forked child, whose copies are not to be touched."""
        self._pool = Pool(
            self._conninfo, size=self._pool_size, prepare_threshold=self._prepare_threshold, place=self.place
        )
        self._wakeups = Wakeups(self._pool.connect, is_shared=self._has_notify)
        # Last: what another thread of a child finds once the number is right is all new.
        self._pid = os.getpid()

    # -- transactions ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[OurConnection]:
        """A write transaction: commits when the block ends, rolls back when it raises.

        Raises:
            StorageUnavailable: the server is away, or another transaction was in the way; nothing was written.
            OutcomeUnknown: the connection was lost during the commit.
        """
        with self._begun(_BEGIN) as connection:
            with _understood(connection):
                yield connection
            self._commit(connection)

    def run(self, work: Callable[[OurConnection], T]) -> T:
        """`work(connection)` in a write transaction; once more from the start where another one was in its way.

        So `work` changes nothing but the database, or sets it anew each time. A unique violation may mean that a row
        was inserted by somebody else after `work` had looked for it: that too is run again, a few times.
        """

        def once() -> T:
            with self.transaction() as connection:
                return work(connection)

        return with_reruns(once)

    @contextlib.contextmanager
    def read(self) -> Iterator[OurConnection]:
        """A connection to look with; each statement sees the newest commit. Nobody writes on it."""
        with self._taken() as connection, _understood(connection):
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[OurConnection]:
        """A connection that cannot write; all statements see the same moment."""
        with self._begun(_BEGIN_SNAPSHOT) as connection, _understood(connection):
            yield connection

    @contextlib.contextmanager
    def lent(self) -> Iterator[OurConnection]:
        """The transaction a handler is lent: a psycopg connection whose `commit`, `rollback` and `close` raise.

        What Hookline itself writes through it joins the same transaction, which commits when the block ends and rolls
        back when it raises. A statement that fails undoes all of it, unless it stands in `with tx.transaction():`, a
        savepoint.

        Raises:
            TransactionMisuse: the block ended the transaction, or went on after a statement of it had failed.
        """
        with self._begun(_BEGIN_LENT, lent=True) as connection:
            try:
                yield connection
            except psycopg.errors.InFailedSqlTransaction as error:
                raise TransactionMisuse(WENT_ON) from error
            except psycopg.Error as error:
                meant = translated(error, connection, may_be_others=True)
                if meant is error:
                    raise
                raise meant from error
            if connection.has_failed:
                raise TransactionMisuse(WENT_ON)
            if connection.is_idle and not connection.is_lost:
                raise TransactionMisuse(ENDED)
            self._commit(connection)

    # -- wake-ups ----------------------------------------------------------------------------------------------

    def notify(self, channel: str) -> None:
        """Tell subscribers of `channel`, here and in other processes, that something was committed."""
        self._check_process()
        self._wakeups.notify(channel)

    def subscribe(self, channel: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called, on any thread, after a `notify(channel)` of any process.

        Returns: a function that ends the subscription.
        """
        self._check_process()
        return self._wakeups.subscribe(channel, callback)

    def close(self) -> None:
        """Close every connection of this process; those in use are closed when they come back."""
        if not self._is_last(self) or self._pid != os.getpid():
            return
        self._wakeups.close()
        self._pool.close()

    # -- the inside --------------------------------------------------------------------------------------------

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            with _child_guard:
                if self._pid != os.getpid():
                    # A session is the parent's: the child must neither use it nor say goodbye in its name.
                    _abandoned.append((self._pool.abandon(), self._wakeups))
                    self._start_process()

    @contextlib.contextmanager
    def _taken(self) -> Iterator[OurConnection]:
        self._check_process()
        pool = self._pool
        connection = pool.take()
        try:
            yield connection
        finally:
            pool.give(connection)

    @contextlib.contextmanager
    def _begun(self, begin: str, *, lent: bool = False) -> Iterator[OurConnection]:
        """A connection with a transaction on it, rolled back unless it was ended."""
        self._check_process()
        pool = self._pool
        connection = self._first(pool, begin, lent=lent)
        try:
            yield connection
        finally:
            if not (connection.is_lost or connection.is_idle):
                with contextlib.suppress(psycopg.Error):
                    connection.reset()
                    connection.execute("rollback")
            pool.give(connection)

    def _first(self, pool: Pool, begin: str, *, lent: bool) -> OurConnection:
        """Begin on a connection of the pool, on a fresh one where those that were idle turn out to be gone."""
        while True:
            connection = pool.take()
            try:
                connection.begin(begin, lent=lent)
            except psycopg.Error as error:
                is_old = connection.is_lost and connection.has_been_used
                meant = translated(error, connection)
                pool.give(connection)
                if not is_old:
                    raise meant from error
            except BaseException:
                pool.give(connection)
                raise
            else:
                return connection

    def _commit(self, connection: OurConnection) -> None:
        if connection.has_failed:
            # The server would answer a commit with a rollback, and no error.
            raise HooklineError("a statement of the transaction failed and was passed over: nothing is kept")
        connection.reset()
        try:
            with _understood(connection):
                connection.execute("commit")
        except StorageUnavailable as error:
            if connection.is_lost:
                raise OutcomeUnknown(
                    "the connection was lost during the commit; it may or may not have been kept"
                ) from error
            raise


@contextlib.contextmanager
def _understood(connection: OurConnection) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        meant = translated(error, connection)
        if isinstance(meant, psycopg.Error):
            raise without_values(meant) from None
        raise meant from error


_abandoned: list[Any] = []
_child_guard = threading.Lock()


def normalized(url: str, *, setting: str = "database_url") -> str:
    """A URL's meaning as a text: two URLs of one database with the same options have the same one.

    Raises:
        ConfigError: under the name `setting`.
    """
    conninfo, options = _parsed(url, setting)
    return make_conninfo("", **dict(sorted(conninfo_to_dict(conninfo).items()))) + repr(sorted(options.items()))


_OURS: Final = frozenset({"pool_size", "prepare_threshold", "notify"})


def _parsed(url: str, setting: str) -> tuple[str, dict[str, str]]:
    """libpq's connection string of a URL, and the options that are ours."""
    base, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    options = {name: value for name, value in pairs if name in _OURS}
    others = {name: value for name, value in pairs if name not in _OURS}
    try:
        parts = urlsplit(base)
        if "," not in parts.netloc:
            _ = parts.port  # which raises; libpq would refuse it only when it connects
        if not parts.path.strip("/") and "dbname" not in others:
            raise ConfigError(setting, f"expected a database: {_EXAMPLE}")
        given = {**conninfo_to_dict(base), **others}
        conninfo = make_conninfo("", **{**_DEFAULTS, **given, "client_encoding": "utf8"})
    except (psycopg.Error, ValueError) as error:
        # What libpq says of it may quote it, password and all.
        known = str(error) if "invalid connection option" in str(error) else ""
        raise ConfigError(setting, f"expected {_EXAMPLE}{': ' + known.strip() if known else ''}") from None
    return conninfo, options


_EXAMPLE: Final = "postgresql://user:password@host:5432/database?sslmode=verify-full"


def _place(conninfo: str) -> str:
    """Where a database is, for people: no user, no password."""
    known = conninfo_to_dict(conninfo)
    host = known.get("host") or known.get("hostaddr") or "the local socket"
    port = f":{known['port']}" if known.get("port") else ""
    return f"{host}{port}, database {known.get('dbname')}"


def _number(options: Mapping[str, str], name: str, default: int, setting: str, *, least: int = 1) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= 1_000:
        raise ConfigError(setting, f"expected {name}= as a whole number from {least} to 1000, got {text!r}")
    return int(text)


__all__: Sequence[str] = ("PostgresDatabase", "normalized")
