"""Which statements a call runs, how a database means to run them, and which tables it would read from end to end."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from hookline.storage import Connection, Dialect
from hookline.storage.verbs import Verb

_NAMED = re.compile(
    r"\b(?:from|join)\s+(hookline_\w+)(?:\s+(?:as\s+)?(?!where|on|join|cross|left|order|limit|union)(\w+))?"
)
_SCAN = re.compile(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?")
_VIEW: Final = re.compile(r"create view (\w+)", re.IGNORECASE)
_LIMIT: Final = re.compile(r"\blimit\b")
# Indexes of a part of the rows that is nearly all of them. Others hold what is rare or open.
_NEARLY_WHOLE: Final = frozenset(
    {
        "hookline_runs_change",
        "hookline_runs_entry",
        "hookline_sender_deliveries_published",
        "hookline_sender_events_kept",
        "hookline_sender_events_object",
        "hookline_sender_events_organization",
    }
)
_PARTIAL: Final = {
    "sqlite": "select name from sqlite_master where type = 'index' and lower(sql) glob '*[ ' || char(10) || ']where *'",
    "postgres": "select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid where i.indpred is not null",
}
_VIEWS: Final = "select sql from sqlite_master where type = 'view'"


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement and the values it was run with."""

    sql: str
    values: tuple[Any, ...]


@contextlib.contextmanager
def recorded() -> Iterator[list[Asked]]:
    """The statements that verbs run on any thread until the block ends, in their order."""
    asked: list[Asked] = []
    run = Verb._execute

    def execute(connection: Connection, text: str, values: list[Any]) -> Any:
        asked.append(Asked(text, tuple(values)))
        return run(connection, text, values)

    with mock.patch.object(Verb, "_execute", staticmethod(execute)):
        yield asked


@dataclass(frozen=True, slots=True)
class Plan:
    """How a database means to run a statement.

    Attributes:
        steps: in short, in the order in which it tells them.
        whole: tables that are read from end to end, or along an index from end to end with no limit to it.
    """

    steps: tuple[str, ...]
    whole: frozenset[str]


class Planner:
    """Asks one database for plans, on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect
        self._few = {row[0] for row in self._rows(_PARTIAL[dialect])} - _NEARLY_WHOLE
        self._views = [row[0] for row in self._rows(_VIEWS)] if dialect == "sqlite" else []

    def explain(self, asked: Asked) -> Plan:
        """The plan of a statement with its values. Nothing is run."""
        if self._dialect == "postgres":
            top = self._rows(f"explain (format json) {asked.sql}", asked.values)[0][0][0]["Plan"]
            steps = tuple(_step(node) for node in _nodes(top))
            return Plan(steps, frozenset(_read_whole(top, self._few, is_limited=False)))
        told = tuple(row[3] for row in self._rows(f"explain query plan {asked.sql}", asked.values))
        return Plan(told, frozenset(_scanned(told, asked.sql, self._views, self._few)))

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        cursor = self._connection.cursor()
        cursor.execute(sql, values)
        rows: list[Any] = cursor.fetchall()
        cursor.close()
        return rows


def _scanned(steps: Collection[str], sql: str, views: Collection[str], few: Collection[str]) -> Iterator[str]:
    """The tables behind SQLite's SCANs, which name them by the letters that statements and their views give them."""
    letters = _letters(sql)
    for view in views:
        if _VIEW.search(view)[1] in sql:  # type: ignore[index]  # every view has a name
            for letter, tables in _letters(view).items():
                letters.setdefault(letter, set()).update(tables)
    for step in steps:
        found = _SCAN.match(step)
        if found is None or "VIRTUAL TABLE" in step or found[2] in few:
            continue
        if found[2]:
            has_end = _LIMIT.search(sql)
        else:
            # In the order of its numbers, which are the table itself.
            has_end = re.search(rf"order by {found[1]}\.(?:seq|row_id)(?: desc)?\s+limit", sql)
        if not has_end:
            yield from letters.get(found[1], set())


def _letters(sql: str) -> dict[str, set[str]]:
    letters: dict[str, set[str]] = {}
    for table, letter in _NAMED.findall(sql):
        letters.setdefault(letter or table, set()).add(table)
    return letters


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _step(node: dict[str, Any]) -> str:
    parts = [node["Node Type"]]
    if "Index Name" in node:
        parts.append(node["Index Name"])
    elif "Relation Name" in node:
        parts.append(f"on {node['Relation Name']}")
    return " ".join(parts)


def _read_whole(node: dict[str, Any], few: Collection[str], *, is_limited: bool) -> Iterator[str]:
    """The tables of nodes that have nothing to begin at and nothing to end them."""
    kind = node["Node Type"]
    is_limited = is_limited or kind == "Limit"
    # Who sorts, hashes or counts wants all that comes from below, whatever the limit above.
    below_limited = is_limited and kind not in ("Sort", "Incremental Sort", "Hash", "Aggregate", "Materialize")
    is_open = "Index Cond" not in node and node.get("Index Name") not in few
    if kind == "Seq Scan" or (kind in ("Index Scan", "Index Only Scan") and is_open and not is_limited):
        yield node["Relation Name"]
    for below in node.get("Plans", ()):
        yield from _read_whole(below, few, is_limited=below_limited)
