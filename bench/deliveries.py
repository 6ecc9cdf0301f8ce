"""Recorded deliveries per second, against a bare client loop (uvloop, httptools, signing) on the same sink."""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from bench.deliverer import ENDPOINTS, Setting
from bench.measure import Run, process, spread
from bench.raw import name_of
from hookline.testing.authority import Authority

HOSTS = 1_000
LABELS = {"bare": "bare client loop", "hookline": "delivered and recorded"}


def measure(*, rounds: int, scale: float) -> list[str]:
    """The lines of the report; `scale` 1 is the size that is quoted."""
    count = max(1, round(30 * scale)) * HOSTS
    lines = [f"recorded deliveries/s, SQLite, one process on one core ({rounds} rounds of {count:,})"]
    for hosts in (1, HOSTS):
        for is_tls in (False, True):
            with tempfile.TemporaryDirectory() as folder, _sink(hosts, Path(folder) if is_tls else None) as (port, ca):
                lines += _compare(rounds, Setting("bare", port, count, hosts, ca), is_tls=is_tls)
    return lines


@contextlib.contextmanager
def _sink(hosts: int, tls: Path | None) -> Iterator[tuple[int, str | None]]:
    pem: list[str] = []
    ca_file = None
    if tls is not None:
        authority = Authority.make(tls)
        ca_file = authority.ca_file
        pem = [str(authority.issue(name_of(0), "*.bench.test"))]
    with process("bench.raw", "1", str(hosts), *pem) as (_, port):
        yield int(port), ca_file


def _compare(rounds: int, setting: Setting, *, is_tls: bool) -> list[str]:
    runs: dict[str, list[Run]] = {mode: [] for mode in LABELS}
    for _ in range(rounds):
        for mode, results in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                of_mode = asdict(setting) | {"mode": mode, "database_url": f"sqlite:///{Path(folder) / 'sender.db'}"}
                with process("bench.deliverer", json.dumps(of_mode)) as (_, line):
                    results.append(Run(**json.loads(line)))
    where = f"one host, {ENDPOINTS} endpoints" if setting.hosts == 1 else f"{setting.hosts:,} hosts"
    lines = [f"  {where}, {'TLS' if is_tls else 'plain'}"]
    for mode, label in LABELS.items():
        results = runs[mode]
        lines.append(
            f"    {label:<24} {statistics.median(run.per_s for run in results):>8,.0f}/s"
            f"  {statistics.median(run.cpu_us for run in results):.0f} us CPU each"
        )
    both = list(zip(runs["hookline"], runs["bare"], strict=True))
    # Wall clock is what is promised; CPU says the same on a machine that others use, too.
    lines.append(f"    ratio                    {spread([ours.per_s / bare.per_s for ours, bare in both])}")
    lines.append(f"    ratio by CPU             {spread([bare.cpu_us / ours.cpu_us for ours, bare in both])}")
    return lines
