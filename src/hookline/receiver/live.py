"""What is newest in the inbox, read on and on: for the dashboard's live page."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hookline.storage import Connection, Verbs


class LiveEntry(NamedTuple):
    """An entry as it stands. `state` is `waiting` or its outcome; `body` None where it is too large, or gone."""

    seq: int
    source: str
    event_id: str
    type: str | None
    received_ms: int
    via: str
    state: str
    reason: str | None
    finished_ms: int | None
    body: bytes | None


class LiveInbox:
    """The inbox of every source, as it grows. Each method is one statement along an index."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs

    def after(self, connection: Connection, seq: int, *, limit: int, most_bytes: int) -> list[LiveEntry]:
        """Entries after a place, oldest first."""
        return self._entries(connection, "live_after", {"seq": seq, "limit": limit, "most_bytes": most_bytes})

    def newest(self, connection: Connection, *, limit: int, most_bytes: int) -> list[LiveEntry]:
        """The newest entries, oldest first."""
        return self._entries(connection, "live_newest", {"limit": limit, "most_bytes": most_bytes})[::-1]

    def some(self, connection: Connection, seqs: Collection[int], *, most_bytes: int) -> list[LiveEntry]:
        """Entries by their places; what is not there is left out."""
        return self._entries(connection, "live_some", {"seqs": json.dumps(sorted(seqs)), "most_bytes": most_bytes})

    def outcomes(self, connection: Connection, seqs: Collection[int]) -> dict[int, tuple[str, str | None, int]]:
        """What became of entries by their places: outcome, reason, when. Those that wait are left out."""
        rows = self._verbs["live_outcomes"].run(connection, {"seqs": json.dumps(sorted(seqs))})
        return {seq: (outcome, reason, finished_ms) for seq, outcome, reason, finished_ms in rows}

    def last(self, connection: Connection) -> int:
        """The last place; 0 where nothing came."""
        return self._verbs["live_last"].run(connection, {})[0][0] or 0

    def between(self, connection: Connection, after: int, last: int, *, most: int) -> int:
        """How many entries there are after one place and up to another, at most `most`."""
        return int(self._verbs["live_between"].run(connection, {"after": after, "last": last, "most": most})[0][0])

    def _entries(self, connection: Connection, verb: str, named: dict[str, object]) -> list[LiveEntry]:
        rows = self._verbs[verb].run(connection, named)
        return [LiveEntry(*(*row[:9], None if row[9] is None else bytes(row[9]))) for row in rows]
