"""Time: each attempt verifies in the official SDK at its moment, and a clock that is set back hurts nothing."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest
from workos import WorkOSClient
from workos.webhooks import _resource

from hookline.rules.schedule import JITTER
from hookline.sender.deliver import DISCOVERY_MS
from hookline.sender.http import Answer, Request
from hookline.sender.model import Environment
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.testing.clock import TurnedClock
from tests.sender.conftest import NOW_MS
from tests.sender.test_deliver import (
    SECRET,
    Scripted,
    World,
    a_deliverer,
    an_answer,
    deliver_all,
    run,
    running,
    turn_until,
    until,
)

URL = "https://one.example.com/"
DAY_MS = 86_400_000


@pytest.fixture
def world(database: Database, store: SenderStore, clock: TurnedClock) -> World:
    return World(database, store, clock)


@pytest.mark.parametrize(
    ("environment", "offsets_s"),
    [("production", [0, 190, 950, 3_990, 16_150, 64_790, 259_200]), ("staging", [0, 1, 4, 13, 40, 121, 300])],
)
def test_each_attempt_verifies_in_the_sdk_at_its_time(
    world: World, monkeypatch: pytest.MonkeyPatch, environment: Environment, offsets_s: list[int]
) -> None:
    """All seven within jitter of their times, the last by 72 hours (staging: five minutes), each freshly signed.

    The SDK verifies with its own tolerance at the moment the attempt arrives: its clock is the one we turn.
    """
    webhooks = WorkOSClient(api_key="sk_test_nobody", client_id="client_nobody").webhooks
    monkeypatch.setattr(_resource, "time", SimpleNamespace(time=lambda: world.clock.now_ms() / 1000))
    world.add_endpoint(environment=environment)
    verified: list[int] = []

    async def consume(request: Request) -> Answer:
        webhooks.verify_header(
            event_body=request.body, event_signature=dict(request.headers)["WorkOS-Signature"], secret=SECRET
        )
        verified.append(world.clock.now_ms() - NOW_MS)
        return an_answer(503)

    draw = random.Random(7)
    world.publish(environment=environment)

    run(deliver_all(world, Scripted(before=consume), {"failed": 1}, jitter=lambda: draw.uniform(-1, 1)))

    assert len(verified) == 7
    for at_ms, before_s, offset_s in zip(verified, [0, *offsets_s], offsets_s, strict=False):
        assert abs(at_ms - offset_s * 1000) <= (offset_s - before_s) * 1000 * JITTER + 1
    assert verified[-1] == offsets_s[-1] * 1000


async def asleep(world: World) -> None:
    """Wait until the loop sleeps towards a time near the clock's, with nothing under way."""
    await until(
        lambda: (
            0 < (world.clock.next_due_ms() or 0) - world.clock.now_ms() <= DISCOVERY_MS
            and not world.is_busy(world.clock.now_ms(), False)
        ),
        "the loop asleep",
    )


async def set_back(world: World, by_ms: int) -> None:
    """Set the clock back. A real sleep counts elapsed time, so the loop wakes within 5 s: here by any news."""
    world.clock.set(world.clock.now_ms() - by_ms)
    world.database.notify("deliveries")
    await until(lambda: (world.clock.next_due_ms() or 0) <= world.clock.now_ms() + DISCOVERY_MS, "the loop awake")


@pytest.mark.parametrize("by_ms", [1_000, 30_000, 3_600_000, DAY_MS, 400 * DAY_MS])
def test_retries_wait_as_long_as_they_were_to_wait(world: World, by_ms: int) -> None:
    """Set back after the first attempt, every later one comes after the gap that was planned, and none is lost.

    Less than a minute is left alone: the next one comes later by as much.
    """
    url = world.add_endpoint()
    exchange = Scripted({url: [an_answer(500)] * 7})
    [delivery_id] = world.publish()

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: bool(world.attempts(delivery_id)), "the first attempt")
            await asleep(world)
            await set_back(world, by_ms)
            await turn_until(world, lambda: world.states() == {"failed": 1}, "the end")

    run(work())

    back_ms = by_ms if by_ms > 60_000 else 0
    started = [attempt.started_ms - NOW_MS for attempt in world.attempts(delivery_id)]
    assert [at_ms + (back_ms if number else 0) for number, at_ms in enumerate(started)] == [
        offset_s * 1000 for offset_s in (0, 190, 950, 3_990, 16_150, 64_790, 259_200)
    ]
    assert len(exchange.sent) == 7


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_was_due_before_is_due_now(world: World, is_restarted: bool) -> None:
    """A delivery published while the clock stood a year ahead goes out at once, also by a loop that starts later."""
    world.add_endpoint()
    world.clock.set(NOW_MS + 365 * DAY_MS)
    exchange = Scripted()

    async def work() -> None:
        if is_restarted:
            world.publish()
            world.clock.set(NOW_MS)
        async with running(a_deliverer(world, exchange)):
            if not is_restarted:
                await asleep(world)
                # Published behind the loop's back, and found once the clock has been set back.
                database, world.database = world.database, _Silent(world.database)
                world.publish()
                world.database = database
                await set_back(world, 365 * DAY_MS)
            await until(lambda: world.states() == {"succeeded": 1}, "the delivery")

    run(work())

    assert world.clock.now_ms() <= NOW_MS + DISCOVERY_MS


class _Silent:
    """A database whose notifications are lost."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def notify(self, channel: str) -> None:
        pass


def test_a_lease_from_ahead_lapses(world: World) -> None:
    """An attempt whose loop died while the clock stood a day ahead is taken over within minutes, not in a day."""
    url = world.add_endpoint()
    world.clock.set(NOW_MS + DAY_MS)
    [delivery_id] = world.publish()
    exchange = Scripted(hang={url})

    async def work() -> None:
        task = asyncio.create_task(a_deliverer(world, exchange).run(asyncio.Event()))
        await until(lambda: len(exchange.sent) == 1, "the attempt")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.clock.set(NOW_MS)
        exchange.hang.clear()
        async with running(a_deliverer(world, exchange)):
            await turn_until(world, lambda: world.states() == {"succeeded": 1}, "it", past_leases=True)

    run(work())

    assert [attempt.outcome for attempt in world.attempts(delivery_id)] == ["unknown", "succeeded"]
    assert world.clock.now_ms() < NOW_MS + 300_000


def test_a_loop_that_waits_for_its_database_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set back by an hour while it backs off, it does not wait for an hour."""
    from hookline.errors import StorageUnavailable

    world.add_endpoint()
    deliverer = a_deliverer(world, Scripted())
    real = deliverer._rounds.discover
    is_away = True

    def discover() -> Any:
        if is_away:
            raise StorageUnavailable("away")
        return real()

    monkeypatch.setattr(deliverer._rounds, "discover", discover)
    world.publish()

    async def work() -> None:
        nonlocal is_away
        async with running(deliverer):
            await until(lambda: NOW_MS < (world.clock.next_due_ms() or 0) <= NOW_MS + 5_000, "the loop backing off")
            is_away = False
            world.clock.set(NOW_MS - 3_600_000)
            world.database.notify("deliveries")
            await until(lambda: world.states() == {"succeeded": 1}, "the delivery")

    run(work())

    assert world.clock.now_ms() == NOW_MS - 3_600_000
