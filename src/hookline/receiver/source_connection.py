"""HTTP connections to a source's API, kept while they are good.

The standard library's client: a light install has no other, and what is asked for is a page every few seconds. It
follows no redirect, uses no proxy of the environment and asks for no compression; time limits and the limit on an
answer's size are added here.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hookline.errors import SourceError
from hookline.receiver.source_http import Answered

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECT_TIMEOUT_S: Final = 5.0
TIMEOUT_S: Final = 30.0
# A page of a hundred users with all their attributes is seldom one of these.
MOST_BYTES: Final = 32 * 1024 * 1024
_CHUNK: Final = 64 * 1024


class Connections:
    """Connections to one host: as many as there are requests at a time, each used again as long as it lives.

    Args:
        url: of the API; its path counts for nothing here.
        timeout_s: for a whole exchange, connecting excluded (`CONNECT_TIMEOUT_S` for each address of the host).
        most_bytes: of an answer.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, most_bytes: int = MOST_BYTES) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._host, self._port = parts.hostname, parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._pid = os.getpid()
        self._closed = False

    def exchange(self, method: str, target: str, headers: Mapping[str, str]) -> Answered:
        """Make one request: an `Exchange` of source_http.py."""
        connection = self._kept()
        if connection is not None:
            try:
                return self._exchanged(connection, method, target, headers)
            except _Stale:
                pass  # the source ended it while nobody was looking; a request that reads may be made again
        fresh = self._made()
        try:
            return self._exchanged(fresh, method, target, headers)
        except _Stale as error:
            raise ConnectionResetError("the connection was closed before an answer came") from error

    def close(self) -> None:
        """Close what is idle, and end what is under way; nothing is asked after that."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in self._busy if self._pid == os.getpid() else ():
                if connection.sock is not None:
                    _end(connection.sock)
        for connection in idle:
            connection.close()

    def _kept(self) -> http.client.HTTPConnection | None:
        with self._lock:
            if self._pid != os.getpid():
                # They are the parent's, who goes on using them.
                self._pid, self._idle, self._busy = os.getpid(), [], set()
            connection = self._idle.pop() if self._idle else None
            if connection is not None:
                self._busy.add(connection)
        return connection

    def _made(self) -> http.client.HTTPConnection:
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=CONNECT_TIMEOUT_S, context=self._tls
            )
        with self._lock:
            self._check_open()
            self._busy.add(connection)
        return connection

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionAbortedError("the connections were closed here")

    def _exchanged(
        self, connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str]
    ) -> Answered:
        may_stay = False
        try:
            answer, may_stay = self._asked(connection, method, target, headers)
        finally:
            with self._lock:
                self._busy.discard(connection)
                may_stay = may_stay and not self._closed
                if may_stay:
                    self._idle.append(connection)
            if not may_stay:
                connection.close()
        return answer

    def _asked(
        self, connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str]
    ) -> tuple[Answered, bool]:
        """The answer, and whether the connection is good for another."""
        if connection.sock is None:
            connection.connect()
            self._check_open()  # whoever closed meanwhile had no socket to end
        deadline_s = time.monotonic() + self._timeout_s
        connection.sock.settimeout(self._timeout_s)
        connection.response_class = functools.partial(_response, deadline_s)  # type: ignore[assignment]
        try:
            try:
                connection.request(method, target, headers=dict(headers))
                response = connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                raise _Stale from error
            with response:
                body = b"".join(iter(functools.partial(self._chunk, response, [0]), b""))
                if response.length:  # what its Content-Length promised besides
                    raise ConnectionResetError("the answer ended early")
        except http.client.IncompleteRead as error:
            raise ConnectionResetError("the answer ended early") from error
        except http.client.HTTPException as error:
            raise SourceError("nonsense", f"what came is not HTTP: {type(error).__name__}") from error
        named = {name.lower(): value for name, value in response.getheaders()}
        # After an interim answer the one that was asked for is still to come.
        may_stay = response.status >= 200 and not response.will_close
        return Answered(response.status, named, body), may_stay

    def _chunk(self, response: http.client.HTTPResponse, read: list[int]) -> bytes:
        chunk = response.read(_CHUNK)
        read[0] += len(chunk)
        if read[0] > self._most_bytes:
            raise SourceError("nonsense", f"answered more than {self._most_bytes} bytes")
        return chunk


class _Stale(Exception):
    """A connection ended before the first byte of an answer."""


class _Deadlined(io.RawIOBase):
    """What a socket receives, until a moment: each read has the time that is left, not a time of its own."""

    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._sock, self._deadline_s = sock, deadline_s
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no whole answer in time")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Buffered(io.BufferedReader):
    """Never reads to the end at once: to `http.client` a chunk of a length below zero asks for that."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            raise http.client.HTTPException("expected a length")
        return super().read(size)


class _Receiving:
    """As much of a socket as `http.client.HTTPResponse` uses of one."""

    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._sock, self._deadline_s = sock, deadline_s

    def makefile(self, _: str) -> io.BufferedReader:
        return _Buffered(_Deadlined(self._sock, self._deadline_s))


def _response(deadline_s: float, sock: socket.socket, **named: Any) -> http.client.HTTPResponse:
    receiving: Any = _Receiving(sock, deadline_s)
    return http.client.HTTPResponse(receiving, **named)


def _end(sock: socket.socket) -> None:
    """Have whoever waits on a socket find its end."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
