"""Handlers that run in the request, as with Celery's `task_always_eager`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

from hookline.receiver.app import Receiver
from hookline.receiver.intake import Intake, Opened
from hookline.receiver.model import Entry, PutKind


@contextlib.contextmanager
def inline(receiver: Receiver, then: Callable[[], None]) -> Iterator[None]:
    """Have `then` called after each entry that a receiver keeps, also once it was closed and has opened again.

    In the thread that keeps the entry; for coroutines in one of asyncio's.
    """
    plain_open = receiver.open
    with contextlib.ExitStack() as changed:
        known: list[Intake] = []

        def open_inline() -> Opened:
            opened = plain_open()
            if opened.intake not in known:
                known.append(opened.intake)
                changed.enter_context(_followed(opened.intake, then))
            return opened

        changed.enter_context(mock.patch.object(receiver, "open", open_inline))
        open_inline()
        yield


@contextlib.contextmanager
def _followed(intake: Intake, then: Callable[[], None]) -> Iterator[None]:
    plain_put, plain_put_inline = intake.put, intake.put_inline

    async def put(entry: Entry) -> PutKind:
        kind = await plain_put(entry)
        await asyncio.to_thread(then)
        return kind

    def put_inline(entry: Entry) -> PutKind:
        kind = plain_put_inline(entry)
        then()
        return kind

    with mock.patch.multiple(intake, put=put, put_inline=put_inline):
        yield
