"""Writes docs/openapi.json, the description of the sender's API: `make docs`, or `python -m docs.openapi`.

It is what a server answers at /openapi.json; a test fails when the file is stale.
"""

from __future__ import annotations

import json
from pathlib import Path

from hookline.cli.openapi import description

FILE = Path(__file__).with_suffix(".json")


def render() -> str:
    """The description as it is kept."""
    return json.dumps(description(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
