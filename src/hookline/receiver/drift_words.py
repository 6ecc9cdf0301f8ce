"""What is said of passes and of what they found, in words, for the command and for pages: names and ids, no values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hookline.receiver.pass_store import CHECK, EXPLAIN, JUDGE

if TYPE_CHECKING:
    from hookline.receiver.drift import DriftItem
    from hookline.receiver.passes import Progress
    from hookline.receiver.reconcile import Report
    from hookline.rules.drift import Cause

NAMES: Final = {
    "organization": "organizations",
    "directory": "directories",
    "directory_user": "users",
    "directory_group": "groups",
    "directory_membership": "memberships",
}
CAUSES: Final[Mapping[Cause, str]] = {
    "never_received": "no event of it ever came",
    "rejected": "refused at the door",
    "dead_lettered": "could not be applied",
    "stale": "its event lost against a newer one",
    "changed_locally": "edited here",
    "unknown": "",
}


def progress_in_words(progress: Progress) -> str:
    """How a pass stands, in one line."""
    pass_ = progress.pass_
    seen: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for one in progress.listings:
        seen[one.resource] += one.seen
        if one.state not in ("completed", "dropped"):
            left[one.resource] += one.listings
    parts = [f"{name} {seen[resource]:,}" for resource, name in NAMES.items() if seen[resource]]
    if left["directory_membership"]:
        parts[-1:] = [*parts[-1:], f"{left['directory_membership']:,} groups left"]
    if not any(left[resource] for resource in NAMES):
        parts += [
            word
            for resource, word in ((CHECK, "looking again"), (EXPLAIN, "reading the inbox"), (JUDGE, "judging"))
            if left[resource]
        ][:1]
    text = f"pass {pass_.row_id}: {', '.join(parts) or 'begins'}; {pass_.counts.get('requests', 0):,} requests"
    if progress.requests_per_s:
        text += f", {progress.requests_per_s:.1f}/s"
    if progress.end_ms is not None:
        text += f", about {clock_span((progress.end_ms - pass_.updated_ms) / 1_000)} left"
    if pass_.state == "running" and pass_.reason is not None:
        text += f"; waits: {pass_.reason}"
    return text


def clock_span(seconds: float) -> str:
    """A duration as a clock shows it: `1:02:03`."""
    whole = max(0, round(seconds))
    return f"{whole // 3_600}:{whole // 60 % 60:02}:{whole % 60:02}"


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


def cause_of(item: DriftItem) -> str:
    """The likely cause of an item, with what says so."""
    words = CAUSES[item.cause]
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
