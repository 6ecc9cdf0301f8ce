"""Why is this object as it is? Put together from its row, its parents, the change feed, the inbox, and what was read at
the source or is to be.

The inbox has no index by object, since every event would pay for it and a question is rare: `why` reads the bodies of
one source's whole inbox, or of its newest entries and those that are named elsewhere. What was pruned there can no
longer be told. Decides nothing and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from hookline.errors import InvalidBody
from hookline.receiver.inbox_search import InboxSearch, needle_of
from hookline.receiver.kept import kept_event
from hookline.receiver.mirror_queries import (
    Difference,
    MirroredRow,
    MirrorQueries,
    PastChange,
    check_resource,
    differences,
    parents_of,
)
from hookline.receiver.refetch_store import Asked, Refetch, RefetchStore
from hookline.receiver.resources import DIRECTORY_MEMBERSHIP, EDGES, LISTED_IN, LISTINGS, OPTIONAL, RESOURCES, observe
from hookline.rules.gaps import Numbers
from hookline.rules.merge import AFTER_EVERY_ID, EPSILON_US
from hookline.storage import Connection, Row, Verbs

Says: TypeAlias = Literal["upsert", "delete", "embedded", "read", "absent", "add", "remove"]

ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column's value, and what last set it: an event, or of what was read at the source `pass_12` or `refetch`.
    `set_ms` is when that was applied, None where not known.
    """

    name: str
    value: Any
    event_id: str | None
    set_ms: int | None


@dataclass(frozen=True, slots=True)
class Touch:
    """An event in the inbox that says something of the object.

    Attributes:
        says: what it says: `upsert`, `delete`, an `embedded` copy, `add` or `remove`.
        created_us: when it happened at the source.
        outcome: of the whole event: `applied`, `stale`, `noop`, …, or `waiting`.
        reason: wishes that it left, or why it was set aside.
        duplicates: how often it came again.
        updated_us, payload: the object's own time and state in it, as far as they are kept; None of relations.
    """

    seq: int
    event_id: str
    type: str
    says: Says
    created_us: int
    received_ms: int
    outcome: str
    reason: str | None
    duplicates: int
    updated_us: int | None = None
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What an event came to for the object.

    Attributes:
        change: of what handlers were told, what it caused; None where that is nothing, or no longer kept.
        differences: by what it changed the object; of a stale one, in what it differs from what is held now.
        lost_to: of a stale one the name, time (µs) and event id of the clock that is newer, as of `MirroredRow.clocks`.
    """

    touch: Touch
    change: PastChange | None
    differences: tuple[Difference, ...]
    lost_to: tuple[str, int, str] | None


@dataclass(frozen=True, slots=True)
class ParentState:
    """What the object hangs on. Where nothing was heard of it, `is_live` is None, and it does not count."""

    resource: str
    id: str
    is_known: bool
    is_live: bool | None
    deleted_at: str | None


@dataclass(frozen=True, slots=True)
class ListedAsOf:
    """A complete listing of the source, which the object would have been in.

    Attributes:
        resource, scope_id: what it is of; '' for all that the source has.
        floor_us: what was last seen before is dead.
    """

    resource: str
    scope_id: str
    floor_us: int


@dataclass(frozen=True, slots=True)
class Why:
    """All that is known of one object.

    Attributes:
        row: None where the mirror has none.
        reasons: why it is shown or not, in words.
        columns: with the event that set each.
        parents: what it hangs on.
        touches: the events about it that are still in the inbox, in order of arrival; where only so many of the newest
            were looked through, of those before only the ones that its row and its changes name.
        looked_from: the number of the inbox from which on it was looked through; 0: all of it.
        changes: what handlers were told, oldest first.
        wishes: (event id, wish): what the source should be asked, since the events leave it open and nothing read there
            is late enough to settle it.
        listed: the complete listing that speaks for it where nothing else does, if there was one.
        refetches: what is to be asked of the source about it, or about all memberships of an end of it.
        numbers: which of its events are missing, where its sender numbers them.
    """

    resource: str
    id: str
    row: MirroredRow | None
    reasons: tuple[str, ...]
    columns: tuple[Column, ...]
    parents: tuple[ParentState, ...]
    touches: tuple[Touch, ...]
    changes: tuple[PastChange, ...]
    wishes: tuple[tuple[str, str], ...]
    listed: ListedAsOf | None = None
    refetches: tuple[Refetch, ...] = ()
    numbers: Numbers | None = None
    looked_from: int = 0

    def told(self) -> list[Told]:
        """What each event came to, the newest first."""
        changed = {change.cause_seq: change for change in self.changes}
        return [self._told(touch, changed.get(touch.seq)) for touch in reversed(self.touches)]

    def _told(self, touch: Touch, change: PastChange | None) -> Told:
        if change is not None:
            return Told(touch, change, differences(change.before, change.after), None)
        if touch.outcome != "stale" or self.row is None:
            return Told(touch, None, (), None)
        names = ("remove", "add") if self.row.resource in EDGES else ("death", "content")
        newer = [
            (name, *at)
            for name in names
            if (at := self.row.clocks.get(name)) and at >= (touch.created_us, touch.event_id)
        ]
        held = self.row.payload if touch.payload is not None else None
        return Told(touch, None, differences(held, touch.payload), newer[0] if newer else None)


def why(
    verbs: Verbs,
    connection: Connection,
    resource: str,
    id_: str,
    *,
    source: str = "default",
    newest: int | None = None,
) -> Why:
    """Explain one object, known or not. Give it a snapshot for one moment.

    Args:
        newest: look through so many entries of the inbox, instead of all, and tell so many changes at most.

    Raises: ConfigError: no such resource.
    """
    check_resource(resource)
    queries = MirrorQueries(verbs, source)
    row = queries.row(connection, resource, id_)
    changes = tuple(reversed(queries.history(connection, resource, id_, limit=newest or ALL)))
    looked_from = 0 if newest is None else InboxSearch(verbs, source).place_before(connection, newest)
    named_ids = {change.cause for change in changes} | {
        event_id for _, event_id in (row.clocks if row else {}).values()
    }
    touches = tuple(
        touch
        for name, touch in touches_of(
            verbs, connection, id_, source=source, after_seq=looked_from, event_ids=[one for one in named_ids if one]
        )
        if name == resource
    )
    parents = tuple(_parents(queries, connection, row))
    listed = _listed_as_of(verbs, connection, source, resource, id_, row)
    reasons = tuple(_reasons(queries, connection, row, parents, touches))
    if not reasons and resource == "organization_membership":  # the one thing that its view knows besides
        reasons = ("ended by a later membership of the same user in the same organization",)
    store = RefetchStore(verbs)
    read_us = max((us for us, event_id in row.clocks.values() if event_id == ""), default=-1) if row else -1
    return Why(
        resource,
        id_,
        row,
        reasons,
        tuple(_columns(row, changes)),
        parents,
        touches,
        changes,
        tuple(
            (touch.event_id, wish)
            for touch in touches
            if touch.outcome != "dead" and touch.created_us + EPSILON_US >= read_us
            for wish in (touch.reason or "").split()
            if wish.startswith("refetch:")
        ),
        listed,
        tuple(store.of(connection, _asked(source, resource, id_)).values()),
        store.numbers(connection, [(source, resource, id_)]).get((source, resource, id_)),
        looked_from,
    )


def evidence(event_id: str) -> str:
    """What a clock rests on, in words."""
    if event_id == AFTER_EVERY_ID:
        return "a complete listing without it"
    return event_id or "an answer of the source"


def touches_of(
    verbs: Verbs,
    connection: Connection,
    id_: str,
    *,
    source: str = "default",
    after_seq: int = 0,
    event_ids: Collection[str] = (),
) -> Iterator[tuple[str, Touch]]:
    """(resource, event) of every event in the inbox about an object of this id, in order of arrival.

    Args:
        after_seq: look through the inbox after this number.
        event_ids: of what is before that, look at these events.
    """
    named = {"source": source, "needle": needle_of(id_), "after_seq": after_seq}
    if after_seq > 0:
        known = verbs["inbox_of_ids"].run(connection, {"source": source, "event_ids": json.dumps(sorted(event_ids))})
        for row in known:
            if row[0] <= after_seq:
                yield from _touches(row, id_)
    for row in verbs["inbox_about"].run(connection, named):
        yield from _touches(row, id_)


def _touches(row: Row, id_: str) -> Iterator[tuple[str, Touch]]:
    seq, event_id, type_, body, received_ms, outcome, reason, duplicates = row
    try:
        event = kept_event(bytes(body), event_id, type_)
    except InvalidBody:
        return
    observed = observe(event, event_id, received_ms, OPTIONAL)
    said: list[tuple[str, str, Says, int, int | None, Mapping[str, Any] | None]] = [
        (seen.resource, seen.key, seen.kind, seen.clock[0], seen.updated_us, seen.payload) for seen in observed.objects
    ]
    if (edge := observed.edge) is not None:
        said.append((edge.resource, "/".join(edge.keys), edge.kind, edge.clock[0], None, None))
    for resource, key, says, created_us, updated_us, payload in said:
        if key == id_:
            touch = Touch(
                seq,
                event_id,
                event.type,
                says,
                created_us,
                received_ms,
                outcome,
                reason,
                int(duplicates),
                updated_us,
                payload,
            )
            yield resource, touch


def _columns(row: MirroredRow | None, changes: tuple[PastChange, ...]) -> Iterator[Column]:
    if row is None:
        return
    kind = RESOURCES.get(row.resource)
    # By column: the value that the feed last left, and by which change.
    set_by: dict[str, tuple[Any, PastChange]] = {}
    for change in changes:
        if kind is None or change.after is None:
            continue
        after = kind.values(change.after)
        for (name, _), value in zip(kind.columns, after, strict=True):
            if name not in set_by or set_by[name][0] != value:
                set_by[name] = value, change
    clock = row.clocks.get("content") or max(row.clocks.values(), default=None)
    for name, value in row.columns.items():
        known = set_by.get(name)
        if known is not None and known[0] == value:
            yield Column(name, value, known[1].cause, known[1].changed_ms)
        else:  # a copy that nobody was told of, or a change while it was not shown: the newest content set it
            yield Column(name, value, None if clock is None else clock[1] or None, None)


def _parents(queries: MirrorQueries, connection: Connection, row: MirroredRow | None) -> Iterator[ParentState]:
    if row is None:
        return
    for resource, column in parents_of(row.resource):
        id_ = row.columns.get(column)
        if id_ is not None:
            parent = queries.row(connection, resource, id_)
            if parent is None:
                yield ParentState(resource, id_, is_known=False, is_live=None, deleted_at=None)
            else:
                yield ParentState(resource, id_, True, parent.is_live, parent.deleted_at)


def _reasons(
    queries: MirrorQueries,
    connection: Connection,
    row: MirroredRow | None,
    parents: tuple[ParentState, ...],
    touches: tuple[Touch, ...],
) -> Iterator[str]:
    if row is None:
        if not touches:
            yield "no event about it is in the inbox"
        elif all(touch.outcome == "waiting" for touch in touches):
            yield "its events wait to be applied"
        else:
            yield "its events left no row: see what became of each"
        return
    if row.is_live:
        clock = max((at for name, at in row.clocks.items() if name in ("life", "stub", "add")), default=None)
        proof = f" by {evidence(clock[1])}" if clock else ""
        yield f"shown: its latest proof of life{proof} is newer than every death that reaches it"
        if row.columns.get("is_active") == 0:
            yield "not active: its state is none that is known as active"
        return
    if row.resource in EDGES:
        if row.clocks.get("remove", (-1, "")) >= row.clocks.get("add", (-1, "")):
            yield f"removed by {evidence(row.clocks['remove'][1])}" if "remove" in row.clocks else "never added"
    elif row.deleted_at is not None:
        yield f"deleted at {row.deleted_at} by {evidence(row.clocks['death'][1])}"
    for parent in parents:
        if parent.is_known and not parent.is_live:
            yield f"its {parent.resource} {parent.id} is not shown"
        elif parent.is_known and (killer := _older_than_death(queries, connection, row, parent)):
            yield f"its latest proof of life is older than the death of its {parent.resource} {parent.id} by {killer}"
    holder = LISTED_IN.get(row.resource)
    for parent in parents:
        if parent.resource == holder and parent.is_known:
            held = queries.row(connection, parent.resource, parent.id)
            listed = None if held is None else RESOURCES[parent.resource].listed(held.payload)
            if held is not None and listed is not None and row.id not in listed:
                by = evidence(held.clocks["content"][1])
                yield f"not in the list that {parent.resource} {parent.id} was last seen with, by {by}"


def _older_than_death(
    queries: MirrorQueries, connection: Connection, row: MirroredRow, parent: ParentState
) -> str | None:
    above = queries.row(connection, parent.resource, parent.id)
    death = None if above is None else above.clocks.get("death")
    proof = max((at for name, at in row.clocks.items() if name in ("life", "stub", "add")), default=(-1, ""))
    return evidence(death[1]) if death is not None and proof <= death else None


def _asked(source: str, resource: str, id_: str) -> list[Asked]:
    """The questions that concern it: also those about all memberships of an end."""
    asked = [(source, resource, id_)]
    ends = [end for end, _ in DIRECTORY_MEMBERSHIP.ends]
    if resource == DIRECTORY_MEMBERSHIP.name:
        group_id, _, user_id = id_.partition("/")
        asked += [(source, resource, f"{group_id}/"), (source, resource, f"/{user_id}")]
    elif resource in ends:
        asked.append((source, DIRECTORY_MEMBERSHIP.name, "/".join(id_ if end == resource else "" for end in ends)))
    return asked


def _listed_as_of(
    verbs: Verbs, connection: Connection, source: str, resource: str, id_: str, row: MirroredRow | None
) -> ListedAsOf | None:
    column = LISTINGS.get(resource)
    if column is None:
        return None
    scope_id = "" if not column else row.columns.get(column) if row is not None else id_.partition("/")[0]
    named = {"scopes": json.dumps([(source, resource, scope_id)])}
    for _, _, scope, floor_us in verbs["floors_read"].run(connection, named):
        return ListedAsOf(resource, scope, floor_us)
    return None
