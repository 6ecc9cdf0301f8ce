"""Requests and their answers in a folder, a file each, and the way back: the same requests once more.

    0001-dsync.user.created.http      the request as it was sent: its line, its headers in order, its exact body
    0001-dsync.user.created.answer    what came: status, headers and the beginning of the body; or why nothing did

A request's file is HTTP as on the wire, as `hookline explain --request` and editors read it. Both hold what events
hold: they are made for their owner alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from http.client import responses
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hookline.errors import ConfigError, InvalidBody
from hookline.relay.frames import Delivery
from hookline.relay.pipeline import Item
from hookline.sender.http import Headers
from hookline.wire.event import decode_envelope

SUFFIX: Final = ".http"
ANSWER_SUFFIX: Final = ".answer"
_NUMBERED: Final = re.compile(r"(\d{4,})-")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
# The exchange's own, which it adds again.
_FRAMING: Final = frozenset({"host", "content-length", "connection", "transfer-encoding", "expect"})


class Recording:
    """A folder that requests to one URL are kept in, after those that are there already.

    Raises:
        ConfigError: it cannot be made or written to.
    """

    def __init__(self, folder: Path, url: str) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            numbers = [int(found[1]) for one in folder.iterdir() if (found := _NUMBERED.match(one.name))]
        except OSError as error:
            raise ConfigError("--record", f"expected a folder to write to, {folder}: {error.strerror}") from None
        if not os.access(folder, os.W_OK):
            raise ConfigError("--record", f"expected a folder to write to, {folder} cannot be written")
        self._folder = folder
        self._url = url
        self._count = max(numbers, default=0)

    def keep(self, item: Item) -> None:
        """Keep a request that was sent, and what came of it."""
        self._count += 1
        stem = f"{self._count:04}-{_UNSAFE.sub('_', item.delivery.event_type)[:80] or 'event'}"
        self._write(stem + SUFFIX, _request(item, self._url))
        self._write(stem + ANSWER_SUFFIX, _answer(item))

    def _write(self, name: str, content: bytes) -> None:
        descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def recorded(place: Path) -> Sequence[Path]:
    """The requests in a folder, in the order in which they were recorded; or the one file.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place] if place.is_file() else []
    if not found:
        raise ConfigError(str(place), f"expected a folder that `hookline listen --record` made, with *{SUFFIX} files")
    return found


def as_delivery(name: str, headers: Headers, body: bytes) -> Delivery:
    """A request that was recorded, to be delivered once more; what it is about is read from its body."""
    try:
        envelope = decode_envelope(body)
    except InvalidBody:
        event_id, event_type = "-", "(no event)"
    else:
        event_id, event_type = envelope.id or "-", envelope.type
    kept = tuple((header, _as_text(value)) for header, value in headers if header.lower() not in _FRAMING)
    return Delivery(name, event_id, event_type, "", kept, body, origin="replay")


def _as_text(value: str) -> str:
    """A file's bytes as the characters of their numbers, back to the text that they are."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _request(item: Item, url: str) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _head(f"POST {target} HTTP/1.1", item.sent, "utf-8") + item.delivery.body


def _answer(item: Item) -> bytes:
    answer = item.answer
    assert answer is not None
    if answer.status is None:
        return f"no answer: {answer.error}: {answer.detail or ''}\n".encode()
    line = f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}".rstrip()
    # Their bytes, as the characters of these numbers (sender.http.kept_headers).
    return _head(line, answer.headers, "latin-1") + answer.body


def _head(line: str, headers: Headers, encoding: str) -> bytes:
    return "".join(f"{text}\r\n" for text in (line, *(f"{name}: {value}" for name, value in headers), "")).encode(
        encoding
    )
