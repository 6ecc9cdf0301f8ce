"""Which key signs, and when the other one is probed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hookline.rules.response import PROBE_STATUSES, Outcome
from hookline.rules.rotation import (
    PROBE_PAUSE_MS,
    PROBES_AT_LAST,
    PROBES_IN_A_ROW,
    Overlap,
    after_failed_probe,
    after_success,
    has_old,
    is_last_chance,
    may_probe,
    old_first,
    wants_probe,
)
from hookline.rules.schedule import GRACE_S

NOW_MS = 1_764_000_000_000
OVERLAP = Overlap(until_ms=NOW_MS + 1_000, signs_with_old=True)
REFUSED = Outcome("failed", "status_401", 401)


@pytest.mark.parametrize("status", [200, 302, 404, 408, 410, 429, 502, 503, *sorted(PROBE_STATUSES)])
def test_only_answers_that_may_mean_a_wrong_key_are_probed(status: int) -> None:
    """400, 401, 403, 422 and 500 are what consumers say to a signature they cannot verify."""
    outcome = Outcome("succeeded" if status == 200 else "failed", f"status_{status}", status)

    assert wants_probe(OVERLAP, outcome, now_ms=NOW_MS) is (status in {400, 401, 403, 422, 500})


def test_nothing_is_probed_without_an_overlap_or_after_it() -> None:
    """A revoked key, and one whose time is over, signs nothing."""
    assert not wants_probe(None, REFUSED, now_ms=NOW_MS)
    assert not wants_probe(OVERLAP, REFUSED, now_ms=OVERLAP.until_ms)
    assert not old_first(None, slots_used=0, now_ms=NOW_MS)
    assert not old_first(OVERLAP, slots_used=0, now_ms=OVERLAP.until_ms)
    assert [has_old(OVERLAP, now_ms=OVERLAP.until_ms - 1), has_old(OVERLAP, now_ms=OVERLAP.until_ms)] == [True, False]
    assert not has_old(None, now_ms=NOW_MS)


@pytest.mark.parametrize("signs_with_old", [True, False])
def test_the_key_that_verified_last_goes_first(signs_with_old: bool) -> None:
    """A delivery's first attempt is signed with it; its retries take turns while a probe may follow."""
    overlap = replace(OVERLAP, signs_with_old=signs_with_old)

    assert [old_first(overlap, slots_used=slots, now_ms=NOW_MS) for slots in range(4)] == [
        signs_with_old,
        not signs_with_old,
        signs_with_old,
        not signs_with_old,
    ]


def test_while_probes_wait_only_the_known_key_signs() -> None:
    """Without a probe to make up for it no attempt is spent on the other key."""
    paused = replace(OVERLAP, failures=PROBES_IN_A_ROW, probe_after_ms=NOW_MS + 1)

    assert [old_first(paused, slots_used=slots, now_ms=NOW_MS) for slots in range(4)] == [True] * 4


def test_three_failures_in_a_row_leave_one_probe_a_minute() -> None:
    """The first three are made at once, each later one a minute after the one before."""
    overlap = replace(OVERLAP, until_ms=NOW_MS + 10**9)
    now_ms = NOW_MS
    probed_at: list[int] = []
    while len(probed_at) < 5:
        if may_probe(overlap, now_ms=now_ms):
            probed_at.append(now_ms - NOW_MS)
            overlap = after_failed_probe(overlap, now_ms=now_ms)
        now_ms += 1_000

    assert probed_at == [0, 1_000, 2_000, 2_000 + PROBE_PAUSE_MS, 2_000 + 2 * PROBE_PAUSE_MS]


@pytest.mark.parametrize("with_old", [True, False])
def test_a_success_resets_the_count(with_old: bool) -> None:
    """The key that worked goes first, and probes are free again."""
    tired = replace(OVERLAP, failures=3, probe_after_ms=NOW_MS + 1)

    assert after_success(tired, with_old=with_old) == replace(OVERLAP, signs_with_old=with_old)


def test_a_clock_set_back_does_not_stop_probes() -> None:
    """A pause written an hour ahead is no pause."""
    ahead = replace(OVERLAP, failures=3, probe_after_ms=NOW_MS + 3_600_000)

    assert may_probe(ahead, now_ms=NOW_MS)


def test_a_last_chance_is_probed_whatever_the_limit_says() -> None:
    """Twice, while the old key is usable; elsewhere once, and not while probes wait."""
    paused = replace(OVERLAP, failures=PROBES_IN_A_ROW, probe_after_ms=NOW_MS + 1)

    def probes(overlap: Overlap, *, is_last: bool, now_ms: int = NOW_MS) -> list[bool]:
        return [
            wants_probe(overlap, REFUSED, now_ms=now_ms, probes=made, is_last_chance=is_last)
            for made in range(PROBES_AT_LAST + 1)
        ]

    assert probes(paused, is_last=True) == probes(OVERLAP, is_last=True) == [True, True, False]
    assert probes(paused, is_last=False) == [False, False, False]
    assert probes(OVERLAP, is_last=False) == [True, False, False]
    assert probes(OVERLAP, is_last=True, now_ms=OVERLAP.until_ms) == [False, False, False]
    assert not wants_probe(OVERLAP, Outcome("failed", "status_503", 503), now_ms=NOW_MS, is_last_chance=True)


def test_a_last_chance_has_no_other_within_the_overlap() -> None:
    """There is no next attempt, or it is planned for after the end, or so shortly before that it may begin after it."""
    overlap = replace(OVERLAP, until_ms=NOW_MS + 10**6)
    grace_ms = GRACE_S * 1_000

    assert is_last_chance(overlap, next_ms=None)
    assert is_last_chance(overlap, next_ms=overlap.until_ms)
    assert is_last_chance(overlap, next_ms=overlap.until_ms - grace_ms)
    assert not is_last_chance(overlap, next_ms=overlap.until_ms - grace_ms - 1)
    assert not is_last_chance(None, next_ms=None)
