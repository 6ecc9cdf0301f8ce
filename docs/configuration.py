"""The table of docs/configuration.md, from the settings themselves: `python -m docs.configuration` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

from hookline.config import SETTINGS, Setting

PAGE = Path(__file__).with_suffix(".md")
HEAD = "| variable | what it does | takes | default |\n|---|---|---|---|\n"


def row(setting: Setting) -> str:
    """One setting's line."""
    about = setting.about + (" Secret." if setting.secret else "")
    default = f"`{setting.default}`" if setting.default is not None else setting.unset
    return f"| `{setting.variable}` | {about} | {setting.expected} | {default} |\n"


def page(text: str) -> str:
    """The page's text with its table made anew."""
    table = HEAD + "".join(map(row, SETTINGS.values()))
    return re.sub(re.escape(HEAD) + r"(\|.*\n)*", lambda _: table, text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
