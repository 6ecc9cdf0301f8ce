"""A demo in front of somebody: the live picture or the lines, Ctrl-C, the log, and the last word.

Ctrl-C (or SIGTERM) while it publishes ends publishing; while it drains it gives up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from rich.console import Console
from rich.live import Live

from hookline.demo.run import Demo, Options
from hookline.demo.view import Report, Snapshot, picture, plain_line, print_summary

PICTURE_EVERY_S: Final = 0.25
LINE_EVERY_S: Final = 1.0
LOG_NAME: Final = "demo.log"
_LED: Final = "the dashboard, for this run: {}"


def play(options: Options, *, as_json: bool) -> Report | None:
    """Run it, show it, and print how it ended; None where it was given up.

    On a terminal a picture that redraws itself, elsewhere a line a second; then a summary. With `as_json` the lines
    go to stderr and the last (and only) line on stdout is one JSON object.
    """
    console = Console(highlight=False)
    with _log_to_file(options):
        if as_json:
            report = _run(
                options,
                lambda moment: _tell(plain_line(moment), sys.stderr),
                LINE_EVERY_S,
                lambda url: _tell(_LED.format(url), sys.stderr),
            )
        elif console.is_terminal:
            with Live(console=console, auto_refresh=False, transient=True) as live:
                report = _run(
                    options,
                    lambda moment: _redraw(live, moment),
                    PICTURE_EVERY_S,
                    lambda url: live.console.print(_LED.format(url), soft_wrap=True),
                )
        else:
            report = _run(
                options, lambda moment: _tell(plain_line(moment)), LINE_EVERY_S, lambda url: _tell(_LED.format(url))
            )
    if report is None:
        return None
    if as_json:
        print(json.dumps(report.as_json()), flush=True)
    else:
        print_summary(report, console)
    return report


def _tell(line: str, file: TextIO | None = None) -> None:
    print(line, file=file or sys.stdout, flush=True)


def _run(
    options: Options, show: Callable[[Snapshot], None], every_s: float, lead: Callable[[str], None]
) -> Report | None:
    async def conduct() -> Report | None:
        demo = Demo(options, show=show, every_s=every_s, lead=lead)
        running = asyncio.create_task(demo.run())

        def interrupted() -> None:
            if demo.is_publishing:
                demo.stop()
            else:
                running.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: there Ctrl-C ends it at once
                loop.add_signal_handler(number, interrupted)
        try:
            return await running
        except asyncio.CancelledError:
            return None

    return asyncio.run(conduct())


def _redraw(live: Live, moment: Snapshot) -> None:
    width, height = live.console.size
    live.update(picture(moment, width, height), refresh=True)


@contextmanager
def _log_to_file(options: Options) -> Iterator[None]:
    """Both ends log as they always do, into a file beside the databases: the picture is not to be written over."""
    root, own = logging.getLogger(), logging.getLogger("hookline")
    handler = logging.FileHandler(options.folder / LOG_NAME, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = own.level
    root.addHandler(handler)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        own.setLevel(level)
        root.removeHandler(handler)
        handler.close()
