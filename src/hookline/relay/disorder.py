"""What a bad line does to deliveries on purpose: late, doubled, overtaken, lost.

Pure: chance is a generator that is given, time an argument. A seed decides every draw, in the order of arrivals.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

SHUFFLE_S: Final = 2.0
"""Within so long deliveries overtake one another, where no delay says otherwise."""
MOST_DELAY_S: Final = 600.0
"""A relay gives up a listener that owes answers for longer (frames.UNANSWERED_S)."""


@dataclass(frozen=True, slots=True)
class Disorder:
    """How bad the line is.

    Attributes:
        shuffle: each waits for some part of the delay, so that they overtake one another.
        duplicate: the chance that one comes twice.
        delay_s: how long each waits; at most, where they are shuffled.
        drop: the chance that one never comes.
    """

    shuffle: bool = False
    duplicate: float = 0.0
    delay_s: float = 0.0
    drop: float = 0.0

    @property
    def is_orderly(self) -> bool:
        """Whether nothing befalls anything."""
        return self == Disorder()

    def fate(self, rng: random.Random) -> tuple[int, ...]:
        """What befalls one delivery: after how many ms it comes, once for each time; empty where it is lost.

        Always as many draws, so that one option does not change what the others do by the same seed.
        """
        lost, doubled = rng.random() < self.drop, rng.random() < self.duplicate
        waits = (rng.random(), rng.random())
        if lost:
            return ()
        most_ms = (self.delay_s or SHUFFLE_S) * 1000 if self.shuffle else self.delay_s * 1000
        due = [round(most_ms * (wait if self.shuffle else 1.0)) for wait in waits]
        return tuple(due if doubled else due[:1])
