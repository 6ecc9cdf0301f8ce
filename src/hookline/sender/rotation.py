"""Changing an endpoint's secret without losing a delivery: rotate with an overlap, and revoke at once.

What signs during the overlap, and when the other key is probed, is decided in rules/rotation.py at each attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hookline.errors import RequestError
from hookline.rules.rotation import MAX_OVERLAP_S, OVERLAP_S
from hookline.sender.idempotency import take_key
from hookline.sender.secrets import make_secret

if TYPE_CHECKING:
    from hookline.sender.idempotency import IdempotencyKey
    from hookline.sender.model import Endpoint, Environment
    from hookline.sender.secrets import SecretBox
    from hookline.sender.store import SenderStore
    from hookline.storage.verbs import Connection

_NOT_FOUND: Final = "entity_not_found"


def rotate_secret(
    connection: Connection,
    store: SenderStore,
    box: SecretBox,
    environment: Environment,
    endpoint_id: str,
    *,
    overlap_s: int = OVERLAP_S,
    now_ms: int,
    idempotency: IdempotencyKey | None = None,
) -> Endpoint:
    """Give an endpoint a new secret; the one its consumer knows stays usable for `overlap_s` seconds.

    Rotated again during an overlap, it keeps the key that verified last and forgets the other: so a secret that was
    made and never installed costs nothing. With an overlap of 0 the new secret alone is used from the next attempt on.

    Returns: the endpoint as it is now; `Registry.secret_of` shows its new secret. A call that repeats an idempotency
    key changes nothing.

    Raises:
        RequestError: 404; 409 `idempotency_key_reused`; 422 `invalid_request_parameters` for an overlap outside
            0 seconds to 7 days.
    """
    if not 0 <= overlap_s <= MAX_OVERLAP_S:
        message = f"overlap_s: expected 0 to {MAX_OVERLAP_S} seconds (7 days), got {overlap_s}"
        raise RequestError(
            422,
            "invalid_request_parameters",
            "The request parameters are invalid.",
            [{"code": "overlap_s", "message": message}],
        )
    endpoint = _found(store.endpoint(connection, environment, endpoint_id), endpoint_id)
    if take_key(connection, store, environment, idempotency, endpoint_id, now_ms=now_ms) is not None:
        return endpoint
    is_overlapping = endpoint.old_secret_until_ms is not None and now_ms < endpoint.old_secret_until_ms
    known_enc = endpoint.old_secret_enc if is_overlapping and endpoint.signs_with_old else endpoint.secret_enc
    store.rotate_secret(
        connection,
        endpoint.row_id,
        secret_enc=box.seal(make_secret()),
        old_secret_enc=known_enc if overlap_s else None,
        old_secret_until_ms=now_ms + overlap_s * 1000 if overlap_s else None,
        now_ms=now_ms,
    )
    return _found(store.endpoint(connection, environment, endpoint_id), endpoint_id)


def revoke_old_secret(
    connection: Connection,
    store: SenderStore,
    environment: Environment,
    endpoint_id: str,
    *,
    now_ms: int,
    idempotency: IdempotencyKey | None = None,
) -> Endpoint:
    """End the overlap now: the secret before the newest signs no attempt that begins after this commit.

    Where there is no overlap nothing changes.

    Raises:
        RequestError: 404; 409 `idempotency_key_reused`.
    """
    endpoint = _found(store.endpoint(connection, environment, endpoint_id), endpoint_id)
    if take_key(connection, store, environment, idempotency, endpoint_id, now_ms=now_ms) is None:
        store.revoke_old_secret(connection, endpoint.row_id, now_ms=now_ms)
    return _found(store.endpoint(connection, environment, endpoint_id), endpoint_id)


def _found(endpoint: Endpoint | None, endpoint_id: str) -> Endpoint:
    if endpoint is None:
        raise RequestError(404, _NOT_FOUND, f"Webhook endpoint not found: '{endpoint_id[:80]}'.")
    return endpoint
