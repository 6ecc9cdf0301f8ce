"""Fixtures of the receiving end's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .company import Company, Desk


@pytest.fixture
def company() -> Company:
    return Company()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "app.db")
    yield desk
    desk.close()
