"""`hookline listen`: deliveries to an app on this machine, over a relay, without a tunnel or a public URL."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from hookline.cli import Exit
from hookline.cli.api_client import HERE, KEYS, Place, segment, sender_api
from hookline.cli.listen_flags import Ends, EnvFile, Line, Reach, Resigning, What
from hookline.cli.listen_run import Output, Showing, View, exit_code, forwarder_to, output_of, run_listening
from hookline.cli.listen_workos import SourceMemory, poll_workos
from hookline.cli.parameters import AsJson
from hookline.cli.tables import print_json
from hookline.config import SETTINGS, Settings, checked, load
from hookline.errors import ConfigError, InvalidFrame, RequestError, ServerUnreachable

if TYPE_CHECKING:
    from hookline.relay.client import Server
    from hookline.relay.following import Connect, Plan
    from hookline.relay.frames import Start
    from hookline.relay.listening import Feed

# A server reads the keys that there are at most so often (sender/keys.py).
_KEY_SEEN_S: Final = 6.0
# What flags come to when none is given.
_WHAT: Final = What()
_NOT_RESIGNED: Final = Resigning()
_NO_FILE: Final = EnvFile()
_ORDERLY: Final = Line()
_ENDLESS: Final = Ends()
_REACH: Final = Reach()


@dataclass(frozen=True, slots=True)
class _Target:
    """Where requests go, what signs them anew if anything does, and which environment they are of."""

    url: str
    secret: str | None = field(repr=False)
    environment: str


def listen(
    *,
    forward_to: str | None = None,
    from_: Annotated[Literal["hookline", "workos"], Parameter("--from")] = "hookline",
    what: What = _WHAT,
    resigning: Resigning = _NOT_RESIGNED,
    env_file: EnvFile = _NO_FILE,
    line: Line = _ORDERLY,
    record: Path | None = None,
    output: Output | None = None,
    ends: Ends = _ENDLESS,
    reach: Reach = _REACH,
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Bring events to an app on this machine: each posted as the sender would, bytes and headers as they are.

    The server keeps a secret and a place for each listener: what comes while nobody listens is offered the next time.
    Exit 0 where all that was sent was answered 2xx, or where q was pressed; 1 where not or where the server ended it; 4
    without a key.

    Parameters
    ----------
    forward_to:
        The app's URL, as localhost:8000/webhooks. Redirects are not followed; what comes while nobody listens there
        waits, and is delivered in order.
    from_:
        Whose events: those of a Hookline server; or those of WorkOS' Events API, polled with HOOKLINE_WORKOS_API_KEY
        (and HOOKLINE_WORKOS_BASE_URL) and signed on this machine with a secret that stays.
    record:
        Keep each request and its answer in this folder, for `hookline replay`.
    output:
        A full screen, a line each way, or NDJSON as with --json; by default the first on a terminal, and the second
        elsewhere.
    """
    from hookline.relay.forward import forward_url

    settings = load({"database_url": place.database_url})
    env_file.check()
    memory = SourceMemory.of(settings) if from_ == "workos" else None
    if env_file.print_secret or (env_file.write_env is not None and forward_to is None):
        name = what.listener()
        its_secret = _secret_of(place, name) if memory is None else memory.secret
        return _tell_secret(name, its_secret, env_file, as_json=as_json)
    if forward_to is None:
        raise ConfigError("--forward-to", "expected the app's URL, as localhost:8000/webhooks")
    shown = output_of(output, as_json=as_json)
    plan, url, secret = what.plan(waits=reach.wait), forward_url(forward_to), resigning.secret()
    showing = Showing(shown, ends.until(), line.fate(), record, env_file.app_secrets(settings))
    if memory is not None:
        env_file.write(memory.secret)
        return asyncio.run(poll_workos(memory, plan, url, secret, showing, reach))
    with _server(place, settings, plan.start.name) as server:
        root = f"{server.url}/dashboard/{place.env}/events/"
        showing = replace(showing, link=lambda event_id: root + segment(event_id))
        return asyncio.run(_listen(server, plan, _Target(url, secret, place.env), showing, reach, env_file))


async def _listen(
    server: Server, plan: Plan, target: _Target, showing: Showing, reach: Reach, env_file: EnvFile
) -> int:
    from hookline.cli.listen_view import Head
    from hookline.loop import SystemClock
    from hookline.relay.client import ChannelLost
    from hookline.relay.following import Following
    from hookline.relay.pipeline import Signing

    clock, name = SystemClock(), plan.start.name
    is_resigned = target.secret is not None
    head = Head(server.url, target.environment, target.url, plan.start.events, name, is_resigned)
    jitter = random.Random()  # noqa: S311 - of when to come back
    async with forwarder_to(target.url, reach.timeout) as forwarder, _connector(server, reach, env_file) as connect:

        def feed(view: View, signing: Signing) -> Feed:
            return Following(plan, connect, signing, watcher=view, clock=clock, rng=jitter)

        try:
            outcome = await run_listening(feed, forwarder, Signing(app_secret=target.secret), head, showing, clock)
        except (ChannelLost, InvalidFrame) as error:
            raise ServerUnreachable(
                f"cannot reach {server.url}, which {server.origin} names: {error}. Does `hookline serve` run there?"
            ) from None
    return exit_code(outcome, name, as_json=showing.output == "json")


@asynccontextmanager
async def _connector(server: Server, reach: Reach, env_file: EnvFile) -> AsyncIterator[Connect]:
    import aiohttp

    from hookline.relay.client import CONNECT_TIMEOUT_S, Channel, connect

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
    began_s, written = time.monotonic(), ""
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=1 << 20) as http:

        async def connected(start: Start) -> Channel:
            nonlocal written
            while True:
                try:
                    channel = await connect(http, server, start, ways=reach.ways())
                except RequestError as error:
                    is_unknown_yet = server.is_new_key and time.monotonic() - began_s < _KEY_SEEN_S
                    if error.status != 401 or not is_unknown_yet:
                        raise
                    await asyncio.sleep(0.5)
                else:
                    if channel.hello.secret != written:
                        written = channel.hello.secret
                        env_file.write(written)
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

    variable = SETTINGS[KEYS[place.env]].variable
    key: str | None = settings[KEYS[place.env]]
    named = settings.resolved["url"] if place.url is None else checked(SETTINGS["url"], place.url, "--url")
    if named.value is not None:
        if key is None:
            told = f"{variable} is not set: a server is asked with the API key of {place.env}"
            raise RequestError(401, "not_logged_in", told)
        yield Server(named.value, named.origin, key)
        return
    url = settings.serve().url_here
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


def _secret_of(place: Place, name: str) -> str:
    """The listener's secret, the listener being made where there is none."""
    with sender_api(place) as api:
        path = f"/api/v1/listeners/{segment(name)}"
        api.put(path, None)
        return str(api.post(f"{path}/reveal_secret")["secret"])


def _tell_secret(name: str, secret: str, env_file: EnvFile, *, as_json: bool) -> int:
    """Print the secret, or write it, without listening."""
    env_file.write(secret)
    if env_file.print_secret:
        if as_json:
            print_json({"listener": name, "secret": secret})
        else:
            print(secret)
    return Exit.OK
