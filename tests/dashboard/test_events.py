"""The event log, one event, one delivery, and the search box, by HTTP on the app."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.dashboard.diff import MOST, differing
from hookline.dashboard.viewer import Role
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication

from .browser import Browser
from .people import PASSWORD
from .world import World

EVENTS = "/dashboard/production/events"
HOSTILE = {
    "object": "directory_user",
    "id": 'user_"><img src=x onerror=alert(1)>',
    "first_name": "<script>alert(1)</script>",
    "note": "</textarea></pre><script>alert(2)</script>",
    "email": "ada@example.com",
    "turned": "abc\u202edef\u2066",
    "username": None,
}


def _publish(world: World, data: dict[str, Any], type_: str = "dsync.user.updated") -> str:
    draft = draft_event({"event": type_, "data": data})
    return world.sender.publisher.publish_inline(Publication("production", (draft,)))[0].id


def _as(world: World, role: Role) -> Browser:
    name = f"{role}-of-events"
    if name not in {one.name for one in world.accounts.users()}:
        world.accounts.add_user(name, role, password=PASSWORD, actor="command")
    browser = Browser(world.dashboard)
    browser.cookies["hookline_session"] = world.accounts.sign_in(name, PASSWORD, address="127.0.0.1").token
    return browser


@pytest.fixture
def failed(world: World) -> str:
    """A delivery that was given up."""
    with world.database.read() as connection:
        cursor = connection.execute("select id from hookline_sender_deliveries where state = 'failed' order by row_id")
        found = cursor.fetchone()
    if found is None:
        with world.database.read() as connection:
            cursor = connection.execute(
                "select id, row_id from hookline_sender_deliveries where state = 'pending' order by row_id"
            )
            found = cursor.fetchone()
        world.database.run(
            lambda connection: (
                connection.execute(
                    "update hookline_sender_deliveries set state = 'failed', due_ms = null, reason = 'status_500'"
                    f" where row_id = {found[1]}"
                )
                and None
            )
        )
    return str(found[0])


def test_the_log_and_its_pages(world: World, ada: Browser) -> None:
    told = ada.get(f"{EVENTS}?format=json").json
    assert len(told["events"]) == 50
    assert told["next"]
    seen = [one["id"] for one in told["events"]]
    while told["next"]:
        told = ada.get(f"{EVENTS}?format=json&before={told['next']}").json
        seen += [one["id"] for one in told["events"]]
    with world.database.read() as connection:
        rows = connection.execute(
            "select id from hookline_sender_events where environment = 'production' order by row_id desc"
        ).fetchall()
    assert seen == [row[0] for row in rows]
    page = ada.get(EVENTS).page
    assert any(href.endswith(seen[0]) for _, href in page.links)


@pytest.mark.parametrize("search", ["status:retrying", "type:dsync.group.*", "code:5xx", "since:1h", "origin:test"])
def test_searches_find_what_they_say(ada: Browser, search: str) -> None:
    told = ada.get(f"{EVENTS}?format=json&q={search}").json
    name, _, value = search.partition(":")
    for one in told["events"]:
        if name == "type":
            assert one["type"].startswith("dsync.group.")
        elif name == "status":
            assert one["counts"].get("again")
    assert ada.get(f"{EVENTS}?q={search}").status == 200
    assert value in ada.get(f"{EVENTS}?q={search}").text


def test_a_search_that_is_none_is_kept_and_explained(ada: Browser) -> None:
    answer = ada.get(f"{EVENTS}?q=status:lost")
    assert answer.status == 422
    assert "expected one of pending" in answer.page.text
    assert 'value="status:lost"' in answer.text


def test_nothing_matches_and_nothing_yet(ada: Browser) -> None:
    assert "No match" in ada.get(f"{EVENTS}?q=type:never.published").page.text
    assert "No events yet" in ada.get("/dashboard/staging/events").page.text
    assert ada.get("/dashboard/elsewhere/events").status == 404


def test_an_event_with_what_changed_and_who_got_it(world: World, ada: Browser) -> None:
    first = {"object": "directory_user", "id": "user_of_a_test", "state": "active", "email": "old@example.com"}
    _publish(world, first, "dsync.user.created")
    event_id = _publish(world, {**first, "state": "inactive", "email": "new@example.com"})
    world.drain()
    told = ada.get(f"{EVENTS}/{event_id}?format=json").json
    changed = {one["place"]: (one["before"], one["after"]) for one in told["changed"]}
    assert changed["state"] == ("active", "inactive")
    assert changed["email"] == ("[redacted]", "[redacted]")
    assert told["payload"]["data"]["email"] == "[redacted]"
    assert {one["verdict"] for one in told["findings"]}
    assert told["previous"]["type"] == "dsync.user.created"
    page = ada.get(f"{EVENTS}/{event_id}")
    assert "example.com" not in page.text.replace("https://", "")
    revealed = ada.post(f"{EVENTS}/{event_id}", {"reveal": "1"})
    assert "new@example.com" in revealed.text
    assert revealed.headers["cache-control"] == "no-store"
    assert world.accounts.audit_page().lines[0].action == "payload.revealed"


def test_only_an_admin_sees_what_is_redacted(world: World) -> None:
    event_id = _publish(world, HOSTILE)
    roles: tuple[Role, ...] = ("viewer", "operator")
    for role in roles:
        with _as(world, role) as browser:
            assert browser.post(f"{EVENTS}/{event_id}", {"reveal": "1"}).status == 403
            assert browser.post(f"{EVENTS}/{event_id}/raw").status == 403
            assert "ada@example.com" not in browser.get(f"{EVENTS}/{event_id}").text


def test_the_exact_bytes_are_a_file(world: World, ada: Browser) -> None:
    event_id = _publish(world, HOSTILE)
    answer = ada.post(f"{EVENTS}/{event_id}/raw")
    with world.database.read() as connection:
        stored = world.sender.store.event(connection, "production", event_id)
    assert stored is not None
    assert answer.content == stored.body
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_payloads_that_attack_are_shown_and_nothing_else(world: World, ada: Browser) -> None:
    event_id = _publish(world, HOSTILE)
    shown = ada.post(f"{EVENTS}/{event_id}", {"reveal": "1"}).text
    body = shown.partition("<main")[2]
    for tag in ("<script", "<img", "</textarea>", "onerror=alert(1)>"):
        assert tag not in body
    assert "&lt;script&gt;" in body
    assert "\u202e" not in shown
    assert "\\u202e" in shown
    found = ada.get(f"{EVENTS}?q=type:dsync.user.updated").text
    assert "<img" not in found.partition("<main")[2]


def test_a_delivery_with_its_attempts(world: World, ada: Browser) -> None:
    with world.database.read() as connection:
        row = connection.execute(
            "select d.id from hookline_sender_deliveries d join hookline_sender_attempts a on a.delivery_row = d.row_id"
            " where a.status = 500 order by d.row_id desc"
        ).fetchone()
    path = f"/dashboard/production/deliveries/{row[0]}"
    told = ada.get(f"{path}?format=json").json
    attempt = told["attempts"][0]
    assert attempt["signature"]["v1"].endswith("…")
    assert attempt["timings"]["total_ms"] > 0
    assert attempt["address"]
    page = ada.get(path)
    assert page.status == 200
    assert "hookline sign" in page.text
    assert "whsec_" not in page.text


def test_retrying_and_canceling(world: World, ada: Browser, failed: str) -> None:
    path = f"/dashboard/production/deliveries/{failed}"
    with _as(world, "viewer") as viewer:
        assert viewer.post(f"{path}/retry").status == 403
        assert "Retry now" not in viewer.get(path).text
    world.consumer.status = 200
    answer = ada.submit(ada.get(path), "Retry now")
    assert "tried again now" in answer.page.text
    world.drain()
    told = ada.get(f"{path}?format=json").json
    assert told["state"] == "delivered"
    assert told["by"][0]["actor"] == "user:ada"
    assert ada.post(f"{path}/cancel").status == 409
    assert "only what waits" in ada.get(f"{path}/cancel").page.text


def test_a_bulk_retry_states_its_count_first(world: World, ada: Browser, failed: str) -> None:
    with world.database.read() as connection:
        row = connection.execute(
            "select e.id, e.object_id from hookline_sender_events e join hookline_sender_deliveries d"
            f" on d.event_row = e.row_id where d.id = '{failed}'"
        ).fetchone()
    world.consumer.status = 200
    asked = ada.get(f"/dashboard/production/events-retry?q=id:{row[0]}&format=json").json
    if asked["deliveries"] == 0:  # another test has retried it
        assert "None of the deliveries" in ada.get(f"/dashboard/production/events-retry?q=id:{row[0]}").page.text
        return
    page = ada.get(f"/dashboard/production/events-retry?q=id:{row[0]}")
    answer = ada.submit(page, "Retry 1 deliver")
    assert "1 deliveries are tried again now" in answer.page.text
    world.drain()
    assert ada.get(f"/dashboard/production/events-retry?q=id:{row[0]}&format=json").json["deliveries"] == 0


def test_sending_again(world: World, ada: Browser) -> None:
    told = ada.get(f"{EVENTS}?format=json&q=type:dsync.user.created").json["events"][-1]
    answer = ada.post(f"{EVENTS}/{told['id']}/resend", {"endpoint_id": told["sent"][0]["endpoint_id"]})
    assert answer.path.startswith("/dashboard/production/deliveries/")
    assert "Sent again" in answer.page.text
    assert ada.post(f"{EVENTS}/event_none/resend").status == 404
    world.drain()


def test_what_is_newer_is_counted(world: World, ada: Browser) -> None:
    newest = ada.get(f"{EVENTS}?format=json").json["newest_row"]
    path = f"/dashboard/production/events-newer?row={newest}"
    assert ada.get(path).text.strip() == ""
    _publish(world, {"object": "directory_user", "id": "newest"})
    assert "1 newer" in ada.get(path).text
    world.drain()


@pytest.fixture
def ids(world: World) -> dict[str, str]:
    with world.database.read() as connection:
        event, delivery = connection.execute(
            "select e.id, d.id from hookline_sender_events e"
            " join hookline_sender_deliveries d on d.event_row = e.row_id"
            " where e.type = 'dsync.user.created' order by e.row_id"
        ).fetchone()
        endpoint = connection.execute("select id from hookline_sender_endpoints").fetchone()[0]
    return {"event": event, "delivery": delivery, "endpoint": endpoint}


def test_any_id_leads_straight_to_it(ada: Browser, ids: dict[str, str]) -> None:
    found = ada.get(f"/dashboard/find?q={ids['delivery']}", follow=False)
    assert found.headers["location"] == f"/dashboard/production/deliveries/{ids['delivery']}"
    found = ada.get(f"/dashboard/find?q={ids['delivery']}/2", follow=False)
    assert found.headers["location"].endswith("#attempt-2")
    assert ada.get(f"/dashboard/find?q={ids['endpoint']}").path.endswith(ids["endpoint"])
    # An event is known at both ends: one chooses.
    told = ada.get(f"/dashboard/find?q={ids['event']}&format=json").json["found"]
    assert {one["what"].partition(" ")[0] for one in told} == {"event", "inbox"}
    assert ada.get(f"/dashboard/find?q={ids['event']}").status == 200
    assert ada.get("/dashboard/find?q=status:failed").path.startswith(EVENTS)
    assert "Nothing has this id" in ada.get("/dashboard/find?q=no_such_thing").page.text
    assert ada.get("/dashboard/find?q=status:lost").status == 422
    assert ada.get(f"/dashboard/find?q={'x' * 400}").status == 422


def test_unknown_ids_are_a_helpful_404(ada: Browser) -> None:
    for path in (
        f"{EVENTS}/event_none",
        "/dashboard/production/deliveries/delivery_none",
        f"{EVENTS}/%22%3E%3Cscript%3E",
    ):
        answer = ada.get(path)
        assert answer.status == 404
        assert "search box" in answer.page.text
        assert "<script>" not in answer.text.partition("<main")[2]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, [(("a",), 1, True)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3, 4]}}, [(("a", "b", 1), 2, 3), (("a", "b", 2), None, 4)]),
        ({"a": 1}, {"b": 2}, [(("a",), 1, None), (("b",), None, 2)]),
        ([1], {"a": 1}, [((), [1], {"a": 1})]),
    ],
)
def test_differences(before: Any, after: Any, found: list[Any]) -> None:
    assert differing(before, after) == found


def test_differences_are_bounded() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"a": deep}
    assert len(differing(deep, {"a": deep})) == 1
    assert len(differing(list(range(1_000)), [])) == MOST
