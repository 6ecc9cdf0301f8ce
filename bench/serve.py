"""`hookline serve`, kept on one core, and what it says to SQLite counted.

Run as a process of its own: the core, a file to count in (or nothing), and the command's own arguments. The file holds
two numbers of eight bytes: statements, and looks at `data_version`, which DESIGN counts apart.
"""

from __future__ import annotations

import mmap
import sqlite3
import struct
import sys
import threading
from pathlib import Path
from typing import Any, Final

from bench.measure import pin
from bench.raw import lift_limit
from hookline.cli import main as command

COUNTS: Final = struct.Struct("=QQ")


def count_statements(file: Path) -> None:
    """Count what every connection that this process opens from now on is told to do."""
    file.write_bytes(bytes(COUNTS.size))
    with file.open("r+b") as opened:
        kept = mmap.mmap(opened.fileno(), COUNTS.size)
    guard = threading.Lock()
    counts = [0, 0]

    def said(statement: str) -> None:
        with guard:
            counts["data_version" in statement.lower()] += 1
            COUNTS.pack_into(kept, 0, *counts)

    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(said)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]  # where connections are opened nothing need know of it


if __name__ == "__main__":
    pin(int(sys.argv[1]))
    lift_limit()
    if sys.argv[2]:
        count_statements(Path(sys.argv[2]))
    sys.exit(command(sys.argv[3:]))
