"""What a receiver asks of a source, answered by the sending end: over a socket, and in process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hookline.errors import SourceError
from hookline.loop import SystemClock
from hookline.receiver.source import EventPage
from hookline.receiver.source_http import HttpSource
from hookline.testing.clock import TurnedClock
from tests.receiver.sending import KEY, SendingEnd
from tests.sender.conftest import served

TYPES = ["dsync.user.created", "invoice.paid"]


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[SendingEnd]:
    with contextlib.closing(SendingEnd(tmp_path, TurnedClock(SystemClock().now_ms()))) as sending:
        yield sending


@pytest.fixture(params=["socket", "in process"])
def api(request: pytest.FixtureRequest, sending: SendingEnd) -> Iterator[HttpSource]:
    if request.param == "in process":
        yield sending.api()
        return
    with served(sending.app) as url, contextlib.closing(HttpSource(url, KEY, clock=SystemClock())) as api:
        yield api


def test_the_feed_is_read_page_by_page_to_its_tip_and_beyond(sending: SendingEnd, api: HttpSource) -> None:
    told = [("dsync.user.created", {"id": f"directory_user_{number}", "text": "Zoë"}) for number in range(205)]
    ids = sending.publish(*told)
    read: list[str] = []
    pages: list[EventPage] = []
    while not pages or pages[-1].has_more:
        pages.append(api.events(TYPES, after=read[-1] if read else None))
        read += [event.id for event in pages[-1].events]
    assert read == ids
    assert [len(page.events) for page in pages] == [100, 100, 5]
    assert {event.type for event in pages[0].events} == {"dsync.user.created"}
    assert msgspec.json.decode(pages[0].events[3].body)["data"] == told[3][1]

    assert api.events(TYPES, after=read[-1]).events == ()
    later = sending.publish(("invoice.paid", {"id": "x"}), ("not.asked.for", {"id": "x"}))
    tip = api.events(TYPES, after=read[-1])
    assert ([event.id for event in tip.events], tip.has_more) == (later[:1], False)
    assert all(0 <= page.requested_us // 1_000 <= SystemClock().now_ms() for page in pages)


def test_a_cursor_of_another_feed_has_expired(sending: SendingEnd, api: HttpSource) -> None:
    sending.publish(("invoice.paid", {"id": "x"}))
    with pytest.raises(SourceError) as caught:
        api.events(TYPES, after="event_01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert caught.value.reason == "expired"


def test_a_wrong_key_is_told_so(sending: SendingEnd) -> None:
    api = HttpSource("https://api.source.test", "sk_wrong", clock=sending.clock, exchange=sending.exchange)
    with pytest.raises(SourceError) as caught:
        api.events(TYPES)
    assert caught.value.reason == "unauthorized"
    assert "sk_wrong" not in str(caught.value)


def test_no_type_at_all_is_refused(api: HttpSource) -> None:
    with pytest.raises(SourceError) as caught:
        api.events([])
    assert caught.value.reason == "refused"
