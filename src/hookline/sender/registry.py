"""The registry of endpoints: create, change, delete, pause, resume, each one transaction.

Both dialects of the API and the command come here; what they have checked is a type name is a string here. The
secret is made here and leaves only through `secret_of`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from hookline.errors import RequestError
from hookline.sender.holding import Choice
from hookline.sender.idempotency import IdempotencyKey, take_key
from hookline.sender.publish import DELIVERIES_CHANNEL
from hookline.sender.secrets import make_secret
from hookline.wire.catalogue import WEBHOOK_TYPES, nearest

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.holding import HeldCount, Holding
    from hookline.sender.ids import IdMaker
    from hookline.sender.model import Endpoint, EndpointStatus, Environment
    from hookline.sender.secrets import SecretBox
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

# A name, a prefix (`dsync.*`, `dsync.user.*`) or everything.
_PATTERN: Final = re.compile(r"\*|[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*(?:\.\*|\.[a-z0-9_]+)")
MAX_EVENTS: Final = 500


class Registry:
    """Endpoints of both environments.

    Args:
        holding: lets held deliveries go.
        check_url: raises RequestError 422 `invalid_url` for a URL that may not be called from an environment.
    """

    def __init__(
        self,
        database: Database,
        store: SenderStore,
        box: SecretBox,
        holding: Holding,
        *,
        clock: Clock,
        ids: IdMaker,
        check_url: Callable[[str, Environment], None],
    ) -> None:
        self._database = database
        self._store = store
        self._box = box
        self._holding = holding
        self._clock = clock
        self._ids = ids
        self._check_url = check_url

    def secret_of(self, endpoint: Endpoint) -> str:
        """The endpoint's secret in clear."""
        return self._box.open(endpoint.secret_enc)

    def create(
        self,
        environment: Environment,
        *,
        url: str,
        events: Sequence[str],
        description: str | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Endpoint:
        """Register an enabled endpoint with a new secret.

        A call that repeats an idempotency key with the same body gets the endpoint the first one made.

        Raises:
            RequestError: 422 `invalid_url`; 409 `duplicate_endpoint` or `idempotency_key_reused`.
        """
        self._check_url(url, environment)
        now_ms = self._clock.now_ms()
        endpoint_id = self._ids.make("we", now_ms)
        secret_enc = self._box.seal(make_secret())

        def write(connection: Connection) -> Endpoint:
            made = take_key(connection, self._store, environment, idempotency, endpoint_id, now_ms=now_ms)
            if made is None and not self._store.add_endpoint(
                connection,
                endpoint_id=endpoint_id,
                environment=environment,
                url=url,
                events=events,
                description=description,
                secret_enc=secret_enc,
                now_ms=now_ms,
            ):
                raise _duplicate(url)
            shown = made or endpoint_id
            return _found(self._store.endpoint(connection, environment, shown, with_deleted=True), shown)

        return self._database.run(write)

    def change(
        self,
        environment: Environment,
        endpoint_id: str,
        *,
        url: str | None = None,
        status: EndpointStatus | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
    ) -> Endpoint:
        """Change what is given; with nothing given nothing changes, the version neither.

        Disabling holds what waits for the endpoint; enabling one that is not paused sends all that is held.

        Raises:
            RequestError: 404 `entity_not_found`, 409 `duplicate_endpoint`, 422 `invalid_url`.
        """
        if url is not None:
            self._check_url(url, environment)
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Endpoint:
            endpoint = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            if url is not None and self._store.is_url_taken(connection, endpoint, url):
                raise _duplicate(url)
            if url is status is events is description is None:
                return endpoint
            self._store.change_endpoint(
                connection,
                endpoint,
                url=url,
                status=status,
                events=events,
                description=description,
                now_ms=now_ms,
            )
            if status == "enabled" and endpoint.status == "disabled":
                self._holding.begin(connection, endpoint.row_id, Choice(), now_ms=now_ms)
            return _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)

        return self._run_and_wake(write)

    def delete(self, environment: Environment, endpoint_id: str) -> None:
        """Delete an endpoint and cancel what waits for it. RequestError 404 where there is none."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            if not self._store.delete_endpoint(connection, environment, endpoint_id, now_ms=now_ms):
                raise not_found(endpoint_id)

        self._database.run(write)

    def pause(
        self, environment: Environment, endpoint_id: str, *, idempotency: IdempotencyKey | None = None
    ) -> Endpoint:
        """Hold the endpoint's deliveries from now on; pausing twice changes nothing.

        Raises:
            RequestError: 404; 409 `idempotency_key_reused`.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Endpoint:
            endpoint = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            repeated = take_key(connection, self._store, environment, idempotency, endpoint_id, now_ms=now_ms)
            if repeated is None and endpoint.paused_ms is None:
                self._store.pause_endpoint(connection, endpoint, now_ms=now_ms)
            return _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)

        return self._database.run(write)

    def resume(
        self,
        environment: Environment,
        endpoint_id: str,
        choice: Choice,
        *,
        idempotency: IdempotencyKey | None = None,
    ) -> Endpoint:
        """End a pause, or enable again what Hookline disabled, and let go of what is held as chosen.

        What a person disabled stays so, and what it holds too. Of an endpoint that is open already what is still
        held is let go as chosen now, a release under way included; its version stays.

        Raises:
            RequestError: 404; 409 `idempotency_key_reused`.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Endpoint:
            endpoint = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            repeated = take_key(connection, self._store, environment, idempotency, endpoint_id, now_ms=now_ms)
            if repeated is None:
                if endpoint.paused_ms is not None or endpoint.disabled_reason not in (None, "by_person"):
                    self._store.resume_endpoint(connection, endpoint, now_ms=now_ms)
                self._holding.begin(connection, endpoint.row_id, choice, now_ms=now_ms)
            return _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)

        return self._run_and_wake(write)

    def count_held(self, environment: Environment, endpoint_id: str, choice: Choice) -> HeldCount:
        """What `resume` with this choice would come to now. RequestError 404 where there is no such endpoint."""
        with self._database.snapshot() as connection:
            endpoint = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            return self._holding.count(connection, endpoint.row_id, choice)

    def _run_and_wake(self, write: Callable[[Connection], Endpoint]) -> Endpoint:
        endpoint = self._database.run(write)
        self._database.notify(DELIVERIES_CHANNEL)
        return endpoint


def check_webhook_types(events: Sequence[str]) -> None:
    """The types an endpoint of the compatible API may ask for: at least one, exact, and of the catalogue.

    Raises:
        RequestError: 422 `invalid_request_parameters`, one `unknown_event_type` per bad name.
    """
    errors = [
        _unknown_type(name, WEBHOOK_TYPES, "is no event type of webhooks")
        for name in dict.fromkeys(events)
        if name not in WEBHOOK_TYPES
    ]
    _refuse_events(events, errors)


def check_patterns(events: Sequence[str]) -> None:
    """What an endpoint of Hookline's own API may ask for: type names, `prefix.*` or `*`.

    Raises:
        RequestError: 422 `invalid_request_parameters`.
    """
    errors = [
        _unknown_type(name, (), "is neither a type name nor a pattern such as dsync.* or *")
        for name in dict.fromkeys(events)
        if len(name) > 200 or not _PATTERN.fullmatch(name)
    ]
    _refuse_events(events, errors)


def invalid_parameters(errors: list[dict[str, str]]) -> RequestError:
    """422 `invalid_request_parameters` with its inner errors."""
    return RequestError(422, "invalid_request_parameters", "The request parameters are invalid.", list(errors))


def not_found(endpoint_id: str) -> RequestError:
    """404 `entity_not_found`."""
    return RequestError(404, "entity_not_found", f"Webhook endpoint not found: '{endpoint_id[:80]}'.")


def _refuse_events(events: Sequence[str], errors: list[dict[str, str]]) -> None:
    if not events:
        errors = [{"code": "events_required", "message": "events: expected at least one event type, got none"}]
    if len(events) > MAX_EVENTS:
        errors = [{"code": "too_many_events", "message": f"events: expected at most {MAX_EVENTS} names"}]
    if errors:
        raise invalid_parameters(errors)


def _unknown_type(name: str, known: Sequence[str] | frozenset[str], why: str) -> dict[str, str]:
    # The nearest name only for short ones: the comparison is quadratic, and the list may be a stranger's.
    near = nearest(name, known) if known and len(name) <= 60 else None
    hint = f"; did you mean '{near}'?" if near else ""
    return {"code": "unknown_event_type", "message": f"'{name[:80]}' {why}{hint}"}


def _duplicate(url: str) -> RequestError:
    return RequestError(409, "duplicate_endpoint", f"A webhook endpoint with this URL already exists: '{url[:200]}'.")


def _found(endpoint: Endpoint | None, endpoint_id: str) -> Endpoint:
    if endpoint is None:
        raise not_found(endpoint_id)
    return endpoint
