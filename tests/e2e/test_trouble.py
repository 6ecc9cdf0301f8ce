"""A database that is locked or takes no more: both ends say 503, say why once, and recover by themselves.

Both ends are one process (`hookline serve all`) on one file, and the trouble is real: another program's lock, and a
limit of the kernel on what the process may write.
"""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from hookline.testing import sample_event

from .processes import API_KEY, SECRET, Answer, Served, ask, call, deliver, rows, serving, wait_for

TYPE: Final = "dsync.user.created"
ENDPOINTS: Final = "/webhook_endpoints"
EVENTS: Final = "/api/v1/events"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Served]:
    """Both ends, with one endpoint that listens to nobody's port, so that publishing makes deliveries."""
    with serving("all", tmp_path, "--allow-private-targets", api_key=API_KEY, webhook_secrets=SECRET) as served:
        body = {"endpoint_url": "http://127.0.0.1:9/", "events": [TYPE]}
        assert call(served, "POST", ENDPOINTS, body).status == 201
        yield served


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program has begun to write and does not come to an end."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("begin immediate")
        yield
        other.execute("rollback")


@contextlib.contextmanager
def full(served: Served) -> Iterator[None]:
    """The kernel lets the process write no byte to any file, as on a full disk or at the end of a quota."""
    before = resource.prlimit(served.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(served.pid, resource.RLIMIT_FSIZE, before)


def publish(served: Served, count: int, *, key: str) -> Answer:
    """A batch of events, with a key under which it may be repeated."""
    events = [{"event": TYPE, "data": sample_event(TYPE, id=f"directory_user_{key}_{n}").data} for n in range(count)]
    return call(served, "POST", EVENTS, {"events": events}, Idempotency_Key=key)


def post(served: Served, name: str) -> Answer:
    """A webhook about a user of that name."""
    return deliver(served, sample_event(TYPE, id=f"directory_user_{name}").raw)


def at_once(*calls: Callable[[], Answer]) -> list[Answer]:
    """Make these calls together; the answers in their order."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [waiting.result() for waiting in [threads.submit(one) for one in calls]]


def told(served: Served, logger: str, level: str) -> list[str]:
    """What that logger has said at that level."""
    return [record["message"] for record in served.records() if (record["logger"], record["level"]) == (logger, level)]


def test_a_locked_database_is_503_until_it_is_free(both: Served, tmp_path: Path) -> None:
    """Whoever writes meanwhile gets 503 after the five seconds that a write waits; whoever reads notices nothing.

    Takes longer than other tests for those five seconds.
    """
    database = tmp_path / "hookline.db"
    assert post(both, "before").status == 200
    with locked(database):
        refused = at_once(
            lambda: post(both, "locked"),
            lambda: publish(both, 3, key="batch"),
            lambda: call(both, "POST", ENDPOINTS, {"endpoint_url": "http://127.0.0.1:9/b", "events": [TYPE]}),
        )
        read = [call(both, "GET", path) for path in (ENDPOINTS, "/events?events=" + TYPE, "/api/v1/deliveries")]
        alive = ask("GET", both.url + "/healthz")

    accepted = [post(both, "after"), publish(both, 3, key="batch")]
    wait_for(lambda: len(_users(database)) == 2, "the mirror")

    assert [answer.status for answer in refused] == [503] * 3
    assert max(answer.took_s for answer in refused) < 15
    assert all(int({k.lower(): v for k, v in answer.headers.items()}["retry-after"]) > 0 for answer in refused)
    assert [answer.status for answer in read] == [200] * 3
    assert alive.status == 200
    assert [answer.status for answer in accepted] == [200, 201]
    assert _users(database) == {"directory_user_before", "directory_user_after"}
    _assert_whole(database, events=3, batches=1, entries=2)
    _assert_told_once(both)


def test_a_full_disk_is_503_until_there_is_room(both: Served, tmp_path: Path) -> None:
    """In the middle of work: thirty refused calls leave nothing behind and two errors in the log; all else goes on."""
    database = tmp_path / "hookline.db"
    early = [post(both, f"early_{n}") for n in range(20)]
    early.append(publish(both, 10, key="early"))
    with full(both):
        refused = [answer for n in range(10) for answer in (post(both, f"full_{n}"), publish(both, 3, key="batch"))]
        refused += [
            call(both, "POST", ENDPOINTS, {"endpoint_url": f"http://127.0.0.1:9/{n}", "events": [TYPE]})
            for n in range(10)
        ]
        read = call(both, "GET", ENDPOINTS)

    accepted = [post(both, "after"), publish(both, 3, key="batch"), publish(both, 3, key="batch")]
    wait_for(lambda: len(_users(database)) == 21, "the mirror")
    wait_for(lambda: rows(database, "select min(attempt) from hookline_sender_deliveries") == [(1,)], "attempts")
    wait_for(lambda: len(_recorded(database)) == 13, "the record of every attempt")

    assert [answer.status for answer in early] == [200] * 20 + [201]
    assert [answer.status for answer in refused] == [503] * 30
    assert (read.status, len(read.json["data"])) == (200, 1)
    assert [answer.status for answer in accepted] == [200, 201, 201]
    assert accepted[1].json == accepted[2].json
    assert _users(database) == {f"directory_user_early_{n}" for n in range(20)} | {"directory_user_after"}
    _assert_whole(database, events=13, batches=2, entries=21)
    _assert_told_once(both)


def _recorded(database: Path) -> list[tuple[Any, ...]]:
    return rows(
        database, "select outcome, count(*) from hookline_sender_attempts where number = 1 group by delivery_row"
    )


def _users(database: Path) -> set[str]:
    return {id_ for (id_,) in rows(database, "select id from hookline_directory_users_live")}


def _assert_whole(database: Path, *, events: int, batches: int, entries: int) -> None:
    """No row of what was refused: as many events as were accepted, each with its delivery and its place in the feed."""
    counts = {
        table: rows(database, f"select count(*) from hookline_{table}")[0][0]
        for table in (
            "sender_events",
            "sender_feed",
            "sender_deliveries",
            "sender_endpoints",
            "sender_idempotency",
            "inbox",
        )
    }
    assert counts == {
        "sender_events": events,
        "sender_feed": events,
        "sender_deliveries": events,
        "sender_endpoints": 1,
        "sender_idempotency": batches,
        "inbox": entries,
    }
    assert rows(database, "pragma integrity_check") == [("ok",)]


def _assert_told_once(served: Served) -> None:
    """One line at error for each end, and one when it is over."""
    for logger, begun, over in (
        ("hookline.receiver", "cannot keep webhooks", "keeping webhooks again"),
        ("hookline.sender", "the database is away", "storing again"),
    ):
        errors = told(served, logger, "error")
        ends = [message for message in told(served, logger, "warning") if over in message]
        assert (len(errors), len(ends)) == (1, 1), served.log()
        assert begun in errors[0]
    assert "Traceback" not in served.log()
