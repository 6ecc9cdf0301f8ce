"""Replays of the sender: what was sent before, sent once more; counted first, followed, canceled."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from hookline.dashboard.formats import exact
from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.errors import RequestError
from hookline.sender.queries import PageRequest, replay_page
from hookline.sender.registry import check_patterns
from hookline.sender.replays import MAX_RATE_PER_S, EarlierState, Selection
from hookline.wire.timestamps import parse_us

if TYPE_CHECKING:
    from hookline.sender.model import Replay

_PAGE: Final = 50
_MOST_NAMED: Final = 100
_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
STATES: Final[tuple[EarlierState, ...]] = get_args(EarlierState)
_FIELDS: Final = ("since", "until", "events", "endpoints", "rate_per_s")


def replays(call: Call) -> Shown:
    """The replays of an environment, the newest first."""
    wanted = PageRequest(limit=_PAGE, before=call.query.get("before"), after=call.query.get("after"))
    with call.sender.look() as connection:
        page = replay_page(call.sender.replays.jobs, connection, call.environment, wanted)
    data = {"replays": [_replay(one) for one in page.items], "before": page.before, "after": page.after}
    return Shown("replays.html", "Replays", data)


def replay(call: Call) -> Shown:
    """One replay, and how far it came: read again and again while it goes on."""
    found, deliveries = call.sender.replays.read(call.environment, call.params["id"])
    return Shown("replay.html", "Replay", {**_replay(found), "deliveries": deliveries})


def replay_new(call: Call) -> Shown:
    """The selection; once it is given (`count=1` in the query), what it comes to, before anything is begun."""
    asked = {name: call.query.get(name, "").strip() for name in _FIELDS}
    states = [state for state in STATES if state in call.query.getlist("states")]
    problems, count, selection = FormProblems(), None, None
    if call.query.get("count"):
        try:
            selection, rate = _selection(asked, states, call.now_ms)
            found = call.sender.replays.count(call.environment, selection)
            skipped = sum(found.skipped.values())
            count = {"total": found.total, "to_make": found.total - skipped, "skipped": dict(found.skipped)}
            # What was meant is what is begun, however long one looks at the count.
            asked |= {
                "since": _exact(selection.since_ms),
                "until": _exact(selection.until_ms),
                "rate_per_s": rate or "",
            }
        except RequestError as error:
            problems = FormProblems.of(error)
    data = {"filter": {**asked, "states": states}, "count": count}
    also = {"problems": problems, "states": STATES, "fixed": _fixed(asked, states) if count else {}}
    return Shown("replay_new.html", "New replay", data, also, status=422 if problems else 200)


def start(call: Call) -> SeeOther:
    """Begin what was counted."""
    asked = {name: call.text(name) for name in _FIELDS}
    states = [state for state in STATES if state in call.form.getlist("states")]
    selection, rate = _selection(asked, states, call.now_ms)
    rate_per_s = int(rate) if rate else None
    begun = call.sender.replays.start(call.environment, selection, rate_per_s=rate_per_s, actor=call.viewer.actor)
    return SeeOther(call.link("replay", id=begun.id), "Begun. It goes on without this page.")


def replay_cancel(call: Call) -> Shown:
    """What canceling comes to."""
    found, deliveries = call.sender.replays.read(call.environment, call.params["id"])
    waiting = sum(deliveries.get(state, 0) for state in ("pending", "held"))
    data = {**_replay(found), "deliveries": deliveries, "waiting": waiting}
    return Shown("replay_cancel.html", "Cancel a replay", data)


def cancel(call: Call) -> SeeOther:
    """Make nothing more, and cancel what still waits."""
    found = call.sender.replays.cancel(call.environment, call.params["id"], actor=call.viewer.actor)
    return SeeOther(call.link("replay", id=found.id), "Canceled. What still waits of it is canceled in the background.")


def _replay(one: Replay) -> dict[str, Any]:
    chosen = Selection.from_json(one.filter)
    skipped: dict[str, int] = json.loads(one.skipped)
    met = one.made + sum(skipped.values())
    return {
        "id": one.id,
        "state": {"pending": "running", "succeeded": "finished", "canceled": "canceled"}[one.state],
        "reason": one.reason,
        "filter": {
            "since_ms": chosen.since_ms,
            "until_ms": chosen.until_ms,
            "events": chosen.events,
            "endpoints": chosen.endpoints,
            "states": chosen.states,
        },
        "rate_per_s": one.rate_per_s,
        "total": one.total,
        "met": met,
        "made": one.made,
        "skipped": skipped,
        "created_ms": one.created_ms,
        "updated_ms": one.updated_ms,
        "finished_ms": one.finished_ms,
    }


def _selection(asked: Mapping[str, str], states: list[EarlierState], now_ms: int) -> tuple[Selection, str]:
    """What the fields say, and the rate. RequestError 422 naming the field."""
    events, endpoints = _names(asked["events"], "events"), _names(asked["endpoints"], "endpoints")
    if events:
        check_patterns(events)
    since_ms, until_ms = _moment(asked["since"], "since", now_ms), _moment(asked["until"], "until", now_ms)
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise _problem("until", "expected a time after the beginning")
    rate = asked["rate_per_s"]
    if rate and not (rate.isascii() and rate.isdigit() and 1 <= int(rate[:9]) <= MAX_RATE_PER_S):
        raise _problem("rate_per_s", f"expected a whole number from 1 to {MAX_RATE_PER_S:,}")
    # Every state is no choice.
    chosen = tuple(states) if 0 < len(states) < len(STATES) else None
    return Selection(since_ms, until_ms, tuple(events) or None, tuple(endpoints) or None, chosen), rate


def _names(text: str, field: str) -> list[str]:
    found = list(dict.fromkeys(re.split(r"[\s,]+", text.strip()))) if text.strip() else []
    if len(found) > _MOST_NAMED:
        raise _problem(field, f"expected at most {_MOST_NAMED}, got {len(found)}")
    return found


def _moment(text: str, field: str, now_ms: int) -> int | None:
    if not text:
        return None
    if ago := _AGO.fullmatch(text):
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    try:
        return parse_us(text) // 1000
    except ValueError:
        message = "expected how long ago, as in 15m, 2h or 3d, or a time as in 2026-01-31T12:00:00Z"
        raise _problem(field, message) from None


def _exact(ms: int | None) -> str:
    return "" if ms is None else exact(ms)


def _fixed(asked: Mapping[str, str], states: list[EarlierState]) -> list[tuple[str, str]]:
    return [*((name, value) for name, value in asked.items() if value), *(("states", state) for state in states)]


def _problem(field: str, message: str) -> RequestError:
    text = f"{field}: {message}"
    return RequestError(422, "invalid", text, [{"code": "invalid", "field": field, "message": text}])


PAGES: tuple[Page | Action, ...] = (
    Page("replays", "/{environment}/replays", replays, needs="sender"),
    Action("replay_start", "/{environment}/replays", start, needs="sender"),
    Page("replay_new", "/{environment}/replays/new", replay_new, role="operator", needs="sender"),
    Page("replay", "/{environment}/replays/{id}", replay, needs="sender"),
    Page("replay_cancel", "/{environment}/replays/{id}/cancel", replay_cancel, role="operator", needs="sender"),
    Action("replay_canceled", "/{environment}/replays/{id}/cancel", cancel, needs="sender"),
)
