"""The unreliable wire: a loopback socket between sender and receiver that does to requests what networks do.

A reverse proxy on raw bytes. It doubles, delays, lets later requests overtake, slips in forged copies, resets
connections before or after forwarding, and goes down for some seconds. It never answers for the receiver: what
the sender reads are the receiver's own bytes, or the connection breaks. Genuine requests pass unchanged, header
and body, byte for byte.

What befalls a request is drawn from a given `random.Random` (`draw_fate`); the waiting is real, because the
sockets are.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias

from hookline.errors import InvalidBody
from hookline.loop import Clock
from hookline.wire.event import decode_envelope

Forgery: TypeAlias = Literal["signature", "body", "time", "unsigned"]
Reset: TypeAlias = Literal["before", "after"]
Verb: TypeAlias = Literal[
    "forwarded",
    "delayed",
    "overtaken",
    "doubled",
    "forged",
    "reset before",
    "reset after",
    "down",
    "up",
    "unreachable",
]

FORGERIES: Final[tuple[Forgery, ...]] = ("signature", "body", "time", "unsigned")
# From a connection that the system has accepted to its handler asyncio takes three.
ACCEPT_TURNS: Final = 5
HEAD_MAX: Final = 64 * 1024
EXCHANGE_S: Final = 20.0

_SIGNATURE_LINE = re.compile(rb"(\r\nworkos-signature:[ \t]*)([^\r]*)", re.IGNORECASE)
_DIGEST = re.compile(rb"(v1=)[0-9a-f]{64}")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r]*close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Habits:
    """How bad a wire is: chances between 0 and 1 per request, and times in seconds as (least, most).

    After a reset new connections are reset as well for `flap_s`, since senders try anew at once.
    `outage_every_s` is the time between two outages, None for never.
    """

    delayed: float = 0.12
    overtaken: float = 0.12
    doubled: float = 0.10
    forged: float = 0.08
    reset_before: float = 0.03
    reset_after: float = 0.03
    delay_s: tuple[float, float] = (0.1, 1.0)
    overtaken_by: tuple[int, int] = (1, 8)
    hold_most_s: float = 1.0
    flap_s: float = 0.15
    outage_every_s: tuple[float, float] | None = (5.0, 9.0)
    outage_s: tuple[float, float] = (1.5, 3.0)


CALM: Final = Habits(0, 0, 0, 0, 0, 0, outage_every_s=None)


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls one request. None and 0 mean "not that"."""

    delay_s: float
    overtaken_by: int
    copy_after_s: float | None
    forgery: Forgery | None
    reset: Reset | None


def draw_fate(habits: Habits, rng: random.Random) -> Fate:
    """Draw what befalls the next request. Always takes the same number of draws, whatever comes of them."""
    delayed, overtaken, doubled, forged, reset, pause, by, copy, kind = (rng.random() for _ in range(9))
    least_s, most_s = habits.delay_s
    fewest, most = habits.overtaken_by
    resets = habits.reset_before + habits.reset_after
    return Fate(
        delay_s=least_s + pause * (most_s - least_s) if delayed < habits.delayed else 0.0,
        overtaken_by=fewest + int(by * (most - fewest + 1)) if overtaken < habits.overtaken else 0,
        copy_after_s=copy * most_s if doubled < habits.doubled else None,
        forgery=FORGERIES[int(kind * len(FORGERIES))] if forged < habits.forged else None,
        reset=None if reset >= resets else "before" if reset < habits.reset_before else "after",
    )


@dataclass(frozen=True, slots=True)
class WireFigures:
    """What the wire has done so far. `overtaken` counts requests that others really passed by."""

    forwarded: int
    delayed: int
    overtaken: int
    doubled: int
    forged: int
    forged_accepted: int
    reset: int
    refused: int
    outages: int
    is_down: bool
    is_calm: bool


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing the wire did: when, what, and to which event (its type, or a few words)."""

    number: int
    at_ms: int
    verb: Verb
    subject: str


@dataclass(frozen=True, slots=True)
class _Message:
    """An HTTP request or response as its bytes; `closes` where the connection ends with it."""

    head: bytes
    body: bytes
    closes: bool

    def subject(self) -> str:
        try:
            return decode_envelope(self.body).type
        except InvalidBody:
            return "a request"


class Wire:
    """A listening socket in front of `target`, and all the mischief in between. Use as an async context manager.

    Args:
        target: host and port of the receiver.
        rng: what befalls each request comes from it.
        clock: for the times in `deeds`.
        sign_old: gives the signature header of the same body an hour ago. A forged copy of kind `time` carries
            it: what a captured request looks like when it is replayed too late. Without it such copies only
            carry another `t`.
        habits: how bad the wire is.

    Attributes:
        habits: the same, for the next request: may be set from any thread.
    """

    def __init__(
        self,
        target: tuple[str, int],
        *,
        rng: random.Random,
        clock: Clock,
        sign_old: Callable[[bytes], str] | None = None,
        habits: Habits | None = None,
    ) -> None:
        self._target = target
        self._rng = rng
        # Outages draw from a stream of their own: how many requests come must not decide when the wire is down.
        self._outage_rng = random.Random(rng.random())  # noqa: S311 - a simulation, not a secret
        self._clock = clock
        self._sign_old = sign_old
        self.habits = habits or Habits()
        self._counts: Counter[str] = Counter()
        self._deeds: deque[Deed] = deque(maxlen=200)
        self._deed_number = 0
        self._calm = asyncio.Event()
        self._up = asyncio.Event()
        self._up.set()
        self._flapping_until = 0.0
        self._waiting: list[tuple[int, asyncio.Event]] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._copies: set[asyncio.Task[None]] = set()
        self._outages: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=HEAD_MAX)
        if self.habits.outage_every_s is not None:
            self._outages = asyncio.create_task(self._break_down_now_and_then(self.habits.outage_every_s))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        # What was accepted a moment ago has its handler some turns of the loop later.
        for _turn in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        for writer in list(self._connections):
            _reset(writer)
        tasks = [*self._handlers, *self._copies, *([self._outages] if self._outages else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        # Aborted connections are closed by the loop's next turn, and there may be none after us.
        await asyncio.sleep(0)

    @property
    def port(self) -> int:
        """The loopback port to send to."""
        assert self._server is not None, "the wire is used as `async with Wire(…)`"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def figures(self) -> WireFigures:
        """What it has done so far."""
        counts = self._counts
        return WireFigures(
            forwarded=counts["forwarded"],
            delayed=counts["delayed"],
            overtaken=counts["overtaken"],
            doubled=counts["doubled"],
            forged=counts["forged"],
            forged_accepted=counts["forged_accepted"],
            reset=counts["reset before"] + counts["reset after"],
            refused=counts["refused"],
            outages=counts["down"],
            is_down=not self._up.is_set(),
            is_calm=self._calm.is_set(),
        )

    def deeds(self, after: int = 0) -> list[Deed]:
        """What it did lately, oldest first, numbered above `after`; forwarding and refusing while down are none."""
        return [deed for deed in self._deeds if deed.number > after]

    async def drain(self) -> None:
        """Stop misbehaving, come up, let go of what is held, and send the copies still owed."""
        self._calm.set()
        self._come_up()
        if self._copies:
            await asyncio.wait(self._copies)

    # One connection of the sender's

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self._connections.add(writer)
        try:
            is_flapping = asyncio.get_running_loop().time() < self._flapping_until and not self._calm.is_set()
            if not self._up.is_set() or is_flapping:
                self._counts["refused"] += 1
                _reset(writer)
                return
            while (request := await _read(reader, is_response=False)) is not None:
                answer = await self._carry(request)
                if answer is None:
                    _reset(writer)
                    return
                writer.write(answer.head + answer.body)
                await writer.drain()
                if answer.closes or request.closes:
                    break
            writer.close()
        except OSError:
            _reset(writer)
        except asyncio.CancelledError:
            # The wire is being taken away; the streams module would log a cancelled handler as an error.
            _reset(writer)
        finally:
            self._connections.discard(writer)
            self._handlers.discard(task)

    async def _carry(self, request: _Message) -> _Message | None:
        """The receiver's answer, or None where the sender gets none."""
        fate = Fate(0.0, 0, None, None, None) if self._calm.is_set() else draw_fate(self.habits, self._rng)
        subject = request.subject()
        if fate.forgery is not None:
            self._send_copy(self._forged(request, fate.forgery), 0.0, "forged", f"{subject} ({fate.forgery})")
        if fate.copy_after_s is not None:
            self._send_copy(request, fate.copy_after_s, "doubled", subject)
        if fate.reset == "before":
            self._break("reset before", subject)
            return None
        if fate.delay_s:
            self._note("delayed", subject)
            await self._rest(fate.delay_s)
        if fate.overtaken_by:
            await self._let_pass(fate.overtaken_by, subject)
        answer = await self._exchange(request)
        if answer is None:
            self._note("unreachable", subject)
            return None
        self._counts["forwarded"] += 1
        self._let_go()
        if fate.reset == "after":
            self._break("reset after", subject)
            return None
        return answer

    def _break(self, verb: Literal["reset before", "reset after"], subject: str) -> None:
        self._flapping_until = asyncio.get_running_loop().time() + self.habits.flap_s
        self._note(verb, subject)

    async def _exchange(self, request: _Message) -> _Message | None:
        """Send the bytes on a connection of their own and read what the receiver says; None if it says nothing."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(EXCHANGE_S):
                reader, writer = await asyncio.open_connection(*self._target, limit=HEAD_MAX)
                writer.write(request.head + request.body)
                return await _read(reader, is_response=True)
        except (OSError, TimeoutError):
            return None
        finally:
            if writer is not None:
                writer.close()

    # Waiting

    async def _rest(self, seconds: float) -> None:
        """Sleep, but not into the calm."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calm.wait()

    async def _let_pass(self, others: int, subject: str) -> None:
        """Hold this request until so many later ones have been forwarded, or for `hold_most_s`."""
        before = self._counts["forwarded"]
        free = asyncio.Event()
        entry = (before + others, free)
        self._waiting.append(entry)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.habits.hold_most_s):
                await free.wait()
        with suppress(ValueError):
            self._waiting.remove(entry)
        if self._counts["forwarded"] > before:
            self._note("overtaken", subject)

    def _let_go(self) -> None:
        for entry in list(self._waiting):
            if self._calm.is_set() or self._counts["forwarded"] >= entry[0]:
                self._waiting.remove(entry)
                entry[1].set()

    # Copies

    def _send_copy(self, copy: _Message, after_s: float, verb: Literal["doubled", "forged"], subject: str) -> None:
        task = asyncio.create_task(self._copy(copy, after_s, verb, subject))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def _copy(self, copy: _Message, after_s: float, verb: Literal["doubled", "forged"], subject: str) -> None:
        await self._rest(after_s)
        await self._up.wait()
        answer = await self._exchange(copy)
        if answer is None:
            return
        self._note(verb, subject)
        if verb == "forged" and answer.head.split(b" ", 2)[1].startswith(b"2"):
            self._counts["forged_accepted"] += 1

    def _forged(self, request: _Message, forgery: Forgery) -> _Message:
        match forgery:
            case "signature":
                digits = b"%064x" % self._rng.getrandbits(256)
                return _Message(_DIGEST.sub(rb"\g<1>" + digits, request.head, count=1), request.body, closes=True)
            case "body":
                spot = self._rng.randrange(len(request.body)) if request.body else 0
                changed = request.body[:spot] + bytes([request.body[spot] ^ 1]) + request.body[spot + 1 :]
                return _Message(request.head, changed, closes=True)
            case "time":
                old = self._sign_old(request.body).encode() if self._sign_old else b"t=1500000000000, v1=" + b"0" * 64
                return _Message(
                    _SIGNATURE_LINE.sub(lambda found: found[1] + old, request.head, count=1), request.body, closes=True
                )
            case "unsigned":
                return _Message(_SIGNATURE_LINE.sub(b"", request.head, count=1), request.body, closes=True)

    # Outages

    async def _break_down_now_and_then(self, every_s: tuple[float, float]) -> None:
        rng = self._outage_rng
        while True:
            await self._rest(rng.uniform(*every_s))
            if self._calm.is_set():
                return
            # Drawn in any case: what somebody turns meanwhile does not move what comes after.
            seconds = rng.uniform(*self.habits.outage_s)
            if self.habits.outage_every_s is not None:
                await self._stay_down(seconds)

    async def _stay_down(self, seconds: float) -> None:
        self._up.clear()
        self._note("down", f"for {seconds:.1f} s")
        for writer in list(self._connections):
            _reset(writer)
        await self._rest(seconds)
        self._come_up()

    def break_down(self, seconds: float) -> None:
        """Be down for a while from now on, unless it is or behaves: on the wire's own loop."""
        if self._up.is_set() and not self._calm.is_set():
            task = asyncio.create_task(self._stay_down(seconds))
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)

    def _come_up(self) -> None:
        if not self._up.is_set():
            self._up.set()
            self._note("up", "again")
        self._let_go()

    def _note(self, verb: Verb, subject: str) -> None:
        self._counts[verb] += 1
        self._deed_number += 1
        self._deeds.append(Deed(self._deed_number, self._clock.now_ms(), verb, subject))


async def _read(reader: asyncio.StreamReader, *, is_response: bool) -> _Message | None:
    """One HTTP message as its bytes; None where the other side closed, or said what is no HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        while is_response and head.split(b" ", 2)[1].startswith(b"1"):
            head += await reader.readuntil(b"\r\n\r\n")
            head = head[head.index(b"\r\n\r\n") + 4 :]
        body, framed = await _read_body(reader, head, is_response=is_response)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ValueError):
        return None
    return _Message(head, body, closes=not framed or _CLOSE.search(head) is not None)


async def _read_body(reader: asyncio.StreamReader, head: bytes, *, is_response: bool) -> tuple[bytes, bool]:
    """The body's bytes as they came, chunk framing included, and whether the message said where it ends."""
    if _CHUNKED.search(head):
        parts = []
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            parts.append(line + await reader.readexactly(size + 2))
            if size == 0:
                return b"".join(parts), True
    length = _LENGTH.search(head)
    if length is not None:
        return await reader.readexactly(int(length[1])), True
    if is_response and head.split(b" ", 2)[1] not in (b"204", b"304"):
        return await reader.read(), False
    return b"", True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection with a TCP reset, as a crashed router would, instead of closing it politely."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
