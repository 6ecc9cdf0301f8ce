"""Applied events per second, with and without a handler, against a bare bulk upsert of the rows that applying left.

Twice: an upsert that sets every column, as one must that has not read the rows, and one that leaves the columns alone
that indexes are over, as applying does where a user stays in its directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bench.databases import Databases
from bench.measure import BenchError, Options, Run, cost, pinned, spread
from hookline.receiver.handlers import Change, Registry
from hookline.receiver.model import Entry
from hookline.receiver.store import InboxStore
from hookline.receiver.work import BATCH, Access, Worker
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.storage.verbs import Verb, compile_verb
from hookline.wire.timestamps import format_ms

USERS, DIRECTORIES, ORGANIZATIONS = 100_000, 200, 20
EVENTS = 6_000  # a round
STRETCH = 10 * BATCH  # how many are applied before the bare side has its turn
TOLD = 2 * BATCH  # of those so many to the side with a handler, where each costs a transaction
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


def put(database: Database, inbox: InboxStore, bodies: Sequence[bytes]) -> None:
    """Keep events as the door does."""
    entries = [
        Entry("default", json.loads(body)["id"], hashlib.sha256(body).digest(), "dsync.user.updated", body, 0, 0, None)
        for body in bodies
    ]
    database.run(lambda connection: inbox.put(connection, entries))


def bare_upsert(database: Database, but: Sequence[str] = ()) -> Verb:
    """One statement over the table's own columns, whatever they are; those of `but` are set in new rows only."""
    with database.read() as connection:
        types = dict(connection.execute(_COLUMNS[database.dialect]).fetchall())
    named = {name: f":{name}" for name in types}
    if database.dialect == "sqlite":
        rows = f"values /*rows*/ ({', '.join(named.values())})"
    else:
        arrays = ", ".join(f"cast({place} as {types[name]}[])" for name, place in named.items())
        rows = f"select * from unnest /*columns*/ ({arrays})"
    replaced = ", ".join(f"{column} = excluded.{column}" for column in types if column not in ("source", "id", *but))
    return compile_verb(
        "bare",
        f"-- Writes rows over what is there.\ninsert into {TABLE} ({', '.join(types)}) {rows}"
        f" on conflict (source, id) do update set {replaced}",
        database.dialect,
    )


# Generated ones left out.
_COLUMNS: Final = {
    "sqlite": f"select name, type from pragma_table_info('{TABLE}')",
    "postgres": "select column_name, data_type from information_schema.columns"
    f" where table_name = '{TABLE}' and is_generated = 'NEVER' order by ordinal_position",
}


def rows_of(database: Database, columns: Sequence[str], ids: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of these users as they are now."""
    verb = compile_verb(
        "rows",
        f"-- Reads rows.\nselect {', '.join(columns)} from {TABLE} where source = 'default'"
        " and id in (select value from json_each(:ids))",
        database.dialect,
    )
    with database.read() as connection:
        return verb.run(connection, {"ids": json.dumps(ids)})


class Side:
    """One of those compared: what it did in how long, with the server's time beside."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self.runs: list[Run] = []
        self._sum = [0, 0.0, 0.0, 0.0]

    def _used(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), self._databases.server_s() or 0.0

    @contextlib.contextmanager
    def working(self, count: int) -> Iterator[None]:
        """Add what the block takes to the round."""
        began = self._used()
        yield
        spent = [after - before for before, after in zip(began, self._used(), strict=True)]
        self._sum = [have + more for have, more in zip(self._sum, [count, *spent], strict=True)]

    def end_round(self) -> None:
        """Keep what was added as one run."""
        count, elapsed_s, own_s, server_s = self._sum
        is_served = self._databases.server_s() is not None
        self.runs.append(Run(round(count), elapsed_s, own_s, server_s=server_s if is_served else None))
        self._sum = [0, 0.0, 0.0, 0.0]


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report."""
    users, events = options.sized(USERS, 2 * BATCH), options.sized(EVENTS, STRETCH)
    ours, told = Side(databases), Side(databases)
    sides = {"bare upsert, every column": Side(databases), "bare, indexed ones left": Side(databases)}
    with contextlib.ExitStack() as stack:
        source = Source(users)
        url = stack.enter_context(databases.fresh())
        database = connect(url)
        inbox = InboxStore(database.dialect)
        migrate(database, "receiver", "hookline.receiver")
        filled = [body for _, body in source.created()]
        worker = Worker(Access(database))
        for first in range(0, len(filled), 10_000):
            put(database, inbox, filled[first : first + 10_000])
            worker.drain()
        database.close()
        others = [connect(stack.enter_context(databases.fresh(url))) for _ in sides]
        handled = connect(stack.enter_context(databases.fresh(url)))
        verbs = [bare_upsert(others[0]), bare_upsert(others[1], ("directory_id", "organization_id"))]
        database = connect(url)
        for one in (database, handled, *others):
            stack.callback(one.close)
        worker = Worker(Access(database))
        telling = Worker(Access(handled), with_a_handler(handled))
        telling.register()
        stack.enter_context(pinned(0))
        for _ in range(options.rounds):
            done = 0
            while done < events:
                batches = [source.batch(BATCH) for _ in range(STRETCH // BATCH)]
                bodies = [body for batch in batches for _, body in batch]
                count = len(bodies)
                for one, working, side, share in (
                    (database, worker, ours, bodies),
                    (handled, telling, told, bodies[:TOLD]),
                ):
                    put(one, inbox, share)
                    with side.working(len(share)):
                        working.drain()
                done += count
                rows = [rows_of(database, verbs[0].columns, [id_ for id_, _ in batch]) for batch in batches]
                for other, verb, side in zip(others, verbs, sides.values(), strict=True):
                    with side.working(sum(map(len, rows))):
                        upsert(other, verb, rows)
            for side in (ours, told, *sides.values()):
                side.end_round()
        for other in others:
            check(database, other)
        check_told(handled)
    size = f"{users:,} users (rounds: {options.rounds} of {events:,})"
    yield f"applied events/s, {databases.described}, mirror only, one process on one core, batches of {BATCH}, {size}"
    shown = {"applied, change feed and all": ours, "the same, a handler for each": told}
    for label, side in (shown | sides).items():
        yield f"  {label:<28} {statistics.median(run.per_s for run in side.runs):>8,.0f}/s  {cost(side.runs)}"
    for label, side in sides.items():
        ratios = [applied.per_s / bare.per_s for applied, bare in zip(ours.runs, side.runs, strict=True)]
        yield f"  ratio  {spread(ratios)}  to {label}"
    ratios = [with_.per_s / without.per_s for with_, without in zip(told.runs, ours.runs, strict=True)]
    yield f"  ratio  {spread(ratios)}  with a handler to without"


def with_a_handler(database: Database) -> Registry:
    """A handler that writes a row of the app's for every change: each of its runs is a transaction."""
    database.run(lambda connection: connection.execute("create table told (seq bigint primary key)"))
    registry = Registry()

    @registry.on_change("directory_user", name="tell")
    def tell(change: Change, tx: Any) -> None:
        tx.execute(f"insert into told values ({change.seq})")

    return registry


def check_told(database: Database) -> None:
    """The handler was told of every change once, and is through."""
    with database.read() as connection:
        (told,) = connection.execute("select count(*) from told").fetchone()
        states = dict(connection.execute("select state, count(*) from hookline_runs group by state").fetchall())
    if states != {"succeeded": told}:
        raise BenchError(f"expected {told:,} runs that succeeded, got {states}")


def upsert(database: Database, verb: Verb, batches: Sequence[Sequence[tuple[Any, ...]]]) -> None:
    """Write these batches, a statement and a commit each."""
    for rows in batches:
        with database.transaction() as connection:
            verb.run_many(connection, rows)


def check(database: Database, other: Database) -> None:
    """Nothing waits, nothing was set aside, and both sides hold the same rows."""
    with database.read() as connection, other.read() as bare:
        (waiting,) = connection.execute("select count(*) from hookline_inbox_queue").fetchone()
        (dead,) = connection.execute("select count(*) from hookline_inbox_outcomes where outcome = 'dead'").fetchone()
        sql = f"select count(*), sum(length(payload)), sum(life_us % 1000003), sum(death_us % 1000003) from {TABLE}"
        one, two = connection.execute(sql).fetchone(), bare.execute(sql).fetchone()
    if (waiting, dead) != (0, 0) or one != two:
        raise BenchError(f"expected the same rows on both sides, got {one} and {two}; waiting {waiting}, dead {dead}")
