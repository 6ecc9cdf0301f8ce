"""What writes make of a directory's users, groups and memberships, and which events tell of it: in memory, in order.

`Changes` is the working set of one transaction: it reads what the operations name, applies them one after the other,
and hands out rows and events to be written. The caller holds the directory's lock.

Rules (protocol reference, §6 and §7): a change of nothing is none; a user who turns inactive is deleted in the secure
flow and kept in the custom one; what ends with a user or a group ends without a word; a membership has a clock of its
own and does not touch its user's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from hookline.errors import NotCanonical, RequestError
from hookline.sender.directory_model import USER_FIELDS, Directory, DirectoryGroup, DirectoryUser, Membership
from hookline.sender.directory_payloads import group_payload, previous_attributes, user_payload
from hookline.sender.drafts import EventDraft
from hookline.wire.canonical import canonical_bytes

if TYPE_CHECKING:
    from hookline.sender.directory_store import DirectoryStore
    from hookline.storage.verbs import Connection

T = TypeVar("T", DirectoryUser, DirectoryGroup)

MAX_CUSTOM_BYTES: Final = 64 * 1024
"""Of a user's custom attributes as compact JSON: an update tells of what they were and of what they are."""
USER_ATTRIBUTES: Final = ("idp_id", "email", "state", *USER_FIELDS)
GROUP_ATTRIBUTES: Final = ("idp_id", "name")
_DEFAULT_FIELDS: Final[Mapping[str, Any]] = {
    "first_name": None,
    "last_name": None,
    "job_title": None,
    "username": None,
    "custom_attributes": {},
    "roles": ["member"],
}


@dataclass(frozen=True, slots=True)
class IdpId:
    """Names a user or group by its id at the identity provider; who has it is looked up when its turn comes."""

    value: str


# An id of ours, or an identity provider's.
Named: TypeAlias = str | IdpId


@dataclass(frozen=True, slots=True)
class CreateUser:
    """A new user; `attributes` are any of USER_ATTRIBUTES, `idp_id` among them."""

    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateUser:
    """Other `attributes` for a user; `state` inactive deactivates."""

    user: Named
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteUser:
    """The end of a user, whatever the directory's flow."""

    user: Named


@dataclass(frozen=True, slots=True)
class CreateGroup:
    """A new group; `attributes` are GROUP_ATTRIBUTES."""

    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateGroup:
    """Other `attributes` for a group."""

    group: Named
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteGroup:
    """The end of a group and of its memberships."""

    group: Named


@dataclass(frozen=True, slots=True)
class AddMember:
    """A user in a group, where he is not in it yet."""

    group: Named
    user: Named


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """A user out of a group, where he is in it."""

    group: Named
    user: Named


Operation: TypeAlias = (
    CreateUser | UpdateUser | DeleteUser | CreateGroup | UpdateGroup | DeleteGroup | AddMember | RemoveMember
)


@dataclass(frozen=True, slots=True)
class Applied:
    """What an operation came to.

    `object` is the user or group as it is now, or was last where it is deleted; of a membership its group.
    """

    object: DirectoryUser | DirectoryGroup
    is_changed: bool = True
    is_deleted: bool = False


class Changes:
    """The working set of one transaction on one directory, whose lock the caller holds.

    Args:
        make_id: a new id with a prefix.
    """

    def __init__(
        self,
        connection: Connection,
        store: DirectoryStore,
        directory: Directory,
        *,
        make_id: Callable[[str], str],
        now_ms: int,
    ) -> None:
        self._connection = connection
        self._store = store
        self._directory = directory
        self._make_id = make_id
        self._now_ms = now_ms
        self._users: _Kept[DirectoryUser] = _Kept("user")
        self._groups: _Kept[DirectoryGroup] = _Kept("group")
        # By (group id, user id); None: there never was one.
        self._pairs: dict[tuple[str, str], Membership | None] = {}
        self._changed_pairs: set[tuple[str, str]] = set()
        self._bytes: dict[tuple[str, int], bytes] = {}
        self.events: list[EventDraft] = []

    def read(self, operations: Sequence[Operation]) -> None:
        """Read in few statements what the operations name."""
        connection, store, there = self._connection, self._store, self._directory.id
        users, groups = _names(operations, "user"), _names(operations, "group")
        self._users.know(store.users(connection, there, sorted(users.ids)))
        self._users.know(store.users_by_idp(connection, there, sorted(users.idp_ids)))
        self._groups.know(store.groups(connection, there, sorted(groups.ids)))
        self._groups.know(store.groups_by_idp(connection, there, sorted(groups.idp_ids)))
        pairs = {
            (group.id, user.id)
            for one in operations
            if isinstance(one, AddMember | RemoveMember)
            and (group := self._groups.find(one.group)) is not None
            and (user := self._users.find(one.user)) is not None
        }
        self._know_pairs(sorted(pairs))

    def apply(self, operation: Operation) -> Applied:
        """Do one. RequestError 404 for what is not there, 409 for an idp_id that is taken, 422 for a bad value."""
        match operation:
            case CreateUser():
                return self._create_user(operation.attributes)
            case UpdateUser():
                return self._update_user(self._users.get(operation.user), operation.attributes)
            case DeleteUser():
                return self._delete_user(self._users.get(operation.user))
            case CreateGroup():
                return self._create_group(operation.attributes)
            case UpdateGroup():
                return self._update_group(self._groups.get(operation.group), operation.attributes)
            case DeleteGroup():
                return self._delete_group(self._groups.get(operation.group))
            case AddMember():
                group, user = self._groups.get(operation.group), self._users.get(operation.user)
                return self._relate(group, user, is_member=True)
            case RemoveMember():
                group, user = self._groups.get(operation.group), self._users.get(operation.user)
                return self._relate(group, user, is_member=False)

    def write(self) -> tuple[list[str], list[str]]:
        """Write all that changed; gives the groups and the users that are gone, whose memberships are to go."""
        connection, store = self._connection, self._store
        # An idp_id may pass from one to another within these operations: who loses it goes first.
        store.delete_users(connection, self._users.displaced())
        store.delete_groups(connection, self._groups.displaced())
        store.put_users(connection, self._users.written())
        store.put_groups(connection, self._groups.written())
        pairs = [
            pair
            for group_id, user_id in sorted(self._changed_pairs)
            if (pair := self._pairs[group_id, user_id]) is not None
            and group_id in self._groups
            and user_id in self._users
        ]
        store.put_memberships(connection, pairs)
        return self._groups.gone(), self._users.gone()

    # -- users ---------------------------------------------------------------------------------------------------

    def _create_user(self, attributes: Mapping[str, Any]) -> Applied:
        self._users.refuse_taken(attributes["idp_id"])
        if attributes.get("state", "active") == "inactive" and self._directory.inactive_flow == "secure":
            raise bad_value("state", "expected active: this directory deletes users who turn inactive")
        now_ms = self._now_ms
        user = DirectoryUser(
            id=self._make_id("directory_user"),
            environment=self._directory.environment,
            directory_id=self._directory.id,
            idp_id=attributes["idp_id"],
            email=attributes.get("email"),
            state=attributes.get("state", "active"),
            fields=_fields(_DEFAULT_FIELDS, attributes),
            created_ms=now_ms,
            updated_ms=now_ms,
            event_ms=now_ms,
            sequence=1,
        )
        self._users.put(user)
        self._tell("dsync.user.created", self._shown(user), user)
        return Applied(user)

    def _update_user(self, user: DirectoryUser, attributes: Mapping[str, Any]) -> Applied:
        columns = {name: attributes[name] for name in ("idp_id", "email", "state") if name in attributes}
        changed = replace(user, fields=_fields(user.fields, attributes), **columns)
        before = user_payload(user, self._directory)
        previous = previous_attributes(before, user_payload(changed, self._directory))
        if not previous:
            return Applied(user, is_changed=False)
        if changed.idp_id != user.idp_id:
            self._users.refuse_taken(changed.idp_id)
        changed = _touched(changed, self._now_ms)
        if changed.state == "inactive" != user.state and self._directory.inactive_flow == "secure":
            self._users.remove(user.id)
            self._tell("dsync.user.deleted", self._shown(changed), changed)
            return Applied(changed, is_deleted=True)
        self._users.put(changed)
        data = {**user_payload(changed, self._directory), "previous_attributes": previous}
        self._tell("dsync.user.updated", canonical_bytes(data), changed)
        return Applied(changed)

    def _delete_user(self, user: DirectoryUser) -> Applied:
        self._users.remove(user.id)
        last = replace(user, event_ms=_next_ms(user, self._now_ms), sequence=user.sequence + 1)
        self._tell("dsync.user.deleted", self._shown(user), last)
        return Applied(last, is_deleted=True)

    # -- groups --------------------------------------------------------------------------------------------------

    def _create_group(self, attributes: Mapping[str, Any]) -> Applied:
        self._groups.refuse_taken(attributes["idp_id"])
        now_ms = self._now_ms
        group = DirectoryGroup(
            id=self._make_id("directory_group"),
            environment=self._directory.environment,
            directory_id=self._directory.id,
            idp_id=attributes["idp_id"],
            name=attributes["name"],
            created_ms=now_ms,
            updated_ms=now_ms,
            event_ms=now_ms,
            sequence=1,
        )
        self._groups.put(group)
        self._tell("dsync.group.created", self._shown(group), group)
        return Applied(group)

    def _update_group(self, group: DirectoryGroup, attributes: Mapping[str, Any]) -> Applied:
        changed = replace(group, **{name: attributes[name] for name in GROUP_ATTRIBUTES if name in attributes})
        if changed == group:
            return Applied(group, is_changed=False)
        if changed.idp_id != group.idp_id:
            self._groups.refuse_taken(changed.idp_id)
        changed = _touched(changed, self._now_ms)
        self._groups.put(changed)
        before, after = group_payload(group, self._directory), group_payload(changed, self._directory)
        data = {**after, "previous_attributes": previous_attributes(before, after)}
        self._tell("dsync.group.updated", canonical_bytes(data), changed)
        return Applied(changed)

    def _delete_group(self, group: DirectoryGroup) -> Applied:
        self._groups.remove(group.id)
        last = replace(group, event_ms=_next_ms(group, self._now_ms), sequence=group.sequence + 1)
        self._tell("dsync.group.deleted", self._shown(group), last)
        return Applied(last, is_deleted=True)

    # -- memberships ---------------------------------------------------------------------------------------------

    def _relate(self, group: DirectoryGroup, user: DirectoryUser, *, is_member: bool) -> Applied:
        key = (group.id, user.id)
        if key not in self._pairs:
            self._know_pairs([key])
        pair = self._pairs[key] or Membership(*key, self._directory.id, is_member=False, event_ms=0, sequence=0)
        if pair.is_member == is_member:
            return Applied(group, is_changed=False)
        # Not told of before its ends are.
        event_ms = max(self._now_ms, pair.event_ms + 1, group.updated_ms, user.updated_ms)
        pair = replace(pair, is_member=is_member, event_ms=event_ms, sequence=pair.sequence + 1)
        self._pairs[key] = pair
        self._changed_pairs.add(key)
        directory = canonical_bytes(self._directory.id)
        data = b'{"directory_id":%b,"user":%b,"group":%b}' % (directory, self._shown(user), self._shown(group))
        self._tell(f"dsync.group.user_{'added' if is_member else 'removed'}", data, pair)
        return Applied(group)

    def _know_pairs(self, keys: Sequence[tuple[str, str]]) -> None:
        self._pairs |= dict.fromkeys(keys)
        for pair in self._store.memberships(self._connection, keys):
            self._pairs[pair.group_id, pair.user_id] = pair

    # -- events --------------------------------------------------------------------------------------------------

    def _shown(self, thing: DirectoryUser | DirectoryGroup) -> bytes:
        """Its payload as canonical bytes: made once for all the memberships of one bulk."""
        key = (thing.id, thing.updated_ms)
        if key not in self._bytes:
            show: Callable[..., dict[str, Any]] = user_payload if isinstance(thing, DirectoryUser) else group_payload
            self._bytes[key] = canonical_bytes(show(thing, self._directory))
        return self._bytes[key]

    def _tell(self, type_: str, data: bytes, about: DirectoryUser | DirectoryGroup | Membership) -> None:
        organization_id = self._directory.organization_id
        self.events.append(
            EventDraft(type_, b'"data":' + data, b"", organization_id, about.event_ms, object_sequence=about.sequence)
        )


class _Kept(Generic[T]):
    """Users or groups as they are after the operations so far, by id and by idp_id."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._first: dict[str, T] = {}
        self._now: dict[str, T] = {}
        self._by_idp: dict[str, str] = {}
        self._changed: set[str] = set()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._now

    def know(self, found: Sequence[T]) -> None:
        """They are in the database."""
        for one in found:
            self._first[one.id] = self._now[one.id] = one
            self._by_idp[one.idp_id] = one.id

    def find(self, named: Named) -> T | None:
        id_ = self._by_idp.get(named.value) if isinstance(named, IdpId) else named
        return None if id_ is None else self._now.get(id_)

    def get(self, named: Named) -> T:
        found = self.find(named)
        if found is None:
            by = "idp_id" if isinstance(named, IdpId) else "id"
            raise not_there(f"Directory {self._kind}", named.value if isinstance(named, IdpId) else named, by=by)
        return found

    def refuse_taken(self, idp_id: str) -> None:
        if idp_id in self._by_idp:
            message = f"another {self._kind} of the directory has this idp_id"
            raise RequestError(409, "idp_id_taken", message, [_error("idp_id", "taken", message)])

    def put(self, one: T) -> None:
        if (before := self._now.get(one.id)) is not None:
            del self._by_idp[before.idp_id]
        self._now[one.id] = one
        self._by_idp[one.idp_id] = one.id
        self._changed.add(one.id)

    def remove(self, id_: str) -> None:
        del self._by_idp[self._now.pop(id_).idp_id]

    def written(self) -> list[T]:
        """Whose rows are to be written."""
        return [self._now[id_] for id_ in sorted(self._changed) if id_ in self._now]

    def gone(self) -> list[str]:
        """Who is in the database and is to be there no longer."""
        return sorted(self._first.keys() - self._now.keys())

    def displaced(self) -> list[str]:
        """Whose rows are to be removed: those gone, and those that come back under another idp_id."""
        return sorted(
            id_ for id_, one in self._first.items() if id_ not in self._now or self._now[id_].idp_id != one.idp_id
        )


@dataclass(frozen=True, slots=True)
class _Names:
    ids: set[str]
    idp_ids: set[str]


def _names(operations: Sequence[Operation], kind: str) -> _Names:
    """Which users or groups operations name, and which idp_ids they want to give."""
    names = _Names(set(), set())
    for one in operations:
        named = getattr(one, kind, None)
        if isinstance(named, IdpId):
            names.idp_ids.add(named.value)
        elif named is not None:
            names.ids.add(named)
        makers = CreateUser | UpdateUser if kind == "user" else CreateGroup | UpdateGroup
        if isinstance(one, makers) and (idp_id := one.attributes.get("idp_id")) is not None:
            names.idp_ids.add(idp_id)
    return names


def _fields(before: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := sorted(attributes.keys() - {*USER_ATTRIBUTES}):
        raise TypeError(f"unknown attributes of a user: {', '.join(unknown)}")
    if (custom := attributes.get("custom_attributes")) is not None:
        try:
            # As deep as it stands in the deepest event.
            size = len(canonical_bytes({"data": {"user": {"custom_attributes": custom}}}))
        except NotCanonical as error:
            field = error.path.removeprefix("data.user.")
            raise bad_value(field, str(error).removeprefix(f"{error.path}: ")) from None
        if size > MAX_CUSTOM_BYTES:
            raise bad_value("custom_attributes", f"expected at most {MAX_CUSTOM_BYTES} bytes as compact JSON")
    return {name: attributes[name] if name in attributes else before[name] for name in USER_FIELDS}


def _next_ms(thing: DirectoryUser | DirectoryGroup, now_ms: int) -> int:
    """An object's clock never stands still: max(now, its last + 1 ms)."""
    return max(now_ms, thing.event_ms + 1)


def _touched(thing: T, now_ms: int) -> T:
    event_ms = _next_ms(thing, now_ms)
    return replace(thing, updated_ms=event_ms, event_ms=event_ms, sequence=thing.sequence + 1)


def not_there(what: str, name: str, *, by: str = "id") -> RequestError:
    """404 `entity_not_found`."""
    message = f"{what} not found: '{name[:80]}'."
    return RequestError(404, "entity_not_found", message, [_error(by, "entity_not_found", message)])


def bad_value(field: str, expected: str) -> RequestError:
    """422 `invalid_request_parameters` that names a field."""
    message = f"{field}: {expected}"
    return RequestError(
        422, "invalid_request_parameters", "The request parameters are invalid.", [_error(field, "invalid", message)]
    )


def _error(field: str, code: str, message: str) -> dict[str, str]:
    return {"code": code, "field": field, "message": message}
