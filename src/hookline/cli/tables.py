"""What several commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hookline.wire.timestamps import format_ms

# How states are coloured on a terminal, in tables and where logs are followed.
STYLES: Final = {
    **dict.fromkeys(("succeeded", "delivered", "applied", "fact", "enabled", "active", "finished"), "green"),
    **dict.fromkeys(("failed", "dead", "canceled", "disabled", "revoked"), "red"),
    **dict.fromkeys(("pending", "running", "retrying", "held", "paused", "stale", "waiting", "unknown"), "yellow"),
}

MOST_FOLDED: Final = 6
"""Of more columns, in too narrow a terminal, none would be left wide enough to be read."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table on stdout; `empty` where there are no rows.

    On a terminal states have colours, unless NO_COLOR is set, and what is wider than it is folded; rows of many columns
    become a block of lines each. Elsewhere the same rows are plain: a line each, aligned. Nothing is cut off.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if not cells:
        print(empty, file=sys.stdout if sys.stdout.isatty() else sys.stderr)
    elif sys.stdout.isatty():
        console = Console(file=sys.stdout)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in columns:
            table.add_column(title, overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        if len(columns) > MOST_FOLDED and _width(console, table) > console.width:
            _print_blocks(console, columns, cells)
        else:
            console.print(table)
    else:
        print_lines([list(columns), *cells])


def _width(console: Console, table: Table) -> int:
    """How wide it would be if it could."""
    return console.measure(table, options=console.options.update(max_width=100_000)).maximum


def _print_blocks(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A block of lines for each row, a column each: as psql shows what is too wide."""
    width = max(map(len, columns))
    for row in rows:
        for title, cell in zip(columns, row, strict=True):
            console.print(Text(f"{title:<{width}}  ", style="bold") + Text(cell, style=STYLES.get(cell, "")))
        console.print()


def print_lines(rows: Sequence[Sequence[str]]) -> None:
    """Rows of text in aligned columns, a line each."""
    flat = [[cell.replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    for row in flat:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and what they say, a line each; what is None is left out."""
    shown = [(name, printable(value)) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


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
