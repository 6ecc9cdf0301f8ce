"""API keys: which environment a bearer token speaks for.

Keys come from the configuration, where each is valid while set, or are made by Hookline and stored as SHA-256.
A lookup is by hash, so that its time tells nothing about a key. Nothing here logs or keeps a key in clear.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hookline.errors import ConfigError
from hookline.sender.model import ENVIRONMENTS, Environment

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

_BASE62: Final = string.digits + string.ascii_letters
_PREFIXES: Final[Mapping[Environment, str]] = {"production": "sk_live_", "staging": "sk_test_"}
_SETTINGS: Final[Mapping[Environment, str]] = {
    "production": "HOOKLINE_API_KEY",
    "staging": "HOOKLINE_STAGING_API_KEY",
}
# How long a stored key that was revoked elsewhere may still be taken for valid.
REFRESH_MS: Final = 5_000


def make_api_key(environment: Environment) -> str:
    """A new key, about 190 bits of randomness."""
    return _PREFIXES[environment] + "".join(secrets.choice(_BASE62) for _ in range(32))


def hash_api_key(key: str) -> str:
    """What is stored and looked up. Keys are random, so that a plain hash cannot be guessed back."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def make_missing_keys(
    database: Database, store: SenderStore, configured: Mapping[Environment, str], *, now_ms: int
) -> dict[Environment, str]:
    """Makes a key for every environment that has neither a configured nor a stored one.

    Returns: the new keys, in clear for the only time. The caller prints them once.
    """
    made: dict[Environment, str] = {}

    def write(connection: Connection) -> None:
        made.clear()
        for environment in ENVIRONMENTS:
            if environment in configured:
                continue
            key = make_api_key(environment)
            if store.add_first_key(connection, key_hash=hash_api_key(key), environment=environment, now_ms=now_ms):
                made[environment] = key

    with database.read() as connection:
        stored = set(store.valid_keys(connection).values())
    if any(environment not in configured and environment not in stored for environment in ENVIRONMENTS):
        database.run(write)
    return made


class KeyRing:
    """Finds the environment of a bearer token.

    Args:
        configured: one key per environment from the configuration; they never reach the database.

    Raises:
        ConfigError: both environments have the same key.
    """

    def __init__(
        self, database: Database, store: SenderStore, configured: Mapping[Environment, str], *, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._configured: dict[str, Environment] = {}
        for environment, key in configured.items():
            if len(key) < 8 or not key.isascii() or any(char.isspace() for char in key):
                raise ConfigError(_SETTINGS[environment], "expected at least 8 ASCII characters without spaces")
            if self._configured.setdefault(hash_api_key(key), environment) != environment:
                raise ConfigError(_SETTINGS[environment], "is the same as the other environment's key: a key names one")
        self._stored: dict[str, Environment] = {}
        self._read_ms: int | None = None
        self._lock = threading.Lock()

    def known(self, key: str) -> Environment | None:
        """The environment without asking the database; None means: ask `find`."""
        key_hash = hash_api_key(key)
        environment = self._configured.get(key_hash)
        if environment is None and self._is_fresh():
            environment = self._stored.get(key_hash)
        return environment

    def find(self, key: str) -> Environment | None:
        """The environment, reading the stored keys anew at most every 5 s; None for a key that is not valid."""
        environment = self.known(key)
        if environment is not None:
            return environment
        with self._lock:
            if not self._is_fresh():
                with self._database.read() as connection:
                    self._stored = self._store.valid_keys(connection)
                self._read_ms = self._clock.now_ms()
        return self._stored.get(hash_api_key(key))

    def _is_fresh(self) -> bool:
        return self._read_ms is not None and 0 <= self._clock.now_ms() - self._read_ms < REFRESH_MS
