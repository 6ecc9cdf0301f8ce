"""Is an event missing?

An update says what its fields were before; where that is not what it replaces, an event between the two was lost or is
under way (rule E). A sender of ours numbers the events of each object besides, and then it is certain. Neither orders
anything: a gap that is closed in time meant nothing, and one that is not is a reason to ask the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hookline.rules.merge import same_content

if TYPE_CHECKING:
    from collections.abc import Mapping

GRACE_MS: Final = 120_000
"""For so long a missing event may be under way."""

MOST_MISSING: Final = 100
"""Of one object's missing numbers the latest so many are kept: one answer of the source stands for all of them."""

# `updated_at` moves with every update, and some that change nothing else have no event.
_NO_EVIDENCE: Final = frozenset({"updated_at"})


def follows(resource: str, previous: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether an update that names these `previous_attributes` can be the next one of an object that was like `before`.

    Null equals absent. Of a field that holds an object (`custom_attributes`) only the parts that are named count.
    """
    for name, value in previous.items():
        if name in _NO_EVIDENCE:
            continue
        was = before.get(name)
        if was == value:
            continue
        if isinstance(value, dict) and isinstance(was, dict):
            was = {part: was.get(part) for part in value}
        if not same_content(resource, {name: value}, {name: was}):
            return False
    return True


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers heard of one object's events: the highest, and those below it that are missing, in order."""

    highest: int
    missing: tuple[int, ...] = ()


def heard(known: Numbers | None, number: int) -> Numbers:
    """What is known once an event of this number has come. The first number says nothing of those before it."""
    if known is None:
        return Numbers(number)
    if number > known.highest:
        first = max(known.highest + 1, number - MOST_MISSING)
        return Numbers(number, (*known.missing, *range(first, number))[-MOST_MISSING:])
    return Numbers(known.highest, tuple(one for one in known.missing if one != number))
