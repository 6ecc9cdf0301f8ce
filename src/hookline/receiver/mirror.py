"""What was seen becomes rows, changes and runs: one transaction's worth of work, on the connection it is given.

Events (`apply`) and answers of the source's API (`apply_reads`) are seen alike: observations with a source and a cause.

Rows are read bottom-up (memberships, users and groups, directories, organizations) and worked on top-down, so that
whoever needs a parent sees it as this transaction leaves it. Entries of one object are joined in memory in their
order; rules/merge.py decides each. What is *shown* of an object (alive, and its parents) is compared with what was
announced: every difference is one Change, and `announced_live` keeps it exactly one. The birth of an object known only
from an embedded copy is silent, since no event said it was created; whatever changes in it afterwards, and its loss, is
announced like any other's.

Where a complete pass has set a floor for what the source lists, each observation is joined under it (rules/merge.py
`join`), so that rows say all by themselves and whoever shows them need not know of floors.

Where an object's payload lists its children (an organization's domains), the list is complete as of that payload: it
is the floor of rules/merge.py for those that are not in it. The floor is read off the parent as it stands, and never
kept with the child, so that a list that was stale when it came has no say.

When an object's own death or life moves, its children are not touched here: a cascade is queued, and `walk` takes
it up in batches. The views are right at once; the walk is there for handlers.

Opens no transaction, reads no clock and calls no handler.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hookline.errors import InvalidBody
from hookline.receiver.doubts import Doubts
from hookline.receiver.handlers import ChangeKind
from hookline.receiver.kept import kept_event
from hookline.receiver.mirror_store import (
    Cascade,
    Cause,
    Claimed,
    EdgeRow,
    MirrorStore,
    NewChange,
    NewRun,
    ObjectKey,
    ObjectRow,
    Outcome,
    OutcomeKind,
    Registered,
    Scope,
)
from hookline.receiver.refetch_store import Asked
from hookline.receiver.resources import (
    DIRECTORY_MEMBERSHIP,
    EDGES,
    LISTED_IN,
    LISTINGS,
    RESOURCES,
    Edge,
    EdgeObservation,
    Observed,
    Payload,
    Resource,
    observe,
)
from hookline.rules.merge import (
    NEVER,
    Clock,
    EdgeState,
    EdgeVerdict,
    Joined,
    ObjectState,
    Observation,
    Parent,
    Verdict,
    Wish,
    as_parent,
    is_alive,
    is_edge_alive,
    is_near_death_above,
    join,
    join_edge,
    proof_of,
)
from hookline.rules.refetch import Reason
from hookline.storage import Connection
from hookline.wire.catalogue import PROBE_TYPE, matches
from hookline.wire.event import Event

_OUTCOMES: Final[dict[Verdict | EdgeVerdict, OutcomeKind]] = {
    "created": "applied",
    "updated": "applied",
    "recreated": "applied",
    "deleted": "applied",
    "stub": "applied",
    "tombstone": "applied",
    "added": "applied",
    "removed": "applied",
    "stale": "stale",
    "noop": "noop",
}
_ALOUD: Final[dict[Verdict, ChangeKind]] = {
    "created": "created",
    "updated": "updated",
    "recreated": "recreated",
}
WALKED_AT_ONCE: Final = 200
_LISTED_AT_ONCE: Final = 500
_SCOPES: Final = frozenset(edge.scope[0] for edge in EDGES.values() if edge.scope is not None)
_REASONS: Final[dict[Wish, Reason]] = {
    "refetch:added_while_dead": "added_while_dead",
    "refetch:clock_regression": "clock_regression",
    "refetch:content_tie": "content_tie",
    "refetch:uncertain": "uncertain",
    "refetch:weak": "weak",
}
# What leaves or closes a doubt beside wishes, answers, and updates that say what was before them.
_TELLING: Final = frozenset[Verdict]({"stale", "stub", "recreated"})
_RANK: Final[dict[OutcomeKind, int]] = {"noop": 0, "stale": 1, "applied": 2}


@dataclass(slots=True)
class Applied:
    """What one transaction did. `gaps`: as `Counters.gaps`."""

    outcomes: list[Outcome] = field(default_factory=list)
    changes: int = 0
    runs: int = 0
    cascades: int = 0
    gaps: Counter[tuple[str, ...]] = field(default_factory=Counter)


class Seen(NamedTuple):
    """What an event or an answer of the source's API says of its source's objects, and what is to be named as the cause
    of what comes of it. `sequence` is which of its object's events it is, where the sender says so. `resets`: as for
    rules/merge.py `join`.
    """

    source: str
    observed: Observed
    cause: Cause
    sequence: int | None = None
    resets: bool = False


class _Read(NamedTuple):
    """An entry that could be read."""

    entry: Claimed
    event: Event
    seen: Seen


def apply(
    store: MirrorStore,
    connection: Connection,
    entries: Sequence[Claimed],
    now_ms: int,
    *,
    registered: Sequence[Registered] | None = None,
    optional: Collection[str] = (),
    asking: Collection[str] = (),
) -> Applied:
    """Apply entries to the mirror and make the runs they cause.

    Args:
        entries: taken out of the queue in this transaction; any order, several sources, several of one object.
        now_ms: Unix milliseconds, for what is written down about when.
        registered: the handlers; None reads them.
        optional: resources to mirror that are mirrored only where asked for.
        asking: sources whose API can be asked: what their events leave in doubt is written down for refetch.py.
    """
    done = Applied()
    if registered is None:
        registered = store.registered(connection)
    batch = _Batch(store, connection, now_ms, asking)
    read: list[_Read] = []
    for entry in entries:
        one = _read(entry, optional)
        if isinstance(one, Outcome):
            done.outcomes.append(one)
        else:
            read.append(one)
    batch.join([one.seen for one in read])
    facts = [
        NewRun(handler, None, one.entry.seq, None)
        for one in read
        for handler in _fact_handlers(registered, one.entry.source, one.event.type, one.entry.seq)
    ]
    heard = {run.inbox_seq for run in facts}
    done.outcomes += [batch.outcome(one, one.entry.seq in heard) for one in read]
    batch.write(done, registered, facts)
    store.note(connection, done.outcomes, now_ms)
    return done


def apply_reads(
    store: MirrorStore,
    connection: Connection,
    seen: Sequence[Seen],
    now_ms: int,
    *,
    registered: Sequence[Registered] | None = None,
    asking: Collection[str] = (),
) -> Applied:
    """Join what the source's API answered (`resources.observe_read` and its neighbours) into the mirror, as `apply`
    does with events: any order, several of one object. A page of a hundred is best joined at once. Entries have
    outcomes, answers have none.

    Args:
        registered: the handlers; None reads them.
        asking: as for `apply`.
    """
    done = Applied()
    batch = _Batch(store, connection, now_ms, asking)
    batch.join(seen)
    batch.write(done, store.registered(connection) if registered is None else registered, [])
    return done


def walk(
    store: MirrorStore,
    connection: Connection,
    now_ms: int,
    *,
    limit: int = WALKED_AT_ONCE,
    alone: Cascade | None = None,
    registered: Sequence[Registered] | None = None,
    asking: Collection[str] = (),
) -> Applied | None:
    """Take the oldest cascades up where they stand, for about `limit` children, or one `alone`; None if there is
    none.
    """
    cascade = alone or store.next_cascade(connection, now_ms)
    if cascade is None:
        return None
    done = Applied()
    batch = _Batch(store, connection, now_ms, asking)
    parts: list[_Part] = []
    left = limit
    while cascade is not None and left > 0:
        parts.append(batch.advance(cascade, left))
        left -= max(1, len(parts[-1].keys))
        cascade = None if alone else store.next_cascade(connection, now_ms)
    batch.walk(parts)
    batch.write(done, store.registered(connection) if registered is None else registered, [])
    return done


def _read(entry: Claimed, optional: Collection[str]) -> _Read | Outcome:
    if entry.reason is not None:
        return Outcome(entry.seq, "dead", entry.reason)
    if entry.body is None:
        return Outcome(entry.seq, "dead", "its body is no longer kept")
    try:
        event = kept_event(entry.body, entry.event_id, entry.type)
    except InvalidBody as error:
        return Outcome(entry.seq, "dead", error.reason)
    observed = observe(event, entry.event_id, entry.received_ms, optional)
    return _Read(entry, event, Seen(entry.source, observed, Cause(entry.seq, entry.event_id), entry.object_sequence))


def _fact_handlers(registered: Sequence[Registered], source: str, type_: str, seq: int) -> list[str]:
    if type_ == PROBE_TYPE:
        return []  # of `hookline doctor`, which no app shall hear of
    return [
        handler.name
        for handler in registered
        if handler.kind == "fact"
        and handler.from_seq < seq
        and handler.hears(source)
        and matches(handler.pattern, type_)
    ]


class _Part(NamedTuple):
    """The next children of one walk: those of a table, or edges."""

    cascade: Cascade
    table: str
    keys: Sequence[tuple[str, ...]]


class _Batch:
    """The rows of one transaction, and what came of them."""

    def __init__(self, store: MirrorStore, connection: Connection, now_ms: int, asking: Collection[str]) -> None:
        self._store = store
        self._connection = connection
        self._now_ms = now_ms
        # By (source, resource, id) and (source, edge, ids); None: looked for, and not there.
        self._objects: dict[tuple[str, ObjectKey], ObjectRow | None] = {}
        self._edges: dict[tuple[str, str, tuple[str, str]], EdgeRow] = {}
        self._parents: dict[tuple[str, ObjectKey], Parent | None] = {}
        self._known_parents: dict[tuple[str, str, tuple[str | None, ...]], list[Parent]] = {}
        self._moved: dict[tuple[str, ObjectKey], Cause] = {}
        self._relisted: dict[tuple[str, ObjectKey], Cause] = {}
        self._floors: dict[tuple[str, Scope], Clock] = {}
        self._doubts = Doubts(store.refetches, now_ms, asking)
        # Users and groups that came back, by the clock they live by now.
        self._came_back: dict[tuple[str, ObjectKey], Clock] = {}
        self._changes: list[NewChange] = []
        self._verdicts: dict[int, list[Verdict | EdgeVerdict]] = defaultdict(list)
        self._notes: dict[int, list[str]] = defaultdict(list)

    # -- observations ------------------------------------------------------------------------------------------

    def join(self, all_seen: Sequence[Seen]) -> None:
        """Join what was seen into the rows."""
        objects: dict[tuple[str, ObjectKey], list[tuple[Seen, Observation]]] = defaultdict(list)
        edges: dict[tuple[str, str, tuple[str, str]], list[tuple[Seen, EdgeObservation]]] = defaultdict(list)
        for one in all_seen:
            source = one.source
            for seen in one.observed.objects:
                objects[source, (seen.resource, seen.key)].append((one, seen))
            if (edge := one.observed.edge) is not None:
                edges[source, edge.resource, edge.keys].append((one, edge))
            if one.sequence is not None and (subject := _subject(one)) is not None:
                self._doubts.came_numbered(*subject)
        above = {
            (source, (scope[0], edge.scope_id))
            for (source, name, _), said in edges.items()
            if (scope := EDGES[name].scope) is not None
            for _, edge in said
            if edge.scope_id is not None
        }
        named = {
            (source, name, RESOURCES[name].parent_ids(seen.payload))
            for (source, (name, _)), said in objects.items()
            for _, seen in said
        }
        for source, name, ids in named:
            above.update((source, key) for key in _keys(RESOURCES[name].parents, ids))
        self._load(objects, edges, above)
        has_floors, self._doubts.has_known = self._store.standing(self._connection)
        if has_floors:
            self._load_floors(objects, edges, named)
        by_resource: dict[str, list[tuple[str, ObjectKey]]] = defaultdict(list)
        for key in objects:
            by_resource[key[1][0]].append(key)
        for name in RESOURCES:
            if name in LISTED_IN:
                self._compare_with_lists(name)
            for key in sorted(by_resource.get(name, ())):
                self._join_object(self._object(*key), objects[key])
        for edge_key in sorted(edges):
            self._join_edge(self._edge(*edge_key), edges[edge_key])

    def outcome(self, one: _Read, is_heard: bool) -> Outcome:
        """What became of an entry: the most that any of its observations did."""
        seq = one.entry.seq
        if one.seen.observed.ignored is not None:
            return Outcome(seq, "fact" if is_heard else "ignored", one.seen.observed.ignored)
        verdicts = self._verdicts.get(seq)
        if not verdicts:
            return Outcome(seq, "fact" if is_heard else "ignored", None)
        kind = max((_OUTCOMES[verdict] for verdict in verdicts), key=_RANK.__getitem__)
        notes = self._notes.get(seq)
        return Outcome(seq, kind, " ".join(dict.fromkeys(notes)) if notes else None)

    def _join_object(self, row: ObjectRow, seen: Sequence[tuple[Seen, Observation]]) -> None:
        parents = self._parents_of(row)
        if row.state is not None:
            self._announce(row, is_alive(row.state, parents, floor=self._floor_of(row)), None)
        for one, observation in seen:
            before, before_ids = row.known_state(), row.parent_ids
            floor = self._scope_floor(row, observation.payload) if self._floors else NEVER
            joined = join(before, observation, floor=floor, resets=one.resets)
            state, verdict = joined.state, joined.verdict
            was_shown = row.shown if row.announced else None
            if state is not before:
                row.put_state(state)
                if row.parent_ids != before_ids:
                    parents = self._parents_of(row)
                if _means_else(before, state, parents) or (before is not None and row.parent_ids != before_ids):
                    self._moved[row.source, row.key] = one.cause
                if row.resource.lists is not None and (before is None or state.full_key != before.full_key):
                    self._relisted[row.source, row.key] = one.cause
            is_live = is_alive(state, parents, floor=self._floor_of(row))
            kind: ChangeKind | None = None
            if is_live != row.announced:
                row.announced, row.is_changed = is_live, True
                if not is_live:
                    kind = "hidden" if state.deleted_us is None else "deleted"
                elif verdict != "stub":  # which is born silently
                    kind = _ALOUD.get(verdict, "shown") if verdict != "updated" else "shown"
            elif is_live:  # of a stub too: only its birth is silent
                kind = _ALOUD.get(verdict)
            if kind is not None:
                after = row.shown if is_live else None
                self._change(row.source, row.resource.name, row.id, kind, was_shown, after, one.cause)
            flags, wishes = joined.flags, joined.wishes
            if state is not before and parents and is_near_death_above(proof_of(state), parents):
                flags, wishes = (*flags, "uncertain"), (*wishes, "refetch:uncertain")
            if not flags and row.flags and _settles(observation, before, parents):
                _flag(row, (), but="uncertain")
            self._note(row, one, verdict, flags, wishes)
            if (
                wishes
                or verdict in _TELLING
                or observation.clock[1] == ""
                or (observation.payload is not None and "previous_attributes" in observation.payload)
            ):
                self._doubt_object(row, one, observation, before, joined, wishes)

    def _join_edge(self, row: EdgeRow, seen: Sequence[tuple[Seen, EdgeObservation]]) -> None:
        ends = self._ends_of(row)
        floor = self._floors.get((row.source, _scope_of_edge(row.edge, row.ids)), NEVER) if self._floors else NEVER
        if row.state is not None:
            self._announce(row, is_edge_alive(row.state, ends), None)
        for one, observation in seen:
            was_shown, before = row.shown if row.announced else None, row.state
            joined = join_edge(row.state, observation.kind, observation.clock, floor=floor)
            state = joined.state
            is_moved = state is not row.state
            if is_moved:
                row.state, row.is_changed = state, True
                is_newest = row.scope_id is None or observation.clock >= max(state.add, state.remove)
                if is_newest and observation.scope_id not in (None, row.scope_id):
                    row.scope_id = observation.scope_id
                    ends = self._ends_of(row)
            now_live = is_edge_alive(state, ends)
            if now_live != row.announced:
                kind: ChangeKind
                if now_live:
                    kind = "added" if observation.kind == "add" else "shown"
                else:
                    kind = "hidden" if state.add > state.remove else "removed"
                row.announced, row.is_changed = now_live, True
                after = row.shown if now_live else None
                self._change(row.source, row.edge.name, row.object_id, kind, was_shown, after, one.cause)
            flags = ("uncertain", *joined.flags) if observation.uncertain else joined.flags
            wishes = joined.wishes
            if is_moved and _is_edge_near_death(state, ends):
                flags, wishes = (*flags, "uncertain"), (*wishes, "refetch:uncertain")
            asked = row.source, row.edge.name, row.object_id
            if observation.clock[1] == "":
                self._doubts.answered(asked, observation.clock[0])
                others = (before.add, before.remove) if before is not None else ()
                if not flags and row.flags and observation.clock > max(*others, *(end.death for end in ends), NEVER):
                    _flag(row, (), but="uncertain")
            self._note(row, one, joined.verdict, flags, wishes)
            if wishes and self._doubts.can_ask(row.source, row.edge.name):
                latest_us = max(state.add, state.remove, *(end.death for end in ends))[0]
                self._doubts.wish(asked, _reasons(wishes), latest_us)

    def _doubt_object(
        self,
        row: ObjectRow,
        one: Seen,
        observation: Observation,
        before: ObjectState | None,
        joined: Joined,
        wishes: Sequence[Wish],
    ) -> None:
        """Write down what the observation leaves in doubt, and what it answers."""
        doubts, state, verdict = self._doubts, joined.state, joined.verdict
        asked = row.source, *row.key
        if observation.kind == "upsert":
            if verdict == "stale":
                doubts.came_late(asked, observation.payload)
            elif (
                verdict == "updated"
                and before is not None
                and before.full is not None
                and observation.payload is not None
                and state.full_key[0] > before.full_key[0] >= 0
                and row.resource.state_words is None  # in whose words they are kept
            ):
                event_id = one.cause.event_id or observation.clock[1]
                doubts.replaced(asked, event_id, observation.payload, before.full, observation.clock[0])
        elif observation.kind in ("read", "absent"):
            doubts.answered(asked, observation.clock[0])
        if not doubts.can_ask(row.source, row.resource.name):
            return
        if verdict == "recreated" and row.resource.name in self._store.leaf_parents:
            self._came_back[row.source, row.key] = state.life
        reasons = _reasons(wishes)
        if verdict == "stub":
            reasons.append("stub")
        if "clock_regression" in reasons and observation.kind == "read":
            if one.resets:
                _flag(row, (), but="clock_regression")
            elif observation.updated_us is not None:
                doubts.read_lower(asked, observation.updated_us, observation.clock[0])
        if reasons:
            deaths = [parent.death for parent in self._parents_of(row)]
            doubts.wish(asked, reasons, max(state.content[1:], state.undated, state.life, state.death, *deaths)[0])

    def _note(
        self,
        row: ObjectRow | EdgeRow,
        one: Seen,
        verdict: Verdict | EdgeVerdict,
        flags: Sequence[str],
        wishes: Sequence[str],
    ) -> None:
        if (seq := one.cause.seq) is not None:
            self._verdicts[seq].append(verdict)
            if wishes:
                self._notes[seq] += wishes
        if flags:
            _flag(row, flags)

    def _load_floors(
        self,
        objects: Iterable[tuple[str, ObjectKey]],
        edges: Iterable[tuple[str, str, tuple[str, str]]],
        named: Iterable[tuple[str, str, tuple[str | None, ...]]],
    ) -> None:
        """Read the floors of what is about to be joined: by the scope that its row has, and by what is said of it; and
        of those that it is said to be in and that nobody has heard of.
        """
        scopes = {(source, _scope_of_edge(EDGES[name], ids)) for source, name, ids in edges if name in LISTINGS}
        scopes |= {(source, scope) for source, name, ids in named if (scope := _scope_of(RESOURCES[name], ids))}
        scopes |= {(source, scope) for source, name, ids in named for scope in self._unknown_above(source, name, ids)}
        for key in objects:
            if (row := self._objects[key]) is not None and (scope := _scope_of(row.resource, row.parent_ids)):
                scopes.add((row.source, scope))
        if scopes:
            self._floors = self._store.floors(self._connection, sorted(scopes))

    def _scope_floor(self, row: ObjectRow, payload: Payload | None) -> Clock:
        """The floor over an object: of the scope that it is in, of the one that it is said to be in, and of those of
        its unknown parents. A parent that no listing has shown, and of which nothing is heard, is dead for what is
        older than that listing: it may be, with all that was in it, what every event but this one was lost of.
        """
        said_ids = row.resource.parent_ids(payload)
        scopes = {_scope_of(row.resource, ids) for ids in (row.parent_ids, said_ids)}
        scopes.update(self._unknown_above(row.source, row.resource.name, said_ids))
        return max(self._floors.get((row.source, scope), NEVER) if scope is not None else NEVER for scope in scopes)

    def _unknown_above(self, source: str, name: str, parent_ids: Sequence[str | None]) -> list[Scope]:
        """The listings that would show those parents of which there is no row; all that are listed of the source's."""
        return [
            Scope(parent)
            for parent, id_ in _keys(RESOURCES[name].parents, parent_ids)
            if LISTINGS.get(parent) == "" and self._objects.get((source, (parent, id_))) is None
        ]

    # -- liveness ----------------------------------------------------------------------------------------------

    def _announce(self, row: ObjectRow | EdgeRow, is_live: bool, cause: Cause | None) -> bool:
        """Tell of a flip that its parents caused; whether there was one."""
        if is_live == row.announced:
            return False
        cause = cause or self._cause_above(row)
        kind: ChangeKind = "shown" if is_live else "hidden"
        shown = row.shown
        resource, id_ = (row.resource.name, row.id) if isinstance(row, ObjectRow) else (row.edge.name, row.object_id)
        self._change(row.source, resource, id_, kind, None if is_live else shown, shown if is_live else None, cause)
        row.announced, row.is_changed = is_live, True
        return True

    def _parents_of(self, row: ObjectRow) -> list[Parent]:
        """Its known parents, as this transaction leaves them: nobody asks before they are done with."""
        asked = row.source, row.resource.name, row.parent_ids
        known = self._known_parents.get(asked)
        if known is None:
            found = [self._parent(row.source, key) for key in _above(row)]
            known = self._known_parents[asked] = [parent for parent in found if parent is not None]
        return known

    def _ends_of(self, row: EdgeRow) -> list[Parent]:
        found = [self._parent(row.source, key) for key in _above(row)]
        return [parent for parent in found if parent is not None]

    def _floor_of(self, row: ObjectRow) -> Clock:
        """When its parent's list was seen without it; NEVER where it is in the list, or there is none."""
        holder_name = LISTED_IN.get(row.resource.name)
        if holder_name is None:
            return NEVER
        key = next((key for key in _above(row) if key[0] == holder_name), None)
        holder = None if key is None else self._objects.get((row.source, key))
        state = None if holder is None else holder.known_state()
        listed = None if holder is None or state is None else holder.resource.listed(state.full)
        if state is None or listed is None or row.id in listed:
            return NEVER
        return state.full_key[1:]

    def _compare_with_lists(self, name: str) -> None:
        """Tell of every child that a new list has left out or taken in."""
        for (source, parent), cause in self._relisted.items():
            if parent[0] != LISTED_IN[name]:
                continue
            after = ""
            while keys := self._store.children(self._connection, name, source, parent, (after,), _LISTED_AT_ONCE):
                self._load((source, (name, id_)) for (id_,) in keys)
                for (id_,) in keys:
                    row = self._objects[source, (name, id_)]
                    if row is not None and row.state is not None:
                        alive = is_alive(row.state, self._parents_of(row), floor=self._floor_of(row))
                        self._announce(row, alive, cause)
                after = keys[-1][0]

    def _parent(self, source: str, key: ObjectKey) -> Parent | None:
        """An object as its children see it; None if it is not known."""
        try:
            return self._parents[source, key]
        except KeyError:
            if (source, key) not in self._objects:
                self._load([], above=[(source, key)])
            row = self._objects[source, key]
            is_known = row is not None and row.state is not None
            parent = as_parent(row.state, self._parents_of(row)) if is_known else None  # type: ignore[union-attr,arg-type]
            self._parents[source, key] = parent
            return parent

    def _cause_above(self, row: ObjectRow | EdgeRow) -> Cause:
        """The event that moved the nearest ancestor which is being walked, or has moved in this transaction."""
        waiting: list[ObjectRow | EdgeRow] = [row]
        while waiting:
            one = waiting.pop(0)
            for key in _above(one):
                cause = self._moved.get((row.source, key)) or self._store.cascade_cause(
                    self._connection, row.source, key
                )
                if cause is not None:
                    return cause
                above = self._objects.get((row.source, key))
                if above is not None:
                    waiting.append(above)
        return Cause(None, None)

    # -- walks -------------------------------------------------------------------------------------------------

    def advance(self, cascade: Cascade, limit: int) -> _Part:
        """Take one cascade up where it stands and move it on past the next children."""
        tables = self._store.child_tables(cascade.resource)
        if cascade.child is not None:
            table, *key = json.loads(cascade.child)
            keys = [tuple(key)]
        else:
            table, keys = _next_children(self._store, self._connection, cascade, limit)
        position: str | None = None
        if cascade.child is None and len(keys) == limit:
            position = json.dumps([table, *keys[-1]])
        elif cascade.child is None and table != tables[-1]:
            position = json.dumps([tables[tables.index(table) + 1], "", ""])
        self._store.move_cascade(self._connection, cascade, position)
        return _Part(cascade, table, keys)

    def walk(self, parts: Sequence[_Part]) -> None:
        """Tell of the children that flipped; all are read at once, in the order of tables that every worker keeps."""
        children = [(part.cascade.source, part.table, key) for part in parts for key in part.keys]
        self._load(
            [(source, (table, key[0])) for source, table, key in children if table not in EDGES],
            [(source, table, (key[0], key[1])) for source, table, key in children if table in EDGES],
        )
        for part in parts:
            if part.table in EDGES:
                self._walk_edges(EDGES[part.table], part.cascade, part.keys)
            else:
                self._walk_objects(RESOURCES[part.table], part.cascade, part.keys)

    def _walk_objects(self, resource: Resource, cascade: Cascade, keys: Sequence[tuple[str, ...]]) -> None:
        wanted = [(cascade.source, (resource.name, id_)) for (id_,) in keys]
        rows = [row for key in wanted if (row := self._objects[key]) is not None and row.state is not None]
        for row in rows:
            assert row.state is not None
            parents = self._parents_of(row)
            self._announce(row, is_alive(row.state, parents, floor=self._floor_of(row)), cascade.cause)
            if is_near_death_above(proof_of(row.state), parents):
                _flag(row, ("uncertain",))
                if self._doubts.can_ask(row.source, row.resource.name):
                    latest = max(proof_of(row.state), *(parent.death for parent in parents))
                    self._doubts.wish((row.source, *row.key), ["uncertain"], latest[0])
        # Flipped or not: what died above may be later than a child's own proof.
        for row in self._not_reached(resource, cascade, rows):
            self._moved[row.source, row.key] = cascade.cause

    def _not_reached(self, resource: Resource, cascade: Cascade, rows: Sequence[ObjectRow]) -> list[ObjectRow]:
        """Those whose own children this walk, or one that it queues, does not come to anyway.

        The walk of a directory comes to the memberships that name it. So a user or group needs a walk of its own only
        for those that name another or none; and met on an organization's walk, only if its directory is not.
        """
        if cascade.resource in _SCOPES:
            ids, scope_id = [row.id for row in rows], cascade.object_id
            outside = self._store.having_children(
                self._connection, resource.name, cascade.source, ids, outside=scope_id
            )
            return [row for row in rows if row.id in outside]
        top = cascade.resource, cascade.object_id

        def is_met_again(row: ObjectRow) -> bool:
            above = (self._objects.get((row.source, key)) for key in _above(row))
            return any(one is not None and one.state is not None and top in _above(one) for one in above)

        return [row for row in rows if not is_met_again(row)]

    def _walk_edges(self, edge: Edge, cascade: Cascade, keys: Sequence[tuple[str, ...]]) -> None:
        for one, other in keys:
            row = self._edge(cascade.source, edge.name, (one, other))
            if row.state is not None:
                ends = self._ends_of(row)
                self._announce(row, is_edge_alive(row.state, ends), cascade.cause)
                if _is_edge_near_death(row.state, ends):
                    _flag(row, ("uncertain",))
                    if self._doubts.can_ask(row.source, row.edge.name):
                        latest = max(row.state.add, *(end.death for end in ends))
                        self._doubts.wish((row.source, row.edge.name, row.object_id), ["uncertain"], latest[0])

    # -- rows --------------------------------------------------------------------------------------------------

    def _load(
        self,
        objects: Iterable[tuple[str, ObjectKey]],
        edges: Iterable[tuple[str, str, tuple[str, str]]] = (),
        above: Iterable[tuple[str, ObjectKey]] = (),
    ) -> None:
        """Read rows that may be written, and those above them to look at; one statement per table and source.

        Where several workers write at once, the rows are theirs from here on (`MirrorStore.read_objects`): always in
        this order of tables, so that no two wait for each other.
        """
        wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
        # A table with one row to write is read to write as a whole: in two statements its order would be lost.
        written: set[tuple[str, str]] = set()
        sources: set[str] = set()

        def want(source: str, key: ObjectKey) -> None:
            sources.add(source)
            if (source, key) not in self._objects:
                wanted[source, key[0]].add(key[1])

        for source, key in objects:
            want(source, key)
            written.add((source, key[0]))
        for source, key in above:
            want(source, key)
        pairs: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for source, name, ids in edges:
            sources.add(source)
            if (source, name, ids) not in self._edges:
                pairs[source, name].append(ids)
                for (end, _), id_ in zip(EDGES[name].ends, ids, strict=True):
                    want(source, (end, id_))
        for (source, name), ids_list in sorted(pairs.items()):
            edge = EDGES[name]
            for edge_row in self._store.read_edges(self._connection, edge, source, ids_list):
                self._edges[source, name, edge_row.ids] = edge_row
                if edge.scope is not None and edge_row.scope_id is not None:
                    want(source, (edge.scope[0], edge_row.scope_id))
        # Children first: their rows name the parents to read next.
        for name, resource in reversed(list(RESOURCES.items())):
            for source in sorted(sources):
                wanted_ids = sorted(wanted.pop((source, name), ()))
                if not wanted_ids:
                    continue
                for id_ in wanted_ids:
                    self._objects[source, (name, id_)] = None
                rows = self._store.read_objects(
                    self._connection, resource, source, wanted_ids, to_write=(source, name) in written
                )
                for row in rows:
                    self._objects[source, row.key] = row
                for parent_ids in {row.parent_ids for row in rows}:
                    for key in _keys(resource.parents, parent_ids):
                        want(source, key)

    def _object(self, source: str, key: ObjectKey) -> ObjectRow:
        row = self._objects[source, key]
        if row is None:
            resource = RESOURCES[key[0]]
            row = ObjectRow(resource, source, key[1], parent_ids=(None,) * len(resource.parents))
            self._objects[source, key] = row
        return row

    def _edge(self, source: str, name: str, ids: tuple[str, str]) -> EdgeRow:
        return self._edges.setdefault((source, name, ids), EdgeRow(EDGES[name], source, ids))

    def _ask_for_members(self) -> None:
        """C6: memberships from before their end's death stay hidden until its list says otherwise."""
        by_end: dict[tuple[str, str], list[str]] = defaultdict(list)
        for source, (name, id_) in self._came_back:
            by_end[source, name].append(id_)
        edge = DIRECTORY_MEMBERSHIP
        for (source, name), ids in by_end.items():
            for id_ in self._store.having_children(self._connection, name, source, ids):
                object_id = "/".join(id_ if end == name else "" for end, _ in edge.ends)
                clock = self._came_back[source, (name, id_)]
                self._doubts.wish((source, edge.name, object_id), ["recreated"], clock[0])

    def _cascades(self) -> list[tuple[str, ObjectKey, Cause]]:
        """The walks to queue. Most users who leave are in no group any more, and need none."""
        leaves: dict[tuple[str, str], list[str]] = defaultdict(list)
        for source, (name, id_) in self._moved:
            if name in self._store.leaf_parents:
                leaves[source, name].append(id_)
        with_children = {
            (source, (name, id_))
            for (source, name), ids in leaves.items()
            for id_ in self._store.having_children(self._connection, name, source, ids)
        }
        return [
            (source, key, cause)
            for (source, key), cause in self._moved.items()
            if self._store.child_tables(key[0])
            and (key[0] not in self._store.leaf_parents or (source, key) in with_children)
        ]

    # -- writing -----------------------------------------------------------------------------------------------

    def _change(
        self,
        source: str,
        resource: str,
        object_id: str,
        kind: ChangeKind,
        before: str | None,
        after: str | None,
        cause: Cause,
    ) -> None:
        self._changes.append(NewChange(source, resource, object_id, kind, before, after, cause))

    def write(self, done: Applied, registered: Sequence[Registered], runs: list[NewRun]) -> None:
        """Write rows in sorted order, parents first; then walks, changes and runs."""
        store, connection = self._store, self._connection
        rows: dict[str, list[ObjectRow]] = defaultdict(list)
        for row in self._objects.values():
            if row is not None and row.is_changed:
                rows[row.resource.name].append(row)
        for name, resource in RESOURCES.items():
            if name in rows:
                rows[name].sort(key=lambda row: (row.source, row.id))
                store.write_objects(connection, resource, rows[name])
        for name, edge in EDGES.items():
            edge_rows = [row for (_, of, _), row in self._edges.items() if of == name and row.is_changed]
            edge_rows.sort(key=lambda row: (row.source, row.ids))
            store.write_edges(connection, edge, edge_rows)
        cascades = self._cascades()
        self._ask_for_members()
        done.gaps = self._doubts.write(connection)
        store.add_cascades(connection, cascades, self._now_ms)
        seqs = store.add_changes(connection, self._changes, self._now_ms)
        by_resource: dict[str, list[Registered]] = defaultdict(list)
        for handler in registered:
            if handler.kind == "change":
                by_resource[handler.pattern].append(handler)
        runs = runs + [
            NewRun(handler.name, f"{change.source}/{change.resource}/{change.object_id}", None, seq)
            for seq, change in zip(seqs, self._changes, strict=True)
            for handler in by_resource.get(change.resource, ())
            if handler.hears(change.source)
        ]
        store.add_runs(connection, runs, self._now_ms)
        done.changes, done.runs, done.cascades = len(seqs), len(runs), len(cascades)


def next_child(store: MirrorStore, connection: Connection, cascade: Cascade) -> str | None:
    """JSON [table, *key] of the child that a walk comes to next; None where it is in no table, or has but this one."""
    if cascade.child is not None:
        return None
    table, keys = _next_children(store, connection, cascade, 1)
    return json.dumps([table, *keys[0]]) if keys else None


def _next_children(
    store: MirrorStore, connection: Connection, cascade: Cascade, limit: int
) -> tuple[str, list[tuple[str, ...]]]:
    """The table where a walk stands, and the keys of its next children there."""
    tables = store.child_tables(cascade.resource)
    table, *after = json.loads(cascade.position) if cascade.position else [*tables[:1], "", ""]
    parent = cascade.resource, cascade.object_id
    return table, store.children(connection, table, cascade.source, parent, after, limit)


def _flag(row: ObjectRow | EdgeRow, flags: Iterable[str], *, but: str = "") -> None:
    kept = " ".join(sorted({*row.flags.split(), *flags} - {but}))
    if kept != row.flags:
        row.flags, row.is_changed = kept, True


def _settles(seen: Observation, before: ObjectState | None, parents: Sequence[Parent]) -> bool:
    """Whether an answer of the source is later than all that is known of the object, and so ends what was in doubt."""
    if seen.kind not in ("read", "absent") or before is None:
        return False
    clocks = (before.content[1:], before.undated, before.life, before.death, before.provisional)
    return seen.clock > max(*clocks, *(parent.death for parent in parents))


def _reasons(wishes: Iterable[Wish]) -> list[Reason]:
    return [_REASONS[wish] for wish in wishes]


def _subject(seen: Seen) -> tuple[Asked, int, int] | None:
    """What a numbered event is about, its number and its time; None where it says nothing of the mirror."""
    assert seen.sequence is not None
    if (edge := seen.observed.edge) is not None:
        return (seen.source, edge.resource, "/".join(edge.keys)), seen.sequence, edge.clock[0]
    if not seen.observed.objects:
        return None
    own = seen.observed.objects[0]
    return (seen.source, own.resource, own.key), seen.sequence, own.clock[0]


def _is_edge_near_death(edge: EdgeState, ends: Sequence[Parent]) -> bool:
    return edge.add > edge.remove and is_near_death_above(edge.add, ends)


def _means_else(before: ObjectState | None, after: ObjectState, parents: Sequence[Parent]) -> bool:
    """Whether an object now means something else to its children than before, so that they have to be walked.

    Its parents are looked at as they are now: what their own coming and going means to the children is their walk. But
    an object that a parent's death took along comes back by evidence of its own, and then it is its children's news.
    An unknown parent counts as not dead, so a new one matters only if it is.
    """
    if before is None:
        seen = as_parent(after, parents)
        return not seen.alive or seen.death != NEVER
    if before.death == after.death and before.life > max(before.death, *(parent.death for parent in parents), NEVER):
        return False
    return as_parent(before, parents) != as_parent(after, parents)


def _scope_of(resource: Resource, parent_ids: Sequence[str | None]) -> Scope | None:
    """The listing that an object with these parents is in; None where there is none, or the parent is not known."""
    column = LISTINGS.get(resource.name)
    if not column:
        return None if column is None else Scope(resource.name)
    id_ = next(id_ for (_, of), id_ in zip(resource.parents, parent_ids, strict=True) if of == column)
    return None if id_ is None else Scope(resource.name, id_)


def _scope_of_edge(edge: Edge, ids: tuple[str, str]) -> Scope:
    """The listing that a pair is in; of an edge that nobody lists, one that has no floor."""
    column = LISTINGS.get(edge.name)
    return Scope(edge.name, next((id_ for (_, of), id_ in zip(edge.ends, ids, strict=True) if of == column), ""))


def _keys(parents: Sequence[tuple[str, str]], ids: Sequence[str | None]) -> list[ObjectKey]:
    """The keys of those parents whose id is known."""
    return [(name, id_) for (name, _), id_ in zip(parents, ids, strict=True) if id_ is not None]


def _above(row: ObjectRow | EdgeRow) -> list[ObjectKey]:
    """The parents of an object, or the ends and the scope of an edge."""
    if isinstance(row, ObjectRow):
        return _keys(row.resource.parents, row.parent_ids)
    keys = _keys(row.edge.ends, row.ids)
    if row.edge.scope is not None and row.scope_id is not None:
        keys.append((row.edge.scope[0], row.scope_id))
    return keys


__all__: tuple[str, ...] = ("Applied", "Seen", "apply", "apply_reads", "next_child", "walk")
