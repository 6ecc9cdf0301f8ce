"""The sink does what its words say, seen from plain sockets and Python's own client."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline.testing import Sink
from hookline.testing.authority import Authority
from hookline.testing.sink import FAULTS

DOCS = Path(__file__).parent.parent.parent / "docs" / "testing.md"


def post(url: str, body: bytes = b"{}", tls: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Post by the standard library's client; what was answered, whatever the status."""
    request = urllib.request.Request(url, body, {"X-Some": "header"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10, context=tls) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def raw_post(sink: Sink, path: str, patience_s: float = 0.3) -> bytes:
    """Post on a bare socket; the bytes that come until it is closed or silent."""
    with socket.create_connection(("127.0.0.1", sink.port), timeout=patience_s) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        came = b""
        try:
            while piece := connection.recv(65_536):
                came += piece
                if len(came) > 500_000:
                    break
        except TimeoutError:
            came += b"<silent>"
        except ConnectionResetError:
            came += b"<reset>"
        return came


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def test_requests_are_kept(sink: Sink) -> None:
    """Method, path, headers in their own case, body, and which connection brought it."""
    assert post(sink.url("/webhooks?a=b"), b"one") == (200, b"noted")
    assert post(sink.url("/webhooks"), b"two") == (200, b"noted")

    first, second = sink.seen
    assert (first.method, first.path, first.body) == ("POST", "/webhooks?a=b", b"one")
    assert (first.header("x-some"), first.header("X-None")) == ("header", None)
    assert [first.connection, second.connection] == [1, 2]
    assert sink.connections == 2


def test_what_is_expected_befalls_the_next_requests_in_order(sink: Sink) -> None:
    """Words go to requests one by one, whatever their path; then the path counts again."""
    sink.expect("status/503", "retry-after/30")
    sink.expect("status/410", times=2)

    codes = [post(sink.url("/status/404"))[0] for _ in range(5)]

    assert codes == [503, 429, 410, 410, 404]


@pytest.mark.parametrize("word", ["", "statuss/503", "serve", "url", "_status"])
def test_a_word_that_is_none(sink: Sink, word: str) -> None:
    """A slip is said when it is made; a path that is no word is an endpoint like any other."""
    with pytest.raises(ValueError, match="expected one of status, slow"):
        sink.expect(word)

    assert post(sink.url(f"/{word}"))[0] == 200


@pytest.mark.parametrize(
    ("path", "comes"),
    [
        ("/status/204", rb"HTTP/1\.1 204 Made Up\r\n\r\n<silent>"),
        ("/slow/0.01/503", rb"HTTP/1\.1 503 .*noted<silent>"),
        ("/hang", rb"<silent>"),
        ("/early/413", rb"HTTP/1\.1 413 .*noted<silent>"),
        ("/redirect/there", rb"HTTP/1\.1 307 Go\r\nLocation: /there\r\n.*"),
        ("/retry-after/Soon", rb"HTTP/1\.1 429 .*Retry-After: Soon\r\n.*"),
        ("/close", rb""),
        ("/close/0.01", rb""),
        ("/close-after/201", rb"HTTP/1\.1 201 .*noted"),
        ("/reset", rb"<reset>"),
        ("/partial", rb"HTTP/1\.1 2"),
        ("/garbage", rb"\x00\xffSSH.*"),
        ("/cut-body", rb".*Content-Length: 50\r\n\r\nonly this"),
        ("/bad-chunks/0", rb".*chunked\r\n\r\nzz\r\n.*"),
        ("/informational/3", rb"(HTTP/1\.1 102 [^\r]*\r\nX-A: b\r\n\r\n){3}HTTP/1\.1 200 .*"),
        ("/many-headers/9", rb".*X-0: v\r\n.*X-8: v\r\n.*"),
        ("/long-header/5000", rb".*X-Long: v{5000}\r\n.*"),
        ("/odd-headers", rb".*caf\xe9 \xff\r\n.*a\x07\x01b\r\n.*"),
        ("/unasked", rb"HTTP/1\.1 200 .*notedHTTP/1\.1 200 .*X-Forged: yes\r\n.*"),
        ("/raw/mine", rb"my \x00 own"),
        ("/raw-open/mine", rb"my \x00 own<silent>"),
    ],
)
def test_each_word_does_what_it_says(sink: Sink, path: str, comes: bytes) -> None:
    """Byte for byte, and with its own way of ending the connection."""
    sink.raw["mine"] = b"my \x00 own"

    assert re.fullmatch(comes, raw_post(sink, path), re.DOTALL)


@pytest.mark.parametrize(
    "path", ["/endless-body", "/gzip-bomb", "/drip-headers", "/drip-body/200", "/endless-informational"]
)
def test_words_that_go_on_and_on(sink: Sink, path: str) -> None:
    """More comes than was asked for, or for longer; and the sink stops all the same when its block ends."""
    with socket.create_connection(("127.0.0.1", sink.port), timeout=5) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
        came = b""
        while len(came) < {"/endless-body": 1_000_000, "/gzip-bomb": 7_000}.get(path, 60):
            came += connection.recv(65_536)

    if path == "/gzip-bomb":
        assert len(gzip.decompress(came.partition(b"\r\n\r\n")[2])) > 100 * len(came)


def test_a_connection_serves_on(sink: Sink) -> None:
    """After an answer in good order the next request comes on the same connection."""
    client = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=10)
    for path in ("/a", "/status/500", "/many-headers/5"):
        client.request("POST", path, b"{}")
        client.getresponse().read()
    client.close()

    assert [seen.connection for seen in sink.seen] == [1, 1, 1]


def test_over_tls(tmp_path: Path) -> None:
    """An authority's certificates hold for those who trust it; expired, misnamed and self-signed ones do not."""
    authority = Authority.make(tmp_path)
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    contexts = {
        "holds": authority.server_context("127.0.0.1"),
        "has expired": authority.server_context("127.0.0.1", days=-1),
        "mismatch": authority.server_context("other.test"),
        "self-signed": authority.self_signed_context("127.0.0.1"),
    }
    came = {}
    for name, context in contexts.items():
        with Sink(tls=context) as sink:
            assert sink.url().startswith("https://")
            try:
                came[name] = str(post(sink.url(), tls=trusting)[0])
            except urllib.error.URLError as error:
                came[name] = str(error.reason)

    assert came.pop("holds") == "200"
    for name, reason in came.items():
        assert name in reason


def test_waiting_in_a_thread(sink: Sink) -> None:
    """Requests that somebody else sends are waited for; that too few come is said."""
    post(sink.url())
    sink.wait_for(1)

    with pytest.raises(TimeoutError, match=r"expected 2 requests within 0\.01 s, got 1"):
        sink.wait_for(2, timeout_s=0.01)


def test_on_the_running_loop() -> None:
    """The same on one's own event loop, with a hook before each answer."""

    async def work() -> list[str]:
        async with Sink() as sink:
            order: list[str] = []

            async def note(request: object) -> None:
                order.append("before")

            sink.before = note
            sending = asyncio.create_task(asyncio.to_thread(post, sink.url("/status/201")))
            await sink.arrived(1)
            order.append(str((await sending)[0]))
            with pytest.raises(TimeoutError, match=r"expected 2 requests within 0\.01 s, got 1"):
                await sink.arrived(2, timeout_s=0.01)
            return order

    assert asyncio.run(work()) == ["before", "201"]


def test_it_is_gone_after_its_block() -> None:
    """Nobody listens any more, and what it had open is closed."""
    with Sink() as sink:
        connection = socket.create_connection(("127.0.0.1", sink.port), timeout=10)
        connection.sendall(b"POST /hang HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        sink.wait_for(1)
        assert sink.open_now == 1

    with connection:
        assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sink.port), timeout=10)
    assert sink.open_now == 0


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"a" * 200_000])
def test_requests_that_are_none_harm_nobody(sink: Sink, data: bytes) -> None:
    """Their connection ends, and the next one is served."""
    with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as connection:
        connection.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""

    assert post(sink.url())[0] == 200


def test_the_page_names_every_word() -> None:
    """docs/testing.md describes the words there are, in their order."""
    text = DOCS.read_text(encoding="utf-8").partition("## A server that misbehaves")[2]
    rows = re.findall(r"^\| `([a-z-]+)[^`]*` \|", text, re.MULTILINE)

    assert rows == list(FAULTS)
