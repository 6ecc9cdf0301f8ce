"""One event on the wire: bytes in, `Event` out; and the bytes of an event to publish.

Reading is tolerant of meaning and strict about form. Types nobody knows, missing `id`, `object`, `context`
and `created_at`, extra fields, NUL characters, repeated keys (the last one counts) and strings of a megabyte
are all events. Everything else is an `InvalidBody`, whatever the bytes: no input makes anything else escape.

| body                                                                             | reason      |
|----------------------------------------------------------------------------------|-------------|
| not UTF-8; an escaped surrogate without its partner                              | `encoding`  |
| not JSON (a byte order mark, NaN); deeper than `MAX_DEPTH`; numbers beyond range | `not_json`  |
| no object; no `event` or no `data` object; an `id` or `event` that is no name    | `not_event` |

Standard Webhooks have an envelope of their own: `type`, `timestamp` (when it happened) and `data`, and the id in a
header. `from_standard_bytes` and `decode_standard_envelope` read that or, since the scheme is about signing alone, the
one above.

msgspec is the only decoder on this side (docs/decisions/0010). `decode_envelope` looks at what the door needs
and leaves `data` alone: numbers in it that cannot be decoded are found by `Event.from_bytes` in the worker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from hookline.errors import BodyReason, InvalidBody, NotCanonical
from hookline.wire import timestamps
from hookline.wire.canonical import MAX_DEPTH, canonical_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from hookline.wire.signature import BodyBytes

MAX_NAME = 255

_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
# An unfinished string runs to the end (`"?`), so no input makes the search start again in its middle.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_DEPTH_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the door reads of an event. `created_at` is the text as it came, or None if there is none."""

    id: str | None
    type: str
    created_at: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at the source.

    `data` is what it happened to (`wire.catalogue` says what a known type's data holds); `created_us` is
    when, in microseconds, None where the body does not say so in a readable way. `context` says on whose
    behalf. `raw` are the bytes everything else was read from. What may be personal stays out of the repr. `source` is
    the name of the receiver's source it came from; None where no receiver read it.
    """

    id: str | None
    type: str
    data: dict[str, Any] = field(repr=False)
    created_us: int | None
    context: dict[str, Any] | None = field(repr=False)
    object: str | None
    raw: bytes = field(repr=False)
    source: str | None = None

    @property
    def created_at(self) -> datetime | None:
        """`created_us` as an aware datetime in UTC."""
        return None if self.created_us is None else timestamps.from_us(self.created_us)

    @classmethod
    def from_bytes(cls, raw: BodyBytes) -> Event:
        """Decode a whole body. Raises: InvalidBody, with the reasons of the module's table; nothing else."""
        raw = _utf8(raw)
        return _event(raw, _decoded(raw, _BODY.decode, decode_envelope))

    @classmethod
    def from_standard_bytes(cls, raw: BodyBytes, event_id: str) -> Event:
        """Decode a whole body that came by Standard Webhooks under this id. Raises: as `from_bytes`."""
        raw = _utf8(raw)
        body = _decoded(raw, _standard_body, lambda raw: decode_standard_envelope(raw, event_id))
        return replace(_event(raw, body), id=event_id)


class _Body(msgspec.Struct, gc=False):
    event: str
    data: dict[str, Any]
    id: str | None = None
    created_at: Any = None
    context: Any = None
    object: Any = None


class _Outline(msgspec.Struct, gc=False):
    event: str
    data: msgspec.Raw
    id: str | None = None
    created_at: msgspec.Raw = msgspec.Raw(b"null")


class _StandardBody(msgspec.Struct, gc=False):
    type: str
    data: dict[str, Any]
    timestamp: Any = None


class _StandardOutline(msgspec.Struct, gc=False):
    type: str
    data: msgspec.Raw
    timestamp: msgspec.Raw = msgspec.Raw(b"null")


_BODY = msgspec.json.Decoder(_Body)
_OUTLINE = msgspec.json.Decoder(_Outline)
_STANDARD_BODY = msgspec.json.Decoder(_StandardBody)
_STANDARD_OUTLINE = msgspec.json.Decoder(_StandardOutline)
_TEXT = msgspec.json.Decoder(str)


def decode_envelope(raw: BodyBytes) -> Envelope:
    """Read `id`, `event` and `created_at`; check that the rest is JSON, and leave it undecoded.

    Raises: InvalidBody, with the reasons of the module's table; nothing else. A body accepted here can still
    be refused by `Event.from_bytes` for a number beyond range, never for another reason.
    """
    return _envelope(_utf8(raw), _OUTLINE.decode)


def decode_standard_envelope(raw: BodyBytes, event_id: str) -> Envelope:
    """The same of a body that came by Standard Webhooks under this id. Raises: as `decode_envelope`."""
    return replace(_envelope(_utf8(raw), _standard_outline), id=event_id)


def _envelope(raw: bytes, decode: Callable[[bytes], _Outline]) -> Envelope:
    try:
        outline = decode(raw)
    except msgspec.ValidationError as error:
        raise _refuse("not_event", str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _no_json(raw, error) from None
    if not bytes(outline.data).startswith(b"{"):
        raise _refuse("not_event", "Expected `object` - at `$.data`")
    _require_shallow(raw)
    _require_name("id", outline.id)
    _require_name("event", outline.event)
    created_at = bytes(outline.created_at)
    return Envelope(
        id=outline.id,
        type=outline.event,
        created_at=_TEXT.decode(created_at) if created_at.startswith(b'"') else None,
    )


def _standard_outline(raw: bytes) -> _Outline:
    try:
        found = _STANDARD_OUTLINE.decode(raw)
    except msgspec.ValidationError:
        return _OUTLINE.decode(raw)
    return _Outline(found.type, found.data, created_at=found.timestamp)


def _standard_body(raw: bytes) -> _Body:
    try:
        found = _STANDARD_BODY.decode(raw)
    except msgspec.ValidationError:
        return _BODY.decode(raw)
    return _Body(found.type, found.data, created_at=found.timestamp)


def _decoded(raw: bytes, decode: Callable[[bytes], _Body], outline: Callable[[bytes], Envelope]) -> _Body:
    try:
        body = decode(raw)
    except msgspec.ValidationError:
        raise _no_event(raw, outline) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _no_json(raw, error) from None
    _require_shallow(raw)
    _require_name("id", body.id)
    _require_name("event", body.event)
    return body


def _event(raw: bytes, body: _Body) -> Event:
    return Event(
        id=body.id,
        type=body.event,
        data=body.data,
        created_us=_created_us(body.created_at),
        context=body.context if isinstance(body.context, dict) else None,
        object=body.object if isinstance(body.object, str) else None,
        raw=raw,
    )


def encode_event(
    *,
    event_id: str,
    event_type: str,
    data: Mapping[str, Any],
    created_us: int,
    context: Mapping[str, Any] | None = None,
) -> bytes:
    """The body to store, sign and send for an event, as canonical bytes.

    `created_us` is written with milliseconds. What is made here, `Event.from_bytes` reads back.
    Raises: NotCanonical, with the path in the body, as in `data.emails[0].value`; ValueError for a time
    outside the years 1 to 9999.
    """
    for path, name in (("id", event_id), ("event", event_type)):
        if not is_name(name):
            raise NotCanonical(path, f"expected 1 to {MAX_NAME} printable characters, got {len(name)} characters")
    body: dict[str, object] = {
        "object": "event",
        "id": event_id,
        "event": event_type,
        "data": dict(data),
        "created_at": timestamps.format_ms(created_us),
    }
    if context is not None:
        body["context"] = dict(context)
    return canonical_bytes(body)


def _utf8(raw: BodyBytes) -> bytes:
    raw = bytes(raw)
    if not raw.isascii():
        # msgspec does not look inside strings it skips.
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise _refuse("encoding", f"expected UTF-8, got {error.reason} at byte {error.start}") from None
    return raw


def _require_shallow(raw: bytes) -> None:
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS)
    if max(accumulate(map(_DEPTH_STEP.__getitem__, brackets))) > MAX_DEPTH:
        raise _too_deep()


def _require_name(field: str, name: str | None) -> None:
    if name is not None and not is_name(name):
        raise _refuse(
            "not_event",
            f"expected {field} as 1 to {MAX_NAME} printable characters, got {len(name)} characters",
        )


def is_name(name: str) -> bool:
    """Whether this may be an id or the name of a type: they are keys, and are printed in logs and tables."""
    return 0 < len(name) <= MAX_NAME and name.isprintable()


def _created_us(created_at: object) -> int | None:
    # An unreadable time is treated as a missing one: the id's own time serves then (rules A of the merge).
    try:
        return timestamps.parse_us(created_at) if isinstance(created_at, str) else None
    except ValueError:
        return None


def _no_event(raw: bytes, outline: Callable[[bytes], Envelope]) -> InvalidBody:
    # msgspec says "validation" of wrong shapes and of numbers it cannot hold alike; the outline tells them
    # apart.
    try:
        outline(raw)
    except InvalidBody as refusal:
        return refusal
    return _refuse("not_json", "a number is beyond what can be decoded (64-bit floats, integers of 4,300 digits)")


def _no_json(raw: bytes, error: Exception) -> InvalidBody:
    if isinstance(error, RecursionError):
        return _too_deep()
    if _has_lone_surrogate(raw):
        return _refuse("encoding", "expected text, got an escaped surrogate without its partner")
    return _refuse("not_json", str(error))


def _has_lone_surrogate(raw: bytes) -> bool:
    awaited_at: int | None = None
    for escape in _ESCAPE.finditer(raw):
        unit = int(escape[1], 16) if escape[1] else 0
        if awaited_at is not None and not (escape.start() == awaited_at and 0xDC00 <= unit < 0xE000):
            return True
        if awaited_at is None and 0xDC00 <= unit < 0xE000:
            return True
        awaited_at = escape.end() if 0xD800 <= unit < 0xDC00 else None
    return awaited_at is not None


def _too_deep() -> InvalidBody:
    return _refuse("not_json", f"nested deeper than {MAX_DEPTH}")


def _refuse(reason: BodyReason, message: str) -> InvalidBody:
    return InvalidBody(reason, f"the body is no event: {message}")
