"""The headers of Standard Webhooks, sent beside WorkOS's to endpoints that ask for them.

    webhook-id: event_01JA…                 the event's id: the same on every attempt
    webhook-timestamp: 1700000000           seconds, of the attempt
    webhook-signature: v1,<base 64> …       a list: during a rotation one for each secret

`v1` is HMAC-SHA256 over id, timestamp and body joined by full stops. The key is the same as for `WorkOS-Signature`, the
secret's UTF-8 bytes as shown; `secret_form` writes it down the way that libraries of this standard read it.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
PREFIX: Final = "whsec_"


def secret_form(secret: str) -> str:
    """An endpoint's secret as a Standard Webhooks library takes it: `whsec_` and base 64.

    Such a library decodes what follows the prefix; what comes out are the bytes of the secret as shown. So an endpoint
    has one key, and two ways to write it down.
    """
    return PREFIX + base64.b64encode(secret.encode()).decode("ascii")


def headers(body: bytes, event_id: str, secrets: Sequence[str], *, now_ms: int) -> list[tuple[str, str]]:
    """The three headers for these exact bytes, signed with each secret, the preferred one first."""
    seconds = str(now_ms // 1000)
    message = b"%b.%b.%b" % (event_id.encode(), seconds.encode(), body)
    signatures = [
        "v1," + base64.b64encode(hmac.digest(secret.encode(), message, "sha256")).decode("ascii") for secret in secrets
    ]
    return [(ID_HEADER, event_id), (TIMESTAMP_HEADER, seconds), (SIGNATURE_HEADER, " ".join(signatures))]
