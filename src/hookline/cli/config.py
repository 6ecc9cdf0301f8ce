"""`hookline config`: which settings are in force, where each came from, and the file they may be in."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit
from hookline.cli.parameters import AsJson
from hookline.config import FILE_NAME, SETTINGS, load
from hookline.errors import ConfigError

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
def init(
    *,
    force: Annotated[bool, Parameter(negative=(), help="Replace the file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a hookline.toml with every setting in it, each commented out, with what it takes and what holds without it.

    Secrets do not belong in it, but the names of files that hold them do.
    """
    file = Path.cwd() / FILE_NAME
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(template())
    except FileExistsError:
        raise ConfigError(str(file), "is there already: --force replaces it") from None
    if as_json:
        print(json.dumps({"file": str(file)}))
    else:
        print(file)


def template() -> str:
    """The text of a hookline.toml that sets nothing."""
    lines = ["# Settings of Hookline. A variable HOOKLINE_… goes before what stands here, a flag before both."]
    for setting in SETTINGS.values():
        name = f"{setting.name}_file" if setting.secret else setting.name
        value = '"secrets/…"' if setting.secret else json.dumps(setting.default or "…", ensure_ascii=False)
        about = setting.about + (" In a file that nobody else may read." if setting.secret else "")
        unset = "" if setting.default is not None else f" Without it: {setting.unset or 'off'}."
        lines += ["", *(f"# {line}" for line in textwrap.wrap(f"{about} Takes {setting.expected}.{unset}", 110))]
        lines.append(f"# {name} = {value}")
    return "\n".join(lines) + "\n"


@config.command
def path() -> int:
    """Print the path of hookline.toml; exit 3 where there is none."""
    file = Path.cwd() / FILE_NAME
    print(file)
    return Exit.OK if file.is_file() else Exit.NOT_FOUND
