"""A listener at work: a feed of deliveries, the pipeline that sees them through, and when it is enough."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from hookline.loop import Clock
from hookline.relay.frames import Answer, Bye
from hookline.relay.pipeline import Pipeline, Totals

Ending: TypeAlias = Literal["enough", "idle", "quit", "interrupted", "over"]

_LOOK_MS: Final = 250


class Feed(Protocol):
    """Where deliveries come from.

    Attributes:
        live_since_ms: since when they come; None while they do not.
        to_come: how many are known to come.
    """

    live_since_ms: int | None
    to_come: int

    def answered(self, answer: Answer) -> None:
        """What came of a delivery."""

    async def run(self, pipeline: Pipeline) -> Bye:
        """Hand deliveries to the pipeline until there will never be any more, or until cancelled."""

    async def leave(self) -> None:
        """See to it that what was answered is known, within a moment."""


@dataclass(frozen=True, slots=True)
class Until:
    """When it is enough.

    Attributes:
        count: after so many deliveries have ended.
        idle_ms: when nothing came for so long, and nothing is under way.
    """

    count: int | None = None
    idle_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: `over` with what the server said last; and what came of everything."""

    ending: Ending
    totals: Totals
    bye: Bye | None = None


class Listening:
    """A listener. `pipeline` is there for whoever pauses and sends again; `quit` ends it."""

    def __init__(self, feed: Feed, pipeline: Pipeline, *, clock: Clock, until: Until) -> None:
        self.pipeline = pipeline
        self._feed = feed
        self._clock = clock
        self._until = until
        pipeline.most = until.count
        self._quit: asyncio.Future[Ending] | None = None

    def quit(self, ending: Ending = "quit") -> None:
        """End it, once it runs; what is being posted is not waited for."""
        if self._quit is not None and not self._quit.done():
            self._quit.set_result(ending)

    async def run(self) -> Outcome:
        """Listen until it is enough, or nothing more will come. Raises what the feed raises."""
        self._quit = asyncio.get_running_loop().create_future()
        feeding = asyncio.create_task(self._feed.run(self.pipeline))
        working = asyncio.create_task(self.pipeline.run())
        watching = asyncio.create_task(self._enough())
        tasks = (feeding, working, watching)
        try:
            done, _ = await asyncio.wait((*tasks, self._quit), return_when=asyncio.FIRST_COMPLETED)
            if working in done:
                working.result()
            if feeding in done:
                return Outcome("over", self.pipeline.totals, feeding.result())
            await self._feed.leave()
            return Outcome(watching.result() if watching in done else self._quit.result(), self.pipeline.totals)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _enough(self) -> Ending:
        pipeline, until = self.pipeline, self._until
        while True:
            pipeline.ended.clear()
            if pipeline.has_enough:
                return "enough"
            due_ms = None
            if until.idle_ms is not None:
                now_ms = self._clock.now_ms()
                due_ms = now_ms + _LOOK_MS
                if self._feed.live_since_ms is not None and not self._feed.to_come and pipeline.is_idle:
                    due_ms = max(pipeline.last_ms, self._feed.live_since_ms) + until.idle_ms
                    if due_ms <= now_ms:
                        return "idle"
            await self._clock.sleep_until(due_ms, pipeline.ended)
