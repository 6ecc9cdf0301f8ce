"""The worker: entries out of the inbox into the mirror, walks over children, and handler runs.

One thread applies and claims; handlers run on threads of their own, so that a slow one delays neither the door nor
the mirror. Each piece of work is one short transaction of its own:

- a batch of entries: claimed, applied and settled together. A batch that fails is taken apart, entry by entry; one
  that fails alone is tried three times and then set aside as `dead`. An entry that kills the whole process is found
  by a count written *before* it is tried: the first batch after a start is marked, and where marks are found the
  entries are tried one at a time;
- a part of a walk (walking.py);
- a run: the handler's writes and the mark that it ran. The lease is 60 s and kept up by a heartbeat; the mark names
  the attempt, so a worker that was taken for dead cannot commit;
- a part of a replay (replay.py), and of retention (retention.py), once nothing else is due.

A handler that fails on `pause_after` different objects in a row is paused: its runs wait, the mirror and the other
handlers go on. After a minute (then two, four, up to an hour) one run is tried; its success ends the pause.

Any number of workers, in any number of processes, may work on one database.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import os
import queue
import random
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, TypeVar, get_args

from hookline import tracing
from hookline.errors import BodyReason, HooklineError, OutcomeUnknown, StorageError, StorageUnavailable
from hookline.loop import Clock, SystemClock, run_loop
from hookline.receiver.app_database import AppDatabase
from hookline.receiver.counters import Counters
from hookline.receiver.failures import class_of, place_of
from hookline.receiver.handlers import (
    RUN,
    Change,
    CurrentRun,
    Handler,
    LentTransaction,
    Registry,
    Transactions,
    idempotency_key,
)
from hookline.receiver.mirror import Applied, apply
from hookline.receiver.mirror_store import Claimed, MirrorStore, Outcome, TriedBefore
from hookline.receiver.model import shown_id
from hookline.receiver.replay import Mode, Replay, Replays, Selection
from hookline.receiver.retention import Pruned, Pruner, latest_ms
from hookline.receiver.run_store import AHEAD_MS, Due, Run, RunStore
from hookline.receiver.spans import begin_run, tell_applied
from hookline.receiver.walking import ENDED, Walker
from hookline.rules.lifecycle import after_run
from hookline.rules.schedule import JITTER, RUNS, Backoff
from hookline.storage import Connection, Database, Dialect, Verbs
from hookline.storage.reruns import Conflict
from hookline.wire.event import Event

log = logging.getLogger("hookline.worker")

T = TypeVar("T")

BATCH: Final = 100
LEASE_S: Final = 60
HEARTBEAT_S: Final = 20
# How often a worker tells others that it is there (`status.WORKER_UNSEEN_MS` is three of them, and more).
SEEN_EVERY_MS: Final = 60_000
IDLE_S: Final = 5.0
# Longer than a round that waits for a locked database and tries again.
STUCK_MS: Final = 60_000
ENTRY_TRIES: Final = 3
ENTRY_BACKOFF: Final = Backoff(first_s=1, factor=10, cap_s=60, tries=ENTRY_TRIES)
# No entry is made to wait as long as this (`ENTRY_BACKOFF`): one that is due later was kept under another clock.
ENTRY_WAIT_MS: Final = 600_000
# How many dead letters are taken up again in one transaction.
AT_ONCE: Final = 500
BUSY_WAIT_MS: Final = 1_000
CONFLICT_WAIT_MS: Final = 50
# How often a run may find the database locked before that counts as its failure, and how often another transaction
# in its way: PostgreSQL sees by itself who waits for whom, and says so at once.
GIVE_BACKS: Final = 5
GIVE_BACKS_AS_CONFLICT: Final = 20
# On how many different objects a handler fails in a row, within the window, before it is paused.
PAUSE_AFTER: Final = 20
PAUSE_WINDOW_S: Final = 3_600
PROBE_AFTER_S: Final = 60
MAX_ERROR: Final = 8_000
# Why an entry is dead that nothing went wrong with here.
NO_EVENT: Final = frozenset(get_args(BodyReason))
MAX_CAUSES: Final = 10


class Access:
    """How a worker reaches its tables: Hookline's own database, or the app's transactions."""

    def __init__(self, database: Database | None = None, *, transactions: Transactions | None = None) -> None:
        if (database is None) == (transactions is None):
            raise TypeError("expected a database or the app's transactions")
        self.database = database
        self._app = AppDatabase(transactions) if transactions is not None else None

    @property
    def dialect(self) -> Dialect:
        """Which SQL it is; on the app's transactions the first use looks."""
        return self._reached.dialect

    def run(self, work: Callable[[Connection], T]) -> T:
        """`work(connection)` in a transaction, run again where another one was in its way."""
        return self._reached.run(work)

    def read(self) -> AbstractContextManager[Connection]:
        """A connection to look with."""
        return self._reached.read()

    def lent(self) -> AbstractContextManager[LentTransaction]:
        """The transaction of one run."""
        return self._reached.lent()

    def subscribe(self, callback: Callable[[], None]) -> list[Callable[[], None]]:
        """Have `callback` called where something was kept, or runs were made, as far as that is heard of."""
        return [self._reached.subscribe(channel, callback) for channel in ("inbox", "runs")]

    def tell(self, channel: str) -> None:
        """Say that something was committed."""
        self._reached.notify(channel)

    def end_thread(self) -> None:
        """A thread of the worker ends."""
        if self._app is not None:
            self._app.end_thread()

    @property
    def _reached(self) -> Database | AppDatabase:
        if self._app is not None:
            return self._app
        assert self.database is not None
        return self.database


class _LeaseLostError(Exception):
    """Somebody else has the run by now: what this attempt wrote is undone."""


class Worker:
    """Applies what the inbox holds and runs handlers.

    Args:
        access: the tables.
        registry: the handlers of this process; only their runs are taken.
        clock: for the time and the sleep.
        concurrency: how many handlers run at once.
        backoff: how often and when a failed run is tried again.
        jitter: gives -1 to 1, for the retries.
        pause_after: on how many different objects a handler may fail in a row before it is paused; None for never.
        optional: resources to mirror that are mirrored only where asked for (`resources.OPTIONAL`).
        counters: what is counted here.
        pruners: what lets entries of each its source go when their time is over; others are kept for ever.
        asking: sources whose API can be asked: what is in doubt of them is written down (refetch.py).
    """

    def __init__(
        self,
        access: Access,
        registry: Registry | None = None,
        *,
        clock: Clock | None = None,
        concurrency: int = 4,
        backoff: Backoff = RUNS,
        jitter: Callable[[], float] | None = None,
        pause_after: int | None = PAUSE_AFTER,
        optional: Collection[str] = (),
        counters: Counters | None = None,
        pruners: Sequence[Pruner] = (),
        asking: Collection[str] = (),
    ) -> None:
        self._access = access
        self._counters = counters if counters is not None else Counters()
        self._optional = frozenset(optional)
        self._asking = frozenset(asking)
        self._registry = registry if registry is not None else Registry()
        self._clock = clock if clock is not None else SystemClock()
        self._concurrency = max(1, concurrency)
        self._backoff = backoff
        self._pause_after = pause_after
        self._jitter = jitter or (lambda: random.uniform(-1, 1))  # noqa: S311 - spreads retries, guards nothing
        verbs = Verbs("hookline.receiver", access.dialect)
        self._mirror = MirrorStore(verbs)
        self._runs = RunStore(verbs)
        self._replays = Replays(verbs, optional=self._optional)
        self._pruners = tuple(pruners)
        self._kept_sources = [pruner.source for pruner in self._pruners]
        self.wake = threading.Event()
        self._is_registered = False
        self._is_first_batch = True
        # The entry whose try on its own the storage's being away ended, and that try's lease: it is not to count.
        self._cut_short: tuple[int, int] | None = None
        self._walker = Walker(access, self._mirror, asking=self._asking)
        self._given_back: dict[int, int] = {}
        self._extended_ms = 0
        self._latest_ms = 0
        self._name = ""
        self._told_ms = 0
        self._guard = threading.Lock()
        self._in_flight: dict[int, Run] = {}
        self._inbox: queue.SimpleQueue[Run | None] | None = None

    # -- running -----------------------------------------------------------------------------------------------

    def register(self) -> None:
        """Make this process's handlers known: from here on, runs are made for them. Once is enough."""
        if not self._is_registered:
            now_ms = self._clock.now_ms()

            def work(connection: Connection) -> list[str]:
                self._runs.register(connection, self._registry, now_ms)
                self._pull_runs(connection, now_ms)
                # What made walks fail may be what this start has mended. Not what ended workers: two such walks would
                # end every one that starts.
                self._mirror.retry_cascades(connection, but=ENDED)
                for pruner in self._pruners:
                    pruner.plan(connection, now_ms)
                return self._runs.absent(connection, [handler.name for handler in self._registry])

            absent = self._access.run(work)
            self._is_registered = True
            if absent:
                log.warning(
                    "runs wait for handlers that this process does not have: %s. If no other process has them, "
                    "`hookline handlers forget NAME` gives their runs up",
                    ", ".join(absent),
                )

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set (set `wake` as well); runs under way are finished first."""
        endings = self._access.subscribe(self.wake.set)
        threads = self._start_threads()
        # Of a run, not of the process: two of its threads may be workers, and the number of a process comes again.
        self._name, self._told_ms = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}", 0
        try:
            run_loop(self._step_in_threads, clock=self._clock, wake=self.wake, stop=stop, name="worker")
            self._finish_runs()
            self._tell_end()
        finally:
            for end in endings:
                end()
            assert self._inbox is not None
            for _ in threads:
                self._inbox.put(None)
            for thread in threads:
                thread.join()
            self._inbox = None
            self._access.end_thread()

    def problems(self) -> list[str]:
        """What keeps `run` from its work, for people; empty where nothing does."""
        beat_ms = self._counters.heartbeat_ms
        # At rest a round begins every 5 s; one that is stuck in the database or on a lock begins no other.
        silent_ms = 0 if beat_ms is None else self._clock.now_ms() - beat_ms
        return [f"the worker has begun no round for {silent_ms // 1000} s"] if silent_ms > STUCK_MS else []

    def step(self) -> int | None:
        """Do once what is due, handlers included, on this thread; when to call again (Unix ms), None when woken."""
        with contextlib.closing(_Loop()) as loop:
            return self._step(lambda run: self._execute(run, loop))

    def drain(self) -> None:
        """Work on this thread until nothing is due."""
        with contextlib.closing(_Loop()) as loop:
            while True:
                due_ms = self._step(lambda run: self._execute(run, loop))
                if due_ms is None or due_ms > self._clock.now_ms():
                    return

    def retry_run(self, row_id: int) -> bool:
        """Try a dead letter, a skipped or a waiting run again now; False if there is none of that id to retry."""
        done = self._access.run(lambda connection: self._runs.retry(connection, row_id, self._clock.now_ms()))
        self._access.tell("runs")
        return done

    def skip_run(self, row_id: int) -> bool:
        """Give a waiting or dead run up, so that it holds nothing; False if there is none of that id to skip."""
        done = self._access.run(lambda connection: self._runs.skip(connection, row_id, self._clock.now_ms()))
        self._access.tell("runs")
        return done

    def retry_entry(self, source: str, event_id: str) -> bool:
        """Apply a dead entry again, its handlers with it; False if there is no dead entry of that id."""
        now_ms = self._clock.now_ms()
        done = self._access.run(lambda connection: self._runs.retry_entry(connection, source, event_id, now_ms))
        self._access.tell("inbox")
        return done

    def drop_entry(self, source: str, event_id: str, note: str) -> bool:
        """Have a dead entry ignored from now on, with a note; False if there is no dead entry of that id."""
        return self._access.run(
            lambda connection: self._runs.drop_entry(connection, source, event_id, f"dropped: {note}")
        )

    def retry_dead_runs(self, handler: str | None = None) -> int:
        """Try all runs again that failed for good, of one handler or of all; how many they are."""
        done, now_ms = 0, self._clock.now_ms()

        def part(connection: Connection) -> int:
            found = self._runs.dead_runs(connection, handler, AT_ONCE)
            for row_id in found:
                self._runs.retry(connection, row_id, now_ms)
            return len(found)

        while (count := self._access.run(part)) > 0:
            done += count
        self._access.tell("runs")
        return done

    def retry_dead_entries(self, source: str | None = None) -> int:
        """Apply all dead entries again that are still kept whole, of one source or of all; how many they are."""
        done, after, now_ms = 0, 0, self._clock.now_ms()

        def part(connection: Connection) -> tuple[int, int]:
            found = self._runs.dead_entries(connection, source, after, AT_ONCE)
            count = sum(self._runs.retry_entry(connection, of, event_id, now_ms) for _, of, event_id in found)
            return (found[-1][0] if found else 0), count

        while True:
            last, count = self._access.run(part)
            if not last:
                break
            after, done = last, done + count
        self._access.tell("inbox")
        return done

    def retry_walks(self) -> int:
        """Take the walks up now that wait after a failure; how many they are. A worker that starts does so, too, save
        with those that have ended one.
        """
        found = self._access.run(self._mirror.retry_cascades)
        self._access.tell("inbox")
        return found

    def pause(self, handler: str, reason: str) -> bool:
        """Take no more runs of a handler until it is resumed; False where it is paused already, or unknown."""
        return self._access.run(lambda connection: self._runs.pause(connection, handler, reason, None))

    def resume(self, handler: str) -> bool:
        """Take a handler's runs again, in their order; False where it is not paused."""
        done = self._access.run(lambda connection: self._runs.resume(connection, handler))
        self._access.tell("runs")
        return done

    def forget(self, handler: str) -> int | None:
        """Forget a handler that no process has any more and give its waiting runs up.

        Returns: how many those were, or None where nobody knows it.
        """
        return self._access.run(lambda connection: self._runs.forget(connection, handler, self._clock.now_ms()))

    def count_replay(self, source: str, selection: Selection) -> int:
        """How many entries a replay would apply again. Changes nothing."""
        with self._access.read() as connection:
            return self._replays.count(connection, source, selection)

    def start_replay(
        self, source: str, selection: Selection, *, mode: Mode = "mirror", handler: str | None = None
    ) -> int:
        """Begin a replay of what is there now; its number. Workers do it, or whoever calls `step_replay`.

        Args:
            mode: `mirror`: no handler is called; `handler`: the one named by `handler`; `all`.

        Raises: LookupError where no handler of that name is known.
        """
        return self._access.run(
            lambda connection: self._replays.start(
                connection, source, selection, now_ms=self._clock.now_ms(), mode=mode, handler=handler
            )
        )

    def step_replay(self, replay_id: int) -> Replay:
        """Do the next part of a replay, in one transaction; how it stands then."""
        replay = self._access.run(lambda connection: self._replays.step(connection, replay_id, self._clock.now_ms()))
        if replay.runs:
            self._access.tell("runs")
        return replay

    def prune(self) -> Pruned:
        """Let go of all whose time is over, now; how much that was. Other workers may go on beside it."""
        total, now_ms = Pruned(), self._clock.now_ms()

        def start(connection: Connection) -> None:
            for pruner in self._pruners:
                pruner.plan(connection, now_ms)
                pruner.start(connection, now_ms)

        if self._pruners:
            self._access.run(start)
        while (part := self._prune_part(now_ms)) is not None:
            total += part
        return total

    # -- one step ----------------------------------------------------------------------------------------------

    def _step_in_threads(self) -> int | None:
        assert self._inbox is not None
        next_ms = self._step(self._inbox.put, in_threads=True)
        self._tell_seen()
        return next_ms

    def _tell_seen(self) -> None:
        """That it is there, for `hookline status`: at its first round, and then once a minute."""
        now_ms = self._clock.now_ms()
        if not 0 <= now_ms - self._told_ms < SEEN_EVERY_MS:
            names = [handler.name for handler in self._registry]
            self._access.run(lambda connection: self._runs.beat(connection, self._name, names, now_ms))
            self._told_ms = now_ms

    def _tell_end(self) -> None:
        now_ms = self._clock.now_ms()
        with contextlib.suppress(StorageError):
            self._access.run(lambda connection: self._runs.end_worker(connection, self._name, now_ms))

    def _step(self, execute: Callable[[Run], None], *, in_threads: bool = False) -> int:
        """Do once what is due; when to come again. At rest this is one statement."""
        self.register()
        names = [handler.name for handler in self._registry]
        now_ms = self._counters.heartbeat_ms = self._clock.now_ms()
        if now_ms < self._latest_ms - AHEAD_MS:
            self._clock_set_back(now_ms)
        self._latest_ms = now_ms
        if (cut := self._cut_short) is not None:
            self._access.run(lambda connection: self._mirror.take_try_back(connection, *cut, now_ms))
            self._cut_short = None
        # What is committed after this look sets `wake`, and `run_loop` comes again.
        with self._access.read() as connection:
            due = self._runs.due(connection, names, now_ms, sources=self._kept_sources)
        more = made_runs = False
        is_walking = due.cascade_ms is not None
        if due.entry_ms is not None and due.entry_ms > now_ms + ENTRY_WAIT_MS:
            self._pull_entries(now_ms)
            more = True
        if due.entry_ms is not None and due.entry_ms <= now_ms:
            done = self._apply(now_ms)
            # None though something is due: another worker is at it.
            if done is not None:
                more, made_runs, is_walking = True, done.runs > 0, is_walking or done.cascades > 0
        if is_walking and (walked := self._walker.walk(now_ms)) is not None:
            more, made_runs = True, made_runs or walked.runs > 0
        self._extend(now_ms)
        if due.lease_ms is not None and due.lease_ms < now_ms:
            made_runs = self._settle_lapsed(now_ms) or made_runs
        if made_runs or (due.run_ms is not None and due.run_ms <= now_ms):
            taken = self._take_runs(names, now_ms)
            for run in taken:
                execute(run)
            # On threads the end of a run sets `wake`.
            more = more or (bool(taken) and not in_threads)
        if due.replay_id is not None and not more:
            # Last, so that what arrives now never waits for what is old.
            made_runs = self.step_replay(due.replay_id).runs > 0 or made_runs
            more = True
        if due.prune_ms is not None and not more and not now_ms < due.prune_ms <= latest_ms(now_ms):
            more = self._prune_part(now_ms) is not None
        if made_runs:
            self._access.tell("runs")
        return now_ms if more else self._next_ms(due, now_ms)

    def _prune_part(self, now_ms: int) -> Pruned | None:
        """The next part of what is due of any source's retention, done; None where nothing is, or others had it."""
        for pruner in self._pruners:
            pruned = self._access.run(partial(pruner.step, now_ms=now_ms))
            if pruned is not None:
                if pruned:
                    log.info("retention of %s: %s", pruner.source, pruned)
                return pruned
        return None

    def _next_ms(self, due: Due, now_ms: int) -> int:
        with self._guard:
            beat_ms = self._extended_ms + HEARTBEAT_S * 1000 if self._in_flight else None
        times = (due.entry_ms, due.later_run_ms, due.lease_ms, beat_ms)
        idle_ms = now_ms + round(IDLE_S * 1000)
        return min([idle_ms, *(time_ms for time_ms in times if time_ms is not None and time_ms > now_ms)])

    # -- entries -----------------------------------------------------------------------------------------------

    def _apply(self, now_ms: int) -> Applied | None:
        """Apply what is due, or part of it; None where there was nothing to take."""
        if self._is_first_batch:
            suspects = self._mark_first(now_ms)
            self._is_first_batch = False
            if suspects:
                return self._apply_each(suspects)
        entries: list[Claimed] = []
        began_ns = time.time_ns()

        def work(connection: Connection) -> Applied:
            entries[:] = self._mirror.claim(connection, now_ms, BATCH)
            return self._apply_claimed(connection, entries, now_ms)

        try:
            done = self._access.run(work)
            if entries:
                tell_applied(entries, done, began_ns)
            return self._counted(done, entries) if entries else None
        except (StorageUnavailable, OutcomeUnknown):
            raise
        except TriedBefore as error:
            return self._apply_each(error.seqs)
        except Exception as error:
            if not entries:
                raise
            log.warning("a batch of %d entries failed (%s), trying them one by one", len(entries), place_of(error))
        return self._apply_each([entry.seq for entry in entries])

    def _apply_claimed(self, connection: Connection, entries: Sequence[Claimed], now_ms: int) -> Applied:
        if not entries:
            return Applied()
        return apply(self._mirror, connection, entries, now_ms, optional=self._optional, asking=self._asking)

    def _counted(self, done: Applied, entries: Sequence[Claimed]) -> Applied:
        now_ms = self._clock.now_ms()
        by_seq = {entry.seq: entry for entry in entries}
        _tell_entries([(by_seq[outcome.seq], outcome) for outcome in done.outcomes], now_ms)
        self._counters.entries_applied(
            [(by_seq[outcome.seq].source, outcome.outcome) for outcome in done.outcomes],
            [entry.received_ms for entry in entries],
            now_ms,
        )
        self._counters.gaps_seen(done.gaps)
        return done

    def _pull_entries(self, now_ms: int) -> None:
        """The clock was set back: entries kept before that would wait until it is where it was."""
        log.warning("the clock was set back: entries kept before that are applied now")
        self._access.run(lambda connection: self._mirror.pull(connection, now_ms + ENTRY_WAIT_MS, now_ms))

    def _clock_set_back(self, now_ms: int) -> None:
        """So with runs, leases and paused handlers, where this worker sees it; where it does not, at its start."""
        self._extended_ms = 0
        pulled = self._access.run(lambda connection: self._pull_runs(connection, now_ms))
        log.warning("the clock was set back: %d runs, leases and pauses that would wait for it end sooner", pulled)

    def _pull_runs(self, connection: Connection, now_ms: int) -> int:
        longest_ms = round(self._backoff.cap_s * (1 + JITTER) * 1000) + AHEAD_MS
        return self._runs.pull(connection, now_ms, lease_ms=LEASE_S * 1000, longest_wait_ms=longest_ms)

    def _mark_first(self, now_ms: int) -> list[int]:
        """Mark what is about to be the first batch; its entries, if one of them was marked and never settled."""

        def work(connection: Connection) -> list[int]:
            head = self._mirror.head(connection, now_ms, BATCH)
            if any(tries > 0 for _, tries in head):
                return [seq for seq, _ in head]
            self._mirror.mark(connection, [seq for seq, _ in head])
            return []

        return self._access.run(work)

    def _apply_each(self, seqs: Sequence[int]) -> Applied:
        together = Applied()
        for seq in seqs:
            done = self._apply_alone(seq)
            together.outcomes += done.outcomes
            together.changes += done.changes
            together.runs += done.runs
            together.cascades += done.cascades
        return together

    def _apply_alone(self, seq: int) -> Applied:
        now_ms = self._clock.now_ms()  # those before it may have taken their time
        leased_until_ms = now_ms + LEASE_S * 1000
        tries = self._access.run(lambda connection: self._mirror.count_try(connection, seq, now_ms, leased_until_ms))
        if tries is None:
            return Applied()
        if tries > ENTRY_TRIES:
            return self._set_aside(seq, "applying it ended the worker", now_ms)
        entries: list[Claimed] = []

        def work(connection: Connection) -> Applied:
            entries[:] = self._mirror.claim_one(connection, seq)
            return self._apply_claimed(connection, entries, now_ms)

        try:
            return self._counted(self._access.run(work), entries)
        except (StorageUnavailable, OutcomeUnknown):
            self._cut_short = seq, leased_until_ms
            raise
        except Exception as error:
            place = place_of(error)
        due_ms = ENTRY_BACKOFF.due_ms(tries_made=tries, now_ms=now_ms, jitter=0)
        if due_ms is None:
            return self._set_aside(seq, place, now_ms)
        self._access.run(lambda connection: self._mirror.postpone(connection, seq, due_ms))
        return Applied()

    def _set_aside(self, seq: int, reason: str, now_ms: int) -> Applied:
        outcome = Outcome(seq, "dead", reason)

        def work(connection: Connection) -> Sequence[Claimed]:
            if entries := self._mirror.claim_one(connection, seq):
                self._mirror.note(connection, [outcome], now_ms)
            return entries

        entries = self._access.run(work)
        return self._counted(Applied([outcome]), entries) if entries else Applied()

    # -- runs --------------------------------------------------------------------------------------------------

    def _take_runs(self, names: Sequence[str], now_ms: int) -> list[Run]:
        with self._guard:
            running = [run.handler for run in self._in_flight.values()]
        free = self._concurrency - len(running)
        # One slow handler leaves a thread to the others.
        share = self._concurrency - 1 if len(names) > 1 and self._concurrency > 1 else self._concurrency
        open_to = [name for name in names if running.count(name) < share]
        if free <= 0 or not open_to:
            return []
        runs = self._access.run(
            lambda connection: self._runs.claim(
                connection,
                open_to,
                now_ms=now_ms,
                leased_until_ms=now_ms + LEASE_S * 1000,
                limit=free,
                each=share - max(running.count(name) for name in open_to),
            )
        )
        with self._guard:
            if not self._in_flight:
                self._extended_ms = now_ms
            self._in_flight.update((run.row_id, run) for run in runs)
        return runs

    def _extend(self, now_ms: int) -> None:
        """The heartbeat: keep the leases of what runs here."""
        with self._guard:
            runs = list(self._in_flight.values())
        if runs and now_ms >= self._extended_ms + HEARTBEAT_S * 1000:
            self._access.run(lambda connection: self._runs.extend(connection, runs, now_ms + LEASE_S * 1000))
            self._extended_ms = now_ms

    def _settle_lapsed(self, now_ms: int) -> bool:
        """End attempts whose worker is gone: nobody knows what they did outside, so they count as a try."""

        def work(connection: Connection) -> list[Run]:
            lapsed = self._runs.lapsed(connection, now_ms)
            for run in lapsed:
                following = after_run(
                    "unknown",
                    self._backoff,
                    tries_made=run.tries,
                    now_ms=now_ms,
                    jitter=self._jitter(),
                    reason="unknown",
                )
                error = f"attempt {run.attempt}: unknown, its worker did not come back"
                self._runs.fail(connection, run, following, error, now_ms)
                self._count_failure(connection, run, "WorkerLost", now_ms)
            return lapsed

        lapsed = self._access.run(work)
        for run in lapsed:
            self._counters.run_ended(run.handler, "lost")
            log.warning("run %d of %s: its worker did not come back", run.row_id, run.handler, extra=run.log_ids)
        return bool(lapsed)

    def _execute(self, run: Run, loop: _Loop) -> None:
        """One attempt, with whatever end; nothing but an interrupt of the main thread gets out."""
        try:
            self._attempt(run, loop)
        except KeyboardInterrupt:
            # Signals reach the main thread alone; elsewhere it is the handler's own doing and has been recorded.
            if threading.current_thread() is threading.main_thread():
                raise
        except (StorageUnavailable, OutcomeUnknown) as error:
            # What it came to could not be written down: its lease passes, and it counts as unknown.
            log.warning(
                "run %d of %s could not be settled, its lease passes first: %s",
                run.row_id,
                run.handler,
                error,
                extra=run.log_ids,
            )
        except Exception:
            log.exception("run %d of %s could not be settled", run.row_id, run.handler, extra=run.log_ids)
        finally:
            with self._guard:
                self._in_flight.pop(run.row_id, None)
            self.wake.set()

    def _attempt(self, run: Run, loop: _Loop) -> None:
        handler = self._registry.get(run.handler)
        assert handler is not None
        began_s = time.perf_counter()
        try:
            self._call(handler, run, loop)
        except _LeaseLostError:
            log.warning(
                "run %d of %s took longer than its lease; what it wrote is undone",
                run.row_id,
                run.handler,
                extra=run.log_ids,
            )
            return
        except (StorageUnavailable, OutcomeUnknown) as error:
            # Where a commit in doubt was kept after all, there is no such attempt to give back any more.
            if self._given_back.get(run.row_id, 0) < _most_given_back(error):
                self._give_back(run, error)
                return
            # A handler that waits for a lock it holds itself would come back for ever.
            failure: BaseException = StorageUnavailable("the database stayed away from it")
        except BaseException as error:
            failure = error
        else:
            self._given_back.pop(run.row_id, None)
            self._counters.run_ended(run.handler, "succeeded", time.perf_counter() - began_s)
            return
        self._given_back.pop(run.row_id, None)
        self._fail(run, failure, time.perf_counter() - began_s)
        if isinstance(failure, KeyboardInterrupt):
            raise failure

    def _call(self, handler: Handler, run: Run, loop: _Loop) -> None:
        with self._access.read() as connection:
            what: Event | Change
            if run.change_seq is not None:
                what = self._runs.change(connection, run.change_seq)
                subject, event_id = f"change {what.seq}", what.cause
            else:
                assert run.inbox_seq is not None
                subject, what = self._runs.entry(connection, run.inbox_seq)
                event_id = subject
            assert what.source is not None
            parent = self._runs.traceparent(connection, what.source, event_id) if tracing.is_on() else None
        key = idempotency_key(run.handler, what.source, subject)
        with tracing.within(begin_run(run, what, parent)), self._access.lent() as transaction:
            token = RUN.set(CurrentRun(run.handler, run.tries, run.replay_id is not None, key))
            try:
                result = handler.function(what, transaction.app)
                if inspect.isawaitable(result):
                    loop.run(result)
            finally:
                RUN.reset(token)
            if not self._runs.succeed(transaction.dbapi, run, self._clock.now_ms()):
                raise _LeaseLostError

    def _give_back(self, run: Run, error: StorageError) -> None:
        self._given_back[run.row_id] = self._given_back.get(run.row_id, 0) + 1
        is_conflict = isinstance(error, Conflict)
        log.log(
            logging.DEBUG if is_conflict else logging.WARNING,
            "run %d of %s: %s, trying again",
            run.row_id,
            run.handler,
            "another transaction was in its way" if is_conflict else "the database is not available",
            extra=run.log_ids,
        )
        self._counters.run_ended(run.handler, "given_back")
        wait_ms = round(CONFLICT_WAIT_MS * (1 + self._jitter() / 2)) if is_conflict else BUSY_WAIT_MS
        due_ms = self._clock.now_ms() + wait_ms
        self._access.run(lambda connection: self._runs.give_back(connection, run, due_ms))

    def _fail(self, run: Run, failure: BaseException, took_s: float) -> None:
        now_ms = self._clock.now_ms()
        following = after_run(
            "failed",
            self._backoff,
            tries_made=run.tries,
            now_ms=now_ms,
            jitter=self._jitter(),
            reason=type(failure).__name__,
        )
        log.warning(
            "run %d of %s: attempt %d failed (%s), now %s",
            run.row_id,
            run.handler,
            run.attempt,
            place_of(failure),
            following.state,
            extra=run.log_ids | {"outcome": following.state, "duration_ms": round(took_s * 1000)},
        )
        error = describe(failure)

        def work(connection: Connection) -> None:
            if self._runs.fail(connection, run, following, error, now_ms):
                self._count_failure(connection, run, class_of(failure), now_ms)

        self._access.run(work)
        self._counters.run_ended(run.handler, following.state, took_s)

    def _count_failure(self, connection: Connection, run: Run, kind: str, now_ms: int) -> None:
        """Pause the handler if this is one object too many in a row."""
        if self._pause_after is None:
            return
        since_ms = now_ms - PAUSE_WINDOW_S * 1000
        count = self._runs.count_failing(connection, run, now_ms=now_ms, since_ms=since_ms)
        if count < self._pause_after:
            return
        reason = f"failed on {count} different objects in a row, last with {kind}"
        if self._runs.pause(connection, run.handler, reason, now_ms + PROBE_AFTER_S * 1000):
            log.error(
                "handler %s is paused: it %s. Its runs wait; the mirror and other handlers go on. "
                "It is tried again by itself, or with `hookline handlers resume`",
                run.handler,
                reason,
            )

    # -- threads -----------------------------------------------------------------------------------------------

    def _start_threads(self) -> list[threading.Thread]:
        inbox: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._inbox = inbox
        count = self._concurrency if len(self._registry) else 0
        threads = [
            threading.Thread(target=self._serve, args=(inbox,), name=f"hookline-run-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _serve(self, inbox: queue.SimpleQueue[Run | None]) -> None:
        try:
            with contextlib.closing(_Loop()) as loop:
                while (run := inbox.get()) is not None:
                    self._execute(run, loop)
        finally:
            self._access.end_thread()

    def _finish_runs(self) -> None:
        """Wait for the runs under way, and keep their leases meanwhile."""
        while True:
            self.wake.clear()
            with self._guard:
                if not self._in_flight:
                    return
            now_ms = self._clock.now_ms()
            with contextlib.suppress(StorageUnavailable):
                self._extend(now_ms)
            self._clock.wait_until(now_ms + HEARTBEAT_S * 1000, self.wake)


class _Loop:
    """One thread's event loop, for async handlers; made at the first of them."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, awaitable: Awaitable[Any]) -> None:
        if self._runner is None:
            self._runner = asyncio.Runner()
        # A runner keeps the context of its first run; each run has one of its own (`current_run`).
        self._runner.run(_awaited(awaitable), context=contextvars.copy_context())

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()


async def _awaited(awaitable: Awaitable[Any]) -> None:
    await awaitable


def _tell_entries(worked_on: Iterable[tuple[Claimed, Outcome]], now_ms: int) -> None:
    """A line for each entry: one that could not be applied waits for a person, one that is no event for its source; all
    others are for who looks closely.
    """
    tells_all = log.isEnabledFor(logging.DEBUG)
    for entry, outcome in worked_on:
        is_dead = outcome.outcome == "dead"
        if not tells_all and not is_dead:
            continue
        log.log(
            logging.DEBUG if not is_dead else logging.WARNING if outcome.reason in NO_EVENT else logging.ERROR,
            "entry %d cannot be applied and is set aside: %s" if is_dead else "entry %d: %s",
            entry.seq,
            outcome.reason if is_dead else outcome.outcome,
            extra={
                "event_id": shown_id(entry.event_id),
                "source": entry.source,
                "type": entry.type,
                "outcome": outcome.outcome,
                "reason": outcome.reason,
                "lag_ms": max(0, now_ms - entry.received_ms),
            },
        )


def _most_given_back(error: StorageError) -> int:
    return GIVE_BACKS_AS_CONFLICT if isinstance(error, Conflict) else GIVE_BACKS


def describe(error: BaseException) -> str:
    """A traceback for a dead letter: files, lines, code and classes, of all causes.

    Without the messages of exceptions and without locals: both may hold what was in the payload. Only messages of
    Hookline's own errors are given, which never do.
    """
    parts: list[str] = []
    one: BaseException | None = error
    while one is not None and len(parts) < MAX_CAUSES:
        frames = [frame for frame in traceback.extract_tb(one.__traceback__) if frame.filename != __file__]
        message = f": {one}" if isinstance(one, HooklineError) else ""
        head = "Traceback (most recent call last):\n" if frames else ""
        parts.append(f"{head}{''.join(traceback.format_list(frames))}{class_of(one)}{message}\n")
        one = one.__cause__ if one.__cause__ or one.__suppress_context__ else one.__context__
    return "\nwhich led to:\n\n".join(reversed(parts))[-MAX_ERROR:]
