"""The description of the API (OpenAPI 3.1), made whole: what the framework cannot know of our answers.

Publishing is answered ahead of the framework; errors are made in one place for every route, in the dialect of its
resource; every answer has its request's id. The document is the same for the same code: it is kept in
docs/openapi.json, and clients are generated from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel

from hookline.sender.api_parts import (
    IDEMPOTENCY_HEADER,
    Dialect,
    Problem,
    dialect_of,
    is_keyed,
)
from hookline.sender.idempotency import MAX_IDEMPOTENCY_KEY

_METHODS: Final = frozenset({"get", "post", "patch", "put", "delete"})
_REF: Final = "#/components/schemas/"
_FRAMEWORKS: Final = ("HTTPValidationError", "ValidationError")


class EndpointsProblem(BaseModel):
    """One of the errors of the webhook endpoints' dialect: they name no field."""

    code: str
    message: str


class EndpointsError(BaseModel):
    """Why a request is refused, as clients of `/webhook_endpoints` expect it."""

    code: str | None = None
    message: str
    errors: list[EndpointsProblem] | None = None


class EventsProblem(BaseModel):
    """One of the errors of the events' dialect."""

    code: str
    field: str


class EventsError(BaseModel):
    """Why a request is refused, as clients of `/events` expect it."""

    message: str
    errors: list[EventsProblem] | None = None


class DirectoriesError(BaseModel):
    """Why a request is refused, as clients of the Directory Sync API expect it."""

    message: str


_MODELS: Final[Mapping[Dialect, type[BaseModel]]] = {
    "own": Problem,
    "endpoints": EndpointsError,
    "events": EventsError,
    "directories": DirectoriesError,
    "directory_users": DirectoriesError,
}
_REASONS: Final[Mapping[str, str]] = {
    "400": "The body is not JSON.",
    "401": "The key is missing or not valid.",
    "404": "There is nothing of this id in the key's environment.",
    "409": "It conflicts with what is stored, or the Idempotency-Key was used for another request.",
    "410": "It was removed by retention.",
    "413": "The body is too large.",
    "422": "A field is not what is expected; `errors` names it.",
    "429": "The key calls more often than it may.",
    "500": "An unexpected error; the server's log has it by its request id.",
    "503": "The database is away: repeat the request, with the same Idempotency-Key.",
}
_EXAMPLE_ID: Final = "req_01KAVY7ZS5RQ8M3W0N4T6B2D9F"
_REQUEST_ID: Final = {
    "description": "The request's id; the server's log has it beside what went wrong.",
    "required": True,
    "schema": {"type": "string", "pattern": "^req_[0-9A-HJKMNP-TV-Z]{26}$"},
}
_IDEMPOTENCY_KEY: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_IDEMPOTENCY_KEY,
    "pattern": "^[ -~]+$",
}
_RETRY_AFTER: Final = {
    "description": "Seconds to wait before the next try.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}


def complete(document: dict[str, Any], publish: Mapping[str, Any], *, path: str) -> dict[str, Any]:
    """The framework's document with publishing at `path`, every error and every header. Changes and returns it."""
    document["paths"].setdefault(path, {})["post"] = dict(publish)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in _MODELS.values():
        described = model.model_json_schema(ref_template=_REF + "{model}")
        schemas |= described.pop("$defs", {})
        schemas[model.__name__] = described
    for name in _FRAMEWORKS:
        schemas.pop(name, None)
    document["components"]["headers"] = {"RequestId": _REQUEST_ID, "RetryAfter": _RETRY_AFTER}
    for template, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in _METHODS:
                _complete_operation(template, operation)
    document["paths"] = dict(sorted(document["paths"].items()))
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _complete_operation(template: str, operation: dict[str, Any]) -> None:
    responses: dict[str, Any] = operation["responses"]
    dialect = dialect_of(template)
    parameters = operation.get("parameters", ())
    for parameter in parameters:
        _complete_parameter(parameter)
    # Whether a process is ready is no refusal: that 503 has a body of its own.
    wanted = {status for status, response in responses.items() if status >= "400" and "content" not in response}
    if is_keyed(template):
        wanted |= {"401", "429", "500", "503"} | {status for status in responses if status >= "400"}
        if "requestBody" in operation:
            wanted |= {"400", "413", "422"}
        if any(item["in"] in ("query", "header") for item in parameters):
            wanted.add("422")
        elif "requestBody" not in operation and not any("pattern" in item["schema"] for item in parameters):
            wanted.discard("422")  # the framework's own, of a path that any text fits
        if "{" in template:
            wanted.add("404")
        if any(item["name"] == "Idempotency-Key" for item in parameters):
            wanted |= {"409"}
        if "422" not in wanted:
            responses.pop("422", None)
    for status in wanted:
        if status == "429" and "content" in responses.get(status, ()):
            continue  # this operation's own
        responses[status] = _refusal(status, dialect)
    for status, response in responses.items():
        headers = response.setdefault("headers", {})
        headers["X-Request-ID"] = {"$ref": "#/components/headers/RequestId"}
        if status in ("429", "503") and is_keyed(template):
            headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    operation["responses"] = dict(sorted(responses.items()))


def _complete_parameter(parameter: dict[str, Any]) -> None:
    if parameter["name"] == IDEMPOTENCY_HEADER:
        parameter["schema"] = dict(_IDEMPOTENCY_KEY)
        return
    # A parameter of a URL or a header is left out; it cannot be null.
    schema = parameter["schema"]
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        parameter["schema"] = {**choices[0], **({"title": schema["title"]} if "title" in schema else {})}


def _refusal(status: str, dialect: Dialect) -> dict[str, Any]:
    media_type = "application/problem+json" if dialect == "own" else "application/json"
    content: dict[str, Any] = {"schema": {"$ref": _REF + _MODELS[dialect].__name__}}
    if dialect == "own":
        content["example"] = _example(status)
    reason = "There is no such organization." if (status, dialect) == ("400", "events") else _REASONS[status]
    return {"description": reason, "content": {media_type: content}}


def _example(status: str) -> dict[str, Any]:
    code, detail = {
        "400": ("malformed_json", "The request body is not JSON: Expecting value"),
        "401": (None, "Unauthorized"),
        "404": ("entity_not_found", "Webhook endpoint not found: 'we_01KAVY'."),
        "409": ("duplicate_endpoint", "A webhook endpoint with this URL already exists: 'https://example.com/'."),
        "410": ("event_pruned", "event_01KAVY is past its retention"),
        "413": ("body_too_large", "The request body is larger than 8388608 bytes."),
        "422": ("invalid_request_parameters", "The request parameters are invalid."),
        "429": ("rate_limited", "Too many requests: wait 1 s."),
        "500": ("internal_error", "An unexpected error; the server's log has it by its request id."),
        "503": ("storage_unavailable", "Nothing was stored: repeat the request."),
    }[status]
    problem = problem_body(int(status), code, detail, None, _EXAMPLE_ID)
    if status == "422":
        problem["errors"] = [{"code": "required", "field": "url", "message": "url: Field required"}]
    return problem


def problem_body(
    status: int, code: str | None, detail: str, errors: list[dict[str, Any]] | None, request_id: str
) -> dict[str, Any]:
    """Problem details (RFC 9457). `type` is a name, not a page: `about:blank` where the status says it all."""
    body: dict[str, Any] = {
        "type": "about:blank" if code is None else f"urn:hookline:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request_id,
    }
    if code is not None:
        body["code"] = code
    if errors is not None:
        body["errors"] = [
            {name: item[name] for name in ("code", "field", "message") if name in item} for item in errors
        ]
    return body
