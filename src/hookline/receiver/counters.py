"""What the receiver counts of its own work (counting.py says how)."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from hookline.counting import BATCHES, LAG_SECONDS, SECONDS, Histogram


class Counters:
    """The numbers of one process.

    Attributes:
        kept: entries at the door by source and what became of them: `accepted`, `duplicate`, `conflict`, `known` (the
            feed brought it first).
        refused: requests by source ("" where there is no door) and reason.
        commits: entries per commit of the door.
        storage_errors: batches of the door that could not be kept.
        outcomes: entries worked on, by source and outcome (`applied`, `stale`, `dead`, …).
        lags: seconds from an entry's arrival to its application.
        batches: entries per transaction that applied any.
        runs: ends of handler runs, by handler and result: `succeeded`, `pending` (tried again), `failed` (dead),
            `given_back` (the database was away), `lost` (its lease passed).
        run_seconds: how long handlers took.
        feed: events that the tail read, by source and what became of them: `kept`, `known`, `late` (new, and found
            only by reading once more).
        gaps: missing events by source: `noticed`, and of those `healed` (it came after all) or `fetched` (the source
            was asked about its object).
        requests: by source, answers of its API by what they were: `ok`, `gone`, or the reason of a `SourceError`.
        heartbeat_ms: when the worker last began a round; None before it runs.
    """

    __slots__ = (
        "_lock",
        "batches",
        "commits",
        "feed",
        "gaps",
        "heartbeat_ms",
        "kept",
        "lags",
        "outcomes",
        "refused",
        "requests",
        "run_seconds",
        "runs",
        "storage_errors",
    )

    def __init__(self) -> None:
        self.kept: Counter[tuple[str, ...]] = Counter()
        self.refused: Counter[tuple[str, ...]] = Counter()
        self.commits = Histogram(BATCHES)
        self.storage_errors = 0
        self.outcomes: Counter[tuple[str, ...]] = Counter()
        self.lags = Histogram(LAG_SECONDS)
        self.batches = Histogram(BATCHES)
        self.runs: Counter[tuple[str, ...]] = Counter()
        self.run_seconds = Histogram(SECONDS)
        self.feed: Counter[tuple[str, ...]] = Counter()
        self.gaps: Counter[tuple[str, ...]] = Counter()
        self.requests: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.heartbeat_ms: int | None = None
        self._lock = threading.Lock()  # handlers run on several threads, and so may a door

    def entries_kept(self, kinds: Sequence[tuple[str, str]]) -> None:
        """A commit of the door held: source and kind of each entry."""
        with self._lock:
            self.kept.update(kinds)
            self.commits.add(len(kinds))

    def feed_read(self, source: str, counts: Mapping[str, int]) -> None:
        """A transaction of the tail is committed: how many events of each kind it held."""
        with self._lock:
            for kind, count in counts.items():
                if count:
                    self.feed[source, kind] += count

    def request_refused(self, source: str, reason: str) -> None:
        """A request was refused."""
        with self._lock:
            self.refused[source, reason] += 1

    def entries_applied(self, outcomes: Sequence[tuple[str, str]], received_ms: Iterable[int], now_ms: int) -> None:
        """A transaction that settled entries is committed: source and outcome of each, and `received_ms` of those that
        it took out of the queue.
        """
        if outcomes:
            self.outcomes.update(outcomes)
            self.batches.add(len(outcomes))
        for one_ms in received_ms:
            self.lags.add(max(0, now_ms - one_ms) / 1000)

    def gaps_seen(self, gaps: Mapping[tuple[str, ...], int]) -> None:
        """A transaction is committed that noticed or closed gaps."""
        if gaps:
            with self._lock:
                self.gaps.update(gaps)

    def run_ended(self, handler: str, result: str, took_s: float | None = None) -> None:
        """A handler's run came to an end, or was given back."""
        with self._lock:
            self.runs[handler, result] += 1
            if took_s is not None:
                self.run_seconds.add(took_s)
