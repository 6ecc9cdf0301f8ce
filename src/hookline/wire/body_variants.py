"""What a body may have been before something on its way changed it: for a signature that does not hold over what came.

A signature is over bytes. Frameworks parse them and write them again, editors end the last line, proxies change the
charset, and each does so in its own way; so what was signed can often be found again from what came, by undoing one
such change after the other. Nothing here knows signatures: these are candidates, and whoever holds a digest asks which
one it is of.

The work is bounded: JSON is written again only up to `MOST_JSON_BYTES`, no candidate is longer than
`MOST_VARIANT_BYTES` (or than the body and a few bytes), there are fewer than `MOST_VARIANTS` of them, and JSON is read
as a row of tokens, so that depth costs nothing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Final, Literal, TypeAlias, TypeVar

A = TypeVar("A")
T = TypeVar("T")

# Twice what a sender of ours publishes at most.
MOST_JSON_BYTES: Final = 512 * 1024
# Indentation multiplies: of a row of 128 brackets each line has 512 spaces.
MOST_VARIANT_BYTES: Final = 4 * 1024 * 1024
MOST_VARIANTS: Final = 100

BodyChange: TypeAlias = Literal[
    "body_rewritten",
    "body_line_end",
    "body_white_space",
    "body_byte_order_mark",
    "body_charset",
    "body_wrapped",
    "body_emptied",
]


@dataclass(frozen=True, slots=True)
class BodyVariant:
    """Bytes that may have been signed, and what then happened to them on the way, as a sentence."""

    body: bytes
    code: BodyChange
    change: str


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to write JSON: separators, indentation (None: all in one line), how strings are escaped."""

    how: str
    item: str = ","
    colon: str = ":"
    indent: str | None = None
    escape: Literal["plain", "ascii", "slash", "ascii_slash", "html"] = "plain"


# First what senders of webhooks write; `how` names who writes so, for people.
_FORMS: Final = (
    _Form("without spaces, characters as they are (JSON.stringify of Express and Next.js, FastAPI's JSONResponse)"),
    _Form("with spaces and escaped to ASCII (Python's json.dumps, Django's JsonResponse)", ", ", ": ", None, "ascii"),
    _Form("without spaces and escaped to ASCII (Flask's jsonify)", escape="ascii"),
    _Form("with spaces, characters as they are (json.dumps with ensure_ascii=False)", ", ", ": "),
    _Form("with each / escaped, and to ASCII (PHP's json_encode)", escape="ascii_slash"),
    _Form("with each / escaped, characters as they are", escape="slash"),
    _Form("with <, > and & escaped (Rails' to_json, Go's encoding/json)", escape="html"),
    *(
        _Form(f"indented by {name}{', escaped to ASCII' if escape == 'ascii' else ''}", ",", ": ", indent, escape)
        for name, indent in (("2 spaces", "  "), ("4 spaces", "    "), ("tabs", "\t"))
        for escape in ("plain", "ascii")
    ),
)
_SORTED_FORMS: Final = tuple(
    form for form in _FORMS if form.escape in {"plain", "ascii"} and form.indent in {None, "  "}
)
# What separates, a string, or a number or word, each possessively: no input makes the search start again.
_TOKEN: Final = re.compile(r'[{}\[\]:,]|"(?:[^"\\]++|\\.)*+"|[^\s{}\[\]:,"]++', re.DOTALL)
_BOM: Final = b"\xef\xbb\xbf"
_LOST: Final = "\ufffd".encode()
# As Python's repr of bytes writes them.
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-f]{2}|[nrt\\'\"])")
_BYTES_LITERAL: Final = re.compile(rb"""(?:bytearray\()?(?:b'((?:[^'\\\n]++|\\.)*+)'|b"((?:[^"\\\n]++|\\.)*+)")\)?""")
# The order of an event's members as senders write them: ours; and that of PostgreSQL's jsonb, which WorkOS's have at
# every level (reference: bodies captured in the field).
_OWN_ORDER: Final = ("object", "id", "event", "data", "created_at", "context")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3})\d{0,3})?(?:Z|\+00:00)", re.ASCII)
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\r\n]+={0,2}\s*")


def body_variants(body: bytes) -> Iterator[BodyVariant]:
    """What may have been signed where `body` came, likelier things first; never `body` itself.

    Found again is what was changed once, and a rewritten JSON with a line end after it. Not found again is what is
    lost: the order of sorted keys, the digits of a number, a character replaced by U+FFFD. `likely_change` still sees
    some of that.
    """
    for variant in _all(body):
        if variant.body != body:
            yield variant


@dataclass(frozen=True, slots=True)
class LikelyChange:
    """What has probably happened to a body, as a sentence."""

    code: BodyChange
    change: str


def likely_change(body: bytes) -> LikelyChange | None:
    """For a body of which nothing can be proved; None where nothing shows."""
    if not body:
        return LikelyChange("body_emptied", "the body was read before, and nothing of it is left: it is empty")
    if _LOST in body:
        return LikelyChange(
            "body_charset", "the body was decoded in a wrong charset: it holds U+FFFD, and what stood there is lost"
        )
    if body == b"[object Object]":
        return LikelyChange("body_rewritten", "the body is what JavaScript writes for an object, not its JSON")
    if body.lstrip()[:2] == b"{'":
        return LikelyChange("body_rewritten", "the body is the text of a Python dict, not JSON")
    how = written_as(body)
    if how is not None and how != _FORMS[0].how:
        said = f"the body was read and written again: it is JSON {how}, and webhooks are sent without spaces"
        return LikelyChange("body_rewritten", said)
    if _is_reordered(body):
        said = "the body was read and written again: its members are in another order than WorkOS and Hookline write"
        return LikelyChange("body_rewritten", said)
    return None


def _is_reordered(body: bytes) -> bool:
    text = _small_text(body)
    value = None if text is None else _or_none(_loads, text)
    if not isinstance(value, dict) or not {"event", "data"} <= value.keys():
        return False
    top = dict.fromkeys(value)
    return list(top) not in (list(_in_own_order(top)), list(_in_jsonb_order(top)))


def written_as(body: bytes) -> str | None:
    """How JSON is written and who writes so; None for what is none, is too large, or is written by no rule we know."""
    text = _small_text(body.removesuffix(b"\n"))
    if text is None:
        return None
    tokens = _TOKEN.findall(text)
    end = " and a line end after it" if body.endswith(b"\n") else ""
    return next((form.how + end for form in _FORMS if _written(tokens, form) == text), None)


def _all(body: bytes) -> Iterator[BodyVariant]:
    yield from _line_ends(body)
    yield from _wrapped(body)
    yield from _rewritten(body)
    yield from _modelled(body)
    yield from _charsets(body)
    yield BodyVariant(b"", "body_emptied", "what was signed is an empty body, and this one is not")


def _line_ends(body: bytes) -> Iterator[BodyVariant]:
    code: Final = "body_line_end"
    for end, name in ((b"\r\n", "CRLF"), (b"\n", "LF")):
        if body.endswith(end):
            yield BodyVariant(
                body.removesuffix(end), code, f"a line end ({name}) was added after the last byte that was signed"
            )
    yield BodyVariant(body + b"\n", code, "the line end (LF) after the last byte that was signed was taken away")
    yield BodyVariant(body + b"\r\n", code, "the line end (CRLF) after the last byte that was signed was taken away")
    if b"\r\n" in body:
        yield BodyVariant(body.replace(b"\r\n", b"\n"), code, "its line ends were changed from LF to CRLF")
    if b"\n" in body:
        crlf = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield BodyVariant(crlf, code, "its line ends were changed from CRLF to LF")
    if body.startswith(_BOM):
        yield BodyVariant(body.removeprefix(_BOM), "body_byte_order_mark", "a byte order mark was put before it")
    yield BodyVariant(_BOM + body, "body_byte_order_mark", "the byte order mark before it was taken away")
    yield BodyVariant(body.strip(), "body_white_space", "white space was put around it")


def _wrapped(body: bytes) -> Iterator[BodyVariant]:
    """What came is a text that stands for what was signed."""
    code: Final = "body_wrapped"
    if len(body) > MOST_JSON_BYTES:
        return
    if body.startswith(b'"') and isinstance(text := _or_none(_loads, body), str):
        yield BodyVariant(_bytes_of(text), code, "it was written as JSON a second time, as one string")
    if (literal := _BYTES_LITERAL.fullmatch(body)) is not None:
        raw = _ESCAPE.sub(lambda escape: bytes([_escaped(escape[1])]), literal[1] or literal[2])
        yield BodyVariant(raw, code, "it is the text of a Python bytes object: keep the bytes themselves")
    if _BASE64.fullmatch(body) and (decoded := _or_none(base64.b64decode, body)):
        yield BodyVariant(decoded, code, "it is base 64 of what was signed, as gateways hand it on (isBase64Encoded)")
    if b"%7B" in body[:64].upper():
        for encoded in (body, body.partition(b"=")[2]):
            plain = percent_decoded(encoded.replace(b"+", b" "))
            yield BodyVariant(plain, code, "it is URL-encoded, as a form: send and read it as application/json")


def _rewritten(body: bytes) -> Iterator[BodyVariant]:
    text = _small_text(body)
    if text is None:
        return
    tokens = _TOKEN.findall(text)
    for form in _FORMS:
        yield from _with_ends(_written(tokens, form), form.how)
    if (value := _or_none(_loads, text)) is not None:
        for form in _SORTED_FORMS:
            yield from _with_ends(_sorted(value, form), f"{form.how}, its keys in order")


def _modelled(body: bytes) -> Iterator[BodyVariant]:
    """What went through a model with fields, or a writer that sorts: order, times and members without a value."""
    text = _small_text(body)
    value = None if text is None else _or_none(_loads, text)
    if not isinstance(value, dict):
        return
    orders: tuple[tuple[str, Callable[[Any], Any]], ...] = (
        ("", lambda value: value),
        ("its members in another order", _in_own_order),
        ("its members in another order, at every level", _in_jsonb_order),
    )
    for how, ordered in orders:
        for times in (False, True):
            for emptied in (False, True):
                if not (how or times or emptied):
                    continue
                members = {name: one for name, one in value.items() if not emptied or one is not None}
                again = _or_none(ordered, _with_milliseconds(members) if times else members)
                written = None if again is None else _or_none(_compact, again)
                if written is None or len(written) > MOST_VARIANT_BYTES:
                    continue
                parts = (how, "its times with milliseconds" * times, "no members that are null" * emptied)
                said = " and ".join(filter(None, parts))
                change = f"the JSON was read into a model and written again; what was signed has {said}"
                yield BodyVariant(_bytes_of(written), "body_rewritten", change)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _in_own_order(value: dict[str, Any]) -> dict[str, Any]:
    ranks = {name: rank for rank, name in enumerate(_OWN_ORDER)}
    return dict(sorted(value.items(), key=lambda member: ranks.get(member[0], len(ranks))))


def _in_jsonb_order(value: Any) -> Any:
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: (len(member[0].encode(errors="surrogatepass")), member[0]))
        return {name: _in_jsonb_order(one) for name, one in members}
    return [_in_jsonb_order(one) for one in value] if isinstance(value, list) else value


def _with_milliseconds(value: dict[str, Any]) -> dict[str, Any]:
    """Its own times and those of its data, as `datetime` fields of a model change them."""

    def again(one: Any) -> Any:
        if isinstance(one, str) and (time := _TIME.fullmatch(one)) is not None:
            return f"{time[1]}.{time[2] or '000'}Z"
        return {name: again(inner) for name, inner in one.items()} if isinstance(one, dict) else one

    found = _or_none(again, value)
    return value if found is None else dict(found)


def _with_ends(written: str | None, how: str) -> Iterator[BodyVariant]:
    if written is not None:
        change = f"the JSON was read and written again; what was signed is written {how}"
        yield BodyVariant(_bytes_of(written), "body_rewritten", change)
        yield BodyVariant(_bytes_of(written + "\n"), "body_rewritten", f"{change}, and a line end after it")


def _written(pieces: list[str], form: _Form) -> str | None:
    """The same JSON, its strings, numbers and their order untouched; None where that gets too long."""
    escape = _ESCAPES[form.escape]
    parts: list[str] = []
    size = depth = 0
    for place, piece in enumerate(pieces):
        if piece in "{[":
            closes = place + 1 < len(pieces) and pieces[place + 1] in "}]"
            depth += 1
            part = piece if closes or form.indent is None else f"{piece}\n{form.indent * depth}"
        elif piece in "}]":
            depth -= 1
            opened = place > 0 and pieces[place - 1] in "{["
            part = piece if opened or form.indent is None else f"\n{form.indent * depth}{piece}"
        elif piece == ",":
            part = form.item if form.indent is None else f"{form.item}\n{form.indent * depth}"
        elif piece == ":":
            part = form.colon
        else:
            part = escape(piece) if piece.startswith('"') else piece
        size += len(part)
        if size > MOST_VARIANT_BYTES:
            return None
        parts.append(part)
    return "".join(parts)


def _sorted(value: object, form: _Form) -> str | None:
    """With the keys in order, as only a tree can be written; deep ones are left alone, and so is what has no UTF-8."""

    def dumps(value: object) -> str:
        return json.dumps(
            value,
            sort_keys=True,
            ensure_ascii=form.escape == "ascii",
            indent=form.indent,
            separators=(form.item, form.colon),
        )

    written = _or_none(dumps, value)
    return None if written is None or len(written) > MOST_VARIANT_BYTES else written


def _charsets(body: bytes) -> Iterator[BodyVariant]:
    code: Final = "body_charset"
    text = _or_none(bytes.decode, body)
    if (text is None or b"\0" in body) and (was := _recoded(body, "utf-16", "utf-8")) is not None:
        yield BodyVariant(was, code, "it was encoded again in UTF-16; what was signed is UTF-8")
    if text is not None:
        for name in ("utf-16-le", "utf-16-be"):
            if (wide := _recoded(body, "utf-8", name)) is not None:
                yield BodyVariant(wide, code, f"what was signed is {name.upper()}, and this is UTF-8")
    if body.isascii():
        return
    for name, label in (("latin-1", "Latin-1"), ("cp1252", "Windows-1252")):
        if (was := _recoded(body, name, "utf-8")) is not None:
            said = "what was signed had been read as {} and encoded again by its sender"
            if text is None:
                said = "it was decoded and encoded again in {}; what was signed is UTF-8"
            yield BodyVariant(was, code, said.format(label))
        if text is not None and (was := _recoded(body, "utf-8", name)) is not None:
            said = "what was signed is {}, and this is UTF-8"
            if _or_none(bytes.decode, was) is not None:
                said = "its UTF-8 was read as {} and encoded again"
            yield BodyVariant(was, code, said.format(label))


def _recoded(body: bytes, before: str, after: str) -> bytes | None:
    return _or_none(lambda raw: raw.decode(before).encode(after), body)


def _small_text(body: bytes) -> str | None:
    """The text of what may be JSON, an object or a list, and is not too large to be written again."""
    if len(body) > MOST_JSON_BYTES or body.lstrip()[:1] not in {b"{", b"["}:
        return None
    return _or_none(bytes.decode, body)


def _or_none(read: Callable[[A], T], value: A) -> T | None:
    """What a reader makes of a stranger's bytes; None for all that it may refuse, nesting included."""
    try:
        return read(value)
    except (ValueError, RecursionError):
        return None


def percent_decoded(text: bytes) -> bytes:
    """Bytes of which some are written as % and two hex digits."""
    return re.sub(rb"%([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), text)


def _escaped(escape: bytes) -> int:
    if escape.startswith(b"x"):
        return int(escape[1:], 16)
    return {b"n": 10, b"r": 13, b"t": 9}.get(escape, escape[0])


def _loads(text: str | bytes) -> Any:
    return json.loads(text)


def _bytes_of(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _plain(token: str) -> str:
    if "\\" not in token:
        return token
    text = _or_none(_loads, token)
    return encode_basestring(text) if isinstance(text, str) else token


def _ascii(token: str) -> str:
    if token.isascii() and "\\" not in token:
        return token
    text = _or_none(_loads, token)
    return encode_basestring_ascii(text) if isinstance(text, str) else token


_HTML: Final = str.maketrans({one: f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"})
_ESCAPES: Final[dict[str, Callable[[str], str]]] = {
    "plain": _plain,
    "ascii": _ascii,
    "slash": lambda token: _plain(token).replace("/", "\\/"),
    "ascii_slash": lambda token: _ascii(token).replace("/", "\\/"),
    "html": lambda token: _plain(token).translate(_HTML),
}
