"""Replays and jobs as pages: counted first, begun once, followed and canceled; by whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Answer, Browser
from .site import Site

NEW = "/dashboard/production/replays/new"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three users were created: two were delivered, of the third every attempt failed."""
    folder: Path = tmp_path_factory.mktemp("replays")
    found = Site(folder)
    found.publish(2)
    found.pair.drain()
    found.pair.line.expect("lost", times=7)
    found.publish(name="lost")
    found.pair.finish()
    yield found
    found.close()


def begun(browser: Browser, query: str = "states=failed") -> Answer:
    return browser.submit(browser.get(f"{NEW}?count=1&{query}"), "Send")


def test_it_is_counted_before_anything_is_sent(site: Site) -> None:
    with site.visit() as browser:
        empty = browser.get(NEW)
        counted = browser.get(f"{NEW}?count=1&states=failed&rate_per_s=5")
        everything = browser.get(f"{NEW}?count=1&format=json").json
        nothing = browser.get(f"{NEW}?count=1&events=organization.*")
    assert not any("Send" in form.text for form in empty.page.forms)
    assert "1 deliveries would be made" in counted.page.text
    assert "at most 5 a second" in counted.page.text
    assert everything["count"] == {"total": 3, "to_make": 3, "skipped": {}}
    assert "Nothing would be sent" in nothing.page.text
    assert len(nothing.page.forms) == len(empty.page.forms)


def test_it_goes_on_without_the_page(site: Site) -> None:
    """Begun once, done by the sender's jobs, found again by its URL."""
    with site.visit() as browser:
        before = len(browser.get("/dashboard/production/replays?format=json").json["replays"])
        page = begun(browser, "states=failed&since=30d")
        assert page.status == 200
        assert "It goes on without this page" in page.page.text
        site.pair.finish()
        told = browser.get(f"{page.path}?format=json").json
        listed = browser.get("/dashboard/production/replays?format=json").json["replays"]
        over = browser.get(page.path)
    assert (told["state"], told["made"], told["total"]) == ("finished", 1, 1)
    assert told["deliveries"] == {"succeeded": 1}
    assert len(listed) == before + 1
    assert listed[0]["id"] == told["id"]
    assert "hx-trigger" not in over.text
    assert "● finished" in over.page.text


def test_it_is_canceled_by_a_page_that_says_what_that_means(site: Site) -> None:
    with site.visit() as browser:
        running = begun(browser, "rate_per_s=1")
        assert 'hx-trigger="every 2s"' in running.text
        confirm = browser.get(running.page.link("Cancel it"))
        assert "are not made" in confirm.page.text
        done = browser.submit(confirm, "Cancel the replay")
        again = browser.submit(confirm, "Cancel the replay")
        nothing = browser.get(confirm.path)
    assert "canceled" in done.page.text
    assert again.status == 409
    assert "nothing to cancel" in nothing.page.text
    site.pair.finish()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=1h&until=2h", "until"),
        ("events=ds*c", "events"),
        ("rate_per_s=0", "rate_per_s"),
        ("rate_per_s=1e3", "rate_per_s"),
        ("rate_per_s=٣", "rate_per_s"),
        ("endpoints=" + "%2C".join(f"e{n}" for n in range(101)), "endpoints"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(site: Site, query: str, field: str) -> None:
    with site.visit() as browser:
        answer = browser.get(f"{NEW}?count=1&{query}&q=1")
    assert answer.status == 422
    assert f'id="error-{field}"' in answer.text
    assert any(name == "since" for name, _ in answer.page.forms[-1].fields)


def test_an_endpoint_nobody_knows(site: Site) -> None:
    with site.visit() as browser:
        answer = browser.get(f"{NEW}?count=1&endpoints=endpoint_1")
    assert answer.status == 422
    assert "endpoint_1" in answer.page.text


def test_a_viewer_reads_and_begins_nothing(site: Site) -> None:
    with site.visit("viewer") as browser:
        assert browser.get("/dashboard/production/replays").status == 200
        assert browser.get(NEW).status == 403
        assert browser.post("/dashboard/production/replays", {}).status == 403
        assert browser.get("/dashboard/production/replays/replay_nobody").status == 404
        assert "New replay" not in browser.get("/dashboard/production/replays").page.text


def test_the_jobs_of_both_ends(site: Site) -> None:
    with site.visit() as browser:
        running = begun(browser, "rate_per_s=1")
        told = browser.get("/dashboard/jobs?format=json").json
        page = browser.get("/dashboard/jobs")
        kinds = {one["kind"] for one in told["sender"]}
        browser.submit(browser.get(running.page.link("Cancel it")), "Cancel the replay")
    assert {"replay", "retention"} <= kinds
    assert any(one["subject"] and running.path.endswith(one["subject"]) for one in told["sender"])
    assert told["receiver"] == {"replays": [], "passes": [], "workers": told["receiver"]["workers"]}
    assert "sends events of the past again" in page.page.text
    site.pair.finish()
