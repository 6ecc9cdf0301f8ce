"""How often a key may call: a token bucket per key, in the memory of this process.

A limit against clients that run away, not a quota: several processes each have their own, and a restart forgets.
"""

from __future__ import annotations

import threading
from typing import Final

_BURST_S: Final = 1.0


class CallLimit:
    """Lets `per_s` calls a second pass for each key, a second's worth of them at once. Safe to ask from any thread.

    A bucket is one number: when it is full again, if nobody calls.
    """

    def __init__(self, per_s: float) -> None:
        self._cost_ms = 1000 / per_s
        # Slower than one a second: still one at once.
        self._depth_ms = max(_BURST_S * 1000, self._cost_ms)
        self._full_ms: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait_ms(self, key: str, now_ms: int) -> float:
        """0 where the call may pass, and is counted; else how long until one may."""
        with self._lock:
            # A clock set back must not shut a key out for as long.
            full_ms = min(max(self._full_ms.get(key, 0), now_ms), now_ms + self._depth_ms)
            over_ms = full_ms + self._cost_ms - now_ms - self._depth_ms
            # A hundredth of a millisecond is what floats of this size lose.
            is_over = over_ms > 0.01
            self._full_ms[key] = full_ms if is_over else full_ms + self._cost_ms
        return over_ms if is_over else 0
