"""What both ends did, counted where it happened: in their own tables, with plain SQL.

Nothing here is remembered by the demo. Each reading looks at the tables as a stranger would (look.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from hookline.demo.compare import LIVE_VIEWS, MEMBERSHIPS_LIVE_VIEW
from hookline.demo.look import Look


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


def sender_figures(seen: Look, *, last: int = 0, besides: str | None = None) -> SenderFigures:
    """The sender's figures, with its `last` attempts, newest first; deliveries to the URL `besides` are left out."""
    endpoints = ""
    values: tuple[str, ...] = ()
    if besides is not None:
        endpoints, values = "select row_id from hookline_sender_endpoints where url = ?", (besides,)
    ours = f"endpoint_row not in ({endpoints})" if endpoints else "1 = 1"
    theirs = f"select row_id from hookline_sender_deliveries where endpoint_row in ({endpoints})"
    tried = f"delivery_row not in ({theirs})" if endpoints else "1 = 1"

    def number(statement: str) -> int:
        return int(seen.rows(statement, *values)[0][0])

    counts = seen.rows(f"select state, count(*) from hookline_sender_deliveries where {ours} group by state", *values)
    due = f"select min(due_ms) from hookline_sender_deliveries where state = 'pending' and {ours}"
    failed = f"select count(*) from hookline_sender_attempts where outcome <> 'succeeded' and {tried}"
    return SenderFigures(
        published=seen.number("select count(*) from hookline_sender_events"),
        deliveries={str(state): int(count) for state, count in counts},
        attempts=number(f"select count(*) from hookline_sender_attempts where {tried}"),
        attempts_failed=number(failed),
        next_due_ms=seen.rows(due, *values)[0][0],
        last_attempts=tuple(_last_attempts(seen, last)) if last else (),
    )


def receiver_figures(seen: Look, *, last: int = 0) -> ReceiverFigures:
    """The receiver's figures, with its `last` changes, newest first."""
    repeats = seen.counts("select kind, sum(times) from hookline_inbox_repeats group by kind")
    views = {**LIVE_VIEWS, "directory_membership": MEMBERSHIPS_LIVE_VIEW}
    return ReceiverFigures(
        accepted=seen.number("select count(*) from hookline_inbox"),
        duplicates=repeats.get("duplicate", 0),
        conflicts=repeats.get("conflict", 0),
        refused=seen.counts("select reason, sum(times) from hookline_rejections group by reason"),
        waiting=seen.number("select count(*) from hookline_inbox_queue"),
        oldest_waiting_ms=seen.value(
            "select min(i.received_ms) from hookline_inbox_queue q join hookline_inbox i on i.seq = q.seq"
        ),
        outcomes=seen.counts("select outcome, count(*) from hookline_inbox_outcomes group by outcome"),
        runs=seen.counts("select state, count(*) from hookline_runs group by state"),
        cascades=seen.number("select count(*) from hookline_cascades"),
        mirror={name: seen.number(f"select count(*) from {view}") for name, view in views.items()},
        changes=seen.number("select count(*) from hookline_changes"),
        last_changes=tuple(_last_changes(seen, last)) if last else (),
    )


def _last_attempts(seen: Look, last: int) -> list[AttemptLine]:
    rows = seen.rows(
        "select a.started_ms + coalesce(a.duration_ms, 0), a.number, e.type, a.outcome, a.status, a.reason,"
        " a.duration_ms from (select * from hookline_sender_attempts"
        " order by started_ms desc, delivery_row desc, number desc limit ?) a"
        " join hookline_sender_deliveries d on d.row_id = a.delivery_row"
        " join hookline_sender_events e on e.row_id = d.event_row"
        " order by a.started_ms desc, a.delivery_row desc, a.number desc",
        last,
    )
    return [
        AttemptLine(ended_ms, number, type_, outcome, str(status or reason or outcome), duration_ms)
        for ended_ms, number, type_, outcome, status, reason, duration_ms in rows
    ]


def _last_changes(seen: Look, last: int) -> list[ChangeLine]:
    rows = seen.rows(
        "select changed_ms, kind, resource, coalesce(after, before), object_id from hookline_changes"
        " order by seq desc limit ?",
        last,
    )
    return [ChangeLine(ms, kind, resource, _who(seen, shown, key)) for ms, kind, resource, shown, key in rows]


def _who(seen: Look, shown: str | None, key: str) -> str:
    """A name for people; of a membership the group's and the user's."""
    group_id, _, user_id = key.partition("/")
    if user_id:
        group = _name(seen, "hookline_directory_groups", group_id)
        return f"{_name(seen, 'hookline_directory_users', user_id)} in {group}"
    payload = json.loads(shown) if shown else {}
    return str(payload.get("name") or f"…{key[-6:]}")


def _name(seen: Look, table: str, key: str) -> str:
    rows = seen.rows(f"select payload from {table} where id = ?", key)
    return _who(seen, rows[0][0] if rows else None, key)
