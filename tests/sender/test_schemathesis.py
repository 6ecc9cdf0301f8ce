"""Schemathesis against a live server: what fits the description is accepted, what does not is refused, as described."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Client
from .fuzzing import run_schemathesis, what_is_there

SEED = 20_261_127


# Halves that lead to each other nowhere: each takes a worker of its own.
DIRECTORIES = "^/(api/v1/)?(organizations|director)"


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("choice", "examples"), [("--include-path-regex", 25), ("--exclude-path-regex", 80)])
def test_every_check_holds_on_every_operation(
    base_url: str, call: Client, tmp_path: Path, choice: str, examples: int
) -> None:
    """All checks and phases, one seed. Takes a minute: thousands of requests, over real connections."""
    only, known = (choice, DIRECTORIES), what_is_there(call)
    done = run_schemathesis(base_url, known, tmp_path, seed=SEED, examples=examples, timeout_s=280, only=only)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Stateful" in done.stdout
