"""Work in parts that outlives its process: releases of what was held, replays, retention.

A job is a row while there is work. Each part is one short transaction that takes the row, does a bounded amount and
keeps how far it came: what dies before the commit has done nothing, what dies after it repeats nothing, and any
process goes on with it. Nobody polls: the delivery loop's discovery says when a job is due.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hookline.errors import StorageError
from hookline.loop import run_loop
from hookline.sender.publish import DELIVERIES_CHANNEL

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.job_store import Job, JobStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.sender")

# A part that fails is done again after so long, doubling.
RETRY_FIRST_MS: Final = 1_000
RETRY_LAST_MS: Final = 300_000
# A job that is due and that another process has is looked at again after so long.
TAKEN_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of a job came to.

    Attributes:
        again_ms: when to go on, in Unix milliseconds; None ends the job.
        detail: how far it came.
        has_released: deliveries have become due.
    """

    again_ms: int | None
    detail: Mapping[str, Any]
    has_released: bool = False


# Does the next part of a job in the transaction given, at a time.
DoPart: TypeAlias = Callable[["Connection", "Job", int], Part]


class JobRunner:
    """Does jobs, one part after another, in a thread of its own.

    Args:
        kinds: how a part of each kind of job is done.
    """

    def __init__(self, database: Database, store: JobStore, *, clock: Clock, kinds: Mapping[str, DoPart]) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._kinds = kinds
        self._due_ms: int | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()

    def note_due(self, due_ms: int) -> None:
        """A job is due at this time, or was when somebody looked. Safe to call from any thread."""
        with self._lock:
            if self._due_ms is not None and self._due_ms <= due_ms:
                return
            self._due_ms = due_ms
        self._wake.set()

    def run(self) -> None:
        """Do what is due until `stop`; called once, in a thread."""
        run_loop(self.step, clock=self._clock, wake=self._wake, stop=self._stop, name="jobs")

    def stop(self) -> None:
        """End `run` after the part under way."""
        self._stop.set()
        self._wake.set()

    def step(self) -> int | None:
        """Do one part, if one is due by what is known; when to come again, None: when told."""
        now_ms = self._clock.now_ms()
        with self._lock:
            if self._due_ms is None or self._due_ms > now_ms:
                return self._due_ms
            # Told of from here on may be of what this part does not see.
            self._due_ms = None
        taken: list[Job] = []

        def work(connection: Connection) -> tuple[Part | None, int | None]:
            taken.clear()
            job = self._store.take(connection, now_ms=now_ms)
            part = None
            if job is not None:
                taken.append(job)
                part = self._do(connection, job, now_ms)
            return part, self._store.next_due_ms(connection)

        try:
            part, next_ms = self._database.run(work)
        except StorageError:
            self.note_due(now_ms)
            raise
        except Exception:
            if not taken:
                self.note_due(now_ms)
                raise
            job = taken[0]
            log.exception("jobs: a part of %s %s failed, %d in a row", job.kind, job.subject, job.failures + 1)
            part, next_ms = None, self._put_off(job, now_ms)
        if next_ms is not None:
            self.note_due(next_ms if taken else max(next_ms, now_ms + TAKEN_MS))
        if part is not None and part.has_released:
            self._database.notify(DELIVERIES_CHANNEL)
        with self._lock:
            return self._due_ms

    def _do(self, connection: Connection, job: Job, now_ms: int) -> Part:
        part = self._kinds[job.kind](connection, job, now_ms)
        if part.again_ms is None:
            self._store.end(connection, job.kind, job.subject)
        else:
            self._store.keep(connection, job, part.detail, due_ms=part.again_ms)
        return part

    def _put_off(self, job: Job, now_ms: int) -> int | None:
        """A part failed and left nothing behind: the other jobs go on, this one later."""
        delay_ms = min(RETRY_LAST_MS, RETRY_FIRST_MS << min(job.failures, 20))

        def work(connection: Connection) -> int | None:
            self._store.keep(connection, job, job.detail, due_ms=now_ms + delay_ms, failures=job.failures + 1)
            return self._store.next_due_ms(connection)

        return self._database.run(work)
