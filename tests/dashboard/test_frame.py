"""The dashboard's frame: who is let in, what is refused, what every answer carries, what an error looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import pytest

from hookline.dashboard.app import MOST_FORM_BYTES, Dashboard
from hookline.dashboard.assets import load_assets, vendored
from hookline.dashboard.viewer import ROLES, Viewer
from hookline.testing import TurnedClock

from .browser import Browser

FORBIDDEN = (" style=", " onclick=", " onchange=", " onsubmit=", "hx-on", 'hx-vals="js', "<style", "| safe")


class Doorkeeper:
    """Three people, each known by a token that is their role."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str | None]] = []

    def viewer_of(self, token: str) -> Viewer | None:
        return next((Viewer("ada", role, session_id="session_1") for role in ROLES if role == token), None)

    def record(
        self, actor: str, action: str, object_id: str | None, detail: Mapping[str, Any], *, address: str = ""
    ) -> None:
        self.recorded.append((actor, action, object_id))


@pytest.fixture(scope="module")
def dashboard() -> Dashboard:
    return Dashboard(accounts=Doorkeeper(), clock=TurnedClock(1_700_000_000_000))


@pytest.fixture
def browser(dashboard: Dashboard) -> Iterator[Browser]:
    with Browser(dashboard) as found:
        found.cookies["hookline_session"] = "admin"
        yield found


def test_every_answer_carries_the_headers(browser: Browser) -> None:
    for answer in (browser.get("/dashboard/"), browser.get("/dashboard/nowhere"), browser.get("/dashboard/static/0/x")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "strict-transport-security" not in answer.headers
    assert browser.get("/dashboard/").headers["cache-control"] == "no-store"


def test_over_https_the_host_is_kept_to_https(dashboard: Dashboard) -> None:
    with Browser(dashboard, scheme="https") as browser:
        assert "strict-transport-security" in browser.get("/dashboard/", follow=False).headers


def test_who_has_not_signed_in_learns_nothing(dashboard: Dashboard) -> None:
    with Browser(dashboard) as stranger:
        assert stranger.get("/dashboard/nowhere", follow=False).status in (303, 404)
        assert stranger.get("/dashboard/?format=json").status == 401


def test_a_page_that_is_not_there_says_so(browser: Browser) -> None:
    answer = browser.get("/dashboard/nowhere/%3Cscript%3E")
    assert answer.status == 404
    assert "<script>" not in answer.text.partition("<body>")[2]
    assert "There is no page at" in answer.page.text


def test_nul_is_in_no_id(browser: Browser) -> None:
    assert browser.get("/dashboard/?x=%00").status == 422
    assert browser.get("/dashboard/nowhere%00").status == 404


def test_assets_come_with_their_hash_and_stay(browser: Browser) -> None:
    page = browser.get("/dashboard/").text
    asset = load_assets()["dashboard.css"]
    assert f"/dashboard/static/{asset.mark}/dashboard.css" in page
    answer = browser.get(f"/dashboard/static/{asset.mark}/dashboard.css")
    assert answer.content == asset.content
    assert "immutable" in answer.headers["cache-control"]
    assert browser.get("/dashboard/static/0000/dashboard.css").status == 404


def test_what_is_not_ours_is_as_it_was_published() -> None:
    folder = resources.files("hookline.dashboard") / "static" / "vendor"
    told = {one.file: one for one in vendored()}
    found = {entry.name for entry in folder.iterdir() if entry.name.endswith((".js", ".css"))}
    assert set(told) == found
    for name, one in told.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == one.sha256, name
        assert (folder / one.text).is_file()


def test_the_assets_keep_to_their_budget() -> None:
    assets = load_assets()
    assert sum(len(one.content) for name, one in assets.items() if name.endswith(".js")) <= 150_000
    assert sum(len(one.content) for name, one in assets.items() if name.endswith(".css")) <= 260_000


def test_no_template_has_what_the_policy_refuses() -> None:
    folder = resources.files("hookline.dashboard") / "templates"
    waiting, found = [folder], []
    while waiting:
        entry = waiting.pop()
        if entry.is_dir():
            waiting += entry.iterdir()
            continue
        text = entry.read_text("utf-8")
        found += [(entry.name, one) for one in FORBIDDEN if one in text]
        found += [(entry.name, part) for part in text.split("<script")[1:] if not part.startswith(" src=")]
    assert not found


def test_reports_of_violations_are_counted(dashboard: Dashboard) -> None:
    before = dashboard.csp_reports
    with Browser(dashboard) as browser:
        assert browser.post("/dashboard/csp-report", {"a": "b"}).status == 204
        assert browser.post("/dashboard/csp-report", {"a": "b" * 20_000}).status == 413
    assert dashboard.csp_reports == before + 1


def test_the_twin_says_what_the_page_says(browser: Browser) -> None:
    answer = browser.get("/dashboard/?format=json")
    assert answer.headers["content-type"].startswith("application/json")
    assert isinstance(answer.json, dict)


def test_a_form_has_its_bound() -> None:
    assert MOST_FORM_BYTES == 8 * 1024 * 1024
