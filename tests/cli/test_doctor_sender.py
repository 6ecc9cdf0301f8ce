"""The doctor's look at the sending end: endpoints' names, addresses, certificates, both ends' secrets."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from tests.cli.test_sender_commands import Run, command, settings  # noqa: F401 - fixtures

from hookline.cli import Exit
from hookline.cli.doctor_sender import MOST_HOSTS, Host, hosts_of, look_at_hosts
from hookline.config import SenderConfig

NOW = datetime.now(UTC)


@contextmanager
def tls_server(days: int, authority: trustme.CA) -> Iterator[int]:
    """The port of a server whose certificate ends in so many days, until the block is left."""
    made = authority.issue_cert("localhost", not_before=NOW - timedelta(days=30), not_after=NOW + timedelta(days=days))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                        tls.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_certificates_of_known_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOOKLINE_TARGETS_CA adds to the system's authorities, for the doctor as for the sender."""
    systems, own = trustme.CA(), trustme.CA()
    systems.cert_pem.write_to_path(tmp_path / "system.pem")
    own.cert_pem.write_to_path(tmp_path / "own.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    config = SenderConfig("", allow_private_targets=True, targets_ca=tmp_path / "own.pem")

    for authority in (systems, own):
        with tls_server(90, authority) as port:
            [found] = look_at_hosts([Host("localhost", port, is_tls=True)], config)
        assert (found.verdict, "valid until" in found.text) == ("ok", True), found.text


@pytest.mark.parametrize(
    ("days", "is_known", "verdict", "said"),
    [
        (90, True, "ok", "valid until"),
        (10, True, "warning", "its certificate ends in 9 d"),
        (-1, True, "problem", "certificate has expired"),
        (90, False, "problem", "does not hold"),
    ],
)
def test_certificates(tmp_path: Path, days: int, is_known: bool, verdict: str, said: str) -> None:
    """As the sender would judge them, and before they end."""
    authority = trustme.CA()
    (authority if is_known else trustme.CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    config = SenderConfig("", allow_private_targets=True, targets_ca=tmp_path / "ca.pem")

    with tls_server(days, authority) as port:
        [found] = look_at_hosts([Host("localhost", port, is_tls=True)], config)

    assert (found.verdict, said in found.text) == (verdict, True), found.text
    assert (found.to_do is None) == (verdict != "problem")


@pytest.mark.parametrize(
    ("host", "allows", "said"),
    [
        (Host("nowhere.invalid", 443, is_tls=True), False, "does not resolve"),
        (Host("a" * 80 + ".example", 443, is_tls=True), False, "does not resolve"),
        (Host("127.0.0.1", 1, is_tls=False), False, "it is never called: 127.0.0.1 is loopback"),
        (Host("127.0.0.1", 1, is_tls=False, endpoints=3), True, "cannot be reached: Connection refused (3 endpoints)"),
    ],
)
def test_names_and_addresses(host: Host, allows: bool, said: str) -> None:
    """What keeps every delivery away."""
    [found] = look_at_hosts([host], SenderConfig("", allow_private_targets=allows))

    assert (found.verdict, said in found.text) == ("problem", True), found.text


def test_plain_http_and_many_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers is well; of many some are looked at, and that is said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = Host("127.0.0.1", listening.getsockname()[1], is_tls=False)
        [found] = look_at_hosts([host], SenderConfig("", allow_private_targets=True))
    refused = [Host("127.0.0.1", port, is_tls=False) for port in range(1, MOST_HOSTS + 3)]
    *_, last = look_at_hosts(refused, SenderConfig(""))

    assert (found.verdict, found.text) == ("ok", "127.0.0.1 answers, without TLS")
    assert last.text.startswith("2 hosts more")


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def looked(command: Run, *arguments: str) -> dict[str, dict[str, Any]]:  # noqa: F811
    """What the doctor found, by check."""
    return {one["check"]: one for one in json.loads(command("doctor", "--json", *arguments).out)}


def test_both_ends_in_one_database(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """An endpoint that is this receiver's own door has to have its secret; disk, worker and hosts are told."""
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", "a_long_secret_that_is_another_one")
    assert command("db", "upgrade").code == Exit.OK
    before = looked(command, "--offline")
    files = {one.name for one in Path.cwd().iterdir()}
    made = command("endpoints", "create", "http://127.0.0.1:1/webhooks", "--events", "*", "--json").json
    other = command("endpoints", "create", "http://127.0.0.1:1/other", "--events", "*", "--json").json
    monkeypatch.delenv("HOOKLINE_WEBHOOK_SECRETS")
    none = looked(command, "--offline")[f"secret of {made['id']}"]
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", "a_long_secret_that_is_another_one")
    wrong = looked(command)
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", made["secret"])
    right = looked(command, "--offline")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(2**40, 2**40, 2**20))
    full = command("doctor", "--offline")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(2**40, 2**40, 2**29))
    low = looked(command, "--offline")["disk"]
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", f"'{made['secret']}'")
    quoted = looked(command, "--offline")["secrets of default"]

    # Of a sender that never ran nothing is made by looking: a key belongs to who runs it.
    assert before["deliveries"]["verdict"] == "ok"
    assert not [name for name in files if name.endswith(".key")]
    check = f"secret of {made['id']}"
    assert (none["verdict"], "no secret: every delivery is answered 503" in none["text"]) == ("problem", True)
    assert wrong[check]["verdict"] == "problem"
    assert "another secret: every delivery is answered 401" in wrong[check]["text"]
    assert "reveal-secret" in wrong[check]["to_do"]
    assert right[check]["verdict"] == "ok"
    assert f"secret of {other['id']}" not in wrong
    assert wrong["host 127.0.0.1:1"]["verdict"] == "problem"
    assert "(2 endpoints)" in wrong["host 127.0.0.1:1"]["text"]
    assert "host 127.0.0.1:1" not in right
    assert right["worker"]["text"] == "none was ever seen"
    assert right["deliveries"]["verdict"] == right["disk"]["verdict"] == "ok"
    assert full.code == Exit.FAILED
    assert "to do: make room" in full.out
    assert low["verdict"] == quoted["verdict"] == "warning"
    assert made["secret"] not in json.dumps([wrong, right, quoted])


def test_hosts_are_counted_once() -> None:
    """By name, port and scheme, those of most endpoints first."""

    class Named(NamedTuple):
        url: str

    urls = ["https://a.example/1", "https://a.example:443/2", "http://a.example/", "https://b.example:8443/x"]
    found = hosts_of([Named(url) for url in urls])  # type: ignore[misc] # all that is read of an endpoint

    assert found[0] == Host("a.example", 443, is_tls=True, endpoints=2)
    assert set(found[1:]) == {Host("a.example", 80, is_tls=False), Host("b.example", 8443, is_tls=True)}
