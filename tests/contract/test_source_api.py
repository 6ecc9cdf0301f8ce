"""What a receiver asks of a source, answered by the sending end: over a socket, and in process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hookline.errors import SourceError, SourceReason
from hookline.loop import SystemClock
from hookline.receiver.source import EventPage, Found, Gone
from hookline.receiver.source_http import HttpSource
from hookline.testing.clock import TurnedClock
from tests.receiver.sending import URL, Sending

TYPES = ["dsync.user.created", "invoice.paid"]


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Sending]:
    with Sending(tmp_path, TurnedClock(SystemClock().now_ms())) as sending:
        yield sending


@pytest.fixture(params=["socket", "in process"])
def api(request: pytest.FixtureRequest, sending: Sending) -> Iterator[HttpSource]:
    if request.param == "in process":
        yield sending.api()
        return
    with contextlib.closing(HttpSource(sending.url, sending.api_key, clock=sending.clock)) as api:
        yield api


def test_the_feed_is_read_page_by_page_to_its_tip_and_beyond(sending: Sending, api: HttpSource) -> None:
    told = [("dsync.user.created", {"id": f"directory_user_{number}", "text": "Zoë"}) for number in range(205)]
    ids = sending.publish_all(*told)
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
    later = sending.publish_all(("invoice.paid", {"id": "x"}), ("not.asked.for", {"id": "x"}))
    tip = api.events(TYPES, after=read[-1])
    assert ([event.id for event in tip.events], tip.has_more) == (later[:1], False)
    now_us = sending.clock.now_ms() * 1_000
    assert all(now_us - 1_100_000 < page.requested_us <= now_us for page in pages)


def test_a_time_to_begin_at_is_inclusive(sending: Sending, api: HttpSource) -> None:
    ids = []
    for _ in range(3):
        ids += sending.publish_all(("invoice.paid", {"id": "x"}))
        sending.clock.advance(1_000)
    since_us = (sending.clock.now_ms() - 2_000) * 1_000
    assert [event.id for event in api.events(TYPES, since_us=since_us).events] == ids[1:]


def test_lists_are_read_page_by_page_and_objects_one_by_one(sending: Sending, api: HttpSource) -> None:
    organization = sending.directories.create_organization(sending.environment, name="Acme")
    directory = sending.directories.create_directory(sending.environment, organization_id=organization.id, name="Okta")
    group = sending.directories.create_group(sending.environment, directory.id, idp_id="everybody", name="Everybody")
    users = [
        sending.directories.create_user(sending.environment, directory.id, idp_id=str(number)) for number in range(101)
    ]
    for one in users[:2]:
        sending.directories.add_member(sending.environment, directory.id, group.id, one.id)

    page = api.page("directory_user", {"directory": directory.id})
    assert page.after is not None
    rest = api.page("directory_user", {"directory": directory.id}, after=page.after)
    assert rest.after is None
    assert (len(page.items), len(rest.items)) == (100, 1)
    assert {item["id"] for item in (*page.items, *rest.items)} == {one.id for one in users}
    members = api.page("directory_user", {"group": group.id}).items
    assert {item["id"] for item in members} == {one.id for one in users[:2]}
    assert [item["id"] for item in api.page("directory_group", {"user": users[0].id}).items] == [group.id]
    assert [item["id"] for item in api.page("directory", {}).items] == [directory.id]
    assert [item["id"] for item in api.page("organization", {}).items] == [organization.id]

    for resource, made in (
        ("organization", organization),
        ("directory", directory),
        ("directory_group", group),
        ("directory_user", users[0]),
    ):
        found = api.get(resource, made.id)
        assert isinstance(found, Found)
        assert found.item["id"] == made.id
        assert isinstance(api.get(resource, f"{made.id}_no"), Gone)


@pytest.mark.parametrize("filters", [{"directory": "directory_none"}, {"group": "directory_group_none"}, {}])
def test_a_list_of_what_is_not_there_is_refused_and_not_empty(
    sending: Sending, api: HttpSource, filters: dict[str, str]
) -> None:
    """An empty list would be evidence that all of it is gone."""
    with pytest.raises(SourceError) as caught:
        api.page("directory_user", filters)
    assert caught.value.reason == "refused"


def test_a_cursor_of_another_feed_has_expired(sending: Sending, api: HttpSource) -> None:
    sending.publish_all(("invoice.paid", {"id": "x"}))
    with pytest.raises(SourceError) as caught:
        api.events(TYPES, after="event_01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert caught.value.reason == "expired"


@pytest.mark.parametrize(
    ("word", "reason", "wait_s"),
    [
        ("rate-limited/7", "rate_limited", 7),
        ("rate-limited", "rate_limited", None),
        ("status/401", "unauthorized", None),
        ("status/400", "refused", None),
        ("html", "nonsense", None),
        ("html/404", "refused", None),
        ("truncated", "nonsense", None),
        ("wrong-types", "nonsense", None),
        ("reset", "unavailable", None),
        ("cut", "unavailable", None),
        ("status/503", "unavailable", None),
    ],
)
def test_whatever_befalls_a_request_is_told_as_what_it_is(
    sending: Sending, word: str, reason: SourceReason, wait_s: float | None
) -> None:
    sending.directories.create_directory(sending.environment, organization_id=None, name="Okta")
    sending.faults.expect(word)
    api = sending.api()
    with pytest.raises(SourceError) as caught:
        api.page("directory", {})
    assert (caught.value.reason, caught.value.retry_after_s) == (reason, wait_s)
    assert len(api.page("directory", {}).items) == 1


def test_a_wrong_key_is_told_so(sending: Sending) -> None:
    api = HttpSource(URL, "sk_wrong", clock=sending.clock, exchange=sending.exchange)
    with pytest.raises(SourceError) as caught:
        api.events(TYPES)
    assert caught.value.reason == "unauthorized"
    assert "sk_wrong" not in str(caught.value)


def test_no_type_at_all_is_refused(api: HttpSource) -> None:
    with pytest.raises(SourceError) as caught:
        api.events([])
    assert caught.value.reason == "refused"
