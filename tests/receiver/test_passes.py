"""Passes that put the mirror right: whatever was dropped, wherever they are interrupted, whatever the source says."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.receiver import mirror_queries
from hookline.receiver.leases import LEASE_MS, Leases
from hookline.receiver.mirror_store import MirrorStore
from hookline.receiver.pass_store import Pass
from hookline.receiver.passes import FOLLOW_MS, RESTART_AFTER_MS, Passes
from hookline.receiver.reconcile import Findings
from hookline.receiver.resources import decode
from hookline.receiver.work import Access
from hookline.rules.merge import EPSILON_US, same_content
from hookline.storage import Verbs

from ..conftest import DATABASES
from .company import Desk
from .source import Fault, MemorySource, refuse, small

RUNS_ON = DATABASES

TABLES = {
    "organization": "organizations",
    "directory": "directories",
    "directory_user": "directory_users",
    "directory_group": "directory_groups",
}
# Longer than what a read may lag behind: what happened before it is older than what it says.
LATER_MS = EPSILON_US // 1_000 + 1_000


def passes_on(desk: Desk, source: MemorySource, *, holder: str = "one", **settings: Any) -> Passes:
    verbs = Verbs("hookline.receiver", desk.database.dialect)
    settings = {"jitter": lambda: 0.0, **settings}
    return Passes(
        Access(desk.database), MirrorStore(verbs), "default", source, desk.clock, Leases(verbs, holder), **settings
    )


def work(desk: Desk, passes: Passes, *, steps: int = 10_000) -> None:
    """Step until no pass is running, or so often."""
    for _ in range(steps):
        due_ms = passes.step(desk.clock.now_ms())
        if due_ms is None:
            return
        desk.clock.set(max(due_ms, desk.clock.now_ms()))
    assert steps < 10_000, "it never comes to an end"


def whole(desk: Desk, source: MemorySource, **named: Any) -> Pass:
    """One pass that puts things right, to its end."""
    passes = passes_on(desk, source)
    pass_id = passes.start("reconcile", "apply", asked_by="test", **named)
    work(desk, passes)
    return state_of(passes, pass_id)


def findings_of(passes: Passes) -> Findings:
    return Findings(passes._access, passes._source, passes._clock)


def state_of(passes: Passes, pass_id: int) -> Pass:
    progress = findings_of(passes).progress(pass_id)
    assert progress is not None
    return progress.pass_


def differences(desk: Desk, source: MemorySource) -> list[str]:
    """What the mirror shows otherwise than the source has it."""
    found: list[str] = []
    for resource, table in TABLES.items():
        here = {id_: decode(payload) for id_, payload in desk.rows(f"select id, payload from hookline_{table}_live")}
        there = source.objects[resource]
        found += [f"{resource} {id_}: only here" for id_ in here.keys() - there.keys()]
        found += [f"{resource} {id_}: only there" for id_ in there.keys() - here.keys()]
        found += [
            f"{resource} {id_} differs"
            for id_ in here.keys() & there.keys()
            if not same_content(resource, here[id_], there[id_])
        ]
    members = {(group, user) for group, users in source.members.items() for user in users}
    found += [f"{pair}: only on one side" for pair in members ^ set(desk.members())]
    return sorted(found)


def churn(source: MemorySource) -> None:
    """Something of everything changes, and nobody hears of it."""
    source.clock.advance(60_000)
    source.put("organization", "org_1", name="Acme & Sons")
    source.put("directory_user", "user_001", state="inactive")
    source.put("directory_user", "user_002", silent=True, first_name="Ida")
    source.delete("directory_user", "user_003")
    source.delete("directory_group", "group_002")
    source.leave("group_000", "user_000")
    source.join("group_001", "user_000")
    within: dict[str, Any] = {"directory_id": "dir_1", "organization_id": "org_1"}
    source.put("directory_user", "user_100", **within, idp_id="n", email="n@acme.example", state="active")
    source.put("directory_group", "group_100", **within, idp_id="g", name="New")
    source.join("group_100", "user_100")
    source.clock.advance(60_000)


def test_nothing_was_ever_received_and_one_pass_makes_it_equal(desk: Desk) -> None:
    source, _ = small(desk.clock)
    desk.clock.advance(LATER_MS)

    done = whole(desk, source)

    assert done.state == "completed"
    assert done.reason is None
    assert differences(desk, source) == []
    assert done.counts["objects"] == 10
    assert done.counts["edges"] == 8
    assert done.counts["requests"] == len(source.requests)
    assert desk.one("select count(*) from hookline_pass_seen") == 0
    scopes = desk.rows("select resource, scope_id from hookline_floors where floor_us > 0 order by 1, 2")
    assert scopes == [
        ("directory", ""),
        ("directory_group", "dir_1"),
        ("directory_membership", "group_000"),
        ("directory_membership", "group_001"),
        ("directory_membership", "group_002"),
        ("directory_user", "dir_1"),
        ("organization", ""),
    ]


def test_all_news_was_dropped_and_one_pass_makes_it_equal(desk: Desk) -> None:
    source, events = small(desk.clock)
    desk.take(*events)
    assert differences(desk, source) == []
    churn(source)
    assert differences(desk, source) != []

    done = whole(desk, source)

    assert done.state == "completed"
    assert differences(desk, source) == []
    assert done.counts["died"] == 2
    assert done.counts["removed"] == 1
    assert done.counts["requests"] == len(source.requests)
    assert not [asked for asked in source.requests if asked.startswith("/events")]


def test_it_tells_handlers_of_what_it_finds(desk: Desk) -> None:
    source, events = small(desk.clock)
    desk.take(*events)
    seq = desk.one("select max(seq) from hookline_changes")
    source.clock.advance(60_000)
    source.delete("directory_user", "user_003")
    source.clock.advance(60_000)

    done = whole(desk, source)
    desk.worker.drain()

    told = desk.rows("select kind, object_id, cause from hookline_changes where seq > ? order by seq", seq)
    assert ("deleted", "user_003", f"pass_{done.row_id}") in told
    assert {kind for kind, *_ in told} == {"deleted", "hidden"}, "his memberships go with him, nothing else moves"


@pytest.mark.parametrize("is_first", [True, False])
def test_interrupted_at_every_request_it_goes_on_where_it_stood(desk: Desk, is_first: bool) -> None:
    """The process is gone after any step, whatever it did there; another one comes when the lease has passed."""
    source, events = small(desk.clock)
    if not is_first:
        desk.take(*events)
        churn(source)
    desk.clock.advance(LATER_MS)
    passes = passes_on(desk, source)
    pass_id = passes.start("backfill", "apply", asked_by="test")
    for n in range(1_000):
        passes = passes_on(desk, source, holder=str(n))
        work(desk, passes, steps=2)  # the lease is taken, and one step is done
        if state_of(passes, pass_id).state == "completed":
            break
        assert passes_on(desk, source, holder="early").step(desk.clock.now_ms()) == desk.clock.now_ms() + FOLLOW_MS
        desk.clock.advance(LEASE_MS + 1)
    asked = len(source.requests)

    assert differences(desk, source) == []
    assert n > asked / 2, "it was interrupted all along"
    pages = [page for page in source.requests if "?" in page]
    assert len(set(pages)) == len(pages), "no page was read twice"


def test_who_was_taken_for_dead_stores_nothing(desk: Desk) -> None:
    source, _ = small(desk.clock)
    slow, quick = passes_on(desk, source, holder="slow"), passes_on(desk, source, holder="quick")
    pass_id = slow.start("backfill", "apply", asked_by="test")
    slow.step(desk.clock.now_ms())

    def overtake(number: int) -> None:
        if number == 2:
            source.before = None
            desk.clock.advance(LEASE_MS + 1)
            work(desk, quick)

    source.before = overtake
    work(desk, slow)

    assert state_of(slow, pass_id).state == "completed"
    assert differences(desk, source) == []
    assert state_of(slow, pass_id).counts["requests"] == len(source.requests) - 1, "what the slow one asked"


def test_it_waits_for_what_passes_and_for_as_long_as_the_source_says(desk: Desk) -> None:
    source, _ = small(desk.clock)
    source.faults[3] = refuse("unavailable", "503")
    source.faults[4] = refuse("rate_limited", "429", retry_after_s=77)
    passes = passes_on(desk, source)
    pass_id = passes.start("backfill", "apply", asked_by="test")
    while len(source.requests) < 3:
        passes.step(desk.clock.now_ms())
    waiting = state_of(passes, pass_id)
    assert (waiting.state, waiting.tries, waiting.reason) == ("running", 1, "unavailable: 503")
    assert passes.step(waiting.due_ms - 1) == waiting.due_ms
    due_ms = waiting.due_ms
    while len(source.requests) < 4:
        due_ms = passes.step(due_ms) or 0
    assert due_ms == desk.clock.now_ms() + 77_000, "not sooner than it was asked to"

    work(desk, passes)

    done = state_of(passes, pass_id)
    assert (done.state, done.reason, done.counts["limited"], done.counts["failed"]) == ("completed", None, 1, 1)
    assert differences(desk, source) == []


def test_what_a_list_leaves_out_and_is_there_is_kept(desk: Desk) -> None:
    """Each is asked for alone, and gone only where the answer is 404."""
    source, events = small(desk.clock, page=100)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    source.faults[3] = lambda answer: answer._replace(items=answer.items[:2])

    done = whole(desk, source)

    assert done.state == "completed"
    assert differences(desk, source) == []
    assert source.requests.count("/directory_users/user_003") == 1
    assert "died" not in done.counts


def test_much_of_a_list_gone_stops_at_the_guard(desk: Desk) -> None:
    """30 % of 40 users, and then with leave."""
    source, events = small(desk.clock, users=40, page=100)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    for n in range(12):
        source.delete("directory_user", f"user_{n:03d}")
    desk.clock.advance(LATER_MS)
    passes = passes_on(desk, source)
    pass_id = passes.start("reconcile", "apply", asked_by="test")

    work(desk, passes)

    stopped = state_of(passes, pass_id)
    assert stopped.state == "stopped"
    assert "12 of 40 directory_user of dir_1" in str(stopped.reason)
    assert "--allow-mass-delete" in str(stopped.reason)
    assert len(desk.ids("directory_users")) == 40
    passes.resume(pass_id)
    work(desk, passes)
    assert state_of(passes, pass_id).state == "stopped", "asking again is no leave"
    assert passes.resume(pass_id, allow_mass_delete=True)
    work(desk, passes)
    assert state_of(passes, pass_id).state == "completed"
    assert differences(desk, source) == []


def test_many_members_gone_stop_at_the_guard(desk: Desk) -> None:
    source, events = small(desk.clock, users=12, groups=2, page=100)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    before = desk.members()
    source.members["group_000"].clear()
    desk.clock.advance(LATER_MS)
    passes = passes_on(desk, source)
    pass_id = passes.start("reconcile", "apply", asked_by="test")

    work(desk, passes)

    assert "12 of 12 directory_membership of group_000" in str(state_of(passes, pass_id).reason)
    assert desk.members() == before
    passes.resume(pass_id, allow_mass_delete=True)
    work(desk, passes)
    assert differences(desk, source) == []


def test_what_comes_meanwhile_survives(desk: Desk) -> None:
    """Born, deleted, moved and changed at each request of a pass, with news of it on its way."""
    source, events = small(desk.clock, users=8)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    within: dict[str, Any] = {"directory_id": "dir_1", "organization_id": "org_1"}

    def happen(number: int) -> None:
        if number > 20:
            return
        news = [
            source.put("directory_user", f"born_{number:03d}", **within, email="b@acme.example", state="active"),
            source.join("group_001", f"born_{number:03d}"),
        ]
        if number % 3 == 0:
            news.append(source.delete("directory_user", f"born_{number - 2:03d}"))
        if number % 4 == 0:
            news.append(source.leave("group_001", f"born_{number - 1:03d}"))
        if number % 5 == 0:
            news.append(source.put("directory_user", "user_001", first_name=f"Name {number}"))
        desk.take(*news)

    source.before = happen
    done = whole(desk, source)
    assert done.state == "completed"
    assert differences(desk, source) == []


def test_a_group_deleted_while_it_is_read_takes_its_memberships_along(desk: Desk) -> None:
    source, events = small(desk.clock)
    desk.take(*events)
    desk.clock.advance(LATER_MS)

    def happen(number: int) -> None:
        if source.requests[-1] == "/directory_users?group=group_001":
            source.before = None
            source.delete("directory_group", "group_001")
            desk.clock.advance(LATER_MS)

    source.before = happen
    done = whole(desk, source)

    assert done.state == "completed"
    assert differences(desk, source) == []
    assert desk.one("select state from hookline_pass_scopes where scope_id = 'group_001'") == "dropped"


def test_a_directory_gone_while_it_is_read_drops_all_of_it(desk: Desk) -> None:
    """The list of its users is empty then, and what it is in is asked whether it is there."""
    source, events = small(desk.clock)
    desk.take(*events)
    desk.clock.advance(LATER_MS)

    def happen(number: int) -> None:
        if source.requests[-1].startswith("/directory_users?directory=dir_1"):
            source.before = None
            source.delete("directory", "dir_1")
            desk.clock.advance(LATER_MS)

    source.before = happen
    done = whole(desk, source)

    assert done.state == "completed"
    assert differences(desk, source) == []
    assert desk.ids("directories") == []
    assert desk.ids("directory_users") == []


def test_a_directory_nobody_has_heard_of_hides_what_claims_to_be_in_it(desk: Desk) -> None:
    source, events = small(desk.clock)
    desk.take(*[event for event in events if event["event"] != "dsync.activated"])
    assert desk.one("select count(*) from hookline_directories") == 0
    assert desk.ids("directory_users")
    source.delete("directory", "dir_1")
    desk.clock.advance(LATER_MS)

    whole(desk, source)

    assert differences(desk, source) == []


def test_a_directory_too_young_for_the_list_hides_nothing(desk: Desk) -> None:
    """A replica that lags behind shows no organization and no directory yet, and has none of either when asked. What is
    said to be in them was heard of since: so they are there.
    """
    source, events = small(desk.clock)
    desk.take(*[event for event in events if event["event"] not in ("dsync.activated", "organization.created")])
    alive = desk.ids("directory_users")
    for resource in ("organization", "directory"):
        source.objects[resource].clear()

    done = whole(desk, source)

    assert done.state == "completed"
    assert desk.ids("directory_users") == alive != []
    assert [request for request in source.requests if request.count("/") > 1] == []


@pytest.mark.parametrize("directory_id", [None, "dir_1"])
def test_a_key_of_another_environment_deletes_nothing(desk: Desk, directory_id: str | None) -> None:
    """All there is here is fewer than the guard lets go, and every answer is honest."""
    _, events = small(desk.clock)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    before = mirrored(desk)
    other = MemorySource(desk.clock)
    other.put("organization", "org_2", name="Others", domains=[])
    other.put("directory", "dir_2", organization_id="org_2", name="Others", state="linked", type="okta scim v2.0")

    passes = passes_on(desk, other)
    pass_id = passes.start("reconcile", "apply", directory_id=directory_id, asked_by="test")
    work(desk, passes)

    stopped = state_of(passes, pass_id)
    assert stopped.state == "stopped"
    assert "another environment" in (stopped.reason or "")
    assert mirrored(desk) == before
    passes.resume(pass_id, allow_mass_delete=True)
    work(desk, passes)
    assert state_of(passes, pass_id).state == "completed"
    assert desk.ids("directory_users") == []


def test_a_pass_gone_on_with_under_a_key_of_another_environment_deletes_nothing(desk: Desk) -> None:
    """At whichever step: the right source gave the first page, and what is asked later the other honestly has not."""
    source, events = small(desk.clock)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    alive = [desk.ids("directories"), desk.ids("directory_users"), desk.ids("directory_groups"), desk.members()]
    other = MemorySource(desk.clock)
    other.put("organization", "org_2", name="Others", domains=[])
    ends = set()
    for steps in range(1, 100):
        begun = passes_on(desk, source, holder=f"begun {steps}")
        pass_id = begun.start("reconcile", "apply", asked_by="test")
        work(desk, begun, steps=steps)
        begun.release()
        if state_of(begun, pass_id).state == "completed":
            break
        goes_on = passes_on(desk, other, holder=f"goes on {steps}")
        work(desk, goes_on)
        goes_on.release()
        ended = state_of(goes_on, pass_id)
        ends.add((ended.state, "another environment" in (ended.reason or "")))
        now = [desk.ids("directories"), desk.ids("directory_users"), desk.ids("directory_groups"), desk.members()]
        assert now == alive, f"after {steps} steps"
    assert steps > 20
    assert ("stopped", True) in ends


def test_a_source_is_recognised_by_an_organization_that_is_only_named(desk: Desk) -> None:
    """Nothing lives here but a directory that is gone; no event ever told of the organization that it was in."""
    source, events = small(desk.clock)
    desk.take(*[event for event in events if event["event"] == "dsync.activated"])
    assert (desk.ids("directories"), desk.ids("organizations")) == (["dir_1"], [])
    source.delete("directory", "dir_1")
    desk.clock.advance(LATER_MS)

    assert whole(desk, source).state == "completed"
    assert differences(desk, source) == []


def test_what_a_later_page_shows_is_not_older_than_the_first(desk: Desk) -> None:
    """What is taken for the source's time may fall from one request to the next: its offset is never known exactly."""
    source, _ = small(desk.clock, users=8)
    shown = {(user, group) for group, users in source.members.items() for user in users}

    def sinking(number: int) -> Fault:
        def fault(answer: Any) -> Any:
            return answer._replace(requested_us=answer.requested_us - number * 1_500_000)

        return fault

    source.faults = {number: sinking(number) for number in range(1, 200)}

    done = whole(desk, source)

    assert done.counts.get("removed", 0) == 0
    assert [asked for asked in source.requests if asked.startswith("/directory_users/")] == [], "each was shown"
    assert {
        tuple(pair) for pair in desk.rows("select user_id, group_id from hookline_directory_memberships_live")
    } == shown
    assert differences(desk, source) == []


def test_one_directory_alone(desk: Desk) -> None:
    source, _ = small(desk.clock)
    source.put("directory", "dir_2", organization_id="org_1", name="Other", state="linked")
    source.put("directory_user", "other", directory_id="dir_2", email="o@acme.example", state="active")
    desk.clock.advance(LATER_MS)

    done = whole(desk, source, directory_id="dir_1")

    assert done.state == "completed"
    assert desk.ids("directories") == ["dir_1"]
    assert len(desk.ids("directory_users")) == 5
    assert {asked for asked in source.requests if asked.startswith("/organizations")} == set()
    desk.take(source.put("organization", "org_1", name="Acme"))  # by which the source is recognised
    source.delete("directory", "dir_1")
    desk.clock.advance(LATER_MS)
    whole(desk, source, directory_id="dir_1")
    assert desk.ids("directories") == []
    assert desk.ids("directory_users") == []


def test_a_list_that_stood_still_for_hours_begins_anew(desk: Desk) -> None:
    source, _ = small(desk.clock)
    passes = passes_on(desk, source)
    pass_id = passes.start("backfill", "apply", asked_by="test")
    while not any("after=" in asked for asked in source.requests):
        passes.step(desk.clock.now_ms())
    (first,) = desk.rows("select resource, started_us from hookline_pass_scopes where state = 'listing'")
    passes.release()
    desk.clock.advance(RESTART_AFTER_MS + 1)

    work(desk, passes)

    assert state_of(passes, pass_id).state == "completed"
    assert differences(desk, source) == []
    started_us = desk.one(
        "select started_us from hookline_pass_scopes where resource = ? and scope_id = 'dir_1'", first[0]
    )
    assert started_us > first[1] + RESTART_AFTER_MS * 1_000


def test_a_canceled_pass_does_no_more(desk: Desk) -> None:
    source, _ = small(desk.clock)
    passes = passes_on(desk, source)
    pass_id = passes.start("backfill", "apply", asked_by="test")
    work(desk, passes, steps=4)
    source.before = lambda _: cancel()

    def cancel() -> None:
        source.before = None
        assert findings_of(passes).cancel(pass_id, asked_by="somebody")

    before = mirrored(desk)
    work(desk, passes)

    assert mirrored(desk) == before, "not even what was under way"
    ended = state_of(passes, pass_id)
    assert (ended.state, ended.reason) == ("canceled", "canceled by somebody")
    assert not findings_of(passes).cancel(pass_id, asked_by="somebody")
    assert not passes.resume(pass_id)
    assert desk.one("select count(*) from hookline_pass_seen") == 0


def test_a_new_pass_takes_the_place_of_one_that_stopped(desk: Desk) -> None:
    source, _ = small(desk.clock)
    source.faults[3] = refuse("unauthorized")
    passes = passes_on(desk, source)
    stopped = passes.start("backfill", "apply", asked_by="test")
    work(desk, passes)
    assert state_of(passes, stopped).state == "stopped"

    whole(desk, source)

    assert state_of(passes, stopped).state == "canceled"
    assert differences(desk, source) == []


def test_passes_by_schedule(desk: Desk) -> None:
    """At once where there never was one, then every so often, and one at a time."""
    source, events = small(desk.clock)
    desk.take(*events)
    passes = passes_on(desk, source, every_s=3_600)
    other = passes_on(desk, source, holder="other", every_s=3_600)
    for _ in range(2):
        while (due_ms := passes.step(desk.clock.now_ms())) is not None and due_ms <= desk.clock.now_ms():
            other.step(desk.clock.now_ms())
        begun = desk.one("select max(created_ms) from hookline_passes")
        assert due_ms == begun + 3_600_000
        if "user_100" not in source.objects["directory_user"]:
            churn(source)
        assert due_ms is not None
        desk.clock.set(due_ms)
    rows = desk.rows("select kind, mode, asked_by, state from hookline_passes")
    assert rows == [("reconcile", "apply", "schedule", "completed")] * 2
    assert differences(desk, source) == []


def test_a_clock_that_is_set_back_holds_up_no_pass(desk: Desk) -> None:
    """Neither the next one by schedule, nor one that waits until what is now a distant future."""
    source, events = small(desk.clock)
    desk.take(*events)
    passes = passes_on(desk, source, every_s=3_600)
    now_ms = desk.clock.now_ms()
    year_ms = 365 * 86_400_000
    desk.clock.advance(year_ms)
    passes.step(desk.clock.now_ms())
    passes.step(desk.clock.now_ms())
    source.faults[len(source.requests) + 1] = refuse("unavailable")
    waits_until_ms = passes.step(desk.clock.now_ms())
    assert waits_until_ms is not None
    assert waits_until_ms > desk.clock.now_ms()

    desk.clock.set(now_ms)
    for _ in range(200):
        if (due_ms := passes.step(desk.clock.now_ms())) is None or due_ms > desk.clock.now_ms():
            break
    assert desk.rows("select state from hookline_passes") == [("completed",)] * 2, "the one that waited, then a new one"
    assert due_ms is not None
    assert now_ms < due_ms < now_ms + 2 * 3_600_000


def test_progress_says_how_much_is_left(desk: Desk) -> None:
    source, _ = small(desk.clock)
    passes = passes_on(desk, source)
    pass_id = passes.start("backfill", "apply", asked_by="test")
    work(desk, passes, steps=3)
    early = findings_of(passes).progress(pass_id)
    assert early is not None
    assert early.end_ms is None, "nobody knows yet how many groups there are"
    while (late := findings_of(passes).progress(pass_id)) is not None and late.end_ms is None:
        passes.step(desk.clock.now_ms())
    assert late is not None
    assert late.end_ms is not None
    assert late.end_ms > late.pass_.updated_ms
    work(desk, passes)
    assert findings_of(passes).progress(pass_id + 1) is None


def mirrored(desk: Desk) -> list[Any]:
    """The mirror's tables, and what was told of them."""
    tables = (*TABLES.values(), "directory_memberships", "changes", "floors", "cascades")
    return [desk.rows(f"select * from hookline_{table} order by 1, 2, 3") for table in tables]


def test_what_came_alive_beside_a_list_is_asked_for(desk: Desk) -> None:
    """It is in no page: by its event alone it is there, and the source is to say so."""
    source, events = small(desk.clock)
    desk.take(*events)
    desk.clock.advance(LATER_MS)
    within: dict[str, Any] = {"directory_id": "dir_1", "organization_id": "org_1"}

    def happen(_: int) -> None:
        if source.requests[-1] == "/directory_users?directory=dir_1&after=user_001":
            source.before = None
            # It sorts before what is read by now.
            desk.take(
                source.put("directory_user", "user_000b", **within, email="b@acme.example", state="active"),
            )
            del source.objects["directory_user"]["user_000b"]

    source.before = happen
    whole(desk, source)

    sql = "select resource, object_id from hookline_refetches where reasons = 'unlisted'"
    assert desk.rows(sql) == [("directory_user", "user_000b")]
    assert "user_000b" in desk.ids("directory_users"), "until the source is asked"


@pytest.mark.parametrize("resource", ["directory_user", "directory_membership"])
def test_all_rows_are_read_page_by_page(desk: Desk, monkeypatch: pytest.MonkeyPatch, resource: str) -> None:
    source, events = small(desk.clock)
    desk.take(*events)
    monkeypatch.setattr(mirror_queries, "ROWS_AT_ONCE", 3)
    queries = mirror_queries.MirrorQueries(Verbs("hookline.receiver", desk.database.dialect))
    with desk.database.snapshot() as connection:
        rows = list(queries.all_rows(connection, resource))
    if resource == "directory_user":
        assert [row["id"] for row in rows] == sorted(source.objects["directory_user"])
    else:
        assert [(row["group_id"], row["user_id"]) for row in rows] == desk.members()
