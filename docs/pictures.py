"""The drawings in docs/images that say what the rules do, made by asking the rules: `python -m docs.pictures`.

Each is an SVG with a ground of its own, light or dark as the reader's system has it, so that it can be read on any
page. `make docs` makes them; a test fails when one is stale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Final

from hookline.rules.lifecycle import STATES, TRANSITIONS, State

IMAGES: Final = Path(__file__).with_name("images")

_STYLE: Final = """
svg { font: 14px system-ui, sans-serif; }
.ground { fill: #ffffff; stroke: #d0d7de; }
.box { fill: #f6f8fa; stroke: #57606a; stroke-width: 1.5; }
.end { fill: #dafbe1; stroke: #1a7f37; stroke-width: 1.5; }
.line { fill: none; stroke: #57606a; stroke-width: 1.5; }
.head { fill: #57606a; }
.tag { fill: #ffffff; stroke: #57606a; }
text { fill: #1f2328; text-anchor: middle; dominant-baseline: central; }
.small { font-size: 11px; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; stroke: #30363d; }
  .box { fill: #161b22; stroke: #8b949e; }
  .end { fill: #12261e; stroke: #3fb950; }
  .line { stroke: #8b949e; }
  .head { fill: #8b949e; }
  .tag { fill: #0d1117; stroke: #8b949e; }
  text { fill: #e6edf3; }
}
"""


def _svg(width: int, height: int, title: str, parts: list[str]) -> str:
    drawn = "\n".join(parts)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path class="head" d="M0 0 8 4 0 8z"/></marker></defs>
<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>
{drawn}
</svg>
"""


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{f" class={kind!r}" if kind else ""}>{escape(words)}</text>'


def _box(x: float, y: float, width: float, height: float, words: str, kind: str = "box") -> str:
    corner = f'x="{x - width / 2:g}" y="{y - height / 2:g}"'
    return f'<rect class="{kind}" {corner} width="{width:g}" height="{height:g}" rx="6"/>{_text(x, y, words)}'


# Where each state stands. The arrows between them are the table's.
_PLACES: Final[Mapping[State, tuple[int, int]]] = {
    "pending": (110, 235),
    "running": (430, 235),
    "succeeded": (740, 235),
    "failed": (640, 420),
    "canceled": (250, 420),
    "held": (430, 60),
}
_HALF_WIDTH, _HALF_HEIGHT = 58, 21


def lifecycle() -> str:
    """Every transition an arrow, with the number that it has in the page's table."""
    parts = []
    number = 0
    for before, row in TRANSITIONS.items():
        for after in row:
            number += 1
            parts.append(_loop(before, number) if before == after else _arrow(before, after, number))
    parts += [
        _box(*_PLACES[state], 2 * _HALF_WIDTH, 2 * _HALF_HEIGHT, state, "box" if TRANSITIONS[state] else "end")
        for state in STATES
    ]
    return _svg(840, 480, "The six states and every way from one to another", parts)


def _arrow(before: State, after: State, number: int) -> str:
    """A straight line from border to border, beside the middle where there is one back, too."""
    x1, y1, x2, y2 = (float(place) for place in (*_PLACES[before], *_PLACES[after]))
    length = math.dist((x1, y1), (x2, y2))
    along_x, along_y = (x2 - x1) / length, (y2 - y1) / length
    aside = 9 if before in TRANSITIONS[after] else 0
    off_x, off_y = -along_y * aside, along_x * aside  # to the right of whoever goes along
    out, back = _reach(along_x, along_y, off_x, off_y), _reach(-along_x, -along_y, off_x, off_y)
    x1, y1 = x1 + off_x + out * along_x, y1 + off_y + out * along_y
    x2, y2 = x2 + off_x - back * along_x, y2 + off_y - back * along_y
    line = f'<path class="line" marker-end="url(#head)" d="M{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f}"/>'
    return line + _tag(x1 + 0.3 * (x2 - x1), y1 + 0.3 * (y2 - y1), number)


def _reach(along_x: float, along_y: float, off_x: float, off_y: float) -> float:
    """How far it is from a place beside the middle of a box to its border."""
    return min(
        (math.copysign(half, along) - off) / along if along else math.inf
        for half, along, off in ((_HALF_WIDTH, along_x, off_x), (_HALF_HEIGHT, along_y, off_y))
    )


def _loop(state: State, number: int) -> str:
    x, y = _PLACES[state]
    path = f"M{x - 30} {y - _HALF_HEIGHT}C{x - 60} {y - 85} {x + 20} {y - 85} {x - 10} {y - _HALF_HEIGHT}"
    return f'<path class="line" marker-end="url(#head)" d="{path}"/>' + _tag(x - 20, y - 69, number)


def _tag(x: float, y: float, number: int) -> str:
    x, y = round(x, 1), round(y, 1)
    return f'<circle class="tag" cx="{x:g}" cy="{y:g}" r="9"/>{_text(x, y, str(number), "small")}'


PICTURES: Final[Mapping[str, Callable[[], str]]] = {"lifecycle": lifecycle}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (IMAGES / f"{name}.svg").write_text(draw(), encoding="utf-8")
