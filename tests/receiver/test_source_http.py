"""What is asked of a source, and what is believed of its answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hookline.errors import ConfigError, SourceError, SourceReason
from hookline.receiver.source import WORKOS_URL, FeedEvent, Found, Gone, Page
from hookline.receiver.source_http import UNPACED, VOUCHED_MS, Answered, HttpSource, Pace
from hookline.testing.clock import TurnedClock

KEY = "sk_test_of_the_source_0123456789"
NOW_MS = 1_790_000_000_000
URL = "https://api.source.test"
PERSON = "ada.lovelace@example.com"


class Source:
    """Answers in process: what `answers` holds, one after the other, the last one ever again."""

    def __init__(self, *answers: Answered | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.headers: Mapping[str, str] = {}
        self.asked_ms: list[int] = []
        self.clock = TurningClock(NOW_MS)

    def exchange(self, method: str, target: str, headers: Mapping[str, str]) -> Answered:
        assert method == "GET"
        self.asked.append(target)
        self.asked_ms.append(self.clock.now_ms())
        self.headers = headers
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def api(self, url: str = URL, pace: Pace | None = None) -> HttpSource:
        return HttpSource(url, KEY, clock=self.clock, exchange=self.exchange, pace=pace)


class TurningClock(TurnedClock):
    """Turns to whatever is waited for."""

    def wait_until(self, due_ms: int | None, wake: threading.Event) -> None:
        assert due_ms is not None
        self.set(max(due_ms, self.now_ms()))


def answered(found: object, status: int = 200, **headers: str) -> Answered:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answered(status, {"content-type": "application/json", **named}, json.dumps(found).encode())


def listed(*items: object, after: str | None = None) -> Answered:
    metadata = {"before": None, "after": after}
    return answered({"object": "list", "data": items, "list_metadata": metadata})


def user(number: int, **fields: Any) -> dict[str, Any]:
    return {"object": "directory_user", "id": f"directory_user_{number:02}", "email": PERSON, **fields}


def event(number: int) -> dict[str, Any]:
    return {"object": "event", "id": f"event_{number:02}", "event": "dsync.user.created", "data": user(number)}


GONE = answered({"code": "entity_not_found", "message": f"No user {PERSON}"}, 404)
HTML = Answered(200, {"content-type": "text/html"}, b"<!doctype html><title>Sign in</title>")


# -- what is asked -------------------------------------------------------------------------------------------------


def test_a_page_is_asked_for_with_its_filters_its_cursor_and_the_key() -> None:
    source = Source(listed(user(3), user(4), after="directory_user_04"))
    page = source.api(f"{URL}/proxied/").page(
        "directory_user", {"directory": "directory_1&x"}, after="directory_user_02"
    )
    assert page == Page((user(3), user(4)), "directory_user_04", NOW_MS * 1_000)
    parts = urlsplit(source.asked[0])
    assert parts.path == "/proxied/directory_users"
    assert parse_qs(parts.query) == {
        "directory": ["directory_1&x"],
        "limit": ["100"],
        "after": ["directory_user_02"],
    }
    assert source.headers["Authorization"] == f"Bearer {KEY}"


def test_the_last_page_has_no_cursor_and_may_be_empty() -> None:
    source = Source(listed(user(1)), listed())
    api = source.api()
    assert api.page("directory_user", {}).after is None
    assert api.page("directory_user", {}).items == ()
    assert api.outcomes == {"ok": 2}


def test_an_object_is_asked_for_by_its_id_whatever_that_holds() -> None:
    source = Source(answered({"object": "organization", "id": "org/../1?x"}))
    assert source.api().get("organization", "org/../1?x") == Found(
        {"object": "organization", "id": "org/../1?x"}, NOW_MS * 1_000
    )
    assert source.asked == ["/organizations/org%2F..%2F1%3Fx"]


@pytest.mark.parametrize("id_", ["", ".", ".."])
def test_an_id_that_would_lead_to_the_list_is_not_asked_for(id_: str) -> None:
    source = Source(listed())
    with pytest.raises(SourceError, match="no id to ask for"):
        source.api().get("directory_user", id_)
    assert source.asked == []


def test_events_keep_the_bytes_they_have_in_the_list() -> None:
    first = b'{ "id":"event_01", "event":"x.y","data":{"amount":1.0,"caf\\u00e9":1e3}}'
    body = b'{"object":"list","data":[' + first + b',{"event":"x.z","id":"event_02"}],"list_metadata":{"after":null}}'
    source = Source(Answered(200, {}, body))
    page = source.api().events(["x.y", "x.z"], after="event_00")
    assert page.events == (
        FeedEvent("event_01", "x.y", first),
        FeedEvent("event_02", "x.z", b'{"event":"x.z","id":"event_02"}'),
    )
    assert not page.has_more
    query = parse_qs(urlsplit(source.asked[0]).query)
    assert query == {"events": ["x.y,x.z"], "limit": ["100"], "order": ["asc"], "after": ["event_00"]}


def test_events_since_a_time_and_from_the_beginning() -> None:
    source = Source(listed(event(1), after="event_01"))
    api = source.api()
    assert api.events(["dsync.user.created"], since_us=1_790_000_000_123_999).has_more
    api.events(["dsync.user.created"])
    first, second = (parse_qs(urlsplit(target).query) for target in source.asked)
    assert first["range_start"] == ["2026-09-21T14:13:20.123Z"]
    assert "range_start" not in second
    assert "after" not in second


# -- when ----------------------------------------------------------------------------------------------------------


def test_what_is_asked_is_dated_in_the_sources_time() -> None:
    source = Source(listed())
    # The source's clock is 90.4 s behind ours.
    headers = {"date": format_datetime(datetime.fromtimestamp(NOW_MS // 1_000 - 91, UTC), usegmt=True)}
    source.answers = [Answered(200, headers, listed().body)]
    requested_us = source.api().page("directory", {}).requested_us
    assert NOW_MS * 1_000 - 91_500_000 <= requested_us <= NOW_MS * 1_000 - 90_400_000


def test_a_clock_that_is_days_wrong_is_no_ground_to_judge_by() -> None:
    headers = {"date": format_datetime(datetime.fromtimestamp(NOW_MS // 1_000 - 300_000, UTC), usegmt=True)}
    source = Source(Answered(200, headers, listed().body))
    with pytest.raises(SourceError, match="set the clock") as caught:
        source.api().page("directory", {})
    assert caught.value.reason == "nonsense"


def test_the_pace_is_kept_and_users_of_each_directory_have_their_own() -> None:
    source = Source(listed())
    api = source.api(pace=Pace(per_s=100, users_per_s=4))
    for _ in range(3):
        api.page("directory_user", {"directory": "directory_1"})
    assert [at_ms - NOW_MS for at_ms in source.asked_ms] == [0, 250, 500]
    api.page("directory_user", {"directory": "directory_2"})
    api.page("directory_group", {"directory": "directory_1"})
    assert [at_ms - NOW_MS for at_ms in source.asked_ms[3:]] == [510, 520]
    api.page("directory_user", {"directory": "directory_1"})
    assert source.asked_ms[-1] - NOW_MS == 750


def test_workos_itself_is_asked_slowly_unless_told_otherwise_and_others_are_not() -> None:
    for url, pace, gap_ms in (
        (WORKOS_URL, None, 250),
        (WORKOS_URL, UNPACED, 0),
        (URL, None, 0),
        (URL, Pace(users_per_s=2), 500),
    ):
        source = Source(listed())
        api = HttpSource(url, KEY, clock=source.clock, pace=pace)
        api._exchange = source.exchange
        for _ in range(2):
            api.page("directory_user", {"group": "directory_group_1"})
        assert source.asked_ms[1] - source.asked_ms[0] == gap_ms, (url, pace)


def test_who_waits_for_the_pace_is_told_when_it_is_closed() -> None:
    source = Source(listed())
    api = source.api(pace=Pace(per_s=0.001))
    api.page("directory", {})
    api.close()
    with pytest.raises(SourceError, match="closed") as caught:
        api.page("directory", {})
    assert caught.value.reason == "unavailable"
    assert len(source.asked) == 1


# -- what is no answer ---------------------------------------------------------------------------------------------


def reason_of(answer: Answered | Exception, **asked: Any) -> SourceError:
    """How a page, an object or events (`asked` says which) come to nothing with this answer."""
    source = Source(answer)
    api = source.api()
    with pytest.raises(SourceError) as caught:
        if "id_" in asked:
            api.get("directory_user", asked["id_"])
        elif "types" in asked:
            api.events(asked["types"], after=asked.get("after"))
        else:
            api.page("directory_user", {"directory": "directory_1"}, after=asked.get("after"))
    message = str(caught.value)
    assert KEY not in message
    assert PERSON not in message
    assert api.outcomes == {caught.value.reason: 1}
    assert len(source.asked) == 1, "asked once: waiting is the caller's"
    return caught.value


@pytest.mark.parametrize(
    ("answer", "reason", "wait_s"),
    [
        (Answered(429, {"retry-after": "7"}, b'"Ratelimited"'), "rate_limited", 7),
        (Answered(429, {}, b'"Ratelimited"'), "rate_limited", None),
        (Answered(429, {"retry-after": "Mon, 21 Sep 2026 14:13:50 GMT"}, b"slow down"), "rate_limited", 30),
        (answered({"message": "Unauthorized"}, 401), "unauthorized", None),
        (answered({"message": "no"}, 403), "unauthorized", None),
        (answered({"message": f"no {PERSON}"}, 404), "refused", None),
        (answered({"code": "x", "message": PERSON}, 422), "refused", None),
        (answered({"message": PERSON}, 400), "refused", None),
        (Answered(500, {}, b""), "unavailable", None),
        (Answered(503, {"retry-after": "30"}, HTML.body), "unavailable", 30),
        (Answered(302, {"location": "https://elsewhere.test/"}, b""), "nonsense", None),
        (Answered(204, {}, b""), "nonsense", None),
        (HTML, "nonsense", None),
        (Answered(200, {}, b""), "nonsense", None),
        (Answered(200, {}, listed(user(1)).body[:-9]), "nonsense", None),
        (Answered(200, {}, b'{"data":[' + b"[" * 100_000), "nonsense", None),
        (Answered(200, {}, listed(user(1, email="\xff")).body.replace(b"\\u00ff", b"\xff")), "nonsense", None),
        (answered([user(1)]), "nonsense", None),
        (answered({"data": [user(1)]}), "nonsense", None),
        (answered({"data": [user(1)], "list_metadata": {}}), "nonsense", None),
        (answered({"data": [user(1)], "list_metadata": {"after": 7}}), "nonsense", None),
        (answered({"data": [user(1)], "list_metadata": {"after": ""}}), "nonsense", None),
        (answered({"data": [user(1)], "list_metadata": {"after": "user\x00"}}), "nonsense", None),
        (answered({"data": None, "list_metadata": {"after": None}}), "nonsense", None),
        (answered({"data": [PERSON], "list_metadata": {"after": None}}), "nonsense", None),
        (listed({"email": PERSON}), "nonsense", None),
        (listed({"id": 7, "email": PERSON}), "nonsense", None),
        (listed({"id": "", "email": PERSON}), "nonsense", None),
        (listed({**user(1), "object": "directory_group"}), "nonsense", None),
        (listed(*(user(number) for number in range(101))), "nonsense", None),
        (listed(user(1), user(1)), "nonsense", None),
        (ConnectionResetError(104, "Connection reset by peer"), "unavailable", None),
        (TimeoutError("timed out"), "unavailable", None),
        (SourceError("nonsense", "answered more than 32 bytes"), "nonsense", None),
    ],
)
def test_what_is_no_answer_is_evidence_of_nothing(
    answer: Answered | Exception, reason: SourceReason, wait_s: float | None
) -> None:
    error = reason_of(answer)
    assert (error.reason, error.retry_after_s) == (reason, wait_s)


@pytest.mark.parametrize(
    "answer",
    [
        listed(user(5), after="directory_user_04"),
        listed(user(5), user(4), after="directory_user_05"),
    ],
)
def test_a_cursor_that_leads_back_to_itself_is_nonsense(answer: Answered) -> None:
    assert "circle" in str(reason_of(answer, after="directory_user_04"))


def test_errors_say_by_what_the_sources_people_find_them() -> None:
    error = reason_of(answered({"code": "invalid_filter", "message": PERSON}, 422, x_request_id="req_01H"))
    assert str(error) == "GET /directory_users: answered 422 (invalid_filter, request req_01H)"
    told = reason_of(answered({"code": f"{PERSON} is it", "message": ""}, 422, x_request_id=f"<{PERSON}>"))
    assert str(told) == "GET /directory_users: answered 422"


@pytest.mark.parametrize(
    "answer",
    [
        answered({**user(1), "object": "directory_group"}),
        answered(user(2)),
        answered([user(1)]),
        HTML,
    ],
)
def test_another_object_than_the_one_asked_for_is_nonsense(answer: Answered) -> None:
    assert reason_of(answer, id_="directory_user_01").reason == "nonsense"


@pytest.mark.parametrize(
    "data",
    [
        [{"id": "event_01"}],
        [{"event": "x.y"}],
        [{"id": 1, "event": "x.y"}],
        [{"id": "", "event": "x.y"}],
        [{"id": "event_01", "event": ""}],
        ["event_01"],
        [{"id": "event_\x00", "event": "x.y"}],
        [event(1), event(1)],
        [event(number) for number in range(101)],
    ],
)
def test_what_is_no_event_is_nonsense(data: list[Any]) -> None:
    assert reason_of(listed(*data), types=["x.y"]).reason == "nonsense"


@pytest.mark.parametrize("name", ["id", "event"])
def test_an_event_in_no_encoding_is_nonsense(name: str) -> None:
    raw = listed({**event(1), name: "\xff"}).body.replace(b"\\u00ff", b"\xff")
    assert reason_of(Answered(200, {}, raw), types=["x.y"]).reason == "nonsense"


def test_more_events_after_none_are_nonsense() -> None:
    assert reason_of(listed(after="event_07"), types=["x.y"]).reason == "nonsense"


# -- what is gone --------------------------------------------------------------------------------------------------


def test_a_404_of_an_api_that_answers_is_a_death() -> None:
    source = Source(listed(user(1)), GONE)
    api = source.api()
    api.page("directory_user", {})
    assert api.get("directory_user", "directory_user_02") == Gone(NOW_MS * 1_000)
    assert len(source.asked) == 2
    assert api.outcomes == {"ok": 1, "gone": 1}


def test_a_404_is_believed_once_the_api_has_shown_itself_lately() -> None:
    source = Source(GONE, listed(), GONE, GONE, listed(), GONE)
    api = source.api()
    assert isinstance(api.get("directory_user", "directory_user_02"), Gone)
    assert source.asked[1:] == ["/directories?limit=1"]
    source.clock.advance(VOUCHED_MS)
    assert isinstance(api.get("directory_user", "directory_user_03"), Gone)
    assert len(source.asked) == 3
    source.clock.advance(1)
    source.answers = [GONE, listed(), GONE]
    assert isinstance(api.get("organization", "org_1"), Gone)
    assert source.asked[3:] == ["/organizations/org_1", "/organizations?limit=1"]


@pytest.mark.parametrize(
    "answer",
    [
        Answered(404, {"content-type": "text/html"}, b"<html>Not found</html>"),
        Answered(404, {}, b""),
        Answered(404, {}, b"Not found"),
        Answered(404, {}, b'"Not found"'),
        answered({"detail": "Not Found"}, 404),
    ],
)
def test_a_404_that_is_not_the_apis_own_word_is_no_death(answer: Answered) -> None:
    error = reason_of(answer, id_="directory_user_01")
    assert error.reason == "nonsense"
    assert "check the URL" in str(error)


@pytest.mark.parametrize("other", [GONE, HTML, Answered(503, {}, b""), listed({"id": "1", "object": "route"})])
def test_at_a_wrong_url_where_everything_is_a_404_nothing_is_dead(other: Answered) -> None:
    source = Source(GONE, other)
    with pytest.raises(SourceError):
        source.api().get("directory_user", "directory_user_01")


# -- the cursor of the feed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        answered({"message": "Validation failed.", "errors": [{"code": "invalid", "field": "after"}]}, 422),
        answered({"message": "Unknown cursor"}, 400),
        answered({"message": "Could not find event: 'event_07'."}, 404),
        answered({"code": "entity_not_found", "message": "No such event"}, 404),
    ],
)
def test_a_cursor_that_the_source_does_not_know_has_expired(answer: Answered) -> None:
    assert reason_of(answer, types=["x.y"], after="event_07").reason == "expired"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            answered({"message": "Validation failed.", "errors": [{"code": "invalid", "field": "events"}]}, 422),
            "refused",
        ),
        (Answered(404, {"content-type": "text/html"}, b"<html>nothing after this</html>"), "refused"),
        (answered({"message": "Validation failed.", "errors": 1}, 422), "refused"),
        (answered({"message": "no requests after midnight"}, 403), "unauthorized"),
        (answered({"message": "after"}, 500), "unavailable"),
    ],
)
def test_other_refusals_are_not_taken_for_an_expired_cursor(answer: Answered, reason: SourceReason) -> None:
    assert reason_of(answer, types=["x.y"], after="event_07").reason == reason


def test_without_a_cursor_none_can_have_expired() -> None:
    refused = answered({"message": "Validation failed.", "errors": [{"code": "invalid", "field": "after"}]}, 422)
    assert reason_of(refused, types=["x.y"]).reason == "refused"


# -- how it is made ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://api.source.test", KEY),
        ("ftp://api.source.test", KEY),
        ("https://user:secret@api.source.test", KEY),
        ("https://api.source.test/?a=b", KEY),
        ("https://api.source.test/caf\u00e9", KEY),
        ("https://api.source.test/a b", KEY),
        ("https://api.source.test:port", KEY),
        ("api.source.test", KEY),
        (URL, ""),
        (URL, "sk_with a space"),
        (URL, "sk_with\r\nX-Header: 1"),
        (URL, "sk_ünicode"),
    ],
)
def test_a_url_or_a_key_that_cannot_be_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HttpSource(url, key, clock=TurnedClock(NOW_MS))
    assert "secret" not in str(caught.value)
    assert not key or key not in str(caught.value)


def test_plain_http_elsewhere_is_for_development() -> None:
    HttpSource("http://api.source.test", KEY, clock=TurnedClock(NOW_MS), may_use_http=True).close()
    HttpSource("http://127.0.0.1:8080", KEY, clock=TurnedClock(NOW_MS)).close()
