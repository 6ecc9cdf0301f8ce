"""What every database must do for replays: the pairs that are meant, each once, whoever dies in between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hookline.errors import RequestError
from hookline.sender import replays as module
from hookline.sender.idempotency import IdempotencyKey
from hookline.sender.ids import IdMaker
from hookline.sender.job_store import JobStore
from hookline.sender.jobs import JobRunner
from hookline.sender.replays import KIND, WINDOW_MS, ReplayCount, Replays, Selection
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock

from .test_delivery_claim import opened
from .test_sender_store import World

NOW_MS = 1_000_000


class Desk:
    """Events, endpoints, and whoever replays."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.database = database
        self.clock = TurnedClock(NOW_MS)
        self.jobs = JobStore(database.dialect)
        self.replays = Replays(database, world.store, self.jobs, clock=self.clock, ids=IdMaker())
        self.runner = JobRunner(database, self.jobs, clock=self.clock, kinds={KIND: self.replays.do_part})
        self.rows: dict[str, int] = {}

    def publish(self, name: str, *to: tuple[str, str], event_type: str = "a.b", at_ms: int = 1_000, **f: Any) -> None:
        """An event, and its published deliveries as (endpoint, state)."""
        self.rows[name] = self.world.add_event(name, event_type=event_type, now_ms=at_ms, **f)
        for endpoint_id, state in to:
            self.world.add_delivery(
                f"{name}/{endpoint_id}",
                self.rows[name],
                self.world.endpoint(endpoint_id).row_id,
                origin="published",
                state=state,
                due_ms=None,
            )

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        mark = "?" if self.database.dialect == "sqlite" else "%s"

        def work(connection: Any) -> list[Any]:
            cursor = connection.cursor()
            cursor.execute(statement.replace("?", mark), values)
            return cursor.fetchall() if cursor.description else []

        return self.database.run(work)

    def prune(self, *names: str) -> None:
        for name in names:
            self.execute("update hookline_sender_events set pruned_ms = 5 where id = ?", [name])

    def work(self) -> None:
        """Parts until none is due."""
        self.runner.note_due(0)
        while (due_ms := self.runner.step()) is not None and due_ms <= self.clock.now_ms():
            pass

    def made(self) -> list[tuple[str, str, str]]:
        """(event, endpoint, state) of what replays made, in order."""
        return self.execute(
            "select e.id, p.id, d.state from hookline_sender_deliveries d"
            " join hookline_sender_events e on e.row_id = d.event_row"
            " join hookline_sender_endpoints p on p.row_id = d.endpoint_row"
            " where d.origin = 'replay' order by d.row_id"
        )

    def run(self, selection: Selection, **options: Any) -> list[str]:
        """Replays to the end; the pairs made as `event/endpoint`."""
        self.replays.start("production", selection, **options)
        self.work()
        return [f"{event}/{endpoint}" for event, endpoint, _ in self.made()]

    def finish(self, state: str) -> None:
        """What replays made and waits is over."""
        self.execute("update hookline_sender_deliveries set state = ? where state = 'pending'", [state])


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    desk = Desk(World(database, SenderStore(database.dialect)), database)
    desk.world.add_endpoint("we_1")
    desk.world.add_endpoint("we_2", "a.*")
    yield desk
    database.close()


@pytest.fixture
def history(desk: Desk) -> Desk:
    """Five events of production between others of staging."""
    desk.publish("e1", ("we_1", "succeeded"), ("we_2", "failed"), at_ms=1_000)
    desk.publish("e2", ("we_1", "failed"), event_type="c.d", at_ms=2_000)
    desk.publish("other", environment="staging", at_ms=2_500)
    desk.publish("e3", ("we_1", "canceled"), at_ms=3_000)
    desk.publish("e4", ("we_1", "pending"), ("we_2", "held"), at_ms=4_000)
    desk.publish("test", origin="test", at_ms=4_000)
    desk.publish("e5", at_ms=5_000)
    return desk


@pytest.mark.parametrize(
    ("selection", "pairs", "skipped"),
    [
        (Selection(), "e1/we_1 e1/we_2 e2/we_1 e3/we_1 e3/we_2 e5/we_1 e5/we_2", {"open": 2}),
        (Selection(since_ms=3_000), "e3/we_1 e3/we_2 e5/we_1 e5/we_2", {"open": 2}),
        (Selection(since_ms=2_000, until_ms=3_000), "e2/we_1", {}),
        (Selection(until_ms=1_000), "", {}),
        (Selection(since_ms=9_000), "", {}),
        (Selection(events=("c.d",)), "e2/we_1", {}),
        (Selection(events=("c.*", "x.y"), endpoints=("we_2",)), "", {}),
        (Selection(endpoints=("we_2",)), "e1/we_2 e3/we_2 e5/we_2", {"open": 1}),
        (Selection(states=("failed",)), "e1/we_2 e2/we_1", {}),
        (Selection(states=("failed", "canceled"), since_ms=2_000), "e2/we_1 e3/we_1", {}),
        (Selection(states=("never",)), "e3/we_2 e5/we_1 e5/we_2", {}),
        (Selection(states=("never",), endpoints=("we_1",)), "e5/we_1", {}),
        (Selection(states=("succeeded",)), "e1/we_1", {}),
    ],
)
@pytest.mark.parametrize("part", [1, 3, 500])
def test_the_pairs_that_are_meant(
    history: Desk, monkeypatch: pytest.MonkeyPatch, selection: Selection, pairs: str, skipped: dict[str, int], part: int
) -> None:
    """Counted first, then made, each once, whatever the size of a part."""
    monkeypatch.setattr(module, "PART", part)
    monkeypatch.setattr(module, "COUNT_PAGE", part)

    count = history.replays.count("production", selection)
    made = history.run(selection)

    assert made == pairs.split()
    assert count == ReplayCount(len(made) + sum(skipped.values()), skipped)
    [(replay_id,)] = history.execute("select id from hookline_sender_replays")
    replay, deliveries = history.replays.read("production", replay_id)
    assert (replay.state, replay.total, replay.made) == ("succeeded", count.total, len(made))
    assert json.loads(replay.skipped) == skipped
    assert deliveries == ({"pending": len(made)} if made else {})
    assert replay.finished_ms == NOW_MS


def test_events_without_their_bodies_are_counted(history: Desk) -> None:
    """Skipped with the reason, in the preview and at the end; a range that begins with them counts them too."""
    history.prune("e1", "e2", "e3")

    count = history.replays.count("production", Selection(since_ms=1_500))
    made = history.run(Selection(since_ms=1_500))

    assert count == ReplayCount(7, {"pruned": 3, "open": 2})
    assert made == ["e5/we_1", "e5/we_2"]
    assert history.replays.count("production", Selection(until_ms=2_500)).skipped == {"pruned": 3}


def test_what_is_published_meanwhile_is_not_replayed(history: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay ends at the events there were."""
    monkeypatch.setattr(module, "PART", 1)
    history.replays.start("production", Selection(endpoints=("we_1",)))
    history.publish("late", at_ms=6_000)

    history.work()

    assert [event for event, _, _ in history.made()] == ["e1", "e2", "e3", "e5"]


def test_a_second_replay_sees_how_the_first_ended(history: Desk) -> None:
    """The newest delivery of a pair counts; what the first made and still waits is not made again."""
    failed = Selection(states=("failed",))
    first = history.run(failed)
    while_waiting = history.replays.count("production", Selection(endpoints=("we_2",)))
    history.finish("succeeded")

    assert first == ["e1/we_2", "e2/we_1"]
    assert while_waiting.skipped == {"open": 2}
    assert history.replays.count("production", failed).total == 0


def test_paused_endpoints_hold_disabled_ones_are_refused(history: Desk) -> None:
    """A replay to one that a person disabled is refused when it is named, and leaves it out when it is not."""
    store = history.world.store
    history.world.write(store.pause_endpoint, history.world.endpoint("we_2"), now_ms=6)
    held = history.run(Selection(endpoints=("we_2",), states=("failed",)))
    history.world.write(store.change_endpoint, history.world.endpoint("we_2"), status="disabled", now_ms=7)

    with pytest.raises(RequestError) as refusal:
        history.replays.start("production", Selection(endpoints=("we_1", "we_2")))
    with pytest.raises(RequestError) as unknown:
        history.replays.count("production", Selection(endpoints=("we_9",)))

    assert held == ["e1/we_2"]
    assert history.made()[0][2] == "held"
    assert (refusal.value.status, refusal.value.code) == (409, "endpoint_not_active")
    assert unknown.value.status == 404
    assert history.replays.count("production", Selection(states=("never",))).total == 1


def test_a_rate_spreads_deliveries_over_time(desk: Desk) -> None:
    """Four a second: each part makes a second's worth, due 250 ms apart; the next part comes when they are spent."""
    for number in range(10):
        desk.publish(f"e{number}")
    desk.replays.start("production", Selection(endpoints=("we_1",)), rate_per_s=4)
    desk.work()
    first = desk.execute("select due_ms from hookline_sender_deliveries order by row_id")
    seconds = 0
    while len(desk.made()) < 10:
        desk.clock.advance(1_000)
        desk.work()
        seconds += 1

    due = [due_ms for (due_ms,) in desk.execute("select due_ms from hookline_sender_deliveries order by row_id")]
    assert first == [(NOW_MS,), (NOW_MS + 250,), (NOW_MS + 500,), (NOW_MS + 750,)]
    assert due == [NOW_MS + 250 * number for number in range(10)]
    assert seconds == 2


def test_a_replay_waits_for_its_own_backlog(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that fresh events do not stand behind a whole history; retries that are due later do not count."""
    monkeypatch.setattr(module, "PART", 2)
    monkeypatch.setattr(module, "WINDOW", 4)
    for number in range(12):
        desk.publish(f"e{number}")
    desk.replays.start("production", Selection(endpoints=("we_1",)))
    desk.work()
    first = len(desk.made())
    desk.clock.advance(WINDOW_MS)
    desk.work()
    still = len(desk.made())
    desk.execute("update hookline_sender_deliveries set due_ms = ?", [NOW_MS + 9_000_000])
    desk.clock.advance(WINDOW_MS)
    desk.work()

    assert (first, still, len(desk.made())) == (4, 4, 8)


def test_a_canceled_replay_makes_no_more_and_takes_back_what_waits(
    history: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent stays; a second cancel has nothing to end."""
    monkeypatch.setattr(module, "PART", 1)
    monkeypatch.setattr(module, "WINDOW", 3)
    replay = history.replays.start("production", Selection(endpoints=("we_1",)))
    history.work()
    history.execute(
        "update hookline_sender_deliveries set state = 'succeeded' where origin = 'replay' and row_id = ("
        "select min(row_id) from hookline_sender_deliveries where origin = 'replay')"
    )
    before = len(history.made())
    canceled = history.replays.cancel("production", replay.id)
    history.clock.advance(WINDOW_MS)
    history.work()

    after, deliveries = history.replays.read("production", replay.id)
    assert before == 3
    assert (canceled.state, after.state, after.reason) == ("canceled", "canceled", "canceled")
    assert deliveries == {"succeeded": 1, "canceled": 2}
    with pytest.raises(RequestError) as refusal:
        history.replays.cancel("production", replay.id)
    assert refusal.value.code == "replay_over"
    assert history.execute("select count(*) from hookline_sender_jobs") == [(0,)]


def test_a_repeated_call_starts_one_replay(history: Desk) -> None:
    """Under its key; another body is another call."""
    key = IdempotencyKey("k", "POST /api/v1/replays", "hash")
    first = history.replays.start("production", Selection(), idempotency=key)
    again = history.replays.start("production", Selection(), idempotency=key)

    with pytest.raises(RequestError) as refusal:
        history.replays.start("production", Selection(), idempotency=IdempotencyKey("k", key.operation, "other"))

    assert first.id == again.id
    assert refusal.value.code == "idempotency_key_reused"
    assert history.execute("select count(*) from hookline_sender_replays") == [(1,)]


def test_several_processes_share_a_replay(desk: Desk, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is done by one of them, whoever comes first: every pair once."""
    monkeypatch.setattr(module, "PART", 3)
    monkeypatch.setattr(module, "WINDOW", 1_000)
    for number in range(40):
        desk.publish(f"e{number:02}")
    desk.replays.start("production", Selection(endpoints=("we_1",)))
    others = [opened(database_url) for _ in range(3)]

    def work(database: Database) -> None:
        jobs = JobStore(database.dialect)
        replays = Replays(database, SenderStore(database.dialect), jobs, clock=desk.clock, ids=IdMaker())
        runner = JobRunner(database, jobs, clock=desk.clock, kinds={KIND: replays.do_part})
        while desk.execute("select count(*) from hookline_sender_jobs") != [(0,)]:
            runner.note_due(0)
            runner.step()

    try:
        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(work, other) for other in others]:
                done.result(30)
    finally:
        for other in others:
            other.close()

    assert [event for event, _, _ in desk.made()] == [f"e{number:02}" for number in range(40)]


# -- one event


def code_of(desk: Desk, event_id: str, endpoint_id: str | None = None) -> tuple[int, str | None]:
    with pytest.raises(RequestError) as refusal:
        desk.replays.resend("production", event_id, endpoint_id=endpoint_id)
    return refusal.value.status, refusal.value.code


def test_one_event_is_sent_again(history: Desk) -> None:
    """To all that ask for it now and wait for none of it, or to one; under a key once."""
    to_all = history.replays.resend("production", "e5").deliveries
    key = IdempotencyKey("k", "resend", "hash")
    to_one = history.replays.resend("production", "e1", endpoint_id="we_1", idempotency=key).deliveries
    again = history.replays.resend("production", "e1", endpoint_id="we_1", idempotency=key).deliveries
    waiting = history.replays.resend("production", "e4").deliveries

    assert [(one.event_id, one.endpoint_id, one.origin, one.state) for one in to_all] == [
        ("e5", "we_1", "replay", "pending"),
        ("e5", "we_2", "replay", "pending"),
    ]
    assert [one.id for one in again] == [one.id for one in to_one]
    assert waiting == []


def test_what_cannot_be_sent_again_says_why(history: Desk) -> None:
    """Unknown, of another environment, pruned, not asked for, waiting still, a test, an endpoint that is off."""
    history.prune("e1")

    assert code_of(history, "e9") == (404, "entity_not_found")
    assert code_of(history, "other") == (404, "entity_not_found")
    assert code_of(history, "e3", "we_9") == (404, "entity_not_found")
    assert code_of(history, "e1") == code_of(history, "e1", "we_1") == (410, "event_pruned")
    assert code_of(history, "e2", "we_2") == (409, "not_subscribed")
    assert code_of(history, "e4", "we_1") == (409, "delivery_open")
    assert code_of(history, "test", "we_1") == (409, "test_event")
    store = history.world.store
    history.world.write(store.change_endpoint, history.world.endpoint("we_1"), status="disabled", now_ms=7)
    assert code_of(history, "e3", "we_1") == (409, "endpoint_not_active")
    assert history.made() == []
