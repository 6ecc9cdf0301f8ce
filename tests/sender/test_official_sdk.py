"""The official Python SDK as a foreign client: only its base URL is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from workos import WorkOSClient
from workos._errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    RateLimitExceededError,
    ServerError,
    UnprocessableEntityError,
)

from hookline.errors import StorageUnavailable
from hookline.sender.api import SenderApi
from hookline.sender.api_parts import CallContext
from hookline.testing.clock import TurnedClock
from hookline.wire.catalogue import sample
from hookline.wire.timestamps import format_ms

from .conftest import LIVE_KEY, TEST_KEY, Client, served

TYPES = ["dsync.user.created", "dsync.user.updated"]


@pytest.fixture
def sdk(base_url: str) -> Iterator[WorkOSClient]:
    client = WorkOSClient(api_key=LIVE_KEY, client_id="client_test", base_url=base_url, max_retries=0)
    yield client
    client.close()


def _id(event: Any) -> str:
    """The SDK's catch-all for unknown types has no id; none of ours may become one."""
    event_id: str = event.id
    return event_id


def test_endpoints_are_created_listed_updated_and_deleted(sdk: WorkOSClient) -> None:
    """Each answer parses into the SDK's own model."""
    created = sdk.webhooks.create_webhook_endpoint(endpoint_url="https://a.example.com/", events=list(TYPES))
    updated = sdk.webhooks.update_webhook_endpoint(created.id, status="disabled", events=["dsync.deleted"])
    listed = sdk.webhooks.list_webhook_endpoints()
    sdk.webhooks.delete_webhook_endpoint(created.id)

    assert (created.endpoint_url, created.status, created.events) == (
        "https://a.example.com/",
        "enabled",
        TYPES,
    )
    assert created.secret.startswith("whsec_")
    assert (updated.status, updated.events, updated.secret) == (
        "disabled",
        ["dsync.deleted"],
        created.secret,
    )
    assert [item.id for item in listed.data] == [created.id]
    assert sdk.webhooks.list_webhook_endpoints().data == []


@pytest.mark.parametrize(("order", "turned"), [("desc", True), ("asc", False)])
def test_its_pagination_sees_every_endpoint_once(sdk: WorkOSClient, order: str, turned: bool) -> None:
    """Auto-paging follows our cursors to the end."""
    made = [
        sdk.webhooks.create_webhook_endpoint(endpoint_url=f"https://e{number}.example.com/", events=list(TYPES)).id
        for number in range(7)
    ]

    walked = [item.id for item in sdk.webhooks.list_webhook_endpoints(limit=3, order=order).auto_paging_iter()]

    assert walked == (made[::-1] if turned else made)


def test_events_are_listed_as_typed_events(sdk: WorkOSClient, call: Client) -> None:
    """Catalogue types with our samples become the SDK's models; its walk ends with the newest."""
    made = []
    for _ in range(5):
        for event_type in TYPES:
            body = {"event": event_type, "data": sample(event_type)}
            made.append(call("POST", "/api/v1/events", body).json["id"])

    page = sdk.events.list_events(events=TYPES, limit=4)
    walked = list(page.auto_paging_iter())
    after = sdk.events.list_events(events=TYPES, after=made[7], limit=100)

    assert [_id(event) for event in walked] == made
    assert [type(event).__name__ for event in walked[:2]] == ["DsyncUserCreated", "DsyncUserUpdated"]
    assert [_id(event) for event in after.data] == made[8:]


def test_events_are_asked_for_by_organization_and_time(sdk: WorkOSClient, call: Client, clock: TurnedClock) -> None:
    """`range_start` as its datetime and its text, `range_end`, `organization_id` and `before` as it sends them."""
    data = sample("dsync.user.created")
    begun_ms = clock.now_ms()
    made = []
    for organization in ("org_a", "org_b", "org_a"):
        body = {"event": "dsync.user.created", "data": data, "organization_id": organization}
        made.append(call("POST", "/api/v1/events", body).json["id"])
        clock.advance(60_000)

    def listed(**asked: Any) -> list[str]:
        return [_id(event) for event in sdk.events.list_events(events=["dsync.user.created"], **asked).data]

    second = datetime.fromtimestamp((begun_ms + 30_000) / 1000, UTC)
    text = format_ms((begun_ms + 90_000) * 1000)
    assert listed(organization_id="org_a") == [made[0], made[2]]
    assert listed(range_start=second) == made[1:]
    assert listed(range_start=second, range_end=text) == [made[1]]
    assert listed(range_start=text, organization_id="org_b") == []
    assert listed(before=made[2]) == made[:2]


def test_refusals_become_its_typed_errors(sdk: WorkOSClient) -> None:
    """404, 409 and 422 with code and request id as the SDK reads them."""
    created = sdk.webhooks.create_webhook_endpoint(endpoint_url="https://a.example.com/", events=list(TYPES))

    with pytest.raises(NotFoundError) as missing:
        sdk.webhooks.delete_webhook_endpoint("we_unknown")
    with pytest.raises(ConflictError) as taken:
        sdk.webhooks.create_webhook_endpoint(endpoint_url=created.endpoint_url, events=list(TYPES))
    with pytest.raises(UnprocessableEntityError) as unknown:
        sdk.webhooks.create_webhook_endpoint(endpoint_url="https://b.example.com/", events=["dsync.*"])
    with pytest.raises(UnprocessableEntityError) as bad_url:
        sdk.webhooks.update_webhook_endpoint(created.id, endpoint_url="http://127.0.0.1/")
    with pytest.raises(UnprocessableEntityError) as no_events:
        sdk.events.list_events(events=[])

    assert missing.value.code == "entity_not_found"
    assert taken.value.code == "duplicate_endpoint"
    assert unknown.value.code == "invalid_request_parameters"
    assert [item["code"] for item in unknown.value.errors or ()] == ["unknown_event_type"]
    assert bad_url.value.code == "invalid_url"
    assert no_events.value.errors == [{"code": "required", "field": "events"}]
    assert all((error.value.request_id or "").startswith("req_") for error in (missing, taken, unknown))


def test_a_wrong_key_is_its_authentication_error(base_url: str) -> None:
    """401."""
    client = WorkOSClient(api_key="sk_live_wrong", client_id="client_test", base_url=base_url, max_retries=0)

    with pytest.raises(AuthenticationError):
        client.webhooks.list_webhook_endpoints()
    client.close()


def test_it_waits_as_long_as_a_429_says(
    context: CallContext, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its retry comes when Retry-After has passed and goes through; without retries it is the typed error."""
    waits: list[float] = []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        clock.advance(round(wait_s * 1000))

    monkeypatch.setattr("workos._base_client.time.sleep", sleep)
    with served(SenderApi(context, problems=list, calls_per_s=1)) as url:
        patient = WorkOSClient(api_key=LIVE_KEY, client_id="client_test", base_url=url, max_retries=1)
        hasty = WorkOSClient(api_key=LIVE_KEY, client_id="client_test", base_url=url, max_retries=0)
        listed = [patient.webhooks.list_webhook_endpoints().data for _ in range(3)]
        with pytest.raises(RateLimitExceededError) as refused:
            hasty.webhooks.list_webhook_endpoints()
        patient.close()
        hasty.close()

    assert listed == [[], [], []]
    assert waits == [1, 1]
    assert refused.value.retry_after == 1


def test_the_key_chooses_the_environment(sdk: WorkOSClient, base_url: str) -> None:
    """The staging key sees none of production's endpoints and may use plain http."""
    sdk.webhooks.create_webhook_endpoint(endpoint_url="https://a.example.com/", events=list(TYPES))
    staging = WorkOSClient(api_key=TEST_KEY, client_id="client_test", base_url=base_url, max_retries=0)

    before = staging.webhooks.list_webhook_endpoints().data
    created = staging.webhooks.create_webhook_endpoint(endpoint_url="http://a.example.com/", events=list(TYPES))
    staging.close()

    assert before == []
    assert created.endpoint_url == "http://a.example.com/"


def test_a_create_that_it_retries_makes_one_endpoint(
    base_url: str, context: CallContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK repeats a 503 with the same Idempotency-Key; the commit behind a lost answer is found again."""
    run = context.database.run
    failures = iter([True, False])

    def lose_the_first_answer(work: Callable[[Any], Any]) -> Any:
        done = run(work)
        if next(failures, False):
            raise StorageUnavailable("the answer was lost after the commit")
        return done

    monkeypatch.setattr(context.database, "run", lose_the_first_answer)
    client = WorkOSClient(api_key=LIVE_KEY, client_id="client_test", base_url=base_url, max_retries=1)

    created = client.webhooks.create_webhook_endpoint(endpoint_url="https://a.example.com/", events=list(TYPES))
    listed = client.webhooks.list_webhook_endpoints().data
    client.close()

    assert [item.id for item in listed] == [created.id]


def test_a_server_in_trouble_is_its_server_error(
    sdk: WorkOSClient, context: CallContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503."""

    def away(_work: object) -> None:
        raise StorageUnavailable("locked")

    monkeypatch.setattr(context.database, "run", away)

    with pytest.raises(ServerError) as caught:
        sdk.webhooks.create_webhook_endpoint(endpoint_url="https://a.example.com/", events=list(TYPES))

    assert caught.value.status_code == 503
