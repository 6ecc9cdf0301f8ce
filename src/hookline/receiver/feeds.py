"""What a worker does beside its inbox for every source that has an API: tail, refetches and passes, each on a thread.

One process at a time does each of them for a source (leases.py); the others look now and then whether it is their turn.
So every worker of every host runs this, and nobody has to say which of them it is.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

from hookline.errors import StorageError
from hookline.loop import run_loop
from hookline.receiver.leases import Leases, holder_name
from hookline.receiver.mirror_store import MirrorStore
from hookline.receiver.passes import Passes
from hookline.receiver.refetch import Refetcher
from hookline.receiver.source import WORKOS_URL
from hookline.receiver.tail import Tail
from hookline.storage import Verbs

if TYPE_CHECKING:
    from types import TracebackType

    from hookline.loop import Clock
    from hookline.receiver.counters import Counters
    from hookline.receiver.source_http import HttpSource
    from hookline.receiver.sources import Source
    from hookline.receiver.work import Access

# How often a feed is asked that has nothing planned: what it would do may be begun by another process.
LOOK_MS: Final = 15_000
# How long requests under way may take once the end is near. After that their connections are cut.
END_S: Final = 5.0


class Feed(Protocol):
    """One thing that is done for a source again and again."""

    def step(self, now_ms: int) -> int | None:
        """Do once what is due; when to come again (Unix milliseconds), None where nothing is planned."""

    def release(self) -> None:
        """Let other processes do it at once."""


class Hosted(NamedTuple):
    """A feed, whose it is and what it does: `tail`, `refetch`, `passes`."""

    source: str
    does: str
    feed: Feed

    def step(self, clock: Clock) -> int:
        """Do once what is due; when to come again."""
        now_ms = clock.now_ms()
        due_ms = self.feed.step(now_ms)
        return now_ms + LOOK_MS if due_ms is None else min(due_ms, now_ms + LOOK_MS)


class Feeds:
    """The feeds of a receiver's sources, as one process has a part in them.

    Entered as a context they run, each on a thread of its own, until it is left; tests `step` them instead.

    Args:
        access: the tables; of its own, so that whatever ends here leaves the worker's alone.
        sources: those that have an API; others are passed over.
        clock: for the time and the sleep.
        optional: resources that are mirrored only where asked for.
        counters: what is counted here.
        keeping, kept: as of `Tail`.

    Attributes:
        hosted: the feeds.
    """

    def __init__(
        self,
        access: Access,
        sources: Sequence[Source],
        *,
        clock: Clock,
        counters: Counters,
        optional: Collection[str] = (),
        keeping: Callable[[Any], None] | None = None,
        kept: Callable[[], None] | None = None,
    ) -> None:
        self._access = access
        self._clock = clock
        self._apis: list[HttpSource] = []
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._wakes: list[threading.Event] = []
        holder = holder_name()
        hosted: list[Hosted] = []
        for source in sources:
            api = source.api(clock, counters.requests[source.name])
            if api is None:
                continue
            self._apis.append(api)
            verbs = Verbs("hookline.receiver", access.dialect)
            leases = Leases(verbs, holder)
            mirror = MirrorStore(verbs)
            passes = Passes(access, mirror, source.name, api, clock, leases, every_s=source.reconcile_every_s)
            if source.tail != "off":
                tail = Tail(
                    access,
                    source.name,
                    api,
                    leases,
                    types=source.tail_types,
                    knows_all=source.api_url.rstrip("/") == WORKOS_URL,
                    optional=optional,
                    redact=source.secret_places,
                    begin_pass=partial(passes.start, "reconcile", "apply", asked_by="tail"),
                    counters=counters,
                    keeping=keeping,
                    kept=kept,
                )
                hosted.append(Hosted(source.name, "tail", tail))
            refetcher = Refetcher(access, mirror, source.name, api, clock, leases, counters=counters)
            hosted += [Hosted(source.name, "refetch", refetcher), Hosted(source.name, "passes", passes)]
        self.hosted: Final = tuple(hosted)

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self.hosted)

    def step(self) -> int:
        """Do once whatever is due of each, on this thread; when to come again (Unix milliseconds)."""
        return min((one.step(self._clock) for one in self.hosted), default=self._clock.now_ms() + LOOK_MS)

    def settle(self) -> int:
        """Step until nothing is due; when to come again."""
        while (due_ms := self.step()) <= self._clock.now_ms():
            pass
        return due_ms

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set; what is under way is finished first, or cut off where that takes long."""
        with self:
            stop.wait()

    def __enter__(self) -> Self:
        for one in self.hosted:
            wake = threading.Event()
            thread = threading.Thread(
                target=self._work, args=(one, wake), name=f"hookline-{one.does}-{one.source}", daemon=True
            )
            self._wakes.append(wake)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what runs, give up what this process holds and close its connections."""
        self._stop.set()
        for wake in self._wakes:
            wake.set()
        deadline_s = time.monotonic() + END_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        for api in self._apis:
            api.close()
        for thread in self._threads:
            thread.join()
        if not self._threads:
            for one in self.hosted:
                one.feed.release()
        self._threads.clear()

    def _work(self, one: Hosted, wake: threading.Event) -> None:
        name = f"{one.does} of {one.source}"
        try:
            run_loop(partial(one.step, self._clock), clock=self._clock, wake=wake, stop=self._stop, name=name)
            with contextlib.suppress(StorageError):  # it passes by itself, within a minute
                one.feed.release()
        finally:
            self._access.end_thread()
