"""API keys: which environment a token speaks for."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hookline.errors import ConfigError
from hookline.sender.ids import IdMaker
from hookline.sender.keys import REFRESH_MS, KeyRing, hash_api_key, make_api_key, make_missing_keys
from hookline.sender.secrets import SecretBox
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.testing.clock import TurnedClock


def environment(ring: KeyRing, key: str) -> str | None:
    holder = ring.find(key)
    return holder.environment if holder else None


def test_a_configured_key_names_its_environment(database: Database, store: SenderStore, clock: TurnedClock) -> None:
    """Each key finds its own environment, anything else finds none."""
    ring = KeyRing(database, store, {"production": "sk_live_configured", "staging": "sk_test_configured"}, clock=clock)

    assert environment(ring, "sk_live_configured") == "production"
    assert environment(ring, "sk_test_configured") == "staging"
    assert ring.find("sk_live_configure") is None
    assert ring.find("") is None
    assert ring.find("sk_\udcff") is None


def test_keys_are_made_once_for_environments_without_one(
    database: Database, store: SenderStore, box: SecretBox, clock: TurnedClock
) -> None:
    """The first start returns a key for what is not configured; the second returns none, and it still works."""
    made = make_missing_keys(database, store, {"production": "sk_live_configured"}, box=box, ids=IdMaker(), now_ms=1)
    again = make_missing_keys(database, store, {"production": "sk_live_configured"}, box=box, ids=IdMaker(), now_ms=2)
    ring = KeyRing(database, store, {"production": "sk_live_configured"}, clock=clock)

    assert list(made) == ["staging"]
    assert made["staging"].startswith("sk_test_")
    assert again == {}
    assert environment(ring, made["staging"]) == "staging"


def test_only_the_hash_is_stored(database: Database, store: SenderStore, box: SecretBox, tmp_path: Path) -> None:
    """The database file holds the hash and not the key."""
    made = make_missing_keys(database, store, {}, box=box, ids=IdMaker(), now_ms=1)
    database.close()

    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert hash_api_key(made["production"]).encode() in content
    assert made["production"].encode() not in content


def test_a_revoked_key_stops_within_the_refresh_time(
    database: Database, store: SenderStore, box: SecretBox, clock: TurnedClock, tmp_path: Path
) -> None:
    """A key revoked by another process is refused at the latest after REFRESH_MS."""
    made = make_missing_keys(database, store, {}, box=box, ids=IdMaker(), now_ms=1)
    ring = KeyRing(database, store, {}, clock=clock)
    assert environment(ring, made["production"]) == "production"
    with sqlite3.connect(tmp_path / "hookline.db") as other:
        other.execute("update hookline_sender_keys set revoked_ms = 1 where environment = 'production'")
    other.close()

    clock.advance(REFRESH_MS)

    assert ring.find(made["production"]) is None
    assert environment(ring, made["staging"]) == "staging"


def test_one_key_for_both_environments_is_refused(database: Database, store: SenderStore, clock: TurnedClock) -> None:
    """A key must name one environment; the error shows no key."""
    with pytest.raises(ConfigError, match="HOOKLINE_STAGING_API_KEY") as caught:
        KeyRing(database, store, {"production": "sk_the_same", "staging": "sk_the_same"}, clock=clock)

    assert "sk_the_same" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "short", "with a space in it", "sk_schlüssel_lang"])
def test_a_key_that_no_header_can_carry_is_refused(
    database: Database, store: SenderStore, clock: TurnedClock, key: str
) -> None:
    """Empty, short, spaced and non-ASCII keys are configuration errors."""
    with pytest.raises(ConfigError, match="HOOKLINE_API_KEY"):
        KeyRing(database, store, {"production": key}, clock=clock)


def test_made_keys_differ() -> None:
    """Two keys are never the same."""
    assert make_api_key("production") != make_api_key("production")
