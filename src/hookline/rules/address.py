"""May we call this URL, this IP? May this IP call us?

Three questions on the way out: is the URL one we accept (`vet_url`), and is the address it resolved to, or names
outright, one we may dial (`vet_ip`)? The second is asked of *every* address, at the moment of dialling: a name vetted
at registration can answer differently an hour later. On the way in: which address does a request really come from
(`client_address`), and is it on the list (`may_call`)?

Answers are values with a reason. Nothing here resolves a name or opens a socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

import msgspec

from hookline.errors import ConfigError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

UrlReason: TypeAlias = Literal[
    "malformed",  # too long, blanks, control characters, unreadable
    "scheme",
    "credentials",
    "fragment",
    "host",  # none, or no name DNS could hold
    "host_form",  # an IP address in disguise
    "local_name",
    "port",
    "address",  # an IP literal that `vet_ip` refuses
]

MAX_URL: Final = 2_048


@dataclass(frozen=True, slots=True)
class Target:
    """Where an accepted URL leads.

    Attributes:
        scheme: `https` or `http`.
        host: lower-case ASCII, without trailing dot or brackets: for the resolver, the SNI and certificate check.
        port: the one written or the scheme's.
        address: the host, where it is an IP literal.
        path: path and query as written, at least `/`.
    """

    scheme: str
    host: str
    port: int
    address: Address | None
    path: str


@dataclass(frozen=True, slots=True)
class UrlAnswer:
    """Whether a URL may be called. `target` where it may; else `reason` and, for people, `message`."""

    target: Target | None
    reason: UrlReason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class IpAnswer:
    """Whether an address may be dialled. `kind` is what it is (`global`, `private`, `metadata`, …)."""

    allowed: bool
    kind: str
    message: str = ""


# What may not be dialled: most telling first, as one address can be in several. Sources: the IANA special-purpose
# registries for IPv4 and IPv6, RFC 3879 for site-local, and the clouds' own pages for metadata services.
_FORBIDDEN: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "metadata",
        (
            "169.254.169.254/32",  # AWS, Azure, Google Cloud, DigitalOcean, Oracle, OpenStack
            "169.254.170.2/32",  # AWS ECS task credentials
            "169.254.170.23/32",  # AWS EKS pod identity
            "100.100.100.200/32",  # Alibaba Cloud
            "168.63.129.16/32",  # Azure's wire server: a public-looking address inside every Azure network
            "fd00:ec2::254/128",
            "fd00:ec2::23/128",
            "fd20:ce::254/128",
        ),
    ),
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    ("cgnat", ("100.64.0.0/10",)),
    ("link_local", ("169.254.0.0/16", "fe80::/10")),
    ("unique_local", ("fc00::/7",)),
    ("site_local", ("fec0::/10",)),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("documentation", ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")),
    ("benchmark", ("198.18.0.0/15", "2001:2::/48")),
    # Wrappers around an IPv4 address: whoever unwraps them may dial what we would have refused.
    ("v4_mapped", ("::ffff:0:0/96", "::ffff:0:0:0/96")),
    ("v4_compatible", ("::/96",)),
    ("nat64", ("64:ff9b::/96", "64:ff9b:1::/48")),
    ("teredo", ("2001::/32",)),
    ("6to4", ("2002::/16", "192.88.99.0/24")),
    ("reserved", ("192.0.0.0/24", "240.0.0.0/4", "100::/64", "2001::/23", "5f00::/16")),
)
_TABLE: Final[tuple[tuple[str, tuple[Network, ...]], ...]] = tuple(
    (kind, tuple(ip_network(text) for text in texts)) for kind, texts in _FORBIDDEN
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
"""What of IPv6 has been given out at all; everything else is reserved."""

_DEVELOPMENT: Final = frozenset({"loopback", "private", "cgnat", "link_local", "unique_local", "site_local"})
"""What the development override opens. Not metadata, which no test needs, nor wrappers, which hide what is dialled."""


def address_kind(address: Address) -> str:
    """What an address is: `global`, or the most telling row of the table it is in."""
    for kind, networks in _TABLE:
        if any(address in network for network in networks):
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return "reserved"
    return "global"


def vet_ip(address: str | Address, *, allowed: Sequence[Network] = (), allow_private: bool = False) -> IpAnswer:
    """Whether we may dial this address.

    Args:
        address: one resolved or literal address; text that is none, or carries a zone (`fe80::1%eth0`), is refused.
        allowed: an operator's list for those who must reach inner networks; it outweighs the table, and it must name
            the address as it is dialled (a v4-mapped one by its IPv6 form).
        allow_private: the development override: inner networks and loopback, no metadata service.
    """
    if isinstance(address, str):
        text = address
        try:
            address = ip_address(text)
        except ValueError:
            return IpAnswer(False, "malformed", f"expected an IP address, got {text[:64]!r}")
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return IpAnswer(False, "link_local", f"{address} names an interface of this machine; it is never dialled")
    kind = address_kind(address)
    if kind == "global" or in_networks(address, allowed) or (allow_private and kind in _DEVELOPMENT):
        return IpAnswer(True, kind)
    return IpAnswer(
        False,
        kind,
        f"{address} is {kind.replace('_', '-')}, not a public address; an operator can allow it by CIDR",
    )


def vet_url(url: str, *, environment: str, allowed: Sequence[Network] = (), allow_private: bool = False) -> UrlAnswer:
    """Whether this URL may be registered and called.

    Judged strictly as written, not as a lenient client would repair it: what two parsers read differently is refused.
    An IP literal is vetted here already; a name's addresses when they are dialled.

    Args:
        url: as the user wrote it.
        environment: `production` takes https only, any other also http.
        allowed: see `vet_ip`.
        allow_private: the development override: also plain http, local names and every port.
    """
    if len(url) > MAX_URL:
        return _refuse("malformed", f"expected a URL of at most {MAX_URL} characters, got {len(url)}")
    if any(character <= " " or character in '\x7f\\<>"^`{|}' for character in url):
        return _refuse("malformed", "expected a URL without blanks, control characters, backslashes or quotes")
    try:
        parts = urlsplit(url)
    except ValueError:
        return _refuse("malformed", "expected a URL such as https://example.com/webhooks, got one that cannot be read")
    schemes = ("https", "http") if allow_private or environment != "production" else ("https",)
    if parts.scheme not in schemes:
        came = repr(parts.scheme[:20]) if parts.scheme else "no scheme"
        expected = " or ".join(f"{scheme}://…" for scheme in schemes)
        return _refuse("scheme", f"expected {expected}, got {came}")
    if "@" in parts.netloc:
        return _refuse("credentials", "expected a URL without user name or password; endpoints verify the signature")
    if "#" in url:
        return _refuse("fragment", "expected a URL without #…: a fragment is never sent")
    if not (parts.path + parts.query).isascii():
        return _refuse("malformed", "expected path and query in ASCII; percent-encode the other characters")
    return _vet_target(parts, allowed, allow_private)


def parse_networks(texts: str | Sequence[str], *, setting: str) -> tuple[Network, ...]:
    """Networks and single addresses from configuration: `10.0.0.0/8, 192.0.2.7`, comma separated or a list.

    Raises:
        ConfigError: names `setting` and the entry; also for a network with host bits set, which is a slip of the pen
            on one side of the slash.
    """
    networks: list[Network] = []
    for text in texts.split(",") if isinstance(texts, str) else texts:
        entry = text.strip()
        if not entry:
            continue
        try:
            networks.append(ip_network(entry))
        except ValueError as error:
            hint = "host bits are set" if "host bits" in str(error) else "it is neither"
            raise ConfigError(
                setting, f"expected an IP address or a network such as 192.0.2.0/24, got {entry[:64]!r}: {hint}"
            ) from error
    return tuple(networks)


def in_networks(address: Address, networks: Sequence[Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)


@dataclass(frozen=True, slots=True)
class SourceAddresses:
    """A provider's published list of where its webhooks come from: data with a date, as such lists drift."""

    provider: str
    published: str
    addresses: tuple[str, ...]

    @property
    def networks(self) -> tuple[Network, ...]:
        """For `may_call`."""
        return tuple(ip_network(address) for address in self.addresses)


WORKOS_ADDRESSES: Final = SourceAddresses(
    provider="workos",
    published='the guide "Sync data with webhooks", 2026',
    addresses=(
        "3.217.146.166",
        "23.21.184.92",
        "34.204.154.149",
        "44.213.245.178",
        "44.215.236.82",
        "50.16.203.9",
        "52.1.251.34",
        "52.21.49.187",
        "174.129.36.47",
    ),
)
"""The nine of the guide. Other pages of the provider list others, so the check is off unless asked for."""


WORKOS_READ: Final = date(2026, 11, 24)
"""When they were compared with the guide last."""

OLD_AFTER_DAYS: Final = 365


def is_old(read: date, today: date) -> bool:
    """Whether a list that came with a release has to be looked at again: addresses move about once a year."""
    return (today - read).days > OLD_AFTER_DAYS


EGRESS_VERSION: Final = 1
MAX_EGRESS_ADDRESSES: Final = 1_000


def egress_document(source: SourceAddresses, *, headers: Mapping[str, str]) -> bytes:
    """A provider's list as it publishes it under `/.well-known/`, for `parse_egress_document` at the other end.

    Args:
        source: `published` is when the list was changed last, RFC 3339.
        headers: what deliveries are known by, name to what it holds.
    """
    return msgspec.json.encode(
        {
            "version": EGRESS_VERSION,
            "provider": source.provider,
            "updated": source.published,
            "addresses": source.addresses,
            "headers": dict(headers),
        }
    )


def parse_egress_document(content: bytes, *, setting: str) -> SourceAddresses:
    """What a sender publishes about where its deliveries come from, for a receiver's list of callers.

    Members that are not known are passed over; a newer version is refused, as it may mean something else.

    Raises:
        ConfigError: names `setting` and what is wrong: no JSON object, another version, no or too many addresses, an
            entry that is none, or a network so wide that it lets in everybody.
    """
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        raise ConfigError(setting, "expected the JSON document that a sender publishes, got no JSON") from None
    if not isinstance(found, dict) or found.get("version") != EGRESS_VERSION:
        raise ConfigError(setting, f"expected a document of version {EGRESS_VERSION}, got another or none")
    addresses = found.get("addresses")
    if not isinstance(addresses, list) or not 0 < len(addresses) <= MAX_EGRESS_ADDRESSES:
        raise ConfigError(setting, f"expected 1 to {MAX_EGRESS_ADDRESSES} addresses")
    if not all(isinstance(entry, str) for entry in addresses):
        raise ConfigError(setting, "expected addresses as text")
    for network in (networks := parse_networks(addresses, setting=setting)):
        if network.prefixlen < 8:
            raise ConfigError(setting, f"expected addresses of one sender, got {network}, which lets in half the world")
    provider, updated = found.get("provider"), found.get("updated")
    return SourceAddresses(
        provider=provider if isinstance(provider, str) else "unknown",
        published=updated if isinstance(updated, str) else "unknown",
        addresses=tuple(str(network) for network in networks),
    )


def check_source_url(url: str, *, setting: str, may_use_http: bool = False) -> None:
    """Refuse a URL at which nothing of a source may be read: it takes https, or http on this machine itself.

    Args:
        may_use_http: whether http is taken elsewhere, too.

    Raises:
        ConfigError: names `setting`.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError:
        raise ConfigError(setting, "expected a URL, as in https://api.example.com") from None
    is_here = is_loopback(parts.hostname or "")
    is_fit = parts.scheme == "https" or (parts.scheme == "http" and (is_here or may_use_http))
    if not is_fit or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ConfigError(setting, "expected an https URL without a user (http on this machine alone)")


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Where a request comes from, or, where `address` is None, why nobody can say: such a request is not on any list.

    `reason`: `peer` the connection's own · `forwarded` from the header, vouched for by trusted proxies · `no_peer` ·
    `malformed` the header's entry at the edge of trust is no address.
    """

    address: Address | None
    reason: Literal["peer", "forwarded", "no_peer", "malformed"]


def client_address(
    peer: str | None, forwarded_for: str | Sequence[str] | None, trusted_proxies: Sequence[Network]
) -> ClientAddress:
    """The address a request comes from, believing `X-Forwarded-For` only as far as trusted proxies wrote it.

    The header is walked from the right, the end our own proxy writes: every entry that is itself a trusted proxy is
    passed over, the first that is not is the client. What stands left of it anybody may have made up.

    Args:
        peer: the connection's other end; None on a Unix socket.
        forwarded_for: the header, or its several lines in order of arrival.
        trusted_proxies: whose entries to believe; empty: the header is not looked at.
    """
    if peer is None:
        return ClientAddress(None, "no_peer")
    current = _plain(peer)
    if current is None:
        return ClientAddress(None, "no_peer")
    reason: Literal["peer", "forwarded"] = "peer"
    lines = [forwarded_for] if isinstance(forwarded_for, str) else list(forwarded_for or ())
    entries = [entry.strip() for line in lines for entry in line.split(",")]
    while in_networks(current, trusted_proxies) and entries:
        entry = entries.pop()
        if not entry:
            continue
        parsed = _plain(entry)
        if parsed is None:
            return ClientAddress(None, "malformed")
        current, reason = parsed, "forwarded"
    return ClientAddress(current, reason)


def may_call(client: ClientAddress, allowed: Sequence[Network]) -> bool:
    """Whether the client is on the list; an empty list is no list, and lets everybody in."""
    if not allowed:
        return True
    return client.address is not None and in_networks(client.address, allowed)


_PORTS_BELOW_1024: Final = frozenset({80, 443})
_LOCAL_SUFFIXES: Final = (
    ".localhost",
    ".local",
    ".internal",
    ".localdomain",
    ".home.arpa",
    ".lan",
    ".intranet",
    ".corp",
)
_LABEL: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_HEX: Final = frozenset("0123456789abcdef")
_IDNA_VERSIONS_DIFFER: Final = frozenset("\u00df\u03c2\u200c\u200d")
"""ß, ς and the two joiners: the older and the newer IDNA map them to *different* names (RFC 5894 §7.2)."""


def _refuse(reason: UrlReason, message: str) -> UrlAnswer:
    return UrlAnswer(None, reason, message)


def _vet_target(parts: SplitResult, allowed: Sequence[Network], allow_private: bool) -> UrlAnswer:
    written, port_text, bracketed = _split_netloc(parts.netloc)
    if not written:
        return _refuse("host", "expected a URL with a host, as in https://example.com/webhooks")
    host = written if bracketed else _host_name(written)
    if host is None:
        return _refuse("host", f"expected a host name of letters, digits and hyphens, got {written[:64]!r}")
    address = _literal(host, bracketed)
    if address is None and (bracketed or _ends_in_number(host)):
        # Clients read 0x7f.1, 2130706433 or 0177.0.0.1 as 127.0.0.1, each in its own way.
        return _refuse("host_form", f"expected a name or an IP address written out in full, got {written[:64]!r}")
    if address is not None:
        answer = vet_ip(address, allowed=allowed, allow_private=allow_private)
        if not answer.allowed:
            return _refuse("address", answer.message)
        host = str(address)
    elif not allow_private and ("." not in host or host.endswith(_LOCAL_SUFFIXES)):
        return _refuse("local_name", f"expected a public host name, got {host[:64]!r}, known only inside a network")
    port = _port(port_text, parts.scheme)
    if port is None or (port < 1_024 and port not in _PORTS_BELOW_1024 and not allow_private):
        return _refuse("port", f"expected port 443, 80 or one of 1024 to 65535, got {port_text[:20]!r}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return UrlAnswer(Target(parts.scheme, host, port, address, path))


def _split_netloc(netloc: str) -> tuple[str, str, bool]:
    """Host, port text and whether the host was in brackets; an empty host where brackets do not match."""
    if "[" not in netloc and "]" not in netloc:
        host, _, port_text = netloc.partition(":")
        return host, port_text, False
    host, closing, rest = netloc[1:].partition("]")
    if not netloc.startswith("[") or not closing or (rest and not rest.startswith(":")):
        return "", "", True
    return host, rest[1:], True


def _port(text: str, scheme: str) -> int | None:
    if not text:
        return 443 if scheme == "https" else 80
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    port = int(text)
    return port if 0 < port <= 65_535 else None


def _host_name(written: str) -> str | None:
    """The name as DNS knows it: A-labels, lower case, no trailing dot; None where it cannot be one."""
    host = written
    if not host.isascii():
        if not _IDNA_VERSIONS_DIFFER.isdisjoint(host):
            return None
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(
        0 < len(label) <= 63 and _LABEL.issuperset(label) and label[0] != "-" and label[-1] != "-" for label in labels
    ):
        return None
    return host


def _literal(host: str, bracketed: bool) -> Address | None:
    try:
        if not bracketed:
            return IPv4Address(host)
        address = IPv6Address(host)
    except ValueError:
        return None
    return address if address.scope_id is None else None


def _ends_in_number(host: str) -> bool:
    """Whether clients would take the host for an IPv4 address (WHATWG URL, "ends in a number")."""
    last = host.rpartition(".")[2]
    return last.isdigit() or (last.startswith("0x") and _HEX.issuperset(last[2:]))


def is_loopback(host: str) -> bool:
    """Whether this name or address is the machine's own, whatever it resolves: nobody else gets there."""
    return host == "localhost" or ((address := _plain(host)) is not None and address.is_loopback)


def _plain(text: str) -> Address | None:
    """The address in a peer name or header entry: port, brackets and zone dropped, a v4-mapped one unwrapped (it is
    how a dual-stack socket names an IPv4 client).
    """
    bare = text
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
