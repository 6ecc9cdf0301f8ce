"""A `hookline serve` to measure: started on a database, watched, and stopped."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cryptography.fernet import Fernet

from bench.accepts import SECRET
from bench.databases import Databases
from bench.measure import BenchError, Child, process
from bench.serve import COUNTS
from hookline.sender.secrets import SecretBox
from hookline.storage import Database

API_KEY: Final = "sk_live_bench_only_0123456789"
Part: TypeAlias = Literal["sender", "worker"]
KEY: Final = Fernet.generate_key().decode()
BOX: Final = SecretBox([KEY])
# Of the server's lines those that are a statement of Hookline's; the bench's own say `bench`.
_STATEMENT: Final = r"^hookline {name} LOG:  (?:statement|execute [^:]*): "


@dataclass(slots=True)
class Served:
    """A part of Hookline at work on a database; `port` is where it listens, 0 where it does not."""

    child: Child
    port: int
    _databases: Databases
    _name: str
    _counts: Path

    def statements(self) -> int:
        """How many it has given the database so far. On PostgreSQL by the server's log."""
        if self._databases.kind == "sqlite":
            counted: int = COUNTS.unpack(self._counts.read_bytes())[0]
            return counted
        return len(re.findall(_STATEMENT.format(name=self._name), self._databases.cluster.log(), re.MULTILINE))

    def looks(self) -> int:
        """How often it has looked at `data_version` so far; on PostgreSQL never."""
        if self._databases.kind == "postgres":
            return 0
        counted: int = COUNTS.unpack(self._counts.read_bytes())[1]
        return counted

    def rss_mb(self) -> float:
        """What it holds of memory, in MiB."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) / 1024 if found is not None else float("nan")

    def wait_until(self, is_so: Callable[[], bool], what: Callable[[], str], *, timeout_s: float = 60.0) -> None:
        """Wait for it. BenchError where the process has ended, or it took too long: then `what` says what there is."""
        ends_s = time.monotonic() + timeout_s
        while not is_so():
            if not self.child.is_running:
                raise BenchError(f"{self.child.name} has ended: {what()}")
            if time.monotonic() > ends_s:
                raise BenchError(f"after {timeout_s:g} s: {what()}")
            time.sleep(0.02)


@contextlib.contextmanager
def serving(databases: Databases, url: str, part: Part = "sender", *, is_counted: bool = False) -> Iterator[Served]:
    """`hookline serve` on core 0, on the database at `url`, where `BOX` has sealed what is sealed.

    Args:
        is_counted: whether its statements are counted, which costs time.
    """
    name = databases.name_of(url)
    if is_counted and databases.kind == "postgres":
        with databases.cluster.connect() as connection:
            connection.execute(f"alter database {name} set log_statement = 'all'")
            connection.execute(f"alter database {name} set log_parameter_max_length = 0")
    settings = {
        "DATABASE_URL": url,
        "API_KEY": API_KEY,
        "ENCRYPTION_KEY": KEY,
        "WEBHOOK_SECRETS": SECRET,
        "LOG_LEVEL": "error",
    }
    with tempfile.TemporaryDirectory(prefix="hl-bench-") as folder:
        counts = Path(folder) / "counts"
        arguments = ["0", str(counts) if is_counted else "", "serve", part, "--port", "0", "--json"]
        if part == "sender":
            arguments.append("--allow-private-targets")
        environment = {f"HOOKLINE_{setting}": value for setting, value in settings.items()}
        with process("bench.serve", *arguments, environment=environment) as (child, line):
            where = json.loads(line)["url"]
            yield Served(child, int(where.rpartition(":")[2]) if where else 0, databases, name, counts)


def beside(databases: Databases, url: str) -> str:
    """The same database for the bench itself, so that the server tells whose statements are whose."""
    return url if databases.kind == "sqlite" else f"{url}&application_name=bench"


def states(database: Database) -> dict[str, int]:
    """How many deliveries are in each state; of few, since it reads them all."""
    with database.read() as connection:
        sql = "select state, count(*) from hookline_sender_deliveries group by state"
        return dict(connection.execute(sql).fetchall())


def post(path: str, body: bytes) -> bytes:
    """A call of the API, as it goes over the wire."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {API_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
