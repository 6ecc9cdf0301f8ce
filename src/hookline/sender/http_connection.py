"""One connection of `HttptoolsExchange`: HTTP/1.1 over httptools, one request at a time, bounded in bytes and time.

Framing is llhttp's, with those of its leniencies that cannot make two readers disagree: answers are read here and
handed to nobody. A connection is kept only after an answer that ended where its own framing says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from abc import ABC, abstractmethod
from time import monotonic
from typing import Any, Final, Protocol

import httptools

from hookline.sender.http import (
    BODY_KEPT_BYTES,
    BODY_READ_BYTES,
    DETAILS,
    HEADER_KEPT_CHARS,
    HEADERS_KEPT,
    Answer,
    BodyEnd,
    ErrorCode,
    Headers,
    Request,
    Timings,
    explain_no_answer,
    explain_tls,
    kept_headers,
    ms_between,
    ms_since,
)
from hookline.sender.http_dial import Dial, Key

# Of headers so many are read, and so many bytes with all informational (1xx) answers before them.
HEADERS_READ: Final = 256
HEAD_READ_BYTES: Final = 64 * 1024
# What one answer may cost altogether: chunk sizes and extensions, trailers.
ANSWER_READ_BYTES: Final = 1024 * 1024
# A long request is handed over in such pieces, each when the one before has left.
WRITE_BYTES: Final = 64 * 1024
SWITCHING_PROTOCOLS: Final = 101


class _Enough(Exception):
    """Raised within the parser's callbacks: no more of this answer is wanted."""


class _TooLarge(_Enough):
    """More headers than we read."""


class _Unasked(_Enough):
    """Something follows the answer."""


class Post(ABC):
    """A request on its way: what a connection must know to send it, and whom to tell what came of it.

    `dial` says how the connection was made for it; None where an open one serves.
    """

    __slots__ = ("deadline", "dial", "head", "is_redone", "request", "sent_headers", "started_at")

    def __init__(
        self,
        request: Request,
        head: bytes,
        sent_headers: Headers,
        started_at: float,
        deadline: float,
        dial: Dial | None = None,
        *,
        is_redone: bool = False,
    ) -> None:
        self.request = request
        self.head = head
        self.sent_headers = sent_headers
        self.started_at = started_at
        self.deadline = deadline
        self.dial = dial
        self.is_redone = is_redone

    @abstractmethod
    def ended(self, answer: Answer) -> None:
        """Called once, when the connection is done with it. Raises nothing."""


class Keeper(Protocol):
    """Who keeps connections, and is told what becomes of them."""

    def made(self, connection: Connection) -> None:
        """It is open."""

    def freed(self, connection: Connection) -> None:
        """It may take the next request."""

    def lost(self, connection: Connection) -> None:
        """It is gone."""


class Connection(asyncio.Protocol):
    """One connection, which takes one request after the other. Made inside the event loop that uses it."""

    __slots__ = (
        "_body_bytes", "_first_byte_at", "_headers", "_headers_at", "_is_done", "_is_lasting", "_is_paused", "_keeper",
        "_loop", "_lost_by", "_parser", "_pieces", "_post", "_raw_headers", "_read_bytes", "_sent_at", "_status",
        "_timer", "_timer_at", "_transport", "_unsent", "address", "idle_since", "is_lost", "key", "tls",
    )  # fmt: skip

    def __init__(self, key: Key, keeper: Keeper) -> None:
        self.key = key
        self.tls: str | None = None
        self.address: str | None = None
        self.idle_since = 0.0
        self.is_lost = False
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._parser: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._post: Post | None = None
        self._is_paused = False
        self._unsent: memoryview | None = None
        self._lost_by: Exception | None = None
        self._reset()

    def _reset(self) -> None:
        self._sent_at: float | None = None
        self._first_byte_at: float | None = None
        self._headers_at: float | None = None
        self._status: int | None = None
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._body_bytes = 0
        self._read_bytes = 0
        self._is_done = False
        self._is_lasting = False

    # -- what the pool asks ------------------------------------------------------------------------------------

    def post(self, post: Post) -> None:
        """Send a request, and tell it what came of it. Only on a connection that is free."""
        self._reset()
        self._post = post
        if self.is_lost:
            self._end_lost(self._lost_by)
            return
        if self._timer is None or self._timer_at > post.deadline:
            self._set_timer(post.deadline)
        body = post.request.body
        self._sent_at = monotonic()
        if len(body) <= WRITE_BYTES:
            self._transport.write(post.head + body)
        else:
            self._transport.write(post.head)
            self._unsent = memoryview(body)
            self._write_on()

    def abandon(self, post: Post) -> None:
        """Nobody waits for this answer any more: what may still come of it must meet no other request."""
        if self._post is post:
            self._post = None
            self.abort()

    def close(self) -> None:
        """End in good order. Only where nothing is under way."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_free(self) -> bool:
        """Whether it can take a request."""
        return not (self.is_lost or self._post is not None or self._transport.is_closing())

    # -- asyncio -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        tls = transport.get_extra_info("ssl_object")
        self.tls = None if tls is None else tls.version()
        self._parser = httptools.HttpResponseParser(self)
        # As browsers read: folded lines, a bare LF, blanks after a chunk's size. None of them moves a message's end.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_keep_alive=True,
        )
        self._keeper.made(self)

    def data_received(self, data: bytes) -> None:
        if self._post is None:
            # Bytes before a request would be read as its answer.
            self._lost_by = _Unasked()
            self._transport.abort()
            return
        if self._first_byte_at is None:
            self._first_byte_at = monotonic()
        self._read_bytes += len(data)
        is_sound = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._is_done:
                self._end_unreadable(error)
                return
            is_sound = False
        if self._is_done:
            self._end("complete", is_kept=is_sound and self._may_keep())
        elif self._status is None:
            if self._read_bytes > HEAD_READ_BYTES:
                self._fail("headers_too_large")
        elif self._read_bytes > ANSWER_READ_BYTES:
            self._end("limit")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._lost_by = self._lost_by or exc
        if isinstance(exc, OSError) and self._post is not None and self.tls is None:
            self._read_what_had_come()
        self._parser = None
        self._unsent = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._keeper.lost(self)
        if self._post is not None:
            self._end_lost(self._lost_by)

    def _read_what_had_come(self) -> None:
        """An answer that came before the reset, as of who refuses a long body early: our writing met the reset first,
        and asyncio gives up a connection that cannot be written to, read or not."""
        with contextlib.suppress(OSError, AttributeError):  # nothing there; a transport without a descriptor
            descriptor = self._transport.get_extra_info("socket").fileno()
            while self._post is not None and (data := os.read(descriptor, WRITE_BYTES)):
                self.data_received(data)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._unsent is not None:
            self._write_on()

    def _write_on(self) -> None:
        while self._unsent is not None and not self._is_paused and not self._transport.is_closing():
            piece, rest = self._unsent[:WRITE_BYTES], self._unsent[WRITE_BYTES:]
            self._unsent = rest or None
            self._transport.write(piece)
            if not rest and self._first_byte_at is None:
                self._sent_at = monotonic()

    # -- time --------------------------------------------------------------------------------------------------

    def _set_timer(self, at: float) -> None:
        """One timer serves request after request: it is moved when it fires, not whenever an answer is in."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._post is None:
            return
        if monotonic() < self._post.deadline:
            self._set_timer(self._post.deadline)
        elif self._status is None:
            self._fail("timeout", explain_no_answer(self._post.request))
        else:
            self._end("deadline")

    # -- httptools ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_done:
            raise _Unasked

    def on_header(self, name: bytes, value: bytes) -> None:
        self._raw_headers.append((name, value))
        if len(self._raw_headers) > HEADERS_READ or len(name) + len(value) > HEAD_READ_BYTES:
            raise _TooLarge
        if b"\0" in value:
            raise ValueError("a NUL in a header")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        # What is collected from here on are trailers, or the headers of the answer after an informational one.
        headers, self._raw_headers = self._raw_headers, []
        if 100 <= status < 200 and status != SWITCHING_PROTOCOLS:
            return
        if status < 100:
            raise ValueError("no status code")
        self._status = status
        self._headers = headers
        self._headers_at = monotonic()
        if self._post is not None and self._post.request.method == "HEAD":
            # Its length speaks of a body that does not come (RFC 9110, section 9.3.2), which the parser does not know.
            self._is_done = True
            raise _Enough

    def on_body(self, piece: bytes) -> None:
        size = self._body_bytes
        if size < BODY_KEPT_BYTES:
            self._pieces.append(piece[: BODY_KEPT_BYTES - size])
        self._body_bytes = min(size + len(piece), BODY_READ_BYTES)
        if self._body_bytes == BODY_READ_BYTES:
            raise _Enough

    def on_message_complete(self) -> None:
        if self._status is not None:
            self._is_done = True
            # The parser forgets it as soon as the callback returns.
            self._is_lasting = self._parser.should_keep_alive()

    # -- how it ends -------------------------------------------------------------------------------------------

    def _end_unreadable(self, error: Exception) -> None:
        cause = error.__context__
        if self._status is not None:
            self._end("limit" if type(cause) is _Enough else "broken")
        elif isinstance(cause, _TooLarge):
            self._fail("headers_too_large")
        else:
            self._fail("protocol")

    def _end_lost(self, exc: Exception | None) -> None:
        if self._status is not None:
            self._end("complete" if exc is None and self._is_framed_by_end() else "broken")
        elif isinstance(exc, _Unasked):
            self._fail("protocol", "the other side spoke before it was asked")
        elif isinstance(exc, ssl.SSLError):
            self._fail("tls", explain_tls(exc))
        else:
            self._fail("closed" if exc is None else "reset")

    def _is_framed_by_end(self) -> bool:
        """Whether the body ends where the connection does (RFC 9112, section 6.3)."""
        framing = {name.lower(): value.lower() for name, value in self._headers}
        coding = framing.get(b"transfer-encoding")
        return not coding.strip().endswith(b"chunked") if coding is not None else b"content-length" not in framing

    def _end(self, end: BodyEnd, *, is_kept: bool = False) -> None:
        self._settle(self._answer(None, None, end), is_kept=is_kept, is_whole=end == "complete")

    def _fail(self, error: ErrorCode, detail: str | None = None) -> None:
        self._settle(self._answer(error, detail or DETAILS[error], None), is_kept=False, is_whole=False)

    def _settle(self, answer: Answer, *, is_kept: bool, is_whole: bool) -> None:
        post, self._post = self._post, None
        if is_kept:
            self._keeper.freed(self)
        elif is_whole:
            self._transport.close()
        else:
            self._transport.abort()
        if post is not None:
            post.ended(answer)

    def _may_keep(self) -> bool:
        """Whether this answer leaves a connection on which the next one can be told apart."""
        return (
            self._is_lasting
            and not self.is_lost
            and self._status != SWITCHING_PROTOCOLS
            and self._unsent is None
            and not self._transport.get_write_buffer_size()
        )

    def _answer(self, error: ErrorCode | None, detail: str | None, end: BodyEnd | None) -> Answer:
        post = self._post
        assert post is not None
        dial = post.dial
        dns_ms = connect_ms = tls_ms = None
        if dial is not None:
            dns_ms = ms_between(dial.dns_at, dial.resolved_at)
            connect_ms = ms_between(dial.dialled_at, dial.connected_at)
            tls_ms = ms_between(dial.tls_at, dial.connected_at)
        return Answer(
            status=None if error else self._status,
            error=error,
            detail=None if detail is None else detail[:HEADER_KEPT_CHARS],
            headers=() if error else kept_headers(self._headers[:HEADERS_KEPT]),
            body=b"" if error else b"".join(self._pieces),
            body_bytes=0 if error else self._body_bytes,
            body_end=end,
            address=self.address,
            tls=self.tls,
            reused=dial is None,
            redone=post.is_redone,
            sent_headers=post.sent_headers,
            timings=Timings(
                dns_ms=dns_ms,
                connect_ms=connect_ms,
                first_byte_ms=ms_between(self._sent_at, self._first_byte_at),
                headers_ms=ms_between(self._first_byte_at, self._headers_at),
                total_ms=ms_since(post.started_at),
                tls_ms=tls_ms,
            ),
        )
