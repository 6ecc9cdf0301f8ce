"""A listener on a line of which every message is written down here: what becomes of each, and where it goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec

from hookline.loop import Clock, SystemClock
from hookline.relay import following
from hookline.relay.client import Channel, Way
from hookline.relay.following import Following, Missed, Plan, UnderWay
from hookline.relay.forward import Forwarder
from hookline.relay.frames import Answer, Beat, Bye, Delivery, FromServer, Hello, Start
from hookline.relay.pipeline import Pipeline, Signing
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.testing import TurnedClock

from .test_listening import Seen, run

OVER = Bye("elsewhere", "the same listener has connected once more")


class Script(Channel):
    """A connection on which the server says this, and nothing more until `say`."""

    way: Way = "websocket"

    def __init__(self, hello: Hello, said: Sequence[FromServer]) -> None:
        self.hello = hello
        self.after: str | None = None
        self._said: asyncio.Queue[FromServer] = asyncio.Queue()
        for one in said:
            self.say(one)

    def say(self, one: FromServer) -> None:
        self._said.put_nowait(one)

    async def begin(self, after: str) -> None:
        self.after = after

    async def receive(self) -> FromServer:
        return await self._said.get()

    async def answer(self, answers: Sequence[Answer]) -> None:
        """Nobody counts them."""

    async def close(self) -> None:
        """There is nothing to be closed."""


def hello(*, cursor: str, head: str, missed: int = 0, since: str | None = None) -> Hello:
    return Hello("s", "production", "whsec_x", head, 0, cursor=cursor, missed=missed, since=since)


def missed(place: int, user: str) -> Delivery:
    body = b'{"data":{"id":"%s"}}' % user.encode()
    return Delivery(str(place), f"event_{place}", "dsync.user.updated", "", (), body, is_missed=True)


def once_more(place: int, user: str) -> Delivery:
    return msgspec.structs.replace(missed(place, user), cursor=f"{place}-1", is_missed=False, origin="replay")


def followed(
    lines: Sequence[Script], *, choice: Missed = "all", since_ms: int | None = None, clock: Clock | None = None
) -> tuple[Following, Pipeline, Seen]:
    """A listener that has these connections one after the other. Nothing is posted: what is wanted stays queued."""
    clock, seen, signing, left = clock or SystemClock(), Seen(), Signing(), list(lines)

    async def connected(_: Start) -> Channel:
        return left.pop(0)

    plan = Plan(Start("ada", since_ms=since_ms), choice)
    feed = Following(plan, connected, signing, watcher=seen, clock=clock, rng=random.Random(1))
    forwarder = Forwarder("http://127.0.0.1:1/", HttptoolsExchange(refuse=lambda _: None))
    return feed, Pipeline(forwarder, signing, watcher=seen, answered=feed.answered, clock=clock), seen


def fates(seen: Seen) -> list[tuple[str, str]]:
    return [(item.delivery.cursor, item.state) for item in seen.items.values()]


def test_a_full_window_is_not_the_end_of_what_was_missed() -> None:
    """An app that is away leaves the window full, and the server beats: the latest are still to come."""

    async def test() -> None:
        said: list[FromServer] = [
            missed(1, "a"),
            Beat("1", 0, is_behind=True),
            missed(2, "a"),
            missed(3, "b"),
            Beat("3", 0),
            OVER,
        ]
        feed, pipeline, seen = followed([Script(hello(cursor="0", head="9", missed=4), said)], choice="latest")
        assert await feed.run(pipeline) == OVER
        assert fates(seen) == [("1", "dropped"), ("2", "queued"), ("3", "queued")]
        assert feed.to_come == 0

    run(test())


def test_what_is_sent_once_more_is_not_the_end_of_what_was_missed() -> None:
    """It comes before anything else, and whatever came of its object since."""

    async def test() -> None:
        said: list[FromServer] = [once_more(0, "a"), missed(1, "a"), missed(2, "a"), OVER]
        feed, pipeline, seen = followed([Script(hello(cursor="0", head="2", missed=2), said)], choice="latest")
        await feed.run(pipeline)
        assert fates(seen) == [("0-1", "queued"), ("1", "dropped"), ("2", "queued")]

    run(test())


def test_who_began_at_a_time_goes_on_there_and_not_at_the_servers_place() -> None:
    """That is ahead: everything was answered before, and never goes back."""
    told = hello(cursor="9", head="9", since="3")

    async def test() -> None:
        said = [missed(4, "a"), missed(5, "b"), once_more(3, "c"), missed(6, "d")]
        lost = Bye("stopping", "the server is stopping", 0)
        # A place that is gone by now is no place to go on at: the time still is one.
        gone = Bye("expired_cursor", "gone", 0)
        lines = [Script(told, said), Script(told, [lost]), Script(told, [gone]), Script(told, [OVER])]
        feed, pipeline, seen = followed(lines, since_ms=7)
        task = asyncio.create_task(feed.run(pipeline))
        await seen.until(lambda: len(seen.items) == 4)
        for place in ("5", "3-1", "4"):
            feed.answered(Answer(place, "event"))
        lines[0].say(lost)
        await task
        assert [line.after for line in lines] == ["3", "5", "5", "3"]

    run(test())


def test_who_could_not_answer_comes_back_when_that_is_over_and_not_before() -> None:
    clock = TurnedClock()

    async def test() -> None:
        unanswered = Bye("unanswered", "answers are owed", 0)
        told = hello(cursor="0", head="0")
        feed, pipeline, seen = followed([Script(told, [unanswered]), Script(told, [OVER])], clock=clock)
        pipeline.pause(paused=True)
        task = asyncio.create_task(feed.run(pipeline))
        await seen.until(lambda: bool(seen.begins))
        for _ in range(2 * following.SILENT_MS // following.TICK_MS):
            await asyncio.sleep(0)
            clock.advance(following.TICK_MS)
        assert seen.losses == []
        pipeline.pause(paused=False)
        while not task.done():
            await asyncio.sleep(0)
            clock.advance(following.TICK_MS)
        assert seen.losses == ["answers are owed"]

    run(test())


def test_a_place_moves_over_answers_without_a_gap() -> None:
    under_way = UnderWay()
    for cursor in "abc":
        under_way.add(cursor)
    assert under_way.answered("b") is None
    assert under_way.answered("x") is None
    assert len(under_way) == 3
    assert under_way.answered("a") == "b"
    assert under_way.answered("a") is None
    assert under_way.answered("c") == "c"
    assert len(under_way) == 0
