"""`hookline status` and `hookline doctor`, through the command, on real databases, and through a started server."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from hookline import Receiver
from hookline.cli import Exit, doctor, main
from hookline.receiver.model import RejectionRow
from hookline.receiver.store import InboxStore
from hookline.sender.model import ENVIRONMENTS
from hookline.storage import connect
from hookline.storage.migrate import migrate
from hookline.testing.fake_workos import FakeWorkOS
from hookline.testing.signed import signed_request

from .test_serve import SECRET, Served, until
from .test_serve import start as start  # a fixture

GOOD = "whsec_w7GkQe2mY9sVbT4rN1uX"
APP = f"""
from hookline import Receiver, Source
hooks = Receiver("sqlite:///app.db", sources=[
    Source("first", secrets=[{GOOD!r}], allowed_ips="workos, 192.0.2.0/24", retention=None),
    Source("second", secrets=["changeme"]),
])

@hooks.on("dsync.*", name="welcome")
def welcome(event, tx): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with no setting from outside."""
    for name in [name for name in os.environ if name.startswith("HOOKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = Exit.OK) -> Any:
    """What the command says with --json."""
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def findings(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = Exit.OK) -> dict[str, tuple[str, str]]:
    """What the doctor found: verdict and text by check; of several by one name the last."""
    found = told(capsys, "doctor", *arguments, code=code)
    return {one["check"]: (one["verdict"], one["text"]) for one in found}


def receive(url: str, *, source: str = "default") -> None:
    """One event, kept and applied."""
    with Receiver(url, secrets=[GOOD], source=source) as receiver:
        event = {"event": "x.y", "id": "event_1", "created_at": "2026-01-01T00:00:00.000Z", "data": {}}
        request = signed_request(json.dumps(event).encode(), GOOD, timestamp_ms=time.time_ns() // 1_000_000)
        assert receiver.receive("POST", request.path, request.headers, request.body, "127.0.0.1")[0] == 200
        receiver.drain()


def test_looking_makes_and_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no database, or an old one, that is what both say; neither makes a file or a table."""
    assert main(["status"]) == Exit.FAILED
    assert "migration(s) are not applied" in capsys.readouterr().err
    assert findings(capsys, code=Exit.FAILED)["database"][0] == "problem"
    assert list(folder.iterdir()) == []


def test_status_of_a_receiver_without_a_worker(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 and the reason; as JSON the same, with every number."""
    receive("sqlite:///hookline.db")
    assert main(["status"]) == Exit.FAILED
    shown = capsys.readouterr().out
    assert "needs you: no worker was ever seen" in shown
    found = told(capsys, "status", code=Exit.FAILED)
    assert (found["healthy"], len(found["needs"]), found["sender"]) == (False, 1, None)
    assert found["receiver"]["waiting"] == 0
    assert found["receiver"]["last_accepted_ms"] > time.time_ns() // 1_000_000 - 60_000


def test_status_of_a_sender_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its backlog by environment, and the endpoints that fail or were disabled for it; a receiver is not missed."""
    database = connect("sqlite:///hookline.db")
    migrate(database, "sender", "hookline.sender")
    database.close()
    found = told(capsys, "status")
    assert (found["healthy"], found["receiver"]) == (True, None)
    assert set(found["sender"]["backlog"]) == set(ENVIRONMENTS)
    now_ms = time.time_ns() // 1_000_000
    with sqlite3.connect("hookline.db") as connection:
        connection.executemany(
            "insert into hookline_sender_endpoints (id, environment, url, status, disabled_reason, secret_enc, version,"
            " created_ms, updated_ms, failing_since_ms, failing_attempts) values (?, ?, ?, ?, ?, '', 1, 0, 0, ?, 3)",
            [
                ("we_1", "production", "https://a.example", "enabled", None, now_ms - 7_200_000),
                ("we_2", "staging", "https://b.example", "disabled", "gone", None),
                ("we_3", "staging", "https://c.example", "disabled", None, None),
                ("we_4", "staging", "https://d.example", "enabled", None, None),
            ],
        )
    connection.close()
    needs = told(capsys, "status", code=Exit.FAILED)["needs"]
    assert [need.partition(":")[0] for need in needs] == ["staging", "production"]
    assert "we_2 was disabled (gone)" in needs[0]
    assert "we_1 fails for 2 h 0 min" in needs[1]
    assert main(["status"]) == Exit.FAILED
    assert "production  0" in capsys.readouterr().out


def test_a_server_that_runs_is_well_to_both(
    start: Callable[..., Served], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three requests arrive, the worker is seen, all is well; once it has ended, that is what is wrong."""
    served = start("receiver", WEBHOOK_SECRETS=SECRET, PATH_TOKEN="n0body-guesses-this")
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("HOOKLINE_PATH_TOKEN", "n0body-guesses-this")
    monkeypatch.setenv("HOOKLINE_PORT", served.facts["url"].rpartition(":")[2])
    until(lambda: json.loads(_out(capsys, "status", "--json"))["receiver"]["workers"])
    found = findings(capsys, "--send")
    assert [found[name][0] for name in ("a GET", "a forged POST", "a signed POST")] == ["ok", "ok", "ok"]
    assert found["send"] == ("ok", f"to {served.facts['url']}/webhooks/<HOOKLINE_PATH_TOKEN>")
    assert found["database"][0] == found["secrets of default"][0] == "ok"
    assert told(capsys, "status")["healthy"] is True
    assert main(["status"]) == Exit.OK
    assert "all is well" in capsys.readouterr().out

    url = f"{served.facts['url']}/webhooks/another-token-than-that"
    found = findings(capsys, "--send", url, code=Exit.FAILED)
    assert "HOOKLINE_PATH_TOKEN" in found["a signed POST"][1]
    served.stop()
    found = findings(capsys, "--send", code=Exit.FAILED)
    assert found["a signed POST"] == (
        "problem",
        "cannot be reached: Connection refused. Is it running, and is this its port?",
    )
    assert "no worker runs" in found["status"][1]


def _out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(list(arguments))
    return capsys.readouterr().out or '{"receiver": {"workers": []}}'


def test_secrets_callers_retention_and_handlers_of_each_source(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the Receiver that the app names: a placeholder is a problem, what is off a warning, what is well is told."""
    (folder / "probed_hooks.py").write_text(APP, encoding="utf-8")
    monkeypatch.setenv("HOOKLINE_APP", "probed_hooks:hooks")
    monkeypatch.syspath_prepend(str(folder))
    receive("sqlite:///app.db", source="first")
    found = findings(capsys, code=Exit.FAILED)
    assert found["secrets of first"] == ("ok", "1 in force")
    assert found["secrets of second"][0] == "problem"
    assert found["retention of first"][0] == "warning"
    assert found["retention of second"] == ("ok", "bodies are kept for 30 d 0 h")
    assert found["callers of first"][1].startswith("2 entries (workos: the guide")
    assert "signature decides alone" in found["callers of second"][1]
    assert found["handlers"] == ("warning", "no worker has registered welcome yet: start or restart it")
    assert found["settings"][1] == "app from HOOKLINE_APP"


def test_no_secret_is_a_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receive("sqlite:///hookline.db")
    assert "answered 503" in findings(capsys, code=Exit.FAILED)["secrets of default"][1]


def test_the_api_of_a_source_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it answers, and what of it is on; without a door no secret is missed."""
    receive("sqlite:///hookline.db")
    with FakeWorkOS(folder, delivers=False) as fake:
        monkeypatch.setenv("HOOKLINE_WORKOS_BASE_URL", fake.url)
        monkeypatch.setenv("HOOKLINE_WORKOS_API_KEY", fake.api_key)
        monkeypatch.setenv("HOOKLINE_TAIL", "only")
        monkeypatch.setenv("HOOKLINE_RECONCILE_EVERY", "6h")
        found = findings(capsys)
        assert found["API of default"] == ("ok", f"{fake.url} answers; tail only, reconciled every 6 h 0 min")
        assert found["secrets of default"][0] == "ok"
        assert "callers of default" not in found
        monkeypatch.setenv("HOOKLINE_WORKOS_API_KEY", "sk_live_of_somebody_else")
        verdict, text = findings(capsys, code=Exit.FAILED)["API of default"]
    assert (verdict, "answered 401" in text) == ("problem", True)
    assert "sk_live_of_somebody_else" not in text


@pytest.mark.parametrize(("skew_s", "verdict"), [(0, "ok"), (59, "ok"), (-61, "warning"), (61, "warning")])
def test_a_clock_that_is_wrong_is_seen_by_the_sources(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, skew_s: int, verdict: str
) -> None:
    """What arrived was signed by another clock; most of them count, not one that was held up."""
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", GOOD)
    receive("sqlite:///hookline.db")
    with sqlite3.connect("hookline.db") as connection:
        connection.execute("update hookline_inbox set signed_ms = received_ms - ?", (skew_s * 1000,))
        connection.execute(
            "insert into hookline_inbox (source, event_id, sha256, type, body, signed_ms, received_ms) "
            "values ('default', 'late', '', 'x.y', '', 0, 170000), ('default', 'other', '', 'x.y', '', 0, ?)",
            (skew_s * 1000,),
        )
    connection.close()
    assert findings(capsys)["clock"][0] == verdict


@pytest.mark.parametrize(("peer", "is_proxy"), [("10.0.0.5", True), ("127.0.0.1", True), ("8.8.8.8", False)])
def test_a_proxy_nobody_named_is_seen_by_its_address(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, peer: str, is_proxy: bool
) -> None:
    """Refused for its address though it is near: whoever is behind it cannot be told."""
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", GOOD)
    receive("sqlite:///hookline.db")
    now_ms = time.time_ns() // 1_000_000
    row = RejectionRow("default", "address", now_ms - now_ms % 60_000, 1, f"403 to {peer}: not among those")
    database = connect("sqlite:///hookline.db")
    database.run(lambda connection: InboxStore("sqlite").add_rejections(connection, [row]))
    database.close()
    found = findings(capsys)
    assert found.get("proxies", ("", ""))[0] == ("warning" if is_proxy else "")
    monkeypatch.setenv("HOOKLINE_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")
    assert "proxies" not in findings(capsys)


def test_an_older_sqlite_is_told_where_others_have_the_file_open(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 3.51.3; not for a file that is Hookline's alone."""
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", GOOD)
    receive("sqlite:///hookline.db")
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 40, 1))
    monkeypatch.setattr(doctor, "others_with", lambda file: [])
    assert findings(capsys)["sqlite"][0] == "ok"
    monkeypatch.setattr(doctor, "others_with", lambda file: [4711])
    verdict, text = findings(capsys)["sqlite"]
    assert verdict == "warning"
    assert "process 4711" in text
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 3))
    assert findings(capsys)["sqlite"][0] == "ok"


def test_who_has_a_file_open_is_found(folder: Path) -> None:
    """Another process that is not Hookline; never this one."""
    file = folder / "some.db"
    file.touch()
    handle = file.open()
    program = "import sys, time; f = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other, handle:
        assert other.stdout is not None
        other.stdout.readline()
        assert doctor.others_with(file.resolve()) == [other.pid]
        other.communicate()


@pytest.mark.parametrize(("days", "verdict"), [(90, "ok"), (10, "warning"), (-1, "problem")])
def test_a_certificate_is_looked_at_before_it_ends(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, days: int, verdict: str
) -> None:
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", GOOD)
    receive("sqlite:///hookline.db")
    now = datetime.now(UTC)
    made = trustme.CA().issue_cert(
        "app.example", not_before=now - timedelta(days=30), not_after=now + timedelta(days=days)
    )
    made.cert_chain_pems[0].write_to_path("chain.pem")
    made.private_key_pem.write_to_path("key.pem")
    monkeypatch.setenv("HOOKLINE_TLS_CERT", "chain.pem")
    monkeypatch.setenv("HOOKLINE_TLS_KEY", "key.pem")
    assert findings(capsys, code=Exit.FAILED if verdict == "problem" else Exit.OK)["tls"][0] == verdict
    Path("key.pem").write_text("no key", encoding="utf-8")
    assert findings(capsys, code=Exit.FAILED)["tls"][0] == "problem"


def test_a_url_goes_with_send_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "http://127.0.0.1/webhooks"]) == Exit.USAGE
    assert main(["doctor", "--send", "ftp://a.example"]) == Exit.USAGE
