"""The inbox, its refusals, dead letters, replays and handlers, by HTTP on the app."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline.adapters.dbapi import SqliteTransactions
from hookline.dashboard.app import Dashboard
from hookline.receiver.app import Receiver
from hookline.receiver.sources import Source
from hookline.testing import TurnedClock
from hookline.testing.signed import Signing

from ..receiver.company import Company
from .browser import Answer, Browser
from .receiving import PERSON, START_MS, Scene, Trail


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("inbox"))
    company = Company()
    late = company.user("updated", "user_1", first_name="Old")
    scene.deliver(company.organization("created"), company.directory("activated"))
    made = company.user("created", "user_1", email=PERSON, first_name="Ada")
    scene.deliver(made, company.user("updated", "user_1", email=PERSON, first_name="Ida"), late, made)
    scene.deliver(company.user("created", "user_2", first_name="Fail"), b'{"broken')
    scene.deliver({"id": "event_kitten/1", "event": "kitten.created", "data": {"object": "kitten", "id": "kitten_1"}})
    scene.refuse()
    scene.drain()
    scene.deliver(company.group("created"))
    yield scene
    scene.close()


@pytest.fixture
def browser(scene: Scene) -> Iterator[Browser]:
    with scene.browser() as browser:
        yield browser


def as_json(browser: Browser, path: str) -> Answer:
    answer = browser.get(f"{path}{'&' if '?' in path else '?'}format=json")
    assert answer.headers["content-type"] == "application/json"
    return answer


def test_the_list_says_what_became_of_each(browser: Browser) -> None:
    data = as_json(browser, "/dashboard/inbox").json
    assert [one["state"] for one in data["entries"]] == [
        "waiting", "ignored", "dead", "applied", "stale", "applied", "applied", "applied", "applied",
    ]  # fmt: skip
    newest, *_, organization = data["entries"]
    assert newest["subject"] == {"resource": "directory_group", "id": "group_1", "is_mirrored": True}
    assert (newest["lag_ms"] is not None, organization["lag_ms"]) == (True, 0)
    [repeated] = [one for one in data["entries"] if one["duplicates"]]
    assert repeated["type"] == "dsync.user.created"
    page = browser.get("/dashboard/inbox").page
    assert page.headings == ["Inbox"]
    assert page.link("user_1").endswith("/mirror/default/directory_user/user_1")
    assert PERSON not in browser.get("/dashboard/inbox").text


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("state=stale", 1),
        ("state=dead", 1),
        ("type=dsync.user.*", 4),
        ("object=user_1", 3),
        ("object=kitten_1", 1),
        ("via=tail", 0),
        ("since=1h&until=1s", 0),
        ("source=default", 9),
        ("event=event_kitten/1", 1),
        ("event=nobody", 0),
        ("type=nobody.here", 0),
    ],
)
def test_filters_narrow_it(browser: Browser, query: str, count: int) -> None:
    answer = browser.get(f"/dashboard/inbox?{query}")
    assert answer.status == 200
    assert len(as_json(browser, f"/dashboard/inbox?{query}").json["entries"]) == count
    assert ("No match" in answer.page.text) == (count == 0)


@pytest.mark.parametrize("query", ["type=a.*.b", "since=soon", "state=odd", "via=pigeon"])
def test_what_is_no_filter_is_said_beside_it(browser: Browser, query: str) -> None:
    answer = browser.get(f"/dashboard/inbox?{query}")
    assert answer.status == 422
    assert "expected" in answer.page.text
    assert query.partition("=")[2] in answer.text, "what was typed is kept"


def test_an_entry_tells_all_of_it(browser: Browser, scene: Scene) -> None:
    listed = as_json(browser, "/dashboard/inbox?object=user_1").json["entries"]
    changed = browser.get(browser.get("/dashboard/inbox?object=user_1").page.link(listed[1]["event_id"]))
    data = as_json(browser, changed.path).json
    assert (data["state"], data["changes"][0]["kind"]) == ("applied", "updated")
    differing = {one["field"]: (one["before"], one["after"]) for one in data["changes"][0]["differences"]}
    assert differing["first_name"] == ("[redacted]", "[redacted]")
    assert differing["updated_at"][0] < differing["updated_at"][1]
    assert data["payload"]["data"]["email"] == "[redacted]"
    assert {run["handler"] for run in data["runs"]} == {"access"}
    assert PERSON not in changed.text
    revealed = browser.post(changed.path, {"reveal": "1"})
    assert revealed.status == 200
    assert PERSON in revealed.text
    assert "payload.revealed" in scene.trail.actions


def test_an_id_may_hold_anything(browser: Browser) -> None:
    answer = browser.get(browser.get("/dashboard/inbox?state=ignored").page.link("event_kitten/1"))
    assert answer.status == 200
    assert "kitten_1" in answer.page.text
    missing = browser.get("/dashboard/inbox/default/event_nobody")
    assert missing.status == 404
    assert "no event event_nobody" in missing.page.text


def test_what_is_no_json_is_shown_to_admins_alone(browser: Browser, scene: Scene) -> None:
    dead = browser.get(browser.get("/dashboard/inbox?state=dead").page.link("sha256:"))
    assert "not JSON" in dead.page.text
    assert "broken" not in dead.text
    assert "broken" in browser.post(dead.path, {"reveal": "1"}).text
    with scene.browser("operator") as operator:
        assert operator.post(dead.path, {"reveal": "1"}).status == 403


def test_refusals_have_their_reason_and_what_helps(browser: Browser) -> None:
    data = as_json(browser, "/dashboard/inbox-rejected?since=30d").json
    assert data["counts"] == {"mismatch": 1, "expired": 1}
    assert {one["reason"] for one in data["rejections"]} == {"mismatch", "expired"}
    page = browser.get("/dashboard/inbox-rejected?since=30d").page.text
    assert "bad signature" in page
    assert "Compare the secret" in page
    assert "203.0.113.9" in page
    assert browser.get("/dashboard/inbox-rejected?since=soon").status == 422
    assert "Nothing was refused" in browser.get("/dashboard/inbox-rejected?since=1s&source=default").page.text


def test_a_dead_run_is_tried_again_skipped_and_tried_with_all(browser: Browser, scene: Scene) -> None:
    """Each act has its page with count, target and effect first, and stands in the trail."""
    listed = browser.get("/dashboard/dead-letters")
    data = as_json(browser, "/dashboard/dead-letters").json
    assert data["counts"] == {"runs": 1, "entries": 1}
    [run] = data["runs"]
    assert "RuntimeError" in run["last_line"]
    page = browser.get(listed.page.link(str(run["id"])))
    assert "RuntimeError" in page.page.text
    said = browser.submit(page, "retry")
    assert "tried again" in said.page.text
    scene.drain()
    asked = browser.get(page.page.link("Skip…"))
    assert "Which" in asked.page.text
    refused = browser.submit(asked, "skip")
    assert refused.status == 422
    assert "say why" in refused.page.text
    assert "Skipped" in browser.submit(asked, "skip", note="a test of ours").page.text
    assert "Nothing of this kind" in browser.get("/dashboard/dead-letters/retry?what=runs").page.text
    browser.submit(browser.get(f"/dashboard/runs/{run['id']}"), "retry")
    scene.drain()
    scene.fails = False
    confirm = browser.get(browser.get("/dashboard/dead-letters").page.link("Try all"))
    assert "How many" in confirm.page.text
    assert "1 runs are taken up again" in browser.submit(confirm, "retry").page.text
    scene.drain()
    assert as_json(browser, "/dashboard/dead-letters").json["counts"]["runs"] == 0
    assert [action for action in scene.trail.actions if action.startswith(("run", "dead"))] == [
        "run.retried", "run.skipped", "run.retried", "dead_letters.retried",
    ]  # fmt: skip
    assert browser.get("/dashboard/runs/999999").status == 404


def test_a_dead_entry_is_applied_again_or_dropped(browser: Browser, scene: Scene) -> None:
    entry = browser.get(browser.get("/dashboard/dead-letters").page.link("sha256:"))
    assert "waits to be applied again" in browser.submit(entry, "Apply again").page.text
    assert "nothing was done" in browser.submit(entry, "Apply again").page.text
    scene.drain()
    asked = browser.get(browser.get(entry.path).page.link("Drop…"))
    assert browser.submit(asked, "drop").status == 422
    dropped = browser.submit(asked, "drop", note="never ours")
    assert "dropped: never ours" in dropped.page.text
    assert "No dead entries" in browser.get("/dashboard/dead-letters").page.text


def test_what_matches_is_replayed_as_it_was_counted(browser: Browser, scene: Scene) -> None:
    """Counted, confirmed, done by a worker, and its progress is a page of its own."""
    confirm = browser.get(browser.get("/dashboard/inbox?type=dsync.user.*").page.link("Replay what matches"))
    assert as_json(browser, confirm.path).json["count"] == 4
    missing = browser.submit(confirm, "inbox-replay", mode="handler", handler="")
    assert missing.status == 422
    assert "choose one" in missing.page.text
    begun = browser.submit(confirm, "inbox-replay", mode="handler", handler="letters")
    assert "Begun" in begun.page.text
    assert as_json(browser, begun.path).json["state"] == "running"
    assert 'hx-trigger="every 2s"' in begun.text
    scene.drain()
    done = as_json(browser, begun.path).json
    assert (done["state"], done["entries"], done["runs"], done["share"]) == ("finished", 4, 2, 1.0)
    assert "hx-trigger" not in browser.get(begun.path).text.partition("<main")[2]
    assert browser.get("/dashboard/inbox-replays").page.link("1")
    assert "inbox.replayed" in scene.trail.actions
    assert browser.get("/dashboard/inbox-replay").status == 422
    assert browser.get("/dashboard/inbox-replays/77").status == 404


def test_handlers_are_paused_and_resumed_with_a_reason(browser: Browser, scene: Scene) -> None:
    listed = browser.get("/dashboard/handlers")
    assert {one["name"] for one in as_json(browser, "/dashboard/handlers").json["handlers"]} == {"letters", "access"}
    asked = browser.get(listed.page.link("Pause…"))
    assert browser.submit(asked, "Pause").status == 422
    paused = browser.submit(asked, "Pause", reason="the mail server is away")
    assert "the mail server is away" in paused.page.text
    assert "is resumed" in browser.submit(paused, "Resume").page.text
    assert browser.get("/dashboard/handlers/confirm?act=pause&name=nobody").status == 404
    assert browser.get("/dashboard/handlers/confirm?act=dance&name=letters").status == 422
    assert [one for one in scene.trail.actions if one.startswith("handler")] == ["handler.paused", "handler.resumed"]


WRITES = (
    "/dashboard/inbox-replay",
    "/dashboard/dead-letters/retry",
    "/dashboard/dead-letters/drop",
    "/dashboard/runs/1/retry",
    "/dashboard/runs/1/skip",
    "/dashboard/handlers",
    "/dashboard/inbox/default/event_kitten%2F1",
    "/dashboard/reconcile/start",
    "/dashboard/reconcile/items",
    "/dashboard/reconcile/1",
)


def test_a_viewer_reads_and_does_nothing(scene: Scene) -> None:
    """By HTTP, not by hiding buttons; and no other site does it for an operator."""
    before = len(scene.trail.recorded)
    with scene.browser("viewer") as viewer:
        for path in WRITES:
            assert viewer.post(path, {"act": "cancel", "name": "letters"}).status == 403, path
        assert "Replay what matches" not in viewer.get("/dashboard/inbox?type=*").page.text
        assert not [one for one in viewer.get("/dashboard/handlers").page.forms if "handlers" in one.action]
    with scene.browser("operator") as operator:
        for path in WRITES:
            assert operator.post(path, {"act": "resume", "name": "letters"}, sec_fetch_site="cross-site").status == 403
    assert len(scene.trail.recorded) == before


def test_where_nothing_has_arrived_yet(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    try:
        with scene.browser("viewer") as browser:
            for path, words in (
                ("inbox", "Nothing has arrived yet"),
                ("inbox-rejected", "Nothing was refused"),
                ("inbox-replays", "Nothing was replayed yet"),
                ("dead-letters", "No dead runs"),
                ("handlers", "No worker was ever seen"),
                ("mirror/default/directory_user", "No row yet"),
                ("reconcile", "No pass yet"),
            ):
                answer = browser.get(f"/dashboard/{path}")
                assert (answer.status, words in answer.page.text) == (200, True), path
    finally:
        scene.close()


PLACES = ("inbox", "inbox-rejected?since=1d", "dead-letters", "inbox-replays", "mirror", "reconcile", "handlers")


def test_on_the_apps_own_transactions(tmp_path: Path) -> None:
    """The same pages over a database that is reached through the app alone; what is done there is done."""
    path = str(tmp_path / "app.db")
    transactions = SqliteTransactions(lambda: sqlite3.connect(path))
    clock = TurnedClock(START_MS)
    company = Company()
    with Receiver(transactions=transactions, secrets=["whsec_of_the_app_00001"], clock=clock) as receiver:
        receiver.migrate()
        receiver.on_change("directory_user", name="access")(lambda change, tx: None)
        dashboard = Dashboard(accounts=Trail(), receiver=receiver, clock=clock)
        receiver.worker().register()
        for event in (company.user("created"), company.user("updated", first_name="Ida")):
            request = Signing.of(receiver)(json.dumps(event).encode())
            assert receiver.receive("POST", request.path, request.headers, request.body, None)[0] == 200
        receiver.drain()
        with Browser(dashboard) as browser:
            browser.cookies["hookline_session"] = "admin"
            for place in PLACES:
                assert browser.get(f"/dashboard/{place}").status == 200, place
            row = browser.get(browser.get("/dashboard/mirror/default/directory_user").page.link("user_1"))
            assert "Why is this row so?" in row.page.text
            entry = browser.get(row.page.link("event_000002"))
            assert "access" in entry.page.text
            begun = browser.submit(browser.get(entry.page.link("Replay…")), "inbox-replay", mode="all")
            assert "Begun" in begun.page.text
            receiver.drain()
            assert as_json(browser, begun.path).json["runs"] == 1


def test_several_sources_are_kept_apart(tmp_path: Path) -> None:
    """One id that two sources have is two entries and two objects; every list can be narrowed to one of them."""
    clock = TurnedClock(START_MS)
    sources = [Source("one", ["whsec_of_source_one_01"]), Source("other", ["whsec_of_source_two_02"])]
    made = json.dumps(Company().user("created")).encode()
    with Receiver(f"sqlite:///{tmp_path / 'many.db'}", sources=sources, clock=clock) as receiver:
        dashboard = Dashboard(accounts=Trail(), receiver=receiver, clock=clock)
        for source in sources:
            request = Signing.of(receiver, source.name)(made)
            assert receiver.receive("POST", request.path, request.headers, request.body, None)[0] == 200
        receiver.drain()
        with Browser(dashboard) as browser:
            browser.cookies["hookline_session"] = "admin"
            both = as_json(browser, "/dashboard/inbox?event=event_000001").json["entries"]
            assert {one["source"] for one in both} == {"one", "other"}
            [alone] = as_json(browser, "/dashboard/inbox?source=other").json["entries"]
            assert alone["source"] == "other"
            assert [one["source"] for one in as_json(browser, "/dashboard/mirror").json["sources"]] == ["one", "other"]
            for name in ("one", "other"):
                assert browser.get(f"/dashboard/mirror/{name}/directory_user/user_1").status == 200
            confirm = browser.get("/dashboard/inbox-replay?type=dsync.user.*")
            assert as_json(browser, confirm.path).json["counts"] == {"one": 1, "other": 1}
            assert "2 replays, one for each source" in browser.submit(confirm, "inbox-replay").page.text
