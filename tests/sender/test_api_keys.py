"""API keys over the API: made, listed, shown again where that is allowed, revoked; and how often they may call."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.errors import StorageUnavailable
from hookline.sender.api import SenderApi
from hookline.sender.api_limit import CallLimit
from hookline.sender.api_parts import CallContext
from hookline.sender.keys import MAX_KEYS, USES_MS, hash_api_key
from hookline.testing.clock import TurnedClock

from .conftest import LIVE_KEY, TEST_KEY, Client

KEYS = "/api/v1/api_keys"


def made(call: Client, name: str | None = "ours") -> Any:
    answer = call("POST", KEYS, {"name": name})
    assert answer.status == 201, answer.body
    return answer.json


def test_a_production_key_is_shown_once(call: Client) -> None:
    """By the call that makes it; lists know its name and last four characters."""
    key = made(call)
    [listed] = call("GET", KEYS).json["data"]
    one = call("GET", f"{KEYS}/{key['id']}").json
    revealed = call("POST", f"{KEYS}/{key['id']}/reveal")

    assert key["key"].startswith("sk_live_")
    assert key["id"].startswith("api_key_")
    assert listed == one == key | {"key": None}
    assert (listed["hint"], listed["name"]) == (f"sk_live_…{key['key'][-4:]}", "ours")
    assert (revealed.status, revealed.json["code"]) == (409, "key_not_kept")


def test_a_staging_key_is_shown_again(call: Client) -> None:
    """Until it is revoked; each time the trail keeps it."""
    call.key = TEST_KEY
    key = made(call)

    revealed = call("POST", f"{KEYS}/{key['id']}/reveal").json
    call("DELETE", f"{KEYS}/{key['id']}")
    after = call("POST", f"{KEYS}/{key['id']}/reveal")

    assert revealed == key
    assert key["key"].startswith("sk_test_")
    assert after.status == 409
    assert [item["action"] for item in call("GET", "/api/v1/audit").json["data"]] == [
        "api_key.revoked",
        "api_key.revealed",
        "api_key.created",
    ]


def test_no_key_in_clear_rests_in_the_database(call: Client, context: CallContext) -> None:
    """A hash, and of staging keys a sealed copy."""
    live = made(call)["key"]
    call.key = TEST_KEY
    test = made(call)["key"]

    with context.database.read() as connection:
        rows = connection.execute("select * from hookline_sender_keys").fetchall()
        trail = connection.execute("select * from hookline_sender_audit").fetchall()

    stored = repr(rows) + repr(trail)
    assert live not in stored
    assert test not in stored
    assert hash_api_key(live) in stored
    assert [row[-2] is None for row in sorted(rows, key=lambda row: row[1])] == [True, False]


def test_a_made_key_calls_until_it_is_revoked(call: Client) -> None:
    """In its own environment, at once after it was made, and no more at once after it was revoked here."""
    key = made(call)
    call.key = key["key"]

    assert call("GET", "/webhook_endpoints").status == 200
    assert call("DELETE", f"{KEYS}/{key['id']}").status == 204
    assert call("GET", "/webhook_endpoints").status == 401
    call.key = LIVE_KEY
    [listed] = call("GET", KEYS).json["data"]
    assert listed["revoked_at"] == "2025-11-24T16:00:00.000Z"
    assert call("DELETE", f"{KEYS}/{key['id']}").status == 204


def test_a_stored_keys_id_is_the_actor(call: Client) -> None:
    """The trail names which key did it."""
    key = made(call)
    call.key = key["key"]
    call("POST", "/api/v1/endpoints", {"url": "https://a.example.com/", "events": ["*"]})

    assert [item["actor"] for item in call("GET", "/api/v1/audit").json["data"]] == [key["id"], "configured …ests"]


def test_keys_are_their_environments_own(call: Client) -> None:
    """The other key lists, shows and revokes none of them."""
    key = made(call)
    call.key = TEST_KEY

    assert call("GET", KEYS).json["data"] == []
    assert [
        call(method, f"{KEYS}/{key['id']}{suffix}").status
        for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/reveal"))
    ] == [404] * 3


def test_keys_are_paged_like_every_list(call: Client) -> None:
    """Newest first, cursors both ways, an unknown one refused."""
    ids = [made(call, f"key {number}")["id"] for number in range(5)]

    first = call("GET", f"{KEYS}?limit=2").json
    second = call("GET", f"{KEYS}?limit=2&after={first['list_metadata']['after']}").json
    oldest = call("GET", f"{KEYS}?limit=1&order=asc").json

    assert [item["id"] for item in first["data"] + second["data"]] == ids[:0:-1]
    assert second["list_metadata"] == {"before": ids[2], "after": ids[1]}
    assert [item["id"] for item in oldest["data"]] == ids[:1]
    assert call("GET", f"{KEYS}?after=api_key_x").json["code"] == "invalid_cursor"


def test_a_repeated_creation_makes_one_key(call: Client) -> None:
    """A production key is not shown twice, a staging key is."""
    repeat = {"Idempotency-Key": "once"}
    first, second = (call("POST", KEYS, {"name": "a"}, headers=repeat).json for _ in range(2))
    call.key = TEST_KEY
    third, fourth = (call("POST", KEYS, {"name": "a"}, headers=repeat).json for _ in range(2))

    assert second == first | {"key": None}
    assert fourth == third
    assert call("POST", KEYS, {"name": "b"}, headers=repeat).json["code"] == "idempotency_key_reused"


@pytest.mark.parametrize("body", [{"name": ""}, {"name": "x" * 101}, {"name": 5}, {"names": "a"}, [], "a"])
def test_a_bad_name_is_422(call: Client, body: Any) -> None:
    """And makes no key."""
    assert call("POST", KEYS, body).status == 422
    assert call("GET", KEYS).json["data"] == []


def test_there_is_a_most_of_valid_keys(call: Client, context: CallContext) -> None:
    """Each is read at every refresh; a revoked one makes room."""
    for _ in range(MAX_KEYS - 1):
        context.api_keys.create("production", name=None)
    last = made(call)

    assert call("POST", KEYS).json["code"] == "too_many_keys"
    call("DELETE", f"{KEYS}/{last['id']}")
    assert call("POST", KEYS).status == 201


# -- when they were used


def last_used(context: CallContext) -> list[int | None]:
    return [key.last_used_ms for key in context.api_keys.listed("production")]


def test_uses_are_written_once_a_minute_for_all_keys(call: Client, context: CallContext, clock: TurnedClock) -> None:
    """Beside a call, in one commit; none while nobody calls, none of configured keys."""
    keys = [made(call)["key"] for _ in range(2)]
    writes = []
    run = context.database.run
    context.database.run = lambda work: writes.append(work) or run(work)  # type: ignore[method-assign,func-returns-value]

    def use(key: str) -> None:
        call.key = key
        call("GET", "/webhook_endpoints")

    use(LIVE_KEY)
    nothing = list(writes)
    use(keys[0])
    started_ms = clock.now_ms()
    clock.advance(1000)
    use(keys[0])
    use(keys[1])
    before = last_used(context)
    clock.advance(USES_MS - 1000)
    use(keys[1])

    assert nothing == []
    assert before == [started_ms, None]
    assert last_used(context) == [started_ms + 1000, started_ms + USES_MS]
    assert len(writes) == 2


def test_a_database_that_is_away_loses_no_use(
    call: Client, context: CallContext, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is answered; the time is written with the next ones."""
    call.key = made(call)["key"]

    def away(_work: object) -> None:
        raise StorageUnavailable("locked")

    with monkeypatch.context() as patched:
        patched.setattr(context.database, "run", away)
        assert call("GET", "/webhook_endpoints").status == 200
    used_ms = clock.now_ms()
    context.keys.write_uses()

    assert last_used(context) == [used_ms]
    assert not context.keys.has_uses()


# -- how often they may call


@pytest.fixture
def limited(context: CallContext) -> Client:
    return Client(SenderApi(context, problems=list, calls_per_s=2))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/webhook_endpoints", {"message": "Too many requests: wait 1 s."}),
        ("/events?events=a.b", {"message": "Too many requests: wait 1 s."}),
        ("/api/v1/endpoints", None),
        ("/api/v1/nowhere", None),
    ],
)
def test_a_key_that_calls_too_often_is_429(limited: Client, path: str, body: Any) -> None:
    """With Retry-After, bare on compatible routes, problem details on ours; another key is not concerned."""
    for _ in range(2):
        assert limited("GET", "/webhook_endpoints").status == 200

    refused = limited("GET", path)
    limited.key = TEST_KEY
    other = limited("GET", "/webhook_endpoints")

    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert refused.headers["x-request-id"]
    assert refused.json == body or (body is None and refused.json["code"] == "rate_limited")
    assert other.status == 200


def test_waiting_as_long_as_was_said_is_enough(limited: Client, clock: TurnedClock) -> None:
    """Half a second lets one call pass at two a second; open paths are never counted."""
    statuses = []
    for _ in range(4):
        statuses.append(limited("GET", "/webhook_endpoints").status)
        assert limited("GET", "/healthz").status == 200
    clock.advance(500)
    statuses += [limited("GET", "/webhook_endpoints").status for _ in range(2)]

    assert statuses == [200, 200, 429, 429, 200, 429]


def test_publishing_is_counted_too(limited: Client) -> None:
    """It is answered ahead of the framework, not ahead of the limit; what is refused is not stored."""
    event = {"event": "a.b", "data": {}}
    statuses = [limited("POST", "/api/v1/events", event).status for _ in range(3)]

    assert statuses == [201, 201, 429]


@pytest.mark.parametrize(("per_s", "at_once"), [(0.5, 1), (1, 1), (10, 10), (1000, 1000)])
def test_a_second_of_calls_may_come_at_once(per_s: float, at_once: int) -> None:
    """At least one; then as many as the rate lets through in ten seconds."""
    limit = CallLimit(per_s)

    burst = sum(limit.wait_ms("k", 5_000) == 0 for _ in range(2 * at_once + 2))
    paced = sum(limit.wait_ms("k", 5_000 + ms) == 0 for ms in range(1, 10_001) for _ in range(2))

    assert burst == at_once
    assert paced == 10 * per_s


def test_a_clock_set_back_shuts_nobody_out() -> None:
    """A bucket is never further from full than it is deep."""
    limit = CallLimit(1)
    limit.wait_ms("k", 1_000_000)

    assert limit.wait_ms("k", 1_000) <= 1000
    assert limit.wait_ms("k", 2_000) == 0
