"""What a `hookline serve sender` holds of memory while it delivers, with a thousand waiting and with a million."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Final

from bench.backlog import FANOUT, add_deliveries, add_endpoints
from bench.databases import Databases
from bench.deliveries import sink
from bench.measure import BenchError, Options, spread
from bench.sender import BOX, attempted, beside, serving
from hookline.storage import Database, connect

ENDPOINTS: Final = 1_000
FEW: Final = 1_000
MANY: Final = 1_000_000
# Each sender delivers so many; its memory is looked at from the middle on, when what it keeps has been filled.
DELIVERED: Final = 20_000
SAMPLE_S: Final = 0.05
STALL_S: Final = 60.0


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report."""
    sizes = (FEW, options.sized(MANY, 10 * FEW) // FANOUT * FANOUT)
    delivered = options.sized(DELIVERED, 500)
    found: dict[int, list[list[float]]] = {waiting: [] for waiting in sizes}
    with contextlib.ExitStack() as stack:
        port, _ = stack.enter_context(sink(1, None))
        urls = {waiting: stack.enter_context(databases.fresh()) for waiting in sizes}
        for waiting, url in urls.items():
            database = connect(beside(databases, url))
            stack.callback(database.close)
            add_endpoints(database, ENDPOINTS, lambda number: f"http://127.0.0.1:{port}/{number}", seal=BOX.seal)
            add_deliveries(database, waiting)
        for _ in range(options.rounds):
            for waiting, url in urls.items():
                found[waiting].append(_samples(databases, url, waiting, delivered))
    yield (
        f"memory of `hookline serve sender` while it delivers {delivered:,}, {databases.name}, {ENDPOINTS:,} endpoints,"
        f" rounds: {options.rounds}"
    )
    for waiting, runs in found.items():
        middle = statistics.median(statistics.median(run) for run in runs)
        yield f"  {waiting:>9,} waiting  {middle:6.1f} MiB in the middle, {max(map(max, runs)):6.1f} MiB at most"
    few, many = ([statistics.median(run) for run in runs] for runs in found.values())
    ratios = [more / less for less, more in zip(few, many, strict=True)]
    yield f"  ratio              {spread(ratios)}  (the goal: flat)"


def _samples(databases: Databases, url: str, waiting: int, count: int) -> list[float]:
    """MiB, many times a second, while so many deliveries are made and about as many wait as before."""
    database = connect(beside(databases, url))
    samples: list[float] = []
    began = attempted(database)
    try:
        with serving(databases, url) as sender:
            done, moved_s = 0, time.monotonic()
            while done < count:
                time.sleep(SAMPLE_S)
                before, done = done, attempted(database) - began
                moved_s = time.monotonic() if done > before else moved_s
                if not sender.child.is_running or time.monotonic() > moved_s + STALL_S:
                    raise BenchError(f"expected {count:,} attempts, got {done:,}, then none in {STALL_S:g} s")
                if waiting == FEW:
                    _top_up(database, waiting)
                if done >= count // 2:
                    samples.append(sender.rss_mb())
    finally:
        database.close()
    return samples


def _top_up(database: Database, waiting: int) -> None:
    with database.read() as connection:
        sql = "select count(*) from hookline_sender_deliveries where state = 'pending'"
        missing = waiting - connection.execute(sql).fetchone()[0]
    if missing >= FANOUT:
        add_deliveries(database, missing // FANOUT * FANOUT)
        database.notify("deliveries")
