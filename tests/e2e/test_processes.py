"""The command as processes: door and worker apart, killed and restarted, slow handlers, signals, curl and sqlite3."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from hookline.testing import sample_event

from .processes import (
    API_KEY,
    SECRET,
    Served,
    ask,
    call,
    clean_environment,
    deliver,
    rows,
    serving,
    value,
    wait_for,
)

TYPE: Final = "dsync.user.created"

# An app of somebody's: its handlers note in a table of their own, and wait for a file where told to.
APP: Final = f"""
import os, pathlib, time
from hookline import Receiver

hooks = Receiver(os.environ["APP_DATABASE"], secrets=[os.environ.get("APP_SECRET", {SECRET!r})])

def note(event, tx, what):
    tx.execute("create table if not exists notes (what text, event_id text)")
    tx.execute("insert into notes values (?, ?)", (what, event.id))

@hooks.on("dsync.user.created", name="slow")
def slow(event, tx):
    pathlib.Path("slow-began").touch()
    if "APP_SLEEP_S" in os.environ:
        time.sleep(float(os.environ["APP_SLEEP_S"]))
    while not pathlib.Path("go-on").exists():
        time.sleep(0.01)
    note(event, tx, "slow")

@hooks.on("dsync.user.created", name="quick")
def quick(event, tx):
    note(event, tx, "quick")
"""


def users(count: int, *, first: int = 0) -> list[Any]:
    """Events of that many different new users."""
    return [
        sample_event(TYPE, id=f"directory_user_{number:04}", email=f"user{number}@example.com")
        for number in range(first, first + count)
    ]


def post_all(door: Served, events: list[Any]) -> list[int]:
    """How the door answered each, one after the other."""
    return [deliver(door, event.raw).status for event in events]


def live(database: Path) -> set[str]:
    """Ids of the users the mirror shows."""
    return {id_ for (id_,) in rows(database, "select id from hookline_directory_users_live")}


def ids(events: list[Any]) -> set[str]:
    return {event.data["id"] for event in events}


def is_applied(database: Path, events: list[Any]) -> Callable[[], bool]:
    return lambda: ids(events) <= live(database)


def serving_door(folder: Path) -> AbstractContextManager[Served]:
    """The door alone: a worker is another process."""
    return serving("receiver", folder, "--no-worker", webhook_secrets=SECRET)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "hookline.db"


# -- door and worker apart


def test_a_dead_worker_costs_the_door_nothing(tmp_path: Path, database: Path) -> None:
    """The worker is killed: the door goes on answering 200. A new worker: everything kept meanwhile is applied."""
    before, during = users(5), users(30, first=5)
    with serving_door(tmp_path) as door:
        with serving("worker", tmp_path) as worker:
            answers_before = post_all(door, before)
            wait_for(is_applied(database, before), "what came before the kill")
            worker.kill()

        answers_during = post_all(door, during)
        shown_meanwhile = live(database)
        waiting = value(database, "select count(*) from hookline_inbox_queue")
        with serving("worker", tmp_path):
            wait_for(is_applied(database, during), "the backlog")

    assert answers_before + answers_during == [200] * 35
    assert shown_meanwhile == ids(before)
    assert waiting == 30
    assert value(database, "select count(*) from hookline_inbox_queue") == 0


def test_a_door_killed_in_traffic_has_kept_what_it_answered(tmp_path: Path, database: Path) -> None:
    """kill -9 in the middle of concurrent requests: whatever was answered 200 is in the inbox and gets applied."""
    events = users(400)
    answered: list[Any] = []
    failed = threading.Event()

    def send(part: list[Any], door: Served) -> None:
        for event in part:
            try:
                if deliver(door, event.raw, timeout_s=5).status == 200:
                    answered.append(event)
            except OSError:
                failed.set()
                return

    with serving("worker", tmp_path):
        with serving_door(tmp_path) as door:
            threads = [threading.Thread(target=send, args=(events[n::4], door)) for n in range(4)]
            for thread in threads:
                thread.start()
            wait_for(lambda: len(answered) >= 60, "some traffic")
            door.kill()
            for thread in threads:
                thread.join()
        with serving_door(tmp_path) as door:
            rest = users(3, first=1000)
            answers = post_all(door, rest)
            wait_for(is_applied(database, [*answered, *rest]), "everything answered 200")

    assert failed.is_set()
    assert 60 <= len(answered) < 400
    assert answers == [200] * 3
    kept = {id_ for (id_,) in rows(database, "select event_id from hookline_inbox")}
    assert {event.id for event in answered} <= kept
    assert value(database, "pragma integrity_check") == "ok"


# -- handlers that take their time


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The folder of an app whose Receiver is `shop:hooks`."""
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


def serving_app(app: Path, **environment: str) -> AbstractContextManager[Served]:
    """Door and worker of that app in one process."""
    environment |= {"APP_DATABASE": f"sqlite:///{app / 'hookline.db'}"}
    return serving("receiver", app, "--app", "shop:hooks", environment=environment)


def noted(app: Path, what: str) -> list[str]:
    """Which events that handler has noted, in order of their ids."""
    try:
        found = rows(app / "hookline.db", "select event_id from notes where what = ? order by event_id", what)
    except sqlite3.OperationalError:
        return []  # no handler has written yet
    return [event_id for (event_id,) in found]


def test_a_handler_asleep_for_thirty_seconds_delays_nothing(app: Path, database: Path) -> None:
    """While it sleeps before its first write, the next 200 comes at once, is applied, and other handlers run."""
    first, second = users(2)
    with serving_app(app, APP_SLEEP_S="30") as receiver:
        assert deliver(receiver, first.raw).status == 200
        wait_for((app / "slow-began").exists, "the handler to begin")
        began = time.monotonic()

        answer = deliver(receiver, second.raw)
        wait_for(is_applied(database, [second]), "the second event")
        wait_for(lambda: noted(app, "quick") == [first.id, second.id], "the other handler")
        took_s = time.monotonic() - began
        asleep = noted(app, "slow")
        receiver.kill()

    assert (answer.status, asleep) == (200, [])
    assert answer.took_s < 1
    assert took_s < 15  # far from the sleep's end


def test_handlers_that_wait_finish_with_their_mark(app: Path, database: Path) -> None:
    """Six events while every run of the slow handler waits: six 200, all applied; let go, each is noted once."""
    events = users(6)
    with serving_app(app) as receiver:
        answers = [deliver(receiver, event.raw) for event in events]
        wait_for(is_applied(database, events), "the mirror")
        wait_for(lambda: len(noted(app, "quick")) == 6, "the other handler")
        waiting = noted(app, "slow")
        (app / "go-on").touch()
        wait_for(lambda: len(noted(app, "slow")) == 6, "the slow handler")
        code = receiver.stop()

    assert [answer.status for answer in answers] == [200] * 6
    assert max(answer.took_s for answer in answers) < 1
    assert waiting == []
    assert noted(app, "slow") == noted(app, "quick") == sorted(event.id for event in events)
    assert rows(database, "select state, count(*) from hookline_runs group by state") == [("succeeded", 12)]
    assert code == 0


def test_a_stop_lets_a_running_handler_finish(app: Path, database: Path) -> None:
    """SIGTERM while a handler runs: the port closes, the handler ends with its mark, exit code 0."""
    (event,) = users(1)
    with serving_app(app) as receiver:
        assert deliver(receiver, event.raw).status == 200
        wait_for((app / "slow-began").exists, "the handler to begin")

        os.kill(receiver.pid, signal.SIGTERM)
        wait_for(lambda: not accepts(receiver), "the port to close")
        still_running = receiver.is_running
        (app / "go-on").touch()
        code = receiver.wait()

    assert still_running
    assert noted(app, "slow") == [event.id]
    assert code == 0


def test_a_stop_lets_a_delivery_under_way_finish(tmp_path: Path, database: Path) -> None:
    """SIGTERM while an endpoint has the request and thinks: its answer is recorded, exit code 0, nothing to repeat."""
    arrived, answer = threading.Event(), threading.Event()

    class Thinking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            arrived.set()
            answer.wait(20)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    endpoint = ThreadingHTTPServer(("127.0.0.1", 0), Thinking)
    threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        with serving("sender", tmp_path, "--allow-private-targets", api_key=API_KEY) as sender:
            url = f"http://127.0.0.1:{endpoint.server_port}/"
            call(sender, "POST", "/webhook_endpoints", {"endpoint_url": url, "events": [TYPE]})
            call(sender, "POST", "/api/v1/events", {"event": TYPE, "data": sample_event(TYPE).data})
            assert arrived.wait(20)

            os.kill(sender.pid, signal.SIGTERM)
            wait_for(lambda: not accepts(sender), "the port to close")
            still_running = sender.is_running
            answer.set()
            code = sender.wait()
    finally:
        answer.set()
        endpoint.shutdown()
        endpoint.server_close()

    assert still_running
    assert code == 0
    assert _states(database) == [("succeeded", 1)]
    assert rows(database, "select number, outcome from hookline_sender_attempts") == [(1, "succeeded")]


def accepts(served: Served) -> bool:
    try:
        return ask("GET", served.url + "/healthz").status == 200
    except OSError:
        return False


# -- many processes


def test_two_of_each_share_one_file(app: Path, database: Path) -> None:
    """Two processes with both ends and handlers on one file: each event is sent, applied and handled exactly once."""
    (app / "go-on").touch()
    with ExitStack() as running:
        flags = ("--allow-private-targets", "--app=shop:hooks")
        environment = {"APP_DATABASE": f"sqlite:///{database}", "APP_SECRET": "whsec_not_known_yet"}
        first = running.enter_context(serving("all", app, *flags, environment=environment, api_key=API_KEY))
        body = {"endpoint_url": first.url + "/webhooks", "events": [TYPE]}
        endpoint = call(first, "POST", "/webhook_endpoints", body).json
        ports = [int(first.url.rpartition(":")[2]), 0]
        assert first.stop() == 0
        environment["APP_SECRET"] = endpoint["secret"]
        both = [
            running.enter_context(serving("all", app, *flags, port=port, environment=environment, api_key=API_KEY))
            for port in ports
        ]

        events = users(60)
        batches = [[{"event": TYPE, "data": event.data} for event in events[n : n + 10]] for n in range(0, 60, 10)]
        answers = [call(both[n % 2], "POST", "/api/v1/events", {"events": batch}) for n, batch in enumerate(batches)]
        wait_for(is_applied(database, events), "the mirror")
        wait_for(lambda: len(noted(app, "slow")) >= 60 and len(noted(app, "quick")) >= 60, "the handlers")
        wait_for(lambda: _states(database) == [("succeeded", 60)], "the record of every delivery")
        codes = [one.stop() for one in both]

    published = sorted(item["id"] for answer in answers for item in answer.json["data"])
    assert [answer.status for answer in answers] == [201] * 6
    assert noted(app, "slow") == noted(app, "quick") == published
    assert rows(database, "select outcome, count(*) from hookline_sender_attempts group by 1") == [("succeeded", 60)]
    assert rows(database, "select * from hookline_inbox_repeats") == []
    assert codes == [0, 0]


def _states(database: Path) -> list[tuple[Any, ...]]:
    return rows(database, "select state, count(*) from hookline_sender_deliveries group by state")


# -- by hand


def test_a_signed_event_by_curl_is_a_row_in_sqlite3(tmp_path: Path, database: Path) -> None:
    """`hookline sign --curl` prints a command; run as printed it is answered 200, and plain SQL shows the user."""
    if shutil.which("curl") is None:
        pytest.skip("no `curl` on PATH: posting by hand was not tried")
    event = sample_event(TYPE, email="žofie@example.com", first_name="Žofie")
    (tmp_path / "body.json").write_bytes(event.raw)
    with serving("receiver", tmp_path, webhook_secrets=SECRET) as receiver:
        printed = subprocess.run(
            [sys.executable, "-m", "hookline", "sign", "body.json", "--curl", receiver.url + "/webhooks"],
            cwd=tmp_path,
            env=clean_environment() | {"HOOKLINE_WEBHOOK_SECRETS": SECRET},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout

        posted = subprocess.run(
            shlex.split(printed), cwd=tmp_path, env=clean_environment(), capture_output=True, check=True, text=True
        )
        query = "select id, email, first_name, is_active from hookline_directory_users_live"
        shown = wait_for(lambda: rows(database, query), "the row")
        if shutil.which("sqlite3") is not None:
            by_tool = subprocess.run(["sqlite3", database, query], capture_output=True, check=True, text=True).stdout
            assert by_tool == f"{event.data['id']}|žofie@example.com|Žofie|1\n"

    assert posted.stdout.startswith("HTTP/1.1 200")
    assert shown == [(event.data["id"], "žofie@example.com", "Žofie", 1)]


def test_both_ends_in_one_process_deliver_to_themselves(tmp_path: Path, database: Path) -> None:
    """An endpoint at its own /webhooks: refused while the secret is not set, delivered by a manual retry once it is."""
    data = sample_event(TYPE).data
    with serving("all", tmp_path, "--allow-private-targets", api_key=API_KEY) as both:
        port = int(both.url.rpartition(":")[2])
        endpoint = call(
            both, "POST", "/webhook_endpoints", {"endpoint_url": both.url + "/webhooks", "events": [TYPE]}
        ).json
        early = call(both, "POST", "/api/v1/events", {"event": TYPE, "data": data | {"id": "directory_user_early"}})
        deliveries = f"/api/v1/deliveries?event={early.json['id']}"
        refused = wait_for(
            lambda: [
                one
                for one in call(both, "GET", deliveries).json["data"]
                if one["state"] == "pending" and one["attempt_count"]
            ],
            "an attempt",
        )
        assert both.stop() == 0

    with serving(
        "all", tmp_path, "--allow-private-targets", port=port, api_key=API_KEY, webhook_secrets=endpoint["secret"]
    ) as both:
        retried = call(both, "POST", f"/api/v1/deliveries/{refused[0]['id']}/retry")
        late = call(both, "POST", "/api/v1/events", {"event": TYPE, "data": data | {"id": "directory_user_late"}})
        wait_for(lambda: len(live(database)) == 2, "both events")
        done = wait_for(
            lambda: [one for one in call(both, "GET", deliveries).json["data"] if one["state"] == "succeeded"],
            "success",
        )
        code = both.stop()

    assert (early.status, late.status) == (201, 201)
    assert (refused[0]["state"], retried.status) == ("pending", 200)
    assert live(database) == {"directory_user_early", "directory_user_late"}
    assert done[0]["id"] == refused[0]["id"]
    assert code == 0
