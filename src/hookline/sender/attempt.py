"""One attempt: sign now, send, judge, keep the evidence; during a rotation perhaps once more with the other secret.

Nothing here touches a delivery's row: what an attempt came to is a value, `Finished`, for the loop to settle. What an
answer means is decided in rules/response.py, which key signs and when the other is probed in rules/rotation.py.
"""

from __future__ import annotations

import base64
import codecs
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from hookline import __version__
from hookline.rules.headers import is_sensitive
from hookline.rules.lifecycle import after_attempt
from hookline.rules.response import UNKNOWN, Outcome, Silence, judge, silence
from hookline.rules.rotation import (
    Overlap,
    after_failed_probe,
    after_success,
    has_old,
    is_last_chance,
    old_first,
    wants_probe,
)
from hookline.sender.http import CONNECT_TIMEOUT_S, TOTAL_TIMEOUT_S, Answer, ErrorCode, Headers, Request
from hookline.sender.model import Attempt
from hookline.sender.spans import begin_attempt, end_attempt
from hookline.wire import standard
from hookline.wire.signature import HEADER, sign

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.rules.lifecycle import Next, Target
    from hookline.rules.schedule import Schedule
    from hookline.sender.counters import Counters
    from hookline.sender.delivery_store import Claimed
    from hookline.sender.http import Exchange
    from hookline.sender.model import AttemptKind, Environment
    from hookline.tracing import Span

log = logging.getLogger("hookline.sender")

USER_AGENT: Final = f"Hookline/{__version__}"
# On test events and replays, with the word `test` or `replay`: a consumer can tell them from the first delivery.
ORIGIN_HEADER: Final = "Hookline-Origin"
TRACEPARENT_HEADER: Final = "traceparent"
# Of a signature so many digits are kept: enough to tell two apart, too few to use.
DIGITS_KEPT: Final = 8
# A last probe has at least so long, however long those before it took.
LEAST_TIMEOUT_S: Final = 1.0
# Opened secrets and headers are kept in memory for so many endpoints, those used last; deleted ones go by and by.
OPENED_KEPT: Final = 10_000
# Likewise what probes have shown; endpoints in the middle of a rotation are few.
OVERLAPS_KEPT: Final = 1_000

_SILENCES: Final[Mapping[ErrorCode, Silence]] = {
    "bad_url": "refused_address",
    "address_refused": "refused_address",
    "dns": "dns",
    "connect_refused": "connect",
    "connect_timeout": "connect_timeout",
    "connect_failed": "connect",
    "tls": "tls",
    "timeout": "timeout",
    "reset": "reset",
    "closed": "reset",
    "headers_too_large": "protocol",
    "protocol": "protocol",
    "local": "connect",
}

# Why an endpoint's URL must not be called, or None. Asked by each process for each endpoint: settings change after
# registration, and a process has its own for as long as it lives.
RefuseUrl: TypeAlias = Callable[["Environment", str], str | None]
# The endpoint's secrets as they are now, newest first, still sealed; None where it is gone.
CurrentSecrets: TypeAlias = Callable[[int], Awaitable[tuple[str, str | None] | None]]
# The schedule of a delivery; None: it is not tried again.
ScheduleOf: TypeAlias = Callable[["Claimed"], "Schedule | None"]
Key: TypeAlias = Literal["new", "old"]


class Finished(msgspec.Struct, frozen=True, gc=False):
    """What one claim came to.

    Attributes:
        attempts: as recorded; those after the first are its probes.
        outcome: of the last of them.
        ended_ms: when that one ended.
        latency_ms: from the request sent to the answer's first byte, as far as it came.
        is_ours: it failed on this side: nothing was learned about the endpoint.
        overlap: where the endpoint stands between two secrets, where the attempt has changed that.
    """

    claimed: Claimed
    outcome: Outcome
    ended_ms: int
    attempts: tuple[Attempt, ...]
    latency_ms: float = 0.0
    is_ours: bool = False
    overlap: Overlap | None = None

    @property
    def number(self) -> int:
        """Of the last attempt made."""
        return self.attempts[-1].number


class _Opened(msgspec.Struct, frozen=True):
    """What an endpoint keeps sealed, opened: its secrets and its own headers, some of them marked as sensitive.

    And what follows from how it is and is the same for each of its attempts: `refused`, why its URL must not be called,
    and the headers before the signature.
    """

    sealed: tuple[str, str, str | None, str | None]
    refused: str | None
    secret: str
    old_secret: str | None
    first_headers: Headers
    headers: Headers
    sensitive: frozenset[str]


class _Try(msgspec.Struct, frozen=True, gc=False):
    """One request and what came of it."""

    outcome: Outcome
    started_ms: int
    ended_ms: int
    headers: Headers
    answer: Answer | None
    detail: str | None
    is_ours: bool = False
    span: Span | None = None


class Attempter:
    """Makes attempts.

    Args:
        exchange: how HTTP is spoken.
        decrypt: opens what is sealed. Raises where it cannot.
        schedule_of: tells which attempt is a delivery's last within the overlap of two secrets.
        current_secrets: asked before a probe: never with a revoked key.
        refuse_url: asked before an endpoint's first attempt and when it changes; what it says is kept.
        connect_timeout_s, total_timeout_s: of one request; an endpoint's own comes before the latter.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        clock: Clock,
        decrypt: Callable[[str], str],
        schedule_of: ScheduleOf,
        current_secrets: CurrentSecrets,
        counters: Counters,
        refuse_url: RefuseUrl | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._decrypt = decrypt
        self._schedule_of = schedule_of
        self._current_secrets = current_secrets
        self._counters = counters
        self._refuse_url = refuse_url
        self._connect_timeout_s = connect_timeout_s
        self._total_timeout_s = total_timeout_s
        self._opened: dict[int, _Opened] = {}
        # Newer than what the claims of attempts under way have read.
        self._overlaps: dict[int, tuple[str, Overlap]] = {}

    async def make(self, claimed: Claimed) -> Finished:
        """Make the attempt, and its probes where they are due. Raises nothing but cancellation."""
        now_ms = self._clock.now_ms()
        overlap = self._overlap(claimed)
        key: Key = "old" if old_first(overlap, slots_used=claimed.slots_used, now_ms=now_ms) else "new"
        one = await self._try(claimed, key, overlap)
        attempts = [self._record(claimed, claimed.attempt, claimed.kind, one, key, overlap)]
        changed: Overlap | None = None
        if overlap is not None:
            # What other attempts have shown meanwhile counts.
            overlap = self._overlap(claimed) or overlap
            other: Key = "new" if key == "old" else "old"
            probes = 0
            while self._wants_probe(claimed, one, overlap, probes, now_ms) and await self._has_both(claimed):
                key = other
                probes += 1
                one = await self._try(claimed, key, overlap, begun_ms=now_ms)
                attempts.append(self._record(claimed, claimed.attempt + probes, "probe", one, key, overlap))
                overlap = self._overlap(claimed) or overlap
            if probes and one.outcome.kind != "succeeded":
                changed = after_failed_probe(overlap, now_ms=one.ended_ms)
            if one.outcome.kind == "succeeded" and (after := after_success(overlap, with_old=key == "old")) != overlap:
                changed = after
            if changed is not None:
                _keep(self._overlaps, claimed.endpoint_row, (claimed.secret_enc, changed), OVERLAPS_KEPT)
        latency_ms = _latency_ms(one.answer)
        return Finished(claimed, one.outcome, one.ended_ms, tuple(attempts), latency_ms, one.is_ours, changed)

    def _wants_probe(self, claimed: Claimed, one: _Try, overlap: Overlap, probes: int, begun_ms: int) -> bool:
        if not one.outcome.may_be_wrong_key:
            return False
        next_ms: int | None = None
        if (schedule := self._schedule_of(claimed)) is not None:
            # As late as jitter may put it.
            latest = next_of(claimed, one.outcome, schedule, started_ms=begun_ms, ended_ms=one.ended_ms, jitter=1.0)
            next_ms = latest.due_ms
        is_last = is_last_chance(overlap, next_ms=next_ms)
        return wants_probe(overlap, one.outcome, now_ms=one.ended_ms, probes=probes, is_last_chance=is_last)

    async def _try(self, claimed: Claimed, key: Key, overlap: Overlap | None, *, begun_ms: int | None = None) -> _Try:
        """One request; with `begun_ms`, when the attempt's first began, a probe, which ends before the lease does."""
        started_ms = self._clock.now_ms()
        headers: Headers = ()
        answer: Answer | None = None
        detail: str | None
        is_ours = False
        span = begin_attempt(claimed)
        try:
            opened = self._open(claimed)
            if opened.refused is not None:
                outcome, detail = silence("refused_address"), opened.refused
            else:
                traceparent = claimed.traceparent if span is None else span.traceparent
                headers = self._headers(claimed, opened, key, overlap, started_ms, traceparent)
                total_s = self._total_timeout_s if claimed.timeout_ms is None else claimed.timeout_ms / 1000
                if begun_ms is not None:
                    # A lease holds two timeouts, and a last chance is three requests.
                    total_s = min(total_s, max(2 * total_s - (started_ms - begun_ms) / 1000, LEAST_TIMEOUT_S))
                answer = await self._exchange.send(
                    Request(claimed.url, headers, claimed.body, min(self._connect_timeout_s, total_s), total_s)
                )
                outcome, detail = _judge(answer, self._clock.now_ms()), answer.detail
                is_ours = answer.error == "local"
        except Exception as error:
            # Ours, not the stranger's: a secret that does not open, a fault in an exchange. The others go on.
            log.exception(
                "deliveries: attempt %d of %s could not be made", claimed.attempt, claimed.id, extra=claimed.log_ids
            )
            outcome, detail = silence("connect"), f"the attempt could not be made: {type(error).__name__}"
            is_ours = True
        return _Try(outcome, started_ms, self._clock.now_ms(), headers, answer, detail, is_ours, span)

    @staticmethod
    def _headers(
        claimed: Claimed, opened: _Opened, key: Key, overlap: Overlap | None, now_ms: int, traceparent: str | None
    ) -> Headers:
        old = opened.old_secret if has_old(overlap, now_ms=now_ms) else None
        secret = old if key == "old" and old is not None else opened.secret
        headers = [*opened.first_headers, (HEADER, sign(claimed.body, secret, timestamp_ms=now_ms))]
        if claimed.standard_webhooks:
            keys = [secret] if old is None else [secret, opened.secret if secret is old else old]
            headers += standard.headers(claimed.body, claimed.event_id, keys, now_ms=now_ms)
        if claimed.origin != "published":
            headers.append((ORIGIN_HEADER, claimed.origin))
        if traceparent is not None:
            headers.append((TRACEPARENT_HEADER, traceparent))
        headers += opened.headers
        return tuple(headers)

    def _record(
        self, claimed: Claimed, number: int, kind: AttemptKind, one: _Try, key: Key, overlap: Overlap | None
    ) -> Attempt:
        answer, outcome = one.answer, one.outcome
        duration_ms = round(answer.timings.total_ms) if answer is not None else one.ended_ms - one.started_ms
        self._counters.attempt_ended(
            claimed.environment, kind, outcome, duration_ms, answer.timings if answer is not None else None
        )
        _log_attempt(claimed, number, outcome, duration_ms)
        if one.span is not None:
            end_attempt(one.span, claimed, number, kind, outcome, answer)
        opened = self._opened.get(claimed.endpoint_row)
        return Attempt(
            delivery_row=claimed.row_id,
            number=number,
            kind=kind,
            outcome=outcome.kind,
            reason=outcome.reason,
            status=outcome.status,
            started_ms=one.started_ms,
            duration_ms=duration_ms,
            evidence=_evidence(
                claimed,
                one.headers,
                answer,
                one.detail,
                sensitive=opened.sensitive if opened is not None else frozenset(),
                key=None if overlap is None else key,
            ),
        )

    # -- secrets -------------------------------------------------------------------------------------------------

    def _open(self, claimed: Claimed) -> _Opened:
        sealed = (claimed.url, claimed.secret_enc, claimed.old_secret_enc, claimed.headers_enc)
        known = self._opened.get(claimed.endpoint_row)
        if known is not None and known.sealed == sealed:
            return known
        headers, sensitive = _own_headers(claimed, self._decrypt)
        first = [("Content-Type", "application/json")]
        if not any(name.lower() == "user-agent" for name, _ in headers):
            first.append(("User-Agent", USER_AGENT))
        opened = _Opened(
            sealed,
            None if self._refuse_url is None else self._refuse_url(claimed.environment, claimed.url),
            self._decrypt(claimed.secret_enc),
            None if claimed.old_secret_enc is None else self._decrypt(claimed.old_secret_enc),
            tuple(first),
            headers,
            sensitive,
        )
        _keep(self._opened, claimed.endpoint_row, opened, OPENED_KEPT)
        return opened

    def _overlap(self, claimed: Claimed) -> Overlap | None:
        if claimed.old_secret_enc is None or claimed.old_secret_until_ms is None:
            return None
        known = self._overlaps.get(claimed.endpoint_row)
        if known is not None and known[0] == claimed.secret_enc:
            return known[1]
        return Overlap(
            claimed.old_secret_until_ms, bool(claimed.signs_with_old), claimed.probe_failures, claimed.probe_after_ms
        )

    async def _has_both(self, claimed: Claimed) -> bool:
        try:
            current = await self._current_secrets(claimed.endpoint_row)
        except Exception as error:
            # Without an answer there is no probe: the schedule has other tries.
            log.warning("deliveries: no probe of %s: %s", claimed.id, type(error).__name__, extra=claimed.log_ids)
            return False
        return current == (claimed.secret_enc, claimed.old_secret_enc)


def next_of(
    claimed: Claimed,
    outcome: Outcome,
    schedule: Schedule,
    *,
    started_ms: int,
    ended_ms: int,
    jitter: float,
    target: Target = "open",
) -> Next:
    """What a claimed delivery is after this attempt (rules/lifecycle.py)."""
    return after_attempt(
        outcome,
        schedule,
        kind=claimed.kind,
        slots_used=claimed.slots_used,
        unknown_attempts=claimed.unknown_attempts,
        first_ms=claimed.first_ms,
        started_ms=started_ms,
        now_ms=ended_ms,
        jitter=jitter,
        planned_ms=claimed.planned_ms,
        target=target,
    )


def lost(claimed: Claimed, now_ms: int) -> Finished:
    """The attempt of a delivery whose lease has passed: it may have reached the endpoint, or not."""
    attempt = Attempt(
        delivery_row=claimed.row_id,
        number=claimed.attempt,
        kind=claimed.kind,
        outcome="unknown",
        reason=UNKNOWN.reason,
        status=None,
        started_ms=claimed.claimed_ms,
        duration_ms=None,
        evidence=_evidence(claimed, (), None, "its sender stopped before the end of this attempt was recorded"),
    )
    return Finished(claimed, UNKNOWN, now_ms, (attempt,), is_ours=True)


def _own_headers(claimed: Claimed, decrypt: Callable[[str], str]) -> tuple[Headers, frozenset[str]]:
    if claimed.headers_enc is None:
        return (), frozenset()
    own = json.loads(decrypt(claimed.headers_enc))
    return (
        tuple((name, value) for name, value, _ in own),
        frozenset(name.lower() for name, _, is_marked in own if is_marked),
    )


def _keep(kept: dict[int, Any], endpoint_row: int, value: object, most: int) -> None:
    kept.pop(endpoint_row, None)
    kept[endpoint_row] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def _judge(answer: Answer, now_ms: int) -> Outcome:
    if answer.status is None:
        return silence(_SILENCES[answer.error or "local"])
    retry_after = next((value for name, value in answer.headers if name.lower() == "retry-after"), None)
    if retry_after is None:
        return _plain(answer.status)
    return judge(answer.status, retry_after=retry_after, now_ms=now_ms)


@functools.lru_cache(maxsize=1024)
def _plain(status: int) -> Outcome:
    """Without a time to wait an answer means the same at any time."""
    return judge(status, retry_after=None, now_ms=0)


def _latency_ms(answer: Answer | None) -> float:
    if answer is None:
        return 0.0
    first_byte_ms = answer.timings.first_byte_ms
    return answer.timings.total_ms if first_byte_ms is None else first_byte_ms


def _log_attempt(claimed: Claimed, number: int, outcome: Outcome, duration_ms: int) -> None:
    """A line per attempt that failed; per success only where debug is asked for: there are thousands a second."""
    level = logging.DEBUG if outcome.kind == "succeeded" else logging.INFO
    if log.isEnabledFor(level):
        log.log(
            level,
            "delivery %s of event %s: attempt %d %s (%s) in %d ms",
            claimed.id,
            claimed.event_id,
            number,
            outcome.kind,
            outcome.reason,
            duration_ms,
            extra=claimed.log_ids
            | {
                "attempt": number,
                "outcome": outcome.kind,
                "reason": outcome.reason,
                "status": outcome.status,
                "duration_ms": duration_ms,
            },
        )


# -- evidence ----------------------------------------------------------------------------------------------------


def _evidence(
    claimed: Claimed,
    headers: Headers,
    answer: Answer | None,
    detail: str | None,
    *,
    sensitive: frozenset[str] = frozenset(),
    key: Key | None = None,
) -> str:
    """An attempt's evidence as JSON text: no secret, no whole digest; bytes that are no text in base 64."""
    sent = answer.sent_headers if answer is not None and answer.sent_headers else headers
    evidence: dict[str, Any] = {
        "url": claimed.url,
        "endpoint_version": claimed.endpoint_version,
        "request": {"headers": _masked(sent, sensitive)},
    }
    if key is not None:
        evidence["signed_with"] = key
    if detail is not None:
        evidence["detail"] = detail
    if answer is not None:
        evidence["address"] = answer.address
        evidence["tls"] = answer.tls
        evidence["reused"] = answer.reused
        evidence["redone"] = answer.redone
        evidence["timings"] = answer.timings
        if answer.status is None:
            evidence["error"] = answer.error
        else:
            evidence["answer"] = {
                "headers": _masked(answer.headers, sensitive),
                **_text_or_base64(answer.body, is_whole=answer.body_bytes == len(answer.body)),
                "body_bytes": answer.body_bytes,
                "body_end": answer.body_end,
            }
    return msgspec.json.encode(evidence).decode()


def _masked(headers: Headers, sensitive: frozenset[str]) -> list[tuple[str, str]]:
    shown = []
    for header in headers:
        how = _shown_how(header[0])
        if how == "whole" and not (sensitive and header[0].lower() in sensitive):
            shown.append(header)
            continue
        name, value = header
        if how == "signature":
            before, v1, whole = value.partition("v1=")
            shown.append((name, f"{before}{v1}{whole[:DIGITS_KEPT]}…"))
        elif how == "signatures":
            shown.append((name, " ".join(f"{one[: len('v1,') + DIGITS_KEPT]}…" for one in value.split(" "))))
        else:
            shown.append((name, "…"))
    return shown


@functools.lru_cache(maxsize=4096)
def _shown_how(name: str) -> Literal["whole", "signature", "signatures", "hidden"]:
    """How a header's value is shown, as far as its name alone says."""
    lower = name.lower()
    if lower == _SIGNATURE:
        return "signature"
    if lower == standard.SIGNATURE_HEADER:
        return "signatures"
    return "hidden" if is_sensitive(lower) else "whole"


_SIGNATURE: Final = HEADER.lower()


def _text_or_base64(body: bytes, *, is_whole: bool) -> dict[str, str]:
    if body.isascii():
        return {"body": body.decode("ascii")}
    try:
        # A character cut in two at the end of an excerpt does not make it binary.
        return {"body": codecs.getincrementaldecoder("utf-8")().decode(body, is_whole)}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode("ascii")}
