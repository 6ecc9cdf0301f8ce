"""Does an endpoint do what the guide asks of it? Six checks, each a few real requests, signed as every delivery is.

| check         | what is sent                                          | passed                                |
|---------------|-------------------------------------------------------|---------------------------------------|
| valid         | a signed event                                        | 2xx; a warning where it took over 2 s |
| wrong_secret  | another event, signed with another secret             | 4xx                                   |
| old_timestamp | another event, signed ten minutes ago                 | 4xx                                   |
| duplicate     | one event twice                                       | 2xx twice                             |
| out_of_order  | `dsync.group.user_added`, then the user and the group | 2xx each                              |
| stale         | a user's newer state, then an older one               | 2xx twice, and the newer one is kept  |

Whether a duplicate was taken in once and the newer state kept is not to be seen from outside: an `Observer` of the
receiver tells, where there is one; without it `stale` is `unknown`. The objects in these events are made up anew for
each check, and taken away again at its end by deletions. Every request is marked as test traffic.

Needs no database: the command asks an endpoint of anybody's, by its URL and secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from hookline.sender.advice import advice_for
from hookline.sender.attempt import ORIGIN_HEADER, first_headers, judge_answer
from hookline.sender.evidence import shown_headers
from hookline.sender.http import CONNECT_TIMEOUT_S, TOTAL_TIMEOUT_S, Headers, Request
from hookline.sender.ids import IdMaker
from hookline.wire import standard
from hookline.wire.catalogue import sample
from hookline.wire.event import encode_event
from hookline.wire.signature import HEADER, sign
from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.http import Exchange

CheckName: TypeAlias = Literal["valid", "wrong_secret", "old_timestamp", "duplicate", "out_of_order", "stale"]
Verdict: TypeAlias = Literal["passed", "warning", "failed", "unknown"]

CHECKS: Final[tuple[CheckName, ...]] = (
    "valid",
    "wrong_secret",
    "old_timestamp",
    "duplicate",
    "out_of_order",
    "stale",
)
SLOW_MS: Final = 2_000
"""An answer that takes longer is worked for while the sender waits (the guide: respond immediately)."""
OLD_MS: Final = 600_000
"""Twice the widest tolerance of an official SDK."""
MOST_S: Final = 60.0
"""How long all checks together may take. What is under way then is the last."""
_APART_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request and what came of it.

    Attributes:
        what: the event and how it was signed, for people.
        headers: as sent, without a whole signature or anything that is secret.
        reason: as of an attempt (rules/response.py).
        error: why no answer came.
    """

    what: str
    event_id: str
    event_type: str
    headers: Headers
    status: int | None
    reason: str
    error: str | None
    duration_ms: int

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299

    @property
    def is_refused(self) -> bool:
        """Answered as a forged request should be: 4xx that is about the request, not about its rate or time."""
        return self.status is not None and 400 <= self.status <= 499 and self.status not in _NOT_ABOUT_IT

    @property
    def came(self) -> str:
        """What came, in a word or two."""
        return self.error or self.reason if self.status is None else str(self.status)


@dataclass(frozen=True, slots=True)
class CheckLine:
    """The verdict of one check: what was expected, what came, and what the guide advises where it was not that."""

    name: CheckName
    title: str
    verdict: Verdict
    expected: str
    came: str
    advice: str | None
    requests: tuple[SentRequest, ...]


@dataclass(frozen=True, slots=True)
class Conformance:
    """All checks of an endpoint, in their order."""

    url: str
    started_ms: int
    lines: tuple[CheckLine, ...]

    @property
    def has_failed(self) -> bool:
        return any(line.verdict == "failed" for line in self.lines)


class Observer(Protocol):
    """Sees what became of events in a receiver of ours; each call waits a few seconds at most for work under way."""

    async def times_kept(self, event_id: str) -> int | None:
        """How often an event was taken in; None where that cannot be told."""

    async def is_applied(self, event_id: str) -> bool | None:
        """Whether what was taken in has been worked off; None where that cannot be told."""

    async def row(self, resource: str, object_id: str) -> Mapping[str, Any] | None:
        """The mirrored object as it is shown; None where there is none."""


async def check_endpoint(
    url: str,
    secret: str,
    exchange: Exchange,
    *,
    clock: Clock,
    ids: IdMaker | None = None,
    headers: Headers = (),
    sensitive: frozenset[str] = frozenset(),
    also_standard: bool = False,
    refuse_url: Callable[[str], str | None] | None = None,
    observer: Observer | None = None,
    timeout_s: float = TOTAL_TIMEOUT_S,
    most_s: float = MOST_S,
    told: Callable[[CheckLine], None] | None = None,
) -> Conformance:
    """Make the six checks, one after the other.

    Where the valid event is not accepted nothing else is sent: a refusal of what is refused anyway proves nothing.

    Args:
        secret: what the endpoint verifies with. Never in what is returned.
        exchange: how HTTP is spoken; the caller closes it.
        headers: the endpoint's own, sent with each request.
        sensitive: names of those, in lower case, whose values are not to be shown.
        also_standard: whether the headers of Standard Webhooks are sent as well.
        refuse_url: asked first; says why the URL must not be called, or None.
        observer: sees what became of the events, where the endpoint is a receiver of ours.
        timeout_s: of one request.
        most_s: of all together; what is not begun by then is `unknown`.
        told: called with each line as soon as there is one.
    """
    run = _Run(
        url=url,
        secret=secret,
        exchange=exchange,
        clock=clock,
        ids=ids or IdMaker(),
        headers=headers,
        sensitive=sensitive,
        also_standard=also_standard,
        observer=observer,
        timeout_s=timeout_s,
        ends_at=asyncio.get_running_loop().time() + most_s,
    )
    started_ms = clock.now_ms()
    refused = None if refuse_url is None else refuse_url(url)
    lines: list[CheckLine] = []
    checks = (run.valid, run.wrong_secret, run.old_timestamp, run.duplicate, run.out_of_order, run.stale)
    for name, check in zip(CHECKS, checks, strict=True):
        if refused is not None:
            line = _not_made(name, f"nothing was sent: {refused}", advice_for("refused_address", None).to_do)
            line = replace(line, verdict="failed") if name == "valid" else line
        elif lines and lines[0].verdict == "failed":
            line = _not_made(name, "not made: the valid event was not accepted, so that a refusal would prove nothing")
        elif run.is_late:
            line = _not_made(name, f"not made: the checks before it took {most_s:g} s")
        else:
            line = await check()
        lines.append(line)
        if told is not None:
            told(line)
    await run.take_away()
    return Conformance(url, started_ms, tuple(lines))


_TITLES: Final[Mapping[CheckName, tuple[str, str]]] = {
    "valid": ("A valid event is accepted", "2xx within 2 s"),
    "wrong_secret": ("A wrong signature is refused", "4xx"),
    "old_timestamp": ("An old timestamp is refused", "4xx"),
    "duplicate": ("A duplicate is accepted and ignored", "2xx, 2xx"),
    "out_of_order": ("Events out of order are accepted", "2xx, 2xx, 2xx"),
    "stale": ("A stale update changes nothing", "2xx, 2xx, and the newer state is kept"),
}
# A timeout, two requests at once, too early, too many.
_NOT_ABOUT_IT: Final = frozenset({408, 409, 425, 429})
_AT_ONCE: Final = "answer 200 as soon as the event is stored, and process it in a background worker"
_VERIFY: Final = "verify the signature of every request over its raw body, and answer 400 or 401 where it does not hold"
_RECENT: Final = "compare the signed timestamp with the clock, with a tolerance of 3 to 5 minutes"
_IDEMPOTENT: Final = (
    "answer 200 to an event that came before: keep the ids of events and ignore the second, or make each write "
    "idempotent"
)
_UPSERT: Final = (
    "accept events in any order: each has the whole object, so upsert from its payload, and wait for nothing that came "
    "before"
)
_NEWER: Final = (
    "accept what is old, and compare its updated_at with the one you hold before you write: a retry of an older event "
    "may come after a newer one"
)


class _Run:
    """One pass through the checks: what it sends, and what it has made."""

    def __init__(
        self,
        *,
        url: str,
        secret: str,
        exchange: Exchange,
        clock: Clock,
        ids: IdMaker,
        headers: Headers,
        sensitive: frozenset[str],
        also_standard: bool,
        observer: Observer | None,
        timeout_s: float,
        ends_at: float,
    ) -> None:
        self._url = url
        self._secret = secret
        self._exchange = exchange
        self._clock = clock
        self._ids = ids
        self._headers = headers
        self._sensitive = sensitive
        self._also_standard = also_standard
        self._observer = observer
        self._timeout_s = timeout_s
        self._ends_at = ends_at
        now_ms = clock.now_ms()
        self._directory_id = ids.make("directory", now_ms)
        self._created_ms = now_ms - 10 * _APART_MS
        self._made: dict[str, tuple[str, dict[str, Any]]] = {}

    @property
    def is_late(self) -> bool:
        return asyncio.get_running_loop().time() >= self._ends_at

    # -- the checks ------------------------------------------------------------------------------------------------

    async def valid(self) -> CheckLine:
        """One event, as every delivery is."""
        sent = await self._send("dsync.user.created", self._user(), "signed now")
        if sent.is_accepted:
            if sent.duration_ms > SLOW_MS:
                return _line("valid", "warning", [sent], _AT_ONCE)
            return _line("valid", "passed", [sent])
        return _line("valid", "failed", [sent], advice_for(sent.reason, sent.status).to_do)

    async def wrong_secret(self) -> CheckLine:
        """A forged one."""
        wrong = f"{self._secret}_wrong"
        sent = await self._send("dsync.user.created", self._user(), "signed with a wrong secret", secret=wrong)
        return await self._refusal("wrong_secret", sent, _VERIFY)

    async def old_timestamp(self) -> CheckLine:
        """A replayed one."""
        sent = await self._send("dsync.user.created", self._user(), "signed ten minutes ago", age_ms=OLD_MS)
        return await self._refusal("old_timestamp", sent, _RECENT)

    async def duplicate(self) -> CheckLine:
        """The same id and bytes twice, each signed anew as a retry is."""
        event = self._event("dsync.user.created", self._user())
        sent = [
            await self._send_event(event, "signed now"),
            await self._send_event(event, "the same event again, signed anew"),
        ]
        line = _accepted("duplicate", sent, _IDEMPOTENT)
        if line.verdict == "failed" or self._observer is None:
            return line
        times = await self._observer.times_kept(event.id)
        if times is None:
            return line
        if times == 1:
            return replace(line, came=f"{line.came}; taken in once")
        return replace(line, verdict="failed", came=f"{line.came}; taken in {times} times", advice=_IDEMPOTENT)

    async def out_of_order(self) -> CheckLine:
        """A membership before the user and the group it is between."""
        user, group = self._user(), self._group()
        sent = [
            await self._send("dsync.group.user_added", self._added(user, group), "before its user and its group"),
            await self._send("dsync.user.created", user, "the user"),
            await self._send("dsync.group.created", group, "the group"),
        ]
        line = _accepted("out_of_order", sent, _UPSERT)
        if line.verdict == "failed" or self._observer is None or not await self._observer.is_applied(sent[-1].event_id):
            return line
        if await self._observer.row("directory_membership", f"{group['id']}/{user['id']}") is None:
            return replace(line, verdict="failed", came=f"{line.came}; the membership is missing", advice=_UPSERT)
        return replace(line, came=f"{line.came}; the membership is there")

    async def stale(self) -> CheckLine:
        """A newer state, then one of a minute before."""
        newer = self._user(last_name="Newer")
        older = newer | {
            "last_name": "Older",
            "name": "Conformance Older",
            "updated_at": format_ms((self._clock.now_ms() - _APART_MS) * 1000),
        }
        sent = [
            await self._send("dsync.user.updated", newer, "the newer state"),
            await self._send("dsync.user.updated", older, "the state of a minute before", created_age_ms=_APART_MS),
        ]
        line = _accepted("stale", sent, _NEWER)
        if line.verdict == "failed":
            return line
        if self._observer is None or not await self._observer.is_applied(sent[-1].event_id):
            unseen = "; which state was kept is only to be seen in a receiver of ours"
            return replace(line, verdict="unknown", came=line.came + unseen, advice=_NEWER)
        row = await self._observer.row("directory_user", newer["id"])
        if row is not None and row.get("last_name") == "Newer":
            return replace(line, came=f"{line.came}; the newer state was kept")
        return replace(line, verdict="failed", came=f"{line.came}; the older state was written", advice=_NEWER)

    async def take_away(self) -> None:
        """Delete what the events have made at the other end, as far as the time allows."""
        for resource, data in list(self._made.values()):
            if self.is_late:
                return
            gone = data | {"state": "inactive"} if resource == "user" else data
            await self._send(f"dsync.{resource}.deleted", gone, "taken away again")

    async def _refusal(self, name: CheckName, sent: SentRequest, advice: str) -> CheckLine:
        if sent.is_accepted:
            return _line(name, "failed", [sent], advice)
        if sent.is_refused:
            if self._observer is not None and await self._observer.times_kept(sent.event_id):
                line = _line(name, "failed", [sent], advice)
                return replace(line, came=f"{line.came}; it was taken in all the same")
            return _line(name, "passed", [sent])
        if sent.status is None or sent.status in _NOT_ABOUT_IT:
            return _line(name, "unknown", [sent], "make the check again: this answer was about something else")
        said = f"it was not accepted, and {sent.status} is no refusal: a sender tries again"
        return _line(name, "warning", [sent], f"{said}; {_VERIFY}")

    # -- what is sent ----------------------------------------------------------------------------------------------

    def _user(self, *, last_name: str = "Check") -> dict[str, Any]:
        now_ms = self._clock.now_ms()
        return sample("dsync.user.created") | {
            "id": self._ids.make("directory_user", now_ms),
            "directory_id": self._directory_id,
            "organization_id": None,
            "idp_id": "conformance-check",
            "email": "conformance-check@example.com",
            "first_name": "Conformance",
            "last_name": last_name,
            "name": f"Conformance {last_name}",
            "created_at": format_ms(self._created_ms * 1000),
            "updated_at": format_ms(now_ms * 1000),
        }

    def _group(self) -> dict[str, Any]:
        now_ms = self._clock.now_ms()
        return sample("dsync.group.created") | {
            "id": self._ids.make("directory_group", now_ms),
            "directory_id": self._directory_id,
            "organization_id": None,
            "idp_id": "conformance-check",
            "name": "Conformance check",
            "created_at": format_ms(self._created_ms * 1000),
            "updated_at": format_ms(now_ms * 1000),
        }

    def _added(self, user: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
        return {"directory_id": self._directory_id, "user": dict(user), "group": dict(group)}

    def _event(self, event_type: str, data: dict[str, Any], *, created_age_ms: int = 0) -> _Event:
        now_ms = self._clock.now_ms()
        event_id = self._ids.make("event", now_ms)
        created_us = (now_ms - created_age_ms) * 1000
        body = encode_event(event_id=event_id, event_type=event_type, data=data, created_us=created_us)
        return _Event(event_id, event_type, data, body)

    async def _send(
        self,
        event_type: str,
        data: dict[str, Any],
        what: str,
        *,
        secret: str | None = None,
        age_ms: int = 0,
        created_age_ms: int = 0,
    ) -> SentRequest:
        event = self._event(event_type, data, created_age_ms=created_age_ms)
        return await self._send_event(event, what, secret=secret, age_ms=age_ms)

    async def _send_event(self, event: _Event, what: str, *, secret: str | None = None, age_ms: int = 0) -> SentRequest:
        """One request; signed `age_ms` ago with the endpoint's secret, or another."""
        now_ms = self._clock.now_ms()
        headers = self._signed(event, secret or self._secret, now_ms - age_ms)
        total_s = max(0.1, min(self._timeout_s, self._ends_at - asyncio.get_running_loop().time()))
        request = Request(self._url, headers, event.body, min(CONNECT_TIMEOUT_S, total_s), total_s)
        answer = await self._exchange.send(request)
        sent = SentRequest(
            what=f"{event.type}, {what}",
            event_id=event.id,
            event_type=event.type,
            headers=shown_headers(answer.sent_headers or headers, self._sensitive),
            status=answer.status,
            reason=judge_answer(answer, self._clock.now_ms()).reason,
            error=answer.detail if answer.status is None else None,
            duration_ms=round(answer.timings.total_ms),
        )
        _, resource, verb = event.type.split(".")
        if sent.is_accepted and verb in {"created", "updated"}:
            self._made[event.data["id"]] = (resource, event.data)
        return sent

    def _signed(self, event: _Event, secret: str, signed_ms: int) -> Headers:
        headers = [*first_headers(self._headers), (HEADER, sign(event.body, secret, timestamp_ms=signed_ms))]
        if self._also_standard:
            headers += standard.headers(event.body, event.id, [secret.encode()], now_ms=signed_ms)
        return (*headers, (ORIGIN_HEADER, "test"))


@dataclass(frozen=True, slots=True)
class _Event:
    id: str
    type: str
    data: dict[str, Any]
    body: bytes


def _line(name: CheckName, verdict: Verdict, requests: Sequence[SentRequest], advice: str | None = None) -> CheckLine:
    title, expected = _TITLES[name]
    came = ", ".join(one.came for one in requests)
    if name == "valid" and requests[-1].status is not None:
        came = f"{came} in {requests[-1].duration_ms} ms"
    return CheckLine(name, title, verdict, expected, came, advice, tuple(requests))


def _not_made(name: CheckName, why: str, advice: str | None = None) -> CheckLine:
    title, expected = _TITLES[name]
    return CheckLine(name, title, "unknown", expected, why, advice, ())


def _accepted(name: CheckName, requests: Sequence[SentRequest], advice: str) -> CheckLine:
    """All of them with 2xx: passed, with a warning where one was slow."""
    refused = next((one for one in requests if not one.is_accepted), None)
    if refused is not None:
        if refused.status is None:
            return _line(name, "failed", requests, advice_for(refused.reason, None).to_do)
        # 409 is how some say "again"; to a sender it is a failure, and it tries again.
        is_about_it = refused.status == 409 or refused.status not in _NOT_ABOUT_IT
        return _line(name, "failed" if is_about_it else "unknown", requests, advice)
    is_slow = any(one.duration_ms > SLOW_MS for one in requests)
    return _line(name, "warning" if is_slow else "passed", requests, _AT_ONCE if is_slow else None)
