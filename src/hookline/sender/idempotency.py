"""What a repeated call gets: the rule of `Idempotency-Key` for calls that make or change one thing.

The key is taken in the transaction of the call itself, so that of two calls with one key one acts. The record holds
what the call was and the id it was about, never an answer: a repeat is answered from the rows as they are now.
Publishing takes its keys a batch at a time (publish.py) by the same rule.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hookline.errors import RequestError

if TYPE_CHECKING:
    from hookline.sender.model import Environment
    from hookline.sender.store import IdempotencyRecord, SenderStore
    from hookline.storage.verbs import Connection


MAX_IDEMPOTENCY_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The `Idempotency-Key` of a call, with what the call was: method and path, and the hash of its body."""

    key: str
    operation: str
    body_sha256: str


def check_key(text: str, field: str) -> str:
    """The key, unless it is not 1 to 255 printable ASCII characters: then RequestError 422 that names the field."""
    if 0 < len(text) <= MAX_IDEMPOTENCY_KEY and text.isascii() and text.isprintable():
        return text
    message = f"{field}: expected 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters"
    raise RequestError(
        422,
        "invalid_request_parameters",
        message,
        [{"code": "invalid", "field": field, "message": message}],
    )


def take_key(
    connection: Connection,
    store: SenderStore,
    environment: Environment,
    used: IdempotencyKey | None,
    result_id: str,
    *,
    now_ms: int,
) -> str | None:
    """Take a call's key, if it has one.

    Returns: None where the call is to act; where an earlier one acted with this key, the id that one was about.

    Raises:
        RequestError: 409 `idempotency_key_reused`.
    """
    if used is None:
        return None
    row = {
        "environment": environment,
        "idempotency_key": used.key,
        "operation": used.operation,
        "body_sha256": used.body_sha256,
        "result_ids": json.dumps([result_id]),
        "now_ms": now_ms,
    }
    if store.take_idempotency_keys(connection, [row]):
        return None
    record = store.idempotency_record(connection, environment, used.key)
    assert record is not None  # the key was not free a moment ago, in this transaction
    refusal = refuse_other_use(used, record)
    if refusal is not None:
        raise refusal
    return record.result_ids[0]


def refuse_other_use(used: IdempotencyKey, record: IdempotencyRecord) -> RequestError | None:
    """The refusal of a call whose key was used for another call or another body; None for a true repeat."""
    if (used.operation, used.body_sha256) == (record.operation, record.body_sha256):
        return None
    return RequestError(
        409,
        "idempotency_key_reused",
        "this Idempotency-Key was used for a different request: send the same body again, or use a new key",
    )
