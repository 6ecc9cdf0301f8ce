"""Every example as its README says, on a free port, asked all that the conformance check asks; CI leaves it out where
nothing of them changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from soak.report import Report

ROOT: Final = Path(__file__).resolve().parents[1]
_EXAMPLE: Final = re.compile(r"\[(\w+)\]$")


def soak(*, say: Callable[[str], None], **_: float) -> Report:
    """One run of tests/examples, in which nothing may be skipped. Neither seed nor scale changes it."""
    say("examples: each is made ready by what its README says, which fetches packages and builds one app")
    with tempfile.TemporaryDirectory() as name:
        told = Path(name) / "told.xml"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "tests/examples", "--quiet", f"--junitxml={told}"],
            cwd=ROOT,
            env={**os.environ, "CI": "true", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        cases = list(ET.parse(told).iter("testcase")) if told.exists() else []
    passed: dict[str, list[float]] = {}
    for case in cases:
        found = _EXAMPLE.search(case.get("name", ""))
        if found is not None and len(case) == 0:  # what failed or was skipped has a child that says so
            passed.setdefault(found[1], []).append(float(case.get("time", "0")))
    wrong = [] if done.returncode == 0 and passed else [done.stdout + done.stderr]
    return Report(
        [
            "# The examples",
            "",
            "Each is started on the loopback and asked all that `hookline check` asks, with nothing unknown: of ours,",
            "the check looks into the app's tables; of the others, the log says what became of each event. The others",
            "are made ready by what their READMEs say, from fetching packages on, and are asked what the check leaves",
            "open: their settings, two dozen malformed headers, what becomes of the queue when they are told to stop.",
            "",
            "| example | tests passed | seconds |",
            "|---|---|---|",
            *(f"| {name} | {len(times_s)} | {sum(times_s):.0f} |" for name, times_s in sorted(passed.items())),
        ],
        wrong,
    )
