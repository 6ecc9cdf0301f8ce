"""The tables of docs/errors.md: the command's list of codes, and what the code of both ends refuses; put in while the
site is made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hookline
from hookline.cli.error_codes import ERRORS

_PACKAGE: Final = Path(hookline.__file__).parent


def page() -> str:
    """A table for the command, one for the API and one for the door, in Markdown."""
    command = [f"| `{code}` | {one.meaning} | {one.to_do or ''} |" for code, one in ERRORS.items()]
    return "\n".join(
        [
            *("## Of the command", "", "| code | meaning | to do |", "|---|---|---|", *command, ""),
            *("## Of the API", "", "| code | status | says |", "|---|---|---|", *_rows("sender", "RequestError"), ""),
            *("## Of the door", "", "| reason | status | says |", "|---|---|---|", *_rows("receiver", "refuse"), ""),
        ]
    )


def _rows(end: str, name: str) -> Iterator[str]:
    """Codes in order, each once, with every status it comes with and the words it comes with first."""
    found: dict[str, tuple[set[int], str]] = {}
    for path in sorted((_PACKAGE / end).rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name:
                match call.args:
                    case [ast.Constant(value=int(status)), ast.Constant(value=str(code)), words, *_]:
                        statuses, told = found.setdefault(code, (set(), _told(words)))
                        statuses.add(status)
                        found[code] = (statuses, told or _told(words))
    for code, (statuses, told) in sorted(found.items()):
        yield f"| `{code}` | {', '.join(str(status) for status in sorted(statuses))} | {told} |"


def _told(words: ast.expr) -> str:
    """A message as far as it is fixed, `…` standing for the rest."""
    parts = words.values if isinstance(words, ast.JoinedStr) else [words]
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
    return "" if text.strip("… ") == "" else text.replace("|", "\\|").replace("<", "&lt;")
