"""Limits on what a client may send before anybody knows who it is: the request line and its headers.

uvicorn on httptools has none: it keeps what comes, so that 60 MB of header lines took 1.2 GB of memory, one long header
kept the event loop busy for seconds at a time, and a head that never ended kept its connection for ever. Bodies are for
whoever reads them to limit.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Request line and headers, or the sizes of chunks and what follows the last. Servers commonly take 8 to 64 KiB.
MAX_HEAD_BYTES: Final = 64 * 1024
# From its first byte to its end.
HEAD_TIMEOUT_S: Final = 10.0

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class LimitedProtocol(HttpToolsProtocol):
    """One connection. What passes a limit is answered 431 or 408, where no answer is under way, and closed.

    A head is measured by what has been read of it, so that one that is too large by less than a read may pass.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        super().connection_made(transport)
        # Whoever connects and says nothing is kept as long as whoever has said something.
        self._head_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_in_head:
            if self._head_timer is not None:
                self._end_timer()
            return
        if not self._head_bytes:
            self._end_timer()
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, _TOO_SLOW)
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """After the last of them come headers again."""
        self._is_in_head, self._head_bytes = True, 0

    def on_body(self, body: bytes) -> None:
        self._is_in_head = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_head = False
        super().on_message_complete()

    def _refuse(self, answer: bytes) -> None:
        self._end_timer()
        if not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(answer)
            self.transport.close()

    def _end_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
