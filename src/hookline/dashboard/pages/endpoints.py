"""Endpoints: the list of them, and one of them by its tabs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hookline.dashboard.charts import Bar, Part
from hookline.dashboard.frame import Call, Page, Shown
from hookline.rules.schedule import Schedule
from hookline.sender.model import Endpoint
from hookline.sender.queries import DeliveryQuery, PageRequest, audit_page, delivery_page, endpoint_page, version_page
from hookline.sender.registry import not_found
from hookline.sender.statistics import HOUR_MS, EndpointTraffic, StatisticsStore, Traffic
from hookline.sender.store import AuditFilter, EndpointFilter
from hookline.wire.catalogue import CATALOGUE, matches

if TYPE_CHECKING:
    from hookline.sender.queries import Page as Listed
    from hookline.storage import Connection

PAGE: Final = 50
VOLUME_MS: Final = 7 * 24 * HOUR_MS
STANDINGS: Final = ("enabled", "failing", "paused", "disabled")
DELIVERY_STATES: Final = ("pending", "running", "succeeded", "failed", "canceled", "held")
# From here on a part of a path with letters and digits is one that nobody is to guess.
LEAST_TOKEN: Final = 16
_WHY_DISABLED: Final[Mapping[str, str]] = {
    "failing": "its attempts failed for too long",
    "gone": "it answered 410 Gone",
}


def endpoints(call: Call) -> Shown:
    """All of an environment, as far as searched for; those that need somebody can be had alone."""
    search, standing = call.query.get("q", "").strip()[:200], call.query.get("status", "")
    sort = call.query.get("sort", "newest")
    chosen = EndpointFilter(text=search or None, standing=standing if standing in STANDINGS else None)
    wanted = PageRequest(
        limit=PAGE,
        before=call.query.get("before"),
        after=call.query.get("after"),
        order="asc" if sort == "oldest" else "desc",
    )
    with call.sender.database.snapshot() as connection:
        page = endpoint_page(call.sender.store, connection, call.environment, wanted, chosen)
        traffic = _traffic(call, connection, [one.row_id for one in page.items])
    data = {
        "environment": call.environment,
        "endpoints": [
            shown_endpoint(call, one) | {"traffic": _shown_traffic(traffic.get(one.row_id))} for one in page.items
        ],
        "search": search,
        "status": standing,
        "sort": sort,
        "before": page.before,
        "after": page.after,
    }
    also = {
        "pager": pager(call, page),
        "standings": STANDINGS,
        "hours": {one.id: hour_bars(traffic.get(one.row_id), call.now_ms) for one in page.items},
    }
    return Shown("endpoints.html", "Endpoints", data, also)


def endpoint(call: Call) -> Shown:
    """One endpoint, and what was sent to it."""
    found = find_endpoint(call)
    state, event_type = call.query.get("state", ""), call.query.get("type", "").strip()[:200]
    query = DeliveryQuery(
        state if state in DELIVERY_STATES else None, event_type or None, endpoint_id=call.params["id"]
    )
    wanted = PageRequest(limit=PAGE, before=call.query.get("before"), after=call.query.get("after"))
    with call.sender.database.snapshot() as connection:
        page = delivery_page(call.sender.store, connection, call.environment, query, wanted)
        traffic = _traffic(call, connection, [found.row_id]).get(found.row_id)
    data = {
        "endpoint": shown_endpoint(call, found),
        "traffic": _shown_traffic(traffic),
        "deliveries": [
            {
                "id": one.id,
                "event_id": one.event_id,
                "type": one.event_type,
                "origin": one.origin,
                "state": one.state,
                "reason": one.reason,
                "attempts": one.attempt,
                "due_ms": one.due_ms if one.state in {"pending", "held"} else None,
                "created_ms": one.created_ms,
                "updated_ms": one.updated_ms,
            }
            for one in page.items
        ],
        "state": state,
        "type": event_type,
        "before": page.before,
        "after": page.after,
    }
    also = {
        "tabs": tabs(call, "endpoint"),
        "pager": pager(call, page),
        "states": DELIVERY_STATES,
        "hours": hour_bars(traffic, call.now_ms),
    }
    return Shown("endpoint.html", name_of(found), data, also)


def activity(call: Call) -> Shown:
    """What the endpoint was when, and who changed what."""
    with call.sender.database.snapshot() as connection:
        found = call.sender.store.endpoint(connection, call.environment, call.params["id"], with_deleted=True)
        if found is None:
            raise not_found(call.params["id"])
        versions = version_page(call.sender.store, connection, found.row_id, PageRequest(limit=PAGE))
        trail = audit_page(
            call.sender.store,
            connection,
            call.environment,
            AuditFilter(object_id=found.id),
            PageRequest(limit=PAGE, before=call.query.get("before"), after=call.query.get("after")),
        )
    data = {
        "endpoint": shown_endpoint(call, found),
        "versions": [
            {
                "version": one.version,
                "from_ms": one.from_ms,
                "url": one.url,
                "state": _state_word(one.status, one.disabled_reason, one.paused_ms, None),
                "events": list(one.events),
                "deleted_ms": one.deleted_ms,
            }
            for one in versions.items
        ],
        "trail": [
            {"at_ms": one.at_ms, "actor": one.actor, "action": one.action, "detail": json.loads(one.detail)}
            for one in trail.items
        ],
    }
    also = {"tabs": tabs(call, "endpoint_activity"), "pager": pager(call, trail)}
    return Shown("endpoint_activity.html", name_of(found), data, also)


# -- what the pages of an endpoint share -----------------------------------------------------------------------------


def find_endpoint(call: Call) -> Endpoint:
    """The endpoint that the path names. RequestError 404 where there is none."""
    with call.sender.database.read() as connection:
        found = call.sender.store.endpoint(connection, call.environment, call.params["id"])
    if found is None:
        raise not_found(call.params["id"])
    return found


def name_of(found: Endpoint) -> str:
    """What to call it: its description, else its host."""
    return found.description or urlsplit(found.url).netloc


def shown_endpoint(call: Call, found: Endpoint) -> dict[str, Any]:
    """An endpoint as pages and their twins show it: never its secret, nor the value of a sensitive header."""
    schedule = schedule_of(call, found)
    return {
        "id": found.id,
        "name": name_of(found),
        "url": found.url,
        "url_parts": url_parts(found.url),
        "description": found.description,
        "state": _state_word(found.status, found.disabled_reason, found.paused_ms, found.failing_since_ms),
        "since_ms": found.paused_ms or found.failing_since_ms,
        "why": _WHY_DISABLED.get(found.disabled_reason or ""),
        "failing_attempts": found.failing_attempts,
        "events": list(found.events),
        "timeout_s": None if found.timeout_ms is None else found.timeout_ms / 1000,
        "rate_limit_per_min": found.rate_limit_per_min,
        "headers": [
            {"name": one.name, "value": None if one.is_sensitive else one.value, "is_sensitive": one.is_sensitive}
            for one in call.sender.registry.headers_of(found)
        ],
        "standard_webhooks": found.standard_webhooks,
        "has_own_schedule": found.schedule is not None,
        "retries": retry_plan(schedule, call.now_ms),
        "rotation": _rotation(found, call.now_ms),
        "version": found.version,
        "created_ms": found.created_ms,
        "updated_ms": found.updated_ms,
        "deleted_ms": found.deleted_ms,
    }


def schedule_of(call: Call, found: Endpoint) -> Schedule:
    """When deliveries to it are tried again."""
    if found.schedule is None:
        return call.sender.schedules[call.environment]
    return Schedule.from_gaps(tuple(json.loads(found.schedule)))


def retry_plan(schedule: Schedule, from_ms: int) -> list[dict[str, int]]:
    """The attempts of a delivery that begins now: how long after the first, and at what time."""
    offsets = (0.0, *schedule.offsets_s)
    return [
        {"number": number, "after_ms": round(offset * 1000), "at_ms": from_ms + round(offset * 1000)}
        for number, offset in enumerate(offsets, start=1)
    ]


def url_parts(url: str) -> tuple[str, str, str]:
    """A URL in three: before its part that nobody is to guess, that part ('' where there is none), and after it."""
    start = url.find("/", url.find("//") + 2)
    pieces = [] if start < 0 else url[start:].split("/")
    token = next((piece for piece in reversed(pieces) if _is_hard_to_guess(piece)), None)
    if token is None:
        return url, "", ""
    at = url.rindex(token)
    return url[:at], token, url[at + len(token) :]


def _is_hard_to_guess(piece: str) -> bool:
    return (
        len(piece) >= LEAST_TOKEN
        and piece.replace("-", "").replace("_", "").isalnum()
        and any(one.isdigit() for one in piece)
        and any(one.isalpha() for one in piece)
    )


def tabs(call: Call, here: str) -> list[tuple[str, str, bool]]:
    """The tabs of an endpoint's page that this viewer may see."""
    entries = [
        ("endpoint", "Deliveries"),
        ("endpoint_test", "Test"),
        ("endpoint_subscriptions", "Subscriptions"),
        ("endpoint_settings", "Settings"),
        ("endpoint_secret", "Secret"),
        ("endpoint_activity", "Activity"),
    ]
    return [(label, call.link(name, id=call.params["id"]), name == here) for name, label in entries]


def pager(call: Call, page: Listed[Any]) -> dict[str, str | None]:
    """URLs of what is newer and older in a list that shows the newest first."""
    return {
        "newer": None if page.before is None else call.here(before=page.before, after=None),
        "older": None if page.after is None else call.here(after=page.after, before=None),
    }


def known_types(call: Call) -> dict[str, str | None]:
    """Every type that may be asked for, with what its users say of it."""
    with call.sender.database.read() as connection:
        own = call.sender.store.event_types(connection, call.environment)
    known: dict[str, str | None] = {name: None for name, one in CATALOGUE.items() if one.subscribable}
    return known | {one.name: one.description for one in own}


def asks_for(patterns: tuple[str, ...] | list[str], event_type: str) -> bool:
    """Whether any of these patterns takes a type."""
    return any(matches(pattern, event_type) for pattern in patterns)


def volumes(call: Call) -> dict[str, int]:
    """How many events of each type were published in the last seven days."""
    with call.sender.database.read() as connection:
        statistics = StatisticsStore(call.sender.database.dialect)
        return statistics.type_volumes(connection, call.environment, since_ms=call.now_ms - VOLUME_MS)


def hour_bars(traffic: EndpointTraffic | None, now_ms: int) -> list[Bar]:
    """A bar for each of the last 24 hours: attempts that succeeded, and that failed."""
    known = {} if traffic is None else {one.at_ms: one for one in traffic.hours}
    hours = [known.get(at_ms, Traffic(at_ms)) for at_ms in range(_first_hour_ms(now_ms), now_ms + 1, HOUR_MS)]
    return [Bar([Part("ok", one.succeeded), Part("bad", one.failed)]) for one in hours]


def _traffic(call: Call, connection: Connection, endpoint_rows: list[int]) -> dict[int, EndpointTraffic]:
    store = StatisticsStore(call.sender.database.dialect)
    return store.endpoints(connection, endpoint_rows, since_ms=_first_hour_ms(call.now_ms))


def _first_hour_ms(now_ms: int) -> int:
    """When the oldest of 24 hours began, of which the last is under way."""
    return now_ms - now_ms % HOUR_MS - 23 * HOUR_MS


def _shown_traffic(traffic: EndpointTraffic | None) -> dict[str, Any] | None:
    """Attempts of the last 24 hours; None where there was none."""
    if traffic is None:
        return None
    whole = traffic.whole
    return {
        "succeeded": whole.succeeded,
        "failed": whole.failed,
        "p50_ms": whole.quantile_ms(0.5),
        "p95_ms": whole.quantile_ms(0.95),
        "last_ms": traffic.last_ms,
    }


def _state_word(status: str, reason: str | None, paused_ms: int | None, failing_since_ms: int | None) -> str:
    if status == "disabled":
        return "disabled by us" if reason in _WHY_DISABLED else "disabled"
    if paused_ms is not None:
        return "paused"
    return "enabled" if failing_since_ms is None else "failing"


def _rotation(found: Endpoint, now_ms: int) -> dict[str, Any] | None:
    until_ms = found.old_secret_until_ms
    if found.old_secret_enc is None or until_ms is None or until_ms <= now_ms:
        return None
    return {"until_ms": until_ms, "signs_with": "old" if found.signs_with_old else "new"}


PAGES: tuple[Page, ...] = (
    Page("endpoints", "/{environment}/endpoints", endpoints, needs="sender"),
    Page("endpoint", "/{environment}/endpoints/{id}", endpoint, needs="sender"),
    Page("endpoint_activity", "/{environment}/endpoints/{id}/activity", activity, needs="sender"),
)
