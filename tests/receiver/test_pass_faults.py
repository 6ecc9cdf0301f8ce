"""What a pass makes of a source that answers nonsense, or not: it waits or stops, and concludes nothing from it."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.receiver.source import Page

from .company import Desk
from .source import Fault, refuse, small
from .test_passes import LATER_MS, churn, differences, findings_of, mirrored, passes_on, state_of, work


def twice(answer: Page) -> Page:
    return answer._replace(items=answer.items + answer.items[:1])


def of_another_kind(answer: Page) -> Page:
    return answer._replace(items=({**answer.items[0], "object": "invoice"}, *answer.items[1:]))


def elsewhere(answer: Page) -> Page:
    return answer._replace(items=({**answer.items[0], "directory_id": "dir_2"}, *answer.items[1:]))


def unnamed(answer: Page) -> Page:
    return answer._replace(items=({**answer.items[0], "id": "a\nb"}, *answer.items[1:]))


def empty_and_more(answer: Page) -> Page:
    return answer._replace(items=(), after="user_001")


def around(answer: Page) -> Page:
    return answer._replace(after="user_000")


FAULTS: list[tuple[int, Fault]] = [
    (3, refuse("nonsense", "expected JSON, got text/html")),
    (3, refuse("unauthorized")),
    (5, refuse("refused")),
    (3, twice),
    (3, of_another_kind),
    (3, elsewhere),
    (3, unnamed),
    (3, empty_and_more),
]


def test_nonsense_stops_it_with_a_reason_and_changes_nothing(desk: Desk) -> None:
    """Each at the same place: a page in the middle, when lists before it have been concluded."""
    source, events = small(desk.clock)
    desk.take(*events)
    churn(source)
    pass_id = 0
    for number, fault in FAULTS:
        source.requests.clear()
        source.faults = {number: fault}
        before: list[Any] = []
        source.before = lambda n, at=number, seen=before: seen.extend(mirrored(desk) if n == at else [])
        passes = passes_on(desk, source)
        pass_id = passes.start("reconcile", "apply", asked_by="test")

        work(desk, passes)

        stopped = state_of(passes, pass_id)
        assert stopped.state == "stopped"
        assert stopped.reason
        assert mirrored(desk) == before
        assert len(source.requests) <= number + 1, "but for a question whether a group or directory is there"
    source.faults, source.before = {}, None
    assert passes.resume(pass_id)
    work(desk, passes)
    assert state_of(passes, pass_id).state == "completed"
    assert differences(desk, source) == []


def test_a_list_that_goes_round_stops_it(desk: Desk) -> None:
    """Its last page leads to its second: what it shows there was shown before."""
    source, _ = small(desk.clock)
    source.faults = dict.fromkeys(range(3, 30), around)
    passes = passes_on(desk, source)
    pass_id = passes.start("backfill", "apply", asked_by="test")

    work(desk, passes)

    assert state_of(passes, pass_id).state == "stopped"
    assert "nonsense" in str(state_of(passes, pass_id).reason)
    assert len(source.requests) < 10


def test_a_list_that_broke_off_deletes_nothing(desk: Desk) -> None:
    """Whatever page of it fails: nobody who is not on what was read of it is taken for gone."""
    source, events = small(desk.clock, users=6)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    members = desk.members()
    for number in range(1, 13):
        source.requests.clear()
        reason = "refused" if number % 3 == 0 else "unavailable"
        source.faults = dict.fromkeys(range(number, number + 40), refuse(reason))
        passes = passes_on(desk, source)
        pass_id = passes.start("reconcile", "apply", asked_by="test")
        work(desk, passes, steps=number + 20)
        assert state_of(passes, pass_id).state != "completed"
        assert len(desk.ids("directory_users")) == 6
        assert len(desk.ids("directory_groups")) == 3
        assert desk.members() == members
        findings_of(passes).cancel(pass_id, asked_by="test")
        passes.release()


@pytest.mark.parametrize("reason", ["unavailable", "nonsense"])
def test_no_answer_about_one_is_no_death(desk: Desk, reason: str) -> None:
    source, events = small(desk.clock, page=100)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    source.delete("directory_user", "user_001")
    source.delete("directory_user", "user_003")
    desk.clock.advance(LATER_MS)
    # Lists, the directory, the first of the two, whether it is the right source; then these.
    source.faults = {7: refuse(reason), 8: refuse(reason)}
    passes = passes_on(desk, source)
    pass_id = passes.start("reconcile", "apply", asked_by="test")
    while len(source.requests) < 8:
        passes.step(desk.clock.now_ms())
    assert source.requests[6] == source.requests[7] == "/directory_users/user_003"
    assert "user_001" not in desk.ids("directory_users"), "of the first it was said"
    if reason == "nonsense":
        assert state_of(passes, pass_id).state == "stopped"
        assert "user_003" in desk.ids("directory_users")
        passes.resume(pass_id)
    work(desk, passes)
    assert differences(desk, source) == []
