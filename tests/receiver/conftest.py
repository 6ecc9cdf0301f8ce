"""Fixtures of the receiving end's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .company import Company, Desk


@pytest.fixture
def company() -> Company:
    return Company()


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    """Once on each database."""
    desk = Desk(database_url)
    yield desk
    desk.close()
