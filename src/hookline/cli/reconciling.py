"""Following a pass, and what is said of passes and of what they found."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from hookline.cli.tables import print_facts, print_lines, print_table, printable, time_of
from hookline.receiver.drift_words import cause_of, clock_span, progress_in_words

if TYPE_CHECKING:
    from hookline.receiver.drift import DriftItem
    from hookline.receiver.pass_store import Pass
    from hookline.receiver.passes import Progress

LINE_EVERY_S: Final = 10.0


class Follower:
    """Says how a pass stands on stderr: one line that is rewritten on a terminal, elsewhere one every ten seconds."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._told_s: float | None = None
        self._width = 0

    def tell(self, progress: Progress) -> None:
        """Say it, if it is time to."""
        now_s = time.monotonic()
        has_ended = progress.pass_.state != "running"
        if not self._is_terminal and self._told_s is not None and now_s - self._told_s < LINE_EVERY_S:
            return
        if not self._is_terminal and has_ended:
            return
        self._told_s = now_s
        text = printable(progress_in_words(progress))
        if self._is_terminal:
            print(f"\r{text:<{self._width}}", end="\n" if has_ended else "", file=sys.stderr, flush=True)
            self._width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)


def print_applied(pass_: Pass) -> None:
    """What a pass that puts things right came to."""

    def count(name: str, word: str) -> str:
        number = pass_.counts.get(name, 0)
        return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"

    print(
        f"{pass_.state}: {count('objects', 'object')} and {count('edges', 'membership')} read, "
        f"{count('changes', 'change')} made, {pass_.counts.get('died', 0):,} found gone, "
        f"{count('removed', 'membership')} ended; {count('requests', 'request')} in "
        f"{clock_span((pass_.updated_ms - pass_.created_ms) / 1_000)}"
    )


def print_items(items: Iterable[DriftItem]) -> None:
    """A line for each, without any value."""
    rows = [
        (
            one.row_id,
            one.object_id,
            one.kind,
            ", ".join(one.fields),
            cause_of(one),
            one.state if one.note is None else f"{one.state}: {one.note}",
        )
        for one in items
    ]
    if rows:
        print_table(("ITEM", "OBJECT", "KIND", "FIELDS", "LIKELY CAUSE", "STATE"), rows, empty="")


def print_values(rows: Sequence[tuple[str, Any, Any]]) -> None:
    """The values of fields, at the source and here."""
    print_lines([("  ", name, f"source: {printable(there)}", f"here: {printable(here)}") for name, there, here in rows])


def print_passes(passes: Sequence[Pass]) -> None:
    """Passes, a line each."""
    print_table(
        ("PASS", "SOURCE", "KIND", "MODE", "STATE", "ASKED BY", "BEGUN", "ENDED", "REASON"),
        (
            (
                one.row_id,
                one.source,
                one.kind if one.directory_id is None else f"{one.kind} of {one.directory_id}",
                one.mode.replace("_", " "),
                one.state,
                one.asked_by,
                time_of(one.created_ms),
                time_of(one.finished_ms),
                one.reason,
            )
            for one in passes
        ),
        empty="no passes",
    )


def print_pass(pass_: Pass) -> None:
    """One pass."""
    print_facts(
        [
            ("pass", pass_.row_id),
            ("source", pass_.source),
            ("kind", f"{pass_.kind}, {pass_.mode.replace('_', ' ')}"),
            ("directory", pass_.directory_id),
            ("state", pass_.state),
            ("reason", pass_.reason),
            ("asked by", pass_.asked_by),
            ("begun", time_of(pass_.created_ms)),
            ("ended", time_of(pass_.finished_ms)),
            *((name.replace("_", " "), f"{count:,}") for name, count in sorted(pass_.counts.items())),
        ]
    )
