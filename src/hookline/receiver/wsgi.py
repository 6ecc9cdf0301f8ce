"""The door as a WSGI application, for servers that give each request a thread.

Threads that wait at the same time share a commit. How long a client may take for its body is the server's to limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from hookline.errors import StorageError
from hookline.receiver.model import Receipt
from hookline.receiver.receive import CONSUMED, DISCARD, NO_PATH, UNAVAILABLE, Door, answer

if TYPE_CHECKING:
    from hookline.receiver.intake import Reception

CHUNK = 64 * 1024


class WsgiDoor:
    """One receiver as a WSGI application, alone or mounted: the path is taken after `SCRIPT_NAME`."""

    def __init__(self, receiver: Reception) -> None:
        self._receiver = receiver

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # PEP 3333 hands over bytes dressed up as Latin-1.
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "surrogateescape")
        status, headers, content = self.answer(environ, path)
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]

    def answer(self, environ: Mapping[str, Any], path: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """Answer one request: for frameworks, which have an environ and take a response of their own making.

        Args:
            environ: PEP 3333's; the body is read from its `wsgi.input`, to its end where `wsgi.input_terminated` says
                that it has one.
            path: decoded, relative to where the receiver is mounted.

        Returns: status, headers and body of the answer.
        """
        peer = environ.get("REMOTE_ADDR") or None
        door = self._receiver.doors.find(path)
        if door is None and path in {"/healthz", "/readyz"}:
            return self._health(path)
        receipt = NO_PATH if door is None else self._receipt(environ, door, peer)
        if receipt.kind == "refused":
            if door is not None and receipt.reason == "size":
                _discard(environ, door.max_body * DISCARD)
            self._receiver.note(receipt, peer, door)
        headers, content = answer(receipt)
        return receipt.status, _shown(headers), content

    def _receipt(self, environ: Mapping[str, Any], door: Door, peer: str | None) -> Receipt:
        headers = _headers(environ)
        admission = door.admit(environ["REQUEST_METHOD"], headers, peer)
        if isinstance(admission, Receipt):
            return admission
        body = _read(environ, door.max_body)
        if not body and environ.get("CONTENT_LENGTH", "").strip("0"):
            # A client that went away in the middle does not read what it is answered.
            return CONSUMED
        entry = door.check(admission, body, self._receiver.clock.now_ms())
        if isinstance(entry, Receipt):
            return entry
        try:
            return door.keep(entry, headers, self._receiver.intake.put_inline)
        except StorageError:
            return UNAVAILABLE

    def _health(self, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
        is_ready = path == "/healthz" or self._receiver.is_ready()
        content = b"ok\n" if is_ready else b"not ready\n"
        headers = [("content-type", "text/plain"), ("content-length", str(len(content)))]
        return 200 if is_ready else 503, headers, content


def _shown(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name != b"connection"  # PEP 3333 leaves hop-by-hop headers to the server
    ]


def _headers(environ: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    pairs = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    pairs += [
        (name, environ[key].encode("latin-1"))
        for key, name in (("CONTENT_TYPE", b"content-type"), ("CONTENT_LENGTH", b"content-length"))
        if environ.get(key)
    ]
    return pairs


def _read(environ: Mapping[str, Any], limit: int) -> bytes:
    """The body, or its first `limit` + 1 bytes: the door sees from those that it is too large."""
    return b"".join(_chunks(environ, limit + 1))


def _discard(environ: Mapping[str, Any], limit: int) -> None:
    for _ in _chunks(environ, limit):
        pass


def _chunks(environ: Mapping[str, Any], limit: int) -> Iterator[bytes]:
    length = environ.get("CONTENT_LENGTH") or ""
    if length:
        left = min(int(length), limit) if length.isdigit() and len(length) <= 12 else limit
    else:
        # Without a length only a server that ends the stream itself may be read to its end (chunked bodies).
        left = limit if environ.get("wsgi.input_terminated") else 0
    while left > 0:
        chunk: bytes = environ["wsgi.input"].read(min(CHUNK, left))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk
