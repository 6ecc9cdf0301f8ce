"""What a developer is told to do about an answer, for what frameworks really answer."""

from __future__ import annotations

import pytest

from hookline.relay.hints import HintCode, explained, hint
from hookline.sender.http import NO_TIME, Answer, ErrorCode, Headers, no_answer
from hookline.wire.explain import NamedSecret
from hookline.wire.signature import HEADER, sign

URL = "http://localhost:8000/webhooks"
NOW_MS = 1_700_000_000_000
DJANGO_400 = b'\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Bad Request (400)</title>\n</head>'
DJANGO_DEBUG = b"<title>DisallowedHost\n          at /webhooks</title>"
DJANGO_CSRF = b"<h1>Forbidden <span>(403)</span></h1>\n  <p>CSRF verification failed. Request aborted.</p>"


def answered(status: int, body: bytes = b"", headers: Headers = ()) -> Answer:
    """An answer as the exchange gives it."""
    return Answer(
        status=status, error=None, detail=None, headers=headers, body=body, body_bytes=len(body), body_end="complete",
        address="127.0.0.1:8000", tls=None, reused=False, redone=False, sent_headers=(), timings=NO_TIME,
    )  # fmt: skip


def location(url: str) -> Headers:
    return (("Content-Length", "0"), ("location", url))


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (answered(301, headers=location("/webhooks/")), "trailing_slash", "--forward-to http://localhost:8000/webhooks/"),
        (answered(308, headers=location(URL + "/")), "trailing_slash", "--forward-to http://localhost:8000/webhooks/"),
        (answered(307, headers=location("https://localhost:8000/webhooks")), "to_https", "SECURE_SSL_REDIRECT"),
        (answered(302, headers=location("/accounts/login/?next=/webhooks")), "to_login", "login middleware"),
        (answered(302, headers=location("https://elsewhere.example/x")), "redirect", "forward to that URL itself"),
        (answered(301), "redirect", "nothing is followed"),
        (answered(400, DJANGO_400), "disallowed_host", "ALLOWED_HOSTS"),
        (answered(400, DJANGO_DEBUG), "disallowed_host", "'localhost'"),
        (answered(400, b"Invalid host header"), "disallowed_host", "Starlette"),
        (answered(403, b"Blocked hosts: localhost:8000"), "disallowed_host", "config.hosts"),
        (answered(403, DJANGO_CSRF), "csrf", "@csrf_exempt"),
        (answered(422, b"ActionController::InvalidAuthenticityToken"), "csrf", "skip_forgery_protection"),
        (answered(400, b"bad signature"), "signature", "--write-env"),
        (answered(401), "signature", "--print-secret"),
        (answered(403), "forbidden", "127.0.0.1"),
        (answered(404), "not_found", "path of --forward-to"),
        (answered(405, headers=(("Allow", "GET, HEAD"),)), "method", "POST"),
        (answered(413), "too_large", "2 MiB"),
        (answered(415), "media_type", "raw body"),
        (answered(422, b'{"detail":[]}'), "unprocessable", "request.body()"),
        (answered(500), "server_error", "traceback"),
        (answered(409), "status", "until it gets one"),
    ],
)  # fmt: skip
def test_an_answer_and_what_to_do(answer: Answer, code: HintCode, told: str) -> None:
    found = hint(URL, answer)
    assert found is not None
    assert (found.code, told in found.to_do) == (code, True), found


def test_a_url_that_ends_in_a_slash_too_many() -> None:
    found = hint(URL + "/", answered(308, headers=location("/webhooks")))
    assert found is not None
    assert (found.code, "--forward-to http://localhost:8000/webhooks;" in found.to_do) == ("trailing_slash", True)


def test_what_a_405_allows_is_said() -> None:
    found = hint(URL, answered(405, headers=(("Allow", "GET, HEAD"),)))
    assert found is not None
    assert found.message == "/webhooks does not take POST, but GET, HEAD"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        ("connect_refused", "refused", "start the app"),
        ("timeout", "timeout", "answer first"),
        ("connect_timeout", "timeout", "answer first"),
        ("tls", "tls", "http://localhost:8000"),
        ("dns", "name", "--forward-to"),
        ("protocol", "no_http", "https port"),
        ("reset", "closed", "r sends it again"),
        ("closed", "closed", "crashed"),
        ("connect_failed", "unreachable", "reached from here"),
    ],
)
def test_no_answer_and_what_to_do(error: ErrorCode, code: HintCode, told: str) -> None:
    found = hint(URL, no_answer(error, ""))
    assert found is not None
    assert (found.code, told in found.to_do) == (code, True), found


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_2xx_wants_nothing(status: int) -> None:
    assert hint(URL, answered(status, b"csrf")) is None


def test_an_explanation_names_the_other_secret_where_the_apps_own_is_known() -> None:
    """Signed with the listener's secret, verified with another: that is proved. Where none is known, it is genuine."""
    headers = ((HEADER, sign(b"{}", "whsec_listener", timestamp_ms=NOW_MS)), ("X-Other", "1"))
    app = [NamedSecret("HOOKLINE_WEBHOOK_SECRETS", "whsec_of_the_app")]
    found = explained(headers, b"{}", listener_secret="whsec_listener", app_secrets=app, now_ms=NOW_MS)
    assert (found.code, found.is_proved, found.secret) == ("secret_other", True, "the listener's secret")
    alone = explained(headers, b"{}", listener_secret="whsec_listener", app_secrets=(), now_ms=NOW_MS)
    assert alone.code == "genuine"
