"""Seeded histories with lost events and passes, floors joined where something is written: the end is the source's, and
stays so whatever comes late.
"""

from __future__ import annotations

import pytest

from tests.model.floors import run

SEED = 20_261
HISTORIES = 700
PASSED = [
    "everything arrives",
    "a quarter is lost",
    "a quarter is lost around a pass",
    "payloads without updated_at, a quarter is lost around a pass",
]


@pytest.mark.parametrize("name", PASSED)
def test_after_a_pass_the_end_is_the_source_and_late_events_change_nothing(name: str) -> None:
    """A pass while things change and one when they rest; then most events come late or once more, in any order."""
    ends = run(name, SEED, HISTORIES)

    assert ends.histories > HISTORIES // 2
    assert (ends.wrong_after_pass, ends.wrong_after_all) == (0, 0), ends.examples[:3]


def test_without_floors_late_events_raise_the_dead() -> None:
    """What floors are for: lost deletions, and older events that come after the pass."""
    ends = run("a quarter is lost around a pass", SEED, HISTORIES, has_floors=False)

    assert ends.wrong_after_pass == 0
    assert ends.wrong_after_all > 0
