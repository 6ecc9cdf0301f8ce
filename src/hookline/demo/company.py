"""A simulated company: what happens at the source whose directories the demo keeps in step.

Customers (organizations) come and go, connect directories and delete them; people join, leave, return, change
their name or their post; groups are made, renamed, dissolved; people move between groups. Every act is written through
the sender's `Directories`, which holds what is true and publishes what tells of it, with the vocabulary and lifecycles
of the real thing. Half of the directories delete a user who turns inactive (WorkOS' default flow; whoever returns has a
new id), the others keep them as `inactive` (the custom flow; whoever returns has the old id).

Randomness is an argument: the same seed does the same in the same order. Nothing here waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hookline.demo import names
from hookline.sender.directories import DomainValues
from hookline.sender.directory_changes import (
    AddMember,
    Applied,
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
)
from hookline.sender.directory_model import Directory, DirectoryGroup, DirectoryUser, InactiveFlow, Organization

if TYPE_CHECKING:
    from hookline.sender.directories import Directories
    from hookline.sender.model import Environment

T = TypeVar("T")

USERS_PER_DIRECTORY: Final = 40
GROUPS_PER_DIRECTORY: Final = 8
_FLOWS: Final[tuple[InactiveFlow, ...]] = ("secure", "custom")


@dataclass(frozen=True, slots=True)
class Happening:
    """One act of the company, in a few words, and how many events tell of it."""

    summary: str
    events: int


@dataclass(slots=True)
class _There:
    """A directory and who is in it, to choose from; what is true stands in the database."""

    directory: Directory
    domain: str
    users: dict[str, DirectoryUser] = field(default_factory=dict)
    groups: dict[str, DirectoryGroup] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    # Who was deleted for being inactive and may be hired again, under a new id.
    gone: list[DirectoryUser] = field(default_factory=list)

    def note(self, operation: Operation, applied: Applied) -> None:
        """Remember what an operation came to."""
        done = applied.object
        match operation:
            case AddMember(user=user):
                self.members[done.id].add(self._id_of(user))
            case RemoveMember(user=user):
                self.members[done.id].discard(self._id_of(user))
            case _ if isinstance(done, DirectoryUser):
                if applied.is_deleted:
                    del self.users[done.id]
                    for members in self.members.values():
                        members.discard(done.id)
                else:
                    self.users[done.id] = done
            case _ if applied.is_deleted:
                del self.groups[done.id], self.members[done.id]
            case _:
                self.groups[done.id] = done
                self.members.setdefault(done.id, set())

    def _id_of(self, named: Named) -> str:
        if isinstance(named, str):
            return named
        return next(user.id for user in self.users.values() if user.idp_id == named.value)


class Company:
    """Lets one thing after the other happen at the source.

    Args:
        rng: every choice comes from it.
        directories: where it happens; nobody else writes there.
        environment: of the sender.
        organizations_max: how many customers there are at most at once.
    """

    def __init__(
        self,
        rng: random.Random,
        directories: Directories,
        *,
        environment: Environment = "production",
        organizations_max: int = 3,
    ) -> None:
        self._rng = rng
        self._source = directories
        self._environment: Environment = environment
        self._organizations_max = organizations_max
        self._organizations: dict[str, Organization] = {}
        self._directories: dict[str, _There] = {}
        self._told = 0
        # How often each thing happens, roughly as in a lively company; None from an act means "nobody to do it to".
        self._acts: tuple[tuple[int, Callable[[], str | None]], ...] = (
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

    def act(self) -> Happening:
        """Let the next thing happen, now by the source's clock. At least one event tells of it."""
        # Without a directory there is a customer to connect one, or there is none yet and one can be won.
        acts = self._acts if self._directories else ((1, self._connect), (1, self._sign))
        self._told = 0
        while True:
            (_, attempt), *_ = self._rng.choices(acts, [weight for weight, _ in acts])
            summary = attempt()
            if summary is not None:
                return Happening(summary, self._told)

    # Customers and their directories

    def _sign(self) -> str | None:
        taken = {domain.domain for one in self._organizations.values() for domain in one.domains}
        free = [one for one in names.COMPANIES if one[1] not in taken]
        if len(self._organizations) >= self._organizations_max or not free:
            return None
        name, domain = self._rng.choice(free)
        organization = self._source.create_organization(
            self._environment,
            name=name,
            domains=[DomainValues(domain, "verified")],
            external_id=self._free_external_id(),
        )
        self._organizations[organization.id] = organization
        self._told += 1 + len(organization.domains)
        self._connect_to(organization)
        return f"{name} becomes a customer and connects a directory"

    def _free_external_id(self) -> str | None:
        taken = {one.external_id for one in self._organizations.values()}
        drawn = self._rng.choice((None, f"crm-{self._rng.randrange(10_000):04}"))
        return None if drawn in taken else drawn

    def _part(self) -> str | None:
        # The last customer stays: a demo without a company would show nothing.
        if len(self._organizations) < 2:
            return None
        organization = self._organizations.pop(self._rng.choice(list(self._organizations)))
        for there in [one for one in self._directories.values() if one.directory.organization_id == organization.id]:
            del self._directories[there.directory.id]
        self._source.delete_organization(self._environment, organization.id)
        self._told += 1
        return f"{organization.name} is a customer no longer"

    def _rename_organization(self) -> str | None:
        organization = self._rng.choice(list(self._organizations.values()))
        stem = organization.name.removesuffix(" Group")
        name = stem if stem != organization.name else f"{stem} Group"
        self._organizations[organization.id] = self._source.update_organization(
            self._environment, organization.id, {"name": name}
        )
        self._told += 1
        return f"{organization.name} is now called {name}"

    def _connect(self) -> str | None:
        connected = {one.directory.organization_id for one in self._directories.values()}
        without = [one for one in self._organizations.values() if one.id not in connected]
        if not without:
            return None
        organization = self._rng.choice(without)
        self._connect_to(organization)
        return f"{organization.name} connects a directory"

    def _connect_to(self, organization: Organization) -> None:
        """A directory and its first sync, which names users before their groups, then each membership."""
        rng, [domain] = self._rng, organization.domains
        directory = self._source.create_directory(
            self._environment,
            organization_id=organization.id,
            name=f"{organization.name} directory",
            type=rng.choice(names.DIRECTORY_TYPES),
            domain=domain.domain,
            external_key=f"{rng.getrandbits(64):016x}",
            inactive_flow=rng.choice(_FLOWS),
        )
        self._told += 1
        there = self._directories[directory.id] = _There(directory, domain.domain)
        users = [self._hired(there) for _ in range(rng.randint(4, 9))]
        operations: list[Operation] = [*users]
        for name in rng.sample(names.GROUPS, rng.randint(2, 3)):
            group = self._founded(there, name)
            operations.append(group)
            members = rng.sample(users, rng.randint(1, len(users)))
            operations += [_admitted(group, user) for user in members]
        self._write(there, *operations)

    def _disconnect(self) -> str | None:
        there = self._directories.pop(self._rng.choice(list(self._directories)))
        self._source.delete_directory(self._environment, there.directory.id)
        self._told += 1
        return f"{there.directory.name} is deleted, with {len(there.users)} users"

    # People

    def _join(self) -> str | None:
        there = self._somewhere()
        if len(there.users) >= USERS_PER_DIRECTORY:
            return None
        user = self._hired(there)
        named = IdpId(user.attributes["idp_id"])
        operations: list[Operation] = [user]
        if self._rng.random() < 0.4:
            title = self._other(names.JOB_TITLES, user.attributes["job_title"])
            operations.append(UpdateUser(named, {"job_title": title}))
        operations += [AddMember(group.id, named) for group in self._some(list(there.groups.values()), most=2)]
        hired, *_ = self._write(there, *operations)
        return f"{_full_name(hired)} joins"

    def _leave(self) -> str | None:
        there = self._somewhere()
        active = [one for one in there.users.values() if one.state == "active"]
        if not active:
            return None
        user = self._rng.choice(active)
        if self._rng.random() < 0.2:
            self._write(there, DeleteUser(user.id))
            return f"{_full_name(user)} leaves"
        self._write(there, UpdateUser(user.id, {"state": "inactive"}))
        if there.directory.inactive_flow == "custom":
            return f"{_full_name(user)} is deactivated"
        there.gone.append(user)
        return f"{_full_name(user)} leaves"

    def _return(self) -> str | None:
        there = self._somewhere()
        inactive = [one for one in there.users.values() if one.state == "inactive"]
        if inactive:
            user = self._rng.choice(inactive)
            self._write(there, UpdateUser(user.id, {"state": "active"}))
            return f"{_full_name(user)} is active again"
        if not there.gone:
            return None
        old = there.gone.pop(self._rng.randrange(len(there.gone)))
        self._write(there, self._hired(there, like=old))
        return f"{_full_name(old)} returns under a new id"

    def _change_post(self) -> str | None:
        """Identity providers send attributes one by one, so several updates of a user come within milliseconds."""
        there, user = self._somebody()
        if user is None:
            return None
        title = self._other(names.JOB_TITLES, user.fields["job_title"])
        operations = [UpdateUser(user.id, {"job_title": title})]
        if self._rng.random() < 0.4:
            department = self._other(names.GROUPS, user.fields["custom_attributes"]["department"])
            operations.append(UpdateUser(user.id, {"custom_attributes": {"department": department}}))
        self._write(there, *operations)
        return f"{_full_name(user)} is now {title}"

    def _change_name(self) -> str | None:
        there, user = self._somebody()
        if user is None:
            return None
        old = user.fields["last_name"]
        last_name, spelled = self._rng.choice([one for one in names.LAST_NAMES if one[0] != old])
        local, _, domain = (user.email or "").partition("@")
        email = f"{local.partition('.')[0]}.{spelled}.{self._rng.randrange(1000)}@{domain}"
        operations = (UpdateUser(user.id, {"last_name": last_name}), UpdateUser(user.id, {"email": email}))
        *_, renamed = self._write(there, *operations)
        return f"{_full_name(user)} is now {_full_name(renamed)}"

    def _move(self) -> str | None:
        there = self._somewhere()
        if not there.users:
            return None
        user = self._rng.choice(list(there.users.values()))
        inside = [one for one in there.groups.values() if user.id in there.members[one.id]]
        outside = [one for one in there.groups.values() if user.id not in there.members[one.id]]
        operations: list[Operation] = []
        words = []
        if inside and (not outside or self._rng.random() < 0.6):
            left = self._rng.choice(inside)
            operations.append(RemoveMember(left.id, user.id))
            words.append(f"leaves {left.name}")
        if outside and (not operations or self._rng.random() < 0.7):
            entered = self._rng.choice(outside)
            operations.append(AddMember(entered.id, user.id))
            words.append(f"enters {entered.name}")
        if not operations:
            return None
        self._write(there, *operations)
        return f"{_full_name(user)} {' and '.join(words)}"

    # Groups

    def _make_group(self) -> str | None:
        there = self._somewhere()
        taken = {one.name for one in there.groups.values()}
        free = [one for one in names.GROUPS if one not in taken]
        if len(there.groups) >= GROUPS_PER_DIRECTORY or not free:
            return None
        group = self._founded(there, self._rng.choice(free))
        named = IdpId(group.attributes["idp_id"])
        members = self._some(list(there.users.values()), most=3)
        self._write(there, group, *(AddMember(named, user.id) for user in members))
        return f"{group.attributes['name']} is founded"

    def _rename_group(self) -> str | None:
        there = self._somewhere()
        if not there.groups:
            return None
        group = self._rng.choice(list(there.groups.values()))
        taken = {one.name for one in there.groups.values()}
        name = self._rng.choice([one for one in names.GROUPS if one not in taken])
        attributes = {"name": name}
        # At Okta a group's idp_id is its display name, so a rename looks like another identity.
        if there.directory.type.startswith("okta"):
            attributes["idp_id"] = name
        self._write(there, UpdateGroup(group.id, attributes))
        return f"{group.name} is now called {name}"

    def _dissolve_group(self) -> str | None:
        there = self._somewhere()
        if not there.groups:
            return None
        group = self._rng.choice(list(there.groups.values()))
        members = len(there.members[group.id])
        self._write(there, DeleteGroup(group.id))
        return f"{group.name} is dissolved, with {members} members"

    # What the acts are made of

    def _write(self, there: _There, *operations: Operation) -> list[DirectoryUser | DirectoryGroup]:
        """Do them in one commit; what they were about, as it was after each."""
        done = self._source.apply(self._environment, there.directory.id, operations)
        for operation, applied in zip(operations, done.applied, strict=True):
            there.note(operation, applied)
            self._told += applied.is_changed
        return [applied.object for applied in done.applied]

    def _hired(self, there: _There, like: DirectoryUser | None = None) -> CreateUser:
        rng = self._rng
        (first_name, first), (last_name, last) = rng.choice(names.FIRST_NAMES), rng.choice(names.LAST_NAMES)
        email = f"{first}.{last}.{rng.randrange(1000)}@{there.domain}"
        person: dict[str, Any] = {
            "idp_id": f"00u{rng.getrandbits(64):016x}",
            "email": email,
            "first_name": first_name,
            "last_name": last_name,
            "username": email.partition("@")[0],
        }
        if like is not None:
            known = ("first_name", "last_name", "username")
            person = {"idp_id": like.idp_id, "email": like.email, **{name: like.fields[name] for name in known}}
        job_title, department = rng.choice((None, *names.JOB_TITLES)), rng.choice((None, *names.GROUPS))
        return CreateUser({**person, "job_title": job_title, "custom_attributes": {"department": department}})

    def _founded(self, there: _There, name: str) -> CreateGroup:
        is_okta = there.directory.type.startswith("okta")
        return CreateGroup({"idp_id": name if is_okta else f"{self._rng.getrandbits(48):012x}", "name": name})

    def _somewhere(self) -> _There:
        return self._rng.choice(list(self._directories.values()))

    def _somebody(self) -> tuple[_There, DirectoryUser | None]:
        there = self._somewhere()
        people = list(there.users.values())
        return there, self._rng.choice(people) if people else None

    def _some(self, choices: list[T], *, most: int) -> list[T]:
        return self._rng.sample(choices, self._rng.randint(0, min(most, len(choices))))

    def _other(self, choices: Sequence[str], than: str | None) -> str:
        return self._rng.choice([one for one in choices if one != than])


def _admitted(group: CreateGroup, user: CreateUser) -> AddMember:
    return AddMember(IdpId(group.attributes["idp_id"]), IdpId(user.attributes["idp_id"]))


def _full_name(user: DirectoryUser | DirectoryGroup) -> str:
    assert isinstance(user, DirectoryUser)  # of an operation on a user
    return f"{user.fields['first_name']} {user.fields['last_name']}"
