"""The measurements themselves: small, so that they go on working. No figure is judged."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench import claims
from bench.backlog import add_deliveries
from bench.databases import opened
from bench.deliverer import all_succeed
from bench.measure import BenchError, Options, process

from hookline.sender.counters import Counters
from hookline.storage import Database

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the measurements pin cores: Linux alone")


# What a report has of each part, besides its title.
SAYS = {
    "accepts": r"ratio +\d+\.\d+ \(",
    "applies": r"ratio +\d+\.\d+ \(.*to bare upsert, every column(.*\n)+ +ratio +\d+\.\d+.*with a handler",
    "claims": r"10,000 against 1,000: slower by \d+\.\d+",
    "deliveries": r"ratio by CPU +\d+\.\d+ \(",
    "hanging": r"p95 with to without +\d+\.\d+",
    "lists": r"that failed +\d+\.\d ms(.*\n)+ +\d+ of \d+ under 100 ms(.*\n)+ +events: .*sender_deliveries_event",
    "memory": r"10,000 deliveries +\d+\.\d MiB(.*\n)+ +10,000 entries +\d+\.\d MiB",
    "publishing": r"1,000 to a call(.*\n)+ +ratio +\d+\.\d+",
    "statements": r"per delivery, 500 at once +\d+\.\d\d(.*\n)+ +idle, in 5 s.* \d+\.\d\d",
}
# Both databases where the bench itself speaks to them.
CASES = [
    ("accepts", "sqlite"),
    ("applies", "sqlite"),
    ("applies", "postgres"),
    ("claims", "sqlite"),
    ("claims", "postgres"),
    ("deliveries", "sqlite"),
    ("hanging", "sqlite"),
    ("lists", "postgres"),
    ("memory", "sqlite"),
    ("publishing", "sqlite"),
    ("statements", "sqlite"),
    ("statements", "postgres"),
]


@pytest.mark.long
@pytest.mark.timeout(120)  # whole processes, which take seconds; on a machine that others use, many
@pytest.mark.parametrize(("name", "database"), CASES)
def test_a_measurement_reports(name: str, database: str) -> None:
    """A small run of each part ends well, every answer and every row having been checked, and says what it found."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--small", "--database", database],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[name], done.stdout), done.stdout


def test_a_delivery_that_fails_ends_a_measurement() -> None:
    """Who waits for all to succeed is told what became of one instead, and does not wait for ever."""
    counters = Counters()
    counters.deliveries["production", "succeeded", "2xx"] = 3
    counters.deliveries["production", "pending", "reset"] = 1

    async def wait() -> None:
        running = asyncio.create_task(asyncio.sleep(60))
        try:
            await all_succeed(counters, 4, running)
        finally:
            running.cancel()

    with pytest.raises(BenchError, match=r"expected 4 deliveries that succeed, got 3, then .*'reset'"):
        asyncio.run(wait())


def test_a_loop_that_ends_ends_a_measurement() -> None:
    """A delivery loop that is gone delivers nothing more."""

    async def wait() -> None:
        running = asyncio.create_task(asyncio.sleep(0))
        await all_succeed(Counters(), 1, running)

    with pytest.raises(BenchError, match=r"expected 1 deliveries that succeed, got 0, then the loop ended"):
        asyncio.run(wait())


def test_a_process_that_says_nothing_is_not_waited_for() -> None:
    """One that has ended is told by its exit code, one that is silent by the time it was given; both are gone after."""
    with pytest.raises(BenchError, match=r"json\.tool: .*ended with 1"), process("json.tool", "/dev/null"):
        pass
    with (
        pytest.raises(BenchError, match=r"timeit: expected a line within 0\.2 s"),
        process("timeit", "-n1", "-r1", "import time; time.sleep(60)", ready_s=0.2),
    ):
        pass


def test_a_claim_that_reads_a_whole_table_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its index a claim costs what waits, and no figure is printed."""

    def add_without_index(database: Database, count: int) -> None:
        add_deliveries(database, count)
        database.run(lambda connection: connection.execute("drop index hookline_sender_deliveries_due"))
        database.run(lambda connection: connection.execute("drop index hookline_sender_deliveries_endpoint"))

    monkeypatch.setattr(claims, "add_deliveries", add_without_index)
    with opened("sqlite") as databases, pytest.raises(BenchError, match=r"looks a row with 10,000 waiting, got \d+"):
        list(claims.measure(databases, Options(rounds=1, scale=0.1, is_small=True)))


def test_nothing_that_was_started_outlives_the_bench() -> None:
    """Killed at once, it leaves no process behind."""
    sees = "from bench.measure import process\nwith process('bench.raw', '1') as (child, _): print(child.pid); input()"
    started = subprocess.Popen(
        [sys.executable, "-c", sees],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert started.stdout is not None
    child = Path(f"/proc/{int(started.stdout.readline())}/stat")
    assert child.exists()

    started.kill()
    started.communicate()

    deadline = time.monotonic() + 20
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the sink goes on without the bench"
        time.sleep(0.02)
