"""The mirror's tables as verbs: rows in and out, the change feed, the walks over children, the claimed entries.

Decides nothing (mirror.py does) and opens no transaction: every function runs on the connection it is given.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from hookline.receiver.handlers import ChangeKind, HandlerKind
from hookline.receiver.model import Redacted
from hookline.receiver.refetch_store import RefetchStore
from hookline.receiver.resources import EDGES, LISTINGS, RESOURCES, Edge, Payload, Resource, decode, encode
from hookline.rules.merge import NEVER, NO_CONTENT, Clock, EdgeState, ObjectState
from hookline.storage import Connection, Dialect, Verb, Verbs
from hookline.wire.timestamps import format_ms

OutcomeKind: TypeAlias = Literal["applied", "stale", "noop", "fact", "ignored", "dead"]
ObjectKey: TypeAlias = tuple[str, str]
"""(resource, id)"""
EdgeKey: TypeAlias = tuple[str, tuple[str, str]]
"""(edge, ids of its ends)"""


# No walk waits an hour and a bit (work.py's backoff): one that would was put off under another clock.
LONGEST_WALK_WAIT_MS: Final = 3_660_000


MARKED: Final = 1
"""The `attempt` of an entry that was in the first batch of a process; more than that are tries on its own."""


class TriedBefore(Exception):
    """Entries among those to be claimed were tried on their own before: together with others they would undo these,
    and what ends the process would not be counted.
    """

    def __init__(self, seqs: list[int]) -> None:
        super().__init__(f"{len(seqs)} entries were tried on their own")
        self.seqs = seqs


class Claimed(NamedTuple):
    """An entry taken out of the queue. `reason` is what the door knew to be wrong with it.

    `traceparent` is what it was kept under. `object_sequence` is which of its object's events it is, where the sender
    says so.
    """

    seq: int
    source: str
    event_id: str
    type: str | None
    body: bytes | None
    reason: str | None
    received_ms: int
    traceparent: str | None = None
    redacted: Redacted | None = None
    object_sequence: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it says all that there is to apply: retention took nothing of it."""
        return self.body is not None and self.redacted != "people"


class Scope(NamedTuple):
    """What one listing of the source shows all of. `scope_id` is the directory's id for users and groups, the group's
    for `directory_membership`, and '' for all directories or organizations.
    """

    resource: str
    scope_id: str = ""


class Cause(NamedTuple):
    """The inbox entry and the event that something came from; of what was read at the source, `seq` is None and
    `event_id` says what read it: `pass_12`, `refetch`.
    """

    seq: int | None
    event_id: str | None


class Outcome(NamedTuple):
    """What became of an entry. `reason` explains it where that is not plain."""

    seq: int
    outcome: OutcomeKind
    reason: str | None


class NewChange(NamedTuple):
    """A change to append; `before` and `after` are JSON texts."""

    source: str
    resource: str
    object_id: str
    kind: ChangeKind
    before: str | None
    after: str | None
    cause: Cause


class NewRun(NamedTuple):
    """A run to make: of an entry (a fact) or of a change."""

    handler: str
    object_key: str | None
    inbox_seq: int | None
    change_seq: int | None


class Cascade(NamedTuple):
    """A walk over the children of one object; `position` is where it stands ('' at the start), `tries` how often it
    failed there. `child`, JSON [table, *key], is the only one it is about, where it failed on that before. `begun`: how
    many workers took it up there that have not come back, or not yet.
    """

    row_id: int
    source: str
    resource: str
    object_id: str
    position: str
    cause: Cause
    tries: int = 0
    child: str | None = None
    begun: int = 0


class Registered(NamedTuple):
    """A handler as some process registered it: it hears of what comes after `from_seq`, from `source` or, where that is
    None, from any.
    """

    name: str
    kind: HandlerKind
    pattern: str
    from_seq: int
    source: str | None = None

    def hears(self, source: str) -> bool:
        """Whether it is for what comes from there."""
        return self.source is None or self.source == source


# The two below are working copies inside one transaction, and the only mutable values of the mirror.


@dataclass(slots=True)
class ObjectRow:
    """One object while a batch is applied. `state` is None while it has never been heard of.

    Payloads are decoded at the first look (`known_state`): most rows are read only to be somebody's parent.
    """

    resource: Resource
    source: str
    id: str
    state: ObjectState | None = None
    parent_ids: tuple[str | None, ...] = ()
    stored_parent_ids: tuple[str | None, ...] = ()
    shown: str | None = None
    announced: bool = False
    flags: str = ""
    is_new: bool = True
    is_changed: bool = False
    texts: tuple[str | None, str | None, str | None] | None = None

    @property
    def key(self) -> ObjectKey:
        return self.resource.name, self.id

    def known_state(self) -> ObjectState | None:
        """The state with its payloads."""
        if self.texts is not None and self.state is not None:
            full, reduced, rival = self.texts
            state = self.state
            content, payload = state.content, decode(full)
            undated_content, undated = NO_CONTENT, None
            if content[0] < 0:
                content, payload, undated_content, undated = undated_content, undated, content, payload
            if rival is not None:
                *key, other = msgspec.json.decode(rival)
                if key[0] < 0:
                    undated_content, undated = (key[0], key[1], key[2]), other
                else:
                    content, payload = (key[0], key[1], key[2]), other
            self.state = ObjectState(
                state.resource,
                state.key,
                content,
                payload,
                state.life,
                state.death,
                state.provisional,
                state.reduced_content,
                decode(reduced),
                NEVER if undated is None else undated_content[1:],
                undated,
            )
            self.texts = None
        return self.state

    def put_state(self, state: ObjectState) -> None:
        """Replace the state; the shown text and the parents follow its payload."""
        before = self.state
        if (
            before is None
            or state.full is not before.full
            or state.reduced is not before.reduced
            or (state.deleted_us is None) != (before.deleted_us is None)  # whether `reduced` counts
        ):
            current = state.current
            self.shown = encode(current)
            self.parent_ids = self.resource.parent_ids(current)
        self.state = state
        self.is_changed = True


@dataclass(slots=True)
class EdgeRow:
    """One membership while a batch is applied. `state` is None while it has never been heard of."""

    edge: Edge
    source: str
    ids: tuple[str, str]
    state: EdgeState | None = None
    scope_id: str | None = None
    announced: bool = False
    flags: str = ""
    is_new: bool = True
    is_changed: bool = False

    @property
    def key(self) -> EdgeKey:
        return self.edge.name, self.ids

    @property
    def object_id(self) -> str:
        return "/".join(self.ids)

    @property
    def shown(self) -> str | None:
        """What handlers are shown of it."""
        (_, one), (_, other) = self.edge.ends
        within = {} if self.edge.scope is None else {self.edge.scope[1]: self.scope_id}
        return encode({one: self.ids[0], other: self.ids[1], **within})


class _Listing(NamedTuple):
    """The verbs of what the source lists."""

    unseen: Verb
    count_live: Verb


@dataclass(frozen=True, slots=True)
class _Table:
    """The verbs of one table. `replace` leaves what its indexes are over alone, `move` does not.

    What `read` reads is this transaction's alone until the commit; `look` lets others look as well, but not write.
    """

    read: Verb
    look: Verb
    insert: Verb
    replace: Verb
    move: Verb
    children: Mapping[str, Verb]


_CLOCKS: Final = (
    "content_updated_us", "content_us", "content_event_id", "life_us", "life_event_id", "death_us", "death_event_id",
    "stub_us", "stub_event_id", "reduced_updated_us", "reduced_us", "reduced_event_id", "rival",
)  # fmt: skip


# Where several write at once, rows are locked as they are read, in order of their keys. Columns that hold numbers.
_LOCKS: Final[Mapping[Dialect, Mapping[str, str]]] = {
    "sqlite": {"read": "", "look": ""},
    "postgres": {"read": "order by {key} for no key update{of}", "look": "order by {key} for share{of}"},
}
_NUMBERS: Final = frozenset({"announced_live", "is_active", "email_verified", "directory_managed", "system"})


class MirrorStore:
    """The verbs of the mirror, compiled for one dialect; those of one table each are made from the list of tables."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        # Only where several write at once.
        self._take_absent, self._share_absent = verbs.get("absent_take"), verbs.get("absent_share")
        self._tables = {name: _object_table(verbs, resource) for name, resource in RESOURCES.items()}
        self._tables |= {name: _edge_table(verbs, edge) for name, edge in EDGES.items()}
        self._child_tables = {
            parent: [name for name, table in self._tables.items() if parent in table.children] for parent in RESOURCES
        }
        # Most of them are in no relation, and one question tells of many which are.
        self._ends: dict[str, list[Verb]] = defaultdict(list)
        self._ends_outside: dict[str, list[Verb]] = defaultdict(list)
        for edge in EDGES.values():
            for end, column in edge.ends:
                words = {"table": edge.table, "end": column}
                self._ends[end].append(verbs.filled("each", "mirror_ends", words))
                if edge.scope is not None:
                    verb = verbs.filled("each", "mirror_ends_outside", {**words, "scope": edge.scope[1]})
                    self._ends_outside[end].append(verb)
        self.leaf_parents = frozenset(end for end in self._ends if set(self._child_tables[end]) <= EDGES.keys())
        self.refetches = RefetchStore(verbs)
        self._lock_floors = verbs.get("floors_lock")  # only where several write at once
        self._listings = {name: _listing(verbs, name, column) for name, column in LISTINGS.items()}
        self._writers = {name: _object_writer(resource) for name, resource in RESOURCES.items()}

    # -- entries -----------------------------------------------------------------------------------------------

    def claim(self, connection: Connection, now_ms: int, limit: int) -> list[Claimed]:
        """Take up to `limit` due entries out of the queue, oldest first.

        Raises:
            TriedBefore: some of them were tried on their own, and are to be tried so again.
        """
        taken = self._verbs["apply_claim"].run(connection, {"now_ms": now_ms, "limit": limit})
        if again := [seq for seq, attempt in taken if attempt > MARKED]:
            raise TriedBefore(again)
        return self._entries(connection, [seq for seq, _ in taken])

    def claim_one(self, connection: Connection, seq: int) -> list[Claimed]:
        """Take one entry out of the queue; an empty list if it is not there."""
        taken = self._verbs["apply_claim_one"].run(connection, {"seq": seq})
        return self._entries(connection, [seq for (seq,) in taken])

    def _entries(self, connection: Connection, seqs: list[int]) -> list[Claimed]:
        if not seqs:
            return []
        return [Claimed(*row) for row in self._verbs["apply_entries"].run(connection, {"seqs": json.dumps(seqs)})]

    def head(self, connection: Connection, now_ms: int, limit: int) -> list[tuple[int, int]]:
        """(seq, attempt) of what `claim` would take."""
        return [
            (seq, attempt)
            for seq, attempt in self._verbs["apply_head"].run(connection, {"now_ms": now_ms, "limit": limit})
        ]

    def mark(self, connection: Connection, seqs: Sequence[int]) -> None:
        """Note that these are about to be applied for the first time."""
        self._verbs["apply_mark"].run(connection, {"seqs": json.dumps(list(seqs))})

    def count_try(self, connection: Connection, seq: int, now_ms: int, leased_until_ms: int) -> int | None:
        """Count a try of one entry on its own, which is this worker's until its lease ends: how many it are now, or
        None if it is not waiting or another worker tries it.
        """
        named = {"seq": seq, "now_ms": now_ms, "leased_until_ms": leased_until_ms}
        rows = self._verbs["apply_try"].run(connection, named)
        return rows[0][0] if rows else None

    def take_try_back(self, connection: Connection, seq: int, leased_until_ms: int, due_ms: int) -> None:
        """Let the try of that lease not count, which the storage's being away ended."""
        named = {"seq": seq, "leased_until_ms": leased_until_ms, "due_ms": due_ms}
        self._verbs["apply_untry"].run(connection, named)

    def postpone(self, connection: Connection, seq: int, due_ms: int) -> None:
        """Let an entry wait until `due_ms`."""
        self._verbs["apply_postpone"].run(connection, {"seq": seq, "due_ms": due_ms})

    def pull(self, connection: Connection, latest_ms: int, now_ms: int) -> None:
        """Make entries due now that are due after `latest_ms`."""
        self._verbs["apply_pull"].run(connection, {"latest_ms": latest_ms, "now_ms": now_ms})

    def note(self, connection: Connection, outcomes: Sequence[Outcome], now_ms: int) -> None:
        """Write down what became of entries."""
        self._verbs["apply_outcomes"].run_many(connection, [(*outcome, now_ms) for outcome in outcomes])

    # -- rows --------------------------------------------------------------------------------------------------

    def read_objects(
        self, connection: Connection, resource: Resource, source: str, ids: Collection[str], *, to_write: bool
    ) -> list[ObjectRow]:
        """The rows there are of these ids. Nobody else writes or adds them until this transaction ends.

        Args:
            to_write: they may be written; without it, others may look at them too.
        """
        table = self._tables[resource.name]
        verb = table.read if to_write else table.look
        rows = verb.run(connection, {"source": source, "ids": json.dumps(list(ids))})
        keep = self._take_absent if to_write else self._share_absent
        if keep is not None and len(rows) < len(ids):
            absent = sorted({*ids} - {row[0] for row in rows})
            keep.run(connection, {"keys": json.dumps([f"{source}/{resource.name}/{id_}" for id_ in absent])})
            if not to_write:
                # One that was added before it could be kept from being; who writes meets that when adding it again.
                rows += verb.run(connection, {"source": source, "ids": json.dumps(absent)})
        return [_object_row(resource, source, row) for row in rows]

    def read_edges(
        self, connection: Connection, edge: Edge, source: str, pairs: Iterable[tuple[str, str]]
    ) -> list[EdgeRow]:
        """The rows there are of these pairs."""
        rows = self._tables[edge.name].read.run(connection, {"source": source, "pairs": json.dumps(list(pairs))})
        return [
            EdgeRow(
                edge,
                source,
                (one, other),
                EdgeState((add_us, add_id), (remove_us, remove_id)),
                scope_id,
                bool(announced),
                flags,
                is_new=False,
            )
            for one, other, scope_id, add_us, add_id, remove_us, remove_id, flags, announced in rows
        ]

    def write_objects(self, connection: Connection, resource: Resource, rows: Iterable[ObjectRow]) -> None:
        """Insert new rows whole, replace known ones."""
        table, writer = self._tables[resource.name], self._writers[resource.name]
        inserts: list[tuple[Any, ...]] = []
        updates: list[tuple[Any, ...]] = []
        moves: list[tuple[Any, ...]] = []
        for row in rows:
            kind = inserts if row.is_new else updates if row.parent_ids == row.stored_parent_ids else moves
            kind.append(writer(row))
        table.insert.run_many(connection, inserts)
        table.replace.run_many(connection, updates)
        table.move.run_many(connection, moves)

    def rewrite(self, connection: Connection, resource: Resource, source: str, ids: Collection[str]) -> None:
        """Write rows anew from what they rest on, so that a column that was edited by hand says again what the payload
        does.
        """
        rows = self.read_objects(connection, resource, source, ids, to_write=True)
        for row in rows:
            state = row.known_state()
            assert state is not None
            row.shown = encode(state.current)
        self.write_objects(connection, resource, rows)

    def write_edges(self, connection: Connection, edge: Edge, rows: Iterable[EdgeRow]) -> None:
        """Insert new rows whole, replace known ones."""
        table = self._tables[edge.name]
        inserts: list[tuple[Any, ...]] = []
        updates: list[tuple[Any, ...]] = []
        for row in rows:
            state = row.state or EdgeState()
            values = (
                row.source,
                *row.ids,
                *((row.scope_id,) if edge.scope is not None else ()),
                *state.add,
                *state.remove,
                row.flags,
                int(row.announced),
                None if state.add > state.remove or state.remove == NEVER else format_ms(state.remove[0]),
            )
            (inserts if row.is_new else updates).append(values)
        table.insert.run_many(connection, inserts)
        table.replace.run_many(connection, updates)

    # -- floors ------------------------------------------------------------------------------------------------

    def standing(self, connection: Connection) -> tuple[bool, bool]:
        """Whether there are any floors, and any questions to a source (refetch_store.py). No floor is set elsewhere
        until this transaction ends.
        """
        ((floors, refetches),) = self._verbs["standing"].run(connection)
        return bool(floors), bool(refetches)

    def floors(self, connection: Connection, scopes: Iterable[tuple[str, Scope]]) -> dict[tuple[str, Scope], Clock]:
        """The floors there are of these (source, scope)."""
        keys = json.dumps([(source, *scope) for source, scope in scopes])
        return {
            (source, Scope(resource, scope_id)): (floor_us, "")
            for source, resource, scope_id, floor_us in self._verbs["floors_read"].run(connection, {"scopes": keys})
        }

    def unseen(
        self, connection: Connection, source: str, scope: Scope, floor: Clock, after: str, limit: int
    ) -> list[str]:
        """The next of a scope that live, and on nothing as late as the floor: a listing that began then has not shown
        them.

        What only a parent that has died since hides is among them; what came back with no evidence of its own is not.

        Returns: ids; of a group's memberships those of the users.
        """
        named = {
            "source": source,
            "scope_id": scope.scope_id,
            "floor_us": floor[0],
            "after": after,
            "limit": limit,
        }
        return [id_ for (id_,) in self._listings[scope.resource].unseen.run(connection, named)]

    def count_live(self, connection: Connection, source: str, scope: Scope) -> int:
        """How many of a scope are shown."""
        named = {"source": source, "scope_id": scope.scope_id}
        ((count,),) = self._listings[scope.resource].count_live.run(connection, named)
        return int(count)

    def named_organizations(self, connection: Connection, source: str, limit: int) -> list[str]:
        """Organizations that living directories say they are in; no event may have told of them."""
        return [id_ for (id_,) in self._verbs["mirror_named"].run(connection, {"source": source, "limit": limit})]

    def set_floor(self, connection: Connection, source: str, scope: Scope, floor: Clock) -> bool:
        """Say that from here on what was last seen before the floor is dead (rule D4), where a complete listing is in
        the mirror and all that it did not show has been settled. A floor never falls.

        In a short transaction of its own that has begun with a write: on PostgreSQL it waits for all that apply just
        now.

        Returns: False, and no floor is set, where something is unsettled (`unseen`): some has come meanwhile.
        """
        if self._lock_floors is not None:
            self._lock_floors.run(connection)
        if self.unseen(connection, source, scope, floor, "", 1):
            return False
        self._verbs["floors_set"].run(connection, {"source": source, **scope._asdict(), "floor_us": floor[0]})
        return True

    # -- changes, runs, walks ----------------------------------------------------------------------------------

    def registered(self, connection: Connection) -> list[Registered]:
        """Every handler that some process has registered."""
        return [Registered(*row) for row in self._verbs["handlers_registered"].run(connection)]

    def add_changes(self, connection: Connection, changes: Sequence[NewChange], now_ms: int) -> list[int]:
        """Append to the change feed; their places in it, in the same order."""
        rows = [
            (
                change.source,
                change.resource,
                change.object_id,
                change.kind,
                int(change.after is not None),
                change.before,
                change.after,
                *change.cause,
                now_ms,
            )
            for change in changes
        ]
        return sorted(seq for (seq,) in self._verbs["changes_add"].run_many(connection, rows))

    def add_runs(self, connection: Connection, runs: Sequence[NewRun], now_ms: int) -> None:
        """Make runs, due at once."""
        rows = [{**run._asdict(), "now_ms": now_ms} for run in runs]
        self._verbs["runs_add"].run_many(connection, rows)

    def add_cascades(
        self, connection: Connection, cascades: Sequence[tuple[str, ObjectKey, Cause]], now_ms: int
    ) -> None:
        """Queue walks over the children of (source, object), each with its cause."""
        rows = [(source, *key, *cause, now_ms) for source, key, cause in cascades]
        self._verbs["cascades_add"].run_many(connection, rows)

    def next_cascade(self, connection: Connection, now_ms: int) -> Cascade | None:
        """The oldest walk that does not wait after a failure."""
        for row in self._verbs["cascades_next"].run(
            connection, {"now_ms": now_ms, "latest_ms": now_ms + LONGEST_WALK_WAIT_MS}
        ):
            row_id, source, resource, object_id, position, cause_seq, cause, tries, child, begun = row
            known = Cause(cause_seq, cause)
            return Cascade(row_id, source, resource, object_id, position, known, tries, child, begun)
        return None

    def mark_cascade(self, connection: Connection, cascade: Cascade, begun: int) -> None:
        """Note how many workers have taken a walk up; whoever goes on with it or fails on it takes that back."""
        self._verbs["cascades_mark"].run(connection, {"row_id": cascade.row_id, "begun": begun})

    def fail_cascade(self, connection: Connection, cascade: Cascade, due_ms: int, error: str) -> None:
        """Let a walk wait that failed where it stands."""
        named = {"row_id": cascade.row_id, "due_ms": due_ms, "error": error}
        self._verbs["cascades_fail"].run(connection, named)

    def set_apart(
        self, connection: Connection, cascade: Cascade, position: str, due_ms: int, error: str, *, most: int
    ) -> bool:
        """Let a walk go on behind `position`, JSON [table, *key] of the child it failed on, which gets a walk of its
        own that waits; False where `most` of that object have one.
        """
        named = {"row_id": cascade.row_id, "due_ms": due_ms, "error": error, "child": position, "most": most}
        if self._verbs["cascades_set_apart"].count(connection, named) != 1:
            return False
        self.move_cascade(connection, cascade, position)
        return True

    def retry_cascades(self, connection: Connection, *, but: str = "") -> int:
        """Let the walks that wait after a failure be taken up now, unless that was `but`; how many they are."""
        return self._verbs["cascades_retry"].count(connection, {"but": but})

    def move_cascade(self, connection: Connection, cascade: Cascade, position: str | None) -> None:
        """Note where a walk stands; None: it is finished."""
        if position is None:
            self._verbs["cascades_end"].run(connection, {"row_id": cascade.row_id})
        else:
            self._verbs["cascades_move"].run(connection, {"row_id": cascade.row_id, "position": position})

    def cascade_cause(self, connection: Connection, source: str, key: ObjectKey) -> Cause | None:
        """Whose walk is on its way to the children of an object."""
        named = {"source": source, "resource": key[0], "object_id": key[1]}
        for row in self._verbs["cascades_cause"].run(connection, named):
            return Cause(*row)
        return None

    def child_tables(self, resource: str) -> list[str]:
        """The resources and edges that hang on a resource, in the order in which they are walked."""
        return self._child_tables[resource]

    def having_children(
        self, connection: Connection, resource: str, source: str, ids: Sequence[str], *, outside: str | None = None
    ) -> list[str]:
        """Those of these objects, which can only be ends of relations, that are one's; with `outside`, of one whose
        scope is another or not known.
        """
        verbs = self._ends[resource] if outside is None else self._ends_outside[resource]
        named = {"source": source, "ids": json.dumps(list(ids))}
        if outside is not None:
            named["scope_id"] = outside
        return sorted({id_ for verb in verbs for (id_,) in verb.run(connection, named)})

    def children(
        self, connection: Connection, child: str, source: str, parent: ObjectKey, after: Sequence[str], limit: int
    ) -> list[tuple[str, ...]]:
        """The next children's keys after a key ('' is the start): one id each, or the two ids of an edge."""
        named = {
            "source": source,
            "parent_id": parent[1],
            "after": after[0],
            "after_other": after[-1],
            "limit": limit,
        }
        return list(self._tables[child].children[parent[0]].run(connection, named))


def _object_table(verbs: Verbs, resource: Resource) -> _Table:
    columns = (
        "source", "id", *(column for column, _ in resource.columns), "payload", "full_payload", "reduced_payload",
        *_CLOCKS, "flags", "announced_live", "deleted_at",
    )  # fmt: skip
    parents = [column for _, column in resource.parents]
    words = {
        "table": resource.table,
        "parents": "".join(f", {column}" for column in parents),
        "clocks": ", ".join(_CLOCKS),
    }
    return _Table(
        *_reading(verbs, "mirror_read", words, key="id"),
        *_writing(verbs, resource.table, ("source", "id"), columns, frozenset(parents)),
        {
            parent: verbs.filled("each", "mirror_children", {"table": resource.table, "parent": column})
            for parent, column in resource.parents
        },
    )


def _edge_table(verbs: Verbs, edge: Edge) -> _Table:
    (_, one), (_, other) = edge.ends
    scope = () if edge.scope is None else (edge.scope[1],)
    columns = (
        "source", one, other, *scope, "add_us", "add_event_id", "remove_us", "remove_event_id", "flags",
        "announced_live", "deleted_at",
    )  # fmt: skip
    words = {"table": edge.table, "one": one, "other": other}
    children = {
        of: verbs.filled("each", "mirror_edges_of_end", {**words, "end": end, "far": far, "after": after})
        for (of, end), far, after in zip(edge.ends, (other, one), ("after_other", "after"), strict=True)
    }
    if edge.scope is not None:
        of, column = edge.scope
        children[of] = verbs.filled("each", "mirror_edges_of_scope", {**words, "scope": column})
    reading = _reading(
        verbs,
        "mirror_read_edges",
        {**words, "scope": f"m.{scope[0]}" if scope else "null"},
        key=f"m.{one}, m.{other}",
        of=" of m",
    )
    return _Table(*reading, *_writing(verbs, edge.table, ("source", one, other), columns, frozenset()), children)


def _listing(verbs: Verbs, name: str, column: str) -> _Listing:
    """Made from the list of tables, as those of `_Table` are."""
    scope = f" and m.{column} = :scope_id" if column else ""
    if (edge := EDGES.get(name)) is not None:
        table, key, proof, death = edge.table, next(c for _, c in edge.ends if c != column), "add", "remove"
        parents = (*edge.ends, *(() if edge.scope is None else (edge.scope,)))
    else:
        resource = RESOURCES[name]
        table, key, proof, death, parents = resource.table, "id", "proof", "death", resource.parents
    above = "".join(
        f"\n    and not exists (select 1 from {RESOURCES[parent].table} p where p.source = m.source and p.id = m.{of}"
        f" and (p.death_us, p.death_event_id) >= (m.{proof}_us, m.{proof}_event_id))"
        for parent, of in parents
    )
    words = {"table": table, "key": key, "scope": scope, "proof": proof, "death": death, "above": above}
    return _Listing(
        verbs.filled("each", "mirror_unseen", words),
        verbs.filled("each", "mirror_count_live", {"table": table, "scope": scope}),
    )


def _reading(verbs: Verbs, name: str, words: Mapping[str, str], *, key: str, of: str = "") -> tuple[Verb, Verb]:
    """Read to write, and to look."""
    read, look = (
        verbs.filled("each", name, {**words, "lock": lock.format(key=key, of=of)})
        for lock in _LOCKS[verbs.dialect].values()
    )
    return read, look


def _writing(
    verbs: Verbs, table: str, key: tuple[str, ...], columns: tuple[str, ...], parents: frozenset[str]
) -> tuple[Verb, Verb, Verb]:
    """Insert, replace and move."""
    words = {
        "table": table,
        "key": ", ".join(key),
        "columns": ", ".join(columns),
        "values": ", ".join(f":{column}" for column in columns),
        "arrays": ", ".join(
            f"cast(:{column} as {'bigint' if column in _NUMBERS or column.endswith('_us') else 'text'}[])"
            for column in columns
        ),
    }
    replacing = [
        verbs.filled(
            "each",
            "mirror_replace",
            {**words, "replaced": ", ".join(f"{c} = excluded.{c}" for c in columns if c not in key and c not in but)},
        )
        for but in (parents, frozenset[str]())
    ]
    return verbs.filled("each", "mirror_insert", words), replacing[0], replacing[1]


def _object_row(resource: Resource, source: str, row: tuple[Any, ...]) -> ObjectRow:
    parents = len(resource.parents)
    shown, full, reduced = row[1 + parents : 4 + parents]
    clocks = row[4 + parents : 16 + parents]
    rival, flags, announced = row[16 + parents :]
    state = ObjectState(
        resource.name,
        row[0],
        clocks[0:3],
        None,
        clocks[3:5],
        clocks[5:7],
        clocks[7:9],
        clocks[9:12],
        None,
    )
    is_layered = state.reduced_content != NO_CONTENT
    return ObjectRow(
        resource,
        source,
        row[0],
        state,
        row[1 : 1 + parents],
        row[1 : 1 + parents],
        shown,
        bool(announced),
        flags,
        is_new=False,
        texts=(full, reduced, rival) if is_layered else (shown, None, rival),
    )


def _rival(state: ObjectState) -> str | None:
    """The full copy that does not count now, with its key, where there is one with an `updated_at` and one without."""
    if state.payload is None or state.undated_payload is None:
        return None
    if state.full is state.payload:
        return msgspec.json.encode([-1, *state.undated, state.undated_payload]).decode()
    return msgspec.json.encode([*state.content, state.payload]).decode()


def _object_writer(resource: Resource) -> Any:
    def write(row: ObjectRow) -> tuple[Any, ...]:
        state = row.known_state()
        assert state is not None
        is_layered = state.reduced is not None
        current: Payload | None = state.current
        return (
            row.source,
            row.id,
            *resource.values(current),
            row.shown,
            encode(state.full) if is_layered else None,
            encode(state.reduced) if is_layered else None,
            *state.full_key,
            *state.life,
            *state.death,
            *state.provisional,
            *state.reduced_content,
            _rival(state),
            row.flags,
            int(row.announced),
            None if state.deleted_us is None else format_ms(state.deleted_us),
        )

    return write
