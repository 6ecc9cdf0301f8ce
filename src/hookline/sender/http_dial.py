"""From a URL to an open connection: read it strictly, resolve, check every address, dial what was checked.

The one place of `HttptoolsExchange` where sockets are made. Speaks no HTTP but CONNECT to an egress proxy.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from time import monotonic
from typing import Final, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

from hookline.rules.address import Network, vet_url
from hookline.sender.http import (
    HEADER_KEPT_CHARS,
    ErrorCode,
    Lookup,
    Refuse,
    explain_connect,
    explain_tls,
    family_of,
    with_port,
)

P = TypeVar("P", bound=asyncio.Protocol)
# What connections are kept by: scheme, host, port.
Key: TypeAlias = tuple[str, str, int]

# The next address of a name is tried beside a slow one after this long (RFC 8305, section 5).
NEXT_ADDRESS_S: Final = 0.25
# How long a closing TLS connection waits for the other side's goodbye.
TLS_GOODBYE_S: Final = 2.0
PROXY_ANSWER_BYTES: Final = 16 * 1024

# Whether an address may be dialled is asked of `refuse`, when it is dialled; of the URL only its form is judged here.
_EVERYWHERE: Final[tuple[Network, ...]] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_PORTS: Final = {"http": 80, "https": 443}
_CONNECT_ANSWER: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes. `key` tells connections apart; `literal` is the host, where it is an IP address.

    `prefix` is the head's beginning after the method: the rest of the request line, and Host.
    """

    key: Key
    literal: str | None
    path: str
    host_header: str
    prefix: str

    @property
    def is_tls(self) -> bool:
        return self.key[0] == "https"


@functools.lru_cache(maxsize=4096)
def destination(url: str, is_proxied: bool) -> Destination:
    """Read a URL as strictly as the registry does.

    Args:
        url: as registered.
        is_proxied: plain requests go to a proxy, which is told the whole URL (RFC 9112, section 3.2.2).

    Raises:
        ValueError: says why it cannot be called.
    """
    answer = vet_url(url, environment="", allowed=_EVERYWHERE, allow_private=True)
    target = answer.target
    if target is None:
        raise ValueError(answer.message)
    host = f"[{target.host}]" if ":" in target.host else target.host
    if target.port != _PORTS[target.scheme]:
        host = f"{host}:{target.port}"
    line = f"http://{host}{target.path}" if is_proxied and target.scheme == "http" else target.path
    return Destination(
        key=(target.scheme, target.host, target.port),
        literal=None if target.address is None else str(target.address),
        path=target.path,
        host_header=host,
        prefix=f" {line} HTTP/1.1\r\nHost: {host}\r\n",
    )


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """The proxy through which everything goes out. Its own address is the operator's and is not checked."""

    host: str
    port: int
    #: The value of Proxy-Authorization: a secret.
    authorization: str | None = field(repr=False)

    @property
    def header(self) -> str:
        """The line that a request handed to it needs; empty where it asks for no credentials."""
        return "" if self.authorization is None else f"Proxy-Authorization: {self.authorization}\r\n"

    @classmethod
    def from_url(cls, url: str) -> EgressProxy:
        """From `http://[user[:password]@]host[:port]`; port 80 where none is written.

        Raises:
            ValueError: it is no such URL. Never shows it, as it may hold a password.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        else:
            if parts.scheme != "http" or parts.path not in ("", "/") or parts.query or parts.fragment:
                host = None
        if not host or not url.isascii() or any(character <= " " for character in url):
            raise ValueError("expected an egress proxy as http://[user:password@]host[:port], got something else")
        authorization = None
        if parts.username is not None:
            pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
            authorization = "Basic " + base64.b64encode(pair).decode("ascii")
        return cls(host, port or 80, authorization)


class DialFailed(Exception):
    """There is no connection; `code` and `detail` as in `Answer`."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ErrorCode = code
        self.detail = detail[:HEADER_KEPT_CHARS]


@dataclass(slots=True)
class Dial:
    """What one dial learns on its way; times as `time.monotonic` tells them."""

    dns_at: float | None = None
    resolved_at: float | None = None
    dialled_at: float | None = None
    tls_at: float | None = None
    connected_at: float | None = None
    address: str | None = None


class Dialler:
    """Opens connections. One policy (`refuse`) for all of them.

    Args:
        refuse: asked for every address of a destination, before any is dialled.
        lookup: names to addresses.
        tls: from `tls_context`; certificates are checked against the destination's name.
        proxy: asked to connect to the checked address (https), or handed the request (http).
    """

    def __init__(self, *, refuse: Refuse, lookup: Lookup, tls: ssl.SSLContext, proxy: EgressProxy | None) -> None:
        self._refuse = refuse
        self._lookup = lookup
        self._tls = tls
        self._proxy = proxy

    async def open(self, to: Destination, make: Callable[[], P], dial: Dial) -> P:
        """A new connection that speaks `make()`; notes in `dial` how it went.

        Raises:
            DialFailed: there is none, and why. Cancellation passes through and leaves nothing open.
        """
        try:
            addresses = await self._checked(to, dial)
            return await self._connect(to, addresses, make, dial)
        except ssl.SSLError as error:
            raise DialFailed("tls", explain_tls(error)) from error
        except OSError as error:
            raise DialFailed(*explain_connect(error)) from error

    async def _checked(self, to: Destination, dial: Dial) -> Sequence[str]:
        """The destination's addresses, each of which may be dialled."""
        _, host, _ = to.key
        addresses: Sequence[str]
        if to.literal is not None:
            addresses = (to.literal,)
        else:
            dial.dns_at = monotonic()
            addresses = await self._resolve(host)
            dial.resolved_at = monotonic()
        for address in addresses:
            reason = self._refuse(address)
            if reason is not None:
                raise DialFailed("address_refused", f"the address must not be called: {address}: {reason}")
        return addresses

    async def _resolve(self, host: str) -> Sequence[str]:
        try:
            addresses = await self._lookup(host)
        except OSError as error:
            raise DialFailed("dns", f"the name cannot be resolved: {error.strerror or error}") from error
        if not addresses:
            raise DialFailed("dns", "the name cannot be resolved: it has no address")
        return addresses

    async def _connect(self, to: Destination, addresses: Sequence[str], make: Callable[[], P], dial: Dial) -> P:
        scheme, host, port = to.key
        dial.dialled_at = monotonic()
        if self._proxy is None:
            connected = await _reach(addresses, port, dial)
        else:
            connected = await self._through(self._proxy, to, addresses, dial)
        dial.tls_at = monotonic() if to.is_tls else None
        loop = asyncio.get_running_loop()
        # From here on the transport owns the socket, also where the handshake fails or is cancelled.
        if scheme == "https":
            _, protocol = await loop.create_connection(
                make,
                sock=connected,
                ssl=self._tls,
                server_hostname=host,
                ssl_shutdown_timeout=TLS_GOODBYE_S,
            )
        else:
            _, protocol = await loop.create_connection(make, sock=connected)
        dial.connected_at = monotonic()
        return protocol

    async def _through(
        self, proxy: EgressProxy, to: Destination, addresses: Sequence[str], dial: Dial
    ) -> socket.socket:
        """A socket at the proxy; for https one that leads on to the first of the addresses it can reach."""
        found = (proxy.host,) if _is_literal(proxy.host) else await self._resolve(proxy.host)
        refusal: DialFailed | None = None
        for address in addresses if to.is_tls else addresses[:1]:
            connected = await _reach(found, proxy.port, dial)
            if not to.is_tls:
                return connected
            dial.address = with_port((address, to.key[2]))
            try:
                await _tunnel(connected, dial.address, proxy.header)
            except DialFailed as failed:
                connected.close()
                refusal = failed
            except BaseException:
                connected.close()
                raise
            else:
                return connected
        raise refusal or DialFailed("dns", "the name cannot be resolved: it has no address")


async def _reach(addresses: Sequence[str], port: int, dial: Dial) -> socket.socket:
    """A socket connected to the first address that takes it, in their order, the next beside one that is slow."""
    if len(addresses) == 1:
        return await _connect_to(addresses[0], port, dial)
    waiting = deque(_interleaved(addresses))
    racing: dict[asyncio.Task[socket.socket], str] = {}
    failure: BaseException | None = None
    try:
        while waiting or racing:
            if waiting:
                address = waiting.popleft()
                racing[asyncio.create_task(_connect_to(address, port, dial))] = address
            done, _ = await asyncio.wait(
                racing, timeout=NEXT_ADDRESS_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                address = racing.pop(task)
                failure = task.exception()
                if failure is None:
                    dial.address = with_port((address, port))
                    return task.result()
        raise failure or OSError("there is no address")
    finally:
        for task in racing:
            task.cancel()
        for ended in await asyncio.gather(*racing, return_exceptions=True):
            if isinstance(ended, socket.socket):
                ended.close()


async def _connect_to(address: str, port: int, dial: Dial) -> socket.socket:
    made = socket.socket(family_of(address), socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        dial.address = with_port((address, port))
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


def _interleaved(addresses: Sequence[str]) -> list[str]:
    """The families in turn: one that leads nowhere costs one wait, not one per address (RFC 8305, section 4)."""
    first = [address for address in addresses if family_of(address) == family_of(addresses[0])]
    other = [address for address in addresses if family_of(address) != family_of(addresses[0])]
    paired = [address for pair in zip(first, other, strict=False) for address in pair]
    return paired + first[len(other) :] + other[len(first) :]


async def _tunnel(connected: socket.socket, authority: str, credentials: str) -> None:
    """Have the proxy at the other end connect on to `authority` (RFC 9110, section 9.3.6)."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(
        connected, f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n".encode("ascii")
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await loop.sock_recv(connected, PROXY_ANSWER_BYTES)
        answer += piece
        if not piece or len(answer) > PROXY_ANSWER_BYTES:
            raise DialFailed("connect_failed", "the egress proxy gave no answer to CONNECT that can be read")
    read = _CONNECT_ANSWER.match(answer)
    if read is not None and not read[1].startswith(b"2"):
        raise DialFailed("connect_failed", f"the egress proxy answered CONNECT with {read[1].decode('ascii')}")
    # Behind the head nothing may come yet: in TLS the client speaks first.
    if read is None or answer.index(b"\r\n\r\n") + 4 != len(answer):
        raise DialFailed("connect_failed", "the egress proxy gave no answer to CONNECT that can be read")


def _is_literal(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
