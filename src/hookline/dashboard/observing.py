"""What became of an event in the receiver of this process: for tests and checks of an endpoint that leads to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hookline.receiver.app import Receiver
    from hookline.receiver.model import InboxEntry

# How long work under way is waited for, and how often it is looked at.
PATIENCE_S: Final = 3.0
_POLL_S: Final = 0.05


class ReceiverObserver:
    """Looks into a receiver's inbox and mirror, whoever runs its worker; a `conformance.Observer`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def entry(self, event_id: str) -> InboxEntry | None:
        """The event's entry once it is worked off, or as it stands when patience ends; None where it was not kept."""
        ends_at = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            found = await asyncio.to_thread(self._entries, event_id)
            if not found or found[0].state != "waiting" or asyncio.get_running_loop().time() > ends_at:
                return found[0] if found else None
            await asyncio.sleep(_POLL_S)

    async def times_kept(self, event_id: str) -> int | None:
        """How often an event was taken in; None where it was not, or by another receiver."""
        return len(await asyncio.to_thread(self._entries, event_id)) or None

    async def is_applied(self, event_id: str) -> bool | None:
        """Whether what was taken in has been worked off."""
        found = await self.entry(event_id)
        return None if found is None else found.state != "waiting"

    async def row(self, resource: str, object_id: str) -> Mapping[str, Any] | None:
        """The mirrored object's columns, where it is alive."""
        return await asyncio.to_thread(self._row, resource, object_id)

    def _entries(self, event_id: str) -> list[InboxEntry]:
        with self._receiver.look() as (queries, connection):
            return queries.entries(connection, event_id=event_id)

    def _row(self, resource: str, object_id: str) -> Mapping[str, Any] | None:
        with self._receiver.look() as (queries, connection):
            sources = queries.sources(connection)
        for source in sources:
            with self._receiver.look_at_mirror(source) as mirror:
                row = mirror.queries.row(mirror.connection, resource, object_id)
            if row is not None and row.is_live:
                return dict(row.columns)
        return None
