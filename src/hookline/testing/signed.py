"""Requests as the sender would send them, for tests of a receiver."""

from __future__ import annotations

from dataclasses import dataclass

from hookline.wire.event import Event
from hookline.wire.signature import HEADER, sign


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What to POST: the exact body bytes and the headers that belong to them."""

    body: bytes
    headers: dict[str, str]


def signed_request(event: Event | bytes, secret: str, *, timestamp_ms: int) -> SignedRequest:
    """The request that delivers `event`, or these body bytes whatever they are, signed at `timestamp_ms`."""
    body = event.raw if isinstance(event, Event) else event
    return SignedRequest(
        body=body,
        headers={"Content-Type": "application/json", HEADER: sign(body, secret, timestamp_ms=timestamp_ms)},
    )
