"""Statements per delivery, and while idle, of a `hookline serve sender`: begin and commit counted like any other.

On SQLite they are counted at the connection, on PostgreSQL by the server, which logs them. Looks at `data_version` are
counted apart.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from bench.backlog import add_deliveries, add_endpoints
from bench.databases import Databases
from bench.deliveries import sink
from bench.measure import Options
from bench.served import BOX, Served, beside, serving, states
from hookline.storage import Database, connect

ENDPOINTS: Final = 10
AT_ONCE: Final = 10_000
SINGLY: Final = 50
# Longer than SQLite needs to see another process's commit.
APART_S: Final = 0.2
IDLE_S: Final = 30.0
GOAL_S: Final = 5.0
SETTLED_S: Final = 1.0


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report. What is counted does not change from round to round: there is one."""
    at_once, singly = options.sized(AT_ONCE, 100), options.sized(SINGLY, 3)
    idle_s = IDLE_S * options.scale
    with contextlib.ExitStack() as stack:
        port, _ = stack.enter_context(sink(1, None))
        url = stack.enter_context(databases.fresh())
        database = connect(beside(databases, url))
        stack.callback(database.close)
        add_endpoints(database, ENDPOINTS, lambda number: f"http://127.0.0.1:{port}/{number}", seal=BOX.seal)
        sender = stack.enter_context(serving(databases, url, is_counted=True))
        # Windows learned, statements prepared.
        _deliver(database, sender, 10 * ENDPOINTS)
        before = sender.statements()
        _deliver(database, sender, at_once)
        together = (sender.statements() - before) / at_once
        before = sender.statements()
        for _ in range(singly):
            _deliver(database, sender, 1)
            time.sleep(APART_S)
        apart = (sender.statements() - before) / singly
        time.sleep(SETTLED_S)
        before, looks = sender.statements(), sender.looks()
        time.sleep(idle_s)
        idle, looked = sender.statements() - before, sender.looks() - looks
    yield f"statements of `hookline serve sender`, {databases.name}, {ENDPOINTS} endpoints"
    yield f"  per delivery, {at_once:,} at once      {together:6.2f}  (the goal: 1 each way)"
    yield f"  per delivery, one at a time, {singly:>3}  {apart:6.2f}"
    yield f"  idle, in {GOAL_S:g} s, over {idle_s:g} s        {idle / idle_s * GOAL_S:6.2f}  (the goal: 1)"
    if databases.kind == "sqlite":
        yield f"  idle, looks at data_version /s    {looked / idle_s:6.2f}"


def _deliver(database: Database, sender: Served, count: int) -> None:
    """Have so many deliveries due, and wait until they are delivered."""
    done = states(database).get("succeeded", 0)
    add_deliveries(database, count, fanout=1)
    database.notify("deliveries")
    sender.wait_until(
        lambda: states(database).get("succeeded", 0) == done + count,
        lambda: f"expected {done + count} deliveries that succeeded, got {states(database)}",
    )
