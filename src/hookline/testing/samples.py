"""Events to test with, made from the catalogue's samples: the same call always makes the same event."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from hookline.wire import timestamps
from hookline.wire.canonical import canonical_bytes
from hookline.wire.catalogue import CATALOGUE, sample, sample_context, sample_created_us
from hookline.wire.event import Event, encode_event

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def sample_event(
    event_type: str,
    *,
    event_id: str | None = None,
    created_at: str | None = None,
    context: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Event:
    """An event of this type about the sample company, ready to sign.

    Args:
        event_id: its id; by default one that follows from everything else, so that the same call twice is a
            duplicate and any difference is another event.
        created_at: when it happened, in any format of the wire; by default when it does in the story that the
            samples tell, and after the newest time in the payload, so that created, updated and deleted come in
            this order.
        context: what the event says around its payload; by default the sample's, where its type has one.
        overrides: members of `data` to replace, such as `state="inactive"` or `user={…}`.
    Raises:
        LookupError: the type has no sample; the nearest is named.
        NotCanonical: an override is no JSON.
    """
    data = sample(event_type) | overrides
    if context is None:
        context = sample_context(event_type)
    if created_at is not None:
        created_us = timestamps.parse_us(created_at)
    else:
        # A deletion carries the last state, so its newest time is that of the update before it.
        after_ms = 1_000 if CATALOGUE[event_type].kind == "D" else 100
        newest_us = max(_times_us(data), default=0)
        created_us = max(sample_created_us(event_type), newest_us + after_ms * 1_000)
    return made_event(event_type, data, created_us=created_us, context=context, event_id=event_id)


def made_event(
    event_type: str,
    data: Mapping[str, Any],
    *,
    created_us: int,
    context: Mapping[str, Any] | None,
    event_id: str | None = None,
) -> Event:
    """An event of these parts; without an id of its own it gets the one that follows from them.

    Raises: NotCanonical: a part is no JSON.
    """
    if event_id is None:
        event_id = made_id("event", created_us, [event_type, created_us, data, context and dict(context)])
    return Event.from_bytes(
        encode_event(event_id=event_id, event_type=event_type, data=data, created_us=created_us, context=context)
    )


def _times_us(data: Mapping[str, Any]) -> Iterator[int]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _times_us(value)
        elif name in {"created_at", "updated_at"} and isinstance(value, str):
            yield timestamps.parse_us(value)


def made_id(prefix: str, at_us: int, content: Any) -> str:
    """An id as WorkOS writes them, of this time, that follows from `content`. NotCanonical: that is no JSON."""
    number = (at_us // 1000) << 80 | int.from_bytes(hashlib.sha256(canonical_bytes(content)).digest()[:10])
    return f"{prefix}_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
