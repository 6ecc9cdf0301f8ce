"""A million entries of the inbox, applied by `hookline serve worker`, and what it holds of memory meanwhile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from bench.backlog import USERS, add_entries
from bench.databases import NAMES, opened
from bench.served import Served, beside, serving

from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from soak.report import Report

ENTRIES = 1_000_000
PARTS = 10
LOOK_S = 0.25
STALL_S = 60.0
MOST = 1.25
"""So much of what it holds in the second tenth may it hold at most in any later one."""

_INTRODUCTION = """\
# A backlog of a million, drained

So many entries wait in the inbox, each an update of one of {users:,} users; `hookline serve worker`, started on them,
applies all. Its memory is looked at four times a second. {database}."""


def soak(*, seed: int, scale: float, say: Callable[[str], None], database: str = "sqlite") -> Report:  # noqa: ARG001
    """Run it.

    Args:
        seed: nothing is drawn.
        scale: multiplies the number of entries.
        say: told how far it is.
        database: `sqlite`, or `postgresql`: the system's own, started for it, with fsync.
    """
    count = max(10 * PARTS, round(ENTRIES * scale))
    with opened("sqlite" if database == "sqlite" else "postgres") as databases, databases.fresh() as url:
        told = _INTRODUCTION.format(users=min(USERS, count), database=databases.described)
        report = Report(
            [*told.splitlines(), "", "| applied | entries/s | MiB, median | MiB, most |", "|---|---|---|---|"]
        )
        reached = connect(beside(databases, url))
        try:
            migrate(reached, "receiver", "hookline.receiver")
            add_entries(reached, count)
            say(f"drain: {count:,} entries wait, {NAMES[databases.kind]}")
            with serving(databases, url, "worker") as served:
                parts = [_drain(served, reached, count * number // PARTS, say) for number in range(1, PARTS + 1)]
            report.wrong += _amiss(reached, count)
        finally:
            reached.close()
    for done, per_s, samples in parts:
        report.lines.append(f"| {done:,} | {per_s:,.0f} | {statistics.median(samples):.1f} | {max(samples):.1f} |")
    settled, most = statistics.median(parts[1][2]), max(max(samples) for _, _, samples in parts[1:])
    report.lines += ["", f"The most after the first tenth is {most / settled:.2f} of the second tenth's median."]
    if most > MOST * settled:
        report.wrong.append(f"memory: expected at most {MOST} of {settled:.1f} MiB, got {most:.1f}")
    return report


def _drain(
    served: Served, database: Database, until: int, say: Callable[[str], None]
) -> tuple[int, float, list[float]]:
    """Wait until so many are applied. Returns how many are, how many a second that were, and MiB held meanwhile."""
    before, began_s = _applied(database), time.monotonic()
    done, moved_s, samples = before, began_s, [served.rss_mb()]
    while done < until:
        time.sleep(LOOK_S)
        last, done = done, _applied(database)
        moved_s = time.monotonic() if done > last else moved_s
        samples.append(served.rss_mb())
        if not served.child.is_running or time.monotonic() > moved_s + STALL_S:
            raise RuntimeError(f"expected {until:,} applied, got {done:,}, then none in {STALL_S:g} s")
    say(f"drain: {done:,} applied, {samples[-1]:.1f} MiB")
    return done, (done - before) / max(time.monotonic() - began_s, 1e-9), samples


def _applied(database: Database) -> int:
    """How many are through: in the order of their numbers, so that the first of the queue tells."""
    with database.read() as connection:
        row = connection.execute(
            "select coalesce((select min(seq) from hookline_inbox_queue) - 1, (select max(seq) from hookline_inbox))"
        ).fetchone()
    return int(row[0])


def _amiss(database: Database, count: int) -> list[str]:
    """What is not as it should be at the end."""
    with database.read() as connection:
        outcomes = dict(connection.execute("select outcome, count(*) from hookline_inbox_outcomes group by outcome"))
        (users,) = connection.execute("select count(*) from hookline_directory_users_live").fetchone()
    wrong = []
    if outcomes != {"applied": count}:
        wrong.append(f"expected {count:,} applied, got {outcomes}")
    if users != min(USERS, count):
        wrong.append(f"expected {min(USERS, count):,} users in the mirror, got {users:,}")
    return wrong
