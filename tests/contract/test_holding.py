"""What every database must do when held deliveries are let go: in parts, as chosen, whoever dies in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hookline.sender import holding as module
from hookline.sender.holding import HALF_OPEN_MS, KIND, LOOK_AGAIN_MS, Choice, HeldCount, Holding, object_digest
from hookline.sender.job_store import JobStore
from hookline.sender.jobs import JobRunner
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock

from .test_sender_store import World

NOW_MS = 1_000_000


class Desk:
    """An endpoint with held deliveries, and whoever lets them go."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.database = database
        self.clock = TurnedClock(NOW_MS)
        self.jobs = JobStore(database.dialect)
        self.holding = Holding(self.jobs)
        self.runner = JobRunner(database, self.jobs, clock=self.clock, kinds={KIND: self.holding.do_part})
        world.add_endpoint("we_1")

    @property
    def endpoint_row(self) -> int:
        return self.world.endpoint("we_1").row_id

    def pause(self) -> None:
        self.world.write(self.world.store.pause_endpoint, self.world.endpoint("we_1"), now_ms=self.clock.now_ms())

    def hold(self, *objects: tuple[str, str] | None, first: int = 1) -> None:
        """One held delivery per object, each made 10 ms after the one before."""
        for number, one in enumerate(objects, start=first):
            data = {"id": None} if one is None else {"object": one[0], "id": one[1]}
            body = json.dumps({"id": f"event_{number}", "data": data}).encode()
            event_row = self.world.add_event(f"event_{number}", body=body)
            self.world.add_delivery(
                f"delivery_{number}", event_row, self.endpoint_row, state="held", due_ms=None, now_ms=number * 10
            )

    def resume(self, choice: Choice) -> None:
        """The switch and the first part, one transaction, as the registry does it."""

        def work(connection: Any) -> None:
            endpoint = self.world.endpoint("we_1")
            was_open = endpoint.paused_ms is None and endpoint.status == "enabled"
            if not was_open:
                self.world.store.resume_endpoint(connection, endpoint, now_ms=self.clock.now_ms())
            self.holding.begin(connection, endpoint.row_id, choice, was_open=was_open, now_ms=self.clock.now_ms())

        self.database.run(work)

    def work(self) -> None:
        """Parts until none is due."""
        self.runner.note_due(0)
        while (due_ms := self.runner.step()) is not None and due_ms <= self.clock.now_ms():
            pass

    def states(self) -> dict[str, str]:
        with self.database.read() as connection:
            cursor = connection.cursor()
            cursor.execute("select id, state from hookline_sender_deliveries order by row_id")
            return dict(cursor.fetchall())

    def jobs_left(self) -> int:
        with self.database.read() as connection:
            cursor = connection.cursor()
            cursor.execute("select count(*) from hookline_sender_jobs")
            return int(cursor.fetchall()[0][0])


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    yield Desk(World(database, SenderStore(database.dialect)), database)
    database.close()


A, B, C = ("directory_user", "a"), ("directory_user", "b"), ("directory_group", "a")


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (Choice("all"), [1, 2, 3, 4, 5, 6]),
        (Choice("since", 35), [4, 5, 6]),
        (Choice("since", 40), [4, 5, 6]),
        (Choice("latest"), [2, 4, 5, 6]),
        (Choice("none"), []),
    ],
)
@pytest.mark.parametrize("part", [1, 2, 6, 500])
def test_what_is_chosen_is_sent_and_the_rest_canceled(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, choice: Choice, sent: list[int], part: int
) -> None:
    """Whatever the size of a part; of each object the newest, of events about no object every one."""
    monkeypatch.setattr(module, "PART", part)
    desk.pause()
    desk.hold(A, None, A, B, A, C)

    before = desk.world.read(desk.holding.count, desk.endpoint_row, choice)
    desk.resume(choice)
    desk.work()

    states = desk.states()
    assert before == HeldCount(6, len(sent), 6 - len(sent))
    assert {name for name, state in states.items() if state == "pending"} == {f"delivery_{number}" for number in sent}
    assert set(states.values()) <= {"pending", "canceled"}
    reasons = {desk.world.delivery(name).reason for name, state in states.items() if state == "canceled"}
    assert reasons <= {"superseded" if choice.deliver == "latest" else "not_resumed"}
    assert desk.world.read(desk.holding.count, desk.endpoint_row, choice) == HeldCount(0, 0, 0)


def test_a_small_backlog_is_decided_at_once(desk: Desk) -> None:
    """In the transaction that resumes; the job that stays only looks once more, and then ends."""
    desk.pause()
    desk.hold(A, B)

    desk.resume(Choice("none"))
    at_once = desk.states()
    desk.world.add_delivery("delivery_late", desk.world.add_event("event_late"), desk.endpoint_row, state="held")
    desk.work()
    before_the_look = desk.states()["delivery_late"]
    desk.clock.advance(LOOK_AGAIN_MS)
    desk.work()

    assert set(at_once.values()) == {"canceled"}
    # Published while the endpoint was being resumed: nobody chose to do without it.
    assert (before_the_look, desk.states()["delivery_late"]) == ("held", "pending")
    assert desk.jobs_left() == 0


def test_a_time_ahead_is_kept_and_a_schedule_that_passed_begins_anew(desk: Desk) -> None:
    """A short pause moves no retry; after a long one nothing fails because its window passed meanwhile."""
    desk.hold(A, B)
    desk.pause()
    tried = {"attempt": 2, "slots_used": 2, "unknown_attempts": 1, "first_ms": 5}
    desk.world.set_state("delivery_1", "held", due_ms=NOW_MS + 1, **tried)
    desk.world.set_state("delivery_2", "held", due_ms=NOW_MS, **tried)

    desk.resume(Choice())

    ahead, passed = desk.world.delivery("delivery_1"), desk.world.delivery("delivery_2")
    assert (ahead.state, ahead.due_ms, ahead.first_ms, ahead.slots_used) == ("pending", NOW_MS + 1, 5, 2)
    assert (passed.state, passed.due_ms, passed.first_ms, passed.slots_used) == ("pending", NOW_MS, None, 0)
    assert (ahead.attempt, passed.attempt, ahead.unknown_attempts, passed.unknown_attempts) == (2, 2, 1, 0)


def test_a_pause_in_the_middle_keeps_the_rest_for_the_next_choice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what an interrupted release has met means nothing to the next one."""
    monkeypatch.setattr(module, "PART", 2)
    desk.pause()
    desk.hold(A, B, A, A)
    desk.resume(Choice("latest"))
    desk.pause()  # what was let go and not sent yet is held again

    desk.work()
    after_the_pause = desk.states()
    desk.hold(A, first=5)
    desk.resume(Choice("latest"))
    desk.work()

    assert after_the_pause == dict.fromkeys(["delivery_1", "delivery_2", "delivery_4"], "held") | {
        "delivery_3": "canceled"
    }
    assert {name for name, state in desk.states().items() if state == "pending"} == {"delivery_2", "delivery_5"}


def test_another_choice_replaces_a_release_under_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again while the first runs: what is still held follows the second word."""
    monkeypatch.setattr(module, "PART", 1)
    desk.pause()
    desk.hold(A, B, C)

    desk.resume(Choice("all"))
    desk.resume(Choice("none"))
    desk.work()

    assert list(desk.states().values()) == ["canceled", "canceled", "pending"]


def test_two_switches_must_both_be_on(desk: Desk) -> None:
    """Resuming what a person disabled, or enabling what is paused, lets nothing go yet."""
    store = desk.world.store
    desk.hold(A)
    desk.pause()
    desk.world.write(store.change_endpoint, desk.world.endpoint("we_1"), status="disabled", now_ms=NOW_MS)
    desk.resume(Choice("none"))
    disabled = desk.world.endpoint("we_1")
    after_resume = desk.states()["delivery_1"]
    desk.pause()
    desk.world.write(store.change_endpoint, desk.world.endpoint("we_1"), status="enabled", now_ms=NOW_MS)
    desk.world.write(desk.holding.begin, desk.endpoint_row, Choice(), was_open=False, now_ms=NOW_MS)
    after_enable = desk.states()["delivery_1"]

    desk.resume(Choice())

    assert (disabled.status, disabled.disabled_reason, disabled.paused_ms) == ("disabled", "by_person", None)
    assert (after_resume, after_enable, desk.states()["delivery_1"]) == ("held", "held", "pending")


def turn_off(desk: Desk, reason: str) -> None:
    mark = "?" if desk.database.dialect == "sqlite" else "%s"
    statement = f"update hookline_sender_endpoints set status = 'disabled', disabled_reason = {mark}, is_half_open = 0"
    desk.database.run(lambda tx: tx.cursor().execute(statement, [reason]))


@pytest.mark.parametrize(("reason", "half_open"), [("gone", False), ("failing", True)])
def test_resuming_enables_what_we_disabled(desk: Desk, reason: str, half_open: bool) -> None:
    """One that failed for days is half open first; a version says when."""
    turn_off(desk, reason)

    desk.resume(Choice())

    endpoint = desk.world.endpoint("we_1")
    assert (endpoint.status, endpoint.disabled_reason, endpoint.is_half_open) == ("enabled", None, half_open)
    assert endpoint.version == 2


def test_enabling_by_hand_what_failed_is_half_open_too(desk: Desk) -> None:
    """Through the compatible API as well."""
    turn_off(desk, "failing")

    desk.world.write(desk.world.store.change_endpoint, desk.world.endpoint("we_1"), status="enabled", now_ms=NOW_MS)

    assert desk.world.endpoint("we_1").is_half_open


@pytest.mark.parametrize(
    ("choice", "probe", "sent"),
    [
        (Choice("all"), "delivery_4", 4),
        (Choice("latest"), "delivery_4", 2),
        (Choice("since", 30), "delivery_4", 2),
        (Choice("none"), None, 0),
    ],
)
def test_of_a_half_open_endpoint_one_delivery_goes_first(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, choice: Choice, probe: str | None, sent: int
) -> None:
    """The rest stays held until the endpoint has proved itself, however often it is looked at."""
    monkeypatch.setattr(module, "PART", 3)
    turn_off(desk, "failing")
    desk.hold(A, B, A, B)
    desk.resume(choice)
    for _ in range(3):
        desk.work()
        desk.clock.advance(HALF_OPEN_MS)
    first = [name for name, state in desk.states().items() if state == "pending"]

    desk.database.run(lambda tx: tx.cursor().execute("update hookline_sender_endpoints set is_half_open = 0"))
    desk.work()

    assert first == ([probe] if probe else [])
    states = list(desk.states().values())
    assert (states.count("pending"), states.count("canceled")) == (sent, 4 - sent)


def test_a_probe_that_fails_leaves_the_rest_held(desk: Desk) -> None:
    """Disabled again: the release is over."""
    turn_off(desk, "failing")
    desk.hold(A, B, C)
    desk.resume(Choice())
    turn_off(desk, "failing")
    desk.clock.advance(HALF_OPEN_MS)

    desk.work()

    assert list(desk.states().values()) == ["held", "held", "pending"]
    assert desk.jobs_left() == 0


@pytest.mark.parametrize(
    ("body", "is_about_one"),
    [
        (b'{"data":{"object":"directory_user","id":"a"}}', True),
        (b'{"data":{"object":"directory_user"}}', False),
        (b'{"data":{"id":"a"}}', False),
        (b'{"data":{"object":"directory_user","id":5}}', False),
        (b'{"data":{"object":["x"],"id":"a"}}', False),
        (b'{"data":[]}', False),
        (b"", False),
    ],
)
def test_which_events_are_about_an_object(body: bytes, is_about_one: bool) -> None:
    """Both its kind and its id must be there; else the event stands for itself."""
    assert (object_digest(body) is not None) is is_about_one


def test_kind_and_id_make_the_object() -> None:
    """`a` of one kind is not `a` of another."""
    digests = {
        object_digest(json.dumps({"data": {"object": kind, "id": id_}}).encode())
        for kind, id_ in (("user", "a"), ("user", "b"), ("group", "a"))
    }

    assert len(digests) == 3
