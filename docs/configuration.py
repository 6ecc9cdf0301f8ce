"""The tables of docs/configuration.md, from the settings themselves: `python -m docs.configuration` makes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from hookline.config import SETTINGS, SOURCE_SETTINGS, Setting

PAGE = Path(__file__).with_suffix(".md")
HEAD = "| variable | what it does | takes | default |\n|---|---|---|---|\n"
SOURCES_HEAD = "| key of a source | what it does | takes | default |\n|---|---|---|---|\n"


def row(setting: Setting) -> str:
    """One setting's line."""
    about = setting.about + (" Secret." if setting.secret else "")
    default = f"`{setting.default}`" if setting.default is not None else setting.unset
    return f"| `{setting.variable}` | {about} | {setting.expected} | {default} |\n"


def source_row(setting: Setting) -> str:
    """The line of one that each source may set for itself."""
    about = setting.about + (" Secret." if setting.secret else "")
    default = "none" if setting.secret else f"as `{setting.name}`" if setting.name in SETTINGS else setting.unset
    return f"| `{setting.name}` | {about} | {setting.expected} | {default} |\n"


def page(text: str) -> str:
    """The page's text with its tables made anew."""
    tables = {HEAD: map(row, SETTINGS.values()), SOURCES_HEAD: map(source_row, SOURCE_SETTINGS.values())}
    for head, rows in tables.items():
        table = head + "".join(rows)
        text = re.sub(re.escape(head) + r"(\|.*\n)*", table.replace("\\", r"\\"), text)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
