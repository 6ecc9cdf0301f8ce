"""Publishing: an event, its place in the feed, its deliveries and its idempotency key in one commit.

Many publishers share a commit (group commit); ids are made by the writer, so that they grow in feed order. The
body's bytes are made once, here, and are what every attempt sends and `GET /events` answers. Nothing here speaks
HTTP or sends anything.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hookline.errors import NotCanonical, RequestError, StorageError
from hookline.sender.counters import Counters
from hookline.sender.idempotency import IdempotencyKey, refuse_other_use
from hookline.sender.ids import IdMaker
from hookline.storage.commit import GroupCommit
from hookline.wire.canonical import canonical_bytes
from hookline.wire.timestamps import format_ms, parse_us

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.model import Environment
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.sender")

# Notified after every commit that made deliveries due.
DELIVERIES_CHANNEL: Final = "deliveries"

MAX_BATCH_EVENTS: Final = 1_000
MAX_EVENT_BYTES: Final = 256 * 1024
# What the events of one call come to together; a thousand ordinary ones are about 1 MB.
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
MAX_ID_LENGTH: Final = 200

# Any well-formed dotted name: the catalogue's, and a user's own (`invoice.paid`).
_EVENT_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+")
_MAX_TYPE_LENGTH: Final = 200
_FIELDS: Final = frozenset({"event", "data", "organization_id", "context", "created_at"})


@dataclass(frozen=True, slots=True)
class EventDraft:
    """A checked event that waits for its id: canonical bytes of its members `"data":…` and `"context":…`."""

    type: str
    data: bytes
    context: bytes
    organization_id: str | None
    created_ms: int | None


@dataclass(frozen=True, slots=True)
class Published:
    """A stored event. `body` is its canonical bytes, None where a repeated call finds them pruned."""

    id: str
    body: bytes | None


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
        self._group: GroupCommit[Publication, tuple[Published, ...] | RequestError] = GroupCommit(
            self._commit, name="hookline-publish"
        )

    async def publish(self, publication: Publication) -> tuple[Published, ...]:
        """Store what a call publishes and return it after the commit, in the order given.

        A call that repeats an idempotency key with the same body gets what the first one stored.

        Raises:
            RequestError: 409 `idempotency_key_reused` where the key was used for something else.
            StorageUnavailable: nothing was written.
        """
        began_s = time.perf_counter()
        result = await self._group.put(publication)
        self._counters.publish_waits.add(time.perf_counter() - began_s)
        return _given(result)

    def publish_inline(self, publication: Publication) -> tuple[Published, ...]:
        """The same for a plain thread."""
        began_s = time.perf_counter()
        result = self._group.put_inline(publication)
        self._counters.publish_waits.add(time.perf_counter() - began_s)
        return _given(result)

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


def compose_body(draft: EventDraft, event_id: str, created_ms: int) -> bytes:
    """The canonical bytes of the whole event: a fixed point of `JSON.parse` then `JSON.stringify`."""
    head = f'{{"object":"event","id":"{event_id}","event":"{draft.type}",'
    tail = f',"created_at":"{format_ms(created_ms * 1000)}"'
    context = b"," + draft.context if draft.context else b""
    return head.encode() + draft.data + tail.encode() + context + b"}"


def draft_event(value: object, path: str = "") -> EventDraft:
    """Check one event as `POST /api/v1/events` takes it.

    Args:
        value: decoded JSON: `event`, `data`, and perhaps `organization_id`, `context`, `created_at`.
        path: where it stands in the request, as in `events[3]`; named by errors.

    Raises:
        RequestError: 422 `invalid_event`; `errors` names the place and says what was expected.
    """
    if not isinstance(value, dict):
        raise _invalid(path, "expected an object with event and data", value)
    unknown = sorted(value.keys() - _FIELDS)
    if unknown:
        raise _refusal(_at(path, unknown[0][:60]), f"unknown field; known are {', '.join(sorted(_FIELDS))}")
    event_type = value.get("event")
    if not isinstance(event_type, str):
        raise _invalid(_at(path, "event"), "expected a type name such as dsync.user.created", event_type)
    if len(event_type) > _MAX_TYPE_LENGTH or not _EVENT_TYPE.fullmatch(event_type):
        raise _refusal(
            _at(path, "event"),
            "expected two or more lower-case words joined by dots, such as dsync.user.created",
        )
    data = value.get("data")
    if not isinstance(data, dict):
        raise _invalid(_at(path, "data"), "expected an object", data)
    context = value.get("context")
    if context is not None and not isinstance(context, dict):
        raise _invalid(_at(path, "context"), "expected an object", context)
    organization_id = value.get("organization_id")
    if organization_id is not None and not isinstance(organization_id, str):
        raise _invalid(_at(path, "organization_id"), "expected a string", organization_id)
    if organization_id is not None and not 0 < len(organization_id) <= MAX_ID_LENGTH:
        raise _refusal(_at(path, "organization_id"), f"expected 1 to {MAX_ID_LENGTH} characters")
    if organization_id is not None and not organization_id.isprintable():
        # Lone surrogates, which no database takes, among them.
        raise _refusal(_at(path, "organization_id"), "expected printable characters")
    data_bytes = _member("data", data, path)
    context_bytes = b"" if context is None else _member("context", context, path)
    if len(data_bytes) + len(context_bytes) > MAX_EVENT_BYTES:
        raise _refusal(_at(path, "data"), f"expected at most {MAX_EVENT_BYTES} bytes as compact JSON")
    return EventDraft(event_type, data_bytes, context_bytes, organization_id, _created_ms(value, path))


def draft_batch(value: object) -> tuple[EventDraft, ...]:
    """Check the `events` list of a batch: 1 to 1,000 events; the first bad one refuses all, by its index."""
    if not isinstance(value, list) or not value:
        raise _invalid("events", "expected a list of at least one event", value)
    if len(value) > MAX_BATCH_EVENTS:
        raise _refusal("events", f"expected at most {MAX_BATCH_EVENTS} events in a batch, got {len(value)}")
    drafts: list[EventDraft] = []
    total = 0
    for index, item in enumerate(value):
        draft = draft_event(item, f"events[{index}]")
        total += len(draft.data) + len(draft.context)
        if total > MAX_BATCH_BYTES:
            raise _refusal(f"events[{index}]", f"expected a batch of at most {MAX_BATCH_BYTES} bytes as compact JSON")
        drafts.append(draft)
    return tuple(drafts)


def _created_ms(value: Mapping[str, Any], path: str) -> int | None:
    text = value.get("created_at")
    if text is None:
        return None
    where = _at(path, "created_at")
    if not isinstance(text, str):
        raise _invalid(where, "expected an RFC 3339 time such as 2026-01-31T12:00:00.000Z", text)
    try:
        created_us = parse_us(text)
    except ValueError:
        raise _refusal(where, "expected an RFC 3339 time such as 2026-01-31T12:00:00.000Z") from None
    return created_us // 1000


def _member(name: str, value: object, path: str) -> bytes:
    try:
        return canonical_bytes({name: value})[1:-1]
    except NotCanonical as error:
        where = f"{path}.{error.path}" if path else error.path
        raise _refusal(where, str(error).removeprefix(f"{error.path}: ")) from None


def _at(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def _invalid(field: str, expected: str, got: object) -> RequestError:
    return _refusal(field, f"{expected}, got {_kind(got)}")


def _refusal(field: str, message: str) -> RequestError:
    return RequestError(
        422,
        "invalid_event",
        f"{field}: {message}" if field else message,
        [{"code": "invalid_event", "field": field, "message": message}],
    )


def _kind(value: object) -> str:
    """What a value is, in JSON's words; never the value itself."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return "an object"


def _given(result: tuple[Published, ...] | RequestError) -> tuple[Published, ...]:
    if isinstance(result, RequestError):
        raise result
    return result
