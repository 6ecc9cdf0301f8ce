"""What the sender counts of its own work, while a real loop delivers and a real publisher commits."""

from __future__ import annotations

import asyncio
import logging

import pytest

from hookline.counting import Histogram
from hookline.errors import StorageUnavailable
from hookline.rules.response import UNKNOWN
from hookline.sender.counters import Counters, reason_class
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.idempotency import IdempotencyKey
from hookline.sender.ids import IdMaker
from hookline.sender.publish import Publisher
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.testing.clock import TurnedClock
from tests.sender.test_deliver import Scripted, World, a_deliverer, an_answer, deliver_all, running, until

DRAFT = draft_event({"event": "invoice.paid", "data": {}})


@pytest.fixture
def world(database: Database, store: SenderStore, clock: TurnedClock) -> World:
    return World(database, store, clock)


def test_a_histogram_puts_a_value_at_its_bound() -> None:
    """A bound counts what is equal to it; what is above all bounds has a place of its own."""
    histogram = Histogram((1, 10))

    for value in (0.5, 1, 1.5, 10, 11):
        histogram.add(value)

    assert (histogram.counts, histogram.sum) == ([2, 2, 1], 24.0)


@pytest.mark.parametrize(
    ("reason", "label"),
    [("status_204", "2xx"), ("status_503", "5xx"), ("timeout", "timeout"), (UNKNOWN.reason, "unknown")],
)
def test_statuses_share_a_label(reason: str, label: str) -> None:
    """Reasons are few: a stranger who answers a hundred statuses makes five labels."""
    assert reason_class(reason) == label


def test_the_loop_counts_attempts_and_what_they_left(world: World) -> None:
    """A failure and a success: two attempts, one delivery that waits again and then has succeeded."""
    url = world.add_endpoint()
    world.publish()
    counters = Counters()

    asyncio.run(deliver_all(world, Scripted({url: [an_answer(503)]}), {"succeeded": 1}, counters=counters))

    assert counters.attempts == {
        ("production", "scheduled", "failed", "5xx"): 1,
        ("production", "scheduled", "succeeded", "2xx"): 1,
    }
    assert counters.deliveries == {("production", "pending", "5xx"): 1, ("production", "succeeded", "2xx"): 1}
    assert sum(counters.attempt_seconds.counts) == 2
    assert counters.attempt_seconds.sum == pytest.approx(0.012)  # whole milliseconds, as they are recorded
    assert counters.phases["connect"].sum == pytest.approx(0.004)
    assert (sum(counters.claims.counts), sum(counters.settles.counts)) == (2, 2)
    assert counters.heartbeat_ms is not None
    assert (counters.in_flight, counters.in_flight_limit, counters.proven, counters.failing) == (0, 500, 1, 0)


def test_the_loop_counts_what_was_lost(world: World) -> None:
    """A delivery whose lease passed is counted as lapsed, once."""
    url = world.add_endpoint()
    world.publish()

    async def die() -> None:
        async with running(a_deliverer(world, Scripted(hang={url}))) as task:
            await until(lambda: world.states() == {"running": 1}, "the attempt under way")
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(die())
    world.clock.advance(60_000)
    counters = Counters()
    asyncio.run(deliver_all(world, Scripted(), {"succeeded": 1}, counters=counters))

    assert counters.lapsed == 1
    assert counters.overtaken == 0
    assert counters.deliveries["production", "pending", "unknown"] == 1


def test_attempts_are_logged_with_their_ids(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A failed attempt is a line with ids as fields; a success is one only where debug is asked for."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()

    with caplog.at_level(logging.INFO, "hookline.sender"):
        asyncio.run(deliver_all(world, Scripted({url: [an_answer(500)]}), {"succeeded": 1}))

    [record] = [record for record in caplog.records if hasattr(record, "delivery_id")]
    assert record.levelno == logging.INFO
    fields = {name: getattr(record, name) for name in ("event_id", "delivery_id", "endpoint_id", "attempt", "outcome")}
    assert fields == {
        "event_id": "event_0",
        "delivery_id": delivery_id,
        "endpoint_id": "we_one",
        "attempt": 1,
        "outcome": "failed",
    }
    assert (record.__dict__["status"], record.__dict__["duration_ms"]) == (500, 6)


def test_the_publisher_counts_events_repeats_and_trouble(
    database: Database, store: SenderStore, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored events by environment; a repeated key stores none; a database that is away is an error."""
    counters = Counters()
    publisher = Publisher(database, store, clock=clock, ids=IdMaker(), counters=counters)
    used = IdempotencyKey("k", "POST /api/v1/events", "0" * 64)

    publisher.publish_inline(Publication("production", (DRAFT, DRAFT)))
    publisher.publish_inline(Publication("staging", (DRAFT,), used))
    publisher.publish_inline(Publication("staging", (DRAFT,), used))

    def refuse(work: object) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(database, "run", refuse)
    with pytest.raises(StorageUnavailable):
        publisher.publish_inline(Publication("staging", (DRAFT,)))
    publisher.close()

    assert counters.published == {"production": 2, "staging": 1}
    assert counters.repeated == 1
    assert counters.database_errors == {"publish": 1}
    assert sum(counters.commits.counts) == sum(counters.publish_waits.counts) == 3
