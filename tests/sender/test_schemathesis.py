"""Schemathesis against a live server: what fits the description is accepted, what does not is refused, as described."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import LIVE_KEY, Client

EXCEPTIONS = Path(__file__).with_name("schemathesis.toml")
SEED = 20_261_127


@pytest.mark.timeout(300)
def test_every_check_holds_on_every_operation(base_url: str, call: Client, tmp_path: Path) -> None:
    """All checks and phases, one seed. Takes some half a minute: thousands of requests, over real connections."""
    call("POST", "/api/v1/endpoints", {"url": "https://taken.example.com/", "events": ["*"]})
    call("POST", "/api/v1/events", {"event": "invoice.paid", "data": {}})
    [delivery] = call("GET", "/api/v1/deliveries").json["data"]
    known = {
        "ENDPOINT_ID": delivery["endpoint_id"],
        "DELIVERY_ID": delivery["id"],
        "KEY_ID": call("POST", "/api/v1/api_keys").json["id"],
    }
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file"),
        *(str(EXCEPTIONS), "--no-color", "run", f"{base_url}/openapi.json"),
        *("--header", f"Authorization: Bearer {LIVE_KEY}", "--seed", str(SEED), "--max-examples", "10"),
        *("--continue-on-failure", "--no-shrink", "--suppress-health-check", "all"),
    ]

    environment = {**os.environ, **known}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Stateful" in done.stdout
