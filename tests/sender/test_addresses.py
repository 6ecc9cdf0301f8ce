"""One table of places that a delivery must not reach, asked of both doors: where a URL is saved, where it is dialled.

Saving is one look, at what was written and where its name leads at the time. Dialling asks again each time, and a
refusal there means that no socket was connected, which Python's own audit events show.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from hookline.errors import RequestError
from hookline.rules.address import vet_ip
from hookline.sender.http import Request
from hookline.sender.http_aiohttp import AiohttpExchange
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.sender.targets import TargetCheck
from hookline.testing.sink import Sink
from tests.rules.test_address import FORBIDDEN

PUBLIC = "93.184.216.34"


def _literal(address: str) -> str:
    return f"https://[{address}]/" if ":" in address else f"https://{address}/"


# What is written as an address, in each form that some client reads as one.
WRITTEN = [
    *(_literal(address) for address, _ in FORBIDDEN),
    "https://127.0.0.1:8443/",
    "https://127.0.0.1./",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0177.0x0.0.1/",
    "https://0/",
    "https://169.254.43518/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[::ffff:0a00:1]/",
    "https://[0:0:0:0:0:ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[2002:a9fe:a9fe::]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://%31%32%37.0.0.1/",
    "https://１２７.０.０.１/",
    "https://①②⑦.0.0.1/",
    "https://127。0。0。1/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://metadata.google.internal/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://[::1",
    "https://[::1]example.com/",
]
# Where an innocent name leads: one forbidden address, or one beside a public one.
LED = [
    *((address,) for address, _ in FORBIDDEN),
    (PUBLIC, "10.0.0.1"),
    ("::1", PUBLIC),
    ("fe80::1%eth0",),
    ("no address",),
]


def refuse(address: str) -> str | None:
    """As the sender asks of every address in production."""
    verdict = vet_ip(address)
    return None if verdict.allowed else verdict.message


_connected: list[Any] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _connected is not None and event == "socket.connect" and arguments[0].family != socket.AF_UNIX:
        _connected.append(arguments[1])


sys.addaudithook(_audit)  # it cannot be taken away again; outside `connected` it does nothing


@pytest.fixture
def connected() -> Iterator[list[Any]]:
    """What this process has connected to during the test."""
    global _connected
    _connected = []
    yield _connected
    _connected = None


def written_addresses(host: str) -> Sequence[str]:
    """What the system's resolver makes of what is written as a number; it asks no name server."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return ["127.0.0.1"]  # of a name like localhost
    return [str(info[4][0]) for info in found]


@pytest.mark.parametrize("url", WRITTEN)
def test_an_address_that_is_written_is_not_saved(url: str) -> None:
    """422 `invalid_url`, with the field's name."""
    with pytest.raises(RequestError) as refused:
        TargetCheck(lookup=written_addresses)(url, "production")

    assert (refused.value.status, refused.value.code) == (422, "invalid_url")
    assert [error["field"] for error in refused.value.errors or ()] == ["url"]


@pytest.mark.parametrize("addresses", LED)
def test_a_name_that_leads_there_is_not_saved(addresses: tuple[str, ...]) -> None:
    """One forbidden address among several is enough."""
    with pytest.raises(RequestError) as refused:
        TargetCheck(lookup=lambda _: addresses)("https://hooks.example.com/", "production")

    assert refused.value.code == "invalid_url"


@pytest.fixture(params=[HttptoolsExchange, AiohttpExchange])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def dial(make: Any, urls: Sequence[str], lookup: Any) -> list[str | None]:
    """How each of these requests failed."""

    async def work() -> list[str | None]:
        exchange = make(refuse=refuse, lookup=lookup)
        try:
            answers = [await exchange.send(Request(url, (), b"{}", 2.0, 2.0)) for url in urls]
        finally:
            await exchange.close()
        assert [answer.status for answer in answers] == [None] * len(answers)
        return [answer.error for answer in answers]

    return asyncio.run(work())


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_an_address_that_is_written_is_not_dialled(make: Any, connected: list[Any], scheme: str) -> None:
    """Were it saved all the same: no socket is connected, by whichever exchange."""

    async def lookup(host: str) -> Sequence[str]:
        return written_addresses(host)

    errors = dial(make, [url.replace("https", scheme, 1) for url in WRITTEN], lookup)

    strange = [(url, error) for url, error in zip(WRITTEN, errors, strict=True) if error not in _REFUSED]
    assert strange == []
    assert connected == []


_REFUSED = {"address_refused", "bad_url", "dns"}


@pytest.mark.parametrize("changed", LED)
def test_a_name_that_comes_to_lead_there_is_not_dialled(
    make: Any, connected: list[Any], changed: tuple[str, ...]
) -> None:
    """Saved while it led elsewhere: each dial looks at its addresses again, and dials one it has looked at."""
    TargetCheck(lookup=lambda _: [PUBLIC])("https://hooks.example.com/", "production")

    async def lookup(_host: str) -> Sequence[str]:
        return changed

    assert set(dial(make, ["https://hooks.example.com/"], lookup)) <= _REFUSED
    assert connected == []


def test_a_connection_would_be_seen(make: Any, connected: list[Any]) -> None:
    """What is allowed is connected to, and shows among the audit events that are empty above."""

    async def work() -> tuple[int | None, int]:
        async with Sink() as sink:
            exchange = make(refuse=lambda _: None, lookup=None)
            answer = await exchange.send(Request(sink.url("/"), (), b"{}", 2.0, 2.0))
            await exchange.close()
            return answer.status, sink.port

    status, port = asyncio.run(work())

    assert status == 200
    assert connected == [("127.0.0.1", port)]


def test_the_table_is_as_long_as_was_promised() -> None:
    """Sixty places, each asked of both doors."""
    assert len(set(WRITTEN)) >= 60
    assert len(set(LED)) >= 50
