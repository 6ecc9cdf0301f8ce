"""Parameters that several commands take, and the body they read, in one wording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from hookline.errors import ConfigError

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
