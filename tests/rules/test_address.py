"""Which URLs and addresses we may call, and who may call us."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.errors import ConfigError
from hookline.rules.address import (
    WORKOS_ADDRESSES,
    ClientAddress,
    Network,
    SourceAddresses,
    Target,
    client_address,
    egress_document,
    is_loopback,
    may_call,
    parse_egress_document,
    parse_networks,
    vet_ip,
    vet_url,
)

LONGEST = "a." * 124 + "aexam"
"""253 characters, the most DNS holds."""

FORBIDDEN = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.1", "cgnat"),
    ("100.100.100.200", "metadata"),
    ("100.127.255.255", "cgnat"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "metadata"),
    ("169.254.0.1", "link_local"),
    ("169.254.169.254", "metadata"),
    ("169.254.170.2", "metadata"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.8", "reserved"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "benchmark"),
    ("198.19.255.255", "benchmark"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::7f00:1", "v4_compatible"),
    ("::ffff:127.0.0.1", "v4_mapped"),
    ("::ffff:93.184.216.34", "v4_mapped"),
    ("::ffff:0:93.184.216.34", "v4_mapped"),
    ("64:ff9b::7f00:1", "nat64"),
    ("64:ff9b:1::1", "nat64"),
    ("100::1", "reserved"),
    ("2001::1", "teredo"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "teredo"),
    ("2001:2::1", "benchmark"),
    ("2001:10::1", "reserved"),
    ("2001:20::1", "reserved"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "6to4"),
    ("3fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("fc00::1", "unique_local"),
    ("fd00:ec2::254", "metadata"),
    ("fdff::1", "unique_local"),
    ("fe80::1", "link_local"),
    ("fec0::1", "site_local"),
    ("ff02::1", "multicast"),
]


@pytest.mark.parametrize(("address", "kind"), FORBIDDEN)
def test_special_addresses_are_not_dialled(address: str, kind: str) -> None:
    """Every special range, by its most telling name, given as text or as an address."""
    for given_ in (address, ip_address(address)):
        answer = vet_ip(given_)

        assert (answer.allowed, answer.kind) == (False, kind)
        assert "not a public address" in answer.message


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.17",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:200::1",
        "2a00:1450:4001::1",
    ],
)
def test_public_addresses_are_dialled(address: str) -> None:
    """Also those just outside a special range."""
    assert vet_ip(address).allowed
    assert vet_ip(address).kind == "global"


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.ip_addresses())
def test_nothing_the_standard_library_calls_special_is_dialled(address: Any) -> None:
    """An independent table agrees: what `ipaddress` does not call global, we do not dial."""
    if vet_ip(address).allowed:
        assert address.is_global
        assert not address.is_multicast


def test_what_is_no_address_is_not_dialled() -> None:
    """A name, an octal form, an empty text, a zone."""
    for text in ("example.com", "0177.0.0.1", "127.1", "", "1.1.1.1 "):
        assert vet_ip(text).kind == "malformed"
    assert not vet_ip("2606:4700::1111%eth0").allowed


def test_an_operator_may_allow_networks() -> None:
    """By CIDR, also metadata, and only the form that is dialled."""
    allowed = parse_networks("10.1.0.0/16, 169.254.169.254, fd12::/16", setting="HOOKLINE_ALLOWED_TARGETS")

    assert vet_ip("10.1.2.3", allowed=allowed).allowed
    assert vet_ip("169.254.169.254", allowed=allowed).allowed
    assert vet_ip("fd12::1", allowed=allowed).allowed
    assert not vet_ip("10.2.0.1", allowed=allowed).allowed
    assert not vet_ip("::ffff:10.1.2.3", allowed=allowed).allowed


def test_development_opens_inner_networks_only() -> None:
    """Loopback and private, but no metadata, no wrappers, no multicast."""
    opened = {kind for address, kind in FORBIDDEN if vet_ip(address, allow_private=True).allowed}

    assert opened == {"loopback", "private", "cgnat", "link_local", "unique_local", "site_local"}


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com/hooks", Target("https", "example.com", 443, None, "/hooks")),
        ("HTTPS://Example.COM", Target("https", "example.com", 443, None, "/")),
        ("https://example.com.:8443/a?b=c&d", Target("https", "example.com", 8443, None, "/a?b=c&d")),
        ("https://example.com:/", Target("https", "example.com", 443, None, "/")),
        ("https://example.com?x", Target("https", "example.com", 443, None, "/?x")),
        ("https://a_b.example.com/%2e%2e/", Target("https", "a_b.example.com", 443, None, "/%2e%2e/")),
        ("https://bücher.example/", Target("https", "xn--bcher-kva.example", 443, None, "/")),
        ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, None, "/")),
        ("https://例え。テスト/", Target("https", "xn--r8jz45g.xn--zckzah", 443, None, "/")),
        ("https://1.1.1.1/", Target("https", "1.1.1.1", 443, ip_address("1.1.1.1"), "/")),
        ("https://1.1.1.1./", Target("https", "1.1.1.1", 443, ip_address("1.1.1.1"), "/")),
        (
            "https://[2606:4700:0::1111]:65535/",
            Target("https", "2606:4700::1111", 65535, ip_address("2606:4700::1111"), "/"),
        ),
        ("https://example.com:1024/", Target("https", "example.com", 1024, None, "/")),
        (f"https://{LONGEST}/", Target("https", LONGEST, 443, None, "/")),
        ("https://7eleven.example.com/", Target("https", "7eleven.example.com", 443, None, "/")),
        ("https://0x7f.example.com/", Target("https", "0x7f.example.com", 443, None, "/")),
    ],
)
def test_urls_we_may_call(url: str, target: Target) -> None:
    """What comes back is what to dial: A-labels, no trailing dot, the port filled in."""
    answer = vet_url(url, environment="production")

    assert answer.target == target
    assert (answer.reason, answer.message) == (None, "")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "scheme"),
        ("ftp://example.com/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("example.com/hooks", "scheme"),
        ("//example.com/", "scheme"),
        ("", "scheme"),
        ("https://user:hunter2@hooks.example/", "credentials"),
        ("https://user@example.com/", "credentials"),
        ("https://@example.com/", "credentials"),
        ("https://example.com/#x", "fragment"),
        ("https://example.com/#", "fragment"),
        ("https:///hooks", "host"),
        ("https:example.com", "host"),
        ("https://:443/", "host"),
        ("https://a..example.com/", "host"),
        ("https://.example.com/", "host"),
        ("https://example.com../", "host"),
        ("https://-a.example.com/", "host"),
        ("https://a-.example.com/", "host"),
        ("https://" + "a" * 64 + ".example.com/", "host"),
        ("https://" + "a." * 127 + "com/", "host"),
        (f"https://a{LONGEST}/", "host"),
        ("https://%31%32%37.0.0.1/", "host"),
        ("https://exa%6dple.com/", "host"),
        ("https://faß.example/", "host"),
        ("https://a\u200db.example/", "host"),
        ("https://" + "ü" * 64 + ".example/", "host"),
        ("https://[2606:4700::1111/", "malformed"),
        ("https://2606:4700::1111/", "host_form"),
        ("https://[fe80::1%25eth0]/", "host_form"),
        ("https://[v1.x]/", "host_form"),
        ("https://0x7f.1/", "host_form"),
        ("https://0x7f000001/", "host_form"),
        ("https://0x/", "host_form"),
        ("https://2130706433/", "host_form"),
        ("https://0177.0.0.1/", "host_form"),
        ("https://127.1/", "host_form"),
        ("https://127.0.0.1.5/", "host_form"),
        ("https://256.1.1.1/", "host_form"),
        ("https://example.0x1/", "host_form"),
        ("https://127.0.0.1/", "address"),
        ("https://127.0.0.1./", "address"),
        ("https://１２７.０.０.１/", "address"),
        ("https://127。0。0。1/", "address"),
        ("https://①②⑦.0.0.1/", "address"),
        ("https://[::1]/", "address"),
        ("https://[::ffff:127.0.0.1]/", "address"),
        ("https://[64:ff9b::169.254.169.254]/", "address"),
        ("https://169.254.169.254/latest/meta-data", "address"),
        ("https://localhost/", "local_name"),
        ("https://LOCALHOST./", "local_name"),
        ("https://a.localhost/", "local_name"),
        ("https://metadata.google.internal/", "local_name"),
        ("https://printer.local/", "local_name"),
        ("https://intranet/", "local_name"),
        ("https://example.com:22/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:1023/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:000443/", "port"),
        ("https://example.com:-1/", "port"),
        ("https://example.com:8x/", "port"),
        ("https://example.com:٤٤٣/", "port"),
        ("https://exam ple.com/", "malformed"),
        (" https://example.com/", "malformed"),
        ("https://example.com/\n", "malformed"),
        ("https://exa\tmple.com/", "malformed"),
        ("https://example.com\\@evil.example/", "malformed"),
        ("https://example.com/\x00", "malformed"),
        ("https://example.com/ü", "malformed"),
        ("https://example.com/?q=ü", "malformed"),
        ("https://ex℀mple.com/", "malformed"),
        ("https://example.com/" + "a" * 2_048, "malformed"),
    ],
)
def test_urls_we_may_not_call(url: str, reason: str) -> None:
    """Each with its reason and a message that repeats neither credentials nor the path, which may hold a token."""
    answer = vet_url(url, environment="production")

    assert (answer.target, answer.reason) == (None, reason)
    assert answer.message
    assert "hunter2" not in answer.message
    assert "meta-data" not in answer.message


@pytest.mark.parametrize("url", ["https://x[2606:4700::1111]/", "https://[2606:4700::1111]x/", "https://]x[/"])
def test_brackets_hold_the_whole_host(url: str) -> None:
    """Newer Pythons refuse these while splitting, older ones leave it to us."""
    assert vet_url(url, environment="production").reason in ("malformed", "host")


def test_plain_http_is_for_other_environments() -> None:
    """Staging may call http, yet no inner address; development both, and any port and local name."""
    assert vet_url("http://example.com/", environment="staging").target == Target("http", "example.com", 80, None, "/")
    assert vet_url("http://127.0.0.1:9000/", environment="staging").reason == "address"
    for url in ("http://127.0.0.1:81/", "http://localhost:3000/", "http://[::1]:9/", "http://printer.local/"):
        assert vet_url(url, environment="production", allow_private=True).target is not None
    assert vet_url("ftp://127.0.0.1/", environment="staging", allow_private=True).reason == "scheme"
    assert vet_url("http://169.254.169.254/", environment="staging", allow_private=True).reason == "address"


def test_an_allowed_network_opens_its_literals() -> None:
    """The operator's list counts for URLs as for addresses."""
    allowed = (ip_network("10.0.0.0/8"),)

    assert vet_url("https://10.0.0.1/", environment="production", allowed=allowed).target is not None


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.text(max_size=40))
def test_no_text_makes_it_raise(text: str) -> None:
    """Whatever is registered gets an answer, and an accepted host is plain ASCII."""
    for url in (text, f"https://{text}", f"https://example.com{text}", f"https://[{text}]/"):
        answer = vet_url(url, environment="production")

        assert (answer.target is None) == (answer.reason is not None)
        if answer.target is not None:
            assert answer.target.host.isascii()
            assert (answer.target.path).isascii()


def nets(*texts: str) -> tuple[Network, ...]:
    return parse_networks(list(texts), setting="X")


@pytest.mark.parametrize(
    ("peer", "header", "trusted", "client", "reason"),
    [
        ("203.0.113.9", None, (), "203.0.113.9", "peer"),
        ("203.0.113.9", "1.2.3.4", (), "203.0.113.9", "peer"),
        ("203.0.113.9", "1.2.3.4", ("10.0.0.0/8",), "203.0.113.9", "peer"),
        ("10.0.0.1", None, ("10.0.0.0/8",), "10.0.0.1", "peer"),
        ("10.0.0.1", "1.2.3.4", ("10.0.0.0/8",), "1.2.3.4", "forwarded"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", ("10.0.0.0/8",), "1.2.3.4", "forwarded"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", ("10.0.0.0/8",), "1.2.3.4", "forwarded"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4", "10.0.0.2"], ("10.0.0.0/8",), "1.2.3.4", "forwarded"),
        ("10.0.0.1", "junk, 1.2.3.4", ("10.0.0.0/8",), "1.2.3.4", "forwarded"),
        ("10.0.0.1", "1.2.3.4, junk", ("10.0.0.0/8",), None, "malformed"),
        ("10.0.0.1", "1.2.3.4, unknown, 10.0.0.2", ("10.0.0.0/8",), None, "malformed"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", ("10.0.0.0/8",), "10.0.0.3", "forwarded"),
        ("10.0.0.1", "", ("10.0.0.0/8",), "10.0.0.1", "peer"),
        ("10.0.0.1", "1.2.3.4, ,", ("10.0.0.0/8",), "1.2.3.4", "forwarded"),
        ("10.0.0.1", "1.2.3.4:5555", ("10.0.0.0/8",), "1.2.3.4", "forwarded"),
        ("10.0.0.1", "[2606:4700::1]:5555", ("10.0.0.0/8",), "2606:4700::1", "forwarded"),
        ("10.0.0.1", "2606:4700::1", ("10.0.0.0/8",), "2606:4700::1", "forwarded"),
        ("::ffff:10.0.0.1", "::ffff:1.2.3.4", ("10.0.0.0/8",), "1.2.3.4", "forwarded"),
        ("fe80::1%eth0", None, (), "fe80::1", "peer"),
        ("::1", "1.2.3.4", ("::1",), "1.2.3.4", "forwarded"),
        (None, "1.2.3.4", ("10.0.0.0/8",), None, "no_peer"),
        ("unix:", "1.2.3.4", ("10.0.0.0/8",), None, "no_peer"),
    ],
)
def test_the_client_is_the_first_we_do_not_trust_from_the_right(
    peer: str | None, header: str | list[str] | None, trusted: tuple[str, ...], client: str | None, reason: str
) -> None:
    """What stands left of it anybody may have made up; what cannot be read at the edge of trust is nobody."""
    found = client_address(peer, header, nets(*trusted))

    assert (None if found.address is None else str(found.address), found.reason) == (client, reason)


def test_a_list_of_callers_is_a_list() -> None:
    """Empty lets everybody in; else the client must be on it, and nobody is on no list."""
    nobody = ClientAddress(None, "malformed")
    workos = client_address("52.1.251.34", None, ())
    other = client_address("52.1.251.35", None, ())

    assert may_call(nobody, ())
    assert may_call(workos, WORKOS_ADDRESSES.networks)
    assert not may_call(other, WORKOS_ADDRESSES.networks)
    assert not may_call(nobody, WORKOS_ADDRESSES.networks)


def test_the_guide_names_nine_addresses() -> None:
    """Versioned data: nine public addresses, each once, with a note of where they come from."""
    assert len(set(WORKOS_ADDRESSES.addresses)) == 9
    assert all(vet_ip(address).allowed for address in WORKOS_ADDRESSES.addresses)
    assert WORKOS_ADDRESSES.published


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.0.0.1/8", "host bits are set"),
        ("10.0.0.0/33", "'10.0.0.0/33'"),
        ("example.com", "'example.com'"),
        ("10.0.0.0/8; 1.1.1.1", "it is neither"),
    ],
)
def test_a_wrong_network_names_the_setting_and_the_entry(text: str, says: str) -> None:
    """Whoever wrote it finds the place."""
    with pytest.raises(ConfigError, match="HOOKLINE_ALLOWED_IPS") as caught:
        parse_networks(text, setting="HOOKLINE_ALLOWED_IPS")

    assert says in str(caught.value)


def test_networks_are_read_from_text_or_a_list() -> None:
    """Blanks and empty entries do not matter."""
    expected = (ip_network("10.0.0.0/8"), ip_network("1.1.1.1/32"), ip_network("::1/128"))

    assert parse_networks(" 10.0.0.0/8, 1.1.1.1 ,,::1", setting="X") == expected
    assert parse_networks(["10.0.0.0/8", "1.1.1.1", "::1"], setting="X") == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "got no JSON"),
        (b"[]", "version 1"),
        (b'{"version": 2, "addresses": ["192.0.2.7"]}', "version 1"),
        (b'{"version": 1}', "1 to 1000 addresses"),
        (b'{"version": 1, "addresses": []}', "1 to 1000 addresses"),
        (b'{"version": 1, "addresses": [7]}', "as text"),
        (b'{"version": 1, "addresses": ["192.0.2.999"]}', "192.0.2.999"),
        (b'{"version": 1, "addresses": ["0.0.0.0/0"]}', "half the world"),
    ],
)
def test_a_published_list_that_is_none_is_refused(content: bytes, says: str) -> None:
    """With the setting's name and what was expected; so a list in force is never replaced by an empty one."""
    with pytest.raises(ConfigError, match=f"^HOOKLINE_ALLOWED_IPS: .*{re.escape(says)}"):
        parse_egress_document(content, setting="HOOKLINE_ALLOWED_IPS")


def test_a_published_list_is_read() -> None:
    """What a newer sender adds is passed over."""
    source = SourceAddresses("hookline", "2026-01-31T12:00:00.000Z", ("192.0.2.7", "2001:db8::/48"))
    document = json.loads(egress_document(source, headers={"signature": "WorkOS-Signature"}))

    read = parse_egress_document(json.dumps(document | {"more": True}).encode(), setting="HOOKLINE_ALLOWED_IPS")

    assert read == SourceAddresses("hookline", "2026-01-31T12:00:00.000Z", ("192.0.2.7/32", "2001:db8::/48"))


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("example.com", False),
        ("192.0.2.7", False),
        ("", False),
    ],
)
def test_what_is_the_machine_itself(host: str, is_own: bool) -> None:
    assert is_loopback(host) is is_own
