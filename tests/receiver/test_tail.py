"""The feed of a source read into the inbox: nothing passed that is not kept, nothing kept twice, by one at a time."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hookline import Receiver
from hookline.errors import SourceError
from hookline.receiver.counters import Counters
from hookline.receiver.handlers import Registry
from hookline.receiver.leases import LEASE_MS, Leases
from hookline.receiver.mirror_store import Registered
from hookline.receiver.model import TailRow
from hookline.receiver.resources import mirrored_types
from hookline.receiver.source import EventPage, FeedEvent, Found, Gone, Page, SourceApi
from hookline.receiver.tail import (
    EVERY_MS,
    FOLLOW_MS,
    LONGEST_WAIT_MS,
    NOTED_EVERY_MS,
    OVERLAP_MS,
    Tail,
    needed_types,
    time_of,
)
from hookline.receiver.work import Access, Worker
from hookline.rules.redaction import Secrets
from hookline.storage import Connection, Database, Verbs, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock
from hookline.wire.catalogue import CATALOGUE
from hookline.wire.signature import HEADER, sign
from hookline.wire.timestamps import format_ms
from tests.receiver.sending import Sending

NOW_MS = 1_790_000_000_000
SECRET = "whsec_of_the_tailed_source_12345"


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def sending(tmp_path: Path, clock: TurnedClock) -> Iterator[Sending]:
    with contextlib.closing(Sending(tmp_path, clock)) as sending:
        yield sending


class Reading:
    """The receiving end: tables, and tails on them."""

    def __init__(self, url: str, clock: TurnedClock) -> None:
        self.clock = clock
        self.database: Database = connect(url)
        migrate(self.database, "receiver", "hookline.receiver")
        self.access = Access(self.database)
        self.verbs = Verbs("hookline.receiver", self.database.dialect)
        self.counters = Counters()

    def tail(self, api: SourceApi, *, holder: str = "one", source: str = "default", **named: Any) -> Tail:
        named = {"access": self.access, "counters": self.counters, **named}
        return Tail(named.pop("access"), source, api, Leases(self.verbs, holder), **named)

    def row(self, source: str = "default") -> TailRow | None:
        with self.database.read() as connection:
            rows = self.verbs["tails_list"].run(connection, {"source": source})
        return TailRow(*rows[0]) if rows else None

    def kept(self, source: str = "default") -> list[str]:
        sql = f"select event_id from hookline_inbox where source = '{source}' order by seq"
        return [event_id for (event_id,) in self.rows(sql)]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sql).fetchall()]

    def settle(self, tail: Tail) -> int:
        """Step until there is nothing to do at once; when to come again."""
        while (due_ms := tail.step(self.clock.now_ms())) <= self.clock.now_ms():
            pass
        return due_ms

    def go_on(self, tail: Tail, for_ms: int) -> None:
        """Let time pass, stepping whenever that is due."""
        end_ms = self.clock.now_ms() + for_ms
        while (due_ms := self.settle(tail)) <= end_ms:
            self.clock.set(due_ms)
        self.clock.set(end_ms)


@pytest.fixture
def reading(database_url: str, clock: TurnedClock) -> Iterator[Reading]:
    reading = Reading(database_url, clock)
    yield reading
    reading.database.close()


class Feed:
    """A source's feed made by hand: what is in it, what of that can be seen, and what goes wrong."""

    def __init__(self, clock: TurnedClock, *, page: int = 3) -> None:
        self.clock = clock
        self.page_size = page
        self.events_: list[tuple[FeedEvent, int]] = []
        self.shown_ms: dict[str, int] = {}
        self.expired: set[str] = set()
        self.failures: list[Exception] = []
        self.asked: list[tuple[str | None, int | None]] = []
        self.types: Sequence[str] = ()

    def add(self, *, ago_ms: int = 0, shown_after_ms: int = 0, type_: str = "dsync.user.created") -> str:
        """An event that happened so long ago, and is seen so much later; its id."""
        created_us = (self.clock.now_ms() - ago_ms) * 1_000
        event_id = f"event_{len(self.events_):04}"
        created_at = format_ms(created_us)
        body = f'{{"id":"{event_id}","event":"{type_}","created_at":"{created_at}","data":{{"id":"x"}}}}'.encode()
        event = (FeedEvent(event_id, type_, body), created_us)
        self.events_.append(event)
        self.shown_ms[event_id] = created_us // 1_000 + shown_after_ms
        return event_id

    def events(self, types: Sequence[str], *, after: str | None = None, since_us: int | None = None) -> EventPage:
        self.types = types
        self.asked.append((after, since_us))
        if self.failures:
            raise self.failures.pop(0)
        if after in self.expired:
            raise SourceError("expired", "GET /events: the source does not know it")
        now_ms = self.clock.now_ms()
        seen = [(event, at_us) for event, at_us in self.events_ if self.shown_ms.get(event.id, 0) <= now_ms]
        if after is not None:
            [place] = [place for place, (event, _) in enumerate(seen) if event.id == after]
            seen = seen[place + 1 :]
        elif since_us is not None:
            seen = [(event, at_us) for event, at_us in seen if at_us >= since_us]
        page = tuple(event for event, _ in seen[: self.page_size])
        return EventPage(page, len(seen) > self.page_size, self.clock.now_ms() * 1_000)

    def page(self, resource: str, filters: Mapping[str, str], *, after: str | None = None) -> Page:
        raise NotImplementedError

    def get(self, resource: str, id_: str) -> Found | Gone:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def feed(clock: TurnedClock) -> Feed:
    return Feed(clock)


def user(number: int) -> tuple[str, Mapping[str, Any]]:
    stamp = "2026-01-01T00:00:00.000Z"
    data = {"object": "directory_user", "id": f"directory_user_{number}", "directory_id": "directory_1"}
    return "dsync.user.created", {**data, "state": "active", "created_at": stamp, "updated_at": stamp}


# -- reading -------------------------------------------------------------------------------------------------------


def test_what_is_published_is_in_the_inbox_and_the_place_behind_it(sending: Sending, reading: Reading) -> None:
    tail = reading.tail(sending.api())
    assert reading.settle(tail) == NOW_MS + EVERY_MS
    ids = sending.publish_all(*(user(number) for number in range(230)))
    reading.clock.advance(EVERY_MS)
    assert tail.step(reading.clock.now_ms()) == reading.clock.now_ms(), "at once while there is more"
    reading.settle(tail)
    assert reading.kept() == ids
    row = reading.row()
    assert row is not None
    assert (row.cursor, row.read, row.kept, row.late, row.error) == (ids[-1], 230, 230, 0, None)
    assert reading.rows("select distinct via, signed_ms from hookline_inbox") == [("tail", None)]
    assert reading.rows("select count(*) from hookline_inbox_queue") == [(230,)]
    assert reading.counters.feed == {("default", "kept"): 230}
    reading.settle(tail)
    assert f"after={ids[-1]}" in sending.asked[-1]


def test_what_was_read_is_applied_and_handlers_hear_of_it_once(sending: Sending, reading: Reading) -> None:
    heard: list[str] = []
    registry = Registry()
    registry.on("dsync.user.created")(lambda event, tx: heard.append(event.id))
    worker = Worker(reading.access, registry, clock=reading.clock)
    worker.register()
    tail = reading.tail(sending.api())
    reading.settle(tail)
    ids = sending.publish_all(user(1), user(2))
    reading.go_on(tail, EVERY_MS)
    worker.drain()
    assert sorted(heard) == sorted(ids)
    assert reading.rows("select id, state from hookline_directory_users order by id") == [
        ("directory_user_1", "active"),
        ("directory_user_2", "active"),
    ]


def test_it_begins_now_and_leaves_the_past_to_a_backfill(feed: Feed, reading: Reading) -> None:
    feed.add(ago_ms=OVERLAP_MS + 1)
    recent = feed.add(ago_ms=OVERLAP_MS)
    reading.settle(reading.tail(feed))
    assert feed.asked[0] == (None, (NOW_MS - OVERLAP_MS) * 1_000)
    assert reading.kept() == [recent]


def test_before_the_first_event_the_beginning_moves_on(feed: Feed, reading: Reading) -> None:
    """A source answers for thirty days at a time: a range that begins before that would be refused."""
    tail = reading.tail(feed)
    reading.settle(tail)
    reading.clock.advance(40 * 86_400_000)
    reading.settle(tail)
    first = feed.add()
    reading.clock.advance(EVERY_MS)
    reading.settle(tail)
    assert feed.asked[-1][0] is None or feed.asked[-1][0] == first
    row = reading.row()
    assert row is not None
    assert reading.kept() == [first]
    since_us = [since_us for _, since_us in feed.asked if since_us is not None]
    assert since_us[-1] > (reading.clock.now_ms() - 2 * OVERLAP_MS) * 1_000


def test_secrets_are_cut_out_as_at_the_door(feed: Feed, reading: Reading) -> None:
    tail = reading.tail(feed, redact=Secrets({"dsync.user.*": ["id"]}))
    feed.add()
    reading.settle(tail)
    [(body, redacted)] = reading.rows("select body, redacted from hookline_inbox")
    assert redacted == "secrets"
    assert b'"x"' not in bytes(body)


def test_an_event_that_cannot_be_read_is_kept_and_set_apart(feed: Feed, reading: Reading) -> None:
    good = feed.add()
    body = b'{"id":"event_bad","event":"dsync.user.created","data":[]}'
    feed.events_.append((FeedEvent("event_bad", "dsync.user.created", body), NOW_MS * 1_000))
    tail = reading.tail(feed)
    reading.settle(tail)
    assert reading.rows("select event_id, reason from hookline_inbox order by seq") == [
        (good, None),
        ("event_bad", "not_event"),
    ]
    assert reading.row() is not None


# -- which events --------------------------------------------------------------------------------------------------


def test_it_asks_for_what_the_mirror_needs_and_handlers_of_any_process_hear_of(feed: Feed, reading: Reading) -> None:
    tail = reading.tail(feed)
    reading.settle(tail)
    assert set(feed.types) == mirrored_types()
    assert "dsync.group.user_added" in feed.types
    assert "session.created" not in feed.types
    registry = Registry()
    registry.on("authentication.*")(print)
    registry.on("invoice.paid", unlisted=True, name="invoices")(print)
    registry.on_change("directory_user", name="changes")(print)
    Worker(reading.access, registry, clock=reading.clock).register()
    reading.clock.advance(NOTED_EVERY_MS)
    reading.settle(tail)
    reading.clock.advance(EVERY_MS)
    reading.settle(tail)
    signed_in = {name for name in CATALOGUE if name.startswith("authentication.")}
    assert signed_in
    assert set(feed.types) == mirrored_types() | signed_in | {"invoice.paid"}


def test_types_that_a_source_cannot_know_are_not_asked_for_there() -> None:
    registered = [
        Registered("one", "fact", "*", 0),
        Registered("two", "fact", "invoice.paid", 0),
        Registered("three", "fact", "vault.data.read", 0, "another"),
        Registered("four", "change", "directory_user", 0),
    ]
    assert needed_types(registered, "default", knows_all=True) == tuple(sorted(CATALOGUE))
    assert "invoice.paid" in needed_types(registered, "default")
    assert "vault.data.read" not in needed_types(registered[2:], "default")
    assert "session.created" in needed_types([], "default", optional=["session"])


def test_types_may_be_named(feed: Feed, reading: Reading) -> None:
    reading.settle(reading.tail(feed, types=["a.b"]))
    assert feed.types == ("a.b",)


# -- beside webhooks -----------------------------------------------------------------------------------------------


def test_webhooks_and_the_tail_bring_the_same_events_and_each_is_handled_once(
    sending: Sending, tmp_path: Path, clock: TurnedClock
) -> None:
    with Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=[SECRET], clock=clock) as hooks:
        heard: list[str] = []
        hooks.on("dsync.*")(lambda event, tx: heard.append(event.id))
        hooks.drain()
        assert hooks.database is not None
        access = Access(hooks.database)
        tail = Tail(access, "default", sending.api(), Leases(Verbs("hookline.receiver", access.dialect), "one"))
        tail.step(clock.now_ms())
        ids = sending.publish_all(*(user(number) for number in range(6)))
        for index, event_id in enumerate(ids):
            if index == 3:
                clock.advance(EVERY_MS)
                tail.step(clock.now_ms())
            # As WorkOS sends it: without `object`.
            created_at = format_ms(clock.now_ms() * 1_000)
            body = (
                f'{{"id":"{event_id}","event":"dsync.user.created","created_at":"{created_at}","data":{{}}}}'.encode()
            )
            headers = {HEADER: sign(body, SECRET, timestamp_ms=clock.now_ms())}
            for _ in range(2):
                assert hooks.receive("POST", "/webhooks", headers, body, None)[0] == 200
        hooks.drain()
        assert sorted(heard) == sorted(ids)
        with hooks.look() as (queries, connection):
            stats = queries.stats(connection, since_ms=0)
            entries = queries.entries(connection, limit=10)
        assert stats.entries == 6
        assert stats.conflicts == 0
        assert stats.duplicates == 3, "of the webhooks that came first, one each"
        assert [entry.via for entry in entries] == ["tail"] * 3 + ["webhook"] * 3
        assert [entry.conflicts for entry in entries] == [0] * 6
        assert hooks.counters.kept["default", "known"] == 6


# -- what appears late ---------------------------------------------------------------------------------------------


def test_an_event_that_is_shown_late_is_found_within_the_overlap(
    feed: Feed, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookline.tail")
    tail = reading.tail(feed)
    reading.settle(tail)
    late = feed.add(shown_after_ms=OVERLAP_MS)
    for _ in range(4):
        feed.add()
    reading.go_on(tail, OVERLAP_MS - EVERY_MS)
    assert len(reading.kept()) == 4
    assert late not in reading.kept()
    reading.go_on(tail, 2 * OVERLAP_MS)
    assert set(reading.kept()) == {event.id for event, _ in feed.events_}
    row = reading.row()
    assert row is not None
    assert (row.cursor, row.read, row.kept, row.late) == ("event_0004", 4, 4, 1)
    assert reading.counters.feed["default", "late"] == 1
    assert [record.getMessage() for record in caplog.records if "late" in record.getMessage()] == [
        "tail of default: 1 events appeared late"
    ]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_appears_within_the_overlap_of_its_time_is_found(
    seed: int, tmp_path: Path, clock: TurnedClock
) -> None:
    chance = random.Random(seed)
    feed = Feed(clock, page=chance.choice((1, 3, 10)))
    reading = Reading(f"sqlite:///{tmp_path / 'app.db'}", clock)
    tail = reading.tail(feed)
    reading.settle(tail)
    for _ in range(60):
        feed.add(shown_after_ms=chance.choice((0, 0, chance.randrange(OVERLAP_MS + 1))))
        reading.go_on(tail, chance.choice((0, 100, 4_000, 20_000, 90_000)))
        if chance.random() < 0.1:  # another process goes on
            tail.release()
            tail = reading.tail(feed)
    reading.go_on(tail, 3 * OVERLAP_MS)
    assert set(reading.kept()) == {event.id for event, _ in feed.events_}
    reading.database.close()


def test_at_rest_nothing_is_read_twice(feed: Feed, reading: Reading) -> None:
    tail = reading.tail(feed)
    reading.settle(tail)
    feed.add()
    reading.go_on(tail, 4 * OVERLAP_MS)
    feed.asked.clear()
    reading.go_on(tail, 10 * OVERLAP_MS)
    assert set(feed.asked) == {("event_0000", None)}


def test_after_a_downtime_what_is_read_again_is_bounded(feed: Feed, reading: Reading) -> None:
    tail = reading.tail(feed)
    reading.settle(tail)
    feed.add()
    reading.settle(tail)
    reading.clock.advance(EVERY_MS)
    reading.settle(tail)
    tail.release()
    for minutes in range(300, 0, -1):
        feed.add(ago_ms=-(300 - minutes) * 60_000)
    reading.clock.advance(300 * 60_000)
    feed.asked.clear()
    reading.go_on(reading.tail(feed), 4 * OVERLAP_MS)
    assert set(reading.kept()) == {event.id for event, _ in feed.events_}
    row = reading.row()
    assert row is not None
    assert row.late == 0
    assert len(feed.asked) < 301 / 3 + 80


# -- one reader, and what dies when --------------------------------------------------------------------------------


class FailingAccess(Access):
    """Fails before or after its commits as told, one after the other; later ones are good."""

    def __init__(self, database: Database, *commits: str | None) -> None:
        super().__init__(database)
        self._commits = list(commits)

    def run(self, work: Callable[[Connection], Any]) -> Any:
        how = self._commits.pop(0) if self._commits else None
        if how == "before":
            raise KeyError("the process died before its commit")
        done = super().run(work)
        if how == "after":
            raise KeyError("the process died after its commit")
        return done


@pytest.mark.parametrize("how", ["before", "after"])
def test_wherever_it_dies_nothing_is_passed_that_is_not_kept(feed: Feed, reading: Reading, how: str) -> None:
    for at in range(6):
        source = f"dies-{at}"
        ids = [feed.add() for _ in range(10)]
        access = FailingAccess(reading.database, *[None] * at, how)
        tail = reading.tail(feed, access=access, holder="dying", source=source)
        with pytest.raises(KeyError):
            reading.go_on(tail, 10 * NOTED_EVERY_MS)
        row, kept = reading.row(source), reading.kept(source)
        assert kept == ids[: len(kept)]
        assert (None if row is None else row.cursor) == (kept[-1] if kept else None)
        reading.clock.advance(LEASE_MS)
        reading.settle(reading.tail(feed, holder="next", source=source))
        if row is not None:
            assert reading.kept(source) == ids
        feed.events_.clear()
        reading.clock.advance(2 * OVERLAP_MS)


def test_after_a_failed_commit_the_same_process_goes_on(feed: Feed, reading: Reading) -> None:
    ids = [feed.add() for _ in range(10)]
    access = FailingAccess(reading.database, None, None, "after", None, "before")
    tail = reading.tail(feed, access=access)
    for _ in range(20):
        with contextlib.suppress(KeyError):
            reading.settle(tail)
    assert reading.kept() == ids


def test_one_reads_and_another_takes_over(feed: Feed, reading: Reading) -> None:
    one, other = reading.tail(feed), reading.tail(feed, holder="other")
    reading.settle(one)
    asked = len(feed.asked)
    assert other.step(reading.clock.now_ms()) == reading.clock.now_ms() + FOLLOW_MS
    assert len(feed.asked) == asked, "who has no lease asks nothing"
    one.release()
    feed.add()
    reading.settle(other)
    assert reading.kept() == ["event_0000"]


def test_one_that_was_taken_for_dead_commits_nothing(
    feed: Feed, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = reading.tail(feed), reading.tail(feed, holder="other")
    reading.settle(one)
    feed.add()
    real = feed.events

    def while_it_reads(types: Sequence[str], *, after: str | None = None, since_us: int | None = None) -> EventPage:
        page = real(types, after=after, since_us=since_us)
        feed.events = real  # type: ignore[method-assign]
        feed.add()
        reading.clock.advance(LEASE_MS)
        reading.settle(other)
        return page

    feed.events = while_it_reads  # type: ignore[method-assign]
    one.step(reading.clock.now_ms())
    row = reading.row()
    assert row is not None
    assert (row.cursor, row.read, row.kept) == ("event_0001", 2, 2), "the other's alone"
    assert "another process has taken it over" in caplog.text
    feed.add()
    reading.settle(one)
    assert reading.kept() == ["event_0000", "event_0001"], "nor does it go on"
    reading.clock.advance(EVERY_MS)
    reading.settle(other)
    assert len(reading.kept()) == 3


# -- what goes wrong at the source ---------------------------------------------------------------------------------


def test_a_source_that_fails_is_asked_ever_later_and_says_so_once(
    feed: Feed, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookline.tail")
    tail = reading.tail(feed)
    reading.settle(tail)
    feed.failures = [SourceError("unavailable", "GET /events: answered 502")] * 9
    began_ms, asked = reading.clock.now_ms(), len(feed.asked)
    reading.go_on(tail, 700_000)
    assert len(feed.asked) - asked == 8
    row = reading.row()
    assert row is not None
    assert (row.failed_ms, row.error) == (began_ms, "unavailable: GET /events: answered 502")
    feed.add()
    other = reading.tail(feed, holder="other")
    assert other.step(reading.clock.now_ms()) > reading.clock.now_ms(), "the lease is kept meanwhile"
    reading.go_on(tail, 700_000)
    assert reading.kept() == ["event_0000"]
    row = reading.row()
    assert row is not None
    assert (row.failed_ms, row.error) == (None, None)
    told = [record.getMessage() for record in caplog.records if "again" in record.getMessage()]
    assert told == ["tail of default: reading again after 9 failures"]
    assert caplog.text.count("cannot be read") == 1


def test_a_source_is_not_asked_before_it_wants_to_be(feed: Feed, reading: Reading) -> None:
    tail = reading.tail(feed)
    for asked_s, wait_ms in ((200, 200_000), (1e9, LONGEST_WAIT_MS)):
        feed.failures = [SourceError("rate_limited", "slow down", retry_after_s=asked_s)]
        reading.settle(tail)
        asked = len(feed.asked)
        reading.go_on(tail, wait_ms - 1)
        assert len(feed.asked) == asked
        reading.go_on(tail, 1)
        assert len(feed.asked) == asked + 1


def test_a_place_that_the_source_no_longer_keeps_is_left_and_a_pass_stands_in(
    feed: Feed, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[int] = []

    def begin_pass() -> int:
        begun.append(7 + len(begun))
        return begun[-1]

    tail = reading.tail(feed, begin_pass=begin_pass)
    feed.add()
    reading.settle(tail)
    lost_us = NOW_MS * 1_000
    reading.clock.advance(90 * 86_400_000)
    feed.add(ago_ms=40 * 86_400_000)
    feed.expired.add("event_0000")
    fresh = feed.add()
    reading.settle(tail)
    assert reading.kept() == ["event_0000", fresh], "reading goes on at once, from now"
    row = reading.row()
    assert row is not None
    assert (row.state, row.lost_us, row.pass_id, row.cursor) == ("snapshot", lost_us, 7, fresh)
    assert begun == [7]
    assert "the source no longer keeps what came after" in caplog.text

    put_pass(reading, 7, mode="apply", state="stopped")
    put_pass(reading, 8, mode="dry_run", state="completed")
    put_pass(reading, 9, mode="apply", state="completed", directory_id="directory_1")
    put_pass(reading, 6, mode="apply", state="completed")
    reading.go_on(tail, 4 * NOTED_EVERY_MS)
    row = reading.row()
    assert row is not None
    assert row.state == "snapshot", "none of these puts all of it right"
    put_pass(reading, 10, mode="apply", state="completed")
    for _ in range(6):
        feed.add()  # however busy the feed is
        reading.go_on(tail, EVERY_MS)
    row = reading.row()
    assert row is not None
    assert (row.state, row.lost_us, row.pass_id) == ("reading", None, None)
    assert begun == [7]


def put_pass(reading: Reading, row_id: int, *, mode: str, state: str, directory_id: str | None = None) -> None:
    directory = "null" if directory_id is None else f"'{directory_id}'"
    with reading.database.transaction() as connection:
        connection.execute(
            "insert into hookline_passes (row_id, source, kind, mode, directory_id, state, asked_by, created_ms, "
            f"updated_ms, due_ms) values ({row_id}, 'default', 'reconcile', '{mode}', {directory}, '{state}', 'test', "
            "1, 1, 1)"
        )


def test_an_expired_place_of_our_own_sender_is_told_as_such(sending: Sending, reading: Reading) -> None:
    tail = reading.tail(sending.api())
    reading.settle(tail)
    sending.publish_all(user(1))
    reading.go_on(tail, EVERY_MS)
    with reading.database.transaction() as connection:
        connection.execute("update hookline_tails set cursor = 'event_01ARZ3NDEKTSV4RRFFQ69G5FAV'")
    tail.release()
    tail = reading.tail(sending.api())
    reading.settle(tail)
    row = reading.row()
    assert row is not None
    assert row.state == "snapshot"


def test_the_time_of_an_event_is_what_it_says_or_else_its_ids() -> None:
    body = b'{"id":"event_1","event":"a.b","created_at":"1970-01-01T00:00:01.000Z","data":{}}'
    assert time_of(FeedEvent("event_1", "a.b", body)) == 1_000_000
    assert time_of(FeedEvent("event_1", "a.b", body.replace(b"1970", b"19x0"))) is None
    ulid = "event_01ARZ3NDEKTSV4RRFFQ69G5FAV"
    assert time_of(FeedEvent(ulid, "a.b", b"[]")) == 1_469_922_850_259_000
