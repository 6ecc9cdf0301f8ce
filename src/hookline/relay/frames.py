"""What the two ends of a relay say to each other: JSON messages, over a WebSocket or over SSE and POST.

    listener                                  server
    ────────                                  ──────
    start {name, events}              →
                                      ←       hello {cursor, missed, head, secret, …}
    begin {after}                     →
                                      ←       delivery {cursor, headers, body, …}     at most `window` unanswered
    answer {cursor, status, …}        →
                                      ←       beat {cursor}       while nothing else is said
                                      ←       bye {reason}        and the connection closes

A cursor is a place in the sender's feed, opaque to the listener. The server keeps, per listener, the cursor up to
which everything was answered: whoever comes back is told how much was missed since, and chooses where to begin.
Over HTTP the same messages travel by `POST /relay/start`, `GET /relay/stream` (SSE) and `POST /relay/answer`, for
proxies that let no WebSocket through.

Pure: bytes in, messages out; a message that is not as it should be is an `InvalidFrame` that names the field.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from hookline.errors import InvalidFrame

SUBPROTOCOL: Final = "hookline-relay.v1"
PATH: Final = "/relay"
MOST_FRAME_BYTES: Final = 4 * 1024 * 1024
"""A delivery of 2 MiB in base64, with its headers."""
WINDOW: Final = 64
"""So many deliveries are under way to a listener at once."""
BEAT_EVERY_S: Final = 15.0
"""A connection on which nothing came for three of these is dead."""

ByeReason: TypeAlias = Literal["stopping", "elsewhere", "revoked", "expired_cursor", "unanswered"]


class Start(msgspec.Struct, frozen=True, tag="start", forbid_unknown_fields=False):
    """Who listens, and for what.

    Attributes:
        name: of the listener, the same each time: the server keeps its secret and its place under it.
        events: patterns as of an endpoint (`dsync.user.created`, `dsync.*`, `*`).
    """

    name: str
    events: tuple[str, ...] = ("*",)


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """What the server knows of the listener.

    Attributes:
        session: names this connection; a later one of the same listener takes its place.
        secret: signs what this listener gets, for as long as the listener exists.
        head: the newest place of the feed.
        cursor: up to which everything was answered; None for a listener that is new.
        missed: how many matching events came since `cursor`, counted up to `missed_most`.
        missed_since_ms: when the first of them was created.
    """

    session: str
    environment: str
    secret: str
    head: str
    now_ms: int
    window: int = WINDOW
    cursor: str | None = None
    missed: int = 0
    missed_most: int = 1000
    missed_since_ms: int | None = None


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Where to go on: after this place. `Hello.cursor` takes what was missed, `Hello.head` only what is new."""

    after: str


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    """One request for the listener's URL, as the sender makes it.

    Attributes:
        headers: in order, duplicates kept, signed with the listener's secret when it was written to the connection.
        body: the event's bytes as they are, base64 on the wire.
        is_missed: it was in the feed before the listener began.
    """

    cursor: str
    event_id: str
    event_type: str
    created_at: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_missed: bool = False


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What came of a delivery at the listener: an answer of its server, or why there was none.

    Attributes:
        error: why no answer came, a word of `sender.http.ErrorCode`; or `dropped`, where it was not to be sent.
    """

    cursor: str
    event_id: str
    status: int | None = None
    duration_ms: int = 0
    error: str | None = None


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """Still there; everything that matches up to this place was sent."""

    cursor: str
    now_ms: int


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """The server ends the connection. `retry_ms`: when to come back; None: not without a person's doing something."""

    reason: ByeReason
    message: str
    retry_ms: int | None = None


FromListener: TypeAlias = Start | Begin | Answer
FromServer: TypeAlias = Hello | Delivery | Beat | Bye

_encoder: Final = msgspec.json.Encoder()
_from_listener: Final[msgspec.json.Decoder[FromListener]] = msgspec.json.Decoder(FromListener)
_from_server: Final[msgspec.json.Decoder[FromServer]] = msgspec.json.Decoder(FromServer)
T = TypeVar("T")


def encode(frame: FromListener | FromServer) -> bytes:
    """A message as it is sent: one JSON object, no line break within."""
    return _encoder.encode(frame)


def decode_from_listener(data: bytes | str) -> FromListener:
    """A message of the listener. InvalidFrame where it is none."""
    return _decoded(_from_listener, data)


def decode_from_server(data: bytes | str) -> FromServer:
    """A message of the server. InvalidFrame where it is none."""
    return _decoded(_from_server, data)


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes | str) -> T:
    if len(data) > MOST_FRAME_BYTES:
        raise InvalidFrame(f"expected a message of at most {MOST_FRAME_BYTES} bytes, got {len(data)}")
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidFrame(f"expected a message of {SUBPROTOCOL}: {error}") from None
