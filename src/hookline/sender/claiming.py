"""Claiming: which due deliveries a round takes into its hands, within windows, rate limits and trials.

Runs on the connection of a round's transaction (rounds.py). Most endpoints give what is due at once. A gated one, with
a rate limit or half open, is claimed from only after its bucket or its trial was taken in the same transaction: so any
number of processes on one database together keep the limit, and one of them makes the trial.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hookline.rules.lifecycle import before_attempt
from hookline.rules.rate import bounded, ready_us, taken, tokens
from hookline.rules.schedule import PRODUCTION, STAGING, Schedule
from hookline.sender.delivery_store import Claimed, DeliveryStore, NextDue, Settlement

if TYPE_CHECKING:
    from hookline.storage import Connection

log = logging.getLogger("hookline.sender")

SCHEDULES: Final[Mapping[str, Schedule]] = {"production": PRODUCTION, "staging": STAGING}
# No endpoint's attempt may take longer, whatever its timeout; twice that where a probe follows.
LONGEST_ATTEMPT_MS: Final = 60_000
# Another process makes a trial: after so long it is worth looking whether it has ended.
TRIAL_LOOK_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Leases:
    """How long a claim lasts.

    Attributes:
        timeout_ms: of one attempt, where its endpoint has none of its own.
        margin_ms: how much longer than its attempt: time to settle, with a database away for a while.
    """

    timeout_ms: int
    margin_ms: int

    @property
    def longest_ms(self) -> int:
        """No lease lasts longer."""
        return 2 * LONGEST_ATTEMPT_MS + self.margin_ms


class Schedules:
    """The schedule of each delivery: its environment's, or its endpoint's own (a JSON list of gaps in seconds)."""

    def __init__(self, schedules: Mapping[str, Schedule]) -> None:
        self._schedules = schedules
        self._own: dict[str, Schedule] = {}

    def of(self, claimed: Claimed) -> Schedule:
        """One that cannot be used costs its endpoint nothing but that: the environment's stands in."""
        if claimed.endpoint.schedule is None:
            return self._schedules[claimed.endpoint.environment]
        known = self._own.get(claimed.endpoint.schedule)
        if known is None:
            try:
                known = Schedule.from_gaps(tuple(json.loads(claimed.endpoint.schedule)))
            except (ValueError, TypeError) as error:
                log.warning("endpoint %s has a schedule that cannot be used: %s", claimed.endpoint.id, error)
                known = self._schedules[claimed.endpoint.environment]
            self._own[claimed.endpoint.schedule] = known
        return known


@dataclass(frozen=True, slots=True)
class Claim:
    """What a round took.

    Attributes:
        sent: to be sent now.
        late: claimed and failed at once: their window had passed.
        due: of the endpoints that gave less than asked, when they have more; None where nothing waits.
        waits: of the gated ones among them, before when looking again is of no use.
    """

    sent: Sequence[Claimed] = ()
    late: Sequence[Settlement] = ()
    due: Mapping[int, int | None] = field(default_factory=dict)
    waits: Mapping[int, int] = field(default_factory=dict)


class Claims:
    """Takes deliveries for one loop."""

    def __init__(self, verbs: DeliveryStore, schedules: Schedules, leases: Leases) -> None:
        self._verbs = verbs
        self._schedules = schedules
        self._leases = leases

    def take(self, connection: Connection, slots: Mapping[int, int], *, now_ms: int) -> Claim:
        """Claim at most `slots[endpoint row]` due deliveries of each endpoint, and fail those that come too late."""
        claimed = self._rows(connection, slots, now_ms)
        got = _counted(claimed)
        short = [row for row, asked in slots.items() if got.get(row, 0) < asked]
        next_due = self._verbs.next_due(connection, short) if short else {}
        due: dict[int, int | None] = {row: next_due[row].due_ms if row in next_due else None for row in short}
        waits: dict[int, int] = {}
        gates = {row: one for row, one in next_due.items() if one.is_gated and one.due_ms <= now_ms}
        if gates:
            more, waits = self._gated(connection, {row: slots[row] for row in gates}, gates, now_ms)
            claimed += more
            again = self._verbs.next_due(connection, gates)
            due |= {row: again[row].due_ms if row in again else None for row in gates}
        sent: list[Claimed] = []
        late: list[Settlement] = []
        for one in claimed:
            if one.first_ms == now_ms:
                # Its first attempt, for which it is never too late.
                sent.append(one)
                continue
            too_late = before_attempt(
                self._schedules.of(one),
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
            tried = {one.claimed.endpoint.row_id for one in late}
            if undecided := [row for row in tried if row in gates and gates[row].is_half_open]:
                self._verbs.end_trials(connection, undecided)
        return Claim(sent, late, due, waits)

    def _gated(
        self, connection: Connection, slots: Mapping[int, int], gates: Mapping[int, NextDue], now_ms: int
    ) -> tuple[list[Claimed], dict[int, int]]:
        """As much as each bucket holds, one delivery for a trial; and before when none of them has more to give."""
        waits: dict[int, int] = {}
        now_us = now_ms * 1000
        limits = {row: per_min for row in slots if (per_min := gates[row].rate_limit_per_min) is not None}
        found = self._verbs.lock_buckets(connection, limits) if limits else {}
        kept = {row: bounded(full_us, limits[row], now_us=now_us) for row, full_us in found.items()}
        wanted = dict(slots)
        for row, full_us in kept.items():
            wanted[row] = min(wanted[row], tokens(full_us, limits[row], now_us=now_us))
        trials = [row for row, count in wanted.items() if count > 0 and gates[row].is_half_open]
        begun: set[int] = set()
        if trials:
            until_ms = now_ms + self._leases.longest_ms
            begun = self._verbs.begin_trials(connection, trials, now_ms=now_ms, until_ms=until_ms)
        for row in trials:
            wanted[row] = 1 if row in begun else 0
            waits[row] = now_ms + TRIAL_LOOK_MS
        wanted = {row: count for row, count in wanted.items() if count > 0}
        claimed = self._rows(connection, wanted, now_ms, is_gated=True) if wanted else []
        got = _counted(claimed)
        if idle := begun - got.keys():
            self._verbs.end_trials(connection, idle)
        changed = {}
        for row, full_us in kept.items():
            after_us = taken(full_us, limits[row], got.get(row, 0), now_us=now_us)
            # Written where tokens were taken, or where it lay further ahead than it may.
            if got.get(row) or full_us < found[row]:
                changed[row] = after_us
            # Rounded up, or the loop would wake a moment too early.
            token_ms = -(-ready_us(after_us, limits[row], now_us=now_us) // 1000)
            waits[row] = max(waits.get(row, 0), token_ms)
        if changed:
            self._verbs.put_buckets(connection, changed)
        return claimed, waits

    def _rows(
        self, connection: Connection, slots: Mapping[int, int], now_ms: int, *, is_gated: bool = False
    ) -> list[Claimed]:
        return self._verbs.claim(
            connection,
            slots,
            now_ms=now_ms,
            timeout_ms=self._leases.timeout_ms,
            margin_ms=self._leases.margin_ms,
            is_gated=is_gated,
        )


def _counted(claimed: Sequence[Claimed]) -> dict[int, int]:
    got: dict[int, int] = {}
    for one in claimed:
        row = one.endpoint.row_id
        got[row] = got.get(row, 0) + 1
    return got
