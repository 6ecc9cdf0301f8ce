"""kill -9 at every step of a job: a replay, a closing, a release, a round of retention. Who goes on comes to one end.

Each test makes a database, lets a program die at a point (mortal.py says how points are named) and another one finish,
and compares with what the job promises: nothing left out, nothing done twice. Parts are of three rows, so that a death
comes with some parts done, one under way and some to come.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from hookline.loop import SystemClock
from hookline.sender import closing, holding
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.holding import Choice
from hookline.sender.replays import Selection
from tests.crash.mortal import NEVER, Death
from tests.crash.programs import ENVIRONMENT, compose_sender
from tests.crash.test_steps import KILLED, run
from tests.e2e.processes import rows, value

EVENTS: Final = 11
OBJECTS: Final = 4


class Desk:
    """A sender's database in this process, filled and closed before a program opens it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sender.db"
        self._folder = folder

    def __enter__(self) -> SenderApp:
        self._app = compose_sender(self._folder, Death(NEVER, 1), SystemClock())
        return self._app

    def __exit__(self, *_: object) -> None:
        self._app.close()
        self._app._database.close()


def publish(app: SenderApp) -> None:
    drafts = [
        draft_event({"event": "a.b", "data": {"object": "thing", "id": f"thing_{number % OBJECTS}", "n": number}})
        for number in range(EVENTS)
    ]
    app.publisher.publish_inline(Publication(ENVIRONMENT, tuple(drafts)))


def execute(app: SenderApp, statement: str) -> None:
    with app._database.transaction() as connection:
        connection.execute(statement)


def make_endpoint(app: SenderApp, name: str = "one") -> str:
    return app.registry.create(ENVIRONMENT, url=f"http://127.0.0.1:9/{name}", events=["*"]).id


def die_and_finish(folder: Path, point: str, nth: int, *, program: str = "jobs") -> None:
    died, _, log = run(program, folder, point, nth)
    assert died == KILLED, log
    if program != "jobs":
        ended, _, log = run(program, folder)
        assert ended == 0, log
    ended, _, log = run("jobs", folder)
    assert ended == 0, log
    assert value(folder / "sender.db", "pragma integrity_check") == "ok"


def steps(*points: str) -> Any:
    """Each point the second time it is reached, when a part is done and others are to come; the first where said."""
    return pytest.mark.parametrize(
        ("point", "nth"), [(point.removesuffix(" (once)"), 1 if "(once)" in point else 2) for point in points]
    )


@steps(
    "replay_deliveries_put: inside",
    "replay_deliveries_put: before commit",
    "replay_move: inside",
    "replay_move: after commit",
    "job_keep: inside",
    "job_keep: after commit",
)
def test_a_replay_makes_each_pair_once(tmp_path: Path, point: str, nth: int) -> None:
    """And its count is what it made."""
    with Desk(tmp_path) as app:
        for name in ("one", "two"):
            make_endpoint(app, name)
        publish(app)
        execute(app, "update hookline_sender_deliveries set state = 'failed', due_ms = null")
        app.replays.start(ENVIRONMENT, Selection(states=("failed",)))

    die_and_finish(tmp_path, point, nth)

    database = tmp_path / "sender.db"
    made = rows(
        database,
        "select event_row, endpoint_row from hookline_sender_deliveries where origin = 'replay' order by 1, 2",
    )
    pairs = rows(
        database,
        "select event_row, endpoint_row from hookline_sender_deliveries where origin = 'published' order by 1, 2",
    )
    assert len(pairs) == 2 * EVENTS
    assert made == pairs
    [(state, total, count, skipped)] = rows(database, "select state, total, made, skipped from hookline_sender_replays")
    assert (state, total, count, json.loads(skipped)) == ("succeeded", 2 * EVENTS, 2 * EVENTS, {})
    assert value(database, "select count(*) from hookline_sender_jobs where kind = 'replay'") == 0


def check_released(database: Path) -> None:
    """Of each object the newest event waits to be sent, and every older one is canceled."""
    found = rows(
        database,
        "select e.body, d.state, d.reason from hookline_sender_deliveries d"
        " join hookline_sender_events e on e.row_id = d.event_row order by e.row_id desc",
    )
    newest = found[:OBJECTS]
    assert len({json.loads(body)["data"]["id"] for body, _, _ in newest}) == OBJECTS
    assert {(state, reason) for _, state, reason in newest} == {("pending", None)}
    assert {(state, reason) for _, state, reason in found[OBJECTS:]} == {("canceled", "superseded")}
    assert len(found) == EVENTS


def hold(folder: Path) -> str:
    with Desk(folder) as app:
        endpoint_id = make_endpoint(app)
        app.registry.pause(ENVIRONMENT, endpoint_id)
        publish(app)
    return endpoint_id


@steps(
    "release_objects_put: inside (once)",
    "held_send: inside (once)",
    "held_drop: inside",
    "held_drop: before commit",
    "held_drop: after commit",
    "job_keep: after commit",
)
def test_a_release_decides_each_delivery_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, nth: int
) -> None:
    """As chosen, whatever was decided before the death."""
    endpoint_id = hold(tmp_path)
    monkeypatch.setattr(holding, "PART", 1)
    with Desk(tmp_path) as app:
        app.registry.resume(ENVIRONMENT, endpoint_id, Choice("latest"))

    die_and_finish(tmp_path, point, nth)

    check_released(tmp_path / "sender.db")


@pytest.mark.parametrize(
    "point",
    [
        "endpoint_resume: inside",
        "held_send: before commit",
        "job_put: inside",
        "job_put: before commit",
        "job_put: after commit",
    ],
)
def test_who_resumes_dies(tmp_path: Path, point: str) -> None:
    """Asked again, the same is done: the switch, the first part and the job are one commit."""
    hold(tmp_path)

    die_and_finish(tmp_path, point, 1, program="resumer")

    check_released(tmp_path / "sender.db")


@steps(
    "endpoint_deliveries_close: inside",
    "endpoint_deliveries_close: after commit",
)
def test_a_backlog_is_held_whoever_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, nth: int) -> None:
    """Each delivery once, and none is left waiting."""
    monkeypatch.setattr(closing, "PART", 1)
    with Desk(tmp_path) as app:
        endpoint_id = make_endpoint(app)
        publish(app)
        app.registry.pause(ENVIRONMENT, endpoint_id)

    die_and_finish(tmp_path, point, nth)

    check_closed(tmp_path / "sender.db", "held", "endpoint_paused")


@pytest.mark.parametrize(
    ("program", "point"),
    [
        ("pauser", "endpoint_deliveries_close: inside"),
        ("pauser", "job_put_first: before commit"),
        ("pauser", "job_put_first: after commit"),
        ("deleter", "job_put_first: before commit"),
    ],
)
def test_who_closes_dies(tmp_path: Path, program: str, point: str) -> None:
    """The switch, the first part and the job are one commit: asked again, the same is done."""
    with Desk(tmp_path) as app:
        make_endpoint(app)
        publish(app)

    die_and_finish(tmp_path, point, 1, program=program)

    database = tmp_path / "sender.db"
    if program == "pauser":
        check_closed(database, "held", "endpoint_paused")
    else:
        check_closed(database, "canceled", "endpoint_deleted")


def check_closed(database: Path, state: str, reason: str) -> None:
    found = rows(database, "select state, reason, count(*) from hookline_sender_deliveries group by 1, 2")
    assert found == [(state, reason, EVENTS)]
    assert value(database, "select count(*) from hookline_sender_jobs where kind = 'close'") == 0


@steps(
    "backlog_hold: after commit",
    "backlog_over: before commit (once)",
    "backlog_over: after commit (once)",
)
def test_a_choice_in_the_middle_of_a_closing_decides_each_delivery_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, nth: int
) -> None:
    """What was not held yet is held first, whoever dies meanwhile; then all of it is decided as chosen."""
    monkeypatch.setattr(closing, "PART", 1)
    monkeypatch.setattr(holding, "PART", 1)
    with Desk(tmp_path) as app:
        endpoint_id = make_endpoint(app)
        publish(app)
        app.registry.pause(ENVIRONMENT, endpoint_id)
        app.registry.resume(ENVIRONMENT, endpoint_id, Choice("latest"))

    die_and_finish(tmp_path, point, nth)

    check_released(tmp_path / "sender.db")
    assert value(tmp_path / "sender.db", "select hold_through_row from hookline_sender_endpoints") is None


@steps(
    "retention_expire: inside",
    "retention_events: inside",
    "retention_feed: inside",
    "retention_attempts: inside",
    "retention_deliveries: inside",
    "retention_deliveries: before commit",
    "retention_deliveries: after commit",
)
def test_retention_leaves_nothing_half_done(tmp_path: Path, point: str, nth: int) -> None:
    """No body without its feed row or the other way round, no attempt without its delivery; what is open is whole."""
    with Desk(tmp_path) as app:
        for name in ("one", "two"):
            make_endpoint(app, name)
        publish(app)
        execute(app, "update hookline_sender_deliveries set state = 'succeeded', due_ms = null, updated_ms = 1")
        execute(
            app,
            "insert into hookline_sender_attempts (delivery_row, number, kind, outcome, started_ms, evidence)"
            " select row_id, 1, 'scheduled', 'succeeded', 1, '{}' from hookline_sender_deliveries",
        )
        execute(app, "update hookline_sender_deliveries set state = 'held' where endpoint_row = 2 and row_id % 4 = 0")
        execute(app, "update hookline_sender_deliveries set state = 'pending', due_ms = 1 where row_id = 1")
        # Older than the 30 days of bodies, younger than the 100 days of ids.
        old_ms = SystemClock().now_ms() - 60 * 86_400_000
        execute(app, f"update hookline_sender_events set published_ms = {old_ms} + row_id where row_id < 10")

    die_and_finish(tmp_path, point, nth)

    database = tmp_path / "sender.db"
    kept = rows(
        database,
        "select e.row_id, e.pruned_ms is null, length(e.body) > 0, f.seq is not null, e.pruned_seq is null"
        " from hookline_sender_events e left join hookline_sender_feed f on f.event_row = e.row_id order by 1",
    )
    # One has a delivery that waits; two are young.
    assert [row for row, *is_kept in kept if all(is_kept)] == [1, 10, 11]
    assert [row for row, *is_kept in kept if not any(is_kept)] == list(range(2, 10))
    assert (
        value(database, "select count(*) from hookline_sender_deliveries where state = 'held' and event_row < 10") == 0
    )
    orphans = "select count(*) from hookline_sender_attempts where delivery_row not in (select row_id from {})"
    assert value(database, orphans.format("hookline_sender_deliveries")) == 0
    left = "select count(*) from hookline_sender_deliveries where event_row between 2 and 9 and state = 'succeeded'"
    assert value(database, left) == 0
