"""Signing in and out over HTTP: cookies, where one goes on, what is told to whom, and one's own account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import quote

import pytest

from hookline.dashboard.accounts import IDLE_MS, LINK_MS, Accounts
from hookline.dashboard.app import Dashboard
from hookline.rules.address import parse_networks
from hookline.storage import connect
from hookline.testing import TurnedClock

from .browser import Answer, Browser
from .people import PASSWORD, empty, opened

Visit = Callable[..., Browser]


@pytest.fixture(scope="module")
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, clock: TurnedClock) -> Iterator[Accounts]:
    database = connect(f"sqlite:///{tmp_path_factory.mktemp('sign-in') / 'accounts.db'}")
    yield opened(database, clock)
    database.close()


@pytest.fixture(scope="module")
def dashboard(kept: Accounts, clock: TurnedClock) -> Dashboard:
    """One for all: its templates are compiled once."""
    return Dashboard(accounts=kept, clock=clock, trusted_proxies=parse_networks(["10.0.0.0/8"], setting=""))


@pytest.fixture
def nobody(kept: Accounts, clock: TurnedClock) -> Accounts:
    """Accounts without anybody, at the beginning of time."""
    clock.set(TurnedClock().now_ms())
    empty(kept)
    return kept


@pytest.fixture
def accounts(nobody: Accounts) -> Accounts:
    nobody.add_user("ada", "admin", password=PASSWORD)
    nobody.add_user("vera", "viewer", password=PASSWORD)
    return nobody


@pytest.fixture
def visit(nobody: Accounts, dashboard: Dashboard) -> Iterator[Visit]:
    with ExitStack() as browsers:
        yield lambda **how: browsers.enter_context(Browser(dashboard, **how))


def sign_in(browser: Browser, name: str = "ada", password: str = PASSWORD, *, at: str = "/dashboard/sign-in") -> Answer:
    return browser.submit(browser.get(at), "Password", name=name, password=password)


def flags(answer: Answer, name: str) -> set[str]:
    [cookie] = [text for text in answer.set_cookies if text.startswith(f"{name}=")]
    return {part.strip().lower().partition("=")[0] for part in cookie.split(";")[1:]} | {
        part.strip().lower() for part in cookie.split(";")[1:]
    }


def test_signing_in_leads_in(visit: Visit, accounts: Accounts) -> None:
    browser = visit()
    answer = browser.get("/dashboard/")
    assert answer.path == "/dashboard/sign-in?next=%2Fdashboard%2F"
    answer = browser.submit(answer, "Password", name="ada", password=PASSWORD)
    assert (answer.status, answer.path) == (200, "/dashboard/")
    assert "ada" in answer.page.text
    # Who is signed in has nothing to do there.
    assert browser.get("/dashboard/sign-in").path == "/dashboard/"


def test_a_cookie_over_http_and_one_over_https(visit: Visit, accounts: Accounts) -> None:
    fields = {"name": "ada", "password": PASSWORD}
    answer = visit().post("/dashboard/sign-in", fields, follow=False)
    plain = flags(answer, "hookline_session")
    assert plain >= {"httponly", "samesite=lax", "path=/", "max-age=604800"}
    assert "secure" not in plain
    answer = visit(scheme="https").post("/dashboard/sign-in", fields, follow=False)
    assert flags(answer, "__Host-hookline") >= {"httponly", "samesite=lax", "path=/", "secure"}
    assert "domain" not in flags(answer, "__Host-hookline")


def test_behind_a_trusted_proxy_the_cookie_is_https_and_the_address_the_callers(
    visit: Visit, accounts: Accounts
) -> None:
    told = {"x-forwarded-proto": "https", "x-forwarded-for": "198.51.100.7"}
    fields = {"name": "ada", "password": PASSWORD}
    answer = visit(peer="10.0.0.1", headers=told).post("/dashboard/sign-in", fields, follow=False)
    assert "secure" in flags(answer, "__Host-hookline")
    assert answer.headers["strict-transport-security"]
    assert accounts.sessions("ada")[0].address == "198.51.100.7"
    # Whoever else says so is not believed.
    answer = visit(peer="203.0.113.9", headers=told).post("/dashboard/sign-in", fields, follow=False)
    assert "secure" not in flags(answer, "hookline_session")
    assert accounts.sessions("ada")[0].address == "203.0.113.9"


@pytest.mark.parametrize("name", ["ada", "nobody-here", "<script>"])
def test_a_wrong_password_keeps_what_was_typed_but_it(visit: Visit, accounts: Accounts, name: str) -> None:
    browser = visit()
    answer = sign_in(browser, name, "hunter2hunter2", at="/dashboard/sign-in?next=/dashboard/account")
    assert answer.status == 401
    assert "This name and password do not go together." in answer.page.text
    fields = dict(answer.page.form("Password").fields)
    assert fields == {"next": "/dashboard/account", "name": name, "password": ""}
    assert "hunter2" not in answer.text
    assert "<script>" not in answer.text.partition("<main")[2]
    assert not browser.cookies


def test_what_is_missing_is_said_at_its_field(visit: Visit, accounts: Accounts) -> None:
    answer = visit().post("/dashboard/sign-in", {"name": "ada"})
    assert answer.status == 422
    assert "Password".lower() in answer.page.text.lower()
    assert "is missing" in answer.page.text
    assert 'aria-invalid="true"' in answer.text


def test_too_many_tries_wait(visit: Visit, accounts: Accounts, clock: TurnedClock) -> None:
    browser = visit()
    for _ in range(6):
        assert sign_in(browser, password="wrong password").status == 401
    answer = sign_in(browser)
    assert answer.status == 429
    assert "The next is taken in 1 s." in answer.page.text
    clock.advance(1_000)
    assert sign_in(browser).path == "/dashboard/"


def test_an_expired_session_returns_to_where_one_was(visit: Visit, accounts: Accounts, clock: TurnedClock) -> None:
    browser = visit()
    sign_in(browser)
    clock.advance(IDLE_MS)
    where = "/dashboard/account?tab=sessions&x=a%20b"
    answer = browser.get(where)
    assert answer.path == f"/dashboard/sign-in?next={quote(where, safe='')}"
    answer = browser.submit(answer, "Password", name="ada", password=PASSWORD)
    assert answer.path == where


def test_a_form_sent_too_late_says_that_nothing_was_done(visit: Visit, accounts: Accounts, clock: TurnedClock) -> None:
    browser = visit()
    sign_in(browser)
    page = browser.get("/dashboard/account")
    clock.advance(IDLE_MS)
    answer = browser.submit(page, "theme", theme="dark")
    assert answer.path == "/dashboard/sign-in"
    assert "Nothing was changed" in answer.page.text
    assert accounts.user("ada").theme == "system"


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.test/",
        "//evil.test/dashboard",
        "/\\evil.test",
        "/dashboard/..//evil.test",
        "/dashboard//evil.test",
        "javascript:alert(1)",
        "/elsewhere",
        "/dashboardish",
        "/dashboard/\nx",
        "/dashboard/sign-in?next=/dashboard/sign-in",
        "/dashboard/first?token=x",
    ],
)
def test_no_other_site_is_gone_on_at(visit: Visit, accounts: Accounts, location: str) -> None:
    browser = visit()
    answer = browser.get(f"/dashboard/sign-in?next={quote(location, safe='')}")
    assert dict(answer.page.form("Password").fields)["next"] == "/dashboard/"
    fields = {"name": "ada", "password": PASSWORD, "next": location}
    answer = browser.post("/dashboard/sign-in", fields, follow=False)
    assert answer.headers["location"] == "/dashboard/"


def test_a_session_is_never_one_that_somebody_else_chose(visit: Visit, accounts: Accounts) -> None:
    browser = visit()
    browser.cookies["hookline_session"] = "chosen-by-somebody-else"
    sign_in(browser)
    first = browser.cookies["hookline_session"]
    assert first != "chosen-by-somebody-else"
    # Signing in over a session that is good: it ends, and the token is a new one.
    browser.post("/dashboard/sign-in", {"name": "vera", "password": PASSWORD})
    assert browser.cookies["hookline_session"] != first
    assert accounts.viewer_of(first) is None


def test_signing_out_ends_the_session_and_takes_the_cookie_back(visit: Visit, accounts: Accounts) -> None:
    browser = visit()
    sign_in(browser)
    token = browser.cookies["hookline_session"]
    answer = browser.submit(browser.get("/dashboard/"), "sign-out")
    assert answer.path == "/dashboard/sign-in"
    assert not browser.cookies
    assert accounts.viewer_of(token) is None
    assert browser.post("/dashboard/sign-out").path == "/dashboard/sign-in"
    assert browser.get("/dashboard/sign-out").status in (404, 405)


def test_a_stolen_session_stops_at_once(visit: Visit, accounts: Accounts) -> None:
    mine, thief = visit(), visit(peer="203.0.113.9")
    sign_in(mine)
    thief.cookies.update(mine.cookies)
    assert thief.get("/dashboard/account").status == 200
    # It was stolen here; she signs in again, and ends the other.
    sign_in(elsewhere := visit())
    page = elsewhere.get("/dashboard/account")
    answer = elsewhere.submit(page, "End the session")
    assert "The session has ended." in answer.page.text
    assert thief.get("/dashboard/account").path.startswith("/dashboard/sign-in")
    assert elsewhere.get("/dashboard/account").status == 200


def test_all_sessions_but_this_end(visit: Visit, accounts: Accounts) -> None:
    browsers = [visit() for _ in range(3)]
    for browser in browsers:
        sign_in(browser)
    last = browsers[-1]
    assert "2 other sessions ended." in last.submit(last.get("/dashboard/account"), "all but this").page.text
    assert [one.get("/dashboard/account").path for one in browsers] == [
        "/dashboard/sign-in?next=%2Fdashboard%2Faccount"
    ] * 2 + ["/dashboard/account"]


def test_nobody_ends_sessions_of_others_under_their_own_account(visit: Visit, accounts: Accounts) -> None:
    browser = visit()
    sign_in(browser, "vera")
    begun = accounts.sign_in("ada", PASSWORD, "")
    assert browser.post(f"/dashboard/account/sessions/{begun.viewer.session_id}/end").status == 404
    assert accounts.viewer_of(begun.token)


def test_ones_own_password_is_changed_and_a_new_session_begins(visit: Visit, accounts: Accounts) -> None:
    browser, other = visit(), visit()
    sign_in(browser, "vera")
    sign_in(other, "vera")
    before = browser.cookies["hookline_session"]
    page = browser.get("/dashboard/account")
    new = "quite another password"
    for old, chosen, again, said in (
        ("wrong password", new, new, "this is not your password"),
        (PASSWORD, new, "a slip", "is not the same"),
        (PASSWORD, "short", "short", "expected 10 to 500 characters"),
    ):
        answer = browser.submit(page, "New password", old=old, password=chosen, again=again)
        assert answer.status == 422
        assert said in answer.page.text
        assert new not in answer.text
    answer = browser.submit(page, "New password", old=PASSWORD, password=new, again=new)
    assert (answer.status, answer.path) == (200, "/dashboard/account")
    assert browser.cookies["hookline_session"] != before
    assert accounts.viewer_of(before) is None
    assert other.get("/dashboard/account").path.startswith("/dashboard/sign-in")
    assert sign_in(visit(), "vera", new).path == "/dashboard/"


def test_a_theme_is_kept(visit: Visit, accounts: Accounts) -> None:
    browser = visit()
    sign_in(browser)
    answer = browser.submit(browser.get("/dashboard/account"), "theme", theme="dark")
    assert 'class="dark"' in answer.text
    assert browser.post("/dashboard/account/theme", {"theme": "<script>"}).status == 422


def test_the_first_link_makes_the_first_admin(visit: Visit, nobody: Accounts) -> None:
    link = nobody.first_link()
    browser = visit()
    answer = browser.get(f"/dashboard/first?token={link}")
    assert answer.page.headings == ["Make the first account"]
    bad = browser.submit(answer, "Password", name="two words", password=PASSWORD, again=PASSWORD)
    assert bad.status == 422
    assert "letters, digits" in bad.page.text
    assert dict(bad.page.form("Password").fields)["name"] == "two words"
    assert browser.submit(bad, "Password", name="ada", password=PASSWORD, again="a slip").status == 422
    answer = browser.submit(bad, "Password", name="ada", password=PASSWORD, again=PASSWORD)
    assert (answer.status, answer.path) == (200, "/dashboard/")
    assert nobody.user("ada").role == "admin"
    for _ in range(2):
        again = visit().get(f"/dashboard/first?token={link}")
        assert again.status == 410
        assert "hookline users link" in again.page.text
    assert visit().post("/dashboard/first", {"token": str(link), "name": "eve", "password": PASSWORD}).status == 410


def test_a_link_of_an_admin_sets_a_password(visit: Visit, accounts: Accounts, clock: TurnedClock) -> None:
    browser = visit()
    link = accounts.make_link("vera")
    answer = browser.get(f"/dashboard/first?token={link}")
    assert "vera" in answer.page.text
    new = "quite another password"
    assert browser.submit(answer, "Password", password=new, again=new).path == "/dashboard/"
    assert browser.get(f"/dashboard/first?token={link}").status == 410
    late = accounts.make_link("vera")
    clock.advance(LINK_MS)
    assert visit().get(f"/dashboard/first?token={late}").status == 410


def test_without_its_token_the_page_says_where_links_come_from(visit: Visit, accounts: Accounts) -> None:
    answer = visit().get("/dashboard/first")
    assert answer.status == 200
    assert "hookline users link" in answer.page.text


def test_a_post_from_another_site_signs_nobody_in(visit: Visit, accounts: Accounts) -> None:
    fields = {"name": "ada", "password": PASSWORD}
    for site in ("cross-site", "same-site", "nonsense"):
        browser = visit()
        assert browser.post("/dashboard/sign-in", fields, sec_fetch_site=site).status == 403
        assert not browser.cookies
    assert not accounts.sessions()
