"""Accounts for tests: argon2 at its least cost, and a clock to turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from hookline.dashboard.accounts import Accounts

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.storage import Connection, Database

# What is tested is which hash is compared when, not how long argon2 takes.
CHEAP: Final = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)])
TABLES: Final = ("users", "sessions", "links", "sign_ins", "audit")
PASSWORD: Final = "correct horse battery"


def opened(database: Database, clock: Clock, *, session_s: float | None = None) -> Accounts:
    """The accounts of a database, whose tables it makes."""
    accounts = Accounts(database, clock=clock, hasher=CHEAP, session_s=session_s)
    accounts.open()
    return accounts


def empty(accounts: Accounts) -> None:
    """Take everybody out again, and all that is known of them."""

    def write(connection: Connection) -> None:
        for table in TABLES:
            connection.cursor().execute(f"delete from hookline_dashboard_{table}")

    accounts.database.run(write)
