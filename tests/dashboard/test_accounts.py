"""Accounts, on both databases: who is let in, who is not, what ends a session, what is kept of it all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from hookline.dashboard.account_model import AuditChoice, SignedIn, Vouched
from hookline.dashboard.accounts import AUDIT_MS, IDLE_MS, LINK_MS, Accounts
from hookline.dashboard.credentials import name_key
from hookline.dashboard.viewer import Viewer
from hookline.errors import RequestError, SignInRefused
from hookline.storage import Database, connect
from hookline.testing import TurnedClock

from ..conftest import DATABASES
from ..postgres import Cluster
from .people import CHEAP, PASSWORD, TABLES, empty, opened

HOME = "198.51.100.7"
ELSEWHERE = "203.0.113.9"


@pytest.fixture(scope="module", params=DATABASES)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """One database of each kind for all of these tests."""
    if request.param == "sqlite":
        database = connect(f"sqlite:///{tmp_path_factory.mktemp('accounts') / 'accounts.db'}")
        yield opened(database, TurnedClock())
        database.close()
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        name = cluster.migrated()
        database = connect(cluster.url(name))
        yield opened(database, TurnedClock())
        database.close()
        cluster.drop(name)


@pytest.fixture
def database(kept: Accounts) -> Database:
    """Without anybody in it."""
    empty(kept)
    return kept.database


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def accounts(database: Database, clock: TurnedClock) -> Accounts:
    made = opened(database, clock)
    made.add_user("ada", "admin", password=PASSWORD)
    made.add_user("Otto", "operator", password=PASSWORD)
    return made


def signed_in(accounts: Accounts, name: str = "ada") -> SignedIn:
    return accounts.sign_in(name, PASSWORD, HOME, agent="Firefox")


def test_a_password_lets_in_and_a_token_says_who(accounts: Accounts) -> None:
    begun = signed_in(accounts)
    found = accounts.viewer_of(begun.token)
    assert found == begun.viewer
    assert (begun.viewer.name, begun.viewer.role, begun.viewer.actor) == ("ada", "admin", "user:ada")
    assert accounts.viewer_of(begun.token + "x") is None
    assert accounts.viewer_of("") is None
    assert accounts.viewer_of("x" * 100_000) is None


def test_names_are_compared_as_people_write_them(accounts: Accounts) -> None:
    assert signed_in(accounts, " OTTO ").viewer.name == "Otto"
    with pytest.raises(RequestError) as refused:
        accounts.add_user("oTTo", "viewer")
    assert refused.value.status == 409


def test_no_token_and_no_password_is_in_the_database(accounts: Accounts, database: Database) -> None:
    begun = signed_in(accounts)
    link = accounts.make_link("Otto")
    with database.read() as connection:
        for table in TABLES:
            cursor = connection.cursor()
            cursor.execute(f"select * from hookline_dashboard_{table}")
            text = repr(cursor.fetchall())
            assert not [secret for secret in (begun.token, link, PASSWORD) if secret in text], table


@pytest.mark.parametrize("name", ["ada", "nobody-here"])
def test_a_wrong_password_and_an_unknown_name_are_told_alike(accounts: Accounts, name: str) -> None:
    with pytest.raises(SignInRefused) as refused:
        accounts.sign_in(name, "wrong password", HOME)
    assert (refused.value.status, refused.value.wait_s) == (401, 0)
    assert refused.value.message == "This name and password do not go together."


def test_an_unknown_name_costs_the_same_comparison(database: Database, clock: TurnedClock) -> None:
    """A known name, an unknown one, one without a password, a disabled one: one hash compared for each."""

    class Counting(type(CHEAP)):  # type: ignore[misc]
        compared = 0

        def verify_and_update(self, password: str | bytes, hash: str | bytes) -> tuple[bool, str | None]:  # noqa: A002
            self.compared += 1
            found: tuple[bool, str | None] = super().verify_and_update(password, hash)
            return found

    counting = Counting(CHEAP.hashers)
    accounts = Accounts(database, clock=clock, hasher=counting)
    accounts.open()
    accounts.add_user("ada", "admin", password=PASSWORD)
    accounts.add_user("linked", "viewer")
    accounts.add_user("gone", "viewer", password=PASSWORD)
    accounts.disable("gone")
    for name in ("ada", "unknown", "linked", "gone"):
        counting.compared = 0
        with pytest.raises(SignInRefused):
            accounts.sign_in(name, PASSWORD if name == "gone" else "wrong password", HOME)
        assert counting.compared == 1, name


def test_what_cannot_be_a_password_is_a_wrong_one(accounts: Accounts) -> None:
    for password in ("", "x" * 1_000_000, "\ud800" * 12):
        with pytest.raises(SignInRefused):
            accounts.sign_in("ada", password, HOME)


def test_tries_at_one_name_from_one_place_wait_longer_each_time(accounts: Accounts, clock: TurnedClock) -> None:
    for _ in range(6):
        with pytest.raises(SignInRefused) as refused:
            accounts.sign_in("ada", "wrong password", HOME)
        assert refused.value.wait_s == 0
    for waits_s in (1, 2, 4):
        # The right one is not even looked at.
        with pytest.raises(SignInRefused) as refused:
            signed_in(accounts)
        assert (refused.value.status, refused.value.wait_s) == (429, waits_s)
        clock.advance(waits_s * 1000)
        with pytest.raises(SignInRefused) as refused:
            accounts.sign_in("ada", "wrong password", HOME)
        assert refused.value.wait_s == 0
    # Others, and she herself from elsewhere, are not kept out by it.
    assert signed_in(accounts, "Otto")
    assert accounts.sign_in("ada", PASSWORD, ELSEWHERE)
    clock.advance(8_000)
    assert signed_in(accounts)
    # A success begins anew.
    for _ in range(5):
        with pytest.raises(SignInRefused):
            accounts.sign_in("ada", "wrong password", HOME)
    assert signed_in(accounts)


def test_tries_at_one_name_from_everywhere_wait_a_little(accounts: Accounts, clock: TurnedClock) -> None:
    for number in range(51):
        with pytest.raises(SignInRefused) as refused:
            accounts.sign_in("ada", "wrong password", f"203.0.113.{number}")
        assert refused.value.wait_s == 0
    with pytest.raises(SignInRefused) as refused:
        signed_in(accounts)
    assert refused.value.wait_s == 1
    clock.advance(1_000)
    assert signed_in(accounts)


def test_tries_from_one_place_are_slowed_down_whatever_the_name(accounts: Accounts, clock: TurnedClock) -> None:
    for number in range(21):
        with pytest.raises(SignInRefused) as refused:
            accounts.sign_in(f"name-{number}", "wrong password", ELSEWHERE)
        assert refused.value.wait_s == 0
    with pytest.raises(SignInRefused) as refused:
        accounts.sign_in("ada", PASSWORD, ELSEWHERE)
    assert refused.value.wait_s == 1
    assert accounts.sign_in("ada", PASSWORD, HOME)
    clock.advance(1_000)
    # Who gets in there once may not go on guessing at others.
    assert accounts.sign_in("ada", PASSWORD, ELSEWHERE)
    with pytest.raises(SignInRefused):
        accounts.sign_in("name-22", "wrong password", ELSEWHERE)
    with pytest.raises(SignInRefused) as refused:
        accounts.sign_in("name-23", "wrong password", ELSEWHERE)
    assert refused.value.wait_s == 2


def test_many_tries_at_once_are_not_taken_for_fewer(database: Database, accounts: Accounts, clock: TurnedClock) -> None:
    """Each process counts before it compares: of twelve at once at two of them, six are looked at."""
    other = Accounts(database, clock=clock, hasher=CHEAP)
    waits: list[int] = []

    def guess(at: Accounts) -> None:
        try:
            at.sign_in("ada", "wrong password", HOME)
        except SignInRefused as refused:
            waits.append(refused.wait_s)

    threads = [threading.Thread(target=guess, args=((accounts, other)[number % 2],)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == [0] * 6 + [1] * 6


def test_a_session_ends_when_it_is_unused_and_when_it_is_old(database: Database, clock: TurnedClock) -> None:
    accounts = opened(database, clock, session_s=3 * IDLE_MS / 1000)
    accounts.add_user("ada", "admin", password=PASSWORD)
    unused, used = signed_in(accounts).token, signed_in(accounts).token
    for _ in range(5):
        clock.advance(IDLE_MS // 2)
        assert accounts.viewer_of(used)
    assert accounts.viewer_of(unused) is None
    clock.advance(IDLE_MS // 2)
    assert accounts.viewer_of(used) is None


def ending(how: str) -> Callable[[Accounts, SignedIn], object]:
    return {
        "sign_out": lambda accounts, begun: accounts.sign_out(begun.token),
        "revoked": lambda accounts, begun: accounts.revoke_session(begun.viewer.session_id),
        "all revoked": lambda accounts, _: accounts.revoke_sessions("Otto"),
        "password": lambda accounts, _: accounts.set_password("Otto", "another long password"),
        "role": lambda accounts, _: accounts.set_role("Otto", "admin"),
        "disabled": lambda accounts, _: accounts.disable("Otto"),
        "removed": lambda accounts, _: accounts.remove("Otto"),
        "link": lambda accounts, _: accounts.redeem_password(accounts.make_link("Otto"), "another long password", HOME),
    }[how]


@pytest.mark.parametrize(
    "how", ["sign_out", "revoked", "all revoked", "password", "role", "disabled", "removed", "link"]
)
def test_what_ends_a_session_ends_it_at_once(accounts: Accounts, how: str) -> None:
    begun, others = signed_in(accounts, "Otto"), signed_in(accounts)
    ending(how)(accounts, begun)
    assert accounts.viewer_of(begun.token) is None
    assert accounts.viewer_of(others.token) == others.viewer


def test_enabling_brings_no_old_session_back(accounts: Accounts) -> None:
    begun = signed_in(accounts, "Otto")
    accounts.disable("Otto")
    with pytest.raises(SignInRefused):
        signed_in(accounts, "Otto")
    accounts.enable("Otto")
    assert accounts.viewer_of(begun.token) is None
    assert signed_in(accounts, "Otto")


def test_changing_ones_own_password_needs_the_old_one(accounts: Accounts) -> None:
    begun, other = signed_in(accounts), signed_in(accounts)
    with pytest.raises(RequestError) as refused:
        accounts.change_password(begun.viewer, "not the old one", "another long password", HOME)
    assert refused.value.errors is not None
    assert refused.value.errors[0]["field"] == "old"
    now = accounts.change_password(begun.viewer, PASSWORD, "another long password", HOME)
    assert accounts.viewer_of(begun.token) is None
    assert accounts.viewer_of(other.token) is None
    assert accounts.viewer_of(now.token) == now.viewer
    assert accounts.sign_in("ada", "another long password", HOME)


def test_a_session_stolen_may_not_guess_the_old_password(accounts: Accounts) -> None:
    begun = signed_in(accounts)
    for _ in range(6):
        with pytest.raises(RequestError):
            accounts.change_password(begun.viewer, "a guess at it", "another long password", HOME)
    with pytest.raises(SignInRefused):
        accounts.change_password(begun.viewer, PASSWORD, "another long password", HOME)


def test_there_is_always_an_admin(accounts: Accounts) -> None:
    changes: list[Callable[[], None]] = [
        lambda: accounts.set_role("ada", "operator"),
        lambda: accounts.disable("ada"),
        lambda: accounts.remove("ada"),
    ]
    for change in changes:
        with pytest.raises(RequestError) as refused:
            change()
        assert refused.value.code == "last_admin"
    accounts.set_role("Otto", "admin")
    accounts.remove("ada")
    assert [user.name for user in accounts.users()] == ["Otto"]


def test_two_admins_cannot_remove_each_other_at_once(database: Database, accounts: Accounts) -> None:
    accounts.set_role("Otto", "admin")
    other = Accounts(database, hasher=CHEAP)
    refused: list[str | None] = []

    def demote(at: Accounts, name: str) -> None:
        try:
            at.set_role(name, "viewer")
        except RequestError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=demote, args=pair) for pair in ((accounts, "Otto"), (other, "ada"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["last_admin"]
    assert [user.role for user in accounts.users()].count("admin") == 1


@pytest.mark.parametrize(
    "name", ["", "   ", "two words", "x" * 101, "tab\there", "nul\0", "line\nbreak", "a/b", "..", "a\\b", "<b>"]
)
def test_what_is_no_name_is_refused_at_its_field(accounts: Accounts, name: str) -> None:
    with pytest.raises(RequestError) as refused:
        accounts.add_user(name, "viewer")
    assert refused.value.status == 422
    assert refused.value.errors is not None
    assert refused.value.errors[0]["field"] == "name"


@pytest.mark.parametrize("password", ["short", "x" * 501, "aaaaaaaaaaaaaa", "ADA@example.COM", "\ud800" * 12])
def test_what_is_no_password_is_refused_at_its_field(accounts: Accounts, password: str) -> None:
    with pytest.raises(RequestError) as refused:
        accounts.add_user("ada@example.com", "viewer", password=password)
    assert refused.value.errors is not None
    assert refused.value.errors[0]["field"] == "password"


def test_who_is_not_there_is_not_found(accounts: Accounts) -> None:
    for act in (accounts.user, accounts.disable, accounts.remove, accounts.make_link, accounts.sessions):
        with pytest.raises(RequestError) as refused:
            act("nobody-here")
        assert refused.value.status == 404


def test_the_first_link_makes_the_first_admin_once(database: Database, clock: TurnedClock) -> None:
    accounts = opened(database, clock)
    link, another = accounts.first_link(), accounts.first_link()
    assert link is not None
    assert another is not None
    purpose = accounts.purpose_of(link)
    assert purpose is not None
    assert (purpose.kind, purpose.user) == ("first", None)
    with pytest.raises(RequestError) as refused:
        accounts.redeem_first(link, "ada", "short", HOME)
    assert refused.value.status == 422
    begun = accounts.redeem_first(link, "ada", PASSWORD, HOME)
    assert accounts.viewer_of(begun.token) == Viewer("ada", "admin", session_id=begun.viewer.session_id)
    for spent in (link, another, "never one"):
        assert accounts.purpose_of(spent) is None
        with pytest.raises(SignInRefused):
            accounts.redeem_first(spent, "eve", PASSWORD, HOME)
    assert accounts.first_link() is None
    assert [user.name for user in accounts.users()] == ["ada"]


def test_two_first_links_used_at_once_make_one_admin(database: Database, clock: TurnedClock) -> None:
    accounts, other = opened(database, clock), Accounts(database, clock=clock, hasher=CHEAP)
    links = [accounts.first_link(), other.first_link()]
    outcomes: list[str] = []

    def redeem(at: Accounts, token: str | None, name: str) -> None:
        try:
            outcomes.append(at.redeem_first(token or "", name, PASSWORD, HOME).viewer.name)
        except SignInRefused:
            outcomes.append("refused")

    threads = [
        threading.Thread(target=redeem, args=(at, link, name))
        for at, link, name in ((accounts, links[0], "ada"), (other, links[1], "eve"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("refused") == 1
    assert len(accounts.users()) == 1


def test_a_link_expires(database: Database, clock: TurnedClock) -> None:
    accounts = opened(database, clock)
    first = accounts.first_link()
    assert first is not None
    clock.advance(LINK_MS)
    assert accounts.purpose_of(first) is None
    with pytest.raises(SignInRefused):
        accounts.redeem_first(first, "ada", PASSWORD, HOME)


def test_a_link_sets_a_password_once_and_the_newest_counts(accounts: Accounts) -> None:
    accounts.add_user("vera", "viewer")
    with pytest.raises(SignInRefused):
        signed_in(accounts, "vera")
    older, link = accounts.make_link("vera"), accounts.make_link("vera")
    with pytest.raises(SignInRefused):
        accounts.redeem_password(older, PASSWORD, HOME)
    with pytest.raises(SignInRefused):
        accounts.redeem_first(link, "eve", PASSWORD, HOME)
    assert accounts.redeem_password(link, PASSWORD, HOME).viewer.role == "viewer"
    with pytest.raises(SignInRefused):
        accounts.redeem_password(link, "another long password", HOME)
    assert signed_in(accounts, "vera")


def test_a_link_of_somebody_disabled_is_good_for_nothing(accounts: Accounts) -> None:
    link = accounts.make_link("Otto")
    accounts.disable("Otto")
    with pytest.raises(SignInRefused):
        accounts.redeem_password(link, "another long password", HOME)
    accounts.enable("Otto")
    assert accounts.purpose_of(link) is None


def test_who_is_vouched_for_is_known_again_by_the_provider_alone(accounts: Accounts) -> None:
    begun = accounts.sign_in_as(Vouched("https://idp.test", "42", "ada", "operator", "state-1"), HOME)
    # Of the same name as somebody here, and yet not them.
    assert (begun.viewer.name, begun.viewer.role) == ("ada~2", "operator")
    assert accounts.user("ada").subject is None
    again = accounts.sign_in_as(Vouched("https://idp.test", "42", "renamed", "admin", "state-2"), HOME)
    assert (again.viewer.name, again.viewer.role) == ("ada~2", "admin")
    assert accounts.viewer_of(begun.token) is None, "another role ends what began with the one before"
    other = accounts.sign_in_as(Vouched("https://other.test", "42", "two words", "viewer", "state-3"), HOME)
    assert other.viewer.name == "two.words"
    with pytest.raises(SignInRefused):
        accounts.sign_in_as(Vouched("https://idp.test", "42", "ada", "admin", "state-2"), HOME)
    accounts.disable("ada~2")
    with pytest.raises(SignInRefused):
        accounts.sign_in_as(Vouched("https://idp.test", "42", "ada", "admin", "state-4"), HOME)


def test_a_role_of_a_failed_vouching_stays(accounts: Accounts) -> None:
    accounts.sign_in_as(Vouched("https://idp.test", "7", "olga", "viewer", "state-1"), HOME)
    with pytest.raises(SignInRefused):
        accounts.sign_in_as(Vouched("https://idp.test", "7", "olga", "admin", "state-1"), HOME)
    assert accounts.user("olga").role == "viewer"


def test_sessions_are_listed_with_where_they_began(accounts: Accounts) -> None:
    begun = signed_in(accounts)
    signed_in(accounts, "Otto")
    [mine] = accounts.sessions("ada")
    assert (mine.id, mine.user, mine.method, mine.address, mine.agent) == (
        begun.viewer.session_id,
        "ada",
        "password",
        HOME,
        "Firefox",
    )
    assert [one.user for one in accounts.sessions()] == ["Otto", "ada"]
    with pytest.raises(RequestError):
        accounts.revoke_session(mine.id, of="Otto")
    assert accounts.viewer_of(begun.token)


def test_the_theme_is_kept(accounts: Accounts) -> None:
    begun = signed_in(accounts)
    accounts.set_theme(begun.viewer, "dark")
    viewer = accounts.viewer_of(begun.token)
    assert viewer is not None
    assert viewer.theme == "dark"


def test_the_trail_tells_who_did_what_and_no_secret(accounts: Accounts) -> None:
    signed_in(accounts)
    with pytest.raises(SignInRefused):
        accounts.sign_in("ada", "hunter2hunter2", ELSEWHERE)
    with pytest.raises(SignInRefused):
        # Typed into the wrong field.
        accounts.sign_in("hunter2hunter2", "ada", ELSEWHERE)
    accounts.set_role("Otto", "viewer", actor="user:ada", address=HOME)
    accounts.record("user:ada", "mirror.reconciled", "directory_1", {"rows": 3}, address=HOME)
    lines = accounts.audit_page().lines
    assert [(line.actor, line.action) for line in lines] == [
        ("user:ada", "mirror.reconciled"),
        ("user:ada", "user.role_changed"),
        ("nobody", "user.sign_in_failed"),
        ("nobody", "user.sign_in_failed"),
        ("user:ada", "user.signed_in"),
        ("command", "user.created"),
        ("command", "user.created"),
    ]
    assert lines[1].detail == {"name": "Otto", "from": "operator", "to": "viewer"}
    assert (lines[2].object_id, lines[3].object_id) == (None, accounts.user("ada").id)
    assert lines[3].detail == {"failures": 1}
    assert lines[3].address == ELSEWHERE
    assert "hunter2" not in repr(lines)


def test_the_trail_is_read_in_pages_and_by_filters(accounts: Accounts) -> None:
    for number in range(7):
        accounts.record("user:ada", "thing.done", f"thing_{number % 2}", {"number": number})

    def numbers(lines: object) -> list[int]:
        return [line.detail["number"] for line in lines]  # type: ignore[attr-defined]

    choice = AuditChoice(action="thing.done")
    first = accounts.audit_page(choice, limit=3)
    assert (numbers(first.lines), first.newer) == ([6, 5, 4], None)
    second = accounts.audit_page(choice, before=first.older, limit=3)
    assert numbers(second.lines) == [3, 2, 1]
    last = accounts.audit_page(choice, before=second.older, limit=3)
    assert (numbers(last.lines), last.older) == ([0], None)
    back = accounts.audit_page(choice, after=last.newer, limit=3)
    assert numbers(back.lines) == [3, 2, 1]
    assert back.newer is not None
    newest = accounts.audit_page(choice, after=back.newer, limit=3)
    assert (numbers(newest.lines), newest.newer) == ([6, 5, 4], None)
    assert numbers(accounts.audit_page(AuditChoice(object_id="thing_1")).lines) == [5, 3, 1]
    assert accounts.audit_page(AuditChoice(actor="user:nobody")).lines == []


def test_what_every_database_keeps_is_written(accounts: Accounts) -> None:
    accounts.record("user:\0ada", "thing.done", "\ud800" + "x" * 5_000, {"text": "a\0b"}, address="\ud800")
    [line] = accounts.audit_page(AuditChoice(action="thing.done")).lines
    assert line.actor == "user:ada"
    assert line.object_id == "?" + "x" * 499


def test_what_is_past_goes(accounts: Accounts, database: Database, clock: TurnedClock) -> None:
    begun = signed_in(accounts)
    accounts.make_link("Otto")
    with pytest.raises(SignInRefused):
        accounts.sign_in("unknown", PASSWORD, HOME)
    clock.advance(AUDIT_MS + 1)
    accounts.record("user:ada", "thing.done", None, {})
    assert accounts.prune() == 5
    with database.read() as connection:
        for table, left in (("sessions", 0), ("links", 0), ("sign_ins", 0), ("audit", 1), ("users", 2)):
            cursor = connection.cursor()
            cursor.execute(f"select count(*) from hookline_dashboard_{table}")
            assert cursor.fetchone()[0] == left, table
    assert accounts.viewer_of(begun.token) is None


@pytest.mark.parametrize("who", ["somebody", "strangers"])
def test_whoever_comes_tends_to_what_is_past(
    accounts: Accounts, database: Database, clock: TurnedClock, who: str
) -> None:
    accounts.make_link("Otto")
    begun = signed_in(accounts)
    for _ in range(3):
        clock.advance(IDLE_MS // 2)
        if who == "somebody":
            assert accounts.viewer_of(begun.token)
        else:
            with pytest.raises(SignInRefused):
                accounts.sign_in("unknown", PASSWORD, HOME)
    with database.read() as connection:
        cursor = connection.cursor()
        cursor.execute("select count(*) from hookline_dashboard_links")
        assert cursor.fetchone()[0] == 0


def test_an_older_hash_is_renewed_at_the_next_sign_in(database: Database, clock: TurnedClock) -> None:
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    opened(database, clock).add_user("ada", "admin", password=PASSWORD)
    stronger = Accounts(
        database, clock=clock, hasher=PasswordHash([Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1)])
    )
    before = stronger.user("ada").password_hash
    begun = signed_in(stronger)
    after = stronger.user("ada").password_hash
    assert before is not None
    assert after is not None
    assert ("t=1" in before, "t=2" in after) == (True, True)
    assert stronger.viewer_of(begun.token)
    assert signed_in(stronger)


def test_names_have_one_key() -> None:
    assert name_key("Ａda") == name_key("ADA") == "ada"
    assert name_key("\ud800") == "?"
