"""The headers of Standard Webhooks: sent beside WorkOS's to endpoints that ask for them, and read by sources of that
scheme.

    webhook-id: event_01JA…                 the event's id: the same on every attempt
    webhook-timestamp: 1700000000           seconds, of the attempt
    webhook-signature: v1,<base 64> …       a list: during a rotation one for each secret

`v1` is HMAC-SHA256 over id, timestamp and body joined by full stops: the id is signed, too. The key is what the base 64
after `whsec_` says. A sender of ours takes the same key as for `WorkOS-Signature`, the secret's UTF-8 bytes as shown;
`secret_form` writes it down the way that libraries of this standard read it.

What is read is a strict grammar that leaves room for what the standard may still bring: entries of the list with
another version (`v1a` is by public keys) are passed over.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from hookline.errors import ConfigError, InvalidSignature
from hookline.wire.event import is_name
from hookline.wire.signature import TIMESTAMP, TOLERANCE_S, require_recent

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
PREFIX: Final = "whsec_"

_SECRET = re.compile(PREFIX + r"([A-Za-z0-9+/]+)={0,2}")
_DIGEST = re.compile(r"[A-Za-z0-9+/]{43}=")  # of 32 bytes
_READ = {name.encode(): name for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)}


@dataclass(frozen=True, slots=True)
class StandardHeaders:
    """Headers that follow the grammar; nothing is proved yet. `digests` holds every `v1`, at least one."""

    event_id: str
    timestamp_text: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StandardVerified:
    """The signature holds: of which event, when it was signed, and with which of the secrets given."""

    event_id: str
    timestamp_ms: int
    secret_index: int


def secret_form(secret: str) -> str:
    """An endpoint's secret as a Standard Webhooks library takes it: `whsec_` and base 64.

    Such a library decodes what follows the prefix; what comes out are the bytes of the secret as shown. So an endpoint
    has one key, and two ways to write it down.
    """
    return PREFIX + base64.b64encode(secret.encode()).decode("ascii")


def key_of(secret: str) -> bytes:
    """The key of a secret in that form, padded or not.

    Raises: ConfigError where it is none: a signature could never hold. Never with the secret.
    """
    match = _SECRET.fullmatch(secret.strip())
    # One digit beyond a whole number of bytes stands for nothing.
    if match is None or len(match[1]) % 4 == 1:
        raise ConfigError(
            "secrets",
            "expected secrets of Standard Webhooks as whsec_ and base 64; an endpoint of Hookline shows that form as "
            "standard_webhooks_secret",
        )
    return base64.b64decode(match[1] + "=" * (-len(match[1]) % 4))


def headers(body: bytes, event_id: str, keys: Sequence[bytes], *, now_ms: int) -> list[tuple[str, str]]:
    """The three headers for these exact bytes, signed with each key, the preferred one first."""
    seconds = str(now_ms // 1000)
    message = _message(event_id, seconds, body)
    signatures = ["v1," + _digest(key, message) for key in keys]
    return [(ID_HEADER, event_id), (TIMESTAMP_HEADER, seconds), (SIGNATURE_HEADER, " ".join(signatures))]


def parse_headers(pairs: Sequence[tuple[bytes, bytes]]) -> StandardHeaders:
    """Read the three among a request's headers, which are lower-cased names and values in their order.

    Several `webhook-signature` are one list. Malformed are: two different ids or timestamps, an id that is no name
    (1 to 255 printable characters), a timestamp that is not ASCII digits, an entry without a comma, a `v1` that is not
    the base 64 of 32 bytes, no `v1` at all, anything that is not ASCII.

    Raises: InvalidSignature `missing` (one of them is not there, or blank) or `malformed`.
    """
    values: dict[str, list[str]] = {name: [] for name in _READ.values()}
    for name, value in pairs:
        if (known := _READ.get(name)) is not None and (text := value.decode("latin-1").strip(" \t")):
            if not text.isascii():
                _malformed(known, "expected ASCII, got other characters")
            values[known].append(text)
    for known, given in values.items():
        if not given:
            raise InvalidSignature("missing", f"expected a {known} header, got none")
        if known != SIGNATURE_HEADER and len(set(given)) > 1:
            _malformed(known, "expected one value, got two different ones")
    event_id, timestamp = values[ID_HEADER][0], values[TIMESTAMP_HEADER][0]
    if not is_name(event_id):
        _malformed(ID_HEADER, f"expected 1 to 255 printable characters, got {len(event_id)}")
    if TIMESTAMP.fullmatch(timestamp) is None:
        _malformed(TIMESTAMP_HEADER, "expected Unix seconds, ASCII digits only")
    digests: list[str] = []
    for entry in " ".join(values[SIGNATURE_HEADER]).split(" "):
        version, comma, digest = entry.partition(",")
        if not comma:
            if entry:
                _malformed(SIGNATURE_HEADER, "expected v1,<base 64> entries with spaces between, got one without ','")
        elif version == "v1":
            if _DIGEST.fullmatch(digest) is None:
                _malformed(SIGNATURE_HEADER, f"expected v1 as base 64 of 32 bytes, got {len(digest)} characters")
            digests.append(digest)
    if not digests:
        _malformed(SIGNATURE_HEADER, "expected an entry of the version v1, got none")
    return StandardHeaders(event_id, timestamp, tuple(digests))


class StandardVerifier:
    """Holds bodies against such headers, its keys prepared.

    Args:
        secrets: every secret in force, each as `key_of` reads it.
        tolerance_s: how far the timestamp may lie from now, in seconds, either way, inclusive; None for no limit.

    Raises: ConfigError for a secret that is none.
    """

    def __init__(self, secrets: Sequence[str], *, tolerance_s: float | None = TOLERANCE_S) -> None:
        self._keys = tuple(map(key_of, secrets))
        self._tolerance_s = tolerance_s

    def verify(self, body: bytes, pairs: Sequence[tuple[bytes, bytes]], *, now_ms: int) -> StandardVerified:
        """Prove that one of the secrets signed `body` and its id, and recently: parse, then signature, then time.

        Args:
            pairs: the request's headers, as `parse_headers` takes them.
            now_ms: Unix time in milliseconds.

        Raises:
            InvalidSignature: `missing`, `malformed`, `mismatch`, `expired` or `future`.
            ConfigError: there is no secret: nothing can be proved.
        """
        if not self._keys:
            raise ConfigError("secrets", "expected at least one webhook secret, got none; refusing every body")
        parsed = parse_headers(pairs)
        message = _message(parsed.event_id, parsed.timestamp_text, body)
        index = self._signer(message, parsed.digests)
        if index is None:
            raise InvalidSignature(
                "mismatch",
                f"none of {len(self._keys)} secret(s) made this signature over this id, timestamp and body: check the "
                "secret, and that the body is raw, not parsed and written again",
            )
        timestamp_ms = int(parsed.timestamp_text) * 1000
        if self._tolerance_s is not None:
            require_recent(timestamp_ms, now_ms, self._tolerance_s)
        return StandardVerified(parsed.event_id, timestamp_ms, index)

    def _signer(self, message: bytes, claimed: Sequence[str]) -> int | None:
        for index, key in enumerate(self._keys):
            expected = _digest(key, message)
            if any(hmac.compare_digest(expected, digest) for digest in claimed):
                return index
        return None


def _message(event_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%b.%b.%b" % (event_id.encode(), timestamp.encode(), body)


def _digest(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.digest(key, message, "sha256")).decode("ascii")


def _malformed(header: str, message: str) -> NoReturn:
    raise InvalidSignature("malformed", f"{header}: {message}")
