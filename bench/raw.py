"""The bare ends: an HTTP/1.1 client loop and a sink, by hand over httptools, as fast as Python gets."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import httptools
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def pin(core: int) -> None:
    """Keep this process on one core, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


class ClientConnection(asyncio.Protocol):
    """One kept connection in a closed loop: the next request goes out when the last answer is in."""

    def __init__(self, next_request: Callable[[], bytes | None], on_answer: Callable[[int, float], None]) -> None:
        self._next_request = next_request
        self._on_answer = on_answer
        self._sent_s = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def _send(self) -> None:
        request = self._next_request()
        if request is None:
            self._transport.close()
            return
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._on_answer(self._parser.get_status_code(), time.perf_counter() - self._sent_s)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.done.done():
            self.done.set_result(None)


async def drive(
    host: str,
    port: int,
    *,
    connections: int,
    next_request: Callable[[], bytes | None],
    on_answer: Callable[[int, float], None],
) -> None:
    """Run a closed loop over that many connections until `next_request` gives None."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: ClientConnection(next_request, on_answer), host, port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))


class SinkConnection(asyncio.Protocol):
    """Answers 200 to whatever is posted."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


async def _serve_sink() -> None:
    server = await asyncio.get_running_loop().create_server(SinkConnection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    pin(int(sys.argv[1]))
    uvloop.run(_serve_sink())
