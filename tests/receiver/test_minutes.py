"""What is counted by minute of what the door keeps: all of it, and by no write of one request's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline.adapters.dbapi import SqliteTransactions
from hookline.receiver.app import Receiver
from hookline.receiver.minutes import ALONG_EVERY_MS, MINUTE_MS, MinuteRow, Minutes
from hookline.receiver.model import Entry
from hookline.receiver.queries import Rate
from hookline.receiver.retention import DAY_S, Retention
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import Signing

SECRET = "whsec_minutes_secret_001"
NOW_MS = 1_700_000_000_000 - 1_700_000_000_000 % MINUTE_MS


def event(number: int, extra: str = "") -> bytes:
    return b'{"id":"event_%04d","event":"kitten.created","data":{}%s}' % (number, extra.encode())


def deliver(receiver: Receiver, *bodies: bytes) -> None:
    for body in bodies:
        request = Signing.of(receiver)(body)
        assert receiver.receive("POST", request.path, request.headers, request.body, None)[0] == 200


def rates(receiver: Receiver) -> list[Rate]:
    with receiver.look() as (queries, connection):
        until_ms = receiver.clock.now_ms() + 1
        found = queries.rates(connection, since_ms=NOW_MS, until_ms=until_ms, step_ms=MINUTE_MS)
    return [one for one in found if one[1:] != (0, 0, 0)]


def kept(receiver: Receiver) -> int:
    with receiver.look() as (_, connection):
        cursor = connection.cursor()
        cursor.execute("select count(*) from hookline_inbox_minutes")
        return int(cursor.fetchall()[0][0])


@pytest.fixture
def own(database_url: str) -> Iterator[Receiver]:
    with Receiver(database_url, secrets=[SECRET], clock=TurnedClock(NOW_MS)) as receiver:
        receiver.open()
        yield receiver


def test_kept_and_repeated_by_minute(own: Receiver) -> None:
    deliver(own, event(1), event(2), event(1), event(2, ',"x":1'))
    own.flush()
    assert isinstance(own.clock, TurnedClock)
    own.clock.advance(2 * MINUTE_MS)
    deliver(own, event(3))
    own.flush()
    deliver(own, event(3))
    own.close()
    assert rates(own) == [Rate(NOW_MS, 2, 2, 0), Rate(NOW_MS + 2 * MINUTE_MS, 1, 1, 0)]


def test_what_cannot_be_written_waits(own: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_flush_soon", lambda: None)  # no timer writes them meanwhile
    deliver(own, event(1))
    with monkeypatch.context() as patched:
        patched.setattr(own.intake, "add_counts", lambda *_: 1 / 0)
        own.flush()
    assert own._minutes
    own.flush()
    assert rates(own) == [Rate(NOW_MS, 1, 0, 0)]


def test_on_the_apps_transactions_they_go_along_with_entries(tmp_path: Path) -> None:
    """No thread writes beside the app: the first entry takes the counts along, and one a while later all since."""
    clock = TurnedClock(NOW_MS)
    path = str(tmp_path / "app.db")
    transactions = SqliteTransactions(lambda: sqlite3.connect(path))
    with Receiver(transactions=transactions, secrets=[SECRET], clock=clock) as receiver:
        receiver.migrate()
        deliver(receiver, event(1))
        assert rates(receiver) == [Rate(NOW_MS, 1, 0, 0)]
        deliver(receiver, event(2), event(2))
        assert rates(receiver) == [Rate(NOW_MS, 1, 0, 0)]
        assert receiver._flush_timer is None
        clock.advance(ALONG_EVERY_MS)
        deliver(receiver, event(3))
        assert rates(receiver) == [Rate(NOW_MS, 3, 1, 0)]


def test_counts_are_forgotten_with_time(tmp_path: Path) -> None:
    clock = TurnedClock(NOW_MS)
    url = f"sqlite:///{tmp_path / 'r.db'}"
    with Receiver(url, secrets=[SECRET], clock=clock, retention=Retention()) as receiver:
        deliver(receiver, event(1))
        receiver.flush()
        clock.advance(91 * DAY_S * 1000)
        deliver(receiver, event(2))
        receiver.flush()
        assert kept(receiver) == 2
        receiver.worker().prune()
        assert kept(receiver) == 1


def test_counts_are_summed_by_what_they_are_of() -> None:
    """Given back and counted again: one row for each, in the order in which doors lock them."""
    entry = Entry("b", "e", b"", "t", b"", None, NOW_MS + 5, None)
    minutes = Minutes()
    minutes.note([entry, entry._replace(source="a"), entry], ["accepted", "duplicate", "accepted"])
    rows = minutes.drain()
    assert rows == [MinuteRow(NOW_MS, "a", "duplicate", 1), MinuteRow(NOW_MS, "b", "accepted", 2)]
    assert not minutes
    minutes.note([entry], ["accepted"])
    minutes.restore(rows)
    assert minutes.drain() == [MinuteRow(NOW_MS, "a", "duplicate", 1), MinuteRow(NOW_MS, "b", "accepted", 3)]
