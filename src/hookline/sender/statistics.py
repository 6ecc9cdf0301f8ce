"""How much is sent and how it goes: counted in memory where it happens, added to tables every few seconds.

Attempts, deliveries and publications are far too many to be counted when somebody looks. Who delivers and who
publishes adds to plain numbers here; `flush` adds those to the rows of their minute and hour in one transaction. What
a process had not flushed when it was killed is missing from the statistics, and from nothing else. Tests and probes
never count: they say nothing about how deliveries go.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.sender.attempt import Finished
    from hookline.sender.delivery_store import Settlement
    from hookline.sender.model import Environment
    from hookline.storage import Connection, Database, Dialect, Row

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
FLUSH_MS: Final = 5_000
LATENCY_MS: Final = (10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
_BUCKETS: Final = tuple(f"b{number}" for number in range(len(LATENCY_MS) + 1))

K = TypeVar("K")
# succeeded, failed, delivered, given_up, then the latencies.
_Tally: TypeAlias = list[int]
_SUCCEEDED, _FAILED, _DELIVERED, _GIVEN_UP, _LATENCIES = range(5)
_WIDTH: Final = _LATENCIES + len(_BUCKETS)
_NAMES: Final = ("succeeded", "failed", "delivered", "given_up", *_BUCKETS)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happened in a span of time: attempts, deliveries that came to an end, and how long 2xx took.

    Attributes:
        at_ms: when the span began.
        published: events; 0 where it is one endpoint's.
        succeeded, failed: attempts.
        delivered, given_up: deliveries that succeeded, and that failed for good.
        latencies: attempts that succeeded, by `LATENCY_MS`; the last count is of those above all of them.
    """

    at_ms: int
    published: int = 0
    succeeded: int = 0
    failed: int = 0
    delivered: int = 0
    given_up: int = 0
    latencies: tuple[int, ...] = (0,) * len(_BUCKETS)

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            min(self.at_ms, other.at_ms),
            self.published + other.published,
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            self.delivered + other.delivered,
            self.given_up + other.given_up,
            tuple(map(int.__add__, self.latencies, other.latencies)),
        )

    def quantile_ms(self, share: float) -> float | None:
        """How long it took at most, of so large a share of the attempts that succeeded; None where there are none.

        Between two bounds it is taken to be even; above the last one the last bound is given.
        """
        whole = sum(self.latencies)
        if not whole:
            return None
        wanted, before = share * whole, 0
        for number, count in enumerate(self.latencies):
            if count and before + count >= wanted:
                if number == len(LATENCY_MS):
                    break
                low = LATENCY_MS[number - 1] if number else 0
                return low + (LATENCY_MS[number] - low) * (wanted - before) / count
            before += count
        return float(LATENCY_MS[-1])


@dataclass(frozen=True, slots=True)
class EndpointTraffic:
    """An endpoint's hours, oldest first, and when it was last called."""

    hours: tuple[Traffic, ...] = ()
    last_ms: int | None = None

    @property
    def whole(self) -> Traffic:
        """All of its hours together."""
        return sum(self.hours, Traffic(self.hours[0].at_ms if self.hours else 0))


class StatisticsStore:
    """The verbs of the statistics."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.sender", dialect)

    def add(self, connection: Connection, counted: Counted) -> None:
        """Add to the rows of their minutes and hours. In the order of their keys, so that processes do not meet."""
        minutes = [
            {"environment": environment, "minute_ms": minute_ms, "published": published, **_named(tally)}
            for (environment, minute_ms), (published, tally) in sorted(counted.minutes().items())
        ]
        endpoints = [
            {
                "endpoint_row": row,
                "hour_ms": hour_ms,
                "last_ms": counted.last_ms[row, hour_ms],
                **_named(tally),
            }
            for (row, hour_ms), tally in sorted(counted.endpoints.items())
        ]
        types = [
            {"environment": environment, "hour_ms": hour_ms, "event_type": event_type, "published": count}
            for (environment, hour_ms, event_type), count in sorted(counted.type_hours().items())
        ]
        for name, rows in (("minutes_add", minutes), ("endpoint_hours_add", endpoints), ("type_hours_add", types)):
            if rows:
                self._verbs[name].run_many(connection, rows)

    def series(
        self, connection: Connection, environment: Environment, *, since_ms: int, until_ms: int, step_ms: int
    ) -> list[Traffic]:
        """What happened, by steps of time, oldest first; steps in which nothing did are left out.

        Args:
            step_ms: a whole number of minutes.
        """
        named = {"environment": environment, "since_ms": since_ms, "until_ms": until_ms, "step_ms": step_ms}
        return [Traffic(at_ms, *_counts(counts)) for at_ms, *counts in self._run(connection, "minutes_series", named)]

    def endpoints(
        self, connection: Connection, endpoint_rows: Collection[int], *, since_ms: int
    ) -> dict[int, EndpointTraffic]:
        """The hours of endpoints since a time; one that was not called meanwhile is not among them."""
        hours: dict[int, list[Traffic]] = {}
        last_ms: dict[int, int] = {}
        named = {"endpoint_rows": json.dumps(sorted(endpoint_rows)), "since_ms": since_ms}
        for row, hour_ms, succeeded, failed, delivered, given_up, last, *latencies in self._run(
            connection, "endpoint_hours_of", named
        ):
            hours.setdefault(row, []).append(
                Traffic(hour_ms, 0, succeeded, failed, delivered, given_up, tuple(latencies))
            )
            last_ms[row] = max(last, last_ms.get(row, 0))
        return {row: EndpointTraffic(tuple(some), last_ms[row]) for row, some in hours.items()}

    def type_volumes(self, connection: Connection, environment: Environment, *, since_ms: int) -> dict[str, int]:
        """How many events of each type were published since a time."""
        named = {"environment": environment, "since_ms": since_ms - since_ms % HOUR_MS}
        return {event_type: int(count) for event_type, count in self._run(connection, "type_hours_of", named)}

    def _run(self, connection: Connection, name: str, named: Mapping[str, Any]) -> list[Row]:
        return self._verbs[name].run(connection, named)


@dataclass(slots=True)
class Counted:
    """What was counted and is not in the tables yet."""

    traffic: dict[tuple[str, int], _Tally] = field(default_factory=dict)
    endpoints: dict[tuple[int, int], _Tally] = field(default_factory=dict)
    last_ms: dict[tuple[int, int], int] = field(default_factory=dict)
    published: Counter[tuple[str, int, str]] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.traffic or self.published)

    def add(self, other: Counted) -> None:
        """Take what another counted into this."""
        _add_all(self.traffic, other.traffic)
        _add_all(self.endpoints, other.endpoints)
        for key, last_ms in other.last_ms.items():
            self.last_ms[key] = max(last_ms, self.last_ms.get(key, 0))
        self.published.update(other.published)

    def minutes(self) -> dict[tuple[str, int], tuple[int, _Tally]]:
        """By environment and minute: events published, and how attempts and deliveries went."""
        published: Counter[tuple[str, int]] = Counter()
        for (environment, minute_ms, _), count in self.published.items():
            published[environment, minute_ms] += count
        nothing = [0] * _WIDTH
        return {key: (published[key], self.traffic.get(key, nothing)) for key in self.traffic.keys() | published}

    def type_hours(self) -> Counter[tuple[str, int, str]]:
        """By environment, hour and type: events published."""
        hours: Counter[tuple[str, int, str]] = Counter()
        for (environment, minute_ms, event_type), count in self.published.items():
            hours[environment, minute_ms - minute_ms % HOUR_MS, event_type] += count
        return hours


class Statistics:
    """What one process counts. Counting may be done from any thread; so may flushing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._store = StatisticsStore(database.dialect)
        self._lock = threading.Lock()
        self._counted = Counted()
        self._flushed_ms = 0

    def published(self, environment: str, types: Iterable[str], *, now_ms: int) -> None:
        """Events were committed."""
        minute_ms = now_ms - now_ms % MINUTE_MS
        with self._lock:
            for event_type, count in Counter(types).items():
                self._counted.published[environment, minute_ms, event_type] += count

    def attempts_ended(self, finished: Iterable[Finished], *, now_ms: int) -> None:
        """Attempts came to their ends."""
        minute_ms, hour_ms = now_ms - now_ms % MINUTE_MS, now_ms - now_ms % HOUR_MS
        with self._lock:
            for one in finished:
                claimed = one.claimed
                if claimed.origin == "test" or one.is_ours:
                    continue
                tallies = self._tallies(claimed.endpoint.environment, claimed.endpoint.row_id, minute_ms, hour_ms)
                self._counted.last_ms[claimed.endpoint.row_id, hour_ms] = now_ms
                for attempt in one.attempts:
                    if attempt.kind == "probe":
                        continue
                    if attempt.outcome == "succeeded":
                        bucket = _LATENCIES + bisect_left(LATENCY_MS, attempt.duration_ms or 0)
                        for tally in tallies:
                            tally[_SUCCEEDED] += 1
                            tally[bucket] += 1
                    else:
                        for tally in tallies:
                            tally[_FAILED] += 1

    def settled(self, settlements: Iterable[Settlement], *, now_ms: int) -> None:
        """The next states of deliveries are committed."""
        minute_ms, hour_ms = now_ms - now_ms % MINUTE_MS, now_ms - now_ms % HOUR_MS
        with self._lock:
            for one in settlements:
                claimed, state = one.claimed, one.next.state
                if claimed.origin == "test" or state not in ("succeeded", "failed"):
                    continue
                place = _DELIVERED if state == "succeeded" else _GIVEN_UP
                key = claimed.endpoint.row_id, hour_ms
                for tally in self._tallies(claimed.endpoint.environment, claimed.endpoint.row_id, minute_ms, hour_ms):
                    tally[place] += 1
                self._counted.last_ms.setdefault(key, now_ms)

    def is_due(self, now_ms: int) -> bool:
        """Whether there is something to flush, and the last time is long enough ago, or ahead."""
        return bool(self._counted) and not 0 <= now_ms - self._flushed_ms < FLUSH_MS

    def flush(self, now_ms: int) -> None:
        """Add what was counted to the tables.

        Raises: StorageError; what was counted is kept for the next time.
        """
        with self._lock:
            counted, self._counted = self._counted, Counted()
            self._flushed_ms = now_ms
        if not counted:
            return
        try:
            self._database.run(lambda connection: self._store.add(connection, counted))
        except Exception:
            with self._lock:
                counted.add(self._counted)
                self._counted = counted
            raise

    def _tallies(self, environment: str, endpoint_row: int, minute_ms: int, hour_ms: int) -> tuple[_Tally, _Tally]:
        counted = self._counted
        minute = counted.traffic.get((environment, minute_ms))
        if minute is None:
            minute = counted.traffic[environment, minute_ms] = [0] * _WIDTH
        hour = counted.endpoints.get((endpoint_row, hour_ms))
        if hour is None:
            hour = counted.endpoints[endpoint_row, hour_ms] = [0] * _WIDTH
        return minute, hour


def _add_all(mine: dict[K, _Tally], others: Mapping[K, _Tally]) -> None:
    for key, tally in others.items():
        mine[key] = list(map(int.__add__, mine[key], tally)) if key in mine else tally


def _counts(row: Sequence[Any]) -> tuple[int, int, int, int, int, tuple[int, ...]]:
    """PostgreSQL's sums are numeric."""
    published, succeeded, failed, delivered, given_up, *latencies = map(int, row)
    return published, succeeded, failed, delivered, given_up, tuple(latencies)


def _named(tally: _Tally) -> dict[str, int]:
    return dict(zip(_NAMES, tally, strict=True))
