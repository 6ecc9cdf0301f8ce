"""Handler runs as verbs: registering, claiming, settling, retrying.

A run is one row per (handler, entry) or (handler, change). Which state follows which outcome is rules/lifecycle.py's
decision, and what a handler's transaction is work.py's. Every function runs on the connection it is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from hookline.receiver.handlers import Change, Handler
from hookline.receiver.kept import kept_event
from hookline.receiver.mirror_store import LONGEST_WALK_WAIT_MS
from hookline.receiver.resources import decode
from hookline.rules.lifecycle import Next
from hookline.storage import Connection, Verbs
from hookline.wire.event import Event

# Clocks of processes on one database may differ by so much; what is dated later was written under another clock.
AHEAD_MS: Final = 60_000
# The longest pause between two probes (handlers_probing.sql), and as much.
LONGEST_PAUSE_MS: Final = 3_600_000 + AHEAD_MS
WORKERS_KEPT_MS: Final = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Run:
    """A claimed run. Either `inbox_seq` (a fact) or `change_seq` is set.

    `attempt` names this attempt and no other of the run; `tries` is how many count so far, this one included.
    """

    row_id: int
    handler: str
    object_key: str | None
    inbox_seq: int | None
    change_seq: int | None
    attempt: int
    tries: int
    replay_id: int | None = None

    @property
    def log_ids(self) -> dict[str, object]:
        """What a line of the log about it carries."""
        return {"run": self.row_id, "handler": self.handler, "attempt": self.attempt}

    @property
    def subject(self) -> str:
        """What a handler can fail on: the object of a change, the entry of a fact."""
        return self.object_key if self.object_key is not None else f"entry {self.inbox_seq}"


class Due(NamedTuple):
    """When the next of each kind is due, Unix milliseconds, or None.

    `run_ms` may lie in the past for as long as a run waits for an earlier one of its object; `later_run_ms` is the
    first that is still to come. `lease_ms` is when the first lease of any handler passes. `replay_id` is the oldest
    replay that is not finished. `prune_ms` is when retention goes on.
    """

    entry_ms: int | None
    cascade_ms: int | None
    run_ms: int | None
    later_run_ms: int | None
    lease_ms: int | None
    replay_id: int | None
    prune_ms: int | None


class RunStore:
    """The verbs of handlers and their runs, compiled for one dialect."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs

    def register(self, connection: Connection, handlers: Iterable[Handler], now_ms: int) -> None:
        """Make handlers known to every process; a new one starts at now."""
        for handler in handlers:
            named = {
                "name": handler.name,
                "kind": handler.kind,
                "pattern": handler.pattern,
                "source": handler.source,
                "now_ms": now_ms,
            }
            self._verbs["handlers_register"].run(connection, named)

    def beat(self, connection: Connection, worker: str, handlers: Sequence[str], now_ms: int) -> None:
        """Say that a worker is there."""
        named = {"name": worker, "handlers": json.dumps(list(handlers)), "now_ms": now_ms}
        self._verbs["workers_beat"].run(connection, named)

    def end_worker(self, connection: Connection, worker: str, now_ms: int) -> None:
        """Say that a worker ends, and forget those that were not seen for long."""
        self._verbs["workers_stop"].run(connection, {"name": worker, "now_ms": now_ms})
        self._verbs["workers_forget"].run(connection, {"before_ms": now_ms - WORKERS_KEPT_MS})

    def due(self, connection: Connection, handlers: Sequence[str], now_ms: int, *, sources: Sequence[str]) -> Due:
        """When something is due next: one statement. `sources` are those whose retention is looked at."""
        named = {
            "sources": json.dumps(list(sources)),
            "handlers": json.dumps(list(handlers)),
            "now_ms": now_ms,
            "latest_ms": now_ms + LONGEST_WALK_WAIT_MS,
        }
        return Due(*self._verbs["worker_due"].run(connection, named)[0])

    def pull(self, connection: Connection, now_ms: int, *, lease_ms: int, longest_wait_ms: int) -> int:
        """Bring near what only waits since the clock was set back; how many runs, leases and pauses that were.

        Args:
            lease_ms: how long a lease is.
            longest_wait_ms: how long a run may wait to be tried again.
        """
        named = {
            "now_ms": now_ms,
            "ahead_ms": now_ms + AHEAD_MS,
            "longest_ms": now_ms + longest_wait_ms,
            "leased_until_ms": now_ms + lease_ms,
            "longest_lease_ms": now_ms + lease_ms + AHEAD_MS,
            "longest_pause_ms": now_ms + LONGEST_PAUSE_MS,
        }
        verbs = [self._verbs[name] for name in ("runs_pull", "runs_pull_leases", "handlers_pull")]
        return sum([verb.count(connection, named) for verb in verbs])

    def claim(
        self,
        connection: Connection,
        handlers: Sequence[str],
        *,
        now_ms: int,
        leased_until_ms: int,
        limit: int,
        each: int,
    ) -> list[Run]:
        """Lease up to `limit` due runs, at most `each` of a handler, oldest first."""
        named = {
            "handlers": json.dumps(list(handlers)),
            "now_ms": now_ms,
            "leased_until_ms": leased_until_ms,
            "limit": limit,
            "each": each,
        }
        runs = [Run(*row) for row in self._verbs["runs_claim"].run(connection, named)]
        if runs:
            claimed = json.dumps(sorted({run.handler for run in runs}))
            self._verbs["handlers_probing"].run(connection, {"handlers": claimed, "now_ms": now_ms})
        return sorted(runs, key=lambda run: run.row_id)

    def lapsed(self, connection: Connection, now_ms: int, limit: int = 100) -> list[Run]:
        """Runs of any handler whose lease has passed."""
        rows = self._verbs["runs_lapsed"].run(connection, {"now_ms": now_ms, "limit": limit})
        return [Run(*row) for row in rows]

    def extend(self, connection: Connection, runs: Iterable[Run], leased_until_ms: int) -> None:
        """Keep the leases of these attempts."""
        attempts = json.dumps([(run.row_id, run.attempt) for run in runs])
        self._verbs["runs_extend"].run(connection, {"attempts": attempts, "leased_until_ms": leased_until_ms})

    def succeed(self, connection: Connection, run: Run, now_ms: int) -> bool:
        """Mark a run as done; False if it is no longer this attempt's. Its handler no longer fails in a row."""
        named = {"row_id": run.row_id, "attempt": run.attempt, "now_ms": now_ms, "handler": run.handler}
        if self._verbs["runs_succeed"].count(connection, named) != 1:
            return False
        self._verbs["failing_clear"].run(connection, named)
        self._verbs["handlers_probed"].run(connection, named)
        return True

    def fail(self, connection: Connection, run: Run, following: Next, error: str, now_ms: int) -> bool:
        """End an attempt as `following` says; False if it is no longer this attempt's."""
        waits = following.due_ms is not None
        named = {
            "row_id": run.row_id,
            "attempt": run.attempt,
            "next_state": following.state,
            "due_ms": following.due_ms if waits else now_ms,
            "error": error,
            "finished_ms": None if waits else now_ms,
        }
        if self._verbs["runs_fail"].count(connection, named) != 1:
            return False
        if waits and run.object_key is not None:
            self._verbs["runs_wait_behind"].run(
                connection,
                {**named, "handler": run.handler, "object_key": run.object_key, "change_seq": run.change_seq},
            )
        return True

    def give_back(self, connection: Connection, run: Run, due_ms: int) -> None:
        """Undo a claim without counting the attempt."""
        named = {"row_id": run.row_id, "attempt": run.attempt, "due_ms": due_ms}
        self._verbs["runs_give_back"].run(connection, named)

    def retry(self, connection: Connection, row_id: int, now_ms: int) -> bool:
        """Try a dead letter, a skipped or a waiting run again now; False if there is no such run."""
        return self._by_hand("runs_retry", connection, row_id, now_ms)

    def skip(self, connection: Connection, row_id: int, now_ms: int) -> bool:
        """Give a waiting or dead run up, so that it holds nothing; False if there is no such run."""
        return self._by_hand("runs_skip", connection, row_id, now_ms)

    def _by_hand(self, verb: str, connection: Connection, row_id: int, now_ms: int) -> bool:
        named = {"row_id": row_id, "now_ms": now_ms}
        if self._verbs[verb].count(connection, named) != 1:
            return False
        self._verbs["runs_release"].run(connection, named)
        return True

    def absent(self, connection: Connection, handlers: Sequence[str]) -> list[str]:
        """Handlers for which runs wait and that are not among these."""
        return [name for (name,) in self._verbs["handlers_absent"].run(connection, {"handlers": json.dumps(handlers)})]

    def count_failing(self, connection: Connection, run: Run, *, now_ms: int, since_ms: int) -> int:
        """Note that a handler failed on what this run is about; on how many things it did so in a row, since then."""
        named = {"handler": run.handler, "object_key": run.subject, "now_ms": now_ms, "since_ms": since_ms}
        self._verbs["failing_add"].run(connection, named)
        return int(self._verbs["failing_count"].run(connection, named)[0][0])

    def pause(self, connection: Connection, handler: str, reason: str, probe_ms: int | None) -> bool:
        """Take no more runs of a handler; False where it is paused already, or unknown.

        Args:
            probe_ms: when one run is taken all the same, to see whether it works again; None for never.
        """
        named = {"handler": handler, "reason": reason, "probe_ms": probe_ms}
        return self._verbs["handlers_pause"].count(connection, named) == 1

    def resume(self, connection: Connection, handler: str) -> bool:
        """End a handler's pause; False where it is not paused."""
        self._verbs["failing_clear"].run(connection, {"handler": handler})
        return self._verbs["handlers_resume"].count(connection, {"handler": handler}) == 1

    def forget(self, connection: Connection, handler: str, now_ms: int) -> int | None:
        """Delete a handler and give its waiting runs up: how many those were, or None where nobody knows it."""
        named = {"handler": handler, "now_ms": now_ms}
        if self._verbs["handlers_forget"].count(connection, named) != 1:
            return None
        self._verbs["failing_clear"].run(connection, named)
        return self._verbs["runs_forget"].count(connection, named)

    def retry_entry(self, connection: Connection, source: str, event_id: str, now_ms: int) -> bool:
        """Queue a dead entry to be applied again, its handlers with it; False if there is no dead one of that id."""
        named = {"source": source, "event_id": event_id, "now_ms": now_ms}
        return self._verbs["inbox_retry"].count(connection, named) == 1

    def drop_entry(self, connection: Connection, source: str, event_id: str, reason: str) -> bool:
        """Have a dead entry ignored from now on; False if there is none of that id, or it waits to be applied again."""
        named = {"source": source, "event_id": event_id, "reason": reason}
        return self._verbs["inbox_drop"].count(connection, named) == 1

    def dead_runs(self, connection: Connection, handler: str | None, limit: int) -> list[int]:
        """The oldest runs that failed for good, of one handler or of all."""
        rows = self._verbs["runs_dead"].run(connection, {"handler": handler, "limit": limit})
        return [row_id for (row_id,) in rows]

    def dead_entries(
        self, connection: Connection, source: str | None, after: int, limit: int
    ) -> list[tuple[int, str, str]]:
        """(number, source, event id) of the next dead entries after one that could be applied again."""
        rows = self._verbs["inbox_dead"].run(connection, {"source": source, "after": after, "limit": limit})
        return [(seq, of, event_id) for seq, of, event_id in rows]

    def entry(self, connection: Connection, inbox_seq: int) -> tuple[str, Event]:
        """A fact's event, and the id it is kept under. LookupError where it is no longer kept."""
        for source, event_id, type_, body in self._verbs["runs_entry"].run(connection, {"seq": inbox_seq}):
            if body is not None:
                return event_id, replace(kept_event(bytes(body), event_id, type_), source=source)
        raise LookupError("the event's body is no longer kept")

    def traceparent(self, connection: Connection, source: str, event_id: str | None) -> str | None:
        """The trace under which an event was kept; None where it was under none, or is no longer kept."""
        rows = self._verbs["inbox_traceparent"].run(connection, {"source": source, "event_id": event_id})
        return rows[0][0] if rows else None

    def change(self, connection: Connection, change_seq: int) -> Change:
        """A change. LookupError where it is no longer kept."""
        for seq, kind, resource, id_, before, after, is_live, cause, source in self._verbs["changes_read"].run(
            connection, {"seq": change_seq}
        ):
            return Change(seq, kind, resource, id_, decode(before), decode(after), bool(is_live), cause, source)
        raise LookupError("the change is no longer kept")
