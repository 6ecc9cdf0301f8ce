"""Endpoint secrets: how they are made, and how they rest encrypted.

A secret is `whsec_` and 25 base-62 characters, used as the HMAC key exactly as shown. At rest it is a Fernet
token. The first key encrypts, every key decrypts, so that a new key is put in front and the old one taken away
after one start: opening rewrites what older keys made. A check value in the settings tells a wrong key at start
instead of at the first delivery.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from hookline.errors import ConfigError

if TYPE_CHECKING:
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.sender")

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  (a prefix, not a secret)
_SECRET_LENGTH: Final = 25
_BASE62: Final = string.digits + string.ascii_letters
_SETTING: Final = "HOOKLINE_ENCRYPTION_KEY"
_CHECK_NAME: Final = "encryption_check"
_CHECK_TEXT: Final = "hookline encryption check"
_HOW_TO_MAKE: Final = (
    "make one with: python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
)


def make_secret() -> str:
    """A new endpoint secret, about 149 bits of randomness."""
    return SECRET_PREFIX + "".join(secrets.choice(_BASE62) for _ in range(_SECRET_LENGTH))


def mask_secret(secret: str) -> str:
    """What lists and pages may show of a secret: its prefix and its last four characters."""
    return f"{SECRET_PREFIX}…{secret[-4:]}"


class SecretBox:
    """Encrypts and decrypts with a list of Fernet keys, newest first.

    Raises:
        ConfigError: no key, or one that is not 32 bytes in URL-safe base 64.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ConfigError(_SETTING, f"expected at least one key, got none; {_HOW_TO_MAKE}")
        fernets = []
        for position, key in enumerate(keys, start=1):
            try:
                fernets.append(Fernet(key.strip()))
            except ValueError:
                raise ConfigError(
                    _SETTING,
                    f"key {position} of {len(keys)} is not 32 bytes in URL-safe base 64; {_HOW_TO_MAKE}",
                ) from None
        self._newest = fernets[0]
        self._all = MultiFernet(fernets)

    def seal(self, text: str) -> str:
        """Encrypt with the newest key."""
        return self._newest.encrypt(text.encode()).decode("ascii")

    def open(self, token: str) -> str:
        """Decrypt with whichever key made it. ConfigError where none did."""
        try:
            return self._all.decrypt(token).decode()
        except InvalidToken:
            raise ConfigError(
                _SETTING, "no key given can decrypt what is stored; add the one it was made with"
            ) from None

    def is_newest(self, token: str) -> bool:
        """Whether the newest key made it."""
        try:
            self._newest.decrypt(token)
        except InvalidToken:
            return False
        return True


def open_box(database: Database, store: SenderStore, *, keys: Sequence[str] | None, key_file: Path | None) -> SecretBox:
    """The box for this database, with its key checked and everything stored under the newest one.

    Args:
        keys: from the configuration, newest first; None where it has none.
        key_file: where a key may be kept when the configuration has none (SQLite: `<db>.key`); None forbids it.

    Raises:
        ConfigError: no key and no place for one, an unreadable key file, or keys that did not make what is stored.
    """
    with database.read() as connection:
        check = store.setting(connection, _CHECK_NAME)
    if keys is None:
        if key_file is None:
            raise ConfigError(_SETTING, f"is not set, and this database has no key file beside it; {_HOW_TO_MAKE}")
        keys = [_file_key(key_file, may_make=check is None)]
    box = SecretBox(keys)

    def confirm(connection: Connection) -> None:
        token = store.setting(connection, _CHECK_NAME)
        if token is not None and box.open(token) != _CHECK_TEXT:
            raise ConfigError(_SETTING, "the stored check value is not ours; restore the database or its settings")
        if token is not None and box.is_newest(token):
            return
        # The check value changes hands last, with the secrets: it never vouches for a key that cannot open them.
        store.reseal(connection, lambda token: box.seal(box.open(token)))
        store.put_setting(connection, _CHECK_NAME, box.seal(_CHECK_TEXT))

    if check is None or not box.is_newest(check):
        database.run(confirm)
    return box


def _file_key(path: Path, *, may_make: bool) -> str:
    try:
        kept = path.read_text("ascii").strip()
    except FileNotFoundError:
        if not may_make:
            raise ConfigError(
                _SETTING,
                f"is not set and {path} is gone, but the database holds secrets made with a key: restore one of them",
            ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(_SETTING, f"cannot read a key from {path}: {error}") from error
    else:
        if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            log.warning(
                "%s can be read by others (mode %04o), and with it every endpoint secret: chmod 600 it", path, mode
            )
        return kept
    key = Fernet.generate_key()
    # Not named by the process id: in a container that is always 1, and a killed start may have left its draft.
    draft = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails where another process was first, and never shows a half-written file.
        os.link(draft, path)
    except FileExistsError:
        return path.read_text("ascii").strip()
    except OSError as error:
        raise ConfigError(_SETTING, f"is not set, and no key could be kept in {path}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    log.warning(
        "%s is not set: made a key in %s. Whoever has that file can read the endpoint secrets; keep a copy of it "
        "apart from the database's backups",
        _SETTING,
        path,
    )
    return key.decode("ascii")
