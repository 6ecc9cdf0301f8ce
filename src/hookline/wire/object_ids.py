"""Which object an event is about, by the place that its type names it at."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hookline.wire.catalogue import CATALOGUE

MOST: Final = 400
_ID: Final = ("id",)


class _Identified(msgspec.Struct):
    id: Any = None


class _Member(msgspec.Struct):
    data: _Identified


_decode_id = msgspec.json.Decoder(_Member).decode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def object_of(event_type: str | None, raw: bytes) -> str | None:
    """The id of the object that an event is about; both ends' ids of a relation, joined by a slash; None of neither.

    Slashes within are escaped as the mirror of the receiver does it, so that one id is one object at both ends. A type
    that is not known names its object by `data.id`. What cannot be read is about nothing.

    Args:
        raw: the event, or any JSON object with its member `data`.
    """
    known = None if event_type is None else CATALOGUE.get(event_type)
    key = _ID if known is None else known.key
    if not key:
        return None
    try:
        found = [_decode_id(raw).data.id] if key == _ID else [_at(_decode(raw).get("data"), place) for place in key]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    ids = [one for one in found if isinstance(one, str) and one]
    if len(ids) != len(key):
        return None
    # One id alone stands as it is: nothing has to be told from it.
    object_id = ids[0] if len(ids) == 1 else "/".join(one.replace("%", "%25").replace("/", "%2F") for one in ids)
    return object_id if len(object_id) <= MOST and object_id.isprintable() else None


def _at(value: Any, place: str) -> Any:
    for name in place.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
