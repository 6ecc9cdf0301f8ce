"""How a database is reached; knows no table of ours.

`connect(url)` gives the one `Database` of that file or URL in this process. Reads and writes are verbs (verbs.py) on a
connection it hands out, so that the same verb also runs on an app's own connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from hookline.errors import ConfigError
from hookline.storage.sqlite import BUSY_TIMEOUT_S, SqliteDatabase
from hookline.storage.verbs import Connection, Dialect, Row, Verb, Verbs

T = TypeVar("T")

__all__ = ["Connection", "Database", "Dialect", "Row", "Verb", "Verbs", "connect", "database_file", "is_postgres"]


class Database(Protocol):
    """A database, whichever it is. The docstrings are on `SqliteDatabase`, the first one."""

    @property
    def dialect(self) -> Dialect: ...
    def transaction(self) -> AbstractContextManager[Any]: ...
    def run(self, work: Callable[[Any], T]) -> T: ...
    def read(self) -> AbstractContextManager[Any]: ...
    def snapshot(self) -> AbstractContextManager[Any]: ...
    def lent(self) -> AbstractContextManager[Any]: ...
    def notify(self, channel: str) -> None: ...
    def subscribe(self, channel: str, callback: Callable[[], None]) -> Callable[[], None]: ...
    def close(self) -> None: ...


# Databases that several parts of a process hold, by file or URL, with the number of their holders.
_open: dict[Path | str, tuple[Database, int]] = {}
_open_lock = threading.Lock()


def _is_last_of(key: Path | str) -> Callable[[Database], bool]:
    """Asked at each close of a database: takes one holder away, and says whether it was the last."""

    def is_last(database: Database) -> bool:
        with _open_lock:
            held, holders = _open.get(key, (database, 1))
            if held is database and holders > 1:
                _open[key] = (database, holders - 1)
                return False
            if held is database:
                _open.pop(key, None)
        return True

    return is_last


def connect(url: str, *, setting: str = "database_url") -> Database:
    """The database at `url`.

    `sqlite:///app.db` (relative to the working folder) or `sqlite:////srv/app.db`, with `?busy_timeout_ms=…`: how long
    a write waits for others. `postgresql://user:password@host/database`, with libpq's options and those of
    `hookline.storage.postgres.PostgresDatabase`; it needs the extra `postgres`.

    The same file or URL gives the same `Database` throughout a process; every `connect` is paired with a `close`.
    Nothing is opened before the first use.

    Raises:
        ConfigError: under the name `setting`, for a URL of another kind, or without psycopg.
    """
    if is_postgres(url):
        return _held_postgres(url, setting)
    path, busy_timeout_s = _place(url, setting)
    return _held(path, lambda: SqliteDatabase(path, busy_timeout_s=busy_timeout_s, is_last=_is_last_of(path)))


def is_postgres(url: str) -> bool:
    """Whether a URL names a PostgreSQL database."""
    return url.startswith(("postgresql://", "postgres://"))


def _held(key: Path | str, make: Callable[[], Database]) -> Database:
    with _open_lock:
        database, holders = _open.get(key, (None, 0))
        if database is None:
            database = make()
        _open[key] = (database, holders + 1)
    return database


def _held_postgres(url: str, setting: str) -> Database:
    # Not at the top: the light install has no psycopg.
    try:
        from hookline.storage.postgres import PostgresDatabase, normalized
    except ImportError as error:
        if (error.name or "psycopg").partition(".")[0] != "psycopg":
            raise
        raise ConfigError(setting, "a PostgreSQL database needs psycopg: pip install 'hookline[postgres]'") from error
    key = normalized(url, setting=setting)
    return _held(key, lambda: PostgresDatabase(url, setting=setting, is_last=_is_last_of(key)))


def database_file(url: str, *, setting: str) -> Path:
    """The file that `connect(url)` would use, which need not exist; its folder does.

    Raises:
        ConfigError: under the name `setting`, for a URL of another kind, or one that no file can be at.
    """
    path, _ = _place(url, setting)
    if not path.parent.is_dir():
        raise ConfigError(setting, f"expected a file in a folder that exists; there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigError(setting, f"expected a file, got the folder {path}")
    return path


def _place(url: str, setting: str) -> tuple[Path, float]:
    """The file of a URL, and how many seconds a write waits for others."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite":
        raise ConfigError(
            setting,
            "expected sqlite:///path/to/file.db or postgresql://user:password@host/database, "
            f"got a URL of scheme {parts.scheme or 'none'!r}",
        )
    if parts.netloc or len(parts.path) < 2 or parts.path == "/:memory:":
        raise ConfigError(setting, "expected three slashes and a file: sqlite:///app.db or sqlite:////srv/app.db")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    timeout_ms = options.pop("busy_timeout_ms", str(int(BUSY_TIMEOUT_S * 1000)))
    if options or not timeout_ms.isdecimal():
        raise ConfigError(setting, "the only option is busy_timeout_ms, a whole number of milliseconds")
    return Path(unquote(parts.path[1:])).resolve(), int(timeout_ms) / 1000
