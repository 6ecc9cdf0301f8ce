"""The registry of endpoints: create, change, delete, pause, resume, each one transaction with its line in the audit
trail.

Both dialects of the API and the command come here; what they have checked is a type name is a string here. The
secret is made here and leaves only through `secret_of` and `reveal_secret`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from hookline.errors import RequestError
from hookline.rules.headers import headers_problems, is_sensitive
from hookline.rules.rotation import OVERLAP_S
from hookline.sender.drafts import MAX_TYPE_LENGTH
from hookline.sender.holding import Choice
from hookline.sender.idempotency import IdempotencyKey, take_key
from hookline.sender.publish import DELIVERIES_CHANNEL
from hookline.sender.rotation import revoke_old_secret, rotate_secret
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
EVENT_PATTERN: Final = r"\*|[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*(?:\.\*|\.[a-z0-9_]+)"
_PATTERN: Final = re.compile(EVENT_PATTERN)
MAX_EVENTS: Final = 500
MAX_RETRIES: Final = 6
"""Of an endpoint's own schedule (the guide: up to six, over up to three days)."""
MIN_GAP_S: Final = 1
MAX_RATE_PER_MIN: Final = 1_000_000


class Unchanged(Enum):
    """What a field is given where it is to stay: None empties it."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True)
class CustomHeader:
    """A header sent with each attempt. `value` None, in a change: the one that is kept under this name stays."""

    name: str
    value: str | None
    is_sensitive: bool = False


Headers: TypeAlias = Sequence[CustomHeader]


class Registry:
    """Endpoints of both environments.

    Every method that changes something takes `actor`: what the audit trail calls who did it.

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

    def secrets_of(self, endpoint: Endpoint, now_ms: int) -> list[tuple[Literal["current", "old"], str]]:
        """Its secrets in clear that are in force: the current one, and during a rotation the one before."""
        found: list[tuple[Literal["current", "old"], str]] = [("current", self.secret_of(endpoint))]
        until_ms = endpoint.old_secret_until_ms
        if endpoint.old_secret_enc is not None and until_ms is not None and until_ms > now_ms:
            found.append(("old", self._box.open(endpoint.old_secret_enc)))
        return found

    def headers_of(self, endpoint: Endpoint) -> list[CustomHeader]:
        """The endpoint's own headers, with their values in clear."""
        if endpoint.headers_enc is None:
            return []
        return [CustomHeader(*item) for item in json.loads(self._box.open(endpoint.headers_enc))]

    def create(
        self,
        environment: Environment,
        *,
        url: str,
        events: Sequence[str],
        description: str | None = None,
        timeout_ms: int | None = None,
        rate_limit_per_min: int | None = None,
        headers: Headers = (),
        standard_webhooks: bool = False,
        schedule: Sequence[float] | None = None,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Endpoint:
        """Register an enabled endpoint with a new secret.

        A call that repeats an idempotency key with the same body gets the endpoint the first one made.

        Args:
            schedule: waits between attempts in seconds, checked by `rules.schedule`; None takes the environment's.

        Raises:
            RequestError: 422 `invalid_url` or `invalid_request_parameters`; 409 `duplicate_endpoint` or
                `idempotency_key_reused`.
        """
        self._check_url(url, environment)
        now_ms = self._clock.now_ms()
        endpoint_id = self._ids.make("we", now_ms)
        secret_enc = self._box.seal(make_secret())
        headers_enc = self._sealed_headers(headers, ())

        def write(connection: Connection) -> Endpoint:
            made = take_key(connection, self._store, environment, idempotency, endpoint_id, now_ms=now_ms)
            if made is None:
                if not self._store.add_endpoint(
                    connection,
                    endpoint_id=endpoint_id,
                    environment=environment,
                    url=url,
                    events=events,
                    description=description,
                    secret_enc=secret_enc,
                    timeout_ms=timeout_ms,
                    rate_limit_per_min=rate_limit_per_min,
                    headers_enc=headers_enc,
                    standard_webhooks=standard_webhooks,
                    schedule=None if schedule is None else json.dumps(list(schedule)),
                    now_ms=now_ms,
                ):
                    raise _duplicate(url)
                self._audit(connection, environment, actor, "endpoint.created", endpoint_id, now_ms)
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
        description: str | Unchanged | None = UNCHANGED,
        timeout_ms: int | Unchanged | None = UNCHANGED,
        rate_limit_per_min: int | Unchanged | None = UNCHANGED,
        headers: Headers | Unchanged = UNCHANGED,
        standard_webhooks: bool | None = None,
        schedule: Sequence[float] | Unchanged | None = UNCHANGED,
        actor: str = "command",
    ) -> Endpoint:
        """Change what is given; with nothing given nothing changes, the version neither.

        Disabling holds what waits for the endpoint; enabling one that is not paused sends all that is held. None leaves
        `url`, `status`, `events` and `standard_webhooks` alone, and empties the others.

        Raises:
            RequestError: 404 `entity_not_found`, 409 `duplicate_endpoint`, 422 `invalid_url` or
                `invalid_request_parameters`.
        """
        if url is not None:
            self._check_url(url, environment)
        now_ms = self._clock.now_ms()
        given: dict[str, Any] = {"url": url, "status": status, "standard_webhooks": standard_webhooks}
        changes = {name: value for name, value in given.items() if value is not None}
        nullable = {"description": description, "timeout_ms": timeout_ms, "rate_limit_per_min": rate_limit_per_min}
        changes |= {name: value for name, value in nullable.items() if value is not UNCHANGED}
        if not isinstance(schedule, Unchanged):
            changes["schedule"] = None if schedule is None else json.dumps(list(schedule))
        fields = [
            *changes,
            *(["events"] if events is not None else []),
            *(["headers"] if headers is not UNCHANGED else []),
        ]

        def write(connection: Connection) -> Endpoint:
            endpoint = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            if url is not None and self._store.is_url_taken(connection, endpoint, url):
                raise _duplicate(url)
            if not fields:
                return endpoint
            sealed = {}
            if not isinstance(headers, Unchanged):
                sealed["headers_enc"] = self._sealed_headers(headers, self.headers_of(endpoint))
            self._store.change_endpoint(connection, endpoint, events=events, now_ms=now_ms, **changes, **sealed)
            self._audit(
                connection,
                environment,
                actor,
                "endpoint.updated",
                endpoint_id,
                now_ms,
                {"fields": fields, **({"status": status} if status is not None else {})},
            )
            if status == "enabled" and endpoint.status == "disabled":
                self._holding.begin(connection, endpoint.row_id, Choice(), was_open=False, now_ms=now_ms)
            return _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)

        return self._run_and_wake(write)

    def delete(self, environment: Environment, endpoint_id: str, *, actor: str = "command") -> None:
        """Delete an endpoint and cancel what waits for it. RequestError 404 where there is none."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            if not self._store.delete_endpoint(connection, environment, endpoint_id, now_ms=now_ms):
                raise not_found(endpoint_id)
            self._audit(connection, environment, actor, "endpoint.deleted", endpoint_id, now_ms)

        self._database.run(write)
        self._database.notify(DELIVERIES_CHANNEL)

    def pause(
        self,
        environment: Environment,
        endpoint_id: str,
        *,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
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
                self._audit(connection, environment, actor, "endpoint.paused", endpoint_id, now_ms)
            return _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)

        return self._run_and_wake(write)

    def resume(
        self,
        environment: Environment,
        endpoint_id: str,
        choice: Choice,
        *,
        actor: str = "command",
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
                was_open = endpoint.status == "enabled" and endpoint.paused_ms is None
                self._holding.begin(connection, endpoint.row_id, choice, was_open=was_open, now_ms=now_ms)
                detail = {"deliver": choice.deliver, "since_ms": choice.since_ms or None}
                self._audit(connection, environment, actor, "endpoint.resumed", endpoint_id, now_ms, detail)
            return _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)

        return self._run_and_wake(write)

    def count_held(self, environment: Environment, endpoint_id: str, choice: Choice) -> HeldCount:
        """What `resume` with this choice would come to now. RequestError 404 where there is no such endpoint."""
        with self._database.snapshot() as connection:
            endpoint = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            return self._holding.count(connection, endpoint.row_id, choice)

    def reveal_secret(self, environment: Environment, endpoint_id: str, *, actor: str = "command") -> RevealedSecret:
        """The endpoint's secret in clear, and during a rotation the one before; never without a line in the trail.

        Raises:
            RequestError: 404.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Endpoint:
            endpoint = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            self._audit(connection, environment, actor, "endpoint.secret_revealed", endpoint_id, now_ms)
            return endpoint

        endpoint = self._database.run(write)
        until_ms = endpoint.old_secret_until_ms
        if endpoint.old_secret_enc is None or until_ms is None or until_ms <= now_ms:
            return RevealedSecret(self.secret_of(endpoint), None, None)
        return RevealedSecret(self.secret_of(endpoint), self._box.open(endpoint.old_secret_enc), until_ms)

    def rotate_secret(
        self,
        environment: Environment,
        endpoint_id: str,
        *,
        overlap_s: int = OVERLAP_S,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Endpoint:
        """Give the endpoint a new secret; see `rotation.rotate_secret`."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Endpoint:
            before = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            after = rotate_secret(
                connection,
                self._store,
                self._box,
                environment,
                endpoint_id,
                overlap_s=overlap_s,
                now_ms=now_ms,
                idempotency=idempotency,
            )
            if after.version != before.version:
                detail = {"overlap_s": overlap_s}
                self._audit(connection, environment, actor, "endpoint.secret_rotated", endpoint_id, now_ms, detail)
            return after

        return self._database.run(write)

    def revoke_old_secret(
        self,
        environment: Environment,
        endpoint_id: str,
        *,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Endpoint:
        """End a rotation now; see `rotation.revoke_old_secret`."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Endpoint:
            before = _found(self._store.endpoint(connection, environment, endpoint_id), endpoint_id)
            after = revoke_old_secret(
                connection, self._store, environment, endpoint_id, now_ms=now_ms, idempotency=idempotency
            )
            if after.version != before.version:
                self._audit(connection, environment, actor, "endpoint.old_secret_revoked", endpoint_id, now_ms)
            return after

        return self._database.run(write)

    def _run_and_wake(self, write: Callable[[Connection], Endpoint]) -> Endpoint:
        endpoint = self._database.run(write)
        self._database.notify(DELIVERIES_CHANNEL)
        return endpoint

    def _audit(
        self,
        connection: Connection,
        environment: Environment,
        actor: str,
        action: str,
        endpoint_id: str,
        now_ms: int,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        self._store.audit(
            connection,
            environment,
            actor=actor,
            action=action,
            object_id=endpoint_id,
            detail=detail,
            now_ms=now_ms,
        )

    def _sealed_headers(self, headers: Headers, kept: Headers) -> str | None:
        """The column `headers_enc`: a value that is not given is the one kept under its name. RequestError 422."""
        known = {header.name.lower(): header.value for header in kept}
        whole = [
            (
                header.name,
                known.get(header.name.lower()) if header.value is None else header.value,
                header.is_sensitive or is_sensitive(header.name),
            )
            for header in headers
        ]
        errors = [
            field_error(f"headers[{place}].value", "required", "expected a value: none is kept under this name")
            for place, (_, value, _) in enumerate(whole)
            if value is None
        ]
        problems = headers_problems([(name, value or "") for name, value, _ in whole])
        errors += [field_error("headers", "invalid", f"headers: {problem}") for problem in problems]
        if errors:
            raise invalid_parameters(errors)
        return self._box.seal(json.dumps(whole)) if whole else None


@dataclass(frozen=True, slots=True)
class RevealedSecret:
    """Secrets in clear: the newest, and while a rotation overlaps the one before, with the end of that."""

    secret: str
    old_secret: str | None
    old_secret_until_ms: int | None


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
        if len(name) > MAX_TYPE_LENGTH or not _PATTERN.fullmatch(name)
    ]
    _refuse_events(events, errors)


def invalid_parameters(errors: list[dict[str, str]]) -> RequestError:
    """422 `invalid_request_parameters` with its inner errors."""
    return RequestError(422, "invalid_request_parameters", "The request parameters are invalid.", list(errors))


def field_error(field: str, code: str, message: str) -> dict[str, str]:
    """One of the `errors` of a refusal."""
    return {"code": code, "field": field, "message": message}


def not_found(endpoint_id: str) -> RequestError:
    """404 `entity_not_found`."""
    return RequestError(404, "entity_not_found", f"Webhook endpoint not found: '{endpoint_id[:80]}'.")


def _refuse_events(events: Sequence[str], errors: list[dict[str, str]]) -> None:
    if not events:
        errors = [field_error("events", "events_required", "events: expected at least one event type, got none")]
    if len(events) > MAX_EVENTS:
        errors = [field_error("events", "too_many_events", f"events: expected at most {MAX_EVENTS} names")]
    if errors:
        raise invalid_parameters(errors)


def _unknown_type(name: str, known: Sequence[str] | frozenset[str], why: str) -> dict[str, str]:
    # The nearest name only for short ones: the comparison is quadratic, and the list may be a stranger's.
    near = nearest(name, known) if known and len(name) <= 60 else None
    hint = f"; did you mean '{near}'?" if near else ""
    return field_error("events", "unknown_event_type", f"'{name[:80]}' {why}{hint}")


def _duplicate(url: str) -> RequestError:
    message = f"A webhook endpoint with this URL already exists: '{url[:200]}'."
    return RequestError(409, "duplicate_endpoint", message, [field_error("url", "duplicate_endpoint", message)])


def _found(endpoint: Endpoint | None, endpoint_id: str) -> Endpoint:
    if endpoint is None:
        raise not_found(endpoint_id)
    return endpoint
