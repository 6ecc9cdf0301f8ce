"""Who may do what, asked by HTTP of every page and action there is: roles, other sites, API keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hookline.dashboard.frame import Action, Page
from hookline.dashboard.links import ROOT
from hookline.dashboard.viewer import ROLES

from .browser import Browser
from .ends import Ends
from .people import PASSWORD

PEOPLE = {"viewer": "vera", "operator": "otto", "admin": "ada"}
# What everybody may do: it is about themselves, or writes nothing.
OWN = {
    "explain",
    "account_password",
    "account_theme",
    "account_end_others",
    "account_end_session",
    "do_sign_in",
    "do_first",
    "sign_out",
    "oidc_begin",
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(tmp_path_factory.mktemp("access"), stack)


def entered(ends: Ends, role: str) -> Browser:
    browser = Browser(ends.dashboard)
    browser.cookies["hookline_session"] = ends.accounts.sign_in(PEOPLE[role], PASSWORD, "").token
    return browser


def path_of(one: Page | Action) -> str:
    return ROOT + re.sub(r"\{(\w+)(:\w+)?\}", lambda place: "staging" if place[1] == "environment" else "x1", one.path)


def test_nobody_who_has_not_signed_in_gets_anywhere(ends: Ends) -> None:
    with Browser(ends.dashboard) as stranger:
        for one in ends.dashboard.served:
            if one.is_open:
                continue
            if isinstance(one, Page):
                answer = stranger.get(path_of(one), follow=False)
                assert stranger.get(f"{path_of(one)}?format=json").status == 401, one.name
            else:
                answer = stranger.post(path_of(one), follow=False)
            assert answer.status == 303, one.name
            assert answer.headers["location"].startswith("/dashboard/sign-in"), one.name


def test_each_role_is_refused_what_is_for_a_higher_one(ends: Ends) -> None:
    refused = dict.fromkeys(ROLES, 0)
    for role in ROLES:
        with entered(ends, role) as browser:
            for one in ends.dashboard.served:
                if ROLES.index(one.role) <= ROLES.index(role):
                    continue
                ask = browser.get if isinstance(one, Page) else browser.post
                answer = ask(path_of(one), follow=False)
                assert answer.status == 403, (role, one.name)
                assert f"This needs the role {one.role}" in answer.page.text, (role, one.name)
                refused[role] += 1
    assert refused["viewer"] > refused["operator"] > refused["admin"] == 0


def test_a_viewer_writes_nothing_but_what_is_their_own(ends: Ends) -> None:
    actions = [one for one in ends.dashboard.served if isinstance(one, Action)]
    assert {one.name for one in actions if one.role == "viewer"} <= OWN
    assert all(one.role == "viewer" for one in actions if one.is_open)


def test_only_an_admin_reads_secrets(ends: Ends) -> None:
    for role, status in (("viewer", 403), ("operator", 403)):
        with entered(ends, role) as browser:
            for one in ends.dashboard.served:
                if isinstance(one, Page) and one.reveals:
                    assert browser.post(path_of(one), {"reveal": "1"}).status == status, (role, one.name)
    secret = re.compile("secret|reveal|key")
    revealing = [one for one in ends.dashboard.served if isinstance(one, Action) and secret.search(one.name)]
    assert {one.role for one in revealing if "reveal" in one.name} == {"admin"}


def test_no_action_is_taken_from_another_site(ends: Ends) -> None:
    with entered(ends, "admin") as browser:
        for one in ends.dashboard.served:
            if not isinstance(one, Action) and not one.reveals:
                continue
            path = path_of(one)
            for site in ("cross-site", "same-site", "none-such"):
                assert browser.post(path, sec_fetch_site=site, follow=False).status == 403, (one.name, site)


@pytest.mark.parametrize(
    ("headers", "is_let"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "http://hookline.test"}, False),
        ({"origin": "http://hookline.test"}, True),
        ({"origin": "http://HOOKLINE.test"}, True),
        ({"origin": "http://hookline.test:81"}, False),
        ({"origin": "http://hookline.test.evil.test"}, False),
        ({"origin": "https://evil.test"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://[hookline"}, False),
        ({}, True),
    ],
)
def test_where_a_post_comes_from(ends: Ends, headers: dict[str, str], is_let: bool) -> None:
    token = ends.accounts.sign_in("vera", PASSWORD, "").token
    with Browser(ends.dashboard, headers=headers) as browser:
        browser.cookies["hookline_session"] = token
        fields = {"theme": "light"}
        body = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
        form = {"content_type": "application/x-www-form-urlencoded"}
        answer = browser._ask("POST", "/dashboard/account/theme", body, form, follow=False)
    assert answer.status == (303 if is_let else 403)


def test_an_api_key_reads_the_twins_of_its_environment_alone(ends: Ends) -> None:
    _, clear = ends.sender.api_keys.create("staging", name=None)
    with Browser(ends.dashboard, headers={"authorization": f"Bearer {clear}"}) as script:
        assert script.get("/dashboard/settings?format=json").status == 200
        assert script.get("/dashboard/settings").status == 403
        assert script.get("/dashboard/settings/users?format=json").status == 403
        assert script.get("/dashboard/settings/keys?format=json").status == 403
        assert script.get("/dashboard/account?format=json").status == 404
        for one in ends.dashboard.served:
            if isinstance(one, Action) and not one.is_open:
                assert script.post(path_of(one)).status == 403, one.name
            elif isinstance(one, Page) and one.role == "viewer" and "{environment}" in one.path:
                path = path_of(one).replace("/staging", "/production")
                assert script.get(f"{path}?format=json").status == 403, one.name
    with Browser(ends.dashboard, headers={"authorization": "Bearer sk_test_never_one"}) as stranger:
        assert stranger.get("/dashboard/settings?format=json").status == 401


def test_every_page_leads_to_its_role_only_where_it_may_go(ends: Ends) -> None:
    with entered(ends, "viewer") as vera, entered(ends, "admin") as ada:
        seen = {label for label, _ in vera.get("/dashboard/settings").page.links}
        assert not {"Users", "API keys", "Audit log"} & seen
        assert {"Users", "API keys", "Audit log"} <= {label for label, _ in ada.get("/dashboard/settings").page.links}
