"""Signing in with a provider over real HTTP: the flow as it should be, and everything that must let nobody in."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from joserfc import jwt

from hookline.config import OidcConfig
from hookline.dashboard.accounts import Accounts
from hookline.dashboard.app import Dashboard
from hookline.dashboard.oidc import BEGUN_MS, KEYS_AGAIN_MS, Provider
from hookline.rules.roles import parse_role_rule
from hookline.storage import connect
from hookline.testing import TurnedClock

from .browser import Answer, Browser
from .oidc_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    OidcProvider,
    new_key,
    signed_with_public_key,
    unsigned,
)
from .people import PASSWORD, empty, opened

ROOT = "http://hookline.test"


@dataclass
class Place:
    """A dashboard beside a provider."""

    clock: TurnedClock
    provider: OidcProvider
    accounts: Accounts
    dashboard: Dashboard
    extra: dict[str, Any]
    browsers: ExitStack

    def browser(self) -> Browser:
        return self.browsers.enter_context(Browser(self.dashboard))

    def begun(self, browser: Browser, back: str = "/dashboard/account") -> str:
        """Where the provider sends a browser back to that began a sign-in here."""
        answer = browser.get(f"/dashboard/sign-in/provider?next={back}", follow=False)
        assert answer.status == 303
        return self.provider.enter(answer.headers["location"]).removeprefix(ROOT)

    def signed_in(self, browser: Browser | None = None) -> Answer:
        browser = browser or self.browser()
        return browser.get(self.begun(browser))

    def asks_anew(self, secret: str | None = CLIENT_SECRET) -> None:
        """As after a restart: nothing is known of the provider."""
        config = OidcConfig(
            issuer=self.provider.issuer,
            client_id=CLIENT_ID,
            client_secret=secret,
            roles=tuple(parse_role_rule(text) for text in ("groups:admins=admin", "groups:staff=viewer")),
            name="Example",
        )
        self.extra["oidc"] = Provider(config, redirect_uri=f"{ROOT}/dashboard/sign-in/callback", clock=self.clock)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place for all of these tests."""
    clock = TurnedClock()
    extra: dict[str, Any] = {"public_url": ROOT}
    database = connect(f"sqlite:///{tmp_path_factory.mktemp('oidc') / 'accounts.db'}")
    accounts = opened(database, clock)
    dashboard = Dashboard(accounts=accounts, clock=clock, extra=extra)
    with OidcProvider(clock) as provider, ExitStack() as browsers:
        yield Place(clock, provider, accounts, dashboard, extra, browsers)
    database.close()


@pytest.fixture
def place(settled: Place) -> Place:
    """With nobody in it, at the beginning of time, and a provider that tells the truth."""
    settled.clock.set(TurnedClock().now_ms())
    empty(settled.accounts)
    truthful = OidcProvider(settled.clock)
    for name in ("change", "sign", "keys", "answers", "asked", "auth_methods", "tells_issuer", "proofs"):
        setattr(settled.provider, name, getattr(truthful, name))
    settled.provider.claims = {"preferred_username": "grace", "groups": ["staff"]}
    settled.asks_anew()
    return settled


def refused(answer: Answer, said: str) -> None:
    assert answer.path == "/dashboard/sign-in", answer.page.text
    assert said in answer.page.text
    assert not any(text.startswith("hookline_session") for text in answer.set_cookies)


def test_somebody_new_is_let_in_with_the_role_of_their_claims(place: Place) -> None:
    browser = place.browser()
    assert "Sign in with Example" in browser.get("/dashboard/sign-in").page.text
    answer = place.signed_in(browser)
    assert (answer.status, answer.path) == (200, "/dashboard/account")
    assert browser.get("/dashboard/account?format=json").json["by_provider"] == place.provider.issuer
    user = place.accounts.user("grace")
    assert (user.role, user.subject, user.password_hash) == ("viewer", "subject-1", None)
    assert "hookline_oidc" not in browser.cookies
    # Known again under whatever name, and the role follows the claims.
    place.provider.claims = {"preferred_username": "hopper", "groups": "admins"}
    place.signed_in()
    assert [(one.name, one.role) for one in place.accounts.users()] == [("grace", "admin")]
    # No password ever lets them in.
    assert place.browser().post("/dashboard/sign-in", {"name": "grace", "password": PASSWORD}).status == 401


def test_the_cookie_of_a_sign_in_is_the_browsers_alone(place: Place) -> None:
    answer = place.browser().get("/dashboard/sign-in/provider", follow=False)
    [cookie] = answer.set_cookies
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=600"} <= {part.strip() for part in cookie.split(";")}
    with Browser(place.dashboard, scheme="https") as browser:
        [cookie] = browser.get("/dashboard/sign-in/provider", follow=False).set_cookies
    assert cookie.startswith("__Host-hookline_oidc=")
    assert "Secure" in cookie


def test_no_role_no_account(place: Place) -> None:
    place.provider.claims = {"preferred_username": "eve", "groups": ["visitors"]}
    refused(place.signed_in(), "has no role here")
    assert place.accounts.users() == []
    assert place.accounts.audit_page().lines[0].action == "user.sign_in_failed"


def test_a_disabled_user_stays_out(place: Place) -> None:
    place.accounts.add_user("ada", "admin")
    place.signed_in()
    place.accounts.disable("grace")
    refused(place.signed_in(), "may not sign in here")


def test_nobody_becomes_somebody_of_the_same_name(place: Place) -> None:
    place.accounts.add_user("grace", "admin", password=PASSWORD)
    place.signed_in()
    assert [(one.name, one.role) for one in place.accounts.users()] == [("grace", "admin"), ("grace~2", "viewer")]


def claimed(**claims: Any) -> Callable[[dict[str, Any]], object]:
    return lambda token: token.update(claims)


def shifted(**by_s: int) -> Callable[[dict[str, Any]], object]:
    return lambda token: token.update({name: token["iat"] + value for name, value in by_s.items()})


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda token: token.pop(name)


WRONG: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (claimed(nonce="of another sign-in"), "it is of another sign-in"),
    (without("nonce"), "it is of another sign-in"),
    (claimed(nonce=7), "it is of another sign-in"),
    (claimed(aud="another-client"), "it is for another client"),
    (claimed(aud=["another-client"]), "it is for another client"),
    (without("aud"), "it is for another client"),
    (claimed(aud=[CLIENT_ID, "another-client"]), "it was given to another client"),
    (claimed(azp="another-client"), "it was given to another client"),
    (claimed(iss="https://evil.test"), "it is of another issuer"),
    (without("iss"), "it is of another issuer"),
    (shifted(exp=-61), "it has expired"),
    (without("exp"), "it has expired"),
    (claimed(exp="never"), "it has expired"),
    (shifted(iat=61), "it is of a later time"),
    (without("iat"), "it is of a later time"),
    (shifted(nbf=61), "it is of a later time"),
    (claimed(sub=""), "it names nobody"),
    (without("sub"), "it names nobody"),
    (claimed(sub="x" * 256), "it names nobody"),
]


def test_an_id_token_that_is_not_this_sign_ins_lets_nobody_in(place: Place) -> None:
    browser = place.browser()
    for change, said in WRONG:
        place.provider.change = change
        refused(place.signed_in(browser), said)
    assert place.accounts.users() == []


def test_clocks_may_differ_a_little_and_audiences_be_several(place: Place) -> None:
    for change in (
        claimed(aud=[CLIENT_ID]),
        claimed(aud=[CLIENT_ID, "x"], azp=CLIENT_ID),
        shifted(exp=-59),
        shifted(nbf=59, iat=59),
    ):
        place.provider.change = change
        assert place.signed_in().path == "/dashboard/account"


def signed_by_another(claims: dict[str, Any]) -> str:
    """By a key that the provider does not publish, under the name of one that it does."""
    key = new_key()
    return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"])


def tampered(claims: dict[str, Any]) -> str:
    head, _, signature = OidcProvider(TurnedClock()).signed(claims).split(".")
    body = json.dumps({**claims, "groups": ["admins"]}).encode()
    return f"{head}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.{signature}"


def test_a_signature_that_does_not_hold_lets_nobody_in(place: Place) -> None:
    browser = place.browser()
    for sign in (
        unsigned,
        signed_with_public_key,
        signed_by_another,
        tampered,
        lambda _: "nonsense",
        lambda _: "a.b.c",
    ):
        place.provider.sign = sign
        refused(place.signed_in(browser), "signature does not hold")
    assert place.accounts.users() == []


def test_a_state_is_good_once(place: Place) -> None:
    browser = place.browser()
    back = place.begun(browser)
    kept = dict(browser.cookies)
    assert browser.get(back).path == "/dashboard/account"
    # The very same answer again, the cookie that was taken back put there again.
    again = place.browser()
    again.cookies.update(kept)
    refused(again.get(back), "gave nothing for its code")
    # Even with another code of the provider's.
    code = dict(part.split("=") for part in place.begun(place.browser()).partition("?")[2].split("&"))["code"]
    place.provider._codes[code] = place.provider._codes[code].__class__(
        f"{ROOT}/dashboard/sign-in/callback", challenge_of(kept["hookline_oidc"]), nonce_of(kept["hookline_oidc"])
    )
    again.cookies.update(kept)
    state = dict(part.split("=") for part in back.partition("?")[2].split("&"))["state"]
    refused(again.get(f"/dashboard/sign-in/callback?code={code}&state={state}"), "was completed before")


def opened_cookie(kept: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4)))
    return found


def nonce_of(kept: str) -> str:
    return str(opened_cookie(kept)["nonce"])


def challenge_of(kept: str) -> str:
    digest = hashlib.sha256(opened_cookie(kept)["verifier"].encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_an_answer_to_another_browser_is_refused(place: Place) -> None:
    """Somebody sends a victim the end of a sign-in of their own."""
    theirs = place.begun(place.browser())
    victim = place.browser()
    refused(victim.get(theirs), "did not begin in this browser")
    place.begun(victim)
    refused(victim.get(theirs), "did not begin in this browser")
    victim.cookies["hookline_oidc"] = "nonsense"
    refused(victim.get(theirs), "did not begin in this browser")
    refused(victim.get("/dashboard/sign-in/callback"), "did not begin in this browser")


def test_a_code_that_was_caught_is_no_use_without_its_verifier(place: Place) -> None:
    """PKCE: the code of one sign-in brought back in another."""
    caught = dict(part.split("=") for part in place.begun(place.browser()).partition("?")[2].split("&"))["code"]
    browser = place.browser()
    own = dict(part.split("=") for part in place.begun(browser).partition("?")[2].split("&"))
    answer = browser.get(f"/dashboard/sign-in/callback?code={caught}&state={own['state']}")
    refused(answer, "gave nothing for its code")


def test_who_takes_too_long_begins_again(place: Place) -> None:
    browser = place.browser()
    back = place.begun(browser)
    place.clock.advance(BEGUN_MS)
    refused(browser.get(back), "took too long")


def test_a_refusal_of_the_provider_is_told_without_its_words(place: Place) -> None:
    browser = place.browser()
    state = place.begun(browser).partition("state=")[2]
    answer = browser.get(f"/dashboard/sign-in/callback?state={state}&error=access_denied&error_description=<script>")
    refused(answer, "The provider did not let you in.")
    assert "access_denied" not in answer.text


def test_an_answer_of_another_provider_is_refused(place: Place) -> None:
    """RFC 9207: a provider that says so tells who it is beside the code."""
    browser = place.browser()
    refused(browser.get(f"{place.begun(browser)}&iss=https%3A%2F%2Fevil.test"), "another provider")
    place.provider.tells_issuer = True
    place.asks_anew()
    assert place.signed_in().path == "/dashboard/account"
    browser = place.browser()
    back = place.begun(browser)
    place.provider.asked.clear()
    refused(browser.get(back.partition("&iss=")[0]), "another provider")
    assert "/token" not in place.provider.asked


def test_keys_are_rotated(place: Place) -> None:
    assert place.signed_in().path == "/dashboard/account"
    place.provider.keys = [new_key(), *place.provider.keys]
    place.clock.advance(KEYS_AGAIN_MS)
    assert place.signed_in().path == "/dashboard/account"
    assert place.provider.asked.count("/keys") == 2
    # A stranger's unknown key does not have the provider asked each time.
    place.provider.sign = signed_by_another
    for _ in range(3):
        refused(place.signed_in(), "signature does not hold")
    assert place.provider.asked.count("/keys") == 2
    # One that is taken away is good no longer, once what was read is old.
    old = place.provider.keys.pop()
    place.clock.advance(3_600_000)
    place.provider.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": old.kid}, claims, old, algorithms=["RS256"])
    refused(place.signed_in(), "signature does not hold")


def test_what_the_provider_says_of_itself_is_kept_for_a_while(place: Place) -> None:
    for _ in range(3):
        place.signed_in()
    assert place.provider.asked.count("/.well-known/openid-configuration") == 1
    assert place.provider.asked.count("/keys") == 1


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_the_client_proves_itself_as_the_provider_asks(place: Place, method: str) -> None:
    place.provider.auth_methods = (method,)
    place.asks_anew()
    assert place.signed_in().path == "/dashboard/account"
    assert place.provider.proofs == [method]


def test_a_wrong_secret_lets_nobody_in(place: Place) -> None:
    place.asks_anew(secret="another secret")
    refused(place.signed_in(), "gave nothing for its code")


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [
        ("/.well-known/openid-configuration", 500, b"{}"),
        ("/.well-known/openid-configuration", 302, b"{}"),
        ("/.well-known/openid-configuration", 200, b"<html>"),
        ("/.well-known/openid-configuration", 200, b"[]"),
        ("/.well-known/openid-configuration", 200, b'{"issuer": "https://evil.test"}'),
        ("/keys", 500, b"{}"),
        ("/keys", 200, b'{"keys": [7, {"kty": "RSA"}]}'),
        ("/keys", 200, b'{"keys": []}'),
        ("/keys", 200, b"x" * 1_000_000),
    ],
)
def test_a_provider_that_is_away_is_told_so(place: Place, path: str, status: int, content: bytes) -> None:
    place.provider.answers[path] = (status, content)
    browser = place.browser()
    if path != "/keys":
        answer = browser.get("/dashboard/sign-in/provider")
    else:
        answer = browser.get(place.begun(browser))
    assert answer.status == 503
    assert "The provider cannot be used now" in answer.page.text
    assert place.accounts.users() == []


@pytest.mark.parametrize("name", ["issuer", "token_endpoint", "authorization_endpoint", "jwks_uri"])
def test_a_provider_that_leads_elsewhere_over_http_is_not_followed(place: Place, name: str) -> None:
    """Over https alone, but for a provider on this machine; and its issuer is the one of the settings."""
    metadata = {
        **place.provider.metadata(),
        name: "https://user@evil.test/x" if name != "issuer" else "https://evil.test",
    }
    place.provider.answers["/.well-known/openid-configuration"] = (200, json.dumps(metadata).encode())
    assert place.browser().get("/dashboard/sign-in/provider").status == 503


def test_failures_from_one_place_are_slowed_down(place: Place) -> None:
    place.provider.claims = {"groups": []}
    for _ in range(21):
        refused(place.signed_in(), "has no role here")
    refused(place.signed_in(), "Too many tries")
    place.clock.advance(1_000)
    place.provider.claims = {"preferred_username": "grace", "groups": ["staff"]}
    assert place.signed_in().path == "/dashboard/account"


def test_without_a_provider_it_says_so(place: Place) -> None:
    del place.extra["oidc"]
    browser = place.browser()
    assert "Sign in with" not in browser.get("/dashboard/sign-in").page.text
    for path in ("/dashboard/sign-in/provider", "/dashboard/sign-in/callback?code=x&state=y"):
        assert "No provider is set up here" in browser.get(path).page.text
