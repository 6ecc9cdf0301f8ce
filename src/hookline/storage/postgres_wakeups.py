"""LISTEN and NOTIFY: what one process commits wakes the others.

One thread with one connection of its own both listens and notifies. However many batches are committed meanwhile, one
`pg_notify` goes out per channel and round trip, and at most one in `GAP_S`: a notification takes a lock that all
commits of a cluster share, and inside every commit it halves their rate (measured). It connects again by itself; what
was said in between may be lost, so that everybody is woken then. Nothing depends on a notification: every loop also
wakes by its timer.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import psycopg

from hookline.errors import StorageUnavailable

if TYPE_CHECKING:
    from hookline.storage.postgres_pool import OurConnection

log = logging.getLogger("hookline.storage")

# One channel of PostgreSQL for all of ours, which are the payload.
CHANNEL: Final = "hookline"
GAP_S: Final = 0.01
RETRY_FIRST_S: Final = 0.1
RETRY_LAST_S: Final = 5.0


class Wakeups:
    """The subscriptions of one process, and its word to the others.

    Args:
        connect: opens a connection that this keeps to itself.
        is_shared: whether other processes are told and listened to; without it only this process's subscribers are.
    """

    def __init__(self, connect: Callable[[], OurConnection], *, is_shared: bool) -> None:
        self._connect = connect
        self._is_shared = is_shared
        self._guard = threading.Lock()
        self._subscribers: dict[str, list[Callable[[], None]]] = {}
        self._unsaid: set[str] = set()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._bell: tuple[socket.socket, socket.socket] | None = None

    def notify(self, channel: str) -> None:
        """Call this process's subscribers now; the others' shortly."""
        with self._guard:
            callbacks = list(self._subscribers.get(channel, ()))
            if self._is_shared and not self._is_closed:
                is_news = channel not in self._unsaid
                self._unsaid.add(channel)
                self._start(None)
                if is_news:
                    self._ring()
        for callback in callbacks:
            callback()

    def subscribe(self, channel: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called after each `notify(channel)` of any process; returns what ends that."""
        connection: OurConnection | None = None
        if self._is_shared and self._thread is None:
            # Before anybody relies on it: a commit from here on is heard of. Where that fails the thread tries on.
            with contextlib.suppress(StorageUnavailable):
                connection = self._listen()
        with self._guard:
            self._subscribers.setdefault(channel, []).append(callback)
            if self._is_shared and not self._is_closed:
                connection = self._start(connection)
        if connection is not None:
            connection.dispose()

        def unsubscribe() -> None:
            with self._guard, contextlib.suppress(ValueError):
                self._subscribers.get(channel, []).remove(callback)

        return unsubscribe

    def close(self) -> None:
        """Say what is not said yet, if that can be done at once, and end."""
        with self._guard:
            self._is_closed = True
            thread = self._thread
            self._ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # -- the inside (with the guard held) ------------------------------------------------------------------------

    def _start(self, connection: OurConnection | None) -> OurConnection | None:
        """Start the thread unless it runs; gives back a connection that it does not take."""
        if self._thread is not None:
            return connection
        self._bell = socket.socketpair()
        for end in self._bell:
            end.setblocking(False)
        self._thread = threading.Thread(
            target=self._run, args=(connection, self._bell), name="hookline-notify", daemon=True
        )
        self._thread.start()
        return None

    def _ring(self) -> None:
        if self._bell is not None:
            with contextlib.suppress(BlockingIOError):
                self._bell[1].send(b"!")

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self, connection: OurConnection | None, bell: tuple[socket.socket, socket.socket]) -> None:
        retry_s = RETRY_FIRST_S
        is_first = connection is not None
        while not self._is_closed or self._unsaid:
            if connection is None:
                try:
                    connection = self._listen()
                except (StorageUnavailable, psycopg.Error):
                    if self._is_closed:
                        break
                    self._wait(bell[0], None, retry_s, for_close=True)
                    retry_s = min(RETRY_LAST_S, retry_s * 2)
                    continue
                retry_s = RETRY_FIRST_S
            if not is_first:
                # What was said while nobody listened here is lost.
                self._wake(None)
            is_first = False
            try:
                self._serve(connection, bell[0])
            except psycopg.Error as error:
                log.info("listening to the database ended (%s), trying again", type(error).__name__)
                connection.dispose()
                connection = None
        if connection is not None:
            connection.dispose()
        for end in bell:
            end.close()

    def _listen(self) -> OurConnection:
        connection = self._connect()
        try:
            connection.execute(f"listen {CHANNEL}")
        except psycopg.Error as error:
            connection.dispose()
            raise StorageUnavailable("the database is not available: it does not let us listen") from error
        connection.add_notify_handler(lambda said: self._hear(said, connection.pgconn.backend_pid))
        return connection

    def _serve(self, connection: OurConnection, bell: socket.socket) -> None:
        """Say and hear until the connection ends or this is closed."""
        last_s = float("-inf")
        while True:
            with self._guard:
                unsaid, is_closed = sorted(self._unsaid), self._is_closed
            pause_s = last_s + GAP_S - time.monotonic()
            if unsaid and (pause_s <= 0 or is_closed):
                # Taken away first: what is committed from here on is said again.
                with self._guard:
                    self._unsaid.difference_update(unsaid)
                try:
                    connection.execute(
                        f"select {', '.join(['pg_notify(%s, %s)'] * len(unsaid))}",
                        [word for channel in unsaid for word in (CHANNEL, channel)],
                    )
                except psycopg.Error:
                    with self._guard:
                        self._unsaid.update(() if is_closed else unsaid)
                    raise
                last_s = time.monotonic()
            elif is_closed:
                return
            else:
                self._wait(bell, connection, pause_s if unsaid else None)

    def _wait(
        self, bell: socket.socket, connection: OurConnection | None, timeout_s: float | None, *, for_close: bool = False
    ) -> None:
        """Sleep until the bell rings, the server says something or the time is up."""
        poll = select.poll()
        poll.register(bell.fileno(), select.POLLIN)
        if connection is not None:
            poll.register(connection.fileno(), select.POLLIN)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_ms = None if deadline is None else max(0.0, (deadline - time.monotonic()) * 1000)
            ready = [number for number, _ in poll.poll(left_ms)]
            if bell.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    bell.recv(4096)
            # News of commits must not hammer a database that is away.
            if not for_close or not ready or self._is_closed:
                break
        if connection is not None and connection.fileno() in ready:
            connection.pgconn.consume_input()
            while (said := connection.pgconn.notifies()) is not None:
                if said.be_pid != connection.pgconn.backend_pid:
                    self._wake(said.extra.decode("utf-8", "replace"))
            if connection.is_lost:
                raise psycopg.OperationalError("the connection was lost")

    def _hear(self, said: psycopg.Notify, own_pid: int) -> None:
        # Our own subscribers were called when it was said.
        if said.pid != own_pid:
            self._wake(said.payload)

    def _wake(self, channel: str | None) -> None:
        with self._guard:
            if channel is None:
                callbacks = [callback for each in self._subscribers.values() for callback in each]
            else:
                callbacks = list(self._subscribers.get(channel, ()))
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.exception("a subscriber failed at another process's commit")


__all__: Sequence[str] = ("Wakeups",)
