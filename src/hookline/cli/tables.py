"""What several commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hookline.wire.timestamps import format_ms

WIDTH_OF_FILES = 200


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table on stdout, as wide as the terminal; `empty` where there are no rows."""
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    if table.row_count:
        Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH_OF_FILES).print(table)
    else:
        print(empty)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, ensure_ascii=False))


def printable(cell: object) -> str:
    """As text that cannot steer a terminal: names come from outside."""
    text = "-" if cell is None else str(cell)
    return "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in text)


def time_of(ms: int | None) -> str | None:
    """Unix milliseconds as people read them."""
    return None if ms is None else format_ms(ms * 1000)
