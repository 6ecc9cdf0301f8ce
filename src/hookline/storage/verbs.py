"""SQL as verbs: one `.sql` file per transition, `:named` parameters, compiled once per driver.

A file's first line is a comment that says what the statement guarantees. A verb that writes many rows marks
its row template, and the compiler repeats it in power-of-two sizes, so that a driver's statement cache holds a
handful of texts:

    -- Keeps each entry once.
    insert into t (a, b) values /*rows*/ (:a, :b) on conflict do nothing returning a

One verb for many like tables is one file in a folder of `sql/`, with `{words}` for what differs (`Verbs.filled`).

No casts with two colons: a colon followed by a name is a parameter. Knows no table of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from operator import itemgetter
from typing import Any, Literal, Protocol, TypeAlias

Row: TypeAlias = tuple[Any, ...]
Dialect: TypeAlias = Literal["sqlite", "postgres"]

# SQLite takes 32,766 parameters a statement since 3.32; PostgreSQL's protocol 65,535.
MAX_PARAMETERS = 32_000
MAX_ROWS = 512

_TOKEN = re.compile(
    r"""
      (?P<text>'(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<rows>/\*\s*rows\s*\*/)
    | (?P<comment>--[^\n]*\n? | /\*.*?\*/)
    | :(?P<name>[a-z_][a-z0-9_]*)
    | (?P<percent>%)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = {"sqlite": "?", "postgres": "%s"}


class Cursor(Protocol):
    """The part of a DBAPI cursor that verbs use."""

    @property
    def rowcount(self) -> int: ...
    @property
    def description(self) -> Any: ...
    def execute(self, sql: Any, parameters: Any = ..., /) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def close(self) -> None: ...


class Connection(Protocol):
    """The part of a DBAPI connection that verbs use: ours, or the app's own."""

    def cursor(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a statement: its text with the driver's placeholders, and the names they stand for."""

    text: str
    names: tuple[str, ...]

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        return [parameters[name] for name in self.names]


@dataclass(slots=True)
class Verb:
    """One compiled statement.

    `columns` are the names of the row template in the order of its placeholders: rows may be given as mappings
    or, where it matters, as tuples in that order.
    """

    name: str
    guarantee: str
    _head: _Part
    _row: _Part | None
    _tail: _Part
    _texts: dict[int, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        return self._row.names if self._row else ()

    def run(self, connection: Connection, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Execute once; the rows of a SELECT or RETURNING, else an empty list."""
        rows, _ = self._execute(connection, self._head.text, self._head.values(parameters or {}))
        return rows

    def count(self, connection: Connection, parameters: Mapping[str, Any] | None = None) -> int:
        """Execute once; how many rows were written."""
        _, count = self._execute(connection, self._head.text, self._head.values(parameters or {}))
        return count

    def run_many(
        self,
        connection: Connection,
        rows: Sequence[Mapping[str, Any]] | Sequence[Row],
        common: Mapping[str, Any] | None = None,
    ) -> list[Row]:
        """Execute over many rows in as few statements as their number allows; all returned rows together."""
        if self._row is None:
            raise TypeError(f"{self.name} has no row template (/*rows*/): use run()")
        tuples = self._tuples(rows)
        head, tail = self._head.values(common or {}), self._tail.values(common or {})
        returned: list[Row] = []
        fits = max(1, (MAX_PARAMETERS - len(head) - len(tail)) // max(1, len(self._row.names)))
        at, left = 0, len(tuples)
        while left:
            size = 1 << (min(left, fits, MAX_ROWS).bit_length() - 1)
            flat = [value for row in tuples[at : at + size] for value in row]
            got, _ = self._execute(connection, self._text(size), head + flat + tail)
            returned += got
            at, left = at + size, left - size
        return returned

    def _tuples(self, rows: Sequence[Any]) -> Sequence[Row]:
        if not rows or isinstance(rows[0], tuple):
            return rows
        names = self.columns
        if len(names) == 1:
            return [(row[names[0]],) for row in rows]
        pick = itemgetter(*names)
        return [pick(row) for row in rows]

    def _text(self, size: int) -> str:
        text = self._texts.get(size)
        if text is None:
            assert self._row is not None  # run_many refused it already
            text = self._head.text + ", ".join([self._row.text] * size) + self._tail.text
            self._texts[size] = text
        return text

    @staticmethod
    def _execute(connection: Connection, text: str, values: list[Any]) -> tuple[list[Row], int]:
        cursor = connection.cursor()
        try:
            cursor.execute(text, values)
            rows = cursor.fetchall() if cursor.description is not None else []
            return rows, cursor.rowcount
        finally:
            cursor.close()


def compile_verb(name: str, sql: str, dialect: Dialect) -> Verb:
    """Compile one file's text for a driver. ValueError where the file breaks the rules above."""
    first, _, _ = sql.partition("\n")
    if not first.startswith("-- "):
        raise ValueError(f"{name}.sql: the first line is a comment that says what the statement guarantees")
    marker = next((m for m in _TOKEN.finditer(sql) if m["rows"]), None)
    if marker is None:
        return Verb(name, first[3:].strip(), _part(sql, dialect), None, _Part("", ()))
    start, end = _template(name, sql, marker.end())
    head, tail = _part(sql[: marker.start()], dialect, strip=False), _part(sql[end:], dialect, strip=False)
    return Verb(name, first[3:].strip(), head, _part(sql[start:end], dialect), tail)


def _part(sql: str, dialect: Dialect, *, strip: bool = True) -> _Part:
    names: list[str] = []

    def put(match: re.Match[str]) -> str:
        if match["name"]:
            names.append(match["name"])
            return _PLACEHOLDER[dialect]
        if match["comment"]:
            return " "
        if match["percent"] or match["text"]:
            return match[0].replace("%", "%%") if dialect == "postgres" else match[0]
        return match[0]

    text = _TOKEN.sub(put, sql)
    return _Part(text.strip().rstrip(";") if strip else text, tuple(names))


def _template(name: str, sql: str, at: int) -> tuple[int, int]:
    """Where the parenthesised row after the marker starts and ends."""
    start = sql.find("(", at)
    if start < 0 or sql[at:start].strip():
        raise ValueError(f"{name}.sql: /*rows*/ is followed by a row in parentheses")
    depth, position = 0, start
    while position < len(sql):
        token = _TOKEN.match(sql, position)
        if token:
            position = token.end()
            continue
        depth += {"(": 1, ")": -1}.get(sql[position], 0)
        position += 1
        if not depth:
            return start, position
    raise ValueError(f"{name}.sql: the row after /*rows*/ is never closed")


class Verbs(Mapping[str, Verb]):
    """The verbs of one package: every `sql/*.sql` in it, with `sql/<dialect>/*.sql` in their place where given."""

    def __init__(self, package: str, dialect: Dialect) -> None:
        self._folder = resources.files(package) / "sql"
        self._dialect = dialect
        self._templates: dict[tuple[str, str], str] = {}
        files = _sql_files(self._folder) | _sql_files(self._folder / dialect)
        self._verbs = {name: compile_verb(name, file.read_text("utf-8"), dialect) for name, file in files.items()}

    def filled(self, folder: str, name: str, words: Mapping[str, str]) -> Verb:
        """A verb of `sql/<folder>/<name>.sql`, each `{word}` replaced: names of ours, never what came from outside.

        `sql/<dialect>/<folder>/` stands in its place where given. KeyError where there is no such file or word.
        """
        text = self._templates.get((folder, name))
        if text is None:
            files = _sql_files(self._folder / folder) | _sql_files(self._folder / self._dialect / folder)
            text = self._templates[folder, name] = files[name].read_text("utf-8")
        return compile_verb(name, text.format_map(words), self._dialect)

    def __getitem__(self, name: str) -> Verb:
        return self._verbs[name]

    def __iter__(self) -> Any:
        return iter(self._verbs)

    def __len__(self) -> int:
        return len(self._verbs)


def _sql_files(folder: Traversable) -> dict[str, Traversable]:
    if not folder.is_dir():
        return {}
    return {file.name[: -len(".sql")]: file for file in folder.iterdir() if file.name.endswith(".sql")}
