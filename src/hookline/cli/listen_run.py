"""A listener in front of somebody: forwarding, the view, Ctrl-C. Whatever the deliveries come from."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from hookline.cli import MANNER, Exit, fail, may_ask
from hookline.errors import ConfigError

if TYPE_CHECKING:
    from hookline.cli.listen_screen import ScreenView
    from hookline.cli.listen_view import Head, JsonView, LinesView
    from hookline.loop import Clock
    from hookline.relay.forward import Forwarder
    from hookline.relay.listening import Feed, Outcome, Until
    from hookline.relay.pipeline import Item, Signing
    from hookline.wire.explain import Explanation, NamedSecret

Output: TypeAlias = Literal["interactive", "compact", "json"]
View: TypeAlias = "JsonView | LinesView | ScreenView"


@dataclass(frozen=True, slots=True)
class Showing:
    """How it is shown, what befalls requests, where they are kept, and when it ends.

    Attributes:
        app_secrets: what the app is known to verify with, to explain a refusal by.
        link: where a dashboard shows an event, by its id; None without one.
    """

    output: Output
    until: Until
    fate: Callable[[], tuple[int, ...]] | None = None
    record: Path | None = None
    app_secrets: Sequence[NamedSecret] = field(default=(), repr=False)
    link: Callable[[str], str] | None = None


def output_of(output: Output | None, *, as_json: bool) -> Output:
    """How to show it: as asked for, else a full screen where both ends of it are a terminal.

    Raises:
        ConfigError: a full screen was asked for, and there is none.
    """
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    # Keys are read as POSIX has it: on Windows there are lines.
    is_terminal = is_terminal and find_spec("termios") is not None
    if output == "interactive" and not is_terminal:
        raise ConfigError("--output", "expected a terminal to show a full screen on; compact and json need none")
    if as_json:
        return "json"
    return output or ("interactive" if is_terminal and MANNER.get().asks else "compact")


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
    view = await _view(forwarder, signing, head, showing)
    feed = make_feed(view, signing)
    pipeline = Pipeline(
        forwarder, signing, watcher=view, answered=feed.answered, clock=clock, fate=showing.fate, record=record
    )
    listening = Listening(feed, pipeline, clock=clock, until=showing.until)
    async with AsyncExitStack() as around:
        if not isinstance(view, (JsonView, LinesView)):
            await around.enter_async_context(view.shown(listening))
        around.enter_context(_ended_by_signals(lambda: listening.quit("interrupted")))
        outcome = await listening.run()
    view.ended(outcome)
    return outcome


async def _view(forwarder: Forwarder, signing: Signing, head: Head, showing: Showing) -> View:
    from hookline.cli.listen_view import JsonView, LinesView
    from hookline.relay.hints import explained

    if showing.output == "json":
        return JsonView()
    is_up = await forwarder.is_up()
    if showing.output == "compact":
        return LinesView(head, is_up=is_up, can_ask=may_ask())
    from hookline.cli.listen_screen import ScreenView  # a terminal's, which Windows has otherwise

    def explain(item: Item) -> Explanation:
        return explained(
            item.sent,
            item.delivery.body,
            listener_secret=signing.app_secret or signing.secret,
            app_secrets=showing.app_secrets,
            now_ms=item.sent_ms or 0,
        )

    link = showing.link
    return ScreenView(
        head,
        is_up=is_up,
        explain=explain,
        app_secrets=[one.name for one in showing.app_secrets],
        link=None if link is None else lambda item: link(item.delivery.event_id),
    )


def exit_code(outcome: Outcome, name: str, *, as_json: bool) -> int:
    """What the command leaves its caller with."""
    if outcome.bye is None:
        if outcome.ending in ("quit", "interrupted"):
            return Exit.OK if outcome.ending == "quit" else Exit.INTERRUPTED
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
