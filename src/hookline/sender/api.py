"""The sender's HTTP API as one ASGI callable: who is asking, how big, which request, and what an error looks like.

Publishing is answered here, without a framework in between: it is the hot path. Everything else is FastAPI
(api_workos.py and api_own.py). Error bodies follow the dialect of their resource.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from hookline.errors import NotCanonical, OutcomeUnknown, RequestError, StorageError
from hookline.sender import api_own, api_workos
from hookline.sender.api_parts import CallContext, environment_of, idempotency_key
from hookline.sender.counters import Counters
from hookline.sender.publish import EventDraft, Publication, draft_batch, draft_event
from hookline.storage.outage import Outage
from hookline.wire.canonical import loads_strict
from hookline.wire.traceparent import parse_traceparent

if TYPE_CHECKING:
    from hookline.sender.idempotency import IdempotencyKey
    from hookline.sender.model import Environment

log = logging.getLogger("hookline.sender")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Dialect: TypeAlias = Literal["endpoints", "events", "own"]

# A batch of a thousand ordinary events is about 1 MB.
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
# Above this a body is decoded in a thread, so that other calls are not kept waiting.
_DECODE_INLINE_BYTES: Final = 64 * 1024
# So many of those are under way at once: a commit is shared by calls, and a call may bring a thousand events.
_LARGE_AT_ONCE: Final = 4
_PUBLISH_PATH: Final = "/api/v1/events"
_KEYED_PATHS: Final = ("/api/v1", "/webhook_endpoints", "/events")
_OPEN_PATHS: Final = frozenset({"/openapi.json", "/healthz", "/readyz"})


def is_sender_path(path: str) -> bool:
    """Whether the sender's API answers this path: for a process that serves more than the sender."""
    return path in _OPEN_PATHS or _is_keyed(path)


class SenderApi:
    """The API. Knows the parts it calls and owns none of them.

    Args:
        context: store, registry, publisher, keys and clock.
        problems: what keeps this process from serving; asked by `/readyz`, may read the database.
        counters: what is counted here.
    """

    def __init__(
        self, context: CallContext, *, problems: Callable[[], Sequence[str]], counters: Counters | None = None
    ) -> None:
        self._context = context
        self._counters = counters if counters is not None else Counters()
        self._outage = Outage(
            log,
            during="the database is away, answering 503 until it works again",
            after="storing again",
            now_ms=context.clock.now_ms,
        )
        self._app = _framework_app(context, problems, self._outage)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    @property
    def openapi(self) -> dict[str, Any]:
        """The description of the API."""
        return self._app.openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope["hookline.request_id"] = self._context.ids.make("req", self._context.clock.now_ms())
        call = _Call(scope, receive, send)
        try:
            await self._answer(call)
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

    def _count(self, call: _Call) -> None:
        if _is_keyed(call.path):
            kind = "publish" if call.path == _PUBLISH_PATH else _dialect(call.path)
            self._counters.requests[kind, f"{call.status // 100}xx" if call.status else "gone"] += 1

    async def _answer(self, call: _Call) -> None:
        scope = call.scope
        if _is_keyed(call.path):
            scope["hookline.environment"] = await self._authenticate(call)
        if call.path == _PUBLISH_PATH:
            if scope["method"] == "POST":
                await self._publish(call)
            else:
                await call.answer_error(RequestError(405, None, "Method Not Allowed"), [(b"allow", b"POST")])
            return
        if scope["method"] == "HEAD":
            scope = call.scope = {**scope, "method": "GET"}
        # Read whole here: the framework would answer 400 to a body that is too large.
        await self._app(scope, call.replayed(await call.body()), call.tagged_send)

    async def _authenticate(self, call: _Call) -> Environment:
        scheme, _, key = call.header(b"authorization").decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and (key := key.strip()):
            keys = self._context.keys
            environment = keys.known(key) or await asyncio.to_thread(keys.find, key)
            if environment is not None:
                return environment
        raise RequestError(401, None, "Unauthorized")

    async def _publish(self, call: _Call) -> None:
        body = await call.body()
        used = idempotency_key(call.optional_header(b"idempotency-key"), f"POST {_PUBLISH_PATH}", hashlib.sha256(body))
        if len(body) <= _DECODE_INLINE_BYTES:
            status, answer = await self._publish_body(call, _decode(body), used)
        else:
            async with self._large:
                status, answer = await self._publish_body(call, await asyncio.to_thread(_decode, body), used)
        await call.answer(status, answer)

    async def _publish_body(self, call: _Call, decoded: _Decoded, used: IdempotencyKey | None) -> tuple[int, bytes]:
        traceparent = parse_traceparent(call.single_text(b"traceparent"))
        published = await self._context.publisher.publish(
            Publication(call.scope["hookline.environment"], decoded.drafts, used, traceparent)
        )
        if decoded.is_batch:
            return 201, json.dumps({"data": [{"id": item.id} for item in published]}).encode()
        if published[0].body is None:
            raise RequestError(
                410, "event_pruned", f"{published[0].id} was published with this key and is past its retention"
            )
        return 201, published[0].body


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

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        await self.tagged_send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                    *headers,
                ],
            }
        )
        await self.tagged_send({"type": "http.response.body", "body": body})

    async def answer_error(self, error: RequestError, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        body = json.dumps(error_body(error, _dialect(self.path))).encode()
        if error.status == 503:
            headers = [*headers, (b"retry-after", b"1")]
        await self.answer(error.status, body, headers)


def error_body(error: RequestError, dialect: Dialect) -> dict[str, Any]:
    """An error as the resource's clients expect it (reference: the API's error dialects).

    `endpoints` and `own` say code, message and errors; `events` is an older resource: a message, and errors that
    name a field.
    """
    if dialect == "events":
        if error.errors is None:
            return {"message": error.message}
        errors = [{"code": item["code"], "field": item.get("field", "")} for item in error.errors]
        return {"message": "Validation failed.", "errors": errors}
    body: dict[str, Any] = {"message": error.message}
    if error.code is not None:
        body = {"code": error.code, **body}
    if error.errors is not None:
        kept = ("code", "message") if dialect == "endpoints" else ("code", "field", "message")
        body["errors"] = [{name: item[name] for name in kept if name in item} for item in error.errors]
    return body


def _framework_app(context: CallContext, problems: Callable[[], Sequence[str]], outage: Outage) -> FastAPI:
    app = FastAPI(
        title="Hookline",
        summary="The sender: endpoints, events, deliveries.",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,  # both pages load their scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
    )
    app.include_router(api_workos.router(context))
    app.include_router(api_own.router(context))

    @app.get("/healthz", tags=["process"])
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["process"])
    def readyz() -> Response:
        """The process can do its work: 200, or 503 with what keeps it."""
        found = list(problems())
        if found:
            return JSONResponse({"status": "not_ready", "problems": found}, 503)
        return JSONResponse({"status": "ready"})

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _error_response(request, _from_validation(error))

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> Response:
        return _error_response(request, error)

    @app.exception_handler(StorageError)
    @app.exception_handler(Exception)
    async def trouble(request: Request, error: Exception) -> Response:
        answer = _from_trouble(error, request.scope, outage)
        response = _error_response(request, answer)
        if answer.status == 503:
            response.headers["Retry-After"] = "1"
        return response

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed_methods(app, request.url.path))
        code = {400: "malformed_json"}.get(error.status_code)
        response = _error_response(request, RequestError(error.status_code, code, str(error.detail)))
        response.headers.update(headers)
        return response

    described = app.openapi

    def describe() -> dict[str, Any]:
        # Publishing is no route of the framework's; the document is made once, when somebody asks.
        document = described()
        document["paths"].setdefault(_PUBLISH_PATH, {"post": api_own.PUBLISH_OPERATION})
        return document

    app.openapi = describe  # type: ignore[method-assign]
    return app


def _error_response(request: Request, error: RequestError) -> Response:
    return JSONResponse(error_body(error, _dialect(request.url.path)), error.status)


def _allowed_methods(app: FastAPI, path: str) -> list[str]:
    methods: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].fullmatch(path):
            methods |= {method.upper() for method in operations}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


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


def _is_keyed(path: str) -> bool:
    return path.startswith(tuple(f"{prefix}/" for prefix in _KEYED_PATHS)) or path in _KEYED_PATHS


def _dialect(path: str) -> Dialect:
    if path.startswith("/api/"):
        return "own"
    return "events" if path.startswith("/events") else "endpoints"


__all__ = ["CallContext", "SenderApi", "environment_of", "error_body", "is_sender_path"]
