"""Three requests to a door through what is in front of it: a real receiver, behind servers that spoil something."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hookline import Receiver
from hookline.errors import ConfigError
from hookline.receiver.probe import Kept, Tried, probe_body, send_probes
from hookline.wire.event import Event
from hookline.wire.schemes import Scheme
from hookline.wire.standard import secret_form

SECRET = "whsec_of_the_probed_door_01"
Spoil = Callable[[str, bytes, dict[str, str]], tuple[bytes, dict[str, str]] | tuple[int, dict[str, str], bytes]]


def untouched(method: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    return body, headers


class Front(ThreadingHTTPServer):
    """Hands requests to a receiver's door, through `spoil`: it changes them, or answers by itself."""

    daemon_threads = True

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.spoil: Spoil = untouched
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/webhooks"


class _Handler(BaseHTTPRequestHandler):
    server: Front

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        spoilt: Any = self.server.spoil(self.command, body, dict(self.headers))
        if isinstance(spoilt[0], int):
            status, headers, content = spoilt
            pairs = list(headers.items())
        else:
            sent, headers = spoilt
            status, pairs, content = self.server.receiver.receive(self.command, self.path, headers, sent, "127.0.0.1")
        self.send_response(status)
        for name, value in pairs:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in pairs):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815 - as http.server calls them

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=[SECRET]) as receiver:
        yield receiver


@pytest.fixture
def front(receiver: Receiver) -> Iterator[Front]:
    server = Front(receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def probed(
    front: Front, *, secret: str | None = SECRET, url: str | None = None, scheme: Scheme = "workos"
) -> dict[str, Tried]:
    def find(event_id: str) -> Kept | None:
        with front.receiver.look() as (queries, connection):
            found = queries.entry(connection, event_id)
            return None if found is None else Kept(queries.body(connection, event_id), found.source)

    tried = send_probes(url or front.url, secret, scheme=scheme, now_ms=now_ms, find=find)
    return {one.probe: one for one in tried}


def test_an_open_road_is_well_and_disturbs_nobody(front: Front) -> None:
    """All three as they must be; the event is kept as it was sent, no handler hears of it, nothing is mirrored."""
    heard: list[str] = []
    front.receiver.on("*", name="all")(lambda event, tx: heard.append(event.type))
    front.receiver.worker().register()

    found = probed(front)
    front.receiver.drain()

    assert [one.meaning.verdict for one in found.values()] == ["ok", "ok", "ok"]
    assert "bytes unchanged" in found["signed"].meaning.text
    with front.receiver.look() as (queries, connection):
        (entry,) = queries.entries(connection)
        assert (entry.state, entry.type) == ("ignored", "hookline.probe")
        assert queries.runs(connection) == []
    assert heard == []
    status = front.receiver.status()
    assert all(one.rows == 0 for counts in status.mirror.values() for one in counts)
    assert (status.dead_entries, status.waiting) == (0, 0)
    front.receiver.flush()
    assert front.receiver.status().refused == {"mismatch": 1}


def test_a_source_of_standard_webhooks_is_asked_in_its_way(front: Front, tmp_path: Path) -> None:
    """Its door reads other headers, and keeps the event under the id in one of them."""
    secret = secret_form(SECRET)
    url = f"sqlite:///{tmp_path / 'other.db'}"
    with Receiver(url, secrets=[secret], scheme="standard_webhooks") as front.receiver:
        found = probed(front, secret=secret, scheme="standard_webhooks")

        assert [one.meaning.verdict for one in found.values()] == ["ok", "ok", "ok"]
        front.receiver.flush()
        assert front.receiver.status().refused == {"mismatch": 1}


def test_without_a_secret_the_signed_one_is_left_out(front: Front) -> None:
    assert list(probed(front, secret=None)) == ["get", "forged"]


def test_another_secret_is_said_to_be_one(front: Front) -> None:
    found = probed(front, secret="whsec_of_somebody_else_0001")
    assert found["signed"].meaning.verdict == "problem"
    assert "another secret" in found["signed"].meaning.text


def written_anew(method: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """What every middleware does that parses JSON and dumps it again."""
    return (json.dumps(json.loads(body)).encode() if body else b""), headers


def bare(method: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    return body, {name: value for name, value in headers.items() if not name.lower().startswith("workos")}


def taking_all(method: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "text/html"}, b"welcome"


def to_login(method: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    return 302, {"Location": "/login?next=/webhooks"}, b""


def crossed(method: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    return 403, {"Content-Type": "text/html"}, b"CSRF verification failed"


@pytest.mark.parametrize(
    ("spoil", "probe", "told"),
    [
        (written_anew, "signed", "writes the body anew"),
        (bare, "signed", "drops headers"),
        (bare, "forged", "drops headers"),
        (taking_all, "forged", "nobody signed"),
        (taking_all, "signed", "not in this inbox"),
        (to_login, "get", "to a login"),
        (crossed, "signed", "CSRF"),
    ],
)
def test_what_spoils_it_is_named(front: Front, spoil: Spoil, probe: str, told: str) -> None:
    """Each thing in front that costs webhooks is told from the others."""
    front.spoil = spoil
    meaning = probed(front)[probe].meaning
    assert meaning.verdict == "problem"
    assert told in meaning.text


def test_a_place_where_nobody_listens(front: Front) -> None:
    """Said for each, without a traceback; https to a port of http, too."""
    https = front.url.replace("http://", "https://")
    assert {"no TLS there" in one.meaning.text for one in probed(front, url=https).values()} == {True}
    nowhere = "http://127.0.0.1:1/webhooks"
    assert {"cannot be reached" in one.meaning.text for one in probed(front, url=nowhere).values()} == {True}


@pytest.mark.parametrize("url", ["ftp://a.example/x", "/webhooks", "http://user:pass@a.example/", "http://"])
def test_what_is_no_url_of_a_door_is_refused(front: Front, url: str) -> None:
    with pytest.raises(ConfigError, match="expected an http or https URL"):
        probed(front, url=url)


def test_the_bytes_of_a_probe_survive_no_second_writing() -> None:
    """Or a body that was written anew would pass for one that was not."""
    body = probe_body("probe_1", 1_790_000_000_000)
    event = Event.from_bytes(body)
    assert (event.id, event.type) == ("probe_1", "hookline.probe")
    decoded = json.loads(body)
    again = [
        json.dumps(decoded, ensure_ascii=flag, separators=cut) for flag in (True, False) for cut in (None, (",", ":"))
    ]
    assert body not in {text.encode() for text in again} | {msgspec.json.encode(decoded)}
    assert body.strip() not in {text.encode() for text in again}
