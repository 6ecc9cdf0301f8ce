"""docs/openapi.json is what the API says of itself; and the check that holds every answer against it can fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from docs.openapi import FILE, render

from .described import Description

REQUEST_ID = {"x-request-id": "req_01KAVY7ZS5RQ8M3W0N4T6B2D9F"}


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (path, method, operation) for path, found in document["paths"].items() for method, operation in found.items()
    ]


def test_the_file_is_what_its_generator_writes() -> None:
    """Where this fails: `make docs`, and look at the difference: clients are made from it."""
    assert render() == FILE.read_text(encoding="utf-8")


def test_every_operation_has_a_name_of_its_own_and_words(document: Any) -> None:
    """Generated clients call methods by these names: they are written out, never made from the path."""
    named = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(named) == len(set(named))
    assert all(name.isidentifier() and "api_v1" not in name for name in named)
    assert all(operation.get("description") and operation["tags"] for _, _, operation in operations(document))


def test_every_keyed_operation_says_who_may_and_what_goes_wrong(document: Any) -> None:
    """Bearer keys; 401, 429 with Retry-After, 503; a body that is none; each in the dialect of its path."""
    for path, method, operation in operations(document):
        if not path.startswith(("/api/v1", "/events", "/webhook_endpoints")):
            continue
        responses = operation["responses"]
        assert operation["security"] == [{"HTTPBearer": []}], (path, method)
        assert {"401", "429", "500", "503"} <= set(responses), (path, method)
        assert "Retry-After" in responses["429"]["headers"]
        assert "requestBody" not in operation or {"400", "413", "422"} <= set(responses)
        media_type = "application/problem+json" if path.startswith("/api/") else "application/json"
        assert all(list(responses[status]["content"]) == [media_type] for status in responses if status >= "400")


def test_bodies_have_examples_that_fit(document: Any) -> None:
    """Whoever tries the API copies one: every body that must be sent has one."""
    description = Description(document)
    for path, method, operation in operations(document):
        if "requestBody" not in operation:
            continue
        media = operation["requestBody"]["content"]["application/json"]
        schema = media["schema"]
        name = schema.get("$ref", "").rpartition("/")[2]
        examples = [item["value"] for item in media.get("examples", {}).values()]
        examples += document["components"]["schemas"].get(name, {}).get("examples", [])
        assert examples or not operation["requestBody"].get("required"), (path, method)
        for example in examples:
            description._validate(example, schema)


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (200, {"content-type": "application/json"}, b"{}", "'object' is a required property"),
        (200, {"content-type": "text/plain"}, b"{}", "as text/plain"),
        (418, {"content-type": "application/json"}, b"{}", "which is not described"),
        (429, {"content-type": "application/problem+json"}, b"{}", "without Retry-After"),
        (404, {"content-type": "application/json"}, b"{}", "as application/json"),
    ],
)
def test_the_check_can_fail(document: Any, status: int, headers: dict[str, str], body: bytes, says: str) -> None:
    """A missing member, a type, a status, a header, a dialect that is not described."""
    with pytest.raises(AssertionError, match=says):
        Description(document).check("GET", "/api/v1/endpoints/we_1", status, {**REQUEST_ID, **headers}, body)


def test_the_check_wants_what_is_not_described_to_be_refused(document: Any) -> None:
    """An answer 200 of a path that the description has not is a gap in it."""
    with pytest.raises(AssertionError, match="not described"):
        Description(document).check("GET", "/api/v1/secret_path", 200, REQUEST_ID, b"{}")
