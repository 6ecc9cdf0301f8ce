"""The headers of Standard Webhooks: the grammar, whose signatures are taken, and the envelope that comes with them."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from hookline.errors import ConfigError, InvalidBody, InvalidSignature
from hookline.wire.event import Event, decode_envelope, decode_standard_envelope
from hookline.wire.standard import (
    StandardVerified,
    StandardVerifier,
    headers,
    key_of,
    parse_headers,
    secret_form,
)

NOW_MS = 1_700_000_000_000
KEY = b"thirty-two bytes of a shared key"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(b"another key that is as long as it").decode()
BODY = b'{"type":"dsync.user.created","timestamp":"2026-01-01T00:00:00Z","data":{"id":"directory_user_1"}}'
ID = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"
WRONG = "v1," + base64.b64encode(bytes(32)).decode()

Pairs = list[tuple[bytes, bytes]]


def signed(
    body: bytes = BODY, *, secret: str = SECRET, event_id: str = ID, now_ms: int = NOW_MS, **changes: Any
) -> Pairs:
    """What the foreign library signs, as a server hands it over; a header changed, or left out by None."""
    moment = dt.datetime.fromtimestamp(now_ms // 1000, dt.UTC)
    found: dict[str, str | None] = {
        "webhook-id": event_id,
        "webhook-timestamp": str(now_ms // 1000),
        "webhook-signature": Webhook(secret).sign(event_id, moment, body.decode()),
    }
    found |= {f"webhook-{name}": value for name, value in changes.items()}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in found.items() if value is not None]
    return [(b"content-type", b"application/json"), *pairs]


def verify(pairs: Pairs, body: bytes = BODY, *, now_ms: int = NOW_MS, **settings: Any) -> StandardVerified:
    return StandardVerifier(settings.pop("secrets", [SECRET]), **settings).verify(body, pairs, now_ms=now_ms)


def reason(pairs: Pairs, *args: Any, **settings: Any) -> str:
    with pytest.raises(InvalidSignature) as caught:
        verify(pairs, *args, **settings)
    return caught.value.reason


# -- signatures


def test_what_the_foreign_library_signs_is_taken() -> None:
    """Its id is what is proved along with the body."""
    assert verify(signed()) == StandardVerified(ID, NOW_MS, 0)
    assert verify(signed(), secrets=[OTHER, SECRET]) == StandardVerified(ID, NOW_MS, 1)


def test_what_our_sender_signs_is_taken() -> None:
    """With the form of its secret that it shows for this standard; one signature for each secret during a rotation."""
    shown, next_one = "whsec_as_it_is_shown_0001", "whsec_as_it_is_shown_0002"
    pairs = headers(BODY, "event_1", [shown.encode(), next_one.encode()], now_ms=NOW_MS + 999)
    sent = [(name.encode(), value.encode()) for name, value in pairs]

    for secret in (shown, next_one):
        assert verify(sent, secrets=[secret_form(secret)]) == StandardVerified("event_1", NOW_MS, 0)


@pytest.mark.parametrize("name", ["id", "timestamp"])
def test_id_and_timestamp_are_signed_too(name: str) -> None:
    """Nobody gives a captured delivery another id, or makes it young again."""
    changed: dict[str, Any] = {name: "1700000001"}

    assert reason(signed(**changed)) == "mismatch"


def test_every_one_bit_change_of_the_body_is_refused() -> None:
    """Whatever it means."""
    pairs = signed()
    for place in range(len(BODY) * 8):
        changed = bytearray(BODY)
        changed[place // 8] ^= 1 << place % 8
        assert reason(pairs, bytes(changed)) == "mismatch"


@pytest.mark.parametrize("header", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
def test_no_one_bit_change_of_a_header_is_taken(header: bytes) -> None:
    """Also none that base 64 would decode to the same bytes."""
    pairs = signed()
    [value] = [value for name, value in pairs if name == header]
    for place in range(len(value) * 8):
        changed = bytearray(value)
        changed[place // 8] ^= 1 << place % 8
        spoiled = [(name, bytes(changed) if name == header else value) for name, value in pairs]
        assert reason(spoiled) in {"mismatch", "malformed"}


@pytest.mark.parametrize(
    ("age_s", "tolerance_s", "answer"),
    [
        (180, 180, None),
        (181, 180, "expired"),
        (-180, 180, None),
        (-181, 180, "future"),
        (0, 0, None),
        (1, 0, "expired"),
        (10**6, None, None),
    ],
)
def test_tolerance_is_seconds_either_way(age_s: int, tolerance_s: float | None, answer: str | None) -> None:
    """As for the other scheme; and time is judged of genuine signatures alone."""
    pairs, now_ms = signed(), NOW_MS + age_s * 1000
    if answer is None:
        assert verify(pairs, now_ms=now_ms, tolerance_s=tolerance_s).timestamp_ms == NOW_MS
    else:
        assert reason(pairs, now_ms=now_ms, tolerance_s=tolerance_s) == answer
    assert reason(pairs, secrets=[OTHER], now_ms=now_ms, tolerance_s=tolerance_s) == "mismatch"


# -- the grammar


GOOD = dict(signed())[b"webhook-signature"].decode()


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"id": None}, "missing"),
        ({"timestamp": None}, "missing"),
        ({"signature": None}, "missing"),
        ({"signature": "  "}, "missing"),
        ({"id": ""}, "missing"),
        ({"signature": f"{WRONG} {GOOD}"}, None),
        ({"signature": f"v1a,whatever v2,{'x' * 99} {GOOD}"}, None),
        ({"signature": f"  {GOOD}  {WRONG} "}, None),
        ({"signature": WRONG}, "mismatch"),
        ({"signature": GOOD.replace("v1,", "v2,")}, "malformed"),
        ({"signature": GOOD.removeprefix("v1,")}, "malformed"),
        ({"signature": GOOD.rstrip("=")}, "malformed"),
        ({"signature": GOOD + "="}, "malformed"),
        ({"signature": "v1," + "é" * 44}, "malformed"),
        ({"signature": "v1," + "0" * 64}, "malformed"),
        ({"signature": f"v1,x {GOOD}"}, "malformed"),
        ({"signature": GOOD.replace(",", "=")}, "malformed"),
        ({"signature": GOOD.replace("v1,", "v1, ")}, "malformed"),
        ({"timestamp": "1700000000.0"}, "malformed"),
        ({"timestamp": "-1700000000"}, "malformed"),
        ({"timestamp": "17e8"}, "malformed"),
        ({"timestamp": "１７００００００００"}, "malformed"),
        ({"timestamp": "9" * 17}, "malformed"),
        ({"timestamp": "01700000000"}, "mismatch"),
        ({"id": "x" * 256}, "malformed"),
        ({"id": "a\x7fb"}, "malformed"),
        ({"id": "é"}, "malformed"),
    ],
    ids=repr,
)
def test_header_matrix(changes: dict[str, Any], answer: str | None) -> None:
    """Strict about what is understood, and blind to other versions."""
    changes = {name: _as_latin_1(value) for name, value in changes.items()}
    if answer is None:
        assert verify(signed(**changes)).event_id == ID
    else:
        assert reason(signed(**changes)) == answer


def _as_latin_1(value: str | None) -> Any:
    return None if value is None else value.encode().decode("latin-1")


def test_repeated_headers() -> None:
    """Signatures in several headers are one list; the same id twice is that id, and two different ones are nobody's."""
    pairs = signed(signature=WRONG)
    again = (b"webhook-signature", GOOD.encode())

    assert verify([*pairs, again, (b"webhook-id", ID.encode())]).event_id == ID
    assert reason([*pairs, again, (b"webhook-id", b"msg_other")]) == "malformed"
    assert reason([*pairs, again, (b"webhook-timestamp", b"1700000001")]) == "malformed"


NAMES = st.sampled_from([b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"host"])
PARTS = ["v1", "v1a", ",", " ", "=", ".", "A" * 43, GOOD, "1700000000", "\t", "é"]
GRAMMAR = st.lists(st.sampled_from(PARTS)).map("".join)
VALUES = st.binary(max_size=80) | GRAMMAR.map(lambda text: text.encode("latin-1"))
JSON = st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda value: json.dumps(value).encode())


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_no_header_makes_anything_else_escape(pairs: Pairs) -> None:
    """Whatever the bytes: a reason, and never another exception."""
    assert reason(pairs) in {"missing", "malformed", "mismatch"}


@given(st.binary(max_size=200), st.text("abcXYZ019_-.:/", min_size=1, max_size=255), st.integers(0, 10**13 - 1))
def test_what_is_signed_verifies(body: bytes, event_id: str, now_ms: int) -> None:
    """Every body, every id that is a name, at every time; ids with full stops, too."""
    pairs = [(name.encode(), value.encode()) for name, value in headers(body, event_id, [KEY], now_ms=now_ms)]

    assert verify(pairs, body, now_ms=now_ms) == StandardVerified(event_id, now_ms // 1000 * 1000, 0)


@given(GRAMMAR, GRAMMAR, GRAMMAR)
def test_what_parses_is_what_was_written(event_id: str, timestamp: str, signature: str) -> None:
    """Nothing is repaired: the parts that come out stand in the headers as they are."""
    pairs = signed(id=event_id, timestamp=timestamp, signature=signature)
    try:
        parsed = parse_headers(pairs)
    except InvalidSignature:
        return
    assert (parsed.event_id, parsed.timestamp_text) == (event_id.strip(" \t"), timestamp.strip(" \t"))
    assert parsed.digests
    assert all(f"v1,{digest}" in signature for digest in parsed.digests)


# -- secrets


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        base64.b64encode(KEY).decode(),
        "whsec_made_up_with_underscores",
        "whsec_" + "A" * 5,
        "whsec_====",
        "whsec_AA=A",
        "whpk_" + base64.b64encode(KEY).decode(),
    ],
)
def test_a_secret_that_is_none_is_a_wrong_setting(secret: str) -> None:
    """Said when the door is built, since no signature would ever hold; and never with the secret."""
    with pytest.raises(ConfigError) as refused:
        StandardVerifier([secret])

    assert refused.value.setting == "secrets"
    assert len(secret) < 8 or secret not in str(refused.value)


@pytest.mark.parametrize("length", range(1, 40))
def test_a_secret_may_lack_its_padding(length: int) -> None:
    """The foreign library takes both, too."""
    key = bytes(range(length))
    secret = "whsec_" + base64.b64encode(key).decode()

    assert key_of(secret) == key_of(secret.rstrip("=")) == key


def test_without_a_secret_nothing_is_accepted() -> None:
    """Nothing can be proved."""
    with pytest.raises(ConfigError, match="at least one"):
        verify(signed(), secrets=[])


def test_errors_hold_neither_secret_nor_digest() -> None:
    """They end in logs."""
    told = []
    for pairs in (signed(), signed(signature=GOOD + "x"), signed(signature=None), signed(id="é")):
        with pytest.raises(InvalidSignature) as caught:
            verify(pairs, secrets=[OTHER])
        told.append(str(caught.value))

    for text in told:
        assert OTHER[6:] not in text
        assert GOOD[3:20] not in text


# -- the envelope


def test_the_envelope_of_the_standard_is_read() -> None:
    """`type` and `timestamp`, and the id of the header."""
    event = Event.from_standard_bytes(BODY, ID)

    assert (event.id, event.type, event.data) == (ID, "dsync.user.created", {"id": "directory_user_1"})
    assert event.created_us == 1_767_225_600_000_000
    assert decode_standard_envelope(BODY, ID).type == "dsync.user.created"


def test_an_event_of_ours_may_come_that_way() -> None:
    """As from our own sender, which signs both ways; the id in the header is what is signed as such."""
    body = b'{"id":"event_1","event":"dsync.user.created","data":{},"created_at":"2026-01-01T00:00:00Z"}'
    event = Event.from_standard_bytes(body, ID)

    assert (event.id, event.type, event.created_us) == (ID, "dsync.user.created", 1_767_225_600_000_000)


def test_an_envelope_that_is_both_is_the_standards() -> None:
    """What a stranger calls `event` need not be a type; the door for WorkOS's scheme reads it the other way."""
    body = b'{"type":"user.created","event":"evt_1","data":{}}'

    assert decode_standard_envelope(body, ID).type == Event.from_standard_bytes(body, ID).type == "user.created"
    assert decode_envelope(body).type == Event.from_bytes(body).type == "evt_1"


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"type":"x"}', "not_event"),
        (b'{"type":"x","data":[]}', "not_event"),
        (b'{"type":1,"data":{}}', "not_event"),
        (b'{"type":"","data":{}}', "not_event"),
        (b'{"data":{}}', "not_event"),
        (b"[]", "not_event"),
        (b"no json", "not_json"),
        (b'{"type":"x","data":{"a":NaN}}', "not_json"),
        (b'{"type":"x","data":{"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}}", "not_json"),
        (b'{"type":"x","data":{"a":"\xff"}}', "encoding"),
        (b'{"type":"x","data":{"a":"\\ud800"}}', "encoding"),
    ],
)
def test_what_is_no_event_either_way_says_why(body: bytes, answer: str) -> None:
    """With the same reasons, at the door and in the worker."""
    for read in (decode_standard_envelope, Event.from_standard_bytes):
        with pytest.raises(InvalidBody) as caught:
            read(body, ID)
        assert caught.value.reason == answer


def test_a_number_beyond_range_is_found_by_the_worker() -> None:
    """The door leaves data undecoded, here as there."""
    body = b'{"type":"x","data":{"a":' + b"1" * 5_000 + b"}}"

    assert decode_standard_envelope(body, ID).type == "x"
    with pytest.raises(InvalidBody) as caught:
        Event.from_standard_bytes(body, ID)
    assert caught.value.reason == "not_json"


@given(st.binary(max_size=60) | JSON)
def test_no_body_makes_anything_else_escape(body: bytes) -> None:
    """Whatever the bytes."""
    for read in (decode_standard_envelope, Event.from_standard_bytes):
        try:
            read(body, ID)
        except InvalidBody:
            continue
