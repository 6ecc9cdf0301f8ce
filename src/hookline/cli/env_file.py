"""One variable in a `.env` file: set, and nothing else touched."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import Literal

from hookline.errors import ConfigError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def set_variable(file: Path, name: str, value: str) -> Literal["added", "changed", "unchanged"]:
    """Set a variable in a file of `NAME=value` lines; the file is made, for its owner alone, where there is none.

    The last line of that name is the one that counts; all behind its `=` is the value, its `export` is kept. Every
    other byte of the file stays, and so do its mode and, where it is a link, the link. Written beside it and moved
    there: whoever reads sees the old file or the new one.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    target = Path(os.path.realpath(file))
    line = re.compile(rb"^([ \t]*(?:export[ \t]+)?" + re.escape(name.encode()) + rb"[ \t]*=)([^\r\n]*)", re.MULTILINE)
    try:
        before = target.read_bytes() if target.exists() else b""
        found = list(line.finditer(before))
        if not found:
            gap = b"" if not before or before.endswith(b"\n") else b"\n"
            after = before + gap + f"{name}={value}\n".encode()
        else:
            last = found[-1]
            after = before[: last.start(2)] + value.encode() + before[last.end(2) :]
        if after == before:
            return "unchanged"
        _replace(target, after)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be written: {error.strerror}") from None
    return "changed" if found else "added"


def variable_in(file: Path, name: str) -> str | None:
    """The value of a variable in such a file, without quotes; None where there is none, or no file."""
    pattern = re.compile(rf"^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*=[ \t]*([^\r\n]*?)[ \t]*$", re.MULTILINE)
    try:
        found = pattern.findall(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return str(found[-1]).strip("\"'") or None if found else None


def _replace(target: Path, content: bytes) -> None:
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as made:
            made.write(content)
        beside.chmod(mode)
        beside.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
