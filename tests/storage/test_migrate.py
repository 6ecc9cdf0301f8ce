"""Migrations: each once, in order, and nothing on a database that is not ours to touch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from hookline.errors import MigrationError
from hookline.storage.migrate import load_migrations, migrate

if TYPE_CHECKING:
    from pathlib import Path

    from hookline.storage import Database


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two migrations; returns their folder."""
    folder = tmp_path / "made_up_part" / "migrations"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "001_first.sql").write_text(
        "-- a; comment\ncreate table one (x text default 'a;b');\ncreate table two (y text);\n"
    )
    (folder / "002_second.sql").write_text("insert into one values ('z');\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("made_up_part", None)
    return folder


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}


def test_each_once(database: Database, package: Path) -> None:
    """All are applied the first time, none the second, a new one alone the third."""
    first = migrate(database, "made_up", "made_up_part")
    second = migrate(database, "made_up", "made_up_part")
    (package / "003_third.sql").write_text("create table three (z text);\n")
    third = migrate(database, "made_up", "made_up_part")

    assert (first, second, third) == (2, 0, 1)
    assert {"one", "two", "three"} <= tables(database)


def test_a_failing_file_leaves_nothing(database: Database, package: Path) -> None:
    """A migration that fails half-way is undone with all of its run."""
    (package / "003_bad.sql").write_text("create table four (a text);\ncreate table four (a text);\n")
    with pytest.raises(Exception, match="four"):
        migrate(database, "made_up", "made_up_part")

    assert not {"one", "four", "hookline_migrations"} & tables(database)


def test_a_newer_database_is_refused(database: Database, package: Path) -> None:
    """A database that knows more migrations than we do was made by a newer version."""
    migrate(database, "made_up", "made_up_part")
    (package / "002_second.sql").unlink()
    with pytest.raises(MigrationError, match="newer"):
        migrate(database, "made_up", "made_up_part")


def test_an_altered_file_is_refused(database: Database, package: Path) -> None:
    """An applied file that reads differently now is not the one that made the database."""
    migrate(database, "made_up", "made_up_part")
    (package / "001_first.sql").write_text("create table other (x text);\n")
    with pytest.raises(MigrationError, match="001_first"):
        migrate(database, "made_up", "made_up_part")

    assert "other" not in tables(database)


def test_a_gap_is_refused(package: Path) -> None:
    """Numbers are consecutive."""
    (package / "004_late.sql").write_text("select 1;\n")
    with pytest.raises(ValueError, match="003 expected"):
        load_migrations("made_up_part", "sqlite")


def test_both_ends_share_a_database(database: Database) -> None:
    """Sender and receiver keep their tables side by side."""
    migrate(database, "sender", "hookline.sender")
    migrate(database, "receiver", "hookline.receiver")

    assert {"hookline_sender_events", "hookline_inbox", "hookline_directory_users"} <= tables(database)
