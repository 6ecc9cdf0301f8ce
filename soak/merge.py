"""200,000 histories on the pure rules, 20,000 through the tables with one worker and with four, as many soups of events
drawn part by part, and the naive rules beside ours; on PostgreSQL those through the tables, and the soups. The models
are tests/model; this file chooses sizes and writes the report.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from tests.model import naive, soup, stored
from tests.model.judged import PACES, PLANS, Tally, doubts_in_peace, run
from tests.postgres import make_cluster

from soak.report import Report

PURE = 200_000
STORED = 20_000
SOUPS = 20_000
PEACEFUL = 5_000
LIVES = 500
"""Of one object, five events each, in every order; and twenty times as many of a company, in one order each."""
SLICE = 5_000


Place: TypeAlias = Callable[[], AbstractContextManager[Path | str]]

_COLUMNS = (
    ("an assumption broken", "broken"),
    ("wrong, though none broken and none lost", "wrong_within"),
    ("wrong before the pass", "wrong_before_pass"),
    ("wrong, where one was broken", "wrong_outside"),
    ("of these never doubted", "wrong_in_silence"),
    ("wrong after one complete pass", "wrong_healed"),
)

_INTRODUCTION = """\
# The merge rules against a source

A small source of truth (an organization, directories, users, groups, memberships) changes at random: creations, updates
with and without a new `updated_at`, deletions that take children along without a word, keys that come back, commits in
one millisecond. Its events arrive permuted, repeated and in part never. What the mirror shows in the end is compared
with the source. The model is `tests/model`; the tests run it small on every change.
"""
_PURE = """\
## The pure rules

An assumption is broken where the events' clocks do not rise in the order of commits, or an object's `updated_at` goes
back. Within them the end must be the source's: the second column of numbers is 0. Outside them, and where events were
lost, one complete pass of reads must heal it: the last column is 0. *Never doubted*: of an object or membership that
ended wrong, neither itself nor anything it hangs on was flagged `uncertain` or wished to be read again.
"""
_DOUBTS = """\
What is doubted is what lies within ε (15 s) of its opposite: a deletion of a proof of life (its own or above it), a
removal of an add, two contents of one `updated_at`; and whatever had to be guessed. Clocks further apart than that
leave no trace in the events: what they get wrong waits for the next pass. A doubt costs one read, so it must be rare
where nothing is wrong. The same company with true clocks, on an ordinary wire (a second or two, one in twenty by a
retry minutes later, one in twenty twice):
"""
_TABLES = """\
## The tables, on {where}

The same kind of histories, within the assumptions, fifty at a time mingled in one database; what is lost comes late, by
redelivery. Compared with the source: contents and typed columns of the `…_live` views, memberships, `announced_live`,
and the change feed, in which gains and losses of each object must alternate and end with what is shown. One worker is
the real one; four are {four}.
"""
_FOUR_BY_TURNS = "four stores taking turns in a drawn order, each turn a transaction of a drawn size"
_FOUR_AT_ONCE = "four real ones at once, each on a thread and connections of its own"
_SOUPS = """\
## What handlers are told, under any events

Every part of every event is drawn on its own: users known from copies alone, memberships that name another directory
or none, moves, ties, unknown parents. No source would send that, so there is no truth to compare with; but wherever an
app was told of an object, the last `Change.is_active` it was told of must be what `is_active` answers, and
`announced_live` must be the view. *Ended while shown*: access that went by an update. *Untold*: shown, known from
copies alone, and never changed since.
"""
_NAIVE = """\
## Other rules on the same histories

The share of runs that end with other objects, or other content, than the source. *One object*: lives of five events
(created, updated, deleted, created again), each in every order, with one event repeated at the end. *Company*: whole
histories in one drawn order each; only objects are asked of the other rules, no memberships, and none is shown whose
parent is not.
"""


def soak(*, seed: int, scale: float, say: Callable[[str], None], database: str = "sqlite") -> Report:
    """Run all of it; on PostgreSQL what has tables.

    Args:
        seed: the same seed makes the same histories.
        scale: multiplies every size.
        say: told how far it is.
        database: `sqlite`, or `postgresql`: the system's own, started for it, without fsync.
    """
    report = Report([*_INTRODUCTION.splitlines(), ""])
    with _places(database) as place:
        if database == "postgresql":
            _stored(report, seed, scale, say, place, ("PostgreSQL", _FOUR_AT_ONCE))
            _soups(report, seed, scale, say, place)
            return report
        _pure(report, seed, scale, say)
        _stored(report, seed, scale, say, place, ("SQLite", _FOUR_BY_TURNS))
        _soups(report, seed, scale, say, place)
    say("naive rules")
    lives = max(1, round(LIVES * scale))
    report.lines += [*_NAIVE.splitlines(), "", *naive.table(seed, lives)]
    return report


@contextlib.contextmanager
def _places(database: str) -> Iterator[Place]:
    """What makes a new database for as long as a block."""

    @contextlib.contextmanager
    def of_sqlite() -> Iterator[Path | str]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "soak.db"

    if database == "sqlite":
        yield of_sqlite
        return
    cluster = make_cluster()

    @contextlib.contextmanager
    def of_postgresql() -> Iterator[Path | str]:
        name = cluster.migrated()
        yield cluster.url(name)
        cluster.drop(name)

    try:
        yield of_postgresql
    finally:
        cluster.stop()


def _pure(report: Report, seed: int, scale: float, say: Callable[[str], None]) -> None:
    count = math.ceil(PURE * scale / len(PLANS))
    tallies: dict[str, Tally] = {}
    for number, name in enumerate(PLANS):
        tallies[name] = run(name, seed, count)
        done = (number + 1) * count
        say(
            f"pure rules: {done:,} of {count * len(PLANS):,} histories; {len(tallies[name].examples)} wrong in {name!r}"
        )
    histories, events = (sum(getattr(tally, what) for tally in tallies.values()) for what in ("histories", "events"))
    columns = [title for title, _ in _COLUMNS]
    report.lines += [
        *_PURE.splitlines(),
        "",
        f"{histories:,} histories of {events:,} events.",
        "",
        f"| Histories | {' | '.join(columns)} |",
        "|---|" + "---:|" * len(columns),
    ]
    for name, tally in tallies.items():
        numbers = [getattr(tally, field) for _, field in _COLUMNS]
        report.lines.append(f"| {tally.histories:,} × {name} | {' | '.join(f'{one:,}' for one in numbers)} |")
        report.wrong += tally.examples
    report.lines += [
        "",
        *_DOUBTS.splitlines(),
        "",
        "| Seven objects or so | events | objects and memberships | of them doubted | of events |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in PACES:
        events, rows, asked = doubts_in_peace(name, seed, math.ceil(PEACEFUL * scale))
        report.lines.append(f"| {name} | {events:,} | {rows:,} | {asked:,} | {asked / events:.2%} |")
    report.lines.append("")


def _stored(
    report: Report, seed: int, scale: float, say: Callable[[str], None], place: Place, words: tuple[str, str]
) -> None:
    count = max(1, round(STORED * scale))
    where, four = words
    report.lines += [
        *_TABLES.format(where=where, four=four).splitlines(),
        "",
        "| Workers | histories | events | turns | changes announced | of them losses | wrong |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for workers in (1, 4):
        with place() as there:
            result = stored.run(
                there,
                seed=str(seed),
                count=count,
                workers=workers,
                slice_=SLICE,
                progress=lambda so_far, workers=workers: say(  # type: ignore[misc]
                    f"tables, workers {workers}: {so_far.histories:,} of {count:,} histories; {len(so_far.wrong)} wrong"
                ),
            )
        numbers = (result.histories, result.events, result.turns, result.changes, result.losses, len(result.wrong))
        report.lines.append(f"| {workers} | {' | '.join(f'{one:,}' for one in numbers)} |")
        report.wrong += result.wrong
    report.lines.append("")


def _soups(report: Report, seed: int, scale: float, say: Callable[[str], None], place: Place) -> None:
    count = max(1, round(SOUPS * scale))
    report.lines += [
        *_SOUPS.splitlines(),
        "",
        "| Workers | soups | events | changes announced | ended while shown | untold | wrong |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for workers in (1, 4):
        total = soup.Result()
        for first in range(0, count, SLICE):
            with place() as there:
                size = min(SLICE, count - first)
                part = soup.run(there, seed=f"{seed}/{first}", count=size, workers=workers)
            total.add(part)
            say(f"soups, workers {workers}: {total.soups:,} of {count:,}; {len(total.wrong)} wrong")
        numbers = (total.soups, total.events, total.changes, total.ended, total.silent, len(total.wrong))
        report.lines.append(f"| {workers} | {' | '.join(f'{one:,}' for one in numbers)} |")
        report.wrong += total.wrong
    report.lines.append("")
