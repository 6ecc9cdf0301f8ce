"""What every test stands on: in CI nothing is skipped, because CI brings whatever a test may want."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


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
