"""Migrations: two processes at once on a fresh database, a database of the first schema, one of a newer version."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from hookline.errors import MigrationError
from hookline.receiver.app import Receiver
from hookline.sender.app import SenderApp
from hookline.storage import connect
from hookline.storage.migrate import load_migrations, migrate
from tests.e2e.processes import clean_environment
from tests.fixtures.first_schema import Ends, dump, make
from tests.receiver.company import START_MS, Company

DUMP: Final = Path(__file__).parents[1] / "fixtures" / "first_schema.sql"
ROUNDS: Final = 15
DAY_MS: Final = 86_400_000
PARTS: Final = ("sender", "receiver")

# Opens each database it is told, as its end does at a start; prints what it found: migrations applied, keys made.
PROGRAM: Final = """
import json, sys
from hookline.receiver.app import Receiver
from hookline.sender.app import SenderApp
from hookline.storage import connect
from hookline.storage.migrate import migrate

print("ready", flush=True)
for line in sys.stdin:
    url, part = line.split()
    database = connect(url)
    made = {}
    applied = migrate(database, part, f"hookline.{part}")
    if part == "sender":
        app = SenderApp(database)
        made = dict(app.made_keys)
        app.close()
    else:
        with Receiver(url, secrets=["whsec_1"]) as hooks:
            assert hooks.is_ready()
    database.close()
    print(json.dumps({"applied": applied, "made": sorted(made)}), flush=True)
"""


class Opener:
    """A process that opens databases."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.read() == "ready"

    def tell(self, url: str, part: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{url} {part}\n")
        self.process.stdin.flush()

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> int:
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.mark.parametrize("parts", [("sender", "sender"), ("receiver", "receiver"), ("sender", "receiver")])
def test_two_processes_open_one_fresh_database_at_once(tmp_path: Path, parts: tuple[str, str]) -> None:
    """Every migration is applied once, API keys are made once, both go on; the same end twice, and both ends."""
    openers = [Opener(), Opener()]
    heard: list[list[dict[str, Any]]] = []
    try:
        for number in range(ROUNDS):
            url = f"sqlite:///{tmp_path / f'{number}.db'}"
            for opener, part in zip(openers, parts, strict=True):
                opener.tell(url, part)
            heard.append([json.loads(opener.read()) for opener in openers])
    finally:
        codes = [opener.close() for opener in openers]

    assert codes == [0, 0]
    due = sum(len(load_migrations(f"hookline.{part}", "sqlite")) for part in set(parts))
    for number, both in enumerate(heard):
        assert sum(one["applied"] for one in both) == due
        made = Counter(environment for one in both for environment in one["made"])
        assert made == (Counter({"production": 1, "staging": 1}) if "sender" in parts else Counter())
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as connection:
            [[applied]] = connection.execute("select count(*) from hookline_migrations").fetchall()
            assert (applied, connection.execute("pragma integrity_check").fetchall()) == (due, [("ok",)])


# -- a database of the first landed schema


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The database of the fixture."""
    path = tmp_path / "first.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMP.read_text("utf-8"))
    return path


def content(path: Path, columns: dict[str, list[str]] | None = None) -> dict[str, tuple[list[str], Counter[Any]]]:
    """Every table's columns and rows; only the columns named, where they are."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name
            for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
            if not name.startswith("sqlite_")
        ]
        found = {}
        for table in tables:
            here = [row[1] for row in connection.execute(f"pragma table_info({table})")]
            chosen = here if columns is None else columns.get(table)
            if chosen is not None:
                found[table] = (chosen, Counter(connection.execute(f"select {', '.join(chosen)} from {table}")))
        return found


def test_the_fixture_holds_something_of_everything(first: Path) -> None:
    """Rows in every table, deliveries and runs in every state that a stopped process leaves behind."""
    with closing(sqlite3.connect(first)) as connection:
        deliveries = {state for (state,) in connection.execute("select state from hookline_sender_deliveries")}
        runs = {state for (state,) in connection.execute("select state from hookline_runs")}
        migrations = connection.execute("select part, number from hookline_migrations").fetchall()

    assert [table for table, (_, rows) in content(first).items() if not rows] == []
    assert deliveries == {"pending", "running", "succeeded", "failed", "canceled", "held"}
    assert runs == {"pending", "running", "succeeded"}
    assert sorted(migrations) == [("receiver", 1), ("receiver", 2), ("sender", 1)]


def test_a_database_of_the_first_schema_is_brought_up_to_date(first: Path) -> None:
    """The migrations since then are applied; every row and column that was there is there as it was."""
    before = content(first)

    database = connect(f"sqlite:///{first}")
    applied = sum(migrate(database, part, f"hookline.{part}") for part in PARTS)
    again = sum(migrate(database, part, f"hookline.{part}") for part in PARTS)
    database.close()

    due = sum(len(load_migrations(f"hookline.{part}", "sqlite")) for part in PARTS)
    assert (applied, again) == (due - 3, 0)
    before.pop("hookline_migrations")
    after = content(first, {table: columns for table, (columns, _) in before.items()})
    assert after == before


def test_what_endpoints_asked_for_is_kept_as_their_first_version(first: Path) -> None:
    """The version in force, from its last change on, with its list: also of one that asks for several types."""
    with closing(sqlite3.connect(first)) as connection, connection:
        [endpoint_row] = connection.execute("select min(row_id) from hookline_sender_endpoints").fetchone()
        connection.execute(
            "insert into hookline_sender_subscriptions values ('zebra.*', ?), ('alpha.made', ?)",
            (endpoint_row, endpoint_row),
        )
        asked = connection.execute(
            "select endpoint_row, event_type from hookline_sender_subscriptions order by endpoint_row, event_type"
        ).fetchall()

    database = connect(f"sqlite:///{first}")
    migrate(database, "sender", "hookline.sender")
    with database.read() as reader:
        kept = reader.execute(
            "select v.endpoint_row, v.events, v.version = p.version and v.from_ms = p.updated_ms and v.url = p.url "
            "from hookline_sender_endpoint_versions v join hookline_sender_endpoints p on p.row_id = v.endpoint_row"
        ).fetchall()
    database.close()

    assert len(json.loads({row: events for row, events, _ in kept}[endpoint_row])) > 2
    assert [(row, name) for row, events, _ in sorted(kept) for name in json.loads(events)] == asked
    assert all(is_same for _, _, is_same in kept)


def test_both_ends_go_on_where_the_first_schema_stopped(first: Path) -> None:
    """Retries, a dead attempt, an unfed event, the inbox, a walk and runs: all go on; what comes next works as well."""
    ends = Ends(first, now_ms=START_MS + 7 * DAY_MS)
    try:
        stopped_at_ms = ends.ask("select max(created_ms) from hookline_sender_deliveries")
        ends.clock.set(stopped_at_ms + 120_000)
        ends.hooks.worker().register()
        cut = ends.rows("select row_id, attempt from hookline_sender_deliveries where state = 'running'")
        lost_run = ends.rows("select row_id, attempt from hookline_runs where state = 'running'")
        held = ends.ask("select count(*) from hookline_sender_deliveries where state = 'held'")
        new = Company().user("created", "user_9")
        ends.publish(new)
        ends.deliver()
        ends.clock.advance(DAY_MS)
        ends.deliver()
        ends.work()
        ends.clock.advance(DAY_MS)
        ends.work()

        states = Counter(state for (state,) in ends.rows("select state from hookline_sender_deliveries"))
        assert (states["pending"], states["running"], states["held"] - held) == (0, 0, 1)
        unknown = ends.rows("select delivery_row, number from hookline_sender_attempts where outcome = 'unknown'")
        assert unknown == cut
        assert ends.ask("select count(*) from hookline_sender_unfed") == 0
        assert ends.ask("select count(*) from hookline_sender_feed") == ends.ask(
            "select count(*) from hookline_sender_events"
        )
        assert ends.ask("select count(*) from hookline_inbox_queue") == 0
        assert ends.ask("select count(*) from hookline_cascades") == 0
        assert ends.rows("select id from hookline_directory_users_live order by id") == [
            (f"user_{number}",) for number in (1, 2, 5, 6, 7, 8, 9)
        ]
        [user] = ends.rows("select first_name from hookline_directory_users_live where id = 'user_1'")
        assert user == ("Hopper",)
        assert lost_run
        for row_id, attempt in lost_run:
            again = ends.rows("select state, attempt from hookline_runs where row_id = ?", row_id)
            assert again == [("succeeded", attempt + 1)]
        open_runs = ends.rows("select distinct handler from hookline_runs where state <> 'succeeded'")
        assert open_runs == [("broken",)]
        changes = ends.rows("select kind || ' ' || object_id from hookline_changes where resource = 'directory_user'")
        effects = ends.rows("select subject from effects where handler = 'change'")
        assert sorted(effects) == sorted(changes)
        facts = ends.rows("select event_id from hookline_inbox where type like 'dsync.user.%'")
        assert sorted(ends.rows("select subject from effects where handler = 'fact'")) == sorted(facts)
    finally:
        ends.close()


def test_the_script_makes_what_the_fixture_is(tmp_path: Path) -> None:
    """The script that is said to have made the fixture still runs, and fills the same tables."""
    make(tmp_path / "made.db")

    assert "hookline_sender_events" in dump(tmp_path / "made.db")
    first_tables = {
        line.split()[2].strip('"') for line in DUMP.read_text("utf-8").splitlines() if line.startswith("INSERT INTO")
    }
    made = {table for table, (_, rows) in content(tmp_path / "made.db").items() if rows}
    assert first_tables - made <= {"sqlite_sequence"}


# -- a database of a newer version


@pytest.mark.parametrize("part", PARTS)
def test_a_database_of_a_newer_version_is_refused(first: Path, part: str) -> None:
    """Either end says so at its start and changes nothing; the other end, whose tables are known, works."""
    number = len(load_migrations(f"hookline.{part}", "sqlite")) + 1
    database = connect(f"sqlite:///{first}")
    for each in PARTS:
        migrate(database, each, f"hookline.{each}")
    with database.transaction() as connection:
        connection.execute("insert into hookline_migrations values (?, ?, 'of_tomorrow', 'hash')", (part, number))
    database.close()
    before = content(first)

    database = connect(f"sqlite:///{first}")
    with pytest.raises(MigrationError, match=f"{part}.*newer Hookline"):
        if part == "receiver":
            Receiver(f"sqlite:///{first}", secrets=["whsec_1"]).open()
        else:
            SenderApp(database)
    [other] = set(PARTS) - {part}
    applied = migrate(database, other, f"hookline.{other}")
    database.close()

    assert content(first) == before
    assert applied == 0
