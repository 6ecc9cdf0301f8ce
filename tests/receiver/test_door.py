"""The door on real sockets: uvicorn for ASGI, wsgiref for WSGI, real clients, a clock we turn."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import socketserver
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from hookline.receiver.app import Receiver
from hookline.receiver.model import Entry, PutKind
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import SignedRequest, signed_request
from tests.wire.vectors import BY_NUMBER

SECRET = "whsec_door_secret_0001"
NOW_MS = 1_700_000_000_000


def event(number: int, data: str = "{}") -> bytes:
    return b'{"id":"event_%04d","event":"dsync.user.created","data":%s}' % (number, data.encode())


def signed(body: bytes, *, secret: str = SECRET) -> SignedRequest:
    return signed_request(body, secret, timestamp_ms=NOW_MS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "door.db"


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def build(path: Path, clock: TurnedClock) -> Iterator[Callable[..., Receiver]]:
    """Makes receivers on one database, closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            Receiver(
                f"sqlite:///{path}?busy_timeout_ms=100",
                **{"secrets": [SECRET], "clock": clock, **settings},
            )
        )


@contextlib.contextmanager
def serve(app: Any) -> Iterator[int]:
    """uvicorn in a thread, on a free port of the loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", access_log=False, lifespan="on", proxy_headers=False)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.005)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class _ThreadedServer(socketserver.ThreadingMixIn, WSGIServer):
    request_queue_size = 128


@contextlib.contextmanager
def serve_wsgi(app: Any) -> Iterator[int]:
    """The standard library's own server, a thread for each request."""
    with _ThreadedServer(("127.0.0.1", 0), _QuietHandler) as server:
        server.set_app(app)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


SERVERS: dict[str, Callable[[Receiver], contextlib.AbstractContextManager[int]]] = {
    "asgi": lambda receiver: serve(receiver.asgi()),
    "wsgi": lambda receiver: serve_wsgi(receiver.wsgi()),
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Callable[[Receiver], contextlib.AbstractContextManager[int]]:
    """Each test that takes this runs behind either kind of server."""
    return SERVERS[request.param]


def send(
    port: int,
    body: Any = b"",
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
    path: str = "/webhooks",
) -> tuple[int, dict[str, str], bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def deliver(port: int, request: SignedRequest, path: str = "/webhooks") -> int:
    status, _, _ = send(port, request.body, request.headers, path=path)
    return status


def rows(path: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def test_captured_deliveries_are_kept_once_and_the_contradiction_is_flagged(
    build: Callable[..., Receiver], clock: TurnedClock, path: Path, server: Any
) -> None:
    """Real bodies with their real headers at their time: three kept; the fourth has the id of one with other bytes."""
    captured = [BY_NUMBER[number] for number in (1, 2, 3, 4)]
    receiver = build(secrets=sorted({vector.secret for vector in captured}))

    with server(receiver) as port:
        answers = []
        for vector in [*captured, *captured]:
            clock.set(vector.timestamp_ms)
            answers.append(send(port, vector.body, {"WorkOS-Signature": vector.header})[0])

    assert answers == [200] * 8
    assert rows(path, "select event_id, type, body, reason from hookline_inbox order by seq") == [
        ("wh_01FG9JXJ9C9S052FX59JVG4EG1", "connection.activated", captured[0].body, None),
        ("event_01J44T8116Q5M0RYCFA6KWNXN9", "connection.activated", captured[1].body, None),
        ("wh_01FJ27WB8SNT7VN72KRMYJYV8P", "dsync.user.created", captured[3].body, None),
    ]
    assert rows(path, "select event_id, kind, times from hookline_inbox_repeats where kind = 'conflict'") == [
        ("event_01J44T8116Q5M0RYCFA6KWNXN9", "conflict", 2)
    ]


@pytest.mark.parametrize("name", ["WorkOS-Signature", "workos-signature", "WORKOS-SIGNATURE"])
def test_the_headers_name_comes_in_any_case(name: str, build: Callable[..., Receiver], server: Any) -> None:
    """Frameworks and proxies lower-case it."""
    request = signed(event(1))

    with server(build()) as port:
        status, _, _ = send(port, request.body, {name: request.headers["WorkOS-Signature"]})

    assert status == 200


def test_every_answer_of_the_contract(build: Callable[..., Receiver], path: Path, server: Any) -> None:
    """The table of the contract, over HTTP: the status, the word, and nothing kept."""
    receiver = build(max_body=1_000, path_token="k7Yp")
    receiver.open()
    good, forged, door = signed(event(1)), signed(event(1), secret="whsec_other"), "/webhooks/k7Yp"
    old = signed_request(event(1), SECRET, timestamp_ms=NOW_MS - 180_001)
    early = signed_request(event(1), SECRET, timestamp_ms=NOW_MS + 180_001)
    form = good.headers | {"Content-Type": "application/x-www-form-urlencoded"}
    cases: list[tuple[int, bytes, dict[str, Any]]] = [
        (400, b"missing\n", {"body": good.body, "path": door}),
        (400, b"malformed\n", {"body": good.body, "headers": {"WorkOS-Signature": "t=1"}, "path": door}),
        (401, b"mismatch\n", {"body": forged.body, "headers": forged.headers, "path": door}),
        (401, b"expired\n", {"body": old.body, "headers": old.headers, "path": door}),
        (401, b"future\n", {"body": early.body, "headers": early.headers, "path": door}),
        (404, b"path\n", {"body": good.body, "headers": good.headers, "path": "/webhooks/wrong"}),
        (404, b"path\n", {"body": good.body, "headers": good.headers, "path": "/webhooks"}),
        (404, b"path\n", {"method": "GET", "path": "/webhooks/wrong"}),
        (404, b"path\n", {"method": "PUT", "path": "/"}),
        (405, b"method\n", {"body": good.body, "headers": good.headers, "method": "PUT", "path": door}),
        (413, b"size\n", {"body": b"x" * 1_001, "headers": good.headers, "path": door}),
        (413, b"size\n", {"body": b"x" * 1_000_000, "headers": good.headers, "path": door}),
        (415, b"content_type\n", {"body": good.body, "headers": form, "path": door}),
        (200, b"", {"method": "GET", "path": door}),
        (200, b"", {"method": "HEAD", "path": door + "/"}),
    ]

    with server(receiver) as port:
        for status, content, request in cases:
            got, headers, body = send(port, **request)

            assert (got, body) == (status, content), request
            assert (headers.get("allow") == "GET, HEAD, POST") == (status == 405)
        assert rows(path, "select count(*) from hookline_inbox") == [(0,)]
        assert deliver(port, good, door) == 200
        assert deliver(port, good, door + "/") == 200


def test_without_a_secret_every_post_is_503(build: Callable[..., Receiver], server: Any) -> None:
    """Closed, and asking the source to come back."""
    with server(build(secrets=None)) as port:
        status, headers, body = send(port, event(1), signed(event(1)).headers)

    assert (status, body) == (503, b"no_secret\n")
    assert "retry-after" in headers


def test_addresses_that_are_not_listed_are_403(build: Callable[..., Receiver], server: Any) -> None:
    """The connection's own address counts, not what a header claims."""
    request = signed(event(1))
    with server(build(allowed_ips=["192.0.2.0/24"])) as port:
        status, _, _ = send(port, request.body, request.headers | {"X-Forwarded-For": "192.0.2.1"})
    with server(build(allowed_ips=["127.0.0.1"])) as port:
        allowed = deliver(port, request)

    assert (status, allowed) == (403, 200)


HOSTILE = {
    "nested": (b'{"id":"event_1","event":"a.b","data":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_001, "not_json"),
    "a 5,000-digit integer": (b'{"id":"event_2","event":"a.b","data":{"x":' + b"9" * 5_000 + b"}}", None),
    "NUL": (rb'{"id":"event_3","event":"a.b","data":{"x":"\u0000"}}', None),
    "lone surrogate": (rb'{"id":"event_4","event":"a.b","data":{"x":"\ud800"}}', None),
    "duplicate keys": (b'{"id":"event_5","event":"a.b","event":"a.c","data":{}}', None),
    "a number as id": (b'{"id":6,"event":"a.b","data":{}}', "not_event"),
    "1 MB": (b'{"id":"event_7","event":"a.b","data":{"x":"' + b"y" * 1_000_000 + b'"}}', None),
    "not JSON": (b"\xff\xfe", "encoding"),
    "empty": (b"", "not_json"),
}


def test_hostile_bodies_are_200_and_kept(build: Callable[..., Receiver], path: Path, server: Any) -> None:
    """What is signed is kept, byte for byte; what is no event says why."""
    with server(build()) as port:
        statuses = {name: deliver(port, signed(body)) for name, (body, _) in HOSTILE.items()}

    assert set(statuses.values()) == {200}, statuses
    kept = dict(rows(path, "select body, reason from hookline_inbox"))
    assert kept.keys() == {body for body, _ in HOSTILE.values()}
    for name, (body, reason) in HOSTILE.items():
        # A lone surrogate is found at the door or by the worker, depending on where it stands.
        assert kept[body] == reason or name == "lone surrogate"


def test_one_event_through_32_connections_is_one_row(build: Callable[..., Receiver], path: Path, server: Any) -> None:
    """Whoever is first keeps it; all are told 200."""
    request = signed(event(1))
    with server(build()) as port, ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(lambda _: deliver(port, request), range(320)))

    assert statuses == [200] * 320
    assert rows(path, "select count(*) from hookline_inbox") == [(1,)]
    assert rows(path, "select kind, times from hookline_inbox_repeats") == [("duplicate", 319)]


def test_every_200_is_in_the_database(build: Callable[..., Receiver], path: Path, server: Any) -> None:
    """Distinct events through many connections: as many rows as answers, each due for applying."""
    with server(build()) as port, ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda number: deliver(port, signed(event(number))), range(300)))

    assert statuses == [200] * 300
    assert rows(path, "select count(*) from hookline_inbox join hookline_inbox_queue using (seq)") == [(300,)]


def test_a_locked_database_is_503_and_the_next_request_works(
    build: Callable[..., Receiver], path: Path, server: Any
) -> None:
    """No request waits for ever, nothing is half kept, and nobody has to restart anything."""
    with server(build()) as port:
        assert deliver(port, signed(event(1))) == 200
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin immediate")
            during = deliver(port, signed(event(2)))
            other.execute("rollback")
        after = deliver(port, signed(event(2)))

    assert (during, after) == (503, 200)
    assert rows(path, "select event_id from hookline_inbox order by seq") == [("event_0001",), ("event_0002",)]


def test_a_body_in_chunks_is_counted(build: Callable[..., Receiver], path: Path) -> None:
    """Without a length it is the bytes themselves that are too many; what fits is kept."""
    small, large = signed(event(1)), signed(event(2, json.dumps({"x": "y" * 5_000})))

    def chunks(body: bytes) -> Iterator[bytes]:
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    with serve(build(max_body=2_000).asgi()) as port:
        answers = [send(port, chunks(each.body), each.headers)[0] for each in (small, large)]

    assert answers == [200, 413]
    assert rows(path, "select event_id from hookline_inbox") == [("event_0001",)]


def test_a_client_that_asks_first_is_told_before_it_sends(build: Callable[..., Receiver]) -> None:
    """With `Expect: 100-continue` a body that is declared too large never crosses the wire."""
    head = b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    with serve(build(max_body=2_000).asgi()) as port:
        first_lines = []
        for size in (3_000_000, 1_000):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as asking:
                asking.sendall(head % size)
                first_lines.append(asking.recv(4_096)[:12])

    assert first_lines == [b"HTTP/1.1 413", b"HTTP/1.1 100"]


def test_a_client_that_sends_no_body_is_let_go(build: Callable[..., Receiver]) -> None:
    """The deadline holds for the whole body, also for one that drips; others are served meanwhile."""
    with serve(build(body_timeout_s=0.3).asgi()) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
            silent.sendall(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port), timeout=10) as dripping:
                dripping.sendall(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
                meanwhile = deliver(port, signed(event(1)))
                dripped = b""
                with contextlib.suppress(ConnectionError):
                    while not dripped:
                        dripping.sendall(b"x")
                        dripping.settimeout(0.02)
                        with contextlib.suppress(TimeoutError):
                            dripped = dripping.recv(1_000)
            answer = _read_all(silent)
        again = deliver(port, signed(event(2)))

    assert (meanwhile, again) == (200, 200)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert dripped.startswith(b"HTTP/1.1 408 ")


def _read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(4_096):
        parts.append(part)
    return b"".join(parts)


def test_a_client_that_dies_in_the_middle_leaves_nothing(build: Callable[..., Receiver], path: Path) -> None:
    """Half a body is no body, whether the connection is closed or reset."""
    request = signed(event(1))
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with serve(build().asgi()) as port:
        for linger in (b"\1\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"):
            with socket.create_connection(("127.0.0.1", port)) as dying:
                dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                start = f"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: {len(request.body)}\r\n{head}\r\n"
                dying.sendall(start.encode() + request.body[:20])
        status = deliver(port, signed(event(2)))

    assert status == 200
    assert rows(path, "select event_id from hookline_inbox") == [("event_0002",)]


def test_a_client_that_goes_away_while_we_write_costs_the_others_nothing(
    build: Callable[..., Receiver], path: Path
) -> None:
    """A server that cancels the request of a client it lost must not cancel the batch that request is in."""
    receiver = build()
    receiver.open()
    app = receiver.asgi()

    async def call(number: int) -> list[int]:
        request = signed(event(number))
        sent: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def answer(message: Any) -> None:
            sent.append(message.get("status", 0))

        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/webhooks", "headers": headers, "client": None}
        await app(scope, receive, answer)
        return sent

    async def race() -> list[Any]:
        calls = [asyncio.create_task(call(number)) for number in range(20)]
        await asyncio.sleep(0)  # all of them wait for the commit now
        for lost in calls[::2]:
            lost.cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(race())

    assert answers[1::2] == [[200, 0]] * 10
    assert {type(answer) for answer in answers[::2]} == {asyncio.CancelledError}
    assert rows(path, "select count(*) from hookline_inbox") == [(20,)]


def test_what_waits_for_the_disk_is_bounded(build: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bodies pile up behind a slow database, further ones are told to come back."""
    monkeypatch.setattr("hookline.receiver.asgi.MAX_WAITING", 1_000)
    receiver = build()
    gate = threading.Event()
    put = receiver.intake.put

    async def slow(entry: Entry) -> PutKind:
        await asyncio.to_thread(gate.wait)
        return await put(entry)

    monkeypatch.setattr(receiver.intake, "put", slow)
    waiting = [signed(event(number, json.dumps({"x": "y" * 300}))) for number in range(4)]
    with serve(receiver.asgi()) as port, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(deliver, port, request) for request in waiting]
        while sum(answer.done() for answer in answers) < 2:
            time.sleep(0.005)
        gate.set()
        statuses = sorted(answer.result() for answer in answers)
        after = deliver(port, waiting[0])

    assert statuses == [200, 200, 503, 503]
    assert after == 200


def test_it_can_be_mounted(build: Callable[..., Receiver], path: Path) -> None:
    """Below a prefix of another application the path is what follows the prefix, with and without a slash."""
    app = Starlette(routes=[Mount("/hooks", build().asgi())])
    with serve(app) as port:
        statuses = [
            deliver(port, signed(event(1)), "/hooks/webhooks"),
            deliver(port, signed(event(2)), "/hooks/webhooks/"),
            deliver(port, signed(event(3)), "/webhooks"),
            deliver(port, signed(event(4)), "/hooks/hooks/webhooks"),
        ]

    assert statuses == [200, 200, 404, 404]
    assert rows(path, "select count(*) from hookline_inbox") == [(2,)]


def test_alone_it_says_whether_it_lives_and_is_ready(build: Callable[..., Receiver], server: Any) -> None:
    """For whatever restarts it or sends it traffic."""
    with server(build()) as port:
        healthy, ready = (send(port, method="GET", path=path)[0] for path in ("/healthz", "/readyz"))
    with server(build(secrets=None)) as port:
        closed = [send(port, method="GET", path=path)[0] for path in ("/healthz", "/readyz")]

    assert (healthy, ready, closed) == (200, 200, [200, 503])


def test_served_alone_it_does_not_start_on_a_database_it_cannot_open(tmp_path: Path) -> None:
    """What is wrong is said at the start, by the server, and not with the first webhook."""
    receiver = Receiver(f"sqlite:///{tmp_path}/missing/door.db", secrets=[SECRET])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def answer(message: Any) -> None:
        sent.append(message)

    asyncio.run(receiver.asgi()({"type": "lifespan"}, receive, answer))

    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    assert "cannot open" in message["message"]


def test_a_sleeping_handler_delays_no_answer(build: Callable[..., Receiver], path: Path) -> None:
    """Handlers run elsewhere: while one sleeps before its first write, webhooks are kept as ever."""
    receiver = build()
    asleep, wake, stop = threading.Event(), threading.Event(), threading.Event()

    @receiver.on("*", name="sleeper")
    def sleep(event: Any, tx: Any) -> None:
        asleep.set()
        wake.wait(10)
        tx.execute("create table if not exists slept (id text)")

    worker = threading.Thread(target=receiver.run_worker, args=(stop,), kwargs={"concurrency": 1})
    receiver.drain()
    with serve(receiver.asgi()) as port:
        worker.start()
        deliver(port, signed(event(1)))
        was_asleep = asleep.wait(10)
        statuses = [deliver(port, signed(event(number))) for number in range(2, 22)]
        is_asleep = not wake.is_set()
        wake.set()
        stop.set()
        worker.join(10)

    assert was_asleep
    assert is_asleep
    assert statuses == [200] * 20
