"""Schemathesis against a live API with a hundred examples of each operation: CI makes eighty."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.sender.conftest import LIVE_KEY, Client, served
from tests.sender.fuzzing import run_schemathesis, what_is_there

from hookline.sender.app import SenderApp
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.storage import connect
from soak.report import Report

EXAMPLES: Final = 100
# Schemathesis's own summary: what was tried, what was found.
_SUMMARY: Final = re.compile(r"=+ SUMMARY =+\n(.*)", re.DOTALL)


def soak(*, seed: int, scale: float, say: Callable[[str], None]) -> Report:
    """One run on SQLite; `scale` is for the number of examples. Nothing leaves the machine."""
    examples = max(1, round(EXAMPLES * scale))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = connect(f"sqlite:///{folder / 'hookline.db'}")
        app = SenderApp(
            database,
            api_keys={"production": LIVE_KEY},
            lookup=lambda _: ["93.184.215.14"],
            make_exchange=lambda **_: HttptoolsExchange(refuse=lambda _: "nothing is sent from here"),
            makes_keys=False,
        )
        try:
            with served(app) as url:
                say(f"schema: {examples} examples of each operation")
                done = run_schemathesis(
                    url, what_is_there(Client(app)), folder, seed=seed, examples=examples, timeout_s=3_600
                )
        finally:
            app.close()
            database.close()
    found = _SUMMARY.search(done.stdout)
    summary = (done.stdout + done.stderr if found is None else found[1]).strip()
    wrong = [] if done.returncode == 0 else [done.stdout + done.stderr]
    return Report(
        [
            "# Requests that fit the description, and such that do not",
            "",
            "Schemathesis reads `/openapi.json` of a live server on SQLite and makes requests of every operation: from",
            "its examples, its bounds, at random within the description and outside it, and in sequences from one",
            "operation to the next. Each answer is held against the description; what may be answered otherwise, and",
            f"why, is in `tests/sender/schemathesis.toml`. {examples} examples of each operation and kind.",
            "",
            "```text",
            *summary.splitlines(),
            "```",
        ],
        wrong,
    )
