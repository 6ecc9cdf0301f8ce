"""Entries become rows, changes and announcements."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from hookline import Change
from hookline.wire.catalogue import sample
from hookline.wire.timestamps import format_ms

from ..conftest import DATABASES
from .company import START_MS, Company, Desk, Event

RUNS_ON = DATABASES


def test_a_created_user_is_a_row_with_typed_columns(desk: Desk, company: Company) -> None:
    """The fields of a user are columns, its payload is kept whole, and the view shows it."""
    desk.take(company.event("dsync.user.created", sample("dsync.user.created")))

    ((email, first, state, is_active, payload),) = desk.rows(
        "select email, first_name, state, is_active, payload from hookline_directory_users_live"
    )
    assert (email, first, state, is_active) == ("ada@lanternworks.example", "Ada", "active", 1)
    assert json.loads(payload)["custom_attributes"]["department_name"] == "Engineering"
    assert desk.outcomes() == ["applied"]


def test_every_mirrored_sample_is_applied(desk: Desk, company: Company) -> None:
    """Each type that moves the mirror leaves a row in its table."""
    types = [
        "organization.created", "dsync.activated", "dsync.user.created", "dsync.group.created", "dsync.group.user_added"
    ]  # fmt: skip
    desk.take(*[company.event(type_, sample(type_)) for type_ in types])

    tables = ("organizations", "directories", "directory_users", "directory_groups", "directory_memberships")
    assert [desk.one(f"select count(*) from hookline_{table}_live") for table in tables] == [1] * 5


def test_words_and_fields_nobody_knew_are_kept(desk: Desk, company: Company) -> None:
    """A state of tomorrow is in its column, a field of tomorrow in the payload; a state nobody knows is not active."""
    desk.take(company.user("created", state="on_leave", badge={"colour": "red"}, provider_words=["x", None]))

    ((state, is_active, payload),) = desk.rows("select state, is_active, payload from hookline_directory_users_live")
    assert (state, is_active) == ("on_leave", 0)
    shown = json.loads(payload)
    assert (shown["state"], shown["badge"], shown["provider_words"]) == ("on_leave", {"colour": "red"}, ["x", None])


def test_an_older_update_changes_nothing(desk: Desk, company: Company) -> None:
    """An update that comes after a newer one is stale: no row, no change."""
    created = company.user("created")
    late = company.user("updated", first_name="Late")
    newest = company.user("updated", first_name="Newest")
    desk.take(created)
    desk.take(newest)
    desk.take(late)

    assert desk.one("select first_name from hookline_directory_users") == "Newest"
    assert desk.outcomes() == ["applied", "applied", "stale"]
    assert desk.changes() == [("created", "user_1"), ("updated", "user_1")]


def test_a_dead_object_is_not_raised_by_a_late_event(desk: Desk, company: Company) -> None:
    """A created event that comes after the deletion it preceded leaves the user dead, with its time of death."""
    created = company.user("created")
    deleted = company.user("deleted")
    desk.take(deleted)
    desk.take(created)

    assert desk.ids("directory_users") == []
    assert desk.one("select deleted_at from hookline_directory_users") == deleted["created_at"]
    assert desk.changes() == []


def test_a_changes_before_and_after(desk: Desk, company: Company) -> None:
    """before and after are the object as it was and is shown; null where it was not or is not."""
    desk.take(company.user("created"), company.user("updated", first_name="Ida"), company.user("deleted"))

    names = [
        tuple(text and json.loads(text)["first_name"] for text in pair)
        for pair in desk.rows("select before, after from hookline_changes order by seq")
    ]
    assert names == [(None, "Ada"), ("Ada", "Ida"), ("Ida", None)]


def test_a_membership_brings_its_ends_silently(desk: Desk, company: Company) -> None:
    """An add of unknown ends makes both rows; handlers hear of the membership, and of the user once it is created."""
    created = company.user("created")
    desk.take(company.member("added"))

    assert desk.ids("directory_users") == ["user_1"]
    assert desk.members() == [("group_1", "user_1")]
    assert desk.changes() == [("added", "group_1/user_1")]
    desk.take(created)
    assert desk.changes("directory_user") == [("created", "user_1")]


def test_a_stub_dies_aloud(desk: Desk, company: Company) -> None:
    """A user known only from a membership is announced when it is lost, with its memberships."""
    desk.take(company.member("added"))
    desk.take(company.user("deleted"))

    assert desk.changes() == [("added", "group_1/user_1"), ("deleted", "user_1"), ("hidden", "group_1/user_1")]
    assert desk.members() == []


def test_a_remove_makes_no_user(desk: Desk, company: Company) -> None:
    """The copies inside a removal are no observation: only the pair's tombstone is kept."""
    desk.take(company.member("removed"))

    assert desk.rows("select * from hookline_directory_users") == []
    assert desk.one("select deleted_at from hookline_directory_memberships") is not None
    assert desk.changes() == []


def test_a_directorys_death_is_announced_once_for_every_child(desk: Desk, company: Company) -> None:
    """A sole dsync.deleted ends every user, group and membership: one Change each, caused by that event."""
    people = [company.user("created", f"user_{number:03d}") for number in range(250)]
    members = [company.member("added", "group_1", f"user_{number:03d}") for number in range(250)]
    desk.take(company.organization("created"), company.directory("activated"), company.group("created"))
    desk.take(*people, *members)
    (end,) = [company.directory("deleted")]
    seen = len(desk.changes())
    desk.take(end)
    desk.take(company.directory("deleted"))  # said twice: nothing more to tell

    told = desk.changes()[seen:]
    assert told[0] == ("deleted", "dir_1")
    expected = {("hidden", id_) for id_ in ("group_1", *(f"user_{number:03d}" for number in range(250)))}
    expected |= {("hidden", f"group_1/user_{number:03d}") for number in range(250)}
    assert sorted(told[1:]) == sorted(expected)
    causes = desk.rows("select distinct cause from hookline_changes where kind = 'hidden'")
    assert causes == [(end["id"],)]
    assert desk.rows("select * from hookline_cascades") == []


def test_an_organizations_death_reaches_memberships(desk: Desk, company: Company) -> None:
    """What hangs on an organization by way of its directory is lost with it."""
    desk.take(company.organization("created"), company.directory("activated"), company.member("added"))
    desk.take(company.organization("deleted"))

    hidden = ("dir_1", "group_1", "group_1/user_1", "user_1")
    assert sorted(desk.changes()[-5:]) == [("deleted", "org_1"), *(("hidden", id_) for id_ in hidden)]
    tables = ("organizations", "directories", "directory_users", "directory_groups")
    assert [desk.ids(table) for table in tables] == [[]] * 4


def test_a_returned_parent_shows_what_was_seen_since(desk: Desk, company: Company) -> None:
    """After a directory's death and return only children with fresh evidence are shown again."""
    desk.take(company.directory("activated"), company.user("created", "user_1"), company.user("created", "user_2"))
    desk.take(company.directory("deleted"))
    fresh = company.user("updated", "user_2")
    back = company.directory("activated")
    desk.take(company.user("updated", "user_2"))
    desk.take(fresh)
    assert desk.ids("directory_users") == []

    desk.take(back)

    assert desk.ids("directory_users") == ["user_2"]
    assert desk.changes("directory_user")[-1] == ("shown", "user_2")


def test_a_directory_that_comes_back_after_its_organization_brings_its_children(desk: Desk, company: Company) -> None:
    """Children that came between the organization's return and the directory's own are announced with the latter."""
    directory = company.directory("activated")
    gone, returned = company.organization("deleted"), company.organization("created")
    activated = company.directory("activated")
    user, group, member = company.user("created"), company.group("created"), company.member("added")
    for event in (gone, directory, returned, user, group, member):
        desk.take(event)
    before = (desk.ids("directory_users"), desk.members())
    desk.take(activated)

    assert before == ([], [])
    assert desk.ids("directory_users") == ["user_1"]
    assert desk.members() == [("group_1", "user_1")]
    assert desk.changes("directory_%") == [
        ("shown", "user_1"),
        ("shown", "group_1"),
        ("shown", "group_1/user_1"),
    ]


def test_a_child_that_meets_its_dead_parent_in_one_batch_is_never_announced(desk: Desk, company: Company) -> None:
    """A user created in the batch in which its directory dies is not told of: access was never given."""
    desk.take(company.directory("activated"))
    desk.take(company.user("created"), company.directory("deleted"))

    assert desk.changes("directory_user") == []
    assert desk.ids("directory_users") == []


def test_a_flip_that_an_event_meets_before_the_walk_names_the_parents_event(desk: Desk, company: Company) -> None:
    """When a child's own event comes before the cascade has reached it, the loss is told once, with the right cause."""
    desk.take(company.directory("activated"), company.user("created"))
    gone = company.directory("deleted")
    desk.put(gone, company.user("updated", first_name="Ida"))
    desk.worker.drain()

    assert desk.changes("directory_user") == [("created", "user_1"), ("hidden", "user_1")]
    assert desk.one("select cause from hookline_changes where kind = 'hidden'") == gone["id"]


def test_states_of_directories_are_stored_in_one_vocabulary(desk: Desk, company: Company) -> None:
    """Events say active where the API says linked: the same value is stored; a deletion's state says nothing."""
    desk.take(company.directory("activated", state="active"))
    desk.take(company.directory("deleted", state="deleting"))

    assert desk.one("select state from hookline_directories") == "linked"


def test_a_reduced_deletion_keeps_the_other_fields(desk: Desk, company: Company) -> None:
    """dsync.deleted carries fewer fields; what only the activation said is still there, and comes back after it."""
    desk.take(company.directory("activated", external_key="key_1"))
    desk.take(company.directory("deleted", name="Renamed"))

    assert desk.rows("select name, external_key from hookline_directories") == [("Renamed", "key_1")]
    full, reduced = desk.rows("select full_payload, reduced_payload from hookline_directories")[0]
    assert json.loads(full)["name"] == "Staff"
    assert json.loads(reduced)["name"] == "Renamed"
    desk.take(company.directory("activated", external_key="key_2"))
    assert desk.rows("select name, external_key, full_payload from hookline_directories") == [("Staff", "key_2", None)]


def test_sources_do_not_mix(desk: Desk, company: Company) -> None:
    """The same id from two sources is two objects."""
    created = company.user("created")
    desk.take(created, company.user("updated", first_name="Ida"))
    desk.take(created, source="other")

    rows = desk.rows("select source, first_name from hookline_directory_users order by source")
    assert rows == [("default", "Ida"), ("other", "Ada")]


def test_unknown_types_are_facts_or_ignored(desk: Desk, company: Company) -> None:
    """A type nobody maps is `fact` where a handler hears of it, else `ignored`."""
    desk.hooks.on("session.created", name="sessions")(lambda event, tx: None)
    desk.take(company.event("session.created", {"id": "session_1"}), company.event("brand.new", {}))

    assert desk.outcomes() == ["fact", "ignored"]


def test_a_user_that_moves_hangs_on_its_new_directory(desk: Desk, company: Company) -> None:
    """When an update names another directory, the user and its memberships live and die with that one."""
    desk.take(company.directory("activated"), company.directory("activated", "dir_2"), company.member("added"))
    desk.take(company.user("updated", directory_id="dir_2"))
    desk.take(company.directory("deleted", "dir_2"))

    assert desk.one("select directory_id from hookline_directory_users") == "dir_2"
    assert desk.ids("directory_users") == []
    assert desk.changes("directory_user")[-1] == ("hidden", "user_1")
    assert desk.members() == []


def test_a_death_that_came_and_went_still_ends_what_is_older(desk: Desk, company: Company) -> None:
    """An organization dies and returns before the walk: what was seen since stays, an older membership ends."""
    desk.take(company.organization("created"), company.directory("activated"), company.member("added"))
    ends = company.organization("deleted")
    desk.take(
        ends,
        company.directory("activated"),
        company.user("created"),
        company.group("created"),
        company.organization("created"),
    )

    assert desk.ids("directory_users") == ["user_1"]
    assert desk.members() == []
    assert desk.changes("directory_membership") == [("added", "group_1/user_1"), ("hidden", "group_1/user_1")]


def test_a_flip_met_before_the_walk_goes_on_to_memberships(desk: Desk, company: Company) -> None:
    """User and group have late updates in one batch with their organization's deletion: the walk finds both told
    already, and the membership, which no known directory's walk would reach, is told all the same, and once.
    """
    added, user, group = company.member("added"), company.user("updated"), company.group("updated")
    desk.take(added)
    desk.take(company.organization("deleted"), user, group)

    assert desk.changes("directory_membership") == [
        ("added", "group_1/user_1"),
        ("hidden", "group_1/user_1"),
    ]
    assert desk.members() == []


def test_a_shown_stub_that_is_no_longer_active_is_told(desk: Desk, company: Company) -> None:
    """A user of embedded copies alone who came back aloud with their directory: a newer copy that says `inactive` is an
    `updated`, so that an app which keeps access from `on_change` ends it.
    """
    access: dict[str, bool] = {}

    def keep(change: Change, tx: object) -> None:
        access[change.id] = change.is_active

    desk.hooks.on_change("directory_user", name="access")(keep)
    told = []
    for event in (
        company.member("added"),
        company.directory("deleted"),
        company.directory("activated"),
        company.member("added"),
        with_user(company.member("added"), state="inactive", updated_at=format_ms((START_MS + 60_000) * 1_000)),
    ):
        desk.take(event)
        told.append(access.get("user_1"))

    assert told == [None, False, False, True, False]
    assert desk.changes("directory_user") == [("hidden", "user_1"), ("shown", "user_1"), ("updated", "user_1")]
    assert desk.one("select is_active from hookline_directory_users_live") == 0


def with_user(event: Event, **fields: object) -> Event:
    """The membership event with other fields in its copy of the user."""
    return {**event, "data": {**event["data"], "user": {**event["data"]["user"], **fields}}}


@pytest.mark.parametrize("names", [None, "dir_2"], ids=["no directory", "another"])
def test_a_directorys_walk_comes_to_memberships_that_do_not_name_it(
    desk: Desk, company: Company, names: str | None
) -> None:
    """A membership whose event named no directory, or not the one its user is in, ends aloud with that one."""
    desk.take(company.directory("activated"), company.user("created"))
    added = with_user(company.member("added", directory_id=names), directory_id=None)
    del added["data"]["group"]["directory_id"]
    desk.take(added)
    desk.take(end := company.directory("deleted"))

    assert desk.members() == []
    assert desk.changes("directory_membership") == [("added", "group_1/user_1"), ("hidden", "group_1/user_1")]
    assert (
        desk.one("select cause from hookline_changes where resource = 'directory_membership' and kind = 'hidden'")
        == (end["id"])
    )
    assert desk.rows("select * from hookline_cascades") == []


def test_an_organizations_walk_comes_to_users_whose_directory_is_not_its_own(desk: Desk, company: Company) -> None:
    """A user's directory is known, but nobody said it was the organization's: the walk goes on to their memberships."""
    desk.take(company.directory("activated", organization_id=None), company.user("created"))
    desk.take(company.member("added", directory_id=None))
    desk.take(company.organization("deleted"))

    assert desk.ids("directories") == ["dir_1"]
    assert desk.members() == []
    assert desk.changes("directory_membership") == [("added", "group_1/user_1"), ("hidden", "group_1/user_1")]


def test_a_life_without_newer_content_ends_what_the_deletion_said(desk: Desk, company: Company) -> None:
    """The object lives again by an event whose content is older than the deletion's: its own content is shown, in the
    payload and in the columns, and it hangs on what that names.
    """
    late = format_ms((START_MS + 60_000) * 1_000)
    desk.take(company.user("created", updated_at=late, organization_id="org_2"))
    desk.take(company.user("deleted", updated_at=format_ms((START_MS + 90_000) * 1_000), first_name="Gone"))
    assert desk.one("select organization_id from hookline_directory_users") == "org_1"
    desk.take(company.user("updated", first_name="Old"))

    ((payload, name, above),) = desk.rows("select payload, first_name, organization_id from hookline_directory_users")
    assert (json.loads(payload)["first_name"], name, above) == ("Ada", "Ada", "org_2")
    desk.take(company.organization("deleted", "org_1"))
    assert desk.ids("directory_users") == ["user_1"]


def test_content_without_updated_at_is_kept_beside_the_dated(desk: Desk, company: Company) -> None:
    """The copy that counts is shown; the other waits in `rival`, and takes part in every later decision."""
    old = format_ms(START_MS * 1_000)
    dated, undated = company.user("created", updated_at=old), company.user("updated", updated_at=None, first_name="Ida")
    silent = company.user("updated", updated_at=old, first_name="Eva")
    sql = "select first_name, content_updated_us, rival is null from hookline_directory_users"
    desk.take(dated)
    assert desk.rows(sql) == [("Ada", START_MS * 1_000, 1)]
    desk.take(undated)
    assert desk.rows(sql) == [("Ida", -1, 0)]
    desk.take(silent)

    assert desk.rows(sql) == [("Eva", START_MS * 1_000, 0)]
    assert [kind for kind, _ in desk.changes("directory_user")] == ["created", "updated", "updated"]
    key = json.loads(desk.one("select rival from hookline_directory_users"))
    assert (key[0], key[2], key[3]["first_name"]) == (-1, undated["id"], "Ida")


def test_every_order_leaves_the_same_rows_of_dated_and_undated_content(desk: Desk, company: Company) -> None:
    """One by one, each read back from its row: updates, deletions and copies with and without `updated_at`."""
    events = [
        company.user("created"),
        company.user("updated", updated_at=None, first_name="Ida"),
        with_user(company.member("added"), updated_at=None, first_name="Copy"),
        company.user("deleted", updated_at=None, first_name="Gone"),
        company.user("updated", updated_at=format_ms(START_MS * 1_000), first_name="Eva"),
    ]
    columns = "first_name, payload, full_payload, reduced_payload, rival, content_updated_us, content_event_id, flags"
    ends = set()
    for order in random.Random(24).sample(list(itertools.permutations(events)), 30):
        for event in order:
            desk.take(event)
        ends |= set(desk.rows(f"select {columns} from hookline_directory_users"))
        with desk.database.transaction() as connection:
            for table in ("inbox", "directory_users", "directory_groups", "directory_memberships", "changes"):
                connection.execute(f"delete from hookline_{table}")

    assert [end[0] for end in {end[:-1] for end in ends}] == ["Copy"]


def at(event: Event, seconds: int) -> Event:
    """The event as if made so many seconds into a company's first hour."""
    time = format_ms((START_MS + seconds * 1_000) * 1_000)
    return {**event, "created_at": time, "data": {**event["data"], "updated_at": time}}


@pytest.mark.parametrize("is_late", [True, False], ids=["the child comes late", "the walk finds it"])
@pytest.mark.parametrize(
    ("seconds", "flags"), [(600, "uncertain"), (614, "uncertain"), (585, "uncertain"), (584, ""), (616, "")]
)
def test_a_child_that_is_near_its_parents_death_is_doubted(
    desk: Desk, company: Company, is_late: bool, seconds: int, flags: str
) -> None:
    """Within ε of its directory's deletion, whichever the rule lets win; a user and a membership, and never the
    directory itself.
    """
    directory, end = at(company.directory("activated"), 0), at(company.directory("deleted"), 600)
    user, member = at(company.user("created"), seconds), at(company.member("added"), seconds)
    for event in (directory, end, user, member) if is_late else (directory, user, member, end):
        desk.take(event)

    found = [
        desk.one(f"select flags from hookline_{table}")
        for table in ("directories", "directory_users", "directory_memberships")
    ]
    assert found == ["", flags, flags]
    if is_late:
        reasons = desk.rows("select reason from hookline_inbox_outcomes order by seq")
        assert [reason for (reason,) in reasons[2:]] == ["refetch:uncertain" if flags else None] * 2
