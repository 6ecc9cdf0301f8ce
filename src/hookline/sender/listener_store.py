"""The verbs of listeners: who they are, what they are to get, how far they came.

Each method runs one or a few `.sql` files on the connection it is given. Nothing here opens a transaction, reads a
clock or decides.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hookline.sender.model import Listener
from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.sender.model import Environment
    from hookline.storage.verbs import Connection, Dialect, Row


class Place(NamedTuple):
    """An event's place in the feed, without its body."""

    seq: int
    event_row: int
    type: str
    body_bytes: int
    created_ms: int


class HeardEvent(NamedTuple):
    """An event as a first attempt is made of it."""

    row_id: int
    id: str
    type: str
    body: bytes
    created_ms: int
    traceparent: str | None
    object_sequence: int | None


class Standing(NamedTuple):
    """A listener's session, its secret, and the last row of what is to go to it once more (0: nothing is)."""

    session: str | None
    secret: str
    last_resend: int


class Progress(NamedTuple):
    """How far a listener came in one session since that was last noted.

    `place` -1 leaves the one there is. `answered` and `succeeded` are added to what they were.
    """

    row_id: int
    session: str
    place: int
    answered: int
    succeeded: int
    is_open: bool


class ListenerStore:
    """The verbs of listeners."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.sender", dialect)

    def put(
        self,
        connection: Connection,
        environment: Environment,
        name: str,
        *,
        secret_enc: str,
        events: Sequence[str] | None = None,
        session: str | None = None,
        now_ms: int,
    ) -> None:
        """Adds a listener; where it is there already its secret stays, and what is given is changed."""
        self._verbs["listener_put"].run(
            connection,
            {
                "environment": environment,
                "name": name,
                "secret_enc": secret_enc,
                "events": None if events is None else json.dumps(list(events)),
                "session": session,
                "now_ms": now_ms,
            },
        )

    def listener(self, connection: Connection, environment: Environment, name: str) -> Listener | None:
        """One listener, or None."""
        rows = self._verbs["listener_get"].run(connection, {"environment": environment, "name": name})
        return _listener(rows[0]) if rows else None

    def listeners(self, connection: Connection, environment: Environment) -> list[Listener]:
        """All of an environment, by name."""
        return [_listener(row) for row in self._verbs["listeners_of"].run(connection, {"environment": environment})]

    def count(self, connection: Connection, environment: Environment) -> int:
        """How many an environment has."""
        return int(self._verbs["listeners_count"].run(connection, {"environment": environment})[0][0])

    def standing(self, connection: Connection, listener_rows: Collection[int]) -> dict[int, Standing]:
        """How each of these that is still there stands now, by row."""
        rows = self._verbs["listeners_some"].run(connection, {"listener_rows": json.dumps(sorted(listener_rows))})
        return {row_id: Standing(*rest) for row_id, *rest in rows}

    def rotate(self, connection: Connection, environment: Environment, name: str, secret_enc: str) -> None:
        """Gives a listener another secret."""
        self._verbs["listener_rotate"].run(
            connection, {"environment": environment, "name": name, "secret_enc": secret_enc}
        )

    def remove(self, connection: Connection, environment: Environment, name: str) -> bool:
        """Removes a listener and what was to go to it. False where there is none."""
        rows = self._verbs["listener_delete"].run(connection, {"environment": environment, "name": name})
        for (row_id,) in rows:
            self._verbs["listener_resends_clear"].run(connection, {"listener_row": row_id})
        return bool(rows)

    def note(self, connection: Connection, progress: Sequence[Progress], *, now_ms: int) -> None:
        """Notes how far listeners came; of one whose session is another by now nothing. Each row at most once."""
        self._verbs["listeners_note"].run_many(
            connection, [{**one._asdict(), "is_open": int(one.is_open), "now_ms": now_ms} for one in progress]
        )

    # -- the feed ----------------------------------------------------------------------------------------------

    def head(self, connection: Connection, environment: Environment) -> int:
        """The newest place there is or was; 0 where nothing was published."""
        return self._verbs["listener_head"].run(connection, {"environment": environment})[0][0] or 0

    def since(self, connection: Connection, environment: Environment, since_ms: int) -> int:
        """The place before the first event published at a time or later; 0 where that is the first there was.

        Reads as many rows as were published since.
        """
        named = {"environment": environment, "since_ms": since_ms}
        return int(self._verbs["listener_since"].run(connection, named)[0][0])

    def stretch(self, connection: Connection, environment: Environment, after: int, limit: int) -> list[Place]:
        """Places of the feed after one, oldest first."""
        named = {"environment": environment, "after": after, "limit": limit}
        return [Place(*row) for row in self._verbs["listener_stretch"].run(connection, named)]

    def gone(self, connection: Connection, environment: Environment, after: int, limit: int) -> list[tuple[int, str]]:
        """Places after one whose event is past its retention, and their types, oldest first."""
        named = {"environment": environment, "after": after, "limit": limit}
        return [(seq, event_type) for seq, event_type in self._verbs["listener_gone"].run(connection, named)]

    def events(self, connection: Connection, event_rows: Collection[int]) -> dict[int, HeardEvent]:
        """Events by their rows, those past their retention left out."""
        rows = self._verbs["listener_events"].run(connection, {"event_rows": json.dumps(sorted(event_rows))})
        return {row[0]: HeardEvent(*(*row[:3], bytes(row[3]), *row[4:])) for row in rows}

    # -- sent once more ----------------------------------------------------------------------------------------

    def add_resends(
        self, connection: Connection, listener_rows: Collection[int], event_row: int, *, now_ms: int
    ) -> None:
        """Has an event go to listeners once more."""
        named = {"listener_rows": json.dumps(sorted(listener_rows)), "event_row": event_row, "now_ms": now_ms}
        self._verbs["listener_resends_put"].run(connection, named)

    def resends(self, connection: Connection, listener_row: int, *, after: int, limit: int) -> list[tuple[int, int]]:
        """What is to go to a listener once more, as (row, event row), oldest first."""
        named = {"listener_row": listener_row, "after": after, "limit": limit}
        return [(row, event_row) for row, event_row in self._verbs["listener_resends_of"].run(connection, named)]

    def drop_resends(self, connection: Connection, rows: Collection[int]) -> None:
        """Forgets what was sent once more."""
        self._verbs["listener_resends_drop"].run(connection, {"rows": json.dumps(sorted(rows))})


def _listener(row: Row) -> Listener:
    return Listener(*(*row[:4], tuple(json.loads(row[4])), *row[5:]))
