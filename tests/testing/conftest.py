"""Test files of users, run by a pytest within this one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CONFTEST = """
import pytest
from hookline import Receiver

@pytest.fixture
def hookline_receiver(tmp_path):
    with Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=["whsec_1"]) as hooks:

        @hooks.on("dsync.user.created", name="welcome")
        def welcome(event, tx):
            if event.data["first_name"] == "Nobody":
                raise ValueError("nobody to welcome")
            hooks.welcomed.append(event.data["first_name"])

        @hooks.on_change("directory_user", name="sync")
        async def sync(change, tx):
            hooks.access[change.id] = change.is_active

        hooks.welcomed, hooks.access = [], {}
        yield hooks
"""

RunTests = Callable[..., pytest.RunResult]


@pytest.fixture
def run_tests(pytester: pytest.Pytester) -> RunTests:
    """Runs a test file beside that conftest, in this process, with the plugin; options as of pytest's command."""

    def run(source: str, *options: str, conftest: str = CONFTEST) -> pytest.RunResult:
        pytester.makeconftest(conftest)
        pytester.makepyfile(source)
        # Once, whether or not this environment knows the plugin by its entry point.
        loaded = ("-p", "no:hookline", "-p", "hookline.testing.plugin", "-p", "no:xdist", "-p", "no:cacheprovider")
        return pytester.runpytest_inprocess(*loaded, *options)

    return run
