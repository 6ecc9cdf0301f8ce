"""The keys of a full screen: bytes of a terminal in, names out; and the terminal as it was afterwards."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_NAMES: Final = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page_up",
    b"\x1b[6~": "page_down",
    b"\x1b[H": "home",
    b"\x1b[F": "end",
    b"\x1b": "back",
    b"\x7f": "back",
    b"\r": "enter",
    b"\n": "enter",
    b" ": "space",
    b"k": "up",
    b"j": "down",
}
# A control sequence (ECMA-48 5.4), a function key of old, or a single byte.
_KEY: Final = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|.", re.DOTALL)


def names_of(data: bytes) -> Iterator[str]:
    """The keys in what a terminal sent; letters are their own names, and what is not known is passed over."""
    for found in _KEY.finditer(data):
        key = found[0]
        if key in _NAMES:
            yield _NAMES[key]
        elif len(key) == 1 and key.isalpha():
            yield key.decode().lower()


def read_now(descriptor: int) -> bytes | None:
    """What can be read without waiting; None where nothing can, empty at the end.

    A terminal on which Ctrl-C is typed forgets what was typed before: between being told that there is something and
    reading it there may be nothing any more, and a read would wait for the next key, signal or not.
    """
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, 1024)
    except BlockingIOError:
        return None
    finally:
        # The terminal is open once for reading and writing, and who writes waits.
        os.set_blocking(descriptor, True)


@contextmanager
def keys_of_terminal(pressed: Callable[[str], None]) -> Iterator[None]:
    """Have `pressed` called with each key, on the running loop, without waiting for Enter and without an echo.

    Ctrl-C stays a signal. However the block ends, the terminal is as it was before.
    """
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def readable() -> None:
        data = read_now(descriptor)
        if data == b"":
            loop.remove_reader(descriptor)
        for name in names_of(data or b""):
            pressed(name)

    try:
        tty.setcbreak(descriptor)
        loop.add_reader(descriptor, readable)
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
