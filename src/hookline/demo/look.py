"""The tables of an end as a stranger reads them: plain SQL, one moment, nothing that could write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hookline.storage import Database, Dialect, Row, connect


@dataclass(frozen=True, slots=True)
class Look:
    """One moment of a database, for as long as the block that `look` or `look_at` opened."""

    connection: Any
    dialect: Dialect

    def rows(self, statement: str, *values: Any) -> list[Row]:
        """All rows; each `?` stands for a value, on PostgreSQL too."""
        found: list[Row] = self._execute(statement, values).fetchall()
        return found

    def named_rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """All rows as column -> value."""
        cursor = self._execute(statement, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def value(self, statement: str) -> Any:
        """The first column of the only row."""
        return self.rows(statement)[0][0]

    def number(self, statement: str) -> int:
        """`value` as a whole number."""
        return int(self.value(statement))

    def counts(self, statement: str) -> dict[str, int]:
        """Two columns, a name and how often: name -> count."""
        return {str(name): int(count) for name, count in self.rows(statement)}

    def _execute(self, statement: str, values: tuple[Any, ...]) -> Any:
        cursor = self.connection.cursor()
        if values:
            cursor.execute(statement if self.dialect == "sqlite" else statement.replace("?", "%s"), values)
        else:
            cursor.execute(statement)
        return cursor


@contextmanager
def look(database: Database) -> Iterator[Look]:
    """Look into a database that is open."""
    with database.snapshot() as connection:
        yield Look(connection, database.dialect)


@contextmanager
def look_at(url: str) -> Iterator[Look]:
    """Look into a database once."""
    database = connect(url)
    try:
        with look(database) as seen:
            yield seen
    finally:
        database.close()
