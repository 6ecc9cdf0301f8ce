"""Durable accepts per second, against the same server verifying the same requests and storing nothing.

Through Hookline's own server and through each framework, at few, some and many connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Final

import uvloop

from bench.databases import Databases
from bench.door_server import SERVERS
from bench.measure import BenchError, Child, Options, Run, cost, pinned, process, spread, tree_cpu_s
from bench.raw import drive

SECRET = "whsec_bench_only_000000000000000"
CONNECTIONS: Final = (16, 64, 256)
MODES: Final = ("verify", "store")
STALL_S = 30.0
PADDING = "x" * 700  # the whole body is about 1.1 KiB, as a directory user is


def body(number: int) -> bytes:
    """A user event of its own id."""
    return (
        f'{{"id":"event_01BENCH{number:015d}","event":"dsync.user.updated","data":{{"id":"directory_user_{number:026d}",'
        f'"object":"directory_user","state":"active","email":"u{number}@example.com","first_name":"Ada","last_name":"Bench",'
        f'"directory_id":"directory_1","organization_id":"org_1","note":"{PADDING}",'
        f'"created_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-01T00:00:00.000Z"}},'
        f'"created_at":"2026-01-01T00:00:00.000Z"}}'
    ).encode()


def request(number: int) -> bytes:
    """The whole signed HTTP request."""
    payload = body(number)
    t = str(time.time_ns() // 1_000_000)
    digest = hmac.digest(SECRET.encode(), t.encode() + b"." + payload, hashlib.sha256).hex()
    return (
        f"POST /webhooks HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\nWorkOS-Signature: t={t}, v1={digest}\r\n\r\n"
    ).encode() + payload


def load(port: int, pid: int, databases: Databases, duration_s: float, first: int, connections: int) -> Run:
    """Drive the server for that long; every answer must be 200."""
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    numbers = iter(range(first, first + 10_000_000))

    async def run() -> float:
        started_s = time.perf_counter()
        ends_s = started_s + duration_s

        def next_request() -> bytes | None:
            return request(next(numbers)) if time.perf_counter() < ends_s else None

        def on_answer(status: int, latency_s: float) -> None:
            statuses[status] = statuses.get(status, 0) + 1
            latencies.append(latency_s)

        async with asyncio.timeout(duration_s + STALL_S):
            await drive("127.0.0.1", port, connections=connections, next_request=next_request, on_answer=on_answer)
        return time.perf_counter() - started_s

    before_s, server_s = tree_cpu_s(pid), databases.server_s()
    try:
        elapsed_s = uvloop.run(run())
    except TimeoutError:
        raise BenchError(f"expected every request answered within {STALL_S:g} s, got answers {statuses}") from None
    if set(statuses) != {200}:
        raise BenchError(f"expected 200 throughout, got {statuses}")
    own_s, after_s = tree_cpu_s(pid) - before_s, databases.server_s()
    used_s = None if server_s is None or after_s is None else after_s - server_s
    return Run(len(latencies), elapsed_s, own_s, latencies, used_s)


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report."""
    duration_s = 3.0 * options.scale
    sizes = (CONNECTIONS[1],) if options.is_small else CONNECTIONS
    yield (
        f"durable accepts/s, {databases.described}, one process on one core "
        f"(rounds: {options.rounds} of {duration_s:g} s)"
    )
    for name, one in SERVERS.items():
        runs: dict[tuple[str, int], list[Run]] = {(mode, size): [] for size in sizes for mode in MODES}
        for number in range(options.rounds):
            for mode in MODES:
                with databases.fresh() as url, serving(name, mode, url) as (server, port), pinned(1):
                    load(port, server.pid, databases, min(0.5, duration_s), 0, sizes[-1])
                    for place, size in enumerate(sizes):
                        first = 10_000_000 * (1 + number * len(sizes) + place)
                        runs[mode, size].append(load(port, server.pid, databases, duration_s, first, size))
        yield f"  {one.about}"
        for size in sizes:
            yield from _said(size, *(runs[mode, size] for mode in MODES))


@contextlib.contextmanager
def serving(name: str, mode: str, url: str) -> Iterator[tuple[Child, int]]:
    """One of the servers on a database that it finds empty; yields it with its port, once it answers."""
    with process("bench.door_server", name, mode, url, SECRET) as (server, port):
        yield server, int(port)


def _said(connections: int, floor: Sequence[Run], stored: Sequence[Run]) -> Iterator[str]:
    yield f"    {connections} connections"
    for label, runs in (("verified, nothing stored", floor), ("stored, then 200", stored)):
        yield (
            f"      {label:<25} {statistics.median(run.per_s for run in runs):>7,.0f}/s"
            f"  p50 {statistics.median(run.percentile_ms(50) for run in runs):.1f} ms"
            f"  p99 {statistics.median(run.percentile_ms(99) for run in runs):.1f} ms"
            f"  {cost(runs)}"
        )
    ratios = [one.per_s / none.per_s for one, none in zip(stored, floor, strict=True)]
    yield f"      ratio                   {spread(ratios)}"
    by_cpu = [none.cpu_us / one.cpu_us for one, none in zip(stored, floor, strict=True)]
    yield f"      ratio by CPU            {spread(by_cpu)}"
