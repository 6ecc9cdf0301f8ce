"""kill -9 at every named step of both ends: die there, start again, count.

`STEPS` is the whole of it. Each row is one death: in which program, at which point (mortal.py says how points are
named), and what that may cost: how many attempts were cut short, and how many requests were made twice for it.
Whatever the step, nothing accepted is lost and every effect in the app's database is there exactly once.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pytest

from hookline.loop import SystemClock
from hookline.testing import signed_request
from hookline.testing.sink import Sink
from tests.crash.mortal import NEVER, Death
from tests.crash.programs import COUNT, ENVIRONMENT, SECRET, compose_receiver, compose_sender
from tests.e2e.processes import ask, clean_environment, rows, value
from tests.receiver.company import Company

ROOT: Final = Path(__file__).parents[2]
KILLED: Final = -9
MAYBE: Final = -1
# Past the longest lease there is: 60 s of a run.
AHEAD_MS: Final = 61_000
PATIENCE_S: Final = 30


@dataclass(frozen=True, slots=True)
class Step:
    """One death and its price.

    Attributes:
        program: who dies (programs.py).
        point: where, at the nth time it comes there.
        cut: attempts, of deliveries or of runs, that are under way then: recorded as unknown, and made again. MAYBE:
            one or none, since runs have a thread of their own.
        repeats: how many requests the receiver gets twice.
    """

    name: str
    program: str
    point: str
    nth: int
    cut: int
    repeats: int


STEPS: Final = (
    #    what                                    who          where                          nth cut repeats
    Step("publish, before the commit",           "publisher", "event_put: before commit",      3, 0, 0),
    Step("publish, before the answer",           "publisher", "event_put: after commit",       3, 0, 0),
    Step("claim, before the commit",             "sender",    "claim: before commit",          1, 0, 0),
    Step("claim, after the commit",              "sender",    "claim: after commit",           1, 1, 0),
    Step("post, before sending",                 "sender",    "post: before sending",          3, 1, 0),
    Step("post, after the 200",                  "sender",    "post: after the answer",        3, 1, 1),
    Step("settle, inside",                       "sender",    "settle: inside",                3, 1, 1),
    Step("settle, before the commit",            "sender",    "settle: before commit",         3, 1, 1),
    # In this commit the next delivery was claimed.
    Step("settle, after the commit",             "sender",    "settle: after commit",          3, 1, 0),
    Step("settle, after the last commit",        "sender",    "sender: nothing is left",       1, 0, 0),
    Step("receive, verified, before the commit", "door",      "inbox_put: before commit",      3, 0, 0),
    Step("receive, before the 200",              "door",      "inbox_put: after commit",       3, 0, 1),
    Step("apply, before it begins",              "worker",    "apply_mark: after commit",      1, 0, 0),
    Step("apply, the mirror written",            "worker",    "changes_add: inside",           1, 0, 0),
    Step("apply, before the commit",             "worker",    "apply_claim: before commit",    1, 0, 0),
    Step("apply, after the commit",              "worker",    "apply_claim: after commit",     1, 0, 0),
    Step("walk to children, before the commit",  "worker",    "cascades_end: before commit",   1, 0, 0),
    Step("walk to children, after the commit",   "worker",    "cascades_end: after commit",    1, 0, 0),
    Step("run, claim before the commit",         "worker",    "runs_claim: before commit",     3, 0, 0),
    Step("run, before the handler",              "worker",    "runs_claim: after commit",      3, 1, 0),
    Step("run, the handler has written",         "worker",    "handler: after its writes",     3, 1, 0),
    Step("run, marked, before the commit",       "worker",    "runs_succeed: before commit",   3, 1, 0),
    Step("run, after the commit",                "worker",    "runs_succeed: after commit",    3, 0, 0),
    # Parts of two: three of entries and one that finds no more, then as many of changes.
    Step("replay, begun, before the commit",     "replayer",  "replays_put: before commit",    1, 0, 0),
    Step("replay, begun, after the commit",      "replayer",  "replays_put: after commit",     1, 0, 0),
    Step("replay, a part begun",                 "replayer",  "replays_lock: inside",          3, MAYBE, 0),
    Step("replay, a run armed",                  "replayer",  "runs_rearm: inside",            3, MAYBE, 0),
    Step("replay, a part, before the commit",    "replayer",  "replays_move: before commit",   2, MAYBE, 0),
    Step("replay, a part, after the commit",     "replayer",  "replays_move: after commit",    2, MAYBE, 0),
    Step("replay, changes, before the commit",   "replayer",  "replays_move: before commit",   5, MAYBE, 0),
    Step("replay, changes, after the commit",    "replayer",  "replays_move: after commit",    5, MAYBE, 0),
    Step("replay, run, before the handler",      "replayer",  "runs_claim: after commit",      3, 1, 0),
    Step("replay, run, the handler has written", "replayer",  "handler: after its writes",     3, 1, 0),
    Step("replay, run, before the commit",       "replayer",  "runs_succeed: before commit",   3, 1, 0),
    Step("replay, run, after the commit",        "replayer",  "runs_succeed: after commit",    3, 0, 0),
)  # fmt: skip


def of(*programs: str) -> Any:
    """The steps of these programs, as parameters."""
    steps = [step for step in STEPS if step.program in programs]
    return pytest.mark.parametrize(
        "step", steps, ids=[step.name.replace(", ", "-").replace(" ", "-") for step in steps]
    )


class Program:
    """One of the programs, running; dies at `point`, or does its work and ends."""

    def __init__(self, name: str, folder: Path, point: str = NEVER, nth: int = 1, *, ahead_ms: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.programs", name, str(folder), point, str(nth), str(ahead_ms)],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; its code, what it printed, and what it logged."""
        printed, logged = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, printed, logged


def run(name: str, folder: Path, point: str = NEVER, nth: int = 1, *, ahead_ms: int = 0) -> tuple[int, str, str]:
    """A program from start to end."""
    with Program(name, folder, point, nth, ahead_ms=ahead_ms) as program:
        return program.end()


def test_every_part_of_the_work_has_its_steps() -> None:
    """publish, claim, post, settle, receive, apply, run and replay each die at two steps or more."""
    parts = [step.name.partition(",")[0].partition(" ")[0] for step in STEPS]

    assert all(
        parts.count(part) >= 2 for part in ("publish", "claim", "post", "settle", "receive", "apply", "run", "replay")
    )


# -- the sender


def make_endpoint(folder: Path, url: str) -> None:
    app = compose_sender(folder, Death(NEVER, 1), SystemClock())
    app.registry.create(ENVIRONMENT, url=url, events=["*"])
    app.close()
    app._database.close()


@of("publisher")
def test_a_publisher_dies(tmp_path: Path, step: Step) -> None:
    """A caller that repeats its calls under their keys gets the first answers; each event is there once and whole."""
    make_endpoint(tmp_path, "http://127.0.0.1:9/")

    died, printed, _ = run("publisher", tmp_path, step.point, step.nth)
    ended, printed_again, log = run("publisher", tmp_path)

    assert (died, ended) == (KILLED, 0), log
    answered, all_answered = printed.split(), printed_again.split()
    assert len(answered) == step.nth - 1
    assert all_answered[: len(answered)] == answered
    database = tmp_path / "sender.db"
    assert [id_ for (id_,) in rows(database, "select id from hookline_sender_events order by row_id")] == all_answered
    for table in ("feed", "deliveries"):
        found = rows(database, f"select event_row from hookline_sender_{table} order by 1")
        assert found == rows(database, "select row_id from hookline_sender_events order by 1")
    assert len(set(all_answered)) == value(database, "select count(*) from hookline_sender_idempotency") == COUNT
    assert value(database, "pragma integrity_check") == "ok"


@of("sender")
def test_a_sender_dies(tmp_path: Path, step: Step) -> None:
    """Every delivery succeeds; the attempt that was cut is recorded as unknown and explains the only repetition."""

    async def work() -> tuple[tuple[int, str, str], tuple[int, str, str], Sink]:
        async with Sink() as sink:
            make_endpoint(tmp_path, sink.url("/in"))
            await asyncio.to_thread(run, "publisher", tmp_path)
            died = await asyncio.to_thread(run, "sender", tmp_path, step.point, step.nth)
            ended = await asyncio.to_thread(run, "sender", tmp_path, ahead_ms=AHEAD_MS)
            return died, ended, sink

    (died, _, _), (ended, _, log), sink = asyncio.run(work())
    database = tmp_path / "sender.db"
    deliveries = rows(
        database,
        "select e.id, d.state, (select group_concat(outcome, ' ') from"
        " (select outcome from hookline_sender_attempts where delivery_row = d.row_id order by number))"
        " from hookline_sender_deliveries d join hookline_sender_events e on e.row_id = d.event_row",
    )

    assert (died, ended) == (KILLED, 0), log
    assert len(deliveries) == COUNT
    assert {state for _, state, _ in deliveries} == {"succeeded"}
    assert sorted(attempts for _, _, attempts in deliveries) == sorted(
        ["succeeded"] * (COUNT - step.cut) + ["unknown succeeded"] * step.cut
    )
    received = [json.loads(seen.body)["id"] for seen in sink.seen]
    assert set(received) == {event_id for event_id, _, _ in deliveries}
    repeated = [event_id for event_id in set(received) for _ in range(received.count(event_id) - 1)]
    assert len(repeated) == step.repeats
    assert set(repeated) <= {event_id for event_id, _, attempts in deliveries if "unknown" in attempts}
    assert value(database, "pragma integrity_check") == "ok"


# -- the receiver


USERS: Final = tuple(f"user_{number}" for number in range(COUNT - 1))


def story() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A directory with users; and its end, with which all of them are lost."""
    company = Company()
    return [company.directory("activated"), *(company.user("created", id_) for id_ in USERS)], [
        company.directory("deleted")
    ]


def check_receiver(
    folder: Path, events: Sequence[dict[str, Any]], *, repeats: int, cut: int, log: str, times: int = 1
) -> None:
    """Everything kept, applied and handled once, or so many times as it was replayed and once; each repetition and each
    attempt that died accounted for.
    """
    database = folder / "receiver.db"
    ids = sorted(event["id"] for event in events)
    assert [id_ for (id_,) in rows(database, "select event_id from hookline_inbox order by 1")] == ids
    outcomes = [outcome for (outcome,) in rows(database, "select outcome from hookline_inbox_outcomes")]
    assert len(outcomes) == len(events)
    assert "dead" not in outcomes
    assert value(database, "select count(*) from hookline_inbox_queue") == 0
    changes = rows(
        database, "select seq, kind, object_id from hookline_changes where resource = 'directory_user' order by seq"
    )
    is_over = any(event["event"] == "dsync.deleted" for event in events)
    assert sorted((id_, kind) for _, kind, id_ in changes) == sorted(
        (user, kind) for user in USERS for kind in (("created", "hidden") if is_over else ("created",))
    )
    live = [id_ for (id_,) in rows(database, "select id from hookline_directory_users_live order by id")]
    assert live == ([] if is_over else list(USERS))
    effects = [("fact", id_) for id_ in ids] + [("change", str(seq)) for seq, _, _ in changes]
    assert sorted(rows(database, "select handler, subject from effects")) == sorted(effects * times)
    runs = rows(database, "select state, attempt from hookline_runs")
    assert sorted(runs) == [("succeeded", times)] * (len(effects) - cut) + [("succeeded", times + 1)] * cut
    assert log.count("its worker did not come back") == cut
    assert value(database, "select coalesce(sum(times), 0) from hookline_inbox_repeats") == repeats
    assert value(database, "pragma integrity_check") == "ok"


def post(port: int, event: dict[str, Any]) -> int:
    request = signed_request(json.dumps(event).encode(), SECRET, timestamp_ms=time.time_ns() // 1_000_000)
    return ask("POST", f"http://127.0.0.1:{port}/webhooks", request.body, request.headers).status


def keep(folder: Path, events: Sequence[dict[str, Any]]) -> None:
    """Through the door of this process into the inbox."""
    with compose_receiver(folder, Death(NEVER, 1), SystemClock()) as hooks:
        for event in events:
            request = signed_request(json.dumps(event).encode(), SECRET, timestamp_ms=hooks.clock.now_ms())
            assert hooks.receive("POST", "/webhooks", request.headers, request.body, None)[0] == 200


def register(folder: Path) -> None:
    """The handlers are known before anything arrives: a new one starts at now."""
    with compose_receiver(folder, Death(NEVER, 1), SystemClock()) as hooks:
        hooks.worker().register()


@of("door")
def test_a_door_dies(tmp_path: Path, step: Step) -> None:
    """What it answered 200 is kept; what it could not answer comes again and is kept once."""
    events, _ = story()
    register(tmp_path)
    answered: list[int] = []
    with Program("door", tmp_path, step.point, step.nth) as door:
        port = int(door.line())
        with suppress(OSError):  # what was answered before it stays in the list
            answered.extend(post(port, event) for event in events)
        died, _, _ = door.end()
    with Program("door", tmp_path) as door:
        port = int(door.line())
        answered.extend(post(port, event) for event in events[len(answered) :])
        left, _, _ = door.end()
    ended, _, log = run("worker", tmp_path)

    assert (died, left, ended) == (KILLED, 0, 0), log
    assert answered == [200] * len(events)
    check_receiver(tmp_path, events, repeats=step.repeats, cut=step.cut, log=log)


@of("worker")
def test_a_worker_dies(tmp_path: Path, step: Step) -> None:
    """The next one applies what is left and runs what the dead one ran: one effect each, its attempts counted."""
    events, ending = story()
    register(tmp_path)
    keep(tmp_path, events)
    if step.name.startswith("walk"):
        assert run("worker", tmp_path)[0] == 0
        keep(tmp_path, ending)
        events += ending

    died, _, _ = run("worker", tmp_path, step.point, step.nth)
    ended, _, log = run("worker", tmp_path, ahead_ms=AHEAD_MS)

    assert (died, ended) == (KILLED, 0), log
    check_receiver(tmp_path, events, repeats=step.repeats, cut=step.cut, log=log)


@of("replayer")
def test_a_replaying_worker_dies(tmp_path: Path, step: Step) -> None:
    """The next one goes on where the dead one's last commit was: every handler runs once more for every entry and for
    every object's newest change, and no more; the mirror and its feed stay as they were.
    """
    events, _ = story()
    register(tmp_path)
    keep(tmp_path, events)
    with compose_receiver(tmp_path, Death(NEVER, 1), SystemClock()) as hooks:
        hooks.worker().drain()

    died, _, _ = run("replayer", tmp_path, step.point, step.nth)
    ended, _, log = run("replayer", tmp_path, ahead_ms=AHEAD_MS)

    assert (died, ended) == (KILLED, 0), log
    cut = min(1, log.count("its worker did not come back")) if step.cut == MAYBE else step.cut
    check_receiver(tmp_path, events, repeats=step.repeats, cut=cut, log=log, times=2)
    [(mode, entries, runs, failed)] = rows(
        tmp_path / "receiver.db",
        "select mode, entries, runs, failed from hookline_replays where finished_ms is not null",
    )
    assert (mode, entries, runs, failed) == ("all", COUNT, COUNT + len(USERS), 0)
