"""A source with rows of its own making: written by the verbs, past the writes that make ids and tell events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hookline.sender.directory_model import (
    Directory,
    DirectoryGroup,
    DirectoryUser,
    Membership,
    Organization,
    OrganizationDomain,
)
from hookline.sender.directory_store import DirectoryStore
from hookline.sender.ids import IdMaker
from hookline.sender.model import Environment
from hookline.storage import Database

FIELDS: dict[str, Any] = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "job_title": None,
    "username": None,
    "custom_attributes": {"department": None},
    "roles": [],
}


@dataclass
class Rows:
    """Makes rows, each created at the time given; several at one time are in the order of their ids."""

    database: Database
    environment: Environment = "production"
    ids: IdMaker = field(default_factory=IdMaker)

    def __post_init__(self) -> None:
        self.store = DirectoryStore(self.database.dialect)

    def organization(
        self, at_ms: int, name: str = "Acme", *domains: str, external_id: str | None = None
    ) -> Organization:
        made = Organization(
            id=self.ids.make("org", at_ms),
            name=name,
            external_id=external_id,
            metadata={"tier": "gold"},
            deleted_ms=None,
            **self._clock(at_ms),
        )
        owned = [
            OrganizationDomain(
                id=self.ids.make("org_domain", at_ms),
                organization_id=made.id,
                domain=domain,
                state="verified",
                verification_strategy="dns",
                verification_prefix=None,
                verification_token=None,
                **self._clock(at_ms),
            )
            for domain in domains
        ]
        with self.database.transaction() as connection:
            self.store.put_organization(connection, made)
            if owned:
                self.store.put_domains(connection, owned)
        return made

    def directory(
        self, at_ms: int, name: str = "Okta", *, organization_id: str | None = None, **more: Any
    ) -> Directory:
        made = Directory(
            **{
                "id": self.ids.make("directory", at_ms),
                "organization_id": organization_id,
                "name": name,
                "type": "okta scim v2.0",
                "state": "linked",
                "domain": None,
                "external_key": "sPa12dwRQ",
                "inactive_flow": "secure",
                "deleted_ms": None,
                **self._clock(at_ms),
                **more,
            }
        )
        with self.database.transaction() as connection:
            self.store.put_directory(connection, made)
        return made

    def users(self, directory: Directory, times_ms: Sequence[int], **more: Any) -> list[DirectoryUser]:
        made = []
        for at_ms in times_ms:
            id_ = self.ids.make("directory_user", at_ms)
            columns = {
                "idp_id": id_[-8:],
                "email": f"{id_[-8:].lower()}@example.com",
                "state": "active",
                "fields": FIELDS,
            }
            made.append(DirectoryUser(id=id_, directory_id=directory.id, **self._clock(at_ms), **{**columns, **more}))
        with self.database.transaction() as connection:
            self.store.put_users(connection, made)
        return made

    def groups(self, directory: Directory, times_ms: Sequence[int]) -> list[DirectoryGroup]:
        made = []
        for at_ms in times_ms:
            id_ = self.ids.make("directory_group", at_ms)
            named: dict[str, Any] = {"idp_id": id_[-8:], "name": f"Group {id_[-8:]}"}
            made.append(DirectoryGroup(id=id_, directory_id=directory.id, **self._clock(at_ms), **named))
        with self.database.transaction() as connection:
            self.store.put_groups(connection, made)
        return made

    def join(self, group: DirectoryGroup, users: Sequence[DirectoryUser], *, is_member: bool = True) -> None:
        made = [Membership(group.id, user.id, group.directory_id, is_member, group.created_ms, 1) for user in users]
        with self.database.transaction() as connection:
            self.store.put_memberships(connection, made)

    def delete_users(self, users: Sequence[DirectoryUser]) -> None:
        with self.database.transaction() as connection:
            self.store.delete_users(connection, [user.id for user in users])

    def _clock(self, at_ms: int) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "created_ms": at_ms,
            "updated_ms": at_ms,
            "event_ms": at_ms,
            "sequence": 1,
        }
