"""Retention: what the inbox keeps becomes less with time, in the background and in small transactions.

First the whole body; then a body without people (rules/redaction.py), from which it can still be told what happened to
which object, but which is never applied again; then the id and the hash alone, so that an event that comes again is
known; at last nothing. What still waits for a worker or a handler stays as it is however old, and what failed for good
stays whole for `FAILURES_S`, for who mends it. Of the change feed there stays, of every object, all that is young
enough and the one change before that: what it was when that time began.

A walk goes through the inbox (or the feed) in the order of arrival, up to what is too young for it, and goes on from
there an hour later. Each (source, walk) is a row, taken by one worker at a time.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal, NamedTuple, TypeAlias

from hookline.errors import ConfigError
from hookline.receiver.model import Redacted
from hookline.rules.redaction import without_people
from hookline.storage import Connection, Verbs

DAY_S: Final = 86_400
# Longer than any source sends again by itself or by hand.
LEAST_IDS_S: Final = 100 * DAY_S
FAILURES_S: Final = 180 * DAY_S
EVERY_MS: Final = 3_600_000
ENTRIES_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 8 * 1024 * 1024

Kept: TypeAlias = Literal["body", "redacted", "id", "nothing"]
_ORDER: Final[Sequence[Kept]] = ("body", "redacted", "id", "nothing")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what of an entry is kept, in seconds since it arrived.

    Attributes:
        bodies_s: the body as it came; so long it can be replayed.
        redacted_s: the body without people; so long every change of the mirror can be looked up.
        ids_s: id and hash, by which an event that comes again is known. At least 100 days.

    Raises: ConfigError where they do not grow from one to the next.
    """

    bodies_s: float = 30 * DAY_S
    redacted_s: float = 90 * DAY_S
    ids_s: float = 400 * DAY_S

    def __post_init__(self) -> None:
        if not 0 < self.bodies_s <= self.redacted_s <= self.ids_s:
            raise ConfigError(
                "retention",
                "expected 0 < bodies_s <= redacted_s <= ids_s, got "
                f"{self.bodies_s:g}, {self.redacted_s:g} and {self.ids_s:g}",
            )
        if self.ids_s < LEAST_IDS_S:
            raise ConfigError("retention", f"expected ids_s of at least {LEAST_IDS_S} (100 days), got {self.ids_s:g}")

    def kept(self, age_s: float, *, is_needed: bool, is_failure: bool) -> Kept:
        """What is to be kept of an entry of this age."""
        if is_needed or (is_failure and age_s < FAILURES_S) or age_s < self.bodies_s:
            return "body"
        if age_s < self.redacted_s:
            return "redacted"
        return "id" if age_s < self.ids_s else "nothing"

    def walks(self) -> dict[str, float]:
        """The walks, and the age in seconds from which each looks at what it meets."""
        return {
            "bodies": self.bodies_s,
            "redacted": self.redacted_s,
            "failures": min(max(FAILURES_S, self.redacted_s), self.ids_s),
            "ids": self.ids_s,
            _CHANGES: self.redacted_s,
        }


_CHANGES: Final = "changes"


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much went: bodies cut, bodies emptied, entries forgotten, changes forgotten."""

    cut: int = 0
    emptied: int = 0
    forgotten: int = 0
    changes: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def __bool__(self) -> bool:
        return self != Pruned()

    def __str__(self) -> str:
        words = {"cut": "bodies redacted", "emptied": "bodies", "forgotten": "ids", "changes": "changes"}
        told = [f"{getattr(self, name)} {word}" for name, word in words.items() if getattr(self, name)]
        return ", ".join(told) or "nothing"


class _Entry(NamedTuple):
    seq: int
    source: str
    event_id: str
    received_ms: int
    size: int
    redacted: Redacted | None
    is_needed: bool
    is_failure: bool

    def is_beyond(self, kept: Kept) -> bool:
        """Whether more of it is there than is to be kept."""
        now: Kept = "id" if self.size == 0 else "redacted" if self.redacted == "people" else "body"
        return _ORDER.index(now) < _ORDER.index(kept)


class Pruner:
    """The retention of one source, as verbs on the connection it is given."""

    def __init__(self, verbs: Verbs, source: str, retention: Retention) -> None:
        self._verbs = verbs
        self.source = source
        self._retention = retention
        self._ages_s = retention.walks()

    def plan(self, connection: Connection, now_ms: int) -> None:
        """Make the walks known where they are not yet."""
        for walk in self._ages_s:
            self._verbs["retention_put"].run(connection, {"source": self.source, "walk": walk, "now_ms": now_ms})

    def start(self, connection: Connection, now_ms: int) -> None:
        """Make all of it due."""
        self._verbs["retention_start"].run(connection, {"source": self.source, "now_ms": now_ms})

    def step(self, connection: Connection, now_ms: int) -> Pruned | None:
        """Do the next part of what is due; None where nothing is."""
        named = {
            "source": self.source,
            "now_ms": now_ms,
            "later_ms": now_ms + EVERY_MS,
            "latest_ms": latest_ms(now_ms),
        }
        taken = self._verbs["retention_take"].run(connection, named)
        if not taken:
            return None
        walk, seq = taken[0]
        if walk not in self._ages_s:  # of a later version
            return Pruned()
        before_ms = now_ms - round(self._ages_s[walk] * 1000)
        if walk == _CHANGES:
            last, is_over, pruned = self._changes(connection, seq, before_ms)
        else:
            last, is_over, pruned = self._entries(connection, seq, before_ms, now_ms)
        due_ms = now_ms + EVERY_MS if is_over else now_ms
        self._verbs["retention_move"].run(
            connection, {"source": self.source, "walk": walk, "seq": last, "due_ms": due_ms}
        )
        if is_over and walk == "redacted":
            for verb in ("retention_rejections", "retention_minutes", "retention_replays"):
                self._verbs[verb].run(connection, {"source": self.source, "before_ms": before_ms})
        return pruned

    def _entries(self, connection: Connection, after: int, before_ms: int, now_ms: int) -> tuple[int, bool, Pruned]:
        rows = self._verbs["retention_entries"].run(connection, {"after": after, "limit": ENTRIES_AT_ONCE})
        page = [_Entry(*row) for row in rows]
        to_cut: list[int] = []
        to_empty: list[int] = []
        to_forget: list[_Entry] = []
        last, size, is_over = after, 0, len(page) < ENTRIES_AT_ONCE
        for entry in page:
            if entry.received_ms > before_ms:
                is_over = True
                break
            if entry.source == self.source:
                age_s = (now_ms - entry.received_ms) / 1000
                kept = self._retention.kept(age_s, is_needed=bool(entry.is_needed), is_failure=bool(entry.is_failure))
                if kept == "nothing":
                    to_forget.append(entry)
                elif entry.is_beyond(kept):
                    if kept == "redacted":
                        if to_cut and size + entry.size > BYTES_AT_ONCE:
                            is_over = False
                            break
                        size += entry.size
                    (to_cut if kept == "redacted" else to_empty).append(entry.seq)
            last = entry.seq
        cut = self._cut(connection, to_cut, to_empty)
        if to_empty:
            self._verbs["retention_empty"].run(connection, {"seqs": json.dumps(to_empty)})
        self._forget(connection, to_forget)
        return last, is_over, Pruned(cut, len(to_empty), len(to_forget))

    def _cut(self, connection: Connection, seqs: Collection[int], to_empty: list[int]) -> int:
        """Cut people out of bodies; what is no event, and cannot be cut, is added to `to_empty`."""
        count = 0
        if seqs:
            for seq, body in self._verbs["retention_bodies"].run(connection, {"seqs": json.dumps(list(seqs))}):
                left = without_people(bytes(body))
                if left is None:
                    to_empty.append(seq)
                else:
                    self._verbs["retention_cut"].run(connection, {"seq": seq, "body": left})
                    count += 1
        return count

    def _forget(self, connection: Connection, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        seqs = json.dumps([entry.seq for entry in entries])
        event_ids = json.dumps([entry.event_id for entry in entries])
        self._verbs["retention_forget_runs"].run(connection, {"seqs": seqs})
        self._verbs["retention_forget_outcomes"].run(connection, {"seqs": seqs})
        self._verbs["retention_forget_repeats"].run(connection, {"source": self.source, "event_ids": event_ids})
        self._verbs["retention_forget"].run(connection, {"seqs": seqs})

    def _changes(self, connection: Connection, after: int, before_ms: int) -> tuple[int, bool, Pruned]:
        rows = self._verbs["retention_changes"].run(connection, {"after": after, "limit": ENTRIES_AT_ONCE})
        last, is_over, met = after, len(rows) < ENTRIES_AT_ONCE, []
        for seq, source, changed_ms in rows:
            if changed_ms > before_ms:
                is_over = True
                break
            if source == self.source:
                met.append(seq)
            last = seq
        if not met:
            return last, is_over, Pruned()
        older = self._verbs["retention_changes_older"].run(connection, {"seqs": json.dumps(met)})
        if older:
            named = {"seqs": json.dumps([seq for (seq,) in older])}
            self._verbs["retention_changes_forget_runs"].run(connection, named)
            self._verbs["retention_changes_forget"].run(connection, named)
        return last, is_over, Pruned(changes=len(older))


def latest_ms(now_ms: int) -> int:
    """A walk that is due later than this was put off under a clock that stood ahead."""
    return now_ms + 2 * EVERY_MS
