"""`make bench`: every measurement, one after the other."""

from __future__ import annotations

import argparse
import platform
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench import accepts, applies, claims, deliveries, hanging, lists, memory, publishing, statements
from bench.databases import KINDS, Databases, opened, version
from bench.measure import CORES, BenchError, Options


@dataclass(frozen=True, slots=True)
class Part:
    """One measurement: how it is made, and what it is of. `small` is its scale where little will do."""

    measure: Callable[[Databases, Options], Iterator[str]]
    about: str
    small: float


PARTS: Final = {
    "accepts": Part(accepts.measure, "webhooks stored by the receiver, beside a server that stores nothing", 0.05),
    "deliveries": Part(deliveries.measure, "deliveries recorded by the sender, beside a bare client loop", 0.03),
    "applies": Part(applies.measure, "events applied to the mirror, beside a bare upsert of the same rows", 0.02),
    "claims": Part(claims.measure, "claiming and settling, by how many deliveries wait", 0.1),
    "publishing": Part(publishing.measure, "events published through the API, beside calls that are refused", 0.1),
    "hanging": Part(hanging.measure, "healthy deliveries while other endpoints hang, beside a run without those", 0.1),
    "memory": Part(memory.measure, "memory while it delivers, with a thousand waiting and with a million", 0.01),
    "lists": Part(lists.measure, "first pages of the dashboard's lists over a million events, and their plans", 0.002),
    "statements": Part(statements.measure, "statements per delivery and while idle", 0.05),
}


def main() -> int:
    """Print the report; 1 if a measurement could not be made."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Hookline's speed beside the machine's own. The parts:\n"
        + "\n".join(f"  {name:<12} {part.about}" for name, part in PARTS.items()),
        epilog="For PostgreSQL a server of its own is started and stopped: the system's, 15 or later, or a wheel's.",
    )
    parser.add_argument("only", nargs="*", metavar="PART", help="measure these alone (default: all)")
    parser.add_argument("--database", choices=KINDS, action="append", help="on this one alone (default: both)")
    parser.add_argument("--rounds", type=int, help="how often each pair is measured (default: 3; small: 1)")
    parser.add_argument("--scale", type=float, help="size of each round; 1 is what is quoted (default: 1)")
    parser.add_argument("--small", action="store_true", help="sizes at which each part takes seconds and says little")
    parser.add_argument("--large", action="store_true", help="the backlog of 5 million as well, which takes minutes")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (default: 1)")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(PARTS):
        parser.error(f"expected {', '.join(PARTS)}; got {', '.join(sorted(unknown))}")
    if (arguments.scale or 1) <= 0 or (arguments.rounds or 1) <= 0:
        parser.error("--scale, --rounds: expected more than 0")
    # What was started is stopped on the way out, also when a time limit ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = f"{len(CORES)} core{'' if len(CORES) == 1 else 's'}"
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}, {cores}")
    failed = False
    for kind in arguments.database or KINDS:
        with opened(kind) as databases:
            if kind == "postgres":
                print(f"\n{version(databases)}, started for this")
            for name in arguments.only or PARTS:
                part = PARTS[name]
                scale = arguments.scale or (part.small if arguments.small else 1.0)
                rounds = arguments.rounds or (1 if arguments.small else 3)
                print(flush=True)
                started_s = time.monotonic()
                options = Options(rounds, scale, arguments.small, arguments.large, arguments.seed)
                try:
                    for line in part.measure(databases, options):
                        print(line, flush=True)
                except BenchError as error:
                    failed = True
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
                print(f"{name}: {time.monotonic() - started_s:.0f} s", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
