"""The large runs, small: that they go on working, and that what they find wrong fails them."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from bench.backlog import add_entries
from soak import drain, feed, merge
from soak.report import Report

from hookline.storage import connect
from hookline.storage.migrate import migrate
from tests.model import stored
from tests.postgres import Cluster


def test_the_merge_soak_reports_and_finds_nothing_wrong() -> None:
    """A small run exits 0, says how far it is, and reports the rules beside one another."""
    done = subprocess.run(
        [sys.executable, "-m", "soak", "merge", "--scale", "0.002"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )

    assert done.returncode == 0, done.stderr
    assert "| Hookline's rules | 0 | 0 | 0 | 0 | 0 |" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("`make soak ARGS='merge --seed 1 --scale 0.002'`")
    assert "tables, workers 4: 40 of 40 histories; 0 wrong" in done.stderr


def test_a_feed_is_followed_while_others_publish() -> None:
    """On SQLite, by the same run as on PostgreSQL; what was read is said for each reader."""
    said: list[str] = []

    report = feed.soak(seed=1, scale=0.02, say=said.append, database="sqlite")

    assert report.wrong == []
    assert re.fullmatch(r"\| 2,000 \| [\d,]+ \| 2,000 of 100, 2,000 of 61 \| [\d,]+ times \| 0 \|", report.lines[-3])


def test_a_backlog_is_drained_and_every_entry_accounted_for() -> None:
    """By a worker that is a process; what it holds of memory is said for each tenth."""
    said: list[str] = []

    report = drain.soak(seed=1, scale=0.0005, say=said.append)

    assert report.wrong == []
    rows = [line for line in report.lines if re.fullmatch(r"(\| [\d,.]+ ){4}\|", line)]
    assert len(rows) == 10
    assert rows[-1].startswith("| 500 |")
    assert said[0] == "drain: 500 entries wait, SQLite"


def test_a_backlog_that_is_not_as_it_should_be_is_told(tmp_path: Path) -> None:
    """Entries that were set aside, or users that are missing, are what the soak calls wrong."""
    database = connect(f"sqlite:///{tmp_path / 'inbox.db'}")
    migrate(database, "receiver", "hookline.receiver")
    add_entries(database, 100)

    assert drain._amiss(database, 100) == [
        "expected 100 applied, got {}",
        "expected 100 users in the mirror, got 0",
    ]
    database.close()


@pytest.mark.parametrize("code", [0, 1])
def test_the_schema_soak_tells_what_schemathesis_says(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Asked on a live server for so many examples; its summary is the report, its exit code the verdict."""
    from soak import schema

    asked: dict[str, object] = {}

    def run(url: str, known: Mapping[str, str], folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
        asked.update(options, url=url, names=set(known))
        return subprocess.CompletedProcess([], code, "noise\n==== SUMMARY ====\nTest cases: 7 generated\n", "")

    monkeypatch.setattr(schema, "run_schemathesis", run)
    report = schema.soak(seed=3, scale=0.5, say=lambda _: None)

    assert str(asked["url"]).startswith("http://127.0.0.1:")
    names = {"ENDPOINT_ID", "DELIVERY_ID", "DIRECTORY_ID", "KEY_ID"}
    assert (asked["seed"], asked["examples"], asked["names"]) == (3, 50, names)
    assert "Test cases: 7 generated" in report.lines
    assert len(report.wrong) == code


def test_the_merge_soak_runs_on_postgresql(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has tables, with one worker and with four; here on the session's server instead of one of its own."""
    monkeypatch.setattr(merge, "make_cluster", lambda: postgres)
    monkeypatch.setattr(postgres, "stop", lambda: None)

    report = merge.soak(seed=1, scale=0.0005, say=lambda _: None, database="postgresql")

    told = "\n".join(report.lines)
    assert report.wrong == []
    assert "## The tables, on PostgreSQL" in told
    assert [told.count(row) for row in ("| 1 | 10 |", "| 4 | 10 |")] == [2, 2]


def test_the_examples_soak_counts_what_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By example; what was skipped or failed is not among it, and the run's exit code is the verdict."""
    from soak import examples

    cases = """<testsuites><testsuite>
    <testcase name="test_a[rails]" time="1.2"/><testcase name="test_b[rails]" time="2"/>
    <testcase name="test_a[flask]" time="1"><failure/></testcase><testcase name="test_each" time="1"/>
    </testsuite></testsuites>"""

    def run(command: list[str], *, env: Mapping[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        assert env["CI"] == "true"
        Path(command[-1].removeprefix("--junitxml=")).write_text(cases, encoding="utf-8")
        return subprocess.CompletedProcess(command, 1, "flask: refused", "")

    monkeypatch.setattr(subprocess, "run", run)
    report = examples.soak(seed=1, scale=1, say=lambda _: None)

    assert [line for line in report.lines if line.startswith("| ")][1:] == ["| rails | 2 | 3 |"]
    assert report.wrong == ["flask: refused"]


@pytest.mark.parametrize("only", [[], ["crash"], ["merge", "senders"]])
def test_only_what_runs_on_either_database_takes_one(
    only: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is run where the flag would be passed over."""
    from soak import __main__ as command

    monkeypatch.setattr(sys, "argv", ["soak", *only, "--database", "postgresql"])

    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "--database" in capsys.readouterr().err


def test_what_is_wrong_fails_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A soak that found something exits 1 and names it."""
    from soak import __main__ as command

    monkeypatch.setitem(command.SOAKS, "merge", lambda **_: Report(["# Report"], ["usr1: shown"]))
    monkeypatch.setattr(sys, "argv", ["soak", "merge"])

    assert command.main() == 1
    assert "WRONG: usr1: shown" in capsys.readouterr().err


class Damaged(stored.Tables):
    """Tables that somebody writes into after each round of arrivals."""

    def take(self, rng: random.Random, came: Sequence[bytes]) -> None:
        super().take(rng, came)
        repeat = """insert into hookline_changes (source, resource, object_id, kind, is_live, before, changed_ms)
            select source, resource, object_id, kind, is_live, before, changed_ms from hookline_changes
            where kind = 'deleted' limit 1"""
        with self.database.transaction() as connection:
            connection.execute(
                "delete from hookline_directory_users where id = (select min(id) from hookline_directory_users_live)"
            )
            connection.execute("update hookline_directory_groups set announced_live = 1")
            connection.execute(repeat)


def test_a_table_that_differs_from_the_source_is_told(tmp_path: Path) -> None:
    """The judge of the tables sees a user that was lost, an announcement that never came and a loss told twice."""
    tables = Damaged(tmp_path / "app.db", workers=1)
    tables.run("damaged", 20)
    tables.close()

    found = "\n".join(tables.result.wrong)
    assert "not shown" in found
    assert "announced_live 1, in the view False" in found
    assert "of what was not held" in found
