"""Which of two secrets signs, and when does the other one deserve a probe?

The signature header takes exactly one `v1` (three official SDKs fail on a second one), so during the overlap of a
rotation Hookline signs with the key that verified last; where the answer looks like a refused signature it sends once
more at once with the other, and the key that worked goes first from then on. A delivery's last chance within the
overlap always has its probe, and one more. A revoked key is not here at all: whoever revokes ends the overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hookline.rules.response import Outcome
from hookline.rules.schedule import GRACE_S

OVERLAP_S: Final = 86_400
"""How long the key before the newest stays usable unless asked otherwise."""

MAX_OVERLAP_S: Final = 604_800
"""Seven days: longer than any delivery is retried, and long enough for a consumer's next release."""

PROBES_IN_A_ROW: Final = 3
"""So many probes in which both keys fail, and the next one waits: it is not the key that is wrong."""

PROBE_PAUSE_MS: Final = 60_000
"""How long it waits then."""


PROBES_AT_LAST: Final = 2
"""So many at a delivery's last chance."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Where an endpoint stands between two secrets.

    Attributes:
        until_ms: when the old key is no longer used.
        signs_with_old: the old key verified last, or nobody knows yet (a rotation begins so).
        failures: probes in a row in which both keys failed.
        probe_after_ms: no probe before this time; None: at once.
    """

    until_ms: int
    signs_with_old: bool
    failures: int = 0
    probe_after_ms: int | None = None


def has_old(overlap: Overlap | None, *, now_ms: int) -> bool:
    """Whether the old key may still be used."""
    return overlap is not None and now_ms < overlap.until_ms


def may_probe(overlap: Overlap | None, *, now_ms: int) -> bool:
    """Whether an attempt that fails now may be repeated with the other key."""
    if overlap is None or now_ms >= overlap.until_ms:
        return False
    after_ms = overlap.probe_after_ms
    # A pause that lies further ahead than it can was written before the clock was set back.
    return after_ms is None or not now_ms < after_ms <= now_ms + PROBE_PAUSE_MS


def old_first(overlap: Overlap | None, *, slots_used: int, now_ms: int) -> bool:
    """Whether an attempt begins with the old key: with the one that verified last.

    Every other retry begins with the other key while a probe may follow. Where two instances that know one key each
    take turns behind one URL, an attempt and its probe meet the right one each or the wrong one each.

    Args:
        slots_used: the delivery's slots spent before this attempt.
    """
    if overlap is None or now_ms >= overlap.until_ms:
        return False
    return overlap.signs_with_old is (slots_used % 2 == 0 or not may_probe(overlap, now_ms=now_ms))


def is_last_chance(overlap: Overlap | None, *, next_ms: int | None) -> bool:
    """Whether an attempt is a delivery's last that may be signed with either key.

    A next one that is planned shortly before the overlap's end may begin after it: `GRACE_S` is the loop's own delay.

    Args:
        next_ms: when the next attempt would begin at the latest, should this one fail; None: never.
    """
    return overlap is not None and (next_ms is None or next_ms >= overlap.until_ms - GRACE_S * 1000)


def wants_probe(
    overlap: Overlap | None, outcome: Outcome, *, now_ms: int, probes: int = 0, is_last_chance: bool = False
) -> bool:
    """Whether this answer earns another try at once, with the key that the attempt did not begin with.

    The limit on probes is to spare an endpoint whose trouble is not the key, and the deliveries it delays have other
    tries. A last chance (`is_last_chance`) has none: it is probed whatever the limit says, and twice. Before two
    instances that know one key each and take turns, a first probe meets the other instance, which knows the other key:
    it can only fail, while the second one is back at the instance that refused the first request.

    Args:
        probes: made in this attempt so far.
    """
    if not outcome.may_be_wrong_key:
        return False
    if is_last_chance:
        return probes < PROBES_AT_LAST and has_old(overlap, now_ms=now_ms)
    return not probes and may_probe(overlap, now_ms=now_ms)


def after_success(overlap: Overlap, *, with_old: bool) -> Overlap:
    """One key verified: it goes first from now on."""
    return replace(overlap, signs_with_old=with_old, failures=0, probe_after_ms=None)


def after_failed_probe(overlap: Overlap, *, now_ms: int) -> Overlap:
    """Neither key was taken; from the third time in a row on the next probe waits."""
    failures = min(overlap.failures + 1, PROBES_IN_A_ROW)
    return replace(
        overlap, failures=failures, probe_after_ms=now_ms + PROBE_PAUSE_MS if failures >= PROBES_IN_A_ROW else None
    )
