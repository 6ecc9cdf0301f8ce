"""Writing events: rows, their deliveries, their place in the feed and their idempotency keys, on a connection given.

Two kinds of callers: publish.py, in transactions of ours, many calls to a commit; and outbox.py, in the app's own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookline.errors import RequestError
from hookline.sender.drafts import EventDraft, compose_body
from hookline.sender.event_types import SchemaWarning
from hookline.sender.idempotency import IdempotencyKey, refuse_other_use
from hookline.wire.object_ids import object_of

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.ids import IdMaker
    from hookline.sender.model import Environment
    from hookline.sender.store import SenderStore
    from hookline.storage.verbs import Connection


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


class EventWriter:
    """Writes publications on the connection it is given; opens no transaction and ends none."""

    def __init__(self, store: SenderStore, *, clock: Clock, ids: IdMaker) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    def write(
        self, connection: Connection, publications: Sequence[Publication], *, is_ours: bool
    ) -> tuple[list[tuple[Published, ...] | RequestError], Collection[int]]:
        """Each publication's result, and the positions of those that only repeated an idempotency key.

        Args:
            is_ours: the transaction is short and ours: the feed rows are its last write (DESIGN 4, The feed). Otherwise
                the delivery loop gives the events their place before their first claim.
        """
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
            self.repeated(connection, publication, composed, repeats[position])
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

    def repeated(
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
                    "object_sequence": draft.object_sequence,
                    "object_id": object_of(draft.type, b"{" + draft.data + b"}"),
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
            self._store.feed(connection, [(item.environment, rows[published.id]) for item, _, published in fresh])
        else:
            self._store.feed_later(connection, [rows[published.id] for _, _, published in fresh])
