"""kill -9 under load: sender, door and worker are processes of their own, killed again and again while events flow.

What a crash may cost is a repetition on the wire, bounded by what was under way, and never an event or a second
effect.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from hookline.storage import connect
from hookline.testing import sample_event

from .processes import API_KEY, Served, call, rows, serving, value, wait_for

TYPE: Final = "dsync.user.created"
PUBLISHERS: Final = 3
KILLS: Final = 2  # of each process
IN_FLIGHT: Final = 10  # deliveries under way to one endpoint (sender.deliver.Limits.window)

APP: Final = """
import os
from hookline import Receiver

hooks = Receiver(os.environ["APP_DATABASE"], secrets=[os.environ["APP_SECRET"]])

@hooks.on("dsync.user.created", name="welcome")
def welcome(event, tx):
    tx.execute("create table if not exists welcomes (event_id text)")
    tx.execute("insert into welcomes values (?)", (event.id,))
"""


class Part:
    """A process that can be killed and come back: on the same port, with the same settings."""

    def __init__(self, start: Callable[[int], AbstractContextManager[Served]]) -> None:
        self._start = start
        self._exit = contextlib.ExitStack()
        self.served = self._exit.enter_context(start(0))

    def kill(self) -> None:
        self.served.kill()

    def restart(self) -> None:
        url = self.served.facts["url"]
        self._exit.close()
        self.served = self._exit.enter_context(self._start(int(url.rpartition(":")[2]) if url else 0))

    def close(self) -> None:
        self._exit.close()


class Publisher(threading.Thread):
    """Publishes one event after the other, each under a key of its own, and repeats what was not answered 201."""

    def __init__(self, number: int, sender: Part, stop: threading.Event) -> None:
        super().__init__(name=f"publisher-{number}")
        self._number = number
        self._sender = sender
        self._told_to_stop = stop
        self.accepted: dict[str, str] = {}  # user id -> event id
        self.repeated = 0

    def run(self) -> None:
        for n in itertools.count():
            if self._told_to_stop.is_set():
                return
            self._publish(f"directory_user_{self._number}_{n}")

    def _publish(self, user: str) -> None:
        body = {"event": TYPE, "data": sample_event(TYPE, id=user, email=f"{user}@example.com").data}
        while True:
            try:
                answer = call(self._sender.served, "POST", "/api/v1/events", body, Idempotency_Key=user)
                if answer.status == 201:
                    self.accepted[user] = answer.json["id"]
                    return
            except OSError:
                pass
            self.repeated += 1
            self._told_to_stop.wait(0.02)


def let_leases_pass(database: Path, table: str) -> None:
    """As if the minute had gone by in which a dead process's work still counts as under way."""
    opened = connect(f"sqlite:///{database}")
    with opened.transaction() as connection:
        connection.execute(f"update {table} set leased_until_ms = 1 where state = 'running'")
    opened.close()


def wait_for_traffic(received: Path, count: int) -> None:
    """Until that many more events have come through all three processes."""
    counted = "select count(*) from hookline_inbox_outcomes"
    before = value(received, counted)
    wait_for(lambda: value(received, counted) >= before + count, f"{count} more events to be applied")


def test_no_crash_loses_or_doubles_anything(tmp_path: Path) -> None:
    """Each process is killed twice under load: every event answered 201 is mirrored and handled exactly once.

    Takes longer than other tests: seven starts of a process and as many pauses in which traffic flows.
    """
    sent, received = tmp_path / "sender.db", tmp_path / "receiver.db"
    (tmp_path / "shop.py").write_text(APP)
    with contextlib.ExitStack() as ends:

        def part(name: str, *arguments: str, **options: Any) -> Part:
            made = Part(lambda port: serving(name, tmp_path, *arguments, port=port, **options))
            ends.callback(made.close)
            return made

        sender = part(
            "sender",
            "--allow-private-targets",
            "--retry-schedule=200ms, 400ms, 1s, 2s, 5s, 30s",
            api_key=API_KEY,
            database_url=f"sqlite:///{sent}",
        )
        endpoint = call(
            sender.served, "POST", "/webhook_endpoints", {"endpoint_url": "http://127.0.0.1:9/", "events": [TYPE]}
        ).json
        app = {
            "environment": {"APP_DATABASE": f"sqlite:///{received}", "APP_SECRET": endpoint["secret"]},
            "app": "shop:hooks",
        }
        door = part("receiver", "--no-worker", **app)
        worker = part("worker", **app)
        url = door.served.url + "/webhooks"
        assert call(sender.served, "PATCH", f"/webhook_endpoints/{endpoint['id']}", {"endpoint_url": url}).status == 200

        stop = threading.Event()
        publishers = [Publisher(number, sender, stop) for number in range(PUBLISHERS)]
        for publisher in publishers:
            publisher.start()
        ends.callback(stop.set)
        for victim in [door, sender, worker] * KILLS:
            wait_for_traffic(received, 20)
            victim.kill()
            if victim is sender:
                let_leases_pass(sent, "hookline_sender_deliveries")
            elif victim is worker:
                let_leases_pass(received, "hookline_runs")
            victim.restart()
        stop.set()
        for publisher in publishers:
            publisher.join()
        events = {event_id for publisher in publishers for event_id in publisher.accepted.values()}
        users = {user for publisher in publishers for user in publisher.accepted}
        wait_for(
            lambda: (
                value(sent, "select count(*) from hookline_sender_deliveries where state = 'succeeded'")
                == value(sent, "select count(*) from hookline_sender_events")
            ),
            "every delivery",
        )
        wait_for(lambda: value(received, "select count(*) from welcomes") >= len(events), "every handler")
        assert [one.served.stop() for one in (sender, door, worker)] == [0, 0, 0]

    assert len(events) > 6 * 20
    assert any(publisher.repeated for publisher in publishers)
    # Nothing lost, and nothing that was published twice because an answer did not arrive.
    assert {id_ for (id_,) in rows(sent, "select id from hookline_sender_events")} == events
    assert {id_ for (id_,) in rows(received, "select event_id from hookline_inbox")} == events
    assert {id_ for (id_,) in rows(received, "select id from hookline_directory_users_live")} == users
    # One effect each.
    assert sorted(id_ for (id_,) in rows(received, "select event_id from welcomes")) == sorted(events)
    # Repetitions only of what was under way when a sender or a door died.
    repeats = rows(received, "select kind, sum(times) from hookline_inbox_repeats group by kind")
    assert all(kind == "duplicate" and times <= 2 * KILLS * IN_FLIGHT for kind, times in repeats)
    unknown = value(sent, "select count(*) from hookline_sender_attempts where outcome = 'unknown'")
    assert 0 < unknown <= KILLS * IN_FLIGHT
    for database in (sent, received):
        assert rows(database, "pragma integrity_check") == [("ok",)]
