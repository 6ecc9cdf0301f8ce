"""Is the mirror the source? Row by row, column by column, through the `…_live` views, with plain SQL.

This reads what an app would read and knows nothing of how it came to be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hookline.demo.look import Look
from hookline.demo.truth import Truth

LIVE_VIEWS: Final[Mapping[str, str]] = {
    "organization": "hookline_organizations_live",
    "organization_domain": "hookline_organization_domains_live",
    "directory": "hookline_directories_live",
    "directory_user": "hookline_directory_users_live",
    "directory_group": "hookline_directory_groups_live",
}
MEMBERSHIPS_LIVE_VIEW: Final = "hookline_directory_memberships_live"


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the mirror is not the source.

    `missing` is in the source and not in the mirror, `extra` the reverse, `differs` one column of a row.
    """

    kind: Literal["missing", "extra", "differs"]
    resource: str
    id: str
    column: str | None = None
    source: Any = None
    mirror: Any = None

    def __str__(self) -> str:
        if self.kind == "differs":
            return f"{self.resource} {self.id} {self.column}: source {self.source!r}, mirror {self.mirror!r}"
        return f"{self.resource} {self.id}: {self.kind} in the mirror"


def differences(truth: Truth, mirror: Look, *, source: str = "default") -> list[Difference]:
    """Everything in which the mirror's live rows are not the truth, in a fixed order; empty where they are equal."""
    found: list[Difference] = []
    for resource, view in LIVE_VIEWS.items():
        found += _rows_differ(resource, truth.objects[resource], _live_rows(mirror, view, source))
    edges = mirror.rows(f"select group_id, user_id, directory_id from {MEMBERSHIPS_LIVE_VIEW} where source = ?", source)
    held = {tuple(row) for row in edges}
    membership = "directory_membership"
    missing, extra = sorted(truth.memberships - held), sorted(held - truth.memberships, key=str)
    found += [Difference("missing", membership, f"{group}/{user}") for group, user, _ in missing]
    found += [Difference("extra", membership, f"{group}/{user}") for group, user, _ in extra]
    return found


def _live_rows(mirror: Look, view: str, source: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in mirror.named_rows(f"select * from {view} where source = ?", source)}


def _rows_differ(
    resource: str, source: Mapping[str, Mapping[str, Any]], mirror: Mapping[str, Mapping[str, Any]]
) -> Iterator[Difference]:
    for key in sorted(source.keys() - mirror.keys()):
        yield Difference("missing", resource, key)
    for key in sorted(mirror.keys() - source.keys()):
        yield Difference("extra", resource, key)
    for key in sorted(source.keys() & mirror.keys()):
        for column, value in source[key].items():
            if mirror[key][column] != value:
                yield Difference("differs", resource, key, column, value, mirror[key][column])
