"""A listener that stays: comes back when the connection is lost, the server restarts or this machine slept.

Where it goes on is the server's word: the place up to which it has every answer. So nothing is lost however it broke
off; what is under way comes again, is known by its cursor and answered once more (pipeline.py). What came meanwhile is
missed, and whoever listens chooses what becomes of it. Who began at a time goes on by answers of its own: the server's
place never goes back, and may be ahead of that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from hookline.errors import InvalidFrame, RequestError
from hookline.loop import Clock
from hookline.relay.client import Channel, ChannelLost
from hookline.relay.frames import BEAT_EVERY_S, WINDOW, Answer, Beat, Bye, Delivery, Hello, Start
from hookline.relay.pipeline import Pipeline, Signing
from hookline.wire.object_ids import object_of

Missed: TypeAlias = Literal["all", "none", "latest"]

TICK_MS: Final = 1_000
SLEPT_MS: Final = 10_000
"""A tick that comes so late was slept through, by the machine: the connection is dead, whatever it seems."""
SILENT_MS: Final = round(3 * BEAT_EVERY_S * 1000)
BACKOFF_FIRST_MS: Final = 500
BACKOFF_LAST_MS: Final = 15_000
MOST_ASKED_MS: Final = 60_000
"""A server that asks to be left alone for longer is asked after this all the same."""
FIRST_TRIES: Final = 5
LEAVE_S: Final = 2.0
BREAK_MS: Final = 60_000
"""What came in a shorter break is taken without asking."""
_FOR_GOOD: Final = frozenset({401, 403, 409})

Connect: TypeAlias = Callable[[Start], Awaitable[Channel]]


class Watcher(Protocol):
    """Whoever looks on, and is asked."""

    def connected(self, hello: Hello, *, way: str, took_ms: int) -> None:
        """There is a connection, a `websocket`, by `http`, or to an API that is polled (`poll`)."""

    def disconnected(self, why: str, *, retry_ms: int) -> None:
        """There is none, and in how long the next is made."""

    def began(self, hello: Hello, chosen: Missed | None) -> None:
        """Deliveries come; `chosen` is what becomes of what was missed, None where nothing was."""

    async def choose(self, hello: Hello, /) -> Missed:
        """Whether to take what was missed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How somebody listens.

    Attributes:
        start: who, and for what.
        missed: what becomes of what was missed; `ask` asks the watcher.
        waits: go on trying where the first connection fails.
    """

    start: Start
    missed: Missed | Literal["ask"] = "all"
    waits: bool = False


class _Ended(Exception):
    """This connection has ended."""

    def __init__(self, why: str, *, retry_ms: int | None = None) -> None:
        super().__init__(why)
        self.retry_ms = retry_ms


class _Over(Exception):
    """The server will not have us back."""

    def __init__(self, bye: Bye) -> None:
        super().__init__(bye.message)
        self.bye = bye


class Following:
    """Keeps a listener connected and hands its deliveries to a pipeline.

    Args:
        connect: makes a connection (`client.connect`).
        rng: for the jitter of coming back.
    """

    def __init__(
        self,
        plan: Plan,
        connect: Connect,
        signing: Signing,
        *,
        watcher: Watcher,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._plan = plan
        self._connect = connect
        self._signing = signing
        self._watcher = watcher
        self._clock = clock
        self._rng = rng
        self._outbox: list[Answer] = []
        self._has_outgoing = asyncio.Event()
        self._is_sent = asyncio.Event()
        self._begun_at: str | None = None
        # Of who began at a time: up to there it was answered, in this run.
        self._here: str | None = None
        self._under_way = UnderWay()
        self._is_place_gone = False
        self._chosen: Missed | None = None
        self._heard_ms = 0
        self._latest = Latest()
        self.live_since_ms: int | None = None
        self.to_come = 0

    def answered(self, answer: Answer) -> None:
        """Tell the server what came of a delivery. Without a connection it is forgotten: the delivery comes again."""
        if self.live_since_ms is not None:
            self._outbox.append(answer)
            self._is_sent.clear()
            self._has_outgoing.set()
            passed = self._under_way.answered(answer.cursor)
            if self._here is not None and passed is not None:
                self._here = passed

    async def run(self, pipeline: Pipeline) -> Bye:
        """Listen until the server says that it will not have us back, and return what it said; or until cancelled.

        Raises:
            RequestError: the server refuses us.
            ChannelLost: it could not be reached in the first place.
            InvalidFrame: or what answers is no relay.
        """
        tries = 0
        while True:
            began_ms = self._clock.now_ms()
            try:
                channel = await self._connect(self._plan.start)
                tries = 0
                took_ms = self._clock.now_ms() - began_ms
                self._watcher.connected(channel.hello, way=channel.way, took_ms=took_ms)
                await self._listen(channel, pipeline)
            except _Over as over:
                return over.bye
            except (ChannelLost, InvalidFrame, RequestError, _Ended) as error:
                # A server that is being replaced may answer as none for a while; a key does not come back.
                if isinstance(error, RequestError) and (self._begun_at is None or error.status in _FOR_GOOD):
                    raise
                tries += 1
                if self._begun_at is None and tries >= FIRST_TRIES and not self._plan.waits:
                    raise
                wait_ms = self._wait_ms(tries, getattr(error, "retry_ms", None))
                self._watcher.disconnected(str(error), retry_ms=wait_ms)
                await self._sleep(wait_ms)

    async def leave(self) -> None:
        """Wait until what was answered is sent, for a moment."""
        if self.live_since_ms is not None and self._outbox:
            try:
                async with asyncio.timeout(LEAVE_S):
                    await self._is_sent.wait()
            except TimeoutError:
                return

    # -- one connection ----------------------------------------------------------------------------------------

    async def _listen(self, channel: Channel, pipeline: Pipeline) -> None:
        self._heard_ms = self._clock.now_ms()
        self._outbox.clear()
        self._under_way = UnderWay()
        self._latest = Latest()
        try:
            await _first_to_end(self._converse(channel, pipeline), self._send(channel), self._watch())
        finally:
            self.live_since_ms = None
            await channel.close()

    async def _converse(self, channel: Channel, pipeline: Pipeline) -> None:
        hello = channel.hello
        self._signing.secret = hello.secret
        is_since_a_time = self._begun_at is None and self._plan.start.since_ms is not None
        after, chosen = await self._place(hello)
        await channel.begin(after)
        self.live_since_ms = self._clock.now_ms()
        missed = 0 if is_since_a_time else hello.missed
        self.to_come = 0 if chosen == "none" else missed
        self._begun_at, self._chosen, self._is_place_gone = after, None, False
        is_counted = self._here is None and hello.missed < hello.missed_most
        self._here = None if self._plan.start.since_ms is None else after
        self._latest = Latest(hello.missed if is_counted else None, is_on=chosen == "latest")
        self._watcher.began(hello, chosen if missed else None)
        self._heard_ms = self._clock.now_ms()
        while True:
            message = await channel.receive()
            self._heard_ms = self._clock.now_ms()
            match message:
                case Delivery():
                    self.to_come = max(0, self.to_come - message.is_missed)
                    if message.origin != "replay":
                        self._under_way.add(message.cursor)
                    hand_over(pipeline, *self._latest.take(message))
                case Beat(is_behind=True):
                    continue
                case Beat():
                    self.to_come = 0
                    hand_over(pipeline, *self._latest.end())
                case Bye(retry_ms=None):
                    raise _Over(message)
                case Bye():
                    # Of a feed that begins anew, as where the database was removed, no place of before is one.
                    self._is_place_gone = message.reason == "expired_cursor"
                    await self._until_unstuck(message, pipeline)
                    raise _Ended(message.message, retry_ms=message.retry_ms)
                case Hello():
                    raise InvalidFrame("expected one hello, got another")

    async def _place(self, hello: Hello) -> tuple[str, Missed]:
        """Where to begin, and by which choice."""
        if self._begun_at is None and self._plan.start.since_ms is not None:
            if hello.since is None:
                raise RequestError(422, "no_since", "this server does not know where in its feed a time is: no --since")
            return hello.since, "all"
        if self._is_place_gone:
            last = hello.since or hello.cursor
        else:
            last = self._here or hello.cursor or self._begun_at
        if last is None:
            return hello.head, "none"
        chosen = self._chosen or self._choice(hello) or await self._watcher.choose(hello)
        self._chosen = chosen
        return (hello.head if chosen == "none" else last), chosen

    def _choice(self, hello: Hello) -> Missed | None:
        """What is chosen without asking."""
        if self._begun_at is not None:
            # The first choice was about what came before; now it is a break, and a short one is no question.
            since_ms = hello.missed_since_ms
            if self._plan.missed != "ask" or not hello.missed or since_ms is None:
                return "all"
            return "all" if hello.now_ms - since_ms < BREAK_MS else None
        if self._plan.missed == "ask":
            return None if hello.missed else "all"
        return self._plan.missed

    async def _until_unstuck(self, bye: Bye, pipeline: Pipeline) -> None:
        """Who could not answer, since somebody paused or the app is away, comes back when that is over."""
        # The server has gone: its silence is none, and answers are for the connection that is made then.
        self.live_since_ms = None
        while bye.reason == "unanswered" and pipeline.is_stuck:
            await self._sleep(TICK_MS)

    async def _send(self, channel: Channel) -> None:
        while True:
            await self._has_outgoing.wait()
            self._has_outgoing.clear()
            while self._outbox:
                batch = list(self._outbox)
                await channel.answer(batch)
                del self._outbox[: len(batch)]
            self._is_sent.set()

    async def _watch(self) -> None:
        """End the connection where the machine slept, or the server fell silent."""
        while True:
            before_ms = self._clock.now_ms()
            await self._sleep(TICK_MS)
            now_ms = self._clock.now_ms()
            late_ms = now_ms - before_ms - TICK_MS
            if late_ms > SLEPT_MS:
                raise _Ended(f"this machine slept for {late_ms // 1000} s", retry_ms=0)
            if now_ms < before_ms:
                self._heard_ms = now_ms  # the clock was set back
            if self.live_since_ms is not None and now_ms - self._heard_ms > SILENT_MS:
                raise _Ended(f"the server has said nothing for {SILENT_MS // 1000} s", retry_ms=0)

    # -- time --------------------------------------------------------------------------------------------------

    def _wait_ms(self, tries: int, asked_ms: int | None) -> int:
        if asked_ms is not None:
            return min(asked_ms, MOST_ASKED_MS)
        most_ms = min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS << min(tries - 1, 10))
        return round(most_ms * self._rng.uniform(0.8, 1.2))

    async def _sleep(self, wait_ms: int) -> None:
        await self._clock.sleep_until(self._clock.now_ms() + wait_ms, asyncio.Event())


class UnderWay:
    """What was handed over and is not passed yet, in the order of the feed."""

    def __init__(self) -> None:
        self._is_answered: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._is_answered)

    def add(self, cursor: str) -> None:
        """One more, after all others."""
        self._is_answered[cursor] = False

    def answered(self, cursor: str) -> str | None:
        """One was answered: up to which all are now, where that has moved."""
        if cursor not in self._is_answered:
            return None
        self._is_answered[cursor] = True
        passed = None
        for one, is_answered in list(self._is_answered.items()):
            if not is_answered:
                break
            del self._is_answered[one]
            passed = one
        return passed


class Latest:
    """Of what was missed the last of each object, the others being superseded.

    Args:
        left: how many were missed; None where that is not known.
        is_on: else everything is wanted as it comes.
    """

    def __init__(self, left: int | None = None, *, is_on: bool = False) -> None:
        self._left = left
        self._is_on = is_on
        self._kept: dict[str, Delivery] = {}

    def take(self, delivery: Delivery) -> tuple[list[Delivery], list[Delivery]]:
        """What is wanted by now, in order, and what is superseded."""
        # What is sent once more is asked for by itself, and comes before what was missed.
        if not self._is_on or delivery.origin == "replay":
            return [delivery], []
        if not delivery.is_missed:
            wanted, superseded = self.end()
            return [*wanted, delivery], superseded
        about = object_of(delivery.event_type, delivery.body) or delivery.cursor
        superseded = [] if (older := self._kept.pop(about, None)) is None else [older]
        self._kept[about] = delivery
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                return self.end()[0], superseded
        # What is kept is not answered, and a server sends no more than its window without answers.
        if len(self._kept) < WINDOW // 2:
            return [], superseded
        return [self._kept.pop(next(iter(self._kept)))], superseded

    def end(self) -> tuple[list[Delivery], list[Delivery]]:
        """Nothing more that was missed comes."""
        kept, self._kept, self._is_on = list(self._kept.values()), {}, False
        return kept, []


def hand_over(pipeline: Pipeline, wanted: list[Delivery], superseded: list[Delivery]) -> None:
    """Have those that are wanted delivered, and the others answered as dropped."""
    for one in superseded:
        pipeline.drop(one)
    for one in wanted:
        pipeline.take(one)


async def _first_to_end(*conversations: Awaitable[None]) -> None:
    """Run several until one raises; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in conversations]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
