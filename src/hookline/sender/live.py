"""What is newest at the sender, read on and on by place in the feed: for the dashboard's live page."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.storage.verbs import Connection, Dialect, Row


class FedEvent(NamedTuple):
    """An event with its place in the feed. `body` is None where it is too large to be looked into, or pruned."""

    seq: int
    row_id: int
    id: str
    environment: str
    type: str
    published_ms: int
    body: bytes | None


class LastTry(NamedTuple):
    """A delivery of an event as it stands. `status` and `duration_ms` are of its last attempt that ended."""

    event_row: int
    id: str
    endpoint_id: str
    endpoint_url: str
    state: str
    attempt: int
    reason: str | None
    due_ms: int | None
    updated_ms: int
    status: int | None
    duration_ms: int | None


class LiveFeed:
    """The feed of every environment, as it grows. Each method is one statement along an index."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.sender", dialect)

    def after(self, connection: Connection, seq: int, *, limit: int, most_bytes: int) -> list[FedEvent]:
        """Events after a place, oldest first."""
        named = {"seq": seq, "limit": limit, "most_bytes": most_bytes}
        return [_fed(row) for row in self._verbs["live_after"].run(connection, named)]

    def newest(self, connection: Connection, *, limit: int, most_bytes: int) -> list[FedEvent]:
        """The newest events, oldest first."""
        named = {"limit": limit, "most_bytes": most_bytes}
        return [_fed(row) for row in reversed(self._verbs["live_newest"].run(connection, named))]

    def last(self, connection: Connection) -> int:
        """The last place; 0 where nothing was published."""
        return self._verbs["live_last"].run(connection)[0][0] or 0

    def between(self, connection: Connection, after: int, last: int, *, most: int) -> int:
        """How many events there are after one place and up to another, at most `most`."""
        return int(self._verbs["live_between"].run(connection, {"after": after, "last": last, "most": most})[0][0])

    def tries(self, connection: Connection, event_rows: Collection[int], *, limit: int) -> list[LastTry]:
        """The deliveries of some events, those of one event together; at most `limit` of all."""
        named = {"event_rows": json.dumps(sorted(event_rows)), "limit": limit}
        return [LastTry(*row) for row in self._verbs["live_deliveries"].run(connection, named)]


def _fed(row: Row) -> FedEvent:
    body = row[6]
    return FedEvent(*(*row[:6], None if body is None else bytes(body)))
