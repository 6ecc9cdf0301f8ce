"""The sender's tables as verbs: each method runs one or a few `.sql` files on the connection it is given.

Nothing here opens a transaction, reads a clock, decides what is allowed or renders an answer. Because the
connection is a parameter, a verb also runs on an app's own. What the delivery loop claims and settles has verbs
of its own, beside the loop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from hookline.sender import closing
from hookline.sender.model import (
    OPERATIONAL_TYPES,
    ApiKey,
    Attempt,
    AuditEntry,
    Delivery,
    Endpoint,
    EndpointVersion,
    Environment,
    OwnEventType,
    PastEvent,
    StoredEvent,
)
from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.rules.lifecycle import Next
    from hookline.sender.model import SchemaMode
    from hookline.storage.verbs import Connection, Dialect, Row

# Beyond every row id: where a list that has no cursor begins.
LAST_ROW: Final = (1 << 63) - 1

Direction: TypeAlias = Literal["newer", "older"]

_EVENT_DEFAULTS: Final[dict[str, object]] = {
    "origin": "published",
    "traceparent": None,
    "object_sequence": None,
    "object_id": None,
}


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list; None leaves a side open. Rows stand for ids that the caller has looked up."""

    state: str | None = None
    event_type: str | None = None
    event_row: int | None = None
    endpoint_row: int | None = None


@dataclass(frozen=True, slots=True)
class EndpointFilter:
    """Which endpoints to list; None leaves a side open.

    `url_part` is found anywhere in the URL, in any case; `text` there or in the description. `standing` is how one is
    doing: `disabled`, else `paused`, else `failing`, else `enabled`.
    """

    status: str | None = None
    url_part: str | None = None
    text: str | None = None
    standing: str | None = None


EVERY_ENDPOINT: Final = EndpointFilter()


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines of the audit trail to list; None leaves a side open."""

    action: str | None = None
    object_id: str | None = None


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """Which events to list: exact type names, an organization or any, a half-open range of creation times."""

    types: tuple[str, ...]
    organization_id: str | None = None
    range_start_ms: int | None = None
    range_end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Concerned:
    """An endpoint as an explanation names it, deleted or not."""

    row_id: int
    id: str
    url: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What a key was used for: the call (method and path), the hash of its body, the ids it made."""

    operation: str
    body_sha256: str
    result_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """An endpoint that asks for an event type; `held_reason` is why its deliveries are held, if they are."""

    environment: str
    event_type: str
    endpoint_row: int
    held_reason: str | None


class SenderStore:
    """The verbs of registry, publishing, feed, deliveries and settings."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.sender", dialect)

    # -- endpoints ---------------------------------------------------------------------------------------------

    def add_endpoint(
        self,
        connection: Connection,
        *,
        endpoint_id: str,
        environment: Environment,
        url: str,
        events: Sequence[str],
        description: str | None,
        secret_enc: str,
        timeout_ms: int | None = None,
        rate_limit_per_min: int | None = None,
        headers_enc: str | None = None,
        standard_webhooks: bool = False,
        schedule: str | None = None,
        now_ms: int,
    ) -> bool:
        """Adds an enabled endpoint. False where a live one of the environment has this URL: nothing is written."""
        rows = self._verbs["endpoint_put"].run(
            connection,
            {
                "id": endpoint_id,
                "environment": environment,
                "url": url,
                "description": description,
                "secret_enc": secret_enc,
                "timeout_ms": timeout_ms,
                "rate_limit_per_min": rate_limit_per_min,
                "headers_enc": headers_enc,
                "standard_webhooks": int(standard_webhooks),
                "schedule": schedule,
                "now_ms": now_ms,
            },
        )
        if not rows:
            return False
        self._subscribe(connection, rows[0][0], events)
        self.note_version(connection, rows[0][0])
        return True

    def endpoint(
        self, connection: Connection, environment: Environment, endpoint_id: str, *, with_deleted: bool = False
    ) -> Endpoint | None:
        """One endpoint with what it asks for, or None."""
        rows = self._verbs["endpoint_get"].run(connection, {"environment": environment, "id": endpoint_id})
        found = self._endpoints(connection, rows)
        if not found or (found[0].deleted_ms is not None and not with_deleted):
            return None
        return found[0]

    def endpoints(
        self,
        connection: Connection,
        environment: Environment,
        direction: Direction,
        cursor_row: int,
        limit: int,
        wanted: EndpointFilter = EVERY_ENDPOINT,
    ) -> list[Endpoint]:
        """Live endpoints made after or before a row, nearest first."""
        rows = self._verbs[f"endpoints_{direction}"].run(
            connection,
            {
                "environment": environment,
                "status": wanted.status,
                "url_pattern": None if wanted.url_part is None else containing(wanted.url_part),
                "text_pattern": None if wanted.text is None else containing(wanted.text),
                "standing": wanted.standing,
                "cursor_row": cursor_row,
                "limit": limit,
            },
        )
        return self._endpoints(connection, rows)

    def is_url_taken(self, connection: Connection, endpoint: Endpoint, url: str) -> bool:
        """Whether another live endpoint of the same environment has this URL."""
        return bool(
            self._verbs["endpoint_url_taken"].run(
                connection, {"environment": endpoint.environment, "url": url, "row_id": endpoint.row_id}
            )
        )

    def change_endpoint(
        self,
        connection: Connection,
        endpoint: Endpoint,
        *,
        events: Sequence[str] | None = None,
        now_ms: int,
        **changes: object,
    ) -> None:
        """Changes the columns given and what it asks for, unless None.

        Turning the endpoint off holds what waits for it; letting that go is `holding`'s.

        Args:
            changes: any of url, status, description, timeout_ms, rate_limit_per_min, headers_enc, schedule and
                standard_webhooks.
        """
        status = changes.get("status")
        parameters: dict[str, object] = {
            "row_id": endpoint.row_id,
            "url": changes.get("url"),
            "status": status,
            "standard_webhooks": None,
            "now_ms": now_ms,
        }
        if "standard_webhooks" in changes:
            parameters["standard_webhooks"] = int(bool(changes["standard_webhooks"]))
        for column in ("description", "timeout_ms", "rate_limit_per_min", "headers_enc", "schedule"):
            parameters[column] = changes.get(column)
            parameters[f"has_{column}"] = int(column in changes)
        self._verbs["endpoint_change"].run(connection, parameters)
        if events is not None:
            self._verbs["subscriptions_clear"].run(connection, {"endpoint_row": endpoint.row_id})
            self._subscribe(connection, endpoint.row_id, events)
        self.note_version(connection, endpoint.row_id)
        if status == "disabled" and endpoint.status == "enabled":
            self.close_backlog(connection, endpoint.row_id, now_ms=now_ms)

    def pause_endpoint(self, connection: Connection, endpoint: Endpoint, *, now_ms: int) -> None:
        """Pauses an endpoint and holds what waits for it (`close_backlog`)."""
        self._verbs["endpoint_pause"].run(
            connection, {"row_id": endpoint.row_id, "paused_ms": now_ms, "now_ms": now_ms}
        )
        self.note_version(connection, endpoint.row_id)
        self.close_backlog(connection, endpoint.row_id, now_ms=now_ms)

    def resume_endpoint(self, connection: Connection, endpoint: Endpoint, *, now_ms: int) -> None:
        """Ends a pause and enables again what we disabled, not what a person did. What is held stays so (`holding`)."""
        self._verbs["endpoint_resume"].run(connection, {"row_id": endpoint.row_id, "now_ms": now_ms})
        self.note_version(connection, endpoint.row_id)

    def delete_endpoint(
        self, connection: Connection, environment: Environment, endpoint_id: str, *, now_ms: int
    ) -> bool:
        """Deletes an endpoint softly and cancels what waits for it (`close_backlog`). False where there was none."""
        rows = self._verbs["endpoint_delete"].run(
            connection, {"environment": environment, "id": endpoint_id, "now_ms": now_ms}
        )
        if not rows:
            return False
        self.note_version(connection, rows[0][0])
        self.close_backlog(connection, rows[0][0], now_ms=now_ms)
        return True

    def note_version(self, connection: Connection, endpoint_row: int) -> None:
        """Keeps the endpoint as it is now under its `version`.

        Whoever counts the version up (url, status, pause, secret, subscriptions, deletion, whatever turned it off)
        calls this in the same transaction, after its last write: the verbs of this class do.
        """
        asked = [
            name
            for _, name in self._verbs["subscriptions_of"].run(
                connection, {"endpoint_rows": json.dumps([endpoint_row])}
            )
        ]
        self._verbs["endpoint_version_put"].run(connection, {"row_id": endpoint_row, "events": json.dumps(asked)})

    def endpoint_versions(
        self, connection: Connection, endpoint_row: int, direction: Direction, cursor_version: int, limit: int
    ) -> list[EndpointVersion]:
        """An endpoint's versions after or before one, nearest first."""
        rows = self._verbs[f"endpoint_versions_{direction}"].run(
            connection, {"endpoint_row": endpoint_row, "cursor_row": cursor_version, "limit": limit}
        )
        return [_version(row) for row in rows]

    def endpoint_version_at(self, connection: Connection, endpoint_row: int, at_ms: int) -> EndpointVersion | None:
        """The version that held at a time, or None: the endpoint was made later."""
        rows = self._verbs["endpoint_version_at"].run(connection, {"endpoint_row": endpoint_row, "at_ms": at_ms})
        return _version(rows[0]) if rows else None

    def close_backlog(self, connection: Connection, endpoint_row: int, *, now_ms: int) -> None:
        """Does the first part of what closing an endpoint means for its backlog; where that is not all, puts the job
        that does the rest (closing.py). In the transaction that closes the endpoint, after its last write.
        """
        if self.close_some(connection, endpoint_row, limit=closing.PART, now_ms=now_ms) >= closing.PART:
            self.close_later(connection, [endpoint_row], now_ms=now_ms)

    def close_some(self, connection: Connection, endpoint_row: int, *, limit: int, now_ms: int) -> int:
        """Holds what waits for a closed endpoint; where it is deleted, cancels that and what is held. At most so many
        deliveries; gives how many. An open endpoint is left alone.
        """
        named = {"endpoint_row": endpoint_row, "now_ms": now_ms}
        moved = self._verbs["endpoint_deliveries_close"].count(connection, {**named, "limit": limit})
        if moved < limit:
            moved += self._verbs["endpoint_deliveries_cancel"].count(connection, {**named, "limit": limit - moved})
        return moved

    def close_later(self, connection: Connection, endpoint_rows: Iterable[int], *, now_ms: int) -> None:
        """Puts the jobs that close the backlogs of endpoints, where they are not there yet."""
        for endpoint_row in sorted(endpoint_rows):
            self._verbs["job_put_first"].run(
                connection, {"kind": closing.KIND, "subject": str(endpoint_row), "detail": "{}", "due_ms": now_ms}
            )

    def count_waiting(self, connection: Connection, endpoint_row: int) -> int:
        """How many deliveries wait for an endpoint."""
        return int(self._verbs["endpoint_deliveries_waiting"].run(connection, {"endpoint_row": endpoint_row})[0][0])

    def rotate_secret(
        self,
        connection: Connection,
        endpoint_row: int,
        *,
        secret_enc: str,
        old_secret_enc: str | None,
        old_secret_until_ms: int | None,
        now_ms: int,
    ) -> None:
        """Gives a live endpoint a new secret, and the one before it to be used until a time, or none."""
        if self._verbs["endpoint_rotate"].run(
            connection,
            {
                "row_id": endpoint_row,
                "secret_enc": secret_enc,
                "old_secret_enc": old_secret_enc,
                "old_secret_until_ms": old_secret_until_ms,
                "now_ms": now_ms,
            },
        ):
            self.note_version(connection, endpoint_row)

    def revoke_old_secret(self, connection: Connection, endpoint_row: int, *, now_ms: int) -> bool:
        """Forgets the secret before the newest. False where there was none: nothing is written."""
        if not self._verbs["endpoint_old_secret_revoke"].run(connection, {"row_id": endpoint_row, "now_ms": now_ms}):
            return False
        self.note_version(connection, endpoint_row)
        return True

    def reseal(self, connection: Connection, reseal: Callable[[str], str]) -> None:
        """Writes everything that is kept encrypted anew: secrets, headers, API keys; deleted endpoints' too.

        Args:
            reseal: the same text under the newest key.
        """
        for row_id, *sealed in self._verbs["endpoint_secrets"].run(connection):
            secret_enc, old_secret_enc, headers_enc = [None if one is None else reseal(one) for one in sealed]
            self._verbs["endpoint_secret_put"].run(
                connection,
                {
                    "row_id": row_id,
                    "secret_enc": secret_enc,
                    "old_secret_enc": old_secret_enc,
                    "headers_enc": headers_enc,
                },
            )
        for key_hash, key_enc in self._verbs["keys_sealed"].run(connection):
            self._verbs["key_sealed_put"].run(connection, {"key_hash": key_hash, "key_enc": reseal(key_enc)})
        for row_id, secret_enc in self._verbs["listeners_sealed"].run(connection):
            self._verbs["listener_sealed_put"].run(connection, {"row_id": row_id, "secret_enc": reseal(secret_enc)})

    def _subscribe(self, connection: Connection, endpoint_row: int, events: Sequence[str]) -> None:
        rows = [{"event_type": name, "endpoint_row": endpoint_row} for name in sorted(set(events))]
        self._verbs["subscriptions_put"].run_many(connection, rows)

    def _endpoints(self, connection: Connection, rows: Sequence[Row]) -> list[Endpoint]:
        if not rows:
            return []
        endpoints = {row[0]: Endpoint(*row) for row in rows}
        names: dict[int, list[str]] = {}
        for endpoint_row, name in self._verbs["subscriptions_of"].run(
            connection, {"endpoint_rows": json.dumps(list(endpoints))}
        ):
            names.setdefault(endpoint_row, []).append(name)
        return [
            replace(
                found,
                events=tuple(names.get(row, ())),
                standard_webhooks=bool(found.standard_webhooks),
                signs_with_old=bool(found.signs_with_old),
                is_half_open=bool(found.is_half_open),
            )
            for row, found in endpoints.items()
        ]

    # -- publishing --------------------------------------------------------------------------------------------

    def add_events(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> dict[str, int]:
        """Adds events (id, environment, type, organization_id, body, created_ms, now_ms); gives id to row.

        A row may also say its origin, by default `published`, the traceparent of its publisher, which object it is
        about, and which of that object's events it is.
        """
        filled = [{**_EVENT_DEFAULTS, **row} for row in rows]
        return {row[1]: row[0] for row in self._verbs["event_put"].run_many(connection, filled)}

    def endpoints_matching(self, connection: Connection, types: Iterable[tuple[str, str]]) -> list[Match]:
        """Every endpoint to make deliveries for, by (environment, event type), as of this transaction."""
        names = [
            [environment, event_type, asked]
            for environment, event_type in types
            for asked in names_asked_by(event_type)
        ]
        rows = self._verbs["endpoints_matching"].run(connection, {"names": json.dumps(names)})
        return [Match(*row) for row in rows]

    def add_deliveries(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
        """Adds deliveries (id, environment, event_row, endpoint_row, origin, state, due_ms, reason, now_ms)."""
        self._verbs["delivery_put"].run_many(connection, rows)

    def feed(self, connection: Connection, rows: Sequence[tuple[str, int]]) -> None:
        """Gives events, as (environment, event row), the next places in the feed, in order."""
        self._verbs["feed_put"].run_many(connection, rows)

    def feed_later(self, connection: Connection, event_rows: Sequence[int]) -> None:
        """Leaves events of an app's own transaction for `feed_missing`."""
        self._verbs["unfed_put"].run_many(connection, [(row,) for row in event_rows])

    def feed_missing(self, connection: Connection) -> int:
        """Gives events published on an app's connection their place in the feed; how many there were.

        The delivery loop calls it in the transaction of each claim, before the claim: an event is in the feed
        no later than its first attempt.
        """
        lock = self._verbs.get("feed_lock_missing")
        if lock is not None and not lock.run(connection):
            return 0
        placed = self._verbs["feed_missing"].count(connection)
        if placed:
            self._verbs["feed_missing_clear"].run(connection)
        return placed

    def take_idempotency_keys(
        self, connection: Connection, rows: Sequence[Mapping[str, object]]
    ) -> set[tuple[str, str]]:
        """Takes keys (environment, idempotency_key, operation, body_sha256, result_ids, now_ms).

        Gives the (environment, key) pairs that were free and are now taken.
        """
        return {(row[0], row[1]) for row in self._verbs["idempotency_put"].run_many(connection, rows)}

    def idempotency_record(
        self, connection: Connection, environment: str, idempotency_key: str
    ) -> IdempotencyRecord | None:
        """What a key was used for, or None."""
        rows = self._verbs["idempotency_get"].run(
            connection, {"environment": environment, "idempotency_key": idempotency_key}
        )
        if not rows:
            return None
        operation, body_sha256, result_ids = rows[0]
        return IdempotencyRecord(operation, body_sha256, tuple(json.loads(result_ids)))

    # -- event types of one's own --------------------------------------------------------------------------------

    def put_event_type(self, connection: Connection, described: OwnEventType) -> bool:
        """Writes a type over what was there; its time of creation stays. True where it is new."""
        row = self._verbs["event_type_put"].run(connection, asdict(described))[0]
        return bool(row[0] == row[1])

    def event_type(self, connection: Connection, environment: str, name: str) -> OwnEventType | None:
        """One type, or None."""
        rows = self._verbs["event_type_get"].run(connection, {"environment": environment, "name": name})
        return OwnEventType(*rows[0]) if rows else None

    def lock_event_type(self, connection: Connection, environment: str, name: str) -> OwnEventType | None:
        """The same, which then nobody else changes until the transaction ends."""
        rows = self._verbs["event_type_lock"].run(connection, {"environment": environment, "name": name})
        return OwnEventType(*rows[0]) if rows else None

    def event_types(self, connection: Connection, environment: str) -> list[OwnEventType]:
        """Every type of an environment, by name."""
        rows = self._verbs["event_types_of"].run(connection, {"environment": environment})
        return [OwnEventType(*row) for row in rows]

    def delete_event_type(self, connection: Connection, environment: str, name: str) -> bool:
        """Forgets a type. False where there is none."""
        return bool(self._verbs["event_type_delete"].count(connection, {"environment": environment, "name": name}))

    def event_type_rules(self, connection: Connection) -> list[tuple[Environment, str, SchemaMode, str]]:
        """Environment, name, mode and schema of every type whose schema is asked when an event is published."""
        return self._verbs["event_type_rules"].run(connection)

    # -- events and their feed -----------------------------------------------------------------------------------

    def event(self, connection: Connection, environment: str, event_id: str) -> StoredEvent | None:
        """One event, or None."""
        rows = self._verbs["event_get"].run(connection, {"environment": environment, "id": event_id})
        return StoredEvent(*rows[0]) if rows else None

    def keep_bodies(self, connection: Connection, event_rows: Collection[int]) -> set[int]:
        """Which of these events still have their bodies; those keep them until the transaction ends."""
        rows = self._verbs["events_lock"].run(connection, {"event_rows": json.dumps(sorted(event_rows))})
        return {row[0] for row in rows}

    def feed_seq(self, connection: Connection, environment: str, event_id: str) -> int | None:
        """An event's place in the feed, also where it has been pruned; None where it is unknown or has none yet."""
        found = self.feed_place(connection, environment, event_id)
        return found[0] if found else None

    def feed_place(self, connection: Connection, environment: str, event_id: str) -> tuple[int, bool] | None:
        """An event's place in the feed and whether it has been pruned; None where it is unknown or has none yet."""
        rows = self._verbs["feed_seq_of"].run(connection, {"environment": environment, "id": event_id})
        return (int(rows[0][0]), bool(rows[0][1])) if rows else None

    def has_feed_gap(self, connection: Connection, environment: str, wanted: FeedFilter, after_seq: int) -> bool:
        """Whether an event that is wanted stood after a place in the feed and has been pruned since."""
        return bool(self._verbs["feed_gap"].run(connection, {**_feed(environment, wanted), "seq": after_seq}))

    def feed_page(
        self,
        connection: Connection,
        environment: str,
        wanted: FeedFilter,
        *,
        after_seq: int | None = None,
        before_seq: int | None = None,
        limit: int,
    ) -> list[StoredEvent]:
        """Events after a place, oldest first; or before one, newest first. One of the two, or neither."""
        parameters = {**_feed(environment, wanted), "limit": limit}
        if before_seq is not None:
            rows = self._verbs["feed_before"].run(connection, {**parameters, "seq": before_seq})
        else:
            rows = self._verbs["feed_after"].run(connection, {**parameters, "seq": after_seq or 0})
        return [StoredEvent(*row) for row in rows]

    def past_event(self, connection: Connection, environment: str, event_id: str) -> PastEvent | None:
        """One event without its body, or None."""
        rows = self._verbs["event_past"].run(connection, {"environment": environment, "id": event_id})
        return PastEvent(*rows[0]) if rows else None

    def event_type_sample(self, connection: Connection, environment: str, name: str) -> str | None:
        """The sample (JSON) of an event type of one's own, or None."""
        rows = self._verbs["event_type_sample"].run(connection, {"environment": environment, "name": name})
        return rows[0][0] if rows else None

    def concerned(
        self,
        connection: Connection,
        environment: str,
        direction: Direction,
        cursor_row: int,
        limit: int,
        *,
        at_ms: int,
    ) -> list[Concerned]:
        """Endpoints after or before a row that an event published at a time could concern, nearest first."""
        rows = self._verbs[f"explain_endpoints_{direction}"].run(
            connection, {"environment": environment, "cursor_row": cursor_row, "at_ms": at_ms, "limit": limit}
        )
        return [Concerned(*row) for row in rows]

    def concerned_one(self, connection: Connection, environment: str, endpoint_id: str) -> Concerned | None:
        """One endpoint, deleted or not, or None."""
        rows = self._verbs["explain_endpoint"].run(connection, {"environment": environment, "id": endpoint_id})
        return Concerned(*rows[0]) if rows else None

    # -- deliveries --------------------------------------------------------------------------------------------

    def delivery(self, connection: Connection, environment: str, delivery_id: str) -> Delivery | None:
        """One delivery with the ids of its event and endpoint, or None."""
        rows = self._verbs["delivery_get"].run(connection, {"environment": environment, "id": delivery_id})
        return Delivery(*rows[0]) if rows else None

    def deliveries(
        self,
        connection: Connection,
        environment: str,
        wanted: DeliveryFilter,
        direction: Direction,
        cursor_row: int,
        limit: int,
    ) -> list[Delivery]:
        """Deliveries made after or before a row, nearest first, by the index that fits the filter."""
        scope = ""
        if wanted.event_row is not None:
            scope = "event_"
        elif wanted.endpoint_row is not None:
            scope = "endpoint_"
        rows = self._verbs[f"{scope}deliveries_{direction}"].run(
            connection,
            {
                "environment": environment,
                "state": wanted.state,
                "event_type": wanted.event_type,
                "event_row": wanted.event_row,
                "endpoint_row": wanted.endpoint_row,
                "cursor_row": cursor_row,
                "limit": limit,
            },
        )
        return [Delivery(*row) for row in rows]

    def event_deliveries(
        self, connection: Connection, event_row: int, endpoint_rows: Collection[int]
    ) -> dict[int, list[Delivery]]:
        """An event's deliveries to these endpoints, by endpoint, in the order in which they were made."""
        found: dict[int, list[Delivery]] = {}
        for row in self._verbs["explain_deliveries"].run(
            connection, {"event_row": event_row, "endpoint_rows": json.dumps(sorted(endpoint_rows))}
        ):
            delivery = Delivery(*row)
            found.setdefault(delivery.endpoint_row, []).append(delivery)
        return found

    def add_trial(self, connection: Connection, **values: object) -> int:
        """Adds a test's delivery (id, environment, event_row, endpoint_row, state, attempt, first_ms, reason, now_ms).

        Gives its row.
        """
        return int(self._verbs["trial_put"].run(connection, values)[0][0])

    def attempts(self, connection: Connection, delivery_row: int) -> list[Attempt]:
        """A delivery's attempts in the order they were made."""
        rows = self._verbs["attempts_of"].run(connection, {"delivery_row": delivery_row})
        return [Attempt(*row) for row in rows]

    def move(self, connection: Connection, delivery: Delivery, decided: Next, *, now_ms: int) -> bool:
        """Stores a decision about a delivery. False where it has moved since it was read: decide again."""
        return bool(
            self._verbs["delivery_move"].run(
                connection,
                {
                    "row_id": delivery.row_id,
                    "from_state": delivery.state,
                    "from_attempt": delivery.attempt,
                    "state": decided.state,
                    "due_ms": decided.due_ms,
                    "reason": decided.reason,
                    "slots_used": decided.slots_used,
                    "unknown_attempts": decided.unknown_attempts,
                    "next_kind": decided.next_kind,
                    "planned_ms": decided.planned_ms,
                    "now_ms": now_ms,
                },
            )
        )

    # -- keys and settings -------------------------------------------------------------------------------------

    def backlog(self, connection: Connection, environment: Environment, *, now_ms: int, soon_ms: int, most: int) -> Row:
        """One environment's open deliveries in numbers, each up to `most`: see `queries.Backlog`."""
        parameters = {"environment": environment, "now_ms": now_ms, "soon_ms": soon_ms, "most": most}
        return self._verbs["backlog"].run(connection, parameters)[0]

    def overlapping(self, connection: Connection, *, before_ms: int) -> list[Row]:
        """Id, environment and end of the old secret, of endpoints whose old one ends before a time."""
        return self._verbs["endpoints_overlapping"].run(connection, {"before_ms": before_ms})

    def endpoints_unwell(self, connection: Connection, *, limit: int) -> list[Row]:
        """Endpoints that fail, or were disabled for it: see `queries.UnwellEndpoint`."""
        return self._verbs["endpoints_unwell"].run(connection, {"limit": limit})

    def open_work(self, connection: Connection, *, most: int) -> Row:
        """What runs and which replays are open, in numbers up to `most`: see `queries.OpenWork`."""
        return self._verbs["open_work"].run(connection, {"most": most})[0]

    def add_first_key(self, connection: Connection, key: ApiKey) -> bool:
        """Stores an API key where its environment has no valid one. False where it has."""
        if lock := self._verbs.get("keys_lock"):
            lock.run(connection)
        return bool(self._verbs["key_put_first"].run(connection, _key_row(key)))

    def add_key(self, connection: Connection, key: ApiKey) -> None:
        """Stores one more API key."""
        self._verbs["key_put"].run(connection, _key_row(key))

    def keys(self, connection: Connection, environment: Environment) -> list[ApiKey]:
        """All stored API keys of an environment, revoked ones too, oldest first."""
        return [ApiKey(*row) for row in self._verbs["keys_of"].run(connection, {"environment": environment})]

    def valid_keys(self, connection: Connection) -> dict[str, tuple[Environment, str]]:
        """Hash to environment and id of every valid stored API key."""
        return {row[0]: (row[1], row[2]) for row in self._verbs["keys_valid"].run(connection)}

    def revoke_key(self, connection: Connection, environment: Environment, key_id: str, *, now_ms: int) -> bool:
        """Revokes an API key. False where there is none, or it was revoked before."""
        return bool(
            self._verbs["key_revoke"].run(connection, {"environment": environment, "id": key_id, "now_ms": now_ms})
        )

    def note_key_uses(self, connection: Connection, used: Mapping[str, int]) -> None:
        """Notes when keys, by their hash, were used last."""
        for key_hash, used_ms in used.items():
            self._verbs["key_used"].run(connection, {"key_hash": key_hash, "used_ms": used_ms})

    def setting(self, connection: Connection, name: str) -> str | None:
        """One setting, or None."""
        rows = self._verbs["setting_get"].run(connection, {"name": name})
        return str(rows[0][0]) if rows else None

    def put_setting(self, connection: Connection, name: str, value: str) -> None:
        """Writes one setting over what was there."""
        self._verbs["setting_put"].run(connection, {"name": name, "value": value})

    def failed_deliveries(self, connection: Connection, event_rows: Collection[int], *, limit: int) -> list[str]:
        """The ids of failed deliveries of events, those of the newest first."""
        named = {"event_rows": json.dumps(sorted(event_rows)), "limit": limit}
        return [delivery_id for (delivery_id,) in self._verbs["deliveries_failed_of"].run(connection, named)]

    # -- audit trail -------------------------------------------------------------------------------------------

    def audit(
        self,
        connection: Connection,
        environment: Environment,
        *,
        actor: str,
        action: str,
        object_id: str | None = None,
        detail: Mapping[str, object] | None = None,
        now_ms: int,
    ) -> None:
        """Adds a line to the audit trail, in the transaction of what it tells of.

        Args:
            actor: a key's id or hint (`api_parts.Actor`), or `command`.
            action: an object and a verb, as `endpoint.created`.
            object_id: what was acted on.
            detail: what else is worth knowing; never a secret or a payload.
        """
        self._verbs["audit_put"].run(
            connection,
            {
                "environment": environment,
                "actor": actor,
                "action": action,
                "object_id": object_id,
                "detail": json.dumps(detail or {}),
                "now_ms": now_ms,
            },
        )

    def audit_of(self, connection: Connection, environment: Environment, object_id: str) -> list[AuditEntry]:
        """The newest lines about one thing, at most 20."""
        named = {"environment": environment, "object_id": object_id}
        return [AuditEntry(*row) for row in self._verbs["audit_of"].run(connection, named)]

    def audit_entries(
        self,
        connection: Connection,
        environment: Environment,
        wanted: AuditFilter,
        direction: Direction,
        cursor_row: int,
        limit: int,
    ) -> list[AuditEntry]:
        """Lines of the trail after or before a row, nearest first."""
        rows = self._verbs[f"audit_{direction}"].run(
            connection,
            {
                "environment": environment,
                "action": wanted.action,
                "object_id": wanted.object_id,
                "cursor_row": cursor_row,
                "limit": limit,
            },
        )
        return [AuditEntry(*row) for row in rows]

    def has_audit_entry(self, connection: Connection, environment: Environment, row_id: int) -> bool:
        """Whether the environment's trail has this line."""
        return bool(self._verbs["audit_has"].run(connection, {"environment": environment, "row_id": row_id}))


def containing(text: str) -> str:
    """The pattern of `like … escape '!'` that finds a text anywhere.

    Its case is the statement's business: SQLite's `lower` knows ASCII alone, and leaves the É of both sides as it is.
    """
    escaped = re.sub("[!%_]", lambda found: f"!{found[0]}", text)
    return f"%{escaped}%"


def _key_row(key: ApiKey) -> dict[str, object]:
    return {
        "key_hash": key.key_hash,
        "environment": key.environment,
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "key_enc": key.key_enc,
        "now_ms": key.created_ms,
    }


def _feed(environment: str, wanted: FeedFilter) -> dict[str, object]:
    return {
        "environment": environment,
        "types": json.dumps(wanted.types),
        "organization_id": wanted.organization_id,
        "range_start_ms": wanted.range_start_ms,
        "range_end_ms": wanted.range_end_ms,
    }


def _version(row: Row) -> EndpointVersion:
    return replace(EndpointVersion(*row), events=tuple(json.loads(row[-1])))


def names_asked_by(event_type: str) -> list[str]:
    """What an endpoint may ask for to get this type: its name, each prefix as `a.*`, and `*` unless operational."""
    parts = event_type.split(".")
    prefixes = [".".join(parts[:count]) + ".*" for count in range(1, len(parts))]
    everything = [] if event_type in OPERATIONAL_TYPES else ["*"]
    return [event_type, *prefixes, *everything]
