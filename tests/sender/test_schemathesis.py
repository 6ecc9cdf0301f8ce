"""Schemathesis against a live server: what fits the description is accepted, what does not is refused, as described."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Client
from .fuzzing import run_schemathesis, what_is_there

SEED = 20_261_127


@pytest.mark.timeout(300)
def test_every_check_holds_on_every_operation(base_url: str, call: Client, tmp_path: Path) -> None:
    """All checks and phases, one seed. Takes a minute: thousands of requests, over real connections."""
    done = run_schemathesis(base_url, what_is_there(call), tmp_path, seed=SEED, examples=80, timeout_s=280)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Stateful" in done.stdout
