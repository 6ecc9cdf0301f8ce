"""What the sender counts while it works: plain numbers, added to where things happen and read when somebody scrapes.

An addition costs a fraction of a microsecond and takes no lock: each number has one writer (the delivery loop, or
whoever holds the publisher's turn) and any number of readers. What metrics these become is in metrics.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hookline.rules.lifecycle import Next
    from hookline.rules.response import Outcome
    from hookline.sender.http import Timings

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCHES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
PHASES: Final = ("dns", "connect", "first_byte")


class Histogram:
    """How many values lay up to each bound; the last count is of those above all of them."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


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
        heartbeat_ms: when the delivery loop last began a round; None before it runs.
    """

    __slots__ = (
        "attempt_seconds",
        "attempts",
        "claims",
        "commits",
        "database_errors",
        "deliveries",
        "heartbeat_ms",
        "lapsed",
        "overtaken",
        "phases",
        "publish_waits",
        "published",
        "repeated",
        "settles",
    )

    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str, str, str]] = Counter()
        self.deliveries: Counter[tuple[str, str, str]] = Counter()
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
        self.heartbeat_ms: int | None = None

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
