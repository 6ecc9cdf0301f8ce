"""`hookline db`: bring tables up to date, check them, and remove what is past its time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit, fail
from hookline.cli.api_client import open_sender_database
from hookline.cli.parameters import AsJson
from hookline.cli.sender_app import sender_of
from hookline.cli.tables import print_facts, print_json, print_table
from hookline.config import SETTINGS, Settings, load
from hookline.dashboard.accounts import Accounts
from hookline.errors import HooklineError
from hookline.loop import SystemClock
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect, database_file
from hookline.storage.migrate import load_migrations, migrate, migrations_missing

db = cyclopts.App(name="db", help="The databases: upgrade, check, prune.")

End: TypeAlias = Literal["sender", "receiver", "dashboard"]
_ENDS: Final[tuple[End, ...]] = ("sender", "receiver", "dashboard")

DatabaseUrl: TypeAlias = Annotated[
    str | None, Parameter("--database-url", help=f"{SETTINGS['database_url'].about} Else HOOKLINE_DATABASE_URL.")
]


@dataclass(frozen=True, slots=True)
class Standing:
    """One part's tables: how many migrations are applied, and how many this version knows."""

    part: End
    applied: int
    known: int


@db.command
def upgrade(*, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Bring all tables up to date, in a new database where there is none. So does starting a server."""
    settings = load({"database_url": database_url})
    with ExitStack() as ends:
        done = {part: migrate(_opened(settings, part, database_url, ends), part, f"hookline.{part}") for part in _ENDS}
    if as_json:
        print_json({"applied": done})
    else:
        for part, count in done.items():
            print(f"{part}: {f'{count} migration(s) applied' if count else 'up to date'}")


@db.command
def current(*, database_url: DatabaseUrl = None, as_json: AsJson = False) -> int:
    """Which migrations are applied; exit 1 where some are not."""
    settings = load({"database_url": database_url})
    with ExitStack() as ends:
        found = list(_standings(settings, database_url, ends))
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        print_table(("TABLES OF", "APPLIED", "KNOWN"), ((one.part, one.applied, one.known) for one in found), empty="")
    return Exit.OK if all(one.applied == one.known for one in found) else Exit.FAILED


@db.command
def check(*, database_url: DatabaseUrl = None, as_json: AsJson = False) -> int:
    """Look for what would keep a server from working: reach, migrations, the encryption key, a damaged file."""
    settings = load({"database_url": database_url})
    with ExitStack() as ends:
        tables = {part: _problem_of_tables(settings, part, database_url, ends) for part in _ENDS}
        key = (
            problem_of_key(settings, database_url, ends)
            if tables["sender"] is None
            else "not looked at, since the tables are not in order"
        )
    found = [
        *((f"{part}: tables", problem) for part, problem in tables.items()),
        ("sender: encryption key", key),
        *((f"{path.name}: file", problem_of_file(path)) for path in _files(settings, database_url)),
    ]
    if as_json:
        print_json([{"check": name, "problem": problem} for name, problem in found])
    else:
        print_facts((name, problem or "ok") for name, problem in found)
    problems = [f"{name}: {problem}" for name, problem in found if problem]
    return fail("db_check", "; ".join(problems), Exit.FAILED, as_json=as_json) if problems else Exit.OK


@db.command
def prune(*, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Remove now what is past its retention in the sender's and the dashboard's tables. A running server does it."""
    settings = load({"database_url": database_url})
    with ExitStack() as ends:
        database = open_sender_database(settings, database_url, ends)
        sender = sender_of(settings.sender(), database, makes_keys=False)
        ends.callback(sender.close)
        removed = asdict(sender.retention.prune(database, clock=SystemClock()))
        accounts = Accounts(database)
        accounts.open()
        removed["dashboard_audit"] = accounts.prune()
    if as_json:
        print_json(removed)
    else:
        print_facts(removed.items())


def _url(settings: Settings, part: End, database_url: str | None) -> str:
    if database_url is not None:
        return database_url
    # The dashboard's accounts are where the sender is (docs/decisions/0222).
    own: str = settings.receiver().database_url if part == "receiver" else settings.sender().database_url
    return own


def _opened(settings: Settings, part: End, database_url: str | None, ends: ExitStack) -> Database:
    url = _url(settings, part, database_url)
    setting = "--database-url" if database_url is not None else SETTINGS["database_url"].variable
    if url.startswith("sqlite:"):
        database_file(url, setting=setting)
    database = connect(url, setting=setting)
    ends.callback(database.close)
    return database


def _standings(settings: Settings, database_url: str | None, ends: ExitStack) -> Iterator[Standing]:
    for part in _ENDS:
        database = _opened(settings, part, database_url, ends)
        known = len(load_migrations(f"hookline.{part}", database.dialect))
        yield Standing(part, known - migrations_missing(database, part, f"hookline.{part}"), known)


def _files(settings: Settings, database_url: str | None) -> list[Path]:
    urls = {_url(settings, part, database_url) for part in _ENDS}
    paths = {database_file(url, setting=SETTINGS["database_url"].variable) for url in urls if url.startswith("sqlite:")}
    return sorted(path for path in paths if path.exists())


def _problem_of_tables(settings: Settings, part: End, database_url: str | None, ends: ExitStack) -> str | None:
    url = _url(settings, part, database_url)
    try:
        if url.startswith("sqlite:") and not database_file(url, setting="").exists():
            return "there is no database; `hookline db upgrade` makes it"
        missing = migrations_missing(_opened(settings, part, database_url, ends), part, f"hookline.{part}")
    except HooklineError as error:
        return str(error)
    return f"{missing} migration(s) are not applied: `hookline db upgrade`" if missing else None


def problem_of_key(settings: Settings, database_url: str | None, ends: ExitStack) -> str | None:
    """Why what the sender encrypted cannot be read with the keys of the settings; None where it can, or nothing is."""
    try:
        database = open_sender_database(settings, database_url, ends)
        if has_encrypted(database):
            sender_of(settings.sender(), database, makes_keys=False).close()
    except HooklineError as error:
        return str(error)
    return None


def has_encrypted(database: Database) -> bool:
    """Whether a sender has begun on these tables. Before, there is no endpoint, and to make a sender makes a key."""
    with database.read() as connection:
        return SenderStore(database.dialect).setting(connection, "encryption_check") is not None


def problem_of_file(path: Path) -> str | None:
    """What is damaged in an SQLite file; None where nothing is."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            told: list[tuple[Any, ...]] = connection.execute("pragma quick_check(5)").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return None if told == [("ok",)] else "; ".join(str(row[0]) for row in told)
