"""Rounds, processes and figures that every measurement shares."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Those this process may use, before it keeps to one: its children begin with all of them.
CORES: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
READY_S: Final = 60.0
STOP_S: Final = 20.0


class BenchError(Exception):
    """A measurement that would not end, or would not mean what it says: what was expected, and what came."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a measurement.

    Attributes:
        rounds: how often each pair is measured, in turn.
        scale: size of each round; 1 is what is quoted.
        is_small: whether to leave out what says little more than the rest.
        is_large: whether to take the size as well that takes minutes to make.
        seed: of whatever is drawn.
    """

    rounds: int
    scale: float
    is_small: bool = False
    is_large: bool = False
    seed: int = 1

    def sized(self, count: int, least: int = 1) -> int:
        """`count` at this scale."""
        return max(least, round(count * self.scale))


@dataclass(frozen=True, slots=True)
class Run:
    """One timed stretch: how many, in what time, at what cost, with what latencies (seconds, unsorted).

    `cpu_s` is of the measured process, `server_s` of the database server beside it.
    """

    count: int
    elapsed_s: float
    cpu_s: float = 0.0
    latencies_s: Sequence[float] = ()
    server_s: float | None = None

    @property
    def per_s(self) -> float:
        return self.count / self.elapsed_s

    @property
    def cpu_us(self) -> float:
        """CPU of the measured process per item, in microseconds."""
        return self.cpu_s / max(1, self.count) * 1e6

    @property
    def server_us(self) -> float:
        """CPU of the database server per item, in microseconds."""
        return (self.server_s or 0.0) / max(1, self.count) * 1e6

    def percentile_ms(self, percent: float) -> float:
        return percentile(self.latencies_s, percent) * 1000


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which that part of them lies; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def pin(core: int) -> None:
    """Keep this process, and what it starts, on one core, where there are two."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[core % len(CORES)]})


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """The same for as long as the block lasts."""
    pin(core)
    try:
        yield
    finally:
        unpin()


def unpin() -> None:
    """Let this process run wherever it might at its start."""
    if CORES:
        os.sched_setaffinity(0, CORES)


class Child:
    """A process of ours and what it prints. Every wait has an end."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self._process = process
        assert process.stdout is not None
        self._stdout = process.stdout
        self._unread = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def line(self, timeout_s: float = READY_S) -> str:
        """The next line it prints. BenchError where none comes in time, or the process has ended."""
        ends_s = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._stdout], [], [], max(0.0, ends_s - time.monotonic()))
            if not ready:
                raise BenchError(f"{self.name}: expected a line within {timeout_s:g} s, and nothing came")
            said = os.read(self._stdout.fileno(), 65_536)
            if not said:
                raise BenchError(f"{self.name}: expected a line, but it ended with {self._process.wait(STOP_S)}")
            self._unread += said
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode().strip()

    def stop(self) -> None:
        """End it, by its id."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()


def _end_with_parent() -> None:
    """Have the kernel end this child when whoever started it is gone, however that came about (Linux)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


@contextlib.contextmanager
def process(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, ready_s: float = READY_S
) -> Iterator[tuple[Child, str]]:
    """A Python module run beside us; yields it with the first line it prints, for which it has `ready_s`."""
    here = os.sched_getaffinity(0)
    unpin()
    try:
        started = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            preexec_fn=_end_with_parent,
        )
    finally:
        os.sched_setaffinity(0, here)
    child = Child(module, started)
    try:
        yield child, child.line(ready_s)
    finally:
        child.stop()


def cpu_s(pid: int) -> float:
    """User and system time a process has used so far, in seconds (Linux)."""
    user, system, *_ = _stat(pid)[10:14]
    return (user + system) / os.sysconf("SC_CLK_TCK")


def tree_cpu_s(pid: int) -> float:
    """The same of a process, of its children, and of those that have ended (Linux)."""
    ticks = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                fields = _stat(int(folder.name))
                if int(folder.name) == pid or fields[0] == pid:
                    ticks += sum(fields[10:14])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[int]:
    """The numbers of a process's stat, from its parent on; 10 to 13 are its own time and that of ended children."""
    return [int(field) for field in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1:]]


def spread(values: Sequence[float]) -> str:
    """Median with its extremes."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def cost(runs: Sequence[Run]) -> str:
    """CPU per item: the measured process's, and the database server's where there is one."""
    own = f"{statistics.median(run.cpu_us for run in runs):.0f} us CPU each"
    if runs[0].server_s is None:
        return own
    return f"{own}, server {statistics.median(run.server_us for run in runs):.0f} us"
