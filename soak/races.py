"""20,000 ends of access against the events below them. The model is tests/model/races.py; this file sets its size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.model.races import Result, race_by_turns

from soak.report import Report

RACES = 20_000
SLICE = 1_000
"""So many share one database file."""


def soak(*, seed: int, scale: float, say: Callable[[str], None]) -> Report:
    """Run them.

    Args:
        seed: the same seed makes the same races.
        scale: multiplies their number.
        say: told how far it is.
    """
    count, total = max(1, round(RACES * scale)), Result()
    for first in range(0, count, SLICE):
        with tempfile.TemporaryDirectory() as folder:
            size = min(SLICE, count - first)
            part = race_by_turns(Path(folder) / "app.db", seed=str(seed), count=size, first=first)
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
            "# Ends of access, raced",
            "",
            "A user, group, directory or organization is deleted, or a user deactivated, while the events of all",
            "below arrive in any order, a quarter of them twice. Four workers take turns step by step; handlers fail",
            "after they have written, and workers die with claimed runs. The app's own tables, the views, the change",
            "feed and the pure rules are compared, and nobody may have access who was last heard of before its end.",
            "",
            "| races | events | runs done | failed and retried | leases lapsed | with access at the end | wrong |",
            "|---|---|---|---|---|---|---|",
            row,
        ],
        total.wrong,
    )
