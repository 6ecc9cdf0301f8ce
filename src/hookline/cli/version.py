"""`hookline version`: what a bug report needs."""

from __future__ import annotations

import json
import platform
import sqlite3

import hookline
from hookline.cli.parameters import AsJson


def version(*, as_json: AsJson = False) -> None:
    """Print the version of Hookline and of what it stands on."""
    facts = {
        "hookline": hookline.__version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    if as_json:
        print(json.dumps(facts))
    else:
        print("  ".join(f"{name} {number}" for name, number in facts.items()))
