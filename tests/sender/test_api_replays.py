"""Replays and resending through the API."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.sender.api_parts import CallContext
from hookline.testing.clock import TurnedClock

from .conftest import TEST_KEY, Client

EVENT = {"event": "dsync.user.created", "data": {"object": "directory_user", "id": "x"}}


@pytest.fixture
def endpoint(call: Client) -> Any:
    return call("POST", "/api/v1/endpoints", {"url": "https://a.example.com/", "events": ["*"]}).json


@pytest.fixture
def event(call: Client, endpoint: Any, context: CallContext) -> Any:
    """An event whose delivery failed."""
    event = call("POST", "/api/v1/events", EVENT).json
    with context.database.transaction() as connection:
        connection.execute("update hookline_sender_deliveries set state = 'failed', due_ms = null")
    return event


def replay(call: Client, **body: Any) -> Any:
    return call("POST", "/api/v1/replays", {"filter": {}} | body)


def test_a_replay_is_counted_then_made(call: Client, event: Any, endpoint: Any) -> None:
    """The preview writes nothing; the replay says how far it is, under its id and in the list."""
    chosen = {"filter": {"states": ["failed"], "endpoints": [endpoint["id"]], "events": ["dsync.*"]}}

    preview = replay(call, **chosen, dry_run=True)
    listed_before = call("GET", "/api/v1/replays").json["data"]
    made = replay(call, **chosen, rate_per_s=5)

    assert preview.json == {"object": "replay_preview", "total": 1, "to_make": 1, "skipped": {}}
    assert listed_before == []
    assert (preview.status, made.status) == (201, 201)
    assert made.json == {
        "object": "replay",
        "id": made.json["id"],
        "state": "pending",
        "filter": {"since": None, "until": None, **chosen["filter"]},
        "rate_per_s": 5,
        "total": 1,
        "made": 0,
        "skipped": {},
        "created_at": "2025-11-24T16:00:00.000Z",
        "updated_at": "2025-11-24T16:00:00.000Z",
        "finished_at": None,
        "deliveries": {},
    }
    assert call("GET", f"/api/v1/replays/{made.json['id']}").json == made.json
    assert [item["id"] for item in call("GET", "/api/v1/replays").json["data"]] == [made.json["id"]]


def test_a_replay_is_canceled_once(call: Client, event: Any) -> None:
    """Then it is over."""
    replay_id = replay(call).json["id"]

    canceled = call("POST", f"/api/v1/replays/{replay_id}/cancel")
    again = call("POST", f"/api/v1/replays/{replay_id}/cancel")
    trail = call("GET", f"/api/v1/audit?object_id={replay_id}").json["data"]

    assert (canceled.status, canceled.json["state"]) == (200, "canceled")
    assert (again.status, again.json["code"]) == (409, "replay_over")
    assert [line["action"] for line in trail] == ["replay.canceled", "replay.created"]


def test_replays_are_seen_from_their_own_environment(call: Client, event: Any) -> None:
    """A key of the other one finds nothing."""
    replay_id = replay(call).json["id"]
    other = Client(call.app, key=TEST_KEY)

    assert other("GET", f"/api/v1/replays/{replay_id}").status == 404
    assert other("POST", f"/api/v1/replays/{replay_id}/cancel").status == 404
    assert other("GET", "/api/v1/replays").json["data"] == []
    assert other("POST", f"/api/v1/events/{event['id']}/resend").status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filter": None}, "filter"),
        ({"filter": {"since": "soon"}}, "filter.since"),
        ({"filter": {"since": "2026-01-02", "until": "2026-01-02"}}, "filter.until"),
        ({"filter": {"events": []}}, "filter.events"),
        ({"filter": {"states": ["lost"]}}, "filter.states[0]"),
        ({"filter": {"endpoint": "we_1"}}, "filter.endpoint"),
        ({"rate_per_s": 0}, "rate_per_s"),
        ({"rate": 1}, "rate"),
    ],
)
def test_a_bad_replay_is_422_and_names_the_field(call: Client, endpoint: Any, body: Any, field: str) -> None:
    """What is misspelled selects nothing away, so it is refused."""
    answer = replay(call, **body)

    assert answer.status == 422
    assert [error["message"].partition(":")[0] for error in answer.json["errors"]] == [field]


def test_a_bad_pattern_or_endpoint_is_refused(call: Client, endpoint: Any) -> None:
    """Before anything is counted."""
    assert replay(call, filter={"events": ["*.created"]}).status == 422
    assert replay(call, filter={"endpoints": ["we_unknown"]}).status == 404
    assert call("GET", "/api/v1/replays/replay_unknown").status == 404
    assert call("GET", "/api/v1/replays?after=replay_unknown").status == 422


def test_one_event_is_sent_again(call: Client, event: Any, endpoint: Any) -> None:
    """A new delivery with the same event; while it waits, no other."""
    sent = call("POST", f"/api/v1/events/{event['id']}/resend", {"endpoint_id": endpoint["id"]})
    again = call("POST", f"/api/v1/events/{event['id']}/resend", {"endpoint_id": endpoint["id"]})
    to_all = call("POST", f"/api/v1/events/{event['id']}/resend")

    [delivery] = sent.json["data"]
    assert sent.status == 201
    assert (delivery["event_id"], delivery["origin"], delivery["state"]) == (event["id"], "replay", "pending")
    assert (again.status, again.json["code"]) == (409, "delivery_open")
    assert (to_all.status, to_all.json["data"]) == (201, [])


def test_what_is_past_its_retention_is_410(
    call: Client, context: CallContext, clock: TurnedClock, endpoint: Any
) -> None:
    """Reading, resending, retrying, publishing again under its key; the list of events does without it."""
    headers = {"Idempotency-Key": "k"}
    event = call("POST", "/api/v1/events", EVENT, headers=headers).json
    [delivery] = call("GET", "/api/v1/deliveries").json["data"]
    with context.database.transaction() as connection:
        connection.execute("update hookline_sender_deliveries set state = 'failed', due_ms = null")
        connection.execute("update hookline_sender_events set body = x'', pruned_ms = 1")
        connection.execute("delete from hookline_sender_feed")
    answers = [
        call("GET", f"/api/v1/events/{event['id']}"),
        call("POST", f"/api/v1/events/{event['id']}/resend"),
        call("POST", f"/api/v1/deliveries/{delivery['id']}/retry"),
        call("POST", "/api/v1/events", EVENT, headers=headers),
    ]

    assert [(answer.status, answer.json["code"]) for answer in answers] == [(410, "event_pruned")] * 4
    assert call("GET", "/events?events=dsync.user.created").json["data"] == []
    assert replay(call, dry_run=True).json["skipped"] == {"pruned": 1}
