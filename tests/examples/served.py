"""The examples as servers of their own on the loopback, started as their READMEs say."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from docs.blocks import ROOT

from ..test_docs import Shell, follow, free_port

BLOCK_TIMEOUT_S = 240  # packages are fetched, an app is built
SECRET = "whsec_of_this_example"


@dataclass(frozen=True)
class Example:
    """An example: what it needs, and how it is started once it is made ready.

    Attributes:
        needs: a command that fails where something is lacking, which .ci/run brings.
        path: where its door is.
    """

    name: str
    start: tuple[str, ...]
    needs: tuple[str, ...] = ()
    path: str = "/webhooks"


OURS = [Example(name, ("sh", "run.sh"), path="/hooks/webhooks") for name in ("django", "fastapi", "flask")]
_NODE = ("npm", "--version")
FOREIGN = [
    Example("express", ("node", "server.js"), _NODE),
    Example("nextjs", ("node_modules/.bin/next", "start", "--hostname", "127.0.0.1"), _NODE),
    Example("rails", ("puma",), ("ruby", "-raction_controller/railtie", "-ractive_job/railtie", "-rpuma", "-e", "")),
    Example("sinatra", ("puma",), ("ruby", "-rsinatra/base", "-rpuma", "-e", "")),
]


def each(examples: Iterable[Example]) -> pytest.MarkDecorator:
    """A test of each of them, the first of which has the time to make it ready."""
    slow = pytest.mark.timeout(400)
    return pytest.mark.parametrize("example", [pytest.param(one, id=one.name, marks=slow) for one in examples])


@dataclass(frozen=True)
class Running:
    """An example that answers."""

    url: str
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def outcomes(self, event_id: str) -> list[str]:
        """What a foreign example said that became of an event, in order."""
        lines = self.log.read_text("utf-8").splitlines()
        return [line.partition(": ")[2] for line in lines if line.startswith(f"{event_id} ")]

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """One request; the answer, read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            answer.read()
            return answer


@functools.cache
def is_lacking(example: Example) -> bool:
    """Whether the machine has not what it needs."""
    needs = example.needs
    return bool(needs) and (
        shutil.which(needs[0]) is None or subprocess.run(needs, capture_output=True, check=False).returncode != 0
    )


def made_ready(example: Example, folder: Path) -> Path:
    """The folder in which all that its README says was done, or, of an example of ours, a copy."""
    if example in OURS:
        return shutil.copytree(ROOT / "examples" / example.name, folder / example.name)
    (folder / example.name).mkdir()
    with contextlib.closing(Shell(folder / example.name, timeout_s=BLOCK_TIMEOUT_S)) as shell:
        follow(ROOT / "examples" / example.name / "README.md", shell)
        return shell.folder


@contextlib.contextmanager
def running(example: Example, folder: Path, log: Path, **environment: str) -> Iterator[Running]:
    """The example from its folder until the end of the block, on a port that nobody has; it answers."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            example.start,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=_environment(log.parent) | {"PORT": str(port)} | environment,
        )
        try:
            served = Running(f"http://127.0.0.1:{port}{example.path}", port, log, process)
            _await_answer(served)
            yield served
        finally:
            # Of what run.sh started, too; what ended by itself is gone.
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)


def _environment(folder: Path) -> dict[str, str]:
    """This process's, with the secret, and this Python as `python`."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (commands / "python").chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HOOKLINE_", "DJANGO_"))}
    return inherited | {
        "PATH": f"{commands}:{inherited['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "WORKOS_WEBHOOK_SECRET": SECRET,
        "WEBHOOK_SECRET": SECRET,
    }


def _await_answer(served: Running) -> None:
    for _ in range(600):
        if served.process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            served.ask("GET", "/")
            return
        time.sleep(0.05)
    raise AssertionError(f"it does not answer:\n{served.log.read_text('utf-8')}")
