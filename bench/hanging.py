"""How long deliveries to healthy endpoints take while others hang, beside a run in which those others are not there.

A `hookline serve sender`, its events published through its API at a steady rate; of a thousand endpoints a hundred
never answer and have a backlog that outlasts the run. Times are the database's: from when an event was written, before
its commit, to the end of the attempt that delivered it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import statistics
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from bench.accepts import PADDING
from bench.backlog import add_endpoints
from bench.databases import Databases
from bench.measure import BenchError, Options, percentile, pinned, process, spread
from bench.served import API_KEY, BOX, Served, beside, serving
from hookline.storage import Database, connect

ENDPOINTS: Final = 1_000
HANGING: Final = 100
# An attempt waits 15 s unless its endpoint says otherwise; those that hang do, for a run that takes seconds.
TIMEOUT_MS: Final = 2_000
TIMEOUT_SMALL_MS: Final = 500
BACKLOG: Final = 50  # of each hanging endpoint
PER_S: Final = 400  # events, over all endpoints
TICK_S: Final = 0.05
DURATION_S: Final = 10.0
PATIENCE_S: Final = 30.0
PERCENTILES: Final = (50, 95, 99)
Latencies = list[float]


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report."""
    endpoints, duration_s = options.sized(ENDPOINTS, 100), max(1.0, DURATION_S * options.scale)
    hanging = random.Random(options.seed).sample(range(endpoints), endpoints * HANGING // ENDPOINTS)
    timeout_ms = TIMEOUT_SMALL_MS if options.is_small else TIMEOUT_MS
    runs: dict[str, list[Latencies]] = {"without": [], "with": []}
    timed_out = 0
    with process("bench.hanging_sink") as (_, port):
        for _ in range(options.rounds):
            for mode, results in runs.items():
                load = Load(endpoints, hanging, timeout_ms, duration_s, options.seed, has_hanging=mode == "with")
                latencies, silent = _run(databases, int(port), load)
                results.append(latencies)
                timed_out += silent
    if not timed_out:
        raise BenchError("expected attempts that hang until the timeout, and none did")
    yield (
        f"healthy deliveries beside hanging ones, {databases.name}, {endpoints:,} endpoints of which {len(hanging)} "
        f"hang for {timeout_ms / 1000:g} s, {PER_S} events/s, rounds: {options.rounds} of {duration_s:g} s, "
        f"seed {options.seed}"
    )
    for mode, results in runs.items():
        shown = "  ".join(
            f"p{percent} {statistics.median(percentile(one, percent) for one in results):.0f} ms"
            for percent in PERCENTILES
        )
        yield f"  {mode:<7} them  {shown}  ({len(results[0]):,} deliveries a round)"
    for percent in PERCENTILES:
        ratios = [
            percentile(beside, percent) / max(1.0, percentile(alone, percent))
            for alone, beside in zip(*runs.values(), strict=True)
        ]
        yield f"  p{percent} with to without  {spread(ratios)}"
    yield f"  attempts that hung until the timeout: {timed_out:,} in all rounds"


@dataclass(frozen=True, slots=True)
class Load:
    """What a run is of: the endpoints by number, those that hang, and for how long events are published."""

    endpoints: int
    hanging: Collection[int]
    timeout_ms: int
    duration_s: float
    seed: int
    has_hanging: bool


def _run(databases: Databases, port: int, load: Load) -> tuple[Latencies, int]:
    """Milliseconds of each healthy delivery, and how many attempts hung."""
    dead = set(load.hanging) if load.has_hanging else set[int]()
    healthy = [number for number in range(load.endpoints) if number not in set(load.hanging)]
    made = [*healthy, *dead]
    with databases.fresh() as url, contextlib.ExitStack() as stack:
        database = connect(beside(databases, url))
        stack.callback(database.close)
        add_endpoints(
            database,
            len(made),
            lambda place: f"http://127.0.0.1:{port}/{'hang' if made[place] in dead else 'well'}/{made[place]}",
            event_type=lambda place: f"load.n{made[place]}",
            seal=BOX.seal,
        )
        database.run(
            lambda connection: connection.execute(
                # Of those that hang alone: a healthy one that is late on a busy machine has not failed.
                f"update hookline_sender_endpoints set timeout_ms = {load.timeout_ms} where url like '%/hang/%'"
            )
        )
        sender = stack.enter_context(serving(databases, url))
        api = http.client.HTTPConnection("127.0.0.1", sender.port, timeout=PATIENCE_S)
        stack.callback(api.close)
        stack.enter_context(pinned(1))
        # What hangs is known to hang before anything is measured, and each healthy endpoint has answered once.
        for number in sorted(dead):
            _publish(api, [number] * BACKLOG)
        for first in range(0, len(healthy), 100):
            _publish(api, healthy[first : first + 100])
        _wait(sender, database, len(healthy))
        since_ms = time.time_ns() // 1_000_000
        count = _publish_steadily(api, load, set(healthy))
        _wait(sender, database, len(healthy) + count)
        with database.read() as connection:
            rows = connection.execute(
                "select a.outcome, e.published_ms, a.started_ms + a.duration_ms - e.published_ms"
                " from hookline_sender_attempts a"
                " join hookline_sender_deliveries d on d.row_id = a.delivery_row"
                " join hookline_sender_events e on e.row_id = d.event_row"
            ).fetchall()
    latencies = [float(took_ms) for outcome, at_ms, took_ms in rows if outcome == "succeeded" and at_ms >= since_ms]
    if len(latencies) != count:
        raise BenchError(f"expected {count:,} healthy deliveries, got {len(latencies):,}")
    return latencies, sum(outcome == "failed" for outcome, *_ in rows)


def _publish(api: http.client.HTTPConnection, numbers: Collection[int]) -> None:
    """An event for each of these endpoints, in one call."""
    events = [{"event": f"load.n{number}", "data": {"number": number, "note": PADDING}} for number in numbers]
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    api.request("POST", "/api/v1/events", json.dumps({"events": events}), headers)
    answer = api.getresponse()
    said = answer.read()
    if answer.status != 201:
        raise BenchError(f"expected 201 for {len(events)} events, got {answer.status}: {said[:200]!r}")


def _publish_steadily(api: http.client.HTTPConnection, load: Load, healthy: Collection[int]) -> int:
    """Events for endpoints drawn, whether they are there or not, in small calls; how many were for healthy ones."""
    chance, started_s, count = random.Random(load.seed), time.perf_counter(), 0
    for tick in range(round(load.duration_s / TICK_S)):
        time.sleep(max(0.0, started_s + tick * TICK_S - time.perf_counter()))
        numbers = [chance.randrange(load.endpoints) for _ in range(round(PER_S * TICK_S))]
        _publish(api, numbers)
        count += sum(number in healthy for number in numbers)
    return count


def _wait(sender: Served, database: Database, count: int) -> None:
    """Until so many have been delivered."""

    def delivered() -> int:
        with database.read() as connection:
            sql = "select count(*) from hookline_sender_attempts where outcome = 'succeeded'"
            found: Any = connection.execute(sql).fetchone()[0]
            return int(found)

    sender.wait_until(
        lambda: delivered() >= count,
        lambda: f"expected {count:,} deliveries that succeeded, got {delivered():,}",
        timeout_s=PATIENCE_S,
    )
