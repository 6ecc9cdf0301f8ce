"""Histories through the real tables: what the views show and what was announced, beside the truth.

Many histories share one database, each with keys of its own, and arrive mingled. One worker is the real `Worker`. Four
are, on SQLite, four stores that take turns in a drawn order, each turn one transaction of a drawn size: a batch of
entries, or a part of a walk over children, so that walks and batches cut into one another in ways no single worker
shows. On PostgreSQL they are four real workers at once, each on a thread and a connection of its own.

The store takes events alone so far; what was lost comes late here, by redelivery, where the pure model reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hookline.receiver.mirror import apply, walk
from hookline.receiver.mirror_store import MirrorStore
from hookline.receiver.model import Entry
from hookline.receiver.resources import DIRECTORY_MEMBERSHIP, EDGES, RESOURCES
from hookline.receiver.store import InboxStore
from hookline.receiver.work import Access, Worker
from hookline.storage import Database, Verbs, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock
from hookline.wire.timestamps import format_ms

from .judged import assumptions_hold
from .source import START_US, Copy, Oddities, Payload, Sent, Source, history
from .wire import arrivals

WAVE: Final = 50
"""So many histories arrive mingled."""

_ODDITIES: Final = (
    (Oddities(no_created=0.1), 0.0),
    (Oddities(silent=0.0, same_instant=0.0), 0.0),
    (Oddities(no_updated=0.3), 0.0),
    (Oddities(), 0.3),
)
"""What the source does, and how much of it comes only after everything else has been applied."""

_WORDS: Final = {
    "organization": ("organization.created", "organization.updated", "organization.deleted"),
    "directory": ("dsync.activated", "dsync.activated", "dsync.deleted"),
    "directory_user": ("dsync.user.created", "dsync.user.updated", "dsync.user.deleted"),
    "directory_group": ("dsync.group.created", "dsync.group.updated", "dsync.group.deleted"),
}
_LOSSES: Final = frozenset({"deleted", "hidden", "removed"})


@dataclass(slots=True)
class Result:
    """How many histories and events went through, what was announced, and everything that was not as it should be."""

    histories: int = 0
    events: int = 0
    changes: int = 0
    losses: int = 0
    turns: int = 0
    wrong: list[str] = field(default_factory=list)


def body_of(event: Sent) -> bytes:
    """The event as it comes over the wire."""
    data: dict[str, Any]
    if event.pair is None:
        created, updated, deleted = _WORDS[event.resource]
        type_ = deleted if event.kind == "delete" else created if event.is_new else updated
        data = _data(event.copies[0])
    else:
        type_ = f"dsync.group.user_{'added' if event.kind == 'add' else 'removed'}"
        group, user = event.copies
        data = {"directory_id": user.payload["directory_id"], "user": _data(user), "group": _data(group)}
    body: dict[str, Any] = {"object": "event", "id": event.id, "event": type_, "data": data}
    if event.created_us is not None:
        body["created_at"] = format_ms(event.created_us)
    return json.dumps(body).encode()


def _data(copy: Copy) -> Payload:
    data = dict(copy.payload)
    if copy.resource == "directory_user" and "name" in data:
        data["first_name"] = data["name"]
    if copy.updated_us is not None:
        data["updated_at"] = format_ms(copy.updated_us)
    return data


class Tables:
    """A receiver's database, workers in it, and the histories that have come."""

    def __init__(self, place: Path | str, *, workers: int) -> None:
        """In a file, or at the URL of a database."""
        self.url = place if isinstance(place, str) else f"sqlite:///{place}"
        self.database: Database = connect(self.url)
        migrate(self.database, "receiver", "hookline.receiver")
        self.clock = TurnedClock(START_US // 1_000)
        self._inbox = InboxStore(self.database.dialect)
        takes_turns = workers > 1 and self.database.dialect == "sqlite"
        verbs = Verbs("hookline.receiver", self.database.dialect)
        self._stores = [MirrorStore(verbs) for _ in range(workers if takes_turns else 0)]
        self._workers = [
            Worker(Access(self.database), clock=self.clock, jitter=lambda: 0.0)
            for _ in range(0 if takes_turns else workers)
        ]
        self._threads = ThreadPoolExecutor(workers)
        self.result = Result()

    def close(self) -> None:
        self._threads.shutdown()
        self.database.close()

    def run(self, seed: str, count: int, *, first: int = 0) -> None:
        """Put so many histories through, wave by wave; `first` numbers them apart from those of other calls."""
        for start in range(first, first + count, WAVE):
            rng = random.Random(f"{seed}/{start}")
            sources: list[Source] = []
            early: list[tuple[float, Sent]] = []
            late: list[Sent] = []
            for number in range(start, min(start + WAVE, first + count)):
                odd, loss = rng.choice(_ODDITIES)
                source = history(rng, odd, number=number)
                came = arrivals(rng, source.sent, loss=loss)
                here = {event.number for event in came}
                late += [event for event in source.sent if event.number not in here]
                early += zip(sorted(rng.random() for _ in came), came, strict=True)
                sources.append(source)
            early.sort(key=lambda one: one[0])
            rng.shuffle(late)
            self.take(rng, [body_of(event) for _, event in early])
            self.take(rng, [body_of(event) for event in late])
            self.result.histories += len(sources)
            self.result.events += sum(len(source.sent) for source in sources)
            self._judge(sources)

    def take(self, rng: random.Random, came: Sequence[bytes]) -> None:
        """Let events arrive a few at a time, workers at it meanwhile; then let them finish."""
        at = 0
        while at < len(came):
            size = rng.choice((1, 5, 30, 120))
            self._put(came[at : at + size])
            at += size
            self.clock.advance(10)
            if self._stores:
                for _ in range(rng.randrange(6)):
                    self._turn(rng)
            else:
                self._at_once([worker.step for worker in self._workers])
        while self._is_busy():
            if self._stores:
                self._turn(rng)
            else:
                self._at_once([worker.drain for worker in self._workers])

    def _at_once(self, works: Sequence[Callable[[], object]]) -> None:
        """Side by side; whatever one of them raises is raised."""
        self.result.turns += len(works)
        for future in [self._threads.submit(work) for work in works]:
            future.result()

    def _turn(self, rng: random.Random) -> None:
        store = rng.choice(self._stores)
        now_ms = self.clock.now_ms()
        self.result.turns += 1
        with self.database.transaction() as connection:
            if rng.random() < 0.6:
                entries = store.claim(connection, now_ms, rng.choice((1, 4, 20, 100)))
                rng.shuffle(entries)
                if entries:
                    apply(store, connection, entries, now_ms)
            else:
                walk(store, connection, now_ms, limit=rng.choice((1, 2, 5, 50)))

    def _is_busy(self) -> bool:
        ((count,),) = self.rows("select (select count(*) from hookline_inbox_queue) + count(*) from hookline_cascades")
        return bool(count)

    def _put(self, bodies: Sequence[bytes]) -> None:
        now_ms = self.clock.now_ms()
        entries = []
        for body in bodies:
            event, digest = json.loads(body), hashlib.sha256(body).digest()
            entries.append(Entry("default", event["id"], digest, event["event"], body, now_ms, now_ms, None))
        with self.database.transaction() as connection:
            self._inbox.put(connection, entries)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return found

    # -- judging -----------------------------------------------------------------------------------------------

    def _judge(self, sources: Sequence[Source]) -> None:
        """Compare this wave with its truths, table by table, then forget its changes."""
        wrong = self.result.wrong
        judged = [source for source in sources if assumptions_hold(source.sent)]
        known = {key for source in judged for key in source.world.parents}
        live: dict[str, set[str]] = {}
        for name, resource in RESOURCES.items():
            truth = {
                key: payload for source in judged for key, payload in source.alive.items() if payload["object"] == name
            }
            if not any(key for source in judged for key, of in source.world.resources.items() if of == name):
                continue
            shown = self._shown(name, resource.table)
            live[name] = set(shown)
            wrong += [f"{key}: not shown" for key in truth.keys() - shown.keys()]
            wrong += [f"{key}: shown" for key in (shown.keys() & known) - truth.keys()]
            for key in truth.keys() & shown.keys():
                expected = _expected(truth[key])
                if shown[key] != expected:
                    wrong.append(f"{key}: shows {shown[key]}, not {expected}")
        self._judge_members(judged, live)
        self._judge_changes(live)

    def _shown(self, name: str, table: str) -> dict[str, tuple[Any, ...]]:
        typed = "first_name, state, is_active" if name == "directory_user" else "null, null, null"
        found = {}
        for id_, payload, *columns in self.rows(f"select id, payload, {typed} from {table}_live"):
            said = json.loads(payload)
            found[id_] = ({k: v for k, v in said.items() if k not in ("updated_at", "first_name")}, *columns)
        return found

    def _judge_members(self, judged: Sequence[Source], live: dict[str, set[str]]) -> None:
        edge = DIRECTORY_MEMBERSHIP
        pairs = set(self.rows(f"select group_id, user_id from {edge.table}_live"))
        live[edge.name] = {"/".join(pair) for pair in pairs}
        for source in judged:
            mine = {pair for pair in source.world.pairs if pair in pairs}
            if mine != source.members:
                self.result.wrong.append(f"memberships {sorted(mine)}, not {sorted(source.members)}")

    def _judge_changes(self, live: dict[str, set[str]]) -> None:
        """Each gain and each loss announced once, and what was announced last is what is shown."""
        wrong = self.result.wrong
        told: dict[tuple[str, str], list[tuple[str, str | None, str | None]]] = defaultdict(list)
        for resource, id_, kind, before, after in self.rows(
            "select resource, object_id, kind, before, after from hookline_changes order by seq"
        ):
            told[resource, id_].append((kind, before, after))
            self.result.changes += 1
            self.result.losses += kind in _LOSSES
        for name, table in [(r.name, r.table) for r in RESOURCES.values()] + [
            (e.name, e.table) for e in EDGES.values()
        ]:
            if name not in live:
                continue
            is_edge = name in EDGES
            id_column = "group_id || '/' || user_id" if is_edge else "id"
            extra = "0, null" if is_edge else "life_us = -1, payload"
            for id_, announced, is_stub, payload in self.rows(
                f"select {id_column}, announced_live, {extra} from {table}"
            ):
                is_live, changes = id_ in live[name], told.get((name, id_), [])
                if bool(announced) != is_live:
                    wrong.append(f"{name} {id_}: announced_live {announced}, in the view {is_live}")
                wrong += [f"{name} {id_}: {reason}" for reason in _untold(changes, is_live, bool(is_stub))]
                if changes and is_live and payload is not None and changes[-1][2] != payload:
                    wrong.append(f"{name} {id_}: last announced {changes[-1][2]}, shows {payload}")
        self.forget()

    def forget(self) -> None:
        """Empty the tables of all that has come."""
        with self.database.transaction() as connection:
            for table in ("hookline_changes", "hookline_inbox", "hookline_inbox_outcomes", *_tables()):
                connection.execute(f"delete from {table}")


def _tables() -> Iterator[str]:
    yield from (resource.table for resource in RESOURCES.values())
    yield from (edge.table for edge in EDGES.values())


def _expected(payload: Payload) -> tuple[Any, ...]:
    if payload["object"] == "directory_user":
        return payload, payload["name"], payload["state"], int(payload["state"] == "active")
    said = {**payload, "state": "linked"} if payload["object"] == "directory" else payload
    return said, None, None, None


def _untold(changes: Sequence[tuple[str, str | None, str | None]], is_live: bool, is_stub: bool) -> Iterator[str]:
    """What is wrong with the announcements of one object. Only a stub is born silently, so only the first change may
    take away what was never given.
    """
    kinds = [kind for kind, _, _ in changes]
    for place, (kind, before, after) in enumerate(changes):
        was_live = changes[place - 1][2] is not None if place else before is not None
        if (kind in _LOSSES) != (after is None):
            yield f"{kinds}: number {place} is {kind} and leaves {after}"
        if after is None and not was_live:
            yield f"{kinds}: loss {place} of what was not held"
        if (before is not None) != was_live:
            yield f"{kinds}: number {place} says it was {before}"
        if was_live and kind in ("recreated", "shown", "added"):  # a stub that was held is `created` later
            yield f"{kinds}: number {place} gives what was held"
    if changes and (changes[-1][2] is not None) != is_live:
        yield f"{kinds} end otherwise than the view: {is_live}"
    if not changes and is_live and not is_stub:
        yield "is shown and was never announced"


def run(
    place: Path | str,
    *,
    seed: str,
    count: int,
    workers: int,
    progress: Callable[[Result], None] | None = None,
    slice_: int = 1_000,
) -> Result:
    """Put so many histories through one database with one worker or several, and judge every one."""
    with contextlib.closing(Tables(place, workers=workers)) as tables:
        for first in range(0, count, slice_):
            tables.run(seed, min(slice_, count - first), first=first)
            if progress is not None:
                progress(replace(tables.result))
        return tables.result
