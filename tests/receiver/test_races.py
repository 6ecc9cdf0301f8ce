"""2,000 ends of access against the events below them on four workers, and what must hold of each kind of lateness."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hookline.receiver.store import InboxStore
from hookline.receiver.work import Access, Worker
from hookline.rules.schedule import Backoff
from hookline.storage import connect
from tests.model.races import App, Result, draw, entries_of, judge, prepare, race_by_processes, race_by_turns

from .company import Company, Desk, Event, wait_for

RACES = 2_000


# 2,000 races take half a minute, on a busy machine more.
@pytest.mark.timeout(240)
def test_no_race_leaves_access_on(tmp_path: Path) -> None:
    """Access, seats, views and the pure rules agree; every flip is told once and in order; nobody has access who was
    last heard of before an end of it, and no row comes of a removal.
    """
    result = race_by_turns(tmp_path / "app.db", seed="races", count=RACES)

    assert result.wrong == []
    assert result.races == RACES
    assert min(result.on, result.retries, result.lapsed) > 50, "without any on, retried or lapsed it proves nothing"


def test_no_race_of_real_workers_on_threads_leaves_access_on(database_url: str) -> None:
    """Four workers on threads of their own, while the events still come in."""
    rng, result = random.Random("threads"), Result()
    races = [draw(rng, number) for number in range(60)]
    now_ms = int(time.time() * 1_000)
    came = entries_of(races, rng, now_ms)
    stop = threading.Event()
    with contextlib.closing(connect(database_url)) as database:
        prepare(database)
        app = App(fails_every=29)
        backoff = Backoff(first_s=0.05, factor=1, cap_s=0.05, tries=50)
        workers = [Worker(Access(database), app.registry, backoff=backoff) for _ in range(4)]
        workers[0].register()
        threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
        for thread in threads:
            thread.start()
        try:
            inbox = InboxStore(database.dialect)
            for at in range(0, len(came), 40):
                with database.transaction() as connection:
                    inbox.put(connection, came[at : at + 40])
                database.notify("inbox")

            def is_done() -> bool:
                with database.read() as connection:
                    ((count,),) = connection.execute(
                        "select (select count(*) from hookline_inbox_queue) + (select count(*) from"
                        " hookline_cascades) + count(*) from hookline_runs where state in ('pending', 'running')"
                    ).fetchall()
                return not count

            wait_for(is_done)
        finally:
            stop.set()
            for worker in workers:
                worker.wake.set()
            for thread in threads:
                thread.join()
        judge(database, races, result)

    assert result.wrong == []
    assert len(app.failed) > 2


def test_no_race_of_four_processes_on_postgresql_leaves_access_on(postgres_url: str) -> None:
    """Real workers, each with connections, threads and handlers of its own; `make soak` runs thousands."""
    result = race_by_processes(postgres_url, seed="processes", count=40)

    assert result.wrong == []
    assert result.races == 40
    assert result.retries > 0
    assert result.on > 5


# Each: what comes, in order of arrival, made by the source in another; who may log in at the end; who has a row.
Story = Callable[[Company], list[Event]]


def made(company: Company, *calls: tuple[str, str], arrive: tuple[int, ...] | None = None) -> list[Event]:
    """Events made in this order, in the order of arrival `arrive`."""
    events = [getattr(company, noun)(word) for noun, word in calls]
    return [events[place] for place in (arrive or range(len(events)))]


def deactivated(company: Company) -> list[Event]:
    created, stale = company.user("created"), company.user("updated", first_name="Old")
    return [created, company.user("updated", state="inactive"), stale]


def one_instant(company: Company) -> list[Event]:
    deleted, updated = company.directory("deleted"), company.user("updated")
    return [updated, {**deleted, "created_at": updated["created_at"]}]


def one_instant_of_a_user(company: Company) -> list[Event]:
    updated, deleted = company.user("updated"), company.user("deleted")
    return [deleted, {**updated, "created_at": deleted["created_at"]}]


def removed_before_added(company: Company) -> list[Event]:
    user, added, removed = company.user("created"), company.member("added"), company.member("removed")
    return [removed, user, added]


def moved(company: Company) -> list[Event]:
    old = company.user("created")
    new = company.user("updated", directory_id="dir_2")
    return [new, old, company.directory("deleted", "dir_2")]


STORIES: dict[str, tuple[str, Story, bool, int]] = {
    "late created": (
        "A created that comes after the deletion raises nobody.",
        lambda c: made(c, ("user", "created"), ("user", "deleted"), arrive=(1, 0)),
        False,
        1,
    ),
    "late updated": (
        "An update that comes after the deletion raises nobody.",
        lambda c: made(c, ("user", "created"), ("user", "updated"), ("user", "deleted"), arrive=(0, 2, 1)),
        False,
        1,
    ),
    "added after the user's deletion": (
        "Being added, before or after it by the clock, is no life after a deletion.",
        lambda c: (
            made(c, ("user", "created"), ("member", "added"), ("user", "deleted"), arrive=(0, 2, 1))
            + made(c, ("member", "added"))
        ),
        False,
        1,
    ),
    "added after the group's deletion": (
        "A late add to a deleted group seats nobody; who may log in does not hang on a group.",
        lambda c: made(c, ("user", "created"), ("member", "added"), ("group", "deleted"), arrive=(0, 2, 1)),
        True,
        1,
    ),
    "added after the directory's deletion": (
        "A late add after the directory's deletion lets nobody in.",
        lambda c: made(c, ("user", "created"), ("member", "added"), ("directory", "deleted"), arrive=(2, 0, 1)),
        False,
        1,
    ),
    "remove before add": (
        "A removal that overtakes its add leaves no membership, and the user as they were.",
        removed_before_added,
        True,
        1,
    ),
    "removed while unknown": (
        "A removal of somebody unknown makes no user.",
        lambda c: made(c, ("member", "removed")),
        False,
        0,
    ),
    "deactivation": (
        "An inactive user has no access, and a stale active update gives none back.",
        deactivated,
        False,
        1,
    ),
    "recreated": (
        "A user who is created anew after the deletion has access, whichever comes first.",
        lambda c: made(c, ("user", "created"), ("user", "deleted"), ("user", "created"), arrive=(2, 0, 1)),
        True,
        1,
    ),
    "one instant of parent and child": (
        "A directory deleted in the very instant of a user's update takes the user along, whichever id is larger.",
        one_instant,
        False,
        1,
    ),
    "one instant of a user": (
        "A deletion in the very instant of an update, with the larger id, wins.",
        lambda c: [
            {**event, "created_at": "2026-09-21T14:00:00.000Z"}
            for event in made(c, ("user", "updated"), ("user", "deleted"), arrive=(1, 0))
        ],
        False,
        1,
    ),
    "directory deleted first": (
        "Users who are first heard of after their directory's deletion, older than it, never have access.",
        lambda c: made(c, ("user", "created"), ("user", "updated"), ("directory", "deleted"), arrive=(2, 1, 0)),
        False,
        1,
    ),
    "organization deleted": (
        "The organization's deletion ends the access of everybody below, late words or not.",
        lambda c: made(
            c,
            ("user", "created"),
            ("directory", "activated"),
            ("user", "updated"),
            ("organization", "deleted"),
            arrive=(0, 3, 2, 1),
        ),
        False,
        1,
    ),
    "moved": (
        "Who has moved ends with the directory they are in, not with the one a late event names.",
        moved,
        False,
        1,
    ),
}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("is_one_by_one", [True, False], ids=["one by one", "one batch"])
@pytest.mark.parametrize("fails", [0, 1], ids=["", "every handler fails once"])
def test_access_is_as_it_should_be(desk: Desk, company: Company, story: str, is_one_by_one: bool, fails: int) -> None:
    """What each story's sentence says holds in the app's own table, in the view and in the rows there are."""
    sentence, events, is_on, rows = STORIES[story]
    app = App(fails_every=fails)
    prepare(desk.database)
    worker = desk.new_worker(app.registry)
    worker.register()
    for part in [[event] for event in events(company)] if is_one_by_one else [events(company)]:
        desk.put(*part)
        worker.drain()
    for _ in range(5):  # what failed is tried again
        desk.clock.advance(600_000)
        worker.drain()

    access = {id_ for (id_,) in desk.rows("select id from access where is_on = 1")}
    shown = {id_ for (id_,) in desk.rows("select id from hookline_directory_users_live where is_active = 1")}
    assert access == shown == ({"user_1"} if is_on else set()), sentence
    assert desk.one("select count(*) from hookline_directory_users") == rows, sentence
    seats = desk.rows("select id from seats where is_on = 1")
    assert seats == [(f"{group}/{user}",) for group, user in desk.members()] == [], sentence
    assert desk.one("select count(*) from hookline_runs where state <> 'succeeded'") == 0
