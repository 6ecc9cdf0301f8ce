"""A server that misbehaves on request: what senders of webhooks meet in the world, on a loopback port.

Stands on plain asyncio sockets, because what it must do no HTTP server would.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

DRIP_S: Final = 0.02
_SOON_S: Final = 0.05
_BOMB: Final = 8_000_000


@dataclass(frozen=True, slots=True)
class SinkRequest:
    """A request as it came: header names in their own case, and which connection brought it, counted from 1."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The first header of this name, in whatever case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(slots=True, eq=False)
class _Peer:
    """The connection that a fault befalls."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    raw: Mapping[str, bytes]

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_gone(self) -> None:
        while await self.reader.read(65_536):
            pass


class Sink:
    """Accepts requests, keeps them in `seen`, and answers 200, or as told.

    What befalls a request is a word, with an argument after a slash: `status/503`, `slow/0.5`, `reset`. Either the
    next requests get them in order (`expect`), or the path is one, for an endpoint that is always like that:
    `sink.url("/drip-body")`. Any other path is answered 200. The words are the keys of `FAULTS`.

    `with Sink() as sink` runs it in a thread, `async with Sink() as sink` on the running event loop; either way on a
    free loopback port, and until the block ends.

    Args:
        tls: a server's context (`hookline.testing.authority` makes some, good and bad): then it speaks HTTPS.
        port: to listen on, as where a server comes back; a free one by default.

    Attributes:
        seen: the requests so far, in the order in which they were complete.
        connections: how many there were; `open_now` are open.
        raw: what the words `raw/NAME` and `raw-open/NAME` answer, byte for byte.
        before: awaited with each request before it is answered, on the sink's event loop.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.seen: list[SinkRequest] = []
        self.connections = 0
        self.open_now = 0
        self.raw: dict[str, bytes] = {}
        self.before: Callable[[SinkRequest], Awaitable[None]] | None = None
        self.port = port
        self._tls = tls
        self._expected: list[str] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrival = threading.Condition()
        self._news = asyncio.Event()
        self._thread: _Thread | None = None

    @property
    def scheme(self) -> str:
        return "http" if self._tls is None else "https"

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Where it listens; under `host`, where that name leads here."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def expect(self, *faults: str, times: int = 1) -> None:
        """Have these befall the next requests, in this order and so often, after whatever was expected before.

        Raises:
            ValueError: there is no such word.
        """
        for fault in faults:
            if _split(fault)[0] not in FAULTS:
                raise ValueError(f"expected one of {', '.join(FAULTS)}, with its argument after a slash; got {fault!r}")
        self._expected.extend(faults * times)

    def wait_for(self, count: int, *, timeout_s: float = 10.0) -> None:
        """Block until so many requests have come in all. For a sink in a thread.

        Raises:
            TimeoutError: fewer have.
        """
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.seen) >= count, timeout_s):
                raise TimeoutError(f"expected {count} requests within {timeout_s:g} s, got {len(self.seen)}")

    async def arrived(self, count: int, *, timeout_s: float = 10.0) -> None:
        """Wait until so many requests have come in all. For a sink on the running event loop.

        Raises:
            TimeoutError: fewer have.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while len(self.seen) < count:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"expected {count} requests within {timeout_s:g} s, got {len(self.seen)}") from None

    # -- running -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread = _Thread(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.stop()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)

    # -- one connection ----------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_now += 1
        number = self.connections
        # A StreamReaderProtocol would report a cancelled handler as an error.
        with contextlib.suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, ValueError
        ):
            while await self._one(_Peer(reader, writer, self.raw), number):
                pass
        self.open_now -= 1
        self._tasks.discard(task)
        writer.transport.abort()

    async def _one(self, peer: _Peer, number: int) -> bool:
        lines = (await peer.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:-2]))
        fault = self._expected.pop(0) if self._expected else path
        word, argument = _split(fault)
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        body = b"" if word == "early" else await peer.reader.readexactly(length)
        request = SinkRequest(method, path, headers, body, number)
        with self._arrival:
            self.seen.append(request)
            self._arrival.notify_all()
        self._news.set()
        if self.before is not None:
            await self.before(request)
        act = FAULTS.get(word)
        return await (_status(peer, "200") if act is None else act(peer, argument))


class _Thread:
    """A sink's event loop in a thread of its own."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._started: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
        self._started = concurrent.futures.Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="hookline-sink", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        loop, stop = self._started.result()
        loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    async def _run(self) -> None:
        stop = asyncio.Event()
        try:
            await self._sink.__aenter__()
        except BaseException as error:
            self._started.set_exception(error)
            raise
        self._started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
        await self._sink.__aexit__(None, None, None)


def _split(fault: str) -> tuple[str, str]:
    word, _, argument = fault.strip("/").partition("/")
    return word, argument


# -- what may befall a request -----------------------------------------------------------------------------------
# Each gets the argument, and tells whether the connection stays open for the next request.


async def _status(peer: _Peer, code: str) -> bool:
    body = b"" if code == "204" else b"noted"
    length = b"" if code == "204" else b"Content-Length: %d\r\n" % len(body)
    await peer.write(b"HTTP/1.1 %d Made Up\r\n%s\r\n%s" % (int(code), length, body))
    return True


async def _slow(peer: _Peer, delay_s: str) -> bool:
    seconds, _, code = delay_s.partition("/")
    await asyncio.sleep(float(seconds))
    return await _status(peer, code or "200")


async def _hang(peer: _Peer, _: str) -> bool:
    await peer.until_gone()
    return False


async def _early(peer: _Peer, code: str) -> bool:
    await _status(peer, code)
    await asyncio.Event().wait()
    return False


async def _redirect(peer: _Peer, target: str) -> bool:
    await peer.write(f"HTTP/1.1 307 Go\r\nLocation: /{target}\r\nContent-Length: 0\r\n\r\n".encode())
    return True


async def _retry_after(peer: _Peer, value: str) -> bool:
    await peer.write(f"HTTP/1.1 429 Slow\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode())
    return True


async def _drip_headers(peer: _Peer, _: str) -> bool:
    await peer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.write(b"X-Drip: drop\r\n")
        await asyncio.sleep(DRIP_S)


async def _drip_body(peer: _Peer, code: str) -> bool:
    await peer.write(b"HTTP/1.1 %d Fine\r\nContent-Length: 100000\r\n\r\n" % int(code or 200))
    while True:
        await peer.write(b"d")
        await asyncio.sleep(DRIP_S)


async def _endless_body(peer: _Peer, _: str) -> bool:
    await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        await peer.write(b"e" * 65_536)


async def _gzip_bomb(peer: _Peer, _: str) -> bool:
    bomb = gzip.compress(bytes(_BOMB))
    await peer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
    return True


async def _cut_body(peer: _Peer, _: str) -> bool:
    await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this")
    return False


async def _bad_chunks(peer: _Peer, pause_s: str) -> bool:
    await peer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(float(pause_s or 0))
    await peer.write(b"zz\r\nnonsense\r\n")
    await asyncio.sleep(_SOON_S)
    return False


async def _close(_: _Peer, delay_s: str) -> bool:
    await asyncio.sleep(float(delay_s or 0))
    return False


async def _close_after(peer: _Peer, code: str) -> bool:
    await _status(peer, code or "200")
    return False


async def _reset(peer: _Peer, _: str) -> bool:
    raw: socket.socket = peer.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


async def _partial(peer: _Peer, _: str) -> bool:
    await peer.write(b"HTTP/1.1 2")
    await asyncio.sleep(_SOON_S)
    return False


async def _garbage(peer: _Peer, _: str) -> bool:
    await peer.write(b"\x00\xffSSH-2.0-not a web server\r\n\r\n")
    await asyncio.sleep(_SOON_S)
    return False


async def _informational(peer: _Peer, count: str) -> bool:
    await peer.write(b"HTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n" * int(count))
    return await _status(peer, "200")


async def _endless_informational(peer: _Peer, _: str) -> bool:
    while True:
        await peer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.001)


async def _many_headers(peer: _Peer, count: str) -> bool:
    lines = b"".join(b"X-%d: v\r\n" % number for number in range(int(count)))
    await peer.write(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n")
    return True


async def _long_header(peer: _Peer, size: str) -> bool:
    await peer.write(b"HTTP/1.1 200 OK\r\nX-Long: " + b"v" * int(size) + b"\r\nContent-Length: 0\r\n\r\n")
    return True


async def _odd_headers(peer: _Peer, _: str) -> bool:
    await peer.write(
        b"HTTP/1.1 200 OK\r\nX-Latin: caf\xe9 \xff\r\nX-Utf8: \xc3\xa9\r\nX-Bell: a\x07\x01b\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    return True


async def _raw(peer: _Peer, name: str) -> bool:
    await peer.write(peer.raw[name])
    return False


async def _raw_open(peer: _Peer, name: str) -> bool:
    await peer.write(peer.raw[name])
    return True


async def _unasked(peer: _Peer, _: str) -> bool:
    await _status(peer, "200")
    await asyncio.sleep(_SOON_S)
    await peer.write(b"HTTP/1.1 200 OK\r\nX-Forged: yes\r\nContent-Length: 0\r\n\r\n")
    return True


FAULTS: Final[Mapping[str, Callable[[_Peer, str], Awaitable[bool]]]] = {
    "status": _status,
    "slow": _slow,
    "hang": _hang,
    "early": _early,
    "redirect": _redirect,
    "retry-after": _retry_after,
    "close": _close,
    "close-after": _close_after,
    "reset": _reset,
    "partial": _partial,
    "garbage": _garbage,
    "drip-headers": _drip_headers,
    "drip-body": _drip_body,
    "endless-body": _endless_body,
    "gzip-bomb": _gzip_bomb,
    "cut-body": _cut_body,
    "bad-chunks": _bad_chunks,
    "informational": _informational,
    "endless-informational": _endless_informational,
    "many-headers": _many_headers,
    "long-header": _long_header,
    "odd-headers": _odd_headers,
    "unasked": _unasked,
    "raw": _raw,
    "raw-open": _raw_open,
}
"""What may befall a request, by its word (docs/testing.md says of each what it does)."""
