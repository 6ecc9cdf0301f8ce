"""`hookline completion`, in the shells themselves."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from hookline.cli import Exit, main

PATIENCE_S = 20.0

# Each line of input is a command line up to the cursor; what the script offers for it is printed.
ASK = """
source "$1"
while IFS= read -r line; do
  read -r -a COMP_WORDS <<< "$line"
  [[ "$line" == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  COMPREPLY=()
  _hookline
  echo "${COMPREPLY[*]}"
done
"""


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@needs("bash")
def test_bash_completes(home: Path) -> None:
    """Commands, those within one, options, and an option's choices; the script is valid bash and found by its file."""
    script = home / "hookline.bash"
    assert main(["completion", "bash", "--output", str(script)]) == Exit.OK

    lines = ["endp", "endpoints rot", "endpoints list --sta", "endpoints list --status "]
    asked = subprocess.run(
        ["bash", "--norc", "-c", ASK, "-", str(script)],
        input="".join(f"hookline {line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=True,
    )

    assert asked.stderr == ""
    assert [answer.split() for answer in asked.stdout.splitlines()] == [
        ["endpoints"],
        ["rotate-secret"],
        ["--status"],
        ["enabled", "disabled"],
    ]


@needs("zsh")
def test_zsh_completes(home: Path) -> None:
    """In an interactive shell: what is typed and a tab; the file is found by zsh in its path of functions."""
    folder = home / "functions"
    assert main(["completion", "zsh", "--install", "--output", str(folder / "_hookline")]) == Exit.OK
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(HOME=str(home), TERM="dumb", PS1="READY> ")
        os.execvp("zsh", ["zsh", "-f", "-i"])

    def until(wanted: str) -> str:
        got = b""
        end_s = time.monotonic() + PATIENCE_S
        while wanted.encode() not in got:
            assert time.monotonic() < end_s, f"no {wanted!r} in {got!r}"
            if select.select([terminal], [], [], 0.2)[0]:
                got += os.read(terminal, 65_536)
        return got.decode()

    try:
        until("READY> ")
        os.write(
            terminal, f"fpath=({folder} $fpath); autoload -Uz compinit && compinit -u -D && echo D''ONE\n".encode()
        )
        until("DONE")
        for typed, completed in (
            ("hookline endp\t", "hookline endpoints "),
            ("rot\t", "rotate-secret"),
            ("\x15hookline endpoints list --sta\t", "--status"),
            ("ena\t", "enabled"),
        ):
            os.write(terminal, typed.encode())
            until(completed)
    finally:
        os.write(terminal, b"\x15exit\n")
        os.close(terminal)
        os.waitpid(pid, 0)


@needs("fish")
def test_fish_reads_it(home: Path) -> None:
    """Its own parser takes the script, and it completes."""
    script = home / "hookline.fish"
    assert main(["completion", "fish", "--output", str(script)]) == Exit.OK
    asked = subprocess.run(
        ["fish", "-N", "-c", f"source {script}; complete -C 'hookline endp'"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.startswith("endpoints")


def test_it_is_installed_where_shells_look(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script's own place, and the line in the startup file, once; or neither but the file that was named."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("hookline.cli.completion.script_of", lambda shell: f"# for {shell}\n")
    for _ in range(2):
        assert main(["completion", "bash", "--install", "--json"]) == Exit.OK
    file = Path(json.loads(capsys.readouterr().out.splitlines()[0])["file"])
    startup = home / ".bashrc"

    assert file.is_relative_to(home)
    assert file.read_text(encoding="utf-8") == "# for bash\n"
    assert sum(str(file) in line for line in startup.read_text(encoding="utf-8").splitlines()) == 1
    assert main(["completion", "fish", "--install", "--no-startup"]) == Exit.OK
    assert (home / ".config" / "fish" / "completions" / "hookline.fish").is_file()
    assert main(["completion", "tcsh"]) == Exit.USAGE
