"""Writing directories under `/api/v1`: organizations, directories, users, groups, memberships, and many at once.

The compatible routes read what is written here. An object is answered as they show it, and a directory with the flow
that its inactive users take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hookline.sender import api_directory_models as models
from hookline.sender.api_parts import BEARER, NO_NUL, Action, Actor, Caller, Context, answers
from hookline.sender.directories import MAX_DOMAINS, MAX_OPERATIONS, DomainValues, VerificationFailure
from hookline.sender.directory_changes import (
    AddMember,
    CreateGroup,
    CreateUser,
    DeleteGroup,
    DeleteUser,
    IdpId,
    Named,
    Operation,
    RemoveMember,
    UpdateGroup,
    UpdateUser,
    not_there,
)
from hookline.sender.directory_model import DirectoryGroup, DirectoryState, DirectoryUser, DomainState, InactiveFlow
from hookline.sender.directory_payloads import directory_payload, group_payload, organization_payload, user_payload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hookline.sender.api_parts import CallContext
    from hookline.sender.directory_model import Directory
    from hookline.sender.idempotency import IdempotencyKey
    from hookline.sender.model import Environment

Word = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_NUL)]
Text = Annotated[str, Field(max_length=500, pattern=NO_NUL)]
Slug = Annotated[str, Field(min_length=1, max_length=100, pattern=NO_NUL)]
Key = Annotated[str, Field(min_length=1, max_length=40, pattern=NO_NUL)]
DomainName = Annotated[
    str,
    Field(
        max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$"
    ),
]
Roles = Annotated[list[Slug], Field(max_length=50, description="Slugs, the primary role first.")]
CustomAttributes = Annotated[
    dict[str, Any], Field(description="JSON that JavaScript keeps unchanged, up to 64 KiB. Replaced as a whole.")
]
Metadata = Annotated[dict[Key, Annotated[str, Field(max_length=600, pattern=NO_NUL)]], Field(max_length=50)]


class OwnDirectory(models.Directory):
    """A directory. `inactive_flow` says what becomes of a user who turns inactive."""

    inactive_flow: InactiveFlow


class Deactivated(BaseModel):
    """What became of a user who was turned inactive: `deleted` in the secure flow, or kept."""

    object: Literal["directory_user"]
    id: str
    deleted: bool


class NewDomain(BaseModel):
    """A domain that an organization is to have. `state` left out: as it is, `pending` where it is new.

    `reason` is told where `state` becomes `failed`.
    """

    model_config = ConfigDict(extra="forbid")

    domain: DomainName
    state: DomainState | None = None
    verification_strategy: Literal["dns", "manual"] | None = None
    verification_prefix: Word | None = None
    verification_token: Word | None = None
    reason: VerificationFailure = "domain_verification_period_expired"


Domains = Annotated[
    list[NewDomain], Field(max_length=MAX_DOMAINS, description="All of them: one that is left out is removed.")
]


class CreateOrganization(BaseModel):
    """A new organization."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "Acme", "domains": [{"domain": "acme.example", "state": "verified"}]}]
        },
    )

    name: Word
    external_id: Word | None = None
    metadata: Metadata | None = None
    domains: Domains | None = None


class UpdateOrganization(BaseModel):
    """What to change. What is left out stays; null empties `external_id` and leaves the others as they are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Acme Ltd"}]})

    name: Word | None = None
    external_id: Word | None = None
    metadata: Metadata | None = None
    domains: Domains | None = None


class CreateDirectory(BaseModel):
    """A new directory. `secure` deletes a user who turns inactive, as WorkOS does by default; `custom` keeps him."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Acme directory", "inactive_flow": "custom"}]}
    )

    organization_id: Word | None = None
    name: Word
    type: Word = "generic scim v2.0"
    state: DirectoryState = "linked"
    domain: DomainName | None = None
    external_key: Word | None = None
    inactive_flow: InactiveFlow = "secure"


class UpdateDirectory(BaseModel):
    """What to change. What is left out stays; null empties `domain` and leaves the others as they are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "People"}]})

    name: Word | None = None
    type: Word | None = None
    state: DirectoryState | None = None
    domain: DomainName | None = None
    external_key: Word | None = None
    inactive_flow: InactiveFlow | None = None


class UserAttributes(BaseModel):
    """What to say of a user. What is left out stays; null empties it, but leaves `idp_id`, `state`, `custom_attributes`
    and `roles` as they are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"job_title": "Optical Engineer"}]})

    idp_id: Word | None = None
    email: Text | None = None
    state: Literal["active", "inactive"] | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    job_title: Text | None = None
    username: Text | None = None
    custom_attributes: CustomAttributes | None = None
    roles: Roles | None = None


class NewUser(UserAttributes):
    """A new user. `roles` are `["member"]` unless given."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"idp_id": "00u5ada", "email": "ada@acme.example", "first_name": "Ada"}]},
    )

    idp_id: Word


class NewGroup(BaseModel):
    """A new group."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"idp_id": "00g1", "name": "Sales"}]})

    idp_id: Word
    name: Word


class GroupAttributes(BaseModel):
    """What to change of a group. What is left out or null stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Engineering and Optics"}]})

    idp_id: Word | None = None
    name: Word | None = None


class Reference(BaseModel):
    """A user or group, by our id or by the identity provider's: one of the two."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [{"required": ["id"]}, {"required": ["idp_id"]}]}
    )

    # Left out, never null: the description says so.
    id: Word = ""
    idp_id: Word = ""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("expected id or idp_id, one of the two")
        return self

    @property
    def named(self) -> Named:
        """As the writes take it."""
        return self.id or IdpId(self.idp_id)


class BulkCreateUser(BaseModel):
    """As `POST …/users`."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["create_user"]
    attributes: NewUser

    def written(self) -> Operation:
        return CreateUser(_given(self.attributes))


class BulkUpdateUser(BaseModel):
    """As `PATCH …/users/{user_id}`; a `state` turns the user inactive, or active again."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["update_user"]
    user: Reference
    attributes: UserAttributes

    def written(self) -> Operation:
        return UpdateUser(self.user.named, _given(self.attributes))


class BulkDeleteUser(BaseModel):
    """As `DELETE …/users/{user_id}`."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["delete_user"]
    user: Reference

    def written(self) -> Operation:
        return DeleteUser(self.user.named)


class BulkCreateGroup(BaseModel):
    """As `POST …/groups`."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["create_group"]
    attributes: NewGroup

    def written(self) -> Operation:
        return CreateGroup(self.attributes.model_dump())


class BulkUpdateGroup(BaseModel):
    """As `PATCH …/groups/{group_id}`."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["update_group"]
    group: Reference
    attributes: GroupAttributes

    def written(self) -> Operation:
        return UpdateGroup(self.group.named, self.attributes.model_dump(exclude_none=True))


class BulkDeleteGroup(BaseModel):
    """As `DELETE …/groups/{group_id}`."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["delete_group"]
    group: Reference

    def written(self) -> Operation:
        return DeleteGroup(self.group.named)


class BulkMember(BaseModel):
    """As `PUT` and `DELETE …/groups/{group_id}/members/{user_id}`."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["add_member", "remove_member"]
    group: Reference
    user: Reference

    def written(self) -> Operation:
        make = AddMember if self.operation == "add_member" else RemoveMember
        return make(self.group.named, self.user.named)


BulkOperation: TypeAlias = Annotated[
    BulkCreateUser | BulkUpdateUser | BulkDeleteUser | BulkCreateGroup | BulkUpdateGroup | BulkDeleteGroup | BulkMember,
    Field(discriminator="operation"),
]

_BULK_EXAMPLE: Final[Any] = {
    "operations": [
        {"operation": "create_user", "attributes": {"idp_id": "00u5ada", "email": "ada@acme.example"}},
        {"operation": "create_group", "attributes": {"idp_id": "00g1", "name": "Engineering"}},
        {"operation": "add_member", "group": {"idp_id": "00g1"}, "user": {"idp_id": "00u5ada"}},
    ]
}


class Bulk(BaseModel):
    """Operations on what is in a directory, done in order; each sees what those before it did."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_BULK_EXAMPLE]})

    operations: Annotated[list[BulkOperation], Field(min_length=1, max_length=MAX_OPERATIONS)]


class BulkId(BaseModel):
    """The user or group that an operation was about; of a membership the group."""

    id: str


class BulkDone(BaseModel):
    """One for each operation, in order."""

    data: list[BulkId]


routes = APIRouter(prefix="/api/v1", dependencies=[BEARER], tags=["directories"])


@routes.post(
    "/organizations",
    status_code=201,
    response_model=models.Organization,
    response_model_exclude_unset=True,
    responses=answers(404, 409),
)
def create_organization(
    context: Context, environment: Caller, actor: Actor, used: Action, body: CreateOrganization
) -> dict[str, Any]:
    """A new organization, told of as `organization.created`; each of its domains as `organization_domain.created`."""
    made = context.directories.create_organization(
        environment,
        name=body.name,
        domains=_domains(body.domains or ()),
        external_id=body.external_id,
        metadata=body.metadata,
        actor=actor,
        idempotency=used,
    )
    return organization_payload(made)


@routes.patch(
    "/organizations/{organization_id}",
    response_model=models.Organization,
    response_model_exclude_unset=True,
    responses=answers(404, 409),
)
def update_organization(
    context: Context, environment: Caller, actor: Actor, organization_id: str, body: UpdateOrganization
) -> dict[str, Any]:
    """Change an organization or its domains: `organization.updated`, after the domains' own events."""
    given = {name: getattr(body, name) for name in body.model_fields_set}
    given = {name: value for name, value in given.items() if value is not None or name == "external_id"}
    if body.domains is not None:
        given["domains"] = _domains(body.domains)
    return organization_payload(
        context.directories.update_organization(environment, organization_id, given, actor=actor)
    )


@routes.delete("/organizations/{organization_id}", status_code=204, response_class=Response, responses=answers(404))
def delete_organization(context: Context, environment: Caller, actor: Actor, organization_id: str) -> None:
    """Delete an organization: `organization.deleted` alone. Its domains and directories end with it."""
    context.directories.delete_organization(environment, organization_id, actor=actor)


@routes.post("/directories", status_code=201, response_model=OwnDirectory, responses=answers(404, 409))
def create_directory(
    context: Context, environment: Caller, actor: Actor, used: Action, body: CreateDirectory
) -> dict[str, Any]:
    """A new directory of an organization, or of none: `dsync.activated`, where it is linked."""
    made = context.directories.create_directory(environment, **body.model_dump(), actor=actor, idempotency=used)
    return _directory_shown(made)


@routes.patch("/directories/{directory_id}", response_model=OwnDirectory, responses=answers(404))
def update_directory(
    context: Context, environment: Caller, actor: Actor, directory_id: str, body: UpdateDirectory
) -> dict[str, Any]:
    """Change a directory. It is told of as `dsync.activated` when it becomes linked, and otherwise not at all."""
    given = body.model_dump(exclude_unset=True)
    given = {name: value for name, value in given.items() if value is not None or name == "domain"}
    return _directory_shown(context.directories.update_directory(environment, directory_id, given, actor=actor))


@routes.delete("/directories/{directory_id}", status_code=204, response_class=Response, responses=answers(404))
def delete_directory(context: Context, environment: Caller, actor: Actor, directory_id: str) -> None:
    """Delete a directory: `dsync.deleted` alone. Its users, groups and memberships end with it."""
    context.directories.delete_directory(environment, directory_id, actor=actor)


@routes.post("/directories/{directory_id}/bulk", response_model=BulkDone, responses=answers(404, 409))
def change_directory_in_bulk(
    context: Context, environment: Caller, directory_id: str, used: Action, body: Bulk
) -> dict[str, Any]:
    """Up to 1,000 operations in one commit: all of them or none. A refusal names the operation by its place."""
    operations = [one.written() for one in body.operations]
    done = context.directories.apply(environment, directory_id, operations, idempotency=used)
    return {"data": [{"id": id_} for id_ in done.ids]}


@routes.post(
    "/directories/{directory_id}/users",
    status_code=201,
    response_model=models.DirectoryUser,
    response_model_exclude_unset=True,
    responses=answers(404, 409),
)
def create_directory_user(
    context: Context, environment: Caller, directory_id: str, used: Action, body: NewUser
) -> dict[str, Any]:
    """A new user: `dsync.user.created`."""
    return _written(context, environment, directory_id, CreateUser(_given(body)), used)


@routes.patch(
    "/directories/{directory_id}/users/{user_id}",
    response_model=models.DirectoryUser,
    response_model_exclude_unset=True,
    responses=answers(404, 409),
)
def update_directory_user(
    context: Context, environment: Caller, directory_id: str, user_id: str, body: UserAttributes
) -> dict[str, Any]:
    """Change a user: `dsync.user.updated`.

    Who turns inactive in the secure flow is deleted, and answered for the last time.
    """
    return _written(context, environment, directory_id, UpdateUser(user_id, _given(body)), None)


@routes.delete(
    "/directories/{directory_id}/users/{user_id}", status_code=204, response_class=Response, responses=answers(404)
)
def delete_directory_user(context: Context, environment: Caller, directory_id: str, user_id: str) -> None:
    """Delete a user: `dsync.user.deleted`. His memberships end with him."""
    context.directories.delete_user(environment, directory_id, user_id)


@routes.post(
    "/directories/{directory_id}/users/{user_id}/deactivate", response_model=Deactivated, responses=answers(404, 409)
)
def deactivate_directory_user(
    context: Context, environment: Caller, directory_id: str, user_id: str, used: Action
) -> dict[str, Any]:
    """Turn a user inactive: deleted in the secure flow (`dsync.user.deleted`), kept in the custom one
    (`dsync.user.updated`)."""
    operation = UpdateUser(user_id, {"state": "inactive"})
    done = context.directories.apply(environment, directory_id, [operation], place="", idempotency=used)
    is_deleted = done.applied[0].is_deleted if done.applied else False
    if not done.applied:
        with context.database.read() as connection:
            is_deleted = not context.directories.state.users(connection, directory_id, [user_id])
    return {"object": "directory_user", "id": user_id, "deleted": is_deleted}


@routes.post(
    "/directories/{directory_id}/users/{user_id}/reactivate",
    response_model=models.DirectoryUser,
    response_model_exclude_unset=True,
    responses=answers(404, 409),
)
def reactivate_directory_user(
    context: Context, environment: Caller, directory_id: str, user_id: str, used: Action
) -> dict[str, Any]:
    """Turn a user active again whom the custom flow kept: `dsync.user.updated`."""
    return _written(context, environment, directory_id, UpdateUser(user_id, {"state": "active"}), used)


@routes.post(
    "/directories/{directory_id}/groups",
    status_code=201,
    response_model=models.DirectoryGroup,
    responses=answers(404, 409),
)
def create_directory_group(
    context: Context, environment: Caller, directory_id: str, used: Action, body: NewGroup
) -> dict[str, Any]:
    """A new group: `dsync.group.created`."""
    return _written(context, environment, directory_id, CreateGroup(body.model_dump()), used)


@routes.patch(
    "/directories/{directory_id}/groups/{group_id}", response_model=models.DirectoryGroup, responses=answers(404, 409)
)
def update_directory_group(
    context: Context, environment: Caller, directory_id: str, group_id: str, body: GroupAttributes
) -> dict[str, Any]:
    """Change a group: `dsync.group.updated`."""
    operation = UpdateGroup(group_id, body.model_dump(exclude_none=True))
    return _written(context, environment, directory_id, operation, None)


@routes.delete(
    "/directories/{directory_id}/groups/{group_id}", status_code=204, response_class=Response, responses=answers(404)
)
def delete_directory_group(context: Context, environment: Caller, directory_id: str, group_id: str) -> None:
    """Delete a group: `dsync.group.deleted` alone. Its memberships end with it."""
    context.directories.delete_group(environment, directory_id, group_id)


@routes.put(
    "/directories/{directory_id}/groups/{group_id}/members/{user_id}",
    status_code=204,
    response_class=Response,
    responses=answers(404),
)
def add_directory_group_member(
    context: Context, environment: Caller, directory_id: str, group_id: str, user_id: str
) -> None:
    """Put a user into a group: `dsync.group.user_added`, unless he was in it."""
    context.directories.add_member(environment, directory_id, group_id, user_id)


@routes.delete(
    "/directories/{directory_id}/groups/{group_id}/members/{user_id}",
    status_code=204,
    response_class=Response,
    responses=answers(404),
)
def remove_directory_group_member(
    context: Context, environment: Caller, directory_id: str, group_id: str, user_id: str
) -> None:
    """Take a user out of a group: `dsync.group.user_removed`, if he was in it."""
    context.directories.remove_member(environment, directory_id, group_id, user_id)


def _written(
    context: CallContext,
    environment: Environment,
    directory_id: str,
    operation: Operation,
    used: IdempotencyKey | None,
) -> dict[str, Any]:
    """Do one, and show the user or group as it is now. RequestError 404 where a repeat finds it gone."""
    state = context.directories.state
    done = context.directories.apply(environment, directory_id, [operation], place="", idempotency=used)
    found: list[DirectoryUser | DirectoryGroup] = [one.object for one in done.applied]
    if not found:
        with context.database.snapshot() as connection:
            found += state.users(connection, directory_id, done.ids)
            found += state.groups(connection, directory_id, done.ids)
    if not found:
        raise not_there("What an earlier call with this Idempotency-Key made", done.ids[0])
    [shown] = found
    if isinstance(shown, DirectoryUser):
        return user_payload(shown, done.directory)
    return group_payload(shown, done.directory)


def _directory_shown(directory: Directory) -> dict[str, Any]:
    return {**directory_payload(directory), "domain": directory.domain, "inactive_flow": directory.inactive_flow}


def _domains(given: Sequence[NewDomain]) -> list[DomainValues]:
    return [DomainValues(**domain.model_dump()) for domain in given]


def _given(attributes: UserAttributes) -> Mapping[str, Any]:
    """What a body says of a user: null empties what can be empty, and is passed over of the rest."""
    given = attributes.model_dump(exclude_unset=True)
    kept = ("idp_id", "state", "custom_attributes", "roles")
    return {name: value for name, value in given.items() if value is not None or name not in kept}
