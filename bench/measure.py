"""Rounds, processes and figures that every measurement shares."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One timed stretch: how many, in what time, at what cost, with what latencies (seconds, unsorted)."""

    count: int
    elapsed_s: float
    cpu_s: float
    latencies_s: Sequence[float] = ()

    @property
    def per_s(self) -> float:
        return self.count / self.elapsed_s

    @property
    def cpu_us(self) -> float:
        """CPU of the measured process per item, in microseconds."""
        return self.cpu_s / max(1, self.count) * 1e6

    def percentile_ms(self, percent: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000 if ordered else float("nan")


@contextlib.contextmanager
def process(module: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python module run beside us; yields it with the first line it prints. Stopped by its id."""
    started = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert started.stdout is not None
    try:
        first = started.stdout.readline().strip()
        if not first:
            raise RuntimeError(f"{module} ended with {started.wait()} before it was ready")
        yield started, first
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        started.stdout.close()


def cpu_s(pid: int) -> float:
    """User and system time a process has used so far, in seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(values: Sequence[float]) -> str:
    """Median with its extremes."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
