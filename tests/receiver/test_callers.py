"""A published list of addresses: read in the background, kept, and never taken for "everybody"."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hookline import Receiver, Source
from hookline.errors import ConfigError
from hookline.receiver.callers import EVERY_MS, MOST_BYTES
from hookline.rules.address import SourceAddresses, egress_document
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import signed_request
from tests.e2e.processes import wait_for

SECRET = "whsec_of_the_listed_source_1"
NOW_MS = 1_790_000_000_000
BODY = b'{"id":"event_1","event":"x.y","created_at":"2026-01-01T00:00:00.000Z","data":{}}'


def document(*addresses: str) -> bytes:
    """The list as a sender of Hookline publishes it."""
    return egress_document(SourceAddresses("hookline", "2026-01-01T00:00:00.000Z", addresses), headers={})


class Publisher(ThreadingHTTPServer):
    """Where the list is: `answer` is what it answers, `asked` how often it was asked, `gate` holds it back."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, document("192.0.2.7", "198.51.100.0/24"))
        self.asked: list[tuple[str, str | None]] = []
        self.gate = threading.Event()
        self.gate.set()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/.well-known/hookline-egress.json"


class _Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.gate.wait(10)
        self.server.asked.append((self.path, self.headers.get("Accept")))
        status, headers, content = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    server = Publisher()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def make(database_url: str, clock: TurnedClock, publisher: Publisher) -> Iterator[Callable[..., Receiver]]:
    """Receivers on one database, which follow the list; closed at the end."""
    made: list[Receiver] = []

    def make(**settings: Any) -> Receiver:
        settings = {"secrets": [SECRET], "allowed_ips_url": publisher.url, "clock": clock, **settings}
        made.append(Receiver(database_url, **settings))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


def post(receiver: Receiver, peer: str) -> tuple[int, bytes]:
    """A signed webhook from an address: status and word of the answer."""
    request = signed_request(BODY, SECRET, timestamp_ms=receiver.clock.now_ms())
    status, _, content = receiver.receive("POST", request.path, request.headers, request.body, peer)
    return status, content


def known(receiver: Receiver, peer: str = "192.0.2.7") -> None:
    wait_for(lambda: post(receiver, peer)[0] == 200, "the list to be known")


def test_who_is_on_the_list_may_call_and_nobody_else(make: Callable[..., Receiver], publisher: Publisher) -> None:
    """Once it is read; until then 503 to all, which a source tries again: nobody waits for the reading."""
    publisher.gate.clear()
    receiver = make()
    assert [post(receiver, peer) for peer in ("192.0.2.7", "203.0.113.9")] == [(503, b"no_list\n")] * 2
    assert receiver.receive("GET", "/webhooks", {}, b"", "203.0.113.9")[0] == 200
    publisher.gate.set()
    known(receiver)
    assert post(receiver, "198.51.100.200") == (200, b"")
    assert post(receiver, "203.0.113.9") == (403, b"address\n")
    assert publisher.asked == [("/.well-known/hookline-egress.json", "application/json")]


def test_addresses_of_ones_own_may_call_besides(make: Callable[..., Receiver], publisher: Publisher) -> None:
    """Whether or not the list is known."""
    publisher.gate.clear()
    receiver = make(allowed_ips="203.0.113.9")
    assert post(receiver, "203.0.113.9")[0] == 200
    assert post(receiver, "192.0.2.7") == (503, b"no_list\n")
    publisher.gate.set()
    known(receiver)
    assert [post(receiver, peer)[0] for peer in ("203.0.113.9", "203.0.113.10")] == [200, 403]


def test_the_client_is_found_behind_proxies_that_are_trusted(make: Callable[..., Receiver]) -> None:
    """The list is about who calls, not about who hands it on."""
    receiver = make(trusted_proxies="10.0.0.0/8")
    known(receiver)
    request = signed_request(BODY, SECRET, timestamp_ms=NOW_MS)

    def through(forwarded: str) -> int:
        headers = {**request.headers, "X-Forwarded-For": forwarded}
        return receiver.receive("POST", request.path, headers, request.body, "10.0.0.1")[0]

    assert [through(address) for address in ("192.0.2.7", "192.0.2.7, 203.0.113.9", "203.0.113.9")] == [200, 403, 403]


def test_the_list_is_read_again_every_hour(
    make: Callable[..., Receiver], publisher: Publisher, clock: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What has left it may no longer call, what is new may."""
    receiver = make()
    known(receiver)
    publisher.answer = (200, {}, document("203.0.113.9"))
    with caplog.at_level(logging.INFO, "hookline.receiver"):
        wait_for(lambda: clock.next_due_ms() == NOW_MS + EVERY_MS, "it to wait")
        clock.advance(EVERY_MS)
        known(receiver, "203.0.113.9")
    assert post(receiver, "192.0.2.7") == (403, b"address\n")
    assert [record.message for record in caplog.records if "has changed: 1 entries" in record.message]


BAD = {
    "away": (500, {}, b""),
    "gone": (404, {}, b""),
    "moved": (302, {"Location": "http://127.0.0.1:1/"}, b""),
    "html": (200, {}, b"<html>"),
    "another version": (200, {}, b'{"version": 2, "addresses": ["192.0.2.7"]}'),
    "nobody": (200, {}, b'{"version": 1, "addresses": []}'),
    "everybody": (200, {}, b'{"version": 1, "addresses": ["0.0.0.0/0"]}'),
    "everybody else": (200, {}, b'{"version": 1, "addresses": ["::/0"]}'),
    "no address": (200, {}, b'{"version": 1, "addresses": ["sender.example"]}'),
    "no text": (200, {}, b'{"version": 1, "addresses": [0]}'),
    "too long": (200, {}, b" " * (MOST_BYTES + 1)),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_what_is_no_list_lets_nobody_in(
    make: Callable[..., Receiver],
    publisher: Publisher,
    clock: TurnedClock,
    answer: tuple[int, dict[str, str], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor changes one that is known. Said once, and read again in a minute, then later and later."""
    good, publisher.answer = publisher.answer, answer
    receiver = make()
    receiver.follow_lists()
    wait_for(lambda: clock.next_due_ms() == NOW_MS + 60_000, "it to be tried and to wait")
    assert post(receiver, "192.0.2.7") == (503, b"no_list\n")
    (row,) = receiver.status().lists
    assert (row.document, row.fetched_ms, row.failed_ms) == (None, None, NOW_MS)
    assert "never read" in " ".join(receiver.status().needs())
    clock.advance(60_000)
    wait_for(lambda: clock.next_due_ms() == NOW_MS + 60_000 + 120_000, "it to be tried again")
    assert len([one for one in caplog.records if "cannot be read" in one.message]) == 1

    publisher.answer = good
    clock.advance(120_000)
    known(receiver)
    publisher.answer = answer
    read_ms = clock.now_ms()
    wait_for(lambda: clock.next_due_ms() == read_ms + EVERY_MS, "it to wait an hour")
    clock.advance(EVERY_MS)
    wait_for(lambda: receiver.status().lists[0].error is not None, "it to fail")
    assert [post(receiver, peer)[0] for peer in ("192.0.2.7", "203.0.113.9")] == [200, 403]
    row = receiver.status().lists[0]
    assert (row.fetched_ms, row.document is not None) == (read_ms, True)
    clock.advance(7 * 86_400_000)
    assert "an old copy is in force" in " ".join(receiver.status().needs())


def test_a_start_without_the_list_goes_on_with_the_last_good_copy(
    make: Callable[..., Receiver], publisher: Publisher, clock: TurnedClock
) -> None:
    """Another process, or the same one later: the database has it."""
    first = make()
    known(first)
    wait_for(lambda: first.status().lists[0].fetched_ms == NOW_MS, "it to be kept")
    first.close()
    publisher.answer = BAD["away"]
    later = make()
    known(later)
    assert post(later, "203.0.113.9") == (403, b"address\n")
    wait_for(lambda: later.status().lists[0].error, "the failure to be noted")
    assert later.status().lists[0].error == "answered 500"


def test_sources_have_lists_of_their_own(
    make: Callable[..., Receiver], publisher: Publisher, clock: TurnedClock
) -> None:
    """One with a list, one without: what is on the one says nothing of the other."""
    sources = [Source("listed", [SECRET], allowed_ips_url=publisher.url), Source("open", [SECRET])]
    receiver = make(sources=sources, secrets=None, allowed_ips_url=None)

    def at(path: str, peer: str) -> int:
        request = signed_request(BODY, SECRET, timestamp_ms=NOW_MS)
        return receiver.receive("POST", path, request.headers, request.body, peer)[0]

    wait_for(lambda: at("/webhooks/listed", "192.0.2.7") == 200, "the list to be known")
    assert at("/webhooks/listed", "203.0.113.9") == 403
    assert at("/webhooks/open", "203.0.113.9") == 200


def test_a_closed_receiver_reads_no_more_and_a_used_one_again(
    make: Callable[..., Receiver], publisher: Publisher, clock: TurnedClock
) -> None:
    receiver = make()
    known(receiver)
    receiver.close()
    asked = len(publisher.asked)
    clock.advance(10 * EVERY_MS)
    assert len(publisher.asked) == asked
    assert post(receiver, "192.0.2.7")[0] == 200  # what it knew
    wait_for(lambda: len(publisher.asked) > asked, "it to be read again")


FORKED = """
import os, sys, time
from hookline import Receiver

receiver = Receiver(sys.argv[1], secrets=["whsec_of_the_forked_one_1"], allowed_ips_url=sys.argv[2])
asked = lambda peer: receiver.receive("POST", "/webhooks", {}, b"", peer)[2]

def wait(question):
    until = time.monotonic() + 20
    while not question():
        assert time.monotonic() < until
        time.sleep(0.02)

wait(lambda: asked("192.0.2.7") == b"missing\\n")
wait(lambda: receiver.status().lists[0].fetched_ms)
first_ms = receiver.status().lists[0].fetched_ms
time.sleep(0.002)
child = os.fork()
if child == 0:
    assert (asked("192.0.2.7"), asked("203.0.113.9")) == (b"missing\\n", b"address\\n")
    wait(lambda: receiver.status().lists[0].fetched_ms > first_ms)
    os._exit(0)
_, status = os.waitpid(child, 0)
receiver.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_follows_it_by_itself(publisher: Publisher, tmp_path: Path) -> None:
    """As under `gunicorn --preload`: the parent's thread is not there; what the parent knew is."""
    url = f"sqlite:///{tmp_path / 'app.db'}"
    command = [sys.executable, "-W", "ignore", "-c", FORKED, url, publisher.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, len(publisher.asked)) == (0, 2), done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "http://sender.example/list",
        "http://10.0.0.1/list",
        "https://user:word@sender.example/list",
        "https:///list",
        "ftp://127.0.0.1/list",
        "file:///etc/hosts",
        "https://sender.example/list#part",
        "",
    ],
)
def test_a_list_is_read_over_https_alone(url: str) -> None:
    """http on this machine excepted, for a proxy beside it and for tests."""
    with pytest.raises(ConfigError, match="allowed_ips_url: expected an https URL"):
        Receiver("sqlite:///x.db", secrets=[SECRET], allowed_ips_url=url)


@pytest.mark.parametrize("url", ["https://sender.example/list?v=1", "http://localhost:1/", "http://[::1]:1/"])
def test_such_a_list_may_be_read(url: str) -> None:
    Source("one", [SECRET], allowed_ips_url=url)
