"""What the dashboard's tests stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .browser import Browser
from .people import PASSWORD
from .world import World, files


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both ends with a day of a company's life behind them, and `ada`, an admin."""
    with World(*files(tmp_path_factory.mktemp("world"))) as made:
        made.live_a_day()
        made.accounts.add_user("ada", "admin", password=PASSWORD, actor="command")
        yield made


@pytest.fixture
def ada(world: World) -> Iterator[Browser]:
    """The admin's browser, without JavaScript, in this process."""
    with Browser(world.dashboard) as browser:
        browser.cookies["hookline_session"] = world.accounts.sign_in("ada", PASSWORD, address="127.0.0.1").token
        yield browser
