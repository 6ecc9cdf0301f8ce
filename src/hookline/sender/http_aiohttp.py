"""`Exchange` on aiohttp: the other implementation, by a library that many know; a fifth of the speed."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import itertools
import math
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import LineTooLong
from yarl import URL

from hookline.sender.http import (
    BODY_KEPT_BYTES,
    BODY_READ_BYTES,
    DETAILS,
    HEADER_KEPT_CHARS,
    HEADERS_KEPT,
    KEEP_ALIVE_S,
    Answer,
    BodyEnd,
    CoroutineExchange,
    ErrorCode,
    Headers,
    Lookup,
    Refuse,
    Request,
    ThreadLookup,
    Timings,
    explain_connect,
    explain_no_answer,
    explain_no_connection,
    explain_tls,
    family_of,
    header_fault,
    kept_headers,
    ms_between,
    tls_context,
    with_port,
)


class AiohttpExchange(CoroutineExchange):
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
        if (fault := header_fault(request.headers)) is not None:
            return trail.answer(error="local", detail=fault)
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
                response = await session.request(
                    request.method,
                    url,
                    data=request.body if request.method == "POST" else None,
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
                headers=kept_headers(itertools.islice(response.raw_headers, HEADERS_KEPT)),
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
            dns_ms=ms_between(self.dns_at, self.resolved_at),
            connect_ms=ms_between(self.dialled_at, self.connected_at),
            first_byte_ms=ms_between(self.sent_at, self.first_byte_at),
            headers_ms=ms_between(self.first_byte_at, self.headers_at),
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
            ResolveResult(hostname=host, host=address, port=port, family=family_of(address), proto=0, flags=0)
            for address in addresses
        ]

    def open_socket(self, addr_info: Any) -> socket.socket:
        """A socket for an address about to be dialled; IP literals come here without a lookup."""
        family, kind, protocol, _, sockaddr = addr_info
        self._check(sockaddr[0])
        trail = _trail.get()
        trail.address = with_port(sockaddr)
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
        self.address = None if peer is None else with_port(peer)

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
        return "connect_timeout", explain_no_connection(request, is_resolved=trail.dialled_at is not None)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls", _tls_reason(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return explain_connect(error.os_error)
    if isinstance(error, ValueError | TypeError):  # InvalidURL is a ValueError
        return "bad_url", f"this is not a URL that can be called: {error}"
    return "local", f"the request could not be sent: {type(error).__name__}"


def _explain_sent(error: Exception, request: Request) -> tuple[ErrorCode, str]:
    chain = tuple(_chain(error))
    if any(isinstance(link, ssl.SSLError) for link in chain):
        return "tls", _tls_reason(error)
    if isinstance(error, TimeoutError):
        return "timeout", explain_no_answer(request)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed", DETAILS["closed"]
    if isinstance(error, aiohttp.ClientResponseError):
        if any(isinstance(link, LineTooLong) for link in chain) or "Too many headers" in error.message:
            return "headers_too_large", DETAILS["headers_too_large"]
        return "protocol", DETAILS["protocol"]
    if isinstance(error, OSError | aiohttp.ClientConnectionError):
        return "reset", DETAILS["reset"]
    return "protocol", f"{DETAILS['protocol']} ({type(error).__name__})"


def _tls_reason(error: Exception) -> str:
    for link in _chain(error):
        if isinstance(link, aiohttp.ClientError):
            continue  # a wrapper that claims to be an ssl error as well
        if isinstance(link, ssl.SSLError):
            return explain_tls(link)
    return "the TLS handshake failed"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
