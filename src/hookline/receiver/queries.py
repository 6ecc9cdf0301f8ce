"""Looking into the inbox: for the command, the dashboard and whoever is on call. Nothing here writes.

Lists are read backwards from the newest entry, a page at a time; bodies only one by one.
"""

from __future__ import annotations

from hookline.receiver.model import InboxEntry, InboxStats
from hookline.storage import Connection, Verbs

NEWEST = 2**63 - 1
PAGE = 50


class InboxQueries:
    """Reads one source's inbox, on any connection."""

    def __init__(self, verbs: Verbs, source: str = "default") -> None:
        self._verbs = verbs
        self._source = source

    def entries(
        self, connection: Connection, *, state: str | None = None, before_seq: int = NEWEST, limit: int = PAGE
    ) -> list[InboxEntry]:
        """The newest entries before `before_seq`, newest first; of one state (`waiting`, `applied`, …) if given."""
        return self._page(connection, before_seq=before_seq, limit=limit, state=state)

    def entry(self, connection: Connection, event_id: str) -> InboxEntry | None:
        """The entry of one event id, or None."""
        found = self._page(connection, before_seq=NEWEST, limit=1, event_id=event_id)
        return found[0] if found else None

    def body(self, connection: Connection, event_id: str) -> bytes | None:
        """The bytes as they came; None where there is no such entry, or no body any more."""
        rows = self._verbs["inbox_body"].run(connection, {"source": self._source, "event_id": event_id})
        return None if not rows or rows[0][0] is None else bytes(rows[0][0])

    def stats(self, connection: Connection, *, since_ms: int) -> InboxStats:
        """The inbox in numbers; refusals from the minute of `since_ms` on. Give it a snapshot for one moment."""
        named = {"source": self._source}
        ((entries, waiting, oldest_ms, duplicates, conflicts),) = self._verbs["inbox_stats"].run(connection, named)
        minute = {**named, "since_ms": since_ms - since_ms % 60_000}
        return InboxStats(
            entries=entries,
            waiting=waiting,
            oldest_waiting_ms=oldest_ms,
            duplicates=int(duplicates),
            conflicts=int(conflicts),
            outcomes=dict(self._verbs["inbox_outcomes"].run(connection, named)),
            rejections={
                reason: int(times) for reason, times in self._verbs["rejections_since"].run(connection, minute)
            },
        )

    def _page(
        self,
        connection: Connection,
        *,
        before_seq: int,
        limit: int,
        state: str | None = None,
        event_id: str | None = None,
    ) -> list[InboxEntry]:
        rows = self._verbs["inbox_list"].run(
            connection,
            {
                "source": self._source,
                "before_seq": before_seq,
                "limit": limit,
                "state": state,
                "event_id": event_id,
            },
        )
        return [InboxEntry(*row) for row in rows]
