"""What the inbox promises, whichever database it is in."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hookline.receiver.model import Entry, PutKind, RejectionRow
from hookline.receiver.store import InboxStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database with the receiver's tables."""
    database = connect(database_url)
    migrate(database, "receiver", "hookline.receiver")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> InboxStore:
    return InboxStore(database.dialect)


def entry(number: int, body: bytes = b"{}", *, source: str = "default", received_ms: int = 1_000) -> Entry:
    sha256 = hashlib.sha256(body).digest()
    return Entry(source, f"event_{number:04d}", sha256, "a.b", body, 900, received_ms, None)


def put(database: Database, store: InboxStore, *entries: Entry) -> list[PutKind]:
    return database.run(lambda connection: store.put(connection, entries))


def rows(database: Database, sql: str) -> list[Any]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(sql).fetchall()]


def test_entries_are_kept_and_queued_in_one_transaction(database: Database, store: InboxStore) -> None:
    """Every new entry has its row with its bytes and is due at once."""
    kinds = put(database, store, entry(1, b"one"), entry(2, b"two"))

    assert kinds == ["accepted", "accepted"]
    assert rows(database, "select event_id, body, signed_ms, received_ms, reason from hookline_inbox") == [
        ("event_0001", b"one", 900, 1_000, None),
        ("event_0002", b"two", 900, 1_000, None),
    ]
    assert rows(
        database,
        "select event_id, due_ms, attempt from hookline_inbox join hookline_inbox_queue using (seq) order by 1",
    ) == [
        ("event_0001", 1_000, 0),
        ("event_0002", 1_000, 0),
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 31, 64, 700])
def test_batches_of_any_size_are_kept_whole(database: Database, store: InboxStore, count: int) -> None:
    """The multi-row statement loses nothing at its chunk borders."""
    kinds = put(database, store, *(entry(number) for number in range(count)))

    assert kinds == ["accepted"] * count
    assert rows(database, "select count(*), count(distinct event_id) from hookline_inbox") == [(count, count)]
    assert rows(database, "select count(*) from hookline_inbox_queue") == [(count,)]


def test_the_number_of_an_objects_event_is_kept(database: Database, store: InboxStore) -> None:
    """Where the sender said one."""
    put(database, store, entry(1)._replace(object_sequence=10**15 - 1), entry(2))

    found = rows(database, "select object_sequence from hookline_inbox order by seq")
    assert [tuple(row) for row in found] == [(10**15 - 1,), (None,)]


def test_the_same_bytes_again_are_counted_and_nothing_else(database: Database, store: InboxStore) -> None:
    """A duplicate has no row and no work of its own."""
    put(database, store, entry(1))

    kinds = put(database, store, entry(1, received_ms=2_000)) + put(database, store, entry(1, received_ms=3_000))

    assert kinds == ["duplicate", "duplicate"]
    assert rows(database, "select count(*) from hookline_inbox_queue") == [(1,)]
    assert rows(database, "select event_id, kind, times, last_ms from hookline_inbox_repeats") == [
        ("event_0001", "duplicate", 2, 3_000)
    ]


def test_other_bytes_under_a_known_id_are_flagged_with_both_hashes(database: Database, store: InboxStore) -> None:
    """The first one stays; the second one's hash is kept beside it and it is never applied."""
    put(database, store, entry(1, b"first"))

    kinds = put(database, store, entry(1, b"second"))

    assert kinds == ["conflict"]
    assert rows(database, "select sha256, body from hookline_inbox") == [(hashlib.sha256(b"first").digest(), b"first")]
    assert rows(database, "select sha256, kind, times from hookline_inbox_repeats") == [
        (hashlib.sha256(b"second").digest(), "conflict", 1)
    ]


def test_repeats_within_one_batch_are_told_apart(database: Database, store: InboxStore) -> None:
    """The first of an id in a batch is the one that is kept, whatever else the batch holds."""
    kinds = put(database, store, entry(1, b"a"), entry(2), entry(1, b"a"), entry(1, b"b"), entry(1, b"a"), entry(3))

    assert kinds == ["accepted", "accepted", "duplicate", "conflict", "duplicate", "accepted"]
    assert rows(database, "select kind, times from hookline_inbox_repeats order by kind") == [
        ("conflict", 1),
        ("duplicate", 2),
    ]


def test_sources_do_not_share_ids(database: Database, store: InboxStore) -> None:
    """The key is (source, event id)."""
    put(database, store, entry(1, b"a"))

    kinds = put(database, store, entry(1, b"b", source="other"), entry(1, b"b"), entry(1, b"b", source="other"))

    assert kinds == ["accepted", "conflict", "duplicate"]


def test_a_failed_transaction_leaves_nothing(database: Database, store: InboxStore) -> None:
    """Entry, queue row and counts are one commit."""
    with pytest.raises(RuntimeError, match="power"), database.transaction() as connection:
        store.put(connection, [entry(1), entry(1), entry(2)])
        raise RuntimeError("power")

    for table in ("hookline_inbox", "hookline_inbox_queue", "hookline_inbox_repeats"):
        assert rows(database, f"select count(*) from {table}") == [(0,)]


def test_racing_callers_keep_an_id_once(database: Database, store: InboxStore) -> None:
    """Whoever comes first: one row, one piece of work, and everybody else is a repeat."""
    start = threading.Barrier(8)
    kinds: list[PutKind] = []

    def race() -> None:
        start.wait()
        for number in range(20):
            kinds.extend(put(database, store, entry(number)))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(kinds) == ["accepted"] * 20 + ["duplicate"] * 140
    assert rows(database, "select count(*) from hookline_inbox_queue") == [(20,)]
    assert rows(database, "select sum(times) from hookline_inbox_repeats") == [(140,)]


def test_numbers_are_never_used_again(database: Database, store: InboxStore) -> None:
    """`seq` only grows, also after the newest rows are gone: outcomes and runs refer to it."""
    put(database, store, entry(1))
    with database.transaction() as connection:
        connection.execute("delete from hookline_inbox")

    put(database, store, entry(2))

    assert rows(database, "select seq from hookline_inbox") == [(2,)]


def test_refusals_add_up_and_the_first_sample_stays(database: Database, store: InboxStore) -> None:
    """A row per (source, reason, minute), however often it is added to."""

    def add(*added: RejectionRow) -> None:
        database.run(lambda connection: store.add_rejections(connection, added))

    add(RejectionRow("default", "mismatch", 60_000, 3, "first"), RejectionRow("default", "size", 60_000, 1, "big"))
    add(RejectionRow("default", "mismatch", 60_000, 2, "later"), RejectionRow("default", "mismatch", 120_000, 1, "new"))

    assert rows(database, "select reason, minute_ms, times, sample from hookline_rejections order by 1, 2") == [
        ("mismatch", 60_000, 5, "first"),
        ("mismatch", 120_000, 1, "new"),
        ("size", 60_000, 1, "big"),
    ]


def test_what_came_through_the_feed_and_as_a_webhook_is_neither_a_duplicate_nor_a_conflict(
    database: Database, store: InboxStore
) -> None:
    """The feed writes an event in other bytes than the webhook's; both ways, the first copy is the one that is kept."""
    webhook, read = entry(1, b"as sent"), entry(1, b"as listed")._replace(via="tail", signed_ms=None)
    kinds = put(database, store, webhook) + put(database, store, read, read)
    assert kinds == ["accepted", "known", "known"]
    assert rows(database, "select count(*) from hookline_inbox_repeats") == [(0,)], "what is read again is not counted"

    webhook, read = webhook._replace(event_id="event_2"), read._replace(event_id="event_2")
    kinds = put(database, store, read) + put(database, store, webhook)
    assert kinds == ["accepted", "known"]
    assert rows(database, "select event_id, via, body, signed_ms from hookline_inbox order by seq") == [
        ("event_0001", "webhook", b"as sent", 900),
        ("event_2", "tail", b"as listed", None),
    ]
    assert rows(database, "select event_id, kind, times from hookline_inbox_repeats") == [("event_2", "known", 1)]
    assert rows(database, "select count(*) from hookline_inbox_queue") == [(2,)]
