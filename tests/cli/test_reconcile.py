"""`hookline backfill` and `hookline reconcile`, through the command, against a source that is served."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hookline.cli import Exit, main
from hookline.receiver.app import Receiver
from hookline.receiver.reconcile import Reconciler
from hookline.testing import FakeWorkOS
from hookline.testing.clock import TurnedClock

from ..receiver.company import Desk

# Longer than what an answer of the source may lag behind.
LATER_MS = 20_000


class Staff:
    """A directory of a fake, with its users and groups."""

    def __init__(self, fake: FakeWorkOS, hooks: Receiver, clock: TurnedClock) -> None:
        self.fake, self.hooks, self.clock = fake, hooks, clock
        directory = fake.directories.create_directory(fake.environment, organization_id=None, name="Staff")
        self.directory_id = directory.id
        self.users = [self.hire(n) for n in range(4)]
        self.groups = [
            fake.directories.create_group(fake.environment, directory.id, idp_id=f"g{n}", name=f"Team {n}").id
            for n in range(2)
        ]
        for user in self.users:
            fake.directories.add_member(fake.environment, directory.id, self.groups[0], user)
        clock.advance(LATER_MS)

    def hire(self, n: int) -> str:
        user = self.fake.directories.create_user(
            self.fake.environment, self.directory_id, idp_id=f"u{n}", email=f"u{n}@acme.example", first_name="Ada"
        )
        return user.id

    def change(self) -> None:
        """What nobody hears of, some time later."""
        self.clock.advance(LATER_MS)
        directories, environment = self.fake.directories, self.fake.environment
        directories.update_user(environment, self.directory_id, self.users[0], first_name="Ida")
        directories.delete_user(environment, self.directory_id, self.users[1])
        directories.remove_member(environment, self.directory_id, self.groups[0], self.users[2])
        self.hire(9)
        self.clock.advance(LATER_MS)


@pytest.fixture
def staff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staff]:
    """A source, and the command's app, which asks it in process and goes by the same clock."""
    monkeypatch.chdir(tmp_path)
    clock = TurnedClock(time.time_ns() // 1_000_000)  # a served source tells it, and is believed near the truth
    with FakeWorkOS(tmp_path, clock=clock) as fake:
        hooks = Receiver(
            f"sqlite:///{tmp_path / 'app.db'}",
            api_key=fake.api_key,
            api_url="https://fake.test",
            exchange=fake.exchange,
            clock=clock,
        )
        monkeypatch.setitem(sys.modules, "staff_app", SimpleNamespace(hooks=hooks))
        monkeypatch.setenv("HOOKLINE_APP", "staff_app:hooks")
        yield Staff(fake, hooks, clock)


@pytest.fixture
def desk(staff: Staff, tmp_path: Path) -> Iterator[Desk]:
    """The mirror that the command fills."""
    desk = Desk(tmp_path / "app.db")
    yield desk
    desk.close()


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = Exit.OK) -> Any:
    """What the command says with --json."""
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_from_backfill_to_heal(staff: Staff, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Filled, equal, then changed at the source: shown, one ignored, the rest healed, equal again."""
    assert main(["backfill"]) == Exit.OK
    assert "completed: 7 objects and 4 memberships read" in capsys.readouterr().out
    assert desk.ids("directory_users") == sorted(staff.users)
    assert main(["reconcile"]) == Exit.OK
    assert "0 missing here · 0 extra here · 0 differ" in capsys.readouterr().out

    staff.change()
    assert main(["reconcile"]) == Exit.DRIFT
    shown = capsys.readouterr().out
    assert "1 missing here · 2 extra here · 1 differ" in shown
    assert "first_name, name, updated_at" in shown
    assert "no event of it ever came" in shown
    assert "Ida" not in shown
    assert "acme.example" not in shown
    assert desk.ids("directory_users") == sorted(staff.users), "a dry run writes nothing"

    found = told(capsys, "reconcile", "show")
    assert found["state"] == "completed"
    by_kind = {one["kind"]: one for one in found["items"]}
    assert by_kind["differs"]["fields"] == ["first_name", "name", "updated_at"]
    assert main(["reconcile", "show", str(found["row_id"]), "--values"]) == Exit.OK
    assert re.search(r"first_name  source: Ida +here: Ada", capsys.readouterr().out)

    number = str(by_kind["differs"]["row_id"])
    assert told(capsys, "reconcile", "ignore", number, "--note", "ticket 7") == {"ignored": 1}
    healed = told(capsys, "reconcile", "heal", "--all")
    assert len(healed["healed"]) == 3
    assert healed["left"] == []
    again = told(capsys, "reconcile")
    assert [(one["state"], one["note"]) for one in again["items"]] == [("ignored", "ticket 7")]
    assert told(capsys, "reconcile", "--apply")["state"] == "completed"
    assert told(capsys, "reconcile")["items"] == []
    assert [one["kind"] for one in told(capsys, "reconcile", "list")].count("backfill") == 1


def test_what_was_read_is_shown_where_no_event_ever_came(
    staff: Staff, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other commands find the source by what a pass filled, without a worker or a webhook."""
    assert main(["backfill"]) == Exit.OK
    capsys.readouterr()
    at = ("--database-url", f"sqlite:///{tmp_path / 'app.db'}")
    assert main(["mirror", "export", "directory_user", "--format", "jsonl", *at]) == Exit.OK
    exported = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["source"], one["id"]) for one in exported] == [("default", id_) for id_ in sorted(staff.users)]
    live = {one["resource"]: one["live"] for one in told(capsys, "mirror", "status", *at)}
    assert (live["directory_user"], live["directory_membership"]) == (4, 4)
    assert told(capsys, "mirror", "show", "directory_user", staff.users[0], *at)["is_live"]
    mirrored = told(capsys, "status")["receiver"]["mirror"]["default"]
    assert {one["resource"]: one["live"] for one in mirrored}["directory_user"] == 4


def test_one_directory(staff: Staff, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    other = staff.fake.directories.create_directory(staff.fake.environment, organization_id=None, name="Other")
    assert told(capsys, "backfill", "--directory", staff.directory_id)["directory_id"] == staff.directory_id
    assert desk.ids("directories") == [staff.directory_id]
    found = told(capsys, "reconcile", "--directory", other.id, code=Exit.DRIFT)
    assert [(one["object_id"], one["kind"]) for one in found["items"]] == [(other.id, "missing")]


def test_a_refusal_stops_it_and_it_is_resumed(staff: Staff, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason, exit 1 and how to go on."""
    staff.fake.faults.expect("status/403", path="/directory_users")
    assert main(["backfill"]) == Exit.FAILED
    captured = capsys.readouterr()
    assert "unauthorized" in captured.err
    assert "hookline backfill --resume 1" in captured.err
    assert main(["backfill", "--resume", "1"]) == Exit.OK
    assert desk.ids("directory_users") == sorted(staff.users)
    assert main(["backfill", "--resume", "1"]) == Exit.USAGE, "it has ended"


def test_an_interrupted_one_says_how_to_go_on(
    staff: Staff, desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Reconciler, "progress", interrupt)
        assert main(["backfill"]) == Exit.INTERRUPTED
    assert "hookline backfill --resume 1" in capsys.readouterr().err
    assert told(capsys, "backfill", "--resume", "1")["state"] == "completed"


def test_a_mass_delete_needs_leave(staff: Staff, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    more = [staff.hire(n) for n in range(20, 32)]
    assert main(["backfill"]) == Exit.OK
    staff.clock.advance(LATER_MS)
    for user in more:
        staff.fake.directories.delete_user(staff.fake.environment, staff.directory_id, user)
    staff.clock.advance(LATER_MS)
    capsys.readouterr()
    assert main(["reconcile", "--apply"]) == Exit.FAILED
    captured = capsys.readouterr()
    assert f"12 of 16 directory_user of {staff.directory_id}" in captured.err
    assert len(desk.ids("directory_users")) == 16
    assert main(["reconcile"]) == Exit.DRIFT
    assert main(["reconcile", "heal", "--all"]) == Exit.FAILED
    assert "--allow-mass-delete" in capsys.readouterr().err
    assert len(desk.ids("directory_users")) == 16
    assert main(["reconcile", "--apply", "--allow-mass-delete"]) == Exit.OK
    assert desk.ids("directory_users") == sorted(staff.users)


def test_what_is_not_there_and_what_is_not_meant(staff: Staff, desk: Desk) -> None:
    assert main(["reconcile", "show"]) == Exit.NOT_FOUND
    assert main(["reconcile", "show", "77"]) == Exit.NOT_FOUND
    assert main(["reconcile", "cancel", "77"]) == Exit.NOT_FOUND
    for arguments in (
        ["--apply", "--dry-run"],
        ["--allow-mass-delete"],
        ["--resume", "77"],
        ["heal"],
        ["heal", "77"],
        ["ignore", "77", "--note", "x"],
        ["--source", "nobody"],
    ):
        assert main(["reconcile", *arguments]) == Exit.USAGE, arguments


def test_a_pass_goes_on_as_it_was_begun(staff: Staff, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """What would make another pass of it is refused, and not passed over."""
    staff.fake.faults.expect("status/403")
    assert main(["reconcile"]) == Exit.FAILED
    for more in (["--apply"], ["--dry-run"], ["--directory", staff.directory_id]):
        capsys.readouterr()
        assert main(["reconcile", "--resume", "1", *more]) == Exit.USAGE
        assert "as it was begun" in capsys.readouterr().err
    assert main(["reconcile", "--resume", "1"]) == Exit.DRIFT


def test_without_a_key_it_says_what_is_missing(
    staff: Staff, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOKLINE_APP")
    monkeypatch.setenv("HOOKLINE_DATABASE_URL", "sqlite:///app.db")
    assert main(["reconcile"]) == Exit.USAGE
    assert "HOOKLINE_WORKOS_API_KEY" in capsys.readouterr().err


def test_from_python(staff: Staff, desk: Desk) -> None:
    """`Receiver.backfill` and `reconcile`, and the single differences."""
    with staff.hooks as hooks:
        assert hooks.backfill().pass_.state == "completed"
        staff.change()
        report = hooks.reconcile()
        assert report.has_drift
        assert (report.count("missing"), report.count("extra"), report.count("differs")) == (1, 2, 1)
        with hooks.reconciler() as reconciler:
            assert len(list(reconciler.items(report.pass_.row_id))) == 4
        assert hooks.reconcile(apply=True).pass_.state == "completed"
        assert not hooks.reconcile().has_drift
        assert [one.mode for one in hooks.passes()] == ["dry_run", "apply", "dry_run", "apply"]


def test_over_http(staff: Staff, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By settings alone, from a source that is served."""
    monkeypatch.delenv("HOOKLINE_APP")
    monkeypatch.setenv("HOOKLINE_DATABASE_URL", desk.url)
    monkeypatch.setenv("HOOKLINE_WORKOS_API_KEY", staff.fake.api_key)
    monkeypatch.setenv("HOOKLINE_WORKOS_BASE_URL", staff.fake.url)
    assert main(["backfill"]) == Exit.OK
    assert desk.ids("directory_users") == sorted(staff.users)
    assert len(desk.members()) == 4
