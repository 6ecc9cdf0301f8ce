"""What every door does, whatever web app it is in."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hookline.adapters.settings import SOURCES, TAKEN
from hookline.receiver.app import Receiver
from hookline.receiver.handlers import Registry
from hookline.receiver.resources import EDGES, OPTIONAL, RESOURCES
from hookline.testing import sample_event
from hookline.testing.signed import signed_request
from hookline.wire.catalogue import CATALOGUE, sample_created_us
from hookline.wire.signature import HEADER, sign

from ..adapters.asgi_client import Answer
from ..apps import migrate_shop, rows_at
from ..wire.vectors import BY_NUMBER
from .fronts import FRONTS, Front

SECRET = "whsec_of_every_adapter"
TOKEN = "tok3n_of_every_adapter"
BODY = b'{"id":"event_1","event":"dsync.user.created","data":{"object":"directory_user","id":"user_1"}}'
TABLES = [*(one.table for one in RESOURCES.values()), *(one.table for one in EDGES.values())]
STORY = sorted(CATALOGUE, key=sample_created_us)

Open: TypeAlias = Callable[..., Front]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables, to copy."""
    path = tmp_path_factory.mktemp("contract") / "shop.db"
    migrate_shop(f"sqlite:///{path}")
    return path


@pytest.fixture
def url(template: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(template, tmp_path)}"


@pytest.fixture(params=FRONTS)
def opened(request: pytest.FixtureRequest, url: str) -> Iterator[Open]:
    """Opens the app with settings of the test's."""
    with contextlib.ExitStack() as stack:

        def made(at: str = url, **settings: Any) -> Front:
            given = {"WEBHOOK_SECRETS": [SECRET], **settings}
            return stack.enter_context(FRONTS[request.param](at, given))

        yield made


def post(front: Front, body: bytes = BODY, path: str | None = None, *, secret: str = SECRET, **more: Any) -> Answer:
    signed = signed_request(body, secret, timestamp_ms=time.time_ns() // 1_000_000)
    headers = {**signed.headers, **more.pop("headers", {})}
    return front.ask("POST", path or front.door, body=body, headers=headers, **more)


def told(answer: Answer) -> tuple[int, bytes]:
    assert "location" not in answer.headers
    return answer.status, answer.content


def kept(url: str) -> list[Any]:
    return [id_ for (id_,) in rows_at(url, "select event_id from hookline_inbox order by seq")]


def test_captured_bodies_are_kept_byte_for_byte(opened: Open, url: str) -> None:
    """As their source signed them, years ago; the third has the id of the second, and is flagged."""
    captured = [BY_NUMBER[number] for number in (1, 2, 3, 4)]
    front = opened(WEBHOOK_SECRETS=[one.secret for one in captured], WEBHOOK_TOLERANCE="36500d")

    answers = [
        front.ask("POST", front.door, body=one.body, headers={HEADER: one.header, "Content-Type": "application/json"})
        for one in captured
    ]

    assert [told(answer) for answer in answers] == [(200, b"")] * 4
    assert rows_at(url, "select body from hookline_inbox order by seq") == [(captured[at].body,) for at in (0, 1, 3)]
    assert rows_at(url, "select event_id, kind from hookline_inbox_repeats") == [
        (json.loads(captured[2].body)["id"], "conflict")
    ]


@pytest.fixture(scope="module")
def mirrored(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What the catalogue's samples become without any web app."""
    path = shutil.copy(template, tmp_path_factory.mktemp("reference"))
    with Receiver(f"sqlite:///{path}", secrets=[SECRET], mirror=OPTIONAL) as receiver:
        for name in STORY:
            signed = signed_request(sample_event(name), SECRET, timestamp_ms=time.time_ns() // 1_000_000)
            assert receiver.receive("POST", "/webhooks", signed.headers, signed.body, None)[0] == 200
        receiver.drain()
    return mirror_of(f"sqlite:///{path}")


def mirror_of(url: str) -> dict[str, list[Any]]:
    return {table: rows_at(url, f"select * from {table} order by 1, 2, 3") for table in TABLES}


def test_every_type_of_the_catalogue(opened: Open, url: str, mirrored: dict[str, list[Any]]) -> None:
    """Is kept, and makes the same rows as anywhere else."""
    front = opened(MIRROR=sorted(OPTIONAL))

    answers = {name: post(front, sample_event(name).raw).status for name in STORY}
    front.receiver.drain()

    assert answers == dict.fromkeys(STORY, 200)
    assert rows_at(url, "select type from hookline_inbox order by seq") == [(name,) for name in STORY]
    assert mirror_of(url) == mirrored


def test_a_repeat_is_answered_alike_and_kept_once(opened: Open, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers hear of it once."""
    front = opened()
    heard: list[str] = []
    monkeypatch.setattr(front.receiver, "handlers", Registry())  # Django's receiver is there for all tests
    front.receiver.on("dsync.user.created", name="contract")(lambda event, tx: heard.append(event.id))
    front.receiver.drain()

    answers = [post(front) for _ in range(3)]
    front.receiver.drain()

    assert [told(answer) for answer in answers] == [(200, b"")] * 3
    assert kept(url) == ["event_1"]
    assert heard == ["event_1"]


def old(body: bytes) -> dict[str, str]:
    return {HEADER: sign(body, SECRET, timestamp_ms=1_700_000_000_000)}


UNPROVED: Sequence[tuple[dict[str, Any], int, str]] = [
    ({"secret": "whsec_another"}, 401, "mismatch"),
    ({"headers": old(BODY)}, 401, "expired"),
    ({"headers": {HEADER: "t=1, v1=x"}}, 400, "malformed"),
    ({"headers": {HEADER: ""}}, 400, "missing"),
    ({"headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415, "content_type"),
    ({"headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 415, "content_type"),
]


def test_what_is_not_proved_leaves_a_count_and_nothing_else(opened: Open, url: str) -> None:
    """One word to the outside; no CSRF token, cookie or page is asked for or given."""
    front = opened()

    answers = [post(front, **changed) for changed, _, _ in UNPROVED]
    front.receiver.flush()

    assert [told(answer) for answer in answers] == [(status, f"{reason}\n".encode()) for _, status, reason in UNPROVED]
    assert {answer.headers["content-type"] for answer in answers} == {"text/plain; charset=utf-8"}
    assert not [answer.headers for answer in answers if "set-cookie" in answer.headers]
    assert kept(url) == []
    counted = rows_at(url, "select reason, sum(times) from hookline_rejections group by reason")
    assert dict(counted) == Counter(reason for _, _, reason in UNPROVED)


@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize(("size", "status"), [(3_000_000, 200), (3_000_001, 413), (9_000_000, 413)])
def test_bodies_are_counted(opened: Open, url: str, is_chunked: bool, size: int, status: int) -> None:
    """To the byte, whatever the framework has for a limit."""
    front = opened(MAX_BODY=3_000_000)

    answer = post(front, b'"' + b"x" * (size - 2) + b'"', is_chunked=is_chunked)

    assert told(answer) == (status, b"" if status == 200 else b"size\n")
    assert len(kept(url)) == (status == 200)


@pytest.mark.parametrize("slash", ["", "/"])
def test_both_spellings_of_the_path_are_the_door(opened: Open, url: str, slash: str) -> None:
    """Nothing is ever redirected, since senders do not follow; those who look first are answered, too."""
    front = opened()
    path = front.door + slash

    assert told(post(front, path=path)) == (200, b"")
    assert [told(front.ask(method, path)) for method in ("GET", "HEAD")] == [(200, b"")] * 2
    others = [front.ask(method, path) for method in ("PUT", "DELETE", "PATCH", "OPTIONS")]
    assert [told(answer) for answer in others] == [(405, b"method\n")] * 4
    assert {answer.headers["allow"] for answer in others} == {"GET, HEAD, POST"}
    assert kept(url) == ["event_1"]


def test_a_token_is_part_of_the_path(opened: Open, url: str) -> None:
    """Who does not know it learns nothing, by any method."""
    front = opened(PATH_TOKEN=TOKEN)

    wrong = [
        front.ask(method, f"{front.door}{rest}").status
        for rest in ("", "/", "/other", f"/{TOKEN}/more")
        for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS")
    ]
    right = [told(post(front, path=f"{front.door}/{TOKEN}{slash}")) for slash in ("", "/")]

    assert set(wrong) == {404}
    assert right == [(200, b"")] * 2
    assert kept(url) == ["event_1"]


def test_each_source_has_its_door_and_its_secret(opened: Open, url: str) -> None:
    """Below one path; a body is proved by the secret of the door it came to and by no other."""
    front = opened(
        WEBHOOK_SECRETS=None,
        SOURCES={
            "production": {"WEBHOOK_SECRETS": [SECRET], "MAX_BODY": len(BODY)},
            "staging": {"WEBHOOK_SECRETS": ["whsec_of_staging"], "PATH": "/webhooks/of/staging", "PATH_TOKEN": TOKEN},
        },
    )
    staging = f"{front.door}/of/staging"

    answers = [
        told(post(front, body, f"{front.door}{path}", secret=secret))
        for path, secret, body in [
            ("/production", SECRET, BODY),
            ("/production/", "whsec_of_staging", BODY),
            (f"/of/staging/{TOKEN}/", "whsec_of_staging", BODY),
            (f"/of/staging/{TOKEN}", SECRET, BODY),
            ("/production", SECRET, BODY + b" "),
            (f"/of/staging/{TOKEN}", "whsec_of_staging", BODY + b" "),
        ]
    ]
    elsewhere = {front.ask("GET", path).status for path in (front.door, staging, f"{front.door}/staging")}

    refused = (401, b"mismatch\n")
    assert answers == [(200, b""), refused, (200, b""), refused, (413, b"size\n"), (200, b"")]
    assert elsewhere == {404}
    assert rows_at(url, "select source, event_id from hookline_inbox order by seq") == [
        ("production", "event_1"),
        ("staging", "event_1"),
    ]


CALLERS: Sequence[tuple[str, str | None, bool]] = [
    ("203.0.113.7", None, True),
    ("203.0.113.8", None, False),
    ("10.0.0.1", "203.0.113.7", True),
    ("10.0.0.1", "203.0.113.7, 10.0.0.2", True),
    ("10.0.0.1", "203.0.113.7, 203.0.113.8", False),  # who came to the proxy says to be the source
    ("203.0.113.8", "203.0.113.7", False),  # and who came past it
]


def test_who_may_call(opened: Open) -> None:
    """By the connection's own address, or what trusted proxies say of it."""
    front = opened(ALLOWED_IPS=["203.0.113.7"], TRUSTED_PROXIES=["10.0.0.0/8"])

    answers = [
        told(post(front, headers={} if forwarded is None else {"X-Forwarded-For": forwarded}, peer=peer))
        for peer, forwarded, _ in CALLERS
    ]

    assert answers == [(200, b"") if may else (403, b"address\n") for _, _, may in CALLERS]


def test_a_length_without_its_body_is_not_taken_for_a_body(opened: Open, url: str) -> None:
    """Something before the door has read it: the operator is told, and the sender comes again."""
    front = opened()
    signed = signed_request(BODY, SECRET, timestamp_ms=time.time_ns() // 1_000_000)

    answer = front.ask("POST", front.door, headers={**signed.headers, "Content-Length": str(len(BODY))})
    front.receiver.flush()

    assert told(answer) == (503, b"consumed\n")
    assert rows_at(url, "select reason from hookline_rejections") == [("consumed",)]


def test_a_missing_secret_accepts_nothing(opened: Open, url: str) -> None:
    """It is configured wrongly, so the sender is to come again."""
    front = opened(WEBHOOK_SECRETS=None)

    answer = post(front)

    assert told(answer) == (503, b"no_secret\n")
    assert kept(url) == []


def test_a_database_that_is_away_keeps_the_apps_own_pages(opened: Open, tmp_path: Path) -> None:
    """503 to the sender, at once, and later again."""
    front = opened(f"sqlite:///{tmp_path}/missing/shop.db")

    answer = post(front)

    assert (told(answer), answer.headers["retry-after"]) == ((503, b"unavailable\n"), "5")
    if front.page is not None:
        assert b"open" in front.ask("GET", front.page).content


@pytest.mark.parametrize("page", ["django", "flask", "fastapi"])
def test_the_page_of_a_framework_names_every_key_of_its_settings(page: str) -> None:
    """A setting that is added is added there, too."""
    text = (Path(__file__).parents[2] / "docs" / f"{page}.md").read_text("utf-8")

    assert [key for key in (*TAKEN, SOURCES, "SOURCE", "MIRROR") if f"`{key}`" not in text] == []
