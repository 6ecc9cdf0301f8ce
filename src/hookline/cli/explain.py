"""`hookline explain`: which step of verifying a signature fails, what made it fail, and what to do.

The parts come from the command line, from a request that was saved to a file, from a delivery of the sender's, or from
what the door refused. The walk itself is wire/explain.py; nothing is sent anywhere, and no secret, digest or part of a
body is printed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from hookline.cli import Exit, fail
from hookline.cli.api_client import HERE, Place
from hookline.cli.explain_delivery import SentDelivery, sent_delivery
from hookline.cli.parameters import AsJson, Tolerance, read_body, seconds_of_tolerance
from hookline.cli.receiver_app import receiver_to_ask
from hookline.cli.saved_request import SavedRequest, read_saved_request
from hookline.cli.tables import print_facts, print_json, printable, time_of
from hookline.config import Settings, SourceConfig, load
from hookline.errors import ConfigError
from hookline.receiver.model import RejectionRow
from hookline.receiver.refusals import REFUSALS, refusal_of
from hookline.wire.explain import Explanation, NamedSecret
from hookline.wire.explain import explain as explained
from hookline.wire.schemes import Scheme
from hookline.wire.signature import TOLERANCE_S
from hookline.wire.timestamps import moment_ms

_STEPS: Final = {"header": "header", "unit": "unit of the time", "signature": "signature", "window": "time"}
_REFUSED_SINCE_MS: Final = 30 * 86_400_000


@dataclass(slots=True)
class _Parts:
    """What is explained, gathered from wherever it was given."""

    body: bytes | None = None
    headers: list[str] = field(default_factory=list)
    secrets: list[NamedSecret] = field(default_factory=list)
    sent: bytes | None = None
    now_ms: int | None = None
    notes: list[str] = field(default_factory=list)


def explain(
    body: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    header: Annotated[list[str] | None, Parameter("--header", negative=())] = None,
    headers_file: str | None = None,
    request: str | None = None,
    delivery: str | None = None,
    attempt: int | None = None,
    refused: Annotated[bool, Parameter(negative=())] = False,
    reason: str | None = None,
    source: str | None = None,
    secret_env: str | None = None,
    secret_file: str | None = None,
    scheme: Scheme | None = None,
    now: str | None = None,
    tolerance: Tolerance = str(TOLERANCE_S),
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Say which step of verifying a signature fails, and why; exit 1 where one does.

    Parameters
    ----------
    body:
        File with the body as it was verified; - reads standard input.
    header:
        The signature's header: its bare value, or 'name: value'; repeatable.
    headers_file:
        File with the headers, a line each; others among them are passed over.
    request:
        File with a whole request instead: raw HTTP, a .http file, a curl command, HAR, or a recording; - for standard
        input.
    delivery:
        Id of a delivery instead: what was sent, verified with the endpoint's secret; or a body and secrets given here.
    attempt:
        Which attempt of the delivery; else the last.
    refused:
        Instead: what the door refused last, and why.
    reason:
        With --refused: only of this reason, as mismatch or expired.
    source:
        The source whose secrets and refusals are meant; else all.
    secret_env:
        Variable that holds the secret; else the webhook secrets in force.
    secret_file:
        File that holds the secret.
    scheme:
        What the door reads; else as the headers are.
    now:
        When it was verified: a time, how long ago (15m, 2h), or Unix milliseconds; else now, and for a delivery when it
        was sent.
    """
    tolerance_s = seconds_of_tolerance(tolerance)
    if sum((request is not None, delivery is not None, refused)) > 1:
        raise ConfigError("explain", "expected one of --request, --delivery and --refused")
    settings = load({"database_url": place.database_url})
    parts = _Parts(now_ms=_moment(now))
    refusal: RejectionRow | None = None
    sent: SentDelivery | None = None
    if request is not None:
        _take_request(parts, request)
    if delivery is not None:
        sent = sent_delivery(place, delivery, attempt)
        _take_delivery(parts, sent)
    if refused:
        refusal = _refusal(settings, place.database_url, source, reason)
        if refusal is None:
            return fail("not_found", "the door has refused nothing of that kind", Exit.NOT_FOUND, as_json=as_json)
        source = source or refusal.source or None
    if body is not None:
        parts.body = read_body(body)
    if header is not None or headers_file is not None:
        parts.headers = [*(header or ()), *([] if headers_file is None else [_text_of(headers_file)])]
    if refusal is not None and parts.body is None and not parts.headers:
        return _tell_refusal(refusal, as_json=as_json)
    if parts.body is None:
        said = "holds no body: give it as BODY_FILE" if request is not None else "expected BODY_FILE, or - for stdin"
        raise ConfigError(request or "explain", f"{said}; --request, --delivery or --refused take it from elsewhere")
    given = [*_of_variable(secret_env), *_of_file(secret_file)]
    known = list(_in_settings(settings, source))
    if given or sent is not None:
        known = [NamedSecret(one.name, one.secret, in_force=False) for one in known]
    if given:
        parts.secrets = [NamedSecret(one.name, one.secret, in_force=False) for one in parts.secrets]
    secrets = [*given, *parts.secrets, *known]
    now_ms = time.time_ns() // 1_000_000 if parts.now_ms is None else parts.now_ms
    told = explained(
        parts.body,
        parts.headers,
        secrets,
        now_ms=now_ms,
        tolerance_s=tolerance_s,
        scheme=scheme,
        sent=parts.sent,
    )
    notes = [*told.notes, *parts.notes, *_hints(told, sent, has_now=parts.now_ms is not None)]
    found = asdict(told) | {"notes": notes, "body_bytes": len(parts.body), "secrets_tried": len(secrets)}
    found |= {"delivery": None if sent is None else sent.shown(), "refusal": _refusal_shown(refusal)}
    if as_json:
        print_json(found)
    else:
        _tell(found, refusal, sent)
    return Exit.OK if told.broken is None else Exit.FAILED


def _take_request(parts: _Parts, file: str) -> None:
    saved = _saved(file)
    parts.headers, parts.body = saved.lines(), saved.body
    parts.notes += saved.notes
    if saved.body_file is not None:
        parts.body = read_body(saved.body_file)
    if parts.now_ms is None:
        parts.now_ms = saved.received_ms


def _saved(file: str) -> SavedRequest:
    try:
        return read_saved_request(read_body(file))
    except ValueError as error:
        raise ConfigError(file, str(error)) from None


def _take_delivery(parts: _Parts, sent: SentDelivery) -> None:
    parts.headers = sent.lines
    parts.body = parts.sent = sent.body
    parts.secrets += sent.secrets
    parts.notes += sent.notes
    if parts.now_ms is None:
        parts.now_ms = sent.started_ms


def _hints(told: Explanation, sent: SentDelivery | None, *, has_now: bool) -> Iterator[str]:
    if told.broken == "window" and not has_now:
        yield "the rest holds; --now TIME judges the time as of then, and --tolerance none leaves it out"
    if sent is not None and told.broken is None and sent.is_refused:
        yield (
            "what was sent is genuine, and was not accepted; give the body that the endpoint read as BODY_FILE, and "
            "its secret by --secret-env, to see what it does otherwise"
        )


def _refusal(
    settings: Settings, database_url: str | None, source: str | None, reason: str | None
) -> RejectionRow | None:
    """The newest that the door refused within 30 days."""
    if reason is not None and reason not in REFUSALS:
        raise ConfigError("--reason", f"expected one of {', '.join(REFUSALS)}; got {reason[:40]!r}")
    with (
        receiver_to_ask("--refused", settings, database_url) as receiver,
        receiver.look(source) as (queries, connection),
    ):
        since_ms = time.time_ns() // 1_000_000 - _REFUSED_SINCE_MS
        rows = queries.rejections(connection, since_ms=since_ms, limit=1_000)
    return next((row for row in rows if reason is None or row.reason == reason), None)


def _refusal_shown(row: RejectionRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {**row._asdict(), "minute": time_of(row.minute_ms)}


def _tell_refusal(row: RejectionRow, *, as_json: bool) -> int:
    """What is kept of a refusal: its reason and the first one's story, never header or body."""
    known = refusal_of(row.reason)
    to_do = "" if known is None else known.help
    note = "give header and body (--header, BODY_FILE; or --request) of such a request to see which step fails"
    if as_json:
        explanation: dict[str, Any] = {
            "steps": [],
            "broken": "door",
            "code": row.reason,
            "message": row.sample,
            "to_do": to_do,
        }
        print_json({**explanation, "notes": [note], "delivery": None, "refusal": _refusal_shown(row)})
    else:
        _say_refusal(row)
        print_facts([("to do", to_do or None), ("note", note)])
    return Exit.FAILED


def _say_refusal(row: RejectionRow) -> None:
    known = refusal_of(row.reason)
    print_facts(
        [
            (
                "refused",
                f"{time_of(row.minute_ms)}, {row.times} in that minute, of the source {row.source or '(none)'}",
            ),
            ("reason", row.reason + ("" if known is None else f": {known.title}")),
            ("the first", row.sample),
        ]
    )


def _tell(found: dict[str, Any], refusal: RejectionRow | None, sent: SentDelivery | None) -> None:
    if refusal is not None:
        _say_refusal(refusal)
        print()
    if sent is not None:
        print_facts([(name.replace("_", " "), value) for name, value in sent.shown().items()])
        print()
    marks = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}
    for step in found["steps"]:
        said = _passed(step, found)
        if (finding := step["finding"]) is not None:  # of the first that failed all is told below
            said = finding["code"] if step["name"] == found["broken"] else finding["message"]
        print(f"{marks[step['state']]:<8} {_STEPS[step['name']]:<17} {printable(said)}".rstrip())
    print()
    likely = "" if found["is_proved"] else " (likely, not proved)"
    print_facts(
        [
            ("verdict", found["code"] + likely),
            ("why", found["message"]),
            ("to do", found["to_do"]),
            *(("note", note) for note in found["notes"]),
            ("tried", None if found["tried_all"] else "not everything: the body is too large for that"),
        ]
    )


def _passed(step: dict[str, Any], found: dict[str, Any]) -> str:
    if step["state"] == "skipped":
        return "nothing to look at" if step["name"] != "signature" else "the header holds nothing to compare"
    if step["name"] == "signature":
        return f"made with {found['secret']} over these {found['body_bytes']} bytes"
    if step["name"] == "window":
        return f"signed {time_of(found['signed_ms'])}"
    return ""


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) == 13:
        return int(text)
    try:
        return moment_ms(text, time.time_ns() // 1_000_000)
    except ValueError:
        raise ConfigError(
            "--now", f"expected a time, an age as in 15m, or Unix milliseconds; got {text[:80]!r}"
        ) from None


def _text_of(file: str) -> str:
    return read_body(file).decode("latin-1")


def _of_variable(name: str | None) -> Sequence[NamedSecret]:
    """What a variable holds, white space and all: that may be the fault. Where it is a list, each of it."""
    if name is None:
        return ()
    text = os.environ.get(name, "")
    if not text.strip():
        raise ConfigError(name, "expected the environment variable to hold a secret; it is not set or empty")
    return list(_named(text, name))


def _of_file(file: str | None) -> Sequence[NamedSecret]:
    if file is None:
        return ()
    text = read_body(file).decode(errors="surrogateescape")
    # One line end is the editor's.
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise ConfigError(file, "expected a secret in it; it is empty")
    return list(_named(text, Path(file).name))


def _named(text: str, name: str) -> Iterator[NamedSecret]:
    if "," not in text:
        yield NamedSecret(f"the secret in {name}", text)
        return
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        yield NamedSecret(f"secret {number} in {name}", part)


def _in_settings(settings: Settings, source: str | None) -> Iterator[NamedSecret]:
    """The webhook secrets in force, of one source or of all."""
    config = settings.receiver()
    named: Iterable[tuple[str, SourceConfig]] = config.sources.items() or [("", config.alone)]
    if source is not None and config.sources and source not in config.sources:
        raise ConfigError("--source", f"expected one of {', '.join(config.sources)}; got {source[:40]!r}")
    for name, one in named:
        for number, secret in enumerate(one.webhook_secrets or (), 1):
            of = f" of the source {name}" if name else " in HOOKLINE_WEBHOOK_SECRETS"
            yield NamedSecret(f"secret {number}{of}", secret, in_force=source in (None, "default", name))
