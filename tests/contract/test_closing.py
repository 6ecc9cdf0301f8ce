"""What every database must do with the backlog of an endpoint that is closed, and perhaps opened in the middle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, Literal

import pytest

from hookline.sender import closing, holding
from hookline.sender.closing import BUSY_MS, Closing
from hookline.sender.delivery_store import DeliveryStore
from hookline.sender.holding import LOOK_AGAIN_MS, Choice, HeldCount, Holding
from hookline.sender.job_store import JobStore
from hookline.sender.jobs import JobRunner
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock

from .test_sender_store import World

NOW_MS: Final = 1_000_000
PART: Final = 2
BACKLOG: Final = 7

How = Literal["paused", "disabled", "deleted"]


class Gate:
    """An endpoint with deliveries that wait, and who closes and opens it; each part of a job at a time of its own."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.database = database
        self.clock = TurnedClock(NOW_MS)
        self.jobs = JobStore(database.dialect)
        self.verbs = DeliveryStore(database.dialect)
        self.holding = Holding(self.jobs)
        self.closing = Closing(world.store, self.jobs)
        self.runner = JobRunner(
            database,
            self.jobs,
            clock=self.clock,
            kinds={closing.KIND: self.closing.do_part, holding.KIND: self.holding.do_part},
        )
        world.add_endpoint("we_1")
        self.row = world.endpoint("we_1").row_id

    def wait(self, count: int = BACKLOG, first: int = 1, **fields: Any) -> None:
        """Deliveries that wait, each made 10 ms after the one before and due long ago; every second of one object."""
        for number in range(first, first + count):
            data = {"object": "user", "id": f"user_{number % 2}"}
            event_row = self.world.add_event(f"event_{number}", body=json.dumps({"data": data}).encode())
            named = {"due_ms": number, "now_ms": number * 10} | fields
            self.world.add_delivery(f"delivery_{number}", event_row, self.row, **named)

    def wait_in_bulk(self, count: int) -> None:
        """So many deliveries of one event by one statement."""
        event_row = self.world.add_event("event_bulk")
        self.execute(
            "insert into hookline_sender_deliveries"
            " (id, environment, event_row, endpoint_row, origin, state, due_ms, created_ms, updated_ms)"
            f" with recursive n (i) as (select 1 union all select i + 1 from n where i < {count})"
            f" select 'delivery_' || i, 'production', {event_row}, {self.row}, 'replay', 'pending', i, 1, 1 from n"
        )

    def close(self, how: How) -> None:
        store, endpoint, now_ms = self.world.store, self.world.endpoint("we_1"), self.clock.now_ms()
        if how == "paused":
            self.world.write(store.pause_endpoint, endpoint, now_ms=now_ms)
        elif how == "disabled":
            self.world.write(store.change_endpoint, endpoint, status="disabled", now_ms=now_ms)
        else:
            self.world.write(store.delete_endpoint, "production", "we_1", now_ms=now_ms)

    def resume(self, choice: Choice) -> None:
        def work(connection: Any) -> None:
            endpoint, now_ms = self.world.endpoint("we_1"), self.clock.now_ms()
            was_open = endpoint.paused_ms is None
            if not was_open:
                self.world.store.resume_endpoint(connection, endpoint, now_ms=now_ms)
            self.holding.begin(connection, self.row, choice, was_open=was_open, now_ms=now_ms)

        self.database.run(work)

    def step(self) -> None:
        """One part of a job."""
        self.clock.advance(1)
        self.runner.note_due(0)
        self.runner.step()

    def finish(self) -> int:
        """Parts until none is due; how many."""
        for count in range(100_000):
            self.step()
            due_ms = self.world.read(self.jobs.next_due_ms)
            if due_ms is None or due_ms > self.clock.now_ms():
                return count + 1
        raise AssertionError("the jobs come to no end")

    def claim(self) -> list[str]:
        def work(connection: Any) -> list[str]:
            claimed = self.verbs.claim(
                connection, {self.row: 100}, now_ms=self.clock.now_ms(), timeout_ms=1, margin_ms=1, is_gated=False
            )
            return [one.id for one in claimed]

        return self.database.run(work)

    def execute(self, statement: str) -> None:
        self.database.run(lambda tx: tx.cursor().execute(statement))

    def ask(self, statement: str) -> list[Any]:
        with self.database.read() as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return list(cursor.fetchall())

    def states(self) -> dict[str, str]:
        return dict(self.ask("select id, state from hookline_sender_deliveries"))

    def counts(self) -> dict[tuple[str, str | None], int]:
        return Counter((s, r) for s, r in self.ask("select state, reason from hookline_sender_deliveries"))

    def jobs_left(self) -> int:
        return int(self.ask("select count(*) from hookline_sender_jobs")[0][0])

    def most_at_once(self) -> int:
        """How many deliveries the largest transaction moved."""
        moved = self.ask(
            f"select count(*) from hookline_sender_deliveries where updated_ms >= {NOW_MS} group by updated_ms"
        )
        return max(int(count) for [count] in moved)


@pytest.fixture
def gate(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(closing, "PART", PART)
    monkeypatch.setattr(holding, "PART", PART)
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    yield Gate(World(database, SenderStore(database.dialect)), database)
    database.close()


@pytest.mark.parametrize("how", ["paused", "disabled", "deleted"])
def test_a_backlog_is_closed_in_parts(gate: Gate, how: How) -> None:
    """The endpoint is closed at once, and nothing is claimed from then on; the rest comes in parts, and then ends."""
    gate.wait()

    gate.close(how)
    at_once = Counter(gate.states().values())
    claimed = gate.claim()
    parts = gate.finish()

    state = "canceled" if how == "deleted" else "held"
    assert (at_once, claimed) == ({state: PART, "pending": BACKLOG - PART}, [])
    assert gate.counts() == {(state, f"endpoint_{how}"): BACKLOG}
    assert (parts, gate.most_at_once(), gate.jobs_left()) == (4, PART, 0)
    due = [due_ms for [due_ms] in gate.ask("select due_ms from hookline_sender_deliveries order by row_id")]
    assert due == ([None] * BACKLOG if how == "deleted" else list(range(1, BACKLOG + 1)))


def test_a_small_backlog_needs_no_job(gate: Gate) -> None:
    """It is held in the transaction that pauses."""
    gate.wait(PART - 1)

    gate.close("paused")

    assert (set(gate.states().values()), gate.jobs_left()) == ({"held"}, 0)


def test_deleting_cancels_what_is_held_too(gate: Gate) -> None:
    """What an earlier pause held, and what it had not come to yet."""
    gate.wait()
    gate.close("paused")
    gate.step()

    gate.close("deleted")
    gate.finish()

    assert gate.counts() == {("canceled", "endpoint_deleted"): BACKLOG}
    assert gate.jobs_left() == 0


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (Choice("all"), [1, 2, 3, 4, 5, 6, 7]),
        (Choice("since", 30), [3, 4, 5, 6, 7]),
        (Choice("latest"), [6, 7]),
        (Choice("none"), []),
    ],
)
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_resumed_in_the_middle_the_choice_is_about_all_of_the_backlog(
    gate: Gate, choice: Choice, sent: list[int], steps: int
) -> None:
    """What was held and what was not yet; the count before says the same. What is published after is none of it."""
    gate.wait()
    gate.close("paused")
    for _ in range(steps):
        gate.step()
    before = gate.world.read(gate.holding.count, gate.row, choice)

    gate.resume(choice)
    gate.wait(2, first=8)
    claimed = gate.claim()
    while gate.world.read(gate.jobs.next_due_ms) <= gate.clock.now_ms():
        gate.step()
        claimed += gate.claim()

    assert before == HeldCount(BACKLOG, len(sent), BACKLOG - len(sent))
    assert sorted(claimed) == [f"delivery_{number}" for number in [*sent, 8, 9]]
    assert {state for name, state in gate.states().items() if name not in claimed} <= {"canceled"}
    assert gate.world.read(gate.holding.count, gate.row, choice) == HeldCount(0, 0, 0)
    gate.clock.advance(LOOK_AGAIN_MS)
    gate.finish()
    assert (gate.jobs_left(), gate.claim()) == (0, [])


def test_nothing_is_claimed_until_the_choice_can_see_it(gate: Gate) -> None:
    """Open again, an endpoint whose backlog is still being held is not discovered, nor does it look idle for ever."""
    gate.wait()
    gate.close("paused")

    gate.resume(Choice("none"))

    def looks() -> tuple[Any, Any]:
        with gate.database.read() as connection:
            found = gate.verbs.discover(connection)
            return [row for row, *_ in found.endpoints], (found.closed, gate.verbs.next_due(connection, [gate.row]))

    assert (gate.claim(), looks()) == ([], ([], ((), {})))
    gate.wait(1, first=8)
    for _ in range(4):
        gate.step()
    assert (looks()[0], gate.claim()) == ([gate.row], ["delivery_8"])


def test_paused_again_in_the_middle_everything_waits_for_the_next_choice(gate: Gate) -> None:
    """What was published in between is part of the backlog by then."""
    gate.wait()
    gate.close("paused")
    gate.resume(Choice("none"))
    gate.step()
    gate.wait(1, first=8)
    gate.close("paused")
    gate.finish()
    paused = gate.counts()
    gate.resume(Choice("all"))
    gate.finish()

    assert sum(count for (state, _), count in paused.items() if state == "held") == BACKLOG + 1
    assert Counter(gate.states().values()) == {"pending": BACKLOG + 1}
    assert len(gate.claim()) == BACKLOG + 1


def test_another_choice_in_the_middle_replaces_the_first(gate: Gate) -> None:
    """The second one is about the same backlog; `all` ends the holding at once."""
    gate.wait()
    gate.close("paused")
    gate.resume(Choice("none"))
    gate.step()
    gate.resume(Choice("since", 60))
    gate.finish()
    first = sorted(gate.claim())

    gate.wait(BACKLOG, first=11)
    gate.close("paused")
    gate.resume(Choice("none"))
    gate.resume(Choice("all"))
    at_once = gate.claim()
    gate.finish()

    assert first == ["delivery_6", "delivery_7"]
    assert len(at_once + gate.claim()) == BACKLOG
    assert Counter(gate.states().values()) == {"canceled": 5, "running": 2 + BACKLOG}


def test_resuming_what_is_open_leaves_alone_what_waits(gate: Gate) -> None:
    """That was never held: no choice is about it."""
    gate.wait()

    gate.resume(Choice("none"))
    gate.finish()

    assert set(gate.states().values()) == {"pending"}


def test_an_attempt_under_way_settles_as_the_endpoint_is_by_then(gate: Gate) -> None:
    """Its delivery is held while the endpoint is closed, whatever the job has come to."""
    gate.wait()
    [first, *_] = gate.claim()
    gate.execute("update hookline_sender_deliveries set state = 'pending', due_ms = row_id where row_id > 1")
    gate.close("paused")

    target = gate.world.read(gate.verbs.states, [gate.row])[gate.row].target
    gate.finish()

    assert target == "holding"
    assert gate.states() == {first: "running"} | {f"delivery_{number}": "held" for number in range(2, BACKLOG + 1)}


@pytest.mark.parametrize("how", ["paused", "disabled", "deleted"])
def test_what_is_made_beside_the_closing_is_found(gate: Gate, how: How) -> None:
    """Discovery names the endpoint where no job has it, and the job it puts ends like any other."""
    gate.wait()
    gate.close(how)
    with gate.database.read() as connection:
        while_closing = gate.verbs.discover(connection).closed
    gate.finish()
    gate.wait(3, first=8)

    with gate.database.read() as connection:
        found = gate.verbs.discover(connection).closed
    gate.world.write(gate.world.store.close_later, found, now_ms=NOW_MS)
    gate.finish()

    assert (while_closing, found) == ((), (gate.row,))
    assert set(gate.states().values()) == {"canceled" if how == "deleted" else "held"}
    assert gate.jobs_left() == 0


def test_opened_again_the_job_ends(gate: Gate) -> None:
    """And moves nothing of an open endpoint."""
    gate.wait()
    gate.close("paused")
    gate.execute("update hookline_sender_endpoints set paused_ms = null")

    gate.finish()

    assert Counter(gate.states().values()) == {"held": PART, "pending": BACKLOG - PART}
    assert gate.jobs_left() == 0


def test_who_changes_the_endpoint_is_not_waited_for(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who wait for each other would: a part has the job, who pauses anew has the endpoint and wants the job.

    SQLite has one writer at a time.
    """
    monkeypatch.setattr(closing, "PART", PART)
    database = connect(postgres_url)
    gate = Gate(World(database, SenderStore(database.dialect)), database)
    gate.wait()
    gate.close("paused")
    with gate.database.transaction() as changing:
        changing.cursor().execute("update hookline_sender_endpoints set description = 'x'")
        gate.step()
        due_ms = gate.world.read(gate.jobs.next_due_ms)

    assert due_ms == gate.clock.now_ms() + BUSY_MS
    gate.clock.advance(BUSY_MS)
    gate.finish()
    assert set(gate.states().values()) == {"held"}
    database.close()


def test_the_backlog_for_metrics_counts_what_is_about_to_be_held_as_held(gate: Gate) -> None:
    """It is not due: nobody may claim it."""
    gate.wait()

    def backlog() -> tuple[int, ...]:
        found = gate.world.read(gate.world.store.backlog, "production", now_ms=NOW_MS, soon_ms=NOW_MS + 1, most=100)
        return tuple(found[:4])

    before = backlog()
    gate.close("paused")

    assert (before, backlog()) == ((BACKLOG, 0, 0, 0), (0, 0, 0, BACKLOG))


@pytest.mark.parametrize("how", ["paused", "deleted"])
def test_no_transaction_moves_more_than_a_part(database_url: str, how: How) -> None:
    """At a size where one would be felt: 20,000 that wait, closed by as many commits as that takes."""
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    gate = Gate(World(database, SenderStore(database.dialect)), database)
    gate.wait_in_bulk(20_000)

    gate.close(how)
    parts = gate.finish()

    assert set(gate.states().values()) == {"canceled" if how == "deleted" else "held"}
    # The first was made by who closed it; the last one found nothing.
    assert (gate.most_at_once(), parts) == (closing.PART, 20_000 // closing.PART)
    database.close()
