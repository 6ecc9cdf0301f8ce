"""What becomes of an endpoint's backlog when it is paused, disabled or deleted: it is held, or canceled, in parts.

The endpoint is closed by one small commit, which holds at once: no claim is made from a closed endpoint. The same
transaction does the first part, so that a small backlog is decided before the answer; the rest is a job (jobs.py). Its
parts need no position: they take what still waits. What is made beside the closing, by whoever saw the endpoint open
and committed later, is found by discovery, which begins the job again (docs/decisions/0115, 0138).

Opened again meanwhile, the endpoint ends the job; what is left waiting is the resumption's (holding.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hookline.sender.jobs import Part

if TYPE_CHECKING:
    from hookline.sender.job_store import Job, JobStore
    from hookline.sender.store import SenderStore
    from hookline.storage.verbs import Connection

KIND: Final = "close"
# How many deliveries a transaction moves.
PART: Final = 500
# Somebody is changing the endpoint: a part comes again after so long.
BUSY_MS: Final = 100


class Closing:
    """Closes backlogs."""

    def __init__(self, store: SenderStore, jobs: JobStore) -> None:
        self._store = store
        self._jobs = jobs

    def do_part(self, connection: Connection, job: Job, now_ms: int) -> Part:
        """The next part of a backlog."""
        endpoint_row = int(job.subject)
        if self._jobs.open_endpoint(connection, endpoint_row) is not None:
            return Part(None, {})
        # Who opens the endpoint waits for this part, and sees what it did.
        if not self._jobs.keep_closed(connection, endpoint_row):
            return Part(now_ms + BUSY_MS, {})
        moved = self._store.close_some(connection, endpoint_row, limit=PART, now_ms=now_ms)
        # On PostgreSQL a part may move fewer than there are, as a worker took some at that moment.
        return Part(now_ms if moved else None, {})
