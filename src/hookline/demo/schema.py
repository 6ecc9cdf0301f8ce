"""A schema of the demo's own on PostgreSQL: it writes into a database that others use, and touches nothing of theirs.

Connections of the demo look for tables there alone, so that Hookline's own tables in the same database, a company's
real ones even, are neither read nor written.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from hookline.errors import ConfigError, StorageUnavailable
from hookline.storage import Database, connect

PREFIX: Final = "hookline_demo_"


def new_name() -> str:
    """A name that no schema has yet."""
    return PREFIX + secrets.token_hex(4)


@contextmanager
def made(url: str, name: str, *, setting: str, kept: bool) -> Iterator[str]:
    """Make the schema `name`; drop it with all that is in it when the block ends, unless it is to be kept.

    Returns: the URL of the same database in which that schema is the only one.
    Raises:
        ConfigError: under the name `setting`: the URL, or whoever it names may not create a schema.
        StorageUnavailable: the server is not there.
    """
    database = connect(url, setting=setting)
    # Not at the top: `connect` says what to install where there is none.
    import psycopg

    try:
        try:
            with database.transaction() as connection:
                connection.execute(f"create schema {name}")
        except psycopg.errors.InsufficientPrivilege:
            raise ConfigError(
                setting, "expected a user who may create a schema there (grant create on database … to …)"
            ) from None
        try:
            yield within(url, name)
        finally:
            if not kept:
                _drop(database, name)
    finally:
        database.close()


def within(url: str, name: str) -> str:
    """A URL of the same database whose connections see the schema `name` and no other."""
    base, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    given = [value for option, value in pairs if option == "options"]
    others = [(option, value) for option, value in pairs if option != "options"]
    options = " ".join([*given, f"-c search_path={name}"])
    return f"{base}?{urlencode([*others, ('options', options)], quote_via=quote)}"


def _drop(database: Database, name: str) -> None:
    try:
        with database.transaction() as connection:
            connection.execute(f"drop schema {name} cascade")
    except StorageUnavailable as error:
        # The run's own result is worth more than this.
        print(f"the schema {name} is still there: {error}", file=sys.stderr)
