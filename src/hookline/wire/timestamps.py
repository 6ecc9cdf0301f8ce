"""Wire timestamps as integer microseconds since 1970 in UTC, and back.

Every format met in the field is read (reference: `GET /events` documentation, REST answers, webhook bodies
and SDK fixtures all differ); one format is written. No clock is read here, and nothing is guessed: what has
none of these shapes is a ValueError.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# The gate in front of datetime.fromisoformat, which takes more each Python release (week dates, "24:00",
# commas).
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?"
)

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Time first, then 80 bits nobody reads here; a first character above 7 would not fit 48 bits of milliseconds.
_ULID = re.compile(rf"(?:.*_)?([0-7][{_CROCKFORD}]{{9}})[{_CROCKFORD}]{{16}}", re.DOTALL)
_FIVE_BITS = {ord(char): value for value, char in enumerate(_CROCKFORD)}
_MIN_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_MAX_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND


def parse_us(text: str) -> int:
    """Microseconds since 1970 for a timestamp in any format of the field.

    Read are `2021-06-25T19:07:33.155Z`, a space for the `T`, no zone (meaning UTC), one to nine decimals
    (those after the sixth are cut), none at all, offsets (`+02:00`, `+0200`, `+02`) and a bare date (midnight
    UTC).
    Raises: ValueError for anything else, in ASCII digits or not, and for dates that do not exist.
    """
    if _ISO.fullmatch(text) is None:
        raise ValueError(f"expected a timestamp like 2021-06-25T19:07:33.155Z, got {_excerpt(text)}")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected a date that exists, got {_excerpt(text)}") from None
    us = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // _MICROSECOND
    if not _MIN_US <= us <= _MAX_US:
        # An offset leads out of the calendar: such a time could not be written again.
        raise ValueError(f"expected a date within the years 1 to 9999 in UTC, got {_excerpt(text)}")
    return us


_AGE = re.compile(r"([0-9]{1,9})([smhd])")
_AGE_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment_ms(text: str, now_ms: int) -> int:
    """What people type for a moment, in Unix milliseconds: a time, as of `parse_us`, or an age as in 90s, 15m, 2h, 3d.

    Raises: ValueError.
    """
    if age := _AGE.fullmatch(text):
        return now_ms - int(age[1]) * _AGE_MS[age[2]]
    return parse_us(text) // 1_000


def format_ms(us: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`, the format of REST answers and webhook bodies; microseconds are cut, not
    rounded.

    Raises: ValueError outside the years 1 to 9999.
    """
    return from_us(us).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def from_us(us: int) -> datetime:
    """The aware datetime (UTC) of `us` microseconds since 1970.

    Raises: ValueError outside the years 1 to 9999.
    """
    try:
        return EPOCH + timedelta(microseconds=us)
    except OverflowError:
        raise ValueError(f"expected microseconds within the years 1 to 9999, got {us}") from None


def ulid_time_us(object_id: str) -> int | None:
    """The moment an id such as `event_01HF…` or `wh_01FG…` was made, by the ULID it ends in; None if there is
    none.

    Milliseconds precise. Ids order events only roughly: use this where no better clock exists.
    """
    found = _ULID.fullmatch(object_id.upper()) if object_id.isascii() else None
    if found is None:
        return None
    ms = 0
    for char in found[1].encode():
        ms = ms << 5 | _FIVE_BITS[char]
    return ms * 1000 if ms * 1000 <= _MAX_US else None


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
