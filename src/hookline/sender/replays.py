"""Replays: events of the past sent once more, as new deliveries with the same event ids and fresh signatures.

A replay is a job (jobs.py). It walks the events there were when it was asked for, and for each event the endpoints that
ask for its type now. What it makes and how far it came are one commit: nothing is skipped, nothing made twice. It is
paced by its rate, and by its own backlog in any case, so that fresh events never wait behind a whole history.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from hookline.errors import RequestError
from hookline.sender.idempotency import take_key
from hookline.sender.interventions import event_pruned
from hookline.sender.jobs import Part
from hookline.sender.listener_store import ListenerStore
from hookline.sender.listeners import CHANNEL as LISTENERS_CHANNEL
from hookline.sender.listeners import send_again
from hookline.sender.publish import DELIVERIES_CHANNEL
from hookline.wire.catalogue import matches

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.idempotency import IdempotencyKey
    from hookline.sender.ids import IdMaker
    from hookline.sender.job_store import Job, JobStore
    from hookline.sender.model import Delivery, Endpoint, Environment, PastEvent, Replay
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

EarlierState: TypeAlias = Literal["succeeded", "failed", "canceled", "never"]
SkipReason: TypeAlias = Literal["pruned", "open"]

KIND: Final = "replay"
PART: Final = 500
# Counting reads larger pages: it holds no writer.
COUNT_PAGE: Final = 2_000
# So many deliveries of one replay may be due and unsent; then it waits for them.
WINDOW: Final = 500
WINDOW_MS: Final = 1_000
MAX_RATE_PER_S: Final = 10_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pairs of event and endpoint; what is None selects nothing away.

    Attributes:
        since_ms, until_ms: when the event was published, Unix milliseconds; the end is excluded.
        events: type names or patterns.
        endpoints: endpoint ids; None is every endpoint. Each gets the types it asks for now.
        states: how the newest delivery of the pair ended, `never` where there was none.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    events: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    states: tuple[EarlierState, ...] | None = None

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Selection:
        """As it was stored."""
        stored = json.loads(text)
        lists = {name: tuple(stored[name]) for name in ("events", "endpoints", "states") if stored[name] is not None}
        return cls(stored["since_ms"], stored["until_ms"], **lists)

    def takes(self, event: PastEvent, environment: str) -> bool:
        """Whether an event is one of those meant. Test events never are: they were meant for one endpoint once."""
        return (
            event.environment == environment
            and event.origin != "test"
            and (self.since_ms is None or event.published_ms >= self.since_ms)
            and (self.until_ms is None or event.published_ms < self.until_ms)
            and (self.events is None or any(matches(pattern, event.type) for pattern in self.events))
        )


@dataclass(frozen=True, slots=True)
class ReplayCount:
    """What a replay would come to: `total` pairs, of which `skipped` are left out, by reason."""

    total: int
    skipped: Mapping[str, int]


class Resent(NamedTuple):
    """What came of sending an event again: deliveries that were made, and the names of listeners it goes to.

    A call that repeats an idempotency key names no listeners: the first one did.
    """

    deliveries: list[Delivery]
    listeners: list[str]


@dataclass(slots=True)
class _Page:
    """Pairs of one stretch of events: what to make as (event row, endpoint row, reason to hold it), what to leave."""

    last_row: int
    is_last: bool
    pairs: list[tuple[int, int, str | None]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


class Replays:
    """Counts, starts, does and cancels replays; sends single events again."""

    def __init__(self, database: Database, store: SenderStore, jobs: JobStore, *, clock: Clock, ids: IdMaker) -> None:
        self._database = database
        self._store = store
        self.jobs = self._jobs = jobs
        self._listeners = ListenerStore(database.dialect)
        self._clock = clock
        self._ids = ids

    def count(self, environment: Environment, selection: Selection) -> ReplayCount:
        """What a replay would come to now. Changes nothing; reads every event of the range.

        Raises:
            RequestError: 404 where an endpoint is unknown, 409 `endpoint_not_active` where a person disabled it.
        """
        with self._database.snapshot() as connection:
            return self._count(connection, environment, selection)[0]

    def start(
        self,
        environment: Environment,
        selection: Selection,
        *,
        rate_per_s: int | None = None,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Replay:
        """Begin a replay of what there is now. The delivery loops go on with it.

        Raises:
            RequestError: as `count`; 409 `idempotency_key_reused`.
        """
        with self._database.snapshot() as connection:
            count, after, last = self._count(connection, environment, selection)
        now_ms = self._clock.now_ms()
        replay_id = self._ids.make("replay", now_ms)

        def write(connection: Connection) -> Replay:
            made = take_key(connection, self._store, environment, idempotency, replay_id, now_ms=now_ms)
            if made is None:
                self._jobs.add_replay(
                    connection,
                    id=replay_id,
                    environment=environment,
                    filter=selection.to_json(),
                    total=count.total,
                    position=after,
                    last_event_row=last,
                    rate_per_s=rate_per_s,
                    now_ms=now_ms,
                )
                self._jobs.put(connection, KIND, replay_id, {}, due_ms=now_ms)
                self._store.audit(
                    connection,
                    environment,
                    actor=actor,
                    action="replay.created",
                    object_id=replay_id,
                    detail={"filter": asdict(selection), "total": count.total},
                    now_ms=now_ms,
                )
            return self._found(connection, environment, made or replay_id)

        replay = self._database.run(write)
        self._database.notify(DELIVERIES_CHANNEL)
        return replay

    def cancel(
        self,
        environment: Environment,
        replay_id: str,
        *,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Replay:
        """End a replay: nothing more is made, and what it made and still waits is canceled in the background.

        Raises:
            RequestError: 404; 409 `replay_over`, `idempotency_key_reused`.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Replay:
            replay = self._found(connection, environment, replay_id)
            if take_key(connection, self._store, environment, idempotency, replay.id, now_ms=now_ms) is not None:
                return replay
            if not self._jobs.cancel_replay(connection, replay, reason="canceled", now_ms=now_ms):
                raise RequestError(409, "replay_over", f"expected a replay that is pending, this one is {replay.state}")
            self._jobs.put(connection, KIND, replay.id, {}, due_ms=now_ms)
            self._store.audit(
                connection, environment, actor=actor, action="replay.canceled", object_id=replay.id, now_ms=now_ms
            )
            return self._found(connection, environment, replay_id)

        replay = self._database.run(write)
        self._database.notify(DELIVERIES_CHANNEL)
        return replay

    def read(self, environment: Environment, replay_id: str) -> tuple[Replay, dict[str, int]]:
        """A replay and how many of its deliveries are in which state. RequestError 404 where it is unknown."""
        with self._database.snapshot() as connection:
            replay = self._found(connection, environment, replay_id)
            return replay, self._jobs.count_replayed(connection, replay.row_id)

    def do_part(self, connection: Connection, job: Job, now_ms: int) -> Part:
        """The next part of a replay, or of the end of a canceled one."""
        replay = self._jobs.replay_of_job(connection, job.subject)
        if replay is None or replay.state == "succeeded":
            return Part(None, {})
        if replay.state == "canceled":
            ended = self._jobs.cancel_replayed(connection, replay.row_id, limit=PART, now_ms=now_ms)
            return Part(None if ended < PART else now_ms, {})
        if self._jobs.count_due(connection, replay.row_id, now_ms=now_ms, most=WINDOW) >= WINDOW:
            return Part(now_ms + WINDOW_MS, {})
        return self._make_part(connection, replay, now_ms)

    def resend(
        self,
        environment: Environment,
        event_id: str,
        *,
        endpoint_id: str | None = None,
        listener: str | None = None,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Resent:
        """Send one event again: to one endpoint, to one listener, or to every endpoint that asks for its type now and
        waits for none of it, and every listener that is connected and asks for it.

        Args:
            endpoint_id, listener: one of both, or none.

        Raises:
            RequestError: 404; 410 `event_pruned`; 409 `endpoint_not_active`, `not_subscribed`, `delivery_open`,
                `test_event`, `idempotency_key_reused`.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Resent:
            event = self._store.event(connection, environment, event_id)
            if event is None:
                raise RequestError(404, "entity_not_found", f"Event not found: '{event_id[:80]}'.")
            [past] = self._jobs.past_events(connection, event.row_id - 1, event.row_id, 1)
            if past.origin == "test":
                raise RequestError(409, "test_event", "this is a test event: send another test instead")
            if endpoint_id is not None:
                _refuse_type(self._endpoint(connection, environment, endpoint_id), past.type)
            page = _Page(event.row_id, is_last=True)
            if listener is None:
                endpoints = None if endpoint_id is None else (endpoint_id,)
                page = self._pairs(connection, environment, Selection(endpoints=endpoints), [past], is_making=True)
            rows = self._rows(environment, page.pairs, now_ms=now_ms)
            ids = ",".join(str(row["id"]) for row in rows)
            made = take_key(connection, self._store, environment, idempotency, ids, now_ms=now_ms)
            names: list[str] = []
            if made is None:
                if page.skipped["pruned"] or not event.body:
                    raise event_pruned(event_id)
                if endpoint_id is not None and page.skipped["open"]:
                    raise RequestError(
                        409, "delivery_open", "a delivery of this event to this endpoint still waits: retry that one"
                    )
                self._jobs.add_replayed(connection, rows)
                if endpoint_id is None:
                    names = send_again(
                        self._listeners,
                        connection,
                        environment,
                        listener,
                        event_row=event.row_id,
                        event_type=past.type,
                        now_ms=now_ms,
                    )
                self._store.audit(
                    connection,
                    environment,
                    actor=actor,
                    action="event.resent",
                    object_id=event_id,
                    detail={"endpoint": endpoint_id, "deliveries": len(rows), "listeners": len(names)},
                    now_ms=now_ms,
                )
                made = ids
            found = [self._store.delivery(connection, environment, one) for one in made.split(",") if one]
            return Resent([one for one in found if one is not None], names)

        resent = self._database.run(write)
        self._database.notify(DELIVERIES_CHANNEL)
        if resent.listeners:
            self._database.notify(LISTENERS_CHANNEL)
        return resent

    # -- the inside --------------------------------------------------------------------------------------------

    def _found(self, connection: Connection, environment: Environment, replay_id: str) -> Replay:
        replay = self._jobs.replay(connection, environment, replay_id)
        if replay is None:
            raise RequestError(404, "entity_not_found", f"Replay not found: '{replay_id[:80]}'.")
        return replay

    def _endpoint(self, connection: Connection, environment: Environment, endpoint_id: str) -> Endpoint:
        endpoint = self._store.endpoint(connection, environment, endpoint_id)
        if endpoint is None:
            raise RequestError(404, "entity_not_found", f"Endpoint not found: '{endpoint_id[:80]}'.")
        if endpoint.disabled_reason == "by_person":
            raise RequestError(409, "endpoint_not_active", f"{endpoint.id} is disabled: enable it first")
        return endpoint

    def _count(
        self, connection: Connection, environment: Environment, selection: Selection
    ) -> tuple[ReplayCount, int, int]:
        for endpoint_id in selection.endpoints or ():
            self._endpoint(connection, environment, endpoint_id)
        after, last = self._jobs.event_range(connection, environment, selection.since_ms, selection.until_ms)
        total, skipped, at = 0, Counter[str](), after
        while True:
            page = self._page(connection, environment, selection, at, last, COUNT_PAGE, is_making=False)
            total += len(page.pairs) + page.skipped.total()
            skipped += page.skipped
            if page.is_last:
                return ReplayCount(total, dict(skipped)), after, last
            at = page.last_row

    def _page(
        self,
        connection: Connection,
        environment: Environment,
        selection: Selection,
        after: int,
        last: int,
        limit: int,
        *,
        is_making: bool,
    ) -> _Page:
        """The pairs of the events after a row; so few events that a page has about `limit` pairs."""
        endpoints = len(selection.endpoints or ()) or self._jobs.count_endpoints(connection, environment)
        size = max(1, limit // max(1, endpoints))
        events = self._jobs.past_events(connection, after, last, size)
        page = self._pairs(connection, environment, selection, events, is_making=is_making)
        page.is_last = len(events) < size
        return page

    def _pairs(
        self,
        connection: Connection,
        environment: Environment,
        selection: Selection,
        events: Sequence[PastEvent],
        *,
        is_making: bool,
    ) -> _Page:
        page = _Page(events[-1].row_id if events else 0, is_last=False)
        wanted = [event for event in events if selection.takes(event, environment)]
        if not wanted:
            return page
        only = None
        if selection.endpoints is not None:
            found = [self._store.endpoint(connection, environment, one) for one in selection.endpoints]
            only = {endpoint.row_id for endpoint in found if endpoint is not None}
        asking: dict[str, list[tuple[int, str | None]]] = {}
        for match in self._store.endpoints_matching(connection, {(environment, event.type) for event in wanted}):
            if only is None or match.endpoint_row in only:
                asking.setdefault(match.event_type, []).append((match.endpoint_row, match.held_reason))
        pairs = [
            (event.row_id, endpoint_row, held_reason)
            for event in wanted
            for endpoint_row, held_reason in sorted(asking.get(event.type, ()))
        ]
        kept = {event.row_id for event in wanted if event.pruned_ms is None}
        if is_making and pairs:
            kept = self._store.keep_bodies(connection, kept)
        earlier = self._jobs.earlier(connection, [pair[:2] for pair in pairs]) if pairs else {}
        for pair in pairs:
            before = earlier.get(pair[:2], [])
            if selection.states is not None and _newest(before) not in selection.states:
                continue
            reason = _skip_reason(before, has_body=pair[0] in kept)
            if reason is None:
                page.pairs.append(pair)
            else:
                page.skipped[reason] += 1
        return page

    def _make_part(self, connection: Connection, replay: Replay, now_ms: int) -> Part:
        selection = Selection.from_json(replay.filter)
        limit = PART if replay.rate_per_s is None else min(PART, replay.rate_per_s)
        page = self._page(
            connection,
            replay.environment,
            selection,
            replay.position,
            replay.last_event_row,
            limit,
            is_making=True,
        )
        self._jobs.add_replayed(
            connection,
            self._rows(
                replay.environment, page.pairs, replay_row=replay.row_id, rate_per_s=replay.rate_per_s, now_ms=now_ms
            ),
        )
        skipped = Counter(json.loads(replay.skipped)) + page.skipped
        self._jobs.move_replay(
            connection,
            replay,
            made=replay.made + len(page.pairs),
            skipped=skipped,
            position=max(page.last_row, replay.position),
            is_over=page.is_last,
            now_ms=now_ms,
        )
        if page.is_last:
            return Part(None, {}, has_released=bool(page.pairs))
        wait_ms = 0 if replay.rate_per_s is None else len(page.pairs) * 1000 // replay.rate_per_s
        return Part(now_ms + wait_ms, {}, has_released=bool(page.pairs))

    def _rows(
        self,
        environment: Environment,
        pairs: Sequence[tuple[int, int, str | None]],
        *,
        replay_row: int | None = None,
        rate_per_s: int | None = None,
        now_ms: int,
    ) -> list[Mapping[str, object]]:
        return [
            {
                "id": self._ids.make("delivery", now_ms),
                "environment": environment,
                "event_row": event_row,
                "endpoint_row": endpoint_row,
                "state": "held" if held_reason else "pending",
                "due_ms": now_ms if rate_per_s is None else now_ms + number * 1000 // rate_per_s,
                "reason": held_reason,
                "replay_row": replay_row,
                "now_ms": now_ms,
            }
            for number, (event_row, endpoint_row, held_reason) in enumerate(pairs)
        ]


def _refuse_type(endpoint: Endpoint, event_type: str) -> None:
    if not any(matches(pattern, event_type) for pattern in endpoint.events):
        raise RequestError(
            409,
            "not_subscribed",
            f"{endpoint.id} does not ask for {event_type}; it asks for {', '.join(endpoint.events[:20])}",
        )


def _newest(earlier: Sequence[tuple[int, str]]) -> str:
    return max(earlier)[1] if earlier else "never"


def _skip_reason(earlier: Sequence[tuple[int, str]], *, has_body: bool) -> SkipReason | None:
    if not has_body:
        return "pruned"
    # It is still to come: once more would be once too often.
    return "open" if any(state in ("pending", "running", "held") for _, state in earlier) else None
