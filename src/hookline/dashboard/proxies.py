"""How a request looks from outside, where trusted proxies stand in front: who asked, and by which scheme."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Final

from hookline.rules.address import Network, client_address

PEER: Final = "hookline.peer"
"""Where a scope keeps who is at the other end of the connection, once `client` says who asked."""


def as_seen(scope: MutableMapping[str, Any], trusted: Sequence[Network]) -> MutableMapping[str, Any]:
    """The ASGI scope of a request as its caller made it.

    `X-Forwarded-For` is believed as at the receiver's door (`rules.address.client_address`). `X-Forwarded-Proto` is
    believed where the connection's other end is itself a trusted proxy, and of several its last: what stands before
    that the caller may have made up. The address is '' where nobody can say it.
    """
    peer = (scope.get("client") or ("", 0))[0]
    lines: dict[bytes, list[str]] = {b"x-forwarded-for": [], b"x-forwarded-proto": []}
    if trusted:
        for name, value in scope["headers"]:
            if name in lines:
                lines[name].append(value.decode("latin-1"))
    found = client_address(peer or None, lines[b"x-forwarded-for"], trusted)
    address = peer if found.reason == "peer" or not trusted else str(found.address or "")
    seen = {**scope, PEER: peer, "client": (address, 0)}
    is_vouched = client_address(peer or None, "192.0.2.0", trusted).reason == "forwarded"
    protocols = [part.strip().lower() for line in lines[b"x-forwarded-proto"] for part in line.split(",")]
    if is_vouched and protocols and protocols[-1] in ("http", "https"):
        seen["scheme"] = protocols[-1]
    return seen
