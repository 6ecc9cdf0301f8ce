"""Does this observation change what the mirror holds?

One object is a few clocks and registers of content, each a maximum over a total order, so that joining
observations is associative, commutative and idempotent: the end state depends on the *set* of what was
observed, never on order, repetition, batching or which feed brought it. The rule names in the comments (A1 …
C7, D4) are those of the merge rules in the design's receiving reference, §2.3.

Three times must not be confused. `updated_us` is the object's own `updated_at`: it orders *content*. A
`Clock` is a pair (created_us, event id) of the event: it orders *existence and edges*, breaks ties of
content, and is all there is to order content without an `updated_at`, which is kept apart for that reason.
Arrival orders nothing. Evidence from the API carries the empty event id (`read_clock`, `absence_clock`).

Where clocks of the sender's hosts differ, or its ids do not rise, the rule still decides, and may be wrong;
whatever could be the other way round within ε is doubted (`uncertain`), so that somebody asks the source.

This file stores nothing, fetches nothing and announces nothing: doubts come back as wishes, and whether a
flip of liveness has been told to handlers is the mirror's business.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Clock: TypeAlias = tuple[int, str]
"""(created_us, event_id); always compared whole. Both parts go to storage as they are."""

ContentKey: TypeAlias = tuple[int, int, str]
"""(updated_us, created_us, event_id): the order of content. Without an `updated_at` the first is -1."""

NEVER: Final[Clock] = (-1, "")
"""The clock of what was never observed: before every real one, so that storage needs no NULL and SQL can
compare rows.
"""

NO_CONTENT: Final[ContentKey] = (-1, -1, "")

AFTER_EVERY_ID: Final = "\U0010ffff"
"""In the place of an event's id, later than every id: such a character is in none."""

EPSILON_US: Final = 15_000_000
"""ε: what clock skew between sender hosts and replica lag are allowed to be together."""

Kind: TypeAlias = Literal["upsert", "delete", "embedded", "read", "absent"]
Verdict: TypeAlias = Literal["created", "updated", "recreated", "deleted", "stub", "tombstone", "stale", "noop"]
EdgeKind: TypeAlias = Literal["add", "remove"]
EdgeVerdict: TypeAlias = Literal["added", "removed", "tombstone", "stale", "noop"]
Wish: TypeAlias = Literal[
    "refetch:clock_regression",
    "refetch:content_tie",
    "refetch:uncertain",
    "refetch:weak",
    "refetch:added_while_dead",
]
Flag: TypeAlias = Literal["clock_regression", "clamped", "weak", "uncertain"]


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing seen of one object, whichever feed brought it.

    Attributes:
        kind: `upsert` a created/updated/activated event · `delete` a deletion event · `embedded` the copy
            inside an edge's *add* (a remove's copy is no observation: it may neither make a row nor date one,
            A23) · `read` an API answer 200 · `absent` an API answer 404.
        resource: `directory_user`, …: `data.object`.
        key: the object's natural key as text.
        payload: the object as it came, never changed here; None where only an id came.
        updated_us: the object's `updated_at` in µs, None where it has none (the clock then stands in:
            `weak`).
        clock: `event_clock(...)`, `read_clock(...)` or `absence_clock(...)`.
        uncertain: the clock's time is a guess (`event_clock` says so).
    """

    kind: Kind
    resource: str
    key: str
    payload: Mapping[str, Any] | None
    updated_us: int | None
    clock: Clock
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class ObjectState:
    """All that is known of one object. Every clock only grows; `NEVER` and `NO_CONTENT` stand for "nothing
    yet".

    Attributes:
        content: key of `payload`, the newest full copy that has an `updated_at`.
        payload: that copy without `previous_attributes`, or None.
        undated: clock of `undated_payload`, the newest full copy without one. `full` says which of the two counts.
        life: the latest evidence that it existed; death: the latest that it did not; provisional: the latest
            embedded copy, which counts only while no death is known (A21).
        reduced_content, reduced: the payload of the newest deletion, kept apart because it may lack fields,
            and only while it is newer than `payload` (else NO_CONTENT and None). `current` lays it over
            `full`.
    """

    resource: str
    key: str
    content: ContentKey = NO_CONTENT
    payload: Mapping[str, Any] | None = None
    life: Clock = NEVER
    death: Clock = NEVER
    provisional: Clock = NEVER
    reduced_content: ContentKey = NO_CONTENT
    reduced: Mapping[str, Any] | None = None
    undated: Clock = NEVER
    undated_payload: Mapping[str, Any] | None = None

    @property
    def full(self) -> Mapping[str, Any] | None:
        """The newest full copy. Between one with an `updated_at` and one without only their events' clocks can say
        which is newer; among the former `updated_at` has decided before.
        """
        if self.undated_payload is None:  # nearly always: the same, without comparing
            return self.payload
        return self.undated_payload if self.undated > self.content[1:] else self.payload

    @property
    def full_key(self) -> ContentKey:
        """The key of `full`."""
        if self.undated_payload is None:
            return self.content
        return (-1, *self.undated) if self.undated > self.content[1:] else self.content

    @property
    def current(self) -> Mapping[str, Any] | None:
        """The object as it should be shown: `full`; for a dead one what its deletion said laid over it, which
        never nulls a field.
        """
        full = self.full
        if full is None or self.reduced is None:
            return self.reduced if full is None else full
        if self.life > self.death or (full is self.undated_payload and self.reduced_content[1:] < self.undated):
            return full
        return {**full, **{name: value for name, value in self.reduced.items() if value is not None}}

    @property
    def deleted_us(self) -> int | None:
        """When it died its *own* death (µs), or None while its own clocks say it lives; parents do not count
        here.
        """
        return None if self.death == NEVER or self.life > self.death else self.death[0]


@dataclass(frozen=True, slots=True)
class Joined:
    """What one observation did.

    Attributes:
        state: the state after; the *same object* as before where nothing at all moved (nothing to write).
        verdict: `created` `updated` `recreated` `deleted` changed what is seen by the object's own clocks ·
            `stub` an unknown object known from an embedded copy only · `tombstone` a deletion of an unknown
            object · `stale` older than what is known, or about a dead object · `noop` nothing visible changed
            (clocks may have).
        wishes: what someone should look into; nothing is done here.
        flags: what was odd about the observation.
    """

    state: ObjectState
    verdict: Verdict
    wishes: tuple[Wish, ...] = ()
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True)
class Parent:
    """A *known* parent (or end of an edge), as its children need it; an unknown parent is simply not passed.

    Attributes:
        alive: whether it is alive, its own parents counted.
        death: the latest death that reaches it: its own clock or, if later, its parents' (`as_parent`).
            It stays in force when the parent comes back: children from before need fresh evidence.
    """

    alive: bool
    death: Clock = NEVER


@dataclass(frozen=True, slots=True)
class EdgeState:
    """One pair (group and user, …): the latest add and the latest remove. Effective by `is_edge_alive`."""

    add: Clock = NEVER
    remove: Clock = NEVER


@dataclass(frozen=True, slots=True)
class JoinedEdge:
    """What one edge observation did; `state` is the same object as before where nothing moved."""

    state: EdgeState
    verdict: EdgeVerdict
    wishes: tuple[Wish, ...] = ()
    flags: tuple[Flag, ...] = ()


def event_clock(
    event_id: str,
    created_us: int | None,
    *,
    id_time_us: int | None,
    updated_us: int | None,
    arrived_us: int,
) -> tuple[Clock, bool]:
    """The clock of an event, and whether its time is a guess (`uncertain`).

    Args:
        event_id: the event's id, or what the inbox keeps in its place.
        created_us: the event's `created_at`; where it is missing or unreadable the next of these stands in.
        id_time_us: the time inside a ULID id (`timestamps.ulid_time_us`), or None.
        updated_us: the object's `updated_at`, or None.
        arrived_us: the first arrival.
    """
    if created_us is not None:
        return (max(created_us, 0), event_id), False
    for guess_us in (id_time_us, updated_us):
        if guess_us is not None:
            return (max(guess_us, 0), event_id), True
    return (max(arrived_us, 0), event_id), True


def read_clock(requested_us: int, *, epsilon_us: int = EPSILON_US) -> Clock:
    """The clock of an API answer 200 (kind `read`, edge `add`).

    `requested_us` is the moment the request was sent, in the sender's time. A read counts as of ε before it:
    it surely saw every commit up to then. The empty id loses every tie against an event: ties are dead.
    """
    return (max(requested_us - epsilon_us, 0), "")


def absence_clock(requested_us: int, *, epsilon_us: int = EPSILON_US) -> Clock:
    """The clock of an API answer 404, or of an edge missing from a complete listing (kind `absent`, edge
    `remove`).

    One microsecond after `read_clock` of the same request: with the empty id it then is later than every
    event of the same microsecond, so that here too ties are dead, while clocks stay plain pairs in every
    language.
    """
    return (max(requested_us - epsilon_us, 0) + 1, "")


def floor_clock(pass_started_us: int, *, epsilon_us: int = EPSILON_US) -> Clock:
    """The floor a complete pass sets for its scope (D4): whatever was last seen alive before it is dead.

    Unlike a death it spares evidence of its very moment: the pass's own first page is dated so.
    """
    return (max(pass_started_us - epsilon_us, 0), "")


def floor_death(floor: Clock) -> Clock:
    """The death, or an edge's remove, that a floor stands for where something from before it is said of what it did
    not show: later than every event before the floor's moment, earlier than all evidence of that moment.
    """
    return (floor[0] - 1, AFTER_EVERY_ID)


def join(
    state: ObjectState | None,
    seen: Observation,
    *,
    floor: Clock = NEVER,
    resets: bool = False,
    epsilon_us: int = EPSILON_US,
) -> Joined:
    """Join one observation into what is known of its object (rules A1–A23); None is an object never heard of.

    Parents take no part: they decide at reading (`is_alive`).

    Args:
        floor: of a complete pass over the object's scope (D4). An observation from before it brings the death with it
            that the pass implies, unless the object has been proven since: then the pass has seen it, or it is younger.
            So the object's own life depends on the set of observations, not on their order, and who shows the
            object need not know the floor.
        resets: a read that is the second of two, ε or more apart, which agree on an `updated_at` lower than what is
            known (A4): its content counts from here on. The only move that is no maximum; it is wished to be looked at
            once more.
    """
    before = ObjectState(seen.resource, seen.key) if state is None else state
    flags: list[Flag] = []
    wishes: list[Wish] = []
    payload = None if seen.payload is None or seen.payload.keys() <= _BARE else _without_diff(seen.payload)
    key = NO_CONTENT if payload is None else _content_key(seen, epsilon_us, flags, wishes)
    # `before.life` alone decides: what an observation older than the floor proves is older than it, too.
    is_unseen = seen.clock < floor and before.life < floor
    least_death = max(before.death, floor_death(floor)) if is_unseen else before.death
    if seen.kind == "delete" or seen.kind == "absent":
        return _join_death(state, before, seen, key, payload, least_death, epsilon_us, flags, wishes)
    return _join_life(state, before, seen, key, payload, least_death, resets, epsilon_us, flags, wishes)


def _join_life(
    state: ObjectState | None,
    before: ObjectState,
    seen: Observation,
    key: ContentKey,
    payload: Mapping[str, Any] | None,
    death: Clock,
    resets: bool,
    epsilon_us: int,
    flags: list[Flag],
    wishes: list[Wish],
) -> Joined:
    embedded = seen.kind == "embedded"
    clock = seen.clock
    life = before.life if embedded or clock <= before.life else clock
    provisional = clock if embedded and clock > before.provisional else before.provisional
    content, kept = before.content, before.payload
    undated, undated_kept = before.undated, before.undated_payload
    reduced_content, reduced = before.reduced_content, before.reduced
    is_old = before.full_key != NO_CONTENT
    if payload is not None and seen.updated_us is None:
        is_old = clock < undated
        if clock > undated or (clock == undated and _wins_tie(payload, undated_kept)):
            undated, undated_kept = clock, payload
    elif payload is not None:
        is_old = key < content
        newer = key > content or (key == content and _wins_tie(payload, kept))
        if not embedded and key[0] < content[0] and clock[0] > content[1] + epsilon_us:
            if resets:
                newer = True
            else:
                flags.append("clock_regression")  # A4: the sender's clock went back, or an update is missing
            wishes.append("refetch:clock_regression")
        elif key[0] == content[0] and key != content and not same_content(seen.resource, kept, payload):
            if _is_close(clock, content[1:], epsilon_us):
                flags.append("uncertain")  # A6, A7: only the source can say which was last
                wishes.append("refetch:content_tie")
            elif newer and content[2] == "" and key[2] != "":
                wishes.append("refetch:content_tie")  # A6: what the source itself said is replaced
        if newer:
            content, kept = key, payload
            if reduced is not None and reduced_content <= key:
                reduced_content, reduced = NO_CONTENT, None
    after = _replaced(
        state,
        ObjectState(
            before.resource,
            before.key,
            content,
            kept,
            life,
            death,
            provisional,
            reduced_content,
            reduced,
            undated,
            undated_kept,
        ),
    )
    if seen.uncertain or (life is not before.life and _is_close(life, before.death, epsilon_us)):
        flags.append("uncertain")
        wishes.append("refetch:uncertain")
    verdict: Verdict
    if not _lives(after):
        # A14, A22: never raises the dead. One that was shown from before the floor is what no pass leaves behind.
        verdict = "deleted" if _lives(before) else "noop" if after is state else "stale"
        if clock > death if embedded else provisional > death and death is not before.death:
            wishes.append("refetch:added_while_dead")
    elif not _lives(before) and before.death != NEVER:
        verdict = "recreated"  # A15
    elif embedded and before.life == NEVER and before.provisional == NEVER:
        verdict = "stub"
    elif not embedded and before.life == NEVER:
        verdict = "created"
    elif after.full is not before.full and not same_content(seen.resource, before.full, after.full):
        verdict = "updated"
    else:
        verdict = "stale" if is_old else "noop"
    return Joined(after, verdict, tuple(dict.fromkeys(wishes)), tuple(dict.fromkeys(flags)))


def _join_death(
    state: ObjectState | None,
    before: ObjectState,
    seen: Observation,
    key: ContentKey,
    payload: Mapping[str, Any] | None,
    least_death: Clock,
    epsilon_us: int,
    flags: list[Flag],
    wishes: list[Wish],
) -> Joined:
    death = max(least_death, seen.clock)
    reduced_content, reduced = before.reduced_content, before.reduced
    if (
        payload is not None
        and key > before.content
        and (key > reduced_content or (key == reduced_content and _wins_tie(payload, reduced)))
    ):
        reduced_content, reduced = key, payload
    if seen.uncertain or (death is not before.death and _is_close(death, before.life, epsilon_us)):
        flags.append("uncertain")  # A13: the rule has decided, the source should be asked
        wishes.append("refetch:uncertain")
    after = _replaced(
        state,
        ObjectState(
            before.resource,
            before.key,
            before.content,
            before.payload,
            before.life,
            death,
            before.provisional,
            reduced_content,
            reduced,
            before.undated,
            before.undated_payload,
        ),
    )
    verdict: Verdict
    if _lives(after):
        verdict = "noop" if after is state else "stale"  # A12: it has been seen alive since
    elif _lives(before):
        verdict = "deleted"
        if before.provisional > death:
            wishes.append("refetch:added_while_dead")
    else:
        verdict = "tombstone" if before.death == NEVER else "noop"
    return Joined(after, verdict, tuple(wishes), tuple(flags))


def join_edge(
    state: EdgeState | None,
    kind: EdgeKind,
    clock: Clock,
    *,
    floor: Clock = NEVER,
    epsilon_us: int = EPSILON_US,
) -> JoinedEdge:
    """Join one add or remove of a pair (rules C1–C4); None is a pair never heard of.

    `floor` is of a complete listing of the edge's scope, and works as that of `join` does.
    """
    before = EdgeState() if state is None else state
    was = before.add > before.remove
    add, remove = before.add, before.remove
    if kind == "add":
        rival, add = remove, max(add, clock)
    else:
        rival, remove = add, max(remove, clock)
    if clock < floor:
        remove = max(remove, floor_death(floor))
    after = before if (add, remove) == (before.add, before.remove) else EdgeState(add, remove)
    verdict: EdgeVerdict
    if add > remove:
        if kind == "add" and not was:
            verdict = "added"
        else:
            verdict = "noop" if kind == "add" or after is before else "stale"
    elif was:
        verdict = "removed"
    elif kind == "add":
        verdict = "noop" if after is before else "stale"  # C3
    else:
        verdict = "tombstone" if before.remove == NEVER else "noop"  # C2
    if after is not before and _is_close(clock, rival, epsilon_us):
        return JoinedEdge(after, verdict, ("refetch:uncertain",), ("uncertain",))
    return JoinedEdge(after, verdict)


def is_alive(state: ObjectState, parents: Iterable[Parent] = (), *, floor: Clock = NEVER) -> bool:
    """Whether the object may be shown: its life is later than its own death and every known parent's, not
    before the floor, and no known parent is dead; or it is a stub nothing speaks against (A21). Ties are
    dead.
    """
    bar = NEVER
    for parent in parents:
        if not parent.alive:
            return False
        bar = max(bar, parent.death)
    if state.life > state.death and state.life > bar and state.life >= floor:
        return True
    return state.death == NEVER and state.provisional > bar and state.provisional >= floor


def is_edge_alive(edge: EdgeState, ends: Iterable[Parent] = (), *, floor: Clock = NEVER) -> bool:
    """Whether the membership is effective (C5, C6): added later than removed and than any death of its known
    ends and directory (all passed as `ends`), not before the floor, and none of them dead. Ties are dead.
    """
    if edge.add <= edge.remove or edge.add < floor:
        return False
    return all(end.alive and edge.add > end.death for end in ends)


def is_near_death_above(proof: Clock, parents: Iterable[Parent] = (), *, epsilon_us: int = EPSILON_US) -> bool:
    """Whether the latest death above is so near to what an object or a membership lives by that it could be the other
    way round: the rule has decided (`is_alive`, `is_edge_alive`), the source should be asked. An earlier one that is
    near decides nothing beside a later one that is not.

    `proof` is `proof_of(state)`, or the add of an edge that is later than its remove; NEVER is near nothing.
    """
    return _is_close(proof, max((parent.death for parent in parents), default=NEVER), epsilon_us)


def proof_of(state: ObjectState) -> Clock:
    """What the object lives by as far as its own clocks go; NEVER where they say that it is dead."""
    if state.death == NEVER:
        return max(state.life, state.provisional)
    return state.life if state.life > state.death else NEVER


def as_parent(state: ObjectState, parents: Iterable[Parent] = (), *, floor: Clock = NEVER) -> Parent:
    """An object as its children and edges see it, its own parents and floor counted."""
    known = tuple(parents)
    death = max((state.death, *(parent.death for parent in known)))
    if max(state.life, state.provisional) < floor:
        death = max(death, floor)
    return Parent(is_alive(state, known, floor=floor), death)


def same_content(resource: str, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two payloads say the same: null equals absent, at any depth of objects; `previous_attributes`
    is no content, and neither is a directory user's `groups`, which newer teams get empty whatever the truth
    (C8).
    """
    if one is None or other is None:
        return one is other
    one_time, other_time = one.get("updated_at"), other.get("updated_at")
    if isinstance(one_time, str) and isinstance(other_time, str) and one_time != other_time:
        return False  # the quick answer for nearly every update
    silent = _SILENT.get(resource, _DIFF)
    waiting: list[tuple[Any, Any]] = []
    for name in one.keys() | other.keys():
        if name in silent:
            continue
        left, right = one.get(name), other.get(name)
        if isinstance(left, (dict, list)):
            waiting.append((left, right))
        elif left != right or isinstance(left, bool) != isinstance(right, bool):
            return False
    while waiting:
        left, right = waiting.pop()
        if isinstance(left, dict) and isinstance(right, dict):
            waiting.extend((left.get(name), right.get(name)) for name in left.keys() | right.keys())
        elif isinstance(left, list) and isinstance(right, list):
            if len(left) != len(right):
                return False
            waiting.extend(zip(left, right, strict=True))
        elif left != right or isinstance(left, bool) != isinstance(right, bool):
            return False
    return True


def is_active(payload: Mapping[str, Any] | None, alive: bool, *, resource: str = "directory_user") -> bool:
    """Whether access may be granted: alive *and* in an active state (A24). Fails closed.

    A resource that has a state and whose payload lacks it, or holds a word not known as active, is not
    active; a resource without states (groups, organizations) is active while alive.
    """
    if not alive:
        return False
    rule = _ACTIVE.get(resource)
    if rule is None:
        return resource in _STATELESS
    field, words = rule
    word = None if payload is None else payload.get(field)
    return isinstance(word, str) and word in words


_OUR_IDS: Final = frozenset({"", AFTER_EVERY_ID})
_BARE: Final = frozenset({"object", "id"})
_DIFF: Final = frozenset({"previous_attributes"})
_SILENT: Final[Mapping[str, frozenset[str]]] = {"directory_user": _DIFF | {"groups"}}
_ACTIVE: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "directory": ("state", frozenset({"active", "linked"})),  # events say active, the Directory API linked
    "directory_user": ("state", frozenset({"active"})),
    "organization_membership": ("status", frozenset({"active"})),
    "connection": ("state", frozenset({"active"})),
    "session": ("status", frozenset({"active"})),
}
_STATELESS: Final = frozenset(
    {"organization", "directory_group", "user", "group", "role", "organization_role", "permission"}
)


def _content_key(seen: Observation, epsilon_us: int, flags: list[Flag], wishes: list[Wish]) -> ContentKey:
    created_us, event_id = seen.clock
    updated_us = seen.updated_us
    if updated_us is None:
        flags.append("weak")  # A16
        if seen.kind == "upsert" or seen.kind == "embedded":
            wishes.append("refetch:weak")
        updated_us = created_us
    else:
        # A read counts as of ε before its request, which is itself dated up to a second too early: what was changed a
        # moment before the request is not from the future.
        latest_us = created_us + (2 * epsilon_us if seen.kind == "read" else epsilon_us)
        if updated_us > latest_us:
            flags.append("clamped")  # a time from the future would shut out every later update
            updated_us = latest_us
    return (max(updated_us, 0), created_us, event_id)


def _lives(state: ObjectState) -> bool:
    """By its own clocks alone."""
    return state.life > state.death or (state.death == NEVER and state.provisional > NEVER)


def _replaced(state: ObjectState | None, after: ObjectState) -> ObjectState:
    """`state` itself where `after` says nothing new: identity tells the store there is nothing to write."""
    if (
        state is not None
        and state.content == after.content
        and state.payload is after.payload
        and state.life == after.life
        and state.death == after.death
        and state.provisional == after.provisional
        and state.reduced_content == after.reduced_content
        and state.reduced is after.reduced
        and state.undated == after.undated
        and state.undated_payload is after.undated_payload
    ):
        return state
    return after


def _is_close(one: Clock, other: Clock, epsilon_us: int) -> bool:
    """Whether two clocks could be the other way round: skew between the sender's hosts, ids that do not rise within
    a millisecond, or a replica's lag could have swapped them. Two answers of the API are both dated by one clock, ours.
    """
    if NEVER in (one, other) or one == other or (one[1] in _OUR_IDS and other[1] in _OUR_IDS):
        return False
    return abs(one[0] - other[0]) <= epsilon_us


def _without_diff(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    if "previous_attributes" not in payload:
        return payload
    return {name: value for name, value in payload.items() if name != "previous_attributes"}


def _wins_tie(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> bool:
    """One clock, two payloads (an id sent twice with other bytes, two reads at once): any fixed order will
    do, so that the end does not depend on arrival.
    """
    return old is not None and new != old and _text(new) > _text(old)


def _text(payload: Mapping[str, Any]) -> str:
    return json.dumps(payload, sort_keys=True)
