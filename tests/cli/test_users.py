"""`hookline users`, on a database without a server: accounts, roles, passwords from standard input, links, sessions."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.world import Said
from tests.dashboard.people import CHEAP, PASSWORD

from hookline.cli import Exit, main
from hookline.dashboard.accounts import Accounts
from hookline.errors import SignInRefused
from hookline.storage import connect

Run = Callable[..., Said]


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Accounts:
    """Those of an empty database in the working folder, as a server would look at them."""
    for name in [name for name in os.environ if name.startswith("HOOKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hookline.dashboard.credentials.PasswordHash.recommended", lambda: CHEAP)
    database = connect("sqlite:///hookline.db")
    made = Accounts(database)
    made.open()
    database.close()
    return Accounts(connect("sqlite:///hookline.db"))


@pytest.fixture
def users(accounts: Accounts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `hookline users …` in this process, with a text at standard input."""

    def run(*arguments: str, typed: str = "") -> Said:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main(["users", *arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    yield run
    accounts.database.close()


def test_somebody_is_added_by_a_link_and_signs_in(users: Run, accounts: Accounts) -> None:
    assert "nobody has an account" in users("list").err
    added = users("add", "ada", "--role", "admin", "--json").json
    assert (added["name"], added["role"], added["has_password"]) == ("ada", "admin", False)
    root, _, token = added["link"].partition("/dashboard/first?token=")
    assert root == "http://127.0.0.1:8080"
    accounts.redeem_password(token, PASSWORD, "")
    listed = users("list").out
    assert "ada" in listed
    assert "password" in listed
    [row] = users("list", "--json").json
    assert (row["name"], row["has_password"], row["disabled_at"]) == ("ada", True, None)


def test_a_password_comes_from_standard_input_and_is_nowhere_told(users: Run, accounts: Accounts) -> None:
    said = users("add", "ada", "--role", "admin", "--ask-password", typed=f"{PASSWORD}\nmore\n")
    assert (said.code, said.out) == (Exit.OK, "added: ada, admin\n")
    assert accounts.sign_in("ada", PASSWORD, "")
    assert users("set-password", "ada", typed="quite another password\n").code == Exit.OK
    assert accounts.sign_in("ada", "quite another password", "")
    with pytest.raises(SignInRefused):
        accounts.sign_in("ada", PASSWORD, "")
    short = users("set-password", "ada", typed="short\n")
    assert short.code == Exit.USAGE
    assert "password: expected 10 to 500 characters" in short.err
    assert "--password" in users("add", "eve", "--password", "hunter2hunter2").err
    assert [one.name for one in accounts.users()] == ["ada"]


def test_a_password_is_asked_twice_at_a_terminal(
    users: Run, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter([PASSWORD, "a slip", PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: next(typed))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("io.StringIO", Terminal)
    slip = users("add", "ada", "--ask-password")
    assert slip.code == Exit.USAGE
    assert "not the same" in slip.err
    assert users("add", "ada", "--ask-password").code == Exit.OK
    assert accounts.sign_in("ada", PASSWORD, "")


def test_roles_and_states_change(users: Run, accounts: Accounts) -> None:
    users("add", "ada", "--role", "admin")
    users("add", "otto")
    assert users("set-role", "otto", "operator").out == "otto is now operator\n"
    assert accounts.user("otto").role == "operator"
    assert users("disable", "otto", "--json").json["disabled_at"] is not None
    assert users("enable", "otto", "--json").json["disabled_at"] is None
    assert users("set-role", "otto", "root").code == Exit.USAGE
    last = users("remove", "ada", "--yes", "--json")
    assert last.code == Exit.FAILED
    assert json.loads(last.err)["error"]["code"] == "last_admin"
    assert users("remove", "otto").code == Exit.USAGE, "nobody is there to be asked"
    assert users("remove", "otto", "--yes").out == "removed: otto\n"
    gone = users("disable", "otto")
    assert (gone.code, "no user of this name" in gone.err) == (Exit.NOT_FOUND, True)
    assert users("add", "ADA").code == Exit.FAILED


def test_links_let_in_who_lost_the_password(users: Run, accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    first = users("link", "--json").json["link"].partition("token=")[2]
    purpose = accounts.purpose_of(first)
    assert purpose is not None
    assert purpose.kind == "first"
    accounts.redeem_first(first, "ada", PASSWORD, "")
    assert users("link").code == Exit.USAGE
    monkeypatch.setenv("HOOKLINE_DASHBOARD_PUBLIC_URL", "https://hooks.example.com/")
    said = users("link", "ada").out
    assert said.startswith("good once, for a day: https://hooks.example.com/dashboard/first?token=")
    assert accounts.redeem_password(said.strip().partition("token=")[2], "quite another password", "")
    assert users("link", "nobody-here").code == Exit.NOT_FOUND


def test_sessions_are_listed_and_revoked(users: Run, accounts: Accounts) -> None:
    assert "nobody is signed in" in users("sessions").err
    accounts.add_user("ada", "admin", password=PASSWORD)
    accounts.add_user("otto", "viewer", password=PASSWORD)
    tokens = [accounts.sign_in(name, PASSWORD, "198.51.100.7").token for name in ("ada", "ada", "otto")]
    listed = users("sessions", "--json").json
    assert [one["name"] for one in listed] == ["otto", "ada", "ada"]
    assert "198.51.100.7" in users("sessions", "ada").out
    assert users("sessions", "revoke", listed[0]["id"]).out == "revoked: 1 session\n"
    assert users("sessions", "revoke", "--user", "ada", "--json").json == {"revoked": 2}
    assert [accounts.viewer_of(token) for token in tokens] == [None] * 3
    assert users("sessions", "revoke", listed[0]["id"]).code == Exit.NOT_FOUND
    assert users("sessions", "revoke").code == Exit.USAGE
    lines = accounts.audit_page().lines
    assert {line.actor for line in lines if line.action.startswith("session.")} == {"command"}


def test_without_a_database_it_says_how_one_is_made(users: Run, tmp_path: Path) -> None:
    missing = users("list", "--database-url", "sqlite:///elsewhere.db")
    assert missing.code == Exit.USAGE
    assert "hookline db upgrade" in missing.err
    assert not (tmp_path / "elsewhere.db").exists()


def test_the_accounts_of_a_receiver_without_a_sender_are_found(
    users: Run, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.add_user("ada", "admin")
    monkeypatch.setenv("HOOKLINE_SENDER_DATABASE_URL", "sqlite:///sender.db")
    monkeypatch.setenv("HOOKLINE_RECEIVER_DATABASE_URL", "sqlite:///hookline.db")
    assert [one["name"] for one in users("list", "--json").json] == ["ada"]
    # One that has tables, and nobody in them.
    empty = connect("sqlite:///sender.db")
    Accounts(empty).open()
    empty.close()
    assert [one["name"] for one in users("list", "--json").json] == ["ada"]
