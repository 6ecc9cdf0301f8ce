"""What both dialects of the API share: the parts they call, who is asking, pages and times."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, TypeAlias

from fastapi import Depends, Header, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from hookline.errors import RequestError
from hookline.sender.idempotency import IdempotencyKey, check_key
from hookline.sender.model import Environment
from hookline.sender.queries import Order, PageRequest
from hookline.wire.timestamps import format_ms, parse_us

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.rules.schedule import Schedule
    from hookline.sender.api_limit import CallLimit
    from hookline.sender.directories import Directories
    from hookline.sender.directory_lists import DirectoryLists
    from hookline.sender.ids import IdMaker
    from hookline.sender.keys import ApiKeys, KeyRing
    from hookline.sender.listeners import Listeners
    from hookline.sender.publish import Publisher
    from hookline.sender.registry import Registry
    from hookline.sender.replays import Replays
    from hookline.sender.secrets import SecretBox
    from hookline.sender.store import SenderStore
    from hookline.sender.trials import Trials
    from hookline.storage import Database

Dialect: TypeAlias = Literal["endpoints", "events", "directories", "directory_users", "own"]
UserGroups: TypeAlias = Literal["empty", "filled"]

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
# For text that a database is asked for: PostgreSQL's has no NUL, and refuses a statement with one.
NO_NUL: Final = r"^[^\x00]*$"
# Older resources of WorkOS, whose errors are a message alone.
_DIRECTORY_PATHS: Final = ("/organizations", "/directories", "/directory_users", "/directory_groups")
_KEYED_PATHS: Final = ("/api/v1", "/webhook_endpoints", "/events", *_DIRECTORY_PATHS)


@dataclass(frozen=True, slots=True)
class CallContext:
    """The parts that calls reach. `egress` is the document of where deliveries come from, None unpublished.

    `user_groups`: whether directory users are shown with their groups. `users_limit`: how often each directory's users
    may be listed, None unlimited.
    """

    database: Database
    store: SenderStore
    registry: Registry
    publisher: Publisher
    keys: KeyRing
    clock: Clock
    ids: IdMaker
    box: SecretBox
    api_keys: ApiKeys
    schedules: Mapping[str, Schedule]
    replays: Replays
    trials: Trials
    directories: Directories
    lists: DirectoryLists
    listeners: Listeners
    egress: bytes | None = None
    user_groups: UserGroups = "empty"
    users_limit: CallLimit | None = None


class Digest(Protocol):
    """The part of a `hashlib` object used here."""

    def hexdigest(self) -> str: ...


class ListMetadata(BaseModel):
    """Cursors: ids to pass as `before` and `after`; null where nothing is left that way."""

    before: str | None
    after: str | None


class Event(BaseModel):
    """An event as it is sent and listed, byte for byte the same everywhere."""

    object: Literal["event"]
    id: str
    event: str
    data: dict[str, Any]
    created_at: str
    context: dict[str, Any] | None = None


class FieldProblem(BaseModel):
    """One thing that is wrong with a request: where, by its field, and what."""

    code: str
    field: str | None = None
    message: str


class Problem(BaseModel):
    """Why a request is refused (RFC 9457): `code` is the word for machines, `instance` the request's id."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str | None = None
    errors: list[FieldProblem] | None = None


class TooManyCalls(RequestError):
    """429: what was called may not be called so often."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(429, "rate_limited", f"Too many requests: wait {wait_s} s.")
        self.wait_s = wait_s


def is_keyed(path: str) -> bool:
    """Whether a path takes an API key."""
    return _is_under(path, _KEYED_PATHS)


def dialect_of(path: str) -> Dialect:
    """In which dialect a path's errors are: those that official SDKs call have their own, all else is ours."""
    if path == "/events" or path.startswith("/events/"):
        return "events"
    if path == "/directory_users":
        return "directory_users"
    if _is_under(path, _DIRECTORY_PATHS):
        return "directories"
    return "endpoints" if path.startswith("/webhook_endpoints") else "own"


def _is_under(path: str, prefixes: tuple[str, ...]) -> bool:
    return path.startswith(tuple(f"{prefix}/" for prefix in prefixes)) or path in prefixes


async def context_of(request: Request) -> CallContext:
    """What a call reaches, put into its scope by the shell: the routes are the process's, not one sender's."""
    context: CallContext = request.scope["hookline.context"]
    return context


async def environment_of(request: Request) -> Environment:
    """The environment of the key this request came with; the shell has checked it."""
    environment: Environment = request.scope["hookline.environment"]
    return environment


async def actor_of(request: Request) -> str:
    """What the audit trail calls whose key this request came with."""
    actor: str = request.scope["hookline.actor"]
    return actor


async def page_request(
    limit: Annotated[int, Query(ge=1, le=100, description="How many, 1 to 100.")] = 10,
    before: Annotated[str | None, Query(description="An id: what lies before it.")] = None,
    after: Annotated[str | None, Query(description="An id: what lies after it.")] = None,
    order: Annotated[
        Order,
        Query(
            description="`desc` newest first, `asc` oldest first; `normal` shows newest first and turns the "
            "cursors round: `before` leads to older items."
        ),
    ] = "desc",
) -> PageRequest:
    """The paging parameters of a list."""
    if before is not None and after is not None:
        raise conflicting("before", "after")
    return PageRequest(limit, before, after, order)


def conflicting(one: str, other: str) -> RequestError:
    """422: two parameters that exclude each other."""
    message = f"expected {one} or {other}, got both"
    return RequestError(
        422,
        "invalid_request_parameters",
        message,
        [{"code": "conflicting_parameters", "field": one, "message": message}],
    )


def idempotency_key(value: bytes | str | None, operation: str, body_hash: Digest) -> IdempotencyKey | None:
    """The call's `Idempotency-Key`, or None. RequestError 422 for one that is no 1 to 255 visible characters."""
    if value is None:
        return None
    text = check_key(value.decode("latin-1") if isinstance(value, bytes) else value, "Idempotency-Key")
    return IdempotencyKey(text, operation, body_hash.hexdigest())


async def action_key(
    request: Request,
    key: Annotated[
        str | None,
        Header(alias=IDEMPOTENCY_HEADER, description="A repeat with the same body changes nothing more."),
    ] = None,
) -> IdempotencyKey | None:
    """The idempotency key of a POST: it stands for the method, the path and the bytes of the body."""
    return idempotency_key(key, f"{request.method} {request.url.path}", hashlib.sha256(await request.body()))


def time_text(time_ms: int | None) -> str | None:
    """A time as people read it, or None."""
    return None if time_ms is None else format_ms(time_ms * 1000)


def time_ms(field: str, text: str | None) -> int | None:
    """Milliseconds of an RFC 3339 time or a date; RequestError 422 for what is neither."""
    if text is None:
        return None
    try:
        return parse_us(text) // 1000
    except ValueError:
        message = f"{field}: expected an RFC 3339 time such as 2026-01-31T12:00:00.000Z"
        raise RequestError(
            422,
            "invalid_request_parameters",
            message,
            [{"code": "invalid", "field": field, "message": message}],
        ) from None


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of an operation that not every one has, for the API's description.

    What every operation may answer (401, 429, 503, …), and the body each dialect gives them, api_description.py adds.
    """
    return {status: {} for status in statuses}


def listed(data: Sequence[Any], *, before: str | None, after: str | None) -> dict[str, Any]:
    """The list envelope."""
    return {"object": "list", "data": list(data), "list_metadata": {"before": before, "after": after}}


def named_values(parameters: Sequence[tuple[str, str]], name: str) -> list[str]:
    """The values of a list in a query, each once, in any of the four encodings that official SDKs use.

    `name=a,b`, the parameter repeated, `name[]=a` and `name[0]=a` all occur.
    """
    pattern = re.compile(rf"{name}(?:\[[0-9]{{0,3}}\])?")
    values = [value.strip() for key, text in parameters if pattern.fullmatch(key) for value in text.split(",")]
    return [value for value in dict.fromkeys(values) if value]


def whole_number(value: object) -> object:
    """Before a strict integer: as JSON Schema means it 60.0 is one, "60" and true are none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Context = Annotated[CallContext, Depends(context_of)]
Caller = Annotated[Environment, Depends(environment_of)]
Actor = Annotated[str, Depends(actor_of)]
Paging = Annotated[PageRequest, Depends(page_request)]
Action = Annotated[IdempotencyKey | None, Depends(action_key)]

# For the description alone: the shell has refused everybody without a key before a route runs.
BEARER = Depends(HTTPBearer(auto_error=False, description="An API key: sk_live_… or sk_test_…"))
