"""A worker on an app's own transactions, which waits to be killed once a handler's run is marked, before the commit.

Usage: python -m tests.adapters.killed_app KIND DATABASE_URL NOW_MS
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from hookline.receiver.app import Receiver
from hookline.receiver.handlers import LentTransaction, Transactions
from hookline.testing.clock import TurnedClock
from tests.apps import KINDS


class Mortal:
    """The app's transactions; the one in which a handler has written stops just before its commit."""

    def __init__(self, inner: Transactions) -> None:
        self._inner = inner
        self.has_written = False

    @contextlib.contextmanager
    def begin(self) -> Iterator[LentTransaction]:
        with self._inner.begin() as transaction:
            yield transaction
            if self.has_written:
                print("marked", flush=True)
                threading.Event().wait()


def main(kind: str, url: str, now_ms: str) -> None:
    _, opened = KINDS[kind]
    with opened(url) as app:
        mortal = Mortal(app.transactions)
        receiver = Receiver(transactions=mortal, clock=TurnedClock(int(now_ms)))

        @receiver.on("*", name="h")
        def write(event: Any, tx: Any) -> None:
            app.say(tx, f"insert into told (id, word) values ('{event.id}', 'killed')")
            mortal.has_written = True

        receiver.drain()


if __name__ == "__main__":
    main(*sys.argv[1:])
