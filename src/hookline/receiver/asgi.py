"""The door as an ASGI application: the way in that has to be fast.

Raw ASGI, since every layer above it costs more than the door itself (docs/decisions/0050). A body is read under a
deadline and counted while it arrives; a client that goes away costs nobody else anything; what waits for the disk
is bounded. Slow request lines and headers are the server's to limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from hookline.errors import HooklineError, StorageError
from hookline.receiver.model import Receipt
from hookline.receiver.receive import CONSUMED, DISCARD, NO_PATH, STALLED, TIMEOUT, UNAVAILABLE, answer
from hookline.receiver.spans import begin_receiving, note_received
from hookline.tracing import within

if TYPE_CHECKING:
    from hookline.receiver.intake import Opened, Reception
    from hookline.receiver.receive import Door

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# Bytes of bodies that wait for a commit. Beyond them a source is told to come back, and memory stays what it is.
MAX_WAITING = 256 * 1024 * 1024


class AsgiDoor:
    """One receiver as an ASGI application, alone or mounted: `root_path` is taken off the path.

    It also answers `/healthz` (the process lives) and `/readyz` (a webhook could be kept now). Served alone it
    opens the database at startup; mounted, where no lifespan reaches it, at the first request.
    """

    def __init__(self, receiver: Reception) -> None:
        self._receiver = receiver
        self._find = receiver.doors.find
        self._deadlines = _Deadlines(receiver.body_timeout_s)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._not_http(scope, receive, send)
            return
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        if root:
            path = _below(path, root, scope.get("app_root_path", ""))
        client = scope.get("client")
        peer: str | None = client[0] if client else None
        door = self._find(path)
        if door is None:
            if path in {"/healthz", "/readyz"}:
                await self._health(path, send)
            else:
                await self._refuse(NO_PATH, peer, None, send)
            return
        admission = door.admit(scope["method"], scope["headers"], peer)
        if isinstance(admission, Receipt):
            if admission.kind == "greeted":
                await _send(send, admission.status, *answer(admission))
            else:
                if admission.reason == "size" and not _asks_first(scope):
                    await self._discard(receive, door.max_body * DISCARD)
                await self._refuse(admission, peer, door, send)
            return
        body = await self._read(receive, door)
        if body is None:
            return
        if not body and _declares_body(scope):
            # What a middleware that has read a body hands on of it.
            body = CONSUMED
        if isinstance(body, Receipt):
            await self._refuse(body, peer, door, send)
            return
        entry = door.check(admission, body, self._receiver.clock.now_ms())
        if isinstance(entry, Receipt):
            await self._refuse(entry, peer, door, send)
            return
        size = len(body)
        if self._waiting + size > MAX_WAITING:
            await self._refuse(UNAVAILABLE, peer, door, send)
            return
        self._waiting += size
        try:
            opened = self._receiver.opened or await self._open()
            span = begin_receiving(entry, scope["headers"], door.route)
            if span is None:
                await opened.intake.put(entry)
            else:
                with within(span):
                    note_received(span, await opened.intake.put(entry._replace(traceparent=span.traceparent)))
        except StorageError:
            await self._refuse(UNAVAILABLE, peer, door, send)
            return
        finally:
            self._waiting -= size
        # Made anew each time: middleware may add to what it is given.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _read(self, receive: Receive, door: Door) -> bytes | Receipt | None:
        """The whole body; or why it is refused; or None when the client went away in the middle of it."""
        task, message = self._deadlines.start(), None
        try:
            message = await receive()
            if not message.get("more_body") and message["type"] == "http.request":
                body: bytes = message.get("body", b"")
                return body if len(body) <= door.max_body else door.too_large
            return await self._read_rest(message, receive, door)
        except asyncio.CancelledError:
            if not self._deadlines.is_over(task):
                raise
            task.uncancel()
            return TIMEOUT if message is not None else STALLED
        finally:
            self._deadlines.finish(task)

    async def _read_rest(self, message: Message, receive: Receive, door: Door) -> bytes | Receipt | None:
        chunks: list[bytes] = []
        size, limit = 0, door.max_body
        while message["type"] == "http.request":
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            else:
                chunks.clear()
            if size > limit * DISCARD or not message.get("more_body"):
                return b"".join(chunks) if size <= limit else door.too_large
            message = await receive()
        return None

    async def _open(self) -> Opened:
        # In a thread: opening may wait for another process that is migrating.
        return await asyncio.get_running_loop().run_in_executor(None, self._receiver.open)

    async def _refuse(self, receipt: Receipt, peer: str | None, door: Door | None, send: Send) -> None:
        self._receiver.note(receipt, peer, door)
        await _send(send, receipt.status, *answer(receipt))

    async def _discard(self, receive: Receive, left: int) -> None:
        """Read what is declared too large, up to so many bytes, so that the client reads the answer."""
        task = self._deadlines.start()
        try:
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
        except asyncio.CancelledError:
            if not self._deadlines.is_over(task):
                raise
            task.uncancel()
        finally:
            self._deadlines.finish(task)

    async def _health(self, path: str, send: Send) -> None:
        is_ready = path == "/healthz" or await asyncio.to_thread(self._receiver.is_ready)
        status, content = (200, b"ok\n") if is_ready else (503, b"not ready\n")
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(content)).encode())]
        await _send(send, status, headers, content)

    async def _not_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._open()
                    self._receiver.follow_lists()
                except HooklineError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self._receiver.close)
                await send({"type": "lifespan.shutdown.complete"})
                return


class _Deadlines:
    """One timer for all bodies that are being read: one for each would cost more than reading it.

    All of them have the same time, so they run out in the order in which they began.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._over: set[asyncio.Task[Any]] = set()
        self._is_armed_on: asyncio.AbstractEventLoop | None = None

    def start(self) -> asyncio.Task[Any]:
        """The current task has begun to read."""
        task = asyncio.current_task()
        assert task is not None  # ASGI servers run every request in a task
        loop = asyncio.get_running_loop()
        self._reading[task] = due_s = loop.time() + self._timeout_s
        if self._is_armed_on is not loop:
            self._is_armed_on = loop
            loop.call_at(due_s, self._cancel_late, loop)
        return task

    def finish(self, task: asyncio.Task[Any]) -> None:
        """It has stopped reading, for whatever reason."""
        del self._reading[task]
        if self._over:
            self._over.discard(task)

    def is_over(self, task: asyncio.Task[Any]) -> bool:
        """Whether it was cancelled from here, and not by the server."""
        return task in self._over

    def _cancel_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for task, due_s in self._reading.items():
            if due_s > now_s:
                loop.call_at(due_s, self._cancel_late, loop)
                return
            if task not in self._over:
                self._over.add(task)
                task.cancel()
        self._is_armed_on = None


def _below(path: str, root: str, app_root: str) -> str:
    """The path below `root`, of which `app_root` may have been taken off: by ASGI it is not, by many a proxy it is."""
    if path.startswith(root):
        return path[len(root) :]
    mount = root.removeprefix(app_root)
    return path[len(mount) :] if app_root and path.startswith(mount) else path


def _declares_body(scope: Scope) -> bool:
    return any(name == b"content-length" and value.strip(b"0") for name, value in scope["headers"])


def _asks_first(scope: Scope) -> bool:
    """Whether the client waits for leave before it sends its body (RFC 9110 §10.1.1): it need not be read then."""
    return any(name == b"expect" for name, _ in scope["headers"])


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
