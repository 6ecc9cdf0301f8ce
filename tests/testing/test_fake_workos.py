"""`FakeWorkOS`: the sender's own API, and every fault as it is told."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from workos import WorkOSClient

from hookline import Receiver
from hookline.errors import SourceError
from hookline.receiver.source_http import Answered, HttpSource
from hookline.testing import FakeWorkOS, TurnedClock

NOW_MS = 1_764_000_000_000
EVENTS = "/events?events=dsync.user.created&limit=100"


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def fake(tmp_path: Path, clock: TurnedClock) -> Iterator[FakeWorkOS]:
    with FakeWorkOS(tmp_path, clock=clock, delivers=False) as fake:
        yield fake


def ask(fake: FakeWorkOS, target: str, method: str = "GET") -> Answered:
    return fake.exchange(method, target, {"authorization": f"Bearer {fake.api_key}"})


def listed(fake: FakeWorkOS, target: str) -> list[str]:
    answer = ask(fake, target)
    assert answer.status == 200, answer.body
    return [item["id"] for item in json.loads(answer.body)["data"]]


def with_users(fake: FakeWorkOS, count: int) -> tuple[str, list[str]]:
    directory = fake.directories.create_directory(fake.environment, organization_id=None, name="Okta")
    users = [
        fake.directories.create_user(fake.environment, directory.id, idp_id=str(n), email=f"u{n}@example.com").id
        for n in range(count)
    ]
    return directory.id, users


def live_users(receiver: Receiver) -> set[str]:
    database = receiver.open().database
    assert database is not None
    with database.read() as connection:
        return {id_ for (id_,) in connection.execute("select id from hookline_directory_users_live")}


# -- without a fault it is the sender


def test_it_answers_what_was_written(fake: FakeWorkOS) -> None:
    """State and events, its own key alone, the time of its own clock."""
    directory, users = with_users(fake, 3)

    assert listed(fake, f"/directory_users?directory={directory}") == users[::-1]
    assert len(listed(fake, EVENTS)) == 3
    answer = ask(fake, f"/directory_users/{users[0]}")
    assert answer.headers["date"] == "Mon, 24 Nov 2025 16:00:00 GMT"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert fake.exchange("GET", "/directories", {}).status == 401
    assert ask(fake, f"/directories/{directory}", "DELETE").status == 202
    assert ask(fake, f"/directories/{directory}").status == 404
    assert fake.faults.seen == {"pass": 6}


def test_a_folder_is_found_again(tmp_path: Path, clock: TurnedClock) -> None:
    """What an earlier fake wrote is there."""
    with FakeWorkOS(tmp_path, clock=clock, delivers=False) as first:
        directory, users = with_users(first, 2)
    with FakeWorkOS(tmp_path, clock=clock, delivers=False) as second:
        assert listed(second, f"/directory_users?directory={directory}") == users[::-1]


def test_what_changes_in_silence_is_told_by_no_event(fake: FakeWorkOS) -> None:
    """The state has it, the feed has not."""
    directory, (user,) = with_users(fake, 1)
    fake.silent_directories.delete_user(fake.environment, directory, user)

    assert listed(fake, f"/directory_users?directory={directory}") == []
    assert listed(fake, "/events?events=dsync.user.deleted") == []
    assert listed(fake, EVENTS) != []


def test_an_official_sdk_reads_it_over_a_socket(tmp_path: Path) -> None:
    """`url` is a server on the loopback interface, started when it is first asked for."""
    with FakeWorkOS(tmp_path) as fake:
        directory, users = with_users(fake, 12)
        fake.faults.page_size = 5
        sdk = WorkOSClient(api_key=fake.api_key, client_id="client_test", base_url=fake.url, max_retries=0)
        found = [user.id for user in sdk.directory_sync.list_users(directory=directory).auto_paging_iter()]
        sdk.close()

        assert found == users[::-1]
        assert fake.faults.seen == {"pass": 3}
        assert fake.url == fake.url


# -- faults


@pytest.mark.parametrize(
    ("word", "status", "body"),
    [
        ("status/503", 503, b'{"message":"Service Unavailable"}'),
        ("status/404", 404, b'{"message":"Not Found"}'),
        ("rate-limited", 429, b'"Ratelimited"'),
        ("rate-limited/7", 429, b'"Ratelimited"'),
        ("html", 200, b"<!doctype html>"),
        ("html/502", 502, b"<!doctype html>"),
    ],
)
def test_an_answer_is_replaced(fake: FakeWorkOS, word: str, status: int, body: bytes) -> None:
    """Once, as told; the next request passes."""
    fake.faults.expect(word)

    answer = ask(fake, "/directories")

    assert (answer.status, answer.body[: len(body)]) == (status, body)
    assert answer.headers.get("retry-after") == ("7" if word.endswith("/7") else None)
    assert ask(fake, "/directories").status == 200
    assert fake.faults.seen == {word: 1, "pass": 1}


def test_faults_are_of_a_path_and_come_in_the_middle(fake: FakeWorkOS) -> None:
    """`path` and `skip`; those of another path go on meanwhile."""
    directory, _ = with_users(fake, 1)
    users = f"/directory_users?directory={directory}"
    fake.faults.expect("status/500", 2, path="/directory_users", skip=2)

    assert [ask(fake, "/directories").status, *(ask(fake, users).status for _ in range(5))] == [200] * 3 + [500] * 2 + [
        200
    ]


def test_connections_break(fake: FakeWorkOS) -> None:
    """In process as the exceptions that a network would raise."""
    for word in ("reset", "cut"):
        fake.faults.expect(word)
        with pytest.raises(ConnectionResetError):
            ask(fake, "/directories")
    fake.faults.expect("silence")
    with pytest.raises(TimeoutError):
        ask(fake, "/directories")


def test_connections_break_on_the_network_too(fake: FakeWorkOS) -> None:
    """A reset before an answer and in the middle of one; a silence; answers of a proxy."""

    def get() -> bytes:
        asked = urllib.request.Request(f"{fake.url}/directories", headers={"Authorization": f"Bearer {fake.api_key}"})
        with urllib.request.urlopen(asked, timeout=0.3) as answer:
            body: bytes = answer.read()
            return body

    whole = get()
    for word in ("reset", "cut"):
        fake.faults.expect(word)
        with pytest.raises((ConnectionResetError, HTTPException)):
            get()
    fake.faults.expect("silence")
    with pytest.raises(TimeoutError):
        get()
    fake.faults.expect("html/502")
    with pytest.raises(HTTPError, match="502") as refused:
        get()
    refused.value.close()
    assert get() == whole


def test_json_is_spoilt(fake: FakeWorkOS) -> None:
    """Cut in the middle as a whole answer; of wrong types; of an empty list too."""
    _, (user,) = with_users(fake, 1)
    for word in ("truncated", "wrong-types", "wrong-types"):
        fake.faults.expect(word)

    truncated = ask(fake, f"/directory_users/{user}")
    with pytest.raises(json.JSONDecodeError):
        json.loads(truncated.body)
    assert json.loads(ask(fake, f"/directory_users/{user}").body)["id"] == 7
    assert json.loads(ask(fake, "/organizations").body)["data"] == "none"


def test_pages_are_small_and_go_round(fake: FakeWorkOS) -> None:
    """`page_size` holds whatever `limit` says; `cycle` leads back to where the page began."""
    directory, users = with_users(fake, 5)
    target = f"/directory_users?directory={directory}&limit=100"
    fake.faults.page_size = 2
    first = json.loads(ask(fake, target).body)
    after = first["list_metadata"]["after"]
    fake.faults.expect("cycle", 2)

    assert [item["id"] for item in first["data"]] == users[:2:-1]
    assert json.loads(ask(fake, f"{target}&after={after}").body)["list_metadata"]["after"] == after
    assert json.loads(ask(fake, target).body)["list_metadata"]["after"] == users[-1]
    assert ask(fake, "/directories?limit=x").status == 422


def test_what_the_api_refuses_small_pages_do_not_hide(fake: FakeWorkOS) -> None:
    """A `limit` that is none of the API's is refused whatever `page_size` says."""
    fake.faults.page_size = 2
    assert [ask(fake, f"/organizations?limit={limit}").status for limit in ("0", "1", "100", "101", "x")] == [
        422, 200, 200, 422, 422
    ]  # fmt: skip


def test_what_has_no_json_cannot_be_spoilt(fake: FakeWorkOS) -> None:
    """A deletion's answer is empty: it passes, and deletes."""
    directory = fake.directories.create_directory(fake.environment, organization_id=None, name="Okta")
    fake.faults.expect("wrong-types")
    answer = ask(fake, f"/directories/{directory.id}", "DELETE")
    assert (answer.status, answer.body) == (202, b"")
    assert ask(fake, f"/directories/{directory.id}").status == 404


def test_cursors_expire(fake: FakeWorkOS) -> None:
    """In the words of the feed; a request without a cursor passes."""
    with_users(fake, 2)
    first = listed(fake, EVENTS)[0]
    fake.faults.expect("expired", 2)

    assert ask(fake, EVENTS).status == 200
    answer = ask(fake, f"{EVENTS}&after={first}")
    assert (answer.status, json.loads(answer.body)["errors"]) == (422, [{"code": "cursor_expired", "field": "after"}])
    assert ask(fake, f"{EVENTS}&after={first}").status == 200


def test_chance_is_drawn_from_the_seed(tmp_path: Path) -> None:
    """The same seed, the same faults; `calm` ends them; chances are chances."""
    drawn: list[list[int]] = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        with FakeWorkOS(tmp_path / folder, seed=seed, delivers=False) as fake:
            fake.faults.shake({"status/500": 0.3, "rate-limited": 0.2}, path="/dir")
            drawn.append([ask(fake, "/directories").status for _ in range(40)])
            assert ask(fake, "/organizations").status == 200
            fake.faults.calm()
            assert ask(fake, "/directories").status == 200

    assert drawn[0] == drawn[1] != drawn[2]
    assert {200, 429, 500} == set(drawn[0])


@pytest.mark.parametrize("word", ["status/200", "nonsense", "html/", "status/", "rate-limited/x", ""])
def test_a_word_that_is_none_is_refused(fake: FakeWorkOS, word: str) -> None:
    """At once, where it is told."""
    with pytest.raises(ValueError, match="expected a word"):
        fake.faults.expect(word)
    with pytest.raises(ValueError, match="expected a word"):
        fake.faults.shake({word: 0.1})
    with pytest.raises(ValueError, match="at most 1"):
        fake.faults.shake({"reset": 0.6, "cut": 0.6})


# -- what lags


def test_readers_see_the_past(fake: FakeWorkOS, clock: TurnedClock) -> None:
    """What changed within the lag is as it was or missing, what was deleted is there; then they catch up."""
    environment, directories = fake.environment, fake.directories
    directory, (changed, deleted) = with_users(fake, 2)
    clock.advance(60_000)
    fake.faults.lag_s, fake.faults.events_lag_s = 8, 4
    directories.update_user(environment, directory, changed, email="new@example.com")
    directories.delete_user(environment, directory, deleted)
    new = directories.create_user(environment, directory, idp_id="new", email=None).id
    created = "/events?events=dsync.user.created,dsync.user.updated,dsync.user.deleted&limit=100"

    def shown() -> tuple[str, set[str], int]:
        email = json.loads(ask(fake, f"/directory_users/{changed}").body)["email"]
        return email, set(listed(fake, f"/directory_users?directory={directory}")), len(listed(fake, created))

    before = ("u0@example.com", {changed, deleted}, 2)
    assert shown() == before
    assert ask(fake, f"/directory_users/{new}").status == 404
    clock.advance(3_999)
    assert shown() == before
    clock.advance(1_001)  # an eighth of the longer lag may be added to either
    assert shown() == ("u0@example.com", {changed, deleted}, 5)
    clock.advance(4_000)
    assert shown() == ("new@example.com", {changed, new}, 5)


def test_each_reader_sees_one_moment_of_many_writes(fake: FakeWorkOS, clock: TurnedClock) -> None:
    """A write each second: who lags by eight sees them no sooner than after eight, and no later than after nine."""
    directory, _ = with_users(fake, 0)
    clock.advance(60_000)
    fake.faults.lag_s = 8
    written: list[int] = []

    for _ in range(40):
        fake.directories.create_user(fake.environment, directory, idp_id=str(len(written)), email=None)
        written.append(clock.now_ms())
        clock.advance(1_000)
        seen = len(listed(fake, f"/directory_users?directory={directory}&limit=100"))
        now_ms = clock.now_ms()
        least = sum(at_ms <= now_ms - 9_000 for at_ms in written)
        most = sum(at_ms <= now_ms - 8_000 for at_ms in written)
        assert least <= seen <= most, (least, seen, most)
    fake.faults.lag_s = 0
    assert len(listed(fake, f"/directory_users?directory={directory}&limit=100")) == 40


def test_readers_see_the_past_on_postgresql(postgres_url: str, clock: TurnedClock) -> None:
    """By a snapshot there as well."""
    with FakeWorkOS(postgres_url, clock=clock, delivers=False) as fake:
        directory, users = with_users(fake, 1)
        fake.faults.lag_s = 5
        clock.advance(60_000)
        fake.directories.delete_user(fake.environment, directory, users[0])

        assert listed(fake, f"/directory_users?directory={directory}") == users
        clock.advance(6_000)
        assert listed(fake, f"/directory_users?directory={directory}") == []


# -- webhooks


def test_webhooks_come_to_a_receiver_in_memory(tmp_path: Path) -> None:
    """Signed, stored and applied; `line` can lose them, `faults` can lose them without the sender's knowing."""
    clock = TurnedClock(NOW_MS)
    with FakeWorkOS(tmp_path, clock=clock) as fake, contextlib.ExitStack() as stack:
        receivers: list[Receiver] = []
        secret = fake.deliver_to(lambda *request: receivers[0].receive(*request))
        receivers.append(Receiver(f"sqlite:///{tmp_path / 'receiver.db'}", secrets=[secret], clock=clock))
        stack.callback(receivers[0].close)
        worker = receivers[0].worker()
        directory, users = with_users(fake, 2)
        fake.drain()
        worker.drain()
        assert live_users(receivers[0]) == set(users)

        fake.faults.webhooks_lost = 1
        fake.directories.delete_user(fake.environment, directory, users[0])
        fake.drain()
        fake.faults.calm()
        fake.line.expect("lost")
        fake.directories.delete_user(fake.environment, directory, users[1])
        fake.drain()
        clock.advance(600_000)
        fake.drain()
        worker.drain()
        assert live_users(receivers[0]) == {users[0]}
        assert fake.line.fates == {"pass": 4, "lost": 1}


def test_webhooks_are_late(tmp_path: Path, clock: TurnedClock) -> None:
    """On their way for as long as told, by the fake's clock."""
    arrived = threading.Event()

    def receive(*request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        arrived.set()
        return 200, [], b""

    with FakeWorkOS(tmp_path, clock=clock) as fake:
        fake.deliver_to(receive)
        fake.faults.webhooks_delay_s = 10
        with_users(fake, 0)
        assert not arrived.wait(0.2)
        clock.advance(10_000)
        assert arrived.wait(10)
        fake.drain()


def test_webhooks_go_over_the_network(tmp_path: Path) -> None:
    """To an endpoint that anybody registered."""
    from hookline.testing import Sink

    with Sink() as sink, FakeWorkOS(tmp_path, environment="staging") as fake:
        fake.sender.registry.create("staging", url=sink.url(), events=["dsync.*"], actor="test")
        with_users(fake, 1)
        fake.drain()

        assert len(sink.seen) == 2


def test_the_receivers_client_understands_its_faults(fake: FakeWorkOS) -> None:
    """Each becomes the reason that it stands for."""
    directory, users = with_users(fake, 3)
    source = HttpSource("https://fake.test", fake.api_key, clock=TurnedClock(NOW_MS), exchange=fake.exchange)
    reasons: dict[str, str] = {}
    for word in ("status/503", "rate-limited/2", "reset", "silence", "html", "truncated", "wrong-types", "status/401"):
        fake.faults.expect(word)
        with pytest.raises(SourceError) as refused:
            source.page("directory_user", {"directory": directory})
        reasons[word] = refused.value.reason

    assert [item["id"] for item in source.page("directory_user", {"directory": directory}).items] == users[::-1]
    assert reasons == {
        "status/503": "unavailable",
        "rate-limited/2": "rate_limited",
        "reset": "unavailable",
        "silence": "unavailable",
        "html": "nonsense",
        "truncated": "nonsense",
        "wrong-types": "nonsense",
        "status/401": "unauthorized",
    }


def test_its_port_is_free_afterwards(tmp_path: Path) -> None:
    """Closing stops the server and every thread."""
    threads = threading.active_count()
    with FakeWorkOS(tmp_path) as fake:
        port = int(fake.url.rpartition(":")[2])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
    assert threading.active_count() <= threads
