"""The commands of docs/cli.md, from the tree that `hookline` itself runs; put in while the site is made."""

from __future__ import annotations

import re
from typing import Final

from hookline.cli import Exit
from hookline.cli.app import app

_MEANS: Final = {
    Exit.OK: "done; nothing is wrong",
    Exit.FAILED: "it failed: a check, a delivery, a database that is away",
    Exit.USAGE: "called wrongly, or a setting is wrong",
    Exit.NOT_FOUND: "what was named is not there",
    Exit.NOT_LOGGED_IN: "no key, or one that is not valid there",
    Exit.DRIFT: "the mirror and the source differ",
    Exit.PARTLY_DONE: "some of it could not be done",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
}


def page() -> str:
    """The exit codes, then a section for each command with its usage, arguments and options, in Markdown."""
    codes = [f"| {code.value} | {_MEANS[code]} |\n" for code in Exit]
    commands = app.generate_docs(output_format="markdown", recursive=True, max_heading_level=4)
    _, _, commands = commands.partition("**Commands**:\n")
    commands = re.sub(r"^```console$", "```text", commands, flags=re.MULTILINE)  # nothing to be pasted as it stands
    return "".join(["| exit code | |\n", "|---|---|\n", *codes, "\n## Commands\n", commands])
