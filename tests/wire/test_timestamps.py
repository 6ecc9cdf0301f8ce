"""Every format of time met on the wire, as integer microseconds."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.wire.timestamps import EPOCH, format_ms, from_us, moment_ms, parse_us, ulid_time_us

S = 1_000_000


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        ("2021-06-25T19:07:33.155Z", 1_624_648_053_155_000),
        ("2023-04-28 20:05:31.093", 1_682_712_331_093_000),
        ("2020-05-06 04:21:48.649164", 1_588_738_908_649_164),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * S),
        ("2023-11-14T22:13:20", 1_700_000_000 * S),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000 * S),
        ("2023-11-15T00:13:20+0200", 1_700_000_000 * S),
        ("2023-11-15T00:13:20+02", 1_700_000_000 * S),
        ("2023-11-14T16:43:20.000-05:30", 1_700_000_000 * S),
        ("2023-11-14 22:13:20.5+00:00", 1_700_000_000 * S + 500_000),
        ("2023-11-14T22:13:20-00:00", 1_700_000_000 * S),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000 * S + 123_456),
        ("2020-05-04", 1_588_550_400 * S),
        ("2020-02-29T00:00:00Z", 1_582_934_400 * S),
        ("1969-12-31T23:59:59.999Z", -1_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * S),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_800 * S - 1),
    ],
)
def test_formats_of_the_field(text: str, us: int) -> None:
    """Each format is read to the microsecond; no zone means UTC."""
    assert parse_us(text) == us


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "now",
        "1700000000",
        "2023-11-14T22:13",
        "2023-11-14T22",
        "2023-11-14t22:13:20z",
        "2023-11-14T22:13:20z",
        "2023-11-14T22:13:20 Z",
        "2023-11-14T22:13:20.Z",
        "2023-11-14T22:13:20,5Z",
        "2023-11-14T22:13:20.1234567890Z",
        "2023-11-14  22:13:20",
        "2023-11-14T22:13:20Z\n",
        " 2023-11-14T22:13:20Z",
        "20231114T221320Z",
        "2023-W46-2",
        "2023-318",
        "23-11-14",
        "2023-11-14Z",
        "2023-11-14T24:00:00Z",
        "2023-11-14T23:60:00Z",
        "2023-12-31T23:59:60Z",
        "2023-11-14T22:13:20+24:00",
        "2023-11-14T22:13:20+02:60",
        "2023-02-29",
        "2023-13-01",
        "2023-00-10",
        "2023-01-00",
        "0000-01-01",
        "10000-01-01",
        "-2023-11-14",
        "２０２３-11-14",
        "2023-11-14T22:13:2٠Z",
        "2023-11-14T22:13:20Z" + "0" * 10_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """What has none of these shapes, or names no date, is a ValueError that quotes little of it."""
    with pytest.raises(ValueError, match="expected a") as caught:
        parse_us(text)

    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-00:01"])
def test_no_offset_leads_out_of_the_calendar(text: str) -> None:
    """A time that could not be written again in UTC is refused when it is read."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        parse_us(text)


@given(st.text(max_size=40))
def test_no_text_makes_anything_but_value_error(text: str) -> None:
    """Whatever the text, the answer is a number or a ValueError."""
    with contextlib.suppress(ValueError):
        assert isinstance(parse_us(text), int)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(minutes=345))])))
def test_reading_agrees_with_datetime(moment: datetime) -> None:
    """Any aware datetime written by Python reads as its distance from 1970."""
    assert parse_us(moment.isoformat()) == (moment - EPOCH) // timedelta(microseconds=1)


@given(st.datetimes(timezones=st.just(UTC)))
def test_writing_cuts_to_milliseconds(moment: datetime) -> None:
    """What is written reads back as the same time without its microseconds."""
    us = (moment - EPOCH) // timedelta(microseconds=1)
    text = format_ms(us)

    assert len(text) == len("2021-06-25T19:07:33.155Z")
    assert parse_us(text) == us - us % 1000


@pytest.mark.parametrize("us", [10**20, -(10**20), 253_402_300_800 * S])
def test_no_calendar_beyond_the_year_9999(us: int) -> None:
    """Times without a date are a ValueError, never an OverflowError."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        format_ms(us)
    with pytest.raises(ValueError, match="years 1 to 9999"):
        from_us(us)


@pytest.mark.parametrize(
    ("object_id", "text"),
    [
        ("event_01J44T8116Q5M0RYCFA6KWNXN9", "2024-07-31T16:33:49.606Z"),
        ("wh_01FG9JXJ9C9S052FX59JVG4EG1", "2021-09-23T15:03:25.740Z"),
        ("event_01HF000000000000000000000A", "2023-11-11T20:08:27.392Z"),
        ("directory_user_01E1X1B89NH8Z3SDFJR4H7RGX7", "2020-02-25T02:03:22.805Z"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "2016-07-30T23:54:10.259Z"),
        ("event_01j44t8116q5m0rycfa6kwnxn9", "2024-07-31T16:33:49.606Z"),
    ],
)
def test_an_id_knows_its_time(object_id: str, text: str) -> None:
    """The ULID an id ends in gives the millisecond it was made, whatever its prefix."""
    us = ulid_time_us(object_id)

    assert us is not None
    assert format_ms(us) == text


@pytest.mark.parametrize(
    "object_id",
    [
        "",
        "event_",
        "event_1",
        "meow_123",
        "event_01J44T8116Q5M0RYCFA6KWNXN",
        "event_01J44T8116Q5M0RYCFA6KWNXN99",
        "event_81J44T8116Q5M0RYCFA6KWNXN9",
        "event_01J44T8116Q5M0RYCFA6KWNXNU",
        "event_7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "event_01J44T8116Q5M0RYCFA6KWNXN9\n",
        "event-01J44T8116Q5M0RYCFA6KWNXN9",
        "event_０1J44T8116Q5M0RYCFA6KWNXN9",
        "ſvent_01J44T8116Q5M0RYCFA6KWNXN9",
    ],
)
def test_ids_without_a_time(object_id: str) -> None:
    """No ULID at the end, or one beyond every calendar: no time."""
    assert ulid_time_us(object_id) is None


def test_ulid_times_agree_with_a_foreign_reader() -> None:
    """The `python-ulid` package reads the same moments from the same ids."""
    ulid = pytest.importorskip("ulid")

    for text in ("01J44T8116Q5M0RYCFA6KWNXN9", "01FG9JXJ9C9S052FX59JVG4EG1", "0000000001ZZZZZZZZZZZZZZZZ"):
        assert ulid_time_us(f"event_{text}") == ulid.ULID.from_str(text).milliseconds * 1000


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("90s", 1_700_000_000_000 - 90_000),
        ("2h", 1_700_000_000_000 - 7_200_000),
        ("3d", 1_700_000_000_000 - 3 * 86_400_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
    ],
)
def test_a_moment_is_a_time_or_an_age(text: str, expected_ms: int) -> None:
    assert moment_ms(text, 1_700_000_000_000) == expected_ms


@pytest.mark.parametrize("text", ["", "h", "2w", "-1h", "2 h", "now"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        moment_ms(text, 0)
