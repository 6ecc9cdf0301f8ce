"""Event types of one's own: what they mean, a sample, and a schema that their data is held against when published.

Publishing takes any well-formed name; a description here adds to that. What a schema asks of events is known to a
publisher without a query: the few types that have one are read again when what is known is `FRESH_MS` old, and at once
after a change made in this process. An event published in an app's own transaction is held against what that
transaction sees.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hookline.errors import NotCanonical, RequestError
from hookline.sender.drafts import MAX_EVENT_BYTES, EventDraft, is_event_type, join_path, refusal
from hookline.sender.model import Environment, OwnEventType, SchemaMode
from hookline.sender.schema import SchemaRefused, check_schema, compile_schema
from hookline.wire.canonical import canonical_bytes, dotted_path

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.schema import Violation
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.sender")

# How long a schema that another process changed may still be the old one here.
FRESH_MS: Final = 2_000
# Events that break a schema and are taken all the same: told once per type in this time, with their number.
TOLD_EVERY_MS: Final = 10_000
MAX_DESCRIPTION: Final = 500


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of the data of one type."""

    mode: SchemaMode
    schema: str


Rules: TypeAlias = Mapping[tuple[Environment, str], Rule]


@dataclass(frozen=True, slots=True)
class SchemaWarning:
    """An event that was taken although its data breaks its type's schema: the place and what was expected there."""

    field: str
    message: str


class EventTypes:
    """Describes event types and knows what their schemas ask for. Safe to share between threads."""

    def __init__(self, database: Database, store: SenderStore, *, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._rules: Rules = {}
        self._read_ms: int | None = None
        self._reading: asyncio.Future[Rules] | None = None

    def put(
        self,
        environment: Environment,
        name: str,
        *,
        description: str | None = None,
        schema: Mapping[str, Any] | None = None,
        mode: SchemaMode | None = None,
        sample: Mapping[str, Any] | None = None,
    ) -> tuple[OwnEventType, bool]:
        """Describe a type, in place of what was said of it before.

        Args:
            schema: JSON Schema (Draft 2020-12) of an event's `data`.
            mode: what the schema does: `off`, `warn`, or `reject`, which is what a schema without a word does.
            sample: the `data` of a test event; where the schema is in force, it has to meet it.

        Returns: the type as it is stored, and whether it is new.

        Raises:
            RequestError: 422 `invalid_event_type`; `errors` names the field.
        """
        described = _described(
            environment,
            name,
            description=description,
            schema=schema,
            mode=mode,
            sample=sample,
            now_ms=self._clock.now_ms(),
        )

        def write(connection: Connection) -> tuple[OwnEventType, bool]:
            is_new = self._store.put_event_type(connection, described)
            stored = self._store.event_type(connection, environment, name)
            assert stored is not None  # written a moment ago, in this transaction
            return stored, is_new

        result = self._database.run(write)
        self._forget()
        return result

    def change(self, environment: Environment, name: str, given: Mapping[str, Any]) -> OwnEventType | None:
        """Say something else of a type, and leave the rest as it was said; None where nothing was said of it.

        Args:
            given: any of `description`, `schema`, `mode`, `sample`, as in `put`; None takes it away. A mode that is not
                given stays, but for that of a schema that comes or goes.

        Raises:
            RequestError: as `put`; the whole of it has to hold.
        """

        def write(connection: Connection) -> OwnEventType | None:
            before = self._store.lock_event_type(connection, environment, name)
            if before is None:
                return None
            said: dict[str, Any] = {
                "description": before.description,
                "schema": None if before.schema is None else json.loads(before.schema),
                "mode": before.mode,
                "sample": None if before.sample is None else json.loads(before.sample),
            }
            if "schema" in given and (given["schema"] is None) != (before.schema is None):
                said["mode"] = None
            described = _described(environment, name, **{**said, **given}, now_ms=self._clock.now_ms())
            self._store.put_event_type(connection, described)
            return self._store.event_type(connection, environment, name)

        changed = self._database.run(write)
        self._forget()
        return changed

    def delete(self, environment: Environment, name: str) -> bool:
        """Forget what was said of a type; False where nothing was. Events of it are still taken."""
        was_there = self._database.run(lambda connection: self._store.delete_event_type(connection, environment, name))
        self._forget()
        return was_there

    def known(self) -> Rules | None:
        """What is asked of events, without asking the database; None means: call `read` or `read_soon`."""
        read_ms = self._read_ms
        if read_ms is not None and 0 <= self._clock.now_ms() - read_ms < FRESH_MS:
            return self._rules
        return None

    def read(self) -> Rules:
        """What is asked of events, read anew unless somebody just has."""
        with self._lock:
            rules = self.known()
            if rules is None:
                now_ms = self._clock.now_ms()
                with self._database.read() as connection:
                    rules = rules_on(self._store, connection)
                self._rules, self._read_ms = rules, now_ms
        return rules

    async def read_soon(self) -> Rules:
        """The same in a thread; everybody on a loop who waits for it shares it, and goes on in the order they came."""
        loop = asyncio.get_running_loop()
        if self._reading is None or self._reading.done() or self._reading.get_loop() is not loop:
            self._reading = loop.run_in_executor(None, self.read)
        # Shielded: a client that goes away does not take the others' answer along.
        return await asyncio.shield(self._reading)

    def _forget(self) -> None:
        # After the commit: whoever read before it holds the lock and is overruled here.
        with self._lock:
            self._read_ms = None


class Tell:
    """Logs events that break a schema and are taken: the type and the rule, nothing of what was sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[Environment, str], tuple[int, int]] = {}  # when last, and how many since

    def __call__(self, environment: Environment, event_type: str, rule: str) -> None:
        now_ms = self._clock.now_ms()
        key = (environment, event_type)
        with self._lock:
            told_ms, count = self._told.get(key, (now_ms - TOLD_EVERY_MS, 0))
            is_due = not 0 <= now_ms - told_ms < TOLD_EVERY_MS
            self._told[key] = (now_ms, 0) if is_due else (told_ms, count + 1)
        if is_due:
            log.warning(
                "%s: %d event(s) of type %s break its schema and are taken all the same, the last at the rule %s",
                environment,
                count + 1,
                event_type,
                rule,
            )


def rules_on(store: SenderStore, connection: Connection) -> Rules:
    """What is asked of events, as this connection sees it now."""
    return {
        (environment, name): Rule(mode, schema)
        for environment, name, mode, schema in store.event_type_rules(connection)
    }


def check_drafts(
    environment: Environment, drafts: Sequence[EventDraft], rules: Rules, tell: Tell
) -> dict[int, SchemaWarning]:
    """Hold events against the schemas of their types.

    Returns: by position, what is wrong with those that are taken all the same.

    Raises:
        RequestError: 422 `invalid_event` for the first that is not taken; its error's code is `schema_mismatch`.
    """
    warnings: dict[int, SchemaWarning] = {}
    for position, draft in enumerate(drafts):
        rule = rules.get((environment, draft.type))
        if rule is None:
            continue
        # The bytes that will be sent are what is checked, not the objects they were made from.
        found = compile_schema(rule.schema).violation(json.loads(b"{%b}" % draft.data)["data"])
        if found is None:
            continue
        field = join_path(draft.path, dotted_path(("data", *found.path)))
        if rule.mode == "reject":
            raise refusal(field, f"{found.message} (the schema of {draft.type})", code="schema_mismatch")
        tell(environment, draft.type, found.rule)
        warnings[position] = SchemaWarning(field, found.message)
    return warnings


def _described(
    environment: Environment,
    name: str,
    *,
    description: str | None,
    schema: Mapping[str, Any] | None,
    mode: SchemaMode | None,
    sample: Mapping[str, Any] | None,
    now_ms: int,
) -> OwnEventType:
    if not is_event_type(name):
        raise _refused("name", "expected two or more lower-case words joined by dots, such as invoice.paid")
    if description is not None and (len(description) > MAX_DESCRIPTION or not _is_text(description)):
        raise _refused("description", f"expected at most {MAX_DESCRIPTION} characters of text")
    if mode is None:
        mode = "off" if schema is None else "reject"
    if mode != "off" and schema is None:
        raise _refused("schema", f"expected a schema for the mode {mode}")
    schema_text = None if schema is None else _schema_text(schema)
    sample_text = None
    if sample is not None:
        try:
            sample_bytes = canonical_bytes(dict(sample))
        except NotCanonical as error:
            raise _refused(join_path("sample", error.path), str(error).removeprefix(f"{error.path}: ")) from None
        if len(sample_bytes) > MAX_EVENT_BYTES:
            raise _refused("sample", f"expected at most {MAX_EVENT_BYTES} bytes as compact JSON")
        sample_text = sample_bytes.decode()
        if schema_text is not None and mode != "off":
            _require_met(schema_text, sample_text)
    return OwnEventType(environment, name, description, schema_text, mode, sample_text, now_ms, now_ms)


def _schema_text(schema: Mapping[str, Any]) -> str:
    try:
        return check_schema(schema)
    except SchemaRefused as error:
        raise _refused(dotted_path(("schema", *error.path)), error.message) from None


def _require_met(schema_text: str, sample_text: str) -> None:
    found: Violation | None = compile_schema(schema_text).violation(json.loads(sample_text))
    if found is not None:
        raise _refused(dotted_path(("sample", *found.path)), f"{found.message} (the schema given with it)")


def _is_text(text: str) -> bool:
    """No lone surrogates, which no database takes, and no NUL, which PostgreSQL does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _refused(field: str, message: str) -> RequestError:
    return RequestError(
        422,
        "invalid_event_type",
        f"{field}: {message}",
        [{"code": "invalid", "field": field, "message": message}],
    )
