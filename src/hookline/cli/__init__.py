"""The `hookline` command: the way in, and what every command shares: exit codes and how an error is told.

This module imports only the standard library, so that a light install can say what is missing instead of showing
a traceback. The commands are in the modules beside it, each imported when it is called.
"""

from __future__ import annotations

import enum
import json
import os
import sys
from collections.abc import Sequence

EXTRA = "hookline[server]"


class Exit(enum.IntEnum):
    """What the command leaves its caller with (DESIGN §2)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_LOGGED_IN = 4
    DRIFT = 5
    PARTLY_DONE = 6
    INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Data goes to stdout; talk, errors and logs to stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    try:
        from hookline.cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "hookline":
            raise
        return fail(
            "missing_extra",
            f"the command needs packages that are not installed (no {error.name}); pip install '{EXTRA}'",
            Exit.USAGE,
            as_json=as_json,
        )
    try:
        try:
            code = run(arguments, as_json=as_json)
        finally:
            # However it ends, by another exception too: what is left to write is written here, where a reader that
            # has left is expected, and not at exit.
            sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left. Python would meet it once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return code


def fail(code: str, message: str, exit_code: Exit, *, as_json: bool) -> Exit:
    """Tell an error on stderr: a line for people, or one JSON object where `--json` was asked for."""
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}, ensure_ascii=False), file=sys.stderr)
    else:
        print(f"error: {message}", file=sys.stderr)
    return exit_code
