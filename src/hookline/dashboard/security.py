"""What every answer of the dashboard carries, and which requests from a browser are refused as another site's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

REPORT_PATH: Final = "/dashboard/csp-report"
# No 'unsafe-inline', no 'unsafe-eval'. data: is for the icons in Basecoat's stylesheet.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    f"report-uri {REPORT_PATH}"
)
HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


def foreign_origin(headers: Mapping[str, str]) -> str | None:
    """Why a request that writes is another site's; None where it is the dashboard's own, or no browser's.

    As Go's standard library and Datasette do it, without tokens in forms: every browser of today says where a request
    comes from (Sec-Fetch-Site), and older ones at least from which origin. What says neither is no browser, and
    carries no cookie that it was not given.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return None if site in ("same-origin", "none") else f"Sec-Fetch-Site: expected same-origin, got {site[:20]!r}"
    origin = headers.get("origin")
    if origin is None:
        return None
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        place = ""
    if place and place.lower() == headers.get("host", "").lower():
        return None
    return f"Origin: expected this host, got {origin[:80]!r}"
