"""How a receiver is doing: what is read, who is seen to work, and what of it needs somebody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hookline.receiver.mirror_queries import MirrorQueries
from hookline.receiver.model import AddressListRow, HandlerRow, PassRow, RejectionRow, TailRow, WorkerRow
from hookline.receiver.queries import COUNTED, InboxQueries, QuestionCounts
from hookline.receiver.status import (
    GAP_OLD_MS,
    LAG_MS,
    LIST_OLD_MS,
    TAIL_UNREAD_MS,
    WORKER_UNSEEN_MS,
    Status,
    read_status,
    span,
)
from hookline.receiver.store import InboxStore
from hookline.receiver.work import SEEN_EVERY_MS
from hookline.storage import Verbs
from hookline.wire.catalogue import PROBE_TYPE
from tests.e2e.processes import wait_for

from ..conftest import DATABASES
from .company import START_MS, Company, Desk, working

RUNS_ON = DATABASES
NOW_MS = START_MS
WORKER = WorkerRow("host:1:ab", ("welcome",), NOW_MS - 90_000, NOW_MS - 30_000, None)
HANDLER = HandlerRow("welcome", "fact", "*", None, None, None, NOW_MS, 0, 0, 0)
TAIL = TailRow("default", "reading", "event_1", NOW_MS * 1_000, None, None, 9, 8, 0, NOW_MS - 20_000, None, None)
PASS = PassRow("default", 7, "reconcile", "apply", "completed", None, NOW_MS - 9_000, NOW_MS - 5_000, NOW_MS - 5_000, 0)
WELL = Status(
    now_ms=NOW_MS,
    waiting=0,
    oldest_ms=None,
    last_accepted_ms=NOW_MS - 1_000,
    probes=0,
    dead_entries=0,
    handlers=[HANDLER],
    failing_walks=0,
    refused={},
    workers=[WORKER],
    mirror={},
    lists=[AddressListRow("https://a.example/list", b"{}", NOW_MS - 1_000, None, None)],
    tails=[TAIL],
    tailed=["default"],
    passes=[PASS],
    scheduled={"default": 3_600},
)


def read(desk: Desk) -> Status:
    verbs = Verbs("hookline.receiver", desk.database.dialect)
    with desk.database.read() as connection:
        mirror = {"default": MirrorQueries(verbs, "default")}
        return read_status(connection, InboxQueries(verbs), mirror, desk.clock.now_ms())


def test_what_is_well_needs_nobody() -> None:
    """And so is what looks odd and is not: a short queue, refusals beside what is accepted, other sources of noise."""
    assert WELL.needs() == []
    assert replace(WELL, waiting=5, oldest_ms=NOW_MS - LAG_MS, refused={"mismatch": 900, "path": 12}).needs() == []
    assert replace(WELL, handlers=[replace(HANDLER, pending=3, running=1)]).needs() == []
    assert replace(WELL, questions={"default": QuestionCounts(50, 2, NOW_MS - GAP_OLD_MS, 0)}).needs() == []
    assert replace(WELL, refused={"mismatch": 2}, probes=2, last_accepted_ms=None).needs() == []
    assert replace(WELL, refused={"address": 9, "missing": 9}, last_accepted_ms=None).needs() == []
    assert replace(WELL, tails=[TAIL._replace(failed_ms=NOW_MS - TAIL_UNREAD_MS, error="away")]).needs() == []
    assert replace(WELL, tails=[TAIL._replace(read_ms=1)], tailed=[]).needs() == [], "it was turned off"
    late = replace(PASS, completed_ms=NOW_MS - 3 * 3_600_000)
    assert replace(WELL, passes=[late]).needs() == []
    assert replace(WELL, passes=[replace(late, completed_ms=1)], scheduled={}).needs() == [], "nobody asked for it"
    assert replace(WELL, passes=[replace(late, completed_ms=1, state="running")]).needs() == [], "it is on its way"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (replace(WELL, workers=[]), "no worker was ever seen"),
        (replace(WELL, workers=[replace(WORKER, seen_ms=NOW_MS - WORKER_UNSEEN_MS - 1)]), "was last seen 3 min 20 s"),
        (replace(WELL, workers=[replace(WORKER, stopped_ms=NOW_MS - 30_000)]), "ended 30 s ago"),
        (replace(WELL, waiting=7, oldest_ms=NOW_MS - LAG_MS - 1), "lags: an entry has been waiting for 1 min 0 s"),
        (replace(WELL, dead_entries=1), "1 entry could not be applied"),
        (replace(WELL, dead_entries=COUNTED), f"{COUNTED}+ entries could not be applied"),
        (
            replace(WELL, handlers=[replace(HANDLER, paused_reason="by hand", pending=2)]),
            "paused (by hand), 2 runs wait",
        ),
        (replace(WELL, handlers=[replace(HANDLER, dead=1)]), "welcome: 1 run failed for good"),
        (replace(WELL, handlers=[replace(HANDLER, name="gone", pending=1)]), "no running worker has it"),
        (replace(WELL, failing_walks=2), "2 walks"),
        (replace(WELL, refused={"no_secret": 4}), "refused 4 within the hour: no signing secret"),
        (replace(WELL, refused={"consumed": 1}), "reads the body"),
        (replace(WELL, refused={"mismatch": 3}, last_accepted_ms=None), "everything was refused within the hour (mis"),
        (replace(WELL, refused={"mismatch": 2}, probes=1, last_accepted_ms=None), "(mismatch 2)"),
        (replace(WELL, refused={"expired": 3}, last_accepted_ms=NOW_MS - 3_600_001), "(expired 3)"),
        (replace(WELL, tails=[TAIL._replace(failed_ms=NOW_MS - TAIL_UNREAD_MS - 1, error="401")]), "3 min 20 s: 401"),
        (replace(WELL, tails=[TAIL._replace(read_ms=NOW_MS - TAIL_UNREAD_MS - 1)]), "was not read for 3 min 20 s"),
        (replace(WELL, tails=[]), "the feed of default was never read"),
        (
            replace(WELL, passes=[replace(PASS, state="stopped", reason="12 of 40 are gone")]),
            "pass 7 of default stopped: 12 of 40 are gone; `hookline reconcile --resume 7`",
        ),
        (replace(WELL, passes=[replace(PASS, drift=1)]), "1 difference between the mirror and default"),
        (
            replace(WELL, passes=[replace(PASS, completed_ms=NOW_MS - 3 * 3_600_000 - 1)]),
            "was not put right from default for 3 h 0 min, and is to be every 1 h 0 min",
        ),
        (
            replace(
                WELL,
                passes=[replace(PASS, state="running", reason="unavailable: 503", completed_ms=NOW_MS - 10_800_001)],
            ),
            "every 1 h 0 min; pass 7 waits: unavailable: 503",
        ),
        (replace(WELL, tails=[TAIL._replace(lost_us=0)]), "since 1970-01-01T00:00:00.000Z were lost"),
        (replace(WELL, tails=[TAIL._replace(lost_us=0, pass_id=7)]), "pass 7 is to stand in for them"),
        (
            replace(WELL, questions={"workos": QuestionCounts(3, 1, NOW_MS - GAP_OLD_MS - 1, 0)}),
            "workos: events are missing of 1 object, noticed first 15 min 0 s ago",
        ),
        (replace(WELL, questions={"workos": QuestionCounts(9, 0, None, 2)}), "workos: 2 questions got no answer"),
        (replace(WELL, lists=[AddressListRow("https://a", None, None, NOW_MS, "404")]), "never read, so nobody"),
        (replace(WELL, lists=[AddressListRow("https://a", b"", NOW_MS - LIST_OLD_MS - 1, NOW_MS, "404")]), "7 d 0 h"),
    ],
)
def test_what_is_not_well_is_told_alone(status: Status, told: str) -> None:
    """One need for one trouble, in words that say what to do."""
    (need,) = status.needs()
    assert told in need


def test_tables_that_nobody_uses_need_no_worker(desk: Desk) -> None:
    """A sender's database has them, too; with the first entry or refusal they are a receiver's."""
    assert read(desk).needs() == []
    desk.put(Company().user("created"))
    assert "no worker was ever seen" in read(desk).needs()[0]


def test_spans_are_told_by_their_two_largest_units() -> None:
    assert [span(ms) for ms in (0, 59_999, 60_000, 3_661_000, 90_000_000, 8 * 86_400_000)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "1 h 1 min",
        "1 d 1 h",
        "8 d 0 h",
    ]


def test_a_look_reads_it_all(desk: Desk, company: Company) -> None:
    """What waits and since when, what is dead, handlers with their runs, refusals of the hour, the mirror."""
    desk.hooks.on("dsync.user.*", name="welcome")(lambda event, tx: None)
    desk.take(company.user("created"))
    desk.take(b"no json", reason="not_json")
    desk.clock.advance(7_200_000)
    desk.put(company.user("updated"))
    now_ms = desk.clock.now_ms()
    minute_ms = now_ms - now_ms % 60_000
    rows = [
        RejectionRow("default", "mismatch", minute_ms, 2, "401 to 192.0.2.1: x"),
        RejectionRow("default", "mismatch", minute_ms - 120_000, 3, "401 to 192.0.2.1: x"),
        RejectionRow("default", "expired", minute_ms - 7_200_000, 9, "401 to 192.0.2.1: x"),
    ]
    desk.database.run(lambda connection: InboxStore(desk.database.dialect).add_rejections(connection, rows))
    desk.clock.advance(5_000)

    found = read(desk)

    assert (found.waiting, found.lag_ms, found.dead_entries) == (1, 5_000, 1)
    assert found.last_accepted_ms == now_ms
    assert [(one.name, one.pending, one.dead) for one in found.handlers] == [("welcome", 0, 0)]
    assert found.refused == {"mismatch": 5}
    assert {one.resource: (one.rows, one.live) for one in found.mirror["default"]}["directory_user"] == (1, 1)
    assert (found.workers, found.lists) == ([], [])


def test_what_the_doctor_posted_is_not_what_a_source_sent(desk: Desk, company: Company) -> None:
    """A probe is no event accepted: neither for the last one that came, nor for the clocks."""
    desk.take(company.event(PROBE_TYPE, {"object": "probe"}))
    assert (read(desk).last_accepted_ms, read(desk).probes) == (None, 1)
    verbs = Verbs("hookline.receiver", desk.database.dialect)
    with desk.database.read() as connection:
        assert InboxQueries(verbs).signed(connection) == []
    desk.take(company.user("created"))
    assert read(desk).last_accepted_ms == desk.clock.now_ms()
    with desk.database.read() as connection:
        assert len(InboxQueries(verbs).signed(connection)) == 1


def test_a_worker_is_seen_while_it_runs_and_when_it_ended(desk: Desk) -> None:
    """At its first round, then once a minute, and at its end; by what it says, not by what it has to do."""
    desk.hooks.on("*", name="h")(lambda event, tx: None)
    worker = desk.new_worker()
    with working(worker):
        wait_for(lambda: read(desk).workers, "a worker to be seen")
        (one,) = read(desk).workers
        assert (one.handlers, one.seen_ms, one.stopped_ms) == (("h",), START_MS, None)
        assert read(desk).running_workers == [one]
        desk.clock.advance(SEEN_EVERY_MS)
        wait_for(lambda: read(desk).workers[0].seen_ms == START_MS + SEEN_EVERY_MS, "it to be seen again")
        desk.clock.advance(10_000)
        assert len(read(desk).running_workers) == 1
    (one,) = read(desk).workers
    assert one.stopped_ms == one.seen_ms == desk.clock.now_ms()
    assert read(desk).running_workers == []


def test_a_worker_that_dies_is_missed_after_three_minutes(desk: Desk) -> None:
    """It says nothing any more, and nobody says it for it."""
    verbs = Verbs("hookline.receiver", desk.database.dialect)
    named = {"name": "host:1:ab", "handlers": "[]", "now_ms": START_MS}
    desk.database.run(lambda connection: verbs["workers_beat"].run(connection, named))
    desk.clock.advance(WORKER_UNSEEN_MS)
    assert len(read(desk).running_workers) == 1
    desk.clock.advance(1)
    assert read(desk).running_workers == []
    assert "was last seen 3 min" in read(desk).needs()[0]


def test_workers_of_last_week_are_forgotten_but_the_last(desk: Desk) -> None:
    """Each start is a row; what is left says who was there last, however long ago."""
    verbs = Verbs("hookline.receiver", desk.database.dialect)
    for number in range(3):
        named = {"name": f"old-{number}", "handlers": "[]", "now_ms": START_MS - 30 * 86_400_000 + number}
        desk.database.run(lambda connection: verbs["workers_beat"].run(connection, named))  # noqa: B023
    desk.database.run(lambda connection: verbs["workers_forget"].run(connection, {"before_ms": START_MS}))
    assert [one.name for one in read(desk).workers] == ["old-2"]
    with working(desk.new_worker()):
        wait_for(lambda: len(read(desk).workers) == 2, "the new one to be seen")
    assert len(read(desk).workers) == 1
