"""One at a time: who does a source's tail, its refetches or a pass just now.

A lease is taken for a while and renewed by its holder. Its token grows with every new holder, and each transaction of
the holder's checks it (`hold`): one that was taken for dead finds that out before it can commit.
"""

from __future__ import annotations

import os
import socket
import uuid
from typing import TYPE_CHECKING, Final

from hookline.errors import HooklineError

if TYPE_CHECKING:
    from hookline.storage import Connection, Verbs

LEASE_MS: Final = 60_000
# No lease ends later than this from now: one that does was taken before the clock was set back. Far more than a lease,
# since the clocks of several hosts differ.
LATEST_MS: Final = 10 * LEASE_MS


def holder_name() -> str:
    """Who holds a lease, for people. The number of a process comes again, and two of its threads may be two holders."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"


class LeaseLost(HooklineError):
    """Somebody else holds the lease by now: what this transaction wrote is undone."""


class Leases:
    """The verbs of the leases, for one holder.

    Args:
        holder: who it is, for people: a worker's name.
    """

    def __init__(self, verbs: Verbs, holder: str) -> None:
        self._take, self._hold, self._release = verbs["leases_take"], verbs["leases_hold"], verbs["leases_release"]
        self._holder = holder

    def take(self, connection: Connection, source: str, name: str, now_ms: int) -> int | None:
        """Take a lease that is free or has passed; its token, or None where somebody else has it."""
        named = {
            "source": source,
            "name": name,
            "holder": self._holder,
            "now_ms": now_ms,
            "until_ms": now_ms + LEASE_MS,
            "latest_ms": now_ms + LATEST_MS,
        }
        rows = self._take.run(connection, named)
        return rows[0][0] if rows else None

    def hold(self, connection: Connection, source: str, name: str, token: int, now_ms: int) -> None:
        """Renew a lease, as the first statement of a transaction that rests on it.

        Raises: LeaseLost.
        """
        named = {"source": source, "name": name, "token": token, "until_ms": now_ms + LEASE_MS}
        if self._hold.count(connection, named) != 1:
            raise LeaseLost(f"{name} of {source}: another process has taken it over")

    def release(self, connection: Connection, source: str, name: str, token: int) -> None:
        """Let others take it at once."""
        self._release.run(connection, {"source": source, "name": name, "token": token})
