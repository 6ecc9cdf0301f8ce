"""A real nginx in the foreground, with a configuration of the test's own, until the block ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 20.0

CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


@contextlib.contextmanager
def running_nginx(folder: Path, http: str, *, port: int) -> Iterator[None]:
    """nginx with `http` in its http block, which listens on a loopback `port`; its files are in `folder`."""
    executable = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if executable is None:
        pytest.skip("no nginx on this machine (Debian and Ubuntu: nginx-light): it was not asked")
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, http=http))
    process = subprocess.Popen(
        [executable, "-p", folder, "-c", config, "-e", folder / "error.log"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"nginx did not start: {(folder / 'error.log').read_text()}")
                time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
