"""One delivery: its story, every attempt with what was sent and what came back, and what can be done about it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hookline.dashboard.charts import Part
from hookline.dashboard.formats import span
from hookline.dashboard.frame import Action, Call, Page, SeeOther, Shown
from hookline.sender.advice import advice_for
from hookline.sender.explain import tell_story
from hookline.sender.interventions import cancel_delivery, retry_delivery
from hookline.sender.model import Attempt
from hookline.sender.publish import wake_deliveries
from hookline.sender.queries import delivery_detail
from hookline.wire.signature import HEADER

if TYPE_CHECKING:
    from hookline.sender.model import Delivery

_HIDDEN: Final = "…"
_SIGNED: Final = (HEADER.lower(), "webhook-signature")
_LEFT_OUT: Final = ("host", "content-length", "connection", *_SIGNED)


def delivery(call: Call) -> Shown:
    """The delivery and its attempts; read again and again by the page while it goes on."""
    sender = call.sender
    with sender.database.snapshot() as connection:
        found, attempts = delivery_detail(sender.store, connection, call.environment, call.params["id"])
        story = tell_story(sender.store, connection, call.environment, found.id, sender.schedules)
        endpoint = sender.store.endpoint(connection, call.environment, found.endpoint_id, with_deleted=True)
        who = sender.store.audit_of(connection, call.environment, found.id)
    scheduled = sum(one.kind == "scheduled" for one in attempts)
    schedule = sender.schedules[call.environment]
    told = [_attempt(call, one) for one in reversed(attempts)]
    data = {
        "id": found.id,
        "event_id": found.event_id,
        "event_type": found.event_type,
        "endpoint_id": found.endpoint_id,
        "endpoint_url": found.endpoint_url,
        "origin": found.origin,
        "state": _word(found.state, len(attempts)),
        "reason": found.reason,
        "verdict": story.finding.text,
        "attempt": found.attempt,
        "scheduled": scheduled,
        "most": len(schedule.offsets_s) if endpoint is None or endpoint.schedule is None else None,
        "created_ms": found.created_ms,
        "updated_ms": found.updated_ms,
        "due_ms": found.due_ms if found.state == "pending" else None,
        "can_retry": found.state in ("pending", "failed", "canceled"),
        "can_cancel": found.state in ("pending", "held"),
        "planned": [{"at_ms": at_ms, "kind": kind} for at_ms, kind in story.planned],
        "moments": [
            {"at_ms": one.at_ms, "code": one.code, "text": one.text, "to_do": one.to_do} for one in story.moments
        ],
        "by": [{"at_ms": one.at_ms, "actor": one.actor, "action": one.action} for one in who],
        "attempts": told,
    }
    also = {
        "curl": _curl(found.endpoint_url, told[0] if told else None),
        "times": {one["number"]: _bar(one) for one in told},
        "is_open": found.state in ("pending", "running"),
    }
    return Shown("delivery.html", f"{found.event_type} to {_host(found.endpoint_url)}", data, also)


def retry(call: Call) -> SeeOther:
    """One more attempt, now."""
    _intervene(call, retry_delivery)
    wake_deliveries(call.sender.database)
    return SeeOther(call.link("delivery", id=call.params["id"]), "It is tried again now.")


def cancel_confirm(call: Call) -> Shown:
    """What canceling does, before it is done."""
    with call.sender.database.read() as connection:
        found, attempts = delivery_detail(call.sender.store, connection, call.environment, call.params["id"])
    data = {
        "id": found.id,
        "event_id": found.event_id,
        "event_type": found.event_type,
        "endpoint_url": found.endpoint_url,
        "state": found.state,
        "attempts": len(attempts),
        "can_cancel": found.state in ("pending", "held"),
    }
    return Shown("delivery_cancel.html", "Cancel a delivery", data)


def cancel(call: Call) -> SeeOther:
    """Send it no more."""
    _intervene(call, cancel_delivery)
    return SeeOther(call.link("delivery", id=call.params["id"]), "Canceled: it is sent no more unless it is retried.")


def _intervene(call: Call, act: Callable[..., Delivery]) -> None:
    """One of interventions.py, in a transaction of its own, for who asks."""
    sender, delivery_id, by = call.sender, call.params["id"], call.viewer.actor
    sender.database.run(
        lambda connection: act(connection, sender.store, call.environment, delivery_id, now_ms=call.now_ms, actor=by)
    )


def _word(state: str, attempts: int) -> str:
    if state == "succeeded":
        return "delivered"
    return "retrying" if state == "pending" and attempts else state


def _attempt(call: Call, one: Attempt) -> dict[str, Any]:
    """An attempt as it is shown: its evidence taken apart, its signature split, its body redacted where it is JSON."""
    evidence: dict[str, Any] = json.loads(one.evidence)
    advice = advice_for(one.reason, one.status)
    request, answer = evidence.get("request") or {}, evidence.get("answer") or {}
    return {
        "number": one.number,
        "kind": one.kind,
        "outcome": one.outcome,
        "reason": one.reason,
        "status": one.status,
        "started_ms": one.started_ms,
        "duration_ms": one.duration_ms,
        "url": evidence.get("url"),
        "meaning": advice.meaning,
        "to_do": advice.to_do,
        "detail": evidence.get("detail"),
        "error": evidence.get("error"),
        "address": evidence.get("address"),
        "tls": evidence.get("tls"),
        "reused": evidence.get("reused"),
        "redone": evidence.get("redone"),
        "signed_with": evidence.get("signed_with"),
        "timings": evidence.get("timings"),
        "request_headers": request.get("headers") or [],
        "signature": _signature(request.get("headers") or []),
        "answer_headers": answer.get("headers") or [],
        "answer_body": _body(call, answer),
        "answer_bytes": answer.get("body_bytes"),
        "answer_end": answer.get("body_end"),
        "is_binary": "body_base64" in answer,
    }


def _signature(headers: Sequence[Sequence[str]]) -> dict[str, str] | None:
    """The parts of the signature's header: when it was signed, and the beginning of the digest."""
    value = next((value for name, value in headers if name.lower() == HEADER.lower()), None)
    if value is None:
        return None
    parts = dict(part.strip().partition("=")[::2] for part in value.split(","))
    return {"t": parts.get("t", ""), "v1": parts.get("v1", "")}


def _body(call: Call, answer: Mapping[str, Any]) -> str | None:
    """What was answered, as far as it was kept."""
    if "body_base64" in answer:
        return str(answer["body_base64"])
    text = answer.get("body")
    if not isinstance(text, str) or not text:
        return None
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return text
    shown = call.shown(decoded)
    # What holds nothing to redact is shown byte for byte.
    return text if shown == decoded else json.dumps(shown, ensure_ascii=False, indent=2)


def _bar(attempt: Mapping[str, Any]) -> list[Part]:
    """Where the time of an attempt went."""
    timings = attempt["timings"] or {}
    tls_ms = timings.get("tls_ms") or 0.0
    connect_ms = timings.get("connect_ms") or 0.0
    dns_ms, wait_ms = timings.get("dns_ms") or 0.0, timings.get("first_byte_ms") or 0.0
    total_ms = timings.get("total_ms") or 0.0
    rest_ms = max(0.0, total_ms - dns_ms - connect_ms - wait_ms)
    phases = (
        ("hold", dns_ms, "DNS"),
        ("info", max(0.0, connect_ms - tls_ms), "TCP"),
        ("wait", tls_ms, "TLS"),
        ("ok", wait_ms, "waiting for the answer"),
        ("idle", rest_ms, "the rest of it"),
    )
    return [Part(kind, value, f"{name} {span(value)}") for kind, value, name in phases if value > 0]


def _curl(url: str, last: Mapping[str, Any] | None) -> str:
    """The same request by hand, without a secret: the body from a file, signed by the command."""
    headers = [] if last is None else last["request_headers"]
    kept = [f"{name}: {value}" for name, value in headers if name.lower() not in _LEFT_OUT and _HIDDEN not in value]
    parts = ["curl", "-sS", "-i", url, *(part for one in kept for part in ("-H", one))]
    return f'{shlex.join(parts)} -H "{HEADER}: $(hookline sign event.json)" --data-binary @event.json'


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]


PAGES: Sequence[Page | Action] = (
    Page("delivery", "/{environment}/deliveries/{id}", delivery, needs="sender", reveals=True),
    Action("delivery_retry", "/{environment}/deliveries/{id}/retry", retry, needs="sender"),
    Page("delivery_cancel", "/{environment}/deliveries/{id}/cancel", cancel_confirm, role="operator", needs="sender"),
    Action("do_delivery_cancel", "/{environment}/deliveries/{id}/cancel", cancel, needs="sender"),
)
