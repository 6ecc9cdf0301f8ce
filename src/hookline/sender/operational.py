"""Operational events: what happens to endpoints and deliveries, told to endpoints that asked for it.

    endpoint.failing     it has been failing for 50, 80 or 100 % of the time after which it is disabled
    endpoint.disabled    it failed for all of that, or answered 410 Gone: what waits for it is held
    delivery.failed      a delivery has failed for good

They are written in the transaction of what they tell, as ordinary events with ordinary deliveries: signed, retried and
listed alike. Only who asks for them by name or by `endpoint.*` or `delivery.*` gets them (docs/decisions/0048). The
delivery of one never causes another. Their payloads hold ids, counts and times: no URL, secret or published data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hookline.sender.drafts import EventDraft, compose_body
from hookline.sender.model import OPERATIONAL_TYPES
from hookline.wire.canonical import canonical_bytes
from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.rules.health import Health, HealthPolicy
    from hookline.rules.lifecycle import Next
    from hookline.rules.response import Outcome
    from hookline.sender.delivery_store import Claimed
    from hookline.sender.ids import IdMaker
    from hookline.sender.model import Environment
    from hookline.sender.store import SenderStore
    from hookline.storage.verbs import Connection


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to tell: an event type of `OPERATIONAL_TYPES` and its `data`."""

    environment: Environment
    type: str
    data: Mapping[str, Any]


def endpoint_failing(claimed: Claimed, health: Health, percent: int, policy: HealthPolicy) -> Happening:
    """A warning about the endpoint of a delivery."""
    assert health.failing_since_ms is not None  # a warning is about a time of failing
    return Happening(
        claimed.endpoint.environment,
        "endpoint.failing",
        {
            "object": "webhook_endpoint",
            "id": claimed.endpoint.id,
            "percent": percent,
            "failing_since": _time(health.failing_since_ms),
            "failing_attempts": health.failing_attempts,
            "disabled_from": _time(health.failing_since_ms + round(policy.disable_after_s * 1000)),
        },
    )


def endpoint_disabled(claimed: Claimed, reason: str, health: Health, *, held: int, now_ms: int) -> Happening:
    """The endpoint of a delivery was turned off: `failing` or `gone`."""
    since_ms = health.failing_since_ms
    return Happening(
        claimed.endpoint.environment,
        "endpoint.disabled",
        {
            "object": "webhook_endpoint",
            "id": claimed.endpoint.id,
            "reason": reason,
            "disabled_at": _time(now_ms),
            "failing_since": None if since_ms is None else _time(since_ms),
            "failing_attempts": health.failing_attempts,
            "held_deliveries": held,
        },
    )


def delivery_failed(
    claimed: Claimed, decided: Next, outcome: Outcome | None, *, attempts: int, now_ms: int
) -> Happening:
    """A delivery failed for good; without an outcome where its last attempt came too late to be made."""
    return Happening(
        claimed.endpoint.environment,
        "delivery.failed",
        {
            "object": "delivery",
            "id": claimed.id,
            "event_id": claimed.event.id,
            "event_type": claimed.event.type,
            "endpoint_id": claimed.endpoint.id,
            "reason": decided.reason,
            "attempts": attempts,
            "last_outcome": None if outcome is None else outcome.reason,
            "failed_at": _time(now_ms),
        },
    )


def tell(
    connection: Connection, store: SenderStore, ids: IdMaker, happenings: Sequence[Happening], *, now_ms: int
) -> bool:
    """Store what happened as events with their deliveries, for those who asked; what nobody asked for is not stored.

    Returns: whether anything was stored; the caller notifies the delivery loop after the commit.

    Their place in the feed comes as that of events from an app's own transaction: before their first attempt.
    """
    asked: dict[tuple[str, str], list[tuple[int, str | None]]] = {}
    types = {(one.environment, one.type) for one in happenings}
    assert all(event_type in OPERATIONAL_TYPES for _, event_type in types)
    for match in store.endpoints_matching(connection, types):
        asked.setdefault((match.environment, match.event_type), []).append((match.endpoint_row, match.held_reason))
    wanted = [one for one in happenings if (one.environment, one.type) in asked]
    if not wanted:
        return False
    event_ids = [ids.make("event", now_ms) for _ in wanted]
    rows = store.add_events(
        connection,
        [
            {
                "id": event_id,
                "environment": one.environment,
                "type": one.type,
                "organization_id": None,
                "body": compose_body(_draft(one), event_id, now_ms),
                "created_ms": now_ms,
                "now_ms": now_ms,
                "origin": "operational",
            }
            for event_id, one in zip(event_ids, wanted, strict=True)
        ],
    )
    store.add_deliveries(
        connection,
        [
            {
                "id": ids.make("delivery", now_ms),
                "environment": one.environment,
                "event_row": rows[event_id],
                "endpoint_row": endpoint_row,
                "origin": "published",
                "state": "held" if held_reason else "pending",
                "due_ms": now_ms,
                "reason": held_reason,
                "now_ms": now_ms,
            }
            for event_id, one in zip(event_ids, wanted, strict=True)
            for endpoint_row, held_reason in asked[one.environment, one.type]
        ],
    )
    store.feed_later(connection, list(rows.values()))
    return True


def _draft(one: Happening) -> EventDraft:
    return EventDraft(one.type, canonical_bytes({"data": one.data})[1:-1], b"", None, None)


def _time(at_ms: int) -> str:
    return format_ms(at_ms * 1000)
