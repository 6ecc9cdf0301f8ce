"""Two workers on one PostgreSQL that meet at what is not there yet: one is held in the middle of its transaction, the
other is seen to wait for it, and what comes of both is what one worker would have made.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline.receiver.handlers import Change
from hookline.receiver.mirror import apply
from hookline.receiver.mirror_store import MirrorStore
from hookline.storage import Verbs

from .company import Company, Desk, Event, wait_for

RUNS_ON = ("postgres",)


@contextlib.contextmanager
def held(desk: Desk) -> Iterator[None]:
    """The oldest entry applied in a transaction that stays open for the block, and commits after it."""
    store = MirrorStore(Verbs("hookline.receiver", desk.database.dialect))
    with desk.database.transaction() as connection:
        entries = store.claim(connection, desk.clock.now_ms(), 1)
        assert len(entries) == 1
        apply(store, connection, entries, desk.clock.now_ms())
        yield


def race(desk: Desk, first: Event, second: Event) -> None:
    """`first` is being applied while a worker of its own takes `second`, and has to wait; then all that follows."""
    worker = desk.new_worker()
    worker.register()
    desk.put(first)
    desk.clock.advance(1)
    desk.put(second)
    thread = threading.Thread(target=worker.drain)
    with held(desk):
        thread.start()
        wait_for(lambda: desk.one("select count(*) from pg_locks where not granted") > 0)
    thread.join()
    worker.drain()


Pair = Callable[[Company], tuple[Event, Event]]
BOTH_NEW: dict[str, Pair] = {
    "a user, told of twice": lambda c: (c.user("created"), c.user("updated", first_name="Grace")),
    "a membership, added and removed": lambda c: (c.member("added"), c.member("removed")),
    "a group and one who joins it": lambda c: (c.group("created"), c.member("added")),
}
TABLES = ("directory_users", "directory_groups", "directory_memberships")


@pytest.mark.parametrize("case", BOTH_NEW)
@pytest.mark.parametrize("is_turned", [False, True], ids=["", "the other first"])
def test_two_first_inserts_are_one(desk: Desk, company: Company, case: str, is_turned: bool, tmp_path: Path) -> None:
    """Both workers find nothing there; the second waits, meets the row of the first and joins it. The rows are those
    that one worker leaves on SQLite.
    """
    events = BOTH_NEW[case](company)
    race(desk, *(events[::-1] if is_turned else events))

    with contextlib.closing(Desk(tmp_path / "alone.db")) as alone:
        alone.take(*events)
        for table in TABLES:
            sql = f"select * from hookline_{table} order by 1, 2, 3"
            assert desk.rows(sql) == alone.rows(sql)
    assert desk.one("select count(*) from hookline_inbox_queue") == 0
    assert "dead" not in desk.outcomes()


ENDS: dict[str, tuple[str, Pair]] = {
    "a user and the deletion of their directory": (
        "directory_users",
        lambda c: (c.user("created"), c.directory("deleted")),
    ),
    "a member and the deletion of the group": (
        "directory_memberships",
        lambda c: (c.member("added"), c.group("deleted")),
    ),
    "a member and the deletion of the user": (
        "directory_memberships",
        lambda c: (c.member("added"), c.user("deleted")),
    ),
    "a directory and the deletion of its organization": (
        "directories",
        lambda c: (c.directory("activated"), c.organization("deleted")),
    ),
}


@pytest.mark.parametrize("case", ENDS)
@pytest.mark.parametrize("is_turned", [False, True], ids=["the child first", "the end first"])
def test_what_is_added_beside_its_parents_end_does_not_outlive_it(
    desk: Desk, company: Company, case: str, is_turned: bool
) -> None:
    """A parent nobody had heard of dies while its child is being added: whoever is first, the child ends hidden, and
    whoever was told of it is told of its loss.
    """
    table, events = ENDS[case]
    resource = {"directory_users": "directory_user", "directories": "directory"}.get(table, "directory_membership")
    told: dict[str, bool] = {}

    @desk.hooks.on_change(resource)
    def hear(change: Change, tx: Any) -> None:
        told[change.id] = change.is_live

    child, end = events(company)
    race(desk, *((end, child) if is_turned else (child, end)))

    assert desk.one(f"select count(*) from hookline_{table}") == 1
    assert desk.one(f"select count(*) from hookline_{table}_live") == 0
    assert desk.one(f"select count(*) from hookline_{table} where announced_live = 1") == 0
    assert not any(told.values())
    assert bool(told) is not is_turned
    assert desk.one("select count(*) from hookline_cascades") == 0
