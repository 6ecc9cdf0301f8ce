"""The loop both ends use: wake, back off, drain."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from hookline.errors import OutcomeUnknown, StorageUnavailable
from hookline.loop import BACKOFF_LAST_MS, SystemClock, run_loop
from hookline.testing.clock import TurnedClock


class Running:
    """A loop in a thread, over a step that takes its answers from a list."""

    def __init__(self, clock: TurnedClock, *answers: int | Exception | None) -> None:
        self.answers = list(answers)
        self.calls: list[int] = []
        self.stepped = threading.Semaphore(0)
        self.wake = threading.Event()
        self.stop = threading.Event()
        self.clock = clock
        self.thread = threading.Thread(
            target=run_loop,
            args=(self.step,),
            kwargs={"clock": clock, "wake": self.wake, "stop": self.stop, "name": "test"},
        )
        self.thread.start()

    def step(self) -> int | None:
        self.calls.append(self.clock.now_ms())
        answer = self.answers.pop(0) if self.answers else None
        self.stepped.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for_step(self) -> None:
        assert self.stepped.acquire(timeout=5)

    def wait_for_sleep(self) -> int:
        """The time the loop sleeps for."""
        for _ in range(5000):
            due_ms = self.clock.next_due_ms()
            if due_ms is not None and due_ms > self.clock.now_ms():
                return due_ms
            threading.Event().wait(0.001)
        raise AssertionError("the loop never slept")

    def end(self) -> None:
        self.stop.set()
        self.wake.set()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(1_000)


def test_sleeps_until_due(clock: TurnedClock) -> None:
    """A step is called again when the time it named has come, and not before."""
    running = Running(clock, 5_000)
    running.wait_for_step()

    assert running.wait_for_sleep() == 5_000
    clock.set(5_000)
    running.wait_for_step()
    assert running.calls == [1_000, 5_000]
    running.end()


def test_a_wake_up_ends_the_sleep(clock: TurnedClock) -> None:
    """New work is looked at without waiting for the time."""
    running = Running(clock, 5_000, 9_000)
    running.wait_for_step()
    running.wait_for_sleep()
    running.wake.set()
    running.wait_for_step()

    assert running.calls == [1_000, 1_000]
    running.end()


def test_more_work_means_at_once(clock: TurnedClock) -> None:
    """A time that has passed is no sleep."""
    running = Running(clock, 0, 1_000, 5_000)
    for _ in range(3):
        running.wait_for_step()
    running.end()

    assert running.calls[:3] == [1_000, 1_000, 1_000]


def test_failures_back_off_and_are_said_once(clock: TurnedClock, caplog: pytest.LogCaptureFixture) -> None:
    """A failing step is tried after 0.1, 0.2, 0.4 s …, logged once per row of failures, and its recovery is logged."""
    caplog.set_level(logging.INFO, "hookline.loop")
    running = Running(clock, *[StorageUnavailable("away")] * 8, None)
    gaps = []
    for _ in range(8):
        running.wait_for_step()
        due_ms = running.wait_for_sleep()
        gaps.append(due_ms - clock.now_ms())
        running.wake.set()  # news does not shorten the back-off
        clock.set(due_ms)
    running.wait_for_step()
    running.end()

    assert gaps == [100, 200, 400, 800, 1600, 3200, BACKOFF_LAST_MS, BACKOFF_LAST_MS]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("error", [StorageUnavailable("away"), OutcomeUnknown("in doubt")])
def test_a_database_that_is_away_has_no_traceback(
    clock: TurnedClock, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """It explains itself in a line, whether or not a commit was under way."""
    running = Running(clock, error, None)
    running.wait_for_step()
    clock.set(running.wait_for_sleep())
    running.wait_for_step()
    running.end()

    assert [(record.exc_info, str(error) in record.getMessage()) for record in caplog.records] == [(None, True)]


def test_an_unexpected_error_is_logged_with_its_traceback(clock: TurnedClock, caplog: pytest.LogCaptureFixture) -> None:
    """A defect does not end the loop, and does not hide."""
    running = Running(clock, RuntimeError("a defect"), None)
    running.wait_for_step()
    clock.set(running.wait_for_sleep())
    running.wait_for_step()
    running.end()

    assert "a defect" in caplog.text


def test_system_clock_sleeps() -> None:
    """The real clock returns at its time, and at once when woken or late."""
    clock = SystemClock()
    start_ms = clock.now_ms()
    clock.wait_until(start_ms + 20, threading.Event())
    asyncio.run(clock.sleep_until(start_ms + 40, asyncio.Event()))
    clock.wait_until(start_ms, threading.Event())

    assert 39 <= clock.now_ms() - start_ms < 5_000

    woken = threading.Event()
    woken.set()
    clock.wait_until(None, woken)


def test_turned_clock_wakes_coroutines() -> None:
    """A coroutine that sleeps on a turned clock wakes when it is turned, from another thread too."""
    clock = TurnedClock(0)

    async def run() -> None:
        sleeper = asyncio.ensure_future(clock.sleep_until(1_000, asyncio.Event()))
        await asyncio.sleep(0)
        assert clock.next_due_ms() == 1_000
        await asyncio.to_thread(clock.advance, 999)
        await asyncio.sleep(0)
        assert not sleeper.done()
        await asyncio.to_thread(clock.advance, 1)
        await asyncio.wait_for(sleeper, 5)

    asyncio.run(run())
    assert clock.next_due_ms() is None
