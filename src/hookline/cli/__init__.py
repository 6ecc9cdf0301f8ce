"""The `hookline` command: the way in, and what every command shares: exit codes, how it talks, how an error is told.

This module imports only the standard library, so that a light install can say what is missing instead of showing
a traceback. The commands are in the modules beside it, each imported when it is called.
"""

from __future__ import annotations

import enum
import io
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Manner:
    """How one call talks: by the flags that every command takes, wherever they stand, and by the environment.

    Attributes:
        as_json: errors are objects, and a command that can prints JSON.
        quiet: no talk on stderr; warnings and errors all the same.
        verbose: more of it: each request that is made, and where to.
        asks: a question may be asked; where nobody is at a terminal none is, whatever this says.
        debug: errors come with their traceback.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    asks: bool = True
    debug: bool = False


MANNER: ContextVar[Manner] = ContextVar("MANNER", default=Manner())  # noqa: B039 - frozen
EVERYWHERE = {
    "--quiet": "No talk on stderr; warnings and errors all the same.",
    "--verbose": "Say which requests are made, and where to.",
    "--no-input": "Never ask: what would need an answer is an error.",
    "--debug": "Show the traceback of an error. Also HOOKLINE_DEBUG=1.",
}
_TRUE = {"1", "true", "yes", "on"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Data goes to stdout; talk, errors and logs to stderr."""
    given, manner = manner_of(list(sys.argv[1:] if arguments is None else arguments), os.environ)
    for stream in (sys.stdout, sys.stderr):
        # Names come from outside: neither a lone surrogate nor a terminal that knows ASCII alone ends a command.
        if isinstance(stream, io.TextIOWrapper):
            # And what is said on stderr of a line comes behind it, also where both go into one file.
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    token = MANNER.set(manner)
    try:
        return _main(given, manner)
    finally:
        MANNER.reset(token)


def _main(arguments: list[str], manner: Manner) -> int:
    try:
        from hookline.cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "hookline":
            raise
        message = f"the command needs packages that are not installed (no {error.name}); pip install '{EXTRA}'"
        return fail("missing_extra", message, Exit.USAGE, as_json=manner.as_json)
    try:
        try:
            code = run(arguments, manner)
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
    except OSError as error:
        tell_traceback()
        where = "" if error.filename is None else f"{error.filename}: "
        return fail("system", f"{where}{error.strerror or error}", Exit.FAILED, as_json=manner.as_json)
    except Exception as error:
        # Its message is not ours, and may hold anything: whoever wants it asks for the traceback.
        tell_traceback()
        message = f"{type(error).__name__} at {_place_of(error)}, which nobody expected"
        return fail("unexpected", message, Exit.FAILED, as_json=manner.as_json)
    return code


def manner_of(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[list[str], Manner]:
    """The arguments without the flags that every command takes, and what those and the environment say."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    before = arguments[:end]
    return [one for one in before if one not in EVERYWHERE] + list(arguments[end:]), Manner(
        as_json="--json" in before or environ.get("HOOKLINE_OUTPUT", "") == "json",
        quiet="--quiet" in before,
        verbose="--verbose" in before,
        asks="--no-input" not in before,
        debug="--debug" in before or environ.get("HOOKLINE_DEBUG", "").lower() in _TRUE,
    )


def talk(text: str) -> None:
    """Say something to a person, which is no data: on stderr, unless they want none."""
    if not MANNER.get().quiet:
        print(text, file=sys.stderr, flush=True)


def may_ask() -> bool:
    """Whether somebody is there to answer a question, and wants any."""
    return MANNER.get().asks and sys.stdin.isatty() and sys.stderr.isatty()


def tell_traceback() -> None:
    """The traceback of the error that is being handled, where it was asked for."""
    if MANNER.get().debug:
        traceback.print_exc()


def fail(code: str, message: str, exit_code: Exit, *, as_json: bool, to_do: str | None = None) -> Exit:
    """Tell an error on stderr, by a code that stays (error_codes.py): what failed, and what to do about it.

    For people a line each; one JSON object where `--json` was asked for.

    Args:
        to_do: where it is more exact than what the code's own entry says.
    """
    from hookline.cli.error_codes import ERRORS

    if to_do is None and (known := ERRORS.get(code)) is not None:
        to_do = known.to_do
    if as_json:
        told = {"code": code, "message": message} | ({} if to_do is None else {"to_do": to_do})
        print(json.dumps({"error": told}, ensure_ascii=False), file=sys.stderr)
        return exit_code
    print(f"error[{code}]: {message}", file=sys.stderr)
    if to_do is not None:
        print(f"  to do: {to_do}", file=sys.stderr)
    return exit_code


def _place_of(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
