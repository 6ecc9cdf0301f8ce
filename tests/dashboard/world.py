"""Both ends and the dashboard over them, live on sockets, with a day of a company's life behind them.

The clock is turned, so that a day passes in seconds and every picture of it is the same; everything else is real: the
sender delivers over HTTP to the receiver's door and to a consumer that fails, and the receiver reads the sender's API.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final, Self

from hookline.dashboard.accounts import Accounts
from hookline.dashboard.app import Dashboard
from hookline.demo.company import Company
from hookline.demo.serving import Served, loopback
from hookline.receiver.app import Receiver
from hookline.receiver.sources import Source
from hookline.sender.app import SenderApp
from hookline.sender.keys import make_api_key
from hookline.storage import connect
from hookline.testing import TurnedClock
from hookline.testing.due import has_due_deliveries

from .people import CHEAP

START_MS: Final = 1_795_770_000_000  # 2026-11-27T09:00:00Z
KEY: Final = "1xvn2kqS9ZrCqTqNf2H8F1pVYlpHPbZ4BqpDYZgKf8E="
PATIENCE_S: Final = 30.0


@dataclass
class Consumer:
    """Somebody else's app: its answer can be changed while it runs."""

    status: int = 500
    body: bytes = b'{"error": "cannot reach the database"}'
    seen: int = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        self.seen += 1
        headers = [(b"content-type", b"application/json"), (b"x-request-id", b"req_7f3a")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@dataclass
class Door:
    """The receiver's door, which may have another secret from one request to the next: as after a restart."""

    url: str
    clock: TurnedClock
    secrets: list[str] = field(default_factory=list)
    _held: Receiver | None = None

    def use(self, *secrets: str) -> None:
        """Take these secrets from now on."""
        self.close()
        self.secrets = list(secrets)
        self._held = Receiver(self.url, secrets=self.secrets, clock=self.clock)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if self._held is None:
            self.use()
        assert self._held is not None
        await self._held.asgi()(scope, receive, send)

    def close(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


class World:
    """Everything, from entering to leaving the context.

    Args:
        sender_url, receiver_url: databases, empty.

    Attributes:
        url: of the dashboard and the API.
        sender, receiver, accounts, dashboard: the parts.
        door: the receiver's own, to be given secrets.
        consumer: somebody else's, answering 500.
        door_url, consumer_url: where they are.
    """

    def __init__(self, sender_url: str, receiver_url: str) -> None:
        self.clock = TurnedClock(START_MS)
        self._urls = (sender_url, receiver_url)
        self._parts = ExitStack()
        self.consumer = Consumer()
        self.api_key = make_api_key("production")

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self._start(parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def _start(self, parts: ExitStack) -> None:
        sender_url, receiver_url = self._urls
        self.database = connect(sender_url)
        parts.callback(self.database.close)
        self.sender = SenderApp(
            self.database,
            api_keys={"production": self.api_key, "staging": make_api_key("staging")},
            encryption_keys=[KEY],
            allow_private_targets=True,
            clock=self.clock,
            jitter=lambda: 0.0,
        )
        listening = loopback()
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.receiver = Receiver(
            receiver_url, sources=[Source("default", api_key=self.api_key, api_url=self.url)], clock=self.clock
        )
        parts.callback(self.receiver.close)
        self.receiver.open()
        self.accounts = Accounts(self.database, clock=self.clock, hasher=CHEAP)
        self.accounts.open()
        self.dashboard = Dashboard(accounts=self.accounts, sender=self.sender, receiver=self.receiver, clock=self.clock)
        parts.enter_context(Served(self, listening, name="world", is_dated=False))
        self.door = Door(receiver_url, self.clock)
        parts.callback(self.door.close)
        door, consumer = loopback(), loopback()
        self.door_url = f"http://127.0.0.1:{door.getsockname()[1]}/webhooks"
        self.consumer_url = f"http://127.0.0.1:{consumer.getsockname()[1]}/webhooks"
        parts.enter_context(Served(self.door, door, name="world-door"))
        parts.enter_context(Served(self.consumer, consumer, name="world-consumer"))
        self.worker = self.receiver.worker()
        self.worker.register()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def dated(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(self.clock.now_ms() / 1000, usegmt=True).encode()
                message["headers"] = [*message["headers"], (b"date", date)]
            await send(message)

        # By the turned clock, as whoever reads the API puts it in order with the events.
        if scope["type"] == "http" and scope["path"].startswith("/dashboard"):
            await self.dashboard(scope, receive, dated)
        else:
            await self.sender(scope, receive, dated)

    def drain(self) -> None:
        """Let everything happen that is due by the clock: attempts, applying, handlers."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            while has_due_deliveries(self.database, self.clock.now_ms()):
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"deliveries are still under way after {PATIENCE_S:g} s")
                time.sleep(0.005)
            self.worker.drain()
            if not has_due_deliveries(self.database, self.clock.now_ms()):
                return

    def turn(self, seconds: float) -> None:
        """Turn the clock forward, and let happen what is due."""
        self.clock.advance(round(seconds * 1000))
        self.drain()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """The worker at work by itself, as a person in front of a browser finds it."""
        stop = threading.Event()
        thread = threading.Thread(target=self.worker.run, args=(stop,), name="world-worker")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            self.worker.wake.set()
            thread.join()

    def live_a_day(self, *, acts: int = 48) -> None:
        """A company acts every half hour, heard of by our receiver and by a consumer that fails most of the time."""
        endpoint = self.sender.registry.create(
            "production", url=self.door_url, events=["*"], description="The app's copy of the directory"
        )
        self.door.use(self.sender.registry.secret_of(endpoint))
        self.sender.registry.create(
            "production", url=self.consumer_url, events=["dsync.user.*"], description="Billing, which is down"
        )
        company = Company(random.Random("a day"), self.sender.directories)
        for act in range(acts):
            self.consumer.status = 200 if act % 3 == 0 else 500
            company.act()
            # Before the clock goes on: what is under way was signed by what it said.
            self.drain()
            self.turn(86_400 / acts)


async def _live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def files(folder: Path) -> tuple[str, str]:
    """Two SQLite databases in a folder."""
    return f"sqlite:///{folder / 'sender.db'}", f"sqlite:///{folder / 'receiver.db'}"
