"""The inbox as storage: each method is one verb or a few, on a connection somebody else has opened a transaction on.

`InboxStore` decides nothing about requests (`receive.py` does) and opens, commits and wakes nothing (`intake.py`
does), so that the same verbs run on a connection of ours and on the app's own.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from hookline.receiver.minutes import MinuteRow
from hookline.receiver.model import Entry, PutKind, RejectionRow, Via
from hookline.storage import Connection, Dialect, Verbs


class InboxStore:
    """Writes what came through the door, and what was read of the feed."""

    def __init__(self, dialect: Dialect) -> None:
        verbs = Verbs("hookline.receiver", dialect)
        self._put = verbs["inbox_put"]
        self._enqueue = verbs["inbox_enqueue"]
        self._known = verbs["inbox_known"]
        self._repeat = verbs["inbox_repeat"]
        self._add_rejections = verbs["rejections_add"]
        self._add_minutes = verbs["minutes_add"]

    def put(self, connection: Connection, entries: Sequence[Entry]) -> list[PutKind]:
        """Keep every entry whose id is new and queue it for applying; count the others as repeats.

        The first statement writes, so that a transaction on SQLite never begins by reading. An id may come
        several times in one call: the first one is kept.

        Returns: what became of each entry, in order.
        """
        seqs = [seq for (seq,) in self._put.run_many(connection, entries)]
        if seqs:
            self._enqueue.run(connection, {"seqs": json.dumps(seqs), "due_ms": entries[0].received_ms})
        if len(seqs) == len(entries):
            return ["accepted"] * len(entries)
        return self._sort_out(connection, entries, set(seqs))

    def add_rejections(self, connection: Connection, rows: Sequence[RejectionRow]) -> None:
        """Add refusals to the counts of their minutes. At most one row per (source, reason, minute)."""
        self._add_rejections.run_many(connection, rows)

    def add_minutes(self, connection: Connection, rows: Sequence[MinuteRow]) -> None:
        """Add to the counts of minutes. At most one row per (minute, source, kind)."""
        self._add_minutes.run_many(connection, rows)

    def _sort_out(self, connection: Connection, entries: Sequence[Entry], new: set[int]) -> list[PutKind]:
        known = self._known_as(connection, {(entry.source, entry.event_id) for entry in entries})
        kinds: list[PutKind] = []
        times: Counter[tuple[str, str, bytes, PutKind]] = Counter()
        for entry in entries:
            seq, sha256, via = known[entry.source, entry.event_id]
            if seq in new:
                new.remove(seq)
                kinds.append("accepted")
                continue
            kind: PutKind
            if entry.via == via == "webhook":
                kind = "duplicate" if entry.sha256 == sha256 else "conflict"
            else:
                # The feed writes an event as it likes: other bytes than the webhook's say nothing there.
                kind = "known"
            kinds.append(kind)
            # The tail reads again what it likes, too; what the source sent is counted.
            if entry.via == "webhook":
                times[entry.source, entry.event_id, entry.sha256, kind] += 1
        last_ms = max(entry.received_ms for entry in entries)
        if times:
            self._repeat.run_many(connection, [(*repeat, count, last_ms) for repeat, count in times.items()])
        return kinds

    def _known_as(
        self, connection: Connection, keys: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[int, bytes, Via]]:
        """The number and hash each of these ids is kept under, and how it came; all of them are there, by now."""
        event_ids = defaultdict(list)
        for source, event_id in keys:
            event_ids[source].append(event_id)
        return {
            (source, event_id): (seq, bytes(sha256), via)
            for source, ids in event_ids.items()
            for event_id, seq, sha256, via in self._known.run(
                connection, {"source": source, "event_ids": json.dumps(ids)}
            )
        }
