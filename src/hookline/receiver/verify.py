"""Verifying without storing: for code that has its own door, and for tests.

The rules are `wire.signature` and `wire.event`; what is added here is the clock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from hookline.wire import signature
from hookline.wire.event import Event
from hookline.wire.signature import TOLERANCE_S, BodyBytes, HeaderValue, Verified


def verify(
    body: BodyBytes | str,
    header: HeaderValue,
    *,
    secrets: Sequence[str],
    tolerance_s: float | None = TOLERANCE_S,
    now_ms: int | None = None,
) -> Event:
    """Prove that a webhook is genuine and recent, and read its event.

    Args:
        body: the raw bytes of the request, before any JSON reader saw them.
        header: the value of `WorkOS-Signature`: text, bytes, or a list of values where a framework gives one.
        secrets: every secret in force, e.g. the old and the new one during a rotation.
        tolerance_s: how far the signature's time may lie from now, in seconds, either way. 0 is honoured; None
            says explicitly that age does not matter.
        now_ms: Unix time in milliseconds; None reads the machine's clock.

    Raises:
        WebhookError: `InvalidSignature` (`.reason`: missing, malformed, mismatch, expired, future: answer 400 or
            401), or `InvalidBody` (genuine, but no event: answer 200, or the sender repeats it for days).
        ConfigError: no secret, or an empty one.
    """
    verify_signature(body, header, secrets=secrets, tolerance_s=tolerance_s, now_ms=now_ms)
    return Event.from_bytes(body.encode() if isinstance(body, str) else body)


def verify_signature(
    body: BodyBytes | str,
    header: HeaderValue,
    *,
    secrets: Sequence[str],
    tolerance_s: float | None = TOLERANCE_S,
    now_ms: int | None = None,
) -> Verified:
    """The first half of `verify`, for bytes that need not hold an event.

    Returns: when the body was signed and the index of the secret that did it.
    Raises: as `verify`, without `InvalidBody` for bytes.
    """
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return signature.verify_signature(body, header, secrets, tolerance_s=tolerance_s, now_ms=now_ms)
