"""`hookline logs tail`: what was and what comes, from the database here; of a server see test_remote.py."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_sender_commands import Run, command, settings  # noqa: F401 - fixtures

from hookline import Receiver
from hookline.cli import Exit
from hookline.testing import sample_event, signed_request

SECRET = "a_secret_of_the_tests_of_logs_0123"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def publish(run: Run, type_: str = "invoice.paid", **data: object) -> str:
    """An event's id."""
    Path("data.json").write_text(json.dumps(data), encoding="utf-8")
    return run("events", "publish", type_, "data.json").out.strip()


@pytest.fixture
def world(command: Run) -> dict[str, str]:  # noqa: F811
    """A sender with a held delivery, and an inbox with an entry."""
    assert command("db", "upgrade").code == Exit.OK
    made = command("endpoints", "create", "http://127.0.0.1:9/", "--events", "invoice.*", "--json").json["id"]
    command("endpoints", "pause", made)
    event = publish(command, id="invoice_1")
    with Receiver("sqlite:///hookline.db", secrets=[SECRET]) as receiver:
        event_sent = sample_event("dsync.user.created")
        request = signed_request(event_sent, SECRET, timestamp_ms=receiver.clock.now_ms())
        status, *_ = receiver.receive("POST", "/webhooks", request.headers, request.body, peer="127.0.0.1")
        assert status == 200
    return {"event": event, "endpoint": made}


def test_what_was(command: Run, world: dict[str, str]) -> None:  # noqa: F811
    """The newest lines of all lanes, or of some; filtered by type, object and status; as JSON and as text."""
    told = lines(command("logs", "tail", "--no-follow", "--json").out)
    text = command("logs", "tail", "--no-follow").out

    assert {(one["lane"], one.get("state")) for one in told} == {
        ("events", None),
        ("sender", "held"),
        ("receiver", "waiting"),
    }
    assert [one["at"] for one in told] == sorted(one["at"] for one in told)
    assert len(text.splitlines()) == len(told)
    assert f"sender    invoice.paid                  {world['event']}  held" in text
    for arguments, count in (
        (("--sender",), 1),
        (("--sender", "--events"), 2),
        (("--type", "dsync.*"), 1),
        (("--status", "held"), 1),
        (("--status", "5xx"), 0),
        (("--object", "invoice_1"), 2),
        (("--last", "1"), 1),
        (("--last", "0"), 0),
    ):
        assert len(lines(command("logs", "tail", "--no-follow", "--json", *arguments).out)) == count, arguments


def test_what_comes(
    command: Run,  # noqa: F811
    world: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is published while it is followed, each change a line, until it is interrupted: exit 130."""
    told: list[dict[str, Any]] = []

    def tell(line: dict[str, Any]) -> None:
        told.append(line)
        if len(told) > 1:
            raise KeyboardInterrupt
        publish(command, "invoice.sent")

    monkeypatch.setattr("hookline.cli.logs.print_json", tell)
    said = command("logs", "tail", "--json", "--last", "1", "--sender")

    assert said.code == Exit.INTERRUPTED
    assert [(one["event"], one["state"]) for one in told] == [("invoice.paid", "held"), ("invoice.sent", "held")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--status", "great"), "--status: expected an answer as 500 or 5xx"),
        (("--type", "ds*nc"), "--type: expected a type"),
        ((), "expected a database of a sender or a receiver"),
    ],
)
def test_usage(command: Run, arguments: tuple[str, ...], said: str) -> None:  # noqa: F811
    """Exit 2, before anything is read."""
    ended = command("logs", "tail", *arguments)

    assert ended.code == Exit.USAGE
    assert said in ended.err


def test_tables_of_an_older_version(command: Run) -> None:  # noqa: F811
    """They are not taken for none: what brings them up to date is said."""
    assert command("db", "upgrade").code == Exit.OK
    with closing(sqlite3.connect("hookline.db")) as connection, connection:
        connection.execute("delete from hookline_migrations where part = 'sender' and number = 7")

    ended = command("logs", "tail", "--no-follow")

    assert ended.code == Exit.FAILED
    assert "sender: 1 migration(s) are not applied: `hookline db upgrade`" in ended.err


def test_a_server_without_a_dashboard(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """It answers, and has nothing to be followed: that is said."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Nothing)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    said = command("logs", "tail", "--url", f"http://127.0.0.1:{server.server_address[1]}")
    thread.join()
    server.server_close()

    assert said.code == Exit.FAILED
    assert "(--url) has no dashboard to follow: is HOOKLINE_DASHBOARD off?" in said.err
