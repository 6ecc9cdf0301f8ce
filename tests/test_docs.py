"""README and docs/ are true: every fenced block in them is run, in order, document by document.

Each document has a folder, a shell and an environment of its own. `sh` blocks run in that shell, so `export`, `cd`
and `&` last; `python` blocks run as programs; a block whose fence names a file (`python app.py`, `toml
hookline.toml`) is saved as that file. A `text` block right after one that ran is what it prints, `…` standing for
anything in a line, or for any lines. A block after `<!-- soon -->` looks at what is done in the background: it is run
until it prints what is promised. Ports 8080 and 8081 become free ones. What is not run says so and why, just
before it: `<!-- not run: the reason -->`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs import configuration, first_minute, pictures
from docs.blocks import DOCUMENTS, ROOT, blocks, count
from docs.site import foreign_requests

from hookline.config import SETTINGS, SOURCE_SETTINGS

# Node and Ruby run these: tests/examples, by `make examples`.
FOREIGN = {ROOT / "examples" / name / "README.md" for name in ("express", "nextjs", "rails", "sinatra")}
BLOCK_TIMEOUT_S = 40


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Shell:
    """A bash that lives as long as a document, and tells each block's output and exit code apart."""

    def __init__(self, folder: Path, *, timeout_s: float = BLOCK_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._ports = {shown: str(free_port()) for shown in ("8080", "8081")}
        self.folder = folder / "here"
        self.folder.mkdir()
        commands = folder / "bin"
        commands.mkdir()
        for name, command in {"hookline": "-m hookline", "uvicorn": "-m uvicorn", "python": ""}.items():
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n', encoding="utf-8")
            (commands / name).chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOOKLINE_")}
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            start_new_session=True,
            env={
                **environment,
                "PATH": f"{commands}:{environment['PATH']}",
                "PYTHONPATH": f"{ROOT / 'src'}:{environment.get('PYTHONPATH', '')}",
                "HOOKLINE_PORT": self._ports["8080"],
            },
        )
        self._count = 0

    def translate(self, text: str) -> str:
        """The text with the ports of the documents replaced by free ones."""
        return re.sub(r"\b808[01]\b", lambda match: self._ports[match[0]], text)

    def run(self, text: str) -> tuple[int, Path]:
        """Exit code of the last command that failed, or 0, and the file with the output; background jobs go on."""
        self._count += 1
        script, output, done = (self.folder.parent / f"{self._count}.{kind}" for kind in ("sh", "out", "done"))
        script.write_text(text, encoding="utf-8")
        os.mkfifo(done)
        assert self._process.stdin is not None
        self._process.stdin.write(
            f'failed=0; trap \'failed=$?\' ERR; . "{script}" >"{output}" 2>&1 </dev/null; trap - ERR; '
            f'echo $failed >"{done}"\n'
        )
        self._process.stdin.flush()
        reader = subprocess.run(["cat", done], capture_output=True, text=True, timeout=self._timeout_s, check=True)
        return int(reader.stdout), output

    def await_server(self, command: str) -> None:
        """Return when the server that this command line started accepts connections."""
        named = re.search(r"(?:--port |PORT=)(\d+)", command)
        port = int(named[1] if named else self._ports["8080"])
        for _ in range(BLOCK_TIMEOUT_S * 20):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"nothing listens: {command}")

    def close(self) -> None:
        """End the shell and whatever it started: by SIGTERM, then by force."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty folder, ended with all it started."""
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.mark.timeout(150, func_only=False)  # a document may start servers and wait for what they do
@pytest.mark.parametrize(
    "path",
    [path for path in DOCUMENTS if blocks(path) and path not in FOREIGN],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_document_does_what_it_says(path: Path, shell: Shell) -> None:
    """Every block that is to run exits 0 and prints what the document says it prints."""
    follow(path, shell)


def follow(path: Path, shell: Shell) -> None:
    """Do what a document says, in the folder of the shell."""
    if path.is_relative_to(ROOT / "examples"):
        made = shutil.ignore_patterns("node_modules", ".next")
        shutil.copytree(path.parent, shell.folder, ignore=made, dirs_exist_ok=True)
    for block in blocks(path):
        if not block.is_run:
            continue
        text = shell.translate(block.text)
        if block.file is not None:
            (shell.folder / block.file).write_text(text, encoding="utf-8")
            continue
        assert block.language in {"sh", "python"}, f"{path.name}:{block.line}: nobody can run {block.language!r}"
        if block.language == "python":
            program = shell.folder.parent / f"line{block.line}.py"
            program.write_text(text, encoding="utf-8")
            text = f'python "{program}"\n'

        code, output = shell.run(text)
        for command in re.findall(r"^(?:hookline serve (?!worker)|uvicorn|PORT=\d).*&$", text, re.MULTILINE):
            shell.await_server(command)
        expected = promised(shell.translate(block.expected)) if block.expected is not None else re.compile(r"(?s).*")
        is_background = re.search(r"&$", text, re.MULTILINE) is not None
        for _ in range(200 if block.is_soon or is_background else 0):
            if code == 0 and expected.fullmatch(printed(output)):
                break
            time.sleep(0.1)
            if block.is_soon:
                code, output = shell.run(text)

        assert code == 0, f"{path.name}:{block.line}: exit code {code}\n{printed(output)}"
        assert expected.fullmatch(printed(output)), f"{path.name}:{block.line}: printed\n{printed(output)}"


def printed(output: Path) -> str:
    """What a block has printed so far."""
    return output.read_text(encoding="utf-8").strip() + "\n"


def promised(text: str) -> re.Pattern[str]:
    """What matches this output: `…` is anything within a line, alone on a line any number of lines."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else ".*".join(re.escape(part) for part in line.split("…")) + r"\n"
        for line in text.strip().splitlines()
    ]
    return re.compile("".join(lines))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_fences_of_a_document_pair_up(path: Path) -> None:
    """No fence is left open or unlabelled: such a block would be run by nobody."""
    text = path.read_text(encoding="utf-8")

    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(blocks(path))
    assert [block.line for block in blocks(path) if not block.language] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """A relative link names a file that exists."""
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_tests_that_documents_name_exist() -> None:
    """A promise is only as good as the test that is named for it."""
    pages = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", pages))

    assert [f"{file}::{test}" for file, test in named if f"def {test}" not in (ROOT / file).read_text("utf-8")] == []


def test_every_block_is_run_or_shown_or_says_why_not() -> None:
    """What the site counts is all there is."""
    found = [block for path in DOCUMENTS for block in blocks(path)]
    counts = count(found)

    assert counts.run + counts.shown + counts.not_run == len(found)
    assert counts.compared <= counts.run
    assert [block for block in found if block.reason is not None and len(block.reason.split()) < 3] == []


def test_the_site_can_be_built(tmp_path: Path) -> None:
    """Every page is in the tree of pages and can be read, and every link between pages leads somewhere."""
    site = subprocess.run(
        [sys.executable, "-m", "docs.site", "--check", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )

    assert (site.returncode, site.stderr) == (0, "")


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_are_what_the_rules_say(name: str) -> None:
    """Where this fails: `make docs`, and look at them."""
    assert (pictures.IMAGES / f"{name}.svg").read_text(encoding="utf-8") == pictures.PICTURES[name]()


def test_the_first_minute_is_shown_as_it_was_recorded() -> None:
    """The picture is the recording's last screen, in which the row is; what was secret in it can no longer be read."""
    recorded = first_minute.PROOF.joinpath("first-minute.cast").read_text(encoding="utf-8")
    screen = first_minute.last_screen(recorded)

    assert first_minute.PROOF.joinpath("first-minute.svg").read_text("utf-8") == first_minute.picture(screen)
    assert '"email": "ada@lanternworks.example"' in "".join(screen.display)
    for path in first_minute.PROOF.glob("first-minute.*"):
        text = path.read_text(encoding="utf-8")
        assert first_minute.SECRETS.findall(text) + first_minute.OF_THE_MACHINE.findall(text) == []


def test_secrets_are_blotted_out_of_a_recording() -> None:
    """As long as before, and across what a terminal puts between its signs."""
    text = "key sk_live_abcdefgh\x1b[5;1Hijkl\r\nend"

    assert first_minute.blotted(text, ["abcdefghijkl"]) == "key sk_live_••••••••\x1b[5;1H••••\r\nend"
    assert first_minute.unnamed("\x1b[1;3H host ── you@host · hosts", "host") == "\x1b[1;3H •••• ── you@•••• · hosts"


def test_pages_that_ask_other_hosts_are_found(tmp_path: Path) -> None:
    """What a browser fetches by itself, in tags and in styles; not what a reader may click on."""
    (tmp_path / "page.html").write_text(
        '<a href="https://1.example"><img src="here.png"><script src="https://2.example/a.js"></script>'
        '<link href="//3.example/a.css"><p style="background: url(http://4.example/a.png)">',
        encoding="utf-8",
    )
    (tmp_path / "look.css").write_text('@import "https://5.example/a.css"; a { src: url(here.woff) }', encoding="utf-8")

    assert [found.rpartition("//")[2][0] for found in foreign_requests(tmp_path)] == ["5", "2", "3", "4"]


def test_the_configuration_page_has_every_setting() -> None:
    """The table in docs/configuration.md is the one that `hookline` reads: names, meaning, what holds while unset."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = {
        cells[0].strip("`"): cells[1:]
        for line in page.splitlines()
        if line.startswith("| `HOOKLINE_")
        for cells in [[cell.strip() for cell in line.strip("|").split(" | ")]]
    }

    assert rows == {
        setting.variable: [
            setting.about + (" Secret." if setting.secret else ""),
            setting.expected,
            f"`{setting.default}`" if setting.default is not None else setting.unset,
        ]
        for setting in SETTINGS.values()
    }


def test_the_configuration_page_has_every_setting_of_a_source() -> None:
    """Its second table is made of the settings as the first one is, and is up to date."""
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert configuration.page(text) == text
    assert [name for name in SOURCE_SETTINGS if f"| `{name}` |" not in text] == []
