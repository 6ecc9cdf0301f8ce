"""What `hookline listen` shows where it is no full screen: a line each way, or NDJSON.

Rows go to stdout, talk (the head, hints, a lost connection) to stderr. What comes from outside cannot steer a terminal.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from hookline.cli import MANNER
from hookline.cli.tables import print_json, printable, time_of
from hookline.sender.secrets import mask_secret
from hookline.wire.object_ids import object_of

if TYPE_CHECKING:
    from hookline.relay.following import Missed
    from hookline.relay.frames import Hello
    from hookline.relay.listening import Outcome
    from hookline.relay.pipeline import Item, Totals

WAYS: Final = {"websocket": "", "http": " over SSE and POST", "poll": ", asked every 2 s"}
STYLES: Final = {2: "green", 3: "yellow", 4: "red", 5: "red"}
CHOICES: Final[Mapping[str, Missed]] = {"": "all", "a": "all", "n": "none", "l": "latest"}


@dataclass(frozen=True, slots=True)
class Head:
    """What is said of a listener before anything else.

    Attributes:
        sender: who sends: a server's URL, or the source's.
        environment: of it.
        name: of the listener.
        is_resigned: requests are signed with the app's own secret instead.
    """

    sender: str
    environment: str
    forward: str
    events: Sequence[str]
    name: str
    is_resigned: bool = False

    def lines(self, *, secret: str | None, connection: str, up: bool) -> list[tuple[str, str, str]]:
        """What each line says: its name, its text and what is beside that."""
        state = "up" if up else "nobody listens there yet: deliveries wait for it"
        masked, beside = "…", f"stable for {self.name} · --print-secret, --write-env .env"
        if self.is_resigned:
            masked, beside = "the app's own", "by --resign"
        elif secret is not None:
            masked = mask_secret(secret)
        return [
            ("Sender", f"{self.sender}  ({self.environment})", connection),
            ("Forward", self.forward, state),
            ("Secret", masked, beside),
            ("Events", ", ".join(self.events), ""),
        ]


def clock_time(ms: int) -> str:
    """The time of day on this machine."""
    return time.strftime("%H:%M:%S", time.localtime(ms / 1000))


def result_of(item: Item) -> tuple[str, str]:
    """What came of an item, in a word or a number, and its style."""
    if item.state == "dropped":
        return "dropped", "yellow"
    answer = item.answer
    if answer is None:
        return item.state, ""
    if answer.status is None:
        return ("waiting" if item.state == "waiting" else str(answer.error)), "red"
    return str(answer.status), STYLES.get(answer.status // 100, "red")


def kind_of(item: Item) -> str:
    """What is to be said of an item's kind, if anything."""
    if item.kind != "delivery":
        return {"copy": "once more, by --duplicate", "resend": "sent again"}[item.kind]
    if item.delivery.origin == "replay":
        return "replay"
    return "missed" if item.delivery.is_missed else ""


def about(item: Item) -> str:
    """The object that an item is about."""
    return object_of(item.delivery.event_type, item.delivery.body) or ""


def missed_text(hello: Hello) -> str:
    """How many were missed, and since when."""
    count = f"{'at least ' if hello.missed >= hello.missed_most else ''}{hello.missed}"
    since = "" if hello.missed_since_ms is None else f" since {time_of(hello.missed_since_ms)}"
    gone = "" if not hello.gone else f"; {hello.gone} more are past their retention"
    return f"{count} event{'' if hello.missed == 1 else 's'} missed{since}{gone}"


def totals_text(totals: Totals) -> str:
    """What came of everything."""
    parts = [f"{totals.answered} answered 2xx", f"{totals.failed} failed"]
    return ", ".join(parts + ([f"{totals.dropped} dropped"] if totals.dropped else []))


class LinesView:
    """A line each way.

    Args:
        can_ask: somebody sits at the terminal.
    """

    def __init__(self, head: Head, *, is_up: bool, can_ask: bool) -> None:
        self._head = head
        self._is_up = is_up
        self._can_ask = can_ask
        self._told_head = False
        self._out = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._err = Console(file=sys.stderr, highlight=False, soft_wrap=True, quiet=MANNER.get().quiet)

    def connected(self, hello: Hello, *, way: str, took_ms: int) -> None:
        self.head(hello.secret, f"connected{WAYS[way]}, {took_ms} ms")

    def head(self, secret: str, connection: str) -> None:
        """Tell it once; afterwards only that there is a connection again."""
        if self._told_head:
            self.say("connected again", "green")
            return
        self._told_head = True
        rows = self._head.lines(secret=secret, connection=connection, up=self._is_up)
        width = max(len(text) for _, text, _ in rows)
        for name, text, beside in rows:
            told = Text.assemble((f" {name:<9}", "bold"), f"{printable(text):<{width}}  ", (beside, "dim"))
            told.rstrip()
            self._err.print(told)

    def disconnected(self, why: str, *, retry_ms: int) -> None:
        self.say(f"no connection to {self._head.sender}: {why}; again in {retry_ms / 1000:.1f} s", "yellow")

    def began(self, hello: Hello, chosen: Missed | None) -> None:
        if chosen is not None and hello.missed:
            self.say(f"{missed_text(hello)}: {chosen}", "yellow")

    async def choose(self, hello: Hello, /) -> Missed:
        if not self._can_ask:
            return "all"
        while True:
            self._err.print(f"{missed_text(hello)}. Take them? [A]ll, [l]atest of each object, [n]one: ", end="")
            line = await _line()
            if (chosen := CHOICES.get(line.strip().lower()[:1])) is not None:
                return chosen

    def item(self, item: Item) -> None:
        delivery = item.delivery
        match item.state:
            case "sending":
                self._row(item.sent_ms or 0, "→", delivery.event_type, delivery.event_id, kind_of(item))
            case "waiting":
                self._hint(item)
            case "dropped":
                self._row(item.arrived_ms, "✗", delivery.event_type, delivery.event_id, "dropped")
            case "answered":
                result, style = result_of(item)
                took = "" if item.answer is None else f"{item.answer.timings.total_ms:.0f} ms"
                told = Text.assemble(
                    (clock_time(item.ended_ms or 0), "dim"), "  ←  ", (f"{result:<5}", style), f"{took:>8}  ",
                    f"{delivery.event_id}  ", (printable(about(item)), "dim"),
                )  # fmt: skip
                self._print(told)
                self._hint(item)

    def ended(self, outcome: Outcome) -> None:
        """The last word."""
        self.say(totals_text(outcome.totals))

    def say(self, text: str, style: str = "") -> None:
        """A word beside the rows."""
        self._err.print(Text(printable(text), style=style))

    def _row(self, at_ms: int, arrow: str, event_type: str, event_id: str, beside: str) -> None:
        what = f"  {arrow}  {printable(event_type):<28}  {printable(event_id)}"
        self._print(Text.assemble((clock_time(at_ms), "dim"), what, (f"  {beside}" if beside else "", "yellow")))

    def _hint(self, item: Item) -> None:
        if item.hint is not None:
            self._err.print(Text(f"             {printable(f'{item.hint.message}: {item.hint.to_do}')}", "yellow"))

    def _print(self, text: Text) -> None:
        text.rstrip()
        self._out.print(text)
        self._out.file.flush()


class JsonView:
    """NDJSON on stdout, an object for each thing that happens; its `type` says what."""

    def connected(self, hello: Hello, *, way: str, took_ms: int) -> None:
        self._tell(
            "connected",
            way=way,
            environment=hello.environment,
            missed=hello.missed,
            missed_since=time_of(hello.missed_since_ms),
            gone=hello.gone,
            took_ms=took_ms,
        )

    def disconnected(self, why: str, *, retry_ms: int) -> None:
        self._tell("disconnected", message=why, retry_ms=retry_ms)

    def began(self, hello: Hello, chosen: Missed | None) -> None:
        self._tell("began", missed=hello.missed, chosen=chosen)

    async def choose(self, _: Hello, /) -> Missed:
        return "all"

    def item(self, item: Item) -> None:
        if item.state in ("queued", "sending"):
            return
        answer, delivery = item.answer, item.delivery
        self._tell(
            "request",
            number=item.number,
            kind=item.kind,
            state=item.state,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            created_at=delivery.created_at,
            missed=delivery.is_missed,
            sent_at=time_of(item.sent_ms),
            status=None if answer is None else answer.status,
            error=None if answer is None else answer.error,
            duration_ms=None if answer is None else round(answer.timings.total_ms, 1),
            hint=None
            if item.hint is None
            else {"code": item.hint.code, "message": item.hint.message, "to_do": item.hint.to_do},
        )

    def ended(self, outcome: Outcome) -> None:
        """The last object."""
        totals = outcome.totals
        self._tell(
            "ended",
            ending=outcome.ending,
            message=None if outcome.bye is None else outcome.bye.message,
            arrived=totals.arrived,
            answered=totals.answered,
            failed=totals.failed,
            dropped=totals.dropped,
        )

    def _tell(self, type_: str, **facts: Any) -> None:
        print_json({"type": type_, **facts})
        sys.stdout.flush()


async def _line() -> str:
    """A line from the terminal, without a thread that would outlive whoever waits."""
    from hookline.cli.listen_keys import read_now  # of terminals as Windows has none

    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()

    def readable() -> None:
        text = read_now(sys.stdin.fileno())
        if text is not None and not found.done():
            found.set_result(text.decode(errors="replace") if text else "a")

    loop.add_reader(sys.stdin.fileno(), readable)
    try:
        return await found
    finally:
        loop.remove_reader(sys.stdin.fileno())
