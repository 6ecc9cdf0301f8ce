"""The whole demo, small: real sockets, real databases, real time; its figures against the databases it leaves."""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hookline.demo.compare import differences
from hookline.demo.ends import SenderEnd
from hookline.demo.look import look_at
from hookline.demo.run import Demo, Options
from hookline.demo.view import Report, Snapshot
from hookline.demo.wire import CALM, Habits
from hookline.errors import ConfigError

# As bad as the demo's own wire, in a tenth of the time.
BAD = Habits(
    delayed=0.2,
    overtaken=0.2,
    doubled=0.2,
    forged=0.2,
    reset_before=0.05,
    reset_after=0.05,
    delay_s=(0.01, 0.1),
    hold_most_s=0.2,
    flap_s=0.05,
    outage_every_s=(0.3, 0.5),
    outage_s=(0.2, 0.4),
)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Refusals are logged as they should be, hundreds of them."""
    with caplog.at_level(logging.ERROR, "hookline"):
        yield


def run(options: Options, moments: list[Snapshot] | None = None) -> tuple[Demo, Report]:
    shown: list[Snapshot] = [] if moments is None else moments

    async def whole() -> tuple[Demo, Report]:
        demo = Demo(options, show=shown.append, every_s=0.1)
        return demo, await demo.run()

    return asyncio.run(whole())


def count(file: Path, statement: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute(statement).fetchone()[0])


def test_a_bad_wire_leaves_the_mirror_equal_to_the_source(tmp_path: Path) -> None:
    """Everything published arrives and is applied, forgeries are refused, and handlers ran once each."""
    moments: list[Snapshot] = []

    _, report = run(Options(duration_s=2, rate=80, seed=7, folder=tmp_path, habits=BAD), moments)

    assert report.differences == []
    assert report.is_good
    assert report.compared > 20
    assert report.sender.published == report.sender.delivered == report.receiver.accepted >= 160
    assert report.wire.outages >= 1
    assert report.wire.doubled > 0
    assert report.sender.attempts > report.sender.delivered
    assert report.receiver.duplicates > 0
    assert report.forged_refused == report.wire.forged > 0
    assert {moment.phase for moment in moments} == {"publishing", "draining", "comparing"}


def test_its_figures_are_what_the_databases_say(tmp_path: Path) -> None:
    """A stranger who opens both files counts the same."""
    _, report = run(Options(duration_s=0.5, rate=60, seed=1, folder=tmp_path, habits=BAD))
    told, sender, receiver = report.as_json(), tmp_path / "sender.db", tmp_path / "receiver.db"

    assert told["published"] == count(sender, "select count(*) from hookline_sender_events")
    assert told["attempts"] == count(sender, "select count(*) from hookline_sender_attempts")
    delivered = "select count(*) from hookline_sender_deliveries where state = 'succeeded'"
    assert told["delivered"] == count(sender, delivered)
    applied = "select count(*) from hookline_inbox_outcomes where outcome = 'applied'"
    assert told["applied"] == count(receiver, applied)
    repeats = "select coalesce(sum(times), 0) from hookline_inbox_repeats where kind = 'duplicate'"
    assert told["duplicates_ignored"] == count(receiver, repeats)
    refused = "select coalesce(sum(times), 0) from hookline_rejections"
    assert told["forged_refused"] == count(receiver, refused)


def test_a_mirror_that_lost_a_row_or_a_column_is_found_out(tmp_path: Path) -> None:
    """The comparison reads the live views: whatever is changed there is a difference, and is named."""
    demo, report = run(Options(duration_s=0.3, rate=100, seed=2, folder=tmp_path, habits=CALM))
    truth = demo.truth()
    users, memberships = sorted(truth.objects["directory_user"]), sorted(truth.memberships)
    group_id, user_id, _ = memberships[0]
    with closing(sqlite3.connect(tmp_path / "receiver.db")) as writing, writing:
        writing.execute("update hookline_directory_users set email = 'x' where id = ?", (users[0],))
        writing.execute("delete from hookline_directory_users where id = ?", (users[-1],))
        edge = "delete from hookline_directory_memberships where group_id = ? and user_id = ?"
        writing.execute(edge, (group_id, user_id))
    with look_at(f"sqlite:///{tmp_path / 'receiver.db'}") as mirror:
        found = [str(one) for one in differences(truth, mirror)]

    assert report.differences == []
    assert any(one.startswith(f"directory_user {users[0]} email: source ") for one in found)
    assert f"directory_user {users[-1]}: missing in the mirror" in found
    assert f"directory_membership {group_id}/{user_id}: missing in the mirror" in found


def test_what_the_mirror_has_too_much_is_found_out(tmp_path: Path) -> None:
    """A row the source does not have is a difference as well."""
    demo, _ = run(Options(duration_s=0.2, rate=100, seed=3, folder=tmp_path, habits=CALM))
    truth = demo.truth()
    (gone, *_), kept = sorted(truth.objects["directory_group"]), dict(truth.objects["directory_group"])
    del kept[gone]
    less = replace(truth, objects={**truth.objects, "directory_group": kept}, memberships=frozenset())
    with look_at(f"sqlite:///{tmp_path / 'receiver.db'}") as mirror:
        found = [str(one) for one in differences(less, mirror)]

    assert f"directory_group {gone}: extra in the mirror" in found
    assert len(found) == 1 + len(truth.memberships)


def test_stopping_ends_publishing_and_still_drains(tmp_path: Path) -> None:
    """Without a duration it publishes until told to stop, and what was published arrives."""

    async def whole() -> Report:
        demo = Demo(
            Options(duration_s=None, rate=50, seed=4, folder=tmp_path, habits=BAD),
            show=lambda moment: demo.stop() if moment.sender.published > 20 else None,
            every_s=0.05,
        )
        report = await demo.run()
        assert not demo.is_publishing
        return report

    report = asyncio.run(whole())

    assert report.is_good
    assert report.sender.published > 20


def test_giving_up_stops_both_ends(tmp_path: Path) -> None:
    """Cancelled in the middle it leaves no thread and no open port behind."""
    before = set(threading.enumerate())

    async def whole() -> None:
        begun = asyncio.Event()
        demo = Demo(
            Options(duration_s=None, rate=50, seed=5, folder=tmp_path, habits=BAD),
            show=lambda moment: begun.set() if moment.sender.published > 5 else None,
            every_s=0.05,
        )
        running = asyncio.create_task(demo.run())
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(whole())

    assert set(threading.enumerate()) <= before


def test_giving_up_while_an_end_starts_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while a thread still brings the sender up, it waits, and takes it down again."""
    before = set(threading.enumerate())
    starting, given_up = threading.Event(), threading.Event()
    enter = SenderEnd.__enter__
    ends: list[SenderEnd] = []

    def slowly(end: SenderEnd) -> SenderEnd:
        ends.append(end)
        starting.set()
        given_up.wait(10)
        return enter(end)

    monkeypatch.setattr(SenderEnd, "__enter__", slowly)

    async def whole() -> None:
        demo = Demo(Options(duration_s=1, rate=1, seed=5, folder=tmp_path), show=lambda _: None, every_s=1)
        running = asyncio.create_task(demo.run())
        await asyncio.to_thread(starting.wait)
        running.cancel()
        asyncio.get_running_loop().call_soon(given_up.set)
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(whole())

    assert {thread.name for thread in set(threading.enumerate()) - before} == set()
    with socket.socket() as knocking:
        assert knocking.connect_ex(("127.0.0.1", int(ends[0].base_url.rpartition(":")[2]))) != 0


def test_that_it_drains_is_shown_however_seldom_it_looks(tmp_path: Path) -> None:
    """What drains may be over before the next look at a slow machine."""
    phases: list[str] = []

    async def whole() -> None:
        options = Options(duration_s=0.2, rate=20, seed=1, folder=tmp_path, habits=CALM)
        await Demo(options, show=lambda moment: phases.append(moment.phase), every_s=60).run()

    asyncio.run(whole())

    assert "draining" in phases
    assert phases[-1] == "comparing"


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    """`--port` is named by the error, and no file was made."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="--port"):
        run(Options(duration_s=1, rate=1, seed=1, folder=tmp_path, port=taken.getsockname()[1]))

    assert list(tmp_path.iterdir()) == []
