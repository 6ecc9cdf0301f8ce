"""The full screen of `hookline listen`, on a real terminal: what it shows, what keys do, and how it is left."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pyte
import pytest
from rich.console import Console

from hookline.cli import Exit
from hookline.cli.listen_keys import names_of, read_now
from hookline.cli.listen_screen import ScreenView
from hookline.cli.listen_view import Head, LinesView
from hookline.loop import SystemClock
from hookline.relay.forward import Forwarder
from hookline.relay.frames import Answer, Bye, Hello
from hookline.relay.listening import Listening, Until
from hookline.relay.pipeline import Pipeline, Signing
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.testing import Sink

from ..relay.feed_server import KEY, FeedServer
from .test_listen import serving

LINES, COLUMNS = 30, 120
PATIENCE_S = 40.0
# Whoever leads a session takes the terminal as its own, so that Ctrl-C on it is a signal.
_LEADER = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
BODY = b'{"id":"event_1","event":"dsync.user.created","data":{"id":"user_1","name":"Ada"}}'


class Terminal:
    """A command on a terminal of its own, and what the terminal shows."""

    def __init__(self, *arguments: str, folder: Path, environ: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        # COLUMNS and LINES would be believed before the terminal is.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("HOOKLINE_") and name not in ("COLUMNS", "LINES")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LEADER, sys.executable, "-m", "hookline", *arguments],
            stdin=slave, stdout=slave, stderr=slave, cwd=folder,
            env={**inherited, "TERM": "xterm-256color", "PYTHONFAULTHANDLER": "1", **environ},
        )  # fmt: skip

    @property
    def text(self) -> str:
        """What it shows now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def until(self, *what: str | Callable[[str], bool]) -> str:
        """Wait until it shows all of this, and return all that it shows. A frame is drawn in pieces: ask for all."""

        def holds(text: str) -> bool:
            return all(one in text if isinstance(one, str) else one(text) for one in what)

        end_s = time.monotonic() + PATIENCE_S
        while not holds(self.text):
            if time.monotonic() > end_s or (not self._read() and self._process.poll() is not None):
                self._fail(f"expected {what!r} on the screen")
        return self.text

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def ended(self) -> int:
        """Its exit code, once it has ended; what it wrote last is read."""
        end_s = time.monotonic() + PATIENCE_S
        while self._process.poll() is None:
            if not self._read() and time.monotonic() > end_s:
                self._fail("expected it to end")
        while self._read():
            pass
        return self._process.wait(0)

    def _fail(self, why: str) -> NoReturn:
        """With what is on the screen, and where the command is, which its fault handler tells."""
        shown = self.text
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGABRT)
            self._process.wait(5)
        while self._read():
            pass
        raise AssertionError(f"{why}, got:\n{shown}\nthen:\n{self.text}")

    def _read(self) -> bool:
        """Take what was written, if anything is within a moment."""
        ready, _, _ = select.select([self._master], [], [], 0.1)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)

    def is_as_before(self) -> bool:
        """Whether the terminal echoes again and waits for lines, and its first screen is back with the cursor."""
        return (
            termios.tcgetattr(self._slave) == self.before
            and self.written.rfind(b"\x1b[?1049l") > self.written.rfind(b"\x1b[?1049h") >= 0
            and self.written.rfind(b"\x1b[?25h") > self.written.rfind(b"\x1b[?25l")
        )

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._slave)
        os.close(self._master)


@pytest.fixture
def server() -> Iterator[FeedServer]:
    made = FeedServer()
    with serving(made) as there:
        made.kept_of().place = 0
        there(made.publish(BODY))
        there(made.publish(b"{}"))
        yield made


@pytest.fixture
def app() -> Iterator[Sink]:
    with Sink() as made:
        made.raw["steers"] = b"HTTP/1.1 401 No\r\nContent-Length: 8\r\n\r\n\x1b[31mRed"
        made.expect("status/200", "raw-open/steers", "status/200")
        yield made


@pytest.fixture
def terminal(server: FeedServer, app: Sink, tmp_path: Path) -> Iterator[Terminal]:
    """The command, as ada, with two events missed; her app has another secret in its .env file."""
    (tmp_path / ".env").write_text("HOOKLINE_WEBHOOK_SECRETS=whsec_of_the_app\n")
    environ = {"HOOKLINE_URL": server.url, "HOOKLINE_API_KEY": KEY}
    made = Terminal(
        "listen", "--forward-to", app.url("/hooks"), "--name", "ada",
        folder=tmp_path, environ=environ,
    )  # fmt: skip
    try:
        yield made
    finally:
        made.close()


def test_rows_keys_and_the_terminal_afterwards(terminal: Terminal, server: FeedServer, app: Sink) -> None:
    """What was missed is asked for; rows are looked at, explained and sent again; nothing steers the terminal."""
    terminal.until("2 events missed since 2023-11-14", f"Sender   {server.url}  (production)")
    assert app.seen == []
    terminal.press(b"a")
    # Of the newest, which is selected, what to do is said.
    terminal.until("  200 ", "  401 ", "event_1  user_1  missed", "the signature does not hold for the app")

    terminal.press(b"x")
    terminal.until(
        "Why event_2 may be refused",
        "✗ signature",
        "the listener's secret (proved)",
        "as far as is known here, the app verifies with HOOKLINE_WEBHOOK_SECRETS in .env",
    )
    terminal.press(b"d")
    terminal.until("\ufffd[31mRed")
    terminal.press(b"\x1b")
    terminal.until("↑↓ select")

    terminal.press(b"\x1b[A")
    terminal.until(lambda text: any(line.startswith("▸") and "event_1" in line for line in text.splitlines()))
    terminal.press(b"d")
    terminal.until("POST http://127.0.0.1", "WorkOS-Signature: t=", '"name":"Ada"', "200  in ", "noted")

    terminal.press(b"r")
    app.wait_for(3, timeout_s=PATIENCE_S)
    assert app.seen[2].body == BODY
    terminal.press(b"\x1b")
    terminal.until("sent again", "↑↓ select")
    terminal.press(b"o")
    terminal.until(f"{server.url}/dashboard/production/events/event_1")
    terminal.press(b" ")
    terminal.until("PAUSED, 0 waiting")
    terminal.press(b" ")
    terminal.press(b"q")
    assert terminal.ended() == Exit.OK
    assert terminal.is_as_before()
    assert "1 answered 2xx, 1 failed" in terminal.text
    assert b"whsec_listener" not in terminal.written


def test_ctrl_c_leaves_the_terminal_as_it_was(terminal: Terminal, app: Sink) -> None:
    terminal.until("2 events missed")
    terminal.press(b"n")
    terminal.until("Nothing came yet")
    terminal.press(b"\x03")
    assert terminal.ended() == Exit.INTERRUPTED
    assert terminal.is_as_before()
    assert app.seen == []


class _Nothing:
    """A feed that nothing comes of."""

    live_since_ms: int | None = None
    to_come = 0

    def answered(self, answer: Answer) -> None: ...

    async def run(self, pipeline: Pipeline) -> Bye:
        raise NotImplementedError

    async def leave(self) -> None: ...


def test_who_fails_in_the_middle_of_it_leaves_the_terminal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error passes through, and the terminal is restored before anybody tells it."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "r+b", buffering=0) as terminal, open(slave, "w", closefd=False) as output:
        before = termios.tcgetattr(terminal)
        monkeypatch.setattr(sys, "stdin", terminal)
        head = Head("https://sync.example.com", "staging", "http://localhost:8000/", ("*",), "ada")
        console = Console(file=output, force_terminal=True, width=80, height=24)
        view = ScreenView(head, is_up=False, explain=lambda _: pytest.fail("not asked"), app_secrets=(), link=None,
                          console=console)  # fmt: skip

        async def fail() -> None:
            clock, exchange = SystemClock(), HttptoolsExchange(refuse=lambda _: None)
            answers: list[Answer] = []
            pipeline = Pipeline(
                Forwarder("http://localhost:8000/", exchange),
                Signing(),
                watcher=view,
                answered=answers.append,
                clock=clock,
            )
            async with view.shown(Listening(_Nothing(), pipeline, clock=clock, until=Until())):
                assert termios.tcgetattr(terminal) != before
                await asyncio.sleep(0)  # it is drawn
                raise OSError("the disk is full")

        with pytest.raises(OSError, match="the disk is full"):
            asyncio.run(fail())
        assert termios.tcgetattr(terminal) == before
        written = b""
        while select.select([master], [], [], 0.1)[0]:
            written += os.read(master, 65_536)
        assert written.rfind(b"\x1b[?1049l") > written.rfind(b"\x1b[?1049h") >= 0
        assert written.rfind(b"\x1b[?25h") > written.rfind(b"\x1b[?25l")
    os.close(master)


@pytest.mark.parametrize(("typed", "chosen"), [(b"\n", "all"), (b"what\nN\n", "none"), (b"latest\n", "latest")])
def test_lines_ask_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: bytes, chosen: str
) -> None:
    """Where there are lines and no screen, a line answers; one that is none of the choices is asked again."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "r+b", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        head = Head("https://sync.example.com", "staging", "http://localhost:8000/", ("*",), "ada")
        view = LinesView(head, is_up=True, can_ask=True)
        hello = Hello("s1", "staging", "whsec_x", "9", 1, missed=1000, missed_since_ms=0, gone=2)

        os.write(master, typed)  # a terminal hands over a line at a time
        assert asyncio.run(view.choose(hello)) == chosen
    os.close(master)
    told = "at least 1000 events missed since 1970-01-01T00:00:00.000Z; 2 more are past their retention"
    assert capsys.readouterr().err.count(told) == len(typed.splitlines())


def test_a_key_that_ctrl_c_made_the_terminal_forget_is_not_waited_for() -> None:
    master, slave = pty.openpty()
    tty.setcbreak(slave)
    os.write(master, b"n")
    assert select.select([slave], [], [], 10)[0] == [slave]
    os.write(master, b"\x03")
    end_s = time.monotonic() + PATIENCE_S
    while select.select([slave], [], [], 0)[0] and time.monotonic() < end_s:
        time.sleep(0.001)  # the kernel forgets it in its own time
    assert read_now(slave) is None
    os.write(master, b"q")
    select.select([slave], [], [], 10)
    assert (read_now(slave), os.get_blocking(slave)) == (b"q", True)
    os.close(slave)
    os.close(master)


def test_keys_by_their_bytes() -> None:
    assert list(names_of(b"\x1b[A\x1bOBjk dX\r\x7f\x1b[5~\x1b[200~\x1b")) == [
        "up", "down", "down", "up", "space", "d", "x", "enter", "back", "page_up", "back",
    ]  # fmt: skip
