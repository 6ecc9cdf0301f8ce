"""Charts drawn on the server as SVG: no script, no canvas, colours by class so that they follow the theme.

Each has an accessible name that says what is to be seen; the numbers themselves stand in a table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

BAR: Final = 8
GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bar: its class (`ok`, `bad`, `warn`, `idle`), how much, and its words."""

    kind: str
    value: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of parts, from the bottom up; `href` makes it a link, `label` names it."""

    parts: Sequence[Part]
    label: str = ""
    href: str | None = None


def bars(drawn: Sequence[Bar], *, title: str, height: int = 120, width: int = 720) -> Markup:
    """Stacked bars over time, scaled to the highest."""
    most = max((sum(part.value for part in bar.parts) for bar in drawn), default=0) or 1
    step = width / max(1, len(drawn))
    pieces = []
    for index, bar in enumerate(drawn):
        top = float(height)
        inner = []
        for part in bar.parts:
            if part.value <= 0:
                continue
            tall = max(1.0, part.value / most * (height - 4))
            top -= tall
            inner.append(
                f'<rect class="c-{escape(part.kind)}" x="{index * step + GAP / 2:.1f}" y="{max(0.0, top):.1f}" '
                f'width="{max(1.0, step - GAP):.1f}" height="{tall:.1f}"/>'
            )
        # The whole column can be pointed at, however small its bar.
        column = (
            f'<rect class="c-hit" x="{index * step:.1f}" y="0" width="{step:.1f}" height="{height}"/>'
            f"<title>{escape(bar.label)}</title>{''.join(inner)}"
        )
        if bar.href:
            pieces.append(f'<a href="{escape(bar.href)}" aria-label="{escape(bar.label)}">{column}</a>')
        else:
            pieces.append(f"<g>{column}</g>")
    role = "group" if any(bar.href for bar in drawn) else "img"
    return _svg(pieces, title=title, width=width, height=height, role=role, css="chart-bars")


def sparkline(drawn: Sequence[Bar], *, title: str) -> Markup:
    """Small bars without links, for a row of a table."""
    width, height = max(1, len(drawn)) * 4, 20
    most = max((sum(part.value for part in bar.parts) for bar in drawn), default=0) or 1
    pieces = []
    for index, bar in enumerate(drawn):
        top = float(height)
        total = sum(part.value for part in bar.parts)
        if not total:
            pieces.append(f'<rect class="c-idle" x="{index * 4}" y="{height - 1}" width="3" height="1"/>')
        for part in bar.parts:
            if part.value > 0:
                tall = max(1.5, part.value / most * height)
                top -= tall
                pieces.append(
                    f'<rect class="c-{escape(part.kind)}" x="{index * 4}" y="{max(0.0, top):.1f}" '
                    f'width="3" height="{tall:.1f}"/>'
                )
    return _svg(pieces, title=title, width=width, height=height, role="img", css="chart-spark")


def split(parts: Sequence[Part], *, title: str, width: int = 480) -> Markup:
    """One lying bar divided among its parts: where the time of an attempt went."""
    whole = sum(part.value for part in parts) or 1
    at, pieces = 0.0, []
    for part in parts:
        wide = part.value / whole * width
        if wide > 0:
            pieces.append(
                f'<rect class="c-{escape(part.kind)}" x="{at:.1f}" y="0" width="{max(1.0, wide):.1f}" height="14">'
                f"<title>{escape(part.label)}</title></rect>"
            )
        at += wide
    return _svg(pieces, title=title, width=width, height=14, role="img", css="chart-split")


def _svg(pieces: Sequence[str], *, title: str, width: int, height: int, role: str, css: str) -> Markup:
    # Every text in it was escaped above.
    return Markup(  # noqa: S704
        f'<svg class="{css}" role="{role}" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
        f'preserveAspectRatio="none">{"".join(pieces)}</svg>'
    )
