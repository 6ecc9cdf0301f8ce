"""A receiver that reads at its sources besides hearing from them: which of it runs where, and what that comes to."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest

from hookline import Receiver, Source
from hookline.adapters.dbapi import PsycopgTransactions, SqliteTransactions
from hookline.errors import ConfigError
from hookline.receiver import feeds as feeds_module
from hookline.receiver.feeds import LOOK_MS, Feeds
from hookline.receiver.handlers import Transactions
from hookline.receiver.model import TailRow
from hookline.receiver.source_http import Answered
from hookline.receiver.tail import EVERY_MS
from hookline.storage import is_postgres
from hookline.storage.verbs import Verb
from hookline.testing.clock import TurnedClock
from hookline.wire.signature import HEADER, sign
from hookline.wire.timestamps import format_ms
from tests.e2e.processes import wait_for
from tests.receiver.sending import URL, Sending
from tests.receiver.test_tail import user

NOW_MS = 1_790_000_000_000
SECRET = "whsec_of_a_source_with_an_api_1"
KEY = "sk_of_a_source_with_an_api"


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def sending(tmp_path: Path, clock: TurnedClock) -> Iterator[Sending]:
    with contextlib.closing(Sending(tmp_path, clock)) as sending:
        yield sending


def receiver_of(sending: Sending, url: str, **named: Any) -> Receiver:
    api = {"api_key": sending.api_key, "api_url": URL, "exchange": sending.exchange}
    return Receiver(url, clock=sending.clock, **{"tail": "on", "secrets": [SECRET], **api, **named})


def tails(receiver: Receiver) -> list[TailRow]:
    with receiver.look() as (queries, connection):
        return queries.tails(connection)


def live_users(receiver: Receiver) -> list[str]:
    with receiver._reached.read() as connection:
        cursor = connection.cursor()
        cursor.execute("select id from hookline_directory_users_live order by id")
        return [id_ for (id_,) in cursor.fetchall()]


def post(receiver: Receiver, event_id: str, number: int) -> int:
    """As WorkOS would send it: other bytes than the feed's."""
    type_, data = user(number)
    stamp = format_ms(receiver.clock.now_ms() * 1_000)
    pairs = ",".join(f'"{name}":"{value}"' for name, value in data.items())
    body = f'{{"id":"{event_id}","data":{{{pairs}}},"event":"{type_}","created_at":"{stamp}"}}'.encode()
    headers = {HEADER: sign(body, SECRET, timestamp_ms=receiver.clock.now_ms())}
    return receiver.receive("POST", "/webhooks", headers, body, None)[0]


# -- alone, beside, and in turn ------------------------------------------------------------------------------------


def transactions_of(url: str) -> Transactions:
    if is_postgres(url):
        return PsycopgTransactions(lambda: psycopg.connect(url))
    path = url.removeprefix("sqlite:///")
    return SqliteTransactions(lambda: sqlite3.connect(path, timeout=5))


@pytest.mark.parametrize("whose", ["own", "app's"])
def test_without_a_door_a_receiver_lives_from_the_feed(sending: Sending, database_url: str, whose: str) -> None:
    named: dict[str, Any] = {"tail": "only", "api_key": sending.api_key, "api_url": URL, "exchange": sending.exchange}
    is_own = whose == "own"
    if not is_own:
        named["transactions"] = transactions_of(database_url)
    with Receiver(database_url if is_own else None, clock=sending.clock, **named) as hooks:
        heard: list[str] = []
        hooks.on("dsync.user.created")(lambda event, tx: heard.append(event.id))
        hooks.migrate()
        assert hooks.is_ready()
        assert hooks.receive("POST", "/webhooks", {}, b"{}", None)[0] == 404
        assert hooks.receive("GET", "/webhooks", {}, b"", None)[0] == 404
        hooks.drain()
        with contextlib.closing(hooks.feeds()) as feeds:
            feeds.settle()
            ids = sending.publish_all(user(1), user(2))
            sending.clock.advance(EVERY_MS)
            feeds.settle()
        hooks.drain()
        assert sorted(heard) == sorted(ids)
        assert live_users(hooks) == ["directory_user_1", "directory_user_2"]
        [need] = hooks.status().needs()
        assert need.startswith("no worker was ever seen")
        assert hooks.counters.requests["default"]["ok"] >= 2


@pytest.mark.parametrize("order", [("off", "on", "only"), ("only", "off", "on"), ("on", "only", "off")])
def test_switching_in_mid_run_loses_and_doubles_nothing(
    sending: Sending, tmp_path: Path, order: tuple[str, ...]
) -> None:
    heard: list[str] = []
    ids: list[str] = []
    # Reading is begun before anything happens: from then on its place is kept while it is off.
    for mode in ("on", *order, "on"):
        with receiver_of(sending, f"sqlite:///{tmp_path / 'app.db'}", tail=mode) as hooks:
            hooks.on("dsync.user.created", name="hear")(lambda event, tx: heard.append(event.id))
            hooks.drain()
            with contextlib.closing(hooks.feeds()) as feeds:
                feeds.settle()
                for _ in range(3):
                    number = len(ids)
                    ids += sending.publish_all(user(number))
                    if mode != "only":
                        assert post(hooks, ids[-1], number) == 200
                    sending.clock.advance(EVERY_MS)
                    feeds.settle()
            hooks.drain()
    assert sorted(heard) == sorted(ids)
    assert len(live_users(hooks)) == len(ids) == 15
    with hooks.look() as (queries, connection):
        stats = queries.stats(connection, since_ms=0)
    hooks.close()
    assert (stats.duplicates, stats.conflicts) == (0, 0)


def test_a_worker_reads_beside_its_inbox_and_lets_go_at_its_end(sending: Sending, tmp_path: Path) -> None:
    with receiver_of(sending, f"sqlite:///{tmp_path / 'app.db'}", tail="only") as hooks:
        heard: list[str] = []
        kept = threading.Event()
        hooks.on("dsync.user.created")(lambda event, tx: heard.append(event.id))
        hooks.on_kept(kept.set)
        hooks.drain()
        stop = threading.Event()
        working = threading.Thread(target=hooks.run_worker, args=(stop,))
        working.start()
        try:
            wait_for(lambda: tails(hooks), "the tail to begin")
            [event_id] = sending.publish_all(user(1))

            def is_heard() -> bool:
                sending.clock.advance(EVERY_MS)
                return heard == [event_id]

            wait_for(is_heard, "the event to be handled")
            assert kept.wait(10)
        finally:
            stop.set()
            working.join(20)
        assert not working.is_alive()
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("hookline-tail")]
        # The next one reads at once: nobody's lease has to pass.
        before = len(sending.asked)
        with contextlib.closing(hooks.feeds()) as feeds:
            feeds.settle()
        assert len(sending.asked) > before


def test_an_end_does_not_wait_for_a_source_that_is_silent(
    sending: Sending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds_module, "END_S", 0.05)
    with receiver_of(sending, f"sqlite:///{tmp_path / 'app.db'}", api_url=sending.url, exchange=None) as hooks:
        sending.faults.expect("silence", path="/events", times=9)
        with hooks.feeds():
            wait_for(lambda: sending.faults.seen["silence"], "the feed to be asked for")
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("hookline-tail")]


def test_an_end_waits_once_however_many_are_silent(
    sending: Sending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, waited = [0.0], []

    class Silent(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            if timeout is not None:
                waited.append(timeout)
                now_s[0] += timeout

    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    with receiver_of(sending, f"sqlite:///{tmp_path / 'app.db'}") as hooks:
        feeds = hooks.feeds()
        feeds._threads += [Silent() for _ in range(9)]
        feeds.close()
    assert sum(waited) == feeds_module.END_S


def test_of_several_processes_one_reads(sending: Sending, database_url: str) -> None:
    with receiver_of(sending, database_url) as one, receiver_of(sending, database_url) as other:
        with contextlib.closing(one.feeds()) as first:
            first.settle()
            asked = len(sending.asked)
            with contextlib.closing(other.feeds()) as second:
                second.settle()
                assert len(sending.asked) == asked
        assert len(tails(one)) == 1


def test_a_lost_place_begins_a_pass_over_everything(sending: Sending, tmp_path: Path) -> None:
    with receiver_of(sending, f"sqlite:///{tmp_path / 'app.db'}") as hooks:
        sending.publish_all(user(1))
        with contextlib.closing(hooks.feeds()) as feeds:
            feeds.settle()
            assert hooks.database is not None
            with hooks.database.transaction() as connection:
                connection.execute("update hookline_tails set cursor = 'event_01ARZ3NDEKTSV4RRFFQ69G5FAV'")
        with contextlib.closing(hooks.feeds()) as feeds:
            [tail] = [one for one in feeds if one.does == "tail"]
            while tail.step(hooks.clock) <= hooks.clock.now_ms():
                pass
        [row] = tails(hooks)
        with hooks.database.read() as connection:
            passes = connection.execute("select row_id, kind, mode, asked_by from hookline_passes").fetchall()
        assert [tuple(one) for one in passes] == [(row.pass_id, "reconcile", "apply", "tail")]
        assert row.state == "snapshot"
        assert [need for need in hooks.status().needs() if "were lost" in need]


def test_at_rest_it_costs_little(sending: Sending, tmp_path: Path) -> None:
    """Statements and requests in ten minutes, of one source with everything on."""
    with receiver_of(sending, f"sqlite:///{tmp_path / 'app.db'}", reconcile_every_s=86_400 * 30) as hooks:
        with contextlib.closing(hooks.feeds()) as feeds:
            feeds.settle()
            asked, minutes = len(sending.asked), 10
            due_ms = dict.fromkeys(feeds, 0)
            end_ms = sending.clock.now_ms() + minutes * 60_000
            with counted_statements() as count:
                while min(due_ms.values()) <= end_ms:
                    sending.clock.set(max(min(due_ms.values()), sending.clock.now_ms()))
                    due_ms |= {one: one.step(sending.clock) for one in feeds if due_ms[one] <= sending.clock.now_ms()}
        assert len(sending.asked) - asked == minutes * 12 + 1
        assert count[0] <= minutes * 40, count[0]


@contextlib.contextmanager
def counted_statements() -> Iterator[list[int]]:
    count = [0]
    with contextlib.ExitStack() as patched:
        for name in ("run", "run_many", "count"):
            plain = getattr(Verb, name)

            def counting(self: Verb, *given: Any, plain: Any = plain, **named: Any) -> Any:
                count[0] += 1
                return plain(self, *given, **named)

            patched.enter_context(mock.patch.object(Verb, name, counting))
        yield count


# -- what may be said ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"tail": "on"}, "tail"),
        ({"tail": "only"}, "tail"),
        ({"reconcile_every_s": 3_600}, "reconcile_every_s"),
        ({"api_key": KEY, "tail": "sometimes"}, "tail"),
        ({"api_key": KEY, "reconcile_every_s": 59}, "reconcile_every_s"),
        ({"api_key": KEY, "reconcile_every_s": float("nan")}, "reconcile_every_s"),
        ({"api_key": KEY, "tail_types": "dsync.user.created"}, "tail_types"),
        ({"api_key": KEY, "tail_types": []}, "tail_types"),
        ({"api_key": KEY, "tail_types": ["dsync.*"]}, "tail_types"),
        ({"api_key": KEY, "tail_types": ["a,b"]}, "tail_types"),
        ({"api_key": "sk with spaces"}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": KEY, "api_url": "http://api.example.com"}, "api_url"),
        ({"api_key": KEY, "api_url": "api.example.com"}, "api_url"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_said(given: Mapping[str, Any], setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Source(**given)
    assert caught.value.setting == setting
    assert KEY not in str(caught.value)


def test_a_key_is_not_shown() -> None:
    assert KEY not in repr(Source(api_key=KEY))
    with pytest.raises(ConfigError, match=r"expected as Source\(api_key=…\)"):
        Receiver("sqlite:///x.db", sources=[Source("one")], api_key=KEY)


def test_whose_api_is_asked_has_to_be_said_where_there_are_several() -> None:
    asked: list[str] = []

    def exchange(_: str, target: str, headers: Mapping[str, str]) -> Answered:
        asked.append(headers["Authorization"])
        return Answered(200, {}, b'{"data":[],"list_metadata":{"after":null}}')

    hooks = Receiver(
        "sqlite:///x.db",
        sources=[
            Source("one", api_key="sk_of_one", exchange=exchange),
            Source("two", path="/two", api_key="sk_of_two", exchange=exchange),
            Source("three", path="/three"),
        ],
    )
    with contextlib.closing(hooks.source_api("two")) as api:
        api.page("directory", {})
    assert asked == ["Bearer sk_of_two"]
    assert hooks.counters.requests == {"two": {"ok": 1}}
    with pytest.raises(ConfigError, match="expected one of one, two, three"):
        hooks.source_api()
    with pytest.raises(ConfigError, match="'three' has none"):
        hooks.source_api("three")
    with pytest.raises(ConfigError, match="did you mean 'three'"):
        hooks.source_api("tree")


def test_without_an_api_there_is_nothing_to_do(tmp_path: Path) -> None:
    with Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=[SECRET], clock=TurnedClock(NOW_MS)) as hooks:
        feeds: Feeds = hooks.feeds()
        with feeds:
            assert feeds.hosted == ()
            assert feeds.step() == NOW_MS + LOOK_MS
