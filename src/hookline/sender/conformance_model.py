"""What a conformance check is made of: the question, the requests it asked by, and the verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from hookline.sender.conformance_requests import Requests
    from hookline.sender.http import Headers

CheckName: TypeAlias = Literal[
    "valid",
    "slow_ack",
    "wrong_secret",
    "missing_signature",
    "old_timestamp",
    "future_timestamp",
    "tampered_body",
    "duplicate",
    "out_of_order",
    "stale",
    "unknown_type",
    "not_json",
    "large_body",
    "oversize",
    "content_type",
    "other_methods",
    "trailing_slash",
    "burst",
]
Verdict: TypeAlias = Literal["passed", "warning", "failed", "unknown"]

DOCS: Final = "docs/check.md"
"""Its headings are the checks' names."""
SLOW_MS: Final = 2_000
"""An answer that takes longer is worked for while the sender waits (the guide: respond immediately)."""
# A timeout, two requests at once, too early, too many.
_NOT_ABOUT_IT: Final = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request and what came of it.

    Attributes:
        what: the event and how it was signed, or what else was sent; for people.
        event_id: None where no event was sent.
        headers: as sent, without a whole signature or anything that is secret.
        reason: as of an attempt (rules/response.py).
        error: why no answer came.
        location: where a redirect leads.
        duration_ms: everything, a new connection too.
        waited_ms: from the request sent to the answer's first byte.
    """

    what: str
    event_id: str | None
    event_type: str | None
    headers: Headers
    status: int | None
    reason: str
    error: str | None
    location: str | None
    duration_ms: int
    waited_ms: int

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299

    @property
    def is_redirect(self) -> bool:
        return self.status is not None and 300 <= self.status <= 399

    @property
    def is_refused(self) -> bool:
        """Answered as a forged request should be: 4xx that is about the request, not about its rate or time."""
        return self.status is not None and 400 <= self.status <= 499 and self.status not in _NOT_ABOUT_IT

    @property
    def is_broken(self) -> bool:
        """Answered as by a program that met what it did not expect."""
        return self.status is not None and self.status >= 500

    @property
    def is_about_it(self) -> bool:
        """Whether the answer says something of this request at all, and not of its rate or of the time."""
        return self.status is not None and self.status not in _NOT_ABOUT_IT

    @property
    def may_be_taken(self) -> bool:
        """Whether the endpoint may have what was sent: it said so, or took it and said nothing."""
        return self.is_accepted or self.reason in {"timeout", "reset"}

    @property
    def came(self) -> str:
        """What came, in a word or two."""
        if self.status is None:
            return self.error or self.reason
        return str(self.status) if self.location is None else f"{self.status} to {self.location}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a check has found.

    Attributes:
        came: what came, where the requests' answers in their order do not say it.
        advice: what to do, where something is to be done.
        short: what the endpoint did, after the check's `subject`, where neither `good` nor `bad` says it.
    """

    verdict: Verdict
    requests: tuple[SentRequest, ...] = ()
    came: str | None = None
    advice: str | None = None
    short: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the check.

    Attributes:
        title: what is asked of the endpoint, as a sentence.
        subject, good, bad: the same in a few words: `old timestamp`, `refused`, `accepted`.
        sent: what is sent.
        expected: what passes.
        ask: sends it and judges what comes.
    """

    name: CheckName
    title: str
    subject: str
    good: str
    bad: str
    sent: str
    expected: str
    ask: Callable[[Requests], Awaitable[Found]]


@dataclass(frozen=True, slots=True)
class CheckLine:
    """The verdict of one check: what was expected, what came, and what the guide advises where it was not that.

    Attributes:
        short: the verdict in a few words: `old timestamp accepted`.
        docs: where it is explained.
    """

    name: CheckName
    title: str
    short: str
    verdict: Verdict
    expected: str
    came: str
    advice: str | None
    docs: str
    requests: tuple[SentRequest, ...]


@dataclass(frozen=True, slots=True)
class Conformance:
    """All checks made of an endpoint, in their order.

    `left_behind`: how many made-up objects could not be deleted again at the other end.
    """

    url: str
    started_ms: int
    lines: tuple[CheckLine, ...]
    left_behind: int = 0

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


def line_of(check: Check, found: Found) -> CheckLine:
    """The verdict of a check as it is told."""
    done = {"passed": check.good, "warning": check.good, "failed": check.bad, "unknown": ""}[found.verdict]
    return CheckLine(
        name=check.name,
        title=check.title,
        short=f"{check.subject} {done if found.short is None else found.short}".rstrip(),
        verdict=found.verdict,
        expected=check.expected,
        came=came_of(found.requests) if found.came is None else found.came,
        advice=found.advice,
        docs=f"{DOCS}#{check.name}",
        requests=found.requests,
    )


def came_of(requests: Sequence[SentRequest]) -> str:
    """What came of each, in their order; of more than three alike how many: `200, 401`, `200 × 20`."""
    came = [one.came for one in requests]
    if len(came) > 2 and len(set(came)) == 1:
        return f"{came[0]} × {len(came)}"
    return ", ".join(came)
