"""Does an endpoint take every event that may come: again, out of order, out of date, of an unknown type, large?

Whether a duplicate was taken in once and the newer state kept is judged only where an observer can see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hookline.sender.advice import advice_for
from hookline.sender.conformance_model import Check, Found, SentRequest, came_of
from hookline.sender.conformance_requests import APART_MS

if TYPE_CHECKING:
    from hookline.sender.conformance_requests import Requests

LARGE_BYTES: Final = 1024 * 1024
"""A large group's or user's event; also what nginx takes unless it is told otherwise."""
_NOT_JSON: Final = b"hookline check: signed, and not JSON\n"
"""The same each time: an endpoint that keeps what it cannot read has it once."""
_NOT_JSON_ID: Final = "hookline_check_not_json"

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
_UNKNOWN: Final = "answer 200 to a type that you do not handle, and ignore it: new ones come without notice"
_PARSE: Final = (
    "answer 200 or 400 where a body cannot be parsed: an error is tried again for three days, and would fail each time"
)
_RAISE: Final = (
    "raise the largest body that the endpoint, its framework and its proxy take: 2 MiB is enough, 1 MiB may come"
)


async def _valid(requests: Requests) -> Found:
    sent = await requests.send(requests.created())
    if sent.is_accepted:
        return Found("passed", (sent,), f"{sent.came} in {sent.duration_ms} ms")
    return Found("failed", (sent,), advice=advice_for(sent.reason, sent.status).to_do)


async def _duplicate(requests: Requests) -> Found:
    """The same id and bytes twice, each signed anew as a retry is."""
    event = requests.created()
    sent = (await requests.send(event), await requests.send(event, "the same event again, signed anew"))
    if (refused := _refused(sent, _IDEMPOTENT)) is not None:
        return refused
    times = None if requests.observer is None else await requests.observer.times_kept(event.id)
    if times is None:
        return Found("passed", sent)
    if times == 1:
        return Found("passed", sent, f"{came_of(sent)}; taken in once")
    return Found("failed", sent, f"{came_of(sent)}; taken in {times} times", _IDEMPOTENT, short="taken in twice")


async def _out_of_order(requests: Requests) -> Found:
    """A membership before the user and the group it is between."""
    user, group, observer = requests.user(), requests.group(), requests.observer
    added = requests.event("dsync.group.user_added", requests.membership(user, group))
    last = requests.event("dsync.group.created", group)
    sent = (
        await requests.send(added, "before its user and its group"),
        await requests.send(requests.event("dsync.user.created", user), "the user"),
        await requests.send(last, "the group"),
    )
    if (refused := _refused(sent, _UPSERT)) is not None:
        return refused
    if observer is None or not await observer.is_applied(last.id):
        return Found("passed", sent)
    if await observer.row("directory_membership", f"{group['id']}/{user['id']}") is None:
        return Found("failed", sent, f"{came_of(sent)}; the membership is missing", _UPSERT, short="lost")
    return Found("passed", sent, f"{came_of(sent)}; the membership is there")


async def _stale(requests: Requests) -> Found:
    """A user's newer state, then the one of a minute before."""
    newer, observer = requests.user(last_name="Newer"), requests.observer
    older = requests.user(last_name="Older", age_ms=APART_MS) | {"id": newer["id"]}
    late = requests.event("dsync.user.updated", older, created_age_ms=APART_MS)
    sent = (
        await requests.send(requests.event("dsync.user.updated", newer), "the newer state"),
        await requests.send(late, "the state of a minute before"),
    )
    if (refused := _refused(sent, _NEWER)) is not None:
        return refused
    if observer is None or not await observer.is_applied(late.id):
        unseen = f"{came_of(sent)}; which state was kept is only to be seen in a receiver of ours"
        return Found("unknown", sent, unseen, _NEWER)
    row = await observer.row("directory_user", newer["id"])
    if row is not None and row.get("last_name") == "Newer":
        return Found("passed", sent, f"{came_of(sent)}; the newer state was kept")
    return Found("failed", sent, f"{came_of(sent)}; the older state was written", _NEWER, short="written")


async def _unknown_type(requests: Requests) -> Found:
    sent = (await requests.send(requests.unknown()),)
    return _refused(sent, _UNKNOWN) or Found("passed", sent)


async def _not_json(requests: Requests) -> Found:
    sent = await requests.post(_NOT_JSON, "a signed body that is not JSON", signed_as=_NOT_JSON_ID)
    if sent.is_accepted or sent.is_refused:
        return Found("passed", (sent,))
    if sent.is_redirect:
        return Found("warning", (sent,), advice=_PARSE, short="redirected")
    return Found("failed" if sent.is_about_it or sent.status is None else "unknown", (sent,), advice=_PARSE)


async def _large_body(requests: Requests) -> Found:
    sent = (await requests.send(requests.created_of(LARGE_BYTES), "of 1 MiB"),)
    return _refused(sent, _RAISE) or Found("passed", sent)


def _refused(requests: Sequence[SentRequest], advice: str) -> Found | None:
    """What it comes to that one of them was not accepted; None where all were."""
    first = next((one for one in requests if not one.is_accepted), None)
    if first is None:
        return None
    if first.status is None:
        return Found("failed", tuple(requests), advice=advice_for(first.reason, None).to_do)
    # 409 is how some say "again"; to a sender it is a failure, and it tries again.
    is_about_it = first.status == 409 or first.is_about_it
    return Found("failed" if is_about_it else "unknown", tuple(requests), advice=advice)


VALID_ACCEPTED: Final = Check(
    name="valid",
    title="A valid event is accepted",
    subject="valid event",
    good="accepted",
    bad="not accepted",
    sent="a valid event",
    expected="2xx",
    ask=_valid,
)
DUPLICATE_ACCEPTED: Final = Check(
    name="duplicate",
    title="A duplicate is accepted and ignored",
    subject="duplicate",
    good="accepted quietly",
    bad="not accepted",
    sent="the same event twice",
    expected="2xx, 2xx",
    ask=_duplicate,
)
OUT_OF_ORDER_ACCEPTED: Final = Check(
    name="out_of_order",
    title="Events out of order are accepted",
    subject="out-of-order sequence",
    good="accepted",
    bad="not accepted",
    sent="a membership before its user and its group",
    expected="2xx, 2xx, 2xx",
    ask=_out_of_order,
)
STALE_IGNORED: Final = Check(
    name="stale",
    title="A stale update changes nothing",
    subject="stale update",
    good="ignored",
    bad="not accepted",
    sent="an older state after a newer one",
    expected="2xx, 2xx, and the newer state is kept",
    ask=_stale,
)
UNKNOWN_TYPE_ACCEPTED: Final = Check(
    name="unknown_type",
    title="An event of an unknown type is accepted",
    subject="unknown event type",
    good="accepted",
    bad="not accepted",
    sent="an event of a type that nobody handles",
    expected="2xx",
    ask=_unknown_type,
)
NOT_JSON_BORNE: Final = Check(
    name="not_json",
    title="A signed body that is not JSON is no error",
    subject="signed body, not JSON,",
    good="answered",
    bad="met an error",
    sent="a signed body that is not JSON",
    expected="2xx or 4xx",
    ask=_not_json,
)
LARGE_BODY_ACCEPTED: Final = Check(
    name="large_body",
    title="A large event is accepted",
    subject="event of 1 MiB",
    good="accepted",
    bad="not accepted",
    sent="an event of 1 MiB",
    expected="2xx",
    ask=_large_body,
)
