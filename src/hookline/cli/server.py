"""One process that serves: a port shared by both ends, signals, and the order in which things stop.

Stopping: the first SIGTERM or SIGINT closes the port and lets what is under way finish; a second one ends the
process where it stands (which loses nothing: leases run out and work is claimed again). It knows no settings
beyond where to listen, and neither end: what runs is given to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import uvicorn

from hookline.cli import Exit
from hookline.cli.head_limits import LimitedProtocol
from hookline.cli.probes import PATHS, Probes
from hookline.errors import ConfigError
from hookline.relay import frames

log = logging.getLogger("hookline.serve")

Scope: TypeAlias = MutableMapping[str, Any]
AsgiReceive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
AsgiSend: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, AsgiReceive, AsgiSend], Awaitable[None]]

DASHBOARD_PATH: Final = "/dashboard"
SAME_STOP_S: Final = 0.5  # wrappers such as timeout(1) and make send one stop twice: to us, and to our whole group
DRAIN_S: Final = 20  # an attempt takes up to 15 s, a body up to 10 s
_BACKLOG: Final = 2048
_PING_EVERY_S: Final = 20.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Switch:
    """Both ends behind one port: what the sender answers to the sender, everything else to the door.

    Args:
        door: the receiver's application.
        sender: the sender's application.
        is_senders: whether a path is the sender's; asked where there are both.
        dashboard: answers everything below `/dashboard`, where there is one.
        relay: answers everything below `/relay`, WebSockets too, where there is one.
        probes: answers `probes.PATHS` for all of them.
    """

    def __init__(
        self,
        *,
        door: AsgiApp | None,
        sender: AsgiApp | None,
        is_senders: Callable[[str], bool] = lambda _: True,
        dashboard: AsgiApp | None = None,
        relay: AsgiApp | None = None,
        probes: Probes,
    ) -> None:
        self._sender = sender or door
        self._door = door or sender
        self._is_senders = is_senders
        self._beside = {DASHBOARD_PATH: dashboard, frames.PATH: relay}
        self._probes = probes

    async def __call__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "http" and path in PATHS:
            await self._probes(scope, receive, send)
            return
        first, _, _ = path[1:].partition("/")
        app = self._beside.get(f"/{first}")
        if app is None:
            app = self._sender if self._is_senders(path) else self._door
        if app is not None:
            await app(scope, receive, send)


class Background(Protocol):
    """Work beside the port, on the server's event loop for as long as it runs."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is under way and return."""


class ThreadedLoop:
    """A loop that blocks its thread, as `Background`.

    Args:
        run: works until the event it is given is set.
        wake: makes it look at that event now.
        name: for the thread.
    """

    def __init__(self, run: Callable[[threading.Event], None], *, wake: Callable[[], None], name: str) -> None:
        self._run = run
        self._wake = wake
        self._name = name

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        ended, stopping = asyncio.Event(), threading.Event()
        errors: list[BaseException] = []

        def work() -> None:
            try:
                self._run(stopping)
            except BaseException as error:
                errors.append(error)
            with contextlib.suppress(RuntimeError):  # the loop has closed: it did not wait
                loop.call_soon_threadsafe(ended.set)

        thread = threading.Thread(target=work, name=self._name)
        thread.start()
        waiters = {asyncio.create_task(event.wait()) for event in (stop, ended)}
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also where this is cancelled: a thread that went on would keep the process from its end, for ever.
            stopping.set()
            self._wake()
        await ended.wait()
        for waiter in waiters:
            waiter.cancel()
        thread.join()
        if errors:
            raise errors[0]


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and the URL it is reached at. Who connects early waits until somebody accepts."""

    socket: socket.socket
    url: str


def bind(host: str, port: int, *, is_tls: bool, setting: str = "") -> Listener:
    """Take the port before anything else starts. `setting` is the one to name, where it is not host and port.

    Raises:
        ConfigError: it is taken, may not be taken, or the host is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            setting or "HOOKLINE_HOST", f"expected a name or address of this machine, got {host!r}: {error}"
        ) from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(setting or "HOOKLINE_PORT", f"cannot listen on {host}:{port}: {error.strerror}") from None
    name = f"[{host}]" if ":" in host else host
    return Listener(listening, f"{'https' if is_tls else 'http'}://{name}:{listening.getsockname()[1]}")


def check_tls(certificate: Path, key: Path) -> None:
    """Read both as the server will.

    Raises:
        ConfigError: they are no certificate chain and its key, or need a password.
    """
    # The empty password keeps OpenSSL from asking for one on the terminal.
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            "HOOKLINE_TLS_CERT",
            f"expected a certificate chain in {certificate} and its key, without password, in {key}",
        ) from None


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and leaves signals to us: its own way raises them again when it has
    stopped, so that a clean stop would not exit 0.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve_until_told(
    app: AsgiApp | None,
    listener: Listener | None,
    background: Sequence[Background],
    *,
    tls: tuple[Path, Path] | None = None,
    started: Callable[[], None] = lambda: None,
    beside: tuple[AsgiApp, Listener] | None = None,
    drain: Callable[[], None] = lambda: None,
    drain_delay_s: float = 0.0,
    has_relay: bool = False,
) -> int:
    """Run until a signal, or until something that should run on does not.

    Args:
        app: what answers at `listener`; None for a process without a port.
        background: started before the port is listened on, stopped after it is closed.
        tls: certificate chain and key.
        started: called once, when requests are accepted and all of `background` runs.
        beside: what answers on a port of its own, in plain http, until everything else has stopped.
        drain: called at the first signal.
        drain_delay_s: how long after that the port is still open, for balancers that ask before they send.
        has_relay: `app` takes WebSockets at `/relay`; anywhere else, and without it, a call to upgrade is a plain one.

    Returns:
        0 after a signal; 1 when something ended by itself, which is logged.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(app, listener, background, tls, started, beside, drain, drain_delay_s, has_relay))


async def _serve(
    app: AsgiApp | None,
    listener: Listener | None,
    background: Sequence[Background],
    tls: tuple[Path, Path] | None,
    started: Callable[[], None],
    beside: tuple[AsgiApp, Listener] | None,
    drain: Callable[[], None],
    drain_delay_s: float,
    has_relay: bool,
) -> int:
    told, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    teller = _Teller(told, loop.time)
    for number in _SIGNALS:
        loop.add_signal_handler(number, teller, number)
    tasks = [asyncio.create_task(work.run(stop)) for work in background]
    told_task = asyncio.create_task(told.wait())
    watched: set[asyncio.Task[Any]] = {told_task, *tasks}
    server: _Server | None = None
    side: _Server | None = None
    sides: set[asyncio.Task[Any]] = set()
    if beside is not None:
        side = _server(beside[0], None)
        sides.add(asyncio.create_task(side.serve(sockets=[beside[1].socket])))
        watched |= sides
        await _listening(side, watched)
    if app is not None and listener is not None:
        server = _server(app, tls, has_relay=has_relay)
        watched.add(asyncio.create_task(server.serve(sockets=[listener.socket])))
        await _listening(server, watched)
    if not any(task.done() for task in watched):
        started()
    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    was_told = told_task.done()
    told_task.cancel()
    watched -= {told_task, *tasks, *sides}
    drain()
    if was_told and server is not None:
        await asyncio.sleep(drain_delay_s)
    if server is not None:
        # The port first, so that what comes in late still finds the rest at work.
        server.should_exit = True
        await asyncio.wait(watched)
    stop.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    if side is not None:
        side.should_exit = True
    results = await asyncio.gather(*tasks, *watched, *sides, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        log.error("stopped by an error", exc_info=error)
    if not was_told and not errors:
        log.error("stopped: work that should run on has ended by itself")
    return Exit.OK if was_told and not errors else Exit.FAILED


async def _listening(server: _Server, watched: set[asyncio.Task[Any]]) -> None:
    """Returns when it listens, or when something has ended that should run on."""
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({listening, *watched}, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()


class _Teller:
    """Hears signals: the first sets `told`, a later one ends the process."""

    def __init__(self, told: asyncio.Event, now_s: Callable[[], float]) -> None:
        self._told = told
        self._now_s = now_s
        self._told_s = 0.0

    def __call__(self, number: int) -> None:
        name = signal.Signals(number).name
        if not self._told.is_set():
            log.info("%s: stopping; once more ends it at once", name)
            self._told_s = self._now_s()
            self._told.set()
        elif self._now_s() - self._told_s > SAME_STOP_S:
            log.warning("%s again: ending at once; what was under way is taken up at the next start", name)
            os._exit(Exit.INTERRUPTED)


def _server(app: AsgiApp, tls: tuple[Path, Path] | None, *, has_relay: bool = False) -> _Server:
    http: type[LimitedProtocol] = LimitedProtocol
    ws: type[asyncio.Protocol] | Literal["none"] = "none"
    if has_relay:
        # Not at the top: a process that only receives does without.
        from hookline.cli.relay_socket import RelayingProtocol, RelaySocket

        http, ws = RelayingProtocol, RelaySocket
    return _Server(
        uvicorn.Config(
            app,
            http=http,
            loop="uvloop",
            ws=ws,
            ws_max_size=frames.MOST_FROM_LISTENER_BYTES,
            # Bodies come in base64, one by one: a dictionary per connection costs more than it saves.
            ws_per_message_deflate=False,
            # So that proxies see traffic (nginx gives up after 60 s without), and a laptop that sleeps is noticed.
            ws_ping_interval=_PING_EVERY_S,
            ws_ping_timeout=_PING_EVERY_S,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Who the caller is, is the door's question (HOOKLINE_TRUSTED_PROXIES), asked of the real peer.
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=DRAIN_S,
            ssl_certfile=str(tls[0]) if tls else None,
            ssl_keyfile=str(tls[1]) if tls else None,
        )
    )
