"""`hookline sign` and `hookline verify`: the signature by hand, with the functions both ends use.

Secrets come by environment: from the variable that `--secret-env` names, else the webhook secrets in force
(`HOOKLINE_WEBHOOK_SECRETS`, its file, or hookline.toml).
"""

from __future__ import annotations

import json
import shlex
import time

from hookline.cli import Exit
from hookline.cli.parameters import AsJson, BodyFile, Tolerance, header_of, read_body, seconds_of_tolerance
from hookline.cli.signing_secrets import signing_secrets
from hookline.errors import ConfigError, InvalidBody, InvalidSignature
from hookline.wire.event import Event, decode_envelope, is_name
from hookline.wire.schemes import Scheme, signed_headers
from hookline.wire.signature import HEADER, TOLERANCE_S, Verified, verify_signature
from hookline.wire.standard import StandardVerified, StandardVerifier
from hookline.wire.timestamps import format_ms


def sign(
    body: BodyFile,
    /,
    *,
    scheme: Scheme = "workos",
    event_id: str | None = None,
    secret_env: str | None = None,
    secret_file: str | None = None,
    timestamp_ms: int | None = None,
    curl: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Print the WorkOS-Signature header value for a body, or the headers of Standard Webhooks.

    Parameters
    ----------
    scheme:
        How to sign: `workos` or `standard_webhooks`, whose secrets are whsec_ and base 64.
    event_id:
        The id that `standard_webhooks` signs, too; else the body's own.
    secret_env:
        Variable that holds the secret; else the first of the webhook secrets in force signs.
    secret_file:
        File that holds it, instead.
    timestamp_ms:
        When it was signed, in Unix milliseconds; now by default.
    curl:
        A URL: print the curl command that posts the body there, signed.
    """
    if curl is not None and body == "-":
        raise ConfigError("--curl", "expected a body in a file, which curl can read again; got standard input")
    now_ms = time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms
    raw = read_body(body)
    if scheme == "standard_webhooks" and event_id is None:
        event_id = _own_id(raw)
    if event_id is not None and not (event_id.isascii() and is_name(event_id)):
        raise ConfigError("--event-id", "expected 1 to 255 printable ASCII characters")
    try:
        headers = signed_headers(
            scheme, raw, signing_secrets(secret_env, secret_file)[0], event_id=event_id or "", now_ms=now_ms
        )
    except ValueError as error:
        raise ConfigError("--timestamp-ms", str(error)) from None
    if curl is not None and not as_json:
        pairs = [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **headers}.items()]
        command = ["curl", "-sS", "-i", curl, *(part for pair in pairs for part in ("-H", pair))]
        print(shlex.join([*command, "--data-binary", f"@{body}"]))
    elif scheme == "standard_webhooks":
        if as_json:
            print(json.dumps({"headers": headers, "timestamp_ms": now_ms}))
        else:
            print("\n".join(f"{name}: {value}" for name, value in headers.items()))
    else:
        value = headers[HEADER]
        print(json.dumps({"header": HEADER, "value": value, "timestamp_ms": now_ms}) if as_json else value)


def verify(
    body: BodyFile,
    /,
    *,
    header: list[str],
    scheme: Scheme = "workos",
    secret_env: str | None = None,
    secret_file: str | None = None,
    tolerance: Tolerance = str(TOLERANCE_S),
    as_json: AsJson = False,
) -> int:
    """Say whether the header holds for the body; exit 1 where it does not, with the reason.

    Parameters
    ----------
    header:
        The value of the WorkOS-Signature header; of `standard_webhooks` each of the three, as 'name: value'.
    scheme:
        How it is signed: `workos` or `standard_webhooks`.
    secret_env:
        Variable that holds the secret, or several, comma separated; else the webhook secrets in force.
    secret_file:
        File that holds it, instead.
    """
    now_ms = time.time_ns() // 1_000_000
    tolerance_s = seconds_of_tolerance(tolerance)
    raw = read_body(body)
    secrets = signing_secrets(secret_env, secret_file)
    verified: Verified | StandardVerified
    try:
        if scheme == "standard_webhooks":
            pairs = [(name.lower().encode(), value.encode()) for name, value in map(header_of, header)]
            verified = StandardVerifier(secrets, tolerance_s=tolerance_s).verify(raw, pairs, now_ms=now_ms)
            event = Event.from_standard_bytes(raw, verified.event_id)
        else:
            verified = verify_signature(raw, header, secrets, tolerance_s=tolerance_s, now_ms=now_ms)
            event = Event.from_bytes(raw)
    except (InvalidSignature, InvalidBody) as error:
        if as_json:
            print(json.dumps({"verdict": "refused", "reason": error.reason, "message": str(error)}))
        else:
            print(f"refused: {error.reason}: {error}")
        return Exit.FAILED
    if as_json:
        print(
            json.dumps(
                {
                    "verdict": "genuine",
                    "timestamp_ms": verified.timestamp_ms,
                    "secret": verified.secret_index + 1,
                    "event": {"id": event.id, "type": event.type},
                }
            )
        )
    else:
        signed_at = format_ms(verified.timestamp_ms * 1000)
        print(f"genuine: {event.type} {event.id or '(no id)'}, signed {signed_at}")
    return Exit.OK


def _own_id(raw: bytes) -> str:
    try:
        if (own_id := decode_envelope(raw).id) is not None:
            return own_id
    except InvalidBody:
        pass
    raise ConfigError("--event-id", "expected the id to sign: the body has none of its own")
