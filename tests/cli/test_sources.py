"""`hookline inbox` and `hookline mirror` where a database has several sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hookline import Receiver, Source
from hookline.cli import Exit, main
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import signed_request

from ..receiver.company import START_MS, Company

SECRETS = {"production": "whsec_production_0001", "staging": "whsec_staging_0001"}


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One user who is in both, one who is in staging alone, an entry each that is dead, and a refusal each."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOOKLINE_APP", "HOOKLINE_RECEIVER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOOKLINE_DATABASE_URL", "sqlite:///app.db")
    company = Company()
    both, staging = company.user("created", "both"), company.user("created", "staging_only")
    sources = [Source(name, [secret]) for name, secret in SECRETS.items()]
    with Receiver("sqlite:///app.db", sources=sources, clock=TurnedClock(START_MS)) as hooks:
        for name, event in (("production", both), ("staging", both), ("staging", staging)):
            post(hooks, name, json.dumps(event).encode())
        for name in SECRETS:
            post(hooks, name, b"no json")
            hooks.receive("POST", f"/webhooks/{name}", {}, b"", "192.0.2.1")
        hooks.receive("POST", "/webhooks", {}, b"", "192.0.2.1")
        hooks.drain()


def post(hooks: Receiver, source: str, body: bytes) -> None:
    request = signed_request(body, SECRETS[source], timestamp_ms=hooks.clock.now_ms())
    assert hooks.receive("POST", f"/webhooks/{source}", request.headers, request.body, "192.0.2.1")[0] == 200


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = Exit.OK) -> Any:
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_inbox_is_listed_by_source_or_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Entries, refusals and numbers: everything without --source, and each line says whose it is."""
    entries = told(capsys, "inbox", "list")
    assert sorted((entry["source"], entry["state"]) for entry in entries) == [
        ("production", "applied"),
        ("production", "dead"),
        ("staging", "applied"),
        ("staging", "applied"),
        ("staging", "dead"),
    ]
    assert {entry["source"] for entry in told(capsys, "inbox", "list", "--source", "staging")} == {"staging"}
    assert [entry["source"] for entry in told(capsys, "inbox", "dead", "--source", "production")["entries"]] == [
        "production"
    ]
    rejected = told(capsys, "inbox", "rejected", "--since", "2020-01-01T00:00:00Z")
    assert [(row["source"], row["reason"]) for row in rejected] == [
        ("staging", "missing"),
        ("production", "missing"),
        ("", "path"),
    ]
    stats = [told(capsys, "inbox", "stats", *source)["entries"] for source in ((), ("--source", "staging"))]
    assert stats == [5, 3]
    assert main(["inbox", "list"]) == Exit.OK
    assert "production" in capsys.readouterr().out


def test_an_id_of_several_sources_needs_one_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The same event may have come from two; what one alone has is shown without asking."""
    assert main(["inbox", "show", "event_000001"]) == Exit.USAGE
    assert "--source: several have an event of this id: staging, production" in capsys.readouterr().err

    shown = told(capsys, "inbox", "show", "event_000001", "--source", "production", "--body")
    assert (shown["source"], json.loads(shown["body"])["id"]) == ("production", "event_000001")
    assert told(capsys, "inbox", "show", "event_000002")["source"] == "staging"
    assert main(["inbox", "show", "event_000002", "--source", "production"]) == Exit.NOT_FOUND


def test_replays_and_retries_are_of_one_source_or_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    """A replay of all is one of each, and their numbers are added up."""
    whole = told(capsys, "inbox", "replay", "--type", "dsync.*")
    one = told(capsys, "inbox", "replay", "--type", "dsync.*", "--source", "staging")
    dry = told(capsys, "inbox", "replay", "event_000001", "--dry-run")
    assert whole == {"replays": [1, 2], "entries": 3, "runs": 0, "failed": 0, "gone": 0}
    assert one == {"replays": [3], "entries": 2, "runs": 0, "failed": 0, "gone": 0}
    assert dry == {"would_replay": 2}

    [dead] = told(capsys, "inbox", "dead", "--source", "production")["entries"]
    assert told(capsys, "inbox", "retry", dead["event_id"], "--source", "production")["retried"] == [dead["event_id"]]
    assert queued(capsys) == {"production"}
    assert told(capsys, "inbox", "retry", dead["event_id"])["retried"] == [dead["event_id"]]
    assert queued(capsys) == {"production", "staging"}


def queued(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Whose entries are to be applied again."""
    return {entry["source"] for entry in told(capsys, "inbox", "list") if entry["due_at"] is not None}


def test_the_mirror_is_shown_by_source_or_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """The same id in two sources is two objects."""
    rows = told(capsys, "mirror", "list", "directory_user")
    assert [(row["source"], row["id"]) for row in rows] == [
        ("production", "both"),
        ("staging", "both"),
        ("staging", "staging_only"),
    ]
    assert len(told(capsys, "mirror", "list", "directory_user", "--limit", "1")) == 1
    assert len(told(capsys, "mirror", "list", "directory_user", "--source", "staging", "--after", "both")) == 1
    assert main(["mirror", "list", "directory_user", "--after", "both"]) == Exit.USAGE
    assert "--after: expected with --source: there are production, staging" in capsys.readouterr().err
    counts = {
        (one["source"], one["live"]) for one in told(capsys, "mirror", "status") if one["resource"] == "directory_user"
    }
    assert counts == {("production", 1), ("staging", 2)}


@pytest.mark.parametrize("command", [("why",), ("history",), ("show", "directory_user")])
def test_why_of_an_id_of_several_sources_needs_one_named(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """What one alone knows is explained without asking."""
    assert main(["mirror", *command, "both"]) == Exit.USAGE
    assert "--source: both is the id of several: name one of production, staging" in capsys.readouterr().err
    assert main(["mirror", *command, "both", "--source", "staging"]) == Exit.OK
    assert main(["mirror", *command, "staging_only"]) == Exit.OK
    assert main(["mirror", *command, "staging_only", "--source", "production"]) == Exit.NOT_FOUND


def test_settings_of_sources_are_shown_and_keep_by_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` lists them, secrets masked, and `inbox prune` lets go by each source's own rule."""
    (tmp_path / "hookline.toml").write_text(
        'inbox_redacted_retention = "3650d"\ninbox_id_retention = "3650d"\n'
        '[sources.production]\nwebhook_secrets = "whsec_production_0001"\ninbox_retention = "3650d"\n'
        '[sources.staging]\ninbox_retention = "1h"\ninbox_redacted_retention = "1h"\n',
        encoding="utf-8",
    )
    shown = told(capsys, "config", "show")
    assert shown["sources.production.webhook_secrets"] == "set, 1 of them"
    assert shown["sources.staging.inbox_retention"] == "3600.0"

    told(capsys, "inbox", "prune")

    kept = {(entry["source"], entry["kept"]) for entry in told(capsys, "inbox", "list", "--state", "applied")}
    assert kept == {("production", "whole"), ("staging", "id alone")}
