"""`Exchange` of our own, the default: HTTP/1.1 over httptools, with connections kept per destination.

Put together from dialling (http_dial.py) and single connections (http_connection.py); here is which connection takes
which request, and how many are kept for how long. Runs on any asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

from msgspec import structs

from hookline.sender.begun import GiveUp, begun
from hookline.sender.http import (
    HEADER_KEPT_CHARS,
    KEEP_ALIVE_S,
    Answer,
    ErrorCode,
    Exchange,
    Headers,
    Lookup,
    Refuse,
    Request,
    ThreadLookup,
    Timings,
    explain_no_connection,
    failed,
    header_fault,
    ms_between,
    ms_since,
    no_answer,
    tls_context,
)
from hookline.sender.http_connection import Connection, Post
from hookline.sender.http_dial import Destination, Dial, DialFailed, Dialler, EgressProxy, Key, destination

# Of idle connections at most so many per destination and in all; the longest idle goes first.
IDLE_PER_DESTINATION: Final = 512
IDLE_TOTAL: Final = 1024
# How long `close` waits for connections to end in good order.
CLOSE_S: Final = 1.0
PROXY_AUTHENTICATION_REQUIRED: Final = 407


class HttptoolsExchange(Exchange):
    """`Exchange` on httptools: no redirects, no cookies, no decompression, no proxies from the environment.

    Args:
        refuse: asked for every address before it is dialled (rules/address.py).
        tls: from `tls_context`.
        lookup: names to addresses; the system's resolver by default.
        proxy_url: the egress proxy, `http://[user:password@]host[:port]`. A destination's addresses are resolved and
            checked here all the same. For https the proxy is asked to connect to a checked address; for plain http it
            is handed the URL, and where it connects is its own business.
        keep_alive_s: how long an idle connection is kept.
        max_idle: how many are, in all; by default at most half of the descriptors that the process may have.

    Raises:
        ValueError: `proxy_url` is not of that form; it is not shown.

    Made inside the event loop that uses it.
    """

    def __init__(
        self,
        *,
        refuse: Refuse,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
        proxy_url: str | None = None,
        keep_alive_s: float = KEEP_ALIVE_S,
        max_idle: int | None = None,
    ) -> None:
        self._own_lookup = ThreadLookup() if lookup is None else None
        self._proxy = None if proxy_url is None else EgressProxy.from_url(proxy_url)
        self._dialler = Dialler(
            refuse=refuse,
            lookup=lookup or self._own_lookup or ThreadLookup(),
            tls=tls or tls_context(),
            proxy=self._proxy,
        )
        self._pool = _Pool(keep_alive_s=keep_alive_s, max_idle=_idle_room() if max_idle is None else max_idle)

    def begin(self, request: Request, done: Callable[[Answer], None]) -> GiveUp:
        started_at = monotonic()
        try:
            to = destination(request.url, self._proxy is not None)
        except ValueError as error:
            answer = _unsent(started_at, "bad_url", f"this is not a URL that can be called: {error}")
            return asyncio.get_running_loop().call_soon(done, answer).cancel
        headers = request.headers
        lines, fault = _known_lines(headers[: request.fixed])
        varying, other_fault = _lines(headers[request.fixed :])
        if (fault := fault or other_fault) is not None:
            return asyncio.get_running_loop().call_soon(done, _unsent(started_at, "local", fault)).cancel
        credentials = "" if self._proxy is None or to.is_tls else self._proxy.header
        # As evidence, and so without what the proxy is told.
        sent_headers: Headers = (("Host", to.host_header), *headers)
        if request.method == "POST":
            length = str(len(request.body))
            varying += f"Content-Length: {length}\r\n"
            sent_headers += (("Content-Length", length),)
        head = f"{request.method}{to.prefix}{credentials}{lines}{varying}\r\n".encode()
        sending = _Sending(request, head, sent_headers, started_at, started_at + request.total_timeout_s)
        sending.exchange, sending.to, sending.done = self, to, done
        kept = self._pool.take(to.key)
        if kept is None:
            sending.over_new()
        else:
            sending.over(kept)
        return sending.give_up

    async def close(self) -> None:
        await self._pool.close()
        if self._own_lookup is not None:
            self._own_lookup.close()

    async def connect(self, to: Destination, post: Post) -> Connection | Answer:
        """A connection dialled for this request, or what kept us from one."""
        dial = post.dial = Dial()
        try:
            async with asyncio.timeout(min(post.request.connect_timeout_s, post.deadline - monotonic())):
                return await self._open(to, dial)
        except TimeoutError:
            detail = explain_no_connection(post.request, is_resolved=dial.dialled_at is not None)
            return _unsent(post.started_at, "connect_timeout", detail, dial, is_redone=post.is_redone)
        except DialFailed as failed:
            return _unsent(post.started_at, failed.code, failed.detail, dial, is_redone=post.is_redone)

    async def _open(self, to: Destination, dial: Dial) -> Connection:
        def make() -> Connection:
            return Connection(to.key, self._pool)

        try:
            made = await self._dialler.open(to, make, dial)
        except DialFailed as failed:
            # Descriptors may be what this machine lacks, and idle connections what has them.
            if failed.code != "local" or not await self._pool.shed():
                raise
            made = await self._dialler.open(to, make, dial)
        made.address = dial.address
        return made

    def of_the_endpoint(self, answer: Answer) -> Answer:
        """The answer, unless it is the proxy that wants to know who we are."""
        if self._proxy is None or answer.status != PROXY_AUTHENTICATION_REQUIRED or answer.tls is not None:
            return answer
        return structs.replace(
            answer,
            status=None,
            error="connect_failed",
            detail=f"the egress proxy answered {PROXY_AUTHENTICATION_REQUIRED}: it does not take our credentials",
            headers=(),
            body=b"",
            body_bytes=0,
            body_end=None,
        )


def _lines(headers: Headers) -> tuple[str, str | None]:
    """Headers as lines of a head, or why they must not be sent."""
    if (fault := header_fault(headers)) is not None:
        return "", fault
    lines = ""
    for name, value in headers:
        lines += f"{name}: {value}\r\n"
    return lines, None


_known_lines: Final = functools.lru_cache(maxsize=1024)(_lines)


class _Sending(Post):
    """A request on its way to an answer: over a kept connection; where there is none, or it had been closed under us,
    over one dialled for it."""

    __slots__ = ("_connection", "_give_up_dialling", "done", "exchange", "to")

    exchange: HttptoolsExchange
    to: Destination
    done: Callable[[Answer], None]
    _connection: Connection | None

    def over(self, connection: Connection) -> None:
        """Send it there."""
        self._connection = connection
        connection.post(self)

    def over_new(self) -> None:
        """Dial, and send it there."""
        self._connection = None
        self._give_up_dialling = begun(self.exchange.connect(self.to, self), self._dialled, failed)

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        if self._connection is None:
            self._give_up_dialling()
        else:
            self._connection.abandon(self)

    def ended(self, answer: Answer) -> None:
        if answer.error in ("closed", "reset") and answer.reused and answer.timings.first_byte_ms is None:
            self.is_redone = True
            self.over_new()
        else:
            self.done(self.exchange.of_the_endpoint(answer))

    def _dialled(self, made: Connection | Answer) -> None:
        if isinstance(made, Connection):
            self.over(made)
        else:
            self.done(made)


def _unsent(
    started_at: float, error: ErrorCode, detail: str, dial: Dial | None = None, *, is_redone: bool = False
) -> Answer:
    dial = dial or Dial()
    return no_answer(
        error,
        detail[:HEADER_KEPT_CHARS],
        address=dial.address,
        redone=is_redone,
        timings=Timings(
            dns_ms=ms_between(dial.dns_at, dial.resolved_at),
            connect_ms=None,
            first_byte_ms=None,
            headers_ms=None,
            total_ms=ms_since(started_at),
        ),
    )


class _Pool:
    """The open connections: which are idle, by destination and by age."""

    def __init__(self, *, keep_alive_s: float, max_idle: int) -> None:
        self._keep_alive_s = keep_alive_s
        self._max_idle = max_idle
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        # Idle ones: all, longest idle first; and those of each destination.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._by_key: dict[Key, list[Connection]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._some_lost = asyncio.Event()
        self._is_closed = False

    # -- what connections tell ---------------------------------------------------------------------------------

    def made(self, connection: Connection) -> None:
        self._open.add(connection)
        if self._is_closed:
            connection.abort()

    def freed(self, connection: Connection) -> None:
        if self._is_closed:
            connection.close()
            return
        connection.idle_since = monotonic()
        same = self._by_key.get(connection.key)
        if same is None:
            self._by_key[connection.key] = same = [connection]
        else:
            same.append(connection)
        self._idle[connection] = None
        if len(same) > IDLE_PER_DESTINATION:
            self._drop(same[0])
        elif len(self._idle) > self._max_idle:
            self._drop(next(iter(self._idle)))
        if self._timer is None:
            self._timer = self._loop.call_later(self._keep_alive_s, self._expire)

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._remove(connection)
        self._some_lost.set()

    # -- what the exchange asks --------------------------------------------------------------------------------

    def take(self, key: Key) -> Connection | None:
        """An idle connection: the one used last, so that the others may grow old."""
        while same := self._by_key.get(key):
            found = same.pop()
            if not same:
                del self._by_key[key]
            del self._idle[found]
            if found.is_free and monotonic() - found.idle_since < self._keep_alive_s:
                return found
            found.close()
        return None

    async def shed(self) -> bool:
        """Let every idle connection go; False where there is none."""
        idle = list(self._idle)
        for connection in idle:
            self._remove(connection)
            connection.abort()
        while not all(connection.is_lost for connection in idle):
            await self._next_lost()
        return bool(idle)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_closed = True
        for connection in list(self._open):
            if connection in self._idle:
                connection.close()
            else:
                connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._open:
                    await self._next_lost()
        for connection in list(self._open):
            connection.abort()

    # -- inside ------------------------------------------------------------------------------------------------

    async def _next_lost(self) -> None:
        self._some_lost.clear()
        await self._some_lost.wait()

    def _remove(self, connection: Connection) -> None:
        del self._idle[connection]
        same = self._by_key[connection.key]
        if same[-1] is connection:
            same.pop()
        else:
            same.remove(connection)
        if not same:
            del self._by_key[connection.key]

    def _drop(self, connection: Connection) -> None:
        self._remove(connection)
        connection.close()

    def _expire(self) -> None:
        """One timer for all of them: set for the one that is idle longest."""
        self._timer = None
        now = monotonic()
        while self._idle:
            oldest = next(iter(self._idle))
            left_s = oldest.idle_since + self._keep_alive_s - now
            if left_s > 0:
                self._timer = self._loop.call_later(left_s, self._expire)
                return
            self._drop(oldest)


def _idle_room() -> int:
    """As many as half of the descriptors that this process may have: the others are for what is under way."""
    try:
        import resource
    except ImportError:  # not on Windows
        return IDLE_TOTAL
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return IDLE_TOTAL if soft == resource.RLIM_INFINITY else min(IDLE_TOTAL, soft // 2)
