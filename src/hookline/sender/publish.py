"""Publishing: an event, its place in the feed, its deliveries and its idempotency key in one commit.

Many publishers share a commit (group commit); ids are made by the writer, so that they grow in feed order. The
body's bytes are made once, here, and are what every attempt sends and `GET /events` answers. Nothing here speaks
HTTP or sends anything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hookline.errors import RequestError, StorageError
from hookline.sender.counters import Counters
from hookline.sender.drafts import EventDraft, compose_body, draft_batch, draft_event
from hookline.sender.event_types import EventTypes, Rules, SchemaWarning, Tell, check_drafts
from hookline.sender.idempotency import IdempotencyKey, refuse_other_use
from hookline.sender.ids import IdMaker
from hookline.storage.commit import GroupCommit

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.model import Environment
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.sender")

# Notified after every commit that made deliveries due.
DELIVERIES_CHANNEL: Final = "deliveries"

# Above this the events of a call are held against schemas in a thread, so that other calls are not kept waiting.
_CHECK_INLINE_BYTES: Final = 64 * 1024


_NO_WARNINGS: Final[Mapping[int, SchemaWarning]] = {}

__all__ = [
    "DELIVERIES_CHANNEL",
    "EventDraft",
    "Publication",
    "Published",
    "Publisher",
    "draft_batch",
    "draft_event",
]


@dataclass(frozen=True, slots=True)
class Published:
    """A stored event. `body` is its canonical bytes, None where a repeated call finds them pruned.

    `warning` says where its data breaks the schema of its type, where that is only to be warned of.
    """

    id: str
    body: bytes | None
    warning: SchemaWarning | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """What one call publishes: all of it or nothing. `traceparent` is the call's own, already checked."""

    environment: Environment
    drafts: tuple[EventDraft, ...]
    idempotency: IdempotencyKey | None = None
    traceparent: str | None = None


class Publisher:
    """Stores events and their deliveries.

    One per process and database; `close` ends its thread.

    Args:
        counters: what is counted here.

    Attributes:
        types: event types of one's own, whose schemas are asked here.
    """

    def __init__(
        self,
        database: Database,
        store: SenderStore,
        *,
        clock: Clock,
        ids: IdMaker,
        counters: Counters | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._ids = ids
        self._counters = counters if counters is not None else Counters()
        self.types = EventTypes(database, store, clock=clock)
        self._tell = Tell(clock)
        self._group: GroupCommit[Publication, tuple[Published, ...] | RequestError] = GroupCommit(
            self._commit, name="hookline-publish"
        )

    async def publish(self, publication: Publication) -> tuple[Published, ...]:
        """Store what a call publishes and return it after the commit, in the order given.

        A call that repeats an idempotency key with the same body gets what the first one stored.

        Raises:
            RequestError: 409 `idempotency_key_reused` where the key was used for something else; 422 `invalid_event`
                where the schema of a type refuses an event.
            StorageUnavailable: nothing was written.
        """
        began_s = time.perf_counter()
        rules = self.types.known()
        if rules is None:
            rules = await self.types.read_soon()
        try:
            if rules and sum(len(draft.data) for draft in publication.drafts) > _CHECK_INLINE_BYTES:
                warnings = await asyncio.to_thread(self._check, publication, rules)
            else:
                warnings = self._check(publication, rules)
        except RequestError:
            if publication.idempotency is None:
                raise
            result = await asyncio.to_thread(self._earlier, publication)
            if result is None:
                raise
            return _given(result)
        result = await self._group.put(publication)
        self._counters.publish_waits.add(time.perf_counter() - began_s)
        return _warned(_given(result), warnings)

    def publish_inline(self, publication: Publication) -> tuple[Published, ...]:
        """The same for a plain thread."""
        began_s = time.perf_counter()
        rules = self.types.known()
        if rules is None:
            rules = self.types.read()
        try:
            warnings = self._check(publication, rules)
        except RequestError:
            earlier = self._earlier(publication)
            if earlier is None:
                raise
            return _given(earlier)
        result = self._group.put_inline(publication)
        self._counters.publish_waits.add(time.perf_counter() - began_s)
        return _warned(_given(result), warnings)

    def publish_on(
        self, connection: Connection, environment: Environment, drafts: Sequence[EventDraft]
    ) -> tuple[Published, ...]:
        """Store events in the caller's own transaction on the same database: a transactional outbox.

        They leave when the caller commits: the delivery loop gives them their place in the feed and finds their
        deliveries by itself. The feed's lock is not held in a transaction of which we do not know the length.
        """
        publication = Publication(environment, tuple(drafts))
        results, _ = self._write(connection, [publication], is_ours=False)
        return _given(results[0])

    def close(self) -> None:
        """Finish what is being written."""
        self._group.close()

    def _check(self, publication: Publication, rules: Rules) -> Mapping[int, SchemaWarning]:
        if not rules:
            return _NO_WARNINGS
        return check_drafts(publication.environment, publication.drafts, rules, self._tell)

    def _earlier(self, publication: Publication) -> tuple[Published, ...] | RequestError | None:
        """What a call that is refused stored when it was first made: the schema is younger than its event."""
        if publication.idempotency is None:
            return None
        with self._database.snapshot() as connection:
            used = publication.idempotency
            if self._store.idempotency_record(connection, publication.environment, used.key) is None:
                return None
            return self._repeated(connection, publication, (), None)

    def _commit(self, publications: Sequence[Publication]) -> list[tuple[Published, ...] | RequestError]:
        try:
            results, repeats = self._database.run(
                lambda connection: self._write(connection, publications, is_ours=True)
            )
        except StorageError:
            self._counters.database_errors["publish"] += 1
            raise
        self._count(publications, repeats)
        if log.isEnabledFor(logging.DEBUG):
            _log_published(publications, results, repeats)
        try:
            self._database.notify(DELIVERIES_CHANNEL)
        except Exception:
            # The commit holds: a subscriber that fails must not have the batch written twice.
            log.exception("a subscriber of %r failed after a commit", DELIVERIES_CHANNEL)
        return results

    def _count(self, publications: Sequence[Publication], repeats: Collection[int]) -> None:
        counters = self._counters
        counters.commits.add(len(publications))
        counters.repeated += len(repeats)
        for position, publication in enumerate(publications):
            if position not in repeats:
                counters.published[publication.environment] += len(publication.drafts)

    def _write(
        self, connection: Connection, publications: Sequence[Publication], *, is_ours: bool
    ) -> tuple[list[tuple[Published, ...] | RequestError], Collection[int]]:
        """Each publication's result, and the positions of those that only repeated an idempotency key."""
        now_ms = self._clock.now_ms()
        composed = [self._compose(publication, now_ms) for publication in publications]
        repeats = self._take_keys(connection, publications, composed, now_ms)
        fresh = [
            (publication, draft, published)
            for position, publication in enumerate(publications)
            if position not in repeats
            for draft, published in zip(publication.drafts, composed[position], strict=True)
        ]
        self._put(connection, fresh, now_ms, is_ours=is_ours)
        results = [
            self._repeated(connection, publication, composed, repeats[position])
            if position in repeats
            else composed[position]
            for position, publication in enumerate(publications)
        ]
        return results, repeats

    def _compose(self, publication: Publication, now_ms: int) -> tuple[Published, ...]:
        published = []
        for draft in publication.drafts:
            event_id = self._ids.make("event", now_ms)
            created_ms = now_ms if draft.created_ms is None else draft.created_ms
            published.append(Published(event_id, compose_body(draft, event_id, created_ms)))
        return tuple(published)

    def _take_keys(
        self,
        connection: Connection,
        publications: Sequence[Publication],
        composed: Sequence[tuple[Published, ...]],
        now_ms: int,
    ) -> dict[int, int | None]:
        """Take the batch's idempotency keys.

        Returns: the positions of calls that repeat one; each with the position in this batch of the call that
        came first, or None where that was an earlier commit.
        """
        first: dict[tuple[str, str], int] = {}
        repeats: dict[int, int | None] = {}
        rows: list[Mapping[str, object]] = []
        for position, publication in enumerate(publications):
            used = publication.idempotency
            if used is None:
                continue
            if first.setdefault((publication.environment, used.key), position) != position:
                repeats[position] = first[publication.environment, used.key]
                continue
            rows.append(
                {
                    "environment": publication.environment,
                    "idempotency_key": used.key,
                    "operation": used.operation,
                    "body_sha256": used.body_sha256,
                    "result_ids": json.dumps([published.id for published in composed[position]]),
                    "now_ms": now_ms,
                }
            )
        if rows:
            taken = self._store.take_idempotency_keys(connection, rows)
            for pair, position in first.items():
                if pair not in taken:
                    repeats[position] = None
            for position, earlier in repeats.items():
                if earlier is not None and earlier in repeats:
                    repeats[position] = None
        return repeats

    def _repeated(
        self,
        connection: Connection,
        publication: Publication,
        composed: Sequence[tuple[Published, ...]],
        earlier: int | None,
    ) -> tuple[Published, ...] | RequestError:
        """What the first call with this key stored, or the refusal of a call that is another one."""
        assert publication.idempotency is not None  # only calls with a key repeat one
        record = self._store.idempotency_record(connection, publication.environment, publication.idempotency.key)
        assert record is not None  # the key was not free a moment ago, in this transaction
        refusal = refuse_other_use(publication.idempotency, record)
        if refusal is not None:
            return refusal
        if earlier is not None:
            return composed[earlier]
        found = [self._store.event(connection, publication.environment, id_) for id_ in record.result_ids]
        return tuple(
            Published(event_id, event.body or None if event else None)
            for event_id, event in zip(record.result_ids, found, strict=True)
        )

    def _put(
        self,
        connection: Connection,
        fresh: Sequence[tuple[Publication, EventDraft, Published]],
        now_ms: int,
        *,
        is_ours: bool,
    ) -> None:
        if not fresh:
            return
        rows = self._store.add_events(
            connection,
            [
                {
                    "id": published.id,
                    "environment": publication.environment,
                    "type": draft.type,
                    "organization_id": draft.organization_id,
                    "body": published.body,
                    "created_ms": now_ms if draft.created_ms is None else draft.created_ms,
                    "now_ms": now_ms,
                    "traceparent": publication.traceparent,
                }
                for publication, draft, published in fresh
            ],
        )
        types = {(publication.environment, draft.type) for publication, draft, _ in fresh}
        wanting: dict[tuple[str, str], list[tuple[int, str | None]]] = {}
        for match in self._store.endpoints_matching(connection, types):
            wanting.setdefault((match.environment, match.event_type), []).append(
                (match.endpoint_row, match.held_reason)
            )
        deliveries: list[Mapping[str, object]] = [
            {
                "id": self._ids.make("delivery", now_ms),
                "environment": publication.environment,
                "event_row": rows[published.id],
                "endpoint_row": endpoint_row,
                "origin": "published",
                "state": "held" if held_reason else "pending",
                "due_ms": now_ms,
                "reason": held_reason,
                "now_ms": now_ms,
            }
            for publication, draft, published in fresh
            for endpoint_row, held_reason in wanting.get((publication.environment, draft.type), ())
        ]
        self._store.add_deliveries(connection, deliveries)
        if is_ours:
            # The last write before the commit (DESIGN 4, The feed).
            self._store.feed(connection, [(item.environment, rows[published.id]) for item, _, published in fresh])
        else:
            self._store.feed_later(connection, [rows[published.id] for _, _, published in fresh])


def _log_published(
    publications: Sequence[Publication],
    results: Sequence[tuple[Published, ...] | RequestError],
    repeats: Collection[int],
) -> None:
    for position, (publication, result) in enumerate(zip(publications, results, strict=True)):
        if position in repeats or isinstance(result, RequestError):
            continue
        for draft, published in zip(publication.drafts, result, strict=True):
            log.debug(
                "event %s published: %s",
                published.id,
                draft.type,
                extra={"event_id": published.id, "type": draft.type, "environment": publication.environment},
            )


def _warned(published: tuple[Published, ...], warnings: Mapping[int, SchemaWarning]) -> tuple[Published, ...]:
    if not warnings:
        return published
    return tuple(replace(item, warning=warnings.get(position)) for position, item in enumerate(published))


def _given(result: tuple[Published, ...] | RequestError) -> tuple[Published, ...]:
    if isinstance(result, RequestError):
        raise result
    return result
