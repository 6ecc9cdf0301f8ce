"""How soon may somebody try to sign in again who failed?

The first failures in a row cost nothing, since people mistype; then each doubles the wait. They are counted by name
from one address, by address whatever the names, and by name wherever from. The wait of a name stays short: who knows a
name must not be able to keep its owner out.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from hookline.rules.address import Address

FIRST_WAIT_MS: Final = 1_000
# Failures that lie further back than this count no longer.
FORGET_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Patience:
    """How many failures in a row are free, and how long the wait after more of them may become."""

    free: int
    longest_wait_ms: int


WITH_PAIR: Final = Patience(free=5, longest_wait_ms=900_000)
WITH_ADDRESS: Final = Patience(free=20, longest_wait_ms=900_000)
WITH_NAME: Final = Patience(free=50, longest_wait_ms=30_000)


@dataclass(frozen=True, slots=True)
class Tries:
    """Failures in a row of one name or address, when the last one was, and until when none is taken."""

    failures: int = 0
    last_ms: int = 0
    until_ms: int = 0

    def wait_ms(self, patience: Patience, now_ms: int) -> int:
        """How long until another is taken; 0 for now. A clock that was set back makes nobody wait longer."""
        return max(0, min(self.until_ms - now_ms, patience.longest_wait_ms))

    def failed(self, patience: Patience, now_ms: int) -> Tries:
        """After one more failure."""
        failures = 1 if now_ms - self.last_ms > FORGET_MS else self.failures + 1
        over = failures - patience.free
        wait_ms = min(FIRST_WAIT_MS << min(over - 1, 30), patience.longest_wait_ms) if over > 0 else 0
        return Tries(failures, now_ms, now_ms + wait_ms)

    def taken_back(self) -> Tries:
        """Without the last failure, which was none: what came before it still counts."""
        return Tries(max(0, self.failures - 1), self.last_ms, 0)


def place_of(address: Address | None) -> str:
    """What an address is counted as: an IPv6 network of 64 bits is one household's, and its addresses are for free."""
    if address is None:
        return "unknown"
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
