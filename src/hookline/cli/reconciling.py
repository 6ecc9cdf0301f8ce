"""Following a pass, and what is said of passes and of what they found."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from hookline.cli.tables import print_facts, print_lines, print_table, printable, time_of
from hookline.receiver.pass_store import CHECK, EXPLAIN, JUDGE

if TYPE_CHECKING:
    from hookline.receiver.drift import DriftItem
    from hookline.receiver.pass_store import Pass
    from hookline.receiver.passes import Progress
    from hookline.receiver.reconcile import Report

LINE_EVERY_S: Final = 10.0
_WORDS: Final = {
    "organization": "organizations",
    "directory": "directories",
    "directory_user": "users",
    "directory_group": "groups",
    "directory_membership": "memberships",
}
_CAUSES: Final = {
    "never_received": "no event of it ever came",
    "rejected": "refused at the door",
    "dead_lettered": "could not be applied",
    "stale": "its event lost against a newer one",
    "changed_locally": "edited here",
    "unknown": "",
}


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
        text = _line(progress)
        if self._is_terminal:
            print(f"\r{text:<{self._width}}", end="\n" if has_ended else "", file=sys.stderr, flush=True)
            self._width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)


def _line(progress: Progress) -> str:
    pass_ = progress.pass_
    seen: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for one in progress.listings:
        seen[one.resource] += one.seen
        if one.state not in ("completed", "dropped"):
            left[one.resource] += one.listings
    parts = [f"{name} {seen[resource]:,}" for resource, name in _WORDS.items() if seen[resource]]
    if left["directory_membership"]:
        parts[-1:] = [*parts[-1:], f"{left['directory_membership']:,} groups left"]
    if not any(left[resource] for resource in _WORDS):
        parts += [
            word
            for resource, word in ((CHECK, "looking again"), (EXPLAIN, "reading the inbox"), (JUDGE, "judging"))
            if left[resource]
        ][:1]
    text = f"pass {pass_.row_id}: {', '.join(parts) or 'begins'}; {pass_.counts.get('requests', 0):,} requests"
    if progress.requests_per_s:
        text += f", {progress.requests_per_s:.1f}/s"
    if progress.end_ms is not None:
        text += f", about {_span_s((progress.end_ms - pass_.updated_ms) / 1_000)} left"
    if pass_.state == "running" and pass_.reason is not None:
        text += f"; waits: {printable(pass_.reason)}"
    return text


def _span_s(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 3_600}:{whole // 60 % 60:02}:{whole % 60:02}"


def print_applied(pass_: Pass) -> None:
    """What a pass that puts things right came to."""

    def count(name: str, word: str) -> str:
        number = pass_.counts.get(name, 0)
        return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"

    print(
        f"{pass_.state}: {count('objects', 'object')} and {count('edges', 'membership')} read, "
        f"{count('changes', 'change')} made, {pass_.counts.get('died', 0):,} found gone, "
        f"{count('removed', 'membership')} ended; {count('requests', 'request')} in "
        f"{_span_s((pass_.updated_ms - pass_.created_ms) / 1_000)}"
    )


def summary(report: Report) -> str:
    """What a dry run found, in one line."""
    parts = [
        f"{report.count('missing'):,} missing here",
        f"{report.count('extra'):,} extra here",
        f"{report.count('differs'):,} differ",
    ]
    if uncertain := report.count("uncertain"):
        parts.append(f"{uncertain:,} wait to be asked for")
    if ignored := report.count("missing", "extra", "differs", "uncertain", state="ignored"):
        parts.append(f"{ignored:,} ignored")
    if not_asked := report.pass_.counts.get("not_asked_again", 0):
        parts.append(f"{not_asked:,} of them were not asked for a second time")
    return " · ".join(parts)


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


def cause_of(item: DriftItem) -> str:
    """The likely cause of an item, with what says so."""
    words = _CAUSES[item.cause]
    evidence = item.evidence
    if item.cause == "rejected":
        refused = ", ".join(f"{times}× {reason}" for reason, times in evidence.get("refused", {}).items())
        return f"{words}: {refused}"
    if item.cause == "dead_lettered":
        return f"{words}: {evidence['dead']['event']} ({evidence['dead']['reason']})"
    if item.cause == "stale" and "lost" in evidence:
        return f"{words}: {evidence['lost']}"
    if item.cause == "changed_locally" and evidence.get("edited"):
        return f"{words}: {', '.join(evidence['edited'])}"
    if "newest" in evidence:
        newest = f"{evidence['newest']['event']} {evidence['newest']['outcome']}"
        return f"{words}; the newest is {newest}" if words else f"the newest event is {newest}"
    return words or "-"


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
