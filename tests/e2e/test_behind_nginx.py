"""The line as it is run in production: sender → nginx with TLS → receiver, and whom the receiver takes for the caller.

Each party has a loopback address of its own, so that it can be told which one was believed. nginx runs with the server
block of docs/proxies.md, changed in its addresses alone.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from hookline.testing.authority import Authority
from hookline.wire.signature import HEADER, sign

from ..nginx import running_nginx
from .processes import API_KEY, SECRET, Served, call, rows, serving, value, wait_for

SENDER, FIRST_PROXY, SECOND_PROXY, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"
ROOT: Final = Path(__file__).resolve().parents[2]
SPOOFED: Final = (SENDER, f"{SENDER}, {FIRST_PROXY}", f"{FIRST_PROXY}, {SENDER}", f"{SENDER},", "::ffff:127.0.0.1")
BODY: Final = b'{"id":"event_spoofed","event":"a.b","data":{}}'


def server_block() -> str:
    """The block that docs/proxies.md tells people to copy."""
    found = re.search(r"^```nginx\n(.*?)^```$", (ROOT / "docs/proxies.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def changed(block: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert block.count(old) == 1, old
        block = block.replace(old, new)
    return block


@contextlib.contextmanager
def nginx(folder: Path, pem: Path, outer: int, behind: str, *, is_double: bool = False) -> Iterator[None]:
    """One nginx before `behind`, or two; the outer one listens on a given port, with TLS."""
    inner = free_port()
    block = server_block()
    files = {"/etc/hookline/hooks.pem": str(pem), "/etc/hookline/hooks.key": str(pem)}
    to = f"http://{SENDER}:{inner}" if is_double else behind

    def from_address(address: str, to: str) -> dict[str, str]:
        return {"proxy_pass http://127.0.0.1:8080;": f"proxy_pass {to}; proxy_bind {address};"}

    listening = {"listen 443 ssl;": f"listen {SENDER}:{outer} ssl;"}
    servers = [changed(block, {**listening, **files, **from_address(FIRST_PROXY, to)})]
    if is_double:
        plain = re.sub(r"^ *ssl_.*\n", "", block, flags=re.MULTILINE)
        listening = {"listen 443 ssl;": f"listen {SENDER}:{inner};"}
        servers.append(changed(plain, {**listening, **from_address(SECOND_PROXY, behind)}))
    with running_nginx(folder, "\n".join(servers), port=outer):
        yield


def post(url_port: int, from_address: str, tls: ssl.SSLContext | None, **headers: str) -> tuple[int, str]:
    """A well-signed webhook from one of this machine's addresses; status and text of the answer."""
    signed = {
        HEADER: sign(BODY, SECRET, timestamp_ms=time.time_ns() // 1_000_000),
        "Content-Type": "application/json",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    source = (from_address, 0)
    connection = (
        http.client.HTTPConnection(SENDER, url_port, timeout=20, source_address=source)
        if tls is None
        else http.client.HTTPSConnection(SENDER, url_port, timeout=20, source_address=source, context=tls)
    )
    with contextlib.closing(connection):
        connection.request("POST", "/webhooks", BODY, signed)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def free_port() -> int:
    with socket.create_server((SENDER, 0)) as free:
        port: int = free.getsockname()[1]
        return port


def register(sender: Served, port: int) -> str:
    """Make an endpoint for what is behind a port; its secret."""
    endpoint = {"endpoint_url": f"https://{SENDER}:{port}/webhooks", "events": ["dsync.user.created"]}
    created = call(sender, "POST", "/webhook_endpoints", endpoint)
    assert created.status == 201, created.body
    secret: str = created.json["secret"]
    return secret


def publish(sender: Served) -> None:
    data = {"object": "directory_user", "id": "directory_user_1", "directory_id": "directory_1", "state": "active"}
    assert call(sender, "POST", "/api/v1/events", {"event": "dsync.user.created", "data": data}).status == 201


@pytest.mark.parametrize("proxies", [1, 2])
def test_the_callers_address_is_seen_through_nginx_and_cannot_be_made_up(tmp_path: Path, proxies: int) -> None:
    authority = Authority.make(tmp_path)
    tls = ssl.create_default_context(cafile=authority.ca_file)
    receiving, sending = tmp_path / "receiver", tmp_path / "sender"
    receiving.mkdir()
    sending.mkdir()
    port = free_port()
    with (
        serving(
            "sender", sending, api_key=API_KEY, allowed_targets="127.0.0.0/8", targets_ca=authority.ca_file
        ) as sender,
        serving(
            "receiver",
            receiving,
            webhook_secrets=f"{register(sender, port)},{SECRET}",
            allowed_ips=SENDER,
            trusted_proxies=f"{FIRST_PROXY},{SECOND_PROXY}",
        ) as receiver,
        nginx(tmp_path, authority.issue(SENDER), port, receiver.url, is_double=proxies == 2),
    ):
        publish(sender)
        mirrored = "select count(*) from hookline_directory_users_live"
        wait_for(lambda: value(receiving / "hookline.db", mirrored), "the user is in the mirror")
        attempts = "select outcome, status from hookline_sender_attempts"
        assert wait_for(lambda: rows(sending / "hookline.db", attempts), "an attempt") == [("succeeded", 200)]

        # A stranger with a stolen secret, by way of the proxy and past it, who would be taken for the sender.
        door = int(receiver.url.rpartition(":")[2])
        for at, context in ((port, tls), (door, None)):
            for spoofed in SPOOFED:
                for name in ("X_Forwarded_For", "X_Real_IP"):
                    assert post(at, STRANGER, context, **{name: spoofed}) == (403, "address\n"), (at, name, spoofed)
        # The sender's own host, past the proxy: nobody need vouch for it.
        assert post(door, SENDER, None)[0] == 200
        assert post(port, SENDER, tls, X_Forwarded_For=STRANGER)[0] == 200
    events = rows(receiving / "hookline.db", "select type, count(*) from hookline_inbox group by 1 order by 1")
    assert events == [("a.b", 1), ("dsync.user.created", 1)]
    refused = "select reason, sum(times) from hookline_rejections group by 1"
    assert rows(receiving / "hookline.db", refused) == [("address", 4 * len(SPOOFED))]


def test_who_trusts_no_proxy_takes_the_proxy_for_the_caller(tmp_path: Path) -> None:
    """The list is of callers, and the proxy is none: it fails closed until somebody says that the proxy is trusted."""
    authority, port = Authority.make(tmp_path), free_port()
    tls = ssl.create_default_context(cafile=authority.ca_file)
    with (
        serving("receiver", tmp_path, webhook_secrets=SECRET, allowed_ips=SENDER) as receiver,
        nginx(tmp_path, authority.issue(SENDER), port, receiver.url),
    ):
        assert post(port, SENDER, tls) == (403, "address\n")
