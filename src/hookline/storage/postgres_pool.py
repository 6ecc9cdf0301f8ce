"""PostgreSQL connections of ours: how they are opened, lent, looked at before use, and what their errors mean.

All are in autocommit; transactions are begun and ended by name (postgres.py), so that reading needs no round trip of
its own. Knows no table of ours.
"""

from __future__ import annotations

import re
import select
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn, Self

import psycopg
import psycopg.rows
import psycopg.sql
from psycopg.pq import ConnStatus, TransactionStatus

from hookline.errors import StorageUnavailable, TransactionMisuse
from hookline.storage.arrays import register_arrays
from hookline.storage.reruns import Conflict

Row = tuple[Any, ...]

# How long a caller waits for a connection while all are in use.
WAIT_S: Final = 5.0
# How long everybody shares the answer of the one who could not connect.
SHARED_FAILURE_S: Final = 0.5

# Conflicts between transactions: the same work again may succeed at once.
CONFLICTS: Final = frozenset({"40001", "40P01"})
_AWAY: Final = {
    "25006": "it is read-only (a standby, or set so)",
    "53100": "its disk is full",
    "53200": "its memory is exhausted",
    "53300": "it has no connection left",
    "53400": "one of its limits is reached",
    "55P03": "a lock was held by somebody else for too long",
    "57014": "it canceled the statement (a timeout)",
    "57P01": "it is shutting down",
    "57P02": "it is recovering from a crash",
    "57P03": "it is starting or stopping",
    "57P05": "it ended a session that was idle",
    "58030": "its disk reports an error",
    "XX001": "its data is damaged",
    "XX002": "an index of it is damaged",
}

# Where a statement may end a transaction; text, quoted names and comments are skipped.
_WORDS = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | \$(\w*)\$.*?\$\1\$ | --[^\n]* | /\*.*?\*/
    | (?P<statement> (?:^|;) (?:\s | --[^\n]*(?:\n|$) | /\*.*?\*/)* (?P<words>[a-z]+ (?:\s+[a-z]+){0,2}))""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_ENDINGS: Final = frozenset({"begin", "start", "commit", "end", "abort"})
_TWO_PHASE: Final = ["prepare", "transaction"]


class LentCursor(psycopg.Cursor[Row]):
    """What a handler's statements run on: refuses those that would end the transaction."""

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
        _refuse_endings(query)
        return super().execute(query, *args, **kwargs)

    def executemany(self, query: Any, *args: Any, **kwargs: Any) -> None:
        _refuse_endings(query)
        super().executemany(query, *args, **kwargs)


class OurConnection(psycopg.Connection[Row]):
    """A connection whose transactions belong to Hookline; also what a handler on PostgreSQL gets as `tx`."""

    has_been_used = False

    @property
    def dbapi(self) -> OurConnection:
        """For Hookline's own verbs: the same transaction."""
        return self

    @property
    def app(self) -> OurConnection:
        """For the handler: the same transaction."""
        return self

    @property
    def is_lost(self) -> bool:
        """Whether the server is gone, or was told goodbye."""
        return is_lost(self)

    @property
    def is_idle(self) -> bool:
        """Whether no transaction is open on it."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    @property
    def has_failed(self) -> bool:
        """Whether a statement failed and the transaction can only be rolled back."""
        return self.pgconn.transaction_status == TransactionStatus.INERROR

    def commit(self) -> NoReturn:
        raise TransactionMisuse("do not commit: Hookline commits your writes together with the mark that you ran")

    def rollback(self) -> NoReturn:
        raise TransactionMisuse("do not roll back: raise an exception, and Hookline undoes what you wrote")

    def close(self) -> None:
        raise TransactionMisuse("do not close: the connection is only lent to the handler")

    def __enter__(self) -> NoReturn:
        raise TransactionMisuse("no `with tx:` is needed: the handler already runs in a transaction")

    def begin(self, statement: str, *, lent: bool = False) -> None:
        """Open a transaction. `lent` keeps whoever gets it from ending it by SQL."""
        self.execute(statement)
        if lent:
            self.cursor_factory = LentCursor

    def reset(self) -> None:
        """Make it as new for the next use, whatever a handler has set on it."""
        self.cursor_factory = psycopg.Cursor
        self.row_factory = psycopg.rows.tuple_row

    def dispose(self) -> None:
        """Close for good."""
        super().close()


class Pool:
    """At most `size` connections, opened when they are needed; every one looked at before it is handed out.

    Args:
        conninfo: as psycopg takes it.
        size: how many there are at most.
        prepare_threshold: after how many uses psycopg prepares a statement; None for never.
        place: for error messages: where the database is, without a secret.
    """

    def __init__(self, conninfo: str, *, size: int, prepare_threshold: int | None, place: str) -> None:
        self._conninfo = conninfo
        self._size = size
        self._prepare_threshold = prepare_threshold
        self._place = place
        self._idle: list[OurConnection] = []
        self._open = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._failure: tuple[float, StorageUnavailable] | None = None

    def connect(self) -> OurConnection:
        """A connection outside of the count, for whoever keeps it. StorageUnavailable where there is none."""
        failure = self._failure
        if failure is not None and time.monotonic() < failure[0]:
            # Everybody who waits for a host that does not answer would wait for the whole timeout, one after another.
            raise StorageUnavailable(str(failure[1]))
        try:
            connection = OurConnection.connect(
                self._conninfo, autocommit=True, prepare_threshold=self._prepare_threshold
            )
        except psycopg.Error as error:
            unavailable = StorageUnavailable(
                f"the database is not available: no connection to {self._place}: {reason(error)}"
            )
            self._failure = (time.monotonic() + SHARED_FAILURE_S, unavailable)
            raise unavailable from None
        self._failure = None
        # About as many as both ends have verbs; psycopg keeps 100.
        connection.prepared_max = 400
        register_arrays(connection)
        return connection

    def take(self) -> OurConnection:
        """A connection without a transaction. StorageUnavailable where none is free or none can be opened."""
        deadline = time.monotonic() + WAIT_S
        with self._changed:
            while True:
                if self._idle:
                    # The one used last: the others may be closed for being idle by whoever is in between.
                    connection = self._idle.pop()
                    if not _has_news(connection):
                        return connection
                    self._forget(connection)
                elif self._open < self._size:
                    self._open += 1
                    break
                elif not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise StorageUnavailable(
                        f"all {self._size} connections of this process are in use; "
                        "give the database URL a larger ?pool_size= or run fewer threads"
                    )
        try:
            return self.connect()
        except BaseException:
            with self._changed:
                self._open -= 1
                self._changed.notify()
            raise

    def give(self, connection: OurConnection) -> None:
        """Take a connection back; one that is in any doubt is closed."""
        with self._changed:
            if self._is_closed or connection.is_lost or not connection.is_idle:
                self._forget(connection)
            else:
                connection.reset()
                connection.has_been_used = True
                self._idle.append(connection)
            self._changed.notify()

    def close(self) -> None:
        """Close what is idle now, and the others when they come back."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for connection in idle:
                self._forget(connection)

    def abandon(self) -> Any:
        """What a forked child must keep a hold of and never touch: the parent's connections."""
        return self._idle

    def _forget(self, connection: OurConnection) -> None:
        self._open -= 1
        connection.dispose()


def is_lost(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server is gone, or was told goodbye."""
    return connection.pgconn.status != ConnStatus.OK


def translated(
    error: psycopg.Error, connection: psycopg.Connection[Any], *, may_be_others: bool = False
) -> StorageUnavailable | psycopg.Error:
    """What an error inside a transaction means; the error itself where it says nothing of the server.

    Args:
        may_be_others: where an app's code ran, the error may be another connection's, and means nothing for ours.
    """
    if is_lost(connection):
        return StorageUnavailable("the database is not available: the connection was lost")
    if may_be_others and connection.pgconn.transaction_status == TransactionStatus.INTRANS:
        return error
    return meant_by_state(error) or error


def meant_by_state(error: psycopg.Error) -> StorageUnavailable | None:
    """What the server's own code says of the server; None where it is about a statement or its values."""
    if error.sqlstate in CONFLICTS:
        return Conflict("the database is not available: transactions were in each other's way")
    if error.sqlstate in _AWAY:
        return StorageUnavailable(f"the database is not available: {_AWAY[error.sqlstate]}")
    return None


def without_values(error: psycopg.Error) -> psycopg.Error:
    """The same error, naming constraint, table and column, but no value: PostgreSQL's details hold whole rows."""
    kind = type(error)
    if error.sqlstate is not None and error.sqlstate.startswith("42"):
        # A statement that is wrong, by the names in it; values are parameters and never in its text.
        said = error.diag.message_primary
    elif error.sqlstate is None and isinstance(error, psycopg.ProgrammingError):
        said = str(error)
    else:
        names = [
            f"{thing} {name}"
            for thing in ("constraint", "table", "column")
            if (name := getattr(error.diag, f"{thing}_name")) is not None
        ]
        said = ", ".join(["a statement was refused", *names])
    return kind(f"{kind.__name__} ({error.sqlstate}): {said}").with_traceback(error.__traceback__)


def _has_news(connection: OurConnection) -> bool:
    """Whether the server has said something to a connection nobody uses: as a rule that it ends."""
    if connection.is_lost:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def reason(error: psycopg.Error) -> str:
    """Why there is no connection, in a line without a secret."""
    if error.sqlstate in _AWAY:
        return _AWAY[error.sqlstate or ""]
    # libpq's own words; they hold no secret, and what follows the first line is guesses.
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _refuse_endings(query: Any) -> None:
    if isinstance(query, psycopg.sql.Composable):
        query = query.as_string(None)
    text = query.decode("utf-8", "replace") if isinstance(query, bytes) else str(query)
    for match in _WORDS.finditer(text):
        first, *others = (match["words"] or "-").lower().split()
        if first in _ENDINGS or (first == "rollback" and "to" not in others) or [first, *others[:1]] == _TWO_PHASE:
            raise TransactionMisuse(f"do not {first}: the transaction belongs to Hookline")


__all__: Sequence[str] = (
    "OurConnection",
    "Pool",
    "is_lost",
    "meant_by_state",
    "reason",
    "translated",
    "without_values",
)
