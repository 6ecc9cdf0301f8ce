"""Two ways to wait for what takes time: begin it, and be called when it ends; or await it.

Deliveries are begun: a task, a coroutine or two and a future for each cost more than the request (docs/decisions/0133).
What goes several ways, or is made once in a while, is written as a coroutine and awaited. Here each becomes the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

T = TypeVar("T")

# Ends what was begun without its result: whoever waited is not called any more.
GiveUp: TypeAlias = Callable[[], None]

# An event loop alone does not keep its tasks.
_tasks: Final[set[asyncio.Task[None]]] = set()


async def awaited(begin: Callable[[Callable[[T], None]], GiveUp]) -> T:
    """Wait for what `begin(done)` begins. Cancelled, it is given up."""
    waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def done(value: T) -> None:
        if not waiter.done():
            waiter.set_result(value)

    give_up = begin(done)
    try:
        return await waiter
    except asyncio.CancelledError:
        give_up()
        raise


def begun(work: Coroutine[Any, Any, T], done: Callable[[T], None], failed: Callable[[Exception], T]) -> GiveUp:
    """Begin a coroutine in a task of its own; `done` gets its result, or what `failed` makes of its exception."""

    async def run() -> None:
        try:
            value = await work
        except Exception as error:
            value = failed(error)
        done(value)

    def forget(ended: asyncio.Task[None]) -> None:
        _tasks.discard(ended)
        work.close()  # given up before its first step, it would complain that nobody has awaited it

    task = asyncio.get_running_loop().create_task(run())
    _tasks.add(task)
    task.add_done_callback(forget)
    return task.cancel  # type: ignore[return-value]  # whether it was in time is of no interest
