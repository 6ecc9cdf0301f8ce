"""Publishing: an event, its place in the feed, its deliveries and its idempotency key in one commit.

Many publishers share a commit (group commit); ids are made by the writer, so that they grow in feed order. The
body's bytes are made once, here, and are what every attempt sends and `GET /events` answers. Nothing here speaks
HTTP or sends anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hookline.errors import RequestError, StorageError
from hookline.sender.counters import Counters
from hookline.sender.event_types import EventTypes, Rules, SchemaWarning, Tell, check_drafts
from hookline.sender.event_writer import EventWriter, Publication, Published
from hookline.sender.ids import IdMaker
from hookline.sender.spans import begin_publishing, note_published
from hookline.storage.commit import GroupCommit
from hookline.tracing import within

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.statistics import Statistics
    from hookline.sender.store import SenderStore
    from hookline.storage import Database

log = logging.getLogger("hookline.sender")

# Notified after every commit that made deliveries due.
DELIVERIES_CHANNEL: Final = "deliveries"

# Above this the events of a call are held against schemas in a thread, so that other calls are not kept waiting.
_CHECK_INLINE_BYTES: Final = 64 * 1024
_NO_WARNINGS: Final[Mapping[int, SchemaWarning]] = {}


class Publisher:
    """Stores events and their deliveries.

    One per process and database; `close` ends its thread.

    Args:
        counters: what is counted here.
        statistics: what is counted for pages.

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
        statistics: Statistics | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._statistics = statistics
        self._writer = EventWriter(store, clock=clock, ids=ids)
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
        span = begin_publishing(publication)
        if span is None:
            return await self._publish(publication)
        with within(span):
            published = await self._publish(replace(publication, traceparent=span.traceparent))
            note_published(span, published)
        return published

    async def _publish(self, publication: Publication) -> tuple[Published, ...]:
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
        span = begin_publishing(publication)
        if span is None:
            return self._publish_inline(publication)
        with within(span):
            published = self._publish_inline(replace(publication, traceparent=span.traceparent))
            note_published(span, published)
        return published

    def _publish_inline(self, publication: Publication) -> tuple[Published, ...]:
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
            return self._writer.repeated(connection, publication, (), None)

    def _commit(self, publications: Sequence[Publication]) -> list[tuple[Published, ...] | RequestError]:
        try:
            results, repeats = self._database.run(
                lambda connection: self._writer.write(connection, publications, is_ours=True)
            )
        except StorageError:
            self._counters.database_errors["publish"] += 1
            raise
        self._count(publications, repeats)
        if log.isEnabledFor(logging.DEBUG):
            _log_published(publications, results, repeats)
        wake_deliveries(self._database)
        return results

    def _count(self, publications: Sequence[Publication], repeats: Collection[int]) -> None:
        counters = self._counters
        counters.commits.add(len(publications))
        counters.repeated += len(repeats)
        for position, publication in enumerate(publications):
            if position not in repeats:
                counters.published[publication.environment] += len(publication.drafts)
                if self._statistics is not None:
                    types = [draft.type for draft in publication.drafts]
                    self._statistics.published(publication.environment, types, now_ms=self._clock.now_ms())


def wake_deliveries(database: Database) -> None:
    """After a commit that made deliveries due."""
    try:
        database.notify(DELIVERIES_CHANNEL)
    except Exception:
        # The commit holds: a subscriber that fails must not have the batch written twice.
        log.exception("a subscriber of %r failed after a commit", DELIVERIES_CHANNEL)


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
