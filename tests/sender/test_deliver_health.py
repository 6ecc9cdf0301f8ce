"""Health under a real loop: warned, disabled, half open, well again; and who is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from hookline.rules.health import HealthPolicy
from hookline.sender import closing
from hookline.sender.deliver import CHANNEL, Limits
from hookline.sender.holding import Choice, Holding
from hookline.sender.http import Answer, Request
from hookline.sender.ids import IdMaker
from hookline.sender.job_store import JobStore
from hookline.sender.store import SenderStore
from hookline.storage import Connection, Database
from hookline.storage.sqlite import SqliteDatabase
from hookline.testing.clock import TurnedClock
from tests.sender.conftest import NOW_MS
from tests.sender.test_deliver import (
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
from tests.sender.test_deliver_headers import set_endpoint

URL = "https://one.example.com/"
DAY_MS = 86_400_000
# Disabled with the third failed attempt, four minutes after the first.
SOON = HealthPolicy(disable_after_s=240, min_attempts=3)


@pytest.fixture
def world(database: Database, store: SenderStore, clock: TurnedClock) -> World:
    return World(database, store, clock)


def subscribe(world: World, name: str, *events: str) -> str:
    """An endpoint that asks for these alone."""
    url = world.add_endpoint(name)
    with world.database.transaction() as connection:
        row = world.endpoint(name).row_id
        connection.execute("delete from hookline_sender_subscriptions where endpoint_row = ?", (row,))
        connection.executemany(
            "insert into hookline_sender_subscriptions (event_type, endpoint_row) values (?, ?)",
            [(event, row) for event in events],
        )
    return url


def told(exchange: Scripted, url: str) -> list[dict[str, Any]]:
    """The events an endpoint got, oldest first."""
    return [json.loads(request.body) for request in exchange.to(url)]


def resume(world: World, name: str = "one") -> None:
    """As the registry does it: open the endpoint, let everything go that was held."""
    endpoint = world.endpoint(name)
    now_ms = world.clock.now_ms()
    holding = Holding(JobStore(world.database.dialect))

    def work(connection: Connection) -> None:
        world.store.resume_endpoint(connection, endpoint, now_ms=now_ms)
        holding.begin(connection, endpoint.row_id, Choice(), was_open=False, now_ms=now_ms)

    world.database.run(work)
    world.database.notify(CHANNEL)


def failed_endpoint(world: World, *, held: int) -> None:
    """An endpoint that we disabled, with deliveries held."""
    world.add_endpoint()
    world.publish(count=held)
    set_endpoint(world, status="disabled", disabled_reason="failing", failing_since_ms=NOW_MS, failing_attempts=50)
    world.database.run(lambda c: world.store.close_backlog(c, world.endpoint().row_id, now_ms=NOW_MS))


def test_failing_for_five_days_disables(world: World) -> None:
    """An hourly event that always fails: warned at 50 and 80 %, disabled at 100 %, everything that waits held."""
    url = world.add_endpoint()
    watch = subscribe(world, "watch", "endpoint.*")
    exchange = Scripted({url: [an_answer(500)] * 10_000})

    async def work() -> None:
        async with running(a_deliverer(world, exchange, ids=IdMaker())):
            for hour in range(24 * 5):
                world.clock.set(NOW_MS + hour * 3_600_000)
                [made] = world.publish()
                await until(lambda one=made: bool(world.attempts(one)), "the attempt")  # type: ignore[misc]
            # Retries that were due in the last hour are what fails now.
            world.clock.set(NOW_MS + 5 * DAY_MS)
            await until(lambda: len(exchange.to(watch)) == 3, "what is told")

    run(work())

    endpoint = world.endpoint()
    assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "failing")
    assert "pending" not in world.states()
    assert {world.delivery("delivery_119").state, world.delivery("delivery_100").state} == {"held"}
    events = told(exchange, watch)
    assert [one["event"] for one in events] == ["endpoint.failing", "endpoint.failing", "endpoint.disabled"]
    assert [one["data"].get("percent") for one in events] == [50, 80, None]
    assert events[0]["data"]["id"] == "we_one"
    assert events[0]["data"]["failing_since"] == "2025-11-24T16:00:00.000Z"
    assert (events[2]["data"]["reason"], events[2]["data"]["held_deliveries"] > 0) == ("failing", True)
    with world.database.read() as connection:
        version = world.store.endpoint_version_at(connection, endpoint.row_id, world.clock.now_ms())
    assert version is not None
    assert (version.status, version.disabled_reason) == ("disabled", "failing")


def test_what_is_told_of_a_disabling_counts_all_that_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a transaction holds: the rest is a job's, and counted all the same."""
    monkeypatch.setattr(closing, "PART", 2)
    url = world.add_endpoint()
    watch = subscribe(world, "watch", "endpoint.disabled")
    world.publish(count=8)
    exchange = Scripted({url: [an_answer(410)]})

    async def work() -> None:
        async with running(a_deliverer(world, exchange, ids=IdMaker(), limits=Limits(in_flight=1))):
            await until(lambda: len(exchange.to(watch)) == 1, "what is told")

    run(work())

    [event] = told(exchange, watch)
    assert event["data"]["held_deliveries"] == 7
    assert (world.states()["held"], world.states()["pending"]) == (2, 5)
    with world.database.read() as connection:
        [[kind, subject]] = connection.execute("select kind, subject from hookline_sender_jobs").fetchall()
    assert (kind, subject) == (closing.KIND, str(world.endpoint().row_id))


def test_a_success_ends_the_failing(world: World) -> None:
    """The count and its beginning go with it, and the next failure begins anew."""
    url = world.add_endpoint()
    exchange = Scripted({url: [an_answer(500), an_answer(500), an_answer(200), an_answer(500)]})

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            world.publish()
            await turn_until(world, lambda: len(world.attempts("delivery_0")) == 2, "two failures")
            failing = world.endpoint()
            assert (failing.failing_since_ms, failing.failing_attempts) == (NOW_MS, 2)
            await turn_until(world, lambda: world.states() == {"succeeded": 1}, "the success")
            well = world.endpoint()
            assert (well.failing_since_ms, well.failing_attempts) == (None, 0)
            world.publish()
            await until(lambda: world.endpoint().failing_attempts == 1, "the next failure")
            assert world.endpoint().failing_since_ms == world.clock.now_ms()

    run(work())


@pytest.mark.parametrize("origin", ["test", "replay"])
def test_tests_and_replays_do_not_count(world: World, origin: str) -> None:
    """Neither does what a person asked for."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()
    with world.database.transaction() as connection:
        connection.execute("update hookline_sender_deliveries set origin = ?", (origin,))
    exchange = Scripted({url: [an_answer(500)] * 3})

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: len(world.attempts(delivery_id)) == 1, "the attempt")
            world.retry(delivery_id)
            await until(lambda: len(world.attempts(delivery_id)) == 2, "the retry")

    run(work())

    assert world.endpoint().failing_attempts == 0


def test_our_own_faults_do_not_count(world: World) -> None:
    """A machine without ports left, a secret that does not open: the endpoint had no part in it."""
    url = world.add_endpoint()
    world.add_endpoint("sealed")
    set_endpoint(world, "sealed", secret_enc="broken")
    exchange = Scripted({url: [an_answer(None, error="local")]})
    [one], [other] = world.publish(), world.publish("sealed")

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: bool(world.attempts(one) and world.attempts(other)), "both")

    run(work())

    assert [world.endpoint(name).failing_attempts for name in ("one", "sealed")] == [0, 0]


@pytest.mark.parametrize("is_well", [True, False])
def test_half_open(world: World, is_well: bool) -> None:
    """Resumed after we disabled it, one delivery goes first; what is published meanwhile waits for it like the rest."""
    failed_endpoint(world, held=5)
    resume(world)
    release = asyncio.Event()

    async def answer(_: Request) -> Answer:
        await release.wait()
        return an_answer(200 if is_well else 500)

    exchange = Scripted(before=answer)

    async def work() -> None:
        async with running(a_deliverer(world, exchange, ids=IdMaker())):
            await until(lambda: len(exchange.sent) == 1, "the first")
            world.publish(count=3)
            await asyncio.sleep(0.1)
            assert len(exchange.sent) == 1
            release.set()
            if is_well:
                await until(lambda: len(exchange.sent) == 4, "what waited")
            else:
                await until(lambda: world.endpoint().status == "disabled", "disabled again")

    run(work())

    endpoint = world.endpoint()
    if is_well:
        assert (endpoint.status, endpoint.is_half_open, endpoint.failing_since_ms) == ("enabled", False, None)
        # The others that were held are let go by their job, once it sees that the endpoint is open.
        assert world.states() == {"succeeded": 4, "held": 4}
    else:
        assert endpoint.disabled_reason == "failing"
        assert len(exchange.sent) == 1
        assert world.states() == {"held": 8}


def test_one_trial_among_processes(world: World) -> None:
    """However many loops there are, one of them makes the trial."""
    failed_endpoint(world, held=3)
    resume(world)
    assert isinstance(world.database, SqliteDatabase)
    others = [World(SqliteDatabase(world.database.path), world.store, world.clock) for _ in range(2)]
    with world.database.transaction() as connection:
        connection.execute("update hookline_sender_deliveries set state = 'pending', due_ms = ?", (NOW_MS,))
    release = asyncio.Event()

    async def answer(_: Request) -> Answer:
        await release.wait()
        return an_answer()

    exchange = Scripted(before=answer)

    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for one in (world, *others):
                await stack.enter_async_context(running(a_deliverer(one, exchange)))
            await until(lambda: len(exchange.sent) == 1, "the trial")
            for _ in range(3):
                world.clock.advance(5_000)
                await asyncio.sleep(0.1)
            assert len(exchange.sent) == 1
            release.set()
            await turn_until(world, lambda: world.states() == {"succeeded": 3}, "the rest")

    try:
        run(work())
    finally:
        for other in others:
            other.database.close()


def test_a_trial_whose_process_died_is_made_again(world: World) -> None:
    """Its lease passes, its attempt is unknown, and the next delivery is tried: an unknown end decides nothing."""
    failed_endpoint(world, held=2)
    resume(world)
    exchange = Scripted(hang={URL})

    async def work() -> None:
        task = asyncio.create_task(a_deliverer(world, exchange).run(asyncio.Event()))
        await until(lambda: len(exchange.sent) == 1, "the trial")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert world.endpoint().is_half_open
        world.clock.advance(30_000)
        exchange.hang.clear()
        async with running(a_deliverer(world, exchange)):
            await turn_until(world, lambda: not world.endpoint().is_half_open, "the second", past_leases=True)

    run(work())

    assert world.states() == {"succeeded": 1, "held": 1}


def test_gone_is_told(world: World) -> None:
    """410 disables at once, and says so."""
    url = world.add_endpoint()
    watch = subscribe(world, "watch", "endpoint.disabled", "delivery.failed")
    exchange = Scripted({url: [an_answer(410)]})
    world.publish()

    run(deliver_all(world, exchange, {"failed": 1, "succeeded": 2}, ids=IdMaker()))

    kinds = {one["event"]: one["data"] for one in told(exchange, watch)}
    assert kinds["endpoint.disabled"]["reason"] == "gone"
    assert (kinds["delivery.failed"]["id"], kinds["delivery.failed"]["reason"]) == ("delivery_0", "gone")
    assert kinds["delivery.failed"]["last_outcome"] == "status_410"


def test_a_failed_delivery_is_told_to_those_who_asked(world: World) -> None:
    """By name or by prefix; `*` asks for events, not for this. It is in the feed, signed like any other."""
    url = world.add_endpoint()  # asks for *
    by_name, by_prefix = subscribe(world, "name", "delivery.failed"), subscribe(world, "prefix", "delivery.*")
    exchange = Scripted({url: [an_answer(500)] * 7})
    world.publish()

    run(deliver_all(world, exchange, {"failed": 1, "succeeded": 2}, ids=IdMaker()))

    [one], [other] = told(exchange, by_name), told(exchange, by_prefix)
    assert one == other
    assert one["data"] == {
        "object": "delivery",
        "id": "delivery_0",
        "event_id": "event_0",
        "event_type": "dsync.user.created",
        "endpoint_id": "we_one",
        "reason": "exhausted",
        "attempts": 7,
        "last_outcome": "status_500",
        "failed_at": "2025-11-27T16:00:00.000Z",
    }
    assert len(exchange.to(url)) == 7
    with world.database.read() as connection:
        assert world.store.feed_seq(connection, "production", one["id"]) is not None
        [[origin]] = connection.execute(
            "select origin from hookline_sender_events where type = 'delivery.failed'"
        ).fetchall()
    assert origin == "operational"


def test_the_failure_of_a_telling_is_not_told(world: World) -> None:
    """A delivery of an operational event that fails for good causes no other one: nothing goes round in circles."""
    url, watch = world.add_endpoint(), subscribe(world, "watch", "delivery.failed")
    exchange = Scripted({url: [an_answer(500)] * 7, watch: [an_answer(500)] * 99})
    world.publish()

    run(deliver_all(world, exchange, {"failed": 2}, ids=IdMaker()))

    assert len(exchange.to(watch)) == 7
    with world.database.read() as connection:
        [[events]] = connection.execute("select count(*) from hookline_sender_events where origin = 'operational'")
    assert events == 1


def test_what_nobody_asked_for_is_not_stored(world: World) -> None:
    """Without a subscriber a failure leaves no event."""
    url = world.add_endpoint()
    world.publish()

    run(deliver_all(world, Scripted({url: [an_answer(500)] * 7}), {"failed": 1}, ids=IdMaker()))

    with world.database.read() as connection:
        [[events]] = connection.execute("select count(*) from hookline_sender_events")
    assert events == 1


def test_a_delivery_that_came_too_late_is_told(world: World) -> None:
    """Its window passed while we were down: no attempt, and yet a failure."""
    url, watch = world.add_endpoint(), subscribe(world, "watch", "delivery.failed")
    exchange = Scripted({url: [an_answer(500)]})
    [delivery_id] = world.publish()

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: bool(world.attempts(delivery_id)), "the first attempt")
        world.clock.advance(4 * DAY_MS)
        await deliver_all(world, exchange, {"failed": 1, "succeeded": 1}, ids=IdMaker())

    run(work())

    [event] = told(exchange, watch)
    assert (event["data"]["reason"], event["data"]["attempts"], event["data"]["last_outcome"]) == (
        "window_passed",
        1,
        None,
    )


def test_health_costs_well_endpoints_no_statement(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While everything succeeds, nothing is written about endpoints."""
    world.add_endpoint()
    world.publish(count=50)
    statements: list[str] = []
    connect = SqliteDatabase._connect

    def traced(self: SqliteDatabase, **options: Any) -> Any:
        connection = connect(self, **options)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(SqliteDatabase, "_connect", traced)
    world.database.close()

    run(deliver_all(world, Scripted(), {"succeeded": 50}, limits=Limits(first_window=50)))

    assert not [one for one in statements if "update hookline_sender_endpoints" in one]
