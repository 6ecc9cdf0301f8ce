"""An object of a directory as JSON, once for all who show it: events, the compatible read routes, our own routes.

The Directory Sync API and events differ in a directory's words alone (`linked` there, `active` here) and in which of
its members they say (protocol reference, §5 and §6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.sender.directory_model import (
        Directory,
        DirectoryGroup,
        DirectoryUser,
        Organization,
        OrganizationDomain,
    )

_EVENT_STATES: Final = {"linked": "active", "unlinked": "inactive"}


def organization_payload(organization: Organization) -> dict[str, Any]:
    """An organization with its domains, the same in the API and in events."""
    return {
        "object": "organization",
        "id": organization.id,
        "name": organization.name,
        "domains": [domain_payload(domain) for domain in organization.domains],
        "metadata": dict(organization.metadata),
        "external_id": organization.external_id,
        **_stamps(organization.created_ms, organization.updated_ms),
    }


def domain_payload(domain: OrganizationDomain) -> dict[str, Any]:
    """A domain of an organization, the same in the API and in events."""
    verification = {
        "verification_strategy": domain.verification_strategy,
        "verification_prefix": domain.verification_prefix,
        "verification_token": domain.verification_token,
    }
    return {
        "object": "organization_domain",
        "id": domain.id,
        "organization_id": domain.organization_id,
        "domain": domain.domain,
        "state": domain.state,
        **{name: value for name, value in verification.items() if value is not None},
        **_stamps(domain.created_ms, domain.updated_ms),
    }


def directory_payload(directory: Directory) -> dict[str, Any]:
    """A directory as the Directory Sync API shows it."""
    return {
        "object": "directory",
        "id": directory.id,
        "organization_id": directory.organization_id,
        "external_key": directory.external_key,
        "type": directory.type,
        "state": directory.state,
        "name": directory.name,
        # Left out, not null, where there is none: clients take text.
        **({} if directory.domain is None else {"domain": directory.domain}),
        **_stamps(directory.created_ms, directory.updated_ms),
    }


def activated_payload(directory: Directory, domains: Sequence[OrganizationDomain]) -> dict[str, Any]:
    """The `data` of `dsync.activated`; `domains` are its organization's."""
    return {
        **_told(directory),
        "external_key": directory.external_key,
        "domains": [{"object": "organization_domain", "id": domain.id, "domain": domain.domain} for domain in domains],
    }


def deleted_payload(directory: Directory) -> dict[str, Any]:
    """The `data` of `dsync.deleted`: fewer members than `dsync.activated` has."""
    return _told(directory)


def user_payload(user: DirectoryUser, directory: Directory) -> dict[str, Any]:
    """A user of a directory, the same in the API and in events, without `groups`: those are the API's alone."""
    fields = user.fields
    roles = [{"slug": slug} for slug in fields["roles"]]
    names = [name for name in (fields["first_name"], fields["last_name"]) if name]
    return {
        "object": "directory_user",
        "id": user.id,
        "directory_id": user.directory_id,
        "organization_id": directory.organization_id,
        "idp_id": user.idp_id,
        "email": user.email,
        "first_name": fields["first_name"],
        "last_name": fields["last_name"],
        "name": " ".join(names) or None,
        "emails": [],
        "job_title": fields["job_title"],
        "username": fields["username"],
        "state": user.state,
        "raw_attributes": {},
        "custom_attributes": dict(fields["custom_attributes"]),
        **({"role": roles[0], "roles": roles} if roles else {}),
        **_stamps(user.created_ms, user.updated_ms),
    }


def group_payload(group: DirectoryGroup, directory: Directory) -> dict[str, Any]:
    """A group of a directory, the same in the API and in events."""
    return {
        "object": "directory_group",
        "id": group.id,
        "idp_id": group.idp_id,
        "directory_id": group.directory_id,
        "organization_id": directory.organization_id,
        "name": group.name,
        "raw_attributes": {},
        **_stamps(group.created_ms, group.updated_ms),
    }


def previous_attributes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What `after` says otherwise than `before`, as it was: null for what was absent (protocol reference, §6).

    Shallow: of `custom_attributes` those that changed, of anything else the whole. Absent and null are the same, and
    the stamp of the change is none of it.
    """
    changed: dict[str, Any] = {}
    for name in before.keys() | after.keys():
        was, is_now = before.get(name), after.get(name)
        if name == "custom_attributes":
            if inner := _differing(was or {}, is_now or {}):
                changed[name] = inner
        elif name != "updated_at" and not _is_same(was, is_now):
            changed[name] = was
    return {name: changed[name] for name in sorted(changed)}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    names = sorted(before.keys() | after.keys())
    return {name: before.get(name) for name in names if not _is_same(before.get(name), after.get(name))}


def _is_same(was: Any, is_now: Any) -> bool:
    """Equal as JSON: to Python true is 1, and false 0."""
    if isinstance(was, dict) and isinstance(is_now, dict):
        return was.keys() == is_now.keys() and all(_is_same(was[name], is_now[name]) for name in was)
    if isinstance(was, list) and isinstance(is_now, list):
        return len(was) == len(is_now) and all(map(_is_same, was, is_now))
    return isinstance(was, bool) == isinstance(is_now, bool) and bool(was == is_now)


def _told(directory: Directory) -> dict[str, Any]:
    return {
        "object": "directory",
        "id": directory.id,
        "organization_id": directory.organization_id,
        "type": directory.type,
        "state": _EVENT_STATES.get(directory.state, directory.state),
        "name": directory.name,
        **_stamps(directory.created_ms, directory.updated_ms),
    }


def _stamps(created_ms: int, updated_ms: int) -> dict[str, str]:
    return {"created_at": format_ms(created_ms * 1000), "updated_at": format_ms(updated_ms * 1000)}
