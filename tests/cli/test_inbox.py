"""`hookline inbox` and `hookline handlers`, through the command, on a real inbox."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline.cli import Exit, main
from hookline.receiver import mirror, resources
from hookline.receiver.resources import Resource

from ..receiver.company import Company, Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The inbox that the command finds: an entry that is applied and whose handler fails, and one that is dead."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOOKLINE_APP", "HOOKLINE_RECEIVER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    desk = Desk(tmp_path / "app.db")
    monkeypatch.setenv("HOOKLINE_DATABASE_URL", desk.url)
    desk.hooks.on("dsync.user.*", name="welcome")(fail)
    desk.take(Company().user("created"))
    desk.take(b"no json", reason="not_json")
    yield desk
    desk.close()


def fail(event: Any, tx: Any) -> None:
    raise ValueError(event.data["email"])


def exhaust(desk: Desk) -> int:
    """Let the run fail until it is a dead letter; its number."""
    while found := desk.rows("select due_ms from hookline_runs where state = 'pending'"):
        desk.clock.set(found[0][0])
        desk.worker.drain()
    number: int = desk.one("select row_id from hookline_runs where state = 'failed'")
    return number


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = Exit.OK) -> Any:
    """What the command says with --json."""
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_list_shows_entries_by_state(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, or those of a state; as a table for people."""
    assert [entry["state"] for entry in told(capsys, "inbox", "list")] == ["dead", "applied"]
    assert [entry["event_id"] for entry in told(capsys, "inbox", "list", "--state", "applied")] == ["event_000001"]

    assert main(["inbox", "list"]) == Exit.OK
    shown = capsys.readouterr().out
    assert "event_000001" in shown
    assert "dsync.user.created" in shown


def test_show_tells_the_whole_story_of_one(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """The entry, its runs, the error without the message; the body only where asked for; 3 where there is none."""
    found = told(capsys, "inbox", "show", "event_000001")
    assert found["state"] == "applied"
    assert [(run["handler"], run["state"], run["tries"]) for run in found["runs"]] == [("welcome", "pending", 1)]
    assert "body" not in found
    assert json.loads(told(capsys, "inbox", "show", "event_000001", "--body")["body"])["id"] == "event_000001"

    assert main(["inbox", "show", "event_000001"]) == Exit.OK
    shown = capsys.readouterr().out
    assert "ValueError" in shown
    assert "@acme.example" not in shown

    assert main(["inbox", "show", "nothing"]) == Exit.NOT_FOUND


def test_dead_letters_are_retried_and_skipped(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """By the numbers of runs and the ids of entries; 6 where some are not there, 3 where none is."""
    number = exhaust(desk)
    dead = told(capsys, "inbox", "dead")
    assert [run["row_id"] for run in dead["runs"]] == [number]
    (entry,) = dead["entries"]
    assert entry["reason"] == "not_json"

    told(capsys, "inbox", "retry", str(number), entry["event_id"])
    assert desk.one("select state from hookline_runs") == "pending"
    assert desk.one("select count(*) from hookline_inbox_queue") == 1

    assert told(capsys, "inbox", "skip", str(number), "999", code=Exit.PARTLY_DONE) == {
        "skipped": [str(number)],
        "not_found": ["999"],
    }
    assert desk.one("select state from hookline_runs") == "canceled"
    assert main(["inbox", "skip", "999"]) == Exit.NOT_FOUND
    assert main(["inbox", "skip", "event_000001"]) == Exit.USAGE
    assert main(["inbox", "retry"]) == Exit.USAGE


def test_an_event_of_a_wrong_shape_is_applied_after_a_fix(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that names no object (a fact to its handlers) and one whose applying raises: kept, isolated, shown with the
    reason, and mirrored once a newer version can read the first and has mended what failed on the second.
    """
    company = Company()
    before, nameless, poison, after = (company.user("created", f"user_{number}") for number in range(4, 8))
    nameless["data"]["id"] = 5
    for number, event in enumerate((before, nameless, poison, after)):
        event["id"] = f"event_shape_{number}"
    whole = resources.observe

    def failing(event: Any, *rest: Any) -> Any:
        if event.id == poison["id"]:
            raise KeyError("data")
        return whole(event, *rest)

    monkeypatch.setattr(mirror, "observe", failing)
    desk.take(before, nameless, poison, after)
    for _ in range(3):
        desk.clock.advance(60_000)
        desk.worker.drain()

    assert [id_ for id_ in desk.ids("directory_users") if id_ != "user_1"] == ["user_4", "user_7"]
    found = {entry["event_id"]: (entry["state"], entry["reason"]) for entry in told(capsys, "inbox", "list")}
    assert found["event_shape_1"] == ("fact", "data.id: expected 1 to 255 printable characters")
    assert found["event_shape_2"][0] == "dead"
    assert found["event_shape_2"][1].startswith("KeyError at failing")
    assert "event_shape_2" in [entry["event_id"] for entry in told(capsys, "inbox", "dead")["entries"]]

    monkeypatch.setattr(mirror, "observe", whole)
    monkeypatch.setattr(Resource, "key_of", lambda self, payload: str(payload["id"]))
    assert told(capsys, "inbox", "replay", "event_shape_1", "event_shape_2")["entries"] == 2
    assert [id_ for id_ in desk.ids("directory_users") if id_ != "user_1"] == ["5", "user_4", "user_6", "user_7"]
    assert told(capsys, "inbox", "show", "event_shape_1")["state"] == "applied"
    assert told(capsys, "inbox", "show", "event_shape_2")["state"] == "applied"


def test_stats_and_rejected(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """The inbox in numbers, and what the door refused."""
    assert told(capsys, "inbox", "stats")["outcomes"] == {"applied": 1, "dead": 1}
    assert told(capsys, "inbox", "rejected") == []
    with desk.database.transaction() as connection:
        connection.execute(
            "insert into hookline_rejections values ('default', 'mismatch', 1790000040000, 3, 'from 10.0.0.1')"
        )

    found = told(capsys, "inbox", "rejected", "--since", "2026-01-01T00:00:00Z")

    assert [(row["reason"], row["times"]) for row in found] == [("mismatch", 3)]
    assert main(["inbox", "rejected", "--since", "yesterday"]) == Exit.USAGE


def test_prune_lets_go_of_what_is_old_and_says_what_is_left(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the times of the settings, against the real time: the desk's entries are from another year."""
    desk.write("update hookline_inbox set received_ms = ?", (time.time_ns() // 1_000_000) - 40 * 86_400_000)
    desk.write("delete from hookline_runs")
    monkeypatch.setenv("HOOKLINE_INBOX_RETENTION", "50d")
    assert told(capsys, "inbox", "prune") == {"cut": 0, "emptied": 0, "forgotten": 0, "changes": 0}
    assert told(capsys, "inbox", "show", "event_000001")["kept"] == "whole"

    monkeypatch.setenv("HOOKLINE_INBOX_RETENTION", "35d")
    assert main(["inbox", "prune"]) == Exit.OK
    assert capsys.readouterr().out == "let go of: 1 bodies redacted\n"
    assert told(capsys, "inbox", "show", "event_000001")["kept"] == "without people"

    monkeypatch.setenv("HOOKLINE_INBOX_REDACTED_RETENTION", "36d")
    assert told(capsys, "inbox", "prune")["emptied"] == 1
    shown = told(capsys, "inbox", "show", "event_000001", "--body")
    assert (shown["kept"], shown["body"]) == ("id alone", None)
    done = told(capsys, "inbox", "replay", "event_000001", code=Exit.PARTLY_DONE)
    assert (done["entries"], done["failed"], done["gone"]) == (0, 1, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("INBOX_RETENTION", "100d"), ("INBOX_ID_RETENTION", "99d"), ("INBOX_REDACTED_RETENTION", "500d")],
)
def test_times_that_do_not_grow_name_the_settings(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"HOOKLINE_{variable}", value)
    assert main(["inbox", "list"]) == Exit.USAGE
    assert f"HOOKLINE_{variable}" in capsys.readouterr().err


def test_replay_counts_first_and_then_does_it(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run changes nothing; without it the entries are applied, and dead ones among them make it partly done."""
    assert told(capsys, "inbox", "replay", "--type", "*", "--dry-run") == {"would_replay": 2}
    assert desk.one("select count(*) from hookline_replays") == 0
    done = told(capsys, "inbox", "replay", "--type", "dsync.*")
    assert done == {"replays": [1], "entries": 1, "runs": 0, "failed": 0, "gone": 0}

    done = told(capsys, "inbox", "replay", "--type", "*", code=Exit.PARTLY_DONE)
    assert (done["entries"], done["failed"]) == (1, 1)

    exhaust(desk)
    assert told(capsys, "inbox", "replay", "event_000001", "--handler", "welcome")["runs"] == 1
    assert desk.one("select state from hookline_runs") == "pending"
    assert told(capsys, "inbox", "replay", "event_000001", "nothing", code=Exit.PARTLY_DONE)["entries"] == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], Exit.USAGE),
        (["--type", "dsync.*.x"], Exit.USAGE),
        (["--type", "*", "--mirror-only", "--all-handlers"], Exit.USAGE),
        (["--type", "*", "--handler", "nobody"], Exit.NOT_FOUND),
        (["nothing"], Exit.NOT_FOUND),
    ],
    ids=repr,
)
def test_replays_that_cannot_be(desk: Desk, arguments: list[str], code: int) -> None:
    """Nothing selected, no such pattern, two modes, nobody of that name, no such event: told, and nothing begun."""
    assert main(["inbox", "replay", *arguments]) == code
    assert desk.one("select count(*) from hookline_replays") == 0


def test_handlers_are_paused_resumed_and_forgotten(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Each says what it did, `list` shows it, and 3 is for what is not there."""
    assert told(capsys, "handlers", "pause", "welcome", "--reason", "payroll is down")["paused"]
    (row,) = told(capsys, "handlers", "list")
    assert (row["name"], row["pending"], row["paused_reason"]) == ("welcome", 1, "payroll is down")
    assert main(["handlers", "list"]) == Exit.OK
    assert "payroll is down" in capsys.readouterr().out
    assert told(capsys, "handlers", "resume", "welcome")["resumed"]
    assert told(capsys, "handlers", "forget", "welcome")["runs_given_up"] == 1

    assert told(capsys, "handlers", "list") == []
    for word in ("pause", "resume", "forget"):
        assert main(["handlers", word, "welcome"]) == Exit.NOT_FOUND


def test_the_real_command(desk: Desk) -> None:
    """As a process of its own: data on stdout, the exit code outside, and a name that cannot steer the terminal."""
    with desk.database.transaction() as connection:
        connection.execute("update hookline_inbox set type = 'a' || char(27) || '[31mb' where seq = 1")

    done = subprocess.run(
        [sys.executable, "-m", "hookline", "inbox", "list"], capture_output=True, text=True, timeout=30
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "a\ufffd[31mb" in done.stdout
