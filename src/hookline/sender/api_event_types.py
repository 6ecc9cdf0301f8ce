"""Hookline's own API for event types: the catalogue's, and what users say of these and of types of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from hookline.errors import RequestError
from hookline.sender.api_parts import BEARER, Caller, Context, answers, time_text
from hookline.sender.drafts import EVENT_TYPE, MAX_TYPE_LENGTH, is_event_type
from hookline.sender.event_types import MAX_DESCRIPTION
from hookline.sender.model import SchemaMode
from hookline.wire.catalogue import CATALOGUE, sample, sampled_types

if TYPE_CHECKING:
    from hookline.sender.model import OwnEventType
    from hookline.wire.catalogue import EventType


class ListedEventType(BaseModel):
    """A type: whether endpoints of the compatible API may ask for it, and what is known of it.

    `origin` is `own` where the catalogue has no such type. `mode` is what its schema does to an event that breaks it.
    """

    name: str
    origin: Literal["catalogue", "own"]
    subscribable: bool
    resource: str | None
    description: str | None
    mode: SchemaMode
    has_schema: bool
    has_sample: bool


class ListedEventTypes(BaseModel):
    """All types of the catalogue, and those that users described, by name."""

    object: Literal["list"]
    data: list[ListedEventType]


class ShownEventType(ListedEventType):
    """A type in full. `subscribers` is how many endpoints ask for it, by its name or a pattern."""

    # `schema` is a name that the base class has, for something else.
    schema_: dict[str, Any] | None = Field(alias="schema")
    sample: dict[str, Any] | None
    subscribers: int
    created_at: str | None
    updated_at: str | None


_EXAMPLE: Final[dict[str, Any]] = {
    "description": "An invoice was paid in full.",
    "schema": {
        "type": "object",
        "required": ["id", "amount"],
        "properties": {"id": {"type": "string"}, "amount": {"type": "integer", "minimum": 0}},
    },
    "mode": "warn",
    "sample": {"id": "invoice_1", "amount": 1200},
}


class PutEventType(BaseModel):
    """What to say of a type, in place of all that was said before."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    description: Annotated[str, Field(max_length=MAX_DESCRIPTION)] | None = None
    schema_: dict[str, Any] | None = Field(
        None,
        alias="schema",
        description="JSON Schema (Draft 2020-12) of an event's `data`. References lead into it, patterns are matched "
        "in linear time: without look-around and backreferences.",
    )
    mode: SchemaMode | None = Field(
        None, description="What the schema does: `off`, `warn`, or `reject`, by default where there is a schema."
    )
    sample: dict[str, Any] | None = Field(None, description="The `data` of a test event.")


class ChangeEventType(PutEventType):
    """What to say of a type otherwise than before. What is left out stays; null takes away."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"mode": "warn"}]})


# Described only: `EventTypes.put` checks it, with words that say what a name is.
_Name = Annotated[str, Path(json_schema_extra={"pattern": f"^{EVENT_TYPE.pattern}$", "maxLength": MAX_TYPE_LENGTH})]


routes = APIRouter(prefix="/api/v1/event_types", dependencies=[BEARER], tags=["events"])


@routes.get("", response_model=ListedEventTypes, responses=answers())
def list_event_types(context: Context, environment: Caller) -> dict[str, Any]:
    """The catalogue of known types, and types of your own. Publishing takes any well-formed name."""
    with context.database.read() as connection:
        own = {item.name: item for item in context.store.event_types(connection, environment)}
    names = [*CATALOGUE, *(name for name in own if name not in CATALOGUE)]
    return {"object": "list", "data": [_listed(name, own.get(name)) for name in names]}


@routes.get("/{name}", response_model=ShownEventType, responses=answers())
def get_event_type(context: Context, environment: Caller, name: str) -> dict[str, Any]:
    """One type of the catalogue or of your own."""
    if not is_event_type(name):
        raise _not_found(name)
    with context.database.snapshot() as connection:
        described = context.store.event_type(connection, environment, name)
        if described is None and name not in CATALOGUE:
            raise _not_found(name)
        subscribers = len(context.store.endpoints_matching(connection, [(environment, name)]))
    return _shown(name, described, subscribers)


@routes.put(
    "/{name}",
    response_model=ShownEventType,
    responses={201: {"model": ShownEventType, "description": "The type is new."}},
)
def put_event_type(context: Context, environment: Caller, name: _Name, body: PutEventType) -> Response:
    """Describe a type. A schema holds for events published from now on; elsewhere within two seconds."""
    described, is_new = context.publisher.types.put(
        environment,
        name,
        description=body.description,
        schema=body.schema_,
        mode=body.mode,
        sample=body.sample,
    )
    with context.database.read() as connection:
        subscribers = len(context.store.endpoints_matching(connection, [(environment, name)]))
    return JSONResponse(_shown(name, described, subscribers), 201 if is_new else 200)


@routes.patch("/{name}", response_model=ShownEventType, responses=answers(404, 422))
def update_event_type(context: Context, environment: Caller, name: str, body: ChangeEventType) -> dict[str, Any]:
    """Change a part of what was said of a type: its mode alone, for one."""
    given = body.model_dump(exclude_unset=True, by_alias=True)
    changed = context.publisher.types.change(environment, name, given) if is_event_type(name) else None
    if changed is None:
        raise _not_found(name)
    with context.database.read() as connection:
        subscribers = len(context.store.endpoints_matching(connection, [(environment, name)]))
    return _shown(name, changed, subscribers)


@routes.delete("/{name}", status_code=204, response_class=Response, responses=answers())
def delete_event_type(context: Context, environment: Caller, name: str) -> None:
    """Forget what was said of a type. Events of it are still taken, unchecked."""
    if not is_event_type(name) or not context.publisher.types.delete(environment, name):
        raise _not_found(name)


def _not_found(name: str) -> RequestError:
    return RequestError(404, "entity_not_found", f"Event type not found: '{name[:80]}'.")


def _listed(name: str, described: OwnEventType | None) -> dict[str, Any]:
    known: EventType | None = CATALOGUE.get(name)
    has_own_sample = described is not None and described.sample is not None
    return {
        "name": name,
        "origin": "own" if known is None else "catalogue",
        "subscribable": known is not None and known.subscribable,
        "resource": None if known is None else known.object,
        "description": None if described is None else described.description,
        "mode": "off" if described is None else described.mode,
        "has_schema": described is not None and described.schema is not None,
        "has_sample": has_own_sample or name in _SAMPLED,
    }


def _shown(name: str, described: OwnEventType | None, subscribers: int) -> dict[str, Any]:
    shown_sample = sample(name) if name in _SAMPLED else None
    if described is not None and described.sample is not None:
        shown_sample = json.loads(described.sample)
    return _listed(name, described) | {
        "schema": None if described is None or described.schema is None else json.loads(described.schema),
        "sample": shown_sample,
        "subscribers": subscribers,
        "created_at": None if described is None else time_text(described.created_ms),
        "updated_at": None if described is None else time_text(described.updated_ms),
    }


_SAMPLED = frozenset(sampled_types())
