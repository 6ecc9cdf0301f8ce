"""What does this answer, or this silence, mean?

2xx headers in time are success and nothing else is; the body is evidence, never an argument. This file does not
decide what happens next (`lifecycle`) nor when (`schedule`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal, TypeAlias

from hookline.rules.schedule import MAX_WINDOW_S

OutcomeKind: TypeAlias = Literal["succeeded", "failed", "gone", "unknown"]

Silence: TypeAlias = Literal[
    "connect_timeout",  # no connection within its own limit
    "timeout",  # connected, but no response headers within the whole exchange
    "connect",  # refused or unreachable
    "dns",  # the name did not resolve
    "tls",  # handshake or certificate
    "reset",  # closed before response headers
    "protocol",  # what came is not HTTP
    "refused_address",  # we would not dial it (`address`)
]
SILENCES: Final[tuple[Silence, ...]] = (
    "connect_timeout",
    "timeout",
    "connect",
    "dns",
    "tls",
    "reset",
    "protocol",
    "refused_address",
)

PROBE_STATUSES: Final = frozenset({400, 401, 403, 422, 500})
"""Answers a consumer gives to a signature it cannot verify: during a rotation they earn a probe with the other key."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to.

    Attributes:
        kind: `succeeded` · `failed` · `gone` the endpoint said 410 and wants nothing more · `unknown` the process died
            before it could tell.
        reason: `status_204`, `status_503`, …; `redirect`; one of `SILENCES`; `unknown`.
        status: the HTTP status, None where no answer came.
        retry_after_s: how long a failure asked us to wait, 0 to 72 hours; None where it did not.
    """

    kind: OutcomeKind
    reason: str
    status: int | None = None
    retry_after_s: float | None = None

    @property
    def is_overload(self) -> bool:
        """Whether the endpoint showed that it gets too much: 429, 503, or no answer in time. Its window halves."""
        return self.status in (429, 503) or self.reason in ("timeout", "connect_timeout")

    @property
    def may_be_wrong_key(self) -> bool:
        """Whether, during a rotation, the other key deserves a probe."""
        return self.status in PROBE_STATUSES


UNKNOWN: Final = Outcome("unknown", "unknown")
"""An attempt whose lease passed: it may have reached the endpoint, or not."""


def judge(status: int, *, retry_after: str | None = None, now_ms: int) -> Outcome:
    """The outcome of an answer, once its headers have come in time.

    Args:
        status: the final status; 1xx are not final and count as a broken protocol.
        retry_after: the header as it came: seconds or an HTTP date. One that is neither is ignored.
        now_ms: for dates.
    """
    if 200 <= status <= 299:
        return Outcome("succeeded", f"status_{status}", status)
    if status == 410:
        return Outcome("gone", "status_410", status)
    if not 300 <= status <= 599:
        return Outcome("failed", "protocol", status)
    if status in _REDIRECTS:
        return Outcome("failed", "redirect", status)  # never followed: the target was not vetted, nor registered
    return Outcome("failed", f"status_{status}", status, retry_after_s(retry_after, now_ms=now_ms))


def silence(reason: Silence) -> Outcome:
    """The outcome of an attempt that got no answer."""
    return Outcome("failed", reason)


def retry_after_s(header: str | None, *, now_ms: int) -> float | None:
    """Seconds a `Retry-After` asks for (RFC 9110 §10.2.3), clamped to 0 … 72 h; None if absent or unreadable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(MAX_WINDOW_S) if len(text.lstrip("0")) > 6 else float(min(int(text), MAX_WINDOW_S))
    try:
        at = parsedate_to_datetime(text[:64])
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # the asctime form names no zone; HTTP dates are UTC
        at = at.replace(tzinfo=UTC)
    return min(max(at.timestamp() - now_ms / 1_000, 0.0), float(MAX_WINDOW_S))
