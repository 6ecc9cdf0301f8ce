"""Entries that are kept, read again: by the worker, by replays, and by whoever asks why."""

from __future__ import annotations

from dataclasses import replace

from hookline.errors import InvalidBody
from hookline.receiver.model import HASHED
from hookline.wire.event import Event


def kept_event(body: bytes, event_id: str, event_type: str | None) -> Event:
    """The event of an entry, as its door read it: what is not of the type it was kept as came by Standard Webhooks.

    Its id is what it is kept under, which may have been in a header alone; None where that is a hash.

    Raises: InvalidBody: it is no event, or a number in it cannot be decoded.
    """
    try:
        event = Event.from_bytes(body)
    except InvalidBody as refusal:
        if refusal.reason != "not_event" or event_type is None:
            raise
        return Event.from_standard_bytes(body, event_id)
    if event.type != event_type and event_type is not None:
        return Event.from_standard_bytes(body, event_id)
    own_id = None if event_id.startswith(HASHED) else event_id
    return event if event.id == own_id else replace(event, id=own_id)
