"""How a request looks from outside: who is believed about who asked, and by which scheme."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.dashboard.proxies import PEER, as_seen
from hookline.rules.address import parse_networks

TRUSTED = parse_networks(["10.0.0.0/8", "192.168.1.1"], setting="")


def scope(peer: str | None, *headers: tuple[str, str]) -> dict[str, Any]:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "scheme": "http", "client": (peer, 4711) if peer else None, "headers": pairs}


@pytest.mark.parametrize(
    ("peer", "headers", "address", "scheme"),
    [
        ("198.51.100.7", [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")], "198.51.100.7", "http"),
        ("10.0.0.1", [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https")], "198.51.100.7", "https"),
        ("10.0.0.1", [("x-forwarded-for", "9.9.9.9, 198.51.100.7, 10.0.0.2")], "198.51.100.7", "http"),
        ("10.0.0.1", [("x-forwarded-proto", "https")], "10.0.0.1", "https"),
        ("10.0.0.1", [("x-forwarded-proto", "https, http")], "10.0.0.1", "http"),
        ("10.0.0.1", [("x-forwarded-proto", "http"), ("x-forwarded-proto", "HTTPS")], "10.0.0.1", "https"),
        ("10.0.0.1", [("x-forwarded-proto", "gopher")], "10.0.0.1", "http"),
        ("10.0.0.1", [("x-forwarded-for", "somebody")], "", "http"),
        (None, [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https")], "", "http"),
    ],
)
def test_only_trusted_proxies_are_believed(
    peer: str | None, headers: list[tuple[str, str]], address: str, scheme: str
) -> None:
    seen = as_seen(scope(peer, *headers), TRUSTED)
    assert seen["client"][0] == address
    assert seen["scheme"] == scheme
    assert seen[PEER] == (peer or "")


def test_without_trusted_proxies_nothing_is_believed() -> None:
    seen = as_seen(scope("10.0.0.1", ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")), ())
    assert (seen["client"][0], seen["scheme"]) == ("10.0.0.1", "http")


def test_the_scope_given_stays_as_it_was() -> None:
    given = scope("10.0.0.1", ("x-forwarded-for", "198.51.100.7"))
    before = dict(given)
    as_seen(given, TRUSTED)
    assert given == before
