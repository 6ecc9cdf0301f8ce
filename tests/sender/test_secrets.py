"""Endpoint secrets: their shape, their rest, and a wrong key told at start."""

from __future__ import annotations

import logging
import re
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from hookline.errors import ConfigError
from hookline.sender.secrets import SecretBox, make_secret, mask_secret, open_box
from hookline.sender.store import SenderStore
from hookline.storage import Database


def new_key() -> str:
    return Fernet.generate_key().decode()


def put_secret(database: Database, store: SenderStore, box: SecretBox, secret: str) -> None:
    with database.transaction() as connection:
        store.add_endpoint(
            connection,
            endpoint_id="we_1",
            environment="production",
            url="https://example.com/hooks",
            events=["dsync.user.created"],
            description=None,
            secret_enc=box.seal(secret),
            now_ms=1,
        )


def stored_secret(database: Database, store: SenderStore) -> str:
    with database.read() as connection:
        endpoint = store.endpoint(connection, "production", "we_1")
    assert endpoint is not None
    return endpoint.secret_enc


def test_a_secret_is_whsec_and_25_base62_characters() -> None:
    """The shape of WorkOS, and no two alike."""
    made = {make_secret() for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch(r"whsec_[0-9A-Za-z]{25}", secret) for secret in made)


def test_a_mask_shows_four_characters() -> None:
    """A masked secret is recognised, not usable."""
    assert mask_secret("whsec_abcdefghijklmnopqrstuVWXY") == "whsec_…VWXY"


def test_what_is_sealed_is_not_readable_and_opens_again() -> None:
    """The stored text does not contain the secret."""
    box = SecretBox([new_key()])
    secret = make_secret()

    token = box.seal(secret)

    assert secret not in token
    assert box.open(token) == secret


@pytest.mark.parametrize("keys", [[], ["short"], [Fernet.generate_key().decode(), "not base 64 !"]])
def test_a_bad_key_names_the_setting_and_not_the_key(keys: list[str]) -> None:
    """A malformed key is a ConfigError that says how to make a good one and never shows the bad one."""
    with pytest.raises(ConfigError, match="HOOKLINE_ENCRYPTION_KEY") as caught:
        SecretBox(keys)

    assert not any(key in str(caught.value) for key in keys)


def test_without_a_key_a_file_is_made_beside_the_database(
    database: Database, store: SenderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The key file is 0600, its making is said loudly, and the next start uses it in silence."""
    path = tmp_path / "hookline.db.key"
    with caplog.at_level(logging.WARNING, "hookline.sender"):
        box = open_box(database, store, keys=None, key_file=path)
    put_secret(database, store, box, "whsec_x")
    warnings = len(caplog.records)

    again = open_box(database, store, keys=None, key_file=path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir() if ".key" in entry.name] == ["hookline.db.key"]
    assert warnings == 1
    assert len(caplog.records) == 1
    assert path.read_text().strip() not in caplog.text
    assert again.open(stored_secret(database, store)) == "whsec_x"


def test_a_start_that_was_killed_does_not_stop_the_next(
    database: Database, store: SenderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between writing its draft and naming it, a start leaves no key in force and nothing in the way."""
    path = tmp_path / "hookline.db.key"
    with monkeypatch.context() as killed:
        killed.setattr("os.link", _killed)
        killed.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            open_box(database, store, keys=None, key_file=path)
    assert not path.exists()
    [left] = tmp_path.glob("hookline.db.key.*")

    box = open_box(database, store, keys=None, key_file=path)

    assert left.exists()
    assert path.read_text() != left.read_text()
    assert box.open(open_box(database, store, keys=None, key_file=path).seal("x")) == "x"


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_key_file_that_others_can_read_is_warned_of(
    database: Database, store: SenderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A start with it names the file and its mode, not the key; with mode 0600 it is silent."""
    path = tmp_path / "app.db.key"
    open_box(database, store, keys=None, key_file=path)
    caplog.clear()
    open_box(database, store, keys=None, key_file=path)
    silent = not caplog.records
    path.chmod(0o644)

    open_box(database, store, keys=None, key_file=path)

    assert silent
    assert "can be read by others (mode 0644)" in caplog.text
    assert path.read_text().strip() not in caplog.text


def test_a_lost_key_file_is_not_replaced(database: Database, store: SenderStore, tmp_path: Path) -> None:
    """Where secrets exist, a missing key file is an error and no new file is made in its place."""
    path = tmp_path / "hookline.db.key"
    open_box(database, store, keys=None, key_file=path)
    path.unlink()

    with pytest.raises(ConfigError, match="restore one of them"):
        open_box(database, store, keys=None, key_file=path)

    assert not path.exists()


def test_no_key_and_no_place_for_one_refuses_to_start(database: Database, store: SenderStore) -> None:
    """A database server has no file beside it: the setting is needed."""
    with pytest.raises(ConfigError, match="is not set"):
        open_box(database, store, keys=None, key_file=None)


def test_a_wrong_key_is_told_at_start(database: Database, store: SenderStore) -> None:
    """The stored check value does not open under another key."""
    open_box(database, store, keys=[new_key()], key_file=None)

    with pytest.raises(ConfigError, match="can decrypt what is stored"):
        open_box(database, store, keys=[new_key()], key_file=None)


def test_a_new_key_in_front_takes_over_at_the_next_start(database: Database, store: SenderStore) -> None:
    """After one start with both keys the old one can be taken away and every secret still opens."""
    old, new = new_key(), new_key()
    put_secret(database, store, open_box(database, store, keys=[old], key_file=None), "whsec_kept")

    open_box(database, store, keys=[new, old], key_file=None)
    box = open_box(database, store, keys=[new], key_file=None)

    assert box.open(stored_secret(database, store)) == "whsec_kept"


def test_a_takeover_that_cannot_open_everything_changes_nothing(database: Database, store: SenderStore) -> None:
    """One secret under a foreign key stops the takeover; the check value still belongs to the old key."""
    old, new = new_key(), new_key()
    open_box(database, store, keys=[old], key_file=None)
    put_secret(database, store, SecretBox([new_key()]), "whsec_foreign")
    before = stored_secret(database, store)

    with pytest.raises(ConfigError):
        open_box(database, store, keys=[new, old], key_file=None)
    open_box(database, store, keys=[old], key_file=None)

    assert stored_secret(database, store) == before
