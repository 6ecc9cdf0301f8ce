"""Prometheus metrics of both ends, as collectors for a registry of one's own: `registry.register(SenderMetrics(app))`.

Counters are those of this process since its start; the backlog is the database's, the same from every process that
shares it, read at most every 5 s whatever the number of scrapes, and seldomer where reading it takes long. Labels
have few values: environments, states, outcomes and reasons in words of ours; never an endpoint, a URL or an id.
"""

from __future__ import annotations

import logging
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hookline import __version__
from hookline.errors import HooklineError

if TYPE_CHECKING:
    from hookline.counting import Histogram
    from hookline.receiver.app import Receiver
    from hookline.receiver.model import PassRow, TailRow
    from hookline.receiver.queries import InboxBacklog
    from hookline.sender.app import SenderApp

log = logging.getLogger("hookline.metrics")

KEPT_S: Final = 5.0
# Reading the backlog takes at most this part of the time.
SHARE: Final = 0.02

T = TypeVar("T")


class BuildInfo(Collector):
    """Which version this is."""

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("hookline_build_info", "1; the labels say what runs.", labels=("version", "python"))
        info.add_metric((__version__, platform.python_version()), 1)
        yield info


class SenderMetrics(Collector):
    """What a sender counted, and what its database holds.

    Args:
        sender: whose.
        now_s: seconds that only grow, for how long the backlog is kept.
    """

    def __init__(self, sender: SenderApp, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._sender = sender
        self._backlog = _Kept(sender.backlog, now_s)

    def collect(self) -> Iterator[Metric]:
        counted = self._sender.counters
        yield _counter("hookline_sender_events_published", "Events stored.", ("environment",), counted.published)
        yield _counter(
            "hookline_sender_publish_repeats", "Publish calls that repeated an idempotency key.", (), counted.repeated
        )
        yield _histogram("hookline_sender_publish_seconds", "From a publish call to its commit.", counted.publish_waits)
        yield _histogram("hookline_sender_publish_batch_calls", "Publish calls per commit.", counted.commits)
        yield _counter(
            "hookline_sender_attempts",
            "Attempts that came to an end.",
            ("environment", "kind", "outcome", "reason"),
            counted.attempts,
        )
        yield _histogram("hookline_sender_attempt_seconds", "How long attempts took.", counted.attempt_seconds)
        phases = HistogramMetricFamily(
            "hookline_sender_attempt_phase_seconds", "How long the phases of attempts took.", labels=("phase",)
        )
        for phase, histogram in counted.phases.items():
            phases.add_metric((phase,), _buckets(histogram), histogram.sum)
        yield phases
        yield _counter(
            "hookline_sender_deliveries",
            "What attempts left: pending is tried again.",
            ("environment", "state", "reason"),
            counted.deliveries,
        )
        yield _histogram("hookline_sender_claim_rows", "Deliveries per claim that had any.", counted.claims)
        yield _histogram("hookline_sender_settle_rows", "Attempts settled per transaction.", counted.settles)
        yield _counter(
            "hookline_sender_attempts_lapsed", "Attempts whose sender never recorded their end.", (), counted.lapsed
        )
        yield _counter(
            "hookline_sender_attempts_overtaken",
            "Attempts that ended after others had taken their delivery over.",
            (),
            counted.overtaken,
        )
        yield _gauge("hookline_sender_attempts_in_flight", "Attempts under way here.", counted.in_flight)
        yield _gauge("hookline_sender_attempts_in_flight_limit", "How many may be.", counted.in_flight_limit)
        endpoints = GaugeMetricFamily(
            "hookline_sender_endpoints",
            "Endpoints as the delivery loop here sees them: ready have due work, proven answer, failing do not.",
            labels=("seen",),
        )
        for seen in ("ready", "proven", "failing"):
            endpoints.add_metric((seen,), getattr(counted, seen))
        yield endpoints
        yield _counter("hookline_sender_api_requests", "API calls answered.", ("route", "status"), counted.requests)
        yield _counter(
            "hookline_sender_database_errors",
            "Times the database was away.",
            ("part",),
            counted.database_errors,
        )
        if counted.heartbeat_ms is not None:
            yield _gauge(
                "hookline_sender_loop_round_timestamp_seconds",
                "When the delivery loop last began a round; at rest every 5 s.",
                counted.heartbeat_ms / 1000,
            )
        yield from self._stored()

    def _stored(self) -> Iterator[Metric]:
        found = self._backlog.value()
        yield _gauge("hookline_sender_database_up", "1 where the backlog could be read.", int(found is not None))
        if found is None:
            return
        backlog = GaugeMetricFamily(
            "hookline_sender_backlog",
            "Deliveries that wait: due, soon (within an hour), later, held. Counted up to 100000.",
            labels=("environment", "state"),
        )
        oldest = GaugeMetricFamily(
            "hookline_sender_oldest_due_seconds",
            "How long the delivery of an open endpoint that waits longest has been due; 0 where none is.",
            labels=("environment",),
        )
        for environment, waiting in found.backlog.items():
            for state in ("due", "soon", "later", "held"):
                backlog.add_metric((environment, state), getattr(waiting, state))
            age_ms = 0 if waiting.oldest_ms is None else max(0, found.read_ms - waiting.oldest_ms)
            oldest.add_metric((environment,), age_ms / 1000)
        yield backlog
        yield oldest
        yield _gauge("hookline_sender_running", "Deliveries that any process holds.", found.open.running)
        yield _gauge("hookline_sender_replays_open", "Replays that are not finished.", found.open.replays)


class _Stored(NamedTuple):
    """What a receiver's database holds."""

    backlog: InboxBacklog
    tails: Sequence[TailRow]
    passes: Sequence[PassRow]
    pass_counts: Mapping[tuple[str, str], int]
    read_ms: int


class ReceiverMetrics(Collector):
    """What a receiver's door and worker counted, and what its database holds.

    Args:
        receiver: whose.
        now_s: seconds that only grow, for how long the backlog is kept.
    """

    def __init__(self, receiver: Receiver, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._receiver = receiver
        self._backlog = _Kept(self._read, now_s)

    def collect(self) -> Iterator[Metric]:
        counted = self._receiver.counters
        yield _counter(
            "hookline_receiver_entries",
            "Signed requests: accepted, duplicate, conflict (other bytes under a known id), or known from the feed.",
            ("source", "kind"),
            counted.kept,
        )
        yield _counter("hookline_receiver_refused", "Requests refused.", ("source", "reason"), counted.refused)
        yield _histogram("hookline_receiver_commit_entries", "Entries per commit of the door.", counted.commits)
        yield _counter(
            "hookline_receiver_storage_errors", "Times the door could not store.", (), counted.storage_errors
        )
        yield _counter("hookline_receiver_applied", "Entries worked on.", ("source", "outcome"), counted.outcomes)
        yield _histogram(
            "hookline_receiver_apply_lag_seconds", "From an entry's arrival to its application.", counted.lags
        )
        yield _histogram("hookline_receiver_apply_entries", "Entries per transaction.", counted.batches)
        yield _counter(
            "hookline_receiver_runs",
            "Ends of handler runs: pending is tried again, failed is dead.",
            ("handler", "result"),
            counted.runs,
        )
        yield _counter(
            "hookline_receiver_gaps",
            "Missing events: noticed, and of those healed by themselves or fetched.",
            ("source", "end"),
            counted.gaps,
        )
        yield _histogram("hookline_receiver_run_seconds", "How long handlers took.", counted.run_seconds)
        yield _counter(
            "hookline_receiver_feed_events",
            "Events of a source's feed: kept, known (they came as webhooks, too), or late (shown behind later ones).",
            ("source", "kind"),
            counted.feed,
        )
        asked = [(source, outcomes.copy()) for source, outcomes in counted.requests.copy().items()]
        requests: dict[tuple[str, ...], int] = {
            (source, outcome): count for source, outcomes in asked for outcome, count in outcomes.items()
        }
        yield _counter(
            "hookline_receiver_source_requests",
            "Requests to a source's API by what came of them.",
            ("source", "outcome"),
            requests,
        )
        if counted.heartbeat_ms is not None:
            yield _gauge(
                "hookline_receiver_worker_round_timestamp_seconds",
                "When the worker last began a round; at rest every 5 s.",
                counted.heartbeat_ms / 1000,
            )
        yield from self._stored()

    def _read(self) -> _Stored:
        with self._receiver.look() as (queries, connection):
            return _Stored(
                queries.backlog(connection),
                queries.tails(connection),
                queries.passes(connection),
                queries.pass_counts(connection),
                self._receiver.clock.now_ms(),
            )

    def _stored(self) -> Iterator[Metric]:
        found = self._backlog.value()
        yield _gauge("hookline_receiver_database_up", "1 where the backlog could be read.", int(found is not None))
        if found is None:
            return
        waiting, tails, passes, pass_counts, read_ms = found
        yield _gauge("hookline_receiver_waiting", "Entries not applied yet. Counted up to 100000.", waiting.waiting)
        age_ms = 0 if waiting.oldest_ms is None else max(0, read_ms - waiting.oldest_ms)
        yield _gauge(
            "hookline_receiver_oldest_waiting_seconds",
            "How long ago the entry arrived that waits longest; 0 where none waits.",
            age_ms / 1000,
        )
        yield _gauge("hookline_receiver_runs_pending", "Handler runs that wait.", waiting.pending_runs)
        yield _gauge("hookline_receiver_runs_dead", "Handler runs that failed for good.", waiting.dead_runs)
        yield _gauge("hookline_receiver_handlers_paused", "Handlers that are paused.", waiting.paused_handlers)
        yield _gauge(
            "hookline_receiver_walks_failing",
            "Walks over what hangs on a deleted or returned object that fail.",
            waiting.failing_walks,
        )
        unread = GaugeMetricFamily(
            "hookline_receiver_tail_unread_seconds",
            "How long ago the source's feed was last read without failure; noted every 20 s.",
            labels=("source",),
        )
        for tail in tails:
            if tail.read_ms is not None:
                unread.add_metric((tail.source,), max(0, read_ms - tail.read_ms) / 1000)
        yield unread
        kept = GaugeMetricFamily(
            "hookline_receiver_passes",
            "Passes over what a source lists that are kept (the newest 20), by what became of them.",
            labels=("source", "state"),
        )
        for labels, count in pass_counts.items():
            kept.add_metric(labels, count)
        yield kept
        drift = GaugeMetricFamily(
            "hookline_receiver_drift",
            "Open differences between mirror and source, as of the newest dry run. Counted up to 100000.",
            labels=("source",),
        )
        age = GaugeMetricFamily(
            "hookline_receiver_last_pass_seconds",
            "How long ago a whole pass that puts the mirror right last came to its end.",
            labels=("source",),
        )
        for one in passes:
            drift.add_metric((one.source,), one.drift)
            if one.completed_ms is not None:
                age.add_metric((one.source,), max(0, read_ms - one.completed_ms) / 1000)
        yield drift
        yield age


class _Kept(Generic[T]):
    """What was read last, for a while: many scrapes are one read, and one that cannot be read is None."""

    def __init__(self, read: Callable[[], T], now_s: Callable[[], float]) -> None:
        self._read = read
        self._now_s = now_s
        self._lock = threading.Lock()
        self._value: T | None = None
        self._until_s: float | None = None

    def value(self) -> T | None:
        """The value, at most a few seconds old."""
        with self._lock:
            began_s = self._now_s()
            if self._until_s is not None and began_s < self._until_s:
                return self._value
            try:
                self._value = self._read()
            except HooklineError as error:
                # Once per outage: what was read before is worth less than knowing that it is over.
                if self._value is not None:
                    log.warning("the backlog cannot be read: %s", error)
                self._value = None
            took_s = self._now_s() - began_s
            self._until_s = began_s + took_s + max(KEPT_S, took_s / SHARE)
            return self._value


def _counter(
    name: str, about: str, labels: tuple[str, ...], counted: Mapping[str, int] | Mapping[tuple[str, ...], int] | int
) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    if isinstance(counted, int):
        family.add_metric((), counted)
        return family
    # A copy: the writer goes on meanwhile.
    for key, count in sorted(dict(counted).items()):
        family.add_metric((key,) if isinstance(key, str) else key, count)
    return family


def _gauge(name: str, about: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, about)
    family.add_metric((), value)
    return family


def _histogram(name: str, about: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, about)
    family.add_metric((), _buckets(histogram), histogram.sum)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = (*(str(float(bound)) for bound in histogram.bounds), "+Inf")
    return [(name, float(total)) for name, total in zip(names, accumulate(histogram.counts), strict=True)]
