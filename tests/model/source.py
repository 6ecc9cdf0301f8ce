"""A small source of truth and everything it says: a seed in, a history out.

One organization, one or two directories, their users, groups and memberships. The source deletes what is below an
object silently with it, as the provider does; it may take an object back under its old key; an update may leave
`updated_at` alone; times are whole milliseconds and often equal; an add carries copies of both ends. What is said
may be less than the truth: deletions with a part of the payload, events without `created_at`, payloads without
`updated_at`.

Plain `random.Random`, no clock: the same seed makes the same history everywhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["upsert", "delete", "add", "remove"]
Payload: TypeAlias = dict[str, Any]
Pair: TypeAlias = tuple[str, str]
"""(group, user)"""

START_US: Final = 1_790_000_000_000_000
MS: Final = 1_000
S: Final = 1_000_000
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class World:
    """The keys of one history. Every one ends in `tag`, so that histories can share a database."""

    organization: str
    parents: dict[str, tuple[str, ...]]
    resources: dict[str, str]
    users: tuple[str, ...]
    groups: tuple[str, ...]
    pairs: tuple[Pair, ...]
    children: dict[str, tuple[str, ...]]

    @staticmethod
    def of(directories: int, tag: str = "") -> World:
        """One organization; two users and a group in the first directory, one of each in the second."""
        organization = f"org{tag}"
        parents: dict[str, tuple[str, ...]] = {organization: ()}
        resources = {organization: "organization"}
        users: list[str] = []
        groups: list[str] = []
        pairs: list[Pair] = []
        for number in range(1, directories + 1):
            directory, group = f"dir{number}{tag}", f"grp{number}{tag}"
            parents[directory], resources[directory] = (organization,), "directory"
            parents[group], resources[group] = (directory, organization), "directory_group"
            groups.append(group)
            for letter in "ab" if number == 1 else "a":
                user = f"usr{number}{letter}{tag}"
                parents[user], resources[user] = (directory, organization), "directory_user"
                users.append(user)
                pairs.append((group, user))
        children = {key: tuple(child for child, above in parents.items() if key in above[:1]) for key in parents}
        return World(organization, parents, resources, tuple(users), tuple(groups), tuple(pairs), children)


_WORLDS: Final = {count: World.of(count) for count in (1, 2)}


@dataclass(frozen=True, slots=True)
class Copy:
    """An object as an event carries it; `updated_us` None: the payload has no `updated_at`."""

    resource: str
    key: str
    payload: Payload
    updated_us: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """One event, in the source's order of commits.

    `created_us` is what the sending host's clock said, µs, None where the event does not carry it; `id_time_us` the
    time in its id, None where the id has none. `copies` is the object's own payload; of a membership both ends'
    (group, user).
    """

    number: int
    id: str
    created_us: int | None
    id_time_us: int | None
    kind: Kind
    resource: str
    key: str
    pair: Pair | None
    copies: tuple[Copy, ...]
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The truth between two commits: it held from `since_us` on."""

    since_us: int
    alive: dict[str, Payload]
    updated_us: dict[str, int]
    members: frozenset[Pair]


@dataclass(frozen=True, slots=True)
class Oddities:
    """What a source does, as chances from 0 to 1, and what breaks the assumptions of the merge rules.

    Attributes:
        silent: an update leaves `updated_at` where it was (a tie of U).
        same_instant: the next commit falls in the same millisecond.
        no_created: an event lacks `created_at`.
        no_updated: a payload lacks `updated_at`.
        reduced: a deletion says a part of the payload, or the id alone.
        skew_us: sending hosts' clocks are off by up to this, either way.
        is_unordered: ids within one millisecond do not rise.
        is_opaque: ids hold no time.
        pace_us: the mean time between commits; 0 for a choice of times that makes much happen at once.
        is_hurried: whoever is deleted has been deactivated a second before.
    """

    silent: float = 0.3
    same_instant: float = 0.3
    no_created: float = 0.0
    no_updated: float = 0.0
    reduced: float = 0.6
    skew_us: int = 0
    is_unordered: bool = False
    is_opaque: bool = False
    pace_us: int = 0
    is_hurried: bool = False


@dataclass(slots=True)
class Source:
    """The truth and all it has sent so far."""

    world: World
    rng: random.Random
    odd: Oddities
    now_us: int = START_US
    alive: dict[str, Payload] = field(default_factory=dict)
    updated_us: dict[str, int] = field(default_factory=dict)
    members: set[Pair] = field(default_factory=set)
    sent: list[Sent] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    tag: int = 0
    _id_us: int = -1
    _id_time: str = ""

    def step(self) -> None:
        """One commit, most of the time: whatever was drawn may be impossible now."""
        rng, world = self.rng, self.world
        if self.odd.pace_us:
            self.now_us += MS + int(rng.expovariate(1 / self.odd.pace_us)) // MS * MS
        elif rng.random() >= self.odd.same_instant:
            self.now_us += rng.choice((MS, 20 * MS, S, 9 * S, 40 * S))
        draw = rng.random()
        if draw < 0.3:
            self.link(rng.choice(world.pairs))
        elif draw < 0.5:
            self.put(rng.choice(world.users))
        elif draw < 0.68:
            self.put(rng.choice(tuple(world.parents)))
        elif draw < 0.84:
            self.delete(rng.choice(world.users if rng.random() < 0.6 else world.groups))
        elif draw < 0.92:
            self.delete(rng.choice(tuple(world.parents)))
        else:
            self.flip(rng.choice(world.users))

    def put(self, key: str) -> None:
        """Create it, or its first missing parent; or update it, sometimes without moving `updated_at`."""
        for parent in reversed(self.world.parents[key]):
            if parent not in self.alive:
                key = parent
                break
        is_new = key not in self.alive
        payload = self._fresh(key) if is_new else dict(self.alive[key])
        number = len(self.sent)
        payload["name"] = f"n{number}"
        if number % 3 == 0:
            payload[f"only{number % 2}"] = number
        else:
            payload.pop("only0", None)
        self._store(key, payload, is_new)

    def flip(self, user: str) -> None:
        """Deactivate or reactivate a user: an ordinary update."""
        if user in self.alive:
            payload = dict(self.alive[user])
            payload["state"] = "inactive" if payload["state"] == "active" else "active"
            self._store(user, payload, False)

    def delete(self, key: str) -> None:
        """One event for the object; everything below it goes without a word."""
        if key not in self.alive:
            return
        if self.odd.is_hurried and self.alive[key].get("state") == "active":
            self.flip(key)
            self.now_us += S
        copy = self._copy(key)
        payload = copy.payload
        if self.rng.random() < self.odd.reduced:
            payload = {"object": payload["object"], "id": key}
            if self.rng.random() < 0.5:
                payload["name"] = None
        self._forget(key)
        self._send(
            "delete", self.world.resources[key], key, None, (Copy(copy.resource, key, payload, copy.updated_us),)
        )

    def link(self, pair: Pair) -> None:
        """Add the user to the group, or take it out; nobody's `updated_at` moves."""
        if pair[0] not in self.alive or pair[1] not in self.alive:
            self.put(pair[0] if pair[0] not in self.alive else pair[1])
            return
        copies = tuple(self._copy(end) for end in pair)
        kind: Kind = "remove" if pair in self.members else "add"
        self.members ^= {pair}
        self._send(kind, "directory_membership", "/".join(pair), pair, copies)

    def keep(self) -> None:
        """Take a snapshot of the truth, for a pass that reads a replica."""
        self.snapshots.append(self.truth())

    def truth(self) -> Snapshot:
        return Snapshot(self.now_us, dict(self.alive), dict(self.updated_us), frozenset(self.members))

    def _fresh(self, key: str) -> Payload:
        resource = self.world.resources[key]
        payload: Payload = {"object": resource, "id": key}
        above = self.world.parents[key]
        if above:
            payload["organization_id"] = above[-1]
        if len(above) > 1:
            payload["directory_id"] = above[0]
        if resource in ("directory_user", "directory"):
            payload["state"] = "active"
        return payload

    def _store(self, key: str, payload: Payload, is_new: bool) -> None:
        if is_new or self.rng.random() >= self.odd.silent:
            self.updated_us[key] = self.now_us
        self.alive[key] = payload
        self._send("upsert", payload["object"], key, None, (self._copy(key),), is_new)

    def _forget(self, key: str) -> None:
        if self.alive.pop(key, None) is not None:
            self.members = {pair for pair in self.members if key not in pair}
        for child in self.world.children[key]:
            self._forget(child)

    def _copy(self, key: str) -> Copy:
        payload = self.alive[key]
        is_weak = self.odd.no_updated > 0 and self.rng.random() < self.odd.no_updated
        return Copy(payload["object"], key, payload, None if is_weak else self.updated_us[key])

    def _send(
        self, kind: Kind, resource: str, key: str, pair: Pair | None, copies: tuple[Copy, ...], is_new: bool = False
    ) -> None:
        odd, rng, number = self.odd, self.rng, len(self.sent)
        stamped_us = self.now_us + (rng.randrange(-odd.skew_us, odd.skew_us + 1, MS) if odd.skew_us else 0)
        lacks_time = odd.no_created > 0 and rng.random() < odd.no_created
        order = rng.randrange(1_000) if odd.is_unordered else 0
        text, id_time_us = "", None
        if not odd.is_opaque:
            id_time_us, text = stamped_us, self._time_text(stamped_us)
        id_ = f"event_{text}{order:04d}{self.tag:07d}{number:05d}"
        self.sent.append(
            Sent(number, id_, None if lacks_time else stamped_us, id_time_us, kind, resource, key, pair, copies, is_new)
        )

    def _time_text(self, us: int) -> str:
        """The first ten characters of a ULID of this time."""
        if us != self._id_us:
            ms, letters = us // 1_000, ""
            for _ in range(10):
                letters = _CROCKFORD[ms & 31] + letters
                ms >>= 5
            self._id_us, self._id_time = us, letters
        return self._id_time


def history(
    rng: random.Random, odd: Oddities, *, steps: int = 12, number: int | None = None, keeps: bool = False
) -> Source:
    """A source that has lived through some commits.

    Args:
        steps: at most so many commits after the first four.
        number: makes keys and ids this history's own; None where nothing is shared.
        keeps: also keep a snapshot after each commit.
    """
    directories = 1 if rng.random() < 0.6 else 2
    world = _WORLDS[directories] if number is None else World.of(directories, f"_{number}")
    source = Source(world, rng, odd, tag=number or 0)
    for _ in range(3 + rng.randrange(2)):
        source.put(world.users[0] if world.users[0] not in source.alive else world.groups[0])
        if keeps:
            source.keep()
        source.now_us += rng.choice((0, MS, S))
    for _ in range(rng.randrange(steps) + 1):
        source.step()
        if keeps:
            source.keep()
    return source
