"""Recorded deliveries per second, against a bare client loop (uvloop, httptools, signing) on the same sink."""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from bench.databases import Databases
from bench.deliverer import ENDPOINTS, Mode, Setting
from bench.measure import Options, Run, cost, process, spread
from bench.raw import name_of
from hookline.testing.authority import Authority

HOSTS = 1_000
# One that makes no headway gives up by itself; this is for one that hangs.
LONGEST_S = 600.0
LABELS: Final[dict[Mode, str]] = {"bare": "bare client loop", "hookline": "delivered and recorded"}


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report."""
    many = options.sized(HOSTS, 100)
    count = options.sized(30 * HOSTS, ENDPOINTS) // many * many
    size = f"rounds: {options.rounds} of {count:,}"
    yield f"recorded deliveries/s, {databases.described}, one process on one core ({size})"
    cases = ((1, False), (many, True)) if options.is_small else ((1, False), (1, True), (many, False), (many, True))
    for hosts, is_tls in cases:
        with (
            tempfile.TemporaryDirectory() as folder,
            sink(hosts, Path(folder) if is_tls else None) as (port, ca),
        ):
            yield from _compare(databases, options.rounds, Setting("bare", port, count, hosts, ca), is_tls=is_tls)


@contextlib.contextmanager
def sink(hosts: int, tls: Path | None) -> Iterator[tuple[int, str | None]]:
    """A sink of its own on the other core: its port, and the certificate of its authority where it speaks TLS."""
    pem: list[str] = []
    ca_file = None
    if tls is not None:
        authority = Authority.make(tls)
        ca_file = authority.ca_file
        pem = [str(authority.issue(name_of(0), "*.bench.test"))]
    with process("bench.raw", "1", str(hosts), *pem) as (_, port):
        yield int(port), ca_file


def _compare(databases: Databases, rounds: int, setting: Setting, *, is_tls: bool) -> Iterator[str]:
    runs: dict[Mode, list[Run]] = {mode: [] for mode in LABELS}
    for _ in range(rounds):
        for mode, results in runs.items():
            with contextlib.ExitStack() as stack:
                url = stack.enter_context(databases.fresh()) if mode == "hookline" else ""
                results.append(deliver(databases, replace(setting, mode=mode, database_url=url)))
    where = f"one host, {ENDPOINTS} endpoints" if setting.hosts == 1 else f"{setting.hosts:,} hosts"
    yield f"  {where}, {'TLS' if is_tls else 'plain'}"
    for mode, label in LABELS.items():
        results = runs[mode]
        yield f"    {label:<24} {statistics.median(run.per_s for run in results):>8,.0f}/s  {cost(results)}"
    both = list(zip(runs["hookline"], runs["bare"], strict=True))
    # Wall clock is what is promised; CPU says the same on a machine that others use, too.
    yield f"    ratio                    {spread([ours.per_s / bare.per_s for ours, bare in both])}"
    yield f"    ratio by CPU             {spread([bare.cpu_us / ours.cpu_us for ours, bare in both])}"


def deliver(databases: Databases, setting: Setting) -> Run:
    """One run of a deliverer of its own."""
    with process("bench.deliverer", json.dumps(asdict(setting))) as (child, _):
        server_s = databases.server_s()
        line = child.line(LONGEST_S)
        after_s = databases.server_s()
    used_s = None if setting.mode == "bare" or server_s is None or after_s is None else after_s - server_s
    return Run(**json.loads(line), server_s=used_s)
