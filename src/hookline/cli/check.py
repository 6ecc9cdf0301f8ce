"""`hookline check`: hold an endpoint against what the guide asks of one, whoever wrote it and in what language.

What is asked and how it is judged is sender/conformance.py; here is what the terminal shows of it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias
from urllib.parse import urlsplit

from cyclopts import Parameter

from hookline.cli import Exit, fail
from hookline.cli.parameters import AsJson, header_of
from hookline.cli.signing_secrets import signing_secrets
from hookline.cli.tables import print_json, print_table, printable
from hookline.config import load, refuse_unknown
from hookline.errors import ConfigError
from hookline.loop import SystemClock
from hookline.rules.headers import headers_problems
from hookline.sender.conformance import CHECKS, check_endpoint
from hookline.sender.conformance_model import Check, CheckLine, Conformance, Verdict
from hookline.sender.http import TOTAL_TIMEOUT_S, Headers, configured_tls
from hookline.sender.http_dial import destination
from hookline.sender.http_httptools import HttptoolsExchange

if TYPE_CHECKING:
    from hookline.sender.conformance_model import Observer

_Several: TypeAlias = Annotated[list[str] | None, Parameter(negative=())]

MOST_S: Final = 120.0
"""How long all checks together may take."""
_MARKS: Final[dict[Verdict, tuple[str, str, str]]] = {
    "passed": ("✓", "ok", "green"),
    "warning": ("!", "!", "yellow"),
    "failed": ("✗", "FAILED", "red"),
    "unknown": ("–", "-", "dim"),
}
# Of the valid event: nothing was asked of the endpoint, since nobody was reached.
_UNREACHED: Final = frozenset({"dns", "connect", "connect_timeout", "tls", "refused_address", "protocol"})


def check(
    url: str | None = None,
    /,
    *,
    secret_env: str | None = None,
    secret_file: str | None = None,
    only: _Several = None,
    skip: _Several = None,
    header: _Several = None,
    timeout: float = TOTAL_TIMEOUT_S,
    standard: Annotated[bool, Parameter(negative=())] = False,
    observe: Annotated[bool, Parameter(negative=())] = False,
    strict: Annotated[bool, Parameter(negative=())] = False,
    list_: Annotated[bool, Parameter("--list", negative=())] = False,
    as_json: AsJson = False,
) -> int:
    """Send an endpoint what it must take and what it must refuse, and say what it did wrong; exit 1 where it did.

    Parameters
    ----------
    url:
        The endpoint, as it would be registered.
    secret_env:
        Variable that holds the secret that the endpoint verifies with; else the first of the webhook secrets in force.
    secret_file:
        File that holds it.
    only:
        Make these checks alone, by their names, comma separated; `valid` is made in any case.
    skip:
        Leave these out.
    header:
        Send this with each request, as 'name: value'; repeatable.
    timeout:
        Seconds that an answer may take.
    standard:
        Sign as Standard Webhooks says, with a secret of whsec_ and base 64, and not as WorkOS does.
    observe:
        Look into the receiver's database, of HOOKLINE_RECEIVER_DATABASE_URL or HOOKLINE_DATABASE_URL, whether a
        duplicate was taken in once and the newer state kept.
    strict:
        Exit 1 for a warning, too.
    list_:
        Only print the names of the checks and what each sends.
    """
    chosen = _chosen(only, skip)
    if list_:
        return _list(chosen, as_json=as_json)
    if url is None:
        raise ConfigError("check", "expected the URL of the endpoint, such as http://localhost:8000/webhooks")
    try:
        destination(url, False)
    except ValueError as error:
        raise ConfigError("check", f"{error} (as in http://localhost:8000/webhooks)") from None
    if not 0 < timeout <= MOST_S:
        raise ConfigError("--timeout", f"expected seconds above 0, at most {MOST_S:g}; got {timeout:g}")
    own = _headers(header or [])
    secret = signing_secrets(secret_env, secret_file)[0]
    shown = _Shown(chosen)

    async def run(observer: Observer | None) -> Conformance:
        exchange = HttptoolsExchange(refuse=lambda _: None, tls=configured_tls(load()["targets_ca"]))
        try:
            return await check_endpoint(
                url,
                secret,
                exchange,
                clock=SystemClock(),
                headers=own,
                sensitive=frozenset(name.lower() for name, _ in own),
                scheme="standard_webhooks" if standard else "workos",
                observer=observer,
                only=[one.name for one in chosen],
                timeout_s=timeout,
                most_s=MOST_S,
                told=None if as_json else shown.line,
            )
        finally:
            await exchange.close()

    with ExitStack() as ends:
        done = asyncio.run(run(_observer(ends) if observe else None))
    if (to_do := _unreached(done.lines[0])) is not None:
        message = f"{_origin(url)}: cannot be checked: {done.lines[0].came}"
        return fail("unreachable", message, Exit.FAILED, as_json=as_json, to_do=to_do)
    counts = Counter(line.verdict for line in done.lines)
    if as_json:
        print_json(
            {
                "origin": _origin(url),
                "counts": {verdict: counts[verdict] for verdict in _MARKS},
                "left_behind": done.left_behind,
                "checks": [asdict(line) for line in done.lines],
            }
        )
    else:
        shown.summary(done, counts)
    return Exit.FAILED if done.has_failed or (strict and counts["warning"]) else Exit.OK


def _chosen(only: Sequence[str] | None, skip: Sequence[str] | None) -> tuple[Check, ...]:
    kept, left_out = _names("--only", only), _names("--skip", skip)
    if "valid" in left_out:
        raise ConfigError("--skip", "expected checks other than valid, on which the others rest")
    return tuple(
        one for one in CHECKS if (only is None or one.name in kept or one.name == "valid") and one.name not in left_out
    )


def _names(option: str, given: Sequence[str] | None) -> set[str]:
    names = {name.strip().replace("-", "_") for text in given or () for name in text.split(",") if name.strip()}
    if given is not None and not names:
        raise ConfigError(option, "expected names of checks, comma separated; --list has them")
    refuse_unknown(dict.fromkeys(names), {one.name for one in CHECKS}, "check")
    return names


def _list(chosen: Sequence[Check], *, as_json: bool) -> int:
    if as_json:
        print_json([{key: getattr(one, key) for key in ("name", "title", "sent", "expected")} for one in chosen])
    else:
        rows = [(one.name, one.sent, one.expected) for one in chosen]
        print_table(("CHECK", "SENT", "EXPECTED"), rows, empty="no checks")
    return Exit.OK


def _headers(given: Sequence[str]) -> Headers:
    pairs = [header_of(text) for text in given]
    if problems := headers_problems(pairs):
        raise ConfigError("--header", "; ".join(problems))
    return tuple(pairs)


def _observer(ends: ExitStack) -> Observer:
    from hookline.cli.receiver_app import receiver_to_ask
    from hookline.dashboard.observing import ReceiverObserver

    return ReceiverObserver(ends.enter_context(receiver_to_ask("--observe", load())))


def _origin(url: str) -> str:
    """Without the path, which may be what keeps the endpoint from being found."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _unreached(line: CheckLine) -> str | None:
    """What to do about that nobody was reached; None where somebody answered the valid event.

    An endpoint that is gone in the middle of the check has failed the line at which it went.
    """
    if (line.name, line.verdict) != ("valid", "failed"):
        return None
    if not line.requests or line.requests[-1].reason not in _UNREACHED:
        return None
    return line.advice


class _Shown:
    """The lines as they come: on a terminal coloured and as wide as that, elsewhere a line each, nothing cut off."""

    def __init__(self, chosen: Sequence[Check]) -> None:
        self._width = max(len(f"{one.subject} {max(one.good, one.bad, key=len)}") for one in chosen)
        self._is_terminal = sys.stdout.isatty()
        self._has_failed_valid = False

    def line(self, line: CheckLine) -> None:
        """One check's; not those that were not made since the valid event was not accepted."""
        if _unreached(line) is not None or self._has_failed_valid:
            self._has_failed_valid = True
            return
        self._has_failed_valid = line.name == "valid" and line.verdict == "failed"
        said = printable(line.came)
        if line.verdict in {"failed", "warning"}:
            advice = "" if line.advice is None else f"; {line.advice}"
            said += f"   expected {line.expected}{printable(advice)}"
        sign, word, colour = _MARKS[line.verdict]
        mark = sign if _can_write(sign) else word
        if not self._is_terminal:
            print(f"  {mark} {line.short:<{self._width}}  {said}", flush=True)
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=3, justify="right")
        grid.add_column(width=self._width)
        grid.add_column(overflow="fold")
        grid.add_row(Text(mark, style=colour), line.short, Text(said))
        Console(file=sys.stdout, highlight=False).print(grid)

    def summary(self, done: Conformance, counts: Counter[Verdict]) -> None:
        """How many of them came out how, and where the first that did not pass is explained."""
        made = sum(bool(line.requests) for line in done.lines)
        told = [f"{made} check{'' if made == 1 else 's'}"]
        told += [f"{counts[verdict]} {verdict}" for verdict in ("failed", "warning", "unknown") if counts[verdict]]
        if self._has_failed_valid and counts["unknown"]:
            told[-1] = f"{counts['unknown']} not made: a refusal proves nothing where the valid event is refused"
        first = next((line for line in done.lines if line.verdict == "failed"), None)
        first = first or next((line for line in done.lines if line.verdict == "warning"), None)
        print(", ".join(told) + ("" if first is None else f"      docs: {first.docs}"))
        if done.left_behind:
            print(f"left there, since it could not be deleted: {done.left_behind} of what was made up", file=sys.stderr)


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
