"""The source's state: each write and the events that tell of it are one commit, by the protocol's rules."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from hookline.errors import RequestError
from hookline.sender.directories import KIND, Directories, DomainValues
from hookline.sender.directory_changes import (
    AddMember,
    CreateGroup,
    CreateUser,
    DeleteGroup,
    DeleteUser,
    IdpId,
    Operation,
    RemoveMember,
    UpdateUser,
)
from hookline.sender.directory_model import Directory, InactiveFlow
from hookline.sender.directory_payloads import directory_payload, user_payload
from hookline.sender.event_writer import EventWriter
from hookline.sender.ids import IdMaker
from hookline.sender.job_store import JobStore
from hookline.sender.jobs import JobRunner
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock
from hookline.wire.catalogue import sample
from hookline.wire.timestamps import parse_us

NOW_MS = 1_790_000_000_000


@dataclass
class Source:
    """Directories over a database of the test's own, and what they have told."""

    database: Database
    clock: TurnedClock
    directories: Directories

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    def told(self) -> list[tuple[str, dict[str, Any], int]]:
        """Every event in feed order: type, body, sequence."""
        rows = self.rows(
            "select e.type, e.body, e.object_sequence from hookline_sender_feed f "
            "join hookline_sender_events e on e.row_id = f.event_row order by f.seq"
        )
        return [(type_, json.loads(bytes(body)), sequence) for type_, body, sequence in rows]

    def types(self) -> list[str]:
        return [type_ for type_, _, _ in self.told()]

    def directory(self, flow: InactiveFlow = "secure") -> Directory:
        """A directory of a new organization."""
        organization = self.directories.create_organization("production", name="Acme")
        return self.directories.create_directory(
            "production", organization_id=organization.id, name="Acme directory", inactive_flow=flow
        )

    def jobs(self) -> JobRunner:
        kinds = {KIND: self.directories.do_part}
        return JobRunner(self.database, JobStore(self.database.dialect), clock=self.clock, kinds=kinds)

    def do_jobs(self) -> None:
        """All that is due, part by part."""
        jobs = self.jobs()
        jobs.note_due(self.clock.now_ms())
        while (due_ms := jobs.step()) is not None and due_ms <= self.clock.now_ms():
            pass


@pytest.fixture
def source(database_url: str) -> Iterator[Source]:
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    clock = TurnedClock(NOW_MS)
    yield Source(database, clock, made(database, clock))
    database.close()


def made(database: Database, clock: TurnedClock, **options: Any) -> Directories:
    return Directories(database, SenderStore(database.dialect), clock=clock, ids=IdMaker(), **options)


def refused(error: pytest.ExceptionInfo[RequestError]) -> tuple[int, str | None, str]:
    """Status, code and the field that is named."""
    assert error.value.errors
    return error.value.status, error.value.code, error.value.errors[0]["field"]


def keys_of(value: Any) -> Any:
    """The members of a JSON value, and of what is in them."""
    if isinstance(value, dict):
        return {name: keys_of(inner) for name, inner in value.items()}
    return keys_of(value[0]) if isinstance(value, list) and value else None


def test_every_event_has_the_members_of_its_types_sample(source: Source) -> None:
    """A life in which each type is told once: no member is missing, none is ours."""
    write = source.directories
    verification: Mapping[str, Any] = {
        "verification_strategy": "dns", "verification_prefix": "acme-2x7q", "verification_token": "hK3mVq8Zt1sYw5Rb0nJc"
    }  # fmt: skip
    domain = DomainValues("Acme.example", **verification)
    acme = write.create_organization("production", name="Acme", domains=[domain], metadata={"plan": "team"})
    for state in ("verified", "pending", "failed"):
        given = [DomainValues("acme.example", state), DomainValues("other.example", **verification)]
        write.update_organization("production", acme.id, {"domains": given})
    directory = write.create_directory("production", organization_id=acme.id, name="Acme directory")
    custom = {"department_name": "Engineering", "job_title": "Optical Engineer"}
    ada = write.create_user(
        "production", directory.id, idp_id="00u5", email="ada@acme.example", first_name="Ada", last_name="Okafor",
        custom_attributes=custom,
    )  # fmt: skip
    group = write.create_group("production", directory.id, idp_id="Engineering", name="Engineering")
    write.add_member("production", directory.id, group.id, ada.id)
    write.update_user(
        "production", directory.id, ada.id, last_name="Okafor-Reyes", custom_attributes={**custom, "job_title": "Lead"}
    )
    write.update_group("production", directory.id, group.id, name="Engineering and Optics")
    write.remove_member("production", directory.id, group.id, ada.id)
    write.delete_group("production", directory.id, group.id)
    write.delete_user("production", directory.id, ada.id)
    write.delete_directory("production", directory.id)
    write.update_organization("production", acme.id, {"name": "Acme Ltd", "domains": given[:1]})
    write.delete_organization("production", acme.id)

    told = source.told()

    for type_, body, _ in told:
        expected = keys_of(sample(type_))
        if type_.startswith("organization."):
            # Of domains the sample has as many as it likes; of ours no customer of a payment service.
            expected.pop("stripe_customer_id", None)
            expected["domains"] = keys_of(sample("organization.created"))["domains"]
            expected["metadata"] = {"plan": None}
        assert keys_of(body["data"]) == expected, type_
    assert {type_ for type_, _, _ in told} == {
        "organization.created", "organization.updated", "organization.deleted", "organization_domain.created",
        "organization_domain.updated", "organization_domain.verified", "organization_domain.verification_failed",
        "organization_domain.deleted", "dsync.activated", "dsync.deleted", "dsync.user.created", "dsync.user.updated",
        "dsync.user.deleted", "dsync.group.created", "dsync.group.updated", "dsync.group.deleted",
        "dsync.group.user_added", "dsync.group.user_removed",
    }  # fmt: skip


def test_a_state_is_linked_in_the_api_and_active_in_events(source: Source) -> None:
    """The one word in which the two vocabularies differ."""
    directory = source.directory()

    assert directory_payload(directory)["state"] == "linked"
    assert source.told()[-1][1]["data"]["state"] == "active"


def test_a_directory_is_told_of_when_it_becomes_linked_and_never_when_it_is_renamed(source: Source) -> None:
    """The protocol has no event for a directory's update."""
    organization = source.directories.create_organization("production", name="Acme")
    directory = source.directories.create_directory(
        "production", organization_id=organization.id, name="Acme directory", state="validating"
    )
    renamed = source.directories.update_directory("production", directory.id, {"name": "People"})
    assert source.types() == ["organization.created"]
    assert renamed.updated_ms == NOW_MS + 1

    source.directories.update_directory("production", directory.id, {"state": "linked"})

    type_, body, sequence = source.told()[-1]
    assert (type_, body["data"]["name"], sequence) == ("dsync.activated", "People", 1)
    assert parse_us(body["created_at"]) == (NOW_MS + 2) * 1000


def test_an_update_says_what_was_before_and_nothing_else(source: Source) -> None:
    """Shallow, of custom attributes those that changed; null where it was absent; absent and null are the same."""
    directory = source.directory()
    user = source.directories.create_user(
        "production", directory.id, idp_id="1", first_name="Ada", custom_attributes={"team": "A", "floor": 3}
    )
    source.directories.update_user(
        "production", directory.id, user.id, last_name="Okafor", custom_attributes={"team": "B", "floor": 3, "desk": 7}
    )
    previous = source.told()[-1][1]["data"]["previous_attributes"]
    assert previous == {"custom_attributes": {"desk": None, "team": "A"}, "last_name": None, "name": "Ada"}

    told = len(source.told())
    same = source.directories.update_user(
        "production", directory.id, user.id, custom_attributes={"team": "B", "floor": 3, "desk": 7, "car": None}
    )
    assert len(source.told()) == told
    assert same.updated_ms == NOW_MS + 1


def test_true_is_not_one(source: Source) -> None:
    """They are equal to Python alone: at any depth the change is written, and told."""
    directory = source.directory()
    user = source.directories.create_user(
        "production", directory.id, idp_id="1", custom_attributes={"is_admin": 0, "seats": [{"is_mine": 1}], "desk": 7}
    )
    given = {"is_admin": False, "seats": [{"is_mine": True}], "desk": 7.0}
    user = source.directories.update_user("production", directory.id, user.id, custom_attributes=given)

    data = source.told()[-1][1]["data"]
    assert json.dumps(data["previous_attributes"]) == (
        '{"custom_attributes": {"is_admin": 0, "seats": [{"is_mine": 1}]}}'
    )
    assert json.dumps(data["custom_attributes"]) == '{"is_admin": false, "seats": [{"is_mine": true}], "desk": 7}'
    assert user.fields["custom_attributes"]["is_admin"] is False


def test_clocks_never_stand_still_and_count_each_objects_events(source: Source) -> None:
    """In one millisecond, and with a clock that is set back: updated_at and created_at rise, by an object's own."""
    directory = source.directory()
    user = source.directories.create_user("production", directory.id, idp_id="1")
    other = source.directories.create_user("production", directory.id, idp_id="2")
    for number in range(3):
        user = source.directories.update_user("production", directory.id, user.id, job_title=f"post {number}")
    source.clock.set(NOW_MS - 60_000)
    user = source.directories.update_user("production", directory.id, user.id, job_title="last post")
    source.directories.delete_user("production", directory.id, user.id)

    mine = [(body, sequence) for _, body, sequence in source.told() if body["data"].get("id") == user.id]

    assert [sequence for _, sequence in mine] == [1, 2, 3, 4, 5, 6]
    created = [parse_us(body["created_at"]) // 1000 - NOW_MS for body, _ in mine]
    assert created == [0, 1, 2, 3, 4, 5]
    updated = [parse_us(body["data"]["updated_at"]) // 1000 - NOW_MS for body, _ in mine]
    assert updated == [0, 1, 2, 3, 4, 4]
    assert (other.updated_ms, other.sequence) == (NOW_MS, 1)


def test_a_membership_has_a_clock_of_its_own(source: Source) -> None:
    """It does not touch its user; a pair that comes back goes on counting."""
    directory = source.directory()
    user = source.directories.create_user("production", directory.id, idp_id="1")
    group = source.directories.create_group("production", directory.id, idp_id="g", name="Group")

    done = [
        source.directories.add_member("production", directory.id, group.id, user.id),
        source.directories.add_member("production", directory.id, group.id, user.id),
        source.directories.remove_member("production", directory.id, group.id, user.id),
        source.directories.remove_member("production", directory.id, group.id, user.id),
        source.directories.add_member("production", directory.id, group.id, user.id),
    ]

    assert done == [True, False, True, False, True]
    pairs = [(type_, parse_us(body["created_at"]) // 1000, n) for type_, body, n in source.told()[-3:]]
    assert pairs == [
        ("dsync.group.user_added", NOW_MS, 1),
        ("dsync.group.user_removed", NOW_MS + 1, 2),
        ("dsync.group.user_added", NOW_MS + 2, 3),
    ]
    [(updated_ms, sequence)] = source.rows("select updated_ms, sequence from hookline_sender_directory_users")
    assert (updated_ms, sequence) == (NOW_MS, 1)


def test_the_secure_flow_deletes_who_turns_inactive(source: Source) -> None:
    """Gone at once; whoever returns has a new id; nobody begins inactive."""
    directory = source.directory("secure")
    user = source.directories.create_user("production", directory.id, idp_id="1", email="ada@acme.example")

    assert source.directories.deactivate_user("production", directory.id, user.id).is_deleted

    type_, body, _ = source.told()[-1]
    assert (type_, body["data"]["state"]) == ("dsync.user.deleted", "inactive")
    assert source.rows("select id from hookline_sender_directory_users") == []
    with pytest.raises(RequestError) as error:
        source.directories.reactivate_user("production", directory.id, user.id)
    assert refused(error) == (404, "entity_not_found", "id")
    again = source.directories.create_user("production", directory.id, idp_id="1", email="ada@acme.example")
    assert again.id != user.id
    with pytest.raises(RequestError) as error:
        source.directories.create_user("production", directory.id, idp_id="2", state="inactive")
    assert refused(error) == (422, "invalid_request_parameters", "state")


def test_the_custom_flow_keeps_who_turns_inactive(source: Source) -> None:
    """Told as an update; whoever returns has the same id and the memberships he had."""
    directory = source.directory("custom")
    user = source.directories.create_user("production", directory.id, idp_id="1")
    group = source.directories.create_group("production", directory.id, idp_id="g", name="Group")
    source.directories.add_member("production", directory.id, group.id, user.id)

    applied = source.directories.deactivate_user("production", directory.id, user.id)
    again = source.directories.deactivate_user("production", directory.id, user.id)
    back = source.directories.reactivate_user("production", directory.id, user.id)

    assert (applied.is_deleted, again.is_changed, back.id, back.state) == (False, False, user.id, "active")
    assert [(type_, body["data"]["state"], n) for type_, body, n in source.told()[-2:]] == [
        ("dsync.user.updated", "inactive", 2),
        ("dsync.user.updated", "active", 3),
    ]
    assert source.told()[-1][1]["data"]["previous_attributes"] == {"state": "inactive"}
    assert not source.directories.add_member("production", directory.id, group.id, user.id)


def test_deletions_are_told_alone_and_take_all_that_hung_on_them(source: Source) -> None:
    """One event each; what is below is 404 at once, and its rows go by and by."""
    write = source.directories
    first, second = source.directory(), source.directory()
    for directory in (first, second):
        people: list[Operation] = [CreateUser({"idp_id": str(number)}) for number in range(5)]
        people += [CreateGroup({"idp_id": "g", "name": "Group"}), CreateGroup({"idp_id": "h", "name": "Other"})]
        people += [AddMember(IdpId(name), IdpId(str(number))) for name in "gh" for number in range(5)]
        write.apply("production", directory.id, people)
    before = len(source.told())

    write.delete_group("production", first.id, IdpId("g"))
    write.delete_user("production", first.id, IdpId("0"))
    write.delete_directory("production", first.id)
    write.delete_organization("production", second.organization_id or "")

    assert source.types()[before:] == [
        "dsync.group.deleted", "dsync.user.deleted", "dsync.deleted", "organization.deleted"
    ]  # fmt: skip
    for directory in (first, second):
        for attempt in (
            lambda there: write.create_user("production", there, idp_id="new"),
            lambda there: write.delete_user("production", there, IdpId("1")),
            lambda there: write.update_directory("production", there, {"name": "x"}),
            lambda there: write.delete_directory("production", there),
        ):
            with pytest.raises(RequestError) as error:
                attempt(directory.id)
            assert refused(error) == (404, "entity_not_found", "id")
    with pytest.raises(RequestError) as error:
        write.create_directory("production", organization_id=second.organization_id, name="Late")
    assert error.value.status == 404

    source.do_jobs()
    for table in ("directories", "directory_users", "directory_groups", "memberships"):
        assert source.rows(f"select * from hookline_sender_{table}") == [], table
    assert source.rows(f"select * from hookline_sender_jobs where kind = '{KIND}'") == []


def test_an_end_with_many_memberships_is_cleaned_up_in_parts(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded part with the deletion, the rest by a job; other groups' memberships stay."""
    monkeypatch.setattr(
        "hookline.sender.directory_store.DirectoryStore.remove_memberships.__kwdefaults__", {"limit": 3}
    )
    directory = source.directory()
    people: list[Operation] = [CreateUser({"idp_id": str(number)}) for number in range(8)]
    people += [CreateGroup({"idp_id": "g", "name": "Group"}), CreateGroup({"idp_id": "h", "name": "Other"})]
    people += [AddMember(IdpId(name), IdpId(str(number))) for name in "gh" for number in range(8)]
    source.directories.apply("production", directory.id, people)

    source.directories.delete_group("production", directory.id, IdpId("g"))
    assert len(source.rows("select * from hookline_sender_memberships")) == 13

    source.do_jobs()
    assert len(source.rows("select * from hookline_sender_memberships")) == 8


def test_what_is_another_s_is_refused_by_its_field(source: Source) -> None:
    """409 for an external id, a domain, an idp_id; its own is no other's; what was deleted gives it free."""
    write = source.directories
    acme = write.create_organization(
        "production", name="Acme", external_id="crm-1", domains=[DomainValues("acme.example")]
    )
    other = write.create_organization("production", name="Other")
    cases: list[tuple[Mapping[str, Any], str]] = [
        ({"external_id": "crm-1"}, "external_id"),
        ({"domains": [DomainValues("other.example"), DomainValues("ACME.example")]}, "domains[1].domain"),
    ]
    for attributes, field in cases:
        with pytest.raises(RequestError) as error:
            write.update_organization("production", other.id, attributes)
        assert error.value.status == 409
        assert refused(error)[2] == field
        write.update_organization("production", acme.id, {**attributes, "domains": [DomainValues("acme.example")]})
    write.create_organization("staging", name="Acme", external_id="crm-1", domains=[DomainValues("acme.example")])
    write.delete_organization("production", acme.id)
    for attributes, _ in cases:
        write.update_organization("production", other.id, attributes)

    directory = source.directory()
    user = write.create_user("production", directory.id, idp_id="1")
    write.create_user("production", directory.id, idp_id="2")
    for operation in (CreateUser({"idp_id": "2"}), UpdateUser(user.id, {"idp_id": "2"})):
        with pytest.raises(RequestError) as error:
            write.apply("production", directory.id, [operation], place="")
        assert refused(error) == (409, "idp_id_taken", "idp_id")
    write.create_group("production", directory.id, idp_id="2", name="No user")
    write.create_user("production", source.directory().id, idp_id="2")


def test_a_bulk_is_done_whole_or_not_at_all(source: Source) -> None:
    """A thousand operations; one bad one, named by its place, and there is no trace of the others."""
    directory = source.directory()
    told = source.told()
    people: list[Operation] = [CreateUser({"idp_id": str(number)}) for number in range(499)]
    people += [CreateGroup({"idp_id": "g", "name": "Group"})]
    people += [AddMember(IdpId("g"), IdpId(str(number))) for number in range(499)]
    bad: list[tuple[Operation, int, str]] = [
        (AddMember(IdpId("g"), IdpId("nobody")), 404, "idp_id"),
        (CreateUser({"idp_id": "7"}), 409, "idp_id"),
        (UpdateUser(IdpId("7"), {"custom_attributes": {"n": 2**60}}), 422, "custom_attributes.n"),
    ]
    for operation, status, field in bad:
        with pytest.raises(RequestError) as error:
            source.directories.apply("production", directory.id, [*people, operation])
        assert refused(error)[::2] == (status, f"operations[999].{field}")
        assert source.told() == told
        assert source.rows("select 1 from hookline_sender_directory_users") == []

    done = source.directories.apply("production", directory.id, [*people, RemoveMember(IdpId("g"), IdpId("7"))])

    assert len(set(done.ids)) == 500
    assert len(source.told()) == len(told) + 1_000
    [(members,)] = source.rows("select count(*) from hookline_sender_memberships where is_member = 1")
    assert members == 498
    with pytest.raises(RequestError) as error:
        source.directories.apply("production", directory.id, people + people)
    assert refused(error) == (422, "invalid_request_parameters", "operations")


def test_in_a_bulk_an_idp_id_may_pass_from_one_to_another(source: Source) -> None:
    """Each operation sees what those before it did: who has an idp_id when its turn comes is meant."""
    write = source.directories
    directory = source.directory()
    a, b = (write.create_user("production", directory.id, idp_id=name) for name in "ab")
    group = write.create_group("production", directory.id, idp_id="g", name="Group")
    write.add_member("production", directory.id, group.id, b.id)

    write.apply(
        "production",
        directory.id,
        [
            UpdateUser(a.id, {"idp_id": "z"}),
            UpdateUser(b.id, {"idp_id": "a"}),
            UpdateUser(IdpId("z"), {"idp_id": "b"}),
            RemoveMember(group.id, IdpId("a")),
            AddMember(group.id, IdpId("b")),
            CreateUser({"idp_id": "c"}),
            DeleteUser(IdpId("c")),
            CreateUser({"idp_id": "c", "email": "second@acme.example"}),
            AddMember(group.id, IdpId("c")),
            DeleteGroup(group.id),
            CreateGroup({"idp_id": "g", "name": "Group again"}),
        ],
    )

    assert dict(source.rows("select id, idp_id from hookline_sender_directory_users where email is null")) == {
        a.id: "b", b.id: "a"
    }  # fmt: skip
    assert source.rows("select email from hookline_sender_directory_users where idp_id = 'c'") == [
        ("second@acme.example",)
    ]
    assert source.rows("select name from hookline_sender_directory_groups") == [("Group again",)]
    assert source.types()[-8:] == [
        "dsync.group.user_removed", "dsync.group.user_added", "dsync.user.created", "dsync.user.deleted",
        "dsync.user.created", "dsync.group.user_added", "dsync.group.deleted", "dsync.group.created",
    ]  # fmt: skip


class _Dies(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_dies_between_state_and_event_leaves_neither(
    source: Source, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """State and event are one commit: there is no moment at which one is there without the other."""
    directory = source.directory()
    told = source.told()
    write = EventWriter.write

    def dies(*args: Any, **options: Any) -> Any:
        if when == "after":
            write(*args, **options)
        raise _Dies

    monkeypatch.setattr(EventWriter, "write", dies)
    for attempt in (
        lambda: source.directories.create_user("production", directory.id, idp_id="1"),
        lambda: source.directories.delete_directory("production", directory.id),
        lambda: source.directories.update_organization("production", directory.organization_id or "", {"name": "New"}),
    ):
        with pytest.raises(_Dies):
            attempt()
    monkeypatch.undo()

    assert source.told() == told
    assert source.rows("select id from hookline_sender_directory_users") == []
    assert source.rows("select deleted_ms from hookline_sender_directories") == [(None,)]
    assert source.rows("select name from hookline_sender_organizations") == [("Acme",)]


def test_writers_at_once_lose_no_update_and_keep_every_clock(source: Source) -> None:
    """Four threads, one user, one pair: an event for each change, each later than the last, none counted twice."""
    directory = source.directory()
    user = source.directories.create_user("production", directory.id, idp_id="1", custom_attributes={})
    group = source.directories.create_group("production", directory.id, idp_id="g", name="Group")
    errors: list[BaseException] = []

    def work(number: int) -> None:
        writer = made(source.database, source.clock)
        try:
            for turn in range(8):
                writer.update_user("production", directory.id, user.id, job_title=f"{number} {turn}")
                writer.add_member("production", directory.id, group.id, user.id)
                writer.remove_member("production", directory.id, group.id, user.id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    updates = [(body, n) for type_, body, n in source.told() if type_ == "dsync.user.updated"]
    assert [n for _, n in updates] == list(range(2, 34))
    assert [parse_us(body["data"]["updated_at"]) // 1000 for body, _ in updates] == list(range(NOW_MS + 1, NOW_MS + 33))
    held = None
    for body, _ in updates:
        assert body["data"]["previous_attributes"]["job_title"] == held
        held = body["data"]["job_title"]
    pairs = [(type_, n) for type_, _, n in source.told() if type_.startswith("dsync.group.user_")]
    assert [n for _, n in pairs] == list(range(1, len(pairs) + 1))
    assert all(type_.endswith("added" if n % 2 else "removed") for type_, n in pairs)
    with source.database.read() as connection:
        [last] = source.directories.state.users(connection, directory.id, [user.id])
    assert user_payload(last, directory)["job_title"] == held


def test_a_silent_source_changes_without_a_word(source: Source) -> None:
    """For tests of what a source forgot to say: the state is there, the feed says nothing."""
    directory = source.directory()
    told = source.told()

    made(source.database, source.clock, is_silent=True).create_user("production", directory.id, idp_id="1")

    assert source.told() == told
    assert source.rows("select idp_id from hookline_sender_directory_users") == [("1",)]
