"""Why an event was sent or not, from what was stored then; and the story of a delivery, in clock times."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.rules.schedule import PRODUCTION, Schedule
from hookline.sender.advice import advice_for
from hookline.sender.api_parts import CallContext
from hookline.sender.explain import planned
from hookline.sender.model import Delivery
from hookline.testing.clock import TurnedClock

from .conftest import NOW_MS, Client

EVENT = {"event": "dsync.user.created", "data": {"object": "directory_user", "id": "x"}}


class Desk:
    """The API, the clock, and rows set by hand."""

    def __init__(self, call: Client, context: CallContext, clock: TurnedClock) -> None:
        self.call, self.context, self.clock = call, context, clock

    def endpoint(self, host: str, *events: str) -> str:
        self.clock.advance(1_000)
        made = self.call(
            "POST", "/api/v1/endpoints", {"url": f"https://{host}.example.com/", "events": list(events or ("*",))}
        )
        return str(made.json["id"])

    def change(self, endpoint_id: str, **fields: Any) -> None:
        self.clock.advance(1_000)
        assert self.call("PATCH", f"/api/v1/endpoints/{endpoint_id}", fields).status == 200

    def act(self, endpoint_id: str, action: str) -> None:
        self.clock.advance(1_000)
        assert self.call("POST", f"/api/v1/endpoints/{endpoint_id}/{action}").status == 200

    def publish(self) -> str:
        self.clock.advance(1_000)
        return str(self.call("POST", "/api/v1/events", EVENT).json["id"])

    def execute(self, statement: str, *values: Any) -> None:
        with self.context.database.transaction() as connection:
            connection.execute(statement, values)

    def set_delivery(self, **fields: Any) -> None:
        columns = ", ".join(f"{name} = ?" for name in fields)
        self.execute(f"update hookline_sender_deliveries set {columns}", *fields.values())

    def attempt(
        self, number: int, outcome: str, reason: str, status: int | None = None, kind: str = "scheduled"
    ) -> None:
        self.execute(
            "insert into hookline_sender_attempts values ("
            "(select row_id from hookline_sender_deliveries), ?, ?, ?, ?, ?, ?, 120, ?)",
            number,
            "scheduled",
            outcome,
            reason,
            status,
            NOW_MS + number * 60_000,
            '{"detail": "for the test"}' if status is None else "{}",
        )

    def findings(self, event_id: str, query: str = "") -> dict[str, tuple[str, str, str]]:
        answer = self.call("GET", f"/api/v1/events/{event_id}/explain{query}")
        assert answer.status == 200, answer.body
        return {one["endpoint_id"]: (one["verdict"], one["code"], one["text"]) for one in answer.json["data"]}

    def finding(self, event_id: str, endpoint_id: str) -> tuple[str, str, str]:
        found = self.findings(event_id, f"?endpoint={endpoint_id}")
        assert list(found) == [endpoint_id]
        return found[endpoint_id]

    def story(self) -> Any:
        [delivery] = self.call("GET", "/api/v1/deliveries").json["data"]
        answer = self.call("GET", f"/api/v1/deliveries/{delivery['id']}/explain")
        assert answer.status == 200, answer.body
        return answer.json


@pytest.fixture
def desk(call: Client, context: CallContext, clock: TurnedClock) -> Desk:
    return Desk(call, context, clock)


# -- an event


def test_why_it_was_not_sent_is_told_from_how_things_were(desk: Desk) -> None:
    """Each endpoint by its version of then, whatever became of it since."""
    others = desk.endpoint("others", "user.created", "dsync.group.*")
    off = desk.endpoint("off")
    gone = desk.endpoint("gone")
    desk.change(off, description="still on")
    desk.change(off, status="disabled")
    desk.change(off, description="still off")
    desk.clock.advance(1_000)
    desk.call("DELETE", f"/api/v1/endpoints/{gone}")
    event_id = desk.publish()
    later = desk.endpoint("later")
    desk.change(others, events=["*"])
    desk.change(off, description="off, even now")
    desk.change(off, status="enabled")

    found = desk.findings(event_id)

    assert list(found) == [later, off, others]
    assert {endpoint_id: one[:2] for endpoint_id, one in found.items()} == {
        later: ("not_sent", "created_after"),
        off: ("not_sent", "disabled_by_person"),
        others: ("not_sent", "not_subscribed"),
    }
    assert found[others][2] == (
        "the endpoint did not ask for dsync.user.created then, in its version 1, but for dsync.group.*, user.created"
    )
    assert "from 2025-11-24T16:00:05.000Z until 2025-11-24T16:00:12.000Z" in found[off][2]
    assert "2025-11-24T16:00:09.000Z" in found[later][2]
    assert desk.finding(event_id, gone)[:2] == ("not_sent", "deleted")


def test_an_endpoint_that_is_still_off(desk: Desk) -> None:
    """Has no until."""
    off = desk.endpoint("off")
    desk.change(off, status="disabled")
    event_id = desk.publish()

    assert desk.finding(event_id, off)[2].startswith(
        "the endpoint was disabled by a person from 2025-11-24T16:00:02.000Z and still is"
    )


@pytest.mark.parametrize(
    ("fields", "verdict", "code", "words"),
    [
        ({}, "waiting", "first_attempt_due", "the first attempt has not been made; due at 2025-11-24T16:00:02.000Z"),
        ({"state": "running", "attempt": 2, "leased_until_ms": NOW_MS}, "waiting", "under_way", "attempt 2"),
        ({"state": "pending", "attempt": 1, "due_ms": NOW_MS}, "waiting", "retry_due", "attempt 1 was answered 503"),
        ({"attempt": 1, "next_kind": "manual"}, "waiting", "retry_asked", "a person asked"),
        ({"state": "succeeded", "attempt": 3, "updated_ms": NOW_MS}, "sent", "sent", "in attempt 3"),
        ({"state": "held", "reason": "endpoint_paused"}, "held", "endpoint_paused", "the endpoint is paused"),
        ({"state": "held", "reason": "endpoint_failing"}, "held", "endpoint_failing", "failed for too long"),
        ({"state": "failed", "reason": "exhausted"}, "failed", "exhausted", "the last attempt was answered 503"),
        ({"state": "canceled", "reason": "expired"}, "canceled", "expired", "retention"),
        ({"state": "canceled", "reason": "superseded"}, "canceled", "superseded", "a newer event"),
    ],
)
def test_what_became_of_a_delivery(desk: Desk, fields: Any, verdict: str, code: str, words: str) -> None:
    """Sent, waiting and for what, held and why, failed and how: one sentence and a word for machines."""
    endpoint_id = desk.endpoint("one")
    event_id = desk.publish()
    desk.attempt(1, "failed", "status_503", 503)
    if fields:
        desk.set_delivery(**fields)

    found = desk.finding(event_id, endpoint_id)

    assert found[:2] == (verdict, code)
    assert words in found[2]


def test_a_replay_that_fails_takes_nothing_from_a_success(desk: Desk) -> None:
    """And both deliveries are named."""
    endpoint_id = desk.endpoint("one")
    event_id = desk.publish()
    desk.set_delivery(state="succeeded", attempt=1)
    desk.call("POST", f"/api/v1/events/{event_id}/resend", {"endpoint_id": endpoint_id})
    waiting = desk.finding(event_id, endpoint_id)
    desk.execute("update hookline_sender_deliveries set state = 'failed', due_ms = null where origin = 'replay'")

    assert waiting[0] == "waiting"
    assert desk.finding(event_id, endpoint_id)[0] == "sent"
    [shown] = desk.call("GET", f"/api/v1/events/{event_id}/explain").json["data"]
    assert len(shown["delivery_ids"]) == 2


def test_what_retention_removed_is_said(desk: Desk) -> None:
    """The endpoint asked for it, and what was sent is no longer kept."""
    endpoint_id = desk.endpoint("one")
    event_id = desk.publish()
    desk.execute("delete from hookline_sender_deliveries")
    without = desk.finding(event_id, endpoint_id)
    desk.execute("update hookline_sender_events set pruned_ms = ?, body = x''", NOW_MS)

    assert without[1] == "no_delivery"
    assert desk.finding(event_id, endpoint_id)[1] == "pruned"
    assert desk.call("GET", f"/api/v1/events/{event_id}/explain").json["pruned_at"] == "2025-11-24T16:00:00.000Z"


def test_many_endpoints_come_in_pages(desk: Desk) -> None:
    """Newest first, by the cursors of every list."""
    made = [desk.endpoint(f"host{number}") for number in range(5)]
    event_id = desk.publish()
    first = desk.call("GET", f"/api/v1/events/{event_id}/explain?limit=2").json
    second = desk.call("GET", f"/api/v1/events/{event_id}/explain?limit=3&after={first['list_metadata']['after']}").json

    assert [one["endpoint_id"] for one in first["data"] + second["data"]] == made[::-1]
    assert second["list_metadata"]["after"] is None


def test_what_is_unknown_is_404(desk: Desk) -> None:
    """Event, endpoint, delivery; a cursor is 422."""
    event_id = desk.publish()

    assert desk.call("GET", "/api/v1/events/event_unknown/explain").status == 404
    assert desk.call("GET", f"/api/v1/events/{event_id}/explain?endpoint=we_unknown").status == 404
    assert desk.call("GET", f"/api/v1/events/{event_id}/explain?after=we_unknown").status == 422
    assert desk.call("GET", "/api/v1/deliveries/delivery_unknown/explain").status == 404


# -- a delivery


def test_the_story_of_a_delivery(desk: Desk) -> None:
    """Published, made, each attempt with what it came to and what to do, and every attempt still planned."""
    endpoint_id = desk.endpoint("one")
    desk.publish()
    desk.attempt(1, "failed", "timeout")
    desk.attempt(2, "unknown", "unknown")
    desk.attempt(3, "failed", "status_401", 401)
    desk.set_delivery(attempt=3, slots_used=2, first_ms=NOW_MS, due_ms=NOW_MS + 950_000)

    told = desk.story()

    assert [one["code"] for one in told["story"]] == [
        "published",
        "made",
        "attempt_failed",
        "attempt_unknown",
        "attempt_failed",
    ]
    texts = [one["text"] for one in told["story"]]
    assert f"the event was matched to {endpoint_id} as it was then (version 1)" in texts[1]
    assert texts[2] == "attempt 1 (scheduled) got no answer in time after 120 ms: for the test"
    assert texts[4] == "attempt 3 (scheduled) was answered 401 after 120 ms"
    assert "raw bytes" in told["story"][4]["to_do"]
    assert told["story"][2]["at"] == "2025-11-24T16:01:00.000Z"
    assert (told["verdict"], told["code"]) == ("waiting", "retry_due")
    assert [one["at"] for one in told["planned"]] == [
        "2025-11-24T16:15:50.000Z",
        "2025-11-24T17:06:30.000Z",
        "2025-11-24T20:29:10.000Z",
        "2025-11-25T09:59:50.000Z",
        "2025-11-27T16:00:00.000Z",
    ]


def test_the_story_of_what_was_held_and_expired(desk: Desk) -> None:
    """It begins held and ends canceled, each at its time; nothing is planned."""
    endpoint_id = desk.endpoint("one")
    desk.act(endpoint_id, "pause")
    desk.publish()
    held = desk.story()
    desk.set_delivery(state="canceled", reason="expired", updated_ms=NOW_MS + 9_000)
    desk.execute("update hookline_sender_events set pruned_ms = ?", NOW_MS + 9_000)

    told = desk.story()

    assert [one["code"] for one in held["story"]] == ["published", "made_held", "endpoint_paused"]
    assert [one["code"] for one in told["story"]] == ["published", "made_held", "expired", "pruned"]
    assert (held["planned"], told["planned"]) == ([], [])


def test_an_own_schedule_is_the_one_told(desk: Desk) -> None:
    """The endpoint's comes before its environment's; one that cannot be used does not."""
    desk.endpoint("one")
    desk.publish()
    desk.execute("update hookline_sender_endpoints set schedule = '[10, 20]'")
    own = [one["at"] for one in desk.story()["planned"]]
    desk.execute("update hookline_sender_endpoints set schedule = '[-1]'")

    assert own == ["2025-11-24T16:00:02.000Z", "2025-11-24T16:00:12.000Z", "2025-11-24T16:00:32.000Z"]
    assert len(desk.story()["planned"]) == 7


def a_delivery(**fields: Any) -> Delivery:
    named = {
        "row_id": 1, "id": "d", "environment": "production", "event_row": 1, "endpoint_row": 1, "origin": "published",
        "state": "pending", "due_ms": 1_000, "leased_until_ms": None, "attempt": 0, "slots_used": 0,
        "unknown_attempts": 0, "next_kind": "scheduled", "planned_ms": None, "first_ms": None, "reason": None,
        "created_ms": 0, "updated_ms": 0, "event_id": "e", "event_type": "a.b", "endpoint_id": "we",
        "endpoint_url": "u",
    }  # fmt: skip
    return Delivery(**{**named, **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [(1_000, "scheduled"), (11_000, "scheduled"), (31_000, "scheduled")]),
        ({"slots_used": 1, "first_ms": 0, "due_ms": 10_500}, [(10_500, "scheduled"), (30_000, "scheduled")]),
        ({"slots_used": 2, "first_ms": 0, "due_ms": 30_000}, [(30_000, "scheduled")]),
        # A person's retry first, then what was planned and what follows it.
        (
            {"slots_used": 1, "first_ms": 0, "due_ms": 500, "next_kind": "manual", "planned_ms": 10_000},
            [(500, "manual"), (10_000, "scheduled"), (30_000, "scheduled")],
        ),
        ({"slots_used": 3, "first_ms": 0, "due_ms": 500, "next_kind": "manual"}, [(500, "manual")]),
        # After `Retry-After` a slot moves the ones it passes.
        ({"slots_used": 1, "first_ms": 0, "due_ms": 40_000}, [(40_000, "scheduled"), (40_000, "scheduled")]),
        ({"state": "held"}, []),
        ({"state": "running", "due_ms": None}, []),
        ({"state": "succeeded", "due_ms": None}, []),
    ],
)
def test_what_is_planned(fields: Any, expected: Any) -> None:
    """The next attempt and every slot left after it."""
    assert list(planned(a_delivery(**fields), Schedule.from_gaps((10, 20)))) == expected


def test_a_new_delivery_plans_seven_attempts_over_72_hours() -> None:
    """The first now, the last at the end of the window."""
    times = [at_ms for at_ms, _ in planned(a_delivery(due_ms=0), PRODUCTION)]

    assert (len(times), times[-1]) == (7, 259_200_000)


@pytest.mark.parametrize(
    ("reason", "status", "meaning", "has_advice"),
    [
        ("status_200", 200, "was answered 200", False),
        ("status_503", 503, "was answered 503", True),
        ("status_418", 418, "was answered 418", True),
        ("status_599", 599, "was answered 599", True),
        ("redirect", 302, "was answered with a redirect, which is never followed", True),
        ("dns", None, "did not find the host name", True),
        ("something_new", None, "failed", False),
    ],
)
def test_every_reason_has_its_sentence(reason: str, status: int | None, meaning: str, has_advice: bool) -> None:
    """Also one that this version does not know."""
    advice = advice_for(reason, status)

    assert (advice.meaning, advice.to_do is not None) == (meaning, has_advice)
