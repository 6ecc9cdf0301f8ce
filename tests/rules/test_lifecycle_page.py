"""docs/lifecycle.md says what the rules do: its tables are made from them, as its picture is (tests/test_docs.py)."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from hookline.rules import lifecycle
from hookline.rules.lifecycle import TRANSITIONS
from hookline.rules.schedule import PRODUCTION, STAGING, Schedule

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")


def words() -> str:
    """Every transition with its number in the picture and its occasion."""
    ways = [(before, after, why) for before, row in TRANSITIONS.items() for after, why in row.items()]
    rows = [f"| {number} | {before} | {after} | {why} |" for number, (before, after, why) in enumerate(ways, 1)]
    return "\n".join(["| | from | to | when |", "|---|---|---|---|", *rows])


def clock(seconds: float) -> str:
    """`4 h 29 m 10 s`."""
    whole = int(seconds)
    parts = [(whole // 3_600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def schedules() -> str:
    """Both schedules, retry by retry."""

    def row(title: str, schedule: Schedule) -> str:
        return f"| {title} | " + " | ".join(clock(offset_s) for offset_s in schedule.offsets_s) + " |"

    numbers = range(1, 1 + len(PRODUCTION.offsets_s))
    return "\n".join(
        [
            "| retry | " + " | ".join(str(number) for number in numbers) + " |",
            "|---|" + "---|" * len(numbers),
            row("production, after", PRODUCTION),
            row("staging, after", STAGING),
        ]
    )


@pytest.mark.parametrize("part", [words, schedules], ids=["words", "schedules"])
def test_the_page_shows_what_the_rules_say(part: object) -> None:
    """Where this fails, copy the expected part into docs/lifecycle.md."""
    assert callable(part)
    assert part() in PAGE


def test_the_page_explains_every_reason_for_an_end() -> None:
    """Each word that `lifecycle` can give as a reason of its own is in the page, and no other."""
    source = Path(lifecycle.__file__).read_text(encoding="utf-8")
    given = set(re.findall(r'Next\(\s*"\w+", (?:None|now_ms), "(\w+)"', source)) | {"exhausted", "canceled"}
    explained = set(re.findall(r"^\| (?:failed|pending|held|canceled) \| `(\w+)` \|", PAGE, re.MULTILINE))

    assert '"exhausted" if spent' in source
    assert explained == given | {"window_passed"}


def test_gaps_of_the_schedules_grow() -> None:
    """What the page calls exponential is: each gap a fixed multiple of the one before, to the second."""
    gaps_s = [later - earlier for earlier, later in pairwise((0, *PRODUCTION.offsets_s))]

    assert [round(later / earlier, 1) for earlier, later in pairwise(gaps_s)] == [4.0] * 5
