"""Hookline's own API under `/api/v1`: deliveries, events. Endpoints, keys and event types have modules of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from hookline.errors import RequestError
from hookline.sender.api_parts import (
    BEARER,
    Action,
    Actor,
    Caller,
    Context,
    Event,
    ListMetadata,
    Paging,
    answers,
    listed,
    time_text,
)
from hookline.sender.drafts import EVENT_TYPE, MAX_BATCH_EVENTS, MAX_ID_LENGTH, MAX_TYPE_LENGTH
from hookline.sender.interventions import cancel_delivery, event_pruned, retry_delivery
from hookline.sender.model import DeliveryState
from hookline.sender.publish import DELIVERIES_CHANNEL
from hookline.sender.queries import DeliveryQuery, delivery_detail, delivery_page

if TYPE_CHECKING:
    from hookline.sender.model import Attempt, Delivery


class OwnDelivery(BaseModel):
    """One event for one endpoint. `next_attempt_at` is null where nothing is planned."""

    object: Literal["delivery"]
    id: str
    event_id: str
    event: str
    endpoint_id: str
    endpoint_url: str
    origin: str
    state: DeliveryState
    reason: str | None
    attempt_count: int
    next_attempt_at: str | None
    next_attempt_kind: str | None
    first_attempt_at: str | None
    created_at: str
    updated_at: str


class OwnAttempt(BaseModel):
    """One HTTP try; `evidence` is what was sent and what came back, with secrets masked."""

    number: int
    kind: str
    outcome: str
    reason: str | None
    status: int | None
    started_at: str
    duration_ms: int | None
    evidence: dict[str, Any]


class OwnDeliveryDetail(OwnDelivery):
    """A delivery with its attempts, first to last."""

    attempts: list[OwnAttempt]


class OwnDeliveryList(BaseModel):
    """A page of deliveries."""

    object: Literal["list"]
    data: list[OwnDelivery]
    list_metadata: ListMetadata


# Publishing is answered ahead of the framework (api.py); this is its description.
_NEW_EVENT: Final = {
    "type": "object",
    "required": ["event", "data"],
    "additionalProperties": False,
    "properties": {
        "event": {
            "type": "string",
            "description": "Two or more lower-case words joined by dots.",
            "pattern": f"^{EVENT_TYPE.pattern}$",
            "maxLength": MAX_TYPE_LENGTH,
        },
        "data": {"type": "object", "description": "JSON that JavaScript keeps unchanged."},
        "organization_id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
        "context": {"type": "object"},
        "created_at": {"type": "string", "format": "date-time", "description": "By default now."},
    },
}
_EXAMPLE: Final = {"event": "invoice.paid", "data": {"id": "in_1", "amount": 1200}}
_PUBLISHED: Final = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "array",
            "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
        },
        "warnings": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
PUBLISH_OPERATION: Final = {
    "tags": ["events"],
    "summary": "Publish Events",
    "description": "Publish one event, or up to 1,000 with `events`: all of a batch or nothing. Stored before the "
    "answer. A call that repeats an `Idempotency-Key` with the same body gets the first answer; with another body "
    "it is refused with 409.",
    "operationId": "publish_events",
    "security": [{"HTTPBearer": []}],
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": 255},
        },
        {
            "name": "traceparent",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "W3C trace context, kept with the events; one that is not valid is ignored.",
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        _NEW_EVENT,
                        {
                            "type": "object",
                            "required": ["events"],
                            "additionalProperties": False,
                            "properties": {
                                "events": {
                                    "type": "array",
                                    "items": _NEW_EVENT,
                                    "minItems": 1,
                                    "maxItems": MAX_BATCH_EVENTS,
                                }
                            },
                        },
                    ]
                },
                "examples": {
                    "one": {"value": _EXAMPLE},
                    "batch": {"value": {"events": [_EXAMPLE, {**_EXAMPLE, "created_at": "2026-01-31T12:00:00.000Z"}]}},
                },
            }
        },
    },
    "responses": {
        "201": {
            "description": "The stored event; for a batch `data` with the ids in order, and `warnings` where data "
            "breaks a schema that only warns.",
            "headers": {
                "Hookline-Warning": {
                    "description": "The first event whose data breaks the schema of its type: the place and what was "
                    "expected there.",
                    "schema": {"type": "string"},
                }
            },
            "content": {
                "application/json": {"schema": {"anyOf": [{"$ref": "#/components/schemas/Event"}, _PUBLISHED]}}
            },
        },
        "410": {},
    },
}


routes = APIRouter(prefix="/api/v1", dependencies=[BEARER])


@routes.get("/deliveries", tags=["deliveries"], response_model=OwnDeliveryList, responses=answers(404, 422))
def list_deliveries(
    context: Context,
    environment: Caller,
    paging: Paging,
    state: DeliveryState | None = None,
    endpoint_id: Annotated[str | None, Query(alias="endpoint")] = None,
    event_id: Annotated[str | None, Query(alias="event")] = None,
    event_type: Annotated[str | None, Query(alias="type")] = None,
) -> dict[str, Any]:
    """List deliveries, newest first, by state, endpoint id, event id and event type."""
    query = DeliveryQuery(state, event_type, event_id, endpoint_id)
    with context.database.snapshot() as connection:
        page = delivery_page(context.store, connection, environment, query, paging)
    return listed([delivery_shown(item) for item in page.items], before=page.before, after=page.after)


@routes.get(
    "/deliveries/{delivery_id}",
    tags=["deliveries"],
    response_model=OwnDeliveryDetail,
    responses=answers(404),
)
def get_delivery(context: Context, environment: Caller, delivery_id: str) -> dict[str, Any]:
    """One delivery with its attempts."""
    with context.database.snapshot() as connection:
        delivery, attempts = delivery_detail(context.store, connection, environment, delivery_id)
    return delivery_shown(delivery) | {"attempts": [attempt_shown(item) for item in attempts]}


@routes.post(
    "/deliveries/{delivery_id}/retry",
    operation_id="retry_delivery",
    tags=["deliveries"],
    response_model=OwnDelivery,
    responses=answers(404, 409, 410),
)
def retry(context: Context, environment: Caller, actor: Actor, delivery_id: str, used: Action) -> dict[str, Any]:
    """One more attempt now; it uses no slot of the schedule."""
    now_ms = context.clock.now_ms()
    delivery = context.database.run(
        lambda tx: retry_delivery(
            tx, context.store, environment, delivery_id, now_ms=now_ms, idempotency=used, actor=actor
        )
    )
    context.database.notify(DELIVERIES_CHANNEL)
    return delivery_shown(delivery)


@routes.post(
    "/deliveries/{delivery_id}/cancel",
    operation_id="cancel_delivery",
    tags=["deliveries"],
    response_model=OwnDelivery,
    responses=answers(404, 409),
)
def cancel(context: Context, environment: Caller, actor: Actor, delivery_id: str, used: Action) -> dict[str, Any]:
    """Cancel a delivery that waits or is held."""
    now_ms = context.clock.now_ms()
    return delivery_shown(
        context.database.run(
            lambda tx: cancel_delivery(
                tx, context.store, environment, delivery_id, now_ms=now_ms, idempotency=used, actor=actor
            )
        )
    )


@routes.get("/events/{event_id}", tags=["events"], response_model=Event, responses=answers(404, 410))
def get_event(context: Context, environment: Caller, event_id: str) -> Response:
    """One event, in the bytes its deliveries have."""
    with context.database.read() as connection:
        event = context.store.event(connection, environment, event_id)
    if event is None:
        raise RequestError(404, "entity_not_found", f"Event not found: '{event_id[:80]}'.")
    if not event.body:
        raise event_pruned(event.id)
    return Response(event.body, media_type="application/json")


def delivery_shown(delivery: Delivery) -> dict[str, Any]:
    """A delivery as the API shows it."""
    is_waiting = delivery.state == "pending"
    return {
        "object": "delivery",
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event": delivery.event_type,
        "endpoint_id": delivery.endpoint_id,
        "endpoint_url": delivery.endpoint_url,
        "origin": delivery.origin,
        "state": delivery.state,
        "reason": delivery.reason,
        "attempt_count": delivery.attempt,
        "next_attempt_at": time_text(delivery.due_ms) if is_waiting else None,
        "next_attempt_kind": delivery.next_kind if is_waiting else None,
        "first_attempt_at": time_text(delivery.first_ms),
        "created_at": time_text(delivery.created_ms),
        "updated_at": time_text(delivery.updated_ms),
    }


def attempt_shown(attempt: Attempt) -> dict[str, Any]:
    """An attempt as the API shows it."""
    return {
        "number": attempt.number,
        "kind": attempt.kind,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "status": attempt.status,
        "started_at": time_text(attempt.started_ms),
        "duration_ms": attempt.duration_ms,
        "evidence": json.loads(attempt.evidence),
    }
