"""A relay's server end out of frames alone, with a feed to be filled and faults to be told: what a listener meets.

It keeps, by listener, its place and its answers, across being stopped and started again on the same port.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

import aiohttp
from aiohttp import web

from hookline.relay.forward import signed_anew
from hookline.relay.frames import (
    ANSWER_PATH,
    PATH,
    START_PATH,
    STREAM_PATH,
    SUBPROTOCOL,
    WINDOW,
    Answer,
    Beat,
    Begin,
    Bye,
    Delivery,
    FromServer,
    Hello,
    Start,
    decode_from_listener,
    encode,
)
from hookline.sender.http import Headers

KEY = "sk_live_of_a_test_only"
SECRET = "whsec_listener"


@dataclass(slots=True)
class Kept:
    """What is known of a listener."""

    place: int | None = None
    answers: list[Answer] = field(default_factory=list)


class FeedServer:
    """Serves `feed` at a loopback port.

    Attributes:
        feed: events with their headers but for the signature, in order; the first is at place 1.
        kept: of listeners, by name.
        starts: every `start` that came.
        now_ms: what time it is here.
        refuses: an HTTP status that every request is answered with.
        opens_stream: else a stream's answer never begins.
        takes_any_key: else KEY alone is valid.
        asked_with: the keys that came.
        has_websocket: else an upgrade is answered 404.
        connections: the listeners' tasks, to be cancelled: as when a line breaks.
    """

    def __init__(self) -> None:
        self.feed: list[tuple[str, str, Headers, bytes]] = []
        self.kept: dict[str, Kept] = {}
        self.starts: list[Start] = []
        self.now_ms = 1_700_000_000_000
        self.missed_since_ms = 1_700_000_000_000
        self.secret = SECRET
        self.refuses: int | None = None
        self.has_websocket = True
        self.opens_stream = True
        self.takes_any_key = False
        self.asked_with: set[str] = set()
        self.bye: Bye | None = None
        self.port = 0
        self.sockets: list[web.WebSocketResponse] = []
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._sessions: dict[str, tuple[Start, int]] = {}

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.port}"

    def kept_of(self, name: str = "ada") -> Kept:
        """What is known of a listener."""
        return self.kept.setdefault(name, Kept())

    async def publish(
        self, body: bytes = b"{}", *, type_: str = "dsync.user.created", headers: Headers = (), count: int = 1
    ) -> None:
        """Put events into the feed."""
        for _ in range(count):
            self.feed.append((f"event_{len(self.feed) + 1}", type_, headers, body))
        await self.wake()

    async def wake(self) -> None:
        """Look whether there is something to be sent."""
        async with self._news:
            self._news.notify_all()

    async def answered(self, count: int, *, name: str = "ada", timeout_s: float = 10.0) -> list[Answer]:
        """Wait until so many answers have come."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: len(self.kept_of(name).answers) >= count)
        return self.kept_of(name).answers

    async def said(self, bye: Bye) -> None:
        """Say goodbye to whoever listens."""
        self.bye = bye
        await self.wake()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the port of before."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_get(PATH, self._websocket)
        app.router.add_post(START_PATH, self._start)
        app.router.add_get(STREAM_PATH, self._stream)
        app.router.add_post(ANSWER_PATH, self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """As if killed: no goodbye."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut(self) -> None:
        """Break every connection."""
        for socket in self.sockets:
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()
        self.sockets.clear()

    # -- the protocol ------------------------------------------------------------------------------------------

    def _hello(self, start: Start) -> Hello:
        self.starts.append(start)
        place = self.kept_of(start.name).place
        return Hello(
            session=f"s{len(self.starts)}",
            environment="production",
            secret=self.secret,
            head=str(len(self.feed)),
            now_ms=self.now_ms,
            cursor=None if place is None else str(place),
            missed=0 if place is None else len(self.feed) - place,
            missed_since_ms=self.missed_since_ms,
            since=None if start.since_ms is None else "1",
        )

    def _delivery(self, place: int, head: int) -> Delivery:
        event_id, type_, headers, body = self.feed[place - 1]
        signed = signed_anew(headers, body, self.secret, event_id=event_id, now_ms=self.now_ms)
        return Delivery(str(place), event_id, type_, "2026-01-01T00:00:00Z", signed, body, is_missed=place <= head)

    def _noted(self, name: str, answer: Answer) -> None:
        kept = self.kept_of(name)
        if all(one.cursor != answer.cursor for one in kept.answers):
            kept.answers.append(answer)
        done = {int(one.cursor) for one in kept.answers}
        kept.place = kept.place or 0
        while kept.place + 1 in done:
            kept.place += 1

    def _begun(self, name: str, after: int, head: int) -> None:
        kept = self.kept_of(name)
        if after <= head:
            # Never back, as at the sender.
            kept.place = max(kept.place or 0, after)

    def _frames(self, name: str, begun: int, place: int, head: int) -> tuple[list[FromServer], int]:
        """What is to be sent now, and up to where that is."""
        done = {int(one.cursor) for one in self.kept_of(name).answers}
        room = WINDOW - sum(one not in done for one in range(begun + 1, place + 1))
        through = min(len(self.feed), place + room)
        return [self._delivery(one, head) for one in range(place + 1, through + 1)], through

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        if not self.has_websocket:
            raise web.HTTPNotFound
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), max_msg_size=1 << 24)
        await socket.prepare(request)
        self.sockets.append(socket)
        start = decode_from_listener(await socket.receive_str())
        assert isinstance(start, Start)
        head = len(self.feed)
        await socket.send_str(encode(self._hello(start)).decode())
        begin = decode_from_listener(await socket.receive_str())
        assert isinstance(begin, Begin)
        self._begun(start.name, int(begin.after), head)
        sending = asyncio.create_task(self._send(socket, start.name, int(begin.after), head))
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                answer = decode_from_listener(message.data)
                assert isinstance(answer, Answer)
                self._noted(start.name, answer)
                await self.wake()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return socket

    async def _send(self, socket: web.WebSocketResponse, name: str, place: int, head: int) -> None:
        with contextlib.suppress(ConnectionError):
            async for frame in self._talk(name, place, head):
                await socket.send_str(encode(frame).decode())

    async def _talk(self, name: str, place: int, head: int) -> AsyncIterator[FromServer]:
        if place > head:
            yield Bye("expired_cursor", f"{place} is no place of this feed", 0)
            return
        begun = place
        while True:
            frames, place = self._frames(name, begun, place, head)
            for frame in frames:
                yield frame
            if self.bye is not None:
                bye, self.bye = self.bye, None
                yield bye
                return
            if not frames:
                yield Beat(str(place), self.now_ms, is_behind=place < len(self.feed))
                async with self._news:
                    await self._news.wait()

    def _check(self, request: web.Request) -> None:
        if self.refuses is not None:
            answer = web.HTTPServiceUnavailable if self.refuses == 503 else web.HTTPNotFound
            raise answer(headers={"Retry-After": "0"})
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.asked_with.add(key)
        if key != KEY and not self.takes_any_key:
            raise web.HTTPUnauthorized

    async def _start(self, request: web.Request) -> web.Response:
        self._check(request)
        start = decode_from_listener(await request.read())
        assert isinstance(start, Start)
        head = len(self.feed)
        hello = self._hello(start)
        self._sessions[hello.session] = (start, head)
        return web.Response(body=encode(hello), content_type="application/json")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        start, head = self._sessions[request.query["session"]]
        if not self.opens_stream:
            await asyncio.Event().wait()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        place = int(request.query["after"])
        self._begun(start.name, place, head)
        await response.write(b": hello\n\n")
        async for frame in self._talk(start.name, place, head):
            await response.write(b"data: " + encode(frame) + b"\n\n")
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        self._check(request)
        start, _ = self._sessions[request.query["session"]]
        for line in (await request.read()).split(b"\n"):
            answer = decode_from_listener(line)
            assert isinstance(answer, Answer)
            self._noted(start.name, answer)
        await self.wake()
        return web.Response(status=204)
