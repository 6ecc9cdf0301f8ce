"""Real files, real locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hookline.storage import Database, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/test.db?busy_timeout_ms=300"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = connect(url)
    with database.transaction() as connection:
        connection.execute("create table t (a integer primary key, b text)")
    yield database
    database.close()
