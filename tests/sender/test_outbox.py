"""Events that live and die with the app's own transaction, whatever the app reaches its database with."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from django.db import connections, transaction
from psycopg.rows import dict_row
from sqlalchemy.orm import Session

from hookline import Outbox
from hookline.errors import RequestError, TransactionMisuse
from hookline.sender.drafts import draft_event
from hookline.sender.event_types import EventTypes
from hookline.sender.event_writer import Publication
from hookline.sender.idempotency import IdempotencyKey
from hookline.sender.ids import IdMaker
from hookline.sender.publish import Publisher
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock

from ..apps import django_database
from .conftest import NOW_MS
from .test_publish import add_endpoint

EVENT = {"event": "account.upgraded", "data": {"id": "account_7", "name": "Zoë"}}
Begin = Callable[[str], AbstractContextManager[Any]]


# -- what apps have: each opens a transaction that commits at the end and rolls back when the block raises


@contextlib.contextmanager
def plain_sqlite(url: str) -> Iterator[Any]:
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        yield connection


@contextlib.contextmanager
def sqlite_with_rows(url: str) -> Iterator[Any]:
    """Rows as the app likes them, transactions by hand."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.row_factory = lambda cursor, row: dict(zip([one[0] for one in cursor.description], row, strict=True))
        connection.execute("begin immediate")
        try:
            yield connection
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")


@contextlib.contextmanager
def plain_psycopg(url: str) -> Iterator[Any]:
    with psycopg.connect(url) as connection:
        yield connection


@contextlib.contextmanager
def psycopg_with_rows(url: str) -> Iterator[Any]:
    with (
        psycopg.connect(url, row_factory=dict_row, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection,
        connection.transaction(),
    ):
        yield connection


def _engine(url: str) -> Any:
    return sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


@contextlib.contextmanager
def sqlalchemy_connection(url: str) -> Iterator[Any]:
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            yield connection
            connection.commit()  # what is not committed is rolled back where the connection is given back
    finally:
        engine.dispose()


@contextlib.contextmanager
def sqlalchemy_session(url: str) -> Iterator[Any]:
    engine = _engine(url)
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


@contextlib.contextmanager
def django_atomic(url: str) -> Iterator[Any]:
    with django_database(url), transaction.atomic():
        yield connections["default"]


APPS: dict[str, tuple[Begin, tuple[str, ...]]] = {
    "sqlite3": (plain_sqlite, ("sqlite",)),
    "sqlite3 with rows": (sqlite_with_rows, ("sqlite",)),
    "psycopg": (plain_psycopg, ("postgres",)),
    "psycopg with rows": (psycopg_with_rows, ("postgres",)),
    "SQLAlchemy connection": (sqlalchemy_connection, ("sqlite", "postgres")),
    "SQLAlchemy session": (sqlalchemy_session, ("sqlite", "postgres")),
    "Django": (django_atomic, ("sqlite", "postgres")),
}


@dataclass
class App:
    """An app beside a sender's tables, and what a sender would see in them."""

    url: str
    begin: Begin
    database: Database
    store: SenderStore
    outbox: Outbox

    def feed(self) -> list[str]:
        """As it is once the delivery loop has given places."""
        self.database.run(self.store.feed_missing)
        return self.ids(
            "select e.id from hookline_sender_feed f join hookline_sender_events e on e.row_id = f.event_row"
            " order by f.seq"
        )

    def ids(self, statement: str) -> list[str]:
        with self.database.read() as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return [row[0] for row in cursor.fetchall()]


@pytest.fixture(params=[(name, kind) for name, (_, kinds) in APPS.items() for kind in kinds], ids=" on ".join)
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    name, kind = request.param
    url = f"sqlite:///{tmp_path / 'app.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    database = connect(url)
    migrate(database, "sender", "hookline.sender")
    store = SenderStore(database.dialect)
    add_endpoint(database, store, "we_1", "*")
    yield App(url, APPS[name][0], database, store, Outbox(clock=TurnedClock(NOW_MS)))
    database.close()


# -- what holds for all of them


def test_events_live_and_die_with_the_apps_transaction(app: App) -> None:
    """Rolled back: neither event nor delivery nor key. Committed: all of them, in the order given."""
    with pytest.raises(LookupError), app.begin(app.url) as connection:
        app.outbox.publish(EVENT, connection=connection, idempotency_key="once")
        raise LookupError
    rolled_back = app.feed()

    with app.begin(app.url) as connection:
        one = app.outbox.publish(EVENT, connection=connection, idempotency_key="once")
        more = app.outbox.publish([EVENT | {"organization_id": "org_1"}, EVENT], connection=connection)

    assert rolled_back == []
    assert app.feed() == [*one, *more]
    assert app.ids(
        "select e.id from hookline_sender_deliveries d join hookline_sender_events e on e.row_id = d.event_row"
        " order by d.row_id"
    ) == [*one, *more]
    with app.database.read() as connection:
        stored = app.store.event(connection, "production", one[0])
    assert stored is not None
    assert b'"name":"Zo\xc3\xab"' in stored.body


def test_a_repeated_key_writes_nothing_more(app: App) -> None:
    """In the same transaction or a later one; with other events it is refused, and the transaction goes on."""
    with app.begin(app.url) as connection:
        first = app.outbox.publish(EVENT, connection=connection, idempotency_key="once")
        again = app.outbox.publish(EVENT, connection=connection, idempotency_key="once")
    with app.begin(app.url) as connection:
        later = app.outbox.publish(EVENT, connection=connection, idempotency_key="once")
        with pytest.raises(RequestError) as refused:
            app.outbox.publish(EVENT | {"organization_id": "org_1"}, connection=connection, idempotency_key="once")
        other = app.outbox.publish(EVENT, connection=connection)

    assert first == again == later
    assert (refused.value.status, refused.value.code) == (409, "idempotency_key_reused")
    assert app.feed() == [*first, *other]


def test_what_is_no_event_is_refused_before_anything_is_written(app: App) -> None:
    """Of a batch all or none; the place is named; schemas are asked as the transaction sees them."""
    types = EventTypes(app.database, app.store, clock=TurnedClock(NOW_MS))
    types.put("production", "account.upgraded", schema={"type": "object", "required": ["plan"]})

    with app.begin(app.url) as connection:
        with pytest.raises(RequestError) as unknown:
            app.outbox.publish([EVENT, {"event": "a.b", "data": []}], connection=connection)
        with pytest.raises(RequestError) as mismatch:
            app.outbox.publish(EVENT, connection=connection)
        with pytest.raises(RequestError) as bad_key:
            app.outbox.publish({"event": "a.b", "data": {}}, connection=connection, idempotency_key="é")
        fine = app.outbox.publish({"event": "a.b", "data": {}}, connection=connection)

    assert [error["field"] for error in unknown.value.errors or ()] == ["events[1].data"]
    assert [error["code"] for error in mismatch.value.errors or ()] == ["schema_mismatch"]
    assert [error["field"] for error in bad_key.value.errors or ()] == ["idempotency_key"]
    assert app.feed() == fine


def test_no_call_waits_for_an_apps_transaction(postgres_url: str) -> None:
    """Not even one with the same key: it would wait until the lock's timeout, and others of its commit with it."""
    database = connect(postgres_url)
    store = SenderStore("postgres")
    add_endpoint(database, store, "we_1", "*")
    outbox = Outbox()
    publisher = Publisher(database, store, clock=TurnedClock(NOW_MS), ids=IdMaker())
    call = Publication("production", (draft_event(EVENT),), IdempotencyKey("once", "POST /api/v1/events", "hash"))

    with psycopg.connect(postgres_url) as connection:
        [ours] = outbox.publish(EVENT, connection=connection, idempotency_key="once")
        [theirs] = publisher.publish_inline(call)
    again = publisher.publish_inline(call)
    with psycopg.connect(postgres_url) as connection:
        [ours_again] = outbox.publish(EVENT, connection=connection, idempotency_key="once")
    publisher.close()
    database.close()

    assert ours_again == ours
    assert [theirs.id] == [one.id for one in again]
    assert theirs.id != ours


# -- what it does not take


def test_a_connection_that_commits_by_itself_is_refused(tmp_path: Path, postgres_url: str) -> None:
    """The event and what it tells of would be two commits."""
    outbox = Outbox()
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'app.db'}", isolation_level="AUTOCOMMIT")
    with contextlib.ExitStack() as open_ones:
        for connection in (
            open_ones.enter_context(contextlib.closing(sqlite3.connect(":memory:", isolation_level=None))),
            open_ones.enter_context(psycopg.connect(postgres_url, autocommit=True)),
            open_ones.enter_context(engine.connect()),
        ):
            with pytest.raises(TransactionMisuse, match="autocommit"):
                outbox.publish(EVENT, connection=connection)
    engine.dispose()


def test_django_outside_atomic_is_refused(tmp_path: Path) -> None:
    """Its autocommit mode, likewise."""
    with django_atomic(f"sqlite:///{tmp_path / 'app.db'}") as connection:
        pass
    with pytest.raises(TransactionMisuse, match=r"atomic\(\)"):
        Outbox().publish(EVENT, connection=connection)


def test_another_kind_of_connection_is_named() -> None:
    """With those that are taken."""
    with pytest.raises(TypeError, match=r"expected a connection of sqlite3 or psycopg .*got builtins.object"):
        Outbox().publish(EVENT, connection=object())
