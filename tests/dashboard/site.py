"""Both ends joined in memory, the dashboard over them, and people who are signed in: for pages asked in process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hookline.dashboard.app import Dashboard
from hookline.dashboard.viewer import ROLES, Role
from hookline.storage import connect
from hookline.testing.pair import Pair

from .browser import Browser
from .people import PASSWORD, opened

USER: Final = {"object": "directory_user", "state": "active", "directory_id": "directory_1"}


class Site:
    """Use `close` when done.

    Attributes:
        dashboard: over both ends of `pair`.
    """

    def __init__(self, folder: Path) -> None:
        self.pair = Pair(folder)
        self._database = connect(self.pair.sender_url)
        self.accounts = opened(self._database, self.pair.clock)
        for role in ROLES:
            self.accounts.add_user(f"{role}-1", role, password=PASSWORD)
        self.dashboard = self.new_dashboard()

    def new_dashboard(self) -> Dashboard:
        """Another process's, over the same databases."""
        pair = self.pair
        return Dashboard(accounts=self.accounts, sender=pair.sender, receiver=pair.receiver, clock=pair.clock)

    def token(self, role: Role) -> str:
        """Of a new session of somebody with a role."""
        return self.accounts.sign_in(f"{role}-1", PASSWORD, "127.0.0.1").token

    @contextmanager
    def visit(self, role: Role = "operator") -> Iterator[Browser]:
        """A browser of somebody with a role."""
        with Browser(self.dashboard) as browser:
            browser.cookies["hookline_session"] = self.token(role)
            yield browser

    def close(self) -> None:
        self.dashboard.close()
        self.pair.close()
        self._database.close()

    def publish(self, count: int = 1, *, name: str = "u") -> list[str]:
        """So many users are created; their events' ids."""
        return [self.pair.publish("dsync.user.created", {**USER, "id": f"{name}{n}"}) for n in range(count)]
