"""How does a source's clock stand to ours?

An answer's `Date` header (RFC 9110 §6.6.1) is the second in which it was made, somewhere between our sending and our
receiving. So each answer says two things of the offset, the source's clock less ours: it is at least `Date` less the
moment of receiving, and less than `Date` and a second less the moment of sending. What several answers say together
is narrower than any one of them; where they contradict each other, a clock was set, and only the newest counts.

The offset taken is the lowest that is possible: a request is then never dated later than it was sent, so an answer is
never evidence of a time that it did not see. It is at most a second and the answer's travelling time too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

SECOND_US: Final = 1_000_000
KEPT: Final = 16
"""Answers that are remembered: the two that say most, and the newest."""
KEPT_MS: Final = 900_000
"""For how long: clocks drift, by some 100 ms in this time at the worst."""
MOST_US: Final = 86_400 * SECOND_US
"""Further apart than a day is no drift: one of the clocks is wrong, or the header is not of the source."""


class Bound(NamedTuple):
    """What one answer says: the offset lies in `[least_us, most_us)`; `at_ms` is when it came, by our clock."""

    least_us: int
    most_us: int
    at_ms: int


def bound(date: str | None, *, sent_ms: int, received_ms: int) -> Bound | None:
    """What an answer's `Date` says; None where it has none, or none that can be read."""
    if date is None:
        return None
    try:
        at = parsedate_to_datetime(date.strip()[:64])
    except (ValueError, OverflowError):
        return None
    # HTTP dates are UTC, and the asctime form names no zone.
    date_us = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * SECOND_US
    # Our milliseconds are cut: what came at 12 may have come at 12.999.
    return Bound(date_us - (received_ms + 1) * 1_000, date_us + SECOND_US - sent_ms * 1_000, received_ms)


def with_bound(bounds: Sequence[Bound], new: Bound) -> tuple[Bound, ...]:
    """The answers to remember once this one came: those that still agree with it.

    The ones that say most are not among those that go when there are many: a later request would be dated before an
    earlier one.
    """
    recent = [one for one in bounds if 0 <= new.at_ms - one.at_ms <= KEPT_MS]
    if not recent:
        return (new,)
    lowest, highest = max(recent, key=lambda one: one.least_us), min(recent, key=lambda one: one.most_us)
    if lowest.least_us >= new.most_us or highest.most_us <= new.least_us:
        return (new,)
    while len(recent) >= KEPT:
        recent.remove(next(one for one in recent if one is not lowest and one is not highest))
    return (*recent, new)


def offset_us(bounds: Sequence[Bound]) -> int:
    """The lowest offset that is possible; 0 where nothing is known."""
    return max((one.least_us for one in bounds), default=0)
