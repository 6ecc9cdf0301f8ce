"""One round's transaction: settle what ended, take over what lapsed, claim anew; one commit for all of it.

Runs in a thread beside the loop. What follows from an outcome is decided in rules/: the delivery's next state
(lifecycle), its endpoint's health (health). Here decisions are stored together with what caused them, and told
(operational.py) in the same commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from hookline.rules.health import Health, HealthPolicy, Result, Verdict, after_attempts
from hookline.rules.lifecycle import after_success
from hookline.rules.rate import taken
from hookline.sender.attempt import Finished, lost, next_of
from hookline.sender.claiming import Claim, Claims, Leases, Schedules
from hookline.sender.delivery_store import OPEN_AND_WELL, Claimed, Discovery, EndpointState, Settlement
from hookline.sender.listeners import CHANNEL as LISTENERS_CHANNEL
from hookline.sender.operational import Happening, delivery_failed, endpoint_disabled, endpoint_failing, tell

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.rules.lifecycle import Next
    from hookline.rules.rotation import Overlap
    from hookline.rules.schedule import Schedule
    from hookline.sender.delivery_store import DeliveryStore
    from hookline.sender.ids import IdMaker
    from hookline.sender.store import SenderStore
    from hookline.storage import Connection, Database

log = logging.getLogger("hookline.sender")

CHANNEL: Final = "deliveries"
LAPSED_AT_ONCE: Final = 200
# What was written so much later than now was written before the clock was set back.
AHEAD_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Tasks:
    """What a round is to do besides settling and claiming.

    Attributes:
        mine: the rows of attempts under way here, where lapsed leases are to be looked for; None: they are not.
        come_back: endpoints whose deliveries may have been written before the clock was set back; None: none.
        has_unfed: events published on an app's connection wait for their place in the feed.
        has_old_secrets: some overlap of two secrets is over.
    """

    mine: Collection[int] | None = None
    come_back: Collection[int] | None = None
    has_unfed: bool = False
    has_old_secrets: bool = False

    def __bool__(self) -> bool:
        return self != Tasks()


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one transaction did.

    Attributes:
        claim: what it took.
        settled: as they were stored: what ended, what lapsed, and what came too late to begin.
        reopened: endpoints whose trial went well.
        reclaimed: how many had lapsed. overtaken: how many had been taken over by others. moved: how many were brought
            back from ahead.
    """

    claim: Claim
    settled: Sequence[Settlement]
    reopened: Collection[int]
    reclaimed: int
    overtaken: int
    moved: int


@dataclass(slots=True)
class _Settled:
    """What a transaction has settled so far."""

    settlements: list[Settlement] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    reopened: set[int] = field(default_factory=set)


class Rounds:
    """The transactions of one delivery loop.

    Args:
        ids: for operational events; None tells nothing.
    """

    def __init__(
        self,
        database: Database,
        store: SenderStore,
        verbs: DeliveryStore,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        schedules: Mapping[str, Schedule],
        health: HealthPolicy,
        leases: Leases,
        ids: IdMaker | None,
    ) -> None:
        self._database = database
        self._store = store
        self._verbs = verbs
        self._clock = clock
        self._jitter = jitter
        self._schedules = Schedules(schedules)
        self._claims = Claims(verbs, self._schedules, leases)
        self._health = health
        self._leases = leases
        self._ids = ids

    def discover(self) -> Discovery:
        """What work there is; reads alone, but where deliveries wait that no job is closing yet."""
        with self._database.read() as connection:
            found = self._verbs.discover(connection)
        if not found.closed:
            return found
        now_ms = self._clock.now_ms()
        self._database.run(lambda connection: self._store.close_later(connection, found.closed, now_ms=now_ms))
        return replace(found, job_ms=now_ms if found.job_ms is None else min(found.job_ms, now_ms))

    def secrets(self, endpoint_row: int) -> tuple[str, str | None] | None:
        """The endpoint's secrets as they are now, newest first, sealed; None where it is deleted."""
        with self._database.read() as connection:
            return self._verbs.secrets(connection, endpoint_row)

    def transact(self, finished: Sequence[Finished], slots: Mapping[int, int], tasks: Tasks) -> Cycle:
        """One round. Raises what the database raises: then nothing of it was done."""
        told: list[bool] = []
        fed: list[int] = []

        def work(connection: Connection) -> Cycle:
            now_ms = self._clock.now_ms()
            moved = 0 if tasks.come_back is None else self._come_back(connection, tasks.come_back, now_ms)
            if tasks.has_old_secrets:
                self._verbs.drop_old_secrets(connection, now_ms=now_ms)
            done = _Settled()
            if finished:
                self._settle(connection, finished, done, now_ms)
            overtaken = len(finished) - len(done.settlements)
            lapsed = self._lapsed(connection, tasks.mine, now_ms) if tasks.mine is not None else []
            if lapsed:
                self._settle(connection, lapsed, done, now_ms)
            # What an app published in its own transaction enters the feed before its first attempt.
            fed[:] = [self._store.feed_missing(connection)]
            claim = self._claims.take(connection, slots, now_ms=now_ms) if slots else Claim()
            done.settlements += claim.late
            done.happenings += [
                delivery_failed(one.claimed, one.next, None, attempts=one.attempts_made, now_ms=now_ms)
                for one in claim.late
                if _is_worth_telling(one)
            ]
            told[:] = [self._tell(connection, done.happenings, now_ms)]
            return Cycle(claim, done.settlements, done.reopened, len(lapsed), overtaken, moved)

        cycle = self._database.run(work)
        if told[0]:
            self._database.notify(CHANNEL)
        if fed[0]:
            # Whoever reads the feed was woken, if at all, by the app's commit: too early.
            self._database.notify(LISTENERS_CHANNEL)
        return cycle

    def read_lapsed(self, mine: Collection[int]) -> list[Finished]:
        """Attempts whose lease has passed, but for `mine`."""
        with self._database.read() as connection:
            return self._lapsed(connection, mine, self._clock.now_ms())

    def _lapsed(self, connection: Connection, mine: Collection[int], now_ms: int) -> list[Finished]:
        lapsed = self._verbs.lapsed(connection, now_ms=now_ms, limit=LAPSED_AT_ONCE + len(mine))
        return [lost(claimed, now_ms) for claimed in lapsed if claimed.row_id not in mine]

    def _come_back(self, connection: Connection, endpoint_rows: Collection[int], now_ms: int) -> int:
        moved = self._verbs.come_back(
            connection,
            endpoint_rows,
            now_ms=now_ms,
            latest_ms=now_ms + AHEAD_MS,
            longest_ms=now_ms + self._leases.longest_ms,
        )
        if moved:
            log.warning("the clock was set back: %d deliveries wait from now as long as they were to wait", moved)
        return moved

    # -- settling --------------------------------------------------------------------------------------------------

    def _settle(self, connection: Connection, finished: Sequence[Finished], done: _Settled, now_ms: int) -> None:
        """Decide and store; adds to `done` what was stored: all but what others had taken over."""
        states = self._verbs.states(connection, {one.endpoint_row for one in finished})
        self._judge_health(connection, finished, states, done, now_ms)
        settlements = [
            Settlement(one.claimed, self._decide(one, states.get(one.endpoint_row, OPEN_AND_WELL)), one.number)
            for one in finished
        ]
        moved = self._verbs.settle(connection, settlements, now_ms=now_ms)
        self._verbs.record(
            connection, [attempt for one in finished if one.claimed.row_id in moved for attempt in one.attempts]
        )
        self._note_probes(connection, finished, now_ms)
        for one, settlement in zip(finished, settlements, strict=True):
            if one.claimed.row_id not in moved:
                continue
            done.settlements.append(settlement)
            if _is_worth_telling(settlement):
                done.happenings.append(
                    delivery_failed(one.claimed, settlement.next, one.outcome, attempts=one.number, now_ms=now_ms)
                )
        if len(moved) < len(finished):
            log.info("deliveries: %d attempts ended after others had taken them over", len(finished) - len(moved))

    def _judge_health(
        self,
        connection: Connection,
        finished: Sequence[Finished],
        states: dict[int, EndpointState],
        done: _Settled,
        now_ms: int,
    ) -> None:
        """Store what the attempts mean for their endpoints; where one was turned off, `states` says so afterwards."""
        # Of an endpoint that is well and only succeeded there is nothing to store.
        concerned = {one.endpoint_row for one in finished if one.outcome.kind != "succeeded"} | states.keys()
        by_endpoint: dict[int, list[Finished]] = {}
        for one in finished:
            if one.endpoint_row in concerned:
                by_endpoint.setdefault(one.endpoint_row, []).append(one)
        warnings: list[tuple[Claimed, Verdict]] = []
        failures: list[tuple[int, int, int]] = []
        recovered: list[int] = []
        undecided: list[int] = []
        for row, some in by_endpoint.items():
            state = states.get(row, OPEN_AND_WELL)
            if gone := next((one for one in some if one.outcome.kind == "gone"), None):
                self._turn_off(connection, gone.claimed, "gone", state.health, states, done, now_ms)
                continue
            results = [_result(one) for one in some if not one.is_ours]
            if not results:
                if state.health.is_half_open:
                    undecided.append(row)
                continue
            verdict = after_attempts(state.health, results, self._health, now_ms=now_ms)
            if verdict.recovered:
                recovered.append(row)
                if state.health.is_half_open:
                    done.reopened.add(row)
            if verdict.failures:
                failures.append((row, verdict.health.failing_since_ms or now_ms, verdict.failures))
            if verdict.warning is not None:
                warnings.append((some[-1].claimed, verdict))
            if verdict.disable:
                self._turn_off(connection, some[-1].claimed, "failing", verdict.health, states, done, now_ms)
        if recovered:
            self._verbs.recover(connection, recovered)
        if failures:
            self._verbs.add_failures(connection, failures)
        if undecided:
            self._verbs.end_trials(connection, undecided)
        for claimed, verdict in warnings:
            percent = verdict.warning or 0
            if self._verbs.warn(connection, claimed.endpoint.row_id, percent):
                done.happenings.append(endpoint_failing(claimed, verdict.health, percent, self._health))

    def _turn_off(
        self,
        connection: Connection,
        claimed: Claimed,
        reason: str,
        health: Health,
        states: dict[int, EndpointState],
        done: _Settled,
        now_ms: int,
    ) -> None:
        row = claimed.endpoint.row_id
        state = states.get(row, OPEN_AND_WELL)
        if state.target != "deleted":
            states[row] = replace(state, target="holding")
        if not self._verbs.turn_off(connection, row, reason=reason, now_ms=now_ms):
            return
        self._store.note_version(connection, row)
        held = self._store.count_waiting(connection, row)
        self._store.close_backlog(connection, row, now_ms=now_ms)
        log.warning(
            "endpoint %s %s: disabled, %d deliveries held",
            claimed.endpoint.id,
            "answered 410 Gone" if reason == "gone" else "has been failing for too long",
            held,
            extra=claimed.log_ids,
        )
        done.happenings.append(endpoint_disabled(claimed, reason, health, held=held, now_ms=now_ms))

    def _note_probes(self, connection: Connection, finished: Sequence[Finished], now_ms: int) -> None:
        overlaps: dict[tuple[int, str], Overlap] = {}
        limits: dict[int, int] = {}
        made: dict[int, int] = {}
        for one in finished:
            claimed = one.claimed
            if one.overlap is not None:
                overlaps[claimed.endpoint.row_id, claimed.endpoint.secret_enc] = one.overlap
            if len(one.attempts) > 1 and claimed.endpoint.rate_limit_per_min is not None:
                limits[claimed.endpoint.row_id] = claimed.endpoint.rate_limit_per_min
                made[claimed.endpoint.row_id] = made.get(claimed.endpoint.row_id, 0) + len(one.attempts) - 1
        if overlaps:
            self._verbs.note_probes(connection, overlaps)
        if made:
            # A probe was a request, too.
            found = self._verbs.lock_buckets(connection, made)
            self._verbs.put_buckets(
                connection,
                {row: taken(found[row], limits[row], made[row], now_us=now_ms * 1000) for row in made},
            )

    def _tell(self, connection: Connection, happenings: Sequence[Happening], now_ms: int) -> bool:
        if not happenings or self._ids is None:
            return False
        return tell(connection, self._store, self._ids, happenings, now_ms=now_ms)

    def _decide(self, one: Finished, state: EndpointState) -> Next:
        claimed = one.claimed
        if one.outcome.kind == "succeeded":
            return after_success(one.outcome.reason, claimed.kind, claimed.slots_used, claimed.unknown_attempts)
        return next_of(
            claimed,
            one.outcome,
            self._schedules.of(claimed),
            started_ms=one.attempts[0].started_ms,
            ended_ms=one.ended_ms,
            jitter=self._jitter(),
            target=state.target,
        )


def _result(one: Finished) -> Result:
    claimed = one.claimed
    counts = claimed.origin == "published" and claimed.kind != "manual"
    return Result(one.outcome.kind == "succeeded", one.ended_ms, counts)


def _is_worth_telling(done: Settlement) -> bool:
    """Whether a settlement is a failure to tell of: never one of an operational event, nor of a test."""
    claimed = done.claimed
    return done.next.state == "failed" and claimed.event.origin != "operational" and claimed.origin != "test"
