"""What both ends did, counted where it happened: in their own tables, with plain SQL.

Nothing here is remembered by the demo. Each reading opens the tables as a stranger would, read-only.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookline.demo.compare import LIVE_VIEWS, MEMBERSHIPS_LIVE_VIEW


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One HTTP try as the sender recorded it. `said` is the status or the reason, `ended_ms` Unix milliseconds."""

    ended_ms: int
    number: int
    event_type: str
    outcome: str
    said: str
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class SenderFigures:
    """The sender's own account. `deliveries` is state -> count; `next_due_ms` the earliest pending try."""

    published: int
    deliveries: Mapping[str, int]
    attempts: int
    attempts_failed: int
    next_due_ms: int | None
    last_attempts: tuple[AttemptLine, ...]

    @property
    def delivered(self) -> int:
        return self.deliveries.get("succeeded", 0)

    @property
    def open(self) -> int:
        """Deliveries that are neither done nor given up."""
        return self.deliveries.get("pending", 0) + self.deliveries.get("running", 0)


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One accepted change of the mirror: `who` is a name where the object has one."""

    changed_ms: int
    kind: str
    resource: str
    who: str


@dataclass(frozen=True, slots=True)
class ReceiverFigures:
    """The receiver's own account.

    `refused`, `outcomes` and `runs` are reason, outcome or state -> count; `mirror` is resource -> live rows;
    `oldest_waiting_ms` is when the oldest entry not yet applied was received.
    """

    accepted: int
    duplicates: int
    conflicts: int
    refused: Mapping[str, int]
    waiting: int
    oldest_waiting_ms: int | None
    outcomes: Mapping[str, int]
    runs: Mapping[str, int]
    cascades: int
    mirror: Mapping[str, int]
    changes: int
    last_changes: tuple[ChangeLine, ...]

    @property
    def runs_open(self) -> int:
        return self.runs.get("pending", 0) + self.runs.get("running", 0)


class Reading:
    """A read-only connection of one's own to a database file. Use as a context manager or `close` it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )

    @property
    def connection(self) -> sqlite3.Connection:
        return self._connection

    def close(self) -> None:
        self._connection.close()

    def sender(self, *, last: int = 0) -> SenderFigures:
        """The sender's figures, with its `last` attempts, newest first."""
        self._connection.execute("begin")
        try:
            failed = self._number("select count(*) from hookline_sender_attempts where outcome <> 'succeeded'")
            return SenderFigures(
                published=self._number("select count(*) from hookline_sender_events"),
                deliveries=self._counts("select state, count(*) from hookline_sender_deliveries group by state"),
                attempts=self._number("select count(*) from hookline_sender_attempts"),
                attempts_failed=failed,
                next_due_ms=self._value("select min(due_ms) from hookline_sender_deliveries where state = 'pending'"),
                last_attempts=tuple(self._last_attempts(last)) if last else (),
            )
        finally:
            self._connection.execute("commit")

    def receiver(self, *, last: int = 0) -> ReceiverFigures:
        """The receiver's figures, with its `last` changes, newest first."""
        self._connection.execute("begin")
        try:
            repeats = self._counts("select kind, sum(times) from hookline_inbox_repeats group by kind")
            views = {**LIVE_VIEWS, "directory_membership": MEMBERSHIPS_LIVE_VIEW}
            return ReceiverFigures(
                accepted=self._number("select count(*) from hookline_inbox"),
                duplicates=repeats.get("duplicate", 0),
                conflicts=repeats.get("conflict", 0),
                refused=self._counts("select reason, sum(times) from hookline_rejections group by reason"),
                waiting=self._number("select count(*) from hookline_inbox_queue"),
                oldest_waiting_ms=self._value(
                    "select min(i.received_ms) from hookline_inbox_queue q join hookline_inbox i on i.seq = q.seq"
                ),
                outcomes=self._counts("select outcome, count(*) from hookline_inbox_outcomes group by outcome"),
                runs=self._counts("select state, count(*) from hookline_runs group by state"),
                cascades=self._number("select count(*) from hookline_cascades"),
                mirror={name: self._number(f"select count(*) from {view}") for name, view in views.items()},
                changes=self._number("select count(*) from hookline_changes"),
                last_changes=tuple(self._last_changes(last)) if last else (),
            )
        finally:
            self._connection.execute("commit")

    def _last_attempts(self, last: int) -> list[AttemptLine]:
        rows = self._connection.execute(
            "select a.started_ms + coalesce(a.duration_ms, 0), a.number, e.type, a.outcome, a.status, a.reason,"
            " a.duration_ms from hookline_sender_attempts a"
            " join hookline_sender_deliveries d on d.row_id = a.delivery_row"
            " join hookline_sender_events e on e.row_id = d.event_row"
            " order by a.rowid desc limit ?",
            (last,),
        )
        return [
            AttemptLine(ended_ms, number, type_, outcome, str(status or reason or outcome), duration_ms)
            for ended_ms, number, type_, outcome, status, reason, duration_ms in rows
        ]

    def _last_changes(self, last: int) -> list[ChangeLine]:
        rows = self._connection.execute(
            "select changed_ms, kind, resource, coalesce(after, before), object_id from hookline_changes"
            " order by seq desc limit ?",
            (last,),
        ).fetchall()
        return [ChangeLine(ms, kind, resource, self._who(shown, key)) for ms, kind, resource, shown, key in rows]

    def _who(self, shown: str | None, key: str) -> str:
        """A name for people; of a membership the group's and the user's."""
        group_id, _, user_id = key.partition("/")
        if user_id:
            group = self._name("hookline_directory_groups", group_id)
            return f"{self._name('hookline_directory_users', user_id)} in {group}"
        payload = json.loads(shown) if shown else {}
        return str(payload.get("name") or f"…{key[-6:]}")

    def _name(self, table: str, key: str) -> str:
        row = self._connection.execute(f"select payload from {table} where id = ?", (key,)).fetchone()
        return self._who(row[0] if row else None, key)

    def _value(self, statement: str) -> Any:
        return self._connection.execute(statement).fetchone()[0]

    def _number(self, statement: str) -> int:
        return int(self._value(statement))

    def _counts(self, statement: str) -> dict[str, int]:
        return {str(name): int(count) for name, count in self._connection.execute(statement)}
