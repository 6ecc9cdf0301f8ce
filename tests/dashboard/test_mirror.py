"""The mirror browser, by HTTP on the app: what is held, and of each row why it is so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hookline.dashboard.pages import mirror as mirror_page

from ..receiver.company import Company
from .browser import Browser
from .receiving import PERSON, Scene

ROW = "/dashboard/mirror/default/directory_user/user_1"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("mirror"))
    company = Company()
    scene.deliver(company.organization("created"), company.directory("activated"))
    made = company.user("created", "user_1", email=PERSON, first_name="Ada", last_name='</textarea><script>alert("x")')
    late = company.user("updated", "user_1", email=PERSON, first_name="Old")
    newer = company.user("updated", "user_1", email=PERSON, first_name="Ida")
    scene.deliver(made, newer, late, made)
    scene.deliver(company.group("created"), company.member("added"))
    scene.deliver(company.user("created", "user_2"), company.user("deleted", "user_2"))
    scene.drain()
    yield scene
    scene.close()


@pytest.fixture
def browser(scene: Scene) -> Iterator[Browser]:
    with scene.browser() as browser:
        yield browser


def data_of(browser: Browser, path: str) -> dict[str, Any]:
    answer = browser.get(f"{path}{'&' if '?' in path else '?'}format=json")
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


def test_resources_with_their_counts(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    [source] = data_of(browser, "/dashboard/mirror")["sources"]
    counts = {one["resource"]: (one["live"], one["rows"], one["uncertain"]) for one in source["resources"]}
    assert counts["directory_user"] == (1, 2, 1)
    assert counts["directory_membership"] == (1, 1, 0)
    assert counts["role"] == (0, 0, 0)
    monkeypatch.setattr(mirror_page, "COUNTED", 1)
    page = browser.get("/dashboard/mirror").page
    assert "1+" in page.text
    assert "1+" not in browser.get(page.link("count all")).page.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["user_1", "user_2"]),
        ("q=user_2", ["user_2"]),
        ("q=ADA.okafor", ["user_1"]),
        ("shown=live", ["user_1"]),
        ("shown=dead", ["user_2"]),
        ("shown=uncertain", ["user_2"]),
        ("parent=dir_1", ["user_1", "user_2"]),
        ("parent=dir_9", []),
        ("q=nobody", []),
        ("after=user_1", ["user_2"]),
    ],
)
def test_rows_are_listed_and_found(browser: Browser, query: str, expected: list[str]) -> None:
    path = f"/dashboard/mirror/default/directory_user?{query}"
    assert [one["id"] for one in data_of(browser, path)["rows"]] == expected
    page = browser.get(path)
    assert ("No match" in page.page.text) == (not expected)
    if expected:
        assert page.page.link(expected[0]).endswith(f"/directory_user/{expected[0]}")
    assert PERSON not in page.text


def test_what_is_no_list_says_so(browser: Browser) -> None:
    answer = browser.get("/dashboard/mirror/default/directory_users")
    assert answer.status == 404
    assert "did you mean 'directory_user'" in answer.page.text
    assert browser.get("/dashboard/mirror/default/directory_user?shown=odd").status == 422
    assert "hangs on nothing" in browser.get("/dashboard/mirror/default/organization?parent=x").page.text
    assert browser.get(f"{ROW}_9").status == 404
    assert browser.get("/dashboard/mirror/other/directory_user").status == 200


def test_a_row_says_why_it_is_so(browser: Browser) -> None:
    """Each column with what set it; each event that touched it, the stale one beside the time it lost to."""
    data = data_of(browser, ROW)
    columns = {one["name"]: one for one in data["columns"]}
    assert columns["first_name"]["value"] == "[redacted]"
    stale = next(one for one in data["touches"] if one["outcome"] == "stale")
    changed = next(one for one in data["touches"] if one["change"] == "updated")
    made = next(one for one in data["touches"] if one["change"] == "created")
    assert columns["first_name"]["set_by"] == changed["event_id"]
    assert columns["directory_id"]["set_by"] == made["event_id"]
    assert made["duplicates"] == 1
    assert stale["lost_to"]["event"] == changed["event_id"]
    assert stale["lost_to"]["at_ms"] > stale["created_ms"]
    assert {one["field"] for one in stale["differences"]} >= {"first_name", "updated_at"}
    assert {(one["id"], one["is_live"]) for one in data["parents"]} == {("org_1", True), ("dir_1", True)}
    page = browser.get(ROW)
    assert page.page.link(changed["event_id"]).endswith(f"/inbox/default/{changed['event_id']}")
    assert page.page.link("dir_1").endswith("/mirror/default/directory/dir_1")
    assert "is newer" in page.page.text
    assert "duplicate" in page.page.text
    assert PERSON not in page.text


def test_a_dead_row_says_what_killed_it(browser: Browser) -> None:
    page = browser.get("/dashboard/mirror/default/directory_user/user_2").page.text
    assert "deleted at" in page
    assert "dead" in page
    edge = data_of(browser, "/dashboard/mirror/default/directory_membership/group_1%2Fuser_1")
    assert edge["is_live"]
    assert {one["resource"] for one in edge["parents"]} == {"directory_group", "directory_user", "directory"}


def test_it_is_shown_as_it_was_after_any_change(browser: Browser) -> None:
    """By the form with its range, without JavaScript, and by the links beside it."""
    page = browser.get(ROW)
    points = data_of(browser, ROW)["points"]
    assert [one["kind"] for one in points] == ["created", "updated"]
    first = data_of(browser, f"{ROW}?point=0")["as_of"]
    assert (first["kind"], first["point"]) == ("created", 0)
    assert first["payload"]["updated_at"] < data_of(browser, f"{ROW}?point=9")["as_of"]["payload"]["updated_at"]
    assert data_of(browser, f"{ROW}?at={points[1]['seq']}")["as_of"]["kind"] == "updated"
    assert 'type="range"' in page.text
    assert "After change 1 of 2" in browser.get(f"{ROW}?point=0").page.text
    assert browser.get(f"{ROW}?at=99999").status == 404
    assert browser.get(f"{ROW}?point=x").status == 422


def test_what_is_personal_is_shown_to_an_admin_who_asks(browser: Browser, scene: Scene) -> None:
    """On the row and on the list; recorded. What attacks the page is text."""
    for path in (ROW, "/dashboard/mirror/default/directory_user"):
        revealed = browser.post(path, {"reveal": "1"})
        assert PERSON in revealed.text
        assert "<script>alert" not in revealed.text
    assert scene.trail.actions.count("payload.revealed") == 2
    with scene.browser("operator") as operator:
        assert operator.post(ROW, {"reveal": "1"}).status == 403


def test_it_says_how_far_it_looked(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_page, "LOOKED_MOST", 2)
    assert data_of(browser, ROW)["looked_from"] > 0
    page = browser.get(ROW).page
    assert "newest entries of the inbox" in page.text
    assert "All entries that are still kept" in browser.get(page.link("whole inbox")).page.text
