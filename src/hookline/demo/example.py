"""Two handlers of the kind an app has, so that the demo shows handlers at work and can hold them to account.

`welcome` is a fact handler: one row per `dsync.user.created`, without a unique key, so that a second run would be
seen. `sync_access` is a change handler: it keeps the list of who may come in, by hand, from transitions alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hookline.wire.event import Event

if TYPE_CHECKING:
    from hookline.demo.look import Look
    from hookline.receiver.app import Receiver
    from hookline.receiver.handlers import Change
    from hookline.storage import Database, Dialect

_TABLES = (
    "create table if not exists demo_welcomes (user_id text not null, event_id text not null)",
    "create table if not exists demo_access (user_id text primary key, email text)",
)


def make_tables(database: Database) -> None:
    """The app's own two tables, in the receiver's database."""
    with database.transaction() as connection:
        for statement in _TABLES:
            connection.execute(statement)


def add_handlers(receiver: Receiver, dialect: Dialect) -> None:
    """Register both handlers; `tx` is a connection of sqlite3 or of psycopg, each with its own sign for a value."""
    sign = "?" if dialect == "sqlite" else "%s"
    insert = f"insert into demo_welcomes (user_id, event_id) values ({sign}, {sign})"
    upsert = (
        f"insert into demo_access (user_id, email) values ({sign}, {sign})"
        " on conflict (user_id) do update set email = excluded.email"
    )
    delete = f"delete from demo_access where user_id = {sign}"

    @receiver.on("dsync.user.created", name="demo:welcome")
    def welcome(event: Event, tx: Any) -> None:
        tx.execute(insert, (event.data["id"], event.id))

    @receiver.on_change("directory_user", name="demo:sync_access")
    def sync_access(change: Change, tx: Any) -> None:
        if change.is_live and change.after is not None and change.after.get("state") == "active":
            tx.execute(upsert, (change.id, change.after.get("email")))
        else:
            tx.execute(delete, (change.id,))


def welcomes(seen: Look) -> list[str]:
    """The ids of the events that `welcome` ran for, once per run, in order."""
    return sorted(event_id for (event_id,) in seen.rows("select event_id from demo_welcomes"))


def access(seen: Look) -> dict[str, str | None]:
    """Who may come in, as `sync_access` left it: user id -> e-mail address."""
    return dict(seen.rows("select user_id, email from demo_access"))
