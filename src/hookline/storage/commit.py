"""Group commit: many callers, one commit, an answer each.

One core (a list, one function for the whole batch, item by item once more when a batch fails so that only the
bad item does) and two drivers: coroutines swap the whole list into a one-thread executor with one wake-up per
batch; plain threads take turns in leading a batch inline.
Measured: five times a commit per request on a fast disk, thirty to sixty times on a slow one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from hookline.errors import OutcomeUnknown, StorageUnavailable

T = TypeVar("T")
R = TypeVar("R")

MAX_BATCH = 512
# How many turns of an event loop a batch is put off at most while each of them brings more items. Without it the first
# of many requests that are already there has a commit of its own, which all the others then wait for.
GATHER_TURNS = 16


class GroupCommit(Generic[T, R]):
    """Collects items while a batch is being written, then writes all of them in one transaction.

    Args:
        commit: writes a batch in one transaction and returns one result per item, in order. It raises to refuse
            the whole batch, and must then have written nothing.
        name: for the thread.
        max_batch: how many items one transaction takes at most.
        end_thread: called last on the thread that writes for coroutines.

    A failing batch is rerun item by item. Not so when the commit's answer never came (`OutcomeUnknown`: a rerun could
    write twice), nor when the database is away (`StorageUnavailable`: every item fails alike, and so do those that
    wait for their loop's next batch).
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T]], Sequence[R]],
        *,
        name: str,
        max_batch: int = MAX_BATCH,
        end_thread: Callable[[], None] | None = None,
    ) -> None:
        self._commit = commit
        self._name = name
        self._max_batch = max_batch
        self._end_thread = end_thread
        self._lock = threading.Lock()
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane[T, R]] = {}
        self._slots: list[_Slot[T, R]] = []
        self._is_led = False
        self._executor: ThreadPoolExecutor | None = None
        self._executor_pid = 0

    async def put(self, item: T) -> R:
        """Write `item` with whatever else is waiting; returns its result after the commit."""
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            lane = self._open_lane(loop)
        future: asyncio.Future[R] = loop.create_future()
        lane.waiting.append((item, future))
        if not lane.is_busy:
            lane.is_busy = True
            # Next turn of the loop: whoever else is ready in this one joins the batch.
            loop.call_soon(self._gather, lane, 0, 0)
        return await future

    def put_inline(self, item: T) -> R:
        """The same for plain threads: the first one there leads a batch, the next leader is whoever waits first."""
        slot: _Slot[T, R] = _Slot(item)
        with self._lock:
            self._slots.append(slot)
            leads = not self._is_led
            self._is_led = True
        try:
            if not leads:
                slot.ready.wait()
            if slot.answer is None:
                self._lead()
        except BaseException:
            self._leave(slot)
            raise
        assert slot.answer is not None  # a leader's own slot is first in its batch
        if isinstance(slot.answer[0], BaseException):
            raise slot.answer[0]
        return slot.answer[0]

    def close(self) -> None:
        """Finish the batch under way and end the thread. Items put later start a new one."""
        executor, self._executor = self._executor, None
        if executor is not None and self._executor_pid == os.getpid():
            if self._end_thread is not None:
                executor.submit(self._end_thread)
            executor.shutdown(wait=True)

    def _open_lane(self, loop: asyncio.AbstractEventLoop) -> _Lane[T, R]:
        with self._lock:
            for closed in [known for known in self._lanes if known.is_closed()]:
                del self._lanes[closed]
            lane = self._lanes[loop] = _Lane(loop)
        return lane

    def _gather(self, lane: _Lane[T, R], seen: int, turns: int) -> None:
        """Start, unless items still arrive with every turn of the loop: the next turn brings them into this batch."""
        waiting = len(lane.waiting)
        if seen < waiting < self._max_batch and turns < GATHER_TURNS:
            lane.loop.call_soon(self._gather, lane, waiting, turns + 1)
        else:
            self._start(lane)

    def _start(self, lane: _Lane[T, R]) -> None:
        batch, lane.waiting = lane.waiting[: self._max_batch], lane.waiting[self._max_batch :]
        self._thread().submit(self._work, lane, batch)

    def _thread(self) -> ThreadPoolExecutor:
        # Made late and again after a fork: a thread does not survive into the child (gunicorn --preload).
        if self._executor is None or self._executor_pid != os.getpid():
            self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
            self._executor_pid = os.getpid()
        return self._executor

    def _work(self, lane: _Lane[T, R], batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        answers: Sequence[R | Exception] = _interrupted(len(batch))
        try:
            answers = self._write([item for item, _ in batch])
        finally:
            # RuntimeError: the loop was closed while the batch was being written, and nobody is left to be told.
            with contextlib.suppress(RuntimeError):
                lane.loop.call_soon_threadsafe(self._finish, lane, batch, answers)

    def _finish(
        self, lane: _Lane[T, R], batch: list[tuple[T, asyncio.Future[R]]], answers: Sequence[R | Exception]
    ) -> None:
        if isinstance(answers[-1], StorageUnavailable):
            # The database was waited for in vain. Every batch after this one would wait as long again, and its
            # callers, who have waited already, longer and longer: they share the answer and may come again.
            answers = [*answers, *[answers[-1]] * len(lane.waiting)]
            batch, lane.waiting = batch + lane.waiting, []
        for (_, future), answer in zip(batch, answers, strict=True):
            # A client that went away has cancelled its future: that must not cost the others theirs.
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        # On the loop and without an await in between: no item can arrive after this look and start nobody.
        if lane.waiting:
            self._start(lane)
        else:
            lane.is_busy = False

    def _lead(self) -> None:
        with self._lock:
            batch, self._slots = self._slots[: self._max_batch], self._slots[self._max_batch :]
        answers: Sequence[R | Exception] = _interrupted(len(batch))
        try:
            answers = self._write([slot.item for slot in batch])
        finally:
            for slot, answer in zip(batch, answers, strict=True):
                slot.answer = (answer,)
                slot.ready.set()
            with self._lock:
                self._hand_on()

    def _leave(self, slot: _Slot[T, R]) -> None:
        """A thread was interrupted while it waited (a signal, a server's timeout): the others must not wait for it."""
        with self._lock:
            if slot not in self._slots:
                return
            self._slots.remove(slot)
            if slot.ready.is_set():
                self._hand_on()

    def _hand_on(self) -> None:
        if self._slots:
            self._slots[0].ready.set()
        else:
            self._is_led = False

    def _write(self, items: list[T]) -> Sequence[R | Exception]:
        try:
            return self._commit(items)
        except (StorageUnavailable, OutcomeUnknown) as error:
            return [error] * len(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
            return [answer for item in items for answer in self._write([item])]


def _interrupted(count: int) -> list[Exception]:
    return [OutcomeUnknown("the thread that wrote the batch was interrupted")] * count


class _Lane(Generic[T, R]):
    """What waits on one event loop."""

    __slots__ = ("is_busy", "loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: list[tuple[T, asyncio.Future[R]]] = []
        self.is_busy = False


class _Slot(Generic[T, R]):
    """One thread's item and, once written, its answer. Ready without an answer means: lead the next batch."""

    __slots__ = ("answer", "item", "ready")

    def __init__(self, item: T) -> None:
        self.item = item
        self.ready = threading.Event()
        self.answer: tuple[R | Exception] | None = None
