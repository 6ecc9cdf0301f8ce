"""Both ends in memory and the dashboard over them, for tests of the pages of endpoints: three people, no server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from hookline.dashboard.app import Dashboard
from hookline.dashboard.viewer import ROLES, Role, Viewer
from hookline.receiver.app import Receiver
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.model import Endpoint
from hookline.storage import Database, connect
from hookline.testing import TurnedClock
from hookline.testing.line import Line
from hookline.wire.catalogue import sample

from .browser import Browser

NOW_MS = 1_795_770_000_000
RECEIVER_SECRET = "whsec_of_the_receiver_itself"


class Doorkeeper:
    """Three people, each known by a token that is their role."""

    def viewer_of(self, token: str) -> Viewer | None:
        return next((Viewer("ada", role, session_id="s") for role in ROLES if role == token), None)

    def record(
        self, actor: str, action: str, object_id: str | None, detail: Mapping[str, Any], *, address: str = ""
    ) -> None:
        raise AssertionError("the ends record what these pages do")


@dataclass
class Answering:
    """What stands behind the line: our receiver, or an answer that a test says."""

    receiver: Receiver
    status: int | None = None
    body: bytes = b""
    drains: bool = True
    seen: list[tuple[str, Sequence[tuple[str, str]], bytes]] = field(default_factory=list)

    def __call__(
        self, method: str, path: str, headers: Any, body: bytes, peer: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        self.seen.append((path, headers, body))
        if self.status is not None:
            return self.status, [("X-Request-Id", "req_1")], self.body
        answer = self.receiver.receive(method, path, headers, body, peer)
        if self.drains:
            self.receiver.drain()
        return answer


@dataclass
class Ends:
    """The parts, and somebody at a browser for each role."""

    clock: TurnedClock
    database: Database
    sender: SenderApp
    receiver: Receiver
    receiver_url: str
    answering: Answering
    dashboard: Dashboard

    @contextlib.contextmanager
    def browser(self, role: Role) -> Iterator[Browser]:
        with Browser(self.dashboard) as found:
            found.cookies["hookline_session"] = role
            yield found

    def endpoint(self, url: str, events: Sequence[str] = ("dsync.*",), **values: Any) -> Endpoint:
        return self.sender.registry.create("production", url=url, events=list(events), **values)

    def secret(self, endpoint_id: str) -> str:
        return self.sender.registry.secret_of(self.found(endpoint_id))

    def found(self, endpoint_id: str) -> Endpoint:
        with self.database.read() as connection:
            endpoint = self.sender.store.endpoint(connection, "production", endpoint_id, with_deleted=True)
        assert endpoint is not None
        return endpoint

    def publish(self, event_type: str, count: int = 1) -> list[str]:
        """Events, whose deliveries nobody makes here."""
        drafts = tuple(draft_event({"event": event_type, "data": sample(event_type)}) for _ in range(count))
        published = self.sender.publisher.publish_inline(Publication("production", drafts))
        return [one.id for one in published]

    def rows(self, statement: str) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(statement).fetchall())


@contextlib.contextmanager
def ends(folder: Path, sender_url: str | None = None) -> Iterator[Ends]:
    """Both ends on files in a folder, or the sender on another database."""
    clock = TurnedClock(NOW_MS)
    database = connect(sender_url or f"sqlite:///{folder / 'sender.db'}")
    receiver_url = f"sqlite:///{folder / 'receiver.db'}"
    receiver = Receiver(receiver_url, secrets=[RECEIVER_SECRET], clock=clock)
    receiver.open()
    answering = Answering(receiver)
    sender = SenderApp(
        database,
        encryption_keys=[Fernet.generate_key().decode()],
        clock=clock,
        jitter=lambda: 0.0,
        lookup=lambda host: ["10.1.2.3"] if host.startswith("inner") else ["93.184.215.14"],
        make_exchange=lambda **_: Line(answering),
    )
    dashboard = Dashboard(accounts=Doorkeeper(), sender=sender, receiver=receiver, clock=clock)
    try:
        yield Ends(clock, database, sender, receiver, receiver_url, answering, dashboard)
    finally:
        sender.close()
        receiver.close()
        database.close()
