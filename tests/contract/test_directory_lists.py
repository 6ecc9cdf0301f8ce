"""Pages of what a source holds, on both databases: by creation and id, whatever the collation, from any cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from hookline.errors import RequestError
from hookline.sender.directory_lists import DirectoryFilter, DirectoryLists, OrganizationFilter, UserFilter
from hookline.sender.queries import Page, PageRequest
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from tests.sender.conftest import NOW_MS
from tests.sender.source_rows import Rows

EVERY_USER = UserFilter()
# Three times, each of several: what bulk imports leave.
TIMES = [NOW_MS] * 5 + [NOW_MS + 1] * 5 + [NOW_MS + 2]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    yield database
    database.close()


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(database)


@pytest.fixture
def lists(database: Database) -> DirectoryLists:
    return DirectoryLists(database.dialect)


def walk(read: Callable[[PageRequest], Page[Any]], order: Any, limit: int = 3) -> list[str]:
    found: list[str] = []
    wanted = PageRequest(limit, order=order)
    while True:
        page = read(wanted)
        found += [item.id for item in page.items]
        onward = page.before if order == "normal" else page.after
        if onward is None:
            return found
        wanted = replace(wanted, before=onward) if order == "normal" else replace(wanted, after=onward)


def reads(
    database: Database, rows: Rows, lists: DirectoryLists
) -> dict[str, tuple[Callable[[PageRequest], Page[Any]], list[str]]]:
    """Every list, with the ids that are in it from the oldest on."""
    organizations = [
        rows.organization(at_ms, f"Org {at_ms}", f"{number}.example") for number, at_ms in enumerate(TIMES)
    ]
    directories = [rows.directory(at_ms, organization_id=organizations[0].id) for at_ms in TIMES]
    directory = directories[0]
    users, groups = rows.users(directory, TIMES), rows.groups(directory, TIMES)
    twins = [rows.users(directories[1], [at_ms], email="a@example.com")[0] for at_ms in TIMES]
    for group in groups:
        rows.join(group, users[::2])
    rows.join(groups[0], users[1:2], is_member=False)

    def on_a_snapshot(method: Callable[..., Page[Any]], *asked: Any) -> Callable[[PageRequest], Page[Any]]:
        def read(wanted: PageRequest) -> Page[Any]:
            with database.snapshot() as connection:
                return method(connection, *asked, wanted)

        return read

    return {
        name: (on_a_snapshot(*asked), [item.id for item in there])
        for name, asked, there in (
            ("organizations", (lists.organization_page, "production", OrganizationFilter()), organizations),
            (
                "named organizations",
                (lists.organization_page, "production", OrganizationFilter("oRG", [f"{n}.example" for n in (1, 3, 9)])),
                [organizations[1], organizations[3], organizations[9]],
            ),
            ("directories", (lists.directory_page, "production", DirectoryFilter()), directories),
            (
                "an organization's directories",
                (lists.directory_page, "production", DirectoryFilter(organizations[0].id, "okta")),
                directories,
            ),
            ("users", (lists.user_page, directory, EVERY_USER), users),
            ("users of an address", (lists.user_page, directories[1], UserFilter(email="a@example.com")), twins),
            ("a user of an idp_id", (lists.user_page, directory, UserFilter(idp_id=users[3].idp_id)), users[3:4]),
            ("members", (lists.member_page, groups[0]), users[::2]),
            ("groups", (lists.group_page, directory), groups),
            ("a user's groups", (lists.groups_of_user_page, users[2]), groups),
        )
    }


@pytest.mark.parametrize("order", ["desc", "asc", "normal"])
def test_every_list_is_walked_in_order(database: Database, rows: Rows, lists: DirectoryLists, order: str) -> None:
    """Each item once, by creation and then id; nothing of another environment."""
    Rows(database, "staging").organization(NOW_MS)
    Rows(database, "staging").directory(NOW_MS)

    for name, (read, oldest_first) in reads(database, rows, lists).items():
        assert walk(read, order) == (oldest_first if order == "asc" else oldest_first[::-1]), name


def test_a_part_of_a_name_is_found_whatever_its_letters(database: Database, rows: Rows, lists: DirectoryLists) -> None:
    """As it is written, though a database may know ASCII's cases alone."""
    organization = rows.organization(NOW_MS, "Émile Éclairs")
    directory = rows.directory(NOW_MS, "Émile Éclairs", organization_id=organization.id)
    wanted = PageRequest(3, order="desc")

    with database.snapshot() as connection:
        found: list[Page[Any]] = [
            lists.organization_page(connection, "production", OrganizationFilter("É"), wanted),
            lists.directory_page(connection, "production", DirectoryFilter(name_part="É"), wanted),
            lists.directory_page(connection, "production", DirectoryFilter(organization.id, "ÉCLAIRS"), wanted),
        ]

    whole = [organization.id], [directory.id]
    assert [[item.id for item in page.items] for page in found] == [*whole, whole[1]]


def test_what_was_removed_is_still_a_place(database: Database, rows: Rows, lists: DirectoryLists) -> None:
    """By its id alone, in lists by creation and in lists by id; what never was an id is refused."""
    directory = rows.directory(NOW_MS)
    users = rows.users(directory, TIMES)
    (group,) = rows.groups(directory, [NOW_MS])
    rows.join(group, users)
    rows.delete_users([users[4]])
    left = [user.id for user in users if user is not users[4]]

    ways: tuple[Callable[[Any, PageRequest], Page[Any]], ...] = (
        lambda connection, wanted: lists.user_page(connection, directory, EVERY_USER, wanted),
        lambda connection, wanted: lists.member_page(connection, group, wanted),
    )

    for read in ways:
        with database.snapshot() as connection:
            newer = read(connection, PageRequest(100, after=users[4].id, order="asc"))
            older = read(connection, PageRequest(100, after=users[4].id))
            for cursor in ("directory_user_1", f"{users[4].id}0", group.id, ""):
                with pytest.raises(RequestError) as refused:
                    read(connection, PageRequest(100, after=cursor))
                assert refused.value.code == "invalid_cursor"
        assert [item.id for item in newer.items] == left[4:]
        assert [item.id for item in older.items] == left[:4][::-1]


def test_groups_of_many_users_are_read_at_once(database: Database, rows: Rows, lists: DirectoryLists) -> None:
    """Of each user asked for, oldest first."""
    directory = rows.directory(NOW_MS)
    users, groups = rows.users(directory, TIMES), rows.groups(directory, TIMES)
    rows.join(groups[3], users[:2])
    rows.join(groups[1], users[1:3])
    rows.join(groups[2], users[1:2], is_member=False)

    with database.snapshot() as connection:
        found = lists.groups_of_users(connection, [user.id for user in users[:2]])

    assert found == {users[0].id: [groups[3]], users[1].id: [groups[1], groups[3]]}


def test_organizations_are_known_by_state_or_event(database: Database, rows: Rows, lists: DirectoryLists) -> None:
    """A deleted one too, whose events are still to be read; of its own environment alone."""
    there, gone = rows.organization(NOW_MS), rows.organization(NOW_MS)
    with database.transaction() as connection:
        rows.store.put_organization(connection, replace(gone, deleted_ms=NOW_MS))

    with database.snapshot() as connection:
        known = [lists.is_organization_known(connection, "production", id_) for id_ in (there.id, gone.id, "org_x")]
        assert known == [True, True, False]
        assert not lists.is_organization_known(connection, "staging", there.id)
