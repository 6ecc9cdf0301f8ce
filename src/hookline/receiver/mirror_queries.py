"""Looking into the mirror: what it holds, what it held at a moment, and how an object came to be as it is.

For the command, the dashboard and whoever is on call. Nothing here writes, and nothing decides: `why.py` explains.
Give every function a connection that sees one moment (`Database.snapshot()`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from hookline.errors import ConfigError
from hookline.receiver.handlers import ChangeKind
from hookline.receiver.resources import EDGES, RESOURCES, decode
from hookline.storage import Connection, Verbs
from hookline.wire.catalogue import nearest

END: Final = 2**63 - 1
PAGE: Final = 50
ROWS_AT_ONCE: Final = 1_000

_CLOCKS: Final = ("content", "life", "death", "stub", "reduced")
_EDGE_CLOCKS: Final = ("add", "remove")


@dataclass(frozen=True, slots=True)
class ResourceCounts:
    """One resource in numbers: rows dead or alive, those that its view shows, those flagged uncertain."""

    resource: str
    table: str
    rows: int
    live: int
    uncertain: int


@dataclass(frozen=True, slots=True)
class Settled:
    """How far a resource is known to be as the source has it.

    Attributes:
        listings: how many complete listings of it there were, each of the newest counted: one, or one of each directory
            or group.
        oldest_us: the moment before which all of them have nothing left open, in the source's time; None without any.
        to_ask: of how many objects the source is still to be asked.
        drift: how many differences the newest dry run has found that are open.
    """

    resource: str
    listings: int
    oldest_us: int | None
    to_ask: int
    drift: int


@dataclass(frozen=True, slots=True)
class MirroredRow:
    """One row as people read it.

    Attributes:
        id: of a relation the two ids with a slash between.
        is_live: whether its view shows it.
        columns: the typed columns, in the order of the table.
        payload: the object as it is shown; None for relations.
        clocks: by name (`content`, `life`, `death`, `stub`, `reduced`; `add`, `remove` for relations), each
            (microseconds, event id), of those that were ever set.
        deleted_at: its own death, RFC 3339.
        flags: the odd things met: uncertain, clamped, weak, clock_regression.
    """

    resource: str
    id: str
    is_live: bool
    columns: Mapping[str, Any]
    payload: Mapping[str, Any] | None
    clocks: Mapping[str, tuple[int, str]]
    deleted_at: str | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PastChange:
    """One entry of the change feed. `cause` is the event, `cause_seq` its inbox entry; `changed_ms` is Unix time."""

    seq: int
    kind: ChangeKind
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    is_live: bool
    cause: str | None
    cause_seq: int | None
    changed_ms: int


class Difference(NamedTuple):
    """A field that two states of an object differ in; None also where one of them has no such field."""

    field: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[Difference, ...]:
    """In which fields two states of an object differ, in order of their names; all of them where there was none."""
    one, other = before or {}, after or {}
    return tuple(
        Difference(name, one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    )


@dataclass(frozen=True, slots=True)
class WaitingWalk:
    """A walk over what hangs on an object, by which handlers hear of what its end or return means there.

    Attributes:
        cause: the event.
        created_ms: since when it is waiting.
        tries: how often it failed where it stands; 0: it goes on as soon as a worker comes to it.
        due_ms: when it is tried again, where it failed; 0: as soon as a worker comes to it.
        error: class and place of the last failure.
        child: JSON [table, its key]: the only child it is about, since it failed on that; None: all that are left.
    """

    resource: str
    id: str
    cause: str | None
    created_ms: int
    tries: int
    due_ms: int
    error: str | None
    child: str | None


class MirrorQueries:
    """Reads one source's mirror, on any connection."""

    def __init__(self, verbs: Verbs, source: str = "default") -> None:
        self._verbs = verbs
        self.source = source

    def counts(self, connection: Connection, *, most: int = END) -> list[ResourceCounts]:
        """Every resource in numbers, parents first; no number is counted beyond `most`."""
        found = []
        for name, table in _tables().items():
            verb = self._verbs.filled("each", "mirror_counts", {"table": table})
            ((rows, live, uncertain),) = verb.run(connection, {"source": self.source, "most": most})
            found.append(ResourceCounts(name, table, rows, live, uncertain))
        return found

    def settled(self, connection: Connection) -> dict[str, Settled]:
        """How far each resource is known to be as the source has it."""
        named = {"source": self.source, "resources": json.dumps(list(_tables()))}
        return {row[0]: Settled(*row) for row in self._verbs["mirror_settled"].run(connection, named)}

    def walks(self, connection: Connection, *, limit: int = PAGE) -> list[WaitingWalk]:
        """The walks that are not finished, those that fail first."""
        rows = self._verbs["cascades_list"].run(connection, {"source": self.source, "limit": limit})
        return [WaitingWalk(*row) for row in rows]

    def rows(
        self, connection: Connection, resource: str, *, after: str = "", limit: int = PAGE, is_live: bool = True
    ) -> list[Mapping[str, Any]]:
        """The typed columns of the next rows after an id, in order of id; of what is alive, or of all.

        Raises: ConfigError: no such resource.
        """
        key, columns = key_of(resource), column_names(resource)
        words = {
            "table": _tables()[resource] + ("_live" if is_live else ""),
            "columns": ", ".join(columns),
            "key": ", ".join(key),
            "after": ", ".join((":one", ":other")[: len(key)]),
        }
        one, other = parted(resource, after)
        named = {"source": self.source, "one": one, "other": other, "limit": limit}
        found = self._verbs.filled("each", "mirror_page", words).run(connection, named)
        return [dict(zip(columns, row, strict=True)) for row in found]

    def all_rows(self, connection: Connection, resource: str, *, is_live: bool = True) -> Iterator[Mapping[str, Any]]:
        """All of `rows`, page by page: give it a snapshot."""
        after = ""
        key = key_of(resource)
        while page := self.rows(connection, resource, after=after, limit=ROWS_AT_ONCE, is_live=is_live):
            yield from page
            after = "/".join(str(page[-1][column]) for column in key)

    def row(self, connection: Connection, resource: str, id_: str) -> MirroredRow | None:
        """One row, dead or alive; None where nothing was ever heard of it.

        Raises: ConfigError: no such resource.
        """
        key, typed = key_of(resource), _columns(resource)
        is_edge = resource in EDGES
        clocks = _EDGE_CLOCKS if is_edge else _CLOCKS
        columns = (
            *typed,
            "null" if is_edge else "payload",
            *(f"{clock}_{part}" for clock in clocks for part in ("us", "event_id")),
            "deleted_at",
            "flags",
        )
        words = {
            "table": _tables()[resource],
            "columns": ", ".join(columns),
            "same": " and ".join(f"l.{column} = r.{column}" for column in key),
            "key": " and ".join(f"r.{column} = :{name}" for column, name in zip(key, ("one", "other"), strict=False)),
        }
        one, other = parted(resource, id_)
        found = self._verbs.filled("each", "mirror_row", words).run(
            connection, {"source": self.source, "one": one, "other": other}
        )
        for is_live, *values in found:
            at = len(typed)
            pairs = [tuple(values[at + 1 + 2 * n : at + 3 + 2 * n]) for n in range(len(clocks))]
            return MirroredRow(
                resource,
                id_,
                bool(is_live),
                dict(zip(typed, values, strict=False)),
                decode(values[at]),
                {clock: (us, event_id) for clock, (us, event_id) in zip(clocks, pairs, strict=True) if us >= 0},
                values[-2],
                tuple(values[-1].split()),
            )
        return None

    def find(self, connection: Connection, id_: str) -> list[str]:
        """The resources that have a row of this id."""
        return [name for name in _tables() if self.row(connection, name, id_) is not None]

    def history(
        self,
        connection: Connection,
        resource: str,
        id_: str,
        *,
        before_seq: int = END,
        until_ms: int = END,
        limit: int = PAGE,
    ) -> list[PastChange]:
        """The newest changes of one object before a place in the feed and up to a moment, newest first."""
        rows = self._verbs["changes_of"].run(
            connection,
            {
                "source": self.source,
                "resource": resource,
                "object_id": id_,
                "before_seq": before_seq,
                "until_ms": until_ms,
                "limit": limit,
            },
        )
        return [
            PastChange(seq, kind, decode(before), decode(after), bool(is_live), cause, cause_seq, changed_ms)
            for seq, kind, before, after, is_live, cause, cause_seq, changed_ms in rows
        ]

    def as_of(
        self, connection: Connection, resource: str, id_: str, *, seq: int | None = None, as_of_ms: int | None = None
    ) -> PastChange | None:
        """The change that was the object's last at a moment, or at a place in the feed; its `after` is what was shown.

        None: no handler had heard of it then. An object known from an embedded copy alone is shown without that.
        """
        found = self.history(
            connection,
            resource,
            id_,
            before_seq=END if seq is None else seq + 1,
            until_ms=END if as_of_ms is None else as_of_ms,
            limit=1,
        )
        return found[0] if found else None


def check_resource(resource: str) -> None:
    """ConfigError, naming the nearest one, unless this is a mirrored resource or relation."""
    if resource not in _tables():
        near = nearest(resource, _tables())
        hint = f": did you mean {near!r}?" if near else f"; there are {', '.join(_tables())}"
        raise ConfigError("resource", f"expected a mirrored resource, got {resource!r}{hint}")


def column_names(resource: str) -> tuple[str, ...]:
    """The columns of `MirrorQueries.rows`, in order. ConfigError: no such resource."""
    key = key_of(resource)
    return (*key, *(column for column in _columns(resource) if column not in key))


def _tables() -> dict[str, str]:
    return {one.name: one.table for one in RESOURCES.values()} | {one.name: one.table for one in EDGES.values()}


def key_of(resource: str) -> tuple[str, ...]:
    """The columns that name a row besides its source: one, or two of a relation. ConfigError: no such resource."""
    check_resource(resource)
    edge = EDGES.get(resource)
    return ("id",) if edge is None else tuple(column for _, column in edge.ends)


def _columns(resource: str) -> tuple[str, ...]:
    edge = EDGES.get(resource)
    if edge is None:
        return tuple(column for column, _ in RESOURCES[resource].columns)
    return tuple(column for _, column in (*edge.ends, *([edge.scope] if edge.scope else [])))


def table_of(resource: str) -> str:
    """The table of a resource. ConfigError: no such resource."""
    check_resource(resource)
    return _tables()[resource]


def parents_of(resource: str) -> tuple[tuple[str, str], ...]:
    """(resource, column) of what a row hangs on. ConfigError: no such resource."""
    check_resource(resource)
    edge = EDGES.get(resource)
    if edge is None:
        return tuple(RESOURCES[resource].parents)
    return (*edge.ends, *([edge.scope] if edge.scope else []))


def parted(resource: str, id_: str) -> tuple[str, str]:
    """An id as the values of the key's columns; '' for the second where there is but one."""
    if resource not in EDGES:
        return id_, ""
    one, _, other = id_.partition("/")
    return one, other
