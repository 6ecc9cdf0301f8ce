"""Handlers that fail on everything are paused; those that are gone are named and forgotten."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from hookline.errors import HooklineError
from hookline.receiver.handlers import Change, Registry, current_run
from hookline.wire.event import Event

from ..conftest import DATABASES
from .company import Company, Desk, say

RUNS_ON = DATABASES

MINUTE_MS = 60_000


class Poison:
    """A change handler that fails on everything until it is repaired, and remembers what it did."""

    def __init__(self) -> None:
        self.is_broken = True
        self.calls = 0
        self.done: list[tuple[str, str]] = []

    def __call__(self, change: Change, tx: Any) -> None:
        self.calls += 1
        if self.is_broken:
            raise ValueError(change.id)
        self.done.append((change.id, change.kind))


def paused(desk: Desk, name: str = "poison") -> str | None:
    reason: str | None = desk.one("select paused_reason from hookline_handlers where name = ?", name)
    return reason


def states(desk: Desk, name: str = "poison") -> dict[str, int]:
    sql = "select state, count(*) from hookline_runs where handler = ? group by state"
    return dict(desk.rows(sql, name))


def test_a_poison_handler_holds_nobody_up(desk: Desk, company: Company, caplog: pytest.LogCaptureFixture) -> None:
    """On 500 objects: the mirror is whole, the other handler has heard all; the poison one was tried 20 times."""
    poison, heard = Poison(), []
    desk.hooks.on_change("directory_user", name="poison")(poison)
    desk.hooks.on_change("directory_user", name="good")(lambda change, tx: heard.append(change.id))
    ids = [f"user_{number:03d}" for number in range(500)]

    with caplog.at_level(logging.ERROR, "hookline.worker"):
        desk.take(*[company.user("created", id_) for id_ in ids])

    assert (desk.ids("directory_users"), sorted(heard)) == (ids, ids)
    assert desk.one("select count(*) from hookline_inbox_queue") == 0
    assert 20 <= poison.calls <= 20 + 4  # those under way when it was paused
    assert states(desk) == {"pending": 500}
    assert paused(desk) == "failed on 20 different objects in a row, last with ValueError"
    assert len([record for record in caplog.records if "is paused" in record.message]) == 1


@pytest.mark.parametrize("is_poisoned", [True, False], ids=["poisoned", "healthy"])
def test_the_mirrors_lag_is_the_same_beside_a_poison_handler(desk: Desk, company: Company, is_poisoned: bool) -> None:
    """Of 500 entries that wait, each step of a worker applies a hundred, whether a handler fails on them or not."""
    poison = Poison()
    poison.is_broken = is_poisoned
    desk.hooks.on_change("directory_user", name="poison")(poison)
    desk.worker.register()
    desk.put(*[company.user("created", f"user_{number}") for number in range(500)])
    waiting: list[int] = []
    while not waiting or waiting[-1]:
        desk.worker.step()
        waiting.append(desk.one("select count(*) from hookline_inbox_queue"))

    assert waiting == [400, 300, 200, 100, 0]
    assert len(desk.ids("directory_users")) == 500
    assert poison.calls > 0


def test_a_probe_that_succeeds_resumes_in_order(desk: Desk, company: Company) -> None:
    """After a minute one run is tried, after two more the next; when one succeeds all go on, per object in order."""
    poison = Poison()
    desk.hooks.on_change("directory_user", name="poison")(poison)
    ids = [f"user_{number:02d}" for number in range(30)]
    desk.take(*[company.user("created", id_) for id_ in ids])
    desk.take(*[company.user("updated", id_, first_name="Grace") for id_ in ids])
    calls = poison.calls
    desk.clock.advance(MINUTE_MS - 1)
    desk.worker.drain()
    assert poison.calls == calls
    desk.clock.advance(1)
    desk.worker.drain()
    assert (poison.calls, paused(desk) is not None) == (calls + 1, True)
    desk.clock.advance(2 * MINUTE_MS - 1)
    desk.worker.drain()
    assert poison.calls == calls + 1

    poison.is_broken = False
    desk.clock.advance(1)
    desk.worker.drain()
    desk.clock.advance(60 * MINUTE_MS)
    desk.worker.drain()

    assert paused(desk) is None
    assert states(desk) == {"succeeded": 60}
    assert all([kind for id_, kind in poison.done if id_ == one] == ["created", "updated"] for one in ids)


def test_pausing_by_hand_keeps_the_order(desk: Desk, company: Company) -> None:
    """Nothing is tried, however long it takes; after resuming everything comes in the order of the feed."""
    poison = Poison()
    poison.is_broken = False
    desk.hooks.on_change("directory_user", name="poison")(poison)
    desk.worker.register()
    assert desk.worker.pause("poison", "the payroll is down")
    assert not desk.worker.pause("poison", "again")
    desk.take(company.user("created"), company.user("updated", first_name="Grace"), company.user("deleted"))
    desk.clock.advance(100 * MINUTE_MS)
    desk.worker.drain()
    assert poison.done == []

    assert desk.worker.resume("poison")
    assert not desk.worker.resume("poison")
    desk.worker.drain()

    assert [kind for _, kind in poison.done] == ["created", "updated", "deleted"]


def test_a_success_in_between_starts_the_count_anew(desk: Desk, company: Company) -> None:
    """19 failures, a success, 19 failures: not in a row. One object that fails for ever counts once."""
    desk.hooks.on_change("directory_user", name="poison")(poison := Poison())
    desk.take(*[company.user("created", f"user_{number}") for number in range(19)])
    poison.is_broken = False
    desk.take(company.user("created", "good"))
    poison.is_broken = True
    desk.take(*[company.user("created", f"other_{number}") for number in range(19)])

    assert paused(desk) is None


def test_ten_failures_then_one_effect(desk: Desk, company: Company) -> None:
    """Its object's later change waits, everything else proceeds, and in the end there is one effect of each."""
    left = 10

    def handler(change: Change, tx: Any) -> None:
        nonlocal left
        say(tx, "insert into told values (?, ?)", change.id, change.kind)
        if change.id == "user_1" and left:
            left -= 1
            raise ValueError

    with desk.database.transaction() as connection:
        connection.execute("create table told (id text, word text)")
    desk.hooks.on_change("directory_user", name="h")(handler)
    desk.take(company.user("created", "user_1"), company.user("updated", "user_1", first_name="Grace"))
    desk.take(company.user("created", "user_2"))
    assert desk.rows("select * from told") == [("user_2", "created")]

    while desk.one("select count(*) from hookline_runs where state = 'pending'"):
        desk.clock.set(desk.one("select min(due_ms) from hookline_runs where state = 'pending'"))
        desk.worker.drain()

    assert desk.rows("select * from told") == [("user_2", "created"), ("user_1", "created"), ("user_1", "updated")]
    assert desk.rows("select state, attempt from hookline_runs order by row_id") == [
        ("succeeded", 11),
        ("succeeded", 1),
        ("succeeded", 1),
    ]


def test_a_handler_that_is_gone_is_named_and_forgotten(
    desk: Desk, company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker names it at its start; forgetting gives its runs up, and no more are made."""
    desk.hooks.on("*", name="gone")(lambda event, tx: None)
    desk.worker.register()
    desk.put(company.user("created", "user_1"))
    new = desk.new_worker(Registry())
    new.drain()

    with caplog.at_level(logging.WARNING, "hookline.worker"):
        desk.new_worker(Registry()).register()
    assert "gone" in caplog.text

    assert (new.forget("gone"), new.forget("gone")) == (1, None)
    desk.put(company.user("created", "user_2"))
    new.drain()
    assert states(desk, "gone") == {"canceled": 1}


def test_the_key_is_stable_across_attempts(desk: Desk, company: Company) -> None:
    """Every attempt of a run has the same key, also in async handlers; another event has another."""
    seen: list[tuple[str, int, str]] = []

    async def handler(event: Event, tx: Any) -> None:
        run = current_run()
        seen.append((event.data["id"], run.attempt, run.idempotency_key))
        if run.attempt == 1:
            raise ValueError

    desk.hooks.on("*", name="h")(handler)
    desk.take(company.user("created", "user_1"), company.user("created", "user_2"))
    desk.clock.advance(MINUTE_MS)
    desk.worker.drain()

    assert sorted((id_, attempt) for id_, attempt, _ in seen) == [
        ("user_1", 1),
        ("user_1", 2),
        ("user_2", 1),
        ("user_2", 2),
    ]
    assert {len({key for id_, _, key in seen if id_ == one}) for one in ("user_1", "user_2")} == {1}
    assert len({key for *_, key in seen}) == 2
    with pytest.raises(HooklineError, match="inside a handler"):
        current_run()
