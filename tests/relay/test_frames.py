"""The messages of a relay: what goes in comes out, byte for byte, and what is no message says why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.errors import InvalidFrame
from hookline.relay.frames import (
    MOST_FRAME_BYTES,
    MOST_FROM_LISTENER_BYTES,
    Answer,
    Beat,
    Begin,
    Bye,
    Delivery,
    FromListener,
    FromServer,
    Hello,
    Start,
    decode_from_listener,
    decode_from_server,
    encode,
)

HEADERS = (("Content-Type", "application/json"), ("x-twice", "1"), ("X-Twice", "2"), ("empty", ""))


@given(body=st.binary(max_size=200))
def test_body_and_headers_arrive_as_they_are(body: bytes) -> None:
    sent = Delivery("7", "event_1", "dsync.user.created", "2026-01-01T00:00:00.000Z", HEADERS, body, is_missed=True)
    data = encode(sent)
    assert b"\n" not in data
    assert decode_from_server(data) == sent
    assert decode_from_server(data.decode()) == sent


@pytest.mark.parametrize("frame", [Start("ada@laptop", ("dsync.*",)), Begin("7"), Answer("7", "event_1", 200, 12)])
def test_what_a_listener_says(frame: FromListener) -> None:
    assert decode_from_listener(encode(frame)) == frame
    with pytest.raises(InvalidFrame, match="Invalid value"):
        decode_from_server(encode(frame))


@pytest.mark.parametrize(
    "frame", [Hello("s1", "production", "whsec_x", "9", 1), Beat("7", 1), Bye("stopping", "restarting", 1000)]
)
def test_what_a_server_says(frame: FromServer) -> None:
    assert decode_from_server(encode(frame)) == frame
    with pytest.raises(InvalidFrame, match="Invalid value"):
        decode_from_listener(encode(frame))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"type":"begin"}', "missing required field `after`"),
        (b'{"type":"begin","after":7}', r"Expected `str`, got `int` - at `\$.after`"),
        (b'{"type":"launch"}', "Invalid value 'launch'"),
        (b'{"type":"begin","after":"\xff"}', "utf-8|UTF-8"),
        (b"[" * 100_000, "Expected `object`|recursion"),
        (b" " * (MOST_FROM_LISTENER_BYTES + 1), "at most"),
        (b'{"type":"start","name":"a/b"}', r"matching regex .* at `\$.name`"),
        (b'{"type":"answer","cursor":"7","event_id":"event_1","status":99}', r">= 100 - at `\$.status`"),
    ],
)
def test_what_is_no_message_says_why(data: bytes, told: str) -> None:
    with pytest.raises(InvalidFrame, match=told):
        decode_from_listener(data)


def test_the_server_may_say_more_at_once() -> None:
    sent = Delivery("7", "event_1", "dsync.user.created", "2026-01-01T00:00:00.000Z", HEADERS, b"x" * 2 * 1024 * 1024)
    assert decode_from_server(encode(sent)) == sent
    with pytest.raises(InvalidFrame, match="at most"):
        decode_from_server(b" " * (MOST_FRAME_BYTES + 1))
