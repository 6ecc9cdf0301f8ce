"""Apps as processes of their own, on a socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hookline.testing.signed import signed_request

from ..receiver.company import Company

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def running(environment: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m …` with these variables besides, told to stop at the end; what it prints is read by the test."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOOKLINE_")}
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@contextlib.contextmanager
def served(environment: Mapping[str, str], server: str, *options: str) -> Iterator[int]:
    """gunicorn or uvicorn, on a free port of the loopback, which it gives."""
    place = ("--bind", "127.0.0.1:0") if server == "gunicorn" else ("--host", "127.0.0.1", "--port", "0")
    with running(environment, server, *place, *options) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"(?:Listening at:|running on) http://127.0.0.1:(\d+)", line):
                break
        else:
            pytest.fail(f"{server} did not start: {''.join(said)}")
        port = int(found[1])
        for _ in range(400):  # uvicorn names its port before its processes listen
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port


def post(
    port: int, body: bytes, secret: str, *, path: str = "/hooks/webhooks", is_chunked: bool = False
) -> tuple[int, bytes]:
    """POST a signed body, in chunks without a length if so wanted."""
    signed = signed_request(body, secret, timestamp_ms=time.time_ns() // 1_000_000)
    size = 65_536
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(
            "POST",
            path,
            body=(body[at : at + size] for at in range(0, len(body), size)) if is_chunked else body,
            headers=dict(signed.headers),
            encode_chunked=is_chunked,
        )
        answer = connection.getresponse()
        return answer.status, answer.read()


def event(number: int) -> bytes:
    """A user is created."""
    return json.dumps({**Company().user("created"), "id": f"event_{number}"}).encode()
