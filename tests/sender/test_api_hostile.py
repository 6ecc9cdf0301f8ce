"""What no client of good will sends, on either database: every answer is a decision of the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from hookline.sender.app import SenderApp
from hookline.storage import connect

from .conftest import LIVE_KEY, Client


@pytest.fixture
def call(database_url: str) -> Iterator[Client]:
    """A sender with an endpoint, which has an event."""
    database = connect(database_url)
    app = SenderApp(
        database,
        api_keys={"production": LIVE_KEY},
        encryption_keys=[Fernet.generate_key().decode()],
        lookup=lambda _: ["93.184.215.14"],
    )
    call = Client(app)
    call("POST", "/api/v1/endpoints", {"url": "https://hooks.example.com/", "events": ["*"]})
    call("POST", "/api/v1/events", {"event": "invoice.paid", "data": {}})
    yield call
    app.close()
    database.close()


# Text that SQLite holds and PostgreSQL refuses in any statement.
NUL_IN_IDS = [
    ("GET", "/api/v1/endpoints/a\0b"),
    ("HEAD", "/api/v1/endpoints/\0"),
    ("PATCH", "/api/v1/endpoints/\0"),
    ("DELETE", "/api/v1/endpoints/\0"),
    ("GET", "/api/v1/endpoints/\0/versions"),
    ("POST", "/api/v1/endpoints/\0/pause"),
    ("POST", "/api/v1/endpoints/\0/rotate_secret"),
    ("GET", "/api/v1/deliveries/\0"),
    ("GET", "/api/v1/deliveries/\0/explain"),
    ("POST", "/api/v1/deliveries/\0/retry"),
    ("GET", "/api/v1/events/\0"),
    ("GET", "/api/v1/events/\0/explain"),
    ("POST", "/api/v1/events/\0/resend"),
    ("GET", "/api/v1/event_types/invoice.paid\0"),
    ("GET", "/api/v1/replays/\0"),
    ("POST", "/api/v1/replays/\0/cancel"),
    ("GET", "/api/v1/api_keys/\0"),
    ("PATCH", "/webhook_endpoints/\0"),
    ("DELETE", "/webhook_endpoints/\0"),
]
NUL_IN_QUERIES = [
    ("/events?events=invoice.paid%00", "events"),
    ("/events?events=invoice.paid&organization_id=%00", "organization_id"),
    ("/events?events=invoice.paid&after=%00", "after"),
    ("/webhook_endpoints?after=%00", None),
    ("/api/v1/deliveries?type=%00", "type"),
    ("/api/v1/deliveries?endpoint=%00", "endpoint"),
    ("/api/v1/deliveries?event=a%00b", "event"),
    ("/api/v1/deliveries?before=%00", "before"),
    ("/api/v1/endpoints?url=%00", "url"),
    ("/api/v1/audit?action=%00", "action"),
    ("/api/v1/audit?object_id=%00", "object_id"),
    ("/api/v1/replays?after=%00", "after"),
]


def test_no_id_has_nul_in_it(call: Client) -> None:
    """404, as of any other id that nothing has; a method that is none stays 405."""
    answered = [(method, path, call(method, path).status) for method, path in NUL_IN_IDS]

    assert [one for one in answered if one[2] != 404] == []
    assert call("PUT", "/api/v1/endpoints/\0").status == 405


def test_no_filter_has_nul_in_it(call: Client) -> None:
    """422 that names the parameter, where the dialect names any."""
    for path, field in NUL_IN_QUERIES:
        answer = call("GET", path)
        assert (path, answer.status) == (path, 422)
        assert field is None or [error["field"] for error in answer.json["errors"]] == [field]


def test_no_body_names_an_id_with_nul_in_it(call: Client) -> None:
    """422 that names the place."""
    [event] = call("GET", "/events?events=invoice.paid").json["data"]
    [endpoint] = call("GET", "/api/v1/endpoints").json["data"]

    answers = {
        "endpoint_id": call("POST", f"/api/v1/events/{event['id']}/resend", {"endpoint_id": "\0"}),
        "filter.endpoints[0]": call("POST", "/api/v1/replays", {"filter": {"endpoints": ["\0"]}}),
        "event": call("POST", f"/api/v1/endpoints/{endpoint['id']}/test", {"event": "\0"}),
        "name": call("POST", "/api/v1/api_keys", {"name": "\0"}),
    }

    for field, answer in answers.items():
        assert answer.status == 422
        assert [error["field"] for error in answer.json["errors"]] == [field]


def test_a_misspelt_filter_is_no_filter(call: Client) -> None:
    """422 that names it and what there is; on the routes that WorkOS's clients call it is passed over."""
    refused = call("GET", "/api/v1/deliveries?endpiont=we_1&state=failed")
    bare = call("POST", "/api/v1/api_keys?nmae=x")

    assert (refused.status, bare.status) == (422, 422)
    [error] = refused.json["errors"]
    assert (error["code"], error["field"]) == ("unknown", "endpiont")
    assert "known are after, before, endpoint, event, limit, order, state, type" in error["message"]
    assert call("GET", "/api/v1/api_keys").json["data"] == []
    assert call("GET", "/webhook_endpoints?endpiont=we_1").status == 200
    assert call("GET", "/events?events=invoice.paid&endpiont=we_1").status == 200
