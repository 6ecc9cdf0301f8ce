"""What would make a signature hold: another secret, a secret misread, another message, a body changed on its way.

Each candidate is tried against the digest of the header, the likely first, within a budget of bytes to hash.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from hookline.errors import ConfigError
from hookline.wire import standard
from hookline.wire.body_variants import BodyChange, body_variants, likely_change, written_as
from hookline.wire.findings import SEND_RAW, Code, Finding, NamedSecret
from hookline.wire.lenient_headers import Read, of_base64
from hookline.wire.schemes import Scheme

MOST_HASHED_BYTES: Final = 256 * 1024 * 1024
_BLOCK_BYTES: Final = 64  # which a key fills twice

_NO_SECRET: Final = Finding(
    "no_secret",
    "there is no secret to verify with: nothing can be proved",
    "give the endpoint's secret, as its page shows it, to whoever verifies",
)


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that was made of a secret by mistake, and which mistake."""

    key: bytes = field(repr=False)
    code: Code
    said: str
    to_do: str


class Search:
    """Looks for what makes a signature hold, the likely first, within a budget of bytes hashed.

    Attributes:
        tried_all: false once the budget was too small for something.
    """

    def __init__(self, read: Read, body: bytes, secrets: Sequence[NamedSecret], sent: bytes | None) -> None:
        self._read = read
        self._body = body
        self._sent = sent
        self._mine = [secret for secret in secrets if secret.in_force]
        self._others = [secret for secret in secrets if not secret.in_force]
        self._algorithms = sorted({claim.algorithm for claim in read.claims})
        self._left = MOST_HASHED_BYTES
        self.tried_all = True

    @property
    def has_digest(self) -> bool:
        """Whether the headers hold anything to try."""
        return bool(self._read.claims) and self._read.timestamp_text is not None

    def run(self) -> tuple[Finding | None, str | None]:
        """What is wrong, None where the signature holds; and the name of the secret that signed, where it was found."""
        if not self._mine and not self._others:
            return _NO_SECRET, None
        message = self._message(self._body)
        for one in self._mine:
            if self._holds(self._key(one.secret), message):
                return None, one.name
        finding, name = self._culprit(message)
        return finding or self._unexplained(), name

    def _culprit(self, message: bytes) -> tuple[Finding | None, str | None]:
        for one in self._others:
            if self._holds(self._key(one.secret), message):
                return self._other_secret(one), one.name
        known = [*self._mine, *self._others]
        if self._sent is not None and self._sent != self._body:
            for one in known:
                if self._holds(self._key(one.secret), self._message(self._sent)):
                    return self._not_as_sent(self._sent), one.name
        for some in (self._mine, self._others):
            for one in some:
                for key in _other_keys(one.secret, self._read.scheme):
                    if self._holds(key.key, message):
                        return Finding(key.code, f"{key.said} ({one.name})", key.to_do), one.name
                for problem, other_key, other_message in self._other_messages(one.secret):
                    if self._holds(other_key, other_message):
                        return problem, one.name
        keys = [(one, self._key(one.secret)) for one in known]
        for variant in body_variants(self._body):
            changed = self._message(variant.body)
            for one, key_bytes in keys:
                if self._holds(key_bytes, changed):
                    return _body_problem(variant.code, variant.change, self._body), one.name
        return None, None

    def _message(self, body: bytes) -> bytes:
        signed = _dotted((self._read.timestamp_text or "").encode(), body)
        if self._read.scheme == "workos":
            return signed
        return _dotted((self._read.event_id or "").encode(errors="surrogatepass"), signed)

    def _key(self, secret: str) -> bytes | None:
        return _key_of(secret, self._read.scheme)

    def _holds(self, key: bytes | None, message: bytes) -> bool:
        if key is None:
            return False
        cost = (len(message) + 2 * _BLOCK_BYTES) * len(self._algorithms)
        if cost > self._left:
            self.tried_all = False
            return False
        self._left -= cost
        made = {name: hmac.digest(key, message, name) for name in self._algorithms}
        return any(
            hmac.compare_digest(made[claim.algorithm][: len(claim.digest)], claim.digest) for claim in self._read.claims
        )

    def _other_secret(self, one: NamedSecret) -> Finding:
        return Finding(
            "secret_other",
            f"the signature was made with another secret that is known here: {one.name}",
            "give the verifier that secret, or send to the endpoint whose secret it has"
            if self._mine
            else "compare that secret with the one that the verifier has",
        )

    def _not_as_sent(self, sent: bytes) -> Finding:
        place = next((at for at, (a, b) in enumerate(zip(sent, self._body, strict=False)) if a != b), None)
        where = min(len(sent), len(self._body)) if place is None else place
        change = f"the body is not as it was sent: {len(sent)} bytes were signed, here are {len(self._body)}"
        return Finding(
            "body_not_as_sent",
            f"{change}, and they differ from byte {where + 1} on{_written_how(self._body)}",
            SEND_RAW,
        )

    def _other_messages(self, secret: str) -> Iterator[tuple[Finding, bytes | None, bytes]]:
        """Messages that were signed instead, each with its key."""
        read, body, own = self._read, self._body, self._key(secret)
        time = (read.timestamp_text or "").encode()
        event_id = (read.event_id or "").encode(errors="surrogatepass")
        is_workos = read.scheme == "workos"
        before = b"" if is_workos else event_id + b"."
        to_do = "sign t, a full stop and the body" if is_workos else "sign id, time and body, a full stop between each"
        yield Finding("signed_without_timestamp", "the body was signed alone, without the time", to_do), own, body
        if is_workos:
            said = "t and the body were signed without a full stop between them"
            yield Finding("signed_other_message", said, to_do), own, time + body
        else:
            yield (
                Finding("signed_without_id", "time and body were signed, without the id", to_do),
                own,
                _dotted(time, body),
            )
            said = "id and body were signed, without the time"
            yield Finding("signed_without_timestamp", said, to_do), own, _dotted(event_id, body)
        for other, unit in ((time[:-3], "seconds"), (time + b"000", "milliseconds")):
            said = f"the time was signed in {unit}, and the header has it in another unit"
            as_it_stands = "sign the text of the time as it stands in the header"
            yield Finding("signed_other_message", said, as_it_stands), own, before + _dotted(other, body)
        said = f"it was signed as {'Standard Webhooks does' if is_workos else 'WorkOS does'}, under the other's header"
        scheme = Finding("signed_by_other_scheme", said, "sign and verify by one and the same scheme")
        if not is_workos:
            for text in (time, time + b"000"):
                yield scheme, _key_of(secret, "workos"), _dotted(text, body)
        elif event_id:
            for key in (own, _key_of(secret, "standard_webhooks")):
                for text in (time, time[:-3]):
                    yield scheme, key, _dotted(event_id, _dotted(text, body))

    def _unexplained(self) -> Finding:
        count = len(self._mine) + len(self._others)
        said = f"none of {count} known secret(s) made this signature over this body"
        if (likely := likely_change(self._body)) is not None:
            return Finding(likely.code, f"{said}; most likely {likely.change}", SEND_RAW, is_proved=False)
        return Finding(
            "mismatch",
            f"{said}, nor over what it may have been before a usual change on its way",
            "compare the secret with the endpoint's page, and make sure that header and body are of one and the same "
            f"request. Then {SEND_RAW}",
            is_proved=False,
        )


def _dotted(before: bytes, after: bytes) -> bytes:
    return b"%b.%b" % (before, after)


def _body_problem(code: BodyChange, change: str, body: bytes) -> Finding:
    return Finding(code, f"the body was changed on its way: {change}{_written_how(body)}", SEND_RAW)


def _written_how(body: bytes) -> str:
    how = written_as(body)
    return "" if how is None else f"; what came is JSON written {how}"


def _key_of(secret: str, scheme: Scheme) -> bytes | None:
    """The key as the scheme makes it; None where the secret is none of it."""
    if scheme == "workos":
        return secret.encode(errors="surrogatepass")
    try:
        return standard.key_of(secret)
    except ConfigError:
        return None


def _other_keys(secret: str, scheme: Scheme) -> Iterator[_Key]:
    """Keys that were made of a secret by mistake: here, or where it was signed."""
    text = secret.encode(errors="surrogatepass")
    bare = secret.strip()
    as_shown = "give both sides the secret exactly as the endpoint's page shows it"
    if bare != secret:
        said = "the secret given here has white space around it, and the one that signed has not"
        yield _Key(_verbatim(bare), "secret_white_space", said, "strip the secret where it is read")
    for end in ("\n", "\r\n", " "):
        said = "the secret that signed has a line end or a space after it"
        yield _Key(text + end.encode(), "secret_white_space", said, "strip the secret where the sender reads it")
    for quote in "\"'":
        if len(bare) > 2 and bare[0] == bare[-1] == quote:
            said = "the secret given here stands in quotes, and the one that signed does not"
            yield _Key(_verbatim(bare[1:-1]), "secret_quoted", said, "take the quotes away")
        said = "the secret that signed stands in quotes"
        yield _Key(_verbatim(f"{quote}{bare}{quote}"), "secret_quoted", said, "take the quotes away at the sender's")
    prefix = standard.PREFIX
    stem = bare.removeprefix(prefix)
    if scheme == "workos":
        if stem != bare:
            said = f"the key that signed is the secret without its {prefix}"
            if stem.startswith(prefix):
                said = f"the secret given here has {prefix} twice"
            yield _Key(_verbatim(stem), "secret_prefix", said, f"{as_shown}, {prefix} included, once")
        said = f"the key that signed has a {prefix} before the secret that is given here"
        yield _Key(_verbatim(prefix + bare), "secret_prefix", said, f"{as_shown}, {prefix} included, once")
        said = "the key that signed is what the secret says in base 64, as Standard Webhooks has it"
        for decoded in _decoded(stem):
            yield _Key(decoded, "secret_decoded", said, "take the secret's own bytes as key: WorkOS decodes nothing")
        said = "the secret was signed with in its form for Standard Webhooks, undecoded"
        yield _Key(_verbatim(standard.secret_form(bare)), "secret_not_decoded", said, as_shown)
        return
    said = "the key that signed is the text of the secret, undecoded"
    decode = f"decode what follows {prefix} from base 64: that is the key"
    for undecoded in (text, _verbatim(bare), _verbatim(stem)):
        yield _Key(undecoded, "secret_not_decoded", said, decode)
    said = f"the secret given here lacks its {prefix}, or has it twice"
    for decoded in _decoded(stem.removeprefix(prefix)):
        yield _Key(decoded, "secret_prefix", said, as_shown)
    said = "the secret that signed was decoded twice"
    for decoded in _decoded(stem):
        for again in _decoded(decoded.decode("latin-1").removeprefix(prefix)):
            yield _Key(again, "secret_decoded", said, decode)


def _verbatim(secret: str) -> bytes:
    return secret.encode(errors="surrogatepass")


def _decoded(text: str) -> Iterator[bytes]:
    """What a text says in base 64, and in hex."""
    if (decoded := of_base64(text)) is not None:
        yield decoded
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", text):
        yield bytes.fromhex(text)
