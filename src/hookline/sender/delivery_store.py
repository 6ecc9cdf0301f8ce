"""The delivery loop's verbs: claim, settle, record, discover.

Each method runs one or a few `.sql` files on the connection it is given. Nothing here opens a transaction, reads a
clock or decides. What people and the API do with deliveries has its verbs in store.py.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookline.sender.model import Attempt, AttemptKind, Environment
from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.rules.lifecycle import Next, Target
    from hookline.storage.verbs import Connection, Dialect


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery in the hands of one loop: what its attempt needs, as it was when it was claimed.

    `attempt` is the number of the attempt now beginning. `first_ms` is when the first one began, `claimed_ms` when
    this one was claimed. `body` is empty where only the bookkeeping of a lapsed lease is wanted. `traceparent` is the
    W3C trace context that the event was published with.
    """

    row_id: int
    id: str
    environment: Environment
    endpoint_row: int
    attempt: int
    slots_used: int
    unknown_attempts: int
    kind: AttemptKind
    planned_ms: int | None
    first_ms: int
    claimed_ms: int
    body: bytes
    endpoint_id: str
    url: str
    secret_enc: str
    endpoint_version: int
    schedule: str | None
    event_id: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a claimed delivery is now. `attempts_made` is less than its attempt's number where none was made."""

    claimed: Claimed
    next: Next
    attempts_made: int


@dataclass(frozen=True, slots=True)
class Discovery:
    """The work there is: (endpoint row, earliest due time) of each open endpoint that has pending deliveries.

    `lease_ms` is when the first lease passes or passed, None where nothing runs. `has_unfed` says whether events
    published on an app's connection wait for their place in the feed. `job_ms` is when the next job is due (jobs.py).
    """

    endpoints: Sequence[tuple[int, int]]
    lease_ms: int | None
    has_unfed: bool
    job_ms: int | None = None


class DeliveryStore:
    """The verbs of the delivery loop."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.sender", dialect)

    def claim(
        self, connection: Connection, slots: Mapping[int, int], *, now_ms: int, leased_until_ms: int
    ) -> list[Claimed]:
        """Claims due deliveries, at most `slots[endpoint row]` of each endpoint, in the order they were made.

        One statement for each distinct number of slots: SQLite's LIMIT cannot name a column.
        """
        by_slots: dict[int, list[int]] = {}
        for endpoint_row, count in slots.items():
            by_slots.setdefault(count, []).append(endpoint_row)
        rows: list[int] = []
        for count, endpoint_rows in by_slots.items():
            parameters = {
                "endpoint_rows": json.dumps(endpoint_rows),
                "slots": count,
                "now_ms": now_ms,
                "leased_until_ms": leased_until_ms,
            }
            rows += [row[0] for row in self._verbs["claim"].run(connection, parameters)]
        if not rows:
            return []
        return [Claimed(*row) for row in self._verbs["claimed_load"].run(connection, {"row_ids": json.dumps(rows)})]

    def lapsed(self, connection: Connection, *, now_ms: int, limit: int) -> list[Claimed]:
        """Running deliveries whose lease has passed; their bodies are not read."""
        return [Claimed(*row) for row in self._verbs["lapsed"].run(connection, {"now_ms": now_ms, "limit": limit})]

    def targets(self, connection: Connection, endpoint_rows: Collection[int]) -> dict[int, Target]:
        """Which of these endpoints are `holding` or `deleted` now; one not named in the answer is open."""
        rows = self._verbs["delivery_targets"].run(connection, {"endpoint_rows": json.dumps(sorted(endpoint_rows))})
        return {row[0]: row[1] for row in rows}

    def settle(self, connection: Connection, settlements: Sequence[Settlement], *, now_ms: int) -> set[int]:
        """Moves deliveries on; gives the rows moved. One that is no longer in the attempt named is left alone."""
        rows = [
            (
                s.claimed.row_id, s.claimed.attempt, s.attempts_made, s.next.state, s.next.due_ms, s.next.slots_used,
                s.next.unknown_attempts, s.next.next_kind, s.next.planned_ms, s.next.reason,
            )
            for s in settlements
        ]  # fmt: skip
        return {row[0] for row in self._verbs["settle"].run_many(connection, rows, {"now_ms": now_ms})}

    def record(self, connection: Connection, attempts: Sequence[Attempt]) -> None:
        """Records attempts; one recorded already stays as it is."""
        rows = [
            (a.delivery_row, a.number, a.kind, a.outcome, a.reason, a.status, a.started_ms, a.duration_ms, a.evidence)
            for a in attempts
        ]
        self._verbs["attempts_put"].run_many(connection, rows)

    def turn_off_gone(self, connection: Connection, endpoint_row: int, *, now_ms: int) -> bool:
        """Disables an endpoint that answered 410. False where it was off already."""
        return bool(self._verbs["endpoint_gone"].run(connection, {"row_id": endpoint_row, "now_ms": now_ms}))

    def discover(self, connection: Connection) -> Discovery:
        """Which endpoints have work and when, and what else there is to do; one statement."""
        rows = self._verbs["discover"].run(connection)
        others = {row[0]: row[2] for row in rows if row[0] != "endpoint"}
        return Discovery(
            [(row[1], row[2]) for row in rows if row[0] == "endpoint"],
            others["lease"],
            others["unfed"] is not None,
            others["job"],
        )

    def next_due(self, connection: Connection, endpoint_rows: Collection[int]) -> dict[int, int]:
        """The earliest due time of each of these endpoints that has pending deliveries."""
        rows = self._verbs["next_due"].run(connection, {"endpoint_rows": json.dumps(sorted(endpoint_rows))})
        return {row[0]: row[1] for row in rows}
