"""A clock to turn by hand: three days pass in one call."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.receiver.app import Receiver


class TurnedClock:
    """A `hookline.loop.Clock` that stands still until `advance` or `set` turns it.

    Whoever sleeps on it is woken once the time they wait for has come. Safe to turn from any thread.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._sleepers: dict[int, tuple[int, Callable[[], None]]] = {}
        self._next_key = 0

    def now_ms(self) -> int:
        """Unix milliseconds, as last turned to."""
        return self._now_ms

    def advance(self, ms: int) -> None:
        """Turn forward by `ms` milliseconds."""
        self.set(self._now_ms + ms)

    def set(self, now_ms: int) -> None:
        """Turn to `now_ms` and wake whoever waited for it."""
        with self._lock:
            self._now_ms = now_ms
            due = [wake for due_ms, wake in self._sleepers.values() if due_ms <= now_ms]
        for wake in due:
            wake()

    def next_due_ms(self) -> int | None:
        """The earliest time anybody sleeps for, or None: turn to it to see the next thing happen."""
        with self._lock:
            return min((due_ms for due_ms, _ in self._sleepers.values()), default=None)

    def wait_until(self, due_ms: int | None, wake: threading.Event) -> None:
        key = self._sleep(due_ms, wake.set)
        try:
            wake.wait()
        finally:
            self._wakened(key)

    async def sleep_until(self, due_ms: int | None, wake: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()

        def wake_there() -> None:
            loop.call_soon_threadsafe(wake.set)

        key = self._sleep(due_ms, wake_there)
        try:
            await wake.wait()
        finally:
            self._wakened(key)

    def _sleep(self, due_ms: int | None, wake: Callable[[], None]) -> int | None:
        if due_ms is None:
            return None
        with self._lock:
            self._next_key += 1
            self._sleepers[self._next_key] = (due_ms, wake)
            key = self._next_key
            is_due = due_ms <= self._now_ms
        if is_due:
            wake()
        return key

    def _wakened(self, key: int | None) -> None:
        if key is not None:
            with self._lock:
                self._sleepers.pop(key, None)


@contextlib.contextmanager
def on_clock(clock: Clock, *receivers: Receiver) -> Iterator[None]:
    """Have these receivers, and those that are made meanwhile without a clock of their own, live by this clock."""
    from hookline.receiver import app

    before = [receiver.clock for receiver in receivers]
    with mock.patch.object(app, "SystemClock", return_value=clock):
        for receiver in receivers:
            receiver.clock = clock
        try:
            yield
        finally:
            for receiver, its_own in zip(receivers, before, strict=True):
                receiver.clock = its_own
