"""The verbs of what the sender holds of directories: organizations, domains, directories, users, groups, memberships.

Each method runs one or a few `.sql` files on the connection it is given. Nothing here opens a transaction, reads a
clock, decides or tells anybody. What is deleted is not found, nor what hangs on it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from hookline.sender.directory_model import (
    Directory,
    DirectoryGroup,
    DirectoryUser,
    Membership,
    Organization,
    OrganizationDomain,
)
from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.storage.verbs import Connection, Dialect, Row

# Of memberships that go with their user or group: so many in one transaction.
PART = 2_000


class DirectoryStore:
    """The verbs of directories."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.sender", dialect)

    # -- organizations -------------------------------------------------------------------------------------------

    def organization(self, connection: Connection, environment: str, id_: str) -> Organization | None:
        """One organization with its domains, or None."""
        rows = self._verbs["organization_get"].run(connection, {"environment": environment, "id": id_})
        return self.with_domains(connection, rows)[0] if rows else None

    def lock_organization(self, connection: Connection, environment: str, id_: str) -> Organization | None:
        """The same, which then nobody else writes until the transaction ends."""
        rows = self._verbs["organization_lock"].run(connection, {"environment": environment, "id": id_})
        return self.with_domains(connection, rows)[0] if rows else None

    def with_domains(self, connection: Connection, rows: Sequence[Row]) -> list[Organization]:
        """Rows of organizations, in the order of their columns, as values with their domains."""
        domains: dict[str, list[OrganizationDomain]] = {}
        for row in self._verbs["domains_of"].run(connection, {"organization_ids": _list(row[0] for row in rows)}):
            domain = OrganizationDomain(*row)
            domains.setdefault(domain.organization_id, []).append(domain)
        found = [Organization(*row) for row in rows]
        return [
            replace(one, metadata=json.loads(str(one.metadata)), domains=tuple(domains.get(one.id, ())))
            for one in found
        ]

    def is_external_id_taken(
        self, connection: Connection, environment: str, external_id: str, *, other_than: str
    ) -> bool:
        """Whether another organization of the environment has this external id."""
        named = {"environment": environment, "external_id": external_id, "id": other_than}
        return bool(self._verbs["organization_external_taken"].run(connection, named))

    def domains_taken(
        self, connection: Connection, environment: str, domains: Iterable[str], *, other_than: str
    ) -> set[str]:
        """Which of these domains other organizations of the environment have."""
        named = {"environment": environment, "domains": _list(domains), "organization_id": other_than}
        return {row[0] for row in self._verbs["domains_taken"].run(connection, named)}

    def put_organization(self, connection: Connection, organization: Organization) -> None:
        """Writes an organization over what was there; of its domains nothing."""
        row = asdict(replace(organization, domains=()))
        self._verbs["organization_put"].run(connection, {**row, "metadata": _text(organization.metadata)})

    def put_domains(self, connection: Connection, domains: Sequence[OrganizationDomain]) -> None:
        """Writes domains over what was there."""
        self._verbs["domain_put"].run_many(connection, [asdict(domain) for domain in domains])

    def delete_domains(self, connection: Connection, ids: Collection[str]) -> None:
        """Removes domains."""
        if ids:
            self._verbs["domains_delete"].run(connection, {"ids": _list(ids)})

    # -- directories ---------------------------------------------------------------------------------------------

    def directory(self, connection: Connection, environment: str, id_: str) -> Directory | None:
        """One directory, or None."""
        rows = self._verbs["directory_get"].run(connection, {"environment": environment, "id": id_})
        return Directory(*rows[0]) if rows else None

    def lock_directory(self, connection: Connection, environment: str, id_: str) -> Directory | None:
        """The same; then nobody else writes it, nor a user, group or membership of it, until the transaction ends."""
        rows = self._verbs["directory_lock"].run(connection, {"environment": environment, "id": id_})
        return Directory(*rows[0]) if rows else None

    def put_directory(self, connection: Connection, directory: Directory) -> None:
        """Writes a directory over what was there."""
        self._verbs["directory_put"].run(connection, asdict(directory))

    def bury_directories(self, connection: Connection, organization_id: str, *, now_ms: int) -> list[str]:
        """Deletes the directories of a deleted organization; gives their ids."""
        named = {"organization_id": organization_id, "now_ms": now_ms}
        return [row[0] for row in self._verbs["directories_bury"].run(connection, named)]

    def remove_some(self, connection: Connection, directory_id: str, *, limit: int = PART) -> bool:
        """Removes a part of what is left of a deleted directory, at most about so many rows; True: nothing is left."""
        for kind in ("group", "user"):
            named = {"directory_id": directory_id, "limit": limit}
            ids = [row[0] for row in self._verbs[f"directory_{kind}s_some"].run(connection, named)]
            if ids:
                if self._remove_memberships(connection, kind, ids, limit) < limit:
                    self._verbs[f"directory_{kind}s_delete"].run(connection, {"ids": _list(ids)})
                return False
        self._verbs["directory_remove"].run(connection, {"id": directory_id})
        return True

    # -- users and groups ----------------------------------------------------------------------------------------

    def users(self, connection: Connection, directory_id: str, ids: Collection[str]) -> list[DirectoryUser]:
        """The users of a directory that have these ids."""
        named = {"directory_id": directory_id, "ids": _list(ids)}
        return [user_of(row) for row in self._verbs["directory_users_get"].run(connection, named)] if ids else []

    def users_by_idp(self, connection: Connection, directory_id: str, idp_ids: Collection[str]) -> list[DirectoryUser]:
        """The users of a directory that have these idp_ids."""
        named = {"directory_id": directory_id, "idp_ids": _list(idp_ids)}
        return [user_of(row) for row in self._verbs["directory_users_by_idp"].run(connection, named)] if idp_ids else []

    def groups(self, connection: Connection, directory_id: str, ids: Collection[str]) -> list[DirectoryGroup]:
        """The groups of a directory that have these ids."""
        named = {"directory_id": directory_id, "ids": _list(ids)}
        return (
            [DirectoryGroup(*row) for row in self._verbs["directory_groups_get"].run(connection, named)] if ids else []
        )

    def groups_by_idp(
        self, connection: Connection, directory_id: str, idp_ids: Collection[str]
    ) -> list[DirectoryGroup]:
        """The groups of a directory that have these idp_ids."""
        if not idp_ids:
            return []
        named = {"directory_id": directory_id, "idp_ids": _list(idp_ids)}
        return [DirectoryGroup(*row) for row in self._verbs["directory_groups_by_idp"].run(connection, named)]

    def put_users(self, connection: Connection, users: Sequence[DirectoryUser]) -> None:
        """Writes users over what was there, but for their idp_id: one that changes is deleted first."""
        rows = [{**_row(user), "fields": _text(user.fields)} for user in users]
        self._verbs["directory_users_put"].run_many(connection, rows)

    def put_groups(self, connection: Connection, groups: Sequence[DirectoryGroup]) -> None:
        """Writes groups over what was there, but for their idp_id: one that changes is deleted first."""
        self._verbs["directory_groups_put"].run_many(connection, [_row(group) for group in groups])

    def delete_users(self, connection: Connection, ids: Collection[str]) -> None:
        """Removes users; their memberships are none from then on."""
        if ids:
            self._verbs["directory_users_delete"].run(connection, {"ids": _list(ids)})

    def delete_groups(self, connection: Connection, ids: Collection[str]) -> None:
        """Removes groups; their memberships are none from then on."""
        if ids:
            self._verbs["directory_groups_delete"].run(connection, {"ids": _list(ids)})

    # -- memberships ---------------------------------------------------------------------------------------------

    def memberships(self, connection: Connection, pairs: Collection[tuple[str, str]]) -> list[Membership]:
        """Memberships, present and past, by (group id, user id). Their ends may be gone."""
        if not pairs:
            return []
        rows = self._verbs["memberships_get"].run(connection, {"pairs": _list(pairs)})
        return [Membership(group, user, there, bool(is_now), *rest) for group, user, there, is_now, *rest in rows]

    def put_memberships(self, connection: Connection, memberships: Sequence[Membership]) -> None:
        """Writes memberships over what was there."""
        rows = [{**_row(one), "is_member": int(one.is_member)} for one in memberships]
        self._verbs["memberships_put"].run_many(connection, rows)

    def remove_memberships(
        self, connection: Connection, *, groups: Sequence[str], users: Sequence[str], limit: int = PART
    ) -> bool:
        """Removes memberships of groups and users that are gone, at most so many; True: none is left."""
        removed = self._remove_memberships(connection, "group", groups, limit)
        if removed < limit:
            removed += self._remove_memberships(connection, "user", users, limit - removed)
        return removed < limit

    def _remove_memberships(self, connection: Connection, kind: str, ids: Sequence[str], limit: int) -> int:
        if not ids:
            return 0
        return self._verbs[f"memberships_of_{kind}s_delete"].count(connection, {"ids": _list(ids), "limit": limit})


def user_of(row: Row) -> DirectoryUser:
    """A row of users, in the order of its columns, as a value."""
    found = DirectoryUser(*row)
    return replace(found, fields=json.loads(str(found.fields)))


def _row(value: DirectoryUser | DirectoryGroup | Membership) -> dict[str, object]:
    """The columns of a value; `asdict` would copy what is in them."""
    return {name: getattr(value, name) for name in value.__slots__}


def _list(values: Iterable[Any]) -> str:
    return json.dumps(list(values))


def _text(value: Mapping[str, Any]) -> str:
    # ASCII: PostgreSQL's text has no NUL.
    return json.dumps(value, separators=(",", ":"))
