"""A migrated sender database on a file, its store and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline.sender.store import SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock

NOW_MS = 1_764_000_000_000


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = connect(f"sqlite:///{tmp_path / 'hookline.db'}")
    migrate(database, "sender", "hookline.sender")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> SenderStore:
    return SenderStore(database.dialect)
