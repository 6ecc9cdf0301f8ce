"""Databases of the bench's own: a file each on SQLite, and on a PostgreSQL server started for it, with fsync."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.postgres import Cluster, make_cluster

from bench.measure import tree_cpu_s
from hookline.storage import Dialect

KINDS: Final[tuple[Dialect, ...]] = ("sqlite", "postgres")
NAMES: Final = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
# What commits stand on, as it is said in the reports.
DURABLE: Final = {"sqlite": "synchronous=FULL", "postgres": "fsync on"}
# As the server comes, but for a cache as a server of this size has one. The prefix tells whose statement a line is.
SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    "autovacuum_naptime": "1min",
    "log_line_prefix": "%a %d ",
}


class Databases:
    """Databases of one kind."""

    def __init__(self, kind: Dialect, cluster: Cluster | None = None) -> None:
        self.kind = kind
        self._cluster = cluster

    @property
    def name(self) -> str:
        """For people."""
        return NAMES[self.kind]

    @property
    def described(self) -> str:
        """For people, with what a commit stands on."""
        return f"{self.name}, {DURABLE[self.kind]}"

    @property
    def cluster(self) -> Cluster:
        """The server, where there is one."""
        assert self._cluster is not None
        return self._cluster

    @contextlib.contextmanager
    def fresh(self, copied: str | None = None) -> Iterator[str]:
        """The URL of a new database, empty or a copy of the one at that URL, which nobody uses meanwhile."""
        if self._cluster is None:
            with tempfile.TemporaryDirectory(prefix="hl-bench-") as folder:
                file = Path(folder) / "bench.db"
                if copied is not None:
                    shutil.copy(copied.removeprefix("sqlite:///"), file)
                yield f"sqlite:///{file}"
            return
        name = self._cluster.create() if copied is None else self._cluster.create(self.name_of(copied))
        try:
            yield self._cluster.url(name)
        finally:
            self._cluster.drop(name)

    @staticmethod
    def name_of(url: str) -> str:
        """The name of a database on the server."""
        return url.partition("?")[0].rpartition("/")[2]

    def server_s(self) -> float | None:
        """CPU the server's processes have used so far, in seconds; None without a server."""
        if self._cluster is None:
            return None
        return tree_cpu_s(int((self._cluster.folder / "data" / "postmaster.pid").read_text().split()[0]))


@contextlib.contextmanager
def opened(kind: Dialect) -> Iterator[Databases]:
    """Databases of this kind until the block ends; a server is started for them and stopped."""
    if kind == "sqlite":
        yield Databases(kind)
        return
    cluster = make_cluster(SETTINGS)
    try:
        yield Databases(kind, cluster)
    finally:
        cluster.stop()


def version(databases: Databases) -> str:
    """Which server it is."""
    with databases.cluster.connect() as connection:
        row = connection.execute("show server_version").fetchone()
    return f"PostgreSQL {row[0]}" if row is not None else "PostgreSQL"
