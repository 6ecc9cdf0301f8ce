"""Does an endpoint do what the guide asks of it? `CHECKS`, each a few real requests, signed as every delivery is.

What is asked, and how it is judged, is in conformance_trust.py (what must be refused), conformance_events.py (what must
be accepted) and conformance_http.py (how it stands as an endpoint of HTTP); docs/check.md has a section on each.

Each check is made on its own; but where the valid event is not accepted none of the others is, since a refusal of what
is refused anyway proves nothing. What is not to be seen from outside an `Observer` of the receiver tells, where there
is one; without it that is `unknown`.

Needs no database: the command asks an endpoint of anybody's, by its URL and secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hookline.sender import conformance_events as events
from hookline.sender import conformance_http as over_http
from hookline.sender import conformance_trust as trust
from hookline.sender.advice import advice_for
from hookline.sender.conformance_model import Check, CheckLine, CheckName, Conformance, Found, Observer, line_of
from hookline.sender.conformance_requests import Requests
from hookline.sender.http import TOTAL_TIMEOUT_S, Headers
from hookline.sender.ids import IdMaker
from hookline.wire import standard
from hookline.wire.schemes import Scheme, signed_headers

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.conformance_requests import Sign
    from hookline.sender.http import Exchange

MOST_S: Final = 60.0
"""How long all checks together may take. What is under way then is the last."""

CHECKS: Final[tuple[Check, ...]] = (
    events.VALID_ACCEPTED,
    over_http.ANSWERED_AT_ONCE,
    trust.WRONG_SECRET_REFUSED,
    trust.MISSING_SIGNATURE_REFUSED,
    trust.OLD_TIMESTAMP_REFUSED,
    trust.FUTURE_TIMESTAMP_REFUSED,
    trust.TAMPERED_BODY_REFUSED,
    events.DUPLICATE_ACCEPTED,
    events.OUT_OF_ORDER_ACCEPTED,
    events.STALE_IGNORED,
    events.UNKNOWN_TYPE_ACCEPTED,
    events.NOT_JSON_BORNE,
    events.LARGE_BODY_ACCEPTED,
    over_http.OVERSIZE_REFUSED,
    over_http.FORM_REFUSED,
    over_http.OTHER_METHODS_ANSWERED,
    over_http.SLASH_ANSWERED,
    # The last: a limit on the rate of requests that it meets is not met by the others.
    over_http.BURST_ACCEPTED,
)


async def check_endpoint(
    url: str,
    secret: str,
    exchange: Exchange,
    *,
    clock: Clock,
    ids: IdMaker | None = None,
    headers: Headers = (),
    sensitive: frozenset[str] = frozenset(),
    scheme: Scheme = "workos",
    also_standard: bool = False,
    refuse_url: Callable[[str], str | None] | None = None,
    observer: Observer | None = None,
    only: Collection[CheckName] | None = None,
    timeout_s: float = TOTAL_TIMEOUT_S,
    most_s: float = MOST_S,
    told: Callable[[CheckLine], None] | None = None,
) -> Conformance:
    """Make the checks, one after the other, and delete at the end what they made.

    Args:
        secret: what the endpoint verifies with, as its scheme has it. Never in what is returned.
        exchange: how HTTP is spoken; the caller closes it.
        headers: the endpoint's own, sent with each request.
        sensitive: names of those, in lower case, whose values are not to be shown.
        scheme: how requests are signed.
        also_standard: whether the headers of Standard Webhooks are sent beside WorkOS's, as by a sender of ours.
        refuse_url: asked first; says why the URL must not be called, or None.
        observer: sees what became of the events, where the endpoint is a receiver of ours.
        only: which checks to make; `valid`, on which the others rest, is always made.
        timeout_s: of one request.
        most_s: of all together; what is not begun by then is `unknown`. Deleting may take ten seconds more.
        told: called with each line as soon as there is one.

    Raises: ConfigError for a secret that `scheme` cannot sign with.
    """
    sign = _signer(scheme, also_standard=also_standard)
    sign(b"", "", secret, clock.now_ms())
    requests = Requests(
        url,
        exchange,
        sign=sign,
        secret=secret,
        clock=clock,
        ids=ids or IdMaker(),
        headers=headers,
        sensitive=sensitive,
        observer=observer,
        timeout_s=timeout_s,
        ends_at=asyncio.get_running_loop().time() + most_s,
    )
    started_ms = clock.now_ms()
    refused = None if refuse_url is None else refuse_url(url)
    lines: list[CheckLine] = []
    try:
        for check in CHECKS:
            if only is not None and check.name not in only and check.name != "valid":
                continue
            if refused is not None:
                found = _not_made(f"nothing was sent: {refused}", advice_for("refused_address", None).to_do)
                found = replace(found, verdict="failed") if check.name == "valid" else found
            elif lines and lines[0].verdict == "failed":
                found = _not_made("not made: the valid event was not accepted, so that a refusal would prove nothing")
            elif requests.is_late():
                found = _not_made(f"not made: the checks before it took {most_s:g} s")
            else:
                found = await check.ask(requests)
                if requests.is_late() and any(one.reason in {"timeout", "connect_timeout"} for one in found.requests):
                    # It had no more than what was left.
                    found = Found("unknown", found.requests, f"given up: all checks together took {most_s:g} s")
            lines.append(line_of(check, found))
            if told is not None:
                told(lines[-1])
    finally:
        # Whoever interrupts a check leaves nothing of it at the other end either.
        left_behind = await requests.take_away()
    return Conformance(url, started_ms, tuple(lines), left_behind)


def _not_made(why: str, advice: str | None = None) -> Found:
    return Found("unknown", came=why, advice=advice)


def _signer(scheme: Scheme, *, also_standard: bool) -> Sign:
    def sign(body: bytes, event_id: str, secret: str, signed_ms: int) -> Headers:
        headers = tuple(signed_headers(scheme, body, secret, event_id=event_id, now_ms=signed_ms).items())
        if not also_standard:
            return headers
        return (*headers, *standard.headers(body, event_id, [secret.encode()], now_ms=signed_ms))

    return sign
