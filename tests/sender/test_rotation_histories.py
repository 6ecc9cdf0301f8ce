"""Whole schedules before two instances that know one secret each and take turns: within the overlap nothing is lost.

The attempts are real (sender/attempt.py), the rest is drawn: how long the overlap is, when a delivery falls into it,
what others have done to the limit on probes and to the key that goes first, and which instance an attempt meets.
The draw is against us: between two attempts other requests may come, so that each attempt begins at an instance that
does not know the key it begins with. Within an attempt the instances take turns.
"""

from __future__ import annotations

import asyncio
import functools
import random
from dataclasses import dataclass

import pytest
from msgspec import structs

from hookline.errors import InvalidSignature
from hookline.rules import rotation
from hookline.rules.response import PROBE_STATUSES
from hookline.rules.rotation import MAX_OVERLAP_S, PROBE_PAUSE_MS
from hookline.rules.schedule import GRACE_S, PRODUCTION, STAGING, Schedule
from hookline.sender import attempt
from hookline.sender.attempt import Attempter, next_of
from hookline.sender.begun import awaited
from hookline.sender.delivery_store import Claimed, ClaimedEndpoint, ClaimedEvent
from hookline.sender.http import Answer, CoroutineExchange, Request
from hookline.testing.clock import TurnedClock
from hookline.wire.signature import verify_signature
from tests.sender.conftest import NOW_MS
from tests.sender.test_deliver import an_answer

OLD, NEW = "whsec_old", "whsec_new"
HISTORIES = 800
# The slowest answer, and how far from the overlap's end a first attempt begins at the latest.
SLOWEST_MS = 2_000
ROOM_MS = 10_000


@dataclass
class Instances(CoroutineExchange):
    """What answers behind one URL: those that know `secrets`, taking turns; the first is drawn against the sender."""

    clock: TurnedClock
    rng: random.Random
    secrets: tuple[str, ...]
    refusal: int
    next: int | None = None

    async def send(self, request: Request) -> Answer:
        header = dict(request.headers)["WorkOS-Signature"]
        now_ms = self.clock.now_ms()
        if self.next is None:
            refuses = [not knows(request.body, header, secret, now_ms) for secret in self.secrets]
            self.next = refuses.index(True) if any(refuses) else 0
        secret = self.secrets[self.next % len(self.secrets)]
        self.next += 1
        self.clock.advance(self.rng.randint(0, SLOWEST_MS))
        return an_answer() if knows(request.body, header, secret, now_ms) else an_answer(self.refusal)

    async def close(self) -> None:
        pass


def knows(body: bytes, header: str, secret: str, now_ms: int) -> bool:
    try:
        verify_signature(body, header, [secret], tolerance_s=180, now_ms=now_ms)
    except InvalidSignature:
        return False
    return True


def a_claim(schedule: Schedule, until_ms: int) -> Claimed:
    endpoint = ClaimedEndpoint(
        row_id=1, id="we_1", environment="production", url="https://one.example.com/", version=2, secret_enc=NEW,
        old_secret_enc=OLD, old_secret_until_ms=until_ms, signs_with_old=1, probe_failures=0, probe_after_ms=None,
        headers_enc=None, standard_webhooks=0, schedule=None, timeout_ms=None, rate_limit_per_min=None,
    )  # fmt: skip
    event = ClaimedEvent(1, "event_1", "dsync.user.created", "published", None, None, b'{"id":"event_1"}')
    return Claimed(
        row_id=1, id="delivery_1", event=event, endpoint=endpoint, origin="published", attempt=0, slots_used=0,
        unknown_attempts=0, kind="scheduled", planned_ms=None, first_ms=0, claimed_ms=0,
    )  # fmt: skip


async def is_lost(seed: int) -> bool:
    """Whether one delivery, first tried within an overlap, is not taken before that ends."""
    rng = random.Random(seed)
    schedule = rng.choice([PRODUCTION, STAGING, Schedule.from_gaps((5, 600)), Schedule((), 0)])
    overlap_ms = rng.choice([60, 3_600, 86_400, MAX_OVERLAP_S, rng.randint(60, MAX_OVERLAP_S)]) * 1_000
    until_ms = NOW_MS + overlap_ms
    # Soon after the rotation, soon before the end, or anywhere.
    reach_ms = overlap_ms - ROOM_MS
    first_ms = NOW_MS + rng.choice([0, rng.randint(0, reach_ms), reach_ms - rng.randint(0, min(reach_ms, 3_600_000))])
    clock = TurnedClock(first_ms)
    # What a consumer passes through: it knows the old secret, or half of it each, or the new one.
    secrets = rng.choice([(OLD, NEW), (NEW, OLD), (OLD,), (NEW,)])
    instances = Instances(clock, rng, secrets, rng.choice(sorted(PROBE_STATUSES)))
    claimed = structs.replace(a_claim(schedule, until_ms), first_ms=first_ms)
    while True:
        now_ms = clock.now_ms()
        is_paused = rng.random() < 0.7
        claimed = structs.replace(
            claimed,
            attempt=claimed.attempt + 1,
            claimed_ms=now_ms,
            endpoint=structs.replace(
                claimed.endpoint,
                signs_with_old=rng.randint(0, 1),
                probe_failures=3 if is_paused else rng.randint(0, 2),
                probe_after_ms=now_ms + rng.randint(1 + 3 * SLOWEST_MS, PROBE_PAUSE_MS) if is_paused else None,
            ),
        )
        instances.next = None
        attempter = an_attempter(instances, clock, schedule)
        [finished] = attempter.judged([await awaited(functools.partial(attempter.begin, claimed))])
        if finished.outcome.kind == "succeeded":
            return False
        after = next_of(
            claimed,
            finished.outcome,
            schedule,
            started_ms=finished.attempts[0].started_ms,
            ended_ms=finished.ended_ms,
            jitter=rng.uniform(-1, 1),
        )
        if after.due_ms is None:
            return True
        clock.set(max(clock.now_ms(), after.due_ms + rng.randint(0, GRACE_S * 1_000 - ROOM_MS)))
        if clock.now_ms() >= until_ms:
            return True
        claimed = structs.replace(claimed, attempt=finished.number, slots_used=after.slots_used)


def an_attempter(instances: Instances, clock: TurnedClock, schedule: Schedule) -> Attempter:
    """A new one for each attempt, as after a restart: what it knows of the overlap is what the claim says."""

    async def current(_: int) -> tuple[str, str | None]:
        return NEW, OLD

    return Attempter(
        instances,
        clock=clock,
        decrypt=lambda sealed: sealed,
        schedule_of=lambda _: schedule,
        current_secrets=current,
    )


def lost(enough: int = HISTORIES) -> list[int]:
    """The histories that lose their delivery, until there are enough of them."""

    async def count() -> list[int]:
        found: list[int] = []
        for seed in range(HISTORIES):
            if len(found) < enough and await is_lost(seed):
                found.append(seed)
        return found

    return asyncio.run(count())


def test_nothing_is_lost_within_the_overlap() -> None:
    """Every delivery first tried within an overlap is taken before its end, whatever the limit on probes has done."""
    assert lost() == []


@pytest.mark.parametrize("rule", ["no last chance", "one probe at the last"])
def test_without_the_rule_deliveries_are_lost(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same histories lose deliveries where the limit holds for a last chance too, or where it has one probe."""
    if rule == "no last chance":
        monkeypatch.setattr(attempt, "is_last_chance", lambda *_, **__: False)
    else:
        monkeypatch.setattr(rotation, "PROBES_AT_LAST", 1)

    enough = HISTORIES // 10 + 1
    assert len(lost(enough)) == enough
