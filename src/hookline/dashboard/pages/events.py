"""The event log, one event, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from hookline.dashboard.diff import differing
from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.errors import RequestError
from hookline.rules.event_search import EventSearch, NotASearch, parse_search
from hookline.sender.event_log import NEWEST, EventLog, LoggedEvent
from hookline.sender.explain import explain_event, tell_story
from hookline.sender.interventions import retry_delivery
from hookline.sender.publish import wake_deliveries
from hookline.sender.queries import DeliveryQuery, PageRequest, concerned_page, delivery_page, past_event

if TYPE_CHECKING:
    from hookline.storage import Connection

# How many events a bulk retry looks at, how many deliveries it asks for, and how many of them in one transaction.
MOST_RETRIED: Final = 500
_PER_COMMIT: Final = 50
_PILLS: Final = 5
_ENDPOINTS_SHOWN: Final = 50
_STORIES: Final = 10
_CHIPS: Final = (
    ("failed", "status", "failed"),
    ("retrying", "status", "retrying"),
    ("delivered", "status", "delivered"),
    ("held", "status", "held"),
    ("nobody subscribed", "status", "nobody"),
    ("answered 5xx", "code", "5xx"),
    ("answered 4xx", "code", "4xx"),
    ("users", "type", "dsync.user.*"),
    ("groups", "type", "dsync.group.*"),
    ("tests", "origin", "test"),
    ("last hour", "since", "1h"),
    ("last day", "since", "24h"),
)


def events(call: Call) -> Shown | SeeOther:
    """The log, the newest first; or the one thing that an id names."""
    text = call.query.get("q", "").strip()
    problems, search = FormProblems(), EventSearch()
    try:
        search = parse_search(text, call.now_ms)
    except NotASearch as error:
        problems = FormProblems({"q": str(error)})
    if search.any_id is not None:
        return SeeOther(call.link("find", query={"q": text, "environment": call.environment}))
    data: dict[str, Any] = {"q": text, "events": [], "next": None, "looked_ms": None, "newest_row": 0}
    is_first = "before" not in call.query
    if not problems:
        with call.sender.database.read() as connection:
            page = EventLog(call.sender.database.dialect).page(
                connection, call.environment, search, before_row=_row(call.query.get("before"))
            )
        data |= {
            "events": [_logged(one) for one in page.events],
            "next": page.next_row,
            "looked_ms": page.looked_ms,
            "newest_row": page.events[0].row_id if page.events else 0,
        }
    also = {
        "problems": problems,
        "chips": _chips(call, text),
        "is_first": is_first,
        "is_filtered": bool(text),
        "pills": _PILLS,
    }
    return Shown("events.html", "Events", data, also, 422 if problems else 200)


def newer(call: Call) -> Shown:
    """How many events came since the page was made: asked again and again by the page itself."""
    with call.sender.database.read() as connection:
        count = EventLog(call.sender.database.dialect).count_newer(
            connection, call.environment, _row(call.query.get("row"), 0)
        )
    return Shown("events_newer.html", "Newer events", {"count": count})


def event(call: Call) -> Shown:
    """One event: what it says, what changed since the one before, who got it and who did not, and why."""
    sender, log = call.sender, EventLog(call.sender.database.dialect)
    with sender.database.snapshot() as connection:
        found = log.event(connection, call.environment, call.params["id"])
        if found is None:
            raise RequestError(404, "entity_not_found", f"There is no event {call.params['id'][:80]} here.")
        stored = sender.store.event(connection, call.environment, found.id)
        before = log.previous(connection, call.environment, found)
        earlier = None if before is None else sender.store.event(connection, call.environment, before.id)
        past = past_event(sender.store, connection, call.environment, found.id)
        concerned = concerned_page(
            sender.store, connection, call.environment, past, None, PageRequest(limit=_ENDPOINTS_SHOWN)
        )
        findings = explain_event(sender.store, connection, past, concerned.items)
        deliveries = delivery_page(
            sender.store, connection, call.environment, DeliveryQuery(event_id=found.id), PageRequest(limit=50)
        )
        stories = [
            tell_story(sender.store, connection, call.environment, one.id, sender.schedules)
            for one in deliveries.items[:_STORIES]
        ]
    body = None if stored is None or not stored.body else _decoded(stored.body)
    previous = None if earlier is None or not earlier.body else _decoded(earlier.body)
    data = {
        **_logged(found),
        "payload": None if body is None else call.shown(body),
        "bytes": 0 if stored is None else len(stored.body),
        "previous": None
        if before is None
        else {"id": before.id, "type": before.type, "published_ms": before.published_ms},
        "changed": None if previous is None or body is None else _changed(call, previous, body),
        "findings": [
            {
                "endpoint_id": one.endpoint.id,
                "endpoint_url": one.endpoint.url,
                "verdict": one.verdict,
                "code": one.code,
                "text": one.text,
                "next_ms": one.next_ms,
                "deliveries": [delivery.id for delivery in one.deliveries],
            }
            for one in findings
        ],
        "has_more_endpoints": concerned.after is not None,
        "deliveries": [
            {
                "id": one.delivery.id,
                "endpoint_id": one.delivery.endpoint_id,
                "endpoint_url": one.delivery.endpoint_url,
                "origin": one.delivery.origin,
                "state": one.delivery.state,
                "attempt": one.delivery.attempt,
                "moments": [
                    {"at_ms": moment.at_ms, "code": moment.code, "text": moment.text, "to_do": moment.to_do}
                    for moment in one.moments
                ],
                "planned": [{"at_ms": at_ms, "kind": kind} for at_ms, kind in one.planned],
            }
            for one in stories
        ],
        "delivery_count": sum(found.counts.values()),
    }
    return Shown("event.html", found.type, data)


def event_raw(call: Call) -> Response:
    """The exact bytes that are signed and sent, as a file: recorded, since nothing of it is redacted."""
    with call.sender.database.read() as connection:
        stored = call.sender.store.event(connection, call.environment, call.params["id"])
    if stored is None:
        raise RequestError(404, "entity_not_found", f"There is no event {call.params['id'][:80]} here.")
    if not stored.body:
        raise RequestError(410, "event_pruned", "Its body is past its retention.")
    call.audit("event.body_read", stored.id)
    headers = {"content-disposition": f'attachment; filename="{stored.id}.json"'}
    return Response(bytes(stored.body), media_type="application/octet-stream", headers=headers)


def event_resend(call: Call) -> SeeOther:
    """Send an event once more: to one endpoint, or to all that ask for its type."""
    endpoint_id = call.text("endpoint_id", most=200) or None
    made = call.sender.replays.resend(
        call.environment, call.params["id"], endpoint_id=endpoint_id, actor=call.viewer.actor
    )
    heard = f" It goes to {', '.join(made.listeners)} as well." if made.listeners else ""
    if len(made.deliveries) == 1:
        link = call.link("delivery", id=made.deliveries[0].id)
        return SeeOther(link, f"Sent again: this is the new delivery.{heard}")
    count = f"{len(made.deliveries)} new deliveries"
    if not made.deliveries:
        count = "No delivery was made: no endpoint asks for this type now"
    return SeeOther(call.link("event", id=call.params["id"]), f"{count}.{heard}")


def retry_confirm(call: Call) -> Shown:
    """What a bulk retry of what a search finds would do, before it is done."""
    text = call.query.get("q", "").strip()
    events_found, failed, is_all = _failed(call, text)
    data = {"q": text, "events": events_found, "deliveries": len(failed), "is_all": is_all, "most": MOST_RETRIED}
    return Shown("events_retry.html", "Retry what failed", data)


def retry_all(call: Call) -> SeeOther:
    """Retry the failed deliveries of what a search finds."""
    text = call.text("q", most=500)
    _, failed, _ = _failed(call, text)
    retried, refused = 0, 0
    for start in range(0, len(failed), _PER_COMMIT):
        done, not_done = _retry(call, failed[start : start + _PER_COMMIT])
        retried, refused = retried + done, refused + not_done
    wake_deliveries(call.sender.database)
    told = f"{retried} deliveries are tried again now"
    told += f"; {refused} could not be: their endpoint is off, or their body is gone." if refused else "."
    return SeeOther(call.link("events", query={"q": text}), told)


def _retry(call: Call, ids: Sequence[str]) -> tuple[int, int]:
    sender = call.sender

    def write(connection: Connection) -> tuple[int, int]:
        done = refused = 0
        for delivery_id in ids:
            try:
                retry_delivery(
                    connection, sender.store, call.environment, delivery_id, now_ms=call.now_ms, actor=call.viewer.actor
                )
                done += 1
            except RequestError:
                # Decided before anything of it was written; the others are not its business.
                refused += 1
        return done, refused

    return sender.database.run(write)


def _failed(call: Call, text: str) -> tuple[int, list[str], bool]:
    """Of the newest events a search finds: how many, their failed deliveries, and whether those are all there are."""
    try:
        search = parse_search(text, call.now_ms)
    except NotASearch as error:
        raise RequestError(422, "invalid", str(error), [{"field": "q", "message": str(error)}]) from None
    with call.sender.database.read() as connection:
        page = EventLog(call.sender.database.dialect).page(connection, call.environment, search, limit=MOST_RETRIED)
        rows = call.sender.store.failed_deliveries(
            connection, [one.row_id for one in page.events if one.counts.get("failed")], limit=MOST_RETRIED + 1
        )
    return len(page.events), rows[:MOST_RETRIED], page.next_row is None and len(rows) <= MOST_RETRIED


def _row(text: str | None, missing: int = NEWEST) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 19 else missing


def _logged(one: LoggedEvent) -> dict[str, Any]:
    return {
        "row": one.row_id,
        "id": one.id,
        "type": one.type,
        "origin": one.origin,
        "organization_id": one.organization_id,
        "object_id": one.object_id,
        "created_ms": one.created_ms,
        "published_ms": one.published_ms,
        "pruned_ms": one.pruned_ms,
        "state": one.state,
        "counts": one.counts,
        "sent": [
            {
                "id": sent.id,
                "endpoint_id": sent.endpoint_id,
                "endpoint_url": sent.endpoint_url,
                "origin": sent.origin,
                "state": sent.state,
                "attempt": sent.attempt,
                "reason": sent.reason,
            }
            for sent in one.sent[:_PILLS]
        ],
    }


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode("utf-8", "replace")


def _changed(call: Call, before: Any, after: Any) -> list[dict[str, Any]]:
    """What is not the same in `data`. A difference in what is redacted is seen, and not shown."""
    one = before.get("data") if isinstance(before, Mapping) else before
    other = after.get("data") if isinstance(after, Mapping) else after
    found = []
    for place, was, now in differing(one, other):
        shown = [call.shown(_nested(place, value)) for value in (was, now)]
        found.append(
            {
                "place": ".".join(map(str, place)),
                "before": _cell(_reached(shown[0], place)),
                "after": _cell(_reached(shown[1], place)),
            }
        )
    return found


def _nested(place: Sequence[str | int], value: Any) -> Any:
    """The value alone, where it lies in an event: so that paths of what is redacted find it."""
    for name in reversed(place):
        value = {str(name): value}
    return {"data": value}


def _reached(value: Any, place: Sequence[str | int]) -> Any:
    value = value["data"] if isinstance(value, dict) else value
    for name in place:
        if not isinstance(value, dict):
            return value  # redacted further up
        value = value.get(str(name))
    return value


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:400]}… ({len(text):,} characters)"


def _chips(call: Call, text: str) -> list[tuple[str, str, bool]]:
    """Terms to be had by a press: what each is called, where it leads, and whether it is in force."""
    terms = text.split()
    chips = []
    for label, name, value in _CHIPS:
        term = f"{name}:{value}"
        is_on = term in terms
        kept = [one for one in terms if not one.startswith(f"{name}:")]
        chips.append((label, call.link("events", query={"q": " ".join(kept if is_on else [*kept, term])}), is_on))
    return chips


PAGES: Sequence[Page | Action] = (
    Page("events", "/{environment}/events", events, needs="sender"),
    Page("events_newer", "/{environment}/events-newer", newer, needs="sender"),
    Page("events_retry", "/{environment}/events-retry", retry_confirm, role="operator", needs="sender"),
    Action("do_events_retry", "/{environment}/events-retry", retry_all, needs="sender"),
    Page("event", "/{environment}/events/{id}", event, needs="sender", reveals=True),
    Action("event_raw", "/{environment}/events/{id}/raw", event_raw, role="admin", needs="sender"),
    Action("event_resend", "/{environment}/events/{id}/resend", event_resend, needs="sender"),
)
