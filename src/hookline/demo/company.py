"""A simulated company: the source of truth whose directories the demo keeps in step.

Customers (organizations) come and go, connect directories and delete them; people join, leave, return, change
their name or their post; groups are made, renamed, dissolved; people move between groups. Every act changes the
truth and says which WorkOS events tell of it, with the vocabulary and lifecycles of the real thing:

- a directory's first sync names users before their groups, then each membership;
- a user's payload says nothing of groups, and a membership does not touch the user's `updated_at`;
- `dsync.group.deleted`, `dsync.user.deleted`, `dsync.deleted` and `organization.deleted` come alone: what hung on
  the dead object ends without a word;
- half of the directories delete a user who turns inactive (WorkOS' default flow; whoever returns has a new id), the
  others keep them as `inactive` (the custom flow; whoever returns has the old id).

Randomness and time are arguments: the same seed and the same times give the same company. Nothing here sends,
stores or waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, TypeVar

from ulid import ULID

from hookline.demo import names
from hookline.wire.timestamps import format_ms

Payload: TypeAlias = dict[str, Any]
Columns: TypeAlias = Mapping[str, str | int | None]
T = TypeVar("T")
Flow: TypeAlias = Literal["secure", "custom"]

USERS_PER_DIRECTORY: Final = 40
GROUPS_PER_DIRECTORY: Final = 8


@dataclass(frozen=True, slots=True)
class NewEvent:
    """What to publish: `type` and `data` as on the wire, `created_ms` when it happened (Unix milliseconds)."""

    type: str
    data: Payload
    created_ms: int


@dataclass(frozen=True, slots=True)
class Happening:
    """One act of the company, in a few words, and the events that tell of it, in order."""

    summary: str
    events: tuple[NewEvent, ...]


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


@dataclass(slots=True, kw_only=True)
class _Thing:
    """What every object has. An object's own clock never stands still: see `Company._touch`."""

    id: str
    created_ms: int
    updated_ms: int

    def stamps(self) -> dict[str, str]:
        return {
            "created_at": format_ms(self.created_ms * 1000),
            "updated_at": format_ms(self.updated_ms * 1000),
        }


@dataclass(slots=True, kw_only=True)
class _Organization(_Thing):
    name: str
    domain: str
    external_id: str | None

    def payload(self) -> Payload:
        return {
            "object": "organization",
            "id": self.id,
            "name": self.name,
            "domains": [
                {
                    "object": "organization_domain",
                    "id": self.id.replace("org_", "org_domain_", 1),
                    "organization_id": self.id,
                    "domain": self.domain,
                    "state": "verified",
                }
            ],
            "external_id": self.external_id,
            "metadata": {},
            **self.stamps(),
        }

    def columns(self) -> Columns:
        return {"name": self.name, "external_id": self.external_id, **self.stamps()}


@dataclass(slots=True, kw_only=True)
class _User(_Thing):
    directory_id: str
    organization_id: str
    idp_id: str
    email: str
    first_name: str
    last_name: str
    username: str
    job_title: str | None
    department: str | None
    state: Literal["active", "inactive"] = "active"

    def payload(self) -> Payload:
        return {
            "object": "directory_user",
            **self._fields(),
            "id": self.id,
            "name": self.full_name(),
            "emails": [],
            "role": {"slug": "member"},
            "raw_attributes": {},
            "custom_attributes": {"department": self.department},
        }

    def columns(self) -> Columns:
        return {**self._fields(), "is_active": int(self.state == "active")}

    def _fields(self) -> Payload:
        return {
            "directory_id": self.directory_id,
            "organization_id": self.organization_id,
            "idp_id": self.idp_id,
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "username": self.username,
            "job_title": self.job_title,
            "state": self.state,
            **self.stamps(),
        }

    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass(slots=True, kw_only=True)
class _Group(_Thing):
    directory_id: str
    organization_id: str
    idp_id: str
    name: str
    members: set[str] = field(default_factory=set)

    def payload(self) -> Payload:
        return {"object": "directory_group", **self.columns(), "id": self.id, "raw_attributes": {}}

    def columns(self) -> Columns:
        return {
            "directory_id": self.directory_id,
            "organization_id": self.organization_id,
            "idp_id": self.idp_id,
            "name": self.name,
            **self.stamps(),
        }


@dataclass(slots=True, kw_only=True)
class _Directory(_Thing):
    organization_id: str
    name: str
    type: str
    domain: str
    external_key: str
    flow: Flow
    users: dict[str, _User] = field(default_factory=dict)
    groups: dict[str, _Group] = field(default_factory=dict)
    # Who was deleted for being inactive and may be hired again, under a new id.
    gone: list[_User] = field(default_factory=list)

    def payload(self) -> Payload:
        return {
            "object": "directory",
            **self.columns(),
            "state": "active",
            "id": self.id,
            "domains": [
                {
                    "object": "organization_domain",
                    "id": self.organization_id.replace("org_", "org_domain_", 1),
                    "domain": self.domain,
                }
            ],
        }

    def obituary(self) -> Payload:
        """`dsync.deleted` has fewer fields: no `domains`, no `external_key`."""
        return {key: value for key, value in self.payload().items() if key not in ("domains", "external_key")}

    def columns(self) -> Columns:
        return {
            "organization_id": self.organization_id,
            "name": self.name,
            "type": self.type,
            # Events say `active` where the Directory API, and so the mirror, says `linked`.
            "state": "linked",
            "external_key": self.external_key,
            **self.stamps(),
        }


class Company:
    """The source of truth, one act at a time.

    Args:
        rng: every choice and every id comes from it.
        organizations_max: how many customers there are at most at once.
    """

    def __init__(self, rng: random.Random, *, organizations_max: int = 3) -> None:
        self._rng = rng
        self._organizations_max = organizations_max
        self._organizations: dict[str, _Organization] = {}
        self._directories: dict[str, _Directory] = {}
        self._last_event_ms = 0
        # How often each thing happens, roughly as in a lively company; None from an act means "nobody to do it to".
        self._acts: tuple[tuple[int, Callable[[int], Happening | None]], ...] = (
            (120, self._join),
            (40, self._leave),
            (30, self._return),
            (80, self._change_post),
            (40, self._change_name),
            (100, self._move),
            (30, self._make_group),
            (30, self._rename_group),
            (18, self._dissolve_group),
            (12, self._rename_organization),
            (30, self._connect),
            (3, self._disconnect),
            (10, self._sign),
            (2, self._part),
        )

    def act(self, now_ms: int) -> Happening:
        """Let the next thing happen at `now_ms`. Always returns at least one event."""
        # Without a directory there is a customer to connect one, or there is none yet and one can be won.
        acts = self._acts if self._directories else ((1, self._connect), (1, self._sign))
        while True:
            (_, attempt), *_ = self._rng.choices(acts, [weight for weight, _ in acts])
            happening = attempt(now_ms)
            if happening is not None:
                return happening

    def truth(self) -> Truth:
        """What is alive now, with every mirrored column."""
        directories = self._directories.values()
        return Truth(
            objects=MappingProxyType(
                {
                    "organization": {one.id: one.columns() for one in self._organizations.values()},
                    "directory": {one.id: one.columns() for one in directories},
                    "directory_user": {one.id: one.columns() for there in directories for one in there.users.values()},
                    "directory_group": {
                        one.id: one.columns() for there in directories for one in there.groups.values()
                    },
                }
            ),
            memberships=frozenset(
                (group.id, user_id, there.id)
                for there in directories
                for group in there.groups.values()
                for user_id in group.members
            ),
        )

    # Customers and their directories

    def _sign(self, now_ms: int) -> Happening | None:
        taken = {one.domain for one in self._organizations.values()}
        free = [one for one in names.COMPANIES if one[1] not in taken]
        if len(self._organizations) >= self._organizations_max or not free:
            return None
        name, domain = self._rng.choice(free)
        organization = _Organization(
            **self._born("org", now_ms),
            name=name,
            domain=domain,
            external_id=self._rng.choice((None, f"crm-{self._rng.randrange(10_000):04}")),
        )
        self._organizations[organization.id] = organization
        events = [self._event("organization.created", organization.payload(), organization)]
        events += self._connect_to(organization, now_ms)
        return Happening(f"{name} becomes a customer and connects a directory", tuple(events))

    def _part(self, now_ms: int) -> Happening | None:
        # The last customer stays: a demo without a company would show nothing.
        if len(self._organizations) < 2:
            return None
        organization = self._organizations.pop(self._rng.choice(list(self._organizations)))
        for directory in [one for one in self._directories.values() if one.organization_id == organization.id]:
            del self._directories[directory.id]
        event = self._event("organization.deleted", organization.payload(), organization, at_ms=now_ms)
        return Happening(f"{organization.name} is a customer no longer", (event,))

    def _rename_organization(self, now_ms: int) -> Happening | None:
        organization = self._rng.choice(list(self._organizations.values()))
        old = organization.name
        stem = old.removesuffix(" Group")
        organization.name = stem if stem != old else f"{stem} Group"
        self._touch(organization, now_ms)
        event = self._event("organization.updated", organization.payload(), organization)
        return Happening(f"{old} is now called {organization.name}", (event,))

    def _connect(self, now_ms: int) -> Happening | None:
        connected = {one.organization_id for one in self._directories.values()}
        without = [one for one in self._organizations.values() if one.id not in connected]
        if not without:
            return None
        organization = self._rng.choice(without)
        return Happening(f"{organization.name} connects a directory", tuple(self._connect_to(organization, now_ms)))

    def _connect_to(self, organization: _Organization, now_ms: int) -> list[NewEvent]:
        rng = self._rng
        directory = _Directory(
            **self._born("directory", now_ms),
            organization_id=organization.id,
            name=f"{organization.name} directory",
            type=rng.choice(names.DIRECTORY_TYPES),
            domain=organization.domain,
            external_key=f"{rng.getrandbits(64):016x}",
            flow=rng.choice(("secure", "custom")),
        )
        self._directories[directory.id] = directory
        events = [self._event("dsync.activated", directory.payload(), directory)]
        users = [self._hire(directory, now_ms) for _ in range(rng.randint(4, 9))]
        events += [self._event("dsync.user.created", user.payload(), user) for user in users]
        for name in rng.sample(names.GROUPS, rng.randint(2, 3)):
            group = self._found(directory, name, now_ms)
            events.append(self._event("dsync.group.created", group.payload(), group))
            members = rng.sample(users, rng.randint(1, len(users)))
            events += [self._admit(directory, group, user) for user in members]
        return events

    def _disconnect(self, now_ms: int) -> Happening | None:
        directory = self._directories.pop(self._rng.choice(list(self._directories)))
        event = self._event("dsync.deleted", directory.obituary(), directory, at_ms=now_ms)
        return Happening(f"{directory.name} is deleted, with {len(directory.users)} users", (event,))

    # People

    def _join(self, now_ms: int) -> Happening | None:
        directory = self._somewhere()
        if len(directory.users) >= USERS_PER_DIRECTORY:
            return None
        user = self._hire(directory, now_ms)
        events = [self._event("dsync.user.created", user.payload(), user)]
        if self._rng.random() < 0.4:
            events.append(self._update(user, now_ms, job_title=self._other(names.JOB_TITLES, user.job_title)))
        groups = self._some(list(directory.groups.values()), most=2)
        events += [self._admit(directory, group, user) for group in groups]
        return Happening(f"{user.full_name()} joins", tuple(events))

    def _leave(self, now_ms: int) -> Happening | None:
        directory = self._somewhere()
        active = [one for one in directory.users.values() if one.state == "active"]
        if not active:
            return None
        user = self._rng.choice(active)
        hard = self._rng.random() < 0.2
        if directory.flow == "custom" and not hard:
            event = self._update(user, now_ms, state="inactive")
            return Happening(f"{user.full_name()} is deactivated", (event,))
        del directory.users[user.id]
        for group in directory.groups.values():
            group.members.discard(user.id)
        if not hard:
            directory.gone.append(user)
        event = self._event("dsync.user.deleted", user.payload(), user, at_ms=now_ms)
        return Happening(f"{user.full_name()} leaves", (event,))

    def _return(self, now_ms: int) -> Happening | None:
        directory = self._somewhere()
        inactive = [one for one in directory.users.values() if one.state == "inactive"]
        if inactive:
            user = self._rng.choice(inactive)
            event = self._update(user, now_ms, state="active")
            return Happening(f"{user.full_name()} is active again", (event,))
        if not directory.gone:
            return None
        old = directory.gone.pop(self._rng.randrange(len(directory.gone)))
        user = self._hire(directory, now_ms, like=old)
        event = self._event("dsync.user.created", user.payload(), user)
        return Happening(f"{user.full_name()} returns under a new id", (event,))

    def _change_post(self, now_ms: int) -> Happening | None:
        user = self._somebody()
        if user is None:
            return None
        events = [self._update(user, now_ms, job_title=self._other(names.JOB_TITLES, user.job_title))]
        if self._rng.random() < 0.4:
            events.append(self._update(user, now_ms, department=self._other(names.GROUPS, user.department)))
        return Happening(f"{user.full_name()} is now {user.job_title}", tuple(events))

    def _change_name(self, now_ms: int) -> Happening | None:
        user = self._somebody()
        if user is None:
            return None
        old = user.full_name()
        last_name, spelled = self._rng.choice([one for one in names.LAST_NAMES if one[0] != user.last_name])
        local, _, domain = user.email.partition("@")
        email = f"{local.partition('.')[0]}.{spelled}.{self._rng.randrange(1000)}@{domain}"
        events = (self._update(user, now_ms, last_name=last_name), self._update(user, now_ms, email=email))
        return Happening(f"{old} is now {user.full_name()}", events)

    def _move(self, now_ms: int) -> Happening | None:
        directory = self._somewhere()
        if not directory.users:
            return None
        user = self._rng.choice(list(directory.users.values()))
        inside = [one for one in directory.groups.values() if user.id in one.members]
        outside = [one for one in directory.groups.values() if user.id not in one.members]
        events, words = [], []
        if inside and (not outside or self._rng.random() < 0.6):
            left = self._rng.choice(inside)
            left.members.discard(user.id)
            events.append(self._relation("dsync.group.user_removed", directory, left, user, now_ms))
            words.append(f"leaves {left.name}")
        if outside and (not events or self._rng.random() < 0.7):
            entered = self._rng.choice(outside)
            entered.members.add(user.id)
            events.append(self._relation("dsync.group.user_added", directory, entered, user, now_ms))
            words.append(f"enters {entered.name}")
        if not events:
            return None
        return Happening(f"{user.full_name()} {' and '.join(words)}", tuple(events))

    # Groups

    def _make_group(self, now_ms: int) -> Happening | None:
        directory = self._somewhere()
        taken = {one.name for one in directory.groups.values()}
        free = [one for one in names.GROUPS if one not in taken]
        if len(directory.groups) >= GROUPS_PER_DIRECTORY or not free:
            return None
        group = self._found(directory, self._rng.choice(free), now_ms)
        events = [self._event("dsync.group.created", group.payload(), group)]
        members = self._some(list(directory.users.values()), most=3)
        events += [self._admit(directory, group, user) for user in members]
        return Happening(f"{group.name} is founded", tuple(events))

    def _rename_group(self, now_ms: int) -> Happening | None:
        directory = self._somewhere()
        if not directory.groups:
            return None
        group = self._rng.choice(list(directory.groups.values()))
        taken = {one.name for one in directory.groups.values()}
        name = self._rng.choice([one for one in names.GROUPS if one not in taken])
        previous = {"name": group.name, "idp_id": group.idp_id}
        summary = f"{group.name} is now called {name}"
        # At Okta a group's idp_id is its display name, so a rename looks like another identity.
        if directory.type.startswith("okta"):
            group.idp_id = name
        else:
            del previous["idp_id"]
        group.name = name
        self._touch(group, now_ms)
        data = {**group.payload(), "previous_attributes": previous}
        return Happening(summary, (self._event("dsync.group.updated", data, group),))

    def _dissolve_group(self, now_ms: int) -> Happening | None:
        directory = self._somewhere()
        if not directory.groups:
            return None
        group = directory.groups.pop(self._rng.choice(list(directory.groups)))
        event = self._event("dsync.group.deleted", group.payload(), group, at_ms=now_ms)
        return Happening(f"{group.name} is dissolved, with {len(group.members)} members", (event,))

    # What the acts are made of

    def _hire(self, directory: _Directory, now_ms: int, like: _User | None = None) -> _User:
        rng = self._rng
        (first_name, first), (last_name, last) = rng.choice(names.FIRST_NAMES), rng.choice(names.LAST_NAMES)
        email = f"{first}.{last}.{rng.randrange(1000)}@{directory.domain}"
        user = _User(
            **self._born("directory_user", now_ms),
            directory_id=directory.id,
            organization_id=directory.organization_id,
            idp_id=like.idp_id if like else f"00u{rng.getrandbits(64):016x}",
            email=like.email if like else email,
            first_name=like.first_name if like else first_name,
            last_name=like.last_name if like else last_name,
            username=like.username if like else email.partition("@")[0],
            job_title=rng.choice((None, *names.JOB_TITLES)),
            department=rng.choice((None, *names.GROUPS)),
        )
        directory.users[user.id] = user
        return user

    def _found(self, directory: _Directory, name: str, now_ms: int) -> _Group:
        group = _Group(
            **self._born("directory_group", now_ms),
            directory_id=directory.id,
            organization_id=directory.organization_id,
            idp_id=name if directory.type.startswith("okta") else f"{self._rng.getrandbits(48):012x}",
            name=name,
        )
        directory.groups[group.id] = group
        return group

    def _admit(self, directory: _Directory, group: _Group, user: _User) -> NewEvent:
        group.members.add(user.id)
        return self._relation("dsync.group.user_added", directory, group, user, max(group.updated_ms, user.updated_ms))

    def _relation(self, type_: str, directory: _Directory, group: _Group, user: _User, now_ms: int) -> NewEvent:
        data = {"directory_id": directory.id, "user": user.payload(), "group": group.payload()}
        return self._event(type_, data, user, at_ms=max(now_ms, group.updated_ms))

    def _update(self, user: _User, now_ms: int, **changes: str | None) -> NewEvent:
        """Identity providers send attributes one by one, so several updates of a user come within milliseconds."""
        before = user.payload()
        for name, value in changes.items():
            setattr(user, name, value)
        after = user.payload()
        previous = {name: before[name] for name in before if before[name] != after[name]}
        self._touch(user, now_ms)
        return self._event("dsync.user.updated", {**user.payload(), "previous_attributes": previous}, user)

    def _somewhere(self) -> _Directory:
        return self._rng.choice(list(self._directories.values()))

    def _somebody(self) -> _User | None:
        people = list(self._somewhere().users.values())
        return self._rng.choice(people) if people else None

    def _some(self, choices: list[T], *, most: int) -> list[T]:
        return self._rng.sample(choices, self._rng.randint(0, min(most, len(choices))))

    def _other(self, choices: tuple[str, ...], than: str | None) -> str:
        return self._rng.choice([one for one in choices if one != than])

    def _born(self, prefix: str, now_ms: int) -> dict[str, Any]:
        ulid = ULID.from_int(now_ms << 80 | self._rng.getrandbits(80))
        return {"id": f"{prefix}_{ulid}", "created_ms": now_ms, "updated_ms": now_ms}

    def _touch(self, thing: _Thing, now_ms: int) -> None:
        """An object's clock is max(now, last + 1 ms): two changes in one millisecond are still in order."""
        thing.updated_ms = max(now_ms, thing.updated_ms + 1)

    def _event(self, type_: str, data: Payload, thing: _Thing, *, at_ms: int = 0) -> NewEvent:
        """Events never run backwards, and none is older than the object it tells of."""
        self._last_event_ms = max(self._last_event_ms, thing.updated_ms, at_ms)
        return NewEvent(type_, data, self._last_event_ms)
