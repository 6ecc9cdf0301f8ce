"""One holder at a time, and a fence against one that was taken for dead."""

from __future__ import annotations

import contextlib

import pytest

from hookline.receiver.leases import LATEST_MS, LEASE_MS, LeaseLost, Leases
from hookline.storage import Verbs, connect
from hookline.storage.migrate import migrate

NOW_MS = 1_790_000_000_000


def test_a_lease_has_one_holder_until_it_passes_and_then_fences_him_off(database_url: str) -> None:
    with contextlib.closing(connect(database_url)) as database:
        migrate(database, "receiver", "hookline.receiver")
        verbs = Verbs("hookline.receiver", database.dialect)
        one, other = Leases(verbs, "one"), Leases(verbs, "other")

        with database.transaction() as connection:
            token = one.take(connection, "default", "tail", NOW_MS)
            assert token == 1
            assert other.take(connection, "default", "tail", NOW_MS + LEASE_MS - 1) is None
            assert other.take(connection, "default", "passes", NOW_MS) == 1, "another lease is another's"
        with database.transaction() as connection:
            one.hold(connection, "default", "tail", token, NOW_MS + 50_000)
        with database.transaction() as connection:
            assert other.take(connection, "default", "tail", NOW_MS + LEASE_MS) is None, "it was renewed"
            later = other.take(connection, "default", "tail", NOW_MS + 50_000 + LEASE_MS)
            assert later == 2
        with database.transaction() as connection, pytest.raises(LeaseLost):
            one.hold(connection, "default", "tail", token, NOW_MS + 50_000 + LEASE_MS)
        with database.transaction() as connection:
            one.release(connection, "default", "tail", token)  # not his any more
            assert one.take(connection, "default", "tail", NOW_MS + 60_000 + LEASE_MS) is None
            other.release(connection, "default", "tail", 2)
            assert one.take(connection, "default", "tail", NOW_MS + 60_000 + LEASE_MS) == 3


def test_a_lease_of_before_the_clock_was_set_back_holds_nobody_up(database_url: str) -> None:
    with contextlib.closing(connect(database_url)) as database:
        migrate(database, "receiver", "hookline.receiver")
        verbs = Verbs("hookline.receiver", database.dialect)
        one, other = Leases(verbs, "one"), Leases(verbs, "other")
        with database.transaction() as connection:
            token = one.take(connection, "default", "tail", NOW_MS)
            assert token is not None
        back_ms = NOW_MS - LATEST_MS + LEASE_MS
        with database.transaction() as connection:
            assert other.take(connection, "default", "tail", back_ms) is None, (
                "another host's clock may be so far behind"
            )
            assert other.take(connection, "default", "tail", back_ms - 1) == token + 1
        with database.transaction() as connection, pytest.raises(LeaseLost):
            one.hold(connection, "default", "tail", token, back_ms)
