"""The Django project under gunicorn, on a socket, with a worker in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline.testing.signed import signed_request

from ..apps import rows_at
from ..receiver.company import Company, wait_for
from .shop.settings import SECRET

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def running(database_url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of the shop's on that database, told to stop at the end; its stderr is read by the test."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HOOKLINE_")},
        "SHOP_DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "tests.adapters.shop.settings",
        "PYTHONUNBUFFERED": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
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
def served(database_url: str, *options: str) -> Iterator[int]:
    """gunicorn with the shop; its port."""
    with running(
        database_url, "gunicorn", "--bind", "127.0.0.1:0", *options, "tests.adapters.shop.wsgi:application"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"Listening at: http://127.0.0.1:(\d+)", line):
                break
        else:
            pytest.fail("gunicorn did not start")
        yield int(found[1])


def chunked(port: int, body: bytes, size: int = 65_536) -> tuple[int, bytes]:
    """POST a signed body in chunks, without a length."""
    signed = signed_request(body, SECRET, timestamp_ms=time.time_ns() // 1_000_000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(
            "POST",
            "/hooks/webhooks",
            body=(body[at : at + size] for at in range(0, len(body), size)),
            headers=dict(signed.headers),
            encode_chunked=True,
        )
        answer = connection.getresponse()
        return answer.status, answer.read()


def event(number: int) -> bytes:
    return json.dumps({**Company().user("created"), "id": f"event_{number}"}).encode()


def test_under_gunicorn_with_a_worker_beside_it(shop_url: str) -> None:
    """Bodies without a length are read, and counted; what was kept is handled once by `manage.py hookline worker`."""
    with served(shop_url, "--workers", "2") as port:
        answers = [chunked(port, event(number % 3)) for number in range(6)]
        too_large = chunked(port, b"x" * 2_200_000)
        with running(shop_url, "django", "hookline", "worker"):
            wait_for(lambda: rows_at(shop_url, "select count(*) from shop_letter") == [(3,)])

    assert answers == [(200, b"")] * 6
    assert too_large == (413, b"size\n")
    # A worker that has ended has left nothing running.
    assert rows_at(shop_url, "select distinct handler, state, attempt from hookline_runs") == [
        ("shop.letters", "succeeded", 1)
    ]
