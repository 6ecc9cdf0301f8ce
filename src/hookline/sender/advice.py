"""What an attempt came to and what to do about it, for people; one sentence each, by the reason that is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Advice:
    """`meaning` completes "the attempt …"; `to_do` is None where there is nothing to do."""

    meaning: str
    to_do: str | None


_SIGNATURE = "check which secret the endpoint verifies with, that it verifies the raw bytes of the body, and its clock"
_BY_STATUS: Final[Mapping[int, str]] = {
    400: _SIGNATURE,
    401: _SIGNATURE,
    403: "let these requests through: an allow list, a firewall or a login stands before the endpoint",
    404: "check the path of the URL",
    405: "the path must take POST",
    413: "raise the largest body that the endpoint and its proxy take to 512 KiB",
    415: "the endpoint must take application/json",
    422: _SIGNATURE,
    429: "the endpoint asks for less: give it a rate limit",
    500: "look into the endpoint's own log at this time",
    502: "the proxy before the endpoint has nobody behind it: look whether it runs",
    503: "the endpoint is overloaded or down: wait, or give it a rate limit",
    504: "the endpoint takes too long: store the event, answer 200, and work afterwards",
}
_BY_REASON: Final[Mapping[str, Advice]] = {
    "connect_timeout": Advice("got no connection in time", "look whether a firewall drops connections from here"),
    "timeout": Advice(
        "got no answer in time", "store the event, answer 200 at once, and work afterwards; or raise the timeout"
    ),
    "connect": Advice("could not connect", "look whether the endpoint runs and the port is right"),
    "dns": Advice("did not find the host name", "check the host name of the URL and its DNS record"),
    "tls": Advice(
        "could not agree on TLS", "check the certificate: its name, its dates and that the chain is complete"
    ),
    "reset": Advice("lost the connection before an answer", "look for crashes and limits of the endpoint's server"),
    "protocol": Advice("got no HTTP answer", "check that the port speaks HTTP or HTTPS as the URL says"),
    "refused_address": Advice(
        "was not made: the address may not be called",
        "use a public https address, or allow the network with HOOKLINE_ALLOWED_TARGETS",
    ),
    "redirect": Advice("was answered with a redirect, which is never followed", "register the URL it leads to"),
    "unknown": Advice(
        "ended with its sender: the endpoint may have got it, or not",
        "nothing: it is made again; consumers ignore doubles",
    ),
    "status_410": Advice(
        "was answered 410 Gone: the endpoint wants nothing more", "resume the endpoint if that was a mistake"
    ),
}


def advice_for(reason: str | None, status: int | None) -> Advice:
    """The advice for a stored attempt."""
    if reason is not None and reason in _BY_REASON:
        return _BY_REASON[reason]
    if status is None:
        return Advice("failed", None)
    meaning = f"was answered {status}"
    if 200 <= status <= 299:
        return Advice(meaning, None)
    fallback = "look into the endpoint's own log at this time" if status >= 500 else "see the answer's body"
    return Advice(meaning, _BY_STATUS.get(status, fallback))
