"""`hookline logs`: what passes at both ends, as it happens.

Locally it reads the databases of the settings as the dashboard's live page does; of a server it reads that page's
stream, with the API key, and goes on where it was when the connection breaks.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from urllib.parse import urlencode

import cyclopts
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from hookline.cli import talk
from hookline.cli.api_client import HERE, Place, RemoteServer, remote_server
from hookline.cli.parameters import AsJson
from hookline.cli.receiver_app import AppName, closed_receiver
from hookline.cli.tables import STYLES, print_json, printable, time_of
from hookline.config import load
from hookline.errors import ConfigError, RequestError, ServerUnreachable
from hookline.wire.catalogue import is_pattern

if TYPE_CHECKING:
    from hookline.dashboard.live_model import Chosen, Cursor
    from hookline.dashboard.live_source import LiveSource

logs = cyclopts.App(name="logs", help="What passes at both ends, as it happens.")

LANES: Final = ("events", "sender", "receiver")
AGAIN_S: Final = 2.0
_AT_ONCE: Final = 100
_STATUS: Final = re.compile(r"[1-5](?:[0-9]{2}|xx)")


@logs.command
def tail(
    *,
    sender: Annotated[bool, Parameter(negative=())] = False,
    receiver: Annotated[bool, Parameter(negative=())] = False,
    events: Annotated[bool, Parameter(negative=())] = False,
    status: str | None = None,
    type_: Annotated[str, Parameter("--type")] = "",
    object_: Annotated[str, Parameter("--object")] = "",
    last: int = 10,
    follow: Annotated[bool, Parameter(negative="--no-follow")] = True,
    app: AppName = None,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Show events, deliveries and entries as they change; with --json an object per line. Ctrl-C ends it.

    Of an event that goes to many endpoints four deliveries are shown, those first that need somebody.

    Parameters
    ----------
    sender:
        Deliveries and what was answered.
    receiver:
        Entries of the inbox and what became of them.
    events:
        What is published. Without any of the three: all of them.
    status:
        Only deliveries answered so, as 500 or 5xx; or what is in this state, as failed, retrying, applied, dead.
    type_:
        Only these: a type, or a pattern as in 'dsync.*'.
    object_:
        Only what is about the object of this id.
    last:
        Begin with so many lines of what was.
    follow:
        End after those.
    """
    if type_ and not is_pattern(type_):
        raise ConfigError("--type", f"expected a type, or a pattern as in dsync.* or *; got {type_[:80]!r}")
    lanes = [name for name, is_on in zip(LANES, (events, sender, receiver), strict=True) if is_on] or LANES
    printer = _Printer(lanes, _status_filter(status), as_json=as_json)
    if (server := remote_server(place)) is not None:
        _tail_server(server, {"type": type_, "object": object_}, printer, last=last, follow=follow)
    else:
        _tail_here(place, app, type_, object_, printer, last=last, follow=follow)


def _status_filter(status: str | None) -> Callable[[dict[str, Any]], bool]:
    from hookline.dashboard.live_model import GOT_WORDS, SENT_WORDS

    if status is None:
        return lambda _: True
    if _STATUS.fullmatch(status):
        start = status.removesuffix("xx")
        return lambda line: line.get("status") is not None and str(line["status"]).startswith(start)
    if status not in (*SENT_WORDS, *GOT_WORDS):
        words = ", ".join(dict.fromkeys((*SENT_WORDS, *GOT_WORDS)))
        raise ConfigError("--status", f"expected an answer as 500 or 5xx, or one of {words}; got {status[:40]!r}")
    return lambda line: line.get("state") == status


class _Printer:
    """Prints each line once, in whatever rows it comes."""

    def __init__(self, lanes: Sequence[str], wanted: Callable[[dict[str, Any]], bool], *, as_json: bool) -> None:
        self._lanes = lanes
        self._wanted = wanted
        self._as_json = as_json
        self._told: dict[tuple[object, ...], None] = {}
        self._console = Console(highlight=False, soft_wrap=True)

    def begin(self, rows: Sequence[dict[str, Any]], last: int) -> None:
        """The newest lines of what was; all else of it counts as told."""
        lines = sorted(self._new(rows), key=lambda line: line["at_ms"])
        for line in lines[len(lines) - min(max(last, 0), len(lines)) :]:
            self._print(line)

    def tell(self, rows: Sequence[dict[str, Any]]) -> None:
        """What is new in these rows."""
        for line in self._new(rows):
            self._print(line)

    def _new(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for line in (line for row in rows for line in row["lines"]):
            parts = ("lane", "event_id", "delivery_id", "source", "state", "attempt", "status")
            key = tuple(line.get(name) for name in parts)
            if line["lane"] not in self._lanes or key in self._told or not self._wanted(line):
                continue
            self._told[key] = None
            found.append(line)
        while len(self._told) > 10_000:  # far more than there are rows that may come again
            del self._told[next(iter(self._told))]
        return found

    def _print(self, line: dict[str, Any]) -> None:
        if self._as_json:
            print_json({"at": time_of(line["at_ms"]), **{key: line[key] for key in line if key != "at_ms"}})
            return
        state = line.get("state", "published")
        said = [state]
        if line["lane"] == "sender":
            said += [str(part) for part in (line["status"], line["reason"]) if part is not None and part != state]
            said += [] if line["duration_ms"] is None else [f"{line['duration_ms']} ms"]
            said += [f"attempt {line['attempt']}"] if line["attempt"] > 1 else []
            said += [f"to {line['endpoint_url']}"]
        elif line["lane"] == "receiver":
            said += [line["reason"]] if line["reason"] is not None else []
            said += [] if line["source"] == "default" else [f"of {line['source']}"]
            said += [] if line["via"] == "webhook" else [f"by {line['via']}"]
        elif line["object_id"] is not None:
            said += [line["object_id"]]
        start = f"{time_of(line['at_ms'])}  {line['lane']:<8}  {printable(line['event'] or '-'):<28}  "
        text = Text(f"{start}{printable(line['event_id'])}  ")
        text.append(printable("  ".join(said)), style=STYLES.get(state, ""))
        self._console.print(text)


# -- here ------------------------------------------------------------------------------------------------------------


def _tail_here(
    place: Place, app: str | None, type_: str, object_: str, printer: _Printer, *, last: int, follow: bool
) -> None:
    from hookline.dashboard.live_model import Chosen, lines_of
    from hookline.dashboard.live_source import WINDOW

    chosen = Chosen(type=type_, object_id=object_)
    with _source_here(place, app) as source:
        rows, cursor = source.recent(chosen, WINDOW)
        printer.begin([{"lines": lines_of(row)} for row in rows], last)
        if follow:
            asyncio.run(_follow_here(source, chosen, cursor, printer))


async def _follow_here(source: LiveSource, chosen: Chosen, after: Cursor, printer: _Printer) -> None:
    from hookline.dashboard.live_model import lines_of

    with source.listen(chosen, after) as listener:
        while not listener.has_ended:
            listener.wake.clear()
            while (news := listener.take(_AT_ONCE)) is not None:
                printer.tell([{"lines": lines_of(row)} for row in news.rows])
                _tell_passed(news.passed)
            await listener.wake.wait()


def _tell_passed(passed: int) -> None:
    if passed:
        talk(f"{passed} events passed too fast to be shown")


@contextmanager
def _source_here(place: Place, app: str | None) -> Iterator[LiveSource]:
    """The reader over those ends that are in the databases of the settings.

    Raises:
        ConfigError: there is neither.
        MigrationError: the sender's tables are of another version.
    """
    from hookline.cli.sender_app import sender_of
    from hookline.cli.status import sender_database
    from hookline.dashboard.live_source import LiveSource
    from hookline.loop import SystemClock
    from hookline.storage.migrate import load_migrations

    settings = load({"app": app, "database_url": place.database_url})
    with ExitStack() as ends:
        sender = None
        if (database := sender_database(settings, place.database_url, ends)) is not None:
            sender = sender_of(settings.sender(), database, makes_keys=False)
            ends.callback(sender.close)
        receiver = closed_receiver(settings, place.database_url)
        missing = receiver.missing_migrations()
        has_receiver = missing == 0
        if sender is None and not has_receiver:
            there = "no tables of Hookline's" if missing == len(load_migrations("hookline.receiver", "sqlite")) else ""
            said = there or f"tables that lack {missing} migration(s): `hookline db upgrade`"
            raise ConfigError("logs", f"expected a database of a sender or a receiver; there are {said}")
        if has_receiver:
            ends.enter_context(receiver)
        source = LiveSource(sender=sender, receiver=receiver if has_receiver else None, clock=SystemClock())
        ends.callback(source.close)
        yield source


# -- a server --------------------------------------------------------------------------------------------------------


def _tail_server(server: RemoteServer, filters: dict[str, str], printer: _Printer, *, last: int, follow: bool) -> None:
    from hookline.dashboard.links import ROOT

    query = {"format": "json", "form": "lines", **{name: value for name, value in filters.items() if value}}
    try:
        with server.stream(f"{ROOT}/live?{urlencode(query)}") as answer:
            page = _decoded(b"".join(answer.lines))
    except RequestError as error:
        if error.status == 404:
            raise ServerUnreachable(f"{server.whom} has no dashboard to follow: is HOOKLINE_DASHBOARD off?") from None
        raise
    printer.begin(page["rows"], last)
    cursor = page["cursor"]
    while follow:
        try:
            with server.stream(f"{ROOT}/live/stream?{urlencode({**query, 'after': cursor})}") as answer:
                for message in _messages(answer.lines):
                    cursor = message.cursor or cursor
                    if message.name == "rows":
                        printer.tell(message.data["rows"])
                        _tell_passed(message.data["passed"])
            talk("the server ended the stream; it is asked again")
        except ServerUnreachable:
            talk("the connection broke; the server is asked again")
        time.sleep(AGAIN_S)


class _Message(NamedTuple):
    """A server-sent event: where to go on after it, if that is said, its name, its data."""

    cursor: str
    name: str
    data: Any


def _messages(lines: Iterator[bytes]) -> Iterator[_Message]:
    cursor, name, data = "", "", ""
    for raw in lines:
        field, _, value = raw.decode().rstrip("\r\n").partition(": ")
        if field == "id":
            cursor = value
        elif field == "event":
            name = value
        elif field == "data":
            data = value
        elif not field and name:
            yield _Message(cursor, name, _decoded(data.encode()))
            cursor, name, data = "", "", ""


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise ServerUnreachable("expected JSON of the server's dashboard: is this Hookline, and is it on?") from None
