"""What a person may do to one delivery: try it again now, or cancel it.

The decision is `rules.lifecycle`'s; here it is made and stored in one transaction and a refusal gets its words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hookline.errors import RequestError
from hookline.rules.lifecycle import after_cancel, after_retry
from hookline.sender.idempotency import take_key

if TYPE_CHECKING:
    from hookline.rules.lifecycle import Next
    from hookline.sender.idempotency import IdempotencyKey
    from hookline.sender.model import Delivery, Environment
    from hookline.sender.store import SenderStore
    from hookline.storage.verbs import Connection


def retry_delivery(
    connection: Connection,
    store: SenderStore,
    environment: Environment,
    delivery_id: str,
    *,
    now_ms: int,
    idempotency: IdempotencyKey | None = None,
    actor: str | None = None,
) -> Delivery:
    """Make one more attempt of a delivery due now. It uses no slot of the schedule.

    Args:
        actor: who asks, for the audit trail; None writes no line there.

    Returns: the delivery as it is now. The caller notifies the delivery loop after the commit. A call that repeats
    an idempotency key asks for nothing more.

    Raises:
        RequestError: 404; 409 `delivery_not_retryable` or `endpoint_not_active`, with what to do instead; 410
            `event_pruned`.
    """
    delivery = _found(connection, store, environment, delivery_id)
    if take_key(connection, store, environment, idempotency, delivery.id, now_ms=now_ms) is not None:
        return delivery
    endpoint = store.endpoint(connection, environment, delivery.endpoint_id)
    if endpoint is None:
        raise RequestError(
            409, "endpoint_not_active", "the endpoint was deleted; register it again and replay the event"
        )
    if endpoint.status == "disabled" or endpoint.paused_ms is not None:
        switch = "disabled: enable" if endpoint.status == "disabled" else "paused: resume"
        raise RequestError(409, "endpoint_not_active", f"the endpoint is {switch} it first")
    decided = after_retry(
        delivery.state,
        slots_used=delivery.slots_used,
        due_ms=delivery.due_ms,
        next_kind=delivery.next_kind,
        planned_ms=delivery.planned_ms,
        now_ms=now_ms,
    )
    if decided is None:
        raise RequestError(
            409,
            "delivery_not_retryable",
            f"expected a delivery that is pending, failed or canceled, this one is {delivery.state}",
        )
    if not store.keep_bodies(connection, [delivery.event_row]):
        raise event_pruned(delivery.event_id)
    _note(connection, store, delivery, actor, "delivery.retried", now_ms)
    return _moved(connection, store, delivery, decided, now_ms=now_ms)


def cancel_delivery(
    connection: Connection,
    store: SenderStore,
    environment: Environment,
    delivery_id: str,
    *,
    now_ms: int,
    idempotency: IdempotencyKey | None = None,
    actor: str | None = None,
) -> Delivery:
    """Cancel a delivery that waits or is held.

    Args:
        actor: who asks, for the audit trail; None writes no line there.

    Raises:
        RequestError: 404; 409 `delivery_not_cancelable`.
    """
    delivery = _found(connection, store, environment, delivery_id)
    if take_key(connection, store, environment, idempotency, delivery.id, now_ms=now_ms) is not None:
        return delivery
    decided = after_cancel(delivery.state, slots_used=delivery.slots_used, unknown_attempts=delivery.unknown_attempts)
    if decided is None:
        raise RequestError(
            409,
            "delivery_not_cancelable",
            f"expected a delivery that is pending or held, this one is {delivery.state}",
        )
    _note(connection, store, delivery, actor, "delivery.canceled", now_ms)
    return _moved(connection, store, delivery, decided, now_ms=now_ms)


def event_pruned(event_id: str) -> RequestError:
    """410: the event's body is gone."""
    return RequestError(
        410, "event_pruned", f"{event_id[:80]} is past its retention: its body was removed and cannot be sent again"
    )


def _note(
    connection: Connection, store: SenderStore, delivery: Delivery, actor: str | None, action: str, now_ms: int
) -> None:
    if actor is not None:
        store.audit(connection, delivery.environment, actor=actor, action=action, object_id=delivery.id, now_ms=now_ms)


def _found(connection: Connection, store: SenderStore, environment: Environment, delivery_id: str) -> Delivery:
    delivery = store.delivery(connection, environment, delivery_id)
    if delivery is None:
        raise RequestError(404, "entity_not_found", f"Delivery not found: '{delivery_id[:80]}'.")
    return delivery


def _moved(connection: Connection, store: SenderStore, delivery: Delivery, decided: Next, *, now_ms: int) -> Delivery:
    moved = store.move(connection, delivery, decided, now_ms=now_ms)
    after = store.delivery(connection, delivery.environment, delivery.id)
    if not moved or after is None:
        raise RequestError(409, "delivery_moved", "a worker took the delivery at this moment; look again")
    return after
