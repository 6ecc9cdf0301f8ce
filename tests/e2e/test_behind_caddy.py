"""The receiver behind a real Caddy, with the block of docs/proxies.md, changed in its addresses alone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hookline.testing.authority import Authority

from .processes import SECRET, serving, wait_for
from .test_behind_nginx import ROOT, SPOOFED, STRANGER, changed, free_port, post

# Caddy calls from here, so that a caller needs an address of its own.
PROXY, CALLER = "127.0.0.1", "127.0.0.2"
STOP_TIMEOUT_S: Final = 20.0


def site() -> str:
    """The site that docs/proxies.md tells people to copy."""
    found = re.search(
        r"^(hooks\.example\.com \{\n.*?^\})$", (ROOT / "docs/proxies.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


@contextlib.contextmanager
def caddy(folder: Path, pem: Path, port: int, behind: str) -> Iterator[None]:
    """Caddy in front of `behind`, on a given port with TLS, until the block ends."""
    executable = shutil.which("caddy")
    if executable is None:
        pytest.skip("no Caddy on this machine (Debian and Ubuntu: caddy): it was not asked")
    served = f"https://{PROXY}:{port} {{\n    tls {pem} {pem}"
    told = changed(site(), {"hooks.example.com {": served, "127.0.0.1:8080": behind.removeprefix("http://")})
    config = folder / "Caddyfile"
    config.write_text(f"{{\n    admin off\n    auto_https off\n}}\n{told}\n")
    log = folder / "caddy.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [executable, "run", "--config", config, "--adapter", "caddyfile"],
            env={**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stderr=written,
        )
    try:

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection((PROXY, port)):
                return True
            return False

        wait_for(listens, "Caddy listens")
        yield
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def test_the_callers_address_is_seen_through_caddy_and_cannot_be_made_up(tmp_path: Path) -> None:
    authority, port = Authority.make(tmp_path), free_port()
    tls = ssl.create_default_context(cafile=authority.ca_file)
    with (
        serving("receiver", tmp_path, webhook_secrets=SECRET, allowed_ips=CALLER, trusted_proxies=PROXY) as receiver,
        caddy(tmp_path, authority.issue(PROXY), port, receiver.url),
    ):
        assert post(port, CALLER, tls) == (200, "")
        assert post(port, CALLER, tls, X_Forwarded_For=STRANGER) == (200, "")
        for spoofed in (CALLER, f"{CALLER}, {PROXY}", *SPOOFED):
            assert post(port, STRANGER, tls, X_Forwarded_For=spoofed) == (403, "address\n"), spoofed
