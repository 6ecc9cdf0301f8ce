"""Event types of one's own: describing them, and what their schemas do to events."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from hookline.errors import RequestError
from hookline.sender.api_parts import CallContext
from hookline.sender.drafts import draft_batch, draft_event
from hookline.sender.event_types import FRESH_MS, MAX_DESCRIPTION, TOLD_EVERY_MS, EventTypes
from hookline.sender.event_writer import Publication
from hookline.sender.idempotency import IdempotencyKey
from hookline.sender.ids import IdMaker
from hookline.sender.publish import Publisher
from hookline.sender.schema import PayloadSchema
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.testing.clock import TurnedClock

from .conftest import TEST_KEY, Client

TYPE = "invoice.paid"
URL = f"/api/v1/event_types/{TYPE}"
SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "minimum": 1}, "email": {"type": "string", "format": "email"}},
    "required": ["amount"],
}
GOOD = {"event": TYPE, "data": {"amount": 5}}
BAD = {"event": TYPE, "data": {"amount": "123-45-6789"}}


@pytest.fixture
def publisher(database: Database, store: SenderStore, clock: TurnedClock) -> Iterator[Publisher]:
    publisher = Publisher(database, store, clock=clock, ids=IdMaker())
    yield publisher
    publisher.close()


def count_events(context: CallContext) -> int:
    with context.database.read() as connection:
        found: int = connection.execute("select count(*) from hookline_sender_events").fetchone()[0]
    return found


# -- describing


def test_a_type_is_described_shown_and_forgotten(call: Client) -> None:
    """201 when it is new, 200 over what was there, 204 and 404 when it is gone; all of it is replaced."""
    sample = {"amount": 5, "email": "a@example.com"}
    body = {"description": "An invoice was paid.", "schema": SCHEMA, "mode": "warn", "sample": sample}
    missing = call("GET", URL)
    new = call("PUT", URL, body)
    shown = call("GET", URL)
    changed = call("PUT", URL, {"description": "Paid."})
    listed = call("GET", "/api/v1/event_types").json["data"]
    deleted = [call("DELETE", URL).status for _ in range(2)]

    assert (missing.status, new.status, changed.status, deleted) == (404, 201, 200, [204, 404])
    assert new.json == shown.json
    assert new.json == {
        "name": TYPE,
        "origin": "own",
        "subscribable": False,
        "resource": None,
        "description": "An invoice was paid.",
        "mode": "warn",
        "has_schema": True,
        "has_sample": True,
        "schema": SCHEMA,
        "sample": sample,
        "subscribers": 0,
        "created_at": "2025-11-24T16:00:00.000Z",
        "updated_at": "2025-11-24T16:00:00.000Z",
    }
    assert (changed.json["schema"], changed.json["sample"], changed.json["mode"]) == (None, None, "off")
    assert changed.json["created_at"] < changed.json["updated_at"]
    assert [item["description"] for item in listed if item["name"] == TYPE] == ["Paid."]
    assert call("GET", URL).status == 404


def test_a_part_of_a_description_is_changed(call: Client) -> None:
    """What is not named stays; a schema that comes or goes brings its mode; the whole must hold."""
    nothing = call("PATCH", URL, {"mode": "off"})
    call("PUT", URL, {"description": "as it was", "schema": SCHEMA, "sample": {"amount": 1}})

    warned = call("PATCH", URL, {"mode": "warn"}).json
    refused = call("PATCH", URL, {"sample": {"amount": "no number"}})
    bare = call("PATCH", URL, {"schema": None}).json
    again = call("PATCH", URL, {"schema": SCHEMA, "description": None}).json

    assert nothing.status == 404
    assert (warned["mode"], warned["description"], warned["schema"]) == ("warn", "as it was", SCHEMA)
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "sample.amount")
    assert (bare["mode"], bare["schema"], bare["sample"]) == ("off", None, {"amount": 1})
    assert (again["mode"], again["schema"], again["description"]) == ("reject", SCHEMA, None)
    assert call("GET", URL).json == again
    assert call("PATCH", URL, {"colour": "red"}).status == 422
    assert call("PATCH", "/api/v1/event_types/Not%20One", {"mode": "off"}).status == 404


def test_environments_describe_for_themselves(call: Client) -> None:
    """What one key describes the other does not see."""
    call("PUT", URL, {"description": "live"})
    call.key = TEST_KEY

    assert call("GET", URL).status == 404
    assert call("PUT", URL, {"description": "test"}).status == 201


def test_a_type_of_the_catalogue_can_be_described_too(call: Client) -> None:
    """It stays the catalogue's; its own sample shows until somebody gives another."""
    url = "/api/v1/event_types/dsync.user.created"
    before = call("GET", url).json
    after = call("PUT", url, {"schema": {"required": ["id"]}, "sample": {"id": "directory_user_1"}}).json

    assert (before["origin"], before["mode"], before["created_at"]) == ("catalogue", "off", None)
    assert before["sample"]["object"] == "directory_user"
    assert (after["origin"], after["mode"], after["subscribable"]) == ("catalogue", "reject", True)
    assert after["sample"] == {"id": "directory_user_1"}


def test_subscribers_are_counted_by_name_and_pattern(call: Client) -> None:
    """Each endpoint once, however it asks."""
    for number, events in enumerate((["invoice.*", TYPE], ["*"], ["invoice.sent"])):
        call("POST", "/api/v1/endpoints", {"url": f"https://e{number}.example.com/", "events": events})

    assert call("PUT", URL, {}).json["subscribers"] == 2
    assert call("GET", URL).json["subscribers"] == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"schema": {"type": "text"}}, "schema.type"),
        ({"schema": {"$ref": "https://example.com/x"}}, 'schema["$ref"]'),
        ({"schema": {"properties": {"a": {"pattern": "(?=a)"}}}}, "schema.properties.a.pattern"),
        ({"mode": "reject"}, "schema"),
        ({"mode": "warn"}, "schema"),
        ({"mode": "loud"}, "mode"),
        ({"schema": []}, "schema"),
        ({"shcema": {}}, "shcema"),
        ({"description": "x" * (MAX_DESCRIPTION + 1)}, "description"),
        ({"description": "\0"}, "description"),
        ({"sample": 5}, "sample"),
        ({"sample": {"a": [2**60]}}, "sample.a[0]"),
        ({"sample": {"a": "x" * 300_000}}, "sample"),
        ({"schema": SCHEMA, "sample": {"amount": 0}}, "sample.amount"),
        ({"schema": SCHEMA, "mode": "warn", "sample": {}}, "sample.amount"),
    ],
)
def test_a_description_that_is_none_is_422(call: Client, body: Any, field: str) -> None:
    """With the field; nothing is stored."""
    answer = call("PUT", URL, body)

    assert answer.status == 422
    assert answer.json["errors"][0]["field"].replace("'", '"') == field
    assert call("GET", URL).status == 404


@pytest.mark.parametrize("name", ["invoice", "Invoice.paid", "invoice.*", "a." + "b" * 300, "%00.a", "*"])
def test_a_name_that_cannot_be_published_cannot_be_described(call: Client, name: str) -> None:
    """422 when it is written, 404 when it is asked for."""
    url = f"/api/v1/event_types/{name}"

    assert [call(method, url, {} if method == "PUT" else None).status for method in ("PUT", "GET", "DELETE")] == [
        422,
        404,
        404,
    ]


def test_a_schema_that_is_off_asks_nothing_of_the_sample(call: Client) -> None:
    """It is kept for later."""
    answer = call("PUT", URL, {"schema": SCHEMA, "mode": "off", "sample": {"amount": 0}})

    assert (answer.status, answer.json["has_schema"]) == (201, True)
    assert call("POST", "/api/v1/events", BAD).status == 201


# -- what a schema does


def test_reject_refuses_by_place_and_reason(call: Client, context: CallContext) -> None:
    """422, never with the value; of a batch nothing is stored, and the index is named."""
    call("PUT", URL, {"schema": SCHEMA})

    alone = call("POST", "/api/v1/events", BAD)
    batch = call("POST", "/api/v1/events", {"events": [GOOD, {"event": "a.b", "data": {}}, BAD]})

    assert (alone.status, alone.json["code"]) == (422, "invalid_event")
    assert alone.json["errors"] == [
        {
            "code": "schema_mismatch",
            "field": "data.amount",
            "message": "expected integer (the schema of invoice.paid)",
        }
    ]
    assert batch.json["errors"][0]["field"] == "events[2].data.amount"
    assert b"123-45" not in alone.body + batch.body
    assert count_events(context) == 0
    assert call("POST", "/api/v1/events", GOOD).status == 201


def test_warn_takes_the_event_and_says_so(
    call: Client, context: CallContext, clock: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A header, for a batch also a field; one line in the log in ten seconds, without a word of the payload."""
    call("PUT", URL, {"schema": SCHEMA, "mode": "warn"})

    with caplog.at_level(logging.WARNING, "hookline.sender"):
        good = call("POST", "/api/v1/events", GOOD)
        alone = call("POST", "/api/v1/events", BAD)
        batch = call("POST", "/api/v1/events", {"events": [GOOD, BAD]})
        clock.advance(TOLD_EVERY_MS)
        call("POST", "/api/v1/events", BAD)

    assert "hookline-warning" not in good.headers
    assert alone.json["data"] == BAD["data"]
    assert alone.headers["hookline-warning"] == "data.amount: expected integer"
    assert batch.headers["hookline-warning"] == "events[1].data.amount: expected integer"
    assert batch.json["warnings"] == [{"field": "events[1].data.amount", "message": "expected integer"}]
    assert len(batch.json["data"]) == 2
    assert count_events(context) == 5
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "1 event(s) of type invoice.paid" in lines[0]
    assert "2 event(s) of type invoice.paid" in lines[1]
    assert "properties/amount/type" in lines[0]
    assert "123-45" not in "".join(lines)


def test_a_warning_is_a_header_whatever_the_names_are(call: Client) -> None:
    """Line ends and letters beyond ASCII in a member's name stay within the header."""
    call("PUT", URL, {"schema": {"additionalProperties": {"type": "null"}}, "mode": "warn"})

    answer = call("POST", "/api/v1/events", {"event": TYPE, "data": {"é\r\nset-cookie: x": 5}})

    warning = answer.headers["hookline-warning"]
    assert answer.status == 201
    assert warning.isascii()
    assert warning.isprintable()


def test_the_bytes_that_are_sent_are_what_is_checked(call: Client) -> None:
    """`5.0` is an integer, as JSON has it and as it will be sent."""
    call("PUT", URL, {"schema": SCHEMA})

    assert call("POST", "/api/v1/events", raw=b'{"event":"invoice.paid","data":{"amount":5.0}}').status == 201


def test_a_large_batch_is_checked_too(call: Client) -> None:
    """In a thread, with the same result."""
    call("PUT", URL, {"schema": SCHEMA})
    padded = {"event": TYPE, "data": {"amount": 5, "text": "x" * 1_000}}

    taken = call("POST", "/api/v1/events", {"events": [padded] * 200})
    refused = call("POST", "/api/v1/events", {"events": [padded] * 200 + [BAD]})

    assert taken.status == 201
    assert refused.json["errors"][0]["field"] == "events[200].data.amount"


def test_a_repeated_call_gets_its_event_although_the_schema_is_younger(call: Client, context: CallContext) -> None:
    """What was stored stays stored: a repeat is answered as the first call was, another body is refused."""
    key = {"Idempotency-Key": "k"}
    first = call("POST", "/api/v1/events", BAD, headers=key)
    call("PUT", URL, {"schema": SCHEMA})

    repeated = call("POST", "/api/v1/events", BAD, headers=key)
    other_body = call("POST", "/api/v1/events", BAD | {"context": {}}, headers=key)
    other_key = call("POST", "/api/v1/events", BAD, headers={"Idempotency-Key": "other"})

    assert (first.status, repeated.status, repeated.body) == (201, 201, first.body)
    assert (other_body.status, other_key.status) == (409, 422)
    assert count_events(context) == 1
    # A call that was refused has not used up its key.
    assert call("POST", "/api/v1/events", GOOD, headers={"Idempotency-Key": "other"}).status == 201


def test_a_plain_thread_meets_the_same_schema(publisher: Publisher) -> None:
    """Publishing in process is no way round it; a repeat and a warning are the same there."""
    publication = Publication("production", (draft_event(BAD),), IdempotencyKey("k", "publish", "aa"))
    first = publisher.publish_inline(publication)
    publisher.types.put("production", TYPE, schema=SCHEMA)

    with pytest.raises(RequestError, match="expected integer"):
        publisher.publish_inline(Publication("production", (draft_event(BAD),)))
    assert publisher.publish_inline(publication) == first
    publisher.types.put("production", TYPE, schema=SCHEMA, mode="warn")
    published = publisher.publish_inline(Publication("production", draft_batch([GOOD, BAD])))
    assert [item.warning and item.warning.field for item in published] == [None, "events[1].data.amount"]


# -- how soon


def test_a_change_at_another_process_is_seen_within_two_seconds(
    database: Database, store: SenderStore, publisher: Publisher, clock: TurnedClock
) -> None:
    """Until then the schema that was known counts; a clock set back has it read anew."""
    elsewhere = EventTypes(database, store, clock=clock)
    bad = Publication("production", (draft_event(BAD),))
    publisher.publish_inline(bad)
    elsewhere.put("production", TYPE, schema=SCHEMA)
    publisher.publish_inline(bad)

    clock.advance(FRESH_MS)
    with pytest.raises(RequestError):
        publisher.publish_inline(bad)
    elsewhere.delete("production", TYPE)
    clock.set(clock.now_ms() - 1_000)
    publisher.publish_inline(bad)


def test_what_is_asked_is_read_once_for_many_events(
    publisher: Publisher, store: SenderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No query a publish, whether or not a type has a schema."""
    reads: list[int] = []
    rules = store.event_type_rules

    def counted(connection: Any) -> Any:
        reads.append(1)
        return rules(connection)

    monkeypatch.setattr(store, "event_type_rules", counted)
    publisher.types.put("production", TYPE, schema=SCHEMA)
    for _ in range(10):
        publisher.publish_inline(Publication("production", (draft_event(GOOD),)))

    assert len(reads) == 1


def test_a_schema_is_compiled_once(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many events meet it; a changed one anew."""
    compiled: list[Any] = []

    class Counted(PayloadSchema):
        def __init__(self, schema: Any) -> None:
            compiled.append(schema)
            super().__init__(schema)

    monkeypatch.setattr("hookline.sender.schema.PayloadSchema", Counted)
    for limit in (100_001, 100_002):
        publisher.types.put("production", TYPE, schema=SCHEMA | {"maxProperties": limit})
        for _ in range(5):
            publisher.publish_inline(Publication("production", (draft_event(GOOD),)))

    assert [schema["maxProperties"] for schema in compiled] == [100_001, 100_002]
