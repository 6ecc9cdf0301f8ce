"""Rate limits kept in the database, under real loops on a turned clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from hookline.rules.rate import burst, interval_us
from hookline.sender.deliver import Limits
from hookline.sender.http import Answer, Request
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.storage.sqlite import SqliteDatabase
from hookline.testing.clock import TurnedClock
from tests.sender.conftest import NOW_MS
from tests.sender.test_deliver import Scripted, World, a_deliverer, an_answer, run, running, until
from tests.sender.test_deliver_headers import set_endpoint

WIDE = Limits(largest_window=256, first_window=256, unproven=400)


@pytest.fixture
def world(database: Database, store: SenderStore, clock: TurnedClock) -> World:
    return World(database, store, clock)


class Timed(Scripted):
    """An exchange that notes when each request came, in ms after the beginning."""

    def __init__(self, clock: TurnedClock) -> None:
        super().__init__()
        self.clock = clock
        self.at_ms: list[int] = []

    async def send(self, request: Request) -> Answer:
        self.at_ms.append(self.clock.now_ms() - NOW_MS)
        return await super().send(request)


def most_within(at_ms: Sequence[int], span_ms: int) -> int:
    """The most requests that any span of so many ms saw."""
    return max(sum(1 for other in at_ms if start <= other < start + span_ms) for start in at_ms)


async def turn_to_the_end(world: World, count: int) -> None:
    """Turn the clock to whenever the loops sleep until, until everything has arrived."""
    for _ in range(5_000):
        if world.states() == {"succeeded": count}:
            return
        if "running" not in world.states():
            asleep_until_ms = world.clock.next_due_ms()
            if asleep_until_ms is not None:
                world.clock.set(max(asleep_until_ms, world.clock.now_ms()))
        await asyncio.sleep(0.002)
    pytest.fail(f"not everything arrived: {world.states()}")


@pytest.mark.parametrize("per_min", [60, 600])
def test_a_limit_is_kept_and_reached(world: World, per_min: int) -> None:
    """A bucketful at once, then as fast as tokens come; no minute sees more than the limit and a bucketful."""
    world.add_endpoint()
    set_endpoint(world, rate_limit_per_min=per_min)
    count = burst(per_min) + per_min // 2
    world.publish(count=count)
    exchange = Timed(world.clock)

    async def work() -> None:
        async with running(a_deliverer(world, exchange, limits=WIDE)):
            await turn_to_the_end(world, count)

    run(work())

    assert exchange.at_ms.count(0) == burst(per_min)
    assert most_within(exchange.at_ms, 60_000) <= per_min + burst(per_min)
    assert exchange.at_ms[-1] <= 31_000 + 5_000


def test_several_processes_share_a_limit(world: World) -> None:
    """Three loops, each with a database of its own as a process has, send together what one might."""
    world.add_endpoint()
    set_endpoint(world, rate_limit_per_min=120)
    world.publish(count=80)
    assert isinstance(world.database, SqliteDatabase)
    others = [World(SqliteDatabase(world.database.path), world.store, world.clock) for _ in range(2)]
    exchange = Timed(world.clock)

    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for one in (world, *others):
                await stack.enter_async_context(running(a_deliverer(one, exchange, limits=WIDE)))
            await turn_to_the_end(world, 80)

    try:
        run(work())
    finally:
        for other in others:
            other.database.close()

    assert len(exchange.at_ms) == 80
    for span_ms in (1, 1_000, 10_000, 30_000, 60_000):
        allowed = burst(120) + span_ms * 1000 / interval_us(120)
        assert most_within(exchange.at_ms, span_ms) <= allowed


def test_a_limited_endpoint_waits_without_asking(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tokens nothing is asked, whatever is published meanwhile; the loop sleeps until the next one."""
    world.add_endpoint()
    set_endpoint(world, rate_limit_per_min=6)
    world.publish(count=3)
    exchange = Timed(world.clock)
    rounds: list[int] = []
    deliverer = a_deliverer(world, exchange)
    transact = deliverer._rounds.transact

    def counted(*arguments: object) -> object:
        rounds.append(world.clock.now_ms() - NOW_MS)
        return transact(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(deliverer._rounds, "transact", counted)

    async def work() -> None:
        async with running(deliverer):
            await until(lambda: world.states() == {"succeeded": 1, "pending": 2}, "the first")
            await until(lambda: (world.clock.next_due_ms() or 0) > world.clock.now_ms(), "the loop asleep")
            before = len(rounds)
            for _ in range(5):
                world.publish()
                await asyncio.sleep(0.05)
            assert len(rounds) == before
            world.clock.set(NOW_MS + 5_000)
            await until(lambda: world.clock.next_due_ms() == NOW_MS + 10_000, "the loop asleep until the next token")
            assert len(rounds) == before
            world.clock.set(NOW_MS + 10_000)
            await until(lambda: len(exchange.at_ms) == 2, "the second")

    run(work())

    assert exchange.at_ms == [0, 10_000]


def test_others_do_not_wait_for_a_limited_endpoint(world: World) -> None:
    """A limit costs its own endpoint time, and nobody a slot."""
    slow = world.add_endpoint("slow")
    world.add_endpoint("free")
    set_endpoint(world, "slow", rate_limit_per_min=1)
    world.publish("slow", 50)
    world.publish("free", 50)
    exchange = Timed(world.clock)

    async def work() -> None:
        async with running(a_deliverer(world, exchange, limits=Limits(in_flight=4))):
            await until(lambda: world.states().get("succeeded") == 51, "all of one, one of the other")

    run(work())

    assert len(exchange.to(slow)) == 1
    assert world.clock.now_ms() == NOW_MS


def test_retry_after_and_the_limit_both_hold(world: World) -> None:
    """The delivery waits as long as it was asked to, the endpoint's others as long as tokens take."""
    url = world.add_endpoint()
    set_endpoint(world, rate_limit_per_min=60)
    exchange = Timed(world.clock)
    exchange.answers[url] = [an_answer(429, headers=[("Retry-After", "300")])]
    world.publish(count=15)

    async def work() -> None:
        async with running(a_deliverer(world, exchange, limits=WIDE)):
            await turn_to_the_end(world, 15)

    run(work())

    assert exchange.at_ms[:10] == [0] * 10
    assert exchange.at_ms[10:15] == [1_000, 2_000, 3_000, 4_000, 5_000]
    assert exchange.at_ms[15:] == [300_000]


def test_a_limit_taken_away_holds_nothing_back(world: World) -> None:
    """The limit in force is the endpoint's, read at each claim."""
    world.add_endpoint()
    set_endpoint(world, rate_limit_per_min=1)
    world.publish(count=5)

    async def work() -> None:
        async with running(a_deliverer(world, Timed(world.clock), limits=WIDE)):
            await until(lambda: world.states() == {"succeeded": 1, "pending": 4}, "the first")
            set_endpoint(world, rate_limit_per_min=None)
            await turn_to_the_end(world, 5)

    run(work())

    assert world.clock.now_ms() <= NOW_MS + 60_000


def test_a_clock_set_back_empties_a_bucket_and_no_more(world: World) -> None:
    """A bucket written a day ahead gives tokens again after the time one token takes."""
    world.add_endpoint()
    set_endpoint(world, rate_limit_per_min=60)
    exchange = Timed(world.clock)

    async def work() -> None:
        async with running(a_deliverer(world, exchange, limits=WIDE)):
            world.publish(count=10)
            await until(lambda: world.states() == {"succeeded": 10}, "a bucketful")
            world.clock.set(NOW_MS - 86_400_000)
            world.publish(count=5)
            await until(lambda: (world.clock.next_due_ms() or NOW_MS) < NOW_MS, "the loop asleep anew")
            await turn_to_the_end(world, 15)

    run(work())

    assert world.clock.now_ms() <= NOW_MS - 86_400_000 + 10_000
