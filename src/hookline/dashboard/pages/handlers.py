"""The app's handlers: what each listens to, how its runs stand, pausing, resuming and forgetting."""

from __future__ import annotations

from typing import Any, Final

from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.receiving import query_of
from hookline.errors import RequestError
from hookline.receiver.model import HandlerRow
from hookline.receiver.status import WORKER_UNSEEN_MS

MOST_REASON: Final = 200


def handlers(call: Call) -> Shown:
    """Every handler that any worker registered, and the workers."""
    with call.receiver.look() as (queries, connection):
        rows = queries.handlers(connection)
        workers = queries.workers(connection)
    running = [one for one in workers if one.stopped_ms is None and call.now_ms - one.seen_ms <= WORKER_UNSEEN_MS]
    present = {name for one in running for name in one.handlers}
    data = {
        "handlers": [_data(one, is_present=one.name in present) for one in rows],
        "workers": [
            {
                "name": one.name,
                "handlers": list(one.handlers),
                "started_ms": one.started_ms,
                "seen_ms": one.seen_ms,
                "stopped_ms": one.stopped_ms,
                "is_running": one in running,
            }
            for one in workers
        ],
    }
    return Shown("handlers.html", "Handlers", data)


def _data(one: HandlerRow, *, is_present: bool) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "pattern": one.pattern,
        "source": one.source,
        "state": "paused" if one.paused_reason is not None else "running" if one.running else "active",
        "paused_reason": one.paused_reason,
        "probe_ms": one.probe_ms,
        "registered_ms": one.registered_ms,
        "pending": one.pending,
        "running": one.running,
        "dead": one.dead,
        "is_present": is_present,
    }


def _named(call: Call, name: str) -> dict[str, Any]:
    with call.receiver.look() as (queries, connection):
        found = next((one for one in queries.handlers(connection) if one.name == name), None)
    if found is None:
        raise RequestError(404, None, f"No worker has registered a handler {name[:200]!r}.")
    return _data(found, is_present=False)


def confirm(call: Call) -> Shown:
    """What pausing or forgetting a handler means, before it is done."""
    given = query_of(call, "act", "name")
    if given["act"] not in ("pause", "forget"):
        raise RequestError(422, "invalid", "act: expected pause or forget")
    return _confirm(call, given["act"], given["name"], FormProblems(), "")


def _confirm(call: Call, act: str, name: str, problems: FormProblems, reason: str) -> Shown:
    title = "Pause a handler" if act == "pause" else "Forget a handler"
    also = {"act": act, "problems": problems, "reason": reason}
    return Shown("handler_confirm.html", title, _named(call, name), also, status=422 if problems else 200)


def act(call: Call) -> Shown | SeeOther:
    """Pause, resume or forget one."""
    what, name = call.text("act"), call.text("name")
    _named(call, name)
    worker, back = call.receiver.worker(), call.link("handlers")
    if what == "resume":
        if not worker.resume(name):
            return SeeOther(back, f"{name} is not paused: nothing was done.")
        call.audit("handler.resumed", name)
        return SeeOther(back, f"{name} is resumed: its runs go on in their order.")
    if what == "pause":
        reason = call.text("reason", most=MOST_REASON)
        if not reason:
            return _confirm(call, what, name, FormProblems({"reason": "say why: it is shown beside the handler"}), "")
        if not worker.pause(name, reason):
            return SeeOther(back, f"{name} is paused already: nothing was done.")
        call.audit("handler.paused", name, reason=reason)
        return SeeOther(back, f"{name} is paused: its runs wait in their order until it is resumed.")
    if what == "forget":
        given_up = worker.forget(name)
        call.audit("handler.forgotten", name, runs_given_up=given_up)
        return SeeOther(back, f"{name} is forgotten; runs given up: {given_up or 0:,}.")
    raise RequestError(422, "invalid", "act: expected pause, resume or forget")


PAGES: Final[tuple[Page | Action, ...]] = (
    Page("handlers", "/handlers", handlers, needs="receiver"),
    Action("handlers_act", "/handlers", act, needs="receiver"),
    Page("handler_confirm", "/handlers/confirm", confirm, role="operator", needs="receiver"),
)
