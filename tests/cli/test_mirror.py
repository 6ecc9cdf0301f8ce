"""`hookline mirror`: what people and machines are told of the mirror."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hookline.cli import Exit, main
from hookline.receiver.app import Receiver
from hookline.testing import TurnedClock, sample_event, signed_request

SECRET = "whsec_of_the_mirror"
USER = "dsync.user.created"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a database in which a user was made, joined a group and was deleted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOKLINE_DATABASE_URL", "sqlite:///hookline.db")
    clock = TurnedClock()
    with Receiver("sqlite:///hookline.db", secrets=[SECRET], clock=clock) as hooks:
        for name in ("dsync.activated", USER, "dsync.group.user_added", "dsync.user.deleted"):
            request = signed_request(sample_event(name), SECRET, timestamp_ms=clock.now_ms())
            hooks.receive("POST", "/webhooks", request.headers, request.body, None)
            hooks.drain()
            clock.advance(60_000)
    return tmp_path


def user_id() -> str:
    id_: str = sample_event(USER).data["id"]
    return id_


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: Exit = Exit.OK) -> Any:
    """The JSON that a command prints."""
    assert main(["mirror", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_status_counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each resource has its line: rows, those alive, those in doubt."""
    counts = {one["resource"]: (one["rows"], one["live"]) for one in told(capsys, "status")}
    assert counts["directory_user"] == (1, 0)
    assert counts["directory_group"] == (1, 1)

    assert main(["mirror", "status"]) == Exit.OK
    assert "directory_membership" in capsys.readouterr().out


def test_status_says_what_is_settled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to when lists of the source were complete, the oldest of them; what is to be asked, and what differs."""
    with closing(sqlite3.connect("hookline.db")) as connection, connection:
        connection.executemany(
            "insert into hookline_floors (source, resource, scope_id, floor_us) values ('default', ?, ?, ?)",
            [("directory_user", "dir_1", 2_000_000), ("directory_user", "dir_2", 1_000_000)],
        )
    by_resource = {one["resource"]: one for one in told(capsys, "status")}
    users, groups = by_resource["directory_user"], by_resource["directory_group"]
    assert (users["listings"], users["oldest_us"], users["to_ask"], users["drift"]) == (2, 1_000_000, 0, 0)
    assert (groups["listings"], groups["oldest_us"]) == (0, None)
    assert main(["mirror", "status"]) == Exit.OK
    assert "1970-01-01T00:00:01.000Z" in capsys.readouterr().out


def test_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As CSV with a head line or as JSON lines; to a file too; what is dead only where asked for."""
    assert main(["mirror", "export", "directory_group"]) == Exit.OK
    head, row = capsys.readouterr().out.splitlines()
    assert head.split(",")[:3] == ["source", "id", "directory_id"]
    assert row.startswith("default,directory_group_")

    assert main(["mirror", "export", "directory_user", "--format", "jsonl"]) == Exit.OK
    assert capsys.readouterr().out == ""
    assert main(["mirror", "export", "directory_user", "--all", "--format", "jsonl", "--to", "users.jsonl"]) == Exit.OK
    assert json.loads(Path("users.jsonl").read_text())["id"] == user_id()

    assert main(["mirror", "export", "directory_user"]) == Exit.OK
    assert capsys.readouterr().out.startswith("source,id,directory_id,")
    assert main(["mirror", "export", "directory_usr"]) == Exit.USAGE
    assert main(["mirror", "export", "directory_user", "--to", "nowhere/users.csv"]) == Exit.USAGE


def test_walks_are_listed_with_what_keeps_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing while none is under way; else since when, how often it failed, when it is tried again and why."""
    assert told(capsys, "walks") == []
    with closing(sqlite3.connect("hookline.db")) as connection, connection:
        connection.execute(
            "insert into hookline_cascades (source, resource, object_id, cause, created_ms, tries, due_ms, error)"
            " values ('default', 'directory', 'dir_1', 'event_1', 1000, 3, 2000, 'KeyError at x, line 1')"
        )

    assert told(capsys, "walks") == [
        {
            "source": "default",
            "resource": "directory",
            "id": "dir_1",
            "child": None,
            "cause": "event_1",
            "since": "1970-01-01T00:00:01.000Z",
            "failed": 3,
            "again": "1970-01-01T00:00:02.000Z",
            "error": "KeyError at x, line 1",
        }
    ]
    assert main(["mirror", "walks"]) == Exit.OK
    assert "KeyError at x" in capsys.readouterr().out

    assert main(["inbox", "retry", "--walks", "--json", "--database-url", "sqlite:///hookline.db"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == {"walks": 1}
    (row,) = told(capsys, "walks")
    assert (row["failed"], row["again"]) == (3, None)
    assert main(["inbox", "retry", "3", "--walks", "--database-url", "sqlite:///hookline.db"]) == Exit.USAGE


def test_list_shows_what_is_alive_or_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Dead ones only with --all."""
    assert told(capsys, "list", "directory_user") == []
    (row,) = told(capsys, "list", "directory_user", "--all")
    assert (row["id"], row["email"]) == (user_id(), "ada@lanternworks.example")

    assert main(["mirror", "list", "directory_group"]) == Exit.OK
    assert sample_event("dsync.group.created").data["id"] in capsys.readouterr().out


def test_show_has_columns_clocks_and_payload(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, dead or alive."""
    row = told(capsys, "show", "directory_user", user_id())
    assert row["is_live"] is False
    assert row["clocks"]["death"]["event"] == sample_event("dsync.user.deleted").id
    assert row["payload"]["id"] == user_id()

    assert main(["mirror", "show", "directory_user", user_id()]) == Exit.OK
    assert f"directory_user {user_id()}: not shown" in capsys.readouterr().out


def test_why_tells_the_reason_and_the_events(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The id alone is enough; the text has what the JSON has."""
    found = told(capsys, "why", user_id())
    assert found["resource"] == "directory_user"
    assert [one["type"] for one in found["events"]] == [USER, "dsync.group.user_added", "dsync.user.deleted"]
    assert found["reasons"][0].startswith("deleted at")

    assert main(["mirror", "why", user_id()]) == Exit.OK
    text = capsys.readouterr().out
    assert found["reasons"][0] in text
    assert all(one["event"] in text for one in found["events"])


def test_why_tells_what_is_to_be_asked_and_what_was_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A question, the missing events and the listing, in text and JSON."""
    directory_id = sample_event(USER).data["directory_id"]
    with closing(sqlite3.connect("hookline.db")) as connection, connection:
        connection.execute(
            "insert into hookline_refetches values"
            " ('default', 'directory_user', ?, 'gap', 'event_7', 1, 0, 60000, 2, 'answered HTML', null, null)",
            (user_id(),),
        )
        connection.execute(
            "insert into hookline_sequences values ('default', 'directory_user', ?, 9, '[7, 8]')", (user_id(),)
        )
        connection.execute("insert into hookline_floors values ('default', 'directory_user', ?, 1)", (directory_id,))

    found = told(capsys, "why", user_id())
    assert found["missing_events"] == [7, 8]
    assert found["listed"] == {
        "resource": "directory_user",
        "scope_id": directory_id,
        "as_of": "1970-01-01T00:00:00.000Z",
    }
    (question,) = found["refetches"]
    assert (question["reasons"], question["told_by"], question["tries"]) == (["gap"], "event_7", 2)
    assert main(["mirror", "why", user_id()]) == Exit.OK
    text = capsys.readouterr().out
    assert "missing: of its events up to number 9 these: 7, 8" in text
    assert "to ask the source: gap (told by event_7), from 1970-01-01T00:01:00" in text
    assert "asked 2× in vain: answered HTML" in text
    assert f"listed whole of {directory_id} as of 1970-01-01" in text


def test_history_and_as_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first; as of a moment what was shown then, and exit 3 before there was anything."""
    changes = told(capsys, "history", user_id())
    assert [one["kind"] for one in changes] == ["deleted", "created"]
    (then,) = told(capsys, "history", user_id(), "--as-of", changes[1]["at"])
    assert (then["kind"], then["after"]["id"]) == ("created", user_id())

    assert main(["mirror", "history", user_id()]) == Exit.OK
    assert capsys.readouterr().out.count("\n") == 3
    assert main(["mirror", "history", user_id(), "--as-of", "2001-01-01"]) == Exit.NOT_FOUND
    assert main(["mirror", "history", user_id(), "--as-of", "yesterday"]) == Exit.USAGE


@pytest.mark.parametrize("command", [["why", "nobody"], ["history", "nobody"], ["show", "directory_user", "nobody"]])
def test_what_is_not_there_is_not_found(folder: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """Exit 3, nothing on stdout, one JSON object on stderr."""
    assert main(["mirror", *command, "--json"]) == Exit.NOT_FOUND

    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == "not_found"


def test_a_wrong_resource_is_a_usage_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest name."""
    assert main(["mirror", "list", "directory_usr"]) == Exit.USAGE
    assert "did you mean 'directory_user'" in capsys.readouterr().err


def test_no_database_is_made_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not there is said, and not made; one without the receiver's tables is said too."""
    monkeypatch.chdir(tmp_path)

    assert main(["mirror", "status", "--database-url", "sqlite:///typo.db"]) == Exit.FAILED
    assert "no database typo.db" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    assert main(["mirror", "status", "--database-url", "sqlite:///empty.db"]) == Exit.FAILED
    assert "at migration 0" in capsys.readouterr().err
