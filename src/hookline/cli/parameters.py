"""Parameters that several commands take, and the body they read, in one wording."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from hookline.errors import ConfigError
from hookline.wire.timestamps import moment_ms

AsJson: TypeAlias = Annotated[bool, Parameter("--json", negative=(), help="One JSON object instead of text.")]

BodyFile: TypeAlias = Annotated[
    str, Parameter(allow_leading_hyphen=True, help="File with the raw body; - reads standard input.")
]


def read_body(file: str) -> bytes:
    """The bytes of a `BodyFile`, untouched. ConfigError where it cannot be read."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(file, f"cannot be read: {error.strerror}") from error


def header_of(text: str) -> tuple[str, str]:
    """Name and value of a `--header`. ConfigError where there is no colon in it."""
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigError("--header", "expected each header as 'name: value'")
    return name.strip(), value.strip()


def moment_of(flag: str, text: str | None) -> int | None:
    """A time or an age that somebody typed, in Unix milliseconds. ConfigError, under the name `flag`, for neither."""
    if text is None:
        return None
    try:
        return moment_ms(text, time.time_ns() // 1_000_000)
    except ValueError:
        raise ConfigError(flag, f"expected a time, or an age as in 15m, 2h, 3d; got {text[:80]!r}") from None


Tolerance: TypeAlias = Annotated[str, Parameter(help="Seconds either way; none: any age will do.")]


def seconds_of_tolerance(text: str) -> float | None:
    """A `Tolerance` in seconds, None for any age. ConfigError for what is none."""
    if text == "none":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ConfigError("--tolerance", f"expected seconds, 0 or more, or none; got {text!r}")
    return seconds
