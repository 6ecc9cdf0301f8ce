"""Users, sessions, one-time links: who is let in, and who no longer is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from hookline.dashboard.account_model import SignInRefused, UserRefused
from hookline.dashboard.accounts import IDLE_S, LINK_S, SESSION_S, Accounts
from hookline.storage import connect
from hookline.testing import TurnedClock

PASSWORD = "a long password"
# The real algorithm at its least cost: what is tested is not how slow it is.
CHEAP = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(1_700_000_000_000)


@pytest.fixture
def accounts(database_url: str, clock: TurnedClock) -> Iterator[Accounts]:
    database = connect(database_url)
    made = Accounts(database, clock=clock, hasher=CHEAP)
    made.open()
    yield made
    database.close()


def test_the_first_link_makes_one_admin(accounts: Accounts) -> None:
    first, second = accounts.first_link(), accounts.first_link()
    assert first is not None
    assert second is not None
    assert accounts.is_link("first", first)
    signed_in = accounts.redeem_first(first, "Ada", PASSWORD, address="127.0.0.1")
    assert (signed_in.viewer.name, signed_in.viewer.role) == ("ada", "admin")
    assert accounts.viewer_of(signed_in.token) == signed_in.viewer
    for token in (first, second):
        with pytest.raises(SignInRefused):
            accounts.redeem_first(token, "eve", PASSWORD, address="127.0.0.1")
    assert accounts.first_link() is None
    assert [one.name for one in accounts.users()] == ["ada"]


def test_a_link_that_is_refused_can_be_used_again(accounts: Accounts, clock: TurnedClock) -> None:
    token = accounts.first_link()
    assert token is not None
    with pytest.raises(UserRefused, match="password: expected at least"):
        accounts.redeem_first(token, "ada", "short", address="")
    with pytest.raises(UserRefused, match="name: expected"):
        accounts.redeem_first(token, "no spaces", PASSWORD, address="")
    clock.advance(LINK_S * 1000 + 1)
    with pytest.raises(SignInRefused):
        accounts.redeem_first(token, "ada", PASSWORD, address="")


def test_sessions_end(accounts: Accounts, clock: TurnedClock) -> None:
    accounts.add_user("ada", "operator", password=PASSWORD, actor="command")
    first = accounts.sign_in("ADA ", PASSWORD, address="127.0.0.1", agent="Browser/1")
    assert accounts.viewer_of("somebody else's") is None
    assert accounts.viewer_of("x" * 10_000) is None
    clock.advance(IDLE_S * 1000 - 1)
    assert accounts.viewer_of(first.token) is not None
    clock.advance(IDLE_S * 1000 + 1)
    assert accounts.viewer_of(first.token) is None
    second = accounts.sign_in("ada", PASSWORD, address="127.0.0.1")
    for _ in range(SESSION_S * 2 // IDLE_S - 1):
        assert accounts.viewer_of(second.token) is not None
        clock.advance(IDLE_S * 500)
    assert accounts.viewer_of(second.token) is not None
    clock.advance(IDLE_S * 500)
    assert accounts.viewer_of(second.token) is None
    third = accounts.sign_in("ada", PASSWORD, address="127.0.0.1")
    accounts.sign_out(third.token)
    assert accounts.viewer_of(third.token) is None


def test_a_stolen_session_is_ended_by_whoever_is_in_charge(accounts: Accounts) -> None:
    accounts.add_user("ada", "admin", password=PASSWORD, actor="command")
    mine = accounts.sign_in("ada", PASSWORD, address="10.0.0.1")
    stolen = accounts.sign_in("ada", PASSWORD, address="10.6.6.6")
    found = {one.address: one.id for one in accounts.sessions("ada")}
    assert not accounts.end_session("eve", found["10.6.6.6"], actor="user:eve")
    assert accounts.end_session("ada", found["10.6.6.6"], actor="user:ada")
    assert accounts.viewer_of(stolen.token) is None
    assert accounts.viewer_of(mine.token) is not None


@pytest.mark.parametrize("change", ["role", "password", "disable", "remove"])
def test_what_changes_a_user_ends_their_sessions(accounts: Accounts, change: str) -> None:
    accounts.add_user("root", "admin", password=PASSWORD, actor="command")
    accounts.add_user("ada", "operator", password=PASSWORD, actor="command")
    signed_in = accounts.sign_in("ada", PASSWORD, address="")
    link = accounts.link_for("ada", actor="command")
    if change == "role":
        accounts.set_role("ada", "viewer", actor="user:root")
    elif change == "password":
        accounts.set_password("ada", "another password", actor="user:root")
    elif change == "disable":
        accounts.disable_user("ada", actor="user:root")
    else:
        accounts.remove_user("ada", actor="user:root")
    assert accounts.viewer_of(signed_in.token) is None
    if change in ("disable", "remove"):
        with pytest.raises(SignInRefused):
            accounts.sign_in("ada", PASSWORD, address="")
    if change != "role":
        with pytest.raises(SignInRefused):
            accounts.redeem_link(link, address="")


def test_the_last_admin_stays(accounts: Accounts) -> None:
    accounts.add_user("ada", "admin", password=PASSWORD, actor="command")
    for change in (
        lambda: accounts.set_role("ada", "viewer", actor=""),
        lambda: accounts.disable_user("ada", actor=""),
        lambda: accounts.remove_user("ada", actor=""),
    ):
        with pytest.raises(UserRefused, match="last admin"):
            change()
    accounts.add_user("grace", "admin", actor="command")
    accounts.set_role("ada", "viewer", actor="user:grace")
    with pytest.raises(UserRefused, match="last admin"):
        accounts.disable_user("grace", actor="")


def test_who_guesses_waits(accounts: Accounts, clock: TurnedClock) -> None:
    accounts.add_user("ada", "admin", password=PASSWORD, actor="command")
    waits = []
    for _ in range(8):
        with pytest.raises(SignInRefused) as refused:
            accounts.sign_in("ada", "wrong password", address="10.6.6.6")
        waits.append(refused.value.wait_s)
        clock.advance(refused.value.wait_s * 1000)
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8]
    with pytest.raises(SignInRefused):
        accounts.sign_in("ada", "wrong password", address="10.6.6.6")
    # While one waits not even the right one helps; from elsewhere it does.
    with pytest.raises(SignInRefused, match="Too many"):
        accounts.sign_in("ada", PASSWORD, address="10.6.6.6")
    assert accounts.sign_in("ada", PASSWORD, address="10.0.0.1").viewer.name == "ada"


def test_nobody_learns_who_there_is(accounts: Accounts) -> None:
    accounts.add_user("ada", "admin", password=PASSWORD, actor="command")
    accounts.add_user("linked", "viewer", actor="command")
    told = set()
    for name in ("ada", "nobody", "linked"):
        with pytest.raises(SignInRefused) as refused:
            accounts.sign_in(name, "wrong password", address="10.6.6.6")
        told.add(str(refused.value))
    assert len(told) == 1
    # What was typed as a name may have been a password.
    assert {one.object_id for one in accounts.audit_page() if one.action == "session.refused"} == {
        "ada",
        "linked",
        None,
    }


def test_nothing_in_the_database_lets_anybody_in(accounts: Accounts, database_url: str) -> None:
    accounts.add_user("ada", "admin", password=PASSWORD, actor="command")
    signed_in = accounts.sign_in("ada", PASSWORD, address="")
    link = accounts.link_for("ada", actor="command")
    database = connect(database_url)
    with database.read() as connection:
        cursor = connection.cursor()
        held = ""
        for table in ("users", "sessions", "links", "audit"):
            cursor.execute(f"select * from hookline_dashboard_{table}")
            held += repr(cursor.fetchall())
        cursor.close()
    database.close()
    for secret in (PASSWORD, signed_in.token, link):
        assert secret not in held
    assert "$argon2id$" in held


def test_a_link_signs_its_user_in_once(accounts: Accounts, clock: TurnedClock) -> None:
    accounts.add_user("ada", "viewer", actor="command")
    earlier, token = accounts.link_for("ada", actor="command"), accounts.link_for("ada", actor="command")
    with pytest.raises(SignInRefused):
        accounts.redeem_link(earlier, address="")
    assert accounts.redeem_link(token, address="").viewer.name == "ada"
    with pytest.raises(SignInRefused):
        accounts.redeem_link(token, address="")
    late = accounts.link_for("ada", actor="command", lasts_s=60)
    clock.advance(60_000)
    with pytest.raises(SignInRefused):
        accounts.redeem_link(late, address="")


def test_what_is_over_is_pruned(accounts: Accounts, clock: TurnedClock, database_url: str) -> None:
    accounts.add_user("ada", "admin", password=PASSWORD, actor="command")
    accounts.sign_in("ada", PASSWORD, address="")
    with pytest.raises(SignInRefused):
        accounts.sign_in("ada", "wrong password", address="")
    clock.advance(401 * 86_400_000)
    accounts.prune()
    assert accounts.audit_page() == []
    assert accounts.sessions("ada") == []
