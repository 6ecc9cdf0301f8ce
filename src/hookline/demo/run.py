"""The demo from start to end: let the company live at the source, let it drain, hold the mirror against the truth.

The company writes through the sender's `Directories`, which publishes what it does; figures and the truth come out of
the databases. When the time is up the company rests (after the act under way), the wire behaves, everything drains
within a bound, both ends are stopped, and what is then on disk is compared.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from hookline.demo import example
from hookline.demo.company import Company
from hookline.demo.compare import differences
from hookline.demo.ends import ReceiverEnd, SenderEnd
from hookline.demo.figures import ReceiverFigures, SenderFigures, receiver_figures, sender_figures
from hookline.demo.look import look, look_at
from hookline.demo.register import register
from hookline.demo.serving import Served, loopback
from hookline.demo.truth import Truth, truth_of
from hookline.demo.view import Handlers, Phase, Report, Snapshot
from hookline.demo.wire import Habits, Wire
from hookline.loop import Clock, SystemClock
from hookline.storage import connect
from hookline.wire.catalogue import WEBHOOK_TYPES
from hookline.wire.signature import sign

if TYPE_CHECKING:
    from hookline.demo.stage import Stage

T = TypeVar("T")

DRAIN_S: Final = 60.0
CHECK_S: Final = 0.1
LINES_SHOWN: Final = 40
REST_PER_LOOK: Final = 5
# When one row of the mirror is changed, to be found; and how often a company that rests looks whether it may go on.
PLANTED_AFTER_S: Final = 4.0
PAUSED_LOOK_S: Final = 0.2
# How old the signature of a replayed request is: far outside the receiver's window.
REPLAYED_AFTER_MS: Final = 3_600_000

# How many events the company may be behind with.
BEHIND_MAX: Final = 100

PUBLISHED_TYPES: Final = tuple(
    name for name in WEBHOOK_TYPES if name.startswith(("dsync.", "organization.", "organization_domain."))
)


@dataclass(frozen=True, slots=True)
class Options:
    """What to run.

    Attributes:
        duration_s: how long to publish; None until told to stop.
        rate: events per second.
        seed: decides what the company does and what the wire does to each request.
        folder: an empty folder for the log, and for the databases that have no URL.
        sender_url: the sender's database, empty; None makes a file in the folder.
        receiver_url: the receiver's, likewise.
        kept: what stays afterwards, for the summary; None says nothing of it.
        port: of the sender's API; 0 for any free one.
        api_key: for that API; None makes one nobody knows.
        habits: how bad the wire is.
        has_dashboard: whether there is one, on the sender's port, with what it shows laid out.
    """

    duration_s: float | None
    rate: float
    seed: int
    folder: Path
    sender_url: str | None = field(default=None, repr=False)
    receiver_url: str | None = field(default=None, repr=False)
    kept: str | None = None
    port: int = 0
    api_key: str | None = field(default=None, repr=False)
    habits: Habits = Habits()  # noqa: RUF009 - frozen
    has_dashboard: bool = False

    def urls(self) -> tuple[str, str]:
        """The sender's database and the receiver's."""
        folder = self.folder.absolute()
        return (
            self.sender_url or f"sqlite:///{folder / 'sender.db'}",
            self.receiver_url or f"sqlite:///{folder / 'receiver.db'}",
        )


class Demo:
    """One run. `stop` ends publishing early; cancelling `run` gives up.

    Args:
        show: called with a snapshot every `every_s` seconds.
        lead: called once with the URL that leads into the dashboard, where there is one.
    """

    def __init__(
        self,
        options: Options,
        *,
        show: Callable[[Snapshot], None],
        every_s: float,
        clock: Clock | None = None,
        lead: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._show = show
        self._every_s = every_s
        self._clock = clock or SystemClock()
        self._lead = lead
        self._stage: Stage | None = None
        self._stop = asyncio.Event()
        self._phase: Phase = "publishing"
        self._happening = ""
        self._started_s = 0.0

    @property
    def is_publishing(self) -> bool:
        """Whether publishing goes on, so that there is something to stop."""
        return self._phase == "publishing" and not self._stop.is_set()

    def truth(self) -> Truth:
        """What the mirror should be equal to, once everything has drained."""
        with look_at(self._options.urls()[0]) as sender:
            return truth_of(sender)

    def stop(self) -> None:
        """Publish no more, and drain."""
        self._stop.set()

    async def run(self) -> Report:
        """Run to the end.

        Raises: whatever keeps an end from starting or publishing from going on.
        """
        options = self._options
        loop = asyncio.get_running_loop()
        sender_url, receiver_url = options.urls()
        async with AsyncExitStack() as ends:
            sending = SenderEnd(
                sender_url, clock=self._clock, listening=loopback(options.port), api_key=options.api_key
            )
            sender = await ends.enter_async_context(_in_thread(sending))
            door = loopback()
            # The receiver closes it; where it comes to none, this does.
            ends.callback(door.close)
            wire = await ends.enter_async_context(
                Wire(
                    ("127.0.0.1", door.getsockname()[1]),
                    rng=random.Random(f"wire {options.seed}"),  # noqa: S311
                    clock=self._clock,
                    sign_old=lambda body: sign(body, secret, timestamp_ms=self._clock.now_ms() - REPLAYED_AFTER_MS),
                    habits=options.habits,
                )
            )
            target = f"http://127.0.0.1:{wire.port}/webhooks"
            secret = await register(sender.base_url, sender.api_key, target, PUBLISHED_TYPES)
            source = (sender.base_url, sender.api_key) if options.has_dashboard else None
            receiver = await ends.enter_async_context(
                _in_thread(ReceiverEnd(receiver_url, secret=secret, clock=self._clock, listening=door, source=source))
            )
            if options.has_dashboard:
                await self._open_dashboard(ends, sender, receiver, wire, target)
            readings = _Readings(sender_url, receiver_url, self._failing_url)
            ends.callback(readings.close)
            self._started_s = loop.time()
            over = asyncio.Event()
            watching = asyncio.create_task(self._watch(wire, readings, over))
            try:
                rng = random.Random(f"company {options.seed}")  # noqa: S311 - a simulation, not a secret
                await self._publish(Company(rng, sender.directories))
                published_s = loop.time() - self._started_s
                if self._stage is not None:
                    # What somebody rotated is to arrive, and what was planted is no fault of the mirror's.
                    await asyncio.to_thread(self._stage.give_secrets)
                    await asyncio.to_thread(self._stage.take_back)
                self._phase = "draining"
                # Said at once: what drains may be over before anybody looks again.
                self._show(self._snapshot(wire, *await asyncio.to_thread(readings.figures, last=LINES_SHOWN)))
                await wire.drain()
                drained = await self._drain(readings)
                drained_s = loop.time() - self._started_s - published_s
                self._phase = "comparing"
            finally:
                over.set()
                await watching
            self._show(self._snapshot(wire, *await asyncio.to_thread(readings.figures)))
        return self._report(wire, published_s, drained_s, drained=drained)

    @property
    def _failing_url(self) -> str | None:
        """Of the endpoint that is not the company's app: its deliveries are left out of the figures."""
        return None if self._stage is None else self._stage.consumer_url

    async def _open_dashboard(
        self, ends: AsyncExitStack, sender: SenderEnd, receiver: ReceiverEnd, wire: Wire, target: str
    ) -> None:
        # Not at the top: a demo without does not wait for it to load.
        from hookline.demo.pages import open_dashboard
        from hookline.demo.stage import Consumer, Stage

        consumer, listening = Consumer(), loopback()
        ends.callback(listening.close)
        await ends.enter_async_context(_in_thread(Served(consumer, listening, name="demo-billing")))
        consumer_url = f"http://127.0.0.1:{listening.getsockname()[1]}/webhooks"
        self._stage = stage = Stage(
            sender=sender,
            receiver=receiver,
            wire=wire,
            consumer=consumer,
            consumer_url=consumer_url,
            endpoint_url=target,
            rate=self._options.rate,
        )
        database = connect(self._options.urls()[0])
        ends.callback(database.close)
        await asyncio.to_thread(stage.lay_out)
        dashboard, way_in = await asyncio.to_thread(open_dashboard, database, sender, receiver, stage, self._clock)

        def close() -> None:
            sender.dashboard = None
            dashboard.close()

        # Before the receiver, which it reads.
        ends.push_async_callback(asyncio.to_thread, close)
        sender.dashboard = dashboard
        self._lead(sender.base_url + way_in)

    async def _publish(self, company: Company) -> None:
        """Let the company act, so often that its events keep the rate, until the time is up or `stop` is called."""
        loop, rate, duration_s = asyncio.get_running_loop(), self._options.rate, self._options.duration_s
        stage = self._stage
        ends_s = None if duration_s is None else self._started_s + duration_s
        paced_s, told = self._started_s, 0
        while not self._stop.is_set():
            now_s = loop.time()
            if stage is not None:
                if stage.planted is None and now_s - self._started_s > PLANTED_AFTER_S:
                    await asyncio.to_thread(stage.plant)
                if stage.rate != rate or stage.is_paused:
                    # As if it had begun just now: what another rate owes is not made up for.
                    rate, paced_s, told = stage.rate, now_s, 0
                if stage.is_paused and (ends_s is None or now_s < ends_s):
                    await self._stop_or(PAUSED_LOOK_S)
                    continue
            if ends_s is not None and now_s >= ends_s:
                # What the rate owes for the whole time is made up for, and no more.
                due = round((ends_s - paced_s) * rate) - told
                if due <= 0:
                    break
            else:
                due = int((now_s - paced_s) * rate) + 1 - told
            if due <= 0:
                next_s = paced_s + told / rate
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(next_s if ends_s is None else min(next_s, ends_s)):
                        await self._stop.wait()
                continue
            if due > BEHIND_MAX:
                # The process was stopped for a while, or cannot keep up: what was missed is not made up for.
                paced_s += (due - BEHIND_MAX) / rate
            happening = await _to_its_end(company.act)
            self._happening = happening.summary
            told += happening.events

    async def _stop_or(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _drain(self, readings: _Readings) -> bool:
        """Wait until nothing waits anywhere; False where that takes longer than DRAIN_S."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                # Watched from outside, as a person would: the ends set no event of ours.
                while not _is_idle(*await asyncio.to_thread(readings.figures)):  # noqa: ASYNC110
                    await asyncio.sleep(CHECK_S)
                return True
        return False

    async def _watch(self, wire: Wire, readings: _Readings, over: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not over.is_set():
            began_s = loop.time()
            figures = await asyncio.to_thread(readings.figures, last=LINES_SHOWN)
            self._show(self._snapshot(wire, *figures))
            # After hours there is much to count: looking is to take a small part of the time.
            pause_s = max(self._every_s, REST_PER_LOOK * (loop.time() - began_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await over.wait()

    def _snapshot(self, wire: Wire, sender: SenderFigures, receiver: ReceiverFigures) -> Snapshot:
        return Snapshot(
            now_ms=self._clock.now_ms(),
            elapsed_s=asyncio.get_running_loop().time() - self._started_s,
            duration_s=self._options.duration_s,
            rate=self._options.rate,
            seed=self._options.seed,
            phase=self._phase,
            sender=sender,
            wire=wire.figures(),
            receiver=receiver,
            deeds=wire.deeds(),
            happening=self._happening,
        )

    def _report(self, wire: Wire, published_s: float, drained_s: float, *, drained: bool) -> Report:
        truth = self.truth()
        sender_url, receiver_url = self._options.urls()
        users = truth.objects["directory_user"]
        allowed = {key: user["email"] for key, user in users.items() if user["state"] == "active"}
        with look_at(sender_url) as sender, look_at(receiver_url) as receiver:
            created = sender.rows("select id from hookline_sender_events where type = 'dsync.user.created'")
            welcomes_expected = sorted(event_id for (event_id,) in created)
            welcomes, access = example.welcomes(receiver), example.access(receiver)
            return Report(
                seed=self._options.seed,
                rate=self._options.rate,
                published_s=published_s,
                drained_s=drained_s,
                drained=drained,
                sender=sender_figures(sender, besides=self._failing_url),
                wire=wire.figures(),
                receiver=receiver_figures(receiver),
                handlers=Handlers(
                    welcomes=len(welcomes),
                    welcomes_expected=len(welcomes_expected),
                    access=len(access),
                    access_expected=len(allowed),
                    is_right=welcomes == welcomes_expected and access == allowed,
                ),
                compared=truth.count(),
                differences=differences(truth, receiver),
                kept=self._options.kept,
            )


async def _to_its_end(act: Callable[[], T]) -> T:
    """Call a function in a thread; who is cancelled meanwhile waits for its end, so that nothing is closed under it."""
    acting = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        return await asyncio.shield(acting)
    except asyncio.CancelledError:
        await asyncio.wait([acting])
        raise


@asynccontextmanager
async def _in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context that blocks while it starts and stops, kept off the loop that the wire needs to let go of things."""
    entered: list[T] = []
    try:
        await _to_its_end(lambda: entered.append(context.__enter__()))
        yield entered[0]
    finally:
        if entered:
            await _to_its_end(lambda: context.__exit__(None, None, None))


class _Readings:
    """Both databases, open to look into from any thread."""

    def __init__(self, sender_url: str, receiver_url: str, besides: str | None) -> None:
        self._besides = besides
        self._sender, self._receiver = connect(sender_url), connect(receiver_url)

    def figures(self, *, last: int = 0) -> tuple[SenderFigures, ReceiverFigures]:
        with look(self._sender) as sender, look(self._receiver) as receiver:
            return sender_figures(sender, last=last, besides=self._besides), receiver_figures(receiver, last=last)

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()


def _is_idle(sender: SenderFigures, receiver: ReceiverFigures) -> bool:
    return not (sender.open or receiver.waiting or receiver.runs_open or receiver.cascades)
