"""`hookline demo` as a command: what it prints, where, and what it exits with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
import pytest
from tests.postgres import Cluster

from hookline.cli import main
from hookline.demo.view import Report

AGREED = {
    "published",
    "delivered",
    "attempts",
    "duplicates_ignored",
    "stale_ignored",
    "forged_refused",
    "applied",
    "mirror_equals_source",
}


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hookline", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )


def test_it_ends_by_itself_with_one_json_object_as_the_last_line() -> None:
    """Exit 0, one line on stdout with the agreed keys, progress on stderr."""
    demo = start("--duration", "1.5", "--rate", "40", "--seed", "7", "--json")
    out, err = demo.communicate(timeout=40)
    told = json.loads(out)

    assert demo.returncode == 0, err
    assert out.count("\n") == 1
    assert told.keys() >= AGREED
    assert told["mirror_equals_source"] is True
    assert told["published"] == told["delivered"] >= 60
    assert told["seed"] == 7
    assert "publishing: published" in err


def test_without_a_terminal_it_prints_plain_lines_and_a_summary(tmp_path: Path) -> None:
    """No colour, no boxes; the databases and the log are kept where asked."""
    folder = tmp_path / "kept"
    demo = start("--duration", "1", "--rate", "20", "--seed", "1", "--keep", str(folder))
    out, err = demo.communicate(timeout=40)

    assert demo.returncode == 0, err
    assert "\x1b" not in out
    assert "publishing: published" in out
    assert "✓ mirror equals source" in out
    assert {"sender.db", "receiver.db", "demo.log"} <= {one.name for one in folder.iterdir()}
    assert err == ""


def test_ctrl_c_ends_publishing_and_what_was_published_still_arrives() -> None:
    """One SIGINT: it drains, compares and exits 0, long before its time is up."""
    demo = start("--duration", "60", "--rate", "40", "--seed", "3", "--json")
    assert demo.stderr is not None
    for _ in range(2):
        demo.stderr.readline()
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=40)

    assert demo.returncode == 0, err
    assert json.loads(out)["mirror_equals_source"] is True
    assert json.loads(out)["duration_s"] < 30


def test_the_senders_api_can_be_asked_while_it_runs() -> None:
    """With `--port` and a key of one's own, `GET /events` answers what was published; the key is not printed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    key = "sk_live_demo_of_my_own"
    demo = start("--duration", "60", "--rate", "40", "--json", "--port", str(port), HOOKLINE_API_KEY=key)
    assert demo.stderr is not None
    said = [demo.stderr.readline() for _ in range(4)]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/events?events=dsync.user.created", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        events = json.load(response)["data"]
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=40)

    assert demo.returncode == 0, err
    assert f"http://127.0.0.1:{port}" in said[0]
    assert key not in out + err + "".join(said)
    assert {one["event"] for one in events} == {"dsync.user.created"}


def schemas(database_url: str) -> set[str]:
    """Those of the database that people made."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select nspname from pg_namespace where nspname !~ '^pg_|^information_schema$'")
        return {name for (name,) in rows}


def test_on_postgresql_it_has_a_schema_of_its_own_beside_hooklines_own_tables(postgres_url: str) -> None:
    """The same result; a database in use is as it was, and what the environment names is not touched at all."""
    elsewhere = "postgresql://127.0.0.1:1/nowhere"
    demo = start(
        "--duration", "1", "--rate", "60", "--seed", "7", "--json", "--database-url", postgres_url,
        HOOKLINE_DATABASE_URL=elsewhere,
    )  # fmt: skip
    out, err = demo.communicate(timeout=60)
    told = json.loads(out)

    assert demo.returncode == 0, err
    assert told.keys() >= AGREED
    assert told["mirror_equals_source"] is True
    assert told["handlers_ran_once"] is True
    assert told["published"] == told["delivered"] >= 60
    assert schemas(postgres_url) == {"public"}
    with psycopg.connect(postgres_url) as connection:
        for table in ("hookline_sender_events", "hookline_sender_endpoints", "hookline_inbox", "hookline_handlers"):
            assert connection.execute(f"select count(*) from {table}").fetchone() == (0,)


def test_two_postgresql_databases_are_kept_where_asked(postgres: Cluster, tmp_path: Path) -> None:
    """Each end has its schema in its own database; what they hold is what was told."""
    ours, theirs = postgres.create(), postgres.create()
    demo = start(
        "--duration", "0.5", "--rate", "40", "--json", "--keep", str(tmp_path / "kept"),
        "--database-url", postgres.url(ours), "--receiver-database-url", postgres.url(theirs),
    )  # fmt: skip
    out, err = demo.communicate(timeout=60)
    told = json.loads(out)
    [sender], [receiver] = (schemas(postgres.url(name)) - {"public"} for name in (ours, theirs))

    assert demo.returncode == 0, err
    assert told["mirror_equals_source"] is True
    with postgres.connect(ours) as connection:
        events = connection.execute(f"select count(*) from {sender}.hookline_sender_events").fetchone()
    with postgres.connect(theirs) as connection:
        entries = connection.execute(f"select count(*) from {receiver}.hookline_inbox").fetchone()
    assert events == entries == (told["published"],)
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["demo.log"]
    for name in (ours, theirs):
        postgres.drop(name)


def test_who_may_not_make_a_schema_is_told_before_anything_starts(
    postgres: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written into a schema that is there already."""
    name = postgres.create()
    with postgres.connect() as connection:
        connection.execute("create role demo_guest login")
    url = postgres.url(name).replace("hookline@", "demo_guest@")

    assert main(["demo", "--duration", "1", "--database-url", url]) == 2
    said = capsys.readouterr().err
    assert "--database-url" in said
    assert "create schema" in said or "create a schema" in said
    assert schemas(postgres.url(name)) == {"public"}
    postgres.drop(name)
    with postgres.connect() as connection:
        connection.execute("drop role demo_guest")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--database-url", "sqlite:///hookline.db"),
        ("--database-url", "postgresql://127.0.0.1"),
        ("--receiver-database-url", "sqlite:///hookline.db"),
    ],
)
def test_a_url_that_is_no_postgresql_database_exits_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the option; SQLite needs none."""
    assert main(["demo", "--duration", "1", *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_receivers_database_alone_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is on PostgreSQL by half."""
    assert main(["demo", "--duration", "1", "--receiver-database-url", "postgresql://127.0.0.1:1/there"]) == 2
    assert "--database-url" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("--rate", "0"), ("--rate", "501"), ("--duration", "0"), ("--seed", "-1"), ("--port", "70000"), ("--nonsense",)],
)
def test_bad_arguments_exit_2_before_anything_starts(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the option."""
    code = main(["demo", *arguments])

    assert code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_folder_with_files_in_it_is_not_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--keep` takes a new or an empty folder."""
    (tmp_path / "precious.txt").write_text("mine")

    assert main(["demo", "--keep", str(tmp_path)]) == 2
    assert "--keep" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(("is_good", "code"), [(True, 0), (False, 1), (None, 130)])
def test_the_exit_code_says_how_it_ended(is_good: bool | None, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 where all is right, 1 where anything is not, 130 where it was given up."""

    class Ended:
        def __init__(self) -> None:
            self.is_good = is_good

    def play(_options: object, *, as_json: bool) -> Report | None:
        return None if is_good is None else Ended()  # type: ignore[return-value]

    monkeypatch.setattr("hookline.demo.show.play", play)

    assert main(["demo", "--duration", "1"]) == code
