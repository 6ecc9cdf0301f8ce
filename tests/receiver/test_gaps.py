"""Missing events are noticed, close by themselves when they come after all, and are fetched otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from ..conftest import DATABASES
from .company import Company, Desk, Event
from .test_refetch import Office

RUNS_ON = DATABASES

GRACE_MS = 121_000


@pytest.fixture
def office(desk: Desk) -> Office:
    office = Office(desk)
    desk.clock.advance(3_600_000)
    office.source.requests.clear()
    return office


def gaps(office: Office) -> dict[str, int]:
    return {end: count for (_, end), count in office.counters.gaps.items()}


def rename(office: Office, name: str, previous: str | None) -> Event:
    """A change of the first user's name, and what the event says was before."""
    event = office.put_user("user_1", first_name=name)
    said = {} if previous is None else {"previous_attributes": {"first_name": previous, "updated_at": "2026-01-01"}}
    return {**event, "data": {**event["data"], **said}}


def test_an_update_that_follows_leaves_no_doubt(office: Office) -> None:
    """Each says what the one before it left; null and absent are one."""
    office.take(rename(office, "Bo", "Ada"), rename(office, "Cy", "Bo"), rename(office, "Di", None))
    title = office.put_user("user_1", job_title="Chief")
    office.take({**title, "data": {**title["data"], "previous_attributes": {"job_title": None}}})

    assert (gaps(office), office.waiting()) == ({}, [])


def test_a_missing_event_is_noticed_and_fetched_after_its_grace(office: Office) -> None:
    """The one between is lost: the source is asked two minutes later, and not before."""
    rename(office, "Bo", "Ada")
    office.take(rename(office, "Cy", "Bo"))
    assert gaps(office) == {"noticed": 1}
    assert office.waiting() == [("user_1", "gap")]

    office.desk.clock.advance(GRACE_MS - 10_000)
    office.ask()
    assert office.source.requests == []
    office.desk.clock.advance(10_000)
    office.ask()
    assert office.source.requests == ["/directory_users/user_1"]
    assert gaps(office) == {"noticed": 1, "fetched": 1}
    assert office.waiting() == []


@pytest.mark.parametrize("at_once", [True, False])
def test_one_that_comes_after_all_closes_its_gap(office: Office, at_once: bool) -> None:
    """Late by a retry, in the same batch or another: nothing is asked."""
    lost, told = rename(office, "Bo", "Ada"), rename(office, "Cy", "Bo")
    if at_once:
        office.take(told, lost)
    else:
        office.take(told)
        office.take(lost)

    assert gaps(office) == {"noticed": 1, "healed": 1}
    assert office.waiting() == []


def test_another_that_comes_late_closes_none(office: Office) -> None:
    """Of two that are missing the earlier comes: the later is missing still."""
    early = rename(office, "Bo", "Ada")
    rename(office, "Cy", "Bo")
    office.take(rename(office, "Di", "Cy"))
    office.take(early)

    assert gaps(office) == {"noticed": 1}
    assert office.waiting() == [("user_1", "gap")]


def test_stale_and_silent_ones_prove_nothing(office: Office) -> None:
    """An older update, whatever it says; and one whose content a read has brought before it."""
    late = rename(office, "Bo", "Nobody")
    office.take(rename(office, "Cy", "Bo") | {})
    office.take(late)
    assert gaps(office).get("noticed") == 1  # of the other

    before = dict(office.counters.gaps)
    event = rename(office, "Di", "Cy")
    office.desk.clock.advance(GRACE_MS)
    office.ask()
    office.take(event)
    assert office.desk.one("select first_name from hookline_directory_users where id = 'user_1'") == "Di"
    assert office.counters.gaps["default", "noticed"] == before["default", "noticed"]


def test_without_an_api_gaps_are_kept_and_shown(desk: Desk, company: Company) -> None:
    """Nothing else is: nobody would ask."""
    worker = desk.new_worker()
    worker.register()
    desk.put(
        company.user("created"),
        company.user("updated", first_name="Cy", previous_attributes={"first_name": "Bo"}),
    )
    worker.drain()

    assert desk.rows("select object_id, reasons, told_by from hookline_refetches") == [
        ("user_1", "gap", "event_000002")
    ]


# -- numbers ------------------------------------------------------------------------------------------------------


def put_numbered(desk: Desk, *numbered: tuple[Event, int]) -> None:
    """As the door keeps them, with the number from the header."""
    for event, number in numbered:
        (seq,) = desk.put(event)
        desk.write("update hookline_inbox set object_sequence = ? where seq = ?", number, seq)


def test_a_number_that_is_missing_is_fetched_after_its_grace(office: Office) -> None:
    """Without any previous_attributes; the first number heard says nothing of those before."""
    put_numbered(office.desk, (office.put_user("user_1", first_name="Bo"), 4))
    office.worker.drain()
    assert gaps(office) == {}
    lost = office.put_user("user_1", first_name="Cy")
    put_numbered(office.desk, (office.put_user("user_1", first_name="Di"), 6))
    office.worker.drain()
    assert lost["id"]
    assert gaps(office) == {"noticed": 1}
    assert office.waiting() == [("user_1", "sequence")]
    assert office.desk.rows("select highest, missing from hookline_sequences") == [(6, "[5]")]

    office.desk.clock.advance(GRACE_MS)
    office.ask()
    assert office.source.requests == ["/directory_users/user_1"]
    assert gaps(office) == {"noticed": 1, "fetched": 1}
    assert office.waiting() == []
    assert office.desk.rows("select highest, missing from hookline_sequences") == [(6, "[]")]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_number_that_comes_within_the_grace_closes_the_gap(office: Office, at_once: bool) -> None:
    """In one batch it is no gap that anybody had to wait for; in two it heals."""
    events = [office.put_user("user_1", first_name=name) for name in ("Bo", "Cy", "Di")]
    put_numbered(office.desk, (events[0], 1), (events[2], 3))
    if not at_once:
        office.worker.drain()
        assert office.waiting() == [("user_1", "sequence")]
    put_numbered(office.desk, (events[1], 2))
    office.worker.drain()

    assert gaps(office) == {"noticed": 1, "healed": 1}
    assert office.waiting() == []


def test_memberships_are_numbered_of_their_own(office: Office) -> None:
    """A pair counts its adds and removes; what is missing is asked for with the user's list."""
    added = office.source.join("group_1", "user_1")
    office.desk.clock.advance(60_000)
    office.source.leave("group_1", "user_1")
    office.desk.clock.advance(60_000)
    put_numbered(office.desk, (added, 1), (office.source.join("group_1", "user_1"), 3))
    office.worker.drain()
    assert office.waiting() == [("group_1/user_1", "sequence")]

    office.desk.clock.advance(GRACE_MS)
    office.ask()
    assert office.source.requests == ["/directory_groups?user=user_1"]
    assert office.waiting() == []
    assert gaps(office) == {"noticed": 1, "fetched": 1}


def test_a_number_of_what_is_not_mirrored_says_nothing(office: Office) -> None:
    """A fact, or an event of a type nobody knows."""
    event: dict[str, Any] = {"object": "event", "id": "event_x", "event": "vault.data.read", "data": {}}
    put_numbered(office.desk, (event, 7))
    office.worker.drain()

    assert office.desk.rows("select * from hookline_sequences") == []
