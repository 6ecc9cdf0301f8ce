"""A receiver with a history, and the dashboard over it: what the pages of the receiving end are tested on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hookline.dashboard.app import Dashboard
from hookline.dashboard.viewer import ROLES, Viewer
from hookline.receiver.app import Receiver
from hookline.testing import FakeWorkOS, TurnedClock
from hookline.testing.signed import Signing, signed_request
from tests.receiver.company import wait_for

from .browser import Browser

START_MS: Final = 1_790_000_000_000
# Longer than what an answer of the source may lag behind.
LATER_MS: Final = 20_000
PERSON: Final = "ada.okafor@private.example"


class Trail:
    """Three people, each known by a token that is their role, and what they did."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str | None, dict[str, Any]]] = []

    def viewer_of(self, token: str) -> Viewer | None:
        return next((Viewer(f"a_{token}", role, session_id=token) for role in ROLES if role == token), None)

    def record(
        self, actor: str, action: str, object_id: str | None, detail: Mapping[str, Any], *, address: str = ""
    ) -> None:
        self.recorded.append((actor, action, object_id, dict(detail)))

    @property
    def actions(self) -> list[str]:
        return [action for _, action, _, _ in self.recorded]


class Scene:
    """One process with a receiver, whose source is a fake, and the dashboard over it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = TurnedClock(START_MS)
        self.fake = FakeWorkOS(folder, clock=self.clock, delivers=False)
        self.receiver = Receiver(
            f"sqlite:///{folder / 'receiver.db'}",
            secrets=["whsec_of_the_scene_0001"],
            api_key=self.fake.api_key,
            api_url="https://fake.test",
            exchange=self.fake.exchange,
            clock=self.clock,
            **settings,
        )
        self.fails = True
        self.receiver.on("dsync.user.created", name="letters")(self._letter)
        self.receiver.on_change("directory_user", name="access")(lambda change, tx: None)
        self.trail = Trail()
        self.receiver.worker().register()
        self.open_dashboard()

    def open_dashboard(self) -> None:
        """The dashboard over the receiver as it is now."""
        self.dashboard = Dashboard(accounts=self.trail, receiver=self.receiver, clock=self.clock)

    def _letter(self, event: Any, tx: Any) -> None:
        if self.fails and event.data.get("first_name") == "Fail":
            raise RuntimeError

    @contextmanager
    def browser(self, role: str = "admin") -> Iterator[Browser]:
        with Browser(self.dashboard) as browser:
            browser.cookies["hookline_session"] = role
            yield browser

    def deliver(self, *events: Mapping[str, Any] | bytes) -> None:
        """Hand events to the door, signed; nothing is applied yet."""
        for event in events:
            body = event if isinstance(event, bytes) else json.dumps(event).encode()
            request = Signing.of(self.receiver)(body)
            status, _, content = self.receiver.receive(
                "POST", request.path, request.headers, request.body, "203.0.113.7"
            )
            assert status == 200, content

    def refuse(self) -> None:
        """One request of another secret, and one of another time."""
        now_ms = self.clock.now_ms()
        for secret, at_ms in (("whsec_of_another", now_ms), ("whsec_of_the_scene_0001", now_ms - 3_600_000)):
            request = signed_request(b'{"id":"event_x","event":"x.y","data":{}}', secret, timestamp_ms=at_ms)
            status, _, _ = self.receiver.receive("POST", "/webhooks", request.headers, request.body, "203.0.113.9")
            assert status == 401
        self.written()

    def written(self) -> None:
        """What was refused and kept is counted in the tables. A flush begun by itself may be under way."""

        def is_written() -> bool:
            self.receiver.flush()
            with self.receiver.look() as (queries, connection):
                return len(queries.refused(connection, since_ms=0)) == 2

        wait_for(is_written)

    def drain(self) -> None:
        """Apply and run handlers until nothing is due, and try what fails until it is dead."""
        self.receiver.drain()
        worker = self.receiver.worker()
        for _ in range(40):
            with self.receiver.look() as (queries, connection):
                due = [one.due_ms for one in queries.runs(connection, state="pending")]
            if not due:
                return
            self.clock.set(max(self.clock.now_ms(), min(due)))
            worker.drain()
        raise AssertionError("runs are pending for ever")

    def settle(self) -> None:
        """Let the worker's feeds do what is due: passes among them."""
        feeds = self.receiver.feeds()
        try:
            feeds.settle()
        finally:
            feeds.close()

    def close(self) -> None:
        self.receiver.close()
        self.fake.close()
