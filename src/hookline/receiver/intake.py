"""Keeping entries durably: the answer 200 rests on what returns from here.

Callers share commits (`storage.commit`). Whatever goes wrong is a `StorageError`, logged once per outage and not once
per request.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hookline.errors import OutcomeUnknown, StorageError
from hookline.receiver.minutes import MinuteRow, Minutes, added
from hookline.receiver.model import Entry, PutKind, RejectionRow, shown_id
from hookline.receiver.store import InboxStore
from hookline.storage.commit import GroupCommit

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.receiver.app_database import AppDatabase
    from hookline.receiver.counters import Counters
    from hookline.receiver.model import Receipt
    from hookline.receiver.receive import Door, Doors
    from hookline.storage import Database
    from hookline.storage.outage import Outage

log = logging.getLogger("hookline.receiver")

CHANNEL = "inbox"  # what a worker subscribes to: something was kept


@dataclass(frozen=True, slots=True)
class Opened:
    """What exists once the database is in use. All of it knows by itself when it finds itself in a forked child."""

    database: Database | None
    intake: Intake


class Reception(Protocol):
    """What a server's shell (asgi.py, wsgi.py) needs of a receiver: `Receiver` in app.py is one."""

    doors: Doors
    clock: Clock
    body_timeout_s: float
    opened: Opened | None

    def open(self) -> Opened:
        """Open the database unless it is open in this process."""

    @property
    def intake(self) -> Intake:
        """Where entries are kept, opened."""

    def note(self, receipt: Receipt, peer: str | None, door: Door | None) -> None:
        """Count a refusal by a door; None: there was none at that path."""

    def follow_lists(self) -> None:
        """Begin to read published lists of addresses, in the background."""

    def is_ready(self) -> bool:
        """Whether a POST could be answered 200 now."""

    def close(self) -> None:
        """Write what is counted, finish what is under way, and close."""


class Intake:
    """Whoever waits while a batch is being written shares the next commit (docs/decisions/0175).

    On a database of ours, or on the app's own transactions: then by one thread of ours for coroutines, and for threads
    by the one of them that leads. Everything here raises `StorageError` where nothing could be kept.

    Args:
        minutes: counts what was kept.
        takes_minutes_along: write those counts with an entry that is kept, now and then, since nothing else does.
        keeping: called in each transaction, with its connection.
        kept: called after each commit, on the thread that made it.
        end_thread: called on a thread of ours that has used the database, when it ends.

    Attributes:
        put: for coroutines: keeps an entry, and returns after the commit.
        put_inline: the same for threads.
    """

    def __init__(
        self,
        database: Database | AppDatabase,
        outage: Outage,
        counters: Counters,
        *,
        minutes: Minutes,
        takes_minutes_along: bool = False,
        keeping: Callable[[Any], None] | None = None,
        kept: Callable[[], None] | None = None,
        end_thread: Callable[[], None] | None = None,
    ) -> None:
        self._database = database
        self._minutes = minutes
        self._takes_minutes_along = takes_minutes_along
        self._keeping = keeping
        self._kept = kept
        self._known: InboxStore | None = None
        self._outage = outage
        self._counters = counters
        self._group: GroupCommit[Entry, PutKind] = GroupCommit(self._keep, name="hookline-inbox", end_thread=end_thread)
        # The group's own methods: a coroutine of ours around them would cost every request.
        self.put: Callable[[Entry], Awaitable[PutKind]] = self._group.put
        self.put_inline: Callable[[Entry], PutKind] = self._group.put_inline

    def add_counts(self, rejections: Sequence[RejectionRow], minutes: Sequence[MinuteRow]) -> None:
        """Add to the counts of refusals, and of what was kept."""

        def add(connection: Any) -> None:
            if rejections:
                self._store.add_rejections(connection, rejections)
            if minutes:
                self._store.add_minutes(connection, minutes)

        self._database.run(add)

    def close(self) -> None:
        """Finish what is under way. What is put later begins anew."""
        self._group.close()

    @property
    def _store(self) -> InboxStore:
        # Late: which SQL an app's database speaks is known once it was reached.
        if self._known is None:
            self._known = InboxStore(self._database.dialect)
        return self._known

    def _keep(self, entries: Sequence[Entry]) -> list[PutKind]:
        is_along = self._takes_minutes_along and self._minutes.is_due(entries[-1].received_ms)
        counted = self._minutes.drain() if is_along else []

        def put(connection: Any) -> list[PutKind]:
            kinds = self._store.put(connection, entries)
            if is_along:
                self._store.add_minutes(connection, added(counted, entries, kinds))
            if self._keeping is not None:
                self._keeping(connection)
            return kinds

        try:
            kinds = self._database.run(put)
        except StorageError as error:
            self._minutes.restore(counted)
            self._outage.failed(error)
            self._counters.storage_errors += 1
            raise
        except Exception as error:
            self._minutes.restore(counted)
            if len(entries) > 1:
                raise  # the group runs them one by one, so that only the bad one fails
            self._outage.failed(error)
            # Whatever it is, an app's transactions may have raised it before their commit or after: 200 cannot be said.
            raise OutcomeUnknown(f"the entry may not have been kept: {type(error).__name__}") from error
        if not is_along:
            self._minutes.note(entries, kinds)
        self._outage.is_over()
        self._counters.entries_kept([(entry.source, kind) for entry, kind in zip(entries, kinds, strict=True)])
        # After the commit and once per batch: a worker woken earlier would find nothing.
        if self._kept is not None:
            self._kept()
        _log_kept(entries, kinds)
        return kinds


def _log_kept(entries: Sequence[Entry], kinds: Sequence[PutKind]) -> None:
    for entry, kind in zip(entries, kinds, strict=True):
        if kind == "conflict":
            log.warning(
                "event %s came again with other bytes (sha256 %s…): flagged, not applied",
                shown_id(entry.event_id),
                entry.sha256.hex()[:8],
                extra={"event_id": shown_id(entry.event_id), "source": entry.source},
            )
        elif log.isEnabledFor(logging.DEBUG):
            log.debug(
                "event %s: %s",
                shown_id(entry.event_id),
                kind,
                extra={"event_id": shown_id(entry.event_id), "source": entry.source, "type": entry.type, "kind": kind},
            )
