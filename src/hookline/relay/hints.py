"""What a developer should do about what their server answered, or did not.

    301 to the same path and a slash    the URL lacks its trailing slash, or a framework adds it
    400 of Django's                     the host is not in ALLOWED_HOSTS
    400, 401, 403                       the signature, most likely: `explained` says why
    403, 422 of a form's protection     the route must not ask for a CSRF token
    404, 405, 413, 415, 5xx             as they say
    no answer                           nobody listens, a time limit, no HTTP

Pure: an answer in, a `Hint` out. What is only likely is said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urljoin, urlsplit

from hookline.sender.http import Answer, Headers
from hookline.wire.explain import Explanation, NamedSecret, explain

HintCode: TypeAlias = Literal[
    "trailing_slash",
    "to_https",
    "to_login",
    "redirect",
    "disallowed_host",
    "csrf",
    "signature",
    "forbidden",
    "not_found",
    "method",
    "too_large",
    "media_type",
    "unprocessable",
    "server_error",
    "refused",
    "timeout",
    "no_http",
    "closed",
    "tls",
    "name",
    "unreachable",
    "status",
]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LOGIN: Final = ("login", "signin", "sign-in", "sign_in", "auth")
# What frameworks say of a Host header that they do not know: Django with DEBUG and without, Starlette, Werkzeug, Rails,
# Vite.
_HOSTS: Final = (
    b"disallowedhost",
    b"invalid http_host header",
    b"invalid host header",
    b"blocked host",
    b"is not trusted",
    b"this host is not allowed",
    b"allowedhosts",
)
_DJANGO_400: Final = (b"<title>bad request (400)</title>", b"<h1>bad request (400)</h1>")
_CSRF: Final = (b"csrf", b"invalidauthenticitytoken", b"authenticity token", b"xsrf")


@dataclass(frozen=True, slots=True)
class Hint:
    """What most likely happened, in a few words, and what to do about it."""

    code: HintCode
    message: str
    to_do: str


def hint(url: str, answer: Answer, *, flag: str = "--forward-to") -> Hint | None:
    """What to do about an answer to a POST to `url`; None for a 2xx, which wants nothing.

    Args:
        flag: by which the command was given the URL.
    """
    status = answer.status
    if status is None:
        return _of_silence(url, answer, flag)
    if 200 <= status < 300:
        return None
    body = answer.body.lower()
    if status in _REDIRECTS:
        return _of_redirect(url, answer, flag)
    if status in (400, 403) and any(one in body for one in _HOSTS):
        return _of_host(url, "the framework does not know this host")
    if status in (403, 419, 422) and any(one in body for one in _CSRF):
        return Hint(
            "csrf",
            "the protection against forged forms (CSRF) refused it",
            "exempt this route: @csrf_exempt in Django, skip_forgery_protection in Rails, csrf.exempt in Flask-WTF; "
            "the signature is what proves a webhook",
        )
    if status == 400 and any(one in body for one in _DJANGO_400):
        return _of_host(url, "this is Django's own 400 page, most likely of DisallowedHost")
    return _of_status(url, status, answer, flag)


def explained(
    sent: Headers, body: bytes, *, listener_secret: str | None, app_secrets: Sequence[NamedSecret], now_ms: int
) -> Explanation:
    """Why a door that verifies with `app_secrets` refuses what was sent; with the listener's own where none is known.

    Args:
        sent: the headers as they were sent.
        listener_secret: what signs for this listener.
        app_secrets: what the app is known to verify with.
        now_ms: when the request was sent, in Unix milliseconds.
    """
    own = [] if listener_secret is None else [NamedSecret("the listener's secret", listener_secret, not app_secrets)]
    lines = [f"{name}: {value}" for name, value in sent]
    return explain(body, lines, [*app_secrets, *own], now_ms=now_ms)


def _of_redirect(url: str, answer: Answer, flag: str) -> Hint:
    location = _header(answer.headers, "location")
    if location is None:
        return Hint("redirect", f"{answer.status} and no Location", "answer 200 on this route; nothing is followed")
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    if there.hostname == here.hostname and there.path == here.path + "/":
        return Hint(
            "trailing_slash",
            "the route ends in a slash, the URL does not",
            f"{flag} {target}; redirects are not followed, by no sender: Django's APPEND_SLASH, Flask and "
            "FastAPI redirect to the slash",
        )
    if there.hostname == here.hostname and there.path + "/" == here.path:
        return Hint(
            "trailing_slash",
            "the URL ends in a slash, the route does not",
            f"{flag} {target}; redirects are not followed, by no sender",
        )
    if (here.scheme, there.scheme) == ("http", "https") and there.path == here.path:
        return Hint(
            "to_https",
            "the app wants https",
            f"{flag} {target}, or turn the redirect off in development: SECURE_SSL_REDIRECT in Django, "
            "force_ssl in Rails",
        )
    if any(part in there.path.lower() for part in _LOGIN):
        return Hint(
            "to_login",
            "the route asks for a login",
            "exempt it from the login middleware: the signature is what proves a webhook",
        )
    return Hint("redirect", f"redirected to {target[:200]}", "redirects are not followed: forward to that URL itself")


def _of_host(url: str, message: str) -> Hint:
    host = urlsplit(url).hostname or ""
    return Hint(
        "disallowed_host",
        message,
        f"allow {host!r}: ALLOWED_HOSTS in Django, allowed_hosts in Starlette, config.hosts in Rails; or forward to a "
        "name that is allowed, as localhost",
    )


def _of_status(url: str, status: int, answer: Answer, flag: str) -> Hint:
    path = urlsplit(url).path or "/"
    match status:
        case 400 | 401:
            return Hint(
                "signature",
                "most likely the signature does not hold for the app",
                "--write-env .env writes the secret that signs where apps read it, --print-secret prints it; on the "
                "full screen x explains it",
            )
        case 403:
            return Hint(
                "forbidden",
                "refused: a wrong signature in some apps, else an address list or a firewall",
                "on the full screen x explains the signature; where it holds, let 127.0.0.1 call this route",
            )
        case 404:
            return Hint("not_found", f"no route {path}", f"check the path of {flag}, and the app's prefix")
        case 405:
            allowed = _header(answer.headers, "allow")
            return Hint(
                "method",
                f"{path} does not take POST" + ("" if allowed is None else f", but {allowed[:60]}"),
                "let the route take POST; or the path is of a page",
            )
        case 413:
            return Hint(
                "too_large",
                "the body is larger than the app takes",
                "take 2 MiB: DATA_UPLOAD_MAX_MEMORY_SIZE in Django, MAX_CONTENT_LENGTH in Flask, the limit of "
                "express.raw, client_max_body_size in nginx",
            )
        case 415:
            return Hint(
                "media_type",
                "the app does not take application/json here",
                "take the raw body whatever its type; nothing should parse it before the signature was verified",
            )
        case 422:
            return Hint(
                "unprocessable",
                "the app read the body as something else",
                "take the raw request instead of a model: in FastAPI `await request.body()`",
            )
        case _ if status >= 500:
            return Hint(
                "server_error",
                "the app failed",
                "its log has the traceback; store the event, answer 200, and do the work afterwards",
            )
    return Hint("status", f"expected 2xx, got {status}", "a sender tries again until it gets one")


def _of_silence(url: str, answer: Answer, flag: str) -> Hint:
    parts = urlsplit(url)
    match answer.error:
        case "connect_refused":
            return Hint(
                "refused",
                f"nobody listens on {parts.netloc}",
                "start the app: deliveries wait for it, and come in order",
            )
        case "timeout" | "connect_timeout":
            return Hint(
                "timeout",
                answer.detail or "no answer in time",
                "answer first and work afterwards; --timeout gives a breakpoint more time",
            )
        case "tls":
            return Hint(
                "tls",
                answer.detail or "the TLS handshake failed",
                f"forward to http://{parts.netloc}, or have this machine trust the certificate's authority",
            )
        case "dns" | "bad_url":
            return Hint("name", answer.detail or "the name leads nowhere", f"check {flag}")
        case "protocol" | "headers_too_large":
            to_do = f"is it an https port? then {flag} https://…" if parts.scheme == "http" else "check the port"
            return Hint("no_http", answer.detail or "what came is not HTTP", to_do)
        case "reset" | "closed":
            return Hint(
                "closed",
                answer.detail or "the connection was closed without an answer",
                "the app may have restarted or crashed: its log tells; on the full screen r sends it again",
            )
    return Hint("unreachable", answer.detail or "no answer", "see whether the app can be reached from here")


def _header(headers: Headers, name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name), None)
