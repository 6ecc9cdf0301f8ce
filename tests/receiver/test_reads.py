"""Answers of the source's API in the mirror: joined as events are, with floors over what listings did not show."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from hookline.receiver.handlers import Change
from hookline.receiver.mirror import Applied, Seen, apply_reads
from hookline.receiver.mirror_store import Cause, MirrorStore, Scope
from hookline.receiver.resources import Observed, observe_absent, observe_listed, observe_read, observe_unlisted
from hookline.rules.merge import EPSILON_US, Clock, floor_clock
from hookline.storage import Connection, Verbs
from hookline.wire.timestamps import format_ms

from ..conftest import DATABASES
from .company import START_MS, Company, Desk

RUNS_ON = DATABASES

S = 1_000_000
START_US = START_MS * 1_000
USERS, MEMBERS = Scope("directory_user", "dir_1"), Scope("directory_membership", "group_1")


class Reader:
    """Reads on a desk's database, each at its second."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.store = MirrorStore(Verbs("hookline.receiver", desk.database.dialect))

    def see(self, *observed: Observed, cause: str = "pass_1") -> Applied:
        seen = [Seen("default", one, Cause(None, cause)) for one in observed]
        now_ms = self.desk.clock.now_ms()
        done = self.desk.database.run(lambda connection: apply_reads(self.store, connection, seen, now_ms))
        self.desk.worker.drain()
        return done

    def set_floor(self, scope: Scope, started_us: int) -> bool:
        return self.desk.database.run(
            lambda connection: self.store.set_floor(connection, "default", scope, floor_clock(started_us))
        )

    def unseen(self, scope: Scope, started_us: int, after: str = "", limit: int = 100) -> list[str]:
        with self.desk.database.read() as connection:
            return self.store.unseen(connection, "default", scope, floor_clock(started_us), after, limit)

    def count_live(self, scope: Scope) -> int:
        with self.desk.database.read() as connection:
            return self.store.count_live(connection, "default", scope)


@pytest.fixture
def reader(desk: Desk) -> Reader:
    return Reader(desk)


def user(id_: str = "user_1", *, at_s: int = 1, **fields: Any) -> dict[str, Any]:
    """A user as the API answers, last changed at a second."""
    times = {"created_at": format_ms(START_MS), "updated_at": format_ms(START_US + at_s * S)}
    return {**Company.user_data(id_), **times, **fields}


def at(second: int) -> int:
    """The moment of a request that counts as of this second."""
    return START_US + second * S + EPSILON_US


def test_a_page_is_joined_told_and_named_as_the_cause(desk: Desk, reader: Reader) -> None:
    """Users of one page: rows, changes with the pass as their cause and no entry, and runs of the handlers."""
    told: list[tuple[str, str, str | None]] = []

    @desk.hooks.on_change("directory_user")
    def hear(change: Change, tx: Any) -> None:
        told.append((change.kind, change.id, change.cause))

    desk.worker.register()
    done = reader.see(*[observe_read("directory_user", user(f"user_{n}"), at(10)) for n in range(3)])

    assert (done.changes, done.runs, done.outcomes) == (3, 3, [])
    assert desk.ids("directory_users") == ["user_0", "user_1", "user_2"]
    assert desk.rows("select distinct cause_seq, cause from hookline_changes") == [(None, "pass_1")]
    assert sorted(told) == [("created", f"user_{n}", "pass_1") for n in range(3)]


def test_a_read_as_good_as_an_event_changes_nothing(desk: Desk, company: Company, reader: Reader) -> None:
    """What an event has said already, read: clocks move, nobody is told."""
    event = company.user("created")
    desk.take(event)
    done = reader.see(observe_read("directory_user", event["data"], at(60)))

    assert done.changes == 0
    assert desk.one("select life_us from hookline_directory_users") == START_US + 60 * S


def test_silent_changes_and_older_events_lose_to_a_read(desk: Desk, company: Company, reader: Reader) -> None:
    """A17, A18: equal updated_at and other content is replaced; an update that comes late moves nothing back."""
    created, late = company.user("created"), company.user("updated", first_name="Late")
    desk.take(created)
    reader.see(observe_read("directory_user", {**created["data"], "last_name": "Silent"}, at(60)))
    assert desk.one("select last_name from hookline_directory_users") == "Silent"
    reader.see(observe_read("directory_user", user(at_s=50, first_name="Read"), at(60)))
    desk.take(late)

    assert desk.one("select first_name from hookline_directory_users") == "Read"
    assert desk.outcomes()[-1] == "stale"


def test_two_reads_of_one_dated_moment_are_told_apart_by_what_they_show(desk: Desk, reader: Reader) -> None:
    """Requests are dated by whole seconds of the source, so a change may be younger than the request that shows it."""
    before, after = user(at_s=15, first_name="Zoe"), user(first_name="Ada")
    before["updated_at"], after["updated_at"] = (format_ms(at(0) + ms * 1_000) for ms in (100, 600))
    reader.see(observe_read("directory_user", before, at(0)))
    reader.see(observe_read("directory_user", after, at(0)))
    reader.see(observe_read("directory_user", before, at(0)))

    assert desk.rows("select first_name, flags from hookline_directory_users") == [("Ada", "")]


def test_an_absence_is_a_death_with_all_that_hangs_on_it(desk: Desk, company: Company, reader: Reader) -> None:
    """A19: a 404 kills, memberships go with it aloud, and an older event does not raise it."""
    late = company.user("updated")
    desk.take(company.user("created"), company.member("added"))
    reader.see(observe_absent("directory_user", "user_1", at(60)))

    assert desk.ids("directory_users") == []
    assert desk.members() == []
    assert desk.changes("directory_membership") == [("added", "group_1/user_1"), ("hidden", "group_1/user_1")]
    assert desk.rows("select distinct cause from hookline_changes where kind in ('deleted', 'hidden')") == [("pass_1",)]
    desk.take(late)
    assert desk.ids("directory_users") == []


def test_a_list_of_members_adds_and_removes(desk: Desk, company: Company, reader: Reader) -> None:
    """C7: who is in it is one, who was added before and is not in it is none; who was added meanwhile stays."""
    desk.take(*[company.member("added", user_id=f"user_{n}") for n in range(2)])
    meanwhile = company.member("added", user_id="user_3")
    meanwhile["created_at"] = format_ms(START_US + 90 * S)
    desk.take(meanwhile)

    reader.see(
        observe_listed("directory_membership", ("group_1", "user_0"), "dir_1", at(60)),
        observe_listed("directory_membership", ("group_1", "user_2"), "dir_1", at(61)),
        observe_unlisted("directory_membership", ("group_1", "user_1"), "dir_1", at(60)),
        observe_unlisted("directory_membership", ("group_1", "user_3"), "dir_1", at(60)),
    )

    assert desk.members() == [("group_1", "user_0"), ("group_1", "user_2"), ("group_1", "user_3")]


def test_what_is_read_is_cleaned_as_events_are(desk: Desk, reader: Reader) -> None:
    """The source's words for states, text that no database holds, an organization's domains; and groups say nothing."""
    directory = {"object": "directory", "id": "dir_1", "organization_id": "org_1", "state": "active", "name": "a\x00b"}
    domain = {"object": "organization_domain", "id": "dom_1", "domain": "acme.example", "state": "verified"}
    reader.see(
        observe_read("directory", directory, at(1)),
        observe_read("organization", {"object": "organization", "id": "org_1", "domains": [domain]}, at(1)),
        observe_read("directory_user", user(groups=[{"id": "group_1"}]), at(1)),
        observe_read("directory_user", user("user_2", first_name="\ud800"), at(1)),
        observe_read("directory_user", {"object": "directory_user", "id": ""}, at(1)),
    )

    assert desk.rows("select state, name from hookline_directories") == [("linked", "a\ufffdb")]
    assert desk.rows("select id, organization_id from hookline_organization_domains_live") == [("dom_1", "org_1")]
    assert desk.members() == []
    assert desk.rows("select first_name from hookline_directory_users order by id") == [("Ada",), ("\ufffd",)]


def test_a_floor_covers_what_its_pass_did_not_show(desk: Desk, company: Company, reader: Reader) -> None:
    """Older events of ids without a row and adds make nothing; what was seen, is younger, or is of another directory
    goes on.
    """
    events = [
        company.user("created", "user_gone"),
        company.user("created", "user_seen"),
        company.user("created", "user_else", directory_id="dir_2"),
        company.member("added", user_id="user_gone"),
    ]
    reader.see(observe_read("directory_user", user("user_seen", at_s=30), at(60)))
    assert reader.set_floor(USERS, at(60))
    assert reader.set_floor(MEMBERS, at(60))
    young = company.user("created", "user_young")
    young["created_at"] = format_ms(START_US + 60 * S)
    desk.take(*events, young)

    assert desk.ids("directory_users") == ["user_else", "user_seen", "user_young"]
    assert desk.members() == []
    assert desk.outcomes() == ["stale", "stale", "applied", "applied", "applied"]
    assert desk.one("select death_us from hookline_directory_users where id = 'user_seen'") == -1
    assert ("created", "user_gone") not in desk.changes()


def test_no_floor_while_something_unseen_lives(desk: Desk, company: Company, reader: Reader) -> None:
    """It is named, page by page, and once it is settled the floor is set; a floor never falls."""
    desk.take(*[company.user("created", f"user_{n}") for n in range(3)], company.member("added", user_id="user_1"))
    reader.see(observe_read("directory_user", user("user_1"), at(60)))

    assert not reader.set_floor(USERS, at(60))
    assert reader.unseen(USERS, at(60)) == ["user_0", "user_2"]
    assert reader.unseen(USERS, at(60), limit=1) == ["user_0"]
    assert reader.unseen(USERS, at(60), after="user_0") == ["user_2"]
    assert reader.unseen(MEMBERS, at(60)) == ["user_1"]
    assert reader.unseen(Scope("directory_group", "dir_1"), at(60)) == ["group_1"]
    assert reader.unseen(Scope("directory_user", "dir_2"), at(60)) == []
    reader.see(
        observe_absent("directory_user", "user_0", at(61)), observe_read("directory_user", user("user_2"), at(61))
    )
    assert reader.set_floor(USERS, at(60))
    assert reader.set_floor(USERS, at(40))
    assert desk.rows("select resource, scope_id, floor_us from hookline_floors") == [
        ("directory_user", "dir_1", START_US + 60 * S)
    ]
    assert reader.count_live(USERS) == 2
    assert reader.count_live(MEMBERS) == 1


def test_what_lives_above_is_a_scope_of_the_whole_source(desk: Desk, company: Company, reader: Reader) -> None:
    """Directories and organizations: all of the source's."""
    desk.take(company.organization("created"), company.directory("activated"))

    assert reader.unseen(Scope("organization"), at(60)) == ["org_1"]
    assert reader.unseen(Scope("directory"), at(60)) == ["dir_1"]
    assert (reader.count_live(Scope("organization")), reader.count_live(Scope("directory"))) == (1, 1)


def test_a_late_event_of_a_directory_that_was_seen_hides_none_of_its_users(
    desk: Desk, company: Company, reader: Reader
) -> None:
    """Its users' own listing may come much later, or never: they rest on what they rested on."""
    late = company.directory("activated")
    desk.take(company.user("created"))
    directory = {**late["data"], "updated_at": format_ms(START_US + 30 * S)}
    reader.see(observe_read("directory", directory, at(60)))
    assert reader.set_floor(Scope("directory"), at(60))
    desk.take(late)

    assert desk.ids("directory_users") == ["user_1"]


def test_a_late_event_in_a_directory_that_nobody_has_heard_of_is_under_the_floor_of_all(
    desk: Desk, company: Company, reader: Reader
) -> None:
    """Every event of the directory was lost, its end as well; no listing of its users can have set a floor."""
    assert reader.set_floor(Scope("directory"), at(60))
    young = company.user("created", "user_young", directory_id="dir_new")
    young["created_at"] = format_ms(START_US + 60 * S)
    desk.take(company.user("created"), company.group("created"), company.member("added", user_id="user_2"), young)

    assert desk.ids("directory_users") == ["user_young"]
    assert desk.ids("directory_groups") == []
    assert desk.members() == []
    reader.see(observe_read("directory", {**company.directory("activated")["data"]}, at(70)))
    assert desk.ids("directory_users") == ["user_young"], "its end was long before"
    reader.see(observe_read("directory_user", user("user_1"), at(80)))
    assert desk.ids("directory_users") == ["user_1", "user_young"]


def test_what_came_back_without_evidence_is_not_asked_for(desk: Desk, company: Company, reader: Reader) -> None:
    """Users and memberships that a parent's death has ended for good are no business of a pass; one that lives by
    evidence later than that death is, though it is hidden while the parent is.
    """
    desk.take(company.directory("activated"), company.user("created"), company.member("added"))
    desk.take(company.directory("deleted"), company.user("created", "user_2"))

    assert desk.ids("directory_users") == []
    assert reader.unseen(USERS, at(60)) == ["user_2"]
    assert reader.unseen(MEMBERS, at(60)) == []


def test_floors_are_read_once_a_page_and_only_where_there_are_any(desk: Desk, reader: Reader) -> None:
    """However many groups are in it."""
    asked: list[int] = []
    found = reader.store.floors

    def floors(connection: Connection, scopes: Collection[tuple[str, Scope]]) -> dict[tuple[str, Scope], Clock]:
        asked.append(len(scopes))
        return found(connection, scopes)

    reader.store.floors = floors  # type: ignore[method-assign, assignment]
    page = [observe_listed("directory_membership", (f"group_{n}", f"user_{n}"), "dir_1", at(60)) for n in range(50)]
    reader.see(*page)
    assert asked == []

    reader.set_floor(MEMBERS, at(60))
    reader.see(*page)
    assert asked == [50]
    assert len(desk.members()) == 50
