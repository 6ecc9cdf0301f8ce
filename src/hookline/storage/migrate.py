"""Numbered `.sql` files, each applied once, in order, under the write lock.

A package keeps them in `migrations/NNN_name.sql`, with `migrations/<dialect>/` in their place where a database
must differ. Each file is one transaction; `executescript` is never used, since it commits.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol

from hookline.errors import MigrationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hookline.storage.verbs import Connection, Dialect

_NAME = re.compile(r"(\d{3})_([a-z0-9_]+)\.sql")
_TABLE = """
create table if not exists hookline_migrations (
    part text not null, number integer not null, name text not null, sha256 text not null,
    primary key (part, number)
)"""
_MARK = {"sqlite": "?", "postgres": "%s"}


class Migratable(Protocol):
    """What migrating needs: a `Database`, or an app's own transactions dressed up as this much of one."""

    @property
    def dialect(self) -> Dialect: ...

    def run(self, work: Callable[[Any], int]) -> int:
        """`work(connection)` in one write transaction."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name, its statements and their hash."""

    number: int
    name: str
    statements: tuple[str, ...]
    sha256: str


def load_migrations(package: str, dialect: str) -> tuple[Migration, ...]:
    """The migrations of a package, in order. ValueError where the numbers leave a gap."""
    folder = resources.files(package) / "migrations"
    files = {file.name: file for file in folder.iterdir() if _NAME.fullmatch(file.name)}
    special = folder / dialect
    if special.is_dir():
        files |= {file.name: file for file in special.iterdir() if _NAME.fullmatch(file.name)}
    found = []
    for expected, name in enumerate(sorted(files), start=1):
        match = _NAME.fullmatch(name)
        if match is None or int(match[1]) != expected:
            raise ValueError(f"{package}: migration {expected:03d} expected, {name} found")
        text = files[name].read_text("utf-8")
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        found.append(Migration(expected, match[2], _statements(text), sha256))
    return tuple(found)


def migrate(database: Migratable, part: str, package: str) -> int:
    """Bring one part's tables up to date; returns how many migrations were applied.

    Args:
        part: `sender` or `receiver`: both can share a database.
        package: where its `migrations` folder is.

    Raises:
        MigrationError: the database was made by a newer version, or an applied file has changed since.
    """
    migrations = load_migrations(package, database.dialect)
    mark = _MARK[database.dialect]

    def apply(connection: Connection) -> int:
        cursor = connection.cursor()
        cursor.execute(_TABLE)
        cursor.execute(f"select number, sha256 from hookline_migrations where part = {mark} order by number", (part,))
        applied: dict[int, str] = dict(cursor.fetchall())
        _refuse_strange(part, applied, migrations)
        todo = migrations[len(applied) :]
        for migration in todo:
            for statement in migration.statements:
                cursor.execute(statement)
            cursor.execute(
                f"insert into hookline_migrations (part, number, name, sha256) values ({mark}, {mark}, {mark}, {mark})",
                (part, migration.number, migration.name, migration.sha256),
            )
        return len(todo)

    return database.run(apply)


def _refuse_strange(part: str, applied: dict[int, str], migrations: tuple[Migration, ...]) -> None:
    if len(applied) > len(migrations):
        raise MigrationError(
            f"the {part}'s tables are at migration {max(applied)}, this version knows {len(migrations)}: "
            "the database was made by a newer Hookline; upgrade this one"
        )
    for migration in migrations[: len(applied)]:
        if applied.get(migration.number) != migration.sha256:
            raise MigrationError(
                f"migration {migration.number:03d}_{migration.name} of the {part} is not the one that made this "
                "database: use the version that made it, or a new database"
            )


def _statements(text: str) -> tuple[str, ...]:
    bare = re.sub(r"--[^\n]*", "", text)
    return tuple(statement.strip() for statement in re.split(r";\s*(?:\n|$)", bare) if statement.strip())
