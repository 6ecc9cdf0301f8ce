"""The drawings in docs/images that say what the rules do, made by asking the rules: `python -m docs.pictures`.

Each is an SVG with a ground of its own, light or dark as the reader's system has it, so that it can be read on any
page. `make docs` makes them; a test fails when one is stale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from hookline.rules.gaps import GRACE_MS, follows
from hookline.rules.lifecycle import STATES, TRANSITIONS, State
from hookline.rules.merge import (
    NEVER,
    EdgeKind,
    EdgeState,
    Kind,
    ObjectState,
    Observation,
    absence_clock,
    as_parent,
    floor_clock,
    is_alive,
    is_edge_alive,
    join,
    join_edge,
)

IMAGES: Final = Path(__file__).with_name("images")

_STYLE: Final = """
svg { font: 14px system-ui, sans-serif; }
.ground { fill: #ffffff; stroke: #d0d7de; }
.box { fill: #f6f8fa; stroke: #57606a; stroke-width: 1.5; }
.end { fill: #dafbe1; stroke: #1a7f37; stroke-width: 1.5; }
.gone { fill: #ffebe9; stroke: #cf222e; stroke-width: 1.5; }
.line { fill: none; stroke: #57606a; stroke-width: 1.5; }
.head { fill: #57606a; }
.tag { fill: #ffffff; stroke: #57606a; }
text { fill: #1f2328; text-anchor: middle; dominant-baseline: central; }
.small { font-size: 11px; }
.left { text-anchor: start; }
.said { font-size: 12px; font-style: italic; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; stroke: #30363d; }
  .box { fill: #161b22; stroke: #8b949e; }
  .end { fill: #12261e; stroke: #3fb950; }
  .gone { fill: #25171c; stroke: #f85149; }
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


@dataclass(frozen=True, slots=True)
class _Step:
    """Something that arrives: what it is, when it happened at the source, and what the rules make of it."""

    what: str
    when: str
    verdict: str


@dataclass(frozen=True, slots=True)
class _Lane:
    """One order of arrival, from left to right, and what is shown at its end."""

    name: str
    steps: Sequence[_Step]
    shown: str | None


_LEFT, _STEP_WIDTH, _LANE_HEIGHT = 130, 150, 94


def _lanes(title: str, lanes: Sequence[_Lane]) -> str:
    longest = max(len(lane.steps) for lane in lanes)
    end_x = _LEFT + longest * _STEP_WIDTH + 75
    parts = []
    for row, lane in enumerate(lanes):
        y = 50 + row * _LANE_HEIGHT
        parts.append(_text(16, y, lane.name, "left"))
        for column, step in enumerate(lane.steps):
            x = _LEFT + column * _STEP_WIDTH + 60
            parts.append(_box(x, y, 120, 46, "") + _text(x, y - 8, step.what, "small") + _text(x, y + 10, step.when))
            parts.append(_text(x, y + 36, step.verdict, "said"))
            reach = end_x - 60 if column == len(lane.steps) - 1 else x + _STEP_WIDTH - 60
            parts.append(f'<path class="line" marker-end="url(#head)" d="M{x + 60:g} {y} {reach:g} {y}"/>')
        parts.append(_box(end_x, y, 120, 46, lane.shown or "not shown", "end" if lane.shown else "gone"))
    return _svg(end_x + 76, len(lanes) * _LANE_HEIGHT + 8, title, parts)


def _at(hour: str) -> int:
    """Microseconds of a time of one day."""
    hours, minutes = hour.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000_000


def _user(kind: Kind, hour: str, **fields: str) -> Observation:
    """What an event at that time says of the user; the event's id is its time."""
    payload = {"object": "directory_user", "id": "ada", **fields}
    return Observation(kind, "directory_user", "ada", payload, _at(hour), (_at(hour), f"event_{hour}"))


_CREATED = ("created: Byron", "09:00", _user("upsert", "09:00", name="Byron"))
_RENAMED = ("updated: Lovelace", "10:00", _user("upsert", "10:00", name="Lovelace"))
_DELETED = ("deleted", "12:00", _user("delete", "12:00"))
_LATE = ("updated: King", "11:00", _user("upsert", "11:00", name="King"))


def content() -> str:
    """Rule A: the newest content stands, and no late event raises the dead."""

    def lane(name: str, arrivals: Sequence[tuple[str, str, Observation]]) -> _Lane:
        state: ObjectState | None = None
        steps = []
        for what, when, seen in arrivals:
            joined = join(state, seen)
            state = joined.state
            steps.append(_Step(what, when, joined.verdict))
        assert state is not None
        payload = state.current or {}
        return _Lane(name, steps, str(payload["name"]) if is_alive(state) else None)

    return _lanes(
        "Rule A: whatever the order of arrival, the end is the same",
        [
            lane("in order", [_CREATED, _RENAMED]),
            lane("late", [_RENAMED, _CREATED]),
            lane("twice", [_CREATED, _RENAMED, _RENAMED, _CREATED]),
            lane("after the end", [_CREATED, _DELETED, _RENAMED, _LATE]),
            lane("end first", [_DELETED, _LATE, _CREATED]),
        ],
    )


def parents() -> str:
    """Rule B: what hangs on something dead is not shown, whatever is said of it later about earlier."""
    directory = join(
        None,
        Observation("upsert", "directory", "okta", {"id": "okta", "name": "Okta"}, 0, (_at("08:00"), "event_08:00")),
    ).state
    gone = Observation("delete", "directory", "okta", None, None, (_at("12:00"), "event_12:00"))
    back = Observation(
        "upsert", "directory", "okta", {"id": "okta", "name": "Okta"}, _at("13:00"), (_at("13:00"), "event_13:00")
    )

    def lane(name: str, arrivals: Sequence[tuple[str, str, Observation]]) -> _Lane:
        above, user = directory, None
        steps = []
        for what, when, seen in arrivals:
            if seen.resource == "directory":
                above = join(above, seen).state
            else:
                user = join(user, seen).state
            is_shown = user is not None and is_alive(user, [as_parent(above)])
            steps.append(_Step(what, when, "user shown" if is_shown else "user hidden"))
        return _Lane(name, steps, "user shown" if is_shown else None)

    deleted = ("directory deleted", "12:00", gone)
    returned = ("directory is back", "13:00", back)
    again = ("user updated", "13:05", _user("upsert", "13:05", name="Lovelace"))
    created, late = ("user created", *_CREATED[1:]), ("user updated", *_LATE[1:])
    return _lanes(
        "Rule B: a parent's death hides what hangs on it",
        [
            lane("in order", [created, deleted]),
            lane("late", [deleted, created, late]),
            lane("it returns", [created, deleted, returned, again]),
        ],
    )


def edges() -> str:
    """Rule C: of a pair the latest add and the latest remove decide, by the times of their events."""

    def lane(name: str, arrivals: Sequence[tuple[EdgeKind, str]]) -> _Lane:
        state: EdgeState | None = None
        steps = []
        for kind, hour in arrivals:
            joined = join_edge(state, kind, (_at(hour), f"event_{hour}"))
            state = joined.state
            steps.append(_Step("added" if kind == "add" else "removed", hour, joined.verdict))
        assert state is not None
        return _Lane(name, steps, "member" if is_edge_alive(state) else None)

    return _lanes(
        "Rule C: a membership is what its latest event says",
        [
            lane("in order", [("add", "10:00"), ("remove", "11:00")]),
            lane("removed first", [("remove", "11:00"), ("add", "10:00")]),
            lane("added again", [("add", "10:00"), ("add", "12:00"), ("remove", "11:00")]),
        ],
    )


def absence() -> str:
    """Rule D: a complete list speaks for what it does not show, also against what arrives later about before."""
    floor = floor_clock(_at("12:00"))

    def lane(name: str, arrivals: Sequence[tuple[str, str, Observation] | None]) -> _Lane:
        state: ObjectState | None = None
        limit, steps = NEVER, []
        for arrival in arrivals:
            if arrival is None:
                limit = floor
                steps.append(_Step("complete list", "12:00", "shows no Ada"))
                if state is not None:
                    gone = Observation("absent", "directory_user", "ada", None, None, absence_clock(_at("12:00")))
                    state = join(state, gone, floor=limit).state
                continue
            what, when, seen = arrival
            joined = join(state, seen, floor=limit)
            state = joined.state
            steps.append(_Step(what, when, joined.verdict))
        assert state is not None
        return _Lane(name, steps, "shown" if is_alive(state, floor=limit) else None)

    hired = ("created", "12:30", _user("upsert", "12:30", name="Lovelace"))
    return _lanes(
        "Rule D: what a complete list does not show is gone",
        [
            lane("its end was lost", [_CREATED, None]),
            lane("a late event", [None, _LATE]),
            lane("hired since", [None, hired, _LATE]),
        ],
    )


def gap() -> str:
    """Rule E: an update says what was before it; where that is not what is known, an event is missing."""

    def lane(name: str, previous: str) -> _Lane:
        known = {"name": "Byron"}
        fits = follows("directory_user", {"name": previous}, known)
        update = _Step(f"King, was {previous}", "11:00", "follows" if fits else "an event is missing")
        steps = [_Step("created: Byron", "09:00", "created"), update]
        if not fits:
            steps.append(_Step("it does not come", f"for {GRACE_MS // 60_000} min", "the source is asked"))
        return _Lane(name, steps, "King")

    return _lanes("Rule E: gaps are noticed", [lane("none missing", "Byron"), lane("one missing", "Lovelace")])


PICTURES: Final[Mapping[str, Callable[[], str]]] = {
    "lifecycle": lifecycle,
    "rule-a": content,
    "rule-b": parents,
    "rule-c": edges,
    "rule-d": absence,
    "rule-e": gap,
}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (IMAGES / f"{name}.svg").write_text(draw(), encoding="utf-8")
