"""The source's lists and objects as its readers ask for them: what is there, page by page.

Lists are in the order of creation (`created_ms`, then id: bulk imports share their milliseconds); members of a group
and groups of a user in the order of their ids, which carry their time of creation first: a group of a hundred thousand
is read page by page without sorting it. A cursor is a place in that order, whatever has become of its object: deleted
ones, and those that have left the list, lead on as before (docs/decisions/0182).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from hookline.sender.directory_model import Directory, DirectoryGroup, DirectoryUser, Organization
from hookline.sender.directory_store import DirectoryStore, user_of
from hookline.sender.queries import Page, PageRequest, page_of
from hookline.sender.store import LAST_ROW, Direction, containing
from hookline.storage.verbs import Verbs
from hookline.wire.timestamps import ulid_time_us

if TYPE_CHECKING:
    from hookline.sender.model import Environment
    from hookline.storage.verbs import Connection, Dialect

# When and as what something was created.
Place: TypeAlias = tuple[int, str]

_FIRST: Final[Place] = (-1, "")
_LAST: Final[Place] = (LAST_ROW, "")
# Before and after every id, in whatever collation: letters come after digits, and z after the others.
_ID_ENDS: Final = ("", "zzzzzzzz")
_PREFIXES: Final = {
    "organization": "org_",
    "directory": "directory_",
    "directory_user": "directory_user_",
    "directory_group": "directory_group_",
}


@dataclass(frozen=True, slots=True)
class DirectoryFilter:
    """Which directories; None leaves a side open. `name_part` is found anywhere in the name, in any case."""

    organization_id: str | None = None
    name_part: str | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class OrganizationFilter:
    """Which organizations; None leaves a side open. `domains`: those that have one of them."""

    name_part: str | None = None
    domains: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users of a directory; None leaves a side open. The identity provider gives an `idp_id` once."""

    idp_id: str | None = None
    email: str | None = None


class DirectoryLists:
    """Pages of organizations, directories, users and groups.

    Attributes:
        store: the verbs that read one of them.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.store = DirectoryStore(dialect)
        self._verbs = Verbs("hookline.sender", dialect)

    # -- organizations -----------------------------------------------------------------------------------------

    def organization_of_external_id(
        self, connection: Connection, environment: Environment, external_id: str
    ) -> Organization | None:
        """The organization that its users call so, or None."""
        rows = self._verbs["read_organization_external"].run(
            connection, {"environment": environment, "external_id": external_id}
        )
        return self.store.with_domains(connection, rows)[0] if rows else None

    def organization_page(
        self, connection: Connection, environment: Environment, chosen: OrganizationFilter, wanted: PageRequest
    ) -> Page[Organization]:
        """A page of organizations. RequestError 422 `invalid_cursor`."""

        def read(direction: Direction, place: Place, limit: int) -> list[Organization]:
            rows = self._verbs[f"list_organizations_{direction}"].run(
                connection,
                {
                    "environment": environment,
                    "name_pattern": None if chosen.name_part is None else containing(chosen.name_part),
                    "domains": None if chosen.domains is None else json.dumps(list(chosen.domains)),
                    "created_ms": place[0],
                    "id": place[1],
                    "limit": limit,
                },
            )
            return self.store.with_domains(connection, rows)

        place_of = self._place_of(connection, environment, "organization")
        return page_of(read, place_of, wanted, at=lambda item: (item.created_ms, item.id), ends=(_FIRST, _LAST))

    def is_organization_known(self, connection: Connection, environment: Environment, id_: str) -> bool:
        """Whether there is, or was, such an organization, or an event that is kept names it."""
        return bool(self._verbs["read_organization_known"].run(connection, {"environment": environment, "id": id_}))

    # -- directories -------------------------------------------------------------------------------------------

    def directory_page(
        self, connection: Connection, environment: Environment, chosen: DirectoryFilter, wanted: PageRequest
    ) -> Page[Directory]:
        """A page of directories. RequestError 422 `invalid_cursor`."""
        name = "directories" if chosen.organization_id is None else "organization_directories"

        def read(direction: Direction, place: Place, limit: int) -> list[Directory]:
            rows = self._verbs[f"list_{name}_{direction}"].run(
                connection,
                {
                    "environment": environment,
                    "organization_id": chosen.organization_id,
                    "name_pattern": None if chosen.name_part is None else containing(chosen.name_part),
                    "domain": chosen.domain,
                    "created_ms": place[0],
                    "id": place[1],
                    "limit": limit,
                },
            )
            return [Directory(*row) for row in rows]

        place_of = self._place_of(connection, environment, "directory")
        return page_of(read, place_of, wanted, at=lambda item: (item.created_ms, item.id), ends=(_FIRST, _LAST))

    # -- users and groups --------------------------------------------------------------------------------------

    def user(self, connection: Connection, environment: Environment, id_: str) -> DirectoryUser | None:
        """One user whose directory is there, or None."""
        rows = self._verbs["read_user"].run(connection, {"environment": environment, "id": id_})
        return user_of(rows[0]) if rows else None

    def group(self, connection: Connection, environment: Environment, id_: str) -> DirectoryGroup | None:
        """One group whose directory is there, or None."""
        rows = self._verbs["read_group"].run(connection, {"environment": environment, "id": id_})
        return DirectoryGroup(*rows[0]) if rows else None

    def user_page(
        self, connection: Connection, directory: Directory, chosen: UserFilter, wanted: PageRequest
    ) -> Page[DirectoryUser]:
        """A page of a directory's users. RequestError 422 `invalid_cursor`."""
        email = chosen.email
        name = "users" if email is None else "users_with_email"

        def read(direction: Direction, place: Place, limit: int) -> list[DirectoryUser]:
            if chosen.idp_id is not None:
                # At most one, whom an index finds; his email address decides whether he is in the list.
                found = self.store.users_by_idp(connection, directory.id, [chosen.idp_id])
                found = [user for user in found if email in (None, user.email)]
                return [user for user in found if _lies(direction, (user.created_ms, user.id), place)]
            asked = {"directory_id": directory.id, "email": email, "created_ms": place[0], "id": place[1]}
            rows = self._verbs[f"list_{name}_{direction}"].run(connection, {**asked, "limit": limit})
            return [user_of(row) for row in rows]

        place_of = self._place_of(connection, directory.environment, "directory_user")
        return page_of(read, place_of, wanted, at=lambda item: (item.created_ms, item.id), ends=(_FIRST, _LAST))

    def member_page(self, connection: Connection, group: DirectoryGroup, wanted: PageRequest) -> Page[DirectoryUser]:
        """A page of a group's members, by their ids. RequestError 422 `invalid_cursor`."""

        def read(direction: Direction, id_: str, limit: int) -> list[DirectoryUser]:
            rows = self._verbs[f"list_group_users_{direction}"].run(
                connection, {"group_id": group.id, "id": id_, "limit": limit}
            )
            return [user_of(row) for row in rows]

        place_of = self._place_of(connection, group.environment, "directory_user")
        return page_of(read, _id_of(place_of), wanted, at=lambda item: item.id, ends=_ID_ENDS)

    def group_page(self, connection: Connection, directory: Directory, wanted: PageRequest) -> Page[DirectoryGroup]:
        """A page of a directory's groups. RequestError 422 `invalid_cursor`."""

        def read(direction: Direction, place: Place, limit: int) -> list[DirectoryGroup]:
            asked = {"directory_id": directory.id, "created_ms": place[0], "id": place[1], "limit": limit}
            rows = self._verbs[f"list_groups_{direction}"].run(connection, asked)
            return [DirectoryGroup(*row) for row in rows]

        place_of = self._place_of(connection, directory.environment, "directory_group")
        return page_of(read, place_of, wanted, at=lambda item: (item.created_ms, item.id), ends=(_FIRST, _LAST))

    def groups_of_user_page(
        self, connection: Connection, user: DirectoryUser, wanted: PageRequest
    ) -> Page[DirectoryGroup]:
        """A page of the groups that a user is in, by their ids. RequestError 422 `invalid_cursor`."""

        def read(direction: Direction, id_: str, limit: int) -> list[DirectoryGroup]:
            rows = self._verbs[f"list_user_groups_{direction}"].run(
                connection, {"user_id": user.id, "id": id_, "limit": limit}
            )
            return [DirectoryGroup(*row) for row in rows]

        place_of = self._place_of(connection, user.environment, "directory_group")
        return page_of(read, _id_of(place_of), wanted, at=lambda item: item.id, ends=_ID_ENDS)

    def groups_of_users(self, connection: Connection, user_ids: Sequence[str]) -> dict[str, list[DirectoryGroup]]:
        """The groups that these users are in, all of them, oldest first; nothing for who is in none."""
        found: dict[str, list[DirectoryGroup]] = defaultdict(list)
        rows = self._verbs["read_groups_of_users"].run(connection, {"user_ids": json.dumps(list(user_ids))})
        for user_id, *row in rows:
            found[user_id].append(DirectoryGroup(*row))
        return found

    # -- the inside --------------------------------------------------------------------------------------------

    def _place_of(self, connection: Connection, environment: Environment, kind: str) -> Callable[[str], Place | None]:
        prefix = _PREFIXES[kind]

        def place_of(cursor: str) -> Place | None:
            asked = {"environment": environment, "kind": kind, "id": cursor}
            rows = self._verbs["read_place"].run(connection, asked)
            if rows:
                return rows[0][0], cursor
            # Its row is gone, perhaps a moment ago; where it stood is in its id, which was made as it was created.
            made_us = ulid_time_us(cursor) if cursor.startswith(prefix) and len(cursor) == len(prefix) + 26 else None
            return None if made_us is None else (made_us // 1000, cursor)

        return place_of


def _lies(direction: Direction, place: Place, cursor: Place) -> bool:
    return place > cursor if direction == "newer" else place < cursor


def _id_of(place_of: Callable[[str], Place | None]) -> Callable[[str], str | None]:
    return lambda cursor: cursor if place_of(cursor) is not None else None
