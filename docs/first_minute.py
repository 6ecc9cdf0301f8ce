"""Records the first minute: from an empty folder to a row in the mirror, typed into real terminals.

`python -m docs.first_minute` builds the package, makes an empty folder, and types what `STEPS` says into four panes of
one terminal (tmux on a pty), as fast as a quick person does. It waits for what each step should show and fails where
that does not come. What was on the screen goes to docs/proof: `first-minute.cast` (asciicast, with its times),
`first-minute.svg` (the last screen) and `first-minute.md` (each pane's text). Keys, tokens, the folder and the
machine's name are blotted out. It needs tmux, and what pip needs to install the package's requirements.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import pyte

import hookline

ROOT: Final = Path(__file__).resolve().parents[1]
PROOF: Final = Path(__file__).with_name("proof")

COLUMNS, ROWS = 100, 54
PANES: Final = ("serve", "app", "listen", "trigger")
HEIGHTS: Final = {"serve": 14, "app": 14, "listen": 11}
KEY_S: Final = 0.08
"""Between two keys: 150 words a minute."""
STEP_TIMEOUT_S: Final = 180.0
END: Final = "\x04"

APP: Final = """\
from fastapi import FastAPI
from hookline.adapters.fastapi import Hooks
hooks = Hooks({"DATABASE_URL": "sqlite:///app.db"})
app = FastAPI(lifespan=hooks.lifespan())
hooks.install(app)
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What is typed into which pane, and what shows that it is done."""

    pane: str
    keys: str
    until: str


STEPS: Final = (
    Step("serve", "python3 -m venv .venv && . .venv/bin/activate\n", r"\(\.venv\) \$ $"),
    Step("serve", "pip install -q 'hookline[fastapi,server]'\n", r"\(\.venv\) \$ $"),
    Step("serve", "hookline serve\n", r"Ctrl-C stops it"),
    Step("app", ". .venv/bin/activate; cat > app.py\n", r"app\.py"),
    Step("app", APP + END, r"\(\.venv\) \$ $"),
    Step("app", "export HOOKLINE_WEBHOOK_SECRETS=$(hookline listen --print-secret)\n", r"\(\.venv\) \$ $"),
    Step("app", "uvicorn app:app --port 8000\n", r"Uvicorn running"),
    Step("listen", ". .venv/bin/activate; hookline listen --forward-to localhost:8000/webhooks\n", r"Events "),
    Step("trigger", ". .venv/bin/activate; hookline trigger dsync.user.created\n", r"\(\.venv\) \$ $"),
    Step("trigger", "hookline mirror list directory_user --json --database-url sqlite:///app.db\n", r"is_active"),
)

SECRETS: Final = re.compile(r"(?:sk_(?:live|test)_|whsec_|token=)([\w-]{8,})")
OF_THE_MACHINE: Final = re.compile(r"/hookline-\w|you@\w")
"""The folder of a recording, and the host in a listener's name."""
_SIGN: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|.", re.DOTALL)
_BETWEEN: Final = r"(?:\x1b\[[0-9;?]*[A-Za-z]|[\r\n])*"


@dataclass(slots=True)
class Recording:
    """What the terminal was sent, piece by piece, with the seconds since the start."""

    pieces: list[tuple[float, str]]
    typed: int = 0
    typing_s: float = 0.0


class Terminal:
    """A tmux with the four panes, drawn on a pty that is read all the time."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.recording = Recording([])
        self._socket = str(folder / "tmux")
        self._panes: dict[str, str] = {}
        self._environ = environ
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._here = folder / "first"
        self._here.mkdir()
        startup = folder / "bashrc"
        startup.write_text("PS1='$ '\n", encoding="utf-8")
        self._shell = f"bash --noprofile --rcfile {startup}"
        settings = folder / "tmux.conf"
        settings.write_text(
            "set -g status off\nset -g escape-time 0\nset -g pane-border-status top\n"
            "set -g pane-border-format ' #{pane_title} '\n",
            encoding="utf-8",
        )
        self._process = subprocess.Popen(
            ["tmux", "-u", "-S", self._socket, "-f", str(settings), "new-session", self._shell],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=self._here,
            env={**environ},
            start_new_session=True,
        )
        os.close(slave)
        self._begun_s = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        decoded = b""
        with contextlib.suppress(OSError):
            while piece := os.read(self._master, 65_536):
                decoded += piece
                try:
                    text = decoded.decode()
                except UnicodeDecodeError:
                    continue  # a character is not whole yet
                self.recording.pieces.append((time.monotonic() - self._begun_s, text))
                decoded = b""

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env={**self._environ}).stdout

    def open_panes(self) -> None:
        """The four panes, one above the other, each with its title."""
        for _ in range(100):
            with contextlib.suppress(subprocess.CalledProcessError):
                first = self._tmux("list-panes", "-F", "#{pane_id}").strip()
                break
            time.sleep(0.1)
        self._panes[PANES[0]] = first
        for above, pane in itertools.pairwise(PANES):
            rest = sum(HEIGHTS.get(later, 0) for later in PANES[PANES.index(pane) :]) + 10
            made = self._tmux(
                *("split-window", "-v", "-l", str(rest), "-t", self._panes[above], "-P", "-F", "#{pane_id}"),
                *("-c", str(self._here), self._shell),
            )
            self._panes[pane] = made.strip()
        for pane, height in HEIGHTS.items():
            self._tmux("resize-pane", "-t", self._panes[pane], "-y", str(height))
        for pane, number in self._panes.items():
            self._tmux("select-pane", "-t", number, "-T", pane)

    def type(self, step: Step) -> None:
        """Press the keys of a step, one after the other."""
        begun_s = time.monotonic()
        self._tmux("select-pane", "-t", self._panes[step.pane])
        line = ""
        for key in step.keys:
            if key == "\n":
                self._see(step.pane, line)
            line = "" if key == "\n" else line + key
            names = {"\n": ("Enter",), END: ("C-d",), ";": ("\\;",)}
            literal = () if key in "\n" + END else ("-l",)
            self._tmux("send-keys", "-t", self._panes[step.pane], *literal, *names.get(key, (key,)))
            time.sleep(KEY_S)
        self.recording.typed += len(step.keys)
        self.recording.typing_s += time.monotonic() - begun_s

    def _see(self, pane: str, line: str) -> None:
        """A busy machine may lose a key: then this recording is none."""
        for _ in range(20):
            if self.text(pane).rstrip("\n ").endswith(line):
                return
            time.sleep(0.1)
        raise TimeoutError(f"typed {line!r}, and what is to be seen is\n{self.text(pane)}")

    def wait(self, step: Step) -> None:
        """Return when the pane shows what the step is to show."""
        for _ in range(int(STEP_TIMEOUT_S / 0.2)):
            time.sleep(0.2)
            shown = self.text(step.pane).rstrip() + " "
            if "error[" in shown:
                break
            if re.search(step.until, shown):
                return
        raise TimeoutError(f"{step.keys!r} did not show {step.until!r} but\n{self.text(step.pane)}")

    def text(self, pane: str) -> str:
        """All that a pane has shown, wrapped lines joined."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-", "-t", self._panes[pane])

    def close(self) -> None:
        """End the panes and all they started."""
        for pane in reversed(self._panes.values()):
            with contextlib.suppress(subprocess.CalledProcessError):
                self._tmux("send-keys", "-t", pane, "C-c")
        time.sleep(2)
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")
        self._process.wait(timeout=10)
        os.close(self._master)


@contextlib.contextmanager
def scene() -> Iterator[tuple[Path, dict[str, str]]]:
    """An empty folder, the package built beside it, and the environment of somebody who has nothing of ours."""
    with tempfile.TemporaryDirectory(prefix="hookline-") as name:
        folder = Path(name)
        wheels = folder / "wheels"
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], cwd=ROOT, check=True
        )
        passed = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "LANG", "LC_"))}
        own = Path(sys.executable).parent
        path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != own)
        links = f"{passed.get('PIP_FIND_LINKS', '')} {wheels}".strip()
        environ = {**passed, "PATH": path, "HOME": str(folder), "TERM": "linux", "PIP_FIND_LINKS": links}
        constraints = folder / "constraints.txt"
        constraints.write_text(f"hookline=={hookline.__version__}\n", encoding="utf-8")  # this one, not a published one
        yield folder, {**environ, "PIP_CONSTRAINT": str(constraints), "USER": "you", "LANG": "C.UTF-8"}


def blotted(text: str, secrets: Sequence[str]) -> str:
    """The text with secrets made unreadable, as long as before, also where a terminal wrapped them."""

    def blot(match: re.Match[str]) -> str:
        return _SIGN.sub(lambda sign: sign[0] if sign[0][0] in "\x1b\r\n" else "•", match[0])

    for secret in secrets:
        text = re.sub(_BETWEEN.join(map(re.escape, secret)), blot, text)
    return text


def unnamed(text: str, host: str) -> str:
    """The text without the host in a listener's name and in tmux's first titles of panes, as long as before."""
    return re.sub(rf"(?<=[@ ]){re.escape(host)}(?= )", "•" * len(host), text)


def cast(pieces: Sequence[tuple[float, str]], secrets: Sequence[str], host: str) -> str:
    """The recording as asciicast, version 2: a header, then when the terminal was sent what."""
    whole = unnamed(blotted("".join(text for _, text in pieces), secrets), host)
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "Hookline: the first minute"}
    lines, at = [json.dumps(head)], 0
    for seconds, text in pieces:
        lines.append(json.dumps([round(seconds, 3), "o", whole[at : at + len(text)]], ensure_ascii=False))
        at += len(text)
    return "\n".join(lines) + "\n"


def last_screen(recorded: str) -> pyte.Screen:
    """What a terminal shows after all of a recording."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    for line in recorded.splitlines()[1:]:
        stream.feed(json.loads(line)[2])
    return screen


_COLOURS: Final = {
    "green": "#3fb950",
    "red": "#f85149",
    "brown": "#d29922",
    "blue": "#58a6ff",
    "cyan": "#39c5cf",
    "magenta": "#bc8cff",
}
_WIDTH, _HEIGHT = 8.4, 18


def picture(screen: pyte.Screen) -> str:
    """The screen as SVG: a line of text for each run of signs that look alike."""
    width, height = round(COLUMNS * _WIDTH) + 24, ROWS * _HEIGHT + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        "<title>Four terminals: hookline serve, the app, hookline listen, hookline trigger and the row</title>",
        "<style>text { font: 14px ui-monospace, monospace; white-space: pre; fill: #e6edf3 }</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
    ]
    for row in range(ROWS):
        start = 0
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        while start < COLUMNS:
            end = start
            while end < COLUMNS and (cells[end].fg, cells[end].bold) == (cells[start].fg, cells[start].bold):
                end += 1
            text = "".join(cell.data for cell in cells[start:end])
            if text.strip():
                look = f' fill="{_COLOURS[cells[start].fg]}"' if cells[start].fg in _COLOURS else ""
                look += ' font-weight="bold"' if cells[start].bold else ""
                x, y = 12 + start * _WIDTH, 12 + (row + 0.75) * _HEIGHT
                parts.append(
                    f'<text x="{x:g}" y="{y:g}" textLength="{len(text) * _WIDTH:g}"{look}>{escape(text)}</text>'
                )
            start = end
    return "\n".join([*parts, "</svg>", ""])


def page(texts: Mapping[str, str], typed: int, typing_s: float, all_s: float) -> str:
    """docs/proof/first-minute.md: how it was recorded, and what each pane showed."""
    told = (
        "From an empty folder to a row in the mirror of a fresh FastAPI app, typed into four real terminals by "
        "`python -m docs.first_minute`, which builds the package, makes the folder, and fails where a step does not "
        f"show what it should. {typed} keys in {typing_s:.0f} s of typing, {all_s:.0f} s with the waiting, most of it "
        "for pip. The whole of it, with its times, is [first-minute.cast](first-minute.cast) (asciicast, for "
        "`asciinema play`). Keys, tokens, the folder and the machine's name are blotted out; nothing else was changed."
    )
    lines = ["# The first minute", "", *textwrap.wrap(told, 118, break_on_hyphens=False), ""]
    lines += ["![The four terminals at the end](first-minute.svg)", ""]
    for pane, text in texts.items():
        lines += [f"## {pane}", "", "```text", text.strip("\n"), "```", ""]
    return "\n".join(lines)


def main() -> int:
    """Record, and write what was recorded."""
    if shutil.which("tmux") is None:
        print("this needs tmux (Debian and Ubuntu: apt install tmux)", file=sys.stderr)
        return 1
    with scene() as (folder, environ):
        terminal = Terminal(folder, environ)
        begun_s = time.monotonic()
        try:
            terminal.open_panes()
            for step in STEPS:
                terminal.type(step)
                terminal.wait(step)
            texts = {pane: terminal.text(pane).replace(str(folder), "~") for pane in PANES}
        finally:
            pieces = list(terminal.recording.pieces)
            terminal.close()
        all_s = time.monotonic() - begun_s
    secrets = sorted({found for text in texts.values() for found in SECRETS.findall(text)}, key=len, reverse=True)
    host = socket.gethostname().partition(".")[0]
    recorded = cast(pieces, [*secrets, str(folder)], host)
    if left := [secret[:4] for secret in secrets if secret in recorded] + OF_THE_MACHINE.findall(recorded):
        raise AssertionError(f"not blotted out: what begins with {left}")
    PROOF.joinpath("first-minute.cast").write_text(recorded, encoding="utf-8")
    PROOF.joinpath("first-minute.svg").write_text(picture(last_screen(recorded)), encoding="utf-8")
    told = page(
        {pane: unnamed(blotted(text, secrets), host) for pane, text in texts.items()},
        terminal.recording.typed,
        terminal.recording.typing_s,
        all_s,
    )
    PROOF.joinpath("first-minute.md").write_text(told, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
