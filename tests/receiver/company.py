"""A source in a few lines: events with ids and times in the order they are made, put into a real inbox."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hookline.receiver.handlers import Registry
from hookline.receiver.work import Access, Worker
from hookline.storage import connect
from hookline.storage.app_connection import dialect_of
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock
from hookline.wire.timestamps import format_ms

START_MS = 1_790_000_000_000

Event = dict[str, Any]


class Company:
    """Makes events as the source would: each one second after the last, ids in the same order."""

    def __init__(self) -> None:
        self._number = 0

    def event(self, type_: str, data: Mapping[str, Any], **changes: Any) -> Event:
        self._number += 1
        now_us = START_MS * 1000 + self._number * 1_000_000
        event = {
            "object": "event",
            "id": f"event_{self._number:06d}",
            "event": type_,
            "created_at": format_ms(now_us),
            "data": {"updated_at": format_ms(now_us), "created_at": format_ms(START_MS * 1000), **data},
        }
        return {**event, **changes}

    def organization(self, word: str, id_: str = "org_1", **fields: Any) -> Event:
        return self.event(f"organization.{word}", {"object": "organization", "id": id_, "name": "Acme", **fields})

    def directory(self, word: str, id_: str = "dir_1", **fields: Any) -> Event:
        data = {"object": "directory", "id": id_, "organization_id": "org_1", "name": "Staff", "state": "active"}
        return self.event(f"dsync.{word}", {**data, **fields})

    def user(self, word: str, id_: str = "user_1", **fields: Any) -> Event:
        return self.event(f"dsync.user.{word}", {**self.user_data(id_), **fields})

    def group(self, word: str, id_: str = "group_1", **fields: Any) -> Event:
        return self.event(f"dsync.group.{word}", {**self.group_data(id_), **fields})

    def member(self, word: str, group_id: str = "group_1", user_id: str = "user_1", **fields: Any) -> Event:
        times = {"created_at": format_ms(START_MS * 1000), "updated_at": format_ms(START_MS * 1000)}
        data = {
            "directory_id": "dir_1",
            "user": {**self.user_data(user_id), **times},
            "group": {**self.group_data(group_id), **times},
        }
        event = self.event(f"dsync.group.user_{word}", {})
        return {**event, "data": {**data, **fields}}

    @staticmethod
    def user_data(id_: str) -> dict[str, Any]:
        return {
            "object": "directory_user",
            "id": id_,
            "directory_id": "dir_1",
            "organization_id": "org_1",
            "idp_id": f"idp-{id_}",
            "email": f"{id_}@acme.example",
            "first_name": "Ada",
            "last_name": "Okafor",
            "state": "active",
        }

    @staticmethod
    def group_data(id_: str) -> dict[str, Any]:
        return {
            "object": "directory_group",
            "id": id_,
            "directory_id": "dir_1",
            "organization_id": "org_1",
            "idp_id": f"idp-{id_}",
            "name": "Engineering",
        }


class Desk:
    """A receiver's database with its clock: put events in, let workers work, look at the tables."""

    def __init__(self, place: Path | str) -> None:
        """At a file, or at the URL of a database."""
        self.url = place if isinstance(place, str) else f"sqlite:///{place}"
        self.database = connect(self.url)
        migrate(self.database, "receiver", "hookline.receiver")
        self.clock = TurnedClock(START_MS)
        self.hooks = Registry()
        self._worker: Worker | None = None

    def new_worker(self, hooks: Registry | None = None, **settings: Any) -> Worker:
        settings = {"clock": self.clock, "jitter": lambda: 0.0, **settings}
        return Worker(Access(self.database), self.hooks if hooks is None else hooks, **settings)

    @property
    def worker(self) -> Worker:
        """The one with `hooks`, registered at its first mention."""
        if self._worker is None:
            self._worker = self.new_worker()
            self._worker.register()
        return self._worker

    def put(self, *events: Event | bytes, source: str = "default", reason: str | None = None) -> list[int]:
        """Store events as the door does; the places they got, repeats left out."""
        seqs: list[int] = []
        with self.database.transaction() as connection:
            for event in events:
                body = event if isinstance(event, bytes) else json.dumps(event).encode()
                digest = hashlib.sha256(body).digest()
                id_ = event.get("id") if isinstance(event, dict) else None
                type_ = event.get("event") if isinstance(event, dict) else None
                now_ms = self.clock.now_ms()
                row = (source, id_ or f"sha256:{digest.hex()}", digest, type_, body, now_ms, now_ms, reason)
                found = connection.execute(
                    self.sql(
                        "insert into hookline_inbox"
                        " (source, event_id, sha256, type, body, signed_ms, received_ms, reason)"
                        " values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing returning seq"
                    ),
                    row,
                ).fetchall()
                for (seq,) in found:
                    connection.execute(
                        self.sql("insert into hookline_inbox_queue (seq, due_ms) values (?, ?)"), (seq, now_ms)
                    )
                    seqs.append(seq)
        self.database.notify("inbox")
        return seqs

    def take(self, *events: Event | bytes, **settings: Any) -> list[int]:
        """Store events and work until nothing is due."""
        worker = self.worker
        seqs = self.put(*events, **settings)
        worker.drain()
        return seqs

    def sql(self, text: str) -> str:
        """A statement with the placeholders of this database, from SQLite's."""
        return text if self.database.dialect == "sqlite" else with_postgres_placeholders(text)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            found: list[tuple[Any, ...]] = connection.execute(self.sql(sql), values).fetchall()
            return found

    def write(self, sql: str, *values: Any) -> None:
        self.database.run(lambda connection: connection.execute(self.sql(sql), values))

    def one(self, sql: str, *values: Any) -> Any:
        ((value,),) = self.rows(sql, *values)
        return value

    def ids(self, table: str) -> list[str]:
        return [id_ for (id_,) in self.rows(f"select id from hookline_{table}_live order by id")]

    def members(self) -> list[tuple[str, str]]:
        sql = "select group_id, user_id from hookline_directory_memberships_live order by 1, 2"
        return [(group_id, user_id) for group_id, user_id in self.rows(sql)]

    def changes(self, resource: str = "%") -> list[tuple[str, str]]:
        """(kind, object_id) of the change feed, in order."""
        sql = "select kind, object_id from hookline_changes where resource like ? order by seq"
        return [(kind, id_) for kind, id_ in self.rows(sql, resource)]

    def outcomes(self) -> list[str]:
        return [outcome for (outcome,) in self.rows("select outcome from hookline_inbox_outcomes order by seq")]

    def clear(self) -> None:
        """Empty every table but those of migrations and handlers."""
        listed = {
            "sqlite": "select name from sqlite_master where type = 'table'",
            "postgres": "select tablename from pg_tables where schemaname = current_schema()",
        }
        kept = {"hookline_migrations", "hookline_handlers"}
        with self.database.transaction() as connection:
            for (table,) in connection.execute(listed[self.database.dialect]).fetchall():
                if table.startswith("hookline_") and table not in kept:
                    connection.execute(f"delete from {table}")

    def close(self) -> None:
        self.database.close()


def say(connection: Any, sql: str, *values: Any) -> None:
    """Run a statement with SQLite's placeholders on a connection of either database, a handler's `tx` for one."""
    connection.execute(sql if dialect_of(connection) == "sqlite" else with_postgres_placeholders(sql), values)


def with_postgres_placeholders(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def wait_for(is_so: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait for another thread's work. Fails the test when it does not come."""
    pause = threading.Event()
    for _ in range(int(seconds * 100)):
        if is_so():
            return
        pause.wait(0.01)
    raise AssertionError("what another thread should have done did not happen")


@contextlib.contextmanager
def working(worker: Worker) -> Iterator[None]:
    """A worker on a thread of its own, stopped at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        worker.wake.set()
        thread.join()
