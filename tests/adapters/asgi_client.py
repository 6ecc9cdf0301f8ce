"""Requests to an ASGI application, as a server hands them over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

AsgiApp: TypeAlias = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Answer:
    """Names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


async def ask(
    app: AsgiApp,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    is_chunked: bool = False,
    peer: str = "127.0.0.1",
    root_path: str = "",
    chunk: int = 65_536,
) -> Answer:
    """One request. Once the body has been handed over, `receive` waits, as the servers' do while a client is there."""
    names = {name.lower(): value for name, value in (headers or {}).items()}
    names.setdefault("host", "127.0.0.1")
    if not is_chunked and body:
        names.setdefault("content-length", str(len(body)))
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": root_path + unquote(path),
        "raw_path": (root_path + path).encode(),
        "root_path": root_path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in names.items()],
        "client": (peer, 1234),
        "server": ("shop.example", 80),
    }
    parts = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if not parts:
            await asyncio.Event().wait()
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    pairs: Sequence[tuple[bytes, bytes]] = start["headers"]
    return Answer(
        start["status"],
        {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs},
        b"".join(message.get("body", b"") for message in rest),
    )
