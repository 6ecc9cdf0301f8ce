"""A listener end to end: a relay out of frames, the listener itself, and an app that answers, all on sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from hookline.errors import RequestError
from hookline.loop import Clock, SystemClock
from hookline.relay import client, following, pipeline
from hookline.relay.client import Channel, ChannelLost, Server, Way, connect
from hookline.relay.disorder import Disorder
from hookline.relay.following import Following, Missed, Plan
from hookline.relay.forward import Forwarder
from hookline.relay.frames import Bye, Hello, Start
from hookline.relay.listening import Listening, Outcome, Until
from hookline.relay.pipeline import Item, Pipeline, Signing
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.testing import Sink, TurnedClock
from hookline.wire.signature import HEADER, verify_signature

from .feed_server import KEY, SECRET, FeedServer
from .lines import until

BOTH: tuple[Way, ...] = ("websocket", "http")
# What a parser that reads and writes JSON again would change.
ODD = b'{ "id":"event_1",\t"event":"x",  "b":1.0,"a":1e2,\r\n"u":"\\u00e9\\/\xc3\xa9","a":-0 }\n\n'
ODD_HEADERS = (("Content-Type", "application/json"), ("x-twice", "1"), ("X-Twice", "2"), ("X-a", "\u00e9"), ("X-E", ""))


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, for a while at most."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work

    asyncio.run(bounded())


@dataclass
class Seen:
    """Looks on, and chooses as told."""

    chooses: Missed = "all"
    states: list[tuple[int, str]] = field(default_factory=list)
    items: dict[int, Item] = field(default_factory=dict)
    ways: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    waits_ms: list[int] = field(default_factory=list)
    begins: list[tuple[Hello, Missed | None]] = field(default_factory=list)
    asked: list[Hello] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def connected(self, hello: Hello, *, way: str, took_ms: int) -> None:
        self.ways.append(way)
        self._told()

    def disconnected(self, why: str, *, retry_ms: int) -> None:
        self.losses.append(why)
        self.waits_ms.append(retry_ms)
        self._told()

    def began(self, hello: Hello, chosen: Missed | None) -> None:
        self.begins.append((hello, chosen))
        self._told()

    async def choose(self, hello: Hello, /) -> Missed:
        self.asked.append(hello)
        return self.chooses

    def item(self, item: Item) -> None:
        self.items[item.number] = item
        self.states.append((item.number, item.state))
        self._told()

    def _told(self) -> None:
        async def tell() -> None:
            async with self.news:
                self.news.notify_all()

        self._tasks.append(asyncio.create_task(tell()))

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait until that holds."""
        async with self.news:
            await self.news.wait_for(what)


@dataclass
class Here:
    """A listener at work."""

    seen: Seen
    listening: Listening
    task: asyncio.Task[Outcome]

    @property
    def pipeline(self) -> Pipeline:
        return self.listening.pipeline

    async def begun(self, count: int = 1) -> None:
        """Wait until deliveries come, for the `count`-th time."""
        await self.seen.until(lambda: len(self.seen.begins) >= count)


@contextlib.asynccontextmanager
async def listener(
    server: FeedServer,
    url: str,
    *,
    plan: Plan | None = None,
    ways: tuple[Way, ...] = BOTH,
    seen: Seen | None = None,
    clock: Clock | None = None,
    until: Until | None = None,
    app_secret: str | None = None,
    fate: Callable[[], tuple[int, ...]] | None = None,
    key: str = KEY,
) -> AsyncIterator[Here]:
    """A listener named ada; ended with the block."""
    clock, seen, signing = clock or SystemClock(), seen or Seen(), Signing(app_secret=app_secret)
    exchange = HttptoolsExchange(refuse=lambda _: None)
    async with aiohttp.ClientSession() as http:

        async def connected(start: Start) -> Channel:
            return await connect(http, Server(server.url, "HOOKLINE_URL", key), start, ways=ways)

        feed = Following(
            plan or Plan(Start("ada")), connected, signing, watcher=seen, clock=clock, rng=random.Random(1)
        )
        its = Pipeline(Forwarder(url, exchange), signing, watcher=seen, answered=feed.answered, clock=clock, fate=fate)
        listening = Listening(feed, its, clock=clock, until=until or Until())
        task = asyncio.create_task(listening.run())
        try:
            yield Here(seen, listening, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await exchange.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back sooner than people would: nothing here depends on how long it takes."""
    monkeypatch.setattr(following, "BACKOFF_FIRST_MS", 10)
    monkeypatch.setattr(following, "BACKOFF_LAST_MS", 50)
    monkeypatch.setattr(pipeline, "LOOK_FIRST_MS", 10)
    monkeypatch.setattr(pipeline, "LOOK_LAST_MS", 20)


@pytest.mark.parametrize("ways", [("websocket",), ("http",)])
def test_bytes_and_headers_arrive_as_they_are(ways: tuple[Way, ...]) -> None:
    """Odd white space, escapes, key order, doubled keys, 1 MB and doubled headers: the same bytes, the same order."""
    bodies = [ODD, b"", bytes(range(256)), b'{"x":"' + b"\xf0\x9f\xa6\x8a\\u00e9 " * 100_000 + b'"}']
    assert len(bodies[3]) > 1024 * 1024

    async def test() -> None:
        async with FeedServer() as server, Sink() as app, listener(server, app.url("/webhooks?a=b"), ways=ways) as here:
            await here.begun()
            for body in bodies:
                await server.publish(body, headers=ODD_HEADERS)
            answers = await server.answered(len(bodies))
            digests = [hashlib.sha256(body).hexdigest() for body in bodies]
            assert [hashlib.sha256(one.body).hexdigest() for one in app.seen] == digests
            signed = signed_at(server)
            for request, body in zip(app.seen, bodies, strict=True):
                assert request.path == "/webhooks?a=b"
                its_own = [pair for pair in request.headers if pair[0] not in ("Host", "Content-Length")]
                # latin-1 is how the sink reads what is sent as UTF-8.
                sent = [(name, value.encode().decode("latin-1")) for name, value in ODD_HEADERS]
                assert its_own[:-1] == sent
                assert its_own[-1][0] == HEADER
                verify_signature(body, its_own[-1][1], [SECRET], tolerance_s=None, now_ms=signed)
            assert [(one.cursor, one.status, one.error) for one in answers] == [
                (str(place), 200, None) for place in range(1, 5)
            ]
            assert here.seen.ways[0] == ways[0]

    run(test())


def signed_at(server: FeedServer) -> int:
    """When the server signs."""
    return server.now_ms


def test_who_lets_no_websocket_through_is_asked_by_http() -> None:
    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            server.has_websocket = False
            async with listener(server, app.url()) as here:
                await here.begun()
                await server.publish(count=3)
                await server.answered(3)
                assert here.seen.ways[0] == "http"

    run(test())


def test_a_key_that_is_not_valid_is_not_tried_again() -> None:
    async def test() -> None:
        async with FeedServer() as server, listener(server, "http://127.0.0.1:9/", key="sk_wrong") as here:
            with pytest.raises(RequestError) as caught:
                await here.task
            assert caught.value.status == 401
            assert here.seen.losses == []

    run(test())


def test_a_server_that_is_not_there_is_given_up_unless_it_is_to_be_waited_for() -> None:
    async def test() -> None:
        server = FeedServer()
        async with server:
            pass
        async with listener(server, "http://127.0.0.1:9/") as here:
            with pytest.raises(ChannelLost, match="refused"):
                await here.task
            assert len(here.seen.losses) == following.FIRST_TRIES - 1
        async with Sink() as app, listener(server, app.url(), plan=Plan(Start("ada"), waits=True)) as here:
            await here.seen.until(lambda: len(here.seen.losses) > following.FIRST_TRIES)
            async with server:
                await here.begun()
                await server.publish()
                await server.answered(1)

    run(test())


def test_what_comes_while_the_app_is_not_up_waits_and_is_delivered_in_order() -> None:
    async def test() -> None:
        async with Sink() as gone:
            port = gone.port
        async with FeedServer() as server, listener(server, f"http://127.0.0.1:{port}/") as here:
            await here.begun()
            for number in range(5):
                await server.publish(b"%d" % number)
            await here.seen.until(lambda: (1, "waiting") in here.seen.states)
            first = here.seen.items[1]
            assert first.hint is not None
            assert first.hint.code == "refused"
            assert here.pipeline.is_stuck
            assert server.kept_of().answers == []
            async with Sink(port=port) as app:
                await server.answered(5)
                assert [request.body for request in app.seen] == [b"0", b"1", b"2", b"3", b"4"]
            assert here.seen.states.count((1, "waiting")) == 1

    run(test())


def test_a_redirect_is_not_followed_and_told_with_what_to_do() -> None:
    async def test() -> None:
        async with FeedServer() as server, Sink() as app, Sink() as other:
            app.raw["slash"] = (
                b"HTTP/1.1 301 Moved\r\nLocation: " + other.url("/hooks/").encode() + b"\r\nContent-Length: 0\r\n\r\n"
            )
            async with listener(server, app.url("/raw-open/slash")) as here:
                await here.begun()
                await server.publish()
                [answer] = await server.answered(1)
                assert answer.status == 301
                hint = here.seen.items[1].hint
                assert hint is not None
                assert hint.code == "redirect"
            assert len(app.seen) == 1
            assert other.seen == []

    run(test())


@pytest.mark.parametrize("way", BOTH)
def test_a_server_that_is_killed_loses_nothing(way: Way) -> None:
    """Killed amid deliveries and started again: all of them arrive, and what came meanwhile, each once, in order."""

    async def test() -> None:
        async with FeedServer() as server, Sink() as app, listener(server, app.url(), ways=(way,)) as here:
            await here.begun()
            held = asyncio.Event()

            async def hold(_: object) -> None:
                if len(app.seen) == 3:
                    await held.wait()

            app.before = hold
            for number in range(6):
                await server.publish(b"%d" % number)
            await app.arrived(3)
            await server.stop()
            await here.seen.until(lambda: bool(here.seen.losses))
            held.set()
            for number in range(6, 10):
                await server.publish(b"%d" % number)
            await here.seen.until(lambda: here.pipeline.totals.ended == 6)
            await server.start()
            answers = await server.answered(10)
            assert [request.body for request in app.seen] == [b"%d" % number for number in range(10)]
            assert sorted(int(one.cursor) for one in answers) == list(range(1, 11))
            hello, chosen = here.seen.begins[1]
            assert hello.missed >= 4
            assert chosen == "all"

    run(test())


def test_an_answer_that_was_lost_is_told_again_without_another_request() -> None:
    async def test() -> None:
        async with FeedServer() as server, Sink() as app, listener(server, app.url()) as here:
            await here.begun()
            await server.publish()
            await server.answered(1)
            server.kept_of().answers.clear()
            server.kept_of().place = 0
            server.cut()
            await server.answered(1)
            assert len(app.seen) == 1

    run(test())


def test_a_feed_that_begins_anew_is_heard_from_there_on() -> None:
    """A developer removes the database: places of before are none, and a cursor that was answered is another event."""

    async def test() -> None:
        async with FeedServer() as server, Sink() as app, listener(server, app.url()) as here:
            await here.begun()
            await server.publish(b"old", count=3)
            await server.answered(3)
            server.cut()
            await here.begun(2)
            await server.stop()
            server.feed.clear()
            server.kept.clear()
            await server.start()
            await here.begun(4)
            assert "3 is no place of this feed" in here.seen.losses
            server.feed.append(("event_new", "dsync.user.created", (), b"new"))
            await server.wake()
            await app.arrived(4)
            assert app.seen[3].body == b"new"
            [answer] = await server.answered(1)
            assert answer.event_id == "event_new"

    run(test())


def test_a_machine_that_slept_comes_back_at_once_for_what_it_missed() -> None:
    """A clock that jumps is a lid that was closed: the connection is given up, whatever it seems to be."""
    clock = TurnedClock()

    async def test() -> None:
        async with FeedServer() as server, Sink() as app, listener(server, app.url(), clock=clock) as here:
            await here.begun()
            server.sockets.clear()  # the server never hears of it
            clock.advance(3_600_000)
            await here.begun(2)
            assert here.seen.losses == ["this machine slept for 3599 s"]
            assert here.seen.waits_ms == [0]
            await server.publish(count=2)
            await server.answered(2)
            assert len(app.seen) == 2

    run(test())


def test_a_server_that_falls_silent_is_left() -> None:
    clock = TurnedClock()

    async def test() -> None:
        async with FeedServer() as server, Sink() as app, listener(server, app.url(), clock=clock) as here:
            await here.begun()
            while not here.seen.losses:
                clock.advance(following.TICK_MS)
                await asyncio.sleep(0)
            assert here.seen.losses == ["the server has said nothing for 45 s"]

    run(test())


@pytest.mark.parametrize(
    ("missed", "bodies"),
    [
        ("all", [b"1", b"2", b"3", b"new"]),
        ("none", [b"new"]),
    ],
)
@pytest.mark.parametrize("asks", [True, False])
def test_what_was_missed_is_offered(missed: Missed, bodies: list[bytes], *, asks: bool) -> None:
    """Whoever listened before is told how much came since; who is new has missed nothing."""

    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            server.kept_of().place = 0
            for body in (b"1", b"2", b"3"):
                await server.publish(body)
            seen = Seen(chooses=missed)
            plan = Plan(Start("ada"), "ask" if asks else missed)
            async with listener(server, app.url(), plan=plan, seen=seen) as here:
                await here.begun()
                assert [hello.missed for hello in seen.asked] == ([3] if asks else [])
                await server.publish(b"new")
                await app.arrived(len(bodies))
                await server.answered(len(bodies))
                assert [request.body for request in app.seen] == bodies
        async with FeedServer() as server, Sink() as app:
            await server.publish(b"old")
            async with listener(server, app.url(), plan=plan) as here:
                await here.begun()
                await server.publish(b"new")
                await server.answered(1)
                assert [request.body for request in app.seen] == [b"new"]

    run(test())


def test_of_what_was_missed_the_latest_of_each_object_is_enough() -> None:
    def about(user: str, version: int) -> bytes:
        return b'{"data":{"id":"%s"},"v":%d}' % (user.encode(), version)

    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            server.kept_of().place = 0
            for user, version in (("a", 1), ("b", 1), ("a", 2), ("c", 1), ("a", 3), ("b", 2)):
                await server.publish(about(user, version))
            async with listener(server, app.url(), plan=Plan(Start("ada"), "latest")):
                answers = await server.answered(6)
                assert [request.body for request in app.seen] == [about("c", 1), about("a", 3), about("b", 2)]
                assert sorted(one.cursor for one in answers if one.error == "dropped") == ["1", "2", "3"]

    run(test())


def test_a_short_break_is_no_question_and_a_long_one_is() -> None:
    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            seen = Seen(chooses="none")
            async with listener(server, app.url(), plan=Plan(Start("ada"), "ask"), seen=seen) as here:
                await here.begun()
                await server.stop()
                await server.publish(b"short")
                await server.start()
                await here.begun(2)
                assert seen.asked == []
                await server.answered(1)
                await server.stop()
                await server.publish(b"long")
                server.now_ms += following.BREAK_MS
                await server.start()
                await here.begun(3)
                assert [hello.missed for hello in seen.asked] == [1]
                await server.publish(b"new")
                await server.answered(2)
                assert [request.body for request in app.seen] == [b"short", b"new"]

    run(test())


def test_since_a_time_begins_where_the_server_says_that_is() -> None:
    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            for body in (b"1", b"2", b"3"):
                await server.publish(body)
            async with listener(server, app.url(), plan=Plan(Start("ada", since_ms=7))):
                await server.answered(2)
            assert [start.since_ms for start in server.starts] == [7]
            assert [request.body for request in app.seen] == [b"2", b"3"]

    run(test())


@pytest.mark.parametrize(("retry_ms", "is_over"), [(None, True), (0, False)])
def test_who_is_sent_away_for_good_does_not_come_back(retry_ms: int | None, *, is_over: bool) -> None:
    async def test() -> None:
        async with FeedServer() as server, Sink() as app, listener(server, app.url()) as here:
            await here.begun()
            await server.said(Bye("elsewhere" if is_over else "changed", "ada came again", retry_ms))
            if is_over:
                outcome = await here.task
                assert outcome.ending == "over"
                assert outcome.bye is not None
                assert outcome.bye.reason == "elsewhere"
            else:
                await here.begun(2)

    run(test())


def test_it_ends_after_so_many_or_when_nothing_comes() -> None:
    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            app.expect("status/200", "status/500")
            async with listener(server, app.url(), until=Until(count=2)) as here:
                await here.begun()
                await server.publish(count=2)
                outcome = await here.task
                assert (outcome.ending, outcome.totals.answered, outcome.totals.failed) == ("enough", 1, 1)
                # What was answered is told before it leaves.
                assert len(server.kept_of().answers) == 2
            async with listener(server, app.url(), until=Until(idle_ms=50)) as here:
                assert (await here.task).ending == "idle"
            async with listener(server, app.url()) as here:
                await here.begun()
                here.listening.quit()
                assert (await here.task).ending == "quit"

    run(test())


@pytest.mark.parametrize("way", BOTH)
def test_after_so_many_nothing_more_is_posted(way: Way) -> None:
    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            server.kept_of().place = 0
            await server.publish(count=5)
            async with listener(server, app.url(), ways=(way,), until=Until(count=2)) as here:
                outcome = await here.task
            assert (outcome.ending, outcome.totals.ended) == ("enough", 2)
            assert len(app.seen) == 2
            assert [state for _, state in here.seen.states].count("sending") == 2
            assert [one.cursor for one in server.kept_of().answers] == ["1", "2"]

    run(test())


def test_what_waits_for_an_app_is_paused_too() -> None:
    async def test() -> None:
        async with Sink() as gone:
            port = gone.port
        async with FeedServer() as server, listener(server, f"http://127.0.0.1:{port}/") as here:
            await here.begun()
            await server.publish(b"1")
            await here.seen.until(lambda: (1, "waiting") in here.seen.states)
            here.pipeline.pause(paused=True)
            await server.publish(b"2")
            # Both: it has looked for the last time.
            await until(lambda: here.pipeline.waiting == 2)
            assert here.pipeline.is_stuck
            async with Sink(port=port) as app:
                again = here.pipeline.resend(here.seen.items[2])
                await here.seen.until(lambda: again.is_ended)
                assert [request.body for request in app.seen] == [b"2"]
                here.pipeline.pause(paused=False)
                await server.answered(2)
                assert [request.body for request in app.seen] == [b"2", b"1", b"2"]

    run(test())


def test_a_stream_whose_answer_is_held_back_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "HELLO_TIMEOUT_S", 0.2)

    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            server.opens_stream = False
            async with listener(server, app.url(), ways=("http",)) as here:
                await here.seen.until(lambda: len(server.starts) >= 2)
                assert "no answer in time" in here.seen.losses

    run(test())


def test_what_is_paused_waits_and_what_is_sent_again_does_not() -> None:
    """Sent again it has a signature of its own time, and the server is told nothing of it."""

    async def test() -> None:
        async with FeedServer() as server, Sink() as app, listener(server, app.url()) as here:
            await here.begun()
            await server.publish(b"1")
            await server.answered(1)
            here.pipeline.pause(paused=True)
            await server.publish(b"2")
            await here.seen.until(lambda: here.pipeline.waiting == 1)
            again = here.pipeline.resend(here.seen.items[1])
            await here.seen.until(lambda: again.is_ended)
            assert [request.body for request in app.seen] == [b"1", b"1"]
            first, second = (request.header(HEADER) for request in app.seen)
            assert first != second
            assert again.sent_ms is not None
            verify_signature(b"1", second, [SECRET], now_ms=again.sent_ms)
            here.pipeline.pause(paused=False)
            await server.answered(2)
            assert [request.body for request in app.seen] == [b"1", b"1", b"2"]

    run(test())


def test_a_signature_that_grew_old_is_made_anew_and_resigning_makes_every_one() -> None:
    clock = TurnedClock()

    async def test() -> None:
        async with FeedServer() as server, Sink() as app:
            async with listener(server, app.url(), clock=clock) as here:
                await here.begun()
                here.pipeline.pause(paused=True)
                await server.publish(b"old")
                await here.seen.until(lambda: here.pipeline.waiting == 1)
                for _ in range(pipeline.FRESH_MS // 1000 + 1):
                    clock.advance(1000)
                    await asyncio.sleep(0)
                here.pipeline.pause(paused=False)
                await app.arrived(1)
                verify_signature(b"old", app.seen[0].header(HEADER), [SECRET], now_ms=clock.now_ms())
                await server.answered(1)
            async with listener(server, app.url(), clock=clock, app_secret="whsec_of_the_app") as here:
                await here.begun()
                await server.publish(b"new")
                await server.answered(2)
                verify_signature(b"new", app.seen[1].header(HEADER), ["whsec_of_the_app"], now_ms=clock.now_ms())

    run(test())


def test_disorder_drops_doubles_and_is_the_same_by_the_same_seed() -> None:
    """What was dropped is answered as dropped; of copies the server hears once."""
    disorder = Disorder(duplicate=0.3, drop=0.3)

    async def once() -> tuple[list[bytes], list[str]]:
        async with FeedServer() as server, Sink() as app:
            rng = random.Random(7)
            async with listener(server, app.url(), fate=lambda: disorder.fate(rng)) as here:
                await here.begun()
                for number in range(20):
                    await server.publish(b"%d" % number)
                answers = await server.answered(20)
                await here.seen.until(lambda: here.pipeline.is_idle)
                assert len(answers) == 20
                return [request.body for request in app.seen], [one.cursor for one in answers if one.error == "dropped"]

    async def test() -> None:
        bodies, dropped = await once()
        assert (bodies, dropped) == await once()
        assert dropped
        assert len(bodies) > len(set(bodies)) == 20 - len(dropped)

    run(test())
