"""A listener in front of somebody: forwarding, the view, Ctrl-C. Whatever the deliveries come from."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from hookline.cli import Exit, fail, may_ask

if TYPE_CHECKING:
    from hookline.cli.listen_view import Head, JsonView, LinesView
    from hookline.loop import Clock
    from hookline.relay.forward import Forwarder
    from hookline.relay.listening import Feed, Outcome, Until
    from hookline.relay.pipeline import Signing

Output: TypeAlias = Literal["compact", "json"]
View: TypeAlias = "JsonView | LinesView"


@dataclass(frozen=True, slots=True)
class Showing:
    """How it is shown, what befalls requests, where they are kept, and when it ends."""

    output: Output
    until: Until
    fate: Callable[[], tuple[int, ...]] | None = None
    record: Path | None = None


async def run_listening(
    make_feed: Callable[[View, Signing], Feed],
    forwarder: Forwarder,
    signing: Signing,
    head: Head,
    showing: Showing,
    clock: Clock,
) -> Outcome:
    """Have what a feed brings posted and shown, until it ends. Raises what the feed raises; ConfigError."""
    from hookline.cli.listen_view import JsonView, LinesView
    from hookline.relay.listening import Listening
    from hookline.relay.pipeline import Pipeline
    from hookline.relay.record import Recording

    record = None if showing.record is None else Recording(showing.record, forwarder.url).keep
    is_up = await forwarder.is_up()
    view: View = JsonView() if showing.output == "json" else LinesView(head, is_up=is_up, can_ask=may_ask())
    feed = make_feed(view, signing)
    pipeline = Pipeline(
        forwarder, signing, watcher=view, answered=feed.answered, clock=clock, fate=showing.fate, record=record
    )
    listening = Listening(feed, pipeline, clock=clock, until=showing.until)
    with _ended_by_signals(listening.quit):
        outcome = await listening.run()
    view.ended(outcome)
    return outcome


def exit_code(outcome: Outcome, name: str, *, as_json: bool) -> int:
    """What the command leaves its caller with."""
    if outcome.bye is None:
        if outcome.ending == "quit":
            return Exit.INTERRUPTED
        return Exit.FAILED if outcome.totals.failed else Exit.OK
    reason, told, code = outcome.bye.reason, outcome.bye.message, Exit.FAILED
    if reason == "elsewhere":
        told = f"{name} listens elsewhere now: {told}"
    elif reason == "revoked":
        code = Exit.NOT_LOGGED_IN
    return fail(reason, told, code, as_json=as_json)


@asynccontextmanager
async def forwarder_to(url: str, timeout_s: float) -> AsyncIterator[Forwarder]:
    """The developer's own machine, or whatever they name: there is nothing to be kept from."""
    from hookline.relay.forward import Forwarder
    from hookline.sender.http_httptools import HttptoolsExchange

    exchange = HttptoolsExchange(refuse=lambda _: None)
    try:
        yield Forwarder(url, exchange, timeout_s=timeout_s)
    finally:
        await exchange.close()


@contextmanager
def _ended_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end it in good order: what was answered is told, the terminal is as it was."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    # Not on Windows, nor where it is not the main thread.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for number in numbers:
            loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            for number in numbers:
                loop.remove_signal_handler(number)
