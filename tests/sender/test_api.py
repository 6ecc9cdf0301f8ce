"""The API's shell: keys, request ids, sizes, methods, errors, and publishing."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hookline.errors import OutcomeUnknown, RequestError, StorageUnavailable
from hookline.sender.api import MAX_BODY_BYTES, error_body, is_sender_path
from hookline.sender.api_parts import CallContext
from hookline.storage import Database

from .conftest import LIVE_KEY, TEST_KEY, Client

EVENT = {"event": "dsync.user.created", "data": {"id": "directory_user_1"}}
EVENTS_URL = "/events?events=dsync.user.created&limit=100"


def new_endpoint(call: Client, host: str = "a", **fields: Any) -> Any:
    body = {"url": f"https://{host}.example.com/hooks", "events": ["*"]} | fields
    answer = call("POST", "/api/v1/endpoints", body)
    assert answer.status == 201, answer.body
    return answer.json


# -- who is asking


@pytest.mark.parametrize("path", ["/webhook_endpoints", "/events?events=a.b", "/api/v1/events", "/api/v1/x"])
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer sk_live_wrong", "Basic c2s6", "sk_live_for_tests"]
)
def test_no_valid_key_is_401(call: Client, path: str, authorization: str | None) -> None:
    """In the dialect of the path, whatever was wrong with the header."""
    call.key = None

    answer = call("GET", path, headers={} if authorization is None else {"Authorization": authorization})

    assert (answer.status, answer.message) == (401, "Unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert path.startswith("/api/") or answer.body == b'{"message":"Unauthorized"}'


def test_a_key_is_asked_for_before_the_body_is_read(call: Client) -> None:
    """A stranger's malformed or giant body is 401, not 400 or 413."""
    call.key = None

    malformed = call("POST", "/webhook_endpoints", raw=b"{")
    giant = call("POST", "/api/v1/events", raw=b"x", headers={"Content-Length": str(MAX_BODY_BYTES + 1)})

    assert (malformed.status, giant.status) == (401, 401)


def test_a_forgotten_content_type_is_named(call: Client) -> None:
    """curl's own `-d` sends a form's type: the refusal says which one is expected."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = call("POST", "/webhook_endpoints", {"endpoint_url": "https://a.example", "events": []}, headers=form)

    assert answer.status == 422
    assert "Content-Type: application/json" in answer.json["errors"][0]["message"]


def test_the_scheme_is_read_in_any_case(call: Client) -> None:
    """RFC 9110: the scheme is case-insensitive."""
    call.key = None

    assert call("GET", "/webhook_endpoints", headers={"Authorization": "bEARER sk_live_for_tests"}).status == 200


def test_environments_are_two_worlds(call: Client) -> None:
    """What one key makes the other does not see: endpoints, events, deliveries."""
    endpoint = new_endpoint(call)
    event = call("POST", "/api/v1/events", EVENT).json
    delivery = call("GET", "/api/v1/deliveries").json["data"][0]
    call.key = TEST_KEY

    assert call("GET", "/webhook_endpoints").json["data"] == []
    assert call("GET", EVENTS_URL).json["data"] == []
    assert call("GET", "/api/v1/deliveries").json["data"] == []
    assert call("GET", f"/api/v1/endpoints/{endpoint['id']}").status == 404
    assert call("PATCH", f"/webhook_endpoints/{endpoint['id']}", {"status": "disabled"}).status == 404
    assert call("DELETE", f"/webhook_endpoints/{endpoint['id']}").status == 404
    assert call("GET", f"/api/v1/events/{event['id']}").status == 404
    assert call("POST", f"/api/v1/deliveries/{delivery['id']}/retry").status == 404
    assert call("GET", f"{EVENTS_URL}&after={event['id']}").status == 422


# -- every answer


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/webhook_endpoints"),
        ("POST", "/api/v1/events"),
        ("GET", "/nowhere"),
        ("PUT", "/events"),
        ("GET", "/healthz"),
    ],
)
def test_every_answer_has_its_own_request_id(call: Client, method: str, path: str) -> None:
    """Good or bad, framework or not."""
    first, second = call(method, path), call(method, path)

    assert first.headers["x-request-id"].startswith("req_")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/webhook_endpoints", "GET, HEAD, POST"),
        ("PUT", "/webhook_endpoints/we_1", "DELETE, PATCH"),
        ("GET", "/webhook_endpoints/we_1", "DELETE, PATCH"),
        ("HEAD", "/webhook_endpoints/we_1", "DELETE, PATCH"),
        ("POST", "/events", "GET, HEAD"),
        ("GET", "/api/v1/events", "POST"),
        ("HEAD", "/api/v1/events", "POST"),
        ("DELETE", "/healthz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_with_the_right_ones(call: Client, method: str, path: str, allow: str) -> None:
    """Allow lists every method of the path."""
    answer = call(method, path)

    assert (answer.status, answer.headers["allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["/webhook_endpoints", EVENTS_URL, "/healthz", "/openapi.json"])
def test_head_answers_as_get_without_the_body(call: Client, path: str) -> None:
    """Same status and length."""
    head, get = call("HEAD", path), call("GET", path)

    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/v1/nowhere", "/webhook_endpoints/", "/events/x"])
def test_an_unknown_path_is_404(call: Client, path: str) -> None:
    """No redirect, a JSON body."""
    answer = call("GET", path)

    assert (answer.status, answer.message) == (404, "Not Found")


def test_paths_of_the_sender_are_known() -> None:
    """A process that serves more than the sender can ask."""
    assert all(is_sender_path(path) for path in ("/events", "/events/x", "/webhook_endpoints/we_1", "/readyz"))
    assert not any(is_sender_path(path) for path in ("/", "/webhooks", "/eventsource", "/dashboard"))


@pytest.mark.parametrize("path", ["/webhook_endpoints", "/api/v1/endpoints", "/api/v1/events"])
@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}", b"null", b"[]", b'"text"', b"5"]
)
def test_a_body_that_is_no_request_is_a_4xx(call: Client, path: str, raw: bytes) -> None:
    """Malformed JSON is 400, other shapes 422, and never 500."""
    answer = call("POST", path, raw=raw)

    assert answer.status in (400, 422)
    assert answer.message


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"event": "a.b", "data": {}'])
@pytest.mark.parametrize("path", ["/webhook_endpoints", "/api/v1/endpoints", "/api/v1/events"])
def test_malformed_json_is_400(call: Client, path: str, raw: bytes) -> None:
    """And says so."""
    answer = call("POST", path, raw=raw)

    assert (answer.status, answer.json["code"]) == (400, "malformed_json")


def test_a_body_over_the_limit_is_413(call: Client) -> None:
    """Declared or not; nothing is stored."""
    declared = call("POST", "/api/v1/events", raw=b"{}", headers={"Content-Length": str(MAX_BODY_BYTES + 1)})
    absurd = call("POST", "/api/v1/events", raw=b"{}", headers={"Content-Length": "9" * 5000})
    sent = call("POST", "/webhook_endpoints", raw=b" " * (MAX_BODY_BYTES + 1), headers={"Content-Length": "2"})

    assert [answer.status for answer in (declared, absurd, sent)] == [413, 413, 413]


def test_a_client_that_goes_away_gets_no_answer_and_does_no_harm(call: Client) -> None:
    """A request cut off in the middle of its body stores nothing."""

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(f"nobody is there to be sent {message}")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/events",
        "headers": [(b"authorization", b"Bearer sk_live_for_tests")],
    }
    asyncio.run(call.app(scope, receive, send))

    assert call("GET", EVENTS_URL).json["data"] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageUnavailable("the disk is full"), "storage_unavailable"),
        (OutcomeUnknown("the disk failed during the commit"), "outcome_unknown"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/events", EVENT),
        ("POST", "/webhook_endpoints", {"endpoint_url": "https://a.com/", "events": ["dsync.user.created"]}),
        ("DELETE", "/webhook_endpoints/we_1", None),
    ],
)
def test_storage_trouble_is_503_and_one_log_line(
    call: Client,
    context: CallContext,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: str,
    method: str,
    path: str,
    body: Any,
) -> None:
    """With Retry-After, on the hot path and elsewhere; nothing is written."""

    def away(_work: Any) -> None:
        raise error

    monkeypatch.setattr(context.database, "run", away)
    with caplog.at_level(logging.WARNING, "hookline"):
        answer = call(method, path, body)
    monkeypatch.undo()

    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, code, "1")
    assert len(caplog.records) == 1
    assert str(error) in caplog.text
    assert answer.headers["x-request-id"] in caplog.text
    assert call("GET", "/webhook_endpoints").json["data"] == []


def test_an_outage_is_told_once_and_so_is_its_end(
    call: Client, context: CallContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is refused meanwhile and whoever reads: one line when it begins, one when something is stored again."""
    body = {"endpoint_url": "https://a.com/", "events": ["dsync.user.created"]}

    def away(_work: Any) -> None:
        raise StorageUnavailable("the disk is full")

    caplog.set_level(logging.INFO, "hookline")
    monkeypatch.setattr(context.database, "run", away)
    refused = [call("POST", path, sent) for path, sent in (("/api/v1/events", EVENT), ("/webhook_endpoints", body)) * 3]
    call("GET", "/webhook_endpoints")
    monkeypatch.undo()
    stored = [call("POST", "/webhook_endpoints", body), call("POST", "/api/v1/events", EVENT)]

    assert [answer.status for answer in refused + stored] == [503] * 6 + [201] * 2
    begun, ended = caplog.messages
    assert "the disk is full" in begun
    assert "again, after 6 failures" in ended


def _locked(database: Database, folder: Path) -> Iterator[None]:
    with database.transaction() as connection:
        connection.execute("pragma busy_timeout = 50")
    other = sqlite3.connect(folder / "hookline.db", isolation_level=None)
    other.execute("begin immediate")
    yield
    other.execute("rollback")
    other.close()


def _full(database: Database, _folder: Path) -> Iterator[None]:
    with database.transaction() as connection:
        [[pages]] = connection.execute("pragma page_count").fetchall()
        connection.execute(f"pragma max_page_count = {pages}")
    yield
    with database.transaction() as connection:
        connection.execute("pragma max_page_count = 1073741823")


def _unwritable(database: Database, _folder: Path) -> Iterator[None]:
    with database.transaction() as connection:
        connection.execute("pragma query_only = on")
    yield
    connection.execute("pragma query_only = off")


@pytest.mark.parametrize("trouble", [_locked, _full, _unwritable])
def test_a_locked_full_or_unwritable_database_is_503(
    call: Client,
    context: CallContext,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    trouble: Callable[[Database, Path], Iterator[None]],
) -> None:
    """By SQLite itself: nothing of the refused batch is there, one line per call, and then it works again."""
    new_endpoint(call)
    # Too large for what is free in the file's last pages.
    batch = {"events": [EVENT | {"data": {"text": "x" * 10_000}}] * 20}
    state = contextmanager(trouble)(context.database, tmp_path)

    with state, caplog.at_level(logging.WARNING, "hookline"):
        refused = call("POST", "/api/v1/events", batch, headers={"Idempotency-Key": "k"})
        lines = len(caplog.records)
        listed = call("GET", EVENTS_URL)
    counts = [call("GET", url).json["data"] for url in (EVENTS_URL, "/api/v1/deliveries")]
    repeated = call("POST", "/api/v1/events", batch, headers={"Idempotency-Key": "k"})

    assert (refused.status, refused.json["code"]) == (503, "storage_unavailable")
    assert lines == 1
    assert listed.status == 200
    assert counts == [[], []]
    assert repeated.status == 201
    assert len(call("GET", EVENTS_URL).json["data"]) == 20


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/events"), ("DELETE", "/webhook_endpoints/we_1")])
def test_an_unexpected_error_is_500_without_its_text(
    call: Client,
    context: CallContext,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
) -> None:
    """The traceback goes to the log, by request id, once; the caller learns nothing of the inside."""

    def broken(_work: Any) -> None:
        raise LookupError("inner detail")

    monkeypatch.setattr(context.database, "run", broken)

    answer = call(method, path, EVENT if method == "POST" else None)

    assert (answer.status, answer.json["code"]) == (500, "internal_error")
    assert b"inner detail" not in answer.body
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert answer.headers["x-request-id"] in errors[0].getMessage()


def test_errors_speak_the_dialect_of_their_resource() -> None:
    """Endpoints say code and message, events code and field, our own API all three."""
    error = RequestError(422, "invalid", "no", [{"code": "c", "field": "f", "message": "m"}])

    assert error_body(error, "endpoints", "req_1") == {
        "code": "invalid",
        "message": "no",
        "errors": [{"code": "c", "message": "m"}],
    }
    assert error_body(error, "events", "req_1") == {
        "message": "Validation failed.",
        "errors": [{"code": "c", "field": "f"}],
    }
    assert error_body(error, "own", "req_1")["errors"] == [{"code": "c", "field": "f", "message": "m"}]


# -- what a process says of itself


def test_health_and_readiness_need_no_key(call: Client) -> None:
    """/healthz answers while the process lives, /readyz says what keeps it from working."""
    call.key = None
    ready = call("GET", "/readyz")
    call.problems.append("the database is not available")

    not_ready = call("GET", "/readyz")

    assert call("GET", "/healthz").status == 200
    assert ready.status == 200
    assert (not_ready.status, not_ready.json["problems"]) == (503, ["the database is not available"])


def test_the_description_has_every_operation(call: Client) -> None:
    """OpenAPI names the paths of both dialects, publishing too, and every reference in it resolves."""
    call.key = None

    document = call("GET", "/openapi.json").json

    assert {"/webhook_endpoints", "/events", "/api/v1/events", "/api/v1/deliveries/{delivery_id}/retry"} <= set(
        document["paths"]
    )
    assert set(document["paths"]["/api/v1/events"]) == {"post"}
    references = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])


# -- publishing


def test_a_published_event_is_answered_as_it_is_stored(call: Client) -> None:
    """201 with the very bytes that GET /events and a delivery have."""
    answer = call("POST", "/api/v1/events", EVENT | {"organization_id": "org_1", "context": {"a": "b"}})

    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["object"] == "event"
    assert set(answer.json) == {"object", "id", "event", "data", "created_at", "context"}
    assert call("GET", f"/api/v1/events/{answer.json['id']}").body == answer.body
    assert answer.body in call("GET", EVENTS_URL).body


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, True),
        ({"traceparent": "00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, False),
        ({}, False),
    ],
)
def test_the_trace_of_the_request_stays_with_the_event(
    call: Client, context: CallContext, headers: dict[str, str], kept: bool
) -> None:
    """A traceparent that is none costs nobody the event."""
    assert call("POST", "/api/v1/events", EVENT, headers=headers).status == 201

    with context.database.read() as connection:
        rows = connection.execute("select traceparent from hookline_sender_events").fetchall()
    assert rows == [(headers["traceparent"] if kept else None,)]


def test_a_batch_answers_ids_in_order(call: Client) -> None:
    """`{"data": [{"id": …}, …]}`, in the order of the request."""
    events = [EVENT | {"data": {"n": turn}} for turn in range(50)]

    answer = call("POST", "/api/v1/events", {"events": events})

    assert (answer.status, list(answer.json)) == (201, ["data"])
    listed = call("GET", EVENTS_URL).json["data"]
    assert [item["id"] for item in answer.json["data"]] == [item["id"] for item in listed]
    assert [item["data"]["n"] for item in listed] == list(range(50))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": []}, "events"),
        ({"events": [EVENT] * 1001}, "events"),
        ({"events": [EVENT, {"event": "a.b", "data": {"n": 2**60}}]}, "events[1].data.n"),
        ({"event": "a.b", "data": {"n": 1e400}}, "data.n"),
    ],
)
def test_one_bad_event_stores_nothing(call: Client, body: Any, field: str) -> None:
    """422 naming the place; the good ones of the batch are not there."""
    answer = call("POST", "/api/v1/events", body)

    assert (answer.status, answer.json["code"]) == (422, "invalid_event")
    assert answer.json["errors"][0]["field"] == field
    assert call("GET", EVENTS_URL).json["data"] == []


def test_a_repeated_member_is_refused(call: Client) -> None:
    """Duplicate keys have no one meaning: 422 with the path."""
    answer = call("POST", "/api/v1/events", raw=b'{"event":"a.b","data":{"x":{"y":1,"y":2}}}')

    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "data.x.y")


def test_a_batch_is_events_alone(call: Client) -> None:
    """`events` beside `event` is a mistake, not a choice for us to make."""
    assert call("POST", "/api/v1/events", EVENT | {"events": [EVENT]}).status == 422


def test_a_large_batch_is_taken(call: Client) -> None:
    """A thousand events of a kilobyte, decoded off the loop."""
    events = [EVENT | {"data": {"n": turn, "text": "x" * 1000}} for turn in range(1000)]

    answer = call("POST", "/api/v1/events", {"events": events})

    assert (answer.status, len(answer.json["data"])) == (201, 1000)


def test_large_batches_take_turns(call: Client, context: CallContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than four at once, whatever the number of callers; all are answered."""
    body = json.dumps({"events": [EVENT | {"data": {"text": "x" * 1000}}] * 100}).encode()
    publish, running, most = context.publisher.publish, 0, 0

    async def counted(publication: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await publish(publication)
        finally:
            running -= 1

    monkeypatch.setattr(context.publisher, "publish", counted)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(
            *(call.ask("POST", "/api/v1/events", body, {"authorization": f"Bearer {call.key}"}) for _ in range(12))
        )

    answers = asyncio.run(all_at_once())

    assert [answer.status for answer in answers] == [201] * 12
    assert most == 4


def test_a_repeated_publish_is_the_first_one_again(call: Client) -> None:
    """Same key and body: same status, same bytes, one event."""
    headers = {"Idempotency-Key": "one"}
    first = call("POST", "/api/v1/events", EVENT, headers=headers)
    batch = call("POST", "/api/v1/events", {"events": [EVENT]}, headers={"Idempotency-Key": "two"})

    again = call("POST", "/api/v1/events", EVENT, headers=headers)
    batch_again = call("POST", "/api/v1/events", {"events": [EVENT]}, headers={"Idempotency-Key": "two"})

    assert (again.status, again.body) == (first.status, first.body)
    assert batch_again.json == batch.json
    assert len(call("GET", EVENTS_URL).json["data"]) == 2


def test_a_key_used_for_something_else_is_409(call: Client) -> None:
    """Another body, or another operation; another environment's keys are its own."""
    headers = {"Idempotency-Key": "one"}
    call("POST", "/api/v1/events", EVENT, headers=headers)

    other_body = call("POST", "/api/v1/events", EVENT | {"data": {}}, headers=headers)
    other_call = call("POST", "/api/v1/endpoints", {"url": "https://a.com/", "events": ["*"]}, headers=headers)
    call.key = TEST_KEY
    elsewhere = call("POST", "/api/v1/events", EVENT | {"data": {}}, headers=headers)

    assert (other_body.status, other_body.json["code"]) == (409, "idempotency_key_reused")
    assert (other_call.status, other_call.json["code"]) == (409, "idempotency_key_reused")
    assert elsewhere.status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "schlüssel"])
def test_a_key_that_is_none_is_422(call: Client, key: str) -> None:
    """1 to 255 printable ASCII characters, on every POST that takes one."""
    event = call("POST", "/api/v1/events", EVENT, headers={"Idempotency-Key": key})
    endpoint = call(
        "POST",
        "/api/v1/endpoints",
        {"url": "https://a.com/", "events": ["*"]},
        headers={"Idempotency-Key": key},
    )

    assert (event.status, endpoint.status) == (422, 422)


def test_a_refused_publish_does_not_use_up_its_key(call: Client) -> None:
    """The corrected request may use the same key."""
    headers = {"Idempotency-Key": "one"}
    refused = call("POST", "/api/v1/events", {"event": "a.b"}, headers=headers)

    corrected = call("POST", "/api/v1/events", EVENT, headers=headers)

    assert (refused.status, corrected.status) == (422, 201)


# -- behind a real server


def test_publishing_over_a_real_connection(base_url: str, call: Client) -> None:
    """Chunked and plain bodies on one kept connection; the answers are whole and in order."""
    host = base_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    headers = {"Authorization": f"Bearer {LIVE_KEY}", "Content-Type": "application/json"}
    body = json.dumps(EVENT).encode()
    ids = []
    for content in (body, iter([body[:10], body[10:]]), body):
        connection.request("POST", "/api/v1/events", content, headers)
        response = connection.getresponse()
        assert response.status == 201
        ids.append(json.loads(response.read())["id"])
    connection.request("HEAD", "/webhook_endpoints", headers=headers)
    head = connection.getresponse()
    nothing = head.read()
    connection.close()

    assert [event["id"] for event in call("GET", EVENTS_URL).json["data"]] == ids
    assert (head.status, nothing) == (200, b"")


def test_a_giant_body_is_refused_while_it_is_sent(base_url: str) -> None:
    """413 without reading to the end; the server goes on."""
    host = base_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    headers = {"Authorization": f"Bearer {LIVE_KEY}", "Content-Length": str(MAX_BODY_BYTES * 100)}

    connection.putrequest("POST", "/api/v1/events")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    refusal = json.loads(response.read())
    connection.close()

    assert (response.status, refusal["code"]) == (413, "body_too_large")
