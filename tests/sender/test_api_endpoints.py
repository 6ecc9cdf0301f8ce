"""Endpoints under /api/v1 in full: every field, null and absent, secrets, rotation, versions, filters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hookline.sender.api_parts import CallContext
from hookline.testing.clock import TurnedClock
from hookline.wire.standard import secret_form

from .conftest import TEST_KEY, Answer, Client

FULL: dict[str, Any] = {
    "description": "billing",
    "timeout_s": 2.5,
    "rate_limit_per_min": 60,
    "headers": [
        {"name": "X-Tenant", "value": "acme", "sensitive": False},
        {"name": "X-Token", "value": "t0ken-in-clear", "sensitive": True},
    ],
    "standard_webhooks": True,
    "schedule": [1.5, 60],
}


def create(call: Client, host: str = "a", **fields: Any) -> Answer:
    return call("POST", "/api/v1/endpoints", {"url": f"https://{host}.example.com/", "events": ["*"]} | fields)


@pytest.fixture
def endpoint(call: Client) -> Any:
    return create(call).json


def patch(call: Client, endpoint: Any, body: Any) -> Answer:
    return call("PATCH", f"/api/v1/endpoints/{endpoint['id']}", body)


def fields_of(answer: Answer) -> set[str]:
    return {item["field"] for item in answer.json["errors"]}


# -- every field


def test_every_field_is_kept_and_shown(call: Client) -> None:
    """As it was given, but for sensitive values, which are null on every read."""
    created = create(call, **FULL).json
    read = call("GET", f"/api/v1/endpoints/{created['id']}").json

    assert {name: read[name] for name in FULL} == FULL | {
        "headers": [FULL["headers"][0], {"name": "X-Token", "value": None, "sensitive": True}]
    }
    assert read == created | {"secret": read["secret"]}


def test_what_is_left_out_has_a_default(endpoint: Any) -> None:
    """No limits, no headers, the environment's schedule, healthy, no rotation."""
    assert {name: endpoint[name] for name in FULL} == {
        "description": None,
        "timeout_s": None,
        "rate_limit_per_min": None,
        "headers": [],
        "standard_webhooks": False,
        "schedule": None,
    }
    assert endpoint["health"] == {
        "failing_since": None,
        "failed_attempts": 0,
        "warned_percent": 0,
        "half_open": False,
    }
    assert endpoint["rotation"] is None


@pytest.mark.parametrize("name", ["description", "timeout_s", "rate_limit_per_min", "headers", "schedule"])
def test_null_empties_a_field_and_absence_leaves_it(call: Client, name: str) -> None:
    """Of a full endpoint one field is emptied; the others stay."""
    before = create(call, **FULL).json

    after = patch(call, before, {name: None}).json

    changed = {field for field in FULL if after[field] != before[field]}
    assert (changed, after[name]) == ({name}, [] if name == "headers" else None)


@pytest.mark.parametrize("name", ["url", "status", "events", "standard_webhooks"])
def test_null_leaves_a_field_that_cannot_be_empty(call: Client, name: str) -> None:
    """It is the same as leaving it out: nothing changes, the version neither."""
    before = create(call, **FULL).json

    after = patch(call, before, {name: None}).json

    assert after == before | {"secret": after["secret"]}


def test_each_field_can_be_changed(call: Client, endpoint: Any) -> None:
    """All at once, one version further."""
    after = patch(call, endpoint, FULL).json

    assert (after["timeout_s"], after["rate_limit_per_min"], after["standard_webhooks"]) == (2.5, 60, True)
    assert (after["description"], after["schedule"], len(after["headers"])) == ("billing", [1.5, 60], 2)
    assert after["version"] == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"timeout_s": 0.5}, "timeout_s"),
        ({"timeout_s": 30.5}, "timeout_s"),
        ({"timeout_s": "5"}, "timeout_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"rate_limit_per_min": 0}, "rate_limit_per_min"),
        ({"rate_limit_per_min": 1.5}, "rate_limit_per_min"),
        ({"rate_limit_per_min": "60"}, "rate_limit_per_min"),
        ({"standard_webhooks": "yes"}, "standard_webhooks"),
        ({"standard_webhooks": 1}, "standard_webhooks"),
        ({"schedule": [1, 2, 3, 4, 5, 6, 7]}, "schedule"),
        ({"schedule": [0]}, "schedule[0]"),
        ({"schedule": [200_000, 100_000]}, "schedule"),
        ({"schedule": "1s"}, "schedule"),
        ({"headers": {"X-A": "b"}}, "headers"),
        ({"headers": [{"name": "X-A"}]}, "headers[0].value"),
        ({"headers": [{"name": "X-A", "value": "b", "secret": True}]}, "headers[0].secret"),
        ({"headers": [{"name": "Content-Length", "value": "1"}]}, "headers"),
        ({"headers": [{"name": "X-A", "value": "b\r\nX-B: c"}]}, "headers"),
        ({"headers": [{"name": "x-a", "value": "b"}, {"name": "X-A", "value": "c"}]}, "headers"),
        ({"description": "a\x00b"}, "description"),
        ({"status": "paused"}, "status"),
        ({"url": "http://a.example.com/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"events": ["nonsense"]}, "events"),
        ({"events": []}, "events"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_field_that_is_wrong_is_named_and_nothing_changes(call: Client, endpoint: Any, body: Any, field: str) -> None:
    """Problem details: the field, the reason, and no value of a header."""
    answer = patch(call, endpoint, body)

    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert fields_of(answer) == {field}
    assert all(item["message"] for item in answer.json["errors"])
    assert call("GET", f"/api/v1/endpoints/{endpoint['id']}").json["version"] == 1


def test_a_url_that_is_taken_is_409_and_names_the_field(call: Client, endpoint: Any) -> None:
    """On create and on change."""
    other = create(call, "b").json

    assert [
        (a.status, a.json["code"], fields_of(a)) for a in (create(call), patch(call, other, {"url": endpoint["url"]}))
    ] == [(409, "duplicate_endpoint", {"url"})] * 2


@pytest.mark.parametrize("given", [60, 60.0])
def test_a_whole_number_may_be_written_with_a_point(call: Client, endpoint: Any, given: Any) -> None:
    """JSON has one kind of number: 60.0 is an integer to JSON Schema, and so to us."""
    assert patch(call, endpoint, {"rate_limit_per_min": given}).json["rate_limit_per_min"] == 60


# -- headers


def test_a_sensitive_header_that_is_sent_back_as_read_stays(call: Client, context: CallContext) -> None:
    """What a client reads it may write: null stands for the value that is kept; a new value replaces it."""
    created = create(call, **FULL).json

    patch(call, created, {"headers": call("GET", f"/api/v1/endpoints/{created['id']}").json["headers"]})
    kept = headers_in_clear(context, created["id"])
    patch(call, created, {"headers": [{"name": "x-token", "value": "another", "sensitive": True}]})
    replaced = headers_in_clear(context, created["id"])

    assert kept == [("X-Tenant", "acme"), ("X-Token", "t0ken-in-clear")]
    assert replaced == [("x-token", "another")]


def test_an_authorization_header_is_sensitive_whatever_is_said(call: Client) -> None:
    """Names that always carry secrets are masked."""
    created = create(call, headers=[{"name": "Authorization", "value": "Basic abc", "sensitive": False}])

    assert created.json["headers"] == [{"name": "Authorization", "value": None, "sensitive": True}]


def test_header_values_rest_encrypted(call: Client, context: CallContext) -> None:
    """The row holds no value in clear, sensitive or not."""
    create(call, **FULL)

    with context.database.read() as connection:
        [(sealed,)] = connection.execute("select headers_enc from hookline_sender_endpoints").fetchall()

    assert "acme" not in sealed
    assert "t0ken" not in sealed


def headers_in_clear(context: CallContext, endpoint_id: str) -> list[tuple[str, str | None]]:
    with context.database.read() as connection:
        endpoint = context.store.endpoint(connection, "production", endpoint_id)
    assert endpoint is not None
    return [(item.name, item.value) for item in context.registry.headers_of(endpoint)]


# -- retries


def test_retries_are_shown_as_waits_and_clock_times(call: Client, endpoint: Any) -> None:
    """The environment's policy until the endpoint has its own, and none where it wants none."""
    call.key = TEST_KEY
    staging = create(call).json
    call.key = "sk_live_for_tests"
    own = patch(call, endpoint, {"schedule": [1.5, 60, 3600]}).json
    none = patch(call, endpoint, {"schedule": []}).json

    assert endpoint["retries"] == {
        "source": "environment",
        "gaps_s": [190, 760, 3040, 12160, 48640, 194410],
        "after": ["00:03:10", "00:15:50", "01:06:30", "04:29:10", "17:59:50", "72:00:00"],
    }
    assert staging["retries"]["after"] == ["00:00:01", "00:00:04", "00:00:13", "00:00:40", "00:02:01", "00:05:00"]
    assert own["retries"] == {
        "source": "endpoint",
        "gaps_s": [1.5, 60, 3600],
        "after": ["00:00:01.500", "00:01:01.500", "01:01:01.500"],
    }
    assert none["retries"] == {"source": "endpoint", "gaps_s": [], "after": []}


@pytest.mark.parametrize(("key", "status"), [("sk_live_for_tests", 422), (TEST_KEY, 201)])
@pytest.mark.parametrize("path", ["/api/v1/endpoints", "/webhook_endpoints"])
def test_production_takes_https_only_and_staging_also_http(call: Client, key: str, status: int, path: str) -> None:
    """The rule of the environment, in both dialects."""
    call.key = key
    name = "url" if path.startswith("/api") else "endpoint_url"

    answer = call("POST", path, {name: "http://a.example.com/", "events": ["dsync.user.created"]})

    assert answer.status == status
    assert status == 201 or (answer.json["code"] == "invalid_url" and "https" in answer.message)


# -- secrets


def test_a_secret_is_revealed_and_that_is_kept(call: Client, endpoint: Any) -> None:
    """In clear, with a line in the trail that does not hold it."""
    revealed = call("POST", f"/api/v1/endpoints/{endpoint['id']}/reveal_secret")
    trail = call("GET", "/api/v1/audit?action=endpoint.secret_revealed")

    assert revealed.json == {
        "object": "endpoint_secret",
        "endpoint_id": endpoint["id"],
        "secret": endpoint["secret"],
        "standard_webhooks_secret": secret_form(endpoint["secret"]),
        "old_secret": None,
        "old_secret_until": None,
    }
    assert [item["object_id"] for item in trail.json["data"]] == [endpoint["id"]]
    assert endpoint["secret"] not in trail.body.decode()


def test_a_rotation_is_shown_until_it_ends(call: Client, endpoint: Any, clock: TurnedClock) -> None:
    """The new secret once in full, the old one masked, with its end; after that, nothing of it."""
    url = f"/api/v1/endpoints/{endpoint['id']}"

    rotated = call("POST", f"{url}/rotate_secret", {"overlap_s": 60}).json
    during = call("GET", url).json
    revealed = call("POST", f"{url}/reveal_secret").json
    clock.advance(60_000)
    after = call("GET", url).json

    assert rotated["secret"] not in (endpoint["secret"], during["secret"])
    assert during["rotation"] == {
        "old_secret": f"whsec_…{endpoint['secret'][-4:]}",
        "old_secret_until": "2025-11-24T16:01:00.000Z",
        "signs_with": during["rotation"]["signs_with"],
    }
    assert (revealed["secret"], revealed["old_secret"]) == (rotated["secret"], endpoint["secret"])
    assert after["rotation"] is None
    assert call("POST", f"{url}/reveal_secret").json["old_secret"] is None


def test_the_old_secret_is_revoked_at_once(call: Client, endpoint: Any) -> None:
    """And once: a second call changes nothing, the trail tells of one."""
    url = f"/api/v1/endpoints/{endpoint['id']}"
    call("POST", f"{url}/rotate_secret")

    revoked = call("POST", f"{url}/revoke_old_secret").json
    again = call("POST", f"{url}/revoke_old_secret").json

    assert revoked["rotation"] is None
    assert again == revoked
    assert actions(call) == ["endpoint.old_secret_revoked", "endpoint.secret_rotated", "endpoint.created"]


@pytest.mark.parametrize("overlap_s", [-1, 604_801, 1.5, "60", None])
def test_an_overlap_is_0_seconds_to_7_days(call: Client, endpoint: Any, overlap_s: Any) -> None:
    """Else 422, and the secret stays."""
    answer = call("POST", f"/api/v1/endpoints/{endpoint['id']}/rotate_secret", {"overlap_s": overlap_s})

    assert (answer.status, fields_of(answer)) == (422, {"overlap_s"})
    assert call("GET", f"/api/v1/endpoints/{endpoint['id']}").json["version"] == 1


def test_a_repeated_rotation_rotates_once(call: Client, endpoint: Any) -> None:
    """The same Idempotency-Key shows the secret that the first call made."""
    url, key = f"/api/v1/endpoints/{endpoint['id']}/rotate_secret", {"Idempotency-Key": "once"}

    first, second = call("POST", url, headers=key).json, call("POST", url, headers=key).json

    assert first["secret"] == second["secret"] != endpoint["secret"]
    assert actions(call).count("endpoint.secret_rotated") == 1


def test_health_is_shown(call: Client, endpoint: Any, context: CallContext) -> None:
    """What the delivery loop keeps of an endpoint that fails."""
    with context.database.transaction() as connection:
        connection.execute(
            "update hookline_sender_endpoints set failing_since_ms = 1764000000000, failing_attempts = 7, "
            "failing_warned = 50, is_half_open = 1"
        )

    assert call("GET", f"/api/v1/endpoints/{endpoint['id']}").json["health"] == {
        "failing_since": "2025-11-24T16:00:00.000Z",
        "failed_attempts": 7,
        "warned_percent": 50,
        "half_open": True,
    }


# -- versions and the trail


def actions(call: Client) -> list[str]:
    return [item["action"] for item in call("GET", "/api/v1/audit").json["data"]]


def test_versions_say_what_an_endpoint_was_when(call: Client, endpoint: Any, clock: TurnedClock) -> None:
    """Every change of either dialect, newest first; readable after the deletion."""
    url = f"/api/v1/endpoints/{endpoint['id']}"
    for method, path, body in (
        ("PATCH", url, {"events": ["dsync.*"]}),
        ("PATCH", f"/webhook_endpoints/{endpoint['id']}", {"status": "disabled"}),
        ("POST", f"{url}/pause", None),
        ("POST", f"{url}/resume", None),
        ("DELETE", url, None),
    ):
        clock.advance(1000)
        assert call(method, path, body).status < 300

    page = call("GET", f"{url}/versions").json
    first_two = call("GET", f"{url}/versions?order=asc&limit=2").json
    rest = call("GET", f"{url}/versions?order=asc&after={first_two['list_metadata']['after']}").json

    shown = [(v["version"], v["events"], v["status"], v["paused_at"], v["deleted_at"]) for v in page["data"]]
    assert shown == [
        (6, ["dsync.*"], "disabled", None, "2025-11-24T16:00:05.000Z"),
        (5, ["dsync.*"], "disabled", None, None),
        (4, ["dsync.*"], "disabled", "2025-11-24T16:00:03.000Z", None),
        (3, ["dsync.*"], "disabled", None, None),
        (2, ["dsync.*"], "enabled", None, None),
        (1, ["*"], "enabled", None, None),
    ]
    assert [v["from"] for v in page["data"]] == [f"2025-11-24T16:00:0{n}.000Z" for n in range(5, -1, -1)]
    assert [v["version"] for v in first_two["data"] + rest["data"]] == [1, 2, 3, 4, 5, 6]
    assert actions(call) == [
        "endpoint.deleted",
        "endpoint.resumed",
        "endpoint.paused",
        "endpoint.updated",
        "endpoint.updated",
        "endpoint.created",
    ]


@pytest.mark.parametrize("cursor", ["7", "0", "-1", "x", "1" * 30, "١"])
def test_a_version_that_is_none_is_no_cursor(call: Client, endpoint: Any, cursor: str) -> None:
    """422, never the beginning."""
    assert call("GET", f"/api/v1/endpoints/{endpoint['id']}/versions?after={cursor}").status == 422


def test_versions_are_the_environments_own(call: Client, endpoint: Any) -> None:
    """The other key finds no such endpoint."""
    call.key = TEST_KEY

    assert call("GET", f"/api/v1/endpoints/{endpoint['id']}/versions").status == 404


def test_the_trail_names_the_key_and_the_fields(call: Client, endpoint: Any) -> None:
    """A configured key by its last four characters; what was changed, not to what."""
    patch(call, endpoint, {"description": "new", "headers": FULL["headers"]})

    trail = call("GET", f"/api/v1/audit?object_id={endpoint['id']}")

    updated, created = trail.json["data"]
    assert (created["actor"], created["action"], created["at"]) == (
        "configured …ests",
        "endpoint.created",
        "2025-11-24T16:00:00.000Z",
    )
    assert updated["detail"] == {"fields": ["description", "headers"]}
    assert b"t0ken" not in trail.body


def test_what_is_refused_leaves_no_line(call: Client, endpoint: Any) -> None:
    """Nor does what changes nothing."""
    create(call)
    patch(call, endpoint, {})
    call("POST", "/api/v1/endpoints/we_unknown/reveal_secret")
    call("DELETE", "/api/v1/endpoints/we_unknown")

    assert actions(call) == ["endpoint.created"]


def test_the_trail_is_paged_by_environment(call: Client) -> None:
    """Like every list; one environment's cursor is none of the other's."""
    for number in range(5):
        create(call, f"e{number}")

    first = call("GET", "/api/v1/audit?limit=2").json
    second = call("GET", f"/api/v1/audit?limit=10&after={first['list_metadata']['after']}").json

    assert len({item["id"] for item in first["data"] + second["data"]}) == 5
    assert second["list_metadata"]["after"] is None
    call.key = TEST_KEY
    assert call("GET", "/api/v1/audit").json["data"] == []
    assert call("GET", f"/api/v1/audit?after={first['data'][0]['id']}").json["code"] == "invalid_cursor"
    assert call("GET", "/api/v1/audit?after=audit_x").status == 422


# -- the list


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=enabled", ["c", "b"]),
        ("status=disabled", ["a"]),
        ("url=B.EXAMPLE", ["b"]),
        ("url=example.com/", ["c", "b", "a"]),
        ("url=%25", []),
        ("url=_", []),
        ("url=!", []),
        ("url=example&status=enabled&limit=1", ["c"]),
    ],
)
def test_a_list_is_filtered_by_status_and_a_part_of_the_url(call: Client, query: str, found: list[str]) -> None:
    """In any case of letters, and nothing is a pattern."""
    made = [create(call, host).json for host in "abc"]
    patch(call, made[0], {"status": "disabled"})

    page = call("GET", f"/api/v1/endpoints?{query}").json

    assert [item["url"][8] for item in page["data"]] == found


def test_a_filtered_list_is_walked_to_its_end(call: Client) -> None:
    """Cursors pass over what does not match."""
    for number in range(9):
        made = create(call, f"e{number}").json
        if number % 2:
            patch(call, made, {"status": "disabled"})
    seen: list[str] = []
    after = ""
    while True:
        page = call("GET", f"/api/v1/endpoints?status=disabled&limit=2{after}").json
        seen += [item["url"] for item in page["data"]]
        if page["list_metadata"]["after"] is None:
            break
        after = f"&after={page['list_metadata']['after']}"

    assert seen == [f"https://e{number}.example.com/" for number in (7, 5, 3, 1)]


def test_a_compatible_client_sees_nothing_of_ours(call: Client, endpoint: Any) -> None:
    """Its object has the protocol's eight members and no more."""
    patch(call, endpoint, FULL)

    [shown] = call("GET", "/webhook_endpoints").json["data"]

    assert set(shown) == {
        "object",
        "id",
        "endpoint_url",
        "secret",
        "status",
        "events",
        "created_at",
        "updated_at",
    }
    assert json.dumps(shown)
