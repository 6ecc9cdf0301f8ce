"""What `hookline serve` holds of memory while it works, with a thousand waiting and with a million.

Its sender, with deliveries waiting, and its worker, with entries of the inbox: each works off as many, while about as
many wait as before.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.backlog import FANOUT, add_deliveries, add_endpoints, add_entries
from bench.databases import Databases
from bench.deliveries import sink
from bench.measure import BenchError, Options, spread
from bench.served import BOX, Part, beside, serving
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate

ENDPOINTS: Final = 1_000
FEW: Final = 1_000
MANY: Final = 1_000_000
# So many are worked off; memory is looked at from the middle on, when what is kept for use has been filled.
DONE: Final = 20_000
SAMPLE_S: Final = 0.05
STALL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Work:
    """What one part of Hookline has waiting: how it comes, how it is counted, and who is told of more."""

    what: str
    add: Callable[[Database, int], None]
    waiting: str
    done: str
    amiss: str
    channel: str


WORK: Final[dict[Part, Work]] = {
    "sender": Work(
        "deliveries",
        add_deliveries,
        "hookline_sender_deliveries where state = 'pending'",
        "hookline_sender_attempts",
        "hookline_sender_attempts where outcome <> 'succeeded'",
        "deliveries",
    ),
    "worker": Work(
        "entries",
        add_entries,
        "hookline_inbox_queue",
        "hookline_inbox_outcomes",
        "hookline_inbox_outcomes where outcome not in ('applied', 'stale')",
        "inbox",
    ),
}


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report."""
    sizes = (FEW, options.sized(MANY, 10 * FEW) // FANOUT * FANOUT)
    done = options.sized(DONE, 500)
    endpoints = options.sized(ENDPOINTS, 100)
    yield (
        f"memory of `hookline serve` while it works off {done:,}, {databases.name}, {endpoints:,} endpoints, "
        f"rounds: {options.rounds}"
    )
    for part, work in WORK.items():
        found: dict[int, list[list[float]]] = {waiting: [] for waiting in sizes}
        with contextlib.ExitStack() as stack:
            port, _ = stack.enter_context(sink(1, None))
            urls = {
                waiting: stack.enter_context(_filled(databases, work, waiting, endpoints, port)) for waiting in sizes
            }
            for _ in range(options.rounds):
                for waiting, url in urls.items():
                    found[waiting].append(_samples(databases, url, part, waiting, done))
        yield f"  {part}"
        for waiting, runs in found.items():
            middle = statistics.median(statistics.median(run) for run in runs)
            most = max(map(max, runs))
            yield f"    {waiting:>9,} {work.what:<10} {middle:6.1f} MiB in the middle, {most:6.1f} MiB at most"
        few, many = ([statistics.median(run) for run in runs] for runs in found.values())
        ratios = [more / less for less, more in zip(few, many, strict=True)]
        yield f"    ratio                {spread(ratios)}  (the goal: flat)"


@contextlib.contextmanager
def _filled(databases: Databases, work: Work, waiting: int, endpoints: int, port: int) -> Iterator[str]:
    with databases.fresh() as url:
        database = connect(beside(databases, url))
        migrate(database, "receiver", "hookline.receiver")
        add_endpoints(database, endpoints, lambda number: f"http://127.0.0.1:{port}/{number}", seal=BOX.seal)
        work.add(database, waiting)
        database.close()
        yield url


def _samples(databases: Databases, url: str, part: Part, waiting: int, count: int) -> list[float]:
    """MiB, many times a second, while so many are worked off and about as many wait as before."""
    work = WORK[part]
    database = connect(beside(databases, url))
    samples: list[float] = []
    began = _count(database, work.done)
    try:
        with serving(databases, url, part) as served:
            done, moved_s = 0, time.monotonic()
            while done < count:
                time.sleep(SAMPLE_S)
                before, done = done, _count(database, work.done) - began
                moved_s = time.monotonic() if done > before else moved_s
                if not served.child.is_running or time.monotonic() > moved_s + STALL_S:
                    raise BenchError(f"expected {count:,} {work.what} done, got {done:,}, then none in {STALL_S:g} s")
                if done >= count // 2:
                    samples.append(served.rss_mb())
                # A thousand would be gone at once; what is taken of a million does not count.
                missing = waiting - _count(database, work.waiting) if waiting == FEW else 0
                if missing >= FANOUT:
                    work.add(database, missing // FANOUT * FANOUT)
                    database.notify(work.channel)
        if amiss := _count(database, work.amiss):
            raise BenchError(f"expected {work.what} that go well, got {amiss:,} that did not")
    finally:
        database.close()
    return samples


def _count(database: Database, what: str) -> int:
    with database.read() as connection:
        return int(connection.execute(f"select count(*) from {what}").fetchone()[0])
