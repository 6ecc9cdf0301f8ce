"""Why the door refuses a request, in words, and what to do about it: the closed list of reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from hookline.receiver.model import RefusalReason


class Refusal(NamedTuple):
    """A reason in a few words, the status that is answered, and what helps."""

    title: str
    status: int
    help: str


REFUSALS: Final[Mapping[RefusalReason, Refusal]] = {
    "missing": Refusal(
        "no signature",
        400,
        "The request has no signature header. It is none of the source's, or a proxy in front drops the header.",
    ),
    "malformed": Refusal(
        "signature not readable",
        400,
        "The header is not `t=…, v1=…` (or that of Standard Webhooks). The source's scheme may be another one.",
    ),
    "mismatch": Refusal(
        "bad signature",
        401,
        "Signed with another secret, or the body was changed on its way. Compare the secret with the one that the "
        "sender shows; a middleware that parses the body and writes it anew breaks every signature.",
    ),
    "expired": Refusal(
        "too old",
        401,
        "The signature holds, but its time is further back than the tolerance. Replayed, delayed, or a clock is wrong.",
    ),
    "future": Refusal(
        "from the future",
        401,
        "The signature holds, but its time is ahead of ours by more than the tolerance: set this clock right.",
    ),
    "address": Refusal(
        "address not allowed",
        403,
        "The caller is on no list that is in force. Where a proxy stands in front, name it as trusted: else every "
        "caller seems to come from there.",
    ),
    "path": Refusal(
        "unknown path or token", 404, "No source has a door there. The path token is wrong, or somebody guesses."
    ),
    "method": Refusal("another method", 405, "A webhook is a POST."),
    "timeout": Refusal("body too slow", 408, "The whole body did not arrive in time."),
    "size": Refusal("too large", 413, "The body is larger than this source may send: see the setting max_body."),
    "content_type": Refusal("a form", 415, "The body is a form of a browser's, and no event."),
    "consumed": Refusal(
        "body already read",
        503,
        "A middleware of the app read the body before the door could. The bytes that were signed are gone: mount the "
        "door outside of it.",
    ),
    "no_secret": Refusal(
        "no secret here", 503, "This source has no signing secret, so nothing can be verified. The sender tries again."
    ),
    "no_list": Refusal(
        "no list of addresses yet",
        503,
        "The published list of addresses was never read, so nobody on it may call. The sender tries again.",
    ),
    "unavailable": Refusal(
        "could not be stored", 503, "The database did not take it. The sender tries again; nothing is lost."
    ),
}
_NAMED: Final[Mapping[str, Refusal]] = {str(reason): one for reason, one in REFUSALS.items()}


def refusal_of(reason: str) -> Refusal | None:
    """What a kept reason means; None for one that another version of Hookline kept."""
    return _NAMED.get(reason)
