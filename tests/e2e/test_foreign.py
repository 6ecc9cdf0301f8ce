"""Our sender among strangers: the official SDKs verify its deliveries in servers of their own and manage its endpoints.

The sender is `hookline serve sender` as a process; receivers and clients know nothing of Hookline.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from workos import WorkOSClient

from hookline.wire.catalogue import CATALOGUE, sample, sample_context, sampled_types

from .conftest import NODE
from .processes import API_KEY, Served, ask, call, clean_environment, serving, wait_for

TYPES: Final = [name for name in sampled_types() if CATALOGUE[name].subscribable]

# What breaks signatures over parsed bodies, and consumers over odd data; each is published as it stands.
AWKWARD: Final[tuple[dict[str, Any], ...]] = (
    {"name": "Žofia Ålesund-Μαρία 山田", "note": "שלום عليكم", "": "a key of no characters"},
    {"emoji": "👩‍👩‍👧 🏴‍☠️ 😀", "separators": "a\u2028b\u2029c", "controls": "\x00\x07\x1f\x7f", "quotes": "\\ \" / '"},
    {"nested": {"a": {"b": {"c": [[], {}, [{"d": None}]]}}}, "empty": {"text": "", "list": [], "object": {}}},
    {"numbers": [0, -0.0, 1.0, 1e15, 1e-7, 0.1, -273.15, 9007199254740991, 5e-324], "truth": [True, False, None]},
    {"10": "keys that JavaScript moves to the front", "2": "before this one", "b": 1, "a": 2, "__proto__": {"x": 1}},
)


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One sender for this file, which retries after 0.2 s."""
    with serving(
        "sender",
        tmp_path_factory.mktemp("sender"),
        "--allow-private-targets",
        "--retry-schedule",
        "200ms, 1m",
        api_key=API_KEY,
    ) as served:
        yield served


@pytest.fixture
def sdk(sender: Served) -> Iterator[WorkOSClient]:
    """The official Python client; only its base URL is ours."""
    client = WorkOSClient(api_key=API_KEY, client_id="client_test", base_url=sender.url, max_retries=0)
    yield client
    client.close()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery as it came, and what the SDK made of it: its event, or why it was refused."""

    body: bytes
    header: str
    event: Any
    refusal: str | None


@dataclass
class PythonReceiver:
    """What a server with the official Python SDK received."""

    url: str = ""
    secret: str = ""
    answers: list[int] = field(default_factory=list)  # the next ones; 200 when none is left
    arrivals: list[Arrival] = field(default_factory=list)


@contextmanager
def python_receiver() -> Iterator[PythonReceiver]:
    """The smallest server an SDK user would write: raw body and header go to `verify_event` as they came."""
    receiver = PythonReceiver()
    sdk = WorkOSClient(api_key="sk_test_nobody", client_id="client_nobody")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            header = self.headers["workos-signature"]
            event, refusal = None, None
            try:
                event = sdk.webhooks.verify_event(event_body=body, event_signature=header, secret=receiver.secret)
            except ValueError as error:
                refusal = str(error)
            receiver.arrivals.append(Arrival(body, header, event, refusal))
            status = receiver.answers.pop(0) if receiver.answers else 200 if refusal is None else 400
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # the default of 5 drops connections, which come back a second later

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/webhooks"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        sdk.close()


@contextmanager
def node_receiver(node: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """tests/node/receiver.mjs as a process: its URL, and the lines it printed about deliveries so far."""
    with subprocess.Popen(
        [node, NODE / "receiver.mjs"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        output, reading = process.stdout, None
        try:
            port = int(output.readline())
            lines: list[dict[str, Any]] = []
            reading = threading.Thread(target=lambda: lines.extend(json.loads(line) for line in output))
            reading.start()
            yield f"http://127.0.0.1:{port}", lines
        finally:
            process.terminate()
            process.wait()
            if reading is not None:
                reading.join()


@contextmanager
def registered(sender: Served, url: str, types: list[str]) -> Iterator[str]:
    """An endpoint of WorkOS's API until the block ends; gives its secret."""
    answer = call(sender, "POST", "/webhook_endpoints", {"endpoint_url": url, "events": types})
    assert answer.status == 201, answer.body
    try:
        yield answer.json["secret"]
    finally:
        call(sender, "DELETE", f"/webhook_endpoints/{answer.json['id']}")


def publish(sender: Served, events: list[dict[str, Any]]) -> list[str]:
    """Publish in one batch; the events' ids."""
    answer = call(sender, "POST", "/api/v1/events", {"events": events})
    assert answer.status == 201, answer.body
    return [item["id"] for item in answer.json["data"]]


def every_kind(awkward_type: str = "dsync.user.created") -> list[dict[str, Any]]:
    """Every sample of ours, and the awkward payloads laid over one of them, so that the SDK knows their type."""
    samples = [
        {"event": name, "data": sample(name)} | ({"context": context} if (context := sample_context(name)) else {})
        for name in TYPES
    ]
    base = sample(awkward_type)
    awkward = [{"event": awkward_type, "data": base | {"custom_attributes": extra}} for extra in AWKWARD]
    return [*samples, *awkward]


def test_python_apps_accept_every_delivery(sender: Served) -> None:
    """`verify_event` takes the raw body and header of each event as they arrive, and reads our event in them."""
    events = every_kind()
    with python_receiver() as receiver, registered(sender, receiver.url, TYPES) as receiver.secret:
        ids = publish(sender, events)
        wait_for(lambda: len(receiver.arrivals) == len(events), "all deliveries")

    assert [arrival.refusal for arrival in receiver.arrivals] == [None] * len(events)
    seen = {arrival.event.id: json.loads(arrival.body) for arrival in receiver.arrivals}
    assert seen.keys() == set(ids)
    assert [(seen[id_]["event"], seen[id_]["data"]) for id_ in ids] == [(one["event"], one["data"]) for one in events]


def test_python_apps_accept_a_retry_signed_anew(sender: Served) -> None:
    """An attempt answered 500 comes again with the same bytes, a later `t` and a signature that verifies."""
    types = ["dsync.user.updated"]
    with python_receiver() as receiver, registered(sender, receiver.url, types) as receiver.secret:
        receiver.answers = [500]

        publish(sender, [{"event": "dsync.user.updated", "data": sample("dsync.user.updated")}])
        wait_for(lambda: len(receiver.arrivals) == 2, "the retry")

    first, second = receiver.arrivals
    assert (first.refusal, second.refusal) == (None, None)
    assert first.body == second.body
    assert signed_ms(second.header) >= signed_ms(first.header) + 100
    assert first.header.rpartition("v1=")[2] != second.header.rpartition("v1=")[2]


def test_node_apps_accept_every_delivery_raw_and_parsed(sender: Served, node: str) -> None:
    """`constructEvent` takes text, bytes and the parsed object of each event, first attempts and retries alike."""
    events = every_kind()
    with node_receiver(node) as (url, lines), registered(sender, url + "/first-fails", TYPES) as secret:
        ask("PUT", url + "/secret", secret.encode())

        ids = publish(sender, events)
        wait_for(lambda: len(lines) == 2 * len(events), "all deliveries and their retries")

    assert [line for line in lines if {line["text"], line["bytes"], line["object"]} != {line["id"]}] == []
    for id_ in ids:
        first, second = (line for line in lines if line["id"] == id_)
        assert (first["status"], second["status"]) == (500, 200)
        assert signed_ms(second["header"]) > signed_ms(first["header"])


def test_the_python_client_manages_endpoints(sdk: WorkOSClient) -> None:
    """Create, list, update and delete: each answer parses into the SDK's own model."""
    created = sdk.webhooks.create_webhook_endpoint(
        endpoint_url="http://127.0.0.1:9/python", events=["dsync.user.created"]
    )
    updated = sdk.webhooks.update_webhook_endpoint(created.id, status="disabled", events=["dsync.deleted"])
    listed = sdk.webhooks.list_webhook_endpoints()
    sdk.webhooks.delete_webhook_endpoint(created.id)

    assert (created.endpoint_url, created.status) == ("http://127.0.0.1:9/python", "enabled")
    assert created.secret.startswith("whsec_")
    assert (updated.id, updated.status, updated.events) == (created.id, "disabled", ["dsync.deleted"])
    assert [endpoint.id for endpoint in listed.data] == [created.id]
    assert sdk.webhooks.list_webhook_endpoints().data == []


def test_both_clients_page_through_250_endpoints(sender: Served, sdk: WorkOSClient, node: str) -> None:
    """Their auto-pagination follows our cursors both ways and sees each once; refusals are their typed errors."""
    made = [
        sdk.webhooks.create_webhook_endpoint(endpoint_url=f"http://127.0.0.1:9/{number}", events=["dsync.deleted"]).id
        for number in range(250)
    ]
    hostname, _, port = sender.url.removeprefix("http://").partition(":")

    walked = {
        order: [one.id for one in sdk.webhooks.list_webhook_endpoints(limit=100, order=order).auto_paging_iter()]
        for order in ("desc", "asc")
    }
    by_default = [one.id for one in sdk.webhooks.list_webhook_endpoints().auto_paging_iter()]
    done = subprocess.run(
        [node, NODE / "walk.mjs", hostname, port, API_KEY],
        stdout=subprocess.PIPE,
        env=clean_environment(),
        check=True,
        timeout=30,
    )
    for id_ in made:
        sdk.webhooks.delete_webhook_endpoint(id_)

    assert walked == {"desc": made[::-1], "asc": made}
    assert by_default == made[::-1]
    seen = json.loads(done.stdout)
    assert (seen["desc"], seen["asc"]) == (made[::-1], made)
    assert [seen[name]["status"] for name in ("unauthorized", "missing", "unprocessable", "notUrl")] == [
        401,
        404,
        422,
        422,
    ]
    assert [seen[name]["name"] for name in ("unauthorized", "missing", "unprocessable")] == [
        "UnauthorizedException",
        "NotFoundException",
        "UnprocessableEntityException",
    ]
    assert all(seen[name]["hasRequestId"] for name in ("unauthorized", "missing", "unprocessable", "notUrl"))


def test_the_node_client_waits_as_long_as_a_429_says(tmp_path: Path, node: str) -> None:
    """Without retries it is the SDK's typed error with our Retry-After; with them the call goes through."""
    with serving("sender", tmp_path, "--api-rate-limit", "1", api_key=API_KEY) as sender:
        hostname, _, port = sender.url.removeprefix("http://").partition(":")
        done = subprocess.run(
            [node, NODE / "patience.mjs", hostname, port, API_KEY],
            stdout=subprocess.PIPE,
            env=clean_environment(),
            check=True,
            timeout=30,
        )

    refusal = {"name": "RateLimitExceededException", "status": 429, "retryAfter": 1, "hasRequestId": True}
    assert json.loads(done.stdout) == {"refusal": refusal, "data": []}


def test_the_python_client_reads_the_feed(sender: Served, sdk: WorkOSClient) -> None:
    """Its walk over `GET /events` yields more than a page of typed events, oldest first, each once."""
    data = sample("dsync.group.updated")
    ids = publish(
        sender, [{"event": "dsync.group.updated", "data": data | {"name": f"Gruppe {n} ß"}} for n in range(120)]
    )

    page = sdk.events.list_events(events=["dsync.group.updated"], limit=100)
    walked: list[Any] = list(page.auto_paging_iter())

    ours = [event for event in walked if event.data.name.startswith("Gruppe")]
    assert [event.id for event in ours] == ids
    assert [event.data.name for event in ours] == [f"Gruppe {n} ß" for n in range(120)]
    assert {type(event).__name__ for event in ours} == {"DsyncGroupUpdated"}


def test_the_node_client_manages_endpoints_and_reads_the_feed(sender: Served, node: str) -> None:
    """The JavaScript SDK, given our host and port, creates, updates, lists and deletes, and reads typed events."""
    base = sample("dsync.user.created")
    before, ours = publish(
        sender,
        [{"event": "dsync.user.created", "data": base | {"email": email}} for email in ("a@example.com", "zoë@b.cz")],
    )
    hostname, _, port = sender.url.removeprefix("http://").partition(":")

    done = subprocess.run(
        [node, NODE / "client.mjs", hostname, port, API_KEY, before],
        stdout=subprocess.PIPE,
        env=clean_environment(),
        check=True,
        timeout=30,
    )

    seen = json.loads(done.stdout)
    assert seen["created"]["endpointUrl"] == "http://127.0.0.1:9/node"
    assert seen["created"]["secret"].startswith("whsec_")
    assert seen["conflict"] == {"name": "ConflictException", "status": 409, "hasRequestId": True}
    assert (seen["updated"]["status"], seen["updated"]["events"]) == ("disabled", ["dsync.deleted"])
    assert seen["all"] == [seen["created"]["id"]]
    assert seen["left"] == []
    assert seen["feed"] == [{"id": ours, "event": "dsync.user.created", "email": "zoë@b.cz"}]


def signed_ms(header: str) -> int:
    """The `t` of a signature header."""
    return int(header.split("t=")[1].split(",")[0])
