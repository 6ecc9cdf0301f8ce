"""What a soak comes back with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """`lines` are Markdown, to be kept under docs/proof; `wrong` is whatever should never have happened."""

    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
