"""Test events against a real, misbehaving server: the same path as every delivery, and nothing of it counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hookline.sender.api_parts import CallContext
from hookline.sender.targets import TargetCheck
from hookline.testing.sink import Sink
from hookline.wire.catalogue import sample
from hookline.wire.signature import verify_signature

from .conftest import NOW_MS, Answer, Client

TYPE = "dsync.user.created"


def with_sink(
    call: Client, context: CallContext, work: Callable[[Sink, Callable[..., Awaitable[Answer]]], Awaitable[None]]
) -> None:
    """Runs a test beside a sink, with a way to call the API on the same event loop."""
    context.registry._check_url = TargetCheck(allow_private=True)

    async def post(path: str, body: Any, **headers: str) -> Answer:
        content = json.dumps(body).encode()
        sent = {"authorization": f"Bearer {call.key}", "content-type": "application/json", **headers}
        sent["content-length"] = str(len(content))
        return await call.ask("POST", path, content, sent)

    async def run() -> None:
        async with Sink() as sink:
            await work(sink, post)

    asyncio.run(run())


async def endpoint_at(post: Callable[..., Awaitable[Answer]], url: str, *events: str) -> dict[str, Any]:
    made = await post("/api/v1/endpoints", {"url": url, "events": list(events or ("dsync.*",))})
    assert made.status == 201, made.body
    endpoint: dict[str, Any] = made.json
    return endpoint


def rows(context: CallContext, statement: str) -> list[Any]:
    with context.database.read() as connection:
        return list(connection.execute(statement).fetchall())


def test_a_test_arrives_like_any_delivery_and_is_answered(call: Client, context: CallContext) -> None:
    """Signed with the endpoint's secret, marked by header; the answer has what was sent, what came and how long."""

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, sink.url("/status/202"))

        answer = await post(f"/api/v1/endpoints/{endpoint['id']}/test", {"event": TYPE})

        [seen] = sink.seen
        told = answer.json
        assert answer.status == 200, answer.body
        verify_signature(seen.body, seen.header("WorkOS-Signature") or "", [endpoint["secret"]], now_ms=NOW_MS)
        assert seen.header("Hookline-Origin") == "test"
        assert json.loads(seen.body) == told["event"]
        assert told["event"]["data"] == sample(TYPE)
        assert (told["outcome"], told["status"], told["meaning"]) == ("succeeded", 202, "the test was answered 202")
        assert (told["to_do"], told["note"]) == (None, None)
        assert told["timings"]["total_ms"] > 0
        [attempt] = told["attempts"]
        sent = dict(attempt["evidence"]["request"]["headers"])
        assert sent["WorkOS-Signature"].endswith("…")
        assert endpoint["secret"] not in answer.body.decode()
        assert (told["delivery"]["origin"], told["delivery"]["state"]) == ("test", "succeeded")

    with_sink(call, context, work)


def test_a_test_counts_nowhere(call: Client, context: CallContext) -> None:
    """Not in the feed, not in health, not to be replayed; nothing waits; the list of deliveries shows it as a test."""

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, sink.url("/status/500"), "*")
        await post(f"/api/v1/endpoints/{endpoint['id']}/test", {"event": TYPE})

    with_sink(call, context, work)

    assert rows(context, "select count(*) from hookline_sender_feed") == [(0,)]
    assert rows(context, "select failing_since_ms, failing_attempts from hookline_sender_endpoints") == [(None, 0)]
    assert rows(context, "select origin, state, due_ms from hookline_sender_deliveries") == [("test", "failed", None)]
    assert call("GET", f"/events?events={TYPE}").json["data"] == []
    assert call("POST", "/api/v1/replays", {"filter": {}, "dry_run": True}).json["total"] == 0
    [delivery] = call("GET", "/api/v1/deliveries").json["data"]
    assert (delivery["origin"], delivery["reason"], delivery["next_attempt_at"]) == ("test", "status_500", None)
    assert call("GET", f"/api/v1/deliveries/{delivery['id']}").json["attempts"][0]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("path", "reason", "to_do"),
    [
        ("/status/401", "status_401", "secret"),
        ("/status/410", "status_410", "resume"),
        ("/status/302", "redirect", "register"),
        ("/reset", "reset", "crashes"),
    ],
)
def test_a_failure_says_what_to_do(call: Client, context: CallContext, path: str, reason: str, to_do: str) -> None:
    """One attempt, its error and advice; a 410 to a test disables nothing."""

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, sink.url(path))

        told = (await post(f"/api/v1/endpoints/{endpoint['id']}/test", {"event": TYPE})).json

        assert told["attempts"][0]["reason"] == reason
        assert to_do in told["to_do"]
        assert len(told["attempts"]) == 1

    with_sink(call, context, work)

    assert rows(context, "select status from hookline_sender_endpoints") == [("enabled",)]


def test_nobody_listening_is_an_answer_too(call: Client, context: CallContext) -> None:
    """The call succeeds: what it reports is that the test did not."""

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, "http://127.0.0.1:9/")

        answer = await post(f"/api/v1/endpoints/{endpoint['id']}/test", {"event": TYPE})

        assert (answer.status, answer.json["status"], answer.json["outcome"]) == (200, None, "failed")
        assert answer.json["meaning"] == "the test could not connect"

    with_sink(call, context, work)


def test_the_payload_may_be_edited(call: Client, context: CallContext) -> None:
    """And a type of one's own has the sample that was registered with it."""
    with context.database.transaction() as connection:
        connection.execute(
            "insert into hookline_sender_event_types (environment, name, mode, sample, created_ms, updated_ms)"
            " values ('production', 'invoice.paid', 'off', '{\"object\":\"invoice\",\"id\":\"i\"}', 1, 1)"
        )

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, sink.url("/status/200"), "*")
        path = f"/api/v1/endpoints/{endpoint['id']}/test"

        edited = await post(path, {"event": "invoice.paid", "data": {"id": "edited"}})
        own = await post(path, {"event": "invoice.paid"})
        without = await post(path, {"event": "invoice.lost"})
        bad = await post(path, {"event": "invoice.lost", "data": {"n": 2**60}})

        assert edited.json["event"]["data"] == {"id": "edited"}
        assert own.json["event"]["data"] == {"object": "invoice", "id": "i"}
        assert (without.status, without.json["code"]) == (422, "no_sample")
        assert (bad.status, bad.json["code"]) == (422, "invalid_event")

    with_sink(call, context, work)


def test_only_types_the_endpoint_asks_for(call: Client, context: CallContext) -> None:
    """Patterns count; a refusal lists what it asks for, and nothing is sent."""

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, sink.url("/status/200"), "dsync.user.*", "user.created")

        refused = await post(f"/api/v1/endpoints/{endpoint['id']}/test", {"event": "dsync.group.created"})
        unknown = await post("/api/v1/endpoints/we_unknown/test", {"event": TYPE})
        misspelled = await post(f"/api/v1/endpoints/{endpoint['id']}/test", {"event": TYPE, "payload": {}})

        assert (refused.status, refused.json["code"]) == (422, "not_subscribed")
        assert "dsync.user.*, user.created" in refused.json["errors"][0]["message"]
        assert (unknown.status, misspelled.status) == (404, 422)
        assert sink.seen == []

    with_sink(call, context, work)


@pytest.mark.parametrize("how", ["disabled", "paused"])
def test_an_endpoint_that_is_off_can_be_tested(call: Client, context: CallContext, how: str) -> None:
    """Before it is turned on again; the answer says that events do not reach it."""

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, sink.url("/status/200"))
        if how == "paused":
            await post(f"/api/v1/endpoints/{endpoint['id']}/pause", {})
        else:
            context.registry.change("production", endpoint["id"], status="disabled")

        told = (await post(f"/api/v1/endpoints/{endpoint['id']}/test", {"event": TYPE})).json

        assert told["outcome"] == "succeeded"
        assert how in told["note"]

    with_sink(call, context, work)


def test_a_repeated_call_sends_one_test(call: Client, context: CallContext) -> None:
    """Under its key it gets the first one's answer; while that has not come, it is told so."""

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, sink.url("/status/200"))
        path = f"/api/v1/endpoints/{endpoint['id']}/test"
        body, key = {"event": TYPE}, {"idempotency-key": "k"}

        first = await post(path, body, **key)
        again = await post(path, body, **key)
        with context.database.transaction() as connection:
            connection.execute("update hookline_sender_events set body = x'', pruned_ms = 1")
        pruned = await post(path, body, **key)
        with context.database.transaction() as connection:
            connection.execute("delete from hookline_sender_deliveries")
        unfinished = await post(path, body, **key)

        assert first.json == again.json
        assert (pruned.status, pruned.json["code"]) == (410, "event_pruned")
        assert len(sink.seen) == 1
        assert (unfinished.status, unfinished.json["code"]) == (409, "test_under_way")

    with_sink(call, context, work)


def test_no_connection_is_held_while_the_endpoint_thinks(call: Client, context: CallContext) -> None:
    """Others write meanwhile."""

    async def work(sink: Sink, post: Callable[..., Awaitable[Answer]]) -> None:
        endpoint = await endpoint_at(post, sink.url("/status/200"))

        async def write(_: Any) -> None:
            await asyncio.to_thread(context.database.run, lambda tx: context.store.put_setting(tx, "a", "b"))

        sink.before = write
        answer = await post(f"/api/v1/endpoints/{endpoint['id']}/test", {"event": TYPE})

        assert answer.json["outcome"] == "succeeded"

    with_sink(call, context, work)

    assert rows(context, "select value from hookline_sender_settings where name = 'a'") == [("b",)]
    assert rows(context, "select action, detail from hookline_sender_audit where action = 'endpoint.tested'")
    assert rows(context, "select published_ms from hookline_sender_events") == [(NOW_MS,)]
