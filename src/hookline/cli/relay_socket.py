"""WebSockets for the relay, and for nothing else that is served: a call to upgrade anywhere else is a plain one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from hookline.cli.head_limits import LimitedProtocol
from hookline.relay.frames import PATH

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

_PATH: Final = PATH.encode()
# For what was written last, when the process stops.
_CLOSED_WITHIN_S: Final = 1.0


class RelayingProtocol(LimitedProtocol):
    """One connection, which may become a WebSocket at `PATH`."""

    def _should_upgrade_to_ws(self) -> bool:
        return super()._should_upgrade_to_ws() and self.url.partition(b"?")[0] == _PATH

    def _unsupported_upgrade_warning(self) -> None:
        """Of the plain call that it is nothing is to be said: uvicorn would name a library that is missing."""


class RelaySocket(WebSocketsSansIOProtocol):
    """One WebSocket. Where nobody reads, closing does not wait for what is written: that would be minutes of TCP."""

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # Refused with an answer in full; uvicorn would take that for a handshake that was forgotten.
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(_CLOSED_WITHIN_S, self.transport.abort)
