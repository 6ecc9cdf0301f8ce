"""Retention: what goes when, what stays however old, and that nothing is taken twice or applied from what is left."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hookline import Receiver
from hookline.errors import ConfigError
from hookline.receiver import retention as module
from hookline.receiver.handlers import Change
from hookline.receiver.queries import InboxQueries
from hookline.receiver.replay import Replay, Selection
from hookline.receiver.retention import DAY_S, FAILURES_S, Pruned, Pruner, Retention
from hookline.receiver.why import touches_of
from hookline.receiver.work import Worker
from hookline.rules.redaction import REDACTED
from hookline.storage import Verbs
from hookline.testing.signed import signed_request
from hookline.wire.event import Event

from ..conftest import DATABASES
from .company import Company, Desk

RUNS_ON = DATABASES
KEPT = Retention()


def pruning(desk: Desk, kept: Retention = KEPT, source: str = "default", **settings: Any) -> Worker:
    verbs = Verbs("hookline.receiver", desk.database.dialect)
    return desk.new_worker(pruners=[Pruner(verbs, source, kept)], **settings)


def after_days(desk: Desk, days: float) -> None:
    desk.clock.advance(round(days * DAY_S * 1000))


def bodies(desk: Desk) -> dict[str, Any]:
    """By event: the body, or None."""
    found = desk.rows("select event_id, body from hookline_inbox order by seq")
    return {event_id: None if body is None else json.loads(bytes(body)) for event_id, body in found}


def count(desk: Desk, table: str) -> int:
    return int(desk.one(f"select count(*) from hookline_{table}"))


@pytest.mark.parametrize(
    ("days", "kept"),
    [(29.9, "body"), (30, "redacted"), (89.9, "redacted"), (90, "id"), (399.9, "id"), (400, "nothing")],
)
def test_less_is_kept_with_time(days: float, kept: str) -> None:
    age_s = days * DAY_S
    assert KEPT.kept(age_s, is_needed=False, is_failure=False) == kept
    assert KEPT.kept(age_s, is_needed=True, is_failure=False) == "body"
    whole = days < FAILURES_S / DAY_S
    assert KEPT.kept(age_s, is_needed=False, is_failure=True) == ("body" if whole else kept)


@pytest.mark.parametrize(
    "ages",
    [{"bodies_s": 0}, {"bodies_s": 91 * DAY_S}, {"redacted_s": 401 * DAY_S}, {"ids_s": 99 * DAY_S}, {"bodies_s": -1}],
)
def test_times_that_do_not_grow_are_refused(ages: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="retention"):
        Retention(**ages)


def test_the_tiers_one_after_another(desk: Desk, company: Company) -> None:
    user = company.user("created")
    worker = pruning(desk)
    worker.register()
    desk.put(user)
    worker.drain()
    after_days(desk, 29)
    worker.drain()
    assert bodies(desk) == {user["id"]: user}

    after_days(desk, 1)
    worker.drain()
    (left,) = bodies(desk).values()
    assert left["id"] == user["id"]
    assert left["data"] == user["data"] | {
        "email": REDACTED, "first_name": REDACTED, "last_name": REDACTED, "idp_id": REDACTED,
    }  # fmt: skip
    assert desk.one("select redacted from hookline_inbox") == "people"
    assert desk.one("select first_name from hookline_directory_users_live") == "Ada"

    after_days(desk, 60)
    worker.drain()
    assert bodies(desk) == {user["id"]: None}

    after_days(desk, 310)
    worker.drain()
    assert (count(desk, "inbox"), count(desk, "inbox_outcomes")) == (0, 0)
    assert desk.one("select first_name from hookline_directory_users_live") == "Ada"
    assert desk.changes("directory_user") == [("created", "user_1")]


def test_an_event_that_comes_again_is_known_until_its_id_goes(desk: Desk, company: Company) -> None:
    user = company.user("created")
    worker = pruning(desk)
    worker.register()
    desk.put(user)
    worker.drain()
    for days in (0, 30, 60, 309):
        after_days(desk, days)
        worker.drain()
        assert desk.put(user) == []
    assert desk.changes() == [("created", "user_1")]


def test_what_waits_and_what_failed_stays_whole(desk: Desk, company: Company) -> None:
    broken: list[bool] = [True]

    @desk.hooks.on("dsync.user.created")
    def welcome(event: Event, tx: object) -> None:
        if broken[0]:
            raise RuntimeError("not today")

    @desk.hooks.on("dsync.group.created", name="absent")
    def paused(event: Event, tx: object) -> None: ...

    worker = pruning(desk, pause_after=None)
    worker.register()
    worker.pause("absent", "by hand")
    failed, waiting, plain = company.user("created"), company.group("created"), company.directory("activated")
    dead = json.dumps({"id": "event_dead", "event": 7, "data": {}}).encode()
    desk.put(failed, waiting, plain)
    (dead_seq,) = desk.put(dead, reason="not_event")
    for _ in range(30):
        worker.drain()
        desk.clock.advance(6 * 3_600_000)
    assert desk.one("select count(*) from hookline_runs where state = 'failed'") == 1

    after_days(desk, 80)
    worker.drain()
    after_days(desk, 40)
    worker.drain()
    kept = bodies(desk)
    assert (kept[failed["id"]], kept[waiting["id"]], kept[plain["id"]]) == (failed, waiting, None)
    assert desk.one("select body is not null from hookline_inbox where seq = ?", dead_seq)

    after_days(desk, 70)
    worker.drain()
    assert bodies(desk)[failed["id"]] is None
    assert not desk.one("select body is not null from hookline_inbox where seq = ?", dead_seq)

    after_days(desk, 300)
    worker.drain()
    assert bodies(desk) == {waiting["id"]: waiting}
    broken[0] = False
    worker.resume("absent")
    worker.drain()
    assert desk.one("select state from hookline_runs where handler = 'absent'") == "succeeded"


def replay(desk: Desk, worker: Worker, **how: Any) -> Replay:
    number = worker.start_replay("default", Selection(type="*"), **how)
    done = worker.step_replay(number)
    while done.finished_ms is None:
        done = worker.step_replay(number)
    worker.drain()
    return done


def test_what_is_left_of_a_body_is_never_applied_nor_handed_out(desk: Desk, company: Company) -> None:
    told: list[str] = []

    @desk.hooks.on("*")
    def hear(event: Event, tx: object) -> None:
        told.append(event.data["email"])

    @desk.hooks.on_change("directory_user")
    def sync(change: Change, tx: object) -> None:
        assert change.after is not None
        told.append(change.after["email"])

    worker = pruning(desk)
    worker.register()
    old, new = company.user("created", "user_1"), company.user("created", "user_2")
    desk.put(old)
    worker.drain()
    after_days(desk, 31)
    desk.put(new)
    worker.drain()
    told.clear()
    # Whatever the mirror lost, a redacted body must not fill it.
    desk.write("delete from hookline_directory_users where id = 'user_1'")

    done = replay(desk, worker, mode="all")

    assert (done.entries, done.failed, done.gone) == (1, 1, 1)
    assert sorted(told) == ["user_1@acme.example", "user_2@acme.example", "user_2@acme.example"]
    assert desk.ids("directory_users") == ["user_2"]
    assert REDACTED not in str(desk.rows("select * from hookline_directory_users"))
    assert not worker.retry_entry("default", old["id"])


def test_what_is_left_still_tells_what_happened_to_which_object(desk: Desk, company: Company) -> None:
    worker = pruning(desk)
    worker.register()
    events = [company.user("created"), company.group("created"), company.member("added"), company.user("updated")]
    desk.put(*events)
    worker.drain()
    verbs = Verbs("hookline.receiver", desk.database.dialect)

    def told() -> list[Any]:
        """But for the objects' states in them: of those people are taken out."""
        with desk.database.read() as connection:
            touches = list(touches_of(verbs, connection, "user_1"))
        return [(resource, replace(one, payload=one.payload and one.payload["id"])) for resource, one in touches]

    before = told()
    after_days(desk, 31)
    worker.drain()
    assert told() == before
    assert len(before) == 3
    with desk.database.read() as connection:
        entry = InboxQueries(verbs).entry(connection, events[0]["id"])
    assert entry is not None
    assert (entry.has_body, entry.redacted) == (True, "people")


def test_of_the_change_feed_stays_what_held_when_the_time_began(desk: Desk, company: Company) -> None:
    heard: list[int] = []

    @desk.hooks.on_change("directory_user")
    def sync(change: Change, tx: object) -> None:
        heard.append(change.seq)

    worker = pruning(desk)
    worker.register()
    for number in range(4):
        desk.put(
            company.user("updated", "user_1", first_name=f"Ada {number}"),
            company.user("updated", "user_2", first_name=f"Bo {number}") if number == 0 else company.group("updated"),
        )
        worker.drain()
        after_days(desk, 50)
    worker.drain()
    # 200, 150, 100 and 50 days old: the newest of those older than 90 days, and what is younger.
    left = desk.rows("select after from hookline_changes where resource = 'directory_user' order by seq")
    assert [json.loads(after)["first_name"] for (after,) in left] == ["Bo 0", "Ada 2", "Ada 3"]
    assert count(desk, "runs") == 3
    assert len(heard) == 5


def test_a_change_that_a_handler_has_yet_to_hear_of_stays(desk: Desk, company: Company) -> None:
    heard: list[Any] = []

    @desk.hooks.on_change("directory_user", name="absent")
    def sync(change: Change, tx: object) -> None:
        heard.append(change.after and change.after["first_name"])

    worker = pruning(desk)
    worker.register()
    worker.pause("absent", "by hand")
    desk.put(company.user("created", first_name="Ada"))
    worker.drain()
    desk.put(company.user("updated", first_name="Grace"))
    worker.drain()
    after_days(desk, 300)
    worker.drain()
    worker.resume("absent")
    worker.drain()
    assert heard == ["Ada", "Grace"]


def test_refusals_and_finished_replays_go(desk: Desk, company: Company) -> None:
    worker = pruning(desk)
    worker.register()
    desk.put(company.user("created"))
    worker.drain()
    replay(desk, worker)
    minute_ms = desk.clock.now_ms() // 60_000 * 60_000
    desk.write("insert into hookline_rejections values ('default', 'mismatch', ?, 1, 'x')", minute_ms)
    after_days(desk, 89)
    worker.drain()
    assert (count(desk, "replays"), count(desk, "rejections")) == (1, 1)
    after_days(desk, 2)
    worker.drain()
    assert (count(desk, "replays"), count(desk, "rejections")) == (0, 0)


def test_other_sources_are_left_alone(desk: Desk, company: Company) -> None:
    mine, theirs = company.user("created", "user_1"), company.user("created", "user_2")
    worker = pruning(desk)
    worker.register()
    desk.put(mine)
    desk.put(theirs, source="other")
    worker.drain()
    after_days(desk, 500)
    worker.drain()
    assert bodies(desk) == {theirs["id"]: theirs}
    other = pruning(desk, Retention(bodies_s=DAY_S, redacted_s=2 * DAY_S, ids_s=1000 * DAY_S), source="other")
    assert other.prune() == Pruned(emptied=1)
    assert bodies(desk) == {theirs["id"]: None}


def test_it_goes_in_parts_and_goes_on_where_it_was(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENTRIES_AT_ONCE", 4)
    monkeypatch.setattr(module, "BYTES_AT_ONCE", 1_000)
    events = [company.user("created", f"user_{number}") for number in range(11)]
    worker = pruning(desk)
    worker.register()
    desk.put(*events)
    worker.drain()
    after_days(desk, 31)
    verbs = Verbs("hookline.receiver", desk.database.dialect)
    parts: list[Pruned] = []
    while True:
        # Each part by another process: what one did is there for the next.
        with desk.database.transaction() as connection:
            part = Pruner(verbs, "default", KEPT).step(connection, desk.clock.now_ms())
        if part is None:
            break
        parts.append(part)
    cut = [part.cut for part in parts if part.cut]
    assert sum(cut) == 11
    assert max(cut) <= 2
    assert all(body["data"]["email"] == REDACTED for body in bodies(desk).values())
    assert worker.prune() == Pruned()


def test_a_clock_that_stood_ahead_costs_an_hour_or_two_of_it(desk: Desk, company: Company) -> None:
    worker = pruning(desk)
    worker.register()
    user = company.user("created")
    desk.put(user)
    worker.drain()
    desk.write("update hookline_retention set due_ms = due_ms + ?", 4_000 * DAY_S * 1000)
    after_days(desk, 31)
    worker.drain()
    assert bodies(desk)[user["id"]]["data"]["email"] == REDACTED


def test_without_retention_all_stays(desk: Desk, company: Company) -> None:
    user = company.user("created")
    desk.take(user)
    after_days(desk, 5_000)
    desk.worker.drain()
    assert bodies(desk) == {user["id"]: user}
    assert desk.worker.prune() == Pruned()


# -- the whole receiver ------------------------------------------------------------------------------------------

SECRET = "whsec_for_retention_tests"


def post(receiver: Receiver, event: dict[str, Any], now_ms: int) -> int:
    request = signed_request(json.dumps(event).encode(), SECRET, timestamp_ms=now_ms)
    status, _, _ = receiver.receive("POST", "/webhooks", request.headers, request.body, None)
    return status


def test_a_code_is_in_no_table_and_its_repeat_is_known(desk: Desk, company: Company) -> None:
    heard: list[Any] = []
    receiver = Receiver(desk.url, secrets=[SECRET], clock=desk.clock, redact={"invoice.*": ["card.number"]})

    @receiver.on("*")
    def hear(event: Event, tx: object) -> None:
        heard.append(event.data)

    data = {"id": "magic_auth_1", "object": "magic_auth", "email": "ada@acme.example", "code": "471147"}
    events = [
        company.event("magic_auth.created", data),
        company.event("invoice.paid", {"card": {"number": "4000123412341234", "brand": "x"}}),
        company.event("invoice.paid", {"note": "471147 is not cut here"}),
    ]
    with receiver:
        receiver.worker().register()
        for event in (*events, events[0]):
            assert post(receiver, event, desk.clock.now_ms()) == 200
        receiver.drain()
    assert [one.get("code") for one in heard] == [REDACTED, None, None]
    assert heard[1]["card"] == {"number": REDACTED, "brand": "x"}
    assert desk.rows("select redacted from hookline_inbox order by seq") == [("secrets",), ("secrets",), (None,)]
    assert desk.rows("select kind, times from hookline_inbox_repeats") == [("duplicate", 1)]
    tables = [name for (name,) in desk.rows(_TABLES[desk.database.dialect])]
    assert "hookline_changes" in tables
    for table in tables:
        for row in desk.rows(f"select * from {table}"):
            held = " ".join(
                bytes(one).decode("latin-1") if isinstance(one, bytes | memoryview) else str(one) for one in row
            )
            assert "4000123412341234" not in held
            assert "471147" not in held.replace("471147 is not cut here", "")


_TABLES = {
    "sqlite": "select name from sqlite_master where type = 'table' and name like 'hookline_%'",
    "postgres": "select tablename from pg_tables where schemaname = current_schema() and tablename like 'hookline_%'",
}


def test_it_can_be_told_to_cut_nothing(desk: Desk, company: Company) -> None:
    event = company.event("magic_auth.created", {"code": "471147"})
    with Receiver(desk.url, secrets=[SECRET], clock=desk.clock, redact=None) as receiver:
        assert post(receiver, event, desk.clock.now_ms()) == 200
    assert bodies(desk) == {event["id"]: event}


def test_a_receiver_keeps_by_default_for_a_while_and_for_ever_where_told(desk: Desk, company: Company) -> None:
    user = company.user("created")
    for kept, is_whole in ((None, True), (Retention(), False)):
        with Receiver(desk.url, secrets=[SECRET], clock=desk.clock, retention=kept) as receiver:
            post(receiver, user, desk.clock.now_ms())
            receiver.drain()
            after_days(desk, 31)
            receiver.drain()
        assert (bodies(desk)[user["id"]] == user) is is_whole


@pytest.mark.parametrize("redact", [{"a*": ["b"]}, {"a": "b"}, {"a": [""]}])
def test_places_that_are_none_are_refused(redact: Any) -> None:
    with pytest.raises(ConfigError, match="redact"):
        Receiver("sqlite:///x.db", secrets=[SECRET], redact=redact)
