"""Looking into the inbox: what is listed, counted and shown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from hookline.receiver.app import Receiver
from hookline.receiver.queries import InboxQueries
from hookline.storage import Verbs
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import signed_request

SECRET = "whsec_queries_secret_0001"
NOW_MS = 1_700_000_000_000


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def receiver(database_url: str, clock: TurnedClock) -> Iterator[Receiver]:
    with Receiver(database_url, secrets=[SECRET], clock=clock) as receiver:
        receiver.open()
        yield receiver


def deliver(receiver: Receiver, body: bytes, secret: str = SECRET) -> None:
    request = signed_request(body, secret, timestamp_ms=receiver.clock.now_ms())
    receiver.receive("POST", "/webhooks", request.headers, request.body, "203.0.113.7")


def event(number: int, extra: str = "") -> bytes:
    return b'{"id":"event_%04d","event":"kitten.created","data":{}%s}' % (number, extra.encode())


def ask(receiver: Receiver, query: Any, *args: Any, source: str = "default", **named: Any) -> Any:
    database = receiver.database
    assert database is not None
    queries = InboxQueries(Verbs("hookline.receiver", database.dialect), source)
    with database.snapshot() as connection:
        return query(queries, connection, *args, **named)


def test_an_entry_shows_what_became_of_it(receiver: Receiver, clock: TurnedClock) -> None:
    """Waiting first, then its outcome, with every time and count on the way."""
    deliver(receiver, event(1))
    waiting = ask(receiver, InboxQueries.entry, "event_0001")
    deliver(receiver, event(1))
    deliver(receiver, event(1, ',"x":1'))
    clock.advance(1_000)
    receiver.drain()

    done = ask(receiver, InboxQueries.entry, "event_0001")

    assert (waiting.state, waiting.due_ms, waiting.finished_ms) == ("waiting", NOW_MS, None)
    assert (waiting.duplicates, waiting.conflicts) == (0, 0)
    assert (done.state, done.due_ms, done.finished_ms) == ("ignored", None, NOW_MS + 1_000)
    assert (done.duplicates, done.conflicts) == (1, 1)
    assert (done.type, done.signed_ms, done.received_ms) == ("kitten.created", NOW_MS, NOW_MS)
    assert done.sha256 == hashlib.sha256(event(1)).digest()


def test_what_is_no_event_says_why_before_and_after_it_was_looked_at(receiver: Receiver) -> None:
    """The door's reason is there from the start."""
    deliver(receiver, b"[]")
    key = f"sha256:{hashlib.sha256(b'[]').hexdigest()}"
    before = ask(receiver, InboxQueries.entry, key)
    receiver.drain()
    after = ask(receiver, InboxQueries.entry, key)

    assert (before.state, before.reason) == ("waiting", "not_event")
    assert (after.state, after.reason) == ("dead", "not_event")


def test_pages_follow_each_other_from_the_newest(receiver: Receiver) -> None:
    """Each page begins below the last entry of the one before: none twice, none left out."""
    for number in range(7):
        deliver(receiver, event(number))
    first = ask(receiver, InboxQueries.entries, limit=3)
    second = ask(receiver, InboxQueries.entries, limit=3, before_seq=first[-1].seq)
    third = ask(receiver, InboxQueries.entries, limit=3, before_seq=second[-1].seq)

    listed = [entry.event_id for entry in first + second + third]
    assert listed == [f"event_{number:04d}" for number in range(6, -1, -1)]


def test_a_state_narrows_the_list(receiver: Receiver) -> None:
    """`waiting` and each outcome by itself."""
    deliver(receiver, event(1))
    deliver(receiver, b"{")
    receiver.drain()
    deliver(receiver, event(2))

    listed = {
        state: [entry.event_id[:10] for entry in ask(receiver, InboxQueries.entries, state=state)]
        for state in ("waiting", "ignored", "dead", "applied")
    }

    assert listed["waiting"] == ["event_0002"]
    assert listed["ignored"] == ["event_0001"]
    assert len(listed["dead"]) == 1
    assert listed["applied"] == []


def test_the_body_is_what_came(receiver: Receiver) -> None:
    """Byte for byte; None for what is not there."""
    deliver(receiver, event(1))

    assert ask(receiver, InboxQueries.body, "event_0001") == event(1)
    assert ask(receiver, InboxQueries.body, "event_0002") is None
    assert ask(receiver, InboxQueries.entry, "event_0002") is None


def test_the_inbox_in_numbers(receiver: Receiver, clock: TurnedClock) -> None:
    """Everything that came is in one of the numbers."""
    deliver(receiver, event(1), "whsec_other")
    receiver.flush()
    clock.advance(120_000)
    for body in (event(1), event(1), event(1, ',"x":1'), b"{"):
        deliver(receiver, body)
    receiver.drain()
    deliver(receiver, event(2))
    deliver(receiver, event(3), "whsec_other")
    receiver.flush()

    stats = ask(receiver, InboxQueries.stats, since_ms=clock.now_ms())

    assert (stats.entries, stats.waiting, stats.oldest_waiting_ms) == (3, 1, NOW_MS + 120_000)
    assert (stats.duplicates, stats.conflicts) == (1, 1)
    assert stats.outcomes == {"ignored": 1, "dead": 1}
    assert stats.rejections == {"mismatch": 1}
    assert ask(receiver, InboxQueries.stats, since_ms=NOW_MS).rejections == {"mismatch": 2}


def test_sources_are_kept_apart(receiver: Receiver) -> None:
    """Each source sees its own inbox."""
    deliver(receiver, event(1))

    assert ask(receiver, InboxQueries.entries, source="other") == []
    assert ask(receiver, InboxQueries.stats, source="other", since_ms=0).entries == 0
