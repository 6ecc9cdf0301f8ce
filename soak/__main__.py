"""`make soak`: every large run, one after the other. Progress goes to stderr, the report to stdout."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable

from soak import crash, drain, examples, feed, live, merge, races, reading, reconcile, schema, senders
from soak.report import Report

SOAKS: dict[str, Callable[..., Report]] = {
    "crash": crash.soak,
    "drain": drain.soak,
    "examples": examples.soak,
    "feed": feed.soak,
    "live": live.soak,
    "merge": merge.soak,
    "races": races.soak,
    "reading": reading.soak,
    "reconcile": reconcile.soak,
    "schema": schema.soak,
    "senders": senders.soak,
}


DATABASES = ("sqlite", "postgresql")
ON_EITHER = ("drain", "feed", "merge", "races", "reading", "reconcile")


def main() -> int:
    """Print the reports; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m soak", description="Hookline's tests at their large sizes.")
    parser.add_argument("only", nargs="*", help=f"run these alone: {', '.join(SOAKS)} (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same run (default: 1)")
    parser.add_argument("--scale", type=float, default=1.0, help="size; 1 is what docs/proof quotes (default: 1)")
    parser.add_argument(
        "--database",
        choices=DATABASES,
        help=f"for {', '.join(ON_EITHER)}, where to keep it (default: sqlite; feed: postgresql)",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(SOAKS):
        parser.error(f"expected {', '.join(SOAKS)}; got {', '.join(sorted(unknown))}")
    if arguments.database is not None and (not arguments.only or set(arguments.only) - set(ON_EITHER)):
        parser.error(f"--database: is for {', '.join(ON_EITHER)}, which have to be named")
    if arguments.scale <= 0:
        parser.error("--scale: expected more than 0")
    started_s, wrong = time.monotonic(), 0

    def say(line: str) -> None:
        print(f"{time.monotonic() - started_s:7.1f} s  {line}", file=sys.stderr, flush=True)

    for name in arguments.only or SOAKS:
        begun_s = time.monotonic()
        where = {} if arguments.database is None else {"database": arguments.database}
        report = SOAKS[name](seed=arguments.seed, scale=arguments.scale, say=say, **where)
        took_s = time.monotonic() - begun_s
        machine = (
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}, "
            f"{os.cpu_count()} cores"
        )
        flags = "".join(f" --{flag} {value}" for flag, value in where.items())
        command = f"make soak ARGS='{name}{flags} --seed {arguments.seed} --scale {arguments.scale:g}'"
        print("\n".join([*report.lines, "", f"`{command}`: {took_s:.0f} s on {machine}."]), flush=True)
        wrong += len(report.wrong)
        for one in report.wrong[:20]:
            say(f"WRONG: {one}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
