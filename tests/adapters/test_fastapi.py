"""Hookline in FastAPI and Starlette: the door before middleware and as a mount, the lifespan and its worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from hookline.adapters.fastapi import Hooks
from hookline.errors import ConfigError, MigrationError
from hookline.receiver.app import Receiver
from hookline.testing.signed import SignedRequest, signed_request

from ..apps import rows_at
from ..receiver.company import Company, wait_for
from .asgi_client import Answer, ask
from .fastapi_shop import SECRET, create_app, login

DOOR = "/hooks/webhooks"


def request_of(body: bytes | None = None, *, secret: str = SECRET) -> SignedRequest:
    if body is None:
        body = json.dumps(Company().user("created")).encode()
    return signed_request(body, secret, timestamp_ms=time.time_ns() // 1_000_000)


def post(app: Any, path: str = DOOR, *, signed: SignedRequest | None = None, **more: Any) -> Answer:
    signed = signed or request_of()
    return asyncio.run(ask(app, "POST", path, body=signed.body, headers=signed.headers, **more))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
def hooks(url: str) -> Iterator[Hooks]:
    with Hooks({"WEBHOOK_SECRETS": [SECRET], "DATABASE_URL": url}) as made:
        yield made


def kept(url: str) -> int:
    ((count,),) = rows_at(url, "select count(*) from hookline_inbox")
    return int(count)


# -- in front of the app


def test_a_webhook_is_kept_mirrored_and_handled_by_the_worker_of_the_lifespan(url: str) -> None:
    """Past a login, trusted hosts, a redirect to https and dependencies of all routes; a repeat has no second effect.

    What of them was added after the door stands no more before it than what was there already.
    """
    app = create_app(url)

    with TestClient(app, base_url="http://unknown.example") as client:
        signed = request_of()
        answers = [client.post(DOOR, content=signed.body, headers=signed.headers) for _ in range(2)]
        page = client.get("/", follow_redirects=False)
        wait_for(lambda: rows_at(url, "select distinct state from hookline_runs") == [("succeeded",)])

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 2
    assert page.status_code == 307
    assert rows_at(url, "select event_id from letters") == [("event_000001",)]
    assert rows_at(url, "select id from accounts") == [("user_1",)]
    assert rows_at(url, "select id from hookline_directory_users_live") == [("user_1",)]


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize("is_taken_off", [True, False], ids=["taken off", "left"])
def test_it_stands_below_the_root_path(hooks: Hooks, url: str, root_path: str, is_taken_off: bool) -> None:
    """A server's, with the path whole as ASGI has it, or an app's own, with a path that a proxy has shortened."""
    app = FastAPI(root_path=root_path if is_taken_off else "")
    hooks.install(app, "/hooks")

    answers = [post(app, path, root_path="" if is_taken_off else root_path) for path in (DOOR, f"{DOOR}/")]

    assert [answer.status for answer in answers] == [200, 200]
    assert kept(url) == 1


def test_it_stands_in_front_of_a_mounted_app(hooks: Hooks, url: str) -> None:
    """There nobody calls a lifespan: the database is opened at the first request."""
    inner = Starlette()
    hooks.install(inner, "/hooks")
    outer = Starlette(routes=[Mount("/v1", Mount("/shop", inner))])

    assert post(outer, f"/v1/shop{DOOR}").status == 200
    assert kept(url) == 1


@pytest.mark.parametrize(
    "path", ["/hooks/webhooks/more", "/hooks/webhooksx", "/webhooks", "/hooks", "/x/hooks/webhooks"]
)
def test_other_paths_are_the_apps(hooks: Hooks, path: str) -> None:
    """Also those that look like it."""
    app = Starlette(routes=[Route(path, lambda _: PlainTextResponse("of the app"), methods=["POST"])])
    hooks.install(app, "/hooks")

    assert post(app, path).content == b"of the app"


def test_a_source_may_have_its_path_apart_from_the_others(url: str) -> None:
    """The app has all that is at neither."""
    sources = {"a": {"WEBHOOK_SECRETS": SECRET}, "b": {"WEBHOOK_SECRETS": SECRET, "PATH": "/of/b"}}
    app = Starlette(routes=[Route("/{path:path}", lambda _: PlainTextResponse("of the app"), methods=["POST"])])

    with Hooks({"SOURCES": sources, "DATABASE_URL": url}) as hooks:
        hooks.install(app, "/hooks")
        paths = [DOOR, f"{DOOR}/a", f"{DOOR}/b", "/hooks/of/b", "/hooks/of/b/", "/hooks/of"]
        contents = [post(app, path).content for path in paths]

    assert contents == [b"of the app", b"", b"of the app", b"", b"", b"of the app"]
    assert rows_at(url, "select source from hookline_inbox order by seq") == [("a",), ("b",)]


def test_where_it_cannot_stand_is_said(hooks: Hooks) -> None:
    """Not found out by the first webhook."""
    app = Starlette()
    post(app)

    with pytest.raises(ConfigError, match="has not begun to serve"):
        hooks.install(app)
    with pytest.raises(ConfigError, match="prefix: expected a path"):
        hooks.install(Starlette(), "hooks/")
    with pytest.raises(ConfigError, match="nearest is WEBHOOK_SECRETS"):
        Hooks({"WEBHOOK_SECRET": "x"})


# -- as a mount


class ReadsTheBody(BaseHTTPMiddleware):
    """As one that logs requests does: Starlette keeps the bytes."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        assert await request.body()
        return await call_next(request)


class ReadsTheStream(BaseHTTPMiddleware):
    """Nobody keeps them."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        async for _ in request.stream():
            pass
        return await call_next(request)


class ReadsAndLeavesNothing:
    """Of those who write ASGI by hand: whoever asks the server once more is not answered."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
        await self._app(scope, receive, send)


@pytest.mark.parametrize(
    ("middleware", "status", "said"),
    [
        (ReadsTheBody, 200, None),
        (ReadsTheStream, 503, "has read the body before the door could"),
        (ReadsAndLeavesNothing, 408, "or a middleware of the app has read it before"),
    ],
)
@pytest.mark.parametrize("is_installed", [True, False], ids=["in front", "as a mount"])
def test_a_middleware_that_reads_the_body(
    url: str,
    middleware: Any,
    status: int,
    said: str | None,
    is_installed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In front of it there is none. A mount says what the matter is; the sender comes again, and nothing hangs."""
    app = FastAPI()
    with (
        Receiver(url, secrets=[SECRET], body_timeout_s=0.2) as mounted,
        Hooks({"WEBHOOK_SECRETS": SECRET, "DATABASE_URL": url}) as hooks,
    ):
        if is_installed:
            hooks.install(app, "/hooks")
        app.mount("/hooks", mounted.asgi())
        app.add_middleware(middleware)

        answer = post(app)

    assert answer.status == (200 if is_installed else status)
    assert is_installed or said is None or said in caplog.text


@pytest.mark.parametrize("root_path", ["", "/api"])
def test_mounts_within_mounts(hooks: Hooks, url: str, root_path: str) -> None:
    """The door knows its path below all of them; dependencies of the apps are for their routes."""
    inner = FastAPI(dependencies=[Depends(login)])
    inner.mount("/in", hooks.asgi())
    app = FastAPI(dependencies=[Depends(login)])
    app.mount("/hooks", inner)

    answers = [post(app, f"/hooks/in/webhooks{slash}", root_path=root_path) for slash in ("", "/")]

    assert [answer.status for answer in answers] == [200, 200]
    assert kept(url) == 1


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
def test_a_mount_where_a_proxy_has_taken_the_root_off(hooks: Hooks, url: str) -> None:
    """The app was told of it and Starlette adds the mount to it, but the path has only the mount."""
    app = FastAPI(root_path="/api")
    app.mount("/hooks", hooks.asgi())

    assert [post(app, path).status for path in (DOOR, f"{DOOR}/", "/api/hooks/webhooks")] == [200, 200, 200]
    assert kept(url) == 1


# -- the lifespan


def test_the_apps_own_lifespan_is_around_it(url: str) -> None:
    """Handlers find what it makes, to the last of them; its state reaches the requests."""
    hooks = Hooks({"WEBHOOK_SECRETS": SECRET, "DATABASE_URL": url})
    told: list[str] = []
    may_end = threading.Event()

    @contextlib.asynccontextmanager
    async def own(app: Starlette) -> AsyncIterator[dict[str, str]]:
        told.append("made")
        yield {"word": "of the lifespan"}
        told.append("gone")

    @hooks.on("dsync.user.created", name="h")
    def handle(event: Any, tx: Any) -> None:
        told.append("begun")
        may_end.wait()
        told.append("ended")

    async def page(request: Request) -> Response:
        return PlainTextResponse(request.state.word)

    app = Starlette(routes=[Route("/", page)], lifespan=hooks.lifespan(own))
    hooks.install(app, "/hooks")
    with TestClient(app) as client:
        signed = request_of()
        assert client.post(DOOR, content=signed.body, headers=signed.headers).status_code == 200
        assert client.get("/").text == "of the lifespan"
        wait_for(lambda: "begun" in told)
        threading.Timer(0.1, may_end.set).start()

    assert told == ["made", "begun", "ended", "gone"]
    assert rows_at(url, "select state, attempt from hookline_runs") == [("succeeded", 1)]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("hookline-")]
    assert hooks.opened is None


def test_without_a_worker_somebody_else_does_the_work(url: str) -> None:
    """What is kept waits."""
    hooks = Hooks({"WEBHOOK_SECRETS": SECRET, "DATABASE_URL": url})
    app = Starlette(lifespan=hooks.lifespan(worker=False))
    hooks.install(app)

    with TestClient(app) as client:
        signed = request_of()
        assert client.post("/webhooks", content=signed.body, headers=signed.headers).status_code == 200
        assert not [one for one in threading.enumerate() if one.name.startswith("hookline-worker")]

    assert rows_at(url, "select count(*) from hookline_inbox_queue") == [(1,)]


def test_a_database_of_a_newer_version_stops_the_start(url: str) -> None:
    """It would never work; one that is merely away would."""
    with Hooks({"WEBHOOK_SECRETS": SECRET, "DATABASE_URL": url}) as hooks:
        hooks.open()
    rows_at(url, "insert into hookline_migrations values ('receiver', 999, 'x', 'y')")

    with pytest.raises(MigrationError, match="newer Hookline"), TestClient(Starlette(lifespan=hooks.lifespan())):
        pass


def test_a_database_that_is_away_keeps_neither_the_app_nor_its_pages_from_working(tmp_path: Path) -> None:
    """503 to the sender, at once; once the database is there, all goes on by itself."""
    folder = tmp_path / "mounted_late"
    url = f"sqlite:///{folder / 'shop.db'}"
    hooks = Hooks({"WEBHOOK_SECRETS": SECRET, "DATABASE_URL": url})
    hooks.on("dsync.user.created", name="h")(lambda event, tx: None)
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("open"))], lifespan=hooks.lifespan())
    hooks.install(app)

    with TestClient(app) as client:
        signed = request_of()
        answer = client.post("/webhooks", content=signed.body, headers=signed.headers)
        page = client.get("/")
        folder.mkdir()
        later = client.post("/webhooks", content=signed.body, headers=signed.headers)
        wait_for(lambda: rows_at(url, "select state from hookline_runs") == [("succeeded",)])

    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (503, b"unavailable\n", "5")
    assert (page.status_code, page.text) == (200, "open")
    assert later.status_code == 200
