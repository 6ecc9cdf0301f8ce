"""A relay as it is run: `hookline serve`, nginx with the block of docs/proxies.md before it, and the client end."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from hookline.relay.client import Channel, Server, connect
from hookline.relay.frames import PATH, SUBPROTOCOL, Bye, Delivery, Start
from hookline.wire.signature import HEADER, verify_signature

from ..e2e.processes import API_KEY, Served, ask, call, serving
from ..e2e.test_behind_nginx import free_port
from ..nginx import running_nginx
from .lines import TIMEOUT_S, answered, until

ROOT: Final = Path(__file__).resolve().parents[2]
BOTH: Final = ("websocket", "http")


def blocks(documented: int, plain: int, served: str) -> str:
    """What docs/proxies.md tells people to copy, without TLS; and a server that was told nothing of WebSockets."""
    page = (ROOT / "docs/proxies.md").read_text("utf-8")
    [found] = re.findall(r"^```nginx\n(map .*?)^```$", page, re.MULTILINE | re.DOTALL)
    block, changes = re.subn(r"^ *ssl_.*\n", "", found, flags=re.MULTILINE)
    assert changes == 2
    for old, new in {
        "listen 443 ssl;": f"listen 127.0.0.1:{documented};",
        "proxy_pass http://127.0.0.1:8080;": f"proxy_pass {served};",
    }.items():
        assert block.count(old) == 1
        block = block.replace(old, new)
    return f"{block}\nserver {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass {served}; }} }}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with serving("sender", folder, api_key=API_KEY) as served:
        yield served


def publish(served: Served, number: int) -> bytes:
    """An event; its bytes."""
    told = call(served, "POST", "/api/v1/events", {"event": "a.b", "data": {"number": number, "text": "é\u2028"}})
    assert told.status == 201, told.body
    return told.body


def run(url: str, story: Callable[[Callable[..., Awaitable[Channel]]], Awaitable[None]]) -> None:
    """A story of somebody who connects to `url`."""

    async def told() -> None:
        async with asyncio.timeout(3 * TIMEOUT_S), aiohttp.ClientSession() as http:

            async def connected(name: str) -> Channel:
                return await connect(http, Server(url, "a test", API_KEY), Start(name), ways=BOTH)

            await story(connected)

    asyncio.run(told())


async def next_of(channel: Channel) -> Delivery:
    delivery = await channel.receive()
    assert isinstance(delivery, Delivery)
    return delivery


@pytest.mark.parametrize("way", BOTH)
def test_events_come_through_nginx(served: Served, tmp_path: Path, way: str) -> None:
    """By WebSocket where it is passed on; else by server-sent events, which are not held back."""
    ports = {"websocket": free_port(), "http": free_port()}

    async def story(connected: Callable[..., Awaitable[Channel]]) -> None:
        channel = await connected(f"ada.{way}")
        assert channel.way == way
        await channel.begin(channel.hello.head)
        for number in range(3):
            body = await asyncio.to_thread(publish, served, number)
            # One by one: the next is published when this one is here.
            delivery = await next_of(channel)
            assert delivery.body == body
            signature = dict(delivery.headers)[HEADER]
            verify_signature(delivery.body, signature, [channel.hello.secret], now_ms=time.time_ns() // 1_000_000)
            await channel.answer([answered(delivery)])
        await channel.close()
        again = await connected(f"ada.{way}")
        assert (again.hello.cursor, again.hello.missed) == (delivery.cursor, 0)
        await again.close()

    with running_nginx(tmp_path, blocks(ports["websocket"], ports["http"], served.url), port=ports["http"]):
        run(f"http://127.0.0.1:{ports[way]}", story)


def test_upgrades_are_for_the_relay_alone(served: Served) -> None:
    """Anywhere else such a call is the plain one that it was; and who is not let in is told by an answer."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": SUBPROTOCOL,
    }
    with_key = {**upgrade, "Authorization": f"Bearer {API_KEY}"}

    assert ask("GET", f"{served.url}/healthz", None, upgrade).body == b"ok\n"
    assert ask("GET", f"{served.url}/api/v1/listeners", None, with_key).status == 200
    refused = [
        ask("GET", served.url + PATH, None, headers)
        for headers in (
            upgrade,
            {**with_key, "Sec-WebSocket-Protocol": "chat"},
            {"Authorization": f"Bearer {API_KEY}"},
        )
    ]
    assert [(one.status, one.json.get("code")) for one in refused] == [
        (401, None),
        (400, "unknown_subprotocol"),
        (426, "upgrade_required"),
    ]
    assert ask("GET", f"{served.url}{PATH}/nowhere", None, with_key).status == 404
    assert [one for one in served.records() if one["logger"] != "hookline.sender"] == []


# The last of this file: it kills what the others ask.
def test_a_server_that_is_killed_loses_nothing(served: Served, folder: Path) -> None:
    """Nor one that stops: it says so, is gone at once, and says what was missed when it is back."""
    sent: list[bytes] = []
    found: list[bytes] = []

    async def before(connected: Callable[..., Awaitable[Channel]]) -> None:
        channel = await connected("ada")
        await channel.begin(channel.hello.head)
        sent.extend([await asyncio.to_thread(publish, served, number) for number in range(12)])
        deliveries = [await next_of(channel) for _ in range(12)]
        await channel.answer([answered(one) for one in deliveries[:7]])
        await until(lambda: call(served, "GET", "/api/v1/listeners/ada").json["answered"] == 7)
        found.extend(one.body for one in deliveries[:7])
        served.kill()

    run(served.url, before)
    with serving("sender", folder, api_key=API_KEY) as again:

        async def after(connected: Callable[..., Awaitable[Channel]]) -> None:
            sent.append(await asyncio.to_thread(publish, again, 12))
            channel = await connected("ada")
            assert channel.hello.missed == 6
            await channel.begin(channel.hello.cursor or "")
            found.extend([(await next_of(channel)).body for _ in range(6)])
            stopping = asyncio.create_task(asyncio.to_thread(again.stop))
            bye = await channel.receive()
            assert isinstance(bye, Bye)
            assert (bye.reason, bye.retry_ms) == ("stopping", 1000)
            await channel.close()
            assert await stopping == 0

        run(again.url, after)
    assert found == sent
