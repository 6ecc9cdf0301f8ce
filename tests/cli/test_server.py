"""The process that serves: its port, its signals, and what it leaves behind when something ends by itself."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hookline.cli import Exit
from hookline.cli.probes import Probes
from hookline.cli.server import SAME_STOP_S, AsgiReceive, AsgiSend, Scope, Switch, ThreadedLoop, bind
from hookline.errors import ConfigError

PROGRAM = """
import asyncio, json, sys, threading
from prometheus_client import CollectorRegistry
from hookline.cli.probes import Probes
from hookline.cli.server import Switch, ThreadedLoop, bind, serve_until_told

mode = sys.argv[1]
release = threading.Event()

async def app(scope, receive, send):
    if scope["path"] == "/slow":
        print("slow began", flush=True)
        await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})

def run(stop):
    if mode == "crash":
        raise RuntimeError("the worker broke")
    if mode == "leave":
        return
    if mode == "stubborn":
        threading.Event().wait()
    stop.wait()
    print("worker stopped", flush=True)

probes = Probes(problems=lambda: ["it is tired"] if mode == "unready" else [], registry=CollectorRegistry())
side = bind("127.0.0.1", 0, is_tls=False) if mode == "beside" else None
listener = bind("127.0.0.1", 0, is_tls=False) if mode != "portless" else None
code = serve_until_told(
    Switch(door=None, sender=app, probes=probes) if listener else None,
    listener,
    [ThreadedLoop(run, wake=lambda: None, name="worker")],
    started=lambda: print(
        json.dumps({"url": listener.url if listener else None, "side": side.url if side else None}), flush=True
    ),
    beside=(probes.alone(), side) if side else None,
    drain=probes.drain,
    drain_delay_s=0.5 if mode == "delay" else 0,
)
print("left", code, flush=True)
sys.exit(code)
"""


@contextmanager
def running(mode: str) -> Iterator[subprocess.Popen[str]]:
    """The program above in a process of its own; killed if the test leaves it running."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def connection(process: subprocess.Popen[str]) -> http.client.HTTPConnection:
    """A connection to the URL it says it serves."""
    return http.client.HTTPConnection(json.loads(line(process))["url"].removeprefix("http://"), timeout=10)


def ask(url: str, path: str) -> tuple[int, bytes]:
    """Status and body of one GET on a connection of its own."""
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["serve", "portless"])
def test_a_signal_stops_it_cleanly(mode: str, number: signal.Signals) -> None:
    """The first SIGTERM or SIGINT ends port and background work, in that order, and the exit code is 0."""
    with running(mode) as process:
        line(process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)

    assert output.split("\n")[:2] == ["worker stopped", "left 0"]
    assert process.returncode == Exit.OK


def test_a_request_under_way_is_answered() -> None:
    """A request that began before the signal gets its answer; the port is closed to new ones."""
    with running("serve") as process:
        client = connection(process)
        client.request("GET", "/slow")
        assert line(process) == "slow began"
        process.send_signal(signal.SIGTERM)
        answer = client.getresponse()
        body = answer.read()
        client.close()
        process.communicate(timeout=20)

    assert (answer.status, body) == (200, b"/slow")
    assert process.returncode == Exit.OK


def test_a_second_signal_ends_it_at_once() -> None:
    """Work that will not stop is left behind at the second signal; the exit code tells."""
    with running("stubborn") as process:
        line(process)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=SAME_STOP_S + 0.1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert process.returncode == Exit.INTERRUPTED


def test_one_stop_that_arrives_twice_is_one() -> None:
    """Two signals at once, as timeout(1) sends them, still end it cleanly."""
    with running("serve") as process:
        line(process)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    assert process.returncode == Exit.OK


@pytest.mark.parametrize("mode", ["crash", "leave"])
def test_background_work_that_ends_takes_the_process_along(mode: str) -> None:
    """A door without its worker would collect forever: the process exits 1, with the traceback if there is one."""
    with running(mode) as process:
        output, errors = process.communicate(timeout=20)

    assert process.returncode == Exit.FAILED
    assert output.endswith("left 1\n")
    assert ("the worker broke" in errors) == (mode == "crash")


def test_while_it_drains_it_is_alive_and_not_ready() -> None:
    """On the port beside, /readyz says 503 from the first signal on until everything else has stopped."""
    with running("beside") as process:
        urls = json.loads(line(process))
        slow = http.client.HTTPConnection(urls["url"].removeprefix("http://"), timeout=10)
        slow.request("GET", "/slow")
        assert line(process) == "slow began"
        before = ask(urls["side"], "/readyz")
        process.send_signal(signal.SIGTERM)
        while (during := ask(urls["side"], "/readyz")) == before:
            pass
        alive = ask(urls["side"], "/healthz")
        answer = slow.getresponse().read()
        slow.close()
        process.communicate(timeout=20)

    assert before == (200, b"ok\n")
    assert during == (503, b"not ready\ndraining\n")
    assert alive == (200, b"ok\n")
    assert answer == b"/slow"
    assert process.returncode == Exit.OK


def test_with_a_delay_the_port_answers_on_for_a_while() -> None:
    """A balancer that asks after the signal is told that this process is not ready, on the port itself."""
    with running("delay") as process:
        url = json.loads(line(process))["url"]
        process.send_signal(signal.SIGTERM)
        while (readiness := ask(url, "/readyz"))[0] == 200:
            pass
        work = ask(url, "/anything")
        process.communicate(timeout=20)

    assert readiness == (503, b"not ready\ndraining\n")
    assert work == (200, b"/anything")
    assert process.returncode == Exit.OK


def test_an_unready_process_says_why() -> None:
    """/readyz names what keeps the process from its work."""
    with running("unready") as process:
        answer = ask(json.loads(line(process))["url"], "/readyz")

    assert answer == (503, b"not ready\nit is tired\n")


@pytest.mark.parametrize(("mode", "status"), [("serve", 200), ("unready", 503)])
def test_health_and_readiness(mode: str, status: int) -> None:
    """/healthz says that the process lives, /readyz whether it can do its work."""
    with running(mode) as process:
        client = connection(process)
        statuses = []
        for path in ("/healthz", "/readyz", "/anything"):
            client.request("GET", path)
            answer = client.getresponse()
            answer.read()
            statuses.append(answer.status)
        client.close()

    assert statuses == [200, status, 200]


@pytest.mark.parametrize(
    ("ends", "path", "end"),
    [
        ({"door", "sender"}, "/webhooks", "door"),
        ({"door", "sender"}, "/hooks/of/an/app", "door"),
        ({"door", "sender"}, "/api/v1/events", "sender"),
        ({"door"}, "/api/v1/events", "door"),
        ({"sender"}, "/webhooks", "sender"),
    ],
)
def test_the_switch_sends_each_path_to_its_end(ends: set[str], path: str, end: str) -> None:
    """What the sender says is its own goes there, everything else to the door; one end alone gets all of it."""
    reached: list[str] = []

    def recording(name: str) -> Any:
        async def app(scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
            reached.append(name)

        return app if name in ends else None

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError

    switch = Switch(
        door=recording("door"),
        sender=recording("sender"),
        is_senders=lambda path: path.startswith("/api"),
        probes=Probes(problems=list, registry=CollectorRegistry()),
    )
    asyncio.run(switch({"type": "http", "path": path, "method": "POST"}, receive, send))

    assert reached == [end]


def test_a_taken_port_is_named() -> None:
    """A port in use is an error that names the setting, before anything starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError) as caught:
        bind("127.0.0.1", taken.getsockname()[1], is_tls=False)

    assert caught.value.setting == "HOOKLINE_PORT"
    assert "in use" in str(caught.value)


def test_a_foreign_host_is_named() -> None:
    """An address that is not this machine's is refused the same way."""
    with pytest.raises(ConfigError, match="cannot listen on 192\\.0\\.2\\.1:0"):
        bind("192.0.2.1", 0, is_tls=False)


def test_a_threaded_loop_stops_when_told() -> None:
    """`stop` reaches the thread as its own event, with a wake-up, and `run` returns when the thread has ended."""
    woken = threading.Event()
    stopped: list[bool] = []

    def run(stopping: threading.Event) -> None:
        woken.wait(10)
        stopped.append(stopping.is_set())

    async def main() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(ThreadedLoop(run, wake=woken.set, name="loop").run(stop))
        await asyncio.sleep(0)
        stop.set()
        await task

    asyncio.run(main())

    assert stopped == [True]


def test_a_threaded_loop_that_is_cancelled_stops_too() -> None:
    """Whatever ends the process early (nobody reads what it says at its start): no thread keeps it alive."""
    woken = threading.Event()
    stopped: list[bool] = []
    ended = threading.Event()

    def run(stopping: threading.Event) -> None:
        woken.wait(10)
        stopped.append(stopping.is_set())
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(ThreadedLoop(run, wake=woken.set, name="loop").run(asyncio.Event()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert ended.wait(10)
    assert stopped == [True]


def test_a_worker_whose_start_nobody_reads_ends(tmp_path: Path) -> None:
    """The line it prints at its start fails: it says so by its exit code, and does not stay behind."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.Popen(
        [sys.executable, "-m", "hookline", "serve", "worker", "--database-url", f"sqlite:///{tmp_path / 'app.db'}"],
        stdout=write_end,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.wait()
