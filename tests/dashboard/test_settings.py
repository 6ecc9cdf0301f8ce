"""Settings over HTTP: users and their roles, API keys, audit logs, addresses, and what each role may see of them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import quote

import pytest

from .browser import Answer, Browser
from .ends import Ends
from .people import PASSWORD

As = Callable[..., Browser]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(tmp_path_factory.mktemp("settings"), stack)


@pytest.fixture
def signed_in(ends: Ends) -> Iterator[As]:
    """A browser of one of the three."""
    with ExitStack() as browsers:

        def enter(name: str, **how: object) -> Browser:
            browser = browsers.enter_context(Browser(ends.dashboard, **how))  # type: ignore[arg-type]
            browser.cookies["hookline_session"] = ends.accounts.sign_in(name, PASSWORD, "198.51.100.7").token
            return browser

        yield enter


def copied(answer: Answer, part: str) -> str:
    """What a page offers to be copied."""
    return next(html.unescape(one) for one in re.findall('data-copy="([^"]*)"', answer.text) if part in one)


def test_the_plan_of_retries_is_in_clock_times(ends: Ends, signed_in: As) -> None:
    answer = signed_in("vera").get("/dashboard/settings")
    # 2023-11-14T22:13:20Z is when this clock stands; the first retry comes 190 s later, the last after three days.
    for said in ("2023-11-14T22:16:30", "2023-11-17T22:13:20", "6 retries", "WorkOS-Signature", "$..phone", "30 d"):
        assert said in answer.page.text, said
    twin = signed_in("vera").get("/dashboard/settings?format=json").json
    assert [one["after_s"] for one in twin["sender"]["environments"][1]["tries"]] == [0, 1, 4, 13, 40, 121, 300]
    assert "a secret" not in answer.text


def test_how_many_listen(ends: Ends, signed_in: As) -> None:
    ends.sender.listeners.open("staging", "ada@laptop", ["*"], session="session_1")
    ends.sender.listeners.keep("staging", "bob@laptop")
    assert "1 of 2 connected" in signed_in("vera").get("/dashboard/settings").page.text


def test_where_a_request_comes_from(signed_in: As) -> None:
    page = "/dashboard/settings/addresses?format=json"
    direct = signed_in("vera", peer="198.51.100.9").get(page).json["request"]
    assert (direct["address"], direct["reason"], direct["scheme"]) == ("198.51.100.9", "peer", "http")
    told = {"x-forwarded-for": "9.9.9.9, 198.51.100.7"}
    behind = signed_in("vera", peer="10.1.2.3", headers=told).get(page).json["request"]
    assert (behind["peer"], behind["address"], behind["reason"]) == ("10.1.2.3", "198.51.100.7", "forwarded")
    # The usual mistake: the proxy is not known as one.
    unknown = signed_in("vera", peer="172.16.0.1", headers=told).get("/dashboard/settings/addresses")
    assert "HOOKLINE_TRUSTED_PROXIES=172.16.0.1" in unknown.page.text
    hostile = signed_in("vera", headers={"x-forwarded-for": "<script>alert(1)</script>"})
    assert "<script>alert" not in hostile.get("/dashboard/settings/addresses").text


def test_addresses_that_are_published_and_allowed(signed_in: As) -> None:
    data = signed_in("vera").get("/dashboard/settings/addresses?format=json").json
    assert data["egress"] == ["203.0.113.7/32"]
    assert data["sources"][0]["allowed"] == ["192.0.2.0/24"]


def test_what_runs_here(signed_in: As) -> None:
    data = signed_in("vera").get("/dashboard/settings/about?format=json").json
    assert [one["part"] for one in data["databases"]] == ["sender", "receiver", "dashboard"]
    assert all(one["migrations"] == one["known"] > 0 for one in data["databases"])
    assert {"htmx.org", "basecoat-css"} <= {one["package"] for one in data["assets"]}
    assert "Licences" in signed_in("vera").get("/dashboard/settings/about").page.text


def test_a_key_is_shown_once_and_revoked(ends: Ends, signed_in: As) -> None:
    ada = signed_in("ada")
    page = ada.get("/dashboard/settings/keys")
    shown = ada.submit(page, "new production key", name="ci <b>")
    assert shown.status == 200
    clear = copied(shown, "sk_live_")
    holder = ends.sender.key_holder(clear)
    assert holder is not None
    again = ada.get("/dashboard/settings/keys")
    assert clear not in again.text
    assert f"sk_live_…{clear[-4:]}" in again.page.text
    assert "<b>" not in again.text
    [key] = [key for key in ends.sender.api_keys.listed("production") if key.name == "ci <b>"]
    assert ada.post(f"/dashboard/settings/keys/production/{key.id}/reveal").status == 409
    confirm = ada.get(ada.get("/dashboard/settings/keys").page.link("Revoke"))
    assert "answered 401" in confirm.page.text
    assert ends.sender.key_holder(clear) is not None
    assert "is revoked" in ada.submit(confirm, "Revoke the key").page.text
    assert ends.sender.key_holder(clear) is None
    lines = ada.get("/dashboard/settings/audit?trail=production&format=json").json["lines"]
    assert [(one["actor"], one["action"]) for one in lines[:2]] == [
        ("user:ada", "api_key.revoked"),
        ("user:ada", "api_key.created"),
    ]


def test_a_staging_key_is_shown_again_and_that_is_recorded(ends: Ends, signed_in: As) -> None:
    key, clear = ends.sender.api_keys.create("staging", name="preview")
    ada = signed_in("ada")
    assert str(clear) not in ada.get("/dashboard/settings/keys").text
    assert str(clear) in ada.post(f"/dashboard/settings/keys/staging/{key.id}/reveal").page.text
    lines = ada.get("/dashboard/settings/audit?trail=staging&action=api_key.revealed&format=json").json["lines"]
    assert [(one["actor"], one["object_id"]) for one in lines] == [("user:ada", key.id)]
    assert signed_in("otto").post(f"/dashboard/settings/keys/staging/{key.id}/reveal").status == 403
    assert ada.get("/dashboard/settings/keys/staging/nothing/revoke").status == 404
    assert ada.post("/dashboard/settings/keys/elsewhere", {"name": "x"}).status == 404


def test_a_name_of_a_key_that_is_too_long_is_said(signed_in: As) -> None:
    answer = signed_in("ada").post("/dashboard/settings/keys/production", {"name": "x" * 201})
    assert answer.status == 422
    assert "at most 200 characters" in answer.page.text


def test_a_user_is_added_by_a_link_that_is_shown_once(ends: Ends, signed_in: As) -> None:
    ada = signed_in("ada")
    page = ada.get(ada.get("/dashboard/settings/users").page.link("Add a user"))
    bad = ada.submit(page, "Add, and make", name="two words", role="operator")
    assert bad.status == 422
    assert "letters, digits" in bad.page.text
    assert dict(bad.page.form("Add, and make").fields) == {"name": "two words", "role": "operator"}
    assert "there is somebody of this name" in ada.submit(page, "Add, and make", name="OTTO", role="viewer").page.text
    shown = ada.submit(page, "Add, and make", name="nina@example.com", role="operator")
    link = copied(shown, "token=")
    assert link.startswith("http://hookline.test/dashboard/first?token=")
    with Browser(ends.dashboard) as nina:
        form = nina.get(link.removeprefix("http://hookline.test"))
        assert nina.submit(form, "Password", password=PASSWORD, again=PASSWORD).path == "/dashboard/"
        assert nina.get("/dashboard/account?format=json").json["role"] == "operator"
    assert link not in ada.get("/dashboard/settings/users/nina@example.com").text
    ends.accounts.remove("nina@example.com")


def test_a_role_changes_and_sessions_end(ends: Ends, signed_in: As) -> None:
    ends.accounts.add_user("rosa", "viewer", password=PASSWORD)
    ada, rosa = signed_in("ada"), signed_in("rosa")
    assert rosa.get("/dashboard/settings/audit").status == 403
    page = ada.get(ada.get("/dashboard/settings/users").page.link("rosa"))
    assert "end 1 session" in page.page.text
    ada.submit(page, "Change the role", role="operator")
    assert rosa.get("/dashboard/settings/audit", follow=False).status == 303
    assert signed_in("rosa").get("/dashboard/settings/audit").status == 200
    assert ada.submit(page, "Change the role", role="root").status == 422
    ends.accounts.remove("rosa")


def test_what_ends_something_states_it_first(ends: Ends, signed_in: As) -> None:
    ends.accounts.add_user("bert", "viewer", password=PASSWORD)
    ada, bert = signed_in("ada"), signed_in("bert")
    where = "/dashboard/settings/users/bert"
    confirm = ada.get(f"{where}/confirm/end-sessions")
    assert "This ends 1 session of bert." in " ".join(confirm.page.text.split())
    assert bert.get("/dashboard/").status == 200
    ada.submit(confirm, "End them all")
    assert bert.get("/dashboard/", follow=False).status == 303
    ada.submit(ada.get(f"{where}/confirm/disable"), "Disable")
    assert ada.submit(ada.get(where), "Let in again").status == 200
    assert signed_in("bert").get("/dashboard/").status == 200
    assert "is removed" in ada.submit(ada.get(f"{where}/confirm/remove"), "Remove").page.text
    assert ada.get(where).status == 404
    assert ada.get("/dashboard/settings/users/ada/confirm/promote").status == 404


def test_the_last_admin_stays(signed_in: As) -> None:
    ada = signed_in("ada")
    for act in ("disable", "remove"):
        answer = ada.post(f"/dashboard/settings/users/ada/confirm/{act}")
        assert answer.status == 409
        assert "this is the last admin" in answer.page.text
    answer = ada.post("/dashboard/settings/users/ada/role", {"role": "viewer"})
    assert (answer.status, "this is the last admin" in answer.page.text) == (409, True)


def test_a_session_of_somebody_else_is_ended(ends: Ends, signed_in: As) -> None:
    ada, vera = signed_in("ada"), signed_in("vera")
    [*_, newest] = sorted(ends.accounts.sessions("vera"), key=lambda one: one.id)
    assert ada.post(f"/dashboard/settings/users/otto/sessions/{newest.id}/end").status == 404
    assert ada.post(f"/dashboard/settings/users/vera/sessions/{newest.id}/end").status == 200
    assert vera.get("/dashboard/", follow=False).status == 303


def test_the_log_is_read_in_pages_and_by_filters(ends: Ends, signed_in: As) -> None:
    for number in range(120):
        ends.accounts.record("user:ada", "thing.done", f"thing_{number}", {"note": "<script>"})
    ada = signed_in("ada")
    page = ada.get("/dashboard/settings/audit?action=thing.done")
    seen: list[str] = []
    while True:
        rows = [f"thing_{number}" for number in range(120) if f"thing_{number}<" in page.text]
        seen += rows
        older = [href for label, href in page.page.links if "Older" in label]
        if not older:
            break
        page = ada.get(older[0])
    assert sorted(seen) == sorted(f"thing_{number}" for number in range(120))
    back = ada.get(page.page.link("Newer"))
    assert len(back.page.links) > 50
    assert "<script>" not in page.text.partition("<main")[2]
    assert "No match" in ada.get("/dashboard/settings/audit?action=never.done").page.text
    assert ada.get("/dashboard/settings/audit?before=x").status == 422
    assert ada.get("/dashboard/settings/audit?trail=elsewhere").status == 404
    only = ada.get(f"/dashboard/settings/audit?object=thing_7&actor={quote('user:ada')}&format=json").json["lines"]
    assert [one["object_id"] for one in only] == ["thing_7"]


def test_the_senders_log_is_read_in_pages(ends: Ends, signed_in: As) -> None:
    key, _ = ends.sender.api_keys.create("staging", name="much looked at")
    for _ in range(60):
        ends.sender.api_keys.reveal("staging", key.id)
    ada = signed_in("ada")
    first = ada.get(f"/dashboard/settings/audit?trail=staging&object={key.id}&format=json").json
    assert (len(first["lines"]), first["newer"]) == (50, None)
    where = f"/dashboard/settings/audit?trail=staging&object={key.id}&format=json"
    second = ada.get(f"{where}&before={first['older']}").json
    assert (len(second["lines"]), second["older"]) == (11, None)
    back = ada.get(f"{where}&after={second['newer']}").json
    assert back["lines"] == first["lines"]
    assert ada.get(f"{where}&before=audit_nothing").status == 422
