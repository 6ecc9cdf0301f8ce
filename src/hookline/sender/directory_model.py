"""What the sender holds of directories, as values: organizations and their domains, directories, users, groups.

Frozen and slotted; a field is a column of migrations/004_directories.sql and the verbs select in field order. Every
object carries its own clock: `updated_ms` is what it says of itself, `event_ms` the `created_at` of its latest event,
`sequence` how many events it has had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from hookline.sender.model import Environment

DirectoryState: TypeAlias = Literal["linked", "unlinked", "validating", "invalid_credentials", "deleting"]
UserState: TypeAlias = Literal["active", "inactive"]
DomainState: TypeAlias = Literal["pending", "verified", "failed"]
# What becomes of a user who turns inactive: deleted (WorkOS's default), or kept.
InactiveFlow: TypeAlias = Literal["secure", "custom"]

# What a user says besides the columns, under `fields`; `roles` are slugs, the primary one first.
USER_FIELDS: Final = ("first_name", "last_name", "job_title", "username", "custom_attributes", "roles")


@dataclass(frozen=True, slots=True)
class OrganizationDomain:
    """A domain of an organization."""

    id: str
    environment: Environment
    organization_id: str
    domain: str
    state: DomainState
    verification_strategy: str | None
    verification_prefix: str | None
    verification_token: str | None
    created_ms: int
    updated_ms: int
    event_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Organization:
    """A customer. `domains` are its domains, oldest first."""

    id: str
    environment: Environment
    name: str
    external_id: str | None
    metadata: Mapping[str, str]
    created_ms: int
    updated_ms: int
    event_ms: int
    sequence: int
    deleted_ms: int | None
    domains: tuple[OrganizationDomain, ...] = ()


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory. `state` is in the Directory Sync API's words."""

    id: str
    environment: Environment
    organization_id: str | None
    name: str
    type: str
    state: DirectoryState
    domain: str | None
    external_key: str
    inactive_flow: InactiveFlow
    created_ms: int
    updated_ms: int
    event_ms: int
    sequence: int
    deleted_ms: int | None


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """A user of a directory. `fields` are those of USER_FIELDS."""

    id: str
    environment: Environment
    directory_id: str
    idp_id: str
    email: str | None
    state: UserState
    fields: Mapping[str, Any]
    created_ms: int
    updated_ms: int
    event_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class DirectoryGroup:
    """A group of a directory."""

    id: str
    environment: Environment
    directory_id: str
    idp_id: str
    name: str
    created_ms: int
    updated_ms: int
    event_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Membership:
    """A user in a group, now (`is_member`) or once."""

    group_id: str
    user_id: str
    directory_id: str
    is_member: bool
    event_ms: int
    sequence: int
