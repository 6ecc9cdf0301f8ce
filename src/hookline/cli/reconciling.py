"""Following a pass, and what is said of passes and of what they found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hookline.cli.tables import print_facts, print_lines, print_table, printable, time_of
from hookline.receiver.drift_words import cause_of, clock_span, progress_in_words

if TYPE_CHECKING:
    from hookline.cli.progress import Following
    from hookline.receiver.drift import DriftItem
    from hookline.receiver.pass_store import Pass
    from hookline.receiver.passes import Progress


def tell_pass(following: Following, progress: Progress) -> None:
    """Say how a pass stands."""
    if progress.pass_.state == "running":
        seen = sum(one.seen for one in progress.listings)
        following.tell(seen, said=printable(progress_in_words(progress)))


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
