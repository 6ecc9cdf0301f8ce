"""The receiver's door behind a server, on core 0: `store` as it is, `verify` with everything but the storing.

Run by accepts.py as a process of its own: which of `SERVERS`, mode, database URL, secret. Prints its port. Each server
is one process, as its framework's documentation has it served.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import uvicorn
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from bench.measure import pin
from bench.raw import lift_limit
from hookline.receiver.app import Receiver
from hookline.receiver.model import Entry, PutKind

THREADS: Final = 16  # of gunicorn's worker


async def keep_nothing(_entry: Entry) -> PutKind:
    """What the intake's `put` is, without a database behind it."""
    return "accepted"


def keep_nothing_inline(_entry: Entry) -> PutKind:
    """The same for threads."""
    return "accepted"


def prepared(receiver: Receiver, mode: str) -> Receiver:
    """Opened, and in `verify` without what stores."""
    receiver.open()
    if mode == "verify":
        receiver.intake.put = keep_nothing
        receiver.intake.put_inline = keep_nothing_inline
    return receiver


def hookline(mode: str, url: str, secret: str, listener: socket.socket) -> None:
    """What `hookline serve receiver` serves."""
    with Receiver(url, secrets=[secret]) as receiver:
        under_uvicorn(prepared(receiver, mode).asgi(), listener)


def django(mode: str, url: str, secret: str, listener: socket.socket) -> None:
    """A project on its own database."""

    def load() -> Any:
        import django
        from django.conf import settings
        from django.core.wsgi import get_wsgi_application

        settings.configure(
            ALLOWED_HOSTS=["*"],
            DATABASES={"default": of_django(url)},
            INSTALLED_APPS=["hookline.adapters.django"],
            ROOT_URLCONF="hookline.adapters.django.urls",
            HOOKLINE={"WEBHOOK_SECRETS": [secret]},
            LOGGING_CONFIG=None,
        )
        django.setup()
        from hookline.adapters.django import hooks

        hooks.migrate()
        prepared(hooks, mode)
        return get_wsgi_application()

    under_gunicorn(load, listener)


def of_django(url: str) -> dict[str, Any]:
    """A database of the bench's as one of Django's; its connections are kept, as in production."""
    if url.startswith("sqlite:"):
        wal = {"init_command": "pragma journal_mode=wal; pragma synchronous=full", "transaction_mode": "IMMEDIATE"}
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite:///"),
            "OPTIONS": wal,
            "CONN_MAX_AGE": None,
        }
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": str(parts.port),
        "CONN_MAX_AGE": None,
        "OPTIONS": {"sslmode": "disable"},
    }


def flask(mode: str, url: str, secret: str, listener: socket.socket) -> None:
    """An app on its own SQLAlchemy engine, as `transactions=` has it."""

    def load() -> Any:
        from flask import Flask
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker

        from hookline.adapters.flask import Hooks
        from hookline.adapters.sqlalchemy import SessionTransactions

        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_size=THREADS)
        app = Flask(__name__)
        app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": [secret]}
        Hooks(app, transactions=SessionTransactions(sessionmaker(engine)))
        receiver = app.extensions["hookline"]
        receiver.migrate()
        prepared(receiver, mode)
        return app

    if url.startswith("sqlite:"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("pragma journal_mode=wal")
    under_gunicorn(load, listener)


def fastapi(mode: str, url: str, secret: str, listener: socket.socket) -> None:
    """An app with the receiver mounted, on a database of Hookline's."""
    from fastapi import FastAPI

    with Receiver(url, secrets=[secret]) as receiver:
        app = FastAPI()
        app.mount("/", prepared(receiver, mode).asgi())
        under_uvicorn(app, listener)


@dataclass(frozen=True, slots=True)
class Server:
    """One way to serve the door: how people know it, and what serves it on a socket until told to stop."""

    about: str
    serve: Callable[[str, str, str, socket.socket], None]


SERVERS: Final = {
    "hookline": Server("Hookline's own: raw ASGI on uvicorn", hookline),
    "django": Server(f"Django under gunicorn, {THREADS} threads, on its own database", django),
    "flask": Server(f"Flask under gunicorn, {THREADS} threads, on its own SQLAlchemy", flask),
    "fastapi": Server("FastAPI under uvicorn, the receiver mounted", fastapi),
}


def under_uvicorn(app: Any, listener: socket.socket) -> None:
    """Serve an ASGI application until told to stop."""
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False, lifespan="on")
    uvicorn.Server(config).run(sockets=[listener])


def under_gunicorn(load: Callable[[], Any], listener: socket.socket) -> None:
    """Serve a WSGI application, made in its worker, until told to stop."""
    os.set_inheritable(listener.fileno(), True)
    options = {
        "bind": f"fd://{listener.fileno()}",
        "worker_class": "gthread",
        "threads": THREADS,
        "keepalive": 60,
        "loglevel": "warning",
    }

    class Served(BaseApplication):  # type: ignore[misc]  # untyped
        def load_config(self) -> None:
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return load()

    Served().run()


if __name__ == "__main__":
    pin(0)
    lift_limit()
    bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(bound.getsockname()[1], flush=True)
    served, mode, url, secret = sys.argv[1:5]
    SERVERS[served].serve(mode, url, secret, bound)
