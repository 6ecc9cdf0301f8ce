"""The examples as servers of their own on the loopback, started as their READMEs say."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from docs.blocks import ROOT

from ..test_docs import free_port

SECRET = "whsec_of_this_example"


@dataclass(frozen=True)
class Example:
    """An example: what it needs, how it is made ready and started.

    Attributes:
        needs: commands, without which it is skipped (in CI: which .ci/run brings).
        prepare: commands that make it ready, once in a session.
        path: where its door is.
    """

    name: str
    start: tuple[str, ...]
    needs: tuple[str, ...] = ()
    prepare: tuple[tuple[str, ...], ...] = ()
    path: str = "/webhooks"


OURS = [Example(name, ("sh", "run.sh"), path="/hooks/webhooks") for name in ("django", "fastapi", "flask")]
FOREIGN = [
    Example("express", ("node", "server.js"), ("node", "npm"), (("npm", "ci", "--loglevel", "error"),)),
    Example("sinatra", ("puma",), ("puma",)),
]


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


def require(example: Example) -> None:
    """Skip a test of it where the machine lacks what it needs."""
    if lacking := [command for command in example.needs if shutil.which(command) is None]:
        pytest.skip(f"no {', '.join(lacking)} here (.ci/run brings it)")


def made_ready(example: Example, folder: Path) -> Path:
    """A copy of the example in this folder, with what its first start needs."""
    require(example)
    copy = folder / example.name
    shutil.copytree(ROOT / "examples" / example.name, copy, ignore=shutil.ignore_patterns("node_modules", ".next"))
    for command in example.prepare:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return copy


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
