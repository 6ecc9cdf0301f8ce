"""The command as its users run it: real processes, real sockets on free ports, and a look at what they left behind.

Everything started here is stopped here, by its own process id, whatever the test does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import hookline
from hookline.wire.signature import HEADER, sign

START_S: Final = 20.0  # a cold interpreter on a busy machine; what starts usually takes one or two
STOP_S: Final = 20.0
WAIT_S: Final = 20.0
API_KEY: Final = "sk_live_end_to_end_0123456789"
SECRET: Final = "whsec_end_to_end_0123456789"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, and how long that took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_s: float

    @property
    def json(self) -> Any:
        """The body decoded."""
        return json.loads(self.body)


class Served:
    """One `hookline serve …` process. Say what it printed at its start (`facts`), where it listens, what it logged."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hookline", "serve", *arguments, "--json"],
            cwd=folder,
            env={**clean_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: list[bytes] = []
        self._listener = threading.Thread(target=self._listen, name="serve-log")
        self._listener.start()
        self.facts: dict[str, Any] = json.loads(self._first_line())

    @property
    def url(self) -> str:
        """Where it listens, as `http://127.0.0.1:port`."""
        url: str = self.facts["url"]
        return url

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        """What it wrote to stderr so far; all of it once it has ended."""
        if not self.is_running:
            self._listener.join(STOP_S)
        return b"".join(self._lines).decode()

    def records(self) -> list[dict[str, Any]]:
        """What it logged so far: one JSON object a line, since its stderr is no terminal."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def kill(self) -> None:
        """End it at once, as a power failure or the kernel's out-of-memory killer does."""
        self._process.kill()
        self._process.wait(STOP_S)

    def stop(self) -> int:
        """Ask it to stop with SIGTERM; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for it to end by itself; returns its exit code."""
        return self._process.wait(STOP_S)

    def close(self) -> None:
        """Stop it unless it has ended."""
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._listener.join(STOP_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as errors:
            self._lines.extend(errors)

    def _first_line(self) -> bytes:
        assert self._process.stdout is not None
        overdue = threading.Timer(START_S, self._process.kill)
        overdue.start()
        line: bytes = self._process.stdout.readline()
        overdue.cancel()
        if not line:
            self._process.wait()
            self._process.stdout.close()
            raise AssertionError(f"it did not start (exit {self._process.returncode}):\n{self.log()}")
        return line


@contextlib.contextmanager
def serving(
    part: str,
    folder: Path,
    *arguments: str,
    port: int = 0,
    environment: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[Served]:
    """`hookline serve <part>` in `folder`, on a free port unless told, until the block ends.

    Args:
        arguments: further flags.
        environment: variables of the app's own.
        settings: Hookline's, given as its variables: `webhook_secrets="whsec_…"`.
    """
    variables = {f"HOOKLINE_{name.upper()}": text for name, text in settings.items()}
    served = Served([part, "--port", str(port), *arguments], folder, {**(environment or {}), **variables})
    try:
        yield served
    finally:
        served.close()


def clean_environment() -> dict[str, str]:
    """The environment for a child: this package importable, none of the developer's settings, no proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HOOKLINE_") and not name.lower().endswith("_proxy")
    }
    return kept | {"PYTHONPATH": str(Path(hookline.__file__).parent.parent)}


def ask(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float = WAIT_S,
) -> Answer:
    """One request on a connection of its own."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    started = time.monotonic()
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
        return Answer(response.status, dict(response.getheaders()), content, time.monotonic() - started)
    finally:
        connection.close()


def call(served: Served, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One call of the sender's API with the production key; header names with underscores for dashes."""
    sent = {"Authorization": f"Bearer {API_KEY}"} | {name.replace("_", "-"): text for name, text in headers.items()}
    if body is None:
        return ask(method, served.url + path, None, sent)
    return ask(method, served.url + path, json.dumps(body).encode(), sent | {"Content-Type": "application/json"})


def deliver(
    served: Served, body: bytes, *, secret: str = SECRET, header: str | None = None, timeout_s: float = WAIT_S
) -> Answer:
    """POST `body` to the door, signed now unless another header is given."""
    value = sign(body, secret, timestamp_ms=time.time_ns() // 1_000_000) if header is None else header
    headers = {"Content-Type": "application/json", HEADER: value}
    return ask("POST", served.url + "/webhooks", body, headers, timeout_s=timeout_s)


def rows(database: Path, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What plain SQL shows, on a connection that can only read."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        found: list[tuple[Any, ...]] = connection.execute(statement, parameters).fetchall()
        return found


def value(database: Path, statement: str, *parameters: Any) -> Any:
    """The first column of the first row."""
    return rows(database, statement, *parameters)[0][0]


def wait_for(question: Callable[[], Any], what: str, *, timeout_s: float = WAIT_S) -> Any:
    """Ask until the answer is true; returns it. AssertionError naming `what` when that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)
    return answer
