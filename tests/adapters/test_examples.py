"""The examples, started as their READMEs say and killed at the worst moment. What the READMEs show, test_docs runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tokenize
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline.testing.signed import signed_request

from ..apps import rows_at
from ..receiver.company import Company, wait_for
from ..test_docs import free_port

ROOT = Path(__file__).resolve().parents[2]
# Where each of them writes its letters and its accounts.
EXAMPLES = {"django": ("shop_letter", "shop_account"), "flask": ("letter", "account"), "fastapi": ("letter", "account")}
SECRET = "whsec_of_this_example"
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


@contextlib.contextmanager
def running(folder: Path, port: int, letters: str, *more: Path) -> Iterator[Path]:
    """The README's command; its log. Ends as a power cut would end it."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (commands / "python").chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HOOKLINE_")},
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, (*more, ROOT / "src"))),
        "PORT": str(port),
        "WEBHOOK_SECRET": SECRET,
        "LETTERS": letters,
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    log = folder / "run.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "run.sh"], cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield log
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def post(port: int) -> int:
    """A signed event to the door, once that is open."""
    signed = signed_request(
        json.dumps(Company().user("created")).encode(), SECRET, timestamp_ms=time.time_ns() // 1_000_000
    )
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/hooks/webhooks", data=signed.body, headers=dict(signed.headers)
    )
    for _ in range(300):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the example's door did not open")


@pytest.mark.timeout(150)  # two starts of a whole example, each of several processes
@pytest.mark.parametrize("name", EXAMPLES)
def test_killed_with_everything_written_and_nothing_committed(tmp_path: Path, name: str) -> None:
    """kill -9 of all of it, between the handler's writes and mark and their commit: after a restart, one letter."""
    folder, (letters, accounts) = tmp_path / "shop", EXAMPLES[name]
    shutil.copytree(ROOT / "examples" / name, folder)
    url, port = f"sqlite:///{folder / 'shop.db'}", free_port()
    with running(folder, port, letters, Path(__file__).with_name("stops_before_commit")) as log:
        answer = post(port)
        wait_for(lambda: "written, not committed" in log.read_text("utf-8"), seconds=40)
    assert answer == 200
    assert rows_at(url, f"select count(*) from {letters}") == [(0,)]
    assert ("running",) in rows_at(url, "select state from hookline_runs")

    # What the minute does until its lease has passed.
    rows_at(url, "update hookline_runs set leased_until_ms = 1 where state = 'running'")
    with running(folder, port, letters):
        again = post(port)
        wait_for(lambda: rows_at(url, "select distinct state from hookline_runs") == [("succeeded",)], seconds=40)

    assert again == 200
    assert rows_at(url, f"select address from {letters}") == [("user_1@acme.example",)]
    assert rows_at(url, f"select workos_id, is_open from {accounts}") == [("user_1", 1)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_own_code_is_as_short_as_its_readme_says(name: str) -> None:
    """Lines with code in them, of every file."""
    example, count = ROOT / "examples" / name, 0
    for path in sorted(example.rglob("*.py")):
        with path.open("rb") as source:
            tokens = [token for token in tokenize.tokenize(source.readline) if token.type not in NOT_CODE]
        count += len({token.start[0] for token in tokens if token.type != tokenize.ENDMARKER})
    said = re.search(r"Its own code is (\d+) lines", (example / "README.md").read_text("utf-8"))

    assert said is not None
    assert count == int(said[1])
    assert count < 30
