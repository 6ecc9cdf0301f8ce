"""`hookline config`: which settings are in force, where each came from, and the file they may be in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit
from hookline.cli.parameters import AsJson
from hookline.config import FILE_NAME, load

config = cyclopts.App(name="config", help="Show the settings in force.")


@config.command
def show(
    *,
    origins: Annotated[bool, Parameter(negative=(), help="Say where each value came from.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print every setting, and what each source says for itself; secrets are masked."""
    settings = load()
    resolved = dict(settings.resolved)
    for source, own in settings.sources.items():
        resolved |= {f"sources.{source}.{name}": entry for name, entry in own.items()}
    if as_json:
        print(
            json.dumps(
                {
                    name: {"value": entry.shown(), "origin": entry.origin} if origins else entry.shown()
                    for name, entry in resolved.items()
                },
                ensure_ascii=False,
            )
        )
        return
    width = max(map(len, resolved))
    for name, entry in resolved.items():
        shown = entry.shown()
        value = shown if shown is not None else f"(unset: {entry.setting.unset})"
        origin = f"   [{entry.origin}]" if origins else ""
        print(f"{name:<{width}}  {value}{origin}")


@config.command
def path() -> int:
    """Print the path of hookline.toml; exit 3 where there is none."""
    file = Path.cwd() / FILE_NAME
    print(file)
    return Exit.OK if file.is_file() else Exit.NOT_FOUND
