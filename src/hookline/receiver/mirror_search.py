"""Finding rows in a large mirror, in order of their ids: by an index where there is one, else by looking through so
many rows and no more, and saying how many.

Ids and what rows hang on are indexed, and so are rows in doubt; names and addresses are not, since every change would
pay for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from hookline.errors import ConfigError
from hookline.receiver.mirror_queries import PAGE, MirrorQueries, column_names, key_of, parents_of, parted, table_of
from hookline.storage import Connection, Verbs

Shown: TypeAlias = Literal["live", "dead", "uncertain"]

# Columns that people know an object by, besides its id.
NAMES: Final = (
    "email", "first_name", "last_name", "username", "name", "domain", "slug", "external_id", "idp_id", "external_key",
)  # fmt: skip
LOOKED_MOST: Final = 10_000
LOOKED_AT_ONCE: Final = 1_000
# No character of an id comes after this one.
_LAST: Final = "\U0010ffff"
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class MirrorFilter:
    """Which rows; what is None selects nothing away.

    Attributes:
        text: the beginning of an id or, where no id begins so, any part of a name or an address.
        shown: `live`, `dead` (known, and not shown), or `uncertain`.
        parent_id: what they hang on, in any of the resource's columns for that.
    """

    text: str | None = None
    shown: Shown | None = None
    parent_id: str | None = None


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row of a list. `id` is as `MirroredRow.id`."""

    id: str
    columns: Mapping[str, Any]
    is_live: bool
    deleted_at: str | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MirrorPage:
    """A page of rows.

    Attributes:
        rows: in order of their ids.
        next_id: go on after this id; None: that was all.
        looked: how many rows were looked through where no index led to them, to the last of this page at least.
    """

    rows: tuple[FoundRow, ...]
    next_id: str | None
    looked: int = 0


@dataclass(frozen=True, slots=True)
class Mirrored:
    """One source's mirror at one moment: how it is read, how it is searched, and the connection that sees it."""

    queries: MirrorQueries
    search: MirrorSearch
    connection: Connection

    @classmethod
    def of(cls, verbs: Verbs, source: str, connection: Connection) -> Mirrored:
        """By these verbs, on a connection."""
        return cls(MirrorQueries(verbs, source), MirrorSearch(verbs, source), connection)


class MirrorSearch:
    """Looks through the mirror of one source."""

    def __init__(self, verbs: Verbs, source: str) -> None:
        self._verbs = verbs
        self._source = source

    def page(
        self,
        connection: Connection,
        resource: str,
        wanted: MirrorFilter,
        *,
        after: str = "",
        limit: int = PAGE,
        most: int = LOOKED_MOST,
    ) -> MirrorPage:
        """The next rows after an id.

        Args:
            most: look through so many at most.

        Raises: ConfigError: no such resource, or one that hangs on nothing though `parent_id` is given.
        """
        by_index, looking, named = self._filters(connection, resource, wanted)
        found: list[FoundRow] = []
        looked = 0
        while True:
            end: str | None = None
            if looking:
                end = self._end_of_part(connection, resource, by_index, named, after)
            more = limit + 1 - len(found)
            found += self._part(connection, resource, [*by_index, *looking], named, after, end, more)
            if len(found) > limit:
                return MirrorPage(tuple(found[:limit]), found[limit - 1].id, looked)
            if end is None:
                return MirrorPage(tuple(found), None, looked)
            looked += LOOKED_AT_ONCE
            after = end
            if looked >= most:
                return MirrorPage(tuple(found), after, looked)

    # -- the inside --------------------------------------------------------------------------------------------

    def _filters(
        self, connection: Connection, resource: str, wanted: MirrorFilter
    ) -> tuple[list[str], list[str], dict[str, Any]]:
        """What an index answers, what is to be looked at row by row, and the values of both."""
        by_index: list[str] = []
        looking: list[str] = []
        named: dict[str, Any] = {"source": self._source}
        if wanted.parent_id is not None:
            columns = [column for _, column in parents_of(resource)]
            if not columns:
                raise ConfigError("parent", f"a {resource} hangs on nothing")
            named["parent_id"] = wanted.parent_id
            # One column, since an index answers for one: the first in which the id is found.
            ways = [f"r.{column} = :parent_id" for column in columns]
            held = (way for way in ways if self._part(connection, resource, [way], named, "", None, 1))
            by_index.append(next(held, ways[0]))
        if wanted.shown == "uncertain":
            by_index.append("r.flags <> '' and r.flags like '%uncertain%'")
        elif wanted.shown is not None:
            which = "exists" if wanted.shown == "live" else "not exists"
            live = f"select 1 from {table_of(resource)}_live v where v.source = r.source and {_same(resource, 'v')}"
            # Row by row, as in mirror_find.sql.
            live += " limit 1 offset 0"
            looking.append(f"{which} ({live})")
        if wanted.text:
            first = key_of(resource)[0]
            prefix = [f"r.{first} >= :text", f"r.{first} < :text_end"]
            named |= {"text": wanted.text, "text_end": wanted.text + _LAST}
            if self._part(connection, resource, prefix, named, "", None, 1):
                by_index += prefix
            else:
                names = [name for name in NAMES if name in column_names(resource)]
                likes = [f"lower(r.{name}) like :like escape '\\'" for name in names]
                looking.append(f"({' or '.join(likes) or '1 = 0'})")
                named["like"] = _like(wanted.text)
        return by_index, looking, named

    def _part(
        self,
        connection: Connection,
        resource: str,
        filters: Sequence[str],
        named: Mapping[str, Any],
        after: str,
        end: str | None,
        limit: int,
    ) -> list[FoundRow]:
        columns = column_names(resource)
        stretch, places = _stretch(resource, after, end)
        words = {
            **self._words(resource, [*stretch, *filters]),
            "columns": ", ".join(f"r.{column}" for column in columns),
            "same": _same(resource, "l"),
        }
        rows = self._verbs.filled("each", "mirror_find", words).run(connection, {**named, **places, "limit": limit})
        found = []
        for *values, deleted_at, flags, is_live in rows:
            of = dict(zip(columns, values, strict=True))
            id_ = "/".join(str(of[column]) for column in key_of(resource))
            found.append(FoundRow(id_, of, bool(is_live), deleted_at, tuple(flags.split())))
        return found

    def _end_of_part(
        self, connection: Connection, resource: str, filters: Sequence[str], named: Mapping[str, Any], after: str
    ) -> str | None:
        """The id of the last row of the next part; None where that is the last one."""
        stretch, places = _stretch(resource, after, None)
        verb = self._verbs.filled("each", "mirror_place", self._words(resource, [*stretch, *filters]))
        rows = verb.run(connection, {**named, **places, "offset": LOOKED_AT_ONCE - 1})
        return "/".join(rows[0]) if rows else None

    def _words(self, resource: str, filters: Sequence[str]) -> dict[str, str]:
        return {
            "table": table_of(resource),
            "key": ", ".join(f"r.{column}" for column in key_of(resource)),
            "filters": " and ".join(filters),
        }


def _stretch(resource: str, after: str, end: str | None) -> tuple[list[str], dict[str, str]]:
    """The condition for what lies after one id and not after another, and its values."""
    key = key_of(resource)
    row = ", ".join(f"r.{column}" for column in key)
    one, other = parted(resource, after)
    places = {"one": one, "other": other}
    conditions = [f"({row}) > ({', '.join((':one', ':other')[: len(key)])})"]
    if end is not None:
        places["end_one"], places["end_other"] = parted(resource, end)
        conditions.append(f"({row}) <= ({', '.join((':end_one', ':end_other')[: len(key)])})")
    return conditions, places


def _same(resource: str, letter: str) -> str:
    return " and ".join(f"{letter}.{column} = r.{column}" for column in key_of(resource))


def _like(text: str) -> str:
    # As the databases' `lower` does it: ASCII alone.
    escaped = "".join(f"\\{char}" if char in "\\%_" else char for char in text.translate(_LOWER))
    return f"%{escaped}%"
