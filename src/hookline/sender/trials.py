"""Test events: one event to one endpoint, now, with the answer in hand; and the checks of a whole endpoint.

The process that is asked makes the exchange itself, by the same code as every attempt, so that it works whoever runs
the delivery loop. Event, delivery and attempt are stored with the origin `test` once the answer is there: out of the
feed, of statistics and of the endpoint's health, and never tried again. No connection to the database is held
meanwhile.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import structs

from hookline.errors import RequestError
from hookline.sender.attempt import Attempter, own_headers
from hookline.sender.begun import awaited
from hookline.sender.conformance import check_endpoint
from hookline.sender.delivery_store import Claimed, ClaimedEndpoint, ClaimedEvent, DeliveryStore
from hookline.sender.drafts import compose_body, draft_event
from hookline.sender.http import TOTAL_TIMEOUT_S
from hookline.sender.idempotency import take_key
from hookline.sender.interventions import event_pruned
from hookline.wire.catalogue import matches, sample, sample_context
from hookline.wire.object_ids import object_of

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.attempt import Finished, RefuseUrl
    from hookline.sender.conformance_model import Conformance, Observer
    from hookline.sender.drafts import EventDraft
    from hookline.sender.http import Exchange
    from hookline.sender.idempotency import IdempotencyKey
    from hookline.sender.ids import IdMaker
    from hookline.sender.model import Attempt, Delivery, Endpoint, Environment
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection


@dataclass(frozen=True, slots=True)
class Trial:
    """A test and what came of it; `body` is what was sent."""

    endpoint: Endpoint
    body: bytes
    delivery: Delivery
    attempts: tuple[Attempt, ...]

    @property
    def note(self) -> str | None:
        """Where the endpoint gets nothing but tests at the moment."""
        if self.endpoint.status == "disabled":
            return "the endpoint is disabled: tests reach it, events do not"
        if self.endpoint.paused_ms is not None:
            return "the endpoint is paused: tests reach it, events are held"
        return None


class Trials:
    """Sends test events.

    Args:
        decrypt: opens what is sealed.
        make_exchange: called on the event loop of each test, and closed after it.
        refuse_url: asked before the exchange.
    """

    def __init__(
        self,
        database: Database,
        store: SenderStore,
        *,
        clock: Clock,
        ids: IdMaker,
        decrypt: Callable[[str], str],
        make_exchange: Callable[[], Exchange],
        refuse_url: RefuseUrl | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._verbs = DeliveryStore(database.dialect)
        self._clock = clock
        self._ids = ids
        self._decrypt = decrypt
        self._make_exchange = make_exchange
        self._refuse_url = refuse_url

    async def run(
        self,
        environment: Environment,
        endpoint_id: str,
        event_type: str,
        *,
        data: Mapping[str, Any] | None = None,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Trial:
        """Send one test event and wait for its answer; at most as long as an attempt may take.

        Args:
            data: the payload; by default the sample of the type.

        Raises:
            RequestError: 404; 422 `not_subscribed` with what the endpoint asks for, `no_sample`, `invalid_event`; 409
                `idempotency_key_reused`, `test_under_way` where the call it repeats has not ended.
        """
        now_ms = self._clock.now_ms()
        delivery_id = self._ids.make("delivery", now_ms)
        endpoint, draft, done = await asyncio.to_thread(
            self._prepare, environment, endpoint_id, event_type, data, delivery_id, idempotency, now_ms
        )
        if done is not None:
            return done
        event_id = self._ids.make("event", now_ms)
        body = compose_body(draft, event_id, now_ms)
        finished = await self._attempt(_claimed(endpoint, draft, delivery_id, event_id, body, now_ms))
        return await asyncio.to_thread(self._record, endpoint, draft, finished, actor)

    async def check(
        self, environment: Environment, endpoint_id: str, *, actor: str = "command", observer: Observer | None = None
    ) -> Conformance:
        """Hold an endpoint against what the guide asks of it (conformance.py); a minute at most.

        Nothing of it is stored but that it was done, and how it ended.

        Raises:
            RequestError: 404.
        """

        def read() -> Endpoint:
            with self._database.read() as connection:
                return _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)

        endpoint = await asyncio.to_thread(read)
        headers, sensitive = own_headers(endpoint.headers_enc, self._decrypt)
        exchange = self._make_exchange()
        try:
            done = await check_endpoint(
                endpoint.url,
                self._decrypt(endpoint.secret_enc),
                exchange,
                clock=self._clock,
                ids=self._ids,
                headers=headers,
                sensitive=sensitive,
                also_standard=endpoint.standard_webhooks,
                refuse_url=None if self._refuse_url is None else functools.partial(self._refuse_url, environment),
                observer=observer,
                timeout_s=TOTAL_TIMEOUT_S if endpoint.timeout_ms is None else endpoint.timeout_ms / 1000,
            )
        finally:
            await exchange.close()

        def write(connection: Connection) -> None:
            self._store.audit(
                connection,
                environment,
                actor=actor,
                action="endpoint.checked",
                object_id=endpoint.id,
                detail={line.name: line.verdict for line in done.lines},
                now_ms=self._clock.now_ms(),
            )

        await asyncio.to_thread(self._database.run, write)
        return done

    def _prepare(
        self,
        environment: Environment,
        endpoint_id: str,
        event_type: str,
        data: Mapping[str, Any] | None,
        delivery_id: str,
        idempotency: IdempotencyKey | None,
        now_ms: int,
    ) -> tuple[Endpoint, EventDraft, Trial | None]:
        with self._database.read() as connection:
            endpoint = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            _refuse_type(endpoint, event_type)
            own_sample = (
                None if data is not None else self._store.event_type_sample(connection, environment, event_type)
            )
        draft = _draft(event_type, data, own_sample)
        if idempotency is None:
            return endpoint, draft, None
        made = self._database.run(
            lambda tx: take_key(tx, self._store, environment, idempotency, delivery_id, now_ms=now_ms)
        )
        return endpoint, draft, None if made is None else self._earlier(environment, endpoint, made)

    def _earlier(self, environment: Environment, endpoint: Endpoint, delivery_id: str) -> Trial:
        with self._database.snapshot() as connection:
            delivery = self._store.delivery(connection, environment, delivery_id)
            event = None if delivery is None else self._store.event(connection, environment, delivery.event_id)
            if delivery is None or event is None:
                raise RequestError(
                    409, "test_under_way", "the test with this Idempotency-Key has not ended, or ended with its process"
                )
            if not event.body:
                raise event_pruned(event.id)
            return Trial(endpoint, event.body, delivery, tuple(self._store.attempts(connection, delivery.row_id)))

    async def _attempt(self, claimed: Claimed) -> Finished:
        exchange = self._make_exchange()
        attempter = Attempter(
            exchange,
            clock=self._clock,
            decrypt=self._decrypt,
            schedule_of=lambda _: None,
            current_secrets=self._current_secrets,
            refuse_url=self._refuse_url,
        )
        try:
            ended = await awaited(functools.partial(attempter.begin, claimed))
            return attempter.judged([ended])[0]
        finally:
            await exchange.close()

    async def _current_secrets(self, endpoint_row: int) -> tuple[str, str | None] | None:
        def read() -> tuple[str, str | None] | None:
            with self._database.read() as connection:
                return self._verbs.secrets(connection, endpoint_row)

        return await asyncio.to_thread(read)

    def _record(self, endpoint: Endpoint, draft: EventDraft, finished: Finished, actor: str) -> Trial:
        claimed = finished.claimed

        def write(connection: Connection) -> Trial:
            now_ms = self._clock.now_ms()
            rows = self._store.add_events(
                connection,
                [
                    {
                        "id": claimed.event.id,
                        "environment": claimed.endpoint.environment,
                        "type": draft.type,
                        "organization_id": None,
                        "body": claimed.event.body,
                        "created_ms": claimed.first_ms,
                        "now_ms": claimed.first_ms,
                        "origin": "test",
                        "object_id": object_of(draft.type, b"{" + draft.data + b"}"),
                    }
                ],
            )
            delivery_row = self._store.add_trial(
                connection,
                id=claimed.id,
                environment=claimed.endpoint.environment,
                event_row=rows[claimed.event.id],
                endpoint_row=claimed.endpoint.row_id,
                state="succeeded" if finished.outcome.kind == "succeeded" else "failed",
                attempt=finished.number,
                first_ms=claimed.first_ms,
                reason=finished.outcome.reason,
                now_ms=now_ms,
            )
            attempts = tuple(structs.replace(one, delivery_row=delivery_row) for one in finished.attempts)
            self._verbs.record(connection, attempts)
            self._store.audit(
                connection,
                claimed.endpoint.environment,
                actor=actor,
                action="endpoint.tested",
                object_id=endpoint.id,
                detail={"event": draft.type, "delivery": claimed.id},
                now_ms=now_ms,
            )
            delivery = self._store.delivery(connection, claimed.endpoint.environment, claimed.id)
            assert delivery is not None  # made a moment ago, in this transaction
            return Trial(endpoint, claimed.event.body, delivery, attempts)

        return self._database.run(write)


def _found(endpoint: Endpoint | None, endpoint_id: str) -> Endpoint:
    if endpoint is None:
        raise RequestError(404, "entity_not_found", f"Endpoint not found: '{endpoint_id[:80]}'.")
    return endpoint


def _draft(event_type: str, data: Mapping[str, Any] | None, own_sample: str | None) -> EventDraft:
    event: dict[str, Any] = {"event": event_type}
    if data is not None:
        event["data"] = dict(data)
    elif own_sample is not None:
        event["data"] = json.loads(own_sample)
    else:
        try:
            event["data"], context = sample(event_type), sample_context(event_type)
        except LookupError:
            raise _refusal(
                "no_sample", "data", f"{event_type[:80]} has no sample: say what to send in `data`"
            ) from None
        if context is not None:
            event["context"] = context
    return draft_event(event, is_test=True)


def _refuse_type(endpoint: Endpoint, event_type: str) -> None:
    if not any(matches(pattern, event_type) for pattern in endpoint.events):
        raise _refusal(
            "not_subscribed",
            "event",
            f"the endpoint does not ask for this type; it asks for {', '.join(endpoint.events)}",
        )


def _refusal(code: str, field: str, message: str) -> RequestError:
    return RequestError(
        422, code, f"{field}: {message}", [{"code": code, "field": field, "message": f"{field}: {message}"}]
    )


def _claimed(
    endpoint: Endpoint, draft: EventDraft, delivery_id: str, event_id: str, body: bytes, now_ms: int
) -> Claimed:
    """What the delivery loop would have claimed."""
    return Claimed(
        row_id=0,
        id=delivery_id,
        event=ClaimedEvent(0, event_id, draft.type, "test", None, None, body),
        endpoint=ClaimedEndpoint(
            row_id=endpoint.row_id,
            id=endpoint.id,
            environment=endpoint.environment,
            url=endpoint.url,
            version=endpoint.version,
            secret_enc=endpoint.secret_enc,
            old_secret_enc=endpoint.old_secret_enc,
            old_secret_until_ms=endpoint.old_secret_until_ms,
            signs_with_old=endpoint.signs_with_old,
            probe_failures=endpoint.probe_failures,
            probe_after_ms=endpoint.probe_after_ms,
            headers_enc=endpoint.headers_enc,
            standard_webhooks=endpoint.standard_webhooks,
            schedule=endpoint.schedule,
            timeout_ms=endpoint.timeout_ms,
            rate_limit_per_min=endpoint.rate_limit_per_min,
        ),
        origin="test",
        attempt=1,
        slots_used=0,
        unknown_attempts=0,
        kind="scheduled",
        planned_ms=None,
        first_ms=now_ms,
        claimed_ms=now_ms,
    )
