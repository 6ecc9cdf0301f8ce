"""20,000 seeded histories of a small source through the pure rules: the end is the source's, or doubted and healed."""

from __future__ import annotations

import random

import pytest

from tests.model.judged import GUESSED_CONTENT, PLANS, Mirror, differences, run
from tests.model.naive import OURS, RULES, table
from tests.model.source import Oddities, history

HISTORIES = 2_000  # of each of ten plans
SEED = 20_260

WITHIN = [name for name, plan in PLANS.items() if plan.keeps_assumptions]
OUTSIDE = [name for name, plan in PLANS.items() if not plan.keeps_assumptions and name != GUESSED_CONTENT]


@pytest.mark.parametrize("name", WITHIN)
def test_within_the_assumptions_the_end_is_the_source(name: str) -> None:
    """Permuted, repeated, tied, lost and read again: what is shown is what the source holds, in every history."""
    tally = run(name, SEED, HISTORIES)

    assert tally.histories == HISTORIES
    assert tally.broken == 0
    assert (tally.wrong_within, tally.wrong_healed) == (0, 0), tally.examples[:3]
    if PLANS[name].loss:
        assert tally.wrong_before_pass > HISTORIES // 10, "losses that nobody misses prove nothing"


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_the_assumptions_one_pass_heals(name: str) -> None:
    """Where clocks lie, ids fall back or times are guessed: histories the assumptions do cover end right at once, the
    others after one complete pass.
    """
    tally = run(name, SEED, HISTORIES)

    assert tally.histories == HISTORIES
    assert tally.broken > 0
    assert (tally.wrong_within, tally.wrong_healed) == (0, 0), tally.examples[:3]


@pytest.mark.xfail(reason="a read of lower updated_at does not yet replace content whose own was guessed (rule A4)")
def test_one_pass_heals_content_dated_by_a_guess() -> None:
    """A payload without `updated_at` counts as changed when its event was made; a later silent update has an older one
    and loses, and so does the pass's read.
    """
    tally = run(GUESSED_CONTENT, SEED, 500)

    assert tally.wrong_outside > 0
    assert tally.wrong_healed == 0, tally.examples[:3]


def test_a_guessed_time_is_never_wrong_in_silence() -> None:
    """A history that ends wrong because a time had to be guessed has said `uncertain` on the way."""
    tally = run("times guessed", SEED + 1, 500)

    assert tally.wrong_outside > 0
    assert tally.wrong_in_silence == 0


def test_ids_that_fall_back_are_nearly_always_doubted() -> None:
    """Where ids do not rise within a millisecond, at most one wrong end in ten was not flagged or wished about: in
    those the tie is between an object and what it hangs on, which no single object shows.
    """
    tally = run("ids out of order within a millisecond", SEED + 1, HISTORIES)

    assert tally.wrong_outside > HISTORIES // 10
    assert tally.wrong_in_silence * 10 < tally.wrong_outside


def test_the_naive_rules_end_wrong_where_ours_do_not() -> None:
    """Each rule found in the wild fails some of the very histories that ours ends right."""
    rows = {cells[0]: cells[1:] for line in table(SEED, 8)[2:] for cells in [line.strip("| ").split(" | ")]}

    assert set(rows[OURS]) == {"0"}
    for rule in RULES[:-1]:
        assert any(cell != "0" for cell in rows[rule]), rule
    assert "0" not in rows["last arrival wins"]


def test_the_judge_finds_what_is_wrong() -> None:
    """A mirror that misses one deletion, or holds one old content, is told from the source."""
    found = 0
    for number in range(50):
        rng = random.Random(number)
        source = history(rng, Oddities())
        mirror = Mirror(source.world)
        last = source.sent[-1]
        for event in source.sent[:-1]:
            mirror.take(event, source.now_us)
        before = differences(mirror, source)
        mirror.take(last, source.now_us)
        found += bool(before)
        assert differences(mirror, source) == []

    assert found > 25
