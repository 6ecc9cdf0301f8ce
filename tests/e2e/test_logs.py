"""The log of a whole run at its most talkative: every line with its ids, and nothing in it that must not be seen.

Secrets, digests, addresses and names are looked for in every test's logs (tests/leaks.py); here they are written about.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline.wire.signature import HEADER, sign
from tests.cli.test_serve import Served, until
from tests.cli.test_serve import start as start  # a fixture
from tests.sender.test_app import Sink

PRODUCTION = "production_key_0123456789"
STAGING = "staging_key_0123456789"
DOOR_SECRET = "whsec_of_the_door_0123456789"
APP = f"""
from hookline import Receiver
hooks = Receiver("sqlite:///app.db", secrets=[{DOOR_SECRET!r}])

@hooks.on("dsync.user.created")
def broken(event, tx):
    raise RuntimeError(f"cannot welcome {{event.data['email']}}")
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def post_signed(served: Served, body: bytes) -> tuple[str, int]:
    """Post a body signed for the door; its signature and the status."""
    signature = sign(body, DOOR_SECRET, timestamp_ms=time.time_ns() // 1_000_000)
    status, _ = served.request("POST", "/webhooks", body, {HEADER: signature, "Content-Type": "application/json"})
    return signature, status


def lines(errors: str) -> list[dict[str, Any]]:
    """The log's records; a line that is none fails."""
    return [json.loads(line) for line in errors.splitlines() if not line.startswith("warning: ")]


def test_a_run_tells_what_happened_and_no_secret(start: Callable[..., Served], sink: Sink, tmp_path: Path) -> None:
    """At debug, with refusals and failures: ids in fields; no key, secret, digest, query, header value or address."""
    (tmp_path / "hooks.py").write_text(APP, encoding="utf-8")
    served = start(
        "--allow-private-targets",
        "--retry-schedule=none",
        LOG_LEVEL="debug",
        LOG_FORMAT="json",
        API_KEY=PRODUCTION,
        STAGING_API_KEY=STAGING,
        APP="hooks:hooks",
        WEBHOOK_SECRETS="",
    )
    sink.statuses = [500, 200]

    def call(method: str, path: str, body: object = None, key: str = PRODUCTION) -> Any:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        _, answer = served.request(method, path, None if body is None else json.dumps(body).encode(), headers)
        return json.loads(answer) if answer else None

    # Two to the sink, one of them with secrets of its own; one to our own door, with a secret that is not the door's.
    header = {"name": "X-Key", "value": "hunter2-of-a-header", "sensitive": True}
    wanted = {"url": f"{sink.url}?token=in-a-query", "events": ["*"], "headers": [header]}
    made = call("POST", "/api/v1/endpoints", wanted)
    call("POST", "/api/v1/endpoints", {"url": f"{served.facts['url']}/webhooks", "events": ["*"]})
    call("POST", f"/api/v1/endpoints/{made['id']}/rotate_secret")
    event = {"event": "dsync.user.created", "data": {"id": "x", "email": "ada@example.com", "first_name": "Ada"}}
    first = call("POST", "/api/v1/events", event)
    second = call("POST", "/api/v1/events", event)
    call("GET", f"/api/v1/events/{first['id']}?api_key={PRODUCTION}")
    call("GET", "/api/v1/endpoints", key="a_wrong_key_0123456789")
    call("POST", "/api/v1/events", {"event": "bad", "data": {"email": "bob@example.com"}})
    served.post_event(1)  # signed with another secret than the door's
    body = json.dumps({**event, "id": "event_of_another", "created_at": "2026-01-01T00:00:00.000Z"}).encode()
    signature, accepted = post_signed(served, body)
    post_signed(served, b"no event at all, kept under its digest")

    def is_done() -> bool:
        found = call("GET", "/api/v1/deliveries?limit=100")["data"]
        return len(found) >= 4 and all(one["state"] in {"succeeded", "failed"} for one in found)

    until(is_done)
    ran = b'hookline_receiver_runs_total{handler="hooks:broken",result="pending"}'
    until(lambda: ran in served.request("GET", "/metrics")[1])
    _, errors = served.stop()

    records = lines(errors)
    told = {(record.get("event_id"), record.get("outcome")) for record in records if record.get("delivery_id")}
    assert accepted == 200
    assert {event_id for event_id, _ in told} == {first["id"], second["id"]}
    assert {outcome for _, outcome in told} == {"failed", "succeeded"}
    attempts = [record for record in records if record.get("delivery_id") and "duration_ms" in record]
    assert {*("event_id", "delivery_id", "endpoint_id", "attempt", "outcome", "reason", "status")} <= attempts[0].keys()
    access = [record for record in records if record["logger"] == "hookline.access"]
    assert all(record["request_id"].startswith("req_") for record in access)
    assert {record["status"] for record in access} >= {200, 201, 401, 422}
    assert any(record.get("handler") == "hooks:broken" and record.get("outcome") == "pending" for record in records)
    assert any(record.get("event_id") == "event_of_another" for record in records)
    hidden = {
        "a wrong key": "a_wrong_key_0123456789",
        "a sensitive header": "hunter2",
        "a query": "in-a-query",
        "a part of a signature": signature.rpartition("=")[2][:16],
    }
    assert [what for what, text in hidden.items() if text in errors] == []
