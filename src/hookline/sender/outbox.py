"""Publishing in the app's own transaction: a transactional outbox on the database that the sender shares with the app.

The app's rows and the events that tell of them are one commit. The events' place in the feed is given by the delivery
loop before their first claim: the feed's lock is never held in a transaction of which we do not know the length.
"""

from __future__ import annotations

import hashlib
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
from hookline.storage.app_connection import PlainSqlite, commits_by_itself, driver_connection, name_of, plain
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


def _opened(connection: Any) -> tuple[Dialect, Any]:
    """The driver's own connection within, in an open transaction."""
    if _is_djangos_in_autocommit(connection):
        raise TransactionMisuse("Django is in autocommit mode: publish within `with transaction.atomic():`")
    connection = driver_connection(connection)
    found = plain(connection)
    if found is None:
        raise TypeError(
            "expected a connection of sqlite3 or psycopg (version 3), an SQLAlchemy Connection or Session, or "
            f"django.db.connection; got {name_of(connection)}"
        )
    if isinstance(found, PlainSqlite):
        if not connection.in_transaction and commits_by_itself(connection):
            raise TransactionMisuse(
                "the connection is in autocommit mode: begin a transaction, or the event would not live and die with "
                "what it tells of"
            )
    elif connection.autocommit and not _is_in_transaction(connection):
        raise TransactionMisuse(
            "the connection is in autocommit mode: publish within `with connection.transaction():`, or the event "
            "would not live and die with what it tells of"
        )
    return found.dialect, found


def _is_djangos_in_autocommit(connection: Any) -> bool:
    return (
        hasattr(connection, "in_atomic_block") and not connection.in_atomic_block and bool(connection.get_autocommit())
    )


def _is_in_transaction(connection: Any) -> bool:
    from psycopg.pq import TransactionStatus

    return bool(connection.info.transaction_status != TransactionStatus.IDLE)
