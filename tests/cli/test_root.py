"""The `hookline` command's way in: what it needs, what it exits with, how it tells an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from hookline.cli import Exit, main

LIGHT = """
import builtins, sys
real = builtins.__import__
def refuse(name, *rest, **more):
    if name.partition(".")[0] in {extras}:
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return real(name, *rest, **more)
builtins.__import__ = refuse
from hookline.cli import main
code = main(sys.argv[1:])
assert not [name for name in {extras} if name in sys.modules]
sys.exit(code)
"""
EXTRAS = {"cyclopts", "rich", "aiohttp", "fastapi", "starlette", "uvicorn", "structlog", "cryptography", "ulid"}


def run_light(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in an interpreter where no package of the server extra can be imported."""
    return subprocess.run(
        [sys.executable, "-c", LIGHT.format(extras=repr(EXTRAS)), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [[], ["serve"], ["--help"], ["version"]])
def test_a_light_install_names_the_missing_extra(arguments: list[str]) -> None:
    """Without the server extra every call exits 2 and says what to install; no traceback, no output."""
    result = run_light(*arguments)

    assert (result.returncode, result.stdout) == (Exit.USAGE, "")
    assert "pip install 'hookline[server]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_light_install_tells_it_in_json() -> None:
    """With --json the same error is one JSON object on stderr."""
    result = run_light("version", "--json")

    assert json.loads(result.stderr)["error"]["code"] == "missing_extra"


def test_the_library_imports_without_extras() -> None:
    """`import hookline` and its `verify` path need no package of any extra."""
    code = f"import sys, hookline, hookline.wire.signature; sys.exit(any(name in sys.modules for name in {EXTRAS!r}))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["version", "--frobnicate"], ["verify", "-"], ["sign", "-", "--secret", "x"]]
)
def test_usage_errors_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that cannot be understood exits 2, with one line on stderr and nothing on stdout."""
    code = main(arguments)

    captured = capsys.readouterr()
    assert (code, captured.out) == (Exit.USAGE, "")
    assert captured.err.startswith("error[")


def test_json_errors_are_one_object_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json an error has a code for machines and the message for people."""
    code = main(["version", "--json", "--frobnicate"])

    error = json.loads(capsys.readouterr().err)["error"]
    assert (code, error["code"]) == (Exit.USAGE, "usage")
    assert "--frobnicate" in error["message"]


def test_a_wrong_setting_exits_2_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown HOOKLINE_ variable is a usage error that names the nearest setting."""
    monkeypatch.setenv("HOOKLINE_PROT", "1")

    code = main(["config", "show"])

    assert code == Exit.USAGE
    assert "the nearest is HOOKLINE_PORT" in capsys.readouterr().err


COMMANDS = (
    *("demo", "serve", "endpoints", "events", "deliveries", "replays", "keys", "audit", "db", "inbox", "handlers"),
    *("sign", "verify", "mirror", "config", "version"),
)


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """`hookline --help` lists the commands that exist and what the exit codes mean."""
    code = main(["--help"])

    text = capsys.readouterr().out
    assert code == Exit.OK
    assert "130" in text
    assert [name for name in COMMANDS if f" {name} " not in text] == []


def test_version_prints_what_a_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """`hookline version --json` has Hookline's, Python's and SQLite's version."""
    assert main(["version", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out).keys() == {"hookline", "python", "sqlite"}


def test_the_module_runs_as_the_command() -> None:
    """`python -m hookline` is the same command."""
    result = subprocess.run([sys.executable, "-m", "hookline", "version"], capture_output=True, text=True, check=False)

    assert result.returncode == 0
    assert result.stdout.startswith("hookline ")


def test_an_interrupted_command_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while a command waits for its input ends it without a word."""

    def interrupt(file: str) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("hookline.cli.sign.read_body", interrupt)

    assert main(["sign", "-", "--secret-env", "PATH"]) == Exit.INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_leaves_is_no_traceback() -> None:
    """`hookline config show | head -1` says nothing of the closed pipe."""
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "hookline", "config", "show"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)

    assert (result.returncode, result.stderr) == (Exit.FAILED, b"")
