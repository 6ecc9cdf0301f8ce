"""The first page: how both ends are doing, and what needs somebody; and the traffic of an environment over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hookline.dashboard.charts import Bar, Part
from hookline.dashboard.formats import exact, span
from hookline.dashboard.frame import Call, Page, Shown
from hookline.errors import RequestError
from hookline.sender.model import ENVIRONMENTS, Environment
from hookline.sender.queries import Backlog, UnwellEndpoint, backlog, ending_secrets, unwell_endpoints
from hookline.sender.statistics import HOUR_MS, MINUTE_MS, StatisticsStore, Traffic

DAY_MS: Final = 24 * HOUR_MS
BAR_MS: Final = 30 * MINUTE_MS
# How long before an old secret ends it is worth saying.
ENDING_MS: Final = DAY_MS
# Spans of the traffic page: how far back, and the step in which it is counted.
SPANS: Final[Mapping[str, tuple[int, int]]] = {
    "1h": (HOUR_MS, MINUTE_MS),
    "6h": (6 * HOUR_MS, 5 * MINUTE_MS),
    "24h": (DAY_MS, 10 * MINUTE_MS),
    "7d": (7 * DAY_MS, HOUR_MS),
    "30d": (30 * DAY_MS, 6 * HOUR_MS),
}


@dataclass(frozen=True, slots=True)
class Need:
    """Something that needs somebody: what, and the page where it is seen to."""

    text: str
    kind: str
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of time of both ends: deliveries and attempts at the sender, webhooks at the receiver's door."""

    at_ms: int
    published: int = 0
    delivered: int = 0
    given_up: int = 0
    failed: int = 0
    accepted: int = 0
    repeated: int = 0
    refused: int = 0


def overview(call: Call) -> Shown:
    """Both ends in one look: a day of traffic, what waits, and what needs somebody."""
    environment = _chosen(call)
    since_ms = (call.now_ms // BAR_MS + 1) * BAR_MS - DAY_MS
    slots = {at_ms: Slot(at_ms) for at_ms in range(since_ms, since_ms + DAY_MS, BAR_MS)}
    data: dict[str, Any] = {"environment": environment, "since_ms": since_ms, "sender": None, "receiver": None}
    needs: list[Need] = []
    if call.parts.sender is not None:
        whole = _sender_day(call, environment, slots, since_ms)
        waiting = _backlog(call, environment)
        data["sender"] = {
            "published": whole.published,
            "delivered": whole.delivered,
            "given_up": whole.given_up,
            "attempts": whole.succeeded + whole.failed,
            "p50_ms": whole.quantile_ms(0.5),
            "p95_ms": whole.quantile_ms(0.95),
            "waiting": waiting,
        }
        needs += _needs_of_sender(call, whole, environment)
    if call.parts.receiver is not None:
        status = call.receiver.status(counts_mirror=False)
        _receiver_day(call, slots, since_ms)
        data["receiver"] = {
            "waiting": status.waiting,
            "lag_ms": status.lag_ms,
            "accepted": sum(slot.accepted for slot in slots.values()),
            "refused": sum(slot.refused for slot in slots.values()),
            "drift": sum(one.drift for one in status.passes),
            "workers": len(status.running_workers),
        }
        needs += [Need(text, "receiver", _place_of(call, text)) for text in status.needs()]
    data |= {"slots": list(slots.values()), "needs": needs}
    return Shown(
        "overview.html",
        "Overview",
        data,
        also={
            "sent": [_sent_bar(call, environment, slot) for slot in slots.values()],
            "received": [_received_bar(call, slot) for slot in slots.values()],
            "environments": ENVIRONMENTS,
        },
    )


def traffic(call: Call) -> Shown:
    """Traffic over time: the one chart that can be zoomed into."""
    chosen = call.query.get("span", "24h")
    if chosen not in SPANS:
        message = f"expected one of {', '.join(SPANS)}"
        raise RequestError(422, "invalid", f"span: {message}", [{"field": "span", "message": message}])
    length_ms, step_ms = SPANS[chosen]
    since_ms = (call.now_ms - length_ms) // step_ms * step_ms
    store = StatisticsStore(call.sender.database.dialect)
    with call.sender.database.read() as connection:
        found = store.series(connection, call.environment, since_ms=since_ms, until_ms=call.now_ms + 1, step_ms=step_ms)
    known = {one.at_ms: one for one in found}
    times = range(since_ms, call.now_ms + 1, step_ms)
    # The database's steps are whole multiples of the step; so are these.
    rows = [known.get(at_ms, Traffic(at_ms)) for at_ms in times]
    data = {
        "span": chosen,
        "step_ms": step_ms,
        "rows": [
            {
                "at_ms": one.at_ms,
                "published": one.published,
                "succeeded": one.succeeded,
                "failed": one.failed,
                "delivered": one.delivered,
                "given_up": one.given_up,
                "p95_ms": one.quantile_ms(0.95),
            }
            for one in rows
        ],
    }
    return Shown("traffic.html", "Traffic", data, also={"spans": list(SPANS)})


def _chosen(call: Call) -> Environment:
    found = call.query.get("environment", "production")
    for one in ENVIRONMENTS:
        if one == found:
            return one
    raise RequestError(404, None, f"There is no environment of this name; expected one of {', '.join(ENVIRONMENTS)}.")


def _sender_day(call: Call, environment: Environment, slots: dict[int, Slot], since_ms: int) -> Traffic:
    sender = call.sender
    store = StatisticsStore(sender.database.dialect)
    with sender.database.read() as connection:
        found = store.series(connection, environment, since_ms=since_ms, until_ms=since_ms + DAY_MS, step_ms=BAR_MS)
    for one in found:
        slots[one.at_ms] = Slot(one.at_ms, one.published, one.delivered, one.given_up, one.failed)
    return sum(found, Traffic(since_ms))


def _backlog(call: Call, environment: Environment) -> Backlog:
    with call.sender.database.read() as connection:
        return backlog(call.sender.store, connection, environment, now_ms=call.now_ms)


def _receiver_day(call: Call, slots: dict[int, Slot], since_ms: int) -> None:
    with call.receiver.look() as (queries, connection):
        rates = queries.rates(connection, since_ms=since_ms, until_ms=since_ms + DAY_MS, step_ms=BAR_MS)
    for one in rates:
        slot = slots.get(one.at_ms)
        if slot is not None:
            slots[one.at_ms] = Slot(
                slot.at_ms,
                slot.published,
                slot.delivered,
                slot.given_up,
                slot.failed,
                one.accepted,
                one.repeated,
                one.refused,
            )


def _needs_of_sender(call: Call, whole: Traffic, environment: Environment) -> list[Need]:
    sender = call.sender
    needs = [Need(f"the sender: {problem}", "sender") for problem in sender.problems()]
    with sender.database.read() as connection:
        unwell = unwell_endpoints(sender.store, connection)
        ending = ending_secrets(sender.store, connection, before_ms=call.now_ms + ENDING_MS)
    needs += [_need_of(call, one) for one in unwell]
    needs += [
        Need(
            f"the old secret of {one.id} ends in {span(one.until_ms - call.now_ms)}: is the new one in use?",
            "sender",
            _link(call, "endpoint", environment=one.environment, id=one.id),
        )
        for one in ending
    ]
    if whole.given_up:
        href = _link(call, "events", environment=environment, query={"q": "status:failed since:24h"})
        noun = "delivery was" if whole.given_up == 1 else "deliveries were"
        needs.append(Need(f"{whole.given_up} {noun} given up within the day", "sender", href))
    return needs


def _need_of(call: Call, endpoint: UnwellEndpoint) -> Need:
    if endpoint.disabled_reason is not None:
        why = "answered 410 Gone" if endpoint.disabled_reason == "gone" else "failed for too long"
        text = f"endpoint {endpoint.id} is disabled since it {why}; what is for it is held"
    else:
        since_ms = endpoint.failing_since_ms or call.now_ms
        text = (
            f"endpoint {endpoint.id} has been failing for {span(call.now_ms - since_ms)}, "
            f"{endpoint.failing_attempts} attempts"
        )
    return Need(text, "sender", _link(call, "endpoint", environment=endpoint.environment, id=endpoint.id))


def _place_of(call: Call, text: str) -> str | None:
    """The page for what a receiver needs, by the words of `receiver.status`."""
    for word, name in (
        ("could not be applied", "dead_letters"),
        ("difference", "reconcile"),
        ("pass ", "reconcile"),
        ("refused", "inbox"),
        ("handler", "handlers"),
        ("run", "handlers"),
    ):
        if word in text:
            return _link(call, name)
    return None


def _sent_bar(call: Call, environment: Environment, slot: Slot) -> Bar:
    parts = (
        Part("ok", slot.delivered),
        Part("wait", slot.failed),
        Part("bad", slot.given_up),
    )
    label = f"{exact(slot.at_ms)}: {slot.delivered} delivered, {slot.failed} failed attempts, {slot.given_up} given up"
    query = {"q": f"since:{exact(slot.at_ms)} until:{exact(slot.at_ms + BAR_MS)}"}
    return Bar(parts, label, _link(call, "events", environment=environment, query=query))


def _received_bar(call: Call, slot: Slot) -> Bar:
    parts = (Part("info", slot.accepted), Part("idle", slot.repeated), Part("bad", slot.refused))
    label = f"{exact(slot.at_ms)}: {slot.accepted} accepted, {slot.repeated} repeated, {slot.refused} refused"
    query = {"since": exact(slot.at_ms), "until": exact(slot.at_ms + BAR_MS)}
    return Bar(parts, label, _link(call, "inbox", query=query))


def _link(call: Call, name: str, *, query: Mapping[str, str] | None = None, **params: str) -> str | None:
    return call.link(name, query=query, **params) if call.parts.links.has(name) else None


PAGES: Sequence[Page] = (
    Page("overview", "/", overview),
    Page("traffic", "/{environment}/traffic", traffic, needs="sender"),
)
