"""Events published through the API of a `hookline serve sender`, beside the same calls refused as late as can be.

Ten endpoints want every event; they are paused, so that storing is measured and not delivering. Of what is refused the
last event has no type that could be one: the call is authenticated, read, decoded and checked up to there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import uvloop

from bench.accepts import body
from bench.backlog import EVENT_TYPE, add_endpoints
from bench.databases import Databases
from bench.measure import BenchError, Options, Run, cost, cpu_s, pinned, spread
from bench.raw import drive
from bench.served import BOX, Served, beside, post, serving
from hookline.storage import connect

ENDPOINTS: Final = 10
DURATION_S: Final = 3.0
STALL_S: Final = 30.0
PATH: Final = "/api/v1/events"


@dataclass
class Shape:
    """How the events come: so many to a call, over so many connections. `stored` and `refused` are its runs."""

    events: int
    connections: int
    stored: list[Run] = field(default_factory=list)
    refused: list[Run] = field(default_factory=list)

    def call(self, *, is_refused: bool) -> bytes:
        """The whole request."""
        event = {"event": EVENT_TYPE, "data": json.loads(body(1))["data"]}
        events = [event] * self.events
        if is_refused:
            events = [*events[:-1], event | {"event": "no event"}]
        return post(PATH, json.dumps(events[0] if self.events == 1 else {"events": events}).encode())


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report."""
    duration_s = DURATION_S * options.scale
    shapes = [Shape(1, 64), Shape(100, 8), Shape(1_000, 2)]
    with databases.fresh() as url, contextlib.ExitStack() as stack:
        database = connect(beside(databases, url))
        stack.callback(database.close)
        add_endpoints(database, ENDPOINTS, lambda number: f"http://127.0.0.1:1/{number}", seal=BOX.seal)
        database.run(lambda connection: connection.execute("update hookline_sender_endpoints set paused_ms = 1"))
        sender = stack.enter_context(serving(databases, url))
        stack.enter_context(pinned(1))
        stored = 0
        for _ in range(options.rounds):
            for shape in shapes:
                shape.refused.append(_load(databases, sender, shape, duration_s, is_refused=True))
                shape.stored.append(_load(databases, sender, shape, duration_s, is_refused=False))
                stored += shape.stored[-1].count
        with database.read() as connection:
            sql = "select count(*) from hookline_sender_deliveries where state = 'held'"
            held = connection.execute(sql).fetchone()[0]
        if held != stored * ENDPOINTS:
            raise BenchError(f"expected {stored * ENDPOINTS:,} deliveries held, got {held:,}")
    yield (
        f"published events/s, each with {ENDPOINTS} deliveries, {databases.described}, one core, "
        f"rounds: {options.rounds} of {duration_s:g} s"
    )
    for shape in shapes:
        yield f"  {shape.events:,} to a call, {shape.connections} connections"
        for label, runs in (("refused, nothing stored", shape.refused), ("stored, then 201", shape.stored)):
            yield (
                f"    {label:<24} {statistics.median(run.per_s for run in runs):>8,.0f}/s"
                f"  p50 {statistics.median(run.percentile_ms(50) for run in runs):.1f} ms"
                f"  p99 {statistics.median(run.percentile_ms(99) for run in runs):.1f} ms"
                f"  {cost(runs)}"
            )
        ratios = [kept.per_s / bare.per_s for kept, bare in zip(shape.stored, shape.refused, strict=True)]
        yield f"    ratio                    {spread(ratios)}"
        by_cpu = [bare.cpu_us / kept.cpu_us for kept, bare in zip(shape.stored, shape.refused, strict=True)]
        yield f"    ratio by CPU             {spread(by_cpu)}"


def _load(databases: Databases, sender: Served, shape: Shape, duration_s: float, *, is_refused: bool) -> Run:
    """Drive the server with the same call for that long; times are of a call, all else of an event."""
    call, expected = shape.call(is_refused=is_refused), 422 if is_refused else 201
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def run() -> float:
        started_s = time.perf_counter()
        ends_s = started_s + duration_s

        def on_answer(status: int, latency_s: float) -> None:
            statuses[status] = statuses.get(status, 0) + 1
            latencies.append(latency_s)

        async with asyncio.timeout(duration_s + STALL_S):
            await drive(
                "127.0.0.1",
                sender.port,
                connections=shape.connections,
                next_request=lambda: call if time.perf_counter() < ends_s else None,
                on_answer=on_answer,
            )
        return time.perf_counter() - started_s

    own_s, server_s = cpu_s(sender.child.pid), databases.server_s()
    try:
        elapsed_s = uvloop.run(run())
    except TimeoutError:
        raise BenchError(f"expected every call answered within {STALL_S:g} s, got answers {statuses}") from None
    if set(statuses) != {expected}:
        raise BenchError(f"expected {expected} throughout, got {statuses}")
    own_s, after_s = cpu_s(sender.child.pid) - own_s, databases.server_s()
    used_s = None if server_s is None or after_s is None else after_s - server_s
    return Run(len(latencies) * shape.events, elapsed_s, own_s, latencies, used_s)
