"""What a listener gets is what an endpoint's first attempt would be, byte for byte and header for header."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.fernet import Fernet

from hookline.relay.frames import Start
from hookline.relay.server import Relay
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.http import Answer, CoroutineExchange, Request, no_answer
from hookline.sender.outbox import Outbox
from hookline.storage import Database, connect
from hookline.testing.clock import TurnedClock
from hookline.wire.signature import HEADER, verify_signature

from .conftest import NOW_MS
from .lines import LIVE_KEY, SocketLine, deliveries

TRACEPARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Recorder(CoroutineExchange):
    """An exchange that keeps what it is to send; nobody answers."""

    def __init__(self, sent: list[Request]) -> None:
        self._sent = sent

    async def send(self, request: Request) -> Answer:
        self._sent.append(request)
        return no_answer("timeout", "nobody is there")

    async def close(self) -> None: ...


@contextlib.asynccontextmanager
async def running(sender: SenderApp) -> AsyncIterator[None]:
    stop = asyncio.Event()
    loop = asyncio.create_task(sender.run(stop))
    try:
        yield
    finally:
        stop.set()
        await loop


@pytest.fixture
def database(tmp_path: Path) -> Any:
    with contextlib.closing(connect(f"sqlite:///{tmp_path / 'hookline.db'}")) as database:
        yield database


def sender_on(database: Database, sent: list[Request]) -> SenderApp:
    return SenderApp(
        database,
        api_keys={"production": LIVE_KEY},
        encryption_keys=[Fernet.generate_key().decode()],
        clock=TurnedClock(NOW_MS),
        make_exchange=lambda **_: Recorder(sent),
        lookup=lambda _host: ["93.184.215.14"],
        makes_keys=False,
    )


def test_it_is_what_a_first_attempt_would_be(database: Database) -> None:
    sent: list[Request] = []
    sender = sender_on(database, sent)
    endpoint = sender.registry.create("production", url="https://consumer.example.com/", events=["*"])

    async def story() -> Any:
        async with running(sender):
            made = SocketLine(Relay(sender))
            hello = await made.start(Start("ada"))
            await made.begin(hello.head)
            draft = draft_event({"event": "a.b", "data": {"name": "é\u2028", "n": 1.5}})
            await sender.publisher.publish(Publication("production", (draft,), traceparent=TRACEPARENT))
            sender.directories.create_organization("production", name="Foo")
            found = await deliveries(made, 2)
            await made.leave()
            async with asyncio.timeout(20):
                while len(sent) < 2:  # noqa: ASYNC110 - the exchange is asked by a loop that tells nobody
                    await asyncio.sleep(0.005)
            return hello.secret, found

    secret, found = asyncio.run(story())
    by_body = {request.body: request for request in sent}
    for one in found:
        request = by_body[one.body]
        names = [name for name, _ in one.headers]
        assert names == [name for name, _ in request.headers]
        apart = {HEADER, "traceparent"}
        assert [pair for pair in one.headers if pair[0] not in apart] == [
            pair for pair in request.headers if pair[0] not in apart
        ]
        for headers, key in ((one.headers, secret), (request.headers, sender.registry.secret_of(endpoint))):
            verify_signature(one.body, dict(headers)[HEADER], [key], now_ms=NOW_MS)
    assert dict(found[0].headers)["traceparent"] == TRACEPARENT
    assert dict(found[1].headers)["Hookline-Object-Sequence"] == "1"
    # Nothing of it counts as sent: there are the endpoint's two deliveries and no other.
    with database.read() as connection:
        assert connection.execute("select count(*) from hookline_sender_deliveries").fetchone() == (2,)
    sender.close()


def test_events_of_an_apps_own_transaction_are_heard(database: Database, tmp_path: Path) -> None:
    """Once the delivery loop has given them their place; nobody waits for a poll then."""
    sender = sender_on(database, [])
    outbox = Outbox(clock=TurnedClock(NOW_MS))

    async def story() -> None:
        async with running(sender):
            made = SocketLine(Relay(sender))
            await made.begin((await made.start(Start("ada"))).head)
            app = sqlite3.connect(tmp_path / "hookline.db")
            app.execute("begin immediate")
            [event_id] = outbox.publish({"event": "a.b", "data": {}}, connection=app)
            app.commit()
            app.close()
            assert [one.event_id for one in await deliveries(made, 1)] == [event_id]
            await made.leave()

    asyncio.run(story())
    sender.close()
