"""JSON Schema as a guard of payloads: which schemas are taken, and the first place where data breaks one.

The operator who stores a schema is trusted, what publishers send against it is not. So nothing is fetched, patterns
are matched in linear time (look-around and backreferences are refused), and a schema under which one value could be
looked at thousands of times is refused when it is stored, not met by whoever finds the payload for it: two branches
that both lead back to the root double the work with every level of nesting.

Draft 2020-12. `format` is checked. References lead into the schema itself, as `#/$defs/…`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from hookline.errors import NotCanonical
from hookline.wire.canonical import MAX_DEPTH, canonical_bytes

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_SCHEMA_DEPTH: Final = 64
MAX_SUBSCHEMAS: Final = 2_000
# So many subschemas may be held against one value. Ordinary schemas need a handful, large unions a hundred.
MAX_CHECKS: Final = 500

_SHOWN: Final = 200

# What holds one subschema, a list or a mapping of them, and applies it …
_MAPPINGS: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"})
# … to the same value,
_IN_PLACE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
# to values inside it of which each meets one of these at most,
_INSIDE_EITHER: Final = ("properties", "prefixItems")
# and to values inside it of which each may meet all of these.
_INSIDE_ALSO: Final = (
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "contains",
    "unevaluatedItems",
)


class SchemaRefused(Exception):
    """A schema is not taken; `path` names the place in it."""

    def __init__(self, path: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.path = tuple(path)
        self.message = message


@dataclass(frozen=True, slots=True)
class Violation:
    """The first place where data breaks a schema.

    `path` is in the data, `message` says what was expected; neither holds a value. `rule` is the place in the schema:
    it holds nothing that was sent.
    """

    path: tuple[str | int, ...]
    message: str
    rule: str


class PayloadSchema:
    """A compiled schema; made by `compile_schema`. Safe to share between threads."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = _validator(schema)

    def violation(self, data: object) -> Violation | None:
        """Where decoded JSON breaks the schema, or None."""
        try:
            # Stops at the first error: a list of all of them has no bound.
            self._validator.validate(data)
        except ValidationError as error:
            return _violation(error)
        return None


@functools.lru_cache(maxsize=512)
def compile_schema(text: str) -> PayloadSchema:
    """The schema of a text that `check_schema` has taken, compiled once per text."""
    return PayloadSchema(json.loads(text))


def check_schema(schema: Mapping[str, Any]) -> str:
    """The text to keep of a schema.

    Raises:
        SchemaRefused: it is no Draft 2020-12 schema, too large, or one that hostile data could make expensive.
    """
    try:
        text = canonical_bytes(dict(schema)).decode()
    except NotCanonical as error:
        raise SchemaRefused((), str(error)) from None
    if len(text.encode()) > MAX_SCHEMA_BYTES:
        raise SchemaRefused((), f"expected at most {MAX_SCHEMA_BYTES} bytes as compact JSON")
    _require_shallow(schema)
    draft = schema.get("$schema", DRAFT)
    if not isinstance(draft, str) or draft.rstrip("#") != DRAFT:
        raise SchemaRefused(("$schema",), f"expected {DRAFT} or nothing: no other draft is known here")
    try:
        Draft202012Validator(_META).validate(schema)
        _require_cheap(_nodes(schema), id(schema))
        _validator(schema)
    except ValidationError as error:
        raise _refused(error) from None
    return text


_META: Final[dict[str, Any]] = {"$ref": DRAFT}


def _validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(dict(schema), offline=True, pattern_options=RegexOptions(), validate_formats=True)


def _refused(error: ValidationError) -> SchemaRefused:
    path = error.instance_path
    is_pattern = error.kind.name in {"format", "pattern"} and path[-1:] == ["pattern"]
    if is_pattern or "patternProperties" in path[-2:]:
        return SchemaRefused(
            path, "expected a regular expression without look-around and backreferences: it is matched in linear time"
        )
    found = _violation(error)
    return SchemaRefused(found.path, f"not a schema of Draft 2020-12: {found.message}")


def _require_shallow(schema: object) -> None:
    waiting: list[tuple[object, int]] = [(schema, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_SCHEMA_DEPTH:
            raise SchemaRefused((), f"nested deeper than {MAX_SCHEMA_DEPTH}")
        if isinstance(value, dict):
            waiting.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            waiting.extend((inner, depth + 1) for inner in value)


@dataclass(slots=True)
class _Node:
    """A subschema: what is applied to the same value, and what to the values inside it, by identity."""

    path: tuple[str | int, ...]
    in_place: list[int]
    either: list[int]
    also: list[int]
    # What is not evaluated yet is found by going through the alternatives once more.
    times: int


def _nodes(root: Mapping[str, Any]) -> dict[int, _Node]:
    """Every subschema that validating can reach, the root first."""
    nodes: dict[int, _Node] = {}
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(root, ())]
    while waiting:
        schema, path = waiting.pop()
        if not isinstance(schema, dict) or id(schema) in nodes:
            continue
        if len(nodes) == MAX_SUBSCHEMAS:
            raise SchemaRefused((), f"expected at most {MAX_SUBSCHEMAS} subschemas")
        _refuse_strange(schema, path)
        parts = [*_parts(schema, path, _IN_PLACE), *_target(root, schema, path)]
        either, also = list(_parts(schema, path, _INSIDE_EITHER)), list(_parts(schema, path, _INSIDE_ALSO))
        times = 2 if "unevaluatedProperties" in schema or "unevaluatedItems" in schema else 1
        nodes[id(schema)] = _Node(path, _ids(parts), _ids(either), _ids(also), times)
        waiting += [*parts, *either, *also]
    return nodes


def _refuse_strange(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> None:
    for keyword in ("$dynamicRef", "$recursiveRef"):
        if keyword in schema:
            raise SchemaRefused((*path, keyword), "is not supported: use $ref")
    if path and "$id" in schema:
        raise SchemaRefused((*path, "$id"), "expected an $id at the root alone: references are read from there")


def _parts(
    schema: Mapping[str, Any], path: tuple[str | int, ...], keywords: Sequence[str]
) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    """The subschemas under these keywords, of which each holds one, a list or a mapping of them."""
    for keyword in keywords:
        value = schema.get(keyword)
        if keyword in _MAPPINGS and isinstance(value, dict):
            yield from ((inner, (*path, keyword, name)) for name, inner in value.items())
        elif isinstance(value, list):
            yield from ((inner, (*path, keyword, index)) for index, inner in enumerate(value))
        elif isinstance(value, dict):
            yield value, (*path, keyword)


def _target(
    root: Mapping[str, Any], schema: Mapping[str, Any], path: tuple[str | int, ...]
) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    reference = schema.get("$ref")
    if reference is None:
        return
    where = (*path, "$ref")
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise SchemaRefused(where, "expected a place in this schema, such as #/$defs/address: nothing is fetched")
    target: Any = root
    steps: list[str | int] = []
    for raw in reference.split("/")[1:]:
        step: str | int = unquote(raw).replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and str(step).isdecimal():
            step = int(step)
        try:
            target = target[step]
        except (KeyError, IndexError, TypeError):
            raise SchemaRefused(where, "leads nowhere in this schema") from None
        steps.append(step)
    yield target, tuple(steps)


def _ids(parts: Sequence[tuple[Any, tuple[str | int, ...]]]) -> list[int]:
    return [id(part) for part, _ in parts]


def _require_cheap(nodes: Mapping[int, _Node], root: int) -> None:
    """Refuse a schema under which one value could meet more than MAX_CHECKS subschemas.

    An upper bound over every payload there can be: for each depth, how many subschemas a value so deep can meet.
    """
    order = _in_place_order(nodes)
    # By subschema: how many are met `depth` levels below the value that it is applied to. True and false are met too.
    above: dict[int, int] = {}
    for depth in range(MAX_DEPTH + 1):
        leaf = 1 if depth == 0 else 0
        leaf_inside = 1 if depth == 1 else 0
        here: dict[int, int] = {}
        for key in order:
            node = nodes[key]
            met = leaf + node.times * sum(here.get(part, leaf) for part in node.in_place)
            if depth:
                met += max((above.get(part, leaf_inside) for part in node.either), default=0)
                met += sum(above.get(part, leaf_inside) for part in node.also)
            here[key] = met
        if here[root] > MAX_CHECKS:
            raise SchemaRefused(
                (),
                f"one value could be checked more than {MAX_CHECKS} times: nest fewer alternatives, and let no two of "
                "them lead back to a schema that they are part of",
            )
        if depth and here == above:
            return
        above = here


def _in_place_order(nodes: Mapping[int, _Node]) -> list[int]:
    """The subschemas, each after those that are applied to the same value."""
    order: list[int] = []
    state: dict[int, bool] = {}  # False: being looked through
    for start in nodes:
        waiting = [(start, False)]
        while waiting:
            key, is_done = waiting.pop()
            if is_done:
                state[key] = True
                order.append(key)
            elif key not in state:
                state[key] = False
                waiting.append((key, True))
                for part in nodes[key].in_place:
                    if state.get(part) is False:
                        raise SchemaRefused(nodes[key].path, "leads back to itself without going into the data")
                    if part in nodes:
                        waiting.append((part, False))
    return order


def _violation(error: ValidationError) -> Violation:
    kind, path = error.kind, tuple(error.instance_path)
    rule = "/".join(map(str, error.schema_path))
    found = kind.as_dict()
    match kind.name:
        case "required":
            # Of `required` and `dependentRequired`.
            return Violation((*path, found["property"]), "is required", rule)
        case "additionalProperties" | "unevaluatedProperties" if found.get("unexpected"):
            return Violation((*path, found["unexpected"][0]), "no such member is allowed", rule)
        case "type":
            return Violation(path, f"expected {' or '.join(sorted(found['types']))}", rule)
        case "enum":
            return Violation(path, f"expected one of {_shown(found['options'])}", rule)
        case "const":
            return Violation(path, f"expected {_shown(found['expected_value'])}", rule)
        case "pattern":
            return Violation(path, f"expected text that matches {_shown(found['pattern'])}", rule)
        case "format":
            return Violation(path, f"expected text of the format {_shown(found['format'])}", rule)
        case "falseSchema":
            return Violation(path, "nothing is allowed here", rule)
        case "propertyNames":
            return Violation(path, "a member's name is not allowed", rule)
        case "anyOf" | "oneOf":
            return Violation(
                path, f"expected what {'one' if kind.name == 'anyOf' else 'exactly one'} of {kind.name} asks for", rule
            )
    bound = found.get("limit", found.get("multiple_of"))
    return Violation(path, f"does not meet {kind.name}{'' if bound is None else f' {bound}'}", rule)


def _shown(value: object) -> str:
    """A value of the schema, which the operator wrote: never one of the data."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
