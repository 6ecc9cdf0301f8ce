"""What apps reach their databases with: each of the four kinds, on the databases it knows."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from hookline.adapters.dbapi import PsycopgTransactions, SqliteTransactions
from hookline.receiver.handlers import Transactions

# Django and SQLAlchemy are loaded where they are used: programs that are started to be killed do without.

Rows = list[tuple[Any, ...]]
TIMEOUT_S: Final = 0.2
SETTINGS_VARIABLE: Final = "DJANGO_SETTINGS_MODULE"


@dataclass(frozen=True)
class App:
    """An app's own access to its database.

    `say(tx, sql)` runs a statement in what handlers get as `tx`; `ends` are the ways in which an app of this kind would
    end its transaction.
    """

    name: str
    url: str
    transactions: Transactions
    say: Callable[[Any, str], Any]
    ends: dict[str, Callable[[Any], Any]]

    @property
    def is_postgres(self) -> bool:
        return self.url.startswith("postgresql")

    def rows(self, sql: str) -> Rows:
        """What anybody else sees."""
        return rows_at(self.url, sql)

    def write(self, sql: str) -> None:
        rows_at(self.url, sql)


def rows_at(url: str, sql: str) -> Rows:
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []
    with contextlib.closing(sqlite3.connect(file_of(url), isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def file_of(url: str) -> str:
    return url.removeprefix("sqlite:///")


@contextlib.contextmanager
def plain_sqlite(url: str) -> Iterator[App]:
    """With rows as the app likes them."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(file_of(url), timeout=TIMEOUT_S)
        connection.row_factory = lambda cursor, row: dict(zip([one[0] for one in cursor.description], row, strict=True))
        return connection

    yield App("sqlite3", url, SqliteTransactions(connect), _say_plainly, _ends_of_connection(_say_plainly))


@contextlib.contextmanager
def autocommit_sqlite(url: str) -> Iterator[App]:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file_of(url), timeout=TIMEOUT_S, isolation_level=None)

    yield App(
        "sqlite3 in autocommit", url, SqliteTransactions(connect), _say_plainly, _ends_of_connection(_say_plainly)
    )


@contextlib.contextmanager
def plain_psycopg(url: str) -> Iterator[App]:
    """With rows and cursors as the app likes them."""

    def connect() -> Any:
        return psycopg.connect(url, row_factory=dict_row, cursor_factory=psycopg.ClientCursor)

    yield App("psycopg", url, PsycopgTransactions(connect), _say_plainly, _ends_of_connection(_say_plainly))


@contextlib.contextmanager
def sqlalchemy_session(url: str, **options: Any) -> Iterator[App]:
    import sqlalchemy
    from sqlalchemy.orm import sessionmaker

    from hookline.adapters.sqlalchemy import SessionTransactions

    waits = {} if url.startswith("postgresql") else {"connect_args": {"timeout": TIMEOUT_S}}
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), **waits, **options)

    def say(tx: Any, sql: str) -> Any:
        return tx.execute(sqlalchemy.text(sql))

    yield App("SQLAlchemy", url, SessionTransactions(sessionmaker(engine)), say, _ends_of_connection(say))
    engine.dispose()


@contextlib.contextmanager
def django_alias(url: str, alias: str = "default") -> Iterator[App]:
    from django.db import connections, transaction

    from hookline.adapters.django import AliasTransactions

    def say(tx: Any, sql: str) -> Any:
        return connections[tx].cursor().execute(sql)

    ends: dict[str, Callable[[Any], Any]] = {
        "commit": lambda tx: transaction.commit(using=tx),
        "rollback": lambda tx: transaction.set_rollback(True, using=tx),
        "close": lambda tx: connections[tx].close(),
        "commit in SQL": lambda tx: say(tx, "commit"),
    }
    with django_database(url, alias):
        yield App("Django", url, AliasTransactions(alias), say, ends)


def start_django() -> None:
    """Make this process one of the tests' Django project; once is enough."""
    import django

    # Set for as long as Django looks: programs that tests start have settings of their own.
    was = os.environ.get(SETTINGS_VARIABLE)
    os.environ[SETTINGS_VARIABLE] = "tests.adapters.shop.settings"
    django.setup()
    if was is None:
        del os.environ[SETTINGS_VARIABLE]
    else:
        os.environ[SETTINGS_VARIABLE] = was


@contextlib.contextmanager
def django_database(url: str, alias: str = "default") -> Iterator[None]:
    """One of Django's databases, under an alias."""
    start_django()
    from django.db import connections

    from tests.adapters.shop.settings import database_at

    connections.databases[alias] = connections.configure_settings({"default": {}, alias: database_at(url)})[alias]
    with contextlib.suppress(AttributeError):
        del connections[alias]  # the one without a database that Django began with
    try:
        yield
    finally:
        connections[alias].close()
        del connections[alias]


def migrate_shop(url: str) -> None:
    """The shop's tables and Hookline's, as `manage.py migrate` makes them."""
    start_django()
    from django.core.management import call_command

    if not url.startswith("postgresql"):
        rows_at(url, "pragma journal_mode=wal")
    with django_database(url):
        call_command("migrate", run_syncdb=True, verbosity=0)


def _say_plainly(tx: Any, sql: str) -> Any:
    return tx.execute(sql)


def _ends_of_connection(say: Callable[[Any, str], Any]) -> dict[str, Callable[[Any], Any]]:
    return {
        "commit": lambda tx: tx.commit(),
        "rollback": lambda tx: tx.rollback(),
        "close": lambda tx: tx.close(),
        "commit in SQL": lambda tx: say(tx, "commit"),
    }


# Kind, database, how it is opened.
KINDS: Final[dict[str, tuple[str, Callable[[str], contextlib.AbstractContextManager[App]]]]] = {
    "sqlite3": ("sqlite", plain_sqlite),
    "sqlite3 in autocommit": ("sqlite", autocommit_sqlite),
    "psycopg": ("postgres", plain_psycopg),
    "SQLAlchemy on SQLite": ("sqlite", sqlalchemy_session),
    "SQLAlchemy on PostgreSQL": ("postgres", sqlalchemy_session),
    "Django on SQLite": ("sqlite", django_alias),
    "Django on PostgreSQL": ("postgres", django_alias),
}
