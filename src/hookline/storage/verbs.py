"""SQL as verbs: one `.sql` file per transition, `:named` parameters, compiled once per driver.

A file's first line is a comment that says what the statement guarantees. A verb that writes many rows marks
its row template, and the compiler repeats it in power-of-two sizes, so that a driver's statement cache holds a
handful of texts:

    -- Keeps each entry once.
    insert into t (a, b) values /*rows*/ (:a, :b) on conflict do nothing returning a

On PostgreSQL a file of its own may take the rows by column instead, each column one array, in a single statement
(docs/decisions/0094):

    insert into t (a, b) select * from unnest /*columns*/ (cast(:a as bigint[]), cast(:b as text[]))

Statements are written for SQLite and compiled for PostgreSQL too: lists come as JSON text and are read by
`json_each(:names)`, which becomes PostgreSQL's function for that (numbers in it need `cast(value as bigint)`, places in
a list within are `json_extract(n.value, '$[0]')`), and `blob` and `integer` in casts become its words. `sql/postgres/`
holds what must be another statement, or a faster one.

One verb for many like tables is one file in a folder of `sql/`, with `{words}` for what differs (`Verbs.filled`).

No casts with two colons: a colon followed by a name is a parameter. Knows no table of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from hookline.storage.arrays import ElementType

Row: TypeAlias = tuple[Any, ...]
Dialect: TypeAlias = Literal["sqlite", "postgres"]

# SQLite takes 32,766 parameters a statement since 3.32; PostgreSQL's protocol 65,535.
MAX_PARAMETERS = 32_000
MAX_ROWS = 512
# Of a statement that takes columns.
MAX_ROWS_BY_COLUMN = 5_000

_TOKEN = re.compile(
    r"""
      (?P<text>'(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<rows>/\*\s*(?P<shape>rows|columns)\s*\*/)
    | (?P<comment>--[^\n]*\n? | /\*.*?\*/)
    | :(?P<name>[a-z_][a-z0-9_]*)
    | (?P<percent>%)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = {"sqlite": "?", "postgres": "%s"}
# How lists are read: SQLite's function, PostgreSQL's (docs/decisions/0095).
_IN_LIST = re.compile(r"(?<!not )\bin \(select ((?:[^()]|\([^()]*\))+?) from json_each\(:(\w+)\)\)")
_LIST = re.compile(r"json_each\(:(\w+)\)(?: (?:as )?(?!where|on|join|cross|order|limit|union)([a-z]\w*))?")
_PLACE = re.compile(r"json_extract\(([\w.]+), '\$\[(\d+)\]'\)")
_ARRAY = re.compile(r"cast\(\s*:([a-z_][a-z0-9_]*)\s+as\s+(bigint|text|bytea)\[\]\s*\)")


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
    or, where it matters, as tuples in that order. `_types` are the elements' types where it takes arrays.
    """

    name: str
    guarantee: str
    _head: _Part
    _row: _Part | None
    _tail: _Part
    _types: tuple[ElementType, ...] = ()
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
        if self._types:
            return self._run_by_column(connection, tuples, head, tail)
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

    def _run_by_column(
        self, connection: Connection, tuples: Sequence[Row], head: list[Any], tail: list[Any]
    ) -> list[Row]:
        # Stands on psycopg, which a process on SQLite need not have.
        from hookline.storage.arrays import register_arrays, to_array

        register_arrays(connection)
        returned: list[Row] = []
        for at in range(0, len(tuples), MAX_ROWS_BY_COLUMN):
            columns = zip(*tuples[at : at + MAX_ROWS_BY_COLUMN], strict=True)
            arrays = [to_array(kind, column) for kind, column in zip(self._types, columns, strict=True)]
            got, _ = self._execute(connection, self._text(1), head + arrays + tail)
            returned += got
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
    if dialect == "postgres":
        sql = _for_postgres(sql)
    if not first.startswith("-- "):
        raise ValueError(f"{name}.sql: the first line is a comment that says what the statement guarantees")
    marker = next((m for m in _TOKEN.finditer(sql) if m["rows"]), None)
    if marker is None:
        return Verb(name, first[3:].strip(), _part(sql, dialect), None, _Part("", ()))
    start, end = _template(name, sql, marker.end())
    head, tail = _part(sql[: marker.start()], dialect, strip=False), _part(sql[end:], dialect, strip=False)
    row = _part(sql[start:end], dialect)
    types: list[ElementType] = []
    if marker["shape"] == "columns":
        arrays = dict(_ARRAY.findall(sql[start:end]))
        if not arrays.keys() >= set(row.names):
            raise ValueError(
                f"{name}.sql: every column after /*columns*/ is cast(:name as bigint[], text[] or bytea[])"
            )
        types = [arrays[column] for column in row.names]
    return Verb(name, first[3:].strip(), head, row, tail, tuple(types))


def _for_postgres(sql: str) -> str:
    """A statement of SQLite's in PostgreSQL's words, where they are the only difference."""
    function = "json_array_elements" if _PLACE.search(sql) else "json_array_elements_text"
    # An array keeps the index lookup in the plan, whatever the statistics say of the table.
    sql = _IN_LIST.sub(r"= any (array(select \1 from json_each(:\2)))", sql)
    sql = _LIST.sub(lambda m: f"{function}(cast(:{m[1]} as json)) {m[2] or 'listed'} (value)", sql)
    sql = _PLACE.sub(r"(\1 ->> \2)", sql)
    return re.sub(r"\bas (blob|integer)\)", lambda m: {"blob": "as bytea)", "integer": "as bigint)"}[m[1]], sql)


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
        raise ValueError(f"{name}.sql: /*rows*/ or /*columns*/ is followed by a row in parentheses")
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
    raise ValueError(f"{name}.sql: the parenthesis of the row template is never closed")


class Verbs(Mapping[str, Verb]):
    """The verbs of one package: every `sql/*.sql` in it, with `sql/<dialect>/*.sql` in their place where given."""

    def __init__(self, package: str, dialect: Dialect) -> None:
        self._package = package
        self._dialect = dialect
        self._verbs = _compiled(package, dialect)

    @property
    def dialect(self) -> Dialect:
        """Whose SQL they are."""
        return self._dialect

    def filled(self, folder: str, name: str, words: Mapping[str, str]) -> Verb:
        """A verb of `sql/<folder>/<name>.sql`, each `{word}` replaced: names of ours, never what came from outside.

        `sql/<dialect>/<folder>/` stands in its place where given. KeyError where there is no such file or word.
        """
        return _filled(self._package, self._dialect, folder, name, tuple(words.items()))

    def __getitem__(self, name: str) -> Verb:
        return self._verbs[name]

    def __iter__(self) -> Any:
        return iter(self._verbs)

    def __len__(self) -> int:
        return len(self._verbs)


@cache
def _compiled(package: str, dialect: Dialect) -> Mapping[str, Verb]:
    # Several stores stand on one package; a file is read and compiled once.
    folder = resources.files(package) / "sql"
    files = _sql_files(folder) | _sql_files(folder / dialect)
    return {name: compile_verb(name, file.read_text("utf-8"), dialect) for name, file in files.items()}


@cache
def _filled(package: str, dialect: Dialect, folder: str, name: str, words: tuple[tuple[str, str], ...]) -> Verb:
    # So many as there are tables; every worker, and every question about access, asks for them.
    return compile_verb(name, _templates(package, dialect, folder)[name].format_map(dict(words)), dialect)


@cache
def _templates(package: str, dialect: Dialect, folder: str) -> Mapping[str, str]:
    sql = resources.files(package) / "sql"
    files = _sql_files(sql / folder) | _sql_files(sql / dialect / folder)
    return {name: file.read_text("utf-8") for name, file in files.items()}


def _sql_files(folder: Traversable) -> dict[str, Traversable]:
    if not folder.is_dir():
        return {}
    return {file.name[: -len(".sql")]: file for file in folder.iterdir() if file.name.endswith(".sql")}
