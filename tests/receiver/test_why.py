"""What can be told of an object: what it is, what it was, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hookline.errors import ConfigError
from hookline.receiver.mirror import Seen, apply_reads
from hookline.receiver.mirror_queries import MirrorQueries
from hookline.receiver.mirror_store import Cause, MirrorStore, Scope
from hookline.receiver.queries import InboxQueries, QuestionCounts
from hookline.receiver.resources import EDGES, RESOURCES, Observed, observe_absent, observe_read
from hookline.receiver.why import ListedAsOf, Why
from hookline.receiver.why import why as explain
from hookline.rules.gaps import Numbers
from hookline.rules.merge import EPSILON_US, floor_clock
from hookline.storage import Verbs
from hookline.wire.timestamps import format_ms

from ..conftest import DATABASES
from .company import START_MS, Company, Desk, say

RUNS_ON = DATABASES


def verbs(desk: Desk) -> Verbs:
    return Verbs("hookline.receiver", desk.database.dialect)


def why(desk: Desk, resource: str, id_: str, **named: Any) -> Why:
    with desk.database.snapshot() as connection:
        return explain(verbs(desk), connection, resource, id_, **named)


def ask(desk: Desk, query: Callable[..., Any], *args: Any, **named: Any) -> Any:
    with desk.database.snapshot() as connection:
        return query(connection, *args, **named)


def test_each_column_names_the_event_that_set_it(desk: Desk, company: Company) -> None:
    """A column that an update left alone still names the creation; times are those of applying."""
    created = company.user("created")
    updated = company.user("updated", first_name="Ida")
    desk.take(created)
    desk.clock.advance(5_000)
    desk.take(updated)

    columns = {one.name: one for one in why(desk, "directory_user", "user_1").columns}

    assert (columns["first_name"].value, columns["first_name"].event_id) == ("Ida", updated["id"])
    assert (columns["email"].event_id, columns["email"].set_ms) == (created["id"], START_MS)
    assert columns["first_name"].set_ms == START_MS + 5_000


def test_every_event_about_it_is_listed_with_what_became_of_it(desk: Desk, company: Company) -> None:
    """In order of arrival: applied, stale, embedded in a membership, repeated, and waiting; others' events are not."""
    created, late = company.user("created"), company.user("updated", first_name="Late")
    newest, member = company.user("updated", first_name="Newest"), company.member("added")
    desk.take(created, company.user("created", "user_2"))
    desk.take(newest)
    desk.take(late)
    desk.take(member)
    with desk.database.transaction() as connection:
        say(
            connection,
            "insert into hookline_inbox_repeats values ('default', ?, ?, 'duplicate', 3, 0)",
            *(created["id"], b"\0"),
        )
    desk.put(company.user("deleted"))

    touches = why(desk, "directory_user", "user_1").touches

    assert [(touch.type, touch.says, touch.outcome) for touch in touches] == [
        ("dsync.user.created", "upsert", "applied"),
        ("dsync.user.updated", "upsert", "applied"),
        ("dsync.user.updated", "upsert", "stale"),
        ("dsync.group.user_added", "embedded", "applied"),
        ("dsync.user.deleted", "delete", "waiting"),
    ]
    assert [touch.duplicates for touch in touches] == [3, 0, 0, 0, 0]


def test_a_shown_object_says_what_proves_it(desk: Desk, company: Company) -> None:
    """The latest proof of life is named, and that an inactive one is no access."""
    desk.take(company.user("created"))
    newest = company.user("updated", state="inactive")
    desk.take(newest)

    shown, inactive = why(desk, "directory_user", "user_1").reasons
    assert shown.startswith("shown")
    assert newest["id"] in shown
    assert inactive.startswith("not active")


def test_a_hidden_object_names_what_hides_it(desk: Desk, company: Company) -> None:
    """Its own deletion, a dead parent, a death that came and went above it: each is told with its event."""
    org, directory = company.organization("created"), company.directory("activated")
    desk.take(org, directory, company.user("created"), company.user("created", "user_2"))
    gone, dead = company.user("deleted", "user_2"), company.directory("deleted")
    desk.take(gone)
    desk.take(dead)

    own = why(desk, "directory_user", "user_2")
    assert own.reasons[0] == f"deleted at {gone['created_at']} by {gone['id']}"
    taken_along = why(desk, "directory_user", "user_1")
    assert taken_along.reasons == ("its directory dir_1 is not shown",)
    assert [(p.resource, p.is_known, p.is_live) for p in taken_along.parents] == [
        ("directory", True, False),
        ("organization", True, True),
    ]
    assert taken_along.parents[0].deleted_at == dead["created_at"]

    desk.take(company.directory("activated"))
    (reason,) = why(desk, "directory_user", "user_1").reasons
    assert reason == f"its latest proof of life is older than the death of its directory dir_1 by {dead['id']}"


def test_a_relation_says_who_removed_it(desk: Desk, company: Company) -> None:
    """Of a membership there are its two clocks, its ends and its directory."""
    removed = company.member("removed")
    desk.take(company.member("added"), removed)
    found = why(desk, "directory_membership", "group_1/user_1")
    assert found.row is not None
    assert found.row.is_live is True  # the add was made later than the remove
    desk.take(last := company.member("removed"))

    found = why(desk, "directory_membership", "group_1/user_1")
    assert found.reasons == (f"removed by {last['id']}",)
    assert [parent.resource for parent in found.parents] == ["directory_group", "directory_user", "directory"]
    assert [touch.says for touch in found.touches] == ["add", "remove", "remove"]


def test_a_domain_off_the_list_and_a_membership_that_is_over(desk: Desk, company: Company) -> None:
    """What hides rows of only one resource is told too."""
    domain = {"object": "organization_domain", "id": "domain_1", "organization_id": "org_1", "domain": "acme.example"}
    desk.take(company.event("organization_domain.created", domain))
    desk.take(without := company.organization("updated", domains=[]))
    (reason,) = why(desk, "organization_domain", "domain_1").reasons
    assert reason == f"not in the list that organization org_1 was last seen with, by {without['id']}"

    for number in (1, 2):
        data = {"object": "organization_membership", "id": f"om_{number}", "user_id": "u", "organization_id": "org_1"}
        desk.take(company.event("organization_membership.created", {**data, "status": "active"}))
    (reason,) = why(desk, "organization_membership", "om_1").reasons
    assert reason.startswith("ended by a later membership")


def test_open_wishes_are_told(desk: Desk, company: Company) -> None:
    """What the events leave in doubt is listed with the event that raised it."""
    event = company.user("created", updated_at=None)
    desk.take(event)

    assert why(desk, "directory_user", "user_1").wishes == ((event["id"], "refetch:weak"),)


def test_what_is_not_there_tells_what_is_known(desk: Desk, company: Company) -> None:
    """Nothing at all, events that wait, and events that left no row are three answers; a wrong resource is an error."""
    assert why(desk, "directory_user", "user_9").reasons == ("no event about it is in the inbox",)
    desk.worker.drain()
    desk.put(company.user("created", "user_9"))
    assert why(desk, "directory_user", "user_9").reasons == ("its events wait to be applied",)
    session = company.event("session.created", {"object": "session", "id": "session_1", "user_id": "user_1"})
    desk.take(session)
    found = why(desk, "session", "session_1")
    assert (found.row, found.reasons) == (None, ("its events left no row: see what became of each",))
    assert [touch.outcome for touch in found.touches] == ["ignored"]
    with pytest.raises(ConfigError, match="did you mean 'directory_user'"):
        why(desk, "directory_users", "user_9")


def test_ids_of_several_parts_and_of_other_alphabets_are_found(desk: Desk, company: Company) -> None:
    """A role's key is not in its event as such, and JSON may escape what is not ASCII."""
    desk.take(
        company.event("role.created", {"object": "role", "slug": "a/b", "resource_type_slug": "organization"}),
        company.user("created", "user_é"),
    )

    assert [touch.type for touch in why(desk, "role", "a%2Fb/organization").touches] == ["role.created"]
    assert [touch.type for touch in why(desk, "directory_user", "user_é").touches] == ["dsync.user.created"]


def test_sources_are_asked_apart(desk: Desk, company: Company) -> None:
    """One source's object is not known to another."""
    desk.take(company.user("created"), source="other")

    assert why(desk, "directory_user", "user_1").row is None
    assert why(desk, "directory_user", "user_1", source="other").row is not None


def test_as_of_a_moment_and_a_place(desk: Desk, company: Company) -> None:
    """What was shown then: nothing before the first change, the old name between, nothing after the death."""
    desk.take(company.user("created"))
    for event in (company.user("updated", first_name="Ida"), company.user("deleted")):
        desk.clock.advance(1_000)
        desk.take(event)
    queries = MirrorQueries(verbs(desk))
    seqs = [change.seq for change in ask(desk, queries.history, "directory_user", "user_1")]
    assert seqs == sorted(seqs, reverse=True)
    assert len(seqs) == 3

    def name_at(**when: int) -> Any:
        change = ask(desk, queries.as_of, "directory_user", "user_1", **when)
        return None if change is None else change.after and change.after["first_name"]

    assert [name_at(as_of_ms=START_MS + ms) for ms in (-1, 0, 999, 1_000, 2_000)] == [None, "Ada", "Ada", "Ida", None]
    assert [name_at(seq=seq) for seq in reversed(seqs)] == ["Ada", "Ida", None]
    assert ask(desk, queries.as_of, "directory_user", "user_1").is_live is False


def test_counts_and_pages(desk: Desk, company: Company) -> None:
    """Rows are counted dead or alive, and pages follow each other without a gap, of relations too."""
    desk.take(*(company.user("created", f"user_{number}") for number in range(5)), company.user("deleted", "user_2"))
    desk.take(*(company.member("added", user_id=f"user_{number}") for number in (0, 1)))
    queries = MirrorQueries(verbs(desk))

    counts = {one.resource: (one.rows, one.live) for one in ask(desk, queries.counts)}
    assert set(counts) == {*RESOURCES, *EDGES}
    assert (counts["directory_user"], counts["directory_membership"]) == ((5, 4), (2, 2))
    first = ask(desk, queries.rows, "directory_user", limit=3)
    rest = ask(desk, queries.rows, "directory_user", after=first[-1]["id"])
    assert [row["id"] for row in [*first, *rest]] == ["user_0", "user_1", "user_3", "user_4"]
    assert len(ask(desk, queries.rows, "directory_user", is_live=False)) == 5
    (last,) = ask(desk, queries.rows, "directory_membership", after="group_1/user_0")
    assert last == {"group_id": "group_1", "user_id": "user_1", "directory_id": "dir_1"}


# -- what was read at the source ----------------------------------------------------------------------------------


def see(desk: Desk, *observed: Observed) -> None:
    """Join answers of the source, as a pass does."""
    store = MirrorStore(verbs(desk))
    seen = [Seen("default", one, Cause(None, "pass_7")) for one in observed]
    desk.database.run(lambda connection: apply_reads(store, connection, seen, desk.clock.now_ms()))
    desk.worker.drain()


def at(second: int) -> int:
    """The moment of a request that counts as of this second."""
    return START_MS * 1_000 + second * 1_000_000 + EPSILON_US


def test_a_pass_is_named_as_what_set_a_column_and_ended_an_object(desk: Desk, company: Company) -> None:
    """What it read, and what was not there."""
    event = company.user("created")
    desk.take(event)
    see(desk, observe_read("directory_user", {**event["data"], "first_name": "Read"}, at(60)))
    columns = {one.name: one for one in why(desk, "directory_user", "user_1").columns}
    assert (columns["first_name"].event_id, columns["email"].event_id) == ("pass_7", event["id"])

    see(desk, observe_absent("directory_user", "user_1", at(90)))
    found = why(desk, "directory_user", "user_1")
    assert found.reasons[0].startswith("deleted at")
    assert found.reasons[0].endswith("by an answer of the source")
    assert found.changes[-1].cause == "pass_7"


def test_a_floor_is_told_where_it_has_the_say(desk: Desk, company: Company) -> None:
    """The row of a late event about one that no listing showed, and the listing that speaks for it."""
    store, late = MirrorStore(verbs(desk)), [company.user("created"), company.member("added")]
    for scope in (Scope("directory_user", "dir_1"), Scope("directory_membership", "group_1"), Scope("directory")):
        with desk.database.transaction() as connection:
            assert store.set_floor(connection, "default", scope, floor_clock(at(60)))
    desk.take(*late)

    found = why(desk, "directory_user", "user_1")
    assert found.reasons[0].endswith("by a complete listing without it")
    assert found.listed == ListedAsOf("directory_user", "dir_1", START_MS * 1_000 + 60_000_000)
    member = why(desk, "directory_membership", "group_1/user_1")
    assert member.reasons[0] == "removed by a complete listing without it"
    assert member.listed == ListedAsOf("directory_membership", "group_1", START_MS * 1_000 + 60_000_000)
    unknown = why(desk, "directory", "dir_9")
    assert unknown.row is None
    assert unknown.listed == ListedAsOf("directory", "", START_MS * 1_000 + 60_000_000)


def test_questions_and_missing_events_are_told_until_they_are_settled(desk: Desk, company: Company) -> None:
    """A gap and the number that is missing; a wish that a read has settled is open no more."""
    created, told_by = company.user("created"), company.user("updated", previous_attributes={"first_name": "Bo"})
    numbers = (1, 3)
    for event, number in zip(
        (created, {**told_by, "data": {**told_by["data"], "first_name": "Cy"}}), numbers, strict=True
    ):
        (seq,) = desk.put(event)
        desk.write("update hookline_inbox set object_sequence = ? where seq = ?", number, seq)
    desk.worker.drain()
    regressed = company.user("updated", first_name="Di", updated_at=format_ms(START_MS * 1_000))
    regressed["created_at"] = format_ms(at(30))
    desk.take(regressed)

    found = why(desk, "directory_user", "user_1")
    (question,) = found.refetches
    assert (question.reasons, question.told_by) == (frozenset(["gap", "sequence"]), told_by["id"])
    assert found.numbers == Numbers(3, (2,))
    assert found.wishes == ((regressed["id"], "refetch:clock_regression"),)
    status = read_questions(desk)
    assert (status.waiting, status.gaps) == (1, 1)

    data = {**created["data"], "first_name": "Cy", "updated_at": format_ms(at(100))}
    see(desk, observe_read("directory_user", data, at(200)))
    found = why(desk, "directory_user", "user_1")
    assert (found.refetches, found.wishes, found.numbers) == ((), (), Numbers(3))


def read_questions(desk: Desk) -> QuestionCounts:
    with desk.database.read() as connection:
        return InboxQueries(verbs(desk)).questions(connection)["default"]


def test_a_list_that_is_to_be_asked_for_is_told_of_each_it_concerns(desk: Desk, company: Company) -> None:
    """Of a user that came back: the user and each membership."""
    worker = desk.new_worker(asking=["default"])
    worker.register()
    desk.put(company.user("created"), company.member("added"), company.user("deleted"), company.user("created"))
    worker.drain()

    for resource, id_ in (("directory_user", "user_1"), ("directory_membership", "group_1/user_1")):
        asked = [(one.object_id, one.reasons) for one in why(desk, resource, id_).refetches]
        assert ("/user_1", frozenset(["recreated"])) in asked


def test_a_page_looks_through_the_newest_and_at_what_is_named(desk: Desk, company: Company) -> None:
    """Of the entries before those, the ones that the row and the change feed name; it says from where it looked."""
    made = company.user("created", first_name="Ada")
    late = company.user("updated", first_name="Old")
    desk.take(made, company.user("updated", first_name="Ida"), late)
    desk.take(*(company.organization("updated", f"org_{n}") for n in range(5)))
    whole = why(desk, "directory_user", "user_1")
    near = why(desk, "directory_user", "user_1", newest=5)
    nearer = why(desk, "directory_user", "user_1", newest=100)
    assert (whole.looked_from, near.looked_from, nearer.looked_from) == (0, 3, 0)
    assert [touch.outcome for touch in whole.touches] == ["applied", "applied", "stale"]
    assert nearer == whole
    assert [touch.outcome for touch in near.touches] == ["applied", "applied"]
    assert (near.row, near.columns, near.reasons) == (whole.row, whole.columns, whole.reasons)


def test_what_each_event_came_to(desk: Desk, company: Company) -> None:
    """Field by field for what changed it; of a stale one by which clock it lost, and in what it would differ."""
    made = company.user("created", first_name="Ada")
    late = company.user("updated", first_name="Old")
    newer = company.user("updated", first_name="Ida")
    desk.take(made, newer, late)
    found = why(desk, "directory_user", "user_1")
    stale, changed, created = found.told()
    assert [told.touch.event_id for told in (stale, changed, created)] == [late["id"], newer["id"], made["id"]]
    assert ("first_name", "Ada", "Ida") in changed.differences
    assert ("first_name", None, "Ada") in created.differences
    assert ("first_name", "Ida", "Old") in stale.differences
    assert stale.change is None
    assert stale.lost_to is not None
    name, us, event_id = stale.lost_to
    assert (name, event_id) == ("content", newer["id"])
    assert us > stale.touch.created_us
    assert (changed.lost_to, created.lost_to) == (None, None)


def test_an_event_after_its_objects_death_lost_to_that(desk: Desk, company: Company) -> None:
    late = company.user("updated", first_name="Old")
    gone = company.user("deleted")
    desk.take(company.organization("created"), company.user("created"), gone, late)
    found = why(desk, "directory_user", "user_1")
    told = {one.touch.event_id: one for one in found.told()}
    lost = told[late["id"]].lost_to
    assert lost is not None
    assert (lost[0], lost[2]) == ("death", gone["id"])
