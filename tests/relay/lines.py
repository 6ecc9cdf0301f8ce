"""Two ways to listen, in memory: over a WebSocket, and by SSE and POST. Both say the same to whoever tests them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from hookline.relay.frames import (
    ANSWER_PATH,
    PATH,
    START_PATH,
    STREAM_PATH,
    SUBPROTOCOL,
    Answer,
    Begin,
    Bye,
    Delivery,
    FromListener,
    FromServer,
    Hello,
    Start,
    decode_from_server,
    encode,
)

LIVE_KEY: Final = "sk_live_for_listeners"
TEST_KEY: Final = "sk_test_for_listeners"
TIMEOUT_S: Final = 20.0


class Refused(Exception):
    """The server answered that it does not want this."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status}: {body.decode()}")
        self.status = status
        self.problem: Any = json.loads(body) if body else None
        self.headers = headers


class Call:
    """One request or connection to an ASGI app. `stall` keeps what is sent from being taken."""

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.taken = asyncio.Event()
        self.taken.set()
        self.task = asyncio.create_task(app(scope, self.said.get, self._send))
        self.task.add_done_callback(lambda _: self.heard.put_nowait({"type": "over"}))

    async def _send(self, message: Any) -> None:
        await self.taken.wait()
        self.heard.put_nowait(message)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.heard.get()


def scope_of(kind: str, method: str, path: str, key: str | None, **more: Any) -> dict[str, Any]:
    path, _, query = path.partition("?")
    headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
    return {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": headers,
        "extensions": {"websocket.http.response": {}},
        **more,
    }


async def asked(app: Any, method: str, path: str, body: bytes = b"", *, key: str | None = LIVE_KEY) -> bytes:
    """A call and its whole answer. Refused where that is no 2xx."""
    call = Call(app, scope_of("http", method, path, key))
    call.said.put_nowait({"type": "http.request", "body": body, "more_body": False})
    start = await call.next()
    content = b"".join([(await call.next())["body"]])
    await call.task
    if not 200 <= start["status"] <= 299:
        raise Refused(start["status"], content, {name.decode(): value.decode() for name, value in start["headers"]})
    return content


class Line(Protocol):
    """A listener's end."""

    async def start(self, start: Start | bytes) -> Hello: ...
    async def begin(self, after: str) -> None: ...
    async def next(self) -> FromServer | None:
        """What the server says next; None once it has closed."""

    async def answer(self, *answers: Answer | bytes) -> None: ...
    async def leave(self) -> None:
        """Go without a word, as a laptop that is shut does."""

    def stall(self) -> None:
        """Take nothing more of what the server sends."""


class SocketLine:
    """Over a WebSocket."""

    def __init__(self, app: Any, *, key: str | None = LIVE_KEY) -> None:
        self._app = app
        self._key = key
        self.close_code: int | None = None
        self.close_reason = ""

    async def start(self, start: Start | bytes | None) -> Hello:
        scope = scope_of("websocket", "GET", PATH, self._key, subprotocols=[SUBPROTOCOL])
        self.call = Call(self._app, scope)
        self.call.said.put_nowait({"type": "websocket.connect"})
        first = await self.call.next()
        if first["type"] == "websocket.http.response.start":
            content = (await self.call.next())["body"]
            await self.call.task
            raise Refused(first["status"], content, {})
        assert first == {"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": []}
        if start is not None:
            self._say(start)
        hello = await self.next()
        if isinstance(hello, Bye):
            assert await self.next() is None
            assert self.close_code == (1012 if hello.reason == "stopping" else 1008)
            raise Refused(400 if hello.retry_ms is None else 503, encode(hello), {})
        assert isinstance(hello, Hello)
        return hello

    async def begin(self, after: str) -> None:
        self._say(Begin(after))

    async def next(self) -> FromServer | None:
        message = await self.call.next()
        if message["type"] == "websocket.send":
            return decode_from_server(message["text"])
        if message["type"] == "websocket.close":
            self.close_code, self.close_reason = message["code"], message["reason"]
            self.call.said.put_nowait({"type": "websocket.disconnect", "code": message["code"]})
        await self.call.task
        return None

    async def answer(self, *answers: Answer | bytes) -> None:
        for answer in answers:
            self._say(answer)

    async def leave(self) -> None:
        self.call.said.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await self.call.task

    def stall(self) -> None:
        self.call.taken.clear()

    def _say(self, frame: FromListener | bytes) -> None:
        data = frame if isinstance(frame, bytes) else encode(frame)
        self.call.said.put_nowait({"type": "websocket.receive", "text": data.decode("utf-8", "surrogateescape")})


class StreamLine:
    """By SSE and POST."""

    def __init__(self, app: Any, *, key: str | None = LIVE_KEY) -> None:
        self._app = app
        self._key = key
        self._refused: list[Refused] = []

    async def start(self, start: Start | bytes) -> Hello:
        body = start if isinstance(start, bytes) else encode(start)
        hello = decode_from_server(await asked(self._app, "POST", START_PATH, body, key=self._key))
        assert isinstance(hello, Hello)
        self.session = hello.session
        return hello

    async def begin(self, after: str) -> None:
        path = f"{STREAM_PATH}?session={self.session}&after={after}"
        self.call = Call(self._app, scope_of("http", "GET", path, self._key))
        self.call.said.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        start = await self.call.next()
        if start["status"] != 200:
            raise Refused(start["status"], (await self.call.next())["body"], {})
        headers = dict(start["headers"])
        assert headers[b"content-type"].startswith(b"text/event-stream")
        assert headers[b"x-accel-buffering"] == b"no"

    async def next(self) -> FromServer | None:
        message = await self.call.next()
        if message.get("body"):
            assert message["body"].startswith(b"data: ")
            assert message["body"].endswith(b"\n\n")
            return decode_from_server(message["body"][6:-2])
        await self.call.task
        return None

    async def answer(self, *answers: Answer | bytes) -> None:
        body = b"\n".join(one if isinstance(one, bytes) else encode(one) for one in answers)
        await asked(self._app, "POST", f"{ANSWER_PATH}?session={self.session}", body, key=self._key)

    async def leave(self) -> None:
        self.call.said.put_nowait({"type": "http.disconnect"})
        await self.call.task

    def stall(self) -> None:
        self.call.taken.clear()


async def deliveries(line: Line, count: int) -> list[Delivery]:
    """The next frames, which are so many deliveries."""
    found = [await line.next() for _ in range(count)]
    assert all(isinstance(frame, Delivery) for frame in found), found
    return [frame for frame in found if isinstance(frame, Delivery)]


def answered(delivery: Delivery, status: int | None = 200) -> Answer:
    return Answer(delivery.cursor, delivery.event_id, status, 3)


async def silent(line: SocketLine | StreamLine) -> bool:
    """Whether nothing is said, after everything that can run has run."""
    for _ in range(20):
        await asyncio.sleep(0.005)
    return line.call.heard.empty()


async def until(holds: Any) -> None:
    """Wait for something that happens on a thread or a task beside this one."""
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():  # noqa: ASYNC110 - what is awaited tells nobody
            await asyncio.sleep(0.005)
