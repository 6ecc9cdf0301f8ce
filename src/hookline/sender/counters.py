"""What the sender counts of its own work (counting.py says how)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from hookline.counting import BATCHES, COMMIT_SECONDS, SECONDS, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hookline.sender.http import Timings
    from hookline.sender.model import Attempt

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

    def attempts_ended(self, attempts: Iterable[tuple[str, Attempt, Timings | None]]) -> None:
        """Attempts of this process came to their ends: each with its environment, and timings where it was sent."""
        labels: list[tuple[str, ...]] = []
        seconds: list[float] = []
        connects: list[Timings] = []
        first_bytes: list[float] = []
        for environment, attempt, timings in attempts:
            labels.append((environment, attempt.kind, attempt.outcome, attempt.reason or ""))
            seconds.append((attempt.duration_ms or 0) / 1000)
            if timings is None:
                continue
            if timings.first_byte_ms is not None:
                first_bytes.append(timings.first_byte_ms / 1000)
            if timings.connect_ms is not None or timings.dns_ms is not None:
                connects.append(timings)
        for (environment, kind, outcome, reason), count in Counter(labels).items():
            self.attempts[environment, kind, outcome, reason_class(reason)] += count
        self.attempt_seconds.add_all(seconds)
        self.phases["first_byte"].add_all(first_bytes)
        self.phases["dns"].add_all([one.dns_ms / 1000 for one in connects if one.dns_ms is not None])
        self.phases["connect"].add_all([one.connect_ms / 1000 for one in connects if one.connect_ms is not None])

    def settled(self, deliveries: Iterable[tuple[str, str, str]]) -> None:
        """The next states of deliveries are committed: environment, state and reason of each."""
        for (environment, state, reason), count in Counter(deliveries).items():
            self.deliveries[environment, state, reason_class(reason)] += count


def reason_class(reason: str) -> str:
    """A reason as a label: statuses by their hundred, every other word as it is."""
    if reason.startswith("status_"):
        return f"{reason[7:8]}xx"
    return reason
