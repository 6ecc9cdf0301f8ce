"""The commands over the sender: on a local database and against a server elsewhere, the same in every word."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from tests.cli.test_serve import PATIENCE_S, clean_environment
from tests.cli.world import Said
from tests.sender.test_app import Sink

from hookline.cli import Exit, main
from hookline.cli.sender_commands import moment
from hookline.errors import ConfigError
from hookline.storage import connect

KEYS = {"HOOKLINE_API_KEY": "production_key_0123456789", "HOOKLINE_STAGING_API_KEY": "sk_test_0123456789abcdef"}


Run = Callable[..., Said]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and only these settings."""
    for name in [name for name in os.environ if name.startswith("HOOKLINE_")]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOOKLINE_ALLOW_PRIVATE_TARGETS", "true")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(settings: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `hookline …` in this process."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def served(settings: Path) -> Iterator[str]:
    """The URL of a `hookline serve sender` on a database of its own."""
    own = {name.removeprefix("HOOKLINE_"): value for name, value in KEYS.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "hookline", "serve", "sender", "--json"],
        cwd=settings,
        env=clean_environment(
            PORT="0", ALLOW_PRIVATE_TARGETS="true", DATABASE_URL="sqlite:///served.db", RETRY_SCHEDULE="none", **own
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)


@pytest.fixture(params=["sqlite", "postgres", "remote"])
def hookline(request: pytest.FixtureRequest, command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command over a sender: the database here, or a server by its URL."""
    if request.param == "remote":
        monkeypatch.setenv("HOOKLINE_URL", request.getfixturevalue("served"))
        return command
    if request.param == "postgres":
        monkeypatch.setenv("HOOKLINE_DATABASE_URL", request.getfixturevalue("postgres_url"))
        monkeypatch.setenv("HOOKLINE_ENCRYPTION_KEY", Fernet.generate_key().decode())
    else:
        assert command("db", "upgrade").code == Exit.OK
    return command


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def test_the_life_of_an_endpoint(hookline: Run) -> None:
    """Created, shown, changed, paused, resumed, disabled, enabled, its secret rotated and revealed, deleted."""
    made = hookline(
        *("endpoints", "create", "http://127.0.0.1:9/hooks", "--events", "dsync.*,invoice.paid", "--json"),
        *("--description", "billing", "--timeout-s", "5", "--schedule", "30s, 5m", "--header", "X-Team: billing"),
    ).json
    endpoint = made["id"]

    def done(name: str, *arguments: str) -> Any:
        said = hookline("endpoints", name, endpoint, *arguments, "--json")
        assert said.code == Exit.OK, said.err
        return said.json

    assert made["secret"].startswith("whsec_")
    assert done("show")["secret"] == "whsec_…" + made["secret"][-4:]
    assert (made["timeout_s"], made["schedule"]) == (5, [30, 300])
    assert made["headers"] == [{"name": "X-Team", "value": "billing", "sensitive": False}]
    changed = done("update", "--clear", "description,headers", "--events", "*", "--rate-limit-per-min", "60")
    assert (changed["description"], changed["headers"], changed["events"]) == (None, [], ["*"])
    assert (changed["rate_limit_per_min"], changed["timeout_s"]) == (60, 5)
    assert done("pause")["paused_at"] is not None
    assert done("resume", "--dry-run")["held"] == 0
    assert done("resume", "--deliver", "none")["paused_at"] is None
    assert done("disable")["status"] == "disabled"
    assert done("enable")["status"] == "enabled"
    rotated = done("rotate-secret", "--overlap", "1h")
    assert done("reveal-secret")["secret"] == rotated["secret"] != made["secret"]
    assert rotated["rotation"]["old_secret"] == "whsec_…" + made["secret"][-4:]
    assert done("revoke-secret")["rotation"] is None
    assert done("versions")["data"][0]["version"] == done("show")["version"]
    assert done("delete", "--yes") == {"id": endpoint, "deleted": True}
    assert hookline("endpoints", "show", endpoint).code == Exit.NOT_FOUND
    trail = hookline("audit", "--object", endpoint, "--all", "--json").out.splitlines()
    actions = [json.loads(line)["action"] for line in trail]
    assert actions[0] == "endpoint.deleted"
    assert actions[-1] == "endpoint.created"


def test_events_and_their_deliveries(hookline: Run, settings: Path) -> None:
    """Published, listed, shown, resent; the delivery is canceled, retried; where nothing is there it is said."""
    endpoint = hookline("endpoints", "create", "http://127.0.0.1:9/", "--events", "*", "--json").json["id"]
    hookline("endpoints", "pause", endpoint)
    (settings / "data.json").write_text('{"object": "directory_user", "id": "directory_user_1"}', encoding="utf-8")

    event = hookline("events", "publish", "dsync.user.created", "data.json").out.strip()
    again = [
        hookline("events", "publish", "dsync.user.created", "data.json", "--idempotency-key", "once").out
        for _ in range(2)
    ]
    listed = hookline("events", "list", "--type", "dsync.user.created", "--json").json["data"]
    [made] = hookline("deliveries", "list", "--event", event, "--json").json["data"]
    shown = hookline("events", "show", event)
    canceled = hookline("deliveries", "cancel", made["id"], "delivery_nowhere", "--json")
    resent = hookline("events", "resend", event, "--json").json["data"]
    too_early = hookline("deliveries", "retry", made["id"])
    hookline("endpoints", "resume", endpoint)
    retried = hookline("deliveries", "retry", made["id"])

    assert event.startswith("event_")
    assert again[0] == again[1]
    assert [one["id"] for one in listed] == [event, again[0].strip()]
    assert made["state"] == "held"
    assert event in shown.out
    assert made["id"] in shown.out
    assert [one["origin"] for one in resent] == ["replay"]
    assert canceled.code == Exit.PARTLY_DONE
    assert [one["state"] for one in canceled.json["done"]] == ["canceled"]
    assert canceled.json["failed"][0]["id"] == "delivery_nowhere"
    assert (too_early.code, "resume it first" in too_early.err) == (Exit.FAILED, True)
    assert retried.code == Exit.OK
    assert hookline("deliveries", "show", made["id"], "--json").json["id"] == made["id"]
    assert hookline("deliveries", "retry", "delivery_nowhere").code == Exit.NOT_FOUND


def test_listeners_are_made_shown_and_removed(hookline: Run, settings: Path) -> None:
    """The secret is masked but where it is revealed, and stays until it is rotated; a resend can name a listener."""
    (settings / "data.json").write_text("{}", encoding="utf-8")
    event = hookline("events", "publish", "invoice.paid", "data.json").out.strip()

    made = hookline("listeners", "add", "ada@laptop", "--json").json
    again = hookline("listeners", "add", "ada@laptop", "--json").json
    secret = hookline("listeners", "reveal-secret", "ada@laptop").out.strip()
    resent = hookline("events", "resend", event, "--listener", "ada@laptop", "--json").json
    to_nobody = hookline("events", "resend", event)
    rotated = hookline("listeners", "rotate-secret", "ada@laptop", "--json").json
    listed = hookline("listeners", "list")
    shown = hookline("listeners", "show", "ada@laptop")
    removed = hookline("listeners", "remove", "ada@laptop", "--yes", "--json").json
    trail = hookline("audit", "--object", "ada@laptop", "--json").json["data"]

    assert made == again
    assert (made["is_connected"], made["events"], made["missed"], made["last_seen_at"]) == (False, [], 0, None)
    assert secret.startswith("whsec_")
    assert made["secret"] == f"whsec_…{secret[-4:]}"
    assert rotated["secret"] != made["secret"]
    assert (resent["data"], resent["listeners"]) == ([], ["ada@laptop"])
    assert "no endpoint asks for it" in to_nobody.out + to_nobody.err
    assert "ada@laptop" in listed.out
    assert "is_connected" in shown.out
    assert removed == {"name": "ada@laptop", "removed": True}
    words = ["listener.removed", "listener.secret_rotated", "listener.secret_revealed", "listener.created"]
    assert [entry["action"] for entry in trail] == words
    assert hookline("listeners", "show", "ada@laptop").code == Exit.NOT_FOUND
    assert hookline("listeners", "add", "a b").code == Exit.USAGE


def test_replays_are_counted_first(hookline: Run, settings: Path) -> None:
    """--dry-run counts; without --yes and nobody to ask nothing happens; then it is started, listed, canceled."""
    (settings / "data.json").write_text("{}", encoding="utf-8")
    hookline("events", "publish", "invoice.paid", "data.json")
    endpoint = hookline("endpoints", "create", "http://127.0.0.1:9/", "--events", "*", "--json").json["id"]
    hookline("endpoints", "pause", endpoint)

    counted = hookline("deliveries", "send-missing", "--since", "1h", "--dry-run", "--json").json
    unsure = hookline("deliveries", "send-missing", "--since", "1h")
    started = hookline("replays", "create", "--state", "never", "--since", "1h", "--yes", "--json").json
    nothing = hookline("deliveries", "recover", "--since", "1h")
    listed = hookline("replays", "list", "--json").json["data"]
    hookline("replays", "cancel", started["id"])

    assert (counted["object"], counted["to_make"]) == ("replay_preview", 1)
    assert (unsure.code, unsure.out) == (Exit.USAGE, "")
    assert "--yes" in unsure.err
    assert started["total"] == 1
    assert nothing.out == "would make 0 deliveries\n"
    assert [one["id"] for one in listed] == [started["id"]]
    assert hookline("replays", "show", started["id"], "--json").json["state"] in {"canceled", "succeeded"}
    assert hookline("replays", "create", "--since", "nonsense").code == Exit.USAGE


def test_keys(hookline: Run) -> None:
    """Made, listed without its text, revoked; one of staging may be shown again."""
    made = hookline("keys", "create", "--name", "billing", "--json").json
    staging = hookline("keys", "create", "--env", "staging", "--json").json
    listed = hookline("keys", "list", "--json")
    shown = hookline("keys", "show", made["id"], "--json").json
    revealed = hookline("keys", "reveal", staging["id"], "--env", "staging", "--json").json
    revoked = hookline("keys", "revoke", made["id"], "--yes")

    assert made["key"].startswith("sk_live_")
    assert made["key"] not in listed.out
    assert (shown["name"], shown["key"]) == ("billing", None)
    assert hookline("keys", "show", staging["id"]).code == Exit.NOT_FOUND
    assert revealed["key"] == staging["key"]
    assert (revoked.code, revoked.out) == (Exit.OK, f"revoked: {made['id']}\n")
    found = {one["id"]: one["revoked_at"] for one in hookline("keys", "list", "--json").json["data"]}
    assert found[made["id"]] is not None


SCHEMA = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}


def test_the_life_of_an_event_type(hookline: Run, settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Described with a schema, shown, listed, in force; its mode changed alone; described anew; forgotten."""
    types = ("events", "types")
    for file, content in (("schema", SCHEMA), ("sample", {"amount": 5}), ("wrong", {"amount": "12"})):
        (settings / f"{file}.json").write_text(json.dumps(content), encoding="utf-8")

    def publish(file: str) -> int:
        return hookline("events", "publish", "invoice.paid", file).code

    described = ("--description", "An invoice was paid.", "--sample", "sample.json")
    made = hookline(*types, "put", "invoice.paid", "schema.json", *described, "--json").json
    listed = hookline(*types, "invoice", "--json").json["data"]
    shown = hookline(*types, "show", "invoice.paid")
    refused = hookline("events", "publish", "invoice.paid", "wrong.json")
    warned = hookline(*types, "mode", "invoice.paid", "warn", "--json").json
    taken = publish("wrong.json")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps({"type": "object"}).encode())))
    anew = hookline(*types, "put", "invoice.paid", "-", "--json").json
    unasked = hookline(*types, "delete", "invoice.paid")
    gone = hookline(*types, "delete", "invoice.paid", "--yes", "--json")

    assert (made["mode"], made["origin"], made["schema"], made["sample"]) == ("reject", "own", SCHEMA, {"amount": 5})
    assert [(one["name"], one["mode"], one["has_schema"]) for one in listed] == [("invoice.paid", "reject", True)]
    assert json.dumps(SCHEMA) in shown.out
    assert "An invoice was paid." in shown.out
    assert (refused.code, "data.amount" in refused.err) == (Exit.USAGE, True)
    assert (warned["mode"], warned["schema"], warned["sample"]) == ("warn", SCHEMA, {"amount": 5})
    assert warned["description"] == "An invoice was paid."
    assert taken == Exit.OK
    assert (anew["schema"], anew["mode"], anew["sample"], anew["description"]) == (
        {"type": "object"},
        "reject",
        None,
        None,
    )
    assert (unasked.code, "--yes" in unasked.err) == (Exit.USAGE, True)
    assert (gone.code, gone.json) == (Exit.OK, {"name": "invoice.paid", "deleted": True})
    assert hookline(*types, "show", "invoice.paid").code == Exit.NOT_FOUND
    assert hookline(*types, "mode", "invoice.paid", "off").code == Exit.NOT_FOUND
    assert hookline(*types, "delete", "invoice.paid", "--yes").code == Exit.NOT_FOUND


def test_what_is_no_description_is_refused(hookline: Run, settings: Path) -> None:
    """By the field, in the words of the API, with exit code 2; and two files cannot both be standard input."""
    (settings / "schema.json").write_text('{"type": "nonsense"}', encoding="utf-8")
    (settings / "broken.json").write_text("{", encoding="utf-8")
    put = ("events", "types", "put", "invoice.paid")

    refusals = [
        (hookline(*put, "schema.json"), "schema"),
        (hookline(*put, "broken.json"), "expected JSON"),
        (hookline(*put, "nowhere.json"), "cannot be read"),
        (hookline(*put, "-", "--sample", "-"), "--sample"),
        (hookline(*put, "--mode", "warn"), "expected a schema"),
        (hookline(*put, "--mode", "loud"), "loud"),
        (hookline("events", "types", "put", "Invoice Paid"), "invoice.paid"),
    ]

    assert [(said.code, word in said.err) for said, word in refusals] == [(Exit.USAGE, True)] * len(refusals)


# Which command each of Hookline's own routes is for.
STATE = ("/api/v1/organizations", "/api/v1/directories")
COMMANDS = {
    "GET /api/v1/api_keys": "keys list",
    "POST /api/v1/api_keys": "keys create",
    "GET /api/v1/api_keys/{key_id}": "keys show",
    "DELETE /api/v1/api_keys/{key_id}": "keys revoke",
    "POST /api/v1/api_keys/{key_id}/reveal": "keys reveal",
    "GET /api/v1/audit": "audit",
    "GET /api/v1/deliveries": "deliveries list",
    "GET /api/v1/deliveries/{delivery_id}": "deliveries show",
    "POST /api/v1/deliveries/{delivery_id}/cancel": "deliveries cancel",
    "GET /api/v1/deliveries/{delivery_id}/explain": "deliveries explain",
    "POST /api/v1/deliveries/{delivery_id}/retry": "deliveries retry",
    "GET /api/v1/endpoints": "endpoints list",
    "POST /api/v1/endpoints": "endpoints create",
    "GET /api/v1/endpoints/{endpoint_id}": "endpoints show",
    "PATCH /api/v1/endpoints/{endpoint_id}": "endpoints update",
    "DELETE /api/v1/endpoints/{endpoint_id}": "endpoints delete",
    "POST /api/v1/endpoints/{endpoint_id}/pause": "endpoints pause",
    "POST /api/v1/endpoints/{endpoint_id}/resume": "endpoints resume",
    "POST /api/v1/endpoints/{endpoint_id}/reveal_secret": "endpoints reveal-secret",
    "POST /api/v1/endpoints/{endpoint_id}/revoke_old_secret": "endpoints revoke-secret",
    "POST /api/v1/endpoints/{endpoint_id}/rotate_secret": "endpoints rotate-secret",
    "POST /api/v1/endpoints/{endpoint_id}/test": "endpoints test",
    "GET /api/v1/endpoints/{endpoint_id}/versions": "endpoints versions",
    "GET /api/v1/event_types": "events types",
    "GET /api/v1/event_types/{name}": "events types show",
    "PUT /api/v1/event_types/{name}": "events types put",
    "PATCH /api/v1/event_types/{name}": "events types mode",
    "DELETE /api/v1/event_types/{name}": "events types delete",
    "POST /api/v1/events": "events publish",
    "GET /api/v1/events/{event_id}": "events show",
    "GET /api/v1/events/{event_id}/explain": "events explain",
    "POST /api/v1/events/{event_id}/resend": "events resend",
    "GET /api/v1/listeners": "listeners list",
    "GET /api/v1/listeners/{name}": "listeners show",
    "PUT /api/v1/listeners/{name}": "listeners add",
    "DELETE /api/v1/listeners/{name}": "listeners remove",
    "POST /api/v1/listeners/{name}/reveal_secret": "listeners reveal-secret",
    "POST /api/v1/listeners/{name}/rotate_secret": "listeners rotate-secret",
    "POST /api/v1/replays": "replays create",
    "GET /api/v1/replays": "replays list",
    "GET /api/v1/replays/{replay_id}": "replays show",
    "POST /api/v1/replays/{replay_id}/cancel": "replays cancel",
}


def test_every_route_of_ours_has_its_command(command: Run) -> None:
    """A route without a command is seen here, and so is a command that is not there."""
    described = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    routes = {
        f"{method.upper()} {path}"
        for path, methods in described.items()
        for method in methods
        if path.startswith("/api/v1/")
    }

    # Directories and organizations are written by programs: nobody keeps a company's people by hand.
    written = {route for route in routes if route.split(" ")[1].startswith(STATE)}
    assert written
    assert routes - written == set(COMMANDS)
    for name in sorted(set(COMMANDS.values())):
        said = command(*name.split(), "--help")
        assert said.code == Exit.OK
        assert f"Usage: hookline {name}" in said.out


def test_environments_are_apart(hookline: Run) -> None:
    """What --env staging makes, production does not see."""
    hookline("endpoints", "create", "http://127.0.0.1:9/", "--events", "*", "--env", "staging")

    assert len(hookline("endpoints", "list", "--env", "staging", "--json").json["data"]) == 1
    assert hookline("endpoints", "list", "--json").json["data"] == []


def test_every_page_is_an_object_per_line(hookline: Run) -> None:
    """--all --json is NDJSON of everything; without --all a page, and where it goes on."""
    for number in range(5):
        hookline("endpoints", "create", f"http://127.0.0.1:9/{number}", "--events", "*")

    page = hookline("endpoints", "list", "--limit", "2")
    following = page.err.split("--after ")[1].split(",")[0]
    rest = hookline("endpoints", "list", "--limit", "2", "--after", following, "--json").json["data"]
    lines = [json.loads(line) for line in hookline("endpoints", "list", "--all", "--json").out.splitlines()]

    assert [one["url"][-1] for one in lines] == ["4", "3", "2", "1", "0"]
    assert [one["url"][-1] for one in rest] == ["2", "1"]
    assert [line.split()[0] for line in page.out.splitlines()] == ["ENDPOINT", lines[0]["id"], lines[1]["id"]]
    assert not any(sign in page.out for sign in "\x1b─│")


def test_a_refusal_is_the_same_everywhere(hookline: Run) -> None:
    """The API's words, on stderr, as JSON where asked; its status decides the exit code."""
    unknown = hookline("endpoints", "show", "we_nowhere", "--json")
    invalid = hookline("endpoints", "create", "not a url", "--events", "*")
    hookline("endpoints", "create", "http://127.0.0.1:9/", "--events", "*")
    twice = hookline("endpoints", "create", "http://127.0.0.1:9/", "--events", "*")

    assert (unknown.code, unknown.out) == (Exit.NOT_FOUND, "")
    assert json.loads(unknown.err)["error"]["code"] == "entity_not_found"
    assert invalid.code == Exit.USAGE
    assert twice.code == Exit.FAILED
    assert "Traceback" not in invalid.err + twice.err


def test_a_test_event_tells_what_came_back(hookline: Run, sink: Sink) -> None:
    """`endpoints test` exits 0 where the endpoint took it, and 1 with what it answered where it did not."""
    endpoint = hookline("endpoints", "create", sink.url, "--events", "dsync.user.created", "--json").json["id"]

    taken = hookline("endpoints", "test", endpoint, "dsync.user.created", "--json")
    sink.statuses = [500]
    refused = hookline("endpoints", "test", endpoint, "dsync.user.created")

    assert (taken.code, taken.json["status"]) == (Exit.OK, 200)
    assert refused.code == Exit.FAILED
    assert "500" in refused.out


def test_why_an_event_was_sent_or_not(hookline: Run, settings: Path) -> None:
    """`explain` says of each endpoint why it got an event or not, and tells a delivery's story."""
    wanting = hookline("endpoints", "create", "http://127.0.0.1:9/a", "--events", "invoice.paid", "--json").json["id"]
    other = hookline("endpoints", "create", "http://127.0.0.1:9/b", "--events", "dsync.*", "--json").json["id"]
    hookline("endpoints", "pause", wanting)
    (settings / "data.json").write_text("{}", encoding="utf-8")
    event = hookline("events", "publish", "invoice.paid", "data.json").out.strip()

    verdicts = {
        one["endpoint_id"]: (one["verdict"], one["delivery_ids"])
        for one in hookline("events", "explain", event, "--json").json["data"]
    }
    told = hookline("events", "explain", event, "--endpoint", other)
    [delivery] = verdicts[wanting][1]
    story = hookline("deliveries", "explain", delivery)

    assert verdicts[wanting][0] == "held"
    assert verdicts[other] == ("not_sent", [])
    assert "not_sent" in told.out
    assert wanting not in told.out
    assert (story.code, "paused" in story.out) == (Exit.OK, True)


# -- where a sender is, and is not -------------------------------------------------------------------------------


def test_without_a_key_a_server_is_not_asked(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4 names the setting that is missing, of the environment that was meant."""
    monkeypatch.delenv("HOOKLINE_STAGING_API_KEY")

    said = command("endpoints", "list", "--url", "https://hooks.example.com", "--env", "staging")

    assert (said.code, said.out) == (Exit.NOT_LOGGED_IN, "")
    assert "HOOKLINE_STAGING_API_KEY is not set" in said.err


def test_a_wrong_key_is_said(command: Run, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4, and the key is not repeated."""
    monkeypatch.setenv("HOOKLINE_API_KEY", "another_key_0123456789")

    said = command("endpoints", "list", "--url", served)

    assert said.code == Exit.NOT_LOGGED_IN
    assert "another_key" not in said.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--url", "http://127.0.0.1:1"], "cannot reach http://127.0.0.1:1"),
        (["--url", "ftp://x"], "--url: expected the root of a server"),
        (["--url", "https://ada:secret@hooks.example"], "--url: expected no user or password"),
        (["--url", "https://x", "--database-url", "sqlite:///x.db"], "a server or a database"),
        (["--database-url", "sqlite:///nowhere.db"], "there is no database"),
        (["--database-url", "sqlite:///not/there/x.db"], "expected a file in a folder that exists"),
        (["--api-key", "sk_live_x"], "a secret given as a flag"),
    ],
)
def test_what_is_no_place_is_said(command: Run, arguments: list[str], named: str) -> None:
    """One line that says what was expected; no secret in it, and no database is made by looking."""
    said = command("endpoints", "list", *arguments)

    assert said.code in {Exit.USAGE, Exit.FAILED}
    assert named in said.err
    assert "secret@" not in said.err
    assert list(Path.cwd().glob("*.db")) == []


def test_a_database_of_another_version_is_not_touched(command: Run) -> None:
    """A command does not migrate in passing: it says how."""
    connect("sqlite:///./old.db").close()
    Path("old.db").touch()

    said = command("endpoints", "list", "--database-url", "sqlite:///old.db")

    assert said.code == Exit.FAILED
    assert "hookline db upgrade" in said.err
    assert Path("old.db").stat().st_size < 20_000


def test_a_local_command_makes_no_keys(command: Run) -> None:
    """API keys are made where they can be told: by the server, and by `keys create`."""
    command("db", "upgrade")
    for name in KEYS:
        os.environ.pop(name)

    command("endpoints", "list")

    assert command("keys", "list", "--json").json["data"] == []


def test_sensitive_headers_come_from_the_environment(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their value is in no command line and in no answer."""
    command("db", "upgrade")
    monkeypatch.setenv("PASSWORD", "hunter2")
    create = ("endpoints", "create", "http://127.0.0.1:9/", "--events", "*", "--json")

    made = command(*create, "--sensitive-header", "X-Key=PASSWORD")
    missing = command(*create, "--sensitive-header", "X-Key=NOWHERE")

    assert made.json["headers"] == [{"name": "X-Key", "value": None, "sensitive": True}]
    assert "hunter2" not in made.out
    assert (missing.code, "NOWHERE is not set" in missing.err) == (Exit.USAGE, True)


# -- databases ---------------------------------------------------------------------------------------------------


def test_db_upgrade_current_and_check(command: Run) -> None:
    """Nothing there, then all of it; looking makes nothing, not even an encryption key."""
    before = command("db", "check")
    upgraded = command("db", "upgrade", "--json").json["applied"]
    current = command("db", "current", "--json")
    check = command("db", "check", "--json")

    assert (before.code, "there is no database" in before.err) == (Exit.FAILED, True)
    assert all(count > 0 for count in upgraded.values())
    assert command("db", "upgrade", "--json").json["applied"] == {"sender": 0, "receiver": 0, "dashboard": 0}
    assert (current.code, [one["part"] for one in current.json]) == (Exit.OK, ["sender", "receiver", "dashboard"])
    assert (check.code, {one["problem"] for one in check.json}) == (Exit.OK, {None})
    assert not Path("hookline.db.key").exists()


def test_db_check_finds_a_wrong_key_and_a_damaged_file(command: Run) -> None:
    """A key that is not the database's, and pages that are no pages."""
    command("db", "upgrade")
    command("endpoints", "list")
    Path("hookline.db.key").unlink()
    os.environ.pop("HOOKLINE_ENCRYPTION_KEY", None)

    wrong = command("db", "check")
    content = bytearray(Path("hookline.db").read_bytes())
    content[8192:12288] = b"\xff" * 4096
    Path("hookline.db").write_bytes(content)
    for leftover in Path().glob("hookline.db-*"):
        leftover.unlink()
    damaged = command("db", "check")

    assert wrong.code == damaged.code == Exit.FAILED
    assert "encryption key" in wrong.err
    assert "file:" in damaged.err


def test_db_prune_removes_what_is_past_its_time(command: Run) -> None:
    """What is older than its retention goes, and is counted."""
    command("db", "upgrade")
    Path("data.json").write_text("{}", encoding="utf-8")
    event = command("events", "publish", "invoice.paid", "data.json").out.strip()
    database = connect("sqlite:///hookline.db")
    with database.transaction() as connection:
        connection.execute("update hookline_sender_events set published_ms = 1, created_ms = 1")
    database.close()

    removed = command("db", "prune", "--json").json

    assert removed["events"] == 1
    assert command("events", "show", event).code == Exit.NOT_FOUND


def test_a_local_command_wakes_the_server(command: Run, served: str, sink: Sink) -> None:
    """What a command writes into the server's database, the server delivers."""
    there = ("--database-url", "sqlite:///served.db")
    command("endpoints", "create", sink.url, "--events", "*", *there)
    Path("data.json").write_text("{}", encoding="utf-8")
    command("events", "publish", "invoice.paid", "data.json", *there)

    sink.wait_for(1)


def test_a_moment_before_all_times() -> None:
    """An age that reaches back behind the year 1 is its beginning; a time before 1970 stays what it is."""
    assert moment("--since", "999999999d") == "0001-01-01T00:00:00.000Z"
    assert moment("--since", "1969-07-20T20:17:40Z") == "1969-07-20T20:17:40.000Z"
    with pytest.raises(ConfigError, match="--since: expected a time, or an age"):
        moment("--since", "soon")
