"""What is true at the source: read from the sender's tables as a stranger would, and shown as a mirror shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.demo.look import Look

Columns: TypeAlias = Mapping[str, str | int | None]

# Of each mirrored resource every row that is alive; the columns of a user's fields are in its JSON.
_ALIVE: Final[Mapping[str, str]] = {
    "organization": "select o.* from hookline_sender_organizations o where o.deleted_ms is null",
    "organization_domain": (
        "select d.* from hookline_sender_organization_domains d"
        " join hookline_sender_organizations o on o.id = d.organization_id and o.deleted_ms is null"
    ),
    "directory": "select d.* from hookline_sender_directories d where d.deleted_ms is null",
    "directory_user": (
        "select u.*, d.organization_id from hookline_sender_directory_users u"
        " join hookline_sender_directories d on d.id = u.directory_id and d.deleted_ms is null"
    ),
    "directory_group": (
        "select g.*, d.organization_id from hookline_sender_directory_groups g"
        " join hookline_sender_directories d on d.id = g.directory_id and d.deleted_ms is null"
    ),
}
_MEMBERSHIPS: Final = (
    "select m.group_id, m.user_id, m.directory_id from hookline_sender_memberships m"
    " join hookline_sender_directory_groups g on g.id = m.group_id"
    " join hookline_sender_directory_users u on u.id = m.user_id"
    " join hookline_sender_directories d on d.id = m.directory_id and d.deleted_ms is null"
    " where m.is_member = 1"
)
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "organization": ("name", "external_id"),
    "organization_domain": ("organization_id", "domain", "state", "verification_strategy"),
    "directory": ("organization_id", "name", "type", "state", "external_key"),
    "directory_user": ("directory_id", "organization_id", "idp_id", "email", "state"),
    "directory_group": ("directory_id", "organization_id", "idp_id", "name"),
}
_USER_FIELDS: Final = ("first_name", "last_name", "username", "job_title")


@dataclass(frozen=True, slots=True)
class Truth:
    """What a right mirror shows in its `…_live` views.

    `objects` is resource (`data.object`) -> id -> mirrored column -> value; `memberships` are
    (group id, user id, directory id).
    """

    objects: Mapping[str, Mapping[str, Columns]]
    memberships: frozenset[tuple[str, str, str]]

    def count(self) -> int:
        """Objects and memberships together."""
        return sum(len(rows) for rows in self.objects.values()) + len(self.memberships)


def truth_of(sender: Look) -> Truth:
    """What is alive at the source at this moment, with every mirrored column."""
    return Truth(
        objects=MappingProxyType(
            {
                resource: {row["id"]: _columns(resource, row) for row in sender.named_rows(statement)}
                for resource, statement in _ALIVE.items()
            }
        ),
        memberships=frozenset((group, user, there) for group, user, there in sender.rows(_MEMBERSHIPS)),
    )


def _columns(resource: str, row: Mapping[str, Any]) -> Columns:
    shown: dict[str, str | int | None] = {name: row[name] for name in _COLUMNS[resource]}
    if resource == "directory_user":
        fields = json.loads(row["fields"])
        shown |= {name: fields[name] for name in _USER_FIELDS}
        shown["is_active"] = int(row["state"] == "active")
    stamps = {"created_at": row["created_ms"], "updated_at": row["updated_ms"]}
    return shown | {name: format_ms(at_ms * 1000) for name, at_ms in stamps.items()}
