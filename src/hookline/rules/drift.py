"""Where do mirror and source differ, and what is the likely reason? (rule D9 of the design's receiving reference)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from hookline.rules.merge import same_content

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal["missing", "extra", "differs", "uncertain"]
Cause: TypeAlias = Literal["never_received", "rejected", "dead_lettered", "stale", "changed_locally", "unknown"]

# What changes at the source without any event.
_UNTOLD: Final[Mapping[str, frozenset[str]]] = {"directory": frozenset({"metadata"})}
# What events tell and the API does not: its silence is no difference.
_UNLISTED: Final[Mapping[str, frozenset[str]]] = {"directory": frozenset({"domains"})}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found of one difference.

    Attributes:
        kind: what differs.
        source_us: the object's `updated_at` at the source, µs; None where it has none, or is gone.
        is_edited: the row is not what its own content says.
        is_as_told: the row says what the event says that it is from.
        has_row: the mirror has a row of it, dead or alive.
        is_uncertain: the row is flagged so.
        event_id: the newest event about it in the inbox, or None; event_us: when that happened; outcome: what became of
            it; is_deletion: whether it told of an end.
        dead_id: the newest event about it that could not be applied; lost_id: the newest that was older than what was
            known.
        refused: why requests were refused at the door in that time, the most frequent reason first.
    """

    kind: Kind
    source_us: int | None = None
    is_edited: bool = False
    is_as_told: bool = False
    has_row: bool = False
    is_uncertain: bool = False
    event_id: str | None = None
    event_us: int = -1
    outcome: str | None = None
    is_deletion: bool = False
    dead_id: str | None = None
    lost_id: str | None = None
    refused: tuple[str, ...] = ()


def differing(resource: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """The fields whose content differs, in order; here is what the mirror shows, there what the source has.

    Null equals absent, as in `same_content`. A field that the mirror's copy does not mention is not compared: events
    carry fewer than the API.
    """
    untold = _UNTOLD.get(resource, frozenset()) | (_UNLISTED.get(resource, frozenset()) - there.keys())
    return sorted(
        name
        for name in here
        if name not in untold
        and here[name] != there.get(name)
        and not same_content(resource, {name: here[name]}, {name: there.get(name)})
    )


def cause_of(found: Evidence) -> Cause:
    """The likely cause; what is certain of the row itself goes before what events tell."""
    if found.kind == "uncertain":
        return "stale" if found.lost_id is not None else "unknown"
    if found.is_edited:
        return "changed_locally"
    if found.dead_id is not None:
        return "dead_lettered"
    was_heard = found.event_id is not None and (
        found.is_deletion if found.kind == "extra" else found.source_us is None or found.event_us >= found.source_us
    )
    if was_heard:
        if found.outcome == "applied" and found.kind == "missing" and not found.has_row and not found.is_deletion:
            return "changed_locally"  # it made a row, and none is there
        if found.lost_id is not None or found.is_uncertain:
            return "stale"
        if not found.is_as_told:
            return "unknown"
        # All that was heard is here, and of what has changed since without a new `updated_at` nothing was.
    return "rejected" if found.refused else "never_received"
