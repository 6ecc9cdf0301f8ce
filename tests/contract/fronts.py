"""Every way in which a web app has the door, each asked in memory as its server would ask."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote

from hookline.adapters.configured import ConfiguredReceiver
from hookline.receiver.app import Receiver

from ..adapters.asgi_client import Answer, AsgiApp, ask
from ..apps import django_database


class Ask(Protocol):
    """Asks the app for something. A chunked body comes without a length; `peer` is the connection's other end."""

    def __call__(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        is_chunked: bool = False,
        peer: str = "127.0.0.1",
    ) -> Answer: ...


@dataclass(frozen=True)
class Front:
    """An app with the door in it. `page` is a path of its own that it answers 200, where it has any."""

    door: str
    ask: Ask
    receiver: Receiver
    page: str | None = None


def ask_wsgi(app: Any) -> Ask:
    """The environ of a server that ends the body's stream by itself, as gunicorn does."""

    def asked(
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        is_chunked: bool = False,
        peer: str = "127.0.0.1",
    ) -> Answer:
        names = {name.lower(): value for name, value in (headers or {}).items()}
        content_type = names.pop("content-type", None)
        length = names.pop("content-length", str(len(body)) if body and not is_chunked else None)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": peer,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.input_terminated": True,
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "HTTP_HOST": "127.0.0.1",
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in names.items()},
        }
        if content_type is not None:
            environ["CONTENT_TYPE"] = content_type
        if length is not None:
            environ["CONTENT_LENGTH"] = length
        begun: list[tuple[int, dict[str, str]]] = []

        def start_response(status: str, pairs: list[tuple[str, str]], _: Any = None) -> None:
            begun.append((int(status.split()[0]), {name.lower(): value for name, value in pairs}))

        chunks = app(environ, start_response)
        try:
            content = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        ((status, answered),) = begun
        return Answer(status, answered, content)

    return asked


@contextlib.contextmanager
def asking_asgi(app: AsgiApp) -> Iterator[Ask]:
    """All on one event loop, as a server has it."""
    with asyncio.Runner() as runner:
        yield lambda method, path, **more: runner.run(ask(app, method, path, **more))


def plain(url: str, settings: Mapping[str, Any]) -> Receiver:
    """A receiver in no framework."""
    return ConfiguredReceiver({**settings, "DATABASE_URL": url}, name="HOOKLINE")


@contextlib.contextmanager
def plain_wsgi(url: str, settings: Mapping[str, Any]) -> Iterator[Front]:
    with plain(url, settings) as receiver:
        yield Front("/webhooks", ask_wsgi(receiver.wsgi()), receiver)


@contextlib.contextmanager
def plain_asgi(url: str, settings: Mapping[str, Any]) -> Iterator[Front]:
    with plain(url, settings) as receiver, asking_asgi(receiver.asgi()) as asked:
        yield Front("/webhooks", asked, receiver)


@contextlib.contextmanager
def django_hooks(url: str, settings: Mapping[str, Any]) -> Iterator[Any]:
    """The tests' Django project on that database."""
    with django_database(url):
        from django.test import override_settings

        from hookline.adapters.django import hooks

        with override_settings(HOOKLINE=dict(settings)):
            yield hooks
        hooks.reload()


@contextlib.contextmanager
def django_wsgi(url: str, settings: Mapping[str, Any]) -> Iterator[Front]:
    with django_hooks(url, settings) as hooks:
        from django.core.handlers.wsgi import WSGIHandler

        yield Front("/hooks/webhooks", ask_wsgi(WSGIHandler()), hooks, page="/")


@contextlib.contextmanager
def django_asgi(url: str, settings: Mapping[str, Any]) -> Iterator[Front]:
    with django_hooks(url, settings) as hooks:
        from django.core.handlers.asgi import ASGIHandler

        with asking_asgi(ASGIHandler()) as asked:
            yield Front("/hooks/webhooks", asked, hooks, page="/")


@contextlib.contextmanager
def flask(url: str, settings: Mapping[str, Any]) -> Iterator[Front]:
    from flask import Flask
    from flask_wtf.csrf import CSRFProtect

    from hookline.adapters.flask import EXTENSION, Hooks

    app = Flask("shop")
    app.config.update(SECRET_KEY="of the tests", HOOKLINE={**settings, "DATABASE_URL": url})
    CSRFProtect(app)
    app.add_url_rule("/", view_func=lambda: "open")
    Hooks(app, url_prefix="/hooks")
    with app.extensions[EXTENSION] as receiver:
        yield Front("/hooks/webhooks", ask_wsgi(app), receiver, page="/")


@contextlib.contextmanager
def _fastapi(url: str, settings: Mapping[str, Any], put: Callable[[Any, Any], None]) -> Iterator[Front]:
    from fastapi import FastAPI

    from hookline.adapters.fastapi import Hooks

    app = FastAPI()
    app.add_api_route("/", lambda: "open")
    with Hooks({**settings, "DATABASE_URL": url}) as hooks, asking_asgi(app) as asked:
        put(app, hooks)
        yield Front("/hooks/webhooks", asked, hooks, page="/")


def fastapi(url: str, settings: Mapping[str, Any]) -> contextlib.AbstractContextManager[Front]:
    return _fastapi(url, settings, lambda app, hooks: hooks.install(app, "/hooks"))


def fastapi_mount(url: str, settings: Mapping[str, Any]) -> contextlib.AbstractContextManager[Front]:
    return _fastapi(url, settings, lambda app, hooks: app.mount("/hooks", hooks.asgi()))


FRONTS: Final[Mapping[str, Callable[[str, Mapping[str, Any]], contextlib.AbstractContextManager[Front]]]] = {
    "WSGI": plain_wsgi,
    "ASGI": plain_asgi,
    "Django": django_wsgi,
    "Django under ASGI": django_asgi,
    "Flask": flask,
    "FastAPI": fastapi,
    "FastAPI, mounted": fastapi_mount,
}
