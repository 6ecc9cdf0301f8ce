"""How values look to people: times, durations, counts, ids. Pure: now is an argument."""

from __future__ import annotations

from typing import Final

from hookline.wire.timestamps import format_ms

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
_STEPS: Final = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (1_000, "s"))


def exact(ms: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    try:
        return format_ms(ms * 1000)
    except (OverflowError, ValueError):
        return f"{ms} ms"


def span(ms: float) -> str:
    """A duration in its two largest units: `3 d 4 h`, `2.4 s`, `17 ms`."""
    ms = abs(ms)
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    for index, (step_ms, unit) in enumerate(_STEPS):
        if ms >= step_ms:
            whole, rest = divmod(round(ms), step_ms)
            if index + 1 < len(_STEPS):
                next_ms, next_unit = _STEPS[index + 1]
                if more := rest // next_ms:
                    return f"{whole} {unit} {more} {next_unit}"
            return f"{whole} {unit}"
    return f"{ms:.0f} ms"


def relative(ms: int, now_ms: int) -> str:
    """How long ago, or in how long."""
    away_ms = ms - now_ms
    if abs(away_ms) < 1_000:
        return "now"
    return f"in {span(away_ms)}" if away_ms > 0 else f"{span(away_ms)} ago"


def count(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def percent(part: int, whole: int) -> str:
    """`99.2 %`; a dash of nothing. Never 100 where something is missing, nor 0 where something is there."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if part != whole and share > 99.9:
        return "99.9 %"
    if part and share < 0.1:
        return "0.1 %"
    return f"{share:.1f} %".replace(".0 %", " %")


def size(octets: int) -> str:
    """`412 B`, `1.4 KiB`, `5.0 MiB`."""
    if octets < 1024:
        return f"{octets} B"
    if octets < 1024 * 1024:
        return f"{octets / 1024:.1f} KiB"
    return f"{octets / (1024 * 1024):.1f} MiB"


# Characters that change how what stands beside them is read, or cannot be seen: shown by their number, never obeyed.
_INVISIBLE: Final = {
    code: f"\\u{code:04x}"
    for codes in (
        (code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)),
        range(0x7F, 0xA0),
        (0x00AD, 0x061C, 0xFEFF),
        range(0x200B, 0x2010),
        range(0x2028, 0x202F),
        range(0x2060, 0x2070),
        range(0xD800, 0xE000),
    )
    for code in codes
}


def visible(text: object) -> str:
    """Text with every control and direction character shown by its number."""
    return str(text).translate(_INVISIBLE)
