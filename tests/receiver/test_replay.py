"""Replays: never back, never twice, and through crashes."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.errors import ConfigError
from hookline.receiver.handlers import Change, current_run
from hookline.receiver.replay import Mode, Replay, Replays, Selection
from hookline.storage import Verbs
from hookline.wire.event import Event

from ..conftest import DATABASES
from .company import Company, Desk

RUNS_ON = DATABASES

EVERYTHING = Selection()


def replays(desk: Desk) -> Replays:
    return Replays(Verbs("hookline.receiver", desk.database.dialect))


def start(desk: Desk, selection: Selection = EVERYTHING, *, mode: Mode = "mirror", handler: str | None = None) -> int:
    with desk.database.transaction() as connection:
        now_ms = desk.clock.now_ms()
        return replays(desk).start(connection, "default", selection, now_ms=now_ms, mode=mode, handler=handler)


def read(desk: Desk, replay_id: int) -> Replay:
    with desk.database.read() as connection:
        replay = replays(desk).read(connection, replay_id)
    assert replay is not None
    return replay


def replay(desk: Desk, selection: Selection = EVERYTHING, **how: Any) -> Replay:
    """Start one, and have the worker finish it."""
    number = start(desk, selection, **how)
    desk.worker.drain()
    return read(desk, number)


def count(desk: Desk, selection: Selection) -> int:
    with desk.database.read() as connection:
        return replays(desk).count(connection, "default", selection)


def mirror(desk: Desk) -> list[list[tuple[Any, ...]]]:
    """Every row of the mirror, of the change feed and of what became of entries."""
    tables = ("directories", "directory_users", "directory_groups", "directory_memberships", "changes")
    return [desk.rows(f"select * from hookline_{table} order by 1, 2, 3") for table in tables] + [
        desk.rows("select seq, outcome, reason from hookline_inbox_outcomes order by seq")
    ]


def life(company: Company) -> list[dict[str, Any]]:
    """A user who came, changed, joined a group, left; another who stayed."""
    return [
        company.directory("activated"),
        company.group("created"),
        company.user("created", "user_1"),
        company.user("updated", "user_1", first_name="Grace"),
        company.member("added", user_id="user_1"),
        company.user("created", "user_2"),
        company.user("deleted", "user_1"),
    ]


def test_replaying_everything_twice_changes_nothing(desk: Desk, company: Company) -> None:
    """Mirror, change feed and outcomes are as they were, in every mode, and effects with a key happen once."""
    sent: dict[str, int] = {}

    def post(what: Event | Change, tx: Any) -> None:
        key = current_run().idempotency_key
        sent[key] = sent.get(key, 0) + 1

    desk.hooks.on("*", name="facts")(post)
    desk.hooks.on_change("directory_user", name="changes")(post)
    events = life(company)
    desk.take(*reversed(events))
    before, keys = mirror(desk), set(sent)

    for mode in ("mirror", "all", "all"):
        done = replay(desk, mode=mode)

        assert (done.entries, done.failed, done.finished_ms) == (len(events), 0, desk.clock.now_ms())
        assert mirror(desk) == before
        assert set(sent) == keys

    facts = [sent[key] for key in sent if sent[key] == 3]
    assert len(facts) >= len(events)  # each fact told once, and once per replay


def test_mirror_only_calls_no_handler(desk: Desk, company: Company) -> None:
    """What handlers were told, and their rows, stay as they are."""
    calls: list[str] = []
    desk.hooks.on("*", name="facts")(lambda event, tx: calls.append(event.type))
    desk.hooks.on_change("directory_user", name="changes")(lambda change, tx: calls.append(change.kind))
    desk.take(*life(company))
    before, runs = list(calls), desk.rows("select * from hookline_runs")

    done = replay(desk)

    assert (calls, desk.rows("select * from hookline_runs"), done.runs) == (before, runs, 0)


def test_one_handler_hears_it_again_and_knows(desk: Desk, company: Company) -> None:
    """Only the named one is called, in the order of arrival, marked as a replay, with the key of the first time."""
    calls: list[tuple[str, str, bool, str]] = []

    def handler(event: Event, tx: Any) -> None:
        run = current_run()
        calls.append((run.handler, event.type, run.is_replay, run.idempotency_key))

    desk.hooks.on("dsync.user.*", name="a")(handler)
    desk.hooks.on("dsync.user.*", name="b")(handler)
    desk.take(*life(company))
    first = [call for call in calls if call[0] == "a"]
    others = {call[3] for call in calls if call[0] == "b"}
    calls.clear()

    replay(desk, mode="handler", handler="a")

    assert calls == [(name, type_, True, key) for name, type_, _, key in first]
    assert not others & {key for *_, key in first}
    assert desk.one("select count(*) from hookline_runs where handler = 'a'") == len(first)


def test_a_change_handler_is_told_the_newest_change_only(desk: Desk, company: Company) -> None:
    """Replaying the creation of a deleted user tells of the deletion: nobody gets back access that was lost."""
    told: list[tuple[str, str, bool]] = []
    desk.hooks.on_change("directory_user", name="access")(
        lambda change, tx: told.append((change.id, change.kind, change.is_active))
    )
    events = life(company)
    desk.take(*events)
    told.clear()

    replay(desk, Selection(event_ids=(events[2]["id"],)), mode="all")

    assert told == [("user_1", "deleted", False)]


def test_a_new_handler_is_told_of_the_past(desk: Desk, company: Company) -> None:
    """A replay makes the runs that a handler which came later never had."""
    desk.take(*life(company))
    told: list[tuple[str, str]] = []
    desk.hooks.on_change("directory_user", name="late")(lambda change, tx: told.append((change.id, change.kind)))
    worker = desk.new_worker()
    worker.register()
    start(desk, mode="handler", handler="late")

    worker.drain()

    assert sorted(told) == [("user_1", "deleted"), ("user_2", "created")]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), 7),
        (Selection(type="dsync.user.*"), 4),
        (Selection(type="dsync.user.created"), 2),
        (Selection(object_id="user_1"), 4),
        (Selection(object_id="group_1/user_1"), 1),
        (Selection(object_id="nobody"), 0),
        (Selection(from_seq=2, to_seq=4), 3),
        (Selection(event_ids=("event_000001", "unknown")), 1),
        (Selection(type="dsync.user.*", object_id="user_2"), 1),
    ],
    ids=repr,
)
def test_what_a_selection_holds(desk: Desk, company: Company, selection: Selection, expected: int) -> None:
    """The count beforehand is what is then replayed, and counting changes nothing."""
    desk.take(*life(company))
    before = mirror(desk)

    counted = count(desk, selection)

    assert (counted, mirror(desk)) == (expected, before)
    assert replay(desk, selection).entries == expected


def test_ids_of_any_shape_are_looked_at(desk: Desk, company: Company) -> None:
    """An entry whose object calls a list or an object its id is passed over, and the others are found."""
    for id_ in (["user_1"], {"user_1": 1}, 1, None):
        desk.take(company.event("dsync.user.updated", {"id": id_}))
    desk.take(company.user("created", "user_1"))

    assert replay(desk, Selection(object_id="user_1")).entries == 1


def test_a_range_of_time(desk: Desk, company: Company) -> None:
    """From `since_ms` on and before `until_ms`, by when they arrived."""
    since_ms = desk.clock.now_ms()
    desk.take(company.user("created", "user_1"))
    desk.clock.advance(1_000)
    desk.take(company.user("created", "user_2"))

    assert count(desk, Selection(since_ms=since_ms, until_ms=since_ms + 1_000)) == 1
    assert count(desk, Selection(since_ms=since_ms + 1)) == 1
    assert count(desk, Selection(until_ms=since_ms)) == 0


def test_what_still_waits_is_left_to_the_queue(desk: Desk, company: Company) -> None:
    """An entry that was never applied is applied in its own time, with its handlers."""
    desk.worker.register()
    desk.put(company.user("created"))

    assert count(desk, EVERYTHING) == 0


def test_a_crash_in_the_middle_resumes(desk: Desk, company: Company) -> None:
    """A part and how far it came are one commit: what is undone is done again, what is done is not."""
    calls: list[str | None] = []
    desk.hooks.on("*", name="facts")(lambda event, tx: calls.append(event.id))
    events = [company.user("created", f"user_{number}") for number in range(450)]
    desk.take(*events)
    calls.clear()
    number = start(desk, mode="all")
    now_ms = desk.clock.now_ms()
    with desk.database.transaction() as connection:
        replays(desk).step(connection, number, now_ms)
    with pytest.raises(KeyboardInterrupt), desk.database.transaction() as connection:
        replays(desk).step(connection, number, now_ms)
        raise KeyboardInterrupt

    half = read(desk, number)
    desk.new_worker().drain()

    assert (half.entries, half.finished_ms) == (200, None)
    assert (read(desk, number).entries, read(desk, number).runs) == (450, 450)
    assert sorted(filter(None, calls)) == sorted(event["id"] for event in events)


def test_an_entry_that_cannot_be_applied_costs_itself_alone(desk: Desk, company: Company) -> None:
    """A body that is no event fails, and stays dead; the rest is replayed."""
    desk.take(company.user("created"))
    desk.take(b"no json", reason="not_json")

    done = replay(desk)

    assert (done.entries, done.failed) == (1, 1)
    assert desk.outcomes() == ["applied", "dead"]


def test_bad_selections_are_refused(desk: Desk) -> None:
    """A pattern that is none, a handler nobody knows."""
    with pytest.raises(ConfigError, match=r"dsync\.\*"):
        Selection(type="dsync.*.created")
    with pytest.raises(LookupError):
        start(desk, mode="handler", handler="nobody")
    with pytest.raises(ConfigError, match="handler"):
        start(desk, mode="handler")


def test_the_newest_replays_are_listed(desk: Desk, company: Company) -> None:
    """As they stand, page by page."""
    desk.take(*life(company))
    numbers = [start(desk, Selection(type=type_)) for type_ in ("dsync.*", "*", "organization.created")]
    with desk.database.read() as connection:
        first = replays(desk).newest(connection, limit=2)
        second = replays(desk).newest(connection, before_row=first[-1].row_id, limit=2)
    assert [one.row_id for one in (*first, *second)] == numbers[::-1]
    assert [one.selection.type for one in first] == ["organization.created", "*"]
    assert {one.finished_ms for one in first} == {None}
