"""20,000 ends of access against the events below them; on PostgreSQL 5,000, between real processes. The model is
tests/model/races.py; this file sets its size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.model.races import Result, race_by_processes, race_by_turns
from tests.postgres import make_cluster

from soak.report import Report

RACES = 20_000
RACES_ON_POSTGRESQL = 5_000
SLICE = 1_000
"""So many share one database."""

_INTRODUCTION = """\
# Ends of access, raced

A user, group, directory or organization is deleted, or a user deactivated, while the events of all
below arrive in any order, a quarter of them twice. {how}
The app's own tables, the views, the change feed and the pure rules are compared, and nobody may have
access who was last heard of before its end.
"""
_BY_TURNS = """\
Four workers take turns step by step; handlers fail
after they have written, and workers die with claimed runs."""
_BY_PROCESSES = """\
Four real workers, each a process of its
own, apply and call handlers at once on one PostgreSQL; handlers fail after they have written."""


def soak(*, seed: int, scale: float, say: Callable[[str], None], database: str = "sqlite") -> Report:
    """Run them.

    Args:
        seed: the same seed makes the same races.
        scale: multiplies their number.
        say: told how far it is.
        database: `sqlite`, or `postgresql`: the system's own, started for it, without fsync.
    """
    is_postgres = database == "postgresql"
    total = Result()
    count = max(1, round((RACES_ON_POSTGRESQL if is_postgres else RACES) * scale))
    race = _by_processes if is_postgres else _by_turns
    for part in race(seed, count):
        total.races += part.races
        total.events += part.events
        total.changes += part.changes
        total.retries += part.retries
        total.lapsed += part.lapsed
        total.on += part.on
        total.wrong += part.wrong
        say(f"races: {total.races:,} of {count:,}, {len(total.wrong)} wrong")
    row = (
        f"| {total.races:,} | {total.events:,} | {total.changes:,} | {total.retries:,} | {total.lapsed:,} "
        f"| {total.on:,} | {len(total.wrong)} |"
    )
    return Report(
        [
            *_INTRODUCTION.format(how=_BY_PROCESSES if is_postgres else _BY_TURNS).splitlines(),
            "",
            "| races | events | runs done | failed and retried | leases lapsed | with access at the end | wrong |",
            "|---|---|---|---|---|---|---|",
            row,
        ],
        total.wrong,
    )


def _by_turns(seed: int, count: int) -> Iterator[Result]:
    for first in range(0, count, SLICE):
        with tempfile.TemporaryDirectory() as folder:
            size = min(SLICE, count - first)
            yield race_by_turns(Path(folder) / "app.db", seed=str(seed), count=size, first=first)


def _by_processes(seed: int, count: int) -> Iterator[Result]:
    cluster = make_cluster()
    try:
        for first in range(0, count, SLICE):
            name = cluster.migrated()
            size = min(SLICE, count - first)
            yield race_by_processes(cluster.url(name), seed=str(seed), count=size, first=first)
            cluster.drop(name)
    finally:
        cluster.stop()
