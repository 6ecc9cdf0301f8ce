"""`hookline.testing.Sink` as a process of its own, on core 1: answers, or does as the path says. Prints its port."""

from __future__ import annotations

import asyncio
import signal

from bench.measure import pin
from bench.raw import lift_limit
from hookline.testing.sink import Sink


async def serve() -> None:
    """Until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Sink() as sink:
        print(sink.port, flush=True)
        await stop.wait()


if __name__ == "__main__":
    pin(1)
    lift_limit()
    asyncio.run(serve())
