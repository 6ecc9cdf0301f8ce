"""A receiver's inbox in a test: to put events in, to drain, and to ask what became of them."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias
from unittest import mock

from hookline.receiver.app import Receiver
from hookline.receiver.model import RunRow
from hookline.receiver.work import Worker
from hookline.storage import Connection
from hookline.testing import findings
from hookline.testing.clock import TurnedClock
from hookline.testing.inline import inline
from hookline.testing.signed import Signing
from hookline.testing.watched import Call, Watched
from hookline.wire.event import Event

PEER: Final = "127.0.0.1"
_MOST: Final = 10_000
# Everything but the list of migrations and what is the sender's.
_TABLES: Final = {
    "sqlite": "select name from sqlite_master where type = 'table' and name like 'hookline\\_%' escape '\\'"
    " and name not like 'hookline\\_sender\\_%' escape '\\' and name <> 'hookline_migrations'",
    "postgres": "select table_name from information_schema.tables where table_schema = current_schema()"
    " and table_type = 'BASE TABLE' and table_name like 'hookline\\_%'"
    " and table_name not like 'hookline\\_sender\\_%' and table_name <> 'hookline_migrations'",
}

By: TypeAlias = str | Callable[..., Any]
"""A handler: the function, or the name it is registered under."""


class Inbox:
    """What a receiver keeps and does with it, on the calling thread alone: nothing here starts a worker.

    Attributes:
        receiver: whose it is.
        calls: every call of a handler by this inbox, in order.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.calls: list[Call] = []
        self._one_at_a_time = threading.RLock()
        self._is_draining = False
        self._known_worker: tuple[object, Worker] | None = None
        with receiver.look() as (queries, connection):
            self._known_seq = next((entry.seq for entry in queries.entries(connection, limit=1)), 0)

    # -- making things happen ----------------------------------------------------------------------------------

    def deliver(self, *events: Event | bytes, source: str | None = None, peer: str = PEER) -> None:
        """Hand events to the door, each as a signed request, in this order. Nothing is applied yet.

        Args:
            source: whose door, where there are several; the first one's if not given.
            peer: the address it comes from.

        Raises: AssertionError: the door refused one.
        """
        for event in events:
            request = Signing.of(self.receiver, source)(event)
            status, _, content = self.receiver.receive(
                request.method, request.path, request.headers, request.body, peer
            )
            if status != 200:
                raise AssertionError(findings.refused(event, status, content.decode().strip()))

    def drain(self, *, raises: bool = True) -> None:
        """Apply what has arrived and run handlers, on this thread, until nothing is due by the receiver's clock.

        A handler that fails is tried again later, as in production: turn the clock, or `finish`. Within a handler
        this does nothing.

        Args:
            raises: raise what the first failing handler raised, once all else is done; the rest stays as it is.
        """
        with self._one_at_a_time:
            if self._is_draining:
                return
            self._is_draining = True
            start, before = len(self.calls), self._failures() if raises else {}
            try:
                self._worker().drain()
            finally:
                self._is_draining = False
        if raises:
            self._raise_first(self.calls[start:], before)

    def finish(self) -> None:
        """Drain, and turn the clock from one planned thing to the next until nothing is planned: every retry made,
        every run succeeded or dead. Raises nothing of what handlers raise.

        Raises: TypeError: the receiver's clock cannot be turned.
        """
        clock = self.receiver.clock
        if not isinstance(clock, TurnedClock):
            raise TypeError(f"expected the receiver to be on a TurnedClock, got {type(clock).__name__}")
        self.drain(raises=False)
        while (due_ms := self._planned_ms(clock.now_ms())) is not None:
            clock.set(due_ms)
            self.drain(raises=False)

    def inline(self) -> AbstractContextManager[None]:
        """A block in which the inbox is drained after each request that is kept, before that is answered.

        What a handler raises comes out of the request.
        """
        return inline(self.receiver, self.drain)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which no worker begins beside this: one that the app would run, as in a lifespan, waits to be
        stopped.
        """

        def run_worker(stop: threading.Event, *, concurrency: int = 1) -> None:
            del concurrency
            stop.wait()

        with mock.patch.object(self.receiver, "run_worker", run_worker):
            yield

    def clear(self) -> None:
        """Empty the receiver's tables: inbox, mirror, changes, runs, handlers.

        For databases that keep what tests write; never call it on one whose content matters.
        """
        self.receiver.flush()
        self.receiver._reached.run(_clear)
        self.calls.clear()
        self._known_seq, self._known_worker = 0, None

    # -- asking ------------------------------------------------------------------------------------------------

    def runs(self, event: Event | str, *, by: By | None = None) -> list[RunRow]:
        """The runs of an event and of the changes it caused, oldest first; of one handler if given."""
        with self.receiver.look() as (queries, connection):
            entry = queries.entry(connection, findings.key_of(event))
            found = [] if entry is None else queries.runs(connection, entry_seq=entry.seq, limit=_MOST)
        name = self._name_of(by)
        return [run for run in reversed(found) if name is None or run.handler == name]

    def live(self, resource: str, id_: str, *, source: str | None = None) -> dict[str, Any] | None:
        """What the mirror shows as alive: the columns of an object, or of a relation (`group_id/user_id`); else None.

        Args:
            source: whose mirror, where there are several; the first one's if not given.

        Raises: ConfigError: no such resource.
        """
        with self.receiver.look_at_mirror(source or self.receiver.sources[0].name) as mirror:
            row = mirror.queries.row(mirror.connection, resource, id_)
        return None if row is None or not row.is_live else dict(row.columns)

    def assert_handled(self, event: Event | str, *, by: By | None = None) -> None:
        """Every handler that hears of an event, or of the changes it caused, has run and succeeded; there is one.

        Args:
            by: ask of this handler alone.

        Raises: AssertionError, which says what is wrong and what to do.
        """
        __tracebackhide__ = True
        runs = self.runs(event, by=by)
        if not runs or any(run.state != "succeeded" for run in runs):
            self._fail("to be handled", event, by, runs)

    def assert_dead(self, event: Event | str, *, by: By | None = None) -> None:
        """A handler has failed on an event for good, or the event itself could not be applied.

        Raises: AssertionError, which says what is wrong and what to do.
        """
        __tracebackhide__ = True
        runs = self.runs(event, by=by)
        if any(run.state == "failed" for run in runs) or (by is None and self._state_of(event) == "dead"):
            return
        self._fail("to be a dead letter", event, by, runs)

    def assert_waiting(self, event: Event | str, *, by: By | None = None) -> None:
        """A handler has failed on an event, and is tried again later.

        Raises: AssertionError, which says what is wrong and what to do.
        """
        __tracebackhide__ = True
        runs = self.runs(event, by=by)
        if not any(run.state == "pending" and run.tries > 0 for run in runs):
            self._fail("to wait for another try", event, by, runs)

    def assert_unheard(self, event: Event | str, *, by: By | None = None) -> None:
        """An event was applied, and no handler was told of it: nobody listens, or it is stale and changes nothing.

        Raises: AssertionError, which says what is wrong and what to do.
        """
        __tracebackhide__ = True
        runs = self.runs(event, by=by)
        if runs or self._state_of(event) in {None, "waiting"}:
            self._fail("to be applied and told to nobody", event, by, runs)

    # -- the inside --------------------------------------------------------------------------------------------

    def _worker(self) -> Worker:
        of = (self.receiver.database, [handler.name for handler in self.receiver.handlers])
        if self._known_worker is None or self._known_worker[0] != of:
            self._known_worker = of, self._new_worker()
        return self._known_worker[1]

    def _new_worker(self) -> Worker:
        with mock.patch.object(self.receiver, "handlers", Watched(self.receiver.handlers, self.calls)):
            return self.receiver.worker(concurrency=1)

    def _state_of(self, event: Event | str) -> str | None:
        with self.receiver.look() as (queries, connection):
            entry = queries.entry(connection, findings.key_of(event))
        return None if entry is None else entry.state

    def _name_of(self, by: By | None) -> str | None:
        if by is None or isinstance(by, str):
            return by
        name = next(
            (handler.name for handler in self.receiver.handlers if inspect.unwrap(handler.function) == by), None
        )
        if name is None:
            raise LookupError(f"expected a handler of this receiver, got {by!r}: {findings.listed(self.receiver)}")
        return name

    def _failures(self) -> dict[int, RunRow]:
        with self.receiver.look() as (queries, connection):
            rows = [
                row
                for state in ("pending", "failed")
                for row in queries.runs(connection, state=state, limit=_MOST)
                if row.error
            ]
        return {row.row_id: row for row in rows}

    def _raise_first(self, calls: list[Call], before: dict[int, RunRow]) -> None:
        failed = [call for call in calls if call.error is not None]
        if failed:
            error = failed[0].error
            assert error is not None
            others = f"; {len(failed) - 1} other calls failed, too" if len(failed) > 1 else ""
            error.add_note(f"{failed[0]}{others}")
            raise error
        # What failed outside of the handler, such as a transaction it had broken.
        for row in self._failures().values():
            if row.row_id not in before or row.tries > before[row.row_id].tries:
                raise AssertionError(f"{row.handler} failed:\n{row.error}")

    def _planned_ms(self, now_ms: int) -> int | None:
        """When the next thing is planned, later than now: what is due and not done waits for another."""
        with self.receiver.look() as (queries, connection):
            due = [entry.due_ms for entry in queries.entries(connection, state="waiting", limit=_MOST)]
            due += [run.due_ms for run in queries.runs(connection, state="pending", limit=_MOST)]
            due += [one.probe_ms for one in queries.handlers(connection) if one.paused_reason and one.pending]
        return min((one for one in due if one is not None and one > now_ms), default=None)

    def _fail(self, expected: str, event: Event | str, by: By | None, runs: list[RunRow]) -> None:
        __tracebackhide__ = True  # pytest shows the test's own line
        self.receiver.flush()
        message = findings.explain(self.receiver, expected, event, self._name_of(by), runs, self._known_seq)
        ids = {run.event_id for run in runs}
        cause = next((call.error for call in reversed(self.calls) if call.error and call.event_id in ids), None)
        raise AssertionError(message) from cause


def _clear(connection: Connection) -> None:
    from hookline.storage.app_connection import dialect_of

    cursor = connection.cursor()
    cursor.execute(_TABLES[dialect_of(connection)])
    for (table,) in cursor.fetchall():
        cursor.execute(f'delete from "{table}"')
