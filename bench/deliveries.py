"""Recorded deliveries per second, against a bare client loop (uvloop, httptools, signing) on the same sink."""

from __future__ import annotations

import json
import statistics
import tempfile

from bench.measure import Run, process, spread


def measure(*, rounds: int, scale: float) -> list[str]:
    """The lines of the report; `scale` 1 is the size that is quoted."""
    count = max(1, round(3_000 * scale)) * 10  # each event goes to ten endpoints
    runs: dict[str, list[Run]] = {"bare": [], "hookline": []}
    with process("bench.raw", "1") as (_, port):
        for _ in range(rounds):
            for mode, results in runs.items():
                with (
                    tempfile.TemporaryDirectory() as folder,
                    process("bench.deliverer", mode, port, str(count), folder) as (_, line),
                ):
                    results.append(Run(**json.loads(line)))
    ratios = [ours.per_s / bare.per_s for ours, bare in zip(runs["hookline"], runs["bare"], strict=True)]
    lines = [f"recorded deliveries/s, SQLite, one process on one core, 10 endpoints ({rounds} rounds of {count:,})"]
    for mode, label in (("bare", "bare client loop"), ("hookline", "delivered and recorded")):
        results = runs[mode]
        lines.append(
            f"  {label:<26} {statistics.median(run.per_s for run in results):>8,.0f}/s"
            f"  {statistics.median(run.cpu_us for run in results):.0f} us CPU each"
        )
    lines.append(f"  ratio                      {spread(ratios)}")
    return lines
