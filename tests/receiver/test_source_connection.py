"""The connections beneath a source's API: kept, limited in time and size, and led nowhere else."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from hookline.errors import SourceError
from hookline.receiver.source_connection import Connections
from hookline.receiver.source_http import HttpSource
from tests.receiver.test_source_http import KEY, NOW_MS, TurningClock

EMPTY = b'{"object":"list","data":[],"list_metadata":{"before":null,"after":null}}'


def whole(body: bytes, *, status: int = 200, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Told\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Wire:
    """A host that answers each request with what `answers` gives next: bytes, or what is done with the socket."""

    def __init__(self, *answers: bytes | Callable[[socket.socket], None]) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                sock, _ = self.listener.accept()
                if not self.ended.is_set():
                    self.connections += 1
                    self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
                    self._threads[-1].start()
                    continue
                sock.close()
            return

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while head := self._head(sock):
                self.requests.append(head)
                answer = self.answers.pop(0)
                if callable(answer):
                    answer(sock)
                    return
                sock.sendall(answer)

    def _head(self, sock: socket.socket) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            part = sock.recv(65_536)
            if not part:
                return b""
            head += part
        return head

    def close(self) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self.listener.getsockname()).close()
        self.listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@contextlib.contextmanager
def wired(
    *answers: bytes | Callable[[socket.socket], None], timeout_s: float = 10, most_bytes: int = 100_000
) -> Iterator[tuple[Wire, Connections]]:
    wire = Wire(*answers)
    connections = Connections(wire.url, timeout_s=timeout_s, most_bytes=most_bytes)
    try:
        yield wire, connections
    finally:
        connections.close()
        wire.close()


def test_a_connection_is_kept_and_headers_come_in_lower_case() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with wired(whole(b"one", headers="X-Request-ID: r\r\n"), chunked, whole(b"", status=404)) as (wire, connections):
        first = connections.exchange("GET", "/a?b=c", {"Authorization": "Bearer k"})
        assert first == (200, {"content-length": "3", "x-request-id": "r"}, b"one")
        assert connections.exchange("GET", "/d", {}).body == b"abcde"
        assert connections.exchange("GET", "/e", {})[::2] == (404, b"")
        assert wire.connections == 1
        head = wire.requests[0].decode().lower()
        assert head.startswith("get /a?b=c http/1.1\r\n")
        assert "authorization: bearer k\r\n" in head
        assert "gzip" not in head


def test_a_kept_connection_that_has_ended_is_replaced_once() -> None:
    def hang_up(_: socket.socket) -> None:
        """Nothing, and the end."""

    with wired(whole(b"one"), hang_up, whole(b"two")) as (wire, connections):
        assert connections.exchange("GET", "/1", {}).body == b"one"
        assert connections.exchange("GET", "/2", {}).body == b"two"
        assert wire.connections == 2
    with wired(hang_up) as (wire, connections), pytest.raises(ConnectionResetError, match="before an answer came"):
        connections.exchange("GET", "/1", {})
    assert wire.connections == 1, "a fresh one that ends is a failure"


def test_a_connection_that_the_host_ends_is_not_kept() -> None:
    def last(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")

    with wired(last, whole(b"two")) as (wire, connections):
        assert connections.exchange("GET", "/1", {}).body == b"until the end"
        assert connections.exchange("GET", "/2", {}).body == b"two"
        assert wire.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot a hundred",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nde",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_an_answer_that_ends_early_is_none(answer: bytes) -> None:
    def cut(sock: socket.socket) -> None:
        sock.sendall(answer)

    with wired(cut) as (_, connections), pytest.raises(ConnectionResetError, match="ended early"):
        connections.exchange("GET", "/", {})


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + EMPTY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + EMPTY,
    ],
)
def test_what_is_no_http_is_nonsense(answer: bytes) -> None:
    def say(sock: socket.socket) -> None:
        sock.sendall(answer)

    with wired(say) as (_, connections), pytest.raises(SourceError, match="not HTTP") as caught:
        connections.exchange("GET", "/", {})
    assert caught.value.reason == "nonsense"


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"]
)
def test_an_answer_that_is_too_large_is_not_read_to_its_end(head: bytes) -> None:
    def say(sock: socket.socket) -> None:
        sock.sendall(head + b"x" * 200_000)

    with wired(say, whole(b"two")) as (wire, connections):
        with pytest.raises(SourceError, match="more than 100000 bytes"):
            connections.exchange("GET", "/", {})
        assert connections.exchange("GET", "/", {}).body == b"two"
        assert wire.connections == 2


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\nX-Drip: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"]
)
def test_an_answer_that_drips_has_one_time_limit_in_all(begun: bytes) -> None:
    given_up = threading.Event()

    def drip(sock: socket.socket) -> None:
        sock.sendall(begun)
        while not given_up.wait(0.02):
            sock.sendall(b"x" if begun else b"")

    with wired(drip, timeout_s=0.2) as (_, connections):
        try:
            with pytest.raises(TimeoutError):
                connections.exchange("GET", "/", {})
        finally:
            given_up.set()


def test_no_redirect_is_followed_and_no_proxy_of_the_environment_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with wired(whole(b"", status=302, headers="Location: /elsewhere\r\n")) as (wire, connections):
        assert connections.exchange("GET", "/", {}).status == 302
        assert len(wire.requests) == 1


@pytest.mark.parametrize("kept", [0, 1])
def test_closing_ends_what_is_under_way(kept: int) -> None:
    """On a kept connection, too: nobody would end a fresh one on which it was asked again."""
    waiting, over = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def wait(_: socket.socket) -> None:
        waiting.set()
        over.wait(10)

    with wired(*[whole(b"one")] * kept, wait, wait) as (wire, connections):
        for _ in range(kept):
            connections.exchange("GET", "/", {})

        def ask() -> None:
            try:
                connections.exchange("GET", "/", {})
            except OSError as error:
                raised.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        assert waiting.wait(10)
        connections.close()
        thread.join(5)
        is_over = not thread.is_alive()
        over.set()
        thread.join(10)
        assert is_over
        assert wire.connections == 1
    assert isinstance(raised[0], ConnectionError)


def test_an_interim_answer_is_not_taken_for_the_next_ones_beginning() -> None:
    with wired(b"HTTP/1.1 103 Early Hints\r\n\r\n", whole(b"two")) as (wire, connections):
        assert connections.exchange("GET", "/", {}).status == 103
        assert connections.exchange("GET", "/", {}).body == b"two"
        assert wire.connections == 2


def test_a_forked_child_leaves_its_parents_connections_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with wired(whole(b"parent's"), whole(b"child's"), whole(b"parent's again")) as (wire, connections):
        assert connections.exchange("GET", "/", {}).body == b"parent's"
        [kept] = connections._idle
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            assert connections.exchange("GET", "/", {}).body == b"child's"
        assert wire.connections == 2
        assert kept.sock is not None, "what the parent goes on using is not closed"
        kept.close()


# -- asked again -----------------------------------------------------------------------------------------------------


def test_a_failure_that_may_pass_is_asked_again_twice_and_not_more() -> None:
    failed = whole(b"", status=502)
    with wired(failed, failed, whole(EMPTY)) as (wire, _):
        clock = TurningClock(NOW_MS)
        api = HttpSource(wire.url, KEY, clock=clock)
        assert api.page("directory", {}).requested_us == (NOW_MS + 2_500) * 1_000, "dated when it was asked last"
        api.close()
    with wired(failed, failed, failed) as (wire, _):
        api = HttpSource(wire.url, KEY, clock=TurningClock(NOW_MS))
        with pytest.raises(SourceError, match="answered 502") as caught:
            api.page("directory", {})
        api.close()
        assert caught.value.reason == "unavailable"
        assert len(wire.requests) == 3


def test_who_asks_for_a_wait_is_not_asked_again_before() -> None:
    with wired(whole(b"", status=503, headers="Retry-After: 9\r\n")) as (wire, _):
        api = HttpSource(wire.url, KEY, clock=TurningClock(NOW_MS))
        with pytest.raises(SourceError) as caught:
            api.page("directory", {})
        api.close()
        assert caught.value.retry_after_s == 9


def test_where_nobody_listens_it_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = HttpSource(f"http://127.0.0.1:{port}", KEY, clock=TurningClock(NOW_MS))
    with pytest.raises(SourceError, match="refused") as caught:
        api.page("directory", {})
    api.close()
    assert caught.value.reason == "unavailable"


@contextlib.contextmanager
def speaking_tls(name: str, authority: trustme.CA, *, times: int) -> Iterator[str]:
    """A host with a certificate for `name`, that answers so many connections with an empty list; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    def serve() -> None:
        for _ in range(times):
            sock = listener.accept()[0]
            with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as spoken:
                spoken.recv(65_536)
                spoken.sendall(whole(EMPTY, headers="Connection: close\r\n"))
            sock.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        thread.join(10)


@pytest.mark.parametrize(
    ("name", "is_known", "told"),
    [("localhost", True, None), ("localhost", False, "certificate|issuer"), ("elsewhere.test", True, "(?i)hostname")],
)
def test_only_a_host_that_is_vouched_for_under_its_name_is_spoken_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_known: bool, told: str | None
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with speaking_tls(name, authority, times=1 if told is None else 3) as url:
        api = HttpSource(url, KEY, clock=TurningClock(NOW_MS))
        if told is None:
            assert api.page("directory", {}).items == ()
        else:
            with pytest.raises(SourceError, match=told) as caught:
                api.page("directory", {})
            assert caught.value.reason == "unavailable"
        api.close()
