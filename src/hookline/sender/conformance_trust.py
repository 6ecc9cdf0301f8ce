"""Does an endpoint refuse what it must not trust: the forged, the unsigned, the replayed, the altered?

A refusal is 4xx. What was answered 5xx was not accepted, but met a program that had not expected it, and anybody who
knows the URL can do that to it; a sender would try it again for three days.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hookline.sender.conformance_model import Check, Found, SentRequest
from hookline.sender.conformance_requests import OLD_MS, WRONG_SECRET

if TYPE_CHECKING:
    from hookline.sender.conformance_requests import Requests

_VERIFY: Final = "verify the signature of every request over its raw body, and answer 400 or 401 where it does not hold"
_RECENT: Final = "compare the signed timestamp with the clock, with a tolerance of 3 to 5 minutes"
_EITHER_WAY: Final = (
    "compare the signed timestamp with the clock either way: refuse what is signed more than 3 to 5 minutes ahead, "
    "which the official SDKs for Node, PHP and Elixir leave to you"
)
_RAW: Final = "verify over the bytes of the body as they came, before anything parses them, and use what was verified"
_AGAIN: Final = "make the check again: this answer was about something else"


async def _wrong_secret(requests: Requests) -> Found:
    sent = await requests.send(requests.created(), "signed with a wrong secret", secret=WRONG_SECRET)
    return await _refusal(requests, sent, _VERIFY)


async def _missing_signature(requests: Requests) -> Found:
    sent = await requests.send(requests.created(), "not signed at all", is_signed=False)
    return await _refusal(requests, sent, _VERIFY)


async def _old_timestamp(requests: Requests) -> Found:
    sent = await requests.send(requests.created(), "signed ten minutes ago", age_ms=OLD_MS)
    return await _refusal(requests, sent, _RECENT)


async def _future_timestamp(requests: Requests) -> Found:
    sent = await requests.send(requests.created(), "signed ten minutes ahead", age_ms=-OLD_MS)
    return await _refusal(requests, sent, _EITHER_WAY)


async def _tampered_body(requests: Requests) -> Found:
    event = requests.created()
    body = event.body.replace(b'"active"', b'"closed"')
    assert body != event.body  # the sample's state
    sent = await requests.send(event, "its state altered after it was signed", body=body)
    return await _refusal(requests, sent, _RAW)


async def _refusal(requests: Requests, sent: SentRequest, advice: str) -> Found:
    if sent.is_accepted:
        return Found("failed", (sent,), advice=advice)
    if sent.is_refused:
        if sent.event_id is not None and requests.observer and await requests.observer.times_kept(sent.event_id):
            return Found("failed", (sent,), f"{sent.came}; it was taken in all the same", advice, short="taken in")
        return Found("passed", (sent,))
    if sent.is_broken:
        said = f"it was not accepted, but {sent.status} is an error and no refusal, and a sender tries again"
        return Found("failed", (sent,), advice=f"{said}: {advice}", short="met an error")
    if sent.is_redirect:
        said = f"it was not accepted, but {sent.status} is no refusal, and a sender tries again"
        return Found("warning", (sent,), advice=f"{said}: {advice}", short="redirected")
    return Found("unknown", (sent,), advice=_AGAIN)


WRONG_SECRET_REFUSED: Final = Check(
    name="wrong_secret",
    title="A wrong signature is refused",
    subject="wrong signature",
    good="refused",
    bad="accepted",
    sent="one signed with a wrong secret",
    expected="4xx",
    ask=_wrong_secret,
)
MISSING_SIGNATURE_REFUSED: Final = Check(
    name="missing_signature",
    title="A missing signature is refused",
    subject="missing signature",
    good="refused",
    bad="accepted",
    sent="one without a signature",
    expected="4xx",
    ask=_missing_signature,
)
OLD_TIMESTAMP_REFUSED: Final = Check(
    name="old_timestamp",
    title="An old timestamp is refused",
    subject="old timestamp",
    good="refused",
    bad="accepted",
    sent="one signed ten minutes ago",
    expected="4xx",
    ask=_old_timestamp,
)
FUTURE_TIMESTAMP_REFUSED: Final = Check(
    name="future_timestamp",
    title="A future timestamp is refused",
    subject="future timestamp",
    good="refused",
    bad="accepted",
    sent="one signed ten minutes ahead",
    expected="4xx",
    ask=_future_timestamp,
)
TAMPERED_BODY_REFUSED: Final = Check(
    name="tampered_body",
    title="An altered body is refused",
    subject="tampered body",
    good="refused",
    bad="accepted",
    sent="one altered after it was signed",
    expected="4xx",
    ask=_tampered_body,
)
