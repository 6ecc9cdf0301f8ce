"""Looking into the inbox, the runs and the mirror: for the command, the dashboard and whoever is on call.

Nothing here writes.

Lists are read backwards from the newest entry, a page at a time; bodies only one by one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from hookline.errors import ConfigError
from hookline.receiver.inbox_search import NEWEST, PAGE, InboxFilter, InboxPage, InboxSearch
from hookline.receiver.minutes import MINUTE_MS
from hookline.receiver.model import (
    AddressListRow,
    HandlerRow,
    InboxEntry,
    InboxStats,
    PassRow,
    RejectionRow,
    RunRow,
    TailRow,
    WorkerRow,
)
from hookline.receiver.replay import Replay, Replays
from hookline.receiver.resources import EDGES, RESOURCES
from hookline.receiver.subject import Subject, subjects_of
from hookline.rules.merge import is_active as is_active_payload
from hookline.storage import Connection, Verbs

# Larger bodies are not read for what they are about.
SUBJECT_BYTES = 64 * 1024
COUNTED = 100_000  # where counting for a backlog stops


class InboxBacklog(NamedTuple):
    """What waits. A count of `COUNTED` means that many or more.

    `oldest_ms` is when the entry that waits longest arrived; `dead_runs` are those that failed for good.
    """

    waiting: int
    oldest_ms: int | None
    pending_runs: int
    dead_runs: int
    paused_handlers: int
    failing_walks: int


class Newest(NamedTuple):
    """When the newest entry arrived, None where there is none; how many entries are dead, up to `COUNTED`.

    `probes` are those that `hookline doctor` posted, up to a hundred: they are not looked at otherwise.
    """

    received_ms: int | None
    probes: int
    dead_entries: int


class QuestionCounts(NamedTuple):
    """What is to be asked of a source: about how many objects, how many of those since an event is missing and when the
    first was noticed, and how many were asked about in vain three times or more.
    """

    waiting: int
    gaps: int
    first_gap_ms: int | None
    in_vain: int


class Rate(NamedTuple):
    """How many webhooks came in a stretch of time that begins at `at_ms`: new ones, known ones, refused ones."""

    at_ms: int
    accepted: int
    repeated: int
    refused: int


class InboxQueries:
    """Reads the inbox of one source, or of all where `source` is None, on any connection."""

    def __init__(self, verbs: Verbs, source: str | None = None) -> None:
        self._verbs = verbs
        self._source = source
        self._search = InboxSearch(verbs, source)

    def sources(self, connection: Connection) -> list[str]:
        """The one source, or all of `known_sources`, in order."""
        return known_sources(connection, self._verbs) if self._source is None else [self._source]

    def entries(
        self,
        connection: Connection,
        *,
        state: str | None = None,
        event_id: str | None = None,
        before_seq: int = NEWEST,
        limit: int = PAGE,
    ) -> list[InboxEntry]:
        """The newest entries before `before_seq`, newest first; of one state (`waiting`, `applied`, …) if given, or of
        one event id, which each source may have.
        """
        if event_id is not None:
            found = self._search.of_id(connection, event_id, self.sources(connection), limit)
            return [one for one in found if one.seq < before_seq and state in (None, one.state)]
        wanted = InboxFilter(state=state)
        return list(self._search.page(connection, wanted, before_seq=before_seq, limit=limit, most=None).entries)

    def page(
        self, connection: Connection, wanted: InboxFilter, *, before_seq: int = NEWEST, limit: int = PAGE
    ) -> InboxPage:
        """The newest of the entries wanted before `before_seq`: found quickly, or as far as it was looked."""
        return self._search.page(connection, wanted, before_seq=before_seq, limit=limit)

    def entry(self, connection: Connection, event_id: str) -> InboxEntry | None:
        """The newest entry of one event id, or None."""
        found = self.entries(connection, event_id=event_id, limit=1)
        return found[0] if found else None

    def body(self, connection: Connection, event_id: str) -> bytes | None:
        """What is kept of `entry`'s bytes (`InboxEntry.redacted`); None where there is no such entry, or no body any
        more.
        """
        source = self._source
        if source is None and (found := self.entry(connection, event_id)) is not None:
            source = found.source
        rows = self._verbs["inbox_body"].run(connection, {"source": source, "event_id": event_id})
        return None if not rows or rows[0][0] is None else bytes(rows[0][0])

    def stats(self, connection: Connection, *, since_ms: int) -> InboxStats:
        """The inbox in numbers; refusals from the minute of `since_ms` on. Give it a snapshot for one moment."""
        named = {"source": self._source}
        ((entries, waiting, oldest_ms, duplicates, conflicts),) = self._verbs["inbox_stats"].run(connection, named)
        return InboxStats(
            entries=entries,
            waiting=waiting,
            oldest_waiting_ms=oldest_ms,
            duplicates=int(duplicates),
            conflicts=int(conflicts),
            outcomes=dict(self._verbs["inbox_outcomes"].run(connection, named)),
            rejections=self.refused(connection, since_ms=since_ms),
        )

    def runs(
        self,
        connection: Connection,
        *,
        state: str | None = None,
        entry_seq: int | None = None,
        handler: str | None = None,
        before_row: int = NEWEST,
        limit: int = PAGE,
    ) -> list[RunRow]:
        """The newest runs before `before_row`, of one state, handler or entry (and the changes it caused) if given.

        Those that failed for good are found by index, all others by reading through all runs.
        """
        filters = {
            "coalesce(i.source, c.source) = :source": self._source,
            "r.state = 'failed'" if state == "failed" else "r.state = :state": state,
            "(r.inbox_seq = :entry_seq or c.cause_seq = :entry_seq)": entry_seq,
            "r.handler = :handler": handler,
        }
        named = {"source": self._source, "state": state, "entry_seq": entry_seq, "handler": handler}
        which = [condition for condition, value in filters.items() if value is not None]
        return self._runs(connection, which, {**named, "before_row": before_row, "limit": limit})

    def runs_about(
        self, connection: Connection, entry_seq: int, change_seqs: Collection[int], *, limit: int = PAGE
    ) -> list[RunRow]:
        """The newest runs of the handlers there are that an entry, or these changes, are told by; by index."""
        which = (
            "r.row_id in (select a.row_id from hookline_handlers h join hookline_runs a on a.handler = h.name"
            " where a.inbox_seq = :entry_seq union all"
            " select b.row_id from hookline_handlers h join hookline_runs b on b.handler = h.name"
            " where b.change_seq in (select cast(value as integer) from json_each(:change_seqs)))"
        )
        named = {"entry_seq": entry_seq, "change_seqs": json.dumps(sorted(change_seqs))}
        return self._runs(connection, [which], {**named, "before_row": NEWEST, "limit": limit})

    def run(self, connection: Connection, row_id: int) -> RunRow | None:
        """One run; None where it is none of this source's, or there is none of that number."""
        found = self._runs(connection, ["r.row_id = :row_id"], {"row_id": row_id, "before_row": NEWEST, "limit": 1})
        return found[0] if found and self._source in (None, found[0].source) else None

    def _runs(self, connection: Connection, which: Sequence[str], named: Mapping[str, Any]) -> list[RunRow]:
        verb = self._verbs.filled("each", "runs_page", {"filters": " and ".join(which) or "1 = 1"})
        return [RunRow(*row) for row in verb.run(connection, named)]

    def rejections(
        self,
        connection: Connection,
        *,
        since_ms: int,
        after: tuple[int, str, str] | None = None,
        limit: int = PAGE,
    ) -> list[RejectionRow]:
        """What was refused from the minute of `since_ms` on, newest first.

        Args:
            after: minute, source and reason of the last one of the page before.
        """
        before_ms, before_source, before_reason = after or (NEWEST, "", "")
        named = {
            "source": self._source,
            "since_ms": since_ms - since_ms % MINUTE_MS,
            "before_ms": before_ms,
            "before_source": before_source,
            "before_reason": before_reason,
            "limit": limit,
        }
        return [RejectionRow(*row) for row in self._verbs["rejections_list"].run(connection, named)]

    def rates(self, connection: Connection, *, since_ms: int, until_ms: int, step_ms: int) -> list[Rate]:
        """How many webhooks came from one moment up to another, in steps of whole minutes, the oldest first; steps in
        which nothing came are there, too.
        """
        since_ms -= since_ms % step_ms
        named = {"source": self._source, "since_ms": since_ms, "until_ms": until_ms, "step_ms": step_ms}
        counts: dict[int, Counter[str]] = {at_ms: Counter() for at_ms in range(since_ms, until_ms, step_ms)}
        for at_ms, kind, times in self._verbs["minutes_list"].run(connection, named):
            counts[at_ms][kind] += int(times)
        return [
            Rate(at_ms, of["accepted"], of["duplicate"] + of["conflict"] + of["known"], of["refused"])
            for at_ms, of in counts.items()
        ]

    def subjects(self, connection: Connection, seqs: Collection[int]) -> dict[int, Subject]:
        """What these entries are about, of those whose body is kept and no larger than `SUBJECT_BYTES`."""
        named = {"seqs": json.dumps(sorted(seqs)), "most": SUBJECT_BYTES}
        found = {
            seq: subjects_of(bytes(body), event_id, type_, received_ms)
            for seq, event_id, type_, body, received_ms in self._verbs["inbox_bodies"].run(connection, named)
        }
        return {seq: subjects[0] for seq, subjects in found.items() if subjects}

    def refused(self, connection: Connection, *, since_ms: int) -> dict[str, int]:
        """How many requests were refused from the minute of `since_ms` on, by reason."""
        named = {"source": self._source, "since_ms": since_ms - since_ms % MINUTE_MS}
        return {reason: int(times) for reason, times in self._verbs["rejections_since"].run(connection, named)}

    def newest(self, connection: Connection, *, since_ms: int) -> Newest:
        """The newest entry and the dead ones, and probes since a moment, of all sources: cheap."""
        return Newest(*self._verbs["inbox_newest"].run(connection, {"most": COUNTED, "since_ms": since_ms})[0])

    def signed(self, connection: Connection, *, limit: int = PAGE) -> list[tuple[int, int]]:
        """When the newest entries of all sources were signed, and when they arrived: two clocks, one on each side."""
        rows = self._verbs["inbox_signed"].run(connection, {"limit": limit})
        return [(signed_ms, received_ms) for signed_ms, received_ms in rows]

    def workers(self, connection: Connection) -> list[WorkerRow]:
        """Workers of any process, the one seen last first."""
        rows = self._verbs["workers_list"].run(connection, {})
        return [WorkerRow(name, tuple(json.loads(handlers)), *times) for name, handlers, *times in rows]

    def address_lists(self, connection: Connection) -> list[AddressListRow]:
        """The published lists of addresses that were read by any process."""
        rows = self._verbs["lists_list"].run(connection, {})
        return [
            AddressListRow(url, None if document is None else bytes(document), *rest) for url, document, *rest in rows
        ]

    def tails(self, connection: Connection) -> list[TailRow]:
        """How far the feeds of sources are read."""
        return [TailRow(*row) for row in self._verbs["tails_list"].run(connection, {"source": self._source})]

    def passes(self, connection: Connection) -> list[PassRow]:
        """How each source that was ever read is compared with the mirror; cheap."""
        return [PassRow(*row) for row in self._verbs["passes_status"].run(connection, {"most": COUNTED})]

    def pass_counts(self, connection: Connection) -> dict[tuple[str, str], int]:
        """How many passes are kept, by source and state."""
        return {(source, state): count for source, state, count in self._verbs["passes_counts"].run(connection, {})}

    def backlog(self, connection: Connection) -> InboxBacklog:
        """What waits, of all sources: cheap enough to be asked every few seconds."""
        ((*counts,),) = self._verbs["inbox_backlog"].run(connection, {"most": COUNTED})
        return InboxBacklog(*counts)

    def questions(self, connection: Connection) -> dict[str, QuestionCounts]:
        """What is to be asked of each source, of all sources together up to `COUNTED`."""
        rows = self._verbs["refetches_counts"].run(connection, {"most": COUNTED})
        return {source: QuestionCounts(*counts) for source, *counts in rows}

    def count_dead_runs(self, connection: Connection, handler: str | None = None) -> int:
        """How many runs failed for good, of one handler or of all."""
        return int(self._verbs["runs_dead_count"].run(connection, {"handler": handler})[0][0])

    def count_dead_entries(self, connection: Connection) -> int:
        """How many dead entries are still kept whole, so that they could be applied again."""
        return int(self._verbs["inbox_dead_count"].run(connection, {"source": self._source})[0][0])

    def replays(self, connection: Connection, *, before_row: int = NEWEST, limit: int = PAGE) -> list[Replay]:
        """The newest replays of any source before one, as they stand."""
        return Replays(self._verbs).newest(connection, before_row=before_row, limit=limit)

    def replay(self, connection: Connection, row_id: int) -> Replay | None:
        """One replay, as it stands."""
        return Replays(self._verbs).read(connection, row_id)

    def handlers(self, connection: Connection) -> list[HandlerRow]:
        """Every handler of any process, with its pause and its runs in numbers."""
        return [HandlerRow(*row) for row in self._verbs["handlers_list"].run(connection, {})]


def known_sources(connection: Connection, verbs: Verbs) -> list[str]:
    """The sources of which something was ever kept, or whose lists were read, in order."""
    return [source for (source,) in verbs["sources_list"].run(connection, {})]


def is_active(connection: Connection, verbs: Verbs, source: str, resource: str, id_: str) -> bool:
    """Whether an object is shown and in an active state; False for what is unknown. ConfigError: no such resource."""
    if (edge := EDGES.get(resource)) is not None:
        left, _, right = id_.partition("/")
        words = {"table": edge.table, "left": edge.ends[0][1], "right": edge.ends[1][1]}
        named = {"source": source, "left": left, "right": right}
        return bool(verbs.filled("each", "live_edge", words).run(connection, named))
    if (known := RESOURCES.get(resource)) is None:
        raise ConfigError("is_active", f"expected a mirrored resource, got {resource!r}")
    rows = verbs.filled("each", "live_object", {"table": known.table}).run(connection, {"source": source, "id": id_})
    if not rows:
        return False
    payload = None if rows[0][0] is None else json.loads(rows[0][0])
    return is_active_payload(payload, True, resource=resource)
