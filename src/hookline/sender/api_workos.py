"""The part of the API that official WorkOS SDKs speak: `/webhook_endpoints` and `GET /events`.

Source of every rule: the protocol reference, §3, §4 and §9. Secrets are shown in full here, because clients'
models require them; Hookline's own API masks them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from hookline.errors import RequestError
from hookline.rules.address import MAX_URL
from hookline.sender.api_parts import (
    BEARER,
    Action,
    Actor,
    CallContext,
    Caller,
    Context,
    Event,
    ListMetadata,
    Paging,
    answers,
    conflicting,
    listed,
    named_values,
    time_ms,
    time_text,
)
from hookline.sender.queries import endpoint_page, event_page
from hookline.sender.registry import MAX_EVENTS, check_webhook_types
from hookline.sender.store import FeedFilter
from hookline.wire.catalogue import WEBHOOK_TYPES

if TYPE_CHECKING:
    from hookline.sender.model import Endpoint

_MAX_TYPES: Final = 500


class WebhookEndpoint(BaseModel):
    """An endpoint, with its secret in full."""

    object: Literal["webhook_endpoint"]
    id: str
    endpoint_url: str
    secret: str
    status: Literal["enabled", "disabled"]
    events: list[str]
    created_at: str
    updated_at: str


class WebhookEndpointList(BaseModel):
    """A page of endpoints."""

    object: Literal["list"]
    data: list[WebhookEndpoint]
    list_metadata: ListMetadata


class EventsMetadata(BaseModel):
    """The cursor that leads on; null at the newest event."""

    after: str | None


class EventList(BaseModel):
    """A page of events, oldest first."""

    object: Literal["list"]
    data: list[Event]
    list_metadata: EventsMetadata


# For the description: what is refused, and in which words, is said by the registry.
EndpointUrl = Annotated[str, Field(json_schema_extra={"format": "uri", "maxLength": MAX_URL})]
WebhookTypes = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": sorted(WEBHOOK_TYPES)})]],
    Field(json_schema_extra={"minItems": 1, "maxItems": MAX_EVENTS}),
]


class CreateWebhookEndpoint(BaseModel):
    """What to register: an https URL and the exact names of event types."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"endpoint_url": "https://example.com/webhooks", "events": ["dsync.user.created"]}]
        }
    )

    endpoint_url: EndpointUrl
    events: WebhookTypes


class UpdateWebhookEndpoint(BaseModel):
    """What to change; what is left out or null stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "disabled"}]})

    endpoint_url: EndpointUrl | None = None
    status: Literal["enabled", "disabled"] | None = None
    events: WebhookTypes | None = None


routes = APIRouter(dependencies=[BEARER])


def _shown(context: CallContext, endpoint: Endpoint) -> dict[str, Any]:
    return {
        "object": "webhook_endpoint",
        "id": endpoint.id,
        "endpoint_url": endpoint.url,
        "secret": context.registry.secret_of(endpoint),
        "status": endpoint.status,
        "events": list(endpoint.events),
        "created_at": time_text(endpoint.created_ms),
        "updated_at": time_text(endpoint.updated_ms),
    }


@routes.get(
    "/webhook_endpoints",
    tags=["webhook_endpoints"],
    response_model=WebhookEndpointList,
    responses=answers(422),
)
def list_webhook_endpoints(context: Context, environment: Caller, paging: Paging) -> dict[str, Any]:
    """List endpoints, newest first."""
    with context.database.snapshot() as connection:
        page = endpoint_page(context.store, connection, environment, paging)
    return listed([_shown(context, item) for item in page.items], before=page.before, after=page.after)


@routes.post(
    "/webhook_endpoints",
    tags=["webhook_endpoints"],
    status_code=201,
    response_model=WebhookEndpoint,
    responses=answers(409, 422),
)
def create_webhook_endpoint(
    context: Context, environment: Caller, actor: Actor, body: CreateWebhookEndpoint, used: Action
) -> dict[str, Any]:
    """Register an endpoint. Its secret is made here."""
    check_webhook_types(body.events)
    return _shown(
        context,
        context.registry.create(environment, url=body.endpoint_url, events=body.events, actor=actor, idempotency=used),
    )


@routes.patch(
    "/webhook_endpoints/{endpoint_id}",
    tags=["webhook_endpoints"],
    response_model=WebhookEndpoint,
    responses=answers(404, 409, 422),
)
def update_webhook_endpoint(
    context: Context, environment: Caller, actor: Actor, endpoint_id: str, body: UpdateWebhookEndpoint
) -> dict[str, Any]:
    """Change an endpoint's URL, status or event types."""
    if body.events is not None:
        check_webhook_types(body.events)
    return _shown(
        context,
        context.registry.change(
            environment, endpoint_id, url=body.endpoint_url, status=body.status, events=body.events, actor=actor
        ),
    )


@routes.delete(
    "/webhook_endpoints/{endpoint_id}",
    tags=["webhook_endpoints"],
    status_code=204,
    response_class=Response,
    responses=answers(404),
)
def delete_webhook_endpoint(context: Context, environment: Caller, actor: Actor, endpoint_id: str) -> None:
    """Delete an endpoint; what waits for it is canceled."""
    context.registry.delete(environment, endpoint_id, actor=actor)


@routes.get(
    "/events",
    tags=["events"],
    response_model=EventList,
    responses=answers(400, 422),
    openapi_extra={
        "parameters": [
            {
                "name": "events",
                "in": "query",
                "required": True,
                "description": "Event types: `a,b`, or the parameter repeated, or `events[]`, `events[0]`.",
                "schema": {"type": "array", "items": {"type": "string"}},
                "style": "form",
                "explode": False,
            }
        ]
    },
)
def list_events(
    context: Context,
    environment: Caller,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    after: str | None = None,
    before: str | None = None,
    organization_id: str | None = None,
    range_start: str | None = None,
    range_end: str | None = None,
    order: Annotated[str | None, Query(description="Accepted and without effect: oldest first.")] = None,  # noqa: ARG001
) -> Response:
    """List events of the given types, oldest first whatever `order` says; `after` is exclusive."""
    if after is not None and (before is not None or range_start is not None):
        raise conflicting("after", "before" if before is not None else "range_start")
    chosen = FeedFilter(
        types=event_types(request.query_params.multi_items()),
        organization_id=organization_id,
        range_start_ms=time_ms("range_start", range_start),
        range_end_ms=time_ms("range_end", range_end),
    )
    with context.database.snapshot() as connection:
        if organization_id is not None and not context.lists.is_organization_known(
            connection, environment, organization_id
        ):
            raise RequestError(400, None, f"Organization not found: '{organization_id[:80]}'.")
        page = event_page(
            context.store,
            connection,
            environment,
            chosen,
            after=after,
            before=before,
            limit=limit,
            now_ms=context.clock.now_ms(),
        )
    # Spliced, not decoded and written again: an event here has the very bytes its deliveries have.
    data = b",".join(event.body for event in page.items)
    end = json.dumps({"after": page.after}, separators=(",", ":")).encode()
    content = b'{"object":"list","data":[' + data + b'],"list_metadata":' + end + b"}"
    return Response(content, media_type="application/json")


def event_types(parameters: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The exact type names asked for, in any of the four encodings that official SDKs use.

    Raises:
        RequestError: 422 in the dialect of this resource: `required` where there is none, else `invalid`.
    """
    names = named_values(parameters, "events")
    if not names:
        raise _refused("required", "events: expected at least one event type")
    if len(names) > _MAX_TYPES or any("*" in name for name in names):
        raise _refused("invalid", f"events: expected at most {_MAX_TYPES} exact names, no patterns")
    return tuple(names)


def _refused(code: str, message: str) -> RequestError:
    return RequestError(
        422,
        "invalid_request_parameters",
        message,
        [{"code": code, "field": "events", "message": message}],
    )
