"""What commands say of a server elsewhere: the doctor, and `logs tail`; one server for both."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.test_doctor_sender import looked
from tests.cli.test_logs import lines, publish
from tests.cli.test_sender_commands import Run, command, served, settings  # noqa: F401 - fixtures
from tests.sender.test_app import Sink

from hookline.cli import Exit
from hookline.cli.api_client import Place, remote_server


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def test_a_server_is_followed_and_looked_at(
    command: Run,  # noqa: F811
    served: str,  # noqa: F811
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was, then what comes, by what was answered; that it answers and has this clock; a wrong key is told."""
    monkeypatch.setenv("HOOKLINE_URL", served)
    first = publish(command)
    sink.statuses = [200, 503]
    assert command("endpoints", "create", sink.url, "--events", "*").code == Exit.OK
    told: list[dict[str, Any]] = []

    def tell(line: dict[str, Any]) -> None:
        told.append(line)
        raise KeyboardInterrupt

    was = lines(command("logs", "tail", "--no-follow", "--json").out)
    publish(command, "invoice.accepted")
    sink.wait_for(1)
    publish(command, "invoice.refused")
    monkeypatch.setattr("hookline.cli.logs.print_json", tell)
    ended = command("logs", "tail", "--json", "--status", "5xx")

    assert [one["event_id"] for one in was] == [first]
    assert ended.code == Exit.INTERRUPTED
    assert [(one["lane"], one["event"], one["status"], one["state"]) for one in told] == [
        ("sender", "invoice.refused", 503, "failed")
    ]

    server = remote_server(Place())
    assert server is not None
    # What is wrong with our own output is not the connection's: it ends the command, and is no reason to ask again.
    with pytest.raises(OSError, match="No space left"), server.stream("/api/v1/endpoints") as answer:
        assert b"list_metadata" in b"".join(answer.lines)
        raise OSError(errno.ENOSPC, "No space left on device")

    well = looked(command)["server"]
    monkeypatch.setattr("hookline.cli.doctor_sender.SKEW_MS", -1)
    skewed = looked(command)["server"]
    monkeypatch.setenv("HOOKLINE_API_KEY", "production_key_of_somebody_else")
    assert command("logs", "tail").code == Exit.NOT_LOGGED_IN
    stranger = looked(command)["server"]
    monkeypatch.setenv("HOOKLINE_URL", "http://127.0.0.1:1")
    gone = looked(command)["server"]

    assert (well["verdict"], well["text"]) == ("ok", f"{served} (HOOKLINE_URL) answers and takes the API key")
    assert (skewed["verdict"], "this one" in skewed["text"]) == ("warning", True)
    assert (stranger["verdict"], "key is not valid" in stranger["text"]) == ("problem", True)
    assert (gone["verdict"], "cannot reach http://127.0.0.1:1, which HOOKLINE_URL names" in gone["text"]) == (
        "problem",
        True,
    )
