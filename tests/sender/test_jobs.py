"""Jobs: one part after another, whoever fails, and no looks of their own while there is nothing to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from hookline.errors import StorageUnavailable
from hookline.sender.job_store import Job, JobStore
from hookline.sender.jobs import RETRY_FIRST_MS, RETRY_LAST_MS, TAKEN_MS, JobRunner, Part
from hookline.storage import Connection, Database
from hookline.testing.clock import TurnedClock

from .conftest import NOW_MS


class Kind:
    """A kind of job that does as told and remembers whom it worked for."""

    def __init__(self, does: Callable[[Job, int], Part]) -> None:
        self.does = does
        self.done: list[str] = []

    def __call__(self, connection: Connection, job: Job, now_ms: int) -> Part:
        self.done.append(job.subject)
        return self.does(job, now_ms)


@pytest.fixture
def jobs(database: Database) -> JobStore:
    return JobStore(database.dialect)


def a_runner(database: Database, jobs: JobStore, clock: TurnedClock, kind: Kind) -> JobRunner:
    return JobRunner(database, jobs, clock=clock, kinds={"kind": kind})


def put(database: Database, jobs: JobStore, subject: str, *, due_ms: int = NOW_MS, **detail: Any) -> None:
    database.run(lambda tx: jobs.put(tx, "kind", subject, detail, due_ms=due_ms))


def next_due_ms(database: Database, jobs: JobStore) -> int | None:
    with database.read() as connection:
        return jobs.next_due_ms(connection)


def test_a_job_goes_on_where_it_came_to_and_ends(database: Database, jobs: JobStore, clock: TurnedClock) -> None:
    """Its detail comes back with the next part; another process would go on the same way."""

    def count(job: Job, now_ms: int) -> Part:
        left = job.detail["left"] - 1
        return Part(now_ms if left else None, {"left": left})

    kind = Kind(count)
    put(database, jobs, "a", left=3)

    for _ in range(3):
        runner = a_runner(database, jobs, clock, kind)  # as if each part met its death right after
        runner.note_due(NOW_MS)
        runner.step()

    assert kind.done == ["a"] * 3
    assert next_due_ms(database, jobs) is None


def test_nothing_is_asked_before_somebody_says_that_a_job_is_due(
    database: Database, jobs: JobStore, clock: TurnedClock
) -> None:
    """Neither at the start nor before the time that was told."""
    kind = Kind(lambda job, now_ms: Part(None, {}))
    runner = a_runner(database, jobs, clock, kind)
    put(database, jobs, "a")

    untold = runner.step()
    runner.note_due(NOW_MS + 5)
    early = runner.step()
    clock.advance(5)
    runner.step()

    assert (untold, early, kind.done) == (None, NOW_MS + 5, ["a"])


def test_a_job_that_fails_holds_up_no_other(database: Database, jobs: JobStore, clock: TurnedClock) -> None:
    """It is put off, longer each time, with what it had; what it wrote is undone."""

    def work(job: Job, now_ms: int) -> Part:
        if job.subject == "bad":
            raise ValueError("no")
        return Part(None, {})

    kind = Kind(work)
    runner = a_runner(database, jobs, clock, kind)
    put(database, jobs, "bad", due_ms=NOW_MS - 1, kept=7)
    put(database, jobs, "good")
    runner.note_due(NOW_MS)
    first = runner.step()
    second = runner.step()
    waits = []
    for _ in range(12):
        due_ms = next_due_ms(database, jobs)
        assert due_ms is not None
        waits.append(due_ms - clock.now_ms())
        clock.set(due_ms)
        runner.step()

    assert kind.done[:2] == ["bad", "good"]
    assert (first, second) == (NOW_MS, NOW_MS + RETRY_FIRST_MS)
    assert waits[:3] == [RETRY_FIRST_MS, 2 * RETRY_FIRST_MS, 4 * RETRY_FIRST_MS]
    assert waits[-1] == RETRY_LAST_MS
    kind.does = lambda job, now_ms: Part(None if job.detail == {"kept": 7} else now_ms, {})
    clock.advance(RETRY_LAST_MS)
    runner.step()
    assert next_due_ms(database, jobs) is None


def test_a_database_that_is_away_is_asked_again(database: Database, jobs: JobStore, clock: TurnedClock) -> None:
    """The error goes to the loop, which backs off; the job is not forgotten."""
    failures = [StorageUnavailable("away")]

    def work(job: Job, now_ms: int) -> Part:
        if failures:
            raise failures.pop()
        return Part(None, {})

    runner = a_runner(database, jobs, clock, Kind(work))
    put(database, jobs, "a")
    runner.note_due(NOW_MS)

    with pytest.raises(StorageUnavailable):
        runner.step()
    runner.step()

    assert next_due_ms(database, jobs) is None


def test_a_job_in_other_hands_is_looked_at_later(
    database: Database, jobs: JobStore, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due and cannot be had must not make the loop spin."""
    runner = a_runner(database, jobs, clock, Kind(lambda job, now_ms: Part(None, {})))
    put(database, jobs, "a")
    monkeypatch.setattr(JobStore, "take", lambda self, connection, now_ms: None)
    runner.note_due(NOW_MS)

    assert runner.step() == NOW_MS + TAKEN_MS


def test_the_loop_runs_until_it_is_stopped(database: Database, jobs: JobStore, clock: TurnedClock) -> None:
    """Asleep it is woken by word of a job, and by the stop."""
    done = threading.Event()

    def work(job: Job, now_ms: int) -> Part:
        done.set()
        return Part(None, {})

    runner = a_runner(database, jobs, clock, Kind(work))
    thread = threading.Thread(target=runner.run)
    thread.start()
    put(database, jobs, "a")
    runner.note_due(NOW_MS)
    assert done.wait(20)
    runner.stop()
    thread.join(20)

    assert not thread.is_alive()


def test_the_delivery_loop_is_told_of_what_became_due(database: Database, jobs: JobStore, clock: TurnedClock) -> None:
    """After the commit, and only where something became due."""
    heard: list[str] = []
    unsubscribe = database.subscribe("deliveries", lambda: heard.append("news"))
    runner = a_runner(database, jobs, clock, Kind(lambda job, now_ms: Part(None, {}, job.subject == "a")))
    for subject in ("b", "a"):
        put(database, jobs, subject)
        runner.note_due(NOW_MS)
        runner.step()
    unsubscribe()

    assert heard == ["news"]
