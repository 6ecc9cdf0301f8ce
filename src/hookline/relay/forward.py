"""Deliveries to the developer's own URL: the sender's own exchange, with bytes and headers as they are.

Header names keep their case, headers their order and their number; Host and Content-Length are the exchange's. No
redirect is followed. What was signed too long ago for a receiver to take is signed anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Final
from urllib.parse import urlsplit

from hookline.errors import ConfigError
from hookline.sender.http import CONNECT_TIMEOUT_S, Answer, ErrorCode, Exchange, Headers, Request
from hookline.sender.http_dial import destination
from hookline.wire import signature, standard
from hookline.wire.schemes import signed_headers

TIMEOUT_S: Final = 30.0
"""For an app that is looked at with a debugger; a sender waits for 15 s."""
NOT_UP: Final[frozenset[ErrorCode]] = frozenset({"connect_refused", "connect_failed"})
"""Nobody listens there: an app that is not started, or restarts."""
PROBE_TIMEOUT_S: Final = 1.0

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def forward_url(text: str, *, setting: str = "--forward-to") -> str:
    """The URL to post to: `localhost:8000/webhooks`, `:8000/webhooks` and `8000/webhooks` are http on this machine.

    Raises:
        ConfigError: under the name `setting`.
    """
    url = text.strip()
    if not _SCHEME.match(url):
        if re.match(r":?[0-9]{1,5}(?:/|\?|\Z)", url):
            url = f"localhost:{url.removeprefix(':')}"
        url = f"http://{url}"
    try:
        destination(url, is_proxied=False)
    except ValueError as error:
        raise ConfigError(setting, f"{error}; as localhost:8000/webhooks") from None
    return url


class Forwarder:
    """Posts to one URL.

    Args:
        url: from `forward_url`.
        exchange: the sender's, which follows nothing.
        timeout_s: for a whole request.
    """

    def __init__(self, url: str, exchange: Exchange, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self._exchange = exchange
        self._timeout_s = timeout_s

    async def post(self, headers: Headers, body: bytes) -> Answer:
        """One request, and what came of it."""
        connect_s = min(CONNECT_TIMEOUT_S, self._timeout_s)
        return await self._exchange.send(Request(self.url, headers, body, connect_s, self._timeout_s))

    async def is_up(self) -> bool:
        """Whether anybody listens there, without a request."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


def signed_anew(headers: Headers, body: bytes, secret: str, *, event_id: str, now_ms: int) -> Headers:
    """The headers with a signature of now in place of each they have, by its scheme; WorkOS' where they have none.

    Everything else keeps its place.

    Raises:
        ConfigError: the secret is none of that scheme.
    """
    names = {name.lower() for name, _ in headers}
    fresh: dict[str, str] = {}
    if standard.SIGNATURE_HEADER in names:
        its_id = next((value for name, value in headers if name.lower() == standard.ID_HEADER), event_id)
        fresh |= signed_headers("standard_webhooks", body, secret, event_id=its_id, now_ms=now_ms)
    if signature.HEADER.lower() in names or not fresh:
        fresh |= signed_headers("workos", body, secret, event_id=event_id, now_ms=now_ms)
    values = {name.lower(): value for name, value in fresh.items()}
    signed: list[tuple[str, str]] = []
    for name, value in headers:
        key = name.lower()
        if key not in values:
            signed.append((name, value))
        elif not any(key == other.lower() for other, _ in signed):
            signed.append((name, values[key]))
    done = {name.lower() for name, _ in signed}
    return (*signed, *((name, value) for name, value in fresh.items() if name.lower() not in done))
