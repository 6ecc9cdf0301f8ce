"""What claiming and settling cost with ten thousand, a hundred thousand, a million and five million deliveries waiting.

The delivery loop's own transactions (rounds.py), each settling the hundred claimed by the one before and claiming the
next: ten endpoints of a thousand, ten deliveries each. Nothing is sent. Whether a whole table is read is not taken
from plans but from the database: SQLite's instructions per row, PostgreSQL's count of rows read by sequential scans.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.backlog import add_deliveries, add_endpoints
from bench.databases import Databases
from bench.measure import BenchError, Options, Run, cost, pinned, spread
from hookline.loop import SystemClock
from hookline.rules.health import HealthPolicy
from hookline.rules.response import judge
from hookline.sender.attempt import Finished
from hookline.sender.claiming import SCHEDULES, Leases
from hookline.sender.delivery_store import Claimed, DeliveryStore
from hookline.sender.ids import IdMaker
from hookline.sender.model import Attempt
from hookline.sender.rounds import Rounds, Tasks
from hookline.storage import Database, connect

ENDPOINTS: Final = 1_000
AT_ONCE: Final = 10  # endpoints to a claim, and deliveries of each
BATCH: Final = AT_ONCE * AT_ONCE
ROWS: Final = 20_000  # a round; of a small backlog a quarter, so that three rounds find enough
SIZES: Final = (10_000, 100_000, 1_000_000)
LARGE: Final = 5_000_000
SMALL: Final = (1_000, 10_000)
AGAINST: Final = 100_000
# How many times slower the largest may be than a hundred thousand (DESIGN 7).
GOALS: Final = {"sqlite": 2.0, "postgres": 1.5}
TABLES: Final = ("hookline_sender_deliveries", "hookline_sender_events", "hookline_sender_attempts")
# SQLite calls back after so many instructions.
STEP: Final = 100
# As an attempt's is: the request as sent, the answer, the timings.
EVIDENCE: Final = (
    '{"url":"http://127.0.0.1:40001/417","endpoint_version":1,"request":{"headers":[["Content-Type","application/json'
    '"],["User-Agent","Hookline/0.4.0"],["WorkOS-Signature","t=1795795601985, v1=0f3a9c41…"]]},"address":"127.0.0.1",'
    '"tls":null,"reused":true,"redone":false,"timings":{"dns_ms":null,"connect_ms":null,"tls_ms":null,'
    '"first_byte_ms":1.204,"total_ms":1.311},"answer":{"headers":[["Content-Length","0"]],"body":"","body_bytes":0,'
    '"body_end":"complete"}}'
)


@dataclass
class Backlog:
    """One database with so many deliveries waiting, and what was measured on it."""

    waiting: int
    database: Database
    endpoint_rows: list[int]
    rounds: Rounds
    chance: random.Random
    runs: list[Run] = field(default_factory=list)
    discoveries_s: list[float] = field(default_factory=list)
    _queue: list[int] = field(default_factory=list)

    def slots(self) -> dict[int, int]:
        """The next endpoints to claim of: each once before any comes again, in an order that is drawn."""
        if len(self._queue) < AT_ONCE:
            self._queue = self.chance.sample(self.endpoint_rows, len(self.endpoint_rows))
        chosen, self._queue = self._queue[:AT_ONCE], self._queue[AT_ONCE:]
        return dict.fromkeys(chosen, AT_ONCE)

    def turn_over(self, count: int) -> int:
        """Claim and settle until so many are settled; how many were."""
        settled, finished = 0, list[Finished]()
        while settled < count:
            cycle = self.rounds.transact(finished, self.slots(), Tasks())
            if len(cycle.claim.sent) != BATCH or len(cycle.settled) != len(finished):
                raise BenchError(
                    f"expected {BATCH} claimed and {len(finished)} settled with {self.waiting:,} waiting, "
                    f"got {len(cycle.claim.sent)} and {len(cycle.settled)}"
                )
            finished = [_succeeded(one) for one in cycle.claim.sent]
            settled += len(finished)
        self.rounds.transact(finished, {}, Tasks())
        return settled


def _succeeded(claimed: Claimed) -> Finished:
    ended_ms = claimed.claimed_ms + 1
    outcome = judge(200, retry_after=None, now_ms=ended_ms)
    attempt = Attempt(
        claimed.row_id, claimed.attempt, claimed.kind, "succeeded", outcome.reason, 200, claimed.claimed_ms, 1, EVIDENCE
    )
    return Finished(claimed, claimed.endpoint.row_id, outcome, ended_ms, (attempt,), (None,))


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report."""
    sizes = SMALL if options.is_small else (*SIZES, LARGE) if options.is_large else SIZES
    with contextlib.ExitStack() as stack:
        endpoints = options.sized(ENDPOINTS)
        backlogs = [_made(stack, databases, waiting, endpoints, options.seed) for waiting in sizes]
        stack.enter_context(pinned(0))
        for backlog in backlogs:
            backlog.turn_over(min(BATCH * 10, backlog.waiting // 10))  # statements prepared, pages read
        for _ in range(options.rounds):
            for backlog in backlogs:
                _run(databases, backlog, min(options.sized(ROWS, BATCH), max(BATCH, backlog.waiting // 5)))
        looked_at = [_looked_at(databases, backlog) for backlog in backlogs]
    _check_looks(databases, backlogs, looked_at)
    looks = "instructions" if databases.kind == "sqlite" else "rows by sequential scans"
    yield (
        f"claimed and settled rows/s by backlog, {databases.described}, {endpoints:,} endpoints, batches of {BATCH}, "
        f"rounds: {options.rounds}, seed {options.seed}"
    )
    for backlog, each in zip(backlogs, looked_at, strict=True):
        yield (
            f"  {backlog.waiting:>9,} waiting {statistics.median(run.per_s for run in backlog.runs):>8,.0f}/s"
            f"  {cost(backlog.runs)}  a look at what there is {statistics.median(backlog.discoveries_s) * 1000:.1f} ms"
            f"  {each:,.0f} {looks} a row"
        )
    base = next((backlog for backlog in backlogs if backlog.waiting == AGAINST), backlogs[0])
    for backlog in backlogs:
        if backlog is not base:
            slower = [few.per_s / many.per_s for few, many in zip(base.runs, backlog.runs, strict=True)]
            yield f"  {backlog.waiting:,} against {base.waiting:,}: slower by {spread(slower)}"
    yield f"  (the goal: 5,000,000 slower by no more than {GOALS[databases.kind]})"


def _made(stack: contextlib.ExitStack, databases: Databases, waiting: int, endpoints: int, seed: int) -> Backlog:
    url = stack.enter_context(databases.fresh())
    database = connect(url)
    store = add_endpoints(database, endpoints, lambda number: f"http://127.0.0.1:40001/{number}")
    add_deliveries(database, waiting)
    if databases.kind == "postgres":
        # As autovacuum leaves a table some minutes later.
        with databases.cluster.connect(databases.name_of(url)) as connection:
            connection.execute("vacuum analyze")
            connection.execute("checkpoint")
    rounds = Rounds(
        database,
        store,
        DeliveryStore(database.dialect),
        clock=SystemClock(),
        jitter=lambda: 0.0,
        schedules=SCHEDULES,
        health=HealthPolicy(),
        leases=Leases(15_000, 15_000),
        ids=IdMaker(),
    )
    stack.callback(database.close)
    with database.read() as connection:
        rows = connection.execute("select row_id from hookline_sender_endpoints order by row_id").fetchall()
    return Backlog(waiting, database, [row for (row,) in rows], rounds, random.Random(seed))


def _run(databases: Databases, backlog: Backlog, rows: int) -> None:
    began_s, own_s, server_s = time.perf_counter(), time.process_time(), databases.server_s()
    count = backlog.turn_over(rows)
    elapsed_s, own_s, after_s = time.perf_counter() - began_s, time.process_time() - own_s, databases.server_s()
    used_s = None if server_s is None or after_s is None else after_s - server_s
    backlog.runs.append(Run(count, elapsed_s, own_s, server_s=used_s))
    began_s = time.perf_counter()
    discovery = backlog.rounds.discover()
    backlog.discoveries_s.append(time.perf_counter() - began_s)
    if not 0 < len(discovery.endpoints) <= len(backlog.endpoint_rows):
        raise BenchError(f"expected up to {len(backlog.endpoint_rows)} endpoints with work, got {discovery}")


def _looked_at(databases: Databases, backlog: Backlog) -> float:
    """What the database looks at to claim and settle a row, on the average.

    SQLite: instructions of its machine. PostgreSQL: rows that sequential scans have read.
    """
    count = BATCH * 2
    if databases.kind == "postgres":
        before = _read_in_order(databases, backlog.database)
        backlog.turn_over(count)
        return (_read_in_order(databases, backlog.database) - before) / count
    steps = 0

    def stepped() -> None:
        nonlocal steps
        steps += STEP

    with backlog.database.transaction() as connection:
        connection.set_progress_handler(stepped, STEP)
    backlog.turn_over(count)
    with backlog.database.transaction() as connection:
        connection.set_progress_handler(None, STEP)
    return steps / count


def _check_looks(databases: Databases, backlogs: Sequence[Backlog], looked_at: Sequence[float]) -> None:
    """BenchError where a whole table was read: SQLite does more for a row, PostgreSQL reads what no index led to."""
    for backlog, looks in zip(backlogs, looked_at, strict=True):
        # Of a table of ten thousand rows PostgreSQL may well read all in order rather than a hundred by their keys.
        most = 2 * looked_at[0] if databases.kind == "sqlite" else 0 if backlog.waiting >= AGAINST else float("inf")
        if looks > most:
            raise BenchError(
                f"expected at most {most:.0f} looks a row with {backlog.waiting:,} waiting, got {looks:.0f}"
            )


def _read_in_order(databases: Databases, database: Database) -> int:
    """How many rows of the tables that grow the server has read by sequential scans so far."""
    with database.read() as connection:
        # One connection does all the work here: what it has counted is to be seen now.
        connection.execute("select pg_stat_force_next_flush()").fetchall()
        name = connection.info.dbname
    with databases.cluster.connect(name) as connection:
        rows = connection.execute(
            "select sum(seq_tup_read) from pg_stat_user_tables where relname = any(%s)", [list(TABLES)]
        ).fetchall()
    return int(rows[0][0])
