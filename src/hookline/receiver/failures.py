"""What may be said of an exception whose message may hold what was in a payload: its class, and where it was raised."""

from __future__ import annotations

import traceback


def class_of(error: BaseException) -> str:
    """Its class, with its module unless that is Python's own."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def place_of(error: BaseException) -> str:
    """Its class, and the function and line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{class_of(error)}{where}"
