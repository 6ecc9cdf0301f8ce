"""Publishing in the app's own transaction: a transactional outbox on the database that the sender shares with the app.

The app's rows and the events that tell of them are one commit. The events' place in the feed is given by the delivery
loop before their first claim: the feed's lock is never held in a transaction of which we do not know the length.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from hookline.errors import RequestError, TransactionMisuse
from hookline.loop import SystemClock
from hookline.sender.drafts import EventDraft, draft_batch
from hookline.sender.event_types import Tell, check_drafts, rules_on
from hookline.sender.event_writer import EventWriter, Publication
from hookline.sender.idempotency import IdempotencyKey, check_key
from hookline.sender.ids import IdMaker
from hookline.sender.store import SenderStore
from hookline.tracing import current

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.model import Environment
    from hookline.storage.verbs import Dialect

_OPERATION: Final = "outbox"
# No key of an HTTP call begins so, nor can: those are ASCII. A call never waits for the end of an app's transaction.
_KEY_SPACE: Final = "outbox·"


class Outbox:
    """Publishes in transactions of the app's own.

        outbox = Outbox()
        with connection:
            connection.execute("update accounts set plan = 'pro' where id = 7")
            outbox.publish({"event": "account.upgraded", "data": {"id": 7}}, connection=connection)

    One serves the whole process and every thread. The sender's tables must be in the same database (`hookline db
    migrate`, or a sender that has run on it); a running sender delivers what was committed, at the latest 5 s later.

    Args:
        environment: whose endpoints and feed.
        clock: for the events' times.
    """

    def __init__(self, *, environment: Environment = "production", clock: Clock | None = None) -> None:
        self._environment: Environment = environment
        self._clock = clock or SystemClock()
        self._ids = IdMaker()
        self._tell = Tell(self._clock)
        self._writers: dict[Dialect, tuple[SenderStore, EventWriter]] = {}

    def publish(
        self,
        events: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        connection: Any,
        idempotency_key: str | None = None,
    ) -> list[str]:
        """Write events into the transaction that is open on `connection`; they exist when the app commits it.

        Args:
            events: one, or 1 to 1,000, as `POST /api/v1/events` takes them: `event`, `data`, and perhaps
                `organization_id`, `context`, `created_at`.
            connection: of `sqlite3` or `psycopg`, an SQLAlchemy `Connection` or `Session` on one of them, or Django's
                `django.db.connection` inside `atomic()`.
            idempotency_key: a call that repeats it with the same events writes nothing and gets the first one's ids. On
                PostgreSQL it waits for a transaction that is open with the same key. Keys of HTTP calls are others.

        Returns: the events' ids, in order.

        Raises:
            RequestError: 422 where an event is not one or a schema refuses it, 409 `idempotency_key_reused`; `errors`
                names the place. Nothing was written, and the transaction goes on.
            TransactionMisuse: the connection commits by itself, so that nothing would hold the rows together.
            TypeError: a connection of another kind.
            Whatever the driver raises: the transaction is the app's to roll back.
        """
        drafts = draft_batch([events] if isinstance(events, Mapping) else events)
        key = None if idempotency_key is None else _key(idempotency_key, drafts)
        dialect, opened = _opened(connection)
        store, writer = self._writer(dialect)
        check_drafts(self._environment, drafts, rules_on(store, opened), self._tell)
        publication = Publication(self._environment, drafts, key, current())
        [result], _ = writer.write(opened, [publication], is_ours=False)
        if isinstance(result, RequestError):
            raise result
        return [published.id for published in result]

    def _writer(self, dialect: Dialect) -> tuple[SenderStore, EventWriter]:
        known = self._writers.get(dialect)
        if known is None:
            store = SenderStore(dialect)
            known = self._writers[dialect] = store, EventWriter(store, clock=self._clock, ids=self._ids)
        return known


def _key(text: str, drafts: Sequence[EventDraft]) -> IdempotencyKey:
    digest = hashlib.sha256()
    for draft in drafts:
        for part in (draft.type, draft.organization_id, draft.created_ms):
            digest.update(repr(part).encode("utf-8", "surrogatepass"))
        digest.update(draft.data + b"\0" + draft.context + b"\0")
    return IdempotencyKey(_KEY_SPACE + check_key(text, "idempotency_key"), _OPERATION, digest.hexdigest())


class _Plain:
    """A driver's connection whose cursors give plain tuples, whatever rows the app likes."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def cursor(self) -> Any:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor


class _PlainPostgres:
    """The same of psycopg."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def cursor(self) -> Any:
        from psycopg import Cursor
        from psycopg.rows import tuple_row

        # Not the class that the app's connection makes: one that binds on the client writes arrays in another way.
        return Cursor(self._connection, row_factory=tuple_row)

    @property
    def adapters(self) -> Any:
        return self._connection.adapters


def _opened(connection: Any) -> tuple[Dialect, Any]:
    """The driver's own connection within, in an open transaction."""
    connection = _within(connection)
    if isinstance(connection, sqlite3.Connection):
        if not connection.in_transaction and _commits_by_itself(connection):
            raise TransactionMisuse(
                "the connection is in autocommit mode: begin a transaction, or the event would not live and die with "
                "what it tells of"
            )
        return "sqlite", _Plain(connection)
    # Whoever has a connection of psycopg's has loaded it.
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(connection, psycopg.Connection):
        if connection.autocommit and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            raise TransactionMisuse(
                "the connection is in autocommit mode: publish within `with connection.transaction():`, or the event "
                "would not live and die with what it tells of"
            )
        return "postgres", _PlainPostgres(connection)
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise TypeError(
        "expected a connection of sqlite3 or psycopg (version 3), an SQLAlchemy Connection or Session, or "
        f"django.db.connection; got {kind}"
    )


def _commits_by_itself(connection: sqlite3.Connection) -> bool:
    # Python 3.12 has a mode of its own beside the old one, where None stands for autocommit.
    mode = getattr(connection, "autocommit", -1)
    return connection.isolation_level is None if mode == -1 else bool(mode)


def _within(connection: Any) -> Any:
    """What a framework has wrapped; neither of them is imported for it."""
    if hasattr(connection, "in_atomic_block") and hasattr(connection, "ensure_connection"):  # Django's
        if not connection.in_atomic_block and connection.get_autocommit():
            raise TransactionMisuse("Django is in autocommit mode: publish within `with transaction.atomic():`")
        connection.ensure_connection()
        return connection.connection
    if hasattr(connection, "get_bind") and hasattr(connection, "connection"):  # SQLAlchemy's Session
        connection = connection.connection()
    if hasattr(connection, "exec_driver_sql"):  # SQLAlchemy's Connection
        if not connection.in_transaction():
            connection.begin()  # as its own first statement would
        return connection.connection.dbapi_connection
    return connection
