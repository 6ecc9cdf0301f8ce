"""The live page: what a reader of both ends tells, to whom, and when it stops."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from cryptography.fernet import Fernet

from hookline.dashboard.app import Dashboard
from hookline.dashboard.live_lanes import BATCH, MOST_BEHIND, ReceiverLane
from hookline.dashboard.live_model import Chosen, Cursor, Window
from hookline.dashboard.live_source import LOOK_EVERY_MS, WINDOW, Listener, LiveSource
from hookline.dashboard.live_stream import BEAT_EVERY_MS, CHECKED_EVERY_MS
from hookline.receiver.app import Receiver
from hookline.receiver.live import LiveEntry
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.live import FedEvent, LastTry
from hookline.storage import connect
from hookline.testing import TurnedClock, signed_request

from .browser import HOST, Browser
from .site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.close()


class Stream:
    """A stream that is open: its messages, one after the other."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_over = False
        self.last_id = ""
        self._arrived: asyncio.Queue[str | None] = asyncio.Queue()
        self._text = ""
        self.begun = asyncio.Event()
        self.gone = asyncio.Event()

    async def take(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        self.begun.set()
        self._text += message["body"].decode()
        *whole, self._text = self._text.split("\n\n")
        for one in whole:
            await self._arrived.put(one)
        if not message.get("more_body"):
            self.is_over = True
            await self._arrived.put(None)

    async def next(self) -> tuple[str, Any]:
        """The next message as its name and data; ("", None) at the end."""
        while (text := await asyncio.wait_for(self._arrived.get(), 10)) is not None:
            lines = dict(line.split(": ", 1) for line in text.splitlines())
            self.last_id = lines.get("id", self.last_id)
            if "event" in lines:
                return lines["event"], json.loads(lines["data"])
        return "", None

    async def rows(self, count: int) -> list[dict[str, Any]]:
        """The next so many rows, at least."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            name, data = await self.next()
            assert name in ("rows", "beat"), name
            found += data.get("rows", [])
        return found


@asynccontextmanager
async def streaming(
    dashboard: Dashboard, token: str, *, last_id: str | None = None, **query: str
) -> AsyncIterator[Stream]:
    stream = Stream()
    headers = [(b"host", HOST.encode()), (b"cookie", f"hookline_session={token}".encode())]
    if last_id is not None:
        headers.append((b"last-event-id", last_id.encode()))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": "/dashboard/live/stream",
        "raw_path": b"/dashboard/live/stream",
        "root_path": "",
        "query_string": urlencode(query).encode(),
        "headers": headers,
        "client": ("127.0.0.1", 4711),
        "server": (HOST, 80),
    }
    asked = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal asked
        if asked:
            await stream.gone.wait()
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    answering = asyncio.create_task(dashboard(scope, receive, stream.take))
    await stream.begun.wait()
    try:
        yield stream
    finally:
        stream.gone.set()
        await asyncio.wait_for(answering, 10)


def cursor_of(site: Site) -> str:
    """Where a page that is loaded now says its stream goes on."""
    return str(site.dashboard.parts.live.recent(Chosen(), 1)[1])


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_without_javascript_it_is_a_page_of_the_newest(site: Site) -> None:
    first, second = site.publish(2)
    site.pair.drain()
    with site.visit("viewer") as browser:
        told = browser.get("/dashboard/live?format=json").json
        page = browser.get("/dashboard/live").page
        filtered = browser.get("/dashboard/live?object=u1&format=json").json
        nothing = browser.get("/dashboard/live?status=failed").page
        wrong = browser.get("/dashboard/live?type=ds*c")
    assert [row["id"] for row in told["rows"]] == [second, first]
    row = told["rows"][0]
    assert (row["type"], row["object"], row["environment"]) == ("dsync.user.created", "u1", "production")
    assert [one["word"] for one in row["sent"]] == ["delivered"]
    assert [one["word"] for one in row["got"]] == ["applied"]
    assert "● delivered" in page.text
    assert any(text == "Reload" for text, _ in page.links)
    assert [row["id"] for row in filtered["rows"]] == [second]
    assert "No match" in nothing.text
    assert wrong.status == 422
    assert 'value="ds*c"' in wrong.text
    assert "expected a type" in wrong.page.text


def test_what_passes_is_told_as_it_changes(site: Site) -> None:
    """First as it is published, then as it is delivered and applied: one row, joined by its id."""

    async def test() -> None:
        site.pair.line.expect("lost", times=1)
        async with streaming(site.dashboard, site.token("admin"), after=cursor_of(site)) as stream:
            [event_id] = site.publish()
            site.pair.drain()
            site.pair.clock.advance(LOOK_EVERY_MS)
            [row] = await stream.rows(1)
            assert stream.status == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            while row["sent"][0]["word"] in ("pending", "running"):
                # It was looked at before the first attempt had ended.
                site.pair.clock.advance(LOOK_EVERY_MS)
                [row] = await stream.rows(1)
            assert (row["id"], row["sent"][0]["word"], row["got"]) == (event_id, "retrying", [])
            site.pair.finish()
            site.pair.clock.advance(LOOK_EVERY_MS)
            while row["sent"][0]["word"] != "delivered" or not row["got"] or row["got"][0]["word"] != "applied":
                [row] = await stream.rows(1)
            assert row["id"] == event_id

    run(test)


def test_a_resumed_stream_goes_on_where_it_was(site: Site) -> None:
    """What came just before is told once more, since it may have changed; what is older is not, in any process."""

    async def test() -> None:
        async with streaming(site.dashboard, site.token("admin"), after=cursor_of(site)) as stream:
            old = site.publish(3)
            site.pair.drain()
            site.pair.clock.advance(LOOK_EVERY_MS)
            assert {row["id"] for row in await stream.rows(3)} == set(old)
            site.pair.clock.advance(10_000)
            last = site.publish(name="v")
            site.pair.clock.advance(LOOK_EVERY_MS)
            while {row["id"] for row in await stream.rows(1)} != set(last):
                pass
            left_at = stream.last_id
        site.pair.clock.advance(60_000)
        new = site.publish(2, name="w")
        site.pair.drain()
        for dashboard in (site.dashboard, site.new_dashboard()):
            async with streaming(dashboard, site.token("admin"), last_id=left_at) as stream:
                assert {row["id"] for row in await stream.rows(3)} == {*last, *new}

    run(test)


def test_a_large_gap_says_what_was_passed_over(site: Site) -> None:
    async def test() -> None:
        left_at = cursor_of(site)
        with sqlite3.connect(site.pair.sender_url.removeprefix("sqlite:///")) as writing:
            add_events(writing, WINDOW + 70, site.pair.clock.now_ms())
        site.pair.clock.advance(60_000)
        async with streaming(site.dashboard, site.token("admin"), last_id=left_at) as stream:
            passed = shown = 0
            while shown < WINDOW:
                _, data = await stream.next()
                shown += len(data["rows"])
                passed += data["passed"]
        assert (shown, passed) == (WINDOW, 70)

    run(test)


def test_it_ends_with_the_session(site: Site) -> None:
    async def test() -> None:
        async with streaming(site.dashboard, site.token("admin"), after=cursor_of(site)) as stream:
            site.publish()
            site.pair.clock.advance(LOOK_EVERY_MS)
            await stream.rows(1)
            site.pair.clock.advance(CHECKED_EVERY_MS)
            site.publish()
            site.pair.clock.advance(LOOK_EVERY_MS)
            await stream.rows(1)
            site.accounts.revoke_sessions("admin-1")
            site.pair.clock.advance(CHECKED_EVERY_MS)
            name, data = await stream.next()
            while name == "rows":
                name, data = await stream.next()
            assert (name, data) == ("over", {"why": "signed_out"})
            assert await stream.next() == ("", None)

    run(test)


def test_it_ends_at_once_when_the_process_stops(site: Site) -> None:
    """Nothing is turned, and nobody leaves: who drains does not wait. Afterwards nobody may begin."""

    async def test() -> None:
        async with streaming(site.dashboard, site.token("admin"), after=cursor_of(site)) as stream:
            site.publish()
            site.pair.clock.advance(LOOK_EVERY_MS)
            await stream.rows(1)
            site.dashboard.end_streams()
            name, data = await stream.next()
            while name == "rows":
                name, data = await stream.next()
            assert (name, data) == ("over", {"why": "stopping"})
            assert await stream.next() == ("", None)
        async with streaming(site.dashboard, site.token("admin")) as late:
            assert late.status == 503

    run(test)


def test_it_beats_while_nothing_happens(site: Site) -> None:
    """With the place it is at, so that who comes back is not told of what they did not ask for."""

    async def test() -> None:
        at = cursor_of(site)
        async with streaming(site.dashboard, site.token("admin"), after=at, type="organization.*") as stream:
            site.publish()
            for _ in range(BEAT_EVERY_MS // CHECKED_EVERY_MS):
                site.pair.clock.advance(CHECKED_EVERY_MS)
                await asyncio.sleep(0)
            name, _ = await stream.next()
            assert name == "beat"

    run(test)


def test_nobody_listens_who_has_not_signed_in(site: Site) -> None:
    with Browser(site.dashboard) as stranger:
        assert stranger.get("/dashboard/live/stream", follow=False).status == 303
        assert stranger.get("/dashboard/live/stream?format=json").status == 401


def test_nothing_is_skipped_at_200_events_a_second(site: Site) -> None:
    """Five seconds of it at both ends, four looks a second: every row is told in its last state, and each look is as
    many statements as any other."""
    seconds, looks = 5, 1000 // LOOK_EVERY_MS
    each = 200 // looks
    sender = site.pair.sender_url.removeprefix("sqlite:///")
    receiver = sender.replace("sender.db", "receiver.db")
    counted: list[str] = []

    async def test() -> None:
        after = cursor_of(site)
        states: dict[str, str] = {}
        with sqlite3.connect(sender) as published, sqlite3.connect(receiver) as received:
            async with streaming(site.dashboard, site.token("admin"), after=after) as stream:
                for look in range(seconds * looks):
                    now_ms = site.pair.clock.now_ms()
                    add_events(published, each, now_ms, first=look * each)
                    add_entries(received, each, now_ms, first=look * each)
                    published.commit()
                    received.commit()
                    before = len(counted)
                    site.pair.clock.advance(LOOK_EVERY_MS)
                    told = 0
                    while told < each:
                        _, data = await stream.next()
                        assert data["passed"] == 0
                        for row in data["rows"]:
                            states[row["id"]] = row["got"][0]["word"] if row["got"] else ""
                        told = sum(f"event_{look * each + n}" in states for n in range(each))
                    assert len(counted) - before <= 12
        assert len(states) == seconds * 200
        assert set(states.values()) <= {"waiting", ""}

    with pytest.MonkeyPatch.context() as patch:
        count_statements(patch, counted)
        run(test)


def count_statements(patch: pytest.MonkeyPatch, counted: list[str]) -> None:
    """Note every verb that is run."""
    from hookline.storage.verbs import Verb

    plain = Verb._execute

    def noted(connection: Any, text: str, values: list[Any]) -> tuple[list[Any], int]:
        if "live" in text or "hookline_sender_feed" in text or "hookline_inbox" in text:
            counted.append(text)
        return plain(connection, text, values)

    patch.setattr(Verb, "_execute", staticmethod(noted))


def add_events(connection: sqlite3.Connection, count: int, now_ms: int, *, first: int = 0) -> None:
    """Events in the feed that nobody asks for, as rows."""
    for number in range(first, first + count):
        body = json.dumps({"id": f"event_{number}", "event": "x.y", "data": {"id": f"o{number}"}}).encode()
        added = connection.execute(
            "insert into hookline_sender_events (id, environment, type, body, created_ms, published_ms)"
            " values (?, 'production', 'x.y', ?, ?, ?) returning row_id",
            (f"event_{number}", body, now_ms, now_ms),
        ).fetchone()
        connection.execute("insert into hookline_sender_feed (environment, event_row) values ('production', ?)", added)


def add_entries(connection: sqlite3.Connection, count: int, now_ms: int, *, first: int = 0) -> None:
    """The same events in the inbox, waiting."""
    for number in range(first, first + count):
        connection.execute(
            "insert into hookline_inbox (source, event_id, sha256, type, body, signed_ms, received_ms)"
            " values ('default', ?, x'00', 'x.y', x'7b7d', ?, ?)",
            (f"event_{number}", now_ms, now_ms),
        )


# What is decided without a database.


def fed(seq: int, *, body: bytes | None = None) -> FedEvent:
    return FedEvent(seq, seq, f"event_{seq}", "production", "dsync.user.created", 1_000 + seq, body)


def entry(seq: int, event: int, state: str = "waiting") -> LiveEntry:
    return LiveEntry(
        seq, "default", f"event_{event}", "dsync.user.created", 2_000 + seq, "webhook", state, None, None, None
    )


def tried(event_row: int, state: str, *, attempt: int = 1, number: int = 0) -> LastTry:
    return LastTry(
        event_row, f"delivery_{number}", "endpoint_1", "https://a.example/x", state, attempt, None, None, 5_000, 500, 12
    )


def test_a_window_joins_what_comes_from_either_side_first() -> None:
    window = Window(10)
    window.add_entry(entry(1, 7), 3_000)
    window.add_event(fed(7), 3_001)
    window.add_event(fed(8), 3_002)
    window.add_entry(entry(2, 8), 3_003)
    assert [(row.event_id, row.feed_seq, len(row.entries)) for row in window] == [("event_7", 7, 1), ("event_8", 8, 1)]
    assert [(was, row.event_id) for was, row in window.changes()] == [(None, "event_7"), (None, "event_8")]
    window.set_outcome(2, ("applied", None, 4_000), 4_001)
    [(was, row)] = window.changes()
    assert was is not None
    assert (sorted(was.words), sorted(row.words)) == (["no endpoint", "waiting"], ["applied", "no endpoint"])
    window.set_outcome(2, ("applied", None, 4_000), 5_000)
    assert window.changes() == []


def test_a_window_keeps_the_newest_and_knows_what_it_lost() -> None:
    window = Window(3)
    for number in range(1, 6):
        window.add_event(fed(number), 3_000)
        window.add_entry(entry(number + 10, number), 3_000)
    assert [row.event_id for row in window] == ["event_3", "event_4", "event_5"]
    assert (window.floor.feed, window.floor.inbox) == (2, 12)
    window.set_tries(1, [tried(1, "failed")], 4_000)
    window.set_outcome(11, ("applied", None, 1), 4_000)
    assert len(window) == 3


def test_many_deliveries_of_one_event_are_counted_the_worst_first() -> None:
    window = Window(3)
    window.add_event(fed(1), 1)
    states = [("succeeded", 1)] * 7 + [("failed", 7), ("pending", 2), ("pending", 0)]
    window.set_tries(1, [tried(1, state, attempt=attempt, number=n) for n, (state, attempt) in enumerate(states)], 2)
    [row] = window
    assert row.counts == (("failed", 1), ("retrying", 1), ("pending", 1), ("delivered", 7))
    assert len(row.tries) == 4
    assert row.is_open


@pytest.mark.parametrize(
    ("chosen", "is_wanted"),
    [
        (Chosen(), True),
        (Chosen(type="dsync.*"), True),
        (Chosen(type="dsync.group.*"), False),
        (Chosen(object_id="u1"), True),
        (Chosen(object_id="u"), False),
        (Chosen(status="failed"), True),
        (Chosen(status="waiting"), True),
        (Chosen(status="delivered"), False),
        (Chosen(text="A.EXAMPLE"), True),
        (Chosen(text="b.example"), False),
        (Chosen(environment="production"), True),
        (Chosen(environment="staging"), False),
    ],
)
def test_filters(chosen: Chosen, is_wanted: bool) -> None:
    window = Window(3)
    window.add_event(fed(1, body=b'{"data": {"id": "u1"}}'), 1)
    window.set_tries(1, [tried(1, "failed")], 2)
    window.add_entry(entry(1, 1), 3)
    [row] = window
    assert chosen.takes(row) is is_wanted


@pytest.mark.parametrize("text", ["", "1-2", "1-2-x", "1-2-3-4", "-1-2-3", "9" * 30 + "-1-1", None])
def test_what_is_no_cursor(text: str | None) -> None:
    assert Cursor.of(text) is None
    assert Cursor.of(str(Cursor(1, 2, 3))) == Cursor(1, 2, 3)


def test_who_is_slow_is_told_how_much_they_missed() -> None:
    """What waits is one row per event, and never more than the window."""

    async def test() -> None:
        listener = Listener(Chosen(status="failed"), Cursor())
        window = Window(WINDOW)
        for number in range(1, WINDOW + 31):
            window.add_event(fed(number), 1)
            window.set_tries(number, [tried(number, "failed")], 1)
            listener.offer(window.changes(), cursor=Cursor(number, 0, 1))
        first = listener.take(100)
        assert first is not None
        assert (len(first.rows), first.passed, first.cursor) == (100, 30, None)
        window.set_tries(WINDOW, [tried(WINDOW, "succeeded")], 2)
        listener.offer(window.changes(), cursor=Cursor(WINDOW + 30, 0, 2))
        rest = listener.take(WINDOW)
        assert rest is not None
        assert (len(rest.rows), rest.gone, rest.passed) == (399, [f"event_{WINDOW}"], 0)
        assert rest.cursor == Cursor(WINDOW + 30, 0, 2)
        assert listener.take(1) is None

    run(test)


def test_who_is_far_behind_begins_anew_near_the_end(site: Site) -> None:
    async def test() -> None:
        async with streaming(site.dashboard, site.token("admin"), after=cursor_of(site)) as stream:
            site.publish()
            site.pair.clock.advance(LOOK_EVERY_MS)
            await stream.rows(1)
            with sqlite3.connect(site.pair.sender_url.removeprefix("sqlite:///")) as writing:
                add_events(writing, BATCH + MOST_BEHIND + 1, site.pair.clock.now_ms())
            last, passed = f"event_{BATCH + MOST_BEHIND}", 0
            seen: set[str] = set()
            while last not in seen:
                site.pair.clock.advance(LOOK_EVERY_MS)
                _, data = await stream.next()
                passed += data["passed"]
                seen |= {row["id"] for row in data["rows"]}
            assert passed >= MOST_BEHIND + 1 - BATCH

    run(test)


SECRET = "whsec_" + "a" * 32


@pytest.fixture
def ends(database_url: str) -> Iterator[tuple[SenderApp, Receiver, TurnedClock]]:
    """Both ends in one database, of each kind; nothing is delivered by itself."""
    clock, database = TurnedClock(), connect(database_url)
    sender = SenderApp(
        database,
        encryption_keys=[Fernet.generate_key().decode()],
        clock=clock,
        lookup=lambda _host: [],
    )
    receiver = Receiver(database_url, secrets=[SECRET], clock=clock)
    yield sender, receiver, clock
    receiver.close()
    sender.close()
    database.close()


def arrive(receiver: Receiver, clock: TurnedClock, event_id: str) -> None:
    body = json.dumps({"id": event_id, "event": "x.y", "data": {"id": "o1"}, "created_at": "2026-01-01T00:00:00Z"})
    sent = signed_request(body.encode(), SECRET, timestamp_ms=clock.now_ms())
    assert receiver.receive("POST", sent.path, sent.headers, sent.body, None)[0] == 200


def test_what_it_reads_of_both_databases(ends: tuple[SenderApp, Receiver, TurnedClock]) -> None:
    sender, receiver, clock = ends
    sender.registry.create("production", url="https://a.example/hooks", events=["x.*"])
    draft = draft_event({"event": "x.y", "data": {"id": "o1"}})
    [event] = sender.publisher.publish_inline(Publication("production", (draft,)))
    arrive(receiver, clock, event.id)
    arrive(receiver, clock, "event_of_somebody_else")
    source = LiveSource(sender=sender, receiver=receiver, clock=clock)
    rows, cursor = source.recent(Chosen(), 10)
    assert [(row.event_id, sorted(row.words)) for row in rows if row.feed_seq] == [(event.id, ["pending", "waiting"])]
    assert [(row.object_id, sorted(row.words)) for row in rows if not row.feed_seq] == [("o1", ["waiting"])]
    assert cursor.feed > 0
    assert cursor.inbox > 0
    receiver.drain()
    assert {"fact", "ignored", "applied"} & source.recent(Chosen(), 10)[0][0].words


def test_an_entry_that_is_committed_late_is_not_lost(postgres_url: str) -> None:
    """On PostgreSQL a number is taken before the commit: a look in between sees the higher one alone."""
    clock = TurnedClock()
    receiver = Receiver(postgres_url, secrets=[SECRET], clock=clock)
    lane, window = ReceiverLane(receiver, clock), Window(10)
    put = (
        "insert into hookline_inbox (source, event_id, sha256, type, body, received_ms)"
        " values ('default', 'late', 'x', 'x.y', '{}', 1)"
    )
    with psycopg.connect(postgres_url) as slow:
        slow.execute(put)
        arrive(receiver, clock, "early")
        for _, add in lane.fill(window):
            add()
        lane.look(window, 1)
        assert [row.event_id for row in window] == ["early"]
        slow.commit()
    clock.advance(LOOK_EVERY_MS)
    lane.look(window, 2)
    receiver.close()
    assert [row.event_id for row in window] == ["early", "late"]
