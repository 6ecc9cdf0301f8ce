"""What every database must do for the sender's verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from hookline.rules.lifecycle import Next
from hookline.sender.model import ApiKey, Delivery, Endpoint
from hookline.sender.store import (
    LAST_ROW,
    AuditFilter,
    DeliveryFilter,
    FeedFilter,
    IdempotencyRecord,
    Match,
    SenderStore,
    names_asked_by,
)
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> SenderStore:
    return SenderStore(database.dialect)


class World:
    """Puts rows into the database in one line each and reads them back."""

    def __init__(self, database: Database, store: SenderStore) -> None:
        self.database = database
        self.store = store

    def write(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.database.run(lambda connection: verb(connection, *args, **kwargs))

    def read(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self.database.read() as connection:
            return verb(connection, *args, **kwargs)

    def add_endpoint(self, endpoint_id: str, *events: str, environment: Any = "production") -> bool:
        added: bool = self.write(
            self.store.add_endpoint,
            endpoint_id=endpoint_id,
            environment=environment,
            url=f"https://{endpoint_id}.example.com/",
            events=events or ("*",),
            description=None,
            secret_enc="sealed",
            now_ms=1_000,
        )
        return added

    def endpoint(self, endpoint_id: str) -> Endpoint:
        found: Endpoint | None = self.read(self.store.endpoint, "production", endpoint_id, with_deleted=True)
        assert found is not None
        return found

    def add_event(
        self, event_id: str, *, event_type: str = "dsync.user.created", is_fed: bool = True, **fields: Any
    ) -> int:
        row = {
            "id": event_id,
            "environment": "production",
            "type": event_type,
            "organization_id": None,
            "body": b'{"id":"' + event_id.encode() + b'"}',
            "created_ms": 1_000,
            "now_ms": 2_000,
        } | fields

        def work(connection: Any) -> int:
            event_row = self.store.add_events(connection, [row])[event_id]
            if is_fed:
                self.store.feed(connection, [(str(row["environment"]), event_row)])
            return event_row

        return self.database.run(work)

    def add_delivery(self, delivery_id: str, event_row: int, endpoint_row: int, **fields: Any) -> None:
        row = {
            "id": delivery_id,
            "environment": "production",
            "event_row": event_row,
            "endpoint_row": endpoint_row,
            "origin": "replay",
            "state": "pending",
            "due_ms": 5_000,
            "reason": None,
            "now_ms": 2_000,
        } | fields
        self.write(self.store.add_deliveries, [row])

    def delivery(self, delivery_id: str) -> Delivery:
        found: Delivery | None = self.read(self.store.delivery, "production", delivery_id)
        assert found is not None
        return found

    def set_state(self, delivery_id: str, state: str, **fields: Any) -> None:
        changes = {"state": state} | fields

        def work(connection: Any) -> None:
            mark = "?" if self.database.dialect == "sqlite" else "%s"
            columns = ", ".join(f"{name} = {mark}" for name in changes)
            connection.cursor().execute(
                f"update hookline_sender_deliveries set {columns} where id = {mark}",
                [*changes.values(), delivery_id],
            )

        self.database.run(work)


@pytest.fixture
def world(database: Database, store: SenderStore) -> World:
    return World(database, store)


def ids(found: list[Any]) -> list[str]:
    return [item.id for item in found]


# -- endpoints


def test_an_endpoint_is_read_as_it_was_added(world: World) -> None:
    """Every field comes back, what it asks for sorted and once."""
    world.add_endpoint("we_1", "dsync.user.updated", "dsync.*", "dsync.user.updated")

    endpoint = world.endpoint("we_1")

    assert (endpoint.id, endpoint.environment, endpoint.url) == (
        "we_1",
        "production",
        "https://we_1.example.com/",
    )
    assert (endpoint.status, endpoint.version, endpoint.secret_enc) == ("enabled", 1, "sealed")
    assert (endpoint.created_ms, endpoint.updated_ms, endpoint.deleted_ms) == (1_000, 1_000, None)
    assert endpoint.events == ("dsync.*", "dsync.user.updated")


def test_an_endpoint_is_seen_from_its_own_environment_only(world: World) -> None:
    """A key of one environment reads nothing of the other."""
    world.add_endpoint("we_1")

    assert world.read(world.store.endpoint, "staging", "we_1") is None


def test_a_url_is_used_once_per_environment_while_alive(world: World) -> None:
    """A second live endpoint with the URL is not added; another environment or a deletion frees it."""
    url = {"url": "https://same.example.com/", "events": ["*"], "description": None, "secret_enc": "s", "now_ms": 1}
    add = world.store.add_endpoint
    first = world.write(add, endpoint_id="we_1", environment="production", **url)
    second = world.write(add, endpoint_id="we_2", environment="production", **url)
    elsewhere = world.write(add, endpoint_id="we_3", environment="staging", **url)
    world.write(world.store.delete_endpoint, "production", "we_1", now_ms=2)

    after_deletion = world.write(add, endpoint_id="we_4", environment="production", **url)

    assert (first, second, elsewhere, after_deletion) == (True, False, True, True)


def test_a_url_is_taken_by_others_not_by_itself(world: World) -> None:
    """An update to the endpoint's own URL is no conflict."""
    world.add_endpoint("we_1")
    world.add_endpoint("we_2")

    taken = world.read(world.store.is_url_taken, world.endpoint("we_1"), "https://we_2.example.com/")
    own = world.read(world.store.is_url_taken, world.endpoint("we_1"), "https://we_1.example.com/")

    assert (taken, own) == (True, False)


def test_a_change_touches_what_is_given_and_counts_the_version(world: World) -> None:
    """Fields that are None stay; version and updated_ms move, and updated_ms never back."""
    world.add_endpoint("we_1", "a.b")
    before = world.endpoint("we_1")

    world.write(world.store.change_endpoint, before, url="https://new.example.com/", now_ms=500)
    world.write(world.store.change_endpoint, before, events=["c.d"], description="ours", now_ms=9_000)

    after = world.endpoint("we_1")
    assert (after.url, after.status, after.description) == ("https://new.example.com/", "enabled", "ours")
    assert after.events == ("c.d",)
    assert (after.version, after.updated_ms) == (3, 9_000)


def test_turning_an_endpoint_off_and_on_keeps_who_did_it(world: World) -> None:
    """Disabled by a person says so; a repeated PATCH keeps the first reason; enabling forgets it."""
    world.add_endpoint("we_1")

    world.write(world.store.change_endpoint, world.endpoint("we_1"), status="disabled", now_ms=2)
    off = world.endpoint("we_1")
    world.write(world.store.change_endpoint, off, status="disabled", now_ms=3)
    still_off = world.endpoint("we_1")
    world.write(world.store.change_endpoint, still_off, status="enabled", now_ms=4)
    on = world.endpoint("we_1")

    assert (off.status, off.disabled_reason) == ("disabled", "by_person")
    assert still_off.disabled_reason == "by_person"
    assert (on.status, on.disabled_reason) == ("enabled", None)


def test_a_list_walks_both_ways_from_a_row(world: World) -> None:
    """Newer and older than a row, nearest first, the limit kept, deleted and foreign ones left out."""
    for number in range(1, 6):
        world.add_endpoint(f"we_{number}")
    world.add_endpoint("we_staging", environment="staging")
    world.write(world.store.delete_endpoint, "production", "we_4", now_ms=2)
    cursor_row = world.endpoint("we_3").row_id
    read = world.store.endpoints

    assert ids(world.read(read, "production", "newer", cursor_row, 10)) == ["we_5"]
    assert ids(world.read(read, "production", "older", cursor_row, 10)) == ["we_2", "we_1"]
    assert ids(world.read(read, "production", "older", LAST_ROW, 2)) == ["we_5", "we_3"]
    assert ids(world.read(read, "production", "newer", 0, 1)) == ["we_1"]


def test_a_deleted_endpoint_is_gone_once(world: World) -> None:
    """The second deletion finds nothing; the row stays for its deliveries."""
    world.add_endpoint("we_1")

    first = world.write(world.store.delete_endpoint, "production", "we_1", now_ms=7)
    second = world.write(world.store.delete_endpoint, "production", "we_1", now_ms=8)

    assert (first, second) == (True, False)
    assert world.read(world.store.endpoint, "production", "we_1") is None
    assert world.endpoint("we_1").deleted_ms == 7


def test_what_is_sealed_is_rewritten_without_a_new_version(world: World) -> None:
    """Re-encryption changes the ciphertexts alone: both secrets, headers and API keys, of deleted endpoints too."""
    world.add_endpoint("we_1")
    world.add_endpoint("we_2")
    row = world.endpoint("we_1").row_id
    world.write(
        world.store.rotate_secret, row, secret_enc="new", old_secret_enc="sealed", old_secret_until_ms=9, now_ms=1
    )
    world.write(world.store.delete_endpoint, "production", "we_2", now_ms=7)
    with world.database.transaction() as connection:
        connection.execute("update hookline_sender_endpoints set headers_enc = 'headers' where id = 'we_1'")
        connection.execute(
            "insert into hookline_sender_keys (key_hash, environment, created_ms, key_enc)"
            " values ('hash', 'staging', 1, 'key'), ('other', 'production', 1, null)"
        )

    world.write(world.store.reseal, lambda token: f"again {token}")

    one, two = world.endpoint("we_1"), world.endpoint("we_2")
    assert (one.secret_enc, one.old_secret_enc, one.headers_enc) == ("again new", "again sealed", "again headers")
    assert (one.version, two.version) == (2, 2)
    assert (two.secret_enc, two.old_secret_enc, two.headers_enc) == ("again sealed", None, None)
    with world.database.read() as connection:
        keys = connection.execute("select key_enc from hookline_sender_keys order by key_hash").fetchall()
    assert [key for [key] in keys] == ["again key", None]


# -- matching


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        ("dsync.user.created", True),
        ("dsync.user.*", True),
        ("dsync.*", True),
        ("*", True),
        ("dsync.user", False),
        ("dsync.user.updated", False),
        ("dsync.group.*", False),
        ("user.*", False),
    ],
)
def test_exact_names_prefixes_and_the_star_match(world: World, asked: str, matches: bool) -> None:
    """`dsync.user.created` is asked for by its name, by `dsync.user.*`, `dsync.*` and `*`, and by nothing else."""
    world.add_endpoint("we_1", asked)

    found = world.read(world.store.endpoints_matching, [("production", "dsync.user.created")])

    assert bool(found) is matches


def test_an_endpoint_that_asks_twice_is_found_once(world: World) -> None:
    """Overlapping patterns make one delivery."""
    world.add_endpoint("we_1", "dsync.user.created", "dsync.*", "*")

    found = world.read(world.store.endpoints_matching, [("production", "dsync.user.created")])

    assert found == [Match("production", "dsync.user.created", world.endpoint("we_1").row_id, None)]


def test_matching_keeps_environments_and_types_apart(world: World) -> None:
    """Of several types and environments at once, each endpoint gets its own."""
    world.add_endpoint("we_1", "a.one")
    world.add_endpoint("we_2", "a.two")
    world.add_endpoint("we_3", "a.one", environment="staging")

    found = world.read(
        world.store.endpoints_matching, [("production", "a.one"), ("staging", "a.one"), ("staging", "a.two")]
    )

    assert {(match.environment, match.event_type) for match in found} == {
        ("production", "a.one"),
        ("staging", "a.one"),
    }
    assert len(found) == 2


def test_disabled_and_deleted_endpoints_match_nothing_and_paused_ones_say_so(world: World) -> None:
    """Disabled by a person: no delivery. Paused: a delivery to hold."""
    for number in range(1, 4):
        world.add_endpoint(f"we_{number}", "a.b")
    world.write(world.store.change_endpoint, world.endpoint("we_1"), status="disabled", now_ms=2)
    world.write(world.store.delete_endpoint, "production", "we_2", now_ms=2)
    world.write(world.store.pause_endpoint, world.endpoint("we_3"), now_ms=2)

    found = world.read(world.store.endpoints_matching, [("production", "a.b")])

    assert found == [Match("production", "a.b", world.endpoint("we_3").row_id, "endpoint_paused")]


def test_an_endpoint_disabled_by_us_has_its_deliveries_held(world: World) -> None:
    """Not by a person, so nothing is dropped; when a person disables it as well, no more are made."""
    world.add_endpoint("we_1", "a.b")
    mark = "?" if world.database.dialect == "sqlite" else "%s"
    world.database.run(
        lambda tx: tx.cursor().execute(
            f"update hookline_sender_endpoints set status = 'disabled', disabled_reason = {mark}", ["gone"]
        )
    )
    by_us = world.read(world.store.endpoints_matching, [("production", "a.b")])
    world.write(world.store.change_endpoint, world.endpoint("we_1"), status="disabled", now_ms=2)

    by_person = world.read(world.store.endpoints_matching, [("production", "a.b")])

    assert by_us == [Match("production", "a.b", world.endpoint("we_1").row_id, "endpoint_gone")]
    assert by_person == []


def test_the_names_a_type_is_asked_for_by() -> None:
    """Its own, each prefix, the star."""
    assert names_asked_by("a.b.c") == ["a.b.c", "a.*", "a.b.*", "*"]


# -- events and the feed


def test_an_event_is_read_with_the_bytes_it_was_stored_with(world: World) -> None:
    """The body comes back byte for byte, from its own environment."""
    row = world.add_event("event_1", body='{"name":"Zoë \u2028"}'.encode(), organization_id="org_1")

    event = world.read(world.store.event, "production", "event_1")

    assert (event.row_id, event.body, event.organization_id) == (row, '{"name":"Zoë \u2028"}'.encode(), "org_1")
    assert (event.created_ms, event.published_ms) == (1_000, 2_000)
    assert world.read(world.store.event, "staging", "event_1") is None


def test_many_events_get_their_rows_by_id(world: World) -> None:
    """A batch of any size gives every id its row."""
    rows = [
        {
            "id": f"event_{number}",
            "environment": "production",
            "type": "a.b",
            "organization_id": None,
            "body": b"{}",
            "created_ms": 1,
            "now_ms": 1,
        }
        for number in range(700)
    ]

    found = world.write(world.store.add_events, rows)

    assert [world.read(world.store.event, "production", f"event_{n}").row_id for n in (0, 511, 699)] == [
        found["event_0"],
        found["event_511"],
        found["event_699"],
    ]
    assert len(set(found.values())) == 700


def test_the_feed_is_read_in_its_own_order(world: World) -> None:
    """By place in the feed, not by id or time; after and before are exclusive."""
    for event_id in ("event_b", "event_c", "event_a"):
        world.add_event(event_id)
    wanted = FeedFilter(types=("dsync.user.created",))
    seq = world.read(world.store.feed_seq, "production", "event_c")

    assert ids(world.read(world.store.feed_page, "production", wanted, limit=10)) == [
        "event_b",
        "event_c",
        "event_a",
    ]
    assert ids(world.read(world.store.feed_page, "production", wanted, after_seq=seq, limit=10)) == ["event_a"]
    assert ids(world.read(world.store.feed_page, "production", wanted, before_seq=seq, limit=10)) == ["event_b"]
    assert len(world.read(world.store.feed_page, "production", wanted, limit=2)) == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (FeedFilter(types=("a.one",)), ["event_1", "event_3"]),
        (FeedFilter(types=("a.one", "a.two")), ["event_1", "event_2", "event_3"]),
        (FeedFilter(types=("a.none",)), []),
        (FeedFilter(types=("a.one", "a.two"), organization_id="org_1"), ["event_2"]),
        (FeedFilter(types=("a.one", "a.two"), range_start_ms=20), ["event_2", "event_3"]),
        (FeedFilter(types=("a.one", "a.two"), range_end_ms=20), ["event_1"]),
        (FeedFilter(types=("a.one", "a.two"), range_start_ms=20, range_end_ms=30), ["event_2"]),
    ],
)
def test_the_feed_is_filtered(world: World, wanted: FeedFilter, expected: list[str]) -> None:
    """By type, organization and a half-open range of creation times, both ways."""
    world.add_event("event_1", event_type="a.one", created_ms=10)
    world.add_event("event_2", event_type="a.two", created_ms=20, organization_id="org_1")
    world.add_event("event_3", event_type="a.one", created_ms=30)
    world.add_event("event_4", event_type="a.one", environment="staging")

    assert ids(world.read(world.store.feed_page, "production", wanted, limit=10)) == expected
    backwards = world.read(world.store.feed_page, "production", wanted, before_seq=LAST_ROW, limit=10)
    assert ids(backwards) == expected[::-1]


def test_an_outbox_event_enters_the_feed_once_and_in_order(world: World) -> None:
    """Events left for later are listed only after feed_missing, oldest row first, and never twice."""
    rows = [world.add_event(f"event_{number}", is_fed=False) for number in range(3)]
    world.write(world.store.feed_later, rows[::-1])
    wanted = FeedFilter(types=("dsync.user.created",))
    before = world.read(world.store.feed_page, "production", wanted, limit=10)

    placed = world.write(world.store.feed_missing)
    again = world.write(world.store.feed_missing)

    assert before == []
    assert (placed, again) == (3, 0)
    assert ids(world.read(world.store.feed_page, "production", wanted, limit=10)) == [
        "event_0",
        "event_1",
        "event_2",
    ]


# -- idempotency


def test_a_key_is_taken_once_per_environment(world: World) -> None:
    """The first taker gets it; what it stands for stays the first one's."""
    row = {
        "environment": "production",
        "idempotency_key": "k",
        "operation": "POST /api/v1/events",
        "body_sha256": "aa",
        "result_ids": '["event_1"]',
        "now_ms": 1,
    }
    first = world.write(world.store.take_idempotency_keys, [row])
    second = world.write(world.store.take_idempotency_keys, [row | {"body_sha256": "bb"}])
    elsewhere = world.write(world.store.take_idempotency_keys, [row | {"environment": "staging"}])

    assert first == {("production", "k")}
    assert second == set()
    assert elsewhere == {("staging", "k")}
    assert world.read(world.store.idempotency_record, "production", "k") == IdempotencyRecord(
        "POST /api/v1/events", "aa", ("event_1",)
    )
    assert world.read(world.store.idempotency_record, "production", "other") is None


# -- deliveries


def test_a_delivery_is_read_with_its_event_and_endpoint(world: World) -> None:
    """The joined ids, type and URL come with it; a deleted endpoint's deliveries stay readable."""
    world.add_endpoint("we_1")
    event_row = world.add_event("event_1")
    world.add_delivery("delivery_1", event_row, world.endpoint("we_1").row_id, origin="published")
    world.write(world.store.delete_endpoint, "production", "we_1", now_ms=9)

    delivery = world.delivery("delivery_1")

    assert (delivery.event_id, delivery.event_type) == ("event_1", "dsync.user.created")
    assert (delivery.endpoint_id, delivery.endpoint_url) == ("we_1", "https://we_1.example.com/")
    assert (delivery.state, delivery.reason, delivery.due_ms) == ("canceled", "endpoint_deleted", None)
    assert (delivery.attempt, delivery.slots_used, delivery.next_kind) == (0, 0, "scheduled")
    assert world.read(world.store.delivery, "staging", "delivery_1") is None


def test_one_published_delivery_per_event_and_endpoint(world: World) -> None:
    """The database itself refuses a second one; replays are free."""
    world.add_endpoint("we_1")
    event_row, endpoint_row = world.add_event("event_1"), world.endpoint("we_1").row_id
    world.add_delivery("delivery_1", event_row, endpoint_row, origin="published")
    world.add_delivery("delivery_2", event_row, endpoint_row, origin="replay")

    with pytest.raises(Exception, match=r"(?i)unique"):
        world.add_delivery("delivery_3", event_row, endpoint_row, origin="published")


def test_deliveries_are_listed_by_every_filter(world: World) -> None:
    """State, type, event and endpoint, alone and together, both ways."""
    world.add_endpoint("we_1")
    world.add_endpoint("we_2")
    one, two = world.endpoint("we_1").row_id, world.endpoint("we_2").row_id
    first, second = world.add_event("event_1"), world.add_event("event_2", event_type="a.two")
    world.add_delivery("delivery_1", first, one)
    world.add_delivery("delivery_2", first, two, state="held")
    world.add_delivery("delivery_3", second, one, state="held")

    def listed(direction: Any = "older", cursor_row: int = LAST_ROW, limit: int = 10, **fields: Any) -> list[str]:
        return ids(
            world.read(world.store.deliveries, "production", DeliveryFilter(**fields), direction, cursor_row, limit)
        )

    assert listed() == ["delivery_3", "delivery_2", "delivery_1"]
    assert listed("newer", 0) == ["delivery_1", "delivery_2", "delivery_3"]
    assert listed(limit=1) == ["delivery_3"]
    assert listed(cursor_row=world.delivery("delivery_3").row_id) == ["delivery_2", "delivery_1"]
    assert listed(state="held") == ["delivery_3", "delivery_2"]
    assert listed(event_type="a.two") == ["delivery_3"]
    assert listed(event_row=first) == ["delivery_2", "delivery_1"]
    assert listed("newer", 0, event_row=first) == ["delivery_1", "delivery_2"]
    assert listed(endpoint_row=one) == ["delivery_3", "delivery_1"]
    assert listed("newer", 0, endpoint_row=one, state="held") == ["delivery_3"]
    assert listed(event_row=first, endpoint_row=two) == ["delivery_2"]
    assert listed(event_row=first, endpoint_row=two, state="pending") == []


def test_attempts_are_read_in_the_order_they_were_made(world: World) -> None:
    """By number, whatever order they were written in."""
    mark = "?" if world.database.dialect == "sqlite" else "%s"

    def work(connection: Any) -> None:
        for number in (2, 1):
            connection.cursor().execute(
                "insert into hookline_sender_attempts (delivery_row, number, kind, outcome, started_ms, evidence) "
                f"values (1, {mark}, 'scheduled', 'failed', 5, '{{}}')",
                [number],
            )

    world.database.run(work)

    found = world.read(world.store.attempts, 1)

    assert [attempt.number for attempt in found] == [1, 2]
    assert (found[0].outcome, found[0].status, found[0].duration_ms, found[0].evidence) == (
        "failed",
        None,
        None,
        "{}",
    )


@pytest.fixture
def delivery_id(world: World) -> str:
    """One pending delivery, due at 5,000."""
    world.add_endpoint("we_1")
    world.add_delivery("delivery_1", world.add_event("event_1"), world.endpoint("we_1").row_id)
    return "delivery_1"


def test_a_decision_is_stored_whole(world: World, delivery_id: str) -> None:
    """Every field of the decision lands, the lease ends."""
    world.set_state(delivery_id, "failed", attempt=7, slots_used=7, unknown_attempts=2, leased_until_ms=4)
    decided = Next("pending", 6_000, "retry_asked", 7, 0, "manual", 8_000)

    done = world.write(world.store.move, world.delivery(delivery_id), decided, now_ms=6_001)

    delivery = world.delivery(delivery_id)
    assert done is True
    assert (delivery.state, delivery.due_ms, delivery.reason) == ("pending", 6_000, "retry_asked")
    assert (delivery.slots_used, delivery.unknown_attempts, delivery.attempt) == (7, 0, 7)
    assert (delivery.next_kind, delivery.planned_ms) == ("manual", 8_000)
    assert (delivery.leased_until_ms, delivery.updated_ms) == (None, 6_001)


@pytest.mark.parametrize(("state", "attempt"), [("running", 0), ("pending", 1)])
def test_a_decision_never_overtakes_a_worker(world: World, delivery_id: str, state: str, attempt: int) -> None:
    """A delivery that was claimed, or claimed and settled, since it was read is left alone."""
    stale = world.delivery(delivery_id)
    world.set_state(delivery_id, state, attempt=attempt, leased_until_ms=99)

    done = world.write(world.store.move, stale, Next("canceled", None, "canceled"), now_ms=6_000)

    delivery = world.delivery(delivery_id)
    assert done is False
    assert (delivery.state, delivery.leased_until_ms, delivery.reason) == (state, 99, None)


def test_disabling_holds_what_waits(world: World, delivery_id: str) -> None:
    """A disabled endpoint gets nothing, and nothing is lost; a retry keeps its time. Enabling alone lets nothing go."""
    world.write(world.store.change_endpoint, world.endpoint("we_1"), status="disabled", now_ms=2_500)
    held = world.delivery(delivery_id)

    world.write(world.store.change_endpoint, world.endpoint("we_1"), status="enabled", now_ms=3_000)

    released = world.delivery(delivery_id)
    assert (held.state, held.reason, held.due_ms) == ("held", "endpoint_disabled", 5_000)
    assert released.state == "held"


def test_one_endpoints_switches_leave_the_others_alone(world: World, delivery_id: str) -> None:
    """Holding, releasing and canceling name one endpoint."""
    world.add_endpoint("we_2")

    world.write(world.store.pause_endpoint, world.endpoint("we_2"), now_ms=1)
    world.write(world.store.delete_endpoint, "production", "we_2", now_ms=2)

    assert world.delivery(delivery_id).state == "pending"


# -- keys and settings


def api_key(key_hash: str, environment: Any, **fields: Any) -> ApiKey:
    made = ApiKey(key_hash, environment, f"key_{key_hash}", "a name", "abcd", None, 1, None, None)
    return replace(made, **fields)


def test_the_first_key_of_an_environment_is_stored_once(world: World) -> None:
    """A second 'first' key is refused, another environment has its own."""
    add = world.store.add_first_key
    first = world.write(add, api_key("h1", "production"))
    second = world.write(add, api_key("h2", "production"))
    elsewhere = world.write(add, api_key("h3", "staging", key_enc="sealed"))

    assert (first, second, elsewhere) == (True, False, True)
    assert world.read(world.store.valid_keys) == {"h1": ("production", "key_h1"), "h3": ("staging", "key_h3")}
    assert world.read(world.store.keys, "staging") == [api_key("h3", "staging", key_enc="sealed")]


def test_a_key_is_revoked_once_and_stays_listed(world: World) -> None:
    """In its own environment alone; the sealed copy goes with it."""
    world.write(world.store.add_key, api_key("h1", "staging", key_enc="sealed"))
    world.write(world.store.add_key, api_key("h2", "staging", key_enc="sealed", created_ms=2))
    revoke = world.store.revoke_key

    done = [
        world.write(revoke, environment, "key_h1", now_ms=now_ms)
        for environment, now_ms in (("production", 5), ("staging", 6), ("staging", 7))
    ]

    assert done == [False, True, False]
    assert [(key.id, key.revoked_ms, key.key_enc) for key in world.read(world.store.keys, "staging")] == [
        ("key_h1", 6, None),
        ("key_h2", None, "sealed"),
    ]
    assert list(world.read(world.store.valid_keys)) == ["h2"]


def test_the_last_use_of_a_key_only_moves_on(world: World) -> None:
    """Two processes write in any order; an unknown key is passed over."""
    world.write(world.store.add_key, api_key("h1", "staging"))

    for used in ({"h1": 50, "h9": 50}, {"h1": 40}, {"h1": 60}):
        world.write(world.store.note_key_uses, used)

    [key] = world.read(world.store.keys, "staging")
    assert key.last_used_ms == 60


def test_a_setting_is_written_over(world: World) -> None:
    """The last value counts; one that was never written is None."""
    world.write(world.store.put_setting, "name", "one")
    world.write(world.store.put_setting, "name", "two")

    assert world.read(world.store.setting, "name") == "two"
    assert world.read(world.store.setting, "other") is None


# -- versions and the audit trail


def test_every_change_of_an_endpoint_keeps_a_version(world: World) -> None:
    """Made, changed, paused, resumed, deleted: each from when it held, with what it asked for then."""
    world.add_endpoint("we_1", "a.b")
    endpoint = world.endpoint("we_1")
    url = "https://new.example.com/"
    world.write(world.store.change_endpoint, endpoint, url=url, events=["c.d", "a.*"], now_ms=2_000)
    world.write(world.store.change_endpoint, world.endpoint("we_1"), status="disabled", now_ms=3_000)
    world.write(world.store.pause_endpoint, world.endpoint("we_1"), now_ms=4_000)
    world.write(world.store.resume_endpoint, world.endpoint("we_1"), now_ms=5_000)
    world.write(world.store.delete_endpoint, "production", "we_1", now_ms=6_000)

    kept = world.read(world.store.endpoint_versions, endpoint.row_id, "newer", 0, 100)

    assert [(item.version, item.from_ms) for item in kept] == [(n, n * 1_000) for n in range(1, 7)]
    assert [item.url for item in kept] == ["https://we_1.example.com/", *[url] * 5]
    assert [item.events for item in kept] == [("a.b",), *[("a.*", "c.d")] * 5]
    assert [item.status for item in kept] == ["enabled", "enabled", *["disabled"] * 4]
    assert [item.paused_ms for item in kept] == [None, None, None, 4_000, None, None]
    assert [item.deleted_ms for item in kept] == [*[None] * 5, 6_000]
    assert [item.version for item in world.read(world.store.endpoint_versions, endpoint.row_id, "older", 4, 2)] == [
        3,
        2,
    ]


@pytest.mark.parametrize(("at_ms", "version"), [(999, None), (1_000, 1), (1_999, 1), (2_000, 2), (9_000, 2)])
def test_the_version_that_held_at_a_time(world: World, at_ms: int, version: int | None) -> None:
    """From its own time on; before the endpoint was made there is none."""
    world.add_endpoint("we_1", "a.b")
    endpoint = world.endpoint("we_1")
    world.write(world.store.change_endpoint, endpoint, events=["c.d"], now_ms=2_000)

    found = world.read(world.store.endpoint_version_at, endpoint.row_id, at_ms)

    assert (found.version if found else None) == version


def test_a_version_noted_twice_holds_what_was_written_last(world: World) -> None:
    """Whoever writes twice in a transaction notes it once more."""
    world.add_endpoint("we_1", "a.b")
    endpoint = world.endpoint("we_1")

    def work(connection: Any) -> None:
        connection.cursor().execute("update hookline_sender_endpoints set disabled_reason = 'failing'")
        world.store.note_version(connection, endpoint.row_id)

    world.database.run(work)
    [kept] = world.read(world.store.endpoint_versions, endpoint.row_id, "newer", 0, 100)

    assert (kept.version, kept.disabled_reason, kept.events) == (1, "failing", ("a.b",))


def test_the_audit_trail_tells_who_did_what(world: World) -> None:
    """In order, by environment, by action and object; either way from a place."""
    for number, action in enumerate(["a.made", "a.changed", "b.made"], start=1):
        world.write(
            world.store.audit,
            "production",
            actor="key_1",
            action=action,
            object_id=action[0],
            detail={"fields": ["url"]},
            now_ms=number,
        )
    world.write(world.store.audit, "staging", actor="command", action="a.made", now_ms=9)

    def listed(direction: Any, row: int, **wanted: Any) -> list[str]:
        found = world.read(world.store.audit_entries, "production", AuditFilter(**wanted), direction, row, 100)
        return [item.action for item in found]

    first = world.read(world.store.audit_entries, "production", AuditFilter(), "newer", 0, 1)[0]
    assert (first.actor, first.object_id, first.at_ms, first.detail) == ("key_1", "a", 1, '{"fields": ["url"]}')
    assert listed("newer", first.row_id) == ["a.changed", "b.made"]
    assert listed("older", LAST_ROW) == ["b.made", "a.changed", "a.made"]
    assert listed("newer", 0, action="a.made") == ["a.made"]
    assert listed("newer", 0, object_id="a") == ["a.made", "a.changed"]
    assert world.read(world.store.has_audit_entry, "production", first.row_id)
    assert not world.read(world.store.has_audit_entry, "staging", first.row_id)
