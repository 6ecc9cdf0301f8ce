"""A sender that kills itself at a step: `python -m tests.sender.crashing_sender DATABASE STEP COUNT CLOCK_OFFSET_MS`.

Composes what `hookline serve sender` composes, with a hook at each step; at the COUNTth time it comes to STEP it
dies by SIGKILL, as a machine does. With the step `none` it delivers everything and ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from hookline.loop import SystemClock
from hookline.sender.deliver import Deliverer
from hookline.sender.http import AiohttpExchange, Answer, Request
from hookline.sender.store import SenderStore
from hookline.storage import Connection, Database, connect

T = TypeVar("T")

STEPS = ("before_send", "after_send", "before_commit", "after_commit")


class Death:
    """Comes at the nth time a step is reached."""

    def __init__(self, step: str, count: int) -> None:
        self.step = step
        self.left = count

    def at(self, step: str) -> None:
        if step == self.step:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class MortalExchange:
    """Makes the real exchanges, with a step on either side."""

    def __init__(self, death: Death) -> None:
        self.death = death
        self.real = AiohttpExchange(refuse=lambda _: None)

    async def send(self, request: Request) -> Answer:
        self.death.at("before_send")
        answer = await self.real.send(request)
        self.death.at("after_send")
        return answer

    async def close(self) -> None:
        await self.real.close()


class MortalDatabase:
    """The real database, with a step on either side of each commit."""

    def __init__(self, real: Database, death: Death) -> None:
        self.real = real
        self.death = death

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def run(self, work: Callable[[Connection], T]) -> T:
        def watched(connection: Connection) -> T:
            done = work(connection)
            self.death.at("before_commit")
            return done

        done = self.real.run(watched)
        self.death.at("after_commit")
        return done


class ShiftedClock(SystemClock):
    """The machine's clock, set forward."""

    def __init__(self, offset_ms: int) -> None:
        self.offset_ms = offset_ms

    def now_ms(self) -> int:
        return super().now_ms() + self.offset_ms


async def deliver(url: str, step: str, count: int, offset_ms: int) -> None:
    """Deliver until nothing waits or runs."""
    death = Death(step, count)
    database = connect(url)
    exchange = MortalExchange(death)
    mortal: Any = MortalDatabase(database, death)
    deliverer = Deliverer(
        mortal,
        SenderStore(database.dialect),
        exchange,
        clock=ShiftedClock(offset_ms),
        decrypt=lambda sealed: sealed,
        jitter=lambda: 0.0,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(deliverer.run(stop))
    while open_deliveries(database) and not task.done():  # noqa: ASYNC110  (rows in a database)
        await asyncio.sleep(0.02)
    stop.set()
    await task
    await exchange.close()
    database.close()


def open_deliveries(database: Database) -> int:
    """How many deliveries wait or run."""
    with database.read() as connection:
        [[count]] = connection.execute(
            "select count(*) from hookline_sender_deliveries where state in ('pending', 'running')"
        )
    return int(count)


if __name__ == "__main__":
    asyncio.run(deliver(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
