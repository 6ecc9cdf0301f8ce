"""Hookline's own API: masked endpoints with patterns and pauses, deliveries, event types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hookline.sender.api_parts import CallContext
from hookline.testing.clock import TurnedClock

from .conftest import Answer, Client

EVENT = {"event": "dsync.user.created", "data": {"id": "x"}}


def create(call: Client, host: str = "a", **fields: Any) -> Answer:
    return call("POST", "/api/v1/endpoints", {"url": f"https://{host}.example.com/", "events": ["*"]} | fields)


def deliveries(call: Client, query: str = "") -> list[Any]:
    answer = call("GET", f"/api/v1/deliveries?{query}")
    assert answer.status == 200, answer.body
    found: list[Any] = answer.json["data"]
    return found


@pytest.fixture
def endpoint(call: Client) -> Any:
    return create(call).json


@pytest.fixture
def delivery(call: Client, endpoint: Any) -> Any:
    call("POST", "/api/v1/events", EVENT)
    return deliveries(call)[0]


def set_delivery(context: CallContext, **fields: Any) -> None:
    columns = ", ".join(f"{name} = ?" for name in fields)
    with context.database.transaction() as connection:
        connection.execute(f"update hookline_sender_deliveries set {columns}", list(fields.values()))


# -- endpoints


def test_a_secret_is_shown_once_and_masked_after(call: Client) -> None:
    """In full by the call that makes it; then the last four characters; the compatible API has it."""
    created = create(call, description="ours").json

    listed = call("GET", "/api/v1/endpoints").json["data"][0]
    one = call("GET", f"/api/v1/endpoints/{created['id']}").json
    compatible = call("GET", "/webhook_endpoints").json["data"][0]

    assert created["secret"].startswith("whsec_")
    assert len(created["secret"]) == 31
    assert listed["secret"] == one["secret"] == f"whsec_…{created['secret'][-4:]}"
    assert compatible["secret"] == created["secret"]
    assert one == created | {"secret": one["secret"]}
    assert (one["description"], one["version"], one["paused_at"]) == ("ours", 1, None)


@pytest.mark.parametrize("pattern", ["*", "dsync.*", "dsync.user.*", "dsync.user.created", "invoice.paid"])
def test_patterns_and_own_types_are_taken(call: Client, pattern: str) -> None:
    """Names of the catalogue, names of one's own, prefixes, the star."""
    assert create(call, events=[pattern]).json["events"] == [pattern]


@pytest.mark.parametrize("pattern", ["", "dsync", "*.created", "dsync.*.created", "dsync.", "Dsync.*", "a b.c", "**"])
def test_other_patterns_are_422(call: Client, pattern: str) -> None:
    """A star stands alone or ends a prefix."""
    answer = create(call, events=[pattern])

    assert (answer.status, answer.json["code"]) == (422, "invalid_request_parameters")


@pytest.mark.parametrize(
    "fields", [{"events": []}, {"url": 1}, {"events": None}, {"description": "x" * 501}, {"events": ["a.b"] * 501}]
)
def test_bad_fields_are_422(call: Client, fields: Any) -> None:
    """Each named by its place."""
    answer = create(call, **fields)

    assert answer.status == 422
    assert answer.json["errors"][0]["message"]


def test_a_change_counts_the_version(call: Client, endpoint: Any) -> None:
    """Only what is given changes."""
    changed = call("PATCH", f"/api/v1/endpoints/{endpoint['id']}", {"description": "new", "status": "disabled"})

    assert changed.status == 200
    assert (changed.json["description"], changed.json["status"], changed.json["disabled_reason"]) == (
        "new",
        "disabled",
        "by_person",
    )
    assert (changed.json["version"], changed.json["url"]) == (2, endpoint["url"])


def test_a_change_of_nothing_changes_nothing(call: Client, endpoint: Any, clock: TurnedClock) -> None:
    """Neither the version nor the time of the last change."""
    clock.advance(1000)

    unchanged = call("PATCH", f"/api/v1/endpoints/{endpoint['id']}", {})

    assert unchanged.json == endpoint | {"secret": unchanged.json["secret"]}


def test_a_deleted_endpoint_cancels_what_waits(call: Client, delivery: Any) -> None:
    """The deliveries stay readable and say why."""
    answer = call("DELETE", f"/api/v1/endpoints/{delivery['endpoint_id']}")

    assert answer.status == 204
    assert "content-type" not in dict(answer.headers)
    found = call("GET", f"/api/v1/deliveries/{delivery['id']}").json
    assert (found["state"], found["reason"]) == ("canceled", "endpoint_deleted")


def test_a_pause_holds_and_a_resume_sends(call: Client, delivery: Any, clock: TurnedClock) -> None:
    """What waited and what comes in is held; resuming sends all of it by default."""
    url = f"/api/v1/endpoints/{delivery['endpoint_id']}"
    paused = call("POST", f"{url}/pause")
    call("POST", "/api/v1/events", EVENT)
    during = deliveries(call)
    clock.advance(1000)
    paused_again = call("POST", f"{url}/pause")

    resumed = call("POST", f"{url}/resume")

    assert paused.json["paused_at"] == paused_again.json["paused_at"] == "2025-11-24T16:00:00.000Z"
    assert [(item["state"], item["reason"], item["next_attempt_at"]) for item in during] == [
        ("held", "endpoint_paused", None)
    ] * 2
    assert resumed.json["paused_at"] is None
    assert [item["state"] for item in deliveries(call)] == ["pending", "pending"]


@pytest.mark.parametrize(
    ("body", "states"),
    [
        ({}, ["pending", "pending"]),
        ({"deliver": "all"}, ["pending", "pending"]),
        ({"deliver": "none"}, ["canceled", "canceled"]),
        ({"deliver": "latest"}, ["pending", "canceled"]),
        ({"since": "2025-11-24T16:00:00.001Z"}, ["pending", "canceled"]),
        ({"deliver": "since", "since": "2025-11-24T16:00:00.001Z"}, ["pending", "canceled"]),
    ],
)
def test_resuming_asks_what_to_send(
    call: Client, endpoint: Any, clock: TurnedClock, body: Any, states: list[str]
) -> None:
    """All, none, the newest of each object, or what was made since a time; newest first here.

    Asked before, the same call counts and changes nothing.
    """
    url = f"/api/v1/endpoints/{endpoint['id']}"
    event = {"event": "dsync.user.created", "data": {"object": "directory_user", "id": "x"}}
    call("POST", "/api/v1/events", event)
    call("POST", f"{url}/pause")
    clock.advance(1000)
    call("POST", "/api/v1/events", event)

    before = call("POST", f"{url}/resume", body | {"dry_run": True})
    unchanged = (call("GET", url).json["paused_at"], [item["state"] for item in deliveries(call)])
    call("POST", f"{url}/resume", body)

    assert before.json == {
        "object": "resume_preview",
        "endpoint_id": endpoint["id"],
        "held": 2,
        "to_send": states.count("pending"),
        "to_cancel": states.count("canceled"),
    }
    assert unchanged == ("2025-11-24T16:00:00.000Z", ["held", "held"])
    assert [item["state"] for item in deliveries(call)] == states


@pytest.mark.parametrize(
    "body",
    [
        {"deliver": "some"},
        {"deliver": "since"},
        {"since": "soon"},
        {"deliver": "none", "since": "2026-01-01"},
        {"deliver": "latest", "since": "2026-01-01", "dry_run": True},
        {"dry_run": "maybe"},
        [],
        "all",
    ],
)
def test_a_bad_resume_is_422_and_changes_nothing(call: Client, delivery: Any, body: Any) -> None:
    """The endpoint stays paused."""
    url = f"/api/v1/endpoints/{delivery['endpoint_id']}"
    call("POST", f"{url}/pause")

    assert call("POST", f"{url}/resume", body).status == 422
    assert call("GET", url).json["paused_at"] is not None


@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume")]
)
def test_an_unknown_endpoint_is_404(call: Client, method: str, suffix: str) -> None:
    """`entity_not_found`, whatever is asked of it."""
    answer = call(method, f"/api/v1/endpoints/we_unknown{suffix}", {} if method == "PATCH" else None)

    assert (answer.status, answer.json["code"]) == (404, "entity_not_found")


# -- deliveries


def test_a_delivery_says_where_it_stands(call: Client, delivery: Any) -> None:
    """Event, endpoint, state and the next attempt as a clock time."""
    assert delivery == {
        "object": "delivery",
        "id": delivery["id"],
        "event_id": call("GET", "/events?events=dsync.user.created").json["data"][0]["id"],
        "event": "dsync.user.created",
        "endpoint_id": call("GET", "/api/v1/endpoints").json["data"][0]["id"],
        "endpoint_url": "https://a.example.com/",
        "origin": "published",
        "state": "pending",
        "reason": None,
        "attempt_count": 0,
        "next_attempt_at": "2025-11-24T16:00:00.000Z",
        "next_attempt_kind": "scheduled",
        "first_attempt_at": None,
        "created_at": "2025-11-24T16:00:00.000Z",
        "updated_at": "2025-11-24T16:00:00.000Z",
    }


def test_a_detail_has_the_attempts(call: Client, context: CallContext, delivery: Any) -> None:
    """Each with its evidence, in order."""
    with context.database.transaction() as connection:
        connection.execute(
            "insert into hookline_sender_attempts select row_id, 1, 'scheduled', 'failed', 'server_error', 503, "
            "1764000000000, 42, ? from hookline_sender_deliveries",
            [json.dumps({"address": "192.0.2.1"})],
        )

    found = call("GET", f"/api/v1/deliveries/{delivery['id']}").json

    assert found == delivery | {
        "attempts": [
            {
                "number": 1,
                "kind": "scheduled",
                "outcome": "failed",
                "reason": "server_error",
                "status": 503,
                "started_at": "2025-11-24T16:00:00.000Z",
                "duration_ms": 42,
                "evidence": {"address": "192.0.2.1"},
            }
        ]
    }


def test_deliveries_are_found_by_every_filter(call: Client) -> None:
    """State, endpoint, event and type; unknown ids are 404, unknown states 422."""
    one = create(call, "a", events=["dsync.*"]).json["id"]
    two = create(call, "b", events=["invoice.paid"]).json["id"]
    user = call("POST", "/api/v1/events", EVENT).json["id"]
    call("POST", "/api/v1/events", {"event": "invoice.paid", "data": {}})

    assert len(deliveries(call)) == 2
    assert [item["endpoint_id"] for item in deliveries(call, f"endpoint={one}")] == [one]
    assert [item["endpoint_id"] for item in deliveries(call, "type=invoice.paid")] == [two]
    assert [item["event_id"] for item in deliveries(call, f"event={user}&state=pending")] == [user]
    assert deliveries(call, "state=failed") == []
    assert deliveries(call, f"endpoint={two}&event={user}") == []
    assert call("GET", "/api/v1/deliveries?endpoint=we_unknown").status == 404
    assert call("GET", "/api/v1/deliveries?event=event_unknown").status == 404
    assert call("GET", "/api/v1/deliveries?state=lost").status == 422


def test_deliveries_are_walked_with_cursors(call: Client, endpoint: Any) -> None:
    """Newest first, every one once."""
    for _ in range(5):
        call("POST", "/api/v1/events", EVENT)
    seen: list[str] = []
    query = "limit=2"
    while True:
        answer = call("GET", f"/api/v1/deliveries?{query}").json
        seen += [item["id"] for item in answer["data"]]
        if answer["list_metadata"]["after"] is None:
            break
        query = f"limit=2&after={answer['list_metadata']['after']}"

    assert seen == [item["id"] for item in deliveries(call, "limit=100")]
    assert len(seen) == 5


@pytest.mark.parametrize("state", ["failed", "canceled", "pending"])
def test_a_retry_is_one_more_attempt_now(
    call: Client, context: CallContext, delivery: Any, clock: TurnedClock, state: str
) -> None:
    """Pending at once, of kind manual, and the delivery loop is woken after the commit."""
    set_delivery(context, state=state, attempt=7, slots_used=7, due_ms=None)
    clock.advance(5_000)
    woken: list[str] = []
    end = context.database.subscribe("deliveries", lambda: woken.append(deliveries(call)[0]["state"]))

    answer = call("POST", f"/api/v1/deliveries/{delivery['id']}/retry")
    end()

    assert answer.status == 200
    assert (answer.json["state"], answer.json["next_attempt_kind"]) == ("pending", "manual")
    assert answer.json["next_attempt_at"] == "2025-11-24T16:00:05.000Z"
    assert woken == ["pending"]


def test_the_audit_trail_says_whose_key_retried_and_canceled(call: Client, context: CallContext, delivery: Any) -> None:
    """Once each, however often the call is repeated under its idempotency key; a refused one leaves no line."""
    set_delivery(context, state="failed", due_ms=None)
    url = f"/api/v1/deliveries/{delivery['id']}"
    for _ in range(2):
        assert call("POST", f"{url}/retry", headers={"Idempotency-Key": "once"}).status == 200
    assert call("POST", f"{url}/cancel").status == 200
    assert call("POST", f"{url}/cancel").status == 409

    trail = call("GET", f"/api/v1/audit?object_id={delivery['id']}&order=asc").json["data"]
    assert [one["action"] for one in trail] == ["delivery.retried", "delivery.canceled"]
    assert {one["actor"] for one in trail} == {"configured …ests"}


@pytest.mark.parametrize("state", ["running", "succeeded", "held"])
def test_what_runs_is_held_or_done_is_not_retried(
    call: Client, context: CallContext, delivery: Any, state: str
) -> None:
    """409 that names the state."""
    set_delivery(context, state=state)

    answer = call("POST", f"/api/v1/deliveries/{delivery['id']}/retry")

    assert (answer.status, answer.json["code"]) == (409, "delivery_not_retryable")
    assert state in answer.message


@pytest.mark.parametrize("switch", ["pause", "disable", "delete"])
def test_a_retry_for_an_endpoint_that_gets_nothing_is_409(
    call: Client, context: CallContext, delivery: Any, switch: str
) -> None:
    """It would wait unseen: the answer says what to do first."""
    url = f"/api/v1/endpoints/{delivery['endpoint_id']}"
    if switch == "pause":
        call("POST", f"{url}/pause")
    elif switch == "disable":
        call("PATCH", url, {"status": "disabled"})
    else:
        call("DELETE", url)
    set_delivery(context, state="failed")

    answer = call("POST", f"/api/v1/deliveries/{delivery['id']}/retry")

    assert (answer.status, answer.json["code"]) == (409, "endpoint_not_active")


def test_a_repeated_retry_asks_for_nothing_more(
    call: Client, context: CallContext, delivery: Any, clock: TurnedClock
) -> None:
    """Same Idempotency-Key: even after the attempt it made has failed, a repeat makes no other."""
    set_delivery(context, state="failed", attempt=7)
    url, headers = f"/api/v1/deliveries/{delivery['id']}/retry", {"Idempotency-Key": "k"}
    first = call("POST", url, headers=headers)
    set_delivery(context, state="failed", attempt=8)
    clock.advance(1000)

    again = call("POST", url, headers=headers)
    other_call = call("POST", f"/api/v1/deliveries/{delivery['id']}/cancel", headers=headers)
    without = call("POST", url)

    assert (first.status, first.json["state"]) == (200, "pending")
    assert (again.status, again.json["state"], again.json["attempt_count"]) == (200, "failed", 8)
    assert (other_call.status, other_call.json["code"]) == (409, "idempotency_key_reused")
    assert without.json["state"] == "pending"


def test_a_refused_retry_leaves_its_key_free(call: Client, context: CallContext, delivery: Any) -> None:
    """409 is rolled back whole: when the delivery can be retried, the same call does it."""
    headers = {"Idempotency-Key": "k"}
    set_delivery(context, state="running")
    refused = call("POST", f"/api/v1/deliveries/{delivery['id']}/retry", headers=headers)
    set_delivery(context, state="failed")

    done = call("POST", f"/api/v1/deliveries/{delivery['id']}/retry", headers=headers)

    assert (refused.status, done.status, done.json["state"]) == (409, 200, "pending")


def test_a_repeated_resume_does_not_end_a_later_pause(call: Client, endpoint: Any) -> None:
    """A network that repeats yesterday's call must not undo today's."""
    url = f"/api/v1/endpoints/{endpoint['id']}"
    headers = {"Idempotency-Key": "k"}
    call("POST", f"{url}/pause")
    first = call("POST", f"{url}/resume", headers=headers)
    call("POST", f"{url}/pause")

    again = call("POST", f"{url}/resume", headers=headers)

    assert first.json["paused_at"] is None
    assert again.json["paused_at"] is not None


def test_a_delivery_that_waits_is_canceled(call: Client, delivery: Any) -> None:
    """Once; a second time there is nothing to cancel."""
    first = call("POST", f"/api/v1/deliveries/{delivery['id']}/cancel")
    second = call("POST", f"/api/v1/deliveries/{delivery['id']}/cancel")

    assert (first.status, first.json["state"], first.json["reason"]) == (200, "canceled", "canceled")
    assert (first.json["next_attempt_at"], second.status) == (None, 409)
    assert second.json["code"] == "delivery_not_cancelable"


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("POST", "/retry"), ("POST", "/cancel")])
def test_an_unknown_delivery_is_404(call: Client, method: str, suffix: str) -> None:
    """`entity_not_found`, also for an id of another kind."""
    for delivery_id in ("delivery_unknown", "we_1", "x" * 3000):
        answer = call(method, f"/api/v1/deliveries/{delivery_id}{suffix}")

        assert (answer.status, answer.json["code"]) == (404, "entity_not_found")
        assert len(answer.body) < 300


# -- event types


def test_the_catalogue_is_listed(call: Client) -> None:
    """111 types, 93 of them for webhooks; those with a sample say so."""
    data = call("GET", "/api/v1/event_types").json["data"]

    assert len(data) == 111
    assert sum(item["subscribable"] for item in data) == 93
    created = next(item for item in data if item["name"] == "dsync.user.created")
    assert created == {
        "name": "dsync.user.created",
        "origin": "catalogue",
        "subscribable": True,
        "resource": "directory_user",
        "description": None,
        "mode": "off",
        "has_schema": False,
        "has_sample": True,
    }
