"""What holds of every `Exchange`, on real sockets: whatever a stranger does comes back as a value.

A second implementation joins by one more line in `EXCHANGES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from hookline.sender import http
from hookline.sender.http import (
    BODY_KEPT_BYTES,
    BODY_READ_BYTES,
    HEADERS_KEPT,
    Answer,
    Exchange,
    Method,
    Request,
    ThreadLookup,
    tls_context,
)
from hookline.sender.http_aiohttp import AiohttpExchange
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.testing.authority import Authority
from hookline.testing.sink import Sink, SinkRequest

T = TypeVar("T")
Make = Callable[..., Exchange]

NewLoop = Callable[[], asyncio.AbstractEventLoop]

#: How to make it, and on which event loop: `hookline serve` runs on uvloop, an app perhaps on asyncio's own.
EXCHANGES: dict[str, tuple[Make, NewLoop]] = {
    "aiohttp": (AiohttpExchange, asyncio.new_event_loop),
    "aiohttp-uvloop": (AiohttpExchange, uvloop.new_event_loop),
    "httptools": (HttptoolsExchange, asyncio.new_event_loop),
    "httptools-uvloop": (HttptoolsExchange, uvloop.new_event_loop),
}
#: aiohttp loses the status where junk follows the answer in the same packet, or where a long body is cut off by a
#: reset that comes with it.
OWN = pytest.mark.parametrize("make", ["httptools", "httptools-uvloop"], indirect=True)
#: uvloop's timers count whole milliseconds of a clock that it reads once a turn: they fire so much early at most.
EARLY_S = -0.001
_new_loop: NewLoop = asyncio.new_event_loop


@pytest.fixture(params=EXCHANGES)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    make, new_loop = EXCHANGES[request.param]
    monkeypatch.setattr(sys.modules[__name__], "_new_loop", new_loop)
    return make


def allow(address: str) -> str | None:
    return None


def only_loopback_one(address: str) -> str | None:
    return None if address == "127.0.0.1" else "not on the list"


@contextlib.asynccontextmanager
async def exchange_of(make: Make, **options: Any) -> AsyncIterator[Exchange]:
    exchange = make(**{"refuse": allow, **options})
    try:
        yield exchange
    finally:
        await exchange.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(work)


def a_request(url: str, body: bytes = b'{"id":"event_1"}', *, connect_s: float = 5.0, total_s: float = 5.0) -> Request:
    headers = (("Content-Type", "application/json"), ("User-Agent", "Hookline/test"), ("WorkOS-Signature", "t=1"))
    return Request(url, headers, body, connect_s, total_s)


def one(make: Make, path: str, *, total_s: float = 5.0) -> tuple[Answer, Sink]:
    """One request to a fresh sink."""

    async def work() -> tuple[Answer, Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            return await exchange.send(a_request(sink.url(path), total_s=total_s)), sink

    return run(work())


# -- what is sent ----------------------------------------------------------------------------------------------


def test_request_arrives_as_given(make: Make) -> None:
    """The body's bytes and the headers' exact case arrive; nothing is added but Host and Content-Length."""
    body = '{"name":"Zoë","n":1}'.encode()

    async def work() -> tuple[Answer, Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            return await exchange.send(a_request(sink.url("/in?a=%7Eb&c=d+e"), body)), sink

    answer, sink = run(work())

    assert answer.status == 200
    assert answer.error is None
    [seen] = sink.seen
    assert seen.body == body
    assert seen.path == "/in?a=%7Eb&c=d+e"
    names = [name for name, _ in seen.headers]
    assert "WorkOS-Signature" in names
    assert sorted(names) == ["Content-Length", "Content-Type", "Host", "User-Agent", "WorkOS-Signature"]
    assert sorted(answer.sent_headers) == sorted(seen.headers)
    assert answer.address == f"127.0.0.1:{sink.port}"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299, 301, 400, 404, 410, 429, 500, 503])
def test_status_comes_back(make: Make, status: int) -> None:
    """Every status is an answer, with its body where it has one."""
    answer, _ = one(make, f"/status/{status}")

    assert (answer.status, answer.error) == (status, None)
    assert answer.body == (b"" if status == 204 else b"noted")
    assert answer.body_end == "complete"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_methods_have_no_body(make: Make, method: Method) -> None:
    """Nothing of a body is sent; the length in the answer to a HEAD is of a body that does not come."""

    async def work() -> tuple[Answer, SinkRequest]:
        async with Sink() as sink, exchange_of(make) as exchange:
            sink.raw = {"GET": OK + b"Content-Length: 2\r\n\r\nhi", "HEAD": OK + b"Content-Length: 2\r\n\r\n"}
            url = sink.url(f"/raw-open/{method}")
            answer = await exchange.send(Request(url, (("X-A", "1"),), b"", 2.0, 2.0, method=method))
            return answer, sink.seen[0]

    answer, seen = run(work())

    assert (answer.status, answer.error, answer.body_end) == (200, None, "complete")
    assert answer.body == (b"hi" if method == "GET" else b"")
    assert (seen.method, [name for name, _ in seen.headers]) == (method, ["Host", "X-A"])


def test_redirect_is_not_followed(make: Make) -> None:
    """A redirect is an answer; its target is never called."""
    answer, sink = one(make, "/redirect/elsewhere")

    assert answer.status == 307
    assert ("Location", "/elsewhere") in answer.headers
    assert [seen.path for seen in sink.seen] == ["/redirect/elsewhere"]


def test_cookies_are_forgotten(make: Make) -> None:
    """What an endpoint sets in one answer is not carried to the next request."""

    async def work() -> Sink:
        async with Sink() as sink, exchange_of(make) as exchange:
            for _ in range(2):
                await exchange.send(a_request(sink.url("/odd-headers")))
            return sink

    sink = run(work())

    assert all(seen.header("Cookie") is None for seen in sink.seen)


def test_environment_proxies_are_ignored(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY does not lead deliveries anywhere."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    answer, _ = one(make, "/status/200")

    assert answer.status == 200


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "ftp://127.0.0.1/",
        "http://",
        "http://u:p@127.0.0.1/",
        "http://" + "a" * 64 + ".test/",
        "http://127.0.0.1/a b",
        "http://[::1",
    ],
)
def test_url_that_cannot_be_called(make: Make, url: str) -> None:
    """A URL we cannot call is an answer with its reason, and shows no password."""

    async def work() -> Answer:
        async with exchange_of(make) as exchange:
            return await exchange.send(a_request(url))

    answer = run(work())

    assert answer.error == "bad_url"
    assert "u:p" not in (answer.detail or "")


@pytest.mark.parametrize(
    "header",
    [
        ("X-A", "b\r\nX-Forged: yes"),
        ("X-A", "b\nX-Forged: yes"),
        ("X-A", "b\r"),
        ("X-A", "b\0"),
        ("X-A\r\nX-Forged", "yes"),
        ("X-A: b\r\nX-Forged", "yes"),
        ("X A", "b"),
        ("", "b"),
        ("X-A", "half \ud83d"),
        ("Content-Length", "3"),
        ("content-length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "elsewhere.test"),
        ("Connection", "upgrade"),
    ],
)
def test_header_that_would_be_two_is_not_sent(make: Make, header: tuple[str, str]) -> None:
    """What would end a line, the head or the message's own framing is refused before anything is dialled."""

    async def work() -> tuple[Answer, Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            return await exchange.send(Request(sink.url(), (("X-Good", "1"), header), b"{}")), sink

    answer, sink = run(work())

    assert (answer.status, answer.error) == (None, "local")
    assert "Forged: yes" not in (answer.detail or "")
    assert sink.connections == 0


def test_header_values_are_utf_8(make: Make) -> None:
    """A value beyond ASCII is sent as its UTF-8 bytes, a tab as itself, an empty one as nothing."""

    async def work() -> Sink:
        async with Sink() as sink, exchange_of(make) as exchange:
            await exchange.send(Request(sink.url(), (("X-A", "Zo\xeb\t\u20ac"), ("X-B", "")), b"{}"))
            return sink

    [seen] = run(work()).seen

    assert (seen.header("X-A") or "").encode("latin-1").decode() == "Zo\xeb\t\u20ac"
    assert seen.header("X-B") == ""


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000, 1_000_000])
def test_bodies_of_every_size_arrive(make: Make, size: int) -> None:
    """Long bodies arrive whole, and the connection serves on."""
    body = random.Random(size).randbytes(size)

    async def work() -> tuple[list[Answer], Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            return [await exchange.send(a_request(sink.url(), sent)) for sent in (body, b"short")], sink

    answers, sink = run(work())

    assert [seen.body == sent for seen, sent in zip(sink.seen, (body, b"short"), strict=True)] == [True, True]
    assert [answer.reused for answer in answers] == [False, True]
    assert sink.seen[0].header("Content-Length") == str(size)


@OWN
def test_answer_before_the_body_is_sent(make: Make) -> None:
    """An endpoint that refuses without reading is heard at once, and its connection is used no more."""

    async def work() -> tuple[list[Answer], Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            body = bytes(20_000_000)
            return [await exchange.send(a_request(sink.url("/early/413"), body)) for _ in range(2)], sink

    answers, sink = run(work())

    assert [(answer.status, answer.body, answer.body_end) for answer in answers] == [(413, b"noted", "complete")] * 2
    assert sink.connections == 2


@OWN
def test_endpoint_that_reads_nothing(make: Make) -> None:
    """A body that nobody takes ends with the total timeout."""

    async def work() -> Answer:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            async with exchange_of(make) as exchange:
                url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
                return await exchange.send(a_request(url, bytes(20_000_000), total_s=0.3))

    answer = run(work())

    assert (answer.status, answer.error) == (None, "timeout")


# -- connections -----------------------------------------------------------------------------------------------


def test_connection_is_reused(make: Make) -> None:
    """A second request to the same endpoint costs no second connection, and says so."""

    async def work() -> tuple[list[Answer], Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            return [await exchange.send(a_request(sink.url())) for _ in range(3)], sink

    answers, sink = run(work())

    assert sink.connections == 1
    assert [answer.reused for answer in answers] == [False, True, True]
    assert answers[0].timings.connect_ms is not None
    assert answers[1].timings.connect_ms is None
    assert {answer.address for answer in answers} == {f"127.0.0.1:{sink.port}"}


@pytest.mark.parametrize("fault", ["close", "reset"])
def test_reused_connection_that_breaks_is_redone_once(make: Make, fault: str) -> None:
    """A kept connection that ends before the first byte is no verdict: one try on a fresh one decides."""

    async def work() -> tuple[Answer, Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            await exchange.send(a_request(sink.url()))
            sink.expect(fault)
            return await exchange.send(a_request(sink.url())), sink

    answer, sink = run(work())

    assert (answer.status, answer.redone, answer.reused) == (200, True, False)
    assert [seen.connection for seen in sink.seen] == [1, 1, 2]


def test_connection_closed_while_idle(make: Make) -> None:
    """A peer that hangs up between two requests costs nothing but a new connection."""

    async def work() -> Answer:
        async with Sink() as sink, exchange_of(make) as exchange:
            sink.expect("close-after/200")
            await exchange.send(a_request(sink.url()))
            return await exchange.send(a_request(sink.url()))

    assert run(work()).status == 200


def test_redone_only_once(make: Make) -> None:
    """The fresh connection's end is the verdict."""

    async def work() -> tuple[Answer, Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            await exchange.send(a_request(sink.url()))
            sink.expect("close", "close", "status/200")
            return await exchange.send(a_request(sink.url())), sink

    answer, sink = run(work())

    assert (answer.error, answer.redone) == ("closed", True)
    assert len(sink.seen) == 3


def test_not_redone_after_the_first_byte(make: Make) -> None:
    """An answer begun and broken off on a kept connection may have been acted on: it is not asked again."""

    async def work() -> tuple[Answer, Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            await exchange.send(a_request(sink.url()))
            sink.expect("partial")
            return await exchange.send(a_request(sink.url())), sink

    answer, sink = run(work())

    assert (answer.error, answer.reused, answer.redone) == ("closed", True, False)
    assert len(sink.seen) == 2


def test_fresh_connection_is_not_redone(make: Make) -> None:
    """A connection made for this request and closed on it is the stranger's answer."""
    answer, sink = one(make, "/close")

    assert (answer.error, answer.redone) == ("closed", False)
    assert len(sink.seen) == 1


def test_answer_nobody_asked_for_is_not_taken(make: Make) -> None:
    """Bytes sent between two requests are not read as the second one's answer."""

    async def work() -> Answer:
        async with Sink() as sink, exchange_of(make) as exchange:
            await exchange.send(a_request(sink.url("/unasked")))
            await asyncio.sleep(0.2)
            return await exchange.send(a_request(sink.url("/status/500")))

    assert run(work()).status == 500


OK = b"HTTP/1.1 200 OK\r\n"


def from_raw(make: Make, *answers: bytes) -> tuple[list[Answer], Sink]:
    """One request after the other; each is answered with these bytes and the end of the connection."""

    async def work() -> tuple[list[Answer], Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            sink.raw = {str(number): data for number, data in enumerate(answers)}
            return [await exchange.send(a_request(sink.url(f"/raw/{number}"), total_s=2)) for number in sink.raw], sink

    return run(work())


@pytest.mark.parametrize(
    ("data", "status", "body", "end"),
    [
        pytest.param(OK + b"\r\nuntil the end", 200, b"until the end", "complete", id="until-eof"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old", "complete", id="http-1.0"),
        pytest.param(b"HTTP/1.0 202 OK\r\nContent-Length: 3\r\n\r\nold", 202, b"old", "complete", id="http-1.0-length"),
        pytest.param(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", "complete", id="close"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n4\r\n you\r\n0\r\nX-T: v\r\n\r\n",
            200,
            b"hi you",
            "complete",
            id="chunked-with-trailer",
        ),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", 200, b"hel", "broken", id="chunk-cut"),
        pytest.param(OK + b"Content-Length: 9\r\n\r\nshort", 200, b"short", "broken", id="length-too-long"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", "complete", id="no-reason"),
        pytest.param(b"HTTP/1.1 599 \xff\xfe\r\nContent-Length: 0\r\n\r\n", 599, b"", "complete", id="odd-reason"),
        pytest.param(OK + b"content-LENGTH:2 \r\n\r\nhi", 200, b"hi", "complete", id="odd-case"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            + OK
            + b"Content-Length: 2\r\n\r\nhi",
            200,
            b"hi",
            "complete",
            id="100-and-103",
        ),
    ],
)
def test_every_framing(make: Make, data: bytes, status: int, body: bytes, end: str) -> None:
    """A body ends by its length, by its chunks or with the connection, and what follows it is not part of it."""
    [answer], _ = from_raw(make, data)

    assert (answer.status, answer.error, answer.body, answer.body_end) == (status, None, body, end)
    assert all(name != "X-T" for name, _ in answer.headers)


@OWN
@pytest.mark.parametrize(
    ("data", "status", "body", "end"),
    [
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n you\r\n0\r\n\r\n",
            200,
            b"hi yo",
            "broken",
            id="chunk-longer-than-it-says",
        ),
        pytest.param(OK + b"Content-Length: 2\r\n\r\nhi there", 200, b"hi", "complete", id="length-too-short"),
        pytest.param(b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi", 204, b"", "complete", id="204-with-body"),
        pytest.param(b"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\nhi", 304, b"", "complete", id="304-with-body"),
        pytest.param(
            OK + b"Content-Length: 2\r\n\r\nhi" + OK + b"Content-Length: 2\r\n\r\nno", 200, b"hi", "complete", id="two"
        ),
    ],
)
def test_answer_ends_where_its_framing_says(make: Make, data: bytes, status: int, body: bytes, end: str) -> None:
    """What follows in the same packet takes nothing away from the answer before it."""
    [answer], _ = from_raw(make, data)

    assert (answer.status, answer.error, answer.body, answer.body_end) == (status, None, body, end)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(OK + b"Content-Length: -2\r\n\r\nhi", id="negative-length"),
        pytest.param(OK + b"Content-Length: +2\r\n\r\nhi", id="signed-length"),
        pytest.param(OK + b"Content-Length: 0x2\r\n\r\nhi", id="hex-length"),
        pytest.param(OK + b"Content-Length: 99999999999999999999999\r\n\r\nhi", id="huge-length"),
        pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", id="two-lengths"),
        pytest.param(OK + b"Content-Length: 2, 3\r\n\r\nhi!", id="listed-lengths"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n", id="chunked-and-length"
        ),
        pytest.param(b"<html>hello</html>", id="http-0.9"),
        pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", id="no-number"),
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", id="short-number"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="long-number"),
        pytest.param(b"ICY 200 OK\r\n\r\n", id="other-protocol"),
        pytest.param(b"220 mail.example ESMTP ready\r\n", id="smtp"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x50", id="tls-alert"),
        pytest.param(OK + b"X-A\r\n\r\n", id="no-colon"),
        pytest.param(OK + b"X-Nul: a\0b\r\nContent-Length: 0\r\n\r\n", id="nul"),
        pytest.param(OK + b"X A: b\r\n\r\n", id="blank-in-name"),
    ],
)
def test_answer_that_two_readers_could_read_differently(make: Make, data: bytes) -> None:
    """Framing that contradicts itself, and what is no HTTP at all, is no answer."""
    [answer], _ = from_raw(make, data)

    assert (answer.status, answer.error) == (None, "protocol")


@OWN
@pytest.mark.parametrize(
    "follows",
    [b"H", b"\0", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"x" * 5000, b" "],
)
def test_connection_that_says_more_than_the_answer_is_not_used_again(make: Make, follows: bytes) -> None:
    """What follows an answer in the same packet would be read as the next one's beginning."""

    async def work() -> tuple[list[Answer], Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            sink.raw = {"0": OK + b"Content-Length: 2\r\n\r\nhi" + follows}
            return [await exchange.send(a_request(sink.url(path))) for path in ("/raw-open/0", "/status/201")], sink

    answers, sink = run(work())

    assert [answer.status for answer in answers] == [200, 201]
    assert not answers[1].reused
    assert sink.connections == 2


# -- answers that are none -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/close", "closed"),
        ("/partial", "closed"),
        ("/reset", "reset"),
        ("/garbage", "protocol"),
        ("/long-header/100000", "headers_too_large"),
        ("/many-headers/5000", "headers_too_large"),
    ],
)
def test_fault_has_its_name(make: Make, path: str, error: str) -> None:
    """Each way of not answering has its own code and a sentence."""
    answer, _ = one(make, path)

    assert (answer.status, answer.error) == (None, error)
    assert answer.detail


@pytest.mark.parametrize("path", ["/hang", "/drip-headers", "/endless-informational"])
def test_total_timeout_is_exact(make: Make, path: str) -> None:
    """Headers that never end are cut at the total timeout, not rounded up, whatever drips meanwhile."""
    started = time.monotonic()
    answer, _ = one(make, path, total_s=0.3)
    took_s = time.monotonic() - started

    assert answer.error == "timeout"
    assert EARLY_S + 0.3 <= answer.timings.total_ms / 1000 < 0.6
    assert took_s < 1.5


@pytest.mark.parametrize("make", ["aiohttp"], indirect=True)
def test_timeouts_over_five_seconds_are_not_rounded(make: Make) -> None:
    """aiohttp rounds timeouts over 5 s up to whole seconds unless told otherwise; so this test takes 5.2 s."""
    answer, _ = one(make, "/hang", total_s=5.2)

    assert answer.error == "timeout"
    assert 5.2 <= answer.timings.total_ms / 1000 < 5.5


def test_success_is_in_the_headers(make: Make) -> None:
    """2xx headers in time are the answer even if the body drips until the deadline."""
    answer, _ = one(make, "/drip-body/202", total_s=0.3)

    assert (answer.status, answer.error, answer.body_end) == (202, None, "deadline")
    assert answer.body.strip(b"d") == b""
    assert 0 < len(answer.body) < 50


def test_giant_body_is_cut(make: Make) -> None:
    """Of an endless body 64 KiB are read and 16 KiB kept, and the connection is not read on."""
    answer, _ = one(make, "/endless-body")

    assert (answer.status, answer.body_end) == (200, "limit")
    assert len(answer.body) == BODY_KEPT_BYTES
    assert answer.body_bytes == BODY_READ_BYTES


def test_gzip_is_not_unpacked(make: Make) -> None:
    """A compressed body is kept as it came, so a bomb stays small."""
    answer, _ = one(make, "/gzip-bomb")

    assert answer.status == 200
    assert answer.body_bytes < BODY_READ_BYTES
    assert gzip.decompress(answer.body) == bytes(8_000_000)


@pytest.mark.parametrize("path", ["/cut-body", "/bad-chunks/0.05"])
def test_broken_body_leaves_the_status(make: Make, path: str) -> None:
    """A body cut short or badly framed changes nothing about the status that came before it."""
    answer, _ = one(make, path)

    assert (answer.status, answer.body_end) == (200, "broken")


def test_broken_body_in_the_headers_packet(make: Make) -> None:
    """Where the bad framing comes in the same packet as the headers, a client may have lost the status already."""
    answer, _ = one(make, "/bad-chunks/0")

    assert (answer.status, answer.body_end, answer.error) in [(200, "broken", None), (None, None, "protocol")]


def test_informational_answers_are_skipped(make: Make) -> None:
    """1xx answers, however many, are not the answer."""
    answer, _ = one(make, "/informational/200")

    assert answer.status == 200


def test_odd_header_bytes_become_text(make: Make) -> None:
    """Bytes that are no ASCII come back as the characters of the same number."""
    answer, _ = one(make, "/odd-headers")

    assert ("X-Latin", "caf\xe9 \xff") in answer.headers
    assert ("X-Utf8", "\xc3\xa9") in answer.headers


def test_control_bytes_in_headers_do_no_harm(make: Make) -> None:
    """A bell in a header is refused or kept as text; it breaks nothing."""
    answer, _ = one(make, "/odd-headers")

    assert (answer.status, answer.error) in [(200, None), (None, "protocol")]
    assert answer.error or ("X-Bell", "a\x07\x01b") in answer.headers


def test_many_headers_are_cut(make: Make) -> None:
    """As evidence the first headers suffice."""
    answer, _ = one(make, "/many-headers/100")

    assert answer.status == 200
    assert len(answer.headers) == HEADERS_KEPT


def test_nobody_listens(make: Make) -> None:
    """A closed port is named as such."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

        async def work() -> Answer:
            async with exchange_of(make) as exchange:
                return await exchange.send(a_request(f"http://127.0.0.1:{port}/"))

        answer = run(work())

    assert answer.error == "connect_refused"
    assert answer.address == f"127.0.0.1:{port}"


def test_connect_timeout_is_exact(make: Make) -> None:
    """A peer that takes no connection (its backlog is full) is given up after the connect timeout."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())

        async def work() -> Answer:
            async with exchange_of(make) as exchange:
                return await exchange.send(
                    a_request(f"http://127.0.0.1:{full.getsockname()[1]}/", connect_s=0.3, total_s=5)
                )

        answer = run(work())

    assert answer.error == "connect_timeout"
    assert EARLY_S + 0.3 <= answer.timings.total_ms / 1000 < 0.6


def broken_answers(count: int) -> list[bytes]:
    """A good answer, mutated in drawn places: bytes changed, cut out, doubled, cut off."""
    draw = random.Random(11)
    good = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nRetry-After: 5\r\n"
        b"Content-Length: 5\r\nConnection: keep-alive\r\nSet-Cookie: a=b; Max-Age=x\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    broken = []
    for _ in range(count):
        data = bytearray(good)
        for _ in range(draw.randrange(1, 6)):
            at = draw.randrange(len(data))
            match draw.randrange(4):
                case 0:
                    data[at] = draw.randrange(256)
                case 1:
                    del data[max(at, 1) : at + draw.randrange(1, 20)]
                case 2:
                    data[at:at] = data[at : at + draw.randrange(1, 60)] * draw.randrange(1, 40)
                case _:
                    del data[max(at, 1) :]
        broken.append(bytes(data))
    return broken


def test_mutilated_answers_are_values(make: Make) -> None:
    """Whatever bytes come back, the result is a status or a named error, and the text of it is JSON's."""

    async def work() -> list[Answer]:
        async with Sink() as sink, exchange_of(make) as exchange:
            sink.raw = {str(number): data for number, data in enumerate(broken_answers(400))}
            return await asyncio.gather(
                *(exchange.send(a_request(sink.url(f"/raw/{number}"), total_s=3)) for number in sink.raw)
            )

    answers = run(work())

    assert all((answer.status is None) != (answer.error is None) for answer in answers)
    assert {"protocol", "closed"} <= {answer.error for answer in answers}
    assert any(answer.status == 200 for answer in answers)
    json.dumps([answer.headers for answer in answers]).encode()


# -- addresses -------------------------------------------------------------------------------------------------


def names(**known: Sequence[str]) -> Callable[[str], Awaitable[Sequence[str]]]:
    """A lookup that knows these names, dots written as underscores."""

    async def lookup(host: str) -> Sequence[str]:
        addresses = known.get(host.replace(".", "_"))
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return addresses

    return lookup


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "[::ffff:127.0.0.1]"])
def test_literal_is_checked(make: Make, host: str) -> None:
    """An IP literal passes the same check as a name's addresses."""

    async def work() -> tuple[Answer, Sink]:
        async with Sink() as sink, exchange_of(make, refuse=only_loopback_one) as exchange:
            return await exchange.send(a_request(sink.url(host=host))), sink

    answer, sink = run(work())

    assert answer.error == "address_refused"
    assert "not on the list" in (answer.detail or "")
    assert sink.connections == 0


def test_every_address_of_a_name_is_checked(make: Make) -> None:
    """A name with one good and one refused address is not called at all."""

    async def work() -> tuple[Answer, Sink]:
        lookup = names(mixed_test=["127.0.0.1", "169.254.169.254"])
        async with Sink() as sink, exchange_of(make, refuse=only_loopback_one, lookup=lookup) as exchange:
            return await exchange.send(a_request(sink.url(host="mixed.test"))), sink

    answer, sink = run(work())

    assert answer.error == "address_refused"
    assert sink.connections == 0


@pytest.mark.parametrize("host", ["0x7f.2", "2130706434", "0177.0.0.2", "127.2"])
def test_numbers_in_disguise_are_checked(make: Make, host: str) -> None:
    """Old spellings of an IPv4 address do not slip past: refused as URL, as name or as the address they mean."""

    async def work() -> Answer:
        async with Sink() as sink, exchange_of(make, refuse=only_loopback_one) as exchange:
            return await exchange.send(a_request(sink.url(host=host)))

    assert run(work()).error in ("bad_url", "address_refused", "dns")


def test_name_that_changes_its_answer(make: Make) -> None:
    """DNS is asked for each new connection, and a name that turned to a forbidden address is refused."""
    answers = [["127.0.0.1"], ["10.0.0.7"]]

    async def lookup(host: str) -> Sequence[str]:
        return answers.pop(0)

    async def work() -> list[Answer]:
        async with Sink() as sink, exchange_of(make, refuse=only_loopback_one, lookup=lookup) as exchange:
            url = sink.url("/close", host="turning.test")
            return [await exchange.send(a_request(url)) for _ in range(2)]

    first, second = run(work())

    assert first.error == "closed"
    assert second.error == "address_refused"


def test_name_unknown(make: Make) -> None:
    """A name without address is named as such, without the connection ever tried."""

    async def work() -> Answer:
        async with exchange_of(make, lookup=names()) as exchange:
            return await exchange.send(a_request("http://nowhere.test/"))

    answer = run(work())

    assert (answer.error, answer.address) == ("dns", None)


def test_name_server_that_hangs(make: Make) -> None:
    """A lookup that never ends is cut by the connect timeout."""

    async def lookup(host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async def work() -> Answer:
        async with exchange_of(make, lookup=lookup) as exchange:
            return await exchange.send(a_request("http://slow.test/", connect_s=0.2))

    answer = run(work())

    assert answer.error == "connect_timeout"
    assert "resolving" in (answer.detail or "")


def test_system_resolver() -> None:
    """The default lookup knows this machine's name for itself."""

    async def work() -> Sequence[str]:
        lookup = ThreadLookup()
        try:
            return await lookup("localhost")
        finally:
            lookup.close()

    found = run(work())

    assert found
    assert set(found) <= {"127.0.0.1", "::1"}


def test_a_name_asked_twice_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many attempts at one hanging name hold one thread, and one that gives up leaves the others waiting."""
    asked: list[str] = []
    go = threading.Event()

    def slowly(host: str) -> list[str]:
        asked.append(host)
        go.wait(5)
        return ["192.0.2.7"]

    monkeypatch.setattr(http, "_addresses", slowly)

    async def work() -> list[Any]:
        lookup = ThreadLookup()
        waiting = [asyncio.ensure_future(lookup("slow.test")) for _ in range(50)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0.01)
        go.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        again = await lookup("slow.test")
        lookup.close()
        return [*found, again]

    gave_up, *found = run(work())

    assert isinstance(gave_up, asyncio.CancelledError)
    assert found == [["192.0.2.7"]] * 50
    assert asked == ["slow.test"] * 2


def test_second_address_is_tried(make: Make) -> None:
    """A name whose first address refuses the connection is reached at its second."""

    async def work() -> tuple[Answer, Sink]:
        lookup = names(two_test=["127.0.0.9", "127.0.0.1"])
        async with Sink() as sink, exchange_of(make, lookup=lookup) as exchange:
            return await exchange.send(a_request(sink.url(host="two.test"))), sink

    answer, sink = run(work())

    assert answer.status == 200
    assert answer.address == f"127.0.0.1:{sink.port}"


# -- TLS -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


def over_tls(
    make: Make,
    authority: Authority,
    *,
    cert: str = "sink.test",
    days: int = 30,
    asked_for: list[str | None] | None = None,
) -> Answer:
    """One request to `https://sink.test`; the names that the handshake asked for go to `asked_for`."""

    async def work() -> Answer:
        context = authority.server_context(cert, days=days)
        if asked_for is not None:
            context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
        lookup = names(sink_test=["127.0.0.1"])
        async with (
            Sink(tls=context) as sink,
            exchange_of(make, tls=tls_context(authority.ca_file), lookup=lookup) as exchange,
        ):
            return await exchange.send(a_request(sink.url("/status/200", host="sink.test")))

    return run(work())


def test_tls_with_the_name_as_sni(make: Make, authority: Authority) -> None:
    """The checked address is dialled and the certificate is checked against the name."""
    asked_for: list[str | None] = []
    answer = over_tls(make, authority, asked_for=asked_for)

    assert asked_for == ["sink.test"]
    assert answer.status == 200
    assert answer.tls == "TLSv1.3"
    assert (answer.address or "").startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("cert", "days", "says"),
    [("other.test", 30, "Hostname mismatch"), ("sink.test", -1, "expired")],
)
def test_tls_certificate_that_does_not_hold(make: Make, authority: Authority, cert: str, days: int, says: str) -> None:
    """A certificate for another name, or an expired one, is refused with its reason."""
    answer = over_tls(make, authority, cert=cert, days=days)

    assert answer.error == "tls"
    assert says in (answer.detail or "")


def test_tls_self_signed(make: Make, authority: Authority) -> None:
    """A certificate that vouches for itself does not hold."""

    async def work() -> Answer:
        async with Sink(tls=authority.self_signed_context("127.0.0.1")) as sink, exchange_of(make) as exchange:
            return await exchange.send(a_request(sink.url()))

    answer = run(work())

    assert answer.error == "tls"
    assert "self-signed" in (answer.detail or "")


def test_tls_connection_is_reused(make: Make, authority: Authority) -> None:
    """A kept TLS connection costs no second handshake; a long body passes through it both ways."""

    async def work() -> tuple[list[Answer], Sink]:
        context = authority.server_context("127.0.0.1")
        async with (
            Sink(tls=context) as sink,
            exchange_of(make, tls=tls_context(authority.ca_file)) as exchange,
        ):
            return [await exchange.send(a_request(sink.url(), bytes(size))) for size in (5, 1_000_000, 5)], sink

    answers, sink = run(work())

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [answer.reused for answer in answers] == [False, True, True]
    assert [answer.tls for answer in answers] == ["TLSv1.3"] * 3
    assert [len(seen.body) for seen in sink.seen] == [5, 1_000_000, 5]


def test_plain_spoken_to_a_tls_server(make: Make, authority: Authority) -> None:
    """Plain HTTP to a TLS port ends with a name for it, never with an answer."""

    async def work() -> Answer:
        async with Sink(tls=authority.server_context("127.0.0.1")) as sink, exchange_of(make) as exchange:
            return await exchange.send(a_request(sink.url().replace("https:", "http:"), total_s=2))

    assert run(work()).error in ("closed", "reset", "protocol")


@pytest.mark.parametrize("phase", ["at-once", "after-hello"])
def test_peer_that_resets_the_handshake(make: Make, phase: str) -> None:
    """A connection that breaks while TLS is agreed on was never one."""

    async def work() -> Answer:
        async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if phase == "after-hello":
                await reader.read(64)
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        server = await asyncio.start_server(slam, "127.0.0.1", 0)
        async with server, exchange_of(make) as exchange:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            return await exchange.send(a_request(url, total_s=2))

    answer = run(work())

    assert answer.error in ("connect_failed", "tls")
    assert answer.detail


def test_handshake_that_hangs(make: Make) -> None:
    """A peer that takes the connection and says nothing is given up after the connect timeout."""

    async def work() -> Answer:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            async with exchange_of(make) as exchange:
                url = f"https://127.0.0.1:{mute.getsockname()[1]}/"
                return await exchange.send(a_request(url, connect_s=0.3))

    assert run(work()).error == "connect_timeout"


def test_tls_unknown_authority(make: Make, authority: Authority) -> None:
    """Without the custom authority its certificates do not hold."""

    async def work() -> Answer:
        context = authority.server_context("127.0.0.1")
        async with Sink(tls=context) as sink, exchange_of(make) as exchange:
            return await exchange.send(a_request(sink.url()))

    assert run(work()).error == "tls"


def test_tls_to_a_plain_server(make: Make) -> None:
    """TLS spoken to a server that does not is a TLS error."""

    async def work() -> Answer:
        async with Sink() as sink, exchange_of(make) as exchange:
            url = sink.url().replace("http:", "https:")
            return await exchange.send(a_request(url, total_s=1, connect_s=1))

    assert run(work()).error in ("tls", "connect_timeout", "connect_failed")


def test_one_context_per_process() -> None:
    """A TLS context is made once, not once per endpoint (18 ms each)."""
    assert tls_context() is tls_context()


# -- cancellation, many at once -------------------------------------------------------------------


def test_cancellation_is_clean(make: Make) -> None:
    """A cancelled request ends at once, closes its connection and leaves the exchange usable."""

    async def work() -> tuple[int, Answer]:
        async with Sink() as sink, exchange_of(make) as exchange:
            arrived = asyncio.Event()

            async def note(_: object) -> None:
                arrived.set()

            sink.before = note
            task = asyncio.create_task(exchange.send(a_request(sink.url("/hang"))))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return sink.connections, await exchange.send(a_request(sink.url("/status/200")))

    connections, answer = run(work())

    assert connections == 1
    assert answer.status == 200


def test_many_at_once(make: Make) -> None:
    """Requests under way together do not mix up their answers or their evidence."""

    async def work() -> tuple[list[int], list[Answer], Sink]:
        async with Sink() as sink, exchange_of(make) as exchange:
            codes = [200 + number % 90 for number in range(300)]
            answers = await asyncio.gather(*(exchange.send(a_request(sink.url(f"/status/{c}"))) for c in codes))
            return codes, list(answers), sink

    codes, answers, sink = run(work())

    assert [answer.status for answer in answers] == codes
    assert len(sink.seen) == 300
    assert all(answer.timings.first_byte_ms is not None for answer in answers)


def test_close_leaves_nothing_open(make: Make, tmp_path: Path) -> None:
    """After close no connection of ours is left."""

    async def work() -> int:
        async with Sink() as sink:
            async with exchange_of(make) as exchange:
                await asyncio.gather(*(exchange.send(a_request(sink.url())) for _ in range(5)))
            await asyncio.sleep(0.1)
            return sink.open_now

    assert run(work()) == 0
