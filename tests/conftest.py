"""What every test stands on: in CI nothing is skipped, because CI brings whatever a test may want."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from . import leaks, templates
from .postgres import Cluster, NoPostgresError, make_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

DATABASES = ("sqlite", "postgres")

# No test fails by how long an example took on a busy machine, nor by what only this run has drawn.
settings.register_profile("hookline", deadline=None, derandomize=True)
settings.load_profile("hookline")


def pytest_configure(config: pytest.Config) -> None:
    """Watch what Hookline tells, in every test of every process; make new databases by copying."""
    leaks.pytest_configure(config)
    templates.install()


# Whose tests take longest: begun first, so that none of them is what all others have ended before.
LONGEST = frozenset(
    {
        "test_schemathesis.py",
        "test_reading_races.py",
        "test_pages.py",
        "test_journeys.py",
        "test_races.py",
        "test_load.py",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest forward; the order is the same else."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server of the session's own; tests that need it are skipped where there is none to be had."""
    try:
        cluster = make_cluster()
    except NoPostgresError as error:
        pytest.skip(str(error))
    yield cluster
    cluster.stop()


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """A PostgreSQL database of the test's own, with the tables of both ends in it."""
    name = postgres.migrated()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of the test's own, once of each kind. Its tables may be there already or not: `migrate` it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hookline.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


def _skipped(config: pytest.Config) -> int:
    reporter: TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter is not None else 0


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run under CI=true that skipped anything: a green run there means that everything ran."""
    if os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say why such a run is red; the reasons themselves are in pytest's own short summary."""
    if os.environ.get("CI") == "true" and (count := _skipped(terminalreporter.config)):
        terminalreporter.write_sep("=", f"{count} skipped: in CI nothing may be skipped", red=True)
