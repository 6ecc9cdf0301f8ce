"""The door: is this request one of ours, and under what is it kept? Nothing is read from a socket or stored here.

The questions in their order, each a reason to refuse:

    path and token 404 → method 405 → size 413 → content type 415 → address 403 → configured 503
    → signature 400 missing or malformed, 401 mismatch, expired or future → keep → 200

The first is `Doors.find`: a receiver has a door for each of its sources, and the path says which. The next four need no
body either, so a server asks them before it reads one (`Door.admit`); `Door.check` needs the whole body and gives the
entry to keep. In between nothing is written, and afterwards nothing is said about what becomes
of the entry: bodies that are no event, ids that are known already and types nobody handles are all answered 200
(DESIGN §2; workos-protocol §13.2 R1 to R10).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from hookline.errors import ConfigError, InvalidBody, InvalidSignature, StorageError
from hookline.receiver.model import HASHED, Entry, Headers, PutKind, Receipt, Redacted, RefusalReason, Request
from hookline.receiver.source import FeedEvent
from hookline.receiver.spans import begin_receiving, note_received
from hookline.rules.address import Network, client_address, may_call
from hookline.rules.redaction import Secrets, without_secrets
from hookline.tracing import within
from hookline.wire.event import decode_envelope, decode_standard_envelope
from hookline.wire.schemes import Scheme
from hookline.wire.signature import HEADER, TOLERANCE_S, Verified, Verifier
from hookline.wire.standard import StandardVerified, StandardVerifier

MAX_BODY = 2 * 1024 * 1024  # bytes; WorkOS states no limit, its captured bodies are around 1 KiB

# How many times that limit of a body that is too large is read and dropped: a client that is still sending when the
# connection is closed never gets to read its 413.
DISCARD = 4

_SIGNATURE = HEADER.lower().encode()
# Of a sender of ours: which of its object's events it is (docs/decisions/0189). Not signed; it orders nothing.
_SEQUENCE = b"hookline-object-sequence"
_MOST_DIGITS = 15
_WANTED = frozenset((_SIGNATURE, _SEQUENCE, b"content-length", b"content-type", b"x-forwarded-for"))
# Forms are what browsers send across sites without asking; no source of webhooks does.
_FORM_TYPES = (b"application/x-www-form-urlencoded", b"multipart/form-data")
_STATUS = {"missing": 400, "malformed": 400, "expired": 401, "future": 401, "mismatch": 401}

HeadersLike: TypeAlias = (
    Mapping[str, "str | bytes | Sequence[str | bytes]"] | Iterable[tuple["str | bytes", "str | bytes"]]
)


def refuse(status: int, reason: RefusalReason, message: str, **headers: str) -> Receipt:
    """A receipt for a request that is not kept; header names with underscores for dashes."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Receipt(status, "refused", None, reason, message, pairs)


GREETING = Receipt(200, "greeted")
NO_PATH = refuse(404, "path", "there is no door at this path")
NO_METHOD = refuse(405, "method", "expected POST", allow="GET, HEAD, POST")
FORM = refuse(415, "content_type", "expected JSON, got a form")
ADDRESS = refuse(403, "address", "the client's address is not among those that may call")
NO_SECRET = refuse(503, "no_secret", "no signing secret is configured", retry_after="60")
NO_LIST = refuse(503, "no_list", "the published list of those who may call is not known yet", retry_after="30")
UNAVAILABLE = refuse(503, "unavailable", "the database cannot keep it now", retry_after="5")
CONSUMED = refuse(
    503, "consumed", "the app, or a middleware of it, has read the body before the door could", retry_after="60"
)
TIMEOUT = refuse(408, "timeout", "the body did not arrive in time", connection="close")
STALLED = refuse(
    408,
    "timeout",
    "nothing of the body arrived in time: the client sent none, or a middleware of the app has read it before",
    connection="close",
)


class Admission(NamedTuple):
    """A request whose head is in order. `signatures` are the values of its signature headers, none to several.
    `object_sequence` is which of its object's events it says it is.

    A tuple, since one is made for every request.
    """

    signatures: tuple[bytes, ...]
    headers: Headers
    object_sequence: int | None = None


class Door:
    """The questions above, with the rules of one source.

    Args:
        secrets: every secret in force. None at all: nothing can be proved, and POST is answered 503.
        scheme: how its webhooks are signed.
        source: the name under which the entries are kept.
        tolerance_s: how far the signature's time may lie from now, either way; None for no limit.
        path: where the door is, relative to the mount.
        path_token: a further, unguessable part of the path; None for none.
        allowed: networks that may call; without any, and without `published`, everybody may.
        published: gives further networks that may call, None while they are not known; must not wait.
        trusted_proxies: networks whose `X-Forwarded-For` is believed; without any, the peer is the client.
        max_body: bytes.
        redact: where one-time secrets are, which are cut out before a body is kept; None to cut nothing.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        scheme: Scheme = "workos",
        source: str = "default",
        tolerance_s: float | None = TOLERANCE_S,
        path: str = "/webhooks",
        path_token: str | None = None,
        allowed: Sequence[Network] = (),
        published: Callable[[], Sequence[Network] | None] | None = None,
        trusted_proxies: Sequence[Network] = (),
        max_body: int = MAX_BODY,
        redact: Secrets | None = None,
    ) -> None:
        self.source = source
        self.max_body = max_body
        self.path = path
        self.path_token = path_token
        # The path as a template: its token is a secret.
        self.route = path if path_token is None else f"{path}/{{token}}"
        self.has_secret = bool(secrets)
        is_standard = scheme == "standard_webhooks"
        self._verifier = Verifier(() if is_standard else secrets, tolerance_s=tolerance_s)
        self._standard = StandardVerifier(secrets, tolerance_s=tolerance_s) if is_standard else None
        self._allowed = allowed
        self._published = published
        self._is_limited = bool(allowed) or published is not None
        self._trusted_proxies = trusted_proxies
        self._redact = redact

    def admit(self, method: str, headers: Headers, peer: str | None) -> Admission | Receipt:
        """Look at everything but the body. A `Receipt` is the answer to GET and HEAD, which registrars send."""
        if method != "POST":
            return GREETING if method in {"GET", "HEAD"} else NO_METHOD
        signatures: tuple[bytes, ...] = ()
        content_type = length = sequence = b""
        forwarded: list[bytes] = []
        for name, value in headers:
            if name not in _WANTED:
                continue
            if name == _SIGNATURE:
                signatures += (value,)
            elif name == b"content-type":
                content_type = value
            elif name == b"content-length":
                length = value
            elif name == _SEQUENCE:
                sequence = value
            else:
                forwarded.append(value)
        # Longer numbers than these are not converted: that alone could take minutes.
        if length.isdigit() and (len(length) > 12 or int(length) > self.max_body):
            return self.too_large
        if content_type.partition(b";")[0].strip().lower() in _FORM_TYPES:
            return FORM
        if self._is_limited and (refusal := self._refused(peer, forwarded)) is not None:
            return refusal
        if not self.has_secret:
            return NO_SECRET
        return Admission(signatures, headers, _number(sequence) if sequence else None)

    def check(self, admission: Admission, body: bytes, now_ms: int) -> Entry | Receipt:
        """Hold the body against its signature. `now_ms` is Unix time in milliseconds, and when it was received."""
        if len(body) > self.max_body:
            return self.too_large
        verified: Verified | StandardVerified
        try:
            if self._standard is None:
                verified, signed_id = self._verifier.verify(body, admission.signatures, now_ms=now_ms), None
            else:
                verified = self._standard.verify(body, admission.headers, now_ms=now_ms)
                signed_id = verified.event_id
        except InvalidSignature as error:
            return refuse(_STATUS[error.reason], error.reason, str(error))
        digest, signed_ms = hashlib.sha256(body).digest(), verified.timestamp_ms
        try:
            envelope = decode_envelope(body) if signed_id is None else decode_standard_envelope(body, signed_id)
        except InvalidBody as error:
            # It is signed, so it is the source's: kept as it is, and the source is not asked to send it again.
            event_id = _hash_id(digest) if signed_id is None else signed_id
            return Entry(self.source, event_id, digest, None, body, signed_ms, now_ms, error.reason)
        event_id = _hash_id(digest) if envelope.id is None else envelope.id
        body, redacted = _without_secrets(body, envelope.type, self._redact)
        return Entry(
            self.source,
            event_id,
            digest,
            envelope.type,
            body,
            signed_ms,
            now_ms,
            None,
            redacted=redacted,
            object_sequence=admission.object_sequence,
        )

    def receive(self, request: Request, put: Callable[[Entry], PutKind], now_ms: int) -> Receipt:
        """All of it at once, for servers that have the whole request: admit, check, keep by `put`, answer."""
        admission = self.admit(request.method, request.headers, request.peer)
        if isinstance(admission, Receipt):
            return admission
        entry = self.check(admission, request.body, now_ms)
        if isinstance(entry, Receipt):
            return entry
        try:
            return self.keep(entry, request.headers, put)
        except StorageError:
            return UNAVAILABLE

    def keep(self, entry: Entry, headers: Headers, put: Callable[[Entry], PutKind]) -> Receipt:
        """Keep an entry by `put`, in the calling thread. StorageError: it was not kept."""
        span = begin_receiving(entry, headers, self.route)
        if span is None:
            kind = put(entry)
        else:
            with within(span):
                kind = put(entry._replace(traceparent=span.traceparent))
                note_received(span, kind)
        return Receipt(200, kind, entry.event_id, entry.reason)

    @property
    def too_large(self) -> Receipt:
        """The answer to a body beyond `max_body`, declared or counted."""
        return refuse(413, "size", f"expected at most {self.max_body} bytes of body", connection="close")

    def _refused(self, peer: str | None, forwarded: list[bytes]) -> Receipt | None:
        lines = [value.decode("latin-1") for value in forwarded]
        client = client_address(peer, lines, self._trusted_proxies)
        published = () if self._published is None else self._published()
        allowed = (*self._allowed, *(published or ()))
        # No list at all is not one that everybody is on.
        if allowed and may_call(client, allowed):
            return None
        return NO_LIST if published is None else ADDRESS


class Doors:
    """The doors of one receiver, and which of them is at a path.

    Attributes:
        find: the door at a path (decoded, relative to the mount), or None. The first question of all, for every method:
            who does not know a token learns nothing, not even that there is a door.

    Raises: ConfigError for two sources of one name, or at one path.
    """

    def __init__(self, doors: Sequence[Door]) -> None:
        self._doors = tuple(doors)
        names, places = [door.source for door in doors], [place_of(door.path, door.path_token) for door in doors]
        for index, door in enumerate(doors):
            if door.source in names[:index]:
                raise ConfigError("sources", f"expected each name once, got two of {door.source!r}")
            # A token may spell the path of another source.
            if door.path in [one.path for one in doors[:index]] or places[index] in places[:index]:
                raise ConfigError("sources", f"{door.source!r} has the path of another source: give it one of its own")
        self._open = {path: door for door in doors if door.path_token is None for path in (door.path, door.path + "/")}
        self._secret = [
            (place.encode(), door) for place, door in zip(places, doors, strict=True) if door.path_token is not None
        ]
        self.find: Callable[[str], Door | None] = self._find if self._secret else self._open.get

    def __iter__(self) -> Iterator[Door]:
        return iter(self._doors)

    def _find(self, path: str) -> Door | None:
        given = path.encode("utf-8", "surrogatepass").removesuffix(b"/")
        found = self._open.get(path)
        # Each in constant time, and all of them whichever it is.
        for secret_path, door in self._secret:
            if hmac.compare_digest(given, secret_path):
                found = door
        return found


def place_of(path: str, path_token: str | None) -> str:
    """The whole path of a door: its token is a secret."""
    return path if path_token is None else f"{path}/{path_token}"


def answer(receipt: Receipt) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the HTTP answer: for a refusal its one word, else nothing."""
    if receipt.kind != "refused":
        return [(b"content-length", b"0")], b""
    content = f"{receipt.reason}\n".encode()
    headers = [(name.encode(), value.encode()) for name, value in receipt.headers]
    headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(content)).encode())]
    return headers, content


def header_pairs(headers: HeadersLike) -> list[tuple[bytes, bytes]]:
    """Headers in any shape a framework hands over, as lower-cased names and values in bytes.

    A mapping's value may be a list. Text that is not Latin-1 becomes UTF-8, and fails where it is looked at.
    """
    items: Iterable[tuple[str | bytes, str | bytes | Sequence[str | bytes]]]
    items = headers.items() if isinstance(headers, Mapping) else headers
    pairs: list[tuple[bytes, bytes]] = []
    for name, value in items:
        lowered = _header_bytes(name).lower()
        if isinstance(value, (str, bytes)):
            pairs.append((lowered, _header_bytes(value)))
        else:
            pairs += [(lowered, _header_bytes(one)) for one in value]
    return pairs


def _header_bytes(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def entry_of(source: str, event: FeedEvent, now_ms: int, redact: Secrets | None) -> Entry:
    """An event of the source's feed, to be kept as the door keeps a webhook: without what is secret in it."""
    digest = hashlib.sha256(event.body).digest()
    try:
        decode_envelope(event.body)
    except InvalidBody as error:
        return Entry(source, event.id, digest, None, event.body, None, now_ms, error.reason, via="tail")
    body, redacted = _without_secrets(event.body, event.type, redact)
    return Entry(source, event.id, digest, event.type, body, None, now_ms, None, redacted=redacted, via="tail")


def _without_secrets(body: bytes, type_: str, redact: Secrets | None) -> tuple[bytes, Redacted | None]:
    if redact is not None and (places := redact.of(type_)):
        cut = without_secrets(body, places)
        if cut is not None:
            return cut, "secrets"
    return body, None


def _number(value: bytes) -> int | None:
    """A number from 1 that every database holds; anything else is none."""
    return int(value) or None if value.isdigit() and len(value) <= _MOST_DIGITS else None


def _hash_id(digest: bytes) -> str:
    return HASHED + digest.hex()
