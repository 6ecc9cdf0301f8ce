"""Where mirror and source differ, and why: what a dry run finds, looks at once more, and explains; and its healing.

A difference met on a page is a candidate alone: webhooks go on meanwhile. When all is listed, each object is asked for
once more and compared again. What still differs is explained from the inbox, which is read once for all of it, and what
an event explains that has come since, or still waits to be applied, is no difference but a matter of time.

A dry run writes no row of the mirror. Values are never kept, only the names of fields.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from hookline.errors import InvalidBody, SourceError
from hookline.loop import Clock
from hookline.receiver.kept import kept_event
from hookline.receiver.pass_store import CHECK, EXPLAIN, Listing, Moved, Pass
from hookline.receiver.resources import (
    DIRECTORY_MEMBERSHIP,
    OPTIONAL,
    RESOURCES,
    Payload,
    decode,
    observe,
    observe_read,
)
from hookline.receiver.source import Found, Gone, SourceApi
from hookline.receiver.work import Access
from hookline.rules.drift import Cause, Evidence, Kind, cause_of, differing
from hookline.rules.merge import read_clock
from hookline.storage import Connection, Verbs

DriftState: TypeAlias = Literal["candidate", "checked", "open", "healed", "ignored"]
Work: TypeAlias = Callable[[Connection], Moved]

_EDGE: Final = DIRECTORY_MEMBERSHIP.name
_END: Final = 2**63 - 1
# So many are asked for one by one before what came of it is stored, or for so long: a lease is a minute.
ASKED_AT_ONCE: Final = 20
ASK_FOR_MS: Final = 20_000
# So many differences are asked for once more; of more than that, the mirror alone is looked at again.
ASKED_MOST: Final = 2_000
ITEMS_AT_ONCE: Final = 500
# Of bodies of up to some megabytes.
ENTRIES_AT_ONCE: Final = 200
REFUSALS_MOST: Final = 20_000
# Refusals that say nothing of webhooks.
_NO_WEBHOOK: Final = frozenset({"method", "path"})


class Candidate(NamedTuple):
    """A difference as it was met."""

    resource: str
    object_id: str
    scope_id: str
    kind: Kind
    fields: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class DriftItem:
    """Where mirror and source differ.

    Attributes:
        object_id: of a membership `group_id/user_id`.
        kind: `missing` here, `extra` here, `differs`, or `uncertain`: the source is still to be asked.
        fields: the names of those that differ.
        cause: the likely one; `evidence` says what speaks for it: ids of events, what became of them, refusals.
        state: `open`, `healed`, or `ignored`, and then `note` says why.
    """

    row_id: int
    pass_id: int
    source: str
    resource: str
    object_id: str
    scope_id: str
    kind: Kind
    fields: tuple[str, ...]
    cause: Cause
    evidence: Mapping[str, Any]
    state: DriftState
    note: str | None
    found_ms: int
    settled_ms: int | None


class _Row(NamedTuple):
    """A row of the mirror as it is compared."""

    id: str
    is_live: bool
    payload: dict[str, Any] | None
    flags: str
    content_event_id: str
    proof_us: int
    columns: tuple[Any, ...]


class _Pair(NamedTuple):
    """A membership of the mirror as it is compared."""

    is_live: bool
    flags: str
    add_us: int


class DriftStore:
    """The verbs of differences, compiled for one dialect."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs

    def add(self, connection: Connection, pass_: Pass, candidates: Sequence[Candidate], now_ms: int) -> None:
        """Note candidates; the first of each object stays."""
        rows = [
            (
                pass_.row_id,
                pass_.source,
                one.resource,
                one.object_id,
                one.scope_id,
                one.kind,
                json.dumps(one.fields),
                json.dumps(one.evidence),
                now_ms,
            )
            for one in candidates
        ]
        self._verbs["drift_add"].run_many(connection, rows)

    def put(self, connection: Connection, items: Sequence[DriftItem]) -> None:
        """Write items as they stand."""
        rows = [
            (
                one.row_id,
                one.pass_id,
                one.source,
                one.resource,
                one.object_id,
                one.scope_id,
                one.kind,
                json.dumps(one.fields),
                one.cause,
                json.dumps(one.evidence),
                one.state,
                one.note,
                one.found_ms,
                one.settled_ms,
            )
            for one in items
        ]
        self._verbs["drift_put"].run_many(connection, rows)

    def remove(self, connection: Connection, items: Sequence[DriftItem]) -> None:
        """Take back what is no difference."""
        self._verbs["drift_remove"].run(connection, {"row_ids": json.dumps([one.row_id for one in items])})

    def page(self, connection: Connection, pass_id: int, state: DriftState, after: int, limit: int) -> list[DriftItem]:
        """The next items of a pass in one state."""
        named = {"pass_id": pass_id, "state": state, "after": after, "limit": limit}
        return [_item(row) for row in self._verbs["drift_page"].run(connection, named)]

    def found(
        self,
        connection: Connection,
        pass_id: int,
        *,
        state: DriftState | None = None,
        kind: Kind | None = None,
        after: int = 0,
        limit: int = ITEMS_AT_ONCE,
    ) -> list[DriftItem]:
        """The next items of a pass that have come out."""
        named = {"pass_id": pass_id, "state": state, "kind": kind, "after": after, "limit": limit}
        return [_item(row) for row in self._verbs["drift_list"].run(connection, named)]

    def read(self, connection: Connection, row_id: int) -> DriftItem | None:
        """One item."""
        rows = self._verbs["drift_read"].run(connection, {"row_id": row_id})
        return _item(rows[0]) if rows else None

    def about(self, connection: Connection, pass_id: int, keys: Sequence[tuple[str, str]]) -> list[DriftItem]:
        """Those not yet explained that are about any of these (resource, id)."""
        by_resource = defaultdict(set)
        for resource, id_ in keys:
            by_resource[resource].add(id_)
        return [
            _item(row)
            for resource, ids in by_resource.items()
            for row in self._verbs["drift_about"].run(
                connection, {"pass_id": pass_id, "resource": resource, "ids": json.dumps(sorted(ids))}
            )
        ]

    def ignored(
        self, connection: Connection, source: str, items: Sequence[DriftItem]
    ) -> dict[tuple[str, str], tuple[str, tuple[str, ...], str | None]]:
        """What somebody has said to ignore of these objects: kind, fields and note, by (resource, id)."""
        by_resource = defaultdict(set)
        for one in items:
            by_resource[one.resource].add(one.object_id)
        return {
            (resource, id_): (kind, tuple(json.loads(fields)), note)
            for resource, ids in by_resource.items()
            for id_, kind, fields, note in self._verbs["drift_ignored"].run(
                connection, {"source": source, "resource": resource, "ids": json.dumps(sorted(ids))}
            )
        }

    def extra_of(self, connection: Connection, pass_id: int, resource: str, ids: Collection[str]) -> set[str]:
        """Those of these objects that a pass found to be gone at the source."""
        named = {"pass_id": pass_id, "resource": resource, "ids": json.dumps(sorted(ids))}
        return {id_ for (id_,) in self._verbs["drift_extra"].run(connection, named)}

    def add_uncertain(self, connection: Connection, pass_: Pass, now_ms: int) -> None:
        """Note what waits for an answer of the source."""
        named = {"pass_id": pass_.row_id, "source": pass_.source, "now_ms": now_ms}
        self._verbs["drift_uncertain"].run(connection, named)

    def counts(self, connection: Connection, pass_id: int) -> list[tuple[DriftState, Kind, Cause, int]]:
        """The items of a pass in numbers."""
        return [
            (state, kind, cause, count)
            for state, kind, cause, count in self._verbs["drift_counts"].run(connection, {"pass_id": pass_id})
        ]

    def settle(
        self, connection: Connection, row_ids: Sequence[int], state: DriftState, note: str | None, now_ms: int
    ) -> int:
        """Settle open items; how many they were."""
        named = {"row_ids": json.dumps(list(row_ids)), "state": state, "note": note, "now_ms": now_ms}
        return self._verbs["drift_settle"].count(connection, named)

    def settle_all(self, connection: Connection, pass_: Pass, now_ms: int) -> None:
        """All that was open of a source has been put right by a whole pass."""
        named = {"source": pass_.source, "note": f"by pass {pass_.row_id}", "now_ms": now_ms}
        self._verbs["drift_healed"].run(connection, named)

    def entries(
        self, connection: Connection, source: str, after: int
    ) -> list[tuple[int, str, str | None, bytes | None, int, str, str | None]]:
        """The next entries of the inbox: seq, event id, type, body, arrival, outcome, reason."""
        named = {"source": source, "after": after, "limit": ENTRIES_AT_ONCE}
        return list(self._verbs["inbox_after"].run(connection, named))

    def refusals(self, connection: Connection, source: str) -> list[tuple[int, str, int]]:
        """(minute, reason, times) of what was refused that may have been webhooks, oldest first."""
        named = {
            "source": source,
            "since_ms": 0,
            "before_ms": _END,
            "before_source": "",
            "before_reason": "",
            "limit": REFUSALS_MOST,
        }
        return sorted(
            (minute_ms, reason, times)
            for _, reason, minute_ms, times, _ in self._verbs["rejections_list"].run(connection, named)
            if reason not in _NO_WEBHOOK
        )

    def rows(self, connection: Connection, resource: str, source: str, ids: Sequence[str]) -> dict[str, _Row]:
        """The mirror's rows of these objects."""
        kind = RESOURCES[resource]
        words = {"table": kind.table, "columns": ", ".join(f"r.{column}" for column, _ in kind.columns)}
        found = self._verbs.filled("each", "drift_rows", words).run(
            connection, {"source": source, "ids": json.dumps(list(ids))}
        )
        return {
            id_: _Row(id_, bool(live), decode(payload), flags, by, proof_us, tuple(columns))
            for id_, live, payload, flags, by, proof_us, *columns in found
        }

    def pairs(self, connection: Connection, source: str, group_id: str, user_ids: Sequence[str]) -> dict[str, _Pair]:
        """The mirror's memberships of these users in a group."""
        verb = self._verbs.filled("each", "drift_edges", {"table": DIRECTORY_MEMBERSHIP.table})
        named = {"source": source, "group_id": group_id, "ids": json.dumps(list(user_ids))}
        return {id_: _Pair(bool(live), flags, add_us) for id_, live, flags, add_us in verb.run(connection, named)}


class Drift:
    """What a dry run does with the differences that its listings left."""

    def __init__(self, verbs: Verbs, access: Access, api: SourceApi, clock: Clock) -> None:
        self.store = DriftStore(verbs)
        self._access = access
        self._api = api
        self._clock = clock

    # -- while listings are read -------------------------------------------------------------------------------

    def different(
        self, connection: Connection, source: str, resource: str, items: Sequence[dict[str, Any]], requested_us: int
    ) -> list[Candidate]:
        """How objects of the source differ from the mirror's."""
        rows = self.store.rows(connection, resource, source, [item["id"] for item in items])
        found: list[Candidate] = []
        for item in items:
            seen = observe_read(resource, item, requested_us)
            if seen.ignored is not None:
                raise SourceError("nonsense", f"a {resource}: {seen.ignored}")
            one = seen.objects[0]
            assert one.payload is not None
            row = rows.get(item["id"])
            candidate = _compared(resource, item["id"], one.payload, one.updated_us, row)
            if candidate is not None:
                found.append(candidate)
        return found

    def missing_edges(
        self, connection: Connection, source: str, listing: Listing, user_ids: Sequence[str]
    ) -> list[Candidate]:
        """Which of a group's members the mirror does not show."""
        pairs = self.store.pairs(connection, source, listing.scope_id, user_ids)
        return [
            _pair_candidate(listing.scope_id, id_, listing.directory_id, "missing", pair)
            for id_ in user_ids
            if (pair := pairs.get(id_)) is None or not pair.is_live
        ]

    def unseen(self, listing: Listing, ids: Sequence[str]) -> list[Candidate]:
        """What a whole listing did not show."""
        if listing.resource == _EDGE:
            return [Candidate(_EDGE, f"{listing.scope_id}/{id_}", listing.directory_id or "", "extra") for id_ in ids]
        return [Candidate(listing.resource, id_, listing.scope_id, "extra") for id_ in ids]

    # -- when all is listed ------------------------------------------------------------------------------------

    def next(self, pass_: Pass, listing: Listing, now_ms: int) -> Work:
        """What is next of looking again (`CHECK`), reading the inbox (`EXPLAIN`) and judging; as `Lister.next`."""
        if listing.resource == CHECK:
            return self._check(pass_, listing, now_ms)
        if listing.resource == EXPLAIN:
            return lambda connection: self._explain(connection, pass_, listing)
        return lambda connection: self._judge(connection, pass_, listing, now_ms)

    def _check(self, pass_: Pass, listing: Listing, now_ms: int) -> Work:
        is_asked = pass_.counts.get("asked_again", 0) < ASKED_MOST
        limit = ASKED_AT_ONCE if is_asked else ITEMS_AT_ONCE
        with self._access.read() as connection:
            items = self.store.page(connection, pass_.row_id, "candidate", 0, limit)
        if not items:
            return lambda _: Moved(replace(listing, state="completed"), {})
        answers = Answers(self._api)
        if is_asked:
            for number, item in enumerate(items, start=1):
                answers.ask(item)
                if self._clock.now_ms() - now_ms > ASK_FOR_MS:
                    items = items[:number]
                    break

        def work(connection: Connection) -> Moved:
            kept, dropped = self._again(connection, pass_.source, items, answers, now_ms)
            self.store.put(connection, kept)
            self.store.remove(connection, dropped)
            counts = {"requests": answers.requests, "settled": len(dropped)}
            counts |= {"asked_again": len(items)} if is_asked else {"not_asked_again": len(kept)}
            return Moved(replace(listing, state="confirming"), counts)

        return work

    def _again(
        self, connection: Connection, source: str, items: Sequence[DriftItem], answers: Answers, now_ms: int
    ) -> tuple[list[DriftItem], list[DriftItem]]:
        """Compare once more: what still differs, and what does not."""
        kept: list[DriftItem] = []
        dropped: list[DriftItem] = []
        for item in items:
            candidate = self.compare(connection, source, item, answers)
            if candidate is None:
                dropped.append(item)
            else:
                asked = {} if answers.knows(item) else {"asked_again": False}
                kept.append(
                    replace(
                        item,
                        kind=candidate.kind,
                        fields=candidate.fields,
                        evidence={**candidate.evidence, **asked},
                        state="checked",
                        found_ms=now_ms,
                    )
                )
        return kept, dropped

    def compare(self, connection: Connection, source: str, item: DriftItem, answers: Answers) -> Candidate | None:
        """How an item stands: what the source said of it, if it was asked, beside the mirror's row."""
        if item.resource == _EDGE:
            return self._compare_pair(connection, source, item, answers)
        row = self.store.rows(connection, item.resource, source, [item.object_id]).get(item.object_id)
        answer = answers.objects.get((item.resource, item.object_id))
        if isinstance(answer, Found):
            found = self.different(connection, source, item.resource, [answer.item], answer.requested_us)
            return found[0]._replace(scope_id=item.scope_id) if found else None
        if isinstance(answer, Gone):
            is_here = item.kind == "extra" if row is None else row.is_live
            if row is not None and row.proof_us >= read_clock(answer.requested_us)[0]:
                is_here = False  # it has come since: the mirror knows better
            return _extra(item, row) if is_here else None
        is_live = row is not None and row.is_live
        if (item.kind == "missing" and is_live) or (item.kind == "extra" and row is not None and not is_live):
            return None
        return Candidate(item.resource, item.object_id, item.scope_id, item.kind, item.fields, item.evidence)

    def _compare_pair(self, connection: Connection, source: str, item: DriftItem, answers: Answers) -> Candidate | None:
        group_id, user_id = item.object_id.split("/", 1)
        pair = self.store.pairs(connection, source, group_id, [user_id]).get(user_id)
        is_live = pair is not None and pair.is_live
        answer = answers.groups.get(user_id)
        is_there = item.kind == "missing" if answer is None else group_id in answer.group_ids
        if is_there and not is_live:
            return _pair_candidate(group_id, user_id, item.scope_id, "missing", pair)
        if is_live and not is_there:
            assert pair is not None
            if answer is not None and pair.add_us >= read_clock(answer.requested_us)[0]:
                return None
            return _pair_candidate(group_id, user_id, item.scope_id, "extra", pair)
        return None

    # -- why ---------------------------------------------------------------------------------------------------

    def _explain(self, connection: Connection, pass_: Pass, listing: Listing) -> Moved:
        """Read the next entries of the inbox, and keep with each item the newest that is about it."""
        entries = self.store.entries(connection, pass_.source, int(listing.cursor or 0))
        if not entries or not self.store.page(connection, pass_.row_id, "checked", 0, 1):
            return Moved(replace(listing, state="completed"), {})
        touches: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        copies: dict[tuple[str, str, str], Payload | None] = {}
        for seq, event_id, type_, body, received_ms, outcome, reason in entries:
            if body is None:
                continue
            try:
                event = kept_event(bytes(body), event_id, type_)
            except InvalidBody:
                continue
            observed = observe(event, event_id, received_ms, OPTIONAL)
            told = {"event": event_id, "outcome": outcome, "reason": reason, "seq": seq, "received_ms": received_ms}
            for one in observed.objects:
                copies[event_id, one.resource, one.key] = one.payload
                if one.kind != "embedded":
                    touches[one.resource, one.key].append(
                        {**told, "happened_us": one.clock[0], "is_end": one.kind == "delete"}
                    )
            if (edge := observed.edge) is not None:
                touches[edge.resource, "/".join(edge.keys)].append(
                    {**told, "happened_us": edge.clock[0], "is_end": edge.kind == "remove"}
                )
        items = self.store.about(connection, pass_.row_id, list(touches))
        edited = self._edited(connection, pass_.source, items, copies)
        self.store.put(
            connection,
            [
                replace(item, evidence=_with_touches(item, touches[item.resource, item.object_id], edited))
                for item in items
            ],
        )
        return Moved(replace(listing, state="confirming", cursor=str(entries[-1][0])), {"entries": len(entries)})

    def _edited(
        self,
        connection: Connection,
        source: str,
        items: Sequence[DriftItem],
        copies: Mapping[tuple[str, str, str], Payload | None],
    ) -> dict[int, bool]:
        """Of those that claim to be from an event in the inbox, whether they say something else than that."""
        asked = [item for item in items if (item.evidence.get("content"), item.resource, item.object_id) in copies]
        by_resource = defaultdict(list)
        for item in asked:
            by_resource[item.resource].append(item.object_id)
        rows = {
            (resource, id_): row
            for resource, ids in by_resource.items()
            for id_, row in self.store.rows(connection, resource, source, ids).items()
        }
        edited: dict[int, bool] = {}
        for item in asked:
            row = rows.get((item.resource, item.object_id))
            payload = copies[item.evidence["content"], item.resource, item.object_id]
            if row is not None and row.payload is not None and payload is not None:
                said = {name: value for name, value in payload.items() if name != "previous_attributes"}
                if row.content_event_id == item.evidence["content"]:
                    edited[item.row_id] = bool(differing(item.resource, row.payload, said))
        return edited

    def _judge(self, connection: Connection, pass_: Pass, listing: Listing, now_ms: int) -> Moved:
        """Name the causes of the next items; those that news explains are none."""
        if listing.state == "waiting":
            if pass_.directory_id is None:
                self.store.add_uncertain(connection, pass_, now_ms)
            return Moved(replace(listing, state="confirming"), {})
        items = self.store.page(connection, pass_.row_id, "checked", 0, ITEMS_AT_ONCE)
        if not items:
            return Moved(replace(listing, state="completed"), {})
        refusals = self.store.refusals(connection, pass_.source)
        ignored = self.store.ignored(connection, pass_.source, items)
        implied = self._implied(connection, pass_, items)
        dropped = [item for item in items if _is_in_flight(item) or item.row_id in implied]
        judged: list[DriftItem] = []
        for item in items:
            if _is_in_flight(item) or item.row_id in implied:
                continue
            refused = _refused(refusals, item)
            kind, fields, note = ignored.get((item.resource, item.object_id), ("", (), None))
            is_ignored = kind == item.kind and fields == item.fields
            judged.append(
                replace(
                    item,
                    cause=cause_of(_evidence(item, refused)),
                    evidence=_told(item, refused),
                    state="ignored" if is_ignored else "open",
                    note=note if is_ignored else None,
                    settled_ms=now_ms if is_ignored else None,
                )
            )
        self.store.put(connection, judged)
        self.store.remove(connection, dropped)
        kinds = Counter(item.kind if item.state == "open" else "ignored" for item in judged)
        return Moved(listing, {**kinds, "implied": len(implied), "in_flight": len(dropped) - len(implied)})

    def _implied(self, connection: Connection, pass_: Pass, items: Sequence[DriftItem]) -> set[int]:
        """Memberships that are too many only because the user is: they go with him, and are no difference beside it."""
        users = {
            item.row_id: item.object_id.split("/", 1)[1]
            for item in items
            if item.resource == _EDGE and item.kind == "extra" and not _is_in_flight(item)
        }
        gone = self.store.extra_of(connection, pass_.row_id, "directory_user", set(users.values()))
        return {row_id for row_id, user_id in users.items() if user_id in gone}


@dataclass(slots=True)
class GroupsOf:
    """The groups a user is in, as of the request for the first page of them."""

    group_ids: frozenset[str]
    requested_us: int


@dataclass(slots=True)
class Answers:
    """What the source says of single items. The one thing here that changes: it is filled before a transaction."""

    api: SourceApi
    objects: dict[tuple[str, str], Found | Gone] = field(default_factory=dict)
    groups: dict[str, GroupsOf] = field(default_factory=dict)
    requests: int = 0

    def ask(self, item: DriftItem) -> None:
        """Ask about an item unless that was done. Raises: SourceError."""
        if item.resource == _EDGE:
            user_id = item.object_id.split("/", 1)[1]
            if user_id not in self.groups:
                self.groups[user_id] = self._groups(user_id)
        elif (item.resource, item.object_id) not in self.objects and item.resource in RESOURCES:
            found = self.api.get(item.resource, item.object_id)
            self.requests += 1
            if isinstance(found, Found) and found.item.get("id") != item.object_id:
                raise SourceError("nonsense", f"{item.resource}: asked for one object, got another")
            self.objects[item.resource, item.object_id] = found

    def knows(self, item: DriftItem) -> bool:
        """Whether it was asked about it."""
        if item.resource == _EDGE:
            return item.object_id.split("/", 1)[1] in self.groups
        return (item.resource, item.object_id) in self.objects

    def _user(self, user_id: str) -> Found | Gone:
        self.requests += 1
        return self.api.get("directory_user", user_id)

    def _groups(self, user_id: str) -> GroupsOf:
        ids: set[str] = set()
        started_us: int | None = None
        after: str | None = None
        while True:
            try:
                page = self.api.page("directory_group", {"user": user_id}, after=after)
            except SourceError as error:
                if error.reason != "refused" or not isinstance(gone := self._user(user_id), Gone):
                    raise
                return GroupsOf(frozenset(), gone.requested_us)
            self.requests += 1
            started_us = page.requested_us if started_us is None else started_us
            new = {item["id"] for item in page.items} - ids
            if len(new) < len(page.items) or (page.after is not None and not page.items):
                raise SourceError("nonsense", "/directory_groups: a page leads to itself")
            ids |= new
            if page.after is None:
                return GroupsOf(frozenset(ids), started_us)
            after = page.after


def _compared(
    resource: str, id_: str, there: Mapping[str, Any], updated_us: int | None, row: _Row | None
) -> Candidate | None:
    """How an object differs from its row."""
    kind = RESOURCES[resource]
    scope_id = str(there.get("directory_id") or "") if resource in ("directory_user", "directory_group") else ""
    evidence: dict[str, Any] = {"source_us": updated_us}
    if row is None or not row.is_live or row.payload is None:
        return Candidate(resource, id_, scope_id, "missing", (), {**evidence, **_of_row(row)})
    names = [column for column, _ in kind.columns]
    said, wanted = kind.values(row.payload), kind.values(there)
    edited = [name for name, here, own in zip(names, row.columns, said, strict=True) if here != own]
    columns = [name for name, here, new in zip(names, row.columns, wanted, strict=True) if here != new]
    fields = sorted({*differing(resource, row.payload, there), *columns})
    if not fields:
        return None
    evidence |= {**_of_row(row), "content": row.content_event_id}
    if edited:
        evidence["edited"] = edited
    return Candidate(resource, id_, scope_id, "differs", tuple(fields), evidence)


def _of_row(row: _Row | None) -> dict[str, Any]:
    if row is None:
        return {"has_row": False}
    return {"has_row": True, "is_uncertain": "uncertain" in row.flags.split()}


def _extra(item: DriftItem, row: _Row | None) -> Candidate:
    evidence = {**_of_row(row), "since_us": None if row is None else row.proof_us}
    return Candidate(item.resource, item.object_id, item.scope_id, "extra", (), evidence)


def _pair_candidate(group_id: str, user_id: str, directory_id: str | None, kind: Kind, pair: _Pair | None) -> Candidate:
    evidence: dict[str, Any] = {"has_row": pair is not None}
    if pair is not None:
        evidence |= {"is_uncertain": "uncertain" in pair.flags.split(), "since_us": max(pair.add_us, 0)}
    return Candidate(_EDGE, f"{group_id}/{user_id}", directory_id or "", kind, (), evidence)


def _with_touches(item: DriftItem, touches: Sequence[Mapping[str, Any]], edited: Mapping[int, bool]) -> dict[str, Any]:
    """An item's evidence with the events about it that came next in the inbox."""
    evidence = dict(item.evidence)
    for touch in touches:
        if touch["outcome"] == "waiting" or touch["received_ms"] >= item.found_ms:
            evidence["in_flight"] = touch["event"]
        elif touch["outcome"] == "dead":
            evidence["dead"] = {"event": touch["event"], "reason": touch["reason"]}
        elif touch["outcome"] == "stale":
            evidence["lost"] = touch["event"]
        if touch["outcome"] != "dead" and touch["happened_us"] >= evidence.get("newest", {}).get("happened_us", -1):
            evidence["newest"] = dict(touch)
    if edited.get(item.row_id):
        evidence["edited"] = evidence.get("edited", []) or ["payload"]
    elif item.row_id in edited:
        evidence["is_as_told"] = True
    return evidence


def _is_in_flight(item: DriftItem) -> bool:
    return "in_flight" in item.evidence


def _since_ms(item: DriftItem) -> int:
    """From when on news of a difference would have come."""
    us = item.evidence.get("source_us")
    if us is None:
        us = item.evidence.get("since_us") or 0
    return int(us) // 1_000


def _refused(refusals: Sequence[tuple[int, str, int]], item: DriftItem) -> dict[str, int]:
    """What was refused from then on, by reason."""
    since_ms = _since_ms(item)
    total: Counter[str] = Counter()
    for _, reason, times in refusals[bisect_left(refusals, (since_ms - since_ms % 60_000,)) :]:
        total[reason] += times
    return dict(total.most_common())


def _evidence(item: DriftItem, refused: Mapping[str, int]) -> Evidence:
    known = item.evidence
    newest = known.get("newest", {})
    dead = known.get("dead")
    return Evidence(
        kind=item.kind,
        source_us=known.get("source_us"),
        is_edited=bool(known.get("edited")),
        has_row=bool(known.get("has_row")),
        is_as_told=bool(known.get("is_as_told")),
        is_uncertain=bool(known.get("is_uncertain")) or item.kind == "uncertain",
        event_id=newest.get("event"),
        event_us=newest.get("happened_us", -1),
        outcome=newest.get("outcome"),
        is_deletion=bool(newest.get("is_end")),
        dead_id=None if dead is None else dead["event"],
        lost_id=known.get("lost"),
        refused=tuple(refused),
    )


def _told(item: DriftItem, refused: Mapping[str, int]) -> dict[str, Any]:
    """The evidence as it is kept."""
    kept = ("source_us", "has_row", "is_uncertain", "edited", "dead", "lost", "newest", "asked_again")
    told = {name: item.evidence[name] for name in kept if item.evidence.get(name) is not None}
    return told | ({"refused": dict(refused)} if refused else {})


def _item(row: Sequence[Any]) -> DriftItem:
    (
        row_id, pass_id, source, resource, object_id, scope_id, kind, fields, cause, evidence, state, note, found_ms,
        settled_ms,
    ) = row  # fmt: skip
    return DriftItem(
        row_id,
        pass_id,
        source,
        resource,
        object_id,
        scope_id,
        kind,
        tuple(json.loads(fields)),
        cause,
        json.loads(evidence),
        state,
        note,
        found_ms,
        settled_ms,
    )
