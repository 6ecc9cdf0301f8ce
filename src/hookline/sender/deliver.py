"""The delivery loop: claim what is due, sign, send, decide, settle.

One loop per process, any number of processes per database. It leases nothing that it does not send at once, holds
no database connection while it waits for a stranger, and shares one transaction among all that ended meanwhile.
What an answer means, when the next try is and what state follows are decided in rules/; HTTP is spoken in http.py.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import heapq
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from hookline import __version__
from hookline.errors import StorageError
from hookline.rules.lifecycle import Next, Target, after_attempt, before_attempt
from hookline.rules.response import UNKNOWN, Outcome, Silence, judge, silence
from hookline.rules.schedule import PRODUCTION, STAGING, Schedule
from hookline.sender.counters import Counters
from hookline.sender.delivery_store import Claimed, DeliveryStore, Discovery, Settlement
from hookline.sender.http import CONNECT_TIMEOUT_S, TOTAL_TIMEOUT_S, Answer, ErrorCode, Headers, Request
from hookline.sender.model import Attempt
from hookline.wire.signature import HEADER, sign

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.http import Exchange
    from hookline.sender.model import Environment
    from hookline.sender.store import SenderStore
    from hookline.storage import Connection, Database

log = logging.getLogger("hookline.sender")

CHANNEL: Final = "deliveries"
USER_AGENT: Final = f"Hookline/{__version__}"
# How long the loop may believe that nothing happened (DESIGN 4: with notify lost it still proceeds).
DISCOVERY_MS: Final = 5_000
# Discoveries asked for by news take at most this part of the time.
DISCOVERY_SHARE: Final = 0.1
# A lease outlives the longest attempt by this much: time to settle, with a database away for a while.
LEASE_MARGIN_S: Final = 15.0
LAPSED_AT_ONCE: Final = 200
BACKOFF_FIRST_MS: Final = 100
BACKOFF_LAST_MS: Final = 5_000

SCHEDULES: Final[Mapping[str, Schedule]] = {"production": PRODUCTION, "staging": STAGING}
# Of a signature so many digits are kept: enough to tell two apart, too few to use.
DIGITS_KEPT: Final = 8
# Header values that evidence must not keep; names in lower case.
MASKED: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"})

_SILENCES: Final[Mapping[ErrorCode, Silence]] = {
    "bad_url": "refused_address",
    "address_refused": "refused_address",
    "dns": "dns",
    "connect_refused": "connect",
    "connect_timeout": "connect_timeout",
    "connect_failed": "connect",
    "tls": "tls",
    "timeout": "timeout",
    "reset": "reset",
    "closed": "reset",
    "headers_too_large": "protocol",
    "protocol": "protocol",
    "local": "connect",
}

# Why an endpoint's URL must not be called now, or None. Asked before each attempt: settings change after registration.
RefuseUrl: TypeAlias = Callable[["Environment", str], str | None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is under way at once.

    Attributes:
        in_flight: attempts of this process in all.
        window: attempts of one endpoint that has shown that it answers.
        first_window: attempts of one that has not (yet, or not lately).
        unproven: attempts of all those together, so that dead endpoints cannot take every slot.
    """

    in_flight: int = 500
    window: int = 10
    first_window: int = 2
    unproven: int = 250


@dataclass(frozen=True, slots=True)
class _Finished:
    """An attempt that ended, or was found to have ended, and what it came to."""

    claimed: Claimed
    outcome: Outcome
    ended_ms: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class _Cycle:
    """What one transaction did."""

    claimed: Sequence[Claimed] = ()
    short: Mapping[int, int | None] = field(default_factory=dict)
    settled: Sequence[Settlement] = ()
    reclaimed: int = 0
    overtaken: int = 0


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
        refuse_url: asked before each attempt.
        connect_timeout_s, total_timeout_s: of one attempt.
        drain_timeout_s: how long a stop waits for attempts under way; by default as long as one may take.
        counters: what is counted here.
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
        limits: Limits = Limits(),
        refuse_url: RefuseUrl | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        drain_timeout_s: float | None = None,
        counters: Counters | None = None,
        note_job: Callable[[int], None] | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._verbs = DeliveryStore(database.dialect)
        self._exchange = exchange
        self._clock = clock
        self._decrypt = decrypt
        self._jitter = jitter
        self._schedules = schedules
        self._limits = limits
        self._refuse_url = refuse_url
        self._note_job = note_job
        self._connect_timeout_s = connect_timeout_s
        self._total_timeout_s = total_timeout_s
        self._drain_timeout_s = total_timeout_s + 5 if drain_timeout_s is None else drain_timeout_s
        self._counters = counters if counters is not None else Counters()
        # Endpoints believed to have due work, least recently claimed first.
        self._ready: dict[int, None] = {}
        # When the others' next delivery is due: the earliest known, and a heap over it (stale entries are skipped).
        self._due: dict[int, int] = {}
        self._due_heap: list[tuple[int, int]] = []
        self._in_flight: dict[int, int] = {}
        # What endpoints showed last: an answer, or silence and overload. One in neither has not been tried.
        self._proven: set[int] = set()
        self._failing: set[int] = set()
        self._attempts: dict[int, asyncio.Task[None]] = {}
        self._finished: list[_Finished] = []
        self._secrets: dict[int, tuple[str, str]] = {}
        self._own_schedules: dict[str, Schedule] = {}
        self._wake = asyncio.Event()
        self._discover_at_ms: int | None = None
        self._has_news = False
        self._is_quiet = False
        self._has_lapsed = False
        self._has_unfed = False

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
            left = list(self._attempts.values())
            for task in left:
                task.cancel()
            await asyncio.gather(stopping, *left, return_exceptions=True)
            executor.shutdown()
            lost = len(left) + len(self._finished)
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
                drain_until = now + self._drain_timeout_s if drain_until is None else drain_until
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
        if not is_draining and self._is_discovery_due(now_ms):
            # News from here on may be of what this look does not see.
            self._has_news = False
            self._discover_at_ms = now_ms
            self._take_discovery(await loop.run_in_executor(executor, self._discover), now_ms)
        self._promote(now_ms)
        slots = {} if is_draining else self._free_slots()
        reclaim = self._has_lapsed and not is_draining
        finished, self._finished = self._finished, []
        if not (finished or slots or reclaim or self._has_unfed):
            return False
        # An attempt of ours still under way is not lost, whatever its lease says (a machine that slept).
        mine = frozenset(self._attempts) if reclaim else frozenset()
        try:
            cycle = await loop.run_in_executor(executor, self._transact, finished, slots, mine if reclaim else None)
        except StorageError:
            self._finished = finished + self._finished
            raise
        except Exception:
            # One delivery's row must not hold up the others for ever: each gets a transaction of its own.
            if not finished and not reclaim:
                raise
            log.exception("deliveries: settling %d attempts together failed, settling them one by one", len(finished))
            if reclaim:
                self._has_lapsed = False  # until the next discovery
                with contextlib.suppress(StorageError):
                    finished += await loop.run_in_executor(executor, self._read_lapsed, mine)
            await self._settle_singly(executor, finished)
            return True
        self._take(cycle, slots, reclaim=reclaim)
        return True

    async def _settle_singly(self, executor: ThreadPoolExecutor, finished: Sequence[_Finished]) -> None:
        loop = asyncio.get_running_loop()
        for position, one in enumerate(finished):
            try:
                cycle = await loop.run_in_executor(executor, self._transact, [one], {}, None)
            except StorageError:
                self._finished = [*finished[position:], *self._finished]
                raise
            except Exception:
                log.exception(
                    "deliveries: attempt %d of %s cannot be recorded",
                    one.attempt.number,
                    one.claimed.id,
                    extra=_log_ids(one.claimed),
                )
            else:
                self._take(cycle, {}, reclaim=False)

    async def _back_off(self, failures: int, stop: asyncio.Event, *, is_draining: bool) -> None:
        delay_ms = min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS << min(failures - 1, 10))
        if is_draining:
            await asyncio.sleep(delay_ms / 1000)
        else:
            # News of more work must not hammer a database that is away; a stop ends the wait.
            until_ms = self._clock.now_ms() + delay_ms
            while not stop.is_set() and self._clock.now_ms() < until_ms:
                self._wake.clear()
                if not stop.is_set():
                    await self._clock.sleep_until(until_ms, self._wake)

    async def _wake_at_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    # -- which endpoints ---------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Something was committed: by whom and for which endpoint is found out by a discovery."""
        self._has_news = True
        self._wake.set()

    def _is_discovery_due(self, now_ms: int) -> bool:
        if self._discover_at_ms is None or now_ms >= self._discover_at_ms:
            return True
        return self._has_news and not self._is_quiet

    def _end_quiet(self) -> None:
        self._is_quiet = False
        if self._has_news:
            self._wake.set()

    def _discover(self) -> tuple[Discovery, float]:
        started = time.perf_counter()
        with self._database.read() as connection:
            return self._verbs.discover(connection), time.perf_counter() - started

    def _take_discovery(self, found: tuple[Discovery, float], asked_ms: int) -> None:
        discovery, took_s = found
        self._discover_at_ms = asked_ms + DISCOVERY_MS
        self._is_quiet = True
        asyncio.get_running_loop().call_later(took_s * (1 / DISCOVERY_SHARE - 1), self._end_quiet)
        for endpoint_row, due_ms in discovery.endpoints:
            self._note_due(endpoint_row, due_ms)
        self._has_lapsed = discovery.lease_ms is not None and discovery.lease_ms <= asked_ms
        self._has_unfed = discovery.has_unfed
        if discovery.job_ms is not None and self._note_job is not None:
            self._note_job(discovery.job_ms)

    def _note_due(self, endpoint_row: int, due_ms: int) -> None:
        known = self._due.get(endpoint_row)
        if endpoint_row not in self._ready and (known is None or due_ms < known):
            self._due[endpoint_row] = due_ms
            heapq.heappush(self._due_heap, (due_ms, endpoint_row))
            if len(self._due_heap) > 2 * len(self._due) + 64:
                # Stale entries may lie days ahead: they must not pile up until then.
                self._due_heap = [(due_ms, endpoint_row) for endpoint_row, due_ms in self._due.items()]
                heapq.heapify(self._due_heap)

    def _promote(self, now_ms: int) -> None:
        """Endpoints whose time has come are ready."""
        heap = self._due_heap
        while heap and heap[0][0] <= now_ms:
            due_ms, endpoint_row = heapq.heappop(heap)
            if self._due.get(endpoint_row) == due_ms:
                del self._due[endpoint_row]
                self._ready[endpoint_row] = None

    def _next_ms(self) -> int | None:
        """When there is something to do without being woken."""
        heap = self._due_heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        if not heap:
            return self._discover_at_ms
        return heap[0][0] if self._discover_at_ms is None else min(heap[0][0], self._discover_at_ms)

    def _free_slots(self) -> dict[int, int]:
        """How many deliveries to claim of which endpoint: fewest in flight first, unproven ones under their cap.

        Among equals those that failed lately come last, so that a new endpoint gets the next slot that dead ones free.
        """
        limits = self._limits
        room = limits.in_flight - len(self._attempts)
        if room <= 0 or not self._ready:
            return {}
        unproven_room = limits.unproven - sum(
            count for endpoint_row, count in self._in_flight.items() if endpoint_row not in self._proven
        )
        slots: dict[int, int] = {}
        for endpoint_row in sorted(self._ready, key=lambda row: (self._in_flight.get(row, 0), row in self._failing)):
            is_proven = endpoint_row in self._proven
            window = limits.window if is_proven else limits.first_window
            free = min(window - self._in_flight.get(endpoint_row, 0), room)
            if not is_proven:
                free = min(free, unproven_room)
            if free <= 0:
                continue
            slots[endpoint_row] = free
            room -= free
            if not is_proven:
                unproven_room -= free
            if room <= 0:
                break
        return slots

    def _take(self, cycle: _Cycle, slots: Mapping[int, int], *, reclaim: bool) -> None:
        """Act on what a transaction did: start attempts, and note which endpoints have more."""
        for endpoint_row in slots:
            # Claimed last, so named last among equals.
            self._ready.pop(endpoint_row, None)
            if endpoint_row not in cycle.short:
                self._ready[endpoint_row] = None
        for endpoint_row, due_ms in cycle.short.items():
            if due_ms is not None:
                self._note_due(endpoint_row, due_ms)
        for settlement in cycle.settled:
            if settlement.next.due_ms is not None:
                self._note_due(settlement.claimed.endpoint_row, settlement.next.due_ms)
        self._has_unfed = False
        if reclaim:
            self._has_lapsed = cycle.reclaimed >= LAPSED_AT_ONCE
        for claimed in cycle.claimed:
            row = claimed.endpoint_row
            self._in_flight[row] = self._in_flight.get(row, 0) + 1
            self._attempts[claimed.row_id] = asyncio.create_task(self._attempt(claimed))
        self._count(cycle)

    def _count(self, cycle: _Cycle) -> None:
        counters = self._counters
        counters.in_flight, counters.in_flight_limit = len(self._attempts), self._limits.in_flight
        counters.ready, counters.proven, counters.failing = len(self._ready), len(self._proven), len(self._failing)
        for settlement in cycle.settled:
            counters.settled(settlement.claimed.environment, settlement.next)
        if cycle.settled:
            counters.settles.add(len(cycle.settled))
        if cycle.claimed:
            counters.claims.add(len(cycle.claimed))
        counters.lapsed += cycle.reclaimed
        counters.overtaken += cycle.overtaken

    # -- one attempt -------------------------------------------------------------------------------------------

    async def _attempt(self, claimed: Claimed) -> None:
        try:
            finished = await self._send(claimed)
        finally:
            del self._attempts[claimed.row_id]
            left = self._in_flight[claimed.endpoint_row] - 1
            if left:
                self._in_flight[claimed.endpoint_row] = left
            else:
                del self._in_flight[claimed.endpoint_row]
        if finished.outcome.status is None or finished.outcome.is_overload:
            self._proven.discard(claimed.endpoint_row)
            self._failing.add(claimed.endpoint_row)
        else:
            self._failing.discard(claimed.endpoint_row)
            self._proven.add(claimed.endpoint_row)
        self._finished.append(finished)
        self._wake.set()

    async def _send(self, claimed: Claimed) -> _Finished:
        started_ms = self._clock.now_ms()
        answer: Answer | None = None
        headers: Headers = ()
        try:
            refused = self._refuse_url(claimed.environment, claimed.url) if self._refuse_url is not None else None
            detail: str | None
            if refused is not None:
                outcome, detail = silence("refused_address"), refused
            else:
                signature = sign(claimed.body, self._secret(claimed), timestamp_ms=started_ms)
                headers = (("Content-Type", "application/json"), ("User-Agent", USER_AGENT), (HEADER, signature))
                answer = await self._exchange.send(
                    Request(claimed.url, headers, claimed.body, self._connect_timeout_s, self._total_timeout_s)
                )
                outcome, detail = _judge(answer, self._clock.now_ms()), answer.detail
        except Exception as error:
            # Ours, not the stranger's: a secret that does not open, a fault in an exchange. The others go on.
            log.exception(
                "deliveries: attempt %d of %s could not be made", claimed.attempt, claimed.id, extra=_log_ids(claimed)
            )
            outcome, detail = silence("connect"), f"the attempt could not be made: {type(error).__name__}"
        ended_ms = self._clock.now_ms()
        duration_ms = round(answer.timings.total_ms) if answer is not None else ended_ms - started_ms
        self._counters.attempt_ended(
            claimed.environment, claimed.kind, outcome, duration_ms, answer.timings if answer is not None else None
        )
        _log_attempt(claimed, outcome, duration_ms)
        attempt = Attempt(
            delivery_row=claimed.row_id,
            number=claimed.attempt,
            kind=claimed.kind,
            outcome=outcome.kind,
            reason=outcome.reason,
            status=outcome.status,
            started_ms=started_ms,
            duration_ms=duration_ms,
            evidence=_evidence(claimed, headers, answer, detail),
        )
        return _Finished(claimed, outcome, ended_ms, attempt)

    def _secret(self, claimed: Claimed) -> str:
        known = self._secrets.get(claimed.endpoint_row)
        if known is None or known[0] != claimed.secret_enc:
            known = (claimed.secret_enc, self._decrypt(claimed.secret_enc))
            self._secrets[claimed.endpoint_row] = known
        return known[1]

    # -- one transaction (runs in the executor's thread) ---------------------------------------------------------

    def _transact(
        self, finished: Sequence[_Finished], slots: Mapping[int, int], mine: Collection[int] | None
    ) -> _Cycle:
        """Settle what ended, take over what lapsed (unless `mine` is None), claim anew: one commit."""

        def work(connection: Connection) -> _Cycle:
            now_ms = self._clock.now_ms()
            settled = self._settle(connection, finished, now_ms) if finished else []
            overtaken = len(finished) - len(settled)
            lapsed = self._lapsed(connection, mine, now_ms) if mine is not None else []
            settled += self._settle(connection, lapsed, now_ms) if lapsed else []
            # What an app published in its own transaction enters the feed before its first attempt.
            self._store.feed_missing(connection)
            claimed, short, late = self._claim(connection, slots, now_ms) if slots else ([], {}, [])
            return _Cycle(claimed, short, [*settled, *late], len(lapsed), overtaken)

        return self._database.run(work)

    def _read_lapsed(self, mine: Collection[int]) -> list[_Finished]:
        with self._database.read() as connection:
            return self._lapsed(connection, mine, self._clock.now_ms())

    def _lapsed(self, connection: Connection, mine: Collection[int], now_ms: int) -> list[_Finished]:
        lapsed = self._verbs.lapsed(connection, now_ms=now_ms, limit=LAPSED_AT_ONCE + len(mine))
        return [_lost(claimed, now_ms) for claimed in lapsed if claimed.row_id not in mine]

    def _claim(
        self, connection: Connection, slots: Mapping[int, int], now_ms: int
    ) -> tuple[list[Claimed], dict[int, int | None], list[Settlement]]:
        """What to send now, when the endpoints that gave less than asked have more, and what came too late."""
        lease_ms = round((self._total_timeout_s + LEASE_MARGIN_S) * 1000)
        claimed = self._verbs.claim(connection, slots, now_ms=now_ms, leased_until_ms=now_ms + lease_ms)
        got: dict[int, int] = {}
        sent: list[Claimed] = []
        late: list[Settlement] = []
        for one in claimed:
            got[one.endpoint_row] = got.get(one.endpoint_row, 0) + 1
            too_late = before_attempt(
                self._schedule(one),
                kind=one.kind,
                slots_used=one.slots_used,
                unknown_attempts=one.unknown_attempts,
                first_ms=one.first_ms,
                now_ms=now_ms,
            )
            if too_late is None:
                sent.append(one)
            else:
                late.append(Settlement(one, too_late, one.attempt - 1))
        if late:
            self._verbs.settle(connection, late, now_ms=now_ms)
        short = [endpoint_row for endpoint_row, asked in slots.items() if got.get(endpoint_row, 0) < asked]
        next_due = self._verbs.next_due(connection, short) if short else {}
        return sent, {endpoint_row: next_due.get(endpoint_row) for endpoint_row in short}, late

    def _settle(self, connection: Connection, finished: Sequence[_Finished], now_ms: int) -> list[Settlement]:
        """Decide and store; gives what was stored: all but what others had taken over."""
        targets = self._verbs.targets(connection, {one.claimed.endpoint_row for one in finished})
        for one in finished:
            if one.outcome.kind == "gone":
                self._turn_off(connection, one.claimed, targets, now_ms)
        settlements = [
            Settlement(
                one.claimed, self._decide(one, targets.get(one.claimed.endpoint_row, "open")), one.attempt.number
            )
            for one in finished
        ]
        moved = self._verbs.settle(connection, settlements, now_ms=now_ms)
        self._verbs.record(connection, [one.attempt for one in finished if one.claimed.row_id in moved])
        if len(moved) < len(finished):
            log.info("deliveries: %d attempts ended after others had taken them over", len(finished) - len(moved))
        return [settlement for settlement in settlements if settlement.claimed.row_id in moved]

    def _turn_off(self, connection: Connection, claimed: Claimed, targets: dict[int, Target], now_ms: int) -> None:
        if self._verbs.turn_off_gone(connection, claimed.endpoint_row, now_ms=now_ms):
            held = self._store.hold(connection, claimed.endpoint_row, reason="endpoint_gone", now_ms=now_ms)
            log.warning(
                "endpoint %s answered 410 Gone: disabled, %d deliveries held",
                claimed.endpoint_id,
                held,
                extra=_log_ids(claimed),
            )
        targets.setdefault(claimed.endpoint_row, "holding")

    def _decide(self, one: _Finished, target: Target) -> Next:
        claimed = one.claimed
        return after_attempt(
            one.outcome,
            self._schedule(claimed),
            kind=claimed.kind,
            slots_used=claimed.slots_used,
            unknown_attempts=claimed.unknown_attempts,
            first_ms=claimed.first_ms,
            started_ms=one.attempt.started_ms,
            now_ms=one.ended_ms,
            jitter=self._jitter(),
            planned_ms=claimed.planned_ms,
            target=target,
        )

    def _schedule(self, claimed: Claimed) -> Schedule:
        if claimed.schedule is None:
            return self._schedules[claimed.environment]
        known = self._own_schedules.get(claimed.schedule)
        if known is None:
            try:
                known = Schedule.from_gaps(tuple(json.loads(claimed.schedule)))
            except (ValueError, TypeError) as error:
                log.warning("endpoint %s has a schedule that cannot be used: %s", claimed.endpoint_id, error)
                known = self._schedules[claimed.environment]
            self._own_schedules[claimed.schedule] = known
        return known


def _judge(answer: Answer, now_ms: int) -> Outcome:
    if answer.status is None:
        return silence(_SILENCES[answer.error or "local"])
    retry_after = next((value for name, value in answer.headers if name.lower() == "retry-after"), None)
    return judge(answer.status, retry_after=retry_after, now_ms=now_ms)


def _log_ids(claimed: Claimed) -> dict[str, object]:
    return {
        "event_id": claimed.event_id,
        "delivery_id": claimed.id,
        "endpoint_id": claimed.endpoint_id,
        "attempt": claimed.attempt,
    }


def _log_attempt(claimed: Claimed, outcome: Outcome, duration_ms: int) -> None:
    """A line per attempt that failed; per success only where debug is asked for: there are thousands a second."""
    level = logging.DEBUG if outcome.kind == "succeeded" else logging.INFO
    if log.isEnabledFor(level):
        log.log(
            level,
            "delivery %s of event %s: attempt %d %s (%s) in %d ms",
            claimed.id,
            claimed.event_id,
            claimed.attempt,
            outcome.kind,
            outcome.reason,
            duration_ms,
            extra=_log_ids(claimed)
            | {"outcome": outcome.kind, "reason": outcome.reason, "status": outcome.status, "duration_ms": duration_ms},
        )


def _lost(claimed: Claimed, now_ms: int) -> _Finished:
    """The attempt of a delivery whose lease has passed: it may have reached the endpoint, or not."""
    attempt = Attempt(
        delivery_row=claimed.row_id,
        number=claimed.attempt,
        kind=claimed.kind,
        outcome="unknown",
        reason=UNKNOWN.reason,
        status=None,
        started_ms=claimed.claimed_ms,
        duration_ms=None,
        evidence=_evidence(claimed, (), None, "its sender stopped before the end of this attempt was recorded"),
    )
    return _Finished(claimed, UNKNOWN, now_ms, attempt)


def _evidence(claimed: Claimed, headers: Headers, answer: Answer | None, detail: str | None) -> str:
    """An attempt's evidence as JSON text: no secret, no whole digest; bytes that are no text in base 64."""
    evidence: dict[str, Any] = {
        "url": claimed.url,
        "endpoint_version": claimed.endpoint_version,
        "request": {"headers": _masked(answer.sent_headers if answer and answer.sent_headers else headers)},
    }
    if detail is not None:
        evidence["detail"] = detail
    if answer is not None:
        evidence["address"] = answer.address
        evidence["tls"] = answer.tls
        evidence["reused"] = answer.reused
        evidence["redone"] = answer.redone
        evidence["timings"] = answer.timings
        if answer.status is None:
            evidence["error"] = answer.error
        else:
            evidence["answer"] = {
                "headers": _masked(answer.headers),
                **_text_or_base64(answer.body, is_whole=answer.body_bytes == len(answer.body)),
                "body_bytes": answer.body_bytes,
                "body_end": answer.body_end,
            }
    return msgspec.json.encode(evidence).decode()


def _masked(headers: Headers) -> list[tuple[str, str]]:
    shown = []
    for name, value in headers:
        lower = name.lower()
        if lower == HEADER.lower():
            before, v1, whole = value.partition("v1=")
            shown.append((name, f"{before}{v1}{whole[:DIGITS_KEPT]}…"))
        else:
            shown.append((name, "…" if lower in MASKED else value))
    return shown


def _text_or_base64(body: bytes, *, is_whole: bool) -> dict[str, str]:
    try:
        # A character cut in two at the end of an excerpt does not make it binary.
        return {"body": codecs.getincrementaldecoder("utf-8")().decode(body, is_whole)}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode("ascii")}
