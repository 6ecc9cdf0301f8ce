"""The commands of docs/cli.md, from the tree that `hookline` itself runs; put in while the site is made."""

from __future__ import annotations

import re

from hookline.cli import Exit
from hookline.cli.app import app
from hookline.cli.help import EXIT_CODES


def page() -> str:
    """The exit codes, then a section for each command with its usage, arguments and options, in Markdown."""
    codes = [f"| {code.value} | {EXIT_CODES[code]} |\n" for code in Exit]
    commands = app.generate_docs(output_format="markdown", recursive=True, max_heading_level=4)
    _, _, commands = commands.partition("**Commands**:\n")
    commands = re.sub(r"^```console$", "```text", commands, flags=re.MULTILINE)  # nothing to be pasted as it stands
    return "".join(["| exit code | |\n", "|---|---|\n", *codes, "\n## Commands\n", commands])
