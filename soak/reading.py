"""4,000 sources read while they are written to and tell of it with losses; on PostgreSQL 400. The model is
tests/model/reading.py; this file sets its size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.model.reading import Result, race
from tests.postgres import make_cluster

from soak.report import Report

RACES = 4_000
RACES_ON_POSTGRESQL = 400
SLICE = 200
"""So many share one database."""

_INTRODUCTION = """\
# Passes against webhooks

A small source (an organization, directories, users, groups, memberships) is written to and read at the same time:
passes and single questions, page by page, at replicas that lag up to 12 s, while its webhooks come late, twice, in any
order and in part never (of some sources all of them), and one request in twenty fails. Then one more pass is made, and
half of what was lost comes after all. Wrong would be a mirror that is not the source after that pass or after those
late webhooks, and any end that was told to handlers of something that had not ended at the source.
"""


def soak(*, seed: int, scale: float, say: Callable[[str], None], database: str = "sqlite") -> Report:
    """Run them.

    Args:
        seed: the same seed makes the same races.
        scale: multiplies their number.
        say: told how far it is.
        database: `sqlite`, or `postgresql`: the system's own, started for it, without fsync.
    """
    count = max(1, round((RACES_ON_POSTGRESQL if database == "postgresql" else RACES) * scale))
    total = Result()
    for part in _races(seed, count, database):
        for name in ("races", "events", "lost", "requests", "passes", "healed"):
            setattr(total, name, getattr(total, name) + getattr(part, name))
        total.wrong += part.wrong
        say(f"reading: {total.races:,} of {count:,}, {len(total.wrong)} wrong")
    row = (
        f"| {total.races:,} | {total.events:,} | {total.lost:,} | {total.passes:,} | {total.requests:,} "
        f"| {total.healed:,} | {len(total.wrong)} |"
    )
    lines = [
        *_INTRODUCTION.splitlines(),
        "",
        "| sources | events | of these lost | passes | requests | not equal before the last pass | wrong |",
        "|---|---|---|---|---|---|---|",
        row,
    ]
    return Report(lines, total.wrong)


def _races(seed: int, count: int, database: str) -> Iterator[Result]:
    if database == "postgresql":
        cluster = make_cluster()
        try:
            yield race(cluster.url(cluster.create()), seed=f"soak {seed}", count=count)
        finally:
            cluster.stop()
        return
    with tempfile.TemporaryDirectory(prefix="hl-reading-") as folder:
        for first in range(0, count, SLICE):
            url = f"sqlite:///{Path(folder) / f'{first}.db'}"
            yield race(url, seed=f"soak {seed}", first=first, count=min(SLICE, count - first))
