"""The full screen of `hookline listen`: what came and what was answered, and keys to look, explain and send again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hookline.cli.listen_keys import keys_of_terminal
from hookline.cli.listen_view import (
    CHOICES,
    WAYS,
    Head,
    about,
    clock_time,
    kind_of,
    missed_text,
    result_of,
    totals_text,
)
from hookline.cli.tables import printable

if TYPE_CHECKING:
    from hookline.relay.following import Missed
    from hookline.relay.frames import Hello
    from hookline.relay.listening import Listening, Outcome
    from hookline.relay.pipeline import Item
    from hookline.wire.explain import Explanation

Mode: TypeAlias = Literal["rows", "details", "explain"]

ITEMS_KEPT: Final = 500
"""Rows that can be looked at; of older ones the totals tell."""
DRAWN_EVERY_S: Final = 0.05
_KEYS: Final = "↑↓ select  d details  r resend  x explain  o dashboard  space pause  q quit"
_BACK: Final = "↑↓ scroll  r resend  d details  x explain  esc back  q quit"


class ScreenView:
    """Rows on the terminal's other screen, which is left when it ends.

    Args:
        explain: why an item was refused, as far as its signature goes.
        app_secrets: what the secrets are called that the app is known to verify with.
        link: where the dashboard shows an item's event; None where there is no dashboard.
        console: to draw on.
    """

    def __init__(
        self,
        head: Head,
        *,
        is_up: bool,
        explain: Callable[[Item], Explanation],
        app_secrets: Sequence[str],
        link: Callable[[Item], str] | None,
        console: Console | None = None,
    ) -> None:
        self._head = head
        self._is_up = is_up
        self._explain = explain
        self._app_secrets = app_secrets
        self._link = link
        self._console = console or Console(highlight=False)
        self._items: list[Item] = []
        self._selected: Item | None = None
        self._mode: Mode = "rows"
        self._scroll = 0
        self._connection = "connecting"
        self._secret: str | None = None
        self._said = Text()
        self._asked: asyncio.Future[Missed] | None = None
        self._question = ""
        self._listening: Listening | None = None
        self._is_stale = asyncio.Event()

    @asynccontextmanager
    async def shown(self, listening: Listening) -> AsyncIterator[None]:
        """Show it, and heed keys, for as long as the block runs."""
        self._listening = listening
        with Live(console=self._console, screen=True, auto_refresh=False) as live, keys_of_terminal(self.press):
            drawing = asyncio.create_task(self._draw(live))
            drawing.add_done_callback(lambda _: listening.quit())
            try:
                yield
            finally:
                drawing.cancel()
                await asyncio.gather(drawing, return_exceptions=True)
        if not drawing.cancelled():
            drawing.result()  # it ends by an error alone

    def ended(self, outcome: Outcome) -> None:
        """The last word, on the screen from which it was called."""
        Console(stderr=True, highlight=False).print(totals_text(outcome.totals))

    # -- what happens ------------------------------------------------------------------------------------------

    def connected(self, hello: Hello, *, way: str, took_ms: int) -> None:
        self._secret = hello.secret
        self._connection = f"connected{WAYS[way]}, {took_ms} ms"
        self._say("")

    def disconnected(self, why: str, *, retry_ms: int) -> None:
        self._connection = "no connection"
        self._say(f"{why}; again in {retry_ms / 1000:.1f} s", "yellow")

    def began(self, hello: Hello, chosen: Missed | None) -> None:
        if chosen is not None and hello.missed:
            self._say(f"{missed_text(hello)}: {chosen}", "yellow")

    async def choose(self, hello: Hello, /) -> Missed:
        self._question = f"{missed_text(hello)}.  a take them all   l the latest of each object   n none of them"
        self._asked = asyncio.get_running_loop().create_future()
        self._is_stale.set()
        try:
            return await self._asked
        finally:
            self._asked = None

    def item(self, item: Item) -> None:
        if item not in self._items[-ITEMS_KEPT:]:
            self._items.append(item)
            del self._items[:-ITEMS_KEPT]
        if item.answer is not None:
            self._is_up = item.state != "waiting"
        self._is_stale.set()

    # -- keys --------------------------------------------------------------------------------------------------

    def press(self, key: str) -> None:
        """A key was pressed."""
        self._is_stale.set()
        assert self._listening is not None
        if self._asked is not None and key in CHOICES:
            if not self._asked.done():
                self._asked.set_result(CHOICES[key])
            return
        match key:
            case "q":
                self._listening.quit()
            case "space":
                pipeline = self._listening.pipeline
                pipeline.pause(paused=not pipeline.is_paused)
            case "back":
                self._turn("rows")
            case "d" | "enter":
                self._turn("details")
            case "x":
                self._turn("explain")
            case "r" | "o" if (item := self._chosen()) is not None:
                if key == "r":
                    self._selected = self._listening.pipeline.resend(item)
                    self._say("sent again, signed anew")
                else:
                    self._say("there is no dashboard here" if self._link is None else self._link(item))
            case "up" | "down" | "page_up" | "page_down" | "home" | "end":
                self._move(key)

    def _turn(self, mode: Mode) -> None:
        if mode == "rows" or self._chosen() is not None:
            # What is looked at stays, whatever comes.
            self._selected = self._chosen() if mode != "rows" or self._mode != "rows" else None
            self._mode, self._scroll = mode, 0

    def _move(self, key: str) -> None:
        page = max(1, self._console.height - 8)
        steps = {"up": -1, "down": 1, "page_up": -page, "page_down": page, "home": -1_000_000, "end": 1_000_000}[key]
        if self._mode != "rows":
            self._scroll = max(0, self._scroll + steps)
        elif (item := self._chosen()) is not None:
            place = min(max(self._items.index(item) + steps, 0), len(self._items) - 1)
            # At the newest it follows what comes.
            self._selected = None if place == len(self._items) - 1 else self._items[place]

    def _chosen(self) -> Item | None:
        if self._selected in self._items:
            return self._selected
        return self._items[-1] if self._items else None

    def _say(self, text: str, style: str = "") -> None:
        self._said = Text(printable(text), style)
        self._is_stale.set()

    # -- drawing -----------------------------------------------------------------------------------------------

    async def _draw(self, live: Live) -> None:
        while True:
            self._is_stale.clear()
            live.update(self.picture(), refresh=True)
            await asyncio.sleep(DRAWN_EVERY_S)
            with contextlib.suppress(TimeoutError):
                # A terminal that was made larger says so to nobody here.
                await asyncio.wait_for(self._is_stale.wait(), 1.0)

    def picture(self) -> RenderableType:
        """The whole screen."""
        width, height = self._console.size
        head = self._head_lines()
        foot = self._foot_lines()
        room = max(1, height - len(head) - len(foot) - 1)
        body = self._rows(room) if self._mode == "rows" else self._page(room, width)
        gap = [Text()] * max(0, room - len(body))
        lines = [*head, Text(), *body[:room], *gap, *foot]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
            line.no_wrap = True
        return Group(*lines[:height])

    def _head_lines(self) -> list[Text]:
        rows = self._head.lines(secret=self._secret, connection=self._connection, up=self._is_up)
        room = max(len(text) for _, text, _ in rows)
        return [
            Text.assemble((f" {name:<9}", "bold"), f"{printable(text):<{room}}  ", (printable(beside), "dim"))
            for name, text, beside in rows
        ]

    def _foot_lines(self) -> list[Text]:
        if self._asked is not None:
            return [Text(), Text(f" {self._question}", "bold yellow")]
        item = self._chosen()
        hint = Text()
        if item is not None and item.hint is not None:
            hint = Text(f" {printable(item.hint.message)}: {printable(item.hint.to_do)}", "yellow")
        said, keys = self._said, Text(f" {_KEYS if self._mode == 'rows' else _BACK}", "dim")
        if self._listening is not None:
            pipeline = self._listening.pipeline
            said = said or Text(totals_text(pipeline.totals), "dim")
            if pipeline.is_paused:
                keys = Text.assemble((f" PAUSED, {pipeline.waiting} waiting ", "reverse"), "  space goes on  q quit")
        return [Text(), *_wrapped(hint, self._console.width), Text.assemble(" ", said), keys]

    def _rows(self, room: int) -> list[Text]:
        """The newest at the foot; or, where it is not among those, the one that is selected in the middle."""
        if not self._items:
            return [Text(" Nothing came yet.", "dim")]
        chosen = self._chosen()
        assert chosen is not None
        last = len(self._items)
        if self._selected is not None:
            last = min(last, max(room, self._items.index(chosen) + room // 2 + 1))
        return [self._row(one, is_chosen=one is chosen) for one in self._items[max(0, last - room) : last]]

    def _row(self, item: Item, *, is_chosen: bool) -> Text:
        result, style = result_of(item)
        took = "" if item.answer is None or item.answer.status is None else f"{item.answer.timings.total_ms:.0f} ms"
        line = Text.assemble(
            "▸" if is_chosen else " ",
            (clock_time(item.sent_ms or item.arrived_ms), "dim"),
            "  ",
            (f"{result:<9}", style),
            f"{took:>8}  ",
            f"{printable(item.delivery.event_type):<30}  ",
            f"{printable(item.delivery.event_id)}  ",
            (printable(about(item)), "dim"),
            (f"  {kind_of(item)}", "yellow"),
        )
        if is_chosen:
            line.stylize("bold")
        return line

    def _page(self, room: int, width: int) -> list[Text]:
        item = self._chosen()
        assert item is not None
        lines: list[Text] = []
        for line in _details(item, self._head.forward) if self._mode == "details" else self._explanation(item):
            lines += _wrapped(line, width)
        self._scroll = min(self._scroll, max(0, len(lines) - room))
        return lines[self._scroll : self._scroll + room]

    def _explanation(self, item: Item) -> list[Text]:
        if item.sent_ms is None:
            return [Text(" It was not sent yet.")]
        told = self._explain(item)
        marks = {"passed": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("–", "dim")}
        lines = [Text(f" Why {item.delivery.event_id} may be refused", "bold"), Text()]
        for step in told.steps:
            mark, style = marks[step.state]
            why = "" if step.finding is None else f"  {step.finding.message}"
            lines.append(Text.assemble(" ", (mark, style), f" {step.name}", printable(why)))
        lines += [Text(), Text(f" {printable(told.message)}" + (" (proved)" if told.is_proved else " (likely)"))]
        lines += [Text(f" to do: {printable(told.to_do)}", "yellow")]
        known = " and ".join(self._app_secrets) or "a secret of which nothing is known"
        lines += [Text(f" note: as far as is known here, the app verifies with {printable(known)}", "dim")]
        lines += [Text(f" note: {printable(note)}", "dim") for note in told.notes]
        return lines


def _details(item: Item, url: str) -> Sequence[Text]:
    """What was sent and what came, with everything in it: it is the developer's own machine."""
    delivery, answer = item.delivery, item.answer
    lines = [Text(f" POST {url}", "bold")]
    lines += [_header(name, value) for name, value in item.sent or delivery.headers]
    lines += [Text(), *_body(delivery.body), Text()]
    if answer is None:
        return [*lines, Text(f" {item.state}", "bold")]
    if answer.status is None:
        return [*lines, Text(f" no answer: {answer.error}: {answer.detail or ''}", "bold red")]
    result, style = result_of(item)
    lines.append(Text(f" {result}  in {answer.timings.total_ms:.0f} ms from {answer.address}", f"bold {style}"))
    lines += [_header(name, value) for name, value in answer.headers]
    return [*lines, Text(), *_body(answer.body)]


def _header(name: str, value: str) -> Text:
    return Text.assemble((f" {printable(name)}: ", "cyan"), printable(value))


def _body(body: bytes) -> list[Text]:
    text = body.decode(errors="replace").replace("\r\n", "\n").replace("\t", "    ")
    return [Text(f" {printable(line)}") for line in text.split("\n")] if body else []


def _wrapped(text: Text, width: int) -> list[Text]:
    """Pieces of a long line, a screen's width each."""
    room = max(10, width - 1)
    if len(text) <= room:
        return [text]
    return list(text.divide(range(room, len(text), room)))
