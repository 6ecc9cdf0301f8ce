"""One HTTP exchange with a stranger: a request in, an answer out, whatever the stranger does.

`Exchange` is the narrow interface; `AiohttpExchange` stands behind it, and whatever joins it passes the same
contract suite (tests/sender/test_http.py). A stranger's fault is a value of `Answer`, never an exception. Every
address dialled, literal or resolved, first passes the `refuse` given. Decides nothing about retries, signs
nothing, stores nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import itertools
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import LineTooLong
from yarl import URL

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
    "connect_failed",  # unreachable, or reset while connecting
    "tls",  # the handshake failed, or the certificate does not hold
    "timeout",  # connected, but no complete headers within total_timeout_s
    "reset",  # the connection broke before complete headers
    "closed",  # closed in good order before complete headers
    "headers_too_large",  # more or longer headers than we read
    "protocol",  # what came is not HTTP
    "local",  # this machine could not: no descriptors, ports or buffers left
]
BodyEnd: TypeAlias = Literal["complete", "limit", "deadline", "broken"]
Headers: TypeAlias = tuple[tuple[str, str], ...]
# The reason why an IP address (text) must not be dialled, or None where it may.
Refuse: TypeAlias = Callable[[str], str | None]
# The IP addresses (text) of a name; OSError where it has none.
Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Request:
    """One POST. `headers` are sent in this order and case; Host and Content-Length are added.

    `connect_timeout_s` covers name, TCP and TLS; `total_timeout_s` everything up to the last byte read.
    """

    url: str
    headers: Headers
    body: bytes
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    total_timeout_s: float = TOTAL_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Timings:
    """How long each phase took, in ms; None where it did not happen. `connect_ms` includes TLS.

    `first_byte_ms` counts from the request written to the answer's first byte.
    """

    dns_ms: float | None
    connect_ms: float | None
    first_byte_ms: float | None
    headers_ms: float | None
    total_ms: float


@dataclass(frozen=True, slots=True)
class Answer:
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

    async def send(self, request: Request) -> Answer:
        """Make one request. Raises nothing for anything a stranger does; cancellation passes through."""

    async def close(self) -> None:
        """Close every connection. No `send` afterwards."""


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


class AiohttpExchange:
    """`Exchange` on aiohttp: no redirects, no cookies, no decompression, no proxies from the environment.

    Args:
        refuse: asked for every address before it is dialled (rules/address.py).
        tls: from `tls_context`.
        lookup: names to addresses; the system's resolver by default.

    Made inside the event loop that uses it.
    """

    def __init__(self, *, refuse: Refuse, tls: ssl.SSLContext | None = None, lookup: Lookup | None = None) -> None:
        self._own_lookup = ThreadLookup() if lookup is None else None
        guard = _Guard(refuse, lookup or self._own_lookup or ThreadLookup())
        tls = tls or tls_context()
        self._kept = _session(guard, tls, keep=True)
        # Where a kept connection turns out closed, the one other try must not meet a second such connection.
        self._fresh = _session(guard, tls, keep=False)

    async def send(self, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.total_timeout_s
        trail = _Trail(loop.time())
        _trail.set(trail)
        answer = await self._once(self._kept, request, trail, deadline)
        if answer.error in ("closed", "reset") and trail.reused and trail.first_byte_at is None:
            fresh = _Trail(trail.started_at, redone=True)
            _trail.set(fresh)
            answer = await self._once(self._fresh, request, fresh, deadline)
        return answer

    async def close(self) -> None:
        await self._kept.close()
        await self._fresh.close()
        if self._own_lookup is not None:
            self._own_lookup.close()

    async def _once(self, session: aiohttp.ClientSession, request: Request, trail: _Trail, deadline: float) -> Answer:
        response: aiohttp.ClientResponse | None = None
        try:
            url = _url(request.url)
            async with asyncio.timeout_at(deadline):
                response = await session.post(
                    url,
                    data=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    timeout=_connecting_within(request.connect_timeout_s),
                )
            trail.headers_at = asyncio.get_running_loop().time()
            body, size, end = await _read_body(response, deadline)
        except Exception as error:
            code, detail = _explain(error, trail, request)
            return trail.answer(error=code, detail=detail)
        else:
            return trail.answer(
                status=response.status,
                headers=_kept_headers(response.raw_headers),
                body=body,
                body_bytes=size,
                body_end=end,
            )
        finally:
            trail.leave()
            if response is not None:
                response.close()


class _Refused(OSError):
    """An address that must not be dialled; an OSError because that is what aiohttp expects of a lookup."""


@dataclass(slots=True)
class _Trail:
    """What one try learns on its way, from the hooks aiohttp offers."""

    started_at: float
    redone: bool = False
    refused: str | None = None
    dns_at: float | None = None
    resolved_at: float | None = None
    dialled_at: float | None = None
    connected_at: float | None = None
    sent_at: float | None = None
    first_byte_at: float | None = None
    headers_at: float | None = None
    address: str | None = None
    tls: str | None = None
    reused: bool = False
    sent_headers: Headers = ()
    protocol: _Watched | None = None
    response: aiohttp.ClientResponse | None = None

    def leave(self) -> None:
        if self.protocol is not None:
            self.protocol.trail = None

    def answer(
        self,
        *,
        status: int | None = None,
        error: ErrorCode | None = None,
        detail: str | None = None,
        headers: Headers = (),
        body: bytes = b"",
        body_bytes: int = 0,
        body_end: BodyEnd | None = None,
    ) -> Answer:
        timings = Timings(
            dns_ms=_ms(self.dns_at, self.resolved_at),
            connect_ms=_ms(self.dialled_at, self.connected_at),
            first_byte_ms=_ms(self.sent_at, self.first_byte_at),
            headers_ms=_ms(self.first_byte_at, self.headers_at),
            total_ms=round((asyncio.get_running_loop().time() - self.started_at) * 1000, 3),
        )
        return Answer(
            status, error, detail, headers, body, body_bytes, body_end, self.address, self.tls,
            self.reused, self.redone, self.sent_headers, timings,
        )  # fmt: skip


# The try that the running task makes: aiohttp calls the hooks below within that task, without naming the request.
_trail: contextvars.ContextVar[_Trail] = contextvars.ContextVar("hookline_http_trail")


class _Guard(AbstractResolver):
    """Every way to an address: names are resolved here, and every socket is made here."""

    def __init__(self, refuse: Refuse, lookup: Lookup) -> None:
        self._refuse = refuse
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family  # both families are dialled
        trail = _trail.get()
        loop = asyncio.get_running_loop()
        trail.dns_at = loop.time()
        addresses = await self._lookup(host)
        trail.resolved_at = loop.time()
        if not addresses:
            raise OSError(errno.ENOENT, "the name has no address")
        for address in addresses:
            self._check(address)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in addresses
        ]

    def open_socket(self, addr_info: Any) -> socket.socket:
        """A socket for an address about to be dialled; IP literals come here without a lookup."""
        family, kind, protocol, _, sockaddr = addr_info
        self._check(sockaddr[0])
        trail = _trail.get()
        trail.address = _with_port(sockaddr)
        if trail.dialled_at is None:
            trail.dialled_at = asyncio.get_running_loop().time()
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """The lookup belongs to whoever made it."""

    def _check(self, address: str) -> None:
        reason = self._refuse(address)
        if reason is not None:
            _trail.get().refused = f"{address}: {reason}"
            raise _Refused(reason)


class _Watched(ResponseHandler):
    """A connection that notes when the answer begins and is closed when it speaks unasked."""

    trail: _Trail | None = None
    is_used = False
    made_at: float = 0.0
    tls_version: str | None = None
    address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.made_at = self._loop.time()
        tls = transport.get_extra_info("ssl_object")
        self.tls_version = tls.version() if tls is not None else None
        peer = transport.get_extra_info("peername")
        self.address = None if peer is None else _with_port(peer)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        response = self.trail.response if self.trail is not None else None
        content = response.content if response is not None else None
        if content is not None and not content.is_eof() and content.exception() is None:
            # After bad chunks aiohttp closes the connection and lets the body's reader wait for ever.
            content.set_exception(aiohttp.ClientPayloadError("the body broke off"))

    def data_received(self, data: bytes) -> None:
        if self.trail is None:
            # Bytes before a request would be read as its answer.
            self.abort()
            return
        if self.trail.first_byte_at is None:
            self.trail.first_byte_at = self._loop.time()
        super().data_received(data)


class _Connector(aiohttp.TCPConnector):
    def __init__(self, guard: _Guard, tls: ssl.SSLContext, *, keep: bool) -> None:
        options: dict[str, Any] = {"keepalive_timeout": KEEP_ALIVE_S} if keep else {"force_close": True}
        super().__init__(
            resolver=guard,
            socket_factory=guard.open_socket,
            use_dns_cache=False,
            ssl=tls,
            limit=0,  # whoever calls `send` bounds how often; a wait here would eat the connect timeout
            timeout_ceil_threshold=math.inf,
            **options,
        )
        # The one private name of aiohttp used: it offers no hook for the first byte (the contract suite guards it).
        make: Any = functools.partial(_Watched, loop=self._loop)
        self._factory = make


class _WatchedRequest(aiohttp.ClientRequest):
    """Notes the connection and the headers in fact sent."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        trail = _trail.get()
        protocol: _Watched = conn.protocol
        protocol.trail = trail
        trail.protocol = protocol
        trail.tls = protocol.tls_version
        trail.address = protocol.address or trail.address
        trail.reused = protocol.is_used
        if not protocol.is_used:
            protocol.is_used = True
            trail.connected_at = protocol.made_at
        trail.sent_at = self.loop.time()
        trail.response = response = await super().send(conn)
        trail.sent_headers = tuple((str(name), str(value)) for name, value in self.headers.items())
        return response


def _session(guard: _Guard, tls: ssl.SSLContext, *, keep: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=_Connector(guard, tls, keep=keep),
        request_class=_WatchedRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        auto_decompress=False,
        trust_env=False,
        max_field_size=16 * 1024,
    )


@functools.lru_cache(maxsize=16)
def _connecting_within(timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=timeout_s, ceil_threshold=math.inf)


@functools.lru_cache(maxsize=4096)
def _url(text: str) -> URL:
    if any(char <= " " or char == "\x7f" for char in text):
        raise aiohttp.InvalidURL("<a space or control character>")
    # As registered: a path's escapes are the endpoint's business, and so are its dots.
    url = URL(text, encoded=text.isascii())
    if url.scheme not in ("http", "https") or not url.raw_host or url.user is not None or url.password is not None:
        raise aiohttp.InvalidURL("<not http(s)://host/…, or with a user in it>")
    return url


async def _read_body(response: aiohttp.ClientResponse, deadline: float) -> tuple[bytes, int, BodyEnd]:
    kept = bytearray()
    size = 0
    end: BodyEnd = "limit"
    try:
        async with asyncio.timeout_at(deadline):
            while size < BODY_READ_BYTES:
                piece = await response.content.read(BODY_READ_BYTES - size)
                if not piece:
                    end = "complete"
                    break
                size += len(piece)
                kept += piece[: BODY_KEPT_BYTES - len(kept)]
    except TimeoutError:
        end = "deadline"
    except (aiohttp.ClientError, OSError, ValueError):
        end = "broken"
    return bytes(kept), size, end


def _kept_headers(raw: Sequence[tuple[bytes, bytes]]) -> Headers:
    """The first of an answer's headers as text that JSON can hold: bytes become the characters of that number."""
    return tuple(
        (name[:HEADER_KEPT_CHARS].decode("latin-1"), value[:HEADER_KEPT_CHARS].decode("latin-1"))
        for name, value in itertools.islice(raw, HEADERS_KEPT)
    )


_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


def _explain(error: Exception, trail: _Trail, request: Request) -> tuple[ErrorCode, str]:
    """Name what went wrong, from the exception and how far the try had come."""
    code, detail = _explain_unsent(error, trail, request) if trail.sent_at is None else _explain_sent(error, request)
    return code, detail[:HEADER_KEPT_CHARS]


def _explain_unsent(error: Exception, trail: _Trail, request: Request) -> tuple[ErrorCode, str]:
    if trail.refused is not None:
        return "address_refused", f"the address must not be called: {trail.refused}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns", f"the name cannot be resolved: {error.os_error.strerror or error.os_error}"
    if isinstance(error, TimeoutError):
        seconds = min(request.connect_timeout_s, request.total_timeout_s)
        doing = "while resolving the name" if trail.dialled_at is None else "while connecting"
        return "connect_timeout", f"no connection within {seconds:g} s ({doing})"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls", _tls_reason(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        if number == errno.ECONNREFUSED:
            return "connect_refused", "the connection was refused"
        if number in _EXHAUSTED:
            return "local", f"this machine could not connect: {error.os_error.strerror}"
        return "connect_failed", f"the connection failed: {error.os_error.strerror or error.os_error}"
    if isinstance(error, ValueError | TypeError):  # InvalidURL is a ValueError
        return "bad_url", f"this is not a URL that can be called: {error}"
    return "local", f"the request could not be sent: {type(error).__name__}"


def _explain_sent(error: Exception, request: Request) -> tuple[ErrorCode, str]:
    chain = tuple(_chain(error))
    if any(isinstance(link, ssl.SSLError) for link in chain):
        return "tls", _tls_reason(error)
    if isinstance(error, TimeoutError):
        return "timeout", f"no complete answer headers within {request.total_timeout_s:g} s"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed", "the connection was closed before complete answer headers"
    if isinstance(error, aiohttp.ClientResponseError):
        if any(isinstance(link, LineTooLong) for link in chain) or "Too many headers" in error.message:
            return "headers_too_large", "the answer's headers are larger than can be read"
        return "protocol", "what came back is not HTTP"
    if isinstance(error, OSError | aiohttp.ClientConnectionError):
        return "reset", "the connection broke before complete answer headers"
    return "protocol", f"what came back is not HTTP ({type(error).__name__})"


def _tls_reason(error: Exception) -> str:
    for link in _chain(error):
        if isinstance(link, aiohttp.ClientError):
            continue  # a wrapper that claims to be an ssl error as well
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"the certificate does not hold: {link.verify_message}"
        if isinstance(link, ssl.SSLError):
            return f"the TLS handshake failed: {link.reason or link}"
    return "the TLS handshake failed"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _with_port(sockaddr: tuple[Any, ...]) -> str:
    host, port = sockaddr[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1000, 3)
