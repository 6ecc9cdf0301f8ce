"""The event log on both databases: what a search finds, page by page, and how far it looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hookline.rules.event_search import EventSearch
from hookline.sender import event_log
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_log import EventLog, LoggedEvent
from hookline.sender.event_writer import Publication
from hookline.storage import Database, connect
from hookline.testing import TurnedClock


@dataclass
class Log:
    """A sender whose deliveries are moved by hand."""

    sender: SenderApp
    database: Database
    clock: TurnedClock
    log: EventLog

    def publish(self, type_: str, id_: str | None = None, **data: Any) -> str:
        value = {"event": type_, "data": {"id": id_, **data} if id_ is not None else data}
        return self.sender.publisher.publish_inline(Publication("production", (draft_event(value),)))[0].id

    def find(self, **wanted: Any) -> list[LoggedEvent]:
        with self.database.read() as connection:
            return list(self.log.page(connection, "production", EventSearch(**wanted)).events)

    def ids(self, **wanted: Any) -> list[str]:
        return [one.id for one in self.find(**wanted)]

    def move(self, event_id: str, **columns: Any) -> None:
        def write(connection: Any) -> None:
            cursor = connection.cursor()
            sets = ", ".join(f"{name} = {value!r}" for name, value in columns.items())
            cursor.execute(
                f"update hookline_sender_deliveries set {sets} where event_row ="
                f" (select row_id from hookline_sender_events where id = '{event_id}')"
            )
            cursor.close()

        self.database.run(write)

    def attempt(self, event_id: str, status: int) -> None:
        def write(connection: Any) -> None:
            cursor = connection.cursor()
            cursor.execute(
                "insert into hookline_sender_attempts (delivery_row, number, kind, outcome, reason, status, started_ms,"
                f" duration_ms, evidence) select d.row_id, 1, 'scheduled', 'failed', 'status_{status}', {status}, 1, 1,"
                " '{}' from hookline_sender_deliveries d join hookline_sender_events e on e.row_id = d.event_row"
                f" where e.id = '{event_id}'"
            )
            cursor.close()

        self.database.run(write)


@pytest.fixture
def log(database_url: str) -> Iterator[Log]:
    clock = TurnedClock(1_700_000_000_000)
    database = connect(database_url)
    key = "1xvn2kqS9ZrCqTqNf2H8F1pVYlpHPbZ4BqpDYZgKf8E="
    sender = SenderApp(database, encryption_keys=[key], allow_private_targets=True, clock=clock)
    yield Log(sender, database, clock, EventLog(database.dialect))
    sender.close()
    database.close()


def test_events_are_known_by_their_objects(log: Log) -> None:
    user = log.publish("dsync.user.created", "directory_user_1", object="directory_user")
    again = log.publish("dsync.user.updated", "directory_user_1", object="directory_user")
    group = {"id": "directory_group_1"}
    member = log.publish("dsync.group.user_added", group=group, user={"id": "directory_user/1"})
    own = log.publish("invoice.paid", "invoice_1")
    nameless = log.publish("invoice.paid")
    assert log.ids(object_id="directory_user_1") == [again, user]
    assert log.ids(object_id="directory_group_1/directory_user%2F1") == [member]
    assert log.ids(object_id="invoice_1") == [own]
    assert [one.object_id for one in log.find(id=nameless)] == [None]
    with log.database.read() as connection:
        event = log.log.event(connection, "production", again)
        assert event is not None
        before = log.log.previous(connection, "production", event)
        assert before is not None
        assert before.id == user
        assert log.log.previous(connection, "production", before) is None
        assert log.log.event(connection, "staging", again) is None


def test_every_state_is_found_and_named(log: Log) -> None:
    endpoint = log.sender.registry.create("production", url="http://127.0.0.1:9/hooks", events=["a.*"])
    states: dict[str, dict[str, Any]] = {
        "pending": {"state": "pending"},
        "retrying": {"state": "pending", "attempt": 2},
        "delivered": {"state": "succeeded", "attempt": 1},
        "failed": {"state": "failed", "attempt": 6},
        "held": {"state": "held"},
        "canceled": {"state": "canceled"},
    }
    made = {word: log.publish("a.b", word) for word in states}
    for word, columns in states.items():
        log.move(made[word], **columns)
    made["nobody"] = log.publish("c.d", "nobody")
    for word, event_id in made.items():
        found = log.find(status=word)
        assert [one.id for one in found] == [event_id], word
        assert found[0].state == word
    assert log.ids(endpoint_id=endpoint.id) == [made[word] for word in reversed(states)]
    assert log.find(id=made["failed"])[0].sent[0].endpoint_url == "http://127.0.0.1:9/hooks"
    log.attempt(made["failed"], 503)
    assert log.ids(codes=(500, 599)) == [made["failed"]]
    assert log.ids(codes=(404, 404)) == []


def test_types_times_and_origins(log: Log) -> None:
    first = log.publish("a.b", "1")
    log.clock.advance(60_000)
    second = log.publish("a.b.c", "2")
    log.clock.advance(3_600_000)
    third = log.publish("d.e", "3")
    now_ms = log.clock.now_ms()
    assert log.ids() == [third, second, first]
    assert log.ids(type="a.b") == [first]
    assert log.ids(type="a.*") == [second, first]
    assert log.ids(type="*", origin="published") == [third, second, first]
    assert log.ids(origin="test") == []
    assert log.ids(since_ms=now_ms) == [third]
    assert log.ids(since_ms=now_ms - 3_600_000, until_ms=now_ms) == [second]
    assert log.ids(until_ms=now_ms - 3_600_000) == [first]


def test_pages_go_on_and_say_how_far_they_looked(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "LOOKED_AT_ONCE", 4)
    monkeypatch.setattr(event_log, "LOOKED_MOST", 8)
    rare = log.publish("rare.one", "0")
    made = [log.publish("a.b", str(number)) for number in range(20)]
    with log.database.read() as connection:
        seen: list[str] = []
        before = event_log.NEWEST
        while True:
            page = log.log.page(connection, "production", EventSearch(), before_row=before, limit=6)
            seen += [one.id for one in page.events]
            if page.next_row is None:
                break
            before = page.next_row
        assert seen == [*reversed(made), rare]
        looks, before = 0, event_log.NEWEST
        while True:
            page = log.log.page(connection, "production", EventSearch(type="rare.one"), before_row=before)
            looks += 1
            if page.next_row is None:
                break
            assert page.looked_ms is not None
            assert page.events == ()
            before = page.next_row
        assert [one.id for one in page.events] == [rare]
        assert looks == 3
        assert log.log.count_newer(connection, "production", 1) == 20
        assert log.log.count_newer(connection, "production", 1, most=7) == 7
