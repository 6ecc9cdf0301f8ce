"""How the demo registers its endpoint: what it says, and what it does when no answer comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field

import pytest

from hookline.demo.register import register
from hookline.errors import HooklineError


@dataclass
class Sender:
    """Answers with the given statuses in turn, then 201; None closes the connection without an answer."""

    statuses: list[int | None]
    calls: list[tuple[str, str, object]] = field(default_factory=list)
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.create_task(self.answer(reader, writer)))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.calls.append((head.split(" ")[1], headers["idempotency-key"], body))
                status = self.statuses.pop(0) if self.statuses else 201
                if status is None:
                    return
                content = json.dumps({"id": "we_0", "secret": "whsec_x"}).encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    % (status, len(content))
                )
                writer.write(content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def registered(sender: Sender) -> str:
    async def whole() -> str:
        server = await asyncio.start_server(sender.accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            try:
                return await register(f"http://127.0.0.1:{port}", "sk_live_x", "http://one.example/", ["dsync.deleted"])
            finally:
                await asyncio.gather(*sender.connections)

    return asyncio.run(whole())


def test_it_asks_for_the_types_and_gets_the_secret() -> None:
    """One call of the compatible API, with a key of its own."""
    first, second = Sender([]), Sender([])

    assert (registered(first), registered(second)) == ("whsec_x", "whsec_x")

    [(path, key, body)], [(_, other, _)] = first.calls, second.calls
    assert path == "/webhook_endpoints"
    assert body == {"endpoint_url": "http://one.example/", "events": ["dsync.deleted"]}
    assert key != other


@pytest.mark.parametrize("trouble", [503, None])
def test_a_call_whose_outcome_is_not_known_is_repeated_with_its_key(trouble: int | None) -> None:
    """Unavailable or cut off: the same body with the same key, so that nothing is registered twice."""
    sender = Sender([trouble, trouble])

    registered(sender)

    assert len(sender.calls) >= 3
    assert len({json.dumps(call) for call in sender.calls}) == 1


def test_a_refusal_is_told_and_not_repeated() -> None:
    """What the API refuses would be refused again."""
    sender = Sender([422])

    with pytest.raises(HooklineError, match="was answered 422, expected 201"):
        registered(sender)
    assert len(sender.calls) == 1
