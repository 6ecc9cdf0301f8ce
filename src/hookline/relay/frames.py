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
Over a WebSocket each message is one text message; who asks names `SUBPROTOCOL`, and is refused with an HTTP answer
(401, 429, 503) before the connection is made.

Over HTTP the same messages travel for proxies that let no WebSocket through, in this order:

    POST /relay/start                         a `start`; answered 200 with the `hello`
    GET  /relay/stream?session=…&after=…      `begin`: the messages of the server as SSE, each the `data` of one event
    POST /relay/answer?session=…              one or more `answer`, one a line; answered 204

A stream that has ended ends its session: start anew. Refusals are problem details: 400 `invalid_frame`, 401, 409
`session_over`, 429, 503. All three go to the same process.

Pure: bytes in, messages out; a message that is not as it should be is an `InvalidFrame` that names the field.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec

from hookline.errors import InvalidFrame
from hookline.sender.model import LISTENER_NAME

SUBPROTOCOL: Final = "hookline-relay.v1"
PATH: Final = "/relay"
START_PATH: Final = f"{PATH}/start"
STREAM_PATH: Final = f"{PATH}/stream"
ANSWER_PATH: Final = f"{PATH}/answer"
NAME: Final = LISTENER_NAME
MOST_FRAME_BYTES: Final = 4 * 1024 * 1024
"""A delivery of 2 MiB in base64, with its headers."""
MOST_FROM_LISTENER_BYTES: Final = 256 * 1024
"""A start with all the patterns that there may be."""
WINDOW: Final = 64
"""So many deliveries are under way to a listener at once."""
BEAT_EVERY_S: Final = 15.0
"""A connection on which nothing came for three of these is dead."""

UNANSWERED_S: Final = 900.0
"""A listener that owes answers and has said nothing for so long gets `bye unanswered`. Who pauses for longer goes away
and comes back: what was not answered comes again."""
# changed: the secret was rotated, come back for the new one. refused: what was asked is not to be had, or what was said
# is no message; over a WebSocket that closes with 1008. expired_cursor: events after the place asked for are past their
# retention, or it is no place of this feed: come back, `Hello` says what there is.
ByeReason: TypeAlias = Literal["stopping", "elsewhere", "revoked", "changed", "expired_cursor", "unanswered", "refused"]
_Cursor: TypeAlias = Annotated[str, msgspec.Meta(max_length=40)]


class Start(msgspec.Struct, frozen=True, tag="start", forbid_unknown_fields=False):
    """Who listens, and for what.

    Attributes:
        name: of the listener, as `NAME`, the same each time: the server keeps its secret and its place under it.
        events: patterns as of an endpoint (`dsync.user.created`, `dsync.*`, `*`).
        since_ms: asks where in the feed that time is, in Unix milliseconds, to begin there.
    """

    name: Annotated[str, msgspec.Meta(pattern=f"^{NAME}$")]
    events: tuple[str, ...] = ("*",)
    since_ms: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """What the server knows of the listener.

    Attributes:
        session: names this connection; a later one of the same listener takes its place.
        secret: signs what this listener gets, for as long as the listener exists.
        head: the newest place of the feed.
        cursor: up to which everything was answered; None for a listener that is new.
        missed: how many matching events came since `cursor`, counted up to `missed_most`.
        missed_since_ms: when the first of them was created.
        gone: how many more of them are past their retention, counted likewise: they cannot be had any more.
        since: the place before the first event published at `Start.since_ms` or later; None where that was not asked.
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
    gone: int = 0
    since: str | None = None


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Where to go on: after this place. `Hello.cursor` takes what was missed, `Hello.head` only what is new,
    `Hello.since` what came since a time."""

    after: _Cursor


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    """One request for the listener's URL, as the sender makes it.

    Attributes:
        headers: in order, duplicates kept, signed with the listener's secret when it was written to the connection.
        body: the event's bytes as they are, base64 on the wire.
        is_missed: it was in the feed before the listener began.
        origin: `replay` where somebody sent it once more: it may have come before, and has a cursor of its own.
    """

    cursor: str
    event_id: str
    event_type: str
    created_at: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_missed: bool = False
    origin: Literal["published", "replay"] = "published"


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What came of a delivery at the listener: an answer of its server, or why there was none.

    Attributes:
        error: why no answer came, a word of `sender.http.ErrorCode`; or `dropped`, where it was not to be sent.
    """

    cursor: _Cursor
    event_id: Annotated[str, msgspec.Meta(max_length=200)]
    status: Annotated[int, msgspec.Meta(ge=100, le=999)] | None = None
    duration_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    error: Annotated[str, msgspec.Meta(max_length=100)] | None = None


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """Still there; everything that matches up to this place was sent.

    Attributes:
        is_behind: more is to be sent, once there is room in the window or the database is back.
    """

    cursor: str
    now_ms: int
    is_behind: bool = False


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
    return _decoded(_from_listener, data, MOST_FROM_LISTENER_BYTES)


def decode_from_server(data: bytes | str) -> FromServer:
    """A message of the server. InvalidFrame where it is none."""
    return _decoded(_from_server, data, MOST_FRAME_BYTES)


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes | str, most_bytes: int) -> T:
    if len(data) > most_bytes:
        raise InvalidFrame(f"expected a message of at most {most_bytes} bytes, got {len(data)}")
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidFrame(f"expected a message of {SUBPROTOCOL}: {error}") from None
