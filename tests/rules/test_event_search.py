"""The language of the event log: what each term says, and what is none."""

from __future__ import annotations

import pytest

from hookline.rules.event_search import EventSearch, NotASearch, parse_search

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EventSearch()),
        ("  type:dsync.user.*  ", EventSearch(type="dsync.user.*")),
        ("type:* status:failed", EventSearch(type="*", status="failed")),
        ("object:directory_user_01 endpoint:we_1", EventSearch(object_id="directory_user_01", endpoint_id="we_1")),
        ("code:5xx", EventSearch(codes=(500, 599))),
        ("code:404 origin:test", EventSearch(codes=(404, 404), origin="test")),
        ("since:2h", EventSearch(since_ms=NOW_MS - 7_200_000)),
        ("since:7d until:30s", EventSearch(since_ms=NOW_MS - 7 * 86_400_000, until_ms=NOW_MS - 30_000)),
        ("until:2023-11-14T22:13:20Z", EventSearch(until_ms=NOW_MS)),
        ("event_01ABC", EventSearch(any_id="event_01ABC")),
        ("id:event_01ABC", EventSearch(id="event_01ABC")),
        ("urn:uuid:1 type:a.b", None),
        ("URN:uuid:1", EventSearch(any_id="URN:uuid:1")),
        ("group_1/user_1", EventSearch(any_id="group_1/user_1")),
    ],
)
def test_what_a_search_says(text: str, expected: EventSearch | None) -> None:
    if expected is None:
        with pytest.raises(NotASearch):
            parse_search(text, NOW_MS)
    else:
        assert parse_search(text, NOW_MS) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("typ:x", "expected one of type:"),
        ("type:", "right after the colon"),
        ("type:a*b", "expected a type"),
        ("status:lost", "expected one of pending"),
        ("code:700", "expected a status"),
        ("code:5x", "expected a status"),
        ("since:yesterday", "expected 30s"),
        ("since:9999999h", "expected 30s"),
        ("type:a.b type:c.d", "expected it once"),
        ("one two", "expected it once"),
        ("x" * 501, "at most 500"),
    ],
)
def test_what_is_none(text: str, said: str) -> None:
    with pytest.raises(NotASearch, match=said):
        parse_search(text, NOW_MS)
