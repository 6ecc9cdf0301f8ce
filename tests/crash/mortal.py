"""Dying at a point: hooks beside the real code, and SIGKILL when the point is reached for the nth time.

A point is named by what the code just did, in the words of its own verbs (`sql/*.sql`, one transition each):

    "claim: inside"           the statement has written, its transaction goes on
    "claim: before commit"    everything of that transaction has been written, nothing of it is durable
    "claim: after commit"     it is durable, and nobody has been told

A verb that wrote no row reaches no point. Programs name further points of their own with `Death.at`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final
from unittest.mock import patch

from hookline.sender.begun import GiveUp
from hookline.sender.http import Answer, Exchange, Request
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.storage.sqlite import SqliteDatabase
from hookline.storage.verbs import Verb

NEVER: Final = "never"


class Death:
    """Comes when `point` is reached for the `nth` time."""

    def __init__(self, point: str, nth: int) -> None:
        self._point = point
        self._left = nth
        self._guard = threading.Lock()

    def at(self, point: str) -> None:
        """A point is reached."""
        if point != self._point:
            return
        with self._guard:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def watch_verbs(death: Death) -> None:
    """From here on every verb of this process, and every commit of a transaction one wrote in, is a point."""
    here = threading.local()

    def watched_verb(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(verb: Verb, connection: Any, *arguments: Any, **named: Any) -> Any:
            before = connection.total_changes
            result = real(verb, connection, *arguments, **named)
            if connection.total_changes > before:
                here.verbs.append(verb.name)
                death.at(f"{verb.name}: inside")
            return result

        return call

    def watched_transaction(real: Callable[..., Any]) -> Callable[..., Any]:
        @contextlib.contextmanager
        def transaction(database: SqliteDatabase) -> Iterator[Any]:
            written: list[str] = []
            here.verbs = written
            with real(database) as connection:
                yield connection
                for name in dict.fromkeys(written):
                    death.at(f"{name}: before commit")
            for name in dict.fromkeys(written):
                death.at(f"{name}: after commit")

        return transaction

    for name in ("run", "count", "run_many"):
        patch.object(Verb, name, watched_verb(getattr(Verb, name))).start()
    for name in ("transaction", "lent"):
        patch.object(SqliteDatabase, name, watched_transaction(getattr(SqliteDatabase, name))).start()


class MortalExchange(Exchange):
    """Makes the real exchanges, with a point on either side."""

    def __init__(self, death: Death) -> None:
        self._death = death
        self._real = HttptoolsExchange(refuse=lambda _: None)

    def begin(self, request: Request, done: Callable[[Answer], None]) -> GiveUp:
        def ended(answer: Answer) -> None:
            self._death.at("post: after the answer")
            done(answer)

        self._death.at("post: before sending")
        return self._real.begin(request, ended)

    async def close(self) -> None:
        await self._real.close()
