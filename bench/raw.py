"""The bare ends: an HTTP/1.1 client loop and a sink, by hand over httptools, as fast as Python gets.

The sink as a process: core, how many hosts (each a loopback address of its own), PEM file for TLS. Prints its port.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import httptools
import uvloop

from bench.measure import pin

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


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
    """Run a closed loop over that many connections to one address until `next_request` gives None."""
    await drive_all([(host, port)] * connections, next_request=next_request, on_answer=on_answer)


async def drive_all(
    addresses: Sequence[tuple[str, int]],
    *,
    next_request: Callable[[], bytes | None],
    on_answer: Callable[[int, float], None],
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a closed loop over a connection to each address; over TLS all of them are one server's."""
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {} if tls is None else {"ssl": tls, "server_hostname": name_of(0)}
    made = [
        await loop.create_connection(lambda: ClientConnection(next_request, on_answer), host, port, **options)
        for host, port in addresses
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))


def name_of(host: int) -> str:
    """The name under which a host of the sink is called over TLS."""
    return f"h{host}.bench.test"


def address_of(host: int) -> str:
    """The loopback address of a host of the sink; the first is the usual one."""
    return "127.0.0.1" if host == 0 else f"127.1.{host // 250}.{host % 250 + 1}"


def lift_limit() -> None:
    """As many descriptors as this process may have: each of a thousand hosts costs two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class SinkConnection(asyncio.Protocol):
    """Answers 200 to whatever is posted."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


async def _serve_sink(hosts: int, pem: str | None) -> None:
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    port = 0
    for host in range(hosts):
        servers.append(await loop.create_server(SinkConnection, address_of(host), port, ssl=context, backlog=1000))
        port = servers[0].sockets[0].getsockname()[1]
    print(port, flush=True)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    for server in servers:
        server.close()


if __name__ == "__main__":
    pin(int(sys.argv[1]))
    lift_limit()
    uvloop.run(_serve_sink(int(sys.argv[2]) if len(sys.argv) > 2 else 1, sys.argv[3] if len(sys.argv) > 3 else None))
