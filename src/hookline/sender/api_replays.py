"""Replays under `/api/v1/replays`, and sending one event again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from hookline.errors import RequestError
from hookline.sender.api_own import OwnDelivery, delivery_shown
from hookline.sender.api_parts import (
    BEARER,
    NO_NUL,
    Action,
    Actor,
    Caller,
    Context,
    ListMetadata,
    Paging,
    answers,
    conflicting,
    listed,
    time_ms,
    time_text,
)
from hookline.sender.queries import replay_page
from hookline.sender.registry import check_patterns
from hookline.sender.replays import MAX_RATE_PER_S, EarlierState, Selection

if TYPE_CHECKING:
    from hookline.sender.model import Replay

MAX_NAMED = 100


class ReplayFilter(BaseModel):
    """Which events for which endpoints; what is left out selects nothing away.

    `since` and `until` (excluded) are times of publishing. `events` are type names or patterns, `endpoints` ids: each
    gets the types it asks for now. `states` says how the newest delivery of the event to the endpoint ended; `never`
    where there was none.
    """

    model_config = ConfigDict(extra="forbid")

    since: str | None = None
    until: str | None = None
    events: Annotated[list[str], Field(min_length=1, max_length=MAX_NAMED)] | None = None
    endpoints: (
        Annotated[list[Annotated[str, Field(pattern=NO_NUL)]], Field(min_length=1, max_length=MAX_NAMED)] | None
    ) = None
    states: Annotated[list[EarlierState], Field(min_length=1, max_length=4)] | None = None


class CreateReplay(BaseModel):
    """A replay: what of, and how many deliveries a second at most. With `dry_run` it is only counted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"filter": {"events": ["dsync.*"], "states": ["failed"]}, "dry_run": True}]},
    )

    filter: ReplayFilter
    rate_per_s: Annotated[int, Field(ge=1, le=MAX_RATE_PER_S)] | None = None
    dry_run: bool = False


class OwnReplay(BaseModel):
    """A replay and how far it came.

    `total` pairs of event and endpoint were counted at its start; those it has met it made into deliveries (`made`) or
    left out (`skipped`, by reason: `pruned`, the event's body is gone; `open`, a delivery still waits).
    """

    object: Literal["replay"]
    id: str
    state: Literal["pending", "succeeded", "canceled"]
    filter: ReplayFilter
    rate_per_s: int | None
    total: int
    made: int
    skipped: dict[str, int]
    created_at: str
    updated_at: str
    finished_at: str | None


class OwnReplayDetail(OwnReplay):
    """A replay with its deliveries counted by state."""

    deliveries: dict[str, int]


class ReplayPreview(BaseModel):
    """What a replay would come to: `total` pairs of event and endpoint, less those `skipped`."""

    object: Literal["replay_preview"]
    total: int
    to_make: int
    skipped: dict[str, int]


class OwnReplayList(BaseModel):
    """A page of replays."""

    object: Literal["list"]
    data: list[OwnReplay]
    list_metadata: ListMetadata


class ResendEvent(BaseModel):
    """To whom: one endpoint or one listener. Where none is named: every endpoint that asks for the type now, and every
    listener that is connected and asks for it.
    """

    model_config = ConfigDict(extra="forbid")

    endpoint_id: Annotated[str, Field(pattern=NO_NUL)] | None = None
    listener: Annotated[str, Field(pattern=NO_NUL, description="A listener's name.")] | None = None


class ResentList(BaseModel):
    """The deliveries that were made, and the names of the listeners that the event goes to."""

    object: Literal["list"]
    data: list[OwnDelivery]
    listeners: list[str]


routes = APIRouter(prefix="/api/v1", dependencies=[BEARER])


@routes.post(
    "/replays",
    tags=["replays"],
    status_code=201,
    response_model=OwnReplayDetail | ReplayPreview,
    responses=answers(404, 409, 422),
)
def create_replay(
    context: Context, environment: Caller, body: CreateReplay, actor: Actor, used: Action
) -> dict[str, Any]:
    """Send events of the past again, as new deliveries of the same events; with `dry_run` count them."""
    selection = _selection(body.filter)
    if body.dry_run:
        count = context.replays.count(environment, selection)
        skipped = dict(count.skipped)
        return {
            "object": "replay_preview",
            "total": count.total,
            "to_make": count.total - sum(skipped.values()),
            "skipped": skipped,
        }
    replay = context.replays.start(environment, selection, rate_per_s=body.rate_per_s, actor=actor, idempotency=used)
    return _shown(replay) | {"deliveries": context.replays.read(environment, replay.id)[1]}


@routes.get("/replays", tags=["replays"], response_model=OwnReplayList, responses=answers(422))
def list_replays(context: Context, environment: Caller, paging: Paging) -> dict[str, Any]:
    """List replays, newest first."""
    with context.database.snapshot() as connection:
        page = replay_page(context.replays.jobs, connection, environment, paging)
    return listed([_shown(item) for item in page.items], before=page.before, after=page.after)


@routes.get("/replays/{replay_id}", tags=["replays"], response_model=OwnReplayDetail, responses=answers(404))
def get_replay(context: Context, environment: Caller, replay_id: str) -> dict[str, Any]:
    """One replay, how far it came and what became of its deliveries."""
    replay, deliveries = context.replays.read(environment, replay_id)
    return _shown(replay) | {"deliveries": deliveries}


@routes.post(
    "/replays/{replay_id}/cancel",
    tags=["replays"],
    response_model=OwnReplayDetail,
    responses=answers(404, 409),
)
def cancel_replay(context: Context, environment: Caller, replay_id: str, actor: Actor, used: Action) -> dict[str, Any]:
    """Make no more deliveries, and cancel those that still wait."""
    replay = context.replays.cancel(environment, replay_id, actor=actor, idempotency=used)
    return _shown(replay) | {"deliveries": context.replays.read(environment, replay.id)[1]}


@routes.post(
    "/events/{event_id}/resend",
    tags=["events"],
    status_code=201,
    response_model=ResentList,
    responses=answers(404, 409, 410, 422),
)
def resend_event(
    context: Context, environment: Caller, event_id: str, actor: Actor, used: Action, body: ResendEvent | None = None
) -> dict[str, Any]:
    """Send one event again: a new delivery with the same event id; listeners get it without one."""
    wanted = body or ResendEvent()
    if wanted.endpoint_id is not None and wanted.listener is not None:
        raise conflicting("endpoint_id", "listener")
    made = context.replays.resend(
        environment,
        event_id,
        endpoint_id=wanted.endpoint_id,
        listener=wanted.listener,
        actor=actor,
        idempotency=used,
    )
    return {
        "object": "list",
        "data": [delivery_shown(one) for one in made.deliveries],
        "listeners": made.listeners,
    }


def _selection(given: ReplayFilter) -> Selection:
    if given.events is not None:
        check_patterns(given.events)
    since_ms, until_ms = time_ms("filter.since", given.since), time_ms("filter.until", given.until)
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        message = "filter.until: expected a time after filter.since"
        raise RequestError(
            422,
            "invalid_request_parameters",
            message,
            [{"code": "invalid", "field": "filter.until", "message": message}],
        )
    return Selection(
        since_ms,
        until_ms,
        None if given.events is None else tuple(given.events),
        None if given.endpoints is None else tuple(dict.fromkeys(given.endpoints)),
        None if given.states is None else tuple(given.states),
    )


def _shown(replay: Replay) -> dict[str, Any]:
    selection = Selection.from_json(replay.filter)
    return {
        "object": "replay",
        "id": replay.id,
        "state": replay.state,
        "filter": {
            "since": time_text(selection.since_ms),
            "until": time_text(selection.until_ms),
            "events": selection.events,
            "endpoints": selection.endpoints,
            "states": selection.states,
        },
        "rate_per_s": replay.rate_per_s,
        "total": replay.total,
        "made": replay.made,
        "skipped": json.loads(replay.skipped),
        "created_at": time_text(replay.created_ms),
        "updated_at": time_text(replay.updated_ms),
        "finished_at": time_text(replay.finished_ms),
    }
