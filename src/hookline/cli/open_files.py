"""How many files and connections this process may have open: what the system lets it raise, it raises."""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger("hookline.serve")

# Where the hard limit is none, or more than the kernel grants.
ENOUGH: Final = 1 << 20
# Below this idle connections to endpoints get less than their 1,024 (sender/http_httptools.py): half is the most.
FEW: Final = 2048


def raise_open_files() -> tuple[int, str]:
    """Raise the soft limit of descriptors to the hard one; what to log then, and at which level: few are a warning.

    Shells and service managers give 1,024 for the sake of old programs that `select`; nothing here does.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return logging.DEBUG, "open files and connections: as many as the system gives"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (hard, ENOUGH) if hard != resource.RLIM_INFINITY else (ENOUGH,):
        if soft == resource.RLIM_INFINITY or most <= soft:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError) as error:
            log.debug("the limit of open files cannot be raised to %d: %s", most, error)
        else:
            break
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = "without a limit" if now == resource.RLIM_INFINITY else str(now)
    is_few = now != resource.RLIM_INFINITY and now < FEW
    level = logging.WARNING if is_few else logging.DEBUG
    return level, f"open files and connections: {told}, the limit was {soft} when started"
