"""Something as JSON in the editor of the person at the terminal."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hookline.cli import may_ask
from hookline.errors import ConfigError

_STDERR: Final = 2


def check_editor(flag: str, instead: str) -> None:
    """ConfigError, under the name of the flag, where nothing can be edited: there is no terminal, or no editor.

    Args:
        instead: what does without a terminal, to complete "elsewhere …".
    """
    if not may_ask():
        raise ConfigError(flag, f"expected a terminal to edit in; elsewhere {instead}")
    if not _editor(flag):
        raise ConfigError(flag, "expected VISUAL or EDITOR to name an editor; neither is set")


def edited(value: Any, flag: str) -> tuple[bytes, Path] | None:
    """What a person made of a value in their editor, and the file it is kept in; None where they emptied it or the
    editor failed. Delete the file once the text is of use.

    Raises: ConfigError: there is no such editor.
    """
    words = _editor(flag)
    handle, name = tempfile.mkstemp(prefix="hookline-", suffix=".json")  # only its owner can read it
    os.close(handle)
    file = Path(name)
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    command = [*words, name]
    try:
        # What is printed may go elsewhere; the editor is where the person is.
        done = subprocess.run(  # noqa: S603 - the editor of whoever calls
            command, check=False, stdout=None if sys.stdout.isatty() else _STDERR
        )
    except OSError as error:
        file.unlink()
        raise ConfigError(flag, f"{command[0]} cannot be started: {error.strerror}") from None
    text = file.read_bytes() if file.exists() else b""
    if done.returncode == 0 and text.strip():
        return text, file
    file.unlink(missing_ok=True)
    return None


def _editor(flag: str) -> list[str]:
    """The editor's command in words, of which there are none where none is set."""
    try:
        return shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    except ValueError as error:
        raise ConfigError(
            flag, f"expected VISUAL or EDITOR to be a command as a shell reads it: {str(error).lower()}"
        ) from None
