"""Passes as rows: what each reads, where it stands, what it saw.

Decides nothing (passes.py and listing.py do) and opens no transaction: every function runs on the connection it is
given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from hookline.receiver.mirror_store import Scope
from hookline.receiver.resources import DIRECTORY_MEMBERSHIP, EDGES, RESOURCES
from hookline.rules.merge import Clock
from hookline.storage import Connection, Verbs

Kind: TypeAlias = Literal["backfill", "reconcile"]
Mode: TypeAlias = Literal["dry_run", "apply"]
PassState: TypeAlias = Literal["running", "stopped", "completed", "canceled"]
ScopeState: TypeAlias = Literal["waiting", "listing", "confirming", "closing", "completed", "dropped"]
Counts: TypeAlias = Mapping[str, int]

# What is listed, in this order; then what a dry run does with the differences.
CHECK: Final = "check"
EXPLAIN: Final = "explain"
JUDGE: Final = "judge"
RANKS: Final[Mapping[str, int]] = {
    name: rank
    for rank, name in enumerate(
        (
            "organization",
            "directory",
            "directory_user",
            "directory_group",
            DIRECTORY_MEMBERSHIP.name,
            CHECK,
            EXPLAIN,
            JUDGE,
        )
    )
}
# So many passes of a source, and what they found, are kept.
KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Pass:
    """A reading of all that a source lists, or of one directory.

    Attributes:
        counts: what it did so far: `requests`, `objects` and `edges` read, and by mode `changes`, `died`, `removed`, or
            `candidates`, `in_flight`, and the kinds of drift.
        reason: why it stopped, or what it waits for.
        tries: how often in a row the source did not answer.
        started_us: the source's time at its first request. All else are Unix milliseconds.
    """

    row_id: int
    source: str
    kind: Kind
    mode: Mode
    directory_id: str | None
    allow_mass_delete: bool
    state: PassState
    reason: str | None
    counts: Counts
    asked_by: str
    created_ms: int
    started_us: int | None
    updated_ms: int
    finished_ms: int | None
    due_ms: int
    tries: int


@dataclass(frozen=True, slots=True)
class Listing:
    """One of the listings of a pass, as it stands (the columns of `hookline_pass_scopes`)."""

    resource: str
    scope_id: str
    rank: int
    directory_id: str | None
    state: ScopeState = "waiting"
    cursor: str | None = None
    started_us: int | None = None
    seen: int = 0
    live: int | None = None
    died: int = 0

    @property
    def scope(self) -> Scope:
        """What it lists, as the mirror calls it."""
        return Scope(self.resource, self.scope_id)


class ListingCounts(NamedTuple):
    """The listings of one resource in one state: how many, what they showed, what the mirror had of it."""

    resource: str
    state: ScopeState
    listings: int
    seen: int
    live: int


class Moved(NamedTuple):
    """What a step of a pass did: where its listing stands now, and what is to be added to the counts."""

    listing: Listing
    counts: Counts


def listing_of(resource: str, scope_id: str = "", directory_id: str | None = None) -> Listing:
    """A listing that has not begun."""
    return Listing(resource, scope_id, RANKS[resource], directory_id)


class PassStore:
    """The verbs of passes, compiled for one dialect."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs

    # -- passes ------------------------------------------------------------------------------------------------

    def add(
        self,
        connection: Connection,
        source: str,
        kind: Kind,
        mode: Mode,
        *,
        directory_id: str | None,
        allow_mass_delete: bool,
        asked_by: str,
        now_ms: int,
    ) -> int:
        """A new pass, running; its number."""
        named = {
            "source": source,
            "kind": kind,
            "mode": mode,
            "directory_id": directory_id,
            "allow_mass_delete": int(allow_mass_delete),
            "asked_by": asked_by,
            "now_ms": now_ms,
        }
        return int(self._verbs["passes_add"].run(connection, named)[0][0])

    def next(self, connection: Connection, source: str) -> Pass | None:
        """The oldest running pass of a source."""
        rows = self._verbs["passes_next"].run(connection, {"source": source})
        return _pass(rows[0]) if rows else None

    def read(self, connection: Connection, pass_id: int) -> Pass | None:
        """One pass."""
        rows = self._verbs["passes_read"].run(connection, {"row_id": pass_id})
        return _pass(rows[0]) if rows else None

    def newest(self, connection: Connection, source: str | None, limit: int) -> list[Pass]:
        """The newest passes of a source, or of all."""
        return [_pass(row) for row in self._verbs["passes_list"].run(connection, {"source": source, "limit": limit})]

    def move(
        self, connection: Connection, pass_: Pass, counts: Counts, *, started_us: int | None, now_ms: int, due_ms: int
    ) -> bool:
        """Note how far it has come; False where somebody ended it meanwhile."""
        named = {
            "row_id": pass_.row_id,
            "counts": json.dumps(counts),
            "started_us": started_us,
            "now_ms": now_ms,
            "due_ms": due_ms,
        }
        return self._verbs["passes_move"].count(connection, named) == 1

    def wait(
        self, connection: Connection, pass_: Pass, counts: Counts, reason: str, *, now_ms: int, due_ms: int
    ) -> None:
        """Let it wait until `due_ms`."""
        named = {
            "row_id": pass_.row_id,
            "reason": reason,
            "counts": json.dumps(counts),
            "now_ms": now_ms,
            "due_ms": due_ms,
        }
        self._verbs["passes_wait"].run(connection, named)

    def end(
        self, connection: Connection, pass_: Pass, state: PassState, reason: str | None, counts: Counts, now_ms: int
    ) -> bool:
        """End it, completed or stopped; False where somebody ended it meanwhile."""
        named = {
            "row_id": pass_.row_id,
            "state": state,
            "reason": reason,
            "counts": json.dumps(counts),
            "now_ms": now_ms,
        }
        return self._verbs["passes_end"].count(connection, named) == 1

    def cancel(self, connection: Connection, pass_id: int, reason: str, now_ms: int) -> bool:
        """End it for good and forget what it saw; False where it has ended."""
        named = {"row_id": pass_id, "reason": reason, "now_ms": now_ms}
        if self._verbs["passes_cancel"].count(connection, named) != 1:
            return False
        self.forget_all_seen(connection, pass_id)
        return True

    def resume(self, connection: Connection, pass_id: int, *, allow_mass_delete: bool, now_ms: int) -> bool:
        """Let it go on now; False where it has ended."""
        named = {"row_id": pass_id, "allow_mass_delete": int(allow_mass_delete), "now_ms": now_ms}
        return self._verbs["passes_resume"].count(connection, named) == 1

    def supersede(
        self, connection: Connection, pass_id: int, source: str, directory_id: str | None, now_ms: int
    ) -> None:
        """Cancel what stopped and would read nothing that this new pass does not, and forget what is old."""
        named = {"source": source, "row_id": pass_id, "directory_id": directory_id}
        for (stopped,) in self._verbs["passes_stopped"].run(connection, named):
            self.cancel(connection, stopped, f"pass {pass_id} was begun instead", now_ms)
        old = [row_id for (row_id,) in self._verbs["passes_old"].run(connection, {"source": source, "kept": KEPT})]
        if old:
            forgotten = {"pass_ids": json.dumps(old)}
            for verb in ("drift_forget", "pass_seen_end", "pass_scopes_forget", "passes_forget"):
                self._verbs[verb].run(connection, forgotten)

    def last_begun_ms(self, connection: Connection, source: str) -> int | None:
        """When the last whole pass that puts things right began."""
        rows = self._verbs["passes_last"].run(connection, {"source": source})
        return int(rows[0][0]) if rows else None

    def running(self, connection: Connection, source: str) -> int:
        """How many passes of a source are running."""
        return int(self._verbs["passes_running"].run(connection, {"source": source})[0][0])

    # -- listings ----------------------------------------------------------------------------------------------

    def add_listings(self, connection: Connection, pass_id: int, listings: Sequence[Listing]) -> None:
        """Add listings, each once."""
        rows = [(pass_id, one.resource, one.scope_id, one.rank, one.directory_id) for one in listings]
        self._verbs["pass_scopes_add"].run_many(connection, rows)

    def next_listing(self, connection: Connection, pass_id: int) -> Listing | None:
        """The listing that a pass is at; None: it is through."""
        rows = self._verbs["pass_scopes_next"].run(connection, {"pass_id": pass_id})
        return Listing(*rows[0]) if rows else None

    def move_listing(self, connection: Connection, pass_id: int, listing: Listing) -> None:
        """Note where a listing stands."""
        named = {
            "pass_id": pass_id,
            "resource": listing.resource,
            "scope_id": listing.scope_id,
            "state": listing.state,
            "cursor": listing.cursor,
            "started_us": listing.started_us,
            "seen": listing.seen,
            "live": listing.live,
            "died": listing.died,
        }
        self._verbs["pass_scopes_move"].run(connection, named)

    def drop_listings(self, connection: Connection, pass_id: int, directory_id: str) -> None:
        """Drop what is in a directory that is gone."""
        self._verbs["pass_scopes_drop"].run(connection, {"pass_id": pass_id, "directory_id": directory_id})

    def listings(self, connection: Connection, pass_id: int) -> list[ListingCounts]:
        """The listings of a pass in numbers."""
        return [
            ListingCounts(resource, state, listings, int(seen), int(live))
            for resource, state, listings, seen, live in self._verbs["pass_scopes_counts"].run(
                connection, {"pass_id": pass_id}
            )
        ]

    # -- what they showed --------------------------------------------------------------------------------------

    def see(self, connection: Connection, pass_id: int, listing: Listing, ids: Sequence[str]) -> int:
        """Note what a page showed; how much of it the listing had not shown before."""
        rows = [(pass_id, listing.resource, listing.scope_id, id_) for id_ in ids]
        return len(self._verbs["pass_seen_add"].run_many(connection, rows))

    def seen_page(self, connection: Connection, pass_id: int, listing: Listing, after: str, limit: int) -> list[str]:
        """What a listing showed, in order of the ids."""
        named = {**_named(pass_id, listing), "after": after, "limit": limit}
        return [id_ for (id_,) in self._verbs["pass_seen_page"].run(connection, named)]

    def seen_of(self, connection: Connection, pass_id: int, listing: Listing, ids: Sequence[str]) -> set[str]:
        """Those of these that a listing showed."""
        named = {**_named(pass_id, listing), "ids": json.dumps(list(ids))}
        return {id_ for (id_,) in self._verbs["pass_seen_of"].run(connection, named)}

    def forget_all_seen(self, connection: Connection, pass_id: int) -> None:
        """Forget what the listings of a pass showed."""
        self._verbs["pass_seen_end"].run(connection, {"pass_ids": json.dumps([pass_id])})

    def forget_seen(self, connection: Connection, pass_id: int, listing: Listing) -> None:
        """Forget what a listing showed."""
        self._verbs["pass_seen_forget"].run(connection, _named(pass_id, listing))

    # -- beside the mirror -------------------------------------------------------------------------------------

    def touched(
        self, connection: Connection, pass_: Pass, listing: Listing, floor: Clock, after: str, limit: int
    ) -> list[str]:
        """What lives by evidence no older than a listing that did not show it; of a group the ids of its users."""
        edge = EDGES.get(listing.resource)
        if edge is not None:
            verb = self._verbs.filled("each", "pass_touched_edges", {"table": edge.table})
        else:
            words = {"table": RESOURCES[listing.resource].table, "within": _within(listing, "t")}
            verb = self._verbs.filled("each", "pass_touched", words)
        named = {
            **_named(pass_.row_id, listing),
            "source": pass_.source,
            "after": after,
            "floor_us": floor[0],
            "floor_event_id": floor[1],
            "limit": limit,
        }
        return [id_ for (id_,) in verb.run(connection, named)]

    def orphans(
        self, connection: Connection, source: str, listing: Listing, floor: Clock, after: str, limit: int
    ) -> list[str]:
        """Ids that living rows name as what they are in, and of which nothing was ever heard: no row stands for them,
        so `unseen` does not show them. Whatever has a child that was heard of since the floor was there since, too.
        """
        found: set[str] = set()
        for child, column, proof in _CHILDREN.get(listing.resource, ()):
            words = {
                "column": column,
                "child": child,
                "proof": proof,
                "table": RESOURCES[listing.resource].table,
                "within": _within(listing, "c"),
            }
            named = {
                "source": source,
                "scope_id": listing.scope_id,
                "floor_us": floor[0],
                "after": after,
                "limit": limit,
            }
            found.update(
                id_ for (id_,) in self._verbs.filled("each", "pass_orphans", words).run(connection, named) if id_
            )
        return sorted(found)[:limit]

    def known(self, connection: Connection, resource: str, source: str, ids: Sequence[str]) -> dict[str, str | None]:
        """When those of these objects that are shown were last changed."""
        verb = self._verbs.filled("each", "pass_known", {"table": RESOURCES[resource].table})
        return dict(verb.run(connection, {"source": source, "ids": json.dumps(list(ids))}))


# By what is listed: (table, column, what it lives by) of what can name one that nobody has heard of.
_CHILDREN: Final[Mapping[str, Sequence[tuple[str, str, str]]]] = {
    "organization": [(RESOURCES["directory"].table, "organization_id", "proof_us")],
    "directory": [
        (RESOURCES["directory_user"].table, "directory_id", "proof_us"),
        (RESOURCES["directory_group"].table, "directory_id", "proof_us"),
    ],
    "directory_group": [(DIRECTORY_MEMBERSHIP.table, "group_id", "add_us")],
}


def _within(listing: Listing, table: str) -> str:
    return f"{table}.directory_id = :scope_id" if listing.scope_id else "1 = 1"


def _named(pass_id: int, listing: Listing) -> dict[str, Any]:
    return {"pass_id": pass_id, "resource": listing.resource, "scope_id": listing.scope_id}


def _pass(row: Sequence[Any]) -> Pass:
    row_id, source, kind, mode, directory_id, allow, state, reason, counts, *rest = row
    return Pass(row_id, source, kind, mode, directory_id, bool(allow), state, reason, json.loads(counts), *rest)
