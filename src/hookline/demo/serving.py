"""An ASGI application on a loopback socket, served by uvicorn on a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import uvicorn

from hookline.errors import ConfigError

AsgiApp: TypeAlias = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

START_S: Final = 15.0
STOP_S: Final = 5


def loopback(port: int = 0) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes any free one. Who connects early waits until it is served.

    Raises: ConfigError where the port is taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise ConfigError("--port", f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from None
    listening.listen(256)
    return listening


class Served:
    """An application being served, from entering to leaving the context; the socket is closed at the end.

    Args:
        is_dated: whether answers get the `Date` of the machine's clock; the application gives them its own else.
    """

    def __init__(self, app: AsgiApp, listening: socket.socket, *, name: str, is_dated: bool = True) -> None:
        self._listening = listening
        self._server = _Server(
            uvicorn.Config(
                app,
                interface="asgi3",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=is_dated,
                proxy_headers=False,
                timeout_graceful_shutdown=STOP_S,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name=name, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._server.is_listening.wait(START_S):
            raise RuntimeError(f"{self._thread.name} did not start within {START_S:g} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()


class _Server(uvicorn.Server):
    """uvicorn that says when it listens and leaves signals to the main thread."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
