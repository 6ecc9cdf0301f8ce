"""Floors set beside workers on PostgreSQL; on SQLite there is one writer."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hookline.receiver.mirror import apply
from hookline.receiver.resources import observe_absent
from hookline.rules.merge import floor_clock
from hookline.storage import Connection

from .company import Company, Desk, wait_for
from .test_reads import USERS, Reader, at

RUNS_ON = ("postgres",)


def test_nothing_slips_past_a_floor_that_is_being_set(desk: Desk, company: Company) -> None:
    """An old event that is being applied when the floor is set: the floor waits for its commit and then finds the user.
    One that comes while the floor is being set waits for that, and makes nothing.
    """
    reader = Reader(desk)
    desk.worker.register()
    desk.put(company.user("created"))
    answers: list[bool] = []

    def meanwhile(hold: Callable[[Connection], object], work: Callable[[], object]) -> None:
        """`work` on a thread of its own while `hold` is open in a transaction; it is seen to wait."""
        thread = threading.Thread(target=work)
        with desk.database.transaction() as connection:
            hold(connection)
            thread.start()
            wait_for(lambda: desk.one("select count(*) from pg_locks where not granted") > 0)
        thread.join()

    def apply_one(connection: Connection) -> None:
        now_ms = desk.clock.now_ms()
        apply(reader.store, connection, reader.store.claim(connection, now_ms, 1), now_ms)

    meanwhile(apply_one, lambda: answers.append(reader.set_floor(USERS, at(60))))
    assert answers == [False]
    assert desk.rows("select * from hookline_floors") == []

    reader.see(observe_absent("directory_user", "user_1", at(61)))
    desk.put(company.user("created", "user_2"))
    meanwhile(
        lambda connection: answers.append(reader.store.set_floor(connection, "default", USERS, floor_clock(at(60)))),
        desk.worker.drain,
    )
    assert answers == [False, True]
    assert desk.one("select count(*) from hookline_directory_users") == 2
    assert desk.ids("directory_users") == []
