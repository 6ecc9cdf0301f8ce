"""The schemes by which webhooks are signed, and the headers of each for whoever signs by either."""

from __future__ import annotations

from typing import Literal, TypeAlias

from hookline.wire import signature, standard

# The `WorkOS-Signature` header, or the three of Standard Webhooks.
Scheme: TypeAlias = Literal["workos", "standard_webhooks"]


def signed_headers(scheme: Scheme, body: bytes, secret: str, *, event_id: str, now_ms: int) -> dict[str, str]:
    """The headers for these exact bytes.

    Args:
        secret: as the scheme's door takes it.
        event_id: for `standard_webhooks`, which signs it, too.
        now_ms: Unix time in milliseconds.

    Raises: ConfigError for a secret that is none.
    """
    if scheme == "workos":
        return {signature.HEADER: signature.sign(body, secret, timestamp_ms=now_ms)}
    return dict(standard.headers(body, event_id, [standard.key_of(secret)], now_ms=now_ms))
