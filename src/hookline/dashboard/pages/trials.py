"""Test events and the conformance check of an endpoint: real requests now, with the answer on the page."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hookline.dashboard.charts import Part
from hookline.dashboard.frame import Action, Call, FormProblems, Page, Shown
from hookline.dashboard.observing import ReceiverObserver
from hookline.dashboard.pages.endpoints import asks_for, find_endpoint, known_types, name_of, shown_endpoint, tabs
from hookline.errors import NotCanonical, RequestError
from hookline.sender.advice import advice_for
from hookline.sender.conformance import CHECKS
from hookline.wire.canonical import loads_strict
from hookline.wire.catalogue import sample, sampled_types

if TYPE_CHECKING:
    from hookline.sender.model import Endpoint
    from hookline.sender.trials import Trial

_MOST_DATA = 400_000
_PHASES = (
    ("dns_ms", "name looked up", "idle"),
    ("connect_ms", "connected", "info"),
    ("tls_ms", "TLS", "hold"),
    ("first_byte_ms", "waited", "wait"),
    ("rest", "read", "ok"),
)


def test(call: Call) -> Shown:
    """A type that the endpoint asks for, and its sample to be changed."""
    found = find_endpoint(call)
    return _page(call, found, _chosen(call, found, call.query.get("type", "")), None, FormProblems())


async def send_test(call: Call) -> Shown:
    """Send one; or show the sample of another type."""
    event_type = call.text("type", most=300)
    typed = call.form.get("data")
    data_text = typed if isinstance(typed, str) else ""
    if call.text("do", most=20) == "sample":
        found = find_endpoint(call)
        return _page(call, found, _chosen(call, found, event_type), None, FormProblems())
    problems, data = _data(data_text)
    if not problems:
        try:
            trial = await call.sender.trials.run(
                call.environment, call.params["id"], event_type, data=data, actor=call.viewer.actor
            )
        except RequestError as error:
            if error.status == 404:
                raise
            problems = FormProblems.of(error)
            # The type is the form's `type` and the API's `event`.
            if (said := problems.by_field.pop("event", None)) is not None:
                problems.by_field["type"] = said
        else:
            return _page(call, trial.endpoint, event_type, data_text, FormProblems(), told=await _told(call, trial))
    return _page(call, find_endpoint(call), event_type, data_text, problems, status=422)


async def check(call: Call) -> Shown:
    """Hold the endpoint against what the guide asks of it."""
    receiver = call.parts.receiver
    done = await call.sender.trials.check(
        call.environment,
        call.params["id"],
        actor=call.viewer.actor,
        observer=None if receiver is None else ReceiverObserver(receiver),
    )
    found = find_endpoint(call)
    return _page(call, found, _chosen(call, found, ""), None, FormProblems(), checked=asdict(done))


def _page(
    call: Call,
    found: Endpoint,
    event_type: str,
    typed: str | None,
    problems: FormProblems,
    *,
    told: dict[str, Any] | None = None,
    checked: dict[str, Any] | None = None,
    status: int = 200,
) -> Shown:
    samples = set(sampled_types())
    names = [name for name in known_types(call) if asks_for(found.events, name) or name in samples]
    data = {"endpoint": shown_endpoint(call, found), "type": event_type, "test": told, "check": checked}
    also = {
        "tabs": tabs(call, "endpoint_test"),
        "types": [(name, asks_for(found.events, name)) for name in sorted(names)],
        "typed": _sample_text(call, event_type) if typed is None else typed,
        "problems": problems,
        "checks": CHECKS,
        "parts": [] if told is None else _parts(told["timings"]),
    }
    return Shown("endpoint_test.html", name_of(found), data, also, status)


def _chosen(call: Call, found: Endpoint, event_type: str) -> str:
    """The type asked for, where the endpoint takes it; else the first that it does."""
    if event_type and asks_for(found.events, event_type):
        return event_type
    usual = ("dsync.user.created", "user.created", *sorted(known_types(call)))
    return next((name for name in usual if asks_for(found.events, name)), event_type)


def _sample_text(call: Call, event_type: str) -> str:
    with call.sender.database.read() as connection:
        own = call.sender.store.event_type_sample(connection, call.environment, event_type)
    try:
        value = sample(event_type) if own is None else json.loads(own)
    except LookupError:
        value = {}
    return json.dumps(value, indent=2, ensure_ascii=False)


def _data(text: str) -> tuple[FormProblems, dict[str, Any] | None]:
    if len(text) > _MOST_DATA:
        return _wrong(f"expected at most {_MOST_DATA} characters, got {len(text)}"), None
    try:
        value = loads_strict(text)
    except NotCanonical as error:
        return _wrong(str(error)), None
    if not isinstance(value, dict):
        return _wrong("expected a JSON object, in braces"), None
    return FormProblems(), value


def _wrong(message: str) -> FormProblems:
    return FormProblems({"data": message}, summary="The payload cannot be sent as it stands")


async def _told(call: Call, trial: Trial) -> dict[str, Any]:
    """What came of a test, and what our receiver made of it where it is one."""
    last = trial.attempts[-1]
    advice = advice_for(last.reason, last.status)
    evidence = json.loads(last.evidence)
    became = None
    if call.parts.receiver is not None and last.outcome == "succeeded":
        entry = await ReceiverObserver(call.parts.receiver).entry(trial.delivery.event_id)
        if entry is not None:
            became = {"source": entry.source, "state": entry.state, "reason": entry.reason}
    return {
        "delivery_id": trial.delivery.id,
        "event_id": trial.delivery.event_id,
        "outcome": last.outcome,
        "status": last.status,
        "meaning": f"the test {advice.meaning}",
        "to_do": advice.to_do,
        "note": trial.note,
        "request_headers": evidence.get("request", {}).get("headers", []),
        "detail": evidence.get("detail"),
        "address": evidence.get("address"),
        "answer": evidence.get("answer"),
        "timings": evidence.get("timings"),
        "attempts": len(trial.attempts),
        "became": became,
    }


def _parts(timings: dict[str, Any] | None) -> list[Part]:
    """Where the time went, as far as it was measured."""
    if timings is None:
        return []
    taken = {name: timings.get(name) or 0.0 for name, _, _ in _PHASES if name != "rest"}
    taken["connect_ms"] = max(0.0, taken["connect_ms"] - taken["tls_ms"])
    taken["rest"] = max(0.0, (timings.get("total_ms") or 0.0) - sum(taken.values()))
    return [Part(kind, taken[name], f"{label}: {taken[name]:.1f} ms") for name, label, kind in _PHASES if taken[name]]


_ONE = "/{environment}/endpoints/{id}"

PAGES: tuple[Page | Action, ...] = (
    Page("endpoint_test", f"{_ONE}/test", test, needs="sender"),
    Action("endpoint_send_test", f"{_ONE}/test", send_test, needs="sender"),
    Action("endpoint_check", f"{_ONE}/check", check, needs="sender"),
)
