"""Endpoints under `/api/v1`: with patterns, pauses, limits, headers, health, rotation and their versions.

Secrets are masked here, except in the answers to the calls that make or reveal them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from hookline.rules.address import MAX_URL
from hookline.rules.rotation import MAX_OVERLAP_S, OVERLAP_S
from hookline.rules.schedule import MAX_WINDOW_S, Schedule
from hookline.sender.api_parts import (
    BEARER,
    NO_NUL,
    Action,
    Actor,
    CallContext,
    Caller,
    Context,
    ListMetadata,
    Paging,
    answers,
    conflicting,
    listed,
    time_ms,
    time_text,
    whole_number,
)
from hookline.sender.drafts import MAX_TYPE_LENGTH
from hookline.sender.holding import Choice
from hookline.sender.queries import endpoint_page, version_page
from hookline.sender.registry import (
    EVENT_PATTERN,
    MAX_EVENTS,
    MAX_RATE_PER_MIN,
    MAX_RETRIES,
    MIN_GAP_S,
    UNCHANGED,
    CustomHeader,
    check_patterns,
    field_error,
    invalid_parameters,
    not_found,
)
from hookline.sender.secrets import mask_secret
from hookline.sender.store import EndpointFilter
from hookline.wire.standard import secret_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hookline.sender.model import Endpoint, EndpointVersion

# A NUL is text to JSON and to SQLite, and none to PostgreSQL.
Description = Annotated[str, Field(max_length=500, pattern=NO_NUL)]
Url = Annotated[str, Field(json_schema_extra={"format": "uri", "maxLength": MAX_URL})]
TimeoutS = Annotated[float, Field(ge=1, le=30, allow_inf_nan=False, strict=True)]
RateLimit = Annotated[int, Field(ge=1, le=MAX_RATE_PER_MIN, strict=True), BeforeValidator(whole_number)]
GapS = Annotated[float, Field(ge=MIN_GAP_S, le=MAX_WINDOW_S, allow_inf_nan=False, strict=True)]
Gaps = Annotated[
    list[GapS],
    Field(max_length=MAX_RETRIES, description="Seconds to wait before each retry, together at most 72 h; [] for none."),
]
# For the description: what is refused is said by `check_patterns`, all of it at once.
Events = Annotated[
    list[Annotated[str, Field(json_schema_extra={"pattern": f"^(?:{EVENT_PATTERN})$", "maxLength": MAX_TYPE_LENGTH})]],
    Field(
        description="Type names, prefixes such as `dsync.*`, or `*`.",
        json_schema_extra={"minItems": 1, "maxItems": MAX_EVENTS},
    ),
]


class Header(BaseModel):
    """A header sent with each attempt; `value` is null where it is sensitive."""

    name: str
    value: str | None
    sensitive: bool


class GivenHeader(BaseModel):
    """A header to send with each attempt. In a change, a value that is null or left out is the one kept."""

    model_config = ConfigDict(extra="forbid")

    name: str
    value: str | None = None
    sensitive: StrictBool = False


class Retries(BaseModel):
    """When a delivery is tried again, after its first attempt: as waits, and as clock times from then on."""

    source: Literal["endpoint", "environment"]
    gaps_s: list[float]
    after: Annotated[list[str], Field(description="Hours, minutes and seconds after the first attempt.")]


class EndpointHealth(BaseModel):
    """How its attempts went lately. `half_open`: it was disabled for failing, and one delivery goes first."""

    failing_since: str | None
    failed_attempts: int
    warned_percent: int
    half_open: bool


class Rotation(BaseModel):
    """A change of the secret under way: until its end both secrets are known, and one of them signs first."""

    old_secret: str
    old_secret_until: str
    signs_with: Literal["new", "old"]


class OwnEndpoint(BaseModel):
    """An endpoint; `secret` is masked but for the answer that makes it."""

    object: Literal["endpoint"]
    id: str
    url: str
    status: Literal["enabled", "disabled"]
    disabled_reason: str | None
    paused_at: str | None
    description: str | None
    events: list[str]
    secret: str
    timeout_s: float | None
    rate_limit_per_min: int | None
    headers: list[Header]
    standard_webhooks: bool
    schedule: list[float] | None
    retries: Retries
    health: EndpointHealth
    rotation: Rotation | None
    version: int
    created_at: str
    updated_at: str


class OwnEndpointList(BaseModel):
    """A page of endpoints."""

    object: Literal["list"]
    data: list[OwnEndpoint]
    list_metadata: ListMetadata


class CreateEndpoint(BaseModel):
    """What to register."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://example.com/webhooks", "events": ["dsync.*"]}]},
    )

    url: Url
    events: Events
    description: Description | None = None
    timeout_s: TimeoutS | None = None
    rate_limit_per_min: RateLimit | None = None
    headers: list[GivenHeader] | None = None
    standard_webhooks: StrictBool = False
    schedule: Gaps | None = None


class UpdateEndpoint(BaseModel):
    """What to change. What is left out stays; null empties `description`, `timeout_s`, `rate_limit_per_min`, `headers`
    and `schedule`, and leaves the others as they are."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"description": "billing", "rate_limit_per_min": None}]}
    )

    url: Url | None = None
    status: Literal["enabled", "disabled"] | None = None
    events: Events | None = None
    description: Description | None = None
    timeout_s: TimeoutS | None = None
    rate_limit_per_min: RateLimit | None = None
    headers: list[GivenHeader] | None = None
    standard_webhooks: StrictBool | None = None
    schedule: Gaps | None = None


class ResumeEndpoint(BaseModel):
    """What becomes of held deliveries.

    All are sent; those made `since` a time; the `latest` of each object (of its held events the newest, and every
    event that is about no object); or none. What is not sent is canceled. With `dry_run` nothing happens: the answer
    says how many each would be.
    """

    model_config = ConfigDict(extra="forbid")

    deliver: Literal["all", "since", "latest", "none"] | None = None
    since: str | None = None
    dry_run: StrictBool = False


class ResumePreview(BaseModel):
    """What resuming would do: `held` is the sum of the others."""

    object: Literal["resume_preview"]
    endpoint_id: str
    held: int
    to_send: int
    to_cancel: int


class RotateSecret(BaseModel):
    """How long the old secret stays usable."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: Annotated[int, Field(ge=0, le=MAX_OVERLAP_S, strict=True), BeforeValidator(whole_number)] = OVERLAP_S


class RevealedEndpointSecret(BaseModel):
    """Secrets in clear; the old one while a rotation lasts."""

    object: Literal["endpoint_secret"]
    endpoint_id: str
    secret: str
    standard_webhooks_secret: str
    old_secret: str | None
    old_secret_until: str | None


class OwnEndpointVersion(BaseModel):
    """An endpoint as it was from `from` until its next version."""

    model_config = ConfigDict(populate_by_name=True)

    object: Literal["endpoint_version"]
    version: int
    from_: Annotated[str, Field(alias="from")]
    url: str
    status: Literal["enabled", "disabled"]
    disabled_reason: str | None
    paused_at: str | None
    deleted_at: str | None
    events: list[str]


class OwnEndpointVersionList(BaseModel):
    """A page of versions; cursors are their numbers."""

    object: Literal["list"]
    data: list[OwnEndpointVersion]
    list_metadata: ListMetadata


routes = APIRouter(prefix="/api/v1/endpoints", dependencies=[BEARER], tags=["endpoints"])


def endpoint_shown(context: CallContext, endpoint: Endpoint, *, in_full: bool = False) -> dict[str, Any]:
    """An endpoint as the API shows it; `in_full` with its secret in clear."""
    secret = context.registry.secret_of(endpoint)
    return {
        "object": "endpoint",
        "id": endpoint.id,
        "url": endpoint.url,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason,
        "paused_at": time_text(endpoint.paused_ms),
        "description": endpoint.description,
        "events": list(endpoint.events),
        "secret": secret if in_full else mask_secret(secret),
        "timeout_s": None if endpoint.timeout_ms is None else endpoint.timeout_ms / 1000,
        "rate_limit_per_min": endpoint.rate_limit_per_min,
        "headers": [
            {"name": item.name, "value": None if item.is_sensitive else item.value, "sensitive": item.is_sensitive}
            for item in context.registry.headers_of(endpoint)
        ],
        "standard_webhooks": endpoint.standard_webhooks,
        "schedule": None if endpoint.schedule is None else json.loads(endpoint.schedule),
        "retries": _retries(context, endpoint),
        "health": {
            "failing_since": time_text(endpoint.failing_since_ms),
            "failed_attempts": endpoint.failing_attempts,
            "warned_percent": endpoint.failing_warned,
            "half_open": endpoint.is_half_open,
        },
        "rotation": _rotation(context, endpoint),
        "version": endpoint.version,
        "created_at": time_text(endpoint.created_ms),
        "updated_at": time_text(endpoint.updated_ms),
    }


def _retries(context: CallContext, endpoint: Endpoint) -> dict[str, Any]:
    schedule = context.schedules[endpoint.environment]
    if endpoint.schedule is not None:
        schedule = Schedule.from_gaps(tuple(json.loads(endpoint.schedule)))
    return {
        "source": "environment" if endpoint.schedule is None else "endpoint",
        "gaps_s": [later - earlier for earlier, later in pairwise((0, *schedule.offsets_s))],
        "after": [_clock_text(offset_s) for offset_s in schedule.offsets_s],
    }


def _clock_text(seconds: float) -> str:
    whole, rest = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    text = f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    return f"{text}.{rest:03d}" if rest else text


def _rotation(context: CallContext, endpoint: Endpoint) -> dict[str, Any] | None:
    until_ms = endpoint.old_secret_until_ms
    if endpoint.old_secret_enc is None or until_ms is None or until_ms <= context.clock.now_ms():
        return None
    return {
        "old_secret": mask_secret(context.box.open(endpoint.old_secret_enc)),
        "old_secret_until": time_text(until_ms),
        "signs_with": "old" if endpoint.signs_with_old else "new",
    }


def _headers(given: Sequence[GivenHeader] | None) -> list[CustomHeader]:
    return [CustomHeader(item.name, item.value, item.sensitive) for item in given or ()]


def _check_gaps(gaps_s: Sequence[float] | None) -> None:
    if gaps_s is not None and sum(gaps_s) > MAX_WINDOW_S:
        message = f"schedule: expected waits of at most {MAX_WINDOW_S} s (72 h) together, got {sum(gaps_s):g} s"
        raise invalid_parameters([field_error("schedule", "invalid", message)])


@routes.get("", response_model=OwnEndpointList, responses=answers(422))
def list_endpoints(
    context: Context,
    environment: Caller,
    paging: Paging,
    status: Literal["enabled", "disabled"] | None = None,
    url: Annotated[str | None, Query(description="A part of the URL, in any case.", pattern=NO_NUL)] = None,
) -> dict[str, Any]:
    """List endpoints, newest first."""
    wanted = EndpointFilter(status, url)
    with context.database.snapshot() as connection:
        page = endpoint_page(context.store, connection, environment, paging, wanted)
    return listed([endpoint_shown(context, item) for item in page.items], before=page.before, after=page.after)


@routes.post("", status_code=201, response_model=OwnEndpoint, responses=answers(409, 422))
def create_endpoint(
    context: Context, environment: Caller, actor: Actor, body: CreateEndpoint, used: Action
) -> dict[str, Any]:
    """Register an endpoint. This answer shows its secret in full."""
    check_patterns(body.events)
    _check_gaps(body.schedule)
    endpoint = context.registry.create(
        environment,
        url=body.url,
        events=body.events,
        description=body.description,
        timeout_ms=None if body.timeout_s is None else round(body.timeout_s * 1000),
        rate_limit_per_min=body.rate_limit_per_min,
        headers=_headers(body.headers),
        standard_webhooks=body.standard_webhooks,
        schedule=body.schedule,
        actor=actor,
        idempotency=used,
    )
    return endpoint_shown(context, endpoint, in_full=True)


@routes.get("/{endpoint_id}", response_model=OwnEndpoint, responses=answers(404))
def get_endpoint(context: Context, environment: Caller, endpoint_id: str) -> dict[str, Any]:
    """One endpoint."""
    with context.database.read() as connection:
        endpoint = context.store.endpoint(connection, environment, endpoint_id)
    if endpoint is None:
        raise not_found(endpoint_id)
    return endpoint_shown(context, endpoint)


@routes.patch("/{endpoint_id}", response_model=OwnEndpoint, responses=answers(404, 409, 422))
def update_endpoint(
    context: Context, environment: Caller, actor: Actor, endpoint_id: str, body: UpdateEndpoint
) -> dict[str, Any]:
    """Change an endpoint. Disabling holds what waits for it; enabling releases that."""
    if body.events is not None:
        check_patterns(body.events)
    _check_gaps(body.schedule)
    given = body.model_fields_set
    timeout_ms = None if body.timeout_s is None else round(body.timeout_s * 1000)
    changed = context.registry.change(
        environment,
        endpoint_id,
        url=body.url,
        status=body.status,
        events=body.events,
        description=body.description if "description" in given else UNCHANGED,
        timeout_ms=timeout_ms if "timeout_s" in given else UNCHANGED,
        rate_limit_per_min=body.rate_limit_per_min if "rate_limit_per_min" in given else UNCHANGED,
        headers=_headers(body.headers) if "headers" in given else UNCHANGED,
        standard_webhooks=body.standard_webhooks,
        schedule=body.schedule if "schedule" in given else UNCHANGED,
        actor=actor,
    )
    return endpoint_shown(context, changed)


@routes.delete("/{endpoint_id}", status_code=204, response_class=Response, responses=answers(404))
def delete_endpoint(context: Context, environment: Caller, actor: Actor, endpoint_id: str) -> None:
    """Delete an endpoint; what waits for it is canceled."""
    context.registry.delete(environment, endpoint_id, actor=actor)


@routes.post("/{endpoint_id}/pause", response_model=OwnEndpoint, responses=answers(404, 409))
def pause_endpoint(
    context: Context, environment: Caller, actor: Actor, endpoint_id: str, used: Action
) -> dict[str, Any]:
    """Hold the endpoint's deliveries until it is resumed."""
    paused = context.registry.pause(environment, endpoint_id, actor=actor, idempotency=used)
    return endpoint_shown(context, paused)


@routes.post("/{endpoint_id}/resume", response_model=OwnEndpoint | ResumePreview, responses=answers(404, 409, 422))
def resume_endpoint(
    context: Context,
    environment: Caller,
    actor: Actor,
    endpoint_id: str,
    used: Action,
    body: ResumeEndpoint | None = None,
) -> dict[str, Any]:
    """End a pause, or enable again what Hookline disabled, and choose what becomes of held deliveries."""
    wanted = body or ResumeEndpoint()
    choice = _choice(wanted)
    if wanted.dry_run:
        count = context.registry.count_held(environment, endpoint_id, choice)
        return {"object": "resume_preview", "endpoint_id": endpoint_id, **asdict(count)}
    resumed = context.registry.resume(environment, endpoint_id, choice, actor=actor, idempotency=used)
    return endpoint_shown(context, resumed)


@routes.post("/{endpoint_id}/reveal_secret", response_model=RevealedEndpointSecret, responses=answers(404))
def reveal_endpoint_secret(context: Context, environment: Caller, actor: Actor, endpoint_id: str) -> dict[str, Any]:
    """The secret in clear; the audit trail keeps that it was asked for."""
    revealed = context.registry.reveal_secret(environment, endpoint_id, actor=actor)
    return {
        "object": "endpoint_secret",
        "endpoint_id": endpoint_id,
        "secret": revealed.secret,
        "standard_webhooks_secret": secret_form(revealed.secret),
        "old_secret": revealed.old_secret,
        "old_secret_until": time_text(revealed.old_secret_until_ms),
    }


def _choice(wanted: ResumeEndpoint) -> Choice:
    deliver = wanted.deliver or ("all" if wanted.since is None else "since")
    if wanted.since is not None and deliver != "since":
        raise conflicting("deliver", "since")
    since_ms = time_ms("since", wanted.since)
    if deliver == "since" and since_ms is None:
        raise invalid_parameters([field_error("since", "required", "since: expected a time")])
    return Choice(deliver, since_ms or 0)


@routes.post("/{endpoint_id}/rotate_secret", response_model=OwnEndpoint, responses=answers(404, 409, 422))
def rotate_endpoint_secret(
    context: Context,
    environment: Caller,
    actor: Actor,
    endpoint_id: str,
    used: Action,
    body: RotateSecret | None = None,
) -> dict[str, Any]:
    """A new secret, shown in full by this answer; the one before it stays usable for a while."""
    wanted = body or RotateSecret()
    rotated = context.registry.rotate_secret(
        environment, endpoint_id, overlap_s=wanted.overlap_s, actor=actor, idempotency=used
    )
    return endpoint_shown(context, rotated, in_full=True)


@routes.post("/{endpoint_id}/revoke_old_secret", response_model=OwnEndpoint, responses=answers(404, 409))
def revoke_old_endpoint_secret(
    context: Context, environment: Caller, actor: Actor, endpoint_id: str, used: Action
) -> dict[str, Any]:
    """End a rotation now: the secret before the newest signs nothing more."""
    return endpoint_shown(
        context, context.registry.revoke_old_secret(environment, endpoint_id, actor=actor, idempotency=used)
    )


@routes.get("/{endpoint_id}/versions", response_model=OwnEndpointVersionList, responses=answers(404, 422))
def list_endpoint_versions(context: Context, environment: Caller, endpoint_id: str, paging: Paging) -> dict[str, Any]:
    """What the endpoint was when, newest first; of a deleted one too."""
    with context.database.snapshot() as connection:
        endpoint = context.store.endpoint(connection, environment, endpoint_id, with_deleted=True)
        if endpoint is None:
            raise not_found(endpoint_id)
        page = version_page(context.store, connection, endpoint.row_id, paging)
    return listed([_version_shown(item) for item in page.items], before=page.before, after=page.after)


def _version_shown(version: EndpointVersion) -> dict[str, Any]:
    return {
        "object": "endpoint_version",
        "version": version.version,
        "from": time_text(version.from_ms),
        "url": version.url,
        "status": version.status,
        "disabled_reason": version.disabled_reason,
        "paused_at": time_text(version.paused_ms),
        "deleted_at": time_text(version.deleted_ms),
        "events": list(version.events),
    }
