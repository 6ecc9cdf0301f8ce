"""A request as people save one, read back: headers and the bytes of the body, for whoever explains a signature.

Read are: a raw request (`POST /path HTTP/1.1`, headers, an empty line, the body), one in a `.http` file, what `curl -v`
tells (`> POST …`), a curl command, a HAR or one of its entries, and an object with `headers` and a `body`, as gateways
hand on (`isBase64Encoded`) and recordings hold. Where a file holds several, the first that is signed is taken.

What a format cannot say is not guessed: a body that may have lost bytes on its way into the file is noted. Files
that a curl command names are not opened here.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hookline.wire import signature, standard

_SIGNED: Final = frozenset({signature.HEADER.lower(), standard.SIGNATURE_HEADER})
_METHODS: Final = rb"(?:POST|PUT|PATCH|GET|HEAD|DELETE|OPTIONS)"
_START: Final = re.compile(rb"(?:%b [^\r\n]+|HTTP/[0-9.]+ [0-9]{3}[^\r\n]*|https?://[^\r\n]+)(?:\r?\n|\Z)" % _METHODS)
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*(?:\r?\n|\Z)")
_TRACE: Final = re.compile(rb"^> ?(.*?)\r?$", re.MULTILINE)
_HTTP_FILE: Final = re.compile(rb"^###[^\n]*\n?", re.MULTILINE)
_HTTP_FILE_TALK: Final = re.compile(rb"(?:(?:#|//|@[A-Za-z0-9_-]+[ \t]*=)[^\n]*|[ \t\r]*)\n")
_DATA_FLAGS: Final = frozenset({"-d", "--data", "--data-raw", "--data-binary", "--data-ascii"})


@dataclass(frozen=True, slots=True)
class SavedRequest:
    """A request out of a file.

    Attributes:
        headers: name and value, in order, as far as the format tells.
        body: its bytes; None where the file does not hold them.
        body_file: the file that a curl command reads the body from.
        received_ms: when it came, where the file says so.
        notes: what is doubtful about the body.
        is_whole: the body is as long as the request's own header says.
    """

    headers: tuple[tuple[str, str], ...]
    body: bytes | None = field(default=None, repr=False)
    body_file: str | None = None
    received_ms: int | None = None
    notes: tuple[str, ...] = ()
    is_whole: bool = False

    @property
    def is_signed(self) -> bool:
        """Whether it holds a signature's header."""
        return any(name.lower() in _SIGNED for name, _ in self.headers)

    def lines(self) -> list[str]:
        """Its headers as `explain` takes them."""
        return [f"{name}: {value}" for name, value in self.headers]


def read_saved_request(raw: bytes) -> SavedRequest:
    """The request in a file.

    Raises: ValueError where it holds none that is known, with what is read.
    """
    found = list(_read(raw))
    if not found:
        raise ValueError(
            "expected a request: 'POST /path HTTP/1.1', its headers, an empty line and its body; a .http file, a curl "
            "command, a HAR, or JSON with headers and body"
        )
    return next((one for one in found if one.is_signed), found[0])


def _read(raw: bytes) -> Iterator[SavedRequest]:
    text = raw.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
        yield from _of_json(value)
    elif text.startswith(b"curl "):
        yield from _of_curl(text)
    elif text.startswith((b"> ", b"* ", b"< ")):
        yield from _of_trace(text)
    else:
        whole = next(_of_text(text, is_edited=False), None)
        if whole is not None and whole.is_whole:
            yield whole
            return
        parts = _HTTP_FILE.split(text)
        for part in parts:
            # In a .http file what ends the last line is the editor's, and no part of the body.
            yield from _of_text(part, is_edited=len(parts) > 1 or _HTTP_FILE_TALK.match(part) is not None)


def _of_text(text: bytes, *, is_edited: bool) -> Iterator[SavedRequest]:
    while (talk := _HTTP_FILE_TALK.match(text)) is not None:
        text = text[talk.end() :]
    start = _START.match(text)
    if start is None and _HEADER.match(text) is None:
        return
    place = 0 if start is None else start.end()
    headers = []
    while (header := _HEADER.match(text, place)) is not None:
        headers.append((header[1].decode("latin-1"), header[2].decode("latin-1")))
        place = header.end()
    end = re.compile(rb"\r?\n").match(text, place)
    body = None if end is None else text[end.end() :]
    if body is None:
        yield SavedRequest(tuple(headers))
        return
    yield _measured(tuple(headers), body, is_edited=is_edited)


def _measured(headers: tuple[tuple[str, str], ...], body: bytes, *, is_edited: bool) -> SavedRequest:
    """The body as long as its header says, where it is a line end longer; else noted."""
    said = next((value for name, value in headers if name.lower() == "content-length"), "")
    length = int(said) if said.isascii() and said.isdigit() and len(said) < 16 else None
    notes: tuple[str, ...] = ()
    if length is None:
        if is_edited:
            body = body.rstrip(b"\r\n")
    elif len(body) > length and not body[length:].strip(b"\r\n"):
        body = body[:length]
    elif len(body) != length:
        notes = (f"Content-Length says {length} bytes, and the file holds {len(body)}: it is not the body that came",)
    return SavedRequest(headers, body, notes=notes, is_whole=len(body) == length)


def _of_trace(text: bytes) -> Iterator[SavedRequest]:
    """What `curl -v` tells of a request: never its body."""
    told = b"\n".join(_TRACE.findall(text))
    for one in _of_text(told, is_edited=False):
        yield SavedRequest(one.headers)


def _of_curl(text: bytes) -> Iterator[SavedRequest]:
    """A command as browsers copy it and `hookline sign --curl` prints it."""
    try:
        words = shlex.split(text.decode(errors="surrogateescape").replace("\\\r\n", " ").replace("\\\n", " "))
    except ValueError:
        return
    headers: list[tuple[str, str]] = []
    body: bytes | None = None
    body_file: str | None = None
    rest = iter(words[1:])
    for word in rest:
        flag, equals, joined = word.partition("=") if word.startswith("--") else (word, "", "")
        if flag not in {"-H", "--header", *_DATA_FLAGS, "--json"}:
            continue
        value = joined if equals else next(rest, "")
        if flag in {"-H", "--header"}:
            name, _, own = value.partition(":")
            headers.append((name.strip(), own.strip()))
        elif value.startswith("@") and flag != "--data-raw":
            body_file = value[1:]
        else:
            body = value.encode(errors="surrogateescape")
    yield SavedRequest(tuple(headers), body, body_file)


def _of_json(value: Any) -> Iterator[SavedRequest]:
    """A HAR, its entries, one request, or a list of them."""
    if isinstance(value, list):
        for one in value:
            yield from _of_json(one)
        return
    if not isinstance(value, Mapping):
        return
    if isinstance(log := value.get("log"), Mapping):
        yield from _of_json(log.get("entries"))
        return
    if isinstance(inner := value.get("request"), Mapping):
        yield from _of_json({**value, **inner, "request": None})
        return
    if (headers := _headers_of(value.get("headers"))) is None:
        return
    body, notes = _body_of(value)
    received_ms = value.get("received_ms")
    yield SavedRequest(
        headers, body, received_ms=received_ms if isinstance(received_ms, int) else None, notes=tuple(notes)
    )


def _headers_of(value: object) -> tuple[tuple[str, str], ...] | None:
    """Of an object, of pairs, or of HAR's objects with name and value."""
    if isinstance(value, Mapping):
        value = [[name, one] for name, many in value.items() for one in (many if isinstance(many, list) else [many])]
    if not isinstance(value, list):
        return None
    pairs: list[tuple[str, str]] = []
    for one in value:
        if isinstance(one, Mapping):
            one = [one.get("name"), one.get("value")]
        if isinstance(one, list) and len(one) == 2 and all(isinstance(text, str) for text in one):
            pairs.append((one[0], one[1]))
    return tuple(pairs)


def _body_of(value: Mapping[str, Any]) -> tuple[bytes | None, Iterable[str]]:
    for name in ("body_base64", "body_b64", "rawBodyBase64"):
        if isinstance(text := value.get(name), str):
            return _of_base64(text)
    posted = value.get("postData")
    if isinstance(posted, Mapping):
        text = posted.get("text")
        if posted.get("encoding") == "base64" and isinstance(text, str):
            return _of_base64(text)
        return (text.encode(errors="surrogatepass") if isinstance(text, str) else None), ()
    for name in ("rawBody", "body", "content"):
        one = value.get(name)
        if isinstance(one, str):
            is_encoded = value.get("isBase64Encoded") is True or value.get("encoding") == "base64"
            return _of_base64(one) if is_encoded else (one.encode(errors="surrogatepass"), ())
        if isinstance(one, Mapping | list):
            written = json.dumps(one, ensure_ascii=False, separators=(",", ":"))
            note = f"the file holds {name} as JSON that was read, not as the bytes that came: how they were is lost"
            return written.encode(errors="surrogatepass"), (note,)
    return None, ()


def _of_base64(text: str) -> tuple[bytes | None, Iterable[str]]:
    try:
        return base64.b64decode(text, validate=True), ()
    except ValueError:
        return None, ("the body is said to be base 64, and is not",)
