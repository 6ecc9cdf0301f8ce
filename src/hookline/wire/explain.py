"""Why a signature does not hold: which step of verifying failed, what most likely made it fail, and what to do.

A door says `mismatch` and no more, and is right to. Whoever integrates needs to know why: seconds where milliseconds
were meant, another endpoint's secret, a body that a framework parsed and wrote again. `explain` walks the steps of a
verifier (lenient_headers.py reads what does not follow the grammar), and where the signature does not hold it looks for
the one change that makes it hold (culprits.py). What it finds that way the signature itself proves; what is only likely
is said to be so.

Neither a secret nor a digest nor a part of the body is in what it returns. A cut signature is only held against
digests from 16 bytes on: shorter ones could be guessed, byte by byte, from what is answered.

Pure, and bounded for hostile input: a header of at most `MOST_HEADER_CHARS` characters and `MOST_CLAIMS` signatures;
JSON is written again up to `MOST_JSON_BYTES` only, whatever its depth; at most `MOST_HASHED_BYTES` are hashed in all,
after which what was not tried is said not to have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from hookline.errors import InvalidBody
from hookline.wire import standard
from hookline.wire.culprits import Search
from hookline.wire.event import decode_envelope, decode_standard_envelope
from hookline.wire.findings import Code, Finding, NamedSecret
from hookline.wire.lenient_headers import Read, given_headers, read_standard, read_workos, scheme_of
from hookline.wire.schemes import Scheme
from hookline.wire.signature import TOLERANCE_S, BodyBytes, HeaderValue

__all__ = ["Explanation", "Finding", "NamedSecret", "Step", "explain"]

StepName: TypeAlias = Literal["header", "unit", "signature", "window"]
StepState: TypeAlias = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a verifier: failed where there is a finding, skipped where there was nothing to look at."""

    name: StepName
    state: StepState
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What came of each step, in order.

    Attributes:
        broken: the first step that failed; None where the signature holds.
        code, message, to_do, is_proved: its finding; or `genuine`, and what that means.
        secret: the name of the secret that signed, where it was found.
        signed_ms: when it says it was signed, in Unix milliseconds, whatever unit it was written in.
        skew_ms: how long before `now_ms` that was; negative for the future.
        notes: what does not break verification here and may elsewhere.
        tried_all: false where the body is so large that not everything could be tried.
    """

    scheme: Scheme
    steps: tuple[Step, ...]
    broken: StepName | None
    code: Code
    message: str
    to_do: str
    is_proved: bool
    secret: str | None
    signed_ms: int | None
    skew_ms: int | None
    notes: tuple[str, ...]
    tried_all: bool


def explain(
    body: BodyBytes | str,
    header: HeaderValue,
    secrets: Sequence[NamedSecret],
    *,
    now_ms: int,
    tolerance_s: float | None = TOLERANCE_S,
    scheme: Scheme | None = None,
    sent: bytes | None = None,
) -> Explanation:
    """Say which step of verifying `body` fails, and why.

    Args:
        body: as it was verified. Text counts as its UTF-8.
        header: the value of `WorkOS-Signature`; or lines `name: value`, as for the three of Standard Webhooks, among
            which others are passed over. Several values are taken as several lines.
        secrets: those in force, and others that are known. None at all is a finding of its own.
        now_ms: Unix time in milliseconds.
        tolerance_s: as for `verify_signature`.
        scheme: what the door reads; by default what the headers are of.
        sent: the body as it was sent, where that is known.
    """
    raw = body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body)
    given = given_headers(header)
    scheme = scheme or scheme_of(given)
    read = read_workos(given) if scheme == "workos" else read_standard(given)
    search = Search(read, raw, secrets, sent)
    signature, secret = _signature_step(search)
    signed_ms = read.signed_ms
    skew_ms = None if signed_ms is None else now_ms - signed_ms
    steps = (_step("header", read.problem), _unit_step(read), signature, _window_step(skew_ms, tolerance_s))
    broken = next((step for step in steps if step.finding is not None), None)
    finding = _genuine(secret) if broken is None or broken.finding is None else broken.finding
    return Explanation(
        scheme=scheme,
        steps=steps,
        broken=None if broken is None else broken.name,
        code=finding.code,
        message=finding.message,
        to_do=finding.to_do,
        is_proved=finding.is_proved,
        secret=secret,
        signed_ms=signed_ms,
        skew_ms=skew_ms,
        notes=(*read.notes, *_notes(raw, read, skew_ms, {step.name: step.state for step in steps})),
        tried_all=search.tried_all,
    )


def _step(name: StepName, finding: Finding | None) -> Step:
    return Step(name, "passed" if finding is None else "failed", finding)


def _signature_step(search: Search) -> tuple[Step, str | None]:
    if not search.has_digest:
        return Step("signature", "skipped"), None
    finding, secret = search.run()
    return _step("signature", finding), secret


def _genuine(secret: str | None) -> Finding:
    return Finding(
        "genuine",
        f"the signature holds over these bytes, made with {secret}",
        "where the endpoint refuses it all the same, it verifies other bytes than these, with another secret or by "
        "another clock: compare the length of the body and the time that it logs",
    )


_UNITS: Final[Mapping[float, str]] = {1000: "seconds", 1: "milliseconds", 1e-3: "microseconds", 1e-6: "nanoseconds"}


def _unit_step(read: Read) -> Step:
    unit_ms = read.unit_ms
    if unit_ms is None:
        return Step("unit", "skipped")
    is_workos = read.scheme == "workos"
    if unit_ms == (1 if is_workos else 1000):
        return Step("unit", "passed")
    expected = "milliseconds" if is_workos else "seconds"
    place = "t" if is_workos else standard.TIMESTAMP_HEADER
    code: Code = "unknown_unit"
    if unit_ms == 1000:
        code = "seconds_for_milliseconds"
    elif unit_ms == 1:
        code = "milliseconds_for_seconds"
    finding = Finding(
        code,
        f"{place} has {len(read.timestamp_text or '')} digits: it is in {_UNITS[unit_ms]}, expected {expected}",
        f"sign with the time in {expected}; what is signed is the same text as in the header",
    )
    return Step("unit", "failed", finding)


def _window_step(skew_ms: int | None, tolerance_s: float | None) -> Step:
    if skew_ms is None:
        return Step("window", "skipped")
    if tolerance_s is None or abs(skew_ms) <= tolerance_s * 1000:
        return Step("window", "passed")
    code: Code = "expired" if skew_ms > 0 else "future"
    when = "ago" if skew_ms > 0 else "from now"
    to_do = "set both machines' clocks by NTP; "
    if skew_ms > 0:
        to_do += (
            "sign each attempt anew, with its own time; and verify a request when it comes, not when it is taken from "
            "a queue"
        )
    else:
        to_do += "the one that signs is ahead, or the one that verifies behind"
    if 0 < tolerance_s < 1 or 0 < skew_ms < 300_000:
        to_do += (
            ". A tolerance is in seconds here, and in milliseconds in Node's and Kotlin's SDKs: 180 there is 0.18 s"
        )
    said = f"signed {_span(abs(skew_ms))} {when}, the tolerance is {tolerance_s:g} s"
    return Step("window", "failed", Finding(code, said, to_do))


def _span(ms: int) -> str:
    for unit, length_ms in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if ms >= 2 * length_ms:
            return f"{ms / length_ms:.1f} {unit}"
    return f"{ms / 1000:g} s"


def _notes(body: bytes, read: Read, skew_ms: int | None, states: Mapping[StepName, StepState]) -> Iterator[str]:
    if states["signature"] == "failed" and states["window"] == "failed":
        yield "the official SDKs look at the time first: they say that it is outside the tolerance"
    if states["signature"] == "passed" and skew_ms is not None and skew_ms < 0 and states["window"] == "failed":
        yield "the official SDKs for Node, PHP and Elixir accept any time in the future"
    if states["signature"] == "passed":
        try:
            if read.scheme == "workos":
                decode_envelope(body)
            else:
                decode_standard_envelope(body, read.event_id or "")
        except InvalidBody as error:
            yield f"the signature holds, and the body is no event ({error.reason}): {error}"
