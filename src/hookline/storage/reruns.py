"""Work that is run again where another transaction was in its way. Knows no driver, and no table of ours."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from hookline.errors import StorageUnavailable

T = TypeVar("T")

# How often work that conflicts is run again, and work that met a row somebody else had just inserted.
RERUNS: Final = 20
RERUNS_AS_DUPLICATE: Final = 3
PAUSE_LAST_S: Final = 0.1
_UNIQUE_VIOLATION: Final = "23505"


class Conflict(StorageUnavailable):
    """Two transactions were in each other's way and this one was undone: the same work may be run again."""


def with_reruns(once: Callable[[], T]) -> T:
    """`once()`, a transaction from its begin to its commit, and again where it was undone for another's sake.

    A unique violation may mean that a row was inserted by somebody else after the work had looked for it: that too is
    run again, a few times.
    """
    duplicates = 0
    for attempt in range(RERUNS):
        try:
            return once()
        except Conflict:
            pass
        except Exception as error:
            if getattr(error, "sqlstate", None) != _UNIQUE_VIOLATION:
                raise
            duplicates += 1
            if duplicates > RERUNS_AS_DUPLICATE:
                raise
        # Drawn, so that the same two do not meet again.
        time.sleep(random.uniform(0, min(PAUSE_LAST_S, 0.002 * 2**attempt)))  # noqa: S311
    raise StorageUnavailable(f"the database is not available: {RERUNS} times transactions were in the way")
