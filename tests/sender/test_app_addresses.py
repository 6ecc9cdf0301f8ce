"""The guard, the certificate check and the egress proxy, from the settings through the app to the wire and back.

What is asked here of a delivery is asked of a test event too: each has an exchange of its own. What counts as an
address that must not be called is the table of test_addresses.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from hookline.cli.sender_app import sender_of
from hookline.config import load
from hookline.errors import ConfigError
from hookline.sender.app import SenderApp
from hookline.sender.http_aiohttp import AiohttpExchange
from hookline.storage import Database, connect
from hookline.testing.authority import Authority
from hookline.testing.sink import Sink

from .conftest import LIVE_KEY, Answer, Client
from .test_addresses import connected
from .test_http_httptools import running_proxy

__all__ = ["connected"]  # the fixture

HOST: Final = "hooks.example.com"
ALLOWED: Final = "127.0.0.1/32"
EVENT: Final = {"event": "dsync.user.created", "data": {"id": "directory_user_1"}}


class Names:
    """The name server of this test: which addresses a name has, the n-th time it is asked; the last answer stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {HOST: [["127.0.0.1"]]}
        self.asked: list[str] = []

    def __call__(self, host: str, port: object, *args: Any, **options: Any) -> list[Any]:
        self.asked.append(host)
        known = self.answers.get(host)
        if known is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = known[0] if len(known) == 1 else known.pop(0)
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in addresses
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    return names


@pytest.fixture
def plain_database(tmp_path: Path) -> Iterator[Database]:
    database = connect(f"sqlite:///{tmp_path / 'sender.db'}")
    yield database
    database.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@dataclass(frozen=True)
class Outbound:
    """What became of a delivery and of a test event to the same place."""

    delivery: Mapping[str, Any]
    test: Mapping[str, Any]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter((self.delivery, self.test))


class Sending:
    """A running sender, spoken to as a client does, on the event loop of its sinks."""

    def __init__(self, app: SenderApp) -> None:
        self._client = Client(app)

    async def call(self, method: str, path: str, body: Any = None) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {LIVE_KEY}", "content-length": str(len(content))}
        return await self._client.ask(method, path, content, headers | {"content-type": "application/json"})

    async def endpoint(self, url: str) -> str:
        made = await self.call("POST", "/api/v1/endpoints", {"url": url, "events": ["*"]})
        assert made.status == 201, made.body
        endpoint_id: str = made.json["id"]
        return endpoint_id

    async def both(self, url: str) -> Outbound:
        """An event and a test event to an endpoint made for them: the first attempt at each, as it is stored."""
        endpoint_id = await self.endpoint(url)
        published = await self.call("POST", "/api/v1/events", EVENT)
        assert published.status == 201, published.body
        delivery = await self._attempted(endpoint_id)
        tested = await self.call("POST", f"/api/v1/endpoints/{endpoint_id}/test", {"event": EVENT["event"]})
        assert tested.status == 200, tested.body
        stored = await self.call("GET", f"/api/v1/deliveries/{tested.json['delivery']['id']}")
        assert stored.json["attempts"] == tested.json["attempts"]
        assert (await self.call("DELETE", f"/webhook_endpoints/{endpoint_id}")).status == 204
        return Outbound(delivery, stored.json["attempts"][0])

    async def _attempted(self, endpoint_id: str) -> Mapping[str, Any]:
        """The delivery's first attempt, once it is recorded; bounded by the test's own timeout."""
        while True:
            [delivery] = (await self.call("GET", f"/api/v1/deliveries?endpoint={endpoint_id}")).json["data"]
            shown = (await self.call("GET", f"/api/v1/deliveries/{delivery['id']}")).json
            if shown["attempts"]:
                first: Mapping[str, Any] = shown["attempts"][0]
                return first
            await asyncio.sleep(0.01)


Make = Callable[[Mapping[str, str]], contextlib.AbstractAsyncContextManager[Sending]]


@contextlib.asynccontextmanager
async def running(app: SenderApp) -> AsyncIterator[Sending]:
    stop = asyncio.Event()
    delivering = asyncio.create_task(app.run(stop))
    try:
        yield Sending(app)
    finally:
        stop.set()
        await delivering
        app.close()


def from_settings(database: Database, settings: Mapping[str, str]) -> SenderApp:
    """As `hookline serve` makes it."""
    environ = {"HOOKLINE_API_KEY": LIVE_KEY, **settings}
    return sender_of(load(environ=environ).sender(), database, makes_keys=False)


def with_aiohttp(database: Database, settings: Mapping[str, str]) -> SenderApp:
    """As an app of one's own makes it, with the other exchange."""
    config = load(environ=settings).sender()
    return SenderApp(
        database,
        api_keys={"production": LIVE_KEY},
        allowed_targets=config.allowed_targets or (),
        targets_ca=config.targets_ca,
        make_exchange=AiohttpExchange,
        makes_keys=False,
    )


@pytest.fixture(params=[from_settings, with_aiohttp])
def make(request: pytest.FixtureRequest, plain_database: Database) -> Make:
    return lambda settings: running(request.param(plain_database, settings))


@pytest.fixture
def make_default(plain_database: Database) -> Make:
    """Where the other exchange has no such thing."""
    return lambda settings: running(from_settings(plain_database, settings))


def recording(context: ssl.SSLContext, asked_for: list[str | None]) -> ssl.SSLContext:
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    return context


def allowing(authority: Authority, **more: str) -> dict[str, str]:
    return {"HOOKLINE_ALLOWED_TARGETS": ALLOWED, "HOOKLINE_TARGETS_CA": authority.ca_file, **more}


# -- who is at the other end -----------------------------------------------------------------------------------


def test_an_allowed_host_is_dialled_by_its_name(make: Make, names: Names, authority: Authority) -> None:
    """The checked address is dialled, the name is what TLS asks for and what the certificate is held against."""
    asked_for: list[str | None] = []

    async def work() -> tuple[Outbound, Sink]:
        context = recording(authority.server_context(HOST), asked_for)
        async with Sink(tls=context) as sink, make(allowing(authority)) as sending:
            return await sending.both(sink.url("/hooks", host=HOST)), sink

    made, sink = asyncio.run(work())

    assert [attempt["status"] for attempt in made] == [200, 200]
    assert [attempt["evidence"]["address"] for attempt in made] == [f"127.0.0.1:{sink.port}"] * 2
    assert [attempt["evidence"]["tls"] for attempt in made] == ["TLSv1.3"] * 2
    assert asked_for == [HOST, HOST]
    assert [seen.header("Host") for seen in sink.seen] == [f"{HOST}:{sink.port}"] * 2


def named_otherwise(authority: Authority) -> ssl.SSLContext:
    return authority.server_context("other.example.com")


def expired(authority: Authority) -> ssl.SSLContext:
    return authority.server_context(HOST, days=-1)


def self_signed(authority: Authority) -> ssl.SSLContext:
    return authority.self_signed_context(HOST)


@pytest.mark.parametrize(
    ("context", "says"), [(named_otherwise, "Hostname mismatch"), (expired, "expired"), (self_signed, "self-signed")]
)
def test_a_certificate_that_does_not_hold_is_refused(
    make: Make, names: Names, authority: Authority, context: Callable[[Authority], ssl.SSLContext], says: str
) -> None:
    """Nothing of the event is sent, and the attempt says what was wrong."""
    made, sink = asyncio.run(_refused(make, allowing(authority), context(authority)))

    for attempt in made:
        assert (attempt["outcome"], attempt["reason"], attempt["status"]) == ("failed", "tls", None)
        assert attempt["evidence"]["error"] == "tls"
        assert says in attempt["evidence"]["detail"]
    assert sink.seen == []


def test_an_authority_nobody_named_is_refused(make: Make, names: Names, authority: Authority) -> None:
    """The same server without HOOKLINE_TARGETS_CA."""
    settings = {"HOOKLINE_ALLOWED_TARGETS": ALLOWED}
    made, sink = asyncio.run(_refused(make, settings, authority.server_context(HOST)))

    for attempt in made:
        assert (attempt["outcome"], attempt["reason"]) == ("failed", "tls")
        assert "unable to get local issuer certificate" in attempt["evidence"]["detail"]
    assert sink.seen == []


async def _refused(make: Make, settings: Mapping[str, str], context: ssl.SSLContext) -> tuple[Outbound, Sink]:
    async with Sink(tls=context) as sink, make(settings) as sending:
        return await sending.both(sink.url(host=HOST)), sink


# -- where it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [["127.0.0.2"], ["10.0.0.7"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["127.0.0.1", "192.168.0.1"]],
    ids=lambda addresses: "+".join(addresses),
)
def test_a_name_that_changes_after_it_was_saved(
    make: Make, names: Names, authority: Authority, connected: list[Any], changed: list[str]
) -> None:
    """Only the allow list's network may be dialled, and one address beside it is enough for a no."""
    names.answers[HOST] = [["127.0.0.1"], changed]

    async def work() -> Outbound:
        async with make(allowing(authority)) as sending:
            return await sending.both(f"https://{HOST}/")

    made = asyncio.run(work())

    for attempt in made:
        assert (attempt["outcome"], attempt["reason"], attempt["status"]) == ("failed", "refused_address", None)
        assert changed[-1] in attempt["evidence"]["detail"]
        assert attempt["evidence"]["address"] is None
    assert connected == []


def test_a_name_that_changes_between_the_check_and_the_connection(
    make: Make, names: Names, authority: Authority, connected: list[Any]
) -> None:
    """Each dial asks once and dials what it was told then: who answers otherwise a moment later is not asked again."""
    inner, allowed = ["10.0.0.7"], ["127.0.0.1"]
    # Asked: when it is saved, by the delivery, by the test event.
    names.answers[HOST] = [allowed, allowed, allowed, inner]

    async def work() -> tuple[Outbound, int]:
        async with Sink(tls=authority.server_context(HOST)) as sink, make(allowing(authority)) as sending:
            return await sending.both(sink.url("/close-after", host=HOST)), sink.port

    made, port = asyncio.run(work())

    assert [attempt["status"] for attempt in made] == [200, 200]
    assert names.asked.count(HOST) == 3
    assert connected == [("127.0.0.1", port)] * 2


def test_an_address_that_leaves_the_allow_list(plain_database: Database, names: Names, connected: list[Any]) -> None:
    """A literal, saved under one configuration: a process with another says no, whatever was saved."""

    async def work() -> Outbound:
        async with running(from_settings(plain_database, {"HOOKLINE_ALLOWED_TARGETS": "127.0.0.2"})) as sending:
            await sending.endpoint("https://127.0.0.2:8443/")
        async with running(from_settings(plain_database, {"HOOKLINE_ALLOWED_TARGETS": ALLOWED})) as sending:
            [endpoint] = (await sending.call("GET", "/api/v1/endpoints")).json["data"]
            await sending.call("POST", "/api/v1/events", EVENT)
            delivery = await sending._attempted(endpoint["id"])
            tested = await sending.call("POST", f"/api/v1/endpoints/{endpoint['id']}/test", {"event": EVENT["event"]})
            return Outbound(delivery, tested.json["attempts"][0])

    for attempt in asyncio.run(work()):
        assert (attempt["outcome"], attempt["reason"]) == ("failed", "refused_address")
        assert "127.0.0.2" in attempt["evidence"]["detail"]
    assert connected == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer(
    make: Make, names: Names, authority: Authority, connected: list[Any], status: int
) -> None:
    """Recorded with its Location, never followed: not inward, not to the allowed host itself."""
    asyncio.run(_redirected(make, authority, connected, status))


async def _redirected(make: Make, authority: Authority, connected: list[Any], status: int) -> None:
    async with (
        Sink() as trap,
        Sink(tls=authority.server_context(HOST)) as sink,
        make(allowing(authority)) as sending,
    ):
        targets = [
            trap.url("/latest"),
            "http://169.254.169.254/latest/meta-data/",
            f"http://[::1]:{trap.port}/",
            f"//{HOST}:{sink.port}/elsewhere",
            "/elsewhere",
        ]
        for number, target in enumerate(targets):
            sink.raw[str(number)] = (
                f"HTTP/1.1 {status} Go\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            for attempt in await sending.both(sink.url(f"/raw/{number}", host=HOST)):
                assert (attempt["outcome"], attempt["reason"], attempt["status"]) == ("failed", "redirect", status)
                assert ["Location", target] in attempt["evidence"]["answer"]["headers"]
        assert trap.connections == 0
        assert {seen.path for seen in sink.seen} == {f"/raw/{number}" for number in range(len(targets))}
        assert len(sink.seen) == 2 * len(targets)
        assert set(connected) == {("127.0.0.1", sink.port)}


# -- what stands between ---------------------------------------------------------------------------------------

_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY")


def test_proxy_variables_have_no_effect(
    make: Make, names: Names, authority: Authority, connected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either case of letters: deliveries go where they are meant to."""

    async def work() -> tuple[Outbound, Sink, Sink]:
        async with Sink() as trap, Sink(tls=authority.server_context(HOST)) as sink:
            for variable in _VARIABLES:
                monkeypatch.setenv(variable, trap.url(""))
                monkeypatch.setenv(variable.lower(), trap.url(""))
            monkeypatch.setenv("NO_PROXY", "")
            async with make(allowing(authority)) as sending:
                return await sending.both(sink.url(host=HOST)), sink, trap

    made, sink, trap = asyncio.run(work())

    assert [attempt["status"] for attempt in made] == [200, 200]
    assert trap.connections == 0
    assert connected == [("127.0.0.1", sink.port)] * 2


def test_through_the_egress_proxy(
    make_default: Make, names: Names, authority: Authority, connected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for the checked address and TLS inside for the name; no variable leads around it."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", HOST)
    asked_for: list[str | None] = []

    async def work() -> tuple[Outbound, Sink, Any]:
        context = recording(authority.server_context(HOST), asked_for)
        async with Sink(tls=context) as sink, running_proxy() as proxy:
            settings = allowing(authority, HOOKLINE_EGRESS_PROXY_URL=f"http://us%20er:pass-word@127.0.0.1:{proxy.port}")
            async with make_default(settings) as sending:
                return await sending.both(sink.url(host=HOST)), sink, proxy

    made, sink, proxy = asyncio.run(work())

    assert [attempt["status"] for attempt in made] == [200, 200]
    assert [attempt["evidence"]["address"] for attempt in made] == [f"127.0.0.1:{sink.port}"] * 2
    assert asked_for == [HOST, HOST]
    assert [head.split("\r\n")[0] for head in proxy.heads] == [f"CONNECT 127.0.0.1:{sink.port} HTTP/1.1"] * 2
    assert "pass-word" not in json.dumps([dict(attempt) for attempt in made])
    # The sender's own connections lead to the proxy; the proxy, in this process too, makes those to the sink.
    assert connected.count(("127.0.0.1", proxy.port)) == 2
    assert connected.count(("127.0.0.1", sink.port)) == len(proxy.heads)


@pytest.mark.parametrize(("context", "says"), [(named_otherwise, "Hostname mismatch"), (self_signed, "self-signed")])
def test_a_certificate_is_checked_through_the_proxy(
    make_default: Make, names: Names, authority: Authority, context: Callable[[Authority], ssl.SSLContext], says: str
) -> None:
    """The tunnel stands, and who answers in it must still be who was meant."""

    async def work() -> tuple[Outbound, Sink]:
        async with Sink(tls=context(authority)) as sink, running_proxy() as proxy:
            settings = allowing(authority, HOOKLINE_EGRESS_PROXY_URL=f"http://127.0.0.1:{proxy.port}")
            async with make_default(settings) as sending:
                return await sending.both(sink.url(host=HOST)), sink

    made, sink = asyncio.run(work())

    for attempt in made:
        assert (attempt["outcome"], attempt["reason"]) == ("failed", "tls")
        assert says in attempt["evidence"]["detail"]
    assert sink.seen == []


@pytest.mark.parametrize("changed", ["127.0.0.2", "10.0.0.7", "169.254.169.254", "::1"])
def test_the_proxy_is_not_asked_for_what_is_refused(
    make_default: Make, names: Names, authority: Authority, connected: list[Any], changed: str
) -> None:
    """The guard comes first: no proxy is a way to an inner network."""
    names.answers[HOST] = [["127.0.0.1"], [changed]]

    async def work() -> tuple[Outbound, Sequence[str]]:
        async with running_proxy() as proxy:
            settings = allowing(authority, HOOKLINE_EGRESS_PROXY_URL=f"http://127.0.0.1:{proxy.port}")
            async with make_default(settings) as sending:
                return await sending.both(f"https://{HOST}/"), proxy.heads

    made, heads = asyncio.run(work())

    for attempt in made:
        assert (attempt["outcome"], attempt["reason"]) == ("failed", "refused_address")
        assert changed in attempt["evidence"]["detail"]
    assert heads == []
    assert connected == []


@pytest.mark.parametrize("content", ["no certificate", None], ids=["nonsense", "missing"])
def test_authorities_that_are_none_stop_the_start(
    plain_database: Database, tmp_path: Path, content: str | None
) -> None:
    """The setting is named, and the file."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"HOOKLINE_TARGETS_CA: .*ca\.pem"):
        SenderApp(plain_database, targets_ca=file)


def test_an_exchange_of_ones_own_passes_by_no_proxy(plain_database: Database) -> None:
    """Who names a proxy means it for everything: an exchange that would not use it stops the start."""
    with pytest.raises(ConfigError, match="make_exchange"):
        SenderApp(plain_database, egress_proxy_url="http://127.0.0.1:3128", make_exchange=AiohttpExchange)
