"""Events made from samples, and the requests that deliver them."""

from __future__ import annotations

import pytest

from hookline.errors import NotCanonical
from hookline.testing import sample_event, signed_request
from hookline.wire import timestamps
from hookline.wire.catalogue import sample, sample_context, sample_created_us, sampled_types
from hookline.wire.event import Event
from hookline.wire.signature import verify_signature

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize("name", sampled_types())
def test_every_sample_makes_an_event(name: str) -> None:
    """The event carries the sample and its context, happened when the story says, and its id tells when."""
    event = sample_event(name)

    assert (event.type, event.object, event.data) == (name, "event", sample(name))
    assert (event.created_us, event.context) == (sample_created_us(name), sample_context(name))
    assert event.id is not None
    assert event.id.startswith("event_")
    assert timestamps.ulid_time_us(event.id) == event.created_us
    assert Event.from_bytes(event.raw) == event


def test_the_same_call_makes_the_same_event() -> None:
    """A second call is a duplicate to the byte; any difference makes another event."""
    calls = [
        sample_event("dsync.user.updated"),
        sample_event("dsync.user.updated", state="inactive"),
        sample_event("dsync.user.updated", created_at="2026-02-09T08:00:00Z"),
        sample_event("dsync.user.updated", context={"client_id": "client_1"}),
        sample_event("dsync.user.created"),
    ]

    assert sample_event("dsync.user.updated").raw == calls[0].raw
    assert len({event.id for event in calls}) == len(calls)


@pytest.mark.parametrize(
    "story",
    [
        ("dsync.user.created", "dsync.user.updated", "dsync.user.deleted"),
        ("dsync.group.created", "dsync.group.updated", "dsync.group.deleted"),
        ("dsync.group.created", "dsync.group.user_added", "dsync.group.user_removed"),
        ("organization.created", "organization.updated", "organization.deleted"),
        ("dsync.activated", "dsync.deleted"),
    ],
)
def test_a_life_comes_in_order(story: tuple[str, ...]) -> None:
    """Created, updated, deleted: each sample happened no earlier than the one before, of the same object."""
    times = [sample_event(name).created_us or 0 for name in story]

    assert times == sorted(times)
    assert times[-1] > times[0]


def test_a_newer_payload_makes_a_newer_event() -> None:
    """A time that was put into the payload is followed by the event, and by the deletion after it."""
    updated, deleted = (
        sample_event(f"dsync.user.{word}", updated_at="2026-06-01T12:00:00.000Z").created_us or 0
        for word in ("updated", "deleted")
    )

    assert timestamps.parse_us("2026-06-01T12:00:00Z") < updated < deleted


def test_what_is_given_counts() -> None:
    """Id, time, context and members of the payload are replaced as asked."""
    event = sample_event(
        "dsync.user.updated",
        event_id="event_1",
        created_at="2026-03-01 12:00:00",
        context={"client_id": "client_1"},
        state="inactive",
    )

    assert event.id == "event_1"
    assert event.created_us == timestamps.parse_us("2026-03-01T12:00:00Z")
    assert event.context == {"client_id": "client_1"}
    assert event.data == sample("dsync.user.updated") | {"state": "inactive"}


def test_what_cannot_be_made() -> None:
    """A type without a sample and a value without JSON are said so."""
    with pytest.raises(LookupError, match=r"nearest is 'dsync\.user\.created'"):
        sample_event("dsync.usr.created")
    with pytest.raises(NotCanonical, match="state"):
        sample_event("dsync.user.created", state=object())


@pytest.mark.parametrize("body", [b"", b"not json", b'{"a": 1}'])
def test_a_request_signs_the_exact_bytes(body: bytes) -> None:
    """Whatever the bytes, the request carries them and a header that proves them."""
    request = signed_request(body, "whsec_1", timestamp_ms=NOW_MS)

    assert request.body == body
    assert request.headers["Content-Type"] == "application/json"
    assert verify_signature(request.body, request.headers["WorkOS-Signature"], ["whsec_1"], now_ms=NOW_MS)


def test_a_request_delivers_an_event() -> None:
    """An event is delivered as its own bytes."""
    event = sample_event("dsync.user.created")

    assert signed_request(event, "whsec_1", timestamp_ms=NOW_MS).body is event.raw
