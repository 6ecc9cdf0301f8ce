"""Three requests to the door through whatever is in front of it: what `hookline doctor --send` makes.

The signed one is an event of the type `PROBE_TYPE`: the door keeps it as any other, and applying it does nothing, since
no handler's pattern matches it and no resource is of it.
"""

from __future__ import annotations

import http.client
import secrets
import ssl
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from hookline.errors import ConfigError
from hookline.rules.doorstep import Answer, Meaning, Probe, meaning_of
from hookline.wire.catalogue import PROBE_TYPE
from hookline.wire.schemes import Scheme, signed_headers
from hookline.wire.standard import secret_form
from hookline.wire.timestamps import format_ms

TIMEOUT_S: Final = 15.0
READ: Final = 4_096  # bytes of an answer; our door's are a word


class Kept(NamedTuple):
    """What is in the inbox: the bytes, and under which source."""

    body: bytes | None
    source: str


class Tried(NamedTuple):
    """One of the requests, and what it says."""

    probe: Probe
    meaning: Meaning


def probe_body(event_id: str, now_ms: int) -> bytes:
    """An event whose bytes no second writing would give again: spacing, escapes, an order of its own, 1.0, é twice."""
    return (
        f'{{ "event":"{PROBE_TYPE}",  "id" : "{event_id}","created_at":"{format_ms(now_ms * 1000)}",'
        '"data":{"object":"probe","z":1.0,"a":"caf\\u00e9 \u00e9 \\/","10":[ ],"9":{ } } }\n'
    ).encode()


def send_probes(
    url: str,
    secret: str | None,
    *,
    scheme: Scheme = "workos",
    now_ms: Callable[[], int],
    find: Callable[[str], Kept | None],
    context: ssl.SSLContext | None = None,
) -> list[Tried]:
    """Make the requests, in their order; the last is left out where there is no secret.

    Args:
        url: where the source would send to.
        scheme: how it signs.
        now_ms: Unix time, for the signatures.
        find: what is in the inbox under an id.
        context: for https; the machine's own trust unless given.

    Raises: ConfigError for a URL that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ConfigError("--send", "expected an http or https URL without a user, as the source has it")
    event_id = f"probe_{secrets.token_hex(13)}"

    def post(body: bytes, with_secret: str) -> Answer | str:
        signed = signed_headers(scheme, body, with_secret, event_id=event_id, now_ms=now_ms())
        return _request(url, "POST", body, {**signed, "Content-Type": "application/json"}, context)

    tried = [_tried("get", _request(url, "GET", None, {}, context))]
    tried.append(_tried("forged", post(probe_body(event_id, now_ms()), secret_form(secrets.token_hex(32)))))
    if secret is None:
        return tried
    body = probe_body(event_id, now_ms())
    answer = post(body, secret)
    one = _tried("signed", answer)
    if one.meaning.verdict == "ok":
        one = Tried("signed", _kept(body, find(event_id)))
    return [*tried, one]


def _tried(probe: Probe, answer: Answer | str) -> Tried:
    return Tried(probe, Meaning("problem", answer) if isinstance(answer, str) else meaning_of(probe, answer))


def _kept(body: bytes, kept: Kept | None) -> Meaning:
    if kept is None:
        return Meaning(
            "problem",
            "answered 200, and it is not in this inbox: what answers there is another app, a page that takes "
            "everything, or a door on another database",
        )
    if kept.body != body:
        return Meaning("problem", "answered 200, and it is in the inbox with other bytes than were sent")
    return Meaning("ok", f"answered 200, and it is in the inbox of {kept.source} with its bytes unchanged")


def _request(
    url: str, method: str, body: bytes | None, headers: Mapping[str, str], context: ssl.SSLContext | None
) -> Answer | str:
    """The answer, or why there is none. Redirects are not followed and proxies not used: a source does neither."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = (
        http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_S, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, body, {"User-Agent": "Hookline-Doctor", **headers})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(url, response.status, found, response.read(READ))
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted ({error.verify_message}): a source would not send there"
    except ssl.SSLError as error:
        return f"no TLS there ({error.reason or 'no handshake'}): is it plain http?"
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:g} s"
    except (OSError, http.client.HTTPException, ValueError) as error:
        detail = getattr(error, "strerror", None) or type(error).__name__
        return f"cannot be reached: {detail}. Is it running, and is this its port?"
    finally:
        connection.close()
