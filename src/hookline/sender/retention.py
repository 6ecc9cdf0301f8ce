"""Retention: what is past its time goes, in the background, in small transactions.

An event published longer ago than its environment's retention loses its body and its place in the feed; what is held
of it is canceled as `expired`; its deliveries that ended as long ago go with their attempts. An event with a delivery
that waits or is under way keeps its body until that has ended. The event's id stays, and so do idempotency keys, for
`KEYS_S` and longer than any body: an id is never given twice, and a call repeated late is answered, not done again.
The audit trail stays for a year, what was counted for pages 35 and 100 days.
A replay goes `KEYS_S` after it was done, once its deliveries have gone.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from hookline.sender.jobs import Part
from hookline.sender.model import ENVIRONMENTS

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.job_store import Job, JobStore
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.sender")

DAY_S: Final = 86_400
RETENTION_S: Final[Mapping[str, float]] = {"production": 30 * DAY_S, "staging": 7 * DAY_S}
KEYS_S: Final = 100 * DAY_S
# Keys outlive bodies by this much, however long those are kept.
KEYS_MARGIN_S: Final = 10 * DAY_S
AUDIT_S: Final = 365 * DAY_S
# Of what is counted for pages: rows of minutes and of hours.
MINUTES_S: Final = 35 * DAY_S
HOURS_S: Final = 100 * DAY_S

KIND: Final = "retention"
KEYS: Final = "keys"
EVERY_MS: Final = 3_600_000
EVENTS_AT_ONCE: Final = 200
DELIVERIES_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Removed:
    """How much went: bodies of events, deliveries, held deliveries that expired, ids, keys, audit lines, replays."""

    events: int = 0
    deliveries: int = 0
    expired: int = 0
    ids: int = 0
    keys: int = 0
    audit: int = 0
    replays: int = 0

    def __add__(self, other: Removed) -> Removed:
        mine, others = asdict(self), asdict(other)
        return Removed(**{name: mine[name] + others[name] for name in mine})


class Retention:
    """Removes what is past its time.

    Args:
        kept_s: how long bodies are kept, by environment.

    Attributes:
        kept_s: the same, the defaults included.
    """

    def __init__(self, store: SenderStore, jobs: JobStore, *, kept_s: Mapping[str, float] = RETENTION_S) -> None:
        self._store = store
        self._jobs = jobs
        self.kept_s = {**RETENTION_S, **kept_s}
        self._keys_s = max(KEYS_S, max(self.kept_s.values()) + KEYS_MARGIN_S)

    def plan(self, connection: Connection, *, now_ms: int) -> None:
        """Puts the jobs of retention where they are not there yet; the first round begins at once."""
        for subject in (*ENVIRONMENTS, KEYS):
            self._jobs.put_first(connection, KIND, subject, {}, due_ms=now_ms)

    def do_part(self, connection: Connection, job: Job, now_ms: int) -> Part:
        """The next part of a round; the round after the last begins an hour later."""
        detail, removed = self._part(job.subject, job.detail, now_ms, connection)
        if removed != Removed():
            log.info("retention of %s: %s", job.subject, _told(removed))
        return Part(now_ms if detail else now_ms + EVERY_MS, detail)

    def prune(self, database: Database, *, clock: Clock) -> Removed:
        """Remove everything that is past its time now, part by part. For a command; loops may go on beside it."""
        total = Removed()
        for subject in (*ENVIRONMENTS, KEYS):
            detail: dict[str, int] = {}
            while True:
                part = functools.partial(self._part, subject, detail, clock.now_ms())
                detail, removed = database.run(part)
                total += removed
                if not detail:
                    break
        return total

    def _part(
        self, subject: str, at: Mapping[str, int], now_ms: int, connection: Connection
    ) -> tuple[dict[str, int], Removed]:
        """Do a part; where the round goes on, empty at its end."""
        if subject == KEYS:
            return self._forget(connection, at.get("row", 0), now_ms)
        return self._prune(connection, subject, (at.get("ms", -1), at.get("row", 0)), now_ms)

    def _prune(
        self, connection: Connection, environment: str, after: tuple[int, int], now_ms: int
    ) -> tuple[dict[str, int], Removed]:
        cutoff_ms = now_ms - round(self.kept_s[environment] * 1000)
        page = self._jobs.past_retention(
            connection, environment, cutoff_ms=cutoff_ms, after=after, limit=EVENTS_AT_ONCE
        )
        chosen = page[:1]
        deliveries = page[0][2] if page else 0
        for one in page[1:]:
            deliveries += one[2]
            if deliveries > DELIVERIES_AT_ONCE:
                break
            chosen.append(one)
        if not chosen:
            return {}, Removed()
        rows = self._store.keep_bodies(connection, {row for row, _, _ in chosen})
        expired = self._jobs.expire_held(connection, rows, now_ms=now_ms)
        # Looked at after the lock: who makes a delivery of an event, or retries one, holds the event meanwhile.
        over = rows - self._jobs.with_open_deliveries(connection, rows)
        removed = Removed(expired=expired)
        if over:
            pruned = self._jobs.prune_events(connection, over, now_ms=now_ms)
            gone = self._jobs.remove_deliveries(connection, over, cutoff_ms=cutoff_ms)
            removed = replace(removed, events=pruned, deliveries=gone)
        is_last = len(chosen) == len(page) < EVENTS_AT_ONCE
        last_row, last_ms, _ = chosen[-1]
        return ({} if is_last else {"ms": last_ms, "row": last_row}), removed

    def _forget(self, connection: Connection, after: int, now_ms: int) -> tuple[dict[str, int], Removed]:
        cutoff_ms = now_ms - round(self._keys_s * 1000)
        keys = self._jobs.forget_keys(connection, cutoff_ms=cutoff_ms, limit=EVENTS_AT_ONCE)
        audit_ms = now_ms - AUDIT_S * 1000
        audit = self._jobs.forget_audit(connection, cutoff_ms=audit_ms, limit=EVENTS_AT_ONCE)
        if not after:
            minutes_ms, hours_ms = now_ms - MINUTES_S * 1000, now_ms - HOURS_S * 1000
            self._jobs.forget_statistics(connection, ENVIRONMENTS, minutes_ms=minutes_ms, hours_ms=hours_ms)
        replays = self._jobs.forget_replays(connection, cutoff_ms=cutoff_ms, limit=EVENTS_AT_ONCE)
        page = self._jobs.known_events(connection, after, EVENTS_AT_ONCE)
        over = {row for row, published_ms, pruned_ms in page if published_ms < cutoff_ms and pruned_ms is not None}
        deliveries = ids = 0
        if over:
            deliveries = self._jobs.remove_deliveries(connection, over, cutoff_ms=now_ms + 1)
            ids = self._jobs.forget_events(connection, over)
        # Rows are in the order of publishing, but for what overlapped: the first young one ends the walk.
        is_last = len(page) < EVENTS_AT_ONCE or any(published_ms >= cutoff_ms for _, published_ms, _ in page)
        is_over = is_last and max(keys, audit, replays) < EVENTS_AT_ONCE
        row = after if is_last else page[-1][0]
        removed = Removed(deliveries=deliveries, ids=ids, keys=keys, audit=audit, replays=replays)
        return ({} if is_over else {"row": row}), removed


def _told(removed: Removed) -> str:
    words = {
        "events": "bodies", "deliveries": "deliveries", "expired": "held deliveries", "ids": "event ids",
        "keys": "idempotency keys", "audit": "audit lines", "replays": "replays",
    }  # fmt: skip
    return ", ".join(f"{count} {words[name]}" for name, count in asdict(removed).items() if count)
