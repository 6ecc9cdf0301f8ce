"""The server end of `hookline listen`: an ASGI app at `/relay`, for a process that has a sender.

A WebSocket, and for proxies that let none through three calls over HTTP (frames.py). Whoever asks has an API key, as at
the API, and may begin sessions as often as it may call there; what goes on within a session is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from hookline.errors import InvalidFrame, RequestError, StorageError
from hookline.relay.frames import (
    ANSWER_PATH,
    MOST_FROM_LISTENER_BYTES,
    PATH,
    START_PATH,
    STREAM_PATH,
    SUBPROTOCOL,
    Answer,
    Begin,
    Bye,
    Start,
    decode_from_listener,
    encode,
)
from hookline.relay.hub import COME_BACK_MS, Hub
from hookline.sender.registry import check_patterns
from hookline.storage.outage import Outage

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from hookline.relay.frames import ByeReason, FromListener, FromServer, Hello
    from hookline.relay.session import Session
    from hookline.sender.app import SenderApp
    from hookline.sender.keys import KeyHolder

log = logging.getLogger("hookline.relay")

# From the connection to its `start`.
START_WITHIN_S: Final = 10.0
# A message that could not be written for so long is to a laptop that sleeps.
WRITTEN_WITHIN_S: Final = 60.0
# RFC 6455 7.4.1: service restart, policy violation, normal.
_CODES: Final[dict[ByeReason, int]] = {"stopping": 1012, "refused": 1008, "revoked": 1008}
_MOST_REASON_BYTES: Final = 123
_METHODS: Final = {PATH: "GET", START_PATH: "POST", STREAM_PATH: "GET", ANSWER_PATH: "POST"}
_SSE_HEADERS: Final = {
    "cache-control": "no-store",
    "content-type": "text/event-stream; charset=utf-8",
    # nginx would hold the messages back until its buffer is full.
    "x-accel-buffering": "no",
}


class Relay:
    """The app.

    Args:
        sender: whose feed listeners hear. The caller keeps it.
    """

    def __init__(self, sender: SenderApp) -> None:
        self._sender = sender
        self._hub = Hub(sender)
        self._outage = Outage(
            log,
            during="the database is away, listeners are told to come back until it works again",
            after="listeners can begin again",
            now_ms=sender.clock.now_ms,
        )

    def drain(self) -> None:
        """Before the process stops: everybody is told when to come back, and nobody may begin. On the event loop."""
        self._hub.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: `websocket` and `http` below `PATH`."""
        if scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            await self._http(Request(scope, receive), send)

    # -- WebSocket ---------------------------------------------------------------------------------------------

    async def _websocket(self, socket: WebSocket) -> None:
        try:
            holder = await self._admitted(socket)
        except Exception as error:
            await socket.send_denial_response(self._refusal(error))
            return
        await socket.accept(subprotocol=SUBPROTOCOL)
        # Whoever goes away in the middle of it is no error.
        with contextlib.suppress(WebSocketDisconnect, TimeoutError):
            await self._talk(socket, holder)

    async def _admitted(self, socket: WebSocket) -> KeyHolder:
        if socket.scope["path"] != PATH:
            raise _not_found(socket.scope["path"])
        holder = await self._caller(socket, is_call=True)
        if SUBPROTOCOL not in socket.scope["subprotocols"]:
            raise RequestError(400, "unknown_subprotocol", f"expected Sec-WebSocket-Protocol: {SUBPROTOCOL}")
        return holder

    async def _talk(self, socket: WebSocket, holder: KeyHolder) -> None:
        async def write(frame: FromServer) -> None:
            await socket.send_text(encode(frame).decode())

        try:
            async with asyncio.timeout(START_WITHIN_S):
                start = _start(await _heard(socket))
            session, hello = await self._open(start, holder)
        except TimeoutError:
            await _part(socket, Bye("refused", f"expected a start within {START_WITHIN_S:.0f} s"))
            return
        except WebSocketDisconnect:
            return
        except Exception as error:
            await _part(socket, _bye_of(self._refused(error)))
            return
        try:
            await write(hello)
            hearing = asyncio.create_task(self._hear(socket, session))
            try:
                bye = await _tell(session, write)
                if bye is not None:
                    await _part(socket, bye, is_told=True)
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
        finally:
            await self._hub.close(session)

    # -- HTTP --------------------------------------------------------------------------------------------------

    async def _http(self, request: Request, send: Send) -> None:
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = self._refusal(error)
        await answer(request.scope, request.receive, send)

    async def _answer(self, request: Request) -> ASGIApp:
        path = request.scope["path"]
        if path not in _METHODS:
            raise _not_found(path)
        if request.method != _METHODS[path]:
            raise RequestError(405, None, f"expected {_METHODS[path]}, got {request.method[:20]}")
        holder = await self._caller(request, is_call=path == START_PATH)
        if path == START_PATH:
            _, hello = await self._open(_start(decode_from_listener(await _body(request))), holder)
            return Response(encode(hello), media_type="application/json")
        if path == PATH:
            raise RequestError(
                426,
                "upgrade_required",
                f"expected a WebSocket. Where a proxy on the way lets none through, begin with POST {START_PATH}.",
            )
        session = self._hub.find(request.query_params.get("session", ""), holder)
        if path == STREAM_PATH:
            if session.is_carried:
                raise RequestError(409, "session_over", "This session's stream was opened before: start anew.")
            session.hear(Begin(request.query_params.get("after", "")))
            return functools.partial(self._stream, session)
        for answer in _answers(await _body(request)):
            session.hear(answer)
        return Response(status_code=204)

    async def _stream(self, session: Session, _scope: Scope, receive: Receive, send: Send) -> None:
        async def write(frame: FromServer) -> None:
            await send({"type": "http.response.body", "body": b"data: %b\n\n" % encode(frame), "more_body": True})

        async def hear() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            session.leave()

        headers = [(name.encode(), value.encode()) for name, value in _SSE_HEADERS.items()]
        hearing = asyncio.create_task(hear())
        try:
            # Whoever goes away in the middle of it is no error.
            with contextlib.suppress(OSError, TimeoutError):
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await _tell(session, write)
                await send({"type": "http.response.body", "body": b""})
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            await self._hub.close(session)

    # -- both --------------------------------------------------------------------------------------------------

    async def _caller(self, connection: Request | WebSocket, *, is_call: bool = False) -> KeyHolder:
        """Whose key it is; `is_call`: which is counted. RequestError 401 or 429."""
        api = self._sender.load_api()
        holder = await api.authenticate(connection.headers.get("authorization", "").encode("latin-1"))
        if is_call:
            api.refuse_too_many(holder)
        return holder

    async def _open(self, start: Start, holder: KeyHolder) -> tuple[Session, Hello]:
        opened = await self._hub.open(start, holder)
        self._outage.is_over()
        return opened

    def _refusal(self, error: Exception) -> Response:
        return self._sender.load_api().refusal(self._refused(error))

    def _refused(self, error: Exception) -> RequestError:
        """Why it is refused, and a line in the log where that is our trouble."""
        if isinstance(error, RequestError):
            return error
        if isinstance(error, InvalidFrame):
            return RequestError(400, "invalid_frame", str(error))
        if isinstance(error, StorageError):
            self._outage.failed(error, "a listener")
            return RequestError(503, "storage_unavailable", "The database is not available: come back in a moment.")
        log.error("a listener is refused: an unexpected error", exc_info=error)
        return RequestError(500, "internal_error", "An unexpected error; the server's log has it.")

    async def _hear(self, socket: WebSocket, session: Session) -> None:
        """Give the session what the listener says, until it goes or says what is none."""
        try:
            while True:
                session.hear(await _heard(socket))
        except WebSocketDisconnect:
            session.leave()
        except Exception as error:
            session.end(_bye_of(self._refused(error)))


async def _heard(socket: WebSocket) -> FromListener:
    message: Message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text = message.get("text")
    return decode_from_listener(message["bytes"] if text is None else text)


async def _tell(session: Session, write: Callable[[FromServer], Awaitable[None]]) -> Bye | None:
    """Write what the session has to say; its last word, or None where it has none: the listener has gone."""
    async with contextlib.aclosing(session.frames()) as frames:
        async for frame in frames:
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                await write(frame)
            if isinstance(frame, Bye):
                return frame
    return None


async def _part(socket: WebSocket, bye: Bye, *, is_told: bool = False) -> None:
    if not is_told:
        await socket.send_text(encode(bye).decode())
    reason = bye.message.encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
    await socket.close(_CODES.get(bye.reason, 1000), reason)


def _start(frame: FromListener) -> Start:
    if not isinstance(frame, Start):
        raise InvalidFrame(f"expected a start first, got {type(frame).__name__.lower()}")
    try:
        check_patterns(frame.events)
    except RequestError as error:
        raise InvalidFrame("; ".join(one["message"] for one in (error.errors or ())[:5])) from None
    return frame


def _answers(body: bytes) -> list[Answer]:
    """Of a call's body, a line each. InvalidFrame where it is something else."""
    answers = []
    for line in body.splitlines():
        frame = decode_from_listener(line)
        if not isinstance(frame, Answer):
            raise InvalidFrame(f"expected answers, got a {type(frame).__name__.lower()}")
        answers.append(frame)
    return answers


async def _body(request: Request) -> bytes:
    """The whole body. RequestError 413 where it is longer than any message may be."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_FROM_LISTENER_BYTES:
            raise RequestError(413, "body_too_large", f"expected at most {MOST_FROM_LISTENER_BYTES} bytes")
    return body


def _not_found(path: str) -> RequestError:
    return RequestError(404, None, f"Nothing is at {path[:80]!a}: a relay is at {PATH}.")


def _bye_of(refusal: RequestError) -> Bye:
    reason: ByeReason = "stopping" if refusal.code == "stopping" else "refused"
    return Bye(reason, refusal.message, COME_BACK_MS if refusal.status >= 500 else None)
