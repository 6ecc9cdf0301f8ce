"""`hookline listen`: deliveries to an app on this machine, over a relay, without a tunnel or a public URL."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from hookline.cli import Exit, fail, may_ask
from hookline.cli.api_client import HERE, Place, segment, sender_api
from hookline.cli.listen_flags import Ends, EnvFile, Reach, Resigning, What
from hookline.cli.parameters import AsJson
from hookline.cli.tables import print_json
from hookline.config import SETTINGS, Settings, checked, load
from hookline.errors import ConfigError, InvalidFrame, RequestError, ServerUnreachable

if TYPE_CHECKING:
    from hookline.cli.listen_view import JsonView, LinesView
    from hookline.relay.client import Server
    from hookline.relay.following import Connect, Plan
    from hookline.relay.forward import Forwarder
    from hookline.relay.frames import Start
    from hookline.relay.listening import Outcome, Until

Output: TypeAlias = Literal["compact", "json"]

_KEYS: Final = {"production": "api_key", "staging": "staging_api_key"}
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - looked for, not bound
# A server reads the keys that there are at most so often (sender/keys.py).
_KEY_SEEN_S: Final = 6.0
# What flags come to when none is given.
_WHAT: Final = What()
_NOT_RESIGNED: Final = Resigning()
_NO_FILE: Final = EnvFile()
_ENDLESS: Final = Ends()
_REACH: Final = Reach()


@dataclass(frozen=True, slots=True)
class _Setup:
    """What the flags come to."""

    server: Server
    plan: Plan
    forward: str
    app_secret: str | None = field(repr=False)
    environment: str
    output: Output
    until: Until


def listen(
    *,
    forward_to: str | None = None,
    what: What = _WHAT,
    resigning: Resigning = _NOT_RESIGNED,
    env_file: EnvFile = _NO_FILE,
    output: Output | None = None,
    ends: Ends = _ENDLESS,
    reach: Reach = _REACH,
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Bring events to an app on this machine: each posted as the sender would, bytes and headers as they are.

    The server keeps a secret and a place for each listener: what comes while nobody listens is offered the next time.
    Exit 0 where all that was sent was answered 2xx, 1 where not or where the server ended it, 4 without a key.

    Parameters
    ----------
    forward_to:
        The app's URL, as localhost:8000/webhooks. Redirects are not followed; what comes while nobody listens there
        waits, and is delivered in order.
    output:
        A line each way, or NDJSON as with --json.
    """
    from hookline.relay.forward import forward_url

    settings = load({"database_url": place.database_url})
    env_file.check()
    if env_file.print_secret or (env_file.write_env is not None and forward_to is None):
        return _tell_secret(place, what.listener(), env_file, as_json=as_json)
    if forward_to is None:
        raise ConfigError("--forward-to", "expected the app's URL, as localhost:8000/webhooks")
    url, plan, until, secret = (
        forward_url(forward_to),
        what.plan(waits=reach.wait),
        ends.until(),
        resigning.secret(),
    )
    as_json = as_json or output == "json"
    with _server(place, settings, plan.start.name) as server:
        setup = _Setup(server, plan, url, secret, place.env, "json" if as_json else "compact", until)
        return asyncio.run(_listen(setup, reach, env_file, as_json=as_json))


async def _listen(setup: _Setup, reach: Reach, env_file: EnvFile, *, as_json: bool) -> int:
    from hookline.loop import SystemClock
    from hookline.relay.client import ChannelLost
    from hookline.relay.following import Following
    from hookline.relay.listening import Listening
    from hookline.relay.pipeline import Pipeline, Signing

    server, clock, signing = setup.server, SystemClock(), Signing(app_secret=setup.app_secret)
    async with AsyncExitStack() as opened:
        forwarder = await opened.enter_async_context(_forwarder(setup.forward, reach.timeout))
        connect = await opened.enter_async_context(_connector(server, reach, env_file))
        view = await _view(setup, forwarder)
        jitter = random.Random()  # noqa: S311 - of when to come back
        feed = Following(setup.plan, connect, signing, watcher=view, clock=clock, rng=jitter)
        pipeline = Pipeline(forwarder, signing, watcher=view, answered=feed.answered, clock=clock)
        listening = Listening(feed, pipeline, clock=clock, until=setup.until)
        with _ended_by_signals(listening.quit):
            try:
                outcome = await listening.run()
            except (ChannelLost, InvalidFrame) as error:
                raise ServerUnreachable(
                    f"cannot reach {server.url}, which {server.origin} names: {error}. Does `hookline serve` run there?"
                ) from None
        view.ended(outcome)
        return _code(outcome, setup.plan.start.name, as_json=as_json)


async def _view(setup: _Setup, forwarder: Forwarder) -> LinesView | JsonView:
    from hookline.cli.listen_view import Head, JsonView, LinesView

    if setup.output == "json":
        return JsonView()
    start = setup.plan.start
    head = Head(setup.server.url, setup.environment, setup.forward, start.events, start.name)
    return LinesView(head, is_up=await forwarder.is_up(), can_ask=may_ask())


def _code(outcome: Outcome, name: str, *, as_json: bool) -> int:
    """What the command leaves its caller with."""
    if outcome.bye is None:
        if outcome.ending == "quit":
            return Exit.INTERRUPTED
        return Exit.FAILED if outcome.totals.failed else Exit.OK
    reason, told, code = outcome.bye.reason, outcome.bye.message, Exit.FAILED
    if reason == "elsewhere":
        told = f"{name} listens elsewhere now: {told}"
    elif reason == "revoked":
        code = Exit.NOT_LOGGED_IN
    return fail(reason, told, code, as_json=as_json)


@contextmanager
def _ended_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end it in good order: what was answered is told, the terminal is as it was."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, or not the main thread
        for number in numbers:
            loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            for number in numbers:
                loop.remove_signal_handler(number)


@asynccontextmanager
async def _forwarder(url: str, timeout_s: float) -> AsyncIterator[Forwarder]:
    from hookline.relay.forward import Forwarder
    from hookline.sender.http_httptools import HttptoolsExchange

    # The developer's own machine, or whatever they name: there is nothing to be kept from.
    exchange = HttptoolsExchange(refuse=lambda _: None)
    try:
        yield Forwarder(url, exchange, timeout_s=timeout_s)
    finally:
        await exchange.close()


@asynccontextmanager
async def _connector(server: Server, reach: Reach, env_file: EnvFile) -> AsyncIterator[Connect]:
    import aiohttp

    from hookline.relay.client import CONNECT_TIMEOUT_S, Channel, connect

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
    began_s = time.monotonic()
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=1 << 20) as http:

        async def connected(start: Start) -> Channel:
            while True:
                try:
                    channel = await connect(http, server, start, ways=reach.ways())
                except RequestError as error:
                    is_unknown_yet = server.is_new_key and time.monotonic() - began_s < _KEY_SEEN_S
                    if error.status != 401 or not is_unknown_yet:
                        raise
                    await asyncio.sleep(0.5)
                else:
                    env_file.write(channel.hello.secret)
                    return channel

        yield connected


# -- the server --------------------------------------------------------------------------------------------------


@contextmanager
def _server(place: Place, settings: Settings, name: str) -> Iterator[Server]:
    """The server to listen at: the one that is named, or `hookline serve` on this machine.

    The latter, where no key is set, is asked with one that is made for as long as this runs, in the database that both
    share.
    """
    from hookline.relay.client import Server

    variable = SETTINGS[_KEYS[place.env]].variable
    key: str | None = settings[_KEYS[place.env]]
    named = settings.resolved["url"] if place.url is None else checked(SETTINGS["url"], place.url, "--url")
    if named.value is not None:
        if key is None:
            told = f"{variable} is not set: a server is asked with the API key of {place.env}"
            raise RequestError(401, "not_logged_in", told)
        yield Server(named.value, named.origin, key)
        return
    host = "127.0.0.1" if settings["host"] in _EVERYWHERE else settings["host"]
    scheme = "http" if settings["tls_cert"] is None else "https"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings['port']}"
    origin = settings.resolved["port"].origin
    origin = "the default of HOOKLINE_PORT" if origin == "default" else origin
    if key is not None:
        yield Server(url, origin, key)
        return
    here = Place(env=place.env, database_url=place.database_url)
    try:
        with sender_api(here) as api:
            made = api.post("/api/v1/api_keys", {"name": f"listen {name}"})
    except ConfigError as error:
        raise RequestError(401, "not_logged_in", f"{variable} is not set, and {error}") from None
    try:
        yield Server(url, origin, made["key"], is_new_key=True)
    finally:
        with sender_api(here) as api:
            api.delete(f"/api/v1/api_keys/{segment(made['id'])}")


def _tell_secret(place: Place, name: str, env_file: EnvFile, *, as_json: bool) -> int:
    """Print the secret, or write it, without listening."""
    with sender_api(place) as api:
        path = f"/api/v1/listeners/{segment(name)}"
        api.put(path, {})
        secret = str(api.post(f"{path}/reveal_secret")["secret"])
    env_file.write(secret)
    if env_file.print_secret:
        if as_json:
            print_json({"listener": name, "secret": secret})
        else:
            print(secret)
    return Exit.OK
