"""The verbs of jobs: taking and keeping them; what releases, replays and retention read and write.

Each method runs one or a few `.sql` files on the connection it is given. Nothing here opens a transaction, reads a
clock or decides.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hookline.sender.model import PastEvent, Replay
from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.sender.store import Direction
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
class PlannedJob:
    """A job as people read it: `failures` of its part in a row, and when it goes on."""

    kind: str
    subject: str
    detail: Mapping[str, Any]
    due_ms: int
    failures: int


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that is held."""

    row_id: int
    event_row: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class Opened:
    """An open endpoint. Deliveries up to `hold_through_row` waited while it was closed and are to be held before any is
    claimed; None: nothing is left to hold.
    """

    version: int
    is_half_open: bool
    hold_through_row: int | None


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

    def planned(self, connection: Connection, *, limit: int) -> list[PlannedJob]:
        """The jobs there are, those due first."""
        rows = self._verbs["jobs_all"].run(connection, {"limit": limit})
        return [PlannedJob(kind, subject, json.loads(detail), *rest) for kind, subject, detail, *rest in rows]

    # -- what is held ------------------------------------------------------------------------------------------

    def held_count(
        self, connection: Connection, endpoint_row: int, *, through_row: int, since_ms: int
    ) -> tuple[int, int]:
        """How many deliveries of an endpoint are held or wait up to a row, and how many of them were made at or after
        a time.
        """
        [(total, since)] = self._verbs["held_count"].run(
            connection, {"endpoint_row": endpoint_row, "through_row": through_row, "since_ms": since_ms}
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

    def waiting(
        self, connection: Connection, endpoint_row: int, *, through_row: int, after: tuple[int, int], limit: int
    ) -> list[tuple[Held, int]]:
        """What waits for an endpoint up to a row, after a (due time, row), with its due times: due first first."""
        rows = self._verbs["waiting_page"].run(
            connection,
            {
                "endpoint_row": endpoint_row,
                "through_row": through_row,
                "after_ms": after[0],
                "after_row": after[1],
                "limit": limit,
            },
        )
        return [(Held(*row[:3]), row[3]) for row in rows]

    def hold_backlog(
        self, connection: Connection, endpoint_row: int, through_row: int, *, limit: int, now_ms: int
    ) -> int:
        """Holds what waits for an opened endpoint up to a row, at most so many; gives how many."""
        return self._verbs["backlog_hold"].count(
            connection, {"endpoint_row": endpoint_row, "through_row": through_row, "limit": limit, "now_ms": now_ms}
        )

    def note_backlog(self, connection: Connection, endpoint_row: int, through_row: int | None) -> None:
        """Notes up to which row the backlog of an opened endpoint is held before its deliveries are claimed; None: they
        may be claimed now. In the transaction that opens the endpoint.
        """
        self._verbs["backlog_through"].run(connection, {"row_id": endpoint_row, "through_row": through_row})

    def end_backlog(self, connection: Connection, endpoint_row: int) -> bool:
        """Notes that the backlog is held. False where somebody is changing the endpoint just now."""
        return bool(self._verbs["backlog_over"].run(connection, {"row_id": endpoint_row}))

    def last_delivery(self, connection: Connection) -> int:
        """The row of the newest delivery; 0 where there is none."""
        return int(self._verbs["deliveries_last"].run(connection)[0][0])

    def keep_closed(self, connection: Connection, endpoint_row: int) -> bool:
        """Whether an endpoint is closed, and stays so until the transaction ends. False also where it is in change."""
        return bool(self._verbs["endpoint_closed"].run(connection, {"row_id": endpoint_row}))

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

    def open_endpoint(self, connection: Connection, endpoint_row: int) -> Opened | None:
        """An endpoint that is on, not paused and not deleted; else None."""
        rows = self._verbs["endpoint_open"].run(connection, {"row_id": endpoint_row})
        return Opened(rows[0][0], bool(rows[0][1]), rows[0][2]) if rows else None

    def note_objects(
        self, connection: Connection, endpoint_row: int, version: int, hashes: Collection[str]
    ) -> set[str]:
        """Notes objects that a release has met; gives those it had not met before."""
        rows = [(endpoint_row, version, one) for one in sorted(hashes)]
        return {row[0] for row in self._verbs["release_objects_put"].run_many(connection, rows)}

    def forget_objects(self, connection: Connection, endpoint_row: int, *, limit: int) -> int:
        """Forgets objects that releases of an endpoint have met, at most so many; gives how many."""
        return self._verbs["release_objects_clear"].count(connection, {"endpoint_row": endpoint_row, "limit": limit})

    # -- replays -----------------------------------------------------------------------------------------------

    def add_replay(self, connection: Connection, **values: object) -> None:
        """Adds a replay (id, environment, filter, total, position, last_event_row, rate_per_s, now_ms)."""
        self._verbs["replay_put"].run(connection, values)

    def replay(self, connection: Connection, environment: str, replay_id: str) -> Replay | None:
        """One replay of an environment, or None."""
        rows = self._verbs["replay_get"].run(connection, {"environment": environment, "id": replay_id})
        return Replay(*rows[0]) if rows else None

    def replay_of_job(self, connection: Connection, replay_id: str) -> Replay | None:
        """The replay that a job is about, whatever its environment."""
        rows = self._verbs["replay_read"].run(connection, {"id": replay_id})
        return Replay(*rows[0]) if rows else None

    def replays(
        self, connection: Connection, environment: str, direction: Direction, cursor_row: int, limit: int
    ) -> list[Replay]:
        """Replays made after or before a row, nearest first."""
        rows = self._verbs[f"replays_{direction}"].run(
            connection, {"environment": environment, "cursor_row": cursor_row, "limit": limit}
        )
        return [Replay(*row) for row in rows]

    def move_replay(
        self,
        connection: Connection,
        replay: Replay,
        *,
        made: int,
        skipped: Mapping[str, int],
        position: int,
        is_over: bool,
        now_ms: int,
    ) -> bool:
        """Keeps how far a replay came. False where it was canceled meanwhile."""
        return bool(
            self._verbs["replay_move"].run(
                connection,
                {
                    "row_id": replay.row_id,
                    "state": "succeeded" if is_over else "pending",
                    "made": made,
                    "skipped": json.dumps(skipped, sort_keys=True),
                    "position": position,
                    "finished_ms": now_ms if is_over else None,
                    "now_ms": now_ms,
                },
            )
        )

    def cancel_replay(self, connection: Connection, replay: Replay, *, reason: str, now_ms: int) -> bool:
        """Cancels a replay. False where it is over."""
        parameters = {"row_id": replay.row_id, "reason": reason, "now_ms": now_ms}
        return bool(self._verbs["replay_cancel"].run(connection, parameters))

    def past_events(self, connection: Connection, after: int, last: int, limit: int) -> list[PastEvent]:
        """Events of every environment after a row up to another, in the order of their rows."""
        rows = self._verbs["replay_page"].run(connection, {"after": after, "last": last, "limit": limit})
        return [PastEvent(*row) for row in rows]

    def event_range(
        self, connection: Connection, environment: str, since_ms: int | None, until_ms: int | None
    ) -> tuple[int, int]:
        """Rows between which an environment's events published in a range of times lie: (after, last).

        Others may lie between them, too.
        """
        named = {
            "environment": environment,
            "since_ms": since_ms or 0,
            "until_ms": LAST if until_ms is None else until_ms,
        }
        [(first, last)] = self._verbs["replay_bounds"].run(connection, named)
        first_kept_ms = self._verbs["events_first_kept"].run(connection, {"environment": environment})[0][0]
        if first is None or first_kept_ms is None or first_kept_ms >= named["since_ms"]:
            first = 1  # pruned events, which the index of kept ones does not know, may be meant as well
        if until_ms is None or last is None:
            last = self._verbs["events_last"].run(connection)[0][0] or 0
        return first - 1, last

    def earlier(
        self, connection: Connection, pairs: Collection[tuple[int, int]]
    ) -> dict[tuple[int, int], list[tuple[int, str]]]:
        """The published and replayed deliveries of pairs of event and endpoint rows, each as (row, state)."""
        found: dict[tuple[int, int], list[tuple[int, str]]] = {}
        for event_row, endpoint_row, row_id, state in self._verbs["replay_earlier"].run(
            connection, {"pairs": json.dumps([list(pair) for pair in pairs])}
        ):
            found.setdefault((event_row, endpoint_row), []).append((row_id, state))
        return found

    def add_replayed(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
        """Adds deliveries (id, environment, event_row, endpoint_row, state, due_ms, reason, replay_row, now_ms)."""
        self._verbs["replay_deliveries_put"].run_many(connection, rows)

    def count_due(self, connection: Connection, replay_row: int, *, now_ms: int, most: int) -> int:
        """How many of a replay's deliveries are due and wait, up to a number."""
        parameters = {"replay_row": replay_row, "now_ms": now_ms, "most": most}
        return int(self._verbs["replay_due_count"].run(connection, parameters)[0][0])

    def count_replayed(self, connection: Connection, replay_row: int) -> dict[str, int]:
        """How many of a replay's deliveries are in which state; those past their retention are not there."""
        return {
            row[0]: row[1] for row in self._verbs["replay_deliveries_count"].run(connection, {"replay_row": replay_row})
        }

    def cancel_replayed(self, connection: Connection, replay_row: int, *, limit: int, now_ms: int) -> int:
        """Cancels what still waits of a replay, at most so many; gives how many."""
        parameters = {"replay_row": replay_row, "limit": limit, "now_ms": now_ms}
        return self._verbs["replay_deliveries_cancel"].count(connection, parameters)

    def count_endpoints(self, connection: Connection, environment: str) -> int:
        """How many live endpoints an environment has."""
        return int(self._verbs["endpoints_count"].run(connection, {"environment": environment})[0][0])

    # -- retention ---------------------------------------------------------------------------------------------

    def past_retention(
        self, connection: Connection, environment: str, *, cutoff_ms: int, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, int]]:
        """Events published before a time that still have their bodies: (row, published_ms, how many deliveries)."""
        rows = self._verbs["retention_page"].run(
            connection,
            {
                "environment": environment,
                "cutoff_ms": cutoff_ms,
                "after_ms": after[0],
                "after_row": after[1],
                "limit": limit,
            },
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def expire_held(self, connection: Connection, event_rows: Collection[int], *, now_ms: int) -> int:
        """Cancels what is held of these events; gives how many."""
        return self._verbs["retention_expire"].count(connection, _events(event_rows, now_ms=now_ms))

    def with_open_deliveries(self, connection: Connection, event_rows: Collection[int]) -> set[int]:
        """Which of these events have a delivery that waits or is under way."""
        return {row[0] for row in self._verbs["retention_open"].run(connection, _events(event_rows))}

    def prune_events(self, connection: Connection, event_rows: Collection[int], *, now_ms: int) -> int:
        """Empties these events' bodies and takes them out of the feed; gives how many."""
        pruned = self._verbs["retention_events"].count(connection, _events(event_rows, now_ms=now_ms, empty=b""))
        self._verbs["retention_feed"].run(connection, _events(event_rows))
        return pruned

    def remove_deliveries(self, connection: Connection, event_rows: Collection[int], *, cutoff_ms: int) -> int:
        """Removes these events' deliveries that ended before a time, with their attempts; gives how many."""
        named = _events(event_rows, cutoff_ms=cutoff_ms)
        self._verbs["retention_attempts"].run(connection, named)
        return self._verbs["retention_deliveries"].count(connection, named)

    def known_events(self, connection: Connection, after: int, limit: int) -> list[tuple[int, int, int | None]]:
        """Events of every environment after a row: (row, published_ms, pruned_ms)."""
        rows = self._verbs["retention_ids"].run(connection, {"after": after, "limit": limit})
        return [(row[0], row[1], row[2]) for row in rows]

    def forget_events(self, connection: Connection, event_rows: Collection[int]) -> int:
        """Removes pruned events for good; gives how many."""
        return self._verbs["retention_forget"].count(connection, _events(event_rows))

    def forget_keys(self, connection: Connection, *, cutoff_ms: int, limit: int) -> int:
        """Removes idempotency keys taken before a time, at most so many; gives how many."""
        return self._verbs["retention_keys"].count(connection, {"cutoff_ms": cutoff_ms, "limit": limit})

    def forget_replays(self, connection: Connection, *, cutoff_ms: int, limit: int) -> int:
        """Removes replays done before a time, but those that have deliveries, at most so many; gives how many."""
        return self._verbs["retention_replays"].count(connection, {"cutoff_ms": cutoff_ms, "limit": limit})

    def forget_audit(self, connection: Connection, *, cutoff_ms: int, limit: int) -> int:
        """Removes lines of the audit trail from before a time, at most so many; gives how many."""
        return self._verbs["retention_audit"].count(connection, {"cutoff_ms": cutoff_ms, "limit": limit})

    def forget_statistics(
        self, connection: Connection, environments: Collection[str], *, minutes_ms: int, hours_ms: int
    ) -> None:
        """Removes what was counted for pages: minutes from before one time, hours from before another."""
        for environment in environments:
            minutes = {"environment": environment, "cutoff_ms": minutes_ms}
            self._verbs["retention_minutes"].run(connection, minutes)
            types = {"environment": environment, "cutoff_ms": hours_ms}
            self._verbs["retention_type_hours"].run(connection, types)
        self._verbs["retention_endpoint_hours"].run(connection, {"cutoff_ms": hours_ms})


def _events(event_rows: Collection[int], **others: object) -> dict[str, object]:
    return {"event_rows": json.dumps(sorted(event_rows)), **others}


def _job_row(kind: str, subject: str, detail: Mapping[str, Any], due_ms: int) -> dict[str, object]:
    return {"kind": kind, "subject": subject, "detail": json.dumps(detail), "due_ms": due_ms}
