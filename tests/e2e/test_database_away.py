"""PostgreSQL goes away under a running server: each write is refused with 503, and nothing of it is there after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.postgres import make_cluster

from .processes import API_KEY, SECRET, Answer, Served, ask, call, deliver, serving, wait_for

TYPE = "dsync.user.created"
EVENT = {"event": TYPE, "data": {"object": "directory_user", "id": "directory_user_1", "directory_id": "directory_1"}}
ENDPOINT = {"endpoint_url": "http://127.0.0.1:9/", "events": [TYPE]}
# What is asked while it is away: (method, path, body). `{endpoint}` and `{key}` are of what was made before.
OURS: list[tuple[str, str, Any]] = [
    ("POST", "/api/v1/events", EVENT),
    ("POST", "/api/v1/events", {"events": [EVENT, EVENT]}),
    ("POST", "/api/v1/endpoints", {"url": "http://127.0.0.1:9/other", "events": ["*"]}),
    ("PATCH", "/api/v1/endpoints/{endpoint}", {"description": "changed"}),
    ("POST", "/api/v1/endpoints/{endpoint}/pause", None),
    ("POST", "/api/v1/endpoints/{endpoint}/rotate_secret", {}),
    ("DELETE", "/api/v1/endpoints/{endpoint}", None),
    ("POST", "/api/v1/replays", {"filter": {"events": [TYPE]}}),
    ("GET", "/api/v1/deliveries", None),
]
COMPATIBLE: list[tuple[str, str, Any]] = [
    ("GET", f"/events?events={TYPE}", None),
    ("GET", "/webhook_endpoints", None),
    ("POST", "/webhook_endpoints", ENDPOINT | {"endpoint_url": "http://127.0.0.1:9/third"}),
    ("DELETE", "/webhook_endpoints/{endpoint}", None),
]


def everything(served: Served) -> dict[str, Any]:
    """What the API tells of endpoints, events and deliveries, but for what an attempt changes."""
    endpoints = call(served, "GET", "/api/v1/endpoints").json["data"]
    for endpoint in endpoints:
        del endpoint["health"]
    events = call(served, "GET", f"/events?events={TYPE}").json["data"]
    return {"endpoints": endpoints, "events": [event["id"] for event in events]}


def test_nothing_is_written_and_everything_works_again(tmp_path: Path) -> None:
    cluster = make_cluster()
    settings: dict[str, Any] = {
        "database_url": cluster.url(cluster.create()),
        "encryption_key": Fernet.generate_key().decode(),
        "api_key": API_KEY,
        "allow_private_targets": "true",
        "webhook_secrets": SECRET,
    }
    try:
        with serving("all", tmp_path, **settings) as served:
            endpoint = call(served, "POST", "/webhook_endpoints", ENDPOINT).json["id"]
            assert call(served, "POST", "/api/v1/events", EVENT, Idempotency_Key="before").status == 201
            before = everything(served)
            cluster.crash()

            def refused(method: str, path: str, body: Any) -> Answer:
                answer = call(served, method, path.format(endpoint=endpoint), body, Idempotency_Key="while-away")
                assert answer.status == 503, (method, path, answer.status, answer.body)
                assert int(answer.headers["retry-after"]) > 0
                return answer

            for one in OURS:
                problem = refused(*one)
                assert problem.headers["content-type"] == "application/problem+json", one
                assert (problem.json["status"], bool(problem.json["detail"])) == (503, True)
            for one in COMPATIBLE:
                assert refused(*one).json["message"], one
            assert deliver(served, webhook("event_1")).status == 503
            assert ask("GET", served.url + "/healthz").status == 200
            assert ask("GET", served.url + "/readyz").status == 503

            cluster.start()
            wait_for(lambda: ask("GET", served.url + "/readyz").status == 200, "it is ready again")
            assert everything(served) == before
            # The key of a call that was refused is free: the same call is done now, and once.
            first, again = (call(served, "POST", "/api/v1/events", EVENT, Idempotency_Key="while-away") for _ in "12")
            assert (first.status, again.status) == (201, 201)
            assert first.json["id"] == again.json["id"]
            assert len(everything(served)["events"]) == len(before["events"]) + 1
            assert deliver(served, webhook("event_1")).status == 200
            assert served.stop() == 0
    finally:
        cluster.stop()


def webhook(event_id: str) -> bytes:
    return json.dumps({"id": event_id, "created_at": "2026-01-01T00:00:00.000Z", **EVENT}).encode()
