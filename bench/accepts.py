"""Durable accepts per second, against the same server verifying the same requests and storing nothing."""

from __future__ import annotations

import hashlib
import hmac
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from bench.measure import Run, cpu_s, process, spread
from bench.raw import drive, pin

SECRET = "whsec_bench_only_000000000000000"
CONNECTIONS = 64
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


def load(port: int, pid: int, duration_s: float, first: int) -> Run:
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

        await drive("127.0.0.1", port, connections=CONNECTIONS, next_request=next_request, on_answer=on_answer)
        return time.perf_counter() - started_s

    before_s = cpu_s(pid)
    elapsed_s = uvloop.run(run())
    if set(statuses) != {200}:
        raise RuntimeError(f"expected 200 throughout, got {statuses}")
    return Run(len(latencies), elapsed_s, cpu_s(pid) - before_s, latencies)


def measure(*, rounds: int, scale: float) -> list[str]:
    """The lines of the report; `scale` 1 is the size that is quoted."""
    duration_s = 3.0 * scale
    pin(1)
    runs: dict[str, list[Run]] = {"verify": [], "store": []}
    for number in range(rounds):
        for mode, results in runs.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                process("bench.door_server", mode, str(Path(folder) / "bench.db"), SECRET) as (server, port),
            ):
                load(int(port), server.pid, 0.5, 0)
                results.append(load(int(port), server.pid, duration_s, 1_000_000 * (number + 1)))
    ratios = [store.per_s / verify.per_s for store, verify in zip(runs["store"], runs["verify"], strict=True)]
    lines = [
        f"durable accepts/s, SQLite, one core, {CONNECTIONS} connections, FULL ({rounds} rounds of {duration_s:g} s)"
    ]
    for mode, label in (("verify", "verified, nothing stored"), ("store", "stored, then 200")):
        results = runs[mode]
        lines.append(
            f"  {label:<26} {statistics.median(run.per_s for run in results):>8,.0f}/s"
            f"  p50 {statistics.median(run.percentile_ms(50) for run in results):.1f} ms"
            f"  p99 {statistics.median(run.percentile_ms(99) for run in results):.1f} ms"
            f"  {statistics.median(run.cpu_us for run in results):.0f} us CPU each"
        )
    lines.append(f"  ratio                      {spread(ratios)}")
    return lines
