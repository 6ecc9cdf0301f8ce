"""Does an endpoint stand where webhooks come from: does it answer at once, many together, and whatever else is asked?

What the guide does not speak of, how it answers a GET, a form, a body without end or the same path with another slash,
is judged by what it would do to the events: an error that anybody can cause, a wait that holds a worker, a loss.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from hookline.sender.advice import advice_for
from hookline.sender.conformance_model import SLOW_MS, Check, Found, SentRequest, came_of
from hookline.sender.http import Method

if TYPE_CHECKING:
    from hookline.sender.conformance_requests import Requests

OVERSIZE_BYTES: Final = 3 * 1024 * 1024
"""More than the 2 MiB of our own door, and than the 2.5 MiB of Django's default."""
AT_ONCE: Final = 20
"""A directory's first synchronisation sends thousands; so many together tell one worker from several."""
_TIMES: Final = 3
_WORKED_MS: Final = 500
"""By so much an event that is processed may be slower than one that nobody handles."""
_LONGER: Final = 2
"""So many times as long as alone a burst's answers may take: what is slow alone is `slow_ack`'s to say."""
_FORM_TYPE: Final = "application/x-www-form-urlencoded"

_STORE_FIRST: Final = "answer 200 as soon as the event is stored, and process it in a background worker"
_MANY: Final = (
    "store the event, answer 200 at once, and process it in a background worker, with several requests served at a "
    "time: a spike must not end in timeouts"
)
_LIMIT: Final = (
    "refuse a body above a limit with 413, by its Content-Length and while it is read; 2 MiB has room for every event"
)
_FORM: Final = (
    "refuse form types with 415, or verify the signature before anything else: a form is what any web page can make a "
    "browser send"
)
_METHODS: Final = "answer GET and HEAD with 200, 404 or 405: monitors, registrars and people ask by them"
_SLASH: Final = (
    "answer on both paths, or refuse the other with 404: a redirect of a POST is never followed, so that an event sent "
    "there is lost without an error at your end"
)


async def _slow_ack(requests: Requests) -> Found:
    """Events that are processed and events that need none, in turns, so that a slow line slows both."""
    worked, idle = [], []
    for _ in range(_TIMES):
        idle.append(await requests.send(requests.unknown(), "which needs no work"))
        worked.append(await requests.send(requests.created(), "which is worked for"))
    sent = tuple(one for pair in zip(idle, worked, strict=True) for one in pair)
    if (refused := next((one for one in worked if not one.is_accepted), None)) is not None:
        if refused.reason == "timeout":
            return Found("failed", sent, came_of(worked), _STORE_FIRST)
        return Found("unknown", sent, came_of(worked), advice_for(refused.reason, refused.status).to_do)
    worked_ms = _median(worked)
    if idle := [one for one in idle if one.is_accepted]:
        idle_ms = _median(idle)
        came = f"a user in {worked_ms} ms, without work {idle_ms} ms"
    else:
        idle_ms = worked_ms
        came = f"a user in {worked_ms} ms"
    if worked_ms > SLOW_MS:
        return Found("failed", sent, came, _STORE_FIRST)
    if worked_ms - idle_ms > _WORKED_MS:
        return Found("warning", sent, came, _STORE_FIRST, short="waits for the work")
    return Found("passed", sent, came)


def _median(requests: Sequence[SentRequest]) -> int:
    return round(statistics.median(one.waited_ms for one in requests))


async def _oversize(requests: Requests) -> Found:
    sent = await requests.send(requests.created_of(OVERSIZE_BYTES), "of 3 MiB")
    if sent.is_accepted:
        return Found("warning", (sent,), advice=_LIMIT, short="accepted")
    if sent.is_refused:
        return Found("passed", (sent,))
    if sent.reason == "reset":
        return Found("passed", (sent,), "the connection was closed")
    if sent.is_redirect:
        return Found("warning", (sent,), advice=_LIMIT, short="redirected")
    if sent.is_broken or sent.status is None:
        return Found("failed", (sent,), advice=_LIMIT)
    return Found("unknown", (sent,), advice=_LIMIT)


async def _content_type(requests: Requests) -> Found:
    """A form that a web page could have a browser send, and an event that is named a form."""
    form = await requests.post(b"hookline=check", "a form, not signed", content_type=_FORM_TYPE)
    if form.is_accepted:
        return Found("failed", (form,), advice=_FORM)
    if form.is_broken:
        return Found("failed", (form,), advice=_FORM, short="met an error")
    event = await requests.send(requests.created(), "signed, and named a form", content_type=_FORM_TYPE)
    sent = (form, event)
    if form.is_redirect or event.is_redirect:
        return Found("warning", sent, advice=_FORM, short="redirected")
    if event.is_broken:
        return Found("warning", sent, advice=_FORM, short="met an error")
    if not (form.is_refused and (event.is_accepted or event.is_refused)):
        return Found("unknown", sent, advice=_FORM)
    return Found("passed", sent)


async def _other_methods(requests: Requests) -> Found:
    methods: tuple[Method, ...] = ("GET", "HEAD")
    sent = tuple([await requests.ask(method) for method in methods])
    came = ", ".join(f"{one.what} {one.came}" for one in sent)
    is_well = all(one.status is not None and not one.is_broken for one in sent)
    return Found("passed", sent, came) if is_well else Found("failed", sent, came, _METHODS)


async def _trailing_slash(requests: Requests) -> Found:
    """The same event by the path with a slash at its end, or without the one that is there."""
    parts = urlsplit(requests.url)
    if not parts.path.strip("/"):
        return Found("unknown", came="not made: the path is the root, which has no other form")
    other = parts.path[:-1] if parts.path.endswith("/") else f"{parts.path}/"
    how = "to the path without its slash" if parts.path.endswith("/") else "to the path with a slash"
    sent = await requests.send(requests.created(), how, url=urlunsplit(parts._replace(path=other)))
    if sent.is_redirect:
        return Found("warning", (sent,), advice=_SLASH, short="redirected")
    if sent.is_broken:
        return Found("warning", (sent,), advice=_SLASH, short="met an error")
    if sent.is_accepted or sent.is_refused:
        return Found("passed", (sent,), short="accepted" if sent.is_accepted else "refused")
    return Found("unknown", (sent,))


async def _burst(requests: Requests) -> Found:
    """One event alone, and many at once: what waits for a worker takes longer the more there are."""
    alone = await requests.send(requests.created(), "alone")
    events = [requests.created() for _ in range(AT_ONCE)]
    sent = tuple(await asyncio.gather(*(requests.send(event, f"one of {AT_ONCE} at once") for event in events)))
    accepted = sum(one.is_accepted for one in sent)
    asked = (alone, *sent)
    if accepted < AT_ONCE:
        others = ", ".join(dict.fromkeys(one.came for one in sent if not one.is_accepted))
        return Found("failed", asked, f"{accepted} of {AT_ONCE} accepted; the others: {others}", _MANY)
    p95_ms = sorted(one.duration_ms for one in sent)[AT_ONCE * 95 // 100 - 1]
    came = f"{came_of(sent)}, p95 {p95_ms} ms, alone {alone.duration_ms} ms"
    if requests.observer is not None:
        times = [await requests.observer.times_kept(event.id) for event in events]
        if any(times) and not all(times):
            lost = sum(not one for one in times)
            return Found("failed", asked, f"{came}; {lost} of them were not taken in", _MANY, short="not all taken in")
    if p95_ms > SLOW_MS and p95_ms > _LONGER * alone.duration_ms:
        return Found("warning", asked, came, _MANY, short="answered late")
    return Found("passed", asked, came)


ANSWERED_AT_ONCE: Final = Check(
    name="slow_ack",
    title="An event is answered before it is processed",
    subject="answer",
    good="at once",
    bad="too late",
    sent=f"{_TIMES} events in turns with {_TIMES} that need no work",
    expected="2xx within 2 s, and no later than without work",
    ask=_slow_ack,
)
OVERSIZE_REFUSED: Final = Check(
    name="oversize",
    title="A body without measure is refused",
    subject="body of 3 MiB",
    good="refused",
    bad="not refused",
    sent="an event of 3 MiB",
    expected="413, another 4xx, or the connection closed",
    ask=_oversize,
)
FORM_REFUSED: Final = Check(
    name="content_type",
    title="A form is refused",
    subject="form",
    good="refused",
    bad="accepted",
    sent="a form that nobody signed, and an event that is named a form",
    expected="4xx; then 4xx, or 2xx since it is signed",
    ask=_content_type,
)
OTHER_METHODS_ANSWERED: Final = Check(
    name="other_methods",
    title="GET and HEAD are answered",
    subject="GET and HEAD",
    good="answered",
    bad="met an error",
    sent="a GET and a HEAD",
    expected="200, 404, 405: anything but 5xx",
    ask=_other_methods,
)
SLASH_ANSWERED: Final = Check(
    name="trailing_slash",
    title="A slash more or less loses nothing",
    subject="other trailing slash",
    good="answered",
    bad="redirected",
    sent="an event to the path with another slash at its end",
    expected="2xx or 404: anything but a redirect",
    ask=_trailing_slash,
)
BURST_ACCEPTED: Final = Check(
    name="burst",
    title="Many events at once are accepted",
    subject=f"burst of {AT_ONCE}",
    good="accepted",
    bad="not accepted",
    sent=f"an event alone, then {AT_ONCE} at once",
    expected=f"2xx × {AT_ONCE}, within 2 s",
    ask=_burst,
)
