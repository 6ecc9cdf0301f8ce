"""Listeners under `/api/v1`: who hears the feed on their own machine. Secrets are masked, but where one is revealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hookline.sender.api_parts import (
    BEARER,
    Action,
    Actor,
    Caller,
    Context,
    ListMetadata,
    Paging,
    answers,
    listed,
    time_text,
)
from hookline.sender.model import LISTENER_NAME
from hookline.sender.queries import page_of_all
from hookline.sender.secrets import mask_secret

if TYPE_CHECKING:
    from hookline.sender.api_parts import CallContext
    from hookline.sender.model import Listener


class OwnListener(BaseModel):
    """A listener. What it gets makes no deliveries and counts in no statistics.

    `events` is what it asked for last, empty before it first listened.
    """

    object: Literal["listener"]
    name: str
    environment: Literal["production", "staging"]
    secret: Annotated[str, Field(description="Its prefix and last four characters.")]
    events: list[str]
    is_connected: bool
    last_seen_at: Annotated[str | None, Field(description="No finer than 15 s while it is connected.")]
    answered: Annotated[int, Field(description="How many answers it gave.")]
    succeeded: Annotated[int, Field(description="How many of them were 2xx.")]
    last_answer_at: str | None
    created_at: str


class OwnListenerDetail(OwnListener):
    """A listener, and what came since it last answered: `missed` that it can still have, `gone` past retention.

    Both stop at 1,000.
    """

    missed: int
    missed_since: str | None
    gone: int


class OwnListenerList(BaseModel):
    """A page of listeners."""

    object: Literal["list"]
    data: list[OwnListener]
    list_metadata: ListMetadata


class RevealedListenerSecret(BaseModel):
    """The secret in clear."""

    object: Literal["listener_secret"]
    name: str
    secret: str


routes = APIRouter(prefix="/api/v1/listeners", tags=["listeners"], dependencies=[BEARER])

NewName = Annotated[str, Path(pattern=f"^{LISTENER_NAME}$", description="As the listener calls itself.")]


@routes.get("", response_model=OwnListenerList, responses=answers(422))
def list_listeners(context: Context, environment: Caller, paging: Paging) -> dict[str, Any]:
    """List the environment's listeners; cursors are names."""
    everyone = sorted(context.listeners.listed(environment), key=lambda one: one.row_id)
    page = page_of_all(everyone, lambda one: one.name, paging)
    return listed([_shown(context, one) for one in page.items], before=page.before, after=page.after)


@routes.get("/{name}", response_model=OwnListenerDetail, responses=answers(404))
def get_listener(context: Context, environment: Caller, name: str) -> dict[str, Any]:
    """One listener, and what it missed."""
    return _detail(context, context.listeners.get(environment, name))


@routes.put("/{name}", response_model=OwnListenerDetail, responses=answers(409, 422))
def put_listener(context: Context, environment: Caller, actor: Actor, name: NewName) -> dict[str, Any]:
    """The listener of that name, made where there is none: its secret can be had before it first listens."""
    return _detail(context, context.listeners.keep(environment, name, actor=actor))


@routes.delete("/{name}", status_code=204, response_class=Response, responses=answers(404))
def delete_listener(context: Context, environment: Caller, actor: Actor, name: str) -> None:
    """Forget a listener, its secret and its place; a connection it has ends."""
    context.listeners.remove(environment, name, actor=actor)


@routes.post("/{name}/reveal_secret", response_model=RevealedListenerSecret, responses=answers(404))
def reveal_listener_secret(context: Context, environment: Caller, actor: Actor, name: str) -> dict[str, Any]:
    """The secret in clear; the audit trail keeps that it was asked for."""
    listener, secret = context.listeners.reveal(environment, name, actor=actor)
    return {"object": "listener_secret", "name": listener.name, "secret": secret}


@routes.post("/{name}/rotate_secret", response_model=OwnListenerDetail, responses=answers(404, 409))
def rotate_listener_secret(
    context: Context, environment: Caller, actor: Actor, used: Action, name: str
) -> dict[str, Any]:
    """Give it another secret, at once; a connection it has ends and comes back for it."""
    return _detail(context, context.listeners.rotate(environment, name, actor=actor, idempotency=used))


def _shown(context: CallContext, listener: Listener) -> dict[str, Any]:
    return {
        "object": "listener",
        "name": listener.name,
        "environment": listener.environment,
        "secret": mask_secret(context.listeners.secret_of(listener)),
        "events": list(listener.events),
        "is_connected": context.listeners.is_connected(listener),
        "last_seen_at": time_text(listener.seen_ms),
        "answered": listener.answered,
        "succeeded": listener.succeeded,
        "last_answer_at": time_text(listener.answered_ms),
        "created_at": time_text(listener.created_ms),
    }


def _detail(context: CallContext, listener: Listener) -> dict[str, Any]:
    missed = context.listeners.missed(listener)
    return {
        **_shown(context, listener),
        "missed": missed.count,
        "missed_since": time_text(missed.since_ms),
        "gone": missed.gone,
    }
