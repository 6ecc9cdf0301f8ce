"""Canonical bytes: a fixed point of JavaScript's JSON, or a refusal that names the place."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import IO, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hookline.errors import NotCanonical
from hookline.wire.canonical import MAX_DEPTH, MAX_INTEGER, canonical_bytes, loads_strict
from hookline.wire.event import Event

from .vectors import BODY_A, BODY_B, BODY_C, BY_NUMBER


class Colour(StrEnum):
    """Text with a class of its own."""

    RED = "red"


class Level(IntEnum):
    """A number with a class of its own."""

    HIGH = 3


class Plain(Enum):
    """Neither text nor number."""

    X = "x"


# --- what is written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        ((), "[]"),
        (None, "null"),
        (True, "true"),
        ([False, 0, 1], "[false,0,1]"),
        ({"a": [1, "b", None], "c": {"d": True}}, '{"a":[1,"b",null],"c":{"d":true}}'),
        ("Zoë 😀", '"Zoë 😀"'),
        ("a/b", '"a/b"'),
        ('"\\', '"\\"\\\\"'),
        ("\b\t\n\f\r", '"\\b\\t\\n\\f\\r"'),
        ("\x00\x01\x1f\x7f\x80\u2028\ufeff", '"\\u0000\\u0001\\u001f\x7f\x80\u2028\ufeff"'),
        (Colour.RED, '"red"'),
        ({Colour.RED: Level.HIGH}, '{"red":3}'),
        (MAX_INTEGER, "9007199254740991"),
        (-MAX_INTEGER, "-9007199254740991"),
        (1.0, "1"),
        (-1.0, "-1"),
        (0.0, "0"),
        (-0.0, "0"),
        (1e3, "1000"),
        (float(MAX_INTEGER), "9007199254740991"),
        (0.1, "0.1"),
        (-12.5, "-12.5"),
        (4503599627370495.5, "4503599627370495.5"),
        (0.001, "0.001"),
        (1e-4, "0.0001"),
        (1e-5, "0.00001"),
        (-1.5e-5, "-0.000015"),
        (1.234e-6, "0.000001234"),
        (1e-6, "0.000001"),
        (9.99e-7, "9.99e-7"),
        (1e-7, "1e-7"),
        (-1.5e-10, "-1.5e-10"),
        (5e-324, "5e-324"),
    ],
)
def test_spelling(value: object, text: str) -> None:
    """Each value has the one spelling JavaScript would give it."""
    assert canonical_bytes(value).decode() == text


def test_array_indexes_come_first() -> None:
    """JavaScript moves keys that are array indexes to the front, ascending; so do we, keeping the rest."""
    keys = ["b", "10", "2", "01", "-1", "4294967294", "4294967295", "0", "a", "²"]

    raw = canonical_bytes(dict.fromkeys(keys))

    assert list(json.loads(raw)) == ["0", "2", "10", "4294967294", "b", "01", "-1", "4294967295", "a", "²"]


def test_real_bodies_are_canonical_already() -> None:
    """What the source sends passes through unchanged, byte for byte; escapes and spaces do not."""
    for raw in (BODY_A, BODY_B, *(BY_NUMBER[number].body for number in (1, 2, 3, 4))):
        assert canonical_bytes(loads_strict(raw)) == raw
    assert canonical_bytes(loads_strict(BODY_C)) == BODY_B
    assert canonical_bytes(loads_strict(b' { "a" : [ 1.0 , "\\/" ] } \n')) == b'{"a":[1,"/"]}'


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "path", "why"),
    [
        (MAX_INTEGER + 1, "", "integer within"),
        ({"n": -MAX_INTEGER - 1}, "n", "integer within"),
        ({"data": {"n": 10**5000}}, "data.n", "integer within"),
        ({"n": 1e16}, "n", "integer within"),
        ({"n": 1e300}, "n", "integer within"),
        ({"n": math.nan}, "n", "got nan"),
        ({"n": [0, math.inf]}, "n[1]", "got inf"),
        ({"n": -math.inf}, "n", "got -inf"),
        ({"data": {"emails": [{"value": "\ud800"}]}}, "data.emails[0].value", "lone surrogate"),
        ({"a": {"\udfff": 1}}, "a['\\udfff']", "lone surrogate"),
        ({"a b": {"c.d": {"": object()}}}, "['a b']['c.d']['']", "got object"),
        ({"a": {1: 2}}, "a", "key of type int"),
        ({None: 2}, "", "key of type NoneType"),
        ({"a": {b"k": 2}}, "a", "key of type bytes"),
        ({"a": b"x"}, "a", "got bytes"),
        ({"a": {1, 2}}, "a", "got set"),
        ({"a": Decimal("1.5")}, "a", "got Decimal"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "a", "got datetime"),
        ({"a": Plain.X}, "a", "got Plain"),
        ([[{"a": iter([])}]], "[0][0].a", "got list_iterator"),
        ({"k" * 100: object()}, "k" * 40 + "…", "got object"),
    ],
)
def test_refusals_name_their_path(value: object, path: str, why: str) -> None:
    """What JavaScript would lose or change is refused, and the path says where."""
    with pytest.raises(NotCanonical, match=why) as caught:
        canonical_bytes(value)

    assert caught.value.path == path


def nested(depth: int) -> object:
    value: object = []
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return value


def test_depth() -> None:
    """The limit for publishing is the one for receiving; a value that holds itself runs into it."""
    assert canonical_bytes(nested(MAX_DEPTH)).count(b"[") == MAX_DEPTH // 2
    endless: list[object] = []
    endless.append(endless)
    for value in (nested(MAX_DEPTH + 1), nested(100_000), endless):
        with pytest.raises(NotCanonical, match="deeper than 128"):
            canonical_bytes(value)


@pytest.mark.parametrize(
    ("raw", "path", "why"),
    [
        (b'{"a":1,"a":1}', "a", "each key once"),
        (b'{"data":{"emails":[{},{"value":1,"x":2,"value":1}]}}', "data.emails[1].value", "each key once"),
        (b'{"a":{"b":1,"b":2},"a":3}', "a", "each key once"),
        (b'{"a":1,"\\u0061":1}', "a", "each key once"),
        (b'{"a":{"b":1},"c":{"b":[NaN]}}', "c.b[0]", "got NaN"),
        (b'{"a":-Infinity}', "a", "got -Infinity"),
        (b'{"a":[1e999]}', "a[0]", "64-bit float"),
        (b'{"a":-1e999}', "a", "64-bit float"),
        (b'{"a":' + b"9" * 5000 + b"}", "a", "integer within"),
        (b"NaN", "", "got NaN"),
        (b"[" * 100_000, "", "deeper than 128"),
        (b'{"a":' * 100_000, "", "deeper than 128"),
        (b'{"a":"\xff"}', "", "UTF-8"),
        ('{"a":1}'.encode("utf-16"), "", "UTF-8"),
        (b"\xef\xbb\xbf{}", "", "expected JSON"),
        (b"", "", "expected JSON"),
        (b'{"a":1,}', "", "line 1, column"),
        (b"{}x", "", "expected JSON"),
        (b'{"a":"\n"}', "", "expected JSON"),
        (b'{"a":01}', "", "expected JSON"),
    ],
)
def test_reading_refuses_what_a_lenient_reader_bends(raw: bytes, path: str, why: str) -> None:
    """Nothing is dropped or changed silently on the way in."""
    with pytest.raises(NotCanonical, match=why) as caught:
        loads_strict(raw)

    assert caught.value.path == path
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_reading_takes_text_and_bytes() -> None:
    """A value decoded strictly is the plain Python value."""
    for raw in ('{"a":[1,2.5,"Zoë",null,true]}', '{"a":[1,2.5,"Zoë",null,true]}'.encode()):
        assert loads_strict(raw) == {"a": [1, 2.5, "Zoë", None, True]}


def test_a_surrogate_read_is_refused_when_written() -> None:
    """JSON may spell a lone surrogate; publishing it is refused, with its path."""
    with pytest.raises(NotCanonical) as caught:
        canonical_bytes(loads_strict(rb'{"data":{"name":"\ud83d"}}'))

    assert caught.value.path == "data.name"


@given(st.binary(max_size=100) | st.text(max_size=100))
@example("\ud800")
def test_no_input_makes_anything_else_escape(raw: bytes | str) -> None:
    """Whatever the bytes, they are refused or have canonical bytes, or are refused then."""
    try:
        canonical_bytes(loads_strict(raw))
    except NotCanonical:
        return


# --- properties ---------------------------------------------------------------------------------------------

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_KEYS = _TEXT | st.integers(0, 2**33).map(str) | st.sampled_from(["__proto__", "toJSON", "00", "-0"])
_FLOATS = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not number.is_integer() or abs(number) <= MAX_INTEGER
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | _FLOATS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=12,
)


@given(VALUES)
def test_the_value_survives(value: Any) -> None:
    """What is written reads back as the same value, with us and with the receiving decoder."""
    raw = canonical_bytes(value)

    assert json.loads(raw) == value
    assert canonical_bytes(loads_strict(raw)) == raw
    assert Event.from_bytes(b'{"event":"a","data":{"a":' + raw + b"}}").data == {"a": value}


class Node:
    """A Node process that answers each line of JSON with `JSON.stringify(JSON.parse(line))`."""

    # Split at line feeds by hand: the readline module also breaks at U+2028, which is legal inside text.
    SCRIPT = """
    let rest = Buffer.alloc(0);
    process.stdin.on('data', chunk => {
      rest = Buffer.concat([rest, chunk]);
      for (let end; (end = rest.indexOf(10)) >= 0; rest = rest.subarray(end + 1)) {
        const line = rest.subarray(0, end).toString('utf8');
        process.stdout.write(JSON.stringify(JSON.parse(line)) + '\\n');
      }
    });
    """

    def __init__(self, executable: str) -> None:
        self._process = subprocess.Popen([executable, "-e", self.SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def again(self, raw: bytes) -> bytes:
        stdin, stdout = self._pipes()
        stdin.write(raw + b"\n")
        stdin.flush()
        return stdout.readline().removesuffix(b"\n")

    def stop(self) -> None:
        for pipe in self._pipes():
            pipe.close()
        self._process.wait(timeout=10)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("no `node` on PATH: canonical bytes were not held against real JavaScript")
    process = Node(executable)
    yield process
    process.stop()


@given(VALUES)
@settings(max_examples=500, deadline=None)
@example({"b": 1, "10": 2, "2": 3, "4294967294": 4, "4294967295": 5, "01": 6})
@example(["\u2028\u2029\x7f\x00\x1b\b\f/\\"])
@example({"__proto__": {"a": 1}, "toJSON": "x"})
@example([1e-5, 1e-6, 1e-7, 123456.789e-9, 4503599627370495.5, 5e-324, 2.2250738585072014e-308, -1e-7])
def test_javascript_writes_the_same_bytes(node: Node, value: Any) -> None:
    """For real Node the canonical bytes are a fixed point of parse and stringify."""
    raw = canonical_bytes(value)

    assert node.again(raw) == raw


def test_the_check_against_javascript_can_fail(node: Node) -> None:
    """Node does change what Python's own writer makes, so the property above is no tautology."""
    spaced, escaped, ordered = b'{"a": 1}', rb'["\u00eb"]', b'{"b":1,"1":2}'

    for raw in (spaced, escaped, ordered, b"[1.0]", b"[1e-07]", b"[9007199254740993]", b"[-0]"):
        assert node.again(raw) != raw
