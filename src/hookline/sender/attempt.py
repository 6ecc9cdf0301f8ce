"""One attempt: sign now, send, judge, keep the evidence; during a rotation perhaps once more with the other secret.

Nothing here touches a delivery's row: what an attempt came to is a value, `Finished`, for the loop to settle. What an
answer means is decided in rules/response.py, which key signs and when the other is probed in rules/rotation.py.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from hookline import __version__
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
from hookline.sender.begun import GiveUp, awaited, begun
from hookline.sender.evidence import evidence_of
from hookline.sender.http import CONNECT_TIMEOUT_S, TOTAL_TIMEOUT_S, Answer, ErrorCode, Headers, Request
from hookline.sender.model import Attempt
from hookline.sender.spans import begin_attempt, end_attempt
from hookline.wire import standard
from hookline.wire.signature import HEADER, Signer

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.rules.lifecycle import Next, Target
    from hookline.rules.schedule import Schedule
    from hookline.sender.delivery_store import Claimed, ClaimedEndpoint
    from hookline.sender.http import Exchange, Timings
    from hookline.sender.model import AttemptKind, DeliveryOrigin, Environment

log = logging.getLogger("hookline.sender")

USER_AGENT: Final = f"Hookline/{__version__}"
# On test events and replays, with the word `test` or `replay`: a consumer can tell them from the first delivery.
ORIGIN_HEADER: Final = "Hookline-Origin"
TRACEPARENT_HEADER: Final = "traceparent"
# Which of its object's events it is, from 1: not signed, an aid to notice that one is missing.
SEQUENCE_HEADER: Final = "Hookline-Object-Sequence"
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
        endpoint_row: whose delivery it was.
        attempts: as recorded; those after the first are its probes.
        timings: how long the phases of each of them took; None where nothing was sent.
        outcome: of the last of them.
        ended_ms: when that one ended.
        is_ours: it failed on this side: nothing was learned about the endpoint.
        overlap: where the endpoint stands between two secrets, where the attempt has changed that.
    """

    claimed: Claimed
    endpoint_row: int
    outcome: Outcome
    ended_ms: int
    attempts: tuple[Attempt, ...]
    timings: tuple[Timings | None, ...]
    is_ours: bool = False
    overlap: Overlap | None = None

    @property
    def number(self) -> int:
        """Of the last attempt made."""
        return self.attempts[-1].number

    @property
    def latency_ms(self) -> float:
        """From the request sent to the answer's first byte, as far as it came."""
        timings = self.timings[-1]
        if timings is None:
            return 0.0
        return timings.total_ms if timings.first_byte_ms is None else timings.first_byte_ms


class _Opened(msgspec.Struct, frozen=True):
    """What an endpoint keeps sealed, opened: its secrets and its own headers, some of them marked as sensitive.

    And what follows from how it is and is the same for each of its attempts: `refused`, why its URL must not be called,
    and `headers`, all that come before the signature.
    """

    sealed: tuple[str, str, str | None, str | None]
    refused: str | None
    secret: Signer
    old_secret: Signer | None
    headers: Headers
    sensitive: frozenset[str]


class _Try(msgspec.Struct, frozen=True, gc=False):
    """What came of one request, with its record."""

    outcome: Outcome
    ended_ms: int
    attempt: Attempt
    timings: Timings | None = None
    is_ours: bool = False


class _Trying:
    """One request: what it is made for, and how it ended once it has.

    `answer` and `error` are both None where its URL was refused.
    """

    __slots__ = (
        "answer", "claimed", "clock", "done", "ended_ms", "ended_ns", "error", "headers", "key", "kind", "number",
        "opened", "span", "started_ms",
    )  # fmt: skip

    def __init__(
        self,
        claimed: Claimed,
        number: int,
        kind: AttemptKind,
        key: Key | None,
        clock: Clock,
        done: Callable[[_Trying], None],
    ) -> None:
        self.claimed = claimed
        self.number = number
        self.kind: AttemptKind = kind
        self.key: Key | None = key
        self.clock = clock
        self.done = done
        self.span = begin_attempt(claimed)
        self.started_ms = self.ended_ms = clock.now_ms()
        self.ended_ns: int | None = None
        self.headers: Headers = ()
        self.opened: _Opened | None = None
        self.answer: Answer | None = None
        self.error: Exception | None = None

    def answered(self, answer: Answer) -> None:
        """Called by the exchange, from within its connection: nothing is decided here, and nothing raised."""
        self.answer = answer
        self.ended_ms = self.clock.now_ms()
        if self.span is not None:
            self.ended_ns = time.time_ns()
        self.done(self)


# An attempt that has ended: to be judged, or judged already, as it was more than one request.
Ended: TypeAlias = "_Trying | Finished"


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
        refuse_url: RefuseUrl | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._decrypt = decrypt
        self._schedule_of = schedule_of
        self._current_secrets = current_secrets
        self._refuse_url = refuse_url
        self._connect_timeout_s = connect_timeout_s
        self._total_timeout_s = total_timeout_s
        self._opened: dict[int, _Opened] = {}
        # Newer than what the claims of attempts under way have read.
        self._overlaps: dict[int, tuple[str, Overlap]] = {}

    def begin(self, claimed: Claimed, done: Callable[[Ended], None]) -> GiveUp:
        """Begin an attempt, and its probes where they are due; `done` hears of its end, and never within this call.

        Raises nothing.
        """
        overlap = self._overlap(claimed.endpoint)
        if overlap is None:
            return self._begin_try(claimed, claimed.attempt, claimed.kind, "new", None, done)

        def failed(error: Exception) -> Finished:
            trying = _Trying(claimed, claimed.attempt, claimed.kind, None, self._clock, done)
            trying.error = error
            return _finished(claimed, self._tried(trying))

        return begun(self._between_secrets(claimed, overlap), done, failed)

    def judged(self, ended: Sequence[Ended]) -> list[Finished]:
        """What attempts came to that have ended, in their order.

        Those of a while are judged together: one kind of work for all of them, before the next, costs half.
        """
        return [one if isinstance(one, Finished) else _finished(one.claimed, self._tried(one)) for one in ended]

    async def _between_secrets(self, claimed: Claimed, overlap: Overlap) -> Finished:
        endpoint, now_ms = claimed.endpoint, self._clock.now_ms()
        key: Key = "old" if old_first(overlap, slots_used=claimed.slots_used, now_ms=now_ms) else "new"
        tries = [one := await self._try(claimed, claimed.attempt, claimed.kind, key, overlap)]
        changed: Overlap | None = None
        # What other attempts have shown meanwhile counts.
        overlap = self._overlap(endpoint) or overlap
        other: Key = "new" if key == "old" else "old"
        probes = 0
        while self._wants_probe(claimed, one, overlap, probes, now_ms) and await self._has_both(claimed):
            key = other
            probes += 1
            one = await self._try(claimed, claimed.attempt + probes, "probe", key, overlap, begun_ms=now_ms)
            tries.append(one)
            overlap = self._overlap(endpoint) or overlap
        if probes and one.outcome.kind != "succeeded":
            changed = after_failed_probe(overlap, now_ms=one.ended_ms)
        if one.outcome.kind == "succeeded" and (after := after_success(overlap, with_old=key == "old")) != overlap:
            changed = after
        if changed is not None:
            _keep(self._overlaps, endpoint.row_id, (endpoint.secret_enc, changed), OVERLAPS_KEPT)
        return Finished(
            claimed,
            endpoint.row_id,
            one.outcome,
            one.ended_ms,
            tuple([each.attempt for each in tries]),
            tuple([each.timings for each in tries]),
            one.is_ours,
            changed,
        )

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

    async def _try(
        self,
        claimed: Claimed,
        number: int,
        kind: AttemptKind,
        key: Key,
        overlap: Overlap,
        *,
        begun_ms: int | None = None,
    ) -> _Try:
        begin = functools.partial(self._begin_try, claimed, number, kind, key, overlap, begun_ms=begun_ms)
        return self._tried(await awaited(begin))

    def _begin_try(
        self,
        claimed: Claimed,
        number: int,
        kind: AttemptKind,
        key: Key,
        overlap: Overlap | None,
        done: Callable[[_Trying], None],
        *,
        begun_ms: int | None = None,
    ) -> GiveUp:
        """One request; with `begun_ms`, when the attempt's first began, a probe, which ends before the lease does."""
        trying = _Trying(claimed, number, kind, None if overlap is None else key, self._clock, done)
        endpoint = claimed.endpoint
        try:
            opened = trying.opened = self._open(endpoint)
            if opened.refused is None:
                traceparent = claimed.event.traceparent if trying.span is None else trying.span.traceparent
                headers = self._headers(claimed, opened, key, overlap, trying.started_ms, traceparent)
                trying.headers = headers
                total_s = self._total_timeout_s if endpoint.timeout_ms is None else endpoint.timeout_ms / 1000
                if begun_ms is not None:
                    # A lease holds two timeouts, and a last chance is three requests.
                    total_s = min(total_s, max(2 * total_s - (trying.started_ms - begun_ms) / 1000, LEAST_TIMEOUT_S))
                connect_s = min(self._connect_timeout_s, total_s)
                return self._exchange.begin(
                    Request(endpoint.url, headers, claimed.event.body, connect_s, total_s, len(opened.headers)),
                    trying.answered,
                )
        except Exception as error:
            trying.error = error
        return asyncio.get_running_loop().call_soon(done, trying).cancel

    def _tried(self, trying: _Trying) -> _Try:
        error, answer, opened = trying.error, trying.answer, trying.opened
        if error is None:
            try:
                if answer is not None:
                    return _recorded(trying, judge_answer(answer, trying.ended_ms), answer, answer.detail)
                return _recorded(trying, silence("refused_address"), None, None if opened is None else opened.refused)
            except Exception as unforeseen:
                error = unforeseen
        # Ours, not the stranger's: a secret that does not open, a fault in an exchange. The others go on.
        log.error(
            "deliveries: attempt %d of %s could not be made",
            trying.number,
            trying.claimed.id,
            extra=trying.claimed.log_ids,
            exc_info=error,
        )
        detail = f"the attempt could not be made: {type(error).__name__}"
        return _recorded(trying, silence("connect"), None, detail, is_ours=True)

    @staticmethod
    def _headers(
        claimed: Claimed, opened: _Opened, key: Key, overlap: Overlap | None, now_ms: int, traceparent: str | None
    ) -> Headers:
        event = claimed.event
        first, second = opened.secret, opened.old_secret if has_old(overlap, now_ms=now_ms) else None
        if key == "old" and second is not None:
            first, second = second, first
        headers = [*opened.headers, (HEADER, first.sign(event.body, timestamp_ms=now_ms))]
        if claimed.endpoint.standard_webhooks:
            keys = [signer.secret.encode() for signer in (first, second) if signer is not None]
            headers += standard.headers(event.body, event.id, keys, now_ms=now_ms)
        return (*headers, *last_headers(claimed.origin, traceparent, event.object_sequence))

    # -- secrets -------------------------------------------------------------------------------------------------

    def _open(self, endpoint: ClaimedEndpoint) -> _Opened:
        sealed = (endpoint.url, endpoint.secret_enc, endpoint.old_secret_enc, endpoint.headers_enc)
        known = self._opened.get(endpoint.row_id)
        if known is not None and known.sealed == sealed:
            return known
        headers, sensitive = own_headers(endpoint.headers_enc, self._decrypt)
        opened = _Opened(
            sealed,
            None if self._refuse_url is None else self._refuse_url(endpoint.environment, endpoint.url),
            Signer(self._decrypt(endpoint.secret_enc)),
            None if endpoint.old_secret_enc is None else Signer(self._decrypt(endpoint.old_secret_enc)),
            first_headers(headers),
            sensitive,
        )
        _keep(self._opened, endpoint.row_id, opened, OPENED_KEPT)
        return opened

    def _overlap(self, endpoint: ClaimedEndpoint) -> Overlap | None:
        if endpoint.old_secret_enc is None or endpoint.old_secret_until_ms is None:
            return None
        known = self._overlaps.get(endpoint.row_id)
        if known is not None and known[0] == endpoint.secret_enc:
            return known[1]
        return Overlap(
            endpoint.old_secret_until_ms,
            bool(endpoint.signs_with_old),
            endpoint.probe_failures,
            endpoint.probe_after_ms,
        )

    async def _has_both(self, claimed: Claimed) -> bool:
        try:
            current = await self._current_secrets(claimed.endpoint.row_id)
        except Exception as error:
            # Without an answer there is no probe: the schedule has other tries.
            log.warning("deliveries: no probe of %s: %s", claimed.id, type(error).__name__, extra=claimed.log_ids)
            return False
        return current == (claimed.endpoint.secret_enc, claimed.endpoint.old_secret_enc)


def _finished(claimed: Claimed, one: _Try) -> Finished:
    row = claimed.endpoint.row_id
    return Finished(claimed, row, one.outcome, one.ended_ms, (one.attempt,), (one.timings,), one.is_ours)


def _recorded(
    trying: _Trying, outcome: Outcome, answer: Answer | None, detail: str | None, *, is_ours: bool = False
) -> _Try:
    claimed, opened = trying.claimed, trying.opened
    timings = None if answer is None else answer.timings
    duration_ms = trying.ended_ms - trying.started_ms if timings is None else round(timings.total_ms)
    if outcome.kind != "succeeded" or log.isEnabledFor(logging.DEBUG):
        _log_attempt(claimed, trying.number, outcome, duration_ms)
    if trying.span is not None:
        end_attempt(trying.span, claimed, trying.number, trying.kind, outcome, answer, ended_ns=trying.ended_ns)
    attempt = Attempt(
        delivery_row=claimed.row_id,
        number=trying.number,
        kind=trying.kind,
        outcome=outcome.kind,
        reason=outcome.reason,
        status=outcome.status,
        started_ms=trying.started_ms,
        duration_ms=duration_ms,
        evidence=evidence_of(
            claimed.endpoint.url,
            claimed.endpoint.version,
            trying.headers,
            answer,
            detail,
            fixed=0 if opened is None else len(opened.headers),
            sensitive=frozenset() if opened is None else opened.sensitive,
            signed_with=trying.key,
        ),
    )
    is_ours = is_ours or (answer is not None and answer.error == "local")
    return _Try(outcome, trying.ended_ms, attempt, timings, is_ours)


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
        evidence=evidence_of(
            claimed.endpoint.url,
            claimed.endpoint.version,
            (),
            None,
            "its sender stopped before the end of this attempt was recorded",
        ),
    )
    return Finished(claimed, claimed.endpoint.row_id, UNKNOWN, now_ms, (attempt,), (None,), is_ours=True)


def own_headers(headers_enc: str | None, decrypt: Callable[[str], str]) -> tuple[Headers, frozenset[str]]:
    """An endpoint's own headers, opened; and the names, in lower case, of those whose values are not shown."""
    if headers_enc is None:
        return (), frozenset()
    own = json.loads(decrypt(headers_enc))
    return (
        tuple((name, value) for name, value, _ in own),
        frozenset(name.lower() for name, _, is_marked in own if is_marked),
    )


def first_headers(own: Headers) -> Headers:
    """What comes before the signature: what each request has, and the endpoint's own."""
    first = [("Content-Type", "application/json")]
    if not any(name.lower() == "user-agent" for name, _ in own):
        first.append(("User-Agent", USER_AGENT))
    return (*first, *own)


def last_headers(origin: DeliveryOrigin, traceparent: str | None, object_sequence: int | None) -> Headers:
    """What comes after the signature: what tells of the delivery and is not signed."""
    headers: list[tuple[str, str]] = []
    if origin != "published":
        headers.append((ORIGIN_HEADER, origin))
    if traceparent is not None:
        headers.append((TRACEPARENT_HEADER, traceparent))
    if object_sequence is not None:
        headers.append((SEQUENCE_HEADER, str(object_sequence)))
    return tuple(headers)


def _keep(kept: dict[int, Any], endpoint_row: int, value: object, most: int) -> None:
    kept.pop(endpoint_row, None)
    kept[endpoint_row] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def judge_answer(answer: Answer, now_ms: int) -> Outcome:
    """What an answer, or none, means for a delivery."""
    if answer.status is None:
        return silence(_SILENCES[answer.error or "local"])
    if 200 <= answer.status <= 299:
        return _plain(answer.status)
    retry_after = next((value for name, value in answer.headers if name.lower() == "retry-after"), None)
    if retry_after is None:
        return _plain(answer.status)
    return judge(answer.status, retry_after=retry_after, now_ms=now_ms)


@functools.lru_cache(maxsize=1024)
def _plain(status: int) -> Outcome:
    """Without a time to wait an answer means the same at any time."""
    return judge(status, retry_after=None, now_ms=0)


def _log_attempt(claimed: Claimed, number: int, outcome: Outcome, duration_ms: int) -> None:
    """A line per attempt that failed; per success only where debug is asked for: there are thousands a second."""
    level = logging.DEBUG if outcome.kind == "succeeded" else logging.INFO
    if log.isEnabledFor(level):
        log.log(
            level,
            "delivery %s of event %s: attempt %d %s (%s) in %d ms",
            claimed.id,
            claimed.event.id,
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
