"""The `hookline` command as a command of a framework's: on that app's receiver and its database."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from hookline.cli import main

# What is part of a command that does more.
_SHORT: Final[Mapping[str, Sequence[str]]] = {"worker": ("serve", "worker")}


def run_command(arguments: Sequence[str], *, app: str, database_url: str | None) -> int:
    """Run `hookline …`; its exit code.

    Args:
        arguments: those of `hookline`, or `worker` for `serve worker`; none for help.
        app: where the receiver is, as `HOOKLINE_APP` says it.
        database_url: for the commands that open the database by themselves; None where the receiver alone reaches it.
    """
    first, *rest = arguments or ("--help",)
    given = {"HOOKLINE_APP": app, "HOOKLINE_DATABASE_URL": database_url}
    changed = {name: value for name, value in given.items() if value is not None}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        return main([*_SHORT.get(first, (first,)), *rest])
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
