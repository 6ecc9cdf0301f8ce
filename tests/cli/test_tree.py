"""The whole tree of commands: each one's help, the shape of its JSON and its exit codes, over one database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cli.world import Said, World, make_world, run

from hookline.cli import Exit, main
from hookline.cli.app import command_tree

# A command: how it is called where it goes well, with names of the world in braces; what its JSON has, a set of keys, a
# list of one where it is a list, "lines" where it is an object a line, "rows" where a list may be empty; its exit code.
# In the order of the file they are called, one after the other.
OK: Final[list[tuple[str, str, Any, int]]] = [
    ("version", "", {"hookline", "python", "sqlite"}, 0),
    ("help", "exit-codes", [{"code", "name", "meaning"}], 0),
    ("completion", "fish", {"shell", "script"}, 0),
    ("openapi", "", {"openapi", "paths"}, 0),
    ("config show", "", {"database_url", "port"}, 0),
    ("config init", "", {"file"}, 0),
    ("db upgrade", "", "any", 0),
    ("db current", "", "any", 0),
    ("db check", "", "any", 0),
    ("db prune", "", "any", 0),
    ("status", "", {"healthy", "needs", "receiver", "sender"}, 1),  # no worker was ever seen
    ("doctor", "--offline", [{"check", "verdict", "text", "to_do"}], 0),
    ("endpoints list", "", {"object", "data", "list_metadata"}, 0),
    ("endpoints show", "{endpoint}", {"id", "url", "events", "secret", "health"}, 0),
    ("endpoints create", "http://127.0.0.1:9/spare --events invoice.*", {"id", "secret"}, 0),
    ("endpoints update", "{endpoints create} --description spare", {"id", "description"}, 0),
    ("endpoints disable", "{endpoints create}", {"id", "status"}, 0),
    ("endpoints enable", "{endpoints create}", {"id", "status"}, 0),
    ("endpoints pause", "{endpoints create}", {"id", "paused_at"}, 0),
    ("endpoints resume", "{endpoints create} --deliver none", {"id", "paused_at"}, 0),
    ("endpoints rotate-secret", "{endpoints create}", {"id", "secret", "rotation"}, 0),
    ("endpoints revoke-secret", "{endpoints create}", {"id", "rotation"}, 0),
    ("endpoints reveal-secret", "{endpoints create}", {"endpoint_id", "secret"}, 0),
    ("endpoints versions", "{endpoints create}", {"data"}, 0),
    ("endpoints test", "{endpoint} dsync.user.created", {"outcome", "delivery", "attempts"}, 1),  # nobody is there
    ("events types", "", {"data"}, 0),
    ("events types put", "invoice.paid schema.json", {"name", "mode", "schema"}, 0),
    ("events types show", "invoice.paid", {"name", "mode", "schema"}, 0),
    ("events types mode", "invoice.paid warn", {"name", "mode"}, 0),
    ("events types delete", "invoice.paid --yes", {"name", "deleted"}, 0),
    ("events list", "", {"data", "list_metadata"}, 0),
    ("events show", "{event}", {"id", "event", "data", "created_at"}, 0),
    ("events publish", "invoice.paid data2.json", {"id", "event"}, 0),
    ("events resend", "{events publish}", {"data"}, 0),
    ("events explain", "{event}", {"data"}, 0),
    ("events export", "", "lines", 0),
    ("deliveries list", "--endpoint {endpoints create}", {"data", "list_metadata"}, 0),
    ("deliveries show", "{delivery}", {"id", "state", "attempts"}, 0),
    ("deliveries cancel", "{deliveries list}", {"done", "failed"}, 0),
    ("replays create", "--since 1h --state canceled --yes", {"id", "state", "total"}, 0),
    ("replays list", "", {"data"}, 0),
    ("replays show", "{replays create}", {"id", "state"}, 0),
    ("replays cancel", "{replays create}", {"id", "state"}, 0),
    ("deliveries retry", "{deliveries list}", {"done", "failed"}, 0),
    ("deliveries explain", "{delivery}", {"text", "story", "planned"}, 0),
    ("deliveries recover", "--since 1h --dry-run", {"object", "to_make"}, 0),
    ("deliveries send-missing", "--since 1h --dry-run", {"object", "to_make"}, 0),
    ("deliveries export", "", "lines", 0),
    ("endpoints delete", "{endpoints create} --yes", {"id", "deleted"}, 0),
    ("keys create", "--env staging --name tree", {"id", "key"}, 0),
    ("keys list", "--env staging", {"data"}, 0),
    ("keys show", "{keys create} --env staging", {"id", "name"}, 0),
    ("keys reveal", "{keys create} --env staging", {"id", "key"}, 0),
    ("keys revoke", "{keys create} --env staging --yes", {"id", "revoked"}, 0),
    ("audit", "", {"data"}, 0),
    ("users add", "ada", {"id", "name", "role", "link"}, 0),
    ("users list", "", [{"id", "name", "role"}], 0),
    ("users set-role", "ada operator", {"id", "name", "role"}, 0),
    ("users link", "ada", {"name", "link"}, 0),
    ("users disable", "ada", {"id", "disabled_at"}, 0),
    ("users enable", "ada", {"id", "disabled_at"}, 0),
    ("users sessions", "", "rows", 0),
    ("users sessions revoke", "--user ada", {"revoked"}, 0),
    ("users remove", "ada --yes", "any", 0),
    ("logs tail", "--no-follow", "lines", 0),
    ("inbox list", "", [{"seq", "event_id", "state"}], 0),
    ("inbox show", "{entry}", {"seq", "event_id", "state", "runs"}, 0),
    ("inbox dead", "", {"entries", "runs"}, 0),
    ("inbox rejected", "", "rows", 0),
    ("inbox stats", "", "any", 0),
    ("inbox replay", "{entry}", {"replays", "entries", "runs", "failed", "gone"}, 0),
    ("inbox replays", "", [{"row_id", "mode", "created_at"}], 0),
    ("inbox prune", "", "any", 0),
    ("inbox export", "", "lines", 0),
    ("handlers list", "", "rows", 0),
    ("mirror status", "", [{"source", "resource", "rows", "live"}], 0),
    ("mirror walks", "", "rows", 0),
    ("mirror list", "directory_user", [{"source", "id", "state"}], 0),
    ("mirror show", "directory_user {user}", {"id", "payload"}, 0),
    ("mirror why", "{user}", "any", 0),
    ("mirror history", "{user}", [{"kind", "cause"}], 0),
    ("mirror export", "directory_user --format jsonl", "lines", 0),
    ("sign", "data0.json", {"header", "value", "timestamp_ms"}, 0),
    ("verify", "data0.json --header t=1,v1=00", {"verdict", "reason", "message"}, 1),
    ("explain", "data0.json --header t=1,v1=00", {"code", "broken", "steps", "to_do", "notes", "delivery"}, 1),
]
# What is not there: exit 3, and the error's code.
NOT_FOUND: Final = {
    **{
        f"endpoints {act}": "we_nowhere"
        for act in ("show", "pause", "resume", "disable", "enable", "reveal-secret", "rotate-secret", "versions")
    },
    "endpoints update": "we_nowhere --description x",
    "endpoints delete": "we_nowhere --yes",
    "endpoints revoke-secret": "we_nowhere",
    "endpoints test": "we_nowhere dsync.user.created",
    "events show": "event_nowhere",
    "events resend": "event_nowhere",
    "events explain": "event_nowhere",
    "events types show": "nobody.knows",
    "deliveries show": "delivery_nowhere",
    "deliveries retry": "delivery_nowhere",
    "deliveries cancel": "delivery_nowhere",
    "deliveries explain": "delivery_nowhere",
    "replays show": "replay_nowhere",
    "replays cancel": "replay_nowhere",
    "keys show": "api_key_nowhere",
    "keys revoke": "api_key_nowhere --yes",
    "users set-role": "nobody admin",
    "users disable": "nobody",
    "users link": "nobody",
    "inbox show": "event_nowhere",
    "inbox retry": "event_nowhere",
    "inbox skip": "4711",
    "inbox drop": "event_nowhere --note gone",
    "inbox replay": "event_nowhere",
    "handlers pause": "nobody",
    "handlers resume": "nobody",
    "handlers forget": "nobody",
    "mirror show": "directory_user nobody",
    "mirror why": "nobody",
    "mirror history": "nobody",
    "explain": "--delivery delivery_nowhere",
}
# These need more than a database: what they say is tested where that is.
ELSEWHERE: Final = {
    **dict.fromkeys(("backfill", "reconcile"), "test_reconcile.py"),
    **dict.fromkeys((f"reconcile {act}" for act in ("list", "show", "heal", "ignore", "cancel")), "test_reconcile.py"),
    "demo": "test_demo.py",
    "serve": "test_serve.py",
    "check": "test_check.py",
    "listen": "test_listen.py",
    "replay": "test_listen.py",
    "trigger": "test_trigger.py",
    "trigger scenarios": "test_trigger.py",
    **dict.fromkeys((f"listeners {act}" for act in ("list", "show", "add", "remove")), "test_sender_commands.py"),
    **dict.fromkeys((f"listeners {act}-secret" for act in ("reveal", "rotate")), "test_sender_commands.py"),
    "config path": "test_config.py",
    "users set-password": "test_users.py",
}
OF_NO_JSON: Final = {"config path", "events export", "deliveries export", "inbox export", "mirror export"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("tree"))
    (made.folder / "schema.json").write_text('{"type": "object"}', encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    """Every command by its words."""
    return {" ".join(chain): command for chain, command in command_tree()}


@pytest.fixture
def entered(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    world.enter(monkeypatch)
    return world


def call(capsys: pytest.CaptureFixture[str], name: str, arguments: str) -> Said:
    flags = [] if name in OF_NO_JSON else ["--json"]
    return run(capsys, *name.split(), *arguments.split(), *flags)


def test_every_command_is_in_a_table(tree: dict[str, Any]) -> None:
    """What is new has to be put there; and what is tested elsewhere, is."""
    known = {name for name, *_ in OK} | set(NOT_FOUND) | set(ELSEWHERE)
    assert set(tree) - known == set()
    here = Path(__file__).parent
    for name, file in ELSEWHERE.items():
        text = (here / file).read_text(encoding="utf-8")
        assert f'"{name.split()[-1]}"' in text or f'"{name}"' in text, name


def test_every_help_renders_and_explains_each_parameter(
    tree: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """--help exits 0 with the usage and the names of all parameters; none of them is without a word of help."""
    wrong = []
    for name, command in tree.items():
        said = run(capsys, *name.split(), "--help")
        takes = [one for one in command.assemble_argument_collection(parse_docstring=True) if one.show]
        if said.code != Exit.OK or f"Usage: hookline {name}" not in said.out or not command.help:
            wrong.append(name)
        flat = "".join(said.out.split()).lower()
        wrong += [f"{name} {one.name}" for one in takes if one.name.lower() not in flat or not one.parameter.help]

    assert not wrong, "\n".join(wrong)


def test_what_goes_well_has_its_shape(entered: World, capsys: pytest.CaptureFixture[str]) -> None:
    """One object or list, or an object a line, with the keys that scripts go by; and the exit code."""
    names = dict(entered.ids)
    wrong = []
    for name, arguments, shape, code in OK:
        said = call(capsys, name, arguments.format_map(names))
        told: Any = None
        try:
            told = said.lines if shape == "lines" else said.json
        except ValueError:
            wrong.append(f"{name}: no JSON: {said}")
        if said.code != code or not fits(told, shape):
            wrong.append(f"{name} {arguments}: {said.code} {said.out[:300]!r} {said.err!r}")
        if isinstance(told, dict):
            data = told.get("data")
            names[name] = told.get("id") or (data[0].get("id", "") if isinstance(data, list) and data else "")

    assert not wrong, "\n".join(wrong)


def fits(told: Any, shape: Any) -> bool:
    """Whether JSON has the shape that the table says."""
    if shape == "any":
        return told is not None
    if shape == "rows":
        return isinstance(told, list)
    if shape == "lines":
        return bool(told) and all(isinstance(one, dict) for one in told)
    if isinstance(shape, list):
        return isinstance(told, list) and bool(told) and all(fits(one, shape[0]) for one in told)
    return isinstance(told, dict) and shape <= told.keys()


def test_what_is_not_there(entered: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3, the error as an object on stderr."""
    wrong = []
    for name, arguments in NOT_FOUND.items():
        said = call(capsys, name, arguments)
        error = last_error(said)
        if said.code != Exit.NOT_FOUND or not error.get("code") or not error.get("message"):
            wrong.append(f"{name} {arguments}: {said}")

    assert not wrong, "\n".join(wrong)


def last_error(said: Said) -> dict[str, Any]:
    try:
        error: dict[str, Any] = json.loads(said.err.splitlines()[-1])["error"]
    except (ValueError, IndexError):
        return {}
    return error


def test_what_nobody_understands(tree: dict[str, Any], entered: World, capsys: pytest.CaptureFixture[str]) -> None:
    """An option too many: exit 2 with code `usage`, for every command, before anything is read or done."""
    wrong = []
    for name in tree:
        said = run(capsys, *name.split(), "--xyzzy", *([] if name in OF_NO_JSON else ["--json"]))
        code = last_error(said).get("code") if name not in OF_NO_JSON else "usage"
        if (said.code, said.out, code) != (Exit.USAGE, "", "usage"):
            wrong.append(f"{name}: {said}")

    assert not wrong, "\n".join(wrong)


def test_who_is_not_logged_in(
    tree: dict[str, Any], entered: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that can ask a server exits 4 without a key for it, and says where the key goes."""
    for name in ("HOOKLINE_API_KEY", "HOOKLINE_STAGING_API_KEY"):
        monkeypatch.delenv(name)
    arguments = {name: arguments for name, arguments, *_ in OK} | {"explain": "--delivery delivery_x"}
    wrong = []
    for name, given in called_with_a_server(tree, arguments):
        said = call(capsys, name, f"{given} --url http://127.0.0.1:1")
        if said.code != Exit.NOT_LOGGED_IN or "API_KEY is not set" not in said.err:
            wrong.append(f"{name} {given}: {said}")

    assert not wrong, "\n".join(wrong)


def called_with_a_server(tree: dict[str, Any], arguments: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, command in tree.items():
        takes = {option for one in command.assemble_argument_collection() for option in one.names}
        if {"--url", "--env"} <= takes and name in arguments:
            yield name, re.sub(r"\{[^}]*\}", "x", arguments[name])


def test_config_init_sets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with every setting commented out, which is read as none; it is not written over."""
    monkeypatch.chdir(tmp_path)
    assert main(["config", "init"]) == Exit.OK
    assert main(["config", "show", "--origins", "--json"]) == Exit.OK
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    text = Path("hookline.toml").read_text(encoding="utf-8")
    again = run(capsys, "config", "init")
    forced = run(capsys, "config", "init", "--force")
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# port = ")]
    Path("hookline.toml").write_text("\n".join(lines), encoding="utf-8")

    assert "hookline.toml" not in {one["origin"] for one in shown.values()}
    assert all(f"# {name} = " in text or f"# {name}_file = " in text for name in shown)
    assert (again.code, "--force replaces it" in again.err) == (Exit.USAGE, True)
    assert forced.code == Exit.OK
    assert run(capsys, "config", "show", "--json").json["port"] == "8080"
