"""What holds of our own exchange beyond the contract: byte by byte, connection by connection, through a proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import pytest
import uvloop

from hookline.sender.http import BODY_READ_BYTES, Answer, Refuse, tls_context
from hookline.sender.http_connection import (
    ANSWER_READ_BYTES,
    HEAD_READ_BYTES,
    HEADERS_READ,
    Connection,
    Post,
)
from hookline.sender.http_dial import EgressProxy
from hookline.sender.http_httptools import IDLE_PER_DESTINATION, HttptoolsExchange
from hookline.testing.authority import Authority
from hookline.testing.sink import Sink, SinkRequest
from tests.sender.test_http import OK, a_request, allow, broken_answers, names, only_loopback_one

T = TypeVar("T")


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine on this kind of event loop."""
    new_loop = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_it(work: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(work)

    return run_it


Run = Callable[[Coroutine[Any, Any, T]], T]


@contextlib.asynccontextmanager
async def an_exchange(*, refuse: Refuse = allow, **options: Any) -> AsyncIterator[HttptoolsExchange]:
    exchange = HttptoolsExchange(refuse=refuse, **options)
    try:
        yield exchange
    finally:
        await exchange.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what other connections' ends bring about."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.01)


# -- byte by byte ----------------------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """The operating system's side of a connection: keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_shut = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_shut

    def close(self) -> None:
        self.is_shut = True

    def abort(self) -> None:
        self.is_shut = True


class Kept:
    """A pool of nothing: how often a connection was given back."""

    def __init__(self) -> None:
        self.freed_times = 0

    def made(self, connection: Connection) -> None:
        pass

    def freed(self, connection: Connection) -> None:
        self.freed_times += 1

    def lost(self, connection: Connection) -> None:
        pass


def a_connection() -> tuple[Connection, Wire]:
    connection, wire = Connection(("http", "a.test", 80), Kept()), Wire()
    connection.connection_made(wire)
    return connection, wire


class Posted(Post):
    """A request whose answer is waited for."""

    def __init__(self) -> None:
        now = monotonic()
        super().__init__(a_request("http://a.test/"), b"POST / HTTP/1.1\r\n\r\n", (), now, now + 60)
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def ended(self, answer: Answer) -> None:
        self.answer.set_result(answer)


def post_on(connection: Connection) -> asyncio.Future[Answer]:
    """Send a request; the future gets its answer."""
    posted = Posted()
    connection.post(posted)
    return posted.answer


async def read_in(pieces: Sequence[bytes]) -> tuple[object, ...]:
    """What a connection makes of an answer that comes in these pieces and then the end: all of it but the times."""
    connection, wire = a_connection()
    waiter = post_on(connection)
    for piece in pieces:
        if piece and not wire.is_shut:
            connection.data_received(piece)
    is_usable = connection.is_free
    connection.connection_lost(None)
    answer = await waiter
    return (answer.status, answer.error, answer.headers, answer.body, answer.body_bytes, answer.body_end, is_usable)


ANSWERS = {
    "length": OK + b"Content-Length: 5\r\nX-A: b\r\n\r\nhello",
    "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-T: v\r\n\r\n",
    "until-eof": OK + b"X-A: b\r\n\r\nhello",
    "http-1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "close": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
    "no-content": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    "informational": b"HTTP/1.1 100 Continue\r\nX-I: i\r\n\r\nHTTP/1.1 103 Hints\r\nConnection: close\r\n\r\n"
    + OK
    + b"Content-Length: 2\r\n\r\nhi",
    "switching": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\njunk",
    "bare-lf": b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 2\n\nhi",
    "folded": OK + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nhi",
    "two": OK + b"Content-Length: 2\r\n\r\nhi" + OK + b"Content-Length: 3\r\n\r\nbad",
    "junk-after": OK + b"Content-Length: 2\r\n\r\nhi\0\xff",
    "body-after-204": b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi",
    "cut-body": OK + b"Content-Length: 50\r\n\r\nhello",
    "cut-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "bad-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",
    "cut-headers": OK + b"Content-Len",
    "garbage": b"\x00\xffSSH-2.0-none\r\n\r\n",
    "contradiction": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi",
    "two-lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "nul": OK + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "zero-status": b"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_same_however_it_is_cut(run: Run[None], name: str) -> None:
    """Cut at every byte, in two or in as many pieces as bytes, an answer reads as if it came whole."""
    data = ANSWERS[name]

    async def work() -> None:
        whole = await read_in([data])
        for at in range(1, len(data)):
            assert await read_in([data[:at], data[at:]]) == whole, f"cut at {at}"
        assert await read_in([data[at : at + 1] for at in range(len(data))]) == whole
        draw = random.Random(name)
        for _ in range(50):
            cuts = sorted(draw.sample(range(len(data) + 1), 4))
            assert await read_in([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]) == whole

    run(work())


def test_what_the_answers_come_to(run: Run[dict[str, tuple[object, ...]]]) -> None:
    """The whole ones, so that the test above compares with something."""

    async def work() -> dict[str, tuple[object, ...]]:
        return {name: await read_in([data]) for name, data in ANSWERS.items()}

    came = {
        name: (status, error, body, end, usable)
        for name, (status, error, _, body, _, end, usable) in run(work()).items()
    }

    assert came == {
        "length": (200, None, b"hello", "complete", True),
        "chunked": (200, None, b"hello!", "complete", True),
        "until-eof": (200, None, b"hello", "complete", False),
        "http-1.0": (200, None, b"hi", "complete", False),
        "close": (200, None, b"hi", "complete", False),
        "no-content": (204, None, b"", "complete", True),
        "informational": (200, None, b"hi", "complete", True),
        "switching": (101, None, b"", "complete", False),
        "bare-lf": (200, None, b"hi", "complete", True),
        "folded": (200, None, b"hi", "complete", True),
        "two": (200, None, b"hi", "complete", False),
        "junk-after": (200, None, b"hi", "complete", False),
        "body-after-204": (204, None, b"", "complete", False),
        "cut-body": (200, None, b"hello", "broken", False),
        "cut-chunk": (200, None, b"hel", "broken", False),
        "bad-chunk": (200, None, b"", "broken", False),
        "cut-headers": (None, "closed", b"", None, False),
        "garbage": (None, "protocol", b"", None, False),
        "contradiction": (None, "protocol", b"", None, False),
        "two-lengths": (None, "protocol", b"", None, False),
        "nul": (None, "protocol", b"", None, False),
        "zero-status": (None, "protocol", b"", None, False),
    }


def test_no_answer_leaks_into_the_next(run: Run[int]) -> None:
    """After whatever came, a connection is given up, or the next answer on it is exactly the next one sent."""
    draw = random.Random(5)
    canary = b"HTTP/1.1 299 Canary\r\nX-Canary: sings\r\nContent-Length: 3\r\n\r\nyes"

    async def work() -> int:
        kept = 0
        for data in [
            *broken_answers(3000),
            *ANSWERS.values(),
            *(draw.randbytes(draw.randrange(1, 300)) for _ in range(500)),
        ]:
            connection, wire = a_connection()
            waiter = post_on(connection)
            cuts = sorted(draw.sample(range(len(data) + 1), min(len(data), draw.randrange(4))))
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                if not wire.is_shut and end > start:
                    connection.data_received(data[start:end])
            if connection.is_free:
                kept += 1
                first = await waiter
                assert first.status is not None
                waiter = post_on(connection)
                connection.data_received(canary)
                assert (await waiter).body == b"yes"
                assert (await waiter).headers[0] == ("X-Canary", "sings")
            connection.connection_lost(None)
            answer = await waiter
            assert (answer.status is None) != (answer.error is None)
        return kept

    assert run(work()) > 50


def test_bytes_in_a_free_connection_end_it(run: Run[None]) -> None:
    """What comes between two requests answers neither."""

    async def work() -> None:
        connection, wire = a_connection()
        waiter = post_on(connection)
        connection.data_received(ANSWERS["length"])
        assert (await waiter).status == 200
        free = [connection.is_free]
        connection.data_received(b"\r\n")
        assert wire.is_shut
        assert [*free, connection.is_free] == [True, False]
        connection.connection_lost(None)

    run(work())


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n" * 100], (None, "headers_too_large", None), id="storm-of-1xx"),
        pytest.param([OK, b"X-Long: ", b"v" * 1000], (None, "headers_too_large", None), id="header-without-end"),
        pytest.param([b"HTTP/1.1 200 ", b"reason " * 100], (None, "headers_too_large", None), id="reason-without-end"),
        pytest.param([OK, b"X-Many: v\r\n"], (None, "headers_too_large", None), id="headers-without-end"),
        pytest.param([b"\r\n" * 500], (None, "headers_too_large", None), id="nothing-but-line-ends"),
        pytest.param(
            [OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 5000 + b"\r\na\r\n"],
            (200, None, "limit"), id="chunk-extensions",
        ),
        pytest.param(
            [OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: ", b"v" * 5000],
            (200, None, "limit"), id="trailer-without-end",
        ),
        pytest.param(
            [OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-T: v\r\n"],
            (200, None, "broken"), id="trailers-without-end",
        ),
        pytest.param([OK + b"\r\n", b"b" * 10_000], (200, None, "limit"), id="body-without-end"),
    ],
)  # fmt: skip
def test_nothing_is_read_for_ever(run: Run[None], pieces: list[bytes], expected: tuple[object, ...]) -> None:
    """Each part of an answer that goes on and on is given up after a bounded number of bytes."""

    async def work() -> None:
        connection, wire = a_connection()
        waiter = post_on(connection)
        *starts, again = pieces
        for piece in starts:
            connection.data_received(piece)
        fed = 0
        while not wire.is_shut:
            connection.data_received(again)
            fed += len(again)
            assert fed < 2 * ANSWER_READ_BYTES
        answer = await waiter
        assert (answer.status, answer.error, answer.body_end) == expected
        connection.connection_lost(None)

    run(work())


def test_headers_up_to_the_limit_are_read(run: Run[None]) -> None:
    """As many headers as we read, and one as long as we read, are no fault; one more is."""

    async def work() -> None:
        lines = b"X-A: v\r\n" * (HEADERS_READ - 1) + b"Content-Length: 0\r\n"
        long = b"X-A: " + b"v" * (HEAD_READ_BYTES - 100) + b"\r\nContent-Length: 0\r\n"
        for head, error in ((lines, None), (b"X-B: w\r\n" + lines, "headers_too_large"), (long, None)):
            assert (await read_in([OK + head + b"\r\n"]))[1] == error

    run(work())


@pytest.mark.parametrize("size", [BODY_READ_BYTES - 1, BODY_READ_BYTES, BODY_READ_BYTES + 1])
def test_body_at_the_limit(run: Run[None], size: int) -> None:
    """A connection is kept if and only if its body was read to the end."""

    async def work() -> None:
        _, _, _, body, body_bytes, end, is_usable = await read_in(
            [OK + b"Content-Length: %d\r\n\r\n" % size, bytes(size)]
        )
        assert isinstance(body, bytes)
        assert len(body) == 16 * 1024
        assert body_bytes == min(size, BODY_READ_BYTES)
        assert (end, is_usable) == (("complete", True) if size < BODY_READ_BYTES else ("limit", False))

    run(work())


def test_a_connection_that_was_lost_answers_at_once(run: Run[None]) -> None:
    """A connection that ends between being made and being used has an end, not a wait."""

    async def work() -> None:
        for lost_by, error in ((None, "closed"), (ConnectionResetError(), "reset"), (ssl.SSLError(1, "alert"), "tls")):
            connection, _ = a_connection()
            connection.connection_lost(lost_by)
            assert (await post_on(connection)).error == error

    run(work())


# -- deadlines -------------------------------------------------------------------------------------------------


def test_each_request_has_its_own_deadline(run: Run[list[Answer]]) -> None:
    """On a kept connection a short timeout counts after a long one, and a long one after a short one."""

    async def work() -> list[Answer]:
        async with Sink() as sink, an_exchange() as exchange:
            answers = []
            for path, total_s in (("/", 60.0), ("/", 0.2), ("/slow/0.4", 5.0), ("/hang", 0.2), ("/", 5.0)):
                answers.append(await exchange.send(a_request(sink.url(path), total_s=total_s)))
            return answers

    answers = run(work())

    assert [answer.status for answer in answers] == [200, 200, 200, None, 200]
    assert [answer.reused for answer in answers] == [False, True, True, True, False]
    assert answers[3].error == "timeout"


def test_the_redo_shares_the_deadline(run: Run[Answer]) -> None:
    """What the kept connection has used up is not given again to the fresh one."""

    async def work() -> Answer:
        async with Sink() as sink, an_exchange() as exchange:
            await exchange.send(a_request(sink.url()))
            sink.expect("close/0.4", "hang")
            return await exchange.send(a_request(sink.url(), total_s=0.7))

    answer = run(work())

    assert (answer.error, answer.redone) == ("timeout", True)
    assert 0.7 <= answer.timings.total_ms / 1000 < 1.0


def test_tls_has_its_part_of_the_connect_time(run: Run[Answer], tmp_path: Path) -> None:
    """The handshake's time is told apart; a plain connection has none."""
    authority = Authority.make(tmp_path)

    async def work() -> Answer:
        async with (
            Sink(tls=authority.server_context("127.0.0.1")) as sink,
            an_exchange(tls=tls_context(authority.ca_file)) as exchange,
        ):
            return await exchange.send(a_request(sink.url()))

    timings = run(work()).timings

    assert timings.tls_ms is not None
    assert timings.connect_ms is not None
    assert 0 < timings.tls_ms <= timings.connect_ms


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_peer_that_speaks_first(run: Run[Answer], banner: bytes) -> None:
    """A greeting is no answer, even one that looks like it, wherever it meets our request."""

    async def work() -> Answer:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(banner)
            with contextlib.suppress(OSError):
                await reader.read(-1)
            writer.transport.abort()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, an_exchange() as exchange:
            connection, wire = a_connection()
            connection.data_received(banner)
            assert wire.is_shut
            connection.connection_lost(None)
            assert (await post_on(connection)).error == "protocol"
            answer = await exchange.send(a_request(f"http://127.0.0.1:{port}/", total_s=2))
            await exchange.close()
            await asyncio.sleep(0.05)  # for the other side to hear of it
            return answer

    answer = run(work())

    # Once our request is out, a greeting in the shape of an answer cannot be told from one.
    assert answer.error == "protocol" or (answer.status == 200 and banner.startswith(b"HTTP"))


# -- what is kept ----------------------------------------------------------------------------------------------


def test_idle_connections_are_bounded_per_destination(run: Run[tuple[int, int]]) -> None:
    """Of many connections to one endpoint so many stay."""

    async def work() -> tuple[int, int]:
        async with Sink() as sink, an_exchange(max_idle=10_000) as exchange:
            count, all_in = IDLE_PER_DESTINATION + 40, asyncio.Event()

            async def hold(_: SinkRequest) -> None:
                if len(sink.seen) == count:
                    all_in.set()
                await all_in.wait()  # so that none finds a connection that another has left

            sink.before = hold
            await asyncio.gather(*(exchange.send(a_request(sink.url())) for _ in range(count)))
            await until(lambda: sink.open_now <= IDLE_PER_DESTINATION)
            return sink.connections, sink.open_now

    assert run(work()) == (IDLE_PER_DESTINATION + 40, IDLE_PER_DESTINATION)


def test_idle_connections_are_bounded_in_all(run: Run[list[int]]) -> None:
    """The one idle longest makes room for the next."""

    async def work() -> list[int]:
        async with an_exchange(max_idle=3) as exchange, contextlib.AsyncExitStack() as stack:
            sinks = [await stack.enter_async_context(Sink()) for _ in range(5)]
            for sink in sinks:
                await exchange.send(a_request(sink.url()))
            await until(lambda: sum(sink.open_now for sink in sinks) == 3)
            # The first of those left is used once more, so it outlives the second.
            for sink in (sinks[2], sinks[0]):
                await exchange.send(a_request(sink.url()))
            await until(lambda: sum(sink.open_now for sink in sinks) == 3)
            return [sink.open_now for sink in sinks]

    assert run(work()) == [1, 0, 1, 0, 1]


def test_idle_connections_expire(run: Run[int]) -> None:
    """Unused, a connection is closed after its time, one used meanwhile later."""

    async def work() -> int:
        async with Sink() as sink, an_exchange(keep_alive_s=0.2) as exchange:
            await asyncio.gather(*(exchange.send(a_request(sink.url("/slow/0.1"))) for _ in range(3)))
            assert sink.open_now == 3
            await until(lambda: not sink.open_now)
            answer = await exchange.send(a_request(sink.url()))
            assert not answer.reused
            return sink.connections

    assert run(work()) == 4


def test_the_one_used_last_is_used_next(run: Run[list[int]]) -> None:
    """So that a burst's connections grow old when it is over."""

    async def work() -> list[int]:
        async with Sink() as sink, an_exchange() as exchange:
            await asyncio.gather(*(exchange.send(a_request(sink.url("/slow/0.1"))) for _ in range(4)))
            for _ in range(6):
                await exchange.send(a_request(sink.url()))
            return [seen.connection for seen in sink.seen[4:]]

    assert len(set(run(work()))) == 1


def open_files() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


def open_sockets() -> int:
    """How many this process holds (Linux)."""
    links = []
    for file in open_files():
        with contextlib.suppress(OSError):
            links.append(str(Path(f"/proc/self/fd/{file}").readlink()))
    return sum(link.startswith("socket:") for link in links)


def test_idle_connections_give_way_where_descriptors_run_out(run: Run[tuple[Answer, Answer]]) -> None:
    """Out of descriptors, the idle ones are let go and the request is made; with none idle it is `local`."""

    @contextlib.contextmanager
    def no_descriptor_left() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        fillers: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_files()) + 1, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    fillers.append(os.dup(0))
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)

    async def work() -> tuple[Answer, Answer]:
        async with Sink() as sink, Sink() as other:
            async with an_exchange() as exchange:
                await asyncio.gather(*(exchange.send(a_request(sink.url("/slow/0.2"))) for _ in range(8)))
                with no_descriptor_left():
                    freed = await exchange.send(a_request(other.url(), total_s=2))
            async with an_exchange() as exchange:
                with no_descriptor_left():
                    none_to_free = await exchange.send(a_request(other.url(), total_s=2))
            return freed, none_to_free

    freed, none_to_free = run(work())

    assert (freed.status, freed.error) == (200, None)
    assert (none_to_free.status, none_to_free.error) == (None, "local")
    assert "Too many open files" in (none_to_free.detail or "")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_thousand_at_once_cancelled_leave_nothing_open(run: Run[int], tmp_path: Path, scheme: str) -> None:
    """Cancelled in whatever phase, requests leave no connection and no descriptor behind, and harm no other."""
    authority = Authority.make(tmp_path)
    draw = random.Random(9)
    count = 1000 if scheme == "http" else 200
    paths = ["/status/200", "/hang", "/drip-body/200", "/drip-headers", "/close", "/slow/0.05", "/early/413"]

    async def work() -> int:
        before = open_sockets()
        context = authority.server_context("127.0.0.1") if scheme == "https" else None
        answered = 0
        async with (
            Sink(tls=context) as sink,
            an_exchange(tls=tls_context(authority.ca_file)) as exchange,
        ):
            tasks = [
                asyncio.create_task(
                    exchange.send(a_request(sink.url(draw.choice(paths)), bytes(draw.choice((9, 300_000))), total_s=30))
                )
                for _ in range(count)
            ]
            for task in draw.sample(tasks, count):
                if draw.random() < 0.05:
                    await asyncio.sleep(0.002)
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(ended, Answer | asyncio.CancelledError)
                answered += isinstance(ended, Answer)
            assert (await exchange.send(a_request(sink.url("/status/200")))).status == 200
        await until(lambda: open_sockets() <= before)
        return answered

    assert run(work()) < count


# -- several addresses -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def deaf_port(address: str, port: int = 0) -> Iterator[int]:
    """A port whose connections are never taken: its backlog is full."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind((address, port))
        full.listen(0)
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def test_the_next_address_is_tried_beside_a_slow_one(run: Run[tuple[Answer, Sink]]) -> None:
    """An address that does not answer costs a moment, not the connect timeout."""

    async def work() -> tuple[Answer, Sink]:
        async with Sink() as sink:
            with deaf_port("127.0.0.2", sink.port):
                lookup = names(two_test=["127.0.0.2", "127.0.0.1"])
                async with an_exchange(lookup=lookup) as exchange:
                    return await exchange.send(a_request(sink.url(host="two.test"), connect_s=20, total_s=20)), sink

    answer, sink = run(work())

    assert answer.status == 200
    assert answer.address == f"127.0.0.1:{sink.port}"
    assert answer.timings.total_ms < 20_000


def test_no_address_answers(run: Run[list[Answer]]) -> None:
    """Where all refuse, the last one's refusal is told; where one hangs, the timeout."""

    async def work() -> list[Answer]:
        lookup = names(two_test=["127.0.0.2", "127.0.0.3", "127.0.0.4"])
        async with an_exchange(lookup=lookup) as exchange:
            with deaf_port("127.0.0.9") as port:
                refused = await exchange.send(a_request(f"http://two.test:{port}/"))
            with deaf_port("127.0.0.3") as port:
                hung = await exchange.send(a_request(f"http://two.test:{port}/", connect_s=0.6))
            return [refused, hung]

    refused, hung = run(work())

    assert (refused.error, (refused.address or "").partition(":")[0]) == ("connect_refused", "127.0.0.4")
    assert hung.error == "connect_timeout"


# -- through a proxy -------------------------------------------------------------------------------------------


@dataclass
class Proxy:
    """An egress proxy: CONNECT and the absolute form, both after its own look at the credentials."""

    port: int = 0
    credentials: str | None = None
    #: What it answers to CONNECT instead of connecting.
    answer: bytes | None = None
    heads: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._one(reader, writer)
        writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        method, target, _ = head.split("\r\n")[0].split(" ")
        if self.answer is not None:
            writer.write(self.answer)
            await reader.read(-1)
            return
        if self.credentials is not None and f"Proxy-Authorization: {self.credentials}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
            await reader.read(-1)
            return
        authority = target if method == "CONNECT" else target.removeprefix("http://").partition("/")[0]
        host, _, port = authority.rpartition(":")
        # As real proxies do, names are looked up here: the tests' name is this machine.
        onward_reader, onward = await asyncio.open_connection(host.replace("sink.test", "127.0.0.1"), int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            kept = "\r\n".join(line for line in head.split("\r\n") if not line.startswith("Proxy-"))
            onward.write(kept.replace(f"http://{authority}", "", 1).encode("latin-1"))
        try:
            await asyncio.gather(self._pipe(reader, onward), self._pipe(onward_reader, writer))
        finally:
            onward.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def running_proxy(**options: Any) -> AsyncIterator[Proxy]:
    proxy = Proxy(**options)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in list(proxy.tasks):
            task.cancel()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)
        await server.wait_closed()


SINK_TEST = names(sink_test=["127.0.0.1"], inner_test=["10.0.0.7"])


def test_https_goes_through_a_tunnel(run: Run[tuple[list[Answer], Sink, Proxy]], tmp_path: Path) -> None:
    """The proxy is asked to connect to the checked address; TLS inside checks the name; the connection is kept."""
    authority = Authority.make(tmp_path)
    asked_for: list[str | None] = []
    context = authority.server_context("sink.test")
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    async def work() -> tuple[list[Answer], Sink, Proxy]:
        async with (
            Sink(tls=context) as sink,
            running_proxy() as proxy,
            an_exchange(
                tls=tls_context(authority.ca_file), lookup=SINK_TEST, proxy_url=f"http://127.0.0.1:{proxy.port}"
            ) as exchange,
        ):
            url = sink.url(host="sink.test")
            return [await exchange.send(a_request(url, bytes(size))) for size in (3, 300_000)], sink, proxy

    answers, sink, proxy = run(work())

    assert [answer.status for answer in answers] == [200, 200]
    assert [answer.reused for answer in answers] == [False, True]
    assert asked_for == ["sink.test"]
    [head] = proxy.heads
    assert head == f"CONNECT 127.0.0.1:{sink.port} HTTP/1.1\r\nHost: 127.0.0.1:{sink.port}\r\n\r\n"
    assert answers[0].address == f"127.0.0.1:{sink.port}"
    assert answers[0].tls == "TLSv1.3"
    assert [len(seen.body) for seen in sink.seen] == [3, 300_000]


def test_plain_http_is_handed_to_the_proxy(run: Run[tuple[Answer, Sink, Proxy]]) -> None:
    """The proxy gets the whole URL, and evidence names the proxy as what was dialled."""

    async def work() -> tuple[Answer, Sink, Proxy]:
        async with (
            Sink() as sink,
            running_proxy() as proxy,
            an_exchange(lookup=SINK_TEST, proxy_url=f"http://127.0.0.1:{proxy.port}/") as exchange,
        ):
            return await exchange.send(a_request(sink.url("/in?a=b", host="sink.test"))), sink, proxy

    answer, sink, proxy = run(work())

    assert answer.status == 200
    assert answer.address == f"127.0.0.1:{proxy.port}"
    assert proxy.heads[0].startswith(
        f"POST http://sink.test:{sink.port}/in?a=b HTTP/1.1\r\nHost: sink.test:{sink.port}\r\n"
    )
    assert sink.seen[0].path == "/in?a=b"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_credentials_reach_the_proxy_and_nobody_else(
    run: Run[tuple[Answer, Sink, Proxy]], tmp_path: Path, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """User and password, percent-escaped in the URL, are in no evidence, no log and no request to the endpoint."""
    caplog.set_level("DEBUG")
    authority = Authority.make(tmp_path)
    expected = "Basic " + base64.b64encode(b"us er:p@ss:word").decode()

    async def work() -> tuple[Answer, Sink, Proxy]:
        context = authority.server_context("sink.test") if scheme == "https" else None
        async with Sink(tls=context) as sink, running_proxy(credentials=expected) as proxy:
            url = f"http://us%20er:p%40ss%3Aword@127.0.0.1:{proxy.port}"
            async with an_exchange(tls=tls_context(authority.ca_file), lookup=SINK_TEST, proxy_url=url) as exchange:
                return await exchange.send(a_request(sink.url(host="sink.test"))), sink, proxy

    answer, sink, proxy = run(work())

    assert answer.status == 200
    assert f"Proxy-Authorization: {expected}\r\n" in proxy.heads[0]
    assert "roxy" not in str(sink.seen)
    for shown in (str(answer), caplog.text):
        assert expected not in shown
        assert "p@ss" not in shown


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_refused_addresses_stay_refused(run: Run[tuple[list[Answer], Proxy]], scheme: str) -> None:
    """What must not be called is not asked of the proxy either: a name that leads there, a literal, one of several."""
    lookup = names(inner_test=["10.0.0.7"], mixed_test=["127.0.0.1", "169.254.169.254"])

    async def work() -> tuple[list[Answer], Proxy]:
        async with (
            running_proxy() as proxy,
            an_exchange(
                refuse=only_loopback_one, lookup=lookup, proxy_url=f"http://127.0.0.1:{proxy.port}"
            ) as exchange,
        ):
            hosts = ("inner.test", "mixed.test", "10.0.0.7", "[::1]")
            return [await exchange.send(a_request(f"{scheme}://{host}/")) for host in hosts], proxy

    answers, proxy = run(work())

    assert [answer.error for answer in answers] == ["address_refused"] * 4
    assert proxy.heads == []


def test_the_proxy_is_not_checked(run: Run[Answer]) -> None:
    """Its own address, here by name and inside, is the operator's choice."""
    lookup = names(sink_test=["127.0.0.1"], proxy_test=["127.0.0.1"])
    asked: list[str] = []

    def refuse(address: str) -> str | None:
        asked.append(address)
        return None

    async def work() -> Answer:
        async with (
            Sink() as sink,
            running_proxy() as proxy,
            an_exchange(refuse=refuse, lookup=lookup, proxy_url=f"http://proxy.test:{proxy.port}") as exchange,
        ):
            return await exchange.send(a_request(sink.url(host="sink.test")))

    assert run(work()).status == 200
    assert asked == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nnope", "403"),
        (b"HTTP/1.0 502 Bad\r\n\r\n", "502"),
        (b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n", "407"),
        (b"SSH-2.0-none\r\n\r\n", "no answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 forged\r\n\r\n", "no answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 9000, "no answer"),
        (b"HTTP/1.1 200 OK\r\n", "no connection within"),
    ],
)
def test_a_proxy_that_will_not(run: Run[Answer], answer: bytes, says: str) -> None:
    """A tunnel that does not come about is told in the proxy's words, and is no answer of the endpoint."""

    async def work() -> Answer:
        async with (
            running_proxy(answer=answer) as proxy,
            an_exchange(proxy_url=f"http://127.0.0.1:{proxy.port}") as exchange,
        ):
            return await exchange.send(a_request("https://127.0.0.1/", connect_s=0.5))

    came = run(work())

    assert (came.status, came.error) == (None, "connect_timeout" if says.startswith("no conn") else "connect_failed")
    assert says in (came.detail or "")


def test_a_plain_request_without_the_right_credentials(run: Run[Answer]) -> None:
    """407 is the proxy's word, not the endpoint's answer."""

    async def work() -> Answer:
        async with (
            running_proxy(credentials="Basic other") as proxy,
            an_exchange(proxy_url=f"http://127.0.0.1:{proxy.port}") as exchange,
        ):
            return await exchange.send(a_request("http://127.0.0.1:9/"))

    answer = run(work())

    assert (answer.status, answer.error) == (None, "connect_failed")
    assert "407" in (answer.detail or "")


def test_a_proxy_that_is_down(run: Run[Answer]) -> None:
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))

        async def work() -> Answer:
            async with an_exchange(proxy_url=f"http://127.0.0.1:{probe.getsockname()[1]}") as exchange:
                return await exchange.send(a_request("https://127.0.0.1/"))

        answer = run(work())

    assert answer.error == "connect_refused"


@pytest.mark.parametrize(
    "url",
    [
        "", "proxy.test:3128", "https://proxy.test", "socks5://proxy.test", "http://", "http://u:s3cret@",
        "http://proxy.test/x", "http://proxy.test?x", "http://proxy.test:99999", "http://u:s3cret@proxy.test:port",
        "http://u:s3cret@proxy.test ", "http://u:s3cret@[::1",
    ],
)  # fmt: skip
def test_what_is_no_proxy_url(url: str) -> None:
    """Refused without showing it."""
    with pytest.raises(ValueError, match="expected an egress proxy as http") as refused:
        EgressProxy.from_url(url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_proxy_does_not_show_its_credentials() -> None:
    """Not even to whoever prints it."""
    assert "c2VjcmV0" not in repr(EgressProxy.from_url("http://u:secret@proxy.test:3128"))
    assert "Basic" not in repr(EgressProxy.from_url("http://u:secret@[::1]:3128"))
