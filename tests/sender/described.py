"""Holds answers against the API's own description: every one that the tests' `Client` gets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from hookline.sender.api_parts import dialect_of, is_keyed

# What a path that is not described may answer, or a method that a described path has not.
_STRANGE = {204, 400, 401, 404, 405, 413, 429, 500, 503}
_MODELS = {
    "own": "Problem",
    "endpoints": "EndpointsError",
    "events": "EventsError",
    "directories": "DirectoriesError",
    "directory_users": "DirectoriesError",
}


class Description:
    """The document, and what it says of one answer."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        # A literal path comes before a template that would match it too.
        self._templates = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), path)
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]
        self._validator = cache(self._make_validator)

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """AssertionError where an answer is not as described: its status, its headers, its body."""
        template = next((found for pattern, found in self._templates if pattern.fullmatch(path)), None)
        operation = self._document["paths"].get(template, {}).get("get" if method == "HEAD" else method.lower())
        assert re.fullmatch("req_[0-9A-HJKMNP-TV-Z]{26}", headers["x-request-id"])
        if path == "/openapi.json" and method in ("GET", "HEAD"):
            return  # the description itself
        if operation is None:
            assert status in _STRANGE, f"{method} {path}: {status} of what is not described"
            if status >= 400 and method != "HEAD":
                self._validate(json.loads(body), {"$ref": f"#/components/schemas/{_MODELS[dialect_of(path)]}"})
            return
        described = operation["responses"].get(str(status))
        assert described is not None, f"{method} {template} answers {status}, which is not described"
        for name, header in described["headers"].items():
            if self._is_required(header):
                assert name.lower() in headers, f"{method} {template} answers {status} without {name}"
        content = described.get("content")
        if not content:
            assert body == b""
            return
        if method == "HEAD":
            return
        media_type = headers["content-type"]
        assert media_type in content, f"{method} {template} answers {status} as {media_type}"
        assert content[media_type]["schema"], f"{method} {template}: the body of {status} is not described"
        self._validate(json.loads(body), content[media_type]["schema"])
        assert not is_keyed(path) or "HTTPBearer" in str(operation["security"])

    def _is_required(self, header: Mapping[str, Any]) -> bool:
        if (ref := header.get("$ref")) is not None:
            header = self._document["components"]["headers"][ref.rpartition("/")[2]]
        return bool(header.get("required"))

    def _validate(self, value: Any, schema: Mapping[str, Any]) -> None:
        validator = self._validator(json.dumps(schema))
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
        assert not errors, errors

    def _make_validator(self, schema: str) -> Any:
        whole = {**json.loads(schema), "components": self._document["components"]}
        return Draft202012Validator(whole, format_checker=FormatChecker())


_first: list[Description] = []


def description_of(app: Any) -> Description | None:
    """Of an app that describes itself: made once, as the document is the same for the same code."""
    if not hasattr(type(app), "openapi"):  # of the class: the instance's would make the whole document to answer
        return None
    if not _first:
        _first.append(Description(app.openapi))
    return _first[0]
