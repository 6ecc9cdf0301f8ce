"""Organizations, directories and what is in them, as both dialects of the API show them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from hookline.sender.directory_model import DirectoryState, DomainState


class OrganizationDomain(BaseModel):
    """A domain of an organization."""

    object: Literal["organization_domain"]
    id: str
    organization_id: str
    domain: str
    state: DomainState
    verification_strategy: str | None = None
    verification_prefix: str | None = None
    verification_token: str | None = None
    created_at: str
    updated_at: str


class Organization(BaseModel):
    """An organization with its domains."""

    object: Literal["organization"]
    id: str
    name: str
    domains: list[OrganizationDomain]
    metadata: dict[str, str]
    external_id: str | None
    created_at: str
    updated_at: str


class Directory(BaseModel):
    """A directory, in the words of the Directory Sync API."""

    object: Literal["directory"]
    id: str
    organization_id: str | None
    external_key: str
    type: str
    state: DirectoryState
    name: str
    domain: str | None = None
    created_at: str
    updated_at: str


class DirectoryGroup(BaseModel):
    """A group of a directory."""

    object: Literal["directory_group"]
    id: str
    idp_id: str
    directory_id: str
    organization_id: str | None
    name: str
    raw_attributes: dict[str, Any]
    created_at: str
    updated_at: str


class Role(BaseModel):
    """A role, by its slug."""

    slug: str


class DirectoryUser(BaseModel):
    """A user of a directory; `name` is made of the others."""

    object: Literal["directory_user"]
    id: str
    directory_id: str
    organization_id: str | None
    idp_id: str
    email: str | None
    first_name: str | None
    last_name: str | None
    name: str | None
    emails: list[Any]
    job_title: str | None
    username: str | None
    state: Literal["active", "inactive"]
    raw_attributes: dict[str, Any]
    custom_attributes: dict[str, Any]
    role: Role | None = None
    roles: list[Role] | None = None
    created_at: str
    updated_at: str
