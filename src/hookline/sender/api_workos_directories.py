"""The source's read side as official WorkOS SDKs speak it: organizations, directories, their users and groups.

Source of every rule: the protocol reference, §5 and §9. Errors are of the older dialect, a message alone. What hangs on
something deleted is not there: 404, and in no list.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from hookline.errors import RequestError
from hookline.sender import api_directory_models as models
from hookline.sender.api_parts import (
    BEARER,
    Actor,
    CallContext,
    Caller,
    Context,
    ListMetadata,
    Paging,
    TooManyCalls,
    answers,
    listed,
    named_values,
)
from hookline.sender.directory_lists import DirectoryFilter, OrganizationFilter, UserFilter
from hookline.sender.directory_payloads import (
    directory_payload,
    group_payload,
    organization_payload,
    user_payload,
)

if TYPE_CHECKING:
    from hookline.sender.directory_model import Directory, DirectoryGroup, DirectoryUser
    from hookline.sender.model import Environment
    from hookline.storage.verbs import Connection

_MOST_DOMAINS: Final = 100


class ListedDirectoryUser(models.DirectoryUser):
    """A user with `groups`, which are empty unless `HOOKLINE_DIRECTORY_USER_GROUPS` says `filled`."""

    groups: list[models.DirectoryGroup]


class OrganizationList(BaseModel):
    """A page of organizations."""

    object: Literal["list"]
    data: list[models.Organization]
    list_metadata: ListMetadata


class DirectoryList(BaseModel):
    """A page of directories."""

    object: Literal["list"]
    data: list[models.Directory]
    list_metadata: ListMetadata


class DirectoryUserList(BaseModel):
    """A page of users."""

    object: Literal["list"]
    data: list[ListedDirectoryUser]
    list_metadata: ListMetadata


class DirectoryGroupList(BaseModel):
    """A page of groups."""

    object: Literal["list"]
    data: list[models.DirectoryGroup]
    list_metadata: ListMetadata


routes = APIRouter(dependencies=[BEARER])

_DOMAINS: Final = {
    "name": "domains",
    "in": "query",
    "required": False,
    "description": "Organizations with one of these domains: `a,b`, or the parameter repeated, or `domains[]`.",
    "schema": {"type": "array", "items": {"type": "string"}},
    "style": "form",
    "explode": False,
}
_USERS_TOO_MANY: Final[dict[int | str, dict[str, Any]]] = {
    429: {
        "description": "The directory's users, or the API, are asked for more often than they may be.",
        "content": {"application/json": {"schema": {"type": "string", "const": "Ratelimited"}}},
    }
}


# -- organizations -----------------------------------------------------------------------------------------------------


@routes.get(
    "/organizations",
    tags=["organizations"],
    response_model=OrganizationList,
    responses=answers(422),
    openapi_extra={"parameters": [_DOMAINS]},
)
def list_organizations(
    context: Context,
    environment: Caller,
    request: Request,
    paging: Paging,
    search: Annotated[str | None, Query(description="Part of the name, in any case.")] = None,
) -> Response:
    """List organizations."""
    domains = named_values(request.query_params.multi_items(), "domains")
    if len(domains) > _MOST_DOMAINS:
        raise RequestError(422, None, f"domains: expected at most {_MOST_DOMAINS}, got {len(domains)}")
    chosen = OrganizationFilter(search or None, [domain.lower() for domain in domains] or None)
    with context.database.snapshot() as connection:
        page = context.lists.organization_page(connection, environment, chosen, paging)
    return _answer(listed([organization_payload(item) for item in page.items], before=page.before, after=page.after))


@routes.get(
    "/organizations/external_id/{external_id}",
    tags=["organizations"],
    response_model=models.Organization,
    responses=answers(404),
)
def get_organization_by_external_id(context: Context, environment: Caller, external_id: str) -> Response:
    """One organization, by the id that its users gave it."""
    with context.database.snapshot() as connection:
        found = context.lists.organization_of_external_id(connection, environment, external_id)
    if found is None:
        raise _missing("Organization", external_id)
    return _answer(organization_payload(found))


@routes.get(
    "/organizations/{organization_id}",
    tags=["organizations"],
    response_model=models.Organization,
    responses=answers(404),
)
def get_organization(context: Context, environment: Caller, organization_id: str) -> Response:
    """One organization."""
    with context.database.snapshot() as connection:
        found = context.lists.store.organization(connection, environment, organization_id)
    if found is None:
        raise _missing("Organization", organization_id)
    return _answer(organization_payload(found))


# -- directories -------------------------------------------------------------------------------------------------------


@routes.get("/directories", tags=["directories"], response_model=DirectoryList, responses=answers(422))
def list_directories(
    context: Context,
    environment: Caller,
    paging: Paging,
    organization_id: str | None = None,
    search: Annotated[str | None, Query(description="Part of the name, in any case.")] = None,
    domain: Annotated[str | None, Query(deprecated=True)] = None,
) -> Response:
    """List directories."""
    chosen = DirectoryFilter(organization_id, search or None, None if domain is None else domain.lower())
    with context.database.snapshot() as connection:
        lists = context.lists
        if organization_id is not None and lists.store.organization(connection, environment, organization_id) is None:
            # Not an empty list: whoever deletes what a list no longer names must not be told so by a misspelt id.
            raise RequestError(422, None, _not_found("Organization", organization_id))
        page = lists.directory_page(connection, environment, chosen, paging)
    return _answer(listed([directory_payload(item) for item in page.items], before=page.before, after=page.after))


@routes.get(
    "/directories/{directory_id}", tags=["directories"], response_model=models.Directory, responses=answers(404)
)
def get_directory(context: Context, environment: Caller, directory_id: str) -> Response:
    """One directory."""
    with context.database.snapshot() as connection:
        return _answer(directory_payload(_directory(context, connection, environment, directory_id)))


@routes.delete(
    "/directories/{directory_id}",
    tags=["directories"],
    status_code=202,
    response_class=Response,
    responses=answers(404),
)
def delete_workos_directory(context: Context, environment: Caller, actor: Actor, directory_id: str) -> None:
    """Delete a directory with all that is in it: gone at once for every reader, its rows soon after."""
    context.directories.delete_directory(environment, directory_id, actor=actor)


# -- users -------------------------------------------------------------------------------------------------------------


@routes.get(
    "/directory_users",
    tags=["directory_users"],
    response_model=DirectoryUserList,
    responses={**answers(404, 422), **_USERS_TOO_MANY},
)
def list_directory_users(
    context: Context,
    environment: Caller,
    paging: Paging,
    directory: str | None = None,
    group: str | None = None,
    idp_id: Annotated[str | None, Query(description="With `directory` alone.")] = None,
    email: Annotated[str | None, Query(description="With `directory` alone.")] = None,
) -> Response:
    """List the users of a directory, or the members of a group."""
    for name, value in (("idp_id", idp_id), ("email", email)):
        if value is not None and directory is None:
            raise RequestError(422, None, f"{name}: expected `directory` beside it")
        if value is not None and group is not None:
            raise RequestError(422, None, f"{name}: expected without `group`")
    if directory is None and group is None:
        raise RequestError(422, None, "expected `directory` or `group`")
    with context.database.snapshot() as connection:
        of_group = None if group is None else _group(context, connection, environment, group, directory)
        above = _directory(context, connection, environment, of_group.directory_id if of_group else str(directory))
        _refuse_too_many(context, above)
        if of_group is not None:
            page = context.lists.member_page(connection, of_group, paging)
        else:
            page = context.lists.user_page(connection, above, UserFilter(idp_id, email), paging)
        data = _users(context, connection, page.items, above)
    return _answer(listed(data, before=page.before, after=page.after))


@routes.get(
    "/directory_users/{user_id}",
    tags=["directory_users"],
    response_model=ListedDirectoryUser,
    responses=answers(404),
)
def get_directory_user(context: Context, environment: Caller, user_id: str) -> Response:
    """One user."""
    with context.database.snapshot() as connection:
        user = _user(context, connection, environment, user_id)
        directory = _directory(context, connection, environment, user.directory_id)
        return _answer(_users(context, connection, [user], directory)[0])


# -- groups ------------------------------------------------------------------------------------------------------------


@routes.get(
    "/directory_groups",
    tags=["directory_groups"],
    response_model=DirectoryGroupList,
    responses=answers(404, 422),
)
def list_directory_groups(
    context: Context, environment: Caller, paging: Paging, directory: str | None = None, user: str | None = None
) -> Response:
    """List the groups of a directory, or those that a user is in."""
    if directory is None and user is None:
        raise RequestError(422, None, "expected `directory` or `user`")
    with context.database.snapshot() as connection:
        of_user = None if user is None else _user(context, connection, environment, user, directory)
        above = _directory(context, connection, environment, of_user.directory_id if of_user else str(directory))
        if of_user is not None:
            page = context.lists.groups_of_user_page(connection, of_user, paging)
        else:
            page = context.lists.group_page(connection, above, paging)
    data = [group_payload(item, above) for item in page.items]
    return _answer(listed(data, before=page.before, after=page.after))


@routes.get(
    "/directory_groups/{group_id}",
    tags=["directory_groups"],
    response_model=models.DirectoryGroup,
    responses=answers(404),
)
def get_directory_group(context: Context, environment: Caller, group_id: str) -> Response:
    """One group."""
    with context.database.snapshot() as connection:
        group = _group(context, connection, environment, group_id)
        return _answer(group_payload(group, _directory(context, connection, environment, group.directory_id)))


# -- what several of them do -------------------------------------------------------------------------------------------


def _directory(context: CallContext, connection: Connection, environment: Environment, id_: str) -> Directory:
    found = context.lists.store.directory(connection, environment, id_)
    if found is None:
        raise _missing("Directory", id_)
    return found


def _user(
    context: CallContext, connection: Connection, environment: Environment, id_: str, directory: str | None = None
) -> DirectoryUser:
    found = context.lists.user(connection, environment, id_)
    if found is None or directory not in (None, found.directory_id):
        raise _missing("Directory User", id_)
    return found


def _group(
    context: CallContext, connection: Connection, environment: Environment, id_: str, directory: str | None = None
) -> DirectoryGroup:
    found = context.lists.group(connection, environment, id_)
    if found is None or directory not in (None, found.directory_id):
        raise _missing("Directory Group", id_)
    return found


def _users(
    context: CallContext, connection: Connection, users: Sequence[DirectoryUser], directory: Directory
) -> list[dict[str, Any]]:
    groups: Mapping[str, Sequence[DirectoryGroup]] = {}
    if context.user_groups == "filled":
        groups = context.lists.groups_of_users(connection, [user.id for user in users])
    return [
        {
            **user_payload(user, directory),
            "groups": [group_payload(group, directory) for group in groups.get(user.id, ())],
        }
        for user in users
    ]


def _refuse_too_many(context: CallContext, directory: Directory) -> None:
    if context.users_limit is None:
        return
    wait_ms = context.users_limit.wait_ms(directory.id, context.clock.now_ms())
    if wait_ms:
        raise TooManyCalls(max(1, math.ceil(wait_ms / 1000)))


def _missing(what: str, id_: str) -> RequestError:
    return RequestError(404, "entity_not_found", _not_found(what, id_))


def _not_found(what: str, id_: str) -> str:
    return f"{what} not found: '{id_[:80]}'."


def _answer(value: Mapping[str, Any]) -> Response:
    # Its shape is the payload functions' business; a page of a hundred users is not validated once more.
    return Response(msgspec.json.encode(value), media_type="application/json")
