"""The delivery loop's verbs: claim, settle, record, discover.

Each method runs one or a few `.sql` files on the connection it is given. Nothing here opens a transaction, reads a
clock or decides. What people and the API do with deliveries has its verbs in store.py.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from hookline.rules.health import Health
from hookline.sender.model import Attempt, AttemptKind, DeliveryOrigin, Environment, EventOrigin
from hookline.storage.verbs import Row, Verbs

if TYPE_CHECKING:
    from hookline.rules.lifecycle import Next, Target
    from hookline.rules.rotation import Overlap
    from hookline.storage.verbs import Connection, Dialect


# From so many deliveries on that settle alike, a statement of their own costs less than a row of values for each.
ALIKE: Final = 8
SETTLED: Final = (
    "attempt", "attempts_made", "state", "due_ms", "slots_used", "unknown_attempts", "next_kind", "planned_ms",
    "reason",
)  # fmt: skip


class ClaimedEvent(msgspec.Struct, frozen=True, gc=False):
    """What is to be sent. `body` is empty where only the bookkeeping of a lapsed lease is wanted."""

    row_id: int
    id: str
    type: str
    origin: EventOrigin
    traceparent: str | None
    object_sequence: int | None
    body: bytes


class ClaimedEndpoint(msgspec.Struct, frozen=True, gc=False):
    """Where it goes, as that was when it was claimed: shared by all that one round claims for it (`model.Endpoint`)."""

    row_id: int
    id: str
    environment: Environment
    url: str
    version: int
    secret_enc: str
    old_secret_enc: str | None
    old_secret_until_ms: int | None
    signs_with_old: int
    probe_failures: int
    probe_after_ms: int | None
    headers_enc: str | None
    standard_webhooks: int
    schedule: str | None
    timeout_ms: int | None
    rate_limit_per_min: int | None


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A delivery in the hands of one loop: what its attempt needs, as it was when it was claimed.

    `attempt` is the number of the attempt now beginning. `first_ms` is when the first one began, `claimed_ms` when
    this one was claimed.
    """

    row_id: int
    id: str
    event: ClaimedEvent
    endpoint: ClaimedEndpoint
    origin: DeliveryOrigin
    attempt: int
    slots_used: int
    unknown_attempts: int
    kind: AttemptKind
    planned_ms: int | None
    first_ms: int
    claimed_ms: int

    @property
    def log_ids(self) -> dict[str, object]:
        """What a log line about it names."""
        return {
            "event_id": self.event.id,
            "delivery_id": self.id,
            "endpoint_id": self.endpoint.id,
            "attempt": self.attempt,
        }


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What a claimed delivery is now.

    `attempts_made` is less than its attempt's number where none was made, and more where a probe followed it.
    """

    claimed: Claimed
    next: Next
    attempts_made: int


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How an endpoint stands at a settlement; one that is open and well is not named at all."""

    target: Target
    health: Health


OPEN_AND_WELL: Final = EndpointState("open", Health())


@dataclass(frozen=True, slots=True)
class NextDue:
    """When an open endpoint's next delivery is due, and what stands before its claim.

    `rate_limit_per_min` None is unlimited; of a half-open endpoint only whoever holds its trial may claim, until
    `trial_until_ms`.
    """

    due_ms: int
    rate_limit_per_min: int | None
    is_half_open: bool
    trial_until_ms: int | None

    @property
    def is_gated(self) -> bool:
        """Whether a bucket or a trial has to be taken first."""
        return self.is_half_open or self.rate_limit_per_min is not None


@dataclass(frozen=True, slots=True)
class Discovery:
    """The work there is: (endpoint row, earliest due time, whether it has been failing) of each open endpoint that has
    pending deliveries.

    `lease_ms` is when the first lease passes or passed, `overlap_ms` when the first overlap of two secrets ends; None
    where there is none. `has_unfed` says whether events published on an app's connection wait for their place in the
    feed. `job_ms` is when the next job is due (jobs.py). `closed` are endpoints that deliveries wait for though they
    are closed and no job is closing their backlog: made beside the closing.
    """

    endpoints: Sequence[tuple[int, int, bool]]
    lease_ms: int | None
    overlap_ms: int | None
    has_unfed: bool
    job_ms: int | None = None
    closed: tuple[int, ...] = ()


class DeliveryStore:
    """The verbs of the delivery loop."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._verbs = Verbs("hookline.sender", dialect)

    def claim(
        self,
        connection: Connection,
        slots: Mapping[int, int],
        *,
        now_ms: int,
        timeout_ms: int,
        margin_ms: int,
        is_gated: bool = False,
    ) -> list[Claimed]:
        """Claims due deliveries, at most `slots[endpoint row]` of each endpoint, in the order they were made.

        On SQLite one statement for each distinct number of slots: its LIMIT cannot name a column.

        Args:
            timeout_ms: of one attempt, where the endpoint has none of its own.
            margin_ms: how much longer than its attempt a lease lasts.
            is_gated: from endpoints with a rate limit or half open, whose bucket or trial was taken; without it they
                give nothing.
        """
        common = {"now_ms": now_ms, "timeout_ms": timeout_ms, "margin_ms": margin_ms, "gated": int(is_gated)}
        verb, rows = self._verbs["claim"], list[Row]()
        if self._dialect == "postgres":
            rows = verb.run(connection, {**common, "endpoint_slots": json.dumps([*slots.items()])})
        else:
            by_slots: dict[int, list[int]] = {}
            for endpoint_row, count in slots.items():
                by_slots.setdefault(count, []).append(endpoint_row)
            for count, endpoint_rows in by_slots.items():
                named = {**common, "endpoint_rows": json.dumps(endpoint_rows), "slots": count}
                rows += verb.run(connection, named)
        rows.sort()
        return self._loaded(connection, rows, with_bodies=True)

    def lapsed(self, connection: Connection, *, now_ms: int, limit: int) -> list[Claimed]:
        """Running deliveries whose lease has passed; their bodies are not read."""
        rows = self._verbs["lapsed"].run(connection, {"now_ms": now_ms, "limit": limit})
        return self._loaded(connection, rows, with_bodies=False)

    def _loaded(self, connection: Connection, rows: Sequence[Row], *, with_bodies: bool) -> list[Claimed]:
        """Claimed rows with what they have in common, which is read once for all of them."""
        if not rows:
            return []
        events = self._verbs["claimed_events"].run(
            connection, {"event_rows": json.dumps(list({row[2] for row in rows})), "with_bodies": int(with_bodies)}
        )
        endpoints = self._verbs["claimed_endpoints"].run(
            connection, {"endpoint_rows": json.dumps(list({row[3] for row in rows}))}
        )
        event_of = {row[0]: ClaimedEvent(*row) for row in events}
        endpoint_of = {row[0]: ClaimedEndpoint(*row) for row in endpoints}
        return [
            Claimed(row_id, delivery_id, event_of[event_row], endpoint_of[endpoint_row], *others)
            for row_id, delivery_id, event_row, endpoint_row, *others in rows
            if event_row in event_of and endpoint_row in endpoint_of
        ]

    def lock_buckets(self, connection: Connection, endpoint_rows: Collection[int]) -> dict[int, int]:
        """When each of these endpoints' token buckets is full; kept from others until the commit."""
        rows = self._verbs["buckets_lock"].run(connection, {"endpoint_rows": json.dumps(sorted(endpoint_rows))})
        return {row[0]: row[1] for row in rows}

    def put_buckets(self, connection: Connection, full_us: Mapping[int, int]) -> None:
        """Writes buckets that this transaction has locked."""
        self._verbs["buckets_put"].run_many(connection, sorted(full_us.items()))

    def begin_trials(
        self, connection: Connection, endpoint_rows: Collection[int], *, now_ms: int, until_ms: int
    ) -> set[int]:
        """Takes the trials of half-open endpoints; gives those that were free."""
        parameters = {"endpoint_rows": json.dumps(sorted(endpoint_rows)), "now_ms": now_ms, "until_ms": until_ms}
        return {row[0] for row in self._verbs["trial_begin"].run(connection, parameters)}

    def end_trials(self, connection: Connection, endpoint_rows: Collection[int]) -> None:
        """Gives back trials that decided nothing."""
        self._verbs["trial_end"].run(connection, {"endpoint_rows": json.dumps(sorted(endpoint_rows))})

    def states(self, connection: Connection, endpoint_rows: Collection[int]) -> dict[int, EndpointState]:
        """How those of the endpoints do that are not simply open and well."""
        rows = self._verbs["delivery_targets"].run(connection, {"endpoint_rows": json.dumps(sorted(endpoint_rows))})
        return {row[0]: EndpointState(row[1], Health(row[2], row[3], row[4], bool(row[5]))) for row in rows}

    def settle(self, connection: Connection, settlements: Sequence[Settlement], *, now_ms: int) -> set[int]:
        """Moves deliveries on; gives the rows moved. One that is no longer in the attempt named is left alone."""
        alike: dict[Row, list[int]] = {}
        for s in settlements:
            after = s.next
            values = (
                s.claimed.attempt, s.attempts_made, after.state, after.due_ms, after.slots_used,
                after.unknown_attempts, after.next_kind, after.planned_ms, after.reason,
            )  # fmt: skip
            alike.setdefault(values, []).append(s.claimed.row_id)
        moved: list[Row] = []
        others: list[Row] = []
        for values, row_ids in alike.items():
            if len(row_ids) < ALIKE:
                others += [(row_id, *values) for row_id in row_ids]
            else:
                named = dict(zip(SETTLED, values, strict=True), row_ids=json.dumps(row_ids), now_ms=now_ms)
                moved += self._verbs["settle_alike"].run(connection, named)
        moved += self._verbs["settle"].run_many(connection, others, {"now_ms": now_ms})
        return {row[0] for row in moved}

    def record(self, connection: Connection, attempts: Sequence[Attempt]) -> None:
        """Records attempts; one recorded already stays as it is."""
        rows = [
            (a.delivery_row, a.number, a.kind, a.outcome, a.reason, a.status, a.started_ms, a.duration_ms, a.evidence)
            for a in attempts
        ]
        self._verbs["attempts_put"].run_many(connection, rows)

    def turn_off(self, connection: Connection, endpoint_row: int, *, reason: str, now_ms: int) -> bool:
        """Disables an endpoint: `gone` it answered 410, `failing` for too long. False where it was off already."""
        return bool(
            self._verbs["endpoint_off"].run(connection, {"row_id": endpoint_row, "reason": reason, "now_ms": now_ms})
        )

    def add_failures(self, connection: Connection, failures: Sequence[tuple[int, int, int]]) -> None:
        """Adds failed attempts: (endpoint row, when the first of them ended, how many)."""
        self._verbs["endpoints_failing"].run_many(connection, sorted(failures))

    def recover(self, connection: Connection, endpoint_rows: Collection[int]) -> None:
        """Ends these endpoints' times of failing, and their being half open."""
        self._verbs["endpoints_recovered"].run(connection, {"endpoint_rows": json.dumps(sorted(endpoint_rows))})

    def warn(self, connection: Connection, endpoint_row: int, warned: int) -> bool:
        """Notes a warning. False where it was given before, be it by another process."""
        return bool(self._verbs["endpoint_warned"].run(connection, {"row_id": endpoint_row, "warned": warned}))

    def secrets(self, connection: Connection, endpoint_row: int) -> tuple[str, str | None] | None:
        """The endpoint's newest secret and the one before it, sealed, as they are now; None where it is deleted."""
        rows = self._verbs["endpoint_keys"].run(connection, {"row_id": endpoint_row})
        return (rows[0][0], rows[0][1]) if rows else None

    def note_probes(self, connection: Connection, overlaps: Mapping[tuple[int, str], Overlap]) -> None:
        """Stores what probes have shown, by endpoint row and newest secret; of one rotated since then nothing."""
        rows = [
            (row, secret_enc, int(overlap.signs_with_old), overlap.failures, overlap.probe_after_ms)
            for (row, secret_enc), overlap in sorted(overlaps.items(), key=lambda item: item[0])
        ]
        self._verbs["endpoints_probed"].run_many(connection, rows)

    def drop_old_secrets(self, connection: Connection, *, now_ms: int) -> int:
        """Forgets every secret whose overlap is over; gives how many."""
        return self._verbs["old_secrets_drop"].count(connection, {"now_ms": now_ms})

    def discover(self, connection: Connection) -> Discovery:
        """Which endpoints have work and when, and what else there is to do; one statement."""
        rows = self._verbs["discover"].run(connection)
        others = {row[0]: row[2] for row in rows if row[1] is None}
        return Discovery(
            [(row[1], row[2], bool(row[3])) for row in rows if row[0] == "endpoint"],
            others["lease"],
            others["overlap"],
            others["unfed"] is not None,
            others["job"],
            tuple(row[1] for row in rows if row[0] == "closed"),
        )

    def next_due(self, connection: Connection, endpoint_rows: Collection[int]) -> dict[int, NextDue]:
        """The earliest due time of each of these endpoints that has pending deliveries, and what stands before it."""
        rows = self._verbs["next_due"].run(connection, {"endpoint_rows": json.dumps(sorted(endpoint_rows))})
        return {row[0]: NextDue(row[1], row[2], bool(row[3]), row[4]) for row in rows}

    def come_back(
        self, connection: Connection, endpoint_rows: Collection[int], *, now_ms: int, latest_ms: int, longest_ms: int
    ) -> int:
        """Brings back what was written before the clock was set back; gives how many deliveries were moved.

        Args:
            endpoint_rows: whose waiting deliveries to look at.
            latest_ms: what was written later than this was.
            longest_ms: no lease given now lasts longer.
        """
        self._verbs["leases_from_ahead"].run(connection, {"longest_ms": longest_ms})
        return self._verbs["deliveries_from_ahead"].count(
            connection,
            {"endpoint_rows": json.dumps(sorted(endpoint_rows)), "now_ms": now_ms, "latest_ms": latest_ms},
        )
