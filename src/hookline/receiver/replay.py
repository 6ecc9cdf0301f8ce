"""Replays: entries of the past once more, to the mirror, to one handler, or to all.

A replay is a row, done in parts by whichever process comes by: a part and how far it came are one commit, so a crash
costs nothing and repeats nothing. First the entries, in the order of arrival: each is applied again, which never moves
the mirror back (rules/merge.py), and armed for fact handlers. Then the change feed: change handlers are told the
*newest* change of each object that the entries touched, never an older one, since that would give them back access
that was lost meanwhile.

Runs that exist are armed again rather than doubled, so that a handler and an event or change have one row, one history
and one idempotency key. What still waits in the queue is left to the queue.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from hookline.errors import ConfigError, InvalidBody, OutcomeUnknown, StorageUnavailable
from hookline.receiver.kept import kept_event
from hookline.receiver.mirror import apply
from hookline.receiver.mirror_store import Claimed, MirrorStore, Registered
from hookline.receiver.resources import observe
from hookline.storage import Connection, Row, Verbs
from hookline.wire.catalogue import is_pattern, matches

Mode: TypeAlias = Literal["mirror", "handler", "all"]
PART: Final = 200
LAST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries; what is None or at its default selects nothing away.

    Attributes:
        event_ids: these events.
        type: a type, a prefix (`dsync.*`) or `*`.
        object_id: whatever speaks of the object of this id (of a membership `group_id/user_id`, or one of the two).
        from_seq, to_seq: a range of the inbox, both ends included.
        since_ms, until_ms: when they arrived, the end excluded; Unix milliseconds.
    """

    event_ids: tuple[str, ...] | None = None
    type: str | None = None
    object_id: str | None = None
    from_seq: int = 0
    to_seq: int = LAST
    since_ms: int | None = None
    until_ms: int | None = None

    def __post_init__(self) -> None:
        if self.type is not None and not is_pattern(self.type):
            raise ConfigError("type", f"expected a type, a prefix as in 'dsync.*' or '*', got {self.type!r}")

    def parameters(self, source: str, last_seq: int = LAST) -> dict[str, Any]:
        """As the statements take it."""
        # '*' is everything, also what has no type since it cannot be read.
        type_ = None if self.type == "*" else self.type
        prefix = type_[:-1] if type_ is not None and type_.endswith("*") else None
        return {
            "source": source,
            "event_ids": None if self.event_ids is None else json.dumps(self.event_ids),
            "type": type_ if prefix is None else None,
            "prefix": prefix,
            "from_seq": self.from_seq,
            "to_seq": min(self.to_seq, last_seq),
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "object_id": self.object_id,
        }

    def speaks_of_it(self, entry: Claimed) -> bool:
        """Whether an entry is about the object asked for; every entry is where none is."""
        if self.object_id is None:
            return True
        if entry.body is None:
            return False
        try:
            event = kept_event(entry.body, entry.event_id, entry.type)
        except InvalidBody:
            return False
        seen = observe(event, entry.event_id, entry.received_ms)
        # A list: what a stranger calls an id may be anything JSON has.
        ids = [event.data.get("id"), *(one.key for one in seen.objects)]
        if seen.edge is not None:
            ids += [*seen.edge.keys, "/".join(seen.edge.keys)]
        return self.object_id in ids


@dataclass(frozen=True, slots=True)
class Replay:
    """How a replay stands. `entries` were applied again, `runs` armed; `failed` could not be applied, and of those
    `gone` the body is no longer kept."""

    row_id: int
    source: str
    mode: Mode
    handler: str | None
    selection: Selection
    last_entry_seq: int
    last_change_seq: int | None
    entry_seq: int
    change_seq: int
    entries: int
    runs: int
    failed: int
    gone: int
    created_ms: int
    finished_ms: int | None


class Replays:
    """The verbs of replays, compiled for one dialect; each on the connection it is given."""

    def __init__(self, verbs: Verbs, *, optional: Collection[str] = ()) -> None:
        self._verbs = verbs
        self._mirror = MirrorStore(verbs)
        self._optional = frozenset(optional)

    def count(self, connection: Connection, source: str, selection: Selection) -> int:
        """How many entries a replay would apply again. Changes nothing.

        Of an object all bodies are read for it.
        """
        if selection.object_id is None:
            return int(self._verbs["replays_count"].run(connection, selection.parameters(source))[0][0])
        return sum(len(chosen) for _, chosen in self._pages(connection, source, selection))

    def start(
        self,
        connection: Connection,
        source: str,
        selection: Selection,
        *,
        now_ms: int,
        mode: Mode = "mirror",
        handler: str | None = None,
    ) -> int:
        """Begin a replay of what is there now; its number. Workers go on with it, and so does `step`.

        Raises: LookupError where no handler of that name is known.
        """
        if (mode == "handler") != (handler is not None):
            raise ConfigError("handler", "expected with the mode 'handler', and with no other")
        if handler is not None and handler not in {one.name for one in self._mirror.registered(connection)}:
            raise LookupError(handler)
        named = {
            "source": source,
            "mode": mode,
            "handler": handler,
            "selection": json.dumps(asdict(selection)),
            "now_ms": now_ms,
        }
        return int(self._verbs["replays_put"].run(connection, named)[0][0])

    def read(self, connection: Connection, replay_id: int) -> Replay | None:
        """How a replay stands."""
        for row in self._verbs["replays_read"].run(connection, {"row_id": replay_id}):
            return _replay(row)
        return None

    def newest(self, connection: Connection, *, before_row: int = LAST, limit: int) -> list[Replay]:
        """The newest replays before one."""
        named = {"before_row": before_row, "limit": limit}
        return [_replay(row) for row in self._verbs["replays_list"].run(connection, named)]

    def step(self, connection: Connection, replay_id: int, now_ms: int) -> Replay:
        """Do the next part, in the caller's transaction; how it stands then. LookupError where there is none."""
        is_open = self._verbs["replays_lock"].count(connection, {"row_id": replay_id}) == 1
        replay = self.read(connection, replay_id)
        if replay is None:
            raise LookupError(replay_id)
        if is_open:
            if replay.last_change_seq is None:
                self._step_entries(connection, replay, now_ms)
            else:
                self._step_changes(connection, replay, replay.last_change_seq, now_ms)
            replay = self.read(connection, replay_id)
            assert replay is not None
        return replay

    def _handlers(self, connection: Connection, replay: Replay, kind: str) -> list[Registered]:
        if replay.mode == "mirror":
            return []
        return [
            one
            for one in self._mirror.registered(connection)
            if one.kind == kind and replay.handler in (None, one.name) and one.hears(replay.source)
        ]

    def _page(
        self, connection: Connection, source: str, selection: Selection, after: int, last_seq: int = LAST
    ) -> list[Claimed]:
        named = {**selection.parameters(source, last_seq), "after": after, "limit": PART}
        return [Claimed(*row) for row in self._verbs["replays_entries"].run(connection, named)]

    def _pages(self, connection: Connection, source: str, selection: Selection) -> Iterator[tuple[int, list[Claimed]]]:
        after = 0
        while page := self._page(connection, source, selection, after):
            after = page[-1].seq
            yield after, [entry for entry in page if selection.speaks_of_it(entry)]

    def _step_entries(self, connection: Connection, replay: Replay, now_ms: int) -> None:
        page = self._page(connection, replay.source, replay.selection, replay.entry_seq, replay.last_entry_seq)
        selected = [entry for entry in page if replay.selection.speaks_of_it(entry)]
        # What is no longer kept was applied once; that is not to be taken back.
        chosen = [entry for entry in selected if entry.is_whole]
        gone = len(selected) - len(chosen)
        failed = self._apply(connection, chosen, now_ms)
        handlers = self._handlers(connection, replay, "fact")
        runs = sum(
            self._arm(connection, replay, handler.name, None, entry.seq, None, now_ms)
            for entry in chosen
            for handler in handlers
            if entry.type is not None and entry.reason is None and matches(handler.pattern, entry.type)
        )
        is_last = len(page) < PART
        last_change_seq: int | None = None
        if is_last:
            last_change_seq = self._verbs["replays_last_change"].run(connection, {})[0][0]
        has_changes = is_last and bool(self._handlers(connection, replay, "change"))
        self._move(
            connection,
            replay,
            entry_seq=page[-1].seq if page else replay.entry_seq,
            last_change_seq=last_change_seq,
            entries=len(chosen) - failed,
            failed=failed + gone,
            gone=gone,
            runs=runs,
            finished_ms=now_ms if is_last and not has_changes else None,
        )

    def _apply(self, connection: Connection, entries: list[Claimed], now_ms: int) -> int:
        """Apply them, or all but those that fail; how many of those there are."""
        if not entries:
            return 0
        failed = self._apply_together(connection, entries, now_ms)
        if failed is None:
            each = [self._apply_together(connection, [entry], now_ms) for entry in entries]
            failed = sum(1 if one is None else one for one in each)
        return failed

    def _apply_together(self, connection: Connection, entries: list[Claimed], now_ms: int) -> int | None:
        """How many of them cannot be read; None where nothing was written, since one of them cannot be applied."""
        cursor = connection.cursor()
        cursor.execute("savepoint hookline_replay")
        try:
            # Nobody is registered: a mirror that is put right makes changes, and those are told later if at all.
            done = apply(self._mirror, connection, entries, now_ms, registered=(), optional=self._optional)
        except (StorageUnavailable, OutcomeUnknown):
            raise
        except Exception:
            cursor.execute("rollback to savepoint hookline_replay")
            return None
        finally:
            cursor.execute("release savepoint hookline_replay")
        return sum(outcome.outcome == "dead" for outcome in done.outcomes)

    def _step_changes(self, connection: Connection, replay: Replay, last: int, now_ms: int) -> None:
        named = {
            **replay.selection.parameters(replay.source, replay.last_entry_seq),
            "after": replay.change_seq,
            "last": last,
            "limit": PART,
        }
        seqs = [seq for (seq,) in self._verbs["replays_changes"].run(connection, named)]
        handlers = self._handlers(connection, replay, "change")
        newest = self._verbs["replays_newest_changes"].run(connection, {"seqs": json.dumps(seqs)})
        runs = sum(
            self._arm(connection, replay, handler.name, f"{source}/{resource}/{object_id}", None, seq, now_ms)
            for seq, resource, source, object_id in newest
            for handler in handlers
            if handler.pattern == resource
        )
        self._move(
            connection,
            replay,
            change_seq=seqs[-1] if seqs else replay.change_seq,
            runs=runs,
            finished_ms=now_ms if len(seqs) < PART else None,
        )

    def _arm(
        self,
        connection: Connection,
        replay: Replay,
        handler: str,
        object_key: str | None,
        inbox_seq: int | None,
        change_seq: int | None,
        now_ms: int,
    ) -> int:
        named = {
            "handler": handler,
            "object_key": object_key,
            "inbox_seq": inbox_seq,
            "change_seq": change_seq,
            "replay_id": replay.row_id,
            "now_ms": now_ms,
        }
        armed = self._verbs["runs_rearm"].count(connection, named)
        return armed or self._verbs["runs_replay"].count(connection, named)

    def _move(self, connection: Connection, replay: Replay, **values: int | None) -> None:
        kept = {
            "row_id": replay.row_id,
            "entry_seq": replay.entry_seq,
            "change_seq": replay.change_seq,
            "last_change_seq": replay.last_change_seq,
            "entries": 0,
            "runs": 0,
            "failed": 0,
            "gone": 0,
            "finished_ms": None,
        }
        self._verbs["replays_move"].run(connection, {**kept, **values})


def _replay(row: Row) -> Replay:
    row_id, source, mode, handler, selected, *numbers = row
    selection = json.loads(selected)
    if selection["event_ids"] is not None:
        selection["event_ids"] = tuple(selection["event_ids"])
    return Replay(row_id, source, mode, handler, Selection(**selection), *numbers)
