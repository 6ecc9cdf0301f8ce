"""Events on their way in: checked, and made into the bytes that will be sent, before they have an id.

Errors name the place and what was expected there, never a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hookline.errors import NotCanonical, RequestError
from hookline.sender.model import OPERATIONAL_TYPES
from hookline.wire.canonical import canonical_bytes
from hookline.wire.timestamps import format_ms, parse_us

MAX_BATCH_EVENTS: Final = 1_000
MAX_EVENT_BYTES: Final = 256 * 1024
# What the events of one call come to together; a thousand ordinary ones are about 1 MB.
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
MAX_ID_LENGTH: Final = 200

# Any well-formed dotted name: the catalogue's, and a user's own (`invoice.paid`).
EVENT_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+")
MAX_TYPE_LENGTH: Final = 200
_FIELDS: Final = frozenset({"event", "data", "organization_id", "context", "created_at"})


@dataclass(frozen=True, slots=True)
class EventDraft:
    """A checked event that waits for its id: canonical bytes of its members `"data":…` and `"context":…`.

    `path` is where it stands in its request, as in `events[3]`; empty where it is alone. `object_sequence`: it is its
    object's event of that number (directories.py).
    """

    type: str
    data: bytes
    context: bytes
    organization_id: str | None
    created_ms: int | None
    path: str = ""
    object_sequence: int | None = None


def is_event_type(name: str) -> bool:
    """Whether a name can be published."""
    return len(name) <= MAX_TYPE_LENGTH and EVENT_TYPE.fullmatch(name) is not None


def compose_body(draft: EventDraft, event_id: str, created_ms: int) -> bytes:
    """The canonical bytes of the whole event: a fixed point of `JSON.parse` then `JSON.stringify`."""
    head = f'{{"object":"event","id":"{event_id}","event":"{draft.type}",'
    tail = f',"created_at":"{format_ms(created_ms * 1000)}"'
    context = b"," + draft.context if draft.context else b""
    return head.encode() + draft.data + tail.encode() + context + b"}"


def draft_event(value: object, path: str = "", *, is_test: bool = False) -> EventDraft:
    """Check one event as `POST /api/v1/events` takes it.

    Args:
        value: decoded JSON: `event`, `data`, and perhaps `organization_id`, `context`, `created_at`.
        path: where it stands in the request, as in `events[3]`; named by errors.
        is_test: a test event may be of a type that Hookline alone publishes.

    Raises:
        RequestError: 422 `invalid_event`; `errors` names the place and says what was expected.
    """
    if not isinstance(value, dict):
        raise _invalid(path, "expected an object with event and data", value)
    unknown = sorted(map(str, value.keys() - _FIELDS))
    if unknown:
        raise refusal(join_path(path, unknown[0][:60]), f"unknown field; known are {', '.join(sorted(_FIELDS))}")
    event_type = value.get("event")
    if not isinstance(event_type, str):
        raise _invalid(join_path(path, "event"), "expected a type name such as dsync.user.created", event_type)
    if not is_event_type(event_type):
        raise refusal(
            join_path(path, "event"),
            "expected two or more lower-case words joined by dots, such as dsync.user.created",
        )
    if event_type in OPERATIONAL_TYPES and not is_test:
        raise refusal(join_path(path, "event"), f"{event_type} is what Hookline tells of itself: expected another name")
    data = value.get("data")
    if not isinstance(data, dict):
        raise _invalid(join_path(path, "data"), "expected an object", data)
    context = value.get("context")
    if context is not None and not isinstance(context, dict):
        raise _invalid(join_path(path, "context"), "expected an object", context)
    organization_id = value.get("organization_id")
    if organization_id is not None and not isinstance(organization_id, str):
        raise _invalid(join_path(path, "organization_id"), "expected a string", organization_id)
    if organization_id is not None and not 0 < len(organization_id) <= MAX_ID_LENGTH:
        raise refusal(join_path(path, "organization_id"), f"expected 1 to {MAX_ID_LENGTH} characters")
    if organization_id is not None and not organization_id.isprintable():
        # Lone surrogates, which no database takes, among them.
        raise refusal(join_path(path, "organization_id"), "expected printable characters")
    data_bytes = member_bytes("data", data, path)
    context_bytes = b"" if context is None else member_bytes("context", context, path)
    if len(data_bytes) + len(context_bytes) > MAX_EVENT_BYTES:
        raise refusal(join_path(path, "data"), f"expected at most {MAX_EVENT_BYTES} bytes as compact JSON")
    return EventDraft(event_type, data_bytes, context_bytes, organization_id, _created_ms(value, path), path)


def draft_batch(value: object) -> tuple[EventDraft, ...]:
    """Check the `events` list of a batch: 1 to 1,000 events; the first bad one refuses all, by its index."""
    if not isinstance(value, list) or not value:
        raise _invalid("events", "expected a list of at least one event", value)
    if len(value) > MAX_BATCH_EVENTS:
        raise refusal("events", f"expected at most {MAX_BATCH_EVENTS} events in a batch, got {len(value)}")
    drafts: list[EventDraft] = []
    total = 0
    for index, item in enumerate(value):
        draft = draft_event(item, f"events[{index}]")
        total += len(draft.data) + len(draft.context)
        if total > MAX_BATCH_BYTES:
            raise refusal(f"events[{index}]", f"expected a batch of at most {MAX_BATCH_BYTES} bytes as compact JSON")
        drafts.append(draft)
    return tuple(drafts)


def _created_ms(value: Mapping[str, Any], path: str) -> int | None:
    text = value.get("created_at")
    if text is None:
        return None
    where = join_path(path, "created_at")
    if not isinstance(text, str):
        raise _invalid(where, "expected an RFC 3339 time such as 2026-01-31T12:00:00.000Z", text)
    try:
        created_us = parse_us(text)
    except ValueError:
        raise refusal(where, "expected an RFC 3339 time such as 2026-01-31T12:00:00.000Z") from None
    return created_us // 1000


def member_bytes(name: str, value: object, path: str = "") -> bytes:
    """Canonical bytes of one member of an event, as in `"data":…`. RequestError 422 for what has none."""
    try:
        return canonical_bytes({name: value})[1:-1]
    except NotCanonical as error:
        raise refusal(join_path(path, error.path), str(error).removeprefix(f"{error.path}: ")) from None


def join_path(path: str, field: str) -> str:
    """A place within a place."""
    return f"{path}.{field}" if path and field else path or field


def _invalid(field: str, expected: str, got: object) -> RequestError:
    return refusal(field, f"{expected}, got {_kind(got)}")


def refusal(field: str, message: str, *, code: str = "invalid_event") -> RequestError:
    """422 `invalid_event`, of which the one error says where and what was expected."""
    return RequestError(
        422,
        "invalid_event",
        f"{field}: {message}" if field else message,
        [{"code": code, "field": field, "message": message}],
    )


def _kind(value: object) -> str:
    """What a value is, in JSON's words; never the value itself."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
