"""What claiming runs costs on PostgreSQL, in rows that it reads: as it counts them itself."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.receiver.run_store import RunStore
from hookline.storage import Verbs

from .company import Desk

RUNS_ON = ("postgres",)
WAITING = 3_000


def rows_read(connection: Any) -> int:
    """Of the runs, in this transaction so far."""
    found: int = connection.execute(
        "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)"
        " from pg_stat_xact_user_tables where relname = 'hookline_runs'"
    ).fetchone()[0]
    return found


@pytest.mark.parametrize("objects", [None, 1_000], ids=["facts", "changes of 1,000 objects"])
def test_a_claim_reads_few_of_many_that_are_due_at_once(desk: Desk, objects: int | None) -> None:
    """Runs of a batch have one due time. A worker takes a handful at a time, and need not look at all each time."""
    desk.hooks.on("*", name="h")(lambda event, tx: None)
    desk.worker.register()
    now_ms = desk.clock.now_ms()
    runs = RunStore(Verbs("hookline.receiver", desk.database.dialect))
    key = "null" if objects is None else f"'directory_user user_' || n % {objects}"
    with desk.database.transaction() as connection:
        connection.execute(
            "insert into hookline_runs (handler, object_key, inbox_seq, change_seq, state, due_ms, created_ms)"
            f" select 'h', {key}, n, n, 'pending', {now_ms}, {now_ms} from generate_series(1, {WAITING}) n"
        )
    with desk.database.transaction() as connection:
        connection.execute("analyze hookline_runs")
    taken = 0
    for _ in range(10):
        with desk.database.transaction() as connection:
            before = rows_read(connection)
            taken += len(runs.claim(connection, ["h"], now_ms=now_ms, leased_until_ms=now_ms + 60_000, limit=4, each=4))
            assert rows_read(connection) - before < 100
    assert taken == 40
