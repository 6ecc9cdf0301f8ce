"""The live page's stream: server-sent events that can be resumed, and that end when they should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hookline.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from hookline.dashboard.live_model import Chosen, Cursor, Row
    from hookline.dashboard.live_source import Listener, LiveSource, News
    from hookline.loop import Clock

# How often somebody is asked for once more who may have been signed out meanwhile.
CHECKED_EVERY_MS: Final = 5_000
# So that a proxy does not take the connection for dead, and the browser knows how far it is.
BEAT_EVERY_MS: Final = 15_000
RETRY_MS: Final = 2_000
_AT_ONCE: Final = 100
_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would else collect what is to be seen at once.
    (b"x-accel-buffering", b"no"),
)


class LiveStream(Response):
    """Tells a listener's news until they leave, may listen no longer, or the process stops.

    Messages are JSON: `rows` {"rows": […], "gone": [ids], "passed": n}, `beat` {}, `over` {"why": "signed_out" |
    "stopping"}. Ids are places to go on from.

    Args:
        may_listen: asked every few seconds, in a thread.
        shown: a row as it is sent.
    """

    def __init__(
        self,
        source: LiveSource,
        chosen: Chosen,
        after: Cursor,
        *,
        clock: Clock,
        may_listen: Callable[[], bool],
        shown: Callable[[Row], Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self._source = source
        self._chosen = chosen
        self._after = after
        self._clock = clock
        self._may_listen = may_listen
        self._shown = shown

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """ASGI."""
        try:
            with self._source.listen(self._chosen, self._after) as listener:
                await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
                if scope["method"] != "HEAD":
                    leaving = asyncio.create_task(_until_gone(receive, listener))
                    try:
                        await self._tell(listener, send)
                    finally:
                        leaving.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except RequestError as error:
            await Response(error.message, error.status, media_type="text/plain")(scope, receive, send)

    async def _tell(self, listener: Listener, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        async def say(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        await say(f"retry: {RETRY_MS}\n\n")
        now_ms = self._clock.now_ms()
        check_ms, beat_ms = now_ms + CHECKED_EVERY_MS, now_ms + BEAT_EVERY_MS
        while not listener.has_ended:
            listener.wake.clear()
            while not listener.has_ended and (news := listener.take(_AT_ONCE)) is not None:
                await say(self._message(news))
            now_ms = self._clock.now_ms()
            if now_ms >= check_ms:
                if not await run_in_threadpool(self._may_listen):
                    await say(_event("over", {"why": "signed_out"}, None))
                    return
                check_ms = now_ms + CHECKED_EVERY_MS
            if now_ms >= beat_ms:
                await say(_event("beat", {}, listener.place()))
                beat_ms = now_ms + BEAT_EVERY_MS
            if not listener.has_ended:
                await self._clock.sleep_until(min(check_ms, beat_ms), listener.wake)
        await say(_event("over", {"why": "stopping"}, None))

    def _message(self, news: News) -> str:
        data = {"rows": [self._shown(row) for row in news.rows], "gone": news.gone, "passed": news.passed}
        return _event("rows", data, news.cursor)


def _event(name: str, data: Mapping[str, Any], cursor: Cursor | None) -> str:
    place = "" if cursor is None else f"id: {cursor}\n"
    # JSON has no line break of its own in it.
    return f"{place}event: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"


async def _until_gone(receive: Callable[[], Awaitable[MutableMapping[str, Any]]], listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end()
