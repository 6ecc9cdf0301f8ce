"""The two ends as the demo runs them: the real applications, each on its own loopback socket and database.

What differs from a server in production is said here and nowhere else: private targets are allowed, and the retry
schedule is short, so that what the wire breaks is tried again while somebody watches.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import MutableMapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from cryptography.fernet import Fernet

from hookline.demo import example
from hookline.demo.serving import Served
from hookline.loop import Clock
from hookline.receiver.app import Receiver
from hookline.rules.schedule import Schedule
from hookline.sender.app import SenderApp
from hookline.sender.keys import make_api_key
from hookline.storage import connect

if TYPE_CHECKING:
    from hookline.dashboard.app import Dashboard

# Six retries in eleven seconds: longer than the wire is ever down, short enough to wait for.
SCHEDULE: Final = Schedule.from_gaps((0.3, 0.6, 1.2, 2, 3, 4))


class SenderEnd:
    """A sender being served, from entering to leaving the context.

    Attributes:
        app: the sender itself, while it is being served.
        dashboard: answers below `/dashboard` on the same port, once it is set.
        api_key: of the production environment, given or made for this run.
        directories: where the company writes, while it is being served.
        base_url: where its API is.
    """

    def __init__(self, url: str, *, clock: Clock, listening: socket.socket, api_key: str | None = None) -> None:
        self._url = url
        self._clock = clock
        self._listening = listening
        self._parts = ExitStack()
        self.dashboard: Dashboard | None = None
        self.api_key = api_key or make_api_key("production")
        self.base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            parts.callback(self._listening.close)
            database = connect(self._url)
            parts.callback(database.close)
            app = SenderApp(
                database,
                api_keys={"production": self.api_key, "staging": make_api_key("staging")},
                encryption_keys=[Fernet.generate_key().decode()],
                allow_private_targets=True,
                schedules={"production": SCHEDULE},
                clock=self._clock,
            )
            self.app, self.directories = app, app.directories
            parts.enter_context(Served(self._answer, self._listening, name="demo-sender"))
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def now_ms(self) -> int:
        """What time it is here."""
        return self._clock.now_ms()

    async def _answer(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        is_page = scope["type"] == "http" and f"{scope['path']}/".startswith("/dashboard/")
        if is_page and self.dashboard is not None:
            await self.dashboard(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class ReceiverEnd:
    """A receiver being served, its worker and its example handlers, from entering to leaving the context.

    Left, everything it counted is written.

    Args:
        source: the sender's API and a key for it, to be reconciled with; None: no API is asked.

    Attributes:
        receiver: the receiver itself; its door may be another (`take_secrets`).
        database: its own, while it is being served.
    """

    def __init__(
        self, url: str, *, secret: str, clock: Clock, listening: socket.socket, source: tuple[str, str] | None = None
    ) -> None:
        self._url, self._clock = url, clock
        self._source = {} if source is None else {"api_url": source[0], "api_key": source[1], "api_over_http": True}
        self.receiver = Receiver(url, secrets=[secret], clock=clock, **self._source)  # type: ignore[arg-type]
        self._door = self.receiver
        self._asgi = self.receiver.asgi()
        self._listening = listening
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        receiver = self.receiver
        with ExitStack() as parts:
            parts.callback(self._listening.close)
            parts.callback(receiver.close)
            database = receiver.open().database
            assert database is not None, "a receiver with a database_url has a database"
            self.database = database
            example.make_tables(database)
            example.add_handlers(receiver, database.dialect)
            worker = receiver.worker()
            # Before anything can arrive: a new handler starts at now.
            worker.register()
            stop = threading.Event()
            working = threading.Thread(target=worker.run, args=(stop,), name="demo-worker")
            working.start()
            parts.callback(working.join)
            parts.callback(worker.wake.set)
            parts.callback(stop.set)
            if self._source:
                feeds = threading.Thread(target=receiver.feeds().run, args=(stop,), name="demo-feeds")
                feeds.start()
                parts.callback(feeds.join)
                parts.callback(stop.set)
            parts.callback(self._close_door)
            parts.enter_context(Served(self._answer, self._listening, name="demo-receiver"))
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def take_secrets(self, secrets: Sequence[str]) -> None:
        """Verify by these from now on: the door is another, over the same database, as after a restart."""
        door = Receiver(self._url, secrets=secrets, clock=self._clock)
        door.open()
        before, self._door, self._asgi = self._door, door, door.asgi()
        if before is not self.receiver:
            before.close()

    async def _answer(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await self._asgi(scope, receive, send)

    def _close_door(self) -> None:
        if self._door is not self.receiver:
            self._door.close()
