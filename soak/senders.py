"""100,000 deliveries by four senders on one PostgreSQL that are killed in turn: the run that CI makes with 2,000."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.crash.senders import run_senders
from tests.postgres import make_cluster

from soak.report import Report

DELIVERIES: Final = 100_000
# With a thousand deliveries a second on two cores, one every few seconds.
A_KILL_PER: Final = 4_000
PAUSE_S: Final = 3.0


def soak(*, seed: int, scale: float, say: Callable[[str], None]) -> Report:
    """One run; `scale` is for its size. The server is the system's own PostgreSQL, started for it, without fsync."""
    deliveries = max(1_000, round(DELIVERIES * scale))
    cluster = make_cluster()
    try:
        tally = run_senders(
            cluster.url(cluster.migrated()),
            seed=seed,
            deliveries=deliveries,
            kills=max(3, deliveries // A_KILL_PER),
            pause_s=PAUSE_S,
            say=lambda line: say(f"senders: {line}"),
        )
    finally:
        cluster.stop()
    row = (
        f"| {len(tally.published):,} | {len(tally.killed)} | {len(tally.published - tally.arrived.keys())} "
        f"| {len(tally.early)} | {tally.unknown.total():,} | {tally.repeated.total():,} "
        f"| {tally.unexplained.total()} | {len(tally.given_up)} | {tally.took_s:.0f} |"
    )
    return Report(
        [
            "# Senders killed on one PostgreSQL",
            "",
            "Four sender processes deliver from one database to eight endpoints that answer after 20 ms. One after the",
            "other dies by SIGKILL at moments drawn from the seed and is replaced; claims last two seconds. A request",
            "comes again only where its attempt died between send and record, or had no answer within 1.5 s. Given up:",
            "three attempts of one delivery died, and no more are made of it.",
            "",
            "| deliveries | killed | lost | claimed twice | attempts died | came again | unexplained | given up | s |",
            "|---|---|---|---|---|---|---|---|---|",
            row,
        ],
        tally.wrong(),
    )
