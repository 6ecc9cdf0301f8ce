"""The verbs of jobs: taking and keeping them, what is held and let go.

Each method runs one or a few `.sql` files on the connection it is given. Nothing here opens a transaction, reads a
clock or decides.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.storage.verbs import Connection, Dialect

# Beyond every row and every time.
LAST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Job:
    """A job in the hands of one transaction. `subject` and `detail` mean what its `kind` says."""

    row_id: int
    kind: str
    subject: str
    detail: Mapping[str, Any]
    failures: int


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that is held."""

    row_id: int
    event_row: int
    created_ms: int


class JobStore:
    """The verbs of jobs."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.sender", dialect)

    # -- jobs --------------------------------------------------------------------------------------------------

    def put(self, connection: Connection, kind: str, subject: str, detail: Mapping[str, Any], *, due_ms: int) -> None:
        """Puts a job, or begins the one of this kind and subject anew."""
        self._verbs["job_put"].run(connection, _job_row(kind, subject, detail, due_ms))

    def put_first(
        self, connection: Connection, kind: str, subject: str, detail: Mapping[str, Any], *, due_ms: int
    ) -> None:
        """Puts a job where there is none of this kind and subject."""
        self._verbs["job_put_first"].run(connection, _job_row(kind, subject, detail, due_ms))

    def take(self, connection: Connection, *, now_ms: int) -> Job | None:
        """Takes the job that has been due longest, until the transaction ends; None where none is due and free."""
        rows = self._verbs["job_take"].run(connection, {"now_ms": now_ms})
        if not rows:
            return None
        row_id, kind, subject, detail, failures = rows[0]
        return Job(row_id, kind, subject, json.loads(detail), failures)

    def keep(
        self, connection: Connection, job: Job, detail: Mapping[str, Any], *, due_ms: int, failures: int = 0
    ) -> None:
        """Keeps how far a job came and when it goes on. One that is gone stays gone."""
        self._verbs["job_keep"].run(
            connection,
            {"row_id": job.row_id, "detail": json.dumps(detail), "due_ms": due_ms, "failures": failures},
        )

    def end(self, connection: Connection, kind: str, subject: str) -> None:
        """Ends a job; nothing where there is none."""
        self._verbs["job_end"].run(connection, {"kind": kind, "subject": subject})

    def next_due_ms(self, connection: Connection) -> int | None:
        """When the next job is due; None where there is none."""
        due_ms: int | None = self._verbs["job_next"].run(connection)[0][0]
        return due_ms

    # -- what is held ------------------------------------------------------------------------------------------

    def held_count(self, connection: Connection, endpoint_row: int, *, since_ms: int) -> tuple[int, int]:
        """How many deliveries of an endpoint are held, and how many of them were made at or after a time."""
        [(total, since)] = self._verbs["held_count"].run(
            connection, {"endpoint_row": endpoint_row, "since_ms": since_ms}
        )
        return total, since

    def held(
        self, connection: Connection, endpoint_row: int, *, before: tuple[int, int] = (LAST, LAST), limit: int
    ) -> list[Held]:
        """What is held for an endpoint before an (event row, row), newest event first."""
        rows = self._verbs["held_page"].run(
            connection,
            {"endpoint_row": endpoint_row, "event_row": before[0], "row_id": before[1], "limit": limit},
        )
        return [Held(*row) for row in rows]

    def bodies(self, connection: Connection, event_rows: Collection[int]) -> dict[int, bytes]:
        """The bodies of events, by row."""
        rows = self._verbs["event_bodies"].run(connection, {"event_rows": json.dumps(sorted(event_rows))})
        return {row[0]: bytes(row[1]) for row in rows}

    def send_held(self, connection: Connection, row_ids: Collection[int], *, now_ms: int) -> int:
        """Lets held deliveries wait again; gives how many."""
        return self._verbs["held_send"].count(connection, {"row_ids": json.dumps(sorted(row_ids)), "now_ms": now_ms})

    def drop_held(self, connection: Connection, row_ids: Collection[int], *, reason: str, now_ms: int) -> int:
        """Cancels held deliveries; gives how many."""
        parameters = {"row_ids": json.dumps(sorted(row_ids)), "reason": reason, "now_ms": now_ms}
        return self._verbs["held_drop"].count(connection, parameters)

    def open_endpoint(self, connection: Connection, endpoint_row: int) -> tuple[int, bool] | None:
        """Version and whether it is half open, of an endpoint that is on, not paused and not deleted; else None."""
        rows = self._verbs["endpoint_open"].run(connection, {"row_id": endpoint_row})
        return (rows[0][0], bool(rows[0][1])) if rows else None

    def note_objects(
        self, connection: Connection, endpoint_row: int, version: int, hashes: Collection[str]
    ) -> set[str]:
        """Notes objects that a release has met; gives those it had not met before."""
        rows = [(endpoint_row, version, one) for one in sorted(hashes)]
        return {row[0] for row in self._verbs["release_objects_put"].run_many(connection, rows)}

    def forget_objects(self, connection: Connection, endpoint_row: int, *, limit: int) -> int:
        """Forgets objects that releases of an endpoint have met, at most so many; gives how many."""
        return self._verbs["release_objects_clear"].count(connection, {"endpoint_row": endpoint_row, "limit": limit})


def _job_row(kind: str, subject: str, detail: Mapping[str, Any], due_ms: int) -> dict[str, object]:
    return {"kind": kind, "subject": subject, "detail": json.dumps(detail), "due_ms": due_ms}
