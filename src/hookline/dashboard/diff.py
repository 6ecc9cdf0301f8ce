"""What differs between two JSON values, place by place. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

Place: TypeAlias = tuple[str | int, ...]

MOST: Final = 200
_DEEPEST: Final = 40


def differing(before: Any, after: Any) -> list[tuple[Place, Any, Any]]:
    """Where two values differ, and what each has there; None also where one has nothing. At most `MOST` places.

    Members are compared by name, items of lists by their place; below 40 levels what differs is given whole.
    """
    found: list[tuple[Place, Any, Any]] = []
    for one in _walk((), before, after):
        if len(found) == MOST:
            break
        found.append(one)
    return found


def _walk(place: Place, before: Any, after: Any) -> Iterator[tuple[Place, Any, Any]]:
    if len(place) < _DEEPEST and isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _walk((*place, name), before.get(name), after.get(name))
    elif len(place) < _DEEPEST and isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            one = before[index] if index < len(before) else None
            other = after[index] if index < len(after) else None
            yield from _walk((*place, index), one, other)
    # Truth values are numbers to Python, and not to JSON.
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield place, before, after
