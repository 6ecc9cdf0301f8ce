"""Run a step until told to stop: wake, back off, drain. Both ends use it.

Time comes from a `Clock`, so that three days of retries take milliseconds in a test.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from hookline.errors import OutcomeUnknown, StorageUnavailable

log = logging.getLogger("hookline.loop")

BACKOFF_FIRST_MS = 100
BACKOFF_LAST_MS = 5_000


class Clock(Protocol):
    """What time it is, and a way to sleep that a turned clock can end."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""

    def wait_until(self, due_ms: int | None, wake: threading.Event) -> None:
        """Block this thread until `wake` is set or the time has come; None waits for `wake` alone."""

    async def sleep_until(self, due_ms: int | None, wake: asyncio.Event) -> None:
        """The same for a coroutine: until `wake` is set or the time has come."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wait_until(self, due_ms: int | None, wake: threading.Event) -> None:
        wake.wait(None if due_ms is None else max(0, due_ms - self.now_ms()) / 1000)

    async def sleep_until(self, due_ms: int | None, wake: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(None if due_ms is None else max(0, due_ms - self.now_ms()) / 1000):
                await wake.wait()
        except TimeoutError:
            return


def run_loop(
    step: Callable[[], int | None],
    *,
    clock: Clock,
    wake: threading.Event,
    stop: threading.Event,
    name: str,
) -> None:
    """Call `step` until `stop` is set, sleeping in between; a step under way is finished first.

    Args:
        step: does what is due and returns when it wants to be called again: Unix milliseconds (a time that
            has passed means at once) or None for "when woken".
        clock: for the time and the sleep.
        wake: set by anyone who has made work. Whoever sets `stop` sets `wake` as well.
        stop: set once, to end the loop.
        name: for the log.

    A step that raises is called again after 0.1 s, doubling to 5 s. The first failure of a row is logged, with
    its traceback unless the database is merely away, and so is the recovery.
    """
    failures = 0
    while True:
        # Cleared before `stop` is looked at: who sets both between the two is not slept through.
        wake.clear()
        if stop.is_set():
            return
        try:
            due_ms = step()
        except (StorageUnavailable, OutcomeUnknown) as error:
            if not failures:
                log.warning("%s: the database is not available, trying again: %s", name, error)
            failures += 1
        except Exception:
            if not failures:
                log.exception("%s: a step failed, trying again", name)
            failures += 1
        else:
            if failures:
                log.info("%s: working again after %d failed steps", name, failures)
                failures = 0
            if due_ms is None or due_ms > clock.now_ms():
                clock.wait_until(due_ms, wake)
            continue
        delay_ms = min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS << min(failures - 1, 10))
        _back_off(clock.now_ms() + delay_ms, clock=clock, wake=wake, stop=stop)


def _back_off(until_ms: int, *, clock: Clock, wake: threading.Event, stop: threading.Event) -> None:
    """Sleep whatever work is announced: news must not hammer a database that is away."""
    while True:
        wake.clear()
        if stop.is_set() or clock.now_ms() >= until_ms:
            return
        clock.wait_until(until_ms, wake)
