"""Places in a JSON document by paths such as `user.email`, `emails[0].value`, `raw_attributes["urn:x.y"].department`.

Pure. What is wrong with a path is said with the place where it goes astray and the names that are near.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from hookline.errors import ConfigError

Place: TypeAlias = tuple[str | int, ...]

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_STEP: Final = re.compile(rf'(?P<dot>\.)?(?P<name>[^.\[\]"]+)|\[(?P<index>\d{{1,6}})\]|\[(?P<quoted>{_QUOTED})\]')
# The first equals sign that is not within a quoted name.
_ASSIGNED: Final = re.compile(rf'(?P<path>(?:[^="]|{_QUOTED})+)=(?P<value>.*)', re.DOTALL)
_MOST_NEAR: Final = 3


class Assignment(NamedTuple):
    """A place and what is to stand there."""

    path: Place
    value: Any


def parse_path(text: str, flag: str) -> Place:
    """The steps of a path. ConfigError, under the name of the flag, where it is none."""
    steps: list[str | int] = []
    at = 0
    while at < len(text):
        step = _STEP.match(text, at)
        # Between a name and what stands before it there is a dot.
        if step is None or (step["name"] is not None and (step["dot"] is None) != (at == 0)):
            break
        if step["index"] is not None:
            steps.append(int(step["index"]))
        elif step["quoted"] is None:
            steps.append(step["name"])
        else:
            try:
                steps.append(json.loads(step["quoted"]))
            except ValueError:  # an escape that JSON has not, or a line end
                break
        at = step.end()
    if not steps or at < len(text):
        raise ConfigError(flag, f"expected a path such as email, user.email or emails[0].value; got {text[:80]!r}")
    return tuple(steps)


def parse_assignment(text: str, flag: str) -> Assignment:
    """`path=value`: the value as JSON where it is some, else as the string it is. ConfigError where it is no such."""
    found = _ASSIGNED.fullmatch(text)
    if found is None:
        raise ConfigError(flag, f"expected path=value, got {text[:80]!r}")
    return Assignment(parse_path(found["path"], flag), _typed(found["value"]))


def override(document: Any, one: Assignment, flag: str) -> None:
    """Put another value at a place that is there. ConfigError where it is not."""
    holder, step = _holder(document, one.path, flag)
    holder[step] = one.value


def remove(document: Any, path: Place, flag: str) -> None:
    """Take a place away that is there; what follows in a list moves up. ConfigError where it is not."""
    holder, step = _holder(document, path, flag)
    del holder[step]


def add(document: Any, one: Assignment, flag: str) -> None:
    """Put a value at a place that is not there: a new member, or the end of a list. ConfigError where it is there, or
    where nothing can be.
    """
    holder = document
    for index, step in enumerate(one.path[:-1]):
        holder = _found(holder, step, one.path[:index], flag)
    last, place = one.path[-1], shown(one.path)
    if isinstance(holder, dict) and isinstance(last, str):
        if last in holder:
            raise ConfigError(flag, f"{place} is there already; --override changes it")
        holder[last] = one.value
    elif isinstance(holder, list) and isinstance(last, int):
        if last < len(holder):
            raise ConfigError(flag, f"{place} is there already; --override changes it")
        if last > len(holder):
            end = shown((*one.path[:-1], len(holder)))
            raise ConfigError(flag, f"expected {end}, the end of the list; got {place}")
        holder.append(one.value)
    else:
        raise _astray(holder, last, one.path[:-1], flag)


def shown(path: Place) -> str:
    """A path as it is written."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r'[^.\[\]"=]+', step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def _typed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> None:
    # NaN and Infinity are no JSON: a string, then.
    raise ValueError(name)


def _holder(document: Any, path: Place, flag: str) -> tuple[Any, Any]:
    """What holds the last step of a path that is there."""
    holder = document
    for index, step in enumerate(path):
        below = _found(holder, step, path[:index], flag)
        if index == len(path) - 1:
            break
        holder = below
    return holder, path[-1]


def _found(holder: Any, step: str | int, above: Place, flag: str) -> Any:
    is_there = (isinstance(holder, dict) and step in holder) or (
        isinstance(holder, list) and isinstance(step, int) and step < len(holder)
    )
    if not is_there:
        raise _astray(holder, step, above, flag)
    return holder[step]


def _astray(holder: Any, step: str | int, above: Place, flag: str) -> ConfigError:
    place = shown((*above, step))
    within = shown(above) or "the payload"
    if isinstance(holder, dict):
        near = difflib.get_close_matches(str(step), holder, n=_MOST_NEAR, cutoff=0.5)
        names = " or ".join(shown((*above, name)) for name in near)
        all_names = ", ".join(map(str, holder)) or "nothing"
        return ConfigError(flag, f"there is no {place}: " + (f"{names}?" if near else f"{within} has {all_names}"))
    if isinstance(holder, list):
        return ConfigError(flag, f"there is no {place}: {within} is a list of {len(holder)}")
    return ConfigError(flag, f"there is no {place}: {within} is {_kind_of(holder)} and has nothing in it")


def _kind_of(value: Any) -> Literal["null", "a string", "a truth value", "a number"]:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a truth value"
    return "a string" if isinstance(value, str) else "a number"
