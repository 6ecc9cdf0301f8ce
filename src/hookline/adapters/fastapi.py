"""Hookline in FastAPI, and in Starlette: a receiver with a lifespan, in front of the app.

hooks = Hooks({"WEBHOOK_SECRETS": …, "DATABASE_URL": …})

@hooks.on("dsync.user.created")
def welcome(event, tx): ...

app = FastAPI(lifespan=hooks.lifespan())
hooks.install(app, "/hooks")
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hookline.adapters.configured import ConfiguredReceiver
from hookline.errors import ConfigError, MigrationError, StorageError
from hookline.loop import Clock
from hookline.receiver.handlers import Transactions

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Hooks"]

log = logging.getLogger("hookline.fastapi")

NAME: Final = "Hooks(…)"
RETRY_S: Final = 1.0
Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]


class Hooks(ConfiguredReceiver):
    """A `Receiver` for an app of FastAPI's or Starlette's.

    Args:
        settings: the names of the `HOOKLINE_…` variables without the prefix, `DATABASE_URL`, `SOURCE` and `MIRROR`;
            what they leave out comes from the environment.
        transactions: the app's own database access, instead of `DATABASE_URL`.
        clock: what time it is.

    Raises:
        ConfigError: naming the key, and what is wrong with it.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        transactions: Transactions | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__({} if settings is None else settings, name=NAME, transactions=transactions, clock=clock)

    def install(self, app: Starlette, prefix: str = "") -> None:
        """Put the door in front of an app and its middleware, at `/webhooks` below `prefix` and nowhere else.

        Raises:
            ConfigError: the prefix is no path, or the app has begun to serve.
        """
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ConfigError("prefix", f"expected a path as in /hooks, or nothing, got {prefix!r}")
        if app.middleware_stack is not None:
            raise ConfigError("app", "expected an app that has not begun to serve: its middleware is in place by then")
        build = app.build_middleware_stack
        # When the first request comes all middleware has been added, whichever came first in the code.
        app.build_middleware_stack = lambda: _DoorBeforeApp(build(), self, prefix)  # type: ignore[method-assign]

    def lifespan(self, within: Lifespan | None = None, *, worker: bool = True, concurrency: int = 4) -> Lifespan:
        """A lifespan that opens the database and has a worker run beside the app, and at its end lets it finish.

        A database that is away does not keep the app from starting: the door answers 503 until it works, and the
        worker begins then.

        Args:
            within: a lifespan of the app's own. It is entered first and left last, so that handlers find what it makes.
            worker: False where a process of its own does the work.
            concurrency: how many handlers run at once.

        The start fails with MigrationError where the database is of a newer version.
        """

        @contextlib.asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Any]:
            async with contextlib.AsyncExitStack() as stack:
                state = None if within is None else await stack.enter_async_context(within(app))
                stack.push_async_callback(asyncio.to_thread, self.close)
                await asyncio.to_thread(self._begin, has_worker=worker)
                if worker:
                    await stack.enter_async_context(self._worker_beside(concurrency))
                yield state

        return lifespan

    def _begin(self, *, has_worker: bool) -> None:
        try:
            self.open()
            if has_worker:
                self.worker().register()
        except MigrationError:
            raise
        except StorageError as error:
            log.warning("the database is not available, beginning when it is: %s", error)

    @contextlib.asynccontextmanager
    async def _worker_beside(self, concurrency: int) -> AsyncIterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._work, args=(stop, concurrency), name="hookline-worker", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            await asyncio.to_thread(thread.join)

    def _work(self, stop: threading.Event, concurrency: int) -> None:
        while not stop.is_set():
            try:
                self.run_worker(stop, concurrency=concurrency)
            except StorageError:
                # It was away from the start; once it was there, the worker itself waits for it.
                stop.wait(RETRY_S)


class _DoorBeforeApp:
    """The door before all that an app has for its requests: trusted hosts, redirects, logins, readers of bodies."""

    def __init__(self, app: ASGIApp, receiver: Hooks, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._door, self._is_at = receiver.asgi(), receiver.is_at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Below the root, which a proxy may have taken off already.
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            rest = path[len(self._prefix) :]
            if path.startswith(self._prefix) and self._is_at(rest):
                await self._door({**scope, "path": rest, "root_path": ""}, receive, send)
                return
        await self._app(scope, receive, send)
