"""A million events published by four processes at once, and followed. The run is tests/e2e/feed_readers.py; this file
sets its size.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.databases import opened
from tests.e2e.feed_readers import LIMITS, run_feed

from soak.report import Report

EVENTS = 1_000_000
SQLITE_PART = 10
"""On SQLite a slow transaction keeps all others waiting: so many times fewer."""
PATIENCE_S = 7_200.0

_INTRODUCTION = """\
# Followed while four processes publish

Two apps publish by `Outbox.publish(…, connection=)` in transactions that take up to 60 ms, of which they take back one
in five, two servers in commits of up to 20 events, all at once; `hookline serve sender` answers two readers who follow
`after`. On PostgreSQL up to 5 ms are put between taking places in the feed and the commit, where an event could be
passed by. Wrong would be a reader who has not read exactly what the feed then holds, in its order, or a feed that is
not exactly what was committed. {database}."""


def soak(*, seed: int, scale: float, say: Callable[[str], None], database: str = "postgresql") -> Report:
    """Run it.

    Args:
        seed: the same seed publishes the same events; how the processes meet is the machine's.
        scale: multiplies their number.
        say: told how far it is.
        database: `postgresql`: the system's own, started for it, with fsync; or `sqlite`.
    """
    count = max(400, round(EVENTS * scale)) // (1 if database == "postgresql" else SQLITE_PART)
    began_s = time.monotonic()
    with (
        opened("sqlite" if database == "sqlite" else "postgres") as databases,
        databases.fresh() as url,
        tempfile.TemporaryDirectory(prefix="hl-soak-") as folder,
    ):
        told = _INTRODUCTION.format(database=databases.described)
        run = run_feed(
            url, Path(folder), count, seed=seed, patience_s=PATIENCE_S, say=lambda line: say(f"feed: {line}")
        )
    took_s = time.monotonic() - began_s
    lines = [
        *told.splitlines(),
        "",
        "| published | taken back | read, pages of | at the tip | wrong |",
        "|---|---|---|---|---|",
    ]
    read = ", ".join(f"{number:,} of {limit}" for number, limit in zip(run.read, LIMITS, strict=True))
    lines.append(f"| {run.committed:,} | {run.undone:,} | {read} | {run.waits:,} times | {len(run.wrong)} |")
    lines += ["", f"{run.committed / took_s:,.0f} events a second were published and read twice."]
    return Report(lines, run.wrong)
