"""Why it is as it is, from stored facts: what became of an event at each endpoint, and the story of one delivery.

Nothing is recomputed from how things are now: what an endpoint asked for when an event was published is read from its
versions, what was sent from deliveries and attempts. Each finding has a `code` for machines and a sentence for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from hookline.errors import RequestError
from hookline.rules.schedule import Schedule
from hookline.sender.advice import advice_for
from hookline.wire.catalogue import matches
from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.sender.model import Attempt, Delivery, EndpointVersion, Environment, PastEvent
    from hookline.sender.store import Concerned, SenderStore
    from hookline.storage.verbs import Connection

Verdict: TypeAlias = Literal["sent", "waiting", "held", "failed", "canceled", "not_sent"]

# How many versions are read on either side to say from when until when an endpoint was off.
VERSIONS_READ: Final = 100

_HELD: Final[Mapping[str, str]] = {
    "endpoint_paused": "the endpoint is paused; resuming it asks what becomes of this",
    "endpoint_disabled": "the endpoint is disabled by a person; enabling it sends this",
    "endpoint_by_person": "the endpoint is disabled by a person; enabling it sends this",
    "endpoint_resuming": "the endpoint was resumed while this waited; what was chosen then comes about in parts",
    "endpoint_gone": "the endpoint answered 410 Gone and was disabled; resuming it asks what becomes of this",
    "endpoint_failing": "the endpoint failed for too long and was disabled; resuming it asks what becomes of this",
}
_FAILED: Final[Mapping[str, str]] = {
    "exhausted": "every planned attempt failed; it is not tried again unless somebody retries it or replays the event",
    "window_passed": "the time for its attempts was over before the next could begin; retry it or replay the event",
    "gone": "the endpoint answered 410 Gone: it wants nothing more",
    "unknown_limit": "its sender died in too many of its attempts; retry it",
    "retry_failed": "the attempt that a person asked for failed, and no other is planned",
}
_CANCELED: Final[Mapping[str, str]] = {
    "canceled": "a person canceled it",
    "endpoint_deleted": "its endpoint was deleted",
    "expired": "it was held until its retention was over",
    "not_resumed": "it was held, and left out when the endpoint was resumed",
    "superseded": "it was held, and a newer event about the same object was sent instead when the endpoint was resumed",
    "replay_canceled": "the replay that made it was canceled",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of an event at one endpoint. `next_ms` is when something happens next, None where nothing is due."""

    endpoint: Concerned
    verdict: Verdict
    code: str
    text: str
    deliveries: tuple[Delivery, ...] = ()
    next_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing in the story of a delivery. `to_do` is what somebody could do about it, None where nothing."""

    at_ms: int
    code: str
    text: str
    to_do: str | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """A delivery from first to last, and every attempt that is still planned, as (when, kind)."""

    delivery: Delivery
    finding: Finding
    moments: tuple[Moment, ...]
    planned: tuple[tuple[int, str], ...]


def explain_event(
    store: SenderStore, connection: Connection, event: PastEvent, endpoints: Sequence[Concerned]
) -> list[Finding]:
    """What became of an event at each of these endpoints."""
    deliveries = store.event_deliveries(connection, event.row_id, {one.row_id for one in endpoints})
    return [
        _of_deliveries(store, connection, one, deliveries[one.row_id])
        if one.row_id in deliveries
        else _not_sent(store, connection, event, one)
        for one in endpoints
    ]


def tell_story(
    store: SenderStore,
    connection: Connection,
    environment: Environment,
    delivery_id: str,
    schedules: Mapping[str, Schedule],
) -> Story:
    """The story of one delivery. RequestError 404 where it is unknown."""
    delivery = store.delivery(connection, environment, delivery_id)
    if delivery is None:
        raise RequestError(404, "entity_not_found", f"Delivery not found: '{delivery_id[:80]}'.")
    event = store.past_event(connection, environment, delivery.event_id)
    endpoint = store.endpoint(connection, environment, delivery.endpoint_id, with_deleted=True)
    concerned = store.concerned_one(connection, environment, delivery.endpoint_id)
    assert event is not None  # a delivery outlives neither its event's row
    assert endpoint is not None  # nor its endpoint's
    assert concerned is not None
    moments = [Moment(event.published_ms, "published", f"event {delivery.event_id} was published")]
    moments.append(_made(store, connection, delivery))
    moments += [_tried(attempt) for attempt in store.attempts(connection, delivery.row_id)]
    finding = _of_deliveries(store, connection, concerned, [delivery])
    if delivery.state in ("held", "failed", "canceled"):
        moments.append(Moment(delivery.updated_ms, finding.code, finding.text))
    if event.pruned_ms is not None:
        text = "the event's body was removed: its retention was over. It cannot be sent again"
        moments.append(Moment(event.pruned_ms, "pruned", text))
    schedule = _schedule(endpoint.schedule, schedules[environment])
    return Story(delivery, finding, tuple(moments), planned(delivery, schedule))


def planned(delivery: Delivery, schedule: Schedule) -> tuple[tuple[int, str], ...]:
    """Every attempt that may still come, as (Unix ms, kind). All but the first may move by the schedule's jitter.

    Of a delivery under way or held nothing is planned yet: what follows depends on how that ends.
    """
    if delivery.state != "pending" or delivery.due_ms is None:
        return ()
    found = [(delivery.due_ms, str(delivery.next_kind))]
    if delivery.next_kind == "manual" and delivery.planned_ms is None:
        return tuple(found)  # failing, it ends
    next_ms = delivery.due_ms
    if delivery.next_kind == "manual" and delivery.planned_ms is not None:
        next_ms = delivery.planned_ms
        found.append((next_ms, "scheduled"))
    # The slot at `next_ms` is slots_used (0 is the first attempt); offsets[slots_used] is the one after it.
    first_ms = next_ms if delivery.first_ms is None else delivery.first_ms
    later = [first_ms + round(offset_s * 1000) for offset_s in schedule.offsets_s[delivery.slots_used :]]
    return (*found, *((max(at_ms, next_ms), "scheduled") for at_ms in later))


def _of_deliveries(
    store: SenderStore, connection: Connection, endpoint: Concerned, deliveries: Sequence[Delivery]
) -> Finding:
    """By the newest delivery; a success among the earlier ones is no less a success."""
    found = tuple(deliveries)
    newest = found[-1]
    succeeded = next((one for one in reversed(found) if one.state == "succeeded" and one.origin != "test"), None)
    if newest.state in ("failed", "canceled") and succeeded is not None:
        newest = succeeded
    reason = newest.reason or ""
    again = " again" if newest.origin == "replay" else " as a test" if newest.origin == "test" else ""
    if newest.state == "succeeded":
        text = f"sent{again} and accepted at {_time(newest.updated_ms)}, in attempt {newest.attempt}"
        return Finding(endpoint, "sent", "sent", text, found)
    if newest.state == "running":
        text = f"attempt {newest.attempt} is under way since {_time(newest.updated_ms)}"
        return Finding(endpoint, "waiting", "under_way", text, found, newest.leased_until_ms)
    if newest.state == "pending":
        return _waiting(store, connection, endpoint, newest, found)
    if newest.state == "held":
        return Finding(endpoint, "held", reason or "held", _HELD.get(reason, "it is held"), found)
    if newest.state == "canceled":
        return Finding(endpoint, "canceled", reason or "canceled", _CANCELED.get(reason, "it was canceled"), found)
    last = _last_attempt(store, connection, newest)
    tried = "" if last is None else f"; the last attempt {advice_for(last.reason, last.status).meaning}"
    if newest.origin == "test":
        return Finding(endpoint, "failed", "test_failed", f"a test failed{tried}; tests are not tried again", found)
    return Finding(endpoint, "failed", reason or "failed", _FAILED.get(reason, "it failed") + tried, found)


def _waiting(
    store: SenderStore, connection: Connection, endpoint: Concerned, delivery: Delivery, found: tuple[Delivery, ...]
) -> Finding:
    due = "" if delivery.due_ms is None else f"; due at {_time(delivery.due_ms)}"
    if delivery.attempt == 0:
        code, text = "first_attempt_due", f"the first attempt has not been made{due}"
    elif delivery.next_kind == "manual":
        code, text = "retry_asked", f"a person asked for one more attempt{due}"
    else:
        last = _last_attempt(store, connection, delivery)
        meaning = "failed" if last is None else advice_for(last.reason, last.status).meaning
        code, text = (
            "retry_due",
            f"attempt {delivery.attempt} {meaning}{due}",
        )
    return Finding(endpoint, "waiting", code, text, found, delivery.due_ms)


def _not_sent(store: SenderStore, connection: Connection, event: PastEvent, endpoint: Concerned) -> Finding:
    def because(code: str, text: str) -> Finding:
        return Finding(endpoint, "not_sent", code, text)

    at_ms = event.published_ms
    then = store.endpoint_version_at(connection, endpoint.row_id, at_ms)
    if event.origin == "test":
        return because("test_event", "this is a test event: it was sent to one endpoint alone")
    if then is None:
        return because("created_after", f"the endpoint was made at {_time(endpoint.created_ms)}, after the event")
    if then.deleted_ms is not None:
        return because("deleted", f"the endpoint was deleted at {_time(then.deleted_ms)}, before the event")
    if then.status == "disabled" and then.disabled_reason == "by_person":
        from_ms, until_ms = _disabled(store, connection, then)
        until = f"until {_time(until_ms)}" if until_ms is not None else "and still is"
        text = f"the endpoint was disabled by a person from {_time(from_ms)} {until}; events of that time are not sent"
        return because("disabled_by_person", text)
    if not any(matches(pattern, event.type) for pattern in then.events):
        asked = ", ".join(then.events[:20]) + (", …" if len(then.events) > 20 else "")
        text = f"the endpoint did not ask for {event.type} then, in its version {then.version}, but for {asked}"
        return because("not_subscribed", text)
    if event.pruned_ms is not None:
        text = f"what was sent is no longer kept: retention removed it by {_time(event.pruned_ms)}"
        return because("pruned", text)
    return because(
        "no_delivery",
        "the endpoint asked for this type, and no delivery is stored: the endpoint changed in the moment of publishing",
    )


def _disabled(store: SenderStore, connection: Connection, then: EndpointVersion) -> tuple[int, int | None]:
    """From when until when the endpoint was disabled by a person around a version; None: until now."""
    from_ms = then.from_ms
    for earlier in store.endpoint_versions(connection, then.endpoint_row, "older", then.version, VERSIONS_READ):
        if not _is_off(earlier):
            break
        from_ms = earlier.from_ms
    for later in store.endpoint_versions(connection, then.endpoint_row, "newer", then.version, VERSIONS_READ):
        if not _is_off(later):
            return from_ms, later.from_ms
    return from_ms, None


def _is_off(version: EndpointVersion) -> bool:
    return version.status == "disabled" and version.disabled_reason == "by_person" and version.deleted_ms is None


def _made(store: SenderStore, connection: Connection, delivery: Delivery) -> Moment:
    version = store.endpoint_version_at(connection, delivery.endpoint_row, delivery.created_ms)
    of = "" if version is None else f" as it was then (version {version.version})"
    if delivery.origin == "replay":
        return Moment(delivery.created_ms, "replayed", f"a replay made this delivery for {delivery.endpoint_id}{of}")
    if delivery.origin == "test":
        return Moment(delivery.created_ms, "test", f"a test was sent to {delivery.endpoint_id}{of}")
    text = f"the event was matched to {delivery.endpoint_id}{of} and this delivery was made"
    if version is not None and version.paused_ms is not None:
        return Moment(delivery.created_ms, "made_held", f"{text}; it was held: the endpoint was paused")
    if version is not None and version.status == "disabled":
        return Moment(delivery.created_ms, "made_held", f"{text}; it was held: the endpoint was disabled by Hookline")
    return Moment(delivery.created_ms, "made", text)


def _tried(attempt: Attempt) -> Moment:
    advice = advice_for(attempt.reason, attempt.status)
    took = "" if attempt.duration_ms is None else f" after {attempt.duration_ms} ms"
    detail = "" if attempt.outcome == "succeeded" else _detail(attempt)
    text = f"attempt {attempt.number} ({attempt.kind}) {advice.meaning}{took}{detail}"
    return Moment(attempt.started_ms, f"attempt_{attempt.outcome}", text, advice.to_do)


def _detail(attempt: Attempt) -> str:
    detail = json.loads(attempt.evidence).get("detail")
    return f": {detail[:300]}" if isinstance(detail, str) and attempt.outcome != "unknown" else ""


def _last_attempt(store: SenderStore, connection: Connection, delivery: Delivery) -> Attempt | None:
    attempts = store.attempts(connection, delivery.row_id)
    return attempts[-1] if attempts else None


def _schedule(own: str | None, of_environment: Schedule) -> Schedule:
    if own is None:
        return of_environment
    try:
        return Schedule.from_gaps(tuple(json.loads(own)))
    except (ValueError, TypeError):
        return of_environment  # as the delivery loop does with one that cannot be used


def _time(time_ms: int) -> str:
    return format_ms(time_ms * 1000)
