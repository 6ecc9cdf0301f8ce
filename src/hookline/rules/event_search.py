"""The language that the event log is searched with: `type:dsync.user.* status:failed since:2h`, or any id alone.

    type:       a type, or a prefix as in dsync.*
    object:     the id of the object that an event is about
    endpoint:   the id of an endpoint it has a delivery to
    status:     what became of it: see `STATUSES`
    code:       an attempt was answered this status, or one of a class as in 5xx
    origin:     published, test or operational
    since:      published since then: 30s, 15m, 2h, 7d ago, or a time
    until:      published before then, likewise
    id:         the event's own id

A term without a name is an id of any kind. Each name once; values have no white space. Pure: now is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hookline.wire.catalogue import is_pattern
from hookline.wire.timestamps import parse_us

# A value as it was typed, and now, to what is searched for; ValueError says what was expected.
Read: TypeAlias = Callable[[str, int], Any]

STATUSES: Final = ("pending", "retrying", "delivered", "failed", "held", "canceled", "nobody")
ORIGINS: Final = ("published", "test", "operational")
MOST: Final = 500
_UNITS_MS: Final[Mapping[str, int]] = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO = re.compile(r"(\d{1,6})([smhd])")
_CODE = re.compile(r"[1-5](?:\d\d|xx)")


@dataclass(frozen=True, slots=True)
class EventSearch:
    """What is searched for; what is None selects nothing away.

    Attributes:
        type: a type, a prefix or `*`.
        codes: the least and the greatest status an attempt was answered.
        since_ms, until_ms: when it was published, the end excluded.
        any_id: an id of any kind, which leads straight to what it names.
    """

    id: str | None = None
    type: str | None = None
    object_id: str | None = None
    endpoint_id: str | None = None
    status: str | None = None
    codes: tuple[int, int] | None = None
    origin: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    any_id: str | None = None


class NotASearch(ValueError):
    """A term is none; `term` is it, as it was typed."""

    def __init__(self, term: str, message: str) -> None:
        super().__init__(f"{term}: {message}")
        self.term = term
        self.message = message


def parse_search(text: str, now_ms: int) -> EventSearch:
    """What a search says.

    Raises: NotASearch naming the term.
    """
    if len(text) > MOST:
        raise NotASearch("the search", f"expected at most {MOST} characters, got {len(text)}")
    found: dict[str, Any] = {}
    for term in text.split():
        name, colon, value = term.partition(":")
        # Ids may have colons in them, names of terms are ours.
        if not colon or name not in _TERMS:
            if colon and name.isalpha() and name.islower() and len(name) < 12:
                raise NotASearch(term[:60], f"expected one of {', '.join(f'{one}:' for one in _TERMS)} or an id")
            name, value = "", term
        if not value:
            raise NotASearch(term, "expected a value right after the colon")
        field, read = _TERMS[name] if name else ("any_id", _text)
        if field in found:
            raise NotASearch(term[:60], "expected it once; run two searches for two of them")
        try:
            found[field] = read(value, now_ms)
        except ValueError as error:
            raise NotASearch(term[:60], str(error)) from None
    return EventSearch(**found)


def _type(value: str, _now_ms: int) -> str:
    if not is_pattern(value):
        raise ValueError("expected a type, a prefix as in dsync.* or *")
    return value


def _one_of(*words: str) -> Read:
    def read(value: str, _now_ms: int) -> str:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return value

    return read


def _codes(value: str, _now_ms: int) -> tuple[int, int]:
    if not _CODE.fullmatch(value):
        raise ValueError("expected a status as in 404, or a class as in 5xx")
    if value.endswith("xx"):
        return int(value[0]) * 100, int(value[0]) * 100 + 99
    return int(value), int(value)


def _moment(value: str, now_ms: int) -> int:
    if ago := _AGO.fullmatch(value):
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    try:
        return parse_us(value) // 1000
    except ValueError:
        raise ValueError("expected 30s, 15m, 2h or 7d, or a time as in 2026-01-31T12:00:00Z") from None


def _text(value: str, _now_ms: int) -> str:
    return value


_TERMS: Final[Mapping[str, tuple[str, Read]]] = {
    "type": ("type", _type),
    "object": ("object_id", _text),
    "endpoint": ("endpoint_id", _text),
    "status": ("status", _one_of(*STATUSES)),
    "code": ("codes", _codes),
    "origin": ("origin", _one_of(*ORIGINS)),
    "since": ("since_ms", _moment),
    "until": ("until_ms", _moment),
    "id": ("id", _text),
}
