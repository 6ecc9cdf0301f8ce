"""Rules found in the wild, each in a few lines, and how often each ends wrong on the histories ours is judged on.

They know objects only, one row or tombstone each; memberships and parents are not asked of them. On a company's
histories an object is shown only while what it hangs on is shown, so that they are not charged with deletions the
source never tells.
"""

from __future__ import annotations

import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from .judged import Mirror
from .source import MS, Oddities, Payload, S, Sent, Source, World, history
from .wire import arrivals


class Naive(ABC):
    """A mirror of rows and, for some, tombstones (rows without a payload)."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, Payload | None]] = {}

    def take(self, event: Sent) -> None:
        """One event about an object; others are passed over."""
        if event.pair is not None:
            return
        (copy,) = event.copies
        assert event.created_us is not None
        assert copy.updated_us is not None
        payload = None if event.kind == "delete" else copy.payload
        self.put(event.key, payload, event.created_us, copy.updated_us)

    @abstractmethod
    def put(self, key: str, payload: Payload | None, created_us: int, updated_us: int) -> None:
        """Take a payload, or None for a deletion."""

    def shown(self) -> dict[str, Payload]:
        return {key: payload for key, (_, payload) in self.rows.items() if payload is not None}


class LastArrival(Naive):
    """What came last is true."""

    def put(self, key: str, payload: Payload | None, created_us: int, updated_us: int) -> None:
        self.rows[key] = (0, payload)


class CreatedHardDelete(Naive):
    """An upsert wins by a strictly newer event; a deletion deletes the row, whenever it comes."""

    def put(self, key: str, payload: Payload | None, created_us: int, updated_us: int) -> None:
        if payload is None:
            self.rows.pop(key, None)
        elif key not in self.rows or created_us > self.rows[key][0]:
            self.rows[key] = (created_us, payload)


class UpdatedHardDelete(Naive):
    """An upsert wins by a newer `updated_at`; a deletion deletes the row."""

    def put(self, key: str, payload: Payload | None, created_us: int, updated_us: int) -> None:
        if payload is None:
            self.rows.pop(key, None)
        elif key not in self.rows or updated_us > self.rows[key][0]:
            self.rows[key] = (updated_us, payload)


class UpdatedTombstone(Naive):
    """An upsert wins by a newer `updated_at`, also over a tombstone; a deletion leaves one in any case."""

    def put(self, key: str, payload: Payload | None, created_us: int, updated_us: int) -> None:
        known_us = self.rows[key][0] if key in self.rows else -1
        if payload is None:
            self.rows[key] = (max(known_us, updated_us), None)
        elif updated_us > known_us:
            self.rows[key] = (updated_us, payload)


class UpdatedGuarded(Naive):
    """As before, but a deletion counts only if its copy is not older than what is known."""

    def put(self, key: str, payload: Payload | None, created_us: int, updated_us: int) -> None:
        known_us = self.rows[key][0] if key in self.rows else -1
        if updated_us > known_us or (payload is None and updated_us == known_us):
            self.rows[key] = (updated_us, payload)


class CreatedLedger(Naive):
    """Whatever is not older than what was applied last is applied; a deletion leaves a tombstone."""

    def put(self, key: str, payload: Payload | None, created_us: int, updated_us: int) -> None:
        if key not in self.rows or created_us >= self.rows[key][0]:
            self.rows[key] = (created_us, payload)


NAIVE: Final[dict[str, type[Naive]]] = {
    "last arrival wins": LastArrival,
    "event `created_at` strictly newer, hard delete": CreatedHardDelete,
    "`updated_at` newer, delete the row": UpdatedHardDelete,
    "`updated_at` newer, tombstone": UpdatedTombstone,
    "`updated_at` newer, tombstone unless the deletion's is older": UpdatedGuarded,
    "event `created_at` ledger `>=`, tombstone": CreatedLedger,
}
OURS: Final = "Hookline's rules"
RULES: Final = (*NAIVE, OURS)


def one_object(rng: random.Random, odd: Oddities, *, shares_instant: bool, events: int = 5) -> Source:
    """A lone object's life in so many events: created, updated, deleted, created again under its key."""
    world = World("usr", {"usr": ()}, {"usr": "directory_user"}, ("usr",), (), (), {"usr": ()})
    source = Source(world, rng, odd)
    instant = rng.randrange(1, events) if shares_instant else 0
    for number in range(events):
        if number != instant:
            source.now_us += rng.choice((MS, S))
        if "usr" in source.alive and rng.random() < 0.35:
            source.delete("usr")
        else:
            source.put("usr")
    return source


def orders(rng: random.Random, sent: Sequence[Sent]) -> Iterator[list[Sent]]:
    """Every order of arrival, each with one event once more at the end."""
    for order in itertools.permutations(sent):
        yield [*order, rng.choice(sent)]


def judge(source: Source, came: Iterable[Sent], wrong: dict[str, int]) -> None:
    """Count which rules end with other objects, or other content, than the source."""
    came = list(came)
    for name, rule in NAIVE.items():
        naive = rule()
        for event in came:
            naive.take(event)
        wrong[name] += _hung(naive.shown(), source.world) != source.alive
    mirror = Mirror(source.world)
    for event in came:
        mirror.take(event, source.now_us)
    wrong[OURS] += mirror.shown() != source.alive


def _hung(shown: dict[str, Payload], world: World) -> dict[str, Payload]:
    return {key: payload for key, payload in shown.items() if all(above in shown for above in world.parents[key])}


def _one_object_rates(odd: Oddities, shares_instant: bool) -> Callable[[int, int], tuple[int, dict[str, int]]]:
    def measure(seed: int, count: int) -> tuple[int, dict[str, int]]:
        rng, wrong, runs = random.Random(seed), dict.fromkeys(RULES, 0), 0
        for _ in range(count):
            source = one_object(rng, odd, shares_instant=shares_instant)
            for came in orders(rng, source.sent):
                judge(source, came, wrong)
                runs += 1
        return runs, wrong

    return measure


def _company_rates(odd: Oddities) -> Callable[[int, int], tuple[int, dict[str, int]]]:
    def measure(seed: int, count: int) -> tuple[int, dict[str, int]]:
        rng, wrong, runs = random.Random(seed), dict.fromkeys(RULES, 0), count * 20
        for _ in range(runs):
            source = history(rng, odd)
            judge(source, arrivals(rng, source.sent), wrong)
        return runs, wrong

    return measure


COLUMNS: Final[dict[str, Callable[[int, int], tuple[int, dict[str, int]]]]] = {
    "one object, no ties": _one_object_rates(Oddities(silent=0.0, same_instant=0.0, reduced=0.0), False),
    "one object, U ties": _one_object_rates(Oddities(silent=0.5, same_instant=0.0, reduced=0.0), False),
    "one object, two events share a ms": _one_object_rates(Oddities(silent=0.0, same_instant=0.0, reduced=0.0), True),
    "company, no ties": _company_rates(Oddities(silent=0.0, same_instant=0.0)),
    "company, all ties": _company_rates(Oddities()),
}
"""Each takes a seed and a number of lives, and gives the runs made and how many of them each rule ended wrong."""


def table(seed: int, count: int) -> list[str]:
    """The share of runs that end wrong, as a Markdown table: a rule a row, a kind of history a column."""
    measured = {name: measure(seed, count) for name, measure in COLUMNS.items()}
    lines = ["| Rule | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for rule in RULES:
        shares = [_share(wrong[rule], runs) for runs, wrong in measured.values()]
        lines.append(f"| {rule} | {' | '.join(shares)} |")
    lines.append("| *runs* | " + " | ".join(f"{runs:,}" for runs, _ in measured.values()) + " |")
    return lines


def _share(wrong: int, runs: int) -> str:
    return "0" if wrong == 0 else f"{100 * wrong / runs:.1f} %"
