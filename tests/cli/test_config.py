"""`hookline config`: the settings in force, where each came from, and no secret in sight."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hookline.cli import Exit, main
from hookline.config import SETTINGS

KEY = "sk_test_0123456789abcdef"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a hookline.toml, and one secret in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOKLINE_API_KEY", KEY)
    (tmp_path / "hookline.toml").write_text('host = "0.0.0.0"\n', encoding="utf-8")
    return tmp_path


def test_show_lists_every_setting_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Each setting has its line, in the table's order; unset ones say what holds instead."""
    assert main(["config", "show"]) == Exit.OK

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SETTINGS)
    assert next(line for line in lines if line.startswith("max_body")).endswith("(unset: 2 MiB)")


def test_show_with_origins_says_where_from(capsys: pytest.CaptureFixture[str]) -> None:
    """--origins names the variable or the file behind each value."""
    assert main(["config", "show", "--origins", "--json"]) == Exit.OK

    shown = json.loads(capsys.readouterr().out)
    assert shown["host"] == {"value": "0.0.0.0", "origin": "host in hookline.toml"}
    assert shown["api_key"] == {"value": "set", "origin": "HOOKLINE_API_KEY"}
    assert shown["port"] == {"value": "8080", "origin": "default"}


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--origins"], ["--origins", "--json"]])
def test_show_never_prints_a_secret(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No form of the listing holds a secret's text."""
    main(["config", "show", *arguments])

    assert KEY not in capsys.readouterr().out


def test_path_names_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config path` prints where hookline.toml is; exit 3 says that there is none."""
    there = main(["config", "path"])
    (folder / "hookline.toml").unlink()
    gone = main(["config", "path"])

    assert (there, gone) == (Exit.OK, Exit.NOT_FOUND)
    assert capsys.readouterr().out.splitlines() == [str(folder / "hookline.toml")] * 2
