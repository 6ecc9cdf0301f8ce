"""`…/explain`: why an event was sent, or not, to whom; and the story of one delivery."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from hookline.sender.api_own import OwnDelivery, delivery_shown
from hookline.sender.api_parts import BEARER, Caller, Context, ListMetadata, Paging, answers, listed, time_text
from hookline.sender.explain import Verdict, explain_event, tell_story
from hookline.sender.queries import concerned_page, past_event

if TYPE_CHECKING:
    from hookline.sender.explain import Finding


class OwnFinding(BaseModel):
    """What became of an event at one endpoint: `code` for machines, `text` for people."""

    endpoint_id: str
    endpoint_url: str
    verdict: Verdict
    code: str
    text: str
    next_at: str | None
    delivery_ids: list[str]


class EventExplanation(BaseModel):
    """What became of an event, by endpoint, newest endpoint first; those deleted before it are left out."""

    object: Literal["list"]
    event_id: str
    event: str
    published_at: str
    pruned_at: str | None
    data: list[OwnFinding]
    list_metadata: ListMetadata


class OwnMoment(BaseModel):
    """One thing in the story of a delivery, and what to do about it."""

    at: str
    code: str
    text: str
    to_do: str | None


class PlannedAttempt(BaseModel):
    """An attempt that may still come; all but the first may move by 20 % of their gap."""

    at: str
    kind: str


class DeliveryExplanation(BaseModel):
    """The story of a delivery in order, and every attempt that is still planned."""

    object: Literal["delivery_explanation"]
    delivery: OwnDelivery
    verdict: Verdict
    code: str
    text: str
    story: list[OwnMoment]
    planned: list[PlannedAttempt]


routes = APIRouter(prefix="/api/v1", dependencies=[BEARER])


@routes.get("/events/{event_id}/explain", tags=["events"], response_model=EventExplanation, responses=answers(404, 422))
def explain(
    context: Context,
    environment: Caller,
    event_id: str,
    paging: Paging,
    endpoint_id: Annotated[str | None, Query(alias="endpoint", description="One endpoint alone, by its id.")] = None,
) -> dict[str, Any]:
    """Say of each endpoint whether it got an event and why, from what was stored then."""
    with context.database.snapshot() as connection:
        event = past_event(context.store, connection, environment, event_id)
        page = concerned_page(context.store, connection, environment, event, endpoint_id, paging)
        findings = explain_event(context.store, connection, event, page.items)
    shown = listed([_finding_shown(one) for one in findings], before=page.before, after=page.after)
    return shown | {
        "event_id": event_id,
        "event": event.type,
        "published_at": time_text(event.published_ms),
        "pruned_at": time_text(event.pruned_ms),
    }


@routes.get(
    "/deliveries/{delivery_id}/explain",
    tags=["deliveries"],
    response_model=DeliveryExplanation,
    responses=answers(404),
)
def explain_delivery(context: Context, environment: Caller, delivery_id: str) -> dict[str, Any]:
    """Tell what happened to a delivery, in order, and what is planned."""
    with context.database.snapshot() as connection:
        story = tell_story(context.store, connection, environment, delivery_id, context.schedules)
    return {
        "object": "delivery_explanation",
        "delivery": delivery_shown(story.delivery),
        "verdict": story.finding.verdict,
        "code": story.finding.code,
        "text": story.finding.text,
        "story": [asdict(one) | {"at": time_text(one.at_ms)} for one in story.moments],
        "planned": [{"at": time_text(at_ms), "kind": kind} for at_ms, kind in story.planned],
    }


def _finding_shown(finding: Finding) -> dict[str, Any]:
    return {
        "endpoint_id": finding.endpoint.id,
        "endpoint_url": finding.endpoint.url,
        "verdict": finding.verdict,
        "code": finding.code,
        "text": finding.text,
        "next_at": time_text(finding.next_ms),
        "delivery_ids": [one.id for one in finding.deliveries],
    }
