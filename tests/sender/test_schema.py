"""Schemas: which are taken, what breaking one says, and that no payload makes one expensive."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from hookline.sender.schema import (
    MAX_SCHEMA_BYTES,
    PayloadSchema,
    SchemaRefused,
    Violation,
    check_schema,
    compile_schema,
)
from hookline.wire.canonical import MAX_DEPTH

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}
# Each level of nesting doubles what two branches that lead back to the root look at.
DOUBLING = {
    "anyOf": [
        {"type": "integer"},
        {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}, "required": ["a"]},
    ]
}


def violation(schema: dict[str, Any], data: Any) -> Violation | None:
    """What compiling the kept text and checking gives."""
    return compile_schema(check_schema(schema)).violation(data)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/user.json"},
        {"properties": {"$ref": {"type": "string"}, "$id": {"const": "x"}}},
        {"$defs": {"a/b": {"type": "integer"}, "c~d": {}}, "properties": {"x": {"$ref": "#/$defs/a~1b"}}},
        {"$defs": {"a b": {}}, "$ref": "#/$defs/a%20b"},
        {"prefixItems": [{"type": "integer"}], "items": {"$ref": "#/prefixItems/0"}},
        {"pattern": "^(a+)+$"},
        TREE,
        {"oneOf": [{"properties": {"kind": {"const": number}}} for number in range(100)]},
        {"properties": {f"p{number}": {"type": "string"} for number in range(1_000)}},
        {"unevaluatedProperties": False, "allOf": [{"properties": {"a": True}}]},
    ],
    ids=lambda schema: json.dumps(schema)[:60],
)
def test_ordinary_schemas_are_taken(schema: dict[str, Any]) -> None:
    """What is kept is the same schema."""
    assert json.loads(check_schema(schema)) == schema


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        ({"type": "text"}, ("type",), "not a schema"),
        ({"properties": {"a": {"minimum": "3"}}}, ("properties", "a", "minimum"), "expected number"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, ("$schema",), "no other draft"),
        ({"$schema": 5}, ("$schema",), "no other draft"),
        ({"pattern": "(?=a)"}, ("pattern",), "linear time"),
        ({"pattern": "(a)\\1"}, ("pattern",), "linear time"),
        ({"pattern": "["}, ("pattern",), "regular expression"),
        ({"pattern": "(a{1000}){1000}"}, ("pattern",), "regular expression"),
        ({"patternProperties": {"(?!a)": {}}}, ("patternProperties", "(?!a)"), "linear time"),
        ({"$ref": "https://example.com/schema"}, ("$ref",), "nothing is fetched"),
        ({"properties": {"a": {"$ref": "other.json#/x"}}}, ("properties", "a", "$ref"), "nothing is fetched"),
        ({"$ref": "#name"}, ("$ref",), "a place in this schema"),
        ({"$ref": "#/$defs/none"}, ("$ref",), "leads nowhere"),
        ({"prefixItems": [True], "$ref": "#/prefixItems/1"}, ("$ref",), "leads nowhere"),
        ({"$ref": 5}, ("$ref",), "expected"),
        ({"$ref": "#/title", "title": "x"}, ("title",), "not a schema"),
        ({"$dynamicRef": "#a"}, ("$dynamicRef",), "use $ref"),
        ({"items": {"$id": "https://example.com/x"}}, ("items", "$id"), "at the root alone"),
        ({"$ref": "#"}, (), "leads back to itself"),
        (
            {"$defs": {"a": {"allOf": [{"not": {"$ref": "#/$defs/a"}}]}}, "items": {"$ref": "#/$defs/a"}},
            None,
            "leads back",
        ),
        (DOUBLING, (), "checked more than"),
        ({"properties": {"a": {"unevaluatedProperties": False, "anyOf": [{"$ref": "#"}]}}}, (), "checked more than"),
        ({"oneOf": [{"properties": {"kind": {"const": number}}} for number in range(600)]}, (), "checked more than"),
        ({"properties": {f"p{number}": {} for number in range(3_000)}}, (), "subschemas"),
        ({"description": "x" * MAX_SCHEMA_BYTES}, (), "bytes"),
        ({"minimum": 2**60}, (), "JavaScript"),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else None,
)
def test_other_schemas_are_refused_at_their_place(schema: dict[str, Any], path: Any, words: str) -> None:
    """With the place, and what was expected there."""
    with pytest.raises(SchemaRefused) as caught:
        check_schema(schema)

    assert words in caught.value.message
    assert path is None or caught.value.path == path


def test_a_schema_nested_deeply_is_refused() -> None:
    """Whatever it is that is nested."""
    schema: dict[str, Any] = {}
    for _ in range(100):
        schema = {"not": schema}

    with pytest.raises(SchemaRefused, match="nested deeper"):
        check_schema(schema)


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even from places that are never asked for; nor when a stored schema is compiled."""

    def no_network(*_: Any, **__: Any) -> Any:
        raise AssertionError("a schema was fetched")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    schema = {"$defs": {"unused": {"$ref": "http://127.0.0.1:9/x"}}}

    with pytest.raises(SchemaRefused):
        check_schema(schema)
    with pytest.raises(ValueError, match="Retrieval is disabled"):
        PayloadSchema({"$ref": "http://127.0.0.1:9/x"})


@pytest.mark.parametrize(
    ("schema", "data", "path", "words"),
    [
        ({"type": "object"}, 5, (), "expected object"),
        ({"type": ["string", "null"]}, 5, (), "expected null or string"),
        ({"properties": {"a": {"items": {"type": "integer"}}}}, {"a": [1, "x"]}, ("a", 1), "expected integer"),
        ({"required": ["email"]}, {}, ("email",), "is required"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, ("b",), "is required"),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, ("b",), "no such member"),
        ({"additionalProperties": False}, {"b": 1}, (), "nothing is allowed"),
        ({"unevaluatedProperties": False}, {"b": 1}, ("b",), "no such member"),
        ({"enum": ["active", "inactive"]}, "gone", (), 'expected one of ["active", "inactive"]'),
        ({"const": 5}, 6, (), "expected 5"),
        ({"pattern": "^a"}, "b", (), 'text that matches "^a"'),
        ({"format": "email"}, "b", (), 'of the format "email"'),
        ({"minLength": 3}, "b", (), "does not meet minLength 3"),
        ({"maximum": 3}, 4, (), "does not meet maximum 3"),
        ({"multipleOf": 2}, 3, (), "does not meet multipleOf 2"),
        ({"uniqueItems": True}, [1, 1], (), "does not meet uniqueItems"),
        ({"propertyNames": {"maxLength": 2}}, {"abc": 1}, (), "name is not allowed"),
        ({"anyOf": [{"type": "null"}]}, 3, (), "one of anyOf"),
        ({"oneOf": [{}, {}]}, 3, (), "exactly one of oneOf"),
        ({"properties": {"a": False}}, {"a": 1}, ("a",), "nothing is allowed"),
    ],
)
def test_what_breaks_a_schema_is_told_by_place_and_expectation(
    schema: dict[str, Any], data: Any, path: Any, words: str
) -> None:
    """In words of the schema, which its operator wrote."""
    found = violation(schema, data)

    assert found is not None
    assert found.path == path
    assert words in found.message


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"type": "integer"}, "123-45-6789"),
        ({"const": "x"}, "123-45-6789"),
        ({"enum": ["x"]}, "123-45-6789"),
        ({"pattern": "^x"}, "123-45-6789"),
        ({"format": "email"}, "123-45-6789"),
        ({"maxLength": 3}, "123-45-6789"),
        ({"not": {"type": "string"}}, "123-45-6789"),
        ({"anyOf": [{"type": "null"}]}, "123-45-6789"),
        ({"oneOf": [{"const": "x"}]}, "123-45-6789"),
        ({"contains": {"const": "x"}}, ["123-45-6789"]),
        ({"unevaluatedItems": False}, ["123-45-6789"]),
        ({"items": False}, ["123-45-6789"]),
        ({"uniqueItems": True}, ["123-45-6789", "123-45-6789"]),
        ({"if": {"type": "string"}, "then": False}, "123-45-6789"),
    ],
)
def test_a_value_is_in_no_message(schema: dict[str, Any], data: Any) -> None:
    """Nor in what is logged of it, the rule."""
    found = violation(schema, data)

    assert found is not None
    assert "123" not in repr(found)


def test_a_tree_is_followed_to_its_leaves() -> None:
    """A schema may lead back to itself through the data."""
    leaf: dict[str, Any] = {"name": 5}
    for _ in range(20):
        leaf = {"name": "x", "children": [leaf]}

    found = violation(TREE, leaf)

    assert found is not None
    assert found.path == ("children", 0) * 20 + ("name",)
    assert found.message == "expected string"


def test_a_hostile_payload_costs_what_any_other_does() -> None:
    """Long text against a nested pattern, and a mismatch at the end of every nesting that can be published."""
    assert violation({"pattern": "^(a+)+$"}, "a" * 250_000 + "!") is not None
    deep: Any = {"name": 5}
    for _ in range(MAX_DEPTH // 2 - 1):
        deep = {"name": "x", "children": [deep]}
    assert violation(TREE, deep) is not None
    assert violation({"items": {"type": "integer"}}, ["x"] * 100_000) is not None
