"""Reconcile and drift, by HTTP on the app, with a source that answers in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline.receiver.app import Receiver
from hookline.testing import TurnedClock

from .browser import Browser
from .receiving import LATER_MS, PERSON, Scene


class Staff:
    """A directory at the source, filled into the mirror and changed since, of which nobody heard."""

    def __init__(self, scene: Scene) -> None:
        directories, environment = scene.fake.directories, scene.fake.environment
        directory = directories.create_directory(environment, organization_id=None, name="Staff")
        users = [
            directories.create_user(environment, directory.id, idp_id=f"u{n}", email=f"u{n}@acme.example").id
            for n in range(4)
        ]
        scene.clock.advance(LATER_MS)
        scene.receiver.backfill()
        scene.clock.advance(LATER_MS)
        directories.update_user(environment, directory.id, users[0], email=PERSON)
        directories.delete_user(environment, directory.id, users[1])
        self.hired = directories.create_user(environment, directory.id, idp_id="u9", email="u9@acme.example").id
        scene.clock.advance(LATER_MS)
        self.directory_id, self.users = directory.id, users


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
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


def test_from_a_dry_run_to_an_equal_mirror(browser: Browser, scene: Scene) -> None:
    """Begun on a page, done by a worker, reported with causes, one ignored, one put right, then the rest by a pass."""
    staff = Staff(scene)
    start = browser.get(browser.get("/dashboard/reconcile").page.link("See where they differ"))
    assert "writes no row of the mirror" in start.page.text
    begun = browser.submit(start, "reconcile/start")
    assert "Begun" in begun.page.text
    assert "No running worker is seen" in begun.page.text
    assert data_of(browser, begun.path)["pass"]["state"] == "running"
    assert 'hx-trigger="every 2s"' in begun.text
    scene.settle()

    report = data_of(browser, begun.path)
    assert report["pass"]["state"] == "completed"
    assert report["pass"]["asked_by"] == "user:a_admin"
    assert report["counts"] == {
        "missing": 1, "extra": 1, "differs": 1, "uncertain": 0, "ignored": 0, "healed": 0,
    }  # fmt: skip
    items = {one["kind"]: one for one in report["items"]}
    assert items["missing"]["object_id"] == staff.hired
    assert "email" in items["differs"]["fields"]
    assert items["differs"]["cause_text"] == "no event of it ever came"
    assert [one["object_id"] for one in data_of(browser, f"{begun.path}?kind=extra")["items"]] == [staff.users[1]]
    assert "No match" in browser.get(f"{begun.path}?state=healed").page.text
    page = browser.get(begun.path)
    assert page.page.link(staff.users[0]).endswith(f"/mirror/default/directory_user/{staff.users[0]}")

    compared = browser.get(page.page.link("Compare values now"))
    assert PERSON not in compared.text
    assert "[redacted]" in compared.text
    assert PERSON in browser.post(compared.path, {"reveal": "1"}).text

    ignore = browser.get(f"/dashboard/reconcile/items?act=ignore&item={items['missing']['id']}")
    assert "How many" in ignore.page.text
    refused = browser.submit(ignore, "reconcile/items")
    assert refused.status == 422
    assert "1 ignored" in browser.submit(ignore, "reconcile/items", note="a test of ours").page.text
    heal = browser.get(f"/dashboard/reconcile/items?act=heal&item={items['differs']['id']}")
    assert "1 put right, 0 still differ" in browser.submit(heal, "reconcile/items").page.text
    after = data_of(browser, begun.path)
    assert (after["counts"]["ignored"], after["counts"]["healed"], after["counts"]["extra"]) == (1, 1, 1)
    assert "a test of ours" in browser.get(begun.path).page.text

    apply = browser.get(browser.get("/dashboard/reconcile").page.link("Put the mirror right"))
    assert "is gone at the source" in apply.page.text
    applied = browser.submit(apply, "reconcile/start")
    scene.settle()
    assert data_of(browser, applied.path)["pass"]["state"] == "completed"
    with scene.receiver.look_at_mirror("default") as mirrored:
        live = mirrored.queries.rows(mirrored.connection, "directory_user")
    assert {one["id"] for one in live} == {staff.users[0], *staff.users[2:], staff.hired}
    passes = data_of(browser, "/dashboard/reconcile")["sources"][0]["passes"]
    assert [(one["mode"], one["kind"]) for one in passes] == [
        ("apply", "reconcile"), ("dry_run", "reconcile"), ("apply", "backfill"),
    ]  # fmt: skip
    assert [one for one in scene.trail.actions if "reveal" not in one] == [
        "pass.started", "drift.ignored", "drift.healed", "pass.started",
    ]  # fmt: skip
    item = browser.get(f"/dashboard/reconcile/items/{items['extra']['id']}")
    assert staff.users[1] in item.page.text


def test_a_pass_is_canceled_or_resumed(browser: Browser, scene: Scene) -> None:
    Staff(scene)
    scene.fake.faults.expect("status/403", path="/directories")
    begun = browser.submit(browser.get("/dashboard/reconcile/start?source=default&mode=dry_run"), "reconcile/start")
    scene.settle()
    stopped = browser.get(begun.path)
    assert data_of(browser, begun.path)["pass"]["state"] == "stopped"
    assert "unauthorized" in stopped.page.text
    resumed = browser.submit(browser.get(stopped.page.link("Resume…")), "Resume")
    assert "goes on" in resumed.page.text
    scene.fake.faults.expect("status/403", path="/directories")
    scene.settle()
    canceled = browser.submit(browser.get(browser.get(begun.path).page.link("Cancel…")), "Cancel")
    assert "Canceled" in canceled.page.text
    assert data_of(browser, begun.path)["pass"]["reason"] == "canceled by user:a_admin"
    assert browser.get("/dashboard/reconcile/77").status == 404
    assert browser.get("/dashboard/reconcile/items?act=heal&item=77").status == 404
    assert browser.get("/dashboard/reconcile/items?act=heal").status == 422
    assert browser.get("/dashboard/reconcile/start?source=default&mode=half").status == 422
    assert browser.get("/dashboard/reconcile/start?source=other&mode=apply").status == 404


def test_much_at_once_needs_leave(browser: Browser, scene: Scene) -> None:
    """The guard's figures stand beside the box that goes on all the same."""
    directories, environment = scene.fake.directories, scene.fake.environment
    directory = directories.create_directory(environment, organization_id=None, name="Staff")
    users = [
        directories.create_user(environment, directory.id, idp_id=f"u{n}", email=f"u{n}@acme.example").id
        for n in range(14)
    ]
    scene.clock.advance(LATER_MS)
    scene.receiver.backfill()
    scene.clock.advance(LATER_MS)
    for user in users[:12]:
        directories.delete_user(environment, directory.id, user)
    scene.clock.advance(LATER_MS)
    report = scene.receiver.reconcile()
    pass_path = f"/dashboard/reconcile/{report.pass_.row_id}"
    chosen = "&".join(f"item={one['id']}" for one in data_of(browser, pass_path)["items"])
    confirm = browser.get(f"/dashboard/reconcile/items?act=heal&{chosen}")
    refused = browser.submit(confirm, "reconcile/items")
    assert refused.status == 422
    assert "12 of 14" in refused.page.text
    done = browser.submit(refused, "reconcile/items", allow_mass_delete="1")
    assert "12 put right" in done.page.text


def test_without_a_key_it_says_what_is_missing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    try:
        Staff(scene)
        scene.receiver.reconcile()
        scene.receiver.close()
        scene.receiver = Receiver(
            f"sqlite:///{tmp_path / 'receiver.db'}", secrets=["whsec_of_the_scene_0001"], clock=TurnedClock()
        )
        scene.open_dashboard()
        with scene.browser() as browser:
            page = browser.get("/dashboard/reconcile")
            assert "HOOKLINE_WORKOS_API_KEY" in page.page.text
            assert "See where they differ" not in page.page.text
            report = browser.get(page.page.link("2"))
            assert "No API key for default" in report.page.text
            answer = browser.get("/dashboard/reconcile/start?source=default&mode=apply")
            assert (answer.status, "no API key" in answer.page.text) == (409, True)
            [item, *_] = data_of(browser, report.path)["items"]
            assert browser.get(f"/dashboard/reconcile/items?act=heal&item={item['id']}").status == 409
            assert browser.get(f"/dashboard/reconcile/items?act=ignore&item={item['id']}").status == 200
    finally:
        scene.close()
