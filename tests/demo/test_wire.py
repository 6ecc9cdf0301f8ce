"""The wire: mischief of every kind, but never a changed byte of a genuine request nor an answer of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from hookline.demo.wire import CALM, FORGERIES, Habits, Wire, draw_fate
from hookline.errors import InvalidSignature
from hookline.loop import SystemClock
from hookline.wire.signature import sign, verify_signature

SECRET = "whsec_wire"
NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
BODY = b'{"id":"event_01",  "event":"dsync.user.created","data":{"n":"Zo\\u00eb"}, "created_at":"2026-11-24"}'


def request(body: bytes = BODY, *, path: bytes = b"/webhooks") -> bytes:
    """A signed request with odd but legal spelling, to see every byte arrive."""
    header = sign(body, SECRET, timestamp_ms=NOW_MS).encode()
    return (
        b"POST " + path + b" HTTP/1.1\r\nhost:  loopback\r\nWORKOS-signature: " + header + b"\r\n"
        b"X-Odd:\t a  b \r\nContent-LENGTH: %d\r\n\r\n" % len(body) + body
    )


class Receiver:
    """Keeps the raw bytes of every request and answers 200, or 401 where the signature does not hold."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []

    def paths(self) -> list[bytes]:
        return [one.split(b" ")[1] for one in self.requests]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            self.requests.append(head + body)
            ok = refusal(head, body) is None
            answer = b"HTTP/1.1 %s\r\nX-Odd:\t answer \r\ncontent-length: 4\r\n\r\nfine" % (
                b"200 Okay" if ok else b"401 No"
            )
            self.answers.append(answer)
            writer.write(answer)
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def refusal(head: bytes, body: bytes) -> str | None:
    """Why a receiver refuses these bytes, or None."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    header = next((value.strip() for name, _, value in lines if name.lower() == b"workos-signature"), None)
    try:
        verify_signature(body, header, [SECRET], tolerance_s=180, now_ms=NOW_MS)
    except InvalidSignature as error:
        return error.reason
    return None


@asynccontextmanager
async def wired(habits: Habits, rng: random.Random | None = None) -> AsyncIterator[tuple[Wire, Receiver]]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = Wire(
        ("127.0.0.1", port),
        rng=rng or random.Random(1),
        clock=SystemClock(),
        sign_old=lambda body: sign(body, SECRET, timestamp_ms=NOW_MS - HOUR_MS),
        habits=habits,
    )
    async with server, wire:
        yield wire, receiver


async def post(wire: Wire, raw: bytes) -> bytes:
    """What comes back for these bytes. Raises ConnectionResetError where the wire breaks the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    try:
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        return head + await reader.readexactly(4)
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError from error
    finally:
        writer.close()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is seen from outside, it sets no event
            await asyncio.sleep(0.005)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(15):
            await test()

    asyncio.run(bounded())


class Script(random.Random):
    """Draws what it is told, then never anything unlikely again."""

    def __init__(self, *draws: float) -> None:
        super().__init__(0)
        self._draws = [0.5, *draws]  # the first draw seeds the outages

    def random(self) -> float:
        return self._draws.pop(0) if self._draws else 0.999


def test_fates_come_from_the_seed_alone() -> None:
    """The same seed draws the same fates, and each draw takes the same from the stream."""
    habits = Habits()
    first, second = random.Random(7), random.Random(7)

    fates = [draw_fate(habits, first) for _ in range(500)]

    assert fates == [draw_fate(habits, second) for _ in range(500)]
    assert {fate.forgery for fate in fates} == {None, *FORGERIES}
    assert {fate.reset for fate in fates} == {None, "before", "after"}
    assert all(fate.delay_s <= habits.delay_s[1] and fate.overtaken_by <= habits.overtaken_by[1] for fate in fates)
    assert [draw_fate(CALM, first)] * 50 == [draw_fate(CALM, first) for _ in range(50)]


def test_genuine_bytes_pass_unchanged_both_ways() -> None:
    """Every byte of the request reaches the receiver and every byte of the answer comes back."""

    async def test() -> None:
        async with wired(CALM) as (wire, receiver):
            answer = await post(wire, request())

            assert receiver.requests == [request()]
            assert [answer] == receiver.answers
            assert answer.startswith(b"HTTP/1.1 200")

    run(test)


def test_one_connection_carries_many_requests() -> None:
    """A kept-alive connection of the sender's is served until the sender closes it."""

    async def test() -> None:
        async with wired(CALM) as (wire, receiver):
            reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
            for number in range(3):
                writer.write(request(path=b"/%d" % number))
                await reader.readuntil(b"fine")
            writer.close()

            assert receiver.paths() == [b"/0", b"/1", b"/2"]

    run(test)


def test_a_doubled_request_arrives_twice_with_the_same_bytes() -> None:
    """The copy is the request itself; the sender hears of one."""

    async def test() -> None:
        async with wired(replace(CALM, doubled=1, delay_s=(0, 0.02))) as (wire, receiver):
            await post(wire, request())
            await wire.drain()

            assert receiver.requests == [request(), request()]
            assert wire.figures().doubled == 1

    run(test)


def test_every_forged_copy_is_one_the_receiver_refuses() -> None:
    """Each kind of forgery fails at its own step, and the genuine request still arrives."""

    async def test() -> None:
        async with wired(replace(CALM, forged=1)) as (wire, receiver):
            for _ in range(40):
                assert (await post(wire, request())).startswith(b"HTTP/1.1 200")
            await wire.drain()

            forged = [one for one in receiver.requests if one != request()]
            reasons = {refusal(*one.split(b"\r\n\r\n", 1)) for one in forged}
            assert len(forged) == wire.figures().forged == 40
            assert len(receiver.requests) == 80
            assert reasons == {"mismatch", "expired", "missing"}
            assert wire.figures().forged_accepted == 0

    run(test)


def test_a_reset_breaks_the_connection_before_or_after_forwarding() -> None:
    """The sender is told nothing either way; only after forwarding did the receiver hear of it."""

    async def test() -> None:
        for habits, heard in ((replace(CALM, reset_before=1), 0), (replace(CALM, reset_after=1), 1)):
            async with wired(habits) as (wire, receiver):
                with pytest.raises(ConnectionResetError):
                    await post(wire, request())

                assert len(receiver.requests) == heard
                assert wire.figures().reset == 1

    run(test)


def test_later_requests_overtake_a_held_one() -> None:
    """A request held for two others arrives as the third."""

    async def test() -> None:
        held = Script(0.9, 0.0, 0.9, 0.9, 0.9, 0.5, 0.0, 0.5, 0.5)
        async with wired(replace(CALM, overtaken=0.5, overtaken_by=(2, 2), hold_most_s=5), held) as (wire, receiver):
            first = asyncio.create_task(post(wire, request(path=b"/first")))
            await eventually(lambda: bool(wire._waiting))
            await post(wire, request(path=b"/second"))
            await post(wire, request(path=b"/third"))
            await first

            assert receiver.paths() == [b"/second", b"/third", b"/first"]
            assert wire.figures().overtaken == 1

    run(test)


def test_an_outage_resets_what_is_open_and_refuses_what_comes() -> None:
    """While it is down nothing passes; afterwards everything does."""

    async def test() -> None:
        habits = replace(CALM, outage_every_s=(0.05, 0.05), outage_s=(0.2, 0.2))
        async with wired(habits) as (wire, receiver):
            reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
            await eventually(lambda: wire.figures().is_down)
            with pytest.raises(ConnectionResetError):
                await post(wire, request())
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
            writer.close()
            await eventually(lambda: not wire.figures().is_down)
            await wire.drain()
            await post(wire, request())

            assert len(receiver.requests) == 1
            assert wire.figures().refused >= 1
            assert not wire.figures().is_down

    run(test)


def test_draining_ends_all_mischief_and_lets_go_of_what_is_held() -> None:
    """After `drain` nothing is delayed, held, forged or broken, and no outage comes."""

    async def test() -> None:
        bad = Habits(0, 1, 0, 0, 0, 0, overtaken_by=(9, 9), hold_most_s=60, outage_every_s=None)
        async with wired(bad) as (wire, receiver):
            held = [asyncio.create_task(post(wire, request(path=b"/%d" % number))) for number in range(3)]
            await eventually(lambda: len(wire._waiting) == 3)
            await wire.drain()
            await asyncio.gather(*held)
            await post(wire, request(path=b"/later"))

            assert sorted(receiver.paths()) == [b"/0", b"/1", b"/2", b"/later"]
            assert wire.figures().is_calm

    run(test)


def test_it_never_answers_for_a_receiver_that_is_away() -> None:
    """Nobody listens behind it: the sender sees a broken connection, not a status."""

    async def test() -> None:
        async with wired(CALM) as (wire, _):
            wire._target = ("127.0.0.1", 1)
            with pytest.raises(ConnectionResetError):
                await post(wire, request())

            assert [deed.verb for deed in wire.deeds()] == ["unreachable"]

    run(test)


def test_what_it_did_is_told_in_order() -> None:
    """Deeds are numbered, so that a reader of them misses and repeats none."""

    async def test() -> None:
        async with wired(replace(CALM, doubled=1, delay_s=(0, 0))) as (wire, _):
            for _ in range(3):
                await post(wire, request())
            await wire.drain()

            deeds = wire.deeds()
            assert [deed.number for deed in deeds] == [1, 2, 3]
            assert {(deed.verb, deed.subject) for deed in deeds} == {("doubled", "dsync.user.created")}
            assert wire.deeds(after=2) == deeds[2:]

    run(test)
