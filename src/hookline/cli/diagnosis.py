"""What the doctor says of one thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hookline.rules.doorstep import Verdict

# By so much two clocks may differ before signatures begin to fail at the usual tolerance of 180 s.
SKEW_MS: Final = 60_000
EXPIRES_SOON_S: Final = 14 * 86_400


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do where it is not well and the text does not say so."""

    check: str
    verdict: Verdict
    text: str
    to_do: str | None = None
