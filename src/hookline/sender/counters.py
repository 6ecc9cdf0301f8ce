"""What the sender counts of its own work (counting.py says how)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from hookline.counting import BATCHES, COMMIT_SECONDS, SECONDS, Histogram

if TYPE_CHECKING:
    from hookline.rules.lifecycle import Next
    from hookline.rules.response import Outcome
    from hookline.sender.http import Timings

PHASES: Final = ("dns", "connect", "first_byte")


class Counters:
    """The numbers of one process.

    Attributes:
        attempts: by environment, kind, outcome and class of reason.
        deliveries: what an attempt or its lateness left: by environment, state and class of reason.
        phases: seconds by phase of an attempt, where it had that phase.
        claims, settles: rows per transaction of the delivery loop that had any.
        lapsed: attempts found unended, their lease having passed.
        overtaken: attempts that ended after others had taken their delivery over.
        published: events stored, by environment. repeated: publish calls that an idempotency key made repeats.
        publish_waits: seconds from a publish call to its commit. commits: calls per commit.
        database_errors: by part: `deliver`, `publish`.
        requests: API calls answered, by kind of route (`publish`, `own`, `endpoints`, `events`) and class of status.
        in_flight, in_flight_limit: attempts under way and how many may be.
        ready, proven, failing: endpoints that the loop believes to have due work, to answer, and not to.
        heartbeat_ms: when the delivery loop last began a round; None before it runs.
    """

    __slots__ = (
        "attempt_seconds",
        "attempts",
        "claims",
        "commits",
        "database_errors",
        "deliveries",
        "failing",
        "heartbeat_ms",
        "in_flight",
        "in_flight_limit",
        "lapsed",
        "overtaken",
        "phases",
        "proven",
        "publish_waits",
        "published",
        "ready",
        "repeated",
        "requests",
        "settles",
    )

    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, ...]] = Counter()
        self.deliveries: Counter[tuple[str, ...]] = Counter()
        self.attempt_seconds = Histogram(SECONDS)
        self.phases = {phase: Histogram(SECONDS) for phase in PHASES}
        self.claims = Histogram(BATCHES)
        self.settles = Histogram(BATCHES)
        self.lapsed = 0
        self.overtaken = 0
        self.published: Counter[str] = Counter()
        self.repeated = 0
        self.publish_waits = Histogram(COMMIT_SECONDS)
        self.commits = Histogram(BATCHES)
        self.database_errors: Counter[str] = Counter()
        self.requests: Counter[tuple[str, ...]] = Counter()
        self.heartbeat_ms: int | None = None
        self.in_flight = self.in_flight_limit = 0
        self.ready = self.proven = self.failing = 0

    def attempt_ended(
        self, environment: str, kind: str, outcome: Outcome, duration_ms: float, timings: Timings | None
    ) -> None:
        """An attempt of this process came to its end; `timings` where something was dialled."""
        self.attempts[environment, kind, outcome.kind, reason_class(outcome.reason)] += 1
        self.attempt_seconds.add(duration_ms / 1000)
        if timings is None:
            return
        for phase, took_ms in (
            ("dns", timings.dns_ms),
            ("connect", timings.connect_ms),
            ("first_byte", timings.first_byte_ms),
        ):
            if took_ms is not None:
                self.phases[phase].add(took_ms / 1000)

    def settled(self, environment: str, decided: Next) -> None:
        """A delivery's next state is committed."""
        self.deliveries[environment, decided.state, reason_class(decided.reason)] += 1


def reason_class(reason: str) -> str:
    """A reason as a label: statuses by their hundred, every other word as it is."""
    if reason.startswith("status_"):
        return f"{reason[7:8]}xx"
    return reason
