"""The whole sender of one process, against a real receiver of HTTP on the loopback interface."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from workos.webhooks import Webhooks

from hookline import Outbox
from hookline.errors import ConfigError
from hookline.rules.address import parse_egress_document, parse_networks
from hookline.rules.schedule import Schedule
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.storage import Database, connect
from hookline.testing.clock import TurnedClock

from .conftest import Client

EVENT = {"event": "invoice.paid", "data": {"id": "x", "text": "Zoë"}}
# The last slot late enough that a busy machine comes to the second before it: a slot that is overdue is used once.
FAST = Schedule.from_gaps((0.05, 2.0))


class Sink:
    """An HTTP server that keeps what it is sent and answers as told."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Mapping[str, str]]] = []
        self.statuses: list[int] = []
        self.arrived = threading.Condition()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with sink.arrived:
                    status = sink.statuses.pop(0) if sink.statuses else 200
                    sink.got.append((body, dict(self.headers)))
                    sink.arrived.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks"

    def wait_for(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= count, timeout=20)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture
def plain_database(tmp_path: Path) -> Iterator[Database]:
    database = connect(f"sqlite:///{tmp_path / 'sender.db'}")
    yield database
    database.close()


class Running:
    """A sender whose delivery loop runs in a thread of its own."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.app = SenderApp(
            database,
            api_keys={"production": "sk_live_for_tests"},
            allow_private_targets=True,
            schedules={"production": FAST},
            jitter=lambda: 0.0,
            **settings,
        )
        self.call = Client(self.app)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self.app.run(self._stop)))
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()
        self.app.close()


@pytest.fixture
def running(plain_database: Database) -> Iterator[Running]:
    running = Running(plain_database)
    yield running
    running.stop()


def wait_for_state(call: Client, state: str) -> Any:
    """The one delivery, once it is in a state; bounded by the test's own timeout."""
    while True:
        [delivery] = call("GET", "/api/v1/deliveries").json["data"]
        if delivery["state"] == state:
            return call("GET", f"/api/v1/deliveries/{delivery['id']}").json
        threading.Event().wait(0.01)


def test_a_published_event_arrives_signed(running: Running, sink: Sink) -> None:
    """Create, publish, receive: the official SDK verifies the delivery, whose bytes are the published ones."""
    call = running.call
    secret = call("POST", "/api/v1/endpoints", {"url": sink.url, "events": ["*"]}).json["secret"]

    published = call("POST", "/api/v1/events", EVENT)
    sink.wait_for(1)
    delivery = wait_for_state(call, "succeeded")

    body, headers = sink.got[0]
    Webhooks(None).verify_header(  # type: ignore[arg-type]  # verifying makes no call
        event_body=body, event_signature=headers["WorkOS-Signature"], secret=secret
    )
    assert body == published.body
    assert [attempt["status"] for attempt in delivery["attempts"]] == [200]
    assert secret not in json.dumps(delivery)


def test_a_failing_endpoint_is_tried_again_and_a_person_may_ask_for_more(running: Running, sink: Sink) -> None:
    """Three scheduled attempts fail, the delivery is failed; a manual retry succeeds, as attempt four."""
    call = running.call
    sink.statuses = [500, 503, 404]
    call("POST", "/api/v1/endpoints", {"url": sink.url, "events": ["invoice.*"]})
    call("POST", "/api/v1/events", EVENT)
    failed = wait_for_state(call, "failed")

    retried = call("POST", f"/api/v1/deliveries/{failed['id']}/retry")
    succeeded = wait_for_state(call, "succeeded")

    assert retried.status == 200
    assert [attempt["status"] for attempt in succeeded["attempts"]] == [500, 503, 404, 200]
    assert [attempt["kind"] for attempt in succeeded["attempts"]] == ["scheduled"] * 3 + ["manual"]
    assert len({body for body, _ in sink.got}) == 1
    assert len({headers["WorkOS-Signature"] for _, headers in sink.got}) == 4


def test_an_outbox_event_is_listed_and_delivered(running: Running, sink: Sink, plain_database: Database) -> None:
    """Published in an app's own transaction, it is in the feed no later than at its first attempt."""
    call = running.call
    call("POST", "/api/v1/endpoints", {"url": sink.url, "events": ["*"]})
    with plain_database.transaction() as tx:
        [published_id] = Outbox().publish(EVENT, connection=tx)
    plain_database.notify("deliveries")

    sink.wait_for(1)

    listed = call("GET", "/events?events=invoice.paid").json["data"]
    assert [event["id"] for event in listed] == [published_id]
    assert json.loads(sink.got[0][0])["id"] == published_id


def test_keys_are_made_once_and_given_to_the_caller(plain_database: Database) -> None:
    """For environments without one; the key works; a second start makes none."""
    first = SenderApp(plain_database, api_keys={"production": "sk_live_for_tests"})
    second = SenderApp(plain_database, api_keys={"production": "sk_live_for_tests"})

    assert list(first.made_keys) == ["staging"]
    assert second.made_keys == {}
    assert Client(second, key=first.made_keys["staging"])("GET", "/webhook_endpoints").status == 200


def test_a_wrong_encryption_key_stops_the_start(plain_database: Database) -> None:
    """Told before anything serves."""
    SenderApp(plain_database)

    with pytest.raises(ConfigError, match="HOOKLINE_ENCRYPTION_KEY"):
        SenderApp(plain_database, encryption_keys=["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="])


def test_allowing_private_targets_is_said_loudly(plain_database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A warning at every start with it, none without."""
    SenderApp(plain_database)
    before = [record for record in caplog.records if "private targets" in record.getMessage()]

    SenderApp(plain_database, allow_private_targets=True)

    assert before == []
    assert any(
        record.levelno == logging.WARNING and "private targets" in record.getMessage() for record in caplog.records
    )


def test_readiness_speaks_of_the_delivery_loop(plain_database: Database) -> None:
    """Ready without a loop and with one; not ready when a loop that ran has ended."""
    running = Running(plain_database)
    while_running = running.call("GET", "/readyz").status
    running.stop()

    after = running.call("GET", "/readyz")

    assert while_running == 200
    assert (after.status, after.json["problems"]) == (503, ["the delivery loop has ended"])


def test_under_a_server_with_lifespan_it_delivers(plain_database: Database, sink: Sink) -> None:
    """Startup starts the loop, shutdown lets it finish."""
    app = SenderApp(plain_database, api_keys={"production": "sk_live_for_tests"}, allow_private_targets=True)
    app.registry.create("production", url=sink.url, events=["*"])

    async def work() -> list[str]:
        to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        said: asyncio.Queue[str] = asyncio.Queue()

        async def send(message: Any) -> None:
            await said.put(message["type"])

        lifespan = asyncio.create_task(app({"type": "lifespan"}, to_app.get, send))
        await to_app.put({"type": "lifespan.startup"})
        heard = [await said.get()]
        await app.publisher.publish(Publication("production", (draft_event(EVENT),)))
        await asyncio.to_thread(sink.wait_for, 1)
        await to_app.put({"type": "lifespan.shutdown"})
        heard.append(await said.get())
        await lifespan
        return heard

    assert asyncio.run(work()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_deliveries_go_out_through_the_egress_proxy(plain_database: Database, sink: Sink) -> None:
    """It gets the whole URL and its credentials; they are in no evidence."""
    proxy = sink.url.removeprefix("http://").removesuffix("/hooks")
    running = Running(plain_database, egress_proxy_url=f"http://us%20er:pass-word@{proxy}")
    try:
        running.call("POST", "/api/v1/endpoints", {"url": "http://93.184.216.34/hooks", "events": ["*"]})
        running.call("POST", "/api/v1/events", EVENT)
        sink.wait_for(1)
        delivery = wait_for_state(running.call, "succeeded")
    finally:
        running.stop()

    _, headers = sink.got[0]
    assert headers["Host"] == "93.184.216.34"
    assert headers["Proxy-Authorization"] == "Basic dXMgZXI6cGFzcy13b3Jk"
    evidence = json.dumps(delivery)
    assert proxy in evidence
    assert "dXMgZXI" not in evidence
    assert "pass-word" not in evidence


@pytest.mark.parametrize("url", ["https://proxy.example.com", "http://user:pass-word@", "socks5://127.0.0.1:1080"])
def test_an_egress_proxy_that_is_none_stops_the_start(plain_database: Database, url: str) -> None:
    """The setting is named, its password is not shown."""
    with pytest.raises(ConfigError, match="HOOKLINE_EGRESS_PROXY_URL") as refused:
        SenderApp(plain_database, egress_proxy_url=url)

    assert "pass-word" not in str(refused.value)


def test_where_deliveries_come_from_is_published(plain_database: Database) -> None:
    """A consumer reads its list of allowed addresses from it; when it changed stays the same until it changes."""
    clock = TurnedClock(1_764_000_000_000)

    def published(texts: list[str]) -> Any:
        app = SenderApp(plain_database, egress=parse_networks(texts, setting="HOOKLINE_EGRESS_IPS"), clock=clock)
        try:
            answer = Client(app, key=None)("GET", "/.well-known/hookline-egress.json")
        finally:
            app.close()
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        return parse_egress_document(answer.body, setting="HOOKLINE_ALLOWED_IPS")

    networks = ["192.0.2.7", "2001:db8::/48"]
    first = published(networks)
    clock.advance(60_000)
    again = published(networks)
    other = published(["192.0.2.8"])

    assert first == again
    assert first.addresses == ("192.0.2.7/32", "2001:db8::/48")
    assert (first.published, other.published) == ("2025-11-24T16:00:00.000Z", "2025-11-24T16:01:00.000Z")
    assert other.addresses == ("192.0.2.8/32",)


def test_no_list_is_published_unless_configured(plain_database: Database) -> None:
    """404, and the setting's name."""
    app = SenderApp(plain_database)
    answer = Client(app, key=None)("GET", "/.well-known/hookline-egress.json")
    app.close()

    assert answer.status == 404
    assert "HOOKLINE_EGRESS_IPS" in answer.message
