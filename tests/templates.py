"""New SQLite databases as copies: the statements that make their tables take 45 ms a time, in thousands of tests.

The first database of a part is made by `migrate` as it is, and kept as the template; a file that does not exist yet is
a copy of it, which `migrate` then looks at as at any other. What is tested of migrating itself (tests/storage) starts
from files that are there, from older versions, or from PostgreSQL.
"""

from __future__ import annotations

import functools
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hookline.storage import migrate as module
from hookline.storage.sqlite import SqliteDatabase

_FOLDER: Final = tempfile.TemporaryDirectory(prefix="hookline-templates-")
_made: dict[tuple[str, str], tuple[Path, int]] = {}


def install() -> None:
    """Have every module of ours migrate by copying, those too that are loaded later."""
    original = module.migrate
    copied = _copying(original)
    for loaded in list(sys.modules.values()):
        if getattr(loaded, "migrate", None) is original:
            setattr(loaded, "migrate", copied)  # noqa: B010 - modules of any kind
    module.migrate = copied


def _copying(original: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(original)
    def migrate(database: Any, part: str, package: str, *, up_to: int | None = None) -> int:
        # Where there is no folder to copy to, the database says so itself.
        is_new = isinstance(database, SqliteDatabase) and not database.path.exists() and database.path.parent.is_dir()
        if up_to is not None or not is_new:
            return original(database, part, package, up_to=up_to)
        if (part, package) not in _made:
            count = original(database, part, package)
            path = Path(_FOLDER.name) / f"{part}.db"
            _keep(database.path, path)
            _made[part, package] = path, count
            return count
        template, count = _made[part, package]
        shutil.copy(template, database.path)
        return original(database, part, package) or count

    return migrate


def _keep(made: Path, template: Path) -> None:
    """A copy of a database that is in use, whole and in its journal's mode."""
    with sqlite3.connect(made) as source, sqlite3.connect(template) as target:
        source.backup(target)
    source.close()
    target.execute("pragma journal_mode = wal")
    target.close()
    template.chmod(made.stat().st_mode & 0o777)
