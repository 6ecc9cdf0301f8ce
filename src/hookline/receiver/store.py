"""The inbox as storage: each method is one verb or a few, on a connection somebody else has opened a transaction on.

`InboxStore` decides nothing about requests (`receive.py` does) and opens, commits and wakes nothing (`app.py`
does), so that the same verbs run on a connection of ours and on the app's own.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence

from hookline.receiver.model import Entry, PutKind, RejectionRow
from hookline.storage import Connection, Dialect, Verbs

log = logging.getLogger("hookline.receiver")


class InboxStore:
    """Writes what came through the door."""

    def __init__(self, dialect: Dialect) -> None:
        verbs = Verbs("hookline.receiver", dialect)
        self._put = verbs["inbox_put"]
        self._enqueue = verbs["inbox_enqueue"]
        self._known = verbs["inbox_known"]
        self._repeat = verbs["inbox_repeat"]
        self._add_rejections = verbs["rejections_add"]

    def put(self, connection: Connection, entries: Sequence[Entry]) -> list[PutKind]:
        """Keep every entry whose id is new and queue it for applying; count the others as repeats.

        The first statement writes, so that a transaction on SQLite never begins by reading. An id may come
        several times in one call: the first one is kept.

        Returns: what became of each entry, in order.
        """
        kept = self._put.run_many(connection, entries)
        if kept:
            seqs = json.dumps([row[0] for row in kept])
            self._enqueue.run(connection, {"seqs": seqs, "due_ms": entries[0].received_ms})
        if len(kept) == len(entries):
            return ["accepted"] * len(entries)
        return self._sort_out(connection, entries, {(source, event_id) for _, source, event_id in kept})

    def add_rejections(self, connection: Connection, rows: Sequence[RejectionRow]) -> None:
        """Add refusals to the counts of their minutes. At most one row per (source, reason, minute)."""
        self._add_rejections.run_many(connection, rows)

    def _sort_out(self, connection: Connection, entries: Sequence[Entry], new: set[tuple[str, str]]) -> list[PutKind]:
        repeated = {(entry.source, entry.event_id) for entry in entries}
        known = self._hashes(connection, repeated)
        kinds: list[PutKind] = []
        times: Counter[tuple[str, str, bytes]] = Counter()
        for entry in entries:
            key = (entry.source, entry.event_id)
            if key in new:
                new.discard(key)
                kinds.append("accepted")
                continue
            kinds.append("duplicate" if entry.sha256 == known[key] else "conflict")
            times[(*key, entry.sha256)] += 1
        last_ms = max(entry.received_ms for entry in entries)
        self._repeat.run_many(
            connection,
            [
                (source, event_id, sha256, _kind(sha256, known[source, event_id]), count, last_ms)
                for (source, event_id, sha256), count in times.items()
            ],
        )
        return kinds

    def _hashes(self, connection: Connection, keys: set[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        known: dict[tuple[str, str], bytes] = {}
        for source in {source for source, _ in keys}:
            event_ids = json.dumps([event_id for owner, event_id in keys if owner == source])
            for event_id, sha256 in self._known.run(connection, {"source": source, "event_ids": event_ids}):
                known[source, event_id] = bytes(sha256)
        return known


def _kind(sha256: bytes, known: bytes) -> PutKind:
    return "duplicate" if sha256 == known else "conflict"
