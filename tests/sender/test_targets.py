"""A URL is vetted as written and by the addresses its name has now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_network

import pytest

from hookline.errors import RequestError
from hookline.sender.targets import TargetCheck


def found(*addresses: str) -> Callable[[str], Sequence[str]]:
    return lambda _host: addresses


def not_found(_host: str) -> Sequence[str]:
    raise OSError("no such name")


@pytest.mark.parametrize(
    ("lookup", "url"),
    [
        (found("93.184.215.14"), "https://example.com/"),
        (found("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"), "https://example.com:8443/x?y=z"),
        (not_found, "https://example.com/"),
        (not_found, "https://93.184.215.14/"),
    ],
)
def test_a_public_target_is_accepted(lookup: Callable[[str], Sequence[str]], url: str) -> None:
    """So is a name that has no address yet: dialling asks again."""
    TargetCheck(lookup=lookup)(url, "production")


@pytest.mark.parametrize(
    "addresses", [("10.0.0.1",), ("127.0.0.1",), ("93.184.215.14", "169.254.169.254"), ("::1",), ("::ffff:10.0.0.1",)]
)
def test_a_name_that_leads_inside_is_refused(addresses: tuple[str, ...]) -> None:
    """One inner address among public ones is enough."""
    with pytest.raises(RequestError) as caught:
        TargetCheck(lookup=found(*addresses))("https://example.com/", "production")

    assert (caught.value.status, caught.value.code) == (422, "invalid_url")


def test_plain_http_is_for_staging_and_development() -> None:
    """Refused in production, unless private targets are allowed."""
    check = TargetCheck(lookup=found("93.184.215.14"))

    check("http://example.com/", "staging")
    TargetCheck(allow_private=True, lookup=found("127.0.0.1"))("http://localhost:9000/", "production")
    with pytest.raises(RequestError):
        check("http://example.com/", "production")


def test_a_literal_is_not_looked_up() -> None:
    """An IP literal is judged as it stands."""
    asked: list[str] = []

    def lookup(host: str) -> Sequence[str]:
        asked.append(host)
        return ()

    with pytest.raises(RequestError):
        TargetCheck(lookup=lookup)("https://10.0.0.1/", "production")

    assert asked == []


def test_networks_on_the_operators_list_are_accepted() -> None:
    """By literal and by name."""
    check = TargetCheck(allowed=[ip_network("10.1.0.0/16")], lookup=found("10.1.2.3"))

    check("https://10.1.2.3/", "production")
    check("https://inside.example.com/", "production")


def test_a_lookup_that_hangs_costs_a_bounded_wait() -> None:
    """The name then counts as unresolved, and so do those who find no free lookup."""
    go = threading.Event()

    def hang(_host: str) -> Sequence[str]:
        go.wait()
        return ("10.0.0.1",)

    check = TargetCheck(lookup=hang, timeout_s=0.01)
    try:
        for _ in range(10):
            check("https://example.com/", "production")
    finally:
        go.set()


def test_where_a_url_leads_is_told() -> None:
    """Each address once; none where the name is not found; a literal is its own."""
    twice = TargetCheck(lookup=found("93.184.215.14", "93.184.215.14", "93.184.215.15"))

    assert twice.addresses("https://example.com/", "production") == ("93.184.215.14", "93.184.215.15")
    assert TargetCheck(lookup=not_found).addresses("https://example.com/", "production") == ()
    assert twice.addresses("https://93.184.215.16/", "production") == ("93.184.215.16",)
