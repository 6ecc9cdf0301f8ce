"""The sender's HTTP API as one ASGI callable: who is asking, how big, which request, and what an error looks like.

Publishing is answered here, without a framework in between: it is the hot path. Everything else is FastAPI
(api_workos.py and api_own.py). Error bodies follow the dialect of their resource.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from hookline.errors import NotCanonical, OutcomeUnknown, RequestError, StorageError
from hookline.sender import (
    api_directories,
    api_endpoints,
    api_event_types,
    api_explain,
    api_keys,
    api_listeners,
    api_own,
    api_replays,
    api_trials,
    api_workos,
    api_workos_directories,
)
from hookline.sender.api_description import complete, problem_body
from hookline.sender.api_limit import CallLimit
from hookline.sender.api_parts import (
    CallContext,
    Context,
    Dialect,
    TooManyCalls,
    answers,
    dialect_of,
    idempotency_key,
    is_keyed,
)
from hookline.sender.counters import Counters
from hookline.sender.drafts import EventDraft, draft_batch, draft_event
from hookline.sender.event_writer import Publication, Published
from hookline.storage.outage import Outage
from hookline.wire.canonical import loads_strict
from hookline.wire.traceparent import parse_traceparent

if TYPE_CHECKING:
    from hookline.sender.idempotency import IdempotencyKey
    from hookline.sender.keys import KeyHolder

log = logging.getLogger("hookline.sender")
# A line per call, at debug: without its query, which may hold what a client should not have put there.
access = logging.getLogger("hookline.access")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# A batch of a thousand ordinary events is about 1 MB.
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
# Above this a body is decoded in a thread, so that other calls are not kept waiting.
_DECODE_INLINE_BYTES: Final = 64 * 1024
# So many of those are under way at once: a commit is shared by calls, and a call may bring a thousand events.
_LARGE_AT_ONCE: Final = 4
_PUBLISH_PATH: Final = "/api/v1/events"
_EGRESS_PATH: Final = "/.well-known/hookline-egress.json"
# Lists are changed with days of notice: an hour in a cache loses none.
_EGRESS_CACHE: Final = "public, max-age=3600"
_SILENT: Final[Any] = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
_OPEN_PATHS: Final = frozenset({"/openapi.json", "/healthz", "/readyz", _EGRESS_PATH})


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Whether the process can do its work, and what keeps it."""

    status: Literal["ready", "not_ready"]
    problems: list[str] | None = None


class EgressDocument(BaseModel):
    """Where deliveries come from, and the headers they are known by."""

    version: int
    provider: str
    updated: str
    addresses: list[str]
    headers: dict[str, str]


def is_sender_path(path: str) -> bool:
    """Whether the sender's API answers this path: for a process that serves more than the sender."""
    return path in _OPEN_PATHS or is_keyed(path)


class SenderApi:
    """The API. Knows the parts it calls and owns none of them.

    Args:
        context: store, registry, publisher, keys and clock.
        problems: what keeps this process from serving; asked by `/readyz`, may read the database.
        calls_per_s: how often each key may call this process; None is unlimited.
        counters: what is counted here.
    """

    def __init__(
        self,
        context: CallContext,
        *,
        problems: Callable[[], Sequence[str]],
        calls_per_s: float | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._context = context
        self._counters = counters if counters is not None else Counters()
        self._limit = None if calls_per_s is None else CallLimit(calls_per_s)
        self._writing_uses: asyncio.Task[None] | None = None
        self._outage = Outage(
            log,
            during="the database is away, answering 503 until it works again",
            after="storing again",
            now_ms=context.clock.now_ms,
        )
        self._problems = problems
        self._app = _framework_app()
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    @property
    def openapi(self) -> dict[str, Any]:
        """The description of the API."""
        return self._app.openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, holder: KeyHolder | None = None) -> None:
        """Answer a request: of `holder`, who is in this process, or else of whoever has the key it came with."""
        if scope["type"] != "http":
            return
        scope["hookline.context"], scope["hookline.outage"] = self._context, self._outage
        scope["hookline.problems"] = self._problems
        scope["hookline.request_id"] = self._context.ids.make("req", self._context.clock.now_ms())
        began_s = time.perf_counter()
        call = _Call(scope, receive, send)
        try:
            await self._answer(call, holder)
            # A read that succeeds says nothing: a locked database can be read.
            if call.status < 400 and scope["method"] not in {"GET", "HEAD"}:
                self._outage.is_over()
        except _ClientGone:
            return
        except RequestError as error:
            await call.answer_error(error)
        except Exception as error:
            # The framework answers and logs an error through its handler, and then raises it once more.
            if not call.status:
                await call.answer_error(_from_trouble(error, scope, self._outage))
        finally:
            self._count(call)
            if access.isEnabledFor(logging.DEBUG):
                _log_call(call, time.perf_counter() - began_s)

    def _count(self, call: _Call) -> None:
        if is_keyed(call.path):
            kind = "publish" if call.path == _PUBLISH_PATH else dialect_of(call.path)
            self._counters.requests[kind, f"{call.status // 100}xx" if call.status else "gone"] += 1

    async def _answer(self, call: _Call, holder: KeyHolder | None) -> None:
        scope = call.scope
        if is_keyed(call.path):
            if holder is None:
                holder = await self.authenticate(call.header(b"authorization"))
                self.refuse_too_many(holder)
            scope["hookline.environment"], scope["hookline.actor"] = holder.environment, holder.actor
        if scope["method"] == "OPTIONS":
            await self._answer_options(call)
            return
        if call.path == _PUBLISH_PATH and scope["method"] == "POST":
            await self._publish(call)
            return
        if scope["method"] == "HEAD":
            scope = call.scope = {**scope, "method": "GET"}
        self._refuse_nul(call)
        # Read whole here: the framework would answer 400 to a body that is too large.
        await self._app(scope, call.replayed(await call.body()), call.tagged_send)

    def _refuse_nul(self, call: _Call) -> None:
        """Nothing has an id with NUL in it, and no list such a filter: PostgreSQL could not even look for them."""
        if "\0" in call.path and call.scope["method"] in _allowed_methods(self._app, call.path):
            raise RequestError(404, "entity_not_found", "Not found: no id has NUL in it.")
        query = call.scope["query_string"]
        if b"%00" in query or b"\0" in query:
            given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
            raise RequestError(
                422,
                "invalid_request_parameters",
                "The request parameters are invalid.",
                [
                    {"code": "invalid", "field": name, "message": f"{name}: expected text without NUL"}
                    for name in dict.fromkeys(name.replace("\0", "") for name, value in given if "\0" in name + value)
                ],
            )

    async def authenticate(self, authorization: bytes) -> KeyHolder:
        """Whose key an `Authorization` header names. RequestError 401 where it names no valid one."""
        scheme, _, key = authorization.decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and (key := key.strip()):
            keys = self._context.keys
            holder = keys.known(key) or await asyncio.to_thread(keys.find, key)
            if holder is not None:
                if keys.has_uses_to_write() and (self._writing_uses is None or self._writing_uses.done()):
                    # Beside the call, which does not wait for it; a reference keeps the task alive.
                    self._writing_uses = asyncio.create_task(asyncio.to_thread(keys.write_uses))
                return holder
        raise RequestError(401, None, "Unauthorized")

    def refuse_too_many(self, holder: KeyHolder) -> None:
        """Count a call. TooManyCalls (429) where the key may not call so often."""
        if self._limit is None:
            return
        wait_ms = self._limit.wait_ms(holder.key_hash, self._context.clock.now_ms())
        if wait_ms:
            raise TooManyCalls(max(1, math.ceil(wait_ms / 1000)))

    def refusal(self, error: RequestError) -> Response:
        """The answer to a request that was refused beside the API, with an id of its own."""
        return error_response(error, "own", self._context.ids.make("req", self._context.clock.now_ms()))

    async def _answer_options(self, call: _Call) -> None:
        allowed = _allowed_methods(self._app, call.path)
        if not allowed:
            raise RequestError(404, None, "Not Found")
        await call.answer(204, b"", [(b"allow", ", ".join(allowed).encode())])

    async def _publish(self, call: _Call) -> None:
        body = await call.body()
        used = idempotency_key(call.optional_header(b"idempotency-key"), f"POST {_PUBLISH_PATH}", hashlib.sha256(body))
        if len(body) <= _DECODE_INLINE_BYTES:
            answer, headers = await self._publish_body(call, _decode(body), used)
        else:
            async with self._large:
                answer, headers = await self._publish_body(call, await asyncio.to_thread(_decode, body), used)
        await call.answer(201, answer, headers)

    async def _publish_body(
        self, call: _Call, decoded: _Decoded, used: IdempotencyKey | None
    ) -> tuple[bytes, Sequence[tuple[bytes, bytes]]]:
        traceparent = parse_traceparent(call.single_text(b"traceparent"))
        published = await self._context.publisher.publish(
            Publication(call.scope["hookline.environment"], decoded.drafts, used, traceparent)
        )
        headers = _warning_headers(published)
        if decoded.is_batch:
            answer: dict[str, Any] = {"data": [{"id": item.id} for item in published]}
            if headers:
                answer["warnings"] = [
                    {"field": item.warning.field, "message": item.warning.message} for item in published if item.warning
                ]
            return json.dumps(answer).encode(), headers
        if published[0].body is None:
            raise RequestError(
                410, "event_pruned", f"{published[0].id} was published with this key and is past its retention"
            )
        return published[0].body, headers


def _warning_headers(published: Sequence[Published]) -> list[tuple[bytes, bytes]]:
    for item in published:
        if item.warning is not None:
            text = f"{item.warning.field}: {item.warning.message}"
            return [(b"hookline-warning", "".join(filter(str.isprintable, text)).encode("ascii", "backslashreplace"))]
    return []


@dataclass(frozen=True, slots=True)
class _Decoded:
    drafts: tuple[EventDraft, ...]
    is_batch: bool


def _decode(body: bytes) -> _Decoded:
    try:
        value = loads_strict(body)
    except NotCanonical as error:
        if not error.path:
            raise RequestError(400, "malformed_json", f"The request body is not JSON: {error}") from None
        message = str(error).removeprefix(f"{error.path}: ")
        raise RequestError(
            422,
            "invalid_event",
            str(error),
            [{"code": "invalid_event", "field": error.path, "message": message}],
        ) from None
    if not isinstance(value, dict) or "events" not in value:
        return _Decoded((draft_event(value),), is_batch=False)
    if len(value) > 1:
        raise RequestError(422, "invalid_event", "expected `events` alone: each event of a batch has its own members")
    return _Decoded(draft_batch(value["events"]), is_batch=True)


def _log_call(call: _Call, took_s: float) -> None:
    scope = call.scope
    access.debug(
        "%s %a: %d",
        scope["method"],
        call.path,
        call.status,
        extra={
            "request_id": scope["hookline.request_id"],
            "environment": scope.get("hookline.environment"),
            "actor": scope.get("hookline.actor"),
            "status": call.status,
            "duration_ms": round(took_s * 1000, 1),
        },
    )


class _ClientGone(Exception):
    """The client went away before its request was whole."""


class _Call:
    """One request: its headers, its body within bounds, and its one answer with the request's id."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.path: str = scope["path"]
        self.status = 0  # of the answer; 0 before there is one
        self._is_head = scope["method"] == "HEAD"
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> bytes:
        return self.optional_header(name) or b""

    def optional_header(self, name: bytes) -> bytes | None:
        for key, value in self.scope["headers"]:
            if key == name:
                found: bytes = value
                return found
        return None

    def single_text(self, name: bytes) -> str | None:
        """A header that counts only where it comes once."""
        found = [value for key, value in self.scope["headers"] if key == name]
        return found[0].decode("latin-1") if len(found) == 1 else None

    async def body(self) -> bytes:
        """The whole body. RequestError 413 where it is longer than MAX_BODY_BYTES."""
        declared = self.header(b"content-length")
        if declared.isdigit() and (len(declared) > 12 or int(declared) > MAX_BODY_BYTES):
            raise _too_large()
        parts: list[bytes] = []
        received = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            parts.append(message.get("body", b""))
            received += len(parts[-1])
            if received > MAX_BODY_BYTES:
                raise _too_large()
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def replayed(self, body: bytes) -> Receive:
        """For whoever comes after `body()`: the same body once more."""
        unread = [body]

        async def receive() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            return await self._receive()

        return receive

    async def tagged_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {
                **message,
                "headers": [*message.get("headers", ()), (b"x-request-id", self.scope["hookline.request_id"].encode())],
            }
        elif self._is_head:
            message = {**message, "body": b""}
        await self._send(message)

    async def answer(
        self,
        status: int,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        media_type: bytes = b"application/json",
    ) -> None:
        described = [] if status == 204 else [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        await self.tagged_send({"type": "http.response.start", "status": status, "headers": [*described, *headers]})
        await self.tagged_send({"type": "http.response.body", "body": body})

    async def answer_error(self, error: RequestError) -> None:
        dialect = dialect_of(self.path)
        body = error_body(error, dialect, self.scope["hookline.request_id"])
        headers = [(name.lower().encode(), value.encode()) for name, value in _error_headers(error).items()]
        media_type = _media_type(dialect).encode()
        content = json.dumps(body, separators=(",", ":")).encode()
        await self.answer(error.status, content, headers, media_type=media_type)


def error_body(error: RequestError, dialect: Dialect, request_id: str) -> Any:
    """An error as the resource's clients expect it (reference: the API's error dialects).

    `own` is problem details (RFC 9457). `endpoints` says code and message, and for bad parameters which; `events` is
    an older resource: a message, and errors that name a field. Neither has a code for 401 and 429. `directories` are
    older still, a message alone; and where users are listed too often, the answer is a word.
    """
    if dialect == "directory_users" and error.status == 429:
        return "Ratelimited"
    if dialect in ("directories", "directory_users"):
        return {"message": "; ".join(item["message"] for item in error.errors) if error.errors else error.message}
    if dialect == "own":
        return problem_body(error.status, error.code, error.message, error.errors, request_id)
    if dialect == "events":
        if error.errors is None:
            return {"message": error.message}
        errors = [{"code": item["code"], "field": item.get("field", "")} for item in error.errors]
        return {"message": "Validation failed.", "errors": errors}
    body: dict[str, Any] = {"message": error.message}
    if error.code is not None and error.status != 429:
        body = {"code": error.code, **body}
    if error.errors is not None and error.code not in _TOLD_BY_CODE:
        body["errors"] = [{name: item[name] for name in ("code", "message")} for item in error.errors]
    return body


# Of these the protocol gives code and message alone: there is one field they can be about.
_TOLD_BY_CODE: Final = frozenset({"invalid_url", "duplicate_endpoint"})


def _media_type(dialect: Dialect) -> str:
    return "application/problem+json" if dialect == "own" else "application/json"


def _error_headers(error: RequestError) -> dict[str, str]:
    if isinstance(error, TooManyCalls):
        return {"Retry-After": str(error.wait_s)}
    if error.status == 503:
        return {"Retry-After": "1"}
    return {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}


_process = APIRouter(tags=["process"])


@_process.get("/healthz", response_model=Health)
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@_process.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Not ready, and why."}},
)
def readyz(request: Request) -> Response:
    """The process can do its work: 200, or 503 with what keeps it."""
    found = list(request.scope["hookline.problems"]())
    if found:
        return JSONResponse({"status": "not_ready", "problems": found}, 503)
    return JSONResponse({"status": "ready"})


@_process.get(_EGRESS_PATH, response_model=EgressDocument, responses=answers(404))
async def egress_addresses(context: Context) -> Response:
    """Where deliveries come from, for consumers' lists of allowed addresses."""
    if context.egress is None:
        raise RequestError(
            404,
            "not_published",
            "This server does not publish where its deliveries come from (HOOKLINE_EGRESS_IPS).",
        )
    return Response(context.egress, media_type="application/json", headers={"Cache-Control": _EGRESS_CACHE})


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _error_response(request, _from_validation(error))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error_response(request, error)


async def _trouble(request: Request, error: Exception) -> Response:
    return _error_response(request, _from_trouble(error, request.scope, request.scope["hookline.outage"]))


async def _framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, allowed = error.status_code, _allowed_methods(request.app, request.url.path)
    if status == 404 and allowed:
        status = 405  # publishing is no route of the framework's
    message = str(error.detail) if status == error.status_code else "Method Not Allowed"
    response = _error_response(request, RequestError(status, {400: "malformed_json"}.get(status), message))
    response.headers.update(error.headers or {})
    if status == 405:
        response.headers["Allow"] = ", ".join(allowed)
    return response


_OWN: Final = (
    api_endpoints,
    api_keys,
    api_own,
    api_replays,
    api_event_types,
    api_trials,
    api_explain,
    api_directories,
    api_listeners,
)


@functools.cache
def _framework_app() -> FastAPI:
    """What FastAPI answers: the same in every sender of a process, since making it takes a tenth of a second."""
    app = FastAPI(
        title="Hookline",
        summary="The sender: endpoints, events, deliveries.",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,  # both pages load their scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        generate_unique_id_function=_operation_id,
        # By itself it tells OpenTelemetry of queries and of exceptions with their messages: see hookline/tracing.py.
        telemetry=_SILENT,
    )
    app.include_router(api_workos.routes)
    app.include_router(api_workos_directories.routes)
    for part in _OWN:
        app.include_router(part.routes, dependencies=[Depends(_refuse_unknown)])
    app.include_router(_process)
    for error, answered in (
        (RequestValidationError, _invalid),
        (RequestError, _refused),
        (StorageError, _trouble),
        (Exception, _trouble),
        (HTTPException, _framework_error),
    ):
        app.add_exception_handler(error, answered)

    described = app.openapi

    def describe() -> dict[str, Any]:
        # The document is made once, when somebody asks.
        document = described()
        if _PUBLISH_PATH not in document["paths"] or "post" not in document["paths"][_PUBLISH_PATH]:
            complete(document, api_own.PUBLISH_OPERATION, path=_PUBLISH_PATH)
        return document

    app.openapi = describe  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    # Names of generated clients: they stay as long as the function's name does.
    return route.name


def _error_response(request: Request, error: RequestError) -> Response:
    return error_response(error, dialect_of(request.url.path), request.scope["hookline.request_id"])


def error_response(error: RequestError, dialect: Dialect, request_id: str) -> Response:
    """The answer that a refusal is."""
    body = error_body(error, dialect, request_id)
    return JSONResponse(body, error.status, _error_headers(error), _media_type(dialect))


def _allowed_methods(app: FastAPI, path: str) -> list[str]:
    methods: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].fullmatch(path):
            methods |= {method.upper() for method in operations}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


async def _refuse_unknown(request: Request) -> None:
    """A misspelt filter would be none, and its list everything. What WorkOS's clients send beside is passed over."""
    operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = sorted(item["name"] for item in operation.get("parameters", ()) if item["in"] == "query")
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        raise RequestError(
            422,
            "invalid_request_parameters",
            "The request parameters are invalid.",
            [
                {
                    "code": "unknown",
                    "field": name[:80],
                    "message": f"{name[:80]}: unknown parameter; known are {', '.join(known) or 'none'}",
                }
                for name in unknown[:20]
            ],
        )


def _from_validation(error: RequestValidationError) -> RequestError:
    """What the framework found wrong, as ours. The values themselves stay out of the answer."""
    errors: list[dict[str, str]] = []
    for found in error.errors():
        if found["type"] == "json_invalid":
            return RequestError(400, "malformed_json", f"The request body is not JSON: {found['ctx']['error']}")
        field = _field(found["loc"])
        code = "required" if found["type"] == "missing" else "invalid"
        # What the framework got instead of an object is often text: it decodes what is declared to be JSON alone.
        is_no_object = found["type"] == "model_attributes_type" and field == "body"
        message = "expected an object, sent as Content-Type: application/json" if is_no_object else found["msg"]
        errors.append({"code": code, "field": field, "message": f"{field}: {message}"})
    return RequestError(422, "invalid_request_parameters", "The request parameters are invalid.", list(errors))


def _field(location: Sequence[Any]) -> str:
    text = ""
    for step in location[1:]:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "body"


def _from_trouble(error: Exception, scope: Scope, outage: Outage) -> RequestError:
    """Our own trouble as an answer, and a line in the log: one per outage of the database, else one each."""
    where = f"{scope['method']} {scope['path']!a} ({scope['hookline.request_id']})"
    if isinstance(error, OutcomeUnknown):
        outage.failed(error, where)
        return RequestError(
            503,
            "outcome_unknown",
            "It is unknown whether this was stored: repeat the request with the same Idempotency-Key.",
        )
    if isinstance(error, StorageError):
        outage.failed(error, where)
        return RequestError(503, "storage_unavailable", "Nothing was stored: repeat the request.")
    log.error("%s: an unexpected error", where, exc_info=error)
    return RequestError(500, "internal_error", "An unexpected error; the server's log has it by its request id.")


def _too_large() -> RequestError:
    return RequestError(413, "body_too_large", f"The request body is larger than {MAX_BODY_BYTES} bytes.")
