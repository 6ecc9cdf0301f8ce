"""The measurements themselves: small, so that they go on working. No figure is judged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the measurements pin cores: Linux alone")


@pytest.mark.parametrize(("name", "scale"), [("accepts", "0.17"), ("applies", "0.05"), ("deliveries", "0.03")])
def test_a_measurement_reports_a_ratio(name: str, scale: str) -> None:
    """A small run of each pair ends with both rates and their ratio, every answer having been checked."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--rounds", "1", "--scale", scale],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )

    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d/s", done.stdout)) >= 2
    ratio = re.search(r"ratio +(\d+\.\d+)", done.stdout)
    assert ratio is not None
    assert float(ratio[1]) > 0
