"""What a dry run says: every kind of difference with its cause, and nothing that is only on its way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hookline.receiver.drift import DriftItem, DriftStore
from hookline.receiver.heal import Healed, Healer
from hookline.receiver.listing import MassDelete
from hookline.receiver.mirror_store import MirrorStore
from hookline.receiver.pass_store import Pass
from hookline.receiver.queries import InboxQueries
from hookline.receiver.reconcile import Report
from hookline.receiver.work import Access
from hookline.storage import Verbs

from ..conftest import DATABASES
from .company import Desk
from .source import MemorySource, refuse, small
from .test_passes import LATER_MS, churn, differences, mirrored, passes_on, state_of, whole, work

RUNS_ON = DATABASES
WITHIN: dict[str, Any] = {"directory_id": "dir_1", "organization_id": "org_1"}


def look(desk: Desk, source: MemorySource, **named: Any) -> Pass:
    """One dry run, to its end."""
    passes = passes_on(desk, source)
    pass_id = passes.start("reconcile", "dry_run", asked_by="test", **named)
    work(desk, passes)
    passes.release()
    return state_of(passes, pass_id)


def items(desk: Desk, pass_: Pass) -> list[DriftItem]:
    store = DriftStore(Verbs("hookline.receiver", desk.database.dialect))
    with desk.database.read() as connection:
        return store.found(connection, pass_.row_id)


def heal(desk: Desk, source: MemorySource, found: list[DriftItem], **named: Any) -> Healed:
    mirror = MirrorStore(Verbs("hookline.receiver", desk.database.dialect))
    return Healer(Access(desk.database), mirror, "default", source, desk.clock).heal(found, **named)


def filled(desk: Desk, **named: Any) -> MemorySource:
    """A source and a mirror that are equal, some time ago."""
    source, events = small(desk.clock, **named)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    return source


def told(found: list[DriftItem]) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(one.object_id, one.kind, one.fields) for one in found}


def test_equal_is_no_drift(desk: Desk) -> None:
    source = filled(desk)
    done = look(desk, source)
    assert done.state == "completed"
    assert items(desk, done) == []
    assert desk.rows("select * from hookline_floors") == []


def test_every_kind_of_difference_is_found_and_nothing_of_the_mirror_written(desk: Desk) -> None:
    source = filled(desk)
    churn(source)
    before = mirrored(desk)

    done = look(desk, source)

    assert done.state == "completed"
    assert mirrored(desk) == before
    assert told(items(desk, done)) == {
        ("org_1", "differs", ("name", "updated_at")),
        ("user_001", "differs", ("is_active", "state", "updated_at")),
        ("user_002", "differs", ("first_name",)),
        ("user_003", "extra", ()),
        ("group_002", "extra", ()),
        ("user_100", "missing", ()),
        ("group_100", "missing", ()),
        ("group_000/user_000", "extra", ()),
        ("group_001/user_000", "missing", ()),
        ("group_100/user_100", "missing", ()),
    }
    assert {one.cause for one in items(desk, done)} == {"never_received"}
    assert done.counts["missing"] == 4
    assert done.counts["extra"] == 3
    assert done.counts["differs"] == 3


def test_it_keeps_no_value(desk: Desk) -> None:
    source = filled(desk)
    churn(source)
    done = look(desk, source)
    kept = desk.rows("select fields, evidence, note from hookline_drift where pass_id = ?", done.row_id)
    assert kept
    for secret in ("Ida", "acme.example", "Sons", "inactive"):
        assert secret not in str(kept)


def test_interrupted_anywhere_it_comes_to_the_same(desk: Desk) -> None:
    source = filled(desk)
    churn(source)
    at_once = told(items(desk, look(desk, source)))
    passes = passes_on(desk, source)
    pass_id = passes.start("reconcile", "dry_run", asked_by="test")
    while state_of(passes, pass_id).state == "running":
        work(desk, passes, steps=2)
        passes.release()
        passes = passes_on(desk, source)
    assert told(items(desk, state_of(passes, pass_id))) == at_once


def test_a_stranger_source_is_compared_with_an_empty_mirror(desk: Desk) -> None:
    source, _ = small(desk.clock)
    done = look(desk, source)
    assert done.counts["missing"] == 18
    assert differences(desk, source) != []


def test_what_comes_before_the_end_is_no_drift(desk: Desk) -> None:
    """News that is late: applied before it is looked at once more, waiting at the end, or come since."""
    source = filled(desk)
    source.clock.advance(60_000)
    late = [
        source.put("directory_user", "user_000", first_name="Ann"),
        source.put("directory_user", "user_001", first_name="Bea"),
        source.put("directory_user", "user_002", first_name="Cleo"),
    ]
    lost = source.put("directory_user", "user_003", first_name="Dot")
    assert lost
    source.clock.advance(60_000)

    def arrive(_: int) -> None:
        if source.requests[-1] == "/directory_users/user_000":
            source.before = None
            desk.take(late[0])
            desk.put(late[1])

    source.before = arrive
    passes = passes_on(desk, source)
    pass_id = passes.start("reconcile", "dry_run", asked_by="test")
    while desk.one("select count(*) from hookline_drift where state = 'checked'") == 0:
        passes.step(desk.clock.now_ms())
    desk.take(late[2])
    work(desk, passes)

    done = state_of(passes, pass_id)
    assert [one.object_id for one in items(desk, done)] == ["user_003"]
    assert done.counts["in_flight"] == 2 or done.counts["in_flight"] + done.counts["settled"] == 3


def test_rejected_at_the_door(desk: Desk) -> None:
    source = filled(desk)
    source.put("directory_user", "user_001", state="inactive")
    minute_ms = desk.clock.now_ms() - desk.clock.now_ms() % 60_000
    desk.write(
        "insert into hookline_rejections (source, reason, minute_ms, times, sample) values (?, ?, ?, ?, ?)",
        "default", "mismatch", minute_ms, 7, "400 to 192.0.2.1",
    )  # fmt: skip
    desk.write(
        "insert into hookline_rejections (source, reason, minute_ms, times, sample) values (?, ?, ?, ?, ?)",
        "default", "expired", minute_ms - 3_600_000, 9, "long before",
    )  # fmt: skip
    desk.clock.advance(LATER_MS)

    (found,) = items(desk, look(desk, source))

    assert (found.kind, found.cause) == ("differs", "rejected")
    assert found.evidence["refused"] == {"mismatch": 7}


def test_dead_lettered(desk: Desk) -> None:
    source = filled(desk)
    event = source.put("directory_user", "user_001", state="inactive")
    (seq,) = desk.put(event)
    desk.write("delete from hookline_inbox_queue where seq = ?", seq)
    desk.write(
        "insert into hookline_inbox_outcomes (seq, outcome, reason, finished_ms) values (?, 'dead', 'it raised', 0)",
        seq,
    )
    desk.clock.advance(LATER_MS)

    (found,) = items(desk, look(desk, source))

    assert found.cause == "dead_lettered"
    assert found.evidence["dead"] == {"event": event["id"], "reason": "it raised"}


def test_stale(desk: Desk) -> None:
    """The source's clock went back: its newest change came, and lost against an older one."""
    source = filled(desk)
    event = source.put("directory_user", "user_001", first_name="Ida")
    source.objects["directory_user"]["user_001"]["updated_at"] = "2020-01-01T00:00:00.000Z"
    event["data"]["updated_at"] = "2020-01-01T00:00:00.000Z"
    event["created_at"] = "2020-01-01T00:00:00.000Z"
    desk.take(event)
    desk.clock.advance(LATER_MS)

    (found,) = items(desk, look(desk, source))

    assert found.cause == "stale"
    assert found.evidence["lost"] == event["id"]


@pytest.mark.parametrize("what", ["column", "payload", "row"])
def test_changed_locally_and_healed(desk: Desk, what: str) -> None:
    """A column, the payload, or the whole row was edited by hand: it is found, named, and healed."""
    source = filled(desk)
    if what == "column":
        desk.write("update hookline_directory_users set state = 'inactive', is_active = 0 where id = 'user_001'")
    elif what == "payload":
        payload = json.loads(desk.one("select payload from hookline_directory_users where id = 'user_001'"))
        edited = json.dumps({**payload, "custom_attributes": {"level": 9}})
        desk.write("update hookline_directory_users set payload = ? where id = 'user_001'", edited)
    else:
        desk.write("delete from hookline_directory_users where id = 'user_001'")

    done = look(desk, source)

    found = items(desk, done)
    mine = next(one for one in found if one.object_id == "user_001")
    assert mine.cause == "changed_locally"
    result = heal(desk, source, found)
    assert result.left == ()
    assert differences(desk, source) == []
    assert desk.one("select state from hookline_directory_users where id = 'user_001'") == "active"
    assert {one.state for one in items(desk, done)} == {"healed"}
    assert items(desk, look(desk, source)) == []


def test_changed_locally_is_put_right_by_a_pass_too(desk: Desk) -> None:
    source = filled(desk)
    desk.write("update hookline_directory_users set state = 'inactive', is_active = 0 where id = 'user_001'")
    drift = look(desk, source)
    passes = passes_on(desk, source)
    passes.start("reconcile", "apply", asked_by="test")
    work(desk, passes)
    assert desk.rows("select state, is_active from hookline_directory_users_live where id = 'user_001'") == [
        ("active", 1)
    ]
    assert [one.state for one in items(desk, drift)] == ["healed"], "a whole pass settles what was open"


def test_one_is_healed_and_one_ignored_until_it_differs_otherwise(desk: Desk) -> None:
    source = filled(desk)
    source.put("directory_user", "user_001", first_name="Ida")
    source.put("directory_user", "user_002", first_name="Eva")
    source.delete("directory_user", "user_003")
    desk.clock.advance(LATER_MS)
    first, second, gone = items(desk, look(desk, source))[:3]
    assert (first.object_id, second.object_id, gone.object_id) == ("user_001", "user_002", "user_003")
    store = DriftStore(Verbs("hookline.receiver", desk.database.dialect))
    now_ms = desk.clock.now_ms()
    desk.database.run(lambda c: store.settle(c, [second.row_id], "ignored", "known, ticket 7", now_ms))
    assert heal(desk, source, [first, gone]).left == ()

    again = items(desk, look(desk, source))

    assert [(one.object_id, one.state, one.note) for one in again] == [("user_002", "ignored", "known, ticket 7")]
    source.put("directory_user", "user_002", state="inactive")
    desk.clock.advance(LATER_MS)
    assert [(one.object_id, one.state) for one in items(desk, look(desk, source))] == [("user_002", "open")]


def test_what_is_ignored_is_kept_once_however_many_passes_see_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes are forgotten after a while, what somebody has said of a difference is not: and is no more than that."""
    monkeypatch.setattr("hookline.receiver.pass_store.KEPT", 2)
    source = filled(desk)
    source.put("directory_user", "user_001", first_name="Ida")
    desk.clock.advance(LATER_MS)
    (found,) = items(desk, look(desk, source))
    store = DriftStore(Verbs("hookline.receiver", desk.database.dialect))
    desk.database.run(lambda c: store.settle(c, [found.row_id], "ignored", "ticket 7", desk.clock.now_ms()))

    for _ in range(6):
        (again,) = items(desk, look(desk, source))
        assert (again.state, again.note) == ("ignored", "ticket 7")

    assert desk.one("select count(*) from hookline_drift where state = 'ignored'") <= 3
    for _ in range(4):
        whole(desk, source)
    assert desk.one("select count(*) from hookline_drift where state = 'ignored'") == 1, "which the next dry run heeds"


def test_all_are_healed(desk: Desk) -> None:
    source = filled(desk)
    churn(source)
    result = heal(desk, source, items(desk, look(desk, source)))
    assert result.left == ()
    assert len(result.healed) == 10
    assert differences(desk, source) == []


def test_healing_stops_where_the_source_does_not_answer(desk: Desk) -> None:
    source = filled(desk)
    churn(source)
    found = items(desk, look(desk, source))
    source.faults[len(source.requests) + 2] = refuse("unavailable", "503")
    result = heal(desk, source, found)
    assert result.why == "unavailable: 503"
    assert len(result.left) == len(found)
    assert heal(desk, source, found).left == ()


def test_healing_is_guarded(desk: Desk) -> None:
    source = filled(desk, users=40, page=100)
    for n in range(12):
        source.delete("directory_user", f"user_{n:03d}")
    desk.clock.advance(LATER_MS)
    found = [one for one in items(desk, look(desk, source)) if one.resource == "directory_user"]
    with pytest.raises(MassDelete, match="12 of 40 directory_user of dir_1"):
        heal(desk, source, found)
    assert len(desk.ids("directory_users")) == 40
    assert heal(desk, source, found, allow_mass_delete=True).left == ()
    assert len(desk.ids("directory_users")) == 28


def test_healing_from_another_environment_takes_nothing_away(desk: Desk) -> None:
    """All there is here is fewer than the guard lets go, and every answer is honest."""
    filled(desk)
    before = mirrored(desk)
    other = MemorySource(desk.clock)
    other.put("organization", "org_2", name="Others", domains=[])
    found = [one for one in items(desk, look(desk, other)) if one.kind == "extra"]
    assert {"org_1", "dir_1"} <= {one.object_id for one in found}

    with pytest.raises(MassDelete, match="another environment"):
        heal(desk, other, found)

    assert mirrored(desk) == before
    other.faults[len(other.requests) + 1] = refuse("unavailable", "503")
    assert heal(desk, other, found) == Healed((), tuple(found), "unavailable: 503")
    assert heal(desk, other, found, allow_mass_delete=True).left == ()


def test_how_it_stands_is_told(desk: Desk) -> None:
    """The newest pass of each source, when it was last put right, what is open."""
    source = filled(desk)
    queries = InboxQueries(Verbs("hookline.receiver", desk.database.dialect))
    with desk.database.read() as connection:
        assert queries.passes(connection) == []
    passes = passes_on(desk, source)
    passes.start("backfill", "apply", asked_by="test")
    work(desk, passes)
    ended_ms = desk.one("select finished_ms from hookline_passes")
    churn(source)
    done = look(desk, source)
    with desk.database.read() as connection:
        (row,) = queries.passes(connection)
        assert queries.pass_counts(connection) == {("default", "completed"): 2}
    assert (row.row_id, row.mode, row.state, row.completed_ms, row.drift) == (
        done.row_id, "dry_run", "completed", ended_ms, 10,
    )  # fmt: skip


def test_what_is_still_to_be_asked_is_uncertain_and_no_drift(desk: Desk) -> None:
    """Healing leaves it to whoever asks."""
    source = filled(desk)
    desk.write(
        "insert into hookline_refetches (source, resource, object_id, reasons, after_us, noticed_ms, due_ms)"
        " values ('default', 'directory_user', 'user_001', 'uncertain', 0, 0, 0)"
    )
    done = look(desk, source)
    found = items(desk, done)
    assert [(one.object_id, one.kind, one.cause) for one in found] == [("user_001", "uncertain", "unknown")]
    store = DriftStore(Verbs("hookline.receiver", desk.database.dialect))
    with desk.database.read() as connection:
        report = Report(done, tuple(store.counts(connection, done.row_id)))
    assert not report.has_drift
    assert report.count("uncertain") == 1
    asked = len(source.requests)
    assert heal(desk, source, found).left == tuple(found)
    assert len(source.requests) == asked


def test_healing_takes_away_only_what_was_found_to_be_too_much(desk: Desk) -> None:
    """What differed and is gone by now, if it is not another source that answers, is left for the next dry run."""
    source = filled(desk)
    churn(source)
    found = [one for one in items(desk, look(desk, source)) if one.kind == "differs"]
    source.objects["directory_user"].clear()
    result = heal(desk, source, found)
    assert [one.object_id for one in result.left] == ["user_001", "user_002"]
    assert len(desk.ids("directory_users")) == 5
