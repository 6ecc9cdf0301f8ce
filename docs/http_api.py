"""The operations of docs/http-api.md, from docs/openapi.json; put in while the site is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("openapi.json")

_PARTS: Final = {
    "/api/v1": "Hookline's own",
    "": "As WorkOS has them",
}
_WITHOUT_KEY: Final = "Without a key"
_USUAL: Final = ("400", "401", "413", "422", "429", "500", "503")
_NOTHING_TOLD: Final = "Successful Response"
_MANY_WORDS: Final = 12
_LIMITS: Final = {
    "minLength": "at least {} long",
    "maxLength": "at most {} long",
    "minimum": "from {}",
    "maximum": "to {}",
    "exclusiveMinimum": "above {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "pattern": "matching `{}`",
}


def page() -> str:
    """Every operation with its parameters, body and answers, then every schema with its fields, in Markdown."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    parts: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            prefix = next(prefix for prefix in _PARTS if path.startswith(prefix))
            part = _PARTS[prefix] if operation.get("security") else _WITHOUT_KEY
            parts.setdefault(part, []).append("\n".join(_operation(method, path, operation)))
    order = sorted(parts, key=[*reversed(_PARTS.values()), _WITHOUT_KEY].index)
    lines = ["| answer | |", "|---|---|", *_usual(document), ""]
    lines += [line for part in order for line in (f"## {part}", "", *parts[part])]
    lines += ["## What is sent and answered", ""]
    schemas = document["components"]["schemas"]
    for name in sorted(schemas):
        lines += _schema(name, schemas[name])
    return "\n".join(lines)


def _usual(document: Mapping[str, Any]) -> Iterator[str]:
    """What any operation may answer, in the words of the first that says so."""
    answers = [operation["responses"] for path in document["paths"].values() for operation in path.values()]
    for status in _USUAL:
        words = next(answer[status]["description"] for answer in answers if status in answer)
        yield f"| {status} | {words} |"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"### {method.upper()} {path}", "", operation["description"], "")
    if parameters := operation.get("parameters"):
        yield from ("| parameter | in | takes | |", "|---|---|---|---|")
        for one in parameters:
            name = f"`{one['name']}`" + (" (required)" if one.get("required") else "")
            yield f"| {name} | {one['in']} | {_takes(one['schema'])} | {_line(one.get('description', ''))} |"
        yield ""
    if body := operation.get("requestBody"):
        [schema] = (media["schema"] for media in body["content"].values())
        yield from (f"Body: {_takes(schema)}{'' if body.get('required') else ', or none'}.", "")
    answers = []
    for status, answer in operation["responses"].items():
        if status in _USUAL:
            continue
        words = [_takes(media["schema"]) for media in answer.get("content", {}).values() if media.get("schema")]
        told = "" if answer["description"] == _NOTHING_TOLD else _line(answer["description"]).rstrip(".")
        answers.append(f"**{status}** {words[0] if words and status < '400' else told}".strip())
    yield from (f"Answers {'; '.join(answers)}.", "")


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"### {name}", "")
    if schema.get("description"):
        yield from (schema["description"], "")
    if not schema.get("properties"):
        yield from (f"{_takes(schema)}.", "")
        return
    required = set(schema.get("required", ()))
    yield from ("| field | takes | |", "|---|---|---|")
    for field, takes in schema["properties"].items():
        told = _line(takes.get("description", ""))
        yield f"| `{field}`{' (required)' if field in required else ''} | {_takes(takes)} | {told} |"
    yield ""


def _takes(schema: Mapping[str, Any]) -> str:
    """A schema in a few words; one that has a name is a link."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_takes(choice) for choice in choices)
    if "allOf" in schema:
        return " and ".join(_takes(part) for part in schema["allOf"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        words = [f"`{json.dumps(word)}`" for word in schema["enum"]]
        return ", ".join(words) if len(words) < _MANY_WORDS else f"one of {len(words)}: {words[0]} … {words[-1]}"
    kind = schema.get("type", "any value")
    told = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if schema.get("format"):
        told += f" ({schema['format']})"
    if kind == "array" and schema.get("items"):
        told = f"list of {_takes(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        told = f"object of {_takes(schema['additionalProperties'])}"
    limits = [limit.format(schema[key]) for key, limit in _LIMITS.items() if key in schema]
    if "default" in schema:
        limits.append(f"by default `{json.dumps(schema['default'])}`")
    return ", ".join([told, *limits])


def _line(text: str) -> str:
    """Words for a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
