"""What is an event, what is none and why, and that no bytes make anything else escape."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hookline.errors import InvalidBody, NotCanonical
from hookline.wire.canonical import MAX_DEPTH
from hookline.wire.event import MAX_NAME, Envelope, Event, decode_envelope, encode_event

from .vectors import BODY_B, BODY_C, BY_NUMBER


def body(data: bytes = b"{}", *, name: bytes = b'"event_1"', extra: bytes = b"") -> bytes:
    """A whole body around the bytes of `data`; `extra` holds further members, with their leading comma."""
    return b'{"id":' + name + b',"event":"a.b","data":' + data + extra + b"}"


def nested(depth: int) -> bytes:
    """`data` such that the body's brackets nest `depth` deep in all."""
    lists = depth - 2
    return body(b'{"x":' + b"[" * lists + b"]" * lists + b"}")


def reason(raw: bytes) -> str:
    """Why `Event.from_bytes` refuses; "ok" if it does not."""
    try:
        Event.from_bytes(raw)
    except InvalidBody as error:
        return error.reason
    return "ok"


def envelope_reason(raw: bytes) -> str:
    try:
        decode_envelope(raw)
    except InvalidBody as error:
        return error.reason
    return "ok"


# --- what is read -------------------------------------------------------------------------------------------


def test_a_captured_event() -> None:
    """Every part of a real body is where it belongs, and the bytes are kept."""
    raw = BY_NUMBER[2].body
    event = Event.from_bytes(raw)

    assert event.id == "event_01J44T8116Q5M0RYCFA6KWNXN9"
    assert event.type == "connection.activated"
    assert event.data["domains"][0]["domain"] == "foo-corp.com"
    assert event.created_us == 1_624_648_053_155_000
    assert event.created_at == datetime(2021, 6, 25, 19, 7, 33, 155_000, tzinfo=UTC)
    assert (event.object, event.context) == (None, None)
    assert event.raw is raw


def test_legacy_events() -> None:
    """Bodies of 2021 have `wh_` ids and no time, object or context."""
    for number, name in ((1, "wh_01FG9JXJ9C9S052FX59JVG4EG1"), (4, "wh_01FJ27WB8SNT7VN72KRMYJYV8P")):
        event = Event.from_bytes(BY_NUMBER[number].body)

        assert event.id == name
        assert (event.created_us, event.created_at, event.object, event.context) == (None, None, None, None)


def test_a_type_nobody_knows_is_an_event() -> None:
    """The vocabulary grows monthly; an unknown word is data."""
    assert Event.from_bytes(BY_NUMBER[3].body).type == "kitten.created"


def test_the_whole_envelope() -> None:
    """`object` and `context` are read where they come."""
    event = Event.from_bytes(
        body(extra=b',"object":"event","context":{"client_id":"c"},"created_at":"2023-11-14 22:13:20.000001"')
    )

    assert event.object == "event"
    assert event.context == {"client_id": "c"}
    assert event.created_us == 1_700_000_000_000_001


@pytest.mark.parametrize("raw", [vector.body for vector in BY_NUMBER.values() if vector.body])
def test_the_envelope_agrees_with_the_event(raw: bytes) -> None:
    """The door's quick look and the worker's decoding see the same names."""
    event, envelope = Event.from_bytes(raw), decode_envelope(raw)

    assert (envelope.id, envelope.type) == (event.id, event.type)


def test_the_envelope_keeps_the_text_of_created_at() -> None:
    """The time is handed on as it came, its escapes resolved."""
    raw = body(extra=rb',"created_at":"2023-11-14\u002022:13:20"')

    assert decode_envelope(raw) == Envelope("event_1", "a.b", "2023-11-14 22:13:20")


@pytest.mark.parametrize("created_at", ["null", "7", '"soon"', '""', "[]", "1e3", '"0001-01-01T00:00:00+10:00"'])
def test_an_unreadable_time_counts_as_missing(created_at: str) -> None:
    """The id's own time serves then; the event is not thrown away for it."""
    raw = body(extra=f',"created_at":{created_at}'.encode())

    assert Event.from_bytes(raw).created_us is None
    assert envelope_reason(raw) == "ok"


@pytest.mark.parametrize("value", [b"null", b"7", b'"x"', b"[1]"])
def test_a_context_or_object_of_another_kind_counts_as_missing(value: bytes) -> None:
    """Only an object is a context and only text is an `object`."""
    event = Event.from_bytes(body(extra=b',"context":' + value + b',"object":[' + value + b"]"))

    assert (event.context, event.object) == (None, None)


def test_an_event_without_id() -> None:
    """The id may be absent or null; the receiver then goes by the body's hash."""
    for raw in (b'{"event":"a.b","data":{}}', body(name=b"null")):
        assert Event.from_bytes(raw).id is None
        assert decode_envelope(raw).id is None


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
def test_raw_is_bytes_of_its_own(kind: type) -> None:
    """Whatever holder the bytes came in, the event keeps `bytes` nobody else can change."""
    event = Event.from_bytes(kind(BODY_B))

    assert type(event.raw) is bytes
    assert event.raw == BODY_B


def test_escapes_and_raw_characters_mean_the_same() -> None:
    """Two spellings of one body decode alike."""
    assert Event.from_bytes(BODY_B).data == Event.from_bytes(BODY_C).data == {"first_name": "Zoë 😀"}


def test_the_repr_shows_no_payload() -> None:
    """Tracebacks print events; what may be personal is not in there."""
    text = repr(Event.from_bytes(body(b'{"email":"ada@example.com"}', extra=b',"context":{"actor":"ada@example.com"}')))

    assert "a.b" in text
    assert "event_1" in text
    assert "ada" not in text


# --- hostile bodies -----------------------------------------------------------------------------------------

LONG = b"x" * 1_000_000

HOSTILE: list[tuple[str, bytes, str, str]] = [
    # what, body, the event's answer, the door's answer
    ("NUL, escaped", body(rb'{"a\u0000b":"a\u0000b"}'), "ok", "ok"),
    ("NUL, raw", body(b'{"a":"a\x00b"}'), "not_json", "not_json"),
    ("control character, raw", body(b'{"a":"a\nb"}'), "not_json", "not_json"),
    ("duplicate keys", body(b'{"a":1,"a":2}', extra=b',"id":"event_2"'), "ok", "ok"),
    ("duplicate data, last none", body(extra=b',"data":7'), "not_event", "not_event"),
    ("1 MB string", body(b'{"a":"' + LONG + b'"}'), "ok", "ok"),
    ("1 MB key", body(b'{"' + LONG + b'":1}'), "ok", "ok"),
    ("1 MB id", body(name=b'"' + LONG + b'"'), "not_event", "not_event"),
    ("1 MB unknown member", body(extra=b',"' + LONG + b'":1'), "ok", "ok"),
    ("line feed at the end", body() + b"\n", "ok", "ok"),
    ("spaces around", b" \t\r\n" + body() + b" ", "ok", "ok"),
    ("space before data", body(b" \n {}"), "ok", "ok"),
    ("junk at the end", body() + b"x", "not_json", "not_json"),
    ("two bodies", body() + body(), "not_json", "not_json"),
    ("NUL at the end", body() + b"\x00", "not_json", "not_json"),
    ("byte order mark", b"\xef\xbb\xbf" + body(), "not_json", "not_json"),
    ("UTF-16", body().decode().encode("utf-16"), "encoding", "encoding"),
    ("UTF-16 without mark", body().decode().encode("utf-16-le"), "not_json", "not_json"),
    ("Latin-1", body('{"a":"Zoë"}'.encode("latin-1")), "encoding", "encoding"),
    ("bad UTF-8 in a key", body(b'{"\xff":1}'), "encoding", "encoding"),
    ("bad UTF-8 in an unknown member", body(extra=b',"z":"\xff"'), "encoding", "encoding"),
    ("bad UTF-8 outside strings", b"\xff" + body(), "encoding", "encoding"),
    ("overlong UTF-8", body(b'{"a":"\xc0\xaf"}'), "encoding", "encoding"),
    ("surrogates as UTF-8", body(b'{"a":"\xed\xa0\x80"}'), "encoding", "encoding"),
    ("cut UTF-8", body(b'{"a":"\xf0\x9f\x98"}'), "encoding", "encoding"),
    ("lone high surrogate", body(rb'{"a":"\ud800"}'), "encoding", "encoding"),
    ("lone high surrogate, then text", body(rb'{"a":"\ud800abcdefgh"}'), "encoding", "encoding"),
    ("lone high surrogate, then an escape", body(rb'{"a":"\uD83D\n\u0041"}'), "encoding", "encoding"),
    ("two high surrogates", body(rb'{"a":"\ud83d\ud83d\ude00"}'), "encoding", "encoding"),
    ("lone low surrogate", body(rb'{"a":"\udc00"}'), "encoding", "encoding"),
    ("lone surrogate in a key", body(rb'{"\udfff":1}'), "encoding", "encoding"),
    ("lone surrogate in the type", rb'{"event":"\ud800","data":{}}', "encoding", "encoding"),
    ("a pair of surrogates", body(rb'{"a":"\ud83d\uDE00"}'), "ok", "ok"),
    ("a backslash before ud800", body(rb'{"a":"\\ud800"}'), "ok", "ok"),
    ("a backslash before ud800, broken elsewhere", body(rb'{"a":"\\ud800",}'), "not_json", "not_json"),
    ("a wrong escape", body(rb'{"a":"\x41"}'), "not_json", "not_json"),
    ("NaN", body(b'{"a":NaN}'), "not_json", "not_json"),
    ("Infinity", body(b'{"a":-Infinity}'), "not_json", "not_json"),
    ("leading zero", body(b'{"a":01}'), "not_json", "not_json"),
    ("comment", body(b'{"a":1/*b*/}'), "not_json", "not_json"),
    ("trailing comma", body(b'{"a":1,}'), "not_json", "not_json"),
    ("single quotes", body(b"{'a':1}"), "not_json", "not_json"),
    ("integer of 5,000 digits", body(b'{"a":' + b"9" * 5000 + b"}"), "not_json", "ok"),
    ("negative integer of 5,000 digits", body(b'{"a":[-' + b"9" * 5000 + b"]}"), "not_json", "ok"),
    ("integer of 5,000 digits, unknown member", body(extra=b',"z":' + b"9" * 5000), "ok", "ok"),
    ("integer of 5,000 digits as time", body(extra=b',"created_at":' + b"9" * 5000), "not_json", "ok"),
    ("integer of 400 digits", body(b'{"a":' + b"9" * 400 + b"}"), "ok", "ok"),
    ("number beyond a float", body(b'{"a":1e999}'), "not_json", "ok"),
    ("float of 5,000 digits", body(b'{"a":0.' + b"1" * 5000 + b"}"), "ok", "ok"),
    ("as deep as allowed", nested(MAX_DEPTH), "ok", "ok"),
    ("one deeper", nested(MAX_DEPTH + 1), "not_json", "not_json"),
    ("lists 100,000 deep", nested(100_000), "not_json", "not_json"),
    ("objects 100,000 deep", body(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "not_json", "not_json"),
    (
        "100,000 deep in an unknown member",
        body(extra=b',"z":' + b"[" * 100_000 + b"]" * 100_000),
        "not_json",
        "not_json",
    ),
    ("100,000 deep as id", body(name=b"[" * 100_000 + b"]" * 100_000), "not_event", "not_event"),
    ("100,000 opened, none closed", b"[" * 100_000, "not_event", "not_event"),
    ("100,000 opened in data, none closed", body(b'{"a":' + b"[" * 100_000), "not_json", "not_json"),
    ("100,000 side by side", body(b'{"a":[' + b",".join([b"[{}]"] * 100_000) + b"]}"), "ok", "ok"),
    ("100,000 brackets in a string", body(b'{"a":"' + rb"\"[{\\" * 100_000 + b'"}'), "ok", "ok"),
    ("nothing", b"", "not_json", "not_json"),
    ("spaces", b"  ", "not_json", "not_json"),
    ("cut in the middle", BY_NUMBER[2].body[:300], "not_json", "not_json"),
    ("form data", b"id=event_1&event=a.b", "not_json", "not_json"),
    ("text", b"hello", "not_json", "not_json"),
    ("null", b"null", "not_event", "not_event"),
    ("a string", b'"event"', "not_event", "not_event"),
    ("a number", b"7", "not_event", "not_event"),
    ("a list", b"[]", "not_event", "not_event"),
    ("a list of events", b"[" + body() + b"]", "not_event", "not_event"),
    ("an empty object", b"{}", "not_event", "not_event"),
    ("no event", b'{"id":"event_1","data":{}}', "not_event", "not_event"),
    ("event null", b'{"event":null,"data":{}}', "not_event", "not_event"),
    ("event a number", b'{"event":7,"data":{}}', "not_event", "not_event"),
    ("event empty", b'{"event":"","data":{}}', "not_event", "not_event"),
    ("event with a line feed", rb'{"event":"a\nb","data":{}}', "not_event", "not_event"),
    ("no data", b'{"id":"event_1","event":"a.b"}', "not_event", "not_event"),
    ("data null", body(b"null"), "not_event", "not_event"),
    ("data a list", body(b"[{}]"), "not_event", "not_event"),
    ("data a string", body(b'"{}"'), "not_event", "not_event"),
    ("data a number of 5,000 digits", body(b"9" * 5000), "not_event", "not_event"),
    ("id a number", body(name=b"7"), "not_event", "not_event"),
    ("id an object", body(name=b"{}"), "not_event", "not_event"),
    ("id true", body(name=b"true"), "not_event", "not_event"),
    ("id empty", body(name=b'""'), "not_event", "not_event"),
    ("id with NUL", body(name=rb'"a\u0000b"'), "not_event", "not_event"),
    ("id with a line feed", body(name=rb'"a\nb"'), "not_event", "not_event"),
    ("id as long as allowed", body(name=b'"' + b"x" * MAX_NAME + b'"'), "ok", "ok"),
    ("id one longer", body(name=b'"' + b"x" * (MAX_NAME + 1) + b'"'), "not_event", "not_event"),
]


@pytest.mark.parametrize(("raw", "event", "door"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_bodies(raw: bytes, event: str, door: str) -> None:
    """Each body gets the answer written beside it, from the event and from the door's quick look."""
    assert reason(raw) == event
    assert envelope_reason(raw) == door


def test_the_last_of_repeated_keys_counts() -> None:
    """Everywhere the same: in the envelope, in the event, in its data."""
    raw = body(b'{"a":1,"a":2}', extra=b',"id":"event_2","event":"c.d"')
    event = Event.from_bytes(raw)

    assert (event.id, event.type, event.data) == ("event_2", "c.d", {"a": 2})
    assert decode_envelope(raw) == Envelope("event_2", "c.d", None)


def test_depth_does_not_depend_on_the_caller() -> None:
    """What is too deep is so wherever it is called from, and what is not is decoded deep in a stack too."""

    def deep(frames: int) -> tuple[str, str]:
        if frames:
            return deep(frames - 1)
        return reason(nested(MAX_DEPTH)), reason(nested(MAX_DEPTH + 1))

    assert deep(0) == deep(500) == ("ok", "not_json")


def test_refusals_show_no_payload() -> None:
    """What is wrong is said without quoting the body."""
    for raw in (
        b'{"event":"a.b","data":{"email":"ada@example.com",}}',
        b'{"event":"a.b","data":"ada@example.com"}',
        b'{"event":"ada@example.com\\n","data":{}}',
        b'{"email":"ada@example.com"}',
        b'{"event":"a.b","data":{"email":"ada@example.com","n":1e999}}',
        b'{"event":"a.b","data":{"email":"ada@example.com\xff"}}',
    ):
        with pytest.raises(InvalidBody) as caught:
            Event.from_bytes(raw)

        assert "ada" not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.binary(max_size=300))
@example(b'{"event":"a","data":{"\\')
@example(b'{"event":"a","data":{}')
def test_no_bytes_make_anything_else_escape(raw: bytes) -> None:
    """Whatever the bytes, the answer is an event or an InvalidBody."""
    reason(raw)
    envelope_reason(raw)


_KEYS = st.sampled_from(["id", "event", "data", "created_at", "context", "object", "x"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(_KEYS, _VALUES), st.booleans())
def test_the_door_never_disagrees(value: dict[str, Any], ascii_only: bool) -> None:
    """What the door takes is an event or holds a number beyond range; what it refuses, so does the event."""
    try:
        raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        raw = b"\xff"
    door, event = envelope_reason(raw), reason(raw)

    assert door == event or (door, event) == ("ok", "not_json")


_PIECES = [
    *(b'"', b"\\", rb"\u", rb"\ud800", b"{", b"}", b"[", b"]", b":", b",", b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(
        b"9" * 20,
        b"e999",
        b"-",
        b".",
        b"tru",
        b"\n",
        b"NaN",
        b'"id":',
        b'"event":7',
        b'"data":[',
        b'"created_at":"\xed',
    ),
]


def test_damaged_bodies() -> None:
    """Real bodies with a few bytes broken, 20,000 of them: every one is an event or refused, at both places alike."""
    rng = random.Random(20_231_114)
    whole = [BODY_B, BODY_C, *(BY_NUMBER[number].body for number in (2, 3, 4))]
    answers: Counter[tuple[str, str]] = Counter()
    for _ in range(20_000):
        raw = bytearray(rng.choice(whole))
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(raw))
            raw[at : at + rng.randrange(4)] = rng.choice(
                (b"", rng.choice(_PIECES), bytes([raw[at] ^ 1 << rng.randrange(8)]))
            )
        answers[envelope_reason(bytes(raw)), reason(bytes(raw))] += 1

    assert set(answers) <= {
        ("ok", "ok"),
        ("encoding", "encoding"),
        ("not_json", "not_json"),
        ("not_event", "not_event"),
        ("ok", "not_json"),  # a number beyond range
    }
    assert min(answers[same, same] for same in ("ok", "encoding", "not_json", "not_event")) > 100


# --- writing ------------------------------------------------------------------------------------------------


def test_what_is_written_reads_back() -> None:
    """The body of a published event is canonical and holds everything it was made from."""
    raw = encode_event(
        event_id="event_01HF000000000000000000000A",
        event_type="dsync.user.created",
        data={"object": "directory_user", "first_name": "Zoë", "10": 1.0},
        created_us=1_700_000_000_123_456,
        context={"client_id": "client_1"},
    )

    assert raw.decode() == (
        '{"object":"event","id":"event_01HF000000000000000000000A","event":"dsync.user.created",'
        '"data":{"10":1,"object":"directory_user","first_name":"Zoë"},'
        '"created_at":"2023-11-14T22:13:20.123Z","context":{"client_id":"client_1"}}'
    )
    assert Event.from_bytes(raw).created_us == 1_700_000_000_123_000


def test_without_context_there_is_none() -> None:
    """No context, no member."""
    raw = encode_event(event_id="event_1", event_type="a.b", data={}, created_us=0)

    assert raw == b'{"object":"event","id":"event_1","event":"a.b","data":{},"created_at":"1970-01-01T00:00:00.000Z"}'


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"event_id": ""}, "id"),
        ({"event_id": "x" * (MAX_NAME + 1)}, "id"),
        ({"event_type": "a\nb"}, "event"),
        ({"event_type": "\ud800"}, "event"),
        ({"data": {"emails": [{"value": "\ud800"}]}}, "data.emails[0].value"),
        ({"context": {"n": 2**53}}, "context.n"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(changes: dict[str, Any], path: str) -> None:
    """A name or value the receiving side would refuse is refused here, with its path in the body."""
    whole: dict[str, Any] = {"event_id": "event_1", "event_type": "a.b", "data": {}, "created_us": 0}
    with pytest.raises(NotCanonical) as caught:
        encode_event(**whole | changes)

    assert caught.value.path == path


def test_a_time_without_a_date_is_not_written() -> None:
    """There is no way to write a moment after the year 9999."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        encode_event(event_id="event_1", event_type="a.b", data={}, created_us=10**18)
