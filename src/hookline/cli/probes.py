"""What a supervisor asks a process: `/healthz`, `/readyz` and `/metrics`.

`/healthz` answers as long as the event loop runs: restart what does not. `/readyz` answers 503 with what is wrong, or
while the process drains: send no traffic there. `/metrics` is Prometheus text, for whoever may see it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from hookline.cli.server import AsgiApp, AsgiReceive, AsgiSend, Scope

PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_PLAIN: Final = "text/plain; charset=utf-8"
# A request with one of these came through a proxy: that the proxy is on this machine says nothing of who asks.
_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"})


class Probes:
    """The three answers of one process.

    Args:
        problems: what keeps the process from its work; asked on a thread, may read the database.
        registry: what `/metrics` shows.
        token: who has it may read the metrics, and nobody else. None: whoever asks from this machine itself.

    Attributes:
        is_draining: set once, when the process is told to stop.
    """

    def __init__(
        self, *, problems: Callable[[], Sequence[str]], registry: CollectorRegistry, token: str | None = None
    ) -> None:
        self._problems = problems
        self._registry = registry
        self._token = token
        self.is_draining = False

    def drain(self) -> None:
        """From now on this process is not ready."""
        self.is_draining = True

    async def __call__(self, scope: Scope, _receive: AsgiReceive, send: AsgiSend) -> None:
        """Answer one of `PATHS`."""
        await self._answer(scope, send, is_open=self._token is None and _is_local(scope))

    def alone(self) -> AsgiApp:
        """An application for a port of their own: only who reaches that port, or has the token, reads the metrics."""

        async def app(scope: Scope, _receive: AsgiReceive, send: AsgiSend) -> None:
            if scope["type"] == "http":
                await self._answer(scope, send, is_open=self._token is None)

        return app

    async def _answer(self, scope: Scope, send: AsgiSend, *, is_open: bool) -> None:
        path = scope["path"]
        if path not in PATHS:
            await _send(scope, send, 404, "not found\n")
        elif scope["method"] not in {"GET", "HEAD"}:
            await _send(scope, send, 405, "expected GET or HEAD\n", [(b"allow", b"GET, HEAD")])
        elif path == "/healthz":
            await _send(scope, send, 200, "ok\n")
        elif path == "/readyz":
            found = ["draining"] if self.is_draining else list(await asyncio.to_thread(self._problems))
            if found:
                await _send(scope, send, 503, "not ready\n" + "".join(f"{problem}\n" for problem in found))
            else:
                await _send(scope, send, 200, "ok\n")
        elif is_open or self._has_token(scope):
            encode, content_type = choose_encoder(_header(scope, b"accept").decode("latin-1"))
            content = await asyncio.to_thread(encode, self._registry)
            await _send(scope, send, 200, content, content_type=content_type)
        else:
            await _send(
                scope,
                send,
                401,
                "metrics are for this machine itself, or for who sends HOOKLINE_METRICS_TOKEN as a bearer token\n",
                [(b"www-authenticate", b"Bearer")],
            )

    def _has_token(self, scope: Scope) -> bool:
        scheme, _, given = _header(scope, b"authorization").partition(b" ")
        if self._token is None or scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(given.strip(), self._token.encode())


def _is_local(scope: Scope) -> bool:
    if any(name in _FORWARDED for name, _ in scope["headers"]):
        return False
    try:
        return ip_address((scope.get("client") or ("",))[0]).is_loopback
    except ValueError:
        return False


def _header(scope: Scope, wanted: bytes) -> bytes:
    found: bytes = next((value for name, value in scope["headers"] if name == wanted), b"")
    return found


async def _send(
    scope: Scope,
    send: AsgiSend,
    status: int,
    content: str | bytes,
    headers: Sequence[tuple[bytes, bytes]] = (),
    *,
    content_type: str = _PLAIN,
) -> None:
    body = content.encode() if isinstance(content, str) else content
    own = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
