"""`/webhook_endpoints` and `GET /events`, byte for byte as the protocol reference has them (§3, §4, §9)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hookline.errors import RequestError
from hookline.sender.api_workos import event_types
from hookline.sender.ids import encode_ulid
from hookline.testing.clock import TurnedClock
from hookline.wire.catalogue import CATALOGUE, WEBHOOK_TYPES

from .conftest import Answer, Client

TYPES = ["dsync.user.created", "dsync.user.updated"]


def create(call: Client, host: str = "a", **fields: Any) -> Answer:
    return call(
        "POST", "/webhook_endpoints", {"endpoint_url": f"https://{host}.example.com/", "events": TYPES} | fields
    )


def publish(call: Client, event_type: str = "dsync.user.created", **fields: Any) -> str:
    answer = call("POST", "/api/v1/events", {"event": event_type, "data": {"id": "x"}} | fields)
    assert answer.status == 201, answer.body
    event_id: str = answer.json["id"]
    return event_id


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.json["data"]]


# -- endpoints


def test_a_created_endpoint_has_every_field(call: Client) -> None:
    """201, the exact members, a full secret, enabled, times in milliseconds."""
    answer = create(call)

    assert answer.status == 201
    endpoint = answer.json
    assert list(endpoint) == [
        "object",
        "id",
        "endpoint_url",
        "secret",
        "status",
        "events",
        "created_at",
        "updated_at",
    ]
    assert endpoint["object"] == "webhook_endpoint"
    assert re.fullmatch(r"we_[0-9A-HJKMNP-TV-Z]{26}", endpoint["id"])
    assert re.fullmatch(r"whsec_[0-9A-Za-z]{25}", endpoint["secret"])
    assert (endpoint["status"], endpoint["events"]) == ("enabled", TYPES)
    assert endpoint["created_at"] == endpoint["updated_at"] == "2025-11-24T16:00:00.000Z"


def test_lists_show_secrets_in_full(call: Client) -> None:
    """Clients' models require the secret in every representation, and it never changes by itself."""
    created = create(call).json

    assert call("GET", "/webhook_endpoints").json == {
        "object": "list",
        "data": [created],
        "list_metadata": {"before": None, "after": None},
    }


def test_a_change_answers_the_whole_endpoint(call: Client, clock: TurnedClock) -> None:
    """Only what is given changes; null means not given; updated_at moves."""
    created = create(call).json
    clock.advance(1_500)

    answer = call(
        "PATCH",
        f"/webhook_endpoints/{created['id']}",
        {"endpoint_url": None, "status": "disabled", "events": ["dsync.deleted"]},
    )

    assert answer.status == 200
    assert answer.json == created | {
        "status": "disabled",
        "events": ["dsync.deleted"],
        "updated_at": "2025-11-24T16:00:01.500Z",
    }
    assert call("PATCH", f"/webhook_endpoints/{created['id']}", {}).status == 200


def test_a_deleted_endpoint_is_gone(call: Client) -> None:
    """204 without a body; then 404 to everything; its URL is free."""
    created = create(call).json

    answer = call("DELETE", f"/webhook_endpoints/{created['id']}")

    assert (answer.status, answer.body) == (204, b"")
    gone = call("DELETE", f"/webhook_endpoints/{created['id']}")
    assert (gone.status, gone.json["code"]) == (404, "entity_not_found")
    assert call("PATCH", f"/webhook_endpoints/{created['id']}", {}).json["code"] == "entity_not_found"
    assert call("GET", "/webhook_endpoints").json["data"] == []
    assert create(call).status == 201


def test_a_url_twice_is_409_on_create_and_update(call: Client) -> None:
    """`{code, message}` and nothing else; an update to its own URL is no conflict."""
    first, second = create(call, "a").json, create(call, "b").json

    on_create = create(call, "a")
    on_update = call("PATCH", f"/webhook_endpoints/{second['id']}", {"endpoint_url": first["endpoint_url"]})
    own = call("PATCH", f"/webhook_endpoints/{first['id']}", {"endpoint_url": first["endpoint_url"]})

    for answer in (on_create, on_update):
        assert (answer.status, answer.json["code"], set(answer.json)) == (
            409,
            "duplicate_endpoint",
            {"code", "message"},
        )
    assert own.status == 200


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://user:pass@hooks.example/",
        "https://exa mple.com/",
        "https://example.com/#x",
        "https://example.com/\x00",
        "https://example.com:99999/",
        "https://example.com/" + "x" * 3000,
    ],
)
def test_an_unacceptable_url_is_422_invalid_url(call: Client, url: str) -> None:
    """On create and on update, `{code, message}`; nothing is stored."""
    created = create(call, "good").json

    on_create = call("POST", "/webhook_endpoints", {"endpoint_url": url, "events": TYPES})
    on_update = call("PATCH", f"/webhook_endpoints/{created['id']}", {"endpoint_url": url})

    for answer in (on_create, on_update):
        assert (answer.status, answer.json["code"], set(answer.json)) == (
            422,
            "invalid_url",
            {"code", "message"},
        )
    assert call("GET", "/webhook_endpoints").json["data"] == [created]


@pytest.mark.parametrize(
    ("events", "code", "count"),
    [
        (["dsync.user.crated"], "unknown_event_type", 1),
        (["dsync.*"], "unknown_event_type", 1),
        (["*"], "unknown_event_type", 1),
        (["invoice.paid", "dsync.user.created", "x"], "unknown_event_type", 2),
        (["dsync.token.created"], "unknown_event_type", 1),
        ([], "events_required", 1),
        ("dsync.user.created", "invalid", 1),
        ([5], "invalid", 1),
        ([["dsync.user.created"]], "invalid", 1),
        ({}, "invalid", 1),
        ([""], "unknown_event_type", 1),
        (["x" * 100_000], "unknown_event_type", 1),
    ],
)
def test_bad_event_types_are_422_with_inner_errors(call: Client, events: Any, code: str, count: int) -> None:
    """`invalid_request_parameters`, and per bad name a code and a message, no field."""
    created = create(call, "good").json

    on_create = create(call, events=events)
    on_update = call("PATCH", f"/webhook_endpoints/{created['id']}", {"events": events})

    for answer in (on_create, on_update):
        assert (answer.status, answer.json["code"]) == (422, "invalid_request_parameters")
        assert [item["code"] for item in answer.json["errors"]] == [code] * count
        assert all(set(item) == {"code", "message"} for item in answer.json["errors"])
        assert len(answer.body) < 1000


def test_a_near_miss_is_told(call: Client) -> None:
    """A mistyped name comes with the nearest one."""
    answer = create(call, events=["dsync.user.crated"])

    assert "'dsync.user.created'" in answer.json["errors"][0]["message"]


def test_every_webhook_type_may_be_asked_for(call: Client) -> None:
    """All 93, and only those."""
    answer = create(call, events=sorted(WEBHOOK_TYPES))

    assert answer.status == 201
    assert len(answer.json["events"]) == 93
    others = sorted(set(CATALOGUE) - WEBHOOK_TYPES)
    assert len(create(call, "b", events=others).json["errors"]) == len(others) == 18


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"events": TYPES}, "required"),
        ({"endpoint_url": "https://a.example.com/"}, "required"),
        ({"endpoint_url": 5, "events": TYPES}, "invalid"),
        ({"endpoint_url": None, "events": TYPES}, "invalid"),
        ({"endpoint_url": ["https://a.example.com/"], "events": TYPES}, "invalid"),
    ],
)
def test_a_body_of_wrong_types_is_422(call: Client, body: Any, code: str) -> None:
    """Missing and mistyped members, in the same dialect."""
    answer = call("POST", "/webhook_endpoints", body)

    assert (answer.status, answer.json["code"]) == (422, "invalid_request_parameters")
    assert code in {item["code"] for item in answer.json["errors"]}


@pytest.mark.parametrize("status", ["Enabled", "paused", "", 1, True, []])
def test_a_bad_status_is_422(call: Client, status: Any) -> None:
    """enabled or disabled, nothing else."""
    created = create(call).json

    assert call("PATCH", f"/webhook_endpoints/{created['id']}", {"status": status}).status == 422


def test_an_id_of_another_kind_is_404(call: Client) -> None:
    """Long, odd and foreign ids are unknown ids; the error does not repeat all of it."""
    answers = [call("DELETE", f"/webhook_endpoints/{bad}") for bad in ("x" * 5000, "event_01", "we_\x00", "we_é")]

    assert {answer.status for answer in answers} == {404}
    assert all(len(answer.body) < 400 for answer in answers)


def test_a_repeated_create_makes_one_endpoint(call: Client) -> None:
    """Same Idempotency-Key and body: the same endpoint with its secret, though its URL is taken by now."""
    body = {"endpoint_url": "https://a.example.com/", "events": TYPES}
    headers = {"Idempotency-Key": "k"}
    first = call("POST", "/webhook_endpoints", body, headers=headers)

    again = call("POST", "/webhook_endpoints", body, headers=headers)
    other = call("POST", "/webhook_endpoints", body | {"events": TYPES[:1]}, headers=headers)

    assert (again.status, again.json) == (first.status, first.json)
    assert (other.status, other.json["code"]) == (409, "idempotency_key_reused")


def test_a_refused_create_leaves_its_key_free(call: Client) -> None:
    """A duplicate URL under a new key is 409 each time, not a stored answer."""
    create(call)
    body = {"endpoint_url": "https://a.example.com/", "events": TYPES}

    answers = [call("POST", "/webhook_endpoints", body, headers={"Idempotency-Key": "k"}) for _ in range(2)]

    assert [answer.json["code"] for answer in answers] == ["duplicate_endpoint"] * 2


# -- lists


@pytest.fixture
def five(call: Client) -> list[str]:
    """Five endpoints, oldest first."""
    return [create(call, f"e{number}").json["id"] for number in range(5)]


def page(call: Client, query: str) -> tuple[list[str], Any]:
    answer = call("GET", f"/webhook_endpoints?{query}")
    return ids(answer), answer.json["list_metadata"]


def test_the_default_order_is_newest_first(call: Client, five: list[str]) -> None:
    """desc; after leads to older items, before to newer ones."""
    a, b, c, d, e = five

    assert page(call, "limit=2") == ([e, d], {"before": None, "after": d})
    assert page(call, f"limit=2&after={d}") == ([c, b], {"before": c, "after": b})
    assert page(call, f"limit=2&after={b}") == ([a], {"before": a, "after": None})
    assert page(call, f"limit=2&before={a}") == ([c, b], {"before": c, "after": b})
    assert page(call, f"limit=2&before={d}") == ([e], {"before": None, "after": e})


def test_asc_is_oldest_first(call: Client, five: list[str]) -> None:
    """after leads to newer items, before to older ones."""
    a, b, c, d, e = five

    assert page(call, "limit=2&order=asc") == ([a, b], {"before": None, "after": b})
    assert page(call, f"limit=2&order=asc&after={b}") == ([c, d], {"before": c, "after": d})
    assert page(call, f"limit=2&order=asc&before={c}") == ([a, b], {"before": None, "after": b})
    assert page(call, f"limit=10&order=asc&after={d}") == ([e], {"before": e, "after": None})


def test_normal_shows_newest_first_with_cursors_turned_round(call: Client, five: list[str]) -> None:
    """before leads to older items, after to newer ones."""
    a, b, c, d, e = five

    assert page(call, "limit=2&order=normal") == ([e, d], {"before": d, "after": None})
    assert page(call, f"limit=2&order=normal&before={d}") == ([c, b], {"before": b, "after": c})
    assert page(call, f"limit=2&order=normal&after={b}") == ([d, c], {"before": c, "after": d})
    assert page(call, f"limit=2&order=normal&before={b}") == ([a], {"before": None, "after": a})


def test_a_page_of_exactly_the_limit_has_no_next(call: Client, five: list[str]) -> None:
    """The cursor is null where nothing is left, not an id that leads to an empty page."""
    assert page(call, "limit=5") == (five[::-1], {"before": None, "after": None})


def test_a_walk_goes_on_behind_a_deleted_endpoint(call: Client, five: list[str]) -> None:
    """Whoever deletes what it lists does not lose its place."""
    call("DELETE", f"/webhook_endpoints/{five[3]}")

    assert page(call, f"limit=2&after={five[3]}")[0] == [five[2], five[1]]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=ten",
        "limit=1.5",
        "limit=" + "9" * 5000,
        "order=up",
        "order=",
        "after=we_unknown",
        "before=we_unknown",
        "after=we_a&before=we_b",
    ],
)
def test_bad_paging_is_422(call: Client, query: str) -> None:
    """Limits, orders and cursors that are none; never a silent start from the top."""
    answer = call("GET", f"/webhook_endpoints?{query}")

    assert answer.status == 422
    assert set(answer.json["errors"][0]) == {"code", "message"}


# -- events


def test_events_are_required(call: Client) -> None:
    """The protocol's exact body."""
    assert call("GET", "/events").json == {
        "message": "Validation failed.",
        "errors": [{"code": "required", "field": "events"}],
    }
    assert call("GET", "/events?events=").status == 422


@pytest.mark.parametrize(
    "query",
    [
        "events=a.one,a.two",
        "events=a.one&events=a.two",
        "events[]=a.one&events[]=a.two",
        "events%5B0%5D=a.one&events%5B1%5D=a.two",
        "events[0]=a.one&events[1]=a.two",
        "events=a.one%2Ca.two",
        "events=%20a.one%20,,a.two",
    ],
)
def test_four_encodings_of_the_types(call: Client, query: str) -> None:
    """Whichever SDK sends it, both types are listed and the third is not."""
    wanted = [publish(call, "a.one"), publish(call, "a.two")]
    publish(call, "a.three")

    assert ids(call("GET", f"/events?{query}")) == wanted


@pytest.mark.parametrize("order", ["", "&order=asc", "&order=desc", "&order=normal", "&order=other"])
def test_events_are_oldest_first_whatever_order_says(call: Client, order: str) -> None:
    """SDKs send desc by default and expect to walk forward."""
    made = [publish(call) for _ in range(3)]

    assert ids(call("GET", f"/events?events=dsync.user.created{order}")) == made


def test_a_consumer_walks_the_feed(call: Client) -> None:
    """after is exclusive; list_metadata has after alone, null at the tip; the tip can be polled."""
    made = [publish(call) for _ in range(5)]
    url = "/events?events=dsync.user.created&limit=2"

    first = call("GET", url).json
    second = call("GET", f"{url}&after={first['list_metadata']['after']}").json
    third = call("GET", f"{url}&after={second['list_metadata']['after']}").json
    tip = call("GET", f"{url}&after={made[-1]}").json
    newer = publish(call)

    assert [item["id"] for item in first["data"] + second["data"] + third["data"]] == made
    assert first["list_metadata"] == {"after": made[1]}
    assert third["list_metadata"] == {"after": None}
    assert (tip["data"], tip["list_metadata"]) == ([], {"after": None})
    assert ids(call("GET", f"{url}&after={made[-1]}")) == [newer]


def test_a_cursor_of_another_type_still_leads_on(call: Client) -> None:
    """A consumer may change its types between pages: a cursor is a place in the feed."""
    one, two = publish(call, "a.one"), publish(call, "a.two")

    assert ids(call("GET", f"/events?events=a.two&after={one}")) == [two]


def test_before_gives_the_page_in_front_of_an_event(call: Client) -> None:
    """Ascending, nearest page."""
    made = [publish(call) for _ in range(4)]

    answer = call("GET", f"/events?events=dsync.user.created&limit=2&before={made[3]}")

    assert ids(answer) == made[1:3]
    assert answer.json["list_metadata"] == {"after": made[2]}


def test_events_are_filtered_by_organization_and_range(call: Client, clock: TurnedClock) -> None:
    """Ranges are half-open and take a date."""
    clock.set(1_767_225_600_000)  # 2026-01-01
    first = publish(call, organization_id="org_1")
    clock.advance(86_400_000)
    second = publish(call)
    url = "/events?events=dsync.user.created"

    assert ids(call("GET", f"{url}&organization_id=org_1")) == [first]
    assert ids(call("GET", f"{url}&range_start=2026-01-02")) == [second]
    assert ids(call("GET", f"{url}&range_end=2026-01-02T00:00:00.000Z")) == [first]
    assert ids(call("GET", f"{url}&range_start=2026-01-01T00:00:00Z&range_end=2026-01-03")) == [first, second]


def test_an_organization_is_known_by_its_events_too(call: Client) -> None:
    """400 with a message, of one that neither an event names nor anybody made; with other filters or without."""
    publish(call, "user.created", organization_id="org_1")
    url = "/events?events=dsync.user.created&organization_id="

    unknown = [
        call("GET", f"{url}{id_}{more}") for id_ in ("org_2", "ORG_1", "") for more in ("", "&range_start=2026-01-01")
    ]

    assert ids(call("GET", f"{url}org_1")) == []
    assert {answer.status for answer in unknown} == {400}
    assert unknown[0].json == {"message": "Organization not found: 'org_2'."}


def test_a_cursor_that_was_forgotten_has_expired(call: Client, clock: TurnedClock) -> None:
    """An id that nobody knows and that is older than ids are kept: the reader is to read the state, not to guess."""
    kept_ms = 100 * 86_400_000
    old, young = (f"event_{encode_ulid((clock.now_ms() - kept_ms - over_ms) << 80)}" for over_ms in (1, 0))
    url = "/events?events=dsync.user.created&after="

    codes = {after: call("GET", url + after).json["errors"] for after in (old, young, old.removeprefix("event_"))}

    assert codes[old] == [{"code": "cursor_expired", "field": "after"}]
    assert codes[young] == codes[old.removeprefix("event_")] == [{"code": "invalid_cursor", "field": "after"}]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=event_unknown", "after"),
        ("before=event_unknown", "before"),
        ("after=a&range_start=2026-01-01", "after"),
        ("after=a&before=b", "after"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("range_start=yesterday", "range_start"),
        ("range_end=1", "range_end"),
    ],
)
def test_bad_parameters_are_422_in_the_events_dialect(call: Client, query: str, field: str) -> None:
    """A message and errors that name the field."""
    answer = call("GET", f"/events?events=a.b&{query}")

    assert answer.status == 422
    assert answer.json["message"] == "Validation failed."
    assert [item["field"] for item in answer.json["errors"]] == [field]
    assert set(answer.json["errors"][0]) == {"code", "field"}


@pytest.mark.parametrize("value", ["*", "dsync.*", ",".join(f"a.t{number}" for number in range(501))])
def test_patterns_and_endless_lists_are_no_types(value: str) -> None:
    """Exact names only."""
    with pytest.raises(RequestError) as caught:
        event_types([("events", value)])

    assert caught.value.errors is not None
    assert caught.value.errors[0]["code"] == "invalid"
