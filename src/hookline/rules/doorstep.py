"""What stands in front of the door, told by what answered: for `hookline doctor --send`.

Three requests are made: a GET, which must be answered 200; a POST that nobody signed, which must be refused with 401;
and one that is signed, which must be answered 200 and be kept. The door itself answers in one word (receive.py), so
that what else answers (a framework, a middleware, a proxy) can be told from it. The traps are those of frameworks and
proxies that were tried: each loses webhooks without a word, since a sender follows no redirect and reads no page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urljoin, urlsplit

Probe: TypeAlias = Literal["get", "forged", "signed"]
Verdict: TypeAlias = Literal["ok", "warning", "problem"]

SHOWN: Final = 200

# By the one word that our door answers a refusal with.
_OURS: Final[Mapping[str, str]] = {
    "path": "the door is not at this path, or its token is another: compare HOOKLINE_PATH_TOKEN, the path that the "
    "source was given, and what a proxy in front cuts off",
    "method": "the door was asked with another method: a proxy in front turns POST into it",
    "size": "the door takes no body of that size: HOOKLINE_MAX_BODY",
    "content_type": "the content type of a form arrived: something in front changes it",
    "missing": "the signature's header did not arrive: something in front drops headers it does not know",
    "malformed": "the signature's header arrived changed: something in front rewrites or joins headers",
    "mismatch": "the body or the signature arrived changed (something in front or a middleware parses and writes the "
    "body anew), or what answers has another secret than this command",
    "expired": "the door's clock is ahead of this machine's, or the request was held up on its way",
    "future": "the door's clock is behind this machine's",
    "timeout": "the body did not arrive in time: something in front holds it back",
    "no_secret": "the door that answered has no signing secret: HOOKLINE_WEBHOOK_SECRETS is not set there",
    "no_list": "the door has not yet read the published list of addresses, and nobody may call until then",
    "unavailable": "the door cannot keep anything now: its database is away, full or locked; its log says more",
    "consumed": "a middleware or before_request function of the app reads the body before the door can; leave the "
    "door's path out of it",
}
_BY_STATUS: Final[Mapping[int, str]] = {
    400: "not the door: a framework refuses the host (Django ALLOWED_HOSTS, TrustedHostMiddleware), or a middleware "
    "reads a body that is too large for it (Django DATA_UPLOAD_MAX_MEMORY_SIZE), or plain http came to a port of https",
    401: "not the door: something in front wants a login; leave the door's path out of it, a source cannot log in",
    403: "not the door: CSRF protection (the door's own view is exempt; is a wrapped one used?), a firewall, or an "
    "address list of the proxy",
    404: "not the door: no route leads to it. Is it mounted (Django: include('hookline.adapters.django.urls')), under "
    "this prefix, and does the proxy hand this path on unchanged?",
    405: "not the door: a route of the app answers at this path and takes other methods",
    408: "not the door: what is in front waited too long for the body",
    411: "not the door: what is in front takes no body without its length",
    413: "not the door: a limit in front is lower (nginx client_max_body_size, Flask MAX_CONTENT_LENGTH)",
    415: "not the door: a framework takes other content types at this path",
    421: "not the door: the proxy has no site of this name",
    429: "not the door: something in front limits how often it may be asked; let the source through",
    500: "the app failed before or after the door: its log has the traceback",
    502: "the proxy cannot reach the app",
    503: "not the door: the proxy or the platform has no app to hand it to",
    504: "the app did not answer the proxy in time",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` by lower-cased name; `content` its beginning. `address` is where it was sent."""

    address: str
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def reason(self) -> str | None:
        """The word of our door, None where something else answered."""
        if not self.headers.get("content-type", "").startswith("text/plain"):
            return None
        word = self.content[:40].decode("ascii", "replace").strip()
        return word if word in _OURS or word == "address" else None


@dataclass(frozen=True, slots=True)
class Meaning:
    """How an answer is to be taken, for people."""

    verdict: Verdict
    text: str


def meaning_of(probe: Probe, answer: Answer) -> Meaning:
    """What an answer to one of the three requests says. That a signed one was kept is asked elsewhere."""
    status, reason = answer.status, answer.reason
    if probe == "forged":
        if status == 401 and reason == "mismatch":
            return Meaning("ok", "refused with 401: a signature that is wrong gets nowhere")
        if 200 <= status < 300:
            return Meaning(
                "problem",
                f"answered {status} to a request that nobody signed: what answers is not the door, or checks nothing",
            )
    elif status == 200:
        return Meaning("ok", "answered 200")
    if reason == "address":
        return Meaning(
            "warning",
            "refused with 403: this machine is not among the addresses that may call, which is as it should be unless "
            "it stands for the proxy (HOOKLINE_TRUSTED_PROXIES); what comes behind that was not tried",
        )
    if reason is not None:
        return Meaning("problem", f"answered {status} ({reason}): {_OURS[reason]}")
    if 300 <= status < 400:
        return Meaning("problem", f"answered {status}: {_redirected(answer)}. A source follows no redirect")
    if probe == "get":
        # Some check a URL by a GET before they send to it.
        return Meaning("warning" if status == 405 else "problem", f"answered {status}, not 200: {_known(status)}")
    return Meaning("problem", f"answered {status}: {_known(status)}")


def _known(status: int) -> str:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return "an answer that the door never gives" if status < 500 else "what is in front, or the app, failed"


def _redirected(answer: Answer) -> str:
    target = urljoin(answer.address, answer.headers.get("location", ""))
    asked, told = urlsplit(answer.address), urlsplit(target)
    if (told.path, told.netloc) == (asked.path, asked.netloc) and (asked.scheme, told.scheme) == ("http", "https"):
        return (
            "to https at the same place; give the source the https URL. Behind a proxy that ends TLS the framework "
            "must be told so (Django SECURE_PROXY_SSL_HEADER, uvicorn --proxy-headers)"
        )
    if told.path.rstrip("/") == asked.path.rstrip("/") and told.path != asked.path:
        return "to the same path with or without a slash at its end; register the URL with the one that is answered"
    if any(word in told.path.lower() for word in ("login", "signin", "auth", "sso")):
        return "to a login; leave the door's path out of it (Django LoginRequiredMiddleware, a proxy's single sign-on)"
    # Without its query, which may hold anything.
    return f"to {told.scheme}://{told.netloc.rpartition('@')[2]}{told.path}"[:SHOWN]
