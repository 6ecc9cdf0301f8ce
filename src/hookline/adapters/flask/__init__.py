"""Hookline in Flask: an extension.

hooks = Hooks()

@hooks.on("dsync.user.created")
def welcome(event, tx): ...

hooks.init_app(app)  # app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": …, "DATABASE_URL": …}
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flask import Flask, current_app

from hookline.adapters.configured import ConfiguredReceiver
from hookline.adapters.flask.command import command
from hookline.errors import ConfigError
from hookline.loop import Clock
from hookline.receiver.handlers import Handler, LentTransaction, Registry, Transactions
from hookline.receiver.resources import OPTIONAL

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from hookline.receiver.work import Worker

__all__ = ["AppReceiver", "Hooks"]

log = logging.getLogger("hookline.flask")

EXTENSION: Final = "hookline"
NAME: Final = "HOOKLINE"
Function = TypeVar("Function", bound=Callable[..., Any])


def __getattr__(name: str) -> Any:
    # What `flask hookline …` names to the command: an app that a factory has made is no attribute of any module.
    if name == "receiver":
        return current_app.extensions[EXTENSION]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Hooks:
    """The extension: handlers, and a receiver for each app that it is initialised with.

    Args:
        app: as for `init_app`, which may be called later instead, and for several apps.
        transactions: the app's own database access; without it, a database of Hookline's, at the key `DATABASE_URL`.
        url_prefix: where the door is: at `/webhooks` below it.
        clock: what time it is.

    Raises:
        ConfigError: naming the key of `HOOKLINE`, or the argument.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        transactions: Transactions | None = None,
        url_prefix: str = "",
        clock: Clock | None = None,
    ) -> None:
        if url_prefix and (not url_prefix.startswith("/") or url_prefix.endswith("/")):
            raise ConfigError("url_prefix", f"expected a path as in /hooks, or nothing, got {url_prefix!r}")
        self.handlers = Registry()
        self._transactions = transactions
        self._url_prefix = url_prefix
        self._clock = clock
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, *, transactions: Transactions | None = None) -> None:
        """Give an app its door, its receiver (`app.extensions["hookline"]`) and `flask hookline`.

        Args:
            app: its `config["HOOKLINE"]` takes the names of the `HOOKLINE_…` variables without the prefix, `SOURCE` and
                `MIRROR`.
            transactions: this app's, where the extension was made without.
        """
        if EXTENSION in app.extensions:
            raise ConfigError("app", "expected an app without Hookline; this one was initialised with it before")
        receiver = AppReceiver(app, self.handlers, transactions=transactions or self._transactions, clock=self._clock)
        app.extensions[EXTENSION] = receiver
        app.wsgi_app = _DoorBeforeApp(app.wsgi_app, receiver, self._url_prefix)  # type: ignore[method-assign]
        app.cli.add_command(command)

    def on(
        self, pattern: str, *, source: str | None = None, name: str | None = None, unlisted: bool = False
    ) -> Callable[[Function], Function]:
        """Call a function once for every event of a type, as `function(event, tx)`, within the app's context."""
        return self.handlers.on(pattern, source=source, name=name, unlisted=unlisted)

    def on_change(
        self, resource: str, *, source: str | None = None, name: str | None = None
    ) -> Callable[[Function], Function]:
        """Call a function for every accepted change of a resource, as `function(change, tx)`, likewise."""
        return self.handlers.on_change(resource, source=source, name=name)

    def on_kept(self, function: Function) -> Function:
        """Call a function soon after webhooks were kept, within the app's context: to wake a task queue."""
        return self.handlers.on_kept(function)

    @property
    def receiver(self) -> AppReceiver:
        """The receiver of the app whose context this is in: to `drain()`, `migrate()`, ask `is_active(…)`."""
        receiver: AppReceiver = current_app.extensions[EXTENSION]
        return receiver


class AppReceiver(ConfiguredReceiver):
    """The `Receiver` of one Flask app, with the handlers of the extension."""

    def __init__(
        self, app: Flask, handlers: Registry, *, transactions: Transactions | None, clock: Clock | None
    ) -> None:
        within = None if transactions is None else _InContext(transactions, app)
        super().__init__(app.config.get(NAME, {}), name=NAME, transactions=within, clock=clock)
        self.handlers = _HandlersInContext(handlers, app)

    def database_url(self) -> str | None:
        """The URL of its database, for commands that open it by themselves; None where only the app can."""
        return self.configured_url if self._app_database is None else self._app_database.url()

    def worker(self, *, concurrency: int = 4) -> Worker:
        """As of any receiver. ConfigError where a handler waits for what never comes: the extension cannot know."""
        for handler in self.handlers:
            self._check_source(handler.name, handler.source)
            if handler.kind == "change" and handler.pattern in OPTIONAL - self._optional:
                raise ConfigError(
                    f'{NAME}["MIRROR"]', f"{handler.name} waits for changes of {handler.pattern!r}, which it leaves out"
                )
        return super().worker(concurrency=concurrency)


class _DoorBeforeApp:
    """The door in front of an app, at its path and nowhere else.

    Not a view: whatever the app has for all its requests (a login, CSRF tokens, a redirect to https, hosts that it
    trusts, something that reads bodies) would stand before a view, and what fails after one would fail what is kept.
    """

    def __init__(self, app: WSGIApplication, receiver: AppReceiver, url_prefix: str) -> None:
        self._app = app
        self._door, self._is_at = receiver.wsgi(), receiver.is_at
        # PEP 3333's paths are bytes dressed up as Latin-1.
        self._prefix = url_prefix.encode().decode("latin-1")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        rest = path[len(self._prefix) :]
        decoded = rest.encode("latin-1").decode("utf-8", "surrogateescape")
        if not path.startswith(self._prefix) or not self._is_at(decoded):
            return self._app(environ, start_response)
        within = {**environ, "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + self._prefix, "PATH_INFO": rest}
        # ProxyFix counts proxies; the door knows by their addresses which of them to believe, whoever else connects.
        within["REMOTE_ADDR"] = environ.get("werkzeug.proxy_fix.orig", environ).get("REMOTE_ADDR")
        return self._door(within, start_response)


@contextlib.contextmanager
def _context(app: Flask) -> Iterator[None]:
    """A context of the app. What fails at its end is logged: it undoes nothing that was done within."""
    context = app.app_context()
    context.push()
    try:
        yield
    finally:
        try:
            context.pop()
        except Exception as error:
            # Without its message, which may hold anything.
            kind = type(error).__name__
            log.error("a function of teardown_appcontext failed (%s)", kind)  # noqa: TRY400


class _InContext:
    """An app's transactions, each within a context of that app: extensions find their database by it."""

    def __init__(self, transactions: Transactions, app: Flask) -> None:
        self._transactions = transactions
        self._app = app

    @contextlib.contextmanager
    def begin(self) -> Iterator[LentTransaction]:
        with _context(self._app), self._transactions.begin() as lent:
            yield lent

    def end_thread(self) -> None:
        end = getattr(self._transactions, "end_thread", None)
        if end is not None:
            end()


class _HandlersInContext(Registry):
    """The extension's handlers, also those that are still to come, each called within a context of one app."""

    def __init__(self, handlers: Registry, app: Flask) -> None:
        self._handlers = handlers._handlers
        self._shared = handlers
        self._app = app

    @property
    def poked(self) -> Callable[[], Any] | None:
        function = self._shared.poked
        if function is None:
            return None

        def call() -> None:
            with _context(self._app):
                function()

        return call

    def on_kept(self, function: Function) -> Function:
        return self._shared.on_kept(function)

    def get(self, name: str) -> Handler | None:
        handler = super().get(name)
        return handler and replace(handler, function=self._within(handler.function))

    def _within(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(what: Any, tx: Any) -> Any:
            with _context(self._app):
                result = function(what, tx)
            return awaited(result) if inspect.isawaitable(result) else result

        async def awaited(result: Awaitable[Any]) -> None:
            with _context(self._app):
                await result

        return call
