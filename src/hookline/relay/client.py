"""A listener's connection to a relay: a WebSocket, or SSE and POST where something between lets none through.

`connect` says who listens and has the server's `hello`; what comes after that is a `Channel`, whichever way it goes.
A connection that breaks is a `ChannelLost`, a server that does not want us a `RequestError`. Comes back by nobody's
order but the caller's (following.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from json import JSONDecodeError
from typing import Final, Literal, Protocol, TypeAlias

import aiohttp

from hookline import __version__
from hookline.errors import InvalidFrame, RequestError
from hookline.relay.frames import (
    ANSWER_PATH,
    MOST_FRAME_BYTES,
    MOST_FROM_LISTENER_BYTES,
    PATH,
    START_PATH,
    STREAM_PATH,
    SUBPROTOCOL,
    Answer,
    Begin,
    Bye,
    FromServer,
    Hello,
    Start,
    decode_from_server,
    encode,
)
from hookline.rules.response import retry_after_s

Way: TypeAlias = Literal["websocket", "http"]

CONNECT_TIMEOUT_S: Final = 10.0
HELLO_TIMEOUT_S: Final = 15.0
CLOSE_TIMEOUT_S: Final = 1.0
# What a proxy or a server that is about to stop says; the next request may get through.
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_NOT_LOGGED_IN: Final = frozenset({401, 403})
_LINE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """A relay's server.

    Attributes:
        url: its root, as https://hooks.example.com.
        origin: the setting that says so, for whoever cannot reach it.
        key: an API key of the environment.
        is_new_key: it was made just now, and the server may not know it yet.
    """

    url: str
    origin: str
    key: str = field(repr=False)
    is_new_key: bool = False


class ChannelLost(Exception):
    """The connection is gone, and why, for people.

    `retry_ms`: for how long the server asks to be left alone. `is_answer`: something answered by HTTP, the server or
    what stands before it.
    """

    def __init__(self, why: str, *, retry_ms: int | None = None, is_answer: bool = False) -> None:
        super().__init__(why)
        self.retry_ms = retry_ms
        self.is_answer = is_answer


class Channel(Protocol):
    """A connection on which the server has said `hello`."""

    hello: Hello
    way: Way

    @abstractmethod
    async def begin(self, after: str) -> None:
        """Have deliveries sent, from after this place on. ChannelLost."""

    @abstractmethod
    async def receive(self) -> FromServer:
        """The server's next message. Raises: ChannelLost, InvalidFrame."""

    @abstractmethod
    async def answer(self, answers: Sequence[Answer]) -> None:
        """Say what came of deliveries. ChannelLost."""

    @abstractmethod
    async def close(self) -> None:
        """Leave, within about a second."""


async def connect(http: aiohttp.ClientSession, server: Server, start: Start, *, ways: Sequence[Way]) -> Channel:
    """Have the server's `hello`, by the first of `ways` that it lets through.

    Raises:
        ChannelLost: nobody answers, or not now.
        RequestError: 401 or 403 for a key that is not valid; what else the server will not have; 404 where no relay is.
        InvalidFrame: what was answered is not what a relay says.
    """
    *others, last = ways
    for way in others:
        try:
            return await _WAYS[way](http, server, start)
        except RequestError as error:
            # A key is not more valid by another way; else what stands between may have answered.
            if error.status in _NOT_LOGGED_IN:
                raise
        except ChannelLost as error:
            if not error.is_answer:
                raise
    return await _WAYS[last](http, server, start)


class WebSocketChannel(Channel):
    """One text message a frame."""

    way: Way = "websocket"

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, hello: Hello) -> None:
        self.hello = hello
        self._socket = socket

    async def begin(self, after: str) -> None:
        await self._send(encode(Begin(after)))

    async def receive(self) -> FromServer:
        return await _message_of(self._socket)

    async def answer(self, answers: Sequence[Answer]) -> None:
        for one in answers:
            await self._send(encode(one))

    async def _send(self, data: bytes) -> None:
        try:
            await self._socket.send_str(data.decode())
        except (aiohttp.ClientError, OSError) as error:
            raise ChannelLost(f"the connection broke: {_told(error)}") from None

    async def close(self) -> None:
        await self._socket.close()


async def _by_websocket(http: aiohttp.ClientSession, server: Server, start: Start) -> Channel:
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            socket = await http.ws_connect(
                server.url + PATH,
                protocols=(SUBPROTOCOL,),
                headers=_headers(server),
                max_msg_size=MOST_FRAME_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            )
            try:
                await socket.send_str(encode(start).decode())
                first = await _message_of(socket)
            except BaseException:
                await socket.close()
                raise
    except aiohttp.WSServerHandshakeError as error:
        wait = None if error.headers is None else error.headers.get("Retry-After")
        raise _refusal(error.status, wait, None) from None
    except TimeoutError:
        # Of a proxy that takes the upgrade and passes nothing on.
        raise ChannelLost(f"no word from the relay within {HELLO_TIMEOUT_S:g} s", is_answer=True) from None
    except (aiohttp.ClientError, OSError) as error:
        raise ChannelLost(_told(error)) from None
    if isinstance(first, Hello):
        return WebSocketChannel(socket, first)
    await socket.close()
    raise _said_instead(first)


async def _message_of(socket: aiohttp.ClientWebSocketResponse) -> FromServer:
    message = await socket.receive()
    if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        return decode_from_server(message.data)
    if message.type is aiohttp.WSMsgType.ERROR:
        raise ChannelLost(f"the connection broke: {_told(socket.exception())}")
    code = socket.close_code
    raise ChannelLost("the connection was closed" + ("" if code is None or code in (1000, 1006) else f" ({code})"))


class HttpChannel(Channel):
    """The server's messages as server-sent events, ours by POST."""

    way: Way = "http"

    def __init__(self, http: aiohttp.ClientSession, server: Server, hello: Hello) -> None:
        self.hello = hello
        self._http = http
        self._server = server
        self._stream: aiohttp.ClientResponse | None = None
        self._messages: AsyncIterator[FromServer] | None = None

    async def begin(self, after: str) -> None:
        query = {"session": self.hello.session, "after": after}
        headers = {**_headers(self._server), "Accept": "text/event-stream", "Cache-Control": "no-store"}
        try:
            # Of the answer's head: a proxy may hold it back. How long the stream is silent is the caller's to watch.
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                self._stream = await self._http.get(self._server.url + STREAM_PATH, params=query, headers=headers)
            if self._stream.status != 200:
                raise await _no_session(self._stream)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ChannelLost(_told(error)) from None
        self._messages = _events_of(self._stream)

    async def receive(self) -> FromServer:
        assert self._messages is not None
        try:
            return await anext(self._messages)
        except StopAsyncIteration:
            raise ChannelLost("the stream has ended") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ChannelLost(f"the stream broke: {_told(error)}") from None

    async def answer(self, answers: Sequence[Answer]) -> None:
        waiting = [encode(one) for one in answers]
        while waiting:
            batch, waiting = _first_of(waiting)
            try:
                async with self._http.post(
                    self._server.url + ANSWER_PATH,
                    params={"session": self.hello.session},
                    data=b"\n".join(batch),
                    headers={**_headers(self._server), "Content-Type": "application/x-ndjson"},
                    timeout=aiohttp.ClientTimeout(total=HELLO_TIMEOUT_S),
                ) as answer:
                    if answer.status >= 300:
                        raise await _no_session(answer)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise ChannelLost(f"an answer could not be sent: {_told(error)}") from None

    async def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


async def _by_http(http: aiohttp.ClientSession, server: Server, start: Start) -> Channel:
    try:
        async with http.post(
            server.url + START_PATH,
            data=encode(start),
            headers={**_headers(server), "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=HELLO_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            allow_redirects=False,
        ) as answer:
            if answer.status != 200:
                raise await _refused(answer)
            hello = decode_from_server(await answer.read())
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ChannelLost(_told(error)) from None
    if not isinstance(hello, Hello):
        raise _said_instead(hello)
    return HttpChannel(http, server, hello)


async def _events_of(stream: aiohttp.ClientResponse) -> AsyncIterator[FromServer]:
    """The messages of a stream of server-sent events: lines `data:` up to an empty one; others count for nothing."""
    buffer = b""
    data: list[bytes] = []
    while chunk := await stream.content.read(_LINE_BYTES):
        *lines, buffer = (buffer + chunk).split(b"\n")
        if len(buffer) + sum(map(len, data)) > MOST_FRAME_BYTES:
            raise InvalidFrame(f"expected a message of at most {MOST_FRAME_BYTES} bytes")
        for line in (line.removesuffix(b"\r") for line in lines):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield decode_from_server(b"\n".join(data))
                data = []


def _first_of(frames: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """As many as one request may carry, and the rest."""
    size = 0
    for count, one in enumerate(frames):
        size += len(one) + 1
        if size > MOST_FROM_LISTENER_BYTES and count:
            return frames[:count], frames[count:]
    return frames, []


def _headers(server: Server) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {server.key}", "User-Agent": f"hookline/{__version__}"}


async def _refused(answer: aiohttp.ClientResponse) -> RequestError | ChannelLost:
    """What an answer that is no `hello` means."""
    detail = None
    with contextlib.suppress(aiohttp.ClientError, JSONDecodeError, UnicodeDecodeError):
        told = await answer.json(content_type=None)
        if isinstance(told, dict):
            detail = told.get("detail") or told.get("message")
    return _refusal(answer.status, answer.headers.get("Retry-After"), None if detail is None else str(detail)[:300])


async def _no_session(answer: aiohttp.ClientResponse) -> ChannelLost:
    """Of a session that was: whatever is wrong now, `connect` finds out what."""
    refusal = await _refused(answer)
    return refusal if isinstance(refusal, ChannelLost) else ChannelLost(str(refusal))


def _refusal(status: int, retry_after: str | None, detail: str | None) -> RequestError | ChannelLost:
    if status in _NOT_LOGGED_IN:
        return RequestError(status, "not_logged_in", "the API key is not valid for this server")
    if status in _PASSING:
        wait_s = retry_after_s(retry_after, now_ms=0)
        told = f"the server answered {status}" + ("" if detail is None else f": {detail}")
        return ChannelLost(told, retry_ms=None if wait_s is None else round(wait_s * 1000), is_answer=True)
    if status == 404:
        return RequestError(404, "no_relay", "there is no relay at this URL: is it a Hookline server, of this version?")
    return RequestError(status, "refused", detail or f"the server answered {status} where a relay answers 101 or 200")


_WAYS: Final[Mapping[Way, Callable[[aiohttp.ClientSession, Server, Start], Awaitable[Channel]]]] = {
    "websocket": _by_websocket,
    "http": _by_http,
}


def _said_instead(message: FromServer) -> ChannelLost | RequestError:
    if isinstance(message, Bye):
        if message.retry_ms is None:
            return RequestError(409, message.reason, message.message)
        return ChannelLost(message.message, retry_ms=message.retry_ms)
    raise InvalidFrame(f"expected hello, got {type(message).__name__.lower()}")


def _told(error: BaseException | None) -> str:
    """What went wrong with a connection, for people."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate does not hold: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        # asyncio words the system's error anew, with the address.
        return os.strerror(error.errno) if error.errno else str(error.os_error)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
