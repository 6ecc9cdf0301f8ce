"""What an answer in the door's place means: the traps of frameworks and proxies, each told with its cure."""

from __future__ import annotations

import pytest

from hookline.receiver.receive import (
    ADDRESS,
    CONSUMED,
    FORM,
    NO_METHOD,
    NO_PATH,
    NO_SECRET,
    TIMEOUT,
    UNAVAILABLE,
    answer,
    refuse,
)
from hookline.rules.doorstep import Answer, Probe, meaning_of
from hookline.rules.guessable import is_guessable

URL = "http://app.example/hooks/webhooks"
HTML = {"content-type": "text/html; charset=utf-8"}
OURS = {"content-type": "text/plain; charset=utf-8"}


def page(status: int, **headers: str) -> Answer:
    """What something else than the door answers."""
    return Answer(URL, status, HTML | headers, b"<html>mismatch</html>")


def ours(status: int, word: str) -> Answer:
    """What the door answers."""
    return Answer(URL, status, OURS, f"{word}\n".encode())


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (400, "ALLOWED_HOSTS"),
        (400, "DATA_UPLOAD_MAX_MEMORY_SIZE"),
        (401, "login"),
        (403, "CSRF"),
        (404, "mounted"),
        (405, "other methods"),
        (411, "length"),
        (413, "client_max_body_size"),
        (415, "content types"),
        (500, "traceback"),
        (502, "cannot reach"),
        (503, "no app"),
        (504, "in time"),
        (418, "never gives"),
        (599, "failed"),
    ],
)
def test_what_others_answer_is_told_with_its_cure(status: int, cure: str) -> None:
    """It is a problem, and the text names where to look; a page of another's is never taken for the door's word."""
    meaning = meaning_of("signed", page(status))
    assert meaning.verdict == "problem"
    assert f"answered {status}" in meaning.text
    assert cure in meaning.text


@pytest.mark.parametrize(
    ("location", "cure"),
    [
        ("/hooks/webhooks/", "slash"),
        ("https://app.example/hooks/webhooks", "https"),
        ("/accounts/login/?next=/hooks/webhooks", "login"),
        ("https://elsewhere.example/a?token=x", "https://elsewhere.example/a"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_says_where_to_and_why(status: int, location: str, cure: str) -> None:
    """No source follows one; what the target's query holds is not repeated."""
    meaning = meaning_of("signed", page(status, location=location))
    assert meaning.verdict == "problem"
    assert cure in meaning.text
    assert "follows no redirect" in meaning.text
    assert "token" not in meaning.text


@pytest.mark.parametrize(
    ("receipt", "cure"),
    [
        (NO_PATH, "HOOKLINE_PATH_TOKEN"),
        (NO_METHOD, "another method"),
        (FORM, "content type"),
        (NO_SECRET, "HOOKLINE_WEBHOOK_SECRETS"),
        (UNAVAILABLE, "database"),
        (CONSUMED, "middleware"),
        (TIMEOUT, "holds it back"),
        (refuse(413, "size", ""), "HOOKLINE_MAX_BODY"),
        (refuse(400, "missing", ""), "drops headers"),
        (refuse(400, "malformed", ""), "rewrites"),
        (refuse(401, "mismatch", ""), "another secret"),
        (refuse(401, "expired", ""), "ahead"),
        (refuse(401, "future", ""), "behind"),
    ],
)
def test_each_refusal_of_the_door_is_known(receipt: object, cure: str) -> None:
    """As the door itself renders them."""
    assert receipt.kind == "refused"  # type: ignore[attr-defined]
    pairs, content = answer(receipt)  # type: ignore[arg-type]
    headers = {name.decode(): value.decode() for name, value in pairs}
    meaning = meaning_of("signed", Answer(URL, receipt.status, headers, content))  # type: ignore[attr-defined]
    assert meaning.verdict == "problem"
    assert cure in meaning.text
    assert "not the door" not in meaning.text


@pytest.mark.parametrize("probe", ["forged", "signed"])
def test_a_closed_list_of_addresses_is_no_fault(probe: Probe) -> None:
    """This machine need not be on it; but nothing behind it was tried."""
    pairs, content = answer(ADDRESS)
    headers = {name.decode(): value.decode() for name, value in pairs}
    meaning = meaning_of(probe, Answer(URL, ADDRESS.status, headers, content))
    assert meaning.verdict == "warning"
    assert "not tried" in meaning.text


def test_a_forged_request_must_be_refused_by_the_door_itself() -> None:
    """401 in its own word is well; 200 is the worst there is; another's 401 is a wall, not a check."""
    assert meaning_of("forged", ours(401, "mismatch")).verdict == "ok"
    for status in (200, 202, 204):
        assert "nobody signed" in meaning_of("forged", page(status)).text
        assert meaning_of("forged", page(status)).verdict == "problem"
    assert "wants a login" in meaning_of("forged", page(401)).text
    assert meaning_of("forged", ours(401, "expired")).verdict == "problem"


def test_a_get_must_be_answered_200() -> None:
    """Registrars ask first; a route that takes POST alone is a warning, all else is as bad as for a POST."""
    assert meaning_of("get", Answer(URL, 200, {}, b"")).verdict == "ok"
    assert meaning_of("get", page(405)).verdict == "warning"
    assert meaning_of("get", page(404)).verdict == "problem"
    assert meaning_of("get", ours(404, "path")).verdict == "problem"
    assert meaning_of("get", page(301, location="/hooks/webhooks/")).verdict == "problem"


@pytest.mark.parametrize(
    ("secret", "is_one"),
    [
        ("short", True),
        ("whsec_changeme_changeme", True),
        ("WHSEC_YOUR_SECRET_HERE", True),
        ("xxxxxxxxxxxxxxxxxxxx", True),
        ("fifteen_letters", True),
        ("sixteen__letters", False),
        ("w7GkQe2mY9sVbT4rN1uX", False),
    ],
)
def test_what_can_be_guessed(secret: str, is_one: bool) -> None:
    """Placeholders in any case, and what is too short."""
    assert is_guessable(secret) == is_one
