"""Exports: csv, jsonl and parquet of events, deliveries, entries and the mirror, to a file or to standard output."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.test_talk import Terminal
from tests.cli.world import Said, World, make_world, run

from hookline.cli import Exit
from hookline.cli.exporting import ROWS_AT_ONCE, export_rows

KINDS = {
    "events": (("events", "export"), {"id", "event", "data", "created_at", "context"}, 3),
    "deliveries": (("deliveries", "export"), {"id", "event_id", "endpoint_id", "state", "attempt_count"}, 3),
    "inbox": (("inbox", "export"), {"seq", "source", "event_id", "type", "state", "received_at"}, 3),
    "mirror": (("mirror", "export", "directory_user"), {"source", "id", "state"}, 1),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("exports"))


@pytest.fixture
def export(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    world.enter(monkeypatch)

    def exported(kind: str, *arguments: str) -> Said:
        return run(capsys, *KINDS[kind][0], *arguments)

    return exported


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_in_each_format(export: Any, kind: str, tmp_path: Path) -> None:
    """As many as there are, in one order; what is no scalar is JSON, in csv and parquet as text."""
    _, names, count = KINDS[kind]
    rows = export(kind, "--format", "jsonl").lines
    table = list(csv.DictReader(io.StringIO(export(kind, "--format", "csv").out)))
    file = tmp_path / "rows.parquet"
    assert export(kind, "--format", "parquet", "--output", str(file)).code == Exit.OK
    columns = pq.read_table(file)

    assert len(rows) == count
    assert names <= set(rows[0])
    assert [set(row) for row in table] == [set(row) for row in rows]
    assert columns.column_names == list(rows[0])

    def text(value: Any) -> Any:
        return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value

    as_text = [{name: text(value) for name, value in row.items()} for row in rows]
    assert columns.to_pylist() == as_text
    assert table == [{name: "" if value is None else str(value) for name, value in row.items()} for row in as_text]


def test_filters_and_bodies(export: Any, world: World, tmp_path: Path) -> None:
    """Those of the lists; bodies only where they are asked for."""
    assert export("events", "--type", "dsync.group.created").lines == []
    assert len(export("events", "--since", "1h").lines) == 3
    assert export("deliveries", "--state", "failed").lines == []
    assert [one["id"] for one in export("deliveries", "--event", world.ids["event"]).lines] == [world.ids["delivery"]]
    assert len(export("inbox", "--state", "applied").lines) == 3
    bodies = [json.loads(one["body"])["event"] for one in export("inbox", "--bodies").lines]
    assert bodies == ["dsync.activated", "dsync.group.created", "dsync.user.created"]
    assert export("mirror", "--format", "xml").code == Exit.USAGE


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays where the rows end in an error; nothing half written is left."""
    file = tmp_path / "rows.csv"
    file.write_text("before", encoding="utf-8")

    def breaking() -> Any:
        yield {"a": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_rows(["a"], breaking(), "csv", file, what="rows")

    assert file.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_a_lone_surrogate_is_data(tmp_path: Path, format_: Any) -> None:
    """As JSON writes it."""
    file = tmp_path / "rows"
    export_rows(["name"], [{"name": "a\ud800"}], format_, file, what="rows")

    if format_ == "parquet":
        assert pq.read_table(file).to_pylist() == [{"name": "a\\ud800"}]
    else:
        assert "a\\ud800" in file.read_text(encoding="utf-8")


def test_where_it_cannot_be_written(export: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that is not there; parquet without its extra, or onto a terminal: each is said before a row is read."""
    nowhere = export("events", "--output", str(tmp_path / "no" / "rows.csv"))
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout.isatty", lambda: True)
        terminal = export("events", "--format", "parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    missing = export("events", "--format", "parquet")

    assert (nowhere.code, "--output: " in nowhere.err) == (Exit.USAGE, True)
    assert (terminal.code, "expected a file" in terminal.err) == (Exit.USAGE, True)
    assert (missing.code, "pip install 'hookline[parquet]'" in missing.err) == (Exit.USAGE, True)


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_a_bar_on_stderr_takes_no_row(monkeypatch: pytest.MonkeyPatch, format_: Any) -> None:
    """Whoever writes standard output into a file and watches the bar has every row in the file, and none on screen."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stderr", screen := Terminal())
    monkeypatch.setattr("sys.stdout", file := io.StringIO())
    export_rows(["name"], [{"name": f"row_{number}"} for number in range(3)], format_, None, what="rows")

    assert [f"row_{number}" in file.getvalue() for number in range(3)] == [True] * 3
    assert "rows" in screen.getvalue()
    assert "row_" not in screen.getvalue()


def test_rows_on_the_screen_leave_no_place_for_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both on one terminal: the rows alone."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stderr", screen := Terminal())
    monkeypatch.setattr("sys.stdout", rows := Terminal())
    export_rows(["name"], [{"name": "row"}], "csv", None, what="rows")

    assert (rows.getvalue(), screen.getvalue()) == ("name\nrow\n", "")


def test_rows_are_written_as_they_come(tmp_path: Path) -> None:
    """No more of them are held than one batch: the next is asked for when that is written."""
    asked = 0

    def counted() -> Any:
        nonlocal asked
        for number in range(5 * ROWS_AT_ONCE):
            asked = number
            yield {"n": number, "text": None if number < ROWS_AT_ONCE else number, "flag": number % 2 == 0}

    class Watched(io.StringIO):
        most = 0

        def write(self, text: str) -> int:
            written = self.getvalue().count("\n")
            Watched.most = max(Watched.most, asked - written)
            return super().write(text)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", Watched())
        assert export_rows(["n", "text", "flag"], counted(), "jsonl", None, what="rows") == 5 * ROWS_AT_ONCE
    assert Watched.most <= 1

    file = tmp_path / "rows.parquet"
    export_rows(["n", "text", "flag"], counted(), "parquet", file, what="rows")
    groups = pq.ParquetFile(file)
    assert groups.num_row_groups == 5
    assert groups.schema_arrow.types == [pa.int64(), pa.string(), pa.bool_()]
    assert groups.read_row_group(4).to_pylist()[-1] == {"n": 4_999, "text": "4999", "flag": False}
