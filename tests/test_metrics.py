"""The metrics of both ends: what is counted, what is read, how often, and what no label says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hookline import Receiver
from hookline.errors import StorageUnavailable
from hookline.metrics import KEPT_S, ReceiverMetrics, SenderMetrics
from hookline.sender.app import STUCK_MS, SenderApp, StoredWork
from hookline.sender.deliver import DISCOVERY_MS
from hookline.sender.delivery_store import DeliveryStore, Discovery
from hookline.storage import Connection, Database, connect
from hookline.testing.clock import TurnedClock
from hookline.testing.fake_workos import FakeWorkOS
from hookline.testing.signed import signed_request
from tests.sender.conftest import NOW_MS, Client
from tests.sender.test_app import Running, Sink, wait_for_state

EVENT = {"event": "invoice.paid", "data": {"id": "x", "email": "ada@example.com"}}

Samples = dict[tuple[str, tuple[str, ...]], float]


def scrape(registry: CollectorRegistry) -> Samples:
    """Every sample by its name and its labels' values, in the order of the labels' names."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (s.name, tuple(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = connect(f"sqlite:///{tmp_path / 'both.db'}")
    yield database
    database.close()


def test_the_sender_tells_what_it_did(database: Database) -> None:
    """A delivery that fails once and then succeeds, one held, one that nobody asked for: all in the numbers."""
    sink, running = Sink(), Running(database)
    sink.statuses = [503]
    registry = CollectorRegistry()
    registry.register(SenderMetrics(running.app))
    try:
        endpoint = {"url": sink.url, "events": ["invoice.paid"]}
        call = running.call
        made = call("POST", "/api/v1/endpoints", endpoint).json
        assert call("POST", "/api/v1/events", EVENT).status == 201
        wait_for_state(call, "succeeded")
        call("POST", f"/api/v1/endpoints/{made['id']}/pause")
        call("POST", "/api/v1/events", {"events": [EVENT, {"event": "nobody.asked", "data": {}}]})
        call("GET", "/api/v1/deliveries/nowhere")
        samples = scrape(registry)
    finally:
        running.stop()
        sink.close()

    def value(name: str, *labels: str) -> float:
        return samples[f"hookline_sender_{name}", labels]

    assert value("events_published_total", "production") == 3
    assert value("attempts_total", "production", "scheduled", "failed", "5xx") == 1
    assert value("attempts_total", "production", "scheduled", "succeeded", "2xx") == 1
    assert value("deliveries_total", "production", "5xx", "pending") == 1
    assert value("deliveries_total", "production", "2xx", "succeeded") == 1
    assert value("attempt_seconds_count") == value("attempt_seconds_bucket", "+Inf") == 2
    assert value("attempt_phase_seconds_count", "first_byte") == 2
    assert value("publish_seconds_count") == 2
    assert value("api_requests_total", "publish", "2xx") == 2
    assert value("api_requests_total", "own", "4xx") == 1
    assert value("backlog", "production", "held") == 1
    assert value("backlog", "staging", "held") == 0
    assert value("oldest_due_seconds", "production") == 0
    assert (value("database_up"), value("running"), value("replays_open")) == (1, 0, 0)
    assert value("endpoints", "proven") == 1
    text = generate_latest(registry).decode()
    for hidden in (made["id"], made["secret"], sink.url, "127.0.0.1", "ada@example.com", "sk_live_for_tests"):
        assert hidden not in text


def test_the_backlog_is_counted_by_when_it_is_due(database: Database) -> None:
    """Due, within the hour, later; and how long the oldest has been due."""
    clock = TurnedClock(NOW_MS)
    sender = SenderApp(
        database, api_keys={"production": "sk_live_for_tests", "staging": "sk_test_for_tests"}, clock=clock
    )
    call = Client(sender)
    call("POST", "/api/v1/endpoints", {"url": "https://93.184.215.14/", "events": ["*"]})
    call("POST", "/api/v1/events", {"events": [EVENT] * 4})
    offsets_ms = (-90_000, 1, 3_600_000, 3_600_001)
    with database.transaction() as connection:
        rows = [row for (row,) in connection.execute("select row_id from hookline_sender_deliveries").fetchall()]
        for row, offset_ms in zip(rows, offsets_ms, strict=True):
            connection.execute(
                "update hookline_sender_deliveries set due_ms = ? where row_id = ?", (NOW_MS + offset_ms, row)
            )
    registry = CollectorRegistry()
    registry.register(SenderMetrics(sender))

    samples = scrape(registry)
    sender.close()

    states = ("due", "soon", "later", "held")
    assert [samples["hookline_sender_backlog", ("production", state)] for state in states] == [1, 2, 1, 0]
    assert samples["hookline_sender_oldest_due_seconds", ("production",)] == 90


def test_scraping_does_not_load_the_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many scrapes are one read; an outage is told, asked about no more often, and its end is seen."""
    sender = SenderApp(database, clock=TurnedClock(NOW_MS))
    reads: list[str] = []
    read = SenderApp.backlog
    is_away = False

    def counted(self: SenderApp) -> StoredWork:
        reads.append("read")
        if is_away:
            raise StorageUnavailable("away")
        return read(self)

    monkeypatch.setattr(SenderApp, "backlog", counted)
    now_s = [0.0]
    registry = CollectorRegistry()
    registry.register(SenderMetrics(sender, now_s=lambda: now_s[0]))
    reads.clear()  # registering scrapes once, to learn the names

    def up() -> float:
        return scrape(registry)["hookline_sender_database_up", ()]

    now_s[0] = 100
    first = [up() for _ in range(20)]
    now_s[0] += KEPT_S
    is_away = True
    second = [up() for _ in range(20)]
    now_s[0] += KEPT_S
    is_away = False
    third = up()
    sender.close()

    assert (set(first), set(second), third) == ({1}, {0}, 1)
    assert len(reads) == 3


def test_the_receiver_tells_what_it_did(tmp_path: Path) -> None:
    """Kept, repeated, refused, applied; a handler that works and one that dies; what waits."""
    clock = TurnedClock(NOW_MS)
    hooks = Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=["whsec_x"], clock=clock)

    @hooks.on("dsync.user.created", name="welcome")
    def welcome(event: object, tx: object) -> None:
        pass

    @hooks.on("dsync.user.created", name="broken")
    def broken(event: object, tx: object) -> None:
        raise RuntimeError("ada@example.com")

    registry = CollectorRegistry()
    with hooks:
        hooks.worker().register()
        registry.register(ReceiverMetrics(hooks, now_s=lambda: float(clock.now_ms())))
        body = (
            b'{"id":"event_1","event":"dsync.user.created","created_at":"2026-01-01T00:00:00.000Z",'
            b'"data":{"object":"directory_user","id":"directory_user_1","directory_id":"directory_1"}}'
        )
        for content in (body, body, body.replace(b"event_1", b"event_2")):
            request = signed_request(content, "whsec_x", timestamp_ms=clock.now_ms())
            assert hooks.receive("POST", "/webhooks", request.headers, request.body, "192.0.2.9")[0] == 200
        hooks.receive("POST", "/webhooks", {"workos-signature": "t=1, v1=" + "0" * 64}, body, "192.0.2.9")
        hooks.receive("POST", "/elsewhere", {}, body, "192.0.2.9")
        before = scrape(registry)
        clock.advance(10_000)
        hooks.drain()
        after = scrape(registry)
        text = generate_latest(registry).decode()

    def value(samples: Samples, name: str, *labels: str) -> float:
        return samples[f"hookline_receiver_{name}", labels]

    assert value(before, "entries_total", "accepted", "default") == 2
    assert value(before, "entries_total", "duplicate", "default") == 1
    assert value(before, "refused_total", "mismatch", "default") == 1
    assert value(before, "refused_total", "path", "default") == 1
    assert (value(before, "waiting"), value(after, "waiting")) == (2, 0)
    assert value(after, "applied_total", "applied", "default") == 1
    assert value(after, "apply_lag_seconds_sum") == 20
    assert value(after, "runs_total", "welcome", "succeeded") == 2
    assert value(after, "runs_total", "broken", "pending") == 2
    assert value(after, "runs_pending") == 2
    assert value(after, "handlers_paused") == 0
    assert value(after, "walks_failing") == 0
    for hidden in ("directory_user_1", "event_1", "192.0.2.9", "whsec_x", "ada@example.com"):
        assert hidden not in text


def test_what_is_read_of_a_feed_is_told(tmp_path: Path) -> None:
    """Events by what became of them, requests by what came of them, and since when nothing was read."""
    clock = TurnedClock(NOW_MS)
    with FakeWorkOS(tmp_path, clock=clock, delivers=False) as fake:
        hooks = Receiver(
            f"sqlite:///{tmp_path / 'app.db'}", tail="only", api_key=fake.api_key, exchange=fake.exchange, clock=clock
        )
        registry = CollectorRegistry()
        with hooks, contextlib.closing(hooks.feeds()) as feeds:
            registry.register(ReceiverMetrics(hooks, now_s=lambda: float(clock.now_ms())))
            fake.publish("dsync.user.created", {"object": "directory_user", "id": "directory_user_1"})
            fake.faults.expect("status/401", path="/events", skip=1)
            feeds.settle()
            clock.advance(5_000)
            feeds.settle()
            clock.advance(25_000)
            samples = scrape(registry)
    assert samples["hookline_receiver_feed_events_total", ("kept", "default")] == 1
    assert samples["hookline_receiver_source_requests_total", ("unauthorized", "default")] == 1
    assert samples["hookline_receiver_source_requests_total", ("ok", "default")] >= 1
    assert samples["hookline_receiver_tail_unread_seconds", ("default",)] == 30


def test_a_stuck_delivery_loop_is_not_ready(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that waits for what never comes begins no round: after a minute /readyz says so, until it goes on."""
    clock = TurnedClock(NOW_MS)
    entered, release = threading.Event(), threading.Event()
    discover = DeliveryStore.discover

    def blocked(self: DeliveryStore, connection: Connection) -> Discovery:
        entered.set()
        release.wait(20)
        return discover(self, connection)

    running = Running(database, clock=clock)
    try:
        while clock.next_due_ms() is None:
            threading.Event().wait(0.002)
        monkeypatch.setattr(DeliveryStore, "discover", blocked)
        clock.advance(DISCOVERY_MS)
        assert entered.wait(20)
        before = running.app.problems()
        clock.advance(STUCK_MS + 1_000)
        stuck = running.call("GET", "/readyz")
        release.set()
        while running.app.problems():
            threading.Event().wait(0.002)
    finally:
        release.set()
        running.stop()

    assert before == []
    assert stuck.status == 503
    assert stuck.json["problems"] == ["the delivery loop has begun no round for 61 s"]


def test_a_stuck_worker_is_not_ready(tmp_path: Path) -> None:
    """The same of the receiver's worker; one that has not begun is no problem."""
    clock = TurnedClock(NOW_MS)
    with Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=["whsec_x"], clock=clock) as hooks:
        worker = hooks.worker()
        clock.advance(STUCK_MS * 2)
        before = worker.problems()
        worker.step()
        clock.advance(STUCK_MS + 1_000)
        stuck = worker.problems()
        worker.step()

        assert before == worker.problems() == []
    assert stuck == ["the worker has begun no round for 61 s"]
