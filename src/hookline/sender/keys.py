"""API keys: which environment a bearer token speaks for; making, listing, showing and revoking them.

Keys come from the configuration, where each is valid while set, or are made by Hookline and stored as SHA-256.
A lookup is by hash, so that its time tells nothing about a key. A production key is shown by the call that makes it
and never again; a staging key is also kept sealed, and may be shown (docs/decisions/0101). Nothing here logs one.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import string
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hookline.errors import ConfigError, RequestError, StorageError
from hookline.sender.idempotency import IdempotencyKey, take_key
from hookline.sender.model import ENVIRONMENTS, ApiKey, Environment

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.ids import IdMaker
    from hookline.sender.secrets import SecretBox
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.sender")

_BASE62: Final = string.digits + string.ascii_letters
_PREFIXES: Final[Mapping[Environment, str]] = {"production": "sk_live_", "staging": "sk_test_"}
_SETTINGS: Final[Mapping[Environment, str]] = {
    "production": "HOOKLINE_API_KEY",
    "staging": "HOOKLINE_STAGING_API_KEY",
}
# How long a stored key that was revoked elsewhere may still be taken for valid.
REFRESH_MS: Final = 5_000
# How often the times of use are written, all keys' together.
USES_MS: Final = 60_000
# Keys that are valid at once in one environment: each is read at every refresh.
MAX_KEYS: Final = 200
_HINT_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whom a bearer token speaks for: its environment, and what the audit trail calls it."""

    environment: Environment
    actor: str
    key_hash: str


def make_api_key(environment: Environment) -> str:
    """A new key, about 190 bits of randomness."""
    return _PREFIXES[environment] + "".join(secrets.choice(_BASE62) for _ in range(32))


def hash_api_key(key: str) -> str:
    """What is stored and looked up. Keys are random, so that a plain hash cannot be guessed back."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def mask_api_key(key: ApiKey) -> str:
    """What lists may show of a key: its prefix and, of those that kept them, its last four characters."""
    return f"{_PREFIXES[key.environment]}…{key.hint or ''}"


def make_missing_keys(
    database: Database,
    store: SenderStore,
    configured: Mapping[Environment, str],
    *,
    box: SecretBox,
    ids: IdMaker,
    now_ms: int,
) -> dict[Environment, str]:
    """Makes a key for every environment that has neither a configured nor a stored one.

    Returns: the new keys, in clear: the production one for the only time. The caller prints them once.
    """
    made: dict[Environment, str] = {}

    def write(connection: Connection) -> None:
        made.clear()
        for environment in ENVIRONMENTS:
            if environment in configured:
                continue
            clear = make_api_key(environment)
            if store.add_first_key(connection, _sealed(clear, environment, None, box, ids, now_ms)):
                made[environment] = clear

    with database.read() as connection:
        stored = {environment for environment, _ in store.valid_keys(connection).values()}
    if any(environment not in configured and environment not in stored for environment in ENVIRONMENTS):
        database.run(write)
    return made


class ApiKeys:
    """Keys as people manage them, each change one transaction with its line in the audit trail.

    Args:
        changed: called after a commit that changed which keys are valid.
    """

    def __init__(
        self,
        database: Database,
        store: SenderStore,
        box: SecretBox,
        *,
        clock: Clock,
        ids: IdMaker,
        changed: Callable[[], None],
    ) -> None:
        self._database = database
        self._store = store
        self._box = box
        self._clock = clock
        self._ids = ids
        self._changed = changed

    def create(
        self,
        environment: Environment,
        *,
        name: str | None,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> tuple[ApiKey, str | None]:
        """Make a key.

        Returns: it, and the key in clear. A call that repeats an idempotency key gets the key the first one made, a
        production one without its clear text: nobody has that any more.

        Raises:
            RequestError: 409 `too_many_keys` or `idempotency_key_reused`.
        """
        now_ms = self._clock.now_ms()
        clear = make_api_key(environment)
        key = _sealed(clear, environment, name, self._box, self._ids, now_ms)

        def write(connection: Connection) -> str | None:
            earlier = take_key(connection, self._store, environment, idempotency, key.id, now_ms=now_ms)
            if earlier is not None:
                return earlier
            if sum(kept.revoked_ms is None for kept in self._store.keys(connection, environment)) >= MAX_KEYS:
                raise RequestError(409, "too_many_keys", f"expected at most {MAX_KEYS} valid keys: revoke one first")
            self._store.add_key(connection, key)
            self._store.audit(
                connection,
                environment,
                actor=actor,
                action="api_key.created",
                object_id=key.id,
                detail={"name": name, "hint": key.hint},
                now_ms=now_ms,
            )
            return None

        earlier = self._database.run(write)
        self._changed()
        if earlier is None:
            return key, clear
        found = self.get(environment, earlier)
        return found, None if found.key_enc is None else self._box.open(found.key_enc)

    def listed(self, environment: Environment) -> list[ApiKey]:
        """Every key of an environment, revoked ones too, oldest first."""
        with self._database.read() as connection:
            return self._store.keys(connection, environment)

    def get(self, environment: Environment, key_id: str) -> ApiKey:
        """One key. RequestError 404 where there is none."""
        for key in self.listed(environment):
            if key.id == key_id:
                return key
        raise _no_key(key_id)

    def reveal(self, environment: Environment, key_id: str, *, actor: str = "command") -> tuple[ApiKey, str]:
        """A staging key in clear, once more.

        Raises:
            RequestError: 404; 409 `key_not_kept` for a production key, a revoked one, or one older than this rule.
        """
        key = self.get(environment, key_id)
        if key.key_enc is None:
            raise RequestError(
                409,
                "key_not_kept",
                "only staging keys that are valid can be shown again; make a new key and revoke this one",
            )
        clear = self._box.open(key.key_enc)
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            self._store.audit(
                connection, environment, actor=actor, action="api_key.revealed", object_id=key_id, now_ms=now_ms
            )

        self._database.run(write)
        return key, clear

    def revoke(self, environment: Environment, key_id: str, *, actor: str = "command") -> None:
        """Revoke a key: other processes refuse it within `REFRESH_MS`. Revoking twice changes nothing.

        Raises:
            RequestError: 404.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            if self._store.revoke_key(connection, environment, key_id, now_ms=now_ms):
                self._store.audit(
                    connection, environment, actor=actor, action="api_key.revoked", object_id=key_id, now_ms=now_ms
                )

        self.get(environment, key_id)
        self._database.run(write)
        self._changed()


class KeyRing:
    """Finds whom a bearer token speaks for, and notes when stored keys are used.

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
        self._configured: dict[str, KeyHolder] = {}
        for environment, key in configured.items():
            if len(key) < 8 or not key.isascii() or any(char.isspace() for char in key):
                raise ConfigError(_SETTINGS[environment], "expected at least 8 ASCII characters without spaces")
            key_hash = hash_api_key(key)
            holder = KeyHolder(environment, f"configured …{key[-_HINT_LENGTH:]}", key_hash)
            if self._configured.setdefault(key_hash, holder) != holder:
                raise ConfigError(_SETTINGS[environment], "is the same as the other environment's key: a key names one")
        self._stored: dict[str, KeyHolder] = {}
        self._read_ms: int | None = None
        self._used: dict[str, int] = {}
        self._uses_written_ms: int | None = None
        self._lock = threading.Lock()

    def known(self, key: str) -> KeyHolder | None:
        """The holder without asking the database; None means: ask `find`."""
        return self._known(hash_api_key(key))

    def find(self, key: str) -> KeyHolder | None:
        """The holder, reading the stored keys anew at most every 5 s; None for a key that is not valid."""
        return self._find(hash_api_key(key))

    def is_valid(self, holder: KeyHolder) -> bool:
        """Whether the key of a holder found before is still valid, for who stays connected. May read the database."""
        return self._find(holder.key_hash) is not None

    def _known(self, key_hash: str) -> KeyHolder | None:
        holder = self._configured.get(key_hash)
        if holder is None and self._is_fresh():
            holder = self._stored.get(key_hash)
            if holder is not None:
                self._used[key_hash] = self._clock.now_ms()
        return holder

    def _find(self, key_hash: str) -> KeyHolder | None:
        holder = self._known(key_hash)
        if holder is not None:
            return holder
        with self._lock:
            if not self._is_fresh():
                with self._database.read() as connection:
                    valid = self._store.valid_keys(connection)
                self._stored = {
                    key_hash: KeyHolder(environment, key_id, key_hash)
                    for key_hash, (environment, key_id) in valid.items()
                }
                self._read_ms = self._clock.now_ms()
        holder = self._stored.get(key_hash)
        if holder is not None:
            self._used[holder.key_hash] = self._clock.now_ms()
        return holder

    def forget(self) -> None:
        """Read the stored keys anew at the next call: one was made or revoked here."""
        self._read_ms = None

    def has_uses(self) -> bool:
        """Whether keys were used since the last writing."""
        return bool(self._used)

    def has_uses_to_write(self) -> bool:
        """Whether keys were used and the last writing lies a minute back."""
        written_ms = self._uses_written_ms
        return self.has_uses() and (written_ms is None or not 0 <= self._clock.now_ms() - written_ms < USES_MS)

    def write_uses(self) -> None:
        """Write when which key was used last: one commit for all of them, never in a call's way.

        Trouble of the database is no trouble of the calls: the times wait for the next writing.
        """
        self._uses_written_ms = self._clock.now_ms()
        used = self._used.copy()  # calls go on noting while this is written
        try:
            self._database.run(lambda connection: self._store.note_key_uses(connection, used))
        except StorageError as error:
            log.debug("when API keys were used last was not written: %s", error)
            return
        for key_hash, used_ms in used.items():
            if self._used.get(key_hash) == used_ms:
                del self._used[key_hash]

    def _is_fresh(self) -> bool:
        return self._read_ms is not None and 0 <= self._clock.now_ms() - self._read_ms < REFRESH_MS


def _sealed(
    clear: str, environment: Environment, name: str | None, box: SecretBox, ids: IdMaker, now_ms: int
) -> ApiKey:
    return ApiKey(
        key_hash=hash_api_key(clear),
        environment=environment,
        id=ids.make("api_key", now_ms),
        name=name,
        hint=clear[-_HINT_LENGTH:],
        key_enc=box.seal(clear) if environment == "staging" else None,
        created_ms=now_ms,
        last_used_ms=None,
        revoked_ms=None,
    )


def _no_key(key_id: str) -> RequestError:
    return RequestError(404, "entity_not_found", f"API key not found: '{key_id[:80]}'.")
