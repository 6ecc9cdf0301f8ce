"""Payloads that attack the page: huge, of control characters, of turned text. They are shown, and do nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hookline.dashboard.app import Dashboard
from hookline.dashboard.payloads import MOST_SHOWN, lay_out
from hookline.receiver.app import Receiver
from hookline.testing import TurnedClock
from hookline.testing.signed import signed_request

from .browser import Browser
from .receiving import START_MS, Trail

SECRET = "whsec_of_hostile_payloads"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("hostile")
    clock = TurnedClock(START_MS)
    made = Receiver(f"sqlite:///{folder / 'receiver.db'}", secrets=[SECRET], max_body=8 * MIB, clock=clock)
    yield made
    made.close()


@pytest.fixture
def admin(receiver: Receiver) -> Iterator[Browser]:
    dashboard = Dashboard(accounts=Trail(), receiver=receiver, clock=receiver.clock)
    with Browser(dashboard) as browser:
        browser.cookies["hookline_session"] = "admin"
        yield browser


def _arrive(receiver: Receiver, body: bytes) -> None:
    request = signed_request(body, SECRET, timestamp_ms=START_MS)
    assert receiver.receive("POST", "/webhooks", request.headers, request.body, "127.0.0.1")[0] == 200
    receiver.drain()


def _event(id_: str, **data: object) -> bytes:
    value = {"id": id_, "event": "dsync.user.created", "data": data, "created_at": "2026-09-21T14:13:20.000Z"}
    return json.dumps(value).encode()


def test_five_megabytes_of_json_make_a_page_of_ordinary_size(receiver: Receiver, admin: Browser) -> None:
    notes = [{"note": f"<script>{number}</script>" * 4} for number in range(60_000)]
    body = _event("event_huge", object="directory_user", id="user_huge", directory_id="d", custom=notes)
    assert len(body) > 5 * MIB
    _arrive(receiver, body)
    for path in ("/dashboard/inbox/default/event_huge", "/dashboard/mirror/default/directory_user/user_huge"):
        for answer in (admin.get(path), admin.post(path, {"reveal": "1"})):
            assert answer.status == 200
            assert len(answer.content) < 40 * MOST_SHOWN, path
            assert "<script>" not in answer.text.partition("<main")[2]
        assert "characters." in answer.page.text


@pytest.mark.parametrize(
    ("number", "text"),
    list(
        enumerate(
            [
                "</textarea></pre></code><script>alert(1)</script>",
                '"><img src=x onerror=alert(1)>',
                "javascript:alert(1)",
                "{{ 7 * 7 }}{% raw %}",
                "invoice\u202egnp.exe\u2066\u200b",
                "before\u0000after\u001b[31m",
                "\ufeff\u00ad",
            ]
        )
    ),
)
def test_what_a_person_is_called_is_text(receiver: Receiver, admin: Browser, number: int, text: str) -> None:
    name = f"event_{number}"
    _arrive(receiver, _event(name, object="directory_user", id=f"user_{name}", directory_id="d", first_name=text))
    for path in (f"/dashboard/inbox/default/{name}", f"/dashboard/mirror/default/directory_user/user_{name}"):
        shown = admin.post(path, {"reveal": "1"})
        assert shown.status == 200
        main = shown.text.partition("<main")[2]
        for forbidden in ("<script", "<img", "</textarea>", "\u202e", "\u2066", "\u200b", "\0", "\x1b", "\ufeff"):
            assert forbidden not in main
        assert 'href="javascript:' not in main


def test_depth_is_shown_as_far_as_it_can_be() -> None:
    deep = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    assert lay_out(deep).shown > 0
