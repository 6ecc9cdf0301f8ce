"""Ids as WorkOS writes them: a prefix, an underscore and a ULID.

Ids of one process grow: within a millisecond, and while the clock stands still or steps back, each is the last
one plus one. Between processes only the time part orders them; the feed's `seq` is the order that counts.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)
_RANDOM_BITS: Final = 80


class IdMaker:
    """Makes growing ids; safe to share between threads.

    Args:
        random_bits: gives that many random bits; tests pass a seeded one.
    """

    def __init__(self, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._random_bits = random_bits
        self._last = 0
        self._lock = threading.Lock()

    def make(self, prefix: str, now_ms: int) -> str:
        """A new id such as `event_01JA…`, larger than every one made before."""
        with self._lock:
            if now_ms > self._last >> _RANDOM_BITS:
                # One bit less than there is room for: a millisecond's ids can count up without overflowing.
                self._last = now_ms << _RANDOM_BITS | self._random_bits(_RANDOM_BITS - 1)
            else:
                self._last += 1
            value = self._last
        return f"{prefix}_{encode_ulid(value)}"


def encode_ulid(value: int) -> str:
    """The 26 characters of a 128-bit ULID."""
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
