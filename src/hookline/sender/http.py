"""One HTTP exchange with a stranger: a request in, an answer out, whatever the stranger does.

`Exchange` is the narrow interface; `HttptoolsExchange` (http_httptools.py), the default, and `AiohttpExchange`
(http_aiohttp.py) stand behind it, and whatever joins them passes the same contract suite (tests/sender/test_http.py).
A stranger's fault is a value of `Answer`, never an exception. Every address dialled, literal or resolved, first passes
the `refuse` given. Decides nothing about retries, signs nothing, stores nothing.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import re
import socket
import ssl
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from hookline.errors import ConfigError
from hookline.sender.begun import GiveUp, awaited, begun

log = logging.getLogger("hookline.sender")

CONNECT_TIMEOUT_S: Final = 5.0
TOTAL_TIMEOUT_S: Final = 15.0
# The body is evidence only: so much is read, so that small answers leave the connection reusable, and so much kept.
BODY_READ_BYTES: Final = 64 * 1024
BODY_KEPT_BYTES: Final = 16 * 1024
# Of an answer's headers so many are kept as evidence, each cut to so many characters.
HEADERS_KEPT: Final = 64
HEADER_KEPT_CHARS: Final = 1024
# An idle connection is kept so long; peers close theirs after 5 s (Node) to 75 s (nginx).
KEEP_ALIVE_S: Final = 20.0
# A name server that hangs takes one thread per name, whoever waits for it.
LOOKUP_THREADS: Final = 32

ErrorCode: TypeAlias = Literal[
    "bad_url",  # not a URL we can call
    "address_refused",  # the name has, or the literal is, an address we do not call
    "dns",  # the name does not resolve
    "connect_refused",  # nobody listens there
    "connect_timeout",  # no connection (name, TCP and TLS together) within connect_timeout_s
    "connect_failed",  # unreachable, or reset while connecting; or the egress proxy would not connect
    "tls",  # the handshake failed, or the certificate does not hold
    "timeout",  # connected, but no complete headers within total_timeout_s
    "reset",  # the connection broke before complete headers
    "closed",  # closed in good order before complete headers
    "headers_too_large",  # more or longer headers than we read
    "protocol",  # what came is not HTTP
    "local",  # our own side: no descriptors, ports or buffers left, or a header that must not be sent
]
BodyEnd: TypeAlias = Literal["complete", "limit", "deadline", "broken"]
Headers: TypeAlias = tuple[tuple[str, str], ...]
Method: TypeAlias = Literal["POST", "GET", "HEAD"]
# The reason why an IP address (text) must not be dialled, or None where it may.
Refuse: TypeAlias = Callable[[str], str | None]
# The IP addresses (text) of a name; OSError where it has none.
Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]


class Request(msgspec.Struct, frozen=True, gc=False):
    """One POST, or what a check asks beside it. `headers` are sent in this order and case; Host is added, and to a POST
    its Content-Length; the others have no body.

    `connect_timeout_s` covers name, TCP and TLS; `total_timeout_s` everything up to the last byte read. The first
    `fixed` headers are the same for request after request: what they come to may be remembered.
    """

    url: str
    headers: Headers
    body: bytes
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    total_timeout_s: float = TOTAL_TIMEOUT_S
    fixed: int = 0
    method: Method = "POST"


class Timings(msgspec.Struct, frozen=True, gc=False):
    """How long each phase took, in ms; None where it did not happen. `connect_ms` includes TLS.

    `first_byte_ms` counts from the request written to the answer's first byte. `tls_ms` is the handshake's part of
    `connect_ms`, where the exchange can tell.
    """

    dns_ms: float | None
    connect_ms: float | None
    first_byte_ms: float | None
    headers_ms: float | None
    total_ms: float
    tls_ms: float | None = None


NO_TIME: Final = Timings(None, None, None, None, 0.0)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What came of a request: a `status`, or an `error` with its `detail` for people; never both.

    `body` is raw (never decompressed) and cut to 16 KiB; `body_bytes` of it were read, `body_end` says why reading
    ended. `address` is the one dialled. `reused` is true where an open connection served; `redone` where one had
    been closed under us and the request was sent anew on a fresh one. `sent_headers` are the request's as sent.
    """

    status: int | None
    error: ErrorCode | None
    detail: str | None
    headers: Headers
    body: bytes
    body_bytes: int
    body_end: BodyEnd | None
    address: str | None
    tls: str | None
    reused: bool
    redone: bool
    sent_headers: Headers
    timings: Timings


class Exchange(Protocol):
    """A way to make HTTP requests. Safe to share within one event loop."""

    @abstractmethod
    def begin(self, request: Request, done: Callable[[Answer], None]) -> GiveUp:
        """Begin one request; `done`, which raises nothing, is called once with its answer, and never within this call.

        Raises nothing for anything a stranger does.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close every connection. No request afterwards."""

    async def send(self, request: Request) -> Answer:
        """The same for whoever awaits it. Cancelled, the request is given up."""
        return await awaited(functools.partial(self.begin, request))


class CoroutineExchange(Exchange, Protocol):
    """An `Exchange` that is written as a coroutine: each request begun runs in a task of its own."""

    @abstractmethod
    async def send(self, request: Request) -> Answer:
        """Make one request. Raises nothing for anything a stranger does; cancellation passes through."""

    def begin(self, request: Request, done: Callable[[Answer], None]) -> GiveUp:
        return begun(self.send(request), done, failed)


def failed(error: Exception) -> Answer:
    """Ours, not the stranger's: a fault in an exchange. The others go on."""
    log.error("deliveries: a request could not be made", exc_info=error)
    return no_answer("local", f"the request could not be made: {type(error).__name__}")


def no_answer(
    error: ErrorCode,
    detail: str,
    *,
    address: str | None = None,
    redone: bool = False,
    sent_headers: Headers = (),
    timings: Timings = NO_TIME,
) -> Answer:
    """What came of a request that nothing came of, over no connection that was kept open."""
    return Answer(
        status=None,
        error=error,
        detail=detail,
        headers=(),
        body=b"",
        body_bytes=0,
        body_end=None,
        address=address,
        tls=None,
        reused=False,
        redone=redone,
        sent_headers=sent_headers,
        timings=timings,
    )


class ThreadLookup:
    """Names to addresses by the system's resolver, in threads of its own; a name asked twice is looked up once."""

    def __init__(self, threads: int = LOOKUP_THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hookline-dns")
        self._under_way: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str) -> Sequence[str]:
        lookup = self._under_way.get(host)
        if lookup is None:
            loop = asyncio.get_running_loop()
            lookup = self._under_way[host] = loop.run_in_executor(self._pool, _addresses, host)
            lookup.add_done_callback(lambda done: self._forget(host, done))
        # One waiter's timeout must not cancel the lookup under the others.
        return await asyncio.shield(lookup)

    def _forget(self, host: str, done: asyncio.Future[list[str]]) -> None:
        del self._under_way[host]
        if not done.cancelled():
            done.exception()  # seen, even where every waiter has gone

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _addresses(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


@functools.cache
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The client context of this process: the system's authorities, and those of `ca_file` beside them.

    Made once (18 ms each, measurements.md 5). Raises OSError or ssl.SSLError where `ca_file` cannot be read.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def configured_tls(targets_ca: Path | None) -> ssl.SSLContext:
    """The same with the authorities of HOOKLINE_TARGETS_CA, where that is set. ConfigError where it cannot be read."""
    try:
        return tls_context(None if targets_ca is None else str(targets_ca))
    except OSError as error:  # of which ssl.SSLError is one
        why = "holds no certificate" if isinstance(error, ssl.SSLError) else str(error.strerror)
        raise ConfigError(
            "HOOKLINE_TARGETS_CA", f"expected a file with certificates in PEM; {targets_ca} {why}"
        ) from None


# -- what every exchange says alike ------------------------------------------------------------------------------

# RFC 9110 5.6.2 (token) and 5.5: what a name is made of, and the bytes that would end a value or the whole head.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Framing and the connection are the exchange's: given twice, two servers in a row may read two different requests.
_RESERVED: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@functools.lru_cache(maxsize=4096)
def _may_be_sent(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None and name.lower() not in _RESERVED


def header_fault(headers: Headers) -> str | None:
    """Why these headers must not be sent, for people and without any value of theirs; None where they may.

    A name is a token and none that frames the message; a value holds no control character but the tab.
    """
    for name, value in headers:
        if not _may_be_sent(name):
            return f"the header {name[:64]!r} cannot be sent: its name is no token, or is the exchange's own"
        if value.isascii() and value.isprintable():
            continue
        if _CONTROLS.search(value):
            return f"the header {name[:64]!r} cannot be sent: its value holds a control character"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return f"the header {name[:64]!r} cannot be sent: its value holds half a character (a lone surrogate)"
    return None


def kept_headers(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """An answer's headers as text that JSON can hold: bytes become the characters of that number."""
    most = HEADER_KEPT_CHARS
    return tuple([(name[:most].decode("latin-1"), value[:most].decode("latin-1")) for name, value in raw])


# What is said of an error where there is nothing particular to say.
DETAILS: Final[Mapping[ErrorCode, str]] = {
    "closed": "the connection was closed before complete answer headers",
    "reset": "the connection broke before complete answer headers",
    "headers_too_large": "the answer's headers are larger than can be read",
    "protocol": "what came back is not HTTP",
}


def explain_no_connection(request: Request, *, is_resolved: bool) -> str:
    """Say that the connect timeout has passed, and in which phase."""
    seconds = min(request.connect_timeout_s, request.total_timeout_s)
    return f"no connection within {seconds:g} s ({'while connecting' if is_resolved else 'while resolving the name'})"


def explain_no_answer(request: Request) -> str:
    """Say that the total timeout has passed."""
    return f"no complete answer headers within {request.total_timeout_s:g} s"


_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


def explain_connect(error: OSError) -> tuple[ErrorCode, str]:
    """Name what kept us from connecting."""
    if error.errno == errno.ECONNREFUSED:
        return "connect_refused", "the connection was refused"
    if error.errno in _EXHAUSTED:
        return "local", f"this machine could not connect: {error.strerror}"
    return "connect_failed", f"the connection failed: {error.strerror or error}"


def explain_tls(error: ssl.SSLError) -> str:
    """Say what was wrong with the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {error.verify_message}"
    return f"the TLS handshake failed: {getattr(error, 'reason', None) or error}"


def with_port(sockaddr: Sequence[Any]) -> str:
    """`192.0.2.7:443`, `[2001:db8::7]:443`."""
    host, port = sockaddr[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family_of(address: str) -> socket.AddressFamily:
    """Of an IP address as text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ms_between(start: float | None, end: float | None) -> float | None:
    """Two readings of a clock in seconds, as ms; None where either was not taken."""
    return None if start is None or end is None else int((end - start) * 1_000_000) / 1000


def ms_since(start: float) -> float:
    """From a reading of `time.monotonic` until now, in ms."""
    return int((monotonic() - start) * 1_000_000) / 1000
