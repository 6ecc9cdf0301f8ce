"""Whatever is sent, the answer is a decision of the API: no 5xx, JSON with a message, nothing broken after."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Client

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
MEMBERS = [
    "endpoint_url",
    "events",
    "status",
    "url",
    "description",
    "deliver",
    "since",
    "event",
    "data",
    "context",
    "created_at",
    "organization_id",
]
BODIES = JSON | st.dictionaries(st.sampled_from(MEMBERS), JSON | st.just("dsync.user.created"), max_size=8)
CALLS = [
    ("POST", "/webhook_endpoints"),
    ("PATCH", "/webhook_endpoints/{id}"),
    ("POST", "/api/v1/endpoints"),
    ("PATCH", "/api/v1/endpoints/{id}"),
    ("POST", "/api/v1/endpoints/{id}/resume"),
    ("POST", "/api/v1/events"),
]
LISTS = ["/webhook_endpoints", "/events", "/api/v1/endpoints", "/api/v1/deliveries"]
PARAMETERS = [
    "limit",
    "before",
    "after",
    "order",
    "events",
    "events[]",
    "events[0]",
    "organization_id",
    "range_start",
    "range_end",
    "state",
    "endpoint",
    "event",
    "type",
]
FUZZ = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check(answer: Any) -> None:
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        assert answer.message
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_any_json_gets_an_answer(call: Client, method: str, path: str) -> None:
    """Values of every type in every place, lone surrogates and NaN among them."""
    made = call("POST", "/api/v1/endpoints", {"url": "https://a.example.com/", "events": ["*"]}).json

    @FUZZ
    @given(body=BODIES)
    def send(body: Any) -> None:
        check(call(method, path.replace("{id}", made["id"]), raw=json.dumps(body).encode()))

    send()
    assert call("GET", "/webhook_endpoints").status == 200


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_any_bytes_get_an_answer(call: Client, method: str, path: str) -> None:
    """Not JSON, not UTF-8, not there."""

    @FUZZ
    @given(raw=st.binary(max_size=60))
    def send(raw: bytes) -> None:
        check(call(method, path.replace("{id}", "we_unknown"), raw=raw))

    send()


@pytest.mark.parametrize("path", LISTS)
def test_any_parameters_get_an_answer(call: Client, path: str) -> None:
    """Known names with any text, percent-encoded or raw bytes."""

    @FUZZ
    @given(parameters=st.lists(st.tuples(st.sampled_from(PARAMETERS), TEXT | st.binary(max_size=8)), max_size=5))
    def ask(parameters: list[tuple[str, str | bytes]]) -> None:
        encoded = [
            f"{quote(name)}={quote(value if isinstance(value, bytes) else value.encode('utf-8', 'surrogatepass'))}"
            for name, value in parameters
        ]
        check(call("GET", f"{path}?{'&'.join(encoded)}"))

    ask()
