"""Schemathesis against a running API: the run of the tests, and the longer one of the soak."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .conftest import LIVE_KEY, Client

EXCEPTIONS: Final = Path(__file__).with_name("schemathesis.toml")


def what_is_there(call: Client) -> Mapping[str, str]:
    """An endpoint, a delivery, a key, a directory: more than 404 is tried. By the names that the exceptions use."""
    call("POST", "/api/v1/endpoints", {"url": "https://taken.example.com/", "events": ["*"]})
    call("POST", "/api/v1/events", {"event": "invoice.paid", "data": {}})
    [delivery] = call("GET", "/api/v1/deliveries").json["data"]
    return {
        "ENDPOINT_ID": delivery["endpoint_id"],
        "DELIVERY_ID": delivery["id"],
        "DIRECTORY_ID": call("POST", "/api/v1/directories", {"name": "Staff"}).json["id"],
        "KEY_ID": call("POST", "/api/v1/api_keys").json["id"],
    }


def run_schemathesis(
    base_url: str,
    known: Mapping[str, str],
    folder: Path,
    *,
    seed: int,
    examples: int,
    timeout_s: float,
    only: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Every check and phase on every operation, or those of options `only`, so many examples of each; 0: all hold."""
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file"),
        *(str(EXCEPTIONS), "--no-color", "run", f"{base_url}/openapi.json"),
        *("--header", f"Authorization: Bearer {LIVE_KEY}", "--seed", str(seed), "--max-examples", str(examples)),
        *("--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", *only),
    ]
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": False}
    return subprocess.run(command, cwd=folder, env={**os.environ, **known}, timeout=timeout_s, **options)
