"""The conformance check against consumers that do one thing wrong each: its line says so, and no other does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from hookline.sender.conformance import CHECKS, check_endpoint
from hookline.sender.conformance_model import CheckLine, Conformance
from hookline.sender.http import Answer, Request
from hookline.testing.clock import TurnedClock

from . import consumers
from .conftest import served
from .consumers import NOW_MS, SECRET, Consumer, Consumers, Simulated, Timeless

PASSED = {one.name: "passed" for one in CHECKS}


@pytest.fixture(scope="module")
def all_of_them() -> Iterator[tuple[str, Consumers]]:
    app = Consumers()
    with served(app) as url:
        yield url, app


def checked(url: str, consumer: Consumer, *, simulated: bool = False, seen: bool = False) -> Conformance:
    async def run() -> Conformance:
        used = Simulated(consumer) if simulated else Timeless(refuse=lambda _: None)
        observer = consumer if seen else None
        try:
            return await check_endpoint(url, SECRET, used, clock=TurnedClock(NOW_MS), observer=observer)
        finally:
            await used.close()

    return asyncio.run(run())


def odd_lines(done: Conformance) -> dict[str, CheckLine]:
    """Those that are not as a consumer's is that does everything well."""
    return {line.name: line for line in done.lines if line.verdict != "passed"}


FORGED = ("wrong_secret", "missing_signature", "old_timestamp", "future_timestamp", "tampered_body")


@pytest.mark.parametrize(
    ("kind", "failed", "warned", "short", "advice"),
    [
        (Consumer, (), (), None, None),
        (consumers.VerifiesNothing, FORGED, (), "wrong signature accepted", "verify the signature"),
        (consumers.TakesAnyAge, ("old_timestamp", "future_timestamp"), (), "old timestamp accepted", "tolerance of 3"),
        (consumers.LooksBackOnly, ("future_timestamp",), (), "future timestamp accepted", "SDKs for Node"),
        (
            consumers.FailsOnForgeries,
            ("wrong_secret", "tampered_body"),
            (),
            "wrong signature met an error",
            "500 is an error and no refusal",
        ),
        (consumers.LeadsToALogin, (), FORGED, "wrong signature redirected", "302 is no refusal"),
        (
            consumers.TrustsTheUnsigned,
            ("missing_signature", "content_type"),
            (),
            "missing signature accepted",
            "verify the signature of every request",
        ),
        (consumers.VerifiesTheStart, ("tampered_body",), (), "tampered body accepted", "use what was verified"),
        (consumers.FailsOnDoubles, ("duplicate",), (), "duplicate not accepted", "came before"),
        (consumers.NeedsParents, ("out_of_order",), (), "out-of-order sequence not accepted", "any order"),
        (consumers.RefusesTheStale, ("stale",), (), "stale update not accepted", "updated_at"),
        (consumers.FailsOnUnknownTypes, ("unknown_type",), (), "unknown event type not accepted", "without notice"),
        (consumers.FailsOnWhatIsNotJson, ("not_json",), (), "signed body, not JSON, met an error", "200 or 400"),
        (consumers.TakesSmallBodies, ("large_body",), (), "event of 1 MiB not accepted", "raise the largest body"),
        (consumers.TakesAllBodies, (), ("oversize",), "body of 3 MiB accepted", "a limit with 413"),
        (consumers.FailsOnLargeBodies, ("oversize",), (), "body of 3 MiB not refused", "a limit with 413"),
        (consumers.TakesForms, ("content_type",), (), "form accepted", "refuse form types with 415"),
        (consumers.FailsOnForms, ("content_type",), (), "form met an error", "refuse form types with 415"),
        (consumers.FailsOnGet, ("other_methods",), (), "GET and HEAD met an error", "405"),
        (consumers.RedirectsTheSlash, (), ("trailing_slash",), "other trailing slash redirected", "never followed"),
    ],
)
def test_a_fault_is_found_on_a_socket(
    all_of_them: tuple[str, Consumers],
    kind: type[Consumer],
    failed: tuple[str, ...],
    warned: tuple[str, ...],
    short: str | None,
    advice: str | None,
) -> None:
    """Exactly its lines differ, in the words of what the consumer did, with what the guide advises; nothing is left."""
    url, app = all_of_them
    consumer = app.by_name[kind.__name__] = kind()

    done = checked(f"{url}/{kind.__name__}", consumer)

    odd = odd_lines(done)
    expected = dict.fromkeys(failed, "failed") | dict.fromkeys(warned, "warning")
    assert {name: line.verdict for name, line in odd.items()} == {"stale": "unknown"} | expected
    assert done.has_failed == bool(failed)
    if short is not None:
        first = odd[(failed or warned)[0]]
        assert first.short == short
        assert str(advice) in str(first.advice)
    assert (done.left_behind, consumer.objects) == (0, {})


@pytest.mark.parametrize("kind", [consumers.ParsesFirst, consumers.RefusesJson])
def test_where_nothing_is_accepted_nothing_else_is_sent(
    all_of_them: tuple[str, Consumers], kind: type[Consumer]
) -> None:
    """A body that was written again, a type that is refused: the first line fails, and the others are not judged."""
    url, app = all_of_them
    consumer = app.by_name[kind.__name__] = kind()

    done = checked(f"{url}/{kind.__name__}", consumer)

    verdicts = {line.name: line.verdict for line in done.lines}
    assert verdicts == dict.fromkeys(PASSED, "unknown") | {"valid": "failed"}
    assert [len(line.requests) for line in done.lines] == [1] + [0] * (len(CHECKS) - 1)
    assert ("raw bytes" if kind is consumers.ParsesFirst else "application/json") in str(done.lines[0].advice)


@pytest.mark.parametrize(
    ("kind", "name", "verdict", "short", "came"),
    [
        (consumers.WorksBeforeItAnswers, "slow_ack", "failed", "answer too late", "a user in 5000 ms"),
        (consumers.WorksALittle, "slow_ack", "warning", "answer waits for the work", "without work 1 ms"),
        (consumers.HangsOnLargeBodies, "oversize", "failed", "body of 3 MiB not refused", "no complete answer"),
        (consumers.HangsOnSignedForms, "content_type", "unknown", "form", "401, no complete answer"),
        (consumers.ServesOneAtATime, "burst", "failed", "burst of 20 not accepted", "15 of 20 accepted"),
        (consumers.ServesTwoAtATime, "burst", "warning", "burst of 20 answered late", "p95 10000 ms, alone 1000 ms"),
    ],
)
def test_a_fault_of_time_is_found(kind: type[Consumer], name: str, verdict: str, short: str, came: str) -> None:
    """By the time that the answers would have taken."""
    consumer = kind()

    odd = odd_lines(checked("http://consumer.example/hooks", consumer, simulated=True))

    assert {one: line.verdict for one, line in odd.items()} == {"stale": "unknown", name: verdict}
    assert odd[name].short == short
    assert came in odd[name].came


def test_a_connection_that_is_closed_refuses_an_endless_body() -> None:
    """By a server of a few lines that hangs up where too much is announced, with the body half on its way."""
    consumer = Consumer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        size = int(headers.get("content-length", 0))
        if size <= consumers.MOST_BYTES:
            status, _ = consumer.answer(method, path, headers, await reader.readexactly(size))
            writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    async def run() -> Conformance:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            exchange = Timeless(refuse=lambda _: None)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks"
            try:
                return await check_endpoint(url, SECRET, exchange, clock=TurnedClock(NOW_MS))
            finally:
                await exchange.close()

    done = asyncio.run(run())

    assert {name: line.verdict for name, line in odd_lines(done).items()} == {"stale": "unknown"}
    assert next(line.came for line in done.lines if line.name == "oversize") == "the connection was closed"


def test_what_could_not_be_deleted_is_counted() -> None:
    """Though each line passes: whoever made the check has to know what it left."""
    consumer = consumers.KeepsWhatIsDeleted()

    done = checked("http://consumer.example/hooks", consumer, simulated=True)

    assert set(odd_lines(done)) == {"stale"}
    assert done.left_behind == len(consumer.objects) > 20


@pytest.mark.parametrize("requests", [7, 19, 30])
def test_a_check_that_is_interrupted_deletes_what_it_made(requests: int) -> None:
    """As by Ctrl-C, in the middle of a request of which nobody knows any more whether it was taken."""
    consumer = Consumer()
    checking: list[asyncio.Future[Conformance]] = []

    class Interrupted(Simulated):
        count = 0

        async def send(self, request: Request) -> Answer:
            self.count += 1
            is_last = self.count == requests
            answer = await super().send(request)
            if is_last:
                checking[0].cancel()
                await asyncio.sleep(1)
            return answer

    async def run() -> None:
        exchange = Interrupted(consumer)
        check = check_endpoint("http://consumer.example/hooks", SECRET, exchange, clock=TurnedClock(NOW_MS))
        checking.append(asyncio.ensure_future(check))
        with pytest.raises(asyncio.CancelledError):
            await checking[0]

    asyncio.run(run())

    assert len(consumer.taken) > requests / 3
    assert consumer.objects == {}


def test_lines_that_nobody_reads_end_the_check() -> None:
    """As through a pipe whose other end has left; what was made is deleted."""
    consumer = Consumer()

    def told(line: CheckLine) -> None:
        if line.name == "duplicate":
            raise BrokenPipeError

    async def run() -> None:
        await check_endpoint(
            "http://consumer.example/hooks", SECRET, Simulated(consumer), clock=TurnedClock(NOW_MS), told=told
        )

    with pytest.raises(BrokenPipeError):
        asyncio.run(run())

    assert len(consumer.taken) > 10
    assert consumer.objects == {}


@pytest.mark.parametrize(
    ("kind", "name", "short"),
    [
        (consumers.TakesDoubles, "duplicate", "duplicate taken in twice"),
        (consumers.DropsOrphans, "out_of_order", "out-of-order sequence lost"),
        (consumers.LastWriteWins, "stale", "stale update written"),
    ],
)
def test_a_fault_that_is_only_seen_from_within(kind: type[Consumer], name: str, short: str) -> None:
    """2xx is what the guide asks for, and not enough: an observer sees what became of the events."""
    outside = odd_lines(checked("http://consumer.example/hooks", kind(), simulated=True))
    inside = odd_lines(checked("http://consumer.example/hooks", kind(), simulated=True, seen=True))

    assert {one: line.verdict for one, line in outside.items()} == {"stale": "unknown"}
    assert {one: (line.verdict, line.short) for one, line in inside.items()} == {name: ("failed", short)}
