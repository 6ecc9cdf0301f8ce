"""A listener at a real `hookline serve`, which is killed amid deliveries and started again on the same file."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hookline.relay.following import Plan
from hookline.relay.frames import Start
from hookline.testing import Sink

from .test_listening import listener

KEY = "sk_live_of_a_server_that_is_killed"
PATIENCE_S = 50


def test_a_server_that_is_killed_and_started_again_loses_nothing(tmp_path: Path) -> None:
    """All that was published arrives, each once and in order, and in the end nothing is missed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOOKLINE_")}

    def started() -> subprocess.Popen[bytes]:
        with (tmp_path / "server.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "hookline", "serve", "sender", "--port", str(port)],
                cwd=tmp_path, stdout=log, stderr=log, env={**inherited, "HOOKLINE_API_KEY": KEY},
            )  # fmt: skip

    def call(method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(url + path, data, headers, method=method), timeout=10
        ) as got:
            return json.load(got)

    def until_nothing_is_missed() -> None:
        while call("GET", "/api/v1/listeners/ada")["missed"]:
            time.sleep(0.05)

    async def publish(first: int, last: int) -> None:
        events = [{"event": "dsync.user.created", "data": {"id": f"user_{number}"}} for number in range(first, last)]
        while True:
            try:
                await asyncio.to_thread(call, "POST", "/api/v1/events", {"events": events})
            except urllib.error.URLError:
                await asyncio.sleep(0.05)  # it is starting
            else:
                return

    async def story() -> None:
        plan = Plan(Start("ada"), waits=True)
        async with Sink() as app, listener(SimpleNamespace(url=url), app.url(), plan=plan, key=KEY) as here:  # type: ignore[arg-type]
            await here.begun()
            is_killed = asyncio.Event()

            async def hold(_: object) -> None:
                if len(app.seen) == 3:
                    await is_killed.wait()

            app.before = hold
            await publish(0, 6)
            await app.arrived(3, timeout_s=PATIENCE_S)
            processes[0].kill()
            processes[0].wait()
            await here.seen.until(lambda: bool(here.seen.losses))
            is_killed.set()
            processes.append(started())
            await publish(6, 10)
            await app.arrived(10, timeout_s=PATIENCE_S)
            await asyncio.to_thread(until_nothing_is_missed)
            ids = [json.loads(request.body)["data"]["id"] for request in app.seen]
            assert ids == [f"user_{number}" for number in range(10)]
            assert here.seen.ways == ["websocket", "websocket"]

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await story()

    processes = [started()]
    try:
        asyncio.run(bounded())
    finally:
        processes[-1].kill()
        processes[-1].wait()
