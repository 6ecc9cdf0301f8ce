"""Spans from a publish to a receiver's handler, over a real socket, held by the SDK's exporter; and none without."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from hookline import Outbox, Receiver, tracing
from hookline.errors import RequestError
from hookline.loop import SystemClock
from hookline.receiver.model import Entry
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.storage import Database, connect
from hookline.testing.signed import signed_request
from hookline.testing.sink import Sink
from tests.e2e.processes import API_KEY, call, clean_environment, serving
from tests.sender.conftest import LIVE_KEY, Client, served

TYPE: Final = "dsync.user.created"
SECRET_TEXT: Final = "Zoe-Secret"
EVENT: Final = {
    "event": TYPE,
    "data": {"object": "directory_user", "id": "directory_user_1", "first_name": SECRET_TEXT},
}
TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
CALLER: Final = f"00-{TRACE_ID}-b7ad6b7169203331-01"
TOKEN: Final = "path-token-0123456789"


@pytest.fixture
def kept() -> Iterator[InMemorySpanExporter]:
    """What this process's spans are, while it traces."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)
    provider.shutdown()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = connect(f"sqlite:///{tmp_path / 'sender.db'}")
    yield database
    database.close()


class Ends:
    """A sender whose loop runs, and a receiver that is served; the worker is stepped."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.app = SenderApp(
            database,
            api_keys={"production": LIVE_KEY},
            allow_private_targets=True,
        )
        self.call = Client(self.app)
        self.hooks = Receiver(f"sqlite:///{folder / 'receiver.db'}", secrets=["whsec_unknown"], path_token=TOKEN)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self.app.run(self._stop)))
        self._thread.start()

    def endpoint(self, url: str) -> str:
        made = self.call("POST", "/api/v1/endpoints", {"url": url, "events": ["*"]})
        assert made.status == 201, made.body
        secret: str = made.json["secret"]
        return secret

    def attempted(self, times: int = 1) -> Any:
        """The one delivery, once it has so many attempts; bounded by the test's own timeout."""
        while True:
            [delivery] = self.call("GET", "/api/v1/deliveries").json["data"]
            if delivery["attempt_count"] == times and delivery["state"] != "running":
                return delivery
            threading.Event().wait(0.01)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()
        self.app.close()
        self.hooks.close()


@pytest.fixture
def ends(database: Database, tmp_path: Path) -> Iterator[Ends]:
    ends = Ends(database, tmp_path)
    yield ends
    ends.close()


def named(kept: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in kept.get_finished_spans() if span.name == name]


def says(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def everything(kept: InMemorySpanExporter) -> str:
    return "\n".join(span.to_json() for span in kept.get_finished_spans())


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else int(span.parent.span_id)


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def traceparent_of(context: trace.SpanContext | None) -> str:
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def signed(body: bytes, secret: str) -> dict[str, str]:
    return signed_request(body, secret, timestamp_ms=SystemClock().now_ms()).headers


def test_one_trace_from_publish_to_handler(ends: Ends, database: Database, tmp_path: Path, kept: Any) -> None:
    """Under the caller's span: publish, attempt, door, both kinds of handler; the handler's own spans below it."""
    heard: list[str] = []
    secrets: list[str] = []
    doors: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await doors[0](scope, receive, send)

    with served(app) as url:
        # Its secret is known once the endpoint is made, and that is made at the door's URL.
        secrets.append(ends.endpoint(f"{url}/webhooks/{TOKEN}?key=in-the-query"))
        hooks = Receiver(f"sqlite:///{tmp_path / 'mirror.db'}", secrets=secrets, path_token=TOKEN)
        doors.append(hooks.asgi())

        @hooks.on(TYPE, name="welcome")
        def welcome(event: Any, tx: Any) -> None:
            heard.append(trace.format_trace_id(trace.get_current_span().get_span_context().trace_id))

        @hooks.on_change("directory_user", name="sync")
        async def sync(change: Any, tx: Any) -> None:
            heard.append(trace.format_trace_id(trace.get_current_span().get_span_context().trace_id))

        worker = hooks.worker()
        worker.register()
        published = ends.call("POST", "/api/v1/events", EVENT, headers={"traceparent": CALLER})
        delivery = ends.attempted()
        worker.drain()
        hooks.close()

    [publish], [attempt] = named(kept, f"publish {TYPE}"), named(kept, "POST")
    [received], [applied] = named(kept, "POST /webhooks/{token}"), named(kept, "apply")
    [welcomed], [synced] = named(kept, "process welcome"), named(kept, "process sync")
    one_trace = (publish, attempt, received, welcomed, synced)
    assert {trace.format_trace_id(span.context.trace_id) for span in one_trace} == {TRACE_ID}
    assert [parent_of(span) for span in one_trace] == [
        int("b7ad6b7169203331", 16),
        id_of(publish),
        id_of(attempt),
        id_of(received),
        id_of(received),
    ]
    assert [span.kind for span in one_trace] == [
        SpanKind.PRODUCER,
        SpanKind.CLIENT,
        SpanKind.SERVER,
        SpanKind.CONSUMER,
        SpanKind.CONSUMER,
    ]
    assert [link.context.span_id for link in applied.links] == [id_of(received)]
    assert heard == [TRACE_ID, TRACE_ID]
    assert {says(span)["messaging.message.id"] for span in one_trace} == {published.json["id"]}
    assert (
        says(attempt).items()
        >= {
            "messaging.system": "hookline",
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "url.scheme": "http",
            "server.address": "127.0.0.1",
            "server.port": int(url.rpartition(":")[2]),
            "network.peer.address": "127.0.0.1",
            "hookline.delivery.id": delivery["id"],
            "hookline.endpoint.id": delivery["endpoint_id"],
            "hookline.attempt.number": 1,
            "hookline.attempt.kind": "scheduled",
            "hookline.outcome": "succeeded",
            "hookline.event.type": TYPE,
        }.items()
    )
    assert says(received)["http.route"] == "/webhooks/{token}"
    assert says(received)["hookline.receipt"] == "accepted"
    assert (says(synced)["hookline.change.kind"], says(synced)["hookline.attempt.number"]) == ("created", 1)
    assert {span.status.status_code for span in one_trace} == {StatusCode.UNSET}
    for secret in (SECRET_TEXT, TOKEN, "in-the-query", *secrets, *(one.removeprefix("whsec_") for one in secrets)):
        assert secret not in everything(kept)


def test_every_attempt_has_its_span(ends: Ends, kept: InMemorySpanExporter) -> None:
    """Three tries of one delivery: siblings under the publish, each with its own error, header and number."""
    with Sink() as sink:
        sink.expect("status/500", "garbage", "status/200")
        ends.endpoint(sink.url())
        ends.call("POST", "/api/v1/events", EVENT)
        for times in (1, 2):
            delivery = ends.attempted(times)
            assert ends.call("POST", f"/api/v1/deliveries/{delivery['id']}/retry").status == 200
        assert ends.attempted(3)["state"] == "succeeded"
        [publish], attempts = named(kept, f"publish {TYPE}"), named(kept, "POST")
        headers = [seen.header("traceparent") for seen in sink.seen]

    assert [says(span).get("error.type") for span in attempts] == ["500", "protocol", None]
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert [says(span)["hookline.attempt.number"] for span in attempts] == [1, 2, 3]
    assert [says(span)["hookline.attempt.kind"] for span in attempts] == ["scheduled", "manual", "manual"]
    assert [says(span).get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [parent_of(span) for span in attempts] == [id_of(publish)] * 3
    assert publish.parent is None
    assert headers == [traceparent_of(span.context) for span in attempts]


def test_what_is_sampled_out_is_passed_on_as_such(ends: Ends, database: Database) -> None:
    """Nothing is kept, and whoever comes next is told that nothing was."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    try:
        with Sink() as sink:
            ends.endpoint(sink.url())
            ends.call("POST", "/api/v1/events", EVENT, headers={"traceparent": CALLER})
            ends.attempted()
            [seen] = sink.seen
    finally:
        tracing.use(None)

    assert exporter.get_finished_spans() == ()
    header = seen.header("traceparent") or ""
    assert header.startswith(f"00-{TRACE_ID}-")
    assert header.endswith("-00")


def test_a_publish_that_is_refused(database: Database, kept: InMemorySpanExporter) -> None:
    """Its span says so by the code; the message, which names places in the payload, is not in it."""
    app = SenderApp(database, api_keys={"production": LIVE_KEY})
    try:
        app.publisher.types.put("production", "invoice.paid", schema={"required": ["total"]}, mode="reject")
        with pytest.raises(RequestError):
            app.publisher.publish_inline(
                Publication("production", (draft_event({"event": "invoice.paid", "data": {SECRET_TEXT: 1}}),))
            )
    finally:
        app.close()

    [span] = kept.get_finished_spans()
    assert (says(span)["error.type"], span.status.status_code) == ("invalid_event", StatusCode.ERROR)
    assert (span.status.description, span.events) == (None, ())
    assert SECRET_TEXT not in everything(kept)


def test_under_the_span_of_the_app(database: Database, kept: InMemorySpanExporter) -> None:
    """An app that publishes by itself, in its transaction or by the publisher, is in a span of its own already."""
    app = SenderApp(database, api_keys={"production": LIVE_KEY})
    provider = TracerProvider()
    try:
        with provider.get_tracer("app").start_as_current_span("request") as outer:
            with database.transaction() as tx:
                Outbox().publish({"event": "invoice.paid", "data": {}}, connection=tx)
            app.publisher.publish_inline(
                Publication("production", (draft_event({"event": "invoice.paid", "data": {}}),))
            )
        with database.read() as connection:
            stored = [
                text for (text,) in connection.execute("select traceparent from hookline_sender_events order by row_id")
            ]
    finally:
        app.close()

    [publish] = kept.get_finished_spans()
    context = outer.get_span_context()
    assert parent_of(publish) == context.span_id
    assert stored == [traceparent_of(context), traceparent_of(publish.context)]


def ways_in(hooks: Receiver) -> Sequence[Callable[[str, Mapping[str, str], bytes], int]]:
    """Each way a request reaches the door; they answer the status."""

    def plain(path: str, headers: Mapping[str, str], body: bytes) -> int:
        return hooks.receive("POST", path, headers, body, None)[0]

    def asgi(path: str, headers: Mapping[str, str], body: bytes) -> int:
        return Client(hooks.asgi(), key=None)("POST", path, raw=body, headers=headers).status

    def wsgi(path: str, headers: Mapping[str, str], body: bytes) -> int:
        import io

        statuses: list[str] = []
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        environ |= {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(len(body))}
        list(hooks.wsgi()({**environ, "wsgi.input": io.BytesIO(body)}, lambda status, _: statuses.append(status)))
        return int(statuses[0].split()[0])

    return plain, asgi, wsgi


@pytest.mark.parametrize("way", [0, 1, 2], ids=["receive", "asgi", "wsgi"])
def test_only_what_is_verified_has_a_span(tmp_path: Path, kept: InMemorySpanExporter, way: int) -> None:
    """By each way in: a forger makes no spans, whatever trace it names; what is kept has one, in its sender's trace."""
    hooks = Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=["whsec_true"])
    try:
        enter = ways_in(hooks)[way]
        body = json.dumps({"id": "event_1", **EVENT}).encode()
        headers = {**signed(body, "whsec_true"), "traceparent": CALLER}
        forged = enter("/webhooks", {**signed(body, "whsec_other"), "traceparent": CALLER}, body)
        assert kept.get_finished_spans() == ()
        answered = [enter("/webhooks", headers, body) for _ in range(2)]
        [entry] = _inbox(tmp_path / "app.db")
    finally:
        hooks.close()

    assert (forged, answered) == (401, [200, 200])
    first, again = kept.get_finished_spans()
    assert [says(span)["hookline.receipt"] for span in (first, again)] == ["accepted", "duplicate"]
    assert {span.context.trace_id for span in (first, again) if span.context} == {int(TRACE_ID, 16)}
    assert entry == ("event_1", traceparent_of(first.context))


def _inbox(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("select event_id, traceparent from hookline_inbox").fetchall()
    finally:
        connection.close()


def test_a_handler_that_fails(tmp_path: Path, kept: InMemorySpanExporter) -> None:
    """Each attempt has its span, and its error is a class: what an exception says may be personal."""
    hooks = Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=["whsec_true"])
    try:

        @hooks.on(TYPE, name="welcome")
        def welcome(event: Any, tx: Any) -> None:
            raise ValueError(SECRET_TEXT)

        worker = hooks.worker()
        worker.register()
        body = json.dumps({"id": "event_1", **EVENT}).encode()
        hooks.receive("POST", "/webhooks", signed(body, "whsec_true"), body, None)
        worker.drain()
    finally:
        hooks.close()

    [run] = named(kept, "process welcome")
    assert (says(run)["error.type"], run.status.status_code) == ("ValueError", StatusCode.ERROR)
    assert (run.status.description, run.events) == (None, ())
    assert SECRET_TEXT not in everything(kept)


def test_the_trace_of_an_entry_is_kept_on_either_database(database_url: str) -> None:
    """A column beside the others, in single rows and in batches of any size."""
    from hookline.receiver.mirror_store import MirrorStore
    from hookline.receiver.run_store import RunStore
    from hookline.receiver.store import InboxStore
    from hookline.storage import Verbs
    from hookline.storage.migrate import migrate

    database = connect(database_url)
    try:
        migrate(database, "receiver", "hookline.receiver")
        entries = [
            Entry(
                "default", f"event_{number:02d}", b"\0" * 32, "a.b", b"{}", 1, 1, None, CALLER if number % 2 else None
            )
            for number in range(20)
        ]
        with database.transaction() as tx:
            InboxStore(database.dialect).put(tx, entries)
        verbs = Verbs("hookline.receiver", database.dialect)
        with database.transaction() as tx:
            claimed = MirrorStore(verbs).claim(tx, 1, 100)
            asked = [RunStore(verbs).traceparent(tx, "default", f"event_{number:02d}") for number in (0, 1, 99)]
    finally:
        database.close()

    assert [entry.traceparent for entry in claimed] == [None, CALLER] * 10
    assert asked == [None, CALLER, None]


# -- where nobody traces, and where the process's own provider does --------------------------------------------

BOTH_ENDS: Final = """
import asyncio, json, sys, threading
from pathlib import Path

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from hookline import Outbox, Receiver
from hookline.cli.trace_export import export_traces
from hookline.loop import SystemClock
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.storage import connect
from hookline.testing.signed import signed_request
from hookline.testing.sink import Sink

heard = []
hooks = Receiver("sqlite:///receiver.db", secrets=["whsec_true"])

@hooks.on("invoice.paid", unlisted=True)
def paid(event, tx):
    heard.append(event.type)

database = connect("sqlite:///sender.db")
app = SenderApp(database, allow_private_targets=True)
worker = hooks.worker()
worker.register()

async def main():
    async with Sink() as sink:
        app.registry.create("production", url=sink.url(), events=["*"])
        stop = asyncio.Event()
        running = asyncio.create_task(app.run(stop))
        await app.publisher.publish(
            Publication("production", (draft_event({"event": "invoice.paid", "data": {}}),), None, %r)
        )
        await sink.arrived(1)
        stop.set()
        await running
        return sink.seen[0]

seen = asyncio.run(main())
with database.transaction() as tx:
    Outbox().publish({"event": "invoice.paid", "data": {}}, connection=tx)
request = signed_request(seen.body, "whsec_true", timestamp_ms=SystemClock().now_ms())
status = hooks.receive("POST", "/webhooks", request.headers, seen.body, None)[0]
worker.drain()
ended = export_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
print(json.dumps([seen.header("traceparent"), status, heard, ended, "opentelemetry" in sys.modules]))
app.close(); database.close(); hooks.close()
"""


def run_python(program: str, folder: Path, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_the_package_everything_works(tmp_path: Path) -> None:
    """Both ends, but for the API, whose framework brings the package: the caller's header is passed on as it came."""
    assert run_python(BOTH_ENDS % CALLER, tmp_path) == [CALLER, 200, ["invoice.paid"], None, False]


GLOBAL: Final = """
import json, threading
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from hookline import tracing
from hookline.sender.app import SenderApp
from hookline.storage import connect
from tests.sender.conftest import Client

database = connect("sqlite:///sender.db")
app = SenderApp(database, api_keys={"production": "sk_live_for_tests"})
call = Client(app)
before = tracing.is_on()
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
while not tracing.is_on():
    threading.Event().wait(0.05)
call("GET", "/api/v1/endpoints?url=Zoe-Secret")
call("POST", "/api/v1/endpoints", {"url": "Zoe-Secret"})
call("POST", "/api/v1/events", {"event": "invoice.paid", "data": {}})
spans = exporter.get_finished_spans()
print(json.dumps([before, [[span.name, span.instrumentation_scope.name] for span in spans]]))
app.close(); database.close()
"""


def test_a_provider_of_the_process_is_found(tmp_path: Path) -> None:
    """Set after Hookline was made; the API's framework, which would tell of queries and payloads, says nothing."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([clean_environment()["PYTHONPATH"], root])

    assert run_python(GLOBAL, tmp_path, PYTHONPATH=path) == [False, [["publish invoice.paid", "hookline"]]]


def test_serve_exports_by_the_standard_variables(tmp_path: Path) -> None:
    """To a collector over OTLP, under the service's name, all of it by the time the process has stopped."""
    with Sink() as collector, Sink() as endpoint:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url(""), "OTEL_EXPORTER_OTLP_HEADERS": "x-team=7"}
        with serving("sender", tmp_path, "--allow-private-targets", environment=environment, api_key=API_KEY) as sender:
            call(sender, "POST", "/api/v1/endpoints", {"url": endpoint.url("/hooks"), "events": ["*"]})
            assert call(sender, "POST", "/api/v1/events", {"event": "invoice.paid", "data": {}}).status == 201
            endpoint.wait_for(1)
            assert sender.facts["traces"] == {"to": "otlp"}
            assert sender.stop() == 0
        exported = list(collector.seen)

    assert {(seen.method, seen.path, seen.header("x-team")) for seen in exported} == {("POST", "/v1/traces", "7")}
    body = b"".join(seen.body for seen in exported)
    for text in (b"service.name", b"hookline", b"publish invoice.paid", b"hookline.delivery.id"):
        assert text in body
    assert b"/hooks" not in body


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_exported_unasked(environment: Mapping[str, str]) -> None:
    """Without an endpoint, or switched off: no provider is made."""
    from hookline.cli.trace_export import export_traces

    assert export_traces(environment) is None


def test_a_protocol_that_is_not_spoken_stops_the_start() -> None:
    """Rather than spans that go nowhere."""
    from hookline.cli.trace_export import export_traces
    from hookline.errors import ConfigError

    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        export_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
