"""Fixtures of the receiving end's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .company import Company, Desk


@pytest.fixture
def company() -> Company:
    return Company()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module's tests have their desk on SQLite, or on each of its `RUNS_ON`."""
    if "desk" in metafunc.fixturenames:
        metafunc.parametrize("desk", getattr(metafunc.module, "RUNS_ON", ("sqlite",)), indirect=True)


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(request.getfixturevalue("postgres_url") if request.param == "postgres" else tmp_path / "app.db")
    yield desk
    desk.close()
