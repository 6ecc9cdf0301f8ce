"""`make bench`: every measurement, one after the other."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
from collections.abc import Callable

from bench import accepts, applies, deliveries

MEASUREMENTS: dict[str, Callable[..., list[str]]] = {
    "accepts": accepts.measure,
    "deliveries": deliveries.measure,
    "applies": applies.measure,
}


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Hookline's speed beside the machine's own.")
    parser.add_argument("only", nargs="*", help=f"measure these alone: {', '.join(MEASUREMENTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each pair is measured (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of each round; 1 is what is quoted (default: 1)")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(MEASUREMENTS):
        parser.error(f"expected {', '.join(MEASUREMENTS)}; got {', '.join(sorted(unknown))}")
    cores = len(os.sched_getaffinity(0))
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}, {cores} cores")
    for name in arguments.only or MEASUREMENTS:
        print()
        print("\n".join(MEASUREMENTS[name](rounds=arguments.rounds, scale=arguments.scale)), flush=True)


if __name__ == "__main__":
    main()
