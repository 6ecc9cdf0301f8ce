"""Every exchange against servers that others wrote and many endpoints run on: uvicorn, Node, nginx."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any, Final

import pytest
import uvicorn

from hookline.sender.http import Answer, tls_context
from hookline.testing.authority import Authority
from hookline.testing.sink import Sink
from tests.nginx import running_nginx
from tests.sender.test_http import OWN, Make, a_request, exchange_of, names, run
from tests.sender.test_http import make as make  # the fixture

NODE: Final = Path(__file__).parent.parent / "node"
SINK_TEST = names(sink_test=["127.0.0.1"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


def posts(make: Make, *requests: tuple[str, bytes], authority: Authority | None = None) -> list[Answer]:
    """One request after the other over one exchange; a test's names are this machine."""

    async def work() -> list[Answer]:
        tls = {} if authority is None else {"tls": tls_context(authority.ca_file)}
        async with exchange_of(make, lookup=SINK_TEST, **tls) as exchange:
            return [await exchange.send(a_request(url, body)) for url, body in requests]

    return run(work())


# -- uvicorn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_uvicorn(make: Make, authority: Authority, http: str, scheme: str) -> None:
    """It is answered, and its kept connections are used again; with both of its parsers, plain and over TLS."""
    bodies: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-by", b"uvicorn")]})
        await send({"type": "http.response.body", "body": b"ok"})

    pem = authority.issue("sink.test") if scheme == "https" else None
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", http=http, ssl_certfile=pem)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    sent = [b"0", bytes(300_000), b"2"]
    try:
        url = f"{scheme}://sink.test:{listening.getsockname()[1]}/"
        answers = posts(make, *((url, body) for body in sent), authority=authority)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok")] * 3
    assert [answer.reused for answer in answers] == [False, True, True]
    assert bodies == sent
    assert all(("x-by", "uvicorn") in answer.headers for answer in answers)


# -- Node ------------------------------------------------------------------------------------------------------


class NodeServer:
    """tests/node/answers.mjs as a process."""

    def __init__(self, process: subprocess.Popen[str], scheme: str) -> None:
        assert process.stdout is not None
        self._lines: Queue[str] = Queue()
        port = process.stdout.readline().strip()
        self.url = f"{scheme}://sink.test:{port}"
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stdout: Any) -> None:
        for line in stdout:
            self._lines.put(line.strip())

    def wait_closed(self) -> None:
        assert self._lines.get(timeout=20) == "closed"


@contextlib.contextmanager
def node_server(keep_alive_ms: int, *pem: Path) -> Iterator[NodeServer]:
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("no `node` on PATH: its HTTP server was not asked")
    process = subprocess.Popen(
        [executable, NODE / "answers.mjs", str(keep_alive_ms), *pem],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield NodeServer(process, "https" if pem else "http")
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_node(make: Make, authority: Authority, scheme: str) -> None:
    """Lengths, chunks, 100 and 103 first, a long body, on one kept connection; then an answer that ends it."""
    pem = [authority.issue("sink.test")] * 2 if scheme == "https" else []
    with node_server(5_000, *pem) as node:
        answers = posts(
            make,
            (node.url + "/status/202", b"abc"),
            (node.url + "/chunked", b""),
            (node.url + "/hints", b"x"),
            (node.url + "/status/503", bytes(300_000)),
            (node.url + "/headers", b'{"X-A": "Zo\\u00eb", "Retry-After": "7", "Connection": "close"}'),
            (node.url + "/status/200", b"z"),
            authority=authority,
        )

    assert [(answer.status, answer.body, answer.body_end) for answer in answers] == [
        (202, b"3", "complete"),
        (200, b"one two", "complete"),
        (200, b"after", "complete"),
        (503, b"300000", "complete"),
        (200, b"", "complete"),
        (200, b"1", "complete"),
    ]
    assert [answer.reused for answer in answers] == [False, True, True, True, True, False]
    assert ("X-A", "Zo\xeb") in answers[4].headers
    assert ("Retry-After", "7") in answers[4].headers


def test_node_closes_what_is_idle(make: Make) -> None:
    """A connection that Node closed by its keep-alive timeout costs a new connection and nothing else."""
    with node_server(100) as node:

        async def work() -> list[Answer]:
            async with exchange_of(make, lookup=SINK_TEST) as exchange:
                first = await exchange.send(a_request(node.url + "/"))
                await asyncio.to_thread(node.wait_closed)
                return [first, await exchange.send(a_request(node.url + "/"))]

        answers = run(work())

    assert [(answer.status, answer.reused, answer.redone) for answer in answers] == [(200, False, False)] * 2


def test_node_hangs_up(make: Make) -> None:
    """A socket destroyed under a request is no answer; on a kept connection it is asked once more."""
    with node_server(5_000) as node:
        fresh, _, kept = posts(make, (node.url + "/destroy", b""), (node.url + "/", b""), (node.url + "/destroy", b""))

    assert (fresh.error, fresh.redone) in [("closed", False), ("reset", False)]
    assert (kept.error in ("closed", "reset"), kept.redone) == (True, True)


@OWN
def test_node_refuses_a_long_body(make: Make) -> None:
    """Its 413 comes before our body has gone, and is heard."""
    with node_server(5_000) as node:
        [answer] = posts(make, (node.url + "/early", bytes(1_000_000)))

    assert (answer.status, answer.body) == (413, b"too long")


# -- nginx -----------------------------------------------------------------------------------------------------

NGINX = """
    keepalive_timeout 1s;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {pem};
        ssl_certificate_key {pem};
        client_max_body_size 100k;
        location /noted {{ return 200 "noted"; }}
        location /no-content {{ return 204; }}
        location /moved {{ return 301 http://elsewhere.test/; }}
        location /hang-up {{ return 444; }}
        location /once {{ keepalive_timeout 0; return 200 "once"; }}
        location /behind/ {{ proxy_pass http://127.0.0.1:{behind}/; }}
        location /unbuffered/ {{ proxy_pass http://127.0.0.1:{behind}/; proxy_buffering off; }}
        location /http10/ {{ chunked_transfer_encoding off; proxy_pass http://127.0.0.1:{behind}/; }}
    }}
"""


@contextlib.contextmanager
def nginx(folder: Path, authority: Authority, behind: int) -> Iterator[Callable[[str, str], str]]:
    """nginx in the foreground with a configuration of its own; yields `url(scheme, path)`."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        plain, tls = one.getsockname()[1], other.getsockname()[1]
    http = NGINX.format(plain=plain, tls=tls, pem=authority.issue("sink.test"), behind=behind)
    with running_nginx(folder, http, port=tls):
        yield lambda scheme, path: f"{scheme}://sink.test:{tls if scheme == 'https' else plain}{path}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nginx(make: Make, tmp_path: Path, authority: Authority, scheme: str) -> None:
    """Its own answers on one kept connection; one that ends it; one that is none."""
    with nginx(tmp_path, authority, 9) as url:
        paths = ("/noted", "/no-content", "/moved", "/behind/", "/noted", "/once", "/noted", "/hang-up")
        answers = posts(make, *((url(scheme, path), b"{}") for path in paths), authority=authority)

    assert [answer.status for answer in answers] == [200, 204, 301, 502, 200, 200, 200, None]
    assert [answer.reused for answer in answers] == [False, True, True, True, True, True, False, False]
    assert [answer.body_end for answer in answers[:7]] == ["complete"] * 7
    assert answers[0].body == b"noted"
    assert (answers[7].error, answers[7].redone) == ("closed", True)
    assert {answer.tls for answer in answers[:7]} == ({"TLSv1.3"} if scheme == "https" else {None})


@OWN
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nginx_refuses_a_long_body(make: Make, tmp_path: Path, authority: Authority, scheme: str) -> None:
    """413 comes before our body has gone, and is heard."""
    with nginx(tmp_path, authority, 9) as url:
        answers = posts(make, *[(url(scheme, "/noted"), bytes(1_000_000))] * 3, authority=authority)

    assert [answer.status for answer in answers] == [413, 413, 413]


def test_nginx_closes_what_is_idle(make: Make, tmp_path: Path, authority: Authority) -> None:
    """A connection that nginx closed by its keep-alive timeout costs a new connection and nothing else."""
    with nginx(tmp_path, authority, 9) as url:

        async def work() -> list[Answer]:
            async with exchange_of(make, lookup=SINK_TEST) as exchange:
                first = await exchange.send(a_request(url("http", "/noted")))
                await asyncio.sleep(1.5)
                return [first, await exchange.send(a_request(url("http", "/noted")))]

        answers = run(work())

    assert [(answer.status, answer.reused, answer.redone) for answer in answers] == [(200, False, False)] * 2


@pytest.mark.parametrize("way", ["behind", "unbuffered", "http10"])
def test_through_nginx(make: Make, tmp_path: Path, authority: Authority, way: str) -> None:
    """What a server behind it does wrong comes through it as it comes."""

    async def work(faults: tuple[str, ...]) -> list[Answer]:
        async with Sink() as sink:
            with nginx(tmp_path, authority, sink.port) as at:
                async with exchange_of(make, lookup=SINK_TEST) as exchange:
                    return [
                        await exchange.send(a_request(at("http", f"/{way}/{fault}"), total_s=4)) for fault in faults
                    ]

    ok, redirect, closed, cut, chunks, giant = run(
        work(("status/201", "redirect/elsewhere", "close", "cut-body", "bad-chunks/0.05", "endless-body"))
    )

    assert (ok.status, ok.body, ok.body_end) == (201, b"noted", "complete")
    assert redirect.status == 307
    assert closed.status == 502
    assert (cut.status, cut.body_end) == (200, "broken")
    # Buffering, nginx finds the bad chunk before it has sent anything, and hangs up.
    assert (chunks.status, chunks.error) == ((200, None) if way == "unbuffered" else (None, "closed"))
    assert (giant.status, giant.body_end) == (200, "limit")
