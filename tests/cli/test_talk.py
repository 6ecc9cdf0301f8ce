"""How the command talks: errors by their codes with what to do, tracebacks when asked for, suggestions, quiet, JSON."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_sender_commands import Run, command, settings  # noqa: F401 - fixtures

from hookline.cli import EVERYWHERE, Exit, main
from hookline.cli.error_codes import ERRORS
from hookline.cli.tables import print_table

PACKAGE = Path(main.__code__.co_filename).parent

pytestmark = pytest.mark.usefixtures("settings")


def broken(*_: object, **__: object) -> Any:
    raise LookupError("ada@example.com whsec_of_somebody")


# --- errors ---------------------------------------------------------------------------------------------------------


def test_an_error_is_a_code_what_failed_and_what_to_do(command: Run) -> None:  # noqa: F811
    """A line each on stderr, nothing on stdout; with --json the same in one object."""
    said = command("deliveries", "list")
    told = json.loads(command("deliveries", "list", "--json").err)["error"]

    first, second = said.err.splitlines()
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert first == f"error[config]: {told['message']}"
    assert second == f"  to do: {told['to_do']}"
    assert told["code"] == "config"
    assert "there is no database" in told["message"]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_debug_shows_the_traceback_wherever_it_stands(
    command: Run,  # noqa: F811
    place: int,
) -> None:
    """And so does the variable; without it there is none."""
    arguments = ["config", "show", "--origins"]
    os.environ["HOOKLINE_PORT"] = "x"  # the fixture `settings` takes it away again
    try:
        plain = command(*arguments)
        debugged = command(*arguments[:place], "--debug", *arguments[place:])
    finally:
        del os.environ["HOOKLINE_PORT"]

    assert "Traceback" not in plain.err
    assert "Traceback" in debugged.err
    assert debugged.err.endswith(plain.err)


def test_an_error_that_nobody_expected(
    command: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its type and its place, nothing of its message, and how the traceback is got; which --debug shows."""
    monkeypatch.setattr("hookline.cli.config.load", broken)

    said = command("config", "show")
    told = json.loads(command("config", "show", "--json").err)["error"]
    monkeypatch.setenv("HOOKLINE_DEBUG", "1")
    debugged = command("config", "show")

    first, second = said.err.splitlines()
    assert said.code == Exit.FAILED
    assert first.startswith("error[unexpected]: LookupError at test_talk.py:")
    assert "ada@example.com" not in said.err
    assert "--debug" in second
    assert "hookline version" in second
    assert told["code"] == "unexpected"
    assert "LookupError: ada@example.com" in debugged.err


def test_the_operating_system_refuses(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Files and disks: what failed is the file, in the system's words."""
    monkeypatch.setattr("hookline.cli.completion.script_of", lambda shell: shell)
    said = command("completion", "bash", "--output", "/dev/null/completion")

    assert (said.code, said.err.startswith("error[system]: /dev/null")) == (Exit.FAILED, True)


@pytest.mark.parametrize(
    ("given", "origin"),
    [("--url", "--url"), ("HOOKLINE_URL", "HOOKLINE_URL"), ("toml", "url in hookline.toml")],
)
def test_an_unreachable_server_is_named_with_where_it_came_from(
    command: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    origin: str,
) -> None:
    """The URL, and the flag, variable or file that says it."""
    url = "http://127.0.0.1:1"
    if given == "HOOKLINE_URL":
        monkeypatch.setenv(given, url)
    elif given == "toml":
        Path("hookline.toml").write_text(f'url = "{url}"\n', encoding="utf-8")

    said = command("endpoints", "list", *(["--url", url] if given == "--url" else []))

    assert said.code == Exit.FAILED
    assert f"error[unreachable]: cannot reach {url}, which {origin} names: Connection refused" in said.err


def test_a_missing_key_is_not_being_logged_in(
    command: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 4, and the variable it goes in."""
    monkeypatch.delenv("HOOKLINE_API_KEY")
    said = command("endpoints", "list", "--url", "http://127.0.0.1:1")

    assert (said.code, said.err.startswith("error[not_logged_in]: HOOKLINE_API_KEY is not set")) == (4, True)


def test_a_terminal_that_knows_ascii_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it cannot show is escaped; the error is the same."""
    monkeypatch.setattr("sys.stderr", stream := io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    code = main(["sign", "na\xefve\udc80.json", "--secret-env", "PATH"])
    stream.flush()

    assert code == Exit.USAGE
    assert stream.buffer.getvalue().startswith(b"error[config]: na\\xefve\\udc80.json: cannot be read")


# --- suggestions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        ("endpoint list", "did you mean `hookline endpoints`?"),
        ("endpoints lst", "did you mean `hookline endpoints list`?"),
        ("users ad", "did you mean `hookline users add`?"),
        ("retry delivery_1", "`hookline deliveries retry` or `hookline inbox retry`"),
        ("xyzzy", "there are demo, serve, listen, replay, endpoints"),
        ("endpoints list --jsn", "did you mean --json"),
        ("endpoints list --databse-url=x", "did you mean --database-url?"),
        ("endpoints list --debgu", "did you mean --debug?"),
        ("--quite version", "did you mean --quiet?"),
        ("version --xyzzy", "there is no option --xyzzy"),
        ("explain --headr x", "did you mean --header?"),
        ("sign --secret-evn X", "did you mean --secret-env?"),
        ("endpoints list --status on", '"enabled", "disabled"'),
        ("endpoints create", "expected URL"),
        ("version now", "expected no more, got 'now'"),
        ("help endpionts", "there are "),
    ],
)
def test_what_is_wrong_on_a_command_line_suggests_what_is_right(
    command: Run,  # noqa: F811
    arguments: str,
    suggested: str,
) -> None:
    """Commands of its group, or of another; options; choices; and where to read more."""
    said = command(*arguments.split())

    assert (said.code, said.out) == (Exit.USAGE, "")
    assert suggested in said.err
    assert "--help` says what it takes" in said.err


# --- JSON, quiet, verbose, no input -----------------------------------------------------------------------------------


def test_the_variable_is_the_flag(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """HOOKLINE_OUTPUT=json does what --json does, leaves alone what has none, and is json or text."""
    by_flag = command("config", "show", "--json")
    monkeypatch.setenv("HOOKLINE_OUTPUT", "json")
    by_variable = command("config", "show")
    error = command("deliveries", "list")
    without = command("config", "path")
    helped = command("endpoints", "list", "--help")
    assert command("help", "endpoints", "list").out == helped.out
    group = command("endpoints")
    body = Path("body")
    body.write_bytes(b"{}")
    monkeypatch.setenv("SECRET_OF_MINE", "whsec_0123456789abcdef")
    signed = command("sign", "body", "--secret-env", "SECRET_OF_MINE")
    monkeypatch.setenv("HOOKLINE_OUTPUT", "xml")

    assert by_variable.json == by_flag.json
    assert json.loads(error.err)["error"]["code"] == "config"
    assert without.out.endswith("hookline.toml\n")
    assert "Usage" in helped.out
    assert "Usage" in group.out
    assert signed.json["header"] == "WorkOS-Signature"
    assert command("version").err.startswith("error[config]: HOOKLINE_OUTPUT: expected json or text; got 'xml'")
    monkeypatch.setenv("HOOKLINE_OUTPUT", "text")
    assert command("version").out.startswith("hookline ")


def test_quiet_and_verbose(command: Run) -> None:  # noqa: F811
    """Talk is left out, or told more of; data and errors are the same."""
    assert command("db", "upgrade").code == Exit.OK
    for number in range(2):
        command("endpoints", "create", f"http://127.0.0.1:9/{number}", "--events", "*")
    plain = command("endpoints", "list", "--limit", "1")
    quiet = command("endpoints", "list", "--limit", "1", "--quiet")
    verbose = command("--verbose", "endpoints", "list", "--limit", "1")

    assert "there is more" in plain.err
    assert quiet.err == ""
    assert plain.out == quiet.out == verbose.out
    assert "GET /api/v1/endpoints?limit=1: 200," in verbose.err
    assert command("endpoints", "list", "--url", "ftp://x", "--quiet").err.startswith("error[config]")


def test_nothing_is_asked_where_nothing_may_be(
    command: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even at a terminal: what needs an answer is an error, and nothing is done."""
    assert command("db", "upgrade").code == Exit.OK
    endpoint = command("endpoints", "create", "http://127.0.0.1:9/", "--events", "*", "--json").json["id"]
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    said = command("endpoints", "delete", endpoint, "--no-input")

    assert (said.code, "--yes" in said.err) == (Exit.USAGE, True)
    assert command("endpoints", "show", endpoint).code == Exit.OK


def test_flags_of_every_command_end_at_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    """What stands behind them is an argument."""
    assert main(["sign", "--secret-env", "PATH", "--", "--debug"]) == Exit.USAGE
    assert "--debug: cannot be read" in capsys.readouterr().err


class Terminal(io.StringIO):
    """Standard output, on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_plain", [False, True])
def test_tables_on_a_terminal(monkeypatch: pytest.MonkeyPatch, is_plain: bool) -> None:
    """The same cells as where it is piped, states in colour; none with NO_COLOR; nothing that steers the terminal."""
    rows = [("delivery_1", "failed", "a\x1b[2Jb"), ("delivery_2", "succeeded", None)]
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if is_plain:
        monkeypatch.setenv("NO_COLOR", "1")
    outputs = []
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stdout", stream)
        print_table(("DELIVERY", "STATE", "NOTE"), rows, empty="none")
        outputs.append(stream.getvalue())
    shown, piped = outputs
    colours = re.findall(r"\x1b\[3[0-9]m", shown)

    assert (colours == []) == is_plain
    assert "\x1b" not in piped
    assert "\x1b[2J" not in shown
    assert piped.splitlines()[1].split() == ["delivery_1", "failed", "a\ufffd[2Jb"]
    bare = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert [line.split() for line in piped.splitlines()] == [
        line.split() for line in bare.splitlines() if re.search(r"\w", line)
    ]


@pytest.mark.parametrize("columns", [3, 12])
def test_nothing_is_cut_off_where_a_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """A few columns are folded; of many each has a line of its own."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", shown := Terminal())
    ids = [f"directory_user_01H{number:023d}" for number in range(columns)]
    print_table([f"NAME_{number}" for number in range(columns)], [ids, ids], empty="none")

    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue()).splitlines()
    assert max(map(len, lines)) <= 60
    if columns == 12:
        assert [line.split() for line in lines[:12]] == [[f"NAME_{at}", id_] for at, id_ in enumerate(ids)]
    else:
        assert sum(line.count("0") for line in lines) >= 2 * sum(id_.count("0") for id_ in ids)


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_lists_exit_codes_and_errors(command: Run) -> None:  # noqa: F811
    """Every one there is; and a command's help is what its --help says."""
    codes = command("help", "exit-codes", "--json").json
    errors = command("help", "errors", "--json").json

    assert {one["code"] for one in codes} == {int(code) for code in Exit}
    assert all(one["meaning"] for one in codes)
    assert [one["code"] for one in errors] == list(ERRORS)
    assert "130" in command("help", "exit-codes").out
    assert "delivery_moved" in command("help", "errors").out
    assert command("help", "endpoints", "list").out == command("endpoints", "list", "--help").out
    assert command("help").out == command("--help").out
    assert all(flag in command("--help").out for flag in EVERYWHERE)


def test_every_code_that_the_command_tells_is_listed() -> None:
    """What is written in a `fail(...)` is in the list, and the list has no sentence too many."""
    files = [file.read_text("utf-8") for file in PACKAGE.glob("*.py")]
    told = {code for text in files for code in re.findall(r'fail\(\s*"([a-z_]+)"', text)}

    assert told - set(ERRORS) == set()
    assert all(one.meaning.endswith(".") for one in ERRORS.values())


# --- what is imported -------------------------------------------------------------------------------------------------

SEEN = "import sys; from hookline.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
OF_THE_SERVER = (
    *("fastapi", "starlette", "uvicorn", "aiohttp", "httptools", "structlog", "cryptography", "jinja2", "psycopg"),
    *("prometheus_client", "asyncio", "hookline.sender", "hookline.receiver"),
    *("hookline.storage", "hookline.dashboard", "websockets"),
)


@pytest.mark.parametrize("arguments", [("version",), ("version", "--json", "--verbose")])
def test_version_imports_nothing_of_the_server(arguments: tuple[str, ...]) -> None:
    """Neither end, no web framework, no database driver but what it names."""
    ended = subprocess.run(
        [sys.executable, "-c", SEEN, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    seen = ended.stderr.splitlines()[-1].split()

    assert "hookline.cli.app" in seen
    assert [name for name in seen if name in OF_THE_SERVER] == []


def test_the_root_of_the_command_needs_nothing_installed() -> None:
    """Only the standard library is imported before anything is known to be there."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import hookline.cli.error_codes; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-S", "-c", code, str(PACKAGE.parents[1])], capture_output=True, text=True, check=True
    )
    tops = {name.partition(".")[0] for name in ended.stdout.split()}

    assert tops - set(sys.stdlib_module_names) - {"__main__"} == {"hookline"}
