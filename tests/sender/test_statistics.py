"""What pages show of how much is sent and how it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hookline.errors import StorageUnavailable
from hookline.rules.schedule import Schedule
from hookline.sender.statistics import HOUR_MS, LATENCY_MS, MINUTE_MS, Statistics, StatisticsStore, Traffic
from hookline.storage import connect
from hookline.storage.migrate import migrate
from hookline.testing.pair import Pair


def _traffic(**latencies: int) -> Traffic:
    counts = [0] * (len(LATENCY_MS) + 1)
    for name, count in latencies.items():
        counts[int(name.removeprefix("b"))] = count
    return Traffic(0, latencies=tuple(counts))


@pytest.mark.parametrize(
    ("traffic", "share", "expected"),
    [
        (_traffic(), 0.95, None),
        (_traffic(b0=10), 0.5, 5.0),
        (_traffic(b0=10), 1.0, 10.0),
        (_traffic(b0=90, b3=10), 0.95, 75.0),
        (_traffic(b11=3), 0.5, float(LATENCY_MS[-1])),
        (_traffic(b0=1, b11=1), 0.5, 10.0),
    ],
)
def test_quantiles(traffic: Traffic, share: float, expected: float | None) -> None:
    assert traffic.quantile_ms(share) == expected


def test_what_a_pair_does_is_counted_once(tmp_path: Path) -> None:
    with Pair(tmp_path, schedule=Schedule.from_gaps((60, 60))) as pair:
        sender, store = pair.sender, StatisticsStore("sqlite")
        began_ms = pair.clock.now_ms()
        for number in range(5):
            pair.publish("dsync.user.created", {"object": "directory_user", "id": f"directory_user_{number}"})
        pair.publish("dsync.group.created", {"object": "directory_group", "id": "directory_group_1"})
        pair.drain()
        pair.line.expect("lost", 3)
        pair.publish("dsync.user.deleted", {"object": "directory_user", "id": "directory_user_1"})
        pair.finish()
        sender.statistics.flush(pair.clock.now_ms())
        sender.statistics.flush(pair.clock.now_ms())
        database = connect(pair.sender_url)
        with database.read() as connection:
            series = store.series(
                connection,
                "production",
                since_ms=began_ms - MINUTE_MS,
                until_ms=began_ms + HOUR_MS,
                step_ms=MINUTE_MS,
            )
            endpoints = store.endpoints(connection, [1, 2], since_ms=began_ms - HOUR_MS)
            volumes = store.type_volumes(connection, "production", since_ms=began_ms)
        database.close()
        whole = sum(series, Traffic(began_ms))
        # Six came through at once; the seventh was tried three times and given up.
        assert (whole.published, whole.succeeded, whole.failed) == (7, 6, 3)
        assert (whole.delivered, whole.given_up, sum(whole.latencies)) == (6, 1, 6)
        assert len(series) == 3
        assert set(endpoints) == {1}
        assert endpoints[1].whole.succeeded == 6
        assert endpoints[1].last_ms == series[-1].at_ms + (endpoints[1].last_ms or 0) % MINUTE_MS
        assert volumes == {"dsync.user.created": 5, "dsync.group.created": 1, "dsync.user.deleted": 1}


def test_what_cannot_be_written_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Pair(tmp_path) as pair:
        pair.publish("dsync.user.created", {"object": "directory_user", "id": "directory_user_1"})
        pair.drain()
        statistics = pair.sender.statistics
        database = connect(pair.sender_url)

        def refuse(_work: object) -> None:
            raise StorageUnavailable("locked")

        with monkeypatch.context() as patch:
            patch.setattr(statistics._database, "run", refuse)
            with pytest.raises(StorageUnavailable):
                statistics.flush(1)
        assert statistics.is_due(pair.clock.now_ms())
        statistics.flush(pair.clock.now_ms())
        with database.read() as connection:
            volumes = StatisticsStore("sqlite").type_volumes(connection, "production", since_ms=0)
        database.close()
        assert volumes == {"dsync.user.created": 1}


def test_rows_are_added_to_on_both_databases(database_url: str) -> None:
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    one, other = Statistics(database), Statistics(database)
    store = StatisticsStore(database.dialect)
    for statistics in (one, other, one):
        statistics.published("staging", ["a", "b", "a"], now_ms=HOUR_MS + 61_000)
        statistics.flush(1)
    with database.read() as connection:
        assert store.type_volumes(connection, "staging", since_ms=HOUR_MS + 1) == {"a": 6, "b": 3}
        assert store.type_volumes(connection, "production", since_ms=0) == {}
        found = store.series(connection, "staging", since_ms=0, until_ms=3 * HOUR_MS, step_ms=HOUR_MS)
    assert [(one.at_ms, one.published) for one in found] == [(HOUR_MS, 9)]
    database.close()
