"""A variable in a .env file: set, and not a byte else."""

from __future__ import annotations

from pathlib import Path

import pytest

from hookline.cli.env_file import set_variable, variable_in
from hookline.errors import ConfigError

NAME = "HOOKLINE_WEBHOOK_SECRETS"


@pytest.mark.parametrize(
    ("before", "after", "done"),
    [
        (b"", b"HOOKLINE_WEBHOOK_SECRETS=new\n", "added"),
        (b"A=1\n# two\n", b"A=1\n# two\nHOOKLINE_WEBHOOK_SECRETS=new\n", "added"),
        (b"A=1", b"A=1\nHOOKLINE_WEBHOOK_SECRETS=new\n", "added"),
        (b"HOOKLINE_WEBHOOK_SECRETS=old\r\nB='2'\r\n", b"HOOKLINE_WEBHOOK_SECRETS=new\r\nB='2'\r\n", "changed"),
        (b'  export HOOKLINE_WEBHOOK_SECRETS = "old"\nB=2', b"  export HOOKLINE_WEBHOOK_SECRETS =new\nB=2", "changed"),
        (b"HOOKLINE_WEBHOOK_SECRETS=1\nHOOKLINE_WEBHOOK_SECRETS=2\n",
         b"HOOKLINE_WEBHOOK_SECRETS=1\nHOOKLINE_WEBHOOK_SECRETS=new\n", "changed"),
        (b"MY_HOOKLINE_WEBHOOK_SECRETS=1\n#HOOKLINE_WEBHOOK_SECRETS=2\n\xff\n",
         b"MY_HOOKLINE_WEBHOOK_SECRETS=1\n#HOOKLINE_WEBHOOK_SECRETS=2\n\xff\nHOOKLINE_WEBHOOK_SECRETS=new\n", "added"),
        (b"HOOKLINE_WEBHOOK_SECRETS=new\n", b"HOOKLINE_WEBHOOK_SECRETS=new\n", "unchanged"),
    ],
)  # fmt: skip
def test_nothing_else_is_touched(tmp_path: Path, before: bytes, after: bytes, done: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(before)
    assert set_variable(file, NAME, "new") == done
    assert file.read_bytes() == after
    assert variable_in(file, NAME) == "new" or b"\xff" in after
    assert [one.name for one in tmp_path.iterdir()] == [".env"]


def test_a_mode_stays_a_link_stays_and_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    real = tmp_path / "real.env"
    real.write_text("A=1\n")
    real.chmod(0o640)
    (tmp_path / ".env").symlink_to(real)
    set_variable(tmp_path / ".env", NAME, "new")
    assert (tmp_path / ".env").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    set_variable(tmp_path / "new.env", NAME, "new")
    assert (tmp_path / "new.env").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        set_variable(tmp_path / "absent" / ".env", NAME, "new")
    assert variable_in(tmp_path / "absent", NAME) is None
