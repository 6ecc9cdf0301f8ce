"""`verify` and `verify_signature`: one call for code that has its own door."""

from __future__ import annotations

import time

import pytest

from hookline.errors import ConfigError, InvalidBody, InvalidSignature, WebhookError
from hookline.receiver.verify import verify, verify_signature
from hookline.wire.signature import sign
from tests.wire.vectors import VECTORS, Vector

SECRET = "whsec_verify_secret_0001"
BODY = (
    b'{"id":"event_1","event":"dsync.user.created","data":{"id":"directory_user_1"},'
    b'"created_at":"2023-11-14T22:13:20.000Z"}'
)
NOW_MS = 1_700_000_000_000
HEADER = sign(BODY, SECRET, timestamp_ms=NOW_MS)


def test_bytes_in_event_out() -> None:
    """What is genuine is decoded, and keeps its bytes."""
    event = verify(BODY, HEADER, secrets=[SECRET], now_ms=NOW_MS)

    assert (event.id, event.type, event.data) == ("event_1", "dsync.user.created", {"id": "directory_user_1"})
    assert (event.created_us, event.raw) == (NOW_MS * 1000, BODY)


def test_without_a_time_the_machines_clock_counts() -> None:
    """A header of this moment holds and one of 2023 does not."""
    fresh = sign(BODY, SECRET, timestamp_ms=time.time_ns() // 1_000_000)

    assert verify(BODY, fresh, secrets=[SECRET]).id == "event_1"
    with pytest.raises(InvalidSignature) as caught:
        verify(BODY, HEADER, secrets=[SECRET])
    assert caught.value.reason == "expired"


@pytest.mark.parametrize("header", [HEADER, HEADER.encode(), [HEADER], (HEADER.encode(),), HEADER.replace(", ", ",")])
def test_headers_come_as_frameworks_give_them(header: str | bytes | list[str] | tuple[bytes, ...]) -> None:
    """Text, bytes or a list; with and without the space."""
    assert verify(BODY, header, secrets=[SECRET], now_ms=NOW_MS).id == "event_1"


@pytest.mark.parametrize("body", [BODY, bytearray(BODY), memoryview(BODY), BODY.decode()])
def test_bodies_come_as_frameworks_give_them(body: bytes | bytearray | memoryview | str) -> None:
    """Any bytes-like object; text counts as its UTF-8."""
    event = verify(body, HEADER, secrets=[SECRET], now_ms=NOW_MS)

    assert event.raw == BODY


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_published_vectors_hold(vector: Vector) -> None:
    """With the clock at their time, every vector that has a time is genuine."""
    verified = verify_signature(
        vector.body, vector.header, secrets=["other", vector.secret], now_ms=vector.timestamp_ms
    )

    assert (verified.timestamp_ms, verified.secret_index) == (vector.timestamp_ms, 1)


@pytest.mark.parametrize(
    ("body", "header", "reason"),
    [
        (BODY, None, "missing"),
        (BODY, "t=1", "malformed"),
        (BODY, "t=1, v1=é", "malformed"),
        (BODY + b" ", HEADER, "mismatch"),
        (BODY, sign(BODY, SECRET, timestamp_ms=NOW_MS - 180_001), "expired"),
        (BODY, sign(BODY, SECRET, timestamp_ms=NOW_MS + 180_001), "future"),
        (b"[]", sign(b"[]", SECRET, timestamp_ms=NOW_MS), "not_event"),
        (b"{", sign(b"{", SECRET, timestamp_ms=NOW_MS), "not_json"),
        (b'"\xff"', sign(b'"\xff"', SECRET, timestamp_ms=NOW_MS), "encoding"),
    ],
)
def test_one_family_for_whatever_comes_from_outside(body: bytes, header: str | None, reason: str) -> None:
    """`except WebhookError` is enough, and `.reason` tells what to answer."""
    with pytest.raises(WebhookError) as caught:
        verify(body, header, secrets=[SECRET], now_ms=NOW_MS)

    assert isinstance(caught.value, InvalidSignature | InvalidBody)
    assert caught.value.reason == reason


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_everything_is_refused(secrets: list[str]) -> None:
    """And as a mistake of ours, not as one of whoever sent it."""
    with pytest.raises(ConfigError):
        verify(BODY, HEADER, secrets=secrets, now_ms=NOW_MS)
