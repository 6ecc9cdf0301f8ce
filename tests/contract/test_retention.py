"""What every database must do for retention: what is past its time goes, and nothing else does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from hookline.errors import RequestError
from hookline.sender import retention as module
from hookline.sender.interventions import retry_delivery
from hookline.sender.job_store import JobStore
from hookline.sender.jobs import JobRunner
from hookline.sender.queries import event_page
from hookline.sender.retention import DAY_S, EVERY_MS, KIND, Removed, Retention
from hookline.sender.store import FeedFilter, SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock

from .test_sender_store import World

DAY_MS = DAY_S * 1000
NOW_MS = 1_000 * DAY_MS


class Desk:
    """Events of known ages, and whoever removes the old ones."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.database = database
        self.clock = TurnedClock(NOW_MS)
        self.jobs = JobStore(database.dialect)
        self.retention = Retention(world.store, self.jobs)
        world.add_endpoint("we_1")

    def publish(self, name: str, days: float, *states: str, ended_days: float | None = None, **fields: Any) -> None:
        """An event published so many days ago, with a delivery (and one attempt) per state."""
        at_ms = NOW_MS - round(days * DAY_MS)
        event_row = self.world.add_event(name, now_ms=at_ms, event_type="a.b", **fields)
        endpoint_row = self.world.endpoint("we_1").row_id
        for number, state in enumerate(states):
            self.world.add_delivery(f"{name}.{number}", event_row, endpoint_row, state=state, now_ms=at_ms)
            ended_ms = at_ms if ended_days is None else NOW_MS - round(ended_days * DAY_MS)
            self.world.set_state(f"{name}.{number}", state, updated_ms=ended_ms)
            self.execute(
                "insert into hookline_sender_attempts (delivery_row, number, kind, outcome, started_ms, evidence)"
                " values (?, 1, 'scheduled', 'failed', 1, '{}')",
                self.world.delivery(f"{name}.{number}").row_id,
            )

    def execute(self, statement: str, *values: Any) -> list[Any]:
        mark = "?" if self.database.dialect == "sqlite" else "%s"

        def work(connection: Any) -> list[Any]:
            cursor = connection.cursor()
            cursor.execute(statement.replace("?", mark), values)
            return cursor.fetchall() if cursor.description else []

        return self.database.run(work)

    def prune(self) -> Removed:
        return self.retention.prune(self.database, clock=self.clock)

    def bodies(self) -> set[str]:
        """Events that still have a body."""
        return {id_ for id_, body in self.execute("select id, body from hookline_sender_events") if bytes(body)}

    def states(self) -> dict[str, str]:
        return dict(self.execute("select id, state from hookline_sender_deliveries"))

    def listed(self, *, after: str | None = None, event_type: str = "a.b") -> list[str]:
        with self.database.read() as connection:
            page = event_page(
                self.world.store,
                connection,
                "production",
                FeedFilter((event_type,)),
                after=after,
                before=None,
                limit=10,
                now_ms=self.clock.now_ms(),
            )
        return [event.id for event in page.items]


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    yield Desk(World(database, SenderStore(database.dialect)), database)
    database.close()


@pytest.mark.parametrize("at_once", [1, 2, 200])
def test_what_is_past_its_time_goes(desk: Desk, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Bodies, deliveries that ended and their attempts; of each environment by its own time, whatever a part's size."""
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", at_once)
    desk.publish("old", 31, "succeeded", "failed", "canceled")
    desk.publish("young", 29, "succeeded")
    desk.publish("retried", 31, "succeeded", ended_days=3)
    desk.publish("old_staging", 8, environment="staging")
    desk.publish("young_staging", 6, environment="staging")

    removed = desk.prune()
    again = desk.prune()

    assert desk.bodies() == {"young", "young_staging"}
    assert set(desk.states()) == {"young.0", "retried.0"}
    assert desk.execute("select count(*) from hookline_sender_attempts") == [(2,)]
    assert (removed, again) == (Removed(events=3, deliveries=3), Removed())
    assert desk.execute("select count(*) from hookline_sender_events") == [(5,)]


@pytest.mark.parametrize("state", ["pending", "running"])
def test_what_waits_or_is_under_way_keeps_its_body(desk: Desk, state: str) -> None:
    """Until it has ended; others of the same age go meanwhile, and so does what else is held of the event."""
    desk.publish("open", 40, state, "held", "succeeded")
    desk.publish("over", 40, "succeeded")

    first = desk.prune()
    bodies, states = desk.bodies(), desk.states()
    desk.world.set_state("open.0", "failed", updated_ms=NOW_MS - 31 * DAY_MS)
    second = desk.prune()

    assert bodies == {"open"}
    assert states == {"open.0": state, "open.1": "canceled", "open.2": "succeeded"}
    assert desk.world.delivery("open.1").reason == "expired"
    assert (first, second) == (Removed(events=1, deliveries=1, expired=1), Removed(events=1, deliveries=2))
    assert desk.bodies() == set()


def test_what_is_held_is_canceled_as_expired(desk: Desk) -> None:
    """It stays readable for as long as other deliveries would; younger ones stay held."""
    desk.publish("old", 31, "held")
    desk.publish("young", 29, "held")

    removed = desk.prune()

    assert (removed.expired, desk.states()) == (1, {"old.0": "canceled", "young.0": "held"})
    assert (desk.world.delivery("old.0").reason, desk.bodies()) == ("expired", {"young"})


def test_a_crowded_event_is_pruned_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part takes few events where each has many deliveries, and one at least."""
    monkeypatch.setattr(module, "DELIVERIES_AT_ONCE", 2)
    for name in ("one", "two"):
        desk.publish(name, 31, "succeeded", "failed", "canceled")
    parts: list[int] = []
    real = JobStore.prune_events

    def prune_events(store: JobStore, connection: Any, event_rows: Collection[int], *, now_ms: int) -> int:
        parts.append(len(event_rows))
        return real(store, connection, event_rows, now_ms=now_ms)

    monkeypatch.setattr(JobStore, "prune_events", prune_events)

    assert desk.prune().events == 2
    assert parts == [1, 1]


def test_the_feed_ends_where_retention_began(desk: Desk) -> None:
    """A pruned event is not listed; a cursor on it goes on where nothing asked for is missing, else says so."""
    for name, days in (("a", 40), ("b", 39), ("c", 2), ("d", 1)):
        desk.publish(name, days)
    desk.world.add_event("other", event_type="c.d", now_ms=NOW_MS - 38 * DAY_MS)
    desk.prune()

    with pytest.raises(RequestError) as refusal:
        desk.listed(after="a")

    assert desk.listed() == ["c", "d"]
    assert desk.listed(after="b") == ["c", "d"]
    assert desk.listed(after="c") == ["d"]
    assert (refusal.value.status, refusal.value.code) == (422, "cursor_expired")
    assert desk.listed(after="a", event_type="x.y") == []


def test_a_retry_without_a_body_is_410(desk: Desk) -> None:
    """A delivery that outlived its event's body cannot be sent."""
    desk.publish("old", 31, "failed", ended_days=1)
    desk.publish("young", 29, "failed")
    desk.prune()

    def retry(delivery_id: str) -> str:
        return desk.database.run(
            lambda tx: retry_delivery(tx, desk.world.store, "production", delivery_id, now_ms=NOW_MS).state
        )

    with pytest.raises(RequestError) as refusal:
        retry("old.0")

    assert (refusal.value.status, refusal.value.code) == (410, "event_pruned")
    assert retry("young.0") == "pending"


def take_key(desk: Desk, key: str, days: float) -> None:
    row = {
        "environment": "production",
        "idempotency_key": key,
        "operation": "o",
        "body_sha256": "b",
        "result_ids": "[]",
        "now_ms": NOW_MS - round(days * DAY_MS),
    }
    desk.world.write(desk.world.store.take_idempotency_keys, [row])


@pytest.mark.parametrize("at_once", [1, 200])
def test_ids_and_keys_outlive_bodies_by_far(desk: Desk, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """A hundred days; the audit trail a year."""
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", at_once)
    for days in (101, 102, 103, 99):
        take_key(desk, f"key_{days}", days)
        desk.publish(f"event_{days}", days, "succeeded", ended_days=1)
    desk.publish("open", 104, "pending")
    for days in (364, 366, 367):
        desk.world.write(
            desk.world.store.audit, "production", actor="k", action=f"a{days}", now_ms=NOW_MS - days * DAY_MS
        )

    removed = desk.prune()

    ids = {id_ for (id_,) in desk.execute("select id from hookline_sender_events")}
    assert ids == {"event_99", "open"}
    assert set(desk.states()) == {"event_99.0", "open.0"}
    assert desk.execute("select count(*) from hookline_sender_attempts") == [(2,)]
    assert desk.execute("select idempotency_key from hookline_sender_idempotency") == [("key_99",)]
    assert desk.execute("select action from hookline_sender_audit") == [("a364",)]
    assert removed == Removed(events=4, deliveries=3, ids=3, keys=3, audit=2)


@pytest.mark.parametrize("at_once", [1, 200])
def test_replays_go_long_after_they_were_done_and_after_their_deliveries(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """One that is not done stays, and one that was done lately; one whose delivery is still there, until that goes."""
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", at_once)
    desk.publish("event_1", 1, "succeeded")
    for row, (id_, days) in enumerate({"old": 101, "older": 300, "lately": 99, "open": None, "used": 150}.items(), 1):
        finished_ms = None if days is None else NOW_MS - days * DAY_MS
        desk.execute(
            "insert into hookline_sender_replays (row_id, id, environment, filter, state, total, skipped, position,"
            " last_event_row, created_ms, updated_ms, finished_ms)"
            " values (?, ?, 'production', '{}', ?, 0, '{}', 0, 0, 1, 1, ?)",
            row,
            id_,
            "pending" if days is None else "succeeded",
            finished_ms,
        )
    desk.execute("update hookline_sender_deliveries set replay_row = 5")

    def left() -> list[str]:
        return [id_ for (id_,) in desk.execute("select id from hookline_sender_replays order by row_id")]

    assert desk.prune().replays == 2
    assert left() == ["lately", "open", "used"]
    desk.execute("delete from hookline_sender_deliveries")
    assert desk.prune().replays == 1
    assert left() == ["lately", "open"]


def test_keys_outlive_bodies_that_are_kept_for_long(desk: Desk) -> None:
    """Whoever keeps bodies for a year can replay for a year, and ids must last longer."""
    desk.retention = Retention(desk.world.store, desk.jobs, kept_s={"production": 365 * DAY_S})
    for days in (300, 374, 376):
        take_key(desk, f"key_{days}", days)
    desk.publish("kept", 364, "succeeded")

    desk.prune()

    assert len(desk.execute("select idempotency_key from hookline_sender_idempotency")) == 2
    assert desk.bodies() == {"kept"}


def test_rounds_come_by_themselves(desk: Desk) -> None:
    """As jobs: at once at the first start, then an hour after the last part; a second start begins no second round."""
    runner = JobRunner(desk.database, desk.jobs, clock=desk.clock, kinds={KIND: desk.retention.do_part})

    def work() -> int | None:
        runner.note_due(0)
        while (due_ms := runner.step()) is not None and due_ms <= desk.clock.now_ms():
            pass
        return due_ms

    desk.publish("old", 31, "succeeded")
    desk.publish("soon", 29.99, "succeeded")
    desk.world.write(desk.retention.plan, now_ms=NOW_MS)
    first = work()
    bodies = desk.bodies()
    desk.world.write(desk.retention.plan, now_ms=NOW_MS)
    desk.clock.advance(EVERY_MS)
    second = work()

    assert (first, second) == (NOW_MS + EVERY_MS, NOW_MS + 2 * EVERY_MS)
    assert (bodies, desk.bodies()) == ({"soon"}, set())
    assert desk.execute("select count(*) from hookline_sender_jobs") == [(3,)]
