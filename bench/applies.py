"""Applied events per second, mirror only, against a bare bulk upsert of the rows that applying left.

Twice: an upsert that sets every column, as one must that has not read the rows, and one that leaves the columns alone
that indexes are over, as applying does where a user stays in its directory.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.measure import Run, spread
from bench.raw import pin
from hookline.receiver.work import BATCH, Access, Worker
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.storage.verbs import Verb, compile_verb
from hookline.wire.timestamps import format_ms

USERS, DIRECTORIES, ORGANIZATIONS = 100_000, 200, 20
EVENTS = 6_000  # a round
STRETCH = 10 * BATCH  # how many are applied before the bare side has its turn
START_US = 1_790_000_000_000_000
TABLE = "hookline_directory_users"
PADDING = "x" * 400  # the whole event is about 1.1 KiB


class Source:
    """Makes the events of users: 70 % updates, 20 % new ones, 5 % deletions, 5 % that come too late."""

    def __init__(self, users: int) -> None:
        self._draw = random.Random(5)
        self._alive = [f"directory_user_{number:026d}" for number in range(users)]
        self._users = users
        self._number = 0

    def created(self) -> list[tuple[str, bytes]]:
        """The first users."""
        return [self._event("created", id_) for id_ in self._alive]

    def batch(self, size: int) -> list[tuple[str, bytes]]:
        """(user, event) of as many different users."""
        chosen = self._draw.sample(range(len(self._alive)), size)
        events = []
        for index in chosen:
            kind, id_ = self._draw.random(), self._alive[index]
            if kind < 0.70:
                events.append(self._event("updated", id_))
            elif kind < 0.90:
                id_ = f"directory_user_{self._users:026d}"
                self._users += 1
                self._alive.append(id_)
                events.append(self._event("created", id_))
            elif kind < 0.95:
                self._alive[index] = self._alive[-1] if index < len(self._alive) - 1 else id_
                events.append(self._event("deleted", id_))
            else:
                events.append(self._event("updated", id_, us=START_US - 1_000_000))
        return list(dict(events).items())  # a user that was drawn twice, by taking a dead one's place, is once here

    def _event(self, word: str, id_: str, us: int | None = None) -> tuple[str, bytes]:
        self._number += 1
        at = format_ms(START_US + self._number * 1_000 if us is None else us)
        directory = int(id_[-26:]) % DIRECTORIES
        data = {
            "object": "directory_user",
            "id": id_,
            "directory_id": f"directory_{directory:026d}",
            "organization_id": f"org_{directory % ORGANIZATIONS:026d}",
            "idp_id": id_[-20:],
            "email": f"{id_[-8:]}@bench.example",
            "first_name": "Ada",
            "last_name": f"Bench {self._number}",
            "state": "active",
            "custom_attributes": {"note": PADDING},
            "created_at": format_ms(START_US),
            "updated_at": at,
        }
        event = {"id": f"event_{self._number:026d}", "event": f"dsync.user.{word}", "data": data, "created_at": at}
        return id_, json.dumps(event).encode()


def put(database: Database, bodies: Sequence[bytes]) -> None:
    """Keep events as the door does."""
    with database.transaction() as connection:
        for body in bodies:
            event_id = json.loads(body)["id"]
            ((seq,),) = connection.execute(
                "insert into hookline_inbox (source, event_id, sha256, type, body, received_ms)"
                " values ('default', ?, ?, 'dsync.user.updated', ?, 0) returning seq",
                (event_id, hashlib.sha256(body).digest(), body),
            ).fetchall()
            connection.execute("insert into hookline_inbox_queue (seq, due_ms) values (?, 0)", (seq,))


def bare_upsert(database: Database, but: Sequence[str] = ()) -> Verb:
    """One statement over the table's own columns, whatever they are; those of `but` are set in new rows only."""
    with database.read() as connection:
        columns = [row[1] for row in connection.execute(f"pragma table_info({TABLE})")]  # generated ones left out
    replaced = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in ("source", "id", *but))
    return compile_verb(
        "bare",
        f"-- Writes rows over what is there.\ninsert into {TABLE} ({', '.join(columns)})"
        f" values /*rows*/ ({', '.join(f':{column}' for column in columns)})"
        f" on conflict (source, id) do update set {replaced}",
        "sqlite",
    )


def rows_of(database: Database, verb: Verb, ids: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of these users as they are now."""
    with database.read() as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            f"select {', '.join(verb.columns)} from {TABLE} where source = 'default'"
            " and id in (select value from json_each(?))",
            (json.dumps(ids),),
        ).fetchall()
        return rows


def applying(database: Database, worker: Worker, bodies: Sequence[bytes]) -> float:
    """Seconds it takes to apply what is put into the inbox."""
    put(database, bodies)
    started_s = time.perf_counter()
    worker.drain()
    return time.perf_counter() - started_s


def upserting(database: Database, verb: Verb, batches: Sequence[Sequence[tuple[Any, ...]]]) -> float:
    """Seconds it takes to write these batches, a statement and a commit each."""
    started_s = time.perf_counter()
    for rows in batches:
        with database.transaction() as connection:
            verb.run_many(connection, rows)
    return time.perf_counter() - started_s


def measure(*, rounds: int, scale: float) -> list[str]:
    """The lines of the report; `scale` 1 is the size that is quoted."""
    users, events = max(2 * BATCH, round(USERS * scale)), max(STRETCH, round(EVENTS * scale))
    pin(0)
    applied_runs: list[Run] = []
    bare_runs: dict[str, list[Run]] = {"bare upsert, every column": [], "bare, indexed ones left": []}
    with tempfile.TemporaryDirectory() as folder:
        source = Source(users)
        ours = Path(folder) / "ours.db"
        database = connect(f"sqlite:///{ours}")
        migrate(database, "receiver", "hookline.receiver")
        filled = [body for _, body in source.created()]
        worker = Worker(Access(database))
        for first in range(0, len(filled), 10_000):
            applying(database, worker, filled[first : first + 10_000])
        database.close()
        others = []
        for number in range(len(bare_runs)):
            shutil.copy(ours, Path(folder) / f"bare_{number}.db")
            others.append(connect(f"sqlite:///{Path(folder) / f'bare_{number}.db'}"))
        verbs = [bare_upsert(others[0]), bare_upsert(others[1], ("directory_id", "organization_id"))]
        database = connect(f"sqlite:///{ours}")
        worker = Worker(Access(database))
        for _ in range(rounds):
            applied, applied_s = 0, 0.0
            written, written_s = 0, [0.0] * len(others)
            while applied < events:
                batches = [source.batch(BATCH) for _ in range(STRETCH // BATCH)]
                applied += sum(map(len, batches))
                applied_s += applying(database, worker, [body for batch in batches for _, body in batch])
                rows = [rows_of(database, verbs[0], [id_ for id_, _ in batch]) for batch in batches]
                written += sum(map(len, rows))
                for number, (other, verb) in enumerate(zip(others, verbs, strict=True)):
                    written_s[number] += upserting(other, verb, rows)
            applied_runs.append(Run(applied, applied_s, 0.0))
            for results, elapsed_s in zip(bare_runs.values(), written_s, strict=True):
                results.append(Run(written, elapsed_s, 0.0))
        for other in others:
            check(database, other)
            other.close()
        database.close()
    size = f"{users:,} users, FULL ({rounds} rounds of {events:,})"
    lines = [f"applied events/s, SQLite, mirror only, batches of {BATCH}, {size}"]
    for label, results in ({"applied, change feed and all": applied_runs} | bare_runs).items():
        lines.append(f"  {label:<28} {statistics.median(run.per_s for run in results):>8,.0f}/s")
    for label, results in bare_runs.items():
        ratios = [applied.per_s / bare.per_s for applied, bare in zip(applied_runs, results, strict=True)]
        lines.append(f"  ratio  {spread(ratios)}  to {label}")
    return lines


def check(database: Database, other: Database) -> None:
    """Nothing waits, nothing was set aside, and both sides hold the same rows."""
    with database.read() as connection, other.read() as bare:
        (waiting,) = connection.execute("select count(*) from hookline_inbox_queue").fetchone()
        (dead,) = connection.execute("select count(*) from hookline_inbox_outcomes where outcome = 'dead'").fetchone()
        sql = f"select count(*), sum(length(payload)), total(life_us), total(death_us) from {TABLE}"
        one, two = connection.execute(sql).fetchone(), bare.execute(sql).fetchone()
    if (waiting, dead) != (0, 0) or one != two:
        raise RuntimeError(f"expected the same rows on both sides, got {one} and {two}; waiting {waiting}, dead {dead}")
