"""What a client may send before anybody knows who it is, over raw sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import uvicorn

from hookline.cli import head_limits
from hookline.cli.head_limits import MAX_HEAD_BYTES, LimitedProtocol

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers how long the body was."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(head_limits, "HEAD_TIMEOUT_S", 0.3)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=LimitedProtocol, lifespan="off", log_level="error", timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def ask(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Everything that is answered until the server closes."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        for part in parts:
            connection.sendall(part)
            threading.Event().wait(pause_s)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        return answer


def padded(head: bytes, size: int, line: bytes = b"X: a\r\n") -> bytes:
    """A head without its end, of this size, filled up with header lines."""
    missing = size - len(head)
    return head + line * (missing // len(line)) + b"Y" * (missing % len(line))


@pytest.mark.parametrize(
    "head",
    [
        padded(GET, MAX_HEAD_BYTES + 1),
        padded(GET + b"X: ", MAX_HEAD_BYTES + 1, b"a"),
        padded(b"GET /", MAX_HEAD_BYTES + 1, b"a"),
        padded(b"", MAX_HEAD_BYTES + 2, b"\r\n"),
    ],
    ids=["lines", "line", "url", "nothing"],
)
def test_a_head_that_is_too_large(port: int, head: bytes) -> None:
    """431 as soon as it is known, and the connection is closed, whatever the head is large with."""
    answer = ask(port, head)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in answer


def test_a_head_within_the_limit(port: int) -> None:
    """Almost as large, in one piece or in several."""
    head = padded(GET + b"Connection: close\r\nX: ", MAX_HEAD_BYTES - 4, b"a") + b"\r\n\r\n"

    assert ask(port, head).startswith(b"HTTP/1.1 200 ")
    assert ask(port, head[:40_000], head[40_000:]).startswith(b"HTTP/1.1 200 ")


def test_the_second_head_of_a_connection(port: int) -> None:
    """Each is measured by itself: many small ones are none too large, and a large one is, after the others' answers."""
    many = ask(port, *[GET + b"X: " + b"a" * 2_000 + b"\r\n\r\n"] * 40, GET + b"Connection: close\r\n\r\n")
    answer = ask(port, GET + b"\r\n", padded(GET, MAX_HEAD_BYTES + 1), pause_s=0.1)

    assert many.count(b"HTTP/1.1 200 ") == 41
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 431 ") == 1


def test_a_head_that_does_not_end(port: int) -> None:
    """408 after its time, counted from its first byte: a byte now and then keeps nothing open."""
    assert ask(port, b"GET / HT").startswith(b"HTTP/1.1 408 ")
    with pytest.raises(OSError, match=r".*"):
        # The server has closed while the client still drips.
        ask(port, GET, *[b"X: a\r\n"] * 100, pause_s=0.05)


def test_a_client_that_says_nothing(port: int) -> None:
    """Closed without a word when a kept connection would be."""
    assert ask(port) == b""


def test_bodies_are_not_limited_here(port: int) -> None:
    """A long one with its length, and in chunks, slower than a head may be."""
    long = b"a" * 300_000
    sized = GET.replace(b"GET", b"POST") + b"Connection: close\r\nContent-Length: 300000\r\n\r\n"
    chunked = CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    assert ask(port, sized, long).endswith(b"\r\n\r\n300000")
    assert ask(port, sized, long[:150_000], long[150_000:], pause_s=0.4).endswith(b"\r\n\r\n300000")
    pieces = [b"%x\r\n%s\r\n" % (100_000, long[:100_000])] * 3
    assert ask(port, chunked, *pieces, b"0\r\nX-Trailer: a\r\n\r\n").endswith(b"\r\n\r\n300000")


def test_headers_behind_a_body(port: int) -> None:
    """They are as limited as those before it, although the answer has not begun."""
    assert ask(port, CHUNKED, b"1\r\na\r\n0\r\n", padded(b"", MAX_HEAD_BYTES + 1)) == b""
