"""The door in each framework does all that the guide asks of an endpoint, past what stands before it in the shops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client as DjangoClient
from werkzeug.test import Client as WsgiClient

from hookline.adapters.django import hooks as django_hooks
from hookline.loop import SystemClock
from hookline.receiver.app import Receiver
from hookline.sender.conformance import check_endpoint
from hookline.sender.http import Answer, CoroutineExchange, Request

from ..sender.consumers import Drained, answered
from . import asgi_client
from .fastapi_shop import SECRET as FASTAPI_SECRET
from .fastapi_shop import create_app as create_fastapi
from .flask_shop import SECRET as FLASK_SECRET
from .flask_shop import create_app as create_flask
from .flask_shop import db
from .flask_shop import hooks as flask_hooks
from .shop.settings import SECRET as DJANGO_SECRET

SECRET = "whsec_of_a_bare_door"
Send = Callable[[Request, str], Awaitable[int]]


class InProcess(CoroutineExchange):
    """Requests to an app in this process, which answers with a status."""

    def __init__(self, ask: Send) -> None:
        self._ask = ask

    async def send(self, request: Request) -> Answer:
        return answered(await self._ask(request, urlsplit(request.url).path))

    async def close(self) -> None:
        """Nothing is held open."""


def in_turn(ask: Callable[[Request, str], int]) -> Send:
    """Of an app that waits in a thread, one request after the other."""
    lock = asyncio.Lock()

    async def send(request: Request, path: str) -> int:
        async with lock:
            return await asyncio.to_thread(ask, request, path)

    return send


@contextlib.contextmanager
def bare_wsgi(folder: Path) -> Iterator[tuple[Receiver, str, Send]]:
    with Receiver(f"sqlite:///{folder / 'r.db'}", secrets=[SECRET], path="/hooks/webhooks") as receiver:
        receiver.open()
        client = WsgiClient(receiver.wsgi())

        def ask(sent: Request, path: str) -> int:
            return client.open(path, method=sent.method, headers=list(sent.headers), data=sent.body).status_code

        yield receiver, SECRET, in_turn(ask)


@contextlib.contextmanager
def in_flask(folder: Path) -> Iterator[tuple[Receiver, str, Send]]:
    app = create_flask(f"sqlite:///{folder / 'shop.db'}")

    def ask(sent: Request, path: str) -> int:
        client = app.test_client()
        return client.open(path, method=sent.method, headers=list(sent.headers), data=sent.body).status_code

    with app.app_context():
        db.create_all()
        flask_hooks.receiver.migrate()
        yield flask_hooks.receiver, FLASK_SECRET, in_turn(ask)
        flask_hooks.receiver.close()
        db.engine.dispose()


@contextlib.contextmanager
def in_fastapi(folder: Path) -> Iterator[tuple[Receiver, str, Send]]:
    app = create_fastapi(f"sqlite:///{folder / 'shop.db'}")

    async def send(sent: Request, path: str) -> int:
        return (await asgi_client.ask(app, sent.method, path, body=sent.body, headers=dict(sent.headers))).status

    with app.state.hooks as receiver:
        receiver.migrate()
        yield receiver, FASTAPI_SECRET, send


@contextlib.contextmanager
def in_django(_: Path) -> Iterator[tuple[Receiver, str, Send]]:
    client = DjangoClient(enforce_csrf_checks=True, raise_request_exception=False)

    def ask(sent: Request, path: str) -> int:
        headers = dict(sent.headers)
        kind = headers.pop("Content-Type", "")
        answer = client.generic(sent.method, path, sent.body, content_type=kind, headers=headers)
        return int(answer.status_code)

    yield django_hooks, DJANGO_SECRET, in_turn(ask)


@pytest.mark.parametrize("made", [bare_wsgi, in_flask, in_fastapi, in_django])
def test_the_door_passes_every_check(made: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Those too that are only seen from within."""
    if made is in_django:
        request.getfixturevalue("sqlite_shop")
    url = "https://shop.example/hooks/webhooks"
    with made(tmp_path) as (receiver, secret, send):
        done = asyncio.run(
            check_endpoint(url, secret, InProcess(send), clock=SystemClock(), observer=Drained(receiver))
        )

    assert {line.name: (line.verdict, line.came) for line in done.lines if line.verdict != "passed"} == {}
    assert done.left_behind == 0
