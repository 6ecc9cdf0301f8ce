"""Publishing: one commit, canonical bytes, idempotency, and what is refused."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hookline.errors import RequestError, StorageUnavailable
from hookline.sender.drafts import MAX_EVENT_BYTES, EventDraft, draft_batch, draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.idempotency import IdempotencyKey
from hookline.sender.ids import IdMaker
from hookline.sender.model import Delivery, StoredEvent
from hookline.sender.publish import DELIVERIES_CHANNEL, Publisher
from hookline.sender.store import DeliveryFilter, FeedFilter, SenderStore
from hookline.storage import Database
from hookline.testing.clock import TurnedClock

from .conftest import NOW_MS

USER = {"event": "dsync.user.created", "data": {"id": "directory_user_1", "object": "directory_user"}}


@pytest.fixture
def publisher(database: Database, store: SenderStore, clock: TurnedClock) -> Iterator[Publisher]:
    publisher = Publisher(database, store, clock=clock, ids=IdMaker())
    yield publisher
    publisher.close()


def draft(event_type: str = "dsync.user.created", **fields: Any) -> EventDraft:
    return draft_event({"event": event_type, "data": {"id": "x"}} | fields)


def publication(*drafts: EventDraft, key: str | None = None, sha256: str = "aa") -> Publication:
    used = IdempotencyKey(key, "POST /api/v1/events", sha256) if key else None
    return Publication("production", drafts or (draft(),), used)


def add_endpoint(database: Database, store: SenderStore, endpoint_id: str, *events: str) -> None:
    with database.transaction() as connection:
        store.add_endpoint(
            connection,
            endpoint_id=endpoint_id,
            environment="production",
            url=f"https://{endpoint_id}.example.com/",
            events=events,
            description=None,
            secret_enc="sealed",
            now_ms=1,
        )


def deliveries(database: Database, store: SenderStore) -> list[Delivery]:
    with database.read() as connection:
        return store.deliveries(connection, "production", DeliveryFilter(), "newer", 0, 10_000)


def feed(database: Database, store: SenderStore, *types: str) -> list[StoredEvent]:
    wanted = FeedFilter(types or ("dsync.user.created",))
    with database.read() as connection:
        return store.feed_page(connection, "production", wanted, limit=10_000)


# -- the commit


def test_an_event_is_stored_fed_and_delivered_to_who_asks(
    database: Database, store: SenderStore, publisher: Publisher
) -> None:
    """Event, feed row and one pending delivery per matching endpoint, due now."""
    add_endpoint(database, store, "we_exact", "dsync.user.created")
    add_endpoint(database, store, "we_prefix", "dsync.*", "dsync.user.created")
    add_endpoint(database, store, "we_other", "dsync.user.updated")

    [published] = publisher.publish_inline(publication())

    assert [event.id for event in feed(database, store)] == [published.id]
    made = deliveries(database, store)
    assert {(item.endpoint_id, item.event_id) for item in made} == {
        ("we_exact", published.id),
        ("we_prefix", published.id),
    }
    assert len(made) == 2
    assert {(item.state, item.due_ms, item.origin, item.attempt) for item in made} == {
        ("pending", NOW_MS, "published", 0)
    }


def test_deliveries_of_a_paused_endpoint_are_held(database: Database, store: SenderStore, publisher: Publisher) -> None:
    """Held, with the reason, not dropped."""
    add_endpoint(database, store, "we_1", "*")
    with database.transaction() as connection:
        endpoint = store.endpoint(connection, "production", "we_1")
        assert endpoint is not None
        store.pause_endpoint(connection, endpoint, now_ms=1)

    publisher.publish_inline(publication())

    assert [(item.state, item.reason) for item in deliveries(database, store)] == [("held", "endpoint_paused")]


def test_an_event_that_nobody_asks_for_is_still_in_the_feed(
    database: Database, store: SenderStore, publisher: Publisher
) -> None:
    """Consumers of GET /events need no endpoint."""
    publisher.publish_inline(publication())

    assert deliveries(database, store) == []
    assert len(feed(database, store)) == 1


def test_the_body_is_the_envelope_in_canonical_bytes(publisher: Publisher) -> None:
    """Compact, unescaped, ms and Z, context only where given."""
    item = draft(data={"name": "Zoë", "ratio": 1.0}, context={"client_id": "c"})

    [published] = publisher.publish_inline(publication(item))

    assert published.body is not None
    assert published.body.decode() == (
        f'{{"object":"event","id":"{published.id}","event":"dsync.user.created",'
        '"data":{"name":"Zoë","ratio":1},"created_at":"2025-11-24T16:00:00.000Z","context":{"client_id":"c"}}'
    )


def test_a_time_of_the_event_itself_is_kept(database: Database, store: SenderStore, publisher: Publisher) -> None:
    """created_at is taken as given, to the millisecond, in UTC."""
    item = draft(created_at="2026-01-31T13:00:00.123456+01:00")

    [published] = publisher.publish_inline(publication(item))

    assert json.loads(published.body or b"")["created_at"] == "2026-01-31T12:00:00.123Z"
    assert feed(database, store)[0].created_ms == 1_769_860_800_123


def test_the_trace_of_its_publisher_is_kept(database: Database, publisher: Publisher) -> None:
    """With every event of the call; none where the call had none."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    publisher.publish_inline(Publication("production", (draft(), draft()), traceparent=trace))
    publisher.publish_inline(publication())

    with database.read() as connection:
        rows = connection.execute("select origin, traceparent from hookline_sender_events order by row_id").fetchall()
    assert rows == [("published", trace), ("published", trace), ("published", None)]


def test_ids_grow_in_feed_order(database: Database, store: SenderStore, publisher: Publisher) -> None:
    """What one process publishes is listed in the order of its ids."""

    async def work() -> None:
        await asyncio.gather(*(publisher.publish(publication()) for _ in range(300)))

    asyncio.run(work())

    listed = [event.id for event in feed(database, store)]
    assert len(listed) == 300
    assert listed == sorted(listed)


def test_subscribers_are_told_after_the_commit(database: Database, store: SenderStore, publisher: Publisher) -> None:
    """Whoever is woken sees the deliveries; a subscriber that fails costs nobody the answer."""
    add_endpoint(database, store, "we_1", "*")
    seen: list[int] = []

    def count_deliveries() -> None:
        seen.append(len(deliveries(database, store)))
        raise RuntimeError("a subscriber's own trouble")

    end = database.subscribe(DELIVERIES_CHANNEL, count_deliveries)

    publisher.publish_inline(publication())
    end()

    assert seen == [1]


def test_an_endpoint_made_by_another_process_is_seen(
    database: Database, store: SenderStore, publisher: Publisher
) -> None:
    """Matching happens inside the transaction: nothing is cached between publishes."""
    publisher.publish_inline(publication())
    add_endpoint(database, store, "we_late", "*")

    publisher.publish_inline(publication())

    assert len(deliveries(database, store)) == 1


def test_a_database_that_is_away_writes_nothing(
    database: Database, store: SenderStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every waiting publisher hears of it, and nothing is half-written."""
    add_endpoint(database, store, "we_1", "*")

    def full(*args: Any) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(store, "feed", full)

    async def work() -> list[Any]:
        return await asyncio.gather(
            *(publisher.publish(publication(key=f"k{turn}")) for turn in range(3)), return_exceptions=True
        )

    results = asyncio.run(work())

    assert [type(result) for result in results] == [StorageUnavailable] * 3
    assert (deliveries(database, store), feed(database, store)) == ([], [])
    with database.read() as connection:
        assert store.idempotency_record(connection, "production", "k0") is None


def test_concurrent_publishers_share_commits(
    database: Database, store: SenderStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred publishers at once need far fewer than a hundred transactions, and each gets its own event."""
    commits: list[int] = []
    run = database.run

    def counted(work: Any) -> Any:
        commits.append(1)
        return run(work)

    monkeypatch.setattr(database, "run", counted)

    async def publish_all() -> list[Any]:
        return await asyncio.gather(*(publisher.publish(publication(draft(data={"n": turn}))) for turn in range(100)))

    results = asyncio.run(publish_all())

    assert len(commits) <= 3
    assert [json.loads(published.body)["data"]["n"] for [published] in results] == list(range(100))


# -- idempotency


def test_a_repeated_call_gets_what_the_first_one_stored(
    database: Database, store: SenderStore, publisher: Publisher
) -> None:
    """Same key, same body: same event, no second one, whatever the time."""
    add_endpoint(database, store, "we_1", "*")
    first = publisher.publish_inline(publication(draft(), draft("dsync.user.updated"), key="k"))

    second = publisher.publish_inline(publication(draft(), draft("dsync.user.updated"), key="k"))

    assert second == first
    assert len(deliveries(database, store)) == 2


def test_a_key_with_another_body_is_refused(publisher: Publisher) -> None:
    """409 idempotency_key_reused, and the first answer stands."""
    first = publisher.publish_inline(publication(key="k"))

    with pytest.raises(RequestError) as caught:
        publisher.publish_inline(publication(key="k", sha256="bb"))

    assert (caught.value.status, caught.value.code) == (409, "idempotency_key_reused")
    assert publisher.publish_inline(publication(key="k")) == first


def test_of_concurrent_calls_with_one_key_one_wins(
    database: Database, store: SenderStore, publisher: Publisher
) -> None:
    """In one batch: the same body gets the winner's event, another body a refusal, other keys go on."""

    async def work() -> list[Any]:
        calls = [
            publication(key="k"),
            publication(key="k"),
            publication(key="k", sha256="bb"),
            publication(key="other"),
        ]
        return await asyncio.gather(*(publisher.publish(call) for call in calls), return_exceptions=True)

    first, same, other_body, other_key = asyncio.run(work())

    assert same == first
    assert isinstance(other_body, RequestError)
    assert other_key != first
    assert len(feed(database, store)) == 2


def test_a_batch_of_repeats_finds_an_earlier_commit(
    database: Database, store: SenderStore, publisher: Publisher
) -> None:
    """Two repeats of a committed key in one batch both get the committed event."""
    first = publisher.publish_inline(publication(key="k"))

    async def work() -> list[Any]:
        return await asyncio.gather(*(publisher.publish(publication(key="k")) for _ in range(2)))

    assert asyncio.run(work()) == [first, first]
    assert len(feed(database, store)) == 1


def test_threads_that_race_for_one_key_store_one_event(
    database: Database, store: SenderStore, clock: TurnedClock
) -> None:
    """Eight publishers of their own, as eight processes would be: one event."""
    publishers = [Publisher(database, store, clock=clock, ids=IdMaker()) for _ in range(8)]
    start = threading.Barrier(8)
    got: list[str] = []

    def work(publisher: Publisher) -> None:
        start.wait()
        got.append(publisher.publish_inline(publication(key="k"))[0].id)

    threads = [threading.Thread(target=work, args=(publisher,)) for publisher in publishers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 8
    assert len(set(got)) == 1
    assert len(feed(database, store)) == 1


# -- what is refused


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ([], ""),
        (None, ""),
        ({}, "event"),
        ({"event": 5, "data": {}}, "event"),
        ({"event": "user", "data": {}}, "event"),
        ({"event": "User.created", "data": {}}, "event"),
        ({"event": "user.created\n", "data": {}}, "event"),
        ({"event": "a." + "b" * 300, "data": {}}, "event"),
        ({"event": "dsync.*", "data": {}}, "event"),
        ({"event": "endpoint.failing", "data": {}}, "event"),
        ({"event": "endpoint.disabled", "data": {}}, "event"),
        ({"event": "delivery.failed", "data": {}}, "event"),
        ({"event": "a.b"}, "data"),
        ({"event": "a.b", "data": []}, "data"),
        ({"event": "a.b", "data": {"n": 2**53}}, "data.n"),
        ({"event": "a.b", "data": {"emails": [{"value": "\ud800"}]}}, "data.emails[0].value"),
        ({"event": "a.b", "data": {}, "context": 1}, "context"),
        ({"event": "a.b", "data": {}, "context": {"n": float("nan")}}, "context.n"),
        ({"event": "a.b", "data": {}, "organization_id": ""}, "organization_id"),
        ({"event": "a.b", "data": {}, "organization_id": 7}, "organization_id"),
        ({"event": "a.b", "data": {}, "organization_id": "\ud800"}, "organization_id"),
        ({"event": "a.b", "data": {}, "created_at": "yesterday"}, "created_at"),
        ({"event": "a.b", "data": {}, "created_at": 1}, "created_at"),
        ({"event": "a.b", "data": {}, "organisation_id": "x"}, "organisation_id"),
        ({"event": "a.b", "data": {"x": "y" * MAX_EVENT_BYTES}}, "data"),
    ],
)
def test_a_bad_event_is_refused_at_its_place(value: Any, field: str) -> None:
    """422 invalid_event, and the error names where."""
    with pytest.raises(RequestError) as caught:
        draft_event(value)

    assert (caught.value.status, caught.value.code) == (422, "invalid_event")
    assert caught.value.errors is not None
    assert caught.value.errors[0]["field"] == field


@pytest.mark.parametrize("event_type", ["dsync.user.created", "invoice.paid", "a1.b_2.c"])
def test_any_well_formed_name_is_taken(event_type: str) -> None:
    """The catalogue's names and a user's own."""
    assert draft(event_type).type == event_type


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "events"),
        ([], "events"),
        ({}, "events"),
        ([USER] * 1001, "events"),
        ([USER, USER, {"event": "a.b", "data": {"n": [1, 2**60]}}], "events[2].data.n[1]"),
        ([USER, 7], "events[1]"),
    ],
)
def test_a_bad_batch_is_refused_whole(value: Any, field: str) -> None:
    """The error names the index and the path."""
    with pytest.raises(RequestError) as caught:
        draft_batch(value)

    assert caught.value.status == 422
    assert caught.value.errors is not None
    assert caught.value.errors[0]["field"] == field


def test_a_batch_is_bounded_in_bytes() -> None:
    """Forty events of a size that is allowed are together too many."""
    large = USER | {"data": {"x": "y" * (MAX_EVENT_BYTES - 100)}}

    with pytest.raises(RequestError, match="expected a batch of at most") as caught:
        draft_batch([large] * 40)

    assert caught.value.errors is not None
    assert caught.value.errors[0]["field"] == "events[32]"


def test_a_batch_of_a_thousand_is_one_commit_in_order(
    database: Database, store: SenderStore, publisher: Publisher
) -> None:
    """Ids come back in the order of the events."""
    add_endpoint(database, store, "we_1", "*")
    drafts = draft_batch([USER | {"data": {"n": turn}} for turn in range(1000)])

    published = publisher.publish_inline(publication(*drafts))

    listed = feed(database, store)
    assert [event.id for event in listed] == [item.id for item in published]
    assert [json.loads(event.body)["data"]["n"] for event in listed] == list(range(1000))
    assert len(deliveries(database, store)) == 1000


def test_a_value_is_never_shown_in_a_refusal() -> None:
    """Errors name places and kinds, not what a person's record holds."""
    with pytest.raises(RequestError) as caught:
        draft_event({"event": "a.b", "data": {"ssn": "123-45-6789\ud800"}})

    assert "123-45" not in str(caught.value)
