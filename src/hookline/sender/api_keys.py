"""API keys and the audit trail under `/api/v1`. A key manages the keys of its own environment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

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
    listed,
    time_text,
)
from hookline.sender.keys import mask_api_key
from hookline.sender.queries import audit_page, page_of_all
from hookline.sender.store import AuditFilter

if TYPE_CHECKING:
    from hookline.sender.model import ApiKey, AuditEntry


class OwnApiKey(BaseModel):
    """An API key. `key` is null but in the answer that makes it, or that shows a staging key once more."""

    object: Literal["api_key"]
    id: str
    name: str | None
    hint: Annotated[str, Field(description="Its prefix and last four characters.")]
    environment: Literal["production", "staging"]
    key: str | None
    created_at: str
    last_used_at: Annotated[str | None, Field(description="No finer than a minute.")]
    revoked_at: str | None


class OwnApiKeyList(BaseModel):
    """A page of keys."""

    object: Literal["list"]
    data: list[OwnApiKey]
    list_metadata: ListMetadata


class CreateApiKey(BaseModel):
    """What to call it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "billing service"}]})

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=NO_NUL)] | None = None


class OwnAuditEntry(BaseModel):
    """Who did what: `actor` is a key's id, `configured …` and four characters, or `command`."""

    object: Literal["audit_entry"]
    id: str
    at: str
    actor: str
    action: str
    object_id: str | None
    detail: dict[str, Any]


class OwnAuditList(BaseModel):
    """A page of the trail."""

    object: Literal["list"]
    data: list[OwnAuditEntry]
    list_metadata: ListMetadata


routes = APIRouter(prefix="/api/v1", dependencies=[BEARER])


@routes.get("/api_keys", tags=["api_keys"], response_model=OwnApiKeyList, responses=answers(422))
def list_api_keys(context: Context, environment: Caller, paging: Paging) -> dict[str, Any]:
    """List the environment's keys, revoked ones too; not those of the configuration, which are nowhere stored."""
    page = page_of_all(context.api_keys.listed(environment), lambda key: key.id, paging)
    return listed([_shown(item) for item in page.items], before=page.before, after=page.after)


@routes.post("/api_keys", tags=["api_keys"], status_code=201, response_model=OwnApiKey, responses=answers(409, 422))
def create_api_key(
    context: Context, environment: Caller, actor: Actor, used: Action, body: CreateApiKey | None = None
) -> dict[str, Any]:
    """Make a key. This answer alone shows a production key."""
    name = body.name if body else None
    key, clear = context.api_keys.create(environment, name=name, actor=actor, idempotency=used)
    return _shown(key, clear)


@routes.get("/api_keys/{key_id}", tags=["api_keys"], response_model=OwnApiKey, responses=answers(404))
def get_api_key(context: Context, environment: Caller, key_id: str) -> dict[str, Any]:
    """One key, masked."""
    return _shown(context.api_keys.get(environment, key_id))


@routes.post("/api_keys/{key_id}/reveal", tags=["api_keys"], response_model=OwnApiKey, responses=answers(404, 409))
def reveal_api_key(context: Context, environment: Caller, actor: Actor, key_id: str) -> dict[str, Any]:
    """A staging key in clear; the audit trail keeps that it was asked for."""
    return _shown(*context.api_keys.reveal(environment, key_id, actor=actor))


@routes.delete(
    "/api_keys/{key_id}", tags=["api_keys"], status_code=204, response_class=Response, responses=answers(404)
)
def revoke_api_key(context: Context, environment: Caller, actor: Actor, key_id: str) -> None:
    """Revoke a key; it stays listed. Every process refuses it within 5 s."""
    context.api_keys.revoke(environment, key_id, actor=actor)


@routes.get("/audit", tags=["audit"], response_model=OwnAuditList, responses=answers(422))
def list_audit(
    context: Context, environment: Caller, paging: Paging, action: str | None = None, object_id: str | None = None
) -> dict[str, Any]:
    """Who did what, newest first; by action, as `endpoint.created`, and by what it was done to."""
    wanted = AuditFilter(action, object_id)
    with context.database.snapshot() as connection:
        page = audit_page(context.store, connection, environment, wanted, paging)
    return listed([_entry_shown(item) for item in page.items], before=page.before, after=page.after)


def _shown(key: ApiKey, clear: str | None = None) -> dict[str, Any]:
    return {
        "object": "api_key",
        "id": key.id,
        "name": key.name,
        "hint": mask_api_key(key),
        "environment": key.environment,
        "key": clear,
        "created_at": time_text(key.created_ms),
        "last_used_at": time_text(key.last_used_ms),
        "revoked_at": time_text(key.revoked_ms),
    }


def _entry_shown(entry: AuditEntry) -> dict[str, Any]:
    return {
        "object": "audit_entry",
        "id": entry.id,
        "at": time_text(entry.at_ms),
        "actor": entry.actor,
        "action": entry.action,
        "object_id": entry.object_id,
        "detail": json.loads(entry.detail),
    }
