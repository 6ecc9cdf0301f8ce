"""The delivery loop: claim what is due, sign, send, decide, settle.

One loop per process, any number of processes per database. It leases nothing that it does not send at once, holds
no database connection while it waits for a stranger, and shares one transaction among all that ended meanwhile. This
room holds the loop itself: its rounds, wake-ups and end. Which endpoints come next is kept in ready.py, an attempt is
made in attempt.py, a round's transaction is rounds.py; what anything means is decided in rules/.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from hookline.errors import StorageError
from hookline.rules.health import HealthPolicy
from hookline.sender.attempt import Attempter, Ended, Finished, RefuseUrl
from hookline.sender.claiming import SCHEDULES, Leases, Schedules
from hookline.sender.counters import Counters
from hookline.sender.delivery_store import Claimed, DeliveryStore, Discovery
from hookline.sender.http import CONNECT_TIMEOUT_S, TOTAL_TIMEOUT_S
from hookline.sender.ready import Limits, ReadySet
from hookline.sender.rounds import AHEAD_MS, CHANNEL, LAPSED_AT_ONCE, Cycle, Rounds, Tasks

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.rules.schedule import Schedule
    from hookline.sender.begun import GiveUp
    from hookline.sender.http import Exchange
    from hookline.sender.ids import IdMaker
    from hookline.sender.statistics import Statistics
    from hookline.sender.store import SenderStore
    from hookline.storage import Database

__all__ = ["CHANNEL", "SCHEDULES", "Deliverer", "Limits"]

log = logging.getLogger("hookline.sender")

# How long the loop may believe that nothing happened (DESIGN 4: with notify lost it still proceeds).
DISCOVERY_MS: Final = 5_000
# Discoveries asked for by news take at most this part of the time.
DISCOVERY_SHARE: Final = 0.1
# A lease outlives the longest attempt by this much: time to settle, with a database away for a while.
LEASE_MARGIN_S: Final = 15.0
DRAIN_MARGIN_S: Final = 5.0
BACKOFF_FIRST_MS: Final = 100
BACKOFF_LAST_MS: Final = 5_000

LIMITS: Final = Limits()
HEALTH: Final = HealthPolicy()


class Deliverer:
    """Delivers what is due until told to stop.

    Args:
        database: where deliveries wait.
        store: the sender's verbs; used for the feed and for holding what waits for a gone endpoint.
        exchange: how HTTP is spoken.
        clock: for due times, leases and signatures.
        decrypt: opens an endpoint's stored secret. Raises where it cannot.
        jitter: draws from -1 to 1, once per failed attempt.
        schedules: per environment; an endpoint's own (`schedule`, JSON list of gaps in seconds) comes first.
        limits: how much is under way at once.
        health: how long an endpoint may fail.
        ids: makes the ids of operational events; without it none are made.
        refuse_url: asked before an endpoint's first attempt and when it changes; what it says is kept.
        connect_timeout_s, total_timeout_s: of one attempt; an endpoint's own comes before the latter.
        lease_margin_s: how much longer than its attempt a claim lasts.
        drain_timeout_s: how long a stop waits for attempts under way; by default as long as those may take.
        counters: what is counted here.
        statistics: what is counted for pages; flushed between rounds, and once more at the end.
        note_job: told when the next job is due, by every discovery that finds one: so that jobs cost no looks of
            their own.
    """

    def __init__(
        self,
        database: Database,
        store: SenderStore,
        exchange: Exchange,
        *,
        clock: Clock,
        decrypt: Callable[[str], str],
        jitter: Callable[[], float],
        schedules: Mapping[str, Schedule] = SCHEDULES,
        limits: Limits = LIMITS,
        health: HealthPolicy = HEALTH,
        ids: IdMaker | None = None,
        refuse_url: RefuseUrl | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        lease_margin_s: float = LEASE_MARGIN_S,
        drain_timeout_s: float | None = None,
        counters: Counters | None = None,
        statistics: Statistics | None = None,
        note_job: Callable[[int], None] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._note_job = note_job
        self._limits = limits
        self._total_timeout_s = total_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self._counters = counters if counters is not None else Counters()
        self._statistics = statistics
        self._rounds = Rounds(
            database,
            store,
            DeliveryStore(database.dialect),
            clock=clock,
            jitter=jitter,
            schedules=schedules,
            health=health,
            leases=Leases(round(total_timeout_s * 1000), round(lease_margin_s * 1000)),
            ids=ids,
        )
        self._attempter = Attempter(
            exchange,
            clock=clock,
            decrypt=decrypt,
            schedule_of=Schedules(schedules).of,
            current_secrets=self._current_secrets,
            refuse_url=refuse_url,
            connect_timeout_s=connect_timeout_s,
            total_timeout_s=total_timeout_s,
        )
        self._ready = ReadySet(limits)
        # Under way: each with how to give it up, by the delivery's row.
        self._attempts: dict[int, tuple[Claimed, GiveUp]] = {}
        # Ended since the last round; and judged, but not yet recorded.
        self._ended: list[Ended] = []
        self._finished: list[Finished] = []
        self._wake = asyncio.Event()
        self._discovered_ms: int | None = None
        self._has_news = False
        self._is_quiet = False
        self._has_lapsed = False
        self._has_unfed = False
        self._has_old_secrets = False
        # At start, and when the clock is set back, what was written ahead of now is brought back.
        self._latest_ms: int | None = None
        self._come_back: Sequence[int] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, then let what is under way end, settle it and return. Called once.

        Cancelled, it drops everything as a dying process would: leases lapse and attempts are recorded as unknown.
        """
        loop = asyncio.get_running_loop()

        def heard() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed; nobody is there to wake
                loop.call_soon_threadsafe(self._hear)

        unsubscribe = self._database.subscribe(CHANNEL, heard)
        stopping = asyncio.create_task(self._wake_at_stop(stop))
        executor = ThreadPoolExecutor(1, thread_name_prefix="hookline-deliver")
        try:
            await self._loop(stop, executor)
        finally:
            unsubscribe()
            stopping.cancel()
            for _, give_up in self._attempts.values():
                give_up()
            await asyncio.gather(stopping, return_exceptions=True)
            if self._statistics is not None:
                executor.submit(self._flush_statistics, self._clock.now_ms())
            executor.shutdown()
            lost = len(self._attempts) + len(self._finished)
            if lost:
                log.warning("stopped with %d attempts unrecorded: after their leases they are made again", lost)

    # -- the loop ----------------------------------------------------------------------------------------------

    async def _loop(self, stop: asyncio.Event, executor: ThreadPoolExecutor) -> None:
        failures = 0
        drain_until: float | None = None
        while True:
            self._wake.clear()
            if stop.is_set():
                now = asyncio.get_running_loop().time()
                drain_until = now + self._drain_s() if drain_until is None else drain_until
                if now >= drain_until or not (self._attempts or self._finished):
                    return
            is_draining = drain_until is not None
            try:
                is_busy = await self._step(executor, is_draining=is_draining)
            except StorageError as error:
                self._counters.database_errors["deliver"] += 1
                if not failures:
                    log.warning("deliveries: the database is not available, trying again: %s", error)
                failures += 1
                await self._back_off(failures, stop, is_draining=is_draining)
                continue
            except Exception:
                if not failures:
                    log.exception("deliveries: a step failed, trying again")
                failures += 1
                await self._back_off(failures, stop, is_draining=is_draining)
                continue
            if failures:
                log.info("deliveries: working again after %d failed steps", failures)
                failures = 0
            if is_busy:
                continue
            if drain_until is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(drain_until):
                        await self._wake.wait()
            else:
                await self._clock.sleep_until(self._next_ms(), self._wake)

    async def _step(self, executor: ThreadPoolExecutor, *, is_draining: bool) -> bool:
        """One round; False where there was nothing to do."""
        loop = asyncio.get_running_loop()
        now_ms = self._counters.heartbeat_ms = self._clock.now_ms()
        self._notice_time(now_ms)
        self._judge_ended()
        if not is_draining and self._is_discovery_due(now_ms):
            # News from here on may be of what this look does not see.
            self._has_news = False
            self._discovered_ms = now_ms
            self._take_discovery(await loop.run_in_executor(executor, self._discover), now_ms)
        self._ready.promote(now_ms)
        slots = {} if is_draining else self._ready.free_slots()
        tasks = Tasks() if is_draining else self._tasks()
        finished, self._finished = self._finished, []
        if self._statistics is not None and self._statistics.is_due(now_ms):
            await loop.run_in_executor(executor, self._flush_statistics, now_ms)
        if not (finished or slots or tasks):
            return False
        try:
            cycle = await loop.run_in_executor(executor, self._rounds.transact, finished, slots, tasks)
        except StorageError:
            self._finished = finished + self._finished
            raise
        except Exception:
            # One delivery's row must not hold up the others for ever: each gets a transaction of its own.
            if not finished and tasks.mine is None:
                raise
            log.exception("deliveries: settling %d attempts together failed, settling them one by one", len(finished))
            if tasks.mine is not None:
                self._has_lapsed = False  # until the next discovery
                with contextlib.suppress(StorageError):
                    finished += await loop.run_in_executor(executor, self._rounds.read_lapsed, tasks.mine)
            await self._settle_singly(executor, finished)
            return True
        self._take(cycle, slots, tasks)
        return True

    async def _settle_singly(self, executor: ThreadPoolExecutor, finished: Sequence[Finished]) -> None:
        loop = asyncio.get_running_loop()
        for position, one in enumerate(finished):
            try:
                cycle = await loop.run_in_executor(executor, self._rounds.transact, [one], {}, Tasks())
            except StorageError:
                self._finished = [*finished[position:], *self._finished]
                raise
            except Exception:
                log.exception(
                    "deliveries: attempt %d of %s cannot be recorded",
                    one.number,
                    one.claimed.id,
                    extra=one.claimed.log_ids,
                )
            else:
                self._take(cycle, {}, Tasks())

    async def _back_off(self, failures: int, stop: asyncio.Event, *, is_draining: bool) -> None:
        delay_ms = min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS << min(failures - 1, 10))
        if is_draining:
            await asyncio.sleep(delay_ms / 1000)
        else:
            # News of more work must not hammer a database that is away; a stop ends the wait, and so does a clock that
            # is set back.
            from_ms = self._clock.now_ms()
            while not stop.is_set() and from_ms <= self._clock.now_ms() < from_ms + delay_ms:
                self._wake.clear()
                if not stop.is_set():
                    await self._clock.sleep_until(from_ms + delay_ms, self._wake)

    async def _wake_at_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    def _drain_s(self) -> float:
        if self._drain_timeout_s is not None:
            return self._drain_timeout_s
        longest_s = self._total_timeout_s
        for claimed, _ in self._attempts.values():
            endpoint = claimed.endpoint
            timeout_s = self._total_timeout_s if endpoint.timeout_ms is None else endpoint.timeout_ms / 1000
            longest_s = max(longest_s, timeout_s * (1 if endpoint.old_secret_enc is None else 2))
        return longest_s + DRAIN_MARGIN_S

    # -- what there is to do -------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Something was committed: by whom and for which endpoint is found out by a discovery."""
        self._has_news = True
        self._wake.set()

    def _notice_time(self, now_ms: int) -> None:
        """A clock that was set back by more than a moment leaves everything to be found anew."""
        if self._latest_ms is None or now_ms < self._latest_ms - AHEAD_MS:
            self._come_back = ()
            self._discovered_ms = None
            self._ready.forget_times()
            self._latest_ms = now_ms
        self._latest_ms = max(self._latest_ms, now_ms)

    def _is_discovery_due(self, now_ms: int) -> bool:
        if self._discovered_ms is None or not self._discovered_ms <= now_ms < self._discovered_ms + DISCOVERY_MS:
            return True
        return self._has_news and not self._is_quiet

    def _end_quiet(self) -> None:
        self._is_quiet = False
        if self._has_news:
            self._wake.set()

    def _discover(self) -> tuple[Discovery, float]:
        started = time.perf_counter()
        return self._rounds.discover(), time.perf_counter() - started

    def _take_discovery(self, found: tuple[Discovery, float], asked_ms: int) -> None:
        discovery, took_s = found
        self._is_quiet = True
        asyncio.get_running_loop().call_later(took_s * (1 / DISCOVERY_SHARE - 1), self._end_quiet)
        for endpoint_row, due_ms, is_failing in discovery.endpoints:
            self._ready.note_due(endpoint_row, due_ms, is_failing=is_failing)
        if self._come_back is not None:
            self._come_back = [endpoint_row for endpoint_row, due_ms, _ in discovery.endpoints if due_ms > asked_ms]
        self._has_lapsed = discovery.lease_ms is not None and discovery.lease_ms <= asked_ms
        self._has_old_secrets = discovery.overlap_ms is not None and discovery.overlap_ms <= asked_ms
        self._has_unfed = discovery.has_unfed
        if discovery.job_ms is not None and self._note_job is not None:
            self._note_job(discovery.job_ms)

    def _tasks(self) -> Tasks:
        return Tasks(
            # An attempt of ours still under way is not lost, whatever its lease says (a machine that slept).
            mine=frozenset(self._attempts) if self._has_lapsed else None,
            come_back=self._come_back,
            has_unfed=self._has_unfed,
            has_old_secrets=self._has_old_secrets,
        )

    def _next_ms(self) -> int | None:
        """When there is something to do without being woken."""
        next_ms = self._ready.next_ms()
        if self._discovered_ms is None:
            return next_ms
        discover_at_ms = self._discovered_ms + DISCOVERY_MS
        return discover_at_ms if next_ms is None else min(next_ms, discover_at_ms)

    # -- what was done -------------------------------------------------------------------------------------------

    def _take(self, cycle: Cycle, slots: Mapping[int, int], tasks: Tasks) -> None:
        """Act on what a transaction did: start attempts, and note which endpoints have more."""
        claim = cycle.claim
        self._ready.claimed(slots, claim.due, claim.waits)
        for settlement in cycle.settled:
            if settlement.next.due_ms is not None:
                self._ready.note_due(settlement.claimed.endpoint.row_id, settlement.next.due_ms)
        for endpoint_row in cycle.reopened:
            self._ready.look_at(endpoint_row, self._clock.now_ms())
        self._has_unfed = False
        if tasks.has_old_secrets:
            self._has_old_secrets = False
        if tasks.mine is not None:
            self._has_lapsed = cycle.reclaimed >= LAPSED_AT_ONCE
        if tasks.come_back is not None:
            self._come_back = None
            if cycle.moved:
                self._ready.forget_times()
                self._discovered_ms = None
        for endpoint_row, count in Counter([one.endpoint.row_id for one in claim.sent]).items():
            self._ready.begin(endpoint_row, count)
        for claimed in claim.sent:
            self._attempts[claimed.row_id] = (claimed, self._attempter.begin(claimed, self._note_end))
        self._count(cycle)

    def _count(self, cycle: Cycle) -> None:
        counters, ready = self._counters, self._ready
        counters.in_flight, counters.in_flight_limit = len(self._attempts), self._limits.in_flight
        counters.ready, counters.proven, counters.failing = ready.ready, ready.proven, ready.failing
        if cycle.settled:
            counters.settled(
                (one.claimed.endpoint.environment, one.next.state, one.next.reason) for one in cycle.settled
            )
            counters.settles.add(len(cycle.settled))
            if self._statistics is not None:
                self._statistics.settled(cycle.settled, now_ms=self._clock.now_ms())
        if cycle.claim.sent:
            counters.claims.add(len(cycle.claim.sent))
        counters.lapsed += cycle.reclaimed
        counters.overtaken += cycle.overtaken

    def _note_end(self, ended: Ended) -> None:
        """Called from within a connection, thousands of times a second: what it means waits for the next round."""
        self._ended.append(ended)
        self._wake.set()

    def _judge_ended(self) -> None:
        if not self._ended:
            return
        ended, self._ended = self._ended, []
        finished = self._attempter.judged(ended)
        for one in finished:
            del self._attempts[one.claimed.row_id]
            self._ready.end(one.endpoint_row, None if one.is_ours else one.outcome, one.latency_ms)
        self._counters.attempts_ended(
            (one.claimed.endpoint.environment, attempt, timings)
            for one in finished
            for attempt, timings in zip(one.attempts, one.timings, strict=True)
        )
        if self._statistics is not None:
            self._statistics.attempts_ended(finished, now_ms=self._clock.now_ms())
        self._finished += finished

    def _flush_statistics(self, now_ms: int) -> None:
        assert self._statistics is not None, "asked for where there are some"
        try:
            self._statistics.flush(now_ms)
        except StorageError as error:
            # What follows meets the same trouble and says so.
            log.debug("deliveries: the statistics are added later: %s", error)

    async def _current_secrets(self, endpoint_row: int) -> tuple[str, str | None] | None:
        return await asyncio.to_thread(self._rounds.secrets, endpoint_row)
