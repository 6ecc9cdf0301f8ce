"""`Receiver` without a server: what it opens, keeps, counts and refuses to be built from."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hookline.errors import ConfigError, StorageUnavailable
from hookline.receiver.app import Receiver
from hookline.receiver.handlers import Change
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import SignedRequest, signed_request
from hookline.wire.event import Event

SECRET = "whsec_app_secret_0001"
NOW_MS = 1_700_000_000_000
PEER = "203.0.113.7"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def receiver(path: Path, clock: TurnedClock) -> Iterator[Receiver]:
    with Receiver(f"sqlite:///{path}?busy_timeout_ms=50", secrets=[SECRET], clock=clock) as receiver:
        yield receiver


def request(number: int = 1, *, secret: str = SECRET) -> SignedRequest:
    body = b'{"id":"event_%04d","event":"dsync.user.created","data":{"id":"directory_user_%04d",' % (number, number)
    body += b'"object":"directory_user","directory_id":"directory_1","state":"active",'
    body += b'"updated_at":"2023-11-14T22:13:20.000Z"},"created_at":"2023-11-14T22:13:20.000Z"}'
    return signed_request(body, secret, timestamp_ms=NOW_MS)


def post(receiver: Receiver, request: SignedRequest) -> int:
    status, _, _ = receiver.receive("POST", "/webhooks", request.headers, request.body, PEER)
    return status


def rows(path: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def test_building_one_touches_no_disk(path: Path) -> None:
    """A module that builds a receiver can be imported by anything, anywhere."""
    receiver = Receiver(f"sqlite:///{path}", secrets=[SECRET])
    receiver.asgi()
    receiver.wsgi()

    assert list(path.parent.iterdir()) == []


def test_the_first_request_makes_the_tables(receiver: Receiver, path: Path) -> None:
    """Nothing has to be run before the first webhook."""
    assert post(receiver, request()) == 200
    assert rows(path, "select event_id from hookline_inbox") == [("event_0001",)]


def test_the_answer_says_nothing_about_processing(receiver: Receiver) -> None:
    """The same empty answer for a first, a repeated and a contradicting delivery."""
    other = signed_request(request().body + b" ", SECRET, timestamp_ms=NOW_MS)
    answers = [
        receiver.receive("post", "/webhooks", each.headers, each.body, PEER) for each in (request(), request(), other)
    ]

    assert answers == [(200, [("content-length", "0")], b"")] * 3


def test_a_refusal_is_answered_with_its_word(receiver: Receiver) -> None:
    """What the sender's log shows is enough to know what to look for, and no more."""
    status, headers, body = receiver.receive("POST", "/webhooks", {}, b"{}", PEER)

    assert (status, body) == (400, b"missing\n")
    assert dict(headers) == {"content-type": "text/plain; charset=utf-8", "content-length": "8"}


def test_a_flood_of_forgeries_writes_one_row(receiver: Receiver, path: Path) -> None:
    """Refusals are counted in memory; writing them is one statement whatever their number."""
    receiver.open()
    forged = request(secret="whsec_other")
    before = rows(path, "pragma data_version"), path.with_name("app.db-wal").stat().st_size

    statuses = {post(receiver, forged) for _ in range(500)}

    assert statuses == {401}
    assert (rows(path, "pragma data_version"), path.with_name("app.db-wal").stat().st_size) == before
    receiver.flush()
    ((reason, minute_ms, times, sample),) = rows(
        path, "select reason, minute_ms, times, sample from hookline_rejections"
    )
    assert (reason, minute_ms, times) == ("mismatch", NOW_MS - NOW_MS % 60_000, 500)
    assert PEER in sample
    assert forged.headers["WorkOS-Signature"][-64:-50] not in sample
    assert rows(path, "select count(*) from hookline_inbox") == [(0,)]


def test_refusals_are_counted_by_the_minute(receiver: Receiver, clock: TurnedClock, path: Path) -> None:
    """Each reason and minute has its own count."""
    for _ in range(2):
        post(receiver, request(secret="whsec_other"))
        receiver.receive("PUT", "/webhooks", {}, b"", PEER)
        clock.advance(60_000)
    receiver.flush()

    assert rows(path, "select reason, times from hookline_rejections order by 1") == [
        ("method", 1),
        ("method", 1),
        ("mismatch", 1),
        ("mismatch", 1),
    ]


def test_refusals_that_cannot_be_written_are_written_later(receiver: Receiver, path: Path) -> None:
    """A locked database costs no count."""
    receiver.open()
    post(receiver, request(secret="whsec_other"))
    with locked(path):
        receiver.flush()
        post(receiver, request(secret="whsec_other"))
    receiver.flush()

    assert rows(path, "select times from hookline_rejections") == [(2,)]


def test_closing_writes_what_is_counted(path: Path) -> None:
    """Nobody has to wait for the timer."""
    with Receiver(f"sqlite:///{path}", secrets=[SECRET]) as receiver:
        receiver.receive("GET", "/", {}, b"", PEER)

    assert rows(path, "select reason, times from hookline_rejections") == [("path", 1)]


def test_a_closed_receiver_opens_again(receiver: Receiver, path: Path) -> None:
    """close() ends what is open, not the receiver."""
    post(receiver, request(1))
    receiver.close()

    assert post(receiver, request(2)) == 200
    assert rows(path, "select count(*) from hookline_inbox") == [(2,)]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else's write transaction, e.g. a shell that was left open."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        yield
        connection.execute("rollback")


@contextlib.contextmanager
def full(receiver: Receiver) -> Iterator[None]:
    """A disk without room: SQLite's own limit, on the connection that writes."""
    assert receiver.database is not None
    with receiver.database.transaction() as connection:
        (pages,) = connection.execute("pragma page_count").fetchone()
        connection.execute(f"pragma max_page_count = {pages}")
    try:
        yield
    finally:
        with receiver.database.transaction() as connection:
            connection.execute("pragma max_page_count = 1073741823")


@contextlib.contextmanager
def unwritable(receiver: Receiver) -> Iterator[None]:
    """A database that may only be read: root ignores file modes, so SQLite is told."""
    assert receiver.database is not None
    with receiver.database.transaction() as connection:
        writer = connection
    writer.execute("pragma query_only = on")
    try:
        yield
    finally:
        writer.execute("pragma query_only = off")


@pytest.mark.parametrize("fault", ["locked", "full", "unwritable"])
def test_a_database_that_cannot_write_is_503_and_one_line(
    fault: str, receiver: Receiver, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is half-written, the log says it once, and the next request after it works again."""
    post(receiver, request(1))
    big = signed_request(
        b'{"id":"event_0002","event":"a.b","data":{"x":"%s"}}' % (b"y" * 50_000), SECRET, timestamp_ms=NOW_MS
    )
    faults = {
        "locked": lambda: locked(path),
        "full": lambda: full(receiver),
        "unwritable": lambda: unwritable(receiver),
    }
    caplog.set_level(logging.INFO, "hookline.receiver")
    with faults[fault]():
        answers = [receiver.receive("POST", "/webhooks", big.headers, big.body, PEER) for _ in range(3)]

    assert [status for status, _, _ in answers] == [503, 503, 503]
    assert all(("retry-after", "5") in headers for _, headers, _ in answers)
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "answering 503" in line.getMessage()
    assert line.exc_info is None
    for table in ("hookline_inbox", "hookline_inbox_queue"):
        assert rows(path, f"select count(*) from {table}") == [(1,)]
    assert post(receiver, big) == 200
    assert rows(path, "select event_id from hookline_inbox order by seq") == [("event_0001",), ("event_0002",)]


def test_a_database_that_cannot_be_opened_is_503_and_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not an exception: the source comes again, and once the cause is gone, it is kept."""
    folder = tmp_path / "missing"
    with Receiver(f"sqlite:///{folder}/app.db", secrets=[SECRET], clock=TurnedClock(NOW_MS)) as receiver:
        statuses = [post(receiver, request()), post(receiver, request())]
        with pytest.raises(StorageUnavailable):
            receiver.open()
        lines = [record for record in caplog.records if record.levelno == logging.ERROR]
        folder.mkdir()

        assert statuses == [503, 503]
        assert len(lines) == 1
        assert post(receiver, request()) == 200


def test_threads_that_wait_for_it_to_open_share_its_failure(path: Path) -> None:
    """A locked database costs each of them one timeout, and not one after the other."""
    sqlite3.connect(path).close()
    start = threading.Barrier(20)
    statuses: list[int] = []

    def deliver(receiver: Receiver) -> None:
        start.wait()
        statuses.append(post(receiver, request()))

    with (
        Receiver(f"sqlite:///{path}?busy_timeout_ms=200", secrets=[SECRET], clock=TurnedClock(NOW_MS)) as receiver,
        locked(path),
    ):
        threads = [threading.Thread(target=deliver, args=(receiver,)) for _ in range(20)]
        began_s = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took_s = time.monotonic() - began_s

    assert statuses == [503] * 20
    assert took_s < 20 * 0.2


def test_threads_that_wait_together_share_commits_and_one_wins(receiver: Receiver, path: Path) -> None:
    """32 threads with the same event: one row, 31 duplicates, all of them 200."""
    start = threading.Barrier(32)
    statuses: list[int] = []

    def deliver() -> None:
        start.wait()
        statuses.append(post(receiver, request()))

    threads = [threading.Thread(target=deliver) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 32
    assert rows(path, "select count(*) from hookline_inbox") == [(1,)]
    assert rows(path, "select kind, times from hookline_inbox_repeats") == [("duplicate", 31)]


def test_readiness_needs_a_secret_and_a_database(tmp_path: Path) -> None:
    """Ready means that a webhook would be answered 200."""
    with Receiver(f"sqlite:///{tmp_path}/a.db", secrets=[SECRET]) as ready:
        assert ready.is_ready()
    with Receiver(f"sqlite:///{tmp_path}/a.db") as without_secret:
        assert not without_secret.is_ready()
    with Receiver(f"sqlite:///{tmp_path}/missing/a.db", secrets=[SECRET]) as without_database:
        assert not without_database.is_ready()


@dataclass
class AppTransaction:
    """An app's transaction: its connection for Hookline, something of its own for handlers."""

    dbapi: sqlite3.Connection
    app: Any


class AppTransactions:
    """An app that has its own SQLite connections, in sqlite3's default transaction mode."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def begin(self) -> Iterator[AppTransaction]:
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            yield AppTransaction(connection, {"session of": connection})


def test_it_runs_on_the_apps_own_transactions(path: Path, clock: TurnedClock) -> None:
    """With `transactions=` no connection is Hookline's own, and handlers get what the app calls a transaction."""
    seen: list[Any] = []
    receiver = Receiver(transactions=AppTransactions(path), secrets=[SECRET], clock=clock)
    receiver.on("dsync.user.created")(lambda event, tx: seen.append((event.id, list(tx))))

    assert post(receiver, request()) == 503
    assert receiver.migrate() > 0
    assert receiver.migrate() == 0
    assert [post(receiver, request()), post(receiver, request())] == [200, 200]
    receiver.close()
    assert rows(path, "select kind, times from hookline_inbox_repeats") == [("duplicate", 1)]


def test_what_comes_in_reaches_handlers_and_the_mirror(receiver: Receiver, path: Path) -> None:
    """Door, inbox, worker and handlers, put together by the one object an app holds."""
    facts: list[str | None] = []
    changes: list[str] = []

    @receiver.on("dsync.user.*", name="facts")
    def fact(event: Event, tx: Any) -> None:
        facts.append(event.id)

    @receiver.on_change("directory_user", name="changes")
    def change(change: Change, tx: Any) -> None:
        changes.append(f"{change.kind} {change.id}")

    receiver.drain()
    post(receiver, request(1))
    post(receiver, request(1))
    receiver.drain()

    assert facts == ["event_0001"]
    assert changes == ["created directory_user_0001"]
    assert rows(path, "select id, state from hookline_directory_users_live") == [("directory_user_0001", "active")]


def test_a_worker_in_a_thread_ends_when_it_is_told(path: Path) -> None:
    """`run_worker` needs nothing but the event that stops it."""
    done = threading.Event()
    stop = threading.Event()
    now = signed_request(request().body, SECRET, timestamp_ms=NOW_MS)
    with Receiver(f"sqlite:///{path}", secrets=[SECRET], tolerance_s=None) as receiver:
        receiver.on("*", name="any")(lambda event, tx: done.set())
        receiver.drain()
        worker = threading.Thread(target=receiver.run_worker, args=(stop,))
        worker.start()
        post(receiver, now)
        was_done = done.wait(10)
        stop.set()
        worker.join(10)

        assert was_done
        assert not worker.is_alive()


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({}, "database_url"),
        ({"database_url": "sqlite:///a.db", "transactions": AppTransactions(Path("b.db"))}, "database_url"),
        ({"database_url": "mysql://localhost/a"}, "database_url"),
        ({"database_url": "sqlite:///a.db", "secrets": "whsec_1"}, "secrets"),
        ({"database_url": "sqlite:///a.db", "secrets": [""]}, "secrets"),
        ({"database_url": "sqlite:///a.db", "path_token": "a/b"}, "path_token"),
        ({"database_url": "sqlite:///a.db", "path": "webhooks"}, "path"),
        ({"database_url": "sqlite:///a.db", "tolerance_s": -1}, "tolerance_s"),
        ({"database_url": "sqlite:///a.db", "tolerance_s": float("nan")}, "tolerance_s"),
        ({"database_url": "sqlite:///a.db", "max_body": 0}, "max_body"),
        ({"database_url": "sqlite:///a.db", "body_timeout_s": 0}, "body_timeout_s"),
        ({"database_url": "sqlite:///a.db", "path_token": ""}, "path_token"),
        ({"database_url": "sqlite:///a.db", "allowed_ips": ["workos", "300.0.0.1"]}, "allowed_ips"),
        ({"database_url": "sqlite:///a.db", "trusted_proxies": ["proxy.local"]}, "trusted_proxies"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_starts(settings: dict[str, Any], setting: str) -> None:
    """Whoever starts it reads which argument is wrong."""
    with pytest.raises(ConfigError) as caught:
        Receiver(**settings)

    assert caught.value.setting == setting


def test_the_published_addresses_have_a_name(path: Path) -> None:
    """`workos` in the list stands for the addresses of the guide, next to others."""
    with Receiver(f"sqlite:///{path}", secrets=[SECRET], allowed_ips="workos, 192.0.2.0/24") as receiver:
        peers = ["3.217.146.166", "192.0.2.7", "203.0.113.7"]

        assert [receiver.receive("POST", "/webhooks", {}, b"", peer)[0] for peer in peers] == [400, 400, 403]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_server_keeps_what_its_children_accept(path: Path) -> None:
    """gunicorn --preload: the receiver is built, used and forked; parent and children each keep their own."""
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.receiver.test_app import SECRET, NOW_MS, Receiver, TurnedClock, post, request
receiver = Receiver("sqlite:///{path}", secrets=[SECRET], clock=TurnedClock(NOW_MS))
assert post(receiver, request(1)) == 200
children = []
for number in (2, 3):
    child = os.fork()
    if not child:
        status = post(receiver, request(number))
        receiver.receive("PUT", "/webhooks", {{}}, b"", None)
        receiver.close()
        os._exit(0 if status == 200 else 1)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
assert post(receiver, request(4)) == 200
receiver.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)

    assert rows(path, "select event_id from hookline_inbox order by 1") == [(f"event_{n:04d}",) for n in (1, 2, 3, 4)]
    assert rows(path, "select reason, times from hookline_rejections") == [("method", 2)]
