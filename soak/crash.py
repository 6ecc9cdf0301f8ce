"""kill -9 at seeded moments under load, ten rounds: the same round that CI runs twice, with more kills in each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.crash.load import Count, run_round

from soak.report import Report

ROUNDS: Final = 10
EVENTS: Final = 2_000
KILLS: Final = 3
COLUMNS: Final = (
    "seed",
    "killed",
    "published again for want of an answer",
    "lost",
    "effects missing or doubled",
    "attempts cut = unknown",
    "runs cut = tried again",
    "given up, cut three times",
    "came again on the wire",
    "of these unexplained",
    "s",
)


def soak(*, seed: int, scale: float, say: Callable[[str], None]) -> Report:
    """Rounds with seeds of their own; `scale` is for their number."""
    report = Report()
    counts = []
    for number in range(max(1, round(ROUNDS * scale))):
        with tempfile.TemporaryDirectory() as folder:
            count = run_round(Path(folder), seed=seed * 1_000 + number, events=EVENTS, kills=KILLS)
        counts.append(count)
        wrong = count.wrong()
        report.wrong += [f"seed {count.seed}: {one}" for one in wrong]
        say(f"crash: seed {count.seed}, {', '.join(count.killed)}: {'; '.join(wrong) or 'all is well'}")
    report.lines = [
        "# kill −9 under load",
        "",
        "The table of every single step at which a program dies, and what that may cost, is `STEPS` in",
        "`tests/crash/test_steps.py`; it runs on every change, and so do two rounds of what follows, with one kill",
        "each of sender, receiver and worker.",
        "",
        f"Per round {EVENTS:,} events are published over HTTP by three callers, delivered, received, mirrored and",
        f"handled, while sender, receiver and worker (three processes) die {KILLS} times each by SIGKILL at moments",
        "drawn from the seed and are started again. In parentheses: how much of its work each had done when it died.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *[_row(count) for count in counts],
        "",
        "A delivery of which a third attempt is cut has failed, since it may be what ends the sender; a person may",
        "retry it.",
        "A repetition is explained where its event has an attempt that ended unknown or without an answer, or one",
        "whose request was made again on a fresh connection. Not in the table, and checked as well: every event that",
        "was answered 201 is stored once, all runs and all other deliveries succeeded, the mirror holds exactly the",
        f"users published, both files pass SQLite's integrity check. Wrong in all rounds: {len(report.wrong)}.",
    ]
    return report


def _row(count: Count) -> str:
    accepted = set(count.accepted.values())
    cells = (
        count.seed,
        _killed(count),
        count.called_again,
        len(accepted - count.kept) + len(accepted - count.published),
        len(accepted - count.effects.keys()) + sum(times > 1 for times in count.effects.values()),
        f"{len(count.cut_deliveries)} = {len(count.unknown)}",
        f"{len(count.cut_runs)} = {count.tried_runs}",
        len(count.given_up),
        count.repeats.total(),
        (count.repeats - count.explained).total(),
        f"{count.took_s:.0f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _killed(count: Count) -> str:
    by_part: dict[str, list[str]] = {}
    for one in count.killed:
        part, _, at = one.partition(" at ")
        by_part.setdefault(part, []).append(at)
    return ", ".join(f"{part} ({', '.join(ats)})" for part, ats in by_part.items())
